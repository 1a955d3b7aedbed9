//! What the vendor says beside packages, as the last check for updates left it: messages for administrators, and how its
//! service wants to be used.
//!
//! Both were signed with the feed. What cannot be read is as good as nothing, and says so in the log.

use std::path::Path;
use std::sync::{PoisonError, RwLock};

use jiff::Timestamp;
use protocol::notice::{NOTICES_BYTES_MAX, Notice, NoticeCategory, NoticeError, Notices, ServiceConfig};

use crate::directory::SiteDirectory;

/// The configuration of the vendor's service that is in force. It changes when SMS_EXECUTIVE restarts, and not before:
/// nothing connects to a host that nobody here has agreed to.
#[derive(Debug)]
pub struct Vendor {
    in_force: RwLock<ServiceConfig>,
}

impl Vendor {
    /// What is there when the site starts comes into force.
    pub fn open(directory: &SiteDirectory) -> Self {
        Vendor {
            in_force: RwLock::new(brought(directory)),
        }
    }

    /// What is there now comes into force: SMS_EXECUTIVE restarts.
    pub fn apply(&self, directory: &SiteDirectory) {
        let config = brought(directory);
        *self.in_force.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    /// What is in force; version 0 where the vendor said nothing.
    pub fn in_force(&self) -> ServiceConfig {
        self.in_force
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// The configuration that the last check for updates brought, whether in force or not.
pub fn brought(directory: &SiteDirectory) -> ServiceConfig {
    read(&directory.service_config(), ServiceConfig::parse).unwrap_or_default()
}

/// The vendor's messages of these categories that are not over.
pub fn notices(directory: &SiteDirectory, wanted: &[NoticeCategory], now: Timestamp) -> Vec<Notice> {
    let all = read(&directory.notices(), Notices::parse).map_or_else(Vec::new, |all| all.notices);
    all.into_iter()
        .filter(|notice| wanted.contains(&notice.category))
        .filter(|notice| notice.until.is_none_or(|until| until > now))
        .collect()
}

fn read<T>(path: &Path, parse: impl Fn(&[u8]) -> Result<T, NoticeError>) -> Option<T> {
    let length = std::fs::metadata(path).ok()?.len();
    if length > NOTICES_BYTES_MAX as u64 {
        tracing::warn!("{} has {length} bytes and is not used", path.display());
        return None;
    }
    let read = std::fs::read(path).map_err(|failure| failure.to_string());
    let parsed = read.and_then(|bytes| parse(&bytes).map_err(|failure| failure.to_string()));
    parsed
        .inspect_err(|failure| tracing::warn!("{} is not used: {failure}", path.display()))
        .ok()
}
