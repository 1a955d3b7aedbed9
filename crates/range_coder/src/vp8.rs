//! The coder. The names are those that `preflate-rs` uses.

use std::io::{Read, Result, Write};

use crate::{CabacReader, CabacWriter};

/// Bits of a probability.
const PROBABILITY_BITS: u32 = 15;
/// Most that an estimate may be: neither bit is ever impossible.
const ESTIMATE_MAX: u16 = 1 << PROBABILITY_BITS;
/// A quick and a slow estimate: they go a sixteenth and a hundred-and-twenty-eighth of the way with each bit.
const QUICK: u32 = 4;
const SLOW: u32 = 7;
/// A range below this is made larger by a byte.
const RANGE_MIN: u32 = 1 << 24;

/// How likely a zero is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VP8Context {
    quick: u16,
    slow: u16,
}

impl Default for VP8Context {
    fn default() -> Self {
        VP8Context {
            quick: ESTIMATE_MAX / 2,
            slow: ESTIMATE_MAX / 2,
        }
    }
}

impl VP8Context {
    /// The part of a range that stands for a zero: at least 1 and less than the range.
    fn zeros(&self, range: u32) -> u32 {
        let sum = u32::from(self.quick) + u32::from(self.slow);
        let share = (range >> (PROBABILITY_BITS + 1)) * sum;
        share.clamp(1, range - 1)
    }

    fn learn(&mut self, bit: bool) {
        if bit {
            self.quick -= self.quick >> QUICK;
            self.slow -= self.slow >> SLOW;
        } else {
            self.quick += (ESTIMATE_MAX - self.quick) >> QUICK;
            self.slow += (ESTIMATE_MAX - self.slow) >> SLOW;
        }
    }
}

/// Writes bits.
pub struct VP8Writer<W> {
    out: W,
    low: u64,
    range: u32,
    /// The last byte whose value a carry may still change, and how many 0xff follow it.
    held: u8,
    full: u64,
    begun: bool,
}

impl<W: Write> VP8Writer<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Result<Self> {
        Ok(VP8Writer {
            out,
            low: 0,
            range: u32::MAX,
            held: 0,
            full: 0,
            begun: false,
        })
    }

    /// Moves the highest byte out, as soon as no carry can reach it.
    fn shift(&mut self) -> Result<()> {
        let carry = (self.low >> 32) as u8;
        if carry == 1 || self.low < 0xff00_0000 {
            if self.begun {
                self.out.write_all(&[self.held.wrapping_add(carry)])?;
            }
            for _ in 0..self.full {
                self.out.write_all(&[0xff_u8.wrapping_add(carry)])?;
            }
            (self.full, self.begun) = (0, true);
            self.held = (self.low >> 24) as u8;
        } else {
            self.full += 1;
        }
        self.low = (self.low & 0x00ff_ffff) << 8;
        Ok(())
    }
}

impl<W: Write> CabacWriter<VP8Context> for VP8Writer<W> {
    fn put(&mut self, value: bool, context: &mut VP8Context) -> Result<()> {
        let zeros = context.zeros(self.range);
        if value {
            self.low += u64::from(zeros);
            self.range -= zeros;
        } else {
            self.range = zeros;
        }
        context.learn(value);
        while self.range < RANGE_MIN {
            self.range <<= 8;
            self.shift()?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        // Four bytes of the lower end, and one for what is held back.
        for _ in 0..5 {
            self.shift()?;
        }
        Ok(())
    }
}

/// Reads bits. Behind the end of its bytes there are zeros.
pub struct VP8Reader<R> {
    from: R,
    code: u32,
    range: u32,
}

impl<R: Read> VP8Reader<R> {
    /// Reads from `from`.
    pub fn new(from: R) -> Result<Self> {
        let mut reader = VP8Reader {
            from,
            code: 0,
            range: u32::MAX,
        };
        for _ in 0..4 {
            reader.shift()?;
        }
        Ok(reader)
    }

    fn shift(&mut self) -> Result<()> {
        let mut byte = [0];
        // Nothing read is the end.
        let _ended: usize = self.from.read(&mut byte)?;
        self.code = self.code << 8 | u32::from(byte[0]);
        Ok(())
    }
}

impl<R: Read> CabacReader<VP8Context> for VP8Reader<R> {
    fn get(&mut self, context: &mut VP8Context) -> Result<bool> {
        let zeros = context.zeros(self.range);
        let value = self.code >= zeros;
        if value {
            self.code -= zeros;
            self.range -= zeros;
        } else {
            self.range = zeros;
        }
        context.learn(value);
        while self.range < RANGE_MIN {
            self.range <<= 8;
            self.shift()?;
        }
        Ok(value)
    }
}
