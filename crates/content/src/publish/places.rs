//! Where objects lie, over the packs of this payload and of earlier ones.

use std::collections::{BTreeMap, HashMap};

use super::source::{Scanned, ScannedKind};
use crate::index::{Block, Entry, EntryKind, Extent, Pack, PayloadIndex};
use crate::object::ObjectId;

/// One byte in so many of a block has to be of use.
const USEFUL_PER_BLOCK: u64 = 2;

#[derive(Default)]
pub(super) struct Places {
    packs: Vec<Pack>,
    pack_numbers: HashMap<String, u32>,
    blocks: Vec<Block>,
    block_numbers: HashMap<(u32, u64), u32>,
    pub(super) extents: HashMap<ObjectId, Vec<Extent>>,
}

impl Places {
    pub(super) fn pack_number(&mut self, pack: &Pack) -> u32 {
        let next = self.packs.len() as u32;
        let number = *self.pack_numbers.entry(pack.target.clone()).or_insert(next);
        if number == next {
            self.packs.push(pack.clone());
        }
        number
    }

    pub(super) fn block_number(&mut self, block: Block) -> u32 {
        let next = self.blocks.len() as u32;
        let number = *self
            .block_numbers
            .entry((block.pack, block.offset))
            .or_insert(next);
        if number == next {
            self.blocks.push(block);
        }
        number
    }

    /// Takes over the places of wanted objects (with their sizes) from an earlier payload; but not out of blocks that
    /// hold little else of use: whoever has nothing would fetch those whole for a part of them.
    pub(super) fn take_from(&mut self, older: &PayloadIndex, wanted: &HashMap<ObjectId, u64>) {
        let is_wanted = |object: &ObjectId, size: u64| wanted.get(object) == Some(&size);
        let mut useful = vec![0_u64; older.blocks.len()];
        for (object, size, extents) in older.objects() {
            if is_wanted(&object, size) {
                for extent in extents {
                    useful[extent.block as usize] += u64::from(extent.length);
                }
            }
        }
        let is_useful = |extent: &Extent| {
            let block = &older.blocks[extent.block as usize];
            useful[extent.block as usize] * USEFUL_PER_BLOCK >= u64::from(block.raw_length)
        };
        for (object, size, extents) in older.objects() {
            let here = self.extents.contains_key(&object);
            if here || !is_wanted(&object, size) || !extents.iter().all(is_useful) {
                continue;
            }
            let mut places = Vec::with_capacity(extents.len());
            for extent in extents {
                let block = older.blocks[extent.block as usize];
                let pack = self.pack_number(&older.packs[block.pack as usize]);
                places.push(Extent {
                    block: self.block_number(Block { pack, ..block }),
                    ..*extent
                });
            }
            self.extents.insert(object, places);
        }
    }

    /// The index over a tree, with packs and blocks in an order that depends on nothing but the result:
    /// packs by target, blocks by place. What no file of the tree needs is left out.
    pub(super) fn index_of(self, scanned: Vec<Scanned>) -> PayloadIndex {
        let mut used: BTreeMap<(&str, u64), u32> = BTreeMap::new();
        for entry in &scanned {
            if let ScannedKind::File { object, .. } = &entry.kind {
                for extent in self.extents.get(object).into_iter().flatten() {
                    let block = &self.blocks[extent.block as usize];
                    used.insert(
                        (&self.packs[block.pack as usize].target, block.offset),
                        extent.block,
                    );
                }
            }
        }
        let mut index = PayloadIndex::default();
        let mut renumbered: HashMap<u32, u32> = HashMap::new();
        for ((target, _), old) in &used {
            let block = self.blocks[*old as usize];
            if index.packs.last().is_none_or(|pack| pack.target != *target) {
                index.packs.push(self.packs[block.pack as usize].clone());
            }
            renumbered.insert(*old, index.blocks.len() as u32);
            index.blocks.push(Block {
                pack: index.packs.len() as u32 - 1,
                ..block
            });
        }
        for entry in scanned {
            let kind = match entry.kind {
                ScannedKind::Directory => EntryKind::Directory,
                ScannedKind::Symlink(target) => EntryKind::Symlink { target },
                ScannedKind::File {
                    object,
                    size,
                    executable,
                    ..
                } => {
                    index.files += 1;
                    index.bytes += size;
                    let places = self.extents.get(&object).into_iter().flatten();
                    let extents = places
                        .map(|e| Extent {
                            block: renumbered[&e.block],
                            ..*e
                        })
                        .collect();
                    EntryKind::File {
                        object,
                        size,
                        executable,
                        extents,
                    }
                }
            };
            index.entries.push(Entry {
                path: entry.path,
                kind,
            });
        }
        index
    }
}
