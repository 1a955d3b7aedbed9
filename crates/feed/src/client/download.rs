//! Fetching targets: small ones into memory, large ones straight to disk, hashed as they arrive.
//!
//! A download that breaks off is continued by the next call, if the server answers range requests. The unfinished
//! file carries the digest of what it will be, so bytes of another version never get into it; if the whole still does
//! not match, it is thrown away and fetched from the start, once. A body never takes more room than the signed length.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::TryStreamExt;
use sha2::{Digest, Sha256, Sha512};
use tokio::sync::mpsc;

use super::fetch::{Bounded, read_bounded};
use super::{FeedClient, FeedError, TargetInfo};
use crate::durable::{self, TEMPORARY};
use crate::transport::{Kind, Response, TransportError};

/// How much waits between the network and the disk: enough to keep both busy, little enough not to matter.
const BATCH_BYTES: usize = 256 * 1024;
const BATCHES_WAITING: usize = 8;

impl FeedClient {
    /// The whole of a small target, verified.
    pub async fn fetch_target_bytes(&self, target: &TargetInfo, max: u64) -> Result<Vec<u8>, FeedError> {
        if target.length > max {
            let (path, length) = (target.path.clone(), target.length);
            return Err(FeedError::TargetTooLarge {
                path,
                length,
                limit: max,
            });
        }
        let response = self.open_target(target, 0).await?;
        let body = read_bounded(response.body, response.length, target.length).await;
        let bytes = match body.map_err(|source| failed(target, source))? {
            Bounded::Whole(bytes) => bytes,
            Bounded::TooLong => return Err(oversized(target)),
        };
        if (bytes.len() as u64) < target.length {
            return Err(short(target, bytes.len() as u64, response.length));
        }
        let mut checker = Checker::new(target);
        checker.update(&bytes);
        checker.finish(target)?;
        Ok(bytes)
    }

    /// Downloads a target to `destination`, verified, durable and in one atomic step; `progress` hears how many bytes
    /// are here. A file at `destination` that already is the target is left alone and costs no request.
    pub async fn download_target(
        &self,
        target: &TargetInfo,
        destination: &Path,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(), FeedError> {
        if is_already_there(target, destination).await? {
            progress(target.length);
            return Ok(());
        }
        let partial = prepare_partial(target, destination)?;
        let (resumed, outcome) = self.download_once(target, &partial, progress).await;
        let outcome = match outcome {
            // The bytes of an earlier attempt may be at fault, not the feed: this once, believe neither.
            Err(FeedError::TargetTampered { .. } | FeedError::TargetOversized { .. }) if resumed > 0 => {
                remove(&partial)?;
                self.download_once(target, &partial, progress).await.1
            }
            outcome => outcome,
        };
        match outcome {
            Ok(()) => place(&partial, destination),
            Err(error @ (FeedError::TargetTampered { .. } | FeedError::TargetOversized { .. })) => {
                remove(&partial)?;
                Err(error)
            }
            Err(error) => {
                // Nothing arrived, so there is nothing to go on from.
                if std::fs::metadata(&partial).is_ok_and(|found| found.len() == 0) {
                    remove(&partial)?;
                }
                Err(error)
            }
        }
    }

    /// One attempt that goes on from what `partial` holds. Returns with how much it went on.
    async fn download_once(
        &self,
        target: &TargetInfo,
        partial: &Path,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> (u64, Result<(), FeedError>) {
        let writer = match Writer::open(target, partial).await {
            Ok(writer) => writer,
            Err(error) => return (0, Err(error)),
        };
        let resumed = writer.written;
        progress(resumed);
        (resumed, self.fill(target, writer, progress).await)
    }

    async fn fill(
        &self,
        target: &TargetInfo,
        mut writer: Writer,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(), FeedError> {
        if writer.written == target.length {
            return writer.finish(target).await;
        }
        let response = match self.open_target(target, writer.written).await {
            Err(FeedError::Transport {
                source: TransportError::RangeIgnored { .. } | TransportError::RangeNotSatisfiable { .. },
                ..
            }) if writer.written > 0 => {
                writer = writer.restart(target).await?;
                self.open_target(target, 0).await?
            }
            other => other?,
        };
        let expected = target.length - writer.written;
        let announced = response.length;
        if announced.is_some_and(|length| length > expected) {
            return Err(oversized(target));
        }
        let start = writer.written;
        let sink = writer.start();
        let streamed = stream_into(target, response, expected, start, &sink, progress).await;
        let writer = sink.close().await?;
        match streamed {
            Ok(received) if received < expected => {
                Err(short(target, start + received, announced.map(|n| start + n)))
            }
            Ok(_) => writer.finish(target).await,
            Err(error) => Err(error),
        }
    }

    /// Opens a target from byte `start` on, under each name a repository may keep it.
    async fn open_target(&self, target: &TargetInfo, start: u64) -> Result<Response, FeedError> {
        let range = (start > 0).then_some(start..target.length);
        let mut absent = None;
        for path in &target.served_as {
            match self.transport.fetch(Kind::Target, path, range.clone()).await {
                Ok(response) => return Ok(response),
                Err(source) if source.is_absent() => absent = absent.or(Some(source)),
                Err(source) => return Err(failed(target, source)),
            }
        }
        let source = absent.unwrap_or(TransportError::NotFound {
            url: target.path.clone(),
        });
        Err(failed(target, source))
    }
}

async fn stream_into(
    target: &TargetInfo,
    response: Response,
    expected: u64,
    start: u64,
    sink: &Sink,
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<u64, FeedError> {
    let mut body = response.body;
    let mut received = 0;
    let mut batch: Vec<Bytes> = Vec::new();
    let mut batched = 0;
    let outcome = loop {
        match body.try_next().await {
            Ok(Some(chunk)) => {
                received += chunk.len() as u64;
                if received > expected {
                    break Err(oversized(target));
                }
                batched += chunk.len();
                batch.push(chunk);
                if batched >= BATCH_BYTES {
                    batched = 0;
                    if !sink.send(std::mem::take(&mut batch)).await {
                        // The disk failed; closing the sink says how.
                        return Ok(received);
                    }
                    progress(start + received);
                }
            }
            Ok(None) => break Ok(received),
            Err(source) => break Err(failed(target, source)),
        }
    };
    if !batch.is_empty() && sink.send(batch).await {
        progress(start + received.min(expected));
    }
    outcome
}

/// The unfinished file together with the hash of what is in it.
struct Writer {
    file: File,
    path: PathBuf,
    checker: Checker,
    written: u64,
}

impl Writer {
    /// Opens the unfinished file and hashes what an earlier attempt left in it.
    async fn open(target: &TargetInfo, path: &Path) -> Result<Self, FeedError> {
        let (checker, length, path) = (Checker::new(target), target.length, path.to_owned());
        blocking(move || {
            let error = |source| FeedError::Io {
                action: "open",
                path: path.clone(),
                source,
            };
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .map_err(error)?;
            let mut checker = checker;
            let mut written = 0;
            if file.metadata().map_err(error)?.len() > length {
                file.set_len(0).map_err(error)?;
            }
            let mut buffer = vec![0; BATCH_BYTES];
            loop {
                let read = file.read(&mut buffer).map_err(error)?;
                if read == 0 {
                    break;
                }
                checker.update(&buffer[..read]);
                written += read as u64;
            }
            Ok(Self {
                file,
                path,
                checker,
                written,
            })
        })
        .await
    }

    async fn restart(self, target: &TargetInfo) -> Result<Self, FeedError> {
        let path = self.path;
        drop(self.file);
        remove(&path)?;
        Self::open(target, &path).await
    }

    /// Moves hashing and writing to a thread of their own, so that they overlap with the network.
    fn start(mut self) -> Sink {
        let (sender, mut receiver) = mpsc::channel::<Vec<Bytes>>(BATCHES_WAITING);
        let thread = tokio::task::spawn_blocking(move || {
            while let Some(batch) = receiver.blocking_recv() {
                for chunk in batch {
                    self.checker.update(&chunk);
                    let written = self.file.write_all(&chunk);
                    written.map_err(|source| FeedError::Io {
                        action: "write",
                        path: self.path.clone(),
                        source,
                    })?;
                    self.written += chunk.len() as u64;
                }
            }
            Ok(self)
        });
        Sink { sender, thread }
    }

    async fn finish(self, target: &TargetInfo) -> Result<(), FeedError> {
        self.checker.finish(target)?;
        let (file, path) = (self.file, self.path);
        blocking(move || {
            file.sync_all().map_err(|source| FeedError::Io {
                action: "flush",
                path: path.clone(),
                source,
            })
        })
        .await
    }
}

struct Sink {
    sender: mpsc::Sender<Vec<Bytes>>,
    thread: tokio::task::JoinHandle<Result<Writer, FeedError>>,
}

impl Sink {
    async fn send(&self, batch: Vec<Bytes>) -> bool {
        self.sender.send(batch).await.is_ok()
    }

    async fn close(self) -> Result<Writer, FeedError> {
        drop(self.sender);
        joined(self.thread.await)
    }
}

/// Computes the hashes that a target gives.
struct Checker {
    sha256: Option<Sha256>,
    sha512: Option<Sha512>,
}

impl Checker {
    fn new(target: &TargetInfo) -> Self {
        Self {
            sha256: target.sha256.is_some().then(Sha256::new),
            sha512: target.sha512.is_some().then(Sha512::new),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        if let Some(hasher) = &mut self.sha256 {
            hasher.update(bytes);
        }
        if let Some(hasher) = &mut self.sha512 {
            hasher.update(bytes);
        }
    }

    fn finish(self, target: &TargetInfo) -> Result<(), FeedError> {
        let sha256 = self.sha256.map(|hasher| hex::encode(hasher.finalize()));
        let sha512 = self.sha512.map(|hasher| hex::encode(hasher.finalize()));
        for (name, actual, signed) in [
            ("SHA-256", sha256, &target.sha256),
            ("SHA-512", sha512, &target.sha512),
        ] {
            if actual != *signed {
                let actual = actual.unwrap_or_default();
                let detail = format!("the {name} of what was served is {actual}");
                return Err(FeedError::TargetTampered {
                    path: target.path.clone(),
                    detail,
                });
            }
        }
        Ok(())
    }
}

/// Whether the file at `destination` is the target already.
async fn is_already_there(target: &TargetInfo, destination: &Path) -> Result<bool, FeedError> {
    match std::fs::symlink_metadata(destination) {
        Ok(metadata) if metadata.is_file() && metadata.len() == target.length => {}
        _ => return Ok(false),
    }
    let (target, path) = (target.clone(), destination.to_owned());
    blocking(move || {
        let error = |source| FeedError::Io {
            action: "read",
            path: path.clone(),
            source,
        };
        let mut file = File::open(&path).map_err(error)?;
        let mut checker = Checker::new(&target);
        let mut buffer = vec![0; BATCH_BYTES];
        loop {
            let read = file.read(&mut buffer).map_err(error)?;
            if read == 0 {
                return Ok(checker.finish(&target).is_ok());
            }
            checker.update(&buffer[..read]);
        }
    })
    .await
}

/// The name of the unfinished file beside `destination`; unfinished files of other content for the same destination
/// are removed.
fn prepare_partial(target: &TargetInfo, destination: &Path) -> Result<PathBuf, FeedError> {
    let folder = match destination.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let error = |source| FeedError::Io {
        action: "prepare",
        path: folder.to_owned(),
        source,
    };
    std::fs::create_dir_all(folder).map_err(error)?;
    let name = destination.file_name().unwrap_or_default();
    let place = hex::encode(&Sha256::digest(name.as_encoded_bytes())[..8]);
    let prefix = format!("{TEMPORARY}{place}-");
    let partial = format!("{prefix}{}.partial", &target.digest()[..32]);
    for entry in std::fs::read_dir(folder).map_err(error)? {
        let entry = entry.map_err(error)?;
        let found = entry.file_name();
        let found = found.to_string_lossy();
        if found.starts_with(&prefix) && *found != *partial {
            remove(&entry.path())?;
        }
    }
    Ok(folder.join(partial))
}

fn place(partial: &Path, destination: &Path) -> Result<(), FeedError> {
    let error = |source| FeedError::Io {
        action: "place",
        path: destination.to_owned(),
        source,
    };
    std::fs::rename(partial, destination).map_err(error)?;
    durable::sync_folder(partial.parent().unwrap_or(Path::new("."))).map_err(error)
}

fn remove(path: &Path) -> Result<(), FeedError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(FeedError::Io {
            action: "remove",
            path: path.to_owned(),
            source,
        }),
        _ => Ok(()),
    }
}

/// A body that ended early. When the server had announced exactly this much, the file itself is the wrong one.
fn short(target: &TargetInfo, received: u64, announced: Option<u64>) -> FeedError {
    if announced == Some(received) {
        let detail = format!(
            "the server has {received} bytes instead of the signed {}",
            target.length
        );
        return FeedError::TargetTampered {
            path: target.path.clone(),
            detail,
        };
    }
    FeedError::Truncated {
        path: target.path.clone(),
        received,
        length: target.length,
    }
}

fn oversized(target: &TargetInfo) -> FeedError {
    FeedError::TargetOversized {
        path: target.path.clone(),
        length: target.length,
    }
}

fn failed(target: &TargetInfo, source: TransportError) -> FeedError {
    FeedError::Transport {
        what: format!("target {:?}", target.path),
        source,
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FeedError> + Send + 'static,
) -> Result<T, FeedError> {
    joined(tokio::task::spawn_blocking(work).await)
}

/// A panic in our own thread goes on here; the runtime ending while we wait cannot be met by anybody.
fn joined<T>(outcome: Result<Result<T, FeedError>, tokio::task::JoinError>) -> Result<T, FeedError> {
    match outcome {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(FeedError::Io {
                action: "finish work on",
                path: PathBuf::from("a download"),
                source: std::io::Error::other(error),
            }),
        },
    }
}
