//! Targets: exact bytes or nothing, resumed where a connection broke, and no request for what is already here.

use std::path::Path;

use feed::{FeedClient, FeedError, Reason, TargetInfo};
use serde_json::json;

use crate::repository::{Reader, Repository, now, prefixed, sha512};

const CONTENT_BYTES: usize = 700_000;

fn content() -> Vec<u8> {
    (0..CONTENT_BYTES).map(|index| (index * 31 % 251) as u8).collect()
}

async fn set_up() -> (Repository, Reader, FeedClient, TargetInfo) {
    let mut repository = Repository::new();
    repository.add_target("targets", "dir/sub/file.bin", &content());
    repository.next_targets("targets");
    let reader = Reader::new(&repository);
    let mut client = reader.client();
    client.refresh(now()).await.unwrap();
    let target = client.find_target("dir/sub/file.bin", now()).await.unwrap();
    repository.requests();
    (repository, reader, client, target)
}

async fn download(client: &FeedClient, target: &TargetInfo, to: &Path) -> Result<Vec<u64>, FeedError> {
    let mut seen = Vec::new();
    client
        .download_target(target, to, &mut |bytes| seen.push(bytes))
        .await?;
    Ok(seen)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect()
}

fn served(target: &TargetInfo) -> String {
    format!("dir/sub/{}.file.bin", target.sha256.as_deref().unwrap())
}

#[tokio::test]
async fn a_target_arrives_once() {
    let (repository, _reader, client, target) = set_up().await;
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("new/file.bin");
    let seen = download(&client, &target, &to).await.unwrap();
    assert_eq!(std::fs::read(&to).unwrap(), content());
    assert_eq!(names(to.parent().unwrap()), ["file.bin"]);
    assert_eq!((seen[0], *seen.last().unwrap()), (0, CONTENT_BYTES as u64));
    assert!(seen.is_sorted());
    assert_eq!(repository.requests(), [served(&target)]);
    // It is here: nothing is asked for.
    download(&client, &target, &to).await.unwrap();
    assert_eq!(repository.requests(), [""; 0]);
    // Somebody changed it: it is fetched again.
    std::fs::write(&to, b"changed").unwrap();
    download(&client, &target, &to).await.unwrap();
    assert_eq!(std::fs::read(&to).unwrap(), content());
}

#[tokio::test]
async fn a_broken_download_goes_on() {
    let (repository, _reader, client, target) = set_up().await;
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("file.bin");
    repository.faults(|faults| faults.break_after = Some(300_000));
    let error = download(&client, &target, &to).await.unwrap_err();
    assert_eq!(error.reason(), Reason::Network);
    assert!(!to.exists());
    repository.faults(|faults| faults.break_after = None);
    let seen = download(&client, &target, &to).await.unwrap();
    assert_eq!(seen[0], 300_000);
    assert_eq!(std::fs::read(&to).unwrap(), content());
    assert_eq!(
        repository.requests(),
        [served(&target), format!("{}[300000..700000]", served(&target))]
    );
    assert_eq!(names(folder.path()), ["file.bin"]);
}

#[tokio::test]
async fn a_server_without_ranges_starts_over() {
    let (repository, _reader, client, target) = set_up().await;
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("file.bin");
    repository.faults(|faults| {
        faults.break_after = Some(1_000);
        faults.ignore_ranges = true;
    });
    download(&client, &target, &to).await.unwrap_err();
    repository.faults(|faults| faults.break_after = None);
    download(&client, &target, &to).await.unwrap();
    assert_eq!(std::fs::read(&to).unwrap(), content());
}

#[tokio::test]
async fn damaged_partial_bytes_are_thrown_away_once() {
    let (repository, _reader, client, target) = set_up().await;
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("file.bin");
    repository.faults(|faults| faults.break_after = Some(300_000));
    download(&client, &target, &to).await.unwrap_err();
    let partial = folder.path().join(&names(folder.path())[0]);
    let mut bytes = std::fs::read(&partial).unwrap();
    bytes[5] ^= 1;
    std::fs::write(&partial, bytes).unwrap();
    repository.faults(|faults| faults.break_after = None);
    repository.requests();
    download(&client, &target, &to).await.unwrap();
    assert_eq!(std::fs::read(&to).unwrap(), content());
    assert_eq!(
        repository.requests(),
        [format!("{}[300000..700000]", served(&target)), served(&target)]
    );
    // Longer than the target can be: not even tried.
    std::fs::remove_file(&to).unwrap();
    std::fs::write(&partial, vec![0; CONTENT_BYTES + 1]).unwrap();
    download(&client, &target, &to).await.unwrap();
    assert_eq!(repository.requests(), [served(&target)]);
    // Complete, and only the last step was missing.
    std::fs::rename(&to, &partial).unwrap();
    download(&client, &target, &to).await.unwrap();
    assert_eq!(repository.requests(), [""; 0]);
}

#[tokio::test]
async fn unfinished_bytes_of_another_version_are_removed() {
    let (mut repository, _reader, mut client, target) = set_up().await;
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("file.bin");
    repository.faults(|faults| faults.break_after = Some(300_000));
    download(&client, &target, &to).await.unwrap_err();
    repository.faults(|faults| faults.break_after = None);
    repository.add_target("targets", "dir/sub/file.bin", b"new content");
    repository.next_targets("targets");
    client.refresh(now()).await.unwrap();
    let target = client.find_target("dir/sub/file.bin", now()).await.unwrap();
    download(&client, &target, &to).await.unwrap();
    assert_eq!(std::fs::read(&to).unwrap(), b"new content");
    assert_eq!(names(folder.path()), ["file.bin"]);
}

#[tokio::test]
async fn wrong_content_is_refused_and_leaves_nothing() {
    let mut longer = content();
    longer.push(0);
    let mut changed = content();
    changed[600_000] ^= 1;
    for (bytes, expected) in [
        (changed, Reason::Tampered),
        (content()[..1000].to_vec(), Reason::Tampered),
        (Vec::new(), Reason::Tampered),
        (longer, Reason::Oversized),
    ] {
        for hide_length in [false, true] {
            let (repository, _reader, client, target) = set_up().await;
            repository.faults(|faults| faults.hide_length = hide_length);
            repository.serve(&format!("targets/{}", served(&target)), bytes.clone());
            let folder = tempfile::tempdir().unwrap();
            let to = folder.path().join("file.bin");
            // Without a length nobody can tell a short file from a broken connection.
            let expected = if hide_length && bytes.len() < 2_000 {
                Reason::Network
            } else {
                expected
            };
            let error = download(&client, &target, &to).await.unwrap_err();
            assert_eq!(error.reason(), expected, "{error}");
            assert!(!to.exists());
            if expected != Reason::Network {
                assert_eq!(names(folder.path()), [""; 0]);
            }
            let error = client.fetch_target_bytes(&target, 1 << 20).await.unwrap_err();
            assert_eq!(error.reason(), expected, "{error}");
            repository.serve(&format!("targets/{}", served(&target)), content());
            download(&client, &target, &to).await.unwrap();
        }
    }
}

#[tokio::test]
async fn endless_data_is_cut_at_the_signed_length() {
    let (repository, _reader, client, target) = set_up().await;
    repository.faults(|faults| faults.endless = true);
    let folder = tempfile::tempdir().unwrap();
    let error = download(&client, &target, &folder.path().join("file.bin"))
        .await
        .unwrap_err();
    assert!(
        matches!(error, FeedError::TargetOversized { length: 700_000, .. }),
        "{error}"
    );
    assert_eq!(names(folder.path()), [""; 0]);
    let error = client.fetch_target_bytes(&target, 1 << 20).await.unwrap_err();
    assert_eq!(error.reason(), Reason::Oversized);
}

#[tokio::test]
async fn small_targets_fit_into_memory() {
    let (_repository, _reader, client, target) = set_up().await;
    assert_eq!(
        client
            .fetch_target_bytes(&target, CONTENT_BYTES as u64)
            .await
            .unwrap(),
        content()
    );
    let error = client
        .fetch_target_bytes(&target, CONTENT_BYTES as u64 - 1)
        .await
        .unwrap_err();
    assert!(matches!(error, FeedError::TargetTooLarge { .. }));
}

#[tokio::test]
async fn hashes_of_all_kinds() {
    let mut repository = Repository::new();
    let (path, body) = ("dir/file", b"content");
    let hash = sha512(body);
    repository.document("targets")["targets"][path] =
        json!({"length": body.len(), "hashes": {"sha512": hash.to_uppercase(), "blake2b": "00"}});
    repository.serve(
        &format!("targets/{}", prefixed(path, &hash.to_uppercase())),
        body.to_vec(),
    );
    // Both hashes, and the file kept only under the second.
    let sha256 = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(body));
    repository.document("targets")["targets"]["both"] =
        json!({"length": body.len(), "hashes": {"sha256": sha256, "sha512": hash}});
    repository.serve(&format!("targets/{hash}.both"), body.to_vec());
    repository.document("targets")["targets"]["unknown"] = json!({"length": 1, "hashes": {"blake2b": "00"}});
    repository.document("targets")["targets"]["climbing"] =
        json!({"length": 1, "hashes": {"sha256": "../../secret"}});
    repository.document("targets")["targets"]["one wrong"] =
        json!({"length": body.len(), "hashes": {"sha256": sha256, "sha512": "0".repeat(128)}});
    repository.serve(&format!("targets/{sha256}.one wrong"), body.to_vec());
    repository.document("targets")["targets"]["nothing"] =
        json!({"length": 0, "hashes": {"sha256": hex::encode(<sha2::Sha256 as sha2::Digest>::digest(b""))}});
    repository.next_targets("targets");

    let reader = Reader::new(&repository);
    let mut client = reader.client();
    client.refresh(now()).await.unwrap();
    for path in [path, "both"] {
        let target = client.find_target(path, now()).await.unwrap();
        assert_eq!(client.fetch_target_bytes(&target, 100).await.unwrap(), body);
        let folder = tempfile::tempdir().unwrap();
        download(&client, &target, &folder.path().join("x"))
            .await
            .unwrap();
    }
    for path in ["unknown", "climbing"] {
        let error = client.find_target(path, now()).await.unwrap_err();
        assert_eq!(error.reason(), Reason::Tampered, "{error}");
    }
    let target = client.find_target("one wrong", now()).await.unwrap();
    let error = client.fetch_target_bytes(&target, 100).await.unwrap_err();
    assert_eq!(error.reason(), Reason::Tampered);
    let target = client.find_target("nothing", now()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    download(&client, &target, &folder.path().join("x"))
        .await
        .unwrap();
    assert_eq!(std::fs::read(folder.path().join("x")).unwrap(), b"");
}

#[tokio::test]
async fn without_consistent_snapshots_names_are_plain() {
    let mut repository = Repository::unpublished();
    repository.root["consistent_snapshot"] = json!(false);
    repository.publish_root();
    repository.first_root = repository.file("1.root.json");
    repository.delegate("targets", "a", 20, json!({"paths": ["dir/*"]}));
    repository.add_target("a", "dir/file", b"x");
    repository.serve("targets/dir/file", b"x".to_vec());
    repository.next_targets("targets");
    let reader = Reader::new(&repository);
    let mut client = reader.client();
    client.refresh(now()).await.unwrap();
    let target = client.find_target("dir/file", now()).await.unwrap();
    client.fetch_target_bytes(&target, 10).await.unwrap();
    assert_eq!(
        repository.requests(),
        [
            "2.root.json",
            "timestamp.json",
            "snapshot.json",
            "targets.json",
            "a.json",
            "dir/file"
        ]
    );
}
