//! Deltas of a payload: other ways to the same objects, for whoever has an earlier payload.
//!
//! A delta index is a signed file of its own beside the payload index, which stays the same with and without deltas.
//! It lists packs and segments; a segment is one delta that turns some objects into others. Nothing depends on it: a
//! site that lacks an object that a segment needs, or finds that a segment does not give the signed hashes, fetches
//! blocks.

use std::fs::File;
use std::path::Path;

mod choose;
mod fetch;
mod index;
mod make;
#[cfg(test)]
mod tests;

pub use choose::{Chosen, Source, choose};
pub use fetch::{SegmentError, SegmentProgress, apply, fetch};
pub use index::{DeltaIndex, Segment};
pub use make::{DeltaOptions, MadeDeltas, make};

/// An empty file that is gone when it is closed. Whatever has its name is gone before.
pub(crate) fn unnamed(path: &Path) -> std::io::Result<File> {
    match std::fs::remove_file(path) {
        Err(failure) if failure.kind() != std::io::ErrorKind::NotFound => return Err(failure),
        _ => {}
    }
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)?;
    std::fs::remove_file(path)?;
    Ok(file)
}
