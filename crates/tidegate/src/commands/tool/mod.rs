//! `tidegate tool`: the service connection tool.

mod log;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand};
use cloud_client::{Credentials, PROXY_PORT, ProxySettings};
use executive::Clock;
use protocol::api::{ImportInfo, ImportRequest, PrepareRequest, RegisterRequest, RegisteredInfo};
use serde_json::json;
use site::offline::connect::{ConnectError, ConnectOptions, Connected, Scope, Step, connect};
use zeroize::Zeroizing;

use super::Context;
use super::check::password;
use crate::failure::Failure;
use crate::progress::{Bytes, Progress};
use crate::table::Table;
use crate::words;

use log::ToolLog;

/// Time between two looks at an import.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// The service connection tool: updates for a hierarchy without internet, by a medium
///
/// On the site: `prepare` writes a cabinet. On any machine with internet access: `connect` uploads what it
/// carries and puts what the hierarchies lack into a folder. On the site: `import` takes it in. The
/// original's spellings work too: -prepare -usagedatadest FILE, in any case, with - or /.
#[derive(Debug, Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 wrong mode, 4 wrong release, 5 nothing for this hierarchy, \
        6 damaged or not signed, 7 older than what is known or expired, 8 no room, 9 the internet or the vendor, 10 not complete."
)]
pub struct ToolArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// On the site: write the cabinet that `connect` reads: the report of usage data, and what the site has.
    #[command(after_help = "Example:\n  tidegate tool prepare --usagedatadest /media/stick/plant7.cab")]
    Prepare {
        /// File to write.
        #[arg(long, value_name = "FILE.cab")]
        usagedatadest: PathBuf,
        /// Encrypt the report of usage data, so that only the vendor reads it on the way.
        #[arg(long)]
        encrypt: bool,
        #[command(flatten)]
        log: LogArgs,
    },
    /// On the site: write the report of usage data as CSV or JSON, exactly as it would be sent.
    Export {
        /// File ending in .csv or .json.
        #[arg(long, value_name = "FILE")]
        dest: PathBuf,
        #[command(flatten)]
        log: LogArgs,
    },
    /// With internet access: upload the reports, and put what the hierarchies lack on the medium.
    #[command(
        group = ArgGroup::new("scope"),
        after_help = "Example:\n  tidegate tool connect --usagedatasrc /media/stick --updatepackdest /media/stick/updates"
    )]
    Connect {
        /// A cabinet, or a folder of several.
        #[arg(long, value_name = "FILE|FOLDER")]
        usagedatasrc: PathBuf,
        /// Folder to put updates into.
        #[arg(long, value_name = "FOLDER")]
        updatepackdest: PathBuf,
        /// Everything that is not withdrawn.
        #[arg(long, group = "scope")]
        downloadall: bool,
        /// Every hotfix, and no update.
        #[arg(long, group = "scope")]
        downloadhotfix: bool,
        /// Updates and hotfixes newer than the site.
        #[arg(long, group = "scope")]
        downloadsiteversion: bool,
        /// Say what would be fetched and how large it is; upload and fetch nothing.
        #[arg(long)]
        plan: bool,
        /// Proxy, `host` or `host:port`.
        #[arg(long, value_name = "HOST[:PORT]")]
        proxyserveruri: Option<String>,
        /// Account for the proxy; its password is asked for, or read from a file.
        #[arg(long, value_name = "USER", requires = "proxyserveruri")]
        proxyusername: Option<String>,
        /// File with the account's password; `-` reads it from standard input.
        #[arg(long, value_name = "FILE", requires = "proxyusername")]
        proxypasswordfile: Option<PathBuf>,
        #[command(flatten)]
        log: LogArgs,
    },
    /// On the site, in either mode: take in an update that the vendor handed over outside the catalogue.
    #[command(after_help = "Example:\n  tidegate tool register /media/stick/kb4711.update")]
    Register {
        /// File ending in .update.
        #[arg(value_name = "FILE.update")]
        file: PathBuf,
        #[command(flatten)]
        log: LogArgs,
    },
    /// On the site: take in what `connect` put into a folder.
    #[command(after_help = "Example:\n  tidegate tool import --updatepacksrc /media/stick/updates")]
    Import {
        /// Folder of `connect`.
        #[arg(long, value_name = "FOLDER")]
        updatepacksrc: PathBuf,
        #[command(flatten)]
        log: LogArgs,
    },
}

#[derive(Debug, Args)]
struct LogArgs {
    /// Folder for ServiceConnectionTool.log, replaced at each run; beside the program, else the current folder.
    #[arg(long, value_name = "FOLDER")]
    logdir: Option<PathBuf>,
}

/// A failure with the exit code that tells which.
struct Ended {
    failure: Failure,
    code: u8,
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        let code = match failure {
            Failure::Usage { .. } => 2,
            Failure::Found(code) => code,
            _ => 1,
        };
        Ended { failure, code }
    }
}

/// Runs the command.
pub async fn run(arguments: ToolArgs, cx: &Context) -> Result<(), Failure> {
    let (name, folder) = match &arguments.verb {
        Verb::Prepare { log, .. } => ("prepare", &log.logdir),
        Verb::Export { log, .. } => ("export", &log.logdir),
        Verb::Connect { log, .. } => ("connect", &log.logdir),
        Verb::Import { log, .. } => ("import", &log.logdir),
        Verb::Register { log, .. } => ("register", &log.logdir),
    };
    let log = ToolLog::begin(folder.as_deref(), name, &Clock::System);
    let ended = match arguments.verb {
        Verb::Prepare {
            usagedatadest,
            encrypt,
            ..
        } => prepare(&usagedatadest, encrypt, cx, &log).await,
        Verb::Export { dest, .. } => super::usage::export(&dest, cx).await.map_err(Ended::from),
        Verb::Import { updatepacksrc, .. } => import(&updatepacksrc, cx, &log).await,
        Verb::Register { file, .. } => register(&file, cx, &log).await,
        connect @ Verb::Connect { .. } => run_connect(connect, cx, &log).await,
    };
    match ended {
        Ok(()) => {
            log.line("done");
            Ok(())
        }
        Err(Ended { failure, code }) => {
            log.line(&format!("failed, exit code {code}: {}", failure.words()));
            cx.output.failure(&failure);
            Err(Failure::Found(code))
        }
    }
}

async fn prepare(file: &Path, encrypted: bool, cx: &Context, log: &ToolLog) -> Result<(), Ended> {
    if file.file_name().is_none() || file.is_dir() {
        return Err(
            Failure::usage(format!("{} names no file; write FOLDER/NAME.cab", file.display())).into(),
        );
    }
    log.line(&format!("preparing {}", file.display()));
    let client = cx.client()?;
    let bytes = client
        .post_for_bytes("/tool/prepare", &PrepareRequest { encrypted })
        .await
        .map_err(of_site)?;
    site::directory::write_durably(file, &bytes, 0o600)
        .map_err(|failure| Failure::new(format!("cannot write {}: {failure}", file.display())))?;
    log.line(&format!("{} bytes", bytes.len()));
    if cx.output.json {
        cx.output
            .json(&json!({"file": file.display().to_string(), "bytes": bytes.len()}))?;
        return Ok(());
    }
    cx.output.line(format_args!(
        "{}, {}",
        file.display(),
        words::bytes(bytes.len() as u64)
    ))?;
    cx.output.note(format_args!(
        "next, on a machine with internet access: {}",
        cx.output
            .command("tidegate tool connect --usagedatasrc FILE.cab --updatepackdest FOLDER")
    ));
    Ok(())
}

/// A refusal of the site because it is online.
fn of_site(failure: Failure) -> Ended {
    let code = if failure.words().contains("is online") {
        3
    } else {
        1
    };
    Ended { failure, code }
}

async fn register(file: &Path, cx: &Context, log: &ToolLog) -> Result<(), Ended> {
    let file = std::path::absolute(file)
        .map_err(|failure| Failure::usage(format!("{}: {failure}", file.display())))?;
    log.line(&format!("registering {}", file.display()));
    let request = RegisterRequest {
        file: file.display().to_string(),
    };
    let registered = cx.client()?.post_for("/tool/register", &request).await;
    let registered: RegisteredInfo = registered.map_err(|failure| Ended { failure, code: 6 })?;
    log.line(&format!("{} {}", registered.name, registered.guid));
    if cx.output.json {
        return Ok(cx.output.json(&registered)?);
    }
    Ok(cx.output.line(format_args!(
        "{} ({}) is registered; `tidegate updates list` shows it when it applies",
        words::harmless(&registered.name),
        registered.guid
    ))?)
}

async fn import(folder: &Path, cx: &Context, log: &ToolLog) -> Result<(), Ended> {
    let folder = std::path::absolute(folder)
        .map_err(|failure| Failure::usage(format!("{}: {failure}", folder.display())))?;
    log.line(&format!("importing {}", folder.display()));
    let client = cx.client()?;
    let request = ImportRequest {
        folder: folder.display().to_string(),
    };
    let asked: ImportInfo = client.post_for("/tool/import", &request).await.map_err(of_site)?;
    let info = loop {
        let info: ImportInfo = client.get("/tool/import").await?;
        if info.id != asked.id {
            return Err(Failure::new("another import took the place of this one").into());
        }
        if info.done {
            break info;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    };
    for package in &info.packages {
        log.line(&format!(
            "{} {}: {} file(s) missing",
            package.name, package.guid, package.missing_files
        ));
    }
    if let Some(receipt) = &info.receipt {
        log.line(&format!("usage data: {receipt}"));
    }
    show_import(&info, cx)?;
    let code = match info.verdict.as_str() {
        "done" => return Ok(()),
        "version" => 4,
        "other-hierarchy" => 5,
        "damaged" | "missing" => 6,
        "older" | "expired" => 7,
        "storage" => 8,
        "incomplete" => 10,
        _ => 1,
    };
    let failure = Failure::new(format!("the medium in {}: {}", info.folder, info.detail));
    Err(Ended { failure, code })
}

fn show_import(info: &ImportInfo, cx: &Context) -> Result<(), Failure> {
    if cx.output.json {
        return cx.output.json(info);
    }
    if !info.packages.is_empty() {
        let mut table = Table::new(&["GUID", "Name", "Version", "Missing files"]);
        table.right(3);
        for package in &info.packages {
            table.row([
                package.guid.as_str().into(),
                words::harmless(&package.name).into(),
                package.version.as_str().into(),
                package.missing_files.into(),
            ]);
        }
        table.print(&cx.output)?;
    }
    if let Some(receipt) = &info.receipt {
        cx.output.note(format_args!("usage data: {receipt}"));
    }
    if let Some(note) = &info.note {
        cx.output.note(note);
    }
    match info.verdict.as_str() {
        "done" => cx.output.line(&info.detail),
        _ => Ok(()),
    }
}

async fn run_connect(verb: Verb, cx: &Context, log: &ToolLog) -> Result<(), Ended> {
    let Verb::Connect {
        usagedatasrc,
        updatepackdest,
        downloadall,
        downloadhotfix,
        downloadsiteversion,
        plan,
        proxyserveruri,
        proxyusername,
        proxypasswordfile,
        ..
    } = verb
    else {
        return Ok(());
    };
    let scope = match (downloadall, downloadhotfix, downloadsiteversion) {
        (true, ..) => Scope::All,
        (_, true, _) => Scope::Hotfixes,
        (_, _, true) => Scope::NewerThanSite,
        (false, false, false) => Scope::LatestUpdate,
    };
    let proxy = proxyserveruri
        .map(|server| proxy(&server, proxyusername, proxypasswordfile.as_ref()))
        .transpose()?;
    let options = ConnectOptions {
        source: usagedatasrc,
        destination: updatepackdest,
        scope,
        proxy,
        plan_only: plan,
    };
    log.line(&format!("connecting for {}", options.source.display()));
    let progress = std::sync::Mutex::new(Progress::new(&cx.output));
    let tell = |step: Step| {
        let mut progress = progress.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match step {
            Step::Doing(what) => {
                log.line(&what);
                progress.show(what, None);
            }
            Step::Fetched(done, total) => progress.show(
                "fetching content",
                Some(Bytes {
                    done,
                    total,
                    rate: None,
                }),
            ),
        }
    };
    let connected = connect(&options, &Clock::System, &tell).await;
    progress
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .end();
    let connected = connected.map_err(|failure| {
        let code = match &failure {
            ConnectError::Version { .. } => 4,
            ConnectError::Cabinet { .. } | ConnectError::NoCabinet { .. } => 6,
            ConnectError::Space { .. } => 8,
            ConnectError::Feed { .. } | ConnectError::Content(_) => 9,
            ConnectError::Medium(_) => 1,
        };
        Ended {
            failure: Failure::of(&failure),
            code,
        }
    })?;
    show_connected(&connected, plan, cx, log)?;
    let problems: Vec<String> = connected
        .refused
        .iter()
        .map(|(path, why)| format!("{}: {why}", path.display()))
        .chain(connected.hierarchies.iter().filter_map(|hierarchy| {
            let problem = hierarchy.uploaded.as_ref()?.as_ref().err()?;
            Some(format!(
                "the report of {:.12} was not taken: {problem}",
                hierarchy.bundle.hierarchy
            ))
        }))
        .collect();
    match problems.is_empty() {
        true => Ok(()),
        false => Err(Ended {
            failure: Failure::new(problems.join("; ")),
            code: if connected.refused.is_empty() { 9 } else { 6 },
        }),
    }
}

fn proxy(server: &str, user: Option<String>, file: Option<&PathBuf>) -> Result<ProxySettings, Failure> {
    let server = server
        .strip_prefix("http://")
        .unwrap_or(server)
        .trim_end_matches('/');
    let (host, port) = match server.rsplit_once(':') {
        Some((host, port)) => {
            let port = port
                .parse()
                .map_err(|_| Failure::usage(format!("{port} is no port")))?;
            (host, port)
        }
        None => (server, PROXY_PORT),
    };
    let mut settings =
        ProxySettings::new(host, port).map_err(|failure| Failure::usage(failure.to_string()))?;
    if let Some(user) = user {
        let password = match file {
            Some(file) => password(file)?,
            None => ask_password(&user)?,
        };
        settings.credentials = Some(Credentials { user, password });
    }
    Ok(settings)
}

/// Asks on the terminal, without showing what is typed.
fn ask_password(user: &str) -> Result<Zeroizing<String>, Failure> {
    use rustix::termios::{LocalModes, OptionalActions, isatty, tcgetattr, tcsetattr};
    let input = std::io::stdin();
    if !isatty(&input) {
        return Err(Failure::usage(
            "there is no terminal to ask for the proxy's password; name a file with --proxypasswordfile",
        ));
    }
    let failed = |failure: rustix::io::Errno| Failure::new(format!("cannot use the terminal: {failure}"));
    let before = tcgetattr(&input).map_err(failed)?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&input, OptionalActions::Now, &silent).map_err(failed)?;
    eprint!("password of {user} for the proxy: ");
    let mut line = Zeroizing::new(String::new());
    let read = input.read_line(&mut line);
    tcsetattr(&input, OptionalActions::Now, &before).map_err(failed)?;
    eprintln!();
    read.map_err(|failure| Failure::new(format!("cannot read the password: {failure}")))?;
    Ok(Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned()))
}

fn show_connected(connected: &Connected, plan: bool, cx: &Context, log: &ToolLog) -> Result<(), Failure> {
    for hierarchy in &connected.hierarchies {
        for package in &hierarchy.bundle.packages {
            log.line(&format!(
                "hierarchy {:.12}: {} {}, {} bytes of content",
                hierarchy.bundle.hierarchy, package.name, package.version, package.bytes
            ));
        }
    }
    if cx.output.json {
        let rows: Vec<serde_json::Value> = connected
            .hierarchies
            .iter()
            .map(|hierarchy| {
                json!({
                    "hierarchy": hierarchy.bundle.hierarchy, "site_version": hierarchy.site_version,
                    "packages": hierarchy.bundle.packages, "report": hierarchy.bundle.report,
                    "report_problem": hierarchy.bundle.report_problem,
                })
            })
            .collect();
        let refused: Vec<_> = connected
            .refused
            .iter()
            .map(|(path, why)| json!({"file": path, "why": why}))
            .collect();
        return cx.output.json(&json!({
            "plan_only": plan, "hierarchies": rows, "refused": refused,
            "content_bytes": connected.content_bytes, "fetched_bytes": connected.fetched_bytes,
        }));
    }
    let mut table = Table::new(&[
        "Hierarchy",
        "Site version",
        "Package",
        "Version",
        "Lacks",
        "Usage data",
    ]);
    table.right(4);
    for hierarchy in &connected.hierarchies {
        let usage = match &hierarchy.uploaded {
            None => "-",
            Some(Ok(())) => "confirmed",
            Some(Err(_)) => "not taken",
        };
        let row = |package: &str, version: &str, lacks: String| {
            [
                hierarchy
                    .bundle
                    .hierarchy
                    .chars()
                    .take(12)
                    .collect::<String>()
                    .into(),
                hierarchy.site_version.as_str().into(),
                words::harmless(package).into(),
                version.into(),
                lacks.into(),
                usage.into(),
            ]
        };
        if hierarchy.bundle.packages.is_empty() {
            table.row(row("nothing to bring", "", String::new()));
        }
        for package in &hierarchy.bundle.packages {
            table.row(row(&package.name, &package.version, words::bytes(package.bytes)));
        }
    }
    table.print(&cx.output)?;
    let verb = if plan { "would be fetched" } else { "fetched" };
    cx.output.note(format_args!(
        "{} of content, each byte once; {} {verb}, the rest was on the medium",
        words::bytes(connected.content_bytes),
        words::bytes(connected.fetched_bytes)
    ));
    Ok(())
}
