//! Update packages.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A package state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StateInfo {
    /// The product's number, such as 262146.
    pub code: u32,
    /// The product's name, such as `DOWNLOAD_SUCCESS`.
    pub name: String,
    /// What lists show, such as `Ready to install`.
    pub label: String,
}

/// A line of `updates list`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct UpdateSummary {
    /// Key.
    pub guid: String,
    /// English name.
    pub name: String,
    /// Version the site has afterwards.
    pub full_version: String,
    /// `update`, `hotfix` or `preview`.
    pub update_type: String,
    /// State.
    pub state: StateInfo,
    /// Since when it is in this state.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// When the vendor released it.
    #[schema(value_type = String, format = DateTime)]
    pub released: Timestamp,
    /// Compressed bytes that a site with nothing would fetch.
    pub download_bytes: u64,
    /// Bytes of its files.
    pub bytes: u64,
    /// Whether it downloads by itself.
    pub newest: bool,
    /// Why it is in this state and what it waits for, in one line.
    pub reason: String,
    /// Last failure of its download.
    pub failure: Option<String>,
    /// When its download is tried next.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_attempt_at: Option<Timestamp>,
    /// The package that has to finish before this one can move.
    pub blocked_by: Option<String>,
    /// Bytes on their way.
    pub transfer: Option<TransferInfo>,
}

/// Bytes on their way.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TransferInfo {
    /// What is being moved.
    pub what: String,
    /// Host it comes from; empty for local work.
    pub host: String,
    /// Bytes done.
    pub done: u64,
    /// Bytes to do.
    pub total: u64,
    /// Bytes per second, once known.
    pub rate: Option<u64>,
}

/// `updates show --plan`: where the content of a package comes from, decided before anything is fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeliveryInfo {
    /// Each source of content, in the order of use.
    pub parts: Vec<DeliveryPart>,
    /// Bytes that will be fetched.
    pub fetched: u64,
    /// Bytes that a site with nothing would fetch as blocks.
    pub cold: u64,
}

/// A source of content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "from", rename_all = "kebab-case")]
pub enum DeliveryPart {
    /// In the content library already.
    Here {
        /// Different files.
        files: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// Made from files that are here.
    Delta {
        /// Package that the files belong to; none for a delta from nothing, which packs harder than blocks.
        base: Option<String>,
        /// Files that come of it.
        files: u64,
        /// Their bytes.
        bytes: u64,
        /// Bytes to fetch.
        fetched: u64,
    },
    /// Blocks of packs.
    Blocks {
        /// Ranges to ask for.
        ranges: u64,
        /// Bytes to fetch.
        fetched: u64,
    },
}

/// `updates show`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct UpdateDetail {
    /// What the list shows.
    #[serde(flatten)]
    pub summary: UpdateSummary,
    /// English description.
    pub description: String,
    /// Locales with texts.
    pub locales: Vec<String>,
    /// Licence terms, if any.
    pub eula: Option<String>,
    /// Version of the included client, if any.
    pub client_version: Option<String>,
    /// Lowest site version, by release, inclusive.
    pub min_site_version: Option<String>,
    /// Highest site version, by release, inclusive.
    pub max_site_version: Option<String>,
    /// Product areas touched.
    pub impact: Vec<String>,
    /// Package that must be installed first.
    pub prerequisite: Option<String>,
    /// Packages it replaces.
    pub supersedes: Vec<String>,
    /// Release notes.
    pub more_info: Option<String>,
    /// Rings it is offered to; empty means all.
    pub rings: Vec<String>,
    /// Share of hierarchies it is offered to.
    pub rollout_percent: u8,
    /// Rule over facts of the site that narrows the roll-out.
    pub rollout_when: Option<String>,
    /// Why the vendor took it back.
    pub withdrawn: Option<String>,
    /// Source of the applicability rule.
    pub applicability: Option<String>,
    /// Number of files.
    pub files: u64,
    /// Redistributables with their verdicts.
    pub redistributables: Vec<RedistInfo>,
    /// Features it brings.
    pub features: Vec<FeatureInfo>,
    /// What an administrator's start means for warnings: 0 stop, 1 check only, 2 continue.
    pub flag: u32,
    /// Whether an installation of it was rolled back.
    pub rolled_back: bool,
    /// Recorded states, newest first.
    pub history: Vec<HistoryEntry>,
}

/// A redistributable.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RedistInfo {
    /// File name.
    pub name: String,
    /// Bytes.
    pub length: u64,
    /// Expected SHA-256.
    pub sha256: String,
    /// `verified`, `failed` or `not fetched`.
    pub verdict: String,
    /// Why.
    pub detail: String,
}

/// An optional feature.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct FeatureInfo {
    /// Key.
    pub guid: String,
    /// Name.
    pub name: String,
    /// One paragraph.
    pub description: String,
    /// Package that brings it.
    pub package: String,
    /// Pre-release features need consent.
    pub pre_release: bool,
    /// Whether it is on.
    pub turned_on: bool,
    /// Whether its package is installed.
    pub available: bool,
    /// Whether an installation turns it on unless told otherwise.
    #[serde(default)]
    pub default_on: bool,
}

/// `updates why`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct WhyReport {
    /// Package.
    pub guid: String,
    /// Name.
    pub name: String,
    /// State.
    pub state: StateInfo,
    /// The verdict in one line.
    pub reason: String,
    /// Every condition, in order.
    pub conditions: Vec<ConditionInfo>,
}

/// A condition with what it asks for and what was found.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ConditionInfo {
    /// The condition.
    pub condition: String,
    /// What it asks for.
    pub expected: String,
    /// What was found.
    pub actual: String,
    /// `met`, `not-met` or `could-not-evaluate`.
    pub outcome: String,
}

/// The result of a prerequisite rule.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PrereqResult {
    /// Rule name.
    pub name: String,
    /// Rule category.
    pub category: String,
    /// Role it is about.
    pub role: String,
    /// `passed`, `warning` or `failed`.
    pub result: String,
    /// What was found and what to do.
    pub detail: String,
    /// Where to read more.
    pub link: Option<String>,
    /// When it ran.
    #[schema(value_type = String, format = DateTime)]
    pub time: Timestamp,
}

/// A sub-step of a package on a site.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SubStageInfo {
    /// Phase.
    pub phase: String,
    /// Number; its high word is the phase.
    pub id: u32,
    /// Name.
    pub name: String,
    /// `in progress`, `success`, `success with warning` or `failed`.
    pub state: String,
    /// 0 to 100.
    pub progress: u8,
    /// One line.
    pub detail: String,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    pub time: Timestamp,
}

/// `updates status`: one site and one package.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SiteUpdateStatus {
    /// Site.
    pub site_code: String,
    /// Package and its state.
    pub update: UpdateSummary,
    /// What it waits for or why it ended, in one line.
    pub reason: String,
    /// Sub-steps, in order.
    pub sub_stages: Vec<SubStageInfo>,
    /// Results of the prerequisite check.
    pub prerequisites: Vec<PrereqResult>,
}

/// A recorded change.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct HistoryEntry {
    /// Package.
    pub guid: String,
    /// Name.
    pub name: String,
    /// State it changed to.
    pub state: StateInfo,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub time: Timestamp,
    /// Why.
    pub reason: String,
}

/// Starts an installation.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct InstallRequest {
    /// Continue in spite of prerequisite warnings.
    pub ignore_warnings: bool,
    /// Features to turn on afterwards.
    pub features_on: Vec<String>,
    /// Features that stay off although they would be turned on.
    pub features_off: Vec<String>,
}

/// Resets a package.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ResetRequest {
    /// Delete it even if it is downloaded.
    pub force: bool,
}

/// Turns a feature on.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FeatureRequest {
    /// Only `true` is possible: a feature that is on stays on.
    pub on: bool,
}
