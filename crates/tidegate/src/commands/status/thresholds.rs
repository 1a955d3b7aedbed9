//! `tidegate status thresholds`: the counts at which a component changes colour.

use clap::{Args, Subcommand};
use domain::component::ComponentName;
use protocol::api::{ThresholdInfo, ThresholdRequest};

use super::{Severity, severity_style};
use crate::client::{Client, segment};
use crate::failure::Failure;
use crate::output::Output;
use crate::table::{Cell, Table};

#[derive(Debug, Args)]
pub struct ThresholdsArgs {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Set the counts for one severity, of a component or of all that have none of their own.
    ///
    /// Reaching a number is enough. Whatever is set here, a cloud service that cannot be reached (message 11488) turns
    /// its component Critical at once.
    #[command(after_help = "Examples:\n  \
        tidegate status thresholds set SMS_DMP_DOWNLOADER --severity warning --warning 5 --critical 20\n  \
        tidegate status thresholds set all --severity error --warning 2 --critical 10")]
    Set {
        /// Component, or all.
        #[arg(value_name = "NAME", value_parser = component_or_all)]
        name: String,
        /// Severity of the messages that are counted.
        #[arg(long, value_enum)]
        severity: Severity,
        /// Count that makes it Warning.
        #[arg(long, value_name = "N")]
        warning: u64,
        /// Count that makes it Critical; not below the other.
        #[arg(long, value_name = "N")]
        critical: u64,
    },
    /// Take back what was set for a component, or for all.
    Reset {
        /// Component, or all.
        #[arg(value_name = "NAME", value_parser = component_or_all)]
        name: String,
    },
}

fn component_or_all(text: &str) -> Result<String, String> {
    match text.eq_ignore_ascii_case("all") {
        true => Ok("all".to_owned()),
        false => text.parse::<ComponentName>().map(|name| name.to_string()),
    }
}

pub async fn run(client: &Client, output: &Output, arguments: ThresholdsArgs) -> Result<(), Failure> {
    let thresholds: Vec<ThresholdInfo> = match arguments.verb {
        None => client.get("/status/thresholds").await?,
        Some(Verb::Set {
            name,
            severity,
            warning,
            critical,
        }) => {
            let request = ThresholdRequest {
                severity: severity.as_str().to_owned(),
                warning_at: warning,
                critical_at: critical,
            };
            client
                .put_for(&format!("/status/thresholds/{}", segment(&name)), &request)
                .await?
        }
        Some(Verb::Reset { name }) => {
            client
                .delete_for(&format!("/status/thresholds/{}", segment(&name)))
                .await?
        }
    };
    if output.json {
        return output.json(&thresholds);
    }
    let mut table = Table::new(&["COMPONENT", "MESSAGES", "WARNING AT", "CRITICAL AT", "SET HERE"]);
    for threshold in &thresholds {
        table.row([
            threshold.component.as_str().into(),
            Cell::styled(severity_style(&threshold.severity), &threshold.severity),
            threshold.warning_at.into(),
            threshold.critical_at.into(),
            match threshold.set {
                true => "yes",
                false => "",
            }
            .into(),
        ]);
    }
    table.right(2);
    table.right(3);
    table.print(output)
}
