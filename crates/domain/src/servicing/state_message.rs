//! Progress of the downloader as numbered state messages (updates-and-servicing, section 6).

/// A numbered progress report. Messages 0 to 4 speak of the whole sync, the others of one package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StateMessage {
    /// 0: a sync cycle begins.
    StartProcess,
    /// 1: the catalogue's address is known, its download starts.
    StartVerifyManifest,
    /// 2: the catalogue's metadata is here, the check of its signatures starts.
    StartVerifyManifestFileTrusted,
    /// 3: the catalogue is trusted up to the pinned root.
    VerifiedManifest,
    /// 4: the catalogue was handed to the site.
    ManifestDownloaded,
    /// 6: the download list contains this package.
    FoundNewPackage,
    /// 8: the processing of this package starts.
    ProcessingPackage,
    /// 9: content is missing locally, its download starts.
    PayloadDownloadStarted,
    /// 10: all content is on disk.
    PayloadDownloaded,
    /// 25: all content is verified.
    PayloadVerified,
    /// 11: every redistributable is here, or none is needed.
    RedistDownloaded,
    /// 12: the package is about to be reported as downloaded.
    ReportStarted,
    /// 13: the package was reported as downloaded.
    ReportFinished,
    /// 14 (ours): an attempt at this package ended without success.
    PackageFailed,
    /// 15 (ours): the sync ended without success.
    SyncFailed,
}

impl StateMessage {
    /// Every message, by number.
    pub const ALL: [StateMessage; 15] = [
        StateMessage::StartProcess,
        StateMessage::StartVerifyManifest,
        StateMessage::StartVerifyManifestFileTrusted,
        StateMessage::VerifiedManifest,
        StateMessage::ManifestDownloaded,
        StateMessage::FoundNewPackage,
        StateMessage::ProcessingPackage,
        StateMessage::PayloadDownloadStarted,
        StateMessage::PayloadDownloaded,
        StateMessage::RedistDownloaded,
        StateMessage::ReportStarted,
        StateMessage::ReportFinished,
        StateMessage::PackageFailed,
        StateMessage::SyncFailed,
        StateMessage::PayloadVerified,
    ];

    /// The message's number.
    pub fn number(self) -> u32 {
        match self {
            StateMessage::StartProcess => 0,
            StateMessage::StartVerifyManifest => 1,
            StateMessage::StartVerifyManifestFileTrusted => 2,
            StateMessage::VerifiedManifest => 3,
            StateMessage::ManifestDownloaded => 4,
            StateMessage::FoundNewPackage => 6,
            StateMessage::ProcessingPackage => 8,
            StateMessage::PayloadDownloadStarted => 9,
            StateMessage::PayloadDownloaded => 10,
            StateMessage::RedistDownloaded => 11,
            StateMessage::ReportStarted => 12,
            StateMessage::ReportFinished => 13,
            StateMessage::PackageFailed => 14,
            StateMessage::SyncFailed => 15,
            StateMessage::PayloadVerified => 25,
        }
    }

    /// The message with this number.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|message| message.number() == number)
    }

    /// The product's name where it published one, else ours.
    pub fn name(self) -> &'static str {
        match self {
            StateMessage::StartProcess => "START_PROCESS",
            StateMessage::StartVerifyManifest => "START_VERIFY_MANIFEST",
            StateMessage::StartVerifyManifestFileTrusted => "START_VERIFY_MANIFESTFILE_TRUSTED",
            StateMessage::VerifiedManifest => "VERIFIED_MANIFEST",
            StateMessage::ManifestDownloaded => "MANIFEST_DOWNLOADED",
            StateMessage::FoundNewPackage => "FOUND_NEW_PACKAGE",
            StateMessage::ProcessingPackage => "PROCESSING_PACKAGE",
            StateMessage::PayloadDownloadStarted => "PAYLOAD_DOWNLOAD_STARTED",
            StateMessage::PayloadDownloaded => "PAYLOAD_DOWNLOADED",
            StateMessage::RedistDownloaded => "REDIST_DOWNLOADED",
            StateMessage::ReportStarted => "REPORT_STARTED",
            StateMessage::ReportFinished => "REPORT_FINISHED",
            StateMessage::PackageFailed => "PACKAGE_FAILED",
            StateMessage::SyncFailed => "SYNC_FAILED",
            StateMessage::PayloadVerified => "PAYLOAD_VERIFIED",
        }
    }
}
