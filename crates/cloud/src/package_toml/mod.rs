//! `package.toml`: what a vendor writes about a package, read into the record that sites get.
//!
//! It refuses whatever a site would refuse, at the vendor's desk and with the place in the file: unknown keys, values
//! out of bounds, rules that do not check, programs that the payload does not have.

mod install;
mod position;
mod reader;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use domain::servicing::package::{
    Feature, Impact, PackageGuid, PackageRecord, PackageText, PayloadReference, PrerequisiteRule, Severity,
    UpdateType,
};
use domain::servicing::rule;
use domain::servicing::version::FullVersion;
use toml::de::{DeTable, DeValue};

pub use reader::Problem;
use reader::{Reader, Section, Value, word};

/// A commented example with every key.
pub const EXAMPLE: &str = include_str!("example.toml");
/// Largest `package.toml`.
pub const BYTES_MAX: u64 = 1 << 20;
/// Longest short text (names, paths, links); what a site accepts.
const SHORT_MAX: usize = 1_024;
/// Longest long text; what a site accepts.
const LONG_MAX: usize = 64 * 1_024;
/// Most elements of a list; what a site accepts.
const LIST_MAX: usize = 1_000;

/// What a `package.toml` says.
#[derive(Debug, Clone)]
pub struct PackageDescription {
    /// The record, still without payload and redistributables.
    pub record: PackageRecord,
    /// Files to publish beside the payload.
    pub redistributables: Vec<RedistributableSource>,
    /// Programs the payload must have, with the byte offset of their mention.
    programs: Vec<(String, usize)>,
    file: PathBuf,
    source: String,
}

/// A redistributable to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedistributableSource {
    /// The name it gets.
    pub name: String,
    /// The file as written: relative to the folder of `package.toml`.
    pub file: PathBuf,
    offset: usize,
}

/// Everything that is wrong with a `package.toml`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.lines().join("\n"))]
pub struct PackageTomlError {
    /// The file as it was named.
    pub file: PathBuf,
    /// In the order of the file; never empty.
    pub problems: Vec<Problem>,
}

impl PackageTomlError {
    /// One line per problem: `file:line:column: message`.
    pub fn lines(&self) -> Vec<String> {
        let line = |p: &Problem| format!("{}:{}:{}: {}", self.file.display(), p.line, p.column, p.message);
        self.problems.iter().map(line).collect()
    }
}

/// Reads a description. `file` is used in messages only.
pub fn parse(file: &Path, source: &str) -> Result<PackageDescription, PackageTomlError> {
    let error = |problems| PackageTomlError {
        file: file.to_owned(),
        problems,
    };
    if source.len() as u64 > BYTES_MAX {
        let message = format!(
            "the file has {} bytes, at most {BYTES_MAX} are possible",
            source.len()
        );
        return Err(error(vec![reader::place(source, 0, message)]));
    }
    let table = DeTable::parse(source).map_err(|failure| {
        let offset = failure.span().map_or(0, |span| span.start);
        error(vec![reader::place(source, offset, failure.message().to_owned())])
    })?;
    let reader = Reader::new(source);
    let read = read(&reader, table.get_ref());
    let problems = reader.problems();
    match read {
        Some((record, redistributables, programs)) if problems.is_empty() => {
            let (file, source) = (file.to_owned(), source.to_owned());
            Ok(PackageDescription {
                record,
                redistributables,
                programs,
                file,
                source,
            })
        }
        _ => Err(error(problems)),
    }
}

impl PackageDescription {
    /// Checks the programs that the install plan runs against the executable files of the payload.
    pub fn check_programs(&self, executables: &BTreeSet<String>) -> Result<(), PackageTomlError> {
        let missing: Vec<Problem> = self
            .programs
            .iter()
            .filter(|(program, _)| !executables.contains(program))
            .map(|(program, offset)| {
                let message = format!(
                    "{program:?} is no executable file of the payload; \
                     add it, or give it the permission to be executed"
                );
                reader::place(&self.source, *offset, message)
            })
            .collect();
        if missing.is_empty() {
            Ok(())
        } else {
            Err(self.error(missing))
        }
    }

    /// A problem with a redistributable's file.
    pub(crate) fn redistributable_error(
        &self,
        which: &RedistributableSource,
        detail: &str,
    ) -> PackageTomlError {
        self.error(vec![reader::place(&self.source, which.offset, detail.to_owned())])
    }

    /// A problem of the whole.
    pub(crate) fn record_error(&self, detail: String) -> PackageTomlError {
        self.error(vec![reader::place(&self.source, 0, detail)])
    }

    fn error(&self, problems: Vec<Problem>) -> PackageTomlError {
        PackageTomlError {
            file: self.file.clone(),
            problems,
        }
    }
}

type Parts = (PackageRecord, Vec<RedistributableSource>, Vec<(String, usize)>);

/// None only where something was noted that nothing can be made of.
fn read<'r, 's>(reader: &'r Reader<'s>, table: &'r DeTable<'s>) -> Option<Parts> {
    let top = Section::top(reader, table);
    let guid: Option<PackageGuid> = top.required("guid").and_then(|_| top.parsed("guid"));
    let full_version: Option<FullVersion> = top
        .required("full-version")
        .and_then(|_| top.parsed("full-version"));
    let types = [
        ("update", UpdateType::Update),
        ("hotfix", UpdateType::Hotfix),
        ("preview", UpdateType::Preview),
    ];
    let update_type = top.word("type", &types);
    let released = top.required("released").and_then(|value| moment(reader, value));
    let min_site_version: Option<FullVersion> = top.parsed("min-site-version");
    let max_site_version: Option<FullVersion> = top.parsed("max-site-version");
    if let (Some(min), Some(max)) = (min_site_version, max_site_version)
        && min.cmp_release(&max).is_gt()
    {
        let at = top.get("max-site-version").map_or(0, |value| value.span().start);
        reader.refuse(
            at,
            format!("max-site-version {max} is below min-site-version {min}"),
        );
    }
    let prerequisite: Option<PackageGuid> = top.parsed("prerequisite");
    let supersedes = guids(&top, "supersedes");
    for (key, same) in [
        ("prerequisite", guid.is_some() && prerequisite == guid),
        ("supersedes", guid.is_some_and(|guid| supersedes.contains(&guid))),
    ] {
        if same && let Some(value) = top.get(key) {
            reader.refuse(value.span().start, format!("{key} names this package itself"));
        }
    }
    let rings = top.texts("rings", 64);
    if let Some(value) = top.get("rings")
        && rings.iter().any(|ring| ring.trim().is_empty())
    {
        reader.refuse(value.span().start, "a ring has a name");
    }
    let applicability = top
        .get("applicability")
        .and_then(|value| checked_rule(reader, value, "applicability"));
    let (install, programs) = install::read(&top);
    let (redistributables, features) = (redistributables(&top), features(&top));
    let record = PackageRecord {
        guid: guid.unwrap_or(PackageGuid(0)),
        texts: texts(&top),
        full_version: full_version?,
        client_version: top.text("client-version", 64),
        min_site_version,
        max_site_version,
        update_type: update_type.unwrap_or(UpdateType::Update),
        impact: impact(&top),
        prerequisite,
        supersedes,
        released: released.unwrap_or_default(),
        more_info: link(&top, "more-info"),
        payload: PayloadReference {
            index_target: String::new(),
            index_sha256: String::new(),
            index_length: 0,
            files: 0,
            bytes: 0,
            download_bytes: 0,
            deltas: Vec::new(),
        },
        redistributables: Vec::new(),
        features,
        applicability,
        prerequisite_rules: prerequisite_rules(&top),
        install,
        rings,
        rollout_percent: u8::try_from(top.number("rollout-percent", 0..101, 100)).unwrap_or(100),
        rollout_when: None,
        withdrawn: None,
    };
    top.finish();
    Some((record, redistributables, programs))
}

/// An RFC 3339 moment, written as TOML's own date or as a text.
fn moment(reader: &Reader<'_>, value: &Value<'_>) -> Option<jiff::Timestamp> {
    let text = match value.get_ref() {
        DeValue::Datetime(moment) => moment.to_string(),
        DeValue::String(text) => text.to_string(),
        _ => String::new(),
    };
    let moment = text.parse::<jiff::Timestamp>().ok();
    if moment.is_none() {
        let message = "released is a moment with its offset from UTC, as in 2026-10-01T08:00:00Z";
        reader.refuse(value.span().start, message);
    }
    moment
}

fn guids(section: &Section<'_, '_>, key: &'static str) -> Vec<PackageGuid> {
    let Some(value) = section.get(key) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for value in section.reader.list(value, key, LIST_MAX) {
        let Some(text) = section.reader.text(value, key, 256) else {
            continue;
        };
        match text.parse() {
            Ok(guid) if found.contains(&guid) => {
                section
                    .reader
                    .refuse(value.span().start, format!("{key} names {guid} twice"));
            }
            Ok(guid) => found.push(guid),
            Err(message) => section
                .reader
                .refuse(value.span().start, format!("{key}: {message}")),
        }
    }
    found
}

fn impact(top: &Section<'_, '_>) -> Vec<Impact> {
    let Some(value) = top.get("impact") else {
        return Vec::new();
    };
    let words = Impact::ALL.map(|area| (area.as_str(), area));
    let list = top.reader.list(value, "impact", LIST_MAX);
    let found: BTreeSet<Impact> = list
        .iter()
        .filter_map(|value| word(top.reader, value, "impact", &words))
        .collect();
    found.into_iter().collect()
}

fn link(section: &Section<'_, '_>, key: &'static str) -> Option<String> {
    let value = section.get(key)?;
    let text = section.reader.text(value, key, SHORT_MAX)?;
    let web = text.starts_with("https://") || text.starts_with("http://");
    if !web || text.chars().any(|c| c.is_control() || c == ' ') {
        section
            .reader
            .refuse(value.span().start, format!("{key} is a web address (https://…)"));
        return None;
    }
    Some(text)
}

/// A rule that sites can evaluate; what is wrong with it is told at its place in the file.
fn checked_rule(reader: &Reader<'_>, value: &Value<'_>, what: &str) -> Option<String> {
    let text = reader.text(value, what, LONG_MAX)?;
    if let Err(wrong) = rule::check(&text) {
        let span = value.span();
        let at = position::inside(reader.source(), span.start, span.end, wrong.line, wrong.column);
        reader.refuse(at, wrong.message);
        return None;
    }
    Some(text)
}

fn texts(top: &Section<'_, '_>) -> BTreeMap<String, PackageText> {
    let mut texts = BTreeMap::new();
    let Some(value) = top.required("text") else {
        return texts;
    };
    let Some(languages) = Section::of(top.reader, value, "[text]".to_owned()) else {
        return texts;
    };
    for (language, value) in languages.entries() {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if language.is_empty() || language.len() > 16 || !language.chars().all(plain) {
            let message = format!("{language:?} is no language; write it as en or de-DE");
            top.reader.refuse(value.span().start, message);
            continue;
        }
        let Some(section) = Section::of(top.reader, value, format!("[text.{language}]")) else {
            continue;
        };
        let text = PackageText {
            name: section.required_text("name", SHORT_MAX),
            description: section.text("description", LONG_MAX).unwrap_or_default(),
            eula: section.text("eula", LONG_MAX),
        };
        section.finish();
        texts.insert(language.to_owned(), text);
    }
    if !texts.contains_key("en") {
        top.reader.refuse(
            value.span().start,
            "there is no [text.en]; every package has English texts",
        );
    }
    texts
}

fn redistributables(top: &Section<'_, '_>) -> Vec<RedistributableSource> {
    let mut found: Vec<RedistributableSource> = Vec::new();
    for section in top.sections("redistributable", LIST_MAX) {
        let file = PathBuf::from(section.required_text("file", SHORT_MAX));
        let offset = section
            .get("file")
            .map_or(section.at(), |value| value.span().start);
        let name = file
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default()
            .to_owned();
        let odd = |c: char| c.is_control() || c == '\\';
        if name.is_empty() || name.starts_with('.') || name.len() > 100 || name.chars().any(odd) {
            let message = "file is a path to a file whose name is plain, short and begins with no dot";
            section.reader.refuse(offset, message);
        } else if found.iter().any(|other| other.name.eq_ignore_ascii_case(&name)) {
            section.reader.refuse(
                offset,
                format!("there is already a redistributable named {name:?}"),
            );
        }
        section.finish();
        found.push(RedistributableSource { name, file, offset });
    }
    found
}

fn features(top: &Section<'_, '_>) -> Vec<Feature> {
    let mut found: Vec<Feature> = Vec::new();
    for section in top.sections("feature", LIST_MAX) {
        let guid = section
            .required("guid")
            .and_then(|_| section.parsed::<PackageGuid>("guid"));
        if let Some(guid) = guid {
            if found.iter().any(|feature| feature.guid == guid) {
                section
                    .reader
                    .refuse(section.at(), format!("there is already a feature {guid}"));
            }
            found.push(Feature {
                guid,
                name: section.required_text("name", SHORT_MAX),
                description: section.text("description", LONG_MAX).unwrap_or_default(),
                pre_release: section.truth("pre-release", false),
                default_on: section.truth("default-on", false),
                more_info: link(&section, "more-info"),
            });
            section.finish();
        }
    }
    found
}

fn prerequisite_rules(top: &Section<'_, '_>) -> Vec<PrerequisiteRule> {
    const CATEGORIES: [&str; 4] = [
        "access-permissions",
        "system-requirements",
        "dependent-components",
        "site-upgrade-requirements",
    ];
    let mut found: Vec<PrerequisiteRule> = Vec::new();
    for section in top.sections("prerequisite-rule", LIST_MAX) {
        let name = section.required_text("name", SHORT_MAX);
        if found.iter().any(|rule| rule.name == name) {
            section
                .reader
                .refuse(section.at(), format!("there is already a rule named {name:?}"));
        }
        let category = section.word("category", &CATEGORIES.map(|name| (name, name)));
        let severity = section.word(
            "severity",
            &[("warning", Severity::Warning), ("error", Severity::Error)],
        );
        let source = section
            .required("rule")
            .and_then(|value| checked_rule(section.reader, value, "rule"));
        found.push(PrerequisiteRule {
            name,
            category: category.unwrap_or_default().to_owned(),
            role: section.required_text("role", SHORT_MAX),
            severity: severity.unwrap_or(Severity::Error),
            rule: source.unwrap_or_default(),
            text: section.required_text("text", LONG_MAX),
            link: link(&section, "link"),
        });
        section.finish();
    }
    found
}
