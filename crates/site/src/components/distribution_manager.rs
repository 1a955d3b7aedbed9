//! SMS_DISTRIBUTION_MANAGER: brings the content of a started package to the content library of each
//! site. On a stand-alone site that means: every file is proven to be in its library.

use std::sync::Arc;
use std::time::Duration;

use content::index::PayloadIndex;
use domain::component::ComponentName;
use domain::servicing::install::{SubStage, SubStageState};
use domain::servicing::package::PackageRecord;
use domain::servicing::state::PackageState as S;
use domain::servicing::transition::PackageEvent as E;
use domain::status_message::StatusMessageId;
use executive::{Activation, Component, ComponentError, Next, Report};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use protocol::catalogue;
use store::StoreError;

use crate::context::{SiteContext, whole_story};

/// Missed wake-ups are caught by looking at least this often.
const INTERVAL: Duration = Duration::from_secs(10 * 60);

/// The component.
pub struct DistributionManager {
    context: Arc<SiteContext>,
}

impl DistributionManager {
    /// Made once; activated for ever.
    pub fn new(context: Arc<SiteContext>) -> Self {
        DistributionManager { context }
    }

    async fn run(&self, cx: &Activation<'_>) -> Result<Report, ComponentError> {
        let moving = self
            .context
            .store
            .read::<_, StoreError, _>(|tx| tx.packages_in(&[S::ContentReplicating]))
            .await?;
        let count = moving.len();
        for row in moving {
            cx.progress(format!("checking the content of {}", row.name));
            let guid = row.guid;
            let line = self
                .context
                .store
                .read::<_, StoreError, _>(move |tx| tx.package_record(guid))
                .await?;
            let context = self.context.clone();
            let span = tracing::Span::current();
            let problem =
                tokio::task::spawn_blocking(move || span.in_scope(|| missing(&context, &line))).await?;
            let now = cx.now();
            let strings = [row.name.as_str(), &guid.to_string()].map(str::to_owned);
            let [name, shown] = &strings;
            match problem {
                None => {
                    let message =
                        self.context
                            .status_message(StatusMessageId::PackageProcessed, &[shown], now);
                    self.context
                        .store
                        .write::<_, StoreError, _>(move |tx| {
                            tx.apply(
                                guid,
                                E::ReplicationSucceeded,
                                "content is complete on every site",
                                now,
                            )?;
                            tx.record_sub_stage(
                                guid,
                                SubStage::ReplicateContent,
                                SubStageState::Success,
                                "",
                                now,
                            )?;
                            tx.record_status_message(&message)
                        })
                        .await?;
                    tracing::info!("the content of {name} ({shown}) is complete");
                    self.context.wake(ComponentName::ConfigurationManagerUpdate);
                }
                Some(problem) => {
                    tracing::warn!("the content of {name} ({shown}) is incomplete: {problem}");
                    let message = self.context.status_message(
                        StatusMessageId::ReplicationFailed,
                        &[name, shown, &problem],
                        now,
                    );
                    self.context
                        .store
                        .write::<_, StoreError, _>(move |tx| {
                            let row = tx.package(guid)?;
                            tx.apply_all(&row, &[E::ReplicationFailed, E::ContentLost], &problem, now)?;
                            tx.record_sub_stage(
                                guid,
                                SubStage::ReplicateContent,
                                SubStageState::Failed,
                                &problem,
                                now,
                            )?;
                            tx.record_status_message(&message)
                        })
                        .await?;
                }
            }
        }
        Ok(Report {
            summary: format!("{count} package(s) moved"),
            next: Next::After(INTERVAL),
            waiting: None,
        })
    }
}

/// What the content library or the redistributables lack, in one line.
fn missing(context: &SiteContext, line: &str) -> Option<String> {
    let record = match catalogue::parse_line(line) {
        Ok(record) => record,
        Err(failure) => return Some(whole_story(&failure)),
    };
    match PayloadIndex::read_file(&context.directory.payload_index(record.guid)) {
        Err(failure) => Some(format!("{}; download the package again", whole_story(&failure))),
        Ok(index) => match context.library.missing(&index).len() {
            0 => damaged_redistributable(context, &record),
            count => Some(format!(
                "{count} file(s) are missing in the content library; download the package again"
            )),
        },
    }
}

/// The first redistributable that is not what was signed.
pub(super) fn damaged_redistributable(context: &SiteContext, record: &PackageRecord) -> Option<String> {
    record.redistributables.iter().find_map(|redist| {
        let path = context.directory.redist(record.guid).join(&redist.name);
        let found = content::publish::hash_file(&path)
            .ok()
            .map(|(hash, _)| hash.to_string());
        (found.as_deref() != Some(redist.sha256.as_str())).then(|| {
            let found = found.unwrap_or_else(|| "no file".to_owned());
            format!(
                "redistributable {}: expected SHA-256 {}, found {found}; download the package again",
                redist.name, redist.sha256
            )
        })
    })
}

impl Component for DistributionManager {
    fn name(&self) -> ComponentName {
        ComponentName::DistributionManager
    }

    fn activate<'a>(&'a self, cx: Activation<'a>) -> BoxFuture<'a, Result<Report, ComponentError>> {
        async move { self.run(&cx).await }.boxed()
    }
}
