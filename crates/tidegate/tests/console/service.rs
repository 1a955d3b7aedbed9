//! The console of the connected service: in by a link, every page, a halt, a message.

use std::net::TcpListener;

use store::intake::{FleetFacts, IntakeQuota, IntakeReport};

use crate::browser::Browser;
use crate::world::{Running, Site, World, now, until};

/// Puts reports into the intake as it keeps them.
fn report(world: &World) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = cloud::intake::open_store(&cloud::ServiceDir::new(world.service()))
            .await
            .unwrap();
        for (number, version) in ["5.00.9106", "5.00.9106", "5.00.9128"].into_iter().enumerate() {
            let report = IntakeReport {
                report: format!("00000000-0000-0000-0000-00000000000{number}"),
                hierarchy: format!("{number:064}"),
                public_key: format!("{number:064}"),
                received_at: now(),
                collected_at: now(),
                level: "enhanced".into(),
                sha256: format!("{number:064}"),
                verdict: "accepted".into(),
                problem: String::new(),
                body: "{}".into(),
                receipt: "{}".into(),
                facts: Some(FleetFacts {
                    site_version: version.into(),
                    program_version: "<b>0.1</b>".into(),
                    os: "debian 12".into(),
                    arch: "x86_64".into(),
                    mode: "online".into(),
                    sites: 3,
                    devices: 1_200,
                }),
            };
            let quota = IntakeQuota {
                reports_per_day: 10,
                new_hierarchies_per_day: 10,
            };
            store.accept(&report, quota).await.unwrap();
        }
        store
            .count_refused(&[(now().as_second() / 86_400, "malformed".into(), 2)])
            .await
            .unwrap();
    });
}

#[test]
fn the_connected_service_is_seen_and_steered() {
    let world = World::with_sample(now());
    cloud::set_intake(&world.service(), None, true, now()).unwrap();
    report(&world);
    let service = Site { dir: world.service() };
    // A port that was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let listen = format!("127.0.0.1:{port}");
    let arguments = ["cloud", "serve", "--listen", "127.0.0.1:0", "--console", &listen];
    let _running = Running::of(service.command(&arguments).spawn().unwrap());
    until("the console", || std::net::TcpStream::connect(&listen).ok());
    let address = format!("https://localhost:{port}");
    let link = service.must(&["cloud", "console", "--name", "ada", "--address", &address]);

    let mut browser = Browser::start();
    browser.open(&format!("{address}/catalogue"));
    assert!(
        browser.text().contains("tidegate cloud console"),
        "{}",
        browser.text()
    );
    browser.complaints();
    browser.open(link.trim());
    browser.follow("document.querySelector('button').click()");
    assert!(browser.text().contains("Catalogue"), "{}", browser.text());
    let newest = service.json(&["cloud", "rollout"]).unwrap();
    let newest = newest.as_array().unwrap().last().unwrap()["guid"]
        .as_str()
        .unwrap()
        .to_owned();
    let package = format!("/packages/{newest}");
    let pages = [
        ("catalogue", "/catalogue"),
        ("package", package.as_str()),
        ("history", "/history"),
        ("fleet", "/fleet"),
        ("intake", "/intake"),
        ("notices", "/notices"),
        ("keys", "/keys"),
    ];
    for (name, path) in pages {
        let visit = browser.open(&format!("{address}{path}"));
        let text = browser.text();
        assert!(!text.contains("It could not be done"), "{path}: {text}");
        browser.picture(&format!("service-{name}"));
        println!(
            "service-{name}: {:.0} bytes, {} requests, first paint after {:.0} ms",
            visit.bytes, visit.requests, visit.first_paint_ms
        );
        assert!(visit.bytes < 200_000.0, "{path} weighs {} bytes", visit.bytes);
        let found = browser.accessibility_findings();
        assert!(found.is_empty(), "{path}: {found:#?}");
        assert_eq!(browser.complaints(), Vec::<String>::new(), "{path}");
    }
    browser.open(&format!("{address}/fleet"));
    assert!(browser.text().contains("<b>0.1</b>"), "what others tell is text");

    browser.open(&format!("{address}{package}"));
    let press = |browser: &mut Browser, label: &str| {
        browser.follow(&format!(
            "[...document.querySelectorAll('button')].find(one => one.innerText.trim() === '{label}').click()"
        ));
    };
    press(&mut browser, "Halt the roll-out");
    browser.picture("service-halted");
    assert!(browser.text().contains("Go on with 100 %"), "{}", browser.text());
    let share = |service: &Site| {
        let all = service.json(&["cloud", "rollout"]).unwrap();
        let one = all
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["guid"] == newest.as_str());
        one.unwrap()["rollout_percent"].as_u64().unwrap()
    };
    assert_eq!(share(&service), 0);
    press(&mut browser, "Go on with 100 %");
    assert_eq!(share(&service), 100);
    let history = service.json(&["cloud", "history", &newest]).unwrap();
    assert_eq!(history[0]["by"], "ada (console)");
    assert_eq!(history[1]["detail"], "100 % to 0 %");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}
