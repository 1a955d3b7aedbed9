//! Publishing, against reading the same bytes with sha256sum and compressing them with zstd.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::{Row, now, ours, time};

/// Files of the payload and their size: 256 MiB that compress to about half.
const FILES: usize = 256;
const FILE_BYTES: usize = 1 << 20;

pub fn run(program: &Path) -> Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    let payload = folder.path().join("payload");
    std::fs::create_dir(&payload)?;
    for number in 0..FILES {
        let path = payload.join(format!("file{number}.bin"));
        super::fill(&path, FILE_BYTES / 2, number as u64)?;
        let mut bytes = std::fs::read(&path)?;
        bytes.resize(FILE_BYTES, b' ');
        std::fs::write(&path, bytes)?;
    }
    let tar = folder.path().join("payload.tar");
    time(
        Command::new("tar")
            .arg("-C")
            .arg(&payload)
            .arg("-cf")
            .arg(&tar)
            .arg("."),
    )?;
    let hashing = time(Command::new("sha256sum").arg(&tar))?;
    let compressing = time(
        Command::new("zstd")
            .args(["-q", "-3", "-T0", "-f", "-o"])
            .arg(folder.path().join("out.zst"))
            .arg(&tar),
    )?;
    let service = folder.path().join("service");
    ours(
        program,
        &service,
        &["cloud", "init", "--name", "Bench", "--host", "localhost"],
    )?;
    let description = folder.path().join("package.toml");
    std::fs::write(&description, super::download::PACKAGE)?;
    let start = now();
    let (description, payload) = (description.display().to_string(), payload.display().to_string());
    ours(
        program,
        &service,
        &["cloud", "publish", "--level", "3", &description, &payload],
    )?;
    let publishing = start.elapsed();
    Ok(vec![
        Row::times(
            "publish 256 MiB at level 3",
            publishing,
            "zstd -3 -T0",
            compressing,
        ),
        Row::times("publish 256 MiB at level 3", publishing, "sha256sum", hashing),
    ])
}
