//! Whether the process answers, and whether the site does its work: for probes, which have no token.
//!
//! These two say nothing about the site beyond that; what is wrong in detail is in the log and behind the API.

use std::time::Duration;

use axum::extract::State;
use protocol::api::ApiProblem;

use super::Service;
use super::problem::Problem;

/// The paths that need no token.
pub(super) const OPEN: [&str; 2] = ["/healthz", "/readyz"];

/// Longest time for the database to answer a probe; probes usually give up at about ten seconds.
const LOOK_TIME_MAX: Duration = Duration::from_secs(5);

/// The process answers.
#[utoipa::path(get, path = "/healthz", tag = "health", security(()), responses(
    (status = 200, description = "It does", body = String, content_type = "text/plain"),
))]
pub(super) async fn healthz() -> &'static str {
    "alive\n"
}

/// The site does its work: its database can be read, and every component runs that nobody stopped.
#[utoipa::path(get, path = "/readyz", tag = "health", security(()), responses(
    (status = 200, description = "It does", body = String, content_type = "text/plain"),
    (status = 503, description = "It does not, and why", body = ApiProblem),
))]
pub(super) async fn readyz(State(service): Service) -> Result<&'static str, Problem> {
    service.ready(LOOK_TIME_MAX).await?;
    Ok("ready\n")
}
