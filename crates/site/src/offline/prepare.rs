//! What a site puts on a medium: its report of usage data, and what choosing its updates needs.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::usage_data::Level;
use domain::usage_data::sending::{ReportState, Sending};
use executive::{Clock, ComponentError};
use protocol::transfer::{Cabinet, CabinetError, ContentSummary, SiteStatement, facts_to, write};
use protocol::usage::encrypt;
use protocol::usage::ledger::LedgerEvent;
use sha2::{Digest, Sha256};
use store::{StoreError, UsageReportRow};

use crate::components::{sealed_report, store_report};
use crate::context::SiteContext;
use crate::offline::import;
use crate::site_facts;
use crate::usage::{self, CollectError, collect_report, ledger};

/// Version of the statement's form.
const FORMAT: u32 = 1;

/// What of usage data goes with a cabinet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carried {
    /// Nothing.
    Nothing,
    /// The report, as anybody can read it.
    Readable,
    /// The report, encrypted for the service.
    Encrypted,
}

/// Why nothing was prepared.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Usage data.
    #[error(transparent)]
    Collect(#[from] CollectError),
    /// Keys, trust or content of the site.
    #[error("{0}")]
    Site(ComponentError),
    /// The cabinet.
    #[error("the cabinet cannot be written: {0}")]
    Cabinet(#[from] CabinetError),
    /// It should be encrypted, and there is no key.
    #[error("the feed names no key that a report could be encrypted for")]
    NoKey,
    /// Sending is held, and nobody approved the report.
    #[error("the report {report} waits for approval")]
    NotApproved {
        /// Id of the report.
        report: String,
    },
}

impl From<ComponentError> for PrepareError {
    fn from(failure: ComponentError) -> Self {
        PrepareError::Site(failure)
    }
}

/// What the positions in roll-outs are computed from: it tells nobody the id of the hierarchy.
pub fn rollout_key(hierarchy_id: &str) -> String {
    hex::encode(Sha256::digest(format!("roll-out of {hierarchy_id}")))
}

/// The bytes of this site's cabinet; with a report, it is entered in the ledger as carried.
pub async fn prepare(
    context: &Arc<SiteContext>,
    clock: &Clock,
    carried: Carried,
) -> Result<Vec<u8>, PrepareError> {
    let encrypt_for = match carried {
        Carried::Encrypted => {
            let intake = usage::intake(context).and_then(Result::ok);
            let key = intake.and_then(|(config, _)| config.encryption_key);
            Some(key.ok_or(PrepareError::NoKey)?)
        }
        Carried::Readable | Carried::Nothing => None,
    };
    let report = match carried {
        Carried::Readable | Carried::Encrypted => carried_report(context, clock).await?,
        Carried::Nothing => None,
    };
    let library = context.library.clone();
    let objects = tokio::task::spawn_blocking(move || library.objects())
        .await
        .map_err(|_| ComponentError::new("listing the content library crashed"))?
        .map_err(|failure| ComponentError::with_source("cannot list the content library", failure))?;
    let content = ContentSummary::new(objects.into_iter().map(|object| object.0));
    let ca = crate::internet::extra_roots(context)?.concat();
    let root_file = context.directory.trust().join("root.json");
    let root = std::fs::read(&root_file).map_err(|failure| {
        ComponentError::with_source(format!("cannot read {}", root_file.display()), failure)
    })?;
    let (context, now) = (context.clone(), clock.now());
    let store = context.store.clone();
    store
        .write::<_, PrepareError, _>(move |tx| {
            let secrets = context.internet.secrets();
            let key = usage::signing_key(secrets, tx).map_err(ComponentError::from)?;
            let hierarchy = usage::hierarchy(&context, tx).map_err(ComponentError::from)?;
            let facts = site_facts::collect(&context, tx, now)?;
            let guids = |guids: &std::collections::BTreeSet<domain::servicing::package::PackageGuid>| {
                guids.iter().map(ToString::to_string).collect()
            };
            let shards: BTreeMap<String, String> = tx.shards()?.into_iter().collect();
            let site = SiteStatement {
                format: FORMAT,
                program: env!("CARGO_PKG_VERSION").to_owned(),
                hierarchy,
                public_key: key.public(),
                at: now,
                site_version: tx.site_version()?.to_string(),
                feed: context.settings.feed_url.clone(),
                rings: context.settings.rings.clone(),
                rollout_key: rollout_key(&context.identity.hierarchy_id),
                facts: facts_to(&facts),
                installed: guids(&facts.installed),
                features: guids(&facts.features),
                shards: shards.into_values().collect(),
                without_deltas: import::load(tx)?
                    .into_iter()
                    .flat_map(|last| last.packages)
                    .filter(|package| package.without_deltas)
                    .map(|package| package.guid)
                    .collect(),
                report: report.as_ref().map(|report| report.report_id.clone()),
                report_sha256: report.as_ref().map(|report| report.sha256.clone()),
            };
            let sealed = match &report {
                None => None,
                Some(report) => {
                    let sealed = match &report.sealed {
                        Some(sealed) => sealed.clone(),
                        None => sealed_report(&context, tx, report)?,
                    };
                    tx.seal_usage_report(&report.report_id, &sealed)?;
                    if !tx.ledger_has(&report.report_id, LedgerEvent::Carried.as_str())? {
                        let to = "the service connection tool";
                        ledger::append(tx, secrets, LedgerEvent::Carried, report, to, now)?;
                    }
                    match &encrypt_for {
                        None => Some(sealed),
                        Some(key) => Some(encrypt(&sealed, key).map_err(|_| PrepareError::NoKey)?),
                    }
                }
            };
            let cabinet = Cabinet {
                site,
                content,
                root,
                ca,
                report: sealed,
            };
            Ok(write(&cabinet, &key)?)
        })
        .await
}

/// The report to carry: the one that waits, or a new one. None where the administrator wants none sent.
async fn carried_report(
    context: &Arc<SiteContext>,
    clock: &Clock,
) -> Result<Option<UsageReportRow>, PrepareError> {
    let (level, sending, open) = context
        .store
        .read::<_, StoreError, _>(|tx| {
            Ok((
                usage::level(tx)?,
                usage::sending(tx)?,
                tx.open_usage_reports()?.pop(),
            ))
        })
        .await?;
    if sending == Sending::Never {
        return Ok(None);
    }
    let allowed = |report: &UsageReportRow| report.level.parse().unwrap_or(Level::Full) <= level;
    let report = match open.filter(allowed) {
        Some(report) => report,
        None => {
            let report = collect_report(context, None, None, clock).await?;
            store_report(context, report.clone(), clock.now()).await?;
            report
        }
    };
    if sending == Sending::Hold && report.state == ReportState::Collected {
        return Err(PrepareError::NotApproved {
            report: report.report_id,
        });
    }
    Ok(Some(report))
}
