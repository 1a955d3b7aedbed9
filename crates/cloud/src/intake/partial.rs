//! Uploads that broke off: what came of them is kept for a while, so that the rest is enough next time.

use std::path::PathBuf;
use std::time::Duration;

use protocol::usage::SEALED_BYTES_MAX;

use crate::error::CloudError;
use crate::files;

/// Uploads kept at once: a gigabyte at the very worst. Further ones begin anew.
const KEPT_MAX: usize = 1_000;
/// How long one is kept.
const KEPT_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A folder with a file per broken upload, named by its report.
pub(super) struct Partials {
    folder: PathBuf,
}

impl Partials {
    pub fn open(folder: PathBuf) -> Result<Self, CloudError> {
        files::create_private_folder(&folder)?;
        Ok(Partials { folder })
    }

    /// What is there of a report.
    pub fn read(&self, report: &str) -> Vec<u8> {
        files::read_bounded(&self.folder.join(report), SEALED_BYTES_MAX as u64).unwrap_or_default()
    }

    /// Keeps what came. One that cannot be kept begins anew: nothing was promised for it.
    pub fn keep(&self, report: &str, bytes: &[u8]) {
        let path = self.folder.join(report);
        let kept = std::fs::read_dir(&self.folder).map_or(0, Iterator::count);
        if bytes.is_empty() || (kept >= KEPT_MAX && !path.exists()) {
            return;
        }
        if let Err(error) = files::write(&path, bytes, 0o600) {
            tracing::warn!(%error, file = %path.display(), "could not keep an upload that broke off");
        }
    }

    /// The report is complete, or refused.
    pub fn remove(&self, report: &str) {
        let path = self.folder.join(report);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(%error, file = %path.display(), "could not remove an upload that is done");
            }
            _ => {}
        }
    }

    /// Forgets what nobody went on with, by the file system's own time.
    pub fn forget_old(&self) {
        for entry in std::fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            if modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > KEPT_FOR)) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}
