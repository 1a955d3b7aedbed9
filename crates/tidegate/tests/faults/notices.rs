//! What a vendor tells beside packages reaches the site, and no host is connected to because of it before somebody agreed.

use serde_json::Value;

use crate::world::{Site, World, now, until};

/// Keys of the notifications in force, but for the one that the mirror in this test, which is none, cannot be reached.
fn keys(site: &Site) -> Vec<String> {
    let list = site.json(&["notifications", "list"]).unwrap_or_default();
    let key = |one: &Value| one["key"].as_str().unwrap().to_owned();
    let all = list.as_array().into_iter().flatten().map(key);
    all.filter(|key| key != "endpoints-unreachable").collect()
}

/// What a check of internet access asks.
fn hosts(site: &Site) -> String {
    let output = site.run(&["check", "--site", "--json"]);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn messages_and_a_configuration_reach_the_site() {
    let world = World::empty(now());
    let site = world.site("site");
    let configuration = site.dir.join("tidegate.toml");
    let text = std::fs::read_to_string(&configuration).unwrap();
    let asked = text.replace("vendor_messages = []", "vendor_messages = [\"prevent-or-fix\"]");
    assert!(asked != text);
    std::fs::write(&configuration, asked).unwrap();
    let _running = site.started();
    site.must(&["updates", "check", "--wait"]);
    assert_eq!(keys(&site), Vec::<String>::new());

    let vendor = Site { dir: world.service() };
    for (id, category) in [("gateway", "prevent-or-fix"), ("conference", "stay-informed")] {
        vendor.must(&[
            "cloud",
            "notice",
            "publish",
            "--id",
            id,
            "--category",
            category,
            "--title",
            "T",
            "--text",
            "B",
        ]);
    }
    // Nobody listens there: a connection would be refused, and is not made before a restart.
    let mirror = "https://127.0.0.1:9/feed";
    vendor.must(&[
        "cloud", "config", "service", "--what", "A mirror", "--mirror", mirror,
    ]);
    site.must(&["updates", "check", "--wait"]);
    let found = until("the messages", || {
        let mut found = keys(&site);
        found.sort();
        (found.len() == 2).then_some(found)
    });
    assert_eq!(found, ["service-configuration-changed", "vendor-message-gateway"]);
    assert!(!hosts(&site).contains("127.0.0.1:9"));
    site.must(&["component", "restart", "SMS_EXECUTIVE"]);
    until("the configuration in force", || {
        (keys(&site) == ["vendor-message-gateway"]).then_some(())
    });
    assert!(hosts(&site).contains("127.0.0.1:9"), "{}", hosts(&site));

    vendor.must(&["cloud", "notice", "retract", "gateway"]);
    site.must(&["updates", "check", "--wait"]);
    until("nothing", || keys(&site).is_empty().then_some(()));
    let history = vendor.json(&["cloud", "history"]).unwrap();
    assert_eq!(history.as_array().unwrap().len(), 4, "{history}");
    // Who dismissed it sees it again when it is put differently.
    for _ in 0..2 {
        vendor.must(&[
            "cloud",
            "notice",
            "publish",
            "--id",
            "gateway",
            "--category",
            "prevent-or-fix",
            "--title",
            "T",
            "--text",
            "Again",
        ]);
        site.must(&["updates", "check", "--wait"]);
        until("the message again", || (!keys(&site).is_empty()).then_some(()));
        site.must(&["notifications", "dismiss", "vendor-message-gateway"]);
        assert_eq!(keys(&site), Vec::<String>::new());
    }
}
