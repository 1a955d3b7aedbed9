//! Which ranges of which packs to fetch. Decided from the index and from what is durable here.

use std::collections::BTreeSet;

use crate::index::PayloadIndex;
use crate::library::Library;
use crate::object::ObjectId;

/// Bytes that are fetched and thrown away rather than asking a second time.
const GAP_BYTES_MAX: u64 = 64 * 1024;
/// Longest range; a failure costs at most what of it was not yet taken.
const RANGE_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// What a download will fetch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DownloadPlan {
    /// Ranges, in order of packs and offsets.
    pub ranges: Vec<PackRange>,
    /// Bytes of these ranges.
    pub bytes: u64,
    /// Bytes that somebody with nothing would fetch.
    pub total_bytes: u64,
}

/// A range of a pack and the blocks wanted from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackRange {
    /// Number of the pack.
    pub pack: u32,
    /// First byte.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
    /// Blocks, in order of offset.
    pub blocks: Vec<u32>,
}

/// Plans the fetch of everything of a payload that is not durable in the library.
pub fn plan(index: &PayloadIndex, library: &Library) -> DownloadPlan {
    coalesce(index, wanted(index, library), GAP_BYTES_MAX)
}

/// The same without a byte that nobody wants: for media, where a gap costs room and a request costs nothing.
pub fn plan_exactly(index: &PayloadIndex, library: &Library) -> DownloadPlan {
    coalesce(index, wanted(index, library), 0)
}

/// Plans, without a gap, what somebody lacks who said which objects are there.
pub fn plan_for(index: &PayloadIndex, has: &dyn Fn(&ObjectId) -> bool) -> DownloadPlan {
    let mut wanted = BTreeSet::new();
    for (_, _, extents) in index.objects().filter(|(object, ..)| !has(object)) {
        for extent in extents {
            let block = &index.blocks[extent.block as usize];
            wanted.insert((block.pack, block.offset, extent.block));
        }
    }
    coalesce(index, wanted, 0)
}

/// Blocks that are not durable, by pack and offset.
fn wanted(index: &PayloadIndex, library: &Library) -> BTreeSet<(u32, u64, u32)> {
    let mut wanted: BTreeSet<(u32, u64, u32)> = BTreeSet::new();
    for (object, _, extents) in index.objects() {
        if library.has(&object) {
            continue;
        }
        let done = if extents.len() > 1 {
            library.parts_done(&object)
        } else {
            Default::default()
        };
        let mut offset = 0;
        for extent in extents {
            let durable = done.contains(&(offset, extent.length));
            offset += u64::from(extent.length);
            if !durable {
                let block = &index.blocks[extent.block as usize];
                wanted.insert((block.pack, block.offset, extent.block));
            }
        }
    }
    wanted
}

fn coalesce(index: &PayloadIndex, wanted: BTreeSet<(u32, u64, u32)>, gap_bytes_max: u64) -> DownloadPlan {
    let mut plan = DownloadPlan {
        total_bytes: index.download_bytes(),
        ..DownloadPlan::default()
    };
    for (pack, offset, number) in wanted {
        let end = offset + u64::from(index.blocks[number as usize].length);
        match plan.ranges.last_mut() {
            Some(last)
                if last.pack == pack
                    && offset >= last.end
                    && offset - last.end <= gap_bytes_max
                    && end - last.start <= RANGE_BYTES_MAX =>
            {
                last.end = end;
                last.blocks.push(number);
            }
            _ => plan.ranges.push(PackRange {
                pack,
                start: offset,
                end,
                blocks: vec![number],
            }),
        }
    }
    plan.bytes = plan.ranges.iter().map(|range| range.end - range.start).sum();
    plan
}
