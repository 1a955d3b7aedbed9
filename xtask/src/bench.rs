//! `cargo xtask bench`: what we hold ourselves to, each as a ratio to a peer in the same run.
//!
//! The built program is measured from outside, as a user runs it. Nothing here fails on a slow machine.

mod catalogue;
mod check;
mod console;
mod deltas;
mod download;
mod media;
mod publish;
mod rebuild;
mod site;
mod study;
mod usage;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

pub use deltas::run as delta;

/// Every benchmark.
pub const NAMES: [&str; 10] = [
    "download",
    "catalogue",
    "publish",
    "site",
    "check",
    "usage",
    "media",
    "rebuild",
    "console",
    "study",
];

/// A row of the table.
pub struct Row {
    pub what: String,
    pub ours: String,
    pub peer: String,
    pub ratio: String,
}

impl Row {
    /// Two durations; the ratio says how many times the peer's time ours is.
    fn times(what: impl Into<String>, ours: Duration, peer_name: &str, peer: Duration) -> Row {
        Row {
            what: what.into(),
            ours: format!("{:.2} s", ours.as_secs_f64()),
            peer: format!("{peer_name} {:.2} s", peer.as_secs_f64()),
            ratio: format!("{:.2}", ours.as_secs_f64() / peer.as_secs_f64().max(1e-9)),
        }
    }

    /// A figure against a limit.
    fn limit(what: impl Into<String>, ours: f64, unit: &str, limit: f64) -> Row {
        Row {
            what: what.into(),
            ours: format!("{ours:.1} {unit}"),
            peer: format!("limit {limit:.0} {unit}"),
            ratio: format!("{:.2}", ours / limit),
        }
    }
}

pub fn run(names: &[&str]) -> Result<()> {
    let (pairs, names): (Vec<&str>, Vec<&str>) = names.iter().partition(|name| name.starts_with("study/"));
    let pairs: Vec<&str> = pairs
        .iter()
        .filter_map(|pair| pair.strip_prefix("study/"))
        .collect();
    if let Some(unknown) = names.iter().find(|name| !NAMES.contains(name)) {
        bail!("there is no benchmark {unknown}; there are {}", NAMES.join(", "));
    }
    let program = build("tidegate")?;
    println!("| what | ours | peer | ratio |\n| --- | --- | --- | --- |");
    for name in NAMES
        .iter()
        // The study takes the better part of an hour: it is asked for by name.
        .filter(|name| match **name {
            "study" => names.contains(name) || !pairs.is_empty(),
            _ => names.contains(name) || names.is_empty() && pairs.is_empty(),
        })
    {
        let rows = match *name {
            "download" => download::run(&program)?,
            "catalogue" => catalogue::run(&program)?,
            "publish" => publish::run(&program)?,
            "check" => check::run(&program)?,
            "usage" => usage::run(&program)?,
            "media" => media::run(&program)?,
            "rebuild" => rebuild::run(&program)?,
            "console" => console::run(&program)?,
            "study" => study::run(&program, &pairs)?,
            _ => site::run(&program)?,
        };
        for row in rows {
            println!("| {} | {} | {} | {} |", row.what, row.ours, row.peer, row.ratio);
        }
    }
    Ok(())
}

/// Builds a program of ours as it is handed out.
fn build(package: &str) -> Result<PathBuf> {
    let output = Command::new("cargo")
        .args([
            "build",
            "--release",
            "--locked",
            "--package",
            package,
            "--message-format",
            "json",
        ])
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|message| message["executable"].as_str().map(PathBuf::from))
        .next_back()
        .context("cargo built no program")
}

/// The moment now, for differences.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

/// How long a command takes; it has to succeed.
fn time(command: &mut Command) -> Result<Duration> {
    let start = now();
    let output = command
        .output()
        .with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(start.elapsed())
}

/// What a command took.
struct Measured {
    /// Seconds by the clock.
    clock: f64,
    /// Seconds of processor time, user and system, of all its threads.
    processor: f64,
    /// Most resident memory, in MiB.
    memory: f64,
}

/// How often memory is looked at.
const LOOKED_AT: Duration = Duration::from_millis(5);

/// Runs a command, which has to succeed.
fn measured(command: &mut Command) -> Result<Measured> {
    let before = processor_seconds("self", ENDED_CHILDREN)?;
    let start = now();
    let mut child = begun(command)?;
    let process = child.id();
    let (running, ended) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let memory = scope.spawn(move || {
            let mut most = 0.0_f64;
            loop {
                // There is none any more once it has ended.
                most = most.max(process_memory_mib(process, "VmHWM").unwrap_or_default());
                if ended.recv_timeout(LOOKED_AT) == Err(std::sync::mpsc::RecvTimeoutError::Disconnected) {
                    return most;
                }
            }
        });
        let status = child.wait();
        let clock = start.elapsed().as_secs_f64();
        drop(running);
        let memory = memory
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        if !status?.success() {
            bail!("{command:?} failed");
        }
        Ok(Measured {
            clock,
            processor: processor_seconds("self", ENDED_CHILDREN)? - before,
            memory,
        })
    })
}

fn begun(command: &mut Command) -> Result<std::process::Child> {
    command
        .stdout(std::process::Stdio::null())
        .spawn()
        .with_context(|| format!("cannot run {command:?}"))
}

/// Runs on copies of a folder, of which the middle one by time counts.
const RUNS: usize = 5;

/// A command for a folder that it changes.
struct OnFolder {
    folder: PathBuf,
    command: Box<dyn Fn(&Path) -> Command>,
}

impl OnFolder {
    /// The command for another copy, after everything that was written before is no part any more of what is measured.
    fn on_copy(&self, number: usize) -> Result<Command> {
        let copy = self.folder.with_extension(number.to_string());
        time(Command::new("cp").arg("-a").arg(&self.folder).arg(&copy))?;
        time(&mut Command::new("sync"))?;
        // It stays until the end: files are made slowly for a while where many were removed.
        Ok((self.command)(&copy))
    }
}

/// Runs both commands on copies, in turns: so that neither chance decides nor what either of them does to the disk.
fn measured_in_turns(commands: [&OnFolder; 2]) -> Result<[Measured; 2]> {
    let mut runs = [Vec::new(), Vec::new()];
    for number in 0..RUNS {
        for (on_folder, runs) in commands.iter().zip(&mut runs) {
            let mut command = on_folder.on_copy(number)?;
            let (before, start) = (processor_seconds("self", ENDED_CHILDREN)?, now());
            let status = begun(&mut command)?.wait()?;
            let clock = start.elapsed().as_secs_f64();
            if !status.success() {
                bail!("{command:?} failed");
            }
            runs.push((clock, processor_seconds("self", ENDED_CHILDREN)? - before));
        }
    }
    let middle = |on_folder: &OnFolder, mut runs: Vec<(f64, f64)>| {
        runs.sort_by(|one, other| one.0.total_cmp(&other.0));
        let (clock, processor) = runs[RUNS / 2];
        // Whoever looks at memory all the time takes time from a command that keeps all cores busy: a run of its own.
        let Measured { memory, .. } = measured(&mut on_folder.on_copy(RUNS)?)?;
        anyhow::Ok(Measured {
            clock,
            processor,
            memory,
        })
    };
    let ([ours, theirs], [our_runs, their_runs]) = (commands, runs);
    Ok([middle(ours, our_runs)?, middle(theirs, their_runs)?])
}

/// A program of ours in the background, ended by process id.
struct Background(std::process::Child);

impl Background {
    fn start(program: &Path, arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        Ok(Background(
            command
                .spawn()
                .with_context(|| format!("cannot start {command:?}"))?,
        ))
    }

    /// A figure of /proc/PID/status in MiB.
    fn memory_mib(&self, field: &str) -> Result<f64> {
        process_memory_mib(self.0.id(), field)
    }
}

/// A figure of /proc/PID/status in MiB.
fn process_memory_mib(pid: u32, field: &str) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text
        .lines()
        .find(|line| line.starts_with(field))
        .context("no such figure")?;
    let kib: f64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
    Ok(kib / 1024.0)
}

/// Where `/proc/PID/stat` has the processor time of the process itself: user, system (proc_pid_stat(5)).
const ITSELF: [usize; 2] = [11, 12];
/// The same of children that ended.
const ENDED_CHILDREN: [usize; 2] = [13, 14];

/// Processor time in seconds; the kernel counts in hundredths.
fn processor_seconds(pid: &str, fields: [usize; 2]) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let all = text.rsplit_once(')').context("not a process")?.1;
    let all: Vec<&str> = all.split_whitespace().collect();
    let mut ticks = 0;
    for field in fields {
        ticks += all.get(field).context("no such figure")?.parse::<u64>()?;
    }
    Ok(ticks as f64 / 100.0)
}

impl Drop for Background {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs one of our commands and returns what it prints.
fn ours(program: &Path, dir: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .arg("--dir")
        .arg(dir)
        .args(arguments)
        .output()?;
    if !output.status.success() {
        bail!(
            "tidegate {arguments:?} failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Asks again until there is an answer.
fn until<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Result<T> {
    let start = now();
    loop {
        if let Some(answer) = ask() {
            return Ok(answer);
        }
        if start.elapsed() > limit {
            bail!("{what} did not happen within {limit:?}");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A site of its own for a feed in a folder.
fn site_for(program: &Path, dir: &Path, feed_url: &str, root: &Path, ca: Option<&Path>) -> Result<()> {
    let root = root.display().to_string();
    let mut arguments = vec![
        "site", "init", "--code", "BEN", "--name", "Bench", "--feed", feed_url, "--root", &root,
    ];
    arguments.extend(["--product-version", "5.00.9096.1000"]);
    let ca = ca.map(|ca| ca.display().to_string());
    if let Some(ca) = &ca {
        arguments.extend(["--feed-ca", ca]);
    }
    ours(program, dir, &arguments).map(drop)
}

/// A service without packages, and a site that reads its folder: their folders.
fn local_pair(program: &Path, folder: &Path) -> Result<(PathBuf, PathBuf)> {
    let (service, site) = (folder.join("service"), folder.join("site"));
    ours(
        program,
        &service,
        &["cloud", "init", "--name", "Bench", "--host", "localhost"],
    )?;
    let repository = service.join("repository");
    let url = format!("file://{}", repository.display());
    site_for(
        program,
        &site,
        &url,
        &repository.join("metadata/1.root.json"),
        None,
    )?;
    Ok((service, site))
}

/// A site of ours in the background, once it answers.
fn started(program: &Path, site: &Path) -> Result<Background> {
    let running = Background::start(program, &["run", "--dir", &site.display().to_string()])?;
    let socket = site.join("run/api.sock");
    until("the start", Duration::from_secs(20), || {
        std::os::unix::net::UnixStream::connect(&socket).ok()
    })?;
    Ok(running)
}

/// Seconds between the first state messages with these numbers, asked of the site's local API.
fn between(dir: &Path, from: u64, to: u64) -> Option<Duration> {
    let output = Command::new("curl")
        .args(["--silent", "--fail", "--unix-socket"])
        .arg(dir.join("run/api.sock"))
        .arg("http://localhost/v1/status/state-messages?limit=200")
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let messages: serde_json::Value = serde_json::from_str(&text).ok()?;
    let at = |number: u64| -> Option<jiff::Timestamp> {
        let list = messages.as_array()?;
        let found = list.iter().rev().find(|message| message["number"] == number)?;
        found["time"].as_str()?.parse().ok()
    };
    Duration::try_from(at(to)?.duration_since(at(from)?)).ok()
}

/// Pseudo-random bytes, the same for the same seed.
fn fill(path: &Path, length: usize, seed: u64) -> Result<()> {
    use rand_core::{RngCore, SeedableRng};
    use std::io::Write;
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    let mut chunk = vec![0; 1 << 20];
    let mut left = length;
    while left > 0 {
        random.fill_bytes(&mut chunk);
        let part = left.min(chunk.len());
        file.write_all(&chunk[..part])?;
        left -= part;
    }
    Ok(file.flush()?)
}
