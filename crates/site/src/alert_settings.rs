//! `[alerts]` of `tidegate.toml`: who is told of messages that a status filter rule selects. Secrets are not in it: it
//! names files of `secrets/`.

use std::path::PathBuf;

use cloud_client::{MailTls, SyslogServer, is_mail_address};
use serde::Deserialize;
use url::Url;

/// The usual socket of the system log.
const LOCAL_LOG: &str = "/dev/log";
/// Most receivers of a mail.
const RECEIVERS_MAX: usize = 20;

/// Who is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlertSettings {
    /// The system log.
    pub syslog: Option<SyslogServer>,
    /// A web address.
    pub webhook: Option<WebhookSettings>,
    /// Mail.
    pub email: Option<EmailSettings>,
}

/// A web address that is told.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSettings {
    /// Its address; the path may be a secret of its own.
    pub url: Url,
    /// File of `secrets/` whose content signs what is sent.
    pub secret: Option<String>,
}

impl WebhookSettings {
    /// Its scheme, host and port.
    pub fn place(&self) -> String {
        self.url.origin().ascii_serialization()
    }
}

impl std::fmt::Debug for WebhookSettings {
    /// Without the path, which often is a token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WebhookSettings({})", self.place())
    }
}

/// A mail server, and who writes to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmailSettings {
    /// Name or address of the server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the way there is protected.
    pub tls: MailTls,
    /// Account, and the file of `secrets/` with its password.
    pub account: Option<(String, String)>,
    /// Certificates (PEM) trusted beside the platform's.
    pub ca: Option<PathBuf>,
    /// Sender.
    pub from: String,
    /// Receivers.
    pub to: Vec<String>,
}

/// A value that is refused: key, value, what to write.
pub(crate) type Refused = (&'static str, String, String);

/// The tables as they are written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AlertsTable {
    syslog: Option<SyslogTable>,
    webhook: Option<WebhookTable>,
    email: Option<EmailTable>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SyslogTable {
    server: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WebhookTable {
    url: String,
    secret: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EmailTable {
    server: String,
    tls: Option<String>,
    user: Option<String>,
    password: Option<String>,
    ca: Option<PathBuf>,
    from: String,
    to: Vec<String>,
}

impl AlertsTable {
    /// Validates; relative names of certificates are those of files in `folder`.
    pub(crate) fn validated(self, folder: &std::path::Path) -> Result<AlertSettings, Refused> {
        Ok(AlertSettings {
            syslog: self.syslog.map(syslog).transpose()?,
            webhook: self.webhook.map(webhook).transpose()?,
            email: self.email.map(|table| email(table, folder)).transpose()?,
        })
    }
}

pub(crate) fn refused<T>(key: &'static str, value: &str, problem: &str) -> Result<T, Refused> {
    Err((key, value.to_owned(), problem.to_owned()))
}

fn syslog(table: SyslogTable) -> Result<SyslogServer, Refused> {
    let server = table.server;
    if server == "local" {
        return Ok(SyslogServer::Local(LOCAL_LOG.into()));
    }
    if let Some(path) = server
        .strip_prefix("unix://")
        .filter(|path| path.starts_with('/'))
    {
        return Ok(SyslogServer::Local(path.into()));
    }
    match server
        .strip_prefix("udp://")
        .and_then(|place| host_and_port(place, 514))
    {
        Some((host, port)) => Ok(SyslogServer::Udp(host, port)),
        None => refused(
            "alerts.syslog.server",
            &server,
            "write \"local\", \"unix:///path/of/a/socket\" or \"udp://host:514\"",
        ),
    }
}

fn webhook(table: WebhookTable) -> Result<WebhookSettings, Refused> {
    let key = "alerts.webhook.url";
    // The value is not repeated: its path may be a token.
    let hidden = "(not shown)";
    let Ok(url) = Url::parse(&table.url) else {
        return refused(key, hidden, "write an https:// address");
    };
    let loopback = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    if !(url.scheme() == "https" || (url.scheme() == "http" && loopback)) {
        return refused(
            key,
            hidden,
            "write an https:// address; http:// is for this machine only",
        );
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refused(
            key,
            hidden,
            "write the address without user and password; alerts.webhook.secret signs what is sent",
        );
    }
    if let Some(name) = &table.secret {
        secret_name("alerts.webhook.secret", name)?;
    }
    Ok(WebhookSettings {
        url,
        secret: table.secret,
    })
}

fn email(table: EmailTable, folder: &std::path::Path) -> Result<EmailSettings, Refused> {
    let (tls, usual_port) = match table.tls.as_deref() {
        None | Some("starttls") => (MailTls::StartTls, 587),
        Some("implicit") => (MailTls::Implicit, 465),
        Some("off") => (MailTls::Off, 25),
        Some(other) => {
            return refused("alerts.email.tls", other, "write starttls, implicit or off");
        }
    };
    let Some((host, port)) = host_and_port(&table.server, usual_port) else {
        return refused(
            "alerts.email.server",
            &table.server,
            "write a host, and a port if it is not the usual one: \"mail.example:587\"",
        );
    };
    let account = match (table.user, table.password) {
        (None, None) => None,
        (Some(user), Some(_)) if tls == MailTls::Off => {
            return refused(
                "alerts.email.user",
                &user,
                "a password is sent over TLS only; set alerts.email.tls to starttls or implicit",
            );
        }
        (Some(user), Some(file)) => {
            secret_name("alerts.email.password", &file)?;
            Some((user, file))
        }
        (Some(user), None) => {
            return refused(
                "alerts.email.user",
                &user,
                "name the file in secrets/ with its password: alerts.email.password",
            );
        }
        (None, Some(file)) => {
            return refused(
                "alerts.email.password",
                &file,
                "name its account: alerts.email.user",
            );
        }
    };
    for address in std::iter::once(&table.from).chain(&table.to) {
        if !is_mail_address(address) {
            return refused(
                "alerts.email",
                address,
                "this is no mail address; write one such as site@example.org",
            );
        }
    }
    if !(1..=RECEIVERS_MAX).contains(&table.to.len()) {
        return refused(
            "alerts.email.to",
            &table.to.len().to_string(),
            "write 1 to 20 receivers",
        );
    }
    Ok(EmailSettings {
        host,
        port,
        tls,
        account,
        ca: table.ca.map(|ca| folder.join(ca)),
        from: table.from,
        to: table.to,
    })
}

/// `host`, `host:port`, `[address]:port`.
fn host_and_port(text: &str, usual: u16) -> Option<(String, u16)> {
    let place = Url::parse(&format!("any://{text}")).ok()?;
    let bare = place.path().is_empty()
        && place.query().is_none()
        && place.fragment().is_none()
        && place.username().is_empty();
    let host = place.host_str().filter(|host| bare && !host.is_empty())?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Some((host.to_owned(), place.port().unwrap_or(usual)))
}

/// A file directly in `secrets/`.
pub(crate) fn secret_name(key: &'static str, name: &str) -> Result<(), Refused> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    match (1..=64).contains(&name.len()) && name.chars().all(plain) && !name.starts_with('.') {
        true => Ok(()),
        false => refused(
            key,
            name,
            "name a file in the site's secrets/ by letters, digits, dots, hyphens and underscores",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;
    use std::path::Path;

    fn parse(alerts: &str) -> Result<AlertSettings, String> {
        let text = format!("[feed]\nurl = \"https://a\"\n{alerts}");
        Settings::parse(&text, Path::new("/site/tidegate.toml"))
            .map(|settings| settings.alerts)
            .map_err(|failure| failure.to_string())
    }

    #[test]
    fn what_is_written_is_understood() {
        assert_eq!(parse(""), Ok(AlertSettings::default()));
        let all = parse(
            "[alerts.syslog]\nserver = \"udp://[::1]\"\n[alerts.webhook]\nurl = \"https://hooks.example/T0KEN\"\n\
             secret = \"hook.key\"\n[alerts.email]\nserver = \"mail.example\"\nuser = \"site\"\npassword = \"mail\"\n\
             ca = \"ca.pem\"\nfrom = \"site@example.org\"\nto = [\"ops@example.org\"]\n",
        )
        .unwrap();
        assert_eq!(all.syslog, Some(SyslogServer::Udp("::1".into(), 514)));
        let email = all.email.as_ref().unwrap();
        assert_eq!((email.port, email.tls), (587, MailTls::StartTls));
        assert_eq!(email.ca.as_deref(), Some(Path::new("/site/ca.pem")));
        assert!(!format!("{all:?}").contains("T0KEN"));
        let local = parse("[alerts.syslog]\nserver = \"local\"\n").unwrap();
        assert_eq!(local.syslog, Some(SyslogServer::Local("/dev/log".into())));
    }

    #[test]
    fn refusals_name_the_key_and_show_no_secret() {
        let check = |text: &str, expected: &str| {
            let message = parse(text).unwrap_err();
            assert!(message.contains(expected), "{text:?} gave {message:?}");
            assert!(!message.contains("T0KEN"), "{message:?}");
        };
        check("[alerts]\nteletext = 1\n", "line 4");
        check("[alerts.syslog]\nserver = 5\n", "line 4, column 10");
        check("[alerts.syslog]\nserver = \"tcp://a\"\n", "alerts.syslog.server");
        check(
            "[alerts.syslog]\nserver = \"udp://a/b\"\n",
            "alerts.syslog.server",
        );
        check(
            "[alerts.webhook]\nurl = \"http://a/T0KEN\"\n",
            "this machine only",
        );
        check(
            "[alerts.webhook]\nurl = \"https://u:T0KEN@a\"\n",
            "without user and password",
        );
        check(
            "[alerts.webhook]\nurl = \"https://a\"\nsecret = \"../x\"\n",
            "alerts.webhook.secret",
        );
        let email = |rest: &str| {
            format!("[alerts.email]\nserver = \"m\"\nfrom = \"a@b.example\"\nto = [\"c@d.example\"]\n{rest}")
        };
        assert!(parse(&email("")).is_ok());
        check(&email("tls = \"maybe\"\n"), "alerts.email.tls");
        check(&email("user = \"u\"\n"), "alerts.email.password");
        check(
            &email("tls = \"off\"\nuser = \"u\"\npassword = \"p\"\n"),
            "over TLS only",
        );
        check(&email("").replace("c@d.example", "nobody"), "no mail address");
        check(&email("").replace("[\"c@d.example\"]", "[]"), "1 to 20 receivers");
    }
}
