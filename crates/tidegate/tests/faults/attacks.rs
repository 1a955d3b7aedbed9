//! A feed that is frozen, rolled back, mixed, forged or changed: each is refused by its own name, no
//! package changes, and the site recovers with the feed.

use std::path::Path;

use jiff::SignedDuration;

use crate::world::{Site, World, copy_folder, now, until};

const NEWEST: &str = "0B5A4C1E-6D8F-4F0A-9C57-2E1D7A90B3F2";

/// Damages the feed, checks that the site refuses it by this name, mends the feed, checks recovery.
fn refused_and_recovered(world: &World, site: &Site, reason: &str, message_id: u64, damage: &dyn Fn(&Path)) {
    let metadata = world.repository().join("metadata");
    let sound = world.folder.path().join("sound");
    copy_folder(&metadata, &sound);
    let before = site.states();
    damage(&metadata);
    site.must(&["updates", "check"]);
    until(reason, || {
        (site.sync_failure().as_deref() == Some(reason)).then_some(())
    });
    assert_eq!(site.states(), before, "{reason}");
    assert!(
        site.message_ids().contains(&message_id),
        "{reason}: {:?}",
        site.message_ids()
    );
    copy_folder(&sound, &metadata);
    site.must(&["updates", "check"]);
    until("recovery", || site.sync_failure().is_none().then_some(()));
    assert_eq!(site.states(), before, "after recovery from {reason}");
}

fn newest(folder: &Path, suffix: &str) -> std::path::PathBuf {
    let mut found: Vec<(u64, std::path::PathBuf)> = std::fs::read_dir(folder)
        .unwrap()
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let number = path
                .file_name()?
                .to_str()?
                .strip_suffix(suffix)?
                .strip_suffix('.')?
                .parse()
                .ok()?;
            Some((number, path))
        })
        .collect();
    found.sort();
    found.pop().unwrap().1
}

#[test]
fn hostile_metadata_is_refused_by_name() {
    let world = World::with_sample(now());
    let old = world.folder.path().join("old");
    copy_folder(&world.repository().join("metadata"), &old);
    // The feed moves on, and the site sees it.
    cloud::rollout(
        &world.service(),
        NEWEST.parse().unwrap(),
        &cloud::Rollout::share(99),
        now(),
    )
    .unwrap();
    cloud::rollout(
        &world.service(),
        NEWEST.parse().unwrap(),
        &cloud::Rollout::share(100),
        now(),
    )
    .unwrap();
    let site = world.site("site");
    let _running = site.started();
    site.wait_for(NEWEST, 262_146);

    refused_and_recovered(&world, &site, "rollback", 60_102, &|metadata| {
        std::fs::copy(old.join("timestamp.json"), metadata.join("timestamp.json"))
            .map(drop)
            .unwrap();
    });
    refused_and_recovered(&world, &site, "threshold", 60_105, &|metadata| {
        let path = metadata.join("timestamp.json");
        let text = std::fs::read_to_string(&path).unwrap();
        let version: u64 = text
            .split("\"version\":")
            .filter_map(|part| part.split([',', '}']).next()?.trim().parse().ok())
            .max()
            .unwrap();
        std::fs::write(
            &path,
            text.replace(
                &format!("\"version\":{version}"),
                &format!("\"version\":{}", version + 1),
            ),
        )
        .unwrap();
    });
    refused_and_recovered(&world, &site, "malformed", 60_108, &|metadata| {
        std::fs::write(metadata.join("timestamp.json"), "{\"signed\":").unwrap();
    });
    refused_and_recovered(&world, &site, "oversized", 60_106, &|metadata| {
        std::fs::write(metadata.join("timestamp.json"), vec![b' '; 1 << 20]).unwrap();
    });
    refused_and_recovered(&world, &site, "not-found", 60_101, &|metadata| {
        std::fs::remove_file(metadata.join("timestamp.json")).unwrap();
    });
}

#[test]
fn a_snapshot_that_does_not_belong_is_refused() {
    let world = World::with_sample(now());
    let site = world.site("site");
    let metadata = world.repository().join("metadata");
    let genuine = newest(&metadata, "snapshot.json");
    let kept = std::fs::read(&genuine).unwrap();
    let mut changed = kept.clone();
    let at = changed.len() / 2;
    changed[at] ^= 1;
    std::fs::write(&genuine, changed).unwrap();
    let _running = site.started();
    until("refusal", || site.sync_failure());
    assert_eq!(site.states(), []);
    std::fs::write(&genuine, kept).unwrap();
    site.must(&["updates", "check"]);
    site.wait_for(NEWEST, 262_146);
}

#[test]
fn a_frozen_feed_is_refused_and_renewed() {
    let long_ago = now().checked_sub(SignedDuration::from_hours(24 * 60)).unwrap();
    let world = World::with_sample(long_ago);
    let site = world.site("site");
    let _running = site.started();
    until("refusal", || {
        (site.sync_failure().as_deref() == Some("expired")).then_some(())
    });
    assert_eq!(site.states(), []);
    assert!(site.message_ids().contains(&60_103));
    cloud::renew(&world.service(), now()).unwrap();
    site.must(&["updates", "check"]);
    site.wait_for(NEWEST, 262_146);
}

#[test]
fn tampered_content_is_never_ready() {
    let world = World::with_sample(now());
    let packs = world.repository().join("targets/packs");
    let damage = |how: u8| {
        for entry in std::fs::read_dir(&packs).unwrap() {
            let path = entry.unwrap().path();
            let mut bytes = std::fs::read(&path).unwrap();
            let at = bytes.len() / 2;
            bytes[at] ^= how;
            std::fs::write(&path, bytes).unwrap();
        }
    };
    damage(1);
    let site = world.site("site");
    let _running = site.started();
    let told = until("the failure", || {
        let list = site.json(&["updates", "list", "--all"])?;
        let update = list
            .as_array()?
            .iter()
            .find(|update| update["guid"] == NEWEST)?
            .clone();
        update["failure"].as_str().map(str::to_owned)
    });
    assert!(told.contains("expected SHA-256"), "{told}");
    assert_eq!(site.state(NEWEST), Some(262_145));
    assert!(site.message_ids().contains(&60_122));
    damage(1);
    site.must(&["updates", "download", NEWEST]);
    site.wait_for(NEWEST, 262_146);
}

#[test]
fn a_root_rotated_while_the_site_was_away_is_followed() {
    let world = World::with_sample(now());
    let site = world.site("site");
    let root_keys = world.service().join("root-keys");
    for _ in 0..3 {
        cloud::rotate_key(&world.service(), cloud::KeyRole::Root, Some(&root_keys), now()).unwrap();
    }
    let _running = site.started();
    site.wait_for(NEWEST, 262_146);
    let trusted = site.json(&["site", "show"]).unwrap()["sync"]["trusted"].clone();
    assert_eq!(trusted[0]["role"], "root");
    assert!(trusted[0]["version"].as_u64().unwrap() >= 4, "{trusted}");
}

#[test]
fn a_refused_shard_is_taken_over_once_it_is_sound() {
    let world = World::with_sample(now());
    let site = world.site("site");
    let running = site.started();
    site.wait_for(NEWEST, 262_146);
    running.kill();
    cloud::withdraw(&world.service(), NEWEST.parse().unwrap(), "bad build", now()).unwrap();
    let catalogue = world.repository().join("targets/catalogue");
    let damage = || {
        for entry in std::fs::read_dir(&catalogue).unwrap() {
            let path = entry.unwrap().path();
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[8] ^= 1;
            std::fs::write(&path, bytes).unwrap();
        }
    };
    damage();
    let _running = site.started();
    until("refusal", || site.sync_failure());
    // The metadata is trusted by now; the withdrawal in the shard must not be lost with the failure.
    damage();
    site.must(&["updates", "check"]);
    site.wait_for(NEWEST, 393_213);
}
