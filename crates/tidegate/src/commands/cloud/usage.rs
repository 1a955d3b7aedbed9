//! `tidegate cloud usage`: the fleet as it tells of itself, and how the intake does.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use cloud::ServiceDir;
use jiff::{SignedDuration, Timestamp};
use store::intake::{Fleet, IntakeListed};

use super::super::Context;
use crate::failure::Failure;
use crate::output::Output;
use crate::table::Table;
use crate::words;

const DAY_S: i64 = 24 * 60 * 60;

/// The fleet by version, level and platform, and what the intake took and refused
///
/// Counted by the newest report of each hierarchy. Hierarchies are keyed hashes; nothing here names one.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  tidegate cloud usage --dir service --page fleet.html")]
pub struct CloudUsageArgs {
    /// Hierarchies that reported within so many days.
    #[arg(long, value_name = "DAYS", default_value_t = 35, value_parser = clap::value_parser!(u32).range(1..=365))]
    days: u32,
    /// Also write a page with plots, one HTML file that needs nothing else.
    #[arg(long, value_name = "FILE")]
    page: Option<PathBuf>,
    #[command(subcommand)]
    verb: Option<UsageVerb>,
}

#[derive(Debug, Subcommand)]
enum UsageVerb {
    /// The newest reports.
    Reports {
        /// Only those that could not be read: of a newer release than this one.
        #[arg(long)]
        quarantined: bool,
        /// How many.
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: u32,
    },
    /// The bytes of a report as they came.
    Report {
        /// Id of the report.
        #[arg(value_name = "ID")]
        report: String,
    },
}

/// Runs the command.
pub async fn run(arguments: CloudUsageArgs, cx: &Context, now: Timestamp) -> Result<(), Failure> {
    let output = &cx.output;
    let dir = ServiceDir::new(&cx.directory);
    if !dir.receipt_key().exists() {
        cloud::Settings::load(&dir)?;
        return Err(Failure::new("this service takes no usage data")
            .hint("tell sites where it goes: tidegate cloud config usage"));
    }
    let store = cloud::intake::open_store(&dir).await?;
    match arguments.verb {
        None => {
            let span = SignedDuration::from_hours(24 * i64::from(arguments.days));
            let since = now.checked_sub(span).unwrap_or(Timestamp::MIN);
            let fleet = store
                .fleet(since)
                .await
                .map_err(|failure| Failure::of(&failure))?;
            let quarantined = store
                .reports(true, 20)
                .await
                .map_err(|failure| Failure::of(&failure))?;
            if let Some(file) = &arguments.page {
                let html = cloud::fleet_page(&fleet, &quarantined, arguments.days, now);
                site::directory::write_durably(file, html.as_bytes(), 0o644)
                    .map_err(|failure| Failure::new(format!("cannot write {}: {failure}", file.display())))?;
            }
            show(&fleet, output)
        }
        Some(UsageVerb::Reports { quarantined, limit }) => {
            let reports = store.reports(quarantined, limit).await;
            list(&reports.map_err(|failure| Failure::of(&failure))?, output)
        }
        Some(UsageVerb::Report { report }) => {
            let body = store
                .body(&report)
                .await
                .map_err(|failure| Failure::of(&failure))?;
            match body {
                Some(body) => output.line(body.trim_end()),
                None => Err(Failure::new(format!("there is no report {report}"))
                    .hint("list them: tidegate cloud usage reports")),
            }
        }
    }
}

/// The day as people write it.
fn day(day: i64) -> String {
    Timestamp::from_second(day * DAY_S).map_or_else(|_| day.to_string(), |at| at.to_string()[..10].to_owned())
}

fn show(fleet: &Fleet, output: &Output) -> Result<(), Failure> {
    if output.json {
        let counts = |rows: &[(i64, String, u64)]| -> Vec<serde_json::Value> {
            let row = |(at, what, count): &(i64, String, u64)| serde_json::json!({"day": day(*at), "what": what, "count": count});
            rows.iter().map(row).collect()
        };
        let by: serde_json::Map<String, serde_json::Value> = fleet
            .by
            .iter()
            .map(|(name, words)| {
                let rows = words
                    .iter()
                    .map(|(word, count)| serde_json::json!({"word": word, "hierarchies": count}));
                ((*name).to_owned(), rows.collect())
            })
            .collect();
        return output.json(&serde_json::json!({
            "hierarchies": fleet.hierarchies, "sites": fleet.sites, "devices": fleet.devices, "by": by,
            "reports": counts(&fleet.reports), "refused": counts(&fleet.refused),
        }));
    }
    let total = |rows: &[(i64, String, u64)]| rows.iter().map(|(_, _, count)| count).sum::<u64>();
    let mut table = Table::of_values();
    table.value("Hierarchies", fleet.hierarchies.to_string());
    table.value("Sites", fleet.sites.to_string());
    table.value("Devices, about", fleet.devices.to_string());
    table.value("Reports", total(&fleet.reports).to_string());
    table.value("Refused", total(&fleet.refused).to_string());
    table.print(output)?;
    let mut table = Table::new(&["By", "", "Hierarchies"]);
    table.right(2);
    for (name, rows) in &fleet.by {
        for (word, count) in rows {
            table.row([(*name).into(), words::harmless(word).into(), (*count).into()]);
        }
    }
    if !table.is_empty() {
        table.print(output)?;
    }
    Ok(())
}

fn list(reports: &[IntakeListed], output: &Output) -> Result<(), Failure> {
    if output.json {
        let rows: Vec<serde_json::Value> = reports
            .iter()
            .map(|report| {
                serde_json::json!({
                    "report": report.report, "hierarchy": report.hierarchy, "received": report.received_at,
                    "level": report.level, "bytes": report.bytes, "verdict": report.verdict, "problem": report.problem,
                })
            })
            .collect();
        return output.json(&rows);
    }
    if reports.is_empty() {
        return output.line("there is none");
    }
    let mut table = Table::new(&[
        "Report",
        "Received",
        "Hierarchy",
        "Level",
        "Bytes",
        "Verdict",
        "Not understood",
    ]);
    table.right(4);
    for report in reports {
        table.row([
            report.report.as_str().into(),
            output.when(report.received_at).into(),
            report.hierarchy.chars().take(12).collect::<String>().into(),
            words::harmless(&report.level).into(),
            report.bytes.into(),
            report.verdict.as_str().into(),
            words::harmless(&report.problem).into(),
        ]);
    }
    table.print(output)
}
