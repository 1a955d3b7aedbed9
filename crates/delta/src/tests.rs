//! Round trips, damaged deltas, programs and archives.

use std::fs::File;
use std::io::Write as _;

use proptest::prelude::*;

use crate::addresses::{Kind, Program, Region, Span};
use crate::layout::{Head, Layout, MAGIC};
use crate::steps::STREAMS;
use crate::{ApplyError, Delta, Input, Write, make, varint};

fn made<'a>(old: &[&'a [u8]], new: &[&'a [u8]], threads: usize) -> Vec<u8> {
    let files =
        |files: &[&'a [u8]]| -> Vec<Input<'a>> { files.iter().map(|file| Input::Bytes(file)).collect() };
    make(&files(old), &files(new), threads, 64 << 20, &scratch())
        .unwrap()
        .unwrap()
}

fn scratch() -> File {
    tempfile::tempfile().unwrap()
}

/// What comes of it, the same with little that is old in memory and in a file.
pub(crate) fn applied(delta: &[u8], old: &[&[u8]], lengths: &[u64]) -> Result<Vec<Vec<u8>>, ApplyError> {
    let old: Vec<Input<'_>> = old.iter().map(|bytes| Input::Bytes(bytes)).collect();
    let apply = |delta: Delta<'_>| -> Result<_, ApplyError> {
        let mut files = vec![Vec::new(); lengths.len()];
        delta.apply(&old, lengths, &scratch(), &mut |number, bytes| {
            files[number].extend_from_slice(bytes);
            Ok(())
        })?;
        Ok(files)
    };
    let files = apply(Delta::read(delta)?);
    let in_little_memory = apply(Delta::read(delta)?.in_little_memory());
    assert_eq!(files.as_ref().ok(), in_little_memory.as_ref().ok());
    files
}

/// The length of the delta, which was applied and gave the new files.
pub(crate) fn round_trip(old: &[&[u8]], new: &[&[u8]]) -> usize {
    let delta = made(old, new, 2);
    assert!(delta == made(old, new, 1), "it depends on the number of threads");
    let lengths: Vec<u64> = new.iter().map(|bytes| bytes.len() as u64).collect();
    let files = applied(&delta, old, &lengths).unwrap();
    for (number, (file, expected)) in files.iter().zip(new).enumerate() {
        assert!(
            file == expected,
            "file {number} of {} bytes differs",
            expected.len()
        );
    }
    delta.len()
}

/// Bytes that do not compress, the same for the same seed.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(|_| next()).collect()
}

#[test]
fn nothing_and_little() {
    round_trip(&[], &[]);
    round_trip(&[], &[b"abc"]);
    round_trip(&[b""], &[b"", b"x", b""]);
    round_trip(&[b"abc"], &[b""]);
    round_trip(
        &[b"a"],
        &[b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"],
    );
}

#[test]
fn renamed_split_joined_and_shifted_content_costs_next_to_nothing() {
    let (a, b) = (noise(200_000, 1), noise(150_000, 2));
    let joined = [b.as_slice(), &a[1..]].concat();
    let mut touched = a.clone();
    for at in (0..touched.len()).step_by(1000) {
        touched[at] ^= 1;
    }
    let new: [&[u8]; 5] = [&b, &a[50_000..], &a[..50_000], &joined, &touched];
    let length = round_trip(&[&a, &b], &new);
    assert!(length < 1500, "{length}");
}

#[test]
fn a_copy_longer_than_a_piece_and_corrected_at_its_edges() {
    let old = noise(300_000, 3);
    let mut new = old.clone();
    for at in [0, 65_535, 65_536, 65_537, 131_071, 299_999] {
        new[at] ^= 0x55;
    }
    assert!(round_trip(&[&old], &[&new]) < 300);
}

/// An ELF file with one executable segment full of functions that call each other; each is `gap` bytes from the next.
pub(crate) fn program(gap: usize) -> Vec<u8> {
    const CODE: usize = 0x1000;
    let (functions, size) = (2_000, 64);
    let begin = |number: usize| CODE + number * (size + gap);
    let length = begin(functions);
    let mut file = vec![0x90; length];
    file[..CODE].fill(0);
    for number in 0..functions {
        let at = begin(number);
        file[at..at + size].copy_from_slice(&noise(size, 1000 + number as u64));
        file[at + 7] = 0x90;
        file[at + 8] = 0xe8;
        let target = begin((number * 7919) % functions);
        let distance = (target as i64 - (at as i64 + 13)) as i32;
        file[at + 9..at + 13].copy_from_slice(&distance.to_le_bytes());
    }
    let sections = file.len();
    let names = sections + 3 * 64;
    let mut put = |at: usize, value: u64, width: usize| file_put(&mut file, at, value, width);
    put(0, u64::from_le_bytes(*b"\x7fELF\x02\x01\x01\0"), 8);
    put(16, 3, 2);
    put(18, 62, 2);
    put(32, 64, 8);
    put(40, sections as u64, 8);
    put(56, 1, 2);
    put(60, 3, 2);
    put(62, 2, 2);
    put(64, 1, 4);
    put(64 + 8, 0, 8);
    put(64 + 16, 0x40_0000, 8);
    put(64 + 32, sections as u64, 8);
    put(64 + 40, sections as u64, 8);
    put(sections + 64, 1, 4);
    put(sections + 64 + 4, 1, 4);
    put(sections + 64 + 8, 6, 8);
    put(sections + 64 + 24, CODE as u64, 8);
    put(sections + 64 + 32, (sections - CODE) as u64, 8);
    put(sections + 128 + 4, 3, 4);
    put(sections + 128 + 24, names as u64, 8);
    file.resize(names, 0);
    file.extend_from_slice(b"\0.text\0");
    file
}

fn file_put(file: &mut Vec<u8>, at: usize, value: u64, width: usize) {
    file.resize(file.len().max(at + width), 0);
    file[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
}

#[test]
fn calls_that_moved_with_their_targets_cost_nothing() {
    let (old, new) = (program(0), program(16));
    let length = round_trip(&[&old], &[&new]);
    // Every call leads to a place at another distance; without prediction each of them is a correction.
    let blind = round_trip(&[&old[1..]], &[&new[1..]]);
    assert!(length * 4 < blind, "{length} of {blind}");
}

/// An ELF file with these sections: name, type, flags and bytes of each.
fn with_sections(sections: &[(&str, u64, u64, Vec<u8>)]) -> Vec<u8> {
    let mut file = vec![0; 64 + 56];
    let (mut names, mut headers) = (vec![0_u8], vec![[0_u64; 5]]);
    for (name, kind, flags, bytes) in sections {
        headers.push([
            names.len() as u64,
            *kind,
            *flags,
            file.len() as u64,
            bytes.len() as u64,
        ]);
        names.extend_from_slice(name.as_bytes());
        names.push(0);
        file.extend_from_slice(bytes);
    }
    headers.push([0, 3, 0, file.len() as u64, names.len() as u64]);
    file.extend_from_slice(&names);
    let table = file.len();
    for (number, [name, kind, flags, offset, length]) in headers.iter().enumerate() {
        let at = table + number * 64;
        file_put(&mut file, at, *name, 4);
        file_put(&mut file, at + 4, *kind, 4);
        file_put(&mut file, at + 8, *flags, 8);
        file_put(&mut file, at + 24, *offset, 8);
        file_put(&mut file, at + 32, *length, 8);
        file.resize(at + 64, 0);
    }
    let length = file.len() as u64;
    let fields = [
        (0, u64::from_le_bytes(*b"\x7fELF\x02\x01\x01\0"), 8),
        (16, 3, 2),
        (18, 62, 2),
        (32, 64, 8),
        (40, table as u64, 8),
        (56, 1, 2),
        (60, headers.len() as u64, 2),
        (62, headers.len() as u64 - 1, 2),
        (64, 1, 4),
        (64 + 8, 0, 8),
        (64 + 16, 0x40_0000, 8),
        (64 + 32, length, 8),
        (64 + 40, length, 8),
    ];
    for (at, value, width) in fields {
        file_put(&mut file, at, value, width);
    }
    file
}

/// A program with every kind of table, of lengths that fit no record.
fn tables(seed: u64) -> Vec<u8> {
    let record = |number: u64| [number * 24, seed + number * number, number % 7];
    let rows = |count: u64| -> Vec<u8> {
        let rows = (0..count).flat_map(record).flat_map(u64::to_le_bytes);
        rows.chain(noise(13, seed)).collect()
    };
    with_sections(&[
        (".text", 1, 4, noise(70_001, seed)),
        (".symtab", 2, 0, rows(9000)),
        (".rela", 4, 0, rows(3001)),
        (".init_array", 14, 0, rows(11)),
        (".eh_frame_hdr", 1, 0, rows(2002)),
        (".eh_frame", 1, 0, noise(5003, seed + 1)),
        (".rodata", 1, 0, rows(501)),
    ])
}

#[test]
fn tables_of_programs_come_back_in_the_order_they_had() {
    let (old, new) = (tables(1), tables(50));
    assert!(round_trip(&[], &[&new, &old]) * 3 < new.len() * 2);
    assert!(round_trip(&[&old], &[&new]) * 2 < new.len());
    assert!(round_trip(&[&old, b"x"], &[b"y", &old[..old.len() - 1], &new]) * 2 < new.len());
}

#[test]
fn parts_begin_and_end_anywhere_but_inside_an_archive() {
    let (long, short) = (
        gzip(&[text(false), text(false)].concat(), 6),
        gzip(&text(false)[..9000], 6),
    );
    let changed = gzip(&[text(true), text(false)].concat(), 6);
    let other = noise(1_700_000, 9);
    let mut touched = other.clone();
    touched[700_000] ^= 3;
    let old: [&[u8]; 3] = [&long, &other, &short];
    let new = [
        [changed.as_slice(), &short].concat(),
        touched,
        [short.as_slice(), &changed, &other[..600_000]].concat(),
    ];
    let new: Vec<&[u8]> = new.iter().map(Vec::as_slice).collect();
    let all: usize = new.iter().map(|file| file.len()).sum();
    assert!(round_trip(&old, &new) * 8 < all);
}

#[test]
fn an_old_archive_that_nothing_comes_from_is_not_unpacked() {
    let (old, new) = (gzip(&text(false), 6), gzip(&text(true), 6));
    let other = gzip(&noise(50_000, 8), 6);
    let delta = made(&[&other, &old], &[&new], 2);
    assert!(delta.len() * 4 < new.len());
    // Whatever is there: what looks at it finds no stream.
    let damaged = [&other[..12], &vec![0xff; other.len() - 12]].concat();
    for first in [&other, &damaged] {
        assert!(applied(&delta, &[first, &old], &[new.len() as u64]).unwrap() == [new.as_slice()]);
    }
}

#[test]
fn whoever_cannot_write_is_told_and_nothing_goes_on() {
    // More parts than there are places for.
    const LENGTH: usize = 30_000_000;
    let old = noise(LENGTH, 4);
    let mut new = old.clone();
    new[LENGTH - 1000] ^= 1;
    let delta = made(&[&old], &[&new], 2);
    for (threads, failing_at) in [(1, 0), (2, 20_000_000), (2, 0), (8, 3_000_000)] {
        let mut written = 0;
        let mut write = |_: usize, bytes: &[u8]| {
            written += bytes.len();
            match written > failing_at {
                true => Err(std::io::ErrorKind::StorageFull.into()),
                false => Ok(()),
            }
        };
        let length = LENGTH as u64;
        let apply = |old: &[u8], write: &mut Write<'_>| {
            let mut delta = Delta::read(&delta).unwrap();
            delta.threads = threads;
            delta.apply(&[Input::Bytes(old)], &[length], &scratch(), write)
        };
        match apply(&old, &mut write) {
            Err(ApplyError::Io(failure)) => assert_eq!(failure.kind(), std::io::ErrorKind::StorageFull),
            other => panic!("{other:?}"),
        }
        assert!(
            written < failing_at + 2_000_000,
            "{written} bytes were handed over, though the disk was full at {failing_at}"
        );
        let panics = std::panic::catch_unwind(|| apply(&old, &mut |_, _| panic!("the writer is broken")));
        assert!(panics.is_err());
        // What it is made from is damaged: other bytes, no end of the process.
        let mut other = old.clone();
        other[LENGTH / 2] ^= 1;
        let mut same = true;
        let mut at = 0;
        apply(&other, &mut |_, bytes| {
            same &= new[at..at + bytes.len()] == *bytes;
            at += bytes.len();
            Ok(())
        })
        .unwrap();
        assert!(!same && at == LENGTH);
    }
}

/// A delta whose streams are not packed: the head, seven streams of numbers, corrections, and literals of no kind.
pub(crate) fn unpacked(head: &Head, numbers: [&[u8]; 7], values: &[u8], literals: &[u8]) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    let head = head.write();
    let mut put = |bytes: &[u8]| {
        out.extend_from_slice(&[0, 0]);
        varint::put(&mut out, bytes.len() as u64);
        varint::put(&mut out, bytes.len() as u64);
        out.extend_from_slice(bytes);
    };
    put(&head);
    numbers.into_iter().for_each(&mut put);
    put(values);
    put(literals);
    (1..STREAMS).for_each(|_| put(&[]));
    out
}

#[test]
fn programs_that_lie_over_each_other_are_refused() {
    let file = |length| Layout {
        length,
        streams: Vec::new(),
    };
    let program = |offset, length| Program {
        old: vec![Span {
            offset: 0,
            length: 2000,
            address: 0,
        }],
        new: vec![Span {
            offset: 0,
            length: 2000,
            address: 0,
        }],
        blank: None,
        regions: vec![Region {
            offset,
            length,
            kind: Kind::CodeX64,
        }],
    };
    let old = noise(2000, 1);
    // One copy of a hundred bytes, from 500 bytes further on.
    let (mut jump, mut copy) = (Vec::new(), Vec::new());
    varint::put_signed(&mut jump, 500);
    varint::put(&mut copy, 100);
    let numbers: [&[u8]; 7] = [&[], &[0], &copy, &[8], &jump, &[], &[]];
    let with = |programs: Vec<Program>| {
        let head = Head {
            old: vec![file(2000)],
            new: vec![file(100)],
            programs,
            regions: Vec::new(),
        };
        applied(&unpacked(&head, numbers, &[], &[]), &[&old], &[100])
    };
    assert_eq!(with(Vec::new()).unwrap()[0], old[500..600]);
    with(vec![program(0, 1000), program(0, 1000), program(1000, 10)]).unwrap();
    for programs in [
        vec![program(0, 1000), program(1, 999), program(10, 10)],
        vec![program(0, 2001)],
        vec![program(0, 10), program(0, 1000)],
    ] {
        with(programs).unwrap_err();
    }
}

proptest! {
    #[test]
    fn any_numbers_and_programs_are_an_error_or_give_bytes(
        lengths in (0..3000_u64, 0..3000_u64),
        regions in proptest::collection::vec((0..3000_u64, 0..500_u64, 0..Kind::ALL.len()), 0..6),
        own in proptest::collection::vec((0..3000_u64, 0..500_u64, 0..Kind::ALL.len()), 0..6),
        spans in proptest::collection::vec((0..3000_u64, 0..3000_u64, any::<u64>()), 0..4),
        copies in proptest::collection::vec((0..40_u64, 0..900_u64, 0..9_u8, -2000..2000_i64), 0..8),
        runs in proptest::collection::vec((0..300_u64, 0..20_u64), 0..8),
        literals in 0..3000_usize,
    ) {
        let file = |length| Layout { length, streams: Vec::new() };
        let apart = |regions: &[(u64, u64, usize)]| {
            let mut end = 0;
            let put = |(gap, length, kind): &(u64, u64, usize)| {
                let region = Region { offset: end + gap % 500, length: *length, kind: Kind::ALL[*kind] };
                end = region.offset + length;
                region
            };
            regions.iter().map(put).collect::<Vec<_>>()
        };
        let spans: Vec<Span> = spans.into_iter().map(|(offset, length, address)| Span { offset, length, address }).collect();
        let program = Program { old: spans.clone(), new: spans.clone(), blank: None, regions: apart(&regions) };
        let programs = if spans.is_empty() { Vec::new() } else { vec![program.clone(), program] };
        let head = Head { old: vec![file(lengths.0)], new: vec![file(lengths.1)], programs, regions: apart(&own) };
        let mut streams: [Vec<u8>; 7] = Default::default();
        for (literal, length, place, jump) in copies {
            varint::put(&mut streams[1], literal);
            varint::put(&mut streams[2], length);
            streams[3].push(place);
            if place == 8 {
                varint::put_signed(&mut streams[4], jump);
            }
        }
        let mut values = Vec::new();
        for (agreeing, differing) in runs {
            varint::put(&mut streams[6], agreeing);
            varint::put(&mut streams[5], differing);
            values.extend((0..=differing).map(|value| value as u8 + 1));
        }
        let old = noise(lengths.0 as usize, 3);
        let numbers = std::array::from_fn(|number| streams[number].as_slice());
        let delta = unpacked(&head, numbers, &values, &noise(literals, 5));
        crate::fuzz::fuzz_delta(&delta, &old, lengths.1, &scratch());
    }
}

pub(crate) fn gzip(bytes: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(level));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Text that compresses, with many lines of it changed.
pub(crate) fn text(changed: bool) -> Vec<u8> {
    let words = noise(60_000, 5);
    let mut text = Vec::new();
    for (number, chunk) in words.chunks(3).enumerate() {
        let value = if changed && number % 500 == 0 { 7 } else { chunk[0] };
        writeln!(
            text,
            "setting {number} of the module {} is {value}",
            chunk[1] % 16
        )
        .unwrap();
    }
    text
}

#[test]
fn archives_are_looked_into() {
    for level in [1, 6, 9] {
        let (old, new) = (gzip(&text(false), level), gzip(&text(true), level));
        let length = round_trip(&[&old], &[&new]);
        assert!(length * 4 < new.len(), "level {level}: {length} of {}", new.len());
    }
    // With nothing to compare it with, its content packs harder.
    let new = gzip(&text(true)[..100_000], 6);
    assert!(round_trip(&[], &[&new]) * 10 < new.len() * 9);
}

#[test]
fn long_streams_are_made_in_parts_that_begin_within_a_byte() {
    let data: Vec<u8> = noise(900_000, 4).into_iter().map(|byte| byte & 0x3f).collect();
    let packed = |changed: bool| gzip(&[text(changed), data.clone()].concat(), 6);
    let (old, new) = (packed(false), packed(true));
    let header = 10;
    let (_, parts) = crate::tokens::unpack(&new[header..new.len() - 8], u64::MAX).unwrap();
    assert!(parts.len() > 3 && parts.iter().any(|part| part.bits % 8 > 0));
    let length = round_trip(&[&old], &[&new]);
    assert!(length * 16 < new.len(), "{length} of {}", new.len());
    // Among others, and after each other in one file.
    let twice = [&noise(70_000, 8), &new, &new, b"end".as_slice()].concat();
    round_trip(
        &[&old, &noise(70_000, 8)],
        &[b"begin", &twice, &new[..new.len() - 1]],
    );
}

#[test]
fn what_is_the_same_in_two_archives_stays_packed() {
    let member = |bytes: &[u8]| gzip(bytes, 6);
    let same = member(&noise(50_000, 8).iter().map(|byte| byte & 15).collect::<Vec<u8>>());
    let old = [same.clone(), member(&text(false))].concat();
    let new = [member(&text(true)), same].concat();
    let length = round_trip(&[&old], &[&new]);
    assert!(length * 6 < new.len(), "{length} of {}", new.len());
}

#[test]
fn another_old_file_is_noticed() {
    let (old, new) = (gzip(&text(false), 6), gzip(&text(true), 6));
    let delta = made(&[&old], &[&new], 1);
    let lengths = [new.len() as u64];
    let mut other = old.clone();
    let middle = other.len() / 2;
    other[middle] ^= 1;
    match applied(&delta, &[&other], &lengths) {
        Err(ApplyError::Other { number: 0 } | ApplyError::Malformed(_)) => {}
        // Unpacked to something else: then the hash of what comes out tells.
        Ok(files) => assert!(files[0] != new),
        Err(other) => panic!("{other}"),
    }
    assert!(matches!(
        applied(&delta, &[&old[1..]], &lengths),
        Err(ApplyError::Other { number: 0 })
    ));
    assert!(applied(&delta, &[], &lengths).is_err());
    assert!(applied(&delta, &[&old], &[lengths[0] + 1]).is_err());
}

#[test]
fn damaged_deltas_of_programs_never_panic() {
    let (old, new) = (program(0), program(64));
    let delta = made(&[&old], &[&new], 1);
    for at in 0..delta.len().min(6000) {
        let mut changed = delta.clone();
        changed[at] = changed[at].wrapping_add(1 + (at % 255) as u8);
        crate::fuzz::fuzz_delta(&changed, &old, new.len() as u64, &scratch());
    }
}

#[test]
fn damaged_deltas_are_errors_or_other_bytes_but_never_panics() {
    let old = [noise(3000, 6), program(0), gzip(&text(false), 6)].concat();
    let new = [noise(3000, 6), program(64), text(true)].concat();
    let delta = made(&[&old], &[&new], 1);
    for cut in (0..delta.len()).step_by(7) {
        assert!(
            applied(&delta[..cut], &[&old], &[new.len() as u64]).is_err(),
            "cut at {cut}"
        );
    }
    for at in 0..delta.len().min(3000) {
        let mut changed = delta.clone();
        changed[at] = changed[at].wrapping_add(1 + (at % 255) as u8);
        crate::fuzz::fuzz_delta(&changed, &old, new.len() as u64, &scratch());
    }
}

proptest! {
    #[test]
    fn what_was_made_can_be_applied(
        pieces in proptest::collection::vec((0..4000_usize, 0..300_usize, any::<u8>()), 0..20),
        seed in any::<u64>(),
        cuts in (0..4000_usize, 0..2000_usize),
    ) {
        let old = noise(4000, seed);
        let mut new = Vec::new();
        for (at, length, byte) in pieces {
            new.extend_from_slice(&old[at..(at + length).min(old.len())]);
            new.push(byte);
        }
        let (first, second) = old.split_at(cuts.0);
        let (left, right) = new.split_at(cuts.1.min(new.len()));
        round_trip(&[first, second], &[left, right]);
    }

    #[test]
    fn any_bytes_are_no_delta(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        crate::fuzz::fuzz_delta(&bytes, b"old bytes", 10, &scratch());
        crate::fuzz::fuzz_delta(&[MAGIC.as_slice(), &bytes].concat(), b"old bytes", 10, &scratch());
    }
}
