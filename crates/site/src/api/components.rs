//! Components: list, query, stop, start, restart, log level.

use axum::extract::State;
use axum::{Extension, Json};
use http::StatusCode;
use protocol::api::{ActionRequest, ApiProblem, ComponentInfo, LogLevelRequest};

use super::Service;
use super::problem::{Body, Path, Problem};
use crate::service::Actor;

/// Every component with its state.
#[utoipa::path(get, path = "/v1/components", tag = "components", responses(
    (status = 200, description = "Components", body = Vec<ComponentInfo>),
))]
pub(super) async fn list(State(service): Service) -> Result<Json<Vec<ComponentInfo>>, Problem> {
    Ok(Json(service.components().await?))
}

/// One component.
#[utoipa::path(get, path = "/v1/components/{name}", tag = "components",
    params(("name" = String, Path, description = "Such as `SMS_DMP_DOWNLOADER`; case does not matter")),
    responses(
        (status = 200, description = "The component", body = ComponentInfo),
        (status = 404, description = "No such component", body = ApiProblem),
    ))]
pub(super) async fn query(
    State(service): Service,
    Path(name): Path<String>,
) -> Result<Json<ComponentInfo>, Problem> {
    Ok(Json(service.component(&name).await?))
}

/// Stops, starts or restarts a component.
#[utoipa::path(post, path = "/v1/components/{name}/action", tag = "components",
    params(("name" = String, Path, description = "Component")),
    request_body = ActionRequest,
    responses(
        (status = 202, description = "Asked for; follow it with GET"),
        (status = 404, description = "No such component", body = ApiProblem),
        (status = 409, description = "Refused", body = ApiProblem),
    ))]
pub(super) async fn act(
    State(service): Service,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
    Body(request): Body<ActionRequest>,
) -> Result<StatusCode, Problem> {
    service.component_action(&name, request.action, &actor).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Sets how much a component logs.
#[utoipa::path(put, path = "/v1/components/{name}/log-level", tag = "components",
    params(("name" = String, Path, description = "Component")),
    request_body = LogLevelRequest,
    responses(
        (status = 204, description = "In force"),
        (status = 400, description = "No such level", body = ApiProblem),
        (status = 404, description = "No such component", body = ApiProblem),
    ))]
pub(super) async fn set_log_level(
    State(service): Service,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
    Body(request): Body<LogLevelRequest>,
) -> Result<StatusCode, Problem> {
    service.set_log_level(&name, &request.level, &actor).await?;
    Ok(StatusCode::NO_CONTENT)
}
