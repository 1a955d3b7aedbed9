//! One attempt to tell a target of an alert.

use std::time::Duration;

use bytes::Bytes;
use cloud_client::{Mail, MailServer, SyslogServer};
use domain::status_message::rules::AlertTarget;
use domain::status_message::syslog::SyslogEntry;
use domain::status_message::{MessageType, Severity};
use protocol::alert::{Alert, VERSION};
use store::{AlertRow, StoreError};
use zeroize::Zeroizing;

use crate::alert_settings::{EmailSettings, WebhookSettings};
use crate::context::{SiteContext, whole_story};
use crate::secrets::secret_file;
use crate::way_out;

/// How long one attempt may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why an attempt failed.
pub struct NotDelivered {
    /// For people; holds no secret.
    pub why: String,
    /// The same alert may be taken later.
    pub may_pass: bool,
    /// How long the target asks to wait.
    pub retry_after: Option<Duration>,
    /// Only some of the target's receivers did not take it: the alerts behind it need not wait.
    pub only_some: bool,
}

/// The ways to the targets.
pub struct Deliveries<'a> {
    context: &'a SiteContext,
}

fn later_perhaps(why: String) -> NotDelivered {
    NotDelivered {
        why,
        may_pass: true,
        retry_after: None,
        only_some: false,
    }
}

fn never(why: &str) -> NotDelivered {
    NotDelivered {
        why: why.to_owned(),
        may_pass: false,
        retry_after: None,
        only_some: false,
    }
}

impl<'a> Deliveries<'a> {
    pub fn new(context: &'a SiteContext) -> Self {
        Deliveries { context }
    }

    /// Why nothing is tried now: offline, only this machine's own system log is told.
    pub fn held_back(&self, target: AlertTarget) -> Option<&'static str> {
        let alerts = &self.context.settings.alerts;
        let leaves = match target {
            AlertTarget::Syslog => matches!(alerts.syslog, Some(SyslogServer::Udp(..))),
            AlertTarget::Webhook => alerts.webhook.is_some(),
            AlertTarget::Email => alerts.email.is_some(),
        };
        (leaves && !self.context.internet.mode().may_connect())
            .then_some("the service connection point is offline")
    }

    pub async fn deliver(&self, target: AlertTarget, row: &AlertRow) -> Result<(), NotDelivered> {
        let alerts = &self.context.settings.alerts;
        let alert = self.alert(row);
        match target {
            AlertTarget::Syslog => match &alerts.syslog {
                Some(server) => syslog(server, &alert, row).await,
                None => Err(never("there is no [alerts.syslog] in tidegate.toml")),
            },
            AlertTarget::Webhook => match &alerts.webhook {
                Some(settings) => self.webhook(settings, &alert).await,
                None => Err(never("there is no [alerts.webhook] in tidegate.toml")),
            },
            AlertTarget::Email => match &alerts.email {
                Some(settings) => self.email(settings, &alert, row).await,
                None => Err(never("there is no [alerts.email] in tidegate.toml")),
            },
        }
    }

    fn alert(&self, row: &AlertRow) -> Alert {
        let message = &row.message;
        let identity = &self.context.identity;
        Alert {
            version: VERSION,
            key: format!("{}-{}-{}", identity.hierarchy_id, identity.code, row.id),
            rule: row.rule.clone(),
            site_code: message.site_code.clone(),
            machine: message.machine.clone(),
            component: message.component.clone(),
            message_id: message.message_id,
            severity: Severity::from_code(message.severity)
                .map_or("unknown", Severity::as_str)
                .to_owned(),
            message_type: MessageType::from_code(message.message_type)
                .map_or("unknown", MessageType::as_str)
                .to_owned(),
            time: message.recorded_at,
            text: message.text.clone(),
            insertion_strings: message.insertion_strings.clone(),
        }
    }

    async fn webhook(&self, settings: &WebhookSettings, alert: &Alert) -> Result<(), NotDelivered> {
        let body = serde_json::to_vec(alert).map_err(|failure| never(&failure.to_string()))?;
        let signature = match &settings.secret {
            Some(name) => {
                let secret = self.secret(name)?;
                let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
                let tag = aws_lc_rs::hmac::sign(&key, &body);
                Some(format!("sha256={}", hex::encode(tag.as_ref())))
            }
            None => None,
        };
        let way =
            way_out::webhook(self.context, PATIENCE).map_err(|failure| later_perhaps(failure.to_string()))?;
        way.post(&settings.url, &alert.key, signature.as_deref(), Bytes::from(body))
            .await
            .map_err(|failure| NotDelivered {
                why: failure.to_string(),
                may_pass: failure.may_pass(),
                retry_after: failure.retry_after(),
                only_some: false,
            })
    }

    async fn email(
        &self,
        settings: &EmailSettings,
        alert: &Alert,
        row: &AlertRow,
    ) -> Result<(), NotDelivered> {
        let credentials = match &settings.account {
            Some((user, file)) => Some((user.clone(), self.secret(file)?)),
            None => None,
        };
        let extra_roots_pem = match &settings.ca {
            Some(path) => vec![std::fs::read(path).map_err(|failure| {
                later_perhaps(format!(
                    "cannot read the certificates {} (alerts.email.ca): {failure}",
                    path.display()
                ))
            })?],
            None => Vec::new(),
        };
        let server = MailServer {
            host: settings.host.clone(),
            port: settings.port,
            tls: settings.tls,
            credentials,
            extra_roots_pem,
            from: settings.from.clone(),
            to: settings.to.clone(),
            hello: self.context.machine.clone(),
            patience: PATIENCE,
        };
        let subject = format!(
            "[{}] {}: {} {}",
            alert.site_code, alert.severity, alert.component, alert.message_id
        );
        let text = format!(
            "{}\r\n\r\nSite: {}\r\nMachine: {}\r\nComponent: {}\r\nMessage id: {}\r\nSeverity: {}\r\nTime: {}\r\n\
             Status filter rule: {}\r\n",
            alert.text,
            alert.site_code,
            alert.machine,
            alert.component,
            alert.message_id,
            alert.severity,
            alert.time,
            alert.rule
        );
        let mail = Mail {
            key: &alert.key,
            subject: &subject,
            text: &text,
            at: alert.time,
        };
        // Whatever a mail server refuses, a person mends (a password, a mailbox), and then it takes the same mail.
        let mut refusals = Vec::new();
        let mut taken = row.taken_by.len();
        for receiver in settings.to.iter().filter(|to| !row.taken_by.contains(to)) {
            // A conversation has many steps; together they get no more time than one attempt has.
            match tokio::time::timeout(PATIENCE, server.send(mail, receiver)).await {
                Ok(Ok(())) => {
                    self.record_taken(row.id, receiver).await?;
                    taken += 1;
                }
                Ok(Err(failure)) => {
                    refusals.push(format!("{receiver}: {failure}"));
                    if failure.is_for_all() {
                        return Err(later_perhaps(refusals.join("; ")));
                    }
                }
                Err(_) => {
                    return Err(later_perhaps(format!(
                        "{} did not take a mail within {} s",
                        settings.host,
                        PATIENCE.as_secs()
                    )));
                }
            }
        }
        if refusals.is_empty() {
            return Ok(());
        }
        Err(NotDelivered {
            only_some: taken > 0,
            ..later_perhaps(refusals.join("; "))
        })
    }

    /// Written down at once: whatever happens to the other receivers, this one does not get the mail again.
    async fn record_taken(&self, id: i64, receiver: &str) -> Result<(), NotDelivered> {
        let receiver = receiver.to_owned();
        self.context
            .store
            .write::<_, StoreError, _>(move |tx| tx.alert_taken_by(id, &receiver))
            .await
            .map_err(|failure| later_perhaps(whole_story(&failure)))
    }

    /// The content of a file of `secrets/`, without the end of its line.
    fn secret(&self, name: &str) -> Result<Zeroizing<String>, NotDelivered> {
        secret_file(&self.context.directory.secrets(), name)
            .map_err(|failure| later_perhaps(failure.to_string()))
    }
}

async fn syslog(server: &SyslogServer, alert: &Alert, row: &AlertRow) -> Result<(), NotDelivered> {
    let entry = SyslogEntry {
        severity: Severity::from_code(row.message.severity).unwrap_or(Severity::Error),
        time: alert.time,
        machine: &alert.machine,
        process_id: row.message.process_id,
        message_id: alert.message_id,
        component: &alert.component,
        site_code: &alert.site_code,
        text: &alert.text,
        key: &alert.key,
    };
    server
        .send(&entry.line(), PATIENCE)
        .await
        .map_err(|failure| later_perhaps(whole_story(&failure)))
}
