//! The named units of work of a site and what can be said of each.

use std::fmt;
use std::str::FromStr;

/// The components of a site server with a co-located service connection point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ComponentName {
    /// Supervises the others.
    Executive,
    /// Keeps folders, configuration and free space in order.
    SiteComponentManager,
    /// Synchronises with the feed and downloads.
    DmpDownloader,
    /// Evaluates packages and moves them on.
    HierarchyManager,
    /// Brings content to the content library of each site.
    DistributionManager,
    /// Checks prerequisites and installs.
    ConfigurationManagerUpdate,
    /// Keeps state messages.
    StateSystem,
    /// Keeps status messages.
    StatusManager,
    /// Checks that the internet can be reached.
    ServiceConnector,
    /// Collects and sends usage data.
    DmpUploader,
    /// Watches the free space of what the site stands on.
    SiteSystemStatusSummarizer,
    /// Tells others of messages that rules select.
    AlertNotification,
    /// Backs the site up.
    SiteBackup,
}

/// How the lines of a log look (components-status-logs, section 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogForm {
    /// `message  $$<COMPONENT><date time+bias><thread=…>`
    Simple,
    /// `<![LOG[message]LOG]!><time=… date=… component=… …>`
    Ccm,
}

impl ComponentName {
    /// Every component, supervisor first.
    pub const ALL: [ComponentName; 13] = [
        ComponentName::Executive,
        ComponentName::SiteComponentManager,
        ComponentName::DmpDownloader,
        ComponentName::HierarchyManager,
        ComponentName::DistributionManager,
        ComponentName::ConfigurationManagerUpdate,
        ComponentName::StateSystem,
        ComponentName::StatusManager,
        ComponentName::ServiceConnector,
        ComponentName::DmpUploader,
        ComponentName::SiteSystemStatusSummarizer,
        ComponentName::AlertNotification,
        ComponentName::SiteBackup,
    ];

    /// The product's name.
    pub fn as_str(self) -> &'static str {
        match self {
            ComponentName::Executive => "SMS_EXECUTIVE",
            ComponentName::SiteComponentManager => "SMS_SITE_COMPONENT_MANAGER",
            ComponentName::DmpDownloader => "SMS_DMP_DOWNLOADER",
            ComponentName::HierarchyManager => "SMS_HIERARCHY_MANAGER",
            ComponentName::DistributionManager => "SMS_DISTRIBUTION_MANAGER",
            ComponentName::ConfigurationManagerUpdate => "CONFIGURATION_MANAGER_UPDATE",
            ComponentName::StateSystem => "SMS_STATE_SYSTEM",
            ComponentName::StatusManager => "SMS_STATUS_MANAGER",
            ComponentName::ServiceConnector => "SMS_SERVICE_CONNECTOR",
            ComponentName::DmpUploader => "SMS_DMP_UPLOADER",
            ComponentName::SiteSystemStatusSummarizer => "SMS_SITE_SYSTEM_STATUS_SUMMARIZER",
            ComponentName::AlertNotification => "SMS_ALERT_NOTIFICATION",
            ComponentName::SiteBackup => "SMS_SITE_BACKUP",
        }
    }

    /// The product's file name of its log.
    pub fn log_file(self) -> &'static str {
        match self {
            ComponentName::Executive => "smsexec.log",
            ComponentName::SiteComponentManager => "sitecomp.log",
            ComponentName::DmpDownloader => "Dmpdownloader.log",
            ComponentName::HierarchyManager => "hman.log",
            ComponentName::DistributionManager => "distmgr.log",
            ComponentName::ConfigurationManagerUpdate => "CMUpdate.log",
            ComponentName::StateSystem => "statesys.log",
            ComponentName::StatusManager => "statmgr.log",
            ComponentName::ServiceConnector => "EndpointConnectivityCheckWorker.log",
            ComponentName::DmpUploader => "Dmpuploader.log",
            ComponentName::SiteSystemStatusSummarizer => "sitestat.log",
            ComponentName::AlertNotification => "alertnot.log",
            ComponentName::SiteBackup => "smsbkup.log",
        }
    }

    /// How the lines of its log look. These are native server components, which write the simple form.
    pub fn log_form(self) -> LogForm {
        match self {
            ComponentName::Executive
            | ComponentName::SiteComponentManager
            | ComponentName::DmpDownloader
            | ComponentName::HierarchyManager
            | ComponentName::DistributionManager
            | ComponentName::ConfigurationManagerUpdate
            | ComponentName::StateSystem
            | ComponentName::StatusManager
            | ComponentName::DmpUploader
            | ComponentName::SiteSystemStatusSummarizer
            | ComponentName::AlertNotification
            | ComponentName::SiteBackup => LogForm::Simple,
            // Its workers are managed code, which writes the other form.
            ComponentName::ServiceConnector => LogForm::Ccm,
        }
    }

    /// What it does, in one line.
    pub fn description(self) -> &'static str {
        match self {
            ComponentName::Executive => "supervises the other components",
            ComponentName::SiteComponentManager => "keeps folders and free space of the site in order",
            ComponentName::DmpDownloader => "synchronises with the feed and downloads packages",
            ComponentName::HierarchyManager => "evaluates packages and moves them on",
            ComponentName::DistributionManager => "brings content to the content library",
            ComponentName::ConfigurationManagerUpdate => "checks prerequisites and installs packages",
            ComponentName::StateSystem => "keeps state messages and their history",
            ComponentName::StatusManager => "keeps status messages and summarises them",
            ComponentName::ServiceConnector => "checks that the internet can be reached",
            ComponentName::DmpUploader => "collects usage data and sends it",
            ComponentName::SiteSystemStatusSummarizer => "watches the free space of what the site stands on",
            ComponentName::AlertNotification => "tells others of messages that rules select",
            ComponentName::SiteBackup => "backs the site up",
        }
    }
}

impl fmt::Display for ComponentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ComponentName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|name| name.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| {
                let names: Vec<&str> = Self::ALL.iter().map(|name| name.as_str()).collect();
                format!("there is no component {text:?}; there are {}", names.join(", "))
            })
    }
}

/// Whether a component runs (SMS_ComponentSummarizer, State).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ComponentState {
    /// 0: stopped by an administrator.
    Stopped,
    /// 1: started; it waits for its next activation or works.
    Started,
    /// 2: it failed and waits for its next try.
    Paused,
}

impl ComponentState {
    /// The product's number.
    pub fn code(self) -> u32 {
        match self {
            ComponentState::Stopped => 0,
            ComponentState::Started => 1,
            ComponentState::Paused => 2,
        }
    }

    /// The product's word.
    pub fn as_str(self) -> &'static str {
        match self {
            ComponentState::Stopped => "stopped",
            ComponentState::Started => "started",
            ComponentState::Paused => "waiting to restart",
        }
    }
}

/// How much a component logs (LoggingLevel).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// 0
    Verbose,
    /// 1
    Default,
    /// 2
    WarningsAndErrors,
    /// 3
    ErrorsOnly,
}

impl LogLevel {
    /// Every level, by number.
    pub const ALL: [LogLevel; 4] = [
        LogLevel::Verbose,
        LogLevel::Default,
        LogLevel::WarningsAndErrors,
        LogLevel::ErrorsOnly,
    ];

    /// The product's number.
    pub fn code(self) -> u8 {
        match self {
            LogLevel::Verbose => 0,
            LogLevel::Default => 1,
            LogLevel::WarningsAndErrors => 2,
            LogLevel::ErrorsOnly => 3,
        }
    }

    /// The level with this number.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.code() == code)
    }

    /// The word for people.
    pub fn as_str(self) -> &'static str {
        match self {
            LogLevel::Verbose => "verbose",
            LogLevel::Default => "default",
            LogLevel::WarningsAndErrors => "warnings",
            LogLevel::ErrorsOnly => "errors",
        }
    }
}

impl FromStr for LogLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|level| level.as_str() == text || level.code().to_string() == text)
            .ok_or_else(|| {
                format!("{text:?} is no log level; write verbose, default, warnings, errors or 0 to 3")
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_logs_are_unique_and_read_back() {
        let mut logs = std::collections::BTreeSet::new();
        for name in ComponentName::ALL {
            assert_eq!(name.as_str().parse(), Ok(name));
            assert_eq!(name.as_str().to_lowercase().parse(), Ok(name));
            assert!(name.as_str().len() <= 40);
            assert!(logs.insert(name.log_file()));
        }
        assert!(
            "SMS_NOTHING"
                .parse::<ComponentName>()
                .unwrap_err()
                .contains("SMS_EXECUTIVE")
        );
    }
}
