//! A hierarchy without internet: what a site prepares for the medium, what is fetched for it on a machine
//! with internet access, and what comes back (service-connection-tool).
//!
//! A medium is trusted as little as a network: metadata, content, receipts and cabinets carry their own
//! proof, and an import is the ordinary synchronisation over a copy of the feed that came by hand.

pub mod connect;
pub mod import;
pub mod medium;
pub mod prepare;
pub mod register;

use jiff::{SignedDuration, Timestamp};

use crate::context::SiteContext;

/// The time at which a feed's metadata is judged: now, or offline with the grace of media. A bundle that was
/// made in time may take its while to arrive (decision 0008); versions never go back all the same.
pub fn feed_time(context: &SiteContext, now: Timestamp) -> Timestamp {
    match context.internet.mode().may_connect() {
        true => now,
        false => SignedDuration::try_from(context.settings.offline_grace)
            .ok()
            .and_then(|grace| now.checked_sub(grace).ok())
            .unwrap_or(now),
    }
}
