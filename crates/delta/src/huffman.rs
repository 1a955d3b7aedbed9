//! Bits, and the Huffman codes of deflate over them, both ways (RFC 1951, sections 3.1.1 and 3.2.2).

use crate::Malformed;

/// Longest code.
const CODE_BITS_MAX: usize = 15;
/// What was unpacked cannot be written the way it was.
pub(crate) const WRONG: Malformed = Malformed("an archive cannot be packed again");

/// Takes bits off the front, the lowest first.
#[derive(Clone, Copy)]
pub(crate) struct BitReader<'a> {
    from: &'a [u8],
    held: u64,
    count: u32,
}

impl<'a> BitReader<'a> {
    pub(crate) fn new(from: &'a [u8]) -> Self {
        BitReader {
            from,
            held: 0,
            count: 0,
        }
    }

    /// At least 56 bits are held afterwards, unless the end is near; behind it are zeros.
    #[inline]
    pub(crate) fn refill(&mut self) {
        if let Some(word) = self.from.first_chunk::<8>() {
            // Bits beyond those that are counted come once more with the next word, the same as now.
            self.held |= u64::from_le_bytes(*word) << self.count;
            let bytes = (63 - self.count) / 8;
            self.from = &self.from[bytes as usize..];
            self.count += bytes * 8;
            return;
        }
        self.held &= (1 << self.count) - 1;
        while let Some((byte, rest)) = self.from.split_first().filter(|_| self.count < 56) {
            self.held |= u64::from(*byte) << self.count;
            self.count += 8;
            self.from = rest;
        }
    }

    pub(crate) fn take(&mut self, bits: u32) -> Option<u32> {
        self.refill();
        self.held_bits(bits)
    }

    /// Bits that the last refill is known to have brought.
    #[inline]
    pub(crate) fn held_bits(&mut self, bits: u32) -> Option<u32> {
        self.count = self.count.checked_sub(bits)?;
        let value = self.held & ((1 << bits) - 1);
        self.held >>= bits;
        Some(value as u32)
    }

    /// Takes a code and the bits that are added to what it means, and adds them.
    #[inline]
    pub(crate) fn value(&mut self, meaning: Meaning) -> Option<u16> {
        let (length, more) = (meaning.length(), meaning.bits());
        self.count = self.count.checked_sub(length + more)?;
        let added = (self.held >> length) as u16 & ((1 << more) - 1);
        self.held >>= length + more;
        Some(meaning.value() + added)
    }

    /// Takes a code that means a symbol.
    #[inline]
    pub(crate) fn symbol(&mut self, meaning: Meaning) -> Option<u16> {
        let length = meaning.length();
        self.count = self.count.checked_sub(length).filter(|_| length > 0)?;
        self.held >>= length;
        Some(meaning.value())
    }

    /// Goes on at a whole byte; what is passed over has to be zeros, or it could not be written again.
    pub(crate) fn align(&mut self) -> Option<()> {
        (self.held_bits(self.count % 8)? == 0).then_some(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0 && self.from.is_empty()
    }
}

/// Bits that are looked up at once; longer codes take a second look.
const FIRST_BITS: usize = 11;
/// Entries of the first table: those of two codes stay in the nearest cache.
const FIRST: usize = 1 << FIRST_BITS;

/// What a code stands for, in a word that one load brings: in its lowest byte the number of bits of the code, in the next
/// the number of bits behind it that are added to a base (and [`Meaning::OTHER`]), above them the base or the symbol.
#[derive(Clone, Copy)]
pub(crate) struct Meaning(u32);

impl Meaning {
    /// Set for what is no base with bits to add to it.
    const OTHER: u32 = 0x8000;
    /// No code.
    const NONE: Meaning = Meaning(Self::OTHER);

    /// A base, to which so many bits are added.
    pub(crate) fn base(base: u16, bits: u8) -> Self {
        Meaning(u32::from(base) << 16 | u32::from(bits) << 8)
    }

    /// A symbol for itself.
    pub(crate) fn symbol(symbol: usize) -> Self {
        Meaning((symbol as u32) << 16 | Self::OTHER)
    }

    #[inline]
    pub(crate) fn is_base(self) -> bool {
        self.0 & Self::OTHER == 0
    }

    /// The symbol or the base.
    #[inline]
    pub(crate) fn value(self) -> u16 {
        (self.0 >> 16) as u16
    }

    /// How many bits are added to the base.
    #[inline]
    pub(crate) fn bits(self) -> u32 {
        self.0 >> 8 & 0x7f
    }

    /// Bits of the code; none if there is no such code.
    #[inline]
    fn length(self) -> u32 {
        self.0 & 0xff
    }
}

/// A code, from bits to what they mean.
pub(crate) struct Decoder {
    /// By the next bits; where the code is longer, as many bits more as are to be looked up, and where.
    first: Box<[Meaning; FIRST]>,
    second: Vec<Meaning>,
}

impl Decoder {
    /// The code with these lengths, in which each symbol means something, or is not to be.
    pub(crate) fn of(lengths: &[u8], meaning: impl Fn(usize) -> Option<Meaning>) -> Option<Self> {
        let codes = codes(lengths)?;
        let coded = |least: usize| {
            let all = codes.iter().zip(lengths).enumerate();
            all.filter_map(move |(symbol, (code, length))| {
                (usize::from(*length) >= least).then_some((symbol, usize::from(*code), usize::from(*length)))
            })
        };
        let mut first = Box::new([Meaning::NONE; FIRST]);
        // How many bits come after the first ones, at most.
        for (_, code, length) in coded(FIRST_BITS + 1) {
            let entry = &mut first[code % FIRST];
            let more = entry.bits().max((length - FIRST_BITS) as u32);
            *entry = Meaning(more << 8 | Meaning::OTHER);
        }
        let mut second = Vec::new();
        for entry in first.iter_mut().filter(|entry| entry.bits() > 0) {
            let (begin, more) = (second.len(), entry.bits());
            second.resize(begin + (1 << more), Meaning::NONE);
            entry.0 |= (begin as u32) << 16;
        }
        for (symbol, code, length) in coded(1) {
            let Some(Meaning(meaning)) = meaning(symbol) else {
                continue;
            };
            let meaning = Meaning(meaning | length as u32);
            if length <= FIRST_BITS {
                first[code..]
                    .iter_mut()
                    .step_by(1 << length)
                    .for_each(|entry| *entry = meaning);
            } else {
                let (begin, more) = (first[code % FIRST].value(), first[code % FIRST].bits());
                let own = &mut second[begin.into()..][..1 << more];
                let all = own[code >> FIRST_BITS..]
                    .iter_mut()
                    .step_by(1 << (length - FIRST_BITS));
                all.for_each(|entry| *entry = meaning);
            }
        }
        Some(Decoder { first, second })
    }

    /// What the next bits mean, which have to be held; they stay.
    #[inline]
    pub(crate) fn look(&self, bits: &BitReader<'_>) -> Meaning {
        let found = self.first[bits.held as usize % FIRST];
        if found.length() == 0 && found.bits() > 0 {
            let more = (bits.held >> FIRST_BITS) as usize & ((1 << found.bits()) - 1);
            return self.second[usize::from(found.value()) + more];
        }
        found
    }
}

/// Puts bits behind each other.
pub(crate) struct BitWriter {
    /// Written from `begin` to `at`, and then room.
    out: Vec<u8>,
    begin: usize,
    at: usize,
    held: u64,
    count: u32,
}

/// Bytes that are written at a time, whether they are full or not: so many have to fit behind what comes of it.
pub(crate) const WRITTEN: usize = 8;
/// Least room that is made at a time.
const ROOM_MIN: usize = 256;

impl BitWriter {
    /// Goes on behind these bytes; what is reserved behind them is used first.
    pub(crate) fn behind(out: Vec<u8>) -> Self {
        BitWriter {
            begin: out.len(),
            at: out.len(),
            out,
            held: 0,
            count: 0,
        }
    }

    /// Adds bits, 56 in all until they are flushed.
    #[inline]
    pub(crate) fn hold(&mut self, value: u32, bits: u32) {
        self.held |= u64::from(value) << self.count;
        self.count += bits;
    }

    /// Writes whole bytes; fewer than 8 bits are held afterwards.
    #[inline]
    pub(crate) fn flush(&mut self) {
        if self.out.len() < self.at + WRITTEN {
            self.grow(WRITTEN);
        }
        self.out[self.at..self.at + WRITTEN].copy_from_slice(&self.held.to_le_bytes());
        let bytes = self.count / 8;
        self.at += bytes as usize;
        self.held >>= bytes * 8;
        self.count %= 8;
    }

    #[cold]
    fn grow(&mut self, bytes: usize) {
        let least = self.at + bytes;
        // As much again as was written: a buffer may have far more room than a short stream needs filled.
        let wanted = least + (self.at - self.begin).max(ROOM_MIN);
        let reserved = self.out.capacity();
        let length = if least <= reserved {
            wanted.min(reserved)
        } else {
            wanted
        };
        self.out.resize(length, 0);
    }

    pub(crate) fn put(&mut self, value: u16, bits: u8) {
        self.hold(value.into(), bits.into());
        self.flush();
    }

    /// Fills the last byte with zeros.
    pub(crate) fn align(&mut self) {
        self.count = self.count.next_multiple_of(8);
        self.flush();
    }

    /// Whole bytes; the last one before has to be full.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        debug_assert_eq!(self.count, 0);
        if self.out.len() < self.at + bytes.len() {
            self.grow(bytes.len());
        }
        self.out[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.align();
        self.out.truncate(self.at);
        self.out
    }
}

/// A code word with what follows it, and how many bits these are; none for what has no code.
#[derive(Clone, Copy, Default)]
pub(crate) struct Word {
    bits: u32,
    length: u8,
}

impl Word {
    /// With so many more bits behind it.
    pub(crate) fn and(self, value: u16, bits: u8) -> Word {
        match self.length {
            0 => self,
            length => Word {
                bits: self.bits | u32::from(value) << length,
                length: length + bits,
            },
        }
    }

    /// Holds the word; whether there is one.
    #[inline]
    pub(crate) fn hold(self, out: &mut BitWriter) -> bool {
        out.hold(self.bits, self.length.into());
        self.length > 0
    }
}

/// The words of a code, by symbol.
pub(crate) fn words(lengths: &[u8]) -> Result<Vec<Word>, Malformed> {
    let codes = codes(lengths).ok_or(WRONG)?.into_iter();
    let word = |(code, length): (u16, &u8)| Word {
        bits: code.into(),
        length: *length,
    };
    Ok(codes.zip(lengths).map(word).collect())
}

/// The canonical codes of these lengths, the first bit lowest; nothing if there are more than fit.
pub(crate) fn codes(lengths: &[u8]) -> Option<Vec<u16>> {
    let mut counts = [0_u32; CODE_BITS_MAX + 1];
    for length in lengths {
        counts[usize::from(*length)] += 1;
    }
    counts[0] = 0;
    let mut next = [0_u32; CODE_BITS_MAX + 1];
    let mut code = 0;
    for bits in 1..=CODE_BITS_MAX {
        code = (code + counts[bits - 1]) << 1;
        next[bits] = code;
        if code + counts[bits] > 1 << bits {
            return None;
        }
    }
    let mut codes = vec![0; lengths.len()];
    for (code, length) in codes.iter_mut().zip(lengths).filter(|(_, length)| **length > 0) {
        let next = &mut next[usize::from(*length)];
        *code = (*next as u16).reverse_bits() >> (16 - length);
        *next += 1;
    }
    Some(codes)
}
