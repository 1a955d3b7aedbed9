//! Expiry: a frozen feed is refused, an expired floor still binds, and a clock that ran ahead leaves no trace.

use feed::{FeedError, Reason};
use serde_json::json;

use crate::repository::{Reader, Repository, at, now};

#[tokio::test]
async fn each_expired_role_is_named() {
    for (role, expected) in [
        ("root", [2, 0, 0, 0]),
        ("timestamp", [1, 0, 0, 0]),
        ("snapshot", [1, 1, 0, 0]),
        ("targets", [1, 1, 1, 0]),
    ] {
        let mut repository = Repository::new();
        let reader = Reader::new(&repository);
        repository.document(role)["expires"] = json!("2030-05-31T00:00:00Z");
        match role {
            "root" => repository.next_root(),
            _ => repository.publish(role),
        }
        let error = reader.refresh().await.unwrap_err();
        assert_eq!(
            (error.reason(), error.role()),
            (Reason::Expired, Some(role)),
            "{error}"
        );
        assert_eq!(reader.versions(), expected, "{role}");
        // Renewed, everything is well again.
        repository.document(role)["expires"] = json!("2031-01-01T00:00:00Z");
        match role {
            "root" => repository.next_root(),
            _ => repository.publish(role),
        }
        reader.refresh().await.unwrap();
    }
}

#[tokio::test]
async fn the_second_of_expiry_is_too_late() {
    let mut repository = Repository::new();
    repository.timestamp["expires"] = json!("2030-06-01T12:00:00Z");
    repository.publish("timestamp");
    let reader = Reader::new(&repository);
    assert!(matches!(reader.refresh().await, Err(FeedError::Expired { .. })));
    reader.refresh_at(at("2030-06-01T11:59:59Z")).await.unwrap();
    // In a process that goes on, too.
    let mut client = reader.client();
    client.refresh(at("2030-06-01T11:59:59Z")).await.unwrap();
    let error = client.refresh(now()).await.unwrap_err();
    assert_eq!(error.reason(), Reason::Expired);
    assert_eq!(
        client.find_target("a", now()).await.unwrap_err().reason(),
        Reason::Expired
    );
}

#[tokio::test]
async fn expired_metadata_is_still_a_floor() {
    let mut repository = Repository::new();
    repository.timestamp["expires"] = json!("2030-06-02T00:00:00Z");
    repository.timestamp["version"] = json!(5);
    repository.publish("timestamp");
    let reader = Reader::new(&repository);
    reader.refresh().await.unwrap();
    let later = at("2030-07-01T00:00:00Z");
    // An old timestamp that is valid for longer.
    repository.timestamp["expires"] = json!("2031-01-01T00:00:00Z");
    repository.timestamp["version"] = json!(4);
    repository.publish("timestamp");
    let error = reader.refresh_at(later).await.unwrap_err();
    assert_eq!(error.reason(), Reason::Rollback);
    repository.timestamp["version"] = json!(6);
    repository.publish("timestamp");
    reader.refresh_at(later).await.unwrap();
}

#[tokio::test]
async fn a_clock_that_ran_ahead_leaves_no_trace() {
    let mut repository = Repository::new();
    repository.add_target("targets", "a", b"a");
    repository.next_targets("targets");
    let reader = Reader::new(&repository);
    reader.refresh().await.unwrap();
    let before = reader.versions();
    let error = reader.refresh_at(at("2060-01-01T00:00:00Z")).await.unwrap_err();
    assert_eq!(error.reason(), Reason::Expired);
    assert!(
        error.to_string().contains("the clock of this machine is ahead"),
        "{error}"
    );
    assert_eq!(reader.versions(), before);
    reader.find("a").await.unwrap();
    // And a clock that runs behind refuses nothing.
    reader.refresh_at(at("1970-01-01T00:00:00Z")).await.unwrap();
}

#[tokio::test]
async fn an_expired_delegated_role_is_refused_and_recovers() {
    let mut repository = Repository::new();
    repository.delegate("targets", "a", 20, json!({"paths": ["*"]}));
    repository.add_target("a", "file", b"x");
    repository.document("a")["expires"] = json!("2030-06-02T00:00:00Z");
    repository.next_targets("targets");
    let reader = Reader::new(&repository);
    reader.find("file").await.unwrap();
    let later = at("2030-06-03T00:00:00Z");
    let mut client = reader.client();
    client.refresh(later).await.unwrap();
    let error = client.find_target("file", later).await.unwrap_err();
    assert_eq!((error.reason(), error.role()), (Reason::Expired, Some("a")));
    repository.document("a")["expires"] = json!("2031-01-01T00:00:00Z");
    repository.next_targets("a");
    client.refresh(later).await.unwrap();
    client.find_target("file", later).await.unwrap();
}
