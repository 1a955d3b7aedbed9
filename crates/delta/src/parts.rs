//! The new bytes in parts, each made by itself: what it needs is taken out of the streams from front to back, then any
//! thread makes it.

use std::io;
use std::sync::{Mutex, PoisonError};

use crate::apply::{ApplyError, Write};
use crate::archive;
use crate::budget::Budget;
use crate::entropy::Ahead;
use crate::instructions::to_relative;
use crate::layout::Stream;
use crate::literals::is_code;
use crate::predict::{Field, Prediction, Predictor};
use crate::source::Pages;
use crate::steps::{STREAMS, Section, Step, Steps};
use crate::varint::Reader;
use crate::{BYTES_MAX, Malformed};

/// A part has about so many bytes; more if a stream of an archive, or a part of one, which is packed as a whole, has more.
pub(crate) const PART_BYTES: usize = 256 * 1024;

/// Longer buffers are not kept. What is nearly a part and then a part of a stream, which has as many bytes, fits.
const BUFFER_BYTES_MAX: usize = 3 * PART_BYTES;

/// Memory for parts that is used again: to have it given anew takes the system longer than filling it takes us.
#[derive(Default)]
pub(crate) struct Buffers(Mutex<Vec<Vec<u8>>>);

impl Buffers {
    /// A buffer with as many bytes as it happens to have, whatever they are.
    fn take(&self) -> Vec<u8> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        kept.unwrap_or_default()
    }

    fn give(&self, buffer: Vec<u8>) {
        if (1..=BUFFER_BYTES_MAX).contains(&buffer.capacity()) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
        }
    }
}

/// What it takes to make some new bytes.
pub(crate) struct Part<'a> {
    /// The first so many of these make it.
    steps: Steps<'a>,
    count: usize,
    /// As many bytes as it has, or more: the literals are in their places.
    plain: Vec<u8>,
    runs: Runs<'a>,
    values: Vec<u8>,
    sections: Vec<PartSection<'a>>,
    length: usize,
}

/// A section, or as much of it as is in a part.
struct PartSection<'a> {
    /// Unpacked bytes.
    length: usize,
    /// Number of its file.
    file: usize,
    /// The stream that it is packed to, and the recipe for it.
    packed: Option<(Stream, &'a [u8])>,
}

impl Part<'_> {
    /// What comes of it, or its list of sections: whichever is more, in bytes. What it takes in all is a few times as much.
    pub(crate) fn weight(&self) -> usize {
        self.length
            .max(self.sections.len() * size_of::<PartSection<'_>>())
    }
}

/// Cuts everything into parts.
pub(crate) struct Parts<'a> {
    pub steps: Steps<'a>,
    pub sections: &'a [Section],
    pub literals: [Ahead; STREAMS],
    pub runs: Runs<'a>,
    pub values: Ahead,
    pub recipes: &'a [u8],
    pub buffers: &'a Buffers,
}

impl<'a> Parts<'a> {
    /// The next part; nothing once all streams were taken to their ends.
    pub(crate) fn next(&mut self) -> Result<Option<Part<'a>>, Malformed> {
        let mut part = Part {
            steps: self.steps.clone(),
            count: 0,
            plain: self.buffers.take(),
            runs: self.runs,
            values: Vec::new(),
            sections: Vec::new(),
            length: 0,
        };
        let mut of_section = 0;
        while let (Some(step), Some((section, rest))) = (self.steps.next(), self.sections.split_first()) {
            let (at, length) = match step {
                Step::Literals { stream, new, length } => {
                    // More than this step at once: growing may move what is there.
                    let ahead = (section.end - new).min(PART_BYTES).max(length);
                    let place = room(&mut part.plain, part.length, length, ahead);
                    self.literals[stream].read(place)?;
                    (new, length)
                }
                Step::Copy(copy) => {
                    let (at, values) = (part.values.len(), self.runs.pass(copy.length() as u64)?);
                    let values = room(&mut part.values, at, values as usize, values as usize);
                    self.values.read(values)?;
                    (copy.begin(), copy.length())
                }
            };
            part.count += 1;
            part.length += length;
            of_section += length;
            let complete = at + length == section.end;
            let enough = part.length >= PART_BYTES && section.stream.is_none();
            if complete {
                self.sections = rest;
            }
            if complete || enough {
                let packed = section.stream.map(|stream| {
                    let (recipe, later) = self
                        .recipes
                        .split_at_checked(stream.recipe as usize)
                        .ok_or(Malformed("it lacks a recipe"))?;
                    self.recipes = later;
                    Ok((stream, recipe))
                });
                part.sections.push(PartSection {
                    length: of_section,
                    file: section.file,
                    packed: packed.transpose()?,
                });
                of_section = 0;
                if part.length >= PART_BYTES {
                    return Ok(Some(part));
                }
            }
        }
        if part.length > 0 {
            return Ok(Some(part));
        }
        self.end().map(|()| None)
    }

    fn end(&self) -> Result<(), Malformed> {
        if self.literals.iter().any(|stream| stream.left() > 0) {
            return Err(Malformed("its copies and bytes are not those of its files"));
        }
        if !self.recipes.is_empty() {
            return Err(Malformed("it has more recipes than archives"));
        }
        match self.runs.is_empty() && self.values.left() == 0 {
            true => Ok(()),
            false => Err(Malformed("it has more corrections than copies")),
        }
    }
}

/// Room for `length` bytes from `at` on; where there is none, it is made for so many.
fn room(bytes: &mut Vec<u8>, at: usize, length: usize, ahead: usize) -> &mut [u8] {
    if bytes.len() < at + length {
        bytes.resize(at + ahead, 0);
    }
    &mut bytes[at..at + length]
}

/// New bytes on their way to be written.
pub(crate) struct Made {
    weight: usize,
    bytes: Vec<u8>,
    /// Number of a file, and the end of its bytes among these.
    ends: Vec<(usize, usize)>,
    /// Whether the next part goes on in the last byte.
    is_open: bool,
}

impl Made {
    /// That of the part that it was made from.
    pub(crate) fn weight(&self) -> usize {
        self.weight
    }

    /// `begun` is the byte which the part before has left open, with zeros where this one goes on, and else 0.
    pub(crate) fn write(
        mut self,
        begun: &mut u8,
        write: &mut Write<'_>,
        buffers: &Buffers,
    ) -> io::Result<()> {
        if let Some(first) = self.bytes.first_mut() {
            *first |= std::mem::take(begun);
        }
        let mut complete = self.bytes.len();
        if self.is_open
            && let Some(last) = self.bytes.last()
        {
            *begun = *last;
            complete -= 1;
        }
        let mut begin = 0;
        for (file, end) in self.ends {
            let end = end.min(complete);
            if begin < end {
                write(file, &self.bytes[begin..end])?;
            }
            begin = end;
        }
        buffers.give(self.bytes);
        Ok(())
    }
}

/// Makes one part after the other.
pub(crate) struct Maker<'a> {
    pages: Pages<'a>,
    predictor: &'a Predictor,
    /// For compressors of all makers together.
    budget: &'a Budget,
    buffers: &'a Buffers,
    prediction: Prediction,
}

impl<'a> Maker<'a> {
    pub(crate) fn new(
        pages: Pages<'a>,
        predictor: &'a Predictor,
        budget: &'a Budget,
        buffers: &'a Buffers,
    ) -> Self {
        Maker {
            pages,
            predictor,
            budget,
            buffers,
            prediction: Prediction::default(),
        }
    }

    pub(crate) fn make(&mut self, part: Part<'_>) -> Result<Made, ApplyError> {
        let (weight, mut plain) = (part.weight(), part.plain);
        if plain.len() < part.length {
            plain.resize(part.length, 0);
        }
        let mut at = 0;
        let mut corrections = Corrections {
            runs: part.runs,
            values: &part.values,
        };
        for step in part.steps.take(part.count) {
            let length = match step {
                Step::Literals { stream, new, length } => {
                    if is_code(stream) {
                        to_relative(&mut plain[at..at + length], new as u64);
                    }
                    length
                }
                Step::Copy(copy) => {
                    let bytes = &mut plain[at..at + copy.length()];
                    let (old, new) = (copy.old_begin() as u64, copy.begin() as u64);
                    self.pages.read(old, bytes)?;
                    self.predictor.predict(bytes, old, new, &mut self.prediction);
                    corrections.apply(bytes, &self.prediction.fields)?;
                    copy.length()
                }
            };
            at += length;
        }
        Ok(self.packed(plain, &part.sections, weight)?)
    }

    /// The bytes of sections, archives packed again.
    fn packed(&self, plain: Vec<u8>, sections: &[PartSection<'_>], weight: usize) -> Result<Made, Malformed> {
        let mut ends: Vec<(usize, usize)> = Vec::new();
        let mut put = |file: usize, end: usize| match ends.last_mut() {
            Some((last, before)) if *last == file => *before = end,
            _ => ends.push((file, end)),
        };
        let mut end = 0;
        if sections.iter().all(|section| section.packed.is_none()) {
            for section in sections {
                end += section.length;
                put(section.file, end);
            }
            return Ok(Made {
                weight,
                bytes: plain,
                ends,
                is_open: false,
            });
        }
        let mut bytes = self.buffers.take();
        bytes.clear();
        for section in sections {
            let own = &plain[end..end + section.length];
            end += section.length;
            match section.packed {
                None => bytes.extend_from_slice(own),
                Some((stream, recipe)) => {
                    if stream.begin > 0 && bytes.is_empty() {
                        // What is before it is in the part before.
                        bytes.push(0);
                    }
                    bytes = archive::pack(own, &stream, recipe, self.budget, bytes)?;
                }
            }
            put(section.file, bytes.len());
        }
        let last = sections.last().and_then(|section| section.packed);
        let is_open = last.is_some_and(|(stream, _)| stream.end() > 0);
        self.buffers.give(plain);
        Ok(Made {
            weight,
            bytes,
            ends,
            is_open,
        })
    }
}

/// Runs of bytes of copies that agree with what was predicted, and of others.
#[derive(Clone, Copy)]
pub(crate) struct Runs<'a> {
    agreeing: Reader<'a>,
    differing: Reader<'a>,
    run: u64,
    wrong: u64,
}

impl<'a> Runs<'a> {
    pub(crate) fn new(agreeing: &'a [u8], differing: &'a [u8]) -> Result<Self, Malformed> {
        let mut runs = Runs {
            agreeing: Reader(agreeing),
            differing: Reader(differing),
            run: 0,
            wrong: 0,
        };
        runs.next()?;
        Ok(runs)
    }

    /// The next runs; without any, all the rest agrees.
    fn next(&mut self) -> Result<(), Malformed> {
        if self.agreeing.is_empty() {
            (self.run, self.wrong) = (u64::MAX, 0);
        } else {
            self.run = self.agreeing.number()?;
            self.wrong = self
                .differing
                .number_to(BYTES_MAX, "a correction is longer than it may be")?
                + 1;
        }
        Ok(())
    }

    /// Passes over so many bytes; returns how many of them differ.
    fn pass(&mut self, mut bytes: u64) -> Result<u64, Malformed> {
        let mut differing = 0;
        loop {
            if self.run >= bytes {
                self.run -= bytes;
                return Ok(differing);
            }
            bytes -= self.run;
            self.run = 0;
            let now = self.wrong.min(bytes);
            self.wrong -= now;
            differing += now;
            bytes -= now;
            if self.wrong == 0 {
                self.next()?;
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.agreeing.is_empty() && self.differing.is_empty()
    }
}

/// The differences between what was predicted and what is.
struct Corrections<'a> {
    runs: Runs<'a>,
    values: &'a [u8],
}

impl Corrections<'_> {
    fn apply(&mut self, bytes: &mut [u8], fields: &[Field]) -> Result<(), Malformed> {
        let mut at = 0;
        let mut next_field = 0;
        while at < bytes.len() {
            let left = (bytes.len() - at) as u64;
            if self.runs.run >= left {
                self.runs.run -= left;
                return Ok(());
            }
            at += self.runs.run as usize;
            self.runs.run = 0;
            // A field is corrected as one number, from its first byte on.
            while fields
                .get(next_field)
                .is_some_and(|field| (field.at + u32::from(field.width)) as usize <= at)
            {
                next_field += 1;
            }
            match fields.get(next_field) {
                Some(field) if field.at as usize <= at => {
                    let (begin, width) = (field.at as usize, usize::from(field.width));
                    let mut difference = [0; 8];
                    for byte in &mut difference[at - begin..width] {
                        *byte = self.difference()?;
                    }
                    let field = &mut bytes[begin..begin + width];
                    let mut carry = 0;
                    for (byte, difference) in field.iter_mut().zip(difference) {
                        let sum = u16::from(*byte) + u16::from(difference) + carry;
                        (*byte, carry) = (sum as u8, sum >> 8);
                    }
                    at = begin + width;
                }
                _ => {
                    bytes[at] = bytes[at].wrapping_add(self.difference()?);
                    at += 1;
                }
            }
        }
        Ok(())
    }

    /// The difference of the next byte, which is nothing inside a run.
    fn difference(&mut self) -> Result<u8, Malformed> {
        if self.runs.run > 0 {
            self.runs.run -= 1;
            return Ok(0);
        }
        let (value, later) = self
            .values
            .split_first()
            .ok_or(Malformed("a stream ends early"))?;
        self.values = later;
        self.runs.wrong -= 1;
        if self.runs.wrong == 0 {
            self.runs.next()?;
        }
        Ok(*value)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::layout::{Coding, Head, Layout};
    use crate::tests::{applied, noise, text, unpacked};
    use crate::tokens::{self, Blocks};
    use crate::varint;

    /// A deflate stream of many small blocks, each of them a part.
    fn small_blocks() -> (Vec<u8>, Vec<u8>, Vec<Blocks>) {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::new(6));
        for content in [text(false)[..7000].chunks(900), noise(3000, 1).chunks(700)]
            .into_iter()
            .flatten()
        {
            encoder.write_all(content).unwrap();
            encoder.flush().unwrap();
        }
        let packed = encoder.finish().unwrap();
        let (tokens, parts) = tokens::unpack_in_parts(&packed, u64::MAX, 1).unwrap();
        (packed, tokens, parts)
    }

    fn layout(length: usize, parts: &[Blocks]) -> Layout {
        let mut layout = Layout {
            length: length as u64,
            streams: Vec::new(),
        };
        let mut begin = 0;
        for part in parts {
            let stream = Stream {
                coding: Coding::Deflate,
                gap: 0,
                begin,
                bits: part.bits,
                plain: part.plain,
                recipe: 0,
                is_used: true,
            };
            begin = stream.end();
            layout.streams.push(stream);
        }
        layout
    }

    /// Parts that begin and end elsewhere: by a bit, or by a byte of tokens, taken from one and given to the next.
    fn moved(parts: &[Blocks]) -> Vec<Vec<Blocks>> {
        let mut all = Vec::new();
        for number in 1..parts.len() {
            let mut other = parts.to_vec();
            other[number - 1].bits += 1;
            other[number].bits -= 1;
            all.push(other);
            let mut other = parts.to_vec();
            other[number - 1].plain -= 1;
            other[number].plain += 1;
            all.push(other);
        }
        all
    }

    #[test]
    fn small_parts_of_a_new_stream_are_put_together_or_refused() {
        let (packed, tokens, parts) = small_blocks();
        assert!(parts.len() > 20 && parts.iter().any(|part| part.bits % 8 > 0));
        let delta = |parts: &[Blocks]| {
            let head = Head {
                new: vec![layout(packed.len(), parts)],
                ..Head::default()
            };
            unpacked(&head, [&[]; 7], &[], &tokens)
        };
        let apply = |parts: &[Blocks]| applied(&delta(parts), &[], &[packed.len() as u64]);
        assert!(apply(&parts).unwrap() == [packed.as_slice()]);
        for other in moved(&parts) {
            assert!(apply(&other).is_err());
        }
    }

    #[test]
    fn small_parts_of_an_old_stream_are_read_or_another_file_is_noticed() {
        let (packed, tokens, parts) = small_blocks();
        let (mut length, mut jump) = (Vec::new(), Vec::new());
        varint::put(&mut length, tokens.len() as u64);
        varint::put_signed(&mut jump, 0);
        let delta = |parts: &[Blocks]| {
            let head = Head {
                old: vec![layout(packed.len(), parts)],
                new: vec![layout(tokens.len(), &[])],
                ..Head::default()
            };
            unpacked(&head, [&[], &[0], &length, &[8], &jump, &[], &[]], &[], &[])
        };
        let apply = |parts: &[Blocks]| applied(&delta(parts), &[&packed], &[tokens.len() as u64]);
        assert!(apply(&parts).unwrap() == [tokens.as_slice()]);
        for other in moved(&parts) {
            assert!(matches!(apply(&other), Err(ApplyError::Other { number: 0 })));
        }
    }
}
