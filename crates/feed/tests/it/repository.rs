//! A repository in memory that does whatever a test tells it to, right or wrong, and writes down what is asked of it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use bytes::Bytes;
use feed::{FeedClient, FeedError, FolderTrust, Kind, Limits, Response, Transport, TransportError};
use futures_util::future::BoxFuture;
use futures_util::stream;
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256, Sha512};
use tempfile::TempDir;

pub fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The time of most tests, and an expiry well after it.
pub fn now() -> Timestamp {
    at("2030-06-01T12:00:00Z")
}
pub const EXPIRES: &str = "2031-01-01T00:00:00Z";

/// A key that is the same in every run.
pub struct TestKey {
    pair: Ed25519KeyPair,
    pub id: String,
}

pub fn key(number: u8) -> TestKey {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[number; 32]).unwrap();
    TestKey {
        pair,
        id: format!("key-{number}"),
    }
}

impl TestKey {
    pub fn value(&self) -> Value {
        let public = hex::encode(self.pair.public_key().as_ref());
        json!({"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": public}, "x-note": "ignored"})
    }

    pub fn signature(&self, signed: &Value) -> Value {
        let message = sigstore_tuf::canonical_json::to_canonical_bytes(signed).unwrap();
        json!({"keyid": self.id, "sig": hex::encode(self.pair.sign(&message).as_ref())})
    }
}

/// How the server misbehaves when targets are fetched.
#[derive(Default)]
pub struct Faults {
    /// Breaks the connection after so many bytes of a body.
    pub break_after: Option<u64>,
    /// Answers every range request with the whole file.
    pub ignore_ranges: bool,
    /// Never stops sending.
    pub endless: bool,
    /// Does not say how long a body is.
    pub hide_length: bool,
    /// Answers requests for this file with a status.
    pub status: Option<(String, u16)>,
}

#[derive(Default)]
pub struct Served {
    pub files: BTreeMap<String, Vec<u8>>,
    pub requests: Vec<String>,
    pub faults: Faults,
}

pub struct Server(pub Mutex<Served>);

impl Transport for Server {
    fn fetch<'a>(
        &'a self,
        kind: Kind,
        path: &'a str,
        range: Option<Range<u64>>,
    ) -> BoxFuture<'a, Result<Response, TransportError>> {
        Box::pin(async move { self.answer(kind, path, range) })
    }
}

impl Server {
    fn answer(&self, kind: Kind, path: &str, range: Option<Range<u64>>) -> Result<Response, TransportError> {
        let mut served = self.0.lock().unwrap();
        let name = match kind {
            Kind::Metadata => format!("metadata/{path}"),
            Kind::Target => format!("targets/{path}"),
        };
        served.requests.push(match &range {
            None => path.to_owned(),
            Some(range) => format!("{path}[{}..{}]", range.start, range.end),
        });
        let faults = &served.faults;
        if let Some((file, code)) = &faults.status
            && file == path
        {
            return Err(TransportError::Status {
                url: name,
                code: *code,
                retry_after: None,
            });
        }
        let Some(bytes) = served.files.get(&name) else {
            return Err(TransportError::NotFound { url: name });
        };
        let mut bytes = bytes.clone();
        if let Some(range) = range {
            if faults.ignore_ranges {
                return Err(TransportError::RangeIgnored { url: name });
            }
            if range.start as usize >= bytes.len() {
                return Err(TransportError::RangeNotSatisfiable { url: name });
            }
            let end = bytes.len().min(range.end as usize);
            bytes = bytes[range.start as usize..end].to_vec();
        }
        let length = (!faults.hide_length && !faults.endless).then_some(bytes.len() as u64);
        if faults.endless {
            let body = stream::repeat_with(|| Ok(Bytes::from_static(&[0; 4096])));
            return Ok(Response {
                length,
                body: Box::pin(body),
            });
        }
        let mut chunks: Vec<Result<Bytes, TransportError>> = Vec::new();
        let cut = faults
            .break_after
            .map_or(bytes.len(), |cut| bytes.len().min(cut as usize));
        for chunk in bytes[..cut].chunks(1000) {
            chunks.push(Ok(Bytes::copy_from_slice(chunk)));
        }
        if cut < bytes.len() {
            chunks.push(Err(TransportError::Timeout { url: name }));
        }
        Ok(Response {
            length,
            body: Box::pin(stream::iter(chunks)),
        })
    }
}

/// The documents of a repository before they are signed. Tests change them, then publish.
pub struct Repository {
    pub root: Value,
    pub timestamp: Value,
    pub snapshot: Value,
    /// `targets` and every delegated role.
    pub targets: BTreeMap<String, Value>,
    /// Who signs a role, whoever may.
    pub signers: BTreeMap<String, Vec<TestKey>>,
    pub server: Arc<Server>,
    pub first_root: Vec<u8>,
}

impl Repository {
    /// Version 1 of everything, published.
    pub fn new() -> Self {
        let mut repository = Self::unpublished();
        repository.publish_root();
        repository.first_root = repository.file("1.root.json");
        for role in ["targets", "snapshot", "timestamp"] {
            repository.publish(role);
        }
        repository
    }

    pub fn unpublished() -> Self {
        let mut keys = serde_json::Map::new();
        let mut roles = serde_json::Map::new();
        let mut signers = BTreeMap::new();
        for (number, role) in (1..).zip(["root", "timestamp", "snapshot", "targets"]) {
            let key = key(number);
            keys.insert(key.id.clone(), key.value());
            roles.insert(role.to_owned(), json!({"keyids": [key.id], "threshold": 1}));
            signers.insert(role.to_owned(), vec![key]);
        }
        let header =
            |kind: &str| json!({"_type": kind, "spec_version": "1.0.31", "version": 1, "expires": EXPIRES});
        let mut root = header("root");
        root["consistent_snapshot"] = json!(true);
        root["keys"] = Value::Object(keys);
        root["roles"] = Value::Object(roles);
        let mut timestamp = header("timestamp");
        timestamp["meta"] = json!({"snapshot.json": {"version": 1}});
        let mut snapshot = header("snapshot");
        snapshot["meta"] = json!({"targets.json": {"version": 1}});
        Self {
            root,
            timestamp,
            snapshot,
            targets: BTreeMap::from([("targets".to_owned(), empty_targets())]),
            signers,
            server: Arc::new(Server(Mutex::new(Served::default()))),
            first_root: Vec::new(),
        }
    }

    pub fn document(&mut self, role: &str) -> &mut Value {
        match role {
            "root" => &mut self.root,
            "timestamp" => &mut self.timestamp,
            "snapshot" => &mut self.snapshot,
            other => self.targets.get_mut(other).unwrap(),
        }
    }

    /// The signed file of a role as it is now.
    pub fn signed(&mut self, role: &str) -> Vec<u8> {
        let document = self.document(role).clone();
        let signatures: Vec<Value> = self
            .signers
            .get(role)
            .into_iter()
            .flatten()
            .map(|key| key.signature(&document))
            .collect();
        serde_json::to_vec_pretty(&json!({"signatures": signatures, "signed": document})).unwrap()
    }

    /// Serves a role as it is now, under its version.
    pub fn publish(&mut self, role: &str) {
        let bytes = self.signed(role);
        let version = self.document(role)["version"].clone();
        self.serve_role(role, &version.to_string(), bytes);
    }

    pub fn serve_role(&mut self, role: &str, version: &str, bytes: Vec<u8>) {
        let consistent = self.root["consistent_snapshot"] == json!(true);
        let name = match role {
            "timestamp" => "timestamp.json".to_owned(),
            "root" => format!("{version}.root.json"),
            _ if consistent => format!("{version}.{role}.json"),
            _ => format!("{role}.json"),
        };
        self.serve(&format!("metadata/{name}"), bytes);
    }

    pub fn serve(&self, path: &str, bytes: Vec<u8>) {
        self.server.0.lock().unwrap().files.insert(path.to_owned(), bytes);
    }

    pub fn remove(&self, path: &str) {
        self.server.0.lock().unwrap().files.remove(path);
    }

    pub fn file(&self, name: &str) -> Vec<u8> {
        self.server.0.lock().unwrap().files[&format!("metadata/{name}")].clone()
    }

    pub fn publish_root(&mut self) {
        self.publish("root");
    }

    pub fn bump(&mut self, role: &str) {
        let version = self.document(role)["version"].as_u64().unwrap();
        self.document(role)["version"] = json!(version + 1);
    }

    pub fn next_root(&mut self) {
        self.bump("root");
        self.publish_root();
    }

    /// A new timestamp for the snapshot as it is.
    pub fn next_timestamp(&mut self) {
        self.timestamp["meta"]["snapshot.json"]["version"] = self.snapshot["version"].clone();
        self.bump("timestamp");
        self.publish("timestamp");
    }

    /// Every targets role as it is, a new snapshot and a new timestamp.
    pub fn next_snapshot(&mut self) {
        for role in self.targets.keys().cloned().collect::<Vec<_>>() {
            self.publish(&role);
            let version = self.targets[&role]["version"].clone();
            self.snapshot["meta"][format!("{role}.json")]["version"] = version;
        }
        self.bump("snapshot");
        self.publish("snapshot");
        self.next_timestamp();
    }

    /// A new version of a targets role and all that follows.
    pub fn next_targets(&mut self, role: &str) {
        self.bump(role);
        self.next_snapshot();
    }

    pub fn add_target(&mut self, role: &str, path: &str, content: &[u8]) {
        let sha256 = hex::encode(Sha256::digest(content));
        self.document(role)["targets"][path] = json!({"length": content.len(), "hashes": {"sha256": sha256}});
        self.serve(&format!("targets/{}", prefixed(path, &sha256)), content.to_vec());
    }

    /// Adds a role below `parent`, signed by its own key.
    pub fn delegate(&mut self, parent: &str, name: &str, key_number: u8, delegation: Value) {
        let key = key(key_number);
        let mut role = json!({"name": name, "keyids": [key.id], "threshold": 1, "terminating": false});
        for (field, value) in delegation.as_object().unwrap() {
            role[field] = value.clone();
        }
        let document = self.document(parent);
        if document.get("delegations").is_none() {
            document["delegations"] = json!({"keys": {}, "roles": []});
        }
        document["delegations"]["keys"][key.id.clone()] = key.value();
        document["delegations"]["roles"]
            .as_array_mut()
            .unwrap()
            .push(role);
        self.targets.entry(name.to_owned()).or_insert_with(empty_targets);
        self.signers.entry(name.to_owned()).or_insert_with(|| vec![key]);
    }

    pub fn faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.server.0.lock().unwrap().faults);
    }

    /// What was asked for since the last call.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.server.0.lock().unwrap().requests)
    }
}

pub fn empty_targets() -> Value {
    json!({"_type": "targets", "spec_version": "1.0.31", "version": 1, "expires": EXPIRES, "targets": {}})
}

pub fn sha512(content: &[u8]) -> String {
    hex::encode(Sha512::digest(content))
}

pub fn prefixed(path: &str, hash: &str) -> String {
    match path.rsplit_once('/') {
        Some((folder, file)) => format!("{folder}/{hash}.{file}"),
        None => format!("{hash}.{path}"),
    }
}

/// A reader with its trust folder, as a new process each time.
pub struct Reader {
    pub folder: TempDir,
    server: Arc<Server>,
    pub limits: Limits,
}

impl Reader {
    pub fn new(repository: &Repository) -> Self {
        let folder = tempfile::tempdir().unwrap();
        FolderTrust::init(folder.path(), &repository.first_root).unwrap();
        Self {
            folder,
            server: Arc::clone(&repository.server),
            limits: Limits::default(),
        }
    }

    pub fn client(&self) -> FeedClient {
        let trust = FolderTrust::open(self.folder.path()).unwrap();
        FeedClient::new(
            Arc::clone(&self.server) as Arc<dyn Transport>,
            trust,
            self.limits.clone(),
        )
        .unwrap()
    }

    /// One refresh in a fresh process.
    pub async fn refresh(&self) -> Result<feed::Refreshed, FeedError> {
        self.client().refresh(now()).await
    }

    pub async fn refresh_at(&self, now: Timestamp) -> Result<feed::Refreshed, FeedError> {
        self.client().refresh(now).await
    }

    pub async fn find(&self, path: &str) -> Result<feed::TargetInfo, FeedError> {
        let mut client = self.client();
        client.refresh(now()).await?;
        client.find_target(path, now()).await
    }

    pub fn stored(&self, role: &str) -> Option<Vec<u8>> {
        std::fs::read(self.folder.path().join(format!("{role}.json"))).ok()
    }

    /// The version in the trust folder, 0 where there is none.
    pub fn version(&self, role: &str) -> u64 {
        self.stored(role).map_or(0, |bytes| {
            let value: Value = serde_json::from_slice(&bytes).unwrap();
            value["signed"]["version"].as_u64().unwrap()
        })
    }

    pub fn versions(&self) -> [u64; 4] {
        ["root", "timestamp", "snapshot", "targets"].map(|role| self.version(role))
    }
}
