//! How the content of a package gets here: what is here already, deltas from packages that are here, blocks for the
//! rest. Decided from signed sizes before any of it is fetched.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use content::deltas::{Chosen, DeltaIndex, Source, choose};
use content::download::DownloadPlan;
use content::index::{Pack, PayloadIndex};
use content::{Library, ObjectId};
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
        let bases = bases(context, record).await?;
        let references = ways_to(record, &|guid| bases.get(&guid), &|base| here.contains(&base));
        Ok(Self::read(client, references, payload, folder, now).await)
    }

    /// The same from a medium, which holds deltas that were chosen for what this site says that it has, package by
    /// package or not.
    pub async fn look_on_medium(
        context: &SiteContext,
        client: &mut FeedClient,
        record: &PackageRecord,
        payload: Arc<PayloadIndex>,
        folder: &Path,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let bases = bases(context, record).await?;
        let references = ways_to(record, &|guid| bases.get(&guid), &|_| true);
        Ok(Self::read(client, references, payload, folder, now).await)
    }

    /// Reads delta indexes; one that cannot be had is left out.
    async fn read(
        client: &mut FeedClient,
        references: Vec<DeltaReference>,
        payload: Arc<PayloadIndex>,
        folder: &Path,
        now: Timestamp,
    ) -> Self {
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
        Delivery { payload, sources }
    }

    /// The segments to take where only parts of packs are: none that is not there, and rather any of them than a block
    /// that is not. Blocks on files.
    pub fn steps_among(&self, library: &Library, there: &dyn Fn(&Pack, Range<u64>) -> bool) -> Vec<Chosen> {
        let mut payload = (*self.payload).clone();
        for block in &mut payload.blocks {
            let pack = &payload.packs[block.pack as usize];
            if !there(pack, block.offset..block.offset + u64::from(block.length)) {
                block.length = u32::MAX;
            }
        }
        let unusable: Vec<HashSet<usize>> = self
            .sources
            .iter()
            .map(|(_, index, refused)| {
                let numbers = 0..index.segments.len();
                numbers
                    .filter(|number| refused.contains(number) || !is_there(index, *number, there))
                    .collect()
            })
            .collect();
        let sources = self.sources.iter().zip(&unusable);
        let sources: Vec<Source<'_>> = sources
            .map(|((_, index, _), refused)| Source { index, refused })
            .collect();
        choose(&payload, &sources, &|object| library.has(object))
    }

    /// Whether a delta that is there should have given something that is missing all the same. Blocks on files.
    pub fn was_of_no_use(&self, library: &Library, there: &dyn Fn(&Pack, Range<u64>) -> bool) -> bool {
        let missing: HashSet<ObjectId> = library.missing(&self.payload).into_iter().collect();
        self.sources.iter().any(|(_, index, _)| {
            (0..index.segments.len()).any(|number| {
                let gives = &index.segments[number].new;
                gives.iter().any(|(object, _)| missing.contains(object)) && is_there(index, number, there)
            })
        })
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

/// Whether the bytes of a segment are there.
fn is_there(index: &DeltaIndex, number: usize, there: &dyn Fn(&Pack, Range<u64>) -> bool) -> bool {
    let segment = &index.segments[number];
    let pack = &index.packs[segment.pack as usize];
    there(pack, segment.offset..segment.offset + segment.length)
}

/// The deltas that lead to a package: from nothing, from a package that is here, or in two steps by way of one that is
/// not, as far as the catalogue knows it.
pub fn ways_to<'a>(
    record: &PackageRecord,
    between: &dyn Fn(PackageGuid) -> Option<&'a PackageRecord>,
    is_here: &dyn Fn(PackageGuid) -> bool,
) -> Vec<DeltaReference> {
    let mut references = Vec::new();
    let mut two_steps = Vec::new();
    for delta in &record.payload.deltas {
        let here = delta.base.is_none_or(is_here);
        let first_steps = delta.base.and_then(between).into_iter();
        let first_steps: Vec<&DeltaReference> = first_steps
            .flat_map(|between| &between.payload.deltas)
            .filter(|step| step.base.is_some_and(is_here))
            .collect();
        if here || !first_steps.is_empty() {
            references.push(delta.clone());
        }
        two_steps.extend(first_steps.into_iter().cloned());
    }
    // Those in one step first, should there be too many.
    references.extend(two_steps);
    let mut seen = BTreeSet::new();
    references.retain(|reference| seen.insert(reference.index_sha256.clone()));
    references.truncate(INDEXES_MAX);
    references
}

/// The packages that deltas to this one lead from, as far as the catalogue knows them.
async fn bases(
    context: &SiteContext,
    record: &PackageRecord,
) -> Result<BTreeMap<PackageGuid, PackageRecord>, StoreError> {
    let guids: Vec<PackageGuid> = record
        .payload
        .deltas
        .iter()
        .filter_map(|delta| delta.base)
        .collect();
    context
        .store
        .read::<_, StoreError, _>(move |tx| {
            let lines = guids
                .into_iter()
                .filter_map(|guid| Some((guid, tx.package_record(guid).ok()?)));
            Ok(lines
                .filter_map(|(guid, line)| Some((guid, catalogue::parse_line(&line).ok()?)))
                .collect())
        })
        .await
}

/// A delta index, if the feed signs the one that the catalogue names; otherwise why not.
pub(crate) async fn fetch_index(
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
