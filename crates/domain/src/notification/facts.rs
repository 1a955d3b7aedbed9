//! What notifications are decided on, as plain values.

use jiff::Timestamp;

use crate::status_message::systems::SpaceThresholds;

/// Everything that is looked at, as it stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The newest package that applies and is neither installed nor on its way.
    pub offered: Option<Offered>,
    /// The package that is being installed.
    pub installing: Option<Installing>,
    /// The roles of the feed as the last good cycle left them.
    pub roles: Vec<TrustedRole>,
    /// Certificates in the site's files.
    pub certificates: Vec<Certificate>,
    /// Endpoints that the last check of internet access could not reach.
    pub endpoints: Vec<FailedEndpoint>,
    /// Checks for updates, if the last one failed.
    pub checks: Option<FailingChecks>,
    /// The file system of the site; none if it does not tell.
    pub space: Option<FreeSpace>,
    /// A configuration of the vendor's service that waits for a restart of SMS_EXECUTIVE.
    pub waiting_config: Option<WaitingConfig>,
    /// Secret keys whose end is known.
    pub secret_keys: Vec<SecretKey>,
    /// What the vendor tells administrators.
    pub vendor_messages: Vec<VendorMessage>,
    /// Components that an administrator stopped.
    pub stopped: Vec<String>,
    /// Backups that are due and were not made.
    pub backup: Option<MissingBackup>,
    /// Components that crashed and wait for their restart.
    pub crashed: Vec<CrashedComponent>,
}

/// A package that could be installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// Its GUID.
    pub guid: String,
    /// Its name.
    pub name: String,
    /// Version the site has afterwards.
    pub version: String,
    /// How far it is.
    pub stage: OfferStage,
}

/// How far a package is that could be installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfferStage {
    /// The feed lists it; its content is not complete here.
    Listed,
    /// It is downloaded.
    Ready,
    /// It is downloaded, and its installation was begun and stopped by what was found.
    Stopped,
}

/// A package that is being installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installing {
    /// Its GUID.
    pub guid: String,
    /// Its name.
    pub name: String,
    /// Why it is being rolled back; none as long as it goes forward.
    pub rolled_back: Option<String>,
}

/// A role of the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedRole {
    /// `root`, `timestamp`, `snapshot` or `targets`.
    pub role: String,
    /// End of its validity.
    pub expires: Timestamp,
}

/// A certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The file it is in, relative to the site's directory where it lies there.
    pub file: String,
    /// Whose it is.
    pub subject: String,
    /// End of its validity.
    pub not_after: Timestamp,
    /// The site made it itself and makes a new one when it is removed.
    pub own: bool,
}

/// An endpoint that could not be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedEndpoint {
    /// Its host.
    pub host: String,
    /// What was wrong, as a fault code.
    pub fault: String,
    /// Something in use stops without it.
    pub critical: bool,
}

/// Checks for updates that fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailingChecks {
    /// Failures since the last good one.
    pub in_row: u32,
    /// The kind of failure, one word.
    pub reason: String,
    /// The failure in words.
    pub failure: String,
    /// End of the last good one; none if there was none yet.
    pub succeeded_at: Option<Timestamp>,
}

/// A configuration of the vendor's service that is not in force yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingConfig {
    /// Its number.
    pub version: u64,
    /// What changed, in the vendor's words.
    pub what: String,
    /// Hosts that are connected to once it is in force.
    pub hosts: Vec<String>,
}

/// A secret key that somebody else takes for a while only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretKey {
    /// What it opens, in words.
    pub name: String,
    /// Where it is kept.
    pub file: String,
    /// When it is taken no more.
    pub expires: Timestamp,
}

/// A message of the vendor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VendorMessage {
    /// Its name.
    pub id: String,
    /// What it is for, in words.
    pub category: String,
    /// Whether something is wrong without it being heeded.
    pub pressing: bool,
    /// One line.
    pub title: String,
    /// The message.
    pub body: String,
    /// Where more is said.
    pub link: Option<String>,
    /// Since when.
    pub published: Timestamp,
}

/// A backup that should be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingBackup {
    /// The last good one; none if there was none yet.
    pub last: Option<Timestamp>,
    /// Why the last attempt failed, if it did.
    pub failure: Option<String>,
}

/// Free space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FreeSpace {
    /// Bytes that are free.
    pub free: u64,
    /// Bytes below which downloads and installations wait.
    pub wanted: u64,
    /// Room below which System Status shows another colour.
    pub thresholds: SpaceThresholds,
}

/// A component that crashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrashedComponent {
    /// Its name.
    pub name: String,
    /// The last failure in words.
    pub failure: String,
    /// Failures since it last worked.
    pub in_row: u32,
    /// When it is restarted.
    pub next_try: Option<Timestamp>,
}
