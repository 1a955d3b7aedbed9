//! The ledger: shown, followed, exported as evidence.

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use protocol::api::{LedgerChecked, LedgerEntryInfo, LedgerQuery, UsageReportInfo};
use protocol::usage::ledger::{LedgerCheck, LedgerEntry};

use super::super::Context;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::Style;
use crate::table::{Cell, Table};
use crate::words;

const PAGE: u32 = 1_000;
/// Longest line of an exported ledger: an entry, or a report in full.
const LINE_BYTES_MAX: u64 = 16 * 1024 * 1024;

#[derive(Debug, Subcommand)]
pub(super) enum LedgerVerb {
    /// What happened to one report, and the very bytes that left.
    Show {
        /// Id of the report.
        #[arg(value_name = "ID")]
        report: String,
    },
    /// Follow the chain of hashes: a missing or altered entry shows.
    Verify {
        /// An exported ledger, instead of the site's own.
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Write the whole ledger as JSON lines, with the bytes of every report.
    Export {
        /// File.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

pub(super) async fn run(verb: Option<LedgerVerb>, cx: &Context) -> Result<(), Failure> {
    match verb {
        None => list(cx).await,
        Some(LedgerVerb::Show { report }) => show(&report, cx).await,
        Some(LedgerVerb::Verify { file: None }) => verify(cx).await,
        Some(LedgerVerb::Verify { file: Some(file) }) => verify_file(&file, cx),
        Some(LedgerVerb::Export { file }) => export(&file, cx).await,
    }
}

async fn page(client: &Client, after: u64) -> Result<Vec<LedgerEntryInfo>, Failure> {
    let query = LedgerQuery {
        after,
        limit: Some(PAGE),
        report: None,
    };
    client.get_with("/usage/ledger", &query).await
}

async fn all(client: &Client) -> Result<Vec<LedgerEntryInfo>, Failure> {
    let mut entries: Vec<LedgerEntryInfo> = Vec::new();
    loop {
        let page = page(client, entries.last().map_or(0, |last| last.number)).await?;
        if page.is_empty() {
            return Ok(entries);
        }
        entries.extend(page);
    }
}

async fn list(cx: &Context) -> Result<(), Failure> {
    let output = &cx.output;
    let entries = all(&cx.client()?).await?;
    if output.json {
        return output.json(&entries);
    }
    if entries.is_empty() {
        return output.line("nothing has left yet");
    }
    let mut table = Table::new(&["Entry", "At", "Event", "Report", "Level", "Bytes", "Detail"]);
    table.right(0);
    table.right(5);
    for entry in &entries {
        table.row([
            entry.number.into(),
            output.when(entry.at).into(),
            entry.event.as_str().into(),
            entry.report.as_str().into(),
            entry.level.as_str().into(),
            entry.bytes.into(),
            detail(entry).into(),
        ]);
    }
    table.print(output)
}

/// The detail in a few words; a receipt is long.
fn detail(entry: &LedgerEntryInfo) -> String {
    match entry.event.as_str() {
        "receipt" => "signed receipt; `usage ledger show` prints it".to_owned(),
        "sending" => format!("to {}", words::harmless(&entry.detail)),
        "approved" | "discarded" => format!("by {}", words::harmless(&entry.detail)),
        _ => words::harmless(&entry.detail),
    }
}

async fn show(report: &str, cx: &Context) -> Result<(), Failure> {
    let output = &cx.output;
    let client = cx.client()?;
    let info: UsageReportInfo = client.get(&format!("/usage/reports/{report}")).await?;
    let query = LedgerQuery {
        report: Some(report.to_owned()),
        ..LedgerQuery::default()
    };
    let entries: Vec<LedgerEntryInfo> = client.get_with("/usage/ledger", &query).await?;
    let body = client
        .get_bytes(&format!("/usage/reports/{report}/body"), &())
        .await?;
    let body = String::from_utf8_lossy(&body).into_owned();
    if output.json {
        return output.json(&serde_json::json!({"report": info, "entries": entries, "body": body}));
    }
    let mut table = Table::of_values();
    table.value("Report", Cell::styled(Style::Bold, &info.report));
    table.value("State", info.state.clone());
    table.value("Level", info.level.clone());
    table.value("Collected", output.when(info.collected));
    table.value("SHA-256", info.sha256.clone());
    for entry in &entries {
        table.value(
            &output.when(entry.at),
            format!("{} {}", entry.event, detail(entry)),
        );
    }
    if let Some(receipt) = &info.receipt {
        table.value("Receipt", receipt.clone());
    }
    table.print(output)?;
    output.line(body.trim_end())
}

async fn verify(cx: &Context) -> Result<(), Failure> {
    let checked: LedgerChecked = cx.client()?.post_and_wait("/usage/ledger/verify").await?;
    if cx.output.json {
        cx.output.json(&checked)?;
    }
    match checked.broken {
        Some(broken) => Err(not_whole(&broken)),
        None if cx.output.json => Ok(()),
        None => cx.output.line(format_args!(
            "the ledger is whole: {} entries, the last has the hash {}",
            checked.entries, checked.head
        )),
    }
}

fn not_whole(broken: &str) -> Failure {
    Failure::new(format!("the ledger is not whole: {broken}"))
        .hint("compare it with an export or a backup; somebody or something changed the database")
}

fn verify_file(file: &Path, cx: &Context) -> Result<(), Failure> {
    let wrong = |detail: String| Failure::new(format!("{}: {detail}", file.display()));
    let opened = std::fs::File::open(file).map_err(|failure| wrong(failure.to_string()))?;
    let mut lines = std::io::BufReader::new(opened);
    let mut check = LedgerCheck::default();
    let mut line = String::new();
    loop {
        line.clear();
        let read = std::io::Read::take(&mut lines, LINE_BYTES_MAX).read_line(&mut line);
        if read.map_err(|failure| wrong(failure.to_string()))? == 0 {
            break;
        }
        let mut value: serde_json::Value =
            serde_json::from_str(&line).map_err(|failure| wrong(format!("a line is no entry: {failure}")))?;
        let body = value.as_object_mut().and_then(|entry| entry.remove("body"));
        let entry: LedgerEntry = serde_json::from_value(value)
            .map_err(|failure| wrong(format!("a line is no entry: {failure}")))?;
        check
            .next(&entry)
            .map_err(|broken| not_whole(&broken.to_string()))?;
        if let Some(body) = body.as_ref().and_then(|body| body.as_str()) {
            use sha2::Digest;
            if hex::encode(sha2::Sha256::digest(body)) != entry.sha256 {
                return Err(not_whole(&format!(
                    "the report of entry {} was altered",
                    entry.number
                )));
            }
        }
    }
    cx.output.line(format_args!(
        "the ledger is whole: {} entries, the last has the hash {}",
        check.entries, check.head
    ))
}

async fn export(file: &Path, cx: &Context) -> Result<(), Failure> {
    let client = cx.client()?;
    let entries = all(&client).await?;
    let mut text = Vec::new();
    for entry in &entries {
        let mut value = serde_json::to_value(entry)?;
        if entry.event == "sending" || entry.event == "carried" {
            let body = client
                .get_bytes(&format!("/usage/reports/{}/body", entry.report), &())
                .await?;
            value["body"] = serde_json::Value::String(String::from_utf8_lossy(&body).into_owned());
        }
        writeln!(text, "{value}").map_err(|failure| Failure::new(failure.to_string()))?;
    }
    site::directory::write_durably(file, &text, 0o600)
        .map_err(|failure| Failure::new(format!("cannot write {}: {failure}", file.display())))?;
    cx.output.note(format_args!(
        "{} entries; check the file anywhere with `tidegate usage ledger verify {}`",
        entries.len(),
        file.display()
    ));
    Ok(())
}
