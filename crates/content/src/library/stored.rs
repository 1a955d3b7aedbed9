//! Blocks that did not compress. Publishing leaves them as a frame of raw blocks, which is taken apart by copying alone:
//! nothing is decoded, so that the bytes need not be trusted before.

use std::ops::RangeInclusive;

/// A Zstandard frame begins so (RFC 8878, section 3.1.1).
const MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();
/// Single segment: no window descriptor comes.
const SINGLE_SEGMENT: u8 = 0x20;
/// What we never write: a reserved bit, a checksum, a dictionary.
const ELSE: u8 = 0x0F;
/// Window descriptors for 128 KiB to 128 MiB (section 3.1.1.1.2): less would limit blocks too.
const USUAL_WINDOWS: RangeInclusive<u8> = 7 << 3..=17 << 3;
/// Most bytes of a block in a frame (section 3.1.1.2.4).
const RAW_BLOCK_BYTES_MAX: usize = 128 * 1024;

/// Copies what a frame holds if it consists of raw blocks only and holds exactly so many bytes. Otherwise says no, and
/// what was copied means nothing.
pub(crate) fn copy_stored(frame: &[u8], raw: &mut [u8]) -> bool {
    copied(frame, raw).is_some()
}

fn copied(frame: &[u8], raw: &mut [u8]) -> Option<()> {
    let rest = frame.strip_prefix(&MAGIC)?;
    let (descriptor, rest) = rest.split_first()?;
    if descriptor & ELSE != 0 {
        return None;
    }
    let is_single = descriptor & SINGLE_SEGMENT != 0;
    let size_bytes = match descriptor >> 6 {
        0 => usize::from(is_single),
        log => 1 << log,
    };
    let (window, rest) = rest.split_at_checked(usize::from(!is_single))?;
    if window.iter().any(|window| !USUAL_WINDOWS.contains(window)) {
        return None;
    }
    let (size, mut rest) = rest.split_at_checked(size_bytes)?;
    let little_endian = size
        .iter()
        .rev()
        .fold(0_u64, |size, byte| size << 8 | u64::from(*byte));
    // Two bytes say 256 less than there are (section 3.1.1.1.4).
    let size = little_endian + if size_bytes == 2 { 256 } else { 0 };
    if size_bytes != 0 && size != raw.len() as u64 {
        return None;
    }
    let mut written = 0;
    loop {
        let (header, after) = rest.split_first_chunk::<3>()?;
        let header = u32::from_le_bytes([header[0], header[1], header[2], 0]);
        let (is_last, kind, length) = (header & 1 == 1, header >> 1 & 3, (header >> 3) as usize);
        if kind != 0 || length > RAW_BLOCK_BYTES_MAX {
            return None;
        }
        let (block, after) = after.split_at_checked(length)?;
        raw.get_mut(written..written + length)?.copy_from_slice(block);
        (written, rest) = (written + length, after);
        if is_last {
            return (written == raw.len() && rest.is_empty()).then_some(());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand_chacha::ChaCha8Rng;
    use rand_core::{RngCore, SeedableRng};

    use super::*;

    fn random(length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        ChaCha8Rng::seed_from_u64(length as u64).fill_bytes(&mut bytes);
        bytes
    }

    #[test]
    fn what_does_not_compress_is_copied_at_every_level_and_length() {
        for length in [
            1,
            20,
            255,
            256,
            257,
            65_791,
            65_792,
            131_072,
            131_073,
            1_000_000,
            4 << 20,
        ] {
            let bytes = random(length);
            for level in [-3, 1, 3, 19] {
                let frame = zstd::bulk::compress(&bytes, level).unwrap();
                let mut raw = vec![0; length];
                assert!(copy_stored(&frame, &mut raw), "{length} at {level}");
                assert!(raw == bytes);
            }
        }
    }

    #[test]
    fn everything_else_is_left_to_the_decoder() {
        let bytes = random(200_000);
        let frame = zstd::bulk::compress(&bytes, 3).unwrap();
        let mut raw = vec![0; bytes.len()];
        assert!(!copy_stored(&frame, &mut raw[1..]), "another length");
        let longer = [&*frame, &[0]].concat();
        assert!(!copy_stored(&longer, &mut raw), "more after it");
        let compressed = zstd::bulk::compress(&[7; 200_000], 3).unwrap();
        assert!(!copy_stored(&compressed, &mut raw), "compressed");
        let mut with_checksum = zstd::bulk::Compressor::new(3).unwrap();
        with_checksum.include_checksum(true).unwrap();
        let frame = with_checksum.compress(&bytes).unwrap();
        assert!(!copy_stored(&frame, &mut raw), "with a checksum");
    }

    proptest! {
        /// Cut off or changed anywhere in its headers: what it says to be stored is what the decoder makes of it.
        #[test]
        fn agrees_with_the_decoder(
            length in 1_usize..300_000,
            changes in proptest::collection::vec((0_usize..12, any::<u8>()), 0..4),
            cut in 0_usize..20,
        ) {
            let mut frame = zstd::bulk::compress(&random(length), 1).unwrap();
            frame.truncate(frame.len() - cut.saturating_sub(10).min(frame.len()));
            for (at, byte) in changes {
                if let Some(there) = frame.get_mut(at) {
                    *there = byte;
                }
            }
            crate::fuzz::fuzz_stored(&frame, length);
        }

        #[test]
        fn any_bytes_after_the_magic_are_safe(bytes in proptest::collection::vec(any::<u8>(), 0..400), length in 0_usize..600) {
            crate::fuzz::fuzz_stored(&[&MAGIC[..], &bytes].concat(), length);
        }
    }
}
