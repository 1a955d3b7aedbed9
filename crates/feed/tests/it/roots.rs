//! Root rotation: any number of versions, any combination of keys, and recovery from what an attacker pushed up.

use feed::Reason;
use serde_json::json;

use crate::repository::{Reader, Repository, key};

/// One root version: its root keys, threshold, and who signs it.
type Version = (&'static [u8], usize, &'static [u8]);

#[tokio::test]
async fn rotations_need_both_thresholds() {
    let cases: &[(&str, &[Version], bool)] = &[
        ("all the same", &[(&[1], 1, &[1]), (&[1], 1, &[1])], true),
        (
            "1 of 1 replaced",
            &[(&[1], 1, &[1]), (&[2], 1, &[2, 1]), (&[2], 1, &[2])],
            true,
        ),
        (
            "unused signatures",
            &[
                (&[1], 1, &[3, 1, 4]),
                (&[2], 1, &[3, 2, 1, 4]),
                (&[2], 1, &[3, 2, 4]),
            ],
            true,
        ),
        (
            "3 of 5 with other combinations",
            &[
                (&[5, 6, 7, 8, 9], 3, &[5, 7, 9]),
                (&[5, 6, 7, 8, 9], 3, &[5, 9, 6]),
                (&[5, 6, 7, 8, 9], 3, &[5, 6, 8]),
            ],
            true,
        ),
        (
            "3 of 5, one replaced",
            &[
                (&[5, 6, 7, 8, 9], 3, &[5, 7, 9]),
                (&[5, 6, 8, 9, 10], 3, &[5, 9, 6]),
            ],
            true,
        ),
        (
            "all five replaced",
            &[
                (&[5, 6, 7, 8, 9], 3, &[5, 7, 9]),
                (&[10, 11, 12, 13, 14], 3, &[5, 7, 9, 10, 11, 12]),
            ],
            true,
        ),
        (
            "threshold up",
            &[(&[1, 2, 3], 1, &[1]), (&[1, 2, 3], 2, &[1, 2])],
            true,
        ),
        (
            "threshold down",
            &[
                (&[1, 2, 3], 2, &[1, 2]),
                (&[1, 2, 3], 1, &[1, 2]),
                (&[1, 2, 3], 1, &[1]),
            ],
            true,
        ),
        (
            "not signed by the old key",
            &[(&[1], 1, &[1]), (&[2], 1, &[2, 3, 4])],
            false,
        ),
        (
            "not signed by the new key",
            &[(&[1], 1, &[1]), (&[2], 1, &[1, 3, 4])],
            false,
        ),
        (
            "too few new ones",
            &[
                (&[5, 6, 7, 8, 9], 3, &[5, 7, 9]),
                (&[5, 6, 8, 9, 10], 3, &[5, 7, 9]),
            ],
            false,
        ),
        (
            "too few old ones",
            &[
                (&[5, 6, 7, 8, 9], 3, &[5, 7, 9]),
                (&[5, 6, 8, 9, 10], 3, &[5, 9, 10]),
            ],
            false,
        ),
        (
            "threshold up, not reached",
            &[(&[1, 2, 3], 1, &[1]), (&[1, 2, 3], 2, &[2])],
            false,
        ),
        (
            "threshold down, old not reached",
            &[(&[1, 2, 3], 2, &[1, 2]), (&[1, 2, 3], 1, &[1])],
            false,
        ),
    ];
    for (name, versions, accepted) in cases {
        let mut repository = Repository::unpublished();
        // Other roles keep keys of their own.
        for (number, role) in (21..).zip(["timestamp", "snapshot", "targets"]) {
            let key = key(number);
            repository.root["keys"][key.id.clone()] = key.value();
            repository.root["roles"][role]["keyids"] = json!([key.id]);
            repository.signers.insert(role.to_owned(), vec![key]);
        }
        for role in ["targets", "snapshot", "timestamp"] {
            repository.publish(role);
        }
        let mut stored = Vec::new();
        for (version, (keys, threshold, signers)) in (1..).zip(*versions) {
            repository.root["version"] = json!(version);
            let ids: Vec<String> = keys.iter().map(|&number| key(number).id).collect();
            repository.root["roles"]["root"] = json!({"keyids": ids, "threshold": threshold});
            for &number in *keys {
                repository.root["keys"][key(number).id] = key(number).value();
            }
            repository
                .signers
                .insert("root".to_owned(), signers.iter().map(|&n| key(n)).collect());
            repository.publish_root();
            if version == 1 {
                repository.first_root = repository.file("1.root.json");
            }
            if *accepted || version < versions.len() {
                stored = repository.file(&format!("{version}.root.json"));
            }
        }
        let reader = Reader::new(&repository);
        match reader.refresh().await {
            Ok(_) => assert!(accepted, "{name}"),
            Err(error) => {
                assert!(!accepted, "{name}: {error}");
                assert_eq!(error.reason(), Reason::Threshold, "{name}: {error}");
            }
        }
        assert_eq!(reader.stored("root").unwrap(), stored, "{name}");
    }
}

#[tokio::test]
async fn any_number_of_rotations() {
    let mut repository = Repository::new();
    for number in 0..300_u32 {
        let (old, new) = (
            key((number % 100) as u8 + 100),
            key((number % 100 + 1) as u8 + 100),
        );
        repository.root["keys"][new.id.clone()] = new.value();
        repository.root["roles"]["root"]["keyids"] = json!([new.id]);
        let old = if number == 0 {
            key(1)
        } else {
            if number % 100 == 0 { key(200) } else { old }
        };
        repository.signers.insert("root".to_owned(), vec![old, new]);
        repository.next_root();
    }
    let mut reader = Reader::new(&repository);
    // A limit on one refresh stops the walk, not the refresh; the next one goes on.
    reader.limits.root_rotations_max = 100;
    reader.refresh().await.unwrap();
    assert_eq!(reader.version("root"), 101);
    reader.limits.root_rotations_max = 100_000;
    reader.refresh().await.unwrap();
    assert_eq!(reader.version("root"), 301);
}

#[tokio::test]
async fn a_root_of_another_version_is_refused() {
    for version in [1, 3] {
        let mut repository = Repository::new();
        let reader = Reader::new(&repository);
        repository.root["version"] = json!(version);
        let bytes = repository.signed("root");
        repository.serve_role("root", "2", bytes);
        let error = reader.refresh().await.unwrap_err();
        assert_eq!(error.reason(), Reason::Rollback, "{error}");
        assert_eq!(reader.versions(), [1, 0, 0, 0]);
    }
}

#[tokio::test]
async fn a_root_without_all_roles_is_refused() {
    let mut repository = Repository::new();
    let reader = Reader::new(&repository);
    repository.root["roles"]
        .as_object_mut()
        .unwrap()
        .remove("timestamp");
    repository.next_root();
    let error = reader.refresh().await.unwrap_err();
    assert_eq!(error.reason(), Reason::Malformed, "{error}");
}

#[tokio::test]
async fn a_new_root_stays_even_when_a_later_role_fails() {
    let mut repository = Repository::new();
    let reader = Reader::new(&repository);
    repository.next_root();
    repository.remove("metadata/timestamp.json");
    reader.refresh().await.unwrap_err();
    assert_eq!(reader.versions(), [2, 0, 0, 0]);
    // The server goes back to the first root: it is not even asked for again.
    repository.remove("metadata/2.root.json");
    repository.requests();
    reader.refresh().await.unwrap_err();
    assert_eq!(repository.requests(), ["3.root.json", "timestamp.json"]);
    assert_eq!(reader.version("root"), 2);
}

#[tokio::test]
async fn new_keys_recover_from_versions_pushed_up() {
    for (role, number) in [("timestamp", 2), ("snapshot", 3)] {
        let mut repository = Repository::new();
        let reader = Reader::new(&repository);
        // The attacker holds the key of the role and publishes far in the future.
        match role {
            "timestamp" => repository.timestamp["version"] = json!(100_000),
            _ => repository.targets.get_mut("targets").unwrap()["version"] = json!(100_000),
        }
        repository.next_snapshot();
        reader.refresh().await.unwrap();

        let new = key(number + 50);
        repository.root["keys"][new.id.clone()] = new.value();
        repository.root["roles"][role]["keyids"] = json!([new.id]);
        repository.signers.insert(role.to_owned(), vec![new]);
        repository.next_root();
        match role {
            "timestamp" => repository.timestamp["version"] = json!(1),
            _ => repository.targets.get_mut("targets").unwrap()["version"] = json!(1),
        }
        repository.next_snapshot();
        reader.refresh().await.unwrap();
        let expected = if role == "timestamp" {
            [2, 2, 3, 1]
        } else {
            [2, 3, 3, 1]
        };
        assert_eq!(reader.versions(), expected, "{role}");
    }
}

#[tokio::test]
async fn one_new_key_of_two_roles_lets_both_start_again() {
    for (role, number) in [("timestamp", 2), ("snapshot", 3)] {
        let mut repository = Repository::new();
        let reader = Reader::new(&repository);
        repository.snapshot["version"] = json!(100_000);
        repository.timestamp["version"] = json!(100_000);
        repository.next_snapshot();
        reader.refresh().await.unwrap();
        repository.snapshot["version"] = json!(5);
        repository.timestamp["version"] = json!(5);
        repository.next_snapshot();
        assert_eq!(reader.refresh().await.unwrap_err().reason(), Reason::Rollback);

        // A further key takes nothing back.
        let new = key(number + 50);
        let old = repository.root["roles"][role]["keyids"][0].clone();
        repository.root["keys"][new.id.clone()] = new.value();
        repository.root["roles"][role]["keyids"] = json!([old, new.id]);
        repository.signers.get_mut(role).unwrap().push(new);
        repository.next_root();
        repository.next_snapshot();
        assert_eq!(reader.refresh().await.unwrap_err().reason(), Reason::Rollback);
        assert_eq!(reader.versions(), [2, 100_001, 100_001, 1]);

        // A key that goes does, for both roles.
        repository.root["roles"][role]["keyids"]
            .as_array_mut()
            .unwrap()
            .remove(0);
        repository.next_root();
        reader.refresh().await.unwrap();
        assert_eq!(reader.versions(), [3, 7, 7, 1], "{role}");
    }
}

#[tokio::test]
async fn a_rotated_role_keeps_its_stored_file_until_it_is_replaced() {
    let mut repository = Repository::new();
    let reader = Reader::new(&repository);
    reader.refresh().await.unwrap();
    repository.root["roles"]["snapshot"]["threshold"] = json!(5);
    repository.next_root();
    let error = reader.refresh().await.unwrap_err();
    assert_eq!(error.reason(), Reason::Threshold);
    assert_eq!(reader.versions(), [2, 1, 1, 1]);
}
