//! `tidegate site`: set up a site, show it.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use domain::hierarchy::SiteCode;
use domain::servicing::version::FullVersion;
use protocol::api::{SiteShow, SyncStatus};
use site::init::InitOptions;

use super::Context;
use crate::failure::Failure;
use crate::output::{Output, Style};
use crate::table::{Cell, Table};
use crate::words;

/// Most bytes of a root or certificate file.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Set up a site; show what it is and how it stands
#[derive(Debug, Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct SiteArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Set up a stand-alone primary site with its service connection point.
    #[command(after_help = "Example:\n  \
        tidegate site init --dir /srv/site --code XYZ --name Harbour \\\n      \
        --feed https://updates.example.com --root root.json --product-version 5.00.9096.1000")]
    Init(Init),
    /// Who the site is and how it stands: version, feed, synchronisation, space.
    Show,
}

#[derive(Debug, Args)]
struct Init {
    /// Site code: three letters or digits; not a reserved name.
    #[arg(long, value_name = "CODE", value_parser = site_code)]
    code: SiteCode,
    /// Name of the site for people.
    #[arg(long, value_name = "NAME")]
    name: String,
    /// Base address of the vendor's feed: https://, http:// or file:///.
    #[arg(long, value_name = "URL")]
    feed: String,
    /// root.json of the feed, received from the vendor by a way you trust; it is pinned.
    #[arg(long, value_name = "FILE")]
    root: PathBuf,
    /// Certificates (PEM) to trust for the feed's server beside the platform's.
    #[arg(long, value_name = "FILE")]
    feed_ca: Option<PathBuf>,
    /// Ring this hierarchy takes part in; repeatable.
    #[arg(long, value_name = "RING")]
    ring: Vec<String>,
    /// Serve console and API to browsers and other machines here, such as 0.0.0.0:8446; none unless given.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<std::net::SocketAddr>,
    /// Version of the product that is installed here now.
    #[arg(long, value_name = "VERSION", value_parser = full_version)]
    product_version: FullVersion,
}

fn site_code(text: &str) -> Result<SiteCode, String> {
    text.parse()
        .map_err(|refusal: domain::hierarchy::SiteCodeError| refusal.to_string())
}

fn full_version(text: &str) -> Result<FullVersion, String> {
    text.parse()
}

/// Runs the command.
pub async fn run(arguments: SiteArgs, cx: &Context) -> Result<(), Failure> {
    match arguments.verb {
        Verb::Init(arguments) => init(arguments, cx).await,
        Verb::Show => show(cx).await,
    }
}

/// `site init --json`
#[derive(Debug, serde::Serialize)]
struct Made {
    directory: PathBuf,
    site_code: String,
}

async fn init(arguments: Init, cx: &Context) -> Result<(), Failure> {
    let options = InitOptions {
        dir: cx.directory.clone(),
        code: arguments.code,
        name: arguments.name,
        feed_url: arguments.feed,
        ca: arguments.feed_ca.as_deref().map(read).transpose()?,
        root: read(&arguments.root)?,
        hierarchy_id: hierarchy_id()?,
        rings: arguments.ring,
        listen: arguments.listen,
        version: arguments.product_version,
    };
    let code = options.code.to_string();
    let now = cx.output.now();
    tokio::task::spawn_blocking(move || site::init::init(options, now)).await??;
    if cx.output.json {
        return cx.output.json(&Made {
            directory: cx.directory.clone(),
            site_code: code,
        });
    }
    cx.output.line(format_args!(
        "site {code} is set up in {}",
        cx.directory.display()
    ))?;
    let run = format!("tidegate run{}", cx.dir_option());
    cx.output.note(format_args!("next: {}", cx.output.command(run)));
    Ok(())
}

/// Reads a small file that was named on the command line.
pub fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let unreadable =
        |failure: std::io::Error| Failure::new(format!("cannot read {}: {failure}", path.display()));
    if std::fs::metadata(path).map_err(unreadable)?.len() > FILE_BYTES_MAX {
        return Err(Failure::new(format!(
            "{} is larger than any such file is",
            path.display()
        )));
    }
    std::fs::read(path).map_err(unreadable)
}

/// A random identity for a new hierarchy. It never leaves the hierarchy.
pub fn hierarchy_id() -> Result<String, Failure> {
    let mut random = [0; 16];
    getrandom::fill(&mut random)
        .map_err(|failure| Failure::new(format!("the machine gives no random numbers: {failure}")))?;
    Ok(hex::encode(random))
}

async fn show(cx: &Context) -> Result<(), Failure> {
    let client = cx.client()?;
    let site: SiteShow = client.get("/site").await?;
    let output = &cx.output;
    if output.json {
        return output.json(&site);
    }
    let mut table = Table::of_values();
    table.value(
        "Site",
        format!("{} {} ({})", site.site_code, site.name, site.site_type),
    );
    table.value("Version", Cell::styled(Style::Bold, &site.version));
    table.value("Directory", site.directory.as_str());
    table.value("Machine", site.machine.as_str());
    table.value(
        "Running since",
        format!(
            "{}, release {}",
            output.when(site.running_since),
            site.tidegate_version
        ),
    );
    table.value("Feed", site.feed_url.as_str());
    table.value("Mode", mode(&site));
    table.value(
        "Rings",
        if site.rings.is_empty() {
            "none".to_owned()
        } else {
            site.rings.join(", ")
        },
    );
    table.value("Packages known", site.packages);
    table.value("Free space", words::bytes(site.free_bytes));
    sync_values(output, &mut table, &site.sync);
    table.print(output)
}

fn mode(site: &SiteShow) -> String {
    if site.mode_configured == site.mode_effective {
        site.mode_effective.clone()
    } else {
        format!(
            "{}; {} is configured and takes effect when SMS_DMP_DOWNLOADER restarts",
            site.mode_effective, site.mode_configured
        )
    }
}

fn sync_values(output: &Output, table: &mut Table, sync: &SyncStatus) {
    let state = if sync.running {
        Cell::from("checking for updates now")
    } else if sync.requested {
        Cell::from("asked for; waits for SMS_DMP_DOWNLOADER")
    } else if sync.failure.is_some() {
        Cell::styled(Style::Bad, "the last check failed")
    } else if sync.succeeded_at.is_some() {
        Cell::styled(Style::Good, "up to date")
    } else {
        Cell::styled(Style::Warning, "never checked")
    };
    table.value("Feed check", state);
    table.value("Last good check", output.when_if(sync.succeeded_at));
    if let Some(failure) = &sync.failure {
        let reason = sync
            .failure_reason
            .as_ref()
            .map_or(String::new(), |reason| format!("{reason}: "));
        table.value(
            "Failed",
            format!("{}, {reason}{failure}", output.when_if(sync.failed_at)),
        );
    }
    table.value("Next check", output.when_if(sync.next_at));
    for role in &sync.trusted {
        let style = if role.expires <= output.now() {
            Style::Bad
        } else {
            Style::Plain
        };
        table.value(
            &format!("Trusted {}", role.role),
            Cell::styled(
                style,
                format!("version {}, expires {}", role.version, output.when(role.expires)),
            ),
        );
    }
}
