//! Packs of a folder as a server would send them, for tests; it may cut or change what it sends.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};

use crate::download::{RangeSource, SourceError};
use crate::index::Pack;

/// Serves the packs below a targets folder and counts what it sent.
pub(crate) struct Served {
    targets: PathBuf,
    /// Bytes it may still send before it breaks off.
    budget: Mutex<u64>,
    flip: bool,
    pub(crate) sent: AtomicU64,
}

impl Served {
    /// Breaks off after `budget` bytes; flips a bit of every answer if asked to.
    pub(crate) fn new(targets: PathBuf, budget: u64, flip: bool) -> Arc<Self> {
        Arc::new(Served {
            targets,
            budget: Mutex::new(budget),
            flip,
            sent: AtomicU64::new(0),
        })
    }
}

impl RangeSource for Served {
    fn fetch<'a>(
        &'a self,
        pack: &'a Pack,
        range: Range<u64>,
    ) -> BoxFuture<'a, Result<BoxStream<'static, Result<Bytes, SourceError>>, SourceError>> {
        async move {
            let bytes = std::fs::read(self.targets.join(pack.stored_path())).unwrap();
            let mut bytes = bytes[range.start as usize..range.end as usize].to_vec();
            let mut budget = self.budget.lock().unwrap();
            let allowed = (*budget).min(bytes.len() as u64);
            *budget -= allowed;
            bytes.truncate(allowed as usize);
            if self.flip {
                bytes[allowed as usize / 2] ^= 1;
            }
            self.sent.fetch_add(allowed, Ordering::Relaxed);
            let chunks: Vec<Result<Bytes, SourceError>> = bytes
                .chunks(1000)
                .map(|chunk| Ok(Bytes::copy_from_slice(chunk)))
                .collect();
            Ok(stream::iter(chunks).boxed())
        }
        .boxed()
    }
}
