//! Reading a payload: a folder as it stands (`folder.rs`), an archive once from front to back into a scratch folder.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use sha2::{Digest, Sha256};

use super::error::{PublishError, io_error};
use super::known::{Known, Stamp};
use super::{Progress, PublishOptions};
use crate::object::ObjectId;
use crate::tree::{self, Entry, EntryKind, TreeError, TreePath};

/// An archive that unpacks to more than this many times its size, beyond a gibibyte, is a bomb.
const EXPANSION_MAX: u64 = 1_000;
const EXPANSION_FREE_BYTES: u64 = 1 << 30;

/// An entry with the place of its bytes.
pub(super) struct Scanned {
    pub path: TreePath,
    pub kind: ScannedKind,
}

pub(super) enum ScannedKind {
    Directory,
    Symlink(String),
    File {
        object: ObjectId,
        size: u64,
        executable: bool,
        data: PathBuf,
        /// What tells later that it is still the same; none in an archive.
        stamp: Option<Stamp>,
    },
}

/// What reading a payload gave.
pub(super) struct Scanning {
    /// The tree, sorted by path.
    pub entries: Vec<Scanned>,
    /// Files whose bytes were read.
    pub read_files: u64,
    /// How many bytes that were.
    pub read_bytes: u64,
}

/// Reads the payload, but for files that are known, and checks the tree.
pub(super) fn scan(
    payload: &Path,
    scratch: &Path,
    options: &PublishOptions,
    known: &Known,
    progress: &mut dyn FnMut(Progress),
) -> Result<Scanning, PublishError> {
    let kind = kind_of(payload)?;
    let length = std::fs::metadata(payload)
        .map_err(io_error("read", payload))?
        .len();
    let bytes_max = match kind {
        Kind::Folder => options.bytes_max,
        Kind::Tar | Kind::TarGz | Kind::TarZst | Kind::Zip => options.bytes_max.min(
            length
                .saturating_mul(EXPANSION_MAX)
                .saturating_add(EXPANSION_FREE_BYTES),
        ),
    };
    let spool = scratch.join("spool");
    let mut scan = Scan {
        payload,
        spool,
        entries: BTreeMap::new(),
        bytes: 0,
        read_files: 0,
        read_bytes: 0,
        bytes_max,
        options,
        progress,
    };
    match kind {
        Kind::Folder => scan.folder(known)?,
        Kind::Tar => scan.tar(open(payload)?)?,
        Kind::TarGz => scan.tar(flate2::read::MultiGzDecoder::new(open(payload)?))?,
        Kind::TarZst => {
            let decoder = zstd::stream::read::Decoder::with_buffer(open(payload)?);
            scan.tar(decoder.map_err(io_error("read", payload))?)?;
        }
        Kind::Zip => scan.zip(open(payload)?)?,
    }
    scan.finish()
}

/// The reader below a tar archive: it remembers the last block it read and bounds what the archive may say
/// about one entry. Long names and extended headers are otherwise read whole, whatever size they announce.
struct Tail<R> {
    reader: R,
    last: Vec<u8>,
    /// Bytes that may still come before the next entry; unbounded inside one.
    headers_left: Rc<Cell<u64>>,
}

/// Most bytes of headers, long names and extended attributes of one entry.
const TAR_HEADERS_MAX: u64 = 1024 * 1024;

/// Archives are made of blocks of this size; the last ones are zeros.
const TAR_BLOCK: usize = 512;

impl<R: Read> Read for Tail<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        let left = self.headers_left.get().checked_sub(read as u64).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("an entry has more than {TAR_HEADERS_MAX} bytes of headers and names"),
            )
        })?;
        self.headers_left.set(left);
        self.last
            .extend_from_slice(&buffer[read.saturating_sub(TAR_BLOCK)..read]);
        self.last.drain(..self.last.len().saturating_sub(TAR_BLOCK));
        Ok(read)
    }
}

enum Kind {
    Folder,
    Tar,
    TarGz,
    TarZst,
    Zip,
}

/// Archives are told by their content: names lie.
fn kind_of(payload: &Path) -> Result<Kind, PublishError> {
    let metadata = std::fs::metadata(payload).map_err(io_error("read", payload))?;
    if metadata.is_dir() {
        return Ok(Kind::Folder);
    }
    let mut head = Vec::new();
    open(payload)?
        .take(512)
        .read_to_end(&mut head)
        .map_err(io_error("read", payload))?;
    if head.starts_with(&[0x1f, 0x8b]) {
        Ok(Kind::TarGz)
    } else if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        Ok(Kind::TarZst)
    } else if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
        Ok(Kind::Zip)
    } else if head.get(257..262) == Some(b"ustar") {
        Ok(Kind::Tar)
    } else {
        Err(PublishError::UnknownKind {
            path: payload.to_owned(),
        })
    }
}

/// The number of entries that a zip archive's own end record announces, unless it is a 64-bit archive.
fn entries_announced(path: &Path) -> io::Result<Option<usize>> {
    use std::io::{Seek, SeekFrom};
    /// The record without its comment, and the longest comment.
    const RECORD: usize = 22;
    const COMMENT_MAX: u64 = 65_535;
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let tail = length.min(RECORD as u64 + COMMENT_MAX);
    file.seek(SeekFrom::Start(length - tail))?;
    let mut bytes = Vec::new();
    file.take(tail).read_to_end(&mut bytes)?;
    let found = (0..=bytes.len().saturating_sub(RECORD))
        .rev()
        .find(|at| bytes[*at..].starts_with(b"PK\x05\x06"));
    Ok(found.and_then(|at| {
        let count = u16::from_le_bytes([*bytes.get(at + 10)?, *bytes.get(at + 11)?]);
        (count != u16::MAX).then_some(usize::from(count))
    }))
}

fn open(path: &Path) -> Result<BufReader<File>, PublishError> {
    Ok(BufReader::with_capacity(
        256 * 1024,
        File::open(path).map_err(io_error("open", path))?,
    ))
}

pub(super) struct Scan<'a> {
    pub(super) payload: &'a Path,
    spool: PathBuf,
    entries: BTreeMap<TreePath, ScannedKind>,
    bytes: u64,
    read_files: u64,
    read_bytes: u64,
    bytes_max: u64,
    pub(super) options: &'a PublishOptions,
    progress: &'a mut dyn FnMut(Progress),
}

impl Scan<'_> {
    fn refuse<T>(&self, source: TreeError) -> Result<T, PublishError> {
        Err(PublishError::Tree {
            path: self.payload.to_owned(),
            source,
        })
    }

    pub(super) fn special<T>(&self, path: &str) -> Result<T, PublishError> {
        self.refuse(TreeError::new(
            path,
            "is a device, pipe, socket or other special file, which no payload may have",
        ))
    }

    pub(super) fn text(&self, bytes: &[u8]) -> Result<String, PublishError> {
        String::from_utf8(bytes.to_vec()).or_else(|_| {
            let shown = String::from_utf8_lossy(bytes);
            self.refuse(TreeError::new(&shown, "the name is not UTF-8; rename the file"))
        })
    }

    pub(super) fn add(&mut self, path: &str, kind: ScannedKind) -> Result<(), PublishError> {
        let tree_path = TreePath::new(path).or_else(|error| self.refuse(error))?;
        self.entry_allowed(path, 0)?;
        if let ScannedKind::File { size, .. } = &kind {
            self.bytes += size;
        }
        let folder = matches!(kind, ScannedKind::Directory);
        match self.entries.insert(tree_path, kind) {
            // Archives may name a folder more than once.
            Some(ScannedKind::Directory) if folder => Ok(()),
            Some(_) => self.refuse(TreeError::new(path, "appears twice in the payload")),
            None => Ok(()),
        }
    }

    /// Refuses one entry too many; `waiting` are found already and not added yet.
    pub(super) fn entry_allowed(&self, path: &str, waiting: usize) -> Result<(), PublishError> {
        let entries_max = self.options.entries_max;
        if self.entries.len() + waiting < entries_max {
            return Ok(());
        }
        let problem = format!(
            "a tree has at most {entries_max} entries; split the payload or pack small files into archives"
        );
        self.refuse(TreeError::new(path, problem))
    }

    /// Counts a file whose bytes were read.
    pub(super) fn has_read(&mut self, bytes: u64) {
        self.read_files += 1;
        self.read_bytes += bytes;
        (self.progress)(Progress::Scanning {
            files: self.read_files,
            bytes: self.read_bytes,
        });
    }

    pub(super) fn room_for(&self, path: &str, size: u64) -> Result<(), PublishError> {
        if self.bytes.saturating_add(size) <= self.bytes_max {
            return Ok(());
        }
        let problem = format!(
            "with {path:?} it has more than {} bytes, which is too much for its kind",
            self.bytes_max
        );
        Err(PublishError::TooLarge {
            path: self.payload.to_owned(),
            problem,
        })
    }

    fn tar(&mut self, reader: impl Read) -> Result<(), PublishError> {
        let payload = self.payload;
        let io = || io_error("read the archive", payload);
        let headers_left = Rc::new(Cell::new(TAR_HEADERS_MAX));
        let mut archive = tar::Archive::new(Tail {
            reader,
            last: Vec::new(),
            headers_left: headers_left.clone(),
        });
        for entry in archive.entries().map_err(io())? {
            let mut entry = entry.map_err(io())?;
            headers_left.set(u64::MAX);
            let kind = entry.header().entry_type();
            let name = self.text(&entry.path_bytes())?;
            let path = name
                .strip_prefix("./")
                .unwrap_or(&name)
                .trim_end_matches('/')
                .to_owned();
            if kind.is_dir() {
                if !matches!(path.as_str(), "" | ".") {
                    self.add(&path, ScannedKind::Directory)?;
                }
            } else if kind.is_symlink() || kind.is_hard_link() {
                let target = self.text(&entry.link_name_bytes().unwrap_or_default())?;
                if kind.is_symlink() {
                    self.add(&path, ScannedKind::Symlink(target))?;
                } else {
                    self.hard_link(&path, target.strip_prefix("./").unwrap_or(&target))?;
                }
            } else if kind.is_file() || kind.is_contiguous() || kind.is_gnu_sparse() {
                let executable = entry.header().mode().map_err(io())? & 0o111 != 0;
                self.spool(&path, executable, &mut entry)?;
            } else if !kind.is_pax_global_extensions() {
                return self.special(&path);
            }
            std::io::copy(&mut entry, &mut std::io::sink()).map_err(io())?;
            headers_left.set(TAR_HEADERS_MAX);
        }
        headers_left.set(u64::MAX);
        // Reading on to the end lets decompressors check their trailers, and shows whether the archive has
        // its end mark: one that was cut off between two files has none.
        let mut rest = archive.into_inner();
        std::io::copy(&mut rest, &mut std::io::sink()).map_err(io())?;
        if rest.last.len() < TAR_BLOCK || rest.last.iter().any(|byte| *byte != 0) {
            return Err(io()(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the archive has no end mark, it is cut off",
            )));
        }
        Ok(())
    }

    fn hard_link(&mut self, path: &str, target: &str) -> Result<(), PublishError> {
        let linked = TreePath::new(target)
            .ok()
            .and_then(|target| self.entries.get(&target));
        let Some(ScannedKind::File {
            object,
            size,
            executable,
            data,
            ..
        }) = linked
        else {
            let problem = format!("is a hard link to {target:?}, which is no earlier file of the archive");
            return self.refuse(TreeError::new(path, problem));
        };
        let kind = ScannedKind::File {
            object: *object,
            size: *size,
            executable: *executable,
            data: data.clone(),
            stamp: None,
        };
        self.room_for(path, *size)?;
        self.add(path, kind)
    }

    fn zip(&mut self, file: BufReader<File>) -> Result<(), PublishError> {
        let payload = self.payload;
        let zip =
            |error: zip::result::ZipError| io_error("read the archive", payload)(io::Error::other(error));
        let mut archive = zip::ZipArchive::new(file).map_err(zip)?;
        let listed = entries_announced(payload).map_err(io_error("read the archive", payload))?;
        if listed.is_some_and(|listed| listed != archive.len()) {
            // The library keeps one entry of each name; which one a reader gets must not be chance.
            let problem = "lists a name more than once; make the archive again".to_owned();
            return Err(PublishError::Archive {
                path: payload.to_owned(),
                problem,
            });
        }
        for number in 0..archive.len() {
            let mut entry = archive.by_index(number).map_err(zip)?;
            let name = self.text(entry.name_raw())?;
            let mode = entry.unix_mode().unwrap_or(0o100_644);
            let path = name.trim_end_matches('/').to_owned();
            match mode & 0o170_000 {
                0o120_000 => {
                    let mut target = Vec::new();
                    (&mut entry)
                        .take(4096)
                        .read_to_end(&mut target)
                        .map_err(io_error("read the archive", payload))?;
                    let target = self.text(&target)?;
                    self.add(&path, ScannedKind::Symlink(target))?;
                }
                0o040_000 => self.add(&path, ScannedKind::Directory)?,
                0o100_000 | 0 if name.ends_with('/') => self.add(&path, ScannedKind::Directory)?,
                0o100_000 | 0 => self.spool(&path, mode & 0o111 != 0, &mut entry)?,
                _ => return self.special(&path),
            }
        }
        Ok(())
    }

    /// Writes one file of an archive to the spool, under its hash. What a header claims about sizes is
    /// not believed: bytes are counted as they come.
    fn spool(&mut self, path: &str, executable: bool, content: &mut dyn Read) -> Result<(), PublishError> {
        TreePath::new(path).or_else(|error| self.refuse(error))?;
        std::fs::create_dir_all(&self.spool).map_err(io_error("create", &self.spool))?;
        let temporary = self.spool.join("incoming");
        let mut out = File::create(&temporary).map_err(io_error("create", &temporary))?;
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 256 * 1024];
        let mut size = 0_u64;
        loop {
            let read = content
                .read(&mut buffer)
                .map_err(io_error("read the archive", self.payload))?;
            if read == 0 {
                break;
            }
            size += read as u64;
            self.room_for(path, size)?;
            hasher.update(&buffer[..read]);
            out.write_all(&buffer[..read])
                .map_err(io_error("write", &temporary))?;
        }
        let object = ObjectId(hasher.finalize().into());
        let data = self.spool.join(object.to_string());
        std::fs::rename(&temporary, &data).map_err(io_error("write", &data))?;
        self.has_read(size);
        self.add(
            path,
            ScannedKind::File {
                object,
                size,
                executable,
                data,
                stamp: None,
            },
        )
    }

    /// Adds the folders that an archive leaves out and checks the tree.
    fn finish(mut self) -> Result<Scanning, PublishError> {
        let mut implied: BTreeSet<String> = BTreeSet::new();
        let entries_max = self.options.entries_max;
        for path in self.entries.keys() {
            if implied.len() > entries_max {
                let problem =
                    format!("its folders are more than the {entries_max} entries that a tree may have");
                return self.refuse(TreeError::new(path.as_str(), problem));
            }
            let mut parent = path.parent();
            while let Some(folder) = parent {
                if !implied.insert(folder.to_owned()) {
                    break;
                }
                parent = folder.rsplit_once('/').map(|(above, _)| above);
            }
        }
        for folder in implied {
            let path = TreePath::new(folder).or_else(|error| self.refuse(error))?;
            self.entries.entry(path).or_insert(ScannedKind::Directory);
        }
        let shape: Vec<Entry> = self
            .entries
            .iter()
            .map(|(path, kind)| Entry {
                path: path.clone(),
                kind: shape_of(kind),
            })
            .collect();
        tree::check(&shape, self.options.entries_max).or_else(|error| self.refuse(error))?;
        let entries = self.entries.into_iter();
        Ok(Scanning {
            entries: entries.map(|(path, kind)| Scanned { path, kind }).collect(),
            read_files: self.read_files,
            read_bytes: self.read_bytes,
        })
    }
}

fn shape_of(kind: &ScannedKind) -> EntryKind {
    match kind {
        ScannedKind::Directory => EntryKind::Directory,
        ScannedKind::Symlink(target) => EntryKind::Symlink {
            target: target.clone(),
        },
        ScannedKind::File {
            object,
            size,
            executable,
            ..
        } => EntryKind::File {
            object: *object,
            size: *size,
            executable: *executable,
            extents: Vec::new(),
        },
    }
}
