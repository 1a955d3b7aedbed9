//! A feed of our own publisher through the transport: refresh, search, resumed download, endless and missing files.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use feed::publisher::{InitSpec, Publisher, TargetRecord};
use feed::{FeedClient, FolderTrust, Limits, Reason, Transport};
use jiff::Timestamp;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use sha2::{Digest, Sha256};

use crate::faults::{options, transport};
use crate::server::{Reply, Request, Server, reply};

/// How the server treats targets.
const SOUND: u8 = 0;
const BREAK: u8 = 1;
const NO_RANGES: u8 = 2;
const ENDLESS: u8 = 3;

fn answer(folder: &Path, mode: u8, request: &Request) -> Reply {
    let Ok(body) = std::fs::read(folder.join(request.path.trim_start_matches('/'))) else {
        return reply("404 Not Found", &[], b"");
    };
    if request.path.starts_with("/metadata/") {
        return reply("200 OK", &[], &body);
    }
    match (mode, request.range()) {
        (ENDLESS, _) => Reply::Endless(b"HTTP/1.1 200 OK\r\n\r\n".to_vec()),
        (BREAK, _) => reply(
            "200 OK",
            &[("content-length", &body.len().to_string())],
            &body[..200_000],
        ),
        (NO_RANGES, _) | (_, None) => reply("200 OK", &[], &body),
        (_, Some((first, last))) => {
            let part = &body[first as usize..=last as usize];
            let range = format!("bytes {first}-{last}/{}", body.len());
            reply("206 Partial Content", &[("content-range", &range)], part)
        }
    }
}

struct Setting {
    server: Server,
    mode: Arc<AtomicU8>,
    client: FeedClient,
    content: Vec<u8>,
    folder: tempfile::TempDir,
}

fn now() -> Timestamp {
    "2030-06-01T12:00:00Z".parse().unwrap()
}

async fn setting() -> Setting {
    let folder = tempfile::tempdir().unwrap();
    let repository = folder.path().join("feed");
    let mut publisher = Publisher::init(
        &repository,
        &folder.path().join("keys"),
        &folder.path().join("root"),
        &InitSpec {
            bins: 4,
            ..InitSpec::default()
        },
        &mut ChaCha20Rng::seed_from_u64(3),
        now(),
    )
    .unwrap();
    let content: Vec<u8> = (0..600_000_u32).flat_map(|number| number.to_le_bytes()).collect();
    let sha256 = hex::encode(Sha256::digest(&content));
    let file = publisher.target_file("packs/a.pack", &sha256);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, &content).unwrap();
    let record = TargetRecord {
        length: content.len() as u64,
        sha256,
        custom: None,
    };
    publisher.set_target("packs/a.pack", &record).unwrap();
    publisher.commit(now()).unwrap();

    let mode = Arc::new(AtomicU8::new(SOUND));
    let (served, served_mode): (PathBuf, _) = (repository, Arc::clone(&mode));
    let server = Server::start(None, move |request| {
        answer(&served, served_mode.load(Ordering::SeqCst), request)
    })
    .await;
    let transport: Arc<dyn Transport> =
        Arc::new(transport(&format!("http://{}", server.address), &options()));
    let trust = FolderTrust::init(folder.path().join("trust"), publisher.root_bytes()).unwrap();
    let mut client = FeedClient::new(transport, trust, Limits::default()).unwrap();
    client.refresh(now()).await.unwrap();
    Setting {
        server,
        mode,
        client,
        content,
        folder,
    }
}

#[tokio::test]
async fn an_unchanged_feed_costs_two_requests() {
    let mut setting = setting().await;
    setting.server.requests();
    setting.client.refresh(now()).await.unwrap();
    assert_eq!(
        setting.server.paths(),
        ["/metadata/2.root.json", "/metadata/timestamp.json"]
    );
}

#[tokio::test]
async fn a_download_survives_what_servers_do() {
    let mut setting = setting().await;
    let target = setting.client.find_target("packs/a.pack", now()).await.unwrap();
    let to = setting.folder.path().join("a.pack");
    for second in [SOUND, NO_RANGES] {
        setting.mode.store(BREAK, Ordering::SeqCst);
        let error = setting
            .client
            .download_target(&target, &to, &mut |_| ())
            .await
            .unwrap_err();
        assert_eq!(error.reason(), Reason::Network, "{error}");
        setting.server.requests();
        setting.mode.store(second, Ordering::SeqCst);
        setting
            .client
            .download_target(&target, &to, &mut |_| ())
            .await
            .unwrap();
        assert_eq!(std::fs::read(&to).unwrap(), setting.content);
        let requests = setting.server.requests();
        assert!(requests[0].range().unwrap().0 > 0);
        assert_eq!(requests.len(), if second == SOUND { 1 } else { 2 });
        std::fs::remove_file(&to).unwrap();
    }
    setting.mode.store(ENDLESS, Ordering::SeqCst);
    let error = setting
        .client
        .download_target(&target, &to, &mut |_| ())
        .await
        .unwrap_err();
    assert_eq!(error.reason(), Reason::Oversized, "{error}");
    assert!(!to.exists());
}
