//! Applying a delta: the new files from front to back, with memory that does not grow with them.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::addresses::{Field, Moves, Predictor};
use crate::archive;
use crate::entropy::Unpacked;
use crate::instructions::to_relative;
use crate::layout::{Head, Layout, MAGIC};
use crate::make::PIECE_BYTES;
use crate::matching::{Copy, Recent};
use crate::varint::Reader;
use crate::{BYTES_MAX, Malformed};

/// Most bytes of the streams that are held in memory whole.
const NUMBERS_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Most bytes of old archives, unpacked: they are held in memory.
pub(crate) const OLD_UNPACKED_MAX: u64 = 96 * 1024 * 1024;

/// Takes the next bytes of a new file, by its number.
pub type Write<'a> = dyn FnMut(usize, &[u8]) -> io::Result<()> + 'a;

/// An old file.
#[derive(Debug)]
pub enum Old<'a> {
    /// On disk.
    File(&'a File),
    /// In memory.
    Bytes(&'a [u8]),
}

/// Why a delta could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// It is no delta, or one for other files.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// An old file is not what the delta was made from.
    #[error("old file {number} is not what the delta was made from")]
    Other {
        /// Its number, from 0.
        number: usize,
    },
    /// Reading an old file, or whatever takes the new ones.
    #[error("cannot read an old file or write a new one")]
    Io(#[from] io::Error),
}

/// The pieces in which a copy is predicted and corrected.
pub(crate) fn pieces(copy: Copy) -> impl Iterator<Item = Copy> {
    (0..copy.length).step_by(PIECE_BYTES).map(move |at| Copy {
        new: copy.new + at,
        old: copy.old + at,
        length: PIECE_BYTES.min(copy.length - at),
    })
}

/// Writes the new files, whose lengths must be `new`, one after the other: `write` is called with a file's number and
/// its next bytes. The bytes are only as good as the delta: whoever called checks their hash.
pub fn apply(delta: &[u8], old: &[Old<'_>], new: &[u64], write: &mut Write<'_>) -> Result<(), ApplyError> {
    let mut from = Reader(delta);
    if from.bytes(MAGIC.len() as u64)? != MAGIC {
        return Err(Malformed("it begins with something else").into());
    }
    let absolute = from.byte()? != 0;
    let head = Head::read(&Unpacked::take(&mut from, NUMBERS_BYTES_MAX)?.all()?)?;
    if !head.new.iter().map(|file| file.length).eq(new.iter().copied()) {
        return Err(Malformed("it is for other files").into());
    }
    let recipes = Unpacked::take(&mut from, NUMBERS_BYTES_MAX)?.all()?;
    let mut numbers = || Unpacked::take(&mut from, NUMBERS_BYTES_MAX)?.all();
    let (literal_lengths, copy_lengths) = (numbers()?, numbers()?);
    let (places, jumps) = (numbers()?, numbers()?);
    let (differing, agreeing) = (numbers()?, numbers()?);
    let values = Unpacked::take(&mut from, BYTES_MAX)?;
    let mut literals = Unpacked::take(&mut from, BYTES_MAX)?;
    if !from.is_empty() {
        return Err(Malformed("it is longer than it says").into());
    }
    let before = Before::open(&head.old, old)?;
    let length: u64 = head.new.iter().map(Layout::unpacked).sum();
    let (copies, rest) = read_copies(
        [&literal_lengths, &copy_lengths, &places, &jumps],
        before.length as usize,
        length as usize,
        literals.left() as usize,
    )?;
    check_programs(&head, before.length)?;
    let moves = Moves::new(&copies, before.length as usize);
    let predictor = Predictor::new(head.programs, moves, |offset, length| {
        let mut bytes = vec![0; length as usize];
        before.read(offset, &mut bytes).map(|()| bytes)
    })?;
    let mut after = After {
        files: &head.new,
        recipes: &recipes,
        number: 0,
        at: 0,
        stream: 0,
        pending: Vec::new(),
        write,
    };
    let mut corrections = Corrections {
        agreeing: Reader(&agreeing),
        differing: Reader(&differing),
        values,
        run: 0,
        wrong: 0,
    };
    corrections.next_run()?;
    let (mut buffer, mut fields) = (vec![0; PIECE_BYTES], Vec::new());
    let mut at = 0;
    for copy in &copies {
        after.literals(&mut literals, (at, copy.new), absolute, &mut buffer)?;
        for piece in pieces(*copy) {
            let bytes = &mut buffer[..piece.length];
            before.read(piece.old as u64, bytes)?;
            predictor.predict(bytes, piece.old as u64, piece.new as u64, &mut fields);
            corrections.apply(bytes, &fields)?;
            after.put(bytes)?;
        }
        at = copy.new + copy.length;
    }
    after.literals(&mut literals, (at, at + rest), absolute, &mut buffer)?;
    after.end()?;
    corrections.end()?;
    Ok(())
}

/// Reads the copies and checks that they stay inside; says how many literals follow the last one.
fn read_copies(
    [literal_lengths, copy_lengths, places, jumps]: [&[u8]; 4],
    old: usize,
    new: usize,
    literals: usize,
) -> Result<(Vec<Copy>, usize), Malformed> {
    const OUTSIDE: Malformed = Malformed("a copy lies outside the files");
    let (mut literal_lengths, mut copy_lengths) = (Reader(literal_lengths), Reader(copy_lengths));
    let (mut places, mut jumps) = (Reader(places), Reader(jumps));
    let mut recent = Recent::default();
    let mut copies = Vec::new();
    let (mut at, mut literals_left) = (0_usize, literals);
    while !copy_lengths.is_empty() {
        let literal = literal_lengths.number_to(literals_left as u64, "it lacks bytes")? as usize;
        let length = copy_lengths.number_to(new as u64, OUTSIDE.0)? as usize;
        literals_left -= literal;
        at += literal;
        let distance = match recent.take(usize::from(places.byte()?)) {
            Some(distance) => distance,
            None => {
                let distance = recent.0[0].checked_add(jumps.signed()?).ok_or(OUTSIDE)?;
                recent.push(distance);
                distance
            }
        };
        let from = distance
            .checked_add(at as i64)
            .and_then(|from| usize::try_from(from).ok());
        let from = from.ok_or(OUTSIDE)?;
        if length == 0 || from > old || length > old - from || at > new || length > new - at {
            return Err(OUTSIDE);
        }
        copies.push(Copy {
            new: at,
            old: from,
            length,
        });
        at += length;
    }
    if !literal_lengths.is_empty() || !places.is_empty() || !jumps.is_empty() || new - at != literals_left {
        return Err(Malformed("its copies and bytes are not those of its files"));
    }
    Ok((copies, literals_left))
}

/// Programs lie inside the old bytes.
fn check_programs(head: &Head, old: u64) -> Result<(), Malformed> {
    let inside = head
        .programs
        .iter()
        .flat_map(|program| &program.regions)
        .all(|region| region.offset + region.length <= old);
    inside
        .then_some(())
        .ok_or(Malformed("a program lies outside the files"))
}

/// The old files one after the other, archives unpacked.
struct Before<'a> {
    parts: Vec<(u64, Part<'a>)>,
    length: u64,
    /// The piece of a file that was read last.
    near: std::cell::RefCell<Near>,
}

enum Part<'a> {
    File(&'a File),
    Bytes(&'a [u8]),
    Unpacked(Vec<u8>),
}

#[derive(Default)]
struct Near {
    part: usize,
    offset: u64,
    bytes: Vec<u8>,
}

/// Copies are short and lie near each other: a file is read in pieces of this size.
const NEAR_BYTES: usize = 256 * 1024;

impl<'a> Before<'a> {
    fn open(layouts: &[Layout], old: &[Old<'a>]) -> Result<Self, ApplyError> {
        if layouts.len() != old.len() {
            return Err(Malformed("it is for other files").into());
        }
        let mut parts = Vec::new();
        let (mut length, mut unpacked_left) = (0, OLD_UNPACKED_MAX);
        for (number, (layout, old)) in layouts.iter().zip(old).enumerate() {
            let found = match old {
                Old::File(file) => file.metadata()?.len(),
                Old::Bytes(bytes) => bytes.len() as u64,
            };
            if found != layout.length {
                return Err(ApplyError::Other { number });
            }
            let part = if layout.streams.is_empty() {
                match old {
                    Old::File(file) => Part::File(file),
                    Old::Bytes(bytes) => Part::Bytes(bytes),
                }
            } else {
                unpacked_left = unpacked_left
                    .checked_sub(layout.unpacked())
                    .ok_or(Malformed("its archives are larger than they may be"))?;
                Part::Unpacked(unpack(layout, old)?.ok_or(ApplyError::Other { number })?)
            };
            parts.push((length, part));
            length += layout.unpacked();
        }
        Ok(Before {
            parts,
            length,
            near: std::cell::RefCell::default(),
        })
    }

    /// Reads old bytes. They are there: offsets were checked.
    fn read(&self, mut offset: u64, mut buffer: &mut [u8]) -> io::Result<()> {
        while !buffer.is_empty() {
            let number = self.parts.partition_point(|(begin, _)| *begin <= offset) - 1;
            let (begin, part) = &self.parts[number];
            let end = self
                .parts
                .get(number + 1)
                .map_or(self.length, |(begin, _)| *begin);
            let length = buffer.len().min((end - offset) as usize);
            let (now, later) = buffer.split_at_mut(length);
            let at = offset - begin;
            match part {
                Part::File(file) => self.read_file(number, file, at, now)?,
                Part::Bytes(bytes) => now.copy_from_slice(&bytes[at as usize..at as usize + length]),
                Part::Unpacked(bytes) => now.copy_from_slice(&bytes[at as usize..at as usize + length]),
            }
            offset += length as u64;
            buffer = later;
        }
        Ok(())
    }

    fn read_file(&self, number: usize, file: &File, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        let near = &mut *self.near.borrow_mut();
        let inside = near.part == number
            && at >= near.offset
            && at + buffer.len() as u64 <= near.offset + near.bytes.len() as u64;
        if !inside {
            if buffer.len() * 2 > NEAR_BYTES {
                return file.read_exact_at(buffer, at);
            }
            // A little before, since jumps go both ways.
            (near.part, near.offset) = (number, at.saturating_sub(NEAR_BYTES as u64 / 4));
            near.bytes.resize(NEAR_BYTES, 0);
            let mut filled = 0;
            while filled < NEAR_BYTES {
                match file.read_at(&mut near.bytes[filled..], near.offset + filled as u64)? {
                    0 => break,
                    read => filled += read,
                }
            }
            near.bytes.truncate(filled);
        }
        let from = (at - near.offset) as usize;
        let bytes = near
            .bytes
            .get(from..from + buffer.len())
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }
}

/// An old archive with its streams unpacked; nothing if they are not where they were.
fn unpack(layout: &Layout, old: &Old<'_>) -> io::Result<Option<Vec<u8>>> {
    let mut file = vec![0; layout.length as usize];
    match old {
        Old::File(from) => from.read_exact_at(&mut file, 0)?,
        Old::Bytes(bytes) => file.copy_from_slice(bytes),
    }
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

/// The new files, archives packed again.
struct After<'a> {
    files: &'a [Layout],
    recipes: &'a [u8],
    /// The file that is written, and how much of it was taken since its begin or its last stream.
    number: usize,
    at: u64,
    stream: usize,
    /// Plain bytes of the stream that is being collected.
    pending: Vec<u8>,
    write: &'a mut Write<'a>,
}

impl After<'_> {
    fn literals(
        &mut self,
        literals: &mut Unpacked<'_>,
        (mut at, end): (usize, usize),
        absolute: bool,
        buffer: &mut [u8],
    ) -> Result<(), ApplyError> {
        while at < end {
            let now = (end - at).min(buffer.len());
            literals.fill(&mut buffer[..now])?;
            if absolute {
                to_relative(&mut buffer[..now], at as u64);
            }
            self.put(&buffer[..now])?;
            at += now;
        }
        Ok(())
    }

    fn put(&mut self, mut bytes: &[u8]) -> Result<(), ApplyError> {
        while !bytes.is_empty() {
            let file = self
                .files
                .get(self.number)
                .ok_or(Malformed("it has more bytes than its files"))?;
            match file.streams.get(self.stream) {
                Some(stream) if self.at < stream.gap => {
                    let now = bytes.len().min((stream.gap - self.at) as usize);
                    (self.write)(self.number, &bytes[..now])?;
                    self.at += now as u64;
                    bytes = &bytes[now..];
                }
                Some(stream) => {
                    let now = bytes.len().min(stream.plain as usize - self.pending.len());
                    self.pending.extend_from_slice(&bytes[..now]);
                    bytes = &bytes[now..];
                    if self.pending.len() as u64 == stream.plain {
                        self.pack(stream.recipe, stream.packed)?;
                    }
                }
                None => {
                    let packed: u64 = file.streams.iter().map(|stream| stream.gap + stream.packed).sum();
                    let left = file.length - packed - self.at;
                    if left == 0 {
                        self.number += 1;
                        (self.at, self.stream) = (0, 0);
                        continue;
                    }
                    let now = bytes.len().min(left as usize);
                    (self.write)(self.number, &bytes[..now])?;
                    self.at += now as u64;
                    bytes = &bytes[now..];
                }
            }
        }
        Ok(())
    }

    fn pack(&mut self, recipe: u64, packed: u64) -> Result<(), ApplyError> {
        let (recipe, later) = self
            .recipes
            .split_at_checked(recipe as usize)
            .ok_or(Malformed("it lacks a recipe"))?;
        let bytes = archive::pack(&self.pending, recipe)?;
        if bytes.len() as u64 != packed {
            return Err(Malformed("an archive cannot be packed again").into());
        }
        (self.write)(self.number, &bytes)?;
        self.recipes = later;
        self.pending.clear();
        (self.at, self.stream) = (0, self.stream + 1);
        Ok(())
    }

    fn end(&self) -> Result<(), Malformed> {
        match self.pending.is_empty() && self.recipes.is_empty() {
            true => Ok(()),
            false => Err(Malformed("it ends inside an archive")),
        }
    }
}

/// The differences between what was predicted and what is.
struct Corrections<'a> {
    agreeing: Reader<'a>,
    differing: Reader<'a>,
    values: Unpacked<'a>,
    run: u64,
    wrong: u64,
}

impl Corrections<'_> {
    /// The next runs; without any, all the rest agrees.
    fn next_run(&mut self) -> Result<(), Malformed> {
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

    fn apply(&mut self, bytes: &mut [u8], fields: &[Field]) -> Result<(), Malformed> {
        let mut at = 0;
        let mut next_field = 0;
        while at < bytes.len() {
            if self.run >= (bytes.len() - at) as u64 {
                self.run -= (bytes.len() - at) as u64;
                return Ok(());
            }
            at += self.run as usize;
            self.run = 0;
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
        if self.run > 0 {
            self.run -= 1;
            return Ok(0);
        }
        let mut value = [0];
        self.values.fill(&mut value)?;
        self.wrong -= 1;
        if self.wrong == 0 {
            self.next_run()?;
        }
        Ok(value[0])
    }

    fn end(&self) -> Result<(), Malformed> {
        match self.agreeing.is_empty() && self.differing.is_empty() && self.values.left() == 0 {
            true => Ok(()),
            false => Err(Malformed("it has more corrections than copies")),
        }
    }
}
