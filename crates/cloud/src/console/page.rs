//! The frame around the console's pages, and what several of them show.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::response::{Html, IntoResponse, Redirect, Response};
use http::StatusCode;
use http::request::Parts;
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, html};
use pages::forms::CSRF_FIELD;
use pages::parts::{badge, head, problem_note};
use pages::t;

use super::Console;
use super::door::{Right, Session};
use crate::error::CloudError;
use crate::history::{Entry, Outcome};

/// The pages, in the order of the navigation.
const PAGES: [(&str, &str); 6] = [
    ("/catalogue", t("Catalogue")),
    ("/history", t("Publish history")),
    ("/fleet", t("Fleet")),
    ("/intake", t("Intake of usage data")),
    ("/notices", t("Messages and configuration")),
    ("/keys", t("Keys and signatures")),
];

/// The request that a page answers.
pub(super) struct Page {
    pub(super) console: Arc<Console>,
    session: Session,
    path: String,
    done: bool,
    pub(super) now: Timestamp,
}

impl FromRequestParts<Arc<Console>> for Page {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, console: &Arc<Console>) -> Result<Self, Response> {
        let Some(session) = parts.extensions.get::<Session>().cloned() else {
            return Err(refusal(StatusCode::UNAUTHORIZED, t("Nobody is signed in.")));
        };
        let query = parts.uri.query().unwrap_or_default();
        let done = url::form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "done");
        Ok(Page {
            session,
            path: parts.uri.path().to_owned(),
            done,
            now: console.now(),
            console: console.clone(),
        })
    }
}

impl Page {
    /// Whether forms that change something are shown.
    pub(super) fn may_steer(&self) -> bool {
        self.session.right == Right::Steer
    }

    /// Who changes something, as the history names them.
    pub(super) fn author(&self) -> String {
        format!("{} (console)", self.session.name)
    }

    pub(super) fn show(&self, title: &str, content: &Markup) -> Response {
        self.frame(StatusCode::OK, title, content)
    }

    /// Why it could not be done.
    pub(super) fn problem(&self, failure: &CloudError) -> Response {
        let status = match failure {
            CloudError::NoSuchPackage { .. } => StatusCode::NOT_FOUND,
            CloudError::Invalid { .. } => StatusCode::BAD_REQUEST,
            CloudError::Withdrawn { .. } | CloudError::Busy { .. } => StatusCode::CONFLICT,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        if status.is_server_error() {
            tracing::error!(
                error = failure as &dyn std::error::Error,
                "a page could not be made"
            );
        }
        self.frame(
            status,
            t("It could not be done"),
            &problem_note(&whole_story(failure), None),
        )
    }

    fn frame(&self, status: StatusCode, title: &str, content: &Markup) -> Response {
        let is_here =
            |path: &str| self.path == path || (path == "/catalogue" && self.path.starts_with("/packages/"));
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                (head(title, &html! {}))
                body {
                    a class="skip" href="#main" { (t("To the content")) }
                    header class="top" {
                        a class="brand" href="/" { (t("Tidegate · ")) (self.console.name) }
                        span class="faint" { (t("connected service")) }
                        div class="who" {
                            span { (self.session.name) " " span class="faint" { "(" (self.session.right.as_str()) ")" } }
                            form class="inline" method="post" action="/leave" { (self.csrf()) button class="plain" { (t("Sign out")) } }
                        }
                    }
                    div class="frame" {
                        nav class="side" aria-label=(t("Pages")) {
                            ul {
                                @for (path, title) in PAGES {
                                    li { a href=(path) aria-current=[is_here(path).then_some("page")] { (title) } }
                                }
                            }
                        }
                        main id="main" tabindex="-1" {
                            h1 { (title) }
                            @if self.done { div class="note good" role="status" { p { (t("Signed and published. Sites see it at their next check.")) } } }
                            (content)
                        }
                    }
                }
            }
        };
        (status, Html(page.into_string())).into_response()
    }

    /// A hidden field with the word of the session, for every form.
    pub(super) fn csrf(&self) -> Markup {
        html! { input type="hidden" name=(CSRF_FIELD) value=(self.session.csrf); }
    }

    /// A time to the minute.
    pub(super) fn time(&self, at: Timestamp) -> Markup {
        html! { time class="nowrap" datetime=(at) { (at.strftime("%Y-%m-%d %H:%M UTC")) } }
    }

    /// An entry of the history as cells of a row.
    pub(super) fn entry(&self, entry: &Entry) -> Markup {
        html! {
            td { (self.time(entry.at)) } td { (entry.by) } td { (entry.did.as_str()) }
            td {
                @match entry.package {
                    Some(guid) => a href={ "/packages/" (guid) } { (entry.name) },
                    None => (entry.name),
                }
                @if !entry.name.is_empty() && !entry.detail.is_empty() { br; }
                (entry.detail)
            }
            td {
                @match &entry.outcome {
                    Outcome::Done => (badge("good", "done")),
                    Outcome::Failed(why) => { (badge("bad", "failed")) " " (why) },
                    Outcome::Unknown => { (badge("warn", "not known")) " the process ended meanwhile" },
                }
            }
        }
    }
}

/// The heads of the columns of [`Page::entry`].
pub(super) const ENTRY_HEADS: [&str; 5] = [t("When"), t("Who"), t("Did"), t("What"), t("Outcome")];

/// A page for somebody who is not in.
pub(super) fn bare(status: StatusCode, title: &str, content: &Markup) -> Response {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            (head(title, &html! {}))
            body { main class="door" { div class="card" { h1 { (title) } (content) } } }
        }
    };
    (status, Html(page.into_string())).into_response()
}

/// Why somebody does not get what they asked for.
pub(super) fn refusal(status: StatusCode, why: &str) -> Response {
    bare(status, t("Refused"), &problem_note(why, None))
}

/// Where to go after something was done.
pub(super) fn done(path: &str) -> Response {
    Redirect::to(&format!("{path}?done")).into_response()
}

fn whole_story(failure: &dyn std::error::Error) -> String {
    let mut text = failure.to_string();
    let mut cause = failure.source();
    while let Some(deeper) = cause {
        text.push_str(": ");
        text.push_str(&deeper.to_string());
        cause = deeper.source();
    }
    text
}
