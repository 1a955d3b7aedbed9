//! `tidegate cloud keys`: who signs what and until when, new keys for old, and the ceremony for root keys
//! that never come to this machine.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use cloud::{KeyRole, ServiceDir, Stamp};
use feed::publisher::{
    OnlineRole, PublicKey, Publisher, RoleKeyStatus, RoleState, RootChange, RootDraft, SigningKey,
    read_folder,
};
use jiff::Timestamp;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use serde::Serialize;
use site::directory::write_durably;

use super::super::Context;
use crate::failure::Failure;
use crate::output::{Output, Style};
use crate::table::{Cell, Table};
use crate::words;

/// Largest draft of a root that is read.
const DRAFT_BYTES_MAX: u64 = 1024 * 1024;

/// Who signs what and until when; rotate keys; renew signatures; change the root
///
/// Without a command it lists roles and keys. Root keys belong on media that are kept away: draft-root,
/// sign and publish-root let each holder sign on a machine of their own.
#[derive(Debug, Args)]
pub struct KeysArgs {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
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
    /// Make a root key in a folder; needs no service.
    NewRootKey {
        /// Folder, best on a medium that is taken away.
        #[arg(value_name = "FOLDER")]
        folder: PathBuf,
    },
    /// Write the next root to a file, to be signed elsewhere.
    #[command(after_help = "Example, to renew a root whose keys two people keep:\n  \
        tidegate cloud keys draft-root next-root.json\n  \
        tidegate cloud keys sign next-root.json --root-keys /media/alice   (each of them, anywhere)\n  \
        tidegate cloud keys publish-root next-root.json")]
    DraftRoot {
        /// File to write.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Public root key to add: 64 hexadecimal digits; repeatable.
        #[arg(long, value_name = "KEY", value_parser = public_key)]
        add_key: Vec<PublicKey>,
        /// Id of a root key to remove; repeatable.
        #[arg(long, value_name = "KEY-ID")]
        remove: Vec<String>,
        /// Root keys that must sign from now on.
        #[arg(long, value_name = "N")]
        threshold: Option<usize>,
    },
    /// Sign a drafted root with every key of a folder; needs no service.
    Sign {
        /// The draft.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Folder with root keys.
        #[arg(long, value_name = "FOLDER")]
        root_keys: PathBuf,
    },
    /// Publish a drafted root that has its signatures.
    PublishRoot {
        /// The draft.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Role {
    Root,
    Targets,
    Publisher,
    Snapshot,
    Timestamp,
}

fn public_key(text: &str) -> Result<PublicKey, String> {
    PublicKey::from_hex(text).ok_or_else(|| format!("{text:?} is no public key; write 64 hexadecimal digits"))
}

/// Runs the command.
pub fn run(arguments: KeysArgs, cx: &Context, stamp: Stamp) -> Result<(), Failure> {
    let now = stamp.at;
    let (directory, output) = (cx.directory.as_path(), &cx.output);
    match arguments.verb.unwrap_or(Verb::List) {
        Verb::List => list(output, &cloud::keys(directory, now)?),
        Verb::Rotate { role, root_keys } => rotate(directory, output, role, root_keys.as_deref(), stamp),
        Verb::Renew => renew(directory, output, now),
        Verb::NewRootKey { folder } => new_root_key(output, &folder),
        Verb::DraftRoot {
            file,
            add_key,
            remove,
            threshold,
        } => {
            let change = RootChange {
                add: add_key,
                remove,
                threshold,
                ..RootChange::default()
            };
            let draft = publisher(directory)?.draft_root(&change, now)?;
            save(&file, &draft)?;
            let what = format!("is drafted in {}; it waits for signatures", file.display());
            root_version(output, draft.version(), &what)
        }
        Verb::Sign { file, root_keys } => {
            let mut draft = read(&file)?;
            let keys = read_folder(&root_keys)?;
            if keys.is_empty() {
                return Err(Failure::new(format!(
                    "there are no keys in {}",
                    root_keys.display()
                )));
            }
            for key in keys.values() {
                draft.sign(key);
            }
            save(&file, &draft)?;
            signed_by(output, "root", keys.into_keys().collect(), "the draft is signed")
        }
        Verb::PublishRoot { file } => {
            let draft = read(&file)?;
            publisher(directory)?.publish_root(&draft)?;
            root_version(
                output,
                draft.version(),
                "is published; sites follow at their next check",
            )
        }
    }
}

/// The feed of a service, open for changes.
fn publisher(directory: &Path) -> Result<Publisher, Failure> {
    let service = ServiceDir::new(directory);
    // Says clearly what is missing.
    cloud::Settings::load(&service)?;
    Ok(Publisher::open(&service.repository(), &service.keys())?)
}

fn read(file: &Path) -> Result<RootDraft, Failure> {
    let unreadable = |failure: std::io::Error| {
        Failure::new(format!("cannot read the draft {}: {failure}", file.display()))
    };
    if std::fs::metadata(file).map_err(unreadable)?.len() > DRAFT_BYTES_MAX {
        return Err(Failure::new(format!(
            "{} is larger than any root is",
            file.display()
        )));
    }
    Ok(RootDraft::from_bytes(&std::fs::read(file).map_err(unreadable)?)?)
}

fn save(file: &Path, draft: &RootDraft) -> Result<(), Failure> {
    // A relative name has no folder whose entry could be made durable.
    let written = std::path::absolute(file).and_then(|file| write_durably(&file, &draft.to_bytes(), 0o644));
    written.map_err(|failure| Failure::new(format!("cannot write the draft {}: {failure}", file.display())))
}

/// `cloud keys new-root-key --json`
#[derive(Debug, Serialize)]
struct NewKey {
    key_id: String,
    public: String,
    file: PathBuf,
}

fn new_root_key(output: &Output, folder: &Path) -> Result<(), Failure> {
    // A new key comes from the operating system's randomness.
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)
        .map_err(|failure| Failure::new(format!("the machine gives no random numbers: {failure}")))?;
    let key = SigningKey::generate(&mut ChaCha20Rng::from_seed(seed));
    let new = NewKey {
        key_id: key.public().key_id(),
        public: key.public().as_hex().to_owned(),
        file: key.write(folder)?,
    };
    if output.json {
        return output.json(&new);
    }
    output.line(format_args!(
        "{} holds the key {}",
        new.file.display(),
        new.key_id
    ))?;
    output.note(format_args!(
        "let it sign from the next root on: {}",
        output.command(format_args!(
            "tidegate cloud keys draft-root FILE --add-key {}",
            new.public
        ))
    ));
    Ok(())
}

/// `cloud keys draft-root --json`, `cloud keys publish-root --json`
#[derive(Debug, Serialize)]
struct RootVersion {
    version: u64,
}

fn root_version(output: &Output, version: u64, what: &str) -> Result<(), Failure> {
    if output.json {
        return output.json(&RootVersion { version });
    }
    output.line(format_args!("root {version} {what}"))
}

/// Says which keys signed or are new.
fn signed_by(output: &Output, role: &'static str, keys: Vec<String>, what: &str) -> Result<(), Failure> {
    if output.json {
        return output.json(&Rotated { role, keys });
    }
    if keys.is_empty() {
        return output.line(what);
    }
    output.line(format_args!("{what}; keys: {}", keys.join(", ")))
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

fn list(output: &Output, roles: &[RoleKeyStatus]) -> Result<(), Failure> {
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

/// `cloud keys rotate --json`, and where root keys changed or signed.
#[derive(Debug, Serialize)]
struct Rotated {
    role: &'static str,
    keys: Vec<String>,
}

fn rotate(
    directory: &Path,
    output: &Output,
    role: Role,
    root_keys: Option<&Path>,
    stamp: Stamp,
) -> Result<(), Failure> {
    let (name, role) = match role {
        Role::Root => ("root", KeyRole::Root),
        Role::Targets => ("targets", KeyRole::Online(OnlineRole::Targets)),
        Role::Publisher => ("publisher", KeyRole::Online(OnlineRole::Publisher)),
        Role::Snapshot => ("snapshot", KeyRole::Online(OnlineRole::Snapshot)),
        Role::Timestamp => ("timestamp", KeyRole::Online(OnlineRole::Timestamp)),
    };
    let new_keys = cloud::rotate_key(directory, role, root_keys, stamp)?;
    signed_by(output, name, new_keys, &format!("{name} has new keys"))
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
