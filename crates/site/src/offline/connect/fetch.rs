//! Content for a medium: blocks and deltas that somebody needs, once each, as runs of bytes of packs. To fetch and to check,
//! a delta is a block: bytes of a pack with a signed hash.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use ::feed::Kind;
use content::ObjectId;
use content::deltas::DeltaIndex;
use content::download::plan_for;
use content::index::{Pack, PayloadIndex};
use futures_util::TryStreamExt;
use protocol::transfer::{fragment_name, parse_fragment};
use sha2::{Digest, Sha256};

use super::{ConnectError, SharedTransport, Step};
use crate::context::whole_story;
use crate::host::free_bytes;
use crate::offline::medium::io;

/// Longest run, and so the largest file of content on a medium, unless a single delta is longer.
const RUN_BYTES_MAX: u64 = 64 << 20;
/// Room that stays free on a medium, for what is small.
const SPARE_BYTES: u64 = 8 << 20;
/// Attempts at one run.
const ATTEMPTS: u32 = 5;
/// Ending of a file that is not whole.
const PART: &str = "part";

/// Blocks and deltas that are wanted, by pack.
#[derive(Default)]
pub(super) struct Plan {
    packs: BTreeMap<String, WantedPack>,
    /// Bytes of all of them.
    bytes: u64,
}

#[derive(Default)]
struct WantedPack {
    target: String,
    /// By first byte: length and hash.
    blocks: BTreeMap<u64, (u32, ObjectId)>,
}

/// Blocks of a pack that lie next to each other.
pub(super) struct Run {
    sha256: String,
    target: String,
    start: u64,
    blocks: Vec<(u32, ObjectId)>,
}

impl Run {
    /// Its length.
    pub fn bytes(&self) -> u64 {
        self.blocks.iter().map(|(length, _)| u64::from(*length)).sum()
    }

    fn name(&self) -> String {
        fragment_name(&self.sha256, self.start)
    }
}

impl Plan {
    /// Adds the blocks that somebody lacks of a payload; says how many bytes they need, also of those that were wanted
    /// already.
    pub fn add_blocks(&mut self, index: &PayloadIndex, has: &dyn Fn(&ObjectId) -> bool) -> u64 {
        let lacking = plan_for(index, has);
        for number in lacking.ranges.iter().flat_map(|range| &range.blocks) {
            let block = &index.blocks[*number as usize];
            let pack = &index.packs[block.pack as usize];
            self.add(pack, block.offset, (block.length, block.sha256));
        }
        lacking.bytes
    }

    /// Adds a delta; says how many bytes it has.
    pub fn add_delta(&mut self, index: &DeltaIndex, number: usize) -> u64 {
        let segment = &index.segments[number];
        // A segment is bounded far below this (`content::deltas::DeltaIndex::read`).
        let length = u32::try_from(segment.length).unwrap_or(u32::MAX);
        let pack = &index.packs[segment.pack as usize];
        self.add(pack, segment.offset, (length, segment.sha256));
        segment.length
    }

    fn add(&mut self, pack: &Pack, offset: u64, block: (u32, ObjectId)) {
        let wanted = self.packs.entry(pack.sha256.to_string()).or_default();
        wanted.target.clone_from(&pack.target);
        if wanted.blocks.insert(offset, block).is_none() {
            self.bytes += u64::from(block.0);
        }
    }

    /// Whether what begins there is wanted already.
    pub fn has(&self, pack: &Pack, offset: u64) -> bool {
        let wanted = self.packs.get(&pack.sha256.to_string());
        wanted.is_some_and(|pack| pack.blocks.contains_key(&offset))
    }

    /// Bytes of all blocks and deltas.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    fn runs(&self) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for (sha256, pack) in &self.packs {
            for (offset, block) in &pack.blocks {
                match runs.last_mut() {
                    Some(run)
                        if run.sha256 == *sha256
                            && run.start + run.bytes() == *offset
                            && run.bytes() + u64::from(block.0) <= RUN_BYTES_MAX =>
                    {
                        run.blocks.push(*block);
                    }
                    _ => runs.push(Run {
                        sha256: sha256.clone(),
                        target: pack.target.clone(),
                        start: *offset,
                        blocks: vec![*block],
                    }),
                }
            }
        }
        runs
    }

    /// Runs that are not on the medium, whole and with the right bytes.
    pub fn missing(&self, folder: &Path) -> Result<Vec<Run>, ConnectError> {
        let mut missing = Vec::new();
        for run in self.runs() {
            let path = folder.join(run.name());
            let there = match std::fs::read(&path) {
                Ok(bytes) => bytes.len() as u64 == run.bytes() && is_sound(&run, &bytes),
                Err(failure) if failure.kind() == std::io::ErrorKind::NotFound => false,
                Err(failure) => return Err(io("read", &path)(failure).into()),
            };
            if !there {
                missing.push(run);
            }
        }
        Ok(missing)
    }

    /// Removes content that nobody wants any more.
    pub fn remove_rest(&self, folder: &Path) -> Result<(), ConnectError> {
        let wanted: std::collections::BTreeSet<String> = self.runs().iter().map(Run::name).collect();
        if !folder.is_dir() {
            return Ok(());
        }
        for entry in std::fs::read_dir(folder).map_err(io("read", folder))? {
            let path = entry.map_err(io("read", folder))?.path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default()
                .to_owned();
            let ours =
                parse_fragment(&name).is_some() || path.extension().is_some_and(|ending| ending == PART);
            if ours && !wanted.contains(&name) {
                std::fs::remove_file(&path).map_err(io("remove", &path))?;
            }
        }
        Ok(())
    }
}

/// Whether bytes are the blocks of a run, by their signed hashes.
fn is_sound(run: &Run, bytes: &[u8]) -> bool {
    let mut rest = bytes;
    run.blocks.iter().all(|(length, sha256)| {
        let Some((block, after)) = rest.split_at_checked(*length as usize) else {
            return false;
        };
        rest = after;
        ObjectId(Sha256::digest(block).into()) == *sha256
    })
}

/// Refuses to begin what cannot end.
pub(super) fn check_room(medium: &Path, missing: &[Run]) -> Result<(), ConnectError> {
    let needed = missing.iter().map(Run::bytes).sum::<u64>() + SPARE_BYTES;
    let free = free_bytes(medium).map_err(io("look at", medium))?;
    match free < needed {
        true => Err(ConnectError::Space {
            folder: medium.to_owned(),
            free,
            needed,
        }),
        false => Ok(()),
    }
}

/// Fetches runs, each verified and durable before the next counts.
pub(super) async fn fetch(
    transport: SharedTransport,
    folder: &Path,
    missing: &[Run],
    tell: &(dyn Fn(Step) + Send + Sync),
) -> Result<(), ConnectError> {
    std::fs::create_dir_all(folder).map_err(io("create", folder))?;
    let total = missing.iter().map(Run::bytes).sum();
    let mut done = 0;
    for run in missing {
        let mut attempt = 1;
        let bytes = loop {
            match fetch_run(&transport, run).await {
                Ok(bytes) => break bytes,
                Err(why) if attempt >= ATTEMPTS => return Err(ConnectError::Content(why)),
                Err(why) => {
                    tell(Step::Doing(format!("{why}; trying again")));
                    tokio::time::sleep(std::time::Duration::from_secs(1 << attempt)).await;
                    attempt += 1;
                }
            }
        };
        let path = folder.join(run.name());
        let part = path.with_extension(PART);
        let write = || {
            let mut file = std::fs::File::create(&part)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            std::fs::rename(&part, &path)
        };
        write().map_err(io("write", &path))?;
        done += run.bytes();
        tell(Step::Fetched(done, total));
    }
    Ok(())
}

async fn fetch_run(transport: &SharedTransport, run: &Run) -> Result<Vec<u8>, String> {
    // A pack's consistent-snapshot name: its hash before its file name.
    let (folder, name) = run.target.rsplit_once('/').unwrap_or(("", run.target.as_str()));
    let path = format!("{folder}/{}.{name}", run.sha256);
    let range = run.start..run.start + run.bytes();
    let response = transport
        .fetch(Kind::Target, &path, Some(range))
        .await
        .map_err(|failure| whole_story(&failure))?;
    let mut bytes = Vec::with_capacity(usize::try_from(run.bytes()).unwrap_or_default());
    let mut body = response.body;
    while let Some(chunk) = body.try_next().await.map_err(|failure| whole_story(&failure))? {
        if bytes.len() as u64 + chunk.len() as u64 > run.bytes() {
            return Err(format!("{path}: the server sends more than was asked for"));
        }
        bytes.extend_from_slice(&chunk);
    }
    match bytes.len() as u64 == run.bytes() && is_sound(run, &bytes) {
        true => Ok(bytes),
        false => Err(format!(
            "{path} from byte {}: the content is not what was signed",
            run.start
        )),
    }
}
