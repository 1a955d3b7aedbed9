//! Entity tags: a reader is told when nothing changed, and who changes something may say what they have seen.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::BodyExt;
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;
use tower::ServiceExt;

use super::in_time::looks;
use super::problem::refuse;

/// Largest answer that gets a tag; lists are bounded far below.
const TAGGED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The routes, to be asked what is there before a change.
#[derive(Clone)]
pub(super) struct Conditions {
    routes: Router,
    /// Held from the comparison to the end of the change, so that of two who saw the same only one changes it.
    changing: Arc<Mutex<()>>,
}

impl Conditions {
    pub(super) fn new(routes: Router) -> Self {
        Conditions {
            routes,
            changing: Arc::default(),
        }
    }
}

/// RFC 9110, 13.1: `If-None-Match` on GET, `If-Match` on everything else.
pub(super) async fn check(State(conditions): State<Conditions>, request: Request, next: Next) -> Response {
    if looks(request.method()) {
        let known = request.headers().get(IF_NONE_MATCH).cloned();
        return tagged(next.run(request).await, known.as_ref()).await;
    }
    let Some(seen) = request.headers().get(IF_MATCH).cloned() else {
        return next.run(request).await;
    };
    let _alone = conditions.changing.lock().await;
    let mut asked = Request::new(Body::empty());
    *asked.uri_mut() = request.uri().clone();
    *asked.extensions_mut() = request.extensions().clone();
    let now = conditions
        .routes
        .clone()
        .oneshot(asked)
        .await
        .unwrap_or_else(|never| match never {});
    if now.status() == StatusCode::METHOD_NOT_ALLOWED {
        return no_tag();
    }
    let now = tagged(now, None).await;
    match now.headers().get(ETAG) {
        Some(tag) if lists(&seen, tag) => next.run(request).await,
        _ => refuse(
            StatusCode::PRECONDITION_FAILED,
            "it is not any more what you have seen".to_owned(),
            Some("read it again, look at what changed, and send the change with the new ETag".to_owned()),
        )
        .into_response(),
    }
}

/// Refuses `If-Match` where nothing has a tag: whoever sends it relies on it.
pub(super) async fn refuse_tags(request: Request, next: Next) -> Response {
    match !looks(request.method()) && request.headers().contains_key(IF_MATCH) {
        true => no_tag(),
        false => next.run(request).await,
    }
}

fn no_tag() -> Response {
    refuse(
        StatusCode::BAD_REQUEST,
        "nothing here has an ETag that If-Match could be compared with".to_owned(),
        Some("send the request without If-Match".to_owned()),
    )
    .into_response()
}

/// The answer with its tag, or that nothing changed.
async fn tagged(response: Response, known: Option<&HeaderValue>) -> Response {
    let is_json = |headers: &HeaderMap| {
        headers
            .get(CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"))
    };
    if response.status() != StatusCode::OK || !is_json(response.headers()) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(collected) = http_body_util::Limited::new(body, TAGGED_BYTES_MAX)
        .collect()
        .await
    else {
        let detail = "the answer is larger than it may be".to_owned();
        return refuse(StatusCode::INTERNAL_SERVER_ERROR, detail, None).into_response();
    };
    let bytes: Bytes = collected.to_bytes();
    let digest = Sha256::digest(&bytes);
    let tag = format!("\"{}\"", hex::encode(&digest[..16]));
    let Ok(tag) = HeaderValue::from_str(&tag) else {
        return Response::from_parts(parts, Body::from(bytes));
    };
    let unchanged = known.is_some_and(|known| lists(known, &tag));
    parts.headers.insert(ETAG, tag);
    if unchanged {
        parts.status = StatusCode::NOT_MODIFIED;
        parts.headers.remove(CONTENT_TYPE);
        parts.headers.remove(http::header::CONTENT_LENGTH);
        return Response::from_parts(parts, Body::empty());
    }
    Response::from_parts(parts, Body::from(bytes))
}

/// Whether a list of tags has this one, or is `*`.
fn lists(header: &HeaderValue, tag: &HeaderValue) -> bool {
    let (Ok(header), Ok(tag)) = (header.to_str(), tag.to_str()) else {
        return false;
    };
    let of = |one: &str| one.trim().trim_start_matches("W/") == tag;
    header.trim() == "*" || header.split(',').any(of)
}
