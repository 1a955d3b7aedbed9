//! Reports: shown as they would leave, compared, exported, collected, sent, held.

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use domain::usage_data::Level;
use domain::usage_data::sending::{ReportState, Sending};
use protocol::api::{UsageQuery, UsageReportInfo, UsageSending, UsageShow};
use protocol::usage::{UsageReport, csv};
use sha2::{Digest, Sha256};

use super::super::Context;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{Output, Style};
use crate::table::{Cell, Table};
use crate::words;

/// Time between two looks at a report that is being sent.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// What a report is compared with.
#[derive(Debug, Clone, Copy)]
pub(super) enum Against {
    /// A report at this level, collected now.
    Level(Level),
    /// The last report that was sent.
    Last,
}

impl FromStr for Against {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "last" => Ok(Against::Last),
            text => text
                .parse()
                .map(Against::Level)
                .map_err(|problem: String| format!("{problem}, or last")),
        }
    }
}

/// A report collected now.
pub(super) async fn fresh(client: &Client, level: Option<Level>) -> Result<Vec<u8>, Failure> {
    let query = UsageQuery {
        level: level.map(|level| level.to_string()),
    };
    client.get_bytes("/usage/preview", &query).await
}

pub(super) fn read(bytes: &[u8]) -> Result<UsageReport, Failure> {
    Ok(serde_json::from_slice(bytes)?)
}

async fn body(client: &Client, report: &str) -> Result<Vec<u8>, Failure> {
    client
        .get_bytes(&format!("/usage/reports/{report}/body"), &())
        .await
}

async fn state(client: &Client) -> Result<UsageShow, Failure> {
    client.get("/usage").await
}

fn is_open(report: &UsageReportInfo) -> bool {
    ReportState::parse(&report.state).is_some_and(ReportState::is_open)
}

/// The report that goes out next, if one waits.
fn waiting(show: &UsageShow) -> Option<&UsageReportInfo> {
    show.reports.iter().rev().find(|report| is_open(report))
}

fn told(bytes: &[u8], output: &Output) {
    output.note(format_args!(
        "{} bytes, SHA-256 {}",
        bytes.len(),
        hex::encode(Sha256::digest(bytes))
    ));
}

/// The bytes that go out next, and what they are.
async fn next(client: &Client, level: Option<Level>) -> Result<(Vec<u8>, String), Failure> {
    if level.is_none()
        && let Some(report) = waiting(&state(client).await?)
    {
        let what = format!("the report {}, which is {}", report.report, report.state);
        return Ok((body(client, &report.report).await?, what));
    }
    Ok((
        fresh(client, level).await?,
        "collected now; nothing of it is kept".to_owned(),
    ))
}

pub(super) async fn preview(level: Option<Level>, cx: &Context) -> Result<(), Failure> {
    let (bytes, what) = next(&cx.client()?, level).await?;
    cx.output.line(String::from_utf8_lossy(&bytes).trim_end())?;
    cx.output.note(what);
    told(&bytes, &cx.output);
    Ok(())
}

pub(super) async fn diff(level: Option<Level>, against: Against, cx: &Context) -> Result<(), Failure> {
    let client = cx.client()?;
    let (this, _) = next(&client, level).await?;
    let this = read(&this)?;
    let (that, named) = match against {
        Against::Level(level) => (fresh(&client, Some(level)).await?, format!("At {level}")),
        Against::Last => {
            let show = state(&client).await?;
            let sent = show
                .reports
                .iter()
                .find(|report| report.state == ReportState::Sent.as_str());
            let Some(sent) = sent else {
                return Err(
                    Failure::new("no report was sent yet, so there is nothing to compare with")
                        .hint("compare with a level: tidegate usage preview --diff basic"),
                );
            };
            (
                body(&client, &sent.report).await?,
                format!("Sent {}", cx.output.when(sent.collected)),
            )
        }
    };
    let names = [format!("At {}", this.level), named];
    show_diff(&this, &read(&that)?, names, &cx.output)
}

pub(super) async fn export(
    file: &Path,
    level: Option<Level>,
    report: Option<String>,
    cx: &Context,
) -> Result<(), Failure> {
    let as_csv = match file.extension().and_then(|extension| extension.to_str()) {
        Some("json") => Ok(false),
        Some("csv") => Ok(true),
        _ => Err(Failure::usage(format!(
            "{} ends in neither .json nor .csv",
            file.display()
        ))),
    }?;
    let client = cx.client()?;
    let bytes = match (level, report) {
        (Some(level), _) => fresh(&client, Some(level)).await?,
        (None, Some(report)) => body(&client, &report).await?,
        (None, None) => {
            let show = state(&client).await?;
            let Some(report) = waiting(&show).or(show.reports.first()) else {
                let next = cx.output.when(show.next_collection);
                return Err(Failure::new(format!("no data yet: the first collection is {next}"))
                    .hint("collect now: tidegate usage collect; or only look: tidegate usage export FILE --level LEVEL"));
            };
            body(&client, &report.report).await?
        }
    };
    let written = match as_csv {
        false => bytes.clone(),
        true => csv(&read(&bytes)?).into_bytes(),
    };
    site::directory::write_durably(file, &written, 0o600)
        .map_err(|failure| Failure::new(format!("cannot write {}: {failure}", file.display())))?;
    told(&bytes, &cx.output);
    Ok(())
}

pub(super) async fn show(cx: &Context) -> Result<(), Failure> {
    let output = &cx.output;
    let show = state(&cx.client()?).await?;
    if output.json {
        return output.json(&show);
    }
    let mut table = Table::of_values();
    table.value("Level", show.level.clone());
    table.value("Sending", show.sending.clone());
    let unknown = || "the feed does not say".to_owned();
    table.value(
        "Goes to",
        show.intake_problem
            .clone()
            .or(show.intake.clone())
            .unwrap_or_else(unknown),
    );
    table.value("Next collection", output.when(show.next_collection));
    table.print(output)?;
    if show.reports.is_empty() {
        return output.line("no report was collected yet");
    }
    let mut table = Table::new(&[
        "Report",
        "Collected",
        "Level",
        "State",
        "Bytes",
        "What it waits for",
    ]);
    table.right(4);
    for report in &show.reports {
        let waits = match (&report.failure, report.next_attempt) {
            (Some(failure), Some(at)) if is_open(report) => {
                format!("{failure}; next try {}", output.when(at))
            }
            (Some(failure), _) => failure.clone(),
            (None, _) => String::new(),
        };
        table.row([
            report.report.as_str().into(),
            output.when(report.collected).into(),
            report.level.as_str().into(),
            report.state.as_str().into(),
            report.bytes.into(),
            words::harmless(&waits).into(),
        ]);
    }
    table.print(output)
}

fn show_report(report: &UsageReportInfo, output: &Output) -> Result<(), Failure> {
    if output.json {
        return output.json(report);
    }
    let mut table = Table::of_values();
    table.value("Report", Cell::styled(Style::Bold, &report.report));
    table.value("State", report.state.clone());
    table.value("Level", report.level.clone());
    table.value("Collected", output.when(report.collected));
    table.value("Bytes", report.bytes.to_string());
    table.value("SHA-256", report.sha256.clone());
    table.print(output)
}

pub(super) async fn collect(cx: &Context) -> Result<(), Failure> {
    let report: UsageReportInfo = cx.client()?.post_and_wait("/usage/collect").await?;
    show_report(&report, &cx.output)
}

pub(super) async fn upload(no_wait: bool, cx: &Context) -> Result<(), Failure> {
    let client = cx.client()?;
    let done_before: Vec<String> = state(&client)
        .await?
        .reports
        .into_iter()
        .filter(|report| !is_open(report))
        .map(|report| report.report)
        .collect();
    client.post("/usage/upload", &()).await?;
    if no_wait {
        return Ok(());
    }
    let mut tried = None;
    loop {
        let show = state(&client).await?;
        let ours = show
            .reports
            .iter()
            .find(|report| !done_before.contains(&report.report));
        if let Some(report) = ours {
            match ReportState::parse(&report.state) {
                Some(ReportState::Sent) => return show_report(report, &cx.output),
                Some(ReportState::Refused | ReportState::Discarded | ReportState::Replaced) => {
                    let why = report
                        .failure
                        .clone()
                        .unwrap_or_else(|| format!("it is {}", report.state));
                    return Err(Failure::new(format!(
                        "the report {} was not sent: {why}",
                        report.report
                    )));
                }
                _ if show.sending == Sending::Hold.as_str() && report.state == "collected" => {
                    return Err(
                        Failure::new(format!("the report {} waits for approval", report.report))
                            .hint("look at it: tidegate usage preview; let it go: tidegate usage approve"),
                    );
                }
                _ => {
                    // A failure that was there before the first look is one of an earlier attempt.
                    let attempts = *tried.get_or_insert(report.attempts);
                    if report.attempts > attempts
                        && let Some(failure) = &report.failure
                    {
                        return Err(Failure::new(format!(
                            "the report {} was not sent: {failure}",
                            report.report
                        ))
                        .hint(
                            "the site tries again by itself; `tidegate check --site` checks internet access",
                        ));
                    }
                }
            }
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

pub(super) async fn sending(sending: Option<Sending>, cx: &Context) -> Result<(), Failure> {
    let client = cx.client()?;
    let now: UsageSending = match sending {
        None => client.get("/usage/sending").await?,
        Some(sending) => {
            let request = UsageSending {
                sending: sending.to_string(),
            };
            client.put_for("/usage/sending", &request).await?
        }
    };
    match cx.output.json {
        true => cx.output.json(&now),
        false => cx.output.line(now.sending),
    }
}

pub(super) async fn decide(what: &str, report: Option<String>, cx: &Context) -> Result<(), Failure> {
    let client = cx.client()?;
    let report = match report {
        Some(report) => report,
        None => match waiting(&state(&client).await?) {
            Some(report) => report.report.clone(),
            None => {
                return Err(
                    Failure::new("no report waits").hint("`tidegate usage show` lists the newest reports")
                );
            }
        },
    };
    let report: UsageReportInfo = client
        .post_for(&format!("/usage/reports/{report}/{what}"), &())
        .await?;
    show_report(&report, &cx.output)
}

pub(super) async fn rotate_keys(yes: bool, cx: &Context) -> Result<(), Failure> {
    if !yes {
        return Err(Failure::usage(
            "with new keys this hierarchy is another one to the vendor, who can no longer bring its reports together \
             with earlier ones; say --yes to do it",
        ));
    }
    cx.client()?.post("/usage/rotate-keys", &()).await?;
    cx.output
        .line("the keys are replaced; the next report has the new ones")
}

fn show_diff(
    this: &UsageReport,
    that: &UsageReport,
    names: [String; 2],
    output: &Output,
) -> Result<(), Failure> {
    let [left, right] = names;
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
    let mut table = Table::new(&["Name", &left, &right]);
    for name in names {
        table.row([
            name.as_str().into(),
            shown(this, name).into(),
            shown(that, name).into(),
        ]);
    }
    table.print(output)
}
