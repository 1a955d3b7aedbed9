//! Deflate streams as the bytes of their tokens, and back, bit by bit (RFC 1951).
//!
//! Between the compressed bytes and the content lies what the compressor decided: literals, and matches with lengths
//! and distances. Two versions of a file share most of these decisions; only the Huffman codes over them make all bits
//! different. Undoing nothing but the codes is as fast as unpacking, and doing them again is faster than that, however
//! long the compressor had looked for its matches.
//!
//! A block is its type, its codes as they stand in the stream, and for each match the number of literals before it, these
//! literals, the length less 3 and the distance less 1. Literals behind the last match come before one with a distance
//! that no match can have.

mod bits;
mod huffman;
mod pack;
mod unpack;

pub(crate) use pack::{WRONG, pack};
pub(crate) use unpack::{unpack, unpack_in_parts, unpack_part};

/// Parts have so many bytes of tokens at least, all but the last one: what is more is packed and unpacked by several threads.
pub(crate) const PART_BYTES: usize = 256 * 1024;

/// Some whole blocks of a stream, which are packed and unpacked by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Blocks {
    /// Bytes of their tokens.
    pub plain: u64,
    /// Bits they take; for the last ones with those that fill the last byte.
    pub bits: u64,
}

/// Why it does not go on.
#[derive(Debug, PartialEq, Eq)]
enum Stop {
    /// There is no more room.
    Full,
    /// It is no stream, or none that could be written again.
    Wrong,
}

const END_OF_BLOCK: usize = 256;
/// Symbols of the code of literals and lengths; two more have codes and no meaning.
const LITERALS: usize = 286;
const LITERALS_WITH_CODE: usize = 288;
const DISTANCES: usize = 30;
const DISTANCES_WITH_CODE: usize = 32;

/// Base and extra bits of the lengths from symbol 257 on, less 3.
const LENGTHS: [(u16, u8); 29] = [
    (0, 0),
    (1, 0),
    (2, 0),
    (3, 0),
    (4, 0),
    (5, 0),
    (6, 0),
    (7, 0),
    (8, 1),
    (10, 1),
    (12, 1),
    (14, 1),
    (16, 2),
    (20, 2),
    (24, 2),
    (28, 2),
    (32, 3),
    (40, 3),
    (48, 3),
    (56, 3),
    (64, 4),
    (80, 4),
    (96, 4),
    (112, 4),
    (128, 5),
    (160, 5),
    (192, 5),
    (224, 5),
    (255, 0),
];

/// Base and extra bits of the distances, less 1.
fn distance_base(symbol: usize) -> (u16, u8) {
    match symbol {
        0..4 => (symbol as u16, 0),
        _ => {
            let bits = symbol / 2 - 1;
            (((2 + symbol % 2) << bits) as u16, bits as u8)
        }
    }
}

/// The order in which lengths of the code of codes are written.
const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// Lengths of the codes of literals and of distances that the format itself gives.
fn fixed() -> (Vec<u8>, Vec<u8>) {
    let literals = (0..LITERALS_WITH_CODE)
        .map(|symbol| match symbol {
            0..144 => 8,
            144..256 => 9,
            256..280 => 7,
            _ => 8,
        })
        .collect();
    (literals, vec![5; DISTANCES_WITH_CODE])
}

const STORED: u32 = 0;
const FIXED: u32 = 1;
const DYNAMIC: u32 = 2;

/// Puts together the lengths of the codes of so many literals and distances, from symbols with their extra bits.
fn read_lengths(
    literals: usize,
    distances: usize,
    mut next: impl FnMut() -> Result<(usize, usize), Stop>,
) -> Result<(Vec<u8>, Vec<u8>), Stop> {
    let mut lengths: Vec<u8> = Vec::with_capacity(literals + distances);
    while lengths.len() < literals + distances {
        let (value, times) = match next()? {
            (symbol @ 0..16, _) => (symbol as u8, 1),
            (16, more) => (*lengths.last().ok_or(Stop::Wrong)?, 3 + more),
            (17, more) => (0, 3 + more),
            (_, more) => (0, 11 + more),
        };
        lengths.resize(lengths.len() + times, value);
    }
    let right = lengths.len() == literals + distances && literals <= LITERALS && distances <= DISTANCES;
    if !right {
        return Err(Stop::Wrong);
    }
    let distances = lengths.split_off(literals);
    Ok((lengths, distances))
}

/// The distance of what is no match but the end of a block.
const END_DISTANCE: u16 = u16::MAX;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;
    use crate::varint;

    fn deflate(bytes: &[u8], level: u32) -> Vec<u8> {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::new(level));
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Unpacks a stream, as a whole and in its parts, and packs the parts again.
    fn round_trip(packed: &[u8], max: u64) -> Vec<Blocks> {
        let (tokens, parts) = unpack(packed, max).unwrap();
        let (mut at, mut bit, mut again) = (0, 0_u64, Vec::new());
        for part in &parts {
            let own = &tokens[at..at + part.plain as usize];
            at += own.len();
            let (begin, bits) = ((bit % 8) as u32, bit..bit + part.bits);
            bit = bits.end;
            again = pack(own, begin, part.bits, again).unwrap();
            let bytes = &packed[bits.start as usize / 8..bits.end.div_ceil(8) as usize];
            let mut unpacked = vec![0; own.len()];
            assert_eq!(unpack_part(bytes, begin, part.bits, &mut unpacked), Some(()));
            assert!(unpacked == own);
            // Neither with other bits nor with other bytes.
            assert_eq!(unpack_part(bytes, begin, part.bits - 1, &mut unpacked), None);
            assert_eq!(
                unpack_part(bytes, begin, part.bits, &mut vec![0; own.len() + 1]),
                None
            );
            assert_eq!(
                unpack_part(bytes, begin, part.bits, &mut vec![0; own.len() - 1]),
                None
            );
            assert_eq!(pack(own, begin, part.bits + 1, vec![0]), Err(WRONG));
            assert_eq!(pack(own, begin, part.bits - 1, vec![0]), Err(WRONG));
        }
        assert!(again == packed);
        assert_eq!(at, tokens.len());
        parts
    }

    #[test]
    fn long_streams_of_many_blocks() {
        let mut state = 1_u32;
        let bytes: Vec<u8> = (0..3_000_000)
            .map(|at: u32| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                if at % 3000 < 2000 {
                    (at % 200) as u8
                } else {
                    (state >> 24) as u8 & 0x3f
                }
            })
            .collect();
        let mut parts = Vec::new();
        for level in [1, 6, 9] {
            parts.extend(round_trip(&deflate(&bytes, level), u64::MAX));
        }
        // How many blocks there are, and where they end, is the compressor's choice.
        assert!(
            parts.len() > 6 && parts.iter().any(|part| part.bits % 8 > 0),
            "{parts:?}"
        );
        assert_eq!(unpack(&deflate(&bytes, 6), 1000), None);
    }

    #[test]
    fn as_many_bytes_as_are_allowed_and_no_more() {
        // Far more tokens than packed bytes, then far fewer.
        for packed in [deflate(&[0; 300_000], 9), deflate(&[7; 3], 9), deflate(&[], 9)] {
            let (tokens, _) = unpack(&packed, u64::MAX).unwrap();
            let length = tokens.len() as u64;
            assert_eq!(unpack(&packed, length).map(|(tokens, _)| tokens), Some(tokens));
            assert_eq!(unpack(&packed, length - 1), None);
        }
    }

    #[test]
    fn runs_of_literals_of_every_length_that_is_written_otherwise() {
        for length in [1, 126, 127, 128, 129, 16_383, 16_384, 16_385] {
            let literals: Vec<u8> = (0..length)
                .map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 19) as u8)
                .collect();
            let bytes = [&literals[..], &[9; 600], &literals[..], &literals[..]].concat();
            for level in [1, 9] {
                let packed = deflate(&bytes, level);
                round_trip(&packed, u64::MAX);
            }
        }
    }

    #[test]
    fn matches_and_literals_with_the_longest_codes() {
        // Of 15 bits each: two literals, the symbol of the longest lengths but one, the end of the block, and the farthest
        // distances. With their bits they are more than can be held at once.
        let (mut literals, mut distances) = ([0_u8; 286], [0_u8; 30]);
        for bits in 1..14 {
            (literals[usize::from(bits)], distances[usize::from(bits) - 1]) = (bits, bits);
        }
        for symbol in [usize::from(b'a'), usize::from(b'b'), 284, END_OF_BLOCK] {
            literals[symbol] = 15;
        }
        distances[26..].fill(15);
        // All 286 and 30 symbols have a length, 257 and 1 of which go without saying.
        let mut tokens = vec![1 | (DYNAMIC as u8) << 1, 29, 29, 15];
        // A code of four bits for each length, none for what repeats them.
        tokens.extend(ORDER.map(|symbol| if symbol < 16 { 4 } else { 0 }));
        tokens.extend(literals.iter().chain(&distances));
        let mut bits = 3 + 14 + 19 * 3 + 4 * 316;
        for run in [0, 1, 2, 3, 4, 126, 127, 128, 300, 2, 1] {
            varint::put(&mut tokens, run);
            tokens.extend(b"ab".iter().cycle().take(run as usize));
            tokens.extend([224 + 7, 0xff, 0x7f]);
            bits += 15 * run + 20 + 28;
        }
        tokens.extend([1, b'a', 0, 0xff, 0xff]);
        bits += 30;
        let packed = pack(&tokens, 0, bits.next_multiple_of(8), Vec::new()).unwrap();
        let (unpacked, _) = unpack(&packed, u64::MAX).unwrap();
        assert!(unpacked == tokens);
        round_trip(&packed, u64::MAX);
        // What has no code cannot be written, wherever in a run it is.
        for at in 0..tokens.len() {
            if tokens[at] == b'b' && at > 340 {
                let mut other = tokens.clone();
                other[at] = b'c';
                assert_eq!(pack(&other, 0, bits.next_multiple_of(8), Vec::new()), Err(WRONG));
            }
        }
    }

    #[test]
    fn streams_are_packed_one_behind_the_other() {
        let packed: Vec<Vec<u8>> = (0..200_u8).map(|number| deflate(&[number; 900], 6)).collect();
        let mut out = b"before".to_vec();
        for packed in &packed {
            let (tokens, _) = unpack(packed, 1 << 20).unwrap();
            out = pack(&tokens, 0, 8 * packed.len() as u64, out).unwrap();
        }
        assert!(out == [b"before".to_vec(), packed.concat()].concat());
    }

    proptest! {
        #[test]
        fn packing_undoes_unpacking(
            parts in proptest::collection::vec((any::<u8>(), 0..300_usize, any::<u64>()), 0..40),
            level in 0..10_u32,
        ) {
            let mut bytes = Vec::new();
            for (byte, length, noise) in parts {
                bytes.extend(std::iter::repeat_n(byte, length));
                bytes.extend_from_slice(&noise.to_le_bytes());
            }
            let packed = deflate(&bytes, level);
            round_trip(&packed, 1 << 20);
        }

        #[test]
        fn any_bytes_are_refused_or_come_back(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            from in 0..5000_usize,
        ) {
            crate::fuzz::fuzz_tokens(&bytes);
            let content: Vec<u8> = (0..5000_u32).map(|at| ((at * at) >> 7) as u8 & 0x1f).collect();
            let mut packed = deflate(&content[from.min(4000)..], 6);
            let at = from % packed.len();
            packed[at] ^= bytes.first().copied().unwrap_or(1);
            crate::fuzz::fuzz_tokens(&packed);
        }
    }
}
