//! Commands against a site API with fixed answers: tables for people, JSON for programs, refusals.

use std::sync::{Arc, Mutex};

use axum::extract::Request;
use axum::response::IntoResponse;
use axum::routing::any;
use axum::{Json, Router};
use serde_json::{Value, json};
use site::api::listen::serve_unix;
use tokio_util::sync::CancellationToken;

use crate::program::{Ran, Sealed};

const NEWEST: &str = "8576527E-DDE7-4E3C-A0E1-6FB0F0A3B1C4";
const OLDER: &str = "AA928926-1111-4222-8333-0123456789AB";

/// Whatever was asked of the fake site: method, path with query, body.
type Asked = Arc<Mutex<Vec<(String, String, String)>>>;

/// A site whose API answers with fixed values.
struct FakeSite {
    sealed: Sealed,
    asked: Asked,
    shutdown: CancellationToken,
    // Dropped last: it waits for the listener.
    runtime: tokio::runtime::Runtime,
}

impl FakeSite {
    fn start() -> Self {
        let sealed = Sealed::new();
        std::fs::create_dir_all(sealed.dir().join("run")).unwrap();
        let socket = sealed.dir().join("run/api.sock");
        let asked = Asked::default();
        let record = asked.clone();
        let router = Router::new().fallback(any(async move |request: Request| {
            let (parts, body) = request.into_parts();
            let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
            let target = parts.uri.to_string();
            let mut asked = record.lock().unwrap();
            let times = asked
                .iter()
                .filter(|(method, path, _)| *method == parts.method.as_str() && *path == target)
                .count();
            asked.push((
                parts.method.to_string(),
                target.clone(),
                String::from_utf8(body.to_vec()).unwrap(),
            ));
            answer(parts.method.as_str(), &target, times)
        }));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let shutdown = CancellationToken::new();
        let (path, stop) = (socket.clone(), shutdown.clone());
        runtime.spawn(async move { serve_unix(router, &path, stop).await.unwrap() });
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            std::thread::yield_now();
        }
        FakeSite {
            sealed,
            asked,
            shutdown,
            runtime,
        }
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        self.sealed.run(arguments)
    }

    /// What was asked besides looking.
    fn acts(&self) -> Vec<(String, String, String)> {
        self.asked
            .lock()
            .unwrap()
            .iter()
            .filter(|(method, ..)| method != "GET")
            .cloned()
            .collect()
    }
}

impl Drop for FakeSite {
    fn drop(&mut self) {
        self.shutdown.cancel();
        let _ = &self.runtime;
    }
}

fn state(code: u32, name: &str, label: &str) -> Value {
    json!({ "code": code, "name": name, "label": label })
}

fn update(guid: &str, name: &str, state: Value) -> Value {
    json!({
        "guid": guid, "name": name, "full_version": "5.00.9106.1000", "update_type": "update", "state": state,
        "since": "2024-01-01T00:00:00Z", "released": "2023-12-01T08:00:00Z",
        "download_bytes": 23_456_789, "bytes": 100_000_000, "newest": guid == NEWEST,
        "reason": "waiting for an administrator", "failure": null, "next_attempt_at": null,
        "blocked_by": null, "transfer": null
    })
}

fn ready() -> Value {
    update(
        NEWEST,
        "Release 2610",
        state(262_146, "DOWNLOAD_SUCCESS", "Ready to install"),
    )
}

fn site_status(update: Value, stage: &str) -> Value {
    json!([{
        "site_code": "XYZ", "update": update, "reason": "one rule warns",
        "sub_stages": [{
            "phase": "Prerequisite check", "id": 0xc0001, "name": "Run rules", "state": stage,
            "progress": 100, "detail": "2 rules", "time": "2024-01-01T00:00:00Z"
        }],
        "prerequisites": [
            { "name": "Enough memory", "category": "system-requirements", "role": "site-server", "result": "passed",
              "detail": "8 GB", "link": null, "time": "2024-01-01T00:00:00Z" },
            { "name": "Old setting", "category": "site-upgrade-requirements", "role": "site-server",
              "result": "warning", "detail": "it will go", "link": "https://vendor.example/old",
              "time": "2024-01-01T00:00:00Z" }
        ]
    }])
}

fn component(name: &str, state: &str, code: u32) -> Value {
    json!({
        "name": name, "description": "downloads", "state": state, "state_code": code,
        "active": false, "activity": "", "waiting": null, "last_started": null, "last_finished": null,
        "last_result": "never ran", "next_activation": null, "failures_in_row": 0, "failures": 0, "panics": 0,
        "activations": 0, "log_file": "Dmpdownloader.log", "log_level": "default"
    })
}

fn notification(severity: &str, standing: &str) -> Value {
    json!({
        "key": format!("disk-space-low-{severity}"), "kind": "disk-space-low", "severity": severity,
        "title": "The file system of the site runs full", "body": "1.0 GB are free.",
        "command": "tidegate content gc", "console_path": "/system-status",
        "evaluated": "every 5 minutes", "first_seen": "2024-01-01T00:00:00Z", "changed": "2024-01-01T00:00:00Z",
        "dismissible": severity != "critical", "standing": standing, "snoozed_until": null
    })
}

/// The answer to the `times`-th request (from 0) of its kind.
fn answer(method: &str, target: &str, times: usize) -> axum::response::Response {
    let path = target.strip_prefix("/v1").unwrap();
    let ok = |value: Value| Json(value).into_response();
    match (method, path) {
        ("GET", "/updates?all=false") => ok(json!([ready()])),
        ("GET", "/updates?all=true") => ok(json!([
            ready(),
            update(
                OLDER,
                "Release 2603\u{1b}[2J",
                state(393_213, "APPLICABILITY_HIDE", "Hidden")
            ),
        ])),
        ("GET", "/updates/8576527E-DDE7-4E3C-A0E1-6FB0F0A3B1C4") => {
            let mut detail = ready();
            let more = json!({
                "description": "New reports.", "locales": ["en"], "eula": null, "client_version": null,
                "min_site_version": "5.00.9078.0000", "max_site_version": null, "impact": ["console"],
                "prerequisite": null, "supersedes": [OLDER], "more_info": null, "rings": [], "rollout_percent": 100, "rollout_when": null,
                "withdrawn": null, "applicability": null, "files": 17, "redistributables": [], "features": [],
                "flag": 0, "rolled_back": false, "history": []
            });
            detail
                .as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            ok(detail)
        }
        ("GET", "/updates/AA928926-1111-4222-8333-0123456789AB/why") => ok(json!({
            "guid": OLDER, "name": "Release 2603", "state": state(393_213, "APPLICABILITY_HIDE", "Hidden"),
            "reason": "superseded by Release 2610",
            "conditions": [
                { "condition": "site version", "expected": "5.00.9078 or later", "actual": "5.00.9096", "outcome": "met" },
                { "condition": "superseded by", "expected": "nothing offered", "actual": "Release 2610", "outcome": "not-met" },
                { "condition": "rule", "expected": "host.memory_bytes >= 1", "actual": "memory is unknown", "outcome": "could-not-evaluate" }
            ]
        })),
        ("GET", "/update-status?guid=8576527E-DDE7-4E3C-A0E1-6FB0F0A3B1C4") => {
            // Every look is later than the one before.
            let now = match times {
                0 => state(65_537, "CONTENT_REPLICATING", "Replicating content"),
                1 => state(131_073, "PREREQ_IN_PROGRESS", "Checking prerequisites"),
                _ => state(
                    131_075,
                    "PREREQ_WARNING",
                    "Prerequisite check passed with warnings",
                ),
            };
            let mut moved = update(NEWEST, "Release 2610", now);
            moved["since"] = json!(format!("2024-01-02T00:00:0{}Z", times.min(9)));
            ok(site_status(
                moved,
                if times < 2 { "in progress" } else { "success" },
            ))
        }
        ("GET", "/status/thresholds") => ok(json!([
            { "component": "all", "severity": "informational", "warning_at": 2000, "critical_at": 5000, "set": false },
            { "component": "all", "severity": "warning", "warning_at": 10, "critical_at": 50, "set": false },
            { "component": "all", "severity": "error", "warning_at": 1, "critical_at": 5, "set": false }
        ])),
        ("GET", "/components/SMS_DMP_DOWNLOADER") => ok(component("SMS_DMP_DOWNLOADER", "stopped", 0)),
        ("GET", path) if path.starts_with("/components/") => {
            ok(component(&path["/components/".len()..], "started", 1))
        }
        ("GET", "/update-status?guid=AA928926-1111-4222-8333-0123456789AB") => ok(site_status(
            update(
                OLDER,
                "Release 2603",
                state(262_145, "DOWNLOAD_IN_PROGRESS", "Downloading"),
            ),
            "in progress",
        )),
        ("GET", "/status/state-messages?limit=2") => ok(json!([{
            "id": 7, "number": 3, "name": "DownloadSucceeded", "guid": NEWEST, "time": "2024-01-01T00:00:00Z",
            "detail": "17 files"
        }])),
        ("GET", path) if path.starts_with("/status/messages") => ok(json!([])),
        ("GET", "/notifications?all=false") => ok(json!([notification("critical", "shown")])),
        ("GET", "/notifications?all=true") => ok(json!([
            notification("critical", "shown"),
            notification("warning", "dismissed")
        ])),
        ("POST", "/notifications/disk-space-low/snooze") => {
            ok(json!({ "key": "disk-space-low", "until": "2024-01-08T00:00:00Z" }))
        }
        ("POST", "/updates/8576527E-DDE7-4E3C-A0E1-6FB0F0A3B1C4/download") => {
            let problem = json!({
                "title": "Conflict",
                "status": 409,
                "detail": "package Release 2603 is installing, and nothing else downloads meanwhile",
                "hint": "see how far it is: tidegate updates status"
            });
            (axum::http::StatusCode::CONFLICT, Json(problem)).into_response()
        }
        ("POST", _) => axum::http::StatusCode::ACCEPTED.into_response(),
        ("PUT", _) => axum::http::StatusCode::NO_CONTENT.into_response(),
        _ => (
            axum::http::StatusCode::NOT_FOUND,
            Json(json!({ "title": "Not Found", "status": 404, "detail": format!("no {target}") })),
        )
            .into_response(),
    }
}

#[test]
fn lists_for_people_are_aligned_and_harmless() {
    let ran = FakeSite::start().run(&["updates", "list", "--all"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let lines: Vec<&str> = ran.out.lines().collect();
    assert!(lines[0].starts_with("GUID      NAME"), "{}", ran.out);
    assert!(lines[1].starts_with("8576527E  Release 2610"), "{}", ran.out);
    assert!(
        lines[2].starts_with("AA928926  Release 2603\u{fffd}[2J"),
        "{}",
        ran.out
    );
    assert!(
        lines[1].contains("Ready to install") && lines[1].contains("23.5 MB"),
        "{}",
        ran.out
    );
    let column = |line: &str, word: &str| line.split(word).next().map(|before| before.chars().count());
    assert_eq!(column(lines[0], "STATE"), column(lines[1], "Ready"));
    assert_eq!(column(lines[0], "STATE"), column(lines[2], "Hidden"));
}

#[test]
fn lists_for_programs_are_the_apis_types() {
    let site = FakeSite::start();
    insta::assert_snapshot!("updates_list_json", site.run(&["updates", "list", "--json"]).out);
    insta::assert_snapshot!(
        "updates_show_json",
        site.run(&["updates", "show", "8576", "--json"]).out
    );
    insta::assert_snapshot!(
        "updates_why_json",
        site.run(&["updates", "why", "aa92", "--json"]).out
    );
    insta::assert_snapshot!(
        "thresholds_json",
        site.run(&["status", "thresholds", "--json"]).out
    );
    insta::assert_snapshot!(
        "component_json",
        site.run(&["component", "query", "sms_dmp_downloader", "--json"])
            .out
    );
    assert_eq!(site.run(&["status", "messages", "--json"]).out, "[]\n");
}

#[test]
fn conditions_for_people() {
    let site = FakeSite::start();
    insta::assert_snapshot!("updates_why", site.run(&["updates", "why", "AA928926"]).out);
    insta::assert_snapshot!("thresholds", site.run(&["status", "thresholds"]).out);
}

#[test]
fn filters_reach_the_site() {
    let site = FakeSite::start();
    let ran = site.run(&[
        "status",
        "messages",
        "--component",
        "sms_executive",
        "--severity",
        "error",
        "--id",
        "5",
        "--since",
        "2026-11-21T00:00:00Z",
        "--limit",
        "7",
    ]);
    assert_eq!(
        (ran.code, ran.out.as_str(), ran.err.as_str()),
        (0, "", "no status messages match\n")
    );
    let asked = site.asked.lock().unwrap();
    assert_eq!(
        asked.last().unwrap().1,
        "/v1/status/messages?component=SMS_EXECUTIVE&severity=error&id=5&since=2026-11-21T00%3A00%3A00Z&limit=7"
    );
}

#[test]
fn a_refusal_is_the_sites_sentence_and_advice() {
    let ran = FakeSite::start().run(&["updates", "download", "8576527E"]);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (
            1,
            "error: package Release 2603 is installing, and nothing else downloads meanwhile\n\
             hint: see how far it is: tidegate updates status\n"
        )
    );
}

#[test]
fn packages_that_are_not_meant_by_anything() {
    let ran = FakeSite::start().run(&["updates", "show", "FFFF"]);
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (
            1,
            "error: no update package is meant by \"FFFF\"\n\
             hint: see them all, hidden ones too: tidegate updates list --all\n"
        )
    );
}

#[test]
fn work_is_asked_for_and_followed() {
    let site = FakeSite::start();
    let ran = site.run(&["updates", "prereq", "8576527E", "--wait"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(
        ran.out
            .starts_with("Release 2610 5.00.9106.1000: Prerequisite check passed with warnings\n"),
        "{}",
        ran.out
    );
    assert!(ran.out.contains("warning  Old setting"), "{}", ran.out);
    assert!(
        ran.err
            .contains("     done Prerequisite check: Run rules: 2 rules\n"),
        "{}",
        ran.err
    );
    let acts = site.acts();
    assert_eq!(acts.len(), 1);
    assert_eq!(acts[0].1, format!("/v1/updates/{NEWEST}/prereq"));
}

#[test]
fn work_of_a_stopped_component_is_not_waited_for() {
    let ran = FakeSite::start().run(&["updates", "prereq", OLDER, "--wait", "--quiet"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert_eq!(
        ran.err,
        "error: SMS_DMP_DOWNLOADER is stopped, so nothing is going to happen\n\
         hint: what was asked for is done once it is started: tidegate component start SMS_DMP_DOWNLOADER\n"
    );
}

#[test]
fn waiting_ends_with_its_time() {
    let ran = FakeSite::start().run(&[
        "updates",
        "install",
        NEWEST,
        "--wait",
        "--timeout",
        "0s",
        "--quiet",
    ]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert_eq!(
        ran.err,
        "error: it is not over after 0 s\n\
         hint: the site goes on with it; see how it stands: tidegate updates status\n"
    );
}

#[test]
fn state_messages_for_people_and_programs() {
    let site = FakeSite::start();
    let ran = site.run(&["status", "state-messages", "--limit", "2"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(
        ran.out
            .lines()
            .nth(1)
            .is_some_and(|line| line.contains("3  8576527E  DownloadSucceeded  17 files")),
        "{}",
        ran.out
    );
    let ran = site.run(&["status", "state-messages", "--limit", "2", "--json"]);
    let messages: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(messages[0]["number"], 3);
}

#[test]
fn an_installation_that_stops_at_warnings_has_failed() {
    let site = FakeSite::start();
    let ran = site.run(&[
        "updates",
        "install",
        "8576527E",
        "--feature-on",
        "F1",
        "--wait",
        "--quiet",
    ]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert_eq!(
        ran.err,
        "error: Release 2610 is in state \"Prerequisite check passed with warnings\": one rule warns\n\
         hint: read them with `tidegate updates status`, then run `tidegate updates ignore-warnings` or `retry` for this package\n"
    );
    assert_eq!(
        site.acts()[0].2,
        "{\"ignore_warnings\":false,\"features_on\":[\"F1\"],\"features_off\":[]}"
    );
}

#[test]
fn acts_say_how_to_follow_them() {
    let site = FakeSite::start();
    let ran = site.run(&["updates", "retry", NEWEST]);
    assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{}", ran.err);
    assert_eq!(
        ran.err,
        "accepted: Release 2610; follow it with tidegate updates status 8576527E\n"
    );
    let ran = site.run(&["component", "log-level", "SMS_DMP_DOWNLOADER", "0"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(site.acts().last().unwrap().2, "{\"level\":\"verbose\"}");
}

#[test]
fn notifications_are_listed_dismissed_and_snoozed() {
    let site = FakeSite::start();
    let listed = site.run(&["notifications", "list"]);
    assert_eq!(listed.code, 0, "{}", listed.err);
    assert!(
        listed.out.contains("disk-space-low-critical")
            && listed.out.contains("1.0 GB are free. See: tidegate content gc")
            && !listed.out.contains("Dismissed by you"),
        "{}",
        listed.out
    );
    let all = site.run(&["notifications", "list", "--all"]);
    assert!(all.out.contains("Dismissed by you."), "{}", all.out);
    let json = site.run(&["notifications", "list", "--json"]);
    let list: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(list[0]["severity"], "critical");

    let dismissed = site.run(&["notifications", "dismiss", "disk-space-low"]);
    assert_eq!(dismissed.code, 0, "{}", dismissed.err);
    let snoozed = site.run(&[
        "notifications",
        "snooze",
        "disk-space-low",
        "--for",
        "week",
        "--json",
    ]);
    let until: Value = serde_json::from_str(&snoozed.out).unwrap();
    assert_eq!(until["until"], "2024-01-08T00:00:00Z");
    let asked: Vec<(String, String)> = site
        .acts()
        .into_iter()
        .map(|(_, target, body)| (target, body))
        .collect();
    assert_eq!(asked[0].0, "/v1/notifications/disk-space-low/dismiss");
    assert_eq!(
        asked[1],
        (
            "/v1/notifications/disk-space-low/snooze".to_owned(),
            r#"{"for":"week"}"#.to_owned()
        )
    );
    let wrong = site.run(&["notifications", "snooze", "disk-space-low", "--for", "fortnight"]);
    assert_eq!(wrong.code, 2);
    assert!(wrong.err.contains("hour, day, week or month"), "{}", wrong.err);
}
