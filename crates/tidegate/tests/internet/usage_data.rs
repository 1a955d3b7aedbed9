//! Usage data from the site to the vendor, by the real program: seen before, sent once, remembered after.

use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use crate::nginx::{free_port, wait_for};
use crate::site::{Running, World, must, run, tidegate};

fn taking(service: &Path) {
    must(service, &["cloud", "config", "usage"]);
}

fn wait_for_intake(world: &World) {
    must(&world.site(), &["updates", "check"]);
    world.until("the address of the intake", || {
        let show = world.json(&["usage", "show"])?;
        (show["intake"].is_string() || show["intake_problem"].is_string()).then_some(())
    });
}

fn stderr(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn usage_data_is_seen_as_it_would_be_sent() {
    let world = World::new();
    let _running = world.start();
    let site = world.site();
    let preview = |level: &str| must(&site, &["usage", "preview", "--level", level]);
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let names = |report: &Value| {
        report["values"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    let [basic, enhanced, full] = ["basic", "enhanced", "full"].map(|level| read(&preview(level)));
    assert!(names(&basic).iter().all(|name| names(&enhanced).contains(name)));
    assert!(names(&basic).len() < names(&enhanced).len() && names(&enhanced).len() < names(&full).len());
    assert_eq!(basic["values"]["setup.version"], "5.00.9096.1000");
    // A10 and A11: nothing names anybody; the hierarchy is a hash.
    let everything = preview("full");
    let machine = world.json(&["site", "show"]).unwrap()["machine"]
        .as_str()
        .unwrap()
        .to_owned();
    let folder = world.folder.path().display().to_string();
    for name in [
        "P01",
        "\"Test\"",
        "127.0.0.1",
        "localhost",
        folder.as_str(),
        &format!("\"{machine}\""),
    ] {
        assert!(!everything.contains(name), "{name}: {everything}");
    }
    assert_eq!(full["values"]["hierarchy.id"].as_str().unwrap().len(), 64);
    // A8: the export has the same values, the JSON the same bytes.
    let (json, csv) = (
        world.folder.path().join("out.json"),
        world.folder.path().join("out.csv"),
    );
    must(
        &site,
        &["usage", "export", &json.display().to_string(), "--level", "basic"],
    );
    must(
        &site,
        &["usage", "export", &csv.display().to_string(), "--level", "basic"],
    );
    let exported = std::fs::read_to_string(&json).unwrap();
    assert_eq!(names(&read(&exported)), names(&basic));
    let rows = std::fs::read_to_string(&csv).unwrap();
    for (name, value) in read(&exported)["values"].as_object().unwrap() {
        if let Value::String(word) = value {
            assert!(rows.contains(&format!("\"{name}\",\"{word}\"")), "{name}: {rows}");
        }
    }
    assert_eq!(run(&site, &["usage", "export", "out.txt"]).status.code(), Some(2));
    // A4: without a report there is nothing to export.
    let early = run(&site, &["usage", "export", &json.display().to_string()]);
    assert_eq!(early.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&early.stderr).contains("no data yet"));
    // The level is the administrator's, and an audit message says who set it.
    assert_eq!(must(&site, &["scp", "level"]).trim(), "enhanced");
    must(&site, &["scp", "level", "basic"]);
    assert_eq!(names(&read(&must(&site, &["usage", "preview"]))), names(&basic));
    assert_eq!(world.messages(60_217), 1);
    assert_eq!(run(&site, &["scp", "level", "everything"]).status.code(), Some(1));
    let diff = world
        .json(&["usage", "preview", "--level", "basic", "--diff", "enhanced"])
        .unwrap();
    assert!(
        diff.as_array()
            .unwrap()
            .iter()
            .any(|row| row["name"] == "content.objects"),
        "{diff}"
    );
    assert!(must(&site, &["usage", "explain", "hierarchy.id"]).contains("keyed hash"));
    assert_eq!(
        run(&site, &["usage", "explain", "site.name"]).status.code(),
        Some(1)
    );
    assert!(must(&site, &["usage", "levels"]).contains("basic"));
    assert!(must(&site, &["usage", "dictionary", "--level", "basic"]).contains("updates.installed"));
}

#[test]
fn what_leaves_is_what_was_shown_and_is_kept() {
    let world = World::prepared(taking);
    let running = world.start();
    let site = world.site();
    let service = world.folder.path().join("service");
    wait_for_intake(&world);
    // Held until somebody approves it.
    must(&site, &["usage", "sending", "hold"]);
    let held = run(&site, &["usage", "upload"]);
    assert_eq!(held.status.code(), Some(1));
    assert!(stderr(&held).contains("waits for approval"), "{}", stderr(&held));
    let shown = must(&site, &["usage", "preview"]);
    let file = world.folder.path().join("held.json");
    must(&site, &["usage", "export", &file.display().to_string()]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), shown);
    must(&site, &["usage", "approve"]);
    let report = world.until("the upload", || {
        let show = world.json(&["usage", "show"])?;
        (show["reports"][0]["state"] == "sent")
            .then(|| show["reports"][0]["report"].as_str().unwrap().to_owned())
    });
    // A8: what the vendor has are the very bytes that were shown.
    assert_eq!(must(&service, &["cloud", "usage", "report", &report]), shown);
    let fleet: Value = serde_json::from_str(&must(&service, &["cloud", "usage", "--json"])).unwrap();
    assert_eq!(
        (&fleet["hierarchies"], &fleet["by"]["level"][0]["word"]),
        (&1.into(), &"enhanced".into())
    );
    let page = world.folder.path().join("fleet.html");
    must(
        &service,
        &["cloud", "usage", "--page", &page.display().to_string()],
    );
    assert!(std::fs::read_to_string(&page).unwrap().contains("5.00.9096.1000"));
    // The ledger tells it all, and an export of it can be checked anywhere.
    let events = |ledger: &Value| -> Vec<String> {
        let entries = ledger.as_array().unwrap().iter();
        entries
            .map(|entry| entry["event"].as_str().unwrap().to_owned())
            .collect()
    };
    let ledger = world.json(&["usage", "ledger"]).unwrap();
    assert_eq!(events(&ledger), ["approved", "sending", "receipt"]);
    let shown_again = must(&site, &["usage", "ledger", "show", &report]);
    assert!(shown_again.ends_with(&shown), "{shown_again}");
    let export = world.folder.path().join("ledger.jsonl");
    must(
        &site,
        &["usage", "ledger", "export", &export.display().to_string()],
    );
    must(&site, &["usage", "ledger", "verify"]);
    let verify_file = || {
        run(
            &site,
            &["usage", "ledger", "verify", &export.display().to_string()],
        )
    };
    assert_eq!(verify_file().status.code(), Some(0));
    let text = std::fs::read_to_string(&export).unwrap();
    for altered in [
        text.replace("\"approved\"", "\"refused\""),
        text.replace("enhanced\\\"", "basic\\\""),
        text.lines().skip(1).map(|line| format!("{line}\n")).collect(),
    ] {
        assert_ne!(altered, text);
        std::fs::write(&export, altered).unwrap();
        let said = verify_file();
        assert_eq!(said.status.code(), Some(1), "{}", stderr(&said));
        assert!(stderr(&said).contains("not whole"), "{}", stderr(&said));
    }
    // Nothing changed since: sending again is another report; the vendor still counts one hierarchy.
    must(&site, &["usage", "sending", "automatic"]);
    must(&site, &["usage", "upload"]);
    let fleet: Value = serde_json::from_str(&must(&service, &["cloud", "usage", "--json"])).unwrap();
    assert_eq!(fleet["hierarchies"], 1);
    let diff = world.json(&["usage", "preview", "--diff", "last"]).unwrap();
    assert!(
        diff.as_array()
            .unwrap()
            .iter()
            .all(|row| row["name"] != "setup.version"),
        "{diff}"
    );
    // With new keys it is another hierarchy to the vendor.
    assert_eq!(run(&site, &["usage", "rotate-keys"]).status.code(), Some(2));
    must(&site, &["usage", "rotate-keys", "--yes"]);
    must(&site, &["usage", "upload"]);
    let fleet: Value = serde_json::from_str(&must(&service, &["cloud", "usage", "--json"])).unwrap();
    assert_eq!(fleet["hierarchies"], 2);
    let log = std::fs::read_to_string(site.join("logs/Dmpuploader.log")).unwrap();
    assert!(log.contains(&report) && !log.contains("enhanced\""), "{log}");
    // A ledger that lost its last entry, or had one altered, is not whole.
    drop(running);
    let database = rusqlite::Connection::open(site.join("site.db")).unwrap();
    database
        .execute(
            "DELETE FROM usage_ledger WHERE entry_number = (SELECT MAX(entry_number) FROM usage_ledger)",
            [],
        )
        .unwrap();
    drop(database);
    let _running = world.start();
    let said = run(&site, &["usage", "ledger", "verify"]);
    assert_eq!(said.status.code(), Some(1));
    assert!(
        stderr(&said).contains("the ledger ends with entry"),
        "{}",
        stderr(&said)
    );
    assert_eq!(world.messages(60_195), 1);
}

#[test]
fn nothing_leaves_that_may_not() {
    let world = World::prepared(taking);
    let _running = world.start();
    let site = world.site();
    let service = world.folder.path().join("service");
    wait_for_intake(&world);
    let refused = |words: &str| {
        let said = run(&site, &["usage", "upload"]);
        assert_eq!(said.status.code(), Some(1));
        assert!(stderr(&said).contains(words), "{}", stderr(&said));
    };
    must(&site, &["usage", "sending", "never"]);
    refused("turned off");
    must(&site, &["usage", "sending", "hold"]);
    must(&site, &["scp", "mode", "offline", "--restart"]);
    refused("offline");
    must(&site, &["scp", "mode", "online", "--restart"]);
    // Collected at Full; the level is lowered before it goes: it never does.
    must(&site, &["scp", "level", "full"]);
    must(&site, &["usage", "collect"]);
    must(&site, &["scp", "level", "basic"]);
    must(&site, &["usage", "sending", "automatic"]);
    world.until("the upload of what replaced it", || {
        let show = world.json(&["usage", "show"])?;
        let reports = show["reports"].as_array()?;
        (reports.len() == 2 && reports[0]["state"] == "sent" && reports[1]["state"] == "replaced")
            .then_some(())
    });
    let listed: Value =
        serde_json::from_str(&must(&service, &["cloud", "usage", "--json", "reports"])).unwrap();
    let levels: Vec<&Value> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|report| &report["level"])
        .collect();
    assert_eq!(levels, ["basic"]);
    // A discarded report stays where it is.
    must(&site, &["usage", "sending", "hold"]);
    must(&site, &["usage", "collect"]);
    must(&site, &["usage", "discard"]);
    assert_eq!(run(&site, &["usage", "approve"]).status.code(), Some(1));
    let show = world.json(&["usage", "show"]).unwrap();
    assert_eq!(show["reports"][0]["state"], "discarded");
    let report = show["reports"][0]["report"].as_str().unwrap();
    assert_eq!(run(&site, &["usage", "approve", report]).status.code(), Some(1));
}

/// The feed names the intake of another service: what that says is not believed. Once the feed names the
/// right one, the very same report is stored there.
#[test]
fn a_receipt_of_somebody_else_is_not_believed() {
    let port = free_port();
    let world = World::prepared(|service| {
        let other = service.parent().unwrap().join("other");
        must(
            &other,
            &["cloud", "init", "--name", "Other", "--host", "localhost"],
        );
        taking(&other);
        let address = format!("https://localhost:{port}/usage/v1/");
        must(service, &["cloud", "config", "usage", "--address", &address]);
    });
    let (service, other) = (
        world.folder.path().join("service"),
        world.folder.path().join("other"),
    );
    let listen = format!("127.0.0.1:{port}");
    let _other = Running(
        tidegate(&other, &["cloud", "serve", "--listen", &listen])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    wait_for(port, String::new);
    let both = [&service, &other]
        .map(|dir| std::fs::read_to_string(dir.join("tls/ca.pem")).unwrap())
        .concat();
    let ca = world.json(&["site", "show"]).map(drop);
    assert!(ca.is_none(), "the site does not run yet");
    let bundle = world.site().join("both.pem");
    std::fs::write(&bundle, both).unwrap();
    let settings = std::fs::read_to_string(world.site().join("tidegate.toml")).unwrap();
    let line = settings.lines().find(|line| line.starts_with("ca = ")).unwrap();
    world.configure(line, "ca = \"both.pem\"");
    let _running = world.start();
    let site = world.site();
    wait_for_intake(&world);
    let said = run(&site, &["usage", "upload"]);
    assert_eq!(said.status.code(), Some(1));
    assert!(
        stderr(&said).contains("the receipt is not believed"),
        "{}",
        stderr(&said)
    );
    assert_eq!(world.messages(60_194), 1);
    let waiting = world.json(&["component", "query", "SMS_DMP_UPLOADER"]).unwrap();
    assert!(waiting["waiting"]["next_try"].is_string(), "{waiting}");
    let report = world.json(&["usage", "show"]).unwrap()["reports"][0]["report"]
        .as_str()
        .unwrap()
        .to_owned();
    must(&service, &["cloud", "config", "usage"]);
    must(&site, &["updates", "check"]);
    world.until("the other address", || {
        let show = world.json(&["usage", "show"])?;
        show["intake"]
            .as_str()?
            .contains(&format!(":{}", world.port))
            .then_some(())
    });
    must(&site, &["usage", "upload"]);
    let show = world.json(&["usage", "show"]).unwrap();
    assert_eq!(
        (&show["reports"][0]["report"], &show["reports"][0]["state"]),
        (&report.clone().into(), &"sent".into())
    );
    let body = must(&service, &["cloud", "usage", "report", &report]);
    assert_eq!(must(&other, &["cloud", "usage", "report", &report]), body);
    let ledger = world.json(&["usage", "ledger"]).unwrap();
    let events: Vec<&Value> = ledger
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| &entry["event"])
        .collect();
    assert_eq!(events, ["sending", "receipt"]);
}

#[test]
fn an_inventory_is_counted_and_never_told() {
    let world = World::new();
    let _running = world.start();
    let site = world.site();
    let file = |name: &str, text: &str| {
        let path = world.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let mut devices = String::from(
        "id,os,os_version,arch,client_version,processor,memory_mib,joined,managed,virtual,last_seen\n",
    );
    for number in 0..100 {
        devices.push_str(&format!(
            "SERIAL-{number},windows,10.0.22631.{number},x86_64,5.00.9110.1000,Intel Core i5-1240P,16384,hybrid,client,{},2026-11-20T08:00:00Z\n",
            number % 4 == 0
        ));
    }
    devices.push_str(
        "plant7.example.com,jo@example.com,10.1.2.3,x86_64,,host7.plant.example,1,none,client,false,\n",
    );
    let devices = file("devices.csv", &devices);
    let said = must(&site, &["usage", "inventory", "import", "devices", &devices]);
    assert!(said.contains("101 rows"), "{said}");
    let users = file(
        "users.jsonl",
        "{\"id\":\"jo@example.com\",\"source\":\"entra\"}\n{\"id\":\"al\",\"source\":\"ad\"}\n",
    );
    must(&site, &["usage", "inventory", "import", "users", &users]);
    let wrong = file("wrong.csv", "id,os\na,windows\na,windows\n");
    let said = run(&site, &["usage", "inventory", "import", "devices", &wrong]);
    assert_eq!(said.status.code(), Some(1));
    assert!(
        stderr(&said).contains("row 2: its id is in the file already"),
        "{}",
        stderr(&said)
    );
    assert_eq!(
        run(&site, &["usage", "inventory", "import", "people", &wrong])
            .status
            .code(),
        Some(2)
    );
    assert_eq!(
        run(&site, &["usage", "inventory", "import", "devices", "x.txt"])
            .status
            .code(),
        Some(2)
    );
    let text = must(&site, &["usage", "preview", "--level", "full"]);
    let values = &serde_json::from_str::<Value>(&text).unwrap()["values"];
    assert_eq!(values["inventory.clients"], 128);
    assert_eq!(
        values["inventory.os"],
        serde_json::json!({"rare": 5, "windows": 100})
    );
    assert_eq!(
        values["inventory.os-versions"],
        serde_json::json!({"rare": 5, "windows 10.0.22631": 100})
    );
    assert_eq!(
        values["inventory.processors"],
        serde_json::json!({"Intel Core i5-1240P": 100})
    );
    assert_eq!(values["inventory.virtual"], 32);
    assert_eq!(
        values["inventory.memory-gib"],
        serde_json::json!({"16": 100, "rare": 5})
    );
    assert_eq!(
        values["inventory.users"],
        serde_json::json!({"ad": 1, "entra": 1})
    );
    for name in ["SERIAL", "plant7", "jo@", "10.1.2", "host7", "example"] {
        assert!(!text.contains(name), "{name}: {text}");
    }
    let tables = world.json(&["usage", "inventory"]).unwrap();
    assert_eq!(
        (&tables[0]["rows"], &tables[0]["format"]),
        (&101.into(), &"csv".into())
    );
    assert_eq!(world.messages(60_224), 2);
    assert!(must(&site, &["usage", "dictionary", "--never"]).contains("serial numbers"));
    assert!(must(&site, &["usage", "inventory", "tables"]).contains("client_version"));
}

/// A13: what is offered depends on facts that a site has itself, never on what it sends; and a site shows which.
#[test]
fn a13_relevance_is_decided_and_explained_on_the_site() {
    const GUID: &str = "8576527E-DDE7-4E3C-A0E1-6FB0F0A3B1C4";
    let world = World::prepared(|service| {
        let folder = service.parent().unwrap();
        let description = format!(
            "guid = \"{GUID}\"\nfull-version = \"5.00.9106.1000\"\ntype = \"update\"\n\
             released = 2026-10-01T08:00:00Z\n[text.en]\nname = \"Next\"\n[install]\nswitch = true\n"
        );
        let (toml, payload) = (folder.join("package.toml"), folder.join("payload"));
        std::fs::write(&toml, description).unwrap();
        std::fs::create_dir(&payload).unwrap();
        std::fs::write(payload.join("file"), "content").unwrap();
        must(
            service,
            &[
                "cloud",
                "publish",
                &toml.display().to_string(),
                &payload.display().to_string(),
            ],
        );
        must(
            service,
            &["cloud", "rollout", GUID, "--when", "inventory.devices >= 2"],
        );
        taking(service);
    });
    let (service, _running) = (world.folder.path().join("service"), world.start());
    let site = world.site();
    must(&site, &["updates", "check"]);
    let says = |words: &str| {
        world.until(words, || {
            let why = world.json(&["updates", "why", GUID])?.to_string();
            why.contains(words).then_some(())
        });
    };
    says("rolled out where inventory.devices >= 2");
    let offered = || {
        world
            .json(&["updates", "list"])
            .unwrap()
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!(offered(), 0);
    let devices = world.folder.path().join("devices.jsonl");
    std::fs::write(&devices, "{\"id\":\"a\"}\n{\"id\":\"b\"}\n").unwrap();
    must(
        &site,
        &[
            "usage",
            "inventory",
            "import",
            "devices",
            &devices.display().to_string(),
        ],
    );
    world.until("the offer", || (offered() == 1).then_some(()));
    // The same at every level and whether anything is sent or not.
    for (level, sending) in [("basic", "never"), ("full", "automatic"), ("basic", "automatic")] {
        must(&site, &["scp", "level", level]);
        must(&site, &["usage", "sending", sending]);
        must(&site, &["updates", "check"]);
        says("rolled out where inventory.devices >= 2");
        assert_eq!(offered(), 1, "{level} {sending}");
    }
    must(&service, &["cloud", "rollout", GUID, "0"]);
    must(&site, &["updates", "check"]);
    says("within the share of hierarchies");
    must(&service, &["cloud", "rollout", GUID, "100", "--always"]);
    let listed = must(&service, &["cloud", "rollout", "--json"]);
    assert!(
        serde_json::from_str::<Value>(&listed).unwrap()[0]["rollout_when"].is_null(),
        "{listed}"
    );
    assert_eq!(
        run(&service, &["cloud", "rollout", GUID, "--when", "moon == 1"])
            .status
            .code(),
        Some(1)
    );
    assert_eq!(run(&service, &["cloud", "rollout", GUID]).status.code(), Some(2));
}
