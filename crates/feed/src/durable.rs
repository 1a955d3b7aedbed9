//! Files that survive a crash: written under a temporary name, flushed, renamed, and the folder flushed as well.
//!
//! A reader sees the old bytes or the new ones, never a mixture, and after `write` returns the new ones survive a
//! power cut. Temporary names start with [`TEMPORARY`] and never end in `.json`, so that leftovers of a crash can be
//! told from content and removed.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// What the name of every unfinished file begins with.
pub(crate) const TEMPORARY: &str = ".unfinished-";

/// Replaces `path` by `bytes` with one atomic, durable step. `mode` is the permission of a new file.
pub(crate) fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let (folder, temporary) = temporary_beside(path)?;
    let outcome = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    })();
    if let Err(error) = outcome {
        // The write already failed; that the leftover may stay is no second failure, it is swept at the next start.
        let _ = std::fs::remove_file(&temporary);
        return Err(error);
    }
    sync_folder(&folder)
}

/// Flushes a folder, so that renames and new names in it survive a power cut.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Removes what a crash left unfinished in `folder`.
pub(crate) fn sweep(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(TEMPORARY) && entry.file_type()?.is_file() {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// The folder of `path` and the name to use in it while the file is unfinished.
fn temporary_beside(path: &Path) -> io::Result<(PathBuf, PathBuf)> {
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let mut temporary = OsString::from(TEMPORARY);
    temporary.push(name);
    temporary.push(".tmp");
    let temporary = folder.join(temporary);
    Ok((folder, temporary))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        write(&path, b"one", 0o644).unwrap();
        write(&path, b"two", 0o644).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn sweeps_only_the_unfinished() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(".unfinished-root.json.tmp"), b"{").unwrap();
        std::fs::write(folder.path().join("root.json"), b"{}").unwrap();
        sweep(folder.path()).unwrap();
        let names: Vec<_> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["root.json"]);
    }
}
