//! `cloud config`, `cloud notice` and `cloud history`: what a feed says beside packages, and who changed it.

use std::path::PathBuf;

use clap::Subcommand;
use cloud::{Outcome, ServiceDir, Stamp};
use domain::servicing::package::PackageGuid;
use jiff::Timestamp;
use protocol::notice::{Notice, NoticeCategory};

use super::super::Context;
use crate::failure::Failure;
use crate::output::{Output, Style};
use crate::table::{Cell, Table};
use crate::words;

#[derive(Debug, Subcommand)]
pub(super) enum ConfigVerb {
    /// Publish a catalogue of the internet endpoints that sites have to reach.
    Endpoints {
        /// The catalogue, in the form of `docs/reference/endpoints.md`.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Tell sites where usage data goes: beside the feed, served by `cloud serve`, or to an address.
    ///
    /// Makes the key that signs receipts when it is first needed. Sites take the address over at their
    /// next check.
    Usage {
        /// Address of an intake of this service, `https://host/usage/v1/`; beside the feed unless given.
        #[arg(long, value_name = "URL", conflicts_with = "off")]
        address: Option<String>,
        /// Take no usage data: sites send none from their next check on.
        #[arg(long)]
        off: bool,
    },
    /// Change how sites use this service: copies of the feed that they may fetch content from.
    ///
    /// It comes into force at a site when an administrator restarts SMS_EXECUTIVE; a notification asks for it and
    /// names the hosts. Without arguments it shows what is published.
    Service {
        /// What changed, for administrators.
        #[arg(long, value_name = "TEXT", required_unless_present = "show")]
        what: Option<String>,
        /// Base address of a copy of the feed, https; repeatable. These replace the ones before.
        #[arg(long, value_name = "URL", requires = "what")]
        mirror: Vec<String>,
        /// Show what is published.
        #[arg(long, conflicts_with = "what")]
        show: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum NoticeVerb {
    /// The messages that are published.
    List,
    /// Publish a message, or put one differently: the same id again is the same message.
    #[command(
        after_help = "Example:\n  tidegate cloud notice publish --dir service --id gateway-certificate \\\n    \
            --category prevent-or-fix --title \"Renew the gateway's certificate\" --text \"It ends in May.\" --until 2027-06-01T00:00:00Z"
    )]
    Publish {
        /// Its name: lower-case letters, digits and hyphens.
        #[arg(long, value_name = "ID")]
        id: String,
        /// What it is for: prevent-or-fix, plan-for-change or stay-informed.
        #[arg(long, value_name = "CATEGORY")]
        category: NoticeCategory,
        /// One line.
        #[arg(long, value_name = "TEXT")]
        title: String,
        /// What the matter is and what to do.
        #[arg(long, value_name = "TEXT")]
        text: String,
        /// Where more is said, https.
        #[arg(long, value_name = "URL")]
        link: Option<String>,
        /// Until when it is shown.
        #[arg(long, value_name = "TIME")]
        until: Option<Timestamp>,
    },
    /// Take a message back.
    Retract {
        /// Its name.
        #[arg(value_name = "ID")]
        id: String,
    },
}

pub(super) fn config(verb: ConfigVerb, cx: &Context, stamp: Stamp) -> Result<(), Failure> {
    let (directory, output) = (cx.directory.as_path(), &cx.output);
    let (changed, text) = match verb {
        ConfigVerb::Endpoints { file } => match cloud::set_endpoints(directory, &file, stamp)? {
            true => (
                true,
                "the catalogue of endpoints is published; sites take it over at their next check",
            ),
            false => (false, "the feed has this catalogue of endpoints already"),
        },
        ConfigVerb::Usage { address, off } => {
            let changed = cloud::set_intake(directory, address.as_deref(), !off, stamp)?;
            if changed && !off && !output.json {
                output.note("a `cloud serve` that runs already takes usage data when it is started again");
            }
            let text = match (changed, off) {
                (true, false) => {
                    "the feed says where usage data goes; sites take it over at their next check"
                }
                (true, true) => "the feed takes no usage data; sites send none from their next check on",
                (false, _) => "the feed says so already",
            };
            (changed, text)
        }
        ConfigVerb::Service { what: None, .. } => return show_service(cx),
        ConfigVerb::Service {
            what: Some(what),
            mirror,
            ..
        } => match cloud::set_service_config(directory, &what, &mirror, stamp)? {
            true => (
                true,
                "published; sites ask their administrators to restart SMS_EXECUTIVE after their next check",
            ),
            false => (false, "the feed says so already"),
        },
    };
    if output.json {
        return output.json(&serde_json::json!({ "changed": changed }));
    }
    output.line(text)
}

fn show_service(cx: &Context) -> Result<(), Failure> {
    let config = cloud::service_config(&cx.directory)?;
    if cx.output.json {
        return cx.output.json(&config);
    }
    let Some(config) = config else {
        return cx
            .output
            .line("the feed says nothing of how the service wants to be used");
    };
    let mut table = Table::of_values();
    table.value("Version", config.version.to_string());
    table.value("What changed", words::harmless(&config.what));
    table.value("Published", cx.output.when(config.published));
    for mirror in &config.mirrors {
        table.value("Copy of the feed", words::harmless(mirror));
    }
    table.print(&cx.output)
}

pub(super) fn notice(verb: Option<NoticeVerb>, cx: &Context, stamp: Stamp) -> Result<(), Failure> {
    let (directory, output) = (cx.directory.as_path(), &cx.output);
    let (id, changed, text) = match verb.unwrap_or(NoticeVerb::List) {
        NoticeVerb::List => return list(&cloud::notices(directory)?, output),
        NoticeVerb::Publish {
            id,
            category,
            title,
            text,
            link,
            until,
        } => {
            let notice = Notice {
                id: id.clone(),
                category,
                title,
                body: text,
                link,
                published: stamp.at,
                until,
            };
            let changed = cloud::set_notice(directory, notice, stamp)?;
            (id, changed, "is published; sites show it after their next check")
        }
        NoticeVerb::Retract { id } => {
            let changed = cloud::retract_notice(directory, &id, stamp)?;
            if !changed {
                return Err(Failure::new(format!("the feed has no message {id:?}"))
                    .hint("list them: tidegate cloud notice"));
            }
            (id, changed, "is taken back; sites drop it after their next check")
        }
    };
    if output.json {
        return output.json(&serde_json::json!({ "id": id, "changed": changed }));
    }
    output.line(format_args!("{id} {text}"))
}

fn list(notices: &[Notice], output: &Output) -> Result<(), Failure> {
    if output.json {
        return output.json(&notices);
    }
    if notices.is_empty() {
        return output.line("there is none");
    }
    let mut table = Table::new(&["ID", "CATEGORY", "PUBLISHED", "UNTIL", "TITLE"]);
    for notice in notices {
        table.row([
            notice.id.as_str().into(),
            notice.category.as_str().into(),
            output.when(notice.published).into(),
            notice
                .until
                .map_or(String::new(), |until| output.when(until))
                .into(),
            words::harmless(&notice.title).into(),
        ]);
    }
    table.print(output)
}

pub(super) fn history(package: Option<PackageGuid>, limit: usize, cx: &Context) -> Result<(), Failure> {
    let dir = ServiceDir::new(&cx.directory);
    cloud::Settings::load(&dir)?;
    let mut entries = cloud::history(&dir, package)?;
    entries.truncate(limit);
    let output = &cx.output;
    let outcome = |outcome: &Outcome| match outcome {
        Outcome::Done => "done".to_owned(),
        Outcome::Failed(why) => format!("failed: {why}"),
        Outcome::Unknown => "not known: the process ended meanwhile".to_owned(),
    };
    if output.json {
        let rows: Vec<serde_json::Value> = entries
            .iter()
            .map(|entry| {
                serde_json::json!({
                    "at": entry.at, "by": entry.by, "did": entry.did, "package": entry.package.map(|guid| guid.to_string()),
                    "name": entry.name, "detail": entry.detail, "outcome": outcome(&entry.outcome),
                })
            })
            .collect();
        return output.json(&rows);
    }
    if entries.is_empty() {
        return output.line("nothing was changed since this feed keeps a history");
    }
    let mut table = Table::new(&["WHEN", "WHO", "DID", "WHAT", "OUTCOME"]);
    for entry in &entries {
        let what = [entry.name.as_str(), entry.detail.as_str()]
            .into_iter()
            .filter(|text| !text.is_empty())
            .collect::<Vec<_>>()
            .join(": ");
        let style = match entry.outcome {
            Outcome::Done => Style::Good,
            Outcome::Failed(_) => Style::Bad,
            Outcome::Unknown => Style::Warning,
        };
        table.row([
            output.when(entry.at).into(),
            words::harmless(&entry.by).into(),
            entry.did.as_str().into(),
            words::harmless(&what).into(),
            Cell::styled(style, outcome(&entry.outcome)),
        ]);
    }
    table.print(output)
}
