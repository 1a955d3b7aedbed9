//! Scrubbing, garbage collection and figures.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::writing::NEW;
use super::{DiskError, Library, LibraryError, disk, remove_if_there};
use crate::object::ObjectId;
use crate::publish::hash_file;

/// The result of a scrub.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Objects read.
    pub checked: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Objects that were damaged; they are in `quarantine/` now and count as missing.
    pub damaged: Vec<ObjectId>,
}

/// The result of a garbage collection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GcReport {
    /// Objects removed.
    pub removed: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Figures of a library.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LibraryStats {
    /// Objects stored.
    pub objects: u64,
    /// Their bytes.
    pub stored_bytes: u64,
    /// Bytes of all files of all packages.
    pub logical_bytes: u64,
    /// Packages with a reference.
    pub references: u64,
    /// Bytes saved because each content is stored once.
    pub shared_bytes: u64,
    /// Stored bytes that no package needs.
    pub unreferenced_bytes: u64,
    /// Large objects on their way.
    pub partial_objects: u64,
}

impl Library {
    /// Reads every object and compares it with its name. `progress` is told the bytes read so far.
    pub fn verify(&self, progress: &mut dyn FnMut(u64)) -> Result<VerifyReport, LibraryError> {
        let mut report = VerifyReport::default();
        for object in self.objects()? {
            let path = self.object_path(&object);
            let found = match hash_file(&path) {
                Ok((found, length)) => {
                    report.bytes += length;
                    Some(found)
                }
                Err(failure) if failure.kind() == io::ErrorKind::NotFound => continue,
                // An unreadable sector is damage like any other.
                Err(_) => None,
            };
            if found != Some(object) {
                let quarantine = self.root.join("quarantine").join(object.to_string());
                std::fs::rename(&path, &quarantine).map_err(disk("quarantine", &path))?;
                report.damaged.push(object);
            }
            report.checked += 1;
            progress(report.bytes);
        }
        Ok(report)
    }

    /// Removes objects that no reference needs, and what never got into its place.
    pub fn gc(&self) -> Result<GcReport, LibraryError> {
        let _changing = self.lock();
        let needed = self.needed()?;
        let mut report = GcReport::default();
        for object in self.objects()? {
            if needed.contains(&object) {
                continue;
            }
            let path = self.object_path(&object);
            let size = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
            std::fs::remove_file(&path).map_err(disk("remove", &path))?;
            report.removed += 1;
            report.bytes += size;
        }
        self.clear_new()?;
        for folder in ["partial", "quarantine"] {
            let folder = self.root.join(folder);
            for entry in std::fs::read_dir(&folder).map_err(disk("list", &folder))? {
                let path = entry.map_err(disk("list", &folder))?.path();
                let object = path
                    .file_stem()
                    .and_then(|stem| stem.to_str())
                    .and_then(|stem| stem.parse().ok());
                if !object.is_some_and(|object: ObjectId| needed.contains(&object)) {
                    std::fs::remove_file(&path).map_err(disk("remove", &path))?;
                }
            }
        }
        Ok(report)
    }

    /// Removes what never got into its place, unless somebody writes.
    pub(super) fn clear_new(&self) -> Result<(), DiskError> {
        let writers = self.writers.lock();
        if writers.live > 0 {
            return Ok(());
        }
        self.each_file(|name, path| match name.ends_with(NEW) {
            true => remove_if_there(path),
            false => Ok(()),
        })
    }

    /// Counts what is stored and shared.
    pub fn stats(&self) -> Result<LibraryStats, LibraryError> {
        let mut stats = LibraryStats::default();
        let users = self.needed()?;
        for name in self.references()? {
            let index = self.reference(&name)?;
            stats.references += 1;
            stats.logical_bytes += index.bytes;
        }
        for object in self.objects()? {
            let size = std::fs::metadata(self.object_path(&object)).map_or(0, |metadata| metadata.len());
            stats.objects += 1;
            stats.stored_bytes += size;
            if !users.contains(&object) {
                stats.unreferenced_bytes += size;
            }
        }
        let needed = stats.stored_bytes - stats.unreferenced_bytes;
        stats.shared_bytes = stats.logical_bytes.saturating_sub(needed);
        let partial = self.root.join("partial");
        for entry in std::fs::read_dir(&partial).map_err(disk("list", &partial))? {
            let path = entry.map_err(disk("list", &partial))?.path();
            stats.partial_objects += u64::from(path.extension().is_none());
        }
        Ok(stats)
    }

    /// Packages that lack objects, with how many.
    pub fn incomplete(&self) -> Result<BTreeMap<String, u64>, LibraryError> {
        let mut incomplete = BTreeMap::new();
        for name in self.references()? {
            let missing = self.missing(&self.reference(&name)?).len() as u64;
            if missing > 0 {
                incomplete.insert(name, missing);
            }
        }
        Ok(incomplete)
    }

    /// Every object that is here, whole.
    pub fn objects(&self) -> Result<Vec<ObjectId>, LibraryError> {
        let mut objects = Vec::new();
        self.each_file(|name, _| {
            objects.extend(name.parse::<ObjectId>().ok());
            Ok(())
        })?;
        objects.sort();
        Ok(objects)
    }

    /// Calls for the name and path of every file among the objects.
    fn each_file(
        &self,
        mut found: impl FnMut(&str, &Path) -> Result<(), DiskError>,
    ) -> Result<(), DiskError> {
        let top = self.root.join("objects");
        for folder in std::fs::read_dir(&top).map_err(disk("list", &top))? {
            let folder = folder.map_err(disk("list", &top))?.path();
            for entry in std::fs::read_dir(&folder).map_err(disk("list", &folder))? {
                let entry = entry.map_err(disk("list", &folder))?;
                if let Some(name) = entry.file_name().to_str() {
                    found(name, &entry.path())?;
                }
            }
        }
        Ok(())
    }
}
