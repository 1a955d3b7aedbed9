//! Metadata as we write it: the canonical form that is signed, and files whose bytes depend on nothing but their
//! content.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::error::PublishError;
use super::keys::SigningKey;

/// The version of the specification our metadata follows.
const SPEC_VERSION: &str = "1.0.33";

/// The canonical form that signatures cover.
pub(crate) fn canonical(value: &Value) -> Vec<u8> {
    // Only numbers that are not integers have no canonical form, and `check_portable` keeps them out.
    sigstore_tuf::canonical_json::to_canonical_bytes(value).unwrap_or_default()
}

/// Refuses values whose canonical form differs between readers. The two canonical forms in use part ways for text
/// that Unicode writes in several ways: one composes it first, the other takes it as it is.
pub(crate) fn check_portable(value: &Value) -> Result<(), String> {
    let ours = sigstore_tuf::canonical_json::to_canonical_bytes(value).map_err(|error| error.to_string())?;
    let mut theirs = Vec::new();
    let mut serializer =
        serde_json::Serializer::with_formatter(&mut theirs, olpc_cjson::CanonicalFormatter::new());
    value
        .serialize(&mut serializer)
        .map_err(|error| error.to_string())?;
    if ours != theirs {
        return Err(
            "its text is not in Unicode normal form C, and readers would disagree about it".to_owned(),
        );
    }
    Ok(())
}

/// A role's common fields and its own, in sorted order.
pub(crate) fn signed(kind: &str, version: u64, expires: Timestamp, fields: Map<String, Value>) -> Value {
    let mut all: BTreeMap<String, Value> = fields.into_iter().collect();
    all.insert("_type".to_owned(), json!(kind));
    all.insert("spec_version".to_owned(), json!(SPEC_VERSION));
    all.insert("version".to_owned(), json!(version));
    all.insert("expires".to_owned(), json!(time(expires)));
    sorted(Value::Object(all.into_iter().collect()))
}

/// The file: the signed part and one signature per key, in the order of the key ids.
pub(crate) fn envelope<'a>(signed: &Value, keys: impl IntoIterator<Item = &'a SigningKey>) -> Vec<u8> {
    let message = canonical(signed);
    let signatures: BTreeMap<String, String> = keys
        .into_iter()
        .map(|key| (key.public().key_id(), key.sign(&message)))
        .collect();
    file(signed, &signatures)
}

/// The file for signatures that were made elsewhere.
pub(crate) fn file(signed: &Value, signatures: &BTreeMap<String, String>) -> Vec<u8> {
    let signatures: Vec<Value> = signatures
        .iter()
        .map(|(keyid, sig)| json!({"keyid": keyid, "sig": sig}))
        .collect();
    let whole = json!({"signatures": signatures, "signed": signed});
    let mut bytes = whole.to_string().into_bytes();
    bytes.push(b'\n');
    bytes
}

/// Every object with its keys in order, so that equal content is equal bytes.
pub(crate) fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let map: BTreeMap<String, Value> =
                map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            Value::Object(map.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

/// A time as the specification writes it: UTC, whole seconds.
pub(crate) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `now` and so many seconds, in whole seconds.
pub(crate) fn after(now: Timestamp, seconds: u64) -> Result<Timestamp, PublishError> {
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| now.as_second().checked_add(seconds))
        .and_then(|second| Timestamp::from_second(second).ok())
        // The last years of the calendar are not worth an expiry either.
        .filter(|expires| *expires < Timestamp::MAX)
        .ok_or_else(|| PublishError::Settings {
            detail: "an expiry lies outside the calendar".to_owned(),
        })
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_order_does_not_matter() {
        let a = json!({"b": {"y": 1, "x": [{"d": 1, "c": 2}]}, "a": 1});
        let b = json!({"a": 1, "b": {"x": [{"c": 2, "d": 1}], "y": 1}});
        assert_eq!(sorted(a).to_string(), sorted(b).to_string());
    }

    #[test]
    fn unportable_values_are_found() {
        for (value, expected) in [
            (json!({"a": "é"}), true),
            (json!({"a": "e\u{301}"}), false),
            (json!({"a": 1.5}), false),
            (json!({"a": "line\nbreak \"quoted\" \\"}), true),
            (json!({"a": [null, true, -1, u64::MAX]}), true),
        ] {
            assert_eq!(check_portable(&value).is_ok(), expected, "{value}");
        }
    }

    #[test]
    fn expiries_are_whole_seconds() {
        let now: Timestamp = "2030-01-02T03:04:05.678Z".parse().unwrap();
        assert_eq!(time(after(now, 60).unwrap()), "2030-01-02T03:05:05Z");
        assert!(after(now, u64::MAX).is_err());
    }
}
