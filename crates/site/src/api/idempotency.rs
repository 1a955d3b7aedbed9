//! `Idempotency-Key`: a change that is sent again after a lost answer is answered as the first time, and not made twice.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use http_body_util::BodyExt;
use store::{KeptAnswer, KeyState};

use super::BODY_BYTES_MAX;
use super::problem::refuse;
use crate::service::{Actor, SiteService};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
const KEY_BYTES_MAX: usize = 255;
/// Largest answer of a route that takes keys.
const KEPT_BYTES_MAX: usize = 1024 * 1024;
/// Answers that are shown once and kept nowhere.
const SHOWN_ONCE: [&str; 2] = ["/tokens", "/setup-link"];

/// Keeps answers per caller and key for a day.
pub(super) async fn keep(State(service): State<Arc<SiteService>>, request: Request, next: Next) -> Response {
    let is_change = !matches!(*request.method(), Method::GET | Method::HEAD);
    let Some(key) = request.headers().get(KEY).cloned().filter(|_| is_change) else {
        return next.run(request).await;
    };
    match answer(service, &key, request, next).await {
        Ok(response) | Err(response) => response,
    }
}

async fn answer(
    service: Arc<SiteService>,
    key: &HeaderValue,
    request: Request,
    next: Next,
) -> Result<Response, Response> {
    let refused = |status, detail: &str, hint: Option<&str>| {
        refuse(status, detail.to_owned(), hint.map(str::to_owned)).into_response()
    };
    let text = key
        .to_str()
        .ok()
        .filter(|text| !text.is_empty() && text.len() <= KEY_BYTES_MAX);
    let Some(text) = text else {
        return Err(refused(
            StatusCode::BAD_REQUEST,
            "an Idempotency-Key has 1 to 255 visible characters",
            None,
        ));
    };
    if SHOWN_ONCE.iter().any(|path| request.uri().path().ends_with(path)) {
        let detail = "what this answers is shown once and kept nowhere; it takes no Idempotency-Key";
        return Err(refused(StatusCode::BAD_REQUEST, detail, None));
    }
    let actor = request
        .extensions()
        .get::<Actor>()
        .map(|actor| actor.as_str().to_owned());
    let Some(actor) = actor else {
        return Ok(next.run(request).await);
    };
    let (parts, body) = request.into_parts();
    let body = http_body_util::Limited::new(body, BODY_BYTES_MAX).collect().await;
    let Ok(body) = body.map(http_body_util::Collected::to_bytes) else {
        let detail = "a request with an Idempotency-Key has at most 65536 bytes";
        return Err(refused(StatusCode::PAYLOAD_TOO_LARGE, detail, None));
    };
    let target = parts.uri.to_string();
    let fingerprint = service.fingerprint(&[parts.method.as_str().as_bytes(), target.as_bytes(), &body]);
    match service.begin_keyed(&actor, text, &fingerprint).await {
        Ok(KeyState::New) => {}
        Ok(KeyState::Done(kept)) => return Ok(replay(&kept)),
        Ok(KeyState::UnderWay) => {
            let detail = "a request with this Idempotency-Key is under way";
            return Err(refused(
                StatusCode::CONFLICT,
                detail,
                Some("ask again in a moment"),
            ));
        }
        Ok(KeyState::Other) => {
            let detail = "this Idempotency-Key was sent with another request";
            return Err(refused(
                StatusCode::UNPROCESSABLE_ENTITY,
                detail,
                Some("use a new key for each change"),
            ));
        }
        Err(failure) => return Err(super::problem::Problem::from(failure).into_response()),
    }
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    let (parts, body) = response.into_parts();
    let bytes = match http_body_util::Limited::new(body, KEPT_BYTES_MAX).collect().await {
        Ok(bytes) => bytes.to_bytes(),
        Err(_) => {
            let detail = "the change was made, its answer is too large to be kept";
            return Err(refused(StatusCode::INTERNAL_SERVER_ERROR, detail, None));
        }
    };
    let kept = KeptAnswer {
        status: parts.status.as_u16(),
        content_type: parts
            .headers
            .get(CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok())
            .map(str::to_owned),
        body: bytes.to_vec(),
    };
    // What was refused for what may change, or failed on our side, may be tried again under the same key.
    let may_change = parts.status.is_server_error()
        || matches!(
            parts.status,
            StatusCode::METHOD_NOT_ALLOWED | StatusCode::PRECONDITION_FAILED | StatusCode::PAYLOAD_TOO_LARGE
        );
    let kept = (!may_change).then_some(kept);
    if let Err(failure) = service.end_keyed(&actor, text, kept).await {
        tracing::warn!("an answer could not be kept under its Idempotency-Key: {failure}");
    }
    Ok(Response::from_parts(parts, Body::from(bytes)))
}

fn replay(kept: &KeptAnswer) -> Response {
    let mut response = Response::new(Body::from(kept.body.clone()));
    *response.status_mut() = StatusCode::from_u16(kept.status).unwrap_or(StatusCode::OK);
    let kind = kept
        .content_type
        .as_deref()
        .and_then(|kind| HeaderValue::from_str(kind).ok());
    if let Some(kind) = kind {
        response.headers_mut().insert(CONTENT_TYPE, kind);
    }
    response
        .headers_mut()
        .insert(REPLAYED, HeaderValue::from_static("true"));
    response
}
