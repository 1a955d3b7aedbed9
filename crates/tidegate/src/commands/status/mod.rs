//! `tidegate status`: what components have said, and how they are.

mod alerts;
mod delete;
mod rules;
mod systems;
mod thresholds;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand, ValueEnum};
use domain::component::ComponentName;
use domain::status_message::TallyInterval;
use jiff::Timestamp;
use protocol::api::{
    ComponentStatusInfo, LimitQuery, StateMessageInfo, StatusMessageInfo, StatusMessageQuery, TallyQuery,
};

use super::Context;
use crate::client::{Client, segment};
use crate::failure::Failure;
use crate::output::{Output, Style};
use crate::table::{Cell, Table};

/// The status system: messages, health of components, thresholds, rules
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
    /// Delete messages: by record, or whatever matches.
    ///
    /// Counts of components stay as they are. Each deletion leaves an audit message.
    #[command(after_help = "Examples:\n  \
        tidegate status delete --id 4711 4712\n  \
        tidegate status delete --component SMS_DMP_DOWNLOADER --before 7d")]
    Delete(delete::DeleteArgs),
    /// Write messages to a file or stdout, newest first.
    #[command(after_help = "Examples:\n  \
        tidegate status export --severity error --format csv --out errors.csv\n  \
        tidegate status export --since 7d")]
    Export(delete::ExportArgs),
    /// Free space where the site keeps things, and the thresholds for it.
    Systems(systems::SystemsArgs),
    /// Health of each component by its messages: OK, Warning or Critical.
    Components {
        /// Since when messages count.
        #[arg(long, default_value = TallyInterval::DEFAULT.name(), value_parser = tally_interval())]
        since: TallyInterval,
    },
    /// Count the messages of a component from zero, once its trouble is mended.
    Reset {
        /// Component.
        #[arg(value_name = "NAME", value_parser = component_name)]
        name: ComponentName,
    },
    /// The counts at which a component turns Warning or Critical: show, set or take back.
    Thresholds(thresholds::ThresholdsArgs),
    /// Which messages are written, counted and told to others: list and change the rules.
    Rules(rules::RulesArgs),
    /// Who is told of messages that rules select, what waits and what failed.
    Alerts(alerts::AlertsArgs),
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

impl Severity {
    fn as_str(self) -> &'static str {
        match self {
            Severity::Informational => "informational",
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }
}

/// Tally intervals by what they are called; the API takes their tokens.
fn tally_interval() -> impl TypedValueParser<Value = TallyInterval> {
    PossibleValuesParser::new(TallyInterval::all().map(TallyInterval::name)).map(|name| {
        // Only the names above come here.
        TallyInterval::from_name(&name).unwrap_or(TallyInterval::DEFAULT)
    })
}

/// Runs the command.
pub async fn run(arguments: StatusArgs, cx: &Context) -> Result<(), Failure> {
    let client = cx.client()?;
    match arguments.verb {
        Verb::Messages(filter) => messages(&client, &cx.output, filter).await,
        Verb::Delete(arguments) => delete::delete(&client, &cx.output, arguments).await,
        Verb::Export(arguments) => delete::export(&client, &cx.output, arguments).await,
        Verb::Systems(arguments) => systems::run(&client, &cx.output, arguments).await,
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
                components(&client, &cx.output, TallyInterval::DEFAULT).await
            } else {
                Ok(())
            }
        }
        Verb::Thresholds(arguments) => thresholds::run(&client, &cx.output, arguments).await,
        Verb::Rules(arguments) => rules::run(&client, &cx.output, arguments).await,
        Verb::Alerts(arguments) => alerts::run(&client, &cx.output, &arguments).await,
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
        severity: filter.severity.map(|severity| severity.as_str().to_owned()),
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

async fn components(client: &Client, output: &Output, since: TallyInterval) -> Result<(), Failure> {
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
