//! Huffman codes again: from tokens to the bits of a stream.
//!
//! Nearly all matches have a few literals before them at most, and take few bits with these. Such a run and its match are
//! put together and written at once, without a branch for what there is of them.

use super::bits::{BitWriter, HELD_MAX, WRITTEN};
use super::huffman::codes;
use super::{
    DISTANCES, DYNAMIC, END_DISTANCE, END_OF_BLOCK, FIXED, LENGTHS, ORDER, STORED, Stop, distance_base,
    fixed, read_lengths,
};
use crate::Malformed;
use crate::varint::Reader;

/// What was unpacked cannot be written the way it was.
pub(crate) const WRONG: Malformed = Malformed("an archive cannot be packed again");

impl From<Malformed> for Stop {
    fn from(_: Malformed) -> Self {
        Stop::Wrong
    }
}

/// Appends the blocks with these tokens, which take so many bits; the first ones go into the last byte of what is there if
/// they begin within it.
pub(crate) fn pack(tokens: &[u8], begin: u32, bits: u64, mut out: Vec<u8>) -> Result<Vec<u8>, Malformed> {
    let begun = match begin {
        0 => 0,
        _ => out.pop().ok_or(WRONG)?,
    };
    let at = out.len();
    let end = u64::from(begin) + bits;
    let length = usize::try_from(end.div_ceil(8)).map_err(|_| WRONG)?;
    // No token becomes twice as long: what is announced may be anything.
    out.resize(at + length.min(2 * tokens.len() + 1) + WRITTEN, 0);
    let writer = BitWriter::new(&mut out[at..], begun, begin);
    match pack_all(tokens, writer) {
        Ok(written) if written == end => {
            out.truncate(at + length);
            Ok(out)
        }
        _ => Err(WRONG),
    }
}

/// Returns how many bits there are in the end.
fn pack_all(tokens: &[u8], mut out: BitWriter<'_>) -> Result<u64, Stop> {
    let mut from = Reader(tokens);
    loop {
        let head = from.byte()? & 7;
        out.put(head, 3)?;
        match u32::from(head) >> 1 {
            STORED => {
                out.align()?;
                let length = from.bytes(2)?;
                out.bytes(length)?;
                out.bytes(&[!length[0], !length[1]])?;
                let length = u64::from(length[0]) + (u64::from(length[1]) << 8);
                out.bytes(from.bytes(length)?)?;
            }
            FIXED => {
                let (literals, distances) = fixed();
                out = pack_symbols(&mut from, &literals, &distances, out)?;
            }
            DYNAMIC => {
                let (literals, distances) = pack_codes(&mut from, &mut out)?;
                out = pack_symbols(&mut from, &literals, &distances, out)?;
            }
            _ => return Err(Stop::Wrong),
        }
        if head & 1 == 1 {
            out.align()?;
        }
        if from.is_empty() {
            // What is held of a byte, too.
            out.flush()?;
            return Ok(out.written());
        }
    }
}

fn pack_codes(from: &mut Reader<'_>, out: &mut BitWriter<'_>) -> Result<(Vec<u8>, Vec<u8>), Stop> {
    let (literals, distances, count) = (from.byte()? & 31, from.byte()? & 31, from.byte()? & 15);
    out.put(literals, 5)?;
    out.put(distances, 5)?;
    out.put(count, 4)?;
    let mut own = [0; 19];
    for place in &ORDER[..usize::from(count) + 4] {
        own[*place] = from.byte()? & 7;
        out.put(own[*place], 3)?;
    }
    let code = words(&own)?;
    read_lengths(usize::from(literals) + 257, usize::from(distances) + 1, || {
        let symbol = usize::from(from.byte()?);
        code.get(symbol).ok_or(Stop::Wrong)?.hold(out)?;
        out.flush()?;
        let bits = match symbol {
            16 => 2,
            17 => 3,
            18 => 7,
            _ => return Ok((symbol, 0)),
        };
        let more = from.byte()? & ((1 << bits) - 1);
        out.put(more, bits)?;
        Ok((symbol, more.into()))
    })
}

/// A code word with what follows it: in the lowest 7 bits how many these are, so that four words can be added up in place,
/// above them the bits that are known.
#[derive(Clone, Copy)]
struct Word(u32);

impl Word {
    /// Not a bit.
    const EMPTY: Word = Word(0);
    /// Of what has no code.
    const NONE: Word = Word(1 << 31);

    fn new(bits: u32, length: u8) -> Self {
        Word(bits << 7 | u32::from(length))
    }

    /// With so many more bits behind it.
    fn and(self, value: u16, bits: u8) -> Self {
        match self.is_none() {
            true => self,
            false => Word::new(
                self.bits() as u32 | u32::from(value) << self.length(),
                self.length() as u8 + bits,
            ),
        }
    }

    #[inline]
    fn is_none(self) -> bool {
        self.0 & Self::NONE.0 != 0
    }

    #[inline]
    fn bits(self) -> u64 {
        (self.0 >> 7).into()
    }

    #[inline]
    fn length(self) -> u32 {
        self.0 & 0x3f
    }

    /// Holds it.
    fn hold(self, out: &mut BitWriter<'_>) -> Result<(), Stop> {
        if self.is_none() {
            return Err(Stop::Wrong);
        }
        out.hold(self.bits(), self.length());
        Ok(())
    }
}

/// The words of a code, by symbol.
fn words(lengths: &[u8]) -> Result<Vec<Word>, Stop> {
    let codes = codes(lengths)?.into_iter();
    let word = |(code, length): (u16, &u8)| match length {
        0 => Word::NONE,
        length => Word::new(code.into(), *length),
    };
    Ok(codes.zip(lengths).map(word).collect())
}

/// Distances from this one on are looked up by what of them is above seven bits: no symbol is finer there.
const FAR: usize = 256;
/// Enough for any 16 bits.
const FAR_WORDS: usize = FAR + (1 << 9);

/// What a distance is looked up as.
#[inline]
fn place_of(distance: u16) -> usize {
    let distance = usize::from(distance);
    if distance < FAR {
        distance
    } else {
        FAR + (distance >> 7)
    }
}

/// The words of a block.
struct Words {
    /// By literal, with [`NO_LITERAL`] set for one that is not there.
    literals: [Word; 2 * NO_LITERAL],
    /// By length, with the bits that follow.
    lengths: [Word; 256],
    /// By [`place_of`] a distance.
    distances: [Distance; FAR_WORDS],
    end: Word,
}

/// The word of some distances.
#[derive(Clone, Copy)]
struct Distance {
    /// With as many bits behind the code as follow it, all of them 0.
    word: Word,
    /// Bits of the code.
    code: u8,
    /// The distance that it is the word of; what another one is more goes behind the code.
    base: u16,
}

impl Distance {
    const NONE: Distance = Distance {
        word: Word::NONE,
        code: 0,
        base: 0,
    };

    /// The bits for a distance.
    #[inline]
    fn bits(self, distance: u16) -> u64 {
        self.word.bits() | u64::from(distance.wrapping_sub(self.base)) << (self.code & 0xf)
    }
}

const NO_LITERAL: usize = 256;
/// Most literals before a match that are written with it.
const SHORT_RUN: usize = 2;

impl Words {
    /// By the lengths of both codes.
    fn of(literals: &[u8], distances: &[u8]) -> Result<Self, Stop> {
        let (literals, distances) = (words(literals)?, words(distances)?);
        let mut all = Words {
            literals: [Word::EMPTY; 2 * NO_LITERAL],
            lengths: [Word::NONE; 256],
            distances: [Distance::NONE; FAR_WORDS],
            end: literals[END_OF_BLOCK],
        };
        all.literals[..NO_LITERAL].copy_from_slice(&literals[..NO_LITERAL]);
        for ((base, bits), word) in LENGTHS.iter().zip(&literals[END_OF_BLOCK + 1..]) {
            // The last symbol takes over from the one before.
            for more in 0..1 << bits {
                if let Some(length) = all.lengths.get_mut(usize::from(base + more)) {
                    *length = word.and(more, *bits);
                }
            }
        }
        for (symbol, word) in distances.iter().enumerate().take(DISTANCES) {
            let (base, bits) = distance_base(symbol);
            let last = base + ((1 << bits) - 1);
            all.distances[place_of(base)..=place_of(last)].fill(Distance {
                word: word.and(0, bits),
                code: word.length() as u8,
                base,
            });
        }
        Ok(all)
    }

    /// Writes runs and their matches, while they are short and neither end is near.
    #[inline]
    fn write_short<'t>(&self, from: &mut Reader<'_>, mut out: BitWriter<'t>) -> Result<BitWriter<'t>, Stop> {
        let mut tokens = from.0;
        while let Some(word) = tokens.first_chunk::<8>() {
            let word = u64::from_le_bytes(*word);
            let run = usize::from(word as u8);
            if run > SHORT_RUN {
                break;
            }
            let literal = |number: usize| {
                let none = if number < run { 0 } else { NO_LITERAL };
                self.literals[usize::from((word >> (8 * (number + 1))) as u8) | none]
            };
            let (first, second) = (literal(0), literal(1));
            let token = word >> (8 * (run + 1));
            let length = self.lengths[usize::from(token as u8)];
            let distance = (token >> 8) as u16;
            let code = self.distances[place_of(distance)];
            // Whoever goes on symbol by symbol tells whether anything is wrong; the end of the block is no distance either.
            let is_coded = !Word(first.0 | second.0 | length.0 | code.word.0).is_none();
            let all = first.0.wrapping_add(second.0).wrapping_add(length.0);
            let bits = all.wrapping_add(code.word.0) & 0x7f;
            if !is_coded || bits > HELD_MAX {
                break;
            }
            let of_match = length.bits() | code.bits(distance) << length.length();
            let of_run = first.bits() | second.bits() << first.length();
            out.hold(of_run | of_match << second.length() << first.length(), bits);
            out.flush()?;
            tokens = &tokens[run + 4..];
        }
        from.0 = tokens;
        Ok(out)
    }
}

/// Literals that fit before what is held is flushed.
const LITERALS_AT_ONCE: usize = 3;

/// Packs the symbols of a block, by the lengths of both codes.
fn pack_symbols<'t>(
    from: &mut Reader<'_>,
    literals: &[u8],
    distances: &[u8],
    mut out: BitWriter<'t>,
) -> Result<BitWriter<'t>, Stop> {
    let words = Words::of(literals, distances)?;
    loop {
        out = words.write_short(from, out)?;
        let run = from.number()?;
        for literals in from.bytes(run)?.chunks(LITERALS_AT_ONCE) {
            for literal in literals {
                words.literals[usize::from(*literal)].hold(&mut out)?;
            }
            out.flush()?;
        }
        let [length, low, high] = *from.bytes(3)?.first_chunk().ok_or(Stop::Wrong)?;
        let distance = u16::from_le_bytes([low, high]);
        if distance == END_DISTANCE {
            words.end.hold(&mut out)?;
            out.flush()?;
            return Ok(out);
        }
        let code = words.distances[place_of(distance)];
        words.lengths[usize::from(length)].hold(&mut out)?;
        if code.word.is_none() {
            return Err(Stop::Wrong);
        }
        out.hold(code.bits(distance), code.word.length());
        out.flush()?;
    }
}
