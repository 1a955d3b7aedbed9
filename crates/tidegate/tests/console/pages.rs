//! Every page as a person meets it.

use crate::browser::Browser;
use crate::world::{Running, Site, World, now, until};

const PASSWORD: &str = "four words are enough";
/// Largest page with everything it needs, in bytes.
const PAGE_BYTES_MAX: f64 = 200_000.0;
const GOOD: &str = "11111111-1111-1111-1111-111111111111";
const BAD: &str = "22222222-2222-2222-2222-222222222222";

/// A running site with a console and somebody signed in to it.
struct Desk {
    _world: World,
    site: Site,
    _running: Running,
    url: String,
    browser: Browser,
}

impl Desk {
    fn new(packages: &[(&str, &str, &str)]) -> Self {
        let world = World::with_sample(now());
        for (guid, version, install) in packages {
            let description = format!(
                "guid = \"{guid}\"\nfull-version = \"{version}\"\ntype = \"update\"\nreleased = \"2026-01-02T00:00:00Z\"\n\
                 [text.en]\nname = \"Update <b>{version}</b>\"\ndescription = \"<script>alert(1)</script>\"\n{install}"
            );
            world.publish(
                version,
                &description,
                &[("bin/program", "#!/bin/sh\nexit 3\n"), ("text", version)],
            );
        }
        let site = world.site("site");
        let url = crate::listen(&site);
        let running = site.started();
        let mut browser = Browser::start();
        let link = site.must(&["user", "setup"]);
        browser.open(link.trim());
        browser.evaluate(&format!(
            "document.getElementById('name').value = 'alice'; document.getElementById('password').value = '{PASSWORD}'"
        ));
        browser.picture("setup");
        browser.follow("document.querySelector('button').click()");
        let mut desk = Desk {
            _world: world,
            site,
            _running: running,
            url,
            browser,
        };
        desk.sign_in(PASSWORD);
        let text = desk.browser.text();
        assert!(text.contains("What needs you now"), "{text}");
        desk
    }

    fn sign_in(&mut self, password: &str) {
        self.browser.evaluate(&format!(
            "document.getElementById('name').value = 'alice'; document.getElementById('password').value = '{password}'"
        ));
        self.browser.follow("document.querySelector('button').click()");
    }

    fn open(&mut self, path: &str) -> String {
        self.browser.open(&format!("{}{path}", self.url));
        self.browser.text()
    }

    /// Presses the button with this label.
    fn press(&mut self, label: &str) {
        let script = format!(
            "[...document.querySelectorAll('button, a.button')].find(one => one.innerText.trim() === '{label}').click()"
        );
        self.browser.follow(&script);
    }
}

#[test]
fn every_page_is_sound_small_and_accessible() {
    let mut desk = Desk::new(&[]);
    desk.site.must(&["updates", "check", "--wait"]);
    let newest = desk.site.json(&["updates", "list"]).unwrap()[0]["guid"]
        .as_str()
        .unwrap()
        .to_owned();
    let package = format!("/updates/{newest}");
    let pages = [
        ("overview", "/overview"),
        ("updates", "/updates?all=true"),
        ("package", package.as_str()),
        ("plan", &format!("{package}/plan")),
        ("wizard", &format!("{package}/wizard")),
        ("history", "/updates/history"),
        ("features", "/updates/features"),
        ("servicing-status", "/updates/status"),
        ("components", "/components"),
        ("component", "/components/SMS_DMP_DOWNLOADER"),
        ("messages", "/messages"),
        ("notifications", "/notifications"),
        ("system-status", "/system-status"),
        ("logs", "/logs"),
        ("logs-followed", "/logs?follow=on"),
        ("servers", "/servers"),
        ("service-connection-point", "/servers/service-connection-point"),
        ("internet", "/internet"),
        ("usage", "/usage"),
        ("usage-preview", "/usage/preview"),
        ("usage-ledger", "/usage/ledger"),
        ("content", "/content"),
        ("accounts", "/accounts"),
        ("backups", "/backups"),
        ("search", "/search?q=SMS_"),
        ("own-password", "/own-password"),
    ];
    for (name, path) in pages {
        let visit = desk.browser.open(&format!("{}{path}", desk.url));
        let text = desk.browser.text();
        assert!(!text.contains("It could not be done"), "{path}: {text}");
        desk.browser.picture(name);
        println!(
            "{name}: {:.0} bytes, {} requests, first paint after {:.0} ms",
            visit.bytes, visit.requests, visit.first_paint_ms
        );
        assert!(
            visit.bytes < PAGE_BYTES_MAX,
            "{path} weighs {} bytes",
            visit.bytes
        );
        let strays = desk
            .browser
            .evaluate("document.querySelectorAll('header table, header section').length");
        assert_eq!(strays, 0, "{path}: what is live stays in its place");
        let found = desk.browser.accessibility_findings();
        assert!(found.is_empty(), "{path}: {found:#?}");
        assert_eq!(desk.browser.complaints(), Vec::<String>::new(), "{path}");
    }
    // On a narrow screen nothing is cut off to the right.
    desk.browser.call(
        "Emulation.setDeviceMetricsOverride",
        &serde_json::json!({"width": 380, "height": 800, "deviceScaleFactor": 1, "mobile": true}),
    );
    for path in ["/overview", "/updates", "/components", "/accounts"] {
        desk.open(path);
        let wide = desk
            .browser
            .evaluate("document.documentElement.scrollWidth")
            .as_f64()
            .unwrap();
        let widest = "[...document.querySelectorAll('main *, header *')].filter(one => one.getBoundingClientRect().right > 381 && \
            !one.closest('.scroll, pre')).map(one => one.outerHTML.slice(0, 120)).slice(0, 3)";
        assert!(
            wide <= 380.0,
            "{path} is {wide} wide: {}",
            desk.browser.evaluate(widest)
        );
        desk.browser.picture(&format!("narrow{}", path.replace('/', "-")));
    }
}

#[test]
fn an_update_is_installed_by_the_wizard_and_seen_live() {
    let mut desk = Desk::new(&[(GOOD, "5.00.9500.1000", "[install]\nswitch = true\n")]);
    desk.site.wait_for(GOOD, 262_146);
    // What a vendor writes is text, not markup.
    let text = desk.open(&format!("/updates/{GOOD}"));
    assert!(
        text.contains("<script>alert(1)</script>") && text.contains("<b>"),
        "{text}"
    );
    desk.press("Install Update Pack");
    for _ in 0..3 {
        desk.press("Next");
    }
    let text = desk.browser.text();
    assert!(text.contains("The installation begins at once"), "{text}");
    desk.browser.picture("wizard-confirm");
    desk.press("Install");
    desk.browser
        .until("document.body.innerText.includes('Installed')");
    desk.browser.picture("installed-live");
    let status = desk.browser.text();
    assert!(status.contains("100 %"), "{status}");
    assert_eq!(desk.browser.complaints(), Vec::<String>::new());
    let messages = desk.open("/messages?period=1h");
    assert!(messages.contains("alice"), "{messages}");
}

#[test]
fn an_installation_that_fails_its_health_check_is_rolled_back_on_screen() {
    let health = "[install]\nswitch = true\n[install.health]\nprogram = \"bin/program\"\ntime-limit-s = 20\nattempts = 1\ninterval-s = 0\n";
    let mut desk = Desk::new(&[(BAD, "5.00.9500.1000", health)]);
    desk.site.wait_for(BAD, 262_146);
    desk.open(&format!("/updates/{BAD}/wizard"));
    for _ in 0..3 {
        desk.press("Next");
    }
    desk.press("Install");
    desk.browser
        .until("/rolled back|Rolled back|roll-back/.test(document.body.innerText)");
    desk.browser.picture("rolled-back");
    let overview = desk.open(&format!("/updates/{BAD}"));
    assert!(overview.contains("ailed"), "{overview}");
}

#[test]
fn nobody_else_comes_in_and_what_others_send_changes_nothing() {
    let mut desk = Desk::new(&[]);
    // Who signs out is out, in an open page too.
    desk.press("Sign out");
    assert!(desk.open("/updates").contains("Sign in"));
    // Wrong passwords lock, and the right one does not help then.
    for _ in 0..6 {
        desk.sign_in("wrong");
        assert!(desk.browser.text().contains("is wrong, or the user is locked"));
    }
    desk.sign_in(PASSWORD);
    assert!(desk.browser.text().contains("is wrong, or the user is locked"));
    let file = desk.site.dir.join("password");
    std::fs::write(&file, "another four words\n").unwrap();
    desk.site.must(&[
        "user",
        "password",
        "alice",
        "--password-file",
        &file.display().to_string(),
    ]);
    desk.sign_in("another four words");
    let text = until("the page that was asked for", || Some(desk.browser.text()));
    assert!(text.contains("Updates and Servicing"), "{text}");
    // A form without the session's word is refused, whoever sends it.
    let status = desk.browser.evaluate(
        "fetch('/servers/service-connection-point/mode', {method: 'POST', body: new URLSearchParams({mode: 'offline'})}) \
         .then(answer => answer.status)",
    );
    assert_eq!(status, 403);
    let scp = desk.site.json(&["scp", "show"]).unwrap();
    assert_eq!(scp["mode_configured"], "online");
    // The cookie is not for scripts.
    assert_eq!(desk.browser.evaluate("document.cookie"), "");
    // Everybody who only looks is shown no button and is refused what they send.
    desk.site.must(&[
        "user",
        "add",
        "bob",
        "--role",
        "full-administrator",
        "--password-file",
        &file.display().to_string(),
    ]);
    desk.site.must(&["user", "role", "alice", "read-only-analyst"]);
    let text = desk.open("/components");
    assert!(
        !text.contains("Restart") && text.contains("SMS_DMP_DOWNLOADER"),
        "{text}"
    );
    let word = "document.querySelector('input[name=_csrf]').value";
    let status = desk.browser.evaluate(&format!(
        "fetch('/components/SMS_DMP_DOWNLOADER', {{method: 'POST', body: new URLSearchParams({{_csrf: {word}, action: 'stop'}})}}) \
         .then(answer => answer.status)"
    ));
    assert_eq!(status, 403);
    desk.browser.complaints();
}
