//! Round trips, damaged deltas, programs and archives.

use std::io::Write;

use proptest::prelude::*;

use crate::{ApplyError, Input, apply, make};

fn made<'a>(old: &[&'a [u8]], new: &[&'a [u8]], threads: usize) -> Vec<u8> {
    let files =
        |files: &[&'a [u8]]| -> Vec<Input<'a>> { files.iter().map(|file| Input::Bytes(file)).collect() };
    let scratch = tempfile::tempfile().unwrap();
    make(&files(old), &files(new), threads, 64 << 20, &scratch)
        .unwrap()
        .unwrap()
}

fn applied(delta: &[u8], old: &[&[u8]], lengths: &[u64]) -> Result<Vec<Vec<u8>>, ApplyError> {
    let old: Vec<Input<'_>> = old.iter().map(|bytes| Input::Bytes(bytes)).collect();
    let mut files = vec![Vec::new(); lengths.len()];
    apply(delta, &old, lengths, &mut |number, bytes| {
        files[number].extend_from_slice(bytes);
        Ok(())
    })?;
    Ok(files)
}

/// The length of the delta, which was applied and gave the new files.
fn round_trip(old: &[&[u8]], new: &[&[u8]]) -> usize {
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
fn noise(length: usize, seed: u64) -> Vec<u8> {
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
fn program(gap: usize) -> Vec<u8> {
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

fn gzip(bytes: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(level));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Text that compresses, with many lines of it changed.
fn text(changed: bool) -> Vec<u8> {
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
        crate::fuzz::fuzz_delta(&changed, &old, new.len() as u64);
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
        crate::fuzz::fuzz_delta(&bytes, b"old bytes", 10);
        crate::fuzz::fuzz_delta(&[b"TGD3", bytes.as_slice()].concat(), b"old bytes", 10);
    }
}
