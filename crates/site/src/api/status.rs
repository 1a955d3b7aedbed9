//! The status system: messages, component health, thresholds, state messages.

use axum::extract::State;
use axum::{Extension, Json};
use http::StatusCode;
use protocol::api::{
    ApiProblem, ComponentStatusInfo, LimitQuery, SpaceRequest, StateMessageInfo, StatusDeleteRequest,
    StatusDeleted, StatusMessageInfo, StatusMessageQuery, SystemInfo, TallyQuery, ThresholdInfo,
    ThresholdRequest,
};

use super::Service;
use super::problem::{Body, Path, Problem, Query};
use crate::service::Actor;

/// Status messages, newest first.
#[utoipa::path(get, path = "/v1/status/messages", tag = "status", params(StatusMessageQuery), responses(
    (status = 200, description = "Messages", body = Vec<StatusMessageInfo>),
    (status = 400, description = "No such severity or component", body = ApiProblem),
))]
pub(super) async fn messages(
    State(service): Service,
    Query(query): Query<StatusMessageQuery>,
) -> Result<Json<Vec<StatusMessageInfo>>, Problem> {
    Ok(Json(service.status_messages(query).await?))
}

/// Deletes status messages: the named records, or what matches, oldest first and a bounded number at a time.
#[utoipa::path(post, path = "/v1/status/messages/delete", tag = "status", request_body = StatusDeleteRequest, responses(
    (status = 200, description = "What was deleted; ask again while there is more", body = StatusDeleted),
    (status = 400, description = "Neither records nor a filter, or both", body = ApiProblem),
))]
pub(super) async fn delete_messages(
    State(service): Service,
    Extension(actor): Extension<Actor>,
    Body(request): Body<StatusDeleteRequest>,
) -> Result<Json<StatusDeleted>, Problem> {
    Ok(Json(service.delete_status_messages(request, &actor).await?))
}

/// How much room there was at the last look where the site keeps things.
#[utoipa::path(get, path = "/v1/status/systems", tag = "status", responses(
    (status = 200, description = "Free space", body = Vec<SystemInfo>),
))]
pub(super) async fn systems(State(service): Service) -> Result<Json<Vec<SystemInfo>>, Problem> {
    Ok(Json(service.systems().await?))
}

/// Sets the room below which an object is shown in another colour.
#[utoipa::path(put, path = "/v1/status/systems/{object}", tag = "status", request_body = SpaceRequest,
    params(("object" = String, Path, description = "`file-system` or `database`")),
    responses(
        (status = 200, description = "In force from the next look, which is now", body = Vec<SystemInfo>),
        (status = 400, description = "Not a pair of thresholds", body = ApiProblem),
        (status = 404, description = "No such object", body = ApiProblem),
    ))]
pub(super) async fn set_system(
    State(service): Service,
    Extension(actor): Extension<Actor>,
    Path(object): Path<String>,
    Body(request): Body<SpaceRequest>,
) -> Result<Json<Vec<SystemInfo>>, Problem> {
    Ok(Json(service.set_system(&object, Some(request), &actor).await?))
}

/// Takes back the thresholds that were set for an object.
#[utoipa::path(delete, path = "/v1/status/systems/{object}", tag = "status",
    params(("object" = String, Path, description = "`file-system` or `database`")),
    responses(
        (status = 200, description = "In force from the next look, which is now", body = Vec<SystemInfo>),
        (status = 404, description = "No such object", body = ApiProblem),
    ))]
pub(super) async fn reset_system(
    State(service): Service,
    Extension(actor): Extension<Actor>,
    Path(object): Path<String>,
) -> Result<Json<Vec<SystemInfo>>, Problem> {
    Ok(Json(service.set_system(&object, None, &actor).await?))
}

/// Health of each component by its messages in a tally interval.
#[utoipa::path(get, path = "/v1/status/components", tag = "status", params(TallyQuery), responses(
    (status = 200, description = "Health", body = Vec<ComponentStatusInfo>),
    (status = 400, description = "No such tally interval", body = ApiProblem),
))]
pub(super) async fn components(
    State(service): Service,
    Query(query): Query<TallyQuery>,
) -> Result<Json<Vec<ComponentStatusInfo>>, Problem> {
    Ok(Json(service.component_status(query.tally.as_deref()).await?))
}

/// Sets the counts of a component to zero.
#[utoipa::path(post, path = "/v1/status/components/{name}/reset", tag = "status",
    params(("name" = String, Path, description = "Component")),
    responses(
        (status = 204, description = "Counts begin again now"),
        (status = 404, description = "No such component", body = ApiProblem),
    ))]
pub(super) async fn reset_component(
    State(service): Service,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    service.reset_component_status(&name, &actor).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The counts at which a component turns Warning or Critical.
#[utoipa::path(get, path = "/v1/status/thresholds", tag = "status", responses(
    (status = 200, description = "Thresholds", body = Vec<ThresholdInfo>),
))]
pub(super) async fn thresholds(State(service): Service) -> Result<Json<Vec<ThresholdInfo>>, Problem> {
    Ok(Json(service.thresholds().await?))
}

/// Sets the counts for one severity, of a component or of `all` that have none of their own.
#[utoipa::path(put, path = "/v1/status/thresholds/{name}", tag = "status", request_body = ThresholdRequest,
    params(("name" = String, Path, description = "Component, or `all`")),
    responses(
        (status = 200, description = "In force", body = Vec<ThresholdInfo>),
        (status = 400, description = "Not a pair of thresholds", body = ApiProblem),
        (status = 404, description = "No such component", body = ApiProblem),
    ))]
pub(super) async fn set_threshold(
    State(service): Service,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
    Body(request): Body<ThresholdRequest>,
) -> Result<Json<Vec<ThresholdInfo>>, Problem> {
    Ok(Json(service.set_threshold(&name, &request, &actor).await?))
}

/// Takes back what was set for a component, or for `all`.
#[utoipa::path(delete, path = "/v1/status/thresholds/{name}", tag = "status",
    params(("name" = String, Path, description = "Component, or `all`")),
    responses(
        (status = 200, description = "In force", body = Vec<ThresholdInfo>),
        (status = 404, description = "No such component", body = ApiProblem),
    ))]
pub(super) async fn reset_thresholds(
    State(service): Service,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
) -> Result<Json<Vec<ThresholdInfo>>, Problem> {
    Ok(Json(service.reset_thresholds(&name, &actor).await?))
}

/// State messages, newest first.
#[utoipa::path(get, path = "/v1/status/state-messages", tag = "status", params(LimitQuery), responses(
    (status = 200, description = "State messages", body = Vec<StateMessageInfo>),
))]
pub(super) async fn state_messages(
    State(service): Service,
    Query(query): Query<LimitQuery>,
) -> Result<Json<Vec<StateMessageInfo>>, Problem> {
    Ok(Json(service.state_messages(query.bounded()).await?))
}
