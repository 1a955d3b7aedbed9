//! The catalogue of endpoints as TOML: shipped with the program, brought by the feed, or an
//! administrator's own.

use std::collections::{BTreeMap, BTreeSet};

use domain::connectivity::{Address, Endpoint, Listing, Scheme};
use serde::Deserialize;

use super::CatalogueStamp;

/// Where a feed keeps its catalogue of endpoints.
pub const CATALOGUE_TARGET: &str = "config/endpoints.toml";

/// Largest catalogue that is read.
pub const BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most entries.
const ENTRIES_MAX: usize = 10_000;
/// Most stand-ins of one entry.
const PROBES_MAX: usize = 64;

/// The catalogue that comes with the program.
const SHIPPED: &str = include_str!("../../data/endpoints.toml");

/// A feature that endpoints belong to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feature {
    /// Stable name.
    pub name: String,
    /// For people.
    pub title: String,
    /// When it is checked.
    pub checked: String,
    /// Whether it still exists.
    pub current: bool,
}

/// A catalogue, read and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalogue {
    /// Which.
    pub stamp: CatalogueStamp,
    /// Features by name.
    pub features: BTreeMap<String, Feature>,
    /// Entries in their order.
    pub endpoints: Vec<Endpoint>,
}

/// Why a catalogue is refused.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// Not a catalogue. The text has line and column.
    #[error("{0}")]
    Syntax(String),
    /// Too much of it.
    #[error("a catalogue has at most {BYTES_MAX} bytes and {ENTRIES_MAX} entries")]
    TooLarge,
    /// Another form than this release reads.
    #[error("the catalogue has schema_version {found}; this release reads 1")]
    Version {
        /// Version found.
        found: u32,
    },
    /// An entry that cannot be.
    #[error("endpoint {id:?}: {field}: {problem}")]
    Entry {
        /// Entry.
        id: String,
        /// Field.
        field: &'static str,
        /// What is wrong and what to write.
        problem: String,
    },
}

#[derive(Deserialize)]
struct File {
    schema_version: u32,
    catalogue: String,
    newest_source: String,
    #[serde(default)]
    features: BTreeMap<String, FeatureTable>,
    #[serde(default)]
    endpoint: Vec<EndpointTable>,
}

#[derive(Deserialize)]
struct FeatureTable {
    title: String,
    #[serde(default)]
    checked: String,
    #[serde(default = "current")]
    status: String,
}

#[derive(Deserialize)]
struct EndpointTable {
    id: String,
    feature: String,
    pattern: String,
    host: String,
    #[serde(default = "https")]
    scheme: String,
    port: Option<u16>,
    path: Option<String>,
    #[serde(default)]
    wildcard: bool,
    probe: Option<Vec<String>>,
    probe_url: Option<String>,
    #[serde(default)]
    critical: bool,
    #[serde(default = "any")]
    cloud: String,
    #[serde(default = "scp")]
    roles: Vec<String>,
    #[serde(default = "current")]
    status: String,
    #[serde(default)]
    note: String,
}

fn current() -> String {
    "current".into()
}

fn https() -> String {
    "https".into()
}

fn any() -> String {
    "any".into()
}

fn scp() -> Vec<String> {
    vec!["scp".into()]
}

impl Catalogue {
    /// The catalogue that comes with the program.
    pub fn shipped() -> Result<Self, CatalogueError> {
        Self::parse(SHIPPED)
    }

    /// Reads and checks a catalogue.
    pub fn parse(text: &str) -> Result<Self, CatalogueError> {
        if text.len() > BYTES_MAX {
            return Err(CatalogueError::TooLarge);
        }
        let file: File = toml::from_str(text)
            .map_err(|failure| CatalogueError::Syntax(failure.to_string().trim_end().to_owned()))?;
        if file.schema_version != 1 {
            return Err(CatalogueError::Version {
                found: file.schema_version,
            });
        }
        if file.endpoint.len() > ENTRIES_MAX {
            return Err(CatalogueError::TooLarge);
        }
        let mut ids = BTreeSet::new();
        let mut endpoints = Vec::with_capacity(file.endpoint.len());
        for table in file.endpoint {
            let id = table.id.clone();
            let known = file.features.is_empty() || file.features.contains_key(&table.feature);
            if !known {
                return Err(wrong(&id, "feature", "names no feature of this catalogue"));
            }
            if !ids.insert(id.clone()) {
                return Err(wrong(&id, "id", "appears twice"));
            }
            endpoints.push(endpoint(table)?);
        }
        let features = file.features.into_iter().map(|(name, table)| {
            let feature = Feature {
                name: name.clone(),
                title: table.title,
                checked: table.checked,
                current: table.status == "current",
            };
            (name, feature)
        });
        Ok(Catalogue {
            stamp: CatalogueStamp {
                name: file.catalogue,
                version: file.newest_source,
            },
            features: features.collect(),
            endpoints,
        })
    }

    /// Features that every service connection point needs.
    pub fn always(&self) -> Vec<String> {
        let always = self
            .features
            .values()
            .filter(|feature| feature.checked == "always" && feature.current);
        always.map(|feature| feature.name.clone()).collect()
    }
}

fn wrong(id: &str, field: &'static str, problem: &str) -> CatalogueError {
    CatalogueError::Entry {
        id: id.chars().take(100).collect(),
        field,
        problem: problem.to_owned(),
    }
}

fn endpoint(table: EndpointTable) -> Result<Endpoint, CatalogueError> {
    let id = table.id.as_str();
    let scheme = match table.scheme.as_str() {
        "https" => Scheme::Https,
        "http" => Scheme::Http,
        _ => return Err(wrong(id, "scheme", "write http or https")),
    };
    let listing = match table.status.as_str() {
        "current" => Listing::Current,
        "deprecated" => Listing::Deprecated,
        "replaced" => Listing::Replaced,
        "delisted" => Listing::Delisted,
        "retired" => Listing::Retired,
        _ => {
            return Err(wrong(
                id,
                "status",
                "write current, deprecated, replaced, delisted or retired",
            ));
        }
    };
    if listing == Listing::Retired && table.critical {
        return Err(wrong(id, "critical", "what is retired is needed by nobody"));
    }
    let wildcard = table.wildcard || table.host.contains('*');
    let template = table.host.contains(['<', '{']);
    let probe = match table.probe {
        Some(probe) => probe,
        None if wildcard => {
            return Err(wrong(
                id,
                "probe",
                "name hosts that stand for the wildcard, or write []",
            ));
        }
        None if template => Vec::new(),
        None => vec![table.host.clone()],
    };
    if probe.len() > PROBES_MAX {
        return Err(wrong(id, "probe", "there are more than 64"));
    }
    for host in &probe {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':');
        if host.is_empty() || host.len() > 253 || !host.chars().all(plain) {
            return Err(wrong(
                id,
                "probe",
                "a stand-in is one host name or address, without wildcard",
            ));
        }
    }
    let probe_url = match &table.probe_url {
        Some(url) => Some(parse_address(url).map_err(|problem| wrong(id, "probe_url", &problem))?),
        None => None,
    };
    let path = table
        .path
        .filter(|path| path.starts_with('/') && !path.contains(['*', '<', '{', ' ']));
    Ok(Endpoint {
        port: table.port.unwrap_or(scheme.default_port()),
        id: table.id,
        feature: table.feature,
        pattern: table.pattern,
        wildcard,
        probe,
        probe_url,
        scheme,
        critical: table.critical,
        listing,
        roles: table.roles,
        cloud: table.cloud,
        path: path.unwrap_or_else(|| "/".into()),
        note: table.note,
    })
}

/// Reads a URL, or a host that is meant as one. What must not be in it is named.
pub fn parse_address(text: &str) -> Result<Address, String> {
    let full = match text.contains("://") {
        true => text.to_owned(),
        false => format!("https://{text}"),
    };
    let url = url::Url::parse(&full).map_err(|failure| format!("{text:?} is no URL: {failure}"))?;
    let scheme = match url.scheme() {
        "https" => Scheme::Https,
        "http" => Scheme::Http,
        other => return Err(format!("{other}: cannot be checked; write https:// or http://")),
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a URL to check has no user and no password".to_owned());
    }
    let host = url
        .host_str()
        .unwrap_or_default()
        .trim_matches(['[', ']'])
        .to_ascii_lowercase();
    if host.is_empty() || host.contains('*') {
        return Err(format!("{text:?} names no host; a wildcard cannot be resolved"));
    }
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    Ok(Address {
        scheme,
        host,
        port: url.port().unwrap_or(scheme.default_port()),
        path: format!("{}{query}", url.path()),
    })
}

#[cfg(test)]
mod tests {
    use domain::connectivity::{Plan, Selection};

    use super::*;

    #[test]
    fn i14_the_shipped_catalogue_is_sound() {
        let catalogue = Catalogue::shipped().unwrap();
        assert!(catalogue.endpoints.len() > 100);
        let ids: BTreeSet<&str> = catalogue
            .endpoints
            .iter()
            .map(|entry| entry.id.as_str())
            .collect();
        assert_eq!(ids.len(), catalogue.endpoints.len());
        for entry in &catalogue.endpoints {
            assert!(
                !(entry.critical && entry.listing == Listing::Retired),
                "{}",
                entry.id
            );
            assert!(entry.probe.iter().all(|host| !host.contains('*')), "{}", entry.id);
        }
        assert!(catalogue.always().contains(&"updates-and-servicing".to_owned()));
        assert_eq!(catalogue.stamp.version, "2026-06-08");
    }

    #[test]
    fn i11_retired_entries_are_tried_only_when_asked_for() {
        let catalogue = Catalogue::shipped().unwrap();
        let mut selection = Selection {
            features: catalogue.features.keys().cloned().collect(),
            cloud: "public".into(),
            ..Selection::default()
        };
        let mut plan = Plan::default();
        plan.add_catalogue(&catalogue.endpoints, &selection);
        let usual = plan.targets.len();
        assert!(plan.targets.iter().all(|target| !target.retired));
        selection.retired = true;
        let mut plan = Plan::default();
        plan.add_catalogue(&catalogue.endpoints, &selection);
        assert!(plan.targets.len() > usual);
        assert!(
            plan.targets
                .iter()
                .filter(|target| target.retired)
                .all(|target| !target.critical)
        );
        // Entries of other clouds and of other roles are not this server's to reach.
        assert!(
            plan.targets
                .iter()
                .all(|target| !target.address.host.ends_with(".cn"))
        );
    }

    #[test]
    fn refusals_name_the_entry() {
        let head = "schema_version = 1\ncatalogue = \"c\"\nnewest_source = \"2026-01-01\"\n";
        let entry = |rest: &str| {
            format!("{head}[[endpoint]]\nid = \"one\"\nfeature = \"f\"\npattern = \"p\"\n{rest}\n")
        };
        let check = |text: &str, part: &str| {
            let failure = Catalogue::parse(text).unwrap_err().to_string();
            assert!(failure.contains(part), "{failure}");
        };
        check("", "schema_version");
        check("schema_version = \"a\"", "line 1");
        check(&head.replace("1\n", "2\n"), "reads 1");
        check(&entry("host = \"*.a\""), "stand for the wildcard");
        check(&entry("host = \"a\"\nprobe = [\"*.a\"]"), "without wildcard");
        check(&entry("host = \"a\"\nscheme = \"ftp\""), "http or https");
        check(
            &entry("host = \"a\"\nstatus = \"retired\"\ncritical = true"),
            "retired",
        );
        check(
            &format!(
                "{}{}",
                entry("host = \"a\""),
                &entry("host = \"a\"")[head.len()..]
            ),
            "twice",
        );
        let sound = Catalogue::parse(&entry("host = \"a.example\"")).unwrap();
        assert_eq!(sound.endpoints[0].probe, ["a.example"]);
    }

    #[test]
    fn addresses() {
        for (text, shown) in [
            ("updates.example", "https://updates.example/"),
            (
                "http://Updates.example:8080/a?b=c",
                "http://updates.example:8080/a",
            ),
            ("https://[::1]:8443", "https://[::1]:8443/"),
        ] {
            assert_eq!(parse_address(text).unwrap().shown(), shown);
        }
        for text in ["", "ftp://a", "https://u:p@a", "https://*.example", "https://"] {
            parse_address(text).unwrap_err();
        }
    }
}
