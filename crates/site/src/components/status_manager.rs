//! SMS_STATUS_MANAGER: keeps status messages for the days that rules and settings give them, alerts for some days, and
//! the counts of messages small.

use std::sync::Arc;
use std::time::Duration;

use domain::component::ComponentName;
use executive::{Activation, Component, ComponentError, Next, Report};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use store::StoreError;

use crate::context::SiteContext;

/// Rows removed in one transaction, so that nobody waits long for the database.
const BATCH: u32 = 5_000;

/// How long an alert is kept after the last thing that happened to it, delivered or not.
const ALERTS_KEPT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// The component.
pub struct StatusManager {
    context: Arc<SiteContext>,
}

impl StatusManager {
    /// Made once; activated for ever.
    pub fn new(context: Arc<SiteContext>) -> Self {
        StatusManager { context }
    }
}

/// Messages older than this instant are removed.
pub(super) fn retention_limit(context: &SiteContext, now: Timestamp) -> Timestamp {
    let kept = SignedDuration::from_hours(i64::from(context.settings.message_days) * 24);
    now.checked_sub(kept).unwrap_or(Timestamp::MIN)
}

impl Component for StatusManager {
    fn name(&self) -> ComponentName {
        ComponentName::StatusManager
    }

    fn activate<'a>(&'a self, cx: Activation<'a>) -> BoxFuture<'a, Result<Report, ComponentError>> {
        async move {
            let now = cx.now();
            let before = retention_limit(&self.context, now);
            let alerts_before = now.checked_sub(ALERTS_KEPT).unwrap_or(Timestamp::MIN);
            let removed = self
                .context
                .store
                .write::<_, StoreError, _>(move |tx| {
                    tx.fold_tally(now)?;
                    tx.remove_alerts(alerts_before, BATCH)?;
                    tx.remove_status_messages(before, now, BATCH)
                })
                .await?;
            let wait = if removed == BATCH as usize {
                Duration::from_secs(1)
            } else {
                Duration::from_secs(3600)
            };
            let summary = format!("{removed} old status message(s) removed");
            Ok(Report {
                summary,
                next: Next::After(wait),
                waiting: None,
            })
        }
        .boxed()
    }
}
