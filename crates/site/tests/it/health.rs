//! Probes: what anybody may ask, and when a site is not ready.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use domain::component::ComponentName;
use executive::{
    Activation, Clock, Component, ComponentError, Executive, ExecutiveEvent, Next, Report, Supervision,
};
use futures_util::future::BoxFuture;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use site::api::{listen, router};
use store::{ComponentRow, StoreError};
use tower::ServiceExt;

use crate::notifications::Still;

struct Idle;

impl Component for Idle {
    fn name(&self) -> ComponentName {
        ComponentName::StateSystem
    }

    fn activate<'a>(&'a self, _cx: Activation<'a>) -> BoxFuture<'a, Result<Report, ComponentError>> {
        Box::pin(async {
            Ok(Report {
                summary: String::new(),
                next: Next::WhenWoken,
                waiting: None,
            })
        })
    }
}

/// Asks as anybody on the HTTPS listener, without a token.
async fn ask(remote: &Router, path: &str) -> (StatusCode, String) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = remote.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn probes_need_no_token_and_say_little() {
    let site = Still::new();
    let remote = listen::with_token(router(site.service.clone()), site.service.clone());
    assert_eq!(ask(&remote, "/healthz").await, (StatusCode::OK, "alive\n".into()));
    let (status, why) = ask(&remote, "/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(why.contains("still starting"), "{why}");
    for path in [
        "/v1/site",
        "/v1/metrics",
        "/healthz/",
        "/healthz/x",
        "/readyz/../v1/site",
        "/",
    ] {
        assert_eq!(
            ask(&remote, path).await.0,
            StatusCode::UNAUTHORIZED,
            "{path} is open"
        );
    }

    let supervision = Supervision::new(Clock::Fake(site.clock.clone()), 1);
    let (executive, mut events) = Executive::start(vec![Arc::new(Idle)], &[], supervision);
    assert!(site.context.executive.set(executive.handle()).is_ok());
    let name = ComponentName::StateSystem;
    assert_eq!(events.recv().await, Some(ExecutiveEvent::Started(name)));
    assert_eq!(ask(&remote, "/readyz").await, (StatusCode::OK, "ready\n".into()));

    // It ended, and nobody wanted that.
    executive.handle().stop(name).unwrap();
    assert_eq!(events.recv().await, Some(ExecutiveEvent::Stopped(name)));
    let (status, why) = ask(&remote, "/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(why.contains("SMS_STATE_SYSTEM does not run"), "{why}");
    // An administrator stopped it: that is how it should be.
    site.context
        .store
        .write_blocking::<_, StoreError>(|tx| {
            let row = tx.component(name.as_str())?;
            tx.record_component(&ComponentRow { stopped: true, ..row })
        })
        .unwrap();
    assert_eq!(ask(&remote, "/readyz").await.0, StatusCode::OK);

    // A database that is gone to ruin: named, without its path.
    for file in ["site.db", "site.db-wal"] {
        let path = site.context.directory.root().join(file);
        let length = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
        std::fs::write(path, vec![b'?'; length as usize]).unwrap();
    }
    // The one open connection, which remembers pages, is in use; the probe opens another.
    let (status, why) = site
        .context
        .store
        .read_blocking::<_, StoreError>(|_| {
            let asking = ask(&remote, "/readyz");
            Ok(tokio::task::block_in_place(|| {
                tokio::runtime::Handle::current().block_on(asking)
            }))
        })
        .unwrap();
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{why}");
    assert!(
        why.contains("the database cannot be read") && !why.contains("site.db"),
        "{why}"
    );
    assert_eq!(ask(&remote, "/healthz").await.0, StatusCode::OK);
    executive.shut_down().await;
}
