//! `tidegate status alerts`: who is told of messages, what waits and what failed.

use clap::Args;
use protocol::api::{AlertsInfo, LimitQuery};

use crate::client::Client;
use crate::failure::Failure;
use crate::output::{Output, Style};
use crate::table::{Cell, Table};

#[derive(Debug, Args)]
pub struct AlertsArgs {
    /// Most alerts.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
}

pub async fn run(client: &Client, output: &Output, arguments: &AlertsArgs) -> Result<(), Failure> {
    let query = LimitQuery {
        limit: Some(arguments.limit),
    };
    let alerts: AlertsInfo = client.get_with("/status/alerts", &query).await?;
    if output.json {
        return output.json(&alerts);
    }
    let mut targets = Table::new(&["TARGET", "PLACE"]);
    for target in &alerts.targets {
        targets.row([
            target.target.as_str().into(),
            match &target.place {
                Some(place) => place.as_str().into(),
                None => Cell::styled(Style::Faint, "not set in tidegate.toml"),
            },
        ]);
    }
    targets.print(output)?;
    if alerts.left_out > 0 {
        output.note(format_args!(
            "{} alert(s) were left out because too many waited",
            alerts.left_out
        ));
    }
    if alerts.alerts.is_empty() {
        output.note("no alerts in the last days");
        return Ok(());
    }
    output.line("")?;
    let mut table = Table::new(&["TIME", "TARGET", "STATE", "TRIES", "RULE", "ID", "LAST FAILURE"]);
    for alert in &alerts.alerts {
        let style = match alert.state.as_str() {
            "delivered" => Style::Good,
            "given up" => Style::Bad,
            _ => Style::Plain,
        };
        table.row([
            super::local(alert.time, output).into(),
            alert.target.as_str().into(),
            Cell::styled(style, &alert.state),
            u64::from(alert.failed_attempts).into(),
            alert.rule.as_str().into(),
            u64::from(alert.message_id).into(),
            alert.failure.as_deref().unwrap_or_default().into(),
        ]);
    }
    table.right(3);
    table.right(5);
    table.print(output)
}
