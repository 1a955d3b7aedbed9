//! Fetching a segment and applying it to the library.

use std::io::{self, Read, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use futures_util::StreamExt;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncSeekExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use super::index::{DeltaIndex, Segment};
use crate::download::{DownloadError, RangeSource};
use crate::library::{DeltaError, DiskError, Library, disk};
use crate::object::ObjectId;

/// Why a segment did not give its objects.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// It did not arrive, or what it gives has no room: blocks would meet the same.
    #[error(transparent)]
    Download(#[from] DownloadError),
    /// It is of no use here; blocks are.
    #[error("a delta gave nothing: {0}")]
    Refused(String),
}

/// How far a segment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmentProgress {
    /// So many bytes came in this run.
    Fetched(u64),
    /// All of it is here; it is being applied, which may take as long.
    Applying,
}

/// Fetches a segment, going on where an earlier attempt stopped, and applies it: afterwards its objects are in the
/// library, each under its verified hash.
pub async fn fetch(
    index: &DeltaIndex,
    number: usize,
    library: Arc<Library>,
    source: &dyn RangeSource,
    progress: &(dyn Fn(SegmentProgress) + Send + Sync),
    cancel: &CancellationToken,
) -> Result<(), SegmentError> {
    let segment = &index.segments[number];
    let path = library.delta_path(&segment.sha256);
    tokio::select! {
        fetched = download(index, segment, &path, source, progress) => fetched?,
        () = cancel.cancelled() => return Err(DownloadError::Cancelled.into()),
    }
    progress(SegmentProgress::Applying);
    let (segment, cancel, span) = (segment.clone(), cancel.clone(), tracing::Span::current());
    let applying = tokio::task::spawn_blocking(move || {
        let _entered = span.enter();
        let applied = apply(&segment, &library, &path, &|| cancel.is_cancelled());
        if !matches!(applied, Err(SegmentError::Download(_))) {
            std::fs::remove_file(&path)
                .map_err(disk("remove", &path))
                .map_err(DownloadError::Disk)?;
        }
        applied
    });
    applying.await.map_err(|_| DownloadError::Writer)?
}

/// Applies a segment that was fetched into a file: afterwards its objects are in the library, each under its verified
/// hash, and durable. `is_cancelled` is asked from time to time.
pub fn apply(
    segment: &Segment,
    library: &Library,
    file: &Path,
    is_cancelled: &dyn Fn() -> bool,
) -> Result<(), SegmentError> {
    let (delta, found) = read(segment, file).map_err(disk("read", file))?;
    if found != segment.sha256 {
        return Err(SegmentError::Refused(format!(
            "expected SHA-256 {}, found {found}",
            segment.sha256
        )));
    }
    library
        .apply_delta(segment, &delta, is_cancelled)
        .map_err(|failure| match failure {
            DeltaError::Disk(failure) => failure.into(),
            DeltaError::Refused(why) => SegmentError::Refused(why),
            DeltaError::Cancelled => DownloadError::Cancelled.into(),
        })
}

/// Bytes that are hashed while they are still near.
const READ_BYTES: usize = 256 * 1024;

/// As many bytes as the segment has, and their hash, which tells whether there are fewer.
fn read(segment: &Segment, file: &Path) -> io::Result<(Vec<u8>, ObjectId)> {
    let mut file = std::fs::File::open(file)?;
    let length = file.metadata()?.len().min(segment.length);
    let (mut delta, mut hasher) = (vec![0; length as usize], Sha256::new());
    for bytes in delta.chunks_mut(READ_BYTES) {
        file.read_exact(bytes)?;
        hasher.update(bytes);
    }
    Ok((delta, ObjectId(hasher.finalize().into())))
}

/// Brings the file of a segment to its full length. Its bytes are not looked at yet.
async fn download(
    index: &DeltaIndex,
    segment: &Segment,
    path: &Path,
    source: &dyn RangeSource,
    progress: &(dyn Fn(SegmentProgress) + Send + Sync),
) -> Result<(), DownloadError> {
    let mut file = tokio::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .await
        .map_err(disk("open", path))?;
    let mut here = file.seek(SeekFrom::End(0)).await.map_err(disk("open", path))?;
    if here > segment.length {
        file.set_len(0).await.map_err(disk("empty", path))?;
        here = file.seek(SeekFrom::Start(0)).await.map_err(disk("empty", path))?;
    }
    if here == segment.length {
        return Ok(());
    }
    let pack = &index.packs[segment.pack as usize];
    let start = segment.offset + here;
    let failed = |source| DownloadError::Source {
        pack: pack.target.clone(),
        start,
        source,
    };
    let mut body = source
        .fetch(pack, start..segment.offset + segment.length)
        .await
        .map_err(failed)?;
    let mut got = 0;
    while here < segment.length {
        let Some(chunk) = body.next().await else {
            return Err(DownloadError::Truncated {
                pack: pack.target.clone(),
                start,
                missing: segment.length - here,
            });
        };
        let chunk = chunk.map_err(failed)?;
        let taken = &chunk[..chunk.len().min((segment.length - here) as usize)];
        file.write_all(taken).await.map_err(disk("write", path))?;
        here += taken.len() as u64;
        got += taken.len() as u64;
        progress(SegmentProgress::Fetched(got));
    }
    // What was handed over is written behind our back until then.
    file.flush()
        .await
        .map_err(disk("write", path))
        .map_err(DownloadError::Disk)
}

impl From<DiskError> for SegmentError {
    fn from(failure: DiskError) -> Self {
        SegmentError::Download(DownloadError::Disk(failure))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(length: u64) -> Segment {
        Segment {
            pack: 0,
            offset: 0,
            length,
            sha256: ObjectId::of(b""),
            old: Vec::new(),
            new: Vec::new(),
        }
    }

    #[test]
    fn as_many_bytes_are_read_as_a_segment_has() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("segment");
        let bytes: Vec<u8> = (0..3 * READ_BYTES / 2)
            .map(|at| (at * 7 + at / 251) as u8)
            .collect();
        for length in [0, 1, READ_BYTES, READ_BYTES + 1, bytes.len()] {
            let segment = segment(length as u64);
            let expected = (bytes[..length].to_vec(), ObjectId::of(&bytes[..length]));
            for file in [&bytes[..length], &bytes[..]] {
                std::fs::write(&path, file).unwrap();
                assert!(read(&segment, &path).unwrap() == expected, "{length}");
            }
        }
        assert!(read(&segment(u64::MAX), &path).unwrap() == (bytes.clone(), ObjectId::of(&bytes)));
    }
}
