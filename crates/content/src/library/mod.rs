//! The content library: every object once, under its hash, with references per package.
//!
//! ```text
//! objects/ab/<sha256>     whole, verified, read-only; <sha256>.N.new is on its way there, written by writer N of this run:
//!                         not durable, maybe not whole
//! incoming/               empty; there while somebody writes objects, so that the next start knows that a crash left some
//! partial/<sha256>        a large object with holes; <sha256>.done lists the extents that are durable
//! deltas/<sha256>         a delta on its way; gone once it was applied, as <sha256>.archives is: what it unpacks
//! packages/<name>.want    a copy of the payload index: this package is being fetched and needs these objects
//! packages/<name>.ref     a copy of the payload index: this package needs these objects
//! quarantine/<sha256>     found damaged
//! ```
//!
//! An object appears in `objects/` by a rename after its bytes are durable and verified, so a crash at
//! any instant leaves it whole or absent. What a crash leaves on its way is garbage, which goes at the next start of the site.
//! It lies in the folder where it will be: a rename from one folder to another waits for all others of the file system, and
//! changes both.

mod delta;
mod direct;
mod incoming;
mod maintenance;
mod stored;
mod writer;
mod writing;

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::renameat;

use crate::index::{IndexError, PayloadIndex};
use crate::object::ObjectId;

pub(crate) use delta::DeltaError;
pub use maintenance::{GcReport, LibraryStats, VerifyReport};
pub(crate) use stored::copy_stored;
pub(crate) use writer::{BlockWriter, Scratch, WriteError};
use writing::{Writers, Writing};

/// Most threads that move objects into place: what they wait for is the file system's.
const MOVERS_MAX: usize = 4;
/// Fewer objects are not worth a thread.
const MOVED_MIN: usize = 64;

/// A disk operation that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {act} {path}{}", advice(.source))]
pub struct DiskError {
    /// What was tried.
    pub act: &'static str,
    /// On what.
    pub path: PathBuf,
    /// Cause.
    #[source]
    pub source: io::Error,
}

fn advice(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free some space, work goes on by itself"
        }
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => {
            "; make it writable for the user of this process"
        }
        _ => "",
    }
}

pub(crate) fn disk(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DiskError {
    let path = path.to_owned();
    move |source| DiskError { act, path, source }
}

/// Why the library could not do something.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// The disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A stored reference cannot be read.
    #[error("the reference of package {name} cannot be read; download the package again")]
    Reference {
        /// Package.
        name: String,
        /// Cause.
        #[source]
        source: IndexError,
    },
    /// A name that could leave the library.
    #[error("{name:?} cannot name a reference")]
    Name {
        /// The name.
        name: String,
    },
}

impl LibraryError {
    /// Whether this machine's disk is the cause: trying the feed again does not help.
    pub fn is_disk(&self) -> bool {
        matches!(self, LibraryError::Disk(_))
    }
}

/// A content library. Writers of one process take turns; readers never wait.
#[derive(Debug)]
pub struct Library {
    root: PathBuf,
    /// Bytes that stay free on a file system that is written to: a site whose database cannot grow
    /// cannot even tell what is wrong.
    reserve: u64,
    /// Held while objects or references change, so that garbage collection never meets a download.
    changing: Mutex<()>,
    /// Who writes objects at the moment.
    writers: Arc<Writers>,
}

impl Library {
    /// Opens or creates a library. Content is not written where fewer than `reserve` bytes would stay free.
    pub fn open(root: &Path, reserve: u64) -> Result<Self, LibraryError> {
        for folder in ["objects", "partial", "deltas", "packages", "quarantine"] {
            let path = root.join(folder);
            std::fs::create_dir_all(&path).map_err(disk("create", &path))?;
        }
        Ok(Library {
            root: root.to_owned(),
            reserve,
            changing: Mutex::new(()),
            writers: Arc::new(Writers::new(&root.join("incoming"))),
        })
    }

    /// Removes what a crash left on its way. Only for the process that alone writes here, before it does: whoever has the
    /// mark of another one before him would take away what that one writes.
    pub fn clear_after_crash(&self) -> Result<(), DiskError> {
        let incoming = self.root.join("incoming");
        if !incoming.exists() {
            return Ok(());
        }
        self.clear_new()?;
        // Not empty where it is from before there was `.new`.
        std::fs::remove_dir_all(&incoming).map_err(disk("remove", &incoming))
    }

    /// Refuses what would use up the reserve of the file system below `path`.
    pub(crate) fn room_for(&self, path: &Path, bytes: u64) -> Result<(), DiskError> {
        let found = rustix::fs::statvfs(path).map_err(|errno| disk("measure", path)(errno.into()))?;
        let free = found.f_bavail.saturating_mul(found.f_frsize);
        if free >= bytes.saturating_add(self.reserve) {
            return Ok(());
        }
        let problem = format!(
            "No space left: {free} bytes are free, {bytes} are needed and {} must stay free",
            self.reserve
        );
        Err(disk("write to", path)(io::Error::new(
            io::ErrorKind::StorageFull,
            problem,
        )))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where an object lies or would lie.
    pub fn object_path(&self, object: &ObjectId) -> PathBuf {
        let name = object.to_string();
        self.root.join("objects").join(&name[..2]).join(name)
    }

    /// Where a writer has an object before it is durable.
    fn new_path(&self, writing: &Writing, object: &ObjectId) -> PathBuf {
        self.object_path(object).with_extension(writing.extension())
    }

    /// Gives back the room of objects that a writer has not in place.
    fn remove_new(&self, writing: &Writing, objects: &[ObjectId]) {
        for object in objects {
            if let Err(failure) = remove_if_there(&self.new_path(writing, object)) {
                tracing::warn!("{failure}: {}", failure.source);
            }
        }
    }

    /// Whether an object is here, whole.
    pub fn has(&self, object: &ObjectId) -> bool {
        self.object_path(object).is_file()
    }

    /// Opens an object for reading.
    pub fn open_object(&self, object: &ObjectId) -> Result<File, DiskError> {
        let path = self.object_path(object);
        File::open(&path).map_err(disk("open", &path))
    }

    /// The objects of a payload that are not here.
    pub fn missing(&self, index: &PayloadIndex) -> Vec<ObjectId> {
        index
            .objects()
            .map(|(object, ..)| object)
            .filter(|object| !self.has(object))
            .collect()
    }

    /// Parts of a large object that are durable already, as (offset, length): another payload may cut the
    /// same object differently.
    pub(crate) fn parts_done(&self, object: &ObjectId) -> HashSet<(u64, u32)> {
        let partial = self.root.join("partial").join(object.to_string());
        let journal = partial.with_extension("done");
        if !partial.exists() {
            return HashSet::new();
        }
        let text = std::fs::read_to_string(journal).unwrap_or_default();
        let part = |line: &str| {
            // A line cut off by a crash has no line end and does not count.
            let (offset, length) = line.strip_suffix('\n')?.split_once(' ')?;
            Some((offset.parse().ok()?, length.parse().ok()?))
        };
        text.split_inclusive('\n').filter_map(part).collect()
    }

    /// Throws away a journal whose partial file is not there: what it would be continued with has other bytes.
    pub(crate) fn forget_lost_parts(&self, object: &ObjectId) {
        let partial = self.root.join("partial").join(object.to_string());
        if !partial.exists()
            && let Err(failure) = remove_if_there(&partial.with_extension("done"))
        {
            tracing::warn!("{failure}: {}", failure.source);
        }
    }

    /// Records durably that a package is being fetched: garbage collection leaves alone what it has got so far.
    pub fn want(&self, name: &str, index_file: &Path) -> Result<(), LibraryError> {
        let path = self.reference_path(name)?.with_extension("want");
        self.copy_index(index_file, &path)
    }

    /// Records durably that a package needs the objects of this index file, all of which are here.
    pub fn add_reference(&self, name: &str, index_file: &Path) -> Result<(), LibraryError> {
        let path = self.reference_path(name)?;
        self.copy_index(index_file, &path)?;
        Ok(remove_if_there(&path.with_extension("want"))?)
    }

    fn copy_index(&self, index_file: &Path, path: &Path) -> Result<(), LibraryError> {
        let _changing = self.lock();
        let temporary = path.with_extension("new");
        std::fs::copy(index_file, &temporary).map_err(disk("write", &temporary))?;
        File::open(&temporary)
            .and_then(|file| file.sync_all())
            .map_err(disk("write", &temporary))?;
        std::fs::rename(&temporary, path).map_err(disk("write", path))?;
        self.sync_folder("packages")
    }

    /// Forgets what a package needs; garbage collection removes what nobody else needs.
    pub fn remove_reference(&self, name: &str) -> Result<(), LibraryError> {
        let path = self.reference_path(name)?;
        let _changing = self.lock();
        remove_if_there(&path)?;
        remove_if_there(&path.with_extension("want"))?;
        self.sync_folder("packages")
    }

    /// Names of all references.
    pub fn references(&self) -> Result<Vec<String>, LibraryError> {
        let folder = self.root.join("packages");
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(disk("list", &folder))? {
            let name = entry.map_err(disk("list", &folder))?.file_name();
            if let Some(name) = name.to_str().and_then(|name| name.strip_suffix(".ref")) {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// The objects that packages need, those on their way included.
    fn needed(&self) -> Result<HashSet<ObjectId>, LibraryError> {
        let folder = self.root.join("packages");
        let mut needed = HashSet::new();
        for entry in std::fs::read_dir(&folder).map_err(disk("list", &folder))? {
            let path = entry.map_err(disk("list", &folder))?.path();
            let Some("ref" | "want") = path.extension().and_then(|extension| extension.to_str()) else {
                continue;
            };
            // An unreadable one stops the collection: better too much than too little.
            let index = PayloadIndex::read_file(&path).map_err(|source| LibraryError::Reference {
                name: path
                    .file_stem()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned(),
                source,
            })?;
            needed.extend(index.objects().map(|(object, ..)| object));
        }
        Ok(needed)
    }

    fn reference(&self, name: &str) -> Result<PayloadIndex, LibraryError> {
        PayloadIndex::read_file(&self.reference_path(name)?).map_err(|source| LibraryError::Reference {
            name: name.to_owned(),
            source,
        })
    }

    fn reference_path(&self, name: &str) -> Result<PathBuf, LibraryError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > 128 || !name.chars().all(plain) {
            return Err(LibraryError::Name {
                name: name.chars().take(128).collect(),
            });
        }
        Ok(self.root.join("packages").join(format!("{name}.ref")))
    }

    /// Moves protected objects of a writer, whose bytes are durable, to where everybody sees them.
    fn move_into_place(&self, writing: &Writing, objects: &mut [ObjectId]) -> Result<(), DiskError> {
        // One folder after the other, each thread its own.
        objects.sort_unstable();
        if objects.len() <= MOVED_MIN {
            return self.move_all(writing, objects);
        }
        let threads = std::thread::available_parallelism()
            .map_or(1, usize::from)
            .min(MOVERS_MAX);
        let share = objects.len().div_ceil(threads).max(MOVED_MIN);
        std::thread::scope(|scope| {
            let movers: Vec<_> = objects
                .chunks(share)
                .map(|objects| scope.spawn(|| self.move_all(writing, objects)))
                .collect();
            movers
                .into_iter()
                .try_for_each(|mover| mover.join().unwrap_or_else(|panic| resume_unwind(panic)))
        })
    }

    fn move_all(&self, writing: &Writing, objects: &[ObjectId]) -> Result<(), DiskError> {
        let path = self.root.join("objects");
        let folder = File::open(&path).map_err(disk("open", &path))?;
        for object in objects {
            let name = object.to_string();
            let place = format!("{}/{name}", &name[..2]);
            let new = format!("{place}.{}", writing.extension());
            renameat(&folder, new, &folder, &place)
                .map_err(|errno| disk("rename", &self.new_path(writing, object))(errno.into()))?;
        }
        Ok(())
    }

    /// Moves a large object, whose bytes are durable, to where everybody sees it.
    fn move_partial(&self, partial: &Path, object: &ObjectId) -> Result<(), DiskError> {
        let place = self.object_path(object);
        // The first object of its folder, or somebody has removed that.
        with_folder(&place, || std::fs::rename(partial, &place)).map_err(disk("rename", partial))
    }

    fn sync_file_system(&self) -> Result<(), DiskError> {
        let root = &self.root;
        let folder = File::open(root).map_err(disk("open", root))?;
        rustix::fs::syncfs(&folder).map_err(|errno| disk("make durable", root)(errno.into()))
    }

    fn sync_folder(&self, name: &str) -> Result<(), LibraryError> {
        let path = self.root.join(name);
        Ok(File::open(&path)
            .and_then(|folder| folder.sync_all())
            .map_err(disk("sync", &path))?)
    }
}

/// Makes a file, and the folder that it is to be in where that is missing.
fn with_folder<T>(path: &Path, mut make: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    match (make(), path.parent()) {
        (Err(failure), Some(folder)) if failure.kind() == io::ErrorKind::NotFound => {
            std::fs::create_dir_all(folder)?;
            make()
        }
        (made, _) => made,
    }
}

fn remove_if_there(path: &Path) -> Result<(), DiskError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(disk("remove", path)(source)),
        _ => Ok(()),
    }
}
