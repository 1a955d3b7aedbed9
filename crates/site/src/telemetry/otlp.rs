//! The OpenTelemetry protocol in JSON (OTLP 1.x, "JSON Protobuf Encoding"): names in camelCase, 64-bit whole numbers as
//! texts, enumerations as numbers. Pure.

use jiff::Timestamp;
use serde_json::{Value, json};
use store::StatusMessageRow;

/// Cumulative since the process began (`AGGREGATION_TEMPORALITY_CUMULATIVE`).
const CUMULATIVE: u32 = 2;
/// Severity numbers of the log data model.
const INFO: u32 = 9;
const WARN: u32 = 13;
const ERROR: u32 = 17;

/// Who tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// Site code.
    pub site: String,
    /// Keyed hash of the hierarchy's id: tells hierarchies apart and names none.
    pub hierarchy: String,
    /// Name of the machine.
    pub host: String,
    /// When the process began.
    pub started: Timestamp,
}

impl Resource {
    fn to_json(&self) -> Value {
        json!({ "attributes": [
            text("service.name", "tidegate"),
            text("service.namespace", &self.hierarchy),
            text("service.instance.id", &self.site),
            text("service.version", env!("CARGO_PKG_VERSION")),
            text("host.name", &self.host),
        ] })
    }
}

fn scope() -> Value {
    json!({ "name": "tidegate", "version": env!("CARGO_PKG_VERSION") })
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

fn whole(key: &str, value: i64) -> Value {
    json!({ "key": key, "value": { "intValue": value.to_string() } })
}

fn nanos(at: Timestamp) -> String {
    at.as_nanosecond().max(0).to_string()
}

/// The metrics of an exposition in OpenMetrics text, as `ExportMetricsServiceRequest`.
pub fn metrics(exposition: &str, resource: &Resource, now: Timestamp) -> Value {
    let mut metrics: Vec<Metric> = Vec::new();
    for line in exposition.lines() {
        match line.strip_prefix("# ") {
            Some(comment) => {
                let mut words = comment.splitn(3, ' ');
                let (word, name, rest) = (words.next(), words.next(), words.next());
                let (Some(word), Some(name)) = (word, name) else {
                    continue;
                };
                if metrics.last().is_none_or(|metric| metric.name != name) {
                    metrics.push(Metric {
                        name: name.to_owned(),
                        ..Metric::default()
                    });
                }
                let (Some(metric), Some(rest)) = (metrics.last_mut(), rest) else {
                    continue;
                };
                match word {
                    "HELP" => rest.clone_into(&mut metric.help),
                    "TYPE" => metric.counts = rest == "counter",
                    "UNIT" => rest.clone_into(&mut metric.unit),
                    _ => {}
                }
            }
            None => {
                if let (Some(metric), Some(point)) = (metrics.last_mut(), sample(line)) {
                    metric.points.push(point);
                }
            }
        }
    }
    let metrics: Vec<Value> = metrics
        .iter()
        .filter(|metric| !metric.points.is_empty())
        .map(|metric| metric.to_json(resource.started, now))
        .collect();
    json!({ "resourceMetrics": [{
        "resource": resource.to_json(),
        "scopeMetrics": [{ "scope": scope(), "metrics": metrics }],
    }] })
}

#[derive(Default)]
struct Metric {
    name: String,
    help: String,
    unit: String,
    /// A counter; else a gauge.
    counts: bool,
    points: Vec<Point>,
}

struct Point {
    labels: Vec<(String, String)>,
    value: f64,
}

impl Metric {
    fn to_json(&self, started: Timestamp, now: Timestamp) -> Value {
        let points: Vec<Value> = self
            .points
            .iter()
            .map(|point| {
                let labels: Vec<Value> = point.labels.iter().map(|(key, value)| text(key, value)).collect();
                let mut json =
                    json!({ "attributes": labels, "timeUnixNano": nanos(now), "asDouble": point.value });
                if self.counts {
                    json["startTimeUnixNano"] = nanos(started).into();
                }
                json
            })
            .collect();
        let unit = match self.unit.as_str() {
            "seconds" => "s",
            other => other,
        };
        let mut json = json!({ "name": self.name, "description": self.help, "unit": unit });
        match self.counts {
            true => {
                json["sum"] = json!({
                    "dataPoints": points, "aggregationTemporality": CUMULATIVE, "isMonotonic": true,
                });
            }
            false => json["gauge"] = json!({ "dataPoints": points }),
        }
        json
    }
}

/// `name{label="value",…} value`
fn sample(line: &str) -> Option<Point> {
    let (labels, value) = match line.find('{') {
        Some(begin) => {
            let (labels, rest) = labels(&line[begin + 1..])?;
            (labels, rest)
        }
        None => (Vec::new(), line.split_once(' ')?.1),
    };
    let value: f64 = value.split_whitespace().next()?.parse().ok()?;
    value.is_finite().then_some(Point { labels, value })
}

/// The labels up to the closing brace, and what follows it.
fn labels(text: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return Some((found, after));
        }
        let (name, after) = rest.trim_start_matches(',').split_once("=\"")?;
        let mut value = String::new();
        let mut characters = after.char_indices();
        let end = loop {
            match characters.next()? {
                (at, '"') => break at,
                (_, '\\') => match characters.next()?.1 {
                    'n' => value.push('\n'),
                    other => value.push(other),
                },
                (_, other) => value.push(other),
            }
        };
        found.push((name.to_owned(), value));
        rest = &after[end + 1..];
    }
}

/// Status messages as log records, as `ExportLogsServiceRequest`.
pub fn logs(messages: &[StatusMessageRow], resource: &Resource, now: Timestamp) -> Value {
    let records: Vec<Value> = messages
        .iter()
        .map(|row| {
            let message = &row.message;
            let severity = domain::status_message::Severity::from_code(message.severity);
            let (number, word) = match severity {
                Some(domain::status_message::Severity::Error) => (ERROR, "ERROR"),
                Some(domain::status_message::Severity::Warning) => (WARN, "WARN"),
                Some(domain::status_message::Severity::Informational) | None => (INFO, "INFO"),
            };
            json!({
                "timeUnixNano": nanos(message.recorded_at),
                "observedTimeUnixNano": nanos(now),
                "severityNumber": number,
                "severityText": word,
                "body": { "stringValue": message.text },
                "attributes": [
                    whole("tidegate.record.id", row.record_id),
                    whole("tidegate.message.id", i64::from(message.message_id)),
                    text("tidegate.component", &message.component),
                    text("tidegate.site", &message.site_code),
                    text("host.name", &message.machine),
                    whole("process.pid", i64::from(message.process_id)),
                ],
            })
        })
        .collect();
    json!({ "resourceLogs": [{
        "resource": resource.to_json(),
        "scopeLogs": [{ "scope": scope(), "logRecords": records }],
    }] })
}

/// What a receiver did not take of what it answered to, in its own words; nothing where it took everything.
pub fn rejected(answer: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    let partial = answer.get("partialSuccess")?;
    let count = ["rejectedDataPoints", "rejectedLogRecords"]
        .iter()
        .find_map(|name| partial.get(*name))?;
    let count = match count {
        Value::String(count) => count.parse().ok()?,
        other => other.as_u64()?,
    };
    let why = partial
        .get("errorMessage")
        .and_then(Value::as_str)
        .unwrap_or_default();
    (count > 0).then(|| {
        format!(
            "{count} were not taken: {}",
            why.chars().take(200).collect::<String>()
        )
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use store::NewStatusMessage;

    use super::*;

    fn resource() -> Resource {
        Resource {
            site: "TG1".into(),
            hierarchy: "abc".into(),
            host: "server".into(),
            started: Timestamp::from_second(1_795_000_000).unwrap(),
        }
    }

    const NOW: &str = "2026-11-21T10:00:00Z";

    #[test]
    fn gauges_counters_units_and_labels() {
        let exposition = "# HELP tidegate_component_state 0 stopped, 1 started.\n# TYPE tidegate_component_state gauge\n\
            tidegate_component_state{component=\"SMS_EXECUTIVE\"} 1\n\
            # HELP tidegate_component_panics Panics.\n# TYPE tidegate_component_panics counter\n\
            tidegate_component_panics_total{component=\"a\\\"b\\\\c\\n{d}\",x=\"\"} 3\n\
            # HELP tidegate_took_seconds Time.\n# TYPE tidegate_took_seconds gauge\n# UNIT tidegate_took_seconds seconds\n\
            tidegate_took_seconds 0.25\n# HELP tidegate_empty Nothing.\n# TYPE tidegate_empty gauge\n# EOF\n";
        let now: Timestamp = NOW.parse().unwrap();
        let sent = metrics(exposition, &resource(), now);
        let all = &sent["resourceMetrics"][0]["scopeMetrics"][0]["metrics"];
        assert_eq!(all.as_array().unwrap().len(), 3, "{all}");
        let state = &all[0]["gauge"]["dataPoints"][0];
        assert_eq!(state["asDouble"], 1.0);
        assert_eq!(state["timeUnixNano"], "1795255200000000000");
        assert_eq!(
            state["attributes"][0],
            json!({"key": "component", "value": {"stringValue": "SMS_EXECUTIVE"}})
        );
        let panics = &all[1]["sum"];
        assert_eq!(
            (&panics["aggregationTemporality"], &panics["isMonotonic"]),
            (&json!(2), &json!(true))
        );
        let point = &panics["dataPoints"][0];
        assert_eq!(point["startTimeUnixNano"], "1795000000000000000");
        assert_eq!(point["attributes"][0]["value"]["stringValue"], "a\"b\\c\n{d}");
        assert_eq!(
            (&all[2]["unit"], &all[2]["description"]),
            (&json!("s"), &json!("Time."))
        );
    }

    #[test]
    fn messages_are_records() {
        let row = StatusMessageRow {
            record_id: 7,
            message: NewStatusMessage {
                message_id: 5035,
                severity: domain::status_message::Severity::Warning.code(),
                message_type: 0,
                component: "SMS_SITE_BACKUP".into(),
                machine: "server".into(),
                site_code: "TG1".into(),
                process_id: 42,
                recorded_at: NOW.parse().unwrap(),
                text: "The backup".into(),
                insertion_strings: Vec::new(),
            },
        };
        let sent = logs(&[row], &resource(), NOW.parse().unwrap());
        let record = &sent["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0];
        assert_eq!(
            (&record["severityNumber"], &record["severityText"]),
            (&json!(13), &json!("WARN"))
        );
        assert_eq!(record["body"]["stringValue"], "The backup");
        assert_eq!(record["attributes"][1]["value"]["intValue"], "5035");
    }

    #[test]
    fn what_a_receiver_did_not_take_is_told() {
        assert_eq!(rejected(b"{}"), None);
        assert_eq!(rejected(b"no json"), None);
        assert_eq!(
            rejected(b"{\"partialSuccess\":{\"rejectedDataPoints\":\"0\"}}"),
            None
        );
        let answer = b"{\"partialSuccess\":{\"rejectedLogRecords\":\"3\",\"errorMessage\":\"too old\"}}";
        assert_eq!(rejected(answer).as_deref(), Some("3 were not taken: too old"));
    }

    proptest! {
        #[test]
        fn any_text_is_some_request(text in "(# (HELP|TYPE) \\PC{0,20}\n|[a-z]{1,5}[{\"=,}\\\\n]{0,6} [0-9.e]{0,5}\n){0,20}") {
            let now: Timestamp = NOW.parse().unwrap();
            prop_assert!(metrics(&text, &resource(), now)["resourceMetrics"].is_array());
        }
    }
}
