//! TIDEGATE_TELEMETRY_EXPORT: tells an OpenTelemetry receiver the metrics, and each status message once.
//!
//! Which messages were told is in the database; a receiver that is away for a while misses metrics of that time, and no
//! message.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::component::ComponentName;
use domain::schedule::Backoff;
use executive::{Activation, Component, ComponentError, Next, Report, Waiting};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{HeaderName, HeaderValue};
use serde_json::Value;
use sha2::{Digest, Sha256};
use store::StoreError;

use crate::context::{SiteContext, whole_story};
use crate::secrets::secret_file;
use crate::service::metrics_of;
use crate::telemetry::TelemetrySettings;
use crate::telemetry::otlp::{self, Resource};
use crate::way_out;

/// The last status message that was told.
const TOLD: &str = "telemetry.told";
/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Messages in one request.
const BATCH: u32 = 500;
/// Waits after failures.
const BACKOFF: Backoff = Backoff {
    first: Duration::from_secs(10),
    longest: Duration::from_secs(10 * 60),
};

/// The component.
pub struct TelemetryExport {
    context: Arc<SiteContext>,
    /// Failures since the last success.
    failures: std::sync::atomic::AtomicU32,
}

impl TelemetryExport {
    /// Made once; activated for ever.
    pub fn new(context: Arc<SiteContext>) -> Self {
        TelemetryExport {
            context,
            failures: std::sync::atomic::AtomicU32::new(0),
        }
    }

    async fn run(&self, cx: &mut Activation<'_>) -> Result<Report, ComponentError> {
        use std::sync::atomic::Ordering::Relaxed;
        let resting = |summary: &str, next| Report {
            summary: summary.to_owned(),
            next,
            waiting: None,
        };
        let Some(settings) = &self.context.settings.telemetry else {
            return Ok(resting("no [telemetry] in tidegate.toml", Next::WhenWoken));
        };
        let stays = settings.endpoint.host_str().is_some_and(is_this_machine);
        if !stays && !self.context.internet.mode().may_connect() {
            return Ok(resting("offline: nothing is told", Next::After(BACKOFF.longest)));
        }
        match self.export(settings, cx).await? {
            Ok(told) => {
                self.failures.store(0, Relaxed);
                Ok(resting(&told, Next::After(settings.interval)))
            }
            Err(why) => {
                let failures = self.failures.fetch_add(1, Relaxed) + 1;
                let wait = BACKOFF.wait(failures, cx.random());
                let next = domain::schedule::later(cx.now(), wait);
                tracing::warn!("telemetry was not taken: {why}; next try at {next}");
                Ok(Report {
                    summary: format!("failed: {why}"),
                    next: Next::At(next),
                    waiting: Some(Waiting {
                        what: format!("telemetry was not taken: {why}"),
                        since: cx.now(),
                        next_try: Some(next),
                        action: "look at [telemetry] in tidegate.toml, and at the receiver".into(),
                    }),
                })
            }
        }
    }

    /// Tells metrics, then what messages there are. The inner failure is the receiver's.
    async fn export(
        &self,
        settings: &TelemetrySettings,
        cx: &Activation<'_>,
    ) -> Result<Result<String, String>, ComponentError> {
        let now = cx.now();
        let identity = &self.context.identity;
        let resource = Resource {
            site: identity.code.to_string(),
            hierarchy: hex::encode(&Sha256::digest(&identity.hierarchy_id)[..8]),
            host: self.context.machine.clone(),
            started: self.context.started_at,
        };
        let text = metrics_of(&self.context, &self.context.zone, now)
            .await
            .map_err(|failure| ComponentError::new(whole_story(&failure)))?;
        let request = otlp::metrics(&text, &resource, now);
        if let Err(why) = self.tell(settings, "v1/metrics", &request).await? {
            return Ok(Err(why));
        }
        let mut told = 0;
        loop {
            if cx.cancelled().is_cancelled() {
                break;
            }
            let messages = self
                .context
                .store
                .read::<_, StoreError, _>(|tx| {
                    let last = tx.setting(TOLD)?.and_then(|text| text.parse().ok());
                    tx.status_messages_after(last.unwrap_or(0), BATCH)
                })
                .await?;
            let Some(last) = messages.last().map(|row| row.record_id) else {
                break;
            };
            told += messages.len();
            let request = otlp::logs(&messages, &resource, now);
            if let Err(why) = self.tell(settings, "v1/logs", &request).await? {
                return Ok(Err(why));
            }
            self.context
                .store
                .write::<_, StoreError, _>(move |tx| tx.set_setting(TOLD, Some(&last.to_string())))
                .await?;
        }
        Ok(Ok(format!("metrics and {told} message(s) told")))
    }

    async fn tell(
        &self,
        settings: &TelemetrySettings,
        path: &str,
        request: &Value,
    ) -> Result<Result<(), String>, ComponentError> {
        let url = settings
            .endpoint
            .join(path)
            .map_err(|failure| ComponentError::new(failure.to_string()))?;
        let header = match settings
            .header
            .as_deref()
            .map(|name| self.header(name))
            .transpose()
        {
            Ok(header) => header,
            Err(why) => return Ok(Err(why)),
        };
        let body = serde_json::to_vec(request).map_err(|failure| ComponentError::new(failure.to_string()))?;
        let way = way_out::telemetry(&self.context, settings.ca.as_deref(), PATIENCE)?;
        let headers: Vec<(HeaderName, HeaderValue)> = header.into_iter().collect();
        match way.post_with(&url, headers, Bytes::from(body)).await {
            Ok(answer) => {
                if let Some(rejected) = otlp::rejected(&answer) {
                    tracing::warn!("of {path}, {rejected}");
                }
                Ok(Ok(()))
            }
            Err(failure) => Ok(Err(failure.to_string())),
        }
    }

    /// The header that opens the receiver. The reason of a failure does not hold it.
    fn header(&self, name: &str) -> Result<(HeaderName, HeaderValue), String> {
        let text =
            secret_file(&self.context.directory.secrets(), name).map_err(|failure| failure.to_string())?;
        let wrong =
            || format!("secrets/{name} holds no header; write one line such as `Authorization: Bearer …`");
        let (key, value) = text.split_once(':').ok_or_else(wrong)?;
        let key = HeaderName::from_bytes(key.trim().as_bytes()).map_err(|_| wrong())?;
        let mut value = HeaderValue::from_str(value.trim()).map_err(|_| wrong())?;
        value.set_sensitive(true);
        Ok((key, value))
    }
}

fn is_this_machine(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

impl Component for TelemetryExport {
    fn name(&self) -> ComponentName {
        ComponentName::TelemetryExport
    }

    fn activate<'a>(&'a self, mut cx: Activation<'a>) -> BoxFuture<'a, Result<Report, ComponentError>> {
        async move { self.run(&mut cx).await }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offline_only_this_machine_is_told() {
        for (host, expected) in [
            ("localhost", true),
            ("127.0.0.1", true),
            ("[::1]", true),
            ("10.0.0.1", false),
            ("otel.example", false),
            ("localhost.example", false),
        ] {
            assert_eq!(is_this_machine(host), expected, "{host}");
        }
    }
}
