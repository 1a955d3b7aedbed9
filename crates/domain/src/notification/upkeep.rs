//! Notifications of what an administrator has to keep up: what the vendor asks for, keys of others, stopped components,
//! backups.

use jiff::{SignedDuration, Timestamp};

use super::catalogue::{date, ends, key, listed, sentence, tame};
use super::facts::{MissingBackup, SecretKey, VendorMessage, WaitingConfig};
use super::{Kind, Notification, Severity};

/// Days before the end of a secret key.
const SECRET_KEY_DAYS: i64 = 30;
/// Most characters of a vendor's message, which is as long as the feed lets it be.
const MESSAGE_CHARACTERS_MAX: usize = 1_000;

pub(super) fn waiting_config(config: &WaitingConfig) -> Notification {
    let hosts: Vec<String> = config.hosts.iter().map(|host| tame(host)).collect();
    let connected = match hosts.is_empty() {
        true => String::new(),
        false => format!(" From then on the site also connects to {}.", listed(&hosts)),
    };
    Notification {
        key: Kind::ServiceConfigurationChanged.as_str().to_owned(),
        kind: Kind::ServiceConfigurationChanged,
        severity: Severity::Warning,
        cause: config.version.to_string(),
        title: "Restart SMS_EXECUTIVE: the vendor changed the configuration of its service".to_owned(),
        body: format!(
            "{}. It comes into force when SMS_EXECUTIVE restarts; what depends on it may not work until then.{connected}",
            sentence(&config.what)
        ),
        command: "tidegate component restart SMS_EXECUTIVE".to_owned(),
    }
}

pub(super) fn secret_key(secret: &SecretKey, now: Timestamp) -> Option<Notification> {
    let before = SignedDuration::from_hours(SECRET_KEY_DAYS * 24);
    let severity = ends(secret.expires, now, before)?;
    let (name, file) = (tame(&secret.name), tame(&secret.file));
    let (title, what) = match severity {
        Severity::Critical => (format!("The secret key of {name} has expired"), "ended"),
        _ => (format!("The secret key of {name} expires soon"), "ends"),
    };
    Some(Notification {
        key: key(Kind::SecretKeyExpiring, &secret.file),
        kind: Kind::SecretKeyExpiring,
        severity,
        cause: secret.expires.to_string(),
        title,
        body: format!(
            "It {what} on {}. Make a new one at the provider, put it into {file}, set its date in tidegate.toml and start \
             the site again.",
            date(secret.expires)
        ),
        command: "tidegate config check".to_owned(),
    })
}

pub(super) fn vendor_message(message: &VendorMessage) -> Notification {
    let more = match &message.link {
        Some(link) => format!(" More: {}", tame(link)),
        None => String::new(),
    };
    let body: String = message
        .body
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MESSAGE_CHARACTERS_MAX)
        .collect();
    let key = key(Kind::VendorMessage, &message.id);
    Notification {
        command: format!("tidegate notifications dismiss {key}"),
        key,
        kind: Kind::VendorMessage,
        severity: match message.pressing {
            true => Severity::Warning,
            false => Severity::Informational,
        },
        cause: message.published.to_string(),
        title: format!("{}: {}", tame(&message.category), tame(&message.title)),
        body: format!("{body}{more}"),
    }
}

pub(super) fn stopped(components: &[String]) -> Option<Notification> {
    let mut names: Vec<String> = components.iter().map(|name| tame(name)).collect();
    names.sort();
    let first = names.first()?.clone();
    Some(Notification {
        key: Kind::SiteInMaintenanceMode.as_str().to_owned(),
        kind: Kind::SiteInMaintenanceMode,
        severity: Severity::Warning,
        cause: names.join(" "),
        title: "Site is in maintenance mode".to_owned(),
        body: format!(
            "An administrator stopped {}. What they do is left undone until they are started again.",
            listed(&names)
        ),
        command: format!("tidegate component start {first}"),
    })
}

pub(super) fn backup(missing: &MissingBackup) -> Notification {
    let last = match missing.last {
        Some(at) => format!("The last good one is of {}", date(at)),
        None => "There is none yet".to_owned(),
    };
    let why = match &missing.failure {
        Some(why) => format!(" The last attempt failed: {}.", sentence(why)),
        None => String::new(),
    };
    Notification {
        key: Kind::BackupMissing.as_str().to_owned(),
        kind: Kind::BackupMissing,
        severity: Severity::Warning,
        cause: missing.last.map(|at| at.to_string()).unwrap_or_default(),
        title: "A backup of the site is missing".to_owned(),
        body: format!("{last}, and the schedule asked for a newer one.{why}"),
        command: "tidegate backup run".to_owned(),
    }
}
