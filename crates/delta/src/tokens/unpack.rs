//! Huffman codes undone: from the bits of a stream to its tokens.
//!
//! Most time goes by between one look into a table and the next one, which is at where the code of the first one ends. So
//! one look finds as much as it can: a literal, a match with its length and distance, or a literal and the match behind
//! it. What follows is the same for all of them, without a branch. What is not found in one look is told symbol by symbol.

use super::bits::BitReader;
use super::huffman::{Decoder, Meaning, codes};
use super::{
    Blocks, DISTANCES, DYNAMIC, END_DISTANCE, END_OF_BLOCK, FIXED, LENGTHS, ORDER, PART_BYTES, STORED, Stop,
    distance_base, fixed, read_lengths,
};
use crate::varint;

/// Bytes of tokens for a packed one, about.
const TOKENS_SHARE: usize = 3;

/// The tokens of exactly one deflate stream, at most so many bytes of them, and the parts in which they can be packed and
/// unpacked; nothing if it is none, or if it could not be written again.
pub(crate) fn unpack(packed: &[u8], max: u64) -> Option<(Vec<u8>, Vec<Blocks>)> {
    unpack_in_parts(packed, max, PART_BYTES)
}

/// The same in parts of so many bytes of tokens at least.
pub(crate) fn unpack_in_parts(packed: &[u8], max: u64, part_bytes: usize) -> Option<(Vec<u8>, Vec<Blocks>)> {
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    let mut tokens = vec![0; (TOKENS_SHARE * packed.len()).min(max)];
    let (mut bits, mut at, mut parts) = (BitReader::new(packed), 0, Vec::new());
    let mut begin = (at, bits.left());
    loop {
        let out = Tokens {
            bytes: &mut tokens,
            at,
        };
        let block = unpack_block(bits, out).map(|(is_last, bits, out)| (is_last, bits, out.at));
        let is_last;
        (is_last, bits, at) = match block {
            Ok(block) => block,
            Err(Stop::Full) if tokens.len() < max => {
                // The block again, with more room.
                let length = tokens.len() + tokens.len() / 2 + PART_BYTES;
                tokens.resize(length.min(max), 0);
                continue;
            }
            Err(Stop::Full | Stop::Wrong) => return None,
        };
        if is_last || at - begin.0 >= part_bytes {
            parts.push(Blocks {
                plain: (at - begin.0) as u64,
                bits: begin.1 - bits.left(),
            });
            begin = (at, bits.left());
        }
        if is_last {
            tokens.truncate(at);
            return (bits.left() == 0).then_some((tokens, parts));
        }
    }
}

/// Fills `tokens` with those of blocks that begin behind so many bits of the first byte and take so many bits; nothing if
/// there are others.
pub(crate) fn unpack_part(packed: &[u8], begin: u32, length: u64, tokens: &mut [u8]) -> Option<()> {
    let mut bits = BitReader::new(packed);
    bits.take(begin).ok()?;
    let before = bits.left();
    let mut out = Tokens { bytes: tokens, at: 0 };
    loop {
        let is_last;
        (is_last, bits, out) = unpack_block(bits, out).ok()?;
        if out.at == out.bytes.len() {
            return (before - bits.left() == length).then_some(());
        }
        if is_last {
            return None;
        }
    }
}

/// Unpacks a block, and what fills the last byte behind the last one; whether it is that.
fn unpack_block<'a, 't>(
    mut bits: BitReader<'a>,
    mut out: Tokens<'t>,
) -> Result<(bool, BitReader<'a>, Tokens<'t>), Stop> {
    let head = bits.take(3)?;
    out.put([head as u8])?;
    match head >> 1 {
        STORED => {
            bits.align()?;
            let length = bits.take(16)?;
            if bits.take(16)? != !length & 0xffff {
                return Err(Stop::Wrong);
            }
            out.put((length as u16).to_le_bytes())?;
            for _ in 0..length {
                out.put([bits.take(8)? as u8])?;
            }
        }
        FIXED => {
            let (literals, distances) = fixed();
            (bits, out) = unpack_symbols(bits, &literals, &distances, out)?;
        }
        DYNAMIC => {
            let (literals, distances) = unpack_codes(&mut bits, &mut out)?;
            (bits, out) = unpack_symbols(bits, &literals, &distances, out)?;
        }
        _ => return Err(Stop::Wrong),
    }
    let is_last = head & 1 == 1;
    if is_last {
        bits.align()?;
    }
    Ok((is_last, bits, out))
}

/// Tokens that are being written, up to `at`. Passed on by value, so that it stays in registers.
struct Tokens<'t> {
    bytes: &'t mut [u8],
    at: usize,
}

impl Tokens<'_> {
    #[inline]
    fn put<const N: usize>(&mut self, bytes: [u8; N]) -> Result<(), Stop> {
        let room = self.bytes.get_mut(self.at..).ok_or(Stop::Full)?;
        *room.first_chunk_mut().ok_or(Stop::Full)? = bytes;
        self.at += N;
        Ok(())
    }

    /// Puts down how long the run is that began here; nearly always it takes the byte that was left for it.
    fn end_run(&mut self, begin: usize) -> Result<(), Stop> {
        let length = self.at - begin;
        if length < 0x80 {
            self.bytes[begin - 1] = length as u8;
            return Ok(());
        }
        let mut number = Vec::new();
        varint::put(&mut number, length as u64);
        let more = number.len() - 1;
        if self.bytes.len() < self.at + more {
            return Err(Stop::Full);
        }
        self.bytes.copy_within(begin..self.at, begin + more);
        self.bytes[begin - 1..begin + more].copy_from_slice(&number);
        self.at += more;
        Ok(())
    }
}

/// The lengths of both codes; how they are written is put into `out`.
fn unpack_codes(bits: &mut BitReader<'_>, out: &mut Tokens<'_>) -> Result<(Vec<u8>, Vec<u8>), Stop> {
    let (literals, distances, count) = (bits.take(5)?, bits.take(5)?, bits.take(4)?);
    out.put([literals, distances, count].map(|number| number as u8))?;
    let mut own = [0; 19];
    for place in &ORDER[..count as usize + 4] {
        own[*place] = bits.take(3)? as u8;
        out.put([own[*place]])?;
    }
    let code = Decoder::of(&own, &codes(&own)?, |symbol| Some(Meaning::symbol(symbol)));
    read_lengths(literals as usize + 257, distances as usize + 1, || {
        bits.refill();
        let symbol = usize::from(code.look(bits).take_symbol(bits)?);
        out.put([symbol as u8])?;
        let more = match symbol {
            16 => bits.held_bits(2)?,
            17 => bits.held_bits(3)?,
            18 => bits.held_bits(7)?,
            _ => return Ok((symbol, 0)),
        };
        out.put([more as u8])?;
        Ok((symbol, more as usize))
    })
}

/// What a symbol of the code of literals and lengths means.
fn literal_or_length(symbol: usize) -> Option<Meaning> {
    match symbol.checked_sub(END_OF_BLOCK + 1) {
        None => Some(Meaning::symbol(symbol)),
        Some(length) => LENGTHS.get(length).copied().map(Meaning::base),
    }
}

/// What a symbol of the code of distances means.
fn distance(symbol: usize) -> Option<Meaning> {
    (symbol < DISTANCES).then(|| Meaning::base(distance_base(symbol)))
}

/// Unpacks the symbols of a block, by the lengths of both codes.
fn unpack_symbols<'a, 't>(
    mut bits: BitReader<'a>,
    literals: &[u8],
    distances: &[u8],
    mut out: Tokens<'t>,
) -> Result<(BitReader<'a>, Tokens<'t>), Stop> {
    let (literal_codes, distance_codes) = (codes(literals)?, codes(distances)?);
    let looks = Looks::of(literals, &literal_codes, distances, &distance_codes);
    let literals = Decoder::of(literals, &literal_codes, literal_or_length);
    let distances = Decoder::of(distances, &distance_codes, distance);
    out.put([0])?;
    let mut begin = out.at;
    loop {
        (bits, out, begin) = looks.take(bits, out, begin);
        bits.refill();
        let meaning = literals.look(&bits);
        if !meaning.is_base() {
            let symbol = meaning.take_symbol(&mut bits)?;
            if usize::from(symbol) != END_OF_BLOCK {
                out.put([symbol as u8])?;
                continue;
            }
            out.end_run(begin)?;
            let [low, high] = END_DISTANCE.to_le_bytes();
            out.put([0, low, high])?;
            return Ok((bits, out));
        }
        let length = meaning.take_value(&mut bits)?;
        if !is_said_shortest(length, meaning.bits()) {
            return Err(Stop::Wrong);
        }
        let meaning = distances.look(&bits);
        if !meaning.is_base() {
            return Err(Stop::Wrong);
        }
        let distance = meaning.take_value(&mut bits)?;
        out.end_run(begin)?;
        // With a byte for the run after it.
        out.put((u32::from(length) | u32::from(distance) << 8).to_le_bytes())?;
        begin = out.at;
    }
}

/// The longest length has a symbol of its own and could be said with another one too, which would not come back.
fn is_said_shortest(length: u16, bits: u32) -> bool {
    length < 255 || bits == 0
}

/// Bits that are looked at: with more of them the table falls out of the nearest cache.
const LOOK_BITS: usize = 11;
const LOOKS: usize = 1 << LOOK_BITS;

/// Bits of one code word or of several behind each other, the first one lowest.
#[derive(Clone, Copy)]
struct Code {
    bits: usize,
    count: usize,
}

impl Code {
    /// With another one behind it.
    fn and(self, next: Code) -> Self {
        Code {
            bits: self.bits | next.bits << self.count,
            count: self.count + next.count,
        }
    }
}

/// What one look finds: a literal, a match, or both, in a word that one load brings. From its lowest bit on: all bits that
/// it takes (8 bits; none if nothing is found), by how many bits these go down once the last of them is at the top of a word (8 bits),
/// whether there is a literal (bit 24) and a match (25), bytes of tokens with the one for the run after a match (from 29), and the
/// tokens (from 32), less what comes down of the code beside the bits that are added to them.
#[derive(Clone, Copy)]
struct Look(u64);

impl Look {
    const NONE: Look = Look(0);
    const LITERAL: u64 = 1 << 24;
    const MATCH: u64 = 1 << 25;

    fn literal(literal: u8, code: Code) -> Self {
        Look(Self::LITERAL | 1 << 29).with(literal.into(), code, 0, 8)
    }

    /// The length, and the base of the distance with the bits behind it that are added.
    fn of_match(length: u8, (base, more): (u16, u8), code: Code) -> Self {
        let tokens = u32::from(length) | u32::from(base) << 8;
        Look(Self::MATCH | 4 << 29).with(tokens, code, more, 8)
    }

    /// A literal and the match behind it.
    fn of_both(literal: u8, length: u8, (base, more): (u16, u8), code: Code) -> Self {
        let tokens = u32::from(literal) | u32::from(length) << 8 | u32::from(base) << 16;
        Look(Self::LITERAL | Self::MATCH | 5 << 29).with(tokens, code, more, 16)
    }

    /// The tokens, to which so many bits behind the code are added from a bit on.
    fn with(self, tokens: u32, code: Code, more: u8, from: u32) -> Self {
        let beside = (code.bits << from) >> code.count;
        let tokens = u64::from(tokens.wrapping_sub(beside as u32));
        let (all, down) = (
            code.count as u64 + u64::from(more),
            64 - u64::from(more) - u64::from(from),
        );
        Look(self.0 | tokens << 32 | down << 8 | all)
    }

    #[inline]
    fn bits(self) -> u32 {
        self.0 as u32 & 0xff
    }

    #[inline]
    fn length(self) -> usize {
        (self.0 as u32 >> 29) as usize
    }

    #[inline]
    fn literals(self) -> usize {
        (self.0 / Self::LITERAL) as usize & 1
    }

    #[inline]
    fn has_match(self) -> bool {
        self.0 & Self::MATCH != 0
    }

    /// Takes it off the bits; the tokens of it.
    #[inline]
    fn take(self, bits: &mut BitReader<'_>) -> u32 {
        let at_the_top = bits.held().wrapping_shl(self.bits().wrapping_neg());
        bits.pass(self.bits());
        let added = at_the_top.wrapping_shr(self.0 as u32 >> 8);
        ((self.0 >> 32) as u32).wrapping_add(added as u32)
    }
}

/// A run that may become too long for the byte that was left for its number.
const LONG_RUN: usize = 0x80 - LOOKS_AT_ONCE;

/// What is found by the next bits.
struct Looks([Look; LOOKS]);

/// Looks between two refills: each takes 11 bits and 13 more of a distance at most.
const LOOKS_AT_ONCE: usize = 2;
/// Bytes for which there has to be room, with what is written beyond the last token.
const ROOM: usize = 4 * LOOKS_AT_ONCE + 4;

impl Looks {
    /// For two codes, by the lengths of their symbols.
    fn of(literals: &[u8], literal_codes: &[u16], distances: &[u8], distance_codes: &[u16]) -> Self {
        let code_of = |lengths: &[u8], codes: &[u16], symbol: usize| {
            let count = lengths.get(symbol).copied().unwrap_or_default().into();
            let bits = codes.get(symbol).copied().unwrap_or_default().into();
            (1..=LOOK_BITS).contains(&count).then_some(Code { bits, count })
        };
        let of_literal = |symbol| code_of(literals, literal_codes, symbol);
        // The shortest first: the others are too long where one is.
        let mut all_distances: Vec<((u16, u8), Code)> = (0..DISTANCES)
            .filter_map(|symbol| Some((distance_base(symbol), code_of(distances, distance_codes, symbol)?)))
            .collect();
        all_distances.sort_unstable_by_key(|(_, code)| code.count);
        let mut all_lengths: Vec<(u8, Code)> = Vec::new();
        for (symbol, (base, more)) in LENGTHS.iter().enumerate() {
            let Some(code) = of_literal(END_OF_BLOCK + 1 + symbol) else {
                continue;
            };
            let all = (0..1_u16 << more).map(|added| {
                let (bits, count) = (added.into(), (*more).into());
                (base + added, code.and(Code { bits, count }))
            });
            let found = all
                .filter(|(length, code)| code.count < LOOK_BITS && is_said_shortest(*length, (*more).into()));
            all_lengths.extend(found.map(|(length, code)| (length as u8, code)));
        }
        all_lengths.sort_unstable_by_key(|(_, code)| code.count);
        let mut looks = [Look::NONE; LOOKS];
        let mut put = |code: Code, look: Look| {
            let places = looks[code.bits..].iter_mut().step_by(1 << code.count);
            places.for_each(|place| *place = look);
        };
        // All matches that fit behind what is before them.
        let matches = |before: Code, each: &mut dyn FnMut(u8, (u16, u8), Code)| {
            for (length, code) in &all_lengths {
                let code = before.and(*code);
                if code.count >= LOOK_BITS {
                    break;
                }
                for (distance, behind) in &all_distances {
                    if code.count + behind.count > LOOK_BITS {
                        break;
                    }
                    each(*length, *distance, code.and(*behind));
                }
            }
        };
        let nothing = Code { bits: 0, count: 0 };
        matches(nothing, &mut |length, distance, code| {
            put(code, Look::of_match(length, distance, code));
        });
        for literal in 0..=u8::MAX {
            if let Some(code) = of_literal(literal.into()) {
                put(code, Look::literal(literal, code));
                matches(code, &mut |length, distance, code| {
                    put(code, Look::of_both(literal, length, distance, code));
                });
            }
        }
        Looks(looks)
    }

    /// Takes what is found, while there is something, neither end is near, and the run of literals that began at `begin` is
    /// not long.
    #[inline]
    fn take<'a, 't>(
        &self,
        mut bits: BitReader<'a>,
        out: Tokens<'t>,
        mut begin: usize,
    ) -> (BitReader<'a>, Tokens<'t>, usize) {
        let Tokens { bytes, mut at } = out;
        'looks: while bytes.len() - at >= ROOM && at - begin < LONG_RUN && bits.refill_from_word() {
            for _ in 0..LOOKS_AT_ONCE {
                let look = self.0[bits.held() as usize % LOOKS];
                if look.bits() == 0 {
                    break 'looks;
                }
                let run = at - begin + look.literals();
                let tokens = look.take(&mut bits);
                bytes[at..at + 4].copy_from_slice(&tokens.to_le_bytes());
                bytes[begin - 1] = run as u8;
                at += look.length();
                begin = if look.has_match() { at } else { begin };
            }
        }
        (bits, Tokens { bytes, at }, begin)
    }
}
