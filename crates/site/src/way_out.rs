//! The one way out to the feed: over HTTPS or from a folder; and what its verdicts mean here.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use content::download::{RangeSource, SourceError};
use content::index::Pack;
use domain::status_message::StatusMessageId;
use executive::ComponentError;
use feed::{Kind, Mirrors, Reason, Refreshed, Transport, TransportError, TrustedRole};
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use serde::{Deserialize, Serialize};

use crate::context::SiteContext;

/// Version and expiry of a trusted role, as stored with a good cycle.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RoleVersion {
    /// `root`, `timestamp`, `snapshot` or `targets`.
    pub role: String,
    /// Version number.
    pub version: u64,
    /// When it expires.
    pub expires: jiff::Timestamp,
}

/// Opens the configured way to the feed. Where it has mirrors, targets come from number `begin` first: what one delivers
/// wrongly is asked of another in the next attempt.
pub fn transport(context: &SiteContext, begin: usize) -> Result<Arc<dyn Transport>, ComponentError> {
    if !context.internet.mode().may_connect() {
        let feed = context.directory.offline_feed();
        return match feed.is_dir() {
            true => Ok(Arc::new(feed::FolderTransport::new(
                feed.join("metadata"),
                feed.join("targets"),
            ))),
            false => Err(ComponentError::new(
                "offline mode, and no medium was imported yet; see `tidegate tool --help`",
            )),
        };
    }
    let options = options(context)?;
    let mut places = Vec::new();
    let named = context.vendor.in_force().mirrors;
    let own = std::iter::once(&context.settings.feed_url).chain(&context.settings.feed_mirrors);
    for url in own.chain(&named) {
        let place = cloud_client::open(&format!("{url}/metadata/"), &format!("{url}/targets/"), &options)
            .map_err(|source| {
                ComponentError::with_source(format!("cannot prepare the way to {url}"), source)
            })?;
        places.push(place);
    }
    Ok(Arc::new(Mirrors::new(places, begin)))
}

/// The configured way to where usage data goes.
pub fn intake(context: &SiteContext) -> Result<cloud_client::Intake, ComponentError> {
    cloud_client::Intake::new(&options(context)?)
        .map_err(|source| ComponentError::with_source("cannot prepare the way for usage data", source))
}

/// The configured way to a web address that is told of messages.
pub fn webhook(
    context: &SiteContext,
    patience: std::time::Duration,
) -> Result<cloud_client::Webhook, ComponentError> {
    cloud_client::Webhook::new(&options(context)?, patience)
        .map_err(|source| ComponentError::with_source("cannot prepare the way for alerts", source))
}

fn options(context: &SiteContext) -> Result<cloud_client::HttpsOptions, ComponentError> {
    Ok(cloud_client::HttpsOptions {
        extra_roots_pem: crate::internet::extra_roots(context)?,
        proxy: context.internet.proxy(),
        ..cloud_client::HttpsOptions::default()
    })
}

/// The roles' versions after a refresh.
pub fn role_versions(refreshed: &Refreshed) -> Vec<RoleVersion> {
    let states = &refreshed.after;
    let roles: [(&str, Option<TrustedRole>); 4] = [
        ("root", Some(states.root)),
        ("timestamp", states.timestamp),
        ("snapshot", states.snapshot),
        ("targets", states.targets),
    ];
    roles
        .into_iter()
        .filter_map(|(role, state)| {
            state.map(|state| RoleVersion {
                role: role.to_owned(),
                version: state.version,
                expires: state.expires,
            })
        })
        .collect()
}

/// The status message that tells administrators of a refusal.
pub fn status_of(reason: Reason) -> StatusMessageId {
    match reason {
        Reason::Rollback => StatusMessageId::FeedRollback,
        Reason::Expired => StatusMessageId::FeedExpired,
        Reason::MixAndMatch => StatusMessageId::FeedMixAndMatch,
        Reason::Threshold => StatusMessageId::FeedThreshold,
        Reason::Oversized => StatusMessageId::FeedOversized,
        Reason::Tampered => StatusMessageId::FeedTampered,
        Reason::Malformed => StatusMessageId::FeedMalformed,
        Reason::NotFound => StatusMessageId::FeedNotFound,
        Reason::Network => StatusMessageId::FeedUnreachable,
        Reason::TrustStore => StatusMessageId::TrustUnusable,
        Reason::Storage => StatusMessageId::StorageUnusable,
    }
}

/// Ranges of packs through a feed's transport. Blocks are checked against the signed index by whoever
/// reads them, so that nothing is asked of the transport but bytes.
pub struct FeedRanges {
    transport: Arc<dyn Transport>,
}

impl FeedRanges {
    /// Reads packs through this transport.
    pub fn new(transport: Arc<dyn Transport>) -> Self {
        FeedRanges { transport }
    }
}

impl RangeSource for FeedRanges {
    fn fetch<'a>(
        &'a self,
        pack: &'a Pack,
        range: Range<u64>,
    ) -> BoxFuture<'a, Result<BoxStream<'static, Result<Bytes, SourceError>>, SourceError>> {
        async move {
            let path = pack.stored_path();
            let response = self
                .transport
                .fetch(Kind::Target, &path, Some(range))
                .await
                .map_err(source_error)?;
            Ok(response.body.map(|chunk| chunk.map_err(source_error)).boxed())
        }
        .boxed()
    }
}

fn source_error(failure: TransportError) -> SourceError {
    let retry_after = failure.retry_after();
    let own_wish = matches!(failure, TransportError::Held { .. });
    let message = failure.to_string();
    // The transport's own text is the message; what lies below it stays the cause.
    let cause = std::error::Error::source(&failure).map(|cause| cause.to_string().into());
    SourceError {
        message,
        retry_after,
        own_wish,
        source: cause,
    }
}
