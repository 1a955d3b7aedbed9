//! Making a service and keeping its keys: `cloud init`, `cloud keys`, and the renewal of what expires.
//!
//! It refuses to sign anything that does not verify from the root it remembers; that is the feed publisher's business,
//! which this module only opens for one short step at a time so that several of them can share a service.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use feed::publisher::{
    InitSpec, OnlineRole, PublishError as FeedPublishError, Publisher, Renewed, RoleKeyStatus, RootRotation,
};
use jiff::Timestamp;
use rand_chacha::ChaCha20Rng;
use rand_core::{CryptoRng, SeedableRng};

use crate::error::{CloudError, io};
use crate::files::{self, ServiceDir};
use crate::history::{self, Change, Did, Stamp};
use crate::settings::Settings;
use crate::tls;

/// How often and how long to wait for another step (a renewal takes well below a second) before giving up.
const OPEN_TRIES: u32 = 200;
const OPEN_PAUSE: Duration = Duration::from_millis(50);

/// What a new service looks like.
#[derive(Debug, Clone)]
pub struct InitOptions {
    /// The service folder; made if it is missing.
    pub dir: PathBuf,
    /// The vendor's name.
    pub name: String,
    /// What sites call the server: names and addresses for its certificate. Empty means this machine only.
    pub host_names: Vec<String>,
    /// How many root keys must sign a root.
    pub threshold: usize,
    /// How many root keys to make.
    pub root_keys: usize,
    /// Where to put them; none means `root-keys/` in the service folder, to be moved away afterwards.
    pub root_keys_dir: Option<PathBuf>,
    /// How many bins the targets are spread over: a power of two.
    pub bins: u32,
}

impl InitOptions {
    /// Three root keys of which two sign, 64 bins, this machine only.
    pub fn new(dir: impl Into<PathBuf>, name: impl Into<String>) -> Self {
        Self {
            dir: dir.into(),
            name: name.into(),
            host_names: Vec::new(),
            threshold: 2,
            root_keys: 3,
            root_keys_dir: None,
            bins: 64,
        }
    }
}

/// What `init` made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitReport {
    /// The pinned root that sites need.
    pub root: PathBuf,
    /// The certificate authority that sites need, if they connect to our own server.
    pub authority: PathBuf,
    /// Where the root keys are.
    pub root_keys: PathBuf,
    /// Set when the root keys lie beside the online ones, with what to do about it.
    pub advice: Option<String>,
}

/// Makes a service: keys, an empty signed feed, certificates, settings. After a crash it goes on where it was.
pub fn init(options: &InitOptions, now: Timestamp) -> Result<InitReport, CloudError> {
    init_with(options, &mut system_rng()?, now)
}

/// [`init`] with keys from a given source of randomness.
pub fn init_with(
    options: &InitOptions,
    rng: &mut dyn CryptoRng,
    now: Timestamp,
) -> Result<InitReport, CloudError> {
    let name = options.name.trim();
    if name.is_empty() || name.len() > 200 || name.chars().any(char::is_control) {
        let detail = "a vendor has a name of at most 200 bytes".to_owned();
        return Err(CloudError::Invalid { what: "name", detail });
    }
    if let Some(odd) = options.host_names.iter().find(|name| !tls::is_host(name)) {
        let detail = format!("{odd:?} is no host name and no IP address");
        return Err(CloudError::Invalid {
            what: "host name",
            detail,
        });
    }
    files::create_folders(&options.dir)?;
    let root = options.dir.canonicalize().map_err(io("read", &options.dir))?;
    let dir = ServiceDir::new(root);
    if dir.settings().exists() {
        let name = Settings::load(&dir)?.name;
        return Err(CloudError::AlreadyInitialised {
            folder: dir.root().to_owned(),
            name,
        });
    }
    let mut host_names = options.host_names.clone();
    if host_names.is_empty() {
        host_names.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
    }
    let beside = PathBuf::from("root-keys");
    let settings = Settings {
        name: name.to_owned(),
        host_names,
        root_keys: match &options.root_keys_dir {
            None => beside.clone(),
            Some(folder) => std::path::absolute(folder).map_err(io("find", folder))?,
        },
        database: None,
        database_password_file: None,
        database_ca: None,
    };
    let root_keys = settings.root_keys_dir(&dir);
    files::create_private_folder(&root_keys)?;
    files::create_private_folder(&dir.scratch())?;
    let spec = InitSpec {
        root_keys: options.root_keys,
        root_threshold: options.threshold,
        bins: options.bins,
        ..InitSpec::default()
    };
    match Publisher::init(&dir.repository(), &dir.keys(), &root_keys, &spec, rng, now) {
        // A run before this one came this far; its keys and feed are complete.
        Ok(_) | Err(FeedPublishError::AlreadyInitialised { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    tls::ensure(&dir.tls(), &root_keys, name, &settings.host_names, now)?;
    settings.store(&dir)?;
    let advice = (settings.root_keys == beside).then(|| {
        format!(
            "Move {} to a place that is not online (keep two copies), and name it with --root-keys when the root changes.",
            root_keys.display()
        )
    });
    let (root, authority) = (dir.keys().join("root.json"), dir.tls().join("ca.pem"));
    Ok(InitReport {
        root,
        authority,
        root_keys,
        advice,
    })
}

/// A key role, for [`rotate_key`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyRole {
    /// One root key is added and the oldest present one removed; the threshold stays.
    Root,
    /// All keys of an online role are replaced.
    Online(OnlineRole),
}

/// Who signs what and until when.
pub fn keys(dir: &Path, now: Timestamp) -> Result<Vec<RoleKeyStatus>, CloudError> {
    let dir = ServiceDir::new(dir);
    let root_keys = Settings::load(&dir)?.root_keys_dir(&dir);
    Ok(open(&dir)?.key_status(Some(&root_keys), now)?)
}

/// Replaces keys of a role; returns the ids of the new ones. `root_keys` overrides where the root keys are.
pub fn rotate_key(
    dir: &Path,
    role: KeyRole,
    root_keys: Option<&Path>,
    stamp: impl Into<Stamp>,
) -> Result<Vec<String>, CloudError> {
    let (dir, stamp) = (ServiceDir::new(dir), stamp.into());
    let now = stamp.at;
    let remembered = Settings::load(&dir)?.root_keys_dir(&dir);
    let root_keys = root_keys.unwrap_or(&remembered);
    let mut rng = system_rng()?;
    let mut feed = open(&dir)?;
    match role {
        KeyRole::Online(role) => {
            let change = Change::new(Did::RotatedKeys, role.folder());
            history::entered(&dir, &stamp, change, || {
                feed.rotate_key(role, Some(root_keys), &mut rng, now)
            })
        }
        KeyRole::Root => {
            let status = feed.key_status(Some(root_keys), now)?;
            let root = status.iter().find(|row| row.role == "root");
            let old = root.and_then(|row| row.keys.iter().find(|key| key.authorised && key.present));
            let remove = old.map(|key| vec![key.key_id.clone()]).unwrap_or_default();
            let rotation = RootRotation {
                add: 1,
                remove,
                threshold: None,
            };
            let change = Change::new(Did::RotatedKeys, "root");
            history::entered(&dir, &stamp, change, || {
                feed.rotate_root(root_keys, &rotation, &mut rng, now)
            })
        }
    }
}

/// Publishes a fresh timestamp and snapshot, and everything else that expires soon and whose keys are here.
pub fn renew(dir: &Path, now: Timestamp) -> Result<Renewed, CloudError> {
    let dir = ServiceDir::new(dir);
    Settings::load(&dir)?;
    Ok(open(&dir)?.renew(now)?)
}

/// Opens the feed, waiting a little for another step on it to end.
pub(crate) fn open(dir: &ServiceDir) -> Result<Publisher, CloudError> {
    let mut tries = 0;
    loop {
        match Publisher::open(&dir.repository(), &dir.keys()) {
            Err(FeedPublishError::Busy { .. }) if tries < OPEN_TRIES => {
                tries += 1;
                std::thread::sleep(OPEN_PAUSE);
            }
            Err(FeedPublishError::Busy { .. }) => {
                return Err(CloudError::Busy {
                    folder: dir.root().to_owned(),
                });
            }
            other => return Ok(other?),
        }
    }
}

/// Held while packages change: one publisher at a time, however long a payload takes. Ends with the process.
pub(crate) fn lock(dir: &ServiceDir) -> Result<File, CloudError> {
    files::create_private_folder(&dir.scratch())?;
    let path = dir.scratch().join("publish.lock");
    let mut options = File::options();
    let file = options
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(io("open", &path))?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(CloudError::Busy {
            folder: dir.root().to_owned(),
        }),
        Err(error) => Err(io("lock", &path)(error.into())),
    }
}

fn system_rng() -> Result<ChaCha20Rng, CloudError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|error| CloudError::Randomness {
        detail: error.to_string(),
    })?;
    Ok(ChaCha20Rng::from_seed(seed))
}
