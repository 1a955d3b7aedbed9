//! Usage data.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::header;
use protocol::api::{ApiProblem, UsageLevel, UsageQuery};

use super::Service;
use super::problem::{Body, Problem, Query};
use crate::service::Actor;

/// The configured level.
#[utoipa::path(get, path = "/v1/usage/level", tag = "usage", responses(
    (status = 200, description = "The level", body = UsageLevel),
))]
pub(super) async fn level(State(service): Service) -> Result<Json<UsageLevel>, Problem> {
    let level = service.usage_level().await?.to_string();
    Ok(Json(UsageLevel { level }))
}

/// Configures the level.
#[utoipa::path(put, path = "/v1/usage/level", tag = "usage", request_body = UsageLevel, responses(
    (status = 200, description = "Configured", body = UsageLevel),
    (status = 400, description = "No such level", body = ApiProblem),
))]
pub(super) async fn set_level(
    State(service): Service,
    Extension(actor): Extension<Actor>,
    Body(request): Body<UsageLevel>,
) -> Result<Json<UsageLevel>, Problem> {
    let level = service.set_usage_level(&request.level, &actor).await?.to_string();
    Ok(Json(UsageLevel { level }))
}

/// Exactly the bytes that a report at a level has, collected now.
#[utoipa::path(get, path = "/v1/usage/preview", tag = "usage", params(UsageQuery), responses(
    (status = 200, description = "The report, in its canonical form", body = String, content_type = "application/json"),
    (status = 400, description = "No such level", body = ApiProblem),
))]
pub(super) async fn preview(
    State(service): Service,
    Query(query): Query<UsageQuery>,
) -> Result<Response, Problem> {
    let text = service.usage_preview(query.level.as_deref()).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
}
