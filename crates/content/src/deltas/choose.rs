//! The cheapest mix of what is here, deltas and blocks, decided from sizes before anything is fetched.

use std::collections::{HashMap, HashSet};

use super::index::DeltaIndex;
use crate::index::PayloadIndex;
use crate::object::ObjectId;

/// A delta index that a site may use. Those that lead to the payload itself come first; others lead to objects that
/// these need.
#[derive(Debug, Clone)]
pub struct Source<'a> {
    /// The index.
    pub index: &'a DeltaIndex,
    /// Segments that did not give what they should, by number.
    pub refused: &'a HashSet<usize>,
}

/// A segment to be fetched and applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Chosen {
    /// Number of the source.
    pub source: usize,
    /// Number of the segment in its index.
    pub segment: usize,
}

/// Rounds in which chains are dropped again that others or blocks make superfluous.
const ROUNDS_MAX: usize = 4;

/// The segments that make the download of a payload cheapest, in the order in which they are applied: each finds its
/// old objects here, or among those that an earlier one gave. `has` says which objects are here.
pub fn choose(
    payload: &PayloadIndex,
    sources: &[Source<'_>],
    has: &dyn Fn(&ObjectId) -> bool,
) -> Vec<Chosen> {
    let wanted: HashSet<ObjectId> = payload
        .objects()
        .map(|(object, ..)| object)
        .filter(|object| !has(object))
        .collect();
    if wanted.is_empty() {
        return Vec::new();
    }
    let givers = givers(sources);
    let mut chosen: Vec<Chain> = Vec::new();
    for (source, segments) in sources.iter().enumerate() {
        for (number, segment) in segments.index.segments.iter().enumerate() {
            let gives = segment.new.iter().any(|(object, _)| wanted.contains(object));
            if gives
                && let Some(chain) = chain(
                    Chosen {
                        source,
                        segment: number,
                    },
                    sources,
                    &givers,
                    has,
                )
            {
                chosen.push(chain);
            }
        }
    }
    // Where several lead to the same objects, or blocks are cheaper, the dearer ones go.
    chosen.sort_by_key(|chain| (chain.bytes, chain.last));
    let mut tally = Tally::new(payload, sources, &wanted);
    chosen.iter().for_each(|chain| tally.add(chain));
    for _ in 0..ROUNDS_MAX {
        let before = chosen.len();
        for number in (0..chosen.len()).rev() {
            if tally.saves_without(&chosen[number]) {
                tally.remove(&chosen[number]);
                chosen.remove(number);
            }
        }
        if chosen.len() == before {
            break;
        }
    }
    let mut steps = Vec::new();
    for chain in chosen {
        for step in chain.steps {
            if !steps.contains(&step) {
                steps.push(step);
            }
        }
    }
    steps
}

/// What a choice costs, kept while chains come and go: by how many chains a step is taken and an object is given, and by
/// how many objects that nothing gives a block is needed.
struct Tally<'a> {
    sources: &'a [Source<'a>],
    /// Wanted objects with their blocks.
    blocks_of: HashMap<ObjectId, Vec<u32>>,
    block_bytes: Vec<u64>,
    steps: HashMap<Chosen, u32>,
    given: HashMap<ObjectId, u32>,
    needed: HashMap<u32, u32>,
}

impl<'a> Tally<'a> {
    fn new(payload: &PayloadIndex, sources: &'a [Source<'a>], wanted: &HashSet<ObjectId>) -> Self {
        let mut blocks_of: HashMap<ObjectId, Vec<u32>> = HashMap::new();
        let mut needed: HashMap<u32, u32> = HashMap::new();
        for (object, _, extents) in payload.objects().filter(|(object, ..)| wanted.contains(object)) {
            let blocks: Vec<u32> = extents.iter().map(|extent| extent.block).collect();
            blocks
                .iter()
                .for_each(|block| *needed.entry(*block).or_default() += 1);
            blocks_of.insert(object, blocks);
        }
        Tally {
            sources,
            blocks_of,
            block_bytes: payload
                .blocks
                .iter()
                .map(|block| u64::from(block.length))
                .collect(),
            steps: HashMap::new(),
            given: HashMap::new(),
            needed,
        }
    }

    fn add(&mut self, chain: &Chain) {
        for step in &chain.steps {
            *self.steps.entry(*step).or_default() += 1;
        }
        for object in objects_of(chain.last, self.sources) {
            let given = self.given.entry(object).or_default();
            *given += 1;
            if *given == 1 {
                for block in self.blocks_of.get(&object).into_iter().flatten() {
                    self.needed.entry(*block).and_modify(|needed| *needed -= 1);
                }
            }
        }
    }

    fn remove(&mut self, chain: &Chain) {
        for step in &chain.steps {
            self.steps.entry(*step).and_modify(|times| *times -= 1);
        }
        for object in objects_of(chain.last, self.sources) {
            let given = self.given.entry(object).or_default();
            *given -= 1;
            if *given == 0 {
                for block in self.blocks_of.get(&object).into_iter().flatten() {
                    *self.needed.entry(*block).or_default() += 1;
                }
            }
        }
    }

    /// Whether the blocks that would have to come in the place of a chain of the choice are no dearer than it is.
    fn saves_without(&self, chain: &Chain) -> bool {
        let alone = |step: &&Chosen| self.steps.get(step).is_some_and(|times| *times == 1);
        let saved: u64 = chain
            .steps
            .iter()
            .filter(alone)
            .map(|step| length_of(*step, self.sources))
            .sum();
        let mut coming = HashSet::new();
        let mut dearer = 0;
        for object in objects_of(chain.last, self.sources) {
            if self.given.get(&object) != Some(&1) {
                continue;
            }
            for block in self.blocks_of.get(&object).into_iter().flatten() {
                if self.needed.get(block) == Some(&0) && coming.insert(*block) {
                    dearer += self.block_bytes[*block as usize];
                    if dearer > saved {
                        return false;
                    }
                }
            }
        }
        true
    }
}

/// A segment with the segments that its old objects come from.
struct Chain {
    last: Chosen,
    /// In the order in which they are applied, `last` the last.
    steps: Vec<Chosen>,
    bytes: u64,
}

fn objects_of<'a>(step: Chosen, sources: &'a [Source<'_>]) -> impl Iterator<Item = ObjectId> + 'a {
    let segment = &sources[step.source].index.segments[step.segment];
    segment.new.iter().map(|(object, _)| *object)
}

fn length_of(step: Chosen, sources: &[Source<'_>]) -> u64 {
    sources[step.source].index.segments[step.segment].length
}

/// Which segments give an object.
fn givers(sources: &[Source<'_>]) -> HashMap<ObjectId, Vec<Chosen>> {
    let mut givers: HashMap<ObjectId, Vec<Chosen>> = HashMap::new();
    for (source, segments) in sources.iter().enumerate() {
        for segment in 0..segments.index.segments.len() {
            if segments.refused.contains(&segment) {
                continue;
            }
            let step = Chosen { source, segment };
            for object in objects_of(step, sources) {
                givers.entry(object).or_default().push(step);
            }
        }
    }
    givers
}

/// The steps to a segment: at most one segment before it for each old object that is not here.
fn chain(
    last: Chosen,
    sources: &[Source<'_>],
    givers: &HashMap<ObjectId, Vec<Chosen>>,
    has: &dyn Fn(&ObjectId) -> bool,
) -> Option<Chain> {
    if sources[last.source].refused.contains(&last.segment) {
        return None;
    }
    let segment = |step: Chosen| &sources[step.source].index.segments[step.segment];
    let mut given: HashSet<ObjectId> = HashSet::new();
    let mut steps: Vec<Chosen> = Vec::new();
    for old in &segment(last).old {
        if has(old) || given.contains(old) {
            continue;
        }
        let step = givers
            .get(old)?
            .iter()
            .filter(|step| step.source != last.source && segment(**step).old.iter().all(has))
            .min_by_key(|step| length_of(**step, sources))?;
        given.extend(objects_of(*step, sources));
        steps.push(*step);
    }
    steps.push(last);
    let bytes = steps.iter().map(|step| length_of(*step, sources)).sum();
    Some(Chain { last, steps, bytes })
}
