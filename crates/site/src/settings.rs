//! `tidegate.toml`: what a site is told by people before it runs. Unknown keys are refused, and every
//! value says what it may be. What an administrator changes while the site runs is in its database.

use std::path::{Path, PathBuf};
use std::time::Duration;

use protocol::notice::NoticeCategory;
use serde::Deserialize;

use crate::alert_settings::{AlertSettings, AlertsTable};
use crate::single_sign_on::settings::{OidcSettings, OidcTable};

/// Least room that a site leaves free: its database and its logs have to grow to tell of a full disk.
const FREE_BYTES_LEAST: u64 = 4 * 1024 * 1024;
/// Largest configuration file that is read.
const CONFIGURATION_BYTES_MAX: u64 = 256 * 1024;

/// A validated configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Base address of the feed; `metadata/` and `targets/` are below it. `https:`, `http:` or `file:`.
    pub feed_url: String,
    /// Base addresses of copies of the feed, asked where the feed itself does not deliver.
    pub feed_mirrors: Vec<String>,
    /// PEM file with certificates trusted for the feed's server beside the platform's.
    pub feed_ca: Option<PathBuf>,
    /// Time between checks for updates (EasySetupDownloadInterval; 24 hours).
    pub check_interval: Duration,
    /// Rings this hierarchy takes part in; packages without rings are offered to everybody.
    pub rings: Vec<String>,
    /// Bytes per log file before it rolls over to `.lo_`; at least 10,000.
    pub log_bytes_max: u64,
    /// Whether the rolled-over file is kept.
    pub log_history: bool,
    /// Days that status and state messages are kept.
    pub message_days: u32,
    /// Free bytes that must remain on the site's file system; less is reported and stops downloads.
    pub free_bytes_min: u64,
    /// Users see notifications that are not critical, too.
    pub non_critical_notifications: bool,
    /// Categories of the vendor's messages that users see.
    pub vendor_messages: Vec<NoticeCategory>,
    /// Features of the endpoint catalogue that are in use; the feed's own host is always checked.
    pub internet_features: Vec<String>,
    /// The sovereign cloud: `public`, `us-gov` or `china`.
    pub internet_cloud: String,
    /// A catalogue of further endpoints, as TOML.
    pub internet_catalogue: Option<PathBuf>,
    /// Whether checks ask if certificates were revoked.
    pub internet_revocation: bool,
    /// How long after its expiry metadata is taken from a medium.
    pub offline_grace: Duration,
    /// Address of the API over HTTPS; none means the local socket only.
    pub api_listen: Option<std::net::SocketAddr>,
    /// Who is told of messages that status filter rules select.
    pub alerts: AlertSettings,
    /// The provider of single sign-on for the console.
    pub oidc: Option<OidcSettings>,
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error(
        "cannot read {path}; run `tidegate site init` to create a site here, or name its directory with --dir"
    )]
    Unreadable {
        /// File.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// The file is larger than any configuration.
    #[error("{path} is larger than {CONFIGURATION_BYTES_MAX} bytes, which no configuration is")]
    TooLarge {
        /// File.
        path: PathBuf,
    },
    /// Not TOML, or a key that does not exist, or a value of the wrong type. The text has line and column.
    #[error("{path}: {message}")]
    Syntax {
        /// File.
        path: PathBuf,
        /// What the parser says, with line and column.
        message: String,
    },
    /// A value out of its range.
    #[error("{path}: {key} = {value:?}: {problem}")]
    Value {
        /// File.
        path: PathBuf,
        /// Dotted key.
        key: &'static str,
        /// The value given.
        value: String,
        /// What is wrong and what to write.
        problem: String,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    feed: FeedTable,
    #[serde(default)]
    log: LogTable,
    #[serde(default)]
    site: SiteTable,
    #[serde(default)]
    api: ApiTable,
    #[serde(default)]
    internet: InternetTable,
    #[serde(default)]
    offline: OfflineTable,
    #[serde(default)]
    alerts: AlertsTable,
    oidc: Option<OidcTable>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfflineTable {
    grace_days: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct InternetTable {
    #[serde(default)]
    features: Vec<String>,
    cloud: Option<String>,
    catalogue: Option<PathBuf>,
    revocation: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FeedTable {
    url: String,
    #[serde(default)]
    mirrors: Vec<String>,
    ca: Option<PathBuf>,
    check_interval: Option<String>,
    #[serde(default)]
    rings: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct LogTable {
    max_bytes: Option<u64>,
    history: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct SiteTable {
    message_days: Option<u32>,
    free_bytes_min: Option<u64>,
    non_critical_notifications: Option<bool>,
    #[serde(default)]
    vendor_messages: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ApiTable {
    listen: Option<String>,
}

impl Settings {
    /// Reads and validates the configuration of a site directory.
    pub fn load(path: &Path) -> Result<Settings, SettingsError> {
        let unreadable = |source| SettingsError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let length = std::fs::metadata(path).map_err(unreadable)?.len();
        if length > CONFIGURATION_BYTES_MAX {
            return Err(SettingsError::TooLarge {
                path: path.to_owned(),
            });
        }
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        Self::parse(&text, path)
    }

    /// Validates the text of a configuration; `path` is for messages and for relative file names.
    pub fn parse(text: &str, path: &Path) -> Result<Settings, SettingsError> {
        let file: File = toml::from_str(text).map_err(|e| SettingsError::Syntax {
            path: path.to_owned(),
            message: e.to_string().trim_end().to_owned(),
        })?;
        let value = |key: &'static str, value: &str, problem: &str| SettingsError::Value {
            path: path.to_owned(),
            key,
            value: value.to_owned(),
            problem: problem.to_owned(),
        };
        let known_scheme = ["https://", "http://", "file:///"]
            .iter()
            .any(|scheme| file.feed.url.starts_with(scheme));
        if !known_scheme || file.feed.url.contains(['?', '#', '@', ' ']) {
            return Err(value(
                "feed.url",
                &file.feed.url,
                "write an https://, http:// or file:/// address without user, query or fragment",
            ));
        }
        let check_interval = match &file.feed.check_interval {
            None => Duration::from_secs(24 * 60 * 60),
            Some(text) => duration(text)
                .filter(|interval| *interval >= Duration::from_secs(60))
                .ok_or_else(|| {
                    value(
                        "feed.check_interval",
                        text,
                        "write a time of at least one minute, such as \"24h\" or \"90m\"",
                    )
                })?,
        };
        for ring in &file.feed.rings {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            if ring.is_empty() || ring.len() > 64 || !ring.chars().all(plain) {
                return Err(value(
                    "feed.rings",
                    ring,
                    "a ring is named by 1 to 64 lower-case letters, digits and hyphens",
                ));
            }
        }
        let log_bytes_max = file.log.max_bytes.unwrap_or(2_500_000);
        if log_bytes_max < 10_000 {
            return Err(value(
                "log.max_bytes",
                &log_bytes_max.to_string(),
                "a log file needs at least 10000 bytes",
            ));
        }
        let message_days = file.site.message_days.unwrap_or(30);
        if !(1..=3650).contains(&message_days) {
            return Err(value(
                "site.message_days",
                &message_days.to_string(),
                "write 1 to 3650 days",
            ));
        }
        let free_bytes_min = file.site.free_bytes_min.unwrap_or(256 * 1024 * 1024);
        if free_bytes_min < FREE_BYTES_LEAST {
            return Err(value(
                "site.free_bytes_min",
                &free_bytes_min.to_string(),
                "at least 4194304 bytes must stay free, for the database and the logs",
            ));
        }
        let vendor_messages = file
            .site
            .vendor_messages
            .iter()
            .map(|word| {
                word.parse()
                    .map_err(|problem: String| value("site.vendor_messages", word, &problem))
            })
            .collect::<Result<Vec<NoticeCategory>, _>>()?;
        let cloud = file.internet.cloud.unwrap_or_else(|| "public".to_owned());
        if !["public", "us-gov", "china"].contains(&cloud.as_str()) {
            return Err(value("internet.cloud", &cloud, "write public, us-gov or china"));
        }
        let grace_days = file.offline.grace_days.unwrap_or(30);
        if grace_days > 365 {
            return Err(value(
                "offline.grace_days",
                &grace_days.to_string(),
                "write 0 to 365 days",
            ));
        }
        let api_listen = match &file.api.listen {
            None => None,
            Some(text) => Some(text.parse().map_err(|_| {
                value(
                    "api.listen",
                    text,
                    "write an address and port, such as \"127.0.0.1:8446\"",
                )
            })?),
        };
        let folder = path.parent().unwrap_or(Path::new("."));
        let alerts = file
            .alerts
            .validated(folder)
            .map_err(|(key, given, problem)| value(key, &given, &problem))?;
        let oidc = file
            .oidc
            .map(|table| table.validated(folder))
            .transpose()
            .map_err(|(key, given, problem)| value(key, &given, &problem))?;
        Ok(Settings {
            alerts,
            oidc,
            feed_url: file.feed.url.trim_end_matches('/').to_owned(),
            feed_mirrors: file
                .feed
                .mirrors
                .iter()
                .map(|mirror| mirror.trim_end_matches('/').to_owned())
                .collect(),
            feed_ca: file
                .feed
                .ca
                .map(|ca| path.parent().unwrap_or(Path::new(".")).join(ca)),
            check_interval,
            rings: file.feed.rings,
            log_bytes_max,
            log_history: file.log.history.unwrap_or(true),
            message_days,
            free_bytes_min,
            non_critical_notifications: file.site.non_critical_notifications.unwrap_or(true),
            vendor_messages,
            internet_features: file.internet.features,
            internet_cloud: cloud,
            internet_catalogue: file
                .internet
                .catalogue
                .map(|catalogue| path.parent().unwrap_or(Path::new(".")).join(catalogue)),
            internet_revocation: file.internet.revocation.unwrap_or(false),
            offline_grace: Duration::from_secs(u64::from(grace_days) * 24 * 60 * 60),
            api_listen,
        })
    }
}

/// The text of a new site's configuration, with every key explained.
pub fn new_configuration(
    feed_url: &str,
    feed_ca: Option<&str>,
    rings: &[String],
    listen: Option<std::net::SocketAddr>,
) -> String {
    let listen = match listen {
        Some(address) => format!("listen = \"{address}\""),
        None => "# listen = \"127.0.0.1:8446\"".to_owned(),
    };
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let ca = match feed_ca {
        Some(ca) => format!("ca = {}", quoted(ca)),
        None => "# ca = \"feed-ca.pem\"".to_owned(),
    };
    let rings = rings
        .iter()
        .map(|ring| quoted(ring))
        .collect::<Vec<_>>()
        .join(", ");
    format!(
        "# Configuration of a Tidegate site. `tidegate config check` shows the values in force.\n\
         # Changes take effect when the site is started again.\n\n\
         [feed]\n\
         # Where the vendor's connected service is. Everything read from it is verified against trust/feed/root.json.\n\
         url = {url}\n\
         # Copies of the feed, asked in turn where it does not deliver; they need no trust.\n\
         # mirrors = [\"https://mirror.example/feed\"]\n\
         # Certificates (PEM) trusted for these servers beside the platform's own.\n\
         {ca}\n\
         # Time between checks for updates.\n\
         check_interval = \"24h\"\n\
         # Rings this hierarchy takes part in.\n\
         rings = [{rings}]\n\n\
         [log]\n\
         # A log rolls over to .lo_ at this size; history = false keeps no old file.\n\
         max_bytes = 2500000\n\
         history = true\n\n\
         [site]\n\
         # Days that status messages are kept.\n\
         message_days = 30\n\
         # Downloads and installations wait rather than leave fewer free bytes than this on the file system.\n\
         free_bytes_min = 268435456\n\
         # false: `tidegate notifications` shows critical ones only.\n\
         non_critical_notifications = true\n\
         # Messages of the vendor that are shown among notifications, by what they are for: prevent-or-fix, plan-for-change,\n\
         # stay-informed. None unless named here.\n\
         vendor_messages = []\n\n\
         [internet]\n\
         # Features whose endpoints are checked beside the feed's own host; see `tidegate check --list-features`.\n\
         features = []\n\
         # Sovereign cloud of the tenant: public, us-gov or china.\n\
         cloud = \"public\"\n\
         # Further endpoints of your own, in the form of the catalogue; and whether to ask for revoked certificates.\n\
         # catalogue = \"endpoints.toml\"\n\
         revocation = false\n\n\
         [offline]\n\
         # Days after its expiry that metadata is still taken from a medium; its versions never go back all the same.\n\
         grace_days = 30\n\n\
         [api]\n\
         # The API is always on the local socket run/api.sock. For browsers and other machines, console and API over\n\
         # HTTPS, with the certificate secrets/api.pem and its key, which the site makes unless you put yours there:\n\
         {listen}\n\n\
         # Who is told of messages that `tidegate status rules` selects. Secrets are in files of secrets/, named here.\n\
         # [alerts.syslog]\n\
         # server = \"local\"                  # or \"udp://log.example:514\"\n\
         # [alerts.webhook]\n\
         # url = \"https://hooks.example/path\"\n\
         # secret = \"webhook.key\"            # signs what is sent: HMAC-SHA256\n\
         # [alerts.email]\n\
         # server = \"mail.example:587\"\n\
         # tls = \"starttls\"                  # or implicit, off\n\
         # user = \"site\"\n\
         # password = \"mail.password\"\n\
         # from = \"site@example.org\"\n\
         # to = [\"admins@example.org\"]\n\n\
         # Single sign-on to the console by OpenID Connect. At the provider, register this client with the address\n\
         # https://HOST:PORT/sign-in/oidc/callback for each HOST:PORT under which the console is opened.\n\
         # [oidc]\n\
         # issuer = \"https://id.example/realms/it\"   # exactly as the provider calls itself\n\
         # client_id = \"tidegate\"\n\
         # client_secret = \"oidc.secret\"    # a file of secrets/; leave it out for a public client\n\
         # client_secret_expires = \"2027-06-30\"   # last day at the provider; notifications come before it\n\
         # ca = \"id-ca.pem\"                # certificates trusted for the provider beside the platform's own\n\
         # scopes = [\"openid\", \"profile\", \"email\"]\n\
         # name_claim = \"preferred_username\"\n\
         # roles_claim = \"roles\"           # dots lead into nested claims: \"realm_access.roles\"\n\
         # scope = \"Default\"               # or All, for everybody who comes this way\n\
         # Values of that claim and the role they give; the strongest counts, and nobody without one is let in.\n\
         # [oidc.roles]\n\
         # \"site-admins\" = \"operations-administrator\"\n\
         # \"auditors\" = \"read-only-analyst\"\n",
        url = quoted(feed_url),
    )
}

/// `90s`, `15m`, `24h`, `7d`.
fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return None,
    };
    let number: u64 = number.parse().ok().filter(|n| *n <= 1_000_000)?;
    Some(Duration::from_secs(number.checked_mul(seconds)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_init_writes_is_read_back() {
        let text = new_configuration(
            "https://feed.example/",
            Some("feed-ca.pem"),
            &["early".to_owned()],
            None,
        );
        let settings = Settings::parse(&text, Path::new("/site/tidegate.toml")).unwrap();
        assert_eq!(settings.feed_url, "https://feed.example");
        assert_eq!(settings.feed_ca.as_deref(), Some(Path::new("/site/feed-ca.pem")));
        assert_eq!(settings.check_interval, Duration::from_secs(86_400));
        assert_eq!(settings.rings, ["early"]);
    }

    #[test]
    fn refusals_name_the_key() {
        let check = |text: &str, expected: &str| {
            let message = Settings::parse(text, Path::new("tidegate.toml"))
                .unwrap_err()
                .to_string();
            assert!(message.contains(expected), "{text:?} gave {message:?}");
        };
        check("", "missing field `feed`");
        check("[feed]\nurl = 5\n", "line 2, column 7");
        check("[feed]\nurl = \"https://a\"\nurll = 1\n", "unknown field `urll`");
        check("[feed]\nurl = \"ftp://a\"\n", "feed.url");
        check("[feed]\nurl = \"https://user:secret@a\"\n", "without user");
        check(
            "[feed]\nurl = \"https://a\"\ncheck_interval = \"5s\"\n",
            "feed.check_interval",
        );
        check(
            "[feed]\nurl = \"https://a\"\n[site]\nvendor_messages = [\"all\"]\n",
            "site.vendor_messages",
        );
        check("[feed]\nurl = \"https://a\"\nrings = [\"Early\"]\n", "feed.rings");
        check(
            "[feed]\nurl = \"https://a\"\n[log]\nmax_bytes = 10\n",
            "log.max_bytes",
        );
        check(
            "[feed]\nurl = \"https://a\"\n[api]\nlisten = \"here\"\n",
            "api.listen",
        );
    }
}
