//! The intake against what its clients and its enemies send, over real connections.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use cloud_client::{HttpsOptions, Uploaded};
use protocol::usage::{IntakeConfig, seal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use super::*;
use crate::serve::{ServeOptions, serve};
use crate::{InitOptions, init};

const ID: &str = "0b5a4c1e-6d8f-4f0a-9c57-2e1d7a90b3f2";

fn now() -> Timestamp {
    "2026-11-21T10:00:00Z".parse().unwrap()
}

struct Service {
    folder: tempfile::TempDir,
    address: SocketAddr,
    shutdown: CancellationToken,
    tasks: TaskTracker,
    intake: Arc<Intake>,
}

impl Service {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = InitOptions::new(folder.path(), "Test");
        init(&options, now()).unwrap();
        assert!(set_intake(folder.path(), None, true, now()).unwrap());
        assert!(!set_intake(folder.path(), None, true, now()).unwrap());
        let dir = ServiceDir::new(folder.path());
        let intake = Arc::new(Intake::open(&dir, now).await.unwrap().unwrap());
        let shutdown = CancellationToken::new();
        let (bound, address) = oneshot::channel();
        let options = ServeOptions {
            repository: dir.repository(),
            listen: "127.0.0.1:0".parse().unwrap(),
            tls: None,
            intake: Some(intake.clone()),
        };
        let tasks = TaskTracker::new();
        tasks.spawn(serve(options, bound, shutdown.clone()));
        Service {
            folder,
            address: address.await.unwrap(),
            shutdown,
            tasks,
            intake,
        }
    }

    fn url(&self, address: SocketAddr) -> url::Url {
        format!("http://{address}{PREFIX}").parse().unwrap()
    }

    fn keys(&self) -> Vec<String> {
        vec![self.intake.key.public()]
    }

    async fn stored(&self) -> usize {
        self.intake.store.reports(false, 1_000).await.unwrap().len()
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        drop(self.folder);
    }
}

fn body(level: &str, values: &str) -> String {
    let hierarchy = "ab".repeat(32);
    format!(
        "{{\"collected\":\"2026-11-21T10:00:00Z\",\"format\":1,\"level\":\"{level}\",\"values\":{{\"hierarchy.id\":\"{hierarchy}\"{values}}}}}\n"
    )
}

fn sealed_by(seed: u8, id: &str, level: &str, text: &str) -> Bytes {
    let key = SigningKey::from_seed(&[seed; 32]).unwrap();
    seal(id, &"ab".repeat(32), level, now(), text, &key)
        .unwrap()
        .into()
}

fn sealed(id: &str, text: &str) -> Bytes {
    sealed_by(7, id, "basic", text)
}

fn client() -> cloud_client::Intake {
    cloud_client::Intake::new(&HttpsOptions::default()).unwrap()
}

/// Passes connections on, and cuts each after so many bytes from the client.
async fn cutting(to: SocketAddr, cut_after: usize) -> (SocketAddr, TaskTracker, CancellationToken) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let (inner, stopped) = (tasks.clone(), stop.clone());
    tasks.spawn(async move {
        loop {
            let accepted = tokio::select! {
                () = stopped.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let (mut near, _) = accepted.unwrap();
            inner.spawn(async move {
                let mut far = TcpStream::connect(to).await.unwrap();
                let (mut near_read, mut near_write) = near.split();
                let (mut far_read, mut far_write) = far.split();
                let forward = async {
                    let mut left = cut_after;
                    let mut buffer = vec![0; 4096];
                    while left > 0 {
                        let want = buffer.len().min(left);
                        let Ok(read @ 1..) = near_read.read(&mut buffer[..want]).await else {
                            return;
                        };
                        if far_write.write_all(&buffer[..read]).await.is_err() {
                            return;
                        }
                        left -= read;
                    }
                };
                let back = tokio::io::copy(&mut far_read, &mut near_write);
                tokio::select! {
                    () = forward => {}
                    _ = back => {}
                }
            });
        }
    });
    (address, tasks, stop)
}

/// The connection is cut after each number of bytes in turn: the report is stored once, and the receipt is
/// one of this report.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_at_every_byte_there_is_one_report() {
    let service = Service::start().await;
    let report = sealed(ID, &body("basic", ",\"scp.mode\":\"online\""));
    let whole = report.len() + 600;
    let mut receipts = std::collections::BTreeSet::new();
    for cut in (1..whole).step_by(if std::env::var_os("TIDEGATE_EVERY_BYTE").is_some() {
        1
    } else {
        13
    }) {
        let (address, tasks, stop) = cutting(service.address, cut).await;
        // The cut relay answers nothing, or little: an attempt fails in its own time.
        let attempt = client();
        let uploaded = attempt.upload(&service.url(address), ID, &report).await;
        if let Ok(Uploaded::Receipt(text)) = &uploaded {
            receipts.insert(text.clone());
        }
        stop.cancel();
        tasks.close();
        assert!(service.stored().await <= 1, "cut at {cut}");
    }
    let Ok(Uploaded::Receipt(text)) = client().upload(&service.url(service.address), ID, &report).await
    else {
        panic!("the whole way takes it");
    };
    receipts.insert(text.clone());
    assert_eq!(receipts.len(), 1, "one receipt, however often it is asked for");
    let sha256 = open(&report).unwrap().statement.sha256;
    assert!(Receipt::verify(text.trim_ascii(), &service.keys(), ID, &sha256).is_ok());
    assert_eq!(service.stored().await, 1);
    service.stop().await;
}

#[tokio::test]
async fn a_broken_upload_goes_on_where_it_broke() {
    let service = Service::start().await;
    let report = sealed(ID, &body("basic", ""));
    let url = format!("http://{}{PREFIX}reports/{ID}", service.address);
    let web = reqwest::Client::new();
    let offset = async || {
        let answer = web.head(&url).send().await.unwrap();
        answer.headers()["upload-offset"]
            .to_str()
            .unwrap()
            .parse::<usize>()
            .unwrap()
    };
    assert_eq!(offset().await, 0);
    let put = |from: usize, to: usize| {
        let request = web
            .put(&url)
            .header("upload-offset", from)
            .header("upload-length", report.len());
        request.body(report.slice(from..to)).send()
    };
    let answer = put(0, 100).await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["upload-offset"]),
        (409, &"100".parse().unwrap())
    );
    assert_eq!(offset().await, 100);
    // From a wrong place: told the right one.
    let answer = put(50, 60).await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["upload-offset"]),
        (409, &"100".parse().unwrap())
    );
    let answer = put(100, report.len()).await.unwrap();
    assert_eq!(answer.status().as_u16(), 201);
    assert_eq!(offset().await, 0);
    assert_eq!(put(0, report.len()).await.unwrap().status().as_u16(), 200);
    service.stop().await;
}

#[tokio::test]
async fn what_is_hostile_is_refused_and_counted() {
    let service = Service::start().await;
    let web = reqwest::Client::new();
    let send = async |id: &str, bytes: Vec<u8>| {
        let url = format!("http://{}{PREFIX}reports/{id}", service.address);
        let answer = web.put(url).body(bytes).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let check = async |id: &str, bytes: Vec<u8>, status: u16, words: &str| {
        let (found, said) = send(id, bytes).await;
        assert_eq!(found, status, "{said}");
        assert!(said.contains(words), "{said}");
    };
    let good = sealed(ID, &body("basic", ""));
    check(ID, good.to_vec(), 201, "payload").await;
    let other = "11111111-6d8f-4f0a-9c57-2e1d7a90b3f2";
    check(other, good.to_vec(), 422, "not the one of this address").await;
    check(other, b"hello".to_vec(), 422, "no sealed report").await;
    check(other, Vec::new(), 422, "no sealed report").await;
    let mut changed = good.to_vec();
    let last = changed.len() - 1;
    changed[last] ^= 1;
    check(ID, changed, 422, "not those that were signed").await;
    check(
        ID,
        sealed(ID, &body("basic", ",\"scp.mode\":\"online\"")).to_vec(),
        409,
        "another report",
    )
    .await;
    // Another hierarchy's id, under a key of one's own.
    check(
        other,
        sealed_by(9, other, "basic", &body("basic", "")).to_vec(),
        403,
        "another key",
    )
    .await;
    check(
        other,
        sealed(other, &body("full", "")).to_vec(),
        422,
        "something else",
    )
    .await;
    check(
        other,
        sealed(other, &body("basic", ",\"inventory.processors\":{}")).to_vec(),
        422,
        "above its level",
    )
    .await;
    check(
        other,
        sealed(other, &body("basic", ",\"scp.mode\":7")).to_vec(),
        422,
        "no text",
    )
    .await;
    check(
        other,
        sealed(other, &body("basic", ", \"scp.mode\":\"x\"")).to_vec(),
        422,
        "canonical",
    )
    .await;
    check(other, sealed(other, "no json\n").to_vec(), 422, "canonical").await;
    check(other, vec![b'x'; SEALED_MAX + 1], 413, "at most").await;
    // Of a newer release: kept, and not read.
    check(
        other,
        sealed(other, &body("basic", ",\"moon.phase\":1")).to_vec(),
        201,
        "payload",
    )
    .await;
    for (method, path) in [
        (reqwest::Method::GET, "usage/v1/reports/".to_owned() + ID),
        (reqwest::Method::DELETE, "usage/v1/reports/".to_owned() + ID),
        (reqwest::Method::GET, "usage/v1/".to_owned()),
        (
            reqwest::Method::PUT,
            "usage/v1/reports/..%2f..%2fcloud.toml".to_owned(),
        ),
        (reqwest::Method::PUT, "usage/v1/reports/x".to_owned()),
        (reqwest::Method::GET, "intake/usage.db".to_owned()),
        (reqwest::Method::GET, "intake/receipt.key".to_owned()),
    ] {
        let url = format!("http://{}/{path}", service.address);
        let status = web
            .request(method.clone(), &url)
            .send()
            .await
            .unwrap()
            .status()
            .as_u16();
        assert!(matches!(status, 404 | 405), "{method} {path}: {status}");
    }
    service.intake.flush().await;
    let fleet = service.intake.store.fleet(Timestamp::UNIX_EPOCH).await.unwrap();
    let counted: BTreeMap<String, u64> = fleet
        .refused
        .into_iter()
        .map(|(_, reason, count)| (reason, count))
        .collect();
    let expected = [
        ("contradiction", 1),
        ("foreign hierarchy", 1),
        ("id taken", 1),
        ("malformed", 3),
        ("other address", 1),
        ("oversized", 1),
        ("values", 4),
    ];
    assert_eq!(
        counted,
        expected.map(|(reason, count)| (reason.to_owned(), count)).into()
    );
    assert_eq!((fleet.hierarchies, service.stored().await), (1, 2));
    let quarantined = service.intake.store.reports(true, 10).await.unwrap();
    assert_eq!(quarantined[0].problem, "moon.phase");
    service.stop().await;
}

const SEALED_MAX: usize = protocol::usage::SEALED_BYTES_MAX;

#[tokio::test]
async fn a_day_takes_so_many_reports() {
    let service = Service::start().await;
    let url = service.url(service.address);
    for number in 0..=QUOTA.reports_per_day {
        let id = format!("{number:08x}-6d8f-4f0a-9c57-2e1d7a90b3f2");
        let uploaded = client().upload(&url, &id, &sealed(&id, &body("basic", ""))).await;
        match number < QUOTA.reports_per_day {
            true => assert!(matches!(uploaded, Ok(Uploaded::Receipt(_))), "{uploaded:?}"),
            false => {
                let failure = uploaded.unwrap_err();
                assert!(
                    failure.retry_after().is_some() && failure.to_string().contains("429"),
                    "{failure}"
                );
            }
        }
    }
    service.stop().await;
}

/// What the feed says is what a site reads.
#[tokio::test]
async fn the_feed_says_where_usage_data_goes() {
    let service = Service::start().await;
    let dir = ServiceDir::new(service.folder.path());
    let read = || {
        let feed = crate::service::open(&dir).unwrap();
        let record = feed.target(protocol::usage::CONFIG_TARGET).unwrap()?;
        let path = feed.target_file(protocol::usage::CONFIG_TARGET, &record.sha256);
        Some(IntakeConfig::parse(&std::fs::read(path).unwrap()).unwrap())
    };
    let config = read().unwrap();
    assert_eq!(config.receipt_keys, service.keys());
    assert_eq!(
        config.url("https://u.example").unwrap().as_str(),
        "https://u.example/usage/v1/"
    );
    let other = Some("https://intake.example/usage/v1/");
    assert!(set_intake(service.folder.path(), other, true, now()).unwrap());
    assert_eq!(read().unwrap().receipt_keys, service.keys(), "the key stays");
    for wrong in [
        "http://plain.example/",
        "https://a:b@x.example/",
        "ftp://x.example",
    ] {
        assert!(
            set_intake(service.folder.path(), Some(wrong), true, now()).is_err(),
            "{wrong}"
        );
    }
    assert!(set_intake(service.folder.path(), None, false, now()).unwrap());
    assert!(read().is_none());
    assert!(!set_intake(service.folder.path(), None, false, now()).unwrap());
    service.stop().await;
}
