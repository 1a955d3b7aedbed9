//! The door of the console: one-time links in, sessions in memory, and what each route takes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Form;
use axum::extract::{Query, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use jiff::{SignedDuration, Timestamp};
use maud::html;
use pages::forms::{FormRefusal, own_form};
use pages::parts::problem_note;
use pages::requests::{cookie_named, is_same_origin};
use pages::t;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::page::{bare, refusal};
use super::{Console, links};

/// `__Host-` binds the cookie to this host, over TLS, for all of it (RFC 6265bis, 4.1.3.2).
const COOKIE: &str = "__Host-tidegate-service";
/// A session that nobody uses ends.
const IDLE: SignedDuration = SignedDuration::from_mins(60);
/// A session ends however busy it is.
const LIFE: SignedDuration = SignedDuration::from_hours(12);
/// Sessions at a time; with one more the one that was used longest ago ends.
const SESSIONS_MAX: usize = 200;

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Right {
    /// See everything.
    Look,
    /// Change what is offered, and what the feed says.
    Steer,
}

impl Right {
    /// The words for people.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Right::Look => "read only",
            Right::Steer => "operator",
        }
    }
}

/// Somebody who is in.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) name: String,
    pub(super) right: Right,
    pub(super) csrf: String,
    begun: Timestamp,
    seen: Timestamp,
}

/// Who is in, by the hash of the cookie. They end with the process: another link is made quickly.
#[derive(Default)]
pub(super) struct Sessions(Mutex<HashMap<[u8; 32], Session>>);

impl Sessions {
    /// Begins a session and returns its cookie.
    fn begin(&self, name: String, right: Right, now: Timestamp) -> Option<String> {
        let (mut cookie, mut csrf) = ([0; 32], [0; 32]);
        getrandom::fill(&mut cookie).ok()?;
        getrandom::fill(&mut csrf).ok()?;
        let cookie = hex::encode(cookie);
        let session = Session {
            name,
            right,
            csrf: hex::encode(csrf),
            begun: now,
            seen: now,
        };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, session| session.lasts(now));
        if all.len() >= SESSIONS_MAX
            && let Some(oldest) = all
                .iter()
                .min_by_key(|(_, session)| session.seen)
                .map(|(key, _)| *key)
        {
            all.remove(&oldest);
        }
        all.insert(hash_of(&cookie), session);
        Some(cookie)
    }

    fn find(&self, cookie: &str, now: Timestamp) -> Option<Session> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let session = all
            .get_mut(&hash_of(cookie))
            .filter(|session| session.lasts(now))?;
        session.seen = now;
        Some(session.clone())
    }

    fn end(&self, cookie: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(&hash_of(cookie));
    }
}

impl Session {
    fn lasts(&self, now: Timestamp) -> bool {
        now.duration_since(self.seen) < IDLE && now.duration_since(self.begun) < LIFE
    }
}

fn hash_of(cookie: &str) -> [u8; 32] {
    Sha256::digest(cookie).into()
}

/// Lets in who has a session and the right that the route takes; changes only from this session's own forms.
pub(super) async fn check(
    State((console, right)): State<(Arc<Console>, Right)>,
    mut request: Request,
    next: Next,
) -> Result<Response, Response> {
    let session = cookie_named(request.headers(), COOKIE)
        .and_then(|cookie| console.sessions.find(&cookie, console.now()));
    let Some(session) = session else {
        let note = html! {
            p { (t("This console is opened by a link that works once. On the machine of the service:")) }
            pre { "tidegate cloud console" }
        };
        return Err(bare(StatusCode::UNAUTHORIZED, t("Nobody is signed in"), &note));
    };
    if session.right < right {
        tracing::info!(name = session.name, path = request.uri().path(), "refused");
        return Err(refusal(
            StatusCode::FORBIDDEN,
            t("Your link was made for looking only; nothing was changed."),
        ));
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        request = own_form(request, &session.csrf).await.map_err(refused_form)?;
    }
    request.extensions_mut().insert(session);
    Ok(next.run(request).await)
}

fn refused_form(form: FormRefusal) -> Response {
    refusal(form.status(), form.text())
}

#[derive(Deserialize)]
pub(super) struct Link {
    #[serde(default)]
    link: String,
}

const GONE: &str = t("This link was used, or its time is over. Make another one: tidegate cloud console");

/// Shows who comes in; only the button uses the link up, so that a program that looks at links beforehand does not.
pub(super) async fn enter_page(State(console): State<Arc<Console>>, Query(link): Query<Link>) -> Response {
    match links::look_at(&console.dir, &link.link, console.now()) {
        None => refusal(StatusCode::GONE, GONE),
        Some(guest) => bare(
            StatusCode::OK,
            t("Connected service"),
            &html! {
                p { (t("You come in as ")) strong { (guest.name) } ", " (guest.right.as_str()) "." }
                form method="post" action="/enter" {
                    input type="hidden" name="link" value=(link.link);
                    button { (t("Enter")) }
                }
            },
        ),
    }
}

pub(super) async fn enter(
    State(console): State<Arc<Console>>,
    uri: Uri,
    headers: HeaderMap,
    Form(link): Form<Link>,
) -> Response {
    if !is_same_origin(&headers, &uri) {
        return refused_form(FormRefusal::OtherSite);
    }
    let now = console.now();
    let Some(guest) = links::take(&console.dir, &link.link, now) else {
        return refusal(StatusCode::GONE, GONE);
    };
    tracing::info!(
        name = guest.name,
        right = guest.right.as_str(),
        "signed in to the console"
    );
    let Some(cookie) = console.sessions.begin(guest.name, guest.right, now) else {
        return bare(
            StatusCode::INTERNAL_SERVER_ERROR,
            t("It could not be done"),
            &problem_note("this machine gives no random numbers", None),
        );
    };
    let cookie = format!("{COOKIE}={cookie}; Path=/; Secure; HttpOnly; SameSite=Strict");
    with_cookie(Redirect::to("/").into_response(), &cookie)
}

pub(super) async fn leave(State(console): State<Arc<Console>>, headers: HeaderMap) -> Response {
    if let Some(cookie) = cookie_named(&headers, COOKIE) {
        console.sessions.end(&cookie);
    }
    let gone = format!("{COOKIE}=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0");
    let answer = bare(
        StatusCode::OK,
        t("Signed out"),
        &html! { p { (t("You are signed out. Another link: ")) code { "tidegate cloud console" } } },
    );
    with_cookie(answer, &gone)
}

fn with_cookie(mut response: Response, cookie: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(cookie) {
        response.headers_mut().append(SET_COOKIE, value);
    }
    response
}
