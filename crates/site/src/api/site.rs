//! The site as a whole, its synchronisation with the feed, and its content library.

use axum::extract::State;
use axum::{Extension, Json};
use http::StatusCode;
use protocol::api::{ApiProblem, ContentCollected, ContentStats, ContentVerified, SiteShow, SyncStatus};

use super::Service;
use super::problem::Problem;
use crate::service::Actor;

/// The site: who it is, what it runs, how it stands with its feed.
#[utoipa::path(get, path = "/v1/site", tag = "site", responses(
    (status = 200, description = "The site", body = SiteShow),
    (status = 503, description = "Not now", body = ApiProblem),
))]
pub(super) async fn show(State(service): Service) -> Result<Json<SiteShow>, Problem> {
    Ok(Json(service.site_show().await?))
}

/// How synchronisation with the feed stands.
#[utoipa::path(get, path = "/v1/sync", tag = "site", responses(
    (status = 200, description = "Synchronisation", body = SyncStatus),
))]
pub(super) async fn sync_status(State(service): Service) -> Result<Json<SyncStatus>, Problem> {
    Ok(Json(service.sync_status().await?))
}

/// Checks for updates now.
#[utoipa::path(post, path = "/v1/sync", tag = "site", responses(
    (status = 202, description = "The check is asked for; follow it with GET"),
    (status = 409, description = "Refused", body = ApiProblem),
))]
pub(super) async fn check_now(
    State(service): Service,
    Extension(actor): Extension<Actor>,
) -> Result<StatusCode, Problem> {
    service.check_now(&actor).await?;
    Ok(StatusCode::ACCEPTED)
}

/// What the content library holds.
#[utoipa::path(get, path = "/v1/content", tag = "content", responses(
    (status = 200, description = "Figures", body = ContentStats),
))]
pub(super) async fn content_stats(State(service): Service) -> Result<Json<ContentStats>, Problem> {
    Ok(Json(service.content_stats().await?))
}

/// Reads every object of the content library and compares it with its hash.
#[utoipa::path(post, path = "/v1/content/verify", tag = "content", responses(
    (status = 200, description = "What was found; answers when all is read", body = ContentVerified),
))]
pub(super) async fn content_verify(
    State(service): Service,
    Extension(actor): Extension<Actor>,
) -> Result<Json<ContentVerified>, Problem> {
    Ok(Json(service.content_verify(&actor).await?))
}

/// Removes objects that no package needs.
#[utoipa::path(post, path = "/v1/content/gc", tag = "content", responses(
    (status = 200, description = "What was removed", body = ContentCollected),
    (status = 409, description = "Refused", body = ApiProblem),
))]
pub(super) async fn content_gc(
    State(service): Service,
    Extension(actor): Extension<Actor>,
) -> Result<Json<ContentCollected>, Problem> {
    Ok(Json(service.content_gc(&actor).await?))
}
