//! Backups of a site: what a machine that burned down has to be given back.
//!
//! A backup is a folder: one consistent copy of the database, the configuration, trust, secrets, what is installed, and a
//! manifest with the hash of every file, written last. It has its final name only when all of it is durable and was read
//! back. Content is not in it: it comes from the feed again, verified like the first time.

pub mod plan;
mod restore;

pub use restore::{RestoreError, Restored, restore};

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use domain::backup::surplus;
use domain::servicing::state::PackageState as S;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::context::SiteContext;
use crate::directory::{remove_tree, sync_folder_of};

/// The manifest of a backup.
pub const MANIFEST: &str = "backup.json";
const FORMAT: u32 = 1;
/// Largest manifest that is read.
const MANIFEST_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// What an unfinished backup's name begins with.
const UNFINISHED: &str = ".unfinished-";
/// Largest file at the top of the site's directory that is taken along: configuration and certificates.
const TOP_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Backups that are listed.
const LISTED_MAX: usize = 1_000;

/// Why a backup was not made or cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A file.
    #[error("cannot {act} {path}")]
    File {
        /// What was being done.
        act: &'static str,
        /// File.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// The database.
    #[error(transparent)]
    Store(#[from] store::StoreError),
    /// Neither file, folder nor link.
    #[error("{path} is neither a file, a folder nor a link, and cannot be backed up")]
    Odd {
        /// What it is.
        path: PathBuf,
    },
    /// Not a backup, or not of this release.
    #[error("{path} is no backup that this release can read: {why}")]
    Manifest {
        /// Manifest.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// What was written is not what is there.
    #[error("{path} is not what was backed up; use another backup")]
    Damaged {
        /// File.
        path: PathBuf,
    },
    /// Something is being installed.
    #[error("an installation began while the backup was made; it is made when the installation has ended")]
    Installing,
    /// Where backups cannot be.
    #[error("{folder} is in what is backed up; name a folder outside of it")]
    Inside {
        /// Folder.
        folder: PathBuf,
    },
    /// The site stops.
    #[error("the site stops; the backup is made when it runs again")]
    Stopped,
}

fn failed(act: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> BackupError {
    let path = path.to_owned();
    move |source| BackupError::File { act, path, source }
}

/// What a backup is of, and every file in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Manifest {
    format: u32,
    /// Site code.
    pub site: String,
    /// Name of the site.
    pub name: String,
    /// When.
    pub made: Timestamp,
    /// Release of the program.
    pub program: String,
    /// The product's version that is in it.
    pub product: Option<String>,
    files: Vec<Entry>,
}

/// A file, folder or link of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Entry {
    /// Relative to the backup, with `/`.
    path: String,
    mode: u32,
    #[serde(flatten)]
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Folder,
    File { bytes: u64, sha256: String },
    Link { to: String },
}

impl Manifest {
    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        let sizes = self.files.iter().map(|entry| match &entry.kind {
            Kind::File { bytes, .. } => *bytes,
            Kind::Folder | Kind::Link { .. } => 0,
        });
        sizes.sum()
    }
}

/// A backup in a folder of backups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// Its folder.
    pub path: PathBuf,
    /// When it was made.
    pub made: Timestamp,
}

/// Backups of this site in a folder, the oldest first. A name says when; what is in it is not looked at.
pub fn list(folder: &Path, site: &str) -> Result<Vec<Backup>, BackupError> {
    let entries = match std::fs::read_dir(folder) {
        Err(failure) if failure.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(failed("list", folder))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed("list", folder))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let made = name
            .strip_prefix(site)
            .and_then(|rest| rest.strip_prefix('-'))
            .and_then(|time| time.parse().ok());
        if let Some(made) = made {
            found.push(Backup {
                path: entry.path(),
                made,
            });
        }
    }
    found.sort_by_key(|backup| backup.made);
    let surplus = found.len().saturating_sub(LISTED_MAX);
    Ok(found.split_off(surplus))
}

/// Makes a backup in `folder`, reads it back, and removes the oldest ones beyond `keep`. Blocks. `go_on` is asked
/// between files.
pub fn make(
    context: &SiteContext,
    folder: &Path,
    keep: Option<u32>,
    now: Timestamp,
    go_on: &dyn Fn(&str) -> bool,
) -> Result<Manifest, BackupError> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(failed("create", folder))?;
    refuse_inside(context, folder)?;
    let site = context.identity.code.to_string();
    let name = format!("{site}-{}", now.strftime("%Y%m%dT%H%M%S%.3fZ"));
    let (unfinished, path) = (folder.join(format!("{UNFINISHED}{name}")), folder.join(&name));
    remove_unfinished(folder, &site)?;
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(&unfinished)
        .map_err(failed("create", &unfinished))?;
    let manifest = match fill(context, &unfinished, now, go_on) {
        Ok(manifest) => manifest,
        Err(failure) => {
            // A full disk must not stay full because of it.
            if let Err(left) = remove_tree(&unfinished) {
                tracing::warn!("{} stays behind: {left}", unfinished.display());
            }
            return Err(failure);
        }
    };
    std::fs::rename(&unfinished, &path).map_err(failed("name", &path))?;
    sync_folder_of(&path).map_err(failed("flush", folder))?;
    if let Some(keep) = keep {
        remove_surplus(folder, &site, &path, keep, now);
    }
    Ok(manifest)
}

/// Removes the oldest backups beside the new one. What cannot be removed makes the new one no worse.
fn remove_surplus(folder: &Path, site: &str, new: &Path, keep: u32, now: Timestamp) {
    let mut others = list(folder, site).unwrap_or_else(|failure| {
        tracing::warn!("{}", crate::context::whole_story(&failure));
        Vec::new()
    });
    others.retain(|other| other.path != new);
    // One of the future was made by a clock that ran ahead: nobody knows how old it is.
    others.sort_by_key(|other| (other.made <= now, other.made));
    for old in surplus(&others, keep) {
        tracing::info!("removing the backup {}", old.path.display());
        if let Err(failure) = remove_tree(&old.path) {
            tracing::warn!("the backup {} stays: {failure}", old.path.display());
        }
    }
}

fn refuse_inside(context: &SiteContext, folder: &Path) -> Result<(), BackupError> {
    let real = |path: &Path| path.canonicalize().map_err(failed("find", path));
    let place = real(folder)?;
    let directory = &context.directory;
    let taken = [
        directory.root().join("trust"),
        directory.secrets(),
        directory.product(),
    ];
    for taken in taken.iter().filter(|taken| taken.exists()) {
        if place.starts_with(real(taken)?) {
            return Err(BackupError::Inside {
                folder: folder.to_owned(),
            });
        }
    }
    Ok(())
}

/// Whether something is being installed, and which version is current.
fn installation(context: &SiteContext) -> Result<(bool, Option<String>), BackupError> {
    let busy = context
        .store
        .read_blocking::<_, store::StoreError>(|tx| tx.packages_in(&[S::InstallInProgress]))?;
    let current = context.product.current().map_err(|failure| BackupError::File {
        act: "read",
        path: context.directory.product(),
        source: std::io::Error::other(failure),
    })?;
    Ok((!busy.is_empty(), current))
}

fn remove_unfinished(folder: &Path, site: &str) -> Result<(), BackupError> {
    let begin = format!("{UNFINISHED}{site}-");
    for entry in std::fs::read_dir(folder).map_err(failed("list", folder))? {
        let entry = entry.map_err(failed("list", folder))?;
        if entry.file_name().to_string_lossy().starts_with(&begin) {
            remove_tree(&entry.path()).map_err(failed("remove", &entry.path()))?;
        }
    }
    Ok(())
}

fn fill(
    context: &SiteContext,
    into: &Path,
    now: Timestamp,
    go_on: &dyn Fn(&str) -> bool,
) -> Result<Manifest, BackupError> {
    let (busy, product) = installation(context)?;
    if busy {
        return Err(BackupError::Installing);
    }
    let mut copy = Copy {
        root: context.directory.root(),
        into,
        files: Vec::new(),
        go_on,
    };
    // The database first: what files say more than it is done once more after a restore, never the other way round.
    let database = into.join("site.db");
    context.store.copy_to(&database)?;
    let (bytes, sha256) = measure(&database)?;
    copy.files.push(Entry {
        path: "site.db".into(),
        mode: 0o600,
        kind: Kind::File { bytes, sha256 },
    });
    for entry in sorted(context.directory.root())? {
        // A link counts as what it leads to: on another machine that is not there.
        let Ok(metadata) = entry.metadata() else { continue };
        let is_database = entry
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("site.db"));
        if !metadata.is_file() || is_database {
            continue;
        }
        match metadata.len() <= TOP_BYTES_MAX {
            true => copy.take_listed(&entry, Links::Followed)?,
            false => tracing::warn!("{} is too large for a backup and left out", entry.display()),
        }
    }
    copy.tree(&context.directory.root().join("trust"), Links::Followed)?;
    copy.tree(&context.directory.secrets(), Links::Followed)?;
    for file in configured_files(context) {
        if file.exists() && !copy.has(&file) {
            copy.take(&file, Links::Followed)?;
        }
    }
    if let Some(version) = &product {
        copy.tree(&context.product.version_directory(version), Links::Kept)?;
    }
    if !copy.has(&context.directory.configuration()) {
        return Err(BackupError::Odd {
            path: context.directory.configuration(),
        });
    }
    // An installation that began meanwhile may have changed what was copied.
    if installation(context)? != (false, product.clone()) {
        return Err(BackupError::Installing);
    }
    let manifest = Manifest {
        format: FORMAT,
        site: context.identity.code.to_string(),
        name: context.identity.name.clone(),
        made: now,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        product,
        files: copy.files,
    };
    check(into, &manifest)?;
    let text = serde_json::to_vec(&manifest).map_err(|failure| BackupError::Manifest {
        path: into.join(MANIFEST),
        why: failure.to_string(),
    })?;
    // Every folder with its names, before the manifest says that they are there.
    File::open(into)
        .and_then(|folder| rustix::fs::syncfs(&folder).map_err(Into::into))
        .map_err(failed("flush", into))?;
    let path = into.join(MANIFEST);
    crate::directory::write_durably(&path, &text, 0o600).map_err(failed("write", &path))?;
    Ok(manifest)
}

/// Files of the site's directory that the configuration names, wherever they lie below it.
fn configured_files(context: &SiteContext) -> Vec<PathBuf> {
    let settings = &context.settings;
    let named = [
        settings.feed_ca.clone(),
        settings.internet_catalogue.clone(),
        settings.oidc.as_ref().and_then(|oidc| oidc.ca.clone()),
        settings.alerts.email.as_ref().and_then(|email| email.ca.clone()),
        settings
            .telemetry
            .as_ref()
            .and_then(|telemetry| telemetry.ca.clone()),
    ];
    let below = |path: &PathBuf| {
        let plain = path
            .components()
            .all(|part| part != std::path::Component::ParentDir);
        plain && path.starts_with(context.directory.root())
    };
    named.into_iter().flatten().filter(below).collect()
}

/// What becomes of symbolic links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Links {
    /// They are part of what is installed.
    Kept,
    /// What they lead to is what counts.
    Followed,
}

/// Copies files of a directory and writes down what they are.
struct Copy<'a> {
    root: &'a Path,
    into: &'a Path,
    files: Vec<Entry>,
    go_on: &'a dyn Fn(&str) -> bool,
}

impl Copy<'_> {
    /// A folder with all that is below it.
    fn tree(&mut self, from: &Path, links: Links) -> Result<(), BackupError> {
        if !from.exists() {
            return Ok(());
        }
        let mut waiting = vec![from.to_owned()];
        while let Some(next) = waiting.pop() {
            self.take_listed(&next, links)?;
            if next.symlink_metadata().is_ok_and(|found| found.is_dir()) {
                waiting.extend(sorted(&next)?.into_iter().rev());
            }
        }
        Ok(())
    }

    /// Whether this file was taken along.
    fn has(&self, file: &Path) -> bool {
        let relative = file.strip_prefix(self.root).unwrap_or(file);
        self.files.iter().any(|entry| Path::new(&entry.path) == relative)
    }

    /// Takes what a listing had; what is gone by now, a file that was being replaced, is no part of the site any more.
    fn take_listed(&mut self, from: &Path, links: Links) -> Result<(), BackupError> {
        match self.take(from, links) {
            Err(BackupError::File { source, .. })
                if source.kind() == std::io::ErrorKind::NotFound && from.symlink_metadata().is_err() =>
            {
                Ok(())
            }
            other => other,
        }
    }

    fn take(&mut self, from: &Path, links: Links) -> Result<(), BackupError> {
        let relative = from.strip_prefix(self.root).unwrap_or(from);
        let path = relative.to_str().ok_or_else(|| BackupError::Odd {
            path: from.to_owned(),
        })?;
        if !(self.go_on)(path) {
            return Err(BackupError::Stopped);
        }
        let to = self.into.join(relative);
        if let Some(above) = to.parent() {
            std::fs::create_dir_all(above).map_err(failed("create", above))?;
        }
        let mut metadata = from.symlink_metadata().map_err(failed("read", from))?;
        if metadata.is_symlink() && links == Links::Followed {
            metadata = from.metadata().map_err(failed("follow", from))?;
            if !metadata.is_file() {
                return Err(BackupError::Odd {
                    path: from.to_owned(),
                });
            }
        }
        let kind = if metadata.is_dir() {
            std::fs::create_dir_all(&to).map_err(failed("create", &to))?;
            Kind::Folder
        } else if metadata.is_symlink() {
            let target = std::fs::read_link(from).map_err(failed("read", from))?;
            std::os::unix::fs::symlink(&target, &to).map_err(failed("link", &to))?;
            let to = target.to_str().ok_or_else(|| BackupError::Odd {
                path: from.to_owned(),
            })?;
            Kind::Link { to: to.to_owned() }
        } else if metadata.is_file() {
            let (bytes, sha256) = copy_file(from, &to)?;
            Kind::File { bytes, sha256 }
        } else {
            return Err(BackupError::Odd {
                path: from.to_owned(),
            });
        };
        self.files.push(Entry {
            path: path.to_owned(),
            mode: metadata.mode() & 0o7777,
            kind,
        });
        Ok(())
    }
}

fn sorted(folder: &Path) -> Result<Vec<PathBuf>, BackupError> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed("list", folder))? {
        all.push(entry.map_err(failed("list", folder))?.path());
    }
    all.sort();
    Ok(all)
}

/// Copies a file durably; returns its length and hash. What is in a backup is its owner's only.
fn copy_file(from: &Path, to: &Path) -> Result<(u64, String), BackupError> {
    let mut source = File::open(from).map_err(failed("open", from))?;
    let mut target = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)
        .map_err(failed("create", to))?;
    let (mut hash, mut length) = (Sha256::new(), 0_u64);
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let read = source.read(&mut buffer).map_err(failed("read", from))?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
        target.write_all(&buffer[..read]).map_err(failed("write", to))?;
        length += read as u64;
    }
    target.sync_all().map_err(failed("flush", to))?;
    Ok((length, hex::encode(hash.finalize())))
}

fn measure(path: &Path) -> Result<(u64, String), BackupError> {
    let (hash, length) = content::publish::hash_file(path).map_err(failed("read", path))?;
    Ok((length, hash.to_string()))
}

/// Reads a manifest.
pub fn read_manifest(backup: &Path) -> Result<Manifest, BackupError> {
    let path = backup.join(MANIFEST);
    let wrong = |why: String| BackupError::Manifest {
        path: path.clone(),
        why,
    };
    let mut bytes = Vec::new();
    File::open(&path)
        .and_then(|file| file.take(MANIFEST_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(failed("read", &path))?;
    if bytes.len() as u64 > MANIFEST_BYTES_MAX {
        return Err(wrong("it is larger than any manifest".into()));
    }
    let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|failure| wrong(failure.to_string()))?;
    if manifest.format != FORMAT {
        return Err(wrong(format!("format {} is not known", manifest.format)));
    }
    let plain = |path: &str| {
        !path.is_empty()
            && path
                .split('/')
                .all(|part| !matches!(part, "" | "." | "..") && !part.contains('\0'))
    };
    if let Some(odd) = manifest.files.iter().find(|entry| !plain(&entry.path)) {
        return Err(wrong(format!("it names {:?}", odd.path)));
    }
    let version = |name: &String| plain(name) && !name.contains('/');
    if let Some(odd) = manifest.product.as_ref().filter(|name| !version(name)) {
        return Err(wrong(format!("it names the version {odd:?}")));
    }
    // Nothing is written through a link, and nothing twice.
    let mut kinds = std::collections::BTreeMap::new();
    for entry in &manifest.files {
        if kinds.insert(Path::new(&entry.path), &entry.kind).is_some() {
            return Err(wrong(format!("it names {:?} twice", entry.path)));
        }
    }
    let through = |entry: &&Entry| {
        let mut above = Path::new(&entry.path).ancestors().skip(1);
        above.any(|above| kinds.get(above).is_some_and(|kind| !matches!(kind, Kind::Folder)))
    };
    match manifest.files.iter().find(through) {
        Some(odd) => Err(wrong(format!("it names {:?} below what is no folder", odd.path))),
        None => Ok(manifest),
    }
}

/// Compares every file of a backup with its manifest.
pub fn check(backup: &Path, manifest: &Manifest) -> Result<(), BackupError> {
    for entry in &manifest.files {
        let path = backup.join(&entry.path);
        let damaged = || BackupError::Damaged { path: path.clone() };
        let metadata = path.symlink_metadata().map_err(|_| damaged())?;
        let same = match &entry.kind {
            Kind::Folder => metadata.is_dir(),
            Kind::Link { to } => std::fs::read_link(&path).is_ok_and(|found| found == Path::new(to)),
            Kind::File { bytes, sha256 } => {
                metadata.is_file() && metadata.len() == *bytes && measure(&path)? == (*bytes, sha256.clone())
            }
        };
        if !same {
            return Err(damaged());
        }
    }
    Ok(())
}

fn set_mode(path: &Path, mode: u32) -> Result<(), BackupError> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
        .map_err(failed("set the mode of", path))
}
