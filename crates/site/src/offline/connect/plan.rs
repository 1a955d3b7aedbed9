//! Blocks or deltas: what makes a medium small for all hierarchies on it together.
//!
//! What one hierarchy needs is free for the next. So those that lack most come first, and each takes the cheapest mix of
//! what is on the medium already, deltas and blocks; blocks that somebody needs anyway make deltas to the same objects
//! superfluous. The order is a guess, so the result is compared with blocks for everybody, and the smaller one is taken.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use content::ObjectId;
use content::deltas::{DeltaIndex, Source, choose};
use content::download::plan_for;
use content::index::PayloadIndex;
use protocol::transfer::ContentSummary;

use super::feed::{Delta, Selected};
use super::fetch::Plan;

/// A package for a hierarchy.
pub(super) struct Need<'a> {
    pub package: &'a Selected,
    /// What the hierarchy has.
    pub content: &'a ContentSummary,
}

impl Need<'_> {
    fn has(&self, object: &ObjectId) -> bool {
        self.content.has(&object.0)
    }
}

/// What goes on the medium.
#[derive(Default)]
pub(super) struct Choice {
    pub plan: Plan,
    /// Bytes of content that each need takes of it, in the order of the needs.
    pub bytes: Vec<u64>,
    /// Delta indexes that have to be there too, by their hash.
    pub deltas: Vec<Arc<Delta>>,
}

impl Choice {
    /// Bytes of content and of the indexes of deltas.
    fn cost(&self) -> u64 {
        let indexes = self.deltas.iter().map(|delta| delta.reference.index_length);
        self.plan.bytes() + indexes.sum::<u64>()
    }
}

/// Chooses for all needs together.
pub(super) fn choose_for(needs: &[Need<'_>]) -> Choice {
    let mut blocks = Choice::default();
    for need in needs {
        let bytes = blocks
            .plan
            .add_blocks(&need.package.index, &|object| need.has(object));
        blocks.bytes.push(bytes);
    }
    if needs.iter().all(|need| need.package.deltas.is_empty()) {
        return blocks;
    }
    let mixed = mixed(needs);
    match mixed.cost() < blocks.cost() {
        true => mixed,
        false => blocks,
    }
}

fn mixed(needs: &[Need<'_>]) -> Choice {
    let mut order: Vec<usize> = (0..needs.len()).collect();
    order.sort_by_cached_key(|number| {
        let need = &needs[*number];
        Reverse(plan_for(&need.package.index, &|object| need.has(object)).bytes)
    });
    let mut choice = Choice {
        bytes: vec![0; needs.len()],
        ..Choice::default()
    };
    let mut placed = BTreeSet::new();
    for number in order {
        let need = &needs[number];
        let (payload, deltas) = priced(need.package, &choice.plan);
        let none = HashSet::new();
        let sources: Vec<Source<'_>> = deltas
            .iter()
            .map(|index| Source {
                index,
                refused: &none,
            })
            .collect();
        let steps = choose(&payload, &sources, &|object| need.has(object));
        let mut given = HashSet::new();
        for step in steps {
            let delta = &need.package.deltas[step.source];
            given.extend(
                delta.index.segments[step.segment]
                    .new
                    .iter()
                    .map(|(object, _)| *object),
            );
            choice.bytes[number] += choice.plan.add_delta(&delta.index, step.segment);
            if placed.insert(delta.reference.index_sha256.clone()) {
                choice.deltas.push(delta.clone());
            }
        }
        let index = &need.package.index;
        let left = |object: &ObjectId| given.contains(object) || need.has(object);
        choice.bytes[number] += choice.plan.add_blocks(index, &left);
    }
    choice
}

/// The indexes of a package as the choice shall see them: what is on the medium already costs nothing.
fn priced(package: &Selected, plan: &Plan) -> (PayloadIndex, Vec<DeltaIndex>) {
    let mut payload = (*package.index).clone();
    for block in &mut payload.blocks {
        if plan.has(&payload.packs[block.pack as usize], block.offset) {
            block.length = 0;
        }
    }
    let deltas = package.deltas.iter().map(|delta| {
        let mut index = delta.index.clone();
        for segment in &mut index.segments {
            if plan.has(&index.packs[segment.pack as usize], segment.offset) {
                segment.length = 0;
            }
        }
        index
    });
    (payload, deltas.collect())
}
