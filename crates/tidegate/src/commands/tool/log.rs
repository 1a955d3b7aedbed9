//! `ServiceConnectionTool.log`, replaced at each run, and the same lines with component and thread in the
//! form of `ConfigMgrSetup.log`.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use executive::Clock;

/// Names of the two logs.
const SUMMARY: &str = "ServiceConnectionTool.log";
const DETAILS: &str = "ConfigMgrSetup.log";
const COMPONENT: &str = "Configuration Manager Setup";

/// The logs of one run. A folder that cannot be written keeps nobody from working.
pub struct ToolLog {
    files: Mutex<Option<(File, File)>>,
    clock: Clock,
}

impl ToolLog {
    /// Begins both logs: in the folder named, else beside the program, else in the current folder.
    pub fn begin(folder: Option<&Path>, action: &str, clock: &Clock) -> Self {
        let beside = || std::env::current_exe().ok()?.parent().map(Path::to_owned);
        let folders: Vec<PathBuf> = match folder {
            Some(folder) => vec![folder.to_owned()],
            None => beside().into_iter().chain([PathBuf::from(".")]).collect(),
        };
        let files = folders.iter().find_map(|folder| {
            let summary = File::create(folder.join(SUMMARY)).ok()?;
            let details = File::options()
                .create(true)
                .append(true)
                .open(folder.join(DETAILS))
                .ok()?;
            Some((summary, details))
        });
        let log = ToolLog {
            files: Mutex::new(files),
            clock: clock.clone(),
        };
        log.line(&format!(
            "service connection tool {}, {action}",
            env!("CARGO_PKG_VERSION")
        ));
        log
    }

    /// Adds a line to both.
    pub fn line(&self, text: &str) {
        let now = self.clock.now();
        let text: String = text
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let mut files = self
            .files
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((summary, details)) = files.as_mut() {
            let at = now.to_zoned(jiff::tz::TimeZone::UTC);
            // A log that cannot take a line has nobody to be told.
            let _ = writeln!(summary, "{} {text}", at.strftime("%Y-%m-%d %H:%M:%SZ"));
            let _ = writeln!(
                details,
                "{text}  $$<{COMPONENT}><{}+000><thread={} (0x{:X})>",
                at.strftime("%m-%d-%Y %H:%M:%S.%3f"),
                std::process::id(),
                std::process::id()
            );
        }
    }
}
