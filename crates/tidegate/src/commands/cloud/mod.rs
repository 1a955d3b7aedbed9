//! `tidegate cloud`: the vendor's side. Keys, packages, roll-out, and a server for the static files.

mod config;
mod keys;
mod packages;
mod usage;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};
use cloud::console::Console;
use cloud::intake::Intake;
use cloud::serve::{ServeOptions, TlsFiles};
use cloud::{Bases, InitOptions, PublishRequest, ServiceDir, Stamp};
use domain::servicing::package::PackageGuid;
use executive::Clock;
use jiff::Timestamp;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use self::config::{ConfigVerb, NoticeVerb};
use super::Context;
use crate::failure::Failure;
use crate::output::Style;
use crate::signals::until_stopped;
use crate::table::Table;

/// The vendor's side: a feed's keys, packages, roll-out and server, in the directory named by --dir
///
/// Everything that sites read lies below DIR/repository as static files; any web server, bucket or folder
/// can serve it, also on a stick.
#[derive(Debug, Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct CloudArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a service: keys, an empty signed feed, a server certificate.
    #[command(after_help = "Example:\n  \
        tidegate cloud init --dir service --name \"Example Corp\" --host updates.example.com --root-keys-dir /media/safe/root-keys")]
    Init(Init),
    /// Publish an update package: its description and its payload, a folder or an archive.
    ///
    /// Publishing the same package again changes nothing. A published package never changes; a
    /// correction is a new package.
    #[command(after_help = "Example:\n  tidegate cloud publish --dir service package.toml build/")]
    Publish {
        /// Description of the package.
        #[arg(value_name = "PACKAGE.TOML")]
        package: PathBuf,
        /// Folder, .tar, .tar.gz, .tar.zst or .zip with the files to install.
        #[arg(value_name = "PAYLOAD")]
        payload: PathBuf,
        /// Compression, 1 (fast) to 22 (small).
        #[arg(long, value_name = "N", default_value_t = cloud::LEVEL, value_parser = clap::value_parser!(i32).range(1..=22))]
        level: i32,
        /// Make deltas from this published package and no others; repeatable. Unless given: from the next lower
        /// version, and from nothing.
        #[arg(long, value_name = "GUID", value_parser = package_guid)]
        delta_from: Vec<PackageGuid>,
        /// Make no deltas: sites fetch whole blocks.
        #[arg(long, conflicts_with = "delta_from")]
        no_deltas: bool,
        /// About how much memory deltas are made with, in MiB; with more they get smaller.
        #[arg(long, value_name = "MIB", default_value_t = 1536, value_parser = clap::value_parser!(u64).range(64..=65_536))]
        delta_memory: u64,
    },
    /// Make an update outside the catalogue: one signed file to hand to those who need it.
    ///
    /// The first time, its key is made and named in the feed; sites take such files once they have read that.
    #[command(
        after_help = "Example:\n  tidegate cloud hotfix --dir service package.toml build/ kb4711.update"
    )]
    Hotfix {
        /// Description of the package, of type hotfix.
        #[arg(value_name = "PACKAGE.TOML")]
        package: PathBuf,
        /// Folder or archive with the files to install.
        #[arg(value_name = "PAYLOAD")]
        payload: PathBuf,
        /// File to write, ending in .update.
        #[arg(value_name = "FILE.update")]
        file: PathBuf,
    },
    /// Print a commented package.toml to begin a package with.
    #[command(after_help = "Example:\n  tidegate cloud example > package.toml")]
    Example,
    /// Take a package back; sites stop offering it and say why.
    Withdraw {
        /// Package.
        #[arg(value_name = "GUID", value_parser = package_guid)]
        guid: PackageGuid,
        /// Why, for administrators.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Offer a package to a share of hierarchies, or where a rule holds; without arguments, list packages.
    ///
    /// Share and rule are signed with the package. Each site decides by itself and shows why: no site is told
    /// anything that others are not.
    #[command(
        after_help = "Examples:\n  tidegate cloud rollout --dir service 8576527E-DDE7-4E3C-A0E1-6FB0F0A3B1C4 25\n  \
            tidegate cloud rollout --dir service 8576527E-DDE7-4E3C-A0E1-6FB0F0A3B1C4 --when \"inventory.devices < 5000\""
    )]
    #[command(group = clap::ArgGroup::new("change").multiple(true))]
    Rollout {
        /// Package.
        #[arg(value_name = "GUID", value_parser = package_guid, requires = "change")]
        guid: Option<PackageGuid>,
        /// Share of hierarchies, 0 to 100. A hierarchy that was offered it stays in when the share grows.
        #[arg(value_name = "PERCENT", group = "change", value_parser = clap::value_parser!(u8).range(0..=100))]
        percent: Option<u8>,
        /// Only to sites where this rule over their facts holds; each shows it with what it found.
        #[arg(
            long,
            value_name = "RULE",
            group = "change",
            requires = "guid",
            conflicts_with = "always"
        )]
        when: Option<String>,
        /// To sites of every kind again.
        #[arg(long, group = "change", requires = "guid")]
        always: bool,
    },
    /// What the feed tells sites beside packages.
    Config {
        #[command(subcommand)]
        verb: ConfigVerb,
    },
    /// Messages to administrators of sites: what to prevent, what will change, what is good to know.
    ///
    /// Without a command it lists them. Sites show them to those who asked for their category.
    Notice {
        #[command(subcommand)]
        verb: Option<NoticeVerb>,
    },
    /// Who changed what in the feed, and when; of one package, or all.
    History {
        /// Package.
        #[arg(value_name = "GUID", value_parser = package_guid)]
        guid: Option<PackageGuid>,
        /// How many entries, the newest first.
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: usize,
    },
    /// Who signs what and until when; rotate keys; renew signatures.
    Keys(keys::KeysArgs),
    /// What the fleet tells of itself, and how the intake of usage data does.
    Usage(usage::CloudUsageArgs),
    /// Make a link that opens the console of a running `cloud serve --console`, once, within ten minutes.
    ///
    /// Whoever can read the service's directory can make one; the console has no passwords.
    #[command(after_help = "Example:\n  tidegate cloud console --dir service --name ada")]
    Console {
        /// Who comes in, as the history shows them; whoever runs this command unless given.
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// For looking only.
        #[arg(long)]
        read_only: bool,
        /// Address of the console, as browsers reach it.
        #[arg(long, value_name = "URL", default_value = "https://localhost:8444")]
        address: String,
    },
    /// Serve the feed over HTTPS until Ctrl-C, take usage data, and renew signatures while they are due.
    Serve(Serve),
}

#[derive(Debug, Args)]
struct Init {
    /// The vendor's name.
    #[arg(long, value_name = "NAME")]
    name: String,
    /// Name or address sites reach the server by, for its certificate; repeatable; this machine only unless given.
    #[arg(long, value_name = "HOST")]
    host: Vec<String>,
    /// Root keys to make.
    #[arg(long, value_name = "N", default_value_t = 3)]
    root_keys: usize,
    /// Root keys that must sign a new root.
    #[arg(long, value_name = "N", default_value_t = 2)]
    threshold: usize,
    /// Where to put the root keys; in DIR/root-keys unless given, to be moved away.
    #[arg(long, value_name = "FOLDER")]
    root_keys_dir: Option<PathBuf>,
    /// Delegated roles that targets are spread over, a power of two; for a feed of thousands of packages.
    #[arg(long, value_name = "N", default_value_t = 64)]
    bins: u32,
}

#[derive(Debug, Args)]
struct Serve {
    /// Address and port to listen on.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8443")]
    listen: SocketAddr,
    /// Certificate chain (PEM), instead of the service's own.
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// Private key (PEM) of the certificate.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// Address and port of the console, over HTTPS with the same certificate; none unless given.
    ///
    /// `tidegate cloud console` makes links that open it.
    #[arg(long, value_name = "ADDRESS")]
    console: Option<SocketAddr>,
    /// Plain HTTP, for a proxy in front that speaks TLS.
    #[arg(long, conflicts_with = "certificate")]
    http: bool,
}

fn package_guid(text: &str) -> Result<PackageGuid, String> {
    text.parse()
}

/// Runs the command.
pub async fn run(arguments: CloudArgs, cx: &Context) -> Result<(), Failure> {
    let verb = match arguments.verb {
        Verb::Serve(arguments) => return serve(arguments, cx).await,
        Verb::Usage(arguments) => return usage::run(arguments, cx, cx.output.now()).await,
        verb => verb,
    };
    let cx = cx.clone();
    // Publishing hashes and compresses; everything else here is short and blocks on files.
    tokio::task::spawn_blocking(move || carry_out(verb, &cx)).await?
}

fn carry_out(verb: Verb, cx: &Context) -> Result<(), Failure> {
    let (directory, output, now) = (cx.directory.as_path(), &cx.output, cx.output.now());
    let user = site::service::Actor::local(rustix::process::geteuid().as_raw());
    let stamp = Stamp::new(now, user.as_str());
    match verb {
        Verb::Init(arguments) => init(arguments, cx, now),
        Verb::Publish {
            package,
            payload,
            level,
            delta_from,
            no_deltas,
            delta_memory,
        } => {
            let deltas = match (no_deltas, delta_from.is_empty()) {
                (true, _) => Bases::Newest(0),
                (false, true) => Bases::default(),
                (false, false) => Bases::Packages(delta_from),
            };
            let request = PublishRequest {
                level,
                deltas,
                delta_memory: delta_memory * 1024 * 1024,
                ..PublishRequest::new(directory, package, payload)
            };
            packages::publish(&request, output, stamp)
        }
        Verb::Hotfix {
            package,
            payload,
            file,
        } => {
            let request = PublishRequest::new(directory, package, payload);
            let made = cloud::hotfix(&request, &file, stamp, &mut |_| {})?;
            if made {
                output
                    .note("the feed names the key of such updates now; sites know it after their next check");
            }
            if output.json {
                return output.json(&serde_json::json!({ "file": file, "key_made": made }));
            }
            output.line(format_args!(
                "{}; on a site: tidegate tool register {}",
                file.display(),
                file.display()
            ))
        }
        Verb::Example => output.line(cloud::package_toml::EXAMPLE.trim_end()),
        Verb::Withdraw { guid, reason } => {
            let changed = cloud::withdraw(directory, guid, &reason, stamp)?;
            packages::changed(
                output,
                guid,
                changed,
                "is withdrawn; sites stop offering it at their next check",
            )
        }
        Verb::Rollout {
            guid: Some(guid),
            percent,
            when,
            always,
        } => {
            let said = match (percent, &when, always) {
                (Some(percent), Some(rule), _) => {
                    format!("is offered to {percent} % of hierarchies, where {rule}")
                }
                (Some(percent), None, _) => format!("is offered to {percent} % of hierarchies"),
                (None, Some(rule), _) => format!("is offered where {rule}"),
                (None, None, _) => "is offered to sites of every kind".to_owned(),
            };
            let rollout = cloud::Rollout {
                percent,
                when: match (when, always) {
                    (Some(rule), _) => Some(Some(rule)),
                    (None, true) => Some(None),
                    (None, false) => None,
                },
            };
            let changed = cloud::rollout(directory, guid, &rollout, stamp)?;
            packages::changed(output, guid, changed, &said)
        }
        Verb::Rollout { .. } => packages::list(output, &cloud::packages(directory)?),
        Verb::Keys(arguments) => keys::run(arguments, cx, stamp),
        Verb::Config { verb } => config::config(verb, cx, stamp),
        Verb::Notice { verb } => config::notice(verb, cx, stamp),
        Verb::Console {
            name,
            read_only,
            address,
        } => {
            let name = name.unwrap_or(stamp.by);
            let link = cloud::console::make_link(directory, &name, read_only, now)?;
            let url = format!("{}{}", address.trim_end_matches('/'), link.path);
            if output.json {
                return output.json(&serde_json::json!({ "url": url, "expires": link.expires }));
            }
            output.note(format_args!(
                "opens the console once, until {}:",
                output.when(link.expires)
            ));
            output.line(url)
        }
        Verb::History { guid, limit } => config::history(guid, limit, cx),
        // These are asynchronous and were taken out before.
        Verb::Serve(_) | Verb::Usage(_) => Ok(()),
    }
}

/// `cloud init --json`
#[derive(Debug, Serialize)]
struct Made {
    directory: PathBuf,
    root: PathBuf,
    authority: PathBuf,
    root_keys: PathBuf,
}

fn init(arguments: Init, cx: &Context, now: Timestamp) -> Result<(), Failure> {
    let options = InitOptions {
        host_names: arguments.host,
        threshold: arguments.threshold,
        root_keys: arguments.root_keys,
        root_keys_dir: arguments.root_keys_dir,
        bins: arguments.bins,
        ..InitOptions::new(&cx.directory, arguments.name)
    };
    let report = cloud::init(&options, now)?;
    let output = &cx.output;
    if output.json {
        return output.json(&Made {
            directory: cx.directory.clone(),
            root: report.root,
            authority: report.authority,
            root_keys: report.root_keys,
        });
    }
    let mut table = Table::of_values();
    table.value("Service", cx.directory.display().to_string());
    table.value("Pinned root for sites", report.root.display().to_string());
    table.value("Certificate authority", report.authority.display().to_string());
    table.value("Root keys", report.root_keys.display().to_string());
    table.print(output)?;
    if let Some(advice) = &report.advice {
        output.note(format_args!(
            "{} {advice}",
            output.styled_note(Style::Warning, "warning:")
        ));
    }
    let dir = cx.dir_option();
    output.note(format_args!(
        "next: {}\nand:  {}",
        output.command(format_args!("tidegate cloud publish{dir} package.toml PAYLOAD")),
        output.command(format_args!("tidegate cloud serve{dir}"))
    ));
    Ok(())
}

async fn serve(arguments: Serve, cx: &Context) -> Result<(), Failure> {
    let service = ServiceDir::new(&cx.directory);
    // Says clearly what is missing, before anything listens.
    let name = cloud::Settings::load(&service)?.name;
    let given = match (arguments.certificate, arguments.key) {
        (Some(certificate), Some(key)) => TlsFiles { certificate, key },
        _ => own_certificate(&service),
    };
    let tls = (!arguments.http).then(|| given.clone());
    let scheme = if tls.is_some() { "https" } else { "http" };
    let intake = Intake::open(&service, || Clock::System.now())
        .await?
        .map(Arc::new);
    let options = ServeOptions {
        repository: service.repository(),
        listen: arguments.listen,
        tls,
        intake: intake.clone(),
    };
    let output = &cx.output;
    let manager = &cx.service_manager;
    until_stopped(output, async |shutdown: CancellationToken| {
        let ended = CancellationToken::new();
        let (bound, address) = tokio::sync::oneshot::channel();
        let announce = async {
            if let Ok(address) = address.await {
                output.note(format_args!(
                    "serving {} at {}; press Ctrl-C to stop",
                    service.repository().display(),
                    output.command(format_args!("{scheme}://{address}"))
                ));
                manager.ready(&format!("serving at {scheme}://{address}"));
                // The signs of life come from the same threads that serve: where they come from, requests are served.
                tokio::select! {
                    () = manager.keep_alive(async || true) => {}
                    () = ended.cancelled() => {}
                }
            }
        };
        let console = async {
            let Some(listen) = arguments.console else {
                return Ok(());
            };
            let pages = Console::new(service.clone(), &name, intake.clone(), || Clock::System.now());
            let served = console(pages, listen, &given, cx, &shutdown).await;
            // A service that cannot be steered as asked says so and stops.
            shutdown.cancel();
            served
        };
        let fresh = cloud::keep_fresh(cx.directory.clone(), || Clock::System.now(), shutdown.clone());
        let keep = async {
            if let Some(intake) = &intake {
                intake.keep(shutdown.clone()).await;
            }
        };
        let (served, steered, (), (), (), ()) = tokio::join!(
            async {
                let served = cloud::serve::serve(options, bound, shutdown.clone()).await;
                ended.cancel();
                // A server that could not start leaves nothing to keep fresh.
                shutdown.cancel();
                served
            },
            console,
            announce,
            fresh,
            keep,
            manager.tell_stop(&shutdown, &ended)
        );
        served?;
        steered
    })
    .await
}

/// Serves the console until `shutdown`, and says how it is opened.
pub async fn console(
    console: Console,
    listen: SocketAddr,
    tls: &TlsFiles,
    cx: &Context,
    shutdown: &CancellationToken,
) -> Result<(), Failure> {
    let (bound, address) = tokio::sync::oneshot::channel();
    let router = cloud::console::router(console);
    let announce = async {
        if let Ok(address) = address.await {
            cx.output.note(format_args!(
                "the console is at https://{address}; a link that opens it: {}",
                cx.output.command(format_args!(
                    "tidegate cloud console --address https://{address}{}",
                    cx.dir_option()
                ))
            ));
        }
    };
    let served = cloud::serve::serve_console(router, listen, tls, bound, shutdown.clone());
    let (served, ()) = tokio::join!(served, announce);
    Ok(served?)
}

/// The certificate that `cloud init` made.
pub fn own_certificate(service: &ServiceDir) -> TlsFiles {
    TlsFiles {
        certificate: service.tls().join("server.pem"),
        key: service.tls().join("server.key"),
    }
}
