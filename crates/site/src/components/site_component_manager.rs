//! SMS_SITE_COMPONENT_MANAGER: keeps the folders of the site in place, watches its free space, removes versions of the
//! product that nothing can go back to, and evaluates the notifications.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use domain::component::ComponentName;
use domain::notification::Evaluated;
use domain::servicing::state::PackageState as S;
use domain::status_message::StatusMessageId;
use executive::{Activation, Component, ComponentError, Next, Report, Waiting};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use store::StoreError;

use crate::context::{SiteContext, whole_story};
use crate::host::free_bytes;
use crate::notifications::evaluate;

const INTERVAL: Duration = Duration::from_secs(5 * 60);
/// Kinds of notifications that are looked at in most activations, and those of one activation an hour.
const OFTEN: [Evaluated; 1] = [Evaluated::EveryFiveMinutes];
const HOURLY: [Evaluated; 3] = [
    Evaluated::EveryFiveMinutes,
    Evaluated::AtConsoleStart,
    Evaluated::Hourly,
];
/// Installed versions that stay on disk: the current one and the one before it.
const VERSIONS_KEPT: usize = 2;

/// The component.
pub struct SiteComponentManager {
    context: Arc<SiteContext>,
    /// Whether the last look found too little space, so that each change is told once.
    low: AtomicBool,
    /// Second in which every kind of notification was last looked at; a new process looks at once.
    all_looked_at: AtomicI64,
}

impl SiteComponentManager {
    /// Made once; activated for ever.
    pub fn new(context: Arc<SiteContext>) -> Self {
        SiteComponentManager {
            context,
            low: AtomicBool::new(false),
            all_looked_at: AtomicI64::new(i64::MIN),
        }
    }

    async fn run(&self, cx: &Activation<'_>) -> Result<Report, ComponentError> {
        let directory = &self.context.directory;
        directory
            .create_folders()
            .map_err(|failure| ComponentError::new(whole_story(&failure)))?;
        self.remove_old_versions().await?;
        let free = free_bytes(directory.root())?;
        let wanted = self.context.settings.free_bytes_min;
        let low = free < wanted;
        let shown = directory.root().display().to_string();
        if self.low.swap(low, Ordering::Relaxed) != low {
            let strings = [shown.as_str(), &free.to_string(), &wanted.to_string()];
            let (id, strings) = match low {
                true => (StatusMessageId::SpaceLow, &strings[..]),
                false => (StatusMessageId::SpaceBack, &strings[..1]),
            };
            self.context.raise(id, strings, cx.now()).await?;
        }
        self.evaluate_notifications(cx.now()).await?;
        let waiting = low.then(|| Waiting {
            what: format!("free space: {free} bytes are free, {wanted} are asked for"),
            since: cx.now(),
            next_try: Some(domain::schedule::later(cx.now(), INTERVAL)),
            action: format!("make room on the file system of {shown}"),
        });
        Ok(Report {
            summary: format!("{free} bytes free"),
            next: Next::After(INTERVAL),
            waiting,
        })
    }

    async fn evaluate_notifications(&self, now: Timestamp) -> Result<(), StoreError> {
        let hour = Evaluated::Hourly.interval().as_secs();
        let last = self.all_looked_at.load(Ordering::Relaxed);
        // A clock that was set in either direction is a reason to look.
        if now.as_second().abs_diff(last) < hour {
            return evaluate(&self.context, &OFTEN, now).await;
        }
        evaluate(&self.context, &HOURLY, now).await?;
        self.all_looked_at.store(now.as_second(), Ordering::Relaxed);
        Ok(())
    }

    /// Keeps what is current, what it can be rolled back to and what is being installed.
    async fn remove_old_versions(&self) -> Result<(), ComponentError> {
        // Listed before the store is asked: an installation that places a version later is not in the
        // list, and one that placed it earlier is either still busy or installed.
        let versions = self.context.product.versions()?;
        let (mut kept, busy) = self
            .context
            .store
            .read::<_, StoreError, _>(|tx| {
                let mut installed = tx.installed()?;
                installed.sort_by_key(|row| std::cmp::Reverse(row.full_version));
                let kept: Vec<String> = installed
                    .iter()
                    .take(VERSIONS_KEPT)
                    .map(|row| row.full_version.to_string())
                    .collect();
                Ok((kept, !tx.packages_in(&[S::InstallInProgress])?.is_empty()))
            })
            .await?;
        if busy {
            return Ok(());
        }
        kept.extend(self.context.product.current()?);
        for version in versions {
            if !kept.contains(&version) {
                tracing::info!("version {version} is removed, nothing goes back to it");
                self.context.product.remove(&version)?;
            }
        }
        Ok(())
    }
}

impl Component for SiteComponentManager {
    fn name(&self) -> ComponentName {
        ComponentName::SiteComponentManager
    }

    fn activate<'a>(&'a self, cx: Activation<'a>) -> BoxFuture<'a, Result<Report, ComponentError>> {
        async move { self.run(&cx).await }.boxed()
    }
}
