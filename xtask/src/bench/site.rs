//! An idle site: memory, wake-ups, time to start.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::{Background, ITSELF, Row, local_pair, now, processor_seconds, until};

pub fn run(program: &Path) -> Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    let (_service, site) = local_pair(program, folder.path())?;
    let dir = site.display().to_string();
    let mut starts = Vec::new();
    for _ in 0..5 {
        let start = now();
        let _running = Background::start(program, &["run", "--dir", &dir])?;
        let socket = site.join("run/api.sock");
        until("the start", Duration::from_secs(20), || {
            std::os::unix::net::UnixStream::connect(&socket).ok()
        })?;
        starts.push(start.elapsed());
    }
    starts.sort();
    let running = Background::start(program, &["run", "--dir", &dir])?;
    std::thread::sleep(Duration::from_secs(5));
    let pid = running.0.id().to_string();
    let before = processor_seconds(&pid, ITSELF)?;
    std::thread::sleep(Duration::from_secs(10));
    let used_ms = (processor_seconds(&pid, ITSELF)? - before) * 1000.0;
    Ok(vec![
        Row::limit(
            "start to an answering API, median of 5",
            starts[2].as_secs_f64() * 1000.0,
            "ms",
            1000.0,
        ),
        Row::limit(
            "resident memory of an idle site",
            running.memory_mib("VmRSS")?,
            "MiB",
            60.0,
        ),
        Row::limit("processor time of an idle site in 10 s", used_ms, "ms", 100.0),
    ])
}
