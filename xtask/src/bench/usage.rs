//! Usage data: a report at level Full over a million devices against a raw scan of the same rows, and the
//! rate of an intake against raw inserts that are as durable.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use protocol::usage::{SigningKey, UsageReport, seal};

use super::{Background, Row, local_pair, now, ours, started, time, until};

const DEVICES: usize = 1_000_000;
const REPORTS: usize = 6_000;
/// Reports of one hierarchy: below what a day takes.
const REPORTS_EACH: usize = 20;
const SENDERS: usize = 32;

pub fn run(program: &Path) -> Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    let (service, site) = local_pair(program, folder.path())?;
    ours(program, &service, &["cloud", "config", "usage"])?;
    let dir = site.display().to_string();
    let running = started(program, &site)?;
    let mut rows = collection(program, folder.path(), &site)?;
    rows.push(Row::limit(
        "memory of the site at its highest, import of the million included",
        running.memory_mib("VmHWM")?,
        "MiB",
        200.0,
    ));
    let preview = Command::new(program)
        .args(["--dir", &dir, "usage", "preview", "--level", "basic"])
        .output()?;
    drop(running);
    rows.push(intake(
        program,
        folder.path(),
        &service,
        &String::from_utf8(preview.stdout)?,
    )?);
    Ok(rows)
}

fn collection(program: &Path, folder: &Path, site: &Path) -> Result<Vec<Row>> {
    let file = folder.join("devices.csv");
    let mut text = String::from(
        "id,os,os_version,arch,client_version,processor,memory_mib,joined,managed,virtual,last_seen\n",
    );
    let systems = ["windows", "windows-server", "macos", "debian"];
    for number in 0..DEVICES {
        // Spread without a random source: the same file at each run.
        let mixed = number.wrapping_mul(2_654_435_761) % 1_000_003;
        writeln!(
            text,
            "device-{number:07},{},10.0.{},x86_64,5.0.{},Processor Model {},{},hybrid,client,{},2026-{:02}-{:02}T08:00:00Z",
            systems[mixed % 4],
            19_000 + mixed % 40,
            9_000 + mixed % 25,
            mixed % 80,
            4_096 << (mixed % 4),
            mixed % 5 == 0,
            1 + mixed % 9,
            1 + mixed % 28
        )?;
    }
    std::fs::write(&file, text)?;
    let dir = site.display().to_string();
    let imported = time(
        Command::new(program)
            .args(["--dir", &dir, "usage", "inventory", "import", "devices"])
            .arg(&file),
    )?;
    let raw_import = folder.join("raw.db");
    let raw = time(
        Command::new("sqlite3")
            .arg(&raw_import)
            .arg("CREATE TABLE d (id TEXT PRIMARY KEY, a, b, c, d, e, f, g, h, i, j)")
            .arg(format!(".import --csv --skip 1 {} d", file.display())),
    )?;
    let best = |command: &mut dyn FnMut() -> Command| -> Result<Duration> {
        let mut all = Vec::new();
        for _ in 0..5 {
            all.push(time(&mut command())?);
        }
        all.into_iter().min().context("no run")
    };
    let full = best(&mut || {
        let mut command = Command::new(program);
        command.args(["--dir", &dir, "usage", "preview", "--level", "full"]);
        command
    })?;
    let columns =
        "os, os_version, arch, client_version, processor, memory_mib, joined, managed, virtual, last_seen";
    let sums: Vec<String> = columns
        .split(", ")
        .map(|column| format!("sum({column})"))
        .collect();
    let scan = best(&mut || {
        let mut command = Command::new("sqlite3");
        command.arg(site.join("site.db")).arg(format!(
            "SELECT count(*), {} FROM inventory_devices",
            sums.join(", ")
        ));
        command
    })?;
    Ok(vec![
        Row::times(
            "report at level Full over 1,000,000 devices",
            full,
            "sqlite3 scan",
            scan,
        ),
        Row::times(
            "import of 1,000,000 devices as CSV",
            imported,
            "sqlite3 .import, one transaction",
            raw,
        ),
    ])
}

/// Sealed reports over keep-alive connections, and the same texts as inserts of their own.
fn intake(program: &Path, folder: &Path, service: &Path, report: &str) -> Result<Row> {
    let parsed: UsageReport = serde_json::from_str(report)?;
    let own = parsed.values["hierarchy.id"]
        .as_str()
        .context("no hierarchy")?
        .to_owned();
    let mut sealed: Vec<(String, Vec<u8>)> = Vec::new();
    for number in 0..REPORTS {
        let hierarchy = number / REPORTS_EACH;
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&(hierarchy as u64).to_le_bytes());
        let hash = format!("{hierarchy:064x}");
        let id = format!("{number:08x}-0000-4000-8000-000000000000");
        let text = report.replace(&own, &hash);
        let key = SigningKey::from_seed(&seed)?;
        sealed.push((
            id.clone(),
            seal(&id, &hash, &parsed.level, parsed.collected, &text, &key)?,
        ));
    }
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let (dir, listen) = (service.display().to_string(), format!("127.0.0.1:{port}"));
    let _serving = Background::start(
        program,
        &["--dir", &dir, "cloud", "serve", "--http", "--listen", &listen],
    )?;
    until("the intake", Duration::from_secs(20), || {
        TcpStream::connect(&listen).ok()
    })?;
    let start = now();
    let outcome: Result<()> = std::thread::scope(|scope| {
        let senders: Vec<_> = sealed
            .chunks(REPORTS.div_ceil(SENDERS))
            .map(|part| scope.spawn(|| send(&listen, part)))
            .collect();
        senders.into_iter().try_for_each(|sender| match sender.join() {
            Ok(sent) => sent,
            Err(_) => bail!("a sender panicked"),
        })
    });
    outcome?;
    let taken = start.elapsed();
    let quoted = report.trim_end().replace('\'', "''");
    let mut script = String::from(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE r (id TEXT PRIMARY KEY, body TEXT);\n",
    );
    for (id, _) in &sealed {
        writeln!(script, "INSERT INTO r VALUES ('{id}', '{quoted}');")?;
    }
    let inserts = folder.join("inserts.sql");
    std::fs::write(&inserts, script)?;
    let raw = time(
        Command::new("sqlite3")
            .arg(folder.join("inserts.db"))
            .stdin(Stdio::from(std::fs::File::open(&inserts)?)),
    )?;
    let rate = |took: Duration| REPORTS as f64 / took.as_secs_f64();
    Ok(Row {
        what: "sealed reports taken, verified and durable, each acknowledged by itself".into(),
        ours: format!("{:.0}/s", rate(taken)),
        peer: format!("sqlite3 inserts, each durable {:.0}/s", rate(raw)),
        ratio: format!("{:.2}", rate(taken) / rate(raw)),
    })
}

fn send(listen: &str, reports: &[(String, Vec<u8>)]) -> Result<()> {
    let mut stream = TcpStream::connect(listen)?;
    stream.set_nodelay(true)?;
    let mut answers = BufReader::new(stream.try_clone()?);
    for (id, bytes) in reports {
        let mut request = format!(
            "PUT /usage/v1/reports/{id} HTTP/1.1\r\nHost: {listen}\r\nContent-Length: {}\r\n\r\n",
            bytes.len()
        )
        .into_bytes();
        request.extend_from_slice(bytes);
        stream.write_all(&request)?;
        let mut line = String::new();
        answers.read_line(&mut line)?;
        if !line.contains(" 201 ") {
            bail!("the intake answered {line}");
        }
        let mut length = 0;
        loop {
            line.clear();
            answers.read_line(&mut line)?;
            if line.trim().is_empty() {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
        }
        std::io::copy(&mut (&mut answers).take(length), &mut std::io::sink())?;
    }
    Ok(())
}
