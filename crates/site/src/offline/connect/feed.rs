//! A feed as it is read for a medium: every byte of metadata that a verified reading needed is kept, so that
//! the site can make the same reading from the medium.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ::feed::{FeedClient, FeedError, FolderTrust, Kind, Limits, Reason, Response, Transport, TransportError};
use bytes::Bytes;
use cloud_client::HttpsOptions;
use content::index::PayloadIndex;
use domain::servicing::package::{PackageGuid, PackageRecord};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use protocol::catalogue;
use protocol::connectivity::{CATALOGUE_BYTES_MAX, CATALOGUE_TARGET};
use protocol::notice::{NOTICES_BYTES_MAX, NOTICES_TARGET, SERVICE_TARGET};
use protocol::transfer::{BundlePackage, Cabinet, HOTFIX_TARGET};
use protocol::usage::{CONFIG_BYTES_MAX, CONFIG_TARGET, IntakeConfig};

use super::select::{Scope, choose};
use super::{ConnectError, SharedTransport};
use crate::components::CATALOGUE_ROLE;
use crate::context::whole_story;
use crate::directory::write_durably;
use crate::offline::medium::io;

/// Most bytes of metadata that a medium takes from one feed.
const METADATA_BYTES_MAX: usize = 512 << 20;

/// A package that was chosen, with its signed index.
pub(super) struct Selected {
    record: PackageRecord,
    pub index: Arc<PayloadIndex>,
}

impl Selected {
    /// As the bundle names it.
    pub fn named(&self, bytes: u64) -> BundlePackage {
        BundlePackage {
            guid: self.record.guid.to_string(),
            name: self.record.name().to_owned(),
            version: self.record.full_version.to_string(),
            bytes,
        }
    }
}

/// A feed that is being read.
pub(super) struct Feed {
    url: String,
    folder: PathBuf,
    transport: Arc<Recording>,
    scratch: tempfile::TempDir,
    records: BTreeMap<String, Vec<PackageRecord>>,
    indexes: BTreeMap<String, Arc<PayloadIndex>>,
    client: Option<FeedClient>,
    plan_only: bool,
}

impl Feed {
    pub fn open(
        url: &str,
        folder: PathBuf,
        https: &HttpsOptions,
        plan_only: bool,
    ) -> Result<Self, ConnectError> {
        let wrong = |why: String| ConnectError::Feed {
            feed: url.to_owned(),
            why,
        };
        let inner = cloud_client::open(&format!("{url}/metadata/"), &format!("{url}/targets/"), https)
            .map_err(|failure| wrong(whole_story(&failure)))?;
        Ok(Feed {
            url: url.to_owned(),
            transport: Arc::new(Recording {
                inner,
                metadata: Mutex::default(),
            }),
            scratch: tempfile::tempdir().map_err(|failure| wrong(failure.to_string()))?,
            records: BTreeMap::new(),
            indexes: BTreeMap::new(),
            client: None,
            folder,
            plan_only,
        })
    }

    pub fn transport(&self) -> SharedTransport {
        self.transport.inner.clone()
    }

    fn failed(&self, failure: &FeedError) -> ConnectError {
        ConnectError::Feed {
            feed: self.url.clone(),
            why: format!("{} ({})", whole_story(failure), failure.reason()),
        }
    }

    fn wrong(&self, why: impl Into<String>) -> ConnectError {
        ConnectError::Feed {
            feed: self.url.clone(),
            why: why.into(),
        }
    }

    /// Where a small target is kept: on the medium, or for a plan nowhere that stays.
    fn target_file(&self, path: &str, sha256: &str) -> PathBuf {
        let base = match self.plan_only {
            true => self.scratch.path().join("targets"),
            false => self.folder.join("targets"),
        };
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        base.join(folder).join(format!("{sha256}.{name}"))
    }

    /// Reads the feed from a site's own root on, chooses its packages, and keeps what it needs to make the
    /// same reading.
    pub async fn select(
        &mut self,
        cabinet: &Cabinet,
        scope: Scope,
        now: Timestamp,
    ) -> Result<Vec<Selected>, ConnectError> {
        let trust = self
            .scratch
            .path()
            .join(format!("trust-{}", &cabinet.site.hierarchy[..16]));
        let trust = FolderTrust::init(trust, &cabinet.root).map_err(|failure| self.failed(&failure))?;
        let transport: SharedTransport = self.transport.clone();
        let mut client =
            FeedClient::new(transport, trust, Limits::default()).map_err(|failure| self.failed(&failure))?;
        client
            .refresh(now)
            .await
            .map_err(|failure| self.failed(&failure))?;
        let catalogue = self.catalogue(&mut client, cabinet, now).await?;
        for (target, bytes_max) in [
            (CATALOGUE_TARGET, CATALOGUE_BYTES_MAX),
            (CONFIG_TARGET, CONFIG_BYTES_MAX),
            (HOTFIX_TARGET, CONFIG_BYTES_MAX),
            (NOTICES_TARGET, NOTICES_BYTES_MAX),
            (SERVICE_TARGET, NOTICES_BYTES_MAX),
        ] {
            self.keep_optional(&mut client, target, bytes_max as u64, now)
                .await?;
        }
        let chosen = choose(&cabinet.site, scope, &catalogue).map_err(|why| self.wrong(why))?;
        let mut selected = Vec::new();
        for record in chosen {
            let index = self.index(&mut client, record, now).await?;
            for redist in &record.redistributables {
                self.keep(&mut client, &redist.target, redist.length, now).await?;
            }
            selected.push(Selected {
                record: record.clone(),
                index,
            });
        }
        self.client = Some(client);
        Ok(selected)
    }

    async fn catalogue(
        &mut self,
        client: &mut FeedClient,
        cabinet: &Cabinet,
        now: Timestamp,
    ) -> Result<BTreeMap<PackageGuid, PackageRecord>, ConnectError> {
        let shards = client
            .delegated_targets(CATALOGUE_ROLE, now)
            .await
            .map_err(|failure| self.failed(&failure))?;
        let mut catalogue = BTreeMap::new();
        for shard in shards {
            let sha256 = shard
                .sha256
                .clone()
                .ok_or_else(|| self.wrong("a shard is signed without a SHA-256"))?;
            if shard.length > catalogue::SHARD_BYTES_MAX {
                return Err(self.wrong(format!("{} is larger than a shard may be", shard.path)));
            }
            // A shard that the site has need not lie on the medium.
            let file = match cabinet.site.shards.contains(&sha256) {
                true => self.scratch.path().join(&sha256),
                false => self.target_file(&shard.path, &sha256),
            };
            self.download(client, &shard, &file).await?;
            if !self.records.contains_key(&sha256) {
                let records =
                    read_shard(&file).map_err(|why| self.wrong(format!("{}: {why}", shard.path)))?;
                self.records.insert(sha256.clone(), records);
            }
            for record in self.records.get(&sha256).into_iter().flatten() {
                catalogue.insert(record.guid, record.clone());
            }
        }
        Ok(catalogue)
    }

    async fn index(
        &mut self,
        client: &mut FeedClient,
        record: &PackageRecord,
        now: Timestamp,
    ) -> Result<Arc<PayloadIndex>, ConnectError> {
        let (target, sha256) = (&record.payload.index_target, &record.payload.index_sha256);
        let file = self
            .keep(client, target, record.payload.index_length, now)
            .await?;
        if let Some(index) = self.indexes.get(sha256) {
            return Ok(index.clone());
        }
        let index = tokio::task::spawn_blocking(move || PayloadIndex::read_file(&file))
            .await
            .map_err(|_| self.wrong("reading an index crashed"))?
            .map_err(|failure| self.wrong(format!("{target}: {}", whole_story(&failure))))?;
        let index = Arc::new(index);
        self.indexes.insert(sha256.clone(), index.clone());
        Ok(index)
    }

    async fn keep(
        &self,
        client: &mut FeedClient,
        path: &str,
        bytes_max: u64,
        now: Timestamp,
    ) -> Result<PathBuf, ConnectError> {
        let target = client
            .find_target(path, now)
            .await
            .map_err(|failure| self.failed(&failure))?;
        let sha256 = target
            .sha256
            .clone()
            .ok_or_else(|| self.wrong(format!("{path} is signed without a SHA-256")))?;
        if target.length > bytes_max {
            return Err(self.wrong(format!(
                "{path} has {} bytes, more than {bytes_max}",
                target.length
            )));
        }
        let file = self.target_file(path, &sha256);
        self.download(client, &target, &file).await?;
        Ok(file)
    }

    async fn keep_optional(
        &self,
        client: &mut FeedClient,
        path: &str,
        bytes_max: u64,
        now: Timestamp,
    ) -> Result<Option<PathBuf>, ConnectError> {
        match client.find_target(path, now).await {
            Err(failure) if failure.reason() == Reason::NotFound => Ok(None),
            Err(failure) => Err(self.failed(&failure)),
            Ok(_) => self.keep(client, path, bytes_max, now).await.map(Some),
        }
    }

    async fn download(
        &self,
        client: &FeedClient,
        target: &::feed::TargetInfo,
        file: &Path,
    ) -> Result<(), ConnectError> {
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder).map_err(io("create", folder))?;
        }
        client
            .download_target(target, file, &mut |_| {})
            .await
            .map_err(|failure| self.failed(&failure))
    }

    /// Where usage data goes.
    pub async fn intake(&mut self, now: Timestamp) -> Result<Option<IntakeConfig>, String> {
        let Some(mut client) = self.client.take() else {
            return Ok(None);
        };
        let kept = self
            .keep_optional(&mut client, CONFIG_TARGET, CONFIG_BYTES_MAX as u64, now)
            .await;
        self.client = Some(client);
        let Some(file) = kept.map_err(|failure| failure.to_string())? else {
            return Ok(None);
        };
        let text = std::fs::read(&file).map_err(|failure| format!("{}: {failure}", file.display()))?;
        IntakeConfig::parse(&text)
            .map(Some)
            .map_err(|failure| failure.to_string())
    }

    /// Puts the metadata on the medium, the timestamp last: before it, the rest is what it was.
    pub fn place_metadata(&self) -> Result<(), ConnectError> {
        let folder = self.folder.join("metadata");
        std::fs::create_dir_all(&folder).map_err(io("create", &folder))?;
        let metadata = self.transport.lock();
        let last = |name: &str| name == "timestamp.json";
        let in_order = metadata
            .iter()
            .filter(|(name, _)| !last(name))
            .chain(metadata.iter().filter(|(name, _)| last(name)));
        for (name, bytes) in in_order {
            let path = folder.join(::feed::transport::encode_name(name));
            write_durably(&path, bytes, 0o644).map_err(io("write", &path))?;
        }
        Ok(())
    }
}

fn read_shard(path: &Path) -> Result<Vec<PackageRecord>, String> {
    let file = std::fs::File::open(path).map_err(|failure| failure.to_string())?;
    let lines =
        catalogue::read_shard(std::io::BufReader::new(file)).map_err(|failure| whole_story(&failure))?;
    lines
        .map(|line| {
            line.map(|(_, record)| record)
                .map_err(|failure| whole_story(&failure))
        })
        .collect()
}

/// Passes everything on, and keeps metadata that arrived whole.
struct Recording {
    inner: SharedTransport,
    metadata: Mutex<BTreeMap<String, Bytes>>,
}

impl Recording {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Bytes>> {
        self.metadata.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fetch_metadata(&self, path: &str) -> Result<Response, TransportError> {
        let response = self.inner.fetch(Kind::Metadata, path, None).await?;
        let too_much = || TransportError::Io {
            url: path.to_owned(),
            source: std::io::Error::other("the feed has more metadata than a medium takes"),
        };
        let mut bytes = Vec::new();
        let mut body = response.body;
        while let Some(chunk) = body.try_next().await? {
            if bytes.len() + chunk.len() > METADATA_BYTES_MAX {
                return Err(too_much());
            }
            bytes.extend_from_slice(&chunk);
        }
        let bytes = Bytes::from(bytes);
        let mut metadata = self.lock();
        let held: usize = metadata.values().map(Bytes::len).sum();
        if held + bytes.len() > METADATA_BYTES_MAX {
            return Err(too_much());
        }
        metadata.insert(path.to_owned(), bytes.clone());
        Ok(Response {
            length: Some(bytes.len() as u64),
            body: stream::once(async move { Ok(bytes) }).boxed(),
        })
    }
}

impl Transport for Recording {
    fn fetch<'a>(
        &'a self,
        kind: Kind,
        path: &'a str,
        range: Option<Range<u64>>,
    ) -> BoxFuture<'a, Result<Response, TransportError>> {
        match kind {
            Kind::Metadata => self.fetch_metadata(path).boxed(),
            Kind::Target => self.inner.fetch(kind, path, range),
        }
    }
}
