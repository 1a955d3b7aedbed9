//! `tidegate run`: a site in the foreground.

use std::time::Duration;

use clap::Args;
use executive::Clock;
use protocol::api::ComponentInfo;
use site::RunOptions;
use site::directory::SiteDirectory;
use site::settings::Settings;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::layer::SubscriberExt;

use super::Context;
use crate::client::Client;
use crate::failure::Failure;
use crate::signals::until_stopped;

/// Time between two looks whether the site answers.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Run the site of this directory in the foreground, until Ctrl-C or SIGTERM
///
/// Everything acknowledged is durable: however a site ends, its next start continues where it was.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  tidegate run --dir /srv/site")]
pub struct RunArgs {}

/// Runs the command.
pub async fn run(_arguments: &RunArgs, cx: &Context) -> Result<(), Failure> {
    let directory = SiteDirectory::new(&cx.directory);
    if !directory.configuration().try_exists().unwrap_or(true) {
        return Err(no_site(cx));
    }
    let options = options(cx)?;
    let manager = &cx.service_manager;
    manager.status("starting");
    until_stopped(&cx.output, async |shutdown: CancellationToken| {
        let ended = CancellationToken::new();
        let accompany = async {
            answering(cx).await;
            announce(cx);
            manager.ready(&format!("the site in {} runs", cx.directory.display()));
            manager.keep_alive(async || components_answer(cx).await).await;
        };
        let accompany = async {
            tokio::select! {
                () = accompany => {}
                () = ended.cancelled() => {}
            }
        };
        let running = async {
            let result = site::run(options, shutdown.clone()).await;
            ended.cancel();
            result
        };
        let (result, (), ()) = tokio::join!(running, accompany, manager.tell_stop(&shutdown, &ended));
        Ok(result?)
    })
    .await
}

/// Whether the executive tells over the local API how its components are: the way a command would ask. A component that
/// fails or waits is the executive's business; only an executive that says nothing at all needs a restart from outside.
async fn components_answer(cx: &Context) -> bool {
    match Client::open_if_running(&cx.directory) {
        Ok(Some(client)) => client.get::<Vec<ComponentInfo>>("/components").await.is_ok(),
        _ => false,
    }
}

/// Waits until the site answers.
pub async fn answering(cx: &Context) {
    while !matches!(Client::open_if_running(&cx.directory), Ok(Some(_))) {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

fn announce(cx: &Context) {
    cx.output.note(format_args!(
        "the site in {} runs; press Ctrl-C to stop\nsee how it stands: {}\nread its logs:     {}",
        cx.directory.display(),
        cx.output
            .command(format_args!("tidegate site show{}", cx.dir_option())),
        cx.output
            .command(format_args!("tidegate logs --follow{}", cx.dir_option())),
    ));
}

/// How to run the site of this directory. Installs its logs as the program's.
pub fn options(cx: &Context) -> Result<RunOptions, Failure> {
    let directory = SiteDirectory::new(&cx.directory);
    let settings = Settings::load(&directory.configuration())?;
    directory.create_folders()?;
    let (clock, zone) = (Clock::System, jiff::tz::TimeZone::system());
    let logs = site::run::log_layer(&cx.directory, &settings, clock.clone(), zone.clone());
    let subscriber = tracing_subscriber::registry().with(logs.clone());
    // A second subscriber is refused; the one process of a site has one.
    tracing::subscriber::set_global_default(subscriber)
        .map_err(|failure| Failure::new(format!("cannot set up the logs: {failure}")))?;
    // The component's log tells of a panic; stderr is for the person who typed the command.
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
    Ok(RunOptions {
        dir: cx.directory.clone(),
        clock,
        seed: seed()?,
        zone,
        logs,
    })
}

/// What to say where a directory should hold a site and does not.
pub fn no_site(cx: &Context) -> Failure {
    Failure::new(format!("there is no site in {}", cx.directory.display())).hint(
        "name its directory with --dir, create a site with `tidegate site init`, or try everything out with `tidegate up`",
    )
}

/// Seeds the randomness of a site: jitter only, so that sites do not ask all at the same second.
pub fn seed() -> Result<u64, Failure> {
    getrandom::u64()
        .map_err(|failure| Failure::new(format!("the machine gives no random numbers: {failure}")))
}
