//! The server over real loopback connections.

use std::net::SocketAddr;
use std::path::PathBuf;

use cloud::serve::{ServeError, ServeOptions, TlsFiles, serve};
use reqwest::{Client, Method, StatusCode, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::support::Vendor;

struct Server {
    vendor: Vendor,
    address: SocketAddr,
    shutdown: CancellationToken,
    task: JoinSet<Result<(), ServeError>>,
}

impl Server {
    async fn start(tls: bool) -> Self {
        let vendor = Vendor::new();
        let packs = vendor.repository().join("targets/packs");
        std::fs::create_dir_all(&packs).unwrap();
        let content: Vec<u8> = (0..1_000_000_u32).map(|at| (at % 251) as u8).collect();
        std::fs::write(packs.join(format!("{}.pack", "a".repeat(64))), content).unwrap();
        std::fs::write(packs.join(".hidden"), b"x").unwrap();
        let files = vendor.dir().join("tls");
        let options = ServeOptions {
            repository: vendor.repository(),
            listen: "127.0.0.1:0".parse().unwrap(),
            tls: tls.then(|| TlsFiles {
                certificate: files.join("server.pem"),
                key: files.join("server.key"),
            }),
            intake: None,
        };
        let shutdown = CancellationToken::new();
        let (bound, address) = tokio::sync::oneshot::channel();
        let mut task = JoinSet::new();
        task.spawn(serve(options, bound, shutdown.clone()));
        let address = address.await.unwrap();
        Self {
            vendor,
            address,
            shutdown,
            task,
        }
    }

    fn client(&self, http1: bool) -> Client {
        let pem = std::fs::read(self.vendor.dir().join("tls/ca.pem")).unwrap();
        let authority = reqwest::Certificate::from_pem(&pem).unwrap();
        let builder = Client::builder().tls_certs_only([authority]).no_proxy();
        if http1 { builder.http1_only() } else { builder }
            .build()
            .unwrap()
    }

    fn url(&self, path: &str) -> String {
        format!("https://{}/{path}", self.address)
    }

    fn pack(&self) -> String {
        self.url(&format!("targets/packs/{}.pack", "a".repeat(64)))
    }

    async fn stop(mut self) {
        self.shutdown.cancel();
        self.task.join_next().await.unwrap().unwrap().unwrap();
    }
}

#[tokio::test]
async fn both_protocol_versions_and_head() {
    let server = Server::start(true).await;
    for (http1, version) in [(false, Version::HTTP_2), (true, Version::HTTP_11)] {
        let client = server.client(http1);
        let got = client
            .get(server.url("metadata/timestamp.json"))
            .send()
            .await
            .unwrap();
        assert_eq!((got.status(), got.version()), (StatusCode::OK, version));
        assert_eq!(got.headers()["content-type"], "application/json");
        assert_eq!(got.headers()["cache-control"], "no-cache");
        let whole = client.get(server.pack()).send().await.unwrap();
        assert!(
            whole.headers()["cache-control"]
                .to_str()
                .unwrap()
                .contains("immutable")
        );
        assert_eq!(whole.bytes().await.unwrap().len(), 1_000_000);
        let head = client.head(server.pack()).send().await.unwrap();
        assert_eq!(head.headers()["content-length"], "1000000");
        assert!(head.bytes().await.unwrap().is_empty());
        let put = client.request(Method::PUT, server.pack()).send().await.unwrap();
        assert_eq!(
            (put.status(), &put.headers()["allow"]),
            (StatusCode::METHOD_NOT_ALLOWED, &"GET, HEAD".parse().unwrap())
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn conditions() {
    let server = Server::start(true).await;
    let client = server.client(false);
    let first = client.head(server.pack()).send().await.unwrap();
    let header = |name: &str| first.headers()[name].to_str().unwrap().to_owned();
    let (etag, modified) = (header("etag"), header("last-modified"));
    let long_ago = "Sun, 06 Nov 1994 08:49:37 GMT";
    let cases: [(&[(&str, &str)], u16); 12] = [
        (&[("if-none-match", &etag)], 304),
        (&[("if-none-match", "\"x\", W/\"y\"")], 200),
        (&[("if-none-match", "*")], 304),
        (&[("if-modified-since", &modified)], 304),
        (&[("if-modified-since", long_ago)], 200),
        // The tag decides where both are given.
        (
            &[("if-none-match", "\"x\""), ("if-modified-since", &modified)],
            200,
        ),
        (&[("if-match", &etag)], 200),
        (&[("if-match", "\"x\"")], 412),
        (&[("if-unmodified-since", long_ago)], 412),
        (&[("range", "bytes=0-9"), ("if-range", &etag)], 206),
        (&[("range", "bytes=0-9"), ("if-range", "\"x\"")], 200),
        (&[("range", "bytes=0-9"), ("if-range", &modified)], 206),
    ];
    for (headers, expected) in cases {
        let mut request = client.get(server.pack());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let got = request.send().await.unwrap();
        assert_eq!(got.status().as_u16(), expected, "{headers:?}");
        if expected == 304 {
            assert_eq!(got.headers()["etag"], etag.as_str());
            assert!(got.bytes().await.unwrap().is_empty());
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn ranges() {
    let server = Server::start(true).await;
    let client = server.client(false);
    let get = |range: &'static str| client.get(server.pack()).header("range", range).send();
    let one = get("bytes=251-260").await.unwrap();
    assert_eq!(one.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(one.headers()["content-range"], "bytes 251-260/1000000");
    assert_eq!(one.bytes().await.unwrap().as_ref(), (0..10).collect::<Vec<u8>>());
    let last = get("bytes=-300000").await.unwrap();
    assert_eq!(last.bytes().await.unwrap().len(), 300_000);
    let outside = get("bytes=1000000-").await.unwrap();
    assert_eq!(outside.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(outside.headers()["content-range"], "bytes */1000000");

    let several = get("bytes=0-3,502-504").await.unwrap();
    assert_eq!(several.status(), StatusCode::PARTIAL_CONTENT);
    let content_type = several.headers()["content-type"].to_str().unwrap().to_owned();
    let boundary = content_type
        .strip_prefix("multipart/byteranges; boundary=")
        .unwrap()
        .to_owned();
    let length = several.headers()["content-length"].to_str().unwrap().to_owned();
    let body = several.bytes().await.unwrap();
    assert_eq!(body.len().to_string(), length);
    let part = |range: &str, bytes: &[u8]| {
        let head = format!(
            "\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes {range}/1000000\r\n\r\n"
        );
        [head.as_bytes(), bytes].concat()
    };
    let expected = [
        part("0-3", &[0, 1, 2, 3]),
        part("502-504", &[0, 1, 2]),
        format!("\r\n--{boundary}--\r\n").into(),
    ];
    assert_eq!(body.as_ref(), expected.concat());
    server.stop().await;
}

#[tokio::test]
async fn nothing_outside_the_two_folders() {
    let server = Server::start(false).await;
    let secret = PathBuf::from("../keys/root.json");
    assert!(server.vendor.repository().join(&secret).exists());
    std::os::unix::fs::symlink(
        server.vendor.dir().join("keys/root.json"),
        server.vendor.repository().join("targets/link"),
    )
    .unwrap();
    for path in [
        "/",
        "/metadata",
        "/metadata/",
        "/keys/root.json",
        "/../keys/root.json",
        "/metadata/../../keys/root.json",
        "/metadata/..%2f..%2fkeys/root.json",
        "/metadata/%2e%2e/%2e%2e/keys/root.json",
        "/targets/%2e%2e/%2e%2e/keys/root.json",
        "/targets/..\\..\\keys/root.json",
        "/targets//etc/passwd",
        "/targets/link",
        "/targets/packs/.hidden",
        "/targets/packs/%2ehidden",
        "/targets/packs",
        "/targets/a%00",
        "/targets/%ff",
        "/targets/%",
    ] {
        let mut stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        let status = response.split(' ').nth(1).unwrap_or_default().to_owned();
        assert!(matches!(status.as_str(), "404" | "400"), "{path}: {response}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let start = |options| {
        let (bound, _) = tokio::sync::oneshot::channel();
        serve(options, bound, CancellationToken::new())
    };
    let listen: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let none = ServeOptions {
        repository: folder.path().join("none"),
        listen,
        tls: None,
        intake: None,
    };
    assert!(matches!(start(none).await, Err(ServeError::Repository { .. })));
    let vendor = Vendor::new();
    let pem = vendor.dir().join("keys/root.json");
    let tls = Some(TlsFiles {
        certificate: pem.clone(),
        key: pem,
    });
    let broken = ServeOptions {
        repository: vendor.repository(),
        listen,
        tls,
        intake: None,
    };
    assert!(matches!(start(broken).await, Err(ServeError::Tls { .. })));
    let taken = std::net::TcpListener::bind(listen).unwrap();
    let listen = taken.local_addr().unwrap();
    let busy = ServeOptions {
        repository: vendor.repository(),
        listen,
        tls: None,
        intake: None,
    };
    assert!(matches!(start(busy).await, Err(ServeError::Listen { .. })));
}
