//! SMS_SITE_SYSTEM_STATUS_SUMMARIZER: looks every hour on the hour how much room there is where the site keeps things,
//! and tells when that changes its colour.

use std::path::Path;
use std::sync::Arc;

use domain::component::ComponentName;
use domain::status_message::systems::{SystemObject, next_look};
use domain::status_message::{ComponentHealth, StatusMessageId};
use executive::{Activation, Component, ComponentError, Next, Report};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use store::{StoreError, SystemRow, Tx};

use crate::context::SiteContext;
use crate::host::{free_bytes, total_bytes};

/// The component.
pub struct SiteSystemStatusSummarizer {
    context: Arc<SiteContext>,
}

/// Room as it is now, in KiB.
struct Room {
    object: SystemObject,
    place: String,
    free_kib: u64,
    total_kib: u64,
}

impl SiteSystemStatusSummarizer {
    /// Made once; activated for ever.
    pub fn new(context: Arc<SiteContext>) -> Self {
        SiteSystemStatusSummarizer { context }
    }

    async fn run(&self, now: Timestamp) -> Result<Report, ComponentError> {
        let rooms = self.observe().await?;
        let context = self.context.clone();
        let words = self
            .context
            .store
            .write::<_, StoreError, _>(move |tx| {
                rooms
                    .into_iter()
                    .map(|room| record(&context, tx, room, now))
                    .collect::<Result<Vec<_>, _>>()
            })
            .await?;
        Ok(Report {
            summary: words.join(", "),
            next: Next::At(next_look(&now.to_zoned(self.context.throttle.zone().clone()))),
            waiting: None,
        })
    }

    async fn observe(&self) -> Result<Vec<Room>, ComponentError> {
        let room = |object, path: &Path, beside: u64| {
            let look = free_bytes(path).and_then(|free| Ok((free, total_bytes(path)?)));
            let (free, total) = look.map_err(|failure| {
                ComponentError::with_source(
                    format!("the room of {} cannot be looked at", path.display()),
                    failure,
                )
            })?;
            Ok::<_, ComponentError>(Room {
                object,
                place: path.display().to_string(),
                free_kib: (free + beside) / 1024,
                total_kib: total / 1024,
            })
        };
        // What the database's file has left inside is as good as what is left around it.
        let inside = self
            .context
            .store
            .read::<_, StoreError, _>(|tx| Ok(tx.database_bytes()?.1))
            .await?;
        let directory = &self.context.directory;
        Ok(vec![
            room(SystemObject::FileSystem, directory.root(), 0)?,
            room(SystemObject::Database, &directory.database(), inside)?,
        ])
    }
}

/// Records a look, and the message if the colour is another one than at the look before.
fn record(context: &SiteContext, tx: &Tx<'_>, room: Room, now: Timestamp) -> Result<String, StoreError> {
    let thresholds = tx.system_threshold(room.object)?.unwrap_or_default();
    let health = thresholds.health(room.free_kib);
    let before = tx.system_status(room.object)?.map(|row| row.health);
    // A site that begins well has nothing to tell.
    let changed = before.as_deref().unwrap_or(ComponentHealth::Ok.as_str()) != health.as_str();
    if changed {
        let (id, threshold) = match health {
            ComponentHealth::Ok => (StatusMessageId::SystemSpaceBack, thresholds.warning_kib),
            ComponentHealth::Warning => (StatusMessageId::SystemSpaceWarning, thresholds.warning_kib),
            ComponentHealth::Critical => (StatusMessageId::SystemSpaceCritical, thresholds.critical_kib),
        };
        let strings = [
            room.object.as_str(),
            &room.place,
            &room.free_kib.to_string(),
            &threshold.to_string(),
        ];
        tx.record_status_message(&context.status_message(id, &strings, now))?;
    }
    let words = format!(
        "{} {} ({} KB free)",
        room.object.as_str(),
        health.as_str(),
        room.free_kib
    );
    tx.record_system_status(&SystemRow {
        object: room.object,
        place: room.place,
        free_kib: room.free_kib,
        total_kib: room.total_kib,
        health: health.as_str().to_owned(),
        checked_at: now,
    })?;
    Ok(words)
}

impl Component for SiteSystemStatusSummarizer {
    fn name(&self) -> ComponentName {
        ComponentName::SiteSystemStatusSummarizer
    }

    fn activate<'a>(&'a self, cx: Activation<'a>) -> BoxFuture<'a, Result<Report, ComponentError>> {
        async move { self.run(cx.now()).await }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::{Offset, TimeZone};

    use super::*;

    #[tokio::test]
    async fn it_looks_on_the_hour_of_the_site_and_not_of_the_machine() {
        // Half an hour beside whatever zone the machine has, if it has one of full hours.
        for minutes in [30, 45] {
            let zone = TimeZone::fixed(Offset::from_seconds(minutes * 60).unwrap());
            let (_folder, context, _clock) = crate::testing::context_in(zone.clone(), "");
            let component = SiteSystemStatusSummarizer::new(Arc::new(context));
            let report = component
                .run("2026-11-21T12:05:00Z".parse().unwrap())
                .await
                .unwrap();
            let Next::At(next) = report.next else {
                panic!("{:?}", report.next);
            };
            assert_eq!(next.to_zoned(zone).minute(), 0, "{next}");
        }
    }
}
