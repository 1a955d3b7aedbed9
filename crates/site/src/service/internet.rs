//! The service connection point: mode, proxy, checks of internet access.

use cloud_client::probe::{Prober, RunInfo};
use cloud_client::{Credentials, Proxy, ProxySettings};
use domain::component::ComponentName;
use domain::mode::Mode;
use domain::status_message::StatusMessageId;
use executive::ComponentError;
use protocol::api::{EndpointRunInfo, ModeRequest, ProxyInfo, ProxyRequest, ScpShow};
use protocol::connectivity::CheckReport;
use sha2::{Digest, Sha256};
use store::{EndpointRunRow, StoreError};
use zeroize::Zeroizing;

use super::{Actor, ServiceError, SiteService};
use crate::internet;

/// Most exceptions of a proxy.
const EXCEPTIONS_MAX: usize = 256;

impl SiteService {
    /// `scp show`
    pub async fn scp(&self) -> Result<ScpShow, ServiceError> {
        let (mode, last) = self
            .context
            .store
            .read::<_, StoreError, _>(|tx| Ok((internet::configured_mode(tx)?, tx.endpoint_runs(1)?.pop())))
            .await?;
        Ok(ScpShow {
            mode_configured: mode.as_str().into(),
            mode_effective: self.context.internet.mode().as_str().into(),
            proxy: self.proxy(),
            features: self.context.settings.internet_features.clone(),
            internet: last.map(run_info),
        })
    }

    /// `scp mode`
    pub async fn set_mode(&self, request: ModeRequest, actor: &Actor) -> Result<ScpShow, ServiceError> {
        let Some(mode) = Mode::parse(&request.mode) else {
            return Err(ServiceError::Invalid {
                message: format!("{:?} is no mode; write online or offline", request.mode),
                hint: None,
            });
        };
        let strings = [actor.as_str(), mode.as_str()];
        let message = self
            .context
            .status_message(StatusMessageId::AdminMode, &strings, self.clock.now());
        self.context
            .store
            .write::<_, StoreError, _>(move |tx| {
                internet::configure_mode(tx, mode)?;
                tx.record_status_message(&message)
            })
            .await?;
        if request.restart {
            let name = ComponentName::DmpDownloader.as_str();
            self.component_action(name, protocol::api::ComponentAction::Restart, actor)
                .await?;
        }
        self.scp().await
    }

    /// The configured mode comes into force.
    pub(super) async fn apply_mode(&self) -> Result<(), ServiceError> {
        let mode = self
            .context
            .store
            .read::<_, StoreError, _>(internet::configured_mode)
            .await?;
        if self.context.internet.mode() != mode {
            self.context.internet.apply_mode(mode);
            tracing::info!("the service connection point is {} now", mode.as_str());
            self.context.wake(ComponentName::ServiceConnector);
        }
        Ok(())
    }

    /// `scp proxy show`
    pub fn proxy(&self) -> Option<ProxyInfo> {
        self.context
            .internet
            .proxy()
            .map(|proxy| proxy_info(&proxy.settings))
    }

    /// `scp proxy set`: one proxy per server, a new one replaces the old.
    pub async fn set_proxy(&self, request: ProxyRequest, actor: &Actor) -> Result<ProxyInfo, ServiceError> {
        let settings = settings_of(request)?;
        let sealed = self
            .context
            .internet
            .sealed(&settings)
            .map_err(|source| ServiceError::Internal {
                source: Box::new(source),
            })?;
        let strings = [actor.as_str(), &settings.to_string()];
        let message = self
            .context
            .status_message(StatusMessageId::AdminProxySet, &strings, self.clock.now());
        self.context
            .store
            .write::<_, StoreError, _>(move |tx| {
                internet::store_proxy(tx, Some(&sealed))?;
                tx.record_status_message(&message)
            })
            .await?;
        let info = proxy_info(&settings);
        self.context.internet.use_proxy(Some(settings));
        self.context.wake(ComponentName::ServiceConnector);
        Ok(info)
    }

    /// `scp proxy clear`
    pub async fn clear_proxy(&self, actor: &Actor) -> Result<(), ServiceError> {
        let message = self.context.status_message(
            StatusMessageId::AdminProxyCleared,
            &[actor.as_str()],
            self.clock.now(),
        );
        self.context
            .store
            .write::<_, StoreError, _>(move |tx| {
                internet::store_proxy(tx, None)?;
                tx.record_status_message(&message)
            })
            .await?;
        self.context.internet.use_proxy(None);
        self.context.wake(ComponentName::ServiceConnector);
        Ok(())
    }

    /// `scp proxy test`: the checks of this site through a proxy that is not in force yet, or through the one
    /// that is. Nothing is recorded.
    pub async fn test_proxy(&self, request: Option<ProxyRequest>) -> Result<CheckReport, ServiceError> {
        let proxy = match request {
            Some(request) => Some(Proxy::new(settings_of(request)?)),
            None => self.context.internet.proxy(),
        };
        if proxy.is_none() {
            return Err(ServiceError::Refused {
                message: "no proxy is set, and none was named to be tested".into(),
                hint: Some("tidegate scp proxy test --host NAME --port PORT".into()),
            });
        }
        if !self.context.internet.mode().may_connect() {
            return Err(ServiceError::Refused {
                message: "the service connection point is offline: no connection is opened".into(),
                hint: Some("tidegate scp mode online --restart".into()),
            });
        }
        let failed = |failure: ComponentError| ServiceError::Internal {
            source: failure.to_string().into(),
        };
        let (plan, catalogue) = internet::plan(&self.context).await.map_err(failed)?;
        let now = self.clock.now();
        let info = RunInfo {
            run_id: hex::encode(&Sha256::digest(format!("test {}", now.as_nanosecond()))[..16]),
            now,
            catalogue: Some(catalogue.stamp),
        };
        let way = internet::way(&self.context, proxy).map_err(failed)?;
        let prober = Prober::new(way, self.context.machine.clone());
        Ok(prober.run(&plan, &info, &|_| {}).await)
    }

    /// `check --site`
    pub async fn check_internet(&self, actor: &Actor) -> Result<CheckReport, ServiceError> {
        let now = self.clock.now();
        self.context
            .raise(StatusMessageId::AdminEndpointCheck, &[actor.as_str()], now)
            .await?;
        internet::run(&self.context, "asked for", now)
            .await
            .map_err(|failure| ServiceError::Internal {
                source: failure.to_string().into(),
            })
    }

    /// The last report, if there is one.
    pub async fn internet(&self) -> Result<CheckReport, ServiceError> {
        let last = self
            .context
            .store
            .read::<_, StoreError, _>(|tx| Ok(tx.endpoint_runs(1)?.pop()))
            .await?;
        let report = last.and_then(|row| serde_json::from_str(&row.report).ok());
        report.ok_or_else(|| ServiceError::NotFound {
            message: "internet access was not checked yet".into(),
            hint: Some("tidegate check --site".into()),
        })
    }

    /// Runs of the past, newest first.
    pub async fn internet_history(&self, limit: u32) -> Result<Vec<EndpointRunInfo>, ServiceError> {
        let rows = self
            .context
            .store
            .read::<_, StoreError, _>(move |tx| tx.endpoint_runs(limit))
            .await?;
        Ok(rows.into_iter().map(run_info).collect())
    }
}

fn run_info(row: EndpointRunRow) -> EndpointRunInfo {
    EndpointRunInfo {
        run_id: row.run_id,
        started_at: row.started_at,
        cause: row.cause,
        outcome: row.outcome,
        summary: row.summary,
        took_ms: row.took_ms,
    }
}

fn proxy_info(settings: &ProxySettings) -> ProxyInfo {
    ProxyInfo {
        host: settings.host.clone(),
        port: settings.port,
        tls: settings.tls,
        user: settings
            .credentials
            .as_ref()
            .map(|credentials| credentials.user.clone()),
        basic_over_clear_text: settings.basic_over_clear_text,
        exceptions: settings.exceptions.clone(),
    }
}

fn settings_of(request: ProxyRequest) -> Result<ProxySettings, ServiceError> {
    let invalid = |message: String| ServiceError::Invalid { message, hint: None };
    let mut settings =
        ProxySettings::new(&request.host, request.port).map_err(|wrong| invalid(wrong.to_string()))?;
    if request.exceptions.len() > EXCEPTIONS_MAX {
        return Err(invalid(format!(
            "a proxy has at most {EXCEPTIONS_MAX} exceptions"
        )));
    }
    settings.tls = request.tls;
    settings.basic_over_clear_text = request.basic_over_clear_text;
    settings.exceptions = request.exceptions;
    settings.credentials = match (request.user, request.password) {
        (Some(user), Some(password)) => Some(Credentials {
            user,
            password: Zeroizing::new(password),
        }),
        (None, None) => None,
        _ => return Err(invalid("an account needs a user and a password".into())),
    };
    Ok(settings)
}
