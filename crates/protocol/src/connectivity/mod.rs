//! Internet access: the catalogue of endpoints as it is written down, and the report of a run of checks.

mod catalogue;
mod report;

pub use catalogue::{
    BYTES_MAX as CATALOGUE_BYTES_MAX, CATALOGUE_TARGET, Catalogue, CatalogueError, Feature, parse_address,
};
pub use report::{
    CatalogueStamp, CheckReport, DirectReport, FaultReport, NotTestableReport, PhaseReport, SCHEMA,
    TargetReport, TlsReport,
};
