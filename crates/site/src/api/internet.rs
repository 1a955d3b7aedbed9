//! The service connection point: mode, proxy, internet access, metrics.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::{StatusCode, header};
use protocol::api::{
    ApiProblem, EndpointRunInfo, LIMIT_DEFAULT, LIMIT_MAX, LimitQuery, ModeRequest, ProxyInfo, ProxyRequest,
    ScpShow,
};
use protocol::connectivity::CheckReport;

use super::Service;
use super::problem::{Body, Problem, Query};
use crate::service::Actor;

/// The service connection point: mode, proxy, last check.
#[utoipa::path(get, path = "/v1/scp", tag = "scp", responses(
    (status = 200, description = "The service connection point", body = ScpShow),
))]
pub(super) async fn scp(State(service): Service) -> Result<Json<ScpShow>, Problem> {
    Ok(Json(service.scp().await?))
}

/// Configures the mode.
#[utoipa::path(put, path = "/v1/scp/mode", tag = "scp", request_body = ModeRequest, responses(
    (status = 200, description = "Configured; `mode_effective` says what is in force", body = ScpShow),
    (status = 422, description = "No such mode", body = ApiProblem),
))]
pub(super) async fn set_mode(
    State(service): Service,
    Extension(actor): Extension<Actor>,
    Body(request): Body<ModeRequest>,
) -> Result<Json<ScpShow>, Problem> {
    Ok(Json(service.set_mode(request, &actor).await?))
}

/// The proxy; null without one.
#[utoipa::path(get, path = "/v1/scp/proxy", tag = "scp", responses(
    (status = 200, description = "The proxy, without its password", body = Option<ProxyInfo>),
))]
pub(super) async fn proxy(State(service): Service) -> Json<Option<ProxyInfo>> {
    Json(service.proxy())
}

/// Sets the one proxy of this server; it replaces the old one.
#[utoipa::path(put, path = "/v1/scp/proxy", tag = "scp", request_body = ProxyRequest, responses(
    (status = 200, description = "In force", body = ProxyInfo),
    (status = 422, description = "No such proxy can be", body = ApiProblem),
))]
pub(super) async fn set_proxy(
    State(service): Service,
    Extension(actor): Extension<Actor>,
    Body(request): Body<ProxyRequest>,
) -> Result<Json<ProxyInfo>, Problem> {
    Ok(Json(service.set_proxy(request, &actor).await?))
}

/// Removes the proxy.
#[utoipa::path(delete, path = "/v1/scp/proxy", tag = "scp", responses(
    (status = 204, description = "There is none now"),
))]
pub(super) async fn clear_proxy(
    State(service): Service,
    Extension(actor): Extension<Actor>,
) -> Result<StatusCode, Problem> {
    service.clear_proxy(&actor).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Runs the checks of this site through a proxy, the one in force for `null`; records nothing.
#[utoipa::path(post, path = "/v1/scp/proxy/test", tag = "scp", request_body = Option<ProxyRequest>, responses(
    (status = 200, description = "What was found", body = CheckReport),
    (status = 409, description = "Refused", body = ApiProblem),
))]
pub(super) async fn test_proxy(
    State(service): Service,
    Body(request): Body<Option<ProxyRequest>>,
) -> Result<Json<CheckReport>, Problem> {
    Ok(Json(service.test_proxy(request).await?))
}

/// The last check of internet access.
#[utoipa::path(get, path = "/v1/internet", tag = "internet", responses(
    (status = 200, description = "The report", body = CheckReport),
    (status = 404, description = "Never checked", body = ApiProblem),
))]
pub(super) async fn last(State(service): Service) -> Result<Json<CheckReport>, Problem> {
    Ok(Json(service.internet().await?))
}

/// Checks of the past, newest first.
#[utoipa::path(get, path = "/v1/internet/history", tag = "internet", params(LimitQuery), responses(
    (status = 200, description = "Runs", body = Vec<EndpointRunInfo>),
))]
pub(super) async fn history(
    State(service): Service,
    Query(query): Query<LimitQuery>,
) -> Result<Json<Vec<EndpointRunInfo>>, Problem> {
    let limit = query.limit.unwrap_or(LIMIT_DEFAULT).clamp(1, LIMIT_MAX);
    Ok(Json(service.internet_history(limit).await?))
}

/// Checks internet access now and answers when that is done.
#[utoipa::path(post, path = "/v1/internet/check", tag = "internet", responses(
    (status = 200, description = "What was found", body = CheckReport),
))]
pub(super) async fn check(
    State(service): Service,
    Extension(actor): Extension<Actor>,
) -> Result<Json<CheckReport>, Problem> {
    Ok(Json(service.check_internet(&actor).await?))
}

/// Metrics of components, notifications, status messages and the last check, in the OpenMetrics text form.
#[utoipa::path(get, path = "/v1/metrics", tag = "internet", responses(
    (status = 200, description = "OpenMetrics", body = String, content_type = "application/openmetrics-text"),
))]
pub(super) async fn metrics(State(service): Service) -> Result<Response, Problem> {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let text = service.metrics().await?;
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}
