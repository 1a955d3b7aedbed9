//! Applying a delta: the new files from front to back, made in parts by several threads, with memory that does not grow
//! with them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::Scope;

use crate::addresses::Program;
use crate::entropy::{Unpacked, Windows};
use crate::layout::{Head, MAGIC, REGIONS_BYTES_MAX};
use crate::lzma2;
use crate::matching::{Copy, Recent};
use crate::moves::Moves;
use crate::parts::{Buffers, Made, Maker, PART_BYTES, Part, Parts, Runs};
use crate::predict::Predictor;
use crate::source::{HELD_BYTES_MAX, Input, PAGE_BYTES, Pages, Source, kept_bytes, unpacked_bytes};
use crate::steps::{self, STREAMS, Steps};
use crate::varint::Reader;
use crate::{BYTES_MAX, Malformed};

/// Most bytes of all the streams together that are held in memory whole.
pub(crate) const NUMBERS_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Most copies of a delta: they are held in memory, too.
pub(crate) const COPIES_MAX: usize = 4 * 1024 * 1024;
/// Most pages of old files that all threads hold together: where copies come from moves slowly through them.
const PAGES_HELD_MAX: usize = 4096;
/// No more than this share of them, since less is needed for little.
const PAGES_SHARE: usize = 4;
/// Copies for each of which no page is held: a page that is read again costs less than memory that is had for the first time.
const COPIES_PER_PAGE: usize = 32;
/// Most threads that make parts.
const MAKERS_MAX: usize = 8;
/// Places for parts that are under way, for each of them: one is made, others wait to be made or written.
const PLACES_PER_MAKER: usize = 6;
/// Bytes of a part for each of which it takes a place: the longer parts are, the fewer are under way at once.
const PLACE_BYTES: usize = 8 * PART_BYTES;

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
    /// Unpacking old archives.
    #[error("cannot write unpacked archives")]
    Scratch(#[source] io::Error),
    /// Reading an old file, or whatever takes the new ones.
    #[error("cannot read an old file or write a new one")]
    Io(#[from] io::Error),
}

/// A delta of which the head is read.
pub struct Delta<'a> {
    head: Head,
    from: Reader<'a>,
    windows: Windows,
    /// How many bytes the streams may have that are held in memory whole.
    room: u64,
    /// Most old bytes that may be held in memory.
    most_held: u64,
    /// Threads that make parts.
    pub(crate) threads: usize,
}

impl<'a> Delta<'a> {
    /// Reads the head.
    pub fn read(delta: &'a [u8]) -> Result<Self, Malformed> {
        let (mut from, mut windows) = (Reader(delta), Windows::new());
        if from.bytes(MAGIC.len() as u64)? != MAGIC {
            return Err(Malformed("it begins with something else"));
        }
        let packed = Unpacked::take(&mut from, NUMBERS_BYTES_MAX, &mut windows)?;
        let room = NUMBERS_BYTES_MAX - packed.left();
        Ok(Delta {
            head: Head::read(&packed.all()?)?,
            from,
            windows,
            room,
            most_held: HELD_BYTES_MAX,
            threads: std::thread::available_parallelism().map_or(1, |cores| cores.get().min(MAKERS_MAX)),
        })
    }

    /// Keeps old archives in the file however few they are: slower, in less memory.
    pub fn in_little_memory(self) -> Self {
        Delta { most_held: 0, ..self }
    }

    /// Bytes of old archives that are written to a file while it is applied, at most [`BYTES_MAX`].
    pub fn scratch_bytes(&self) -> u64 {
        kept_bytes(&self.head.old, self.most_held)
    }

    /// Writes the new files, whose lengths must be `new`, one after the other: `write` is called with a file's number and
    /// its next bytes. The bytes are only as good as the delta: whoever called checks their hash. Old archives lie
    /// unpacked in `scratch` meanwhile, an empty file, unless they are held in memory.
    ///
    /// `write` runs on the calling thread, beside others that unpack and predict.
    pub fn apply(
        self,
        old: &[Input<'_>],
        new: &[u64],
        scratch: &File,
        write: &mut Write<'_>,
    ) -> Result<(), ApplyError> {
        let Delta {
            mut head,
            mut from,
            mut windows,
            mut room,
            most_held,
            threads,
        } = self;
        if !head.new.iter().map(|file| file.length).eq(new.iter().copied()) {
            return Err(Malformed("it is for other files").into());
        }
        let mut take = |max| Unpacked::take(&mut from, max, &mut windows);
        let numbers = in_order(|_| {
            let stream = take(room)?;
            room -= stream.left();
            Ok(stream)
        })?;
        let values = take(BYTES_MAX)?;
        let literals: [Unpacked<'_>; STREAMS] = in_order(|stream| take(BYTES_MAX)?.restored(stream))?;
        if !from.is_empty() {
            return Err(Malformed("it is longer than it says").into());
        }
        let programs = std::mem::take(&mut head.programs);
        let head = &head;
        std::thread::scope(|scope| {
            // Unpacking the longest streams begins at once; they are read while more of them is unpacked.
            let literals_length = literals.iter().map(Unpacked::left).sum::<u64>() as usize;
            let (values, literals) = (values.ahead(scope), literals.map(|stream| stream.ahead(scope)));
            let opening = scope.spawn(move || Source::open(&head.old, old, scratch, most_held, threads));
            let numbers = unpack_numbers(scope, numbers)?;
            let [
                recipes,
                literal_lengths,
                copy_lengths,
                places,
                jumps,
                differing,
                agreeing,
            ] = &numbers;
            let old_length = unpacked_bytes(&head.old);
            let copies = read_copies(
                [literal_lengths, copy_lengths, places, jumps],
                old_length as usize,
                unpacked_bytes(&head.new) as usize,
                literals_length,
            )?;
            check_programs(&programs, old_length)?;
            // Nobody asks where addresses went if there are none.
            let moved: &[Copy] = if programs.is_empty() { &[] } else { &copies };
            let moves = Moves::new(moved, old_length as usize);
            let source = joined(opening.join())?;
            let predictor = Predictor::new(programs, moves, |offset, length| {
                let mut bytes = vec![0; length as usize];
                source.read(offset, &mut bytes).map(|()| bytes)
            })?;
            let sections = steps::sections(&head.new);
            let buffers = Buffers::default();
            let mut parts = Parts {
                steps: Steps::new(&copies, &head.regions, &sections),
                sections: &sections,
                literals,
                runs: Runs::new(agreeing, differing)?,
                values,
                recipes,
                buffers: &buffers,
            };
            let pages_held = ((old_length / PAGE_BYTES) as usize / PAGES_SHARE)
                .min(copies.len() / COPIES_PER_PAGE)
                .min(PAGES_HELD_MAX);
            make_all(&mut parts, threads, (&source, pages_held), &predictor, write)
        })
    }
}

/// As many as there are, one after the other.
fn in_order<T, const N: usize>(take: impl FnMut(usize) -> Result<T, Malformed>) -> Result<[T; N], Malformed> {
    let all: Vec<T> = (0..N).map(take).collect::<Result<_, _>>()?;
    all.try_into().map_err(|_| Malformed("it ends early"))
}

fn joined<T>(done: std::thread::Result<T>) -> T {
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
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
        *numbers = joined(handle.join())?;
    }
    Ok(all)
}

/// Parts on their way to whoever makes them, by number.
type Queue<'a> = Mutex<Receiver<(usize, Part<'a>)>>;

/// Cuts everything into parts, has them made on so many threads, which hold so many pages of the old bytes together, and
/// writes them in their order.
fn make_all(
    parts: &mut Parts<'_>,
    threads: usize,
    (source, pages_held): (&Source<'_>, usize),
    predictor: &Predictor,
    write: &mut Write<'_>,
) -> Result<(), ApplyError> {
    let under_way = threads * PLACES_PER_MAKER;
    let (to_makers, queue) = sync_channel(under_way);
    let (to_writer, made) = sync_channel(under_way);
    // Places of parts that are under way, given back when they are written.
    let (places, written) = sync_channel(under_way);
    let (queue, budget): (Queue<'_>, _) = (Mutex::new(queue), lzma2::budget());
    let buffers = parts.buffers;
    std::thread::scope(|scope| {
        let cutter = scope.spawn(move || -> Result<(), Malformed> {
            let mut number = 0;
            while let Some(part) = parts.next()? {
                let mut taken = (0..places_of(part.weight(), under_way)).map(|_| places.send(()));
                // Nobody takes it any more only after a failure of its own, which is what is told then.
                if taken.any(|taken| taken.is_err()) || to_makers.send((number, part)).is_err() {
                    break;
                }
                number += 1;
            }
            Ok(())
        });
        for _ in 0..threads {
            let (queue, budget, to_writer) = (&queue, &budget, to_writer.clone());
            scope.spawn(move || {
                let pages = Pages::new(source, pages_held / threads + 1);
                let maker = Maker::new(pages, predictor, budget, buffers);
                make_parts(maker, queue, &to_writer);
            });
        }
        drop(to_writer);
        let give_back = |length| {
            for _ in 0..places_of(length, under_way) {
                // All of them were taken before the part was there.
                let _ = written.try_recv();
            }
        };
        let mut begun = 0;
        let done = write_in_order(made, &give_back, &mut |part| {
            part.write(&mut begun, write, buffers)
        });
        // Ends the others, if writing failed.
        drop(written);
        let cut = joined(cutter.join());
        done.and_then(|()| Ok(cut?))
    })
}

/// The places that a part of so many bytes takes: never more than there are.
fn places_of(length: usize, all: usize) -> usize {
    length.div_ceil(PLACE_BYTES).clamp(1, all)
}

/// The number of a part and what became of it; a panic is told where the parts are written.
type Done = (usize, std::thread::Result<Result<Made, ApplyError>>);

fn make_parts(mut maker: Maker<'_>, queue: &Queue<'_>, to_writer: &SyncSender<Done>) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((number, part)) = next else { return };
        let made = catch_unwind(AssertUnwindSafe(|| maker.make(part)));
        let broken = made.is_err();
        if to_writer.send((number, made)).is_err() || broken {
            return;
        }
    }
}

/// Writes parts by their numbers, in whatever order they arrive, and gives the places of each back.
fn write_in_order(
    made: Receiver<Done>,
    give_back: &dyn Fn(usize),
    write: &mut dyn FnMut(Made) -> io::Result<()>,
) -> Result<(), ApplyError> {
    let (mut waiting, mut next) = (BTreeMap::new(), 0);
    for (number, part) in made {
        waiting.insert(number, joined(part)?);
        while let Some(part) = waiting.remove(&next) {
            let weight = part.weight();
            write(part)?;
            next += 1;
            give_back(weight);
        }
    }
    Ok(())
}

/// Reads the copies and checks that they and the literals between them are exactly the new bytes.
fn read_copies(
    [literal_lengths, copy_lengths, places, jumps]: [&[u8]; 4],
    old: usize,
    new: usize,
    literals: usize,
) -> Result<Vec<Copy>, Malformed> {
    const OUTSIDE: Malformed = Malformed("a copy lies outside the files");
    let (mut literal_lengths, mut copy_lengths) = (Reader(literal_lengths), Reader(copy_lengths));
    let (mut places, mut jumps) = (Reader(places), Reader(jumps));
    let mut recent = Recent::default();
    let mut copies = Vec::new();
    let (mut at, mut literals_left) = (0_usize, literals);
    while !copy_lengths.is_empty() {
        if copies.len() == COPIES_MAX {
            return Err(Malformed("it has too many copies"));
        }
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
        copies.push(Copy::of(at, from, length));
        at += length;
    }
    if !literal_lengths.is_empty() || !places.is_empty() || !jumps.is_empty() || new - at != literals_left {
        return Err(Malformed("its copies and bytes are not those of its files"));
    }
    Ok(copies)
}

/// Programs lie inside the old bytes, and are the same where they meet.
fn check_programs(programs: &[Program], old: u64) -> Result<(), Malformed> {
    const OUTSIDE: Malformed = Malformed("a program lies outside the files");
    let all = programs.iter().flat_map(|program| &program.regions);
    let mut regions: Vec<(u64, u64)> = all.map(|region| (region.offset, region.length)).collect();
    regions.sort_unstable();
    let (mut total, mut last) = (0, (0, 0));
    for (offset, length) in regions {
        total += length;
        if total > REGIONS_BYTES_MAX || offset + length > old {
            return Err(OUTSIDE);
        }
        if offset < last.0 + last.1 && (offset, length) != last {
            return Err(Malformed("programs lie over each other"));
        }
        last = (offset, length);
    }
    Ok(())
}
