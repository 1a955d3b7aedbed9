//! Bodies with an end: metadata and small targets are read into memory up to a limit that is known beforehand.

use futures_util::TryStreamExt;

use super::{FeedClient, FeedError};
use crate::transport::{ByteStream, Kind};

/// A body that may go on without bound.
pub(super) enum Bounded {
    /// All of it, at most as long as allowed.
    Whole(Vec<u8>),
    /// More arrived, or was announced, than is allowed.
    TooLong,
}

/// Reads at most `limit` bytes, and stops at the first chunk that would exceed them.
pub(super) async fn read_bounded(
    mut body: ByteStream,
    announced: Option<u64>,
    limit: u64,
) -> Result<Bounded, crate::TransportError> {
    if announced.is_some_and(|length| length > limit) {
        return Ok(Bounded::TooLong);
    }
    let mut whole = Vec::new();
    while let Some(chunk) = body.try_next().await? {
        if whole.len() as u64 + chunk.len() as u64 > limit {
            return Ok(Bounded::TooLong);
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(Bounded::Whole(whole))
}

impl FeedClient {
    /// Fetches one metadata file of at most `limit` bytes. Nothing about it has been verified.
    pub(super) async fn fetch_metadata(&self, name: &str, limit: u64) -> Result<Vec<u8>, FeedError> {
        let failed = |source| FeedError::Transport {
            what: name.to_owned(),
            source,
        };
        let response = self
            .transport
            .fetch(Kind::Metadata, name, None)
            .await
            .map_err(failed)?;
        match read_bounded(response.body, response.length, limit)
            .await
            .map_err(failed)?
        {
            Bounded::Whole(bytes) => Ok(bytes),
            Bounded::TooLong => Err(FeedError::MetadataOversized {
                name: name.to_owned(),
                limit,
            }),
        }
    }
}
