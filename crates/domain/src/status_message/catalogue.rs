//! Every status message, declared once.

use super::{MessageType, Severity};
use crate::component::ComponentName;

/// Most characters of one insertion string in a text.
const INSERTION_CHARACTERS_MAX: usize = 1_000;

struct Declaration {
    variant: StatusMessageId,
    id: u32,
    severity: Severity,
    message_type: MessageType,
    /// None for messages that any component may raise.
    component: Option<ComponentName>,
    text: &'static str,
}

/// A status message by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[rustfmt::skip]
pub enum StatusMessageId {
    /// 500: %1 started.
    ComponentStarted,
    /// 501: %1 stopped.
    ComponentStopped,
    /// 60000: %1 failed: %2. It is tried again at %3.
    ComponentFailed,
    /// 60001: %1 crashed: %2. It is restarted at %3; report this to the makers of this program.
    ComponentPanicked,
    /// 60002: %1 works again.
    ComponentRecovered,
    /// 2301: The content of package %1 is complete in the content library.
    PackageProcessed,
    /// 60100: The feed cannot be reached: %1. Next try at %2.
    FeedUnreachable,
    /// 60101: The feed lacks a file that it must have: %1. Next try at %2.
    FeedNotFound,
    /// 60102: The feed was refused, it went back to an older state: %1. Next try at %2.
    FeedRollback,
    /// 60103: The feed was refused, its metadata has expired: %1. Next try at %2.
    FeedExpired,
    /// 60104: The feed was refused, its parts do not belong together: %1. Next try at %2.
    FeedMixAndMatch,
    /// 60105: The feed was refused, too few valid signatures: %1. Next try at %2.
    FeedThreshold,
    /// 60106: The feed was refused, it sends more than was signed: %1. Next try at %2.
    FeedOversized,
    /// 60107: The feed was refused, its content is not what was signed: %1. Next try at %2.
    FeedTampered,
    /// 60108: The feed was refused, it cannot be read: %1. Next try at %2.
    FeedMalformed,
    /// 60109: The trusted root of the feed cannot be used: %1. Next try at %2.
    TrustUnusable,
    /// 60110: The disk does not take data: %1. Next try at %2.
    StorageUnusable,
    /// 60120: The download of package %1 (%2) started.
    DownloadStarted,
    /// 60121: Package %1 (%2) is downloaded and verified.
    DownloadSucceeded,
    /// 60122: An attempt to download package %1 (%2) failed: %3. Next try at %4.
    DownloadAttemptFailed,
    /// 60123: The download of package %1 (%2) failed: %3.
    DownloadFailed,
    /// 60124: The redistributable %1 of package %2 failed: %3.
    RedistFailed,
    /// 60140: Package %1 (%2) is available.
    PackageOffered,
    /// 60141: The vendor withdrew package %1 (%2): %3.
    PackageWithdrawn,
    /// 60142: Whether package %1 (%2) applies could not be decided: %3.
    ApplicabilityUndecided,
    /// 60143: The feature %1 of package %2 is on.
    FeatureTurnedOn,
    /// 60150: The content of package %1 (%2) could not be stored: %3.
    ReplicationFailed,
    /// 60160: The prerequisite check of package %1 (%2) passed.
    PrereqPassed,
    /// 60161: The prerequisite check of package %1 (%2) passed with warnings: %3.
    PrereqWarned,
    /// 60162: The prerequisite check of package %1 (%2) failed: %3.
    PrereqFailed,
    /// 60163: The installation of package %1 (%2) started.
    InstallStarted,
    /// 60164: Package %1 (%2) is installed.
    InstallSucceeded,
    /// 60165: The installation of package %1 (%2) failed at the step %3: %4. It is rolled back.
    InstallStepFailed,
    /// 60166: Package %1 (%2) is not installed, everything was rolled back: %3.
    InstallFailed,
    /// 60180: The file system of %1 has %2 bytes free, fewer than the %3 that are asked for; downloads wait until there is room.
    SpaceLow,
    /// 60181: The file system of %1 has room again.
    SpaceBack,
    /// 11410: Every internet endpoint that was checked can be reached: %1.
    EndpointsPassed,
    /// 11411: Internet endpoints cannot be reached that nothing in use depends on: %1.
    EndpointsWarning,
    /// 11412: Internet endpoints cannot be reached that are needed: %1.
    EndpointsCritical,
    /// 11488: The site cannot connect to what the cloud service %1 requires: %2.
    CloudServiceUnreachable,
    /// 60190: The report %1 of usage data was collected at level %2.
    UsageCollected,
    /// 60191: The report %1 of usage data was sent to %2, which confirmed it.
    UsageSent,
    /// 60192: The service keeps the report %1 of usage data and cannot read it yet.
    UsageQuarantined,
    /// 60193: The service refused the report %1 of usage data: %2.
    UsageRefused,
    /// 60194: Usage data cannot be sent: %1. Next try at %2.
    UsageNotSent,
    /// 60195: The ledger of usage data is not whole: %1.
    UsageLedgerBroken,
    /// 60240: The medium in %1 was imported: %2.
    MediumImported,
    /// 60241: The medium in %1 was not imported: %2.
    MediumRefused,
    /// 60242: The feed's %1 metadata expires on %2; bring a newer medium in time.
    TrustEnding,
    /// 60200: %1 asked for a check for updates.
    AdminChecked,
    /// 60201: %1 asked for the download of package %2.
    AdminDownload,
    /// 60202: %1 started the prerequisite check of package %2.
    AdminPrereq,
    /// 60203: %1 started the installation of package %2.
    AdminInstall,
    /// 60204: %1 started package %2 again.
    AdminRetry,
    /// 60205: %1 let package %2 continue in spite of its notes.
    AdminIgnoreWarnings,
    /// 60206: %1 reset package %2.
    AdminReset,
    /// 60207: %1 turned on the feature %2.
    AdminFeature,
    /// 60208: %1 asked the component %2 to %3.
    AdminComponent,
    /// 60209: %1 set the log level of %2 to %3.
    AdminLogLevel,
    /// 60210: %1 reset the counts of %2.
    AdminTally,
    /// 60211: %1 had the content library verified.
    AdminVerify,
    /// 60212: %1 had unused content removed.
    AdminCollect,
    /// 60213: %1 set the proxy to %2.
    AdminProxySet,
    /// 60214: %1 removed the proxy.
    AdminProxyCleared,
    /// 60215: %1 asked for a check of internet access.
    AdminEndpointCheck,
    /// 60216: %1 set the mode to %2; it comes into force when SMS_DMP_DOWNLOADER restarts.
    AdminMode,
    /// 60217: %1 set the level of usage data to %2.
    AdminUsageLevel,
    /// 60218: %1 set the sending of usage data to %2.
    AdminUsageSending,
    /// 60219: %1 had usage data collected.
    AdminUsageCollect,
    /// 60220: %1 approved the report %2 of usage data.
    AdminUsageApprove,
    /// 60221: %1 discarded the report %2 of usage data.
    AdminUsageDiscard,
    /// 60222: %1 asked for usage data to be sent.
    AdminUsageUpload,
    /// 60223: %1 replaced the keys of usage data.
    AdminUsageKeys,
    /// 60224: %1 imported %2 rows into the inventory table %3.
    AdminInventory,
    /// 60225: %1 had a medium prepared for the service connection tool.
    AdminPrepared,
    /// 60226: %1 asked for the import of the medium in %2.
    AdminImported,
    /// 60227: %1 registered %2 (%3), which is not in the catalogue.
    AdminRegistered,
    /// 60228: %1 set the throttle of the link to the feed to: %2.
    AdminThrottle,
    /// 60229: %1 added the user %2 with the role %3 and the scope %4.
    AdminAccountAdded,
    /// 60230: %1 gave the user %2 the role %3 and the scope %4.
    AdminAccountChanged,
    /// 60231: %1 removed the user %2.
    AdminAccountRemoved,
    /// 60232: %1 set the password of the user %2.
    AdminPassword,
    /// 60233: %1 made the API token %2 with the role %3 and the scope %4.
    AdminTokenAdded,
    /// 60234: %1 revoked the API token %2.
    AdminTokenRemoved,
    /// 60235: %1 made a link to set up the first user.
    AdminSetupLink,
    /// 60236: %1 signed in from %2.
    SignedIn,
    /// 60237: A sign-in as %1 from %2 was refused: %3.
    SignInRefused,
    /// 60260: %1 dismissed the notification %2.
    AdminDismissed,
    /// 5035: The backup of the site is complete: %1, %2 bytes.
    BackupDone,
    /// 60265: The backup of the site to %1 failed: %2. It is tried again at %3.
    BackupFailed,
    /// 60266: %1 asked for a backup to %2.
    AdminBackup,
    /// 60267: %1 set the schedule of backups: %2.
    AdminBackupSchedule,
    /// 60261: %1 snoozed the notification %2 until %3.
    AdminSnoozed,
    /// 60243: %1 set the thresholds of %2 for %3 messages to %4 and %5.
    AdminThreshold,
    /// 60244: %1 took back the thresholds that were set for %2.
    AdminThresholdReset,
    /// 60245: %1 changed the status filter rule %2: %3.
    AdminStatusRule,
    /// 60246: %1 deleted %2 status message(s): %3.
    AdminStatusDelete,
    /// 60247: The %1 at %2 has %3 KB free, fewer than %4 KB.
    SystemSpaceWarning,
    /// 60248: The %1 at %2 has only %3 KB free, fewer than the critical %4 KB.
    SystemSpaceCritical,
    /// 60249: The %1 at %2 has %3 KB free again, no fewer than %4 KB.
    SystemSpaceBack,
    /// 60250: %1 set the thresholds of free space of %2 to %3 KB and %4 KB.
    AdminSystemThreshold,
    /// 60251: %1 took back the thresholds of free space that were set for %2.
    AdminSystemThresholdReset,
    /// 60252: %1 alert(s) by %2 were not delivered and are given up: %3.
    AlertsGivenUp,
}

const fn declare(
    variant: StatusMessageId,
    id: u32,
    severity: Severity,
    message_type: MessageType,
    component: Option<ComponentName>,
    text: &'static str,
) -> Declaration {
    Declaration {
        variant,
        id,
        severity,
        message_type,
        component,
        text,
    }
}

#[rustfmt::skip]
const CATALOGUE: [Declaration; 103] = [
    declare(StatusMessageId::ComponentStarted, 500, Severity::Informational, MessageType::Milestone, None,
        "%1 started."),
    declare(StatusMessageId::ComponentStopped, 501, Severity::Informational, MessageType::Milestone, None,
        "%1 stopped."),
    declare(StatusMessageId::ComponentFailed, 60000, Severity::Warning, MessageType::Milestone, None,
        "%1 failed: %2. It is tried again at %3."),
    declare(StatusMessageId::ComponentPanicked, 60001, Severity::Error, MessageType::Milestone, None,
        "%1 crashed: %2. It is restarted at %3; report this to the makers of this program."),
    declare(StatusMessageId::ComponentRecovered, 60002, Severity::Informational, MessageType::Milestone, None,
        "%1 works again."),
    declare(StatusMessageId::PackageProcessed, 2301, Severity::Informational, MessageType::Milestone, Some(ComponentName::DistributionManager),
        "The content of package %1 is complete in the content library."),
    declare(StatusMessageId::FeedUnreachable, 60100, Severity::Warning, MessageType::Milestone, Some(ComponentName::DmpDownloader),
        "The feed cannot be reached: %1. Next try at %2."),
    declare(StatusMessageId::FeedNotFound, 60101, Severity::Warning, MessageType::Milestone, Some(ComponentName::DmpDownloader),
        "The feed lacks a file that it must have: %1. Next try at %2."),
    declare(StatusMessageId::FeedRollback, 60102, Severity::Error, MessageType::Milestone, Some(ComponentName::DmpDownloader),
        "The feed was refused, it went back to an older state: %1. Next try at %2."),
    declare(StatusMessageId::FeedExpired, 60103, Severity::Error, MessageType::Milestone, Some(ComponentName::DmpDownloader),
        "The feed was refused, its metadata has expired: %1. Next try at %2."),
    declare(StatusMessageId::FeedMixAndMatch, 60104, Severity::Error, MessageType::Milestone, Some(ComponentName::DmpDownloader),
        "The feed was refused, its parts do not belong together: %1. Next try at %2."),
    declare(StatusMessageId::FeedThreshold, 60105, Severity::Error, MessageType::Milestone, Some(ComponentName::DmpDownloader),
        "The feed was refused, too few valid signatures: %1. Next try at %2."),
    declare(StatusMessageId::FeedOversized, 60106, Severity::Error, MessageType::Milestone, Some(ComponentName::DmpDownloader),
        "The feed was refused, it sends more than was signed: %1. Next try at %2."),
    declare(StatusMessageId::FeedTampered, 60107, Severity::Error, MessageType::Milestone, Some(ComponentName::DmpDownloader),
        "The feed was refused, its content is not what was signed: %1. Next try at %2."),
    declare(StatusMessageId::FeedMalformed, 60108, Severity::Error, MessageType::Milestone, Some(ComponentName::DmpDownloader),
        "The feed was refused, it cannot be read: %1. Next try at %2."),
    declare(StatusMessageId::TrustUnusable, 60109, Severity::Error, MessageType::Milestone, Some(ComponentName::DmpDownloader),
        "The trusted root of the feed cannot be used: %1. Next try at %2."),
    declare(StatusMessageId::StorageUnusable, 60110, Severity::Error, MessageType::Milestone, Some(ComponentName::DmpDownloader),
        "The disk does not take data: %1. Next try at %2."),
    declare(StatusMessageId::DownloadStarted, 60120, Severity::Informational, MessageType::Detail, Some(ComponentName::DmpDownloader),
        "The download of package %1 (%2) started."),
    declare(StatusMessageId::DownloadSucceeded, 60121, Severity::Informational, MessageType::Milestone, Some(ComponentName::DmpDownloader),
        "Package %1 (%2) is downloaded and verified."),
    declare(StatusMessageId::DownloadAttemptFailed, 60122, Severity::Warning, MessageType::Detail, Some(ComponentName::DmpDownloader),
        "An attempt to download package %1 (%2) failed: %3. Next try at %4."),
    declare(StatusMessageId::DownloadFailed, 60123, Severity::Error, MessageType::Milestone, Some(ComponentName::DmpDownloader),
        "The download of package %1 (%2) failed: %3."),
    declare(StatusMessageId::RedistFailed, 60124, Severity::Warning, MessageType::Detail, Some(ComponentName::DmpDownloader),
        "The redistributable %1 of package %2 failed: %3."),
    declare(StatusMessageId::PackageOffered, 60140, Severity::Informational, MessageType::Milestone, Some(ComponentName::HierarchyManager),
        "Package %1 (%2) is available."),
    declare(StatusMessageId::PackageWithdrawn, 60141, Severity::Warning, MessageType::Milestone, Some(ComponentName::HierarchyManager),
        "The vendor withdrew package %1 (%2): %3."),
    declare(StatusMessageId::ApplicabilityUndecided, 60142, Severity::Warning, MessageType::Milestone, Some(ComponentName::HierarchyManager),
        "Whether package %1 (%2) applies could not be decided: %3."),
    declare(StatusMessageId::FeatureTurnedOn, 60143, Severity::Informational, MessageType::Milestone, Some(ComponentName::HierarchyManager),
        "The feature %1 of package %2 is on."),
    declare(StatusMessageId::ReplicationFailed, 60150, Severity::Error, MessageType::Milestone, Some(ComponentName::DistributionManager),
        "The content of package %1 (%2) could not be stored: %3."),
    declare(StatusMessageId::PrereqPassed, 60160, Severity::Informational, MessageType::Milestone, Some(ComponentName::ConfigurationManagerUpdate),
        "The prerequisite check of package %1 (%2) passed."),
    declare(StatusMessageId::PrereqWarned, 60161, Severity::Warning, MessageType::Milestone, Some(ComponentName::ConfigurationManagerUpdate),
        "The prerequisite check of package %1 (%2) passed with warnings: %3."),
    declare(StatusMessageId::PrereqFailed, 60162, Severity::Error, MessageType::Milestone, Some(ComponentName::ConfigurationManagerUpdate),
        "The prerequisite check of package %1 (%2) failed: %3."),
    declare(StatusMessageId::InstallStarted, 60163, Severity::Informational, MessageType::Detail, Some(ComponentName::ConfigurationManagerUpdate),
        "The installation of package %1 (%2) started."),
    declare(StatusMessageId::InstallSucceeded, 60164, Severity::Informational, MessageType::Milestone, Some(ComponentName::ConfigurationManagerUpdate),
        "Package %1 (%2) is installed."),
    declare(StatusMessageId::InstallStepFailed, 60165, Severity::Warning, MessageType::Detail, Some(ComponentName::ConfigurationManagerUpdate),
        "The installation of package %1 (%2) failed at the step %3: %4. It is rolled back."),
    declare(StatusMessageId::InstallFailed, 60166, Severity::Error, MessageType::Milestone, Some(ComponentName::ConfigurationManagerUpdate),
        "Package %1 (%2) is not installed, everything was rolled back: %3."),
    declare(StatusMessageId::SpaceLow, 60180, Severity::Warning, MessageType::Milestone, Some(ComponentName::SiteComponentManager),
        "The file system of %1 has %2 bytes free, fewer than the %3 that are asked for; downloads wait until there is room."),
    declare(StatusMessageId::SpaceBack, 60181, Severity::Informational, MessageType::Milestone, Some(ComponentName::SiteComponentManager),
        "The file system of %1 has room again."),
    declare(StatusMessageId::EndpointsPassed, 11410, Severity::Informational, MessageType::Milestone, Some(ComponentName::ServiceConnector),
        "Every internet endpoint that was checked can be reached: %1."),
    declare(StatusMessageId::EndpointsWarning, 11411, Severity::Warning, MessageType::Milestone, Some(ComponentName::ServiceConnector),
        "Internet endpoints cannot be reached that nothing in use depends on: %1."),
    declare(StatusMessageId::EndpointsCritical, 11412, Severity::Error, MessageType::Milestone, Some(ComponentName::ServiceConnector),
        "Internet endpoints cannot be reached that are needed: %1."),
    declare(StatusMessageId::CloudServiceUnreachable, 11488, Severity::Error, MessageType::Milestone, Some(ComponentName::ServiceConnector),
        "The site cannot connect to what the cloud service %1 requires: %2."),
    declare(StatusMessageId::UsageCollected, 60190, Severity::Informational, MessageType::Milestone, Some(ComponentName::DmpUploader),
        "The report %1 of usage data was collected at level %2."),
    declare(StatusMessageId::UsageSent, 60191, Severity::Informational, MessageType::Milestone, Some(ComponentName::DmpUploader),
        "The report %1 of usage data was sent to %2, which confirmed it."),
    declare(StatusMessageId::UsageQuarantined, 60192, Severity::Warning, MessageType::Milestone, Some(ComponentName::DmpUploader),
        "The service keeps the report %1 of usage data and cannot read it yet."),
    declare(StatusMessageId::UsageRefused, 60193, Severity::Warning, MessageType::Milestone, Some(ComponentName::DmpUploader),
        "The service refused the report %1 of usage data: %2."),
    declare(StatusMessageId::UsageNotSent, 60194, Severity::Warning, MessageType::Milestone, Some(ComponentName::DmpUploader),
        "Usage data cannot be sent: %1. Next try at %2."),
    declare(StatusMessageId::UsageLedgerBroken, 60195, Severity::Error, MessageType::Milestone, Some(ComponentName::DmpUploader),
        "The ledger of usage data is not whole: %1."),
    declare(StatusMessageId::MediumImported, 60240, Severity::Informational, MessageType::Milestone, Some(ComponentName::DmpDownloader),
        "The medium in %1 was imported: %2."),
    declare(StatusMessageId::MediumRefused, 60241, Severity::Warning, MessageType::Milestone, Some(ComponentName::DmpDownloader),
        "The medium in %1 was not imported: %2."),
    declare(StatusMessageId::TrustEnding, 60242, Severity::Warning, MessageType::Milestone, Some(ComponentName::DmpDownloader),
        "The feed's %1 metadata expires on %2; bring a newer medium in time."),
    declare(StatusMessageId::AdminChecked, 60200, Severity::Informational, MessageType::Audit, Some(ComponentName::Executive),
        "%1 asked for a check for updates."),
    declare(StatusMessageId::AdminDownload, 60201, Severity::Informational, MessageType::Audit, Some(ComponentName::Executive),
        "%1 asked for the download of package %2."),
    declare(StatusMessageId::AdminPrereq, 60202, Severity::Informational, MessageType::Audit, Some(ComponentName::Executive),
        "%1 started the prerequisite check of package %2."),
    declare(StatusMessageId::AdminInstall, 60203, Severity::Informational, MessageType::Audit, Some(ComponentName::Executive),
        "%1 started the installation of package %2."),
    declare(StatusMessageId::AdminRetry, 60204, Severity::Informational, MessageType::Audit, Some(ComponentName::Executive),
        "%1 started package %2 again."),
    declare(StatusMessageId::AdminIgnoreWarnings, 60205, Severity::Informational, MessageType::Audit, Some(ComponentName::Executive),
        "%1 let package %2 continue in spite of its notes."),
    declare(StatusMessageId::AdminReset, 60206, Severity::Informational, MessageType::Audit, Some(ComponentName::Executive),
        "%1 reset package %2."),
    declare(StatusMessageId::AdminFeature, 60207, Severity::Informational, MessageType::Audit, Some(ComponentName::Executive),
        "%1 turned on the feature %2."),
    declare(StatusMessageId::AdminComponent, 60208, Severity::Informational, MessageType::Audit, Some(ComponentName::Executive),
        "%1 asked the component %2 to %3."),
    declare(StatusMessageId::AdminLogLevel, 60209, Severity::Informational, MessageType::Audit, Some(ComponentName::Executive),
        "%1 set the log level of %2 to %3."),
    declare(StatusMessageId::AdminTally, 60210, Severity::Informational, MessageType::Audit, Some(ComponentName::Executive),
        "%1 reset the counts of %2."),
    declare(StatusMessageId::AdminVerify, 60211, Severity::Informational, MessageType::Audit, Some(ComponentName::Executive),
        "%1 had the content library verified."),
    declare(StatusMessageId::AdminCollect, 60212, Severity::Informational, MessageType::Audit, Some(ComponentName::Executive),
        "%1 had unused content removed."),
    declare(StatusMessageId::AdminProxySet, 60213, Severity::Informational, MessageType::Audit, Some(ComponentName::Executive),
        "%1 set the proxy to %2."),
    declare(StatusMessageId::AdminProxyCleared, 60214, Severity::Informational, MessageType::Audit, Some(ComponentName::Executive),
        "%1 removed the proxy."),
    declare(StatusMessageId::AdminEndpointCheck, 60215, Severity::Informational, MessageType::Audit, Some(ComponentName::Executive),
        "%1 asked for a check of internet access."),
    declare(StatusMessageId::AdminMode, 60216, Severity::Informational, MessageType::Audit, Some(ComponentName::Executive),
        "%1 set the mode to %2; it comes into force when SMS_DMP_DOWNLOADER restarts."),
    declare(StatusMessageId::AdminUsageLevel, 60217, Severity::Informational, MessageType::Audit, Some(ComponentName::Executive),
        "%1 set the level of usage data to %2."),
    declare(StatusMessageId::AdminUsageSending, 60218, Severity::Informational, MessageType::Audit, Some(ComponentName::Executive),
        "%1 set the sending of usage data to %2."),
    declare(StatusMessageId::AdminUsageCollect, 60219, Severity::Informational, MessageType::Audit, Some(ComponentName::Executive),
        "%1 had usage data collected."),
    declare(StatusMessageId::AdminUsageApprove, 60220, Severity::Informational, MessageType::Audit, Some(ComponentName::Executive),
        "%1 approved the report %2 of usage data."),
    declare(StatusMessageId::AdminUsageDiscard, 60221, Severity::Informational, MessageType::Audit, Some(ComponentName::Executive),
        "%1 discarded the report %2 of usage data."),
    declare(StatusMessageId::AdminUsageUpload, 60222, Severity::Informational, MessageType::Audit, Some(ComponentName::Executive),
        "%1 asked for usage data to be sent."),
    declare(StatusMessageId::AdminUsageKeys, 60223, Severity::Informational, MessageType::Audit, Some(ComponentName::Executive),
        "%1 replaced the keys of usage data."),
    declare(StatusMessageId::AdminInventory, 60224, Severity::Informational, MessageType::Audit, Some(ComponentName::Executive),
        "%1 imported %2 rows into the inventory table %3."),
    declare(StatusMessageId::AdminPrepared, 60225, Severity::Informational, MessageType::Audit, Some(ComponentName::Executive),
        "%1 had a medium prepared for the service connection tool."),
    declare(StatusMessageId::AdminImported, 60226, Severity::Informational, MessageType::Audit, Some(ComponentName::Executive),
        "%1 asked for the import of the medium in %2."),
    declare(StatusMessageId::AdminRegistered, 60227, Severity::Informational, MessageType::Audit, Some(ComponentName::Executive),
        "%1 registered %2 (%3), which is not in the catalogue."),
    declare(StatusMessageId::AdminThrottle, 60228, Severity::Informational, MessageType::Audit, Some(ComponentName::Executive),
        "%1 set the throttle of the link to the feed to: %2."),
    declare(StatusMessageId::AdminAccountAdded, 60229, Severity::Informational, MessageType::Audit, Some(ComponentName::Executive),
        "%1 added the user %2 with the role %3 and the scope %4."),
    declare(StatusMessageId::AdminAccountChanged, 60230, Severity::Informational, MessageType::Audit, Some(ComponentName::Executive),
        "%1 gave the user %2 the role %3 and the scope %4."),
    declare(StatusMessageId::AdminAccountRemoved, 60231, Severity::Informational, MessageType::Audit, Some(ComponentName::Executive),
        "%1 removed the user %2."),
    declare(StatusMessageId::AdminPassword, 60232, Severity::Informational, MessageType::Audit, Some(ComponentName::Executive),
        "%1 set the password of the user %2."),
    declare(StatusMessageId::AdminTokenAdded, 60233, Severity::Informational, MessageType::Audit, Some(ComponentName::Executive),
        "%1 made the API token %2 with the role %3 and the scope %4."),
    declare(StatusMessageId::AdminTokenRemoved, 60234, Severity::Informational, MessageType::Audit, Some(ComponentName::Executive),
        "%1 revoked the API token %2."),
    declare(StatusMessageId::AdminSetupLink, 60235, Severity::Informational, MessageType::Audit, Some(ComponentName::Executive),
        "%1 made a link to set up the first user."),
    declare(StatusMessageId::SignedIn, 60236, Severity::Informational, MessageType::Audit, Some(ComponentName::Executive),
        "%1 signed in from %2."),
    declare(StatusMessageId::SignInRefused, 60237, Severity::Informational, MessageType::Detail, Some(ComponentName::Executive),
        "A sign-in as %1 from %2 was refused: %3."),
    declare(StatusMessageId::AdminDismissed, 60260, Severity::Informational, MessageType::Audit, Some(ComponentName::Executive),
        "%1 dismissed the notification %2."),
    declare(StatusMessageId::BackupDone, 5035, Severity::Informational, MessageType::Milestone, Some(ComponentName::SiteBackup),
        "The backup of the site is complete: %1, %2 bytes."),
    declare(StatusMessageId::BackupFailed, 60265, Severity::Error, MessageType::Milestone, Some(ComponentName::SiteBackup),
        "The backup of the site to %1 failed: %2. It is tried again at %3."),
    declare(StatusMessageId::AdminBackup, 60266, Severity::Informational, MessageType::Audit, Some(ComponentName::Executive),
        "%1 asked for a backup to %2."),
    declare(StatusMessageId::AdminBackupSchedule, 60267, Severity::Informational, MessageType::Audit, Some(ComponentName::Executive),
        "%1 set the schedule of backups: %2."),
    declare(StatusMessageId::AdminSnoozed, 60261, Severity::Informational, MessageType::Audit, Some(ComponentName::Executive),
        "%1 snoozed the notification %2 until %3."),
    declare(StatusMessageId::AdminThreshold, 60243, Severity::Informational, MessageType::Audit, Some(ComponentName::Executive),
        "%1 set the thresholds of %2 for %3 messages to %4 and %5."),
    declare(StatusMessageId::AdminThresholdReset, 60244, Severity::Informational, MessageType::Audit, Some(ComponentName::Executive),
        "%1 took back the thresholds that were set for %2."),
    declare(StatusMessageId::AdminStatusRule, 60245, Severity::Informational, MessageType::Audit, Some(ComponentName::Executive),
        "%1 changed the status filter rule %2: %3."),
    declare(StatusMessageId::AdminStatusDelete, 60246, Severity::Informational, MessageType::Audit, Some(ComponentName::Executive),
        "%1 deleted %2 status message(s): %3."),
    declare(StatusMessageId::SystemSpaceWarning, 60247, Severity::Warning, MessageType::Milestone, Some(ComponentName::SiteSystemStatusSummarizer),
        "The %1 at %2 has %3 KB free, fewer than %4 KB."),
    declare(StatusMessageId::SystemSpaceCritical, 60248, Severity::Error, MessageType::Milestone, Some(ComponentName::SiteSystemStatusSummarizer),
        "The %1 at %2 has only %3 KB free, fewer than the critical %4 KB."),
    declare(StatusMessageId::SystemSpaceBack, 60249, Severity::Informational, MessageType::Milestone, Some(ComponentName::SiteSystemStatusSummarizer),
        "The %1 at %2 has %3 KB free again, no fewer than %4 KB."),
    declare(StatusMessageId::AdminSystemThreshold, 60250, Severity::Informational, MessageType::Audit, Some(ComponentName::Executive),
        "%1 set the thresholds of free space of %2 to %3 KB and %4 KB."),
    declare(StatusMessageId::AdminSystemThresholdReset, 60251, Severity::Informational, MessageType::Audit, Some(ComponentName::Executive),
        "%1 took back the thresholds of free space that were set for %2."),
    declare(StatusMessageId::AlertsGivenUp, 60252, Severity::Warning, MessageType::Milestone, Some(ComponentName::AlertNotification),
        "%1 alert(s) by %2 were not delivered and are given up: %3."),
];

impl StatusMessageId {
    /// Every message of the catalogue, in its order.
    pub fn all() -> impl Iterator<Item = StatusMessageId> {
        CATALOGUE.iter().map(|declaration| declaration.variant)
    }

    fn declaration(self) -> &'static Declaration {
        // The catalogue lists the variants in their order of declaration (tested below).
        &CATALOGUE[self as usize]
    }

    /// The message id.
    pub fn id(self) -> u32 {
        self.declaration().id
    }

    /// The severity.
    pub fn severity(self) -> Severity {
        self.declaration().severity
    }

    /// The kind of event.
    pub fn message_type(self) -> MessageType {
        self.declaration().message_type
    }

    /// The component that raises it; none if any may.
    pub fn component(self) -> Option<ComponentName> {
        self.declaration().component
    }

    /// The text with `%1` to `%9` for insertion strings.
    pub fn template(self) -> &'static str {
        self.declaration().text
    }

    /// The text with insertion strings in place. A string is shortened to a thousand characters and
    /// loses its control characters; a missing one is empty.
    pub fn text(self, strings: &[&str]) -> String {
        let mut text = String::new();
        let mut characters = self.template().chars().peekable();
        while let Some(character) = characters.next() {
            let place = (character == '%')
                .then(|| characters.peek().and_then(|c| c.to_digit(10)))
                .flatten();
            match place {
                Some(place) if place > 0 => {
                    characters.next();
                    let string = strings.get(place as usize - 1).copied().unwrap_or_default();
                    let plain = string.chars().map(|c| if c.is_control() { ' ' } else { c });
                    text.extend(plain.take(INSERTION_CHARACTERS_MAX));
                }
                _ => text.push(character),
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_is_sound() {
        let mut ids = std::collections::BTreeSet::new();
        for (index, declaration) in CATALOGUE.iter().enumerate() {
            assert_eq!(
                declaration.variant as usize, index,
                "{:?} is out of order",
                declaration.variant
            );
            assert!(ids.insert(declaration.id), "{} twice", declaration.id);
            assert!(declaration.id < 12000 || (60000..=60999).contains(&declaration.id));
            if declaration.severity == Severity::Informational {
                // Viewers of the simple log form colour lines by these words.
                let text = declaration.text.to_lowercase();
                assert!(
                    !text.contains("error") && !text.contains("warn") && !text.contains("fail"),
                    "{text}"
                );
            }
            if declaration.message_type == MessageType::Audit {
                assert_eq!(declaration.severity, Severity::Informational);
            }
        }
    }

    #[test]
    fn strings_are_put_in_and_tamed() {
        let id = StatusMessageId::DownloadAttemptFailed;
        assert_eq!(
            id.text(&["A", "B", "it\nbroke", "noon"]),
            "An attempt to download package A (B) failed: it broke. Next try at noon."
        );
        assert_eq!(
            id.text(&[]),
            "An attempt to download package  () failed: . Next try at ."
        );
        assert!(id.text(&[&"x".repeat(5000)]).len() < 1200);
    }

    #[test]
    fn the_reference_lists_every_message() {
        let mut table =
            String::from("| Id | Severity | Type | Component | Text |\n| --- | --- | --- | --- | --- |\n");
        for id in StatusMessageId::all() {
            let component = id.component().map_or("any", |component| component.as_str());
            table.push_str(&format!(
                "| {} | {} | {} | {component} | {} |\n",
                id.id(),
                id.severity().as_str(),
                id.message_type().as_str(),
                id.template()
            ));
        }
        let page = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../docs/reference/status-messages.md"
        );
        let text = std::fs::read_to_string(page).unwrap_or_default();
        assert!(text.contains(&table), "{page} lacks this table:\n{table}");
    }
}
