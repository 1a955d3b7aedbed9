//! Signing in and out, the first user, and the door before every other page.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Form;
use axum::extract::{Extension, Query, Request, State};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Redirect, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use http_body_util::BodyExt;
use maud::{DOCTYPE, Markup, html};
use pages::forms::{FORM_BYTES_MAX, FormRefusal, own_form};
use pages::parts::{self, field, password_field, problem_note};
use pages::requests::{cookie_named, is_same_origin, own_path};
use protocol::api::ApiProblem;
use serde::Deserialize;

use super::LIVE_PATH;
use super::catalogue::t;

use super::single_sign_on;
use crate::api::problem::{AGAIN_AFTER, status_of};
use crate::service::{ServiceError, SignedIn, SiteService};

/// How long a browser is known; the longest that browsers keep a cookie (RFC 6265bis, 5.5).
const DEVICE_SECONDS: u32 = 400 * 24 * 60 * 60;

type Service = State<Arc<SiteService>>;

/// Where a request comes from; put there by the listener.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// The address of a request; that of nobody where no listener said it.
pub(super) fn address(peer: Option<Extension<Peer>>) -> IpAddr {
    peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |Extension(peer)| peer.0.ip())
}

/// Bounds what people who are not signed in have under way.
pub(super) async fn one_of_few(State(service): Service, request: Request, next: Next) -> Response {
    match service.stranger_place().await {
        Ok(_place) => next.run(request).await,
        Err(failure) => refused_for_now(&failure),
    }
}

/// Something could not be done for somebody who is not in.
fn refused_for_now(failure: &ServiceError) -> Response {
    let status = status_of(failure);
    let mut response = door(status, failed(failure));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(RETRY_AFTER, AGAIN_AFTER);
    }
    response
}

/// Lets in who has a session; changes only from this session's own forms.
pub(super) async fn check_session(
    State(service): Service,
    mut request: Request,
    next: Next,
) -> Result<Response, Response> {
    let session = match cookie(&service, request.headers()) {
        Some(cookie) => service
            .session(&cookie, request.uri().path() != LIVE_PATH)
            .await
            .map_err(|failure| refused_for_now(&failure))?,
        None => None,
    };
    let Some(session) = session else {
        let wanted = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let to = match *request.method() == Method::GET && wanted != "/" {
            true => {
                let query: String = url::form_urlencoded::byte_serialize(wanted.as_bytes()).collect();
                format!("/sign-in?to={query}")
            }
            false => "/sign-in".to_owned(),
        };
        return Err(Redirect::to(&to).into_response());
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        request = own_form(request, &session.csrf).await.map_err(refused_form)?;
    }
    request.extensions_mut().insert(session.actor.clone());
    request.extensions_mut().insert(session);
    Ok(readable(next.run(request).await).await)
}

/// A refusal as people read it, whoever refused: the guard and the reading of forms answer programs.
async fn readable(response: Response) -> Response {
    let kind = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let is_page = kind.is_some_and(|kind| kind.starts_with(b"text/html"));
    if !response.status().is_client_error() || is_page {
        return response;
    }
    let status = response.status();
    let body = http_body_util::Limited::new(response.into_body(), FORM_BYTES_MAX);
    let bytes = body
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default();
    let note = match serde_json::from_slice::<ApiProblem>(&bytes) {
        Ok(problem) => problem_note(&problem.detail, problem.hint.as_deref()),
        Err(_) => problem_note(&String::from_utf8_lossy(&bytes), None),
    };
    door(
        status,
        html! { (note) p { a href="/overview" { (t("To the overview")) } } },
    )
}

/// What is told of a form that changes nothing.
fn refused_form(refusal: FormRefusal) -> Response {
    door(refusal.status(), problem_note(refusal.text(), None))
}

/// The same of one that cannot be read to its end.
pub(super) fn unread() -> Response {
    refused_form(FormRefusal::Unread)
}

/// What is told when a page takes too long.
pub(super) fn late() -> Response {
    let note = problem_note(t("This took too long; what was begun goes on."), None);
    door(StatusCode::SERVICE_UNAVAILABLE, note)
}

/// `__Host-` binds the cookie to this host, over TLS, for all of it (RFC 6265bis, 4.1.3.2). Cookies know no ports, so that
/// the sites of one host have one each.
fn cookie_name(service: &SiteService) -> String {
    format!("__Host-tidegate-{}", service.site_code())
}

/// What the cookie of this console holds.
pub(super) fn cookie(service: &SiteService, headers: &HeaderMap) -> Option<String> {
    cookie_named(headers, &cookie_name(service))
}

#[derive(Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    pub(super) to: String,
}

#[derive(Deserialize)]
pub(super) struct Credentials {
    name: String,
    password: String,
    #[serde(default)]
    to: String,
}

pub(super) async fn sign_in_page(State(service): Service, Query(wanted): Query<Wanted>) -> Response {
    let nobody = service.needs_setup().await.unwrap_or(false);
    let note = match nobody && !service.offers_sign_on() {
        true => html! {
            div class="note info" { p { (t("Nobody can sign in yet.")) }
                p { (t("On the server, this makes a link to set up the first user:")) } pre { "tidegate user setup" } }
        },
        false => html! {},
    };
    door(
        StatusCode::OK,
        html! { (note) (sign_in_form(&service, &wanted.to)) },
    )
}

/// The ways in.
pub(super) fn sign_in_form(service: &SiteService, to: &str) -> Markup {
    html! {
        (single_sign_on::link(service, to))
        form method="post" action="/sign-in" {
            input type="hidden" name="to" value=(to);
            (field("name", t("Name"), "", "username"))
            (password_field("password", t("Password"), "current-password", None))
            button { (t("Sign in")) }
        }
    }
}

pub(super) async fn sign_in(
    State(service): Service,
    peer: Option<Extension<Peer>>,
    uri: Uri,
    headers: HeaderMap,
    Form(given): Form<Credentials>,
) -> Response {
    if !is_same_origin(&headers, &uri) {
        return refused_form(FormRefusal::OtherSite);
    }
    let before = device(&service, &headers);
    let signed_in = service
        .sign_in(&given.name, &given.password, address(peer), before.as_deref())
        .await;
    match signed_in {
        Ok(signed_in) => {
            // Who signs in anew in a browser leaves no session of it behind.
            if let Some(before) = cookie(&service, &headers)
                && let Err(failure) = service.sign_out(&before).await
            {
                tracing::warn!("a session could not be ended: {failure}");
            }
            let answer = Redirect::to(own_path(&given.to)).into_response();
            let answer = with_cookie(answer, &session_cookie(&service, &signed_in));
            match &signed_in.device {
                Some(device) => with_cookie(answer, &device_cookie(&service, device)),
                None => answer,
            }
        }
        Err(failure) => {
            let status = match &failure {
                ServiceError::Refused { .. } => StatusCode::UNAUTHORIZED,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            };
            door(
                status,
                html! { (failed(&failure)) (sign_in_form(&service, &given.to)) },
            )
        }
    }
}

/// What a browser keeps of a sign-in, for longer than a session.
pub(super) fn device(service: &SiteService, headers: &HeaderMap) -> Option<String> {
    cookie_named(headers, &device_name(service))
}

fn device_name(service: &SiteService) -> String {
    format!("__Host-tidegate-device-{}", service.site_code())
}

fn device_cookie(service: &SiteService, device: &str) -> String {
    format!(
        "{}={device}; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age={DEVICE_SECONDS}",
        device_name(service)
    )
}

/// The cookie of a session; no other site can have it sent.
pub(super) fn session_cookie(service: &SiteService, signed_in: &SignedIn) -> String {
    format!(
        "{}={}; Path=/; Secure; HttpOnly; SameSite=Strict",
        cookie_name(service),
        signed_in.cookie
    )
}

pub(super) async fn sign_out(State(service): Service, headers: HeaderMap) -> Response {
    if let Some(cookie) = cookie(&service, &headers)
        && let Err(failure) = service.sign_out(&cookie).await
    {
        return door(StatusCode::INTERNAL_SERVER_ERROR, failed(&failure));
    }
    let gone = format!(
        "{}=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0",
        cookie_name(&service)
    );
    with_cookie(Redirect::to("/sign-in").into_response(), &gone)
}

/// The same answer with one more cookie.
pub(super) fn with_cookie(mut response: Response, cookie: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(cookie) {
        response.headers_mut().append(SET_COOKIE, value);
    }
    response
}

#[derive(Deserialize)]
pub(super) struct Link {
    #[serde(default)]
    link: String,
}

#[derive(Deserialize)]
pub(super) struct FirstUser {
    link: String,
    name: String,
    password: String,
}

pub(super) async fn setup_page(State(service): Service, Query(link): Query<Link>) -> Response {
    match service.is_setup_link(&link.link).await {
        Ok(true) => door(StatusCode::OK, setup_form(&link.link, "")),
        Ok(false) => door(
            StatusCode::GONE,
            problem_note(
                t("This link was used, or its time is over."),
                Some(t("Make another one on the server: tidegate user setup")),
            ),
        ),
        Err(failure) => door(StatusCode::INTERNAL_SERVER_ERROR, failed(&failure)),
    }
}

fn setup_form(link: &str, name: &str) -> Markup {
    html! {
        p { (t("You set up the first user, who is a Full Administrator.")) }
        form method="post" action="/setup" {
            input type="hidden" name="link" value=(link);
            (field("name", t("Name"), name, "username"))
            (password_field("password", t("Password"), "new-password",
                Some(t("At least 12 characters; several words are easy to remember and hard to guess."))))
            button { (t("Set up")) }
        }
    }
}

pub(super) async fn set_up(State(service): Service, Form(given): Form<FirstUser>) -> Response {
    match service.set_up(&given.link, &given.name, &given.password).await {
        Ok(()) => Redirect::to("/sign-in").into_response(),
        Err(failure) => door(
            StatusCode::CONFLICT,
            html! { (failed(&failure)) (setup_form(&given.link, &given.name)) },
        ),
    }
}

pub(super) fn failed(failure: &ServiceError) -> Markup {
    problem_note(&crate::context::whole_story(failure), failure.hint())
}

/// A page for somebody who is not in yet.
pub(super) fn door(status: StatusCode, content: Markup) -> Response {
    door_with(status, html! {}, content)
}

/// The same with more in its head.
pub(super) fn door_with(status: StatusCode, head: Markup, content: Markup) -> Response {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            (parts::head(t("Sign in"), &head))
            body {
                main class="door" { div class="card" { h1 { "Tidegate" } (content) } }
            }
        }
    };
    (status, Html(page.into_string())).into_response()
}
