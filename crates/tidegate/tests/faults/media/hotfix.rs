//! Updates that are not in the catalogue.

use super::{HOTFIX, READY, SECOND, Stick, description, noise, said, site, world};
use crate::world::{Site, until};

/// An update outside the catalogue, online and offline: signed by a key that the feed names, or not taken.
#[test]
fn a_hotfix_outside_the_catalogue_is_registered() {
    const PRIVATE: &str = "44444444-4444-4444-8444-444444444444";
    let world = world();
    let vendor = Site { dir: world.service() };
    let folder = world.folder.path().join("private");
    std::fs::create_dir_all(folder.join("payload")).unwrap();
    std::fs::write(folder.join("payload/fix"), noise(9, 200_000)).unwrap();
    std::fs::write(folder.join("runtime.bin"), "redistributable").unwrap();
    let more = "type = \"hotfix\"\n";
    let toml = description(PRIVATE, "5.00.9096.1050", more) + "[[redistributable]]\nfile = \"runtime.bin\"\n";
    std::fs::write(folder.join("package.toml"), toml).unwrap();
    let at = |name: &str| folder.join(name).display().to_string();
    let make = |file: &str| vendor.run(&["cloud", "hotfix", &at("package.toml"), &at("payload"), &at(file)]);
    assert_eq!(make("fix.exe").status.code(), Some(1), "another ending");
    let offline = site(&world, "offline", "5.00.9096.1000", "offline");
    let _offline = offline.started();
    let register = |site: &Site, file: &str| site.run(&["tool", "register", &at(file), "--logdir", &at("")]);
    let made = make("kb1.update");
    assert!(made.status.success(), "{}", said(&made));
    let unknown = register(&offline, "kb1.update");
    assert_eq!(unknown.status.code(), Some(6));
    assert!(
        said(&unknown).contains("has not named a key"),
        "{}",
        said(&unknown)
    );
    // The key comes by medium.
    let stick = Stick::new(&world, "stick");
    stick.prepare(&offline, "a.cab");
    stick.connected(&world, &[]);
    assert!(stick.import(&offline).status.success());
    let whole = std::fs::read(at("kb1.update")).unwrap();
    for (name, bytes) in [
        ("cut.update", whole[..whole.len() - 1].to_vec()),
        ("long.update", [whole.as_slice(), b"x"].concat()),
        ("changed.update", {
            let mut bytes = whole.clone();
            let last = bytes.len() - 50;
            bytes[last] ^= 1;
            bytes
        }),
        ("line.update", {
            let mut bytes = whole.clone();
            bytes[100] ^= 1;
            bytes
        }),
        ("empty.update", Vec::new()),
    ] {
        std::fs::write(at(name), bytes).unwrap();
        let output = register(&offline, name);
        assert_eq!(output.status.code(), Some(6), "{name}: {}", said(&output));
        assert_eq!(offline.state(PRIVATE), None, "{name}");
        assert!(
            !offline.dir.join("EasySetupPayload/offline/register").exists(),
            "{name}"
        );
    }
    std::fs::write(at("kb1.exe"), &whole).unwrap();
    assert!(said(&register(&offline, "kb1.exe")).contains("does not end in .update"));
    let online = site(&world, "online", "5.00.9096.1000", "online");
    let _online = online.started();
    online.wait_for(SECOND, READY);
    for site in [&offline, &online] {
        for _ in 0..2 {
            let output = register(site, "kb1.update");
            assert!(output.status.success(), "{}", said(&output));
            assert!(!site.dir.join("EasySetupPayload/offline/register").exists());
            assert!(!site.dir.join("content/packages/register.want").exists());
        }
        until("the offer", || site.state(PRIVATE).filter(|state| *state != 0));
        if site.state(PRIVATE) != Some(READY) {
            site.must(&["updates", "download", PRIVATE]);
        }
        site.wait_for(PRIVATE, READY);
        site.must(&["updates", "install", PRIVATE, "--wait"]);
        assert_eq!(site.current().as_deref(), Some("5.00.9096.1050"));
        // The next check does not take it away.
        if site.sync_failure().is_none() {
            site.run(&["updates", "check"]);
        }
        assert_eq!(site.state(PRIVATE), Some(196_612));
    }
    assert!(offline.message_ids().contains(&60_227));
    // What the catalogue has comes by itself.
    let in_catalogue = description(HOTFIX, "5.00.9106.1010", "type = \"hotfix\"");
    std::fs::write(folder.join("package.toml"), in_catalogue).unwrap();
    assert!(make("kb2.update").status.success());
    assert!(said(&register(&online, "kb2.update")).contains("is in the catalogue"));
}
