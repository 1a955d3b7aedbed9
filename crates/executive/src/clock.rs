//! The clock of the executive: the system's, or one that a test moves.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;

/// Longest single sleep. Waking up again at least this often notices a clock that was set.
const NAP_MAX: Duration = Duration::from_secs(60 * 60);

/// Longest wait; sums with it stay far from the end of time.
const WAIT_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// Where `now` comes from.
#[derive(Debug, Clone)]
pub enum Clock {
    /// The system's clock.
    System,
    /// A clock that stands still until a test moves it.
    Fake(FakeClock),
}

/// A clock for tests; clones share it.
#[derive(Debug, Clone)]
pub struct FakeClock {
    now: Arc<watch::Sender<Timestamp>>,
}

impl FakeClock {
    /// A clock that shows `now`.
    pub fn new(now: Timestamp) -> Self {
        FakeClock {
            now: Arc::new(watch::Sender::new(now)),
        }
    }

    /// Sets the clock, forwards or backwards, and wakes whoever waits for the new time.
    pub fn set(&self, now: Timestamp) {
        self.now.send_replace(now);
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.now
            .send_modify(|now| *now = domain::schedule::later(*now, by));
    }
}

impl Clock {
    /// The current time.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the system clock"
    )]
    pub fn now(&self) -> Timestamp {
        match self {
            Clock::System => Timestamp::now(),
            Clock::Fake(fake) => *fake.now.borrow(),
        }
    }

    /// Waits until the clock shows `at` or later.
    pub async fn sleep_until(&self, at: Timestamp) {
        match self {
            Clock::System => {
                let left = || Duration::try_from(at.duration_since(self.now())).unwrap_or(Duration::ZERO);
                // A clock that is set back must not prolong the wait: what was left at the beginning is
                // also counted on a clock that nobody sets.
                let end = tokio::time::Instant::now() + left().min(WAIT_MAX);
                loop {
                    let wait = left().min(end.saturating_duration_since(tokio::time::Instant::now()));
                    if wait.is_zero() {
                        return;
                    }
                    tokio::time::sleep(wait.min(NAP_MAX)).await;
                }
            }
            Clock::Fake(fake) => {
                let mut now = fake.now.subscribe();
                // The sender lives as long as `fake` does, so waiting cannot fail.
                let _ = now.wait_for(|now| *now >= at).await;
            }
        }
    }
}
