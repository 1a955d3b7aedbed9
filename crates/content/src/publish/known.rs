//! What is known of a folder from an earlier reading: the hashes of files that nobody touched since.
//!
//! In the manner of git's index. A file counts as untouched while its size, both its times to the nanosecond, its inode
//! and its device are what they were; nobody changes a file without changing one of them, unless in the very tick of the
//! clock in which it was read. So a file that was touched shortly before a reading began is not noted down: the next
//! reading reads it again. Where an object's bytes lie is not kept here: the signed indexes of the feed say that, and
//! what they do not know is read and hashed once more before it is stored.
//!
//! Nothing depends on this file. One that is missing, damaged or of another folder costs reading everything.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::source::{Scanned, ScannedKind};
use crate::index::{IndexError, Lines, write_line};
use crate::object::ObjectId;
use crate::tree::{ENTRIES_MAX, PATH_BYTES_MAX};

const FORMAT: u32 = 1;
/// Most folders of which something is kept; the one that was published longest ago goes first.
const FOLDERS_MAX: usize = 16;
/// Largest file: 400,000 entries of some 300 bytes, before they are compressed.
const BYTES_MAX: u64 = 128 * 1024 * 1024;
/// What a file's name ends in.
const ENDING: &str = ".known";
/// The coarsest times of a file system in use are FAT's, of two seconds.
const TICK_S: i64 = 2;

/// Where it is kept that files need not be read again.
#[derive(Debug, Clone)]
pub struct KnownFiles {
    /// A folder of its own, 0700; it has to exist.
    pub folder: PathBuf,
    /// The time now, in seconds since 1970, taken before publishing begins.
    pub now_s: i64,
    /// Read every file all the same.
    pub reread: bool,
}

/// What tells that a file is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    size: u64,
    /// Seconds and nanoseconds of the last change of its content.
    modified: (i64, i64),
    /// The same of anything about it; nobody can set it.
    changed: (i64, i64),
    inode: u64,
    device: u64,
}

impl Stamp {
    pub fn of(metadata: &Metadata) -> Self {
        Stamp {
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
            device: metadata.dev(),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Header {
    format: u32,
    folder: String,
    files: usize,
}

#[derive(Serialize, Deserialize)]
struct Line {
    path: String,
    sha256: ObjectId,
    stamp: Stamp,
}

/// What is known of one folder.
pub(super) struct Known {
    pub files: HashMap<String, (Stamp, ObjectId)>,
    /// Where it is kept, if it is.
    place: Option<Place>,
    /// Why it could not be used, or not be kept.
    pub note: Option<String>,
}

struct Place {
    path: PathBuf,
    folder: String,
    now_s: i64,
}

impl Known {
    /// Nothing, and nothing is kept.
    pub fn nothing() -> Self {
        Known {
            files: HashMap::new(),
            place: None,
            note: None,
        }
    }

    /// What an earlier reading of `folder` left.
    pub fn load(options: &KnownFiles, folder: &Path) -> Self {
        // The same folder under another name is the same folder.
        let folder = std::fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
        let name = ObjectId::of(folder.as_os_str().as_encoded_bytes()).to_string();
        let path = options.folder.join(format!("{}{ENDING}", &name[..32]));
        let folder = folder.to_string_lossy().into_owned();
        let mut known = Known::nothing();
        if !options.reread {
            match read(&path, &folder) {
                Ok(files) => known.files = files,
                Err(failure) => {
                    tracing::info!(file = %path.display(), error = %failure, "not used");
                    known.note = Some(format!(
                        "{} is damaged or of another folder; every file was read",
                        path.display()
                    ));
                }
            }
        }
        known.place = Some(Place {
            path,
            folder,
            now_s: options.now_s,
        });
        known
    }

    /// The hash of a file that nobody touched.
    pub fn hash_of(&self, path: &str, stamp: &Stamp) -> Option<ObjectId> {
        let (known, object) = self.files.get(path)?;
        (known == stamp).then_some(*object)
    }

    /// Keeps what this reading found, for the next one.
    pub fn keep(&mut self, scanned: &[Scanned]) {
        let Some(place) = &self.place else {
            return;
        };
        let settled = |stamp: &Stamp| stamp.modified.0.max(stamp.changed.0) < place.now_s - TICK_S;
        let lines: Vec<Line> = scanned
            .iter()
            .filter_map(|entry| match &entry.kind {
                ScannedKind::File {
                    object,
                    stamp: Some(stamp),
                    ..
                } if settled(stamp) => Some(Line {
                    path: entry.path.to_string(),
                    sha256: *object,
                    stamp: *stamp,
                }),
                ScannedKind::File { .. } | ScannedKind::Directory | ScannedKind::Symlink(_) => None,
            })
            .collect();
        let same = lines.len() == self.files.len()
            && lines
                .iter()
                .all(|line| self.files.get(&line.path) == Some(&(line.stamp, line.sha256)));
        let kept = match same {
            true => touch(place),
            false => write(place, &lines).and_then(|()| forget_oldest(&place.path)),
        };
        if let Err(failure) = kept {
            self.note = Some(format!(
                "the next publishing reads every file again: cannot write {} ({failure})",
                place.path.display()
            ));
        }
    }

    /// Forgets everything: some of it was not so.
    pub fn forget(&self) {
        if let Some(place) = &self.place
            && let Err(failure) = std::fs::remove_file(&place.path)
        {
            tracing::warn!(file = %place.path.display(), error = %failure, "could not forget what is known of a folder");
        }
    }
}

fn read(path: &Path, folder: &str) -> Result<HashMap<String, (Stamp, ObjectId)>, IndexError> {
    let file = match File::open(path) {
        Err(failure) if failure.kind() == io::ErrorKind::NotFound => return Ok(HashMap::new()),
        opened => opened.map_err(IndexError::Io)?,
    };
    let mut lines = Lines::new(file.take(BYTES_MAX))?;
    let header: Header = lines.next()?;
    if header.format != FORMAT {
        return Err(IndexError::Newer {
            what: format!("known files of format {}", header.format),
        });
    }
    if header.folder != folder || header.files > ENTRIES_MAX {
        let problem = "it is of another folder, or of more files than a tree has";
        return Err(IndexError::Inconsistent(problem.into()));
    }
    let mut files = HashMap::with_capacity(header.files);
    for _ in 0..header.files {
        let line: Line = lines.next()?;
        if line.path.len() > PATH_BYTES_MAX {
            return Err(IndexError::Inconsistent("it names too long a path".into()));
        }
        files.insert(line.path, (line.stamp, line.sha256));
    }
    lines.end()?;
    Ok(files)
}

/// Writes it beside its place and moves it there. It is not flushed: what a crash leaves of it does not pass its checksum.
fn write(place: &Place, lines: &[Line]) -> io::Result<()> {
    let temporary = place.path.with_extension("new");
    let mut encoder = zstd::stream::write::Encoder::new(File::create(&temporary)?, 1)?;
    encoder.include_checksum(true)?;
    let mut out = io::BufWriter::new(encoder);
    write_line(
        &mut out,
        &Header {
            format: FORMAT,
            folder: place.folder.clone(),
            files: lines.len(),
        },
    )?;
    for line in lines {
        write_line(&mut out, line)?;
    }
    let encoder = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    encoder.finish()?;
    touch_at(&temporary, place.now_s)?;
    std::fs::rename(&temporary, &place.path)
}

fn touch(place: &Place) -> io::Result<()> {
    match place.path.exists() {
        true => touch_at(&place.path, place.now_s),
        false => Ok(()),
    }
}

/// Notes when it was of use last.
fn touch_at(path: &Path, now_s: i64) -> io::Result<()> {
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(now_s).unwrap_or_default());
    File::options().write(true).open(path)?.set_modified(at)
}

/// Removes what is known of folders beyond those published last.
fn forget_oldest(path: &Path) -> io::Result<()> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(path.parent().unwrap_or(Path::new(".")))? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().ends_with(ENDING) {
            all.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    all.sort();
    let many = all.len().saturating_sub(FOLDERS_MAX);
    all.into_iter()
        .take(many)
        .try_for_each(|(_, oldest)| std::fs::remove_file(oldest))
}
