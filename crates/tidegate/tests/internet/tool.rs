//! The service connection tool with a real service and a real proxy: a report goes out by hand, its receipt
//! comes back by hand.

use serde_json::Value;

use crate::site::{World, must, run, tidegate};
use crate::squid::{Asks, PASSWORD, Squid, USER};

fn offline() -> World {
    let world = World::prepared(|service| {
        must(service, &["cloud", "config", "usage"]);
    });
    let database = rusqlite::Connection::open(world.site().join("site.db")).unwrap();
    database
        .execute(
            "INSERT INTO setting (name, value) VALUES ('scp.mode', 'offline')",
            [],
        )
        .unwrap();
    world
}

#[test]
fn a_report_is_carried_and_its_receipt_comes_back() {
    let world = offline();
    let _running = world.start();
    let (site, service) = (world.site(), world.folder.path().join("service"));
    let stick = world.folder.path().join("stick");
    std::fs::create_dir(&stick).unwrap();
    let logs = stick.display().to_string();
    let (cabinet, updates) = (
        stick.join("UsageData.cab").display().to_string(),
        stick.join("updates").display().to_string(),
    );
    let tool = |arguments: &[&str]| {
        let mut all = vec!["tool"];
        all.extend(arguments);
        all.extend(["--logdir", &logs]);
        run(&site, &all)
    };
    // Held: not without approval. Never: no report in it.
    must(&site, &["usage", "sending", "hold"]);
    let held = tool(&["prepare", "--usagedatadest", &cabinet]);
    assert_eq!(held.status.code(), Some(1));
    must(&site, &["usage", "approve"]);
    let no_key = tool(&["prepare", "--encrypt", "--usagedatadest", &cabinet]);
    assert!(String::from_utf8_lossy(&no_key.stderr).contains("names no key"));
    assert!(tool(&["-prepare", "-usagedatadest", &cabinet]).status.success());
    let shown = must(&site, &["usage", "preview"]);
    let csv = stick.join("data.csv").display().to_string();
    assert!(tool(&["-export", "-dest", &csv]).status.success());
    assert!(
        std::fs::read_to_string(&csv)
            .unwrap()
            .contains("\"scp.mode\",\"offline\"")
    );
    // Through the proxy, whose password comes from a file.
    let squid = Squid::start(Asks::Digest);
    let password = world.folder.path().join("password");
    std::fs::write(&password, PASSWORD).unwrap();
    let (server, secret) = (squid.url(), password.display().to_string());
    let connect = [
        "connect",
        "--usagedatasrc",
        &cabinet,
        "--updatepackdest",
        &updates,
        "--proxyserveruri",
        &server,
        "--proxyusername",
        USER,
        "--proxypasswordfile",
        &secret,
        "--json",
    ];
    let connected = tool(&connect);
    assert!(
        connected.status.success(),
        "{}",
        String::from_utf8_lossy(&connected.stderr)
    );
    let connected: Value = serde_json::from_slice(&connected.stdout).unwrap();
    let report = connected["hierarchies"][0]["report"].as_str().unwrap().to_owned();
    let log = squid.log();
    assert!(log.contains("CONNECT localhost:") && log.contains(USER), "{log}");
    assert_eq!(
        must(&service, &["cloud", "usage", "report", &report]),
        shown,
        "the very bytes that were shown"
    );
    // Nothing of it is sent twice, and nothing is left of the site beside the report.
    assert!(tool(&connect).status.success());
    let fleet: Value =
        serde_json::from_str(&must(&service, &["cloud", "usage", "--json", "reports"])).unwrap();
    assert_eq!(fleet.as_array().unwrap().len(), 1);
    let imported = tool(&["import", "--updatepacksrc", &updates]);
    assert!(
        imported.status.success(),
        "{}",
        String::from_utf8_lossy(&imported.stderr)
    );
    let show = world.json(&["usage", "show"]).unwrap();
    assert_eq!(
        (&show["reports"][0]["report"], &show["reports"][0]["state"]),
        (&report.into(), &"sent".into())
    );
    let events = || -> Vec<String> {
        let ledger = world.json(&["usage", "ledger"]).unwrap();
        ledger
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["event"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(events(), ["approved", "carried", "receipt"]);
    assert!(tool(&["import", "--updatepacksrc", &updates]).status.success());
    assert_eq!(
        events(),
        ["approved", "carried", "receipt"],
        "a receipt counts once"
    );
    must(&site, &["usage", "ledger", "verify"]);
    // For the vendor's eyes only, now that the medium brought the key.
    must(&site, &["usage", "sending", "automatic"]);
    must(&site, &["usage", "collect"]);
    let secret_cabinet = stick.join("secret.cab").display().to_string();
    assert!(
        tool(&["prepare", "--encrypt", "--usagedatadest", &secret_cabinet])
            .status
            .success()
    );
    let shown = must(&site, &["usage", "preview"]);
    let bytes = std::fs::read(&secret_cabinet).unwrap();
    let cabinet = protocol::transfer::read(&bytes).unwrap();
    assert!(protocol::usage::is_encrypted(cabinet.report.as_ref().unwrap()));
    let listed = std::process::Command::new("cabextract")
        .args(["--list", &secret_cabinet])
        .output()
        .unwrap();
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(
        listed.contains("UsageData.encrypted") && !listed.contains("UsageData.json"),
        "{listed}"
    );
    let connected = tool(&[
        "connect",
        "--usagedatasrc",
        &secret_cabinet,
        "--updatepackdest",
        &updates,
        "--json",
    ]);
    assert!(
        connected.status.success(),
        "{}",
        String::from_utf8_lossy(&connected.stderr)
    );
    let connected: Value = serde_json::from_slice(&connected.stdout).unwrap();
    let report = connected["hierarchies"][0]["report"].as_str().unwrap();
    assert_eq!(must(&service, &["cloud", "usage", "report", report]), shown);
    assert!(tool(&["import", "--updatepacksrc", &updates]).status.success());
    assert_eq!(events().last().unwrap(), "receipt");
    let secrets = ["ServiceConnectionTool.log", "ConfigMgrSetup.log"]
        .map(|name| std::fs::read_to_string(stick.join(name)).unwrap())
        .concat();
    assert!(!secrets.contains(PASSWORD), "{secrets}");
}

/// A wrong proxy, a vendor that is away: told as what they are, and nothing on the medium counts.
#[test]
fn what_keeps_a_connection_from_being_made_is_told() {
    let world = offline();
    let _running = world.start();
    let stick = world.folder.path().join("stick");
    let (from, to) = (
        stick.display().to_string(),
        stick.join("updates").display().to_string(),
    );
    std::fs::create_dir(&stick).unwrap();
    let cabinet = stick.join("a.cab").display().to_string();
    must(
        &world.site(),
        &["tool", "prepare", "--usagedatadest", &cabinet, "--logdir", &from],
    );
    let connect = |more: &[&str]| {
        let mut command = tidegate(&world.folder.path().join("nowhere"), &["tool", "connect"]);
        command
            .args([
                "--usagedatasrc",
                &from,
                "--updatepackdest",
                &to,
                "--logdir",
                &from,
            ])
            .args(more);
        command.output().unwrap()
    };
    let refused = connect(&["--proxyserveruri", "127.0.0.1:1"]);
    assert_eq!(
        refused.status.code(),
        Some(9),
        "{}",
        String::from_utf8_lossy(&refused.stderr)
    );
    assert!(String::from_utf8_lossy(&refused.stderr).contains("proxy"));
    let asked = connect(&["--proxyserveruri", "proxy.example", "--proxyusername", "jo"]);
    assert_eq!(asked.status.code(), Some(2), "no terminal to ask on");
    assert!(!stick.join("updates/tidegate-bundle.json").exists());
    assert!(connect(&[]).status.success());
}
