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
use crate::huffman::{self, BitReader, BitWriter, Decoder, Meaning, WRONG, Word, words};
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
    let mut out = Tokens::to(max, 3 * packed.len());
    loop {
        let head = bits.take(3)?;
        out.push(head as u8)?;
        match head >> 1 {
            STORED => {
                bits.align()?;
                let length = bits.take(16)?;
                if bits.take(16)? != !length & 0xffff {
                    return None;
                }
                out.push(length as u8)?;
                out.push((length >> 8) as u8)?;
                for _ in 0..length {
                    out.push(bits.take(8)? as u8)?;
                }
            }
            FIXED => {
                let (literals, distances) = fixed();
                unpack_block(&mut bits, &literals, &distances, &mut out)?;
            }
            DYNAMIC => {
                let (literals, distances) = unpack_codes(&mut bits, &mut out)?;
                unpack_block(&mut bits, &literals, &distances, &mut out)?;
            }
            _ => return None,
        }
        if head & 1 == 1 {
            bits.align()?;
            return bits.is_empty().then(|| out.all()).flatten();
        }
    }
}

/// Tokens that are being written.
struct Tokens {
    /// Written up to `at`, and then room.
    bytes: Vec<u8>,
    at: usize,
    max: usize,
}

/// Room that is asked for at a time.
const ROOM: usize = 4;

impl Tokens {
    /// At most so many bytes, and about so many.
    fn to(max: u64, about: usize) -> Self {
        let max = usize::try_from(max).unwrap_or(usize::MAX).min(usize::MAX - ROOM);
        Tokens {
            bytes: vec![0; about.min(max) + ROOM],
            at: 0,
            max,
        }
    }

    /// Room for the next bytes, of which not all need to be used.
    #[inline]
    fn room(&mut self) -> Option<&mut [u8; ROOM]> {
        if self.bytes.len() < self.at + ROOM {
            self.grow(ROOM)?;
        }
        self.bytes[self.at..].first_chunk_mut()
    }

    #[cold]
    fn grow(&mut self, bytes: usize) -> Option<()> {
        let (least, most) = (self.at + bytes, self.max + ROOM);
        let length = (self.bytes.len() + self.bytes.len() / 2).clamp(least.min(most), most);
        self.bytes.resize(length, 0);
        (least <= most).then_some(())
    }

    fn push(&mut self, byte: u8) -> Option<()> {
        self.room()?[0] = byte;
        self.at += 1;
        Some(())
    }

    fn all(mut self) -> Option<Vec<u8>> {
        self.bytes.truncate(self.at);
        (self.at <= self.max).then_some(self.bytes)
    }

    /// Puts down how long the run is that began here; nearly always it takes the byte that was left for it.
    #[inline]
    fn end_run(&mut self, begin: usize) -> Option<()> {
        let length = self.at - begin;
        if length < 0x80 {
            self.bytes[begin - 1] = length as u8;
            return Some(());
        }
        self.end_long_run(begin, length)
    }

    #[cold]
    fn end_long_run(&mut self, begin: usize, length: usize) -> Option<()> {
        let mut number = Vec::new();
        varint::put(&mut number, length as u64);
        let more = number.len() - 1;
        if self.bytes.len() < self.at + more {
            self.grow(more)?;
        }
        self.bytes.copy_within(begin..self.at, begin + more);
        self.bytes[begin - 1..begin + more].copy_from_slice(&number);
        self.at += more;
        Some(())
    }
}

/// The lengths of both codes; how they are written is put into `out`.
fn unpack_codes(bits: &mut BitReader<'_>, out: &mut Tokens) -> Option<(Vec<u8>, Vec<u8>)> {
    let (literals, distances, count) = (bits.take(5)?, bits.take(5)?, bits.take(4)?);
    for number in [literals, distances, count] {
        out.push(number as u8)?;
    }
    let mut own = [0; 19];
    for place in &ORDER[..count as usize + 4] {
        own[*place] = bits.take(3)? as u8;
        out.push(own[*place])?;
    }
    let code = Decoder::of(&own, |symbol| Some(Meaning::symbol(symbol)))?;
    read_lengths(literals as usize + 257, distances as usize + 1, || {
        bits.refill();
        let symbol = usize::from(bits.symbol(code.look(bits))?);
        out.push(symbol as u8)?;
        let more = match symbol {
            16 => bits.held_bits(2)?,
            17 => bits.held_bits(3)?,
            18 => bits.held_bits(7)?,
            _ => return Some((symbol, 0)),
        };
        out.push(more as u8)?;
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

/// What a symbol of the code of literals and lengths means.
fn literal_or_length(symbol: usize) -> Option<Meaning> {
    match symbol.checked_sub(END_OF_BLOCK + 1) {
        None => Some(Meaning::symbol(symbol)),
        Some(length) => LENGTHS
            .get(length)
            .map(|(base, bits)| Meaning::base(*base, *bits)),
    }
}

/// What a symbol of the code of distances means.
fn distance(symbol: usize) -> Option<Meaning> {
    let (base, bits) = (symbol < DISTANCES).then(|| distance_base(symbol))?;
    Some(Meaning::base(base, bits))
}

fn unpack_block(bits: &mut BitReader<'_>, literals: &[u8], distances: &[u8], out: &mut Tokens) -> Option<()> {
    let literals = Decoder::of(literals, literal_or_length)?;
    let distances = Decoder::of(distances, distance)?;
    // A copy of its own stays in registers.
    let mut from = *bits;
    out.push(0)?;
    let mut begin = out.at;
    loop {
        from.refill();
        let mut meaning = literals.look(&from);
        // No code is longer than 15 bits, and a match has 48 at most: literals before one leave too few.
        while !meaning.is_base() {
            let symbol = from.symbol(meaning)?;
            if usize::from(symbol) == END_OF_BLOCK {
                out.end_run(begin)?;
                let [low, high] = END_DISTANCE.to_le_bytes();
                *out.room()? = [0, low, high, 0];
                out.at += 3;
                *bits = from;
                return Some(());
            }
            out.room()?[0] = symbol as u8;
            out.at += 1;
            from.refill();
            meaning = literals.look(&from);
        }
        let length = from.value(meaning)?;
        // The longest length has a symbol of its own and could be said with another one too.
        if length == 255 && meaning.bits() > 0 {
            return None;
        }
        let meaning = distances.look(&from);
        if !meaning.is_base() {
            return None;
        }
        let distance = from.value(meaning)?;
        out.end_run(begin)?;
        // With a byte for the run after it.
        *out.room()? = (u32::from(length) | u32::from(distance) << 8).to_le_bytes();
        out.at += 4;
        begin = out.at;
    }
}

/// Room to reserve behind a packed stream, or it is made at its end.
pub(crate) const PACKED_BEHIND: usize = huffman::WRITTEN;

/// Appends the deflate stream of these tokens.
pub(crate) fn pack(tokens: &[u8], out: Vec<u8>) -> Result<Vec<u8>, Malformed> {
    let mut from = Reader(tokens);
    let mut out = BitWriter::behind(out);
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
                pack_block(&mut from, &literals, &distances, &mut out)?;
            }
            DYNAMIC => {
                let (literals, distances) = pack_codes(&mut from, &mut out)?;
                pack_block(&mut from, &literals, &distances, &mut out)?;
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
    let code = words(&own)?;
    let lengths = read_lengths(usize::from(literals) + 257, usize::from(distances) + 1, || {
        let symbol = usize::from(from.byte().ok()?);
        let is_coded = code.get(symbol)?.hold(out);
        out.flush();
        if !is_coded {
            return None;
        }
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

/// Literals that fit before what is held is flushed.
const LITERALS_AT_ONCE: usize = 3;

fn pack_block(
    from: &mut Reader<'_>,
    literals: &[u8],
    distances: &[u8],
    out: &mut BitWriter,
) -> Result<(), Malformed> {
    let (mut literals, distances) = (words(literals)?, words(distances)?);
    literals.resize(LITERALS_WITH_CODE, Word::default());
    let lengths = length_words(&literals);
    let mut distance_words = [Word::default(); 2 * u16::BITS as usize];
    distance_words[..distances.len()].copy_from_slice(&distances);
    loop {
        let run = from.number()?;
        for bytes in from.bytes(run)?.chunks(LITERALS_AT_ONCE) {
            let mut is_coded = true;
            for byte in bytes {
                is_coded &= literals[usize::from(*byte)].hold(out);
            }
            out.flush();
            if !is_coded {
                return Err(WRONG);
            }
        }
        let [length, low, high] = *from.bytes(3)?.first_chunk().ok_or(WRONG)?;
        let distance = u16::from_le_bytes([low, high]);
        if distance == END_DISTANCE {
            let is_coded = literals[END_OF_BLOCK].hold(out);
            out.flush();
            return if is_coded { Ok(()) } else { Err(WRONG) };
        }
        // The two highest bits say the symbol; all below them stand for themselves.
        let (symbol, bits) = match distance {
            0..2 => (usize::from(distance), 0),
            _ => {
                let below = distance.ilog2() - 1;
                (
                    2 * (below as usize + 1) + usize::from(distance >> below & 1),
                    below,
                )
            }
        };
        let has_length = lengths[usize::from(length)].hold(out);
        let has_distance = distance_words[symbol].hold(out);
        out.hold(u32::from(distance) & ((1 << bits) - 1), bits);
        out.flush();
        if !(has_length && has_distance) {
            return Err(WRONG);
        }
    }
}

/// The words of each length less 3, with the bits that follow.
fn length_words(words: &[Word]) -> [Word; 256] {
    let mut all = [Word::default(); 256];
    for ((base, bits), word) in LENGTHS.iter().zip(&words[END_OF_BLOCK + 1..]) {
        // The last symbol takes over from the one before.
        for more in 0..1 << bits {
            if let Some(length) = all.get_mut(usize::from(base + more)) {
                *length = word.and(more, *bits);
            }
        }
    }
    all
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

    #[test]
    fn as_many_bytes_as_are_allowed_and_no_more() {
        // Far more tokens than packed bytes, then far fewer.
        for packed in [deflate(&[0; 300_000], 9), deflate(&[7; 3], 9), deflate(&[], 9)] {
            let tokens = unpack(&packed, u64::MAX).unwrap();
            let length = tokens.len() as u64;
            assert_eq!(unpack(&packed, length).as_ref(), Some(&tokens));
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
                let tokens = unpack(&packed, u64::MAX).unwrap();
                assert!(
                    pack(&tokens, Vec::new()).unwrap() == packed,
                    "{length} at {level}"
                );
            }
        }
    }

    #[test]
    fn streams_are_packed_one_behind_the_other_in_what_is_reserved() {
        let packed: Vec<Vec<u8>> = (0..200_u8).map(|number| deflate(&[number; 900], 6)).collect();
        let all = packed.concat();
        let mut out = Vec::with_capacity(all.len() + PACKED_BEHIND);
        let reserved = out.capacity();
        for packed in &packed {
            out = pack(&unpack(packed, 1 << 20).unwrap(), out).unwrap();
        }
        assert!(out == all);
        assert_eq!(out.capacity(), reserved);
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
