//! The states of an update package.
//!
//! The codes are the product's own (updates-and-servicing, section 5): the high word is the stage,
//! the low word the result. Their numeric order is not the order of life. What moves a
//! package from one state to the next is in `transition.rs`.

/// Where an update package stands on a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PackageState {
    /// Known by name only; also the state after a reset.
    Unknown,
    /// An administrator started a prerequisite check or an installation.
    Enabled,
    /// Being evaluated; never outlives the transaction that set it.
    ApplicabilityChecking,
    /// Offered, not downloaded.
    ApplicabilitySuccess,
    /// Hidden: older than what is installed, superseded or withdrawn.
    ApplicabilityHide,
    /// A condition of the package does not hold here.
    ApplicabilityNa,
    /// A condition could not be evaluated; shown, never silently hidden.
    ApplicabilityFailed,
    /// Content is being fetched, or waits for the next attempt.
    DownloadInProgress,
    /// Every file is here and verified.
    DownloadSuccess,
    /// Given up until an administrator, or the next cycle's new content, starts it again.
    DownloadFailed,
    /// Content is on its way to the sites.
    ContentReplicating,
    /// Every site that needs the content has it.
    ContentReplicationSuccess,
    /// A site could not store the content.
    ContentReplicationFailed,
    /// Prerequisite rules are being run.
    PrereqInProgress,
    /// Every rule passed.
    PrereqSuccess,
    /// No rule failed with severity error, at least one with warning.
    PrereqWarning,
    /// A rule failed with severity error, which nothing overrides.
    PrereqError,
    /// The install plan is being carried out.
    InstallInProgress,
    /// Waits for a service window to open.
    InstallWaitingServiceWindow,
    /// Waits for the parent site to finish.
    InstallWaitingParent,
    /// Installed.
    InstallSuccess,
    /// Installed after a restart of the host.
    InstallPendingReboot,
    /// Failed and rolled back; not tried again by itself.
    InstallFailed,
}

impl PackageState {
    /// Every state, in the order of the table in the specification.
    pub const ALL: [PackageState; 23] = [
        PackageState::Unknown,
        PackageState::Enabled,
        PackageState::ApplicabilityChecking,
        PackageState::ApplicabilitySuccess,
        PackageState::ApplicabilityHide,
        PackageState::ApplicabilityNa,
        PackageState::ApplicabilityFailed,
        PackageState::DownloadInProgress,
        PackageState::DownloadSuccess,
        PackageState::DownloadFailed,
        PackageState::ContentReplicating,
        PackageState::ContentReplicationSuccess,
        PackageState::ContentReplicationFailed,
        PackageState::PrereqInProgress,
        PackageState::PrereqSuccess,
        PackageState::PrereqWarning,
        PackageState::PrereqError,
        PackageState::InstallInProgress,
        PackageState::InstallWaitingServiceWindow,
        PackageState::InstallWaitingParent,
        PackageState::InstallSuccess,
        PackageState::InstallPendingReboot,
        PackageState::InstallFailed,
    ];

    /// The product's number for this state.
    pub fn code(self) -> u32 {
        match self {
            PackageState::Unknown => 0x0,
            PackageState::Enabled => 0x2,
            PackageState::ApplicabilityChecking => 0x50001,
            PackageState::ApplicabilitySuccess => 0x50002,
            PackageState::ApplicabilityHide => 0x5fffd,
            PackageState::ApplicabilityNa => 0x5fffe,
            PackageState::ApplicabilityFailed => 0x5ffff,
            PackageState::DownloadInProgress => 0x40001,
            PackageState::DownloadSuccess => 0x40002,
            PackageState::DownloadFailed => 0x4ffff,
            PackageState::ContentReplicating => 0x10001,
            PackageState::ContentReplicationSuccess => 0x10002,
            PackageState::ContentReplicationFailed => 0x1ffff,
            PackageState::PrereqInProgress => 0x20001,
            PackageState::PrereqSuccess => 0x20002,
            PackageState::PrereqWarning => 0x20003,
            PackageState::PrereqError => 0x2ffff,
            PackageState::InstallInProgress => 0x30001,
            PackageState::InstallWaitingServiceWindow => 0x30002,
            PackageState::InstallWaitingParent => 0x30003,
            PackageState::InstallSuccess => 0x30004,
            PackageState::InstallPendingReboot => 0x30005,
            PackageState::InstallFailed => 0x3ffff,
        }
    }

    /// The state with this number.
    pub fn from_code(code: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }

    /// The product's name for this state.
    pub fn name(self) -> &'static str {
        match self {
            PackageState::Unknown => "UNKNOWN",
            PackageState::Enabled => "ENABLED",
            PackageState::ApplicabilityChecking => "APPLICABILITY_CHECKING",
            PackageState::ApplicabilitySuccess => "APPLICABILITY_SUCCESS",
            PackageState::ApplicabilityHide => "APPLICABILITY_HIDE",
            PackageState::ApplicabilityNa => "APPLICABILITY_NA",
            PackageState::ApplicabilityFailed => "APPLICABILITY_FAILED",
            PackageState::DownloadInProgress => "DOWNLOAD_IN_PROGRESS",
            PackageState::DownloadSuccess => "DOWNLOAD_SUCCESS",
            PackageState::DownloadFailed => "DOWNLOAD_FAILED",
            PackageState::ContentReplicating => "CONTENT_REPLICATING",
            PackageState::ContentReplicationSuccess => "CONTENT_REPLICATION_SUCCESS",
            PackageState::ContentReplicationFailed => "CONTENT_REPLICATION_FAILED",
            PackageState::PrereqInProgress => "PREREQ_IN_PROGRESS",
            PackageState::PrereqSuccess => "PREREQ_SUCCESS",
            PackageState::PrereqWarning => "PREREQ_WARNING",
            PackageState::PrereqError => "PREREQ_ERROR",
            PackageState::InstallInProgress => "INSTALL_IN_PROGRESS",
            PackageState::InstallWaitingServiceWindow => "INSTALL_WAITING_SERVICE_WINDOW",
            PackageState::InstallWaitingParent => "INSTALL_WAITING_PARENT",
            PackageState::InstallSuccess => "INSTALL_SUCCESS",
            PackageState::InstallPendingReboot => "INSTALL_PENDING_REBOOT",
            PackageState::InstallFailed => "INSTALL_FAILED",
        }
    }

    /// What lists show.
    pub fn label(self) -> &'static str {
        match self {
            PackageState::Unknown => "Unknown",
            PackageState::Enabled => "Installing",
            PackageState::ApplicabilityChecking => "Checking applicability",
            PackageState::ApplicabilitySuccess => "Available to download",
            PackageState::ApplicabilityHide => "Hidden",
            PackageState::ApplicabilityNa => "Not applicable",
            PackageState::ApplicabilityFailed => "Applicability check failed",
            PackageState::DownloadInProgress => "Downloading",
            PackageState::DownloadSuccess => "Ready to install",
            PackageState::DownloadFailed => "Download failed",
            PackageState::ContentReplicating => "Replicating content",
            PackageState::ContentReplicationSuccess => "Content replicated",
            PackageState::ContentReplicationFailed => "Content replication failed",
            PackageState::PrereqInProgress => "Checking prerequisites",
            PackageState::PrereqSuccess => "Prerequisite check passed",
            PackageState::PrereqWarning => "Prerequisite check passed with warnings",
            PackageState::PrereqError => "Prerequisites failed",
            PackageState::InstallInProgress => "Installing",
            PackageState::InstallWaitingServiceWindow => "Waiting for service window",
            PackageState::InstallWaitingParent => "Waiting for parent site",
            PackageState::InstallSuccess => "Installed",
            PackageState::InstallPendingReboot => "Restart pending",
            PackageState::InstallFailed => "Failed",
        }
    }

    /// Whether this package is the one in motion: while there is one, nothing else downloads or
    /// starts (section 5, rule c; acceptance fact 7).
    pub fn is_busy(self) -> bool {
        use PackageState as S;
        match self {
            S::Enabled
            | S::ContentReplicating
            | S::ContentReplicationSuccess
            | S::PrereqInProgress
            | S::InstallInProgress
            | S::InstallWaitingServiceWindow
            | S::InstallWaitingParent
            | S::InstallPendingReboot => true,
            S::Unknown
            | S::ApplicabilityChecking
            | S::ApplicabilitySuccess
            | S::ApplicabilityHide
            | S::ApplicabilityNa
            | S::ApplicabilityFailed
            | S::DownloadInProgress
            | S::DownloadSuccess
            | S::DownloadFailed
            | S::ContentReplicationFailed
            | S::PrereqSuccess
            | S::PrereqWarning
            | S::PrereqError
            | S::InstallSuccess
            | S::InstallFailed => false,
        }
    }

    /// Whether lists leave this package out unless asked for all (acceptance fact 5).
    pub fn is_hidden(self) -> bool {
        matches!(
            self,
            PackageState::ApplicabilityHide | PackageState::ApplicabilityNa
        )
    }
}

/// What an administrator's start of a package means for warnings (Flag; section 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PrereqFlag {
    /// 0: install, but stop when the prerequisite check warns.
    StopOnWarning,
    /// 1: run the prerequisite check only.
    CheckOnly,
    /// 2: install in spite of warnings.
    ContinueOnWarning,
}

impl PrereqFlag {
    /// The product's number.
    pub fn code(self) -> u32 {
        match self {
            PrereqFlag::StopOnWarning => 0,
            PrereqFlag::CheckOnly => 1,
            PrereqFlag::ContinueOnWarning => 2,
        }
    }

    /// The flag with this number.
    pub fn from_code(code: u32) -> Option<Self> {
        [Self::StopOnWarning, Self::CheckOnly, Self::ContinueOnWarning]
            .into_iter()
            .find(|f| f.code() == code)
    }

    /// Whether the installation goes on after a prerequisite check that ended in `state`.
    pub fn installs_after(self, state: PackageState) -> bool {
        match self {
            PrereqFlag::StopOnWarning => state == PackageState::PrereqSuccess,
            PrereqFlag::CheckOnly => false,
            PrereqFlag::ContinueOnWarning => {
                matches!(state, PackageState::PrereqSuccess | PackageState::PrereqWarning)
            }
        }
    }
}
