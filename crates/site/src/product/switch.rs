//! `product/versions/<version>` and the `current` switch.
//!
//! Every operation is idempotent: run again after a crash it finds its own work done. The switch is a
//! symbolic link replaced by one `rename(2)`, so that a reader sees the old version or the new one and
//! never anything between.

use std::io;
use std::path::{Path, PathBuf};

use crate::directory::{remove_tree, sync_folder_of};

/// The product directory of a site.
#[derive(Debug, Clone)]
pub struct Product {
    root: PathBuf,
}

/// Why an operation on the product directory failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {act} {path}")]
pub struct ProductError {
    act: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl Product {
    /// Names the directory; touches nothing.
    pub fn new(root: PathBuf) -> Self {
        Product { root }
    }

    /// Where a version lies.
    pub fn version_directory(&self, version: &str) -> PathBuf {
        self.root.join("versions").join(version)
    }

    /// The version that `current` points to.
    pub fn current(&self) -> Result<Option<String>, ProductError> {
        let link = self.root.join("current");
        match std::fs::read_link(&link) {
            Ok(target) => Ok(target.file_name().map(|name| name.to_string_lossy().into_owned())),
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(ProductError {
                act: "read the switch",
                path: link,
                source,
            }),
        }
    }

    /// Every version that lies here.
    pub fn versions(&self) -> Result<Vec<String>, ProductError> {
        let folder = self.root.join("versions");
        let failed = |source| ProductError {
            act: "list",
            path: folder.clone(),
            source,
        };
        let mut versions = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            versions.push(entry.map_err(failed)?.file_name().to_string_lossy().into_owned());
        }
        versions.sort();
        Ok(versions)
    }

    /// Moves a staged tree into place. Both are on the site's file system, so this is one rename.
    pub fn place(&self, staged: &Path, version: &str) -> Result<(), ProductError> {
        let target = self.version_directory(version);
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| ProductError {
                act: "place the new version at",
                path,
                source,
            }
        };
        if !staged.exists() && target.is_dir() {
            return Ok(());
        }
        // A leftover of an installation that was undone while it was being removed.
        remove_tree(&target).map_err(failed(&target))?;
        std::fs::rename(staged, &target).map_err(failed(&target))?;
        sync_folder_of(&target).map_err(failed(&target))?;
        sync_folder_of(staged).map_err(failed(staged))
    }

    /// Points `current` to a version, or removes it when there was none.
    pub fn switch(&self, version: Option<&str>) -> Result<(), ProductError> {
        let link = self.root.join("current");
        let failed = |source| ProductError {
            act: "switch",
            path: link.clone(),
            source,
        };
        if self.current()?.as_deref() == version {
            return Ok(());
        }
        let Some(version) = version else {
            std::fs::remove_file(&link).map_err(failed)?;
            return sync_folder_of(&link).map_err(failed);
        };
        let fresh = self.root.join("current.new");
        match std::fs::remove_file(&fresh) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(failed(source)),
            _ => {}
        }
        std::os::unix::fs::symlink(Path::new("versions").join(version), &fresh).map_err(failed)?;
        std::fs::rename(&fresh, &link).map_err(failed)?;
        sync_folder_of(&link).map_err(failed)
    }

    /// Removes a version that is not current.
    pub fn remove(&self, version: &str) -> Result<(), ProductError> {
        let target = self.version_directory(version);
        let failed = |source| ProductError {
            act: "remove",
            path: target.clone(),
            source,
        };
        if self.current()?.as_deref() == Some(version) {
            return Err(failed(io::Error::other("it is the version in use")));
        }
        remove_tree(&target).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_switches_and_goes_back() {
        let folder = tempfile::tempdir().unwrap();
        let product = Product::new(folder.path().join("product"));
        std::fs::create_dir_all(folder.path().join("product/versions")).unwrap();
        for version in ["1", "2"] {
            let staged = folder.path().join("staged");
            std::fs::create_dir(&staged).unwrap();
            std::fs::write(staged.join("file"), version).unwrap();
            product.place(&staged, version).unwrap();
            product.place(&staged, version).unwrap();
            product.switch(Some(version)).unwrap();
            product.switch(Some(version)).unwrap();
            assert_eq!(
                std::fs::read_to_string(folder.path().join("product/current/file")).unwrap(),
                version
            );
        }
        assert!(product.remove("2").is_err());
        product.switch(Some("1")).unwrap();
        product.remove("2").unwrap();
        product.remove("2").unwrap();
        assert_eq!(product.current().unwrap().as_deref(), Some("1"));
        product.switch(None).unwrap();
        assert_eq!(product.current().unwrap(), None);
    }
}
