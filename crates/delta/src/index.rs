//! Where in the old bytes a piece is found: a sample of their places, by what stands there.

use std::io;

use crate::source::Source;

/// Bytes by which a place is found.
pub(crate) const PIECE: usize = 12;
/// Bits of an entry that say more of what stands at its place.
const CHECK_BITS: u32 = 6;
/// Entries that share a bucket, on average.
const BUCKET_ENTRIES: usize = 4;
/// Bytes that are read at a time.
const READ_BYTES: usize = 256 * 1024;

/// Every so many bytes one place of the old bytes, five bytes of memory for each.
pub(crate) struct Index {
    /// By bucket, and by place in it: the number of the place, then a check of what stands there.
    entries: Vec<u32>,
    /// Begin of each bucket among the entries.
    buckets: Vec<u32>,
    step: usize,
}

impl Index {
    /// Over all of the source. `step` has to be so large that the numbers of places have 26 bits.
    pub(crate) fn new(source: &Source<'_>, step: usize) -> io::Result<Self> {
        let count = source.length as usize / step;
        let mut index = Index {
            entries: Vec::new(),
            buckets: vec![0; count / BUCKET_ENTRIES + 2],
            step,
        };
        // Counted, then put in their places, from the last bucket's end to its begin.
        let mut entries = 0;
        index.each(source, |index, bucket, _| {
            index.buckets[bucket] += 1;
            entries += 1;
        })?;
        let mut sum = 0;
        for bucket in &mut index.buckets {
            (sum, *bucket) = (sum + *bucket, sum);
        }
        index.entries = vec![0; entries];
        index.each(source, |index, bucket, entry| {
            index.entries[index.buckets[bucket] as usize] = entry;
            index.buckets[bucket] += 1;
        })?;
        // Each begin has moved to where the next bucket begins.
        index.buckets.rotate_right(1);
        index.buckets[0] = 0;
        Ok(index)
    }

    fn each(&mut self, source: &Source<'_>, mut found: impl FnMut(&mut Self, usize, u32)) -> io::Result<()> {
        let length = source.length as usize;
        let mut buffer = vec![0; READ_BYTES + PIECE];
        for begin in (0..length).step_by(READ_BYTES) {
            let bytes = &mut buffer[..(length - begin).min(READ_BYTES + PIECE)];
            source.read(begin as u64, bytes)?;
            // The size of a step divides that of what is read.
            for at in (0..bytes.len().min(READ_BYTES)).step_by(self.step) {
                if let Some((bucket, check)) = self.place(&bytes[at..]) {
                    let number = ((begin + at) / self.step) as u32;
                    found(self, bucket, number << CHECK_BITS | check);
                }
            }
        }
        Ok(())
    }

    /// Bucket and check of what begins here.
    fn place(&self, bytes: &[u8]) -> Option<(usize, u32)> {
        let piece = bytes.get(..PIECE)?;
        let (first, last) = (piece.first_chunk::<8>()?, piece.last_chunk::<8>()?);
        let mixed = u64::from_le_bytes(*first).wrapping_mul(0x9e37_79b9_7f4a_7c15)
            ^ u64::from_le_bytes(*last)
                .wrapping_mul(0xc2b2_ae3d_27d4_eb4f)
                .rotate_left(29);
        let hash = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let buckets = self.buckets.len() as u64 - 1;
        let bucket = (u128::from(hash) * u128::from(buckets)) >> 64;
        Some((bucket as usize, hash as u32 >> 8 & ((1 << CHECK_BITS) - 1)))
    }

    /// Places where this piece may stand, at most so many, those nearest to `expected`.
    pub(crate) fn places<'a>(
        &'a self,
        text: &[u8],
        expected: usize,
        most: usize,
    ) -> impl Iterator<Item = usize> + use<'a> {
        let found = self.place(text).map(|(bucket, check)| {
            let range = self.buckets[bucket] as usize..self.buckets[bucket + 1] as usize;
            let entries = &self.entries[range];
            let middle = match entries.len() <= most {
                true => 0,
                false => {
                    let expected = expected / self.step;
                    let after = entries.partition_point(|entry| ((entry >> CHECK_BITS) as usize) < expected);
                    after.saturating_sub(most / 2).min(entries.len() - most)
                }
            };
            let near = entries[middle..].iter().take(most);
            near.filter(move |entry| **entry & ((1 << CHECK_BITS) - 1) == check)
                .map(|entry| (entry >> CHECK_BITS) as usize * self.step)
        });
        found.into_iter().flatten()
    }
}
