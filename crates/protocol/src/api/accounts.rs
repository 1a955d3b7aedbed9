//! Users and tokens.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A user of the console.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AccountInfo {
    /// Name, as it signs in.
    pub name: String,
    /// Such as `full-administrator`.
    pub role: String,
    /// `Default` or `All`.
    pub scope: String,
    /// No sign-in before then, after too many wrong passwords.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub locked_until: Option<Timestamp>,
    /// When it was added.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Last sign-in.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub signed_in_at: Option<Timestamp>,
}

/// Adds a user.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AccountRequest {
    /// 1 to 64 letters, digits, `.`, `-`, `_` or `@`.
    pub name: String,
    /// Such as `full-administrator`.
    pub role: String,
    /// `Default` or `All`; `Default` if absent.
    pub scope: Option<String>,
    /// 12 to 256 characters.
    pub password: String,
}

/// Gives a user another role.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleRequest {
    /// Such as `full-administrator`.
    pub role: String,
    /// `Default` or `All`; unchanged if absent.
    pub scope: Option<String>,
}

/// Sets a password; all sessions of the user end.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordRequest {
    /// 12 to 256 characters.
    pub password: String,
}

/// An API token, without the token.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TokenInfo {
    /// Name.
    pub name: String,
    /// Such as `full-administrator`.
    pub role: String,
    /// `Default` or `All`.
    pub scope: String,
}

/// Makes an API token.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// 1 to 64 letters, digits, hyphens or underscores.
    pub name: String,
    /// Such as `read-only-analyst`.
    pub role: String,
    /// `Default` or `All`; `All` if absent.
    pub scope: Option<String>,
}

/// A fresh token; it is shown once.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct NewToken {
    /// Name.
    pub name: String,
    /// What goes into `Authorization: Bearer`.
    pub token: String,
}

/// The link by which the first user is made.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct SetupLink {
    /// Address; none where the site has no `api.listen`.
    pub url: Option<String>,
    /// It works until then, once.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}
