//! How to connect: roots, proxy, patience.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::connector::WallClock;
use crate::proxy::Proxy;

/// How an [`HttpsTransport`](crate::HttpsTransport) connects.
#[derive(Clone)]
pub struct HttpsOptions {
    /// Certificates in PEM form (one file may hold several) that are trusted beside those of the system.
    pub extra_roots_pem: Vec<Vec<u8>>,
    /// The proxy; none for a direct way. The environment of the process is for callers to read.
    pub proxy: Option<Arc<Proxy>>,
    /// Wall clock.
    pub clock: WallClock,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// How long the other side may be silent.
    pub idle_timeout: Duration,
    /// How long one metadata file may take from request to last byte.
    pub metadata_timeout: Duration,
    /// The least a target must bring within each [`HttpsOptions::pace_window`], in bytes: against servers that keep a
    /// client busy for ever with a trickle.
    pub pace_bytes_min: u64,
    /// The time over which the pace is measured.
    pub pace_window: Duration,
}

impl Default for HttpsOptions {
    /// Sized for the worst link that is worth waiting for: a satellite hop of two seconds, 1 KiB a second.
    fn default() -> Self {
        Self {
            extra_roots_pem: Vec::new(),
            proxy: None,
            clock: Arc::new(wall_clock),
            connect_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            metadata_timeout: Duration::from_secs(300),
            pace_bytes_min: 60 * 1024,
            pace_window: Duration::from_secs(60),
        }
    }
}

/// The machine's own clock, unless a caller brings another.
#[expect(
    clippy::disallowed_methods,
    reason = "the edge to the network; NTLM wants the time of day"
)]
fn wall_clock() -> Timestamp {
    Timestamp::now()
}
