//! An import as it is asked for and told of: kept in the database, so that a restart goes on with it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use store::{StoreError, Tx};

/// The setting that holds it.
const IMPORT: &str = "tool.import";

/// How far an import is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImportState {
    /// Asked for.
    Waiting,
    /// Under way.
    Running,
    /// Everything on the medium for this hierarchy was looked at.
    Done,
    /// Nothing of the medium was taken.
    Refused,
}

impl ImportState {
    /// Whether nothing more happens.
    pub fn is_done(self) -> bool {
        match self {
            ImportState::Waiting | ImportState::Running => false,
            ImportState::Done | ImportState::Refused => true,
        }
    }
}

/// What came of an import, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Nothing yet.
    None,
    /// Everything is here.
    Done,
    /// Some content was not on the medium, or not readable.
    Incomplete,
    /// A part of the medium is not there.
    Missing,
    /// A part of the medium is not what was signed, or not what a tool of ours writes.
    Damaged,
    /// The medium is older than what the site knows.
    Older,
    /// The medium is too old to be believed.
    Expired,
    /// Another release made it.
    Version,
    /// It holds nothing for this hierarchy.
    OtherHierarchy,
    /// The site's own disk.
    Storage,
}

/// An import.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportStatus {
    /// Number, counted up.
    pub id: u64,
    /// The medium's folder.
    pub folder: String,
    /// How far it is.
    pub state: ImportState,
    /// What came of it.
    pub verdict: Verdict,
    /// One sentence.
    pub detail: String,
    /// Something that did not work and changes nothing.
    pub note: Option<String>,
    /// When the bundle was made.
    pub made: Option<Timestamp>,
    /// What the service said of the report that was carried.
    pub receipt: Option<String>,
    /// Packages on the medium for this hierarchy.
    pub packages: Vec<ImportedPackage>,
}

/// A package of a medium.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportedPackage {
    /// Package.
    pub guid: String,
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// Files that are still missing.
    pub missing_files: u64,
    /// A delta on the medium did not give what it should: blocks are asked for.
    #[serde(default)]
    pub without_deltas: bool,
}

/// The last import.
pub fn load(tx: &Tx<'_>) -> Result<Option<ImportStatus>, StoreError> {
    let text = tx.setting(IMPORT)?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}

/// Stores it.
pub fn save(tx: &Tx<'_>, status: &ImportStatus) -> Result<(), StoreError> {
    let text = serde_json::to_string(status).unwrap_or_default();
    tx.set_setting(IMPORT, Some(&text))
}

/// Asks for an import; one that is under way is replaced.
pub fn request(tx: &Tx<'_>, folder: &str) -> Result<ImportStatus, StoreError> {
    let id = load(tx)?.map_or(1, |last| last.id + 1);
    let status = ImportStatus {
        id,
        folder: folder.to_owned(),
        state: ImportState::Waiting,
        verdict: Verdict::None,
        detail: "waiting for SMS_DMP_DOWNLOADER".to_owned(),
        note: None,
        made: None,
        receipt: None,
        packages: Vec::new(),
    };
    save(tx, &status)?;
    Ok(status)
}
