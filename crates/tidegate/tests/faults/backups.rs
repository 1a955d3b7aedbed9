//! A site is backed up while it works, its machine burns down, and it is given back.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::world::{Running, Site, World, now, until};

const GUID: &str = "11111111-1111-1111-1111-111111111111";

/// A running site to which the package was downloaded.
fn downloaded(world: &World) -> (Site, Running) {
    package(world);
    let site = world.site("site");
    let running = site.started();
    site.must(&["updates", "check", "--wait"]);
    site.wait_for(GUID, 262_146);
    (site, running)
}

fn package(world: &World) {
    let description = format!(
        "guid = \"{GUID}\"\nfull-version = \"5.00.9500.1000\"\ntype = \"update\"\nreleased = \"2026-01-02T00:00:00Z\"\n\
         [text.en]\nname = \"Update\"\n[install]\nswitch = true\n"
    );
    world.publish(
        "good",
        &description,
        &[("bin/program", "#!/bin/sh\nexit 0\n"), ("text", "content")],
    );
}

/// A backup that was just made; its folder.
fn backup(site: &Site, folder: &Path) -> PathBuf {
    site.must(&[
        "backup",
        "schedule",
        "--folder",
        &folder.display().to_string(),
        "--keep",
        "2",
    ]);
    site.must(&["backup", "run"]);
    let listed = site.json(&["backup", "list"]).unwrap();
    assert_eq!(listed["last"]["failure"], Value::Null);
    listed["backups"][0]["path"].as_str().unwrap().into()
}

#[test]
fn a_site_is_given_back_on_another_machine() {
    let world = World::empty(now());
    let (site, running) = downloaded(&world);
    site.must(&["updates", "install", GUID, "--wait"]);
    assert_eq!(site.current().as_deref(), Some("5.00.9500.1000"));
    site.must(&["user", "token", "monitoring"]);
    let folder = world.folder.path().join("backups");
    let made = backup(&site, &folder);
    let hierarchy = site.json(&["site", "show"]).unwrap()["hierarchy_id"].clone();
    let history = site.json(&["updates", "history"]).unwrap();
    assert!(site.message_ids().contains(&5035));

    running.kill();
    std::fs::remove_dir_all(&site.dir).unwrap();
    let other = Site {
        dir: world.folder.path().join("another machine"),
    };
    let told = other.must(&["backup", "restore", &made.display().to_string()]);
    assert!(told.contains("is as it was"), "{told}");
    let _running = other.started();
    assert_eq!(other.current().as_deref(), Some("5.00.9500.1000"));
    assert!(other.dir.join("product/current/text").exists());
    let shown = other.json(&["site", "show"]).unwrap();
    assert_eq!(shown["hierarchy_id"], hierarchy);
    assert_eq!(other.json(&["updates", "history"]).unwrap(), history);
    let users = other.must(&["user", "tokens"]);
    assert!(users.contains("monitoring"), "{users}");
    // It goes on as before: the next check verifies from the trust of then.
    other.must(&["updates", "check", "--wait"]);
    assert_eq!(other.sync_failure(), None);
}

#[test]
fn what_was_ready_to_install_is_fetched_again() {
    let world = World::empty(now());
    let (site, running) = downloaded(&world);
    let made = backup(&site, &world.folder.path().join("backups"));
    running.kill();
    // The same directory, with its content lost.
    std::fs::remove_dir_all(site.dir.join("content")).unwrap();
    let given = site
        .json(&["backup", "restore", &made.display().to_string()])
        .unwrap();
    assert_eq!(given["fetched_again"], 1);
    let aside: PathBuf = given["set_aside"].as_str().unwrap().into();
    assert!(aside.join("site.db").exists() && aside.join("secrets").is_dir());
    let _running = site.started();
    site.wait_for(GUID, 262_146);
    site.must(&["updates", "install", GUID, "--wait"]);
    assert_eq!(site.current().as_deref(), Some("5.00.9500.1000"));
}

#[test]
fn what_is_damaged_or_anothers_is_refused_and_nothing_is_touched() {
    let world = World::empty(now());
    let site = world.site("site");
    let running = site.started();
    let made = backup(&site, &world.folder.path().join("backups"));
    let restore = ["backup", "restore", &made.display().to_string()].map(str::to_owned);
    let restore: Vec<&str> = restore.iter().map(String::as_str).collect();
    let refused = |site: &Site, why: &str| {
        let before = site.dir.join("site.db").metadata().ok().map(|found| found.len());
        let output = site.run(&restore);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{errors}");
        assert!(errors.contains(why), "{why}: {errors}");
        let after = site.dir.join("site.db").metadata().ok().map(|found| found.len());
        assert_eq!(before, after);
    };
    refused(&site, "runs; stop it first");
    running.kill();

    let manifest = made.join("backup.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let files: Value = serde_json::from_str(&text).unwrap();
    let empty = Site {
        dir: world.folder.path().join("empty"),
    };
    for entry in files["files"].as_array().unwrap() {
        let path = made.join(entry["path"].as_str().unwrap());
        if !path.is_file() || path.metadata().unwrap().len() == 0 {
            continue;
        }
        let good = std::fs::read(&path).unwrap();
        let mut bad = good.clone();
        let middle = bad.len() / 2;
        bad[middle] ^= 1;
        std::fs::write(&path, bad).unwrap();
        refused(&empty, "is not what was backed up");
        std::fs::write(&path, good).unwrap();
    }
    for (odd, why) in [
        (text.replace("tidegate.toml", "../tidegate.toml"), "it names"),
        (text.replace("tidegate.toml", "/tidegate.toml"), "it names"),
        (
            text[..text.len() / 2].to_owned(),
            "no backup that this release can read",
        ),
        (text.replace("\"format\":1", "\"format\":9"), "format 9"),
        (
            text.replace("\"product\":null", "\"product\":\"../../elsewhere\""),
            "it names the version",
        ),
        (
            text.replace("secrets/site.key", "site.db/site.key"),
            "below what is no folder",
        ),
    ] {
        std::fs::write(&manifest, odd).unwrap();
        refused(&empty, why);
    }
    std::fs::write(&manifest, &text).unwrap();
    assert!(!empty.dir.join("site.db").exists());
    let other = text.replace("\"site\":\"", "\"site\":\"Z");
    std::fs::write(&manifest, other).unwrap();
    refused(&site, "restore it into another directory");
}

#[test]
fn a_backup_that_fails_is_told_and_old_ones_go() {
    let world = World::empty(now());
    let site = world.site("site");
    let _running = site.started();
    // A file where the folder should be.
    let folder = world.folder.path().join("in the way");
    std::fs::write(&folder, "").unwrap();
    let output = site.run(&["backup", "run", "--folder", &folder.display().to_string()]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        errors.contains("cannot create") && errors.contains("in the way"),
        "{errors}"
    );
    assert!(site.message_ids().contains(&60_265));
    let relative = site.run(&["backup", "run"]);
    assert!(String::from_utf8_lossy(&relative.stderr).contains("no folder is named"));

    let backups = world.folder.path().join("backups");
    // One that a clock made which ran ahead takes no place of a new one.
    std::fs::create_dir_all(backups.join("P01-20990101T000000.000Z")).unwrap();
    // What a link leads to is taken along: on another machine it is not there.
    let outside = world.folder.path().join("outside");
    std::fs::write(&outside, "of another file").unwrap();
    std::os::unix::fs::symlink(&outside, site.dir.join("secrets/linked")).unwrap();
    let inside = site.dir.join("secrets/backups");
    let refused = site.run(&["backup", "run", "--folder", &inside.display().to_string()]);
    let errors = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(errors.contains("is in what is backed up"), "{errors}");
    std::fs::remove_dir_all(&inside).unwrap();
    let mut made = Vec::new();
    for _ in 0..3 {
        made.push(backup(&site, &backups));
    }
    let left: Vec<PathBuf> = std::fs::read_dir(&backups)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(
        left.contains(made.last().unwrap()) && left.contains(&made[1]),
        "{left:?}"
    );
    let linked = made[1].join("secrets/linked");
    assert!(linked.symlink_metadata().unwrap().is_file());
    assert_eq!(std::fs::read_to_string(linked).unwrap(), "of another file");
    use std::os::unix::fs::PermissionsExt;
    let mode = made.last().unwrap().metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "it holds secrets");

    // A mode that waits for a restart comes into force with a backup (role-and-modes, acceptance fact 6).
    site.must(&["scp", "mode", "offline"]);
    assert_eq!(site.json(&["scp", "show"]).unwrap()["mode_effective"], "online");
    site.must(&["backup", "run"]);
    until("the mode", || {
        (site.json(&["scp", "show"])?["mode_effective"] == "offline").then_some(())
    });
}
