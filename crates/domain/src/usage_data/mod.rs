//! Usage data: three levels, the dictionary of everything that may ever be collected, reports that are built
//! from it, and when and whether they leave (usage-data, sections 1, 2, 9 and 11).

pub mod collection;
mod dictionary;
pub mod inventory;
mod level;
mod report;
pub mod sending;
pub mod words;

pub use dictionary::{Category, Kind, METRICS, Metric, NEVER, Protection, metric};
pub use level::Level;
pub use report::{Collected, RARE, RARE_BELOW, Rejected, Value, WORDS_MAX, aggregate, bucket, build};
