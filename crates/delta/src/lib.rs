//! Deltas: what turns some files into others, in as few bytes as we know how.
//!
//! A delta is made over several old and several new files at once, so that renamed, split and similar files help each
//! other. Archives (`containers`) are looked into where their compression can be reproduced byte by byte (`archive`,
//! `tokens`, `lzma2`), copies out of the old bytes are found with an index of a sample of them (`index`, `matching`) and
//! kept where they are worth it (`worth`), addresses in programs (`program`, `instructions`) are predicted from where the
//! copies say that bytes went (`moves`, `addresses`, `predict`), what is left is sorted by what it is (`literals`), and a
//! compressor ends it (`entropy`). Applying goes the same steps (`steps`), in parts that any thread makes (`parts`).
//!
//! Files in, bytes out; whoever makes or applies a delta gives a file for what lies unpacked meanwhile (little of it is held
//! in memory instead), and whoever applies one checks the hash of what comes out.

mod addresses;
mod apply;
mod archive;
mod budget;
mod containers;
mod entropy;
pub mod fuzz;
mod index;
mod instructions;
mod layout;
mod literals;
mod lzma2;
mod make;
mod matching;
mod moves;
mod parallel;
mod parts;
mod predict;
mod program;
mod source;
mod steps;
#[cfg(test)]
mod tests;
mod tokens;
mod varint;
mod worth;

pub use apply::{ApplyError, Delta, Write};
pub use containers::is_archive;
pub use make::make;
pub use source::Input;

/// Most old or new files of one delta.
pub const FILES_MAX: usize = 65_536;
/// Most bytes of all old, or all new, files of one delta, archives unpacked.
pub const BYTES_MAX: u64 = 512 * 1024 * 1024;

/// Bytes that are no delta.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the delta is damaged: {0}")]
pub struct Malformed(pub &'static str);
