//! What an administrator has to see when the console opens: the catalogue of notifications, which of them are in force,
//! and whether a user still wants to see one (role-and-modes, section 10).
//!
//! A notification has no history: it is in force as long as its cause is, and gone with it. What a user did with one,
//! dismissing or snoozing it, holds for this cause at this severity; another cause, or a worse one, is shown again.

mod catalogue;
mod facts;
mod reaction;
mod upkeep;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub use catalogue::in_force;
pub use facts::{
    Certificate, CrashedComponent, Facts, FailedEndpoint, FailingChecks, FreeSpace, Installing,
    MissingBackup, OfferStage, Offered, SecretKey, TrustedRole, VendorMessage, WaitingConfig,
};
pub use reaction::{Reaction, Snooze, Standing, standing};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Good to know.
    Informational,
    /// Something has to be done some time.
    Warning,
    /// Something has to be done now; nobody can dismiss it.
    Critical,
}

impl Severity {
    /// Every severity, mildest first.
    pub const ALL: [Severity; 3] = [Severity::Informational, Severity::Warning, Severity::Critical];

    /// The word for people and programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Informational => "informational",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }

    /// The severity of this word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| severity.as_str() == word)
    }
}

/// When a kind is looked at anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Evaluated {
    /// Whenever somebody asks for the list, and every hour in between.
    AtConsoleStart,
    /// Every five minutes.
    EveryFiveMinutes,
    /// Every hour.
    Hourly,
}

impl Evaluated {
    /// Longest time between two looks.
    pub fn interval(self) -> Duration {
        match self {
            Evaluated::EveryFiveMinutes => Duration::from_secs(5 * 60),
            Evaluated::AtConsoleStart | Evaluated::Hourly => Duration::from_secs(60 * 60),
        }
    }

    /// The words for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Evaluated::AtConsoleStart => "at console start",
            Evaluated::EveryFiveMinutes => "every 5 minutes",
            Evaluated::Hourly => "hourly",
        }
    }
}

/// What a notification can be about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A newer package applies to the site.
    SiteUpgradeAvailable,
    /// A package is being installed.
    SiteInUpgradeMode,
    /// An installation is being rolled back.
    SiteInRecoveryMode,
    /// Signed metadata of the feed ends soon or has ended.
    FeedMetadataExpiring,
    /// A certificate in the site's files ends soon or has ended.
    CertificateExpiring,
    /// The last check of internet access found endpoints that cannot be reached.
    EndpointsUnreachable,
    /// Checks for updates fail again and again.
    UpdateChecksFailing,
    /// The file system of the site runs full.
    DiskSpaceLow,
    /// A component crashed and waits for its restart.
    ComponentCrashed,
    /// An administrator stopped components.
    SiteInMaintenanceMode,
    /// The vendor changed how its service is used; it comes into force with a restart.
    ServiceConfigurationChanged,
    /// A secret key ends soon or has ended.
    SecretKeyExpiring,
    /// The vendor tells administrators something.
    VendorMessage,
    /// A backup is due and was not made.
    BackupMissing,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 14] = [
        Kind::SiteUpgradeAvailable,
        Kind::SiteInUpgradeMode,
        Kind::SiteInRecoveryMode,
        Kind::FeedMetadataExpiring,
        Kind::CertificateExpiring,
        Kind::EndpointsUnreachable,
        Kind::UpdateChecksFailing,
        Kind::DiskSpaceLow,
        Kind::ComponentCrashed,
        Kind::SiteInMaintenanceMode,
        Kind::ServiceConfigurationChanged,
        Kind::SecretKeyExpiring,
        Kind::VendorMessage,
        Kind::BackupMissing,
    ];

    /// The stable name, also the begin of its keys.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::SiteUpgradeAvailable => "site-upgrade-available",
            Kind::SiteInUpgradeMode => "site-in-upgrade-mode",
            Kind::SiteInRecoveryMode => "site-in-recovery-mode",
            Kind::FeedMetadataExpiring => "feed-metadata-expiring",
            Kind::CertificateExpiring => "certificate-expiring",
            Kind::EndpointsUnreachable => "endpoints-unreachable",
            Kind::UpdateChecksFailing => "update-checks-failing",
            Kind::DiskSpaceLow => "disk-space-low",
            Kind::ComponentCrashed => "component-crashed",
            Kind::SiteInMaintenanceMode => "site-in-maintenance-mode",
            Kind::ServiceConfigurationChanged => "service-configuration-changed",
            Kind::SecretKeyExpiring => "secret-key-expiring",
            Kind::VendorMessage => "vendor-message",
            Kind::BackupMissing => "backup-missing",
        }
    }

    /// The kind of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// When it is looked at. The site's modes every five minutes and upgrades at console start are the original's; what
    /// changes by the day is looked at every hour.
    pub fn evaluated(self) -> Evaluated {
        match self {
            Kind::SiteUpgradeAvailable | Kind::VendorMessage => Evaluated::AtConsoleStart,
            Kind::SiteInUpgradeMode
            | Kind::SiteInRecoveryMode
            | Kind::EndpointsUnreachable
            | Kind::UpdateChecksFailing
            | Kind::DiskSpaceLow
            | Kind::ComponentCrashed
            | Kind::SiteInMaintenanceMode
            | Kind::ServiceConfigurationChanged => Evaluated::EveryFiveMinutes,
            Kind::FeedMetadataExpiring
            | Kind::CertificateExpiring
            | Kind::SecretKeyExpiring
            | Kind::BackupMissing => Evaluated::Hourly,
        }
    }

    /// Where in the console its cause is looked after.
    pub fn console_path(self) -> &'static str {
        match self {
            Kind::SiteUpgradeAvailable => "/updates",
            Kind::SiteInUpgradeMode | Kind::SiteInRecoveryMode => "/updates/status",
            Kind::FeedMetadataExpiring => "/overview",
            Kind::EndpointsUnreachable | Kind::UpdateChecksFailing => "/internet",
            Kind::CertificateExpiring => "/servers",
            Kind::DiskSpaceLow => "/system-status",
            Kind::ComponentCrashed | Kind::SiteInMaintenanceMode | Kind::ServiceConfigurationChanged => {
                "/components"
            }
            Kind::SecretKeyExpiring => "/accounts",
            Kind::VendorMessage => "/notifications",
            Kind::BackupMissing => "/backups",
        }
    }
}

/// A notification in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// The same as long as it speaks of the same thing: lower-case letters, digits and hyphens.
    pub key: String,
    /// What it is about.
    pub kind: Kind,
    /// How bad it is.
    pub severity: Severity,
    /// What brought it about, for comparison only: another cause under the same key is news.
    pub cause: String,
    /// One line.
    pub title: String,
    /// What is the matter and what follows from it.
    pub body: String,
    /// The command that shows more or mends it.
    pub command: String,
}
