//! Making the deltas between two published payloads, out of what stands in their packs.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use delta::ApplyError;
use sha2::{Digest, Sha256};

use super::index::{DeltaIndex, SEGMENT_BYTES_MAX, Segment};
use super::unnamed;
use crate::index::{EntryKind, Pack, PayloadIndex};
use crate::object::ObjectId;
use crate::publish::{PackFile, PublishError, hash_file, io_error};

/// How to make deltas.
#[derive(Debug, Clone, Copy)]
pub struct DeltaOptions {
    /// About how much memory may be used, in bytes: more of it finds more of what is alike.
    pub memory: u64,
    /// Threads; the result does not depend on it.
    pub threads: usize,
}

impl Default for DeltaOptions {
    fn default() -> Self {
        DeltaOptions {
            memory: 192 * 1024 * 1024,
            threads: std::thread::available_parallelism().map_or(1, |cores| cores.get().min(16)),
        }
    }
}

/// Most old, or new, bytes of a segment: archives unpacked are larger.
const GROUP_BYTES_MAX: u64 = delta::BYTES_MAX / 2;
/// Bytes that are hashed at a time.
const READ_BYTES: usize = 256 * 1024;
/// A segment that saves less than this share of what its objects cost as blocks is not kept.
const SAVING_MIN: f64 = 0.05;

/// Deltas that were made.
#[derive(Debug, Clone)]
pub struct MadeDeltas {
    /// The index file, in the scratch folder.
    pub index_path: PathBuf,
    /// SHA-256 of the index file.
    pub index_sha256: ObjectId,
    /// Length of the index file.
    pub index_length: u64,
    /// The pack with the segments.
    pub pack: Pack,
    /// Bytes of all segments.
    pub bytes: u64,
}

/// Makes the deltas from `base`, or from nothing, to `payload`; both stand in packs below `targets_dir`, and so will
/// the deltas. Those from nothing are worth it too: they look into archives, and pack harder than blocks. The index stays in `scratch`. Every delta was applied before it is kept.
/// Nothing comes back if none is worth it.
pub fn make(
    base: Option<&PayloadIndex>,
    payload: &PayloadIndex,
    targets_dir: &Path,
    scratch: &Path,
    options: &DeltaOptions,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Option<MadeDeltas>, PublishError> {
    let groups = match base {
        Some(base) => group(base, payload, &|_| true),
        None => {
            // Archives gain most; by themselves they do so whatever lies beside them.
            let archives = archives(payload, targets_dir)?;
            let nothing = PayloadIndex::default();
            let mut groups = group(&nothing, payload, &|object| archives.contains(object));
            groups.extend(group(&nothing, payload, &|object| !archives.contains(object)));
            groups
        }
    };
    let total: u64 = groups.iter().map(|group| group.bytes).sum();
    let mut pack = PackFile::create(targets_dir)?;
    let mut index = DeltaIndex::default();
    let mut done = 0;
    for group in groups {
        let bytes = group.bytes;
        if let Some((segment, delta)) = segment(base, payload, [targets_dir, scratch], group, options)? {
            index.segments.push(Segment {
                offset: pack.append(&delta)?,
                ..segment
            });
        }
        done += bytes;
        progress(done, total);
    }
    if index.segments.is_empty() {
        pack.discard()?;
        return Ok(None);
    }
    let pack = pack.finish(targets_dir)?;
    index.packs.push(pack.clone());
    let index_path = scratch.join("deltas");
    let file = File::create(&index_path).map_err(io_error("write", &index_path))?;
    index
        .write(&file)
        .and_then(|()| file.sync_all())
        .map_err(io_error("write", &index_path))?;
    let (index_sha256, index_length) = hash_file(&index_path).map_err(io_error("read", &index_path))?;
    Ok(Some(MadeDeltas {
        index_path,
        index_sha256,
        index_length,
        bytes: index.bytes(),
        pack,
    }))
}

/// Objects that a segment is made over.
#[derive(Default)]
struct Group {
    old: Vec<ObjectId>,
    old_bytes: u64,
    new: Vec<(ObjectId, u64)>,
    bytes: u64,
}

/// A segment and its bytes, if it is worth it.
fn segment(
    base: Option<&PayloadIndex>,
    payload: &PayloadIndex,
    [targets_dir, scratch]: [&Path; 2],
    group: Group,
    options: &DeltaOptions,
) -> Result<Option<(Segment, Vec<u8>)>, PublishError> {
    let new_ids: Vec<ObjectId> = group.new.iter().map(|(object, _)| *object).collect();
    let new = Stored::of(payload, &new_ids, targets_dir, scratch)?;
    let old = match base {
        Some(base) => Stored::of(base, &group.old, targets_dir, scratch)?,
        None => Stored::of(payload, &[], targets_dir, scratch)?,
    };
    let failed = |source| io_error("make a delta in", targets_dir)(source);
    let archives = scratch.join("archives");
    let unpacked = unnamed(&archives).map_err(io_error("write", &archives))?;
    let made = delta::make(
        &old.files(),
        &new.files(),
        options.threads,
        options.memory,
        &unpacked,
    );
    let Some(made) = made.map_err(failed)? else {
        return Ok(None);
    };
    let without = blocks_for(payload, &new_ids);
    let worth = (made.len() as f64) < without as f64 * (1.0 - SAVING_MIN);
    if !worth || made.len() as u64 > SEGMENT_BYTES_MAX {
        return Ok(None);
    }
    unpacked.set_len(0).map_err(failed)?;
    if let Err(problem) = verify(&made, &old.files(), &group.new, &unpacked) {
        tracing::warn!("a delta of {} file(s) is left out: {problem}", group.new.len());
        return Ok(None);
    }
    let segment = Segment {
        pack: 0,
        offset: 0,
        length: made.len() as u64,
        sha256: ObjectId::of(&made),
        old: group.old,
        new: group.new,
    };
    Ok(Some((segment, made)))
}

/// Applies a delta and compares every object with its name.
fn verify(
    made: &[u8],
    old: &[delta::Input<'_>],
    new: &[(ObjectId, u64)],
    scratch: &File,
) -> Result<(), String> {
    let sizes: Vec<u64> = new.iter().map(|(_, size)| *size).collect();
    let mut hashers = vec![Sha256::new(); new.len()];
    let applied = delta::Delta::read(made)
        .map_err(ApplyError::from)
        .and_then(|delta| {
            // Nobody waits for it.
            let delta = delta.in_little_memory();
            delta.apply(old, &sizes, scratch, &mut |number, bytes| {
                hashers[number].update(bytes);
                Ok(())
            })
        });
    applied.map_err(|failure| failure.to_string())?;
    let right = hashers
        .into_iter()
        .zip(new)
        .all(|(hasher, (object, _))| ObjectId(hasher.finalize().into()) == *object);
    right
        .then_some(())
        .ok_or_else(|| "it gives other bytes".to_owned())
}

/// Bytes of the blocks that these objects lie in.
fn blocks_for(payload: &PayloadIndex, objects: &[ObjectId]) -> u64 {
    let objects: HashSet<&ObjectId> = objects.iter().collect();
    let blocks: HashSet<u32> = payload
        .objects()
        .filter(|(object, ..)| objects.contains(object))
        .flat_map(|(_, _, extents)| extents.iter().map(|extent| extent.block))
        .collect();
    blocks
        .iter()
        .map(|block| u64::from(payload.blocks[*block as usize].length))
        .sum()
}

/// New objects with the old ones they are most like, in segments that fit.
fn group(base: &PayloadIndex, payload: &PayloadIndex, is_meant: &dyn Fn(&ObjectId) -> bool) -> Vec<Group> {
    let limit = GROUP_BYTES_MAX;
    let known: HashSet<ObjectId> = base.objects().map(|(object, ..)| object).collect();
    let here: HashSet<ObjectId> = payload.objects().map(|(object, ..)| object).collect();
    let old = Names::of(base, &here);
    let mut seen = HashSet::new();
    let mut files: Vec<(&str, String, &str, ObjectId, u64)> = files(payload)
        .filter(|(_, object, _)| !known.contains(object) && is_meant(object) && seen.insert(*object))
        .map(|(path, object, size)| (extension(path), stem(path), path, object, size))
        .collect();
    files.sort();
    let mut groups = Vec::new();
    let mut group = Group::default();
    for (_, _, path, object, size) in files {
        let like = old.most_like(path, size);
        let like_size = like.map_or(0, |(_, size)| size);
        if size > limit || like_size > limit {
            tracing::info!("{path} is too large for a delta; it is left to blocks");
            continue;
        }
        let full = group.bytes + size > limit || group.old_bytes + like_size > limit;
        if full && !group.new.is_empty() {
            groups.push(std::mem::take(&mut group));
        }
        if let Some((old, size)) = like
            && !group.old.contains(&old)
        {
            group.old.push(old);
            group.old_bytes += size;
        }
        group.new.push((object, size));
        group.bytes += size;
    }
    if !group.new.is_empty() {
        groups.push(group);
    }
    groups
}

fn files(index: &PayloadIndex) -> impl Iterator<Item = (&str, ObjectId, u64)> {
    index.entries.iter().filter_map(|entry| match &entry.kind {
        EntryKind::File { object, size, .. } if *size > 0 => Some((entry.path.as_str(), *object, *size)),
        EntryKind::File { .. } | EntryKind::Directory | EntryKind::Symlink { .. } => None,
    })
}

fn name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

fn extension(path: &str) -> &str {
    name(path).rsplit_once('.').map_or("", |(_, extension)| extension)
}

/// A file name without its digits: versions of a file have the same one.
fn stem(path: &str) -> String {
    name(path).chars().filter(|c| !c.is_ascii_digit()).collect()
}

/// Old files to be found by what they are called.
struct Names<'a> {
    by_path: HashMap<&'a str, (ObjectId, u64)>,
    /// Files of which nothing is left under their own path in the new payload, and all others, by stem.
    by_stem: BTreeMap<String, Vec<(&'a str, ObjectId, u64)>>,
}

impl<'a> Names<'a> {
    fn of(base: &'a PayloadIndex, still_here: &HashSet<ObjectId>) -> Self {
        let mut names = Names {
            by_path: HashMap::new(),
            by_stem: BTreeMap::new(),
        };
        for (path, object, size) in files(base) {
            names.by_path.insert(path, (object, size));
            let others = names.by_stem.entry(stem(path)).or_default();
            // What is gone is more likely to have become something else than what is still here.
            match still_here.contains(&object) {
                true => others.push((path, object, size)),
                false => others.insert(0, (path, object, size)),
            }
        }
        names
    }

    /// The file of the same path; else the one of the same name without digits whose path and size differ least.
    fn most_like(&self, path: &str, size: u64) -> Option<(ObjectId, u64)> {
        if let Some(found) = self.by_path.get(path) {
            return Some(*found);
        }
        let common = |other: &str| {
            other
                .bytes()
                .zip(path.bytes())
                .take_while(|(a, b)| a == b)
                .count()
        };
        self.by_stem
            .get(&stem(path))?
            .iter()
            .max_by_key(|(other, _, other_size)| {
                (common(other), std::cmp::Reverse(other_size.abs_diff(size)))
            })
            .map(|(_, object, size)| (*object, *size))
    }
}

/// The objects that are archives, told by how they begin.
fn archives(index: &PayloadIndex, targets_dir: &Path) -> Result<HashSet<ObjectId>, PublishError> {
    let mut firsts: BTreeMap<u32, Vec<(ObjectId, u32, u32)>> = BTreeMap::new();
    for (object, _, extents) in index.objects() {
        if let Some(first) = extents.first() {
            let begin = (object, first.offset, first.length);
            firsts.entry(first.block).or_default().push(begin);
        }
    }
    let mut archives = HashSet::new();
    let mut blocks = Blocks::new(index, targets_dir);
    for (number, objects) in firsts {
        let raw = blocks.read(number)?;
        for (object, offset, length) in objects {
            let begin = raw.get(offset as usize..(offset + length) as usize);
            if begin.is_some_and(delta::is_archive) {
                archives.insert(object);
            }
        }
    }
    Ok(archives)
}

/// Objects out of the packs, each verified, one after the other in a file without a name: memory holds none of them.
struct Stored {
    file: File,
    /// Offset and length of each object.
    places: Vec<(u64, u64)>,
}

impl Stored {
    fn of(
        index: &PayloadIndex,
        objects: &[ObjectId],
        targets_dir: &Path,
        scratch: &Path,
    ) -> Result<Self, PublishError> {
        let path = scratch.join("objects");
        let file = unnamed(&path).map_err(io_error("write", &path))?;
        let mut stored = Stored {
            file,
            places: vec![(0, 0); objects.len()],
        };
        let mut numbers: HashMap<ObjectId, Vec<usize>> = HashMap::new();
        for (number, object) in objects.iter().enumerate() {
            numbers.entry(*object).or_default().push(number);
        }
        // By block: offset in the file, offset in the block, length.
        let mut parts: BTreeMap<u32, Vec<(u64, u32, u32)>> = BTreeMap::new();
        let mut at = 0;
        for (object, size, extents) in index.objects() {
            let Some(numbers) = numbers.remove(&object) else {
                continue;
            };
            for number in numbers {
                stored.places[number] = (at, size);
            }
            for extent in extents {
                let part = (at, extent.offset, extent.length);
                parts.entry(extent.block).or_default().push(part);
                at += u64::from(extent.length);
            }
        }
        let damaged = || PublishError::Damaged {
            path: targets_dir.join("packs"),
        };
        let mut blocks = Blocks::new(index, targets_dir);
        for (number, parts) in parts {
            let raw = blocks.read(number)?;
            for (at, offset, length) in parts {
                let from = raw.get(offset as usize..(offset + length) as usize);
                let written = stored.file.write_all_at(from.ok_or_else(damaged)?, at);
                written.map_err(io_error("write", &path))?;
            }
        }
        for (object, place) in objects.iter().zip(&stored.places) {
            let found = stored.hash(*place).map_err(io_error("read", &path))?;
            if found != *object {
                return Err(damaged());
            }
        }
        Ok(stored)
    }

    fn hash(&self, (mut at, length): (u64, u64)) -> std::io::Result<ObjectId> {
        let (end, mut buffer) = (at + length, vec![0; READ_BYTES]);
        let mut hasher = Sha256::new();
        while at < end {
            let bytes = &mut buffer[..READ_BYTES.min((end - at) as usize)];
            self.file.read_exact_at(bytes, at)?;
            hasher.update(&*bytes);
            at += bytes.len() as u64;
        }
        Ok(ObjectId(hasher.finalize().into()))
    }

    fn files(&self) -> Vec<delta::Input<'_>> {
        let part = |(offset, length): &(u64, u64)| delta::Input::Part(&self.file, *offset, *length);
        self.places.iter().map(part).collect()
    }
}

/// Blocks out of the packs of a feed.
struct Blocks<'a> {
    index: &'a PayloadIndex,
    targets_dir: &'a Path,
    open: HashMap<u32, (PathBuf, File)>,
}

impl<'a> Blocks<'a> {
    fn new(index: &'a PayloadIndex, targets_dir: &'a Path) -> Self {
        Blocks {
            index,
            targets_dir,
            open: HashMap::new(),
        }
    }

    fn read(&mut self, number: u32) -> Result<Vec<u8>, PublishError> {
        let block = self.index.blocks[number as usize];
        let (path, file) = match self.open.entry(block.pack) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(vacant) => {
                let pack = &self.index.packs[block.pack as usize];
                let path = self.targets_dir.join(pack.stored_path());
                let file = File::open(&path).map_err(io_error("open", &path))?;
                vacant.insert((path, file))
            }
        };
        let mut packed = vec![0; block.length as usize];
        file.read_exact_at(&mut packed, block.offset)
            .map_err(io_error("read", path))?;
        zstd::bulk::decompress(&packed, block.raw_length as usize).map_err(io_error("unpack", path))
    }
}
