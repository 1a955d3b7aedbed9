//! Deltas on a stick: chosen for what each hierarchy has, left out where they save nothing, asked for no more where one
//! gave nothing.

use serde_json::Value;

use super::{READY, Stick, content, description, files, noise, said, site, twin};
use crate::world::{Running, Site, World, now};

const FIRST: &str = "11111111-1111-4111-8111-111111111111";
const SECOND: &str = "22222222-2222-4222-8222-222222222222";
const VERSION: &str = "5.00.9096.1000";

fn publish(world: &World, guid: &str, version: u64) {
    // A few places of it are others in each version.
    let mut text = noise(1, 1_000_000);
    for place in 1..8 {
        text.replace_range(place * 100_000..place * 100_000 + 1, &version.to_string());
    }
    let description = description(guid, &format!("5.00.910{version}.1000"), "type = \"update\"");
    let name = format!("version-{version}");
    world.publish(&name, &description, &[("library", &text), ("same", "the same")]);
}

/// A running site that took the first version from a stick; the second is published.
fn with_first(world: &World) -> (Site, Running) {
    publish(world, FIRST, 1);
    let site = site(world, "site", VERSION, "offline");
    let running = site.started();
    let stick = Stick::new(world, "first-stick");
    stick.prepare(&site, "site.cab");
    stick.connected(world, &[]);
    let output = stick.import(&site);
    assert!(output.status.success(), "{}", said(&output));
    site.wait_for(FIRST, READY);
    publish(world, SECOND, 2);
    (site, running)
}

fn content_bytes(connected: &Value) -> u64 {
    connected["content_bytes"].as_u64().unwrap()
}

fn objects(site: &Site) -> Vec<std::ffi::OsString> {
    let all = files(&site.dir.join("content/objects")).into_iter();
    all.map(|file| file.file_name().unwrap().to_owned()).collect()
}

#[test]
fn the_next_version_comes_as_a_delta() {
    let world = World::empty(now());
    let (site, _running) = with_first(&world);
    let stick = Stick::new(&world, "stick");
    stick.prepare(&site, "site.cab");
    let connected = stick.connected(&world, &[]);
    assert!(content_bytes(&connected) < 10_000, "{connected}");
    let named = &connected["hierarchies"][0]["packages"][0]["bytes"];
    assert_eq!(named, &connected["content_bytes"]);
    let output = stick.import(&site);
    assert!(output.status.success(), "{}\n{}", said(&output), site.all_logs());
    site.wait_for(SECOND, READY);
    let (twin, _twin) = twin(&world, "twin", VERSION, SECOND);
    let here = objects(&site);
    assert!(objects(&twin).iter().all(|object| here.contains(object)));
    let verified = site.json(&["content", "verify"]).unwrap();
    assert_eq!(verified["damaged"].as_array().unwrap().len(), 0);
    let again = stick.connected(&world, &[]);
    assert_eq!(content_bytes(&again), 0, "{again}");
}

#[test]
fn blocks_that_are_there_anyway_make_deltas_superfluous() {
    let world = World::empty(now());
    let (site, _running) = with_first(&world);
    let other = super::site(&world, "other", VERSION, "offline");
    let _other = other.started();
    let alone = Stick::new(&world, "alone");
    alone.prepare(&other, "other.cab");
    let alone = content_bytes(&alone.connected(&world, &["--plan"]));
    let stick = Stick::new(&world, "stick");
    stick.prepare(&site, "site.cab");
    stick.prepare(&other, "other.cab");
    let together = stick.connected(&world, &[]);
    assert_eq!(content_bytes(&together), alone, "{together}");
    for site in [&site, &other] {
        let output = stick.import(site);
        assert!(output.status.success(), "{}", said(&output));
        site.wait_for(SECOND, READY);
    }
}

#[test]
fn a_damaged_delta_gives_nothing_wrong_and_blocks_come_next() {
    let world = World::empty(now());
    let (site, _running) = with_first(&world);
    let stick = Stick::new(&world, "stick");
    stick.prepare(&site, "site.cab");
    let delta = content_bytes(&stick.connected(&world, &[]));
    let content = content(&stick);
    assert_eq!(content.len(), 1, "{content:?}");
    let mut bytes = std::fs::read(&content[0]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&content[0], bytes).unwrap();
    let before = objects(&site);
    let output = stick.import(&site);
    assert_eq!(output.status.code(), Some(10), "{}", said(&output));
    assert!(said(&output).contains("not complete"), "{}", said(&output));
    assert_eq!(objects(&site), before);
    assert_ne!(site.state(SECOND), Some(READY));
    // The site asks for blocks, in what it left on the stick and in a new cabinet.
    let blocks = stick.connected(&world, &[]);
    assert!(content_bytes(&blocks) > 10 * delta, "{blocks}");
    let other = Stick::new(&world, "other-stick");
    other.prepare(&site, "site.cab");
    let planned = other.connected(&world, &["--plan"]);
    assert_eq!(planned["content_bytes"], blocks["content_bytes"]);
    let output = stick.import(&site);
    assert!(output.status.success(), "{}", said(&output));
    site.wait_for(SECOND, READY);
}
