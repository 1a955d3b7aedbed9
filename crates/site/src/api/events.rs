//! Server-sent events: any list or object of this API, sent again whenever it changes.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::{Extensions, HeaderMap, StatusCode, header};
use protocol::api::{ApiProblem, EventsQuery};

use super::listen::bearer_token;
use super::problem::{Query, refuse};
use crate::live::watch;
use crate::service::{Actor, SiteService};

/// The routes that may be looked at.
#[derive(Clone)]
pub(super) struct Routes(pub(super) Router);

/// What a GET of a path answers, as `changed` events whenever it changes; `ended` once the caller may not see it,
/// `too-large` in place of an answer over 1 MiB.
#[utoipa::path(get, path = "/v1/events", tag = "events", params(EventsQuery), responses(
    (status = 200, description = "Server-sent events", content_type = "text/event-stream"),
    (status = 400, description = "Not a path of this API", body = ApiProblem),
    (status = 429, description = "Too many live views are open"),
))]
pub(super) async fn stream(
    State(service): State<Arc<SiteService>>,
    Extension(Routes(routes)): Extension<Routes>,
    Extension(actor): Extension<Actor>,
    Query(query): Query<EventsQuery>,
    headers: HeaderMap,
) -> Response {
    let fits = query.path.starts_with('/') && !query.path.starts_with("/events");
    if !fits || query.path.parse::<http::Uri>().is_err() {
        let detail = format!("{:?} is no path of this API that can be looked at", query.path);
        let hint = Some("such as /updates, or /components?…; without /v1".to_owned());
        return refuse(StatusCode::BAD_REQUEST, detail, hint).into_response();
    }
    let place = service.view_place();
    let token = headers
        .get(header::AUTHORIZATION)
        .and_then(bearer_token)
        .map(str::to_owned);
    let admit = move || {
        let (service, actor, token) = (service.clone(), actor.clone(), token.clone());
        async move {
            let actor = match token {
                // A token that was revoked meanwhile sees nothing more.
                Some(token) => service.check_token(&token)?,
                None => actor,
            };
            let mut extensions = Extensions::new();
            extensions.insert(actor);
            Some(extensions)
        }
        .boxed()
    };
    watch(routes, query.path, Box::new(admit), place)
}
