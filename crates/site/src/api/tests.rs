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
use super::openapi;
use super::routes::{event_route, long_routes, quick_routes};

#[test]
fn every_route_is_described_and_every_description_has_a_route() {
    let routes: BTreeSet<String> = quick_routes()
        .into_iter()
        .chain(long_routes())
        .chain([event_route()])
        .map(|route| format!("/v1{}", route.path))
        .filter(|path| path != "/v1/openapi.json")
        .chain(super::health::OPEN.map(str::to_owned))
        .collect();
    let described: BTreeSet<String> = openapi().paths.paths.keys().cloned().collect();
    assert_eq!(described, routes);
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

/// Asks the API as a local administrator.
async fn send(
    router: &Router,
    request: http::request::Builder,
    body: &str,
) -> (http::StatusCode, http::HeaderMap, String) {
    let mut request = request.body(axum::body::Body::from(body.to_owned())).unwrap();
    let actor = crate::service::Actor::user("alice", domain::access::Access::FULL);
    request.extensions_mut().insert(actor);
    let answer = tower::ServiceExt::oneshot(router.clone(), request).await.unwrap();
    let (parts, body) = answer.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    (
        parts.status,
        parts.headers,
        String::from_utf8(bytes.to_vec()).unwrap(),
    )
}

#[tokio::test]
async fn who_changes_something_may_say_what_they_saw() {
    let (_folder, service) = crate::testing::service();
    let router = super::router(service);
    let get = || http::Request::get("/v1/throttle");
    let put = || http::Request::put("/v1/throttle");
    let (_, headers, _) = send(&router, get(), "").await;
    let seen = headers["etag"].to_str().unwrap().to_owned();
    let (status, _, body) = send(&router, get().header("if-none-match", &seen), "").await;
    assert_eq!((status.as_u16(), body.as_str()), (304, ""));
    let rules = r#"{"rules": ["1 MB/s"]}"#;
    let (status, ..) = send(&router, put().header("if-match", &seen), rules).await;
    assert_eq!(status, 200);
    // Somebody else saw the same and comes second.
    let (status, headers, body) = send(&router, put().header("if-match", &seen), r#"{"rules": []}"#).await;
    assert_eq!(status, 412, "{body}");
    assert_eq!(headers["content-type"], "application/problem+json");
    let (_, headers, body) = send(&router, get(), "").await;
    assert!(body.contains("1 MB/s") && headers["etag"].to_str().unwrap() != seen);
}

#[tokio::test]
async fn a_change_with_a_key_is_made_once() {
    let (_folder, service) = crate::testing::service();
    let router = super::router(service.clone());
    let body = r#"{"name": "bob", "role": "read-only-analyst", "password": "four words are enough"}"#;
    let post = |key: &str| {
        http::Request::post("/v1/accounts")
            .header("idempotency-key", key)
            .header("content-type", "application/json")
    };
    let (first, ..) = send(&router, post("one"), body).await;
    let (again, headers, _) = send(&router, post("one"), body).await;
    assert_eq!((first.as_u16(), again.as_u16()), (204, 204));
    assert_eq!(headers["idempotent-replayed"], "true");
    // Under another key it is another change, which there is no room for.
    assert_eq!(send(&router, post("two"), body).await.0, 409);
    let other = body.replace("bob", "eve");
    assert_eq!(send(&router, post("one"), &other).await.0, 422);
    let token = http::Request::post("/v1/tokens").header("idempotency-key", "three");
    assert_eq!(
        send(&router, token, r#"{"name": "x", "role": "read-only-analyst"}"#)
            .await
            .0,
        400
    );
    assert_eq!(send(&router, post(&"k".repeat(300)), body).await.0, 400);
    assert_eq!(service.accounts().await.unwrap().len(), 1);
}

#[tokio::test]
async fn long_routes_take_keys_and_nobody_is_believed_to_have_compared_what_they_did_not() {
    let (_folder, service) = crate::testing::service();
    let router = super::router(service);
    let post = |path: &str| http::Request::post(path.to_owned());
    let (first, ..) = send(
        &router,
        post("/v1/content/gc").header("idempotency-key", "one"),
        "",
    )
    .await;
    let (again, headers, _) = send(
        &router,
        post("/v1/content/gc").header("idempotency-key", "one"),
        "",
    )
    .await;
    assert_eq!((first.as_u16(), again.as_u16()), (200, 200));
    assert_eq!(headers["idempotent-replayed"], "true");
    // A file is not compared with the one before.
    let put = http::Request::put("/v1/inventory/devices").header("idempotency-key", "two");
    assert_eq!(send(&router, put, "").await.0, 400);
    // On a long route, and on a quick one of which there is no GET.
    for path in ["/v1/content/gc", "/v1/setup-link"] {
        let (status, _, body) = send(&router, post(path).header("if-match", "\"seen\""), "").await;
        assert_eq!(status, 400, "{path}: {body}");
    }
}

#[tokio::test]
async fn a_page_goes_on_where_a_package_was_that_left_the_list() {
    use domain::servicing::transition::{PackageEvent as E, Verdict};
    let (_folder, service) = crate::testing::service();
    let guid = domain::servicing::package::PackageGuid;
    let listed = |number: u128| store::ListedPackage {
        guid: guid(number),
        name: format!("Package {number}"),
        full_version: format!("5.00.91{number:02}.1000").parse().unwrap(),
        released_at: "2026-11-20T12:00:00Z".parse().unwrap(),
        record: "{}".into(),
    };
    let write = service
        .context()
        .store
        .write_blocking::<_, store::StoreError>(|tx| {
            tx.store_shard("catalogue/0", &[1, 2, 3, 4].map(listed), service.now())?;
            // The third is not in the short list, like one that was superseded since it was shown there.
            for number in [1, 2, 4] {
                let row = tx.package(guid(number))?;
                let events = [E::Listed, E::Evaluated(Verdict::Applicable)];
                tx.apply_all(&row, &events, "", service.now())?;
            }
            Ok(())
        });
    write.unwrap();
    let page = async |after: u128| {
        let page = service.updates_page(false, Some(guid(after)), 2).await.unwrap();
        let names = page.updates.into_iter().map(|update| update.name);
        (names.collect::<Vec<_>>(), page.more)
    };
    let both = vec!["Package 2".to_owned(), "Package 1".to_owned()];
    assert_eq!(page(4).await, (both.clone(), false));
    assert_eq!(page(3).await, (both, false));
    let unknown = service.updates_page(true, Some(guid(99)), 2).await;
    assert!(matches!(
        unknown,
        Err(crate::service::ServiceError::NotFound { .. })
    ));
}

#[tokio::test(start_paused = true)]
async fn rules_of_the_throttle_are_stored_and_put_in_force_by_one_change_at_a_time() {
    let (_folder, service) = crate::testing::service();
    let local = crate::service::Actor::user("alice", domain::access::Access::FULL);
    let request = || protocol::api::ThrottleRequest {
        rules: vec!["3 MB/s".into()],
    };
    let other = service.context().throttle.change().await;
    let patience = std::time::Duration::from_secs(60);
    let waiting = tokio::time::timeout(patience, service.set_throttle(request(), &local)).await;
    assert!(waiting.is_err(), "it does not wait for the other change");
    assert!(
        service.throttle().await.unwrap().rules.is_empty(),
        "nothing is stored"
    );
    drop(other);
    let info = service.set_throttle(request(), &local).await.unwrap();
    assert_eq!(info.now, "3000000 B/s", "it is in force");
}

#[tokio::test(start_paused = true)]
async fn events_tell_what_changed_and_end_with_the_right_to_see_it() {
    use futures_util::StreamExt;
    let (_folder, service) = crate::testing::service();
    let local = crate::service::Actor::user("alice", domain::access::Access::FULL);
    let request = protocol::api::TokenRequest {
        name: "viewer".into(),
        role: "read-only-analyst".into(),
        scope: None,
    };
    let token = service.add_token(request, &local).await.unwrap().token;
    let router = super::listen::with_token(super::router(service.clone()), service.clone());
    let asked = http::Request::get("/v1/events?path=/throttle")
        .header("authorization", format!("Bearer {token}"))
        .body(axum::body::Body::empty())
        .unwrap();
    let answer = tower::ServiceExt::oneshot(router, asked).await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let mut events = answer.into_body().into_data_stream();
    let mut next = async || String::from_utf8(events.next().await.unwrap().unwrap().to_vec()).unwrap();
    assert!(next().await.contains("unlimited"));
    let request = protocol::api::ThrottleRequest {
        rules: vec!["3 MB/s".into()],
    };
    service.set_throttle(request, &local).await.unwrap();
    assert!(next().await.contains("3 MB/s"));
    service.remove_token("viewer", &local).await.unwrap();
    assert!(next().await.contains("ended"));
}
