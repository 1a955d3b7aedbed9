//! What needs somebody now; the search; the check for updates.

use axum::extract::Query;
use axum::response::{IntoResponse, Redirect, Response};
use domain::access::ObjectClass;
use maud::{Markup, html};
use pages::parts::{badge, table};
use protocol::api::{ComponentInfo, ComponentStatusInfo, NotificationInfo, SiteShow, UpdateSummary};
use serde::Deserialize;

use super::catalogue::t;
use super::notifications;
use super::page::{Page, back, colour};
use super::updates::state_badge;
use crate::service::ServiceError;
use crate::words;

pub(super) async fn home() -> Response {
    Redirect::to("/overview").into_response()
}

/// Everything the overview is made of, read at once.
struct Seen {
    site: SiteShow,
    updates: Vec<UpdateSummary>,
    components: Vec<ComponentInfo>,
    health: Vec<ComponentStatusInfo>,
    notifications: Vec<NotificationInfo>,
}

async fn look(page: &Page) -> Result<Seen, ServiceError> {
    Ok(Seen {
        site: page.service.site_show().await?,
        updates: page.service.updates(false).await?,
        components: page.service.components().await?,
        health: page.service.component_status(None).await?,
        notifications: page.service.notifications(page.actor(), false).await?,
    })
}

pub(super) async fn show(page: Page) -> Response {
    let seen = match look(&page).await {
        Ok(seen) => seen,
        Err(failure) => return page.problem(&failure),
    };
    let needs = needs(&page, &seen);
    page.show_live(
        t("Overview"),
        html! {
            section aria-labelledby="now" {
                h2 id="now" { (t("What needs you now")) }
                @for notification in &seen.notifications { (notifications::note(&page, notification)) }
                @if needs.is_empty() && seen.notifications.is_empty() { div class="note good" { p { (t("Nothing. Everything runs and nothing waits for you.")) } } }
                @for need in needs { (need) }
            }
            div class="cards" {
                (site_card(&page, &seen.site))
                (sync_card(&page, &seen.site))
                (components_card(&seen))
            }
            h2 { (t("Updates")) }
            (updates_table(&page, &seen.updates))
        },
    )
}

/// One note for each thing that waits for a person, the gravest first.
fn needs(page: &Page, seen: &Seen) -> Vec<Markup> {
    let mut notes = Vec::new();
    let mut note = |class: &str, text: Markup, link: &str, action: &str| {
        notes.push(html! {
            div class={ "note " (class) } { p { (text) } p { a href=(link) { (action) } } }
        });
    };
    for status in seen.health.iter().filter(|status| status.status == "Critical") {
        let text = html! { (status.component) " " (t("is Critical")) ": " (status.error) " " (t("errors since")) " " (page.time(status.since)) };
        note(
            "bad",
            text,
            &format!("/messages?component={}&severity=error", status.component),
            t("See its messages"),
        );
    }
    for component in seen
        .components
        .iter()
        .filter(|component| component.state_code == 2)
    {
        let text = html! { (component.name) " " (t("failed and waits for its next try")) ": " (component.last_result) };
        note(
            "warn",
            text,
            &format!("/components/{}", component.name),
            t("See the component"),
        );
    }
    for update in &seen.updates {
        if let Some(failure) = &update.failure {
            let text = html! { (update.name) ": " (failure)
            @if let Some(next) = update.next_attempt_at { " " (t("Next try")) " " (page.time(next)) } };
            note(
                "warn",
                text,
                &format!("/updates/{}", update.guid),
                t("See the update"),
            );
        }
    }
    for status in seen.health.iter().filter(|status| status.status == "Warning") {
        let text = html! { (status.component) " " (t("is at Warning")) ": " (status.warning) " " (t("warnings")) ", " (status.error) " " (t("errors since")) " " (page.time(status.since)) };
        note(
            "warn",
            text,
            &format!("/messages?component={}", status.component),
            t("See its messages"),
        );
    }
    notes
}

fn site_card(page: &Page, site: &SiteShow) -> Markup {
    html! {
        section class="card" {
            h3 { (t("Site")) }
            p class="big" { (site.site_code) " " (site.name) }
            dl {
                dt { (t("Version")) } dd { (site.version) }
                dt { (t("Type")) } dd { (site.site_type) }
                dt { (t("Mode")) } dd { (site.mode_effective) @if site.mode_configured != site.mode_effective { " → " (site.mode_configured) " " (t("after a restart of SMS_DMP_DOWNLOADER")) } }
                dt { (t("Running since")) } dd { (page.time(site.running_since)) }
                dt { (t("Free space")) } dd { (words::bytes(site.free_bytes)) }
            }
        }
    }
}

fn sync_card(page: &Page, site: &SiteShow) -> Markup {
    let sync = &site.sync;
    html! {
        section class="card" {
            h3 { (t("Connected service")) }
            @if let Some(failure) = &site.sync.failure {
                div class="note bad" { p { (t("The last check for updates failed")) ": " (failure) } p { a href="/internet" { (t("Check internet access")) } } }
            }
            p class="faint" { (site.feed_url) }
            dl {
                dt { (t("Last good check")) } dd { (page.time_or(sync.succeeded_at, t("never"))) }
                dt { (t("Next check")) } dd { @if sync.running { (badge("info", t("running"))) } @else { (page.time_or(sync.next_at, t("not planned"))) } }
                @for role in &sync.trusted { dt { (role.role) " " (role.version) } dd { (t("expires")) " " (page.time(role.expires)) } }
            }
            @if page.may_change(ObjectClass::Site) { div class="actions" { (page.button("/check", t("Check for updates"), "", &[])) } }
        }
    }
}

fn components_card(seen: &Seen) -> Markup {
    let of = |status: &str| seen.health.iter().filter(|one| one.status == status).count();
    let active: Vec<&ComponentInfo> = seen
        .components
        .iter()
        .filter(|component| {
            component.active && !component.activity.is_empty() && component.name != "SMS_EXECUTIVE"
        })
        .collect();
    html! {
        section class="card" {
            h3 { a href="/components" { (t("Components")) } }
            p { (badge("good", &format!("{} OK", of("OK")))) " " (badge("warn", &format!("{} Warning", of("Warning")))) " " (badge("bad", &format!("{} Critical", of("Critical")))) }
            @if active.is_empty() { p class="faint" { (t("Nothing is being done at this moment.")) } }
            ul { @for component in active { li { (component.name) ": " (component.activity) } } }
        }
    }
}

fn updates_table(page: &Page, updates: &[UpdateSummary]) -> Markup {
    let rows = updates
        .iter()
        .take(10)
        .map(|update| {
            html! {
                td { a href={ "/updates/" (update.guid) } { (update.name) } }
                td { (update.full_version) }
                td { (state_badge(update)) }
                td { (page.time(update.since)) }
            }
        })
        .collect();
    table(
        t("Offered and installed updates"),
        &[t("Name"), t("Version"), t("State"), t("Since")],
        rows,
        t("No update is offered."),
    )
}

pub(super) async fn check_now(page: Page) -> Response {
    match page.service.check_now(page.actor()).await {
        Ok(()) => back("/overview", "asked"),
        Err(failure) => page.problem(&failure),
    }
}

#[derive(Deserialize)]
pub(super) struct Sought {
    #[serde(default)]
    q: String,
}

/// Most results of a kind.
const RESULTS_MAX: usize = 50;

pub(super) async fn search(page: Page, Query(sought): Query<Sought>) -> Response {
    let word = sought.q.trim().to_lowercase();
    let updates = match page.service.updates(true).await {
        Ok(updates) => updates,
        Err(failure) => return page.problem(&failure),
    };
    let components = page.service.components().await.unwrap_or_default();
    let found: Vec<Markup> = updates
        .iter()
        .filter(|update| {
            !word.is_empty()
                && (update.name.to_lowercase().contains(&word)
                    || update.full_version.contains(&word)
                    || update.guid.to_lowercase().contains(&word))
        })
        .take(RESULTS_MAX)
        .map(|update| {
            html! { td { a href={ "/updates/" (update.guid) } { (update.name) } } td { (update.full_version) } td { (state_badge(update)) } }
        })
        .collect();
    let named: Vec<&ComponentInfo> = components
        .iter()
        .filter(|component| {
            !word.is_empty()
                && (component.name.to_lowercase().contains(&word)
                    || component.description.to_lowercase().contains(&word))
        })
        .collect();
    page.show(
        t("Search"),
        html! {
            p { (t("Results for")) " “" (sought.q) "”" }
            @if let Ok(id) = word.parse::<u32>() { p { a href={ "/messages?period=all&id=" (id) } { (t("Status messages with the id")) " " (id) } } }
            h2 { (t("Updates")) }
            (table(t("Updates that match"), &[t("Name"), t("Version"), t("State")], found, t("None.")))
            h2 { (t("Components")) }
            ul { @for component in &named { li { a href={ "/components/" (component.name) } { (component.name) } " " span class="faint" { (component.description) } " " (badge(colour(&component.state), &component.state)) } } }
            @if named.is_empty() { p class="faint" { (t("None.")) } }
        },
    )
}
