//! Gathers the facts that notifications are decided on, and records which are in force.

use std::path::{Path, PathBuf};

use domain::component::{ComponentName, ComponentState};
use domain::notification::{
    Certificate, CrashedComponent, Evaluated, Facts, FailedEndpoint, FailingChecks, FreeSpace, Installing,
    Kind, MissingBackup, OfferStage, Offered, SecretKey, TrustedRole, VendorMessage, WaitingConfig, in_force,
};
use domain::servicing::state::PackageState as S;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use protocol::connectivity::CheckReport;
use protocol::notice::{Notice, NoticeCategory};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use store::{StoreError, Tx};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::backup::plan;
use crate::context::SiteContext;
use domain::status_message::systems::{SpaceThresholds, SystemObject};

use crate::host::free_bytes;
use crate::vendor;
use crate::way_out::RoleVersion;

/// Most certificates that are looked at in one file; a bundle of public roots has a few hundred.
const CERTIFICATES_MAX: usize = 500;
/// Largest file of certificates.
const CERTIFICATE_BYTES_MAX: u64 = 4 << 20;
/// Most files below `secrets/` that are looked at.
const FILES_MAX: usize = 100;

/// Looks at the kinds that are due and records in one transaction what is in force now.
pub async fn evaluate(
    context: &SiteContext,
    looked_at: &'static [Evaluated],
    now: Timestamp,
) -> Result<(), StoreError> {
    let mut facts = facts_outside(context, looked_at, now).await;
    let zone = context.zone.clone();
    let online = context.internet.mode().may_connect();
    context
        .store
        .write(move |tx| {
            facts_stored(tx, &mut facts, &zone, now)?;
            if !online {
                // Nothing goes out any more, and so nothing is missed of what an earlier check could not reach.
                facts.endpoints.clear();
            }
            let kinds: Vec<Kind> = Kind::ALL
                .into_iter()
                .filter(|kind| looked_at.contains(&kind.evaluated()))
                .collect();
            tx.replace_notifications(&kinds, &in_force(&facts, now, looked_at), now)
        })
        .await
}

/// What the machine and the running process know.
async fn facts_outside(context: &SiteContext, looked_at: &[Evaluated], now: Timestamp) -> Facts {
    let root = context.directory.root().to_owned();
    let certificates = if looked_at.contains(&Evaluated::Hourly) {
        let (secrets, feed_ca) = (context.directory.secrets(), context.settings.feed_ca.clone());
        let folder = root.clone();
        let look = move || certificates(&folder, &secrets, feed_ca.as_deref());
        // A panic there is a bug that must not cost the other notifications; the panic hook logs it.
        tokio::task::spawn_blocking(look).await.unwrap_or_default()
    } else {
        Vec::new()
    };
    let snapshots = context
        .executive
        .get()
        .map(executive::ExecutiveHandle::query_all)
        .unwrap_or_default();
    let crashed = snapshots
        .into_iter()
        .filter(|snapshot| snapshot.state == ComponentState::Paused && snapshot.panics > 0)
        .map(|snapshot| CrashedComponent {
            name: snapshot.name.to_string(),
            failure: snapshot.last_result,
            in_row: snapshot.failures_in_row,
            next_try: snapshot.next_activation,
        })
        .collect();
    let wanted = context.settings.free_bytes_min;
    let vendor_messages = if looked_at.contains(&Evaluated::AtConsoleStart) {
        let wanted = &context.settings.vendor_messages;
        vendor::notices(&context.directory, wanted, now)
            .into_iter()
            .map(message_of)
            .collect()
    } else {
        Vec::new()
    };
    Facts {
        certificates,
        crashed,
        vendor_messages,
        waiting_config: waiting_config(context),
        secret_keys: secret_keys(context),
        space: free_bytes(&root).ok().map(|free| FreeSpace {
            free,
            wanted,
            thresholds: SpaceThresholds::default(),
        }),
        ..Facts::default()
    }
}

/// The configuration of the vendor's service that came and is not in force.
fn waiting_config(context: &SiteContext) -> Option<WaitingConfig> {
    let (brought, in_force) = (vendor::brought(&context.directory), context.vendor.in_force());
    let host = |mirror: &String| {
        let url = url::Url::parse(mirror).ok()?;
        url.host_str().map(str::to_owned)
    };
    (brought.version > in_force.version).then(|| WaitingConfig {
        version: brought.version,
        hosts: brought
            .mirrors
            .iter()
            .filter(|mirror| !in_force.mirrors.contains(mirror))
            .filter_map(host)
            .collect(),
        what: brought.what,
    })
}

/// Secret keys of which the configuration says when they end.
fn secret_keys(context: &SiteContext) -> Vec<SecretKey> {
    let oidc = context.settings.oidc.iter().filter_map(|oidc| {
        Some(SecretKey {
            name: "single sign-on".to_owned(),
            file: format!("secrets/{}", oidc.client_secret.as_ref()?),
            expires: oidc.client_secret_expires?,
        })
    });
    oidc.collect()
}

fn message_of(notice: Notice) -> VendorMessage {
    VendorMessage {
        id: notice.id,
        category: notice.category.title().to_owned(),
        pressing: notice.category == NoticeCategory::PreventOrFix,
        title: notice.title,
        body: notice.body,
        link: notice.link,
        published: notice.published,
    }
}

/// What the database knows.
fn facts_stored(tx: &Tx<'_>, facts: &mut Facts, zone: &TimeZone, now: Timestamp) -> Result<(), StoreError> {
    if let Some(space) = &mut facts.space {
        space.thresholds = tx.system_threshold(SystemObject::FileSystem)?.unwrap_or_default();
    }
    facts.offered = tx
        .newest_package()?
        .filter(|row| row.listed && !row.state.is_busy() && row.state != S::InstallSuccess)
        .map(|row| Offered {
            guid: row.guid.to_string(),
            name: row.name,
            version: row.full_version.to_string(),
            stage: match row.state {
                S::DownloadSuccess | S::PrereqSuccess => OfferStage::Ready,
                S::PrereqWarning | S::PrereqError | S::ContentReplicationFailed | S::InstallFailed => {
                    OfferStage::Stopped
                }
                _ => OfferStage::Listed,
            },
        });
    if let Some(row) = tx.packages_in(&[S::InstallInProgress])?.into_iter().next() {
        let run = tx.install_run(row.guid)?;
        let rolled_back = run
            .filter(|run| run.journal.rollback_done.is_some())
            .map(|run| run.failure.unwrap_or_else(|| "a step failed".to_owned()));
        facts.installing = Some(Installing {
            guid: row.guid.to_string(),
            name: row.name,
            rolled_back,
        });
    }
    // What an administrator decided: a component that is just starting, or restarting, is not stopped.
    for name in ComponentName::ALL {
        if tx.component(name.as_str())?.stopped {
            facts.stopped.push(name.to_string());
        }
    }
    let backups = plan::plan(tx)?;
    facts.backup = backups.schedule.and_then(|(_, schedule)| {
        let missing = schedule.is_missing(backups.last_good, now, zone);
        missing.then(|| MissingBackup {
            last: backups.last_good,
            failure: backups.last.and_then(|last| last.failure),
        })
    });
    let sync = tx.sync()?;
    // Written by this program; a form that it does not know says nothing about expiry.
    let roles: Vec<RoleVersion> = serde_json::from_str(&sync.roles).unwrap_or_default();
    facts.roles = roles
        .into_iter()
        .map(|role| TrustedRole {
            role: role.role,
            expires: role.expires,
        })
        .collect();
    facts.checks = sync.failure.map(|failure| FailingChecks {
        in_row: sync.failures_in_row,
        reason: sync.failure_reason.unwrap_or_default(),
        failure,
        succeeded_at: sync.succeeded_at,
    });
    if let Some(run) = tx.endpoint_runs(1)?.pop() {
        let results = serde_json::from_str::<CheckReport>(&run.report).map(|report| report.results);
        facts.endpoints = results
            .unwrap_or_default()
            .into_iter()
            .filter(|target| target.result == "failed" && !target.retired)
            .map(|target| FailedEndpoint {
                host: target.host,
                fault: target.fault.map(|fault| fault.code).unwrap_or_default(),
                critical: target.critical,
            })
            .collect();
    }
    Ok(())
}

/// The certificates in the site's files: the API's own, others that lie beside it, and those trusted for the feed.
/// What cannot be read is left out here; whatever uses it says so.
fn certificates(root: &Path, secrets: &Path, feed_ca: Option<&Path>) -> Vec<Certificate> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(secrets)
        .into_iter()
        .flatten()
        .take(FILES_MAX)
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|end| end == "pem" || end == "crt"))
        .collect();
    files.sort();
    let named = |file: &Path, (not_after, subject): (Timestamp, String)| Certificate {
        file: file.strip_prefix(root).unwrap_or(file).display().to_string(),
        subject,
        not_after,
        own: file == secrets.join("api.pem"),
    };
    // A chain is as good as its weakest part; of trusted certificates, an old one beside its successor is no fault.
    let served = files
        .iter()
        .filter_map(|file| Some(named(file, ends_of(file)?.into_iter().min()?)));
    let trusted = feed_ca.and_then(|file| Some(named(file, ends_of(file)?.into_iter().max()?)));
    served.chain(trusted).collect()
}

/// End and subject of each certificate of a file.
fn ends_of(file: &Path) -> Option<Vec<(Timestamp, String)>> {
    let metadata = std::fs::metadata(file).ok()?;
    if !metadata.is_file() || metadata.len() > CERTIFICATE_BYTES_MAX {
        return None;
    }
    let text = std::fs::read(file).ok()?;
    let ends = CertificateDer::pem_slice_iter(&text)
        .take(CERTIFICATES_MAX)
        .filter_map(|der| {
            let der = der.ok()?;
            let (_, certificate) = X509Certificate::from_der(&der).ok()?;
            let end = Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()?;
            Some((end, certificate.subject().to_string()))
        });
    Some(ends.collect())
}
