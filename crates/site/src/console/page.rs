//! What pages are made of: the frame around them, tables, badges, forms.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::response::{Html, IntoResponse, Redirect, Response};
use domain::access::{ObjectClass, Permission, Scope};
use http::StatusCode;
use http::request::Parts;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use maud::{DOCTYPE, Markup, html};

use pages::forms::CSRF_FIELD;
use pages::parts::{head, problem_note};

use super::catalogue::t;
use super::live::Fragment;
use crate::api::problem::{status_of, words_of};
use crate::service::{Actor, ServiceError, Session, SiteService};
use crate::words;

/// The request that a page answers.
pub(super) struct Page {
    pub(super) service: Arc<SiteService>,
    session: Session,
    /// Path without query.
    path: String,
    /// Which of our own sentences to show on top, after something was done.
    done: Option<String>,
    /// Only the part that is kept up to date is wanted.
    fragment: bool,
    pub(super) now: Timestamp,
    zone: TimeZone,
}

impl FromRequestParts<Arc<SiteService>> for Page {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, service: &Arc<SiteService>) -> Result<Self, Response> {
        let Some(session) = parts.extensions.get::<Session>().cloned() else {
            return Err(Redirect::to("/sign-in").into_response());
        };
        let query = parts.uri.query().unwrap_or_default();
        let done = url::form_urlencoded::parse(query.as_bytes())
            .find(|(name, _)| name == "done")
            .map(|(_, value)| value.into_owned());
        Ok(Page {
            session,
            path: parts.uri.path().to_owned(),
            done,
            fragment: parts.extensions.get::<Fragment>().is_some(),
            now: service.now(),
            zone: service.zone(),
            service: service.clone(),
        })
    }
}

/// A part of the navigation.
struct Part {
    title: &'static str,
    pages: &'static [(&'static str, &'static str, ObjectClass)],
}

const PARTS: [Part; 3] = [
    Part {
        title: t("Administration"),
        pages: &[
            (
                "/updates",
                t("Updates and Servicing"),
                ObjectClass::UpdatePackages,
            ),
            ("/updates/features", t("Features"), ObjectClass::UpdatePackages),
            ("/servers", t("Servers and Site System Roles"), ObjectClass::Site),
            ("/content", t("Content and links"), ObjectClass::Content),
            ("/accounts", t("Accounts and roles"), ObjectClass::Accounts),
            ("/backups", t("Backups"), ObjectClass::Site),
        ],
    },
    Part {
        title: t("Monitoring"),
        pages: &[
            (
                "/updates/status",
                t("Updates and Servicing Status"),
                ObjectClass::UpdatePackages,
            ),
            ("/components", t("Component Status"), ObjectClass::Components),
            ("/messages", t("Status messages"), ObjectClass::StatusMessages),
            ("/system-status", t("System Status"), ObjectClass::StatusMessages),
            ("/logs", t("Logs"), ObjectClass::Components),
        ],
    },
    Part {
        title: t("Service connection point"),
        pages: &[
            (
                "/servers/service-connection-point",
                t("Mode and proxy"),
                ObjectClass::ServiceConnectionPoint,
            ),
            (
                "/internet",
                t("Internet access"),
                ObjectClass::ServiceConnectionPoint,
            ),
            ("/usage", t("Usage data"), ObjectClass::UsageData),
        ],
    },
];

impl Page {
    /// Who looks.
    pub(super) fn actor(&self) -> &Actor {
        &self.session.actor
    }

    /// The session.
    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// Whether forms that change this are shown.
    pub(super) fn may_change(&self, class: ObjectClass) -> bool {
        let permission = Permission::Modify(class, Scope::Default);
        self.actor().access().allows(permission)
    }

    /// The same for what binds the whole hierarchy.
    pub(super) fn may_change_all(&self, class: ObjectClass) -> bool {
        let permission = Permission::Modify(class, Scope::All);
        self.actor().access().allows(permission)
    }

    /// A page that is as it was when it was asked for.
    pub(super) fn show(&self, title: &str, content: Markup) -> Response {
        self.frame(StatusCode::OK, title, content, false)
    }

    /// A page that is kept up to date while it is open. It has no fields: they would be taken from under the hands.
    pub(super) fn show_live(&self, title: &str, content: Markup) -> Response {
        match self.fragment {
            true => Html(content.into_string()).into_response(),
            false => self.frame(StatusCode::OK, title, content, true),
        }
    }

    /// Why it could not be done.
    pub(super) fn problem(&self, failure: &ServiceError) -> Response {
        let status = status_of(failure);
        let note = problem_note(&crate::context::whole_story(failure), failure.hint());
        self.frame(status, t("It could not be done"), note, false)
    }

    fn frame(&self, status: StatusCode, title: &str, content: Markup, live: bool) -> Response {
        let script = html! {
            script src="/assets/live.js" defer {}
            @if live { noscript { meta http-equiv="refresh" content="10"; } }
        };
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                (head(title, &script))
                body {
                    a class="skip" href="#main" { (t("To the content")) }
                    (self.header(live))
                    div class="frame" {
                        (self.navigation())
                        main id="main" tabindex="-1" {
                            h1 { (title) }
                            (self.done_note())
                            @if live { div id="live" { (content) } } @else { (content) }
                        }
                    }
                }
            }
        };
        (status, Html(page.into_string())).into_response()
    }

    fn header(&self, live: bool) -> Markup {
        html! {
            header class="top" {
                a class="brand" href="/overview" { "Tidegate · " (self.service.site_code()) }
                form action="/search" role="search" {
                    input id="search" type="search" name="q" aria-label=(t("Search packages, components and pages"));
                    button class="plain" { (t("Search")) }
                }
                span id="live-state" class="faint" role="status" data-live=(t("live")) data-lost=(t("connection lost; trying again"))
                    data-still=(t("as of now; too long to be kept up to date")) {
                    @if live { (t("as of now")) }
                }
                div class="who" {
                    span { a href="/own-password" { (self.session.account) } " " span class="faint" { "(" (self.actor().access().role.as_str()) ")" } }
                    (self.button("/sign-out", t("Sign out"), "plain", &[]))
                }
            }
        }
    }

    fn navigation(&self) -> Markup {
        let link = |path: &str, title: &str| {
            html! { li { a href=(path) aria-current=[(self.path == path).then_some("page")] { (title) } } }
        };
        html! {
            nav class="side" aria-label=(t("Pages")) {
                ul { (link("/overview", t("Overview"))) (link("/notifications", t("Notifications"))) }
                @for part in &PARTS {
                    h2 { (part.title) }
                    ul {
                        @for (path, title, class) in part.pages {
                            @if self.actor().access().allows(Permission::Read(*class)) { (link(path, title)) }
                        }
                    }
                }
            }
        }
    }

    /// What was done. Only sentences of ours: a link from elsewhere cannot put words here.
    fn done_note(&self) -> Markup {
        let text = match self.done.as_deref() {
            Some("asked") => t("Asked for. It shows here as soon as it happens."),
            Some("saved") => t("Saved."),
            Some("started") => t("Started."),
            Some("checked") => t("Checked."),
            _ => return html! {},
        };
        html! { div class="note good" role="status" { p { (text) } } }
    }

    /// A hidden field with the word of the session, for every form.
    pub(super) fn csrf(&self) -> Markup {
        html! { input type="hidden" name=(CSRF_FIELD) value=(self.session.csrf); }
    }

    /// A button that is a form of its own.
    pub(super) fn button(&self, action: &str, label: &str, class: &str, fields: &[(&str, &str)]) -> Markup {
        html! {
            form class="inline" method="post" action=(action) {
                (self.csrf())
                @for (name, value) in fields { input type="hidden" name=(name) value=(value); }
                button class=(class) { (label) }
            }
        }
    }

    /// A time, as an age, with the time itself for who points at it.
    pub(super) fn time(&self, at: Timestamp) -> Markup {
        html! {
            time class="nowrap" datetime=(at) title=(words::local(at, self.now, &self.zone)) {
                (words::relative(at, self.now))
            }
        }
    }

    /// The same where there may be none.
    pub(super) fn time_or(&self, at: Option<Timestamp>, otherwise: &str) -> Markup {
        match at {
            Some(at) => self.time(at),
            None => html! { span class="faint" { (otherwise) } },
        }
    }

    /// A time by the clock.
    pub(super) fn clock_time(&self, at: Timestamp) -> Markup {
        html! { time class="nowrap" datetime=(at) { (words::local(at, self.now, &self.zone)) } }
    }
}

/// The class of a severity, outcome or health, whatever table its word comes from.
pub(super) fn colour(word: &str) -> &'static str {
    match word.to_lowercase().as_str() {
        "ok" | "passed" | "success" | "started" | "verified" | "accepted" | "sent" | "met" => "good",
        "warning"
        | "passed with warnings"
        | "success with warning"
        | "waiting to restart"
        | "could-not-evaluate" => "warn",
        "critical" | "error" | "failed" | "not-met" | "damaged" => "bad",
        _ => "info",
    }
}

/// Where to go after something was done.
pub(super) fn back(path: &str, done: &str) -> Response {
    let join = if path.contains('?') { '&' } else { '?' };
    Redirect::to(&format!("{path}{join}done={done}")).into_response()
}

/// A panic in a page ends that request only.
#[expect(clippy::needless_pass_by_value, reason = "the layer hands it over")]
pub(super) fn after_panic(panic: Box<dyn std::any::Any + Send>) -> Response {
    tracing::error!("a page ended in a panic: {}", words_of(&*panic));
    let text = t("The site failed while it made this page; the reason is in smsexec.log.");
    (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
}
