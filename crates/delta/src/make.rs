//! Making a delta.

use std::io;

use crate::addresses::{Field, Moves, Predictor, Program, Region};
use crate::apply;
use crate::archive;
use crate::entropy::{self, Content};
use crate::instructions::to_absolute;
use crate::layout::{Head, Layout, MAGIC};
use crate::matching::{Copy, Matcher, Recent};
use crate::program::Image;
use crate::source;
use crate::varint;
use crate::{BYTES_MAX, FILES_MAX};

/// Bytes that a copy is predicted and corrected by at a time; the reader does the same.
pub(crate) const PIECE_BYTES: usize = 64 * 1024;

/// Makes the delta that turns the old files into the new ones, on so many threads; what comes out does not depend on
/// how many. Memory is about six bytes for each old byte and three for each new one, archives unpacked. Nothing comes
/// back if a limit of the format is passed.
pub fn make(old: Vec<Vec<u8>>, new: Vec<Vec<u8>>, threads: usize) -> io::Result<Option<Vec<u8>>> {
    if old.len() > FILES_MAX || new.len() > FILES_MAX {
        return Ok(None);
    }
    let (before, after) = (Joined::of(old, false, threads), Joined::of(new, true, threads));
    let unpacked = before.layouts.iter().filter(|layout| !layout.streams.is_empty());
    let fits = unpacked.map(Layout::unpacked).sum::<u64>() <= source::UNPACKED_MAX
        && before.bytes.len() as u64 <= BYTES_MAX
        && after.bytes.len() as u64 <= BYTES_MAX;
    if !fits {
        return Ok(None);
    }
    let matcher =
        Matcher::new(&before.bytes).ok_or_else(|| io::Error::other("no memory for a suffix array"))?;
    let copies = matcher.copies(&after.bytes, threads);
    drop(matcher);
    let mut head = Head {
        old: before.layouts,
        new: after.layouts,
        programs: pair(&before.images, &after.images, &copies),
    };
    keep_useful_regions(&mut head.programs, &copies, &before.bytes, &after.bytes);
    let predictor = predictor(head.programs.clone(), &copies, &before.bytes);

    let mut streams = Streams::default();
    let (mut at, mut recent) = (0, Recent::default());
    for copy in &copies {
        varint::put(&mut streams.literal_lengths, (copy.new - at) as u64);
        varint::put(&mut streams.copy_lengths, copy.length as u64);
        let (distance, last) = (copy.old as i64 - copy.new as i64, recent.0[0]);
        match recent.push(distance) {
            Some(place) => streams.places.push(place as u8),
            None => {
                streams.places.push(recent.0.len() as u8);
                varint::put_signed(&mut streams.jumps, distance - last);
            }
        }
        streams.literals(&after.bytes[at..copy.new], at);
        at = copy.new + copy.length;
    }
    streams.literals(&after.bytes[at..], at);
    let mut corrections = Corrections::default();
    for_each_piece(&predictor, &copies, &before.bytes, |predicted, fields, copy| {
        let actual = &after.bytes[copy.new..copy.new + copy.length];
        corrections.add(predicted, fields, actual);
    });
    corrections.finish();
    let absolute = entropy::is_smaller(&streams.absolute, &streams.literals)?;
    let head = head.write();
    let literals = if absolute {
        &streams.absolute
    } else {
        &streams.literals
    };
    // The longest first, so that no thread is left with it at the end.
    let packed = entropy::pack_all(
        &[
            (literals, Content::Text),
            (&corrections.values, Content::Corrections),
            (&corrections.agreeing, Content::Numbers),
            (&corrections.differing, Content::Numbers),
            (&streams.jumps, Content::Numbers),
            (&streams.places, Content::Numbers),
            (&streams.copy_lengths, Content::Numbers),
            (&streams.literal_lengths, Content::Numbers),
            (&after.recipes, Content::Text),
            (&head, Content::Numbers),
        ],
        threads,
    )?;
    let mut out = MAGIC.to_vec();
    out.push(u8::from(absolute));
    // A reader wants the small ones first.
    packed
        .iter()
        .rev()
        .for_each(|stream| out.extend_from_slice(stream));
    Ok(Some(out))
}

/// Files one after the other, archives unpacked.
#[derive(Default)]
struct Joined {
    bytes: Vec<u8>,
    layouts: Vec<Layout>,
    recipes: Vec<u8>,
    images: Vec<Image>,
}

impl Joined {
    fn of(files: Vec<Vec<u8>>, with_recipes: bool, threads: usize) -> Self {
        let mut joined = Joined::default();
        for file in files {
            let begin = joined.bytes.len() as u64;
            let room = BYTES_MAX.saturating_sub(begin);
            let mut layout = Layout {
                length: file.len() as u64,
                streams: Vec::new(),
            };
            let mut members = vec![(0, file.len() as u64)];
            match archive::unpack(&file, with_recipes, room, threads) {
                Some(unpacked) => {
                    joined.bytes.extend_from_slice(&unpacked.bytes);
                    joined.recipes.extend_from_slice(&unpacked.recipes);
                    layout.streams = unpacked.streams;
                    members = unpacked.members;
                }
                None => joined.bytes.extend_from_slice(&file),
            }
            for (offset, length) in members {
                let begin = begin + offset;
                let bytes = &joined.bytes[begin as usize..(begin + length) as usize];
                joined.images.extend(Image::read(bytes, begin));
            }
            joined.layouts.push(layout);
        }
        joined
    }
}

/// Each new program with the old one that most of it was copied from.
fn pair(old: &[Image], new: &[Image], copies: &[Copy]) -> Vec<Program> {
    let mut programs = Vec::new();
    for image in new {
        let end = image.offset + image.length;
        let first = copies.partition_point(|copy| ((copy.new + copy.length) as u64) <= image.offset);
        let mut copied = vec![0_u64; old.len()];
        for copy in copies[first..].iter().take_while(|copy| (copy.new as u64) < end) {
            let number = old.partition_point(|image| image.offset + image.length <= copy.old as u64);
            if old
                .get(number)
                .is_some_and(|image| image.offset <= copy.old as u64)
            {
                copied[number] += copy.length as u64;
            }
        }
        let most = copied.iter().enumerate().max_by_key(|(_, bytes)| **bytes);
        if let Some((number, bytes)) = most
            && *bytes > image.length / 8
        {
            programs.push(old[number].became(image));
        }
    }
    programs
}

/// Leaves out the regions where prediction makes more wrong than right.
fn keep_useful_regions(programs: &mut [Program], copies: &[Copy], old: &[u8], new: &[u8]) {
    let predictor = predictor(programs.to_vec(), copies, old);
    let mut regions: Vec<(Region, i64)> = programs
        .iter()
        .flat_map(|program| program.regions.iter().map(|region| (*region, 0)))
        .collect();
    regions.sort_by_key(|(region, _)| region.offset);
    for_each_piece(&predictor, copies, old, |predicted, fields, copy| {
        for field in fields {
            let (at, width) = (field.at as usize, usize::from(field.width));
            let offset = (copy.old + at) as u64;
            let number = regions.partition_point(|(region, _)| region.offset + region.length <= offset);
            let actual = &new[copy.new + at..copy.new + at + width];
            let plain = &old[copy.old + at..copy.old + at + width];
            let wrong = |guess: &[u8]| guess.iter().zip(actual).filter(|(a, b)| a != b).count() as i64;
            if let Some((_, score)) = regions.get_mut(number) {
                *score += wrong(plain) - wrong(&predicted[at..at + width]);
            }
        }
    });
    for program in programs {
        program.regions.retain(|region| {
            let first = regions.partition_point(|(other, _)| other.offset < region.offset);
            regions[first..]
                .iter()
                .take_while(|(other, _)| other.offset == region.offset)
                .any(|(_, score)| *score > 0)
        });
    }
}

fn predictor(programs: Vec<Program>, copies: &[Copy], old: &[u8]) -> Predictor {
    let read = |offset: u64, length: u64| Ok(old[offset as usize..(offset + length) as usize].to_vec());
    match Predictor::new::<std::convert::Infallible>(programs, Moves::new(copies, old.len()), read) {
        Ok(predictor) => predictor,
        Err(never) => match never {},
    }
}

/// Calls with the predicted bytes and their fields for every piece of every copy.
fn for_each_piece(
    predictor: &Predictor,
    copies: &[Copy],
    old: &[u8],
    mut each: impl FnMut(&[u8], &[Field], Copy),
) {
    let (mut bytes, mut fields) = (Vec::new(), Vec::new());
    for copy in copies {
        for piece in apply::pieces(*copy) {
            bytes.clear();
            bytes.extend_from_slice(&old[piece.old..piece.old + piece.length]);
            predictor.predict(&mut bytes, piece.old as u64, piece.new as u64, &mut fields);
            each(&bytes, &fields, piece);
        }
    }
}

#[derive(Default)]
struct Streams {
    literal_lengths: Vec<u8>,
    copy_lengths: Vec<u8>,
    places: Vec<u8>,
    jumps: Vec<u8>,
    literals: Vec<u8>,
    /// The same with absolute distances in what looks like instructions.
    absolute: Vec<u8>,
}

impl Streams {
    fn literals(&mut self, bytes: &[u8], at: usize) {
        self.literals.extend_from_slice(bytes);
        for (number, piece) in bytes.chunks(PIECE_BYTES).enumerate() {
            let begin = self.absolute.len();
            self.absolute.extend_from_slice(piece);
            to_absolute(&mut self.absolute[begin..], (at + number * PIECE_BYTES) as u64);
        }
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
