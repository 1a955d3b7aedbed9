//! `Idempotency-Key`: a change that is sent again after a lost answer is answered as the first time, and not made twice.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, StatusCode};
use http_body_util::BodyExt;
use store::{KeptAnswer, KeyState};

use super::BODY_BYTES_MAX;
use super::in_time::looks;
use super::problem::refuse;
use crate::service::{Actor, SiteService};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
const KEY_BYTES_MAX: usize = 255;
/// Largest answer of a route that takes keys.
const KEPT_BYTES_MAX: usize = 1024 * 1024;
/// Answers that are shown once and kept nowhere.
const SHOWN_ONCE: [&str; 2] = ["/tokens", "/setup-link"];

/// Files, too large to be compared with what was sent before.
const REPLACED_WHOLE: &str = "/inventory/";

/// Keeps answers per caller and key for a day.
pub(super) async fn keep(State(service): State<Arc<SiteService>>, request: Request, next: Next) -> Response {
    let is_change = !looks(request.method());
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
    if request.uri().path().contains(REPLACED_WHOLE) {
        let detail = "a file of the inventory replaces its table whole; it takes no Idempotency-Key";
        let hint = "send it again: that changes nothing";
        return Err(refused(StatusCode::BAD_REQUEST, detail, Some(hint)));
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
    let changing = next.run(Request::from_parts(parts, Body::from(body)));
    let response = match AssertUnwindSafe(changing).catch_unwind().await {
        Ok(response) => response,
        Err(panic) => {
            end(&service, &actor, text, None).await;
            std::panic::resume_unwind(panic)
        }
    };
    let (parts, body) = response.into_parts();
    let bytes = match http_body_util::Limited::new(body, KEPT_BYTES_MAX).collect().await {
        Ok(bytes) => bytes.to_bytes(),
        Err(_) => {
            // It is not to be made again: whoever sends it once more is told the same.
            let detail = "the change was made, its answer is too large to be kept";
            let kept = KeptAnswer {
                status: StatusCode::INTERNAL_SERVER_ERROR.as_u16(),
                content_type: Some("text/plain".to_owned()),
                body: format!("{detail}\n").into_bytes(),
            };
            end(&service, &actor, text, Some(kept)).await;
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
    end(&service, &actor, text, kept).await;
    Ok(Response::from_parts(parts, Body::from(bytes)))
}

/// Whatever became of a change, its key is not under way any more.
async fn end(service: &SiteService, actor: &str, key: &str, kept: Option<KeptAnswer>) {
    if let Err(failure) = service.end_keyed(actor, key, kept).await {
        tracing::warn!("an answer could not be kept under its Idempotency-Key: {failure}");
    }
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

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::middleware::from_fn_with_state;
    use axum::routing::post;
    use domain::access::Access;
    use tower::ServiceExt;
    use tower_http::catch_panic::CatchPanicLayer;

    use super::*;

    async fn status(router: &Router, path: &str) -> (u16, bool) {
        let request = Request::post(path).header(KEY, "one").body(Body::empty());
        let mut request = request.unwrap();
        request
            .extensions_mut()
            .insert(Actor::user("alice", Access::FULL));
        let answer = router.clone().oneshot(request).await.unwrap();
        let replayed = answer.headers().contains_key(REPLAYED);
        (answer.status().as_u16(), replayed)
    }

    #[tokio::test]
    async fn a_key_is_not_under_way_for_ever() {
        let (_folder, service) = crate::testing::service();
        let too_much = "x".repeat(KEPT_BYTES_MAX + 1);
        let router = |path: &str, methods| {
            Router::new()
                .route(path, methods)
                .layer(from_fn_with_state(service.clone(), keep))
                .layer(CatchPanicLayer::new())
        };
        let panics = router("/panics", post(async || -> StatusCode { panic!("of the test") }));
        assert_eq!(status(&panics, "/panics").await, (500, false));
        assert_eq!(
            status(&panics, "/panics").await,
            (500, false),
            "it may be tried again"
        );
        let (_folder, service) = crate::testing::service();
        let large = Router::new()
            .route("/large", post(async move || too_much.clone()))
            .layer(from_fn_with_state(service, keep));
        assert_eq!(status(&large, "/large").await, (500, false));
        assert_eq!(
            status(&large, "/large").await,
            (500, true),
            "it is not made again"
        );
    }
}
