//! A repository in two local folders: a mirror, a mounted stick, or the publisher's own output.
//!
//! It reads regular files below its folders and nothing else; links that lead out of them are the business of whoever
//! made the folder, since everything read is verified against the pinned root anyway.

use std::io::SeekFrom;
use std::ops::Range;
use std::path::PathBuf;

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use futures_util::stream;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::path::{check_path, encode_name};
use super::{Kind, Response, Transport, TransportError};

/// How much is read at a time: large enough that the cost of one read does not show.
const CHUNK_BYTES: usize = 256 * 1024;

/// Reads a repository from a metadata folder and a targets folder.
#[derive(Debug, Clone)]
pub struct FolderTransport {
    metadata: PathBuf,
    targets: PathBuf,
}

impl FolderTransport {
    /// A repository whose metadata files lie in `metadata` and whose targets lie below `targets`.
    pub fn new(metadata: impl Into<PathBuf>, targets: impl Into<PathBuf>) -> Self {
        Self {
            metadata: metadata.into(),
            targets: targets.into(),
        }
    }

    /// The files that may hold `path`, in the order to try them. A role name with odd characters may be stored as it
    /// is or percent-encoded, since web servers differ in which of the two they look for.
    fn candidates(&self, kind: Kind, path: &str) -> Result<Vec<PathBuf>, TransportError> {
        match kind {
            Kind::Metadata => {
                let encoded = encode_name(path);
                let mut found = Vec::new();
                if !path.contains(['/', '\0']) && encoded != path {
                    found.push(self.metadata.join(path));
                }
                found.push(self.metadata.join(encoded));
                Ok(found)
            }
            Kind::Target => {
                check_path(path)?;
                if path.split('/').any(str::is_empty) {
                    return Err(TransportError::InvalidPath {
                        path: path.to_owned(),
                    });
                }
                Ok(vec![self.targets.join(path)])
            }
        }
    }

    async fn open(
        &self,
        kind: Kind,
        path: &str,
        range: Option<Range<u64>>,
    ) -> Result<Response, TransportError> {
        let mut missing = String::new();
        for candidate in self.candidates(kind, path)? {
            let url = candidate.display().to_string();
            match tokio::fs::File::open(&candidate).await {
                Ok(file) => return read(file, url, range).await,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => missing = url,
                // A file where the path needs a folder: the path names nothing.
                Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => missing = url,
                Err(source) => return Err(TransportError::Io { url, source }),
            }
        }
        Err(TransportError::NotFound { url: missing })
    }
}

async fn read(
    mut file: tokio::fs::File,
    url: String,
    range: Option<Range<u64>>,
) -> Result<Response, TransportError> {
    let io = |source| TransportError::Io {
        url: url.clone(),
        source,
    };
    let metadata = file.metadata().await.map_err(io)?;
    if !metadata.is_file() {
        return Err(TransportError::NotFound { url });
    }
    let whole = metadata.len();
    let length = match range {
        None => whole,
        Some(range) => {
            if range.start >= whole || range.start >= range.end {
                return Err(TransportError::RangeNotSatisfiable { url });
            }
            file.seek(SeekFrom::Start(range.start)).await.map_err(io)?;
            range.end.min(whole) - range.start
        }
    };
    let body = stream::try_unfold((file, length), move |(mut file, left)| {
        let url = url.clone();
        async move {
            if left == 0 {
                return Ok(None);
            }
            let room = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK_BYTES);
            let mut buffer = BytesMut::with_capacity(room);
            let read = (&mut file).take(left).read_buf(&mut buffer).await;
            let read = read.map_err(|source| TransportError::Io {
                url: url.clone(),
                source,
            })?;
            if read == 0 {
                // The file became shorter while it was read. The verifier sees a short body.
                return Ok(None);
            }
            let chunk: Bytes = buffer.freeze();
            let left = left - read as u64;
            Ok::<_, TransportError>(Some((chunk, (file, left))))
        }
    });
    Ok(Response {
        length: Some(length),
        body: Box::pin(body),
    })
}

impl Transport for FolderTransport {
    fn fetch<'a>(
        &'a self,
        kind: Kind,
        path: &'a str,
        range: Option<Range<u64>>,
    ) -> BoxFuture<'a, Result<Response, TransportError>> {
        Box::pin(self.open(kind, path, range))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::TryStreamExt;

    use super::*;

    async fn get(
        transport: &FolderTransport,
        kind: Kind,
        path: &str,
        range: Option<Range<u64>>,
    ) -> Result<Vec<u8>, TransportError> {
        let response = transport.fetch(kind, path, range).await?;
        let chunks: Vec<Bytes> = response.body.try_collect().await?;
        Ok(chunks.concat())
    }

    #[tokio::test]
    async fn reads_files_and_ranges_and_nothing_outside() {
        let folder = tempfile::tempdir().unwrap();
        let metadata = folder.path().join("metadata");
        let targets = folder.path().join("targets");
        std::fs::create_dir_all(targets.join("a")).unwrap();
        std::fs::create_dir_all(&metadata).unwrap();
        std::fs::write(targets.join("a/b"), b"0123456789").unwrap();
        std::fs::write(metadata.join("1.%2Fx.json"), b"odd").unwrap();
        std::fs::write(folder.path().join("secret"), b"secret").unwrap();
        let transport = FolderTransport::new(&metadata, &targets);

        assert_eq!(
            get(&transport, Kind::Target, "a/b", None).await.unwrap(),
            b"0123456789"
        );
        assert_eq!(
            get(&transport, Kind::Target, "a/b", Some(2..5)).await.unwrap(),
            b"234"
        );
        assert_eq!(
            get(&transport, Kind::Target, "a/b", Some(8..50)).await.unwrap(),
            b"89"
        );
        assert_eq!(
            get(&transport, Kind::Metadata, "1./x.json", None).await.unwrap(),
            b"odd"
        );
        for (path, expected) in [("a", "NotFound"), ("a/b/c", "NotFound"), ("c", "NotFound")] {
            let error = get(&transport, Kind::Target, path, None).await.unwrap_err();
            assert!(format!("{error:?}").starts_with(expected), "{path}: {error:?}");
        }
        for path in ["../secret", "a/../../secret", "/a/b", "a//b", ""] {
            let error = get(&transport, Kind::Target, path, None).await.unwrap_err();
            assert!(
                matches!(error, TransportError::InvalidPath { .. }),
                "{path}: {error:?}"
            );
        }
        let error = get(&transport, Kind::Target, "a/b", Some(10..12))
            .await
            .unwrap_err();
        assert!(matches!(error, TransportError::RangeNotSatisfiable { .. }));
        let error = get(&transport, Kind::Metadata, "../secret", None)
            .await
            .unwrap_err();
        assert!(matches!(error, TransportError::NotFound { .. }));
    }
}
