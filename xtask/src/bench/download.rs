//! A verified, durable download of 1 GiB over TLS, against curl, sha256sum and sync of the same bytes.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{
    Background, ENDED_CHILDREN, ITSELF, Row, between, now, ours, processor_seconds, site_for, time, until,
};

const FILES: usize = 1024;
const FILE_BYTES: usize = 1 << 20;
const PORT: &str = "28443";

/// A package without conditions.
pub const PACKAGE: &str = r#"
guid = "11111111-2222-3333-4444-555555555555"
full-version = "5.00.9200.1000"
type = "update"
impact = ["site-server"]
released = "2026-01-01T00:00:00Z"

[text.en]
name = "Bench"
description = "Bytes to move."

[install]
switch = true
"#;

pub fn run(program: &Path) -> Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    let payload = folder.path().join("payload");
    std::fs::create_dir(&payload)?;
    for number in 0..FILES {
        super::fill(
            &payload.join(format!("file{number}.bin")),
            FILE_BYTES,
            number as u64,
        )?;
    }
    let (service, site) = (folder.path().join("service"), folder.path().join("site"));
    ours(
        program,
        &service,
        &["cloud", "init", "--name", "Bench", "--host", "localhost"],
    )?;
    let description = folder.path().join("package.toml");
    std::fs::write(&description, PACKAGE)?;
    let shown = [description.display().to_string(), payload.display().to_string()];
    ours(
        program,
        &service,
        &["cloud", "publish", "--level", "1", &shown[0], &shown[1]],
    )?;
    let service_dir = service.display().to_string();
    let address = format!("127.0.0.1:{PORT}");
    let _serving = Background::start(
        program,
        &["cloud", "serve", "--dir", &service_dir, "--listen", &address],
    )?;
    let url = format!("https://localhost:{PORT}");
    let ca = service.join("tls/ca.pem");
    let packs: Vec<String> = std::fs::read_dir(service.join("repository/targets/packs"))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".pack"))
        .collect();
    let fetch = |name: &str| {
        let mut command = Command::new("curl");
        command.args([
            "--silent",
            "--show-error",
            "--fail",
            "--retry",
            "20",
            "--retry-connrefused",
            "--cacert",
        ]);
        command
            .arg(&ca)
            .arg("-o")
            .arg(folder.path().join(name))
            .arg(format!("{url}/targets/packs/{name}"));
        command
    };
    let mut curl = Duration::ZERO;
    let before = processor_seconds("self", ENDED_CHILDREN)?;
    for pack in &packs {
        curl += time(&mut fetch(pack))?;
    }
    let curl_processor = processor_seconds("self", ENDED_CHILDREN)? - before;
    let start = now();
    for pack in &packs {
        time(Command::new("sha256sum").arg(folder.path().join(pack)))?;
    }
    time(&mut Command::new("sync"))?;
    let checked = curl + start.elapsed();
    site_for(
        program,
        &site,
        &url,
        &service.join("repository/metadata/1.root.json"),
        Some(&ca),
    )?;
    let site_dir = site.display().to_string();
    let running = Background::start(program, &["run", "--dir", &site_dir])?;
    let before = processor_seconds(&running.0.id().to_string(), ITSELF)?;
    let took = until("the download", Duration::from_secs(300), || between(&site, 9, 13))
        .context("the site did not download the package; see its Dmpdownloader.log")?;
    let processor = processor_seconds(&running.0.id().to_string(), ITSELF)? - before;
    Ok(vec![
        Row::times(
            "download 1 GiB, verified and durable",
            took,
            "curl, sha256sum, sync",
            checked,
        ),
        Row::times("download 1 GiB, verified and durable", took, "curl alone", curl),
        Row {
            what: "processor time of the site for this GiB".into(),
            ours: format!("{processor:.2} s"),
            peer: format!("curl {curl_processor:.2} s"),
            ratio: format!("{:.2}", processor / curl_processor.max(1e-9)),
        },
        Row::limit(
            "peak memory of the site meanwhile",
            running.memory_mib("VmHWM")?,
            "MiB",
            256.0,
        ),
    ])
}
