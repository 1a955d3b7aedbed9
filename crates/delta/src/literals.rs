//! The bytes that no copy gives, in streams by what they are.
//!
//! Instructions, tables of addresses and text repeat themselves, not each other: apart they pack harder than together,
//! and several threads unpack them at once. Tables are brought into an order first in which they repeat themselves more.

use std::io::{self, Read};

use crate::addresses::Kind;
use crate::instructions::to_absolute;
use crate::source::{Pages, Source};
use crate::steps::{STREAMS, Step, Steps, stream_of};

/// Bytes that are brought into another order at a time: rows of every width that occurs.
const BLOCK_BYTES: usize = 24 * 8192;

/// Whether distances in this stream are written as absolute ones.
pub(crate) fn is_code(stream: usize) -> bool {
    stream == stream_of(Kind::CodeX64)
}

/// Whether this stream may be as long as all others together.
pub(crate) fn is_large(stream: usize) -> bool {
    stream == 0 || is_code(stream)
}

/// How many bytes each stream has.
pub(crate) fn lengths(steps: Steps<'_>) -> [u64; STREAMS] {
    let mut lengths = [0; STREAMS];
    for step in steps {
        if let Step::Literals { stream, length, .. } = step {
            lengths[stream] += length as u64;
        }
    }
    lengths
}

/// The bytes of one stream, in the order in which they are packed.
pub(crate) fn read<'a>(new: &'a Source<'a>, steps: Steps<'a>, stream: usize) -> Box<dyn Read + 'a> {
    let literals = Literals {
        new: Pages::new(new, 1),
        steps,
        stream,
        buffer: Vec::new(),
        taken: 0,
    };
    match order(stream) {
        Order::AsItIs => Box::new(literals),
        order => Box::new(Reordered::new(literals, move |block, other| {
            order.put(block, other);
        })),
    }
}

/// Whether a stream is packed in the order that it has.
pub(crate) fn is_in_order(stream: usize) -> bool {
    order(stream) == Order::AsItIs
}

/// The bytes of a stream as they are, from the order in which they were packed.
pub(crate) fn restored<'a>(stream: usize, packed: impl Read + Send + 'a) -> Box<dyn Read + Send + 'a> {
    match order(stream) {
        Order::AsItIs => Box::new(packed),
        order => Box::new(Reordered::new(packed, move |block, other| {
            order.take(block, other)
        })),
    }
}

/// The order in which a stream is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    AsItIs,
    /// Each 32-bit word as its difference from the one so many words before.
    Differences(usize),
    /// Records of so many bytes: the first bytes of all of them, then the second ones.
    Columns(usize),
}

fn order(stream: usize) -> Order {
    let kind = stream.checked_sub(1).map(|number| Kind::ALL[number]);
    match kind {
        None | Some(Kind::CodeX64 | Kind::Frames) => Order::AsItIs,
        Some(Kind::FromBegin) => Order::Differences(2),
        Some(Kind::Addresses32) => Order::Differences(3),
        Some(Kind::Pointers) => Order::Columns(8),
        Some(Kind::Relocations | Kind::Symbols) => Order::Columns(24),
    }
}

impl Order {
    /// Brings a block into this order; `other` is memory to work with.
    fn put(self, block: &mut Vec<u8>, other: &mut Vec<u8>) {
        match self {
            Order::AsItIs => {}
            Order::Differences(back) => {
                let words = block.as_chunks_mut::<4>().0;
                for number in (back..words.len()).rev() {
                    let before = u32::from_le_bytes(words[number - back]);
                    let word = u32::from_le_bytes(words[number]);
                    words[number] = word.wrapping_sub(before).to_le_bytes();
                }
            }
            Order::Columns(width) => {
                other.clear();
                let rows = block.len() / width;
                for column in 0..width {
                    other.extend((0..rows).map(|row| block[row * width + column]));
                }
                other.extend_from_slice(&block[rows * width..]);
                std::mem::swap(block, other);
            }
        }
    }

    /// Undoes [`Self::put`].
    fn take(self, block: &mut Vec<u8>, other: &mut Vec<u8>) {
        match self {
            Order::AsItIs => {}
            Order::Differences(back) => {
                let words = block.as_chunks_mut::<4>().0;
                for number in back..words.len() {
                    let before = u32::from_le_bytes(words[number - back]);
                    let difference = u32::from_le_bytes(words[number]);
                    words[number] = difference.wrapping_add(before).to_le_bytes();
                }
            }
            Order::Columns(width) => {
                other.clear();
                let rows = block.len() / width;
                for row in 0..rows {
                    other.extend((0..width).map(|column| block[column * rows + row]));
                }
                other.extend_from_slice(&block[rows * width..]);
                std::mem::swap(block, other);
            }
        }
    }
}

/// Bytes that are brought into another order on their way.
struct Reordered<R, F> {
    reader: R,
    reorder: F,
    block: Vec<u8>,
    other: Vec<u8>,
    taken: usize,
}

impl<R: Read, F: FnMut(&mut Vec<u8>, &mut Vec<u8>)> Reordered<R, F> {
    fn new(reader: R, reorder: F) -> Self {
        Reordered {
            reader,
            reorder,
            block: Vec::new(),
            other: Vec::new(),
            taken: 0,
        }
    }
}

impl<R: Read, F: FnMut(&mut Vec<u8>, &mut Vec<u8>)> Read for Reordered<R, F> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.block.len() {
            self.block.clear();
            self.taken = 0;
            let block = (&mut self.reader).take(BLOCK_BYTES as u64);
            { block }.read_to_end(&mut self.block)?;
            (self.reorder)(&mut self.block, &mut self.other);
        }
        let now = out.len().min(self.block.len() - self.taken);
        out[..now].copy_from_slice(&self.block[self.taken..self.taken + now]);
        self.taken += now;
        Ok(now)
    }
}

/// The bytes of one stream, as they are in the new files.
struct Literals<'a> {
    new: Pages<'a>,
    steps: Steps<'a>,
    stream: usize,
    buffer: Vec<u8>,
    taken: usize,
}

impl Read for Literals<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.buffer.len() {
            match self.steps.next() {
                None => return Ok(0),
                Some(Step::Literals { stream, new, length }) if stream == self.stream => {
                    self.buffer.resize(length, 0);
                    self.taken = 0;
                    self.new.read(new as u64, &mut self.buffer)?;
                    if is_code(stream) {
                        to_absolute(&mut self.buffer, new as u64);
                    }
                }
                Some(_) => {}
            }
        }
        let now = out.len().min(self.buffer.len() - self.taken);
        out[..now].copy_from_slice(&self.buffer[self.taken..self.taken + now]);
        self.taken += now;
        Ok(now)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn taking_back_undoes_every_order(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            for stream in 0..STREAMS {
                let order = order(stream);
                let (mut block, mut other) = (bytes.clone(), Vec::new());
                order.put(&mut block, &mut other);
                order.take(&mut block, &mut other);
                prop_assert_eq!(&block, &bytes, "{:?}", order);
            }
        }
    }
}
