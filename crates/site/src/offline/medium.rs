//! The folder on a medium: where its parts are, reading runs of bytes of packs from it, copying what is
//! small to the site.
//!
//! Names on it are ours: lower case, short, no links, no file of content above 64 MiB, or 192 MiB where it is one delta, so
//! that any file system takes them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use content::download::{PackRange, RangeSource, SourceError};
use content::index::{Pack, PayloadIndex};
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt, stream};
use protocol::transfer::{BUNDLE_BYTES_MAX, BUNDLE_FILE, Bundle, fragment_name, parse_fragment};

/// Most bytes of metadata and small targets that are copied from a medium.
const COPIED_BYTES_MAX: u64 = 2 << 30;
/// Most files that are copied.
const COPIED_FILES_MAX: usize = 200_000;
/// Bytes read at a time.
const CHUNK_BYTES: usize = 256 * 1024;

/// A medium's folder.
#[derive(Debug, Clone)]
pub struct Medium {
    root: PathBuf,
}

/// Why a medium cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MediumError {
    /// A file or folder.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// No bundle there.
    #[error(
        "{folder} holds no bundle: {BUNDLE_FILE} is missing; the step with internet access did not get to its end"
    )]
    NoBundle {
        /// Folder.
        folder: PathBuf,
    },
    /// The description.
    #[error(transparent)]
    Bundle(#[from] protocol::transfer::BundleError),
    /// More than a feed has.
    #[error("{folder} holds more than any feed has")]
    TooMuch {
        /// Folder.
        folder: PathBuf,
    },
    /// A name that no tool of ours writes.
    #[error("{path} is neither a file nor a folder; nothing of it is read")]
    Odd {
        /// What.
        path: PathBuf,
    },
}

pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> MediumError {
    let path = path.to_owned();
    move |source| MediumError::Io { action, path, source }
}

impl Medium {
    /// The folder.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Medium { root: root.into() }
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The parts of a feed.
    pub fn feed(&self, feed: &str) -> PathBuf {
        self.root.join("feeds").join(feed)
    }

    /// Runs of bytes of packs.
    pub fn content(&self, feed: &str) -> PathBuf {
        self.feed(feed).join("content")
    }

    /// The receipt of a report.
    pub fn receipt(&self, report: &str) -> PathBuf {
        self.root.join("receipts").join(format!("{report}.json"))
    }

    /// What a hierarchy said after its last import.
    pub fn arrived(&self) -> PathBuf {
        self.root.join("arrived")
    }

    /// The description.
    pub fn bundle_file(&self) -> PathBuf {
        self.root.join(BUNDLE_FILE)
    }

    /// Reads the description.
    pub fn bundle(&self) -> Result<Bundle, MediumError> {
        let path = self.bundle_file();
        let file = match File::open(&path) {
            Err(failure) if failure.kind() == std::io::ErrorKind::NotFound => {
                return Err(MediumError::NoBundle {
                    folder: self.root.clone(),
                });
            }
            opened => opened.map_err(io("read", &path))?,
        };
        let mut bytes = Vec::new();
        file.take(BUNDLE_BYTES_MAX)
            .read_to_end(&mut bytes)
            .map_err(io("read", &path))?;
        Ok(Bundle::from_bytes(&bytes)?)
    }

    /// Copies metadata and small targets of a feed to a folder of the site; nothing of content.
    pub fn copy_feed(&self, feed: &str, to: &Path) -> Result<(), MediumError> {
        let mut left = (COPIED_FILES_MAX, COPIED_BYTES_MAX);
        for part in ["metadata", "targets"] {
            copy_tree(&self.feed(feed).join(part), &to.join(part), &mut left)?;
        }
        Ok(())
    }
}

fn copy_tree(from: &Path, to: &Path, left: &mut (usize, u64)) -> Result<(), MediumError> {
    std::fs::create_dir_all(to).map_err(io("create", to))?;
    for entry in std::fs::read_dir(from).map_err(io("read", from))? {
        let entry = entry.map_err(io("read", from))?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().map_err(io("read", &path))?;
        if kind.is_dir() {
            copy_tree(&path, &target, left)?;
            continue;
        }
        // A link could name any file of this machine.
        if !kind.is_file() {
            return Err(MediumError::Odd { path });
        }
        let length = entry.metadata().map_err(io("read", &path))?.len();
        let (files, bytes) = *left;
        let too_much = || MediumError::TooMuch {
            folder: from.to_owned(),
        };
        *left = (
            files.checked_sub(1).ok_or_else(too_much)?,
            bytes.checked_sub(length).ok_or_else(too_much)?,
        );
        let source = File::open(&path).map_err(io("read", &path))?;
        let mut copy = File::create(&target).map_err(io("write", &target))?;
        std::io::copy(&mut source.take(length), &mut copy).map_err(io("copy", &path))?;
        copy.sync_all().map_err(io("write", &target))?;
    }
    Ok(())
}

/// The runs of bytes of packs that a medium has.
#[derive(Debug)]
pub struct Fragments {
    folder: PathBuf,
    /// By pack, then by first byte: how many.
    runs: BTreeMap<String, BTreeMap<u64, u64>>,
}

impl Fragments {
    /// What is there. A folder that is missing has nothing.
    pub fn of(folder: PathBuf) -> Result<Self, MediumError> {
        let mut runs: BTreeMap<String, BTreeMap<u64, u64>> = BTreeMap::new();
        let entries = match std::fs::read_dir(&folder) {
            Err(failure) if failure.kind() == std::io::ErrorKind::NotFound => None,
            entries => Some(entries.map_err(io("read", &folder))?),
        };
        for entry in entries.into_iter().flatten() {
            let entry = entry.map_err(io("read", &folder))?;
            let name = entry.file_name();
            let Some((pack, start)) = name.to_str().and_then(parse_fragment) else {
                continue;
            };
            let metadata = entry.metadata().map_err(io("read", &folder))?;
            if entry.file_type().is_ok_and(|kind| kind.is_file()) && metadata.len() > 0 {
                runs.entry(pack.to_owned())
                    .or_default()
                    .insert(start, metadata.len());
            }
        }
        Ok(Fragments { folder, runs })
    }

    /// Whether every byte of a range is there.
    pub fn covers(&self, index: &PayloadIndex, range: &PackRange) -> bool {
        self.has(&index.packs[range.pack as usize], range.start..range.end)
    }

    /// The same for any bytes of a pack.
    pub fn has(&self, pack: &Pack, range: Range<u64>) -> bool {
        self.pieces(&pack.sha256.to_string(), range).is_some()
    }

    /// Where the bytes of a range are: file, first byte in it, how many.
    fn pieces(&self, pack: &str, range: Range<u64>) -> Option<Vec<(PathBuf, u64, u64)>> {
        let runs = self.runs.get(pack.get(..24)?)?;
        let mut at = range.start;
        let mut pieces = Vec::new();
        while at < range.end {
            // The run that begins last before here reaches farthest in a medium that we wrote.
            let (start, length) = runs.range(..=at).next_back()?;
            let end = (start + length).min(range.end);
            if end <= at {
                return None;
            }
            pieces.push((
                self.folder.join(fragment_name(pack, *start)),
                at - start,
                end - at,
            ));
            at = end;
        }
        Some(pieces)
    }
}

impl RangeSource for Fragments {
    fn fetch<'a>(
        &'a self,
        pack: &'a Pack,
        range: Range<u64>,
    ) -> BoxFuture<'a, Result<BoxStream<'static, Result<Bytes, SourceError>>, SourceError>> {
        async move {
            let missing = || SourceError {
                message: format!("{} is not on the medium from byte {}", pack.target, range.start),
                retry_after: None,
                own_wish: false,
                source: None,
            };
            let pieces = self
                .pieces(&pack.sha256.to_string(), range.clone())
                .ok_or_else(missing)?;
            let state = (pieces.into_iter(), None::<(File, PathBuf, u64)>);
            let chunks = stream::try_unfold(state, |(mut pieces, mut open)| async move {
                let next = tokio::task::spawn_blocking(move || {
                    let chunk = next_chunk(&mut pieces, &mut open)?;
                    Ok(chunk.map(|chunk| (chunk, (pieces, open))))
                });
                next.await.unwrap_or_else(|_| {
                    Err(SourceError {
                        message: "reading the medium crashed".into(),
                        retry_after: None,
                        own_wish: false,
                        source: None,
                    })
                })
            });
            Ok(chunks.boxed())
        }
        .boxed()
    }
}

type Pieces = std::vec::IntoIter<(PathBuf, u64, u64)>;

fn next_chunk(
    pieces: &mut Pieces,
    open: &mut Option<(File, PathBuf, u64)>,
) -> Result<Option<Bytes>, SourceError> {
    let failed = |path: &Path, source: std::io::Error| SourceError {
        message: format!("cannot read {}; is the medium still there?", path.display()),
        retry_after: None,
        own_wish: false,
        source: Some(Box::new(source)),
    };
    if open.as_ref().is_none_or(|(_, _, left)| *left == 0) {
        let Some((path, offset, length)) = pieces.next() else {
            return Ok(None);
        };
        let mut file = File::open(&path).map_err(|source| failed(&path, source))?;
        file.seek(SeekFrom::Start(offset))
            .map_err(|source| failed(&path, source))?;
        *open = Some((file, path, length));
    }
    let Some((file, path, left)) = open else {
        return Ok(None);
    };
    let mut buffer = vec![0; CHUNK_BYTES.min(usize::try_from(*left).unwrap_or(CHUNK_BYTES))];
    let read = file.read(&mut buffer).map_err(|source| failed(path, source))?;
    if read == 0 {
        // Shorter than when it was listed: the reader sees a truncated range.
        return Ok(None);
    }
    buffer.truncate(read);
    *left -= read as u64;
    Ok(Some(Bytes::from(buffer)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_on_a_medium_lead_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let medium = Medium::new(folder.path().join("stick"));
        let metadata = medium.feed("feed").join("metadata");
        std::fs::create_dir_all(&metadata).unwrap();
        std::fs::create_dir_all(medium.feed("feed").join("targets/a")).unwrap();
        std::fs::write(medium.feed("feed").join("targets/a/b"), "b").unwrap();
        let to = folder.path().join("to");
        medium.copy_feed("feed", &to).unwrap();
        assert_eq!(std::fs::read(to.join("targets/a/b")).unwrap(), b"b");
        std::os::unix::fs::symlink("/etc/hostname", metadata.join("1.root.json")).unwrap();
        assert!(matches!(
            medium.copy_feed("feed", &to),
            Err(MediumError::Odd { .. })
        ));
        assert!(matches!(medium.bundle(), Err(MediumError::NoBundle { .. })));
    }

    #[tokio::test]
    async fn runs_are_put_together_and_holes_are_told() {
        use futures_util::TryStreamExt;
        let folder = tempfile::tempdir().unwrap();
        let pack = Pack {
            target: "packs/p".into(),
            sha256: content::ObjectId([7; 32]),
            length: 100,
        };
        let name = pack.sha256.to_string();
        for (start, text) in [(10, "abcde"), (15, "fghij"), (30, "xyz")] {
            std::fs::write(folder.path().join(fragment_name(&name, start)), text).unwrap();
        }
        std::fs::write(folder.path().join("other.txt"), "x").unwrap();
        let fragments = Fragments::of(folder.path().to_owned()).unwrap();
        let read = async |range: Range<u64>| -> Result<Vec<u8>, SourceError> {
            let chunks: Vec<Bytes> = fragments.fetch(&pack, range).await?.try_collect().await?;
            Ok(chunks.concat())
        };
        assert_eq!(read(12..18).await.unwrap(), b"cdefgh");
        assert_eq!(read(30..33).await.unwrap(), b"xyz");
        for hole in [5..12, 18..31, 30..34, 50..51] {
            let failure = read(hole.clone()).await.unwrap_err();
            assert!(
                failure.to_string().contains("not on the medium"),
                "{hole:?}: {failure}"
            );
        }
    }
}
