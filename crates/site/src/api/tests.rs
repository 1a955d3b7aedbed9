//! The listener and the description of the API. What the routes do is tested end to end with the binary.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use axum::Router;
use axum::routing::get;
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;

use super::listen::{ListenError, serve_unix};
use super::{long_routes, open_routes, openapi, quick_routes};

#[test]
fn every_route_is_described_and_every_description_has_a_route() {
    let routes: BTreeSet<String> = quick_routes()
        .into_iter()
        .chain(long_routes())
        .map(|(path, _)| format!("/v1{path}"))
        .filter(|path| path != "/v1/openapi.json")
        .chain(open_routes().into_iter().map(|(path, _)| path.to_owned()))
        .collect();
    let described: BTreeSet<String> = openapi().paths.paths.keys().cloned().collect();
    assert_eq!(described, routes);
}

#[test]
fn only_probes_need_no_token() {
    let open: Vec<&str> = open_routes().into_iter().map(|(path, _)| path).collect();
    assert_eq!(open, super::health::OPEN);
}

#[test]
fn the_reference_is_the_description() {
    let text = openapi().to_pretty_json().unwrap() + "\n";
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/openapi.json");
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        std::fs::write(page, &text).unwrap();
    }
    let written = std::fs::read_to_string(page).unwrap_or_default();
    assert!(
        written == text,
        "{page} is out of date; run this test once with UPDATE_REFERENCE=1"
    );
}

#[test]
fn every_answer_is_described_in_words() {
    let document = serde_json::to_value(openapi()).unwrap();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            assert!(operation["summary"].is_string(), "{method} {path} has no summary");
            for (status, response) in operation["responses"].as_object().unwrap() {
                assert!(
                    response["description"]
                        .as_str()
                        .is_some_and(|text| !text.is_empty()),
                    "{method} {path} {status} has no description"
                );
            }
        }
    }
}

/// A listener on a socket in a folder of its own.
struct Listening {
    folder: tempfile::TempDir,
    shutdown: CancellationToken,
    served: tokio::task::JoinSet<Result<(), ListenError>>,
}

impl Listening {
    async fn start(router: Router) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut listening = Listening {
            folder,
            shutdown: CancellationToken::new(),
            served: tokio::task::JoinSet::new(),
        };
        let (path, shutdown) = (listening.socket(), listening.shutdown.clone());
        listening
            .served
            .spawn(async move { serve_unix(router, &path, shutdown).await });
        listening
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("api.sock")
    }

    async fn end(&mut self) {
        self.shutdown.cancel();
        self.served.join_next().await.unwrap().unwrap().unwrap();
    }
}

/// Connects once somebody listens; the socket appears whole or not at all.
async fn connect(path: &Path) -> UnixStream {
    loop {
        match UnixStream::connect(path).await {
            Ok(stream) => return stream,
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

async fn ask(stream: UnixStream, path: &str) -> String {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(connection);
    let request = http::Request::get(path)
        .header("host", "site")
        .body(String::new())
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test]
async fn a_local_request_has_an_actor_and_the_socket_is_private() {
    let router = Router::new().route(
        "/who",
        get(async |request: axum::extract::Request| {
            request
                .extensions()
                .get::<crate::service::Actor>()
                .is_some()
                .to_string()
        }),
    );
    let mut listening = Listening::start(router).await;
    assert_eq!(ask(connect(&listening.socket()).await, "/who").await, "true");
    let mode = std::fs::metadata(listening.socket())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    listening.end().await;
    assert!(!listening.socket().exists());
}

#[tokio::test]
async fn a_second_listener_is_refused_and_a_dead_socket_is_replaced() {
    let mut listening = Listening::start(Router::new().route("/", get(async || "first"))).await;
    drop(connect(&listening.socket()).await);
    let second = serve_unix(Router::new(), &listening.socket(), CancellationToken::new()).await;
    assert!(matches!(second, Err(ListenError::InUse { .. })), "{second:?}");
    assert_eq!(ask(connect(&listening.socket()).await, "/").await, "first");
    listening.end().await;

    // A killed process leaves its socket file behind.
    drop(std::os::unix::net::UnixListener::bind(listening.socket()).unwrap());
    let (path, shutdown) = (listening.socket(), CancellationToken::new());
    let again = Router::new().route("/", get(async || "again"));
    let stop = shutdown.clone();
    listening
        .served
        .spawn(async move { serve_unix(again, &path, stop).await });
    listening.shutdown = shutdown;
    assert_eq!(ask(connect(&listening.socket()).await, "/").await, "again");
    listening.end().await;
}

#[tokio::test]
async fn requests_under_way_end_before_the_listener_does() {
    let (began, mut has_begun) = tokio::sync::mpsc::channel(1);
    let release = std::sync::Arc::new(tokio::sync::Notify::new());
    let hold = release.clone();
    let router = Router::new().route(
        "/slow",
        get(move || {
            let (began, hold) = (began.clone(), hold.clone());
            async move {
                began.send(()).await.unwrap();
                hold.notified().await;
                "whole"
            }
        }),
    );
    let mut listening = Listening::start(router).await;
    let stream = connect(&listening.socket()).await;
    let answer = ask(stream, "/slow");
    let stop = async {
        has_begun.recv().await.unwrap();
        listening.shutdown.cancel();
        release.notify_one();
    };
    let (answer, ()) = tokio::join!(answer, stop);
    assert_eq!(answer, "whole");
    listening.end().await;
}
