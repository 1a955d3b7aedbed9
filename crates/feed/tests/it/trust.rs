//! The trust folder: what is in it, what a damaged file does, and what a new pin does.

use std::sync::Arc;

use feed::{FeedClient, FeedError, FolderTrust, Limits, Reason, Transport};
use serde_json::json;

use crate::repository::{Reader, Repository, now};

#[tokio::test]
async fn damaged_roles_count_as_absent() {
    for damage in [&b""[..], b"{", b"{\"signed\":{},\"signatures\":[]}", b"\x00\xff"] {
        for role in ["timestamp", "snapshot", "targets"] {
            let mut repository = Repository::new();
            repository.next_targets("targets");
            let reader = Reader::new(&repository);
            reader.refresh().await.unwrap();
            std::fs::write(reader.folder.path().join(format!("{role}.json")), damage).unwrap();
            reader.refresh().await.unwrap();
            assert_eq!(reader.versions(), [1, 2, 2, 2]);
        }
    }
}

#[tokio::test]
async fn a_damaged_root_falls_back_to_the_pinned_one() {
    let mut repository = Repository::new();
    repository.next_root();
    let reader = Reader::new(&repository);
    reader.refresh().await.unwrap();
    assert_eq!(reader.version("root"), 2);
    let root = reader.folder.path().join("root.json");
    std::fs::write(&root, b"{\"signed\"").unwrap();
    reader.refresh().await.unwrap();
    assert_eq!(reader.version("root"), 2);
    std::fs::remove_file(&root).unwrap();
    reader.refresh().await.unwrap();

    std::fs::write(&root, b"{}").unwrap();
    std::fs::remove_file(reader.folder.path().join("root.pinned")).unwrap();
    let trust = FolderTrust::open(reader.folder.path()).unwrap();
    let server = Arc::clone(&repository.server) as Arc<dyn Transport>;
    let error = FeedClient::new(server, trust, Limits::default()).unwrap_err();
    assert!(matches!(error, FeedError::DamagedRoot { .. }), "{error}");
    assert_eq!(error.reason(), Reason::TrustStore);
    assert!(std::error::Error::source(&error).is_some());
}

#[test]
fn without_a_root_there_is_nothing_to_start_from() {
    let repository = Repository::new();
    let folder = tempfile::tempdir().unwrap();
    let trust = FolderTrust::open(folder.path()).unwrap();
    let server = Arc::clone(&repository.server) as Arc<dyn Transport>;
    let error = FeedClient::new(server, trust, Limits::default()).unwrap_err();
    assert!(matches!(error, FeedError::NoRoot { .. }));
}

#[test]
fn only_a_sound_root_can_be_pinned() {
    let mut repository = Repository::new();
    let folder = tempfile::tempdir().unwrap();
    repository.root["roles"]["root"]["threshold"] = json!(2);
    let unsigned = repository.signed("root");
    for root in [&b"{}"[..], &unsigned] {
        FolderTrust::init(folder.path(), root).unwrap_err();
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn leftovers_of_a_crash_do_not_matter() {
    let repository = Repository::new();
    let reader = Reader::new(&repository);
    std::fs::write(reader.folder.path().join(".unfinished-timestamp.json.tmp"), b"{").unwrap();
    reader.refresh().await.unwrap();
    let mut names: Vec<_> = std::fs::read_dir(reader.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "root.json",
            "root.pinned",
            "snapshot.json",
            "targets.json",
            "timestamp.json"
        ]
    );
}

#[tokio::test]
async fn another_pin_starts_anew_and_the_same_one_does_not() {
    let mut repository = Repository::new();
    repository.next_root();
    let reader = Reader::new(&repository);
    reader.refresh().await.unwrap();
    FolderTrust::open_pinned(reader.folder.path(), &repository.first_root).unwrap();
    assert_eq!(reader.versions(), [2, 1, 1, 1]);
    let second = repository.file("2.root.json");
    FolderTrust::open_pinned(reader.folder.path(), &second).unwrap();
    assert_eq!(reader.versions(), [2, 0, 0, 0]);
    reader.client().refresh(now()).await.unwrap();
}

#[tokio::test]
async fn a_read_only_folder_gives_one_clear_error() {
    use std::os::unix::fs::PermissionsExt;
    let repository = Repository::new();
    let reader = Reader::new(&repository);
    let client = reader.client();
    let folder = reader.folder.path();
    // Root ignores permissions, so put a folder where the file must go instead.
    std::fs::create_dir(folder.join("timestamp.json")).unwrap();
    std::fs::set_permissions(
        folder.join("timestamp.json"),
        std::fs::Permissions::from_mode(0o700),
    )
    .unwrap();
    let mut client = client;
    let error = client.refresh(now()).await.unwrap_err();
    assert_eq!(error.reason(), Reason::Storage, "{error}");
    assert!(error.to_string().contains("timestamp.json"), "{error}");
    std::fs::remove_dir(folder.join("timestamp.json")).unwrap();
    reader.refresh().await.unwrap();
}
