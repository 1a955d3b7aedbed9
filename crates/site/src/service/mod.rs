//! The service layer: what an administrator can see and do. Command line, API and console all call
//! these methods and nothing below them.
//!
//! An action is recorded in the store with who did it, in one transaction, and answered when that is
//! durable. The work itself is done by the components, which are woken.

mod accounts;
mod actions;
mod actor;
mod alerts;
mod backups;
mod devices;
mod error;
mod health;
mod hierarchy;
mod internet;
mod logs;
mod metrics;
mod notifications;
mod setup;
mod sign_in;
mod single_sign_on;
mod status;
mod status_delete;
mod status_rules;
mod status_systems;
pub mod tokens;
mod tool;
mod updates;
mod usage;

use std::sync::Arc;

use domain::access::Scope;
use domain::component::{ComponentName, LogLevel};
use domain::servicing::package::PackageGuid;
use domain::servicing::state::PackageState;
use domain::servicing::transition::PackageEvent;
use domain::status_message::StatusMessageId;
use executive::logs::CmTraceLayer;
use executive::{Clock, ComponentSnapshot, ExecutiveHandle, Waiting};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use protocol::api::{
    ComponentAction, ComponentInfo, ContentCollected, ContentStats, ContentVerified, NewToken, SiteShow,
    SyncStatus, TokenInfo, TokenRequest, TrustedRoleInfo, WaitingInfo,
};
use store::{KeptAnswer, KeyState, StoreError};
use tokio_util::sync::CancellationToken;

use crate::context::SiteContext;
use crate::host::free_bytes;
use crate::internet::configured_mode;
use crate::way_out::RoleVersion;

use sign_in::Door;

pub use actor::Actor;
pub use error::ServiceError;
pub use metrics::metrics_of;
pub(crate) use sign_in::network_of;
pub use sign_in::{Session, SignedIn};
pub use single_sign_on::{SIGN_ON_LIFE, SignOnAnswer, SignOnBegun, SignOnEnded};

/// The service layer of one site.
pub struct SiteService {
    context: Arc<SiteContext>,
    clock: Clock,
    zone: TimeZone,
    logs: CmTraceLayer,
    door: Door,
    /// Cancelled when the site stops.
    closing: CancellationToken,
    provider: single_sign_on::Learned,
}

impl SiteService {
    /// Over what the components share.
    pub fn new(context: Arc<SiteContext>, clock: Clock, zone: TimeZone, logs: CmTraceLayer) -> Self {
        SiteService {
            context,
            clock,
            zone,
            logs,
            door: Door::default(),
            closing: CancellationToken::new(),
            provider: single_sign_on::Learned::default(),
        }
    }

    /// What it works on, for tests that change what components would.
    #[cfg(test)]
    pub(crate) fn context(&self) -> &SiteContext {
        &self.context
    }

    /// The time here.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The site's time zone.
    pub fn zone(&self) -> TimeZone {
        self.zone.clone()
    }

    /// The site's code.
    pub fn site_code(&self) -> String {
        self.context.identity.code.to_string()
    }

    /// What tells two requests apart, and nothing of what is in them: passwords are.
    pub fn fingerprint(&self, parts: &[&[u8]]) -> String {
        self.context.internet.secrets().fingerprint(parts)
    }

    /// A place for one more live view, if there is one.
    pub fn view_place(&self) -> Option<crate::live::Place> {
        let permit = self.door.views.clone().try_acquire_owned().ok()?;
        Some(crate::live::Place {
            _permit: permit,
            closing: self.closing.clone(),
        })
    }

    /// Ends every live view: the site stops.
    pub fn end_views(&self) {
        self.closing.cancel();
    }

    /// Begins a change that a caller gave a key.
    pub async fn begin_keyed(
        &self,
        actor: &str,
        key: &str,
        fingerprint: &str,
    ) -> Result<KeyState, ServiceError> {
        let (actor, key, fingerprint) = (actor.to_owned(), key.to_owned(), fingerprint.to_owned());
        let (since, now) = (self.context.started_at, self.clock.now());
        Ok(self
            .context
            .store
            .write::<_, StoreError, _>(move |tx| tx.begin_keyed(&actor, &key, &fingerprint, since, now))
            .await?)
    }

    /// Keeps the answer to it; none where it may be tried again.
    pub async fn end_keyed(
        &self,
        actor: &str,
        key: &str,
        answer: Option<KeptAnswer>,
    ) -> Result<(), ServiceError> {
        let (actor, key) = (actor.to_owned(), key.to_owned());
        Ok(self
            .context
            .store
            .write::<_, StoreError, _>(move |tx| tx.end_keyed(&actor, &key, answer.as_ref()))
            .await?)
    }

    fn executive(&self) -> Result<&ExecutiveHandle, ServiceError> {
        self.context
            .executive
            .get()
            .ok_or_else(|| ServiceError::Unavailable {
                message: "the site is still starting".into(),
                hint: Some("try again in a moment".into()),
            })
    }

    /// `site show`
    pub async fn site_show(&self) -> Result<SiteShow, ServiceError> {
        let context = &self.context;
        let (version, packages, mode) = context
            .store
            .read::<_, StoreError, _>(|tx| {
                Ok((tx.site_version()?, tx.package_count()?, configured_mode(tx)?))
            })
            .await?;
        Ok(SiteShow {
            site_code: context.identity.code.to_string(),
            name: context.identity.name.clone(),
            site_type: context.identity.site_type.to_string(),
            version: version.to_string(),
            directory: context.directory.root().display().to_string(),
            machine: context.machine.clone(),
            tidegate_version: env!("CARGO_PKG_VERSION").to_owned(),
            running_since: context.started_at,
            feed_url: context.settings.feed_url.clone(),
            mode_configured: mode.as_str().into(),
            mode_effective: context.internet.mode().as_str().into(),
            rings: context.settings.rings.clone(),
            packages,
            free_bytes: free_bytes(context.directory.root()).unwrap_or(0),
            sync: self.sync_status().await?,
        })
    }

    /// How synchronisation with the feed stands.
    pub async fn sync_status(&self) -> Result<SyncStatus, ServiceError> {
        let row = self
            .context
            .store
            .read::<_, StoreError, _>(|tx| tx.sync())
            .await?;
        let trusted: Vec<RoleVersion> = serde_json::from_str(&row.roles).unwrap_or_default();
        let ended = row.succeeded_at.max(row.failed_at);
        Ok(SyncStatus {
            requested: row.requested,
            running: row.started_at > ended,
            started_at: row.started_at,
            succeeded_at: row.succeeded_at,
            failed_at: row.failed_at,
            failure: row.failure,
            failure_reason: row.failure_reason,
            next_at: row.next_at,
            trusted: trusted
                .into_iter()
                .map(|role| TrustedRoleInfo {
                    role: role.role,
                    version: role.version,
                    expires: role.expires,
                })
                .collect(),
        })
    }

    /// `component list`
    pub async fn components(&self) -> Result<Vec<ComponentInfo>, ServiceError> {
        let mut all = vec![self.executive_info()];
        all.extend(
            self.executive()?
                .query_all()
                .into_iter()
                .map(|snapshot| self.component_info(snapshot)),
        );
        Ok(all)
    }

    /// `component query`
    pub async fn component(&self, name: &str) -> Result<ComponentInfo, ServiceError> {
        match component_name(name)? {
            ComponentName::Executive => Ok(self.executive_info()),
            name => Ok(self.component_info(self.executive()?.query(name)?)),
        }
    }

    /// `component stop|start|restart`
    pub async fn component_action(
        &self,
        name: &str,
        action: ComponentAction,
        actor: &Actor,
    ) -> Result<(), ServiceError> {
        let name = component_name(name)?;
        let executive = self.executive()?;
        if name == ComponentName::Executive {
            return match action {
                ComponentAction::Restart => self.restart_all(actor).await,
                ComponentAction::Stop | ComponentAction::Start => Err(ServiceError::Refused {
                    message: "SMS_EXECUTIVE is the process that answers you; it can be restarted here, but not stopped".into(),
                    hint: Some("end `tidegate run` to stop the site".into()),
                }),
            };
        }
        executive.query(name)?;
        let word = match action {
            ComponentAction::Stop => "stop",
            ComponentAction::Start => "start",
            ComponentAction::Restart => "restart",
        };
        let now = self.clock.now();
        let message = self.context.status_message(
            StatusMessageId::AdminComponent,
            &[actor.as_str(), name.as_str(), word],
            now,
        );
        let stopped = action == ComponentAction::Stop;
        self.context
            .store
            .write::<_, StoreError, _>(move |tx| {
                let mut row = tx.component(name.as_str())?;
                row.stopped = stopped;
                tx.record_component(&row)?;
                tx.record_status_message(&message)
            })
            .await?;
        if name == ComponentName::DmpDownloader && !stopped {
            self.apply_mode().await?;
        }
        match action {
            ComponentAction::Stop => executive.stop(name)?,
            ComponentAction::Start => executive.start(name)?,
            ComponentAction::Restart => executive.restart(name)?,
        }
        Ok(())
    }

    async fn restart_all(&self, actor: &Actor) -> Result<(), ServiceError> {
        let executive = self.executive()?;
        let strings = [actor.as_str(), ComponentName::Executive.as_str(), "restart"];
        self.context
            .raise(StatusMessageId::AdminComponent, &strings, self.clock.now())
            .await?;
        self.apply_mode().await?;
        self.context.vendor.apply(&self.context.directory);
        for snapshot in executive.query_all() {
            let name = snapshot.name;
            let row = self
                .context
                .store
                .read::<_, StoreError, _>(move |tx| tx.component(name.as_str()))
                .await?;
            if !row.stopped {
                executive.restart(name)?;
            }
        }
        Ok(())
    }

    /// `component log-level`
    pub async fn set_log_level(&self, name: &str, level: &str, actor: &Actor) -> Result<(), ServiceError> {
        let name = component_name(name)?;
        let level: LogLevel = level
            .parse()
            .map_err(|message| ServiceError::Invalid { message, hint: None })?;
        let strings = [actor.as_str(), name.as_str(), level.as_str()];
        let message = self
            .context
            .status_message(StatusMessageId::AdminLogLevel, &strings, self.clock.now());
        self.context
            .store
            .write::<_, StoreError, _>(move |tx| {
                let mut row = tx.component(name.as_str())?;
                row.log_level = level.code();
                tx.record_component(&row)?;
                tx.record_status_message(&message)
            })
            .await?;
        self.logs.set_level(name, level);
        Ok(())
    }

    /// `content stats`
    pub async fn content_stats(&self) -> Result<ContentStats, ServiceError> {
        let library = self.context.library.clone();
        let stats = tokio::task::spawn_blocking(move || library.stats()).await??;
        Ok(ContentStats {
            packages: stats.references,
            objects: stats.objects,
            logical_bytes: stats.logical_bytes,
            stored_bytes: stats.stored_bytes,
            shared_bytes: stats.shared_bytes,
            unreferenced_bytes: stats.unreferenced_bytes,
            partial_objects: stats.partial_objects,
        })
    }

    /// `content verify`: reads everything; what is damaged is set aside and counts as missing.
    pub async fn content_verify(&self, actor: &Actor) -> Result<ContentVerified, ServiceError> {
        self.context
            .raise(StatusMessageId::AdminVerify, &[actor.as_str()], self.clock.now())
            .await?;
        let library = self.context.library.clone();
        let work = move || {
            let report = library.verify(&mut |_| {})?;
            Ok::<_, content::LibraryError>((report, library.incomplete()?))
        };
        let (report, incomplete) = tokio::task::spawn_blocking(work).await??;
        let damaged: Vec<String> = report.damaged.iter().map(|object| object.to_string()).collect();
        let lacking: Vec<PackageGuid> = incomplete.keys().filter_map(|name| name.parse().ok()).collect();
        Ok(ContentVerified {
            objects: report.checked,
            bytes: report.bytes,
            damaged,
            incomplete,
            repairing: self.fetch_again(lacking).await?,
        })
    }

    /// Packages that wait for an installation and lack content are put into the download queue; what is installed, or
    /// under way, is left alone. Says which ones.
    async fn fetch_again(&self, lacking: Vec<PackageGuid>) -> Result<Vec<String>, ServiceError> {
        let now = self.clock.now();
        let repairing = self
            .context
            .store
            .write::<_, StoreError, _>(move |tx| {
                let mut repairing = Vec::new();
                for guid in lacking {
                    let Ok(row) = tx.package(guid) else { continue };
                    if row.state != PackageState::DownloadSuccess {
                        continue;
                    }
                    let why = "its content was found damaged; what is missing is fetched again";
                    tx.apply(guid, PackageEvent::ContentLost, why, now)?;
                    tx.clear_sub_stages(guid, true)?;
                    tx.set_requested(guid, true)?;
                    tx.clear_attempts(Some(guid))?;
                    repairing.push(guid.to_string());
                }
                Ok(repairing)
            })
            .await?;
        if !repairing.is_empty() {
            self.context.wake(ComponentName::DmpDownloader);
        }
        Ok(repairing)
    }

    /// `content gc`: removes what no package needs.
    pub async fn content_gc(&self, actor: &Actor) -> Result<ContentCollected, ServiceError> {
        self.context
            .raise(StatusMessageId::AdminCollect, &[actor.as_str()], self.clock.now())
            .await?;
        let library = self.context.library.clone();
        let report = tokio::task::spawn_blocking(move || library.gc()).await??;
        Ok(ContentCollected {
            objects: report.removed,
            bytes: report.bytes,
        })
    }

    /// The holder of an API token, if the token is one of `secrets/api-tokens`.
    pub fn check_token(&self, token: &str) -> Option<Actor> {
        let token = tokens::holder(&self.context.directory.api_tokens(), token)?;
        Some(Actor::token(&token.name, token.access))
    }

    /// `user tokens`
    pub async fn tokens(&self) -> Result<Vec<TokenInfo>, ServiceError> {
        let file = self.context.directory.api_tokens();
        let listed = tokio::task::spawn_blocking(move || tokens::list(&file)).await?;
        let tokens = listed.map_err(|failure| ServiceError::Internal {
            source: Box::new(failure),
        })?;
        Ok(tokens
            .into_iter()
            .map(|token| TokenInfo {
                name: token.name,
                role: token.access.role.word().to_owned(),
                scope: token.access.scope.as_str().to_owned(),
            })
            .collect())
    }

    /// `user token`
    pub async fn add_token(&self, request: TokenRequest, actor: &Actor) -> Result<NewToken, ServiceError> {
        let access = accounts::access_of(&request.role, request.scope.as_deref(), Scope::All)?;
        let _alone = self.door.tokens.lock().await;
        let (file, name) = (self.context.directory.api_tokens(), request.name.clone());
        let made = tokio::task::spawn_blocking(move || {
            let mut random = [0; 32];
            getrandom::fill(&mut random).map_err(|failure| failure.to_string())?;
            tokens::add(&file, &name, access, random).map_err(|failure| failure.to_string())
        });
        let token = made
            .await?
            .map_err(|message| ServiceError::Refused { message, hint: None })?;
        let name = request.name;
        let strings = [actor.as_str(), &name, access.role.as_str(), access.scope.as_str()];
        self.context
            .raise(StatusMessageId::AdminTokenAdded, &strings, self.clock.now())
            .await?;
        Ok(NewToken { name, token })
    }

    /// `user revoke`
    pub async fn remove_token(&self, name: &str, actor: &Actor) -> Result<(), ServiceError> {
        let _alone = self.door.tokens.lock().await;
        let (file, wanted) = (self.context.directory.api_tokens(), name.to_owned());
        let removed = tokio::task::spawn_blocking(move || tokens::remove(&file, &wanted)).await?;
        match removed {
            Ok(true) => {}
            Ok(false) => {
                return Err(ServiceError::NotFound {
                    message: format!("there is no token {name:?}"),
                    hint: Some("`tidegate user tokens` shows the tokens".into()),
                });
            }
            Err(failure) => {
                return Err(ServiceError::Internal {
                    source: Box::new(failure),
                });
            }
        }
        let strings = [actor.as_str(), name];
        self.context
            .raise(StatusMessageId::AdminTokenRemoved, &strings, self.clock.now())
            .await?;
        Ok(())
    }

    /// The supervisor itself, shown beside what it supervises.
    fn executive_info(&self) -> ComponentInfo {
        let name = ComponentName::Executive;
        ComponentInfo {
            name: name.to_string(),
            description: name.description().to_owned(),
            state: "started".into(),
            state_code: 1,
            active: true,
            activity: "supervising".into(),
            waiting: None,
            last_started: Some(self.context.started_at),
            last_finished: None,
            last_result: String::new(),
            next_activation: None,
            failures_in_row: 0,
            failures: 0,
            panics: 0,
            activations: 1,
            log_file: name.log_file().to_owned(),
            log_level: self.logs.level(name).as_str().to_owned(),
        }
    }

    fn component_info(&self, snapshot: ComponentSnapshot) -> ComponentInfo {
        let name = snapshot.name;
        ComponentInfo {
            name: name.to_string(),
            description: name.description().to_owned(),
            state: snapshot.state.as_str().to_owned(),
            state_code: snapshot.state.code(),
            active: snapshot.active,
            activity: snapshot.activity,
            waiting: snapshot.waiting.map(waiting_info),
            last_started: snapshot.last_started,
            last_finished: snapshot.last_finished,
            last_result: snapshot.last_result,
            next_activation: snapshot.next_activation,
            failures_in_row: snapshot.failures_in_row,
            failures: snapshot.failures,
            panics: snapshot.panics,
            activations: snapshot.activations,
            log_file: name.log_file().to_owned(),
            log_level: self.logs.level(name).as_str().to_owned(),
        }
    }
}

fn waiting_info(waiting: Waiting) -> WaitingInfo {
    WaitingInfo {
        what: waiting.what,
        since: waiting.since,
        next_try: waiting.next_try,
        action: waiting.action,
    }
}

fn component_name(text: &str) -> Result<ComponentName, ServiceError> {
    text.parse().map_err(|message| ServiceError::NotFound {
        message,
        hint: Some("`tidegate component list` shows the components".into()),
    })
}

fn package_guid(text: &str) -> Result<PackageGuid, ServiceError> {
    text.parse().map_err(|message| ServiceError::Invalid {
        message,
        hint: Some("`tidegate updates list --all` shows the packages".into()),
    })
}
