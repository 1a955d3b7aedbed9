//! Hierarchies without internet: a folder is the stick. Each ends where its online twin does, whatever happens
//! to the stick on the way.

mod damage;
mod deltas;
mod hotfix;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Output;

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use serde_json::Value;

use crate::world::{Running, Site, World, copy_folder, now, until};

const FIRST: &str = "11111111-1111-4111-8111-111111111111";
const SECOND: &str = "22222222-2222-4222-8222-222222222222";
const HOTFIX: &str = "33333333-3333-4333-8333-333333333333";
const READY: u64 = 262_146;

/// Text that hardly compresses, the same for the same seed.
fn noise(seed: u64, bytes: usize) -> String {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut text = String::with_capacity(bytes);
    while text.len() < bytes {
        text.push_str(&format!("{:016x}", random.next_u64()));
    }
    text
}

fn description(guid: &str, version: &str, more: &str) -> String {
    format!(
        "guid = \"{guid}\"\nfull-version = \"{version}\"\nreleased = 2026-10-01T08:00:00Z\n{more}\n\
         [text.en]\nname = \"Release {version}\"\n[install]\nswitch = true\n"
    )
}

/// Two updates and a hotfix; they share some of their content.
fn world() -> World {
    let world = World::empty(now());
    let (one, two, three) = (noise(1, 3_000_000), noise(2, 3_000_000), noise(3, 2_000_000));
    world.publish(
        "first",
        &description(FIRST, "5.00.9100.1000", "type = \"update\""),
        &[("a", &one), ("b", &two)],
    );
    let more = "type = \"update\"\nmin-site-version = \"5.00.9096.0000\"";
    world.publish(
        "second",
        &description(SECOND, "5.00.9106.1000", more),
        &[("a", &one), ("c/d", &three), ("small", "text")],
    );
    world.publish(
        "hotfix",
        &description(
            HOTFIX,
            "5.00.9106.1010",
            "type = \"hotfix\"\nmin-site-version = \"5.00.9106.0000\"",
        ),
        &[("fix", &noise(4, 50_000))],
    );
    world
}

/// A site of a version that has never read its feed and never will by itself.
fn site(world: &World, name: &str, version: &str, mode: &str) -> Site {
    let site = Site {
        dir: world.folder.path().join(name),
    };
    let feed = format!("file://{}", world.repository().display());
    let root = world
        .repository()
        .join("metadata/1.root.json")
        .display()
        .to_string();
    site.must(&[
        "site",
        "init",
        "--code",
        "P01",
        "--name",
        name,
        "--feed",
        &feed,
        "--root",
        &root,
        "--product-version",
        version,
    ]);
    let database = rusqlite::Connection::open(site.dir.join("site.db")).unwrap();
    database
        .execute(
            "INSERT INTO setting (name, value) VALUES ('scp.mode', ?1)",
            [mode],
        )
        .unwrap();
    site
}

struct Stick {
    folder: PathBuf,
}

impl Stick {
    fn new(world: &World, name: &str) -> Self {
        let folder = world.folder.path().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        Stick { folder }
    }

    fn updates(&self) -> PathBuf {
        self.folder.join("updates")
    }

    fn prepare(&self, site: &Site, name: &str) {
        let file = self.folder.join(name).display().to_string();
        site.must(&[
            "tool",
            "prepare",
            "--usagedatadest",
            &file,
            "--logdir",
            &self.logs(),
        ]);
    }

    fn logs(&self) -> String {
        self.folder.display().to_string()
    }

    fn connect(&self, world: &World, more: &[&str]) -> Output {
        let anywhere = Site {
            dir: world.folder.path().join("nowhere"),
        };
        let (from, to, logs) = (
            self.folder.display().to_string(),
            self.updates().display().to_string(),
            self.logs(),
        );
        let mut arguments = vec![
            "tool",
            "connect",
            "--usagedatasrc",
            &from,
            "--updatepackdest",
            &to,
            "--logdir",
            &logs,
            "--json",
        ];
        arguments.extend(more);
        anywhere.run(&arguments)
    }

    fn connected(&self, world: &World, more: &[&str]) -> Value {
        let output = self.connect(world, more);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn import(&self, site: &Site) -> Output {
        let folder = self.updates().display().to_string();
        site.run(&[
            "tool",
            "import",
            "--updatepacksrc",
            &folder,
            "--logdir",
            &self.logs(),
        ])
    }

    fn bytes(&self) -> u64 {
        files(&self.updates())
            .iter()
            .map(|file| std::fs::metadata(file).unwrap().len())
            .sum()
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found.sort();
    found
}

/// The files of content on a stick.
fn content(stick: &Stick) -> Vec<PathBuf> {
    let all = files(&stick.updates()).into_iter();
    all.filter(|file| file.to_string_lossy().contains("/content/"))
        .collect()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What two sites must have in common: states of packages, every condition with what was found, and content.
fn end_state(site: &Site) -> (Vec<(String, u64)>, Vec<Value>, BTreeSet<String>) {
    let conditions = site.states().into_iter().map(|(guid, _)| {
        let why = site.json(&["updates", "why", &guid]).unwrap_or_default();
        serde_json::json!([why["state"]["code"], why["conditions"]])
    });
    let objects = files(&site.dir.join("content/objects"));
    let names = objects
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned());
    (site.states(), conditions.collect(), names.collect())
}

/// An online twin that has come to its end.
fn twin(world: &World, name: &str, version: &str, newest: &str) -> (Site, Running) {
    let twin = site(world, name, version, "online");
    let running = twin.started();
    twin.wait_for(newest, READY);
    (twin, running)
}

#[test]
fn three_hierarchies_on_one_stick_end_like_their_twins() {
    let world = world();
    let stick = Stick::new(&world, "stick");
    let versions = [
        ("one", "5.00.9090.1000", FIRST),
        ("two", "5.00.9096.1000", SECOND),
        ("three", "5.00.9100.1000", SECOND),
    ];
    let sites = versions.map(|(name, version, newest)| {
        let site = site(&world, name, version, "offline");
        let running = site.started();
        stick.prepare(&site, &format!("{name} – H\u{f6}he.cab"));
        (site, running, newest)
    });
    let plan = stick.connected(&world, &["--plan"]);
    assert_eq!(plan["hierarchies"].as_array().unwrap().len(), 3);
    assert!(
        !stick.updates().join("tidegate-bundle.json").exists(),
        "a plan puts nothing there"
    );
    let connected = stick.connected(&world, &[]);
    assert_eq!(connected["content_bytes"], plan["content_bytes"]);
    // What is shared lies there once, and little beside it.
    let content = connected["content_bytes"].as_u64().unwrap();
    let (on_stick, limit) = (stick.bytes(), content + content / 50);
    assert!(on_stick <= limit, "{on_stick} bytes on the stick, of {limit}");
    for (site, _running, newest) in &sites {
        let output = stick.import(site);
        assert!(output.status.success(), "{}\n{}", said(&output), site.all_logs());
        site.wait_for(newest, READY);
    }
    for ((site, ..), (name, version, newest)) in sites.iter().zip(versions) {
        let (twin, _running) = twin(&world, &format!("twin-{name}"), version, newest);
        assert_eq!(end_state(site), end_state(&twin), "{name}");
    }
    // Again: nothing changes. And once more round: nothing is missing any more.
    let before = end_state(&sites[0].0);
    assert!(stick.import(&sites[0].0).status.success());
    assert_eq!(end_state(&sites[0].0), before);
    let again = stick.connected(&world, &[]);
    assert_eq!(
        (&again["content_bytes"], &again["fetched_bytes"]),
        (&0.into(), &0.into()),
        "{again}"
    );
    let log = std::fs::read_to_string(stick.folder.join("ServiceConnectionTool.log")).unwrap();
    assert!(log.contains("connect") && !log.contains("prepare"), "{log}");
    // The package is installed from what came by hand.
    sites[1].0.must(&["updates", "install", SECOND, "--wait"]);
    assert_eq!(sites[1].0.current().as_deref(), Some("5.00.9106.1000"));
}

#[test]
fn scopes_bring_what_they_say() {
    let world = world();
    let site = site(&world, "site", "5.00.9100.1000", "offline");
    let _running = site.started();
    let packages = |connected: &Value| -> Vec<String> {
        let packages = connected["hierarchies"][0]["packages"].as_array().unwrap().iter();
        packages
            .map(|package| package["guid"].as_str().unwrap().to_owned())
            .collect()
    };
    let stick = Stick::new(&world, "stick");
    stick.prepare(&site, "UsageData.cab");
    for (more, expected) in [
        (vec!["--plan"], vec![SECOND]),
        (vec!["--plan", "--downloadsiteversion"], vec![HOTFIX, SECOND]),
        (vec!["--plan", "-DownloadHotfix"], vec![HOTFIX]),
        (vec!["--plan", "/downloadall"], vec![HOTFIX, SECOND, FIRST]),
    ] {
        assert_eq!(packages(&stick.connected(&world, &more)), expected, "{more:?}");
    }
    let both = stick.connect(&world, &["--downloadall", "--downloadhotfix"]);
    assert_eq!(both.status.code(), Some(2));
    // What does not apply yet is here when it does: the hotfix after the update.
    stick.connected(&world, &["--downloadall"]);
    let output = stick.import(&site);
    assert!(output.status.success(), "{}", said(&output));
    std::fs::remove_dir_all(stick.updates()).unwrap();
    site.wait_for(SECOND, READY);
    site.must(&["updates", "install", SECOND, "--wait"]);
    site.wait_for(HOTFIX, READY);
}

#[test]
fn what_does_not_belong_is_told_apart() {
    let world = world();
    let (site, other) = (
        site(&world, "site", "5.00.9096.1000", "offline"),
        site(&world, "other", "5.00.9096.1000", "offline"),
    );
    let (_running, _other) = (site.started(), other.started());
    let stick = Stick::new(&world, "stick");
    let check = |output: Output, code: i32, words: &str| {
        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
        assert!(said(&output).contains(words), "{}", said(&output));
    };
    check(stick.connect(&world, &[]), 6, "has no cabinet");
    std::fs::write(stick.folder.join("odd.cab"), "no cabinet").unwrap();
    check(stick.connect(&world, &[]), 6, "odd.cab");
    std::fs::remove_file(stick.folder.join("odd.cab")).unwrap();
    stick.prepare(&site, "site.cab");
    std::fs::create_dir_all(stick.updates()).unwrap();
    check(stick.import(&site), 6, "tidegate-bundle.json is missing");
    stick.connected(&world, &[]);
    check(stick.import(&other), 5, "nothing for this hierarchy");
    // Partly copied: what is there is taken, what is missing is named, and the next round brings only that.
    let content = files(&stick.updates())
        .into_iter()
        .find(|file| file.to_string_lossy().contains("/content/"))
        .unwrap();
    let lost = std::fs::metadata(&content).unwrap().len();
    std::fs::remove_file(&content).unwrap();
    check(stick.import(&site), 10, "not complete");
    let again = stick.connected(&world, &[]);
    assert!(again["content_bytes"].as_u64().unwrap() <= lost, "{again}");
    assert!(again["fetched_bytes"].as_u64().unwrap() <= lost, "{again}");
    let old = world.folder.path().join("old");
    copy_folder(&stick.updates(), &old);
    let output = stick.import(&site);
    assert!(output.status.success(), "{}", said(&output));
    site.wait_for(SECOND, READY);
    // A newer bundle, then the older one.
    cloud::rollout(
        &world.service(),
        FIRST.parse().unwrap(),
        &cloud::Rollout::share(50),
        now(),
    )
    .unwrap();
    stick.connected(&world, &[]);
    assert!(stick.import(&site).status.success());
    copy_folder(&old, &stick.updates());
    check(stick.import(&site), 7, "older than what this site knows");
    site.wait_for(SECOND, READY);
    assert!(site.message_ids().contains(&60_241));
    // Metadata that was signed by somebody else.
    let foreign = World::empty(now());
    let metadata = foreign.repository().join("metadata/timestamp.json");
    let target = files(&stick.updates())
        .into_iter()
        .find(|file| file.ends_with("timestamp.json"))
        .unwrap();
    std::fs::copy(metadata, target).unwrap();
    check(stick.import(&site), 6, "the feed on it was refused");
    // Another mode, another release, wrong usage.
    site.must(&["scp", "mode", "online", "--restart"]);
    check(stick.import(&site), 3, "is online");
    let file = stick.folder.join("x.cab").display().to_string();
    check(
        site.run(&["tool", "-PREPARE", "/UsageDataDest", &file]),
        3,
        "is online",
    );
    assert!(!Path::new(&file).exists());
    for wrong in [
        vec!["tool", "prepare"],
        vec!["tool", "connect", "--usagedatasrc", "x"],
        vec!["tool", "import"],
        vec!["tool"],
    ] {
        assert_eq!(site.run(&wrong).status.code(), Some(2), "{wrong:?}");
    }
}

/// In a network namespace without any interface a site prepares, imports and installs; it opens no socket of
/// the internet.
#[test]
fn offline_needs_no_network_and_opens_no_socket() {
    let world = world();
    let site = site(&world, "site", "5.00.9096.1000", "offline");
    let stick = Stick::new(&world, "stick");
    let apart = ["--net", "--map-root-user", "true"];
    let allowed = std::process::Command::new("unshare").args(apart).status();
    if !allowed.is_ok_and(|status| status.success()) {
        println!("NOT RUN: this machine forbids network namespaces");
        return;
    }
    let child = std::process::Command::new("unshare")
        .args([
            "--net",
            "--map-root-user",
            env!("CARGO_BIN_EXE_tidegate"),
            "--dir",
        ])
        .arg(&site.dir)
        .arg("run")
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let process = child.id();
    let _running = Running::of(child);
    until("the start of the site", || site.json(&["site", "show"]).map(drop));
    let audit = || {
        for table in ["tcp", "tcp6", "udp", "udp6", "raw", "raw6"] {
            let sockets = std::fs::read_to_string(format!("/proc/{process}/net/{table}")).unwrap_or_default();
            assert_eq!(sockets.lines().skip(1).count(), 0, "{table}: {sockets}");
        }
    };
    audit();
    stick.prepare(&site, "site.cab");
    audit();
    stick.connected(&world, &[]);
    let output = stick.import(&site);
    assert!(output.status.success(), "{}", said(&output));
    audit();
    site.wait_for(SECOND, READY);
    site.must(&["updates", "install", SECOND, "--wait"]);
    audit();
    // Both modes are shown, and a check that cannot be made says what to do.
    let show = site.json(&["scp", "show"]).unwrap();
    assert_eq!(
        (&show["mode_configured"], &show["mode_effective"]),
        (&"offline".into(), &"offline".into())
    );
}
