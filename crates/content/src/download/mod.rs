//! Fetching what a payload lacks: planned from the signed index alone, carried out as few ranges.
//!
//! Resuming is planning again: what is durable is not in the plan.

mod lanes;
mod plan;

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, FuturesUnordered};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use self::lanes::Lanes;
use crate::index::{Pack, PayloadIndex};
use crate::library::{BlockWriter, DiskError, Library, Scratch, WriteError};

pub use plan::{DownloadPlan, PackRange, plan, plan_exactly, plan_for};

/// How long a rate is measured before it is compared.
const WINDOW: Duration = Duration::from_millis(500);
/// Most threads that verify and write.
const WRITERS_MAX: usize = 4;
/// Blocks that may wait for the writers; bounds memory together with the block size.
const BLOCKS_WAITING: usize = 3;
/// Longest time that complete content waits to be made durable.
const DURABLE_EVERY: Duration = Duration::from_secs(3);

/// Where ranges of packs come from.
pub trait RangeSource: Send + Sync {
    /// Opens a range of a pack. The bytes are not trusted; too few or too many are an error of the reader.
    fn fetch<'a>(
        &'a self,
        pack: &'a Pack,
        range: Range<u64>,
    ) -> BoxFuture<'a, Result<BoxStream<'static, Result<Bytes, SourceError>>, SourceError>>;
}

/// Why a range did not arrive.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct SourceError {
    /// What failed, with the address.
    pub message: String,
    /// How long the server asks to wait.
    pub retry_after: Option<Duration>,
    /// Nothing failed: this site itself lets nothing through now.
    pub own_wish: bool,
    /// Cause.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Why a download ended early. What was complete before is kept.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// A range did not arrive.
    #[error("{pack} from byte {start}")]
    Source {
        /// Target path of the pack.
        pack: String,
        /// Begin of the range.
        start: u64,
        /// Cause.
        #[source]
        source: SourceError,
    },
    /// The body ended before the range did.
    #[error("{pack}: the server sent {missing} bytes too few of the range from byte {start}")]
    Truncated {
        /// Target path of the pack.
        pack: String,
        /// Begin of the range.
        start: u64,
        /// Bytes missing.
        missing: u64,
    },
    /// Content is not what was signed.
    #[error("{pack}: the content is not what was signed: {problem}")]
    Content {
        /// Target path of the pack.
        pack: String,
        /// What differs.
        problem: String,
    },
    /// The disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Cancelled from outside.
    #[error("the download was cancelled")]
    Cancelled,
    /// The writer crashed.
    #[error("the writer of the content library crashed")]
    Writer,
}

impl DownloadError {
    /// Whether this machine's disk is the cause: trying the feed again does not help.
    pub fn is_disk(&self) -> bool {
        matches!(self, DownloadError::Disk(_))
    }

    /// Whether nothing failed but this site itself lets nothing through now.
    pub fn is_own_wish(&self) -> bool {
        matches!(self, DownloadError::Source { source, .. } if source.own_wish)
    }

    /// How long the server asks to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            DownloadError::Source { source, .. } => source.retry_after,
            _ => None,
        }
    }
}

/// Fetches the ranges of a plan into the library. `progress` is told the compressed bytes of this run.
/// On an error everything complete is durable before it is returned.
pub async fn execute(
    index: Arc<PayloadIndex>,
    plan: DownloadPlan,
    library: Arc<Library>,
    source: Arc<dyn RangeSource>,
    progress: Arc<dyn Fn(u64) + Send + Sync>,
    cancel: &CancellationToken,
) -> Result<(), DownloadError> {
    let (blocks, arriving) = mpsc::channel::<(u32, Vec<u8>)>(BLOCKS_WAITING);
    let memory = Arc::new(BlockMemory::default());
    let writer = Arc::new(BlockWriter::new(library, &index)?);
    let stopped = CancellationToken::new();
    let writing = {
        let (writer, index, span) = (writer.clone(), index.clone(), tracing::Span::current());
        let (stopped, memory) = (stopped.clone(), memory.clone());
        // Hashing, unpacking and writing overlap with the network.
        tokio::task::spawn_blocking(move || {
            let _entered = span.enter();
            // However it ends, nothing more needs to come.
            let _ended = stopped.clone().drop_guard();
            write_all(&writer, &index, arriving, &memory, &stopped)
        })
    };
    let fetch = Fetch {
        index: &index,
        source: &*source,
        blocks,
        memory: &memory,
        done: AtomicU64::new(0),
        progress: &*progress,
    };
    // On a slow link a batch takes long to fill: what has come is made durable meanwhile.
    let mut flushing = Flushing::default();
    let pausing = async {
        let mut every = tokio::time::interval(DURABLE_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            let writer = writer.clone();
            flushing.begin(move || writer.flush());
            if let Err(stop) = flushing.end(&index).await {
                return stop;
            }
        }
    };
    let fetched = tokio::select! {
        fetched = fetch.all(plan.ranges) => fetched,
        stop = pausing => Err(stop),
        () = stopped.cancelled() => Err(Stop::WriterGone),
        () = cancel.cancelled() => Err(Stop::Failed(DownloadError::Cancelled)),
    };
    drop(fetch);
    let written = writing.await.map_err(|_| DownloadError::Writer)?;
    // One that was under way when the last block came: what it could not make durable is not there.
    let fetched = flushing.end(&index).await.and(fetched);
    match fetched {
        // The writer stopped listening: its own failure says why.
        Err(Stop::WriterGone) => written.and(Err(DownloadError::Writer)),
        Err(Stop::Failed(failure)) => written.and(Err(failure)),
        Ok(()) => written,
    }
}

/// What has come is made durable while more comes, once at a time.
#[derive(Default)]
struct Flushing(Option<JoinHandle<Result<(), WriteError>>>);

impl Flushing {
    /// To be called when the one before has ended.
    fn begin(&mut self, flush: impl FnOnce() -> Result<(), WriteError> + Send + 'static) {
        self.0 = Some(tokio::task::spawn_blocking(flush));
    }

    /// Waits for the one under way, if there is one. May be dropped and called again.
    async fn end(&mut self, index: &PayloadIndex) -> Result<(), Stop> {
        let Some(under_way) = &mut self.0 else {
            return Ok(());
        };
        let flushed = under_way.await;
        self.0 = None;
        match flushed {
            Ok(flushed) => flushed.map_err(|failure| Stop::Failed(content_error(index, 0, failure))),
            Err(_) => Err(Stop::WriterGone),
        }
    }
}

/// Takes blocks on several threads until no more come; then everything taken is durable.
fn write_all(
    writer: &BlockWriter,
    index: &PayloadIndex,
    arriving: mpsc::Receiver<(u32, Vec<u8>)>,
    memory: &BlockMemory,
    stopped: &CancellationToken,
) -> Result<(), DownloadError> {
    let leftovers = writer.finish_leftovers();
    leftovers.map_err(|failure| content_error(index, 0, failure))?;
    let arriving = Mutex::new(arriving);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let failures: Vec<DownloadError> = std::thread::scope(|scope| {
        let taking = || take_blocks(writer, index, &arriving, memory, stopped).err();
        let others: Vec<_> = (1..threads.min(WRITERS_MAX))
            .map(|_| scope.spawn(taking))
            .collect();
        let mut failures: Vec<_> = taking().into_iter().collect();
        for other in others {
            failures.extend(other.join().unwrap_or(Some(DownloadError::Writer)));
        }
        failures
    });
    // What came before a failure is good and stays; a disk that is full cannot keep it.
    let flushed = writer.flush().map_err(|failure| content_error(index, 0, failure));
    let result = flushed.and(failures.into_iter().next().map_or(Ok(()), Err));
    if result.is_err() {
        // A full disk has no room even for the record of the failure, unless we make some.
        writer.discard();
    }
    result
}

/// One thread's share.
fn take_blocks(
    writer: &BlockWriter,
    index: &PayloadIndex,
    arriving: &Mutex<mpsc::Receiver<(u32, Vec<u8>)>>,
    memory: &BlockMemory,
    stopped: &CancellationToken,
) -> Result<(), DownloadError> {
    let queue = || arriving.lock().unwrap_or_else(PoisonError::into_inner);
    let mut scratch = Scratch::default();
    loop {
        let next = queue().blocking_recv();
        let Some((number, bytes)) = next else {
            return Ok(());
        };
        if let Err(failure) = writer.take(number, &bytes, &mut scratch) {
            // Not by closing the queue, which another thread holds while it waits for the network.
            stopped.cancel();
            return Err(content_error(index, number, failure));
        }
        memory.give(bytes);
    }
}

/// Memory that blocks came in, for the next ones: to have it given anew costs as much as to copy into it.
#[derive(Default)]
struct BlockMemory(Mutex<Vec<Vec<u8>>>);

impl BlockMemory {
    /// Empty, with room for so many bytes.
    fn take(&self, length: usize) -> Vec<u8> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut bytes = kept.unwrap_or_default();
        bytes.clear();
        bytes.reserve_exact(length);
        bytes
    }

    fn give(&self, bytes: Vec<u8>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
    }
}

enum Stop {
    Failed(DownloadError),
    WriterGone,
}

/// The network side of a download.
struct Fetch<'a> {
    index: &'a PayloadIndex,
    source: &'a dyn RangeSource,
    blocks: mpsc::Sender<(u32, Vec<u8>)>,
    memory: &'a BlockMemory,
    done: AtomicU64,
    progress: &'a (dyn Fn(u64) + Send + Sync),
}

impl Fetch<'_> {
    /// Fetches ranges in order, as many at a time as make it faster.
    async fn all(&self, ranges: Vec<PackRange>) -> Result<(), Stop> {
        let (mut lanes, mut ranges) = (Lanes::default(), ranges.into_iter().peekable());
        let mut under_way = FuturesUnordered::new();
        let mut window = tokio::time::interval(WINDOW);
        window.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut since, mut before) = (Instant::now(), 0);
        loop {
            while under_way.len() < lanes.open()
                && let Some(range) = ranges.next()
            {
                under_way.push(self.range(range));
            }
            tokio::select! {
                ended = under_way.next() => match ended {
                    Some(ended) => ended?,
                    None => return Ok(()),
                },
                _ = window.tick() => {
                    let done = self.done.load(Ordering::Relaxed);
                    // At the end of a plan lanes run empty, which says nothing about the link.
                    if ranges.peek().is_some() {
                        lanes.measured(done - before, since.elapsed());
                    }
                    (since, before) = (Instant::now(), done);
                }
            }
        }
    }

    async fn range(&self, range: PackRange) -> Result<(), Stop> {
        let pack = &self.index.packs[range.pack as usize];
        let failed = |source| {
            Stop::Failed(DownloadError::Source {
                pack: pack.target.clone(),
                start: range.start,
                source,
            })
        };
        let mut body = self
            .source
            .fetch(pack, range.start..range.end)
            .await
            .map_err(failed)?;
        let (mut at, mut rest) = (range.start, Bytes::new());
        for number in &range.blocks {
            let block = &self.index.blocks[*number as usize];
            let mut bytes = self.memory.take(block.length as usize);
            let end = block.offset + u64::from(block.length);
            while at < end {
                if rest.is_empty() {
                    let Some(chunk) = body.next().await else {
                        let missing = range.end - at;
                        let (pack, start) = (pack.target.clone(), range.start);
                        return Err(Stop::Failed(DownloadError::Truncated { pack, start, missing }));
                    };
                    rest = chunk.map_err(failed)?;
                    let came = rest.len() as u64;
                    (self.progress)(self.done.fetch_add(came, Ordering::Relaxed) + came);
                    continue;
                }
                // Bytes between two needed blocks were cheaper to fetch than another request.
                let (wanted, until) = match at < block.offset {
                    true => (false, block.offset),
                    false => (true, end),
                };
                let length = usize::try_from(until - at).unwrap_or(usize::MAX).min(rest.len());
                let part = rest.split_to(length);
                if wanted {
                    bytes.extend_from_slice(&part);
                }
                at += length as u64;
            }
            self.blocks
                .send((*number, bytes))
                .await
                .map_err(|_| Stop::WriterGone)?;
        }
        Ok(())
    }
}

fn content_error(index: &PayloadIndex, number: u32, failure: WriteError) -> DownloadError {
    match failure {
        WriteError::Disk(disk) => DownloadError::Disk(disk),
        other @ (WriteError::Tampered { .. }
        | WriteError::Malformed { .. }
        | WriteError::WrongObject { .. }) => {
            let block = index.blocks.get(number as usize);
            let pack = block.and_then(|block| index.packs.get(block.pack as usize));
            let pack = pack.map_or_else(|| "the payload".to_owned(), |pack| pack.target.clone());
            DownloadError::Content {
                pack,
                problem: other.to_string(),
            }
        }
    }
}

#[cfg(test)]
mod tests;
