//! All cores, with a result that does not depend on how many there are.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Does numbered pieces of work on so many threads and returns what came of them, by number.
pub(crate) fn in_parallel<T: Send>(count: usize, threads: usize, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    in_parallel_with(count, threads, || (), |(), number| work(number))
}

/// The same, where each thread has something that it works with from its first piece to its last.
pub(crate) fn in_parallel_with<S, T: Send>(
    count: usize,
    threads: usize,
    with: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, usize) -> T + Sync,
) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let worker = || {
        let (mut with, mut done) = (with(), Vec::new());
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return done;
            }
            done.push((number, work(&mut with, number)));
        }
    };
    let mut all = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads.clamp(1, count.max(1)))
            .map(|_| scope.spawn(worker))
            .collect();
        let mut all = worker();
        for other in others {
            match other.join() {
                Ok(done) => all.extend(done),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all
    });
    all.sort_by_key(|(number, _)| *number);
    all.into_iter().map(|(_, value)| value).collect()
}
