//! The Update Framework, both sides of it: a publisher that edits a repository of static files, and a client that
//! believes nothing it cannot trace to a pinned root. Everything between the two (web servers, buckets, mirrors,
//! sticks) is reached through one [`transport::Transport`] and is never trusted.
//!
//! This crate refuses to read the clock or the environment: `now` and randomness are arguments.

pub mod client;
mod durable;
pub mod fuzz;
pub mod publisher;
pub mod transport;

pub use client::{
    FeedClient, FeedError, FolderTrust, Limits, Reason, Refreshed, RoleStates, TargetInfo, TrustedRole,
};
pub use transport::{FolderTransport, Kind, Mirrors, Response, Transport, TransportError};
