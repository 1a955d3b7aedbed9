//! Memory for pieces of work that run at the same time, and may each take much.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Bytes that are given to few at a time.
pub(crate) struct Budget {
    bytes: u64,
    left: Mutex<u64>,
    freed: Condvar,
}

impl Budget {
    pub(crate) fn new(bytes: u64) -> Self {
        Budget {
            bytes,
            left: Mutex::new(bytes),
            freed: Condvar::new(),
        }
    }

    /// Waits for so many bytes, or for all of them; given back when what is returned is dropped.
    pub(crate) fn take(&self, bytes: u64) -> Taken<'_> {
        let bytes = bytes.min(self.bytes);
        let waiting = self.freed.wait_while(self.left(), |left| *left < bytes);
        *waiting.unwrap_or_else(PoisonError::into_inner) -= bytes;
        Taken { budget: self, bytes }
    }

    fn left(&self) -> MutexGuard<'_, u64> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) struct Taken<'a> {
    budget: &'a Budget,
    bytes: u64,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        *self.budget.left() += self.bytes;
        self.budget.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn no_more_is_given_than_there_is() {
        let budget = Budget::new(1000);
        let most = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (budget, most) = (&budget, &most);
                scope.spawn(move || {
                    for number in 0..200 {
                        let taken = budget.take(if number % 7 == 0 { u64::MAX } else { 300 + thread });
                        most.fetch_max(1000 - *budget.left(), Ordering::Relaxed);
                        drop(taken);
                    }
                });
            }
        });
        assert_eq!(most.into_inner(), 1000);
        assert_eq!(*budget.left(), 1000);
    }
}
