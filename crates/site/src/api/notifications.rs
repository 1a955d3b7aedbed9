//! Notifications of whoever asks.

use axum::extract::State;
use axum::{Extension, Json};
use http::StatusCode;
use protocol::api::{ApiProblem, NotificationInfo, NotificationsQuery, SnoozeRequest, SnoozedInfo};

use super::Service;
use super::problem::{Body, Path, Problem, Query};
use crate::service::Actor;

/// Notifications in force, worst first, without those that the user dismissed or snoozed.
#[utoipa::path(get, path = "/v1/notifications", tag = "notifications", params(NotificationsQuery), responses(
    (status = 200, description = "Notifications", body = Vec<NotificationInfo>),
))]
pub(super) async fn list(
    State(service): Service,
    Extension(actor): Extension<Actor>,
    Query(query): Query<NotificationsQuery>,
) -> Result<Json<Vec<NotificationInfo>>, Problem> {
    Ok(Json(service.notifications(&actor, query.all).await?))
}

/// Hides a notification from this user until it gets worse or has another cause.
#[utoipa::path(post, path = "/v1/notifications/{key}/dismiss", tag = "notifications",
    params(("key" = String, Path, description = "Key of the notification")),
    responses(
        (status = 204, description = "Dismissed"),
        (status = 404, description = "Not in force", body = ApiProblem),
        (status = 409, description = "Critical ones cannot be dismissed", body = ApiProblem),
    ))]
pub(super) async fn dismiss(
    State(service): Service,
    Extension(actor): Extension<Actor>,
    Path(key): Path<String>,
) -> Result<StatusCode, Problem> {
    service.dismiss_notification(&key, &actor).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Hides a notification from this user for an hour, a day, a week or a month.
#[utoipa::path(post, path = "/v1/notifications/{key}/snooze", tag = "notifications", request_body = SnoozeRequest,
    params(("key" = String, Path, description = "Key of the notification")),
    responses(
        (status = 200, description = "Until when", body = SnoozedInfo),
        (status = 400, description = "No such length", body = ApiProblem),
        (status = 404, description = "Not in force", body = ApiProblem),
        (status = 409, description = "Critical ones cannot be snoozed", body = ApiProblem),
    ))]
pub(super) async fn snooze(
    State(service): Service,
    Extension(actor): Extension<Actor>,
    Path(key): Path<String>,
    Body(request): Body<SnoozeRequest>,
) -> Result<Json<SnoozedInfo>, Problem> {
    let until = service.snooze_notification(&key, &request.length, &actor).await?;
    Ok(Json(SnoozedInfo { key, until }))
}
