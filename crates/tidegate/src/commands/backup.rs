//! `tidegate backup`: what a machine that burned down has to be given back.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use protocol::api::{BackupRequest, BackupScheduleInfo, BackupsInfo};
use serde::Serialize;

use super::Context;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{Output, Style};
use crate::table::{Cell, Table};
use crate::words;

/// How often a running site is asked whether a backup has ended.
const ASK_EVERY: Duration = Duration::from_millis(300);

/// Backups of a site: make one, schedule them, give a site back
///
/// A backup holds the database, the configuration, trust, secrets and what is installed. Content is not in it: it comes
/// from the feed again, verified like the first time.
#[derive(Debug, Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct BackupArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a backup now, and wait for it. The site goes on meanwhile.
    #[command(after_help = "Example:\n  tidegate backup run --folder /srv/backups")]
    Run {
        /// Folder of backups on the site server, an absolute path; that of the schedule unless given.
        #[arg(long, value_name = "FOLDER")]
        folder: Option<PathBuf>,
    },
    /// What is scheduled, how the last attempt ended, and what is there.
    List,
    /// Set when backups are made; without options, show it.
    #[command(after_help = "Examples:\n  \
        tidegate backup schedule --folder /srv/backups --at 02:00 --every-days 1 --keep 7\n  \
        tidegate backup schedule --off")]
    Schedule {
        /// Folder of backups on the site server, an absolute path.
        #[arg(long, value_name = "FOLDER")]
        folder: Option<PathBuf>,
        /// Time of the day, by the site's own clock.
        #[arg(long, value_name = "HH:MM", default_value = "02:00", requires = "folder")]
        at: String,
        /// Days between two, 1 to 31.
        #[arg(long, value_name = "N", default_value_t = 1, requires = "folder")]
        every_days: u32,
        /// How many are kept, 1 to 100.
        #[arg(long, value_name = "N", default_value_t = 7, requires = "folder")]
        keep: u32,
        /// Make backups on request only.
        #[arg(long, conflicts_with = "folder")]
        off: bool,
    },
    /// Give a site back into the directory named by --dir, which is empty or holds the same site and does not run.
    ///
    /// Everything is checked before anything changes. What was there before is set aside in a folder of the directory.
    #[command(after_help = "Example:\n  \
        tidegate backup restore --dir /var/lib/tidegate /srv/backups/TG1-20261121T020000Z")]
    Restore {
        /// A backup.
        #[arg(value_name = "BACKUP")]
        backup: PathBuf,
    },
}

/// Runs the command.
pub async fn run(arguments: BackupArgs, cx: &Context) -> Result<(), Failure> {
    match arguments.verb {
        Verb::Restore { backup } => restore(backup, cx).await,
        Verb::Run { folder } => back_up(folder, cx).await,
        Verb::List => show(&cx.output, &cx.client()?.get("/backups").await?),
        Verb::Schedule {
            folder: None,
            off: false,
            ..
        } => show(&cx.output, &cx.client()?.get("/backups").await?),
        Verb::Schedule {
            folder: None,
            off: true,
            ..
        } => {
            let client = cx.client()?;
            client.delete("/backups/schedule").await?;
            show(&cx.output, &client.get("/backups").await?)
        }
        Verb::Schedule {
            folder: Some(folder),
            at,
            every_days,
            keep,
            ..
        } => {
            let schedule = BackupScheduleInfo {
                folder: absolute(&folder)?,
                every_days,
                at,
                keep,
            };
            let client = cx.client()?;
            client.put("/backups/schedule", &schedule).await?;
            show(&cx.output, &client.get("/backups").await?)
        }
    }
}

fn absolute(folder: &std::path::Path) -> Result<String, Failure> {
    let path = std::path::absolute(folder)?;
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| Failure::new(format!("{} is no UTF-8 text", path.display())))
}

async fn back_up(folder: Option<PathBuf>, cx: &Context) -> Result<(), Failure> {
    let client = cx.client()?;
    let folder = folder.map(|folder| absolute(&folder)).transpose()?;
    let before: BackupsInfo = client.get("/backups").await?;
    client.post("/backups", &BackupRequest { folder }).await?;
    let after = finished(&client, &before).await?;
    let last = after
        .last
        .as_ref()
        .ok_or_else(|| Failure::new("the site does not say how the backup ended"))?;
    if let Some(why) = &last.failure {
        return Err(
            Failure::new(format!("the backup to {} failed: {why}", last.folder))
                .hint(format!("more: tidegate logs SMS_SITE_BACKUP{}", cx.dir_option())),
        );
    }
    if cx.output.json {
        return cx.output.json(last);
    }
    let bytes = words::bytes(last.bytes.unwrap_or_default());
    cx.output
        .line(format_args!("backed up to {}: {bytes}", last.folder))
}

/// Waits until the backup that was asked for has ended.
async fn finished(client: &Client, before: &BackupsInfo) -> Result<BackupsInfo, Failure> {
    loop {
        let info: BackupsInfo = client.get("/backups").await?;
        if info.requested.is_none() && info.last != before.last {
            return Ok(info);
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

fn show(output: &Output, info: &BackupsInfo) -> Result<(), Failure> {
    if output.json {
        return output.json(info);
    }
    let mut table = Table::of_values();
    match &info.schedule {
        None => table.value("Schedule", "none; backups are made on request only"),
        Some(schedule) => {
            table.value(
                "Schedule",
                format!(
                    "every {} at {}",
                    words::counted(u64::from(schedule.every_days), "day", "days"),
                    schedule.at
                ),
            );
            table.value("Folder", words::harmless(&schedule.folder));
            table.value("Kept", u64::from(schedule.keep).to_string());
        }
    }
    if let Some(next) = info.next {
        table.value("Next", output.when(next));
    }
    if let Some(last) = &info.last {
        let (style, how) = match &last.failure {
            None => (Style::Good, "complete".to_owned()),
            Some(why) => (Style::Bad, format!("failed: {}", words::harmless(why))),
        };
        table.value(
            "Last attempt",
            Cell::styled(style, format!("{}, {how}", output.when(last.at))),
        );
    }
    if let Some(good) = info.last_good {
        table.value("Last good one", output.when(good));
    }
    table.print(output)?;
    if info.backups.is_empty() {
        return Ok(());
    }
    let mut table = Table::new(&["MADE", "FOLDER"]);
    for backup in &info.backups {
        table.row([
            output.when(backup.made).into(),
            words::harmless(&backup.path).into(),
        ]);
    }
    table.print(output)
}

/// `backup restore --json`
#[derive(Debug, Serialize)]
struct Given {
    site: String,
    made: jiff::Timestamp,
    product: Option<String>,
    set_aside: Option<PathBuf>,
    fetched_again: u32,
}

async fn restore(backup: PathBuf, cx: &Context) -> Result<(), Failure> {
    let (directory, now) = (cx.directory.clone(), cx.output.now());
    let work = move || site::backup::restore(&directory, &backup, now);
    let restored = tokio::task::spawn_blocking(work)
        .await?
        .map_err(|failure| Failure::of(&failure))?;
    let output = &cx.output;
    if output.json {
        return output.json(&Given {
            site: restored.manifest.site.clone(),
            made: restored.manifest.made,
            product: restored.manifest.product.clone(),
            set_aside: restored.set_aside,
            fetched_again: restored.fetched_again,
        });
    }
    output.line(format_args!(
        "site {} is as it was {}",
        restored.manifest.site,
        output.when(restored.manifest.made)
    ))?;
    if let Some(aside) = &restored.set_aside {
        output.note(format_args!("what was here before is in {}", aside.display()));
    }
    if restored.fetched_again > 0 {
        output.note(format_args!(
            "{} fetched again before it can be installed",
            words::counted(u64::from(restored.fetched_again), "package is", "packages are")
        ));
    }
    output.note(format_args!(
        "start it: {}",
        output.command(format_args!("tidegate run{}", cx.dir_option()))
    ));
    Ok(())
}
