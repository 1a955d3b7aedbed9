//! What happens to a stick on its way: changed bytes, kills, no room, pulled at a bad moment.

use std::collections::BTreeSet;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

use super::{READY, SECOND, Stick, content, description, end_state, files, noise, said, site, twin, world};
use crate::world::{Site, World, copy_folder, now};

/// A number of the environment, to make a test longer or to repeat it.
fn number_of(name: &str, usual: u64) -> u64 {
    let text = std::env::var_os(name).and_then(|text| text.into_string().ok());
    text.and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// Any byte of the stick or of the cabinet, at any offset: told, or without effect.
#[test]
fn no_changed_byte_makes_another_end() {
    let seed = number_of("TIDEGATE_SEED", 1);
    println!("seed {seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let world = world();
    let pristine = site(&world, "site", "5.00.9096.1000", "offline");
    let stick = Stick::new(&world, "stick");
    {
        let _running = pristine.started();
        stick.prepare(&pristine, "site.cab");
    }
    // Its socket is of no use to a copy.
    std::fs::remove_dir_all(pristine.dir.join("run")).unwrap();
    stick.connected(&world, &[]);
    let (twin, _twin) = twin(&world, "twin", "5.00.9096.1000", SECOND);
    let expected = end_state(&twin);
    let whole = world.folder.path().join("whole");
    copy_folder(&stick.updates(), &whole);
    let site = Site {
        dir: world.folder.path().join("tampered"),
    };
    let rounds = number_of("TIDEGATE_TAMPER", 16);
    for _ in 0..rounds {
        copy_folder(&pristine.dir, &site.dir);
        copy_folder(&whole, &stick.updates());
        let all = files(&stick.updates());
        let file = &all[(random.next_u64() % all.len() as u64) as usize];
        let mut bytes = std::fs::read(file).unwrap();
        let at = (random.next_u64() % bytes.len() as u64) as usize;
        bytes[at] ^= 1 << (random.next_u64() % 8);
        std::fs::write(file, bytes).unwrap();
        let running = site.started();
        let output = stick.import(&site);
        let what = format!("{} byte {at}: {}", file.display(), said(&output));
        match output.status.code() {
            Some(0) => {
                site.wait_for(SECOND, READY);
                assert_eq!(end_state(&site), expected, "{what}");
            }
            Some(6 | 7 | 10) => {
                // Nothing of it counts; the whole stick still leads to the end.
                assert_ne!(site.state(SECOND), Some(READY), "{what}");
                copy_folder(&whole, &stick.updates());
                let output = stick.import(&site);
                assert!(output.status.success(), "{what}, then {}", said(&output));
                site.wait_for(SECOND, READY);
                assert_eq!(end_state(&site), expected, "{what}");
            }
            code => panic!("{code:?}: {what}"),
        }
        drop(running);
        std::fs::remove_dir_all(site.dir.join("run")).unwrap();
    }
}

/// Runs the program and kills it after a while, wherever it is.
fn killed(arguments: &[&str], after: Duration, meanwhile: impl FnOnce()) {
    let mut running = std::process::Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(arguments)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    std::thread::park_timeout(after);
    meanwhile();
    running.kill().unwrap();
    running.wait().unwrap();
}

/// Killed at any moment, each step goes on.
#[test]
fn a_killed_step_goes_on() {
    let world = world();
    let site = site(&world, "site", "5.00.9096.1000", "offline");
    let stick = Stick::new(&world, "stick");
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let mut within =
        |shortest: u64, spread: u64| Duration::from_millis(shortest + random.next_u64() % spread);
    let (from, to) = (
        stick.folder.display().to_string(),
        stick.updates().display().to_string(),
    );
    let (dir, cabinet) = (site.dir.display().to_string(), stick.folder.join("site.cab"));
    let file = cabinet.display().to_string();
    // Whoever is killed: the cabinet is whole, or not there.
    for round in 0..8 {
        let running = site.started();
        let prepare = [
            "--dir",
            &dir,
            "tool",
            "prepare",
            "--usagedatadest",
            &file,
            "--logdir",
            &from,
        ];
        match round % 2 {
            0 => killed(&prepare, within(0, 60), || {}),
            _ => killed(&prepare, within(0, 60), || running.kill()),
        }
        if let Ok(bytes) = std::fs::read(&cabinet) {
            assert!(protocol::transfer::read(&bytes).is_ok());
        }
    }
    let running = site.started();
    stick.prepare(&site, "site.cab");
    for _ in 0..12 {
        let connect = [
            "tool",
            "connect",
            "--usagedatasrc",
            &from,
            "--updatepackdest",
            &to,
            "--logdir",
            &from,
        ];
        killed(&connect, within(0, 120), || {});
    }
    stick.connected(&world, &[]);
    running.kill();
    for _ in 0..10 {
        let running = site.started();
        let import = [
            "--dir",
            &dir,
            "tool",
            "import",
            "--updatepacksrc",
            &to,
            "--logdir",
            &from,
        ];
        killed(&import, within(20, 200), || running.kill());
    }
    // The last import is taken up by itself.
    let _running = site.started();
    site.wait_for(SECOND, READY);
    let (twin, _twin) = twin(&world, "twin", "5.00.9096.1000", SECOND);
    assert_eq!(end_state(&site), end_state(&twin));
}

/// A cabinet and a bundle of another release of the tool: refused, with both releases named.
#[test]
fn another_release_is_refused() {
    let world = world();
    let site = site(&world, "site", "5.00.9096.1000", "offline");
    let _running = site.started();
    let stick = Stick::new(&world, "stick");
    stick.prepare(&site, "site.cab");
    stick.connected(&world, &[]);
    let check = |output: std::process::Output| {
        assert_eq!(output.status.code(), Some(4), "{}", said(&output));
        for release in ["9.9.9", env!("CARGO_PKG_VERSION")] {
            assert!(said(&output).contains(release), "{}", said(&output));
        }
    };
    let path = stick.updates().join("tidegate-bundle.json");
    let mut bundle = protocol::transfer::Bundle::from_bytes(&std::fs::read(&path).unwrap()).unwrap();
    bundle.program = "9.9.9".into();
    std::fs::write(&path, bundle.to_bytes()).unwrap();
    check(stick.import(&site));
    let path = stick.folder.join("site.cab");
    let mut cabinet = protocol::transfer::read(&std::fs::read(&path).unwrap()).unwrap();
    let key = protocol::usage::SigningKey::from_seed(&[1; 32]).unwrap();
    cabinet.site.program = "9.9.9".into();
    cabinet.site.public_key = key.public();
    cabinet.report = None;
    std::fs::write(&path, protocol::transfer::write(&cabinet, &key).unwrap()).unwrap();
    check(stick.connect(&world, &[]));
}

/// A stick that is too small is told before anything is fetched; one that fills up on the way costs nothing
/// that was whole; one that is pulled during the import goes on when it is back.
#[test]
fn a_full_or_pulled_stick_goes_on_when_there_is_room() {
    let test = "media::damage::a_full_or_pulled_stick_goes_on_when_there_is_room";
    let Some(mount) = crate::disks::inside(test, "9m") else {
        return;
    };
    let world = world();
    let site = site(&world, "site", "5.00.9096.1000", "offline");
    let _running = site.started();
    let stick = Stick {
        folder: mount.join("stick"),
    };
    std::fs::create_dir(&stick.folder).unwrap();
    stick.prepare(&site, "a.cab");
    let small = stick.connect(&world, &[]);
    assert_eq!(small.status.code(), Some(8), "{}", said(&small));
    assert!(said(&small).contains("bytes free, and"), "{}", said(&small));
    assert!(!stick.updates().join("tidegate-bundle.json").exists());
    let size = |size: &str| {
        let option = format!("remount,size={size}");
        let done = std::process::Command::new("mount")
            .args(["-o", &option])
            .arg(&mount)
            .status()
            .unwrap();
        assert!(done.success());
    };
    size("64m");
    // Somebody else fills it while content is being fetched.
    let filler = mount.join("filler");
    let fill = |bytes: usize| std::fs::write(&filler, vec![0; bytes]);
    let mut told = BTreeSet::new();
    for megabytes in [61, 60, 59, 58, 57, 56, 55] {
        let _ = fill(megabytes << 20);
        let output = stick.connect(&world, &[]);
        told.insert(output.status.code());
        assert!(
            matches!(output.status.code(), Some(0 | 1 | 8 | 9)),
            "{}",
            said(&output)
        );
        std::fs::remove_file(&filler).unwrap();
    }
    assert!(told.contains(&Some(8)), "{told:?}");
    stick.connected(&world, &[]);
    let mut random = ChaCha8Rng::seed_from_u64(5);
    for _ in 0..6 {
        let (from, aside) = (stick.updates(), mount.join("aside"));
        let wait = Duration::from_millis(random.next_u64() % 60);
        let output = std::thread::scope(|scope| {
            let pulling = scope.spawn(|| {
                std::thread::park_timeout(wait);
                std::fs::rename(&from, &aside).unwrap();
            });
            let output = stick.import(&site);
            pulling.join().unwrap();
            output
        });
        assert!(
            output.status.code().is_some_and(|code| code != 101),
            "{}",
            said(&output)
        );
        // What the site left on a stick that was gone is not in the way.
        if from.exists() {
            std::fs::remove_dir_all(&from).unwrap();
        }
        std::fs::rename(&aside, &from).unwrap();
    }
    let output = stick.import(&site);
    assert!(output.status.success(), "{}", said(&output));
    site.wait_for(SECOND, READY);
}

/// What a medium that is not complete brought stays for the next one, whatever is collected meanwhile.
#[test]
fn what_an_import_took_in_is_no_garbage() {
    let world = World::empty(now());
    let package = description(SECOND, "5.00.9106.1000", "type = \"update\"");
    let texts = [1, 2, 3].map(|seed| noise(seed, 3_000_000));
    let files = [("a", &*texts[0]), ("b", &*texts[1]), ("c", &*texts[2])];
    world.publish("package", &package, &files);
    let site = site(&world, "site", "5.00.9096.1000", "offline");
    let _running = site.started();
    let stick = Stick::new(&world, "stick");
    stick.prepare(&site, "site.cab");
    stick.connected(&world, &[]);
    let content = content(&stick).pop().unwrap();
    let whole = std::fs::read(&content).unwrap();
    let mut changed = whole.clone();
    *changed.last_mut().unwrap() ^= 1;
    std::fs::write(&content, changed).unwrap();
    let output = stick.import(&site);
    assert_eq!(output.status.code(), Some(10), "{}", said(&output));
    let before = site.json(&["content", "stats"]).unwrap();
    assert!(before["stored_bytes"].as_u64().unwrap() > 0, "{before}");
    let collected = site.json(&["content", "gc"]).unwrap();
    assert_eq!(collected["objects"], 0, "{collected}");
    assert_eq!(site.json(&["content", "stats"]).unwrap(), before);
    std::fs::write(&content, whole).unwrap();
    let output = stick.import(&site);
    assert!(output.status.success(), "{}", said(&output));
    site.wait_for(SECOND, READY);
}
