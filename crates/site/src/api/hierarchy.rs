//! Links between sites, and to the feed.

use axum::extract::State;
use axum::{Extension, Json};
use protocol::api::{ApiProblem, ThrottleInfo, ThrottleRequest};

use super::Service;
use super::problem::{Body, Problem};
use crate::service::Actor;

/// How fast content may come from the feed, by the hour of the week.
#[utoipa::path(get, path = "/v1/throttle", tag = "hierarchy", responses(
    (status = 200, description = "Rules and limits", body = ThrottleInfo),
))]
pub(super) async fn throttle(State(service): Service) -> Result<Json<ThrottleInfo>, Problem> {
    Ok(Json(service.throttle().await?))
}

/// Replaces the rules; in force at once, for transfers under way too.
#[utoipa::path(put, path = "/v1/throttle", tag = "hierarchy", request_body = ThrottleRequest, responses(
    (status = 200, description = "In force", body = ThrottleInfo),
    (status = 400, description = "A rule that is none", body = ApiProblem),
))]
pub(super) async fn set_throttle(
    State(service): Service,
    Extension(actor): Extension<Actor>,
    Body(request): Body<ThrottleRequest>,
) -> Result<Json<ThrottleInfo>, Problem> {
    Ok(Json(service.set_throttle(request, &actor).await?))
}
