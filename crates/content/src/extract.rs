//! Extracting a payload from the library to a folder, and comparing a folder with a payload.
//!
//! Nothing is written outside the folder: paths were checked when the index was read, and whatever lies
//! in the way and is not the folder or file it should be is removed before anything is written below it.
//! Run again after a crash, extraction keeps what is right and completes the rest.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::index::{Entry, EntryKind, PayloadIndex};
use crate::library::{DiskError, Library, disk};
use crate::object::ObjectId;

/// Most differences that are listed.
const MISMATCHES_MAX: usize = 100;

/// Why extraction ended early.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// The disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// An object is not in the library.
    #[error("{path}: its content {object} is not in the content library; download the package again")]
    Missing {
        /// Entry.
        path: String,
        /// Object.
        object: ObjectId,
    },
    /// An object in the library is damaged.
    #[error(
        "{path}: its content in the content library is damaged, expected SHA-256 {expected}, found {found}; run `tidegate content verify`, then download the package again"
    )]
    Damaged {
        /// Entry.
        path: String,
        /// Expected object.
        expected: ObjectId,
        /// What it is.
        found: ObjectId,
    },
    /// Cancelled from outside.
    #[error("extraction was cancelled")]
    Cancelled,
}

impl ExtractError {
    /// Whether content has to be fetched again.
    pub fn is_content_lost(&self) -> bool {
        matches!(self, ExtractError::Missing { .. } | ExtractError::Damaged { .. })
    }
}

/// A difference between a folder and a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// Path in the tree.
    pub path: String,
    /// What differs.
    pub problem: String,
}

/// Extracts a payload durably.
pub fn extract(
    index: &PayloadIndex,
    library: &Library,
    destination: &Path,
    cancelled: &dyn Fn() -> bool,
) -> Result<(), ExtractError> {
    std::fs::create_dir_all(destination).map_err(disk("create", destination))?;
    remove_unexpected(index, destination)?;
    for entry in &index.entries {
        if cancelled() {
            return Err(ExtractError::Cancelled);
        }
        let path = destination.join(entry.path.as_str());
        match &entry.kind {
            EntryKind::Directory => directory(&path)?,
            EntryKind::Symlink { target } => {
                if std::fs::read_link(&path).ok().as_deref() != Some(Path::new(target)) {
                    remove(&path)?;
                    std::os::unix::fs::symlink(target, &path).map_err(disk("link", &path))?;
                }
            }
            EntryKind::File {
                object,
                size,
                executable,
                ..
            } => {
                let mode = if *executable { 0o755 } else { 0o644 };
                if !is_right_file(&path, object, *size) {
                    remove(&path)?;
                    library.room_for(destination, *size)?;
                    copy(entry, object, *size, library, &path)?;
                }
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))
                    .map_err(disk("protect", &path))?;
            }
        }
    }
    let folder = File::open(destination).map_err(disk("open", destination))?;
    rustix::fs::syncfs(&folder).map_err(|errno| disk("make durable", destination)(errno.into()))?;
    Ok(())
}

/// Compares a folder with a payload; an empty list means that it is exactly the signed tree.
pub fn verify_tree(index: &PayloadIndex, folder: &Path) -> Result<Vec<Mismatch>, DiskError> {
    let mut mismatches = Vec::new();
    for entry in &index.entries {
        let path = folder.join(entry.path.as_str());
        let problem = match (&entry.kind, std::fs::symlink_metadata(&path)) {
            (_, Err(failure)) if failure.kind() == io::ErrorKind::NotFound => Some("is missing".to_owned()),
            (_, Err(failure)) => return Err(disk("read", &path)(failure)),
            (EntryKind::Directory, Ok(found)) => (!found.is_dir()).then(|| "is no folder".to_owned()),
            (EntryKind::Symlink { target }, Ok(_)) => {
                let right = std::fs::read_link(&path).ok().as_deref() == Some(Path::new(target));
                (!right).then(|| format!("is no link to {target}"))
            }
            (
                EntryKind::File {
                    object,
                    size,
                    executable,
                    ..
                },
                Ok(found),
            ) => {
                let runs = found.permissions().mode() & 0o100 != 0;
                if !found.is_file() || found.len() != *size || !is_right_file(&path, object, *size) {
                    Some("differs from what was signed".to_owned())
                } else {
                    (runs != *executable).then(|| "has the wrong mode".to_owned())
                }
            }
        };
        if let Some(problem) = problem {
            mismatches.push(Mismatch {
                path: entry.path.to_string(),
                problem,
            });
        }
        if mismatches.len() >= MISMATCHES_MAX {
            return Ok(mismatches);
        }
    }
    for path in unexpected(index, folder)?.into_iter().take(MISMATCHES_MAX) {
        let shown = path
            .strip_prefix(folder)
            .unwrap_or(&path)
            .to_string_lossy()
            .into_owned();
        mismatches.push(Mismatch {
            path: shown,
            problem: "is not part of the package".into(),
        });
    }
    Ok(mismatches)
}

fn directory(path: &Path) -> Result<(), DiskError> {
    let is_folder = std::fs::symlink_metadata(path).is_ok_and(|found| found.is_dir());
    if !is_folder {
        remove(path)?;
        std::fs::create_dir(path).map_err(disk("create", path))?;
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).map_err(disk("protect", path))
}

/// Removes whatever has this path, without following it.
fn remove(path: &Path) -> Result<(), DiskError> {
    let removed = match std::fs::symlink_metadata(path) {
        Err(failure) if failure.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(failure) => Err(failure),
        Ok(found) if found.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
    };
    removed.map_err(disk("remove", path))
}

fn is_right_file(path: &Path, object: &ObjectId, size: u64) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|found| found.is_file() && found.len() == size)
        && crate::publish::hash_file(path).is_ok_and(|(found, _)| found == *object)
}

fn copy(
    entry: &Entry,
    object: &ObjectId,
    size: u64,
    library: &Library,
    path: &Path,
) -> Result<(), ExtractError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600);
    let mut to = options.open(path).map_err(disk("create", path))?;
    if size == 0 {
        return Ok(());
    }
    let missing = || ExtractError::Missing {
        path: entry.path.to_string(),
        object: *object,
    };
    let mut from = match library.open_object(object) {
        Ok(file) => file,
        Err(failure) if failure.source.kind() == io::ErrorKind::NotFound => return Err(missing()),
        Err(failure) => return Err(failure.into()),
    };
    // Where the file system shares blocks between files, no byte is written twice; elsewhere the kernel copies. Never by a
    // second name for the object's file: whoever writes to what is installed would write to the library (decision 0014).
    if rustix::fs::ioctl_ficlone(&to, &from).is_err() {
        io::copy(&mut from, &mut to).map_err(disk("write", path))?;
    }
    to.rewind().map_err(disk("read", path))?;
    let (found, _) = crate::publish::hash_of(&mut to).map_err(disk("read", path))?;
    if found == *object {
        return Ok(());
    }
    remove(path)?;
    Err(ExtractError::Damaged {
        path: entry.path.to_string(),
        expected: *object,
        found,
    })
}

fn remove_unexpected(index: &PayloadIndex, folder: &Path) -> Result<(), DiskError> {
    unexpected(index, folder)?
        .iter()
        .try_for_each(|path| remove(path))
}

/// What lies below a folder and is no entry of the payload; a whole unexpected folder is one.
fn unexpected(index: &PayloadIndex, folder: &Path) -> Result<Vec<PathBuf>, DiskError> {
    let expected: HashMap<&str, bool> = index
        .entries
        .iter()
        .map(|entry| (entry.path.as_str(), matches!(entry.kind, EntryKind::Directory)))
        .collect();
    let mut found = Vec::new();
    let mut pending = vec![(folder.to_owned(), String::new())];
    while let Some((at, prefix)) = pending.pop() {
        for entry in std::fs::read_dir(&at).map_err(disk("list", &at))? {
            let entry = entry.map_err(disk("list", &at))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if prefix.is_empty() {
                name
            } else {
                format!("{prefix}/{name}")
            };
            let is_folder = entry.file_type().map_err(disk("read", &entry.path()))?.is_dir();
            match expected.get(path.as_str()) {
                None => found.push(entry.path()),
                Some(true) if is_folder => pending.push((entry.path(), path)),
                Some(_) => {}
            }
        }
    }
    Ok(found)
}
