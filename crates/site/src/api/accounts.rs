//! Users, tokens, the link to set up the first user.

use axum::extract::State;
use axum::{Extension, Json};
use http::StatusCode;
use protocol::api::{
    AccountInfo, AccountRequest, ApiProblem, NewToken, PasswordRequest, RoleRequest, SetupLink, TokenInfo,
    TokenRequest,
};

use super::Service;
use super::problem::{Body, Path, Problem};
use crate::service::Actor;

/// Users of the console.
#[utoipa::path(get, path = "/v1/accounts", tag = "accounts", responses(
    (status = 200, description = "Users", body = Vec<AccountInfo>),
))]
pub(super) async fn list(State(service): Service) -> Result<Json<Vec<AccountInfo>>, Problem> {
    Ok(Json(service.accounts().await?))
}

/// Adds a user.
#[utoipa::path(post, path = "/v1/accounts", tag = "accounts", request_body = AccountRequest, responses(
    (status = 204, description = "Added"),
    (status = 400, description = "Name, role or password cannot be taken", body = ApiProblem),
    (status = 409, description = "There is such a user", body = ApiProblem),
))]
pub(super) async fn add(
    State(service): Service,
    Extension(actor): Extension<Actor>,
    Body(request): Body<AccountRequest>,
) -> Result<StatusCode, Problem> {
    service.add_account(request, &actor).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes a user; their sessions end.
#[utoipa::path(delete, path = "/v1/accounts/{name}", tag = "accounts",
    params(("name" = String, Path, description = "User")),
    responses(
        (status = 204, description = "Removed"),
        (status = 404, description = "No such user", body = ApiProblem),
        (status = 409, description = "The last one who may manage accounts", body = ApiProblem),
    ))]
pub(super) async fn remove(
    State(service): Service,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    service.remove_account(&name, &actor).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Gives a user a role and a scope.
#[utoipa::path(put, path = "/v1/accounts/{name}/role", tag = "accounts",
    params(("name" = String, Path, description = "User")),
    request_body = RoleRequest,
    responses(
        (status = 204, description = "In force with the user's next request"),
        (status = 400, description = "No such role or scope", body = ApiProblem),
        (status = 404, description = "No such user", body = ApiProblem),
        (status = 409, description = "The last one who may manage accounts", body = ApiProblem),
    ))]
pub(super) async fn set_role(
    State(service): Service,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
    Body(request): Body<RoleRequest>,
) -> Result<StatusCode, Problem> {
    service.set_account_role(&name, request, &actor).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sets the password of a user; their sessions and a lock end.
#[utoipa::path(put, path = "/v1/accounts/{name}/password", tag = "accounts",
    params(("name" = String, Path, description = "User")),
    request_body = PasswordRequest,
    responses(
        (status = 204, description = "Set"),
        (status = 400, description = "Too short, too long, or the name", body = ApiProblem),
        (status = 404, description = "No such user", body = ApiProblem),
    ))]
pub(super) async fn set_password(
    State(service): Service,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
    Body(request): Body<PasswordRequest>,
) -> Result<StatusCode, Problem> {
    service
        .set_account_password(&name, &request.password, &actor)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// API tokens, without their secrets.
#[utoipa::path(get, path = "/v1/tokens", tag = "accounts", responses(
    (status = 200, description = "Tokens", body = Vec<TokenInfo>),
))]
pub(super) async fn tokens(State(service): Service) -> Result<Json<Vec<TokenInfo>>, Problem> {
    Ok(Json(service.tokens().await?))
}

/// Makes an API token; the answer shows it for the only time.
#[utoipa::path(post, path = "/v1/tokens", tag = "accounts", request_body = TokenRequest, responses(
    (status = 200, description = "The token", body = NewToken),
    (status = 400, description = "No such role or scope", body = ApiProblem),
    (status = 409, description = "There is one of this name, or the name cannot be one", body = ApiProblem),
))]
pub(super) async fn add_token(
    State(service): Service,
    Extension(actor): Extension<Actor>,
    Body(request): Body<TokenRequest>,
) -> Result<Json<NewToken>, Problem> {
    Ok(Json(service.add_token(request, &actor).await?))
}

/// Revokes an API token.
#[utoipa::path(delete, path = "/v1/tokens/{name}", tag = "accounts",
    params(("name" = String, Path, description = "Token")),
    responses(
        (status = 204, description = "Revoked"),
        (status = 404, description = "No such token", body = ApiProblem),
    ))]
pub(super) async fn remove_token(
    State(service): Service,
    Extension(actor): Extension<Actor>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    service.remove_token(&name, &actor).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes a link that sets up the first user of the console; it works once.
#[utoipa::path(post, path = "/v1/setup-link", tag = "accounts", responses(
    (status = 200, description = "The link", body = SetupLink),
    (status = 409, description = "There are users already", body = ApiProblem),
))]
pub(super) async fn setup_link(
    State(service): Service,
    Extension(actor): Extension<Actor>,
) -> Result<Json<SetupLink>, Problem> {
    Ok(Json(service.make_setup_link(&actor).await?))
}
