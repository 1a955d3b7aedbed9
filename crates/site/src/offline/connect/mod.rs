//! The step with internet access: uploads the reports that hierarchies prepared, reads their feeds with every
//! check of TUF, and puts on the medium what they lack.
//!
//! Content lies on the medium before the description that names it; what is there already is not fetched
//! again, so a run that was cut off goes on.

mod feed;
mod fetch;
mod plan;
mod select;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cloud_client::{HttpsOptions, Intake, Proxy, ProxySettings, Uploaded};
use executive::Clock;
use jiff::Timestamp;
use protocol::transfer::{
    Bundle, BundleHierarchy, CABINET_BYTES_MAX, Cabinet, CabinetError, SiteStatement, read,
};
use protocol::usage::Receipt;
use sha2::{Digest, Sha256};

use super::medium::{Medium, MediumError, io};
use crate::context::whole_story;
use crate::directory::write_durably;

pub use select::Scope;

/// Most cabinets of one run.
const CABINETS_MAX: usize = 2_000;

/// What to do.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// A cabinet, or a folder of several.
    pub source: PathBuf,
    /// The medium's folder.
    pub destination: PathBuf,
    /// Which packages.
    pub scope: Scope,
    /// Proxy, or a direct way.
    pub proxy: Option<ProxySettings>,
    /// Only say what would be fetched; nothing is uploaded and no content is fetched.
    pub plan_only: bool,
}

/// What happened, for whoever looks.
#[derive(Debug, Clone)]
pub enum Step {
    /// In a few words.
    Doing(String),
    /// Bytes of content fetched, of how many.
    Fetched(u64, u64),
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Connected {
    /// Per hierarchy.
    pub hierarchies: Vec<ConnectedHierarchy>,
    /// Cabinets that could not be read, with the reason.
    pub refused: Vec<(PathBuf, String)>,
    /// Bytes of content that were not on the medium.
    pub fetched_bytes: u64,
    /// Bytes of content that the hierarchies lack together.
    pub content_bytes: u64,
}

/// What came of a hierarchy.
#[derive(Debug, Clone)]
pub struct ConnectedHierarchy {
    /// Its part of the bundle.
    pub bundle: BundleHierarchy,
    /// Site version.
    pub site_version: String,
    /// Whether its report was uploaded; none if it has none.
    pub uploaded: Option<Result<(), String>>,
}

/// Why nothing was put on the medium.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The medium.
    #[error(transparent)]
    Medium(#[from] MediumError),
    /// No cabinet there.
    #[error("{folder} has no cabinet in it; `tidegate tool prepare` on a site makes one")]
    NoCabinet {
        /// Where.
        folder: PathBuf,
    },
    /// None that can be read.
    #[error("{path}: {why}")]
    Cabinet {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// Another release.
    #[error("{path} was prepared by tidegate {found}; this is {ours}: use the release of the site")]
    Version {
        /// Which.
        path: PathBuf,
        /// Release of the site.
        found: String,
        /// Release of this program.
        ours: &'static str,
    },
    /// The feed.
    #[error("the feed {feed}: {why}")]
    Feed {
        /// Address.
        feed: String,
        /// Why, with the reason's word.
        why: String,
    },
    /// Not enough room.
    #[error("{folder} has {free} bytes free, and {needed} are needed")]
    Space {
        /// Medium.
        folder: PathBuf,
        /// Free bytes.
        free: u64,
        /// Needed bytes.
        needed: u64,
    },
    /// Content could not be fetched.
    #[error("{0}")]
    Content(String),
}

/// A cabinet with where it was found.
struct Found {
    path: PathBuf,
    cabinet: Cabinet,
}

/// Carries it out.
pub async fn connect(
    options: &ConnectOptions,
    clock: &Clock,
    tell: &(dyn Fn(Step) + Send + Sync),
) -> Result<Connected, ConnectError> {
    let medium = Medium::new(&options.destination);
    std::fs::create_dir_all(medium.root()).map_err(io("create", medium.root()))?;
    let (found, refused) = cabinets(options, &medium)?;
    let mut feeds: BTreeMap<String, Vec<Found>> = BTreeMap::new();
    for found in found {
        feeds
            .entry(found.cabinet.site.feed.clone())
            .or_default()
            .push(found);
    }
    let mut whole = Connected {
        hierarchies: Vec::new(),
        refused,
        fetched_bytes: 0,
        content_bytes: 0,
    };
    for (url, found) in &feeds {
        one_feed(options, url, found, &medium, clock, tell, &mut whole).await?;
    }
    if !options.plan_only {
        let mut hierarchies: Vec<BundleHierarchy> = whole
            .hierarchies
            .iter()
            .map(|hierarchy| hierarchy.bundle.clone())
            .collect();
        // A medium may go round: what it holds for others stays named.
        let named: BTreeSet<String> = hierarchies.iter().map(|part| part.hierarchy.clone()).collect();
        if let Ok(before) = medium.bundle() {
            hierarchies.extend(
                before
                    .hierarchies
                    .into_iter()
                    .filter(|part| !named.contains(&part.hierarchy)),
            );
        }
        let bundle = Bundle::new(env!("CARGO_PKG_VERSION"), clock.now(), hierarchies);
        let path = medium.bundle_file();
        write_durably(&path, &bundle.to_bytes(), 0o644).map_err(io("write", &path))?;
    }
    Ok(whole)
}

async fn one_feed(
    options: &ConnectOptions,
    url: &str,
    found: &[Found],
    medium: &Medium,
    clock: &Clock,
    tell: &(dyn Fn(Step) + Send + Sync),
    whole: &mut Connected,
) -> Result<(), ConnectError> {
    let name = feed_name(url);
    let now = clock.now();
    let https = https_options(options, found);
    tell(Step::Doing(format!("reading the feed {url}")));
    let mut feed = feed::Feed::open(url, medium.feed(&name), &https, options.plan_only)?;
    let mut selected = Vec::new();
    for found in found {
        selected.push(feed.select(&found.cabinet, options.scope, now).await?);
    }
    let needs = found.iter().zip(&selected).flat_map(|(found, packages)| {
        packages.iter().map(|package| plan::Need {
            package,
            content: &found.cabinet.content,
        })
    });
    let choice = plan::choose_for(&needs.collect::<Vec<_>>());
    let plan = &choice.plan;
    let content = medium.content(&name);
    let wanted = plan.bytes();
    let missing = plan.missing(&content)?;
    whole.content_bytes += wanted;
    whole.fetched_bytes += missing.iter().map(fetch::Run::bytes).sum::<u64>();
    if !options.plan_only {
        fetch::check_room(medium.root(), &missing)?;
        fetch::fetch(feed.transport(), &content, &missing, tell).await?;
        for delta in &choice.deltas {
            feed.place_delta(delta)?;
        }
        feed.place_metadata()?;
        let kept = medium.bundle().is_ok_and(|before| {
            let named: BTreeSet<&str> = found
                .iter()
                .map(|found| found.cabinet.site.hierarchy.as_str())
                .collect();
            before
                .hierarchies
                .iter()
                .any(|part| part.feed == name && !named.contains(part.hierarchy.as_str()))
        });
        if !kept {
            plan.remove_rest(&content)?;
        }
    }
    let mut bytes = choice.bytes.into_iter();
    for (found, packages) in found.iter().zip(selected) {
        let site = &found.cabinet.site;
        let takes = feed.intake(now).await;
        let uploaded = match (&found.cabinet.report, options.plan_only) {
            // A vendor that takes no usage data is no failure.
            (Some(_), false) if matches!(takes, Ok(None)) => None,
            (Some(report), false) => {
                tell(Step::Doing(format!(
                    "sending the report of {}",
                    found.path.display()
                )));
                Some(upload(&mut feed, &https, url, (site, report), medium, now).await)
            }
            _ => None,
        };
        whole.hierarchies.push(ConnectedHierarchy {
            bundle: BundleHierarchy {
                hierarchy: site.hierarchy.clone(),
                feed: name.clone(),
                packages: packages
                    .iter()
                    .zip(bytes.by_ref())
                    .map(|(package, bytes)| package.named(bytes))
                    .collect(),
                report: site.report.clone().filter(|_| matches!(uploaded, Some(Ok(())))),
                report_problem: uploaded.as_ref().and_then(|uploaded| uploaded.clone().err()),
            },
            site_version: site.site_version.clone(),
            uploaded,
        });
    }
    Ok(())
}

/// A folder name for a feed: the same for the same address.
fn feed_name(url: &str) -> String {
    hex::encode(Sha256::digest(url))[..16].to_owned()
}

fn https_options(options: &ConnectOptions, found: &[Found]) -> HttpsOptions {
    let certificates: BTreeSet<Vec<u8>> = found
        .iter()
        .map(|found| found.cabinet.ca.clone())
        .filter(|ca| !ca.is_empty())
        .collect();
    HttpsOptions {
        extra_roots_pem: certificates.into_iter().collect(),
        proxy: options.proxy.clone().map(Proxy::new),
        ..HttpsOptions::default()
    }
}

/// Every cabinet of the source, and those that sites wrote after an import: per hierarchy the newest says
/// what the site has; a report that only an older one carries goes with it.
type Cabinets = (Vec<Found>, Vec<(PathBuf, String)>);

fn cabinets(options: &ConnectOptions, medium: &Medium) -> Result<Cabinets, ConnectError> {
    let mut paths = match options.source.is_dir() {
        true => listed(&options.source)?,
        false => vec![options.source.clone()],
    };
    let own = paths.len();
    if medium.arrived().is_dir() {
        paths.extend(listed(&medium.arrived())?);
    }
    if own == 0 {
        return Err(ConnectError::NoCabinet {
            folder: options.source.clone(),
        });
    }
    let mut newest: BTreeMap<String, Found> = BTreeMap::new();
    let mut refused = Vec::new();
    for (at, path) in paths.into_iter().enumerate() {
        match read_cabinet(&path) {
            Ok(cabinet) if cabinet.site.program != env!("CARGO_PKG_VERSION") => {
                return Err(ConnectError::Version {
                    path,
                    found: cabinet.site.program,
                    ours: env!("CARGO_PKG_VERSION"),
                });
            }
            Ok(cabinet) => merge(&mut newest, Found { path, cabinet }, at < own),
            Err(failure) => refused.push((path, whole_story(&failure))),
        }
    }
    match (newest.is_empty(), refused.first()) {
        (true, Some((path, why))) => Err(ConnectError::Cabinet {
            path: path.clone(),
            why: why.clone(),
        }),
        _ => Ok((newest.into_values().collect(), refused)),
    }
}

/// Takes a cabinet in: what a site wrote later counts, and only for hierarchies that the source names.
fn merge(newest: &mut BTreeMap<String, Found>, found: Found, of_source: bool) {
    let key = found.cabinet.site.hierarchy.clone();
    match newest.get_mut(&key) {
        None if of_source => {
            newest.insert(key, found);
        }
        None => {}
        Some(known) => {
            let same_key = known.cabinet.site.public_key == found.cabinet.site.public_key;
            if !same_key || found.cabinet.site.at <= known.cabinet.site.at {
                return;
            }
            let (report, site) = (known.cabinet.report.take(), known.cabinet.site.clone());
            *known = found;
            if known.cabinet.report.is_none() {
                known.cabinet.report = report;
                known.cabinet.site.report = site.report;
                known.cabinet.site.report_sha256 = site.report_sha256;
            }
        }
    }
}

fn listed(folder: &Path) -> Result<Vec<PathBuf>, ConnectError> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io("read", folder))? {
        let path = entry.map_err(io("read", folder))?.path();
        let is_cabinet = path
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("cab"));
        if is_cabinet && path.is_file() && paths.len() < CABINETS_MAX {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn read_cabinet(path: &Path) -> Result<Cabinet, CabinetError> {
    use std::io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(CABINET_BYTES_MAX + 1)
        .read_to_end(&mut bytes)?;
    read(&bytes)
}

/// Uploads a report and puts its receipt on the medium.
async fn upload(
    feed: &mut feed::Feed,
    https: &HttpsOptions,
    url: &str,
    (site, sealed): (&SiteStatement, &[u8]),
    medium: &Medium,
    now: Timestamp,
) -> Result<(), String> {
    let (Some(report), Some(sha256)) = (&site.report, &site.report_sha256) else {
        return Err("the cabinet does not say which report it carries".into());
    };
    let config = feed.intake(now).await?.ok_or("the feed takes no usage data")?;
    let address = config.url(url).map_err(|failure| failure.to_string())?;
    let intake = Intake::new(https).map_err(|failure| whole_story(&failure))?;
    let uploaded = intake.upload(&address, report, &sealed.to_vec().into()).await;
    match uploaded.map_err(|failure| failure.to_string())? {
        Uploaded::Refused { status, why } => Err(format!("the service answered {status}: {why}")),
        Uploaded::Receipt(text) => {
            let keys = &config.receipt_keys;
            Receipt::verify(text.trim_ascii(), keys, report, sha256)
                .map_err(|failure| failure.to_string())?;
            let path = medium.receipt(report);
            let placed = path.parent().map_or(Ok(()), std::fs::create_dir_all);
            placed
                .and_then(|()| write_durably(&path, &text, 0o644))
                .map_err(|failure| format!("cannot write {}: {failure}", path.display()))
        }
    }
}

/// What a shared transport is called here.
type SharedTransport = Arc<dyn ::feed::Transport>;
