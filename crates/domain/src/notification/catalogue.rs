//! From facts to the notifications in force. Texts carry dates, not "in three days": they change when the matter does.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::facts::{
    Certificate, CrashedComponent, FailedEndpoint, FailingChecks, FreeSpace, Installing, OfferStage, Offered,
    TrustedRole,
};
use super::{Evaluated, Facts, Kind, Notification, Severity, upkeep};

/// Most notifications in force at the same time; the worst stay.
const IN_FORCE_MAX: usize = 200;
/// Most characters of a text from outside.
const INSERTION_CHARACTERS_MAX: usize = 300;
/// Most endpoints that a cause tells apart.
const CAUSES_MAX: usize = 100;
/// Most names in one text; the rest are counted.
const NAMED_MAX: usize = 5;
/// Days before a certificate's end.
const CERTIFICATE_DAYS: i64 = 30;
/// Failures in a row that are no accident any more.
const FAILURES_MIN: u32 = 3;
/// Days without a good check for updates after which nobody can say that the site is up to date.
const CHECK_DAYS_MAX: i64 = 7;
/// Crashes in a row after which a restart will not help.
const CRASHES_MAX: u32 = 3;
const GIGABYTE: u64 = 1 << 30;

/// The notifications in force, of the kinds that are looked at now, by key.
pub fn in_force(facts: &Facts, now: Timestamp, looked_at: &[Evaluated]) -> Vec<Notification> {
    let single = [
        facts.offered.as_ref().map(upgrade),
        facts.installing.as_ref().map(installing),
        endpoints(&facts.endpoints),
        facts
            .checks
            .as_ref()
            .and_then(|checks| update_checks(checks, now)),
        facts.space.and_then(space),
    ];
    let all = single
        .into_iter()
        .flatten()
        .chain(facts.roles.iter().filter_map(|role| metadata(role, now)))
        .chain(
            facts
                .certificates
                .iter()
                .filter_map(|certificate| expiring(certificate, now)),
        )
        .chain(facts.crashed.iter().map(crashed))
        .chain(facts.waiting_config.as_ref().map(upkeep::waiting_config))
        .chain(
            facts
                .secret_keys
                .iter()
                .filter_map(|key| upkeep::secret_key(key, now)),
        )
        .chain(facts.vendor_messages.iter().map(upkeep::vendor_message))
        .chain(upkeep::stopped(&facts.stopped))
        .chain(facts.backup.as_ref().map(upkeep::backup));
    let mut by_key: BTreeMap<String, Notification> = BTreeMap::new();
    for notification in all.filter(|notification| looked_at.contains(&notification.kind.evaluated())) {
        match by_key.get(&notification.key) {
            // Two files whose names differ in a character that keys do not have: the worse one is told.
            Some(known) if known.severity >= notification.severity => {}
            _ => {
                by_key.insert(notification.key.clone(), notification);
            }
        }
    }
    let mut all: Vec<Notification> = by_key.into_values().collect();
    if all.len() > IN_FORCE_MAX {
        all.sort_by_key(|notification| std::cmp::Reverse(notification.severity));
        all.truncate(IN_FORCE_MAX);
        all.sort_by(|a, b| a.key.cmp(&b.key));
    }
    all
}

fn upgrade(offered: &Offered) -> Notification {
    let Offered {
        guid,
        name,
        version,
        stage,
    } = offered;
    let (state, command) = match stage {
        OfferStage::Listed => ("listed by the feed and not downloaded yet", "show"),
        OfferStage::Ready => ("downloaded and ready to install", "install"),
        OfferStage::Stopped => (
            "downloaded, and what was found before its installation stopped it",
            "prereq",
        ),
    };
    Notification {
        key: Kind::SiteUpgradeAvailable.as_str().to_owned(),
        kind: Kind::SiteUpgradeAvailable,
        severity: Severity::Warning,
        cause: tame(guid),
        title: "Site upgrade is available".to_owned(),
        body: format!(
            "{} ({}) applies to this site; it is {state}.",
            tame(name),
            tame(version)
        ),
        command: format!("tidegate updates {command} {}", tame(guid)),
    }
}

fn installing(installing: &Installing) -> Notification {
    let name = tame(&installing.name);
    let (kind, severity, title, body) = match &installing.rolled_back {
        None => (
            Kind::SiteInUpgradeMode,
            Severity::Informational,
            "Site is in upgrade mode",
            format!("{name} is being installed. Other packages wait until it has ended."),
        ),
        Some(why) => (
            Kind::SiteInRecoveryMode,
            Severity::Warning,
            "Site is in recovery mode",
            format!(
                "The installation of {name} failed and is being rolled back: {}.",
                sentence(why)
            ),
        ),
    };
    Notification {
        key: kind.as_str().to_owned(),
        kind,
        severity,
        cause: tame(&installing.guid),
        title: title.to_owned(),
        body,
        command: format!("tidegate updates status {}", tame(&installing.guid)),
    }
}

/// How long before its end a role that the vendor renews in time was renewed already. A vendor renews when a third of
/// the usual life is left: 7 days for the timestamp, 30 for the snapshot, a year for the others.
fn warned_before(role: &str) -> SignedDuration {
    let days = match role {
        "timestamp" => 1,
        "snapshot" => 7,
        _ => 30,
    };
    SignedDuration::from_hours(days * 24)
}

fn metadata(role: &TrustedRole, now: Timestamp) -> Option<Notification> {
    let name = tame(&role.role);
    let severity = ends(role.expires, now, warned_before(&role.role))?;
    let (title, body) = match severity {
        Severity::Critical => (
            format!("The feed's {name} metadata has expired"),
            format!(
                "It was valid until {}. Until the vendor renews it, or a newer medium is imported, nothing new is \
                 taken over from the feed.",
                date(role.expires)
            ),
        ),
        _ => (
            format!("The feed's {name} metadata expires soon"),
            format!(
                "It is valid until {}. The vendor has to renew it before, or nothing new can be taken over from the feed.",
                date(role.expires)
            ),
        ),
    };
    Some(Notification {
        key: key(Kind::FeedMetadataExpiring, &role.role),
        kind: Kind::FeedMetadataExpiring,
        severity,
        cause: role.expires.to_string(),
        title,
        body,
        command: "tidegate updates check".to_owned(),
    })
}

fn expiring(certificate: &Certificate, now: Timestamp) -> Option<Notification> {
    let severity = ends(
        certificate.not_after,
        now,
        SignedDuration::from_hours(CERTIFICATE_DAYS * 24),
    )?;
    let file = tame(&certificate.file);
    let what = match severity {
        Severity::Critical => "has expired",
        _ => "expires soon",
    };
    let until = date(certificate.not_after);
    let subject = tame(&certificate.subject);
    let body = if certificate.own {
        format!(
            "{subject} in {file} is valid until {until}. Remove {file} and start the site again, and it makes a new one; \
             or put there one of your own with its key."
        )
    } else {
        format!("{subject} in {file} is valid until {until}. Put a newer one there and start the site again.")
    };
    Some(Notification {
        key: key(Kind::CertificateExpiring, &certificate.file),
        kind: Kind::CertificateExpiring,
        severity,
        cause: certificate.not_after.to_string(),
        title: format!("The certificate in {file} {what}"),
        body,
        command: "tidegate config check".to_owned(),
    })
}

fn endpoints(failed: &[FailedEndpoint]) -> Option<Notification> {
    let mut causes: Vec<String> = failed
        .iter()
        .map(|endpoint| format!("{} {}", tame(&endpoint.host), tame(&endpoint.fault)))
        .collect();
    causes.sort();
    causes.dedup();
    causes.truncate(CAUSES_MAX);
    if causes.is_empty() {
        return None;
    }
    let needed = failed.iter().any(|endpoint| endpoint.critical);
    let mut hosts: Vec<String> = failed
        .iter()
        .filter(|endpoint| endpoint.critical == needed)
        .map(|endpoint| format!("{} ({})", tame(&endpoint.host), tame(&endpoint.fault)))
        .collect();
    hosts.sort();
    hosts.dedup();
    let (severity, title, what) = match needed {
        true => (
            Severity::Critical,
            "Internet endpoints that are needed cannot be reached",
            "Features in use stop without them",
        ),
        false => (
            Severity::Warning,
            "Internet endpoints cannot be reached",
            "Nothing in use depends on them",
        ),
    };
    Some(Notification {
        key: Kind::EndpointsUnreachable.as_str().to_owned(),
        kind: Kind::EndpointsUnreachable,
        severity,
        cause: causes.join("\n"),
        title: title.to_owned(),
        body: format!(
            "{what}: {}. The check says for each whose fault it is.",
            listed(&hosts)
        ),
        command: "tidegate check --site".to_owned(),
    })
}

fn update_checks(checks: &FailingChecks, now: Timestamp) -> Option<Notification> {
    if checks.in_row < FAILURES_MIN {
        return None;
    }
    let stale = checks
        .succeeded_at
        .is_some_and(|at| now.duration_since(at) > SignedDuration::from_hours(CHECK_DAYS_MAX * 24));
    let since = match checks.succeeded_at {
        Some(at) => format!("The last good one was on {}", date(at)),
        None => "None has succeeded yet".to_owned(),
    };
    Some(Notification {
        key: Kind::UpdateChecksFailing.as_str().to_owned(),
        kind: Kind::UpdateChecksFailing,
        severity: if stale {
            Severity::Critical
        } else {
            Severity::Warning
        },
        cause: tame(&checks.reason),
        title: "Checks for updates fail".to_owned(),
        body: format!("{since}. The last failure: {}.", sentence(&checks.failure)),
        command: "tidegate site show".to_owned(),
    })
}

fn space(space: FreeSpace) -> Option<Notification> {
    let bytes = |kib: u64| kib.saturating_mul(1024);
    let warning = bytes(space.thresholds.warning_kib);
    let critical = bytes(space.thresholds.critical_kib).max(space.wanted);
    let severity = if space.free < critical {
        Severity::Critical
    } else if space.free < warning {
        Severity::Warning
    } else {
        return None;
    };
    let free = gigabytes(space.free);
    let body = if space.free < space.wanted {
        format!(
            "{free} are free; downloads and installations wait until there are {} (site.free_bytes_min).",
            gigabytes(space.wanted)
        )
    } else {
        let limit = match severity {
            Severity::Critical => critical,
            _ => warning,
        };
        format!(
            "{free} are free, less than {}. Make room before the next update.",
            gigabytes(limit)
        )
    };
    Some(Notification {
        key: Kind::DiskSpaceLow.as_str().to_owned(),
        kind: Kind::DiskSpaceLow,
        severity,
        // The number of bytes changes with every look and is no news by itself.
        cause: String::new(),
        title: "The file system of the site runs full".to_owned(),
        body,
        command: "tidegate content gc".to_owned(),
    })
}

fn crashed(component: &CrashedComponent) -> Notification {
    let name = tame(&component.name);
    let again = match component.next_try {
        Some(at) => format!("It is restarted at {}", at.strftime("%Y-%m-%d %H:%M:%S UTC")),
        None => "It is restarted".to_owned(),
    };
    Notification {
        key: key(Kind::ComponentCrashed, &component.name),
        kind: Kind::ComponentCrashed,
        severity: if component.in_row >= CRASHES_MAX {
            Severity::Critical
        } else {
            Severity::Warning
        },
        cause: tame(&component.failure),
        title: format!("{name} crashed"),
        body: format!(
            "{again}; what it was doing is done again. Report this to the makers of this program: {}.",
            sentence(&component.failure)
        ),
        command: format!("tidegate component query {name}"),
    }
}

/// Whether what ends then is told now, and how badly.
pub(super) fn ends(at: Timestamp, now: Timestamp, before: SignedDuration) -> Option<Severity> {
    if at <= now {
        Some(Severity::Critical)
    } else if at.duration_since(now) <= before {
        Some(Severity::Warning)
    } else {
        None
    }
}

/// A key of one of several things of a kind.
pub(super) fn key(kind: Kind, of: &str) -> String {
    let plain: String = of
        .chars()
        .take(100)
        .map(|c| match c.to_ascii_lowercase() {
            c if c.is_ascii_alphanumeric() => c,
            _ => '-',
        })
        .collect();
    format!("{}-{plain}", kind.as_str())
}

/// Text from outside: bounded, in one line.
pub(super) fn tame(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(INSERTION_CHARACTERS_MAX).map(plain).collect()
}

/// The same without the full stop that the sentence around it brings.
pub(super) fn sentence(text: &str) -> String {
    tame(text.trim().trim_end_matches('.'))
}

pub(super) fn listed(names: &[String]) -> String {
    let shown = names[..names.len().min(NAMED_MAX)].join(", ");
    match names.len().saturating_sub(NAMED_MAX) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

pub(super) fn date(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d").to_string()
}

/// `9.3 GB`, rounded down, so that what is too little never looks like enough.
fn gigabytes(bytes: u64) -> String {
    let tenths = u128::from(bytes) * 10 / u128::from(GIGABYTE);
    match tenths {
        0 => format!("{} MB", bytes >> 20),
        _ => format!("{}.{} GB", tenths / 10, tenths % 10),
    }
}
