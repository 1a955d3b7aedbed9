//! `tidegate cloud`: the vendor's side. Keys, packages, roll-out, and a server for the static files.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use cloud::serve::{ServeOptions, TlsFiles};
use cloud::{InitOptions, KeyRole, PublishRequest, ServiceDir};
use content::publish::Progress as Step;
use domain::servicing::package::{PackageGuid, PackageRecord};
use executive::Clock;
use feed::publisher::{OnlineRole, RoleKeyStatus, RoleState};
use jiff::Timestamp;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::Context;
use crate::failure::Failure;
use crate::output::{Output, Style};
use crate::progress::{Bytes, Progress};
use crate::signals::until_stopped;
use crate::table::{Cell, Table};
use crate::words;

/// The vendor's side of a connected service, in the directory named by --dir.
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
    },
    /// Take a package back; sites stop offering it and say why.
    Withdraw {
        /// Package.
        #[arg(value_name = "GUID", value_parser = package_guid)]
        guid: PackageGuid,
        /// Why, for administrators.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Offer a package to a share of hierarchies; without arguments, list packages with their shares.
    #[command(
        after_help = "Example:\n  tidegate cloud rollout --dir service 8576527E-DDE7-4E3C-A0E1-6FB0F0A3B1C4 25"
    )]
    Rollout {
        /// Package.
        #[arg(value_name = "GUID", value_parser = package_guid, requires = "percent")]
        guid: Option<PackageGuid>,
        /// Share of hierarchies, 0 to 100. A hierarchy that was offered it stays in when the share grows.
        #[arg(value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
        percent: Option<u8>,
    },
    /// Who signs what and until when; rotate keys; renew signatures.
    Keys {
        #[command(subcommand)]
        verb: Option<KeysVerb>,
    },
    /// Serve the feed over HTTPS until Ctrl-C, and renew its signatures while they are due.
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

#[derive(Debug, Subcommand)]
enum KeysVerb {
    /// Every role with its keys, threshold and expiry.
    List,
    /// Replace the keys of a role; sites follow by themselves.
    Rotate {
        /// Role.
        #[arg(value_enum)]
        role: Role,
        /// Where the root keys are, if not where they were made.
        #[arg(long, value_name = "FOLDER")]
        root_keys: Option<PathBuf>,
    },
    /// Sign anew what expires soon; `cloud serve` does this by itself.
    Renew,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Role {
    Root,
    Targets,
    Publisher,
    Snapshot,
    Timestamp,
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
        verb => verb,
    };
    let cx = cx.clone();
    // Publishing hashes and compresses; everything else here is short and blocks on files.
    tokio::task::spawn_blocking(move || carry_out(verb, &cx)).await?
}

fn carry_out(verb: Verb, cx: &Context) -> Result<(), Failure> {
    let (directory, output, now) = (cx.directory.as_path(), &cx.output, cx.output.now());
    match verb {
        Verb::Init(arguments) => init(arguments, cx, now),
        Verb::Publish {
            package,
            payload,
            level,
        } => publish(
            PublishRequest {
                dir: directory.to_owned(),
                package_toml: package,
                payload,
                level,
            },
            output,
            now,
        ),
        Verb::Withdraw { guid, reason } => {
            let changed = cloud::withdraw(directory, guid, &reason, now)?;
            done(
                output,
                guid,
                changed,
                "withdrawn; sites stop offering it at their next check for updates",
            )
        }
        Verb::Rollout {
            guid: Some(guid),
            percent: Some(percent),
        } => {
            let changed = cloud::rollout(directory, guid, percent, now)?;
            done(
                output,
                guid,
                changed,
                &format!("offered to {percent} % of hierarchies"),
            )
        }
        Verb::Rollout { .. } => packages(output, &cloud::packages(directory)?),
        Verb::Keys {
            verb: None | Some(KeysVerb::List),
        } => keys(output, &cloud::keys(directory, now)?),
        Verb::Keys {
            verb: Some(KeysVerb::Rotate { role, root_keys }),
        } => rotate(directory, output, role, root_keys.as_deref(), now),
        Verb::Keys {
            verb: Some(KeysVerb::Renew),
        } => renew(directory, output, now),
        Verb::Serve(_) => Ok(()),
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
}

fn publish(request: PublishRequest, output: &Output, now: Timestamp) -> Result<(), Failure> {
    let mut progress = Progress::new(output);
    let result = cloud::publish(&request, now, &mut |step| match step {
        Step::Scanning { bytes, .. } => {
            progress.show(format_args!("reading the payload, {}", words::bytes(bytes)), None);
        }
        Step::Compressing { done, total } => {
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
    };
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
    table.value("Cold download", words::bytes(published.download_bytes));
    table.value("Added to the feed", words::bytes(published.new_bytes));
    table.print(output)
}

/// `cloud withdraw --json`, `cloud rollout --json`
#[derive(Debug, Serialize)]
struct Changed {
    guid: String,
    changed: bool,
}

fn done(output: &Output, guid: PackageGuid, changed: bool, what: &str) -> Result<(), Failure> {
    if output.json {
        return output.json(&Changed {
            guid: guid.to_string(),
            changed,
        });
    }
    let already = if changed { "" } else { " (it was already)" };
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
    withdrawn: Option<String>,
}

fn packages(output: &Output, records: &[PackageRecord]) -> Result<(), Failure> {
    let listed: Vec<Listed> = records
        .iter()
        .map(|record| Listed {
            guid: record.guid.to_string(),
            name: record.name().to_owned(),
            full_version: record.full_version.to_string(),
            released: record.released,
            rings: record.rings.clone(),
            rollout_percent: record.rollout_percent,
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
    let mut table = Table::new(&["GUID", "NAME", "VERSION", "SHARE", "RINGS", "WITHDRAWN"]);
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
            rings.into(),
            Cell::styled(Style::Bad, package.withdrawn.as_deref().unwrap_or_default()),
        ]);
    }
    table.right(3);
    table.print(output)
}

/// A role of `cloud keys --json`.
#[derive(Debug, Serialize)]
struct RoleKeys {
    role: String,
    version: u64,
    expires: Timestamp,
    state: &'static str,
    threshold: usize,
    keys: Vec<Key>,
}

#[derive(Debug, Serialize)]
struct Key {
    key_id: String,
    authorised: bool,
    present: bool,
}

fn keys(output: &Output, roles: &[RoleKeyStatus]) -> Result<(), Failure> {
    let roles: Vec<RoleKeys> = roles
        .iter()
        .map(|role| RoleKeys {
            role: role.role.clone(),
            version: role.version,
            expires: role.expires,
            state: match role.state {
                RoleState::Valid => "valid",
                RoleState::RenewSoon => "renew soon",
                RoleState::Expired => "expired",
            },
            threshold: role.threshold,
            keys: role
                .keys
                .iter()
                .map(|key| Key {
                    key_id: key.key_id.clone(),
                    authorised: key.authorised,
                    present: key.present,
                })
                .collect(),
        })
        .collect();
    if output.json {
        return output.json(&roles);
    }
    let mut table = Table::new(&["ROLE", "VERSION", "EXPIRES", "STATE", "MUST SIGN", "KEY", "HERE"]);
    for role in &roles {
        let style = match role.state {
            "valid" => Style::Good,
            "expired" => Style::Bad,
            _ => Style::Warning,
        };
        for (index, key) in role.keys.iter().enumerate() {
            let first = |text: String| Cell::from(if index == 0 { text } else { String::new() });
            let here = match (key.authorised, key.present) {
                (true, true) => Cell::from("yes"),
                (true, false) => Cell::styled(Style::Faint, "kept elsewhere"),
                (false, _) => Cell::styled(Style::Warning, "not accepted any more"),
            };
            table.row([
                first(role.role.clone()),
                first(role.version.to_string()),
                first(words::relative(role.expires, output.now())),
                if index == 0 {
                    Cell::styled(style, role.state)
                } else {
                    Cell::from("")
                },
                first(format!(
                    "{} of {}",
                    role.threshold,
                    role.keys.iter().filter(|key| key.authorised).count()
                )),
                key.key_id.get(..16).unwrap_or(&key.key_id).into(),
                here,
            ]);
        }
    }
    table.print(output)
}

/// `cloud keys rotate --json`
#[derive(Debug, Serialize)]
struct Rotated {
    role: &'static str,
    new_keys: Vec<String>,
}

fn rotate(
    directory: &Path,
    output: &Output,
    role: Role,
    root_keys: Option<&Path>,
    now: Timestamp,
) -> Result<(), Failure> {
    let (name, role) = match role {
        Role::Root => ("root", KeyRole::Root),
        Role::Targets => ("targets", KeyRole::Online(OnlineRole::Targets)),
        Role::Publisher => ("publisher", KeyRole::Online(OnlineRole::Publisher)),
        Role::Snapshot => ("snapshot", KeyRole::Online(OnlineRole::Snapshot)),
        Role::Timestamp => ("timestamp", KeyRole::Online(OnlineRole::Timestamp)),
    };
    let new_keys = cloud::rotate_key(directory, role, root_keys, now)?;
    if output.json {
        return output.json(&Rotated { role: name, new_keys });
    }
    output.line(format_args!(
        "{name} is signed by {} from now on",
        new_keys.join(", ")
    ))
}

/// `cloud keys renew --json`
#[derive(Debug, Serialize)]
struct RenewedRoles {
    changed: bool,
    roles: Vec<String>,
    snapshot: u64,
    timestamp: u64,
    due: Vec<Due>,
}

/// A role that expires soon and cannot be renewed here.
#[derive(Debug, Serialize)]
struct Due {
    role: String,
    expires: Timestamp,
}

fn renew(directory: &Path, output: &Output, now: Timestamp) -> Result<(), Failure> {
    let renewed = cloud::renew(directory, now)?;
    let renewed = RenewedRoles {
        changed: renewed.committed.changed,
        roles: renewed.committed.roles,
        snapshot: renewed.committed.snapshot,
        timestamp: renewed.committed.timestamp,
        due: renewed
            .due
            .into_iter()
            .map(|(role, expires)| Due { role, expires })
            .collect(),
    };
    if output.json {
        return output.json(&renewed);
    }
    output.line(format_args!(
        "timestamp {} and snapshot {} are published",
        renewed.timestamp, renewed.snapshot
    ))?;
    if !renewed.roles.is_empty() {
        output.line(format_args!("also renewed: {}", renewed.roles.join(", ")))?;
    }
    for due in &renewed.due {
        output.line(format_args!(
            "{} {} expires {}, and its keys are kept elsewhere; sign it with them",
            output.styled(Style::Warning, "warning:"),
            due.role,
            output.when(due.expires)
        ))?;
    }
    Ok(())
}

async fn serve(arguments: Serve, cx: &Context) -> Result<(), Failure> {
    let service = ServiceDir::new(&cx.directory);
    // Says clearly what is missing, before anything listens.
    cloud::Settings::load(&service)?;
    let tls = match (arguments.http, arguments.certificate, arguments.key) {
        (true, ..) => None,
        (false, Some(certificate), Some(key)) => Some(TlsFiles { certificate, key }),
        (false, ..) => Some(own_certificate(&service)),
    };
    let scheme = if tls.is_some() { "https" } else { "http" };
    let options = ServeOptions {
        repository: service.repository(),
        listen: arguments.listen,
        tls,
    };
    let output = &cx.output;
    until_stopped(output, async |shutdown: CancellationToken| {
        let (bound, address) = tokio::sync::oneshot::channel();
        let announce = async {
            if let Ok(address) = address.await {
                output.note(format_args!(
                    "serving {} at {}; press Ctrl-C to stop",
                    service.repository().display(),
                    output.command(format_args!("{scheme}://{address}"))
                ));
            }
        };
        let fresh = cloud::keep_fresh(cx.directory.clone(), || Clock::System.now(), shutdown.clone());
        let (served, (), ()) = tokio::join!(
            async {
                let served = cloud::serve::serve(options, bound, shutdown.clone()).await;
                // A server that could not start leaves nothing to keep fresh.
                shutdown.cancel();
                served
            },
            announce,
            fresh
        );
        Ok(served?)
    })
    .await
}

/// The certificate that `cloud init` made.
pub fn own_certificate(service: &ServiceDir) -> TlsFiles {
    TlsFiles {
        certificate: service.tls().join("server.pem"),
        key: service.tls().join("server.key"),
    }
}
