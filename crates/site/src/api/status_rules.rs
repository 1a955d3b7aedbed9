//! Status filter rules, and the alerts that they raise.

use axum::extract::State;
use axum::{Extension, Json};
use protocol::api::{
    AlertsInfo, ApiProblem, LimitQuery, StatusRule, StatusRuleAddRequest, StatusRuleChangeRequest,
};

use super::Service;
use super::problem::{Body, Path, Problem, Query};
use crate::service::Actor;

/// The rules in their order.
#[utoipa::path(get, path = "/v1/status/rules", tag = "status", responses(
    (status = 200, description = "Rules", body = Vec<StatusRule>),
))]
pub(super) async fn list(State(service): Service) -> Result<Json<Vec<StatusRule>>, Problem> {
    Ok(Json(service.status_rules().await?))
}

/// Adds a rule; every message raised from now on goes through it.
#[utoipa::path(post, path = "/v1/status/rules", tag = "status", request_body = StatusRuleAddRequest, responses(
    (status = 200, description = "Rules after the change", body = Vec<StatusRule>),
    (status = 400, description = "A rule that can do nothing", body = ApiProblem),
    (status = 409, description = "The name is taken, or there are too many", body = ApiProblem),
))]
pub(super) async fn add(
    State(service): Service,
    Extension(actor): Extension<Actor>,
    Body(request): Body<StatusRuleAddRequest>,
) -> Result<Json<Vec<StatusRule>>, Problem> {
    Ok(Json(service.add_status_rule(request, &actor).await?))
}

/// Moves a rule to another place, or switches it on or off.
#[utoipa::path(put, path = "/v1/status/rules/{name}", tag = "status", request_body = StatusRuleChangeRequest,
    params(("name" = String, Path, description = "Rule")),
    responses(
        (status = 200, description = "Rules after the change", body = Vec<StatusRule>),
        (status = 400, description = "Nothing to change, or no place of a rule", body = ApiProblem),
        (status = 404, description = "No such rule", body = ApiProblem),
    ))]
pub(super) async fn change(
    State(service): Service,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
    Body(request): Body<StatusRuleChangeRequest>,
) -> Result<Json<Vec<StatusRule>>, Problem> {
    Ok(Json(service.change_status_rule(&name, &request, &actor).await?))
}

/// Removes a rule.
#[utoipa::path(delete, path = "/v1/status/rules/{name}", tag = "status",
    params(("name" = String, Path, description = "Rule")),
    responses(
        (status = 200, description = "Rules after the change", body = Vec<StatusRule>),
        (status = 404, description = "No such rule", body = ApiProblem),
    ))]
pub(super) async fn remove(
    State(service): Service,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
) -> Result<Json<Vec<StatusRule>>, Problem> {
    Ok(Json(service.remove_status_rule(name, &actor).await?))
}

/// Who is told of messages, and alerts of the last days, newest first.
#[utoipa::path(get, path = "/v1/status/alerts", tag = "status", params(LimitQuery), responses(
    (status = 200, description = "Targets and alerts", body = AlertsInfo),
))]
pub(super) async fn alerts(
    State(service): Service,
    Query(query): Query<LimitQuery>,
) -> Result<Json<AlertsInfo>, Problem> {
    Ok(Json(service.alerts(query.bounded()).await?))
}
