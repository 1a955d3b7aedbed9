//! Keeps a served feed from expiring: signs a new timestamp and snapshot in time, where their keys are at hand.
//!
//! It refuses to touch root or targets keys that are kept elsewhere; it says in the log when those are due.

use std::path::PathBuf;
use std::time::Duration;

use feed::publisher::{PublishError, RoleState};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::error::CloudError;
use crate::files::ServiceDir;
use crate::service;

/// Far below a third of the shortest usual life (a timestamp lives seven days).
const LOOK_EVERY: Duration = Duration::from_secs(15 * 60);

/// Renews what is due, now and then every quarter of an hour, until `shutdown`. A failure is logged and tried again.
/// Ends at once where the service has no online keys.
pub async fn keep_fresh<C>(dir: PathBuf, clock: C, shutdown: CancellationToken)
where
    C: Fn() -> Timestamp + Send + Sync + 'static,
{
    loop {
        let (folder, now) = (dir.clone(), clock());
        match tokio::task::spawn_blocking(move || look(&folder, now)).await {
            Ok(Ok(())) => {}
            Ok(Err(CloudError::Feed(PublishError::NotInitialised { folder }))) => {
                tracing::info!(folder = %folder.display(), "no online keys here; the feed is renewed elsewhere");
                return;
            }
            Ok(Err(error)) => {
                let error = &error as &(dyn std::error::Error + 'static);
                tracing::error!(error, "could not renew the feed; it is tried again");
            }
            Err(error) => tracing::error!(%error, "the renewal of the feed failed; it is tried again"),
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Renews if anything is due. Blocks.
fn look(dir: &std::path::Path, now: Timestamp) -> Result<(), CloudError> {
    let dir = ServiceDir::new(dir);
    let mut feed = service::open(&dir)?;
    let due = |row: &feed::publisher::RoleKeyStatus| row.state != RoleState::Valid;
    let rows = feed.key_status(None, now)?;
    if !rows.iter().any(|row| due(row) && row.role != "root") {
        return Ok(());
    }
    let renewed = feed.renew(now)?;
    tracing::info!(
        timestamp = renewed.committed.timestamp,
        snapshot = renewed.committed.snapshot,
        "renewed the feed"
    );
    for (role, expires) in renewed.due {
        tracing::warn!(role, %expires, "this role expires soon and its keys are kept elsewhere; sign it with them");
    }
    Ok(())
}
