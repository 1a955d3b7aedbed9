//! Shards: the records whose GUID hashes to one of sixteen values, compressed together.

use std::io::{BufRead, BufReader, Read};

use domain::servicing::package::{PackageGuid, PackageRecord};
use sha2::{Digest, Sha256};

use super::{CatalogueError, parse_line};

/// Most bytes of a shard, compressed.
pub const SHARD_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Most bytes of a shard, uncompressed. Ten thousand packages of 5 KB in 16 shards take 3 MB each.
const SHARD_TEXT_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// Longest line.
const LINE_BYTES_MAX: u64 = 256 * 1024;
/// Most records of a shard.
pub const RECORDS_PER_SHARD_MAX: u64 = 100_000;
/// Compression of shards: they are written at every publish and read by every site.
const LEVEL: i32 = 19;
/// Memory that decompression may take: two to this power in bytes, four times what our level uses.
const WINDOW_LOG_MAX: u32 = 25;

/// The target path of the shard that lists a package: by the first hex digit of the SHA-256 of its
/// GUID as written.
pub fn shard_name(guid: PackageGuid) -> String {
    let digest = Sha256::digest(guid.to_string().as_bytes());
    format!("catalogue/{:x}.jsonl.zst", digest[0] >> 4)
}

/// Compresses lines, which the caller has sorted by GUID. The same lines give the same bytes.
pub fn write_shard<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<Vec<u8>, CatalogueError> {
    let mut text = String::new();
    for line in lines {
        text.push_str(line);
        text.push('\n');
    }
    zstd::bulk::compress(text.as_bytes(), LEVEL).map_err(CatalogueError::Unreadable)
}

/// Reads a shard record by record.
pub fn read_shard<R: BufRead>(compressed: R) -> Result<ShardReader<R>, CatalogueError> {
    let mut decoder =
        zstd::stream::read::Decoder::with_buffer(compressed).map_err(CatalogueError::Unreadable)?;
    decoder
        .window_log_max(WINDOW_LOG_MAX)
        .map_err(CatalogueError::Unreadable)?;
    Ok(ShardReader {
        text: BufReader::new(decoder.take(SHARD_TEXT_BYTES_MAX)),
        read: 0,
        last: None,
        failed: false,
    })
}

/// Iterates over the records of a shard with their lines as signed. Ends at the first that is wrong.
pub struct ShardReader<R: BufRead> {
    text: BufReader<std::io::Take<zstd::stream::read::Decoder<'static, R>>>,
    read: u64,
    last: Option<PackageGuid>,
    failed: bool,
}

impl<R: BufRead> ShardReader<R> {
    fn next_record(&mut self) -> Result<Option<(String, PackageRecord)>, CatalogueError> {
        let mut line = Vec::new();
        let length = (&mut self.text)
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut line)
            .map_err(CatalogueError::Unreadable)?;
        if length == 0 {
            if self.text.get_ref().limit() == 0 {
                return Err(CatalogueError::TooLarge {
                    what: "the text of a shard",
                    limit: SHARD_TEXT_BYTES_MAX,
                });
            }
            return Ok(None);
        }
        if length as u64 == LINE_BYTES_MAX {
            return Err(CatalogueError::TooLarge {
                what: "a record",
                limit: LINE_BYTES_MAX,
            });
        }
        self.read += 1;
        if self.read > RECORDS_PER_SHARD_MAX {
            return Err(CatalogueError::TooLarge {
                what: "the number of records",
                limit: RECORDS_PER_SHARD_MAX,
            });
        }
        let line =
            String::from_utf8(line).map_err(|e| CatalogueError::Unreadable(std::io::Error::other(e)))?;
        let line = line.trim_end_matches('\n').to_owned();
        let record = parse_line(&line).map_err(|failure| match failure {
            CatalogueError::Json { source, .. } => CatalogueError::Json {
                record: self.read,
                source,
            },
            other => other,
        })?;
        if self.last.is_some_and(|last| last >= record.guid) {
            return Err(CatalogueError::Order {
                record: self.read,
                guid: record.guid.to_string(),
            });
        }
        self.last = Some(record.guid);
        Ok(Some((line, record)))
    }
}

impl<R: BufRead> Iterator for ShardReader<R> {
    type Item = Result<(String, PackageRecord), CatalogueError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.next_record().transpose();
        self.failed = !matches!(next, Some(Ok(_)));
        next
    }
}

/// Reads arbitrary bytes as a shard; must neither panic nor take memory without bound.
pub fn fuzz_shard(bytes: &[u8]) {
    if let Ok(reader) = read_shard(bytes) {
        reader.for_each(drop);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_told_and_never_panics() {
        let record = crate::catalogue::record::tests::example();
        let line = crate::catalogue::to_line(&record);
        let bytes = write_shard([line.as_str()]).unwrap();
        let read: Vec<_> = read_shard(bytes.as_slice())
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        assert_eq!(read, [(line, record)]);
        for cut in 0..bytes.len() {
            if let Ok(reader) = read_shard(&bytes[..cut]) {
                assert!(
                    cut == 0 || reader.last().is_some_and(|last| last.is_err()),
                    "cut at {cut}"
                );
            }
        }
    }

    #[test]
    fn records_come_in_order_and_once() {
        let line = crate::catalogue::to_line(&crate::catalogue::record::tests::example());
        let twice = write_shard([line.as_str(), line.as_str()]).unwrap();
        let last = read_shard(twice.as_slice()).unwrap().last().unwrap();
        assert!(matches!(last, Err(CatalogueError::Order { record: 2, .. })));
    }

    #[test]
    fn a_bomb_is_refused() {
        let bomb = zstd::bulk::compress(&vec![b'x'; 8 << 20], 19).unwrap();
        let last = read_shard(bomb.as_slice()).unwrap().last().unwrap();
        assert!(matches!(last, Err(CatalogueError::TooLarge { .. })));
    }
}
