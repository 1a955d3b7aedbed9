//! A catalogue of 10,000 packages: synchronised, verified and evaluated, against python-tuf's refresh
//! of the same repository without applicability.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Background, Row, between, ours, site_for, time, until};

const PACKAGES: usize = 10_000;

pub fn run(program: &Path) -> Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    let (service, site) = (folder.path().join("service"), folder.path().join("site"));
    ours(
        program,
        &service,
        &["cloud", "init", "--name", "Bench", "--host", "localhost"],
    )?;
    fill_catalogue(&service).context("cannot write the catalogue")?;
    let repository = service.join("repository");
    let url = format!("file://{}", repository.display());
    let root = repository.join("metadata/1.root.json");
    site_for(program, &site, &url, &root, None)?;
    let dir = site.display().to_string();
    let running = Background::start(program, &["run", "--dir", &dir])?;
    let first = until("the sync", Duration::from_secs(120), || between(&site, 0, 4))?;
    let evaluated = || {
        let text = ours(program, &site, &["updates", "list", "--all", "--json"]).ok()?;
        let list: serde_json::Value = serde_json::from_str(&text).ok()?;
        let list = list.as_array()?;
        (list.len() == PACKAGES && list.iter().all(|update| update["state"]["code"] != 0)).then_some(())
    };
    until("the evaluation", Duration::from_secs(120), evaluated)?;
    let peak = running.memory_mib("VmHWM")?;
    let peer = python_tuf(folder.path(), &repository, &root)?;
    Ok(vec![
        Row::times(
            "first sync of 10,000 packages, with all records stored",
            first,
            "python-tuf refresh and shards",
            peer,
        ),
        Row::limit("peak memory of the site meanwhile", peak, "MiB", 200.0),
    ])
}

/// Ten thousand records that apply to nothing, written as a publisher would.
pub(super) fn fill_catalogue(service: &Path) -> Result<()> {
    use std::collections::BTreeMap;
    let mut shards: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for number in 0..PACKAGES {
        let guid = format!("{number:08X}-0000-4000-8000-000000000000");
        let line = serde_json::json!({
            "format": 1,
            "guid": guid,
            "text": { "en": { "name": format!("Package {number}"), "description": "A package of the benchmark. ".repeat(20) } },
            "full-version": format!("5.00.{}.1000", 9100 + number % 800),
            "type": "update",
            "released": "2026-01-01T00:00:00Z",
            "payload": {
                "index": format!("payloads/{guid}/index"), "index-sha256": "ab".repeat(32), "index-length": 1000,
                "files": 10, "bytes": 100_000, "download-bytes": 50_000
            },
            "applicability": "site.type == \"secondary\" && host.memory_bytes > 1073741824",
            "prerequisite-rules": [],
            "install": { "switch": true }
        });
        let shard = protocol::catalogue::shard_name(guid.parse().map_err(anyhow::Error::msg)?);
        shards.entry(shard).or_default().insert(guid, line.to_string());
    }
    let mut publisher = feed::publisher::Publisher::open(&service.join("repository"), &service.join("keys"))?;
    for (path, lines) in shards {
        let bytes = protocol::catalogue::write_shard(lines.values().map(String::as_str))?;
        let sha256 = content::ObjectId::of(&bytes).to_string();
        let file = publisher.target_file(&path, &sha256);
        if let Some(parent) = file.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(file, &bytes)?;
        let record = feed::publisher::TargetRecord {
            length: bytes.len() as u64,
            sha256,
            custom: Default::default(),
        };
        publisher.set_target(&path, &record)?;
    }
    publisher.commit(executive::Clock::System.now())?;
    Ok(())
}

/// python-tuf over HTTP: refresh, then every shard, without reading any of them.
fn python_tuf(folder: &Path, repository: &Path, root: &Path) -> Result<Duration> {
    let venv = folder.join("venv");
    time(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    time(Command::new(venv.join("bin/pip")).args(["install", "--quiet", "tuf==7.0.1", "requests"]))?;
    let script = folder.join("peer.py");
    std::fs::write(
        &script,
        r#"
import functools, http.server, pathlib, sys, tempfile, threading, time
from tuf.ngclient import Updater
repository, root = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *a): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(repository)))
threading.Thread(target=server.serve_forever, daemon=True).start()
base = f"http://127.0.0.1:{server.server_port}"
with tempfile.TemporaryDirectory() as folder:
    start = time.monotonic()
    updater = Updater(folder, base + "/metadata/", folder, base + "/targets/", bootstrap=root.read_bytes())
    updater.refresh()
    for digit in "0123456789abcdef":
        updater.download_target(updater.get_targetinfo(f"catalogue/{digit}.jsonl.zst"))
    print(time.monotonic() - start)
"#,
    )?;
    let output = Command::new(venv.join("bin/python"))
        .arg(&script)
        .arg(repository)
        .arg(root)
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let seconds: f64 = text
        .trim()
        .parse()
        .with_context(|| format!("python-tuf failed: {}", String::from_utf8_lossy(&output.stderr)))?;
    Ok(Duration::from_secs_f64(seconds))
}
