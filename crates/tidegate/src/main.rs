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
mod signals;
mod table;
mod words;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command, Global};
use crate::commands::Context;
use crate::failure::Failure;
use crate::output::Output;

fn main() -> ExitCode {
    // Fails only if a provider is installed already, and this is the first line.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(refusal) => return not_understood(&refusal, &arguments),
    };
    let output = Output::new(
        &cli.global,
        environment("NO_COLOR").is_some(),
        environment("TERM").is_none_or(|term| term == "dumb"),
    );
    match execute(cli, &output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.failure(&failure);
            failure.exit_code()
        }
    }
}

/// Prints help, version or what is wrong with the command line.
fn not_understood(refusal: &clap::Error, arguments: &[OsString]) -> ExitCode {
    // A stdout or stderr that is gone leaves nobody to tell.
    let _ = refusal.print();
    match refusal.exit_code() {
        0 => ExitCode::SUCCESS,
        _ if commands::tuf::is_tuf_command_line(arguments, &["--dir", "--color"]) => ExitCode::from(1),
        _ => ExitCode::from(2),
    }
}

fn execute(cli: Cli, output: &Output) -> Result<(), Failure> {
    let (directory, usual_directory) = directory(&cli.global)?;
    let cx = Context {
        directory,
        usual_directory,
        output: output.clone(),
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
        Command::Updates(arguments) => commands::updates::run(arguments, cx).await,
        Command::Status(arguments) => commands::status::run(arguments, cx).await,
        Command::Logs(arguments) => commands::logs::run(arguments, cx).await,
        Command::Content(arguments) => commands::content::run(arguments, cx).await,
        Command::Config(arguments) => commands::config::run(&arguments, cx),
        Command::Cloud(arguments) => commands::cloud::run(arguments, cx).await,
        Command::User(arguments) => commands::user::run(&arguments, cx),
        Command::Tuf(mut arguments) => {
            arguments.json = cx.output.json;
            arguments.quiet = cx.output.quiet;
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

/// A variable of the environment, unless it is empty.
fn environment(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}
