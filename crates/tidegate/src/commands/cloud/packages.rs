//! Packages of a feed: publishing them, and what is said about them.

use cloud::{PublishRequest, Stamp, Step};
use content::publish::Progress as PayloadStep;
use domain::servicing::package::{PackageGuid, PackageRecord};
use jiff::Timestamp;
use serde::Serialize;

use crate::failure::Failure;
use crate::output::{Output, Style};
use crate::progress::{Bytes, Progress};
use crate::table::{Cell, Table};
use crate::words;

/// `cloud publish --json`
#[derive(Debug, Serialize)]
struct Published {
    guid: String,
    name: String,
    full_version: String,
    already_published: bool,
    files: u64,
    bytes: u64,
    download_bytes: u64,
    new_bytes: u64,
    new_packs: usize,
    /// Files whose bytes were read; the others were as at an earlier publishing.
    read_files: u64,
    read_bytes: u64,
    deltas: Vec<Deltas>,
}

/// Deltas from one package, or from nothing.
#[derive(Debug, Serialize)]
struct Deltas {
    base: Option<String>,
    bytes: u64,
}

/// Publishes a package and says what it adds to the feed.
pub fn publish(request: &PublishRequest, output: &Output, stamp: Stamp) -> Result<(), Failure> {
    // It goes through phases, and ends with the last of them.
    allocator::give_large_blocks_back();
    let mut progress = Progress::new(output);
    let result = cloud::publish(request, stamp, &mut |step| match step {
        Step::Payload(PayloadStep::Scanning { bytes, .. }) => {
            progress.count("reading the payload", words::bytes(bytes));
        }
        Step::Deltas { done, total } => {
            progress.show(
                "making deltas",
                Some(Bytes {
                    done,
                    total,
                    rate: None,
                }),
            );
        }
        Step::Payload(PayloadStep::Compressing { done, total }) => {
            progress.show(
                "compressing",
                Some(Bytes {
                    done,
                    total,
                    rate: None,
                }),
            );
        }
    });
    progress.end();
    let report = result?;
    let record = &report.record;
    let published = Published {
        guid: record.guid.to_string(),
        name: record.name().to_owned(),
        full_version: record.full_version.to_string(),
        already_published: report.already_published,
        files: record.payload.files,
        bytes: record.payload.bytes,
        download_bytes: record.payload.download_bytes,
        new_bytes: report.new_bytes,
        new_packs: report.new_packs,
        read_files: report.read_files,
        read_bytes: report.read_bytes,
        deltas: record
            .payload
            .deltas
            .iter()
            .map(|delta| Deltas {
                base: delta.base.map(|base| base.to_string()),
                bytes: delta.bytes,
            })
            .collect(),
    };
    if let Some(note) = &report.note {
        output.note(note);
    }
    if output.json {
        return output.json(&published);
    }
    if published.already_published {
        return output.line(format_args!(
            "{} {} was published already",
            published.guid,
            words::harmless(&published.name)
        ));
    }
    let mut table = Table::of_values();
    table.value("Published", Cell::styled(Style::Bold, &published.name));
    table.value("GUID", published.guid.as_str());
    table.value("Version", published.full_version.as_str());
    table.value(
        "Payload",
        format!(
            "{} in {}",
            words::bytes(published.bytes),
            words::counted(published.files, "file", "files")
        ),
    );
    table.value(
        "Read",
        format!(
            "{} of {}, {}",
            published.read_files,
            words::counted(published.files, "file", "files"),
            words::bytes(published.read_bytes)
        ),
    );
    table.value("Cold download", words::bytes(published.download_bytes));
    for delta in &published.deltas {
        let from = match &delta.base {
            Some(base) => format!("Delta from {}", crate::commands::updates::short(base)),
            None => "Delta from nothing".to_owned(),
        };
        table.value(&from, words::bytes(delta.bytes));
    }
    table.value("Added to the feed", words::bytes(published.new_bytes));
    table.print(output)
}

/// `cloud withdraw --json`, `cloud rollout --json`
#[derive(Debug, Serialize)]
struct Changed {
    guid: String,
    changed: bool,
}

/// Says what became of a package.
pub fn changed(output: &Output, guid: PackageGuid, changed: bool, what: &str) -> Result<(), Failure> {
    if output.json {
        return output.json(&Changed {
            guid: guid.to_string(),
            changed,
        });
    }
    let already = if changed { "" } else { " (as it was already)" };
    output.line(format_args!("{guid} {what}{already}"))
}

/// `cloud rollout --json` without a package.
#[derive(Debug, Serialize)]
struct Listed {
    guid: String,
    name: String,
    full_version: String,
    released: Timestamp,
    rings: Vec<String>,
    rollout_percent: u8,
    rollout_when: Option<String>,
    withdrawn: Option<String>,
}

/// Lists packages with their shares.
pub fn list(output: &Output, records: &[PackageRecord]) -> Result<(), Failure> {
    let listed: Vec<Listed> = records
        .iter()
        .map(|record| Listed {
            guid: record.guid.to_string(),
            name: record.name().to_owned(),
            full_version: record.full_version.to_string(),
            released: record.released,
            rings: record.rings.clone(),
            rollout_percent: record.rollout_percent,
            rollout_when: record.rollout_when.clone(),
            withdrawn: record.withdrawn.clone(),
        })
        .collect();
    if output.json {
        return output.json(&listed);
    }
    if listed.is_empty() {
        output.note("nothing is published yet");
        return Ok(());
    }
    let mut table = Table::new(&["GUID", "NAME", "VERSION", "SHARE", "WHERE", "RINGS", "WITHDRAWN"]);
    for package in &listed {
        let rings = if package.rings.is_empty() {
            "all".to_owned()
        } else {
            package.rings.join(", ")
        };
        table.row([
            package.guid.as_str().into(),
            package.name.as_str().into(),
            package.full_version.as_str().into(),
            format!("{} %", package.rollout_percent).into(),
            package.rollout_when.as_deref().unwrap_or("all").into(),
            rings.into(),
            Cell::styled(Style::Bad, package.withdrawn.as_deref().unwrap_or_default()),
        ]);
    }
    table.right(3);
    table.print(output)
}
