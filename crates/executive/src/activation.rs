//! What a component is and what it gets for one activation.

use std::sync::Mutex;
use std::time::Duration;

use domain::component::ComponentName;
use domain::schedule::{Backoff, later, next_regular};
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use rand_chacha::ChaCha8Rng;
use rand_core::RngCore;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;

/// A unit of work that can be activated at any time, any number of times. It takes no input: whatever
/// woke it, it looks at the state and does what is due.
pub trait Component: Send + Sync {
    /// Its name; one component of a name per executive.
    fn name(&self) -> ComponentName;

    /// Does what is due now. Returns soon after `cx.cancelled()`, leaving nothing half done.
    fn activate<'a>(&'a self, cx: Activation<'a>) -> BoxFuture<'a, Result<Report, ComponentError>>;
}

/// The end of an activation.
#[derive(Debug, Clone)]
pub struct Report {
    /// What was done, in a few words.
    pub summary: String,
    /// When to be activated again, unless woken before.
    pub next: Next,
    /// What it waits for, if it waits.
    pub waiting: Option<Waiting>,
}

/// When to be activated again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// At this instant.
    At(Timestamp),
    /// After this time.
    After(Duration),
    /// Only when somebody wakes it.
    WhenWoken,
}

/// "Waiting for X since T, next try at N, do Y."
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// What it waits for.
    pub what: String,
    /// Since when.
    pub since: Timestamp,
    /// Next try.
    pub next_try: Option<Timestamp>,
    /// What a person can do.
    pub action: String,
}

/// Why an activation failed. The executive tries again with back-off. Every error converts into it.
#[derive(Debug)]
pub struct ComponentError {
    what: Option<String>,
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl ComponentError {
    /// A failure without a cause below it.
    pub fn new(what: impl Into<String>) -> Self {
        ComponentError {
            what: Some(what.into()),
            cause: None,
        }
    }

    /// A failure with its cause.
    pub fn with_source(
        what: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        ComponentError {
            what: Some(what.into()),
            cause: Some(source.into()),
        }
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for ComponentError {
    fn from(cause: E) -> Self {
        ComponentError {
            what: None,
            cause: Some(Box::new(cause)),
        }
    }
}

impl std::fmt::Display for ComponentError {
    /// The failure with everything that caused it, in one line.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut parts: Vec<String> = self.what.iter().cloned().collect();
        let mut cause = self
            .cause
            .as_deref()
            .map(|cause| cause as &(dyn std::error::Error + 'static));
        while let Some(deeper) = cause {
            parts.push(deeper.to_string());
            cause = deeper.source();
        }
        f.write_str(&parts.join(": "))
    }
}

/// One activation: time, chance, cancellation and a place to tell progress.
pub struct Activation<'a> {
    pub(crate) clock: &'a Clock,
    pub(crate) random: ChaCha8Rng,
    pub(crate) backoff: Backoff,
    pub(crate) cancelled: CancellationToken,
    pub(crate) activity: &'a Mutex<String>,
}

impl Activation<'_> {
    /// The current time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The clock itself, for work on other threads.
    pub fn clock(&self) -> &Clock {
        self.clock
    }

    /// Waits, unless cancelled.
    pub async fn pause(&self, wait: Duration) {
        let until = later(self.now(), wait);
        tokio::select! {
            () = self.clock.sleep_until(until) => {}
            () = self.cancelled.cancelled() => {}
        }
    }

    /// Sixty-four random bits.
    pub fn random(&mut self) -> u64 {
        self.random.next_u64()
    }

    /// Set when the component is to stop.
    pub fn cancelled(&self) -> &CancellationToken {
        &self.cancelled
    }

    /// Says what is being done, for whoever looks.
    pub fn progress(&self, text: impl Into<String>) {
        *self
            .activity
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = text.into();
    }

    /// The next regular activation, up to a tenth of the interval early.
    pub fn jittered_next(&mut self, interval: Duration) -> Timestamp {
        next_regular(self.now(), interval, self.random.next_u64())
    }

    /// The next try after so many failures in a row.
    pub fn backoff_next(&mut self, failures: u32) -> Timestamp {
        later(self.now(), self.backoff.wait(failures, self.random.next_u64()))
    }
}
