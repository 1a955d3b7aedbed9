//! An adaptive binary range coder behind the interface that `preflate-rs` expects of the crate named `cabac`.
//!
//! Written anew: the arithmetic is that of G. N. N. Martin's range coder (1979) with a 32-bit range and carries
//! resolved on the way out; a probability is the mean of a quickly and a slowly adapting estimate. Bytes are not those
//! of the crate whose place this takes, and need not be: only we read what we wrote.

pub mod vp8;

use std::io::{Error, ErrorKind, Result};

/// Longest number in ones: more is damage.
const UNARY_MAX: usize = 64;

/// Writes bits, each with a context that says how likely it is.
pub trait CabacWriter<Context> {
    /// Writes a bit.
    fn put(&mut self, value: bool, context: &mut Context) -> Result<()>;

    /// Writes what is still held back.
    fn finish(&mut self) -> Result<()>;

    /// Writes a number as so many ones and a zero; the last context serves all later bits.
    fn put_unary_encoded<const N: usize>(&mut self, value: usize, contexts: &mut [Context; N]) -> Result<()> {
        for at in 0..value {
            self.put(true, &mut contexts[at.min(N - 1)])?;
        }
        self.put(false, &mut contexts[value.min(N - 1)])
    }

    /// Writes the lowest bits of a number, the highest of them first.
    fn put_n_bits<const N: usize>(
        &mut self,
        bits: u64,
        count: usize,
        contexts: &mut [Context; N],
    ) -> Result<()> {
        (0..count)
            .rev()
            .try_for_each(|at| self.put(bits >> at & 1 == 1, &mut contexts[at.min(N - 1)]))
    }
}

/// Reads what a [`CabacWriter`] wrote.
pub trait CabacReader<Context> {
    /// Reads a bit.
    fn get(&mut self, context: &mut Context) -> Result<bool>;

    /// Reads a number of ones.
    fn get_unary_encoded<const N: usize>(&mut self, contexts: &mut [Context; N]) -> Result<usize> {
        for value in 0..=UNARY_MAX {
            if !self.get(&mut contexts[value.min(N - 1)])? {
                return Ok(value);
            }
        }
        Err(Error::new(
            ErrorKind::InvalidData,
            "a number is longer than any is",
        ))
    }

    /// Reads so many bits, the highest first.
    fn get_n_bits<const N: usize>(&mut self, count: usize, contexts: &mut [Context; N]) -> Result<u64> {
        let mut bits = 0;
        for at in (0..count).rev() {
            bits |= u64::from(self.get(&mut contexts[at.min(N - 1)])?) << at;
        }
        Ok(bits)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::vp8::{VP8Context, VP8Reader, VP8Writer};
    use super::*;

    proptest! {
        #[test]
        fn what_was_written_is_read(
            numbers in proptest::collection::vec((0..40_usize, any::<u16>(), 0..16_usize), 0..500),
            bits in proptest::collection::vec(any::<bool>(), 0..2000),
        ) {
            let mut bytes = Vec::new();
            let mut writer = VP8Writer::new(&mut bytes).unwrap();
            let mut contexts: [VP8Context; 8] = Default::default();
            let mut one = VP8Context::default();
            for (ones, value, count) in &numbers {
                writer.put_unary_encoded(*ones, &mut contexts).unwrap();
                writer.put_n_bits(u64::from(*value), *count, &mut contexts).unwrap();
            }
            for bit in &bits {
                writer.put(*bit, &mut one).unwrap();
            }
            writer.finish().unwrap();
            let mut reader = VP8Reader::new(bytes.as_slice()).unwrap();
            let mut contexts: [VP8Context; 8] = Default::default();
            let mut one = VP8Context::default();
            for (ones, value, count) in &numbers {
                prop_assert_eq!(reader.get_unary_encoded(&mut contexts).unwrap(), *ones);
                let mask = (1_u64 << count) - 1;
                prop_assert_eq!(reader.get_n_bits(*count, &mut contexts).unwrap(), u64::from(*value) & mask);
            }
            for bit in &bits {
                prop_assert_eq!(reader.get(&mut one).unwrap(), *bit);
            }
        }

        #[test]
        fn any_bytes_are_read_without_end_or_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let mut reader = VP8Reader::new(bytes.as_slice()).unwrap();
            let mut contexts: [VP8Context; 4] = Default::default();
            for _ in 0..200 {
                let _ = reader.get_unary_encoded(&mut contexts);
                reader.get_n_bits(7, &mut contexts).unwrap();
            }
        }
    }

    #[test]
    fn likely_bits_cost_next_to_nothing() {
        let mut bytes = Vec::new();
        let mut writer = VP8Writer::new(&mut bytes).unwrap();
        let mut context = VP8Context::default();
        for number in 0..100_000 {
            writer.put(number % 1000 == 0, &mut context).unwrap();
        }
        writer.finish().unwrap();
        assert!(bytes.len() < 400, "{}", bytes.len());
    }
}
