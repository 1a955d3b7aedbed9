//! Payloads as file trees: published as content-addressed objects in compressed packs, fetched by
//! range, kept once in a content library, extracted to a staging folder.
//!
//! Everything a site reads here is foreign until its hash is the signed one. The crate refuses trees
//! that could touch anything outside their own folder, and every size has a bound.

pub mod deltas;
pub mod download;
pub mod extract;
pub mod fuzz;
pub mod index;
mod library;
mod object;
pub mod publish;
#[cfg(test)]
mod served;
pub mod tree;

pub use library::{DiskError, GcReport, Library, LibraryError, LibraryStats, VerifyReport};
pub use object::{ObjectId, ObjectIdError};
