//! SMS_DMP_UPLOADER: collects usage data every seven days from the day of the installation, and sends it the
//! one way out where mode, level and the administrator's will allow it (usage-data, section 2).
//!
//! It holds nothing up: updates are looked for and offered without it. What leaves is sealed and in the
//! ledger before its first byte does; until a valid receipt is stored it is sent again, always the same.

use std::sync::Arc;

use bytes::Bytes;
use cloud_client::Uploaded;
use domain::component::ComponentName;
use domain::schedule::{is_due, later};
use domain::status_message::StatusMessageId;
use domain::usage_data::collection;
use domain::usage_data::sending::{ReportEvent, ReportState, SendPlan, plan};
use executive::{Activation, Component, ComponentError, Next, Report, Waiting};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use protocol::usage::ledger::LedgerEvent;
use protocol::usage::{IntakeConfig, Receipt, ReceiptVerdict, seal};
use store::{StoreError, UsageReportRow};
use url::Url;

use crate::context::SiteContext;
use crate::internet::InternetError;
use crate::usage::{self, collect_report, ledger};
use crate::way_out;

/// No attempt is planned further ahead than this.
const ATTEMPT_WAIT_MAX: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);

/// The component.
pub struct Uploader {
    context: Arc<SiteContext>,
}

/// What is to be said of a report that does not go out now.
struct Held {
    what: String,
    since: Timestamp,
    next_try: Option<Timestamp>,
    action: String,
}

impl Uploader {
    /// Made once; activated for ever.
    pub fn new(context: Arc<SiteContext>) -> Self {
        Uploader { context }
    }

    async fn run(&self, cx: &mut Activation<'_>) -> Result<Report, ComponentError> {
        // One instant for "is it due" and "when next": a week that begins between the two would be passed over.
        let looked_at = cx.now();
        self.collect_if_due(cx, looked_at).await?;
        let mut held = None;
        let mut sent = 0_u32;
        let open = self
            .context
            .store
            .read::<_, StoreError, _>(|tx| tx.open_usage_reports())
            .await?;
        for report in open {
            if cx.cancelled().is_cancelled() {
                break;
            }
            match self.advance(cx, report).await? {
                None => sent += 1,
                Some(why) => held = held.or(Some(why)),
            }
        }
        let next_collection = collection::next(self.context.identity.created_at, looked_at);
        let next = held
            .as_ref()
            .and_then(|held| held.next_try)
            .map_or(next_collection, |at| at.min(next_collection));
        let summary = match (sent, &held) {
            (0, None) => format!("nothing to send; the next collection is at {next_collection}"),
            (0, Some(held)) => held.what.clone(),
            (sent, _) => format!("{sent} report(s) done"),
        };
        Ok(Report {
            summary,
            next: Next::At(next),
            waiting: held.map(|held| Waiting {
                what: held.what,
                since: held.since,
                next_try: held.next_try,
                action: held.action,
            }),
        })
    }

    /// Collects where this week's collection is due, or where an administrator wants a report sent and none
    /// is there.
    async fn collect_if_due(&self, cx: &mut Activation<'_>, now: Timestamp) -> Result<(), ComponentError> {
        let week = collection::week(self.context.identity.created_at, now);
        let (collected, requested, open) = self
            .context
            .store
            .read::<_, StoreError, _>(move |tx| {
                Ok((
                    tx.usage_week_collected(week, now)?,
                    usage::requested(tx)?,
                    !tx.open_usage_reports()?.is_empty(),
                ))
            })
            .await?;
        let due = collection::is_due(week, collected);
        let wanted = requested && !open;
        if !due && !wanted {
            return Ok(());
        }
        self.collect(cx, due.then_some(week)).await
    }

    async fn collect(&self, cx: &mut Activation<'_>, week: Option<u64>) -> Result<(), ComponentError> {
        cx.progress("collecting usage data");
        let report = tokio::select! {
            report = collect_report(&self.context, None, week, cx.clock()) => report?,
            () = cx.cancelled().cancelled() => return Ok(()),
        };
        store_report(&self.context, report, cx.now()).await?;
        Ok(())
    }

    /// Moves a report on; says why it does not go out, or nothing if it is done with.
    async fn advance(
        &self,
        cx: &mut Activation<'_>,
        report: UsageReportRow,
    ) -> Result<Option<Held>, ComponentError> {
        let (level, sending) = self
            .context
            .store
            .read::<_, StoreError, _>(|tx| Ok((usage::level(tx)?, usage::sending(tx)?)))
            .await?;
        // What is stored as a level that does not exist is above all.
        let of_report = report.level.parse().unwrap_or(domain::usage_data::Level::Full);
        let held = |what: &str, action: &str| {
            Some(Held {
                what: format!("the report of {} is not sent: {what}", report.collected_at),
                since: report.changed_at,
                next_try: None,
                action: action.to_owned(),
            })
        };
        match plan(
            report.state,
            of_report,
            level,
            sending,
            self.context.internet.mode(),
        ) {
            SendPlan::Wait(why) => Ok(held(why, action_of(why))),
            SendPlan::Recollect => {
                self.recollect(cx, &report).await?;
                Ok(None)
            }
            SendPlan::Send => {
                if !is_due(report.next_attempt_at, cx.now(), ATTEMPT_WAIT_MAX) {
                    let why = report.failure.clone().unwrap_or_default();
                    let mut waiting =
                        held(&why, "`tidegate usage upload` tries at once; see Dmpuploader.log");
                    if let Some(waiting) = &mut waiting {
                        waiting.next_try = report.next_attempt_at;
                    }
                    return Ok(waiting);
                }
                match usage::intake(&self.context) {
                    None => Ok(held(
                        "the feed does not say where usage data goes",
                        "nothing: the vendor takes no usage data, or the feed was not read yet",
                    )),
                    Some(Err(why)) => Ok(held(&why, "ask the vendor, or update this program")),
                    Some(Ok((config, url))) => self.send(cx, report, &config, &url).await,
                }
            }
        }
    }

    /// The level was lowered below that of a collected report: it must not leave as it is.
    async fn recollect(
        &self,
        cx: &mut Activation<'_>,
        report: &UsageReportRow,
    ) -> Result<(), ComponentError> {
        tracing::info!(
            "the report {} is of level {}, above the level that is configured now; a new one takes its place",
            report.report_id,
            report.level
        );
        let event = match report.state {
            ReportState::Sending => ReportEvent::Discard,
            _ => ReportEvent::Replace,
        };
        let (context, gone, now) = (self.context.clone(), report.clone(), cx.now());
        self.context
            .store
            .write::<_, StoreError, _>(move |tx| {
                tx.change_usage_report(&gone.report_id, event, now)?;
                if event == ReportEvent::Discard {
                    let why = "the level was lowered before the service confirmed it";
                    ledger::append(
                        tx,
                        context.internet.secrets(),
                        LedgerEvent::Discarded,
                        &gone,
                        why,
                        now,
                    )?;
                }
                Ok(())
            })
            .await?;
        self.collect(cx, report.week).await?;
        // The new one has its turn in an activation of its own.
        self.context.wake(ComponentName::DmpUploader);
        Ok(())
    }

    async fn send(
        &self,
        cx: &mut Activation<'_>,
        report: UsageReportRow,
        config: &IntakeConfig,
        url: &Url,
    ) -> Result<Option<Held>, ComponentError> {
        let id = report.report_id.clone();
        let host = url.host_str().unwrap_or_default().to_owned();
        cx.progress(format!("sending a report to {host}"));
        let sealed = self.begin(cx, report.clone(), &host).await?;
        let intake = way_out::intake(&self.context)?;
        tracing::info!("sending the report {id}, {} bytes, to {url}", sealed.len());
        let uploading = intake.upload(url, &id, &sealed);
        let uploaded = tokio::select! {
            uploaded = uploading => uploaded,
            () = cx.cancelled().cancelled() => return Ok(None),
        };
        match uploaded {
            Ok(Uploaded::Receipt(text)) => {
                match Receipt::verify(&text, &config.receipt_keys, &id, &report.sha256) {
                    Ok(receipt) => self.confirmed(cx, report, &receipt, &text, &host).await,
                    Err(failure) => self.failed(cx, report, &failure.to_string(), None).await,
                }
            }
            Ok(Uploaded::Refused { status, why }) => {
                self.refused(cx, report, &format!("{host} answered {status}: {why}"))
                    .await
            }
            Err(failure) => {
                let after = failure.retry_after();
                self.failed(cx, report, &failure.to_string(), after).await
            }
        }
    }

    /// Seals the report and enters it in the ledger, before its first byte leaves. Done before, it changes
    /// nothing.
    async fn begin(
        &self,
        cx: &Activation<'_>,
        report: UsageReportRow,
        host: &str,
    ) -> Result<Bytes, ComponentError> {
        if let (Some(sealed), ReportState::Sending) = (&report.sealed, report.state) {
            return Ok(Bytes::from(sealed.clone()));
        }
        let (context, host, now) = (self.context.clone(), host.to_owned(), cx.now());
        self.context
            .store
            .write::<_, ComponentError, _>(move |tx| {
                let secrets = context.internet.secrets();
                let sealed = match &report.sealed {
                    Some(sealed) => sealed.clone(),
                    None => sealed_report(&context, tx, &report)?,
                };
                tx.seal_usage_report(&report.report_id, &sealed)?;
                tx.change_usage_report(&report.report_id, ReportEvent::Begin, now)?;
                ledger::append(tx, secrets, LedgerEvent::Sending, &report, &host, now)?;
                Ok(Bytes::from(sealed))
            })
            .await
    }

    async fn confirmed(
        &self,
        cx: &Activation<'_>,
        report: UsageReportRow,
        receipt: &Receipt,
        text: &[u8],
        host: &str,
    ) -> Result<Option<Held>, ComponentError> {
        let now = cx.now();
        let id = match receipt.verdict {
            ReceiptVerdict::Accepted => StatusMessageId::UsageSent,
            ReceiptVerdict::Quarantined => StatusMessageId::UsageQuarantined,
        };
        let message = self.context.status_message(id, &[&report.report_id, host], now);
        let text = String::from_utf8_lossy(text).trim().to_owned();
        let context = self.context.clone();
        tracing::info!(
            "{host} confirmed the report {}: {}",
            report.report_id,
            receipt.verdict.as_str()
        );
        self.context
            .store
            .write::<_, StoreError, _>(move |tx| {
                record_receipt(tx, &context, &report, &text, now)?;
                usage::set_requested(tx, false)?;
                tx.record_status_message(&message)
            })
            .await?;
        Ok(None)
    }

    async fn refused(
        &self,
        cx: &Activation<'_>,
        report: UsageReportRow,
        why: &str,
    ) -> Result<Option<Held>, ComponentError> {
        tracing::warn!("the report {} was refused: {why}", report.report_id);
        let now = cx.now();
        let message =
            self.context
                .status_message(StatusMessageId::UsageRefused, &[&report.report_id, why], now);
        let (context, why) = (self.context.clone(), why.to_owned());
        self.context
            .store
            .write::<_, StoreError, _>(move |tx| {
                tx.change_usage_report(&report.report_id, ReportEvent::Refuse, now)?;
                tx.record_usage_refusal(&report.report_id, &why)?;
                ledger::append(
                    tx,
                    context.internet.secrets(),
                    LedgerEvent::Refused,
                    &report,
                    &why,
                    now,
                )?;
                usage::set_requested(tx, false)?;
                tx.record_status_message(&message)
            })
            .await?;
        Ok(None)
    }

    async fn failed(
        &self,
        cx: &mut Activation<'_>,
        report: UsageReportRow,
        why: &str,
        after: Option<std::time::Duration>,
    ) -> Result<Option<Held>, ComponentError> {
        let now = cx.now();
        let mut next_try = cx.backoff_next(report.attempts + 1);
        if let Some(after) = after {
            next_try = next_try.max(later(now, after.min(ATTEMPT_WAIT_MAX)));
        }
        tracing::warn!(
            "the report {} could not be sent: {why}; next try at {next_try}",
            report.report_id
        );
        let strings = [why, &next_try.to_string()];
        let message = self
            .context
            .status_message(StatusMessageId::UsageNotSent, &strings, now);
        // Told once per report; the component's waiting reason has the rest.
        let first = report.attempts == 0;
        let recorded = why.to_owned();
        let id = report.report_id.clone();
        self.context
            .store
            .write::<_, StoreError, _>(move |tx| {
                if first {
                    tx.record_status_message(&message)?;
                }
                tx.record_usage_failure(&id, &recorded, next_try)
            })
            .await?;
        Ok(Some(Held {
            what: format!("the report of {} is not sent: {why}", report.collected_at),
            since: report.changed_at,
            next_try: Some(next_try),
            action: "`tidegate usage upload` tries at once; `tidegate check --site` checks internet access"
                .into(),
        }))
    }
}

/// The bytes that leave for a report, and the same again whenever they are asked for.
pub fn sealed_report(
    context: &SiteContext,
    tx: &store::Tx<'_>,
    report: &UsageReportRow,
) -> Result<Vec<u8>, ComponentError> {
    let key = usage::signing_key(context.internet.secrets(), tx).map_err(|failure: InternetError| {
        ComponentError::with_source("the key that signs reports cannot be used", failure)
    })?;
    Ok(seal(
        &report.report_id,
        &report.hierarchy,
        &report.level,
        report.collected_at,
        &report.body,
        &key,
    )?)
}

/// Stores a receipt and enters it in the ledger, once.
pub fn record_receipt(
    tx: &store::Tx<'_>,
    context: &SiteContext,
    report: &UsageReportRow,
    receipt: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    if tx.ledger_has(&report.report_id, LedgerEvent::Receipt.as_str())? {
        return Ok(false);
    }
    tx.change_usage_report(&report.report_id, ReportEvent::Receipt, now)?;
    tx.record_usage_receipt(&report.report_id, receipt)?;
    ledger::append(
        tx,
        context.internet.secrets(),
        LedgerEvent::Receipt,
        report,
        receipt,
        now,
    )?;
    Ok(true)
}

/// Stores a collected report; those that have not begun to leave make room for it.
pub async fn store_report(
    context: &Arc<SiteContext>,
    report: UsageReportRow,
    now: Timestamp,
) -> Result<(), StoreError> {
    let strings = [report.report_id.as_str(), report.level.as_str()];
    let message = context.status_message(StatusMessageId::UsageCollected, &strings, now);
    tracing::info!(
        "collected usage data at level {}: report {}, {} bytes",
        report.level,
        report.report_id,
        report.body.len()
    );
    context
        .store
        .write::<_, StoreError, _>(move |tx| {
            usage::replace_open(tx, now)?;
            tx.insert_usage_report(&report)?;
            tx.record_status_message(&message)
        })
        .await
}

/// What a person can do about a report that waits.
fn action_of(why: &str) -> &'static str {
    match why {
        why if why.contains("approve") => {
            "`tidegate usage preview` shows it; `tidegate usage approve` lets it go"
        }
        why if why.contains("offline") => {
            "`tidegate usage export FILE` shows it; the service connection tool carries it"
        }
        _ => "`tidegate usage sending automatic` turns sending on",
    }
}

impl Component for Uploader {
    fn name(&self) -> ComponentName {
        ComponentName::DmpUploader
    }

    fn activate<'a>(&'a self, mut cx: Activation<'a>) -> BoxFuture<'a, Result<Report, ComponentError>> {
        async move { self.run(&mut cx).await }.boxed()
    }
}
