//! Usage data: level and will to send, collected reports, the ledger, the inventory.

use std::fs::File;
use std::io::Seek;

use domain::component::ComponentName;
use domain::status_message::StatusMessageId;
use domain::usage_data::inventory::Table;
use domain::usage_data::sending::{ReportEvent, Sending};
use domain::usage_data::{Level, collection};
use protocol::api::{
    InventoryInfo, LedgerChecked, LedgerEntryInfo, LedgerQuery, LimitQuery, UsageReportInfo, UsageShow,
};
use protocol::usage::ledger::LedgerEvent;
use store::{LedgerRow, StoreError, UsageReportRow};

use super::{Actor, ServiceError, SiteService};
use crate::components::store_report;
use crate::usage::import::{Format, ImportError, import};
use crate::usage::{self, collect_report, ledger};

/// Reports that `usage show` lists.
const SHOWN: u32 = 10;

fn invalid(message: String) -> ServiceError {
    ServiceError::Invalid { message, hint: None }
}

impl SiteService {
    /// The configured level.
    pub async fn usage_level(&self) -> Result<Level, ServiceError> {
        Ok(self.context.store.read::<_, StoreError, _>(usage::level).await?)
    }

    /// `scp level`
    pub async fn set_usage_level(&self, text: &str, actor: &Actor) -> Result<Level, ServiceError> {
        let level: Level = text.parse().map_err(invalid)?;
        let strings = [actor.as_str(), level.as_str()];
        let message =
            self.context
                .status_message(StatusMessageId::AdminUsageLevel, &strings, self.clock.now());
        self.context
            .store
            .write::<_, StoreError, _>(move |tx| {
                usage::set_level(tx, level)?;
                tx.record_status_message(&message)
            })
            .await?;
        self.context.wake(ComponentName::DmpUploader);
        Ok(level)
    }

    /// `usage sending`
    pub async fn set_usage_sending(&self, text: &str, actor: &Actor) -> Result<Sending, ServiceError> {
        let sending: Sending = text.parse().map_err(invalid)?;
        let strings = [actor.as_str(), sending.as_str()];
        let message =
            self.context
                .status_message(StatusMessageId::AdminUsageSending, &strings, self.clock.now());
        self.context
            .store
            .write::<_, StoreError, _>(move |tx| {
                usage::set_sending(tx, sending)?;
                tx.record_status_message(&message)
            })
            .await?;
        self.context.wake(ComponentName::DmpUploader);
        Ok(sending)
    }

    /// The will to send.
    pub async fn usage_sending(&self) -> Result<Sending, ServiceError> {
        Ok(self
            .context
            .store
            .read::<_, StoreError, _>(usage::sending)
            .await?)
    }

    /// `usage show`
    pub async fn usage_show(&self) -> Result<UsageShow, ServiceError> {
        let (level, sending, reports) = self
            .context
            .store
            .read::<_, StoreError, _>(|tx| {
                Ok((usage::level(tx)?, usage::sending(tx)?, tx.usage_reports(SHOWN)?))
            })
            .await?;
        let (intake, intake_problem) = match usage::intake(&self.context) {
            None => (None, None),
            Some(Ok((_, url))) => (Some(url.to_string()), None),
            Some(Err(problem)) => (None, Some(problem)),
        };
        Ok(UsageShow {
            level: level.to_string(),
            sending: sending.to_string(),
            intake,
            intake_problem,
            next_collection: collection::next(self.context.identity.created_at, self.clock.now()),
            reports: reports.into_iter().map(report_info).collect(),
        })
    }

    /// `usage preview`: collects now and returns the canonical bytes of a report at this level, the
    /// configured one unless given. Nothing is stored.
    pub async fn usage_preview(&self, level: Option<&str>) -> Result<String, ServiceError> {
        let level = level.map(str::parse).transpose().map_err(invalid)?;
        let report = collect_report(&self.context, level, None, &self.clock).await?;
        Ok(report.body)
    }

    /// `usage collect`: collects now and keeps the report, to be sent as configured.
    pub async fn usage_collect(&self, actor: &Actor) -> Result<UsageReportInfo, ServiceError> {
        let report = collect_report(&self.context, None, None, &self.clock).await?;
        let info = report_info(report.clone());
        self.context
            .raise(
                StatusMessageId::AdminUsageCollect,
                &[actor.as_str()],
                self.clock.now(),
            )
            .await?;
        store_report(&self.context, report, self.clock.now()).await?;
        self.context.wake(ComponentName::DmpUploader);
        Ok(info)
    }

    /// Collected reports, newest first.
    pub async fn usage_reports(&self, query: &LimitQuery) -> Result<Vec<UsageReportInfo>, ServiceError> {
        let limit = query.bounded();
        let rows = self
            .context
            .store
            .read::<_, StoreError, _>(move |tx| tx.usage_reports(limit))
            .await?;
        Ok(rows.into_iter().map(report_info).collect())
    }

    async fn usage_row(&self, report: &str) -> Result<UsageReportRow, ServiceError> {
        let id = report.to_owned();
        let found = self
            .context
            .store
            .read::<_, StoreError, _>(move |tx| tx.usage_report(&id))
            .await?;
        found.ok_or_else(|| ServiceError::NotFound {
            message: format!("there is no report {report:.60} of usage data"),
            hint: Some("`tidegate usage show` lists the newest".into()),
        })
    }

    /// One report.
    pub async fn usage_report(&self, report: &str) -> Result<UsageReportInfo, ServiceError> {
        self.usage_row(report).await.map(report_info)
    }

    /// The canonical bytes of a report, exactly as they leave.
    pub async fn usage_report_body(&self, report: &str) -> Result<String, ServiceError> {
        self.usage_row(report).await.map(|row| row.body)
    }

    /// `usage approve`
    pub async fn usage_approve(&self, report: &str, actor: &Actor) -> Result<UsageReportInfo, ServiceError> {
        let (id, event) = (StatusMessageId::AdminUsageApprove, ReportEvent::Approve);
        self.decide(report, id, event, LedgerEvent::Approved, actor).await
    }

    /// `usage discard`
    pub async fn usage_discard(&self, report: &str, actor: &Actor) -> Result<UsageReportInfo, ServiceError> {
        let (id, event) = (StatusMessageId::AdminUsageDiscard, ReportEvent::Discard);
        self.decide(report, id, event, LedgerEvent::Discarded, actor)
            .await
    }

    async fn decide(
        &self,
        report: &str,
        message: StatusMessageId,
        event: ReportEvent,
        entry: LedgerEvent,
        actor: &Actor,
    ) -> Result<UsageReportInfo, ServiceError> {
        let row = self.usage_row(report).await?;
        let now = self.clock.now();
        let message = self
            .context
            .status_message(message, &[actor.as_str(), &row.report_id], now);
        let (context, by) = (self.context.clone(), actor.as_str().to_owned());
        let (changed, row) = (row.clone(), row);
        let done = self
            .context
            .store
            .write::<_, StoreError, _>(move |tx| {
                if !tx.change_usage_report(&changed.report_id, event, now)? {
                    return Ok(false);
                }
                ledger::append(tx, context.internet.secrets(), entry, &changed, &by, now)?;
                tx.record_status_message(&message)?;
                Ok(true)
            })
            .await?;
        if !done {
            return Err(ServiceError::Refused {
                message: format!(
                    "the report {} is {}, where this is not possible",
                    row.report_id,
                    row.state.as_str()
                ),
                hint: Some("`tidegate usage show` lists the newest reports".into()),
            });
        }
        self.context.wake(ComponentName::DmpUploader);
        self.usage_report(&row.report_id).await
    }

    /// `usage upload`: the uploader sends what waits, or collects and sends.
    pub async fn usage_upload(&self, actor: &Actor) -> Result<(), ServiceError> {
        let refused = |message: &str, hint: &str| {
            Err(ServiceError::Refused {
                message: message.to_owned(),
                hint: Some(hint.to_owned()),
            })
        };
        if !self.context.internet.mode().may_connect() {
            return refused(
                "the service connection point is offline: nothing is sent",
                "`tidegate usage export FILE` writes the report to a file; the service connection tool carries it",
            );
        }
        if self.usage_sending().await? == Sending::Never {
            return refused(
                "sending is turned off",
                "turn it on: tidegate usage sending automatic",
            );
        }
        match usage::intake(&self.context) {
            Some(Ok(_)) => {}
            Some(Err(problem)) => return refused(&problem, "ask the vendor, or update this program"),
            None => {
                return refused(
                    "the feed does not say where usage data goes",
                    "read the feed first: tidegate updates check",
                );
            }
        }
        let message = self.context.status_message(
            StatusMessageId::AdminUsageUpload,
            &[actor.as_str()],
            self.clock.now(),
        );
        self.context
            .store
            .write::<_, StoreError, _>(move |tx| {
                usage::set_requested(tx, true)?;
                tx.clear_usage_wait()?;
                tx.record_status_message(&message)
            })
            .await?;
        self.context.wake(ComponentName::DmpUploader);
        Ok(())
    }

    /// `usage rotate-keys`
    pub async fn usage_rotate_keys(&self, actor: &Actor) -> Result<(), ServiceError> {
        let now = self.clock.now();
        let message = self
            .context
            .status_message(StatusMessageId::AdminUsageKeys, &[actor.as_str()], now);
        self.context
            .store
            .write::<_, StoreError, _>(move |tx| {
                usage::rotate_keys(tx, now)?;
                tx.record_status_message(&message)
            })
            .await?;
        Ok(())
    }

    /// `usage ledger`
    pub async fn usage_ledger(&self, query: LedgerQuery) -> Result<Vec<LedgerEntryInfo>, ServiceError> {
        let limit = LimitQuery { limit: query.limit }.bounded();
        let rows = self
            .context
            .store
            .read::<_, StoreError, _>(move |tx| match &query.report {
                Some(report) => tx.ledger_of(report),
                None => tx.ledger(query.after, limit),
            })
            .await?;
        Ok(rows.into_iter().map(ledger_info).collect())
    }

    /// `usage ledger verify`
    pub async fn usage_ledger_check(&self) -> Result<LedgerChecked, ServiceError> {
        let checked = self.usage_ledger_state().await?;
        if let Some(broken) = &checked.broken {
            self.context
                .raise(StatusMessageId::UsageLedgerBroken, &[broken], self.clock.now())
                .await?;
        }
        Ok(checked)
    }

    /// Whether the ledger is whole, without telling anybody.
    pub async fn usage_ledger_state(&self) -> Result<LedgerChecked, ServiceError> {
        let context = self.context.clone();
        let (check, broken) = self
            .context
            .store
            .read::<_, StoreError, _>(move |tx| ledger::check(tx, context.internet.secrets()))
            .await?;
        let broken = broken.map(|broken| broken.to_string());
        Ok(LedgerChecked {
            entries: check.entries,
            head: check.head,
            broken,
        })
    }

    /// `usage inventory`
    pub async fn inventory(&self) -> Result<Vec<InventoryInfo>, ServiceError> {
        let found = self
            .context
            .store
            .read::<_, StoreError, _>(|tx| {
                let imports = Table::ALL.map(|table| Ok((table, tx.inventory_import(table)?)));
                imports.into_iter().collect::<Result<Vec<_>, StoreError>>()
            })
            .await?;
        let info = |(table, import): (Table, Option<store::InventoryImport>)| InventoryInfo {
            table: table.to_string(),
            rows: import.as_ref().map(|import| import.rows),
            imported: import.as_ref().map(|import| import.imported_at),
            format: import.map(|import| import.format),
        };
        Ok(found.into_iter().map(info).collect())
    }

    /// A file without name in the inboxes, gone with its last user.
    pub fn inbox_file(&self) -> std::io::Result<File> {
        let folder = self.context.directory.inboxes();
        std::fs::create_dir_all(&folder)?;
        tempfile::tempfile_in(folder)
    }

    /// `usage inventory import`: a file replaces a table, or changes nothing.
    pub async fn import_inventory(
        &self,
        table: &str,
        format: &str,
        mut file: File,
        actor: &Actor,
    ) -> Result<InventoryInfo, ServiceError> {
        let table: Table = table.parse().map_err(invalid)?;
        let format = Format::parse(format).ok_or_else(|| {
            invalid(format!(
                "{format:.40?} is no form of a file; write csv, jsonl or parquet"
            ))
        })?;
        let (context, now) = (self.context.clone(), self.clock.now());
        // One at a time: two would remove each other's rows.
        let _turn = self.context.importing.lock().await;
        let rows = tokio::task::spawn_blocking(move || {
            file.rewind()?;
            import(&context.store, table, format, file, now)
        })
        .await?
        .map_err(|failure| match failure {
            ImportError::Store(failure) => failure.into(),
            other => ServiceError::Invalid {
                message: other.to_string(),
                hint: Some("the columns are in docs/reference/usage-data.md; the table is as it was".into()),
            },
        })?;
        // How many devices there are is a fact that rules may ask about.
        self.context.wake(ComponentName::HierarchyManager);
        let strings = [actor.as_str(), &rows.to_string(), table.as_str()];
        self.context
            .raise(StatusMessageId::AdminInventory, &strings, self.clock.now())
            .await?;
        Ok(InventoryInfo {
            table: table.to_string(),
            rows: Some(rows),
            imported: Some(now),
            format: Some(format.as_str().to_owned()),
        })
    }
}

fn report_info(row: UsageReportRow) -> UsageReportInfo {
    UsageReportInfo {
        report: row.report_id,
        state: row.state.as_str().to_owned(),
        level: row.level,
        collected: row.collected_at,
        took_ms: row.took_ms,
        bytes: row.body.len() as u64,
        sha256: row.sha256,
        attempts: row.attempts,
        next_attempt: row.next_attempt_at,
        failure: row.failure,
        receipt: row.receipt,
    }
}

fn ledger_info(row: LedgerRow) -> LedgerEntryInfo {
    LedgerEntryInfo {
        number: row.number,
        at: row.at,
        event: row.event,
        report: row.report_id,
        level: row.level,
        bytes: row.bytes,
        sha256: row.sha256,
        detail: row.detail,
        previous: row.previous,
        hash: row.hash,
    }
}
