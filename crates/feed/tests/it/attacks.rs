//! Rollback, mix-and-match, wrong threshold, oversized and malformed metadata: each refused for its own reason, with
//! nothing unverified stored, and forgotten as soon as the feed is sound again.

use feed::Reason;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::repository::{Reader, Repository, key, now};

/// A role and what is made wrong with it.
type Spoiled = (&'static str, fn(&mut serde_json::Value));

/// A reader that trusts version 2 of everything below root, the last snapshot listing targets version 2.
async fn settled() -> (Repository, Reader) {
    let mut repository = Repository::new();
    repository.next_targets("targets");
    let reader = Reader::new(&repository);
    reader.refresh().await.unwrap();
    assert_eq!(reader.versions(), [1, 2, 2, 2]);
    repository.requests();
    (repository, reader)
}

async fn refused(reader: &Reader, expected: Reason) -> String {
    let error = reader.refresh().await.unwrap_err();
    assert_eq!(error.reason(), expected, "{error}");
    error.to_string()
}

#[tokio::test]
async fn a_first_refresh_asks_for_what_it_needs_and_stores_what_was_served() {
    let mut repository = Repository::new();
    let mut odd = repository.signed("timestamp");
    odd.extend(b" \n");
    repository.serve("metadata/timestamp.json", odd.clone());
    let reader = Reader::new(&repository);
    let refreshed = reader.refresh().await.unwrap();
    assert!(refreshed.changed);
    assert_eq!(refreshed.after.targets.unwrap().version, 1);
    assert_eq!(
        repository.requests(),
        [
            "2.root.json",
            "timestamp.json",
            "1.snapshot.json",
            "1.targets.json"
        ]
    );
    assert_eq!(reader.stored("timestamp").unwrap(), odd);
    assert_eq!(reader.stored("root").unwrap(), repository.first_root);
    assert_eq!(
        reader.stored("targets").unwrap(),
        repository.file("1.targets.json")
    );
}

#[tokio::test]
async fn an_unchanged_feed_costs_two_requests() {
    let (repository, reader) = settled().await;
    let mut client = reader.client();
    for _ in 0..2 {
        let refreshed = client.refresh(now()).await.unwrap();
        assert!(!refreshed.changed);
        assert_eq!(repository.requests(), ["2.root.json", "timestamp.json"]);
    }
}

#[tokio::test]
async fn rollback_of_the_timestamp() {
    let (mut repository, reader) = settled().await;
    repository.timestamp["version"] = json!(1);
    repository.publish("timestamp");
    let text = refused(&reader, Reason::Rollback).await;
    assert!(
        text.contains("timestamp version 1 was offered, version 2 is already trusted"),
        "{text}"
    );
    assert_eq!(reader.versions(), [1, 2, 2, 2]);
    repository.timestamp["version"] = json!(3);
    repository.publish("timestamp");
    reader.refresh().await.unwrap();
}

#[tokio::test]
async fn a_timestamp_of_equal_version_changes_nothing() {
    let (mut repository, reader) = settled().await;
    let before = reader.stored("timestamp");
    repository.timestamp["meta"]["snapshot.json"]["version"] = json!(100);
    repository.publish("timestamp");
    reader.refresh().await.unwrap();
    assert_eq!(repository.requests(), ["2.root.json", "timestamp.json"]);
    assert_eq!(reader.stored("timestamp"), before);
}

#[tokio::test]
async fn rollback_of_the_snapshot() {
    let (mut repository, reader) = settled().await;
    repository.snapshot["version"] = json!(1);
    repository.next_timestamp();
    let text = refused(&reader, Reason::Rollback).await;
    assert!(text.contains("snapshot version 1 was offered"), "{text}");
    assert_eq!(reader.versions(), [1, 2, 2, 2]);
}

#[tokio::test]
async fn rollback_of_targets() {
    for hashes in [false, true] {
        let (mut repository, reader) = settled().await;
        repository.targets.get_mut("targets").unwrap()["version"] = json!(1);
        repository.snapshot["meta"]["targets.json"]["version"] = json!(1);
        repository.bump("snapshot");
        repository.publish("snapshot");
        if hashes {
            let hash = hex::encode(Sha256::digest(repository.file("3.snapshot.json")));
            repository.timestamp["meta"]["snapshot.json"]["hashes"] = json!({"sha256": hash});
        }
        repository.next_timestamp();
        let text = refused(&reader, Reason::Rollback).await;
        assert!(text.contains("targets version 1 was offered"), "{text}");
        assert_eq!(reader.versions(), [1, 3, 2, 2]);
        // The timestamp has moved on, the stored snapshot is no longer the pinned one: still the floor.
        refused(&reader, Reason::Rollback).await;
        repository.timestamp["meta"]["snapshot.json"] = json!({});
        repository.next_targets("targets");
        repository.next_targets("targets");
        reader.refresh().await.unwrap();
    }
}

#[tokio::test]
async fn a_snapshot_may_not_drop_a_role() {
    let mut repository = Repository::new();
    repository.delegate("targets", "a", 20, json!({"paths": ["*"]}));
    repository.next_targets("targets");
    let reader = Reader::new(&repository);
    reader.refresh().await.unwrap();
    repository.snapshot["meta"]
        .as_object_mut()
        .unwrap()
        .remove("a.json");
    repository.bump("snapshot");
    repository.publish("snapshot");
    repository.next_timestamp();
    let text = refused(&reader, Reason::Rollback).await;
    assert!(text.contains("no longer lists the role a"), "{text}");
}

#[tokio::test]
async fn metadata_that_does_not_exist_is_said_so() {
    for (file, expected) in [
        ("timestamp.json", [1, 0, 0, 0]),
        ("1.snapshot.json", [1, 1, 0, 0]),
        ("1.targets.json", [1, 1, 1, 0]),
    ] {
        let repository = Repository::new();
        let reader = Reader::new(&repository);
        let bytes = repository.file(file);
        repository.remove(&format!("metadata/{file}"));
        let text = refused(&reader, Reason::NotFound).await;
        assert!(text.contains(file), "{text}");
        assert_eq!(reader.versions(), expected);
        repository.serve(&format!("metadata/{file}"), bytes);
        reader.refresh().await.unwrap();
    }
}

#[tokio::test]
async fn mix_and_match() {
    // A snapshot and a targets of other versions than their parents pin.
    for (role, expected) in [("snapshot", [1, 3, 2, 2]), ("targets", [1, 3, 3, 2])] {
        let (mut repository, reader) = settled().await;
        repository.bump("targets");
        repository.next_snapshot();
        repository.document(role)["version"] = json!(7);
        let bytes = repository.signed(role);
        repository.serve_role(role, "3", bytes);
        let text = refused(&reader, Reason::MixAndMatch).await;
        assert!(text.contains("version 7 instead of 3"), "{text}");
        assert_eq!(reader.versions(), expected);
    }
    // Of the right version, but not the bytes that are pinned.
    for field in ["hashes", "length"] {
        let (mut repository, reader) = settled().await;
        repository.next_targets("targets");
        let pin = match field {
            "hashes" => json!({"sha256": "0".repeat(64)}),
            _ => json!(100_000),
        };
        repository.snapshot["meta"]["targets.json"][field] = pin;
        repository.bump("snapshot");
        repository.publish("snapshot");
        repository.next_timestamp();
        refused(&reader, Reason::MixAndMatch).await;
        assert_eq!(reader.versions(), [1, 4, 4, 2]);
    }
}

#[tokio::test]
async fn wrong_signatures() {
    for (role, expected) in [
        ("timestamp", [1, 0, 0, 0]),
        ("snapshot", [1, 1, 0, 0]),
        ("targets", [1, 1, 1, 0]),
    ] {
        let mut repository = Repository::new();
        let reader = Reader::new(&repository);
        let right = repository.signers.insert(role.to_owned(), vec![key(99)]).unwrap();
        repository.publish(role);
        let text = refused(&reader, Reason::Threshold).await;
        assert!(
            text.starts_with(&format!("{role} refused: 0 valid signature(s)")),
            "{text}"
        );
        assert_eq!(reader.versions(), expected);
        repository.signers.insert(role.to_owned(), right);
        repository.publish(role);
        reader.refresh().await.unwrap();
    }
}

#[tokio::test]
async fn a_threshold_counts_distinct_keys() {
    let mut repository = Repository::new();
    let reader = Reader::new(&repository);
    reader.refresh().await.unwrap();
    repository.root["keys"]["key-3b"] = key(3).value();
    repository.root["roles"]["snapshot"] = json!({"keyids": ["key-3", "key-3b"], "threshold": 2});
    repository.next_root();

    // The same key under two ids.
    let mut twin = key(3);
    twin.id = "key-3b".to_owned();
    repository.signers.get_mut("snapshot").unwrap().push(twin);
    repository.next_snapshot();
    let text = refused(&reader, Reason::Threshold).await;
    assert!(
        text.contains("1 valid signature(s) by distinct authorised keys, 2 needed"),
        "{text}"
    );
    assert_eq!(reader.versions(), [2, 2, 1, 1]);

    // Twice the same key id.
    repository
        .signers
        .insert("snapshot".to_owned(), vec![key(3), key(3)]);
    repository.next_snapshot();
    let text = refused(&reader, Reason::Threshold).await;
    assert!(text.contains("occurs more than once"), "{text}");

    // Two keys.
    repository.root["keys"]["key-30"] = key(30).value();
    repository.root["roles"]["snapshot"] = json!({"keyids": ["key-3", "key-30"], "threshold": 2});
    repository.next_root();
    repository
        .signers
        .insert("snapshot".to_owned(), vec![key(3), key(30), key(77)]);
    repository.next_snapshot();
    reader.refresh().await.unwrap();
}

#[tokio::test]
async fn oversized_metadata() {
    for (file, limit) in [
        ("2.root.json", "1048576"),
        ("timestamp.json", "65536"),
        ("1.snapshot.json", "8388608"),
        ("1.targets.json", "16777216"),
    ] {
        for hide_length in [false, true] {
            let repository = Repository::new();
            let reader = Reader::new(&repository);
            let mut bytes = repository.file(if file == "2.root.json" {
                "1.root.json"
            } else {
                file
            });
            bytes.resize(17 << 20, b' ');
            repository.serve(&format!("metadata/{file}"), bytes);
            repository.faults(|faults| faults.hide_length = hide_length);
            let text = refused(&reader, Reason::Oversized).await;
            assert_eq!(text, format!("{file} refused: it is longer than {limit} bytes"));
        }
    }
    let repository = Repository::new();
    repository.faults(|faults| faults.endless = true);
    let reader = Reader::new(&repository);
    refused(&reader, Reason::Oversized).await;
}

#[tokio::test]
async fn metadata_longer_than_pinned_is_cut() {
    let mut repository = Repository::new();
    let length = repository.file("1.snapshot.json").len();
    repository.timestamp["meta"]["snapshot.json"]["length"] = json!(length);
    repository.publish("timestamp");
    let mut long = repository.file("1.snapshot.json");
    long.push(b' ');
    repository.serve("metadata/1.snapshot.json", long);
    refused(&Reader::new(&repository), Reason::Oversized).await;
}

#[tokio::test]
async fn malformed_metadata() {
    let cases: [Spoiled; 12] = [
        ("timestamp", |t| t["_type"] = json!("snapshot")),
        ("timestamp", |t| t["spec_version"] = json!("2.0.0")),
        ("timestamp", |t| t["version"] = json!(0)),
        ("timestamp", |t| t["version"] = json!(1.5)),
        ("timestamp", |t| t["expires"] = json!("2031-01-01T00:00:00+02:00")),
        ("timestamp", |t| t["meta"] = json!({})),
        ("timestamp", |t| t["meta"]["snapshot.json"]["version"] = json!(0)),
        ("snapshot", |s| s["meta"]["targets.json"]["hashes"] = json!({})),
        ("targets", |t| {
            t["targets"]["a"] = json!({"length": 1, "hashes": {}})
        }),
        ("targets", |t| {
            t["targets"]["a"] = json!({"length": -1, "hashes": {"sha256": "00"}})
        }),
        ("targets", |t| {
            t["delegations"] = json!({"keys": {}, "roles": [
                {"name": "snapshot", "keyids": [], "threshold": 1, "terminating": false, "paths": ["*"]}
            ]});
        }),
        ("targets", |t| {
            t["delegations"] = json!({"keys": {}, "roles": [
                {"name": "a", "keyids": [], "threshold": 0, "terminating": false, "paths": ["*"]}
            ]});
        }),
    ];
    for (number, (role, change)) in cases.into_iter().enumerate() {
        let mut repository = Repository::new();
        let reader = Reader::new(&repository);
        change(repository.document(role));
        let bytes = match number {
            // No canonical form exists, so no signature either.
            3 => serde_json::to_vec(&json!({"signed": repository.timestamp, "signatures": []})).unwrap(),
            _ => repository.signed(role),
        };
        repository.serve_role(role, "1", bytes);
        let text = refused(&reader, Reason::Malformed).await;
        assert!(
            text.starts_with(&format!("{role} refused")),
            "case {number}: {text}"
        );
    }
    for bytes in [
        &b""[..],
        b"{",
        b"[]",
        b"null",
        b"{\"signed\":{}}",
        b"\xff\xfe",
        b"<html></html>",
    ] {
        let mut repository = Repository::new();
        repository.serve_role("timestamp", "1", bytes.to_vec());
        refused(&Reader::new(&repository), Reason::Malformed).await;
    }
}

#[tokio::test]
async fn a_server_error_is_not_an_attack() {
    let repository = Repository::new();
    let reader = Reader::new(&repository);
    for (file, code) in [("timestamp.json", 503), ("2.root.json", 500)] {
        repository.faults(|faults| faults.status = Some((file.to_owned(), code)));
        let error = reader.refresh().await.unwrap_err();
        assert_eq!(error.reason(), Reason::Network);
        assert!(!error.reason().is_attack() && error.is_transient());
    }
    // Object stores answer 403 for what does not exist.
    repository.faults(|faults| faults.status = Some(("2.root.json".to_owned(), 403)));
    reader.refresh().await.unwrap();
}
