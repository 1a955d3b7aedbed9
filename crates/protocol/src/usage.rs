//! Usage data as bytes: one canonical form, the same for preview, export and upload.

use std::collections::BTreeMap;

use domain::usage_data::{Level, Value};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Version of the form.
pub const FORMAT: u32 = 1;
/// Seconds that the time of collection is cut down to: an hour says enough.
const HOUR_S: i64 = 3_600;

/// A report as it is read back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsageReport {
    /// Hour of the collection.
    pub collected: Timestamp,
    /// Version of the form.
    pub format: u32,
    /// Level.
    pub level: String,
    /// Values by name of the dictionary.
    pub values: BTreeMap<String, serde_json::Value>,
}

/// The bytes of a report: JSON without blanks, keys sorted, whole numbers only, one line end.
pub fn canonical(level: Level, collected: Timestamp, values: &BTreeMap<&'static str, Value>) -> String {
    let hour = Timestamp::from_second(collected.as_second().div_euclid(HOUR_S) * HOUR_S).unwrap_or(collected);
    let values: BTreeMap<&str, serde_json::Value> = values
        .iter()
        .map(|(name, value)| (*name, json_of(value)))
        .collect();
    let report: BTreeMap<&str, serde_json::Value> = [
        ("collected", json!(hour.to_string())),
        ("format", json!(FORMAT)),
        ("level", json!(level.as_str())),
        ("values", json!(values)),
    ]
    .into();
    format!("{}\n", json!(report))
}

fn json_of(value: &Value) -> serde_json::Value {
    match value {
        Value::Flag(flag) => json!(flag),
        Value::Count(count) => json!(count),
        Value::Text(text) => json!(text),
        Value::Texts(texts) => json!(texts),
        Value::Histogram(counts) => json!(counts),
    }
}

/// The same as CSV: name, kind of value, value.
pub fn csv(report: &UsageReport) -> String {
    let mut text = String::from("name,value\r\n");
    let mut row = |name: &str, value: &str| {
        let quoted = |field: &str| format!("\"{}\"", field.replace('"', "\"\""));
        text.push_str(&format!("{},{}\r\n", quoted(name), quoted(value)));
    };
    row("collected", &report.collected.to_string());
    row("format", &report.format.to_string());
    row("level", &report.level);
    for (name, value) in &report.values {
        match value {
            serde_json::Value::String(word) => row(name, word),
            other => row(name, &other.to_string()),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_form_and_no_other() {
        let values: BTreeMap<&'static str, Value> = [
            ("scp.mode", Value::Text("online".into())),
            ("hierarchy.sites", Value::Count(1)),
            (
                "updates.states",
                Value::Histogram([("B".into(), 2), ("A".into(), 1)].into()),
            ),
        ]
        .into();
        let at = "2026-11-21T10:59:59Z".parse().unwrap();
        let text = canonical(Level::Basic, at, &values);
        assert_eq!(
            text,
            "{\"collected\":\"2026-11-21T10:00:00Z\",\"format\":1,\"level\":\"basic\",\"values\":{\"hierarchy.sites\":1,\
             \"scp.mode\":\"online\",\"updates.states\":{\"A\":1,\"B\":2}}}\n"
        );
        let report: UsageReport = serde_json::from_str(&text).unwrap();
        let csv = csv(&report);
        assert!(csv.contains("\"scp.mode\",\"online\"\r\n"), "{csv}");
        assert!(
            csv.contains("\"updates.states\",\"{\"\"A\"\":1,\"\"B\"\":2}\"\r\n"),
            "{csv}"
        );
    }
}
