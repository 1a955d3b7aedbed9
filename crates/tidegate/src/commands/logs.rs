//! `tidegate logs`: the CMTrace logs of a site, merged by time, in colour, followed as they grow.
//!
//! It reads files and needs no running site. A log that rolls over is at most two files of a few
//! megabytes; a larger file is read from near its end.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use domain::component::ComponentName;
use executive::logs::format::Gravity;
use executive::logs::read::{LogLine, entries, parse};
use jiff::Timestamp;
use serde::Serialize;
use site::directory::SiteDirectory;

use super::{Context, Since};
use crate::failure::Failure;
use crate::output::{Output, Style};
use crate::words;

/// Most bytes read of one file.
const FILE_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Time between two looks with `--follow`.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Read the logs of the components, merged and in colour
///
/// Without NAME, all logs of the site are merged by time.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    tidegate logs SMS_DMP_DOWNLOADER --follow\n  \
    tidegate logs --level warnings --since 24h\n  \
    tidegate logs hman.log --lines 500")]
pub struct LogsArgs {
    /// Component, such as SMS_DMP_DOWNLOADER, or log file, such as hman.log; repeatable.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Go on with what is logged from now on, until Ctrl-C.
    #[arg(long, short)]
    follow: bool,
    /// Most entries, the last ones; 0 means all.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 100)]
    lines: usize,
    /// Only entries at least this grave.
    #[arg(long, value_enum, default_value_t = Level::All)]
    level: Level,
    /// Only since this time: RFC 3339, or an age such as 90m, 24h, 7d.
    #[arg(long, value_name = "TIME", value_parser = super::since)]
    since: Option<Since>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Level {
    All,
    Warnings,
    Errors,
}

impl Level {
    fn shows(self, gravity: Gravity) -> bool {
        match self {
            Level::All => true,
            Level::Warnings => gravity >= Gravity::Warning,
            Level::Errors => gravity >= Gravity::Error,
        }
    }
}

/// An entry with `--json`, one object per line.
#[derive(Debug, Serialize)]
struct Entry<'a> {
    time: Option<Timestamp>,
    log: &'a str,
    component: &'a str,
    severity: &'static str,
    thread: Option<u32>,
    text: &'a str,
}

/// One log file and how far it has been read.
struct Log {
    name: String,
    path: PathBuf,
    /// Device and inode of the file that `position` is in.
    identity: Option<(u64, u64)>,
    position: u64,
    /// The begin of an entry whose end is not written yet.
    unfinished: Vec<u8>,
}

/// Runs the command.
pub async fn run(arguments: LogsArgs, cx: &Context) -> Result<(), Failure> {
    let directory = SiteDirectory::new(&cx.directory).logs();
    let mut logs = choose(&arguments.names, &directory)?;
    let since = arguments.since.map(|since| since.resolve(cx.output.now()));
    let shown = |line: &LogLine| {
        arguments.level.shows(line.gravity) && since.is_none_or(|since| line.at.is_some_and(|at| at >= since))
    };
    let mut found: Vec<(String, LogLine)> = Vec::new();
    for log in &mut logs {
        let old = read_whole(&log.path.with_extension("lo_"))?;
        let mut lines = lines_of(&old);
        lines.extend(log.read_on()?);
        dated(&mut lines);
        found.extend(
            lines
                .into_iter()
                .filter(|line| shown(line))
                .map(|line| (log.name.clone(), line)),
        );
    }
    // The sort is stable: entries of one log and one time stay in their order.
    found.sort_by_key(|(_, line)| line.at);
    let skip = if arguments.lines == 0 {
        0
    } else {
        found.len().saturating_sub(arguments.lines)
    };
    for (log, line) in &found[skip..] {
        print(&cx.output, log, line)?;
    }
    if found.is_empty() && !arguments.follow {
        cx.output.note("no log entries match");
    }
    if !arguments.follow {
        return Ok(());
    }
    loop {
        tokio::time::sleep(LOOK_AGAIN).await;
        let mut news: Vec<(String, LogLine)> = Vec::new();
        for log in &mut logs {
            let mut lines = log.read_on()?;
            dated(&mut lines);
            news.extend(
                lines
                    .into_iter()
                    .filter(|line| shown(line))
                    .map(|line| (log.name.clone(), line)),
            );
        }
        news.sort_by_key(|(_, line)| line.at);
        for (log, line) in &news {
            print(&cx.output, log, line)?;
        }
    }
}

/// The logs that are meant; every log of the directory unless some are named.
fn choose(names: &[String], directory: &Path) -> Result<Vec<Log>, Failure> {
    let there = logs_in(directory)?;
    if names.is_empty() {
        return Ok(there.into_values().collect());
    }
    let mut chosen = BTreeMap::new();
    for name in names {
        let file = match name.parse::<ComponentName>() {
            Ok(component) => component.log_file().to_owned(),
            Err(_) => there
                .keys()
                .find(|file| {
                    file.eq_ignore_ascii_case(name) || file.eq_ignore_ascii_case(&format!("{name}.log"))
                })
                .cloned()
                .ok_or_else(|| {
                    let files: Vec<&str> = there.keys().map(String::as_str).collect();
                    Failure::new(format!("{} has no log {name:?}", directory.display()))
                        .hint(format!("name a component, or one of {}", files.join(", ")))
                })?,
        };
        chosen.insert(file.clone(), Log::new(file, directory));
    }
    Ok(chosen.into_values().collect())
}

fn logs_in(directory: &Path) -> Result<BTreeMap<String, Log>, Failure> {
    let unreadable = |failure: std::io::Error| {
        let problem = Failure::new(format!(
            "cannot read the logs in {}: {failure}",
            directory.display()
        ));
        match failure.kind() {
            std::io::ErrorKind::NotFound => problem.hint("name the directory of a site with --dir"),
            _ => problem,
        }
    };
    let mut logs = BTreeMap::new();
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        if let Ok(name) = entry.map_err(unreadable)?.file_name().into_string()
            && name.ends_with(".log")
        {
            logs.insert(name.clone(), Log::new(name, directory));
        }
    }
    Ok(logs)
}

impl Log {
    fn new(name: String, directory: &Path) -> Self {
        let path = directory.join(&name);
        Log {
            name,
            path,
            identity: None,
            position: 0,
            unfinished: Vec::new(),
        }
    }

    /// Entries written since the last look. When the log rolled over in between, the rest of the old
    /// file comes first.
    fn read_on(&mut self) -> Result<Vec<LogLine>, Failure> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(failure) if failure.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(failure) => return Err(unreadable(&self.path, &failure)),
        };
        let failed = |failure: std::io::Error| unreadable(&self.path, &failure);
        let facts = file.metadata().map_err(failed)?;
        let identity = (facts.dev(), facts.ino());
        let mut bytes = std::mem::take(&mut self.unfinished);
        let before = self.identity.replace(identity);
        if before.is_some_and(|before| before != identity) {
            bytes.extend(rest_of_rolled_over(&self.path, before, self.position)?);
            self.position = 0;
        }
        if facts.len() < self.position {
            // Cut by hand: begin again.
            self.position = 0;
        }
        let from = self.position.max(facts.len().saturating_sub(FILE_BYTES_MAX));
        file.seek(SeekFrom::Start(from)).map_err(failed)?;
        let read = file
            .take(FILE_BYTES_MAX)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        self.position = from + read as u64;
        let whole = bytes
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |end| end + 1);
        self.unfinished = bytes.split_off(whole);
        if self.unfinished.len() as u64 > FILE_BYTES_MAX {
            self.unfinished.clear();
        }
        Ok(lines_of(&bytes))
    }
}

fn rest_of_rolled_over(path: &Path, before: Option<(u64, u64)>, position: u64) -> Result<Vec<u8>, Failure> {
    let old = path.with_extension("lo_");
    let Ok(mut file) = File::open(&old) else {
        return Ok(Vec::new());
    };
    let failed = |failure: std::io::Error| unreadable(&old, &failure);
    let facts = file.metadata().map_err(failed)?;
    if Some((facts.dev(), facts.ino())) != before {
        return Ok(Vec::new());
    }
    let mut rest = Vec::new();
    file.seek(SeekFrom::Start(position)).map_err(failed)?;
    file.take(FILE_BYTES_MAX).read_to_end(&mut rest).map_err(failed)?;
    Ok(rest)
}

fn read_whole(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(failure) if failure.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(failure) => return Err(unreadable(path, &failure)),
    };
    let failed = |failure: std::io::Error| unreadable(path, &failure);
    let length = file.metadata().map_err(failed)?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(FILE_BYTES_MAX)))
        .map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    Ok(bytes)
}

fn unreadable(path: &Path, failure: &std::io::Error) -> Failure {
    Failure::new(format!("cannot read {}: {failure}", path.display()))
}

fn lines_of(bytes: &[u8]) -> Vec<LogLine> {
    entries(&String::from_utf8_lossy(bytes))
        .into_iter()
        .filter(|entry| !entry.trim().is_empty())
        .map(parse)
        .collect()
}

/// A line without a time belongs to the entry before it.
fn dated(lines: &mut [LogLine]) {
    let mut last = None;
    for line in lines {
        match line.at {
            Some(_) => last = line.at,
            None => line.at = last,
        }
    }
}

fn print(output: &Output, log: &str, line: &LogLine) -> Result<(), Failure> {
    if output.json {
        return output.json_line(&Entry {
            time: line.at,
            log,
            component: &line.component,
            severity: match line.gravity {
                Gravity::Verbose => "verbose",
                Gravity::Information => "information",
                Gravity::Warning => "warning",
                Gravity::Error => "error",
            },
            thread: line.thread,
            text: &line.text,
        });
    }
    let style = match line.gravity {
        Gravity::Verbose => Style::Faint,
        Gravity::Information => Style::Plain,
        Gravity::Warning => Style::Warning,
        Gravity::Error => Style::Bad,
    };
    let time = line.at.map_or_else(String::new, |at| {
        at.to_zoned(output.zone.clone())
            .strftime("%Y-%m-%d %H:%M:%S%.3f")
            .to_string()
    });
    let component = if line.component.is_empty() {
        log
    } else {
        &line.component
    };
    output.line(format_args!(
        "{} {} {}",
        output.styled(Style::Faint, time),
        output.styled(Style::Bold, format_args!("{:<28}", words::harmless(component))),
        output.styled(style, words::harmless(&line.text))
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "one  $$<SMS_A><11-21-2026 15:11:46.039+000><thread=1 (0x0001)>\n";
    const TWO: &str = "two  $$<SMS_A><11-21-2026 15:11:47.039+000><thread=1 (0x0001)>\n";
    const THREE: &str = "three  $$<SMS_A><11-21-2026 15:11:48.039+000><thread=1 (0x0001)>\n";

    fn texts(lines: Vec<LogLine>) -> Vec<String> {
        lines.into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn a_growing_log_is_read_on_over_a_roll_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let mut log = Log::new("a.log".to_owned(), folder.path());
        assert!(log.read_on().unwrap().is_empty());
        std::fs::write(&path, ONE).unwrap();
        assert_eq!(texts(log.read_on().unwrap()), ["one"]);
        std::fs::write(&path, format!("{ONE}{}", &TWO[..10])).unwrap();
        assert!(log.read_on().unwrap().is_empty());
        std::fs::write(&path, format!("{ONE}{TWO}")).unwrap();
        std::fs::rename(&path, folder.path().join("a.lo_")).unwrap();
        std::fs::write(&path, THREE).unwrap();
        assert_eq!(texts(log.read_on().unwrap()), ["two", "three"]);
        std::fs::write(&path, "").unwrap();
        assert!(log.read_on().unwrap().is_empty());
        std::fs::write(&path, ONE).unwrap();
        assert_eq!(texts(log.read_on().unwrap()), ["one"]);
    }

    #[test]
    fn logs_are_chosen_by_component_or_file() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["hman.log", "CMUpdate.log", "hman.lo_", "notes.txt"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let check = |names: &[&str], expected: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let logs = choose(&names, folder.path()).unwrap();
            assert_eq!(
                logs.iter().map(|log| log.name.as_str()).collect::<Vec<_>>(),
                expected
            );
        };
        check(&[], &["CMUpdate.log", "hman.log"]);
        check(&["sms_hierarchy_manager"], &["hman.log"]);
        check(
            &["HMAN", "cmupdate.log", "hman.log"],
            &["CMUpdate.log", "hman.log"],
        );
        assert!(choose(&["nothing".to_owned()], folder.path()).is_err());
    }

    #[test]
    fn undated_lines_follow_their_entry() {
        let mut lines = lines_of(format!("{TWO}a trace\n").as_bytes());
        dated(&mut lines);
        assert_eq!(lines[0].at, lines[1].at);
    }
}
