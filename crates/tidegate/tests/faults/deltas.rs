//! The next version of a package by delta, and what happens when the delta is damaged or the base is not here.

use std::path::PathBuf;
use std::process::Stdio;

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

use crate::world::{Running, Site, World, now, until};

const READY: u64 = 262_146;
const FIRST: &str = "11111111-1111-1111-1111-111111111111";
const SECOND: &str = "22222222-2222-2222-2222-222222222222";

fn package(guid: &str, version: &str) -> String {
    format!(
        "guid = \"{guid}\"\nfull-version = \"{version}\"\ntype = \"update\"\nreleased = \"2026-01-02T00:00:00Z\"\n\
         [text.en]\nname = \"Update {version}\"\n[install]\nswitch = true\n"
    )
}

/// Text that hardly compresses; each version changes a few lines of it.
fn text(version: u64) -> String {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    (0..40_000)
        .map(|line| {
            let word = random.next_u64();
            let word = if line % 4_000 == version { version } else { word };
            format!("{word:016x}\n")
        })
        .collect()
}

fn publish(world: &World, guid: &str, version: u64) {
    let library = format!("lib/library.{version}");
    let content = text(version);
    let name = format!("version-{version}");
    let description = package(guid, &format!("5.00.92{version}0.1000"));
    world.publish(&name, &description, &[(&library, &content), ("same", "the same")]);
}

/// A running site that has the first version, and the second one published but not checked for.
fn with_first(world: &World, site: &Site) -> Running {
    publish(world, FIRST, 1);
    let running = site.started();
    site.wait_for(FIRST, READY);
    publish(world, SECOND, 2);
    running
}

/// Bytes that the download of the second version fetched, and those of a download by blocks.
fn fetched(site: &Site) -> (u64, u64) {
    fetched_for(site, SECOND)
}

fn fetched_for(site: &Site, guid: &str) -> (u64, u64) {
    let log = site.all_logs();
    let line = log
        .lines()
        .find(|line| line.contains(guid) && line.contains(" needs "))
        .unwrap_or_else(|| panic!("no plan in the log:\n{log}"));
    let rest = line.split(" needs ").nth(1).unwrap();
    let mut numbers = rest.split(' ').filter_map(|word| word.parse().ok());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

/// The pack that was published last, which is the one with the deltas from the first version.
fn newest_pack(world: &World) -> PathBuf {
    let folder = world.repository().join("targets/packs");
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .max_by_key(|entry| entry.metadata().unwrap().modified().unwrap())
        .unwrap()
        .path()
}

#[test]
fn the_next_version_costs_what_changed_and_the_plan_says_so() {
    let world = World::empty(now());
    let site = world.site("site");
    let _running = with_first(&world, &site);
    site.must(&["updates", "check", "--wait"]);
    let plan = until("a plan", || site.json(&["updates", "show", SECOND, "--plan"]));
    site.wait_for(SECOND, READY);
    let (fetched, cold) = fetched(&site);
    assert!(fetched * 20 < cold, "{fetched} of {cold}");
    assert_eq!(plan["cold"], cold);
    let log = site.all_logs();
    assert!(log.contains("applying a delta that gives 1 file(s)"), "{log}");
    // The site may have been quicker than we asked.
    let parts = plan["parts"].as_array().unwrap();
    let delta = parts.iter().find(|part| part["from"] == "delta");
    match delta {
        Some(delta) => {
            assert_eq!(delta["base"], FIRST);
            assert_eq!(plan["fetched"], fetched);
        }
        None => assert_eq!(plan["fetched"], 0),
    }
    let verified = site.json(&["content", "verify"]).unwrap();
    assert_eq!(verified["damaged"].as_array().unwrap().len(), 0);
    let after = site.json(&["updates", "show", SECOND, "--plan"]).unwrap();
    assert_eq!(after["fetched"], 0);
}

#[test]
fn a_damaged_delta_is_left_out_and_blocks_do_without() {
    let world = World::empty(now());
    let site = world.site("site");
    let _running = with_first(&world, &site);
    let pack = newest_pack(&world);
    let mut bytes = std::fs::read(&pack).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&pack, bytes).unwrap();
    site.must(&["updates", "check", "--wait"]);
    site.wait_for(SECOND, READY);
    assert!(
        site.all_logs().contains("is left out: expected SHA-256"),
        "{}",
        site.all_logs()
    );
    assert_eq!(
        site.json(&["content", "verify"]).unwrap()["damaged"]
            .as_array()
            .unwrap()
            .len(),
        0
    );
}

#[test]
fn what_leads_to_the_package_before_leads_to_one_that_only_adds_to_it() {
    const THIRD: &str = "33333333-3333-3333-3333-333333333333";
    let world = World::empty(now());
    let site = world.site("site");
    let _running = with_first(&world, &site);
    let (content, description) = (text(2), package(THIRD, "5.00.9230.1000"));
    let files = [
        ("lib/library.2", content.as_str()),
        ("same", "the same"),
        ("added", "7"),
    ];
    world.publish("version-3", &description, &files);
    site.must(&["updates", "check", "--wait"]);
    site.wait_for(THIRD, READY);
    let (fetched, cold) = fetched_for(&site, THIRD);
    assert!(fetched * 10 < cold, "{fetched} of {cold}");
}

/// A running site with this limit of open files, as arguments of `ulimit`, that has 300 files and is offered as many others
/// that hardly differ; and what the second download fetched, and would have fetched by blocks.
fn many_files_with(limit: &str) -> (Site, Running, (u64, u64), World) {
    let world = World::empty(now());
    let site = world.site("site");
    let mut random = ChaCha8Rng::seed_from_u64(2);
    let contents: Vec<String> = (0..300)
        .map(|_| (0..60).map(|_| format!("{:016x}\n", random.next_u64())).collect())
        .collect();
    for (guid, version) in [(FIRST, 1), (SECOND, 2)] {
        let files: Vec<(String, String)> = contents
            .iter()
            .enumerate()
            .map(|(number, content)| (format!("files/{number}"), format!("{content}version {version}\n")))
            .collect();
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (&**path, &**text)).collect();
        let description = package(guid, &format!("5.00.92{version}0.1000"));
        world.publish(&format!("version-{version}"), &description, &files);
        if version == 1 {
            // With the limit of whoever runs the tests.
            let running = site.started();
            site.wait_for(FIRST, READY);
            running.kill();
        }
    }
    let run = site.command(&["run"]);
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &format!("ulimit {limit} && exec \"$0\" \"$@\"")]);
    command.arg(run.get_program()).args(run.get_args());
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let running = Running::of(command.env_clear().env("TZ", "UTC").spawn().unwrap());
    until("the start of the site", || site.json(&["site", "show"]).map(drop));
    site.must(&["updates", "check", "--wait"]);
    site.wait_for(SECOND, READY);
    let needed = fetched(&site);
    (site, running, needed, world)
}

#[test]
fn a_service_with_a_low_limit_of_open_files_applies_a_delta_of_many() {
    let (site, _running, (fetched, cold), _world) = many_files_with("-Sn 200");
    assert!(fetched * 5 < cold, "{fetched} of {cold}");
    let log = site.all_logs();
    assert!(log.contains("applying a delta that gives 300 file(s)"), "{log}");
    assert!(!log.contains("is left out"), "{log}");
}

#[test]
fn where_not_all_old_files_can_be_open_blocks_come() {
    let (site, _running, _, _world) = many_files_with("-n 200");
    let log = site.all_logs();
    let why = log.lines().find(|line| line.contains("is left out"));
    assert!(
        why.is_some_and(|line| line.contains("cannot open") && line.contains("Too many open files")),
        "{log}"
    );
    let verified = site.json(&["content", "verify"]).unwrap();
    assert_eq!(verified["damaged"].as_array().unwrap().len(), 0);
}

#[test]
fn a_damaged_base_gives_nothing_wrong() {
    let world = World::empty(now());
    let site = world.site("site");
    let running = with_first(&world, &site);
    running.kill();
    let objects = site.dir.join("content/objects");
    for folder in std::fs::read_dir(objects).unwrap() {
        for object in std::fs::read_dir(folder.unwrap().path()).unwrap() {
            use std::os::unix::fs::PermissionsExt;
            let path = object.unwrap().path();
            let mut bytes = std::fs::read(&path).unwrap();
            if bytes.len() > 1000 {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
                std::fs::write(&path, bytes).unwrap();
            }
        }
    }
    let _running = site.started();
    site.must(&["updates", "check", "--wait"]);
    site.wait_for(SECOND, READY);
    assert!(site.all_logs().contains("a delta for"), "{}", site.all_logs());
    let verified = site.json(&["content", "verify"]);
    let damaged = verified.map_or(1, |verified| verified["damaged"].as_array().unwrap().len());
    assert!(damaged <= 1, "only what was damaged by hand");
}

#[test]
fn a_closed_throttle_holds_a_download_back_and_opening_it_lets_it_go_on() {
    let world = World::empty(now());
    let site = world.site("site");
    let _running = site.started();
    let refused = site.run(&["hierarchy", "throttle", "fast"]);
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && text.contains("such as 2 MB/s"),
        "{text}"
    );
    site.must(&["hierarchy", "throttle", "closed"]);
    publish(&world, FIRST, 1);
    site.must(&["updates", "check", "--wait"]);
    let waits = until("the reason", || {
        let update = site.json(&["updates", "show", FIRST])?;
        let reason = update["reason"].as_str()?.to_owned();
        reason.contains("throttle").then_some(reason)
    });
    assert!(waits.contains("closed at all hours"), "{waits}");
    let throttle = site
        .json(&["hierarchy", "throttle", "1 MB/s", "00-24 20 MB/s"])
        .unwrap();
    assert_eq!(throttle["now"], "20000000 B/s");
    site.wait_for(FIRST, READY);
    // Holding back was no attempt, and both changes are on record.
    assert!(!site.all_logs().contains("attempt 1"), "{}", site.all_logs());
    let audits = site.message_ids().into_iter().filter(|id| *id == 60_228).count();
    assert_eq!(audits, 2);
}

#[test]
fn damage_in_the_library_is_found_and_fetched_again() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::empty(now());
    let site = world.site("site");
    publish(&world, FIRST, 1);
    let _running = site.started();
    site.wait_for(FIRST, READY);
    let large = std::fs::read_dir(site.dir.join("content/objects"))
        .unwrap()
        .flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap())
        .map(|object| object.unwrap().path())
        .find(|path| path.metadata().unwrap().len() > 100_000)
        .unwrap();
    std::fs::set_permissions(&large, std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::write(&large, "something else").unwrap();
    let found = site.run(&["content", "verify"]);
    let told = String::from_utf8_lossy(&found.stderr).into_owned();
    assert!(
        !found.status.success() && told.contains("fetched again"),
        "{told}"
    );
    until("the repair", || large.is_file().then_some(()));
    site.wait_for(FIRST, READY);
    assert!(site.run(&["content", "verify"]).status.success());
}
