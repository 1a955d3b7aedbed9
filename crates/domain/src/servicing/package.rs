//! The update package record (updates-and-servicing, section 4).

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::version::FullVersion;

/// Identifies an update package for its whole life. Written as an upper-case GUID without braces.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackageGuid(pub u128);

impl FromStr for PackageGuid {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no GUID; write it as 8576527E-DDE7-4E3C-A0E1-6FB0F0A3B1C4");
        let inner = match text.strip_prefix('{') {
            Some(rest) => rest.strip_suffix('}').ok_or_else(wrong)?,
            None => text,
        };
        let groups: Vec<&str> = inner.split('-').collect();
        let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
        if lengths != [8, 4, 4, 4, 12] || !groups.iter().all(|g| g.bytes().all(|b| b.is_ascii_hexdigit())) {
            return Err(wrong());
        }
        u128::from_str_radix(&groups.concat(), 16)
            .map(PackageGuid)
            .map_err(|_| wrong())
    }
}

impl fmt::Display for PackageGuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:032X}", self.0);
        write!(
            f,
            "{}-{}-{}-{}-{}",
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..]
        )
    }
}

impl fmt::Debug for PackageGuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What kind of package this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UpdateType {
    /// A release (0).
    Update,
    /// A preview of a release, offered only to the rings it names (1, the original's "weave").
    Preview,
    /// A single fix or a rollup on top of a release (2, "QFE").
    Hotfix,
}

impl UpdateType {
    /// The name used in package records and rules.
    pub fn as_str(self) -> &'static str {
        match self {
            UpdateType::Update => "update",
            UpdateType::Preview => "preview",
            UpdateType::Hotfix => "hotfix",
        }
    }
}

/// The product areas a package touches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Impact {
    /// 0x01
    SiteServer,
    /// 0x02
    Console,
    /// 0x04
    Client,
    /// 0x08
    NewFeatures,
    /// 0x10
    BugFixes,
}

impl Impact {
    /// Every area, in bit order.
    pub const ALL: [Impact; 5] = [
        Impact::SiteServer,
        Impact::Console,
        Impact::Client,
        Impact::NewFeatures,
        Impact::BugFixes,
    ];

    /// The bit in the record's Impact field.
    pub fn bit(self) -> u8 {
        match self {
            Impact::SiteServer => 0x01,
            Impact::Console => 0x02,
            Impact::Client => 0x04,
            Impact::NewFeatures => 0x08,
            Impact::BugFixes => 0x10,
        }
    }

    /// The name used in package records.
    pub fn as_str(self) -> &'static str {
        match self {
            Impact::SiteServer => "site-server",
            Impact::Console => "console",
            Impact::Client => "client",
            Impact::NewFeatures => "new-features",
            Impact::BugFixes => "bug-fixes",
        }
    }
}

/// Name, description and licence text in one language.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PackageText {
    /// Shown in lists.
    pub name: String,
    /// One paragraph.
    pub description: String,
    /// Licence terms to accept at installation, if any.
    pub eula: Option<String>,
}

/// Everything the vendor says about one update package.
#[derive(Debug, Clone, PartialEq)]
pub struct PackageRecord {
    /// Key.
    pub guid: PackageGuid,
    /// Texts by locale (`en`, `de-DE`); always has `en`.
    pub texts: BTreeMap<String, PackageText>,
    /// The version the site has afterwards.
    pub full_version: FullVersion,
    /// Set only if a new client is included.
    pub client_version: Option<String>,
    /// Lowest site version it applies to, by release, inclusive.
    pub min_site_version: Option<FullVersion>,
    /// Highest site version it applies to, by release, inclusive.
    pub max_site_version: Option<FullVersion>,
    /// Update, preview or hotfix.
    pub update_type: UpdateType,
    /// Areas touched, in bit order, without repeats.
    pub impact: Vec<Impact>,
    /// Another package that must be installed first.
    pub prerequisite: Option<PackageGuid>,
    /// Packages this one replaces.
    pub supersedes: Vec<PackageGuid>,
    /// When the vendor released it.
    pub released: jiff::Timestamp,
    /// Release notes.
    pub more_info: Option<String>,
    /// The file tree to install.
    pub payload: PayloadReference,
    /// Separate files the payload needs.
    pub redistributables: Vec<Redistributable>,
    /// Optional features it brings.
    pub features: Vec<Feature>,
    /// Source text of the applicability rule; none means "no further condition".
    pub applicability: Option<String>,
    /// Rules of the prerequisite check.
    pub prerequisite_rules: Vec<PrerequisiteRule>,
    /// How it is put in place.
    pub install: InstallPlan,
    /// Rings it is offered to; empty means every ring.
    pub rings: Vec<String>,
    /// Share of the hierarchies it is offered to, 0 to 100 percent.
    pub rollout_percent: u8,
    /// Rule over facts of the site that narrows the roll-out; changed by the vendor like the share.
    pub rollout_when: Option<String>,
    /// Set when the vendor took it back, with the reason shown to administrators.
    pub withdrawn: Option<String>,
}

impl PackageRecord {
    /// The English name; a record without one is refused when it is read.
    pub fn name(&self) -> &str {
        self.texts.get("en").map_or("", |text| text.name.as_str())
    }
}

/// A file of the feed, as the record names it. Length and hash come from the signed targets
/// metadata; they are repeated here so that a plan can be made before anything is fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadReference {
    /// TUF target path of the payload index (`payloads/<GUID>/index`).
    pub index_target: String,
    /// SHA-256 of the payload index, lower-case hex.
    pub index_sha256: String,
    /// Length of the payload index in bytes.
    pub index_length: u64,
    /// Number of files in the tree.
    pub files: u64,
    /// Sum of the file sizes in bytes.
    pub bytes: u64,
    /// Compressed bytes that a site with nothing would fetch.
    pub download_bytes: u64,
    /// What the same tree can be made from besides.
    pub deltas: Vec<DeltaReference>,
}

/// Deltas that lead from an earlier package, or from nothing, to this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeltaReference {
    /// The earlier package; without one, the deltas are for whoever has nothing: they pack harder than blocks and look
    /// into archives.
    pub base: Option<PackageGuid>,
    /// TUF target path of the delta index (`payloads/<GUID>/delta/<GUID of the base, or none>`).
    pub index_target: String,
    /// SHA-256 of the delta index, lower-case hex.
    pub index_sha256: String,
    /// Length of the delta index in bytes.
    pub index_length: u64,
    /// Bytes of all its deltas.
    pub bytes: u64,
}

/// A prerequisite redistributable: one file, fetched and judged on its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redistributable {
    /// File name below `redist/`.
    pub name: String,
    /// TUF target path.
    pub target: String,
    /// Length in bytes.
    pub length: u64,
    /// SHA-256, lower-case hex.
    pub sha256: String,
}

/// An optional feature that an update brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feature {
    /// Key.
    pub guid: PackageGuid,
    /// Shown in lists.
    pub name: String,
    /// One paragraph.
    pub description: String,
    /// Needs the hierarchy's one-time consent before it can be turned on.
    pub pre_release: bool,
    /// On after the installation unless the administrator says otherwise.
    pub default_on: bool,
    /// Release notes.
    pub more_info: Option<String>,
}

/// What a failed prerequisite rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    /// Stops unless warnings are ignored.
    Warning,
    /// Always stops.
    Error,
}

/// One rule of the prerequisite check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrerequisiteRule {
    /// Short name, unique in the package.
    pub name: String,
    /// `access-permissions`, `system-requirements`, `dependent-components` or `site-upgrade-requirements`.
    pub category: String,
    /// Role the rule is about (`site-server`).
    pub role: String,
    /// What failing does.
    pub severity: Severity,
    /// Source text of the rule: must evaluate to true.
    pub rule: String,
    /// What to tell the administrator when it fails.
    pub text: String,
    /// Where to read more.
    pub link: Option<String>,
}

/// How an extracted package is put in place on a site.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InstallPlan {
    /// Put the tree under `product/versions/<version>` and switch `product/current` to it.
    pub switch: bool,
    /// Programs run just before the switch, in order.
    pub before: Vec<Hook>,
    /// Programs run just after the switch, in order.
    pub after: Vec<Hook>,
    /// Programs run when the installation is rolled back, in order.
    pub rollback: Vec<Hook>,
    /// Must succeed after the switch, else the installation is rolled back.
    pub health: Option<HealthCheck>,
}

/// A program of the payload, run without a shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// Path in the payload tree.
    pub program: String,
    /// Arguments.
    pub args: Vec<String>,
    /// Environment, beside the few variables every hook gets.
    pub env: BTreeMap<String, String>,
    /// The program and all it started are ended after this many seconds.
    pub time_limit_s: u32,
    /// User to run as; none means the user the site runs as.
    pub run_as: Option<String>,
}

/// A health check: a hook tried several times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// What to run; exit code 0 is healthy.
    pub hook: Hook,
    /// How often it may fail before the installation is rolled back.
    pub attempts: u8,
    /// Pause between attempts in seconds.
    pub interval_s: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guids_are_written_one_way() {
        let plain = "8576527E-DDE7-4E3C-A0E1-6FB0F0A3B1C4";
        for text in [
            plain,
            "8576527e-dde7-4e3c-a0e1-6fb0f0a3b1c4",
            "{8576527E-DDE7-4E3C-A0E1-6FB0F0A3B1C4}",
        ] {
            assert_eq!(text.parse::<PackageGuid>().unwrap().to_string(), plain);
        }
        for wrong in [
            "",
            "{8576527E-DDE7-4E3C-A0E1-6FB0F0A3B1C4",
            "8576527EDDE74E3CA0E16FB0F0A3B1C4",
            "../../etc/passwd",
        ] {
            assert!(wrong.parse::<PackageGuid>().is_err(), "{wrong}");
        }
    }
}
