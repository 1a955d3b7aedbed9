//! A medium for the second version of a product, against copying the whole package to it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

use super::{Row, local_pair, ours, started, time};

const FILES: u64 = 256;
const FILE_BYTES: usize = 1024 * 1024;
/// One file of so many is another in the second version.
const CHANGED_EVERY: u64 = 12;

pub fn run(program: &Path) -> Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    let (service, site) = local_pair(program, folder.path())?;
    let publish = |version: u64| publish(program, &service, folder.path(), version);
    publish(1)?;
    let dir = site.display().to_string();
    let _running = started(program, &site)?;
    ours(program, &site, &["scp", "mode", "offline", "--restart"])?;
    let stick = at("stick");
    std::fs::create_dir_all(&stick)?;
    let (cabinet, updates, logs) = (
        stick.join("a.cab").display().to_string(),
        stick.join("updates").display().to_string(),
        stick.display().to_string(),
    );
    let tool = |arguments: &[&str]| {
        let mut command = Command::new(program);
        command
            .args(["--dir", &dir, "tool"])
            .args(arguments)
            .args(["--logdir", &logs]);
        command
    };
    let round = || -> Result<(Duration, u64)> {
        ours(
            program,
            &site,
            &["tool", "prepare", "--usagedatadest", &cabinet, "--logdir", &logs],
        )?;
        std::fs::remove_dir_all(&updates).or_else(|failure| match failure.kind() {
            std::io::ErrorKind::NotFound => Ok(()),
            _ => Err(failure),
        })?;
        let connect = time(&mut tool(&[
            "connect",
            "--usagedatasrc",
            &cabinet,
            "--updatepackdest",
            &updates,
        ]))?;
        let bytes = size(Path::new(&updates))?;
        let import = time(&mut tool(&["import", "--updatepacksrc", &updates]))?;
        Ok((connect + import, bytes))
    };
    let (first, _) = round()?;
    publish(2)?;
    let (second, bytes) = round()?;
    let (from, onto, back) = (at("v2"), at("copy-on-stick"), at("copy-on-site"));
    let copy = format!(
        "cp -r {0} {1} && sync -f {1} && cp -r {1} {2} && sync -f {2}",
        from.display(),
        onto.display(),
        back.display()
    );
    let copied = time(Command::new("sh").args(["-c", &copy]))?;
    let whole = FILES * FILE_BYTES as u64;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    Ok(vec![
        Row::times(
            "connect and import of a first version, 256 MiB, verified",
            first,
            "cp to the stick and from it",
            copied,
        ),
        Row::times(
            "connect and import of the second version",
            second,
            "cp to the stick and from it",
            copied,
        ),
        Row {
            what: "bytes on the stick for the second version".into(),
            ours: format!("{:.1} MiB", mib(bytes)),
            peer: format!("the whole package {:.0} MiB", mib(whole)),
            ratio: format!("{:.3}", bytes as f64 / whole as f64),
        },
    ])
}

/// Publishes the first or the second version of a product and says where its tree is.
pub fn publish(program: &Path, service: &Path, folder: &Path, version: u64) -> Result<PathBuf> {
    let tree = folder.join(format!("v{version}"));
    std::fs::create_dir_all(&tree)?;
    for number in 0..FILES {
        let changed = version == 2 && number.is_multiple_of(CHANGED_EVERY);
        let mut random = ChaCha8Rng::seed_from_u64(number + u64::from(changed) * 1_000_000);
        let mut bytes = vec![0; FILE_BYTES];
        random.fill_bytes(&mut bytes);
        std::fs::write(tree.join(format!("file{number}")), bytes)?;
    }
    let toml = folder.join("package.toml");
    std::fs::write(
        &toml,
        format!(
            "guid = \"{}\"\nfull-version = \"5.00.910{version}.1000\"\n\
             type = \"update\"\nreleased = 2026-10-01T08:00:00Z\n[text.en]\nname = \"v{version}\"\n[install]\nswitch = true\n",
            guid(version)
        ),
    )?;
    let (toml, shown) = (toml.display().to_string(), tree.display().to_string());
    ours(
        program,
        service,
        &["cloud", "publish", "--level", "3", "--no-deltas", &toml, &shown],
    )?;
    Ok(tree)
}

/// The package of a version.
pub fn guid(version: u64) -> String {
    format!("0000000{version}-1111-4111-8111-111111111111")
}

/// Bytes of all files below a folder.
pub fn size(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        sum += match entry.file_type()?.is_dir() {
            true => size(&entry.path())?,
            false => entry.metadata()?.len(),
        };
    }
    Ok(sum)
}
