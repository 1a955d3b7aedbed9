//! Who writes objects at the moment. Each has names of its own for what is on its way, so that nobody moves into place what
//! somebody else has begun; what has such a name while nobody writes is garbage.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How the name of every object ends that is on its way.
pub(super) const NEW: &str = ".new";

/// All writers of a library.
#[derive(Debug, Default)]
pub(super) struct Writers(Mutex<Counts>);

#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Writers that have begun since the library was opened.
    begun: u64,
    /// Those that have not ended.
    pub live: usize,
}

impl Writers {
    /// Nobody begins or ends while this is held.
    pub(super) fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another one.
    pub(super) fn begin(self: &Arc<Self>) -> Writing {
        let mut counts = self.lock();
        counts.begun += 1;
        counts.live += 1;
        Writing {
            number: counts.begun,
            writers: self.clone(),
        }
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
        self.writers.lock().live -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_writers_have_the_same_names_and_each_counts_until_it_ends() {
        let writers = Arc::new(Writers::default());
        let (first, second) = (writers.begin(), writers.begin());
        assert_ne!(first.extension(), second.extension());
        drop(first);
        let third = writers.begin();
        assert_ne!(third.extension(), second.extension());
        assert_eq!(writers.lock().live, 2);
        drop((second, third));
        assert_eq!(writers.lock().live, 0);
    }
}
