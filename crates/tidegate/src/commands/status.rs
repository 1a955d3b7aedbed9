//! `tidegate status`: what components have said, and how they are.

use clap::{Args, Subcommand, ValueEnum};
use domain::component::ComponentName;
use jiff::Timestamp;
use protocol::api::{
    ComponentStatusInfo, LimitQuery, StateMessageInfo, StatusMessageInfo, StatusMessageQuery, TallyQuery,
    ThresholdInfo,
};

use super::Context;
use crate::client::{Client, segment};
use crate::failure::Failure;
use crate::output::{Output, Style};
use crate::table::{Cell, Table};

/// The status system: messages, health of components, thresholds
#[derive(Debug, Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct StatusArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Status messages, newest first.
    #[command(after_help = "Examples:\n  \
        tidegate status messages --severity error --since 24h\n  \
        tidegate status messages --component SMS_DMP_DOWNLOADER --json")]
    Messages(Filter),
    /// Health of each component by its messages: OK, Warning or Critical.
    Components {
        /// Since when messages count.
        #[arg(long, value_enum, default_value_t = Tally::Midnight)]
        since: Tally,
    },
    /// Count the messages of a component from zero, once its trouble is mended.
    Reset {
        /// Component.
        #[arg(value_name = "NAME", value_parser = component_name)]
        name: ComponentName,
    },
    /// The counts at which a component turns Warning or Critical.
    Thresholds,
    /// State messages, newest first: the progress of each package by number.
    #[command(after_help = "Example:\n  tidegate status state-messages --limit 20")]
    StateMessages {
        /// Most messages.
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
}

fn component_name(text: &str) -> Result<ComponentName, String> {
    text.parse()
}

#[derive(Debug, Args)]
struct Filter {
    /// Only of this component.
    #[arg(long, value_name = "NAME", value_parser = component_name)]
    component: Option<ComponentName>,
    /// Only of this severity.
    #[arg(long, value_enum)]
    severity: Option<Severity>,
    /// Only with this message id; docs/reference/status-messages.md lists them.
    #[arg(long, value_name = "ID")]
    id: Option<u32>,
    /// Only since this time: RFC 3339, or an age such as 90m, 24h, 7d.
    #[arg(long, value_name = "TIME", value_parser = super::since)]
    since: Option<super::Since>,
    /// Only messages before this record, for the next page.
    #[arg(long, value_name = "RECORD")]
    before: Option<i64>,
    /// Most messages.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Severity {
    Informational,
    Warning,
    Error,
}

/// Tally intervals by what they are called; the tokens are the product's.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Tally {
    Midnight,
    #[value(name = "04:00")]
    Four,
    #[value(name = "08:00")]
    Eight,
    #[value(name = "12:00")]
    Noon,
    #[value(name = "16:00")]
    Sixteen,
    #[value(name = "20:00")]
    Twenty,
    Sunday,
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    FirstOfMonth,
    FifteenthOfMonth,
    Installation,
}

impl Tally {
    fn token(self) -> &'static str {
        match self {
            Tally::Midnight => "0001128000100008",
            Tally::Four => "0081128000100008",
            Tally::Eight => "0101128000100008",
            Tally::Noon => "0181128000100008",
            Tally::Sixteen => "0201128000100008",
            Tally::Twenty => "0281128000100008",
            Tally::Sunday => "0001128000192000",
            Tally::Monday => "00011280001A2000",
            Tally::Tuesday => "00011280001B2000",
            Tally::Wednesday => "00011280001C2000",
            Tally::Thursday => "00011280001D2000",
            Tally::Friday => "00011280001E2000",
            Tally::Saturday => "00011280001F2000",
            Tally::FirstOfMonth => "000A470000284400",
            Tally::FifteenthOfMonth => "000A4700002BC400",
            Tally::Installation => "0001128000080008",
        }
    }
}

/// Runs the command.
pub async fn run(arguments: StatusArgs, cx: &Context) -> Result<(), Failure> {
    let client = cx.client()?;
    match arguments.verb {
        Verb::Messages(filter) => messages(&client, &cx.output, filter).await,
        Verb::Components { since } => components(&client, &cx.output, since).await,
        Verb::Reset { name } => {
            client
                .post(
                    &format!("/status/components/{}/reset", segment(name.as_str())),
                    &(),
                )
                .await?;
            cx.output
                .note(format_args!("messages of {name} are counted from now on"));
            if cx.output.json {
                components(&client, &cx.output, Tally::Midnight).await
            } else {
                Ok(())
            }
        }
        Verb::Thresholds => thresholds(&client, &cx.output).await,
        Verb::StateMessages { limit } => state_messages(&client, &cx.output, limit).await,
    }
}

/// How a severity or a health looks.
pub fn severity_style(word: &str) -> Style {
    match word {
        "error" | "Critical" => Style::Bad,
        "warning" | "Warning" => Style::Warning,
        "OK" => Style::Good,
        _ => Style::Plain,
    }
}

async fn messages(client: &Client, output: &Output, filter: Filter) -> Result<(), Failure> {
    let query = StatusMessageQuery {
        component: filter.component.map(|name| name.as_str().to_owned()),
        severity: filter.severity.map(|severity| {
            match severity {
                Severity::Informational => "informational",
                Severity::Warning => "warning",
                Severity::Error => "error",
            }
            .to_owned()
        }),
        id: filter.id,
        since: filter.since.map(|since| since.resolve(output.now())),
        before: filter.before,
        limit: Some(filter.limit),
    };
    let messages: Vec<StatusMessageInfo> = client.get_with("/status/messages", &query).await?;
    if output.json {
        return output.json(&messages);
    }
    if messages.is_empty() {
        output.note("no status messages match");
        return Ok(());
    }
    let mut table = Table::new(&["TIME", "SEVERITY", "ID", "COMPONENT", "TEXT"]);
    for message in &messages {
        table.row([
            crate::words::local(message.time, output.now(), &output.zone).into(),
            Cell::styled(severity_style(&message.severity), &message.severity),
            u64::from(message.message_id).into(),
            message.component.as_str().into(),
            message.text.as_str().into(),
        ]);
    }
    table.right(2);
    table.print(output)?;
    if let Some(last) = messages
        .last()
        .filter(|_| messages.len() == filter.limit as usize)
    {
        output.note(format_args!("older messages: add --before {}", last.record_id));
    }
    Ok(())
}

async fn components(client: &Client, output: &Output, since: Tally) -> Result<(), Failure> {
    let query = TallyQuery {
        tally: Some(since.token().to_owned()),
    };
    let components: Vec<ComponentStatusInfo> = client.get_with("/status/components", &query).await?;
    if output.json {
        return output.json(&components);
    }
    let mut table = Table::new(&[
        "COMPONENT",
        "STATUS",
        "ERRORS",
        "WARNINGS",
        "INFORMATIONAL",
        "SINCE",
    ]);
    for component in &components {
        table.row([
            component.component.as_str().into(),
            Cell::styled(severity_style(&component.status), &component.status),
            component.error.into(),
            component.warning.into(),
            component.informational.into(),
            local(component.since, output).into(),
        ]);
    }
    for column in 2..5 {
        table.right(column);
    }
    table.print(output)?;
    if let Some(worst) = components.iter().find(|component| component.status != "OK") {
        output.note(format_args!(
            "see why: {}",
            output.command(format_args!(
                "tidegate status messages --component {}",
                worst.component
            ))
        ));
    }
    Ok(())
}

fn local(at: Timestamp, output: &Output) -> String {
    crate::words::local(at, output.now(), &output.zone)
}

async fn thresholds(client: &Client, output: &Output) -> Result<(), Failure> {
    let thresholds: Vec<ThresholdInfo> = client.get("/status/thresholds").await?;
    if output.json {
        return output.json(&thresholds);
    }
    let mut table = Table::new(&["MESSAGES", "WARNING AT", "CRITICAL AT"]);
    for threshold in &thresholds {
        table.row([
            Cell::styled(severity_style(&threshold.severity), &threshold.severity),
            threshold.warning_at.into(),
            threshold.critical_at.into(),
        ]);
    }
    table.right(1);
    table.right(2);
    table.print(output)
}

async fn state_messages(client: &Client, output: &Output, limit: u32) -> Result<(), Failure> {
    let query = LimitQuery { limit: Some(limit) };
    let messages: Vec<StateMessageInfo> = client.get_with("/status/state-messages", &query).await?;
    if output.json {
        return output.json(&messages);
    }
    if messages.is_empty() {
        output.note("no state messages yet");
        return Ok(());
    }
    let mut table = Table::new(&["TIME", "NUMBER", "PACKAGE", "STATE", "DETAIL"]);
    for message in &messages {
        table.row([
            local(message.time, output).into(),
            u64::from(message.number).into(),
            message.guid.get(..8).unwrap_or(&message.guid).into(),
            message.name.as_str().into(),
            message.detail.as_str().into(),
        ]);
    }
    table.right(1);
    table.print(output)
}
