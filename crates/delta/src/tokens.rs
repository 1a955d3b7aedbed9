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

use crate::Malformed;
use crate::huffman::{BitReader, BitWriter, Decoder, Encoder, WRONG};
use crate::varint::{self, Reader};

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

/// The tokens of exactly one deflate stream, at most so many bytes of them; nothing if it is none, or if it could not be
/// written again.
pub(crate) fn unpack(packed: &[u8], max: u64) -> Option<Vec<u8>> {
    let mut bits = BitReader::new(packed);
    let usual = packed.len() + packed.len() / 2;
    let mut out = Vec::with_capacity(usual.min(usize::try_from(max).unwrap_or(usize::MAX)));
    loop {
        let head = bits.take(3)?;
        out.push(head as u8);
        match head >> 1 {
            STORED => {
                bits.align()?;
                let length = bits.take(16)?;
                if bits.take(16)? != !length & 0xffff {
                    return None;
                }
                out.extend_from_slice(&(length as u16).to_le_bytes());
                for _ in 0..length {
                    out.push(bits.take(8)? as u8);
                }
            }
            FIXED => {
                let (literals, distances) = fixed();
                unpack_block(&mut bits, &literals, &distances, max, &mut out)?;
            }
            DYNAMIC => {
                let (literals, distances) = unpack_codes(&mut bits, &mut out)?;
                unpack_block(&mut bits, &literals, &distances, max, &mut out)?;
            }
            _ => return None,
        }
        if out.len() as u64 > max {
            return None;
        }
        if head & 1 == 1 {
            bits.align()?;
            return bits.is_empty().then_some(out);
        }
    }
}

/// The lengths of both codes; how they are written is put into `out`.
fn unpack_codes(bits: &mut BitReader<'_>, out: &mut Vec<u8>) -> Option<(Vec<u8>, Vec<u8>)> {
    let (literals, distances, count) = (bits.take(5)?, bits.take(5)?, bits.take(4)?);
    out.extend_from_slice(&[literals as u8, distances as u8, count as u8]);
    let mut own = [0; 19];
    for place in &ORDER[..count as usize + 4] {
        own[*place] = bits.take(3)? as u8;
        out.push(own[*place]);
    }
    let code = Decoder::of(&own)?;
    read_lengths(literals as usize + 257, distances as usize + 1, || {
        bits.refill();
        let symbol = code.symbol(bits)?;
        out.push(symbol as u8);
        let more = match symbol {
            16 => bits.held_bits(2)?,
            17 => bits.held_bits(3)?,
            18 => bits.held_bits(7)?,
            _ => return Some((symbol, 0)),
        };
        out.push(more as u8);
        Some((symbol, more as usize))
    })
}

/// Puts together the lengths of the codes of so many literals and distances, from symbols with their extra bits.
fn read_lengths(
    literals: usize,
    distances: usize,
    mut next: impl FnMut() -> Option<(usize, usize)>,
) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut lengths: Vec<u8> = Vec::with_capacity(literals + distances);
    while lengths.len() < literals + distances {
        let (value, times) = match next()? {
            (symbol @ 0..16, _) => (symbol as u8, 1),
            (16, more) => (*lengths.last()?, 3 + more),
            (17, more) => (0, 3 + more),
            (_, more) => (0, 11 + more),
        };
        lengths.resize(lengths.len() + times, value);
    }
    let right = lengths.len() == literals + distances && literals <= LITERALS && distances <= DISTANCES;
    let distances = right.then(|| lengths.split_off(literals))?;
    Some((lengths, distances))
}

/// The distance of what is no match but the end of a block.
const END_DISTANCE: u16 = u16::MAX;
/// Literals that are taken after one refill: no code is longer than 15 bits.
const LITERALS_AT_ONCE: usize = 3;

fn unpack_block(
    bits: &mut BitReader<'_>,
    literals: &[u8],
    distances: &[u8],
    max: u64,
    out: &mut Vec<u8>,
) -> Option<()> {
    let (literals, distances) = (Decoder::of(literals)?, Decoder::of(distances)?);
    let mut run = Run::begin(out);
    loop {
        if out.len() as u64 > max {
            return None;
        }
        bits.refill();
        let mut symbol = literals.symbol(bits)?;
        for _ in 1..LITERALS_AT_ONCE {
            if symbol >= END_OF_BLOCK {
                break;
            }
            out.push(symbol as u8);
            symbol = literals.symbol(bits)?;
        }
        match symbol {
            0..END_OF_BLOCK => out.push(symbol as u8),
            END_OF_BLOCK => {
                run.end(out);
                out.push(0);
                out.extend_from_slice(&END_DISTANCE.to_le_bytes());
                return Some(());
            }
            symbol => {
                bits.refill();
                let (base, extra) = *LENGTHS.get(symbol - END_OF_BLOCK - 1)?;
                let length = base + bits.held_bits(extra.into())? as u16;
                // The longest length has a symbol of its own and could be said with another one too.
                if length == 255 && extra > 0 {
                    return None;
                }
                let symbol = distances.symbol(bits)?;
                if symbol >= DISTANCES {
                    return None;
                }
                let (base, extra) = distance_base(symbol);
                let distance = (base + bits.held_bits(extra.into())? as u16).to_le_bytes();
                run.end(out);
                out.extend_from_slice(&[length as u8, distance[0], distance[1]]);
                run = Run::begin(out);
            }
        }
    }
}

/// A run of literals that is being written behind its length.
struct Run(usize);

impl Run {
    fn begin(out: &mut Vec<u8>) -> Self {
        out.push(0);
        Run(out.len())
    }

    /// Puts down the length; nearly always it takes the byte that was left for it.
    fn end(self, out: &mut Vec<u8>) {
        let length = out.len() - self.0;
        if length < 0x80 {
            out[self.0 - 1] = length as u8;
        } else {
            let mut number = Vec::new();
            varint::put(&mut number, length as u64);
            out.splice(self.0 - 1..self.0, number);
        }
    }
}

/// Appends the deflate stream of these tokens.
pub(crate) fn pack(tokens: &[u8], out: Vec<u8>) -> Result<Vec<u8>, Malformed> {
    let mut from = Reader(tokens);
    let mut out = BitWriter::behind(out);
    let symbols = LengthSymbols::new();
    while !from.is_empty() {
        let head = from.byte()?;
        out.put(u16::from(head & 7), 3);
        match u32::from(head) >> 1 {
            STORED => {
                out.align();
                let length = from.bytes(2)?;
                out.bytes(length);
                out.bytes(&[!length[0], !length[1]]);
                let length = u64::from(length[0]) + (u64::from(length[1]) << 8);
                out.bytes(from.bytes(length)?);
            }
            FIXED => {
                let (literals, distances) = fixed();
                pack_block(&mut from, literals, distances, &symbols, &mut out)?;
            }
            DYNAMIC => {
                let (literals, distances) = pack_codes(&mut from, &mut out)?;
                pack_block(&mut from, literals, distances, &symbols, &mut out)?;
            }
            _ => return Err(WRONG),
        }
    }
    Ok(out.finish())
}

fn pack_codes(from: &mut Reader<'_>, out: &mut BitWriter) -> Result<(Vec<u8>, Vec<u8>), Malformed> {
    let (literals, distances, count) = (from.byte()? & 31, from.byte()? & 31, from.byte()? & 15);
    out.put(literals.into(), 5);
    out.put(distances.into(), 5);
    out.put(count.into(), 4);
    let mut own = vec![0; 19];
    for place in &ORDER[..usize::from(count) + 4] {
        own[*place] = from.byte()? & 7;
        out.put(own[*place].into(), 3);
    }
    let code = Encoder::of(&own)?;
    let lengths = read_lengths(usize::from(literals) + 257, usize::from(distances) + 1, || {
        let symbol = usize::from(from.byte().ok()?);
        code.put(symbol, out).ok()?;
        let bits = match symbol {
            16 => 2,
            17 => 3,
            18 => 7,
            _ => return Some((symbol, 0)),
        };
        let more = from.byte().ok()? & ((1 << bits) - 1);
        out.put(more.into(), bits);
        Some((symbol, more.into()))
    });
    lengths.ok_or(WRONG)
}

fn pack_block(
    from: &mut Reader<'_>,
    literals: Vec<u8>,
    distances: Vec<u8>,
    symbols: &LengthSymbols,
    out: &mut BitWriter,
) -> Result<(), Malformed> {
    let (literals, distances) = (Encoder::of(&literals)?, Encoder::of(&distances)?);
    loop {
        let run = from.number()?;
        for byte in from.bytes(run)? {
            literals.put((*byte).into(), out)?;
        }
        let [length, low, high] = *from.bytes(3)?.first_chunk().ok_or(WRONG)?;
        let distance = u16::from_le_bytes([low, high]);
        if distance == END_DISTANCE {
            return literals.put(END_OF_BLOCK, out);
        }
        let symbol = usize::from(symbols.0[usize::from(length)]);
        let (base, bits) = LENGTHS[symbol];
        literals.put(END_OF_BLOCK + 1 + symbol, out)?;
        out.put(u16::from(length) - base, bits);
        // The two highest bits say the symbol; all below them stand for themselves.
        let symbol = match distance {
            0..2 => usize::from(distance),
            _ => {
                let highest = distance.ilog2() as usize;
                2 * highest + usize::from(distance >> (highest - 1) & 1)
            }
        };
        let (base, bits) = distance_base(symbol);
        distances.put(symbol, out)?;
        out.put(distance - base, bits);
    }
}

/// The symbol of each length less 3.
struct LengthSymbols([u8; 256]);

impl LengthSymbols {
    fn new() -> Self {
        let mut symbols = [0; 256];
        for (symbol, (base, bits)) in LENGTHS.iter().enumerate() {
            // The last symbol takes over from the one before.
            let end = (usize::from(*base) + (1 << bits)).min(symbols.len());
            symbols[usize::from(*base)..end].fill(symbol as u8);
        }
        LengthSymbols(symbols)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn deflate(bytes: &[u8], level: u32) -> Vec<u8> {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::new(level));
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
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
        for level in [1, 6, 9] {
            let packed = deflate(&bytes, level);
            let tokens = unpack(&packed, u64::MAX).unwrap();
            assert!(pack(&tokens, Vec::new()).unwrap() == packed, "level {level}");
        }
        assert_eq!(unpack(&deflate(&bytes, 6), 1000), None);
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
            let tokens = unpack(&packed, 1 << 20).unwrap();
            prop_assert_eq!(pack(&tokens, Vec::new()).unwrap(), packed);
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
