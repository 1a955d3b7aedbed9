//! How failures look on the wire: a status code and an [`ApiProblem`], for requests that cannot be read
//! as well as for those that the service refuses.

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;
use protocol::api::ApiProblem;
use serde::de::DeserializeOwned;

use crate::service::ServiceError;

/// Makes a [`ServiceError`] or an unreadable request an HTTP response.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    body: ApiProblem,
}

impl Problem {
    pub(super) fn invalid(error: String) -> Self {
        Problem {
            status: StatusCode::BAD_REQUEST,
            body: ApiProblem { error, hint: None },
        }
    }
}

impl From<ServiceError> for Problem {
    fn from(failure: ServiceError) -> Self {
        let status = match &failure {
            ServiceError::NotFound { .. } => StatusCode::NOT_FOUND,
            ServiceError::Refused { .. } => StatusCode::CONFLICT,
            ServiceError::Invalid { .. } => StatusCode::BAD_REQUEST,
            ServiceError::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            ServiceError::Internal { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let hint = failure.hint().map(str::to_owned);
        Problem {
            status,
            body: ApiProblem {
                error: crate::context::whole_story(&failure),
                hint,
            },
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.status, axum::Json(self.body)).into_response()
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
            .map_err(|refusal| Problem {
                status: refusal.status(),
                body: ApiProblem {
                    error: format!("the request body cannot be read: {refusal}"),
                    hint: None,
                },
            })?;
        let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        serde_json::from_slice(text)
            .map(Body)
            .map_err(|e| Problem::invalid(format!("the request body is not what is expected here: {e}")))
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
