//! Lists over much: 10,000 packages and 1,000,000 status messages, a page at a time, against the same pages by sqlite3;
//! and what live views cost.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{Background, Row, catalogue, local_pair, now, started, until};

const MESSAGES: u32 = 1_000_000;
/// Runs of which the median counts.
const RUNS: usize = 9;
const VIEWS: usize = 30;
/// How long live views are open.
const LOOKED_AT: Duration = Duration::from_secs(300);
/// How long before that: what a process takes once is no growth.
const WARMED_UP: Duration = Duration::from_secs(60);

/// A page of the API, the same page in SQL, and what it is.
const PAGES: [(&str, &str, &str); 5] = [
    (
        "newest 100 of 1,000,000 status messages",
        "/status/messages?limit=100",
        "SELECT * FROM status_message ORDER BY id DESC LIMIT 100",
    ),
    (
        "100 from the middle of 1,000,000 status messages",
        "/status/messages?limit=100&before=500000",
        "SELECT * FROM status_message WHERE id < 500000 ORDER BY id DESC LIMIT 100",
    ),
    (
        "newest 100 errors of one component",
        "/status/messages?limit=100&component=SMS_DMP_DOWNLOADER&severity=error",
        "SELECT * FROM status_message WHERE component = 'SMS_DMP_DOWNLOADER' AND severity = 3221225472 ORDER BY id DESC LIMIT 100",
    ),
    (
        "health of all components by their messages",
        "/status/components",
        "SELECT component, severity, count(*) FROM status_message WHERE recorded_at >= strftime('%s', 'now', 'start of day') * 1000 GROUP BY 1, 2",
    ),
    (
        "newest 100 of 10,000 packages",
        "/updates?all=true&limit=100",
        "SELECT * FROM package ORDER BY released_at DESC LIMIT 100",
    ),
];

pub fn run(program: &Path) -> Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    let (service, site) = local_pair(program, folder.path())?;
    catalogue::fill_catalogue(&service).context("cannot write the catalogue")?;
    let database = site.join("site.db");
    // The schema is there; the messages come while nothing runs.
    sql(&database, &fill())?;
    let running = started(program, &site)?;
    until("the packages", Duration::from_secs(120), || {
        let text = get(&site, "/updates?all=true&limit=1000").ok()?;
        (text.matches("\"guid\"").count() >= 1000 && !text.contains("\"code\":0,")).then_some(())
    })?;
    let mut rows = Vec::new();
    for (what, path, query) in PAGES {
        let ours = median(|| get(&site, path).map(drop))?;
        let peer = median(|| sql(&database, query).map(drop))?;
        rows.push(Row::times(what, ours, "sqlite3", peer));
    }
    rows.push(views(&running, &site)?);
    Ok(rows)
}

/// A million messages of some components, one in twenty an error.
fn fill() -> String {
    format!(
        "PRAGMA synchronous = OFF; BEGIN;
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MESSAGES})
         INSERT INTO status_message (message_id, severity, message_type, component, machine, site_code, process_id,
             recorded_at, message_text, insertion_strings)
         SELECT 60000 + i % 50, CASE WHEN i % 20 = 0 THEN 3221225472 WHEN i % 7 = 0 THEN 2147483648 ELSE 1073741824 END, 512,
             CASE i % 4 WHEN 0 THEN 'SMS_DMP_DOWNLOADER' WHEN 1 THEN 'SMS_HIERARCHY_MANAGER' WHEN 2 THEN 'SMS_EXECUTIVE'
                 ELSE 'SMS_DISTRIBUTION_MANAGER' END,
             'bench', 'BEN', 1, (strftime('%s', 'now') - ({MESSAGES} - i)) * 1000, 'Message ' || i || ' of the benchmark.', '[]'
         FROM n; COMMIT;"
    )
}

fn sql(database: &Path, statement: &str) -> Result<String> {
    let output = Command::new("sqlite3").arg(database).arg(statement).output()?;
    if !output.status.success() {
        bail!("sqlite3 failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn get(site: &Path, path: &str) -> Result<String> {
    let output = curl(site, path).output()?;
    if !output.status.success() {
        bail!("GET {path} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn curl(site: &Path, path: &str) -> Command {
    let mut command = Command::new("curl");
    command.args([
        "--silent",
        "--show-error",
        "--fail",
        "--no-buffer",
        "--unix-socket",
    ]);
    command.arg(site.join("run/api.sock"));
    command.arg(format!("http://localhost/v1{path}"));
    command
}

fn median(mut work: impl FnMut() -> Result<()>) -> Result<Duration> {
    let mut all = Vec::new();
    for _ in 0..RUNS {
        let start = now();
        work()?;
        all.push(start.elapsed());
    }
    all.sort();
    Ok(all[RUNS / 2])
}

/// Memory of the site after many live views were open for a while, against what it was when they had just begun.
fn views(running: &Background, site: &Path) -> Result<Row> {
    let mut open: Vec<Child> = Vec::new();
    for _ in 0..VIEWS {
        let path = "/events?path=/updates%3Fall=true%26limit=100";
        open.push(curl(site, path).stdout(Stdio::null()).spawn()?);
    }
    std::thread::sleep(WARMED_UP);
    let before = running.memory_mib("VmRSS")?;
    std::thread::sleep(LOOKED_AT);
    let after = running.memory_mib("VmRSS")?;
    for mut view in open {
        view.kill()?;
        view.wait()?;
    }
    Ok(Row {
        what: format!(
            "memory of the site, {VIEWS} live views of 10,000 packages, {} s later",
            LOOKED_AT.as_secs()
        ),
        ours: format!("{after:.1} MiB"),
        peer: format!("when they began {before:.1} MiB"),
        ratio: format!("{:.2}", after / before),
    })
}
