//! `tidegate component`: the service manager.

use clap::{Args, Subcommand};
use domain::component::ComponentName;
use protocol::api::{ActionRequest, ComponentAction, ComponentInfo, LogLevelRequest};

use super::Context;
use crate::client::{Client, segment};
use crate::failure::Failure;
use crate::output::{Output, Style};
use crate::table::{Cell, Table};

/// The components of a running site: state, stop, start, log level
///
/// Components work when there is something to do: at their next activation, or at once when another
/// component or an administrator wakes them. What one was doing when it stopped is done again from the
/// recorded state, so stopping never loses anything.
#[derive(Debug, Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct ComponentArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Every component with its state.
    List,
    /// One component in detail: state, last result, what it waits for.
    #[command(after_help = "Example:\n  tidegate component query SMS_DMP_DOWNLOADER")]
    Query(Name),
    /// Stop a component until it is started again.
    Stop(Name),
    /// Start a component that was stopped.
    Start(Name),
    /// Stop and start a component; it looks at everything again at once.
    #[command(
        after_help = "Example, to check for updates and try failed downloads again:\n  \
        tidegate component restart SMS_DMP_DOWNLOADER"
    )]
    Restart(Name),
    /// Set how much a component logs.
    #[command(after_help = "Example:\n  tidegate component log-level SMS_HIERARCHY_MANAGER verbose")]
    LogLevel {
        #[command(flatten)]
        name: Name,
        /// `verbose`, `default`, `warnings` or `errors`, or 0 to 3.
        #[arg(value_parser = log_level)]
        level: String,
    },
}

#[derive(Debug, Args)]
struct Name {
    /// Component, such as SMS_DMP_DOWNLOADER; case does not matter.
    #[arg(value_name = "NAME", value_parser = component_name)]
    name: ComponentName,
}

fn component_name(text: &str) -> Result<ComponentName, String> {
    text.parse()
}

fn log_level(text: &str) -> Result<String, String> {
    text.parse::<domain::component::LogLevel>()
        .map(|level| level.as_str().to_owned())
}

/// Runs the command.
pub async fn run(arguments: ComponentArgs, cx: &Context) -> Result<(), Failure> {
    let client = cx.client()?;
    match arguments.verb {
        Verb::List => list(&client, &cx.output).await,
        Verb::Query(Name { name }) => query(&client, &cx.output, name).await,
        Verb::Stop(Name { name }) => act(&client, &cx.output, name, ComponentAction::Stop).await,
        Verb::Start(Name { name }) => act(&client, &cx.output, name, ComponentAction::Start).await,
        Verb::Restart(Name { name }) => act(&client, &cx.output, name, ComponentAction::Restart).await,
        Verb::LogLevel {
            name: Name { name },
            level,
        } => {
            client
                .put(
                    &format!("/components/{}/log-level", path(name)),
                    &LogLevelRequest { level },
                )
                .await?;
            query(&client, &cx.output, name).await
        }
    }
}

fn path(name: ComponentName) -> String {
    segment(name.as_str())
}

async fn list(client: &Client, output: &Output) -> Result<(), Failure> {
    let components: Vec<ComponentInfo> = client.get("/components").await?;
    if output.json {
        return output.json(&components);
    }
    let mut table = Table::new(&[
        "COMPONENT",
        "STATE",
        "LAST ACTIVITY",
        "NEXT",
        "DOING, OR LAST RESULT",
    ]);
    for component in &components {
        let last = component.last_finished.or(component.last_started);
        table.row([
            component.name.as_str().into(),
            state(component),
            last.map_or_else(|| "-".to_owned(), |at| crate::words::relative(at, output.now()))
                .into(),
            next(component, output).into(),
            doing(component).into(),
        ]);
    }
    table.print(output)
}

/// The state of a component in colour: something to look at unless it is started and succeeds.
fn state(component: &ComponentInfo) -> Cell {
    let style = match (component.state_code, component.failures_in_row) {
        (1, 0) => Style::Good,
        (1, _) | (0, _) => Style::Warning,
        (_, _) => Style::Bad,
    };
    let text = if component.active {
        format!("{}, working", component.state)
    } else {
        component.state.clone()
    };
    Cell::styled(style, text)
}

fn next(component: &ComponentInfo, output: &Output) -> String {
    match component.next_activation {
        Some(at) => crate::words::relative(at, output.now()),
        None => "when woken".to_owned(),
    }
}

fn doing(component: &ComponentInfo) -> String {
    if component.active && !component.activity.is_empty() {
        return component.activity.clone();
    }
    match &component.waiting {
        Some(waiting) => format!("waiting for {}", waiting.what),
        None => component.last_result.clone(),
    }
}

async fn query(client: &Client, output: &Output, name: ComponentName) -> Result<(), Failure> {
    let component: ComponentInfo = client.get(&format!("/components/{}", path(name))).await?;
    if output.json {
        return output.json(&component);
    }
    let mut table = Table::of_values();
    table.value("Component", component.name.as_str());
    table.value("Purpose", component.description.as_str());
    table.value("State", state(&component));
    if component.active && !component.activity.is_empty() {
        table.value("Doing", component.activity.as_str());
    }
    if let Some(waiting) = &component.waiting {
        table.value(
            "Waiting for",
            format!("{}, since {}", waiting.what, output.when(waiting.since)),
        );
        table.value("Next try", output.when_if(waiting.next_try));
        table.value("What to do", waiting.action.as_str());
    }
    table.value("Last started", output.when_if(component.last_started));
    table.value("Last finished", output.when_if(component.last_finished));
    table.value("Last result", component.last_result.as_str());
    table.value(
        "Next activation",
        component
            .next_activation
            .map_or("when woken".to_owned(), |at| output.when(at)),
    );
    table.value(
        "Activations",
        format!(
            "{}, of which {} failed ({} in a row) and {} crashed",
            component.activations, component.failures, component.failures_in_row, component.panics
        ),
    );
    table.value(
        "Log",
        format!("{} at level {}", component.log_file, component.log_level),
    );
    table.print(output)
}

async fn act(
    client: &Client,
    output: &Output,
    name: ComponentName,
    action: ComponentAction,
) -> Result<(), Failure> {
    client
        .post(
            &format!("/components/{}/action", path(name)),
            &ActionRequest { action },
        )
        .await?;
    // The state shown is that of a query after the action, as the service manager does it.
    query(client, output, name).await
}
