//! The catalogue of a feed: package records as JSON lines in compressed, signed shards.
//!
//! A record is one JSON object on one line. Unknown fields are ignored, so that an old site reads what
//! a new vendor writes; an unknown `format` is refused, because then the meaning has changed. Every text
//! and list has a bound.

mod record;
mod shard;
mod write;

pub use record::{CatalogueRecord, fuzz_record, parse_line, to_line};
pub use shard::{
    RECORDS_PER_SHARD_MAX, SHARD_BYTES_MAX, ShardReader, fuzz_shard, read_shard, shard_name, write_shard,
};

/// Why a catalogue could not be read.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// The compressed data is damaged or the file cannot be read.
    #[error("the compressed data cannot be read")]
    Unreadable(#[source] std::io::Error),
    /// A line or the whole shard is larger than any real one.
    #[error("{what} is larger than the {limit} bytes it may have")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Limit in bytes or records.
        limit: u64,
    },
    /// A line is no JSON object of the right shape.
    #[error("record {record} is no package record")]
    Json {
        /// Line number, from 1; 0 for a single record.
        record: u64,
        /// The parser's words, with the column.
        #[source]
        source: serde_json::Error,
    },
    /// Records come in order of their GUIDs, each once.
    #[error("record {record} of package {guid} comes twice or out of order")]
    Order {
        /// Line number, from 1.
        record: u64,
        /// The package.
        guid: String,
    },
    /// A field has a value that it cannot have.
    #[error("package {guid}: {field}: {problem}")]
    Field {
        /// The record's GUID as written.
        guid: String,
        /// Dotted name of the field.
        field: String,
        /// What is wrong.
        problem: String,
    },
    /// Written by a newer release.
    #[error(
        "package {guid} has record format {format}; this release reads format 1, a newer tidegate is needed"
    )]
    Format {
        /// The record's GUID as written.
        guid: String,
        /// Format number.
        format: u32,
    },
}
