//! `tidegate up`: the product's whole main job on this machine, told step by step.
//!
//! Nothing is special about what it sets up: a connected service and a site as anybody would run them,
//! both in this process. Each step looks first whether it was done before, so a second run continues.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use cloud::ServiceDir;
use cloud::intake::Intake;
use cloud::sample::SampleProgress;
use cloud::serve::ServeOptions;
use domain::servicing::state::PackageState;
use domain::servicing::version::FullVersion;
use executive::Clock;
use protocol::api::{AccountInfo, SetupLink, SiteUpdateStatus, SyncStatus, UpdateSummary, UpdatesQuery};
use serde::Serialize;
use site::directory::SiteDirectory;
use site::init::InitOptions;
use site::settings::Settings;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Context;
use crate::client::Client;
use crate::failure::Failure;
use crate::follow::{self, Goal};
use crate::output::{Output, Style};
use crate::progress::Progress;
use crate::signals::until_stopped;
use crate::words;

/// Folder of the sample service inside the site's directory.
const SERVICE_FOLDER: &str = "connected-service";
/// Site code and name of the sample site.
const SITE: (&str, &str) = ("TG1", "Sample site");
/// Every sample feed is the same.
const SAMPLE_SEED: u64 = 0x7469_6465;
/// How long a site may take until its API answers.
const START_TIME_MAX: Duration = Duration::from_secs(60);

/// Everything on this machine, to try: a vendor's service with a signed sample feed, and a site
///
/// A connected service with real keys and a signed sample feed, and a site that synchronises, verifies,
/// evaluates, downloads and checks. Ctrl-C ends everything cleanly; running it again continues.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  tidegate up --dir /tmp/try-tidegate")]
pub struct UpArgs {
    /// Port of the connected service; a free one unless given, the same again at the next run.
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// End after the prerequisite check instead of staying, for scripts.
    #[arg(long)]
    once: bool,
}

/// `up --json`, in one line once everything is ready.
#[derive(Debug, Serialize)]
struct Ready {
    directory: PathBuf,
    service: PathBuf,
    feed_url: String,
    site_code: String,
    newest: Option<String>,
    /// Address of the console; a link that sets up its first user if there is none.
    console: Option<String>,
    /// A link that opens the console of the connected service, once.
    service_console: String,
}

/// Runs the command.
pub async fn run(arguments: UpArgs, cx: &Context) -> Result<(), Failure> {
    until_stopped(&cx.output, async |shutdown| {
        everything(&arguments, cx, shutdown).await
    })
    .await
}

async fn everything(arguments: &UpArgs, cx: &Context, shutdown: CancellationToken) -> Result<(), Failure> {
    let mut running = JoinSet::new();
    let told = tokio::select! {
        told = tell(arguments, cx, &mut running, &shutdown) => told,
        () = shutdown.cancelled() => Ok(()),
    };
    let ended = match told {
        Ok(()) if arguments.once => Ok(()),
        Ok(()) => tokio::select! {
            Some(ended) = running.join_next() => flat(ended),
            () = shutdown.cancelled() => Ok(()),
        },
        Err(failure) => Err(failure),
    };
    shutdown.cancel();
    let mut result = ended;
    while let Some(ended) = running.join_next().await {
        // The first failure is the reason; the others follow from it.
        result = result.and(flat(ended));
    }
    result
}

fn flat(ended: Result<Result<(), Failure>, tokio::task::JoinError>) -> Result<(), Failure> {
    ended.map_err(Failure::from)?
}

async fn tell(
    arguments: &UpArgs,
    cx: &Context,
    running: &mut JoinSet<Result<(), Failure>>,
    shutdown: &CancellationToken,
) -> Result<(), Failure> {
    let directory = SiteDirectory::new(&cx.directory);
    let service = ServiceDir::new(cx.directory.join(SERVICE_FOLDER));
    let remembered = remembered_address(&directory, &service, arguments.port)?;

    heading(
        &cx.output,
        "1",
        "A vendor's connected service with a signed sample feed",
    );
    sample_feed(cx, &service).await?;
    let intake = Intake::open(&service, || Clock::System.now())
        .await?
        .map(Arc::new);
    let address = start_service(cx, &service, intake.clone(), remembered, running, shutdown).await?;
    let service_console = start_service_console(&service, intake, running, shutdown).await?;
    let feed_url = format!("https://localhost:{}", address.port());
    step(
        &cx.output,
        format_args!("serving {} at {feed_url}", service.repository().display()),
    );

    heading(&cx.output, "2", "A site that trusts this feed");
    if directory.configuration().exists() {
        step(&cx.output, format_args!("site {} is there already", SITE.0));
    } else {
        set_up_site(cx, &service, &feed_url).await?;
        step(
            &cx.output,
            format_args!("site {} is set up in {}", SITE.0, cx.directory.display()),
        );
    }
    let options = super::run::options(cx)?;
    let stop = shutdown.clone();
    running.spawn(async move { Ok(site::run(options, stop).await?) });
    let client = tokio::select! {
        client = started(cx) => client?,
        Some(ended) = running.join_next() => {
            return flat(ended).and(Err(Failure::new("the site ended before it had started")));
        }
    };
    step(&cx.output, "the site runs; its components work from now on");

    heading(
        &cx.output,
        "3",
        "First check for updates: fetch, verify, evaluate",
    );
    let before: SyncStatus = client.get("/sync").await?;
    client.post("/sync", &()).await?;
    follow::check(&client, &cx.output, &before).await?;
    let offered: Vec<UpdateSummary> = client.get_with("/updates", &UpdatesQuery::listing(true)).await?;
    tell_offers(&cx.output, &offered);

    heading(&cx.output, "4", "Download of the newest update");
    let newest = offered.iter().find(|update| update.newest);
    match newest {
        Some(newest) => download_and_check(&client, &cx.output, newest).await?,
        None => step(
            &cx.output,
            "no update is left to download: everything that applies is installed",
        ),
    }
    let console = console(&client, cx).await?;
    if cx.output.json {
        cx.output.json_line(&Ready {
            console: console.clone(),
            service_console: service_link(cx, &service, service_console)?,
            directory: cx.directory.clone(),
            service: service.root().to_owned(),
            feed_url,
            site_code: SITE.0.to_owned(),
            newest: newest.map(|update| update.guid.clone()),
        })?;
    }
    if !arguments.once {
        let link = service_link(cx, &service, service_console)?;
        what_next(cx, newest, console.as_deref(), &link);
    }
    Ok(())
}

/// The address that the site in this directory expects its feed at, if there is one already.
fn remembered_address(
    directory: &SiteDirectory,
    service: &ServiceDir,
    port: Option<u16>,
) -> Result<SocketAddr, Failure> {
    let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    if !directory.configuration().exists() {
        return Ok(address(port.unwrap_or(0)));
    }
    let shown = directory.root().display();
    let feed_url = Settings::load(&directory.configuration())?.feed_url;
    let remembered = feed_url
        .strip_prefix("https://localhost:")
        .and_then(|port| port.parse().ok());
    match (remembered, service.settings().exists()) {
        (Some(known), true) => match port {
            Some(port) if port != known => Err(Failure::new(format!(
                "the site in {shown} expects its feed on port {known}"
            ))
            .hint("leave out --port, or begin anew in another --dir")),
            _ => Ok(address(known)),
        },
        _ => Err(
            Failure::new(format!("{shown} holds a site that `tidegate up` did not set up"))
                .hint("try in a directory of its own: tidegate up --dir /tmp/try-tidegate"),
        ),
    }
}

async fn sample_feed(cx: &Context, service: &ServiceDir) -> Result<(), Failure> {
    let (folder, output, now) = (service.root().to_owned(), cx.output.clone(), cx.output.now());
    let records = tokio::task::spawn_blocking(move || {
        let mut progress = Progress::new(&output);
        let records = cloud::sample::generate(&folder, now, SAMPLE_SEED, &mut |happened| match happened {
            SampleProgress::Keys => progress.show("making keys and certificates", None),
            SampleProgress::Package {
                number,
                of,
                name,
                version,
            } => {
                progress.show(
                    format_args!("making and publishing package {number} of {of}: {name} {version}"),
                    None,
                );
            }
            SampleProgress::Published { bytes, new_bytes } => progress.step(
                Style::Good,
                "done",
                format_args!(
                    "published {}, {} new in the feed",
                    words::bytes(bytes),
                    words::bytes(new_bytes)
                ),
            ),
        });
        progress.end();
        let records = records?;
        cloud::set_intake(&folder, None, true, now)?;
        Ok::<_, cloud::CloudError>(records)
    })
    .await??;
    step(
        &cx.output,
        format_args!(
            "{} published, signed with keys in {}",
            words::counted(records.len() as u64, "package", "packages"),
            service.keys().display()
        ),
    );
    Ok(())
}

async fn start_service(
    cx: &Context,
    service: &ServiceDir,
    intake: Option<Arc<Intake>>,
    listen: SocketAddr,
    running: &mut JoinSet<Result<(), Failure>>,
    shutdown: &CancellationToken,
) -> Result<SocketAddr, Failure> {
    let (bound, address) = tokio::sync::oneshot::channel();
    let options = ServeOptions {
        repository: service.repository(),
        listen,
        tls: Some(super::cloud::own_certificate(service)),
        intake: intake.clone(),
    };
    if let Some(intake) = intake {
        let stop = shutdown.clone();
        running.spawn(async move {
            intake.keep(stop).await;
            Ok(())
        });
    }
    let stop = shutdown.clone();
    running.spawn(async move { Ok(cloud::serve::serve(options, bound, stop).await?) });
    let (folder, stop) = (service.root().to_owned(), shutdown.clone());
    running.spawn(async move {
        cloud::keep_fresh(folder, || Clock::System.now(), stop.clone()).await;
        // It may end early where there is nothing to keep fresh; only the end of everything counts.
        stop.cancelled().await;
        Ok(())
    });
    match address.await {
        Ok(address) => Ok(address),
        Err(_) => {
            let why = match running.join_next().await {
                Some(ended) => flat(ended).err(),
                None => None,
            };
            Err(why
                .unwrap_or_else(|| Failure::new("the connected service did not start"))
                .hint(format!(
                    "if another program uses port {}, stop it or use another --dir",
                    listen.port()
                )))
        }
    }
    .inspect(|_| cx.output.note(""))
}

/// The console of the connected service, on a port that is free.
async fn start_service_console(
    service: &ServiceDir,
    intake: Option<Arc<Intake>>,
    running: &mut JoinSet<Result<(), Failure>>,
    shutdown: &CancellationToken,
) -> Result<SocketAddr, Failure> {
    let name = cloud::Settings::load(service)?.name;
    let pages = cloud::console::Console::new(service.clone(), &name, intake, || Clock::System.now());
    let tls = super::cloud::own_certificate(service);
    let (listen, stop) = (free_address()?, shutdown.clone());
    let (bound, address) = tokio::sync::oneshot::channel();
    running.spawn(async move {
        let router = cloud::console::router(pages);
        Ok(cloud::serve::serve_console(router, listen, &tls, bound, stop).await?)
    });
    address
        .await
        .map_err(|_| Failure::new("the console of the connected service did not start"))
}

/// A link that opens it once.
fn service_link(cx: &Context, service: &ServiceDir, address: SocketAddr) -> Result<String, Failure> {
    let now = cx.output.now();
    let user = site::service::Actor::local(rustix::process::geteuid().as_raw());
    let link = cloud::console::make_link(service.root(), user.as_str(), false, now)?;
    Ok(format!("https://localhost:{}{}", address.port(), link.path))
}

async fn set_up_site(cx: &Context, service: &ServiceDir, feed_url: &str) -> Result<(), Failure> {
    let options = InitOptions {
        dir: cx.directory.clone(),
        code: SITE
            .0
            .parse()
            .map_err(|refusal: domain::hierarchy::SiteCodeError| Failure::of(&refusal))?,
        name: SITE.1.to_owned(),
        feed_url: feed_url.to_owned(),
        ca: Some(super::site::read(&service.tls().join("ca.pem"))?),
        root: super::site::read(&service.repository().join("metadata").join("1.root.json"))?,
        hierarchy_id: super::site::hierarchy_id()?,
        rings: Vec::new(),
        listen: Some(free_address()?),
        version: cloud::sample::SITE_VERSION
            .parse::<FullVersion>()
            .map_err(Failure::new)?,
    };
    let now = cx.output.now();
    Ok(tokio::task::spawn_blocking(move || site::init::init(options, now)).await??)
}

/// An address of this machine that nobody else uses.
fn free_address() -> Result<SocketAddr, Failure> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?)
}

/// Where the console is, and how its first user is set up if there is none.
async fn console(client: &Client, cx: &Context) -> Result<Option<String>, Failure> {
    let Some(address) = Settings::load(&SiteDirectory::new(&cx.directory).configuration())?.api_listen else {
        return Ok(None);
    };
    let accounts: Vec<AccountInfo> = client.get("/accounts").await?;
    if !accounts.is_empty() {
        return Ok(Some(format!("https://localhost:{}/", address.port())));
    }
    let link: SetupLink = client.post_for("/setup-link", &()).await?;
    Ok(link.url)
}

/// A client of the site once it answers.
async fn started(cx: &Context) -> Result<Client, Failure> {
    tokio::time::timeout(START_TIME_MAX, super::run::answering(cx))
        .await
        .map_err(|_| {
            Failure::new(format!("the site did not start within {START_TIME_MAX:?}"))
                .hint(format!("see why: tidegate logs SMS_EXECUTIVE{}", cx.dir_option()))
        })?;
    Client::open(&cx.directory)
}

fn tell_offers(output: &Output, updates: &[UpdateSummary]) {
    for update in updates {
        let hidden = PackageState::from_code(update.state.code).is_some_and(PackageState::is_hidden);
        let (style, outcome) = if hidden {
            (Style::Faint, "hidden")
        } else {
            (Style::Good, "offered")
        };
        let reason = if update.reason.is_empty() {
            String::new()
        } else {
            format!(": {}", update.reason)
        };
        output.note(format_args!(
            "{} {} {} ({}){}",
            output.styled_note(style, format_args!("{outcome:>9}")),
            words::harmless(&update.name),
            update.full_version,
            update.update_type,
            words::harmless(&reason)
        ));
    }
}

async fn download_and_check(client: &Client, output: &Output, newest: &UpdateSummary) -> Result<(), Failure> {
    let before = follow::status_of(client, &newest.guid).await?;
    let status = follow::package(client, output, &newest.guid, Goal::Downloaded, &before).await?;
    step(
        output,
        format_args!(
            "{} is here: every byte verified against the pinned root",
            newest.name
        ),
    );
    heading(output, "5", "Prerequisite check");
    let status = if status.update.state.code == PackageState::DownloadSuccess.code() {
        client
            .post(&format!("/updates/{}/prereq", newest.guid), &())
            .await?;
        follow::package(client, output, &newest.guid, Goal::Checked, &status).await?
    } else {
        status
    };
    tell_check(output, &status);
    Ok(())
}

fn tell_check(output: &Output, status: &SiteUpdateStatus) {
    for result in &status.prerequisites {
        let style = match result.result.as_str() {
            "passed" => Style::Good,
            "warning" => Style::Warning,
            _ => Style::Bad,
        };
        let detail = if result.detail.is_empty() {
            String::new()
        } else {
            format!(": {}", result.detail)
        };
        output.note(format_args!(
            "{} {}{}",
            output.styled_note(style, format_args!("{:>9}", result.result)),
            words::harmless(&result.name),
            words::harmless(&detail)
        ));
    }
    step(
        output,
        format_args!("{}: {}", status.update.name, status.update.state.label),
    );
}

fn heading(output: &Output, number: &str, text: &str) {
    output.note(output.styled_note(Style::Bold, format_args!("\n{number}. {text}")));
}

fn step(output: &Output, text: impl std::fmt::Display) {
    output.note(format_args!(
        "{} {text}",
        output.styled_note(Style::Good, "     done")
    ));
}

fn what_next(cx: &Context, newest: Option<&UpdateSummary>, console: Option<&str>, service_console: &str) {
    let output = &cx.output;
    let dir = cx.dir_option();
    let service = cx.dir_option_of(&cx.directory.join(SERVICE_FOLDER));
    let guid = newest.map_or("GUID", |update| update.guid.get(..8).unwrap_or(&update.guid));
    let mut lines = vec![
        (
            "what is offered, and why the rest is not",
            format!("tidegate updates list --all{dir}"),
        ),
        (
            "each condition with expected and actual value",
            format!("tidegate updates why {guid}{dir}"),
        ),
        (
            "install it, with health check and roll-back",
            format!("tidegate updates install {guid} --wait{dir}"),
        ),
        ("what the components do", format!("tidegate component list{dir}")),
        ("what they log", format!("tidegate logs --follow{dir}")),
        (
            "the vendor's packages",
            format!("tidegate cloud rollout{service}"),
        ),
    ];
    if newest.is_none() {
        lines.retain(|(_, command)| !command.contains(" GUID"));
    }
    if let Some(console) = console {
        output.note(output.styled_note(
            Style::Bold,
            "\nThe console, in a browser (its certificate is the site's own):",
        ));
        output.note(format_args!("  {}", output.command(console)));
    }
    output.note(output.styled_note(
        Style::Bold,
        "\nThe vendor's side, a link that opens it once within ten minutes:",
    ));
    output.note(format_args!("  {}", output.command(service_console)));
    output.note(output.styled_note(Style::Bold, "\nEverything runs. In another terminal, try:"));
    for (what, command) in lines {
        output.note(format_args!("  {}\n      {what}", output.command(command)));
    }
    output.note("\nPress Ctrl-C to stop everything; run the same command again to continue.");
}
