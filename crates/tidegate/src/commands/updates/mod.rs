//! `tidegate updates`: what is offered and why, download, prerequisite check, installation.

mod show;

pub use show::short;

use std::time::Duration;

use clap::{Args, Subcommand};
use domain::servicing::package::PackageGuid;
use protocol::api::{
    FeatureInfo, FeatureRequest, HistoryEntry, InstallRequest, LimitQuery, ResetRequest, SiteUpdateStatus,
    SyncStatus, UpdateSummary, UpdatesQuery,
};

use super::Context;
use crate::client::{Client, segment};
use crate::failure::Failure;
use crate::follow::{self, Goal};
use crate::output::Output;
use crate::words;

/// Update packages: what is offered and why, download, check, install
///
/// UPDATE is a package's GUID, the unique beginning of one (four digits or more), or a version such as
/// 5.00.9135.1000 that only one package has.
#[derive(Debug, Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct UpdatesArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// What is offered to this site, with state and reason.
    #[command(after_help = "Examples:\n  tidegate updates list\n  tidegate updates list --all --json")]
    List {
        /// Hidden packages too: not applicable, superseded, withdrawn.
        #[arg(long)]
        all: bool,
    },
    /// Everything about one package, or how its content would get here.
    #[command(
        after_help = "Examples:\n  tidegate updates show 8576527E\n  tidegate updates show 8576527E --plan"
    )]
    Show {
        #[command(flatten)]
        update: Selector,
        /// Where its content comes from, with bytes: what is here, deltas, blocks. Fetches none of it.
        #[arg(long)]
        plan: bool,
    },
    /// Each condition of a package with expected and actual value, for hidden packages too.
    #[command(after_help = "Example:\n  tidegate updates why 8576527E")]
    Why(Selector),
    /// Check for updates now.
    Check {
        #[command(flatten)]
        wait: Wait,
    },
    /// Download a package; the newest applicable one downloads by itself.
    Download {
        #[command(flatten)]
        update: Selector,
        #[command(flatten)]
        wait: Wait,
    },
    /// Run the prerequisite check of a package and install nothing.
    Prereq {
        #[command(flatten)]
        update: Selector,
        #[command(flatten)]
        wait: Wait,
    },
    /// Check prerequisites and install a package.
    #[command(after_help = "Examples:\n  \
        tidegate updates install 8576527E --wait\n  \
        tidegate updates install 5.00.9135.1000 --ignore-warnings")]
    Install {
        #[command(flatten)]
        update: Selector,
        /// Continue in spite of prerequisite warnings; errors always stop.
        #[arg(long)]
        ignore_warnings: bool,
        /// Turn this feature on afterwards; repeatable.
        #[arg(long, value_name = "FEATURE")]
        feature_on: Vec<String>,
        /// Leave this feature off although it would be turned on; repeatable.
        #[arg(long, value_name = "FEATURE")]
        feature_off: Vec<String>,
        #[command(flatten)]
        wait: Wait,
    },
    /// Start a package again that failed; implies that warnings are ignored.
    Retry {
        #[command(flatten)]
        update: Selector,
        #[command(flatten)]
        wait: Wait,
    },
    /// Continue an installation that stopped at prerequisite warnings.
    IgnoreWarnings {
        #[command(flatten)]
        update: Selector,
        #[command(flatten)]
        wait: Wait,
    },
    /// Reset a package that is stuck before its installation.
    ///
    /// A package that is not downloaded is forgotten and read again from the feed; a downloaded one is
    /// kept and its replication begins anew. Installed packages are never touched.
    Reset {
        #[command(flatten)]
        update: Selector,
        /// Delete it even if it is downloaded.
        #[arg(long)]
        force: bool,
    },
    /// Recorded state changes, newest first.
    History {
        /// Most entries.
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// Where started packages stand, step by step, with prerequisite results.
    Status {
        /// Only this package.
        #[arg(value_name = "UPDATE")]
        update: Option<String>,
    },
    /// Optional features; turn one on.
    Features {
        /// Turn this feature on. A feature that is on stays on.
        #[arg(long, value_name = "FEATURE")]
        turn_on: Option<String>,
    },
}

#[derive(Debug, Args)]
struct Selector {
    /// GUID, unique beginning of one, or version.
    #[arg(value_name = "UPDATE")]
    update: String,
}

#[derive(Debug, Args)]
struct Wait {
    /// Follow it to its end; exit code 1 if it fails.
    #[arg(long)]
    wait: bool,
    /// Follow it no longer than this, such as 90s, 30m, 2h; exit code 1 if it is not over. The site goes on.
    #[arg(long, value_name = "TIME", requires = "wait", value_parser = super::duration)]
    timeout: Option<Duration>,
}

impl Wait {
    /// Follows work, for as long as is wanted.
    async fn follow<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let Some(timeout) = self.timeout else {
            return work.await;
        };
        tokio::time::timeout(timeout, work).await.unwrap_or_else(|_| {
            Err(
                Failure::new(format!("it is not over after {}", words::span(timeout.as_secs())))
                    .hint("the site goes on with it; see how it stands: tidegate updates status"),
            )
        })
    }
}

/// Runs the command.
pub async fn run(arguments: UpdatesArgs, cx: &Context) -> Result<(), Failure> {
    let client = cx.client()?;
    let output = &cx.output;
    match arguments.verb {
        Verb::List { all } => {
            let updates: Vec<UpdateSummary> =
                client.get_with("/updates", &UpdatesQuery::listing(all)).await?;
            show::list(output, &updates, all)
        }
        Verb::Show { update, plan: true } => {
            let update = resolve(&client, &update.update).await?;
            show::plan(output, &client.get(&format!("/updates/{update}/plan")).await?)
        }
        Verb::Show { update, plan: false } => {
            let update = resolve(&client, &update.update).await?;
            show::detail(output, &client.get(&format!("/updates/{update}")).await?)
        }
        Verb::Why(Selector { update }) => {
            let update = resolve(&client, &update).await?;
            show::why(output, &client.get(&format!("/updates/{update}/why")).await?)
        }
        Verb::Check { wait } => check(&client, cx, &wait).await,
        Verb::Download { update, wait } => {
            work(
                &client,
                output,
                &update.update,
                "download",
                &(),
                Goal::Downloaded,
                &wait,
            )
            .await
        }
        Verb::Prereq { update, wait } => {
            work(
                &client,
                output,
                &update.update,
                "prereq",
                &(),
                Goal::Checked,
                &wait,
            )
            .await
        }
        Verb::Install {
            update,
            ignore_warnings,
            feature_on,
            feature_off,
            wait,
        } => {
            let goal = if ignore_warnings {
                Goal::InstalledDespiteWarnings
            } else {
                Goal::Installed
            };
            let request = InstallRequest {
                ignore_warnings,
                features_on: feature_on,
                features_off: feature_off,
            };
            work(&client, output, &update.update, "install", &request, goal, &wait).await
        }
        Verb::Retry { update, wait } => {
            let goal = Goal::InstalledDespiteWarnings;
            work(&client, output, &update.update, "retry", &(), goal, &wait).await
        }
        Verb::IgnoreWarnings { update, wait } => {
            let goal = Goal::InstalledDespiteWarnings;
            work(
                &client,
                output,
                &update.update,
                "ignore-warnings",
                &(),
                goal,
                &wait,
            )
            .await
        }
        Verb::Reset { update, force } => {
            let update = resolve(&client, &update.update).await?;
            client
                .post(&format!("/updates/{update}/reset"), &ResetRequest { force })
                .await?;
            output.note("reset; the next check for updates reads it again if it is gone");
            if output.json {
                output.json(&protocol_done(&update))
            } else {
                Ok(())
            }
        }
        Verb::History { limit } => {
            let entries: Vec<HistoryEntry> = client
                .get_with("/history", &LimitQuery { limit: Some(limit) })
                .await?;
            show::history(output, &entries)
        }
        Verb::Status { update } => {
            let guid = match update {
                Some(text) => Some(resolve(&client, &text).await?),
                None => None,
            };
            let query = protocol::api::UpdateStatusQuery { guid };
            let statuses: Vec<SiteUpdateStatus> = client.get_with("/update-status", &query).await?;
            show::status(output, &statuses)
        }
        Verb::Features { turn_on } => {
            if let Some(feature) = turn_on {
                client
                    .put(
                        &format!("/features/{}", segment(&feature)),
                        &FeatureRequest { on: true },
                    )
                    .await?;
            }
            let features: Vec<FeatureInfo> = client.get("/features").await?;
            show::features(output, &features)
        }
    }
}

/// What `--json` prints for an act without a result of its own.
fn protocol_done(guid: &str) -> serde_json::Value {
    serde_json::json!({ "guid": guid })
}

/// Asks for a check and follows it if that is wanted.
async fn check(client: &Client, cx: &Context, wait: &Wait) -> Result<(), Failure> {
    let output = &cx.output;
    let before: SyncStatus = client.get("/sync").await?;
    client.post("/sync", &()).await?;
    if !wait.wait {
        output.note(format_args!(
            "asked; follow it with {}",
            output.command(format_args!("tidegate site show{}", cx.dir_option()))
        ));
        return if output.json {
            output.json(&client.get::<SyncStatus>("/sync").await?)
        } else {
            Ok(())
        };
    }
    let sync = wait.follow(follow::check(client, output, &before)).await?;
    if output.json {
        return output.json(&sync);
    }
    let updates: Vec<UpdateSummary> = client.get_with("/updates", &UpdatesQuery::listing(false)).await?;
    show::list(output, &updates, false)
}

/// Asks for work on a package and follows it if that is wanted.
async fn work(
    client: &Client,
    output: &Output,
    update: &str,
    verb: &str,
    request: &impl serde::Serialize,
    goal: Goal,
    wait: &Wait,
) -> Result<(), Failure> {
    let guid = resolve(client, update).await?;
    let before = follow::status_of(client, &guid).await?;
    client.post(&format!("/updates/{guid}/{verb}"), request).await?;
    let status = if wait.wait {
        wait.follow(follow::package(client, output, &guid, goal, &before))
            .await?
    } else {
        follow::status_of(client, &guid).await?
    };
    if output.json {
        return output.json(&status);
    }
    if wait.wait {
        show::ended(output, &status)
    } else {
        let command = output.command(format_args!("tidegate updates status {}", show::short(&guid)));
        output.note(format_args!(
            "accepted: {}; follow it with {command}",
            before.update.name
        ));
        Ok(())
    }
}

/// The GUID that a person means.
async fn resolve(client: &Client, text: &str) -> Result<String, Failure> {
    if let Ok(guid) = text.parse::<PackageGuid>() {
        return Ok(guid.to_string());
    }
    let updates: Vec<UpdateSummary> = client.get_with("/updates", &UpdatesQuery::listing(true)).await?;
    pick(text, &updates).map(str::to_owned)
}

/// The one package that `text` means.
fn pick<'a>(text: &str, updates: &'a [UpdateSummary]) -> Result<&'a str, Failure> {
    let wanted = text.to_ascii_uppercase();
    let begins = |update: &&UpdateSummary| wanted.len() >= 4 && update.guid.starts_with(&wanted);
    let has_version = |update: &&UpdateSummary| update.full_version == text;
    let found: Vec<&UpdateSummary> = updates
        .iter()
        .filter(|update| begins(update) || has_version(update))
        .collect();
    match found.as_slice() {
        [one] => Ok(&one.guid),
        [] => Err(Failure::new(format!("no update package is meant by {text:?}"))
            .hint("see them all, hidden ones too: tidegate updates list --all")),
        several => {
            let guids: Vec<&str> = several
                .iter()
                .take(5)
                .map(|update| update.guid.as_str())
                .collect();
            Err(
                Failure::new(format!("{text:?} may mean {} packages", several.len()))
                    .hint(format!("write one of {}", guids.join(", "))),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(guid: &str, version: &str) -> UpdateSummary {
        serde_json::from_value(serde_json::json!({
            "guid": guid, "name": "N", "full_version": version, "update_type": "update",
            "state": {"code": 262146, "name": "DOWNLOAD_SUCCESS", "label": "Ready to install"},
            "since": "2026-11-21T12:00:00Z", "released": "2026-11-01T00:00:00Z",
            "download_bytes": 1, "bytes": 2, "newest": true, "reason": "",
            "failure": null, "next_attempt_at": null, "blocked_by": null, "transfer": null
        }))
        .unwrap()
    }

    #[test]
    fn packages_are_meant_by_beginning_or_version() {
        let updates = [
            update("8576527E-0000-0000-0000-000000000001", "5.00.9135.1000"),
            update("85760000-0000-0000-0000-000000000002", "5.00.9140.1000"),
            update("AA928926-0000-0000-0000-000000000003", "5.00.9140.1000"),
        ];
        let check = |text: &str, expected: Option<&str>| {
            let found = pick(text, &updates).ok().map(|guid| &guid[..8]);
            assert_eq!(found, expected, "{text}");
        };
        check("8576527e", Some("8576527E"));
        check("8576", None);
        check("857", None);
        check("AA92", Some("AA928926"));
        check("5.00.9135.1000", Some("8576527E"));
        check("5.00.9140.1000", None);
        check("", None);
    }
}
