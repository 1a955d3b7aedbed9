//! What a site says of itself for the step with internet access. It stays on the medium and is never sent.

use std::collections::BTreeMap;

use domain::servicing::facts::{FACTS, FactSet, Value};
use domain::servicing::package::PackageGuid;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A site, as far as choosing its updates needs it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SiteStatement {
    /// Version of the form.
    pub format: u32,
    /// Release of the program that wrote it.
    pub program: String,
    /// Keyed hash of the hierarchy's id.
    pub hierarchy: String,
    /// Key that signs for the hierarchy.
    pub public_key: String,
    /// When it was written.
    pub at: Timestamp,
    /// Installed version.
    pub site_version: String,
    /// Address of the feed.
    pub feed: String,
    /// Rings.
    pub rings: Vec<String>,
    /// What the positions in roll-outs are computed from.
    pub rollout_key: String,
    /// Facts that rules may ask about, by name.
    pub facts: BTreeMap<String, serde_json::Value>,
    /// Installed packages.
    pub installed: Vec<String>,
    /// Features that are on.
    pub features: Vec<String>,
    /// SHA-256 of the catalogue shards that it has.
    pub shards: Vec<String>,
    /// Packages for which a delta on the last medium did not give what it should: they need blocks.
    #[serde(default)]
    pub without_deltas: Vec<String>,
    /// Id of the report of usage data, if one is carried.
    pub report: Option<String>,
    /// SHA-256 of that report, which its receipt has to name.
    pub report_sha256: Option<String>,
}

/// The facts as they are written.
pub fn facts_to(facts: &FactSet) -> BTreeMap<String, serde_json::Value> {
    let known = FACTS
        .iter()
        .filter_map(|fact| Some((fact.name, facts.get(fact.name).ok()?)));
    known
        .map(|(name, value)| (name.to_owned(), json_of(value)))
        .collect()
}

fn json_of(value: &Value) -> serde_json::Value {
    match value {
        Value::Bool(flag) => (*flag).into(),
        Value::Int(number) => (*number).into(),
        Value::Text(text) => text.as_str().into(),
        Value::Version(version) => serde_json::json!({ "version": version.to_string() }),
        Value::List(values) => values.iter().map(json_of).collect(),
    }
}

fn value_of(json: &serde_json::Value) -> Option<Value> {
    match json {
        serde_json::Value::Bool(flag) => Some(Value::Bool(*flag)),
        serde_json::Value::Number(number) => number.as_i64().map(Value::Int),
        serde_json::Value::String(text) => Some(Value::Text(text.clone())),
        serde_json::Value::Array(values) => values
            .iter()
            .map(value_of)
            .collect::<Option<_>>()
            .map(Value::List),
        serde_json::Value::Object(object) => {
            let version = object.get("version")?.as_str()?;
            version.parse().ok().map(Value::Version)
        }
        serde_json::Value::Null => None,
    }
}

/// The facts as rules see them. What cannot be read is not known.
pub fn facts_from(statement: &SiteStatement) -> FactSet {
    let mut facts = FactSet::default();
    for (name, json) in &statement.facts {
        match value_of(json) {
            Some(value) => facts.set(name, value),
            None => facts.set_unknown(name, "it cannot be read from the medium"),
        }
    }
    let guids = |texts: &[String]| {
        texts
            .iter()
            .filter_map(|text| text.parse::<PackageGuid>().ok())
            .collect()
    };
    facts.installed = guids(&statement.installed);
    facts.features = guids(&statement.features);
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_come_back_as_they_were() {
        let mut facts = FactSet::default();
        facts.set("site.version", Value::Version("5.00.9110.1000".parse().unwrap()));
        facts.set("host.cores", Value::Int(4));
        facts.set("host.pending_restart", Value::Bool(true));
        facts.set("hierarchy.rings", Value::List(vec![Value::Text("early".into())]));
        facts.set_unknown("host.os", "no idea");
        facts.installed.insert(PackageGuid(7));
        let statement = SiteStatement {
            format: 1,
            program: "0.1.0".into(),
            hierarchy: "h".into(),
            public_key: "k".into(),
            at: Timestamp::UNIX_EPOCH,
            site_version: "5.00.9110.1000".into(),
            feed: "https://f.example".into(),
            rings: vec![],
            rollout_key: "r".into(),
            facts: facts_to(&facts),
            installed: vec![PackageGuid(7).to_string()],
            features: vec![],
            shards: vec![],
            without_deltas: vec![PackageGuid(7).to_string()],
            report: None,
            report_sha256: None,
        };
        let text = serde_json::to_string(&statement).unwrap();
        let read: SiteStatement = serde_json::from_str(&text).unwrap();
        assert_eq!(read, statement);
        let again = facts_from(&read);
        for name in [
            "site.version",
            "host.cores",
            "host.pending_restart",
            "hierarchy.rings",
        ] {
            assert_eq!(again.get(name), facts.get(name), "{name}");
        }
        assert!(again.get("host.os").is_err() && again.installed == facts.installed);
    }
}
