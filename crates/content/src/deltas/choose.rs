//! The cheapest mix of what is here, deltas and blocks, decided from sizes before anything is fetched.

use std::collections::{HashMap, HashSet};

use super::index::DeltaIndex;
use crate::download::plan_for;
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

/// Rounds in which segments are dropped again that others or blocks make superfluous.
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
    // Where several lead to the same objects, the cheaper ones stay.
    chosen.sort_by_key(|chain| (chain.bytes, chain.last));
    let mut dropped = true;
    for _ in 0..ROUNDS_MAX {
        if !dropped {
            break;
        }
        dropped = false;
        for number in (0..chosen.len()).rev() {
            let cost = |chains: &[&Chain]| -> u64 {
                let steps: HashSet<Chosen> = chains.iter().flat_map(|chain| &chain.steps).copied().collect();
                let given: HashSet<ObjectId> = chains
                    .iter()
                    .flat_map(|chain| objects_of(chain.last, sources))
                    .collect();
                let fetched: u64 = steps.iter().map(|step| length_of(*step, sources)).sum();
                fetched + plan_for(payload, &|object| has(object) || given.contains(object)).bytes
            };
            let all: Vec<&Chain> = chosen.iter().collect();
            let mut without = all.clone();
            without.remove(number);
            if cost(&without) <= cost(&all) {
                chosen.remove(number);
                dropped = true;
            }
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
