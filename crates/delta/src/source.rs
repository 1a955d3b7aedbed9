//! The old files one after the other, archives unpacked, read in pages.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::apply::ApplyError;
use crate::archive;
use crate::layout::Layout;
use crate::{BYTES_MAX, Malformed};

/// Most bytes of old archives, unpacked: they are held in memory.
pub(crate) const UNPACKED_MAX: u64 = 96 * 1024 * 1024;
/// Copies jump: what is read around one serves others nearby, and more than that is read for nothing.
const PAGE_BYTES: u64 = 16 * 1024;
/// Pages that are held: where copies come from moves slowly through the old files.
const PAGES_HELD: usize = 2048;

/// An old file.
#[derive(Debug)]
pub enum Old<'a> {
    /// On disk.
    File(&'a File),
    /// In memory.
    Bytes(&'a [u8]),
}

impl Old<'_> {
    fn length(&self) -> io::Result<u64> {
        match self {
            Old::File(file) => Ok(file.metadata()?.len()),
            Old::Bytes(bytes) => Ok(bytes.len() as u64),
        }
    }

    fn read(&self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        match self {
            Old::File(file) => file.read_exact_at(buffer, at),
            Old::Bytes(bytes) => {
                let from = usize::try_from(at).ok().and_then(|at| bytes.get(at..));
                let from = from.and_then(|bytes| bytes.get(..buffer.len()));
                buffer.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
                Ok(())
            }
        }
    }
}

enum Part<'a> {
    Plain(&'a Old<'a>),
    Unpacked(Vec<u8>),
}

/// All old bytes.
pub(crate) struct Source<'a> {
    /// By the offset of their first byte.
    parts: Vec<(u64, Part<'a>)>,
    pub(crate) length: u64,
}

impl<'a> Source<'a> {
    pub(crate) fn open(layouts: &[Layout], old: &'a [Old<'a>]) -> Result<Self, ApplyError> {
        if layouts.len() != old.len() {
            return Err(Malformed("it is for other files").into());
        }
        let mut source = Source {
            parts: Vec::new(),
            length: 0,
        };
        let mut unpacked_left = UNPACKED_MAX;
        for (number, (layout, old)) in layouts.iter().zip(old).enumerate() {
            if old.length()? != layout.length {
                return Err(ApplyError::Other { number });
            }
            let part = if layout.streams.is_empty() {
                Part::Plain(old)
            } else {
                unpacked_left = unpacked_left
                    .checked_sub(layout.unpacked())
                    .ok_or(Malformed("its archives are larger than they may be"))?;
                Part::Unpacked(unpack(layout, old)?.ok_or(ApplyError::Other { number })?)
            };
            source.parts.push((source.length, part));
            source.length += layout.unpacked();
        }
        debug_assert!(source.length <= BYTES_MAX);
        Ok(source)
    }

    /// Reads bytes, all of which have to be there.
    pub(crate) fn read(&self, mut offset: u64, mut buffer: &mut [u8]) -> io::Result<()> {
        let mut number = self.parts.partition_point(|(begin, _)| *begin <= offset);
        while !buffer.is_empty() {
            let before = number.checked_sub(1).ok_or(io::ErrorKind::UnexpectedEof)?;
            let (begin, part) = &self.parts[before];
            let end = self.parts.get(number).map_or(self.length, |(begin, _)| *begin);
            let length = buffer.len().min(end.saturating_sub(offset) as usize);
            if length == 0 && number == self.parts.len() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let (now, later) = buffer.split_at_mut(length);
            let at = offset - begin;
            match part {
                Part::Plain(old) => old.read(at, now)?,
                Part::Unpacked(bytes) => now.copy_from_slice(&bytes[at as usize..at as usize + length]),
            }
            offset += length as u64;
            buffer = later;
            number += 1;
        }
        Ok(())
    }
}

/// An old archive with its streams unpacked; nothing if they are not where they were.
fn unpack(layout: &Layout, old: &Old<'_>) -> io::Result<Option<Vec<u8>>> {
    let mut file = vec![0; layout.length as usize];
    old.read(0, &mut file)?;
    let mut unpacked = Vec::new();
    let mut at = 0;
    for stream in &layout.streams {
        let begin = at + stream.gap as usize;
        let end = begin + stream.packed as usize;
        unpacked.extend_from_slice(&file[at..begin]);
        match archive::inflate(&file[begin..end], stream.plain) {
            Some(plain) if plain.len() as u64 == stream.plain => unpacked.extend_from_slice(&plain),
            _ => return Ok(None),
        }
        at = end;
    }
    unpacked.extend_from_slice(&file[at..]);
    Ok(Some(unpacked))
}

/// A source and the pages of it that were read lately.
pub(crate) struct Pages<'a> {
    source: &'a Source<'a>,
    /// Each page has one place, by its number: its number and its bytes.
    held: Vec<(u64, Vec<u8>)>,
}

impl<'a> Pages<'a> {
    pub(crate) fn new(source: &'a Source<'a>) -> Self {
        Pages {
            source,
            held: vec![(u64::MAX, Vec::new()); PAGES_HELD],
        }
    }

    /// Reads bytes, all of which have to be there.
    pub(crate) fn read(&mut self, mut offset: u64, mut buffer: &mut [u8]) -> io::Result<()> {
        while !buffer.is_empty() {
            let page = self.page(offset / PAGE_BYTES)?;
            let bytes = page
                .get((offset % PAGE_BYTES) as usize..)
                .filter(|bytes| !bytes.is_empty())
                .ok_or(io::ErrorKind::UnexpectedEof)?;
            let (now, later) = buffer.split_at_mut(bytes.len().min(buffer.len()));
            now.copy_from_slice(&bytes[..now.len()]);
            offset += now.len() as u64;
            buffer = later;
        }
        Ok(())
    }

    fn page(&mut self, number: u64) -> io::Result<&[u8]> {
        let place = number as usize % PAGES_HELD;
        let (held, bytes) = &mut self.held[place];
        if *held != number {
            // Not to be taken for either page if reading fails.
            *held = u64::MAX;
            let begin = number * PAGE_BYTES;
            let length = self.source.length.saturating_sub(begin).min(PAGE_BYTES);
            bytes.resize(length as usize, 0);
            self.source.read(begin, bytes)?;
            *held = number;
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pages_give_what_lies_there(
            lengths in proptest::collection::vec(0..40_000_usize, 1..6),
            reads in proptest::collection::vec((0..200_000_usize, 0..40_000_usize), 0..20),
        ) {
            let files: Vec<Vec<u8>> = lengths
                .iter()
                .enumerate()
                .map(|(number, length)| (0..*length).map(|at| (at * 31 + number * 7 + at / 251) as u8).collect())
                .collect();
            let all = files.concat();
            let old: Vec<Old<'_>> = files.iter().map(|bytes| Old::Bytes(bytes)).collect();
            let layouts: Vec<Layout> = lengths
                .iter()
                .map(|length| Layout { length: *length as u64, streams: Vec::new() })
                .collect();
            let source = Source::open(&layouts, &old).unwrap();
            let mut pages = Pages::new(&source);
            for (at, length) in reads {
                let mut buffer = vec![0; length];
                let read = pages.read(at as u64, &mut buffer);
                match all.get(at..at + length) {
                    Some(expected) => prop_assert_eq!(&buffer, expected),
                    None => prop_assert!(read.is_err() || length == 0),
                }
            }
        }
    }
}
