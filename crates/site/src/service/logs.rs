//! The ends of the component logs, merged by time.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use domain::component::ComponentName;
use executive::logs::read::{LogLine, entries, parse};

use super::{ServiceError, SiteService};

/// Bytes read from the end of each log.
const TAIL_BYTES: u64 = 256 * 1024;

impl SiteService {
    /// The newest lines of these logs, oldest first. Only the logs of components are read, by names of ours.
    pub async fn log_lines(&self, names: Vec<ComponentName>) -> Result<Vec<LogLine>, ServiceError> {
        let folder = self.context.directory.logs();
        let lines = tokio::task::spawn_blocking(move || {
            let mut lines = Vec::new();
            for name in names {
                match tail(&folder.join(name.log_file())) {
                    Ok(text) => lines.extend(entries(&text).into_iter().map(parse)),
                    Err(failure) if failure.kind() == io::ErrorKind::NotFound => {}
                    Err(failure) => return Err(failure),
                }
            }
            lines.sort_by_key(|line| line.at);
            Ok(lines)
        });
        lines.await?.map_err(|failure| ServiceError::Internal {
            source: Box::new(failure),
        })
    }
}

/// The end of a file, from the begin of a line on.
fn tail(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let from = file.metadata()?.len().saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok(match from {
        0 => text,
        _ => text
            .split_once('\n')
            .map(|(_, rest)| rest.to_owned())
            .unwrap_or_default(),
    })
}
