//! `kill -9` at random moments of sync, download, check and installation.

use std::time::Duration;

use content::index::PayloadIndex;
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

use crate::world::{Running, Site, World, now};

/// The newest update of the sample feed and the hotfix on top of it.
const UPDATE: &str = "0B5A4C1E-6D8F-4F0A-9C57-2E1D7A90B3F2";
const INSTALLED: u64 = 196_612;
const READY: u64 = 262_146;

/// How often the site is killed; more with TIDEGATE_KILLS.
fn kills() -> u64 {
    std::env::var_os("TIDEGATE_KILLS")
        .and_then(|kills| kills.into_string().ok()?.parse().ok())
        .unwrap_or(80)
}

#[test]
fn a_site_killed_at_any_moment_ends_where_its_twin_does() {
    let seed = std::env::var_os("TIDEGATE_SEED")
        .and_then(|seed| seed.into_string().ok()?.parse().ok())
        .unwrap_or(1);
    println!("seed {seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let world = World::with_sample(now());
    let twin = world.site("twin");
    let _twin = undisturbed(&twin);

    let site = world.site("killed");
    for _ in 0..kills() {
        let running = site.start();
        std::thread::park_timeout(Duration::from_millis(5 + random.next_u64() % 400));
        if random.next_u64().is_multiple_of(4) {
            // Whoever asks for the installation asks in vain until the package is ready; later it is done.
            site.run(&["updates", "install", UPDATE]);
            std::thread::park_timeout(Duration::from_millis(random.next_u64() % 300));
        }
        running.kill();
        no_half_switched_version(&site);
    }
    let _running = site.started();
    if site.state(UPDATE) != Some(INSTALLED) {
        crate::world::until("the end", || {
            site.run(&["updates", "install", UPDATE]);
            site.run(&["updates", "download", UPDATE]);
            (site.state(UPDATE) == Some(INSTALLED)).then_some(())
        });
    }
    let hotfix = ready_hotfix(&twin);
    site.wait_for(&hotfix, READY);
    assert_eq!(site.states(), twin.states());
    assert_eq!(site.current(), twin.current());
    let index =
        PayloadIndex::read_file(&site.dir.join("EasySetupPayload").join(UPDATE).join("index")).unwrap();
    let tree = site.dir.join("product/current");
    assert_eq!(
        content::extract::verify_tree(&index, &tree.canonicalize().unwrap()).unwrap(),
        []
    );
    let report: serde_json::Value = site.json(&["content", "verify"]).unwrap();
    assert_eq!(report["damaged"].as_array().map(Vec::len), Some(0), "{report}");
    nothing_was_fetched_twice(&site);
}

/// Runs a site to the end; it goes on answering for comparison.
fn undisturbed(site: &Site) -> Running {
    let running = site.started();
    site.wait_for(UPDATE, READY);
    site.must(&["updates", "install", UPDATE]);
    site.wait_for(UPDATE, INSTALLED);
    let hotfix = ready_hotfix(site);
    assert_ne!(hotfix, UPDATE);
    running
}

/// What downloads by itself after the installation.
fn ready_hotfix(site: &Site) -> String {
    crate::world::until("the hotfix", || {
        site.states()
            .into_iter()
            .find(|(_, state)| *state == READY)
            .map(|(guid, _)| guid)
    })
}

/// Whenever it was killed, `current` names a version whose directory is whole enough to have been placed.
fn no_half_switched_version(site: &Site) {
    if let Some(current) = site.current() {
        let version = site.dir.join("product/versions").join(&current);
        assert!(
            version.is_dir(),
            "current points to {current}, which does not exist"
        );
    }
}

/// The log tells before each download what is missing; what was fetched to the end is never missing again.
fn nothing_was_fetched_twice(site: &Site) {
    let log = std::fs::read_to_string(site.dir.join("logs/Dmpdownloader.log")).unwrap();
    let needed: Vec<u64> = log
        .lines()
        .filter(|line| line.contains(UPDATE) && line.contains(" needs "))
        .filter_map(|line| line.split(" needs ").nth(1)?.split(' ').next()?.parse().ok())
        .collect();
    assert!(needed.windows(2).all(|pair| pair[1] <= pair[0]), "{needed:?}");
}
