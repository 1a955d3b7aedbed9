//! Update packages: what there is, why, and what to do with it.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use domain::servicing::package::PackageGuid;
use http::header::LINK;
use http::{HeaderValue, StatusCode};
use protocol::api::{
    ApiProblem, DeliveryInfo, FeatureInfo, FeatureRequest, HistoryEntry, InstallRequest, LIMIT_MAX,
    LimitQuery, PrereqResult, ResetRequest, SiteUpdateStatus, UpdateDetail, UpdateStatusQuery, UpdateSummary,
    UpdatesQuery, WhyReport,
};

use super::Service;
use super::problem::{Body, Path, Problem, Query};
use crate::service::Actor;

/// Offered packages, newest first; with `all`, hidden ones too. A page has the address of the next one as `Link`.
#[utoipa::path(get, path = "/v1/updates", tag = "updates", params(UpdatesQuery), responses(
    (status = 200, description = "Packages", body = Vec<UpdateSummary>,
        headers(("link" = Option<String>, description = "The next page, `rel=\"next\"` (RFC 8288)"))),
    (status = 400, description = "`after` is no GUID", body = ApiProblem),
))]
pub(super) async fn list(
    State(service): Service,
    Query(query): Query<UpdatesQuery>,
) -> Result<Response, Problem> {
    let after: Option<PackageGuid> = query
        .after
        .map(|after| after.parse())
        .transpose()
        .map_err(Problem::invalid)?;
    let limit = query
        .limit
        .map_or(usize::MAX, |limit| limit.clamp(1, LIMIT_MAX) as usize);
    let page = service.updates_page(query.all, after, limit).await?;
    let next = page.updates.last().filter(|_| page.more).map(|last| {
        let (all, guid) = (query.all, &last.guid);
        format!("</v1/updates?all={all}&after={guid}&limit={limit}>; rel=\"next\"")
    });
    let mut response = Json(page.updates).into_response();
    if let Some(next) = next.and_then(|next| HeaderValue::from_str(&next).ok()) {
        response.headers_mut().insert(LINK, next);
    }
    Ok(response)
}

/// Everything about one package.
#[utoipa::path(get, path = "/v1/updates/{guid}", tag = "updates",
    params(("guid" = String, Path, description = "Package GUID")),
    responses(
        (status = 200, description = "The package", body = UpdateDetail),
        (status = 404, description = "No such package", body = ApiProblem),
    ))]
pub(super) async fn show(
    State(service): Service,
    Path(guid): Path<String>,
) -> Result<Json<UpdateDetail>, Problem> {
    Ok(Json(service.update(&guid).await?))
}

/// Each condition of a package with expected and actual value, for hidden packages too.
#[utoipa::path(get, path = "/v1/updates/{guid}/why", tag = "updates",
    params(("guid" = String, Path, description = "Package GUID")),
    responses(
        (status = 200, description = "Conditions", body = WhyReport),
        (status = 404, description = "No such package", body = ApiProblem),
    ))]
pub(super) async fn why(
    State(service): Service,
    Path(guid): Path<String>,
) -> Result<Json<WhyReport>, Problem> {
    Ok(Json(service.why(&guid).await?))
}

/// Where the content of a package comes from: what is here, deltas, blocks; decided from signed sizes, nothing of it
/// is fetched.
#[utoipa::path(get, path = "/v1/updates/{guid}/plan", tag = "updates",
    params(("guid" = String, Path, description = "Package GUID")),
    responses(
        (status = 200, description = "The plan with bytes", body = DeliveryInfo),
        (status = 404, description = "No such package", body = ApiProblem),
        (status = 503, description = "The feed cannot be read now", body = ApiProblem),
    ))]
pub(super) async fn plan(
    State(service): Service,
    Path(guid): Path<String>,
) -> Result<Json<DeliveryInfo>, Problem> {
    Ok(Json(service.delivery(&guid).await?))
}

/// Results of the last prerequisite check.
#[utoipa::path(get, path = "/v1/updates/{guid}/prerequisites", tag = "updates",
    params(("guid" = String, Path, description = "Package GUID")),
    responses(
        (status = 200, description = "Results by rule; empty before the first check", body = Vec<PrereqResult>),
        (status = 404, description = "No such package", body = ApiProblem),
    ))]
pub(super) async fn prereq_results(
    State(service): Service,
    Path(guid): Path<String>,
) -> Result<Json<Vec<PrereqResult>>, Problem> {
    Ok(Json(service.prereq_results(&guid).await?))
}

/// Queues a package for download.
#[utoipa::path(post, path = "/v1/updates/{guid}/download", tag = "updates",
    params(("guid" = String, Path, description = "Package GUID")),
    responses(
        (status = 202, description = "Queued"),
        (status = 404, description = "No such package", body = ApiProblem),
        (status = 409, description = "Refused", body = ApiProblem),
    ))]
pub(super) async fn download(
    State(service): Service,
    Extension(actor): Extension<Actor>,
    Path(guid): Path<String>,
) -> Result<StatusCode, Problem> {
    service.download(&guid, &actor).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Runs the prerequisite check only.
#[utoipa::path(post, path = "/v1/updates/{guid}/prereq", tag = "updates",
    params(("guid" = String, Path, description = "Package GUID")),
    responses(
        (status = 202, description = "Started"),
        (status = 404, description = "No such package", body = ApiProblem),
        (status = 409, description = "Refused", body = ApiProblem),
    ))]
pub(super) async fn prereq(
    State(service): Service,
    Extension(actor): Extension<Actor>,
    Path(guid): Path<String>,
) -> Result<StatusCode, Problem> {
    service.prereq(&guid, &actor).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Checks prerequisites and installs.
#[utoipa::path(post, path = "/v1/updates/{guid}/install", tag = "updates",
    params(("guid" = String, Path, description = "Package GUID")),
    request_body = InstallRequest,
    responses(
        (status = 202, description = "Started"),
        (status = 404, description = "No such package", body = ApiProblem),
        (status = 409, description = "Refused", body = ApiProblem),
    ))]
pub(super) async fn install(
    State(service): Service,
    Extension(actor): Extension<Actor>,
    Path(guid): Path<String>,
    Body(request): Body<InstallRequest>,
) -> Result<StatusCode, Problem> {
    service.install(&guid, request, &actor).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Starts again after a failure; implies that warnings are ignored.
#[utoipa::path(post, path = "/v1/updates/{guid}/retry", tag = "updates",
    params(("guid" = String, Path, description = "Package GUID")),
    responses(
        (status = 202, description = "Started"),
        (status = 404, description = "No such package", body = ApiProblem),
        (status = 409, description = "Refused", body = ApiProblem),
    ))]
pub(super) async fn retry(
    State(service): Service,
    Extension(actor): Extension<Actor>,
    Path(guid): Path<String>,
) -> Result<StatusCode, Problem> {
    service.retry(&guid, &actor).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Continues an installation that stopped at prerequisite warnings.
#[utoipa::path(post, path = "/v1/updates/{guid}/ignore-warnings", tag = "updates",
    params(("guid" = String, Path, description = "Package GUID")),
    responses(
        (status = 202, description = "Continues"),
        (status = 404, description = "No such package", body = ApiProblem),
        (status = 409, description = "Refused", body = ApiProblem),
    ))]
pub(super) async fn ignore_warnings(
    State(service): Service,
    Extension(actor): Extension<Actor>,
    Path(guid): Path<String>,
) -> Result<StatusCode, Problem> {
    service.ignore_warnings(&guid, &actor).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Resets a package that is stuck before its installation.
#[utoipa::path(post, path = "/v1/updates/{guid}/reset", tag = "updates",
    params(("guid" = String, Path, description = "Package GUID")),
    request_body = ResetRequest,
    responses(
        (status = 202, description = "Reset"),
        (status = 404, description = "No such package", body = ApiProblem),
        (status = 409, description = "Refused", body = ApiProblem),
    ))]
pub(super) async fn reset(
    State(service): Service,
    Extension(actor): Extension<Actor>,
    Path(guid): Path<String>,
    Body(request): Body<ResetRequest>,
) -> Result<StatusCode, Problem> {
    service.reset(&guid, request.force, &actor).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Where packages stand on this site, with sub-steps: one package, or those that were started.
#[utoipa::path(get, path = "/v1/update-status", tag = "updates", params(UpdateStatusQuery), responses(
    (status = 200, description = "Status by package", body = Vec<SiteUpdateStatus>),
    (status = 404, description = "No such package", body = ApiProblem),
))]
pub(super) async fn status(
    State(service): Service,
    Query(query): Query<UpdateStatusQuery>,
) -> Result<Json<Vec<SiteUpdateStatus>>, Problem> {
    Ok(Json(service.update_status(query.guid.as_deref()).await?))
}

/// Recorded state changes, newest first.
#[utoipa::path(get, path = "/v1/history", tag = "updates", params(LimitQuery), responses(
    (status = 200, description = "History", body = Vec<HistoryEntry>),
))]
pub(super) async fn history(
    State(service): Service,
    Query(query): Query<LimitQuery>,
) -> Result<Json<Vec<HistoryEntry>>, Problem> {
    Ok(Json(service.history(query.bounded()).await?))
}

/// Optional features.
#[utoipa::path(get, path = "/v1/features", tag = "updates", responses(
    (status = 200, description = "Features", body = Vec<FeatureInfo>),
))]
pub(super) async fn features(State(service): Service) -> Result<Json<Vec<FeatureInfo>>, Problem> {
    Ok(Json(service.features().await?))
}

/// Turns a feature on.
#[utoipa::path(put, path = "/v1/features/{guid}", tag = "updates",
    params(("guid" = String, Path, description = "Feature GUID")),
    request_body = FeatureRequest,
    responses(
        (status = 204, description = "Recorded"),
        (status = 404, description = "No such feature", body = ApiProblem),
        (status = 409, description = "Refused", body = ApiProblem),
    ))]
pub(super) async fn set_feature(
    State(service): Service,
    Extension(actor): Extension<Actor>,
    Path(guid): Path<String>,
    Body(request): Body<FeatureRequest>,
) -> Result<StatusCode, Problem> {
    service.set_feature(&guid, request.on, &actor).await?;
    Ok(StatusCode::NO_CONTENT)
}
