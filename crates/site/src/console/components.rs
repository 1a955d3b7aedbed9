//! Component Status and the service manager: health by messages, state as it is now beside the state as it was asked
//! for last, and what may be done with a component.

use axum::Form;
use axum::extract::{Path, Query};
use axum::response::Response;
use domain::access::ObjectClass;
use domain::component::LogLevel;
use maud::{Markup, html};
use pages::parts::{badge, table};
use protocol::api::{ComponentAction, ComponentInfo, ComponentStatusInfo};
use serde::Deserialize;

use super::catalogue::t;
use super::page::{Page, back, colour};
use crate::service::ServiceError;

#[derive(Deserialize)]
pub(super) struct Tally {
    tally: Option<String>,
}

/// The product's tally intervals that people ask for most; the command line knows all sixteen.
const TALLIES: [(&str, &str); 4] = [
    ("0001128000100008", t("Since midnight")),
    ("00011280001A2000", t("Since Monday")),
    ("000A470000284400", t("Since the first of the month")),
    ("0001128000080008", t("Since the installation")),
];

pub(super) async fn show(page: Page, Query(tally): Query<Tally>) -> Response {
    let health = page.service.component_status(tally.tally.as_deref()).await;
    let (components, health) = match (page.service.components().await, health) {
        (Ok(components), Ok(health)) => (components, health),
        (Err(failure), _) | (_, Err(failure)) => return page.problem(&failure),
    };
    let chosen = tally.tally.as_deref().unwrap_or(TALLIES[0].0);
    let rows = components
        .iter()
        .map(|component| {
            row(
                &page,
                component,
                health.iter().find(|status| status.component == component.name),
            )
        })
        .collect();
    page.show_live(
        t("Component Status"),
        html! {
            nav class="actions" aria-label=(t("Tally interval")) {
                @for (token, name) in TALLIES { a class="button plain" href={ "/components?tally=" (token) } aria-current=[(token == chosen).then_some("true")] { (name) } }
            }
            (table(t("Components of this site, as they are now"),
                &[t("Component"), t("Health"), t("State"), t("Errors"), t("Warnings"), t("Messages"), t("Last result"), t("Next activation"), t("Action")],
                rows, t("The site is still starting.")))
        },
    )
}

fn row(page: &Page, component: &ComponentInfo, health: Option<&ComponentStatusInfo>) -> Markup {
    html! {
        td { a href={ "/components/" (component.name) } { (component.name) } div class="faint" { (component.description) } }
        @match health {
            Some(status) => {
                td { (badge(colour(&status.status), &status.status)) }
                td { (state(component)) }
                td class="number" { a href={ "/messages?period=all&component=" (component.name) "&severity=error" } { (status.error) } }
                td class="number" { a href={ "/messages?period=all&component=" (component.name) "&severity=warning" } { (status.warning) } }
                td class="number" { (status.informational) }
            }
            None => { td {} td { (state(component)) } td {} td {} td {} }
        }
        td { @if component.active { (component.activity) } @else { (component.last_result) } @if let Some(waiting) = &component.waiting { div class="faint" { (t("waits for")) " " (waiting.what) " " (t("since")) " " (page.time(waiting.since)) ". " (waiting.action) } } }
        td { (page.time_or(component.next_activation, "-")) }
        td { (buttons(page, component)) }
    }
}

fn state(component: &ComponentInfo) -> Markup {
    html! { (badge(colour(&component.state), &component.state)) @if component.active { " " (badge("info", t("working"))) } }
}

fn buttons(page: &Page, component: &ComponentInfo) -> Markup {
    if !page.may_change(ObjectClass::Components) {
        return html! {};
    }
    let to = format!("/components/{}", component.name);
    let button = |label: &str, what: &str| page.button(&to, label, "plain", &[("action", what)]);
    let executive = component.name == "SMS_EXECUTIVE";
    html! {
        div class="actions" {
            @if component.state_code == 0 { (button(t("Start"), "start")) }
            @else { (button(t("Restart"), "restart")) @if !executive { (button(t("Stop"), "stop")) } }
        }
    }
}

pub(super) async fn one(page: Page, Path(name): Path<String>) -> Response {
    let component = match page.service.component(&name).await {
        Ok(component) => component,
        Err(failure) => return page.problem(&failure),
    };
    let to = format!("/components/{}", component.name);
    page.show(
        &component.name,
        html! {
            p { (component.description) }
            p { (t("Queried")) " " (page.clock_time(page.now)) ": " (state(&component)) " " a href=(to) { (t("Query again")) } }
            (buttons(&page, &component))
            div class="cards" {
                section class="card" {
                    h3 { (t("Work")) }
                    dl {
                        dt { (t("Doing")) } dd { @if component.active { (component.activity) } @else { (t("nothing at this moment")) } }
                        dt { (t("Last result")) } dd { (component.last_result) }
                        dt { (t("Last started")) } dd { (page.time_or(component.last_started, "-")) }
                        dt { (t("Last finished")) } dd { (page.time_or(component.last_finished, "-")) }
                        dt { (t("Next activation")) } dd { (page.time_or(component.next_activation, "-")) }
                        dt { (t("Activations")) } dd { (component.activations) }
                        dt { (t("Failures")) } dd { (component.failures) ", " (component.failures_in_row) " " (t("in a row")) }
                        dt { (t("Crashes")) } dd { (component.panics) }
                    }
                }
                section class="card" {
                    h3 { (t("Log")) }
                    p { a href={ "/logs?name=" (component.name) } { (component.log_file) } }
                    @if page.may_change(ObjectClass::Components) { (log_level(&page, &component)) } @else { p { (component.log_level) } }
                }
                section class="card" {
                    h3 { (t("Messages")) }
                    p { a href={ "/messages?component=" (component.name) } { (t("Status messages of this component")) } }
                    @if page.may_change(ObjectClass::StatusMessages) { (page.button(&format!("{to}/reset"), t("Count from zero"), "plain", &[])) }
                }
            }
        },
    )
}

fn log_level(page: &Page, component: &ComponentInfo) -> Markup {
    html! {
        form method="post" action={ "/components/" (component.name) "/log-level" } {
            (page.csrf())
            div class="field" {
                label for="level" { (t("Log level")) }
                select id="level" name="level" {
                    @for level in LogLevel::ALL { option value=(level.as_str()) selected[level.as_str() == component.log_level] { (level.as_str()) } }
                }
            }
            button class="plain" { (t("Set")) }
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Act {
    action: String,
}

pub(super) async fn act(page: Page, Path(name): Path<String>, Form(act): Form<Act>) -> Response {
    let action = match act.action.as_str() {
        "stop" => ComponentAction::Stop,
        "start" => ComponentAction::Start,
        "restart" => ComponentAction::Restart,
        other => {
            return page.problem(&ServiceError::Invalid {
                message: format!("{other:?} is nothing that is done with a component"),
                hint: None,
            });
        }
    };
    match page.service.component_action(&name, action, page.actor()).await {
        Ok(()) => back(&format!("/components/{name}"), "asked"),
        Err(failure) => page.problem(&failure),
    }
}

#[derive(Deserialize)]
pub(super) struct Level {
    level: String,
}

pub(super) async fn set_log_level(page: Page, Path(name): Path<String>, Form(form): Form<Level>) -> Response {
    match page.service.set_log_level(&name, &form.level, page.actor()).await {
        Ok(()) => back(&format!("/components/{name}"), "saved"),
        Err(failure) => page.problem(&failure),
    }
}

pub(super) async fn reset(page: Page, Path(name): Path<String>) -> Response {
    match page.service.reset_component_status(&name, page.actor()).await {
        Ok(()) => back(&format!("/components/{name}"), "saved"),
        Err(failure) => page.problem(&failure),
    }
}
