//! Giving a site back from a backup.
//!
//! Everything is read and checked before anything changes. What was there before is set aside, not removed; a crash in
//! between is ended by running the same command again.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use domain::servicing::state::PackageState as S;
use domain::servicing::transition::PackageEvent as E;
use jiff::Timestamp;
use store::{Store, StoreError};

use super::{BackupError, Kind, Manifest, check, copy_file, failed, read_manifest, set_mode};
use crate::directory::{SiteDirectory, sync_folder_of};
use crate::product::switch::Product;

/// Packages that are looked at.
const PACKAGES_MAX: u32 = 100_000;

/// Why a site was not given back.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The backup, or a file.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The directory runs.
    #[error("the site in {dir} runs; stop it first")]
    Running {
        /// Directory.
        dir: PathBuf,
    },
    /// The directory is another site's.
    #[error(
        "{dir} holds site {found}, and the backup is of site {wanted}; restore it into another directory"
    )]
    Another {
        /// Directory.
        dir: PathBuf,
        /// Site there.
        found: String,
        /// Site of the backup.
        wanted: String,
    },
    /// The database of the backup.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// What the backup is of.
    pub manifest: Manifest,
    /// Where what was there before is now.
    pub set_aside: Option<PathBuf>,
    /// Packages whose content is fetched again before they can be installed.
    pub fetched_again: u32,
}

/// Gives a site back into `dir`, which is empty, or holds the same site and does not run. Blocks.
pub fn restore(dir: &Path, backup: &Path, now: Timestamp) -> Result<Restored, RestoreError> {
    let manifest = read_manifest(backup)?;
    check(backup, &manifest)?;
    std::fs::create_dir_all(dir).map_err(failed("create", dir))?;
    let directory = SiteDirectory::new(dir);
    let running = || RestoreError::Running { dir: dir.to_owned() };
    let _lock = match directory.run().is_dir() {
        true => Some(crate::run::lock(&directory).map_err(|_| running())?),
        false => None,
    };
    refuse_another(&directory, &manifest)?;

    let incoming = dir.join(".restoring");
    crate::directory::remove_tree(&incoming).map_err(failed("empty", &incoming))?;
    copy_all(backup, &incoming, &manifest)?;
    let fetched_again = prepare_database(&incoming.join("site.db"), now)?;
    let log = incoming.join("site.db-wal");
    if log.exists() {
        // What was changed is still beside the database: placed without it, it would be lost.
        return Err(BackupError::Damaged { path: log }.into());
    }
    std::fs::File::open(&incoming)
        .and_then(|folder| rustix::fs::syncfs(&folder).map_err(Into::into))
        .map_err(failed("flush", &incoming))?;
    let set_aside = put_in_place(&directory, &incoming, &manifest, now)?;
    Ok(Restored {
        manifest,
        set_aside,
        fetched_again,
    })
}

fn refuse_another(directory: &SiteDirectory, manifest: &Manifest) -> Result<(), RestoreError> {
    if !directory.database().exists() {
        return Ok(());
    }
    // A database that cannot be read is a reason to restore, not to refuse.
    let found = Store::open(&directory.database())
        .and_then(|store| store.read_blocking::<_, StoreError>(|tx| tx.site()));
    match found {
        Ok(Some(site)) if site.code.to_string() != manifest.site => Err(RestoreError::Another {
            dir: directory.root().to_owned(),
            found: site.code.to_string(),
            wanted: manifest.site.clone(),
        }),
        _ => Ok(()),
    }
}

fn copy_all(backup: &Path, to: &Path, manifest: &Manifest) -> Result<(), BackupError> {
    std::fs::create_dir_all(to).map_err(failed("create", to))?;
    for entry in &manifest.files {
        let (from, path) = (backup.join(&entry.path), to.join(&entry.path));
        if let Some(above) = path.parent() {
            std::fs::create_dir_all(above).map_err(failed("create", above))?;
        }
        match &entry.kind {
            Kind::Folder => std::fs::create_dir_all(&path).map_err(failed("create", &path))?,
            Kind::Link { to } => std::os::unix::fs::symlink(to, &path).map_err(failed("link", &path))?,
            Kind::File { bytes, sha256 } => {
                // Read once more: between the check and now somebody may have pulled the medium.
                if copy_file(&from, &path)? != (*bytes, sha256.clone()) {
                    return Err(BackupError::Damaged { path: from });
                }
                set_mode(&path, entry.mode)?;
            }
        }
    }
    // Folders last, and from below: one may be read-only.
    for entry in manifest.files.iter().rev() {
        if entry.kind == Kind::Folder {
            set_mode(&to.join(&entry.path), entry.mode)?;
        }
    }
    Ok(())
}

/// Content is not part of a backup: what was ready to install is offered for download again.
fn prepare_database(path: &Path, now: Timestamp) -> Result<u32, StoreError> {
    const WHY: &str = "the site was restored from a backup, which holds no content";
    let store = Store::open(path)?;
    store.write_blocking(|tx| {
        let mut again = 0;
        for row in tx.packages(true, PACKAGES_MAX)? {
            let ready = row.state == S::DownloadSuccess || row.state.next(E::Reset) == Ok(S::DownloadSuccess);
            if !ready {
                continue;
            }
            let events: &[E] = match row.state {
                S::DownloadSuccess => &[E::ContentLost],
                _ => &[E::Reset, E::ContentLost],
            };
            tx.apply_all(&row, events, WHY, now)?;
            tx.clear_sub_stages(row.guid, true)?;
            tx.record_prereqs(row.guid, &[])?;
            again += 1;
        }
        tx.request_sync()?;
        tx.record_evaluated(-1)?;
        Ok::<_, StoreError>(again)
    })
}

/// Each item of the backup takes the place of what is there, which is set aside.
fn put_in_place(
    directory: &SiteDirectory,
    incoming: &Path,
    manifest: &Manifest,
    now: Timestamp,
) -> Result<Option<PathBuf>, BackupError> {
    let root = directory.root();
    let aside = root.join(format!("replaced-{}", now.strftime("%Y%m%dT%H%M%SZ")));
    let mut moved = false;
    let mut items: Vec<PathBuf> = vec!["trust".into(), "secrets".into()];
    if let Some(version) = &manifest.product {
        items.push(Path::new("product/versions").join(version));
    }
    let top = manifest.files.iter().filter(|entry| {
        matches!(entry.kind, Kind::File { .. }) && Path::new(&entry.path).components().count() == 1
    });
    items.extend(top.map(|entry| PathBuf::from(&entry.path)));
    // The database last: as long as it is the old one, or none, the restore is not done.
    items.sort_by_key(|path| path == Path::new("site.db"));
    for item in &items {
        if item == Path::new("site.db") {
            switch(directory, manifest)?;
        }
        let (from, to) = (incoming.join(item), root.join(item));
        if !from.exists() {
            continue;
        }
        let mut here = vec![item.clone()];
        if item == Path::new("site.db") {
            here.extend(["site.db-wal".into(), "site.db-shm".into()]);
        }
        for old in here {
            let old_path = root.join(&old);
            if old_path.symlink_metadata().is_err() {
                continue;
            }
            let kept = aside.join(&old);
            if let Some(above) = kept.parent() {
                std::fs::create_dir_all(above).map_err(failed("create", above))?;
            }
            std::fs::rename(&old_path, &kept).map_err(failed("set aside", &old_path))?;
            moved = true;
        }
        if let Some(above) = to.parent() {
            std::fs::create_dir_all(above).map_err(failed("create", above))?;
        }
        std::fs::rename(&from, &to).map_err(failed("place", &to))?;
        sync_folder_of(&to).map_err(failed("flush", &to))?;
    }
    crate::directory::remove_tree(incoming).map_err(failed("remove", incoming))?;
    if moved {
        set_mode(&aside, 0o700)?;
    }
    items.push("product".into());
    for item in &items {
        give_to_owner(root, &root.join(item))?;
    }
    Ok(moved.then_some(aside))
}

fn switch(directory: &SiteDirectory, manifest: &Manifest) -> Result<(), BackupError> {
    Product::new(directory.product())
        .switch(manifest.product.as_deref())
        .map_err(|failure| BackupError::File {
            act: "switch",
            path: directory.product(),
            source: std::io::Error::other(failure),
        })
}

/// What root restores belongs to whom the directory belongs to: the site does not run as root.
fn give_to_owner(root: &Path, item: &Path) -> Result<(), BackupError> {
    if !rustix::process::geteuid().is_root() || item.symlink_metadata().is_err() {
        return Ok(());
    }
    let owner = root.metadata().map_err(failed("read", root))?;
    let mut waiting = vec![item.to_owned()];
    while let Some(next) = waiting.pop() {
        std::os::unix::fs::lchown(&next, Some(owner.uid()), Some(owner.gid()))
            .map_err(failed("give away", &next))?;
        if next.symlink_metadata().is_ok_and(|found| found.is_dir()) {
            waiting.extend(super::sorted(&next)?);
        }
    }
    Ok(())
}
