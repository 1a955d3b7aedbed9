//! The service connection tool.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `tool prepare`
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PrepareRequest {
    /// Encrypt the report of usage data for the service.
    #[serde(default)]
    pub encrypted: bool,
}

/// `tool import`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImportRequest {
    /// Absolute path of the medium's folder, as the site sees it.
    pub folder: String,
}

/// `tool register`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegisterRequest {
    /// Absolute path of the file, as the site sees it.
    pub file: String,
}

/// An update that was registered.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RegisteredInfo {
    /// Package.
    pub guid: String,
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
}

/// An import.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ImportInfo {
    /// Number, counted up.
    pub id: u64,
    /// The medium's folder.
    pub folder: String,
    /// Whether it has come to its end.
    pub done: bool,
    /// `waiting`, `running`, `done` or `refused`.
    pub state: String,
    /// `none`, `done`, `incomplete`, `missing`, `damaged`, `older`, `expired`, `version`, `other-hierarchy` or `storage`.
    pub verdict: String,
    /// One sentence.
    pub detail: String,
    /// Something that did not work and changes nothing.
    pub note: Option<String>,
    /// When the bundle was made.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub made: Option<Timestamp>,
    /// What the service said of the report that was carried.
    pub receipt: Option<String>,
    /// Packages on the medium for this hierarchy.
    pub packages: Vec<ImportedPackageInfo>,
}

/// A package of a medium.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ImportedPackageInfo {
    /// Package.
    pub guid: String,
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// Files that are still missing.
    pub missing_files: u64,
}
