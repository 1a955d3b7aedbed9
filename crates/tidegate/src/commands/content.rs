//! `tidegate content`: the content library. One process has a library open, so a running site is asked
//! to do the work; without one, it is done here.

use clap::{Args, Subcommand};
use content::Library;
use protocol::api::{ContentCollected, ContentStats, ContentVerified};
use site::directory::SiteDirectory;

use super::Context;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{Output, Style};
use crate::progress::{Bytes, Progress};
use crate::table::Table;
use crate::words;

/// The content library: what it holds, whether it is sound, what nothing needs any more
///
/// Works whether the site runs or not.
#[derive(Debug, Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct ContentArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Verb {
    /// What the library holds and how much of it packages share.
    Stats,
    /// Read every object and compare it with its hash; exit code 1 if one is damaged.
    ///
    /// Damaged objects are set aside in content/quarantine. A running site fetches what packages lack by that which are
    /// ready to install; without one, that begins with downloading them again.
    Verify,
    /// Remove objects that no package needs any more.
    Gc,
}

/// Runs the command.
pub async fn run(arguments: ContentArgs, cx: &Context) -> Result<(), Failure> {
    let client = Client::open_if_running(&cx.directory)?;
    match arguments.verb {
        Verb::Stats => {
            let stats = match client {
                Some(client) => client.get("/content").await?,
                None => here(cx, |library, _| figures(library)).await?,
            };
            show_stats(&cx.output, &stats)
        }
        Verb::Verify => {
            let verified = match client {
                Some(client) => {
                    let mut progress = Progress::new(&cx.output);
                    progress.show("the running site reads its content library", None);
                    let verified = client.post_and_wait("/content/verify").await;
                    progress.end();
                    verified?
                }
                None => here(cx, verify).await?,
            };
            show_verified(cx, &verified)
        }
        Verb::Gc => {
            let collected = match client {
                Some(client) => client.post_and_wait("/content/gc").await?,
                None => here(cx, |library, _| collect(library)).await?,
            };
            show_collected(&cx.output, &collected)
        }
    }
}

/// Does work on the library of a site that does not run. It blocks on files.
async fn here<T: Send + 'static>(
    cx: &Context,
    work: impl FnOnce(&Library, &Output) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let (directory, output) = (SiteDirectory::new(&cx.directory), cx.output.clone());
    if !directory.content().is_dir() {
        return Err(super::run::no_site(cx));
    }
    tokio::task::spawn_blocking(move || work(&Library::open(&directory.content(), 0)?, &output)).await?
}

fn figures(library: &Library) -> Result<ContentStats, Failure> {
    let found = library.stats()?;
    Ok(ContentStats {
        packages: found.references,
        objects: found.objects,
        logical_bytes: found.logical_bytes,
        stored_bytes: found.stored_bytes,
        shared_bytes: found.shared_bytes,
        unreferenced_bytes: found.unreferenced_bytes,
        partial_objects: found.partial_objects,
    })
}

fn verify(library: &Library, output: &Output) -> Result<ContentVerified, Failure> {
    let total = library.stats()?.stored_bytes;
    let mut progress = Progress::new(output);
    let result = library.verify(&mut |bytes| {
        progress.show(
            "reading objects",
            Some(Bytes {
                done: bytes,
                total,
                rate: None,
            }),
        );
    });
    progress.end();
    let report = result?;
    Ok(ContentVerified {
        objects: report.checked,
        bytes: report.bytes,
        damaged: report.damaged.iter().map(ToString::to_string).collect(),
        incomplete: library.incomplete()?,
        repairing: Vec::new(),
    })
}

fn collect(library: &Library) -> Result<ContentCollected, Failure> {
    let report = library.gc()?;
    Ok(ContentCollected {
        objects: report.removed,
        bytes: report.bytes,
    })
}

fn show_stats(output: &Output, stats: &ContentStats) -> Result<(), Failure> {
    if output.json {
        return output.json(stats);
    }
    let mut table = Table::of_values();
    table.value("Packages", stats.packages);
    table.value("Bytes of their files", words::bytes(stats.logical_bytes));
    table.value("Objects", stats.objects);
    table.value("On their way", stats.partial_objects);
    table.value("Stored", words::bytes(stats.stored_bytes));
    table.value("Saved by sharing", words::bytes(stats.shared_bytes));
    table.value("Needed by no package", words::bytes(stats.unreferenced_bytes));
    table.print(output)
}

fn show_verified(cx: &Context, verified: &ContentVerified) -> Result<(), Failure> {
    let output = &cx.output;
    if output.json {
        output.json(verified)?;
    } else {
        let read = format!(
            "{} ({}) read",
            words::counted(verified.objects, "object", "objects"),
            words::bytes(verified.bytes)
        );
        match verified.damaged.len() {
            0 => output.line(format_args!("{read}, all sound"))?,
            damaged => output.line(format_args!(
                "{read}, {} damaged and set aside:\n{}",
                output.styled(Style::Bad, damaged),
                verified.damaged.join("\n")
            ))?,
        }
    }
    if verified.damaged.is_empty() {
        return Ok(());
    }
    for (package, lacking) in &verified.incomplete {
        if verified.repairing.contains(package) {
            output.note(format_args!(
                "package {package} lacks {}; they are fetched again",
                words::counted(*lacking, "object", "objects"),
            ));
            continue;
        }
        output.note(format_args!(
            "package {package} lacks {}; fetch them: {}",
            words::counted(*lacking, "object", "objects"),
            output.command(format_args!(
                "tidegate updates download {package}{}",
                cx.dir_option()
            ))
        ));
    }
    Err(Failure::Told)
}

fn show_collected(output: &Output, collected: &ContentCollected) -> Result<(), Failure> {
    if output.json {
        return output.json(collected);
    }
    output.line(format_args!(
        "{} removed, {} free again",
        words::counted(collected.objects, "object", "objects"),
        words::bytes(collected.bytes)
    ))
}
