//! Fetching what the content library lacks of one package: deltas where they are cheaper, blocks for the rest.

use std::sync::{Arc, Mutex, PoisonError};

use content::deltas::{Chosen, SegmentError, SegmentProgress};
use content::download::DownloadError;
use content::index::PayloadIndex;
use domain::servicing::install::{SubStage, SubStageState};
use domain::servicing::package::PackageRecord;
use domain::servicing::state_message::StateMessage as M;
use executive::Activation;
use feed::FeedClient;
use store::{PackageRow, StoreError};

use super::payload::{Ended, Failed, blocking};
use super::progress_is_due;
use crate::context::{SiteContext, state_message, whole_story};
use crate::delivery::Delivery;
use crate::offline::feed_time;
use crate::way_out::FeedRanges;

impl From<content::LibraryError> for Failed {
    fn from(failure: content::LibraryError) -> Self {
        Failed {
            storage: failure.is_disk(),
            text: whole_story(&failure),
            retry_after: None,
        }
    }
}

impl From<DownloadError> for Ended {
    fn from(failure: DownloadError) -> Self {
        if matches!(failure, DownloadError::Cancelled) {
            return Ended::Stopped;
        }
        if failure.is_own_wish() {
            return Ended::Waits(whole_story(&failure), failure.retry_after().unwrap_or_default());
        }
        Ended::Attempt(Failed {
            storage: failure.is_disk(),
            retry_after: failure.retry_after(),
            text: whole_story(&failure),
        })
    }
}

/// State messages 9 and 10, unless everything is here already (acceptance fact 10).
pub(super) async fn fetch(
    context: &Arc<SiteContext>,
    cx: &Activation<'_>,
    row: &PackageRow,
    client: &mut FeedClient,
    record: &PackageRecord,
    index: &Arc<PayloadIndex>,
    transport: Arc<dyn feed::Transport>,
) -> Result<(), Ended> {
    let guid = row.guid;
    let (library, index_file) = (context.library.clone(), context.directory.payload_index(guid));
    blocking(move || library.want(&guid.to_string(), &index_file))
        .await?
        .map_err(Failed::from)?;
    let folder = context.directory.package_payload(guid);
    let judged = feed_time(context, cx.now());
    let mut delivery = Delivery::look(context, client, record, index.clone(), &folder, judged).await?;
    let mut work = Work {
        context,
        cx,
        row,
        ranges: Arc::new(FeedRanges::new(transport)),
        fetched: 0,
    };
    let (steps, planned, total);
    (delivery, steps, planned, total) = work.plan(delivery).await?;
    tracing::info!(
        "{} ({guid}) needs {planned} of {total} bytes, {} delta(s) among them; the rest is here",
        row.name,
        steps.len()
    );
    if planned > 0 {
        work.begin(planned).await?;
    }
    work.deltas(delivery, steps).await?;
    let (library, planned_index) = (context.library.clone(), index.clone());
    let plan = blocking(move || content::download::plan(&planned_index, &library)).await?;
    if plan.bytes > 0 {
        let bytes = plan.bytes;
        let progress = work.progress();
        content::download::execute(
            index.clone(),
            plan,
            context.library.clone(),
            work.ranges.clone(),
            progress,
            cx.cancelled(),
        )
        .await?;
        work.fetched += bytes;
    }
    work.end(total).await
}

/// The fetching of one package's content.
struct Work<'a, 'b> {
    context: &'a Arc<SiteContext>,
    cx: &'a Activation<'b>,
    row: &'a PackageRow,
    ranges: Arc<FeedRanges>,
    /// Bytes of what was carried out so far.
    fetched: u64,
}

impl Work<'_, '_> {
    /// The steps to take now, the bytes of everything that is still to come, and what it would be without anything.
    async fn plan(&self, delivery: Delivery) -> Result<(Delivery, Vec<Chosen>, u64, u64), Ended> {
        let library = self.context.library.clone();
        let planned = blocking(move || {
            let steps = delivery.steps(&library);
            let blocks = delivery.blocks_after(&steps, &library);
            let bytes = blocks.bytes + steps.iter().map(|step| delivery.bytes(*step)).sum::<u64>();
            (delivery, steps, bytes, blocks.total_bytes)
        });
        planned.await
    }

    async fn begin(&self, bytes: u64) -> Result<(), Ended> {
        let (guid, now) = (self.row.guid, self.cx.now());
        self.context
            .store
            .write::<_, StoreError, _>(move |tx| {
                state_message(
                    tx,
                    M::PayloadDownloadStarted,
                    guid,
                    &format!("{bytes} bytes"),
                    now,
                )?;
                tx.record_sub_stage(
                    guid,
                    SubStage::DownloadPayload,
                    SubStageState::InProgress,
                    "",
                    now,
                )
            })
            .await?;
        let host = self.context.feed_host();
        self.context.progress.begin(guid, "payload", &host, 0, bytes, now);
        Ok(())
    }

    /// Fetches and applies deltas. One that gives nothing is left out and the rest is planned anew.
    async fn deltas(&mut self, mut delivery: Delivery, mut steps: Vec<Chosen>) -> Result<(), Ended> {
        while let Some(step) = steps.first().copied() {
            steps.remove(0);
            let progress = self.progress();
            let guid = self.row.guid;
            let files = delivery.index(step).segments[step.segment].new.len();
            let (all_came, clock) = (self.fetched + delivery.bytes(step), self.cx.clock());
            let result = content::deltas::fetch(
                delivery.index(step),
                step.segment,
                self.context.library.clone(),
                &*self.ranges,
                &|step| match step {
                    SegmentProgress::Fetched(got) => progress(got),
                    SegmentProgress::Applying => {
                        let doing = format!("applying a delta that gives {files} file(s)");
                        tracing::info!("{} ({guid}): {doing}", self.row.name);
                        self.context.progress.advance(guid, all_came, clock.now());
                        self.context.progress.work(guid, Some(doing));
                    }
                },
                self.cx.cancelled(),
            )
            .await;
            self.context.progress.work(guid, None);
            match result {
                Ok(()) => self.fetched += delivery.bytes(step),
                Err(SegmentError::Download(failure)) => return Err(failure.into()),
                Err(SegmentError::Refused(why)) => {
                    tracing::warn!(
                        "a delta for {} ({}) is left out: {why}; other deltas or blocks do without",
                        self.row.name,
                        self.row.guid
                    );
                    self.fetched += delivery.bytes(step);
                    delivery.refuse(step);
                    (delivery, steps, ..) = self.plan(delivery).await?;
                }
            }
        }
        Ok(())
    }

    /// Tells the board of bytes beyond those of earlier steps, now and then.
    fn progress(&self) -> Arc<dyn Fn(u64) + Send + Sync> {
        let (board, clock) = (self.context.clone(), self.cx.clock().clone());
        let (guid, before) = (self.row.guid, self.fetched);
        let last = Mutex::new(clock.now());
        Arc::new(move |done: u64| {
            let now = clock.now();
            let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
            if progress_is_due(*last, now) {
                *last = now;
                board.progress.advance(guid, before + done, now);
            }
        })
    }

    async fn end(&self, total: u64) -> Result<(), Ended> {
        let (guid, now) = (self.row.guid, self.cx.now());
        let detail = format!("{} of {total} bytes fetched", self.fetched);
        self.context
            .store
            .write::<_, StoreError, _>(move |tx| {
                state_message(tx, M::PayloadDownloaded, guid, &detail, now)?;
                tx.record_sub_stage(
                    guid,
                    SubStage::DownloadPayload,
                    SubStageState::Success,
                    &detail,
                    now,
                )
            })
            .await?;
        Ok(())
    }
}
