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

/// What to do. The help of each command is the description of its arguments.
#[derive(Debug, Subcommand)]
#[allow(missing_docs, reason = "a comment here would replace the description")]
pub enum Command {
    Up(commands::up::UpArgs),
    Run(commands::run::RunArgs),
    Site(commands::site::SiteArgs),
    Component(commands::component::ComponentArgs),
    Scp(commands::scp::ScpArgs),
    Hierarchy(commands::hierarchy::HierarchyArgs),
    Updates(commands::updates::UpdatesArgs),
    Check(Box<commands::check::CheckArgs>),
    Usage(commands::usage::UsageArgs),
    Tool(commands::tool::ToolArgs),
    Status(commands::status::StatusArgs),
    Notifications(commands::notifications::NotificationsArgs),
    Logs(commands::logs::LogsArgs),
    Content(commands::content::ContentArgs),
    Backup(commands::backup::BackupArgs),
    Config(commands::config::ConfigArgs),
    User(commands::user::UserArgs),
    Cloud(commands::cloud::CloudArgs),
    Tuf(commands::tuf::TufArgs),
    #[command(hide = true)]
    Generate(commands::generate::GenerateArgs),
}
