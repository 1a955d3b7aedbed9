//! The canonical bytes of a report, the same for preview, export and upload.

use std::collections::BTreeMap;

use domain::usage_data::{Kind, Level, Value, WORDS_MAX, metric};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Version of the form.
pub const FORMAT: u32 = 1;
/// Largest report.
pub const REPORT_BYTES_MAX: usize = 8 * 1024 * 1024;
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

/// Why the values of a report are not taken as what they say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValuesError {
    /// Not a report in canonical form.
    #[error("the report is not in its canonical form: {0}")]
    Form(String),
    /// Of a newer form or with data that this release does not know.
    #[error("the report has {0:?}, which the dictionary of this release does not know")]
    Unknown(String),
    /// More than its level holds.
    #[error("the report holds {name}, which is above its level {level}")]
    Level {
        /// Name in the dictionary.
        name: &'static str,
        /// Level of the report.
        level: Level,
    },
    /// Another kind of value than the dictionary says.
    #[error("{name} is no {}", expected.as_str())]
    Kind {
        /// Name in the dictionary.
        name: &'static str,
        /// What the dictionary says.
        expected: Kind,
    },
}

/// Reads the canonical bytes of somebody's report back, every value checked against the dictionary.
pub fn values(text: &str) -> Result<(UsageReport, BTreeMap<&'static str, Value>), ValuesError> {
    let form = |problem: String| ValuesError::Form(problem.chars().take(200).collect());
    let report: UsageReport = serde_json::from_str(text).map_err(|failure| form(failure.to_string()))?;
    if report.format != FORMAT {
        return Err(ValuesError::Unknown(format!("format {}", report.format)));
    }
    let level = Level::ALL
        .into_iter()
        .find(|level| level.as_str() == report.level);
    let level = level.ok_or_else(|| ValuesError::Unknown(format!("level {:.40}", report.level)))?;
    let mut values = BTreeMap::new();
    for (name, json) in &report.values {
        let metric = metric(name).ok_or_else(|| ValuesError::Unknown(name.chars().take(100).collect()))?;
        if metric.level > level {
            return Err(ValuesError::Level {
                name: metric.name,
                level,
            });
        }
        let value = value_of(metric.kind, json).ok_or(ValuesError::Kind {
            name: metric.name,
            expected: metric.kind,
        })?;
        values.insert(metric.name, value);
    }
    if canonical(level, report.collected, &values) != text {
        return Err(form("other bytes than a site writes".into()));
    }
    Ok((report, values))
}

fn value_of(kind: Kind, json: &serde_json::Value) -> Option<Value> {
    let word = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    match kind {
        Kind::Flag => json.as_bool().map(Value::Flag),
        Kind::Count => json.as_u64().map(Value::Count),
        Kind::Text => word(json).map(Value::Text),
        Kind::Texts => {
            let texts = json.as_array().filter(|texts| texts.len() <= WORDS_MAX)?;
            texts.iter().map(word).collect::<Option<_>>().map(Value::Texts)
        }
        Kind::Histogram => {
            let counts = json.as_object().filter(|counts| counts.len() <= WORDS_MAX + 1)?;
            let counts = counts
                .iter()
                .map(|(word, count)| Some((word.clone(), count.as_u64()?)));
            counts.collect::<Option<_>>().map(Value::Histogram)
        }
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
        assert_eq!(super::values(&text), Ok((report.clone(), values)));
        let csv = csv(&report);
        assert!(csv.contains("\"scp.mode\",\"online\"\r\n"), "{csv}");
        assert!(
            csv.contains("\"updates.states\",\"{\"\"A\"\":1,\"\"B\"\":2}\"\r\n"),
            "{csv}"
        );
    }

    #[test]
    fn what_a_site_would_not_write_is_not_read() {
        let report = |level: &str, values: &str| {
            format!(
                "{{\"collected\":\"2026-11-21T10:00:00Z\",\"format\":1,\"level\":\"{level}\",\"values\":{{{values}}}}}\n"
            )
        };
        assert!(values(&report("basic", "\"scp.mode\":\"online\"")).is_ok());
        for (text, expected) in [
            (report("basic", "\"site.name\":\"x\""), "does not know"),
            (report("extreme", ""), "does not know"),
            (report("basic", "\"content.objects\":1"), "above its level"),
            (report("basic", "\"scp.mode\":1"), "is no text"),
            (report("basic", "\"hierarchy.sites\":-1"), "is no count"),
            (report("basic", "\"hierarchy.sites\":1.5"), "is no count"),
            (report("basic", "\"scp.mode\": \"online\""), "canonical"),
            (
                report("basic", "\"scp.mode\":\"a\",\"scp.mode\":\"b\""),
                "canonical",
            ),
            ("{}".into(), "canonical"),
            (String::new(), "canonical"),
            ("[".repeat(100_000), "canonical"),
        ] {
            let failure = values(&text).unwrap_err().to_string();
            assert!(failure.contains(expected), "{text:.100}: {failure}");
        }
    }
}
