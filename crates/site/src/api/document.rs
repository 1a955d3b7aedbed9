//! The OpenAPI description of the API. `docs/reference/openapi.json` is its copy, kept equal by a test.

use axum::Json;
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};

use super::{
    accounts, backups, components, events, health, hierarchy, internet, notifications, site, status,
    status_rules, tool, updates, usage,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tidegate site API",
        version = "1",
        description = "The operations of one site. On the local socket <dir>/run/api.sock the operating system \
            says who asks; over HTTPS a bearer token does. Times are RFC 3339. Every refusal is an ApiProblem, \
            `application/problem+json`. A GET answers with an ETag and takes If-None-Match; a change takes If-Match with \
            the ETag of a GET of the same path, and Idempotency-Key.",
        license(name = "Apache-2.0"),
    ),
    paths(
        health::healthz,
        health::readyz,
        site::show,
        site::sync_status,
        site::check_now,
        site::content_stats,
        site::content_verify,
        site::content_gc,
        backups::list,
        backups::run,
        backups::set_schedule,
        backups::end_schedule,
        hierarchy::throttle,
        hierarchy::set_throttle,
        accounts::list,
        accounts::add,
        accounts::remove,
        accounts::set_role,
        accounts::set_password,
        accounts::tokens,
        accounts::add_token,
        accounts::remove_token,
        accounts::setup_link,
        events::stream,
        components::list,
        components::query,
        components::act,
        components::set_log_level,
        updates::list,
        updates::show,
        updates::why,
        updates::plan,
        updates::prereq_results,
        updates::download,
        updates::prereq,
        updates::install,
        updates::retry,
        updates::ignore_warnings,
        updates::reset,
        updates::status,
        updates::history,
        updates::features,
        updates::set_feature,
        status::messages,
        status::delete_messages,
        status::systems,
        status::set_system,
        status::reset_system,
        status::components,
        status::reset_component,
        status::thresholds,
        status::set_threshold,
        status::reset_thresholds,
        status::state_messages,
        status_rules::list,
        status_rules::add,
        status_rules::change,
        status_rules::remove,
        status_rules::alerts,
        internet::scp,
        internet::set_mode,
        internet::proxy,
        internet::set_proxy,
        internet::clear_proxy,
        internet::test_proxy,
        internet::last,
        internet::history,
        internet::check,
        internet::metrics,
        notifications::list,
        notifications::dismiss,
        notifications::snooze,
        usage::show,
        usage::level,
        usage::set_level,
        usage::sending,
        usage::set_sending,
        usage::preview,
        usage::collect,
        usage::reports,
        usage::report,
        usage::report_body,
        usage::approve,
        usage::discard,
        usage::upload,
        usage::rotate_keys,
        usage::ledger,
        usage::verify_ledger,
        usage::inventory,
        usage::import,
        tool::prepare,
        tool::import,
        tool::register,
        tool::last_import,
    ),
    modifiers(&BearerToken),
)]
struct Document;

struct BearerToken;

impl utoipa::Modify for BearerToken {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        document
            .components
            .get_or_insert_default()
            .add_security_scheme("token", SecurityScheme::Http(scheme));
        document.security = Some(vec![
            utoipa::openapi::security::SecurityRequirement::default(),
            utoipa::openapi::security::SecurityRequirement::new::<_, [&str; 0], &str>("token", []),
        ]);
    }
}

/// The description of the whole API.
pub fn openapi() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

pub(super) async fn get_document() -> Json<utoipa::openapi::OpenApi> {
    Json(openapi())
}
