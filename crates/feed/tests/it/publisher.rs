//! What our publisher writes, read back by our reader: edits, renewal, rotations, crashes, break-ins.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use feed::publisher::{
    CATALOGUE, InitSpec, OnlineRole, PublishError, Publisher, RootChange, RootDraft, RootRotation,
    SigningKey, TargetRecord,
};
use feed::{FeedClient, FeedError, FolderTransport, FolderTrust, Limits, Reason};
use jiff::Timestamp;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::repository::{at, now};

pub struct Vendor {
    pub folder: TempDir,
    pub rng: ChaCha20Rng,
}

impl Vendor {
    pub fn new(spec: &InitSpec) -> (Self, Publisher) {
        let folder = tempfile::tempdir().unwrap();
        let mut rng = ChaCha20Rng::seed_from_u64(7);
        let repository = folder.path().join("feed");
        let publisher = Publisher::init(
            &repository,
            &folder.path().join("keys"),
            &folder.path().join("root-keys"),
            spec,
            &mut rng,
            now(),
        )
        .unwrap();
        (Self { folder, rng }, publisher)
    }

    pub fn open(&self) -> Result<Publisher, PublishError> {
        Publisher::open(&self.repository(), &self.folder.path().join("keys"))
    }

    pub fn repository(&self) -> PathBuf {
        self.folder.path().join("feed")
    }

    pub fn root_keys(&self) -> PathBuf {
        self.folder.path().join("root-keys")
    }

    fn transport(&self) -> Arc<FolderTransport> {
        Arc::new(FolderTransport::new(
            self.repository().join("metadata"),
            self.repository().join("targets"),
        ))
    }

    fn reader(&self, trust: &Path) -> FeedClient {
        FeedClient::new(
            self.transport(),
            FolderTrust::open(trust).unwrap(),
            Limits::default(),
        )
        .unwrap()
    }
}

pub fn small() -> InitSpec {
    InitSpec {
        bins: 4,
        ..InitSpec::default()
    }
}

/// Puts the file in place and lists it.
pub fn publish(publisher: &mut Publisher, path: &str, content: &[u8]) {
    let sha256 = hex::encode(Sha256::digest(content));
    let file = publisher.target_file(path, &sha256);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, content).unwrap();
    let record = TargetRecord {
        length: content.len() as u64,
        sha256,
        custom: None,
    };
    publisher.set_target(path, &record).unwrap();
}

async fn read(client: &mut FeedClient, path: &str, now: Timestamp) -> Result<Vec<u8>, FeedError> {
    client.refresh(now).await?;
    let target = client.find_target(path, now).await?;
    client.fetch_target_bytes(&target, 1 << 20).await
}

#[tokio::test]
async fn what_is_published_can_be_read() {
    let (vendor, mut publisher) = Vendor::new(&InitSpec::default());
    for path in [
        "catalogue/0.jsonl.zst",
        "payloads/a/index",
        "packs/b.pack",
        "ünï/ sp ace%20",
    ] {
        publish(&mut publisher, path, path.as_bytes());
    }
    let committed = publisher.commit(now()).unwrap();
    assert!(committed.changed);
    assert_eq!((committed.snapshot, committed.timestamp), (2, 2));
    let trust = tempfile::tempdir().unwrap();
    FolderTrust::init(trust.path(), publisher.root_bytes()).unwrap();
    let mut client = vendor.reader(trust.path());
    for path in [
        "catalogue/0.jsonl.zst",
        "payloads/a/index",
        "packs/b.pack",
        "ünï/ sp ace%20",
    ] {
        assert_eq!(read(&mut client, path, now()).await.unwrap(), path.as_bytes());
    }
    let shards = client.delegated_targets(CATALOGUE, now()).await.unwrap();
    assert_eq!(shards.len(), 1);
    assert!(publisher.remove_target("packs/b.pack").unwrap());
    assert!(!publisher.remove_target("packs/b.pack").unwrap());
    publisher.commit(now()).unwrap();
    assert!(matches!(
        read(&mut client, "packs/b.pack", now()).await,
        Err(FeedError::NoSuchTarget { .. })
    ));
    assert_eq!(publisher.targets("").unwrap().len(), 3);
    assert_eq!(publisher.targets("cat").unwrap().len(), 1);
}

#[test]
fn only_what_changed_gets_a_new_version() {
    let (vendor, mut publisher) = Vendor::new(&InitSpec::default());
    assert!(!publisher.commit(now()).unwrap().changed);
    publish(&mut publisher, "a", b"a");
    let committed = publisher.commit(now()).unwrap();
    assert_eq!(committed.roles.len(), 1);
    // The same again is no change; neither is a change taken back.
    publish(&mut publisher, "a", b"a");
    publish(&mut publisher, "b", b"b");
    publisher.remove_target("b").unwrap();
    assert!(!publisher.commit(now()).unwrap().changed);
    let new: Vec<String> = std::fs::read_dir(vendor.repository().join("metadata"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("2."))
        .collect();
    assert_eq!(new.len(), 2, "{new:?}");
}

#[test]
fn a_target_without_its_file_is_not_published() {
    let (_vendor, mut publisher) = Vendor::new(&small());
    let record = TargetRecord {
        length: 3,
        sha256: hex::encode(Sha256::digest(b"abc")),
        custom: None,
    };
    publisher.set_target("dir/a", &record).unwrap();
    assert!(matches!(
        publisher.commit(now()),
        Err(PublishError::Target { .. })
    ));
    let file = publisher.target_file("dir/a", &record.sha256);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, b"ab").unwrap();
    assert!(matches!(
        publisher.commit(now()),
        Err(PublishError::Target { .. })
    ));
    std::fs::write(&file, b"abc").unwrap();
    publisher.commit(now()).unwrap();
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let files = || {
        let (vendor, mut publisher) = Vendor::new(&small());
        for path in ["z", "a/b", "catalogue/1", "m"] {
            publish(&mut publisher, path, path.as_bytes());
        }
        publisher.commit(at("2030-06-02T00:00:00.123Z")).unwrap();
        drop(publisher);
        let mut publisher = vendor.open().unwrap();
        publish(&mut publisher, "later", b"later");
        publisher.commit(at("2030-06-03T00:00:00Z")).unwrap();
        let mut files: Vec<(PathBuf, Vec<u8>)> = std::fs::read_dir(vendor.repository().join("metadata"))
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.file_name().into(), std::fs::read(entry.path()).unwrap()))
            .collect();
        files.sort();
        files
    };
    assert_eq!(files(), files());
}

#[tokio::test]
async fn a_crash_before_the_timestamp_changes_nothing() {
    let (vendor, mut publisher) = Vendor::new(&small());
    publish(&mut publisher, "a", b"old");
    publisher.commit(now()).unwrap();
    let metadata = vendor.repository().join("metadata");
    let timestamp = std::fs::read(metadata.join("timestamp.json")).unwrap();
    publish(&mut publisher, "a", b"new");
    publisher.commit(now()).unwrap();
    drop(publisher);
    // As if the process had died just before its last step, and once more while writing.
    std::fs::write(metadata.join("timestamp.json"), timestamp).unwrap();
    std::fs::write(metadata.join("9.snapshot.json"), b"{ torn").unwrap();
    std::fs::write(metadata.join(".unfinished-timestamp.json.tmp"), b"{").unwrap();
    let before: Vec<_> = std::fs::read_dir(&metadata)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    let bytes: Vec<_> = before.iter().map(|path| std::fs::read(path).unwrap()).collect();

    let mut publisher = vendor.open().unwrap();
    assert_eq!(publisher.target("a").unwrap().unwrap().length, 3);
    let trust = tempfile::tempdir().unwrap();
    FolderTrust::init(trust.path(), publisher.root_bytes()).unwrap();
    let mut client = vendor.reader(trust.path());
    assert_eq!(read(&mut client, "a", now()).await.unwrap(), b"old");
    publish(&mut publisher, "a", b"newer");
    let committed = publisher.commit(now()).unwrap();
    assert_eq!(
        committed.snapshot, 10,
        "a number that was used is never used again"
    );
    assert_eq!(read(&mut client, "a", now()).await.unwrap(), b"newer");
    for (path, bytes) in before.iter().zip(bytes) {
        let is_versioned = path
            .file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with(|c: char| c.is_ascii_digit());
        if is_versioned && path.exists() {
            assert_eq!(std::fs::read(path).unwrap(), bytes, "{}", path.display());
        }
    }
}

#[test]
fn old_versions_go_after_a_while() {
    let (vendor, mut publisher) = Vendor::new(&InitSpec {
        bins: 1,
        ..InitSpec::default()
    });
    for number in 0..40_u32 {
        publish(&mut publisher, "a", &number.to_be_bytes());
        publisher.commit(now()).unwrap();
    }
    let count = std::fs::read_dir(vendor.repository().join("metadata"))
        .unwrap()
        .count();
    // 17 snapshots and 17 versions of the bin; one root, timestamp, targets and catalogue.
    assert_eq!(count, 38);
    drop(publisher);
    vendor.open().unwrap();
}

#[test]
fn a_tampered_repository_is_never_signed_again() {
    let (vendor, mut publisher) = Vendor::new(&small());
    publish(&mut publisher, "a", b"good");
    publisher.commit(now()).unwrap();
    drop(publisher);
    let metadata = vendor.repository().join("metadata");
    for entry in std::fs::read_dir(&metadata).unwrap() {
        let path = entry.unwrap().path();
        let sound = std::fs::read(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name == "1.snapshot.json"
            || name.starts_with("1.bin") && metadata.join(name.replacen('1', "2", 1)).exists()
        {
            continue;
        }
        let text = String::from_utf8(sound.clone()).unwrap();
        std::fs::write(&path, text.replace("2030", "2040").replace("2031", "2041")).unwrap();
        let outcome = vendor.open().and_then(|mut publisher| {
            publisher.targets("")?;
            publish(&mut publisher, "b", b"b");
            publisher.commit(now())
        });
        // The first root is remembered beside the keys, so its copy in the repository is only for readers.
        if name != "1.root.json" {
            assert!(
                matches!(outcome, Err(PublishError::Verify { .. })),
                "{name}: {outcome:?}"
            );
        }
        std::fs::write(&path, sound).unwrap();
        if name == "1.root.json" {
            break;
        }
    }
}

#[test]
fn one_publisher_at_a_time() {
    let (vendor, publisher) = Vendor::new(&small());
    assert!(matches!(vendor.open(), Err(PublishError::Busy { .. })));
    drop(publisher);
    vendor.open().unwrap();
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let again = Publisher::init(
        &vendor.repository(),
        &vendor.folder.path().join("keys"),
        &vendor.root_keys(),
        &small(),
        &mut rng,
        now(),
    );
    assert!(matches!(again, Err(PublishError::AlreadyInitialised { .. })));
}

#[tokio::test]
async fn renewal_keeps_a_feed_readable() {
    let (vendor, mut publisher) = Vendor::new(&small());
    publish(&mut publisher, "a", b"a");
    publisher.commit(now()).unwrap();
    let trust = tempfile::tempdir().unwrap();
    FolderTrust::init(trust.path(), publisher.root_bytes()).unwrap();
    let mut client = vendor.reader(trust.path());
    let mut time = now();
    let mut refused = 0;
    for _ in 0..40 {
        time = Timestamp::from_second(time.as_second() + 8 * 24 * 60 * 60).unwrap();
        if client.refresh(time).await.is_err() {
            refused += 1;
        }
        let renewed = publisher.renew(time).unwrap();
        for (role, _) in renewed.due {
            assert_eq!(role, "root");
            publisher
                .rotate_root(
                    &vendor.root_keys(),
                    &RootRotation::default(),
                    &mut vendor.rng.clone(),
                    time,
                )
                .unwrap();
        }
        assert_eq!(read(&mut client, "a", time).await.unwrap(), b"a");
    }
    assert_eq!(
        refused, 40,
        "a timestamp that lives seven days is expired after eight"
    );
    // Without the targets key it says so instead.
    std::fs::rename(
        vendor.folder.path().join("keys/targets"),
        vendor.folder.path().join("away"),
    )
    .unwrap();
    let late = at("2032-06-01T00:00:00Z");
    let due = publisher.renew(late).unwrap().due;
    assert!(due.iter().any(|(role, _)| role == "targets"), "{due:?}");
}

#[tokio::test]
async fn every_key_can_be_replaced() {
    let (mut vendor, mut publisher) = Vendor::new(&small());
    publish(&mut publisher, "a", b"a");
    publisher.commit(now()).unwrap();
    let trust = tempfile::tempdir().unwrap();
    FolderTrust::init(trust.path(), publisher.root_bytes()).unwrap();
    let root_keys = vendor.root_keys();
    for (step, role) in OnlineRole::ALL.into_iter().enumerate() {
        let mut client = vendor.reader(trust.path());
        assert_eq!(read(&mut client, "a", now()).await.unwrap(), b"a");
        let new = publisher
            .rotate_key(role, Some(&root_keys), &mut vendor.rng, now())
            .unwrap();
        let status = publisher.key_status(Some(&root_keys), now()).unwrap();
        let row = status.iter().find(|row| row.role == role.folder()).unwrap();
        let ids: Vec<&String> = row.keys.iter().map(|key| &key.key_id).collect();
        assert_eq!(ids, new.iter().collect::<Vec<_>>(), "{role:?}");
        assert!(row.keys.iter().all(|key| key.authorised && key.present));
        let content = [b'a', step as u8];
        publish(&mut publisher, "a", &content);
        publisher.commit(now()).unwrap();
        assert_eq!(read(&mut client, "a", now()).await.unwrap(), content);
        publish(&mut publisher, "a", b"a");
        publisher.commit(now()).unwrap();
        drop(publisher);
        publisher = vendor.open().unwrap();
    }
    let error = publisher
        .rotate_key(OnlineRole::Snapshot, None, &mut vendor.rng, now())
        .unwrap_err();
    assert!(matches!(error, PublishError::Settings { .. }));
    let nowhere = vendor.folder.path().join("nowhere");
    let error = publisher
        .rotate_key(OnlineRole::Snapshot, Some(&nowhere), &mut vendor.rng, now())
        .unwrap_err();
    assert!(
        matches!(
            error,
            PublishError::MissingKeys {
                threshold: 2,
                found: 0,
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn root_keys_come_and_go() {
    let (mut vendor, mut publisher) = Vendor::new(&small());
    let trust = tempfile::tempdir().unwrap();
    FolderTrust::init(trust.path(), publisher.root_bytes()).unwrap();
    let root_keys = vendor.root_keys();
    let first = publisher.key_status(Some(&root_keys), now()).unwrap()[0].clone();
    assert_eq!(
        (first.role.as_str(), first.threshold, first.keys.len()),
        ("root", 2, 3)
    );
    let remove = first.keys.iter().map(|key| key.key_id.clone()).collect();
    let rotation = RootRotation {
        add: 5,
        remove,
        threshold: Some(3),
    };
    publisher
        .rotate_root(&root_keys, &rotation, &mut vendor.rng, now())
        .unwrap();
    for _ in 0..10 {
        publisher
            .rotate_root(&root_keys, &RootRotation::default(), &mut vendor.rng, now())
            .unwrap();
    }
    let status = publisher.key_status(Some(&root_keys), now()).unwrap()[0].clone();
    assert_eq!((status.threshold, status.keys.len(), status.version), (3, 5, 12));
    let mut client = vendor.reader(trust.path());
    client.refresh(now()).await.unwrap();
    assert_eq!(client.states().root.version, 12);
    // More keys removed than can be spared.
    let remove: Vec<String> = status.keys.iter().take(3).map(|key| key.key_id.clone()).collect();
    let rotation = RootRotation {
        remove,
        ..RootRotation::default()
    };
    let error = publisher
        .rotate_root(&root_keys, &rotation, &mut vendor.rng, now())
        .unwrap_err();
    assert!(matches!(error, PublishError::RootDraft { .. }), "{error}");
}

#[test]
fn a_root_can_be_signed_elsewhere() {
    let (mut vendor, mut publisher) = Vendor::new(&small());
    let new = SigningKey::generate(&mut vendor.rng);
    let change = RootChange {
        add: vec![new.public().clone()],
        ..RootChange::default()
    };
    let draft = publisher.draft_root(&change, now()).unwrap();
    assert_eq!(draft.version(), 2);
    let mut elsewhere = RootDraft::from_bytes(&draft.to_bytes()).unwrap();
    assert_eq!(elsewhere, draft);
    let error = publisher.publish_root(&elsewhere).unwrap_err();
    assert!(
        matches!(
            error,
            PublishError::Verify {
                source: FeedError::Threshold { .. }
            }
        ),
        "{error:?}"
    );
    let keys = feed::publisher::read_folder(&vendor.root_keys()).unwrap();
    for key in keys.values().take(2) {
        elsewhere.sign(key);
    }
    let back = RootDraft::from_bytes(&elsewhere.to_bytes()).unwrap();
    publisher.publish_root(&back).unwrap();
    drop(publisher);
    vendor.open().unwrap();
    // A root that would make the published state unreadable is refused.
    let mut publisher = vendor.open().unwrap();
    let stranger = SigningKey::generate(&mut vendor.rng);
    let replace = [("timestamp".to_owned(), vec![stranger.public().clone()])].into();
    let mut draft = publisher
        .draft_root(
            &RootChange {
                replace,
                ..RootChange::default()
            },
            now(),
        )
        .unwrap();
    for key in keys.values() {
        draft.sign(key);
    }
    let error = publisher.publish_root(&draft).unwrap_err();
    assert!(matches!(error, PublishError::Verify { .. }), "{error:?}");
    assert!(RootDraft::from_bytes(b"{}").is_err());
}

#[test]
fn thresholds_of_targets_and_bad_settings() {
    let spec = InitSpec {
        targets_keys: 3,
        targets_threshold: 2,
        ..small()
    };
    let (mut vendor, mut publisher) = Vendor::new(&spec);
    publish(&mut publisher, "a", b"a");
    publisher.commit(now()).unwrap();
    publisher
        .rotate_key(OnlineRole::Publisher, None, &mut vendor.rng, now())
        .unwrap();
    let folder = vendor.folder.path().join("keys/targets");
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    for path in &files[..2] {
        std::fs::remove_file(path).unwrap();
    }
    let error = publisher
        .rotate_key(OnlineRole::Publisher, None, &mut vendor.rng, now())
        .unwrap_err();
    assert!(
        matches!(
            error,
            PublishError::MissingKeys {
                found: 1,
                threshold: 2,
                ..
            }
        ),
        "{error}"
    );

    for spec in [
        InitSpec {
            bins: 3,
            ..InitSpec::default()
        },
        InitSpec {
            root_threshold: 4,
            ..InitSpec::default()
        },
        InitSpec {
            targets_threshold: 0,
            ..InitSpec::default()
        },
    ] {
        let folder = tempfile::tempdir().unwrap();
        let outcome = Publisher::init(
            &folder.path().join("feed"),
            &folder.path().join("keys"),
            &folder.path().join("root-keys"),
            &spec,
            &mut vendor.rng,
            now(),
        );
        assert!(matches!(outcome, Err(PublishError::Settings { .. })));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

#[tokio::test]
async fn a_reader_on_a_frozen_mirror_finds_out() {
    let (vendor, publisher) = Vendor::new(&small());
    let trust = tempfile::tempdir().unwrap();
    FolderTrust::init(trust.path(), publisher.root_bytes()).unwrap();
    let mut client = vendor.reader(trust.path());
    client.refresh(now()).await.unwrap();
    let error = client.refresh(at("2030-06-08T12:00:00Z")).await.unwrap_err();
    assert_eq!(
        (error.reason(), error.role()),
        (Reason::Expired, Some("timestamp"))
    );
}
