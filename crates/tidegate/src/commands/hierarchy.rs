//! `tidegate hierarchy`: links, and what comes over them.

use clap::{Args, Subcommand};
use protocol::api::{ThrottleInfo, ThrottleRequest};

use super::Context;
use crate::failure::Failure;
use crate::output::{Output, Style};
use crate::table::Table;

/// The links of this site and how fast content comes over them
#[derive(Debug, Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct HierarchyArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show or set how fast content comes from the feed, by the hour of the week.
    ///
    /// Rules replace the ones before; a later rule overrides earlier ones for its hours. A rule is a limit, with days
    /// and hours before it if it is not for all: unlimited, closed, a rate such as 2 MB/s, or pulses such as pulse 256
    /// KiB every 30 s. Bytes are counted, by this machine's clock; what is under way follows at once.
    #[command(after_help = "Examples:\n  \
        tidegate hierarchy throttle\n  \
        tidegate hierarchy throttle \"2 MB/s\" \"mon-fri 08-18 500 kB/s\" \"sun closed\"\n  \
        tidegate hierarchy throttle \"22-06 unlimited\" \"06-22 pulse 256 KiB every 30 s\"\n  \
        tidegate hierarchy throttle --off")]
    Throttle {
        /// Rules, each in quotes.
        #[arg(value_name = "RULE")]
        rules: Vec<String>,
        /// Throttle nothing.
        #[arg(long, conflicts_with = "rules")]
        off: bool,
    },
}

/// Runs the command.
pub async fn run(arguments: HierarchyArgs, cx: &Context) -> Result<(), Failure> {
    let client = cx.client()?;
    match arguments.verb {
        Verb::Throttle { rules, off } if off || !rules.is_empty() => {
            client.put("/throttle", &ThrottleRequest { rules }).await?;
        }
        Verb::Throttle { .. } => {}
    }
    show(&cx.output, &client.get("/throttle").await?)
}

fn show(output: &Output, throttle: &ThrottleInfo) -> Result<(), Failure> {
    if output.json {
        return output.json(throttle);
    }
    let opens = match throttle.opens_at {
        Some(at) => format!(", opens {}", output.when(at)),
        None => String::new(),
    };
    output.line(format_args!(
        "now: {}{opens}",
        output.styled(Style::Bold, &throttle.now)
    ))?;
    let mut table = Table::new(&["FROM", "HOURS", "LIMIT"]);
    for run in &throttle.week {
        table.row([
            run.from.as_str().into(),
            u64::from(run.hours).into(),
            run.limit.as_str().into(),
        ]);
    }
    table.right(1);
    table.print(output)
}
