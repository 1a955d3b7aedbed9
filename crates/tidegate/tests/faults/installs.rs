//! Installations that warn, fail, hang or lose their ground.

use crate::world::{Site, World, now, until};

const GUID: &str = "AAAAAAAA-0000-4000-8000-000000000001";
const READY: u64 = 262_146;
const INSTALLED: u64 = 196_612;
const FAILED: u64 = 262_143;
const WARNED: u64 = 131_075;
const PREREQ_ERROR: u64 = 196_607;

fn package(guid: &str, version: &str, rest: &str) -> String {
    format!(
        "guid = \"{guid}\"\nfull-version = \"{version}\"\ntype = \"update\"\nimpact = [\"site-server\"]\n\
         released = \"2026-01-01T00:00:00Z\"\n[text.en]\nname = \"Package {version}\"\n{rest}"
    )
}

fn detail(site: &Site) -> String {
    site.must(&["updates", "show", GUID])
}

#[test]
fn warnings_stop_until_they_are_ignored() {
    let world = World::empty(now());
    let rule = "[install]\nswitch = true\n[[prerequisite-rule]]\nname = \"Many cores\"\n\
                category = \"system-requirements\"\nrole = \"site-server\"\nseverity = \"warning\"\n\
                rule = \"host.cores > 100000\"\ntext = \"Get more cores.\"\n";
    world.publish(
        "warns",
        &package(GUID, "5.00.9200.1000", rule),
        &[("file.txt", "content")],
    );
    let site = world.site("site");
    let _running = site.started();
    site.wait_for(GUID, READY);
    site.must(&["updates", "install", GUID]);
    site.wait_for(GUID, WARNED);
    assert!(detail(&site).contains("Get more cores."), "{}", detail(&site));
    assert_eq!(site.current(), None);
    site.must(&["updates", "ignore-warnings", GUID]);
    site.wait_for(GUID, INSTALLED);
    assert_eq!(site.current().as_deref(), Some("5.00.9200.1000"));
}

#[test]
fn errors_are_never_ignored() {
    let world = World::empty(now());
    let rule = "[install]\nswitch = true\n[[prerequisite-rule]]\nname = \"Impossible\"\n\
                category = \"system-requirements\"\nrole = \"site-server\"\nseverity = \"error\"\n\
                rule = \"host.cores > 100000\"\ntext = \"Cannot be.\"\n";
    world.publish(
        "fails",
        &package(GUID, "5.00.9200.1000", rule),
        &[("file.txt", "content")],
    );
    let site = world.site("site");
    let _running = site.started();
    site.wait_for(GUID, READY);
    site.must(&["updates", "install", GUID, "--ignore-warnings"]);
    site.wait_for(GUID, PREREQ_ERROR);
    let refused = site.run(&["updates", "ignore-warnings", GUID]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("hint:"));
    assert_eq!(site.current(), None);
}

#[test]
fn a_failed_health_check_is_rolled_back_and_a_retry_succeeds() {
    let world = World::empty(now());
    let first = "BBBBBBBB-0000-4000-8000-000000000001";
    world.publish(
        "base",
        &package(first, "5.00.9150.1000", "[install]\nswitch = true\n"),
        &[("file.txt", "old")],
    );
    let site = world.site("site");
    let running = site.started();
    site.wait_for(first, READY);
    site.must(&["updates", "install", first]);
    site.wait_for(first, INSTALLED);
    let flag = site.dir.join("healthy");
    let health = format!(
        "#!/bin/sh\necho looking for the flag\ntest -e {}\n",
        flag.display()
    );
    let plan = "[install]\nswitch = true\n[[install.after]]\nprogram = \"bin/after\"\ntime-limit-s = 20\n\
                [[install.rollback]]\nprogram = \"bin/undo\"\ntime-limit-s = 20\n\
                [install.health]\nprogram = \"bin/health\"\ntime-limit-s = 20\nattempts = 2\ninterval-s = 0\n";
    let undo = "#!/bin/sh\necho \"$TIDEGATE_PREVIOUS_VERSION\" > \"$TIDEGATE_PRODUCT_DIR/undone\"\n";
    let files = [
        ("bin/health", health.as_str()),
        ("bin/after", "#!/bin/sh\nexit 0\n"),
        ("bin/undo", undo),
        ("file.txt", "new"),
    ];
    world.publish("health", &package(GUID, "5.00.9200.1000", plan), &files);
    site.must(&["updates", "check"]);
    site.wait_for(GUID, READY);
    site.must(&["updates", "install", GUID]);
    site.wait_for(GUID, FAILED);
    assert_eq!(site.current().as_deref(), Some("5.00.9150.1000"));
    assert!(!site.dir.join("product/versions/5.00.9200.1000").exists());
    assert_eq!(
        std::fs::read_to_string(site.dir.join("product/undone"))
            .unwrap()
            .trim(),
        "5.00.9150.1000"
    );
    assert!(detail(&site).contains("health check"), "{}", detail(&site));
    // Nobody tries again by itself, not even a new check or a restart.
    site.must(&["updates", "check"]);
    running.kill();
    let _running = site.started();
    until("the check", || site.sync_failure().is_none().then_some(()));
    assert_eq!(site.state(GUID), Some(FAILED));
    std::fs::write(&flag, "").unwrap();
    site.must(&["updates", "retry", GUID]);
    site.wait_for(GUID, INSTALLED);
    assert_eq!(
        std::fs::read_to_string(site.dir.join("product/current/file.txt")).unwrap(),
        "new"
    );
}

#[test]
fn a_hook_that_hangs_is_ended_and_rolled_back() {
    let world = World::empty(now());
    let plan = "[install]\nswitch = true\n[[install.before]]\nprogram = \"bin/hang\"\ntime-limit-s = 1\n";
    world.publish(
        "hangs",
        &package(GUID, "5.00.9200.1000", plan),
        &[("bin/hang", "#!/bin/sh\nsleep 600\n")],
    );
    let site = world.site("site");
    let _running = site.started();
    site.wait_for(GUID, READY);
    site.must(&["updates", "install", GUID]);
    site.wait_for(GUID, FAILED);
    assert!(detail(&site).contains("time limit"), "{}", detail(&site));
    assert_eq!(site.current(), None);
}

#[test]
fn a_disk_that_refuses_is_told_and_waited_for() {
    let world = World::with_sample(now());
    let newest = "0B5A4C1E-6D8F-4F0A-9C57-2E1D7A90B3F2";
    let site = world.site("site");
    // A file where a folder has to be stops writing for every user, also for root.
    std::fs::create_dir_all(site.dir.join("EasySetupPayload")).unwrap();
    let obstacle = site.dir.join("EasySetupPayload").join(newest);
    std::fs::write(&obstacle, "in the way").unwrap();
    let _running = site.started();
    let told = until("the failure", || {
        let list = site.json(&["updates", "list", "--all"])?;
        list.as_array()?.iter().find(|update| update["guid"] == newest)?["failure"]
            .as_str()
            .map(str::to_owned)
    });
    assert!(told.contains("cannot create"), "{told}");
    std::fs::remove_file(&obstacle).unwrap();
    site.must(&["updates", "download", newest]);
    site.wait_for(newest, READY);
}

#[test]
fn lost_content_is_noticed_before_the_installation_and_fetched_again() {
    let world = World::empty(now());
    world.publish(
        "lost",
        &package(GUID, "5.00.9200.1000", "[install]\nswitch = true\n"),
        &[("file.txt", "content")],
    );
    let site = world.site("site");
    let _running = site.started();
    site.wait_for(GUID, READY);
    std::fs::remove_dir_all(site.dir.join("content/objects")).unwrap();
    site.must(&["updates", "install", GUID]);
    site.wait_for(GUID, 327_679);
    assert!(
        detail(&site).contains("missing in the content library"),
        "{}",
        detail(&site)
    );
    site.must(&["updates", "download", GUID]);
    site.wait_for(GUID, READY);
    site.must(&["updates", "install", GUID]);
    site.wait_for(GUID, INSTALLED);
}

#[test]
fn the_api_serves_other_machines_only_with_a_token() {
    let world = World::empty(now());
    let site = world.site("site");
    let configuration = site.dir.join("tidegate.toml");
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let text = std::fs::read_to_string(&configuration).unwrap();
    std::fs::write(&configuration, format!("{text}listen = \"127.0.0.1:{port}\"\n")).unwrap();
    let token = site.must(&["user", "token", "monitoring"]);
    let _running = site.started();
    let ask = |token: &str| {
        let output = std::process::Command::new("curl")
            .args([
                "--silent",
                "--output",
                "/dev/null",
                "--write-out",
                "%{http_code}",
                "--cacert",
            ])
            .arg(site.dir.join("secrets/api.pem"))
            .args([
                "--header",
                &format!("Authorization: Bearer {token}"),
                &format!("https://localhost:{port}/v1/site"),
            ])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(
        until("an answer", || Some(ask(token.trim()))
            .filter(|code| code != "000")),
        "200"
    );
    assert_eq!(ask("wrong"), "401");
}

#[test]
fn a_reset_keeps_what_is_downloaded_unless_forced_and_never_touches_what_is_installed() {
    let world = World::empty(now());
    world.publish(
        "reset",
        &package(GUID, "5.00.9200.1000", "[install]\nswitch = true\n"),
        &[("file.txt", "content")],
    );
    let site = world.site("site");
    let _running = site.started();
    site.wait_for(GUID, READY);
    let index = site.dir.join("EasySetupPayload").join(GUID).join("index");
    let first = std::fs::metadata(&index).unwrap().modified().unwrap();
    site.must(&["updates", "reset", GUID]);
    site.wait_for(GUID, READY);
    assert_eq!(std::fs::metadata(&index).unwrap().modified().unwrap(), first);
    site.must(&["updates", "reset", GUID, "--force"]);
    until("another download", || {
        let again = std::fs::metadata(&index).ok()?.modified().ok()?;
        (again > first).then_some(())
    });
    site.wait_for(GUID, READY);
    site.must(&["updates", "install", GUID]);
    site.wait_for(GUID, INSTALLED);
    let refused = site.run(&["updates", "reset", GUID, "--force"]);
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(site.current().as_deref(), Some("5.00.9200.1000"));
}
