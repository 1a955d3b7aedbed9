//! Usage data: three levels, the dictionary of everything that may ever be collected, and reports that
//! are built from it (usage-data, sections 1, 9 and 11).

mod dictionary;
mod level;
mod report;

pub use dictionary::{Category, Kind, METRICS, Metric, Protection, metric};
pub use level::Level;
pub use report::{Collected, Rejected, Value, bucket, build};
