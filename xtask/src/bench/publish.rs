//! Publishing, against reading the same bytes with sha256sum and compressing them with zstd; the next version out of the
//! same folder against what git does with it.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

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
        &[
            "cloud",
            "publish",
            "--level",
            "3",
            "--no-deltas",
            &description,
            &payload,
        ],
    )?;
    let publishing = start.elapsed();
    let mut rows = vec![
        Row::times(
            "publish 256 MiB at level 3",
            publishing,
            "zstd -3 -T0",
            compressing,
        ),
        Row::times("publish 256 MiB at level 3", publishing, "sha256sum", hashing),
    ];
    rows.extend(next_version(program)?);
    Ok(rows)
}

/// Files of the tree of which few change, their size, and how many change: 512 MiB and 2 MiB.
const MANY_FILES: usize = 4_096;
const SMALL_BYTES: usize = 128 * 1024;
const CHANGED: usize = 16;

/// A version in which few files changed, out of the folder that the version before came from.
fn next_version(program: &Path) -> Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    let (tree, service) = (folder.path().join("tree"), folder.path().join("service"));
    for number in 0..MANY_FILES {
        let below = tree.join(format!("part{}", number / 64));
        std::fs::create_dir_all(&below)?;
        super::fill(&below.join(number.to_string()), SMALL_BYTES, number as u64)?;
    }
    let shown = tree.display().to_string();
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        let place = folder.path().join("git").display().to_string();
        command
            .args(["--git-dir", &place, "--work-tree", &shown])
            .args(["-c", "core.looseCompression=0"])
            .args(arguments);
        time(&mut command)
    };
    git(&["init", "--quiet"])?;
    git(&["add", "--all"])?;
    ours(
        program,
        &service,
        &["cloud", "init", "--name", "Bench", "--host", "localhost"],
    )?;
    let description = folder.path().join("package.toml");
    let publish = |number: usize, tree: &str| -> Result<(std::time::Duration, serde_json::Value)> {
        let text = super::download::PACKAGE
            .replacen("guid = \"1", &format!("guid = \"{number}"), 1)
            .replacen("5.00.9200", &format!("5.00.920{number}"), 1);
        std::fs::write(&description, text)?;
        let description = description.display().to_string();
        let start = now();
        let arguments = ["--json", "cloud", "publish", "--level", "3", "--no-deltas"];
        let said = ours(
            program,
            &service,
            &[&arguments[..], &[&description, tree]].concat(),
        )?;
        Ok((start.elapsed(), serde_json::from_str(&said)?))
    };
    // Files that were written in the last two seconds are read again.
    std::thread::sleep(std::time::Duration::from_secs(4));
    let (first, _) = publish(1, &shown)?;
    for number in 0..CHANGED {
        let number = number * (MANY_FILES / CHANGED);
        let path = tree.join(format!("part{}/{number}", number / 64));
        super::fill(&path, SMALL_BYTES, (MANY_FILES + number) as u64)?;
    }
    let all = format!("find {shown} -type f -print0 | xargs -0 sha256sum");
    let hashing = time(Command::new("sh").args(["-c", &all]))?;
    let adding = git(&["add", "--all"])?;
    let (second, said) = publish(2, &shown)?;
    let figure = |said: &serde_json::Value, name: &str| said[name].as_u64().context("no such figure");
    let copy = folder.path().join("copy").display().to_string();
    time(Command::new("cp").args(["-r", &shown, &copy]))?;
    let (_, of_copy) = publish(3, &copy)?;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let (read, bytes) = (figure(&said, "read_files")?, figure(&said, "read_bytes")?);
    let what = "publish the next version, 16 of 4,096 files changed, 512 MiB";
    Ok(vec![
        Row::times(what, second, "sha256sum of all", hashing),
        Row::times(what, second, "git add", adding),
        Row::times(what, second, "the first version", first),
        Row {
            what: "bytes read for it".into(),
            ours: format!("{:.1} MiB of {read} files", mib(bytes)),
            peer: format!("the whole {:.0} MiB", mib((MANY_FILES * SMALL_BYTES) as u64)),
            ratio: format!("{:.4}", bytes as f64 / (MANY_FILES * SMALL_BYTES) as f64),
        },
        Row {
            what: "bytes stored for the same tree from another folder".into(),
            ours: format!("{} B", figure(&of_copy, "new_bytes")?),
            peer: format!("read {:.0} MiB", mib(figure(&of_copy, "read_bytes")?)),
            ratio: "-".into(),
        },
    ])
}
