//! The sample feed of `tidegate up`: a real service with real keys and six packages made on the spot.
//!
//! It refuses to pretend: everything is published the way a vendor would, only the product is invented. What is there
//! already stays, so that a start that was broken off goes on where it was.

mod packages;
mod tree;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use domain::servicing::package::{PackageGuid, PackageRecord};
use jiff::Timestamp;
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

use crate::error::{CloudError, io};
use crate::files::{self, ServiceDir};
use crate::publish::{Bases, PublishRequest, packages as published_packages, publish};
use crate::service::{InitOptions, init};

use packages::{PACKAGES, RUNTIME, SamplePackage};

/// The version a sample site starts from.
pub const SITE_VERSION: &str = "5.00.9096.1000";
/// A quick level: the feed is made while somebody waits.
const LEVEL: i32 = 3;
const RUNTIME_BYTES: usize = 1_500_000;

/// What is happening.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SampleProgress {
    /// Keys and certificates are being made.
    Keys,
    /// A package is being made and published.
    Package {
        /// From 1.
        number: usize,
        /// How many there are.
        of: usize,
        /// Its name.
        name: &'static str,
        /// Its version.
        version: &'static str,
    },
    /// It is published.
    Published {
        /// Bytes of its files.
        bytes: u64,
        /// Compressed bytes that were added to the feed for it.
        new_bytes: u64,
    },
}

/// Makes the sample feed in `dir`, or what is missing of it, and returns its packages.
pub fn generate(
    dir: &Path,
    now: Timestamp,
    seed: u64,
    progress: &mut dyn FnMut(SampleProgress),
) -> Result<Vec<PackageRecord>, CloudError> {
    if !ServiceDir::new(dir).settings().exists() {
        progress(SampleProgress::Keys);
        // Few packages need few bins.
        init(
            &InitOptions {
                bins: 4,
                ..InitOptions::new(dir, "Tidegate sample vendor")
            },
            now,
        )?;
    }
    let there: BTreeSet<PackageGuid> = published_packages(dir)?
        .iter()
        .map(|record| record.guid)
        .collect();
    let of = PACKAGES.len();
    for (number, package) in (1..).zip(&PACKAGES) {
        if package.guid.parse().is_ok_and(|guid| there.contains(&guid)) {
            continue;
        }
        progress(SampleProgress::Package {
            number,
            of,
            name: package.name,
            version: package.version,
        });
        let work = ServiceDir::new(dir).scratch().join("sample");
        clear(&work)?;
        let made = write(&work, package, seed).map_err(io("make the sample payload in", &work));
        let report = made.and_then(|()| {
            let request = PublishRequest {
                level: LEVEL,
                // The sample is made of random bytes: deltas would cost time and save nothing.
                deltas: Bases::Newest(0),
                // Every package has new files in the same place.
                reread: true,
                ..PublishRequest::new(dir, work.join("package.toml"), work.join("payload"))
            };
            publish(&request, now, &mut |_| {})
        });
        clear(&work)?;
        let report = report?;
        let (bytes, new_bytes) = (report.record.payload.bytes, report.new_bytes);
        progress(SampleProgress::Published { bytes, new_bytes });
    }
    published_packages(dir)
}

fn write(work: &Path, package: &SamplePackage, seed: u64) -> std::io::Result<()> {
    fs::create_dir_all(work.join("payload"))?;
    let (revision, version, product) = (package.revision, package.version, package.product);
    tree::write(
        &work.join("payload"),
        tree::Release {
            seed,
            revision,
            version,
            product,
        },
    )?;
    if package.runtime {
        let mut runtime = vec![0; RUNTIME_BYTES];
        ChaCha20Rng::seed_from_u64(seed).fill_bytes(&mut runtime);
        fs::write(work.join(RUNTIME), runtime)?;
    }
    fs::write(work.join("package.toml"), package.toml())
}

fn clear(work: &Path) -> Result<(), CloudError> {
    match fs::remove_dir_all(work) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io("empty", work)(error)),
        _ => files::create_private_folder(work.parent().unwrap_or(work)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_are_right() {
        for package in &PACKAGES {
            let parsed = crate::package_toml::parse(Path::new("package.toml"), &package.toml());
            assert_eq!(parsed.unwrap().record.name(), package.name);
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_tree_and_releases_overlap() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, package: &SamplePackage| {
            let root = folder.path().join(name);
            super::write(&root, package, 7).unwrap();
            let mut sums = std::collections::BTreeMap::new();
            let mut waiting = vec![root.join("payload")];
            while let Some(next) = waiting.pop() {
                for entry in fs::read_dir(next).unwrap() {
                    let path = entry.unwrap().path();
                    if path.is_dir() {
                        waiting.push(path);
                    } else if path.symlink_metadata().unwrap().is_file() {
                        let name = path.strip_prefix(&root).unwrap().to_owned();
                        sums.insert(name, files::measure(&path).unwrap());
                    }
                }
            }
            sums
        };
        let (first, again, next) = (
            write("a", &PACKAGES[1]),
            write("b", &PACKAGES[1]),
            write("c", &PACKAGES[2]),
        );
        assert_eq!(first, again);
        let kept = first
            .iter()
            .filter(|(name, sum)| next.get(*name) == Some(sum))
            .count();
        assert!(
            first.len() > 200 && kept * 2 > first.len() && kept < first.len(),
            "{kept} of {}",
            first.len()
        );
    }
}
