//! Payload trees of the sample feed: a small server product as it looks from release to release.
//!
//! Every byte follows from the seed, the file and the release, so that two machines make the same feed. Most files do
//! not change between releases, some text files grow a line, some binaries change in a few places, as real ones do.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use sha2::{Digest, Sha256};

/// Sizes and numbers, per tree: about four and a half megabytes in three hundred files.
const BINARIES: usize = 48;
const BINARY_BYTES_MIN: usize = 96 * 1024;
const BINARY_BYTES_SPREAD: usize = 160 * 1024;
const TEXTS: usize = 250;
const TEXT_WORDS: usize = 260;
/// Parts of the tree.
const AREAS: [&str; 5] = ["core", "replication", "inventory", "reporting", "console"];
const WORDS: [&str; 48] = [
    "site",
    "server",
    "package",
    "update",
    "hierarchy",
    "component",
    "status",
    "message",
    "download",
    "content",
    "library",
    "check",
    "install",
    "the",
    "a",
    "of",
    "and",
    "is",
    "to",
    "when",
    "after",
    "before",
    "until",
    "each",
    "signed",
    "file",
    "folder",
    "record",
    "retry",
    "schedule",
    "interval",
    "minutes",
    "administrator",
    "feature",
    "version",
    "release",
    "replaces",
    "requires",
    "offers",
    "reports",
    "stores",
    "verifies",
    "waits",
    "ends",
    "returns",
    "nothing",
    "everything",
    "again",
];

/// Which tree to write.
#[derive(Debug, Clone, Copy)]
pub(super) struct Release<'a> {
    pub(super) seed: u64,
    /// How many releases lie before this one: 0 is the first.
    pub(super) revision: u32,
    pub(super) version: &'a str,
    /// A part of the product of its own, with its own files.
    pub(super) product: &'a str,
}

/// Writes the tree below `root`.
pub(super) fn write(root: &Path, release: Release<'_>) -> io::Result<()> {
    for number in 0..BINARIES {
        let area = AREAS[number % AREAS.len()];
        let name = format!("lib/{area}/lib{area}{number:02}.so.5");
        put(root, &name, &binary(release, &name), 0o755)?;
    }
    for area in AREAS {
        let library = (0..BINARIES)
            .find(|number| AREAS[number % AREAS.len()] == area)
            .unwrap_or_default();
        link(
            root,
            &format!("lib/{area}/lib{area}.so"),
            &format!("lib{area}{library:02}.so.5"),
        )?;
    }
    for number in 0..TEXTS {
        let area = AREAS[number % AREAS.len()];
        let name = match number % 3 {
            0 => format!("share/doc/{area}/topic-{number:03}.txt"),
            1 => format!("share/{area}/templates/en/template-{number:03}.txt"),
            _ => format!("etc/defaults/{area}/{number:03}.conf"),
        };
        put(root, &name, text(release, &name).as_bytes(), 0o644)?;
    }
    put(
        root,
        "VERSION",
        format!("{}\n", release.version).as_bytes(),
        0o644,
    )?;
    put(
        root,
        "bin/after-install",
        after_install(release.version).as_bytes(),
        0o755,
    )?;
    put(root, "bin/health", health(release.version).as_bytes(), 0o755)?;
    put(root, "bin/roll-back", ROLL_BACK.as_bytes(), 0o755)
}

/// Machine code as a compressor sees it: half of it repeats, half does not.
fn binary(release: Release<'_>, name: &str) -> Vec<u8> {
    let mut rng = rng(release, name, 0);
    let length = BINARY_BYTES_MIN + (rng.next_u32() as usize) % BINARY_BYTES_SPREAD;
    let mut bytes = vec![0; length];
    bytes[..8].copy_from_slice(b"\x7fSAMPLE\0");
    for chunk in bytes[8..].chunks_mut(1024) {
        let half = chunk.len() / 2;
        let (random, repeated) = chunk.split_at_mut(half);
        rng.fill_bytes(random);
        let length = repeated.len().min(random.len());
        repeated[..length].copy_from_slice(&random[..length]);
    }
    for revision in 1..=release.revision {
        let mut rng = self::rng(release, name, revision);
        // Two of five libraries change in a release, each in a few places.
        if rng.next_u32() % 5 < 2 {
            for _ in 0..6 {
                let at = 8 + (rng.next_u32() as usize) % (length - 8 - 64);
                rng.fill_bytes(&mut bytes[at..at + 64]);
            }
        }
    }
    bytes
}

fn text(release: Release<'_>, name: &str) -> String {
    let mut rng = rng(release, name, 0);
    let mut text = format!("# {name}\n");
    for number in 1..=TEXT_WORDS {
        text.push_str(WORDS[(rng.next_u32() as usize) % WORDS.len()]);
        text.push(if number % 12 == 0 { '\n' } else { ' ' });
    }
    for revision in 1..=release.revision {
        let mut rng = self::rng(release, name, revision);
        if rng.next_u32().is_multiple_of(6) {
            let word = WORDS[(rng.next_u32() as usize) % WORDS.len()];
            text.push_str(&format!("\nchange {revision}: {word} {}\n", rng.next_u32()));
        }
    }
    text
}

/// A stream of its own for each file and each of its changes.
fn rng(release: Release<'_>, name: &str, revision: u32) -> ChaCha20Rng {
    let mut hash = Sha256::new();
    hash.update(release.seed.to_le_bytes());
    hash.update(release.product.as_bytes());
    hash.update([0]);
    hash.update(name.as_bytes());
    hash.update([0]);
    hash.update(revision.to_le_bytes());
    ChaCha20Rng::from_seed(hash.finalize().into())
}

fn after_install(version: &str) -> String {
    format!(
        "#!/bin/sh\n\
         # Run by the site after the switch to this version.\n\
         set -eu\n\
         here=$(cd \"$(dirname \"$0\")/..\" && pwd)\n\
         echo \"after-install: version {version}\"\n\
         echo \"after-install: $(find \"$here/lib\" -type f | wc -l | tr -d ' ') libraries in place\"\n"
    )
}

fn health(version: &str) -> String {
    format!(
        "#!/bin/sh\n\
         # Exit code 0 means that this version is in place and complete.\n\
         set -eu\n\
         here=$(cd \"$(dirname \"$0\")/..\" && pwd)\n\
         read -r found < \"$here/VERSION\"\n\
         if [ \"$found\" != \"{version}\" ]; then\n\
         \x20   echo \"health: version is $found, expected {version}\"\n\
         \x20   exit 1\n\
         fi\n\
         for area in core replication inventory reporting console; do\n\
         \x20   test -r \"$here/lib/$area/lib$area.so\" || {{ echo \"health: $area is missing\"; exit 1; }}\n\
         \x20   echo \"health: $area answers\"\n\
         done\n\
         echo \"health: ok\"\n"
    )
}

const ROLL_BACK: &str = "#!/bin/sh\n\
    # Run by the site when the installation of this version is rolled back.\n\
    echo \"roll-back: nothing of this version is left running\"\n";

fn put(root: &Path, name: &str, bytes: &[u8], mode: u32) -> io::Result<()> {
    let path = root.join(name);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(&path, bytes)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(mode))
}

fn link(root: &Path, name: &str, to: &str) -> io::Result<()> {
    symlink(to, root.join(name))
}
