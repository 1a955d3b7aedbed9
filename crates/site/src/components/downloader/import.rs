//! Taking in a medium: a copy of the feed that came by hand is verified like any other, then synchronised
//! from; content of this hierarchy's packages goes into the library, block by signed block.
//!
//! What is complete stays, whatever happens next: an import of the same or another medium goes on from there.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::component::ComponentName;
use domain::servicing::package::PackageGuid;
use domain::status_message::StatusMessageId;
use executive::{Activation, ComponentError};
use feed::{FeedClient, FeedError, FolderTransport, FolderTrust, Limits, Reason};
use jiff::{SignedDuration, Timestamp};
use protocol::transfer::{Bundle, BundleHierarchy};
use protocol::usage::{IntakeConfig, Receipt};
use store::StoreError;

use super::{seed, sync};
use crate::components::record_receipt;
use crate::context::{SiteContext, whole_story};
use crate::directory::write_durably;
use crate::internet::InternetError;
use crate::offline::feed_time;
use crate::offline::import::{ImportState, ImportStatus, ImportedPackage, Verdict, load, save};
use crate::offline::medium::{Medium, MediumError};
use crate::offline::prepare::{Carried, prepare};
use crate::{usage, way_out};

/// Metadata that expires sooner than this is told of.
const WARN_BEFORE_HOURS: i64 = 14 * 24;
/// Largest receipt.
const RECEIPT_BYTES_MAX: u64 = 64 * 1024;

/// Why a medium was not taken in.
pub(super) struct Refused {
    verdict: Verdict,
    why: String,
}

pub(super) enum Ended {
    Refused(Refused),
    Local(ComponentError),
}

impl From<Refused> for Ended {
    fn from(refused: Refused) -> Self {
        Ended::Refused(refused)
    }
}

impl From<ComponentError> for Ended {
    fn from(failure: ComponentError) -> Self {
        Ended::Local(failure)
    }
}

impl From<StoreError> for Ended {
    fn from(failure: StoreError) -> Self {
        Ended::Local(failure.into())
    }
}

impl From<MediumError> for Ended {
    fn from(failure: MediumError) -> Self {
        let verdict = match failure {
            MediumError::NoBundle { .. } | MediumError::Io { .. } => Verdict::Missing,
            MediumError::Bundle(_) | MediumError::TooMuch { .. } | MediumError::Odd { .. } => {
                Verdict::Damaged
            }
        };
        refused(verdict, whole_story(&failure)).into()
    }
}

pub(super) fn refused(verdict: Verdict, why: impl Into<String>) -> Refused {
    Refused {
        verdict,
        why: why.into(),
    }
}

fn refused_feed(failure: &FeedError) -> Refused {
    let reason = failure.reason();
    let (verdict, advice) = match reason {
        Reason::Rollback => (
            Verdict::Older,
            "it is older than what this site knows; use a newer medium",
        ),
        Reason::Expired => (Verdict::Expired, "bring a newer medium"),
        Reason::NotFound => (
            Verdict::Missing,
            "a part of it is missing; copy it again, or run connect again",
        ),
        Reason::Storage | Reason::TrustStore => {
            (Verdict::Storage, "make room, or mend the file system of the site")
        }
        Reason::MixAndMatch
        | Reason::Threshold
        | Reason::Oversized
        | Reason::Tampered
        | Reason::Malformed
        | Reason::Network => (Verdict::Damaged, "copy it again, or run connect again"),
    };
    refused(
        verdict,
        format!(
            "the feed on it was refused ({reason}): {}; {advice}",
            whole_story(failure)
        ),
    )
}

/// Carries out the import that was asked for, if one was.
pub(super) async fn run(context: &Arc<SiteContext>, cx: &mut Activation<'_>) -> Result<(), ComponentError> {
    let status = context.store.read::<_, StoreError, _>(load).await?;
    let Some(mut status) = status.filter(|status| !status.state.is_done()) else {
        return Ok(());
    };
    status.state = ImportState::Running;
    keep(context, &status).await?;
    tracing::info!("importing the medium in {}", status.folder);
    cx.progress(format!("importing {}", status.folder));
    let medium = Medium::new(&status.folder);
    let outcome = take_in(context, cx, &medium, &mut status).await;
    if cx.cancelled().is_cancelled() {
        // It is taken up again by the next activation.
        return Ok(());
    }
    let now = cx.now();
    let message = match outcome {
        Ok(()) => {
            let incomplete = status
                .packages
                .iter()
                .filter(|package| package.missing_files > 0)
                .count();
            status.state = ImportState::Done;
            status.detail = match incomplete {
                0 => format!("{} package(s), all complete", status.packages.len()),
                some => format!(
                    "{} package(s), {some} of them not complete: take the medium to connect again",
                    status.packages.len()
                ),
            };
            status.verdict = if incomplete == 0 {
                Verdict::Done
            } else {
                Verdict::Incomplete
            };
            context.status_message(
                StatusMessageId::MediumImported,
                &[&status.folder, &status.detail],
                now,
            )
        }
        Err(Ended::Refused(refused)) => {
            status.state = ImportState::Refused;
            status.verdict = refused.verdict;
            status.detail = refused.why;
            context.status_message(
                StatusMessageId::MediumRefused,
                &[&status.folder, &status.detail],
                now,
            )
        }
        Err(Ended::Local(failure)) => return Err(failure),
    };
    tracing::info!("the medium in {}: {}", status.folder, status.detail);
    let kept = status.clone();
    context
        .store
        .write::<_, StoreError, _>(move |tx| {
            save(tx, &kept)?;
            tx.record_status_message(&message)
        })
        .await?;
    context.wake(ComponentName::HierarchyManager);
    Ok(())
}

async fn keep(context: &SiteContext, status: &ImportStatus) -> Result<(), StoreError> {
    let status = status.clone();
    context
        .store
        .write::<_, StoreError, _>(move |tx| save(tx, &status))
        .await
}

async fn take_in(
    context: &Arc<SiteContext>,
    cx: &mut Activation<'_>,
    medium: &Medium,
    status: &mut ImportStatus,
) -> Result<(), Ended> {
    let bundle = medium.bundle()?;
    let part = own_part(context, &bundle).await?;
    status.made = Some(bundle.made);
    copy_and_verify(context, medium, &part, cx.now()).await?;
    if let Some(problem) = sync::synchronise(context, cx).await? {
        return Err(refused(Verdict::Damaged, format!("the feed on it was refused: {problem}")).into());
    }
    status.receipt = take_receipt(context, medium, &part, cx.now()).await?;
    let mut client = FeedClient::new(
        way_out::transport(context, 0)?,
        FolderTrust::open(context.directory.trust()).map_err(|failure| refused_feed(&failure))?,
        Limits::default(),
    )
    .map_err(|failure| refused_feed(&failure))?;
    status.packages.clear();
    for package in &part.packages {
        if cx.cancelled().is_cancelled() {
            return Ok(());
        }
        cx.progress(format!("taking in {}", package.name));
        let guid: PackageGuid = package
            .guid
            .parse()
            .map_err(|why: String| refused(Verdict::Damaged, why))?;
        let seeded = seed::seed(context, cx, &mut client, medium, &part, guid).await?;
        status.packages.push(ImportedPackage {
            guid: guid.to_string(),
            name: package.name.clone(),
            version: package.version.clone(),
            missing_files: seeded.missing_files,
            without_deltas: seeded.without_deltas,
        });
    }
    if cx.cancelled().is_cancelled() {
        // What was broken off says nothing of the medium: the next start takes it in again.
        return Ok(());
    }
    // What is left on the medium tells for which of them deltas are of no use.
    keep(context, status).await?;
    warn_of_expiry(context, &client, cx.now()).await?;
    leave_word(context, cx, medium, &part, status).await;
    Ok(())
}

async fn own_part(context: &Arc<SiteContext>, bundle: &Bundle) -> Result<BundleHierarchy, Ended> {
    let ours = env!("CARGO_PKG_VERSION");
    if bundle.program != ours {
        let why = format!(
            "it was made by tidegate {}, and this site runs {ours}: use the release of the site",
            bundle.program
        );
        return Err(refused(Verdict::Version, why).into());
    }
    let owner = context.clone();
    let hierarchy = context
        .store
        .write::<_, InternetError, _>(move |tx| usage::hierarchy(&owner, tx))
        .await
        .map_err(ComponentError::from)?;
    let part = bundle.hierarchies.iter().find(|part| part.hierarchy == hierarchy);
    let Some(part) = part else {
        let why = format!(
            "it holds nothing for this hierarchy; it was made for {} other(s)",
            bundle.hierarchies.len()
        );
        return Err(refused(Verdict::OtherHierarchy, why).into());
    };
    let plain = part.feed.len() == 16 && part.feed.bytes().all(|byte| byte.is_ascii_hexdigit());
    match plain {
        true => Ok(part.clone()),
        false => Err(refused(Verdict::Damaged, "it names a folder that no tool of ours makes").into()),
    }
}

/// Copies what is small, verifies it against a copy of the site's trust, and only then puts it in the place
/// of what was imported before.
async fn copy_and_verify(
    context: &Arc<SiteContext>,
    medium: &Medium,
    part: &BundleHierarchy,
    now: Timestamp,
) -> Result<(), Ended> {
    let offline = context.directory.offline();
    let (incoming, trial) = (offline.join("feed.incoming"), offline.join("trust.trial"));
    let (from, feed, to, trust, tried) = (
        medium.clone(),
        part.feed.clone(),
        incoming.clone(),
        context.directory.trust(),
        trial.clone(),
    );
    let copied = tokio::task::spawn_blocking(move || {
        for folder in [&to, &tried] {
            remove(folder)?;
        }
        from.copy_feed(&feed, &to)?;
        copy_files(&trust, &tried)
    });
    copied
        .await
        .map_err(|_| ComponentError::new("copying the medium crashed"))??;
    let transport = Arc::new(FolderTransport::new(
        incoming.join("metadata"),
        incoming.join("targets"),
    ));
    let verified = async {
        let mut client = FeedClient::new(transport, FolderTrust::open(&trial)?, Limits::default())?;
        client.refresh(feed_time(context, now)).await
    };
    verified.await.map_err(|failure| refused_feed(&failure))?;
    let place = context.directory.offline_feed();
    let placed = tokio::task::spawn_blocking(move || {
        remove(&place)?;
        std::fs::rename(&incoming, &place).map_err(crate::offline::medium::io("place", &place))?;
        remove(&trial)
    });
    placed
        .await
        .map_err(|_| ComponentError::new("placing the imported feed crashed"))??;
    Ok(())
}

fn remove(folder: &Path) -> Result<(), MediumError> {
    match std::fs::remove_dir_all(folder) {
        Err(failure) if failure.kind() != std::io::ErrorKind::NotFound => {
            Err(crate::offline::medium::io("remove", folder)(failure))
        }
        _ => Ok(()),
    }
}

fn copy_files(from: &Path, to: &Path) -> Result<(), MediumError> {
    use crate::offline::medium::io;
    std::fs::create_dir_all(to).map_err(io("create", to))?;
    for entry in std::fs::read_dir(from).map_err(io("read", from))? {
        let path = entry.map_err(io("read", from))?.path();
        if let (true, Some(name)) = (path.is_file(), path.file_name()) {
            std::fs::copy(&path, to.join(name)).map_err(io("copy", &path))?;
        }
    }
    Ok(())
}

/// The service's receipt for the report that was carried; says whether it is entered now.
async fn take_receipt(
    context: &Arc<SiteContext>,
    medium: &Medium,
    part: &BundleHierarchy,
    now: Timestamp,
) -> Result<Option<String>, Ended> {
    use std::io::Read;
    let Some(id) = part.report.clone() else {
        return Ok(part
            .report_problem
            .clone()
            .map(|problem| format!("not confirmed: {problem}")));
    };
    let wanted = id.clone();
    let report = context
        .store
        .read::<_, StoreError, _>(move |tx| tx.usage_report(&wanted))
        .await?;
    let Some(report) = report else {
        return Ok(Some("it is for a report that this site does not know".into()));
    };
    let mut text = Vec::new();
    let read = std::fs::File::open(medium.receipt(&report.report_id))
        .and_then(|file| file.take(RECEIPT_BYTES_MAX).read_to_end(&mut text));
    let config = std::fs::read(context.directory.usage_intake())
        .ok()
        .and_then(|text| IntakeConfig::parse(&text).ok());
    let (Ok(_), Some(config)) = (read, config) else {
        return Ok(Some("the receipt is missing".into()));
    };
    let verified = Receipt::verify(text.trim_ascii(), &config.receipt_keys, &id, &report.sha256);
    let receipt = match verified {
        Ok(receipt) => receipt,
        Err(failure) => return Ok(Some(failure.to_string())),
    };
    let strings = [report.report_id.as_str(), "the service connection tool"];
    let message = context.status_message(StatusMessageId::UsageSent, &strings, now);
    let owner = context.clone();
    context
        .store
        .write::<_, StoreError, _>(move |tx| {
            let text = String::from_utf8_lossy(&text).trim().to_owned();
            match record_receipt(tx, &owner, &report, &text, now)? {
                true => tx.record_status_message(&message),
                false => Ok(()),
            }
        })
        .await?;
    Ok(Some(format!(
        "{} on {}",
        receipt.verdict.as_str(),
        receipt.received
    )))
}

/// Tells of metadata that soon is too old, while there is time to bring a newer medium.
async fn warn_of_expiry(
    context: &Arc<SiteContext>,
    client: &FeedClient,
    now: Timestamp,
) -> Result<(), StoreError> {
    let states = client.states();
    let roles = [
        ("root", Some(states.root)),
        ("timestamp", states.timestamp),
        ("snapshot", states.snapshot),
        ("targets", states.targets),
    ];
    let soon = feed_time(context, now)
        .checked_add(SignedDuration::from_hours(WARN_BEFORE_HOURS))
        .unwrap_or(Timestamp::MAX);
    for (role, state) in roles {
        if let Some(state) = state.filter(|state| state.expires < soon) {
            let strings = [role, &state.expires.to_string()];
            context.raise(StatusMessageId::TrustEnding, &strings, now).await?;
        }
    }
    Ok(())
}

/// Leaves on the medium what the site has now, so that the next round brings only what is missing. A
/// medium that cannot be written costs a larger round, nothing else.
async fn leave_word(
    context: &Arc<SiteContext>,
    cx: &Activation<'_>,
    medium: &Medium,
    part: &BundleHierarchy,
    status: &mut ImportStatus,
) {
    let path: PathBuf = medium
        .arrived()
        .join(format!("{}.cab", &part.hierarchy[..32.min(part.hierarchy.len())]));
    let left = async {
        let bytes = prepare(context, cx.clock(), Carried::Nothing)
            .await
            .map_err(|failure| whole_story(&failure))?;
        std::fs::create_dir_all(medium.arrived()).map_err(|failure| failure.to_string())?;
        write_durably(&path, &bytes, 0o644).map_err(|failure| failure.to_string())
    };
    if let Err(why) = left.await {
        tracing::warn!("what arrived could not be noted on the medium: {why}");
        status.note = Some(format!("what arrived could not be noted on the medium: {why}"));
    }
}
