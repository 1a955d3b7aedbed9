//! One package record on the wire, and its conversion to and from the domain's.

use std::collections::BTreeMap;

use domain::servicing::package::{
    DeltaReference, Feature, HealthCheck, Hook, Impact, InstallPlan, PackageGuid, PackageRecord, PackageText,
    PayloadReference, PrerequisiteRule, Redistributable, Severity, UpdateType,
};
use domain::servicing::version::FullVersion;
use serde::{Deserialize, Serialize};

use super::CatalogueError;

/// The format written by this release.
pub(super) const FORMAT: u32 = 1;
/// Longest short text (names, paths, links).
const SHORT_MAX: usize = 1_024;
/// Longest long text (descriptions, licence terms).
const LONG_MAX: usize = 64 * 1_024;
/// Most elements of a list.
const LIST_MAX: usize = 1_000;

/// A package record as written in a shard. Field names are part of the format.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(
    missing_docs,
    reason = "the fields are those of domain::servicing::package::PackageRecord"
)]
pub struct CatalogueRecord {
    pub format: u32,
    pub guid: String,
    pub text: BTreeMap<String, TextRecord>,
    pub full_version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_site_version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_site_version: Option<String>,
    #[serde(rename = "type")]
    pub update_type: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub impact: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prerequisite: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub supersedes: Vec<String>,
    pub released: jiff::Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more_info: Option<String>,
    pub payload: PayloadRecord,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redistributables: Vec<RedistRecord>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<FeatureRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applicability: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prerequisite_rules: Vec<RuleRecord>,
    #[serde(default)]
    pub install: InstallRecord,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rings: Vec<String>,
    #[serde(default = "all_percent")]
    pub rollout_percent: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout_when: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawn: Option<String>,
}

fn all_percent() -> u8 {
    100
}

/// Texts in one language.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "see PackageText")]
pub struct TextRecord {
    pub name: String,
    #[serde(default)]
    pub description: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eula: Option<String>,
}

/// The payload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "see PayloadReference")]
pub struct PayloadRecord {
    pub index: String,
    pub index_sha256: String,
    pub index_length: u64,
    pub files: u64,
    pub bytes: u64,
    pub download_bytes: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deltas: Vec<DeltaRecord>,
}

/// Deltas from an earlier package.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "see DeltaReference")]
pub struct DeltaRecord {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    pub index: String,
    pub index_sha256: String,
    pub index_length: u64,
    pub bytes: u64,
}

/// A redistributable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "see Redistributable")]
pub struct RedistRecord {
    pub name: String,
    pub target: String,
    pub length: u64,
    pub sha256: String,
}

/// A feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "see Feature")]
pub struct FeatureRecord {
    pub guid: String,
    pub name: String,
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub pre_release: bool,
    #[serde(default)]
    pub default_on: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more_info: Option<String>,
}

/// A prerequisite rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "see PrerequisiteRule")]
pub struct RuleRecord {
    pub name: String,
    pub category: String,
    pub role: String,
    pub severity: String,
    pub rule: String,
    pub text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

/// The install plan.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[allow(missing_docs, reason = "see InstallPlan")]
pub struct InstallRecord {
    #[serde(default)]
    pub switch: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<HookRecord>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<HookRecord>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rollback: Vec<HookRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthRecord>,
}

/// A hook.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "see Hook")]
pub struct HookRecord {
    pub program: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    pub time_limit_s: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_as: Option<String>,
}

/// A health check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "see HealthCheck")]
pub struct HealthRecord {
    #[serde(flatten)]
    pub hook: HookRecord,
    pub attempts: u8,
    pub interval_s: u32,
}

/// A record as its line, without line end.
pub fn to_line(record: &PackageRecord) -> String {
    serde_json::to_string(&CatalogueRecord::from(record)).unwrap_or_default()
}

/// A line as the record it says, with every field checked.
pub fn parse_line(line: &str) -> Result<PackageRecord, CatalogueError> {
    #[derive(Deserialize)]
    struct Head {
        format: u32,
        #[serde(default)]
        guid: String,
    }
    let json = |source| CatalogueError::Json { record: 0, source };
    // The format first: a record of another format may have other fields.
    let head: Head = serde_json::from_str(line).map_err(json)?;
    if head.format != FORMAT {
        return Err(CatalogueError::Format {
            guid: head.guid.chars().take(64).collect(),
            format: head.format,
        });
    }
    let record: CatalogueRecord = serde_json::from_str(line).map_err(json)?;
    record.check()
}

struct Checker<'a> {
    guid: &'a str,
}

impl Checker<'_> {
    fn wrong(&self, field: impl Into<String>, problem: impl Into<String>) -> CatalogueError {
        let guid = self.guid.chars().take(64).collect();
        CatalogueError::Field {
            guid,
            field: field.into(),
            problem: problem.into(),
        }
    }

    fn text(&self, field: &str, text: String, longest: usize) -> Result<String, CatalogueError> {
        if text.len() > longest {
            return Err(self.wrong(
                field,
                format!("has {} bytes, at most {longest} are possible", text.len()),
            ));
        }
        if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
            return Err(self.wrong(field, "has control characters"));
        }
        Ok(text)
    }

    fn short(&self, field: &str, text: String) -> Result<String, CatalogueError> {
        if text.is_empty() {
            return Err(self.wrong(field, "is empty"));
        }
        // Shown in tables and logs: one line, and nothing that moves a terminal's cursor.
        if text.chars().any(char::is_control) {
            return Err(self.wrong(field, "is not one line without control characters"));
        }
        self.text(field, text, SHORT_MAX)
    }

    fn link(&self, field: &str, link: Option<String>) -> Result<Option<String>, CatalogueError> {
        let Some(link) = link else { return Ok(None) };
        let web = link.starts_with("https://") || link.starts_with("http://");
        if !web || link.chars().any(|c| c.is_control() || c == ' ') {
            return Err(self.wrong(field, "is no web address"));
        }
        self.short(field, link).map(Some)
    }

    fn list<T>(&self, field: &str, list: Vec<T>) -> Result<Vec<T>, CatalogueError> {
        if list.len() > LIST_MAX {
            return Err(self.wrong(
                field,
                format!("has {} elements, at most {LIST_MAX} are possible", list.len()),
            ));
        }
        Ok(list)
    }

    fn guid(&self, field: &str, text: &str) -> Result<PackageGuid, CatalogueError> {
        text.parse().map_err(|problem: String| self.wrong(field, problem))
    }

    fn version(&self, field: &str, text: Option<String>) -> Result<Option<FullVersion>, CatalogueError> {
        text.map(|text| text.parse().map_err(|problem: String| self.wrong(field, problem)))
            .transpose()
    }

    fn sha256(&self, field: &str, text: String) -> Result<String, CatalogueError> {
        if text.len() == 64
            && text
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        {
            return Ok(text);
        }
        Err(self.wrong(field, "is no SHA-256 in lower-case hexadecimal"))
    }

    /// A relative path without tricks: it names a file below a folder of ours.
    fn path(&self, field: &str, path: String) -> Result<String, CatalogueError> {
        let plain = path.split('/').all(|part| !matches!(part, "" | "." | ".."));
        if !plain || path.contains(['\\', '\0']) || path.chars().any(char::is_control) {
            return Err(self.wrong(field, format!("{path:?} is no plain relative path")));
        }
        self.short(field, path)
    }

    fn hooks(&self, field: &str, hooks: Vec<HookRecord>) -> Result<Vec<Hook>, CatalogueError> {
        self.list(field, hooks)?
            .into_iter()
            .map(|hook| self.hook(field, hook))
            .collect()
    }

    fn hook(&self, field: &str, hook: HookRecord) -> Result<Hook, CatalogueError> {
        let args = self.list(&format!("{field}.args"), hook.args)?;
        for text in args.iter().chain(hook.env.keys()).chain(hook.env.values()) {
            if text.contains('\0') || text.len() > LONG_MAX {
                return Err(self.wrong(format!("{field}.args"), "has a NUL or is too long"));
            }
        }
        if hook.env.len() > LIST_MAX || hook.env.keys().any(|name| name.is_empty() || name.contains('=')) {
            return Err(self.wrong(
                format!("{field}.env"),
                "has a name that is empty or contains \"=\"",
            ));
        }
        if !(1..=86_400).contains(&hook.time_limit_s) {
            return Err(self.wrong(format!("{field}.time-limit-s"), "is 1 to 86400 seconds"));
        }
        let run_as = hook
            .run_as
            .map(|user| self.user(&format!("{field}.run-as"), user))
            .transpose()?;
        Ok(Hook {
            program: self.path(&format!("{field}.program"), hook.program)?,
            args,
            env: hook.env,
            time_limit_s: hook.time_limit_s,
            run_as,
        })
    }

    fn user(&self, field: &str, user: String) -> Result<String, CatalogueError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if user.is_empty() || user.len() > 32 || !user.chars().all(plain) || user.starts_with('-') {
            return Err(self.wrong(field, format!("{user:?} is no user name")));
        }
        Ok(user)
    }
}

impl CatalogueRecord {
    /// Checks every field.
    fn check(self) -> Result<PackageRecord, CatalogueError> {
        let guid_text = self.guid.clone();
        let c = Checker { guid: &guid_text };
        let mut texts = BTreeMap::new();
        if !self.text.contains_key("en") {
            return Err(c.wrong("text.en", "is missing; every package has English texts"));
        }
        for (locale, text) in c.list("text", self.text.into_iter().collect())? {
            let field = format!("text.{}", locale.chars().take(16).collect::<String>());
            if locale.len() > 16 || !locale.chars().all(|ch| ch.is_ascii_alphanumeric() || ch == '-') {
                return Err(c.wrong(field, "is no language tag"));
            }
            let checked = PackageText {
                name: c.short(&format!("{field}.name"), text.name)?,
                description: c.text(&format!("{field}.description"), text.description, LONG_MAX)?,
                eula: text
                    .eula
                    .map(|eula| c.text(&format!("{field}.eula"), eula, LONG_MAX))
                    .transpose()?,
            };
            texts.insert(locale, checked);
        }
        let full_version = c.version("full-version", Some(self.full_version))?;
        let update_type = [UpdateType::Update, UpdateType::Preview, UpdateType::Hotfix]
            .into_iter()
            .find(|kind| kind.as_str() == self.update_type)
            .ok_or_else(|| c.wrong("type", "is update, preview or hotfix"))?;
        let mut impact = Vec::new();
        for name in c.list("impact", self.impact)? {
            let area = Impact::ALL.into_iter().find(|area| area.as_str() == name);
            impact.push(area.ok_or_else(|| c.wrong("impact", format!("{name:?} is no product area")))?);
        }
        impact.sort();
        impact.dedup();
        let mut redistributables = Vec::new();
        for redist in c.list("redistributables", self.redistributables)? {
            let name = c.path("redistributables.name", redist.name)?;
            if name.contains('/') {
                return Err(c.wrong("redistributables.name", "is a file name without folders"));
            }
            redistributables.push(Redistributable {
                name,
                target: c.path("redistributables.target", redist.target)?,
                length: redist.length,
                sha256: c.sha256("redistributables.sha256", redist.sha256)?,
            });
        }
        let mut features = Vec::new();
        for feature in c.list("features", self.features)? {
            features.push(Feature {
                guid: c.guid("features.guid", &feature.guid)?,
                name: c.short("features.name", feature.name)?,
                description: c.text("features.description", feature.description, LONG_MAX)?,
                pre_release: feature.pre_release,
                default_on: feature.default_on,
                more_info: c.link("features.more-info", feature.more_info)?,
            });
        }
        let mut prerequisite_rules = Vec::new();
        for rule in c.list("prerequisite-rules", self.prerequisite_rules)? {
            let severity = match rule.severity.as_str() {
                "warning" => Severity::Warning,
                "error" => Severity::Error,
                _ => return Err(c.wrong("prerequisite-rules.severity", "is warning or error")),
            };
            prerequisite_rules.push(PrerequisiteRule {
                name: c.short("prerequisite-rules.name", rule.name)?,
                category: c.short("prerequisite-rules.category", rule.category)?,
                role: c.short("prerequisite-rules.role", rule.role)?,
                severity,
                rule: c.text("prerequisite-rules.rule", rule.rule, LONG_MAX)?,
                text: c.text("prerequisite-rules.text", rule.text, LONG_MAX)?,
                link: c.link("prerequisite-rules.link", rule.link)?,
            });
        }
        let health = self.install.health.map(|health| {
            if !(1..=100).contains(&health.attempts) || health.interval_s > 3_600 {
                return Err(c.wrong(
                    "install.health",
                    "attempts are 1 to 100, interval-s is at most 3600",
                ));
            }
            let hook = c.hook("install.health", health.hook)?;
            Ok(HealthCheck {
                hook,
                attempts: health.attempts,
                interval_s: health.interval_s,
            })
        });
        let install = InstallPlan {
            switch: self.install.switch,
            before: c.hooks("install.before", self.install.before)?,
            after: c.hooks("install.after", self.install.after)?,
            rollback: c.hooks("install.rollback", self.install.rollback)?,
            health: health.transpose()?,
        };
        let mut deltas = Vec::new();
        for delta in c.list("payload.deltas", self.payload.deltas)? {
            deltas.push(DeltaReference {
                base: delta
                    .base
                    .map(|base| c.guid("payload.deltas.base", &base))
                    .transpose()?,
                index_target: c.path("payload.deltas.index", delta.index)?,
                index_sha256: c.sha256("payload.deltas.index-sha256", delta.index_sha256)?,
                index_length: delta.index_length,
                bytes: delta.bytes,
            });
        }
        if self.rollout_percent > 100 {
            return Err(c.wrong("rollout-percent", "is 0 to 100"));
        }
        let guids = |field: &str, list: Vec<String>| -> Result<Vec<PackageGuid>, CatalogueError> {
            c.list(field, list)?
                .iter()
                .map(|text| c.guid(field, text))
                .collect()
        };
        let rings = c.list("rings", self.rings)?;
        let rings = rings
            .into_iter()
            .map(|ring| c.short("rings", ring))
            .collect::<Result<_, _>>()?;
        Ok(PackageRecord {
            guid: c.guid("guid", &self.guid)?,
            texts,
            full_version: full_version.ok_or_else(|| c.wrong("full-version", "is missing"))?,
            client_version: self
                .client_version
                .map(|text| c.short("client-version", text))
                .transpose()?,
            min_site_version: c.version("min-site-version", self.min_site_version)?,
            max_site_version: c.version("max-site-version", self.max_site_version)?,
            update_type,
            impact,
            prerequisite: self
                .prerequisite
                .map(|text| c.guid("prerequisite", &text))
                .transpose()?,
            supersedes: guids("supersedes", self.supersedes)?,
            released: self.released,
            more_info: c.link("more-info", self.more_info)?,
            payload: PayloadReference {
                index_target: c.path("payload.index", self.payload.index)?,
                index_sha256: c.sha256("payload.index-sha256", self.payload.index_sha256)?,
                index_length: self.payload.index_length,
                files: self.payload.files,
                bytes: self.payload.bytes,
                download_bytes: self.payload.download_bytes,
                deltas,
            },
            redistributables,
            features,
            applicability: self
                .applicability
                .map(|rule| c.text("applicability", rule, LONG_MAX))
                .transpose()?,
            prerequisite_rules,
            install,
            rings,
            rollout_percent: self.rollout_percent,
            rollout_when: self
                .rollout_when
                .map(|rule| c.text("rollout-when", rule, LONG_MAX))
                .transpose()?,
            withdrawn: self
                .withdrawn
                .map(|why| c.text("withdrawn", why, LONG_MAX))
                .transpose()?,
        })
    }
}

/// Reads arbitrary bytes as a record; must not panic.
pub fn fuzz_record(bytes: &[u8]) {
    if let Ok(record) = parse_line(&String::from_utf8_lossy(bytes)) {
        to_line(&record);
    }
}

#[cfg(test)]
#[path = "record_tests.rs"]
pub(super) mod tests;
