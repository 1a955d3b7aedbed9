//! The status system of a running site, over its API: thresholds, rules, and what follows from them.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};

use crate::until;
use crate::usage_weeks::{Site, day};

/// One request over the local socket: status code and answer.
fn call(site: &Site, method: &str, path: &str, body: &Value) -> Option<(u16, Value)> {
    let mut stream = UnixStream::connect(site.dir().join("run/api.sock")).ok()?;
    let body = match body {
        Value::Null => String::new(),
        body => body.to_string(),
    };
    let request = format!(
        "{method} /v1{path} HTTP/1.1\r\nHost: site\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, serde_json::from_str(body).unwrap_or(Value::Null)))
}

/// The same for a site that runs; the answer has to be this status.
pub fn ask(site: &Site, method: &str, path: &str, body: &Value, expected: u16) -> Value {
    let (status, answer) = call(site, method, path, body).unwrap();
    assert_eq!(status, expected, "{method} {path}: {answer}");
    answer
}

async fn running() -> Site {
    running_from(Site::new()).await
}

/// Starts a site and waits until every component has looked once.
pub async fn running_from(mut site: Site) -> Site {
    site.start();
    until("an answer of the API", || {
        let (status, answer) = call(&site, "GET", "/components", &Value::Null)?;
        let quiet = |component: &Value| component["last_started"].is_string() && component["active"] == false;
        let name = |component: &&Value| component["name"] != "SMS_EXECUTIVE";
        (status == 200 && answer.as_array()?.iter().filter(name).all(quiet)).then_some(())
    })
    .await;
    site
}

/// What the summary says of a component, by the given tally interval.
fn summary(site: &Site, component: &str, token: &str) -> Value {
    let all = ask(
        site,
        "GET",
        &format!("/status/components?tally={token}"),
        &Value::Null,
        200,
    );
    let found = all
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["component"] == component);
    found.cloned().unwrap_or(Value::Null)
}

const MIDNIGHT: &str = "0001128000100008";
const INSTALLATION: &str = "0001128000080008";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thresholds_are_set_counted_by_and_taken_back() {
    let mut site = running().await;
    let path = "/status/thresholds/SMS_EXECUTIVE";
    let wrong = json!({ "severity": "error", "warning_at": 6, "critical_at": 5 });
    let refused = ask(&site, "PUT", path, &wrong, 400);
    assert!(
        refused["detail"]
            .as_str()
            .unwrap()
            .contains("warning at 6 is above")
    );
    ask(
        &site,
        "PUT",
        "/status/thresholds/SMS_NOTHING",
        &json!({ "severity": "error", "warning_at": 1, "critical_at": 5 }),
        404,
    );
    assert_eq!(summary(&site, "SMS_EXECUTIVE", MIDNIGHT)["status"], "OK");
    // The audit messages of these changes are the executive's own informational ones.
    let one = json!({ "severity": "informational", "warning_at": 1, "critical_at": 3 });
    let all = ask(&site, "PUT", path, &one, 200);
    let own: Vec<&Value> = all
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["component"] == "SMS_EXECUTIVE")
        .collect();
    assert_eq!(own.len(), 3);
    assert_eq!(
        (&own[0]["critical_at"], &own[0]["set"]),
        (&json!(3), &json!(true))
    );
    assert_eq!(
        (&own[2]["critical_at"], &own[2]["set"]),
        (&json!(5), &json!(false))
    );
    assert_eq!(summary(&site, "SMS_EXECUTIVE", MIDNIGHT)["status"], "Warning");
    ask(&site, "PUT", path, &one, 200);
    ask(&site, "PUT", path, &one, 200);
    assert_eq!(summary(&site, "SMS_EXECUTIVE", MIDNIGHT)["status"], "Critical");
    let audits = ask(&site, "GET", "/status/messages?id=60243", &Value::Null, 200);
    assert_eq!(audits.as_array().unwrap().len(), 3);
    assert_eq!(audits[0]["message_type"], "audit");
    ask(&site, "DELETE", path, &Value::Null, 200);
    assert_eq!(summary(&site, "SMS_EXECUTIVE", MIDNIGHT)["status"], "OK");

    // Acceptance fact 7: the next day counts from zero, the installation never; other tokens have no data.
    let counted = summary(&site, "SMS_EXECUTIVE", INSTALLATION)["informational"]
        .as_u64()
        .unwrap();
    assert!(counted >= 4);
    site.clock.set(day(1));
    let today = summary(&site, "SMS_EXECUTIVE", MIDNIGHT);
    assert_eq!(today["informational"], 0, "{today}");
    let ever = summary(&site, "SMS_EXECUTIVE", INSTALLATION)["informational"]
        .as_u64()
        .unwrap();
    assert!(ever >= counted);
    assert_eq!(summary(&site, "SMS_EXECUTIVE", "0001128000100009"), Value::Null);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_decide_what_is_written_and_counted() {
    let mut site = running().await;
    // The message that a component stopped, raised when an administrator stops it.
    let stop = json!({ "action": "stop" });
    let component = "SMS_STATE_SYSTEM";
    let raise = async |expected: u64| {
        let (path, before) = (format!("/components/{component}/action"), audits(&site));
        ask(&site, "POST", &path, &stop, 202);
        ask(&site, "POST", &path, &json!({ "action": "start" }), 202);
        until("both audits", || (audits(&site) == before + 2).then_some(())).await;
        until(&format!("{expected} counted"), || {
            (counted(&site, component) == expected).then_some(())
        })
        .await;
    };
    let before = counted(&site, component);
    raise(before + 2).await;

    let rule = |name: &str, criteria: Value, actions: Value| json!({ "rule": { "name": name, "criteria": criteria, "actions": actions } });
    let of_component = json!({ "component": component });
    let nothing = rule("nothing", json!({}), json!({ "stop": true }));
    let refused = ask(&site, "POST", "/status/rules", &nothing, 400);
    assert!(refused["detail"].as_str().unwrap().contains("matches no message"));
    // Acceptance fact 8: counters stay; here nothing is written either.
    let hush = rule(
        "hush",
        of_component.clone(),
        json!({ "do_not_forward": true, "stop": true }),
    );
    ask(&site, "POST", "/status/rules", &hush, 200);
    ask(&site, "POST", "/status/rules", &hush, 409);
    let written = messages(&site, component).len();
    raise(before + 2).await;
    assert_eq!(messages(&site, component).len(), written);
    // Off, it does nothing.
    ask(
        &site,
        "PUT",
        "/status/rules/hush",
        &json!({ "enabled": false }),
        200,
    );
    raise(before + 4).await;
    until("two more messages", || {
        (messages(&site, component).len() == written + 2).then_some(())
    })
    .await;
    // Dropped from the database, counted all the same.
    let drop = rule("drop", of_component, json!({ "stop": true }));
    ask(&site, "POST", "/status/rules", &drop, 200);
    raise(before + 6).await;
    assert_eq!(messages(&site, component).len(), written + 2);
    let moved = ask(&site, "PUT", "/status/rules/drop", &json!({ "place": 1 }), 200);
    assert_eq!(moved[0]["name"], "drop");
    ask(&site, "DELETE", "/status/rules/drop", &Value::Null, 200);
    ask(&site, "DELETE", "/status/rules/drop", &Value::Null, 404);
    // An act of an administrator cannot be hidden.
    let hide = rule("hide", json!({ "type": "audit" }), json!({ "stop": true }));
    ask(&site, "POST", "/status/rules", &hide, 400);
    let hide = rule(
        "hide",
        json!({ "message_type": "audit" }),
        json!({ "stop": true }),
    );
    ask(&site, "POST", "/status/rules", &hide, 200);
    ask(&site, "DELETE", "/status/rules/hush", &Value::Null, 200);
    let changes = ask(&site, "GET", "/status/messages?id=60245", &Value::Null, 200);
    let texts: Vec<&str> = changes
        .as_array()
        .unwrap()
        .iter()
        .rev()
        .map(|message| message["insertion_strings"][2].as_str().unwrap())
        .collect();
    assert_eq!(
        texts,
        [
            "added at the end",
            "switched off",
            "added at the end",
            "moved to place 1",
            "removed",
            "added at the end",
            "removed"
        ]
    );
    site.stop().await;
}

fn audits(site: &Site) -> usize {
    let found = ask(
        site,
        "GET",
        "/status/messages?id=60208&limit=1000",
        &Value::Null,
        200,
    );
    found.as_array().unwrap().len()
}

fn counted(site: &Site, component: &str) -> u64 {
    summary(site, component, INSTALLATION)["informational"]
        .as_u64()
        .unwrap()
}

fn messages(site: &Site, component: &str) -> Vec<Value> {
    let path = format!("/status/messages?component={component}&limit=1000");
    let found = ask(site, "GET", &path, &Value::Null, 200);
    found.as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_are_deleted_by_record_and_by_filter() {
    let mut site = running().await;
    let component = "SMS_STATE_SYSTEM";
    let refused = |body: Value| ask(&site, "POST", "/status/messages/delete", &body, 400);
    refused(json!({}));
    refused(json!({ "record_ids": [1], "component": component }));
    refused(json!({ "record_ids": (0..257).collect::<Vec<i64>>() }));
    refused(json!({ "severity": "loud" }));

    let all = ask(&site, "GET", "/status/messages?limit=1000", &Value::Null, 200);
    let newest = all[0]["record_id"].as_i64().unwrap();
    let counted_before = counted(&site, component);
    let gone = ask(
        &site,
        "POST",
        "/status/messages/delete",
        &json!({ "record_ids": [newest, newest + 1000] }),
        200,
    );
    assert_eq!(gone, json!({ "deleted": 1, "more": false }));
    let audits = ask(&site, "GET", "/status/messages?id=60246", &Value::Null, 200);
    // The audit is newer than what it tells of; no number comes twice.
    assert!(audits[0]["record_id"].as_i64().unwrap() > newest);

    assert!(!messages(&site, component).is_empty());
    site.clock.set(day(1));
    let gone = ask(
        &site,
        "POST",
        "/status/messages/delete",
        &json!({ "component": component, "before": day(1).to_string() }),
        200,
    );
    assert!(gone["deleted"].as_u64().unwrap() >= 1);
    assert_eq!(messages(&site, component).len(), 0);
    assert_eq!(counted(&site, component), counted_before);
    let audits = ask(&site, "GET", "/status/messages?id=60246", &Value::Null, 200);
    assert_eq!(audits.as_array().unwrap().len(), 2);
    assert!(audits[0]["text"].as_str().unwrap().contains(component));
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn free_space_is_looked_at_on_the_hour_and_told_when_it_changes() {
    let mut site = running().await;
    let database = |site: &Site| {
        let systems = ask(site, "GET", "/status/systems", &Value::Null, 200);
        assert_eq!(systems[0]["object"], "file-system");
        systems[1].clone()
    };
    let seen = database(&site);
    assert_eq!(seen["warning_below_kib"], 10_485_760);
    assert_eq!(seen["critical_below_kib"], 5_242_880);
    assert!(seen["free_kib"].as_u64().unwrap() > 0);
    let path = "/status/systems/database";
    let set =
        |warning: u64, critical: u64| json!({ "warning_below_kib": warning, "critical_below_kib": critical });
    ask(&site, "PUT", path, &set(1, 2), 400);
    ask(&site, "PUT", "/status/systems/cellar", &set(2, 1), 404);
    // More than any disk of this test has: critical at once, told once.
    let told = |site: &Site, id: u32| {
        let path = format!("/status/messages?id={id}");
        ask(site, "GET", &path, &Value::Null, 200)
            .as_array()
            .unwrap()
            .iter()
            .filter(|message| message["insertion_strings"][0] == "database")
            .count()
    };
    ask(&site, "PUT", path, &set(1 << 40, 1 << 40), 200);
    until("the critical message", || (told(&site, 60248) == 1).then_some(())).await;
    assert_eq!(database(&site)["status"], "Critical");
    let summarizer = "SMS_SITE_SYSTEM_STATUS_SUMMARIZER";
    assert_eq!(summary(&site, summarizer, MIDNIGHT)["status"], "Warning");
    // The next look is on the hour and has nothing new to tell.
    let next = ask(
        &site,
        "GET",
        &format!("/components/{summarizer}"),
        &Value::Null,
        200,
    );
    let next: jiff::Timestamp = next["next_activation"].as_str().unwrap().parse().unwrap();
    assert_eq!(next.as_second() % 900, 0);
    site.clock.set(next);
    until("the next look", || {
        (database(&site)["checked_at"] == next.to_string()).then_some(())
    })
    .await;
    assert_eq!(told(&site, 60248), 1);
    ask(&site, "PUT", path, &set(0, 0), 200);
    until("the end of the trouble", || {
        (told(&site, 60249) == 1).then_some(())
    })
    .await;
    let reset = ask(&site, "DELETE", path, &Value::Null, 200);
    assert_eq!(
        (&reset[1]["set"], &reset[1]["warning_below_kib"]),
        (&json!(false), &json!(10_485_760))
    );
    site.stop().await;
}
