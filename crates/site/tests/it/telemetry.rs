//! Telemetry of a running site to a stub of an OpenTelemetry receiver on this machine.

use std::time::Duration;

use serde_json::Value;

use crate::alerts::{Hook, site_with};
use crate::status_system::running_from;
use crate::until;

/// Longer than any wait between two attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(11 * 60);

/// Ids of the records of a request.
fn records(body: &[u8]) -> Vec<u64> {
    let request: Value = serde_json::from_slice(body).unwrap();
    let records = &request["resourceLogs"][0]["scopeLogs"][0]["logRecords"];
    let id = |record: &Value| {
        let value = &record["attributes"][0];
        assert_eq!(value["key"], "tidegate.record.id");
        value["value"]["intValue"].as_str().unwrap().parse().unwrap()
    };
    records.as_array().unwrap().iter().map(id).collect()
}

/// Requests to this path that were answered after the first `from`.
fn to(hook: &Hook, path: &str, from: usize) -> Vec<Vec<u8>> {
    let begin = format!("post {path} http/1.1");
    let requests = hook.requests().into_iter().skip(from);
    requests
        .filter(|(head, _)| head.starts_with(&begin))
        .map(|(_, body)| body)
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_come_again_and_each_message_once() {
    // Metrics are taken; messages are refused at first.
    let hook = Hook::start(&[200, 503, 200]).await;
    let mut site = site_with(&format!(
        "[telemetry]\notlp_endpoint = \"http://127.0.0.1:{}\"\notlp_header = \"hook.key\"\ninterval_s = 60\n",
        hook.port
    ))
    .await;
    // A file without a header opens nothing, and the reason does not repeat it.
    let waiting = until("the refusal of the header", || {
        let component = crate::status_system::ask(
            &site,
            "GET",
            "/components/TIDEGATE_TELEMETRY_EXPORT",
            &Value::Null,
            200,
        );
        component["waiting"]["what"].as_str().map(str::to_owned)
    })
    .await;
    assert!(waiting.contains("hook.key holds no header"), "{waiting}");
    assert!(!waiting.contains("of the hook") && hook.requests().is_empty());

    std::fs::write(
        site.dir().join("secrets/hook.key"),
        "Authorization: Bearer T0KEN\n",
    )
    .unwrap();
    site.clock.advance(LONGEST_WAIT);
    until("the first messages", || {
        (hook.requests().len() == 2).then_some(())
    })
    .await;
    let (head, body) = hook.requests().remove(0);
    assert!(head.contains("authorization: bearer t0ken"), "{head}");
    let metrics: Value = serde_json::from_slice(&body).unwrap();
    let all = metrics["resourceMetrics"][0]["scopeMetrics"][0]["metrics"]
        .as_array()
        .unwrap()
        .clone();
    assert!(
        all.iter()
            .any(|metric| metric["name"] == "tidegate_component_state"),
        "{all:?}"
    );
    let refused = records(&to(&hook, "/v1/logs", 0)[0]);
    assert!(!refused.is_empty());

    site.clock.advance(LONGEST_WAIT);
    let taken = until("the messages again", || to(&hook, "/v1/logs", 2).pop()).await;
    let taken = records(&taken);
    assert!(taken.starts_with(&refused), "{refused:?} {taken:?}");
    assert!(taken.windows(2).all(|pair| pair[0] < pair[1]), "{taken:?}");
    let before = hook.requests().len();
    site.stop().await;
    let site = running_from(site).await;
    let after = until("messages after the start", || to(&hook, "/v1/logs", before).pop()).await;
    assert!(records(&after)[0] > *taken.last().unwrap(), "none is told twice");
    drop(site);
}
