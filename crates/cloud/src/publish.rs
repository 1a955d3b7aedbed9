//! `cloud publish`, `cloud withdraw` and the rollout share: changes to the packages of a feed.
//!
//! Content is durable before metadata names it, and the metadata changes in one step, so a crash at any point leaves
//! the feed as it was; running the same command again completes it. A published package never changes: the same input
//! is recognised and does nothing, other content under its GUID is refused.

use std::path::{Path, PathBuf};

use content::deltas::DeltaOptions;
use content::publish::{Progress, PublishOptions};
use domain::servicing::package::{PackageGuid, PackageRecord, PayloadReference, Redistributable};
use domain::servicing::rule::Rule;
use feed::publisher::{Publisher, TargetRecord};

use crate::deltas;
use crate::error::{CloudError, io};
use crate::files::{self, ServiceDir};
use crate::history::{self, Change, Did, Stamp};
use crate::package_toml::{self, PackageDescription};
use crate::service::{lock, open};
use crate::settings::Settings;
use crate::shards::{self, Shard};

/// How many of the newest packages a payload may share content with: enough for several lines of releases, little
/// enough that their indexes fit into memory.
const SHARED_WITH_MAX: usize = 64;
/// zstd's level where nothing else is asked for: a payload is compressed once and downloaded often.
pub const LEVEL: i32 = 19;

/// A package to publish.
#[derive(Debug, Clone)]
pub struct PublishRequest {
    /// The service folder.
    pub dir: PathBuf,
    /// The description.
    pub package_toml: PathBuf,
    /// A folder or an archive.
    pub payload: PathBuf,
    /// zstd level, 1 to 22.
    pub level: i32,
    /// From which packages deltas are made.
    pub deltas: Bases,
    /// About how much memory deltas are made with, in bytes.
    pub delta_memory: u64,
}

impl PublishRequest {
    /// A request with what is best for nearly everybody.
    pub fn new(
        dir: impl Into<PathBuf>,
        package_toml: impl Into<PathBuf>,
        payload: impl Into<PathBuf>,
    ) -> Self {
        PublishRequest {
            dir: dir.into(),
            package_toml: package_toml.into(),
            payload: payload.into(),
            level: LEVEL,
            deltas: Bases::default(),
            delta_memory: DeltaOptions::default().memory,
        }
    }
}

/// From which packages deltas are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bases {
    /// From so many packages with the next lower versions.
    Newest(usize),
    /// From these.
    Packages(Vec<PackageGuid>),
}

impl Default for Bases {
    fn default() -> Self {
        Bases::Newest(1)
    }
}

/// What became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct PublishReport {
    /// The record as published.
    pub record: PackageRecord,
    /// The very same package was there already; nothing was changed.
    pub already_published: bool,
    /// Compressed bytes that were added to the feed for it.
    pub new_bytes: u64,
    /// Packs added for it.
    pub new_packs: usize,
}

/// What publishing is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The payload.
    Payload(Progress),
    /// Deltas from one base.
    Deltas {
        /// Bytes of files that were looked at.
        done: u64,
        /// Of so many.
        total: u64,
    },
}

/// Publishes a package.
pub fn publish(
    request: &PublishRequest,
    stamp: impl Into<Stamp>,
    progress: &mut dyn FnMut(Step),
) -> Result<PublishReport, CloudError> {
    let (dir, stamp) = (ServiceDir::new(&request.dir), stamp.into());
    Settings::load(&dir)?;
    if !(1..=22).contains(&request.level) {
        let detail = format!("{} is no zstd level; they go from 1 to 22", request.level);
        return Err(CloudError::Invalid {
            what: "level",
            detail,
        });
    }
    let bytes = files::read_bounded(&request.package_toml, package_toml::BYTES_MAX)?;
    let source = String::from_utf8(bytes).map_err(|error| CloudError::Invalid {
        what: "package.toml",
        detail: format!("{} is no UTF-8 text: {error}", request.package_toml.display()),
    })?;
    let description = package_toml::parse(&request.package_toml, &source)?;
    let redistributables = measure_redistributables(request, &description)?;
    let _lock = lock(&dir)?;
    let guid = description.record.guid;
    let (older, known) = {
        let feed = open(&dir)?;
        let (_, known) = Shard::of(&feed, guid)?;
        let older = match &known {
            // Against itself alone, the same tree gives the same index.
            Some(known) => vec![feed.target_file(&known.payload.index_target, &known.payload.index_sha256)],
            None => shards::newest_indexes(&feed, SHARED_WITH_MAX)?,
        };
        (older, known)
    };
    // What is only compared must not leave a trace in the feed.
    let work = Scratch::new(&dir, guid)?;
    let targets = if known.is_some() {
        work.path.join("compared")
    } else {
        dir.targets()
    };
    files::create_folders(&targets)?;
    let options = PublishOptions {
        level: request.level,
        ..PublishOptions::default()
    };
    let unusable = |source| CloudError::Payload {
        payload: request.payload.clone(),
        source,
    };
    let published = content::publish::publish(
        &request.payload,
        &work.path,
        &targets,
        &older,
        &options,
        &mut |step| {
            progress(Step::Payload(step));
        },
    )
    .map_err(unusable)?;
    description.check_programs(&published.executables)?;
    let mut record = record_of(&description, &published, &redistributables);
    if let Some(known) = known {
        return compare(record, known);
    }
    let deltas = deltas::make(
        &dir,
        request,
        &record,
        &published.index_bytes_path,
        work.path(),
        progress,
    )?;
    record.payload.deltas = deltas.iter().map(|made| made.reference.clone()).collect();
    // What a site would not read must not be signed.
    protocol::catalogue::parse_line(&protocol::catalogue::to_line(&record))
        .map_err(|error| description.record_error(error.to_string()))?;

    let mut feed = open(&dir)?;
    let payload = &record.payload;
    files::adopt(
        &published.index_bytes_path,
        &feed.target_file(&payload.index_target, &payload.index_sha256),
    )?;
    for (redist, file) in &redistributables {
        put_redistributable(&feed, redist, file)?;
    }
    for made in &deltas {
        let reference = &made.reference;
        files::adopt(
            &made.index_path,
            &feed.target_file(&reference.index_target, &reference.index_sha256),
        )?;
        set(
            &mut feed,
            &made.pack.target,
            &made.pack.sha256.to_string(),
            made.pack.length,
        )?;
        set(
            &mut feed,
            &reference.index_target,
            &reference.index_sha256,
            reference.index_length,
        )?;
    }
    for pack in &published.packs {
        set(&mut feed, &pack.target, &pack.sha256.to_string(), pack.length)?;
    }
    set(
        &mut feed,
        &payload.index_target,
        &payload.index_sha256,
        payload.index_length,
    )?;
    for (redist, _) in &redistributables {
        set(&mut feed, &redist.target, &redist.sha256, redist.length)?;
    }
    Shard::of(&feed, guid)?.0.put(&mut feed, &record)?;
    let offered = format!("offered to {} %", record.rollout_percent);
    history::commit(
        &mut feed,
        &dir,
        &stamp,
        Change::of(Did::Published, &record, offered),
    )?;
    shards::prune(&feed, guid)?;
    tracing::info!(package = %guid, version = %record.full_version, "published");
    let delta_bytes: u64 = deltas.iter().map(|made| made.pack.length).sum();
    let (new_bytes, new_packs) = (
        published.new_bytes + delta_bytes,
        published.packs.len() + deltas.len(),
    );
    Ok(PublishReport {
        record,
        already_published: false,
        new_bytes,
        new_packs,
    })
}

/// The record of a package whose payload and redistributables were measured.
pub(crate) fn record_of(
    description: &PackageDescription,
    published: &content::publish::Published,
    redistributables: &[(Redistributable, PathBuf)],
) -> PackageRecord {
    let mut record = description.record.clone();
    record.payload = PayloadReference {
        index_target: format!("payloads/{}/index", record.guid),
        index_sha256: published.index_sha256.to_string(),
        index_length: published.index_length,
        files: published.files,
        bytes: published.bytes,
        download_bytes: published.download_bytes,
        deltas: Vec::new(),
    };
    record.redistributables = redistributables
        .iter()
        .map(|(redist, _)| redist.clone())
        .collect();
    record
}

/// Takes a package back: sites no longer offer it, and tell why.
pub fn withdraw(
    dir: &Path,
    guid: PackageGuid,
    reason: &str,
    stamp: impl Into<Stamp>,
) -> Result<bool, CloudError> {
    let reason = reason.trim();
    if reason.is_empty() || reason.len() > 1_000 || reason.chars().any(char::is_control) {
        let detail = "administrators are told why: write one line of at most 1000 bytes".to_owned();
        return Err(CloudError::Invalid {
            what: "reason",
            detail,
        });
    }
    change(dir, guid, &stamp.into(), Did::Withdrew, |record| {
        record.withdrawn = Some(reason.to_owned());
        Ok(reason.to_owned())
    })
}

/// How a roll-out changes. What is not named stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rollout {
    /// Share of hierarchies, 0 to 100.
    pub percent: Option<u8>,
    /// Rule over facts of a site, or no rule.
    pub when: Option<Option<String>>,
}

impl Rollout {
    /// Another share, and nothing else.
    pub fn share(percent: u8) -> Self {
        Rollout {
            percent: Some(percent),
            when: None,
        }
    }
}

/// Changes to whom a package is offered. The rule is signed with the package and evaluated by each site, which shows
/// it with what it found.
pub fn rollout(
    dir: &Path,
    guid: PackageGuid,
    rollout: &Rollout,
    stamp: impl Into<Stamp>,
) -> Result<bool, CloudError> {
    let invalid = |detail: String| CloudError::Invalid {
        what: "rollout",
        detail,
    };
    if let Some(percent) = rollout.percent.filter(|percent| *percent > 100) {
        return Err(invalid(format!("{percent} percent; a share goes from 0 to 100")));
    }
    if let Some(Some(rule)) = &rollout.when {
        Rule::parse(rule).map_err(|problem| invalid(format!("the rule {rule:?}: {problem}")))?;
    }
    change(dir, guid, &stamp.into(), Did::RolledOut, |record| {
        if record.withdrawn.is_some() {
            return Err(CloudError::Withdrawn { guid });
        }
        let before = record.rollout_percent;
        if let Some(percent) = rollout.percent {
            record.rollout_percent = percent;
        }
        if let Some(when) = &rollout.when {
            record.rollout_when.clone_from(when);
        }
        let to = match &record.rollout_when {
            Some(rule) => format!(", where {rule}"),
            None => String::new(),
        };
        Ok(format!("{before} % to {} %{to}", record.rollout_percent))
    })
}

/// Every package of the feed, by release date and GUID.
pub fn packages(dir: &Path) -> Result<Vec<PackageRecord>, CloudError> {
    let dir = ServiceDir::new(dir);
    Settings::load(&dir)?;
    let mut all = Vec::new();
    shards::for_each(&open(&dir)?, |record| all.push(record))?;
    all.sort_by_key(|record| (record.released, record.guid));
    Ok(all)
}

/// One package of the feed.
pub(crate) fn package(dir: &Path, guid: PackageGuid) -> Result<PackageRecord, CloudError> {
    let dir = ServiceDir::new(dir);
    Settings::load(&dir)?;
    let (_, record) = Shard::of(&open(&dir)?, guid)?;
    record.ok_or(CloudError::NoSuchPackage { guid })
}

/// Changes one record; `edit` says in words what it did. Says whether that made a difference.
fn change(
    dir: &Path,
    guid: PackageGuid,
    stamp: &Stamp,
    did: Did,
    edit: impl FnOnce(&mut PackageRecord) -> Result<String, CloudError>,
) -> Result<bool, CloudError> {
    let dir = ServiceDir::new(dir);
    Settings::load(&dir)?;
    let _lock = lock(&dir)?;
    let mut feed = open(&dir)?;
    let (shard, record) = Shard::of(&feed, guid)?;
    let mut record = record.ok_or(CloudError::NoSuchPackage { guid })?;
    let before = record.clone();
    let detail = edit(&mut record)?;
    if record == before {
        return Ok(false);
    }
    shard.put(&mut feed, &record)?;
    let change = Change::of(did, &record, detail).with_share(before.rollout_percent, record.rollout_percent);
    history::commit(&mut feed, &dir, stamp, change)?;
    shards::prune(&feed, guid)?;
    Ok(true)
}

/// The same GUID again: the same package, or refused. Rollout and withdrawal are changed by their own commands.
fn compare(mut record: PackageRecord, known: PackageRecord) -> Result<PublishReport, CloudError> {
    let guid = known.guid;
    if known.withdrawn.is_some() {
        return Err(CloudError::Withdrawn { guid });
    }
    record.rollout_percent = known.rollout_percent;
    record.rollout_when.clone_from(&known.rollout_when);
    // The index names every byte of the payload; the figures beside it follow from it.
    if record.payload.index_sha256 == known.payload.index_sha256 {
        record.payload = known.payload.clone();
    }
    if record != known {
        return Err(CloudError::DifferentContent { guid });
    }
    Ok(PublishReport {
        record: known,
        already_published: true,
        new_bytes: 0,
        new_packs: 0,
    })
}

pub(crate) fn measure_redistributables(
    request: &PublishRequest,
    description: &PackageDescription,
) -> Result<Vec<(Redistributable, PathBuf)>, CloudError> {
    let folder = request.package_toml.parent().unwrap_or(Path::new(""));
    let guid = description.record.guid;
    let mut found = Vec::new();
    for source in &description.redistributables {
        let file = folder.join(&source.file);
        let (length, sha256) = files::measure(&file).map_err(|error| {
            let cause = std::error::Error::source(&error).map_or(String::new(), |cause| format!(": {cause}"));
            description.redistributable_error(source, &format!("{error}{cause}"))
        })?;
        let (name, target) = (source.name.clone(), format!("redist/{guid}/{}", source.name));
        found.push((
            Redistributable {
                name,
                target,
                length,
                sha256,
            },
            file,
        ));
    }
    Ok(found)
}

fn put_redistributable(feed: &Publisher, redist: &Redistributable, file: &Path) -> Result<(), CloudError> {
    let path = feed.target_file(&redist.target, &redist.sha256);
    files::adopt(file, &path)?;
    let (length, sha256) = files::measure(&path)?;
    if (length, &sha256) != (redist.length, &redist.sha256) {
        let error = std::io::Error::other("it changed while it was being published; run the command again");
        return Err(io("publish", file)(error));
    }
    Ok(())
}

fn set(feed: &mut Publisher, target: &str, sha256: &str, length: u64) -> Result<(), CloudError> {
    let record = TargetRecord {
        length,
        sha256: sha256.to_owned(),
        custom: None,
    };
    Ok(feed.set_target(target, &record)?)
}

/// A folder for the work on one package, gone afterwards.
pub(crate) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn new(dir: &ServiceDir, guid: PackageGuid) -> Result<Self, CloudError> {
        let path = dir.scratch().join(guid.to_string());
        // What a crash left is of no use.
        match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(io("empty", &path)(error));
            }
            _ => {}
        }
        files::create_private_folder(&path)?;
        Ok(Self { path })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            tracing::warn!(folder = %self.path.display(), %error, "could not remove a work folder");
        }
    }
}
