//! Live views: a page asks for itself again and again on the server, and what changed is sent to the browser.
//!
//! A view costs one rendering a tick and holds one hash; nothing queues up behind a slow browser.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, Query, Request, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tower::ServiceExt;

use super::door::cookie;
use crate::service::{Session, SiteService};

/// How often a page is looked at.
const TICK: Duration = Duration::from_secs(1);
/// Largest part of a page that is sent.
const FRAGMENT_BYTES_MAX: usize = 512 * 1024;
/// A view that is open for longer begins anew, which the browser does by itself.
const TICKS_MAX: u32 = 4 * 60 * 60;

/// Marks a request for the live part of a page.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fragment;

/// The pages that may be looked at.
#[derive(Clone)]
pub(super) struct Pages(pub(super) Router);

#[derive(Deserialize)]
pub(super) struct View {
    page: String,
}

struct Watching {
    service: Arc<SiteService>,
    pages: Router,
    page: String,
    cookie: String,
    seen: Option<[u8; 32]>,
    ticks: u32,
    ended: bool,
}

/// `GET /live?page=PATH`: the events `page`, with the part that changed, and `ended`, when the session is over.
pub(super) async fn stream(
    State(service): State<Arc<SiteService>>,
    Extension(Pages(pages)): Extension<Pages>,
    Query(view): Query<View>,
    headers: HeaderMap,
) -> Response {
    let Some(cookie) = cookie(&headers) else {
        return StatusCode::UNAUTHORIZED.into_response();
    };
    if !view.page.starts_with('/') || view.page.parse::<http::Uri>().is_err() {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let watching = Watching {
        service,
        pages,
        page: view.page,
        cookie,
        seen: None,
        ticks: 0,
        ended: false,
    };
    let events = stream::unfold(watching, |mut watching| async move {
        if watching.ended {
            return None;
        }
        let event = watching.next().await;
        Some((Ok::<_, Infallible>(event), watching))
    });
    Sse::new(events).keep_alive(KeepAlive::default()).into_response()
}

impl Watching {
    /// Waits for the next change.
    async fn next(&mut self) -> Event {
        loop {
            if self.ticks > 0 {
                tokio::time::sleep(TICK).await;
            }
            self.ticks += 1;
            // Rights that were taken away count here too: the session is read anew each time.
            let session = self.service.session(&self.cookie, false).await.ok().flatten();
            let page = match session {
                Some(session) if self.ticks < TICKS_MAX => self.render(session).await,
                _ => None,
            };
            let Some(page) = page else {
                self.ended = true;
                return Event::default().event("ended").data("over");
            };
            let hash: [u8; 32] = Sha256::digest(page.as_bytes()).into();
            if self.seen.replace(hash) != Some(hash) {
                return Event::default().event("page").data(page);
            }
        }
    }

    /// The live part of the page, for this user.
    async fn render(&self, session: Session) -> Option<String> {
        let mut request = Request::get(&self.page).body(Body::empty()).ok()?;
        let extensions = request.extensions_mut();
        extensions.insert(session.actor.clone());
        extensions.insert(session);
        extensions.insert(Fragment);
        let response = self
            .pages
            .clone()
            .oneshot(request)
            .await
            .unwrap_or_else(|never| match never {});
        if !response.status().is_success() {
            return None;
        }
        let body = http_body_util::Limited::new(response.into_body(), FRAGMENT_BYTES_MAX);
        let bytes = body.collect().await.ok()?.to_bytes();
        String::from_utf8(bytes.to_vec()).ok()
    }
}
