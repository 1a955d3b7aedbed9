//! Making a delta.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::addresses::{Program, Region};
use crate::apply::{COPIES_MAX, NUMBERS_BYTES_MAX};
use crate::archive::{self, Purpose};
use crate::containers::{self, Found};
use crate::entropy::{self, Content, Effort, Raw};
use crate::index::Index;
use crate::layout::{
    Coding, Head, Layout, MAGIC, PROGRAMS_MAX, REGIONS_BYTES_MAX, REGIONS_MAX, STREAMS_MAX, Stream,
};
use crate::literals;
use crate::lzma2;
use crate::matching::{self, Copy, Recent};
use crate::moves::Moves;
use crate::predict::{Field, Prediction, Predictor};
use crate::program::Image;
use crate::source::{Input, PAGE_BYTES, Pages, Source};
use crate::steps::{self, STEP_BYTES, Section, Step, Steps};
use crate::varint;
use crate::worth;
use crate::{BYTES_MAX, FILES_MAX};

/// Old bytes for each of which there is a place in the index, where memory allows it.
const STEP_MIN: usize = 8;
const STEP_MAX: usize = 256;
/// Memory for each two bytes of the files, where there is little of them: more finds hardly more.
const MEMORY_SHARE: u64 = 3;
/// Window of all but the longest streams: a reader has room for one of this size for each of them (`entropy::Windows`).
const SMALL_WINDOW_LOG_MAX: u32 = 23;
/// So many of these are packed at once.
const PACKED_AT_ONCE: usize = 2;
/// So many old bytes are held whole while copies are looked for: reading them page by page takes longer.
const HELD_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Else the pages of old bytes that all threads hold take this share of the memory.
const PAGES_SHARE: u64 = 4;
/// More of them are of little use.
const PAGES_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// New bytes are read in order.
const NEW_PAGES_HELD: usize = 16;

/// Makes the delta that turns the old files into the new ones, on so many threads; what comes out does not depend on
/// how many. Files are read where they are, archives lie unpacked in `scratch` meanwhile, an empty file. About `memory`
/// bytes are needed, or fewer for little; beside them, for each thread, 2 MiB and the archive or program that is being read,
/// 36 bytes for each copy, 32 MiB for little that is old, and 96 MiB where content was packed with LZMA2. Nothing comes back if a limit of the
/// format is passed.
pub fn make(
    old: &[Input<'_>],
    new: &[Input<'_>],
    threads: usize,
    memory: u64,
    scratch: &File,
) -> io::Result<Option<Vec<u8>>> {
    if old.len() > FILES_MAX || new.len() > FILES_MAX {
        return Ok(None);
    }
    let purpose = match old.is_empty() {
        true => Purpose::Alone,
        false => Purpose::New,
    };
    let [old_streams, new_streams] = archive::changed_streams(old, new)?;
    let mut scratch = Scratch {
        file: scratch,
        length: 0,
    };
    let before = Side::of(old, &old_streams, Purpose::Old, threads, &mut scratch)?;
    let after = Side::of(new, &new_streams, purpose, threads, &mut scratch)?;
    if before.source.length > BYTES_MAX || after.source.length > BYTES_MAX {
        return Ok(None);
    }
    let memory = memory_for(memory, purpose, [old, new])?;
    let pages_bytes = (memory / PAGES_SHARE).min(PAGES_BYTES_MAX);
    let pages_held = (pages_bytes / PAGE_BYTES) as usize / threads.max(1) + 1;
    let copies = {
        let held = match before.source.length <= HELD_BYTES_MAX {
            true => Some(before.source.held()?),
            false => None,
        };
        let searched = held.as_ref().unwrap_or(&before.source);
        let index = Index::new(searched, index_step(searched.length, memory / 2))?;
        matching::copies(searched, &after.source, &index, pages_held, threads)?
    };
    let copies = worth::worth_it(copies, &before.layouts, &after.layouts);
    let mut head = Head {
        old: before.layouts,
        new: after.layouts,
        programs: pair(&before.images, &after.images, &copies),
        regions: after
            .images
            .iter()
            .flat_map(Image::regions)
            .copied()
            .take(REGIONS_MAX as usize)
            .collect(),
    };
    let layouts = head.old.iter().chain(&head.new);
    let streams: usize = layouts.map(|layout| layout.streams.len()).sum();
    if copies.len() > COPIES_MAX || streams as u64 > STREAMS_MAX {
        return Ok(None);
    }
    let sections = steps::sections(&head.new);
    let sides = Sides {
        old: &before.source,
        new: &after.source,
        copies: &copies,
        regions: &head.regions,
        sections: &sections,
        pages_held,
    };
    keep_useful_regions(&mut head.programs, &sides)?;
    worth::mark_used(&mut head.old, &copies, &head.programs);
    let (large, small) = efforts(memory, purpose);
    // First, and one after the other, since these take most memory.
    let mut literals = Vec::new();
    for (stream, length) in literals::lengths(sides.steps()).into_iter().enumerate() {
        let raw = Raw {
            length,
            open: Box::new(move || literals::read(sides.new, sides.steps(), stream)),
        };
        let effort = if literals::is_large(stream) { large } else { small };
        literals.push(entropy::pack(&raw, Content::Text, effort)?);
    }
    let (numbers, corrections) = (Numbers::of(&copies), Corrections::of(&head.programs, &sides)?);
    // The longest first, so that no thread is left with it at the end.
    let streams = [
        (&corrections.values, Content::Corrections),
        (&corrections.agreeing, Content::Numbers),
        (&corrections.differing, Content::Numbers),
        (&numbers.jumps, Content::Numbers),
        (&numbers.places, Content::Numbers),
        (&numbers.copy_lengths, Content::Numbers),
        (&numbers.literal_lengths, Content::Numbers),
        (&after.recipes, Content::Text),
        (&head.write(), Content::Numbers),
    ];
    if streams[1..].iter().map(|(raw, _)| raw.len() as u64).sum::<u64>() > NUMBERS_BYTES_MAX {
        return Ok(None);
    }
    let streams = entropy::pack_all(&streams, small, threads.min(PACKED_AT_ONCE))?;
    // A reader wants the small ones first.
    let all = streams.iter().rev().chain(&literals).map(Vec::as_slice);
    let out: Vec<&[u8]> = std::iter::once(MAGIC.as_slice()).chain(all).collect();
    Ok(Some(out.concat()))
}

/// How much of the memory is used: between versions, little for little.
fn memory_for(memory: u64, purpose: Purpose, sides: [&[Input<'_>]; 2]) -> io::Result<u64> {
    match purpose {
        Purpose::Old | Purpose::New => {
            let lengths = sides.into_iter().flatten().map(Input::length);
            let length = lengths.sum::<io::Result<u64>>()?;
            Ok(memory.min(length.saturating_mul(MEMORY_SHARE) / 2))
        }
        Purpose::Alone => Ok(memory),
    }
}

/// How to pack the longest streams, and the others.
fn efforts(memory: u64, purpose: Purpose) -> (Effort, Effort) {
    let large = Effort {
        // Beside the copies, and what else there is; without an old side there is nothing else.
        memory: match purpose {
            Purpose::Old | Purpose::New => memory / 2,
            Purpose::Alone => memory,
        },
        window_log_max: entropy::WINDOW_LOG_MAX,
        fast: purpose != Purpose::Alone,
    };
    let small = Effort {
        memory: memory / 6,
        window_log_max: SMALL_WINDOW_LOG_MAX,
        ..large
    };
    (large, small)
}

/// The smallest step whose index takes no more than this memory.
fn index_step(length: u64, memory: u64) -> usize {
    let mut step = STEP_MIN;
    while step < STEP_MAX && length * 5 / step as u64 > memory {
        step *= 2;
    }
    step
}

/// Where archives lie unpacked meanwhile.
struct Scratch<'a> {
    file: &'a File,
    length: u64,
}

/// Files one after the other, archives unpacked.
struct Side<'a> {
    source: Source<'a>,
    layouts: Vec<Layout>,
    recipes: Vec<u8>,
    images: Vec<Image>,
}

impl<'a> Side<'a> {
    fn of(
        files: &'a [Input<'a>],
        streams: &[Vec<Found>],
        purpose: Purpose,
        threads: usize,
        scratch: &mut Scratch<'a>,
    ) -> io::Result<Self> {
        let mut side = Side {
            source: Source::default(),
            layouts: Vec::new(),
            recipes: Vec::new(),
            images: Vec::new(),
        };
        let compressors = lzma2::budget();
        let mut to_come = files.iter().map(Input::length).sum::<io::Result<u64>>()?;
        for (file, found) in files.iter().zip(streams) {
            let begin = side.source.length;
            let mut layout = Layout {
                length: file.length()?,
                streams: Vec::new(),
            };
            let mut end = 0;
            to_come -= layout.length;
            let room = BYTES_MAX.saturating_sub(begin + to_come);
            archive::unpack(
                file,
                found,
                purpose,
                room,
                threads,
                &compressors,
                &mut |unpacked| {
                    let Found {
                        offset,
                        length: packed,
                        coding,
                        ..
                    } = unpacked.found;
                    side.source.push(file, end, offset - end);
                    if purpose == Purpose::Alone || coding != Coding::Deflate {
                        let begin = side.source.length;
                        let images = images(&Input::Bytes(&unpacked.plain), |offset| begin + offset)?;
                        side.images.extend(images);
                    }
                    let plain = unpacked.plain.len() as u64;
                    scratch.file.write_all_at(&unpacked.plain, scratch.length)?;
                    side.source.push_kept(scratch.file, scratch.length, plain);
                    scratch.length += plain;
                    side.recipes.extend_from_slice(&unpacked.recipe);
                    let (mut gap, mut begin) = (offset - end, 0);
                    for part in &unpacked.parts {
                        let stream = Stream {
                            coding,
                            gap,
                            begin,
                            bits: part.bits,
                            plain: part.plain,
                            recipe: unpacked.recipe.len() as u64,
                            is_used: true,
                        };
                        (gap, begin) = (0, stream.end());
                        layout.streams.push(stream);
                    }
                    end = offset + packed;
                    Ok(())
                },
            )?;
            side.source.push(file, end, layout.length - end);
            let images = {
                let mut place = layout.unpacked_places();
                images(file, |offset| begin + place(offset))?
            };
            side.images.extend(images);
            side.layouts.push(layout);
        }
        // Those in archives came before the others of their file.
        side.images.sort_by_key(|image| image.offset);
        Ok(side)
    }
}

/// The programs that a file is, or has in it as they are; `place` tells where a byte of it lies among all of its side.
fn images(file: &Input<'_>, mut place: impl FnMut(u64) -> u64) -> io::Result<Vec<Image>> {
    let mut images = Vec::new();
    for leaf in containers::leaves(file)? {
        let begin = leaf.read(0, 4)?.unwrap_or_default();
        if begin.first_chunk().is_some_and(Image::may_be) {
            images.extend(Image::read(&leaf.all()?, place(leaf.offset)));
        }
    }
    Ok(images)
}

/// Both sides and what one has of the other.
#[derive(Clone, Copy)]
struct Sides<'a> {
    old: &'a Source<'a>,
    new: &'a Source<'a>,
    copies: &'a [Copy],
    /// Of the new bytes.
    regions: &'a [Region],
    sections: &'a [Section],
    pages_held: usize,
}

impl<'a> Sides<'a> {
    fn steps(&self) -> Steps<'a> {
        Steps::new(self.copies, self.regions, self.sections)
    }

    fn predictor(&self, programs: Vec<Program>) -> io::Result<Predictor> {
        let moves = Moves::new(self.copies, self.old.length as usize);
        Predictor::new(programs, moves, |offset, length| {
            let mut bytes = vec![0; length as usize];
            self.old.read(offset, &mut bytes).map(|()| bytes)
        })
    }

    /// Calls for every piece of every copy.
    fn for_each_piece(&self, predictor: &Predictor, mut each: impl FnMut(&Predicted<'_>)) -> io::Result<()> {
        let (mut old, mut new) = (
            Pages::new(self.old, self.pages_held),
            Pages::new(self.new, NEW_PAGES_HELD),
        );
        let (mut plain, mut bytes, mut actual) =
            (vec![0; STEP_BYTES], vec![0; STEP_BYTES], vec![0; STEP_BYTES]);
        let mut prediction = Prediction::default();
        for step in self.steps() {
            let Step::Copy(piece) = step else { continue };
            let (plain, bytes) = (&mut plain[..piece.length()], &mut bytes[..piece.length()]);
            let actual = &mut actual[..piece.length()];
            old.read(piece.old_begin() as u64, plain)?;
            new.read(piece.begin() as u64, actual)?;
            bytes.copy_from_slice(plain);
            predictor.predict(
                bytes,
                piece.old_begin() as u64,
                piece.begin() as u64,
                &mut prediction,
            );
            each(&Predicted {
                old: piece.old_begin() as u64,
                plain,
                bytes,
                fields: &prediction.fields,
                actual,
            });
        }
        Ok(())
    }
}

/// A piece of a copy.
struct Predicted<'a> {
    /// Where it was.
    old: u64,
    /// As it was.
    plain: &'a [u8],
    /// As it is predicted to be, with these fields.
    bytes: &'a [u8],
    fields: &'a [Field],
    /// As it is.
    actual: &'a [u8],
}

/// Each new program with the old one that most of it was copied from.
fn pair(old: &[Image], new: &[Image], copies: &[Copy]) -> Vec<Program> {
    let (mut programs, mut room) = (Vec::new(), REGIONS_BYTES_MAX);
    for image in new {
        let end = image.offset + image.length;
        let first = copies.partition_point(|copy| (copy.end() as u64) <= image.offset);
        let mut copied = vec![0_u64; old.len()];
        for copy in copies[first..]
            .iter()
            .take_while(|copy| (copy.begin() as u64) < end)
        {
            let number = old.partition_point(|image| image.offset + image.length <= copy.old_begin() as u64);
            if old
                .get(number)
                .is_some_and(|image| image.offset <= copy.old_begin() as u64)
            {
                copied[number] += copy.length() as u64;
            }
        }
        let most = copied.iter().enumerate().max_by_key(|(_, bytes)| **bytes);
        if let Some((number, bytes)) = most
            && *bytes > image.length / 8
        {
            let bytes: u64 = old[number].regions().iter().map(|region| region.length).sum();
            if let Some(left) = room.checked_sub(bytes)
                && (programs.len() as u64) < PROGRAMS_MAX
            {
                room = left;
                programs.push(old[number].became(image));
            }
        }
    }
    programs
}

/// Leaves out the regions where prediction makes more wrong than right.
fn keep_useful_regions(programs: &mut [Program], sides: &Sides<'_>) -> io::Result<()> {
    if programs.is_empty() {
        return Ok(());
    }
    let mut regions: Vec<(Region, i64)> = programs
        .iter()
        .flat_map(|program| program.regions.iter().map(|region| (*region, 0)))
        .collect();
    regions.sort_by_key(|(region, _)| region.offset);
    let predictor = sides.predictor(programs.to_vec())?;
    sides.for_each_piece(&predictor, |piece| {
        for field in piece.fields {
            let range = field.at as usize..field.at as usize + usize::from(field.width);
            let offset = piece.old + u64::from(field.at);
            let number = regions.partition_point(|(region, _)| region.offset + region.length <= offset);
            let actual = &piece.actual[range.clone()];
            let wrong = |guess: &[u8]| guess.iter().zip(actual).filter(|(a, b)| a != b).count() as i64;
            if let Some((_, score)) = regions.get_mut(number) {
                *score += wrong(&piece.plain[range.clone()]) - wrong(&piece.bytes[range]);
            }
        }
    })?;
    for program in programs {
        program.regions.retain(|region| {
            let first = regions.partition_point(|(other, _)| other.offset < region.offset);
            regions[first..]
                .iter()
                .take_while(|(other, _)| other.offset == region.offset)
                .any(|(_, score)| *score > 0)
        });
    }
    Ok(())
}

/// Where copies lie and how long they are.
#[derive(Default)]
struct Numbers {
    literal_lengths: Vec<u8>,
    copy_lengths: Vec<u8>,
    places: Vec<u8>,
    jumps: Vec<u8>,
}

impl Numbers {
    fn of(copies: &[Copy]) -> Self {
        let mut numbers = Numbers::default();
        let (mut at, mut recent) = (0, Recent::default());
        for copy in copies {
            varint::put(&mut numbers.literal_lengths, (copy.begin() - at) as u64);
            varint::put(&mut numbers.copy_lengths, copy.length() as u64);
            let (distance, last) = (copy.old_begin() as i64 - copy.begin() as i64, recent.0[0]);
            match recent.push(distance) {
                Some(place) => numbers.places.push(place as u8),
                None => {
                    numbers.places.push(recent.0.len() as u8);
                    varint::put_signed(&mut numbers.jumps, distance - last);
                }
            }
            at = copy.end();
        }
        numbers
    }
}

/// Runs of agreeing and of differing bytes, and the differences.
#[derive(Default)]
struct Corrections {
    agreeing: Vec<u8>,
    differing: Vec<u8>,
    values: Vec<u8>,
    run: u64,
    wrong: u64,
}

impl Corrections {
    fn of(programs: &[Program], sides: &Sides<'_>) -> io::Result<Self> {
        let mut corrections = Corrections::default();
        let predictor = sides.predictor(programs.to_vec())?;
        sides.for_each_piece(&predictor, |piece| {
            corrections.add(piece.bytes, piece.fields, piece.actual);
        })?;
        corrections.finish();
        Ok(corrections)
    }

    fn add(&mut self, predicted: &[u8], fields: &[Field], actual: &[u8]) {
        let mut at = 0;
        for field in fields {
            let (from, to) = (field.at as usize, field.at as usize + usize::from(field.width));
            self.bytes(&predicted[at..from], &actual[at..from]);
            // A field that is wrong is wrong by a number, the same for all that point to the same place.
            match field.width {
                4 => self.word::<4>(&predicted[from..to], &actual[from..to]),
                _ => self.word::<8>(&predicted[from..to], &actual[from..to]),
            }
            at = to;
        }
        self.bytes(&predicted[at..], &actual[at..]);
    }

    fn word<const N: usize>(&mut self, predicted: &[u8], actual: &[u8]) {
        let number = |bytes: &[u8]| {
            bytes
                .iter()
                .rev()
                .fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte))
        };
        let difference = number(actual).wrapping_sub(number(predicted)).to_le_bytes();
        difference[..N].iter().for_each(|byte| self.byte(*byte));
    }

    fn bytes(&mut self, predicted: &[u8], actual: &[u8]) {
        for (a, b) in predicted.iter().zip(actual) {
            self.byte(b.wrapping_sub(*a));
        }
    }

    fn byte(&mut self, difference: u8) {
        if difference == 0 {
            if self.wrong > 0 {
                varint::put(&mut self.differing, self.wrong - 1);
                self.wrong = 0;
            }
            self.run += 1;
        } else {
            if self.wrong == 0 {
                varint::put(&mut self.agreeing, self.run);
                self.run = 0;
            }
            self.wrong += 1;
            self.values.push(difference);
        }
    }

    /// What is left of the last run needs no number: it goes on to the end.
    fn finish(&mut self) {
        if self.wrong > 0 {
            varint::put(&mut self.differing, self.wrong - 1);
        }
    }
}
