//! The command line: options that every command takes, and the commands.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::commands;

/// The service connection point: guarded updates for a hierarchy of self-hosted sites.
///
/// A vendor publishes signed updates as static files; a site verifies, evaluates, downloads, checks and
/// installs them, and says at every moment what is waiting for what and why.
#[derive(Debug, Parser)]
#[command(
    name = "tidegate",
    version,
    propagate_version = false,
    disable_help_subcommand = true,
    max_term_width = 100,
    after_help = "Try everything on this machine with `tidegate up`.\n\
        Exit codes: 0 done, 1 failed, 2 wrong usage."
)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of every command")]
pub struct Global {
    /// Directory of the site or service; the platform's state directory unless given.
    #[arg(
        long,
        global = true,
        env = "TIDEGATE_DIR",
        hide_env_values = true,
        value_name = "DIR"
    )]
    pub dir: Option<PathBuf>,
    /// Print results as JSON, for programs; see docs/reference/api.md.
    #[arg(long, global = true)]
    pub json: bool,
    /// Print results and failures only: no progress, no advice.
    #[arg(long, global = true)]
    pub quiet: bool,
    /// When to colour what is printed; NO_COLOR is respected.
    #[arg(long, global = true, value_enum, default_value_t = Colour::Auto, value_name = "WHEN")]
    pub color: Colour,
}

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Colour {
    /// On a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Everything on this machine, to try: a connected service with a signed sample feed and a site.
    Up(commands::up::UpArgs),
    /// Run the site of this directory in the foreground.
    Run(commands::run::RunArgs),
    /// Set up a site; show what it is and how it stands.
    Site(commands::site::SiteArgs),
    /// The components of a running site: state, stop, start, log level.
    Component(commands::component::ComponentArgs),
    /// Update packages: what is offered and why, download, check, install.
    Updates(commands::updates::UpdatesArgs),
    /// The status system: messages, health of components, thresholds.
    Status(commands::status::StatusArgs),
    /// Read the logs of the components, merged and in colour.
    Logs(commands::logs::LogsArgs),
    /// The content library: what it holds, whether it is sound, what nothing needs any more.
    Content(commands::content::ContentArgs),
    /// The configuration of a site.
    Config(commands::config::ConfigArgs),
    /// The vendor's side: a feed's keys, packages, roll-out and server.
    Cloud(commands::cloud::CloudArgs),
    /// Read any TUF repository on its own, to find out what is wrong with it; ends with 0 or 1 only.
    Tuf(commands::tuf::TufArgs),
}
