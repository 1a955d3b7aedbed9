//! `tidegate usage`: what is collected at each level, seen before it leaves, remembered after it left.

mod dictionary;
mod inventory;
mod ledger;
mod reports;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use domain::usage_data::Level;
use domain::usage_data::inventory::Table as InventoryTable;
use domain::usage_data::sending::Sending;

use super::Context;
use crate::failure::Failure;

/// Usage data: what each level holds, the very bytes of a report, what is sent and what was
///
/// Nothing is collected that is not in the dictionary. A report is collected every seven days from the
/// day of the installation, and sent as `usage sending` says. Which updates apply does not depend on it.
#[derive(Debug, Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct UsageArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// The levels and how much each holds.
    Levels,
    /// Everything that may ever be collected, and why; with --never, what never is.
    Dictionary {
        /// Only what this level holds.
        #[arg(long, value_name = "LEVEL")]
        level: Option<Level>,
        /// What is never collected, and why not.
        #[arg(long, conflicts_with = "level")]
        never: bool,
    },
    /// What a datum means, why it is wanted, where it comes from, and its value here now.
    #[command(after_help = "Example:\n  tidegate usage explain hierarchy.id")]
    Explain {
        /// Name in the dictionary.
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Level, sending, the next collection and the newest reports.
    Show,
    /// Show exactly the bytes that go out next: the report that waits, or one collected now.
    #[command(after_help = "Examples:\n  \
        tidegate usage preview                          the report that waits, or one collected now\n  \
        tidegate usage preview --level basic --diff full   what a level would add or leave out\n  \
        tidegate usage preview --diff last               what changed since the last upload")]
    Preview {
        /// Collect now, at this level.
        #[arg(long, value_name = "LEVEL")]
        level: Option<Level>,
        /// Show only what differs from a report at this level, or from the last one that was sent.
        #[arg(long, value_name = "LEVEL|last")]
        diff: Option<reports::Against>,
    },
    /// Write the report that waits, or the newest, to a file: .json has the very bytes, .csv a line per datum.
    Export {
        /// File ending in .json or .csv.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Collect now, at this level.
        #[arg(long, value_name = "LEVEL", conflicts_with = "report")]
        level: Option<Level>,
        /// This report.
        #[arg(long, value_name = "ID")]
        report: Option<String>,
    },
    /// Collect now and keep the report, to be sent as configured.
    Collect,
    /// Send what waits, or collect and send; waits until the service has confirmed it.
    Upload {
        /// Come back at once; the site sends it all the same.
        #[arg(long)]
        no_wait: bool,
    },
    /// Whether reports go out by themselves, after approval, or not at all; without argument, say which.
    Sending {
        /// `automatic`, `hold` or `never`.
        #[arg(value_name = "SENDING")]
        sending: Option<Sending>,
    },
    /// Let a report go that waits for approval; the one that waits unless named.
    Approve {
        /// Id of the report.
        #[arg(value_name = "ID")]
        report: Option<String>,
    },
    /// Discard a report: it is never sent; the one that waits unless named.
    Discard {
        /// Id of the report.
        #[arg(value_name = "ID")]
        report: Option<String>,
    },
    /// What left and what was decided about it; every entry with the hash of the one before.
    Ledger {
        #[command(subcommand)]
        verb: Option<ledger::LedgerVerb>,
    },
    /// Replace the keys of hashes and signatures: to the vendor this hierarchy is a new one from then on.
    RotateKeys {
        /// Do it; without this, say what it means.
        #[arg(long)]
        yes: bool,
    },
    /// The tables by which the sites' product tells how many devices, users, collections and deployments there are.
    Inventory {
        #[command(subcommand)]
        verb: Option<InventoryVerb>,
    },
}

#[derive(Debug, Subcommand)]
enum InventoryVerb {
    /// Which tables were imported, with how many rows.
    Show,
    /// The columns of the tables.
    Tables,
    /// Replace a table by a file: .csv, .jsonl or .parquet. A file with an error changes nothing.
    #[command(after_help = "Example:\n  tidegate usage inventory import devices devices.parquet")]
    Import {
        /// `devices`, `users`, `collections` or `deployments`.
        #[arg(value_name = "TABLE")]
        table: InventoryTable,
        /// File ending in .csv, .jsonl or .parquet.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// The report that waits, or the newest, as a file.
pub async fn export(file: &std::path::Path, cx: &Context) -> Result<(), Failure> {
    reports::export(file, None, None, cx).await
}

/// Runs the command.
pub async fn run(arguments: UsageArgs, cx: &Context) -> Result<(), Failure> {
    let output = &cx.output;
    match arguments.verb {
        Verb::Levels => dictionary::levels(output),
        Verb::Dictionary { never: true, .. } => dictionary::never(output),
        Verb::Dictionary { level, .. } => dictionary::dictionary(level, output),
        Verb::Explain { name } => dictionary::explain(&name, cx).await,
        Verb::Show => reports::show(cx).await,
        Verb::Preview { level, diff: None } => reports::preview(level, cx).await,
        Verb::Preview {
            level,
            diff: Some(against),
        } => reports::diff(level, against, cx).await,
        Verb::Export { file, level, report } => reports::export(&file, level, report, cx).await,
        Verb::Collect => reports::collect(cx).await,
        Verb::Upload { no_wait } => reports::upload(no_wait, cx).await,
        Verb::Sending { sending } => reports::sending(sending, cx).await,
        Verb::Approve { report } => reports::decide("approve", report, cx).await,
        Verb::Discard { report } => reports::decide("discard", report, cx).await,
        Verb::Ledger { verb } => ledger::run(verb, cx).await,
        Verb::RotateKeys { yes } => reports::rotate_keys(yes, cx).await,
        Verb::Inventory { verb: None }
        | Verb::Inventory {
            verb: Some(InventoryVerb::Show),
        } => inventory::show(cx).await,
        Verb::Inventory {
            verb: Some(InventoryVerb::Tables),
        } => inventory::tables(output),
        Verb::Inventory {
            verb: Some(InventoryVerb::Import { table, file }),
        } => inventory::import(table, &file, cx).await,
    }
}
