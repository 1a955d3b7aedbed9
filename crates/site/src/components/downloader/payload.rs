//! Fetching one package: its signed index, what the content library lacks, its redistributables; then
//! the complete list is verified and only then is it "Ready to install".

use std::sync::Arc;
use std::time::Duration;

use ::content::index::PayloadIndex;
use domain::component::ComponentName;
use domain::schedule::{Backoff, later};
use domain::servicing::download::ATTEMPTS_MAX;
use domain::servicing::install::{SubStage, SubStageState};
use domain::servicing::package::{PackageRecord, Redistributable};
use domain::servicing::state::PackageState;
use domain::servicing::state_message::StateMessage as M;
use domain::servicing::transition::PackageEvent;
use domain::status_message::StatusMessageId;
use executive::{Activation, ComponentError};
use feed::{FeedClient, FeedError, FolderTrust, Limits, Reason};
use protocol::catalogue;
use store::{PackageRow, RedistRow, StoreError};

use super::content;
use crate::context::{SiteContext, state_message, whole_story};
use crate::host::free_bytes;
use crate::offline::{feed_time, register};
use crate::throttle::Throttled;
use crate::way_out;

/// Waits between the attempts of one cycle: six attempts span about half an hour, which outlasts the
/// restart of a proxy.
const BACKOFF: Backoff = Backoff {
    first: Duration::from_secs(30),
    longest: Duration::from_secs(30 * 60),
};

/// Why an attempt failed.
pub(super) struct Failed {
    pub(super) text: String,
    /// The disk has to change before an attempt makes sense; such attempts are not counted.
    pub(super) storage: bool,
    pub(super) retry_after: Option<Duration>,
}

impl Failed {
    fn new(text: impl Into<String>) -> Self {
        Failed {
            text: text.into(),
            storage: false,
            retry_after: None,
        }
    }
}

impl From<FeedError> for Failed {
    fn from(failure: FeedError) -> Self {
        Failed {
            storage: failure.reason() == Reason::Storage,
            text: whole_story(&failure),
            retry_after: None,
        }
    }
}

pub(super) enum Ended {
    Attempt(Failed),
    /// Nothing failed: this site itself lets nothing through for so long.
    Waits(String, Duration),
    Local(ComponentError),
    Stopped,
}

impl Ended {
    /// What to tell people.
    pub(super) fn words(&self) -> String {
        match self {
            Ended::Attempt(failed) => failed.text.clone(),
            Ended::Waits(why, _) => why.clone(),
            Ended::Local(failure) => failure.to_string(),
            Ended::Stopped => "stopped".to_owned(),
        }
    }
}

impl From<Failed> for Ended {
    fn from(failed: Failed) -> Self {
        Ended::Attempt(failed)
    }
}

impl From<FeedError> for Ended {
    fn from(failure: FeedError) -> Self {
        if let FeedError::Transport {
            source: feed::TransportError::Held { why, wait },
            ..
        } = failure
        {
            return Ended::Waits(why, wait);
        }
        Ended::Attempt(failure.into())
    }
}

impl From<StoreError> for Ended {
    fn from(failure: StoreError) -> Self {
        Ended::Local(failure.into())
    }
}

/// One attempt at a package. A failed attempt is recorded with the time of the next one.
pub(super) async fn fetch(
    context: &Arc<SiteContext>,
    cx: &mut Activation<'_>,
    row: &PackageRow,
) -> Result<(), ComponentError> {
    let outcome = attempt(context, cx, row).await;
    context.progress.end(row.guid);
    match outcome {
        Ok(()) => {
            context.wake(ComponentName::HierarchyManager);
            Ok(())
        }
        Err(Ended::Stopped) => Ok(()),
        Err(Ended::Waits(why, wait)) => record_waiting(context, cx, row, why, wait).await,
        Err(Ended::Local(failure)) => Err(failure),
        Err(Ended::Attempt(failed)) => record_failure(context, cx, row, failed).await,
    }
}

async fn attempt(context: &Arc<SiteContext>, cx: &mut Activation<'_>, row: &PackageRow) -> Result<(), Ended> {
    let guid = row.guid;
    cx.progress(format!("downloading {} ({guid})", row.name));
    let record = begin(context, cx, row).await?;
    let room = free_bytes(context.directory.root()).unwrap_or(u64::MAX);
    let reserve = context.settings.free_bytes_min;
    if room < reserve {
        let text = format!(
            "only {room} bytes are free and {reserve} must remain free; make room on the file system of the site"
        );
        return Err(Failed {
            text,
            storage: true,
            retry_after: None,
        }
        .into());
    }
    let shard = {
        let guid = row.guid;
        context
            .store
            .read::<_, StoreError, _>(move |tx| tx.package_shard(guid))
            .await?
    };
    if shard.is_some_and(|shard| shard.starts_with(register::SHARD)) {
        return from_registration(context, cx, row, &record).await;
    }
    let places = way_out::transport(context, row.attempts as usize).map_err(Ended::Local)?;
    let transport: Arc<dyn feed::Transport> = Arc::new(Throttled::new(
        places,
        context.throttle.clone(),
        cx.clock().clone(),
    ));
    let mut client = FeedClient::new(
        transport.clone(),
        FolderTrust::open(context.directory.trust())?,
        Limits::default(),
    )?;
    let judged = feed_time(context, cx.now());
    if client.check_fresh(judged).is_err() {
        client.refresh(judged).await?;
    }
    let index = fetch_index(context, cx, &mut client, &record).await?;
    content::fetch(context, cx, row, &mut client, &record, &index, transport).await?;
    verify_content(context, cx, row, &index).await?;
    fetch_redistributables(context, cx, &mut client, &record).await?;
    report(context, cx, row).await
}

/// A package outside the catalogue is here whole since it was registered; it is looked through like any other.
async fn from_registration(
    context: &Arc<SiteContext>,
    cx: &Activation<'_>,
    row: &PackageRow,
    record: &PackageRecord,
) -> Result<(), Ended> {
    let path = context.directory.payload_index(row.guid);
    let index = blocking(move || PayloadIndex::read_file(&path)).await?;
    let index = index.map_err(|failure| {
        let why = "its index is not here; register its file again";
        Failed::new(format!("{why}: {}", whole_story(&failure)))
    })?;
    verify_content(context, cx, row, &Arc::new(index)).await?;
    let folder = context.directory.redist(row.guid);
    for redist in &record.redistributables {
        let length = std::fs::metadata(folder.join(&redist.name)).map(|metadata| metadata.len());
        if length.ok() != Some(redist.length) {
            let text = format!(
                "redistributable {} is not here; register its file again",
                redist.name
            );
            return Err(Failed::new(text).into());
        }
    }
    report(context, cx, row).await
}

/// State messages 6 and 8, state 262145.
async fn begin(
    context: &Arc<SiteContext>,
    cx: &Activation<'_>,
    row: &PackageRow,
) -> Result<PackageRecord, Ended> {
    let (guid, first, now) = (row.guid, row.state != PackageState::DownloadInProgress, cx.now());
    let started = context.status_message(
        StatusMessageId::DownloadStarted,
        &[&row.name, &guid.to_string()],
        now,
    );
    let line = context
        .store
        .write::<_, StoreError, _>(move |tx| {
            state_message(tx, M::FoundNewPackage, guid, "", now)?;
            state_message(tx, M::ProcessingPackage, guid, "", now)?;
            tx.apply(guid, PackageEvent::DownloadStarted, "downloading", now)?;
            tx.record_sub_stage(guid, SubStage::ProcessPackage, SubStageState::Success, "", now)?;
            if first {
                tx.record_status_message(&started)?;
            }
            tx.package_record(guid)
        })
        .await?;
    catalogue::parse_line(&line).map_err(|failure| {
        Failed::new(format!(
            "its catalogue record cannot be read: {}",
            whole_story(&failure)
        ))
        .into()
    })
}

pub(super) async fn fetch_index(
    context: &Arc<SiteContext>,
    cx: &Activation<'_>,
    client: &mut FeedClient,
    record: &PackageRecord,
) -> Result<Arc<PayloadIndex>, Ended> {
    let target = client
        .find_target(&record.payload.index_target, feed_time(context, cx.now()))
        .await?;
    if target.sha256.as_deref() != Some(record.payload.index_sha256.as_str()) {
        let text = format!(
            "the catalogue names {} with SHA-256 {}, the feed signs it with {}; the next check for updates brings both in step",
            target.path,
            record.payload.index_sha256,
            target.sha256.as_deref().unwrap_or("none")
        );
        return Err(Failed::new(text).into());
    }
    let path = context.directory.payload_index(record.guid);
    let folder = context.directory.package_payload(record.guid);
    std::fs::create_dir_all(&folder).map_err(|failure| Failed {
        text: format!("cannot create {}: {failure}", folder.display()),
        storage: true,
        retry_after: None,
    })?;
    client.download_target(&target, &path, &mut |_| {}).await?;
    let index = blocking(move || PayloadIndex::read_file(&path)).await?;
    Ok(Arc::new(
        index.map_err(|failure| Failed::new(whole_story(&failure)))?,
    ))
}

/// State message 25: every object of the index is in the library, each under its verified hash.
async fn verify_content(
    context: &Arc<SiteContext>,
    cx: &Activation<'_>,
    row: &PackageRow,
    index: &Arc<PayloadIndex>,
) -> Result<(), Ended> {
    let (guid, library, listed) = (row.guid, context.library.clone(), index.clone());
    let index_file = context.directory.payload_index(guid);
    let outcome = blocking(move || {
        let missing = library.missing(&listed).len();
        if missing > 0 {
            return Err(Failed::new(format!("{missing} file(s) are still missing")));
        }
        library
            .add_reference(&guid.to_string(), &index_file)
            .map_err(|failure| Failed {
                storage: failure.is_disk(),
                text: whole_story(&failure),
                retry_after: None,
            })
    });
    outcome.await??;
    let (now, files) = (cx.now(), index.files);
    context
        .store
        .write::<_, StoreError, _>(move |tx| {
            state_message(tx, M::PayloadVerified, guid, &format!("{files} files"), now)?;
            tx.record_sub_stage(
                guid,
                SubStage::VerifyPayload,
                SubStageState::Success,
                &format!("{files} files"),
                now,
            )
        })
        .await?;
    Ok(())
}

/// State message 11: each redistributable has its own verdict; one bad file does not hide the others.
async fn fetch_redistributables(
    context: &Arc<SiteContext>,
    cx: &Activation<'_>,
    client: &mut FeedClient,
    record: &PackageRecord,
) -> Result<(), Ended> {
    let guid = record.guid;
    let folder = context.directory.redist(guid);
    let mut first_failure = None;
    for redist in &record.redistributables {
        let path = folder.join(&redist.name);
        let outcome = match fetch_redistributable(context, cx, client, redist, &path).await {
            Ok(()) => Ok(()),
            Err(Ended::Attempt(failed)) => Err(failed),
            Err(other) => return Err(other),
        };
        let now = cx.now();
        let (verdict, detail) = match &outcome {
            Ok(()) => ("verified", String::new()),
            Err(failed) => ("failed", failed.text.clone()),
        };
        let verdict = RedistRow {
            name: redist.name.clone(),
            verdict: verdict.into(),
            detail,
            recorded_at: now,
        };
        let message = outcome.as_ref().err().map(|failed| {
            tracing::warn!(
                "redistributable {} of {guid} failed: {}",
                redist.name,
                failed.text
            );
            context.status_message(
                StatusMessageId::RedistFailed,
                &[&redist.name, &guid.to_string(), &failed.text],
                now,
            )
        });
        context
            .store
            .write::<_, StoreError, _>(move |tx| {
                tx.record_redist(guid, &verdict)?;
                message.map_or(Ok(()), |message| tx.record_status_message(&message))
            })
            .await?;
        if let Err(failed) = outcome {
            first_failure.get_or_insert(Failed {
                text: format!("redistributable {}: {}", redist.name, failed.text),
                ..failed
            });
        }
    }
    if let Some(failed) = first_failure {
        return Err(failed.into());
    }
    let (now, count) = (cx.now(), record.redistributables.len());
    context
        .store
        .write::<_, StoreError, _>(move |tx| {
            state_message(tx, M::RedistDownloaded, guid, &format!("{count} file(s)"), now)?;
            tx.record_sub_stage(
                guid,
                SubStage::DownloadRedist,
                SubStageState::Success,
                &format!("{count} file(s)"),
                now,
            )
        })
        .await?;
    Ok(())
}

pub(super) async fn fetch_redistributable(
    context: &SiteContext,
    cx: &Activation<'_>,
    client: &mut FeedClient,
    redist: &Redistributable,
    path: &std::path::Path,
) -> Result<(), Ended> {
    let target = client
        .find_target(&redist.target, feed_time(context, cx.now()))
        .await?;
    if target.sha256.as_deref() != Some(redist.sha256.as_str()) || target.length != redist.length {
        let found = target.sha256.as_deref().unwrap_or("none");
        let (expected, length) = (&redist.sha256, redist.length);
        return Err(Failed::new(format!(
            "expected SHA-256 {expected} and {length} bytes, the feed signs {found} and {} bytes",
            target.length
        ))
        .into());
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|failure| Failed {
            text: format!("cannot create {}: {failure}", folder.display()),
            storage: true,
            retry_after: None,
        })?;
    }
    Ok(client.download_target(&target, path, &mut |_| {}).await?)
}

/// State messages 12 and 13, state 262146, the queue row gone: one transaction.
async fn report(context: &Arc<SiteContext>, cx: &Activation<'_>, row: &PackageRow) -> Result<(), Ended> {
    let (guid, now) = (row.guid, cx.now());
    let message = context.status_message(
        StatusMessageId::DownloadSucceeded,
        &[&row.name, &guid.to_string()],
        now,
    );
    context
        .store
        .write::<_, StoreError, _>(move |tx| {
            state_message(tx, M::ReportStarted, guid, "", now)?;
            tx.apply(
                guid,
                PackageEvent::DownloadSucceeded,
                "every file is here and verified",
                now,
            )?;
            tx.set_requested(guid, false)?;
            tx.clear_attempts(Some(guid))?;
            tx.record_sub_stage(guid, SubStage::ReportDownloaded, SubStageState::Success, "", now)?;
            tx.record_status_message(&message)?;
            state_message(tx, M::ReportFinished, guid, "", now)
        })
        .await?;
    tracing::info!("{} ({guid}) is downloaded and verified", row.name);
    Ok(())
}

/// A download that the throttle holds back goes on by itself.
async fn record_waiting(
    context: &Arc<SiteContext>,
    cx: &Activation<'_>,
    row: &PackageRow,
    why: String,
    wait: Duration,
) -> Result<(), ComponentError> {
    let (guid, next_at) = (row.guid, later(cx.now(), wait.min(super::ATTEMPT_WAIT_MAX)));
    tracing::info!("{} ({guid}) waits: {why}", row.name);
    context
        .store
        .write::<_, StoreError, _>(move |tx| {
            tx.clear_attempts(Some(guid))?;
            tx.record_waiting(guid, next_at)?;
            tx.set_reason(guid, &why)
        })
        .await?;
    Ok(())
}

async fn record_failure(
    context: &Arc<SiteContext>,
    cx: &mut Activation<'_>,
    row: &PackageRow,
    failed: Failed,
) -> Result<(), ComponentError> {
    let (guid, now) = (row.guid, cx.now());
    let attempts = row.attempts + 1;
    let text = failed.text;
    let given_up = attempts >= ATTEMPTS_MAX && !failed.storage;
    let wait = BACKOFF
        .wait(attempts, cx.random())
        .max(failed.retry_after.unwrap_or_default())
        .min(super::ATTEMPT_WAIT_MAX);
    let next_at = later(now, wait);
    let name_and_guid = [row.name.as_str(), &guid.to_string()].map(str::to_owned);
    let [name, shown] = &name_and_guid;
    let message = if given_up {
        context.status_message(StatusMessageId::DownloadFailed, &[name, shown, &text], now)
    } else {
        context.status_message(
            StatusMessageId::DownloadAttemptFailed,
            &[name, shown, &text, &next_at.to_string()],
            now,
        )
    };
    tracing::warn!("attempt {attempts} at {name} ({guid}) failed: {text}");
    context
        .store
        .write::<_, StoreError, _>(move |tx| {
            state_message(tx, M::PackageFailed, guid, &text, now)?;
            tx.record_status_message(&message)?;
            tx.record_sub_stage(guid, SubStage::DownloadPayload, SubStageState::Failed, &text, now)?;
            if given_up {
                tx.set_requested(guid, false)?;
                tx.record_attempt_failed(guid, &text, None)?;
                return tx.apply(guid, PackageEvent::DownloadFailed, &text, now).map(drop);
            }
            tx.record_attempt_failed(guid, &text, Some(next_at))?;
            tx.set_reason(
                guid,
                &format!("attempt {attempts} failed: {text}; next try at {next_at}"),
            )
        })
        .await?;
    Ok(())
}

/// Runs disk work on a blocking thread, with its log lines in the component's log.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Ended> {
    let span = tracing::Span::current();
    tokio::task::spawn_blocking(move || span.in_scope(work))
        .await
        .map_err(|failure| Ended::Local(ComponentError::with_source("a disk operation crashed", failure)))
}
