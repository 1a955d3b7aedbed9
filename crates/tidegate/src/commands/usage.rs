//! `tidegate usage`: what is collected at each level, seen before anything leaves.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use domain::usage_data::{Level, METRICS, Metric, metric};
use protocol::api::UsageQuery;
use protocol::usage::{UsageReport, csv};
use sha2::{Digest, Sha256};

use super::Context;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{Output, Style};
use crate::table::{Cell, Table};

/// Usage data: what each level holds, and the very bytes of a report
///
/// Nothing is collected that is not in the dictionary. This release does not send reports; it shows what
/// they would be.
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
    /// Everything that may ever be collected, and why.
    Dictionary {
        /// Only what this level holds.
        #[arg(long, value_name = "LEVEL")]
        level: Option<Level>,
    },
    /// What a datum means, why it is wanted, where it comes from, and its value here now.
    #[command(after_help = "Example:\n  tidegate usage explain hierarchy.id")]
    Explain {
        /// Name in the dictionary.
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Collect now and show exactly the bytes of a report.
    Preview {
        /// Level; the configured one unless given.
        #[arg(long, value_name = "LEVEL")]
        level: Option<Level>,
        /// Show only what differs from a report at this level.
        #[arg(long, value_name = "LEVEL")]
        diff: Option<Level>,
    },
    /// Collect now and write a report to a file: .json has the very bytes, .csv a line per datum.
    Export {
        /// File ending in .json or .csv.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Level; the configured one unless given.
        #[arg(long, value_name = "LEVEL")]
        level: Option<Level>,
    },
}

/// Runs the command.
pub async fn run(arguments: UsageArgs, cx: &Context) -> Result<(), Failure> {
    let output = &cx.output;
    match arguments.verb {
        Verb::Levels => levels(output),
        Verb::Dictionary { level } => dictionary(level, output),
        Verb::Explain { name } => explain(&name, cx).await,
        Verb::Preview { level, diff: None } => {
            let bytes = report(&cx.client()?, level).await?;
            let text = String::from_utf8_lossy(&bytes);
            output.line(text.trim_end())?;
            told(&bytes, output);
            Ok(())
        }
        Verb::Preview {
            level,
            diff: Some(other),
        } => {
            let client = cx.client()?;
            let (this, that) = (report(&client, level).await?, report(&client, Some(other)).await?);
            diff(&read(&this)?, &read(&that)?, output)
        }
        Verb::Export { file, level } => {
            let text = match file.extension().and_then(|extension| extension.to_str()) {
                Some("json") => Ok(None),
                Some("csv") => Ok(Some(())),
                _ => Err(Failure::usage(format!(
                    "{} ends in neither .json nor .csv",
                    file.display()
                ))),
            }?;
            let bytes = report(&cx.client()?, level).await?;
            let written = match text {
                None => bytes.clone(),
                Some(()) => csv(&read(&bytes)?).into_bytes(),
            };
            site::directory::write_durably(&file, &written, 0o600)
                .map_err(|failure| Failure::new(format!("cannot write {}: {failure}", file.display())))?;
            told(&bytes, output);
            Ok(())
        }
    }
}

async fn report(client: &Client, level: Option<Level>) -> Result<Vec<u8>, Failure> {
    let query = UsageQuery {
        level: level.map(|level| level.to_string()),
    };
    client.get_bytes("/usage/preview", &query).await
}

fn read(bytes: &[u8]) -> Result<UsageReport, Failure> {
    Ok(serde_json::from_slice(bytes)?)
}

fn told(bytes: &[u8], output: &Output) {
    output.note(format_args!(
        "{} bytes, SHA-256 {}",
        bytes.len(),
        hex::encode(Sha256::digest(bytes))
    ));
}

fn of_level(level: Level) -> impl Iterator<Item = &'static Metric> {
    METRICS.iter().filter(move |metric| metric.level <= level)
}

fn levels(output: &Output) -> Result<(), Failure> {
    if output.json {
        let levels = Level::ALL.map(|level| {
            let names: Vec<&str> = of_level(level).map(|metric| metric.name).collect();
            serde_json::json!({"level": level.as_str(), "purpose": level.purpose(), "data": names})
        });
        return output.json(&levels);
    }
    let mut table = Table::new(&["Level", "Data", "What it is for"]);
    table.right(1);
    for level in Level::ALL {
        table.row([
            level.as_str().into(),
            (of_level(level).count() as u64).into(),
            level.purpose().into(),
        ]);
    }
    table.print(output)
}

fn entry(metric: &Metric) -> serde_json::Value {
    serde_json::json!({
        "name": metric.name, "level": metric.level.as_str(), "category": metric.category.as_str(),
        "kind": metric.kind.as_str(), "unit": metric.unit, "protection": metric.protection.as_str(),
        "source": metric.source, "purpose": metric.purpose, "example": metric.example, "since": metric.since,
    })
}

fn dictionary(level: Option<Level>, output: &Output) -> Result<(), Failure> {
    let chosen = of_level(level.unwrap_or(Level::Full));
    if output.json {
        return output.json(&chosen.map(entry).collect::<Vec<_>>());
    }
    let mut table = Table::new(&["Name", "Level", "Kind", "Protection", "Why"]);
    for metric in chosen {
        table.row([
            metric.name.into(),
            metric.level.as_str().into(),
            metric.kind.as_str().into(),
            metric.protection.as_str().into(),
            metric.purpose.into(),
        ]);
    }
    table.print(output)
}

async fn explain(name: &str, cx: &Context) -> Result<(), Failure> {
    let output = &cx.output;
    let Some(metric) = metric(name) else {
        return Err(Failure::new(format!(
            "{name:?} is not in the dictionary: it is never collected"
        ))
        .hint("see everything that may be: tidegate usage dictionary"));
    };
    let report = read(&report(&cx.client()?, Some(metric.level)).await?)?;
    let value = report.values.get(metric.name);
    if output.json {
        let mut shown = entry(metric);
        shown["value"] = value.cloned().unwrap_or_default();
        return output.json(&shown);
    }
    let mut table = Table::of_values();
    table.value("Name", Cell::styled(Style::Bold, metric.name));
    table.value(
        "Value here now",
        value.map_or("not found out".to_owned(), ToString::to_string),
    );
    table.value("Kind", format!("{} {}", metric.kind.as_str(), metric.unit));
    table.value("From level", metric.level.as_str());
    table.value("Why", metric.purpose);
    table.value("Source", metric.source);
    table.value("Protection", metric.protection.as_str());
    table.value("Example", metric.example);
    table.value("Since release", metric.since);
    table.print(output)
}

fn diff(this: &UsageReport, that: &UsageReport, output: &Output) -> Result<(), Failure> {
    let mut names: Vec<&String> = this.values.keys().chain(that.values.keys()).collect();
    names.sort();
    names.dedup();
    names.retain(|name| this.values.get(*name) != that.values.get(*name));
    if output.json {
        let rows: Vec<serde_json::Value> = names
            .iter()
            .map(|name| serde_json::json!({"name": name, "this": this.values.get(*name), "that": that.values.get(*name)}))
            .collect();
        return output.json(&rows);
    }
    if names.is_empty() {
        return output.line("the reports have the same values");
    }
    let shown = |report: &UsageReport, name: &String| {
        report
            .values
            .get(name)
            .map_or("-".to_owned(), ToString::to_string)
    };
    let mut table = Table::new(&[
        "Name",
        &format!("At {}", this.level),
        &format!("At {}", that.level),
    ]);
    for name in names {
        table.row([
            name.as_str().into(),
            shown(this, name).into(),
            shown(that, name).into(),
        ]);
    }
    table.print(output)
}
