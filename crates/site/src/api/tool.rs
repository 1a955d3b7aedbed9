//! The service connection tool.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::{StatusCode, header};
use protocol::api::{ApiProblem, ImportInfo, ImportRequest, PrepareRequest, RegisterRequest, RegisteredInfo};

use super::Service;
use super::problem::{Body, Problem};
use crate::service::Actor;

/// The cabinet to carry to a machine with internet access.
#[utoipa::path(post, path = "/v1/tool/prepare", tag = "tool", request_body = PrepareRequest, responses(
    (status = 200, description = "The cabinet", body = Vec<u8>, content_type = "application/vnd.ms-cab-compressed"),
    (status = 409, description = "The service connection point is online, or a report waits for approval", body = ApiProblem),
))]
pub(super) async fn prepare(
    State(service): Service,
    Extension(actor): Extension<Actor>,
    Body(request): Body<PrepareRequest>,
) -> Result<Response, Problem> {
    let bytes = service.tool_prepare(request.encrypted, &actor).await?;
    Ok((
        [(header::CONTENT_TYPE, "application/vnd.ms-cab-compressed")],
        bytes,
    )
        .into_response())
}

/// Asks for the import of a medium.
#[utoipa::path(post, path = "/v1/tool/import", tag = "tool", request_body = ImportRequest, responses(
    (status = 202, description = "Asked for", body = ImportInfo),
    (status = 409, description = "The service connection point is online", body = ApiProblem),
))]
pub(super) async fn import(
    State(service): Service,
    Extension(actor): Extension<Actor>,
    Body(request): Body<ImportRequest>,
) -> Result<(StatusCode, Json<ImportInfo>), Problem> {
    let info = service.tool_import(&request.folder, &actor).await?;
    Ok((StatusCode::ACCEPTED, Json(info)))
}

/// Takes in an update that is not in the catalogue.
#[utoipa::path(post, path = "/v1/tool/register", tag = "tool", request_body = RegisterRequest, responses(
    (status = 200, description = "Registered", body = RegisteredInfo),
    (status = 400, description = "Not a file that the vendor signed", body = ApiProblem),
))]
pub(super) async fn register(
    State(service): Service,
    Extension(actor): Extension<Actor>,
    Body(request): Body<RegisterRequest>,
) -> Result<Json<RegisteredInfo>, Problem> {
    Ok(Json(service.tool_register(&request.file, &actor).await?))
}

/// The last import.
#[utoipa::path(get, path = "/v1/tool/import", tag = "tool", responses(
    (status = 200, description = "How far it is", body = ImportInfo),
    (status = 404, description = "There was none", body = ApiProblem),
))]
pub(super) async fn last_import(State(service): Service) -> Result<Json<ImportInfo>, Problem> {
    Ok(Json(service.tool_last_import().await?))
}
