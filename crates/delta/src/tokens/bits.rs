//! Bits, the lowest of a byte first, both ways (RFC 1951, section 3.1.1).

use super::Stop;

/// Takes bits off the front. Passed on by value, so that it stays in registers where it is used.
#[derive(Clone, Copy)]
pub(super) struct BitReader<'a> {
    from: &'a [u8],
    held: u64,
    count: u32,
}

impl<'a> BitReader<'a> {
    pub(super) fn new(from: &'a [u8]) -> Self {
        BitReader {
            from,
            held: 0,
            count: 0,
        }
    }

    /// At least 56 bits are held afterwards, unless the end is near; behind it are zeros.
    #[inline]
    pub(super) fn refill(&mut self) {
        if self.refill_from_word() {
            return;
        }
        self.held &= (1 << self.count) - 1;
        while let Some((byte, rest)) = self.from.split_first().filter(|_| self.count < 56) {
            self.held |= u64::from(*byte) << self.count;
            self.count += 8;
            self.from = rest;
        }
    }

    /// The same where it takes one load; whether the end is not near.
    #[inline]
    pub(super) fn refill_from_word(&mut self) -> bool {
        let Some(word) = self.from.first_chunk::<8>() else {
            return false;
        };
        // Bits beyond those that are counted come once more with the next word, the same as now.
        self.held |= u64::from_le_bytes(*word) << self.count;
        let bytes = (63 - self.count) / 8;
        self.from = &self.from[bytes as usize..];
        // With these bytes there are 56 to 63: the three lowest bits of the count stay.
        self.count |= 56;
        true
    }

    /// Takes bits, 32 at most.
    pub(super) fn take(&mut self, bits: u32) -> Result<u32, Stop> {
        self.refill();
        self.held_bits(bits)
    }

    /// Takes bits that the last refill is known to have brought, unless the end is near.
    #[inline]
    pub(super) fn held_bits(&mut self, bits: u32) -> Result<u32, Stop> {
        self.count = self.count.checked_sub(bits).ok_or(Stop::Wrong)?;
        let value = self.held & ((1 << bits) - 1);
        self.held >>= bits;
        Ok(value as u32)
    }

    /// The bits to come, as many as are held.
    #[inline]
    pub(super) fn held(&self) -> u64 {
        self.held
    }

    /// Passes over bits that are held for certain.
    #[inline]
    pub(super) fn pass(&mut self, bits: u32) {
        self.held >>= bits;
        self.count -= bits;
    }

    /// Goes on at a whole byte; what is passed over has to be zeros, or it could not be written again.
    pub(super) fn align(&mut self) -> Result<(), Stop> {
        match self.held_bits(self.count % 8)? {
            0 => Ok(()),
            _ => Err(Stop::Wrong),
        }
    }

    /// Bits to come.
    pub(super) fn left(&self) -> u64 {
        8 * self.from.len() as u64 + u64::from(self.count)
    }
}

/// Bytes that are written at a time, whether they are full or not: so many have to be free behind what comes of it.
pub(super) const WRITTEN: usize = 8;
/// Bits that can be added between two flushes, beside fewer than 8 that are held.
pub(super) const HELD_MAX: u32 = 56;

/// Puts bits behind each other. Passed on by value, like the reader.
pub(super) struct BitWriter<'a> {
    /// Not written yet.
    out: &'a mut [u8],
    /// Bytes that there were at first.
    all: usize,
    held: u64,
    count: u32,
}

impl<'a> BitWriter<'a> {
    /// Begins in a byte of which so many bits are there already.
    pub(super) fn new(out: &'a mut [u8], begun: u8, count: u32) -> Self {
        BitWriter {
            all: out.len(),
            out,
            held: begun.into(),
            count,
        }
    }

    /// Adds bits, [`HELD_MAX`] in all until they are flushed.
    #[inline]
    pub(super) fn hold(&mut self, bits: u64, count: u32) {
        self.held |= bits << self.count;
        self.count += count;
    }

    /// Writes whole bytes; fewer than 8 bits are held afterwards.
    #[inline]
    pub(super) fn flush(&mut self) -> Result<(), Stop> {
        *self.out.first_chunk_mut::<WRITTEN>().ok_or(Stop::Full)? = self.held.to_le_bytes();
        self.pass((self.count / 8) as usize % WRITTEN);
        self.held >>= self.count / 8 * 8;
        self.count %= 8;
        Ok(())
    }

    #[inline]
    fn pass(&mut self, bytes: usize) {
        self.out = &mut std::mem::take(&mut self.out)[bytes..];
    }

    pub(super) fn put(&mut self, bits: u8, count: u32) -> Result<(), Stop> {
        self.hold(bits.into(), count);
        self.flush()
    }

    /// Fills the last byte with zeros.
    pub(super) fn align(&mut self) -> Result<(), Stop> {
        self.count = self.count.next_multiple_of(8);
        self.flush()
    }

    /// Whole bytes; the last one before has to be full.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        debug_assert_eq!(self.count, 0);
        let place = self.out.get_mut(..bytes.len()).ok_or(Stop::Full)?;
        place.copy_from_slice(bytes);
        self.pass(bytes.len());
        Ok(())
    }

    /// Bits from the begin of the first byte on.
    pub(super) fn written(&self) -> u64 {
        8 * (self.all - self.out.len()) as u64 + u64::from(self.count)
    }
}
