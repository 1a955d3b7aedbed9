//! What the tests share: a service, packages to publish, a reader of the feed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cloud::{CloudError, InitOptions, PublishReport, PublishRequest};
use domain::servicing::package::PackageRecord;
use feed::{FeedClient, FolderTransport, FolderTrust, Limits};
use jiff::{SignedDuration, Timestamp};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

pub const GUID: &str = "8576527E-DDE7-4E3C-A0E1-6FB0F0A3B1C4";
pub const OTHER: &str = "0B5A4C1E-6D8F-4F0A-9C57-2E1D7A90B3F2";

pub fn now() -> Timestamp {
    "2026-11-20T10:00:00Z".parse().unwrap()
}

pub fn days(days: i64) -> Timestamp {
    now() + SignedDuration::from_hours(24 * days)
}

pub struct Vendor {
    folder: tempfile::TempDir,
}

impl Vendor {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let vendor = Self { folder };
        let options = InitOptions {
            bins: 4,
            ..InitOptions::new(vendor.dir(), "Example vendor")
        };
        cloud::init_with(&options, &mut ChaCha20Rng::seed_from_u64(1), now()).unwrap();
        vendor
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn dir(&self) -> PathBuf {
        self.path().join("service")
    }

    pub fn repository(&self) -> PathBuf {
        self.dir().join("repository")
    }

    /// A payload of a few files whose text is `content`.
    pub fn payload(&self, name: &str, content: &str) -> PathBuf {
        let root = self.path().join(name);
        std::fs::create_dir_all(root.join("bin")).unwrap();
        std::fs::create_dir_all(root.join("share")).unwrap();
        std::fs::write(root.join("bin/health"), "#!/bin/sh\n").unwrap();
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(root.join("bin/health"), executable).unwrap();
        std::fs::write(root.join("share/text"), content).unwrap();
        root
    }

    /// A description with more keys at the top and more tables at the end.
    pub fn description(&self, guid: &str, keys: &str, tables: &str) -> PathBuf {
        let path = self.path().join(format!("{guid}.toml"));
        let text = format!(
            "guid = \"{guid}\"\nfull-version = \"5.00.9106.1000\"\ntype = \"update\"\n\
             released = 2026-10-01T08:00:00Z\n{keys}\n[text.en]\nname = \"x\"\n\
             [install]\nswitch = true\n[install.health]\nprogram = \"bin/health\"\n{tables}"
        );
        std::fs::write(&path, text).unwrap();
        path
    }

    pub fn publish(&self, package_toml: &Path, payload: &Path) -> Result<PublishReport, CloudError> {
        let request = PublishRequest {
            level: 3,
            ..PublishRequest::new(self.dir(), package_toml, payload)
        };
        cloud::publish(&request, now(), &mut |_| {})
    }

    /// A site's view of the feed, from the pinned root.
    pub async fn client(&self) -> FeedClient {
        let trust = tempfile::TempDir::new_in(self.path()).unwrap().keep();
        let root = std::fs::read(self.dir().join("keys/root.json")).unwrap();
        let trust = FolderTrust::init(trust.join("trust"), &root).unwrap();
        let repository = self.repository();
        let transport = FolderTransport::new(repository.join("metadata"), repository.join("targets"));
        let mut client = FeedClient::new(Arc::new(transport), trust, Limits::default()).unwrap();
        client.refresh(now()).await.unwrap();
        client
    }

    /// Every record a site reads.
    pub async fn records(&self) -> Vec<PackageRecord> {
        let mut client = self.client().await;
        let mut records = Vec::new();
        for shard in client.delegated_targets("catalogue", now()).await.unwrap() {
            let bytes = client.fetch_target_bytes(&shard, 1 << 20).await.unwrap();
            for entry in protocol::catalogue::read_shard(bytes.as_slice()).unwrap() {
                records.push(entry.unwrap().1);
            }
        }
        records
    }

    /// Every file of the service with its content's digest; the lock's and scratch's aside.
    pub fn state(&self) -> Vec<(PathBuf, String)> {
        use sha2::Digest;
        let mut found = Vec::new();
        let mut waiting = vec![self.repository(), self.dir().join("keys")];
        while let Some(next) = waiting.pop() {
            for entry in std::fs::read_dir(next).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    waiting.push(path);
                } else {
                    let digest = hex::encode(sha2::Sha256::digest(std::fs::read(&path).unwrap()));
                    found.push((path, digest));
                }
            }
        }
        found.sort();
        found
    }
}
