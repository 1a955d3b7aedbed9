//! Disks that are really full or really read-only, in a mount namespace of the test's own.

use std::path::Path;
use std::process::Command;

use crate::world::{Site, World, now, until, until_or};

const NEWEST: &str = "0B5A4C1E-6D8F-4F0A-9C57-2E1D7A90B3F2";
const READY: u64 = 262_146;
const INSTALLED: u64 = 196_612;
/// Set in the process that lives inside the namespace.
const INSIDE: &str = "TIDEGATE_TEST_MOUNT";

/// Runs the named test again with a file system of `size` at the folder it is handed, unless this process
/// is inside already. Says so where a machine forbids namespaces.
pub fn inside(test: &str, size: &str) -> Option<std::path::PathBuf> {
    if let Some(folder) = std::env::var_os(INSIDE) {
        return Some(folder.into());
    }
    let unshare = |arguments: &[&str]| {
        let mut command = Command::new("unshare");
        command
            .args(["--user", "--map-root-user", "--mount"])
            .args(arguments);
        command
    };
    if !unshare(&["true"]).status().is_ok_and(|status| status.success()) {
        println!("NOT RUN: this machine forbids mount namespaces");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=$1 none \"$2\" && exec \"$3\" --exact \"$4\" --nocapture";
    let output = unshare(&["sh", "-c", script, "sh", size])
        .arg(folder.path())
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .env(INSIDE, folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(text.contains("1 passed"), "{text}");
    None
}

fn failure(site: &Site) -> Option<String> {
    let list = site.json(&["updates", "list", "--all"])?;
    let update = list.as_array()?.iter().find(|update| update["guid"] == NEWEST)?;
    update["failure"].as_str().map(str::to_owned)
}

/// A new site leaves 256 MiB free; these disks are smaller.
fn without_floor(site: &Site) {
    let path = site.dir.join("tidegate.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("free_bytes_min = 268435456"), "{text}");
    std::fs::write(
        &path,
        text.replace("free_bytes_min = 268435456", "free_bytes_min = 4194304"),
    )
    .unwrap();
}

fn attempts(site: &Site) -> u64 {
    let failed = site.message_ids();
    failed.iter().filter(|id| **id == 60_122).count() as u64
}

#[test]
fn a_full_disk_is_told_and_the_download_goes_on_when_there_is_room() {
    let Some(mount) = inside(
        "disks::a_full_disk_is_told_and_the_download_goes_on_when_there_is_room",
        "160m",
    ) else {
        return;
    };
    let world = World::with_sample(now());
    let site = world.site_at(&mount.join("site"));
    without_floor(&site);
    let ballast = mount.join("ballast");
    fill_but(&ballast, &mount, 12 << 20);
    let running = site.started();
    let told = until_or("the failure", || failure(&site), || site.all_logs());
    assert!(
        told.contains("No space left") || told.contains("free some space"),
        "{told}"
    );
    assert_ne!(site.state(NEWEST), Some(READY));
    // However often it is tried, a full disk uses up no attempt.
    for _ in 0..8 {
        let before = attempts(&site);
        site.run(&["updates", "download", NEWEST]);
        until("another attempt", || (attempts(&site) > before).then_some(()));
    }
    assert_eq!(site.state(NEWEST), Some(262_145), "{:?}", site.states());
    std::fs::remove_file(&ballast).unwrap();
    site.run(&["updates", "download", NEWEST]);
    site.wait_for(NEWEST, READY);
    // The staging folder does not fit either; the installation waits and then goes on.
    fill_but(&ballast, &mount, 8 << 20);
    site.must(&["updates", "install", NEWEST]);
    until("the word of the full disk", || {
        site.all_logs().contains("No space left").then_some(())
    });
    assert_eq!(site.current(), None);
    std::fs::remove_file(&ballast).unwrap();
    drop(running);
    let _running = site.started();
    site.wait_for(NEWEST, INSTALLED);
}

#[test]
fn a_read_only_disk_is_told_and_the_download_goes_on_when_it_is_writable() {
    let Some(mount) = inside(
        "disks::a_read_only_disk_is_told_and_the_download_goes_on_when_it_is_writable",
        "256m",
    ) else {
        return;
    };
    let world = World::with_sample(now());
    let site = world.site_at(&world.folder.path().join("site"));
    without_floor(&site);
    // The library lies on a disk of its own.
    std::fs::create_dir_all(site.dir.join("content")).unwrap();
    let bind = Command::new("mount")
        .arg("--bind")
        .arg(&mount)
        .arg(site.dir.join("content"))
        .status();
    assert!(bind.unwrap().success());
    let _running = site.started();
    site.wait_for(NEWEST, READY);
    let content = site.dir.join("content");
    remount(&content, "ro");
    let newer = "AAAAAAAA-0000-4000-8000-00000000000A";
    let description = format!(
        "guid = \"{newer}\"\nfull-version = \"5.00.9300.1000\"\ntype = \"update\"\nimpact = [\"site-server\"]\n\
         released = \"2026-01-01T00:00:00Z\"\n[text.en]\nname = \"Newer\"\n[install]\nswitch = true\n"
    );
    world.publish("newer", &description, &[("file.txt", "new content")]);
    site.must(&["updates", "check"]);
    for _ in 0..8 {
        let before = attempts(&site);
        site.run(&["updates", "download", newer]);
        until("another attempt", || (attempts(&site) > before).then_some(()));
    }
    let list = site.json(&["updates", "list", "--all"]).unwrap();
    let shown = list.to_string();
    assert!(shown.contains("make it writable"), "{shown}");
    assert_eq!(site.state(newer), Some(262_145), "{:?}", site.states());
    remount(&content, "rw");
    site.run(&["updates", "download", newer]);
    site.wait_for(newer, READY);
}

fn remount(folder: &Path, how: &str) {
    let status = Command::new("mount")
        .args(["-o", &format!("remount,bind,{how}")])
        .arg(folder)
        .status();
    assert!(status.unwrap().success());
}

/// Writes a file that leaves only so many bytes free.
fn fill_but(ballast: &Path, mount: &Path, free: u64) {
    let room = rustix::fs::statvfs(mount).unwrap();
    let bytes = (room.f_bavail * room.f_frsize).saturating_sub(free);
    let file = std::fs::File::create(ballast).unwrap();
    std::io::copy(&mut std::io::Read::take(std::io::repeat(b'x'), bytes), &mut &file).unwrap();
}
