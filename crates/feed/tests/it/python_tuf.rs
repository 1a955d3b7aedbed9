//! python-tuf, the reference implementation, reads what we publish.
//!
//! Needs `python3` with `venv` and, the first time, a package index for `pip`. It fails where these are missing: a
//! reader that is not asked proves nothing.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use feed::publisher::{InitSpec, OnlineRole};

use crate::publisher::{Vendor, publish};
use crate::repository::now;

/// The version the check is made with.
const TUF: &str = "tuf==7.0.1";

/// Serves the folder on loopback and reads it as any python-tuf client does, at the time of the feed.
const SCRIPT: &str = r#"
import datetime, functools, http.server, pathlib, sys, tempfile, threading
from unittest import mock
from tuf.ngclient import Updater
from tuf.ngclient._internal import trusted_metadata_set

feed, root, now = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]
now = datetime.datetime.strptime(now, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=datetime.timezone.utc)

class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=feed))
threading.Thread(target=server.serve_forever, daemon=True).start()
base = f"http://127.0.0.1:{server.server_address[1]}"

class Clock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return now

fake = mock.Mock(wraps=datetime)
fake.datetime, fake.timezone = Clock, datetime.timezone
with tempfile.TemporaryDirectory() as folder, mock.patch.object(trusted_metadata_set, "datetime", fake):
    targets = pathlib.Path(folder, "targets")
    targets.mkdir()
    updater = Updater(f"{folder}/metadata", f"{base}/metadata/", str(targets), f"{base}/targets/",
                      bootstrap=root.read_bytes())
    updater.refresh()
    for path in sys.argv[4:]:
        info = updater.get_targetinfo(path)
        assert info is not None, f"{path} was not found"
        assert pathlib.Path(updater.download_target(info)).read_bytes() == path.encode(), path
    assert updater.get_targetinfo("no/such/target") is None
print("read", len(sys.argv) - 4)
"#;

fn run(command: &mut Command) -> Output {
    match command.output() {
        Ok(output) => output,
        Err(error) => panic!("{command:?} could not be started ({error}); install python3 and python3-venv"),
    }
}

fn must(command: &mut Command) -> String {
    let output = run(command);
    assert!(
        output.status.success(),
        "{command:?} failed; install python3 and python3-venv, and let pip reach a package index.\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The interpreter of a virtual environment with python-tuf in it, made on first use.
fn python() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python-tuf");
    let python = folder.join("bin/python");
    let version = "import importlib.metadata as m; print('tuf==' + m.version('tuf'))";
    if python.exists() {
        let found = run(Command::new(&python).args(["-c", version]));
        if String::from_utf8_lossy(&found.stdout).trim() == TUF {
            return python;
        }
    }
    must(
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&folder),
    );
    must(Command::new(&python).args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        TUF,
    ]));
    python
}

#[test]
fn python_tuf_reads_what_we_publish() {
    let python = python();
    let (mut vendor, mut publisher) = Vendor::new(&InitSpec::default());
    let root = vendor.repository().join("metadata/1.root.json");
    let targets = [
        "catalogue/0.jsonl.zst",
        "payloads/a/index",
        "packs/b.pack",
        "top.txt",
    ];
    for path in targets {
        publish(&mut publisher, path, path.as_bytes());
    }
    publisher.commit(now()).unwrap();
    let root_keys = vendor.root_keys();
    for role in OnlineRole::ALL {
        publisher
            .rotate_key(role, Some(&root_keys), &mut vendor.rng, now())
            .unwrap();
    }
    publisher
        .rotate_root(&root_keys, &Default::default(), &mut vendor.rng, now())
        .unwrap();
    let time = now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let output = must(
        Command::new(&python)
            .args(["-c", SCRIPT])
            .arg(vendor.repository())
            .arg(&root)
            .arg(&time)
            .args(targets),
    );
    assert_eq!(output.trim(), "read 4");
}
