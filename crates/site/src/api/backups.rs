//! Backups of the site.

use axum::extract::State;
use axum::{Extension, Json};
use http::StatusCode;
use protocol::api::{ApiProblem, BackupRequest, BackupScheduleInfo, BackupsInfo};

use super::Service;
use super::problem::{Body, Problem};
use crate::service::Actor;

/// What is scheduled, how the last attempt ended, and what is there.
#[utoipa::path(get, path = "/v1/backups", tag = "backups", responses(
    (status = 200, description = "Schedule, last attempt, backups", body = BackupsInfo),
))]
pub(super) async fn list(State(service): Service) -> Result<Json<BackupsInfo>, Problem> {
    Ok(Json(service.backups().await?))
}

/// Asks for a backup now; `GET` shows how it ended.
#[utoipa::path(post, path = "/v1/backups", tag = "backups", request_body = BackupRequest, responses(
    (status = 202, description = "Asked for"),
    (status = 400, description = "No folder, or not an absolute path", body = ApiProblem),
))]
pub(super) async fn run(
    State(service): Service,
    Extension(actor): Extension<Actor>,
    Body(request): Body<BackupRequest>,
) -> Result<StatusCode, Problem> {
    service.request_backup(request, &actor).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Sets the schedule.
#[utoipa::path(put, path = "/v1/backups/schedule", tag = "backups", request_body = BackupScheduleInfo, responses(
    (status = 200, description = "In force", body = BackupsInfo),
    (status = 400, description = "A value that is not allowed", body = ApiProblem),
))]
pub(super) async fn set_schedule(
    State(service): Service,
    Extension(actor): Extension<Actor>,
    Body(schedule): Body<BackupScheduleInfo>,
) -> Result<Json<BackupsInfo>, Problem> {
    Ok(Json(service.set_backup_schedule(Some(schedule), &actor).await?))
}

/// Ends the schedule; backups are made on request only.
#[utoipa::path(delete, path = "/v1/backups/schedule", tag = "backups", responses(
    (status = 200, description = "In force", body = BackupsInfo),
))]
pub(super) async fn end_schedule(
    State(service): Service,
    Extension(actor): Extension<Actor>,
) -> Result<Json<BackupsInfo>, Problem> {
    Ok(Json(service.set_backup_schedule(None, &actor).await?))
}
