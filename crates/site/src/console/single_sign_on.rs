//! Signing in by way of the provider of single sign-on: the browser goes there and comes back with a code.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::{HeaderMap, StatusCode, Uri};
use maud::{Markup, html};

use super::catalogue::t;
use super::door::{self, Peer, Wanted, address};
use crate::api::problem::status_of;
use crate::service::{SIGN_ON_LIFE, ServiceError, SignOnAnswer, SiteService};
use pages::requests::{authority, cookie_named, own_path};

/// Holds one attempt. The provider's redirect comes from another site, so that this one cookie is `Lax`; it opens nothing.
const NAME: &str = "__Host-tidegate-sign-on";

type Service = State<Arc<SiteService>>;

/// The way to the provider, where there is one. A link: the policy lets forms go nowhere else.
pub(super) fn link(service: &SiteService, to: &str) -> Markup {
    let query: String = url::form_urlencoded::byte_serialize(to.as_bytes()).collect();
    html! {
        @if service.offers_sign_on() {
            p { a class="button" href={ "/sign-in/oidc?to=" (query) } { (t("Sign in with single sign-on")) } }
        }
    }
}

pub(super) async fn begin(
    State(service): Service,
    peer: Option<Extension<Peer>>,
    uri: Uri,
    headers: HeaderMap,
    Query(wanted): Query<Wanted>,
) -> Response {
    let authority = authority(&headers, &uri).unwrap_or_default();
    let to = own_path(&wanted.to);
    match service.begin_sign_on(authority, to, address(peer)).await {
        Ok(begun) => {
            let cookie = format!(
                "{NAME}={}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={}",
                begun.cookie,
                SIGN_ON_LIFE.as_secs()
            );
            door::with_cookie(Redirect::to(&begun.location).into_response(), &cookie)
        }
        Err(failure) => refused(&service, &failure, to),
    }
}

pub(super) async fn end(
    State(service): Service,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    answer: Result<Query<SignOnAnswer>, QueryRejection>,
) -> Response {
    // One that cannot be read is as good as none, and refused like that.
    let answer = answer.map_or_else(|_| SignOnAnswer::default(), |Query(answer)| answer);
    let cookie = cookie_named(&headers, NAME);
    let response = match service
        .end_sign_on(cookie.as_deref(), answer, address(peer))
        .await
    {
        Ok(ended) => {
            let to = own_path(&ended.to);
            // The browser sends no `Strict` cookie with what follows a redirect from another site. A page of ours that
            // leads on begins anew.
            let page = door::door_with(
                StatusCode::OK,
                html! { meta http-equiv="refresh" content={ "0; url=" (to) }; },
                html! { p { (t("You are signed in.")) " " a href=(to) { (t("Go on")) } } },
            );
            door::with_cookie(page, &door::session_cookie(&service, &ended.signed_in))
        }
        Err(failure) => refused(&service, &failure, "/"),
    };
    let gone = format!("{NAME}=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0");
    door::with_cookie(response, &gone)
}

fn refused(service: &SiteService, failure: &ServiceError, to: &str) -> Response {
    let status = match failure {
        ServiceError::Refused { .. } => StatusCode::UNAUTHORIZED,
        other => status_of(other),
    };
    door::door(
        status,
        html! { (door::failed(failure)) (door::sign_in_form(service, to)) },
    )
}
