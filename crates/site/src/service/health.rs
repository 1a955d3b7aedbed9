//! Whether the site does its work.

use std::time::Duration;

use domain::component::{ComponentName, ComponentState};
use store::StoreError;

use super::{ServiceError, SiteService};
use crate::context::whole_story;

impl SiteService {
    /// Refuses unless the database can be read within `patience` and every component runs that no administrator stopped. One
    /// that failed and waits for its next try counts as running: a probe must not take a site out of service for it.
    ///
    /// Whoever asks may be anybody: what is refused with names no path and no cause.
    pub async fn ready(&self, patience: Duration) -> Result<(), ServiceError> {
        let unready = |message: String| ServiceError::Unavailable {
            message,
            hint: Some("see smsexec.log of the site".into()),
        };
        let _one_of_few = self.lookup_place().await?;
        let reading = self.context.store.read::<_, StoreError, _>(|tx| {
            tx.site()?;
            ComponentName::ALL
                .into_iter()
                .map(|name| Ok((name, tx.component(name.as_str())?.stopped)))
                .collect::<Result<Vec<_>, _>>()
        });
        let stopped = match tokio::time::timeout(patience, reading).await {
            Ok(Ok(rows)) => rows,
            Ok(Err(failure)) => {
                tracing::warn!("a probe found the database unreadable: {}", whole_story(&failure));
                return Err(unready("the database cannot be read".into()));
            }
            Err(_) => {
                return Err(unready(format!(
                    "the database did not answer within {patience:?}"
                )));
            }
        };
        for snapshot in self.executive()?.query_all() {
            let wanted = !stopped.contains(&(snapshot.name, true));
            if wanted && snapshot.state == ComponentState::Stopped {
                return Err(unready(format!("{} does not run", snapshot.name)));
            }
        }
        Ok(())
    }
}
