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
        self.held = self.held.wrapping_shr(bits);
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
/// More bits than can be held.
pub(super) const TOO_MANY: u32 = 64;

/// Bits that are not written yet.
#[derive(Clone, Copy)]
pub(super) struct Held {
    bits: u64,
    count: u32,
}

impl Held {
    /// With more bits behind them. There may be too many; whoever writes them says so.
    #[inline]
    pub(super) fn and(self, bits: u64, count: u32) -> Self {
        Held {
            bits: self.bits | bits.wrapping_shl(self.count),
            count: self.count + count,
        }
    }
}

/// Puts bits behind each other. Passed on by value, like the reader.
pub(super) struct BitWriter<'a> {
    out: &'a mut [u8],
    /// Bytes that are written.
    at: usize,
    held: Held,
}

impl<'a> BitWriter<'a> {
    /// Begins in a byte of which so many bits are there already.
    pub(super) fn new(out: &'a mut [u8], begun: u8, count: u32) -> Self {
        let bits = begun.into();
        BitWriter {
            out,
            at: 0,
            held: Held { bits, count },
        }
    }

    /// What is held, to be written with more.
    #[inline]
    pub(super) fn held(&self) -> Held {
        self.held
    }

    /// Writes the whole bytes of what is held now; fewer than 8 bits still are afterwards. If there were too many, nothing
    /// has changed.
    #[inline]
    pub(super) fn write(&mut self, held: Held) -> Result<bool, Stop> {
        let rest = self.out.get_mut(self.at..).ok_or(Stop::Full)?;
        // What there is too much of is written over.
        *rest.first_chunk_mut::<WRITTEN>().ok_or(Stop::Full)? = held.bits.to_le_bytes();
        if held.count >= TOO_MANY {
            return Ok(false);
        }
        self.at += (held.count / 8) as usize;
        self.held = Held {
            bits: held.bits >> (held.count / 8 * 8),
            count: held.count % 8,
        };
        Ok(true)
    }

    /// Adds bits, 56 in all until they are flushed: fewer than 8 are held then.
    #[inline]
    pub(super) fn hold(&mut self, bits: u64, count: u32) {
        self.held = self.held.and(bits, count);
    }

    /// Writes whole bytes; fewer than 8 bits are held afterwards.
    #[inline]
    pub(super) fn flush(&mut self) -> Result<(), Stop> {
        match self.write(self.held)? {
            true => Ok(()),
            false => Err(Stop::Wrong),
        }
    }

    pub(super) fn put(&mut self, bits: u8, count: u32) -> Result<(), Stop> {
        self.hold(bits.into(), count);
        self.flush()
    }

    /// Fills the last byte with zeros.
    pub(super) fn align(&mut self) -> Result<(), Stop> {
        self.held.count = self.held.count.next_multiple_of(8);
        self.flush()
    }

    /// Whole bytes; the last one before has to be full.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        debug_assert_eq!(self.held.count, 0);
        let rest = self.out.get_mut(self.at..).ok_or(Stop::Full)?;
        let place = rest.get_mut(..bytes.len()).ok_or(Stop::Full)?;
        place.copy_from_slice(bytes);
        self.at += bytes.len();
        Ok(())
    }

    /// Bits from the begin of the first byte on.
    pub(super) fn written(&self) -> u64 {
        8 * self.at as u64 + u64::from(self.held.count)
    }
}
