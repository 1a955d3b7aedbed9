//! The one way out to the feed: over HTTPS, or from a folder; and what its verdicts mean here.

use std::sync::Arc;

use domain::status_message::StatusMessageId;
use executive::ComponentError;
use feed::{FolderTransport, Reason, Refreshed, Transport};
use serde::{Deserialize, Serialize};

use crate::context::SiteContext;

/// Versions and expiry of a trusted role, as stored with a good cycle.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RoleVersion {
    /// `root`, `timestamp`, `snapshot` or `targets`.
    pub role: String,
    /// Version number.
    pub version: u64,
    /// When it expires.
    pub expires: jiff::Timestamp,
}

/// Opens the configured way to the feed.
pub fn transport(context: &SiteContext) -> Result<Arc<dyn Transport>, ComponentError> {
    let url = &context.settings.feed_url;
    if let Some(path) = url.strip_prefix("file://") {
        let base = std::path::Path::new(path);
        return Ok(Arc::new(FolderTransport::new(base.join("metadata"), base.join("targets"))));
    }
    let mut roots = Vec::new();
    if let Some(path) = &context.settings.feed_ca {
        let pem = std::fs::read(path).map_err(|source| {
            ComponentError::with_source(
                format!("cannot read the feed's certificates {}; correct feed.ca in tidegate.toml", path.display()),
                source,
            )
        })?;
        roots.push(pem);
    }
    let transport = cloud_client::HttpsTransport::new(cloud_client::HttpsSettings {
        metadata_url: format!("{url}/metadata/"),
        target_url: format!("{url}/targets/"),
        extra_roots_pem: roots,
        ..cloud_client::HttpsSettings::default()
    })
    .map_err(|source| ComponentError::with_source(format!("cannot prepare the connection to {url}"), source))?;
    Ok(Arc::new(transport))
}

/// The roles' versions after a refresh.
pub fn role_versions(refreshed: &Refreshed) -> Vec<RoleVersion> {
    refreshed
        .after
        .iter()
        .map(|(role, state)| RoleVersion { role: role.to_owned(), version: state.version, expires: state.expires })
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
