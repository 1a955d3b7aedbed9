//! The content of packages on a medium: deltas for what the site has, blocks for the rest, each verified before it counts.

use std::sync::Arc;

use content::deltas::{SegmentError, SegmentProgress};
use content::download::{DownloadError, DownloadPlan, execute, plan_exactly};
use content::index::PayloadIndex;
use domain::servicing::package::{PackageGuid, PackageRecord};
use executive::{Activation, ComponentError};
use feed::FeedClient;
use protocol::catalogue;
use protocol::transfer::BundleHierarchy;
use store::StoreError;

use super::import::{Ended, refused};
use super::payload;
use crate::context::{SiteContext, whole_story};
use crate::delivery::Delivery;
use crate::offline::feed_time;
use crate::offline::import::Verdict;
use crate::offline::medium::{Fragments, Medium};

/// What came of a package.
pub(super) struct Seeded {
    /// Files that are still missing.
    pub missing_files: u64,
    /// A delta on the medium did not give what it should: the next medium has to bring blocks.
    pub without_deltas: bool,
}

/// Takes in the content of a package as far as the medium has it.
pub(super) async fn seed(
    context: &Arc<SiteContext>,
    cx: &Activation<'_>,
    client: &mut FeedClient,
    medium: &Medium,
    part: &BundleHierarchy,
    guid: PackageGuid,
) -> Result<Seeded, Ended> {
    let line = context
        .store
        .read::<_, StoreError, _>(move |tx| tx.package_record(guid))
        .await;
    let Ok(line) = line else {
        return Err(refused(
            Verdict::Damaged,
            format!("it names package {guid}, which its feed does not list"),
        )
        .into());
    };
    let record =
        catalogue::parse_line(&line).map_err(|failure| refused(Verdict::Damaged, whole_story(&failure)))?;
    let index = payload::fetch_index(context, cx, client, &record)
        .await
        .map_err(|ended| of_payload(ended, guid))?;
    let (library, name) = (context.library.clone(), guid.to_string());
    let index_file = context.directory.payload_index(guid);
    let wanted = tokio::task::spawn_blocking(move || library.want(&name, &index_file));
    wanted
        .await
        .map_err(|_| ComponentError::new("writing to the content library crashed"))?
        .map_err(|failure| refused(Verdict::Storage, whole_story(&failure)))?;
    let content = medium.content(&part.feed);
    let fragments = tokio::task::spawn_blocking(move || Fragments::of(content))
        .await
        .map_err(|_| ComponentError::new("listing the medium crashed"))??;
    let fragments = Arc::new(fragments);
    let delivery = apply_deltas(context, cx, client, &record, &index, &fragments).await?;
    let planned = plan_of(context, &index, &fragments).await?;
    let whole = fetch(context, cx, &index, planned, &fragments).await;
    if let Err(failure) = whole {
        tracing::warn!("{guid}: {failure}; what can be read is taken in run by run");
        for range in plan_of(context, &index, &fragments).await?.ranges {
            if cx.cancelled().is_cancelled() {
                break;
            }
            let one = DownloadPlan {
                bytes: range.end - range.start,
                ranges: vec![range],
                total_bytes: 0,
            };
            if let Err(failure) = fetch(context, cx, &index, one, &fragments).await {
                tracing::warn!("{guid}: {failure}");
            }
        }
    }
    let library = context.library.clone();
    let (name, file) = (guid.to_string(), context.directory.payload_index(guid));
    let missing = tokio::task::spawn_blocking(move || {
        let missing = library.missing(&delivery.payload).len() as u64;
        if missing == 0 {
            library.add_reference(&name, &file)?;
        }
        let of_no_use =
            missing > 0 && delivery.was_of_no_use(&library, &|pack, range| fragments.has(pack, range));
        Ok::<_, content::LibraryError>((missing, of_no_use))
    });
    let (mut missing_files, without_deltas) = missing
        .await
        .map_err(|_| ComponentError::new("looking through the content library crashed"))?
        .map_err(|failure| refused(Verdict::Storage, whole_story(&failure)))?;
    for redist in &record.redistributables {
        let path = context.directory.redist(guid).join(&redist.name);
        if let Err(ended) = payload::fetch_redistributable(context, cx, client, redist, &path).await {
            tracing::warn!("redistributable {} of {guid}: {}", redist.name, ended.words());
            missing_files += 1;
        }
    }
    Ok(Seeded {
        missing_files,
        without_deltas,
    })
}

/// Applies the deltas that the medium has, as far as they are of use here: before the blocks, which fill what is left.
/// One that gives nothing is left out; nothing of it is visible.
async fn apply_deltas(
    context: &Arc<SiteContext>,
    cx: &Activation<'_>,
    client: &mut FeedClient,
    record: &PackageRecord,
    index: &Arc<PayloadIndex>,
    fragments: &Arc<Fragments>,
) -> Result<Delivery, Ended> {
    let folder = context.directory.package_payload(record.guid);
    let judged = feed_time(context, cx.now());
    let mut delivery =
        Delivery::look_on_medium(context, client, record, index.clone(), &folder, judged).await?;
    loop {
        let (library, medium) = (context.library.clone(), fragments.clone());
        let planned = tokio::task::spawn_blocking(move || {
            let steps = delivery.steps_among(&library, &|pack, range| medium.has(pack, range));
            (delivery, steps)
        });
        let steps;
        (delivery, steps) = planned
            .await
            .map_err(|_| ComponentError::new("planning the import crashed"))?;
        let mut refused = None;
        for step in steps {
            let library = context.library.clone();
            let (deltas, source) = (delivery.index(step), &**fragments);
            let files = deltas.segments[step.segment].new.len();
            // No transfer is shown of an import: whoever began it sees its state, and the log what takes long.
            let tell = |now| {
                if now == SegmentProgress::Applying {
                    tracing::info!("{}: applying a delta that gives {files} file(s)", record.guid);
                }
            };
            let given =
                content::deltas::fetch(deltas, step.segment, library, source, &tell, cx.cancelled()).await;
            match given {
                Ok(()) => {}
                Err(SegmentError::Download(DownloadError::Cancelled)) => return Ok(delivery),
                Err(failure) => {
                    tracing::warn!("{}: {}; it is left out", record.guid, whole_story(&failure));
                    refused = Some(step);
                    break;
                }
            }
        }
        // Each round leaves out one more segment, so there is an end.
        match refused {
            None => return Ok(delivery),
            Some(step) => delivery.refuse(step),
        }
    }
}

fn of_payload(ended: payload::Ended, guid: PackageGuid) -> Ended {
    match ended {
        payload::Ended::Attempt(failed) => {
            refused(Verdict::Damaged, format!("package {guid}: {}", failed.text)).into()
        }
        payload::Ended::Waits(why, _) => Ended::Local(ComponentError::new(why)),
        payload::Ended::Local(failure) => Ended::Local(failure),
        payload::Ended::Stopped => Ended::Local(ComponentError::new("stopped")),
    }
}

/// What the library lacks and the medium has.
async fn plan_of(
    context: &Arc<SiteContext>,
    index: &Arc<PayloadIndex>,
    fragments: &Arc<Fragments>,
) -> Result<DownloadPlan, ComponentError> {
    let (library, index, fragments) = (context.library.clone(), index.clone(), fragments.clone());
    tokio::task::spawn_blocking(move || {
        let mut plan = plan_exactly(&index, &library);
        plan.ranges.retain(|range| fragments.covers(&index, range));
        plan.bytes = plan.ranges.iter().map(|range| range.end - range.start).sum();
        plan
    })
    .await
    .map_err(|_| ComponentError::new("planning the import crashed"))
}

async fn fetch(
    context: &Arc<SiteContext>,
    cx: &Activation<'_>,
    index: &Arc<PayloadIndex>,
    plan: DownloadPlan,
    fragments: &Arc<Fragments>,
) -> Result<(), String> {
    execute(
        index.clone(),
        plan,
        context.library.clone(),
        fragments.clone(),
        Arc::new(|_| {}),
        cx.cancelled(),
    )
    .await
    .map_err(|failure| whole_story(&failure))
}
