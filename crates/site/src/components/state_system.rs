//! SMS_STATE_SYSTEM: keeps state messages for the configured number of days.

use std::sync::Arc;
use std::time::Duration;

use domain::component::ComponentName;
use executive::{Activation, Component, ComponentError, Next, Report};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use store::StoreError;

use super::status_manager::retention_limit;
use crate::context::SiteContext;

/// Rows removed in one transaction, so that nobody waits long for the database.
const BATCH: u32 = 5_000;

/// The component.
pub struct StateSystem {
    context: Arc<SiteContext>,
}

impl StateSystem {
    /// Made once; activated for ever.
    pub fn new(context: Arc<SiteContext>) -> Self {
        StateSystem { context }
    }
}

impl Component for StateSystem {
    fn name(&self) -> ComponentName {
        ComponentName::StateSystem
    }

    fn activate<'a>(&'a self, cx: Activation<'a>) -> BoxFuture<'a, Result<Report, ComponentError>> {
        async move {
            let before = retention_limit(&self.context, cx.now());
            let removed = self
                .context
                .store
                .write::<_, StoreError, _>(move |tx| tx.remove_state_messages(before, BATCH))
                .await?;
            let wait = if removed == BATCH as usize {
                Duration::from_secs(1)
            } else {
                Duration::from_secs(3600)
            };
            let summary = format!("{removed} old state message(s) removed");
            Ok(Report {
                summary,
                next: Next::After(wait),
                waiting: None,
            })
        }
        .boxed()
    }
}
