//! How the content of a package gets here: what is here already, deltas from packages that are here, blocks for the
//! rest. Decided from signed sizes before any of it is fetched.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use std::sync::Arc;

use content::Library;
use content::deltas::{Chosen, DeltaIndex, Source, choose};
use content::download::DownloadPlan;
use content::index::PayloadIndex;
use domain::servicing::package::{DeltaReference, PackageGuid, PackageRecord};
use feed::{FeedClient, FeedError};
use jiff::Timestamp;
use protocol::api::{DeliveryInfo, DeliveryPart};
use protocol::catalogue;
use store::StoreError;

use crate::context::{SiteContext, whole_story};

/// Most delta indexes that are read for one package.
const INDEXES_MAX: usize = 8;

/// Deltas that may help, and those among them that turned out not to.
pub struct Delivery {
    /// The payload.
    pub payload: Arc<PayloadIndex>,
    sources: Vec<(DeltaReference, DeltaIndex, HashSet<usize>)>,
}

impl Delivery {
    /// Reads the indexes of the deltas that lead here from what the library holds: in one step, or where none does,
    /// in two. An index that cannot be read is left out; blocks do without.
    pub async fn look(
        context: &SiteContext,
        client: &mut FeedClient,
        record: &PackageRecord,
        payload: Arc<PayloadIndex>,
        folder: &Path,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let (library, wanted) = (context.library.clone(), payload.clone());
        let here = tokio::task::spawn_blocking(move || {
            let complete = library.missing(&wanted).is_empty();
            (complete, library.references().unwrap_or_default())
        });
        let (complete, here) = here.await.unwrap_or_default();
        if complete {
            let sources = Vec::new();
            return Ok(Delivery { payload, sources });
        }
        let here: HashSet<PackageGuid> = here.iter().filter_map(|name| name.parse().ok()).collect();
        let mut references = Vec::new();
        for delta in &record.payload.deltas {
            match delta.base {
                None => references.push(delta.clone()),
                Some(base) if here.contains(&base) => references.push(delta.clone()),
                Some(base) => {
                    let line = context
                        .store
                        .read::<_, StoreError, _>(move |tx| Ok(tx.package_record(base).ok()))
                        .await?;
                    let between = line.and_then(|line| catalogue::parse_line(&line).ok());
                    let first_steps = between.map(|between| between.payload.deltas).unwrap_or_default();
                    let usable = |step: &DeltaReference| step.base.is_some_and(|base| here.contains(&base));
                    if first_steps.iter().any(usable) {
                        references.push(delta.clone());
                        references.extend(first_steps.into_iter().filter(usable));
                    }
                }
            }
        }
        let mut seen = BTreeSet::new();
        references.retain(|reference| seen.insert(reference.index_sha256.clone()));
        references.truncate(INDEXES_MAX);
        let mut sources = Vec::new();
        for (number, reference) in references.into_iter().enumerate() {
            let path = folder.join(format!("delta-{number}"));
            if let Err(why) = fetch_index(client, &reference, &path, now).await {
                tracing::info!("{} cannot be had and is left out: {why}", reference.index_target);
                continue;
            }
            let read = tokio::task::spawn_blocking(move || DeltaIndex::read_file(&path)).await;
            match read {
                Ok(Ok(index)) => sources.push((reference, index, HashSet::new())),
                Ok(Err(failure)) => tracing::warn!("{}: {failure}; it is left out", reference.index_target),
                Err(_) => tracing::warn!("{}: reading it crashed; it is left out", reference.index_target),
            }
        }
        Ok(Delivery { payload, sources })
    }

    /// The segments to fetch, in order. Blocks on files.
    pub fn steps(&self, library: &Library) -> Vec<Chosen> {
        let sources: Vec<Source<'_>> = self
            .sources
            .iter()
            .map(|(_, index, refused)| Source { index, refused })
            .collect();
        choose(&self.payload, &sources, &|object| library.has(object))
    }

    /// The delta index of a step.
    pub fn index(&self, step: Chosen) -> &DeltaIndex {
        &self.sources[step.source].1
    }

    /// From which package a step leads.
    pub fn base(&self, step: Chosen) -> Option<PackageGuid> {
        self.sources[step.source].0.base
    }

    /// Bytes of a step.
    pub fn bytes(&self, step: Chosen) -> u64 {
        self.index(step).segments[step.segment].length
    }

    /// A step that gave nothing is not chosen again.
    pub fn refuse(&mut self, step: Chosen) {
        self.sources[step.source].2.insert(step.segment);
    }

    /// What is left to blocks once these steps are done. Blocks on files.
    pub fn blocks_after(&self, steps: &[Chosen], library: &Library) -> DownloadPlan {
        let given: HashSet<_> = steps
            .iter()
            .flat_map(|step| &self.index(*step).segments[step.segment].new)
            .map(|(object, _)| *object)
            .collect();
        content::download::plan_for(&self.payload, &|object| {
            given.contains(object) || library.has(object)
        })
    }

    /// The plan as people read it. Blocks on files.
    pub fn describe(&self, library: &Library) -> DeliveryInfo {
        let steps = self.steps(library);
        let (mut files, mut bytes) = (0, 0);
        for (object, size, _) in self.payload.objects() {
            if library.has(&object) {
                files += 1;
                bytes += size;
            }
        }
        let mut parts = vec![DeliveryPart::Here { files, bytes }];
        for step in &steps {
            let segment = &self.index(*step).segments[step.segment];
            parts.push(DeliveryPart::Delta {
                base: self.base(*step).map(|base| base.to_string()),
                files: segment.new.len() as u64,
                bytes: segment.new.iter().map(|(_, size)| size).sum(),
                fetched: segment.length,
            });
        }
        let blocks = self.blocks_after(&steps, library);
        parts.push(DeliveryPart::Blocks {
            ranges: blocks.ranges.len() as u64,
            fetched: blocks.bytes,
        });
        let fetched = blocks.bytes + steps.iter().map(|step| self.bytes(*step)).sum::<u64>();
        DeliveryInfo {
            parts,
            fetched,
            cold: blocks.total_bytes,
        }
    }
}

/// A delta index, if the feed signs the one that the catalogue names; otherwise why not.
async fn fetch_index(
    client: &mut FeedClient,
    reference: &DeltaReference,
    path: &Path,
    now: Timestamp,
) -> Result<(), String> {
    let told = |failure: FeedError| whole_story(&failure);
    let target = client
        .find_target(&reference.index_target, now)
        .await
        .map_err(told)?;
    if target.sha256.as_deref() != Some(reference.index_sha256.as_str()) {
        return Err("the feed signs another one than the catalogue names".into());
    }
    client
        .download_target(&target, path, &mut |_| {})
        .await
        .map_err(told)
}
