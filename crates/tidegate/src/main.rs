//! The `tidegate` program: reads the command line and the environment, and hands both to one command.
//!
//! This is the edge: only here and in the executive's clock does the program look at the time, the
//! environment and the random source of the machine. Exit codes: 0 done, 1 failed, 2 wrong usage;
//! `tuf` ends with 0 or 1 only.

mod cli;
mod client;
mod commands;
mod failure;
mod follow;
mod output;
mod progress;
#[cfg(test)]
mod reference;
mod service_manager;
mod signals;
mod spelling;
mod table;

use site::words;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use domain::connectivity::Outcome;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::cli::{Cli, Command, Global};
use crate::commands::Context;
use crate::failure::Failure;
use crate::output::Output;
use crate::service_manager::ServiceManager;

/// Files that may be open at once: those of the largest delta, and connections.
const OPEN_FILES: u64 = 128 * 1024;

fn main() -> ExitCode {
    open_more_files();
    // Fails only if a provider is installed already, and nobody did.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let arguments: Vec<OsString> = spelling::of_the_original(std::env::args_os().collect());
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(refusal) => return not_understood(&refusal, &arguments),
    };
    let output = Output::new(
        &cli.global,
        environment("NO_COLOR").is_some(),
        environment("TERM").is_none_or(|term| term == "dumb"),
    );
    let is_check = matches!(cli.command, Command::Check(_));
    match execute(cli, &output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.failure(&failure);
            match failure {
                // Monitoring reads 1 and 2 of a check as findings: what could not run is unknown.
                Failure::Failed { .. } | Failure::Usage { .. } | Failure::Told if is_check => {
                    Outcome::Unknown.exit_code().into()
                }
                other => other.exit_code(),
            }
        }
    }
}

/// Prints help, version or what is wrong with the command line.
fn not_understood(refusal: &clap::Error, arguments: &[OsString]) -> ExitCode {
    // A stdout or stderr that is gone leaves nobody to tell.
    let _ = refusal.print();
    match refusal.exit_code() {
        0 => ExitCode::SUCCESS,
        _ if is_command_line_of("tuf", arguments) => ExitCode::from(1),
        _ if is_command_line_of("check", arguments) => Outcome::Unknown.exit_code().into(),
        _ => ExitCode::from(2),
    }
}

/// Whether a command line that could not be parsed was meant for this command, whose wrong usage has an exit
/// code of its own.
fn is_command_line_of(command: &str, arguments: &[OsString]) -> bool {
    let mut arguments = arguments
        .iter()
        .skip(1)
        .map(|argument| argument.to_string_lossy());
    while let Some(argument) = arguments.next() {
        if !argument.starts_with('-') {
            return argument == command;
        }
        // Global options that take a value of their own.
        if ["--dir", "--color"].contains(&&*argument) {
            arguments.next();
        }
    }
    false
}

/// Deltas are made of as many old files as they have; services start with a limit of 1,024 for programs that still use
/// `select`, which this one does not (systemd.exec(5), "LimitNOFILE").
fn open_more_files() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(OPEN_FILES).min(OPEN_FILES);
    if limit.current.is_some_and(|current| current < wanted) {
        let raised = Rlimit {
            current: Some(wanted),
            ..limit
        };
        // Without it deltas of many files are left out, with this as the reason, and blocks come.
        let _ = setrlimit(Resource::Nofile, raised);
    }
}

fn execute(cli: Cli, output: &Output) -> Result<(), Failure> {
    let (directory, usual_directory) = directory(&cli.global)?;
    let cx = Context {
        directory,
        usual_directory,
        output: output.clone(),
        service_manager: ServiceManager::from_environment(environment),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|failure| Failure::new(format!("cannot start the runtime: {failure}")))?;
    runtime.block_on(dispatch(cli.command, &cx))
}

async fn dispatch(command: Command, cx: &Context) -> Result<(), Failure> {
    match command {
        Command::Up(arguments) => commands::up::run(arguments, cx).await,
        Command::Run(arguments) => commands::run::run(&arguments, cx).await,
        Command::Site(arguments) => commands::site::run(arguments, cx).await,
        Command::Component(arguments) => commands::component::run(arguments, cx).await,
        Command::Scp(arguments) => commands::scp::run(arguments, cx).await,
        Command::Hierarchy(arguments) => commands::hierarchy::run(arguments, cx).await,
        Command::Check(arguments) => commands::check::run(*arguments, cx).await,
        Command::Updates(arguments) => commands::updates::run(arguments, cx).await,
        Command::Usage(arguments) => commands::usage::run(arguments, cx).await,
        Command::Tool(arguments) => commands::tool::run(arguments, cx).await,
        Command::Status(arguments) => commands::status::run(arguments, cx).await,
        Command::Notifications(arguments) => commands::notifications::run(arguments, cx).await,
        Command::Logs(arguments) => commands::logs::run(arguments, cx).await,
        Command::Backup(arguments) => commands::backup::run(arguments, cx).await,
        Command::Content(arguments) => commands::content::run(arguments, cx).await,
        Command::Config(arguments) => commands::config::run(&arguments, cx),
        Command::Cloud(arguments) => commands::cloud::run(arguments, cx).await,
        Command::User(arguments) => commands::user::run(arguments, cx).await,
        Command::Generate(arguments) => commands::generate::run(&arguments),
        Command::Tuf(mut arguments) => {
            arguments.json = cx.output.json;
            arguments.quiet = cx.output.quiet;
            arguments.proxy = commands::check::environment_proxy().map_err(|text| {
                Failure::new(text).hint("correct the variable, or unset it for a direct way")
            })?;
            commands::tuf::run(arguments)
                .await
                .map_err(|failure| Failure::of(failure.as_ref()))
        }
    }
}

/// The directory of the site or service, and whether it is the one in use when none is named. A relative
/// one is made absolute, so that commands that are suggested work from everywhere.
fn directory(global: &Global) -> Result<(PathBuf, bool), Failure> {
    let absolute = |path: PathBuf| {
        std::path::absolute(&path).map_err(|failure| {
            Failure::usage(format!("{:?} is no directory name: {failure}", path.display()))
        })
    };
    let usual = match environment("TIDEGATE_DIR") {
        Some(directory) => Some(absolute(directory.into())?),
        None => state_directory(),
    };
    match (&global.dir, usual) {
        (Some(named), usual) => {
            let named = absolute(named.clone())?;
            let is_usual = usual.is_some_and(|usual| usual == named);
            Ok((named, is_usual))
        }
        (None, Some(usual)) => Ok((usual, true)),
        (None, None) => Err(Failure::usage("there is no home directory to keep state in")
            .hint("name a directory with --dir or TIDEGATE_DIR")),
    }
}

/// `/var/lib/tidegate` for root, else the state directory of the XDG base directory specification.
fn state_directory() -> Option<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return Some(PathBuf::from("/var/lib/tidegate"));
    }
    let state = environment("XDG_STATE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| environment("HOME").map(|home| PathBuf::from(home).join(".local/state")))?;
    Some(state.join("tidegate"))
}

/// The same as text.
fn environment_text(name: String) -> Option<String> {
    environment(&name)?.into_string().ok()
}

/// A variable of the environment, unless it is empty.
fn environment(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::is_command_line_of;

    #[test]
    fn commands_are_recognised_in_bad_command_lines() {
        for (line, expected) in [
            ("tidegate tuf --bad", true),
            ("tidegate --dir tuf site", false),
            ("tidegate --dir x --json tuf", true),
            ("tidegate site tuf", false),
            ("tidegate", false),
        ] {
            let arguments: Vec<_> = line.split(' ').map(Into::into).collect();
            assert_eq!(is_command_line_of("tuf", &arguments), expected, "{line}");
        }
    }
}
