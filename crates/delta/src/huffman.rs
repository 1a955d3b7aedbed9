//! Bits, and the Huffman codes of deflate over them, both ways (RFC 1951, sections 3.1.1 and 3.2.2).

use crate::Malformed;

/// Longest code.
const CODE_BITS_MAX: usize = 15;
/// What was unpacked cannot be written the way it was.
pub(crate) const WRONG: Malformed = Malformed("an archive cannot be packed again");

/// Takes bits off the front, the lowest first.
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

    /// Goes on at a whole byte; what is passed over has to be zeros, or it could not be written again.
    pub(crate) fn align(&mut self) -> Option<()> {
        (self.held_bits(self.count % 8)? == 0).then_some(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0 && self.from.is_empty()
    }
}

/// A code, from bits to symbols.
pub(crate) struct Decoder {
    /// By the next bits: symbol, and how many bits it takes.
    table: Vec<(u16, u8)>,
    mask: u64,
}

impl Decoder {
    pub(crate) fn of(lengths: &[u8]) -> Option<Self> {
        let codes = codes(lengths)?;
        let bits = lengths.iter().copied().max().unwrap_or_default();
        let mut table = vec![(0, 0); 1 << bits];
        for (symbol, (code, length)) in codes.iter().zip(lengths).enumerate() {
            if *length > 0 {
                for entry in table.iter_mut().skip(usize::from(*code)).step_by(1 << length) {
                    *entry = (symbol as u16, *length);
                }
            }
        }
        Some(Decoder {
            mask: (1 << bits) - 1,
            table,
        })
    }

    /// The next symbol; the bits have to be held.
    #[inline]
    pub(crate) fn symbol(&self, bits: &mut BitReader<'_>) -> Option<usize> {
        let (symbol, length) = self.table[(bits.held & self.mask) as usize];
        if length == 0 {
            return None;
        }
        bits.held_bits(length.into())?;
        Some(symbol.into())
    }
}

/// Puts bits behind each other.
pub(crate) struct BitWriter {
    out: Vec<u8>,
    held: u64,
    count: u32,
}

impl BitWriter {
    /// Goes on behind these bytes.
    pub(crate) fn behind(out: Vec<u8>) -> Self {
        BitWriter {
            out,
            held: 0,
            count: 0,
        }
    }

    #[inline]
    pub(crate) fn put(&mut self, value: u16, bits: u8) {
        self.held |= u64::from(value) << self.count;
        self.count += u32::from(bits);
        if self.count >= 32 {
            self.out.extend_from_slice(&(self.held as u32).to_le_bytes());
            self.held >>= 32;
            self.count -= 32;
        }
    }

    /// Fills the last byte with zeros.
    pub(crate) fn align(&mut self) {
        let bytes = self.count.div_ceil(8) as usize;
        self.out.extend_from_slice(&self.held.to_le_bytes()[..bytes]);
        (self.held, self.count) = (0, 0);
    }

    /// Whole bytes; the last one before has to be full.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        debug_assert_eq!(self.count, 0);
        self.out.extend_from_slice(bytes);
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.align();
        self.out
    }
}

/// A code, from symbols to bits and how many they are.
pub(crate) struct Encoder(Vec<(u16, u8)>);

impl Encoder {
    pub(crate) fn of(lengths: &[u8]) -> Result<Self, Malformed> {
        let codes = codes(lengths).ok_or(WRONG)?;
        Ok(Encoder(codes.into_iter().zip(lengths.iter().copied()).collect()))
    }

    #[inline]
    pub(crate) fn put(&self, symbol: usize, out: &mut BitWriter) -> Result<(), Malformed> {
        match self.0.get(symbol) {
            None | Some((_, 0)) => Err(WRONG),
            Some((code, length)) => {
                out.put(*code, *length);
                Ok(())
            }
        }
    }
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
