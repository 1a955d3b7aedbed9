//! `tidegate tuf init | refresh | download`: the TUF client alone, on a plain folder, against any vendor's repository.
//!
//! It runs exactly the code that a site reads its feeds with, and follows the command line that the public TUF
//! conformance suite expects of a client. It exits with 0 or 1 and nothing else, wrong usage included.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use cloud_client::HttpsOptions;
use feed::transport::encode_name;
use feed::{FeedClient, FolderTrust, Limits, RoleStates, TrustedRole};
use jiff::Timestamp;
use serde_json::{Value, json};

/// A trusted root is some kilobytes; a file beyond this is something else.
const ROOT_BYTES_MAX: u64 = 16 << 20;
/// Longest file name that common file systems take, with room for a temporary prefix.
const NAME_BYTES_MAX: usize = 200;

/// Read any TUF repository with the verification a site uses, to find out what is wrong with it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidegate tuf --metadata-dir trust init root.json
  tidegate tuf --metadata-dir trust --metadata-url https://vendor.example/feed/metadata refresh
  tidegate tuf --metadata-dir trust --metadata-url https://vendor.example/feed/metadata \\
      --target-base-url https://vendor.example/feed/targets --target-dir files \\
      --target-name catalogue/0.jsonl.zst download")]
pub struct TufArgs {
    /// What to do: start with a trusted root, bring the metadata up to date, or download targets as well
    #[arg(value_enum)]
    pub verb: TufVerb,
    /// init: the root.json to trust, received from the vendor by a way you trust
    pub root: Option<PathBuf>,
    /// Folder of the trusted metadata
    #[arg(long, value_name = "DIR")]
    pub metadata_dir: Option<PathBuf>,
    /// Base URL of the metadata (https, http or file)
    #[arg(long, value_name = "URL")]
    pub metadata_url: Option<String>,
    /// Base URL of the targets (https, http or file)
    #[arg(long, value_name = "URL")]
    pub target_base_url: Option<String>,
    /// Folder to download to; a target path becomes one file name, percent-encoded
    #[arg(long, value_name = "DIR")]
    pub target_dir: Option<PathBuf>,
    /// Path of a target to download; may be repeated
    #[arg(long, value_name = "PATH")]
    pub target_name: Vec<String>,
    /// Whether to print JSON; set by the caller from its own options.
    #[arg(skip)]
    pub json: bool,
    /// Whether to print nothing but errors; set by the caller from its own options.
    #[arg(skip)]
    pub quiet: bool,
    /// The proxy; set by the caller from its environment.
    #[arg(skip)]
    pub proxy: Option<cloud_client::ProxySettings>,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TufVerb {
    /// Trust a root
    Init,
    /// Bring the trusted metadata up to date
    Refresh,
    /// Bring it up to date and download targets
    Download,
}

/// Runs the command.
pub async fn run(args: TufArgs) -> anyhow::Result<()> {
    let Some(folder) = &args.metadata_dir else {
        bail!("--metadata-dir DIR is needed")
    };
    match args.verb {
        TufVerb::Init => init(&args, folder),
        TufVerb::Refresh => {
            no_root_argument(&args)?;
            let Some(metadata) = &args.metadata_url else {
                bail!("refresh needs --metadata-url URL")
            };
            // A refresh fetches no target, so any base will do.
            let targets = args.target_base_url.as_ref().unwrap_or(metadata);
            let (mut client, now) = (client(&args, folder, metadata, targets)?, now());
            client.refresh(now).await?;
            report(&args, &client.states(), &[]);
            Ok(())
        }
        TufVerb::Download => download(&args, folder).await,
    }
}

fn init(args: &TufArgs, folder: &Path) -> anyhow::Result<()> {
    let Some(path) = &args.root else {
        bail!("init needs the path of the root.json to trust")
    };
    let length = std::fs::metadata(path)
        .with_context(|| format!("could not read {}", path.display()))?
        .len();
    if length > ROOT_BYTES_MAX {
        bail!("{} is too large to be a root.json", path.display());
    }
    let root = std::fs::read(path).with_context(|| format!("could not read {}", path.display()))?;
    FolderTrust::init(folder, &root)
        .with_context(|| format!("{} cannot be trusted as a root", path.display()))?;
    Ok(())
}

async fn download(args: &TufArgs, folder: &Path) -> anyhow::Result<()> {
    no_root_argument(args)?;
    let Some(metadata) = &args.metadata_url else {
        bail!("download needs --metadata-url URL")
    };
    let Some(targets) = &args.target_base_url else {
        bail!("download needs --target-base-url URL")
    };
    let Some(target_dir) = &args.target_dir else {
        bail!("download needs --target-dir DIR")
    };
    if args.target_name.is_empty() {
        bail!("download needs at least one --target-name PATH");
    }
    let (mut client, now) = (client(args, folder, metadata, targets)?, now());
    client.refresh(now).await?;
    let mut done = Vec::new();
    let mut failed = Vec::new();
    for name in &args.target_name {
        match download_one(&mut client, name, target_dir, now).await {
            Ok(file) => done.push((name.clone(), file)),
            Err(error) => failed.push(error.context(format!("target {name:?} was not downloaded"))),
        }
    }
    report(args, &client.states(), &done);
    let count = failed.len();
    let Some(first) = failed.into_iter().next() else {
        return Ok(());
    };
    match count {
        1 => Err(first),
        _ => Err(first.context(format!(
            "{count} of {} targets failed; the first",
            args.target_name.len()
        ))),
    }
}

async fn download_one(
    client: &mut FeedClient,
    name: &str,
    folder: &Path,
    now: Timestamp,
) -> anyhow::Result<PathBuf> {
    let target = client.find_target(name, now).await?;
    let file = folder.join(file_name(name)?);
    client.download_target(&target, &file, &mut |_| ()).await?;
    Ok(file)
}

/// One file per target path, always directly in the folder.
fn file_name(target: &str) -> anyhow::Result<String> {
    let name = encode_name(target);
    if name == "." || name == ".." || name.len() > NAME_BYTES_MAX {
        bail!("its path cannot be a file name here");
    }
    Ok(name)
}

fn no_root_argument(args: &TufArgs) -> anyhow::Result<()> {
    match &args.root {
        Some(extra) => bail!(
            "unexpected argument {:?}; only init takes a file",
            extra.display()
        ),
        None => Ok(()),
    }
}

fn client(args: &TufArgs, folder: &Path, metadata: &str, targets: &str) -> anyhow::Result<FeedClient> {
    let trust = FolderTrust::open(folder)?;
    let options = HttpsOptions {
        proxy: args.proxy.clone().map(cloud_client::Proxy::new),
        ..HttpsOptions::default()
    };
    let transport = cloud_client::open(metadata, targets, &options)?;
    Ok(FeedClient::new(transport, trust, Limits::default())?)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the command line is the edge: expiry is judged by the machine's clock"
)]
fn now() -> Timestamp {
    Timestamp::now()
}

fn report(args: &TufArgs, states: &RoleStates, files: &[(String, PathBuf)]) {
    if args.quiet {
        return;
    }
    let roles: [(&str, Option<TrustedRole>); 4] = [
        ("root", Some(states.root)),
        ("timestamp", states.timestamp),
        ("snapshot", states.snapshot),
        ("targets", states.targets),
    ];
    if args.json {
        let trusted: serde_json::Map<String, Value> = roles
            .into_iter()
            .filter_map(|(name, role)| {
                let role = role?;
                let value = json!({"version": role.version, "expires": role.expires.to_string()});
                Some((name.to_owned(), value))
            })
            .collect();
        let files: Vec<Value> = files
            .iter()
            .map(|(target, file)| json!({"target": target, "file": file.display().to_string()}))
            .collect();
        println!("{}", json!({"trusted": trusted, "files": files}));
        return;
    }
    for (name, role) in roles {
        if let Some(role) = role {
            println!("{name:<10} version {:<6} expires {}", role.version, role.expires);
        }
    }
    for (target, file) in files {
        println!("{target} -> {}", file.display());
    }
}
