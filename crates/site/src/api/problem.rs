//! How failures look on the wire: a status code and an [`ApiProblem`], for requests that cannot be read
//! as well as for those that the service refuses.

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use protocol::api::ApiProblem;
use serde::de::DeserializeOwned;

use crate::service::ServiceError;

/// When it is worth while to ask again, in seconds, where it is "not now".
pub(crate) const AGAIN_AFTER: HeaderValue = HeaderValue::from_static("5");

/// Makes a [`ServiceError`] or an unreadable request an HTTP response.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    detail: String,
    hint: Option<String>,
}

/// The status code of a failure, on the wire and on pages.
pub(crate) fn status_of(failure: &ServiceError) -> StatusCode {
    match failure {
        ServiceError::NotFound { .. } => StatusCode::NOT_FOUND,
        ServiceError::Refused { .. } => StatusCode::CONFLICT,
        ServiceError::Invalid { .. } => StatusCode::BAD_REQUEST,
        ServiceError::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
        ServiceError::Internal { .. } => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// What a panic said.
pub(crate) fn words_of(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default()
}

/// A refusal with what to do about it.
pub(super) fn refuse(status: StatusCode, detail: String, hint: Option<String>) -> Problem {
    Problem { status, detail, hint }
}

impl Problem {
    pub(super) fn invalid(detail: String) -> Self {
        refuse(StatusCode::BAD_REQUEST, detail, None)
    }
}

impl From<ServiceError> for Problem {
    fn from(failure: ServiceError) -> Self {
        let hint = failure.hint().map(str::to_owned);
        refuse(status_of(&failure), crate::context::whole_story(&failure), hint)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = ApiProblem {
            title: self.status.canonical_reason().unwrap_or_default().to_owned(),
            status: self.status.as_u16(),
            detail: self.detail,
            hint: self.hint,
        };
        let kind = [(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"))];
        let mut response = (self.status, kind, axum::Json(body)).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, AGAIN_AFTER);
        }
        response
    }
}

/// A JSON body whose refusal is an [`ApiProblem`]. An absent body reads as `{}`, so that requests whose
/// fields all have defaults need none.
pub(super) struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = bytes::Bytes::from_request(request, state)
            .await
            .map_err(|refusal| {
                refuse(
                    refusal.status(),
                    format!("the request body cannot be read: {refusal}"),
                    None,
                )
            })?;
        let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        serde_json::from_slice(text)
            .map(Body)
            .map_err(|e| Problem::invalid(format!("the request body is not what is expected here: {e}")))
    }
}

/// Parts of the path whose refusal is an [`ApiProblem`].
pub(super) struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        axum::extract::Path::from_request_parts(parts, state)
            .await
            .map(|axum::extract::Path(value)| Path(value))
            .map_err(|refusal| {
                refuse(
                    refusal.status(),
                    format!("the path is not what is expected here: {}", refusal.body_text()),
                    None,
                )
            })
    }
}

/// Query parameters whose refusal is an [`ApiProblem`].
pub(super) struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        axum::extract::Query::from_request_parts(parts, state)
            .await
            .map(|axum::extract::Query(value)| Query(value))
            .map_err(|refusal| Problem::invalid(format!("the query is not what is expected here: {refusal}")))
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::get;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn unreadable_requests_are_problems() {
        #[derive(serde::Deserialize)]
        struct Number {
            #[expect(dead_code, reason = "only its reading is looked at")]
            number: u32,
        }
        let router = Router::new()
            .route("/path/{name}", get(async |Path(name): Path<String>| name))
            .route("/query", get(async |Query(_): Query<Number>| ""))
            .route("/body", get(async |Body(_): Body<Number>| ""));
        for (target, expected) in [
            ("/path/%ff", "the path is not what is expected here: "),
            ("/query?number=x", "the query is not what is expected here: "),
            ("/body", "the request body is not what is expected here: "),
        ] {
            let request = Request::get(target).body(axum::body::Body::empty()).unwrap();
            let response = router.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{target}");
            let body = response.into_body().collect().await.unwrap().to_bytes();
            let problem: ApiProblem = serde_json::from_slice(&body).unwrap();
            assert!(
                problem.detail.starts_with(expected),
                "{target}: {}",
                problem.detail
            );
        }
    }
}
