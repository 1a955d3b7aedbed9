//! One synchronisation cycle: refresh the trusted metadata, take over the changed shards of the
//! catalogue, hand them to the hierarchy manager.
//!
//! Until every changed shard is verified on disk nothing in the database changes; then all of it
//! changes in one transaction.

use std::path::PathBuf;
use std::sync::Arc;

use domain::component::ComponentName;
use domain::servicing::state_message::StateMessage as M;
use executive::{Activation, ComponentError};
use feed::{FeedClient, FeedError, FolderTrust, Limits, Reason};
use protocol::catalogue;
use protocol::connectivity::{CATALOGUE_BYTES_MAX, CATALOGUE_TARGET, Catalogue};
use protocol::notice::{NOTICES_TARGET, SERVICE_TARGET};
use protocol::transfer::HOTFIX_TARGET;
use protocol::usage::{CONFIG_BYTES_MAX, CONFIG_TARGET};
use sha2::{Digest, Sha256};
use store::{ListedPackage, StoreError};

use crate::context::{SiteContext, WHOLE_SYNC, state_message, whole_story};
use crate::offline::feed_time;
use crate::way_out;

/// The delegated role whose targets are the shards of the catalogue.
pub const CATALOGUE_ROLE: &str = "catalogue";
/// No generation of the catalogue has this number.
const NEVER: i64 = -1;

/// Runs a cycle. A feed that cannot be reached or believed is no failure of this component: it is
/// recorded with its reason, nothing else changes, and the reason is returned.
pub async fn synchronise(
    context: &Arc<SiteContext>,
    cx: &mut Activation<'_>,
) -> Result<Option<String>, ComponentError> {
    if context.internet.mode().may_connect() {
        cx.progress("checking internet access");
        crate::internet::before(context, "a check for updates", cx.now()).await;
    }
    let now = cx.now();
    cx.progress("checking the feed for updates");
    context
        .store
        .write::<_, StoreError, _>(move |tx| {
            tx.record_sync_started(now)?;
            state_message(tx, M::StartProcess, WHOLE_SYNC, "", now)?;
            state_message(tx, M::StartVerifyManifest, WHOLE_SYNC, "", now)
        })
        .await?;
    match take_over(context, cx).await {
        Ok(roles) => {
            let now = cx.now();
            let next_at = cx.jittered_next(context.settings.check_interval);
            context
                .store
                .write::<_, StoreError, _>(move |tx| {
                    state_message(tx, M::ManifestDownloaded, WHOLE_SYNC, "", now)?;
                    // A new cycle is a new chance for what the last one gave up.
                    tx.clear_attempts(None)?;
                    tx.record_sync_succeeded(now, next_at, &roles)?;
                    // Applicability is evaluated after every check, also when the catalogue is the same.
                    tx.record_evaluated(NEVER)
                })
                .await?;
            context.wake(ComponentName::HierarchyManager);
            Ok(None)
        }
        Err(SyncFailure::Local(failure)) => Err(failure),
        Err(SyncFailure::Feed(failure)) => {
            let reason = failure.reason();
            record_failure(context, cx, reason, whole_story(&failure))
                .await
                .map(Some)
        }
        Err(SyncFailure::Catalogue(problem)) => record_failure(context, cx, Reason::Malformed, problem)
            .await
            .map(Some),
    }
}

enum SyncFailure {
    Feed(FeedError),
    Catalogue(String),
    Local(ComponentError),
}

impl From<FeedError> for SyncFailure {
    fn from(failure: FeedError) -> Self {
        SyncFailure::Feed(failure)
    }
}

impl From<StoreError> for SyncFailure {
    fn from(failure: StoreError) -> Self {
        SyncFailure::Local(failure.into())
    }
}

/// Refreshes the metadata and stores the changed shards; returns the role versions as JSON.
async fn take_over(context: &Arc<SiteContext>, cx: &mut Activation<'_>) -> Result<String, SyncFailure> {
    let transport = way_out::transport(context, 0).map_err(SyncFailure::Local)?;
    let trust = FolderTrust::open(context.directory.trust())?;
    let mut client = FeedClient::new(transport, trust, Limits::default())?;
    let refreshed = client.refresh(feed_time(context, cx.now())).await?;
    let now = cx.now();
    context
        .store
        .write::<_, StoreError, _>(move |tx| {
            state_message(tx, M::StartVerifyManifestFileTrusted, WHOLE_SYNC, "", now)?;
            state_message(tx, M::VerifiedManifest, WHOLE_SYNC, "", now)
        })
        .await?;
    tracing::info!(
        "the feed is trusted: timestamp version {}, {}",
        refreshed.after.timestamp.map_or(0, |role| role.version),
        if refreshed.changed {
            "changed since the last check"
        } else {
            "unchanged"
        }
    );
    let roles = serde_json::to_string(&way_out::role_versions(&refreshed)).unwrap_or_default();
    let known = context.store.read::<_, StoreError, _>(|tx| tx.shards()).await?;
    // Whether the metadata changed says nothing about whether an earlier take-over got to its end: only the
    // hashes of what is stored do. A role that is trusted already costs no request.
    let listed = client
        .delegated_targets(CATALOGUE_ROLE, feed_time(context, cx.now()))
        .await?;
    let folder = context.directory.catalogue();
    std::fs::create_dir_all(&folder).map_err(|source| {
        SyncFailure::Local(ComponentError::new(format!(
            "cannot create {}: {source}",
            folder.display()
        )))
    })?;
    let mut fresh: Vec<(String, String, PathBuf)> = Vec::new();
    for target in &listed {
        let Some(sha256) = target.sha256.clone() else {
            return Err(SyncFailure::Catalogue(format!(
                "{} is signed without a SHA-256",
                target.path
            )));
        };
        if known
            .iter()
            .any(|(name, hash)| *name == target.path && *hash == sha256)
        {
            continue;
        }
        if target.length > catalogue::SHARD_BYTES_MAX {
            return Err(SyncFailure::Catalogue(format!(
                "{} has {} bytes, more than the {} a catalogue shard may have",
                target.path,
                target.length,
                catalogue::SHARD_BYTES_MAX
            )));
        }
        let path = folder.join(&sha256);
        client.download_target(target, &path, &mut |_| {}).await?;
        fresh.push((target.path.clone(), sha256, path));
    }
    let gone: Vec<String> = known
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| !listed.iter().any(|t| t.path == *name))
        .collect();
    let removable: Vec<PathBuf> = fresh.iter().map(|(_, _, path)| path.clone()).collect();
    let changed = fresh.len() + gone.len();
    context
        .store
        .write(move |tx| {
            for (name, sha256, path) in &fresh {
                let packages = read_shard(name, path)?;
                tx.store_shard(name, &packages, now)?;
                tx.record_shard(name, Some(sha256))?;
            }
            for name in &gone {
                tx.store_shard(name, &[], now)?;
                tx.record_shard(name, None)?;
            }
            Ok::<_, ShardError>(())
        })
        .await
        .map_err(|failure| match failure {
            ShardError::Store(failure) => SyncFailure::Local(failure.into()),
            ShardError::Content(problem) => SyncFailure::Catalogue(problem),
        })?;
    tracing::info!("{changed} catalogue shard(s) taken over");
    for path in removable {
        if let Err(failure) = std::fs::remove_file(&path) {
            tracing::info!("{} stays behind: {failure}", path.display());
        }
    }
    take_endpoints(context, cx, &mut client).await?;
    let intake = (CONFIG_TARGET, context.directory.usage_intake());
    if take_config(context, cx, &mut client, intake).await? {
        context.wake(ComponentName::DmpUploader);
    }
    let hotfix = (HOTFIX_TARGET, context.directory.hotfix_keys());
    take_config(context, cx, &mut client, hotfix).await?;
    let notices = (NOTICES_TARGET, context.directory.notices());
    let service = (SERVICE_TARGET, context.directory.service_config());
    let told = take_config(context, cx, &mut client, notices).await?;
    if take_config(context, cx, &mut client, service).await? || told {
        context.wake(ComponentName::SiteComponentManager);
    }
    Ok(roles)
}

/// The catalogue of internet endpoints, where the feed has one. One that this release cannot read leaves
/// the last one in force: it says nothing about updates and holds none of them up.
async fn take_endpoints(
    context: &Arc<SiteContext>,
    cx: &Activation<'_>,
    client: &mut FeedClient,
) -> Result<(), SyncFailure> {
    let target = match client
        .find_target(CATALOGUE_TARGET, feed_time(context, cx.now()))
        .await
    {
        Ok(target) => target,
        Err(failure) if failure.reason() == Reason::NotFound => return Ok(()),
        Err(failure) => return Err(failure.into()),
    };
    let path = context.directory.endpoint_catalogue();
    let known = std::fs::read(&path)
        .ok()
        .map(|bytes| hex::encode(Sha256::digest(bytes)));
    if known == target.sha256 || target.length > CATALOGUE_BYTES_MAX as u64 {
        return Ok(());
    }
    let incoming = path.with_extension("incoming");
    client.download_target(&target, &incoming, &mut |_| {}).await?;
    let text = std::fs::read_to_string(&incoming).unwrap_or_default();
    match Catalogue::parse(&text) {
        Ok(catalogue) => {
            std::fs::rename(&incoming, &path).map_err(|source| {
                let what = format!("cannot place {}", path.display());
                SyncFailure::Local(ComponentError::with_source(what, source))
            })?;
            tracing::info!("the catalogue of endpoints is of {} now", catalogue.stamp.version);
            context.wake(ComponentName::ServiceConnector);
        }
        Err(failure) => tracing::warn!("the feed's catalogue of endpoints is not used: {failure}"),
    }
    Ok(())
}

/// A small target of the feed that is kept as a file, where usage data goes or which keys sign hotfixes; one that
/// the feed no longer has is gone. What this release cannot read is kept all the same: who uses it says so.
async fn take_config(
    context: &Arc<SiteContext>,
    cx: &Activation<'_>,
    client: &mut FeedClient,
    (name, path): (&str, PathBuf),
) -> Result<bool, SyncFailure> {
    let local = |source: std::io::Error| {
        let what = format!("cannot change {}", path.display());
        SyncFailure::Local(ComponentError::with_source(what, source))
    };
    let target = match client.find_target(name, feed_time(context, cx.now())).await {
        Ok(target) => target,
        Err(failure) if failure.reason() == Reason::NotFound => {
            return match std::fs::remove_file(&path) {
                Err(failure) if failure.kind() != std::io::ErrorKind::NotFound => Err(local(failure)),
                removed => Ok(removed.is_ok()),
            };
        }
        Err(failure) => return Err(failure.into()),
    };
    let known = std::fs::read(&path)
        .ok()
        .map(|bytes| hex::encode(Sha256::digest(bytes)));
    if known == target.sha256 || target.length > CONFIG_BYTES_MAX as u64 {
        return Ok(false);
    }
    let incoming = path.with_extension("incoming");
    client.download_target(&target, &incoming, &mut |_| {}).await?;
    std::fs::rename(&incoming, &path).map_err(local)?;
    tracing::info!("the feed has a new {name}");
    Ok(true)
}

enum ShardError {
    Store(StoreError),
    Content(String),
}

impl From<StoreError> for ShardError {
    fn from(failure: StoreError) -> Self {
        ShardError::Store(failure)
    }
}

/// Reads the verified shard; a record that this release cannot read fails the whole take-over.
fn read_shard(name: &str, path: &std::path::Path) -> Result<Vec<ListedPackage>, ShardError> {
    let problem = |text: String| ShardError::Content(format!("catalogue shard {name}: {text}"));
    let file = std::fs::File::open(path).map_err(|e| problem(format!("{}: {e}", path.display())))?;
    let mut packages = Vec::new();
    for line in catalogue::read_shard(std::io::BufReader::new(file)).map_err(|e| problem(whole_story(&e)))? {
        let (line, record) = line.map_err(|e| problem(whole_story(&e)))?;
        packages.push(ListedPackage {
            guid: record.guid,
            name: record.name().to_owned(),
            full_version: record.full_version,
            released_at: record.released,
            record: line,
        });
    }
    Ok(packages)
}

async fn record_failure(
    context: &Arc<SiteContext>,
    cx: &mut Activation<'_>,
    reason: Reason,
    text: String,
) -> Result<String, ComponentError> {
    let now = cx.now();
    let failures = context
        .store
        .read::<_, StoreError, _>(|tx| tx.sync())
        .await?
        .failures_in_row;
    let next_at = cx
        .backoff_next(failures + 1)
        .min(cx.jittered_next(context.settings.check_interval));
    tracing::warn!("synchronisation with the feed failed ({reason}): {text}; next try at {next_at}");
    let message = context.status_message(way_out::status_of(reason), &[&text, &next_at.to_string()], now);
    let recorded = text.clone();
    context
        .store
        .write::<_, StoreError, _>(move |tx| {
            if reason.is_attack() {
                state_message(tx, M::StartVerifyManifestFileTrusted, WHOLE_SYNC, "", now)?;
            }
            state_message(tx, M::SyncFailed, WHOLE_SYNC, reason.as_str(), now)?;
            tx.record_status_message(&message)?;
            tx.record_sync_failed(now, next_at, reason.as_str(), &recorded)
        })
        .await?;
    Ok(text)
}
