//! The old, or the new, files one after the other, archives unpacked: in memory, or read in pages.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, PoisonError};

use crate::apply::ApplyError;
use crate::archive;
use crate::budget::Budget;
use crate::layout::{Layout, Stream};
use crate::parallel::in_parallel_with;
use crate::{BYTES_MAX, Malformed};

/// Copies jump: what is read around one serves others nearby, and more than that is read for nothing.
pub(crate) const PAGE_BYTES: u64 = 4 * 1024;
/// Most old bytes that are held in memory while a delta is applied.
pub(crate) const HELD_BYTES_MAX: u64 = 48 * 1024 * 1024;
/// Memory for archives that are unpacked at the same time, packed and unpacked.
const UNPACKING_BYTES: u64 = 96 * 1024 * 1024;
/// Most of it that a thread keeps from one archive to the next.
const PACKED_KEPT_MAX: usize = 1024 * 1024;
/// So many bytes at once are not worth keeping.
const READ_DIRECTLY: usize = 16 * 1024;

/// A file that a delta is made from or applied to.
#[derive(Debug)]
pub enum Input<'a> {
    /// On disk.
    File(&'a File),
    /// On disk, inside a larger file: offset and length.
    Part(&'a File, u64, u64),
    /// In memory.
    Bytes(&'a [u8]),
}

impl Input<'_> {
    pub(crate) fn length(&self) -> io::Result<u64> {
        match self {
            Input::File(file) => Ok(file.metadata()?.len()),
            Input::Part(_, _, length) => Ok(*length),
            Input::Bytes(bytes) => Ok(bytes.len() as u64),
        }
    }

    pub(crate) fn read(&self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        match self {
            Input::File(file) => file.read_exact_at(buffer, at),
            Input::Part(_, _, length) if at + buffer.len() as u64 > *length => {
                Err(io::ErrorKind::UnexpectedEof.into())
            }
            Input::Part(file, offset, _) => file.read_exact_at(buffer, offset + at),
            Input::Bytes(bytes) => {
                let from = usize::try_from(at).ok().and_then(|at| bytes.get(at..));
                let from = from.and_then(|bytes| bytes.get(..buffer.len()));
                buffer.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
                Ok(())
            }
        }
    }
}

enum Part<'a> {
    /// Of a file, from this offset on.
    Plain(&'a Input<'a>, u64),
    /// Of an unpacked archive that is kept in a file, from this offset on.
    Kept(&'a File, u64),
    /// In memory.
    Held(Vec<u8>),
    /// Of an archive that is not unpacked, since the delta does not use it.
    Unused,
}

/// All old, or all new, bytes.
#[derive(Default)]
pub(crate) struct Source<'a> {
    /// By the offset of their first byte.
    parts: Vec<(u64, Part<'a>)>,
    pub(crate) length: u64,
}

/// Bytes of an old file, as they are or packed.
struct Piece<'a> {
    /// Of the file.
    number: usize,
    file: &'a Input<'a>,
    offset: u64,
    kind: PieceKind,
}

enum PieceKind {
    /// So many bytes as they are.
    Plain(u64),
    Packed(Stream),
    /// An archive of so many bytes that the delta does not use.
    Unused(u64),
}

impl Piece<'_> {
    /// Bytes once it is unpacked.
    fn length(&self) -> u64 {
        match self.kind {
            PieceKind::Plain(length) | PieceKind::Unused(length) => length,
            PieceKind::Packed(stream) => stream.plain,
        }
    }

    /// Unpacks a stream, for which it takes memory that was used before, unless there was much of it.
    fn unpack(&self, stream: &Stream, plain: &mut [u8], packed: &mut Vec<u8>) -> Result<(), ApplyError> {
        let length = stream.packed() as usize;
        if packed.len() < length {
            packed.resize(length, 0);
        }
        let own = &mut packed[..length];
        self.file.read(self.offset, own)?;
        let unpacked = archive::unpack_old(own, stream, plain);
        if packed.len() > PACKED_KEPT_MAX {
            *packed = Vec::new();
        }
        unpacked.ok_or(ApplyError::Other { number: self.number })
    }
}

/// Bytes that files have, archives unpacked.
pub(crate) fn unpacked_bytes(layouts: &[Layout]) -> u64 {
    layouts.iter().map(Layout::unpacked).sum()
}

fn archive_bytes(layouts: &[Layout]) -> u64 {
    let streams = layouts.iter().flat_map(|layout| &layout.streams);
    let used = streams.filter(|stream| stream.is_used);
    used.map(|stream| stream.plain).sum()
}

/// Whether all is to be in memory: there is not much of it, and most of it has to be unpacked anyway. What is on disk as
/// it is needed is cheaper to read where it is asked for.
fn is_held(layouts: &[Layout], most: u64) -> bool {
    let all = unpacked_bytes(layouts);
    all <= most && 2 * archive_bytes(layouts) >= all
}

/// Bytes of old archives that are written to a file to be read there.
pub(crate) fn kept_bytes(layouts: &[Layout], most_held: u64) -> u64 {
    if is_held(layouts, most_held) {
        0
    } else {
        archive_bytes(layouts)
    }
}

impl<'a> Source<'a> {
    /// The old files; those of their archives that are used are unpacked on so many threads, into `scratch`, or all is held in
    /// memory, if that is at most so much.
    pub(crate) fn open(
        layouts: &[Layout],
        old: &'a [Input<'a>],
        scratch: &'a File,
        most_held: u64,
        threads: usize,
    ) -> Result<Self, ApplyError> {
        if layouts.len() != old.len() {
            return Err(Malformed("it is for other files").into());
        }
        let mut pieces = Vec::new();
        for (number, (layout, file)) in layouts.iter().zip(old).enumerate() {
            if file.length()? != layout.length {
                return Err(ApplyError::Other { number });
            }
            let mut offset = 0;
            let mut put = |offset, kind| {
                pieces.push(Piece {
                    number,
                    file,
                    offset,
                    kind,
                });
            };
            for stream in &layout.streams {
                if stream.gap > 0 {
                    put(offset, PieceKind::Plain(stream.gap));
                }
                let kind = match stream.is_used {
                    true => PieceKind::Packed(*stream),
                    false => PieceKind::Unused(stream.plain),
                };
                put(offset + stream.gap, kind);
                offset += stream.gap + stream.whole_bytes();
            }
            if offset < layout.length {
                put(offset, PieceKind::Plain(layout.length - offset));
            }
        }
        match is_held(layouts, most_held) {
            true => Source::hold(&pieces, threads),
            false => Source::keep(&pieces, scratch, threads),
        }
    }

    /// All in memory.
    fn hold(pieces: &[Piece<'_>], threads: usize) -> Result<Self, ApplyError> {
        let length: u64 = pieces.iter().map(Piece::length).sum();
        let mut bytes = vec![0; length as usize];
        let mut rest = bytes.as_mut_slice();
        let places: Vec<Mutex<&mut [u8]>> = pieces
            .iter()
            .map(|piece| {
                let place;
                (place, rest) = std::mem::take(&mut rest).split_at_mut(piece.length() as usize);
                Mutex::new(place)
            })
            .collect();
        let budget = Budget::new(UNPACKING_BYTES);
        let read = in_parallel_with(pieces.len(), threads, Vec::new, |packed, number| {
            let (piece, mut place) = (
                &pieces[number],
                places[number].lock().unwrap_or_else(PoisonError::into_inner),
            );
            match &piece.kind {
                PieceKind::Plain(_) => piece.file.read(piece.offset, &mut place)?,
                PieceKind::Packed(stream) => {
                    let _taken = budget.take(stream.packed() + stream.plain);
                    piece.unpack(stream, &mut place, packed)?;
                }
                PieceKind::Unused(_) => {}
            }
            Ok(())
        });
        drop(places);
        read.into_iter().collect::<Result<(), ApplyError>>()?;
        let mut source = Source::default();
        source.put(Part::Held(bytes), length);
        Ok(source)
    }

    /// Archives in a file, everything else where it is.
    fn keep(pieces: &[Piece<'a>], scratch: &'a File, threads: usize) -> Result<Self, ApplyError> {
        let (mut source, mut streams, mut to) = (Source::default(), Vec::new(), 0);
        for piece in pieces {
            match &piece.kind {
                PieceKind::Plain(length) => source.push(piece.file, piece.offset, *length),
                PieceKind::Packed(stream) => {
                    source.push_kept(scratch, to, stream.plain);
                    streams.push((piece, stream, to));
                    to += stream.plain;
                }
                PieceKind::Unused(length) => source.put(Part::Unused, *length),
            }
        }
        let budget = Budget::new(UNPACKING_BYTES);
        let unpacked = in_parallel_with(streams.len(), threads, Vec::new, |packed, number| {
            let (piece, stream, to) = streams[number];
            let _taken = budget.take(stream.packed() + stream.plain);
            let mut plain = vec![0; stream.plain as usize];
            piece.unpack(stream, &mut plain, packed)?;
            scratch.write_all_at(&plain, to).map_err(ApplyError::Scratch)
        });
        unpacked.into_iter().collect::<Result<(), _>>()?;
        debug_assert!(source.length <= BYTES_MAX);
        Ok(source)
    }

    fn put(&mut self, part: Part<'a>, length: u64) {
        if length > 0 {
            self.parts.push((self.length, part));
            self.length += length;
        }
    }

    /// Appends a part of a file, from this offset on.
    pub(crate) fn push(&mut self, file: &'a Input<'a>, offset: u64, length: u64) {
        self.put(Part::Plain(file, offset), length);
    }

    /// Appends an unpacked archive that is kept in a file, from this offset on.
    pub(crate) fn push_kept(&mut self, file: &'a File, offset: u64, length: u64) {
        self.put(Part::Kept(file, offset), length);
    }

    /// The same in memory.
    pub(crate) fn held(&self) -> io::Result<Source<'static>> {
        let mut bytes = vec![0; self.length as usize];
        self.read(0, &mut bytes)?;
        let mut source = Source::default();
        source.put(Part::Held(bytes), self.length);
        Ok(source)
    }

    /// All of it, if it is in memory.
    fn in_memory(&self) -> Option<&[u8]> {
        match self.parts.as_slice() {
            [(_, Part::Held(bytes))] => Some(bytes),
            _ => None,
        }
    }

    /// Reads bytes, all of which have to be there.
    pub(crate) fn read(&self, mut offset: u64, mut buffer: &mut [u8]) -> io::Result<()> {
        let mut number = self.parts.partition_point(|(begin, _)| *begin <= offset);
        while !buffer.is_empty() {
            let before = number.checked_sub(1).ok_or(io::ErrorKind::UnexpectedEof)?;
            let (begin, part) = self.parts.get(before).ok_or(io::ErrorKind::UnexpectedEof)?;
            let end = self.parts.get(number).map_or(self.length, |(begin, _)| *begin);
            let length = buffer.len().min(end.saturating_sub(offset) as usize);
            if length == 0 && number == self.parts.len() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let (now, later) = buffer.split_at_mut(length);
            let at = offset - begin;
            match part {
                Part::Plain(file, from) => file.read(from + at, now)?,
                Part::Kept(file, from) => file.read_exact_at(now, from + at)?,
                Part::Held(bytes) => now.copy_from_slice(&bytes[at as usize..at as usize + length]),
                // Read beside what is used, or for a delta that lies.
                Part::Unused => now.fill(0),
            }
            offset += length as u64;
            buffer = later;
            number += 1;
        }
        Ok(())
    }
}

/// A source and the pages of it that were read lately; one that is in memory is left where it is.
pub(crate) struct Pages<'a> {
    source: &'a Source<'a>,
    in_memory: Option<&'a [u8]>,
    /// Each page has one place, by its number: here its number, and its bytes in the other.
    held: Vec<u64>,
    bytes: Vec<u8>,
}

impl<'a> Pages<'a> {
    /// Holds at most so many pages.
    pub(crate) fn new(source: &'a Source<'a>, held: usize) -> Self {
        let in_memory = source.in_memory();
        let held = if in_memory.is_some() { 0 } else { held };
        Pages {
            source,
            in_memory,
            held: vec![u64::MAX; held],
            bytes: vec![0; held * PAGE_BYTES as usize],
        }
    }

    /// Reads bytes, all of which have to be there.
    pub(crate) fn read(&mut self, mut offset: u64, mut buffer: &mut [u8]) -> io::Result<()> {
        if let Some(bytes) = self.in_memory {
            return Input::Bytes(bytes).read(offset, buffer);
        }
        if buffer.len() >= READ_DIRECTLY {
            return self.source.read(offset, buffer);
        }
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

    /// The bytes from here to the end of their page, or of all; none at the end of the source.
    pub(crate) fn from(&mut self, offset: usize) -> io::Result<&[u8]> {
        if let Some(bytes) = self.in_memory {
            return Ok(bytes.get(offset..).unwrap_or_default());
        }
        let offset = offset as u64;
        if offset >= self.source.length {
            return Ok(&[]);
        }
        let page = self.page(offset / PAGE_BYTES)?;
        Ok(&page[(offset % PAGE_BYTES) as usize..])
    }

    fn page(&mut self, number: u64) -> io::Result<&[u8]> {
        let place = number as usize % self.held.len();
        let begin = number * PAGE_BYTES;
        let length = self.source.length.saturating_sub(begin).min(PAGE_BYTES) as usize;
        let bytes = &mut self.bytes[place * PAGE_BYTES as usize..][..length];
        if self.held[place] != number {
            // Not to be taken for either page if reading fails.
            self.held[place] = u64::MAX;
            self.source.read(begin, bytes)?;
            self.held[place] = number;
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;
    use crate::layout::Coding;
    use crate::tests::noise;
    use crate::tokens;

    #[test]
    fn archives_that_are_not_used_are_not_unpacked_and_take_no_room() {
        let contents: Vec<Vec<u8>> = (1..=3).map(|seed| noise(5000, seed)).collect();
        let (mut file, mut streams, mut unpacked) = (b"before".to_vec(), Vec::new(), b"before".to_vec());
        for (number, content) in contents.iter().enumerate() {
            let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::new(6));
            encoder.write_all(content).unwrap();
            let packed = encoder.finish().unwrap();
            let (tokens, _) = tokens::unpack(&packed, u64::MAX).unwrap();
            let is_used = number != 1;
            streams.push(Stream {
                coding: Coding::Deflate,
                gap: if number == 0 { 6 } else { 0 },
                begin: 0,
                bits: 8 * packed.len() as u64,
                plain: tokens.len() as u64,
                recipe: 0,
                is_used,
            });
            file.extend(match is_used {
                true => packed,
                // Nobody looks.
                false => vec![0xff; packed.len()],
            });
            unpacked.extend(match is_used {
                true => tokens,
                false => vec![0; tokens.len()],
            });
        }
        file.extend_from_slice(b"behind");
        unpacked.extend_from_slice(b"behind");
        let kept = streams[0].plain + streams[2].plain;
        let layouts = [Layout {
            length: file.len() as u64,
            streams,
        }];
        assert_eq!(kept_bytes(&layouts, 0), kept);
        assert_eq!(kept_bytes(&layouts, HELD_BYTES_MAX), 0);
        for most_held in [0, HELD_BYTES_MAX] {
            let (old, scratch) = ([Input::Bytes(&file)], tempfile::tempfile().unwrap());
            let source = Source::open(&layouts, &old, &scratch, most_held, 2).unwrap();
            assert_eq!(source.length, unpacked.len() as u64);
            let mut pages = Pages::new(&source, 3);
            for (at, length) in [
                (0, unpacked.len()),
                (4990, 30),
                (9990, 40),
                (unpacked.len() - 10, 10),
            ] {
                let mut buffer = vec![0x55; length];
                pages.read(at as u64, &mut buffer).unwrap();
                assert!(buffer == unpacked[at..at + length], "{most_held}: {at}");
            }
            assert_eq!(
                scratch.metadata().unwrap().len(),
                if most_held == 0 { kept } else { 0 }
            );
        }
    }

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
            let old: Vec<Input<'_>> = files.iter().map(|bytes| Input::Bytes(bytes)).collect();
            let pieces: Vec<Piece<'_>> = old
                .iter()
                .enumerate()
                .map(|(number, file)| Piece { number, file, offset: 0, kind: PieceKind::Plain(file.length().unwrap()) })
                .collect();
            let scratch = tempfile::tempfile().unwrap();
            let sources = [Source::hold(&pieces, 2).unwrap(), Source::keep(&pieces, &scratch, 2).unwrap()];
            for source in &sources {
                let mut pages = Pages::new(source, 3);
                for (at, length) in &reads {
                    let mut buffer = vec![0; *length];
                    let read = pages.read(*at as u64, &mut buffer);
                    match all.get(*at..at + length) {
                        Some(expected) => prop_assert_eq!(&buffer, expected),
                        None => prop_assert!(read.is_err() || *length == 0),
                    }
                }
            }
        }
    }
}
