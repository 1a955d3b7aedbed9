//! Files that survive a crash, and the layout of a service folder.
//!
//! It refuses to leave half a file under a final name: temporary name, flush, rename, flush of the folder.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::{CloudError, io as failed};

/// What the name of every unfinished file begins with; our server never serves dot-files.
const TEMPORARY: &str = ".unfinished-";

/// Where everything of a service lies.
#[derive(Debug, Clone)]
pub struct ServiceDir {
    root: PathBuf,
}

impl ServiceDir {
    /// The service folder `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }
    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }
    /// The settings file.
    pub fn settings(&self) -> PathBuf {
        self.root.join("cloud.toml")
    }
    /// The online keys, a folder per role.
    pub fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }
    /// What is served.
    pub fn repository(&self) -> PathBuf {
        self.root.join("repository")
    }
    /// The target files.
    pub fn targets(&self) -> PathBuf {
        self.root.join("repository/targets")
    }
    /// Unfinished work; may be emptied while nothing is being published.
    pub fn scratch(&self) -> PathBuf {
        self.root.join("scratch")
    }
    /// Which files of published folders need not be read again; may be emptied at any time; 0700.
    pub fn known_files(&self) -> PathBuf {
        self.root.join("known-files")
    }
    /// What the intake of usage data keeps; 0700.
    pub fn intake(&self) -> PathBuf {
        self.root.join("intake")
    }
    /// The key that signs receipts of usage data.
    pub fn receipt_key(&self) -> PathBuf {
        self.intake().join("receipt.key")
    }
    /// The key that signs updates outside the catalogue.
    pub fn hotfix_key(&self) -> PathBuf {
        self.root.join("hotfix.key")
    }
    /// Who changed what and when.
    pub fn history(&self) -> PathBuf {
        self.root.join("history.jsonl")
    }
    /// Links to the console that were not used yet; 0700.
    pub fn console_links(&self) -> PathBuf {
        self.root.join("console-links")
    }
    /// Certificates of our own server.
    pub fn tls(&self) -> PathBuf {
        self.root.join("tls")
    }
}

/// Replaces `path` by `bytes` in one durable step.
pub(crate) fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let (folder, temporary) = beside(path)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    File::open(folder)?.sync_all()
}

/// Puts `bytes` at `path`, creating the folders above it durably.
pub(crate) fn place(path: &Path, bytes: &[u8]) -> Result<(), CloudError> {
    if let Some(folder) = path.parent() {
        create_folders(folder)?;
    }
    write(path, bytes, 0o644).map_err(failed("write", path))
}

/// Moves a finished file to `path`, or copies it where the two are on different file systems.
pub(crate) fn adopt(from: &Path, path: &Path) -> Result<(), CloudError> {
    if let Some(folder) = path.parent() {
        create_folders(folder)?;
    }
    let (folder, temporary) = beside(path).map_err(failed("name", path))?;
    std::fs::copy(from, &temporary).map_err(failed("copy", from))?;
    let put = File::open(&temporary)
        .and_then(|file| file.sync_all())
        .and_then(|()| std::fs::rename(&temporary, path))
        .and_then(|()| File::open(&folder)?.sync_all());
    put.map_err(failed("write", path))
}

/// Creates a folder and those above it, each flushed into the one above.
pub(crate) fn create_folders(folder: &Path) -> Result<(), CloudError> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(above) = folder.parent() {
        if !above.as_os_str().is_empty() {
            create_folders(above)?;
        }
        match std::fs::create_dir(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed("create", folder)(error));
            }
            _ => {}
        }
        let above = if above.as_os_str().is_empty() {
            Path::new(".")
        } else {
            above
        };
        File::open(above)
            .and_then(|file| file.sync_all())
            .map_err(failed("flush", above))?;
    }
    Ok(())
}

/// Makes a folder that only its owner can enter.
pub(crate) fn create_private_folder(folder: &Path) -> Result<(), CloudError> {
    let created = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    created.map_err(failed("create", folder))
}

/// Length and SHA-256 of a regular file.
pub(crate) fn measure(path: &Path) -> Result<(u64, String), CloudError> {
    if !std::fs::metadata(path).map_err(failed("open", path))?.is_file() {
        return Err(failed("read", path)(io::Error::other("it is no regular file")));
    }
    let (hash, length) = content::publish::hash_file(path).map_err(failed("read", path))?;
    Ok((length, hash.to_string()))
}

/// Reads a file that has no business being larger than `max`.
pub(crate) fn read_bounded(path: &Path, max: u64) -> Result<Vec<u8>, CloudError> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed("open", path))?;
    file.take(max + 1)
        .read_to_end(&mut bytes)
        .map_err(failed("read", path))?;
    if bytes.len() as u64 > max {
        let error = io::Error::other(format!("it has more than the {max} bytes it may have"));
        return Err(failed("read", path)(error));
    }
    Ok(bytes)
}

/// Makes a new name in the folder that holds `path` durable.
pub(crate) fn sync_folder_of(path: &Path) -> io::Result<()> {
    let (folder, _) = beside(path)?;
    File::open(folder)?.sync_all()
}

fn beside(path: &Path) -> io::Result<(PathBuf, PathBuf)> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let mut temporary = std::ffi::OsString::from(TEMPORARY);
    temporary.push(name);
    let temporary = folder.join(temporary);
    Ok((folder, temporary))
}
