//! Notifications: what needs an administrator, with what to do, and how to put it off.

use axum::Form;
use axum::extract::Path;
use axum::response::Response;
use maud::{Markup, html};
use protocol::api::{NotificationInfo, NotificationStanding};
use serde::Deserialize;

use super::catalogue::t;
use super::page::{Page, back};
use crate::service::ServiceError;

/// How long something may be put off.
const SNOOZES: [(&str, &str); 4] = [
    ("hour", t("an hour")),
    ("day", t("a day")),
    ("week", t("a week")),
    ("month", t("a month")),
];

pub(super) async fn show(page: Page) -> Response {
    match page.service.notifications(page.actor(), true).await {
        Ok(all) => page.show(
            t("Notifications"),
            html! {
                @for notification in &all { (note(&page, notification)) }
                @if all.is_empty() { p class="faint" { (t("There are none.")) } }
            },
        ),
        Err(failure) => page.problem(&failure),
    }
}

/// One notification, in the colour of its severity.
pub(super) fn note(page: &Page, notification: &NotificationInfo) -> Markup {
    let class = match notification.severity.as_str() {
        "critical" => "bad",
        "warning" => "warn",
        _ => "info",
    };
    let to = format!("/notifications/{}", notification.key);
    html! {
        section class={ "note " (class) } aria-label=(notification.title) {
            p { strong { (notification.title) } " " span class="faint" { (t("since")) " " (page.time(notification.first_seen)) } }
            p { (notification.body) }
            div class="actions" {
                a class="button plain" href=(notification.console_path) { (t("Go there")) }
                @match notification.standing {
                    NotificationStanding::Shown => @if notification.dismissible {
                        (page.button(&to, t("Dismiss"), "plain", &[("what", "dismiss")]))
                        span class="faint" { (t("or put it off for")) }
                        @for (length, name) in SNOOZES { (page.button(&to, name, "plain", &[("what", "snooze"), ("for", length)])) }
                    },
                    NotificationStanding::Snoozed => span class="faint" { (t("put off until")) " " (page.time_or(notification.snoozed_until, "")) },
                    NotificationStanding::Dismissed => span class="faint" { (t("dismissed")) },
                }
            }
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Change {
    what: String,
    #[serde(default, rename = "for")]
    length: String,
}

pub(super) async fn change(page: Page, Path(key): Path<String>, Form(form): Form<Change>) -> Response {
    let (service, actor) = (&page.service, page.actor());
    let changed = match form.what.as_str() {
        "dismiss" => service.dismiss_notification(&key, actor).await,
        "snooze" => service
            .snooze_notification(&key, &form.length, actor)
            .await
            .map(drop),
        other => Err(ServiceError::Invalid {
            message: format!("{other:?} is nothing that is done with a notification"),
            hint: None,
        }),
    };
    match changed {
        Ok(()) => back("/notifications", "saved"),
        Err(failure) => page.problem(&failure),
    }
}
