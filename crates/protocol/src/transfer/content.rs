//! Which content a site has, small enough for any stick: the first eight bytes of each object's hash, sorted.
//!
//! Two objects that share them are one in 2^64; then an import says what is missing, and the next bundle
//! brings it.

use std::io::Read;

const MAGIC: &[u8; 8] = b"TGCONT1\n";
const ENTRY_BYTES: usize = 8;
/// Most objects of a summary.
const ENTRIES_MAX: usize = 8_000_000;
const COMPRESSION: i32 = 3;

/// Hashes of objects, shortened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContentSummary {
    entries: Vec<u64>,
}

/// A summary that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the list of content cannot be read: {0}")]
pub struct SummaryError(&'static str);

impl ContentSummary {
    /// Of these hashes.
    pub fn new(hashes: impl IntoIterator<Item = [u8; 32]>) -> Self {
        let mut entries: Vec<u64> = hashes
            .into_iter()
            .take(ENTRIES_MAX)
            .map(|hash| short(&hash))
            .collect();
        entries.sort_unstable();
        entries.dedup();
        ContentSummary { entries }
    }

    /// Whether the site said that it has this object.
    pub fn has(&self, hash: &[u8; 32]) -> bool {
        self.entries.binary_search(&short(hash)).is_ok()
    }

    /// Objects in it.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The bytes of a file.
    pub fn to_bytes(&self) -> std::io::Result<Vec<u8>> {
        let mut plain = Vec::with_capacity(self.entries.len() * ENTRY_BYTES);
        for entry in &self.entries {
            plain.extend_from_slice(&entry.to_be_bytes());
        }
        let mut bytes = MAGIC.to_vec();
        bytes.extend(zstd::bulk::compress(&plain, COMPRESSION)?);
        Ok(bytes)
    }

    /// Reads the bytes of a file.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SummaryError> {
        let compressed = bytes
            .strip_prefix(MAGIC)
            .ok_or(SummaryError("it begins with something else"))?;
        let mut plain = Vec::new();
        let limit = (ENTRIES_MAX * ENTRY_BYTES) as u64;
        zstd::stream::read::Decoder::with_buffer(compressed)
            .and_then(|decoder| decoder.take(limit + 1).read_to_end(&mut plain))
            .map_err(|_| SummaryError("it cannot be decompressed"))?;
        if plain.len() as u64 > limit || !plain.len().is_multiple_of(ENTRY_BYTES) {
            return Err(SummaryError("it has a wrong length"));
        }
        let entries: Vec<u64> = plain
            .as_chunks::<ENTRY_BYTES>()
            .0
            .iter()
            .map(|entry| u64::from_be_bytes(*entry))
            .collect();
        match entries.is_sorted_by(|a, b| a < b) {
            true => Ok(ContentSummary { entries }),
            false => Err(SummaryError("it is not in order")),
        }
    }
}

fn short(hash: &[u8; 32]) -> u64 {
    let mut first = [0; ENTRY_BYTES];
    first.copy_from_slice(&hash[..ENTRY_BYTES]);
    u64::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_written_is_read(hashes in proptest::collection::vec(any::<[u8; 32]>(), 0..50), other in any::<[u8; 32]>()) {
            let summary = ContentSummary::new(hashes.clone());
            let again = ContentSummary::from_bytes(&summary.to_bytes().unwrap()).unwrap();
            prop_assert_eq!(&again, &summary);
            prop_assert!(hashes.iter().all(|hash| again.has(hash)));
            prop_assert_eq!(again.has(&other), hashes.iter().any(|hash| hash[..8] == other[..8]));
        }

        #[test]
        fn any_bytes(bytes in any::<Vec<u8>>()) {
            let _ = ContentSummary::from_bytes(&bytes);
            let _ = ContentSummary::from_bytes(&[MAGIC.as_slice(), &bytes].concat());
        }
    }
}
