//! Huffman codes again: from tokens to the bits of a stream.
//!
//! Nearly all matches have a few literals before them at most, and take few bits with these. Such a run and its match are
//! put together and written at once, without a branch for what there is of them; of longer runs two literals at a time.

use super::bits::{BitWriter, Held, TOO_MANY, WRITTEN};
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

/// A code word, with the bits behind it where these are known.
#[derive(Clone, Copy)]
struct Word {
    bits: u32,
    /// How many there are.
    count: u32,
}

impl Word {
    /// Not a bit.
    const EMPTY: Word = Word { bits: 0, count: 0 };
    /// Of what has no code: nobody writes it.
    const NONE: Word = Word {
        bits: 0,
        count: TOO_MANY,
    };

    /// With so many more bits behind it.
    fn and(self, bits: u16, count: u8) -> Self {
        Word {
            bits: self.bits | u32::from(bits) << self.count,
            count: self.count + u32::from(count),
        }
    }

    fn is_none(self) -> bool {
        self.count >= TOO_MANY
    }

    #[inline]
    fn behind(self, held: Held) -> Held {
        held.and(self.bits.into(), self.count)
    }

    /// Holds it.
    fn hold(self, out: &mut BitWriter<'_>) -> Result<(), Stop> {
        if self.is_none() {
            return Err(Stop::Wrong);
        }
        out.hold(self.bits.into(), self.count);
        Ok(())
    }
}

/// The words of a code, by symbol.
fn words(lengths: &[u8]) -> Result<Vec<Word>, Stop> {
    let codes = codes(lengths)?.into_iter();
    let word = |(code, length): (u16, &u8)| match length {
        0 => Word::NONE,
        count => Word {
            bits: code.into(),
            count: (*count).into(),
        },
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

/// The word of some distances, of which the bits behind the code tell which one it is.
#[derive(Clone, Copy)]
struct Distance {
    /// The code, less the least of these distances behind it: with any of them there it is the word.
    code: i32,
    code_bits: u8,
    /// Bits of the word.
    count: u8,
}

impl Distance {
    const NONE: Distance = Distance {
        code: 0,
        code_bits: 0,
        count: TOO_MANY as u8,
    };

    #[inline]
    fn behind(self, held: Held, distance: u16) -> Held {
        let bits = u64::from(distance) << (self.code_bits & 0xf);
        held.and(bits.wrapping_add_signed(self.code.into()), self.count.into())
    }
}

const NO_LITERAL: usize = 256;
/// Most literals before a match that are written with it.
const SHORT_RUN: usize = 2;
/// The number of a run that is shorter takes one byte.
const LONG_RUN: usize = 0x80;

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
        let is_coded = |word: &Word| !word.is_none();
        let lengths = LENGTHS.iter().zip(&literals[END_OF_BLOCK + 1..]);
        for ((base, bits), word) in lengths.filter(|(_, word)| is_coded(word)) {
            // The last symbol takes over from the one before.
            for more in 0..1 << bits {
                if let Some(length) = all.lengths.get_mut(usize::from(base + more)) {
                    *length = word.and(more, *bits);
                }
            }
        }
        let distances = distances.iter().enumerate().take(DISTANCES);
        for (symbol, word) in distances.filter(|(_, word)| is_coded(word)) {
            let (base, bits) = distance_base(symbol);
            let last = base + ((1 << bits) - 1);
            all.distances[place_of(base)..=place_of(last)].fill(Distance {
                code: word.bits as i32 - (i32::from(base) << word.count),
                code_bits: word.count as u8,
                count: word.count as u8 + bits,
            });
        }
        Ok(all)
    }

    /// Writes runs and their matches, while these are short and the end is not near. Within a run it stops behind its
    /// number and says how many literals are left.
    #[inline]
    fn write_short<'t>(
        &self,
        from: &mut Reader<'_>,
        mut out: BitWriter<'t>,
    ) -> Result<(BitWriter<'t>, Option<usize>), Stop> {
        let tokens = from.0;
        let word_at = |at: usize| -> Option<u64> {
            let word = tokens.get(at..)?.first_chunk()?;
            Some(u64::from_le_bytes(*word))
        };
        // What is at `at` stands for the number of the run, which was read.
        let mut at = 0;
        let left = 'matches: loop {
            let Some(mut word) = word_at(at) else {
                break None;
            };
            let mut run = usize::from(word as u8);
            if run >= LONG_RUN {
                break None;
            }
            while run > SHORT_RUN {
                let literal = |number: usize| self.literals[usize::from((word >> (8 * number)) as u8)];
                let held = literal(2).behind(literal(1).behind(out.held()));
                if !out.write(held)? {
                    break 'matches Some(run);
                }
                at += 2;
                run -= 2;
                word = match word_at(at) {
                    Some(word) => word,
                    None => break 'matches Some(run),
                };
            }
            let literal = |number: usize| {
                // Below 0 all bits are set.
                let none = run.wrapping_sub(number) & NO_LITERAL;
                self.literals[usize::from((word >> (8 * number)) as u8) | none]
            };
            let held = literal(2).behind(literal(1).behind(out.held()));
            let token = word >> (8 * run);
            let held = self.lengths[usize::from((token >> 8) as u8)].behind(held);
            let distance = (token >> 16) as u16;
            let held = self.distances[place_of(distance)].behind(held, distance);
            // Whoever goes on symbol by symbol tells whether anything is wrong; the end of the block is no distance either.
            if !out.write(held)? {
                break Some(run);
            }
            at += run + 4;
        };
        from.0 = &tokens[at + usize::from(left.is_some())..];
        Ok((out, left))
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
        let left;
        (out, left) = words.write_short(from, out)?;
        let run = match left {
            Some(run) => run as u64,
            None => from.number()?,
        };
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
        if !out.write(code.behind(out.held(), distance))? {
            return Err(Stop::Wrong);
        }
    }
}
