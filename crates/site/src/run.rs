//! The process that runs a site: its executive with all components, and its local API.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::component::{ComponentName, LogLevel};
use domain::status_message::StatusMessageId;
use executive::logs::{CmTraceLayer, LogSettings};
use executive::{Clock, Executive, ExecutiveEvent, Supervision};
use jiff::tz::TimeZone;
use store::StoreError;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::context::{self, OpenError, SiteContext};
use crate::directory::{FolderError, SiteDirectory};
use crate::service::SiteService;
use crate::settings::{Settings, SettingsError};
use crate::{api, components};

/// How to run a site.
pub struct RunOptions {
    /// Site directory.
    pub dir: PathBuf,
    /// Clock of the site.
    pub clock: Clock,
    /// Seed of all its randomness.
    pub seed: u64,
    /// Time zone of its logs and of "midnight".
    pub zone: TimeZone,
    /// Its logs; the caller installs this layer as subscriber.
    pub logs: CmTraceLayer,
}

/// Why a site does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A folder could not be made.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The site directory.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another process runs it.
    #[error("another process runs the site in {dir}; stop it first, or use its commands with the same --dir")]
    Running {
        /// Site directory.
        dir: PathBuf,
    },
    /// The API cannot be served.
    #[error(transparent)]
    Listen(#[from] api::listen::ListenError),
    /// The certificate of the API for other machines.
    #[error(transparent)]
    Certificate(#[from] api::certificate::CertificateError),
    /// A file of the running process.
    #[error("cannot open {path}")]
    File {
        /// File.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
}

/// The log layer for a site directory.
pub fn log_layer(dir: &Path, settings: &Settings, clock: Clock, zone: TimeZone) -> CmTraceLayer {
    CmTraceLayer::new(LogSettings {
        folder: SiteDirectory::new(dir).logs(),
        bytes_max: settings.log_bytes_max,
        history: settings.log_history,
        zone,
        clock,
    })
}

/// Runs a site until `shutdown`.
pub async fn run(options: RunOptions, shutdown: CancellationToken) -> Result<(), RunError> {
    let directory = SiteDirectory::new(&options.dir);
    let settings = Settings::load(&directory.configuration())?;
    directory.create_folders()?;
    let _lock = lock(&directory)?;
    let context = Arc::new(context::open(
        directory,
        settings,
        options.zone.clone(),
        options.clock.now(),
    )?);
    let stopped = restore_components(&context, &options.logs).await?;
    tracing::info!(
        "site {} starts, tidegate {}",
        context.identity.code,
        env!("CARGO_PKG_VERSION")
    );
    let supervision = Supervision::new(options.clock.clone(), options.seed);
    let (executive, events) = Executive::start(components::all(&context), &stopped, supervision);
    // Set once, here: nothing else holds this context yet.
    let _ = context.executive.set(executive.handle());
    let waker = executive.handle();
    context
        .store
        .when_alerted(move || waker.wake(ComponentName::AlertNotification));
    let service = Arc::new(SiteService::new(
        context.clone(),
        options.clock.clone(),
        options.zone,
        options.logs,
    ));
    let socket = context.directory.api_socket();
    let router = api::router(service.clone());
    let local = api::listen::serve_unix(router.clone(), &socket, shutdown.clone());
    let remote = serve_remote(&context, router, service.clone(), options.clock.now(), &shutdown);
    let serving = async {
        // Whichever fails ends the other: a site that cannot be steered as configured says so and stops.
        let until_end = |result: Result<(), RunError>| {
            if result.is_err() {
                shutdown.cancel();
            }
            result
        };
        let (local, remote) = tokio::join!(async { until_end(local.await.map_err(RunError::from)) }, async {
            until_end(remote.await)
        });
        local.and(remote)
    };
    let ended = CancellationToken::new();
    let views = service.clone();
    let ending = async {
        shutdown.cancelled().await;
        views.end_views();
        executive.shut_down().await;
        ended.cancel();
    };
    let (served, (), ()) = tokio::join!(
        async {
            let served = serving.await;
            // Without its API a site cannot be steered: it ends, and says why.
            shutdown.cancel();
            served
        },
        ending,
        record_events(&context, &options.clock, events, &ended)
    );
    tracing::info!("site {} has stopped", context.identity.code);
    served
}

/// Serves the API over HTTPS to holders of a token, where the configuration names an address.
async fn serve_remote(
    context: &SiteContext,
    router: axum::Router,
    service: Arc<SiteService>,
    now: jiff::Timestamp,
    shutdown: &CancellationToken,
) -> Result<(), RunError> {
    let Some(address) = context.settings.api_listen else {
        return Ok(());
    };
    let tls = api::certificate::server_config(&context.directory.secrets(), &context.machine, now)?;
    let listener = api::listen::bind_https(address).await?;
    tracing::info!("console and API are served at https://{address}");
    let guarded = api::listen::with_token(router, service.clone()).merge(crate::console::router(service));
    Ok(api::listen::serve_https(guarded, listener, tls, shutdown.clone()).await?)
}

/// One process per site directory; the lock goes with the process, however it ends.
pub(crate) fn lock(directory: &SiteDirectory) -> Result<std::fs::File, RunError> {
    let path = directory.lock_file();
    let file = std::fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|source| RunError::File {
            path: path.clone(),
            source,
        })?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(RunError::Running {
            dir: directory.root().to_owned(),
        }),
        Err(errno) => Err(RunError::File {
            path,
            source: errno.into(),
        }),
    }
}

/// What an administrator set in an earlier run: stopped components, log levels.
async fn restore_components(
    context: &SiteContext,
    logs: &CmTraceLayer,
) -> Result<Vec<ComponentName>, RunError> {
    let rows = context
        .store
        .read::<_, StoreError, _>(|tx| {
            ComponentName::ALL
                .into_iter()
                .map(|name| tx.component(name.as_str()))
                .collect::<Result<Vec<_>, _>>()
        })
        .await?;
    let mut stopped = Vec::new();
    for (name, row) in ComponentName::ALL.into_iter().zip(rows) {
        logs.set_level(
            name,
            LogLevel::from_code(row.log_level).unwrap_or(LogLevel::Default),
        );
        if row.stopped {
            stopped.push(name);
        }
    }
    Ok(stopped)
}

/// Turns what happens to components into status messages, until the executive is gone.
async fn record_events(
    context: &SiteContext,
    clock: &Clock,
    mut events: mpsc::Receiver<ExecutiveEvent>,
    ended: &CancellationToken,
) {
    loop {
        let event = tokio::select! {
            // Whatever has been told already comes before the end.
            biased;
            event = events.recv() => event,
            () = ended.cancelled() => None,
        };
        let Some(event) = event else { return };
        let now = clock.now();
        let message = match &event {
            ExecutiveEvent::Started(name) => {
                context.status_message_of(*name, StatusMessageId::ComponentStarted, &[name.as_str()], now)
            }
            ExecutiveEvent::Stopped(name) => {
                context.status_message_of(*name, StatusMessageId::ComponentStopped, &[name.as_str()], now)
            }
            ExecutiveEvent::Recovered(name) => {
                context.status_message_of(*name, StatusMessageId::ComponentRecovered, &[name.as_str()], now)
            }
            ExecutiveEvent::Failed {
                component,
                failure,
                next_try,
            } => {
                let strings = [component.as_str(), failure, &next_try.to_string()];
                context.status_message_of(*component, StatusMessageId::ComponentFailed, &strings, now)
            }
            ExecutiveEvent::Panicked {
                component,
                failure,
                next_try,
            } => {
                let strings = [component.as_str(), failure, &next_try.to_string()];
                context.status_message_of(*component, StatusMessageId::ComponentPanicked, &strings, now)
            }
        };
        let stored = context
            .store
            .write::<_, StoreError, _>(move |tx| tx.record_status_message(&message))
            .await;
        if let Err(failure) = stored {
            tracing::error!(
                "a status message could not be stored: {}",
                context::whole_story(&failure)
            );
        }
    }
}
