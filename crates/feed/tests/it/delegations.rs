//! The search for a target: order, terminating roles, patterns, cycles, shared roles, and nothing fetched that the
//! search does not reach.

use feed::{FeedError, Reason};
use serde_json::{Value, json};

use crate::repository::{Reader, Repository, key, now};

/// A delegation: from, to, terminating, patterns.
type Delegation = (&'static str, &'static str, bool, &'static str);

/// What is made wrong with role A, and why it must be refused.
type Spoiled = (&'static str, Reason, fn(&mut Repository));

fn repository_of(delegations: &[Delegation]) -> Repository {
    let mut repository = Repository::new();
    for (number, (parent, name, terminating, pattern)) in (40..).zip(delegations) {
        // A role that two parents delegate to keeps the key of the first.
        let number = repository.signers.get(*name).map_or(number, |keys| {
            keys[0].id.trim_start_matches("key-").parse().unwrap()
        });
        repository.delegate(
            parent,
            name,
            number,
            json!({"terminating": terminating, "paths": [pattern]}),
        );
    }
    repository.next_targets("targets");
    repository
}

#[tokio::test]
async fn roles_are_visited_in_pre_order() {
    let cases: &[(&[Delegation], &[&str])] = &[
        (&[("targets", "A", false, "*")], &["A"]),
        (
            &[("targets", "A", false, "*"), ("targets", "B", false, "*")],
            &["A", "B"],
        ),
        (
            &[
                ("targets", "A", false, "*"),
                ("targets", "B", false, "*"),
                ("B", "C", false, "*"),
            ],
            &["A", "B", "C"],
        ),
        (
            &[
                ("targets", "A", false, "*"),
                ("targets", "B", false, "*"),
                ("A", "C", false, "*"),
                ("A", "D", false, "*"),
            ],
            &["A", "C", "D", "B"],
        ),
        (
            &[
                ("targets", "A", false, "*"),
                ("targets", "B", false, "*"),
                ("A", "C", false, "*"),
                ("C", "D", false, "*"),
            ],
            &["A", "C", "D", "B"],
        ),
        (
            &[
                ("targets", "A", false, "*"),
                ("targets", "B", false, "*"),
                ("A", "C", true, "*"),
                ("A", "D", false, "*"),
            ],
            &["A", "C"],
        ),
        (
            &[
                ("targets", "A", false, "*"),
                ("targets", "B", false, "*"),
                ("A", "C", true, "*"),
                ("C", "D", false, "*"),
            ],
            &["A", "C", "D"],
        ),
        (
            &[
                ("targets", "A", false, "*.py"),
                ("targets", "B", false, "*"),
                ("A", "C", false, "*"),
            ],
            &["B"],
        ),
        // A terminating role that does not cover the target terminates nothing.
        (
            &[("targets", "A", true, "*.py"), ("targets", "B", false, "*")],
            &["B"],
        ),
        (
            &[
                ("targets", "A", false, "*"),
                ("targets", "B", false, "*"),
                ("B", "C", false, "*"),
                ("C", "D", false, "*"),
                ("D", "B", false, "*"),
            ],
            &["A", "B", "C", "D"],
        ),
        (
            &[
                ("targets", "A", false, "*"),
                ("targets", "B", false, "*"),
                ("B", "C", false, "*"),
                ("A", "C", false, "*"),
            ],
            &["A", "C", "B"],
        ),
        (
            &[
                ("targets", "A", false, "*"),
                ("targets", "B", false, "*"),
                ("B", "C", false, "*"),
                ("A", "C", false, "*.py"),
            ],
            &["A", "B", "C"],
        ),
    ];
    for (delegations, visited) in cases {
        let repository = repository_of(delegations);
        let reader = Reader::new(&repository);
        let error = reader.find("missing").await.unwrap_err();
        assert!(matches!(error, FeedError::NoSuchTarget { .. }), "{error}");
        let expected: Vec<String> = visited.iter().map(|role| format!("1.{role}.json")).collect();
        assert_eq!(repository.requests()[4..], expected);
        // All of it is in the folder now.
        reader.find("missing").await.unwrap_err();
        assert_eq!(repository.requests(), ["2.root.json", "timestamp.json"]);
    }
}

#[tokio::test]
async fn only_the_roles_on_the_way_are_fetched() {
    let mut repository = repository_of(&[
        ("targets", "A", false, "*.md"),
        ("targets", "B", false, "releases/*/*"),
        ("B", "C", false, "releases/x/*"),
        ("B", "D", false, "releases/y/*.zip"),
    ]);
    for (role, path) in [
        ("targets", "targetfile"),
        ("A", "README.md"),
        ("C", "releases/x/x_v1"),
        ("D", "releases/y/y_v1.zip"),
        ("D", "releases/z/z_v1.zip"),
    ] {
        repository.add_target(role, path, path.as_bytes());
    }
    repository.next_snapshot();
    for (path, found, visited) in [
        ("targetfile", true, vec![]),
        ("README.md", true, vec!["1.A.json"]),
        ("releases/x/x_v1", true, vec!["1.B.json", "1.C.json"]),
        ("releases/y/y_v1.zip", true, vec!["1.B.json", "1.D.json"]),
        ("releases/z/z_v1.zip", false, vec!["1.B.json"]),
    ] {
        let reader = Reader::new(&repository);
        repository.requests();
        assert_eq!(reader.find(path).await.is_ok(), found, "{path}");
        assert_eq!(repository.requests()[4..], visited, "{path}");
    }
}

#[tokio::test]
async fn odd_role_names_stay_inside_the_folder() {
    for (name, stored) in [
        ("?", "%3F.json"),
        ("#", "%23.json"),
        ("/delegatedrole", "%2Fdelegatedrole.json"),
        ("../delegatedrole", "..%2Fdelegatedrole.json"),
        ("ü x", "%C3%BC%20x.json"),
        ("2.root", "2.root.json"),
        ("..", "...json"),
    ] {
        let repository = repository_of(&[("targets", name, false, "*")]);
        let reader = Reader::new(&repository);
        reader.find("missing").await.unwrap_err();
        assert_eq!(repository.requests().last().unwrap(), &format!("1.{name}.json"));
        assert!(reader.folder.path().join(stored).is_file(), "{name}");
        let roles = std::fs::read_dir(reader.folder.path())
            .unwrap()
            .filter(|entry| {
                entry
                    .as_ref()
                    .unwrap()
                    .file_name()
                    .to_string_lossy()
                    .ends_with(".json")
            })
            .count();
        assert_eq!(roles, 5, "{name}");
    }
    // Too long for a file name: verified and used, only not remembered.
    let name = "x".repeat(300);
    let mut repository = Repository::new();
    repository.delegate("targets", &name, 20, json!({"paths": ["*"]}));
    repository.add_target(&name, "a", b"a");
    repository.next_targets("targets");
    Reader::new(&repository).find("a").await.unwrap();
}

#[tokio::test]
async fn a_role_is_checked_against_each_parent() {
    // A may sign C with its key for *.py, B expects another key.
    let mut repository = Repository::new();
    repository.delegate("targets", "A", 20, json!({"paths": ["*.py"]}));
    repository.delegate("targets", "B", 21, json!({"paths": ["*.txt"]}));
    repository.delegate("A", "C", 22, json!({"paths": ["*"]}));
    repository.delegate("B", "C", 23, json!({"paths": ["*"]}));
    repository.add_target("C", "x.py", b"py");
    repository.add_target("C", "x.txt", b"txt");
    repository.next_targets("targets");
    let reader = Reader::new(&repository);
    let mut client = reader.client();
    client.refresh(now()).await.unwrap();
    client.find_target("x.py", now()).await.unwrap();
    let error = client.find_target("x.txt", now()).await.unwrap_err();
    assert_eq!((error.reason(), error.role()), (Reason::Threshold, Some("C")));
    // Signed for both, both accept it.
    repository.signers.insert("C".to_owned(), vec![key(22), key(23)]);
    repository.next_targets("C");
    client.refresh(now()).await.unwrap();
    for path in ["x.py", "x.txt"] {
        client.find_target(path, now()).await.unwrap();
    }
}

#[tokio::test]
async fn a_bad_role_ends_the_search() {
    let delegations: [Delegation; 2] = [("targets", "A", false, "*"), ("targets", "B", false, "*")];
    let spoil: [Spoiled; 4] = [
        ("wrong key", Reason::Threshold, |r| {
            r.signers.insert("A".to_owned(), vec![key(99)]);
            r.publish("A");
        }),
        ("wrong version", Reason::MixAndMatch, |r| {
            r.document("A")["version"] = json!(9);
            let bytes = r.signed("A");
            r.serve_role("A", "1", bytes);
        }),
        ("not in the snapshot", Reason::MixAndMatch, |r| {
            r.snapshot["meta"].as_object_mut().unwrap().remove("A.json");
            r.bump("snapshot");
            r.publish("snapshot");
            r.next_timestamp();
        }),
        ("missing", Reason::NotFound, |r| r.remove("metadata/1.A.json")),
    ];
    for (name, expected, change) in spoil {
        let mut repository = repository_of(&delegations);
        repository.add_target("B", "file", b"from B");
        repository.next_snapshot();
        change(&mut repository);
        let reader = Reader::new(&repository);
        let error = reader.find("file").await.unwrap_err();
        assert_eq!(error.reason(), expected, "{name}: {error}");
        assert!(!reader.folder.path().join("A.json").exists(), "{name}");
    }
}

#[tokio::test]
async fn hash_prefixes_and_succinct_bins() {
    let mut repository = Repository::new();
    let digest = |path: &str| hex::encode(<sha2::Sha256 as sha2::Digest>::digest(path));
    let prefix = digest("some/file")[..2].to_owned();
    repository.delegate("targets", "bin", 20, json!({"path_hash_prefixes": [prefix]}));
    repository.add_target("bin", "some/file", b"x");
    repository.next_targets("targets");
    let reader = Reader::new(&repository);
    reader.find("some/file").await.unwrap();

    // TAP 15: one line for many bins, found from the leading bits.
    let mut repository = Repository::new();
    let bin = u32::from_str_radix(&digest("some/file")[..4], 16).unwrap() >> 6;
    let name = format!("many-{bin:03x}");
    repository.delegate("targets", &name, 20, json!({"paths": ["*"]}));
    repository.document("targets")["delegations"]["roles"] = json!([]);
    repository.document("targets")["delegations"]["succinct_roles"] =
        json!({"keyids": ["key-20"], "threshold": 1, "bit_length": 10, "name_prefix": "many"});
    repository.add_target(&name, "some/file", b"x");
    repository.next_targets("targets");
    let reader = Reader::new(&repository);
    reader.find("some/file").await.unwrap();
    assert_eq!(repository.requests()[4..], [format!("1.{name}.json")]);

    repository.document("targets")["delegations"]["succinct_roles"]["bit_length"] = json!(33);
    repository.next_targets("targets");
    let error = reader.find("some/file").await.unwrap_err();
    assert_eq!(error.reason(), Reason::Malformed);
}

#[tokio::test]
async fn a_search_has_an_end() {
    let mut repository = Repository::new();
    for number in 0..20 {
        repository.delegate("targets", &format!("role-{number}"), 20, json!({"paths": ["*"]}));
    }
    repository.next_targets("targets");
    let mut reader = Reader::new(&repository);
    reader.limits.delegations_max = 10;
    let error = reader.find("missing").await.unwrap_err();
    assert!(
        matches!(error, FeedError::TooManyDelegations { limit: 10, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_role_lists_only_what_it_may() {
    let mut repository = Repository::new();
    repository.delegate(
        "targets",
        "catalogue",
        20,
        json!({"paths": ["catalogue/*"], "terminating": true}),
    );
    repository.delegate(
        "targets",
        "rest",
        21,
        json!({"path_hash_prefixes": ["0", "1", "2", "3", "4", "5", "6",
        "7", "8", "9", "a", "b", "c", "d", "e", "f"]}),
    );
    for path in ["catalogue/0", "catalogue/1", "elsewhere", "catalogue/a/b"] {
        repository.add_target("catalogue", path, path.as_bytes());
    }
    repository.targets.get_mut("catalogue").unwrap()["targets"]["catalogue/0"]["custom"] =
        json!({"records": 3});
    repository.next_targets("targets");
    let reader = Reader::new(&repository);
    let mut client = reader.client();
    assert!(matches!(
        client.delegated_targets("catalogue", now()).await,
        Err(FeedError::NotRefreshed)
    ));
    client.refresh(now()).await.unwrap();
    let listed = client.delegated_targets("catalogue", now()).await.unwrap();
    let paths: Vec<&str> = listed.iter().map(|target| target.path.as_str()).collect();
    assert_eq!(paths, ["catalogue/0", "catalogue/1"]);
    assert_eq!(listed[0].custom, Some(json!({"records": 3})));
    assert_eq!(listed[1].custom, None::<Value>);
    let error = client.delegated_targets("nobody", now()).await.unwrap_err();
    assert!(matches!(error, FeedError::NoSuchRole { .. }));
}
