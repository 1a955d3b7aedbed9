//! A site and its internet access: one status message per run, the proxy for everything, offline.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::nginx::{Nginx, free_port, wait_for};
use crate::squid::{Asks, PASSWORD, Squid, USER};

/// A connected service over HTTPS and a site that reads it.
pub struct World {
    pub folder: tempfile::TempDir,
    pub port: u16,
    _serving: Running,
}

pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn tidegate(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command
        .env_clear()
        .env("TZ", "UTC")
        .arg("--dir")
        .arg(dir)
        .args(arguments)
        .stdin(Stdio::null());
    command
}

impl World {
    pub fn new() -> World {
        World::prepared(|_| {})
    }

    /// A world whose service is prepared before it is served.
    pub fn prepared(prepare: impl FnOnce(&Path)) -> World {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let service = folder.path().join("service");
        must(
            &service,
            &["cloud", "init", "--name", "Test", "--host", "localhost"],
        );
        prepare(&service);
        let listen = format!("127.0.0.1:{port}");
        let serving = Running(
            tidegate(&service, &["cloud", "serve", "--listen", &listen])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        );
        wait_for(port, String::new);
        let world = World {
            folder,
            port,
            _serving: serving,
        };
        let root = service
            .join("repository/metadata/1.root.json")
            .display()
            .to_string();
        let ca = service.join("tls/ca.pem").display().to_string();
        let feed = format!("https://localhost:{port}");
        must(
            &world.site(),
            &[
                "site",
                "init",
                "--code",
                "P01",
                "--name",
                "Test",
                "--feed",
                &feed,
                "--root",
                &root,
                "--feed-ca",
                &ca,
                "--product-version",
                "5.00.9096.1000",
            ],
        );
        world
    }

    pub fn site(&self) -> PathBuf {
        self.folder.path().join("site")
    }

    pub fn configure(&self, from: &str, to: &str) {
        let path = self.site().join("tidegate.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(&path, text.replace(from, to)).unwrap();
    }

    pub fn start(&self) -> Running {
        let running = Running(
            tidegate(&self.site(), &["run"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        );
        self.until("the start", || self.json(&["site", "show"]).map(drop));
        running
    }

    pub fn json(&self, arguments: &[&str]) -> Option<Value> {
        let output = tidegate(&self.site(), arguments).arg("--json").output().unwrap();
        serde_json::from_slice(&output.stdout).ok()
    }

    pub fn messages(&self, id: u64) -> usize {
        let list = self
            .json(&["status", "messages", "--limit", "1000"])
            .unwrap_or_default();
        list.as_array()
            .into_iter()
            .flatten()
            .filter(|message| message["message_id"] == id)
            .count()
    }

    fn component_status(&self) -> String {
        let list = self.json(&["status", "components"]).unwrap();
        let found = list
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["component"] == "SMS_SERVICE_CONNECTOR");
        found.unwrap()["status"].as_str().unwrap().to_owned()
    }

    #[expect(clippy::disallowed_methods, reason = "a test gives up after a real time")]
    pub fn until<T>(&self, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
        let start = std::time::Instant::now();
        loop {
            if let Some(answer) = ask() {
                return answer;
            }
            if start.elapsed().as_secs() > 40 {
                let log =
                    std::fs::read_to_string(self.site().join("logs/EndpointConnectivityCheckWorker.log"));
                let downloader = std::fs::read_to_string(self.site().join("logs/Dmpdownloader.log"));
                panic!(
                    "{what} did not happen: {}\n{}",
                    log.unwrap_or_default(),
                    downloader.unwrap_or_default()
                );
            }
            std::thread::park_timeout(std::time::Duration::from_millis(30));
        }
    }
}

pub fn must(dir: &Path, arguments: &[&str]) -> String {
    let output = tidegate(dir, arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

pub fn run(dir: &Path, arguments: &[&str]) -> Output {
    tidegate(dir, arguments).output().unwrap()
}

fn own_catalogue(world: &World, name: &str, port: u16, critical: bool) {
    let text = format!(
        "schema_version = 1\ncatalogue = \"own\"\nnewest_source = \"2026-01-01\"\n\
         [[endpoint]]\nid = \"own\"\nfeature = \"{name}\"\npattern = \"127.0.0.1\"\nhost = \"127.0.0.1\"\n\
         scheme = \"http\"\nport = {port}\ncritical = {critical}\n"
    );
    std::fs::write(world.site().join("own.toml"), text).unwrap();
}

#[test]
fn i2_and_i3_one_message_per_run_and_alarms_that_clear() {
    let world = World::new();
    world.configure("# catalogue = \"endpoints.toml\"", "catalogue = \"own.toml\"");
    let nginx = Nginx::start("https://localhost:1/");
    own_catalogue(&world, "attach", nginx.port("plain"), true);
    let _running = world.start();
    let check = || run(&world.site(), &["check", "--site", "--json"]);
    assert_eq!(check().status.code(), Some(0));
    assert_eq!(check().status.code(), Some(0));
    assert_eq!(world.messages(11_410), 1, "the same outcome is told once a day");
    assert_eq!(
        (
            world.messages(11_411),
            world.messages(11_412),
            world.messages(11_488)
        ),
        (0, 0, 0)
    );
    own_catalogue(&world, "attach", free_port(), false);
    assert_eq!(check().status.code(), Some(1));
    assert_eq!(
        (
            world.messages(11_410),
            world.messages(11_411),
            world.messages(11_412)
        ),
        (1, 1, 0)
    );
    assert_ne!(world.component_status(), "Critical");
    own_catalogue(&world, "attach", free_port(), true);
    assert_eq!(check().status.code(), Some(2));
    assert_eq!(
        (
            world.messages(11_411),
            world.messages(11_412),
            world.messages(11_488)
        ),
        (1, 1, 1)
    );
    assert_eq!(world.component_status(), "Critical");
    assert_eq!(check().status.code(), Some(2));
    assert_eq!((world.messages(11_412), world.messages(11_488)), (1, 1));
    own_catalogue(&world, "attach", nginx.port("plain"), true);
    assert_eq!(check().status.code(), Some(0));
    assert_eq!((world.messages(11_410), world.messages(11_412)), (2, 1));
    assert_ne!(world.component_status(), "Critical");
    let history = world.json(&["scp", "history"]).unwrap();
    assert!(history.as_array().unwrap().len() >= 6, "{history}");
    let log = std::fs::read_to_string(world.site().join("logs/EndpointConnectivityCheckWorker.log")).unwrap();
    assert!(log.contains("<![LOG[") || log.is_empty(), "{log}");
}

#[test]
fn i13_everything_goes_through_the_proxy_and_no_secret_is_written() {
    let world = World::new();
    let squid = Squid::start(Asks::Digest);
    let _running = world.start();
    let synced = || {
        world.json(&["site", "show"])?["sync"]["succeeded_at"]
            .as_str()
            .map(str::to_owned)
    };
    let first = world.until("the first check", synced);
    assert!(!squid.log().contains("CONNECT"));
    let password = world.folder.path().join("password");
    std::fs::write(&password, format!("{PASSWORD}\n")).unwrap();
    let (port, file) = (squid.port.to_string(), password.display().to_string());
    let proxy = [
        "--host",
        "127.0.0.1",
        "--port",
        &port,
        "--user",
        USER,
        "--password-file",
        &file,
    ];
    let tested = run(&world.site(), &[&["scp", "proxy", "test"], &proxy[..]].concat());
    assert!(
        tested.status.success(),
        "{}{}",
        String::from_utf8_lossy(&tested.stdout),
        squid.log()
    );
    assert!(
        world.json(&["scp", "proxy", "show"]).unwrap().is_null(),
        "a test sets nothing"
    );
    must(&world.site(), &[&["scp", "proxy", "set"], &proxy[..]].concat());
    let before = squid.log().matches("CONNECT").count();
    must(&world.site(), &["updates", "check"]);
    world.until("a check through the proxy", || (synced()? > first).then_some(()));
    let target = format!("CONNECT localhost:{}", world.port);
    assert!(squid.log().matches(&target).count() > before, "{}", squid.log());
    let info = world.json(&["scp", "proxy", "show"]).unwrap();
    assert_eq!(
        (info["host"].as_str(), info["user"].as_str()),
        (Some("127.0.0.1"), Some(USER))
    );
    // A proxy that is gone stops everything: nothing finds its own way.
    drop(squid);
    let checked = run(&world.site(), &["check", "--site"]);
    assert_eq!(checked.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&checked.stdout).contains("proxy.tcp"));
    must(&world.site(), &["updates", "check"]);
    let failure = || {
        world.json(&["site", "show"])?["sync"]["failure"]
            .as_str()
            .map(str::to_owned)
    };
    let failure = world.until("the failure", failure);
    assert!(failure.contains("proxy.tcp"), "{failure}");
    no_secret_anywhere(&world);
    must(&world.site(), &["scp", "proxy", "clear"]);
    must(&world.site(), &["updates", "check"]);
    let failure = || {
        world
            .json(&["site", "show"])
            .filter(|site| site["sync"]["failure"].is_null())
    };
    world.until("the direct way", failure);
}

/// I13: nothing that was written holds the password, in any of the forms it travels in.
fn no_secret_anywhere(world: &World) {
    use base64::Engine;
    let basic = base64::prelude::BASE64_STANDARD.encode(format!("{USER}:{PASSWORD}"));
    let mut pending = vec![world.site()];
    let mut read = 0;
    while let Some(folder) = pending.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else if let Ok(bytes) = std::fs::read(&path) {
                read += 1;
                let text = String::from_utf8_lossy(&bytes);
                for secret in [
                    PASSWORD,
                    basic.as_str(),
                    "Proxy-Authorization",
                    "proxy-authorization",
                ] {
                    assert!(!text.contains(secret), "{} has {secret}", path.display());
                }
            }
        }
    }
    assert!(read > 10, "only {read} files were looked at");
    let printed = [
        must(&world.site(), &["scp", "show"]),
        must(&world.site(), &["scp", "proxy", "show"]),
        must(&world.site(), &["status", "messages"]),
        must(&world.site(), &["config", "check"]),
    ];
    assert!(printed.iter().all(|text| !text.contains(PASSWORD)));
}

#[test]
fn i12_offline_opens_no_connection() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    let world = World::new();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = connections.clone();
    let port = crate::stubs::serve(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
    });
    world.configure(&format!("localhost:{}", world.port), &format!("localhost:{port}"));
    let _running = world.start();
    world.until("a first attempt", || {
        (connections.load(Ordering::Relaxed) > 0).then_some(())
    });
    let shown = must(&world.site(), &["scp", "mode", "offline"]);
    assert!(shown.contains("waits for a restart"), "{shown}");
    assert_eq!(world.json(&["scp", "show"]).unwrap()["mode_effective"], "online");
    must(&world.site(), &["component", "restart", "SMS_DMP_DOWNLOADER"]);
    world.until("offline", || {
        (world.json(&["scp", "show"])?["mode_effective"] == "offline").then_some(())
    });
    std::thread::park_timeout(std::time::Duration::from_millis(500));
    let before = connections.load(Ordering::Relaxed);
    let said = run(&world.site(), &["check", "--site", "--json"]);
    assert_eq!(said.status.code(), Some(3));
    let report: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(report["fault"]["code"], "cfg.offline");
    must(&world.site(), &["updates", "check"]);
    std::thread::park_timeout(std::time::Duration::from_millis(700));
    assert_eq!(connections.load(Ordering::Relaxed), before, "offline is offline");
}

#[test]
fn a_throttled_download_over_https_ends() {
    const GUID: &str = "11111111-2222-3333-4444-555555555551";
    let world = World::new();
    let _running = world.start();
    must(&world.site(), &["hierarchy", "throttle", "200 kB/s"]);
    let (description, payload) = (
        world.folder.path().join("package.toml"),
        world.folder.path().join("payload"),
    );
    std::fs::create_dir(&payload).unwrap();
    std::fs::write(payload.join("file"), vec![7; 30_000]).unwrap();
    let text = format!(
        "guid = \"{GUID}\"\nfull-version = \"5.00.9101.1000\"\ntype = \"update\"\n\
         released = \"2026-01-02T00:00:00Z\"\n[text.en]\nname = \"Update\"\n[install]\nswitch = true\n"
    );
    std::fs::write(&description, text).unwrap();
    let (description, payload) = (description.display().to_string(), payload.display().to_string());
    let service = world.folder.path().join("service");
    must(&service, &["cloud", "publish", &description, &payload]);
    must(&world.site(), &["updates", "check", "--wait"]);
    world.until("the download", || {
        let update = world.json(&["updates", "show", GUID])?;
        (update["state"]["code"] == 262_146).then_some(())
    });
}

#[test]
fn metrics_have_phases_and_faults() {
    let world = World::new();
    let _running = world.start();
    assert_eq!(
        run(&world.site(), &["check", "--site", "--json"]).status.code(),
        Some(0)
    );
    let output = Command::new("curl")
        .args(["--silent", "--unix-socket"])
        .arg(world.site().join("run/api.sock"))
        .arg("http://site/v1/metrics")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for part in [
        "tidegate_endpoint_success{",
        "phase=\"tls\"",
        "tidegate_endpoint_certificate_not_after{",
        "# EOF",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn the_feed_brings_a_newer_catalogue() {
    let world = World::new();
    world.configure("features = []", "features = [\"made-up\"]");
    let nginx = Nginx::start("https://localhost:1/");
    let catalogue = |version: &str| {
        let path = world.folder.path().join("endpoints.toml");
        let text = format!(
            "schema_version = 1\ncatalogue = \"vendor\"\nnewest_source = \"{version}\"\n\
             [[endpoint]]\nid = \"one\"\nfeature = \"made-up\"\npattern = \"127.0.0.1\"\nhost = \"127.0.0.1\"\n\
             scheme = \"http\"\nport = {}\n",
            nginx.port("plain")
        );
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let service = world.folder.path().join("service");
    let refused = run(&service, &["cloud", "config", "endpoints", "/etc/hostname"]);
    assert_eq!(refused.status.code(), Some(1));
    must(
        &service,
        &["cloud", "config", "endpoints", &catalogue("2030-01-01")],
    );
    let again = must(
        &service,
        &["cloud", "config", "endpoints", &catalogue("2030-01-01")],
    );
    assert!(again.contains("already"), "{again}");
    let _running = world.start();
    world.until("the new catalogue", || {
        let said = run(&world.site(), &["check", "--site", "--json"]);
        let report: Value = serde_json::from_slice(&said.stdout).ok()?;
        let results = report["results"].as_array()?.len();
        (report["catalogue"]["version"] == "2030-01-01" && results == 2).then_some(())
    });
}
