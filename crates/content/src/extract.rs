//! Extracting a payload from the library to a folder, and comparing a folder with a payload.
//!
//! Nothing is written outside the folder: paths were checked when the index was read, and whatever lies
//! in the way and is not the folder or file it should be is removed before anything is written below it.
//! Run again after a crash, extraction keeps what is right and completes the rest.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::index::{Entry, EntryKind, PayloadIndex};
use crate::library::{DiskError, Library, disk};
use crate::object::ObjectId;

/// Most differences that are listed.
const MISMATCHES_MAX: usize = 100;
/// Most threads that copy and hash files: hashing keeps a core busy, and a disk takes several files at a time.
const THREADS_MAX: usize = 4;

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
    cancelled: &(dyn Fn() -> bool + Sync),
) -> Result<(), ExtractError> {
    std::fs::create_dir_all(destination).map_err(disk("create", destination))?;
    remove_unexpected(index, destination)?;
    // Folders come before what lies in them.
    for entry in &index.entries {
        let path = destination.join(entry.path.as_str());
        match &entry.kind {
            EntryKind::Directory => directory(&path)?,
            EntryKind::Symlink { target } => {
                if std::fs::read_link(&path).ok().as_deref() != Some(Path::new(target)) {
                    remove(&path)?;
                    std::os::unix::fs::symlink(target, &path).map_err(disk("link", &path))?;
                }
            }
            EntryKind::File { .. } => {}
        }
    }
    // One file is copied at a time, since what is free does not tell what others have yet to write; others are hashed meanwhile.
    let copying = Mutex::new(());
    each(index.entries.len(), |number| {
        let entry = &index.entries[number];
        let EntryKind::File {
            object,
            size,
            executable,
            ..
        } = &entry.kind
        else {
            return Ok(());
        };
        if cancelled() {
            return Err(ExtractError::Cancelled);
        }
        let path = destination.join(entry.path.as_str());
        let mode = if *executable { 0o755 } else { 0o644 };
        if !is_right_file(&path, object, *size) {
            remove(&path)?;
            let turn = copying.lock().unwrap_or_else(PoisonError::into_inner);
            library.room_for(destination, *size)?;
            let copied = copy(entry, object, *size, library, &path)?;
            drop(turn);
            if let Some(copied) = copied {
                compare(entry, object, copied, &path)?;
            }
        }
        let permissions = std::fs::Permissions::from_mode(mode);
        Ok(std::fs::set_permissions(&path, permissions).map_err(disk("protect", &path))?)
    })?;
    let folder = File::open(destination).map_err(disk("open", destination))?;
    rustix::fs::syncfs(&folder).map_err(|errno| disk("make durable", destination)(errno.into()))?;
    Ok(())
}

/// Compares a folder with a payload; an empty list means that it is exactly the signed tree.
pub fn verify_tree(index: &PayloadIndex, folder: &Path) -> Result<Vec<Mismatch>, DiskError> {
    let found = Mutex::new(Vec::new());
    let held = || found.lock().unwrap_or_else(PoisonError::into_inner);
    each(index.entries.len(), |number| {
        if held().len() >= MISMATCHES_MAX {
            return Ok(());
        }
        let entry = &index.entries[number];
        let problem = problem(entry, &folder.join(entry.path.as_str()))?;
        held().extend(problem.map(|problem| (number, problem)));
        Ok::<_, DiskError>(())
    })?;
    let mut found = std::mem::take(&mut *held());
    found.sort_unstable();
    found.truncate(MISMATCHES_MAX);
    let mut mismatches: Vec<Mismatch> = found
        .into_iter()
        .map(|(number, problem)| Mismatch {
            path: index.entries[number].path.to_string(),
            problem,
        })
        .collect();
    if mismatches.len() == MISMATCHES_MAX {
        return Ok(mismatches);
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

/// Does numbered pieces of work on several threads until one of them fails.
fn each<E: Send>(count: usize, work: impl Fn(usize) -> Result<(), E> + Sync) -> Result<(), E> {
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let worker = || {
        while !failed.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                break;
            }
            work(number).inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
        }
        Ok(())
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads.min(THREADS_MAX).min(count))
            .map(|_| scope.spawn(worker))
            .collect();
        let mut result = worker();
        for other in others {
            result = result.and(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        result
    })
}

/// What is wrong about what has the path of an entry.
fn problem(entry: &Entry, path: &Path) -> Result<Option<String>, DiskError> {
    let found = match std::fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(failure) if failure.kind() == io::ErrorKind::NotFound => return Ok(Some("is missing".into())),
        Err(failure) => return Err(disk("read", path)(failure)),
    };
    Ok(match &entry.kind {
        EntryKind::Directory => (!found.is_dir()).then(|| "is no folder".into()),
        EntryKind::Symlink { target } => {
            let right = std::fs::read_link(path).ok().as_deref() == Some(Path::new(target));
            (!right).then(|| format!("is no link to {target}"))
        }
        EntryKind::File {
            object,
            size,
            executable,
            ..
        } => {
            let runs = found.permissions().mode() & 0o100 != 0;
            if !found.is_file() || found.len() != *size || !is_right_file(path, object, *size) {
                Some("differs from what was signed".into())
            } else {
                (runs != *executable).then(|| "has the wrong mode".into())
            }
        }
    })
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

/// Copies an object; nothing is left to compare of an empty one.
fn copy(
    entry: &Entry,
    object: &ObjectId,
    size: u64,
    library: &Library,
    path: &Path,
) -> Result<Option<File>, ExtractError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600);
    let mut to = options.open(path).map_err(disk("create", path))?;
    if size == 0 {
        return Ok(None);
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
    Ok(Some(to))
}

/// Compares a copy with what was signed; one that differs is removed.
fn compare(entry: &Entry, object: &ObjectId, mut copied: File, path: &Path) -> Result<(), ExtractError> {
    copied.rewind().map_err(disk("read", path))?;
    let (found, _) = crate::publish::hash_of(&mut copied).map_err(disk("read", path))?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::TreePath;

    /// A payload of so many files, a few of which are large, and a library that has their objects.
    fn payload(folder: &Path, files: usize) -> (PayloadIndex, Library) {
        let library = Library::open(&folder.join("content"), 0).unwrap();
        let entry = |number: usize| {
            let bytes = vec![number as u8; 1 + number + number % 7 * 50_000];
            let object = ObjectId::of(&bytes);
            let path = library.object_path(&object);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, &bytes).unwrap();
            Entry {
                path: TreePath::new(format!("{number:03}")).unwrap(),
                kind: EntryKind::File {
                    object,
                    size: bytes.len() as u64,
                    executable: number % 2 == 1,
                    extents: Vec::new(),
                },
            }
        };
        let index = PayloadIndex {
            entries: (0..files).map(entry).collect(),
            ..PayloadIndex::default()
        };
        (index, library)
    }

    #[test]
    fn differences_are_listed_in_order_and_not_more_than_enough() {
        let folder = tempfile::tempdir().unwrap();
        let (index, library) = payload(folder.path(), 250);
        let tree = folder.path().join("tree");
        extract(&index, &library, &tree, &|| false).unwrap();
        assert_eq!(verify_tree(&index, &tree).unwrap(), []);
        for number in (0..250).step_by(5) {
            std::fs::write(tree.join(format!("{number:03}")), "changed").unwrap();
        }
        let found = verify_tree(&index, &tree).unwrap();
        let paths: Vec<&str> = found.iter().map(|mismatch| mismatch.path.as_str()).collect();
        let expected: Vec<String> = (0..250).step_by(5).map(|number| format!("{number:03}")).collect();
        assert_eq!(paths, expected);
        for entry in &index.entries {
            std::fs::remove_file(tree.join(entry.path.as_str())).unwrap();
        }
        assert_eq!(verify_tree(&index, &tree).unwrap().len(), MISMATCHES_MAX);
    }

    #[test]
    fn one_object_that_is_damaged_or_missing_ends_it_and_what_is_right_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (index, library) = payload(folder.path(), 60);
        let tree = folder.path().join("tree");
        let EntryKind::File { object, .. } = &index.entries[40].kind else {
            panic!("not a file");
        };
        let path = library.object_path(object);
        let right = std::fs::read(&path).unwrap();
        std::fs::write(&path, vec![0; right.len()]).unwrap();
        let damaged = extract(&index, &library, &tree, &|| false).unwrap_err();
        assert!(
            matches!(&damaged, ExtractError::Damaged { path, .. } if path == "040"),
            "{damaged}"
        );
        assert!(!tree.join("040").exists());
        std::fs::remove_file(&path).unwrap();
        let missing = extract(&index, &library, &tree, &|| false).unwrap_err();
        assert!(
            matches!(&missing, ExtractError::Missing { path, .. } if path == "040"),
            "{missing}"
        );
        std::fs::write(&path, right).unwrap();
        let kept = std::fs::metadata(tree.join("000")).unwrap().modified().unwrap();
        extract(&index, &library, &tree, &|| false).unwrap();
        assert_eq!(
            std::fs::metadata(tree.join("000")).unwrap().modified().unwrap(),
            kept
        );
        assert_eq!(verify_tree(&index, &tree).unwrap(), []);
    }

    #[test]
    fn whoever_cancels_is_heard_between_two_files() {
        let folder = tempfile::tempdir().unwrap();
        let (index, library) = payload(folder.path(), 60);
        let tree = folder.path().join("tree");
        let asked = AtomicUsize::new(0);
        let cancelled = || asked.fetch_add(1, Ordering::Relaxed) >= 10;
        let ended = extract(&index, &library, &tree, &cancelled).unwrap_err();
        assert!(matches!(ended, ExtractError::Cancelled), "{ended}");
        assert_eq!(std::fs::read_dir(&tree).unwrap().count(), 10);
    }
}
