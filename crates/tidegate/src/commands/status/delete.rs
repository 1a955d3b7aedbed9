//! `tidegate status delete` and `tidegate status export`: getting rid of messages, and taking them along.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use domain::component::ComponentName;
use protocol::api::{
    DELETE_GROUP_MAX, LIMIT_MAX, StatusDeleteRequest, StatusDeleted, StatusMessageInfo, StatusMessageQuery,
};

use super::{Severity, component_name};
use crate::client::Client;
use crate::commands::Since;
use crate::failure::Failure;
use crate::output::Output;

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub struct DeleteArgs {
    /// Records to delete, by record id; `status messages --json` shows them.
    #[arg(
        long, value_name = "RECORD", num_args = 1.., value_delimiter = ',',
        conflicts_with_all = ["component", "severity", "message_id", "before"]
    )]
    id: Vec<i64>,
    /// Messages of this component.
    #[arg(long, value_name = "NAME", value_parser = component_name)]
    component: Option<ComponentName>,
    /// Messages of this severity.
    #[arg(long, value_enum)]
    severity: Option<Severity>,
    /// Messages with this message id.
    #[arg(long, value_name = "ID")]
    message_id: Option<u32>,
    /// Messages raised before this time: RFC 3339, or an age such as 90m, 24h, 7d; now unless given.
    #[arg(long, value_name = "TIME", value_parser = crate::commands::since)]
    before: Option<Since>,
}

pub async fn delete(client: &Client, output: &Output, arguments: DeleteArgs) -> Result<(), Failure> {
    let mut deleted = 0_u64;
    let mut ask = async |request: StatusDeleteRequest| {
        let answer: StatusDeleted = client.post_for("/status/messages/delete", &request).await?;
        deleted += answer.deleted;
        Ok::<_, Failure>(answer.more)
    };
    if arguments.id.is_empty() {
        // One instant for the whole deletion: the audits of its first parts are not what was meant.
        let before = arguments.before.map(|before| before.resolve(output.now()));
        let request = StatusDeleteRequest {
            component: arguments.component.map(|name| name.to_string()),
            severity: arguments.severity.map(|severity| severity.as_str().to_owned()),
            id: arguments.message_id,
            before: Some(before.unwrap_or_else(|| output.now())),
            ..StatusDeleteRequest::default()
        };
        while ask(request.clone()).await? {}
    }
    for group in arguments.id.chunks(DELETE_GROUP_MAX) {
        let request = StatusDeleteRequest {
            record_ids: group.to_vec(),
            ..StatusDeleteRequest::default()
        };
        ask(request).await?;
    }
    if output.json {
        return output.json(&StatusDeleted { deleted, more: false });
    }
    output.note(format_args!("{deleted} message(s) deleted"));
    Ok(())
}

#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Only of this component.
    #[arg(long, value_name = "NAME", value_parser = component_name)]
    component: Option<ComponentName>,
    /// Only of this severity.
    #[arg(long, value_enum)]
    severity: Option<Severity>,
    /// Only with this message id.
    #[arg(long, value_name = "ID")]
    id: Option<u32>,
    /// Only since this time: RFC 3339, or an age such as 90m, 24h, 7d.
    #[arg(long, value_name = "TIME", value_parser = crate::commands::since)]
    since: Option<Since>,
    /// One message a line, or a table with a heading.
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    format: Format,
    /// File to write; stdout unless given.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// JSON, one message a line, as `status messages --json` shows it.
    Jsonl,
    /// Comma-separated values; the insertion strings are one JSON text.
    Csv,
}

/// Columns of the table, in their order.
const COLUMNS: [&str; 12] = [
    "record_id",
    "time",
    "severity",
    "message_type",
    "message_id",
    "component",
    "machine",
    "site_code",
    "process_id",
    "text",
    "insertion_strings",
    "severity_code",
];

/// Newest first, page by page: nothing is held but one page.
pub async fn export(client: &Client, output: &Output, arguments: ExportArgs) -> Result<(), Failure> {
    let mut target: Box<dyn Write + Send> = match &arguments.out {
        Some(path) => Box::new(BufWriter::new(
            File::create(path).map_err(|failure| not_written(path, &failure))?,
        )),
        None => Box::new(BufWriter::new(std::io::stdout())),
    };
    let shown = arguments.out.clone().unwrap_or_else(|| PathBuf::from("stdout"));
    let failed = |failure: std::io::Error| not_written(&shown, &failure);
    let mut query = StatusMessageQuery {
        component: arguments.component.map(|name| name.to_string()),
        severity: arguments.severity.map(|severity| severity.as_str().to_owned()),
        id: arguments.id,
        since: arguments.since.map(|since| since.resolve(output.now())),
        before: None,
        limit: Some(LIMIT_MAX),
    };
    if matches!(arguments.format, Format::Csv) {
        writeln!(target, "{}", COLUMNS.join(",")).map_err(failed)?;
    }
    let mut count = 0_usize;
    loop {
        let page: Vec<StatusMessageInfo> = client.get_with("/status/messages", &query).await?;
        for message in &page {
            let line = match arguments.format {
                Format::Jsonl => serde_json::to_string(message)?,
                Format::Csv => row(message)?,
            };
            writeln!(target, "{line}").map_err(failed)?;
        }
        count += page.len();
        match page.last() {
            Some(last) if page.len() == LIMIT_MAX as usize => query.before = Some(last.record_id),
            Some(_) | None => break,
        }
    }
    target.flush().map_err(failed)?;
    output.note(format_args!("{count} message(s) exported"));
    Ok(())
}

fn not_written(path: &Path, failure: &std::io::Error) -> Failure {
    Failure::new(format!(
        "the export cannot be written to {}: {failure}",
        path.display()
    ))
}

/// A line of the table (RFC 4180): every text in quotes, with the quotes in it doubled.
fn row(message: &StatusMessageInfo) -> Result<String, Failure> {
    let text = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let strings = serde_json::to_string(&message.insertion_strings)?;
    Ok([
        message.record_id.to_string(),
        message.time.to_string(),
        text(&message.severity),
        text(&message.message_type),
        message.message_id.to_string(),
        text(&message.component),
        text(&message.machine),
        text(&message.site_code),
        message.process_id.to_string(),
        text(&message.text),
        text(&strings),
        message.severity_code.to_string(),
    ]
    .join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_table_has_every_column_and_harmless_quotes() {
        let message = StatusMessageInfo {
            record_id: 7,
            message_id: 500,
            severity: "informational".into(),
            severity_code: 0x4000_0000,
            message_type: "milestone".into(),
            component: "SMS_EXECUTIVE".into(),
            machine: "host".into(),
            site_code: "P01".into(),
            process_id: 1,
            time: "2026-11-21T12:00:00Z".parse().unwrap(),
            text: "it says \"no\", twice".into(),
            insertion_strings: vec!["a\"b".into()],
        };
        assert_eq!(
            row(&message).unwrap(),
            "7,2026-11-21T12:00:00Z,\"informational\",\"milestone\",500,\"SMS_EXECUTIVE\",\"host\",\"P01\",1,\
             \"it says \"\"no\"\", twice\",\"[\"\"a\\\"\"b\"\"]\",1073741824"
        );
    }
}
