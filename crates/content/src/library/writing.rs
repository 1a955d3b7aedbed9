//! Who writes objects at the moment. Each has names of its own for what is on its way, so that nobody moves into place what
//! somebody else has begun; what has such a name while nobody writes is garbage. A folder is there while somebody writes:
//! whoever finds it at start knows that a crash has left some.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{DiskError, disk};

/// How the name of every object ends that is on its way.
pub(super) const NEW: &str = ".new";

/// All writers of a library.
#[derive(Debug)]
pub(super) struct Writers {
    /// The folder that is there as long as there is one of them.
    mark: PathBuf,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Writers that have begun since the library was opened.
    begun: u64,
    /// Those that have not ended.
    pub live: usize,
}

impl Writers {
    /// None yet.
    pub(super) fn new(mark: &Path) -> Self {
        Writers {
            mark: mark.to_owned(),
            counts: Mutex::default(),
        }
    }

    /// Nobody begins or ends while this is held.
    pub(super) fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another one.
    pub(super) fn begin(self: &Arc<Self>) -> Result<Writing, DiskError> {
        let mut counts = self.lock();
        if counts.live == 0 {
            // No sync: file systems keep the order in which names were made.
            std::fs::create_dir_all(&self.mark).map_err(disk("create", &self.mark))?;
        }
        counts.begun += 1;
        counts.live += 1;
        Ok(Writing {
            number: counts.begun,
            writers: self.clone(),
        })
    }
}

/// Somebody who writes, until this is dropped.
#[derive(Debug)]
pub(super) struct Writing {
    number: u64,
    writers: Arc<Writers>,
}

impl Writing {
    /// What is appended to the name of an object on its way, behind a dot.
    pub(super) fn extension(&self) -> String {
        format!("{}{NEW}", self.number)
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        let Writers { mark, .. } = &*self.writers;
        let mut counts = self.writers.lock();
        counts.live -= 1;
        // One that stays costs the next start a look, which it is worth where a panic may have left something.
        if counts.live == 0
            && !std::thread::panicking()
            && let Err(failure) = std::fs::remove_dir(mark)
            && failure.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!("cannot remove {}: {failure}", mark.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_writers_have_the_same_names_and_each_counts_until_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("mark");
        let writers = Arc::new(Writers::new(&mark));
        assert!(!mark.exists());
        let (first, second) = (writers.begin().unwrap(), writers.begin().unwrap());
        assert_ne!(first.extension(), second.extension());
        drop(first);
        let third = writers.begin().unwrap();
        assert_ne!(third.extension(), second.extension());
        assert_eq!(writers.lock().live, 2);
        assert!(mark.exists());
        drop((second, third));
        assert_eq!(writers.lock().live, 0);
        assert!(!mark.exists());
        // Nobody writes where it cannot be said.
        std::fs::write(&mark, b"").unwrap();
        assert!(writers.begin().is_err());
        assert_eq!(writers.lock().live, 0);
    }
}
