//! Applying a delta: the new files from front to back, with memory that does not grow with them.

use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::Scope;

use crate::addresses::{Field, Moves, Predictor};
use crate::entropy::{Ahead, Unpacked};
use crate::instructions::to_relative;
use crate::layout::{Head, Layout, MAGIC};
use crate::make::PIECE_BYTES;
use crate::matching::{Copy, Recent};
use crate::repack::{CHUNKS_WAITING, Chunk, Files};
use crate::source::{Input, Pages, Source};
use crate::varint::Reader;
use crate::{BYTES_MAX, Malformed};

/// Most bytes of the streams that are held in memory whole.
const NUMBERS_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Pages of old files that are held: where copies come from moves slowly through them.
const PAGES_HELD: usize = 2048;

/// Takes the next bytes of a new file, by its number.
pub type Write<'a> = dyn FnMut(usize, &[u8]) -> io::Result<()> + 'a;

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
///
/// `write` runs on the calling thread, beside others that unpack and predict.
pub fn apply(delta: &[u8], old: &[Input<'_>], new: &[u64], write: &mut Write<'_>) -> Result<(), ApplyError> {
    let mut from = Reader(delta);
    if from.bytes(MAGIC.len() as u64)? != MAGIC {
        return Err(Malformed("it begins with something else").into());
    }
    let absolute = from.byte()? != 0;
    let head = Head::read(&Unpacked::take(&mut from, NUMBERS_BYTES_MAX)?.all()?)?;
    if !head.new.iter().map(|file| file.length).eq(new.iter().copied()) {
        return Err(Malformed("it is for other files").into());
    }
    let mut numbers = || Unpacked::take(&mut from, NUMBERS_BYTES_MAX);
    let numbers = [
        numbers()?,
        numbers()?,
        numbers()?,
        numbers()?,
        numbers()?,
        numbers()?,
        numbers()?,
    ];
    let values = Unpacked::take(&mut from, BYTES_MAX)?;
    let literals = Unpacked::take(&mut from, BYTES_MAX)?;
    if !from.is_empty() {
        return Err(Malformed("it is longer than it says").into());
    }
    let source = Source::open(&head.old, old)?;
    std::thread::scope(|scope| {
        let (sender, chunks) = sync_channel(CHUNKS_WAITING);
        // Unpacking the longest streams begins at once; they are read while more of them is unpacked.
        let (values, literals) = (values.ahead(scope), literals.ahead(scope));
        let maker = scope.spawn(|| {
            let numbers = unpack_numbers(scope, numbers)?;
            make_files(head, absolute, &numbers, values, literals, &source, sender)
        });
        let written = chunks.iter().try_for_each(|chunk: Chunk| chunk.write(write));
        // Ends the maker at its next chunk, if writing failed.
        drop(chunks);
        let made = maker
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        written?;
        made
    })
}

/// The short streams: recipes, literal lengths, copy lengths, places, jumps, differing and agreeing runs.
type Numbers = [Vec<u8>; 7];

fn unpack_numbers<'scope>(
    scope: &'scope Scope<'scope, '_>,
    streams: [Unpacked<'scope>; 7],
) -> Result<Numbers, ApplyError> {
    let handles = streams.map(|stream| scope.spawn(|| stream.all()));
    let mut all = Numbers::default();
    for (numbers, handle) in all.iter_mut().zip(handles) {
        *numbers = handle
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    }
    Ok(all)
}

fn make_files(
    head: Head,
    absolute: bool,
    numbers: &Numbers,
    values: Ahead,
    mut literals: Ahead,
    source: &Source<'_>,
    sender: SyncSender<Chunk>,
) -> Result<(), ApplyError> {
    let [
        recipes,
        literal_lengths,
        copy_lengths,
        places,
        jumps,
        differing,
        agreeing,
    ] = numbers;
    let length: u64 = head.new.iter().map(Layout::unpacked).sum();
    let (copies, rest) = read_copies(
        [literal_lengths, copy_lengths, places, jumps],
        source.length as usize,
        length as usize,
        literals.left() as usize,
    )?;
    check_programs(&head, source.length)?;
    let moves = Moves::new(&copies, source.length as usize);
    let predictor = Predictor::new(head.programs, moves, |offset, length| {
        let mut bytes = vec![0; length as usize];
        source.read(offset, &mut bytes).map(|()| bytes)
    })?;
    let mut files = Files::new(&head.new, recipes, sender);
    let mut corrections = Corrections {
        agreeing: Reader(agreeing),
        differing: Reader(differing),
        values,
        run: 0,
        wrong: 0,
    };
    corrections.next_run()?;
    let mut pages = Pages::new(source, PAGES_HELD);
    let (mut buffer, mut fields) = (vec![0; PIECE_BYTES], Vec::new());
    let mut at = 0;
    let mut put_literals = |files: &mut Files<'_>, mut at: usize, end: usize, buffer: &mut [u8]| {
        while at < end {
            let now = (end - at).min(buffer.len());
            literals.fill(&mut buffer[..now])?;
            if absolute {
                to_relative(&mut buffer[..now], at as u64);
            }
            files.put(&buffer[..now])?;
            at += now;
        }
        Ok::<(), ApplyError>(())
    };
    for copy in &copies {
        put_literals(&mut files, at, copy.new, &mut buffer)?;
        for piece in pieces(*copy) {
            let bytes = &mut buffer[..piece.length];
            pages.read(piece.old as u64, bytes)?;
            predictor.predict(bytes, piece.old as u64, piece.new as u64, &mut fields);
            corrections.apply(bytes, &fields)?;
            files.put(bytes)?;
        }
        at = copy.new + copy.length;
    }
    put_literals(&mut files, at, at + rest, &mut buffer)?;
    corrections.end()?;
    files.end()
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

/// The differences between what was predicted and what is.
struct Corrections<'a> {
    agreeing: Reader<'a>,
    differing: Reader<'a>,
    values: Ahead,
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
