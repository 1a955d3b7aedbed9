//! An idle site: memory, wake-ups, time to start.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::{Background, Row, local_pair, now, until};

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
    let ticks = |pid: u32| -> Option<u64> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
    };
    let before = ticks(running.0.id()).unwrap_or(0);
    std::thread::sleep(Duration::from_secs(10));
    let used_ms = (ticks(running.0.id()).unwrap_or(0) - before) as f64 * 10.0;
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
