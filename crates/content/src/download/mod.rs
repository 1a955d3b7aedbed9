//! Fetching what a payload lacks: planned from the signed index alone, carried out as few ranges.
//!
//! Resuming is planning again: what is durable is not in the plan.

mod plan;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::index::{Pack, PayloadIndex};
use crate::library::{BlockWriter, DiskError, Library, WriteError};

pub use plan::{DownloadPlan, PackRange, plan, plan_exactly, plan_for};

/// Ranges fetched at a time.
const RANGES_AT_ONCE: usize = 3;
/// Blocks that may wait for the writer; bounds memory together with the block size.
const BLOCKS_WAITING: usize = 4;
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
    let (blocks, mut arriving) = mpsc::channel::<Arrived>(BLOCKS_WAITING);
    let mut writer = BlockWriter::new(library, &index);
    let writer_index = index.clone();
    let span = tracing::Span::current();
    // Hashing, unpacking and writing overlap with the network.
    let writing = tokio::task::spawn_blocking(move || {
        let _entered = span.enter();
        let of = |number: u32, failure| content_error(&writer_index, number, failure);
        let result = write_all(&mut writer, &mut arriving, &of);
        if result.is_err() {
            // A full disk has no room even for the record of the failure, unless we make some.
            writer.discard();
        }
        result
    });
    let done = AtomicU64::new(0);
    let fetching = stream::iter(plan.ranges)
        .map(|range| fetch_range(&index, range, &*source, &blocks, &done, &*progress))
        .buffer_unordered(RANGES_AT_ONCE)
        .try_for_each(|()| async { Ok(()) });
    // On a slow link a batch takes long to fill: what has come is made durable meanwhile.
    let pausing = async {
        let mut every = tokio::time::interval(DURABLE_EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            if blocks.send(Arrived::Pause).await.is_err() {
                return;
            }
        }
    };
    let fetched = tokio::select! {
        fetched = fetching => fetched,
        () = pausing => Err(Stop::WriterGone),
        () = cancel.cancelled() => Err(Stop::Failed(DownloadError::Cancelled)),
    };
    drop(blocks);
    let written = writing.await.map_err(|_| DownloadError::Writer)?;
    match fetched {
        // The writer stopped listening: its own failure says why.
        Err(Stop::WriterGone) => written.and(Err(DownloadError::Writer)),
        Err(Stop::Failed(failure)) => written.and(Err(failure)),
        Ok(()) => written,
    }
}

fn write_all(
    writer: &mut BlockWriter,
    arriving: &mut mpsc::Receiver<Arrived>,
    of: &dyn Fn(u32, WriteError) -> DownloadError,
) -> Result<(), DownloadError> {
    writer.finish_leftovers().map_err(|failure| of(0, failure))?;
    while let Some(arrived) = arriving.blocking_recv() {
        let (number, bytes) = match arrived {
            Arrived::Block(number, bytes) => (number, bytes),
            Arrived::Pause => {
                writer.flush().map_err(|failure| of(0, failure))?;
                continue;
            }
        };
        if let Err(failure) = writer.take(number, &bytes) {
            let failure = of(number, failure);
            // What came before is good and stays; a disk that is full cannot keep it.
            return writer
                .flush()
                .map_err(|flush| of(number, flush))
                .and(Err(failure));
        }
    }
    writer.flush().map_err(|failure| of(0, failure))
}

/// What the network side hands to the writer.
enum Arrived {
    /// A compressed block, whole.
    Block(u32, Bytes),
    /// Time to make durable what has come.
    Pause,
}

enum Stop {
    Failed(DownloadError),
    WriterGone,
}

async fn fetch_range(
    index: &PayloadIndex,
    range: PackRange,
    source: &dyn RangeSource,
    blocks: &mpsc::Sender<Arrived>,
    done: &AtomicU64,
    progress: &(dyn Fn(u64) + Send + Sync),
) -> Result<(), Stop> {
    let pack = &index.packs[range.pack as usize];
    let failed = |source| {
        Stop::Failed(DownloadError::Source {
            pack: pack.target.clone(),
            start: range.start,
            source,
        })
    };
    let mut body = source.fetch(pack, range.start..range.end).await.map_err(failed)?;
    let mut at = range.start;
    let mut buffer = BytesMut::new();
    for number in &range.blocks {
        let block = &index.blocks[*number as usize];
        let end = block.offset + u64::from(block.length);
        while at + (buffer.len() as u64) < end {
            let Some(chunk) = body.next().await else {
                let missing = range.end - at - buffer.len() as u64;
                let (pack, start) = (pack.target.clone(), range.start);
                return Err(Stop::Failed(DownloadError::Truncated { pack, start, missing }));
            };
            let chunk = chunk.map_err(failed)?;
            progress(done.fetch_add(chunk.len() as u64, Ordering::Relaxed) + chunk.len() as u64);
            buffer.extend_from_slice(&chunk);
        }
        // Bytes between two needed blocks were cheaper to fetch than another request.
        let gap = buffer.split_to((block.offset - at) as usize);
        let bytes = buffer.split_to(block.length as usize).freeze();
        at += gap.len() as u64 + bytes.len() as u64;
        blocks
            .send(Arrived::Block(*number, bytes))
            .await
            .map_err(|_| Stop::WriterGone)?;
    }
    Ok(())
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
