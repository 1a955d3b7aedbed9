//! Updates and Servicing: the list, a package with its conditions and its plan, features, history.

use axum::Form;
use axum::extract::{Path, Query};
use axum::response::Response;
use domain::access::ObjectClass;
use domain::servicing::state::PackageState;
use domain::servicing::transition::PackageEvent;
use maud::{Markup, html};
use pages::parts::{badge, table};
use protocol::api::{
    DeliveryPart, FeatureInfo, HistoryEntry, LIMIT_MAX, UpdateDetail, UpdateSummary, WhyReport,
};
use serde::Deserialize;

use super::catalogue::t;
use super::page::{Page, back, colour};
use crate::service::ServiceError;
use crate::words;

/// Packages on one page.
const PAGE_ROWS: usize = 100;

/// The state of a package in its colour.
pub(super) fn state_badge(update: &UpdateSummary) -> Markup {
    let class = match PackageState::from_code(update.state.code) {
        Some(PackageState::InstallSuccess) => "good",
        Some(state) if state.is_hidden() => "info",
        _ if update.state.label.contains("ailed") => "bad",
        _ => "info",
    };
    html! {
        (badge(class, &update.state.label))
        @if let Some(transfer) = &update.transfer {
            @let percent = transfer.done.saturating_mul(100) / transfer.total.max(1);
            div {
                progress max="100" value=(percent) aria-label=(t("Download")) {}
                " " (percent) " % · " (words::bytes(transfer.done)) " / " (words::bytes(transfer.total))
                @if let Some(rate) = transfer.rate.filter(|rate| *rate > 0) {
                    " · " (words::bytes(rate)) "/s · " (words::span(transfer.total.saturating_sub(transfer.done) / rate)) " " (t("left"))
                }
            }
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Listed {
    #[serde(default)]
    all: bool,
    after: Option<String>,
}

pub(super) async fn list(page: Page, Query(listed): Query<Listed>) -> Response {
    let after = listed.after.as_deref().and_then(|guid| guid.parse().ok());
    let found = match page.service.updates_page(listed.all, after, PAGE_ROWS).await {
        Ok(found) => found,
        Err(failure) => return page.problem(&failure),
    };
    let older = found.updates.last().filter(|_| found.more).map(|last| &last.guid);
    let rows = found
        .updates
        .iter()
        .map(|update| {
            html! {
                td { a href={ "/updates/" (update.guid) } { (update.name) } }
                td { (update.full_version) }
                td { (update.update_type) }
                td { (state_badge(update)) @if update.newest { " " (badge("info", t("newest"))) } }
                td { (update.reason) @if let Some(blocker) = &update.blocked_by { " " a href={ "/updates/" (blocker) } { (t("waits for another update")) } } }
                td { (page.time(update.since)) }
                td class="number" { (words::bytes(update.download_bytes)) }
            }
        })
        .collect();
    let all = if listed.all { "true" } else { "false" };
    page.show_live(
        t("Updates and Servicing"),
        html! {
            div class="actions" {
                @if page.may_change(ObjectClass::Site) { (page.button("/check", t("Check for updates"), "", &[])) }
                @if listed.all { a class="button plain" href="/updates" { (t("Only what is offered")) } }
                @else { a class="button plain" href="/updates?all=true" { (t("Everything, with what does not apply")) } }
                a class="button plain" href="/updates/history" { (t("History")) }
                a class="button plain" href="/updates/status" { (t("Status")) }
            }
            (table(t("Update packages, newest first"),
                &[t("Name"), t("Version"), t("Type"), t("State"), t("Reason"), t("Since"), t("Download")],
                rows, t("No update is offered. Check for updates, or look at everything to see why not.")))
            div class="actions" {
                @if after.is_some() { a class="button plain" href={ "/updates?all=" (all) } { (t("Newest")) } }
                @if let Some(older) = older { a class="button plain" href={ "/updates?all=" (all) "&after=" (older) } { (t("Older")) } }
            }
        },
    )
}

pub(super) async fn show(page: Page, Path(guid): Path<String>) -> Response {
    let found =
        async { Ok::<_, ServiceError>((page.service.update(&guid).await?, page.service.why(&guid).await?)) };
    let (detail, why) = match found.await {
        Ok(found) => found,
        Err(failure) => return page.problem(&failure),
    };
    let title = format!("{} {}", detail.summary.name, detail.summary.full_version);
    page.show_live(
        &title,
        html! {
            p { (state_badge(&detail.summary)) " " (t("since")) " " (page.time(detail.summary.since)) }
            @if !detail.summary.reason.is_empty() { p { (detail.summary.reason) } }
            @if let Some(failure) = &detail.summary.failure {
                div class="note warn" { p { (failure) } @if let Some(next) = detail.summary.next_attempt_at { p { (t("Next try")) " " (page.time(next)) } } }
            }
            @if let Some(why) = &detail.withdrawn { div class="note bad" { p { (t("The vendor withdrew this package")) ": " (why) } } }
            (actions(&page, &detail))
            p { (detail.description) }
            div class="cards" { (facts(&page, &detail)) (delivery(&detail)) }
            (conditions(&why))
            (feature_table(&page, &detail.features))
            (redistributables(&detail))
            @if let Some(eula) = &detail.eula { details { summary { (t("Licence terms")) } pre { (eula) } } }
            h2 { (t("History")) }
            (history_table(&page, &detail.history, false))
        },
    )
}

/// What may be done with a package in its state, as the domain says.
fn actions(page: &Page, detail: &UpdateDetail) -> Markup {
    let state = PackageState::from_code(detail.summary.state.code);
    let Some(state) = state.filter(|_| page.may_change(ObjectClass::UpdatePackages)) else {
        return html! {};
    };
    let takes = |event| state.next(event).is_ok();
    let act = format!("/updates/{}/act", detail.summary.guid);
    let button = |label: &str, what: &str| page.button(&act, label, "plain", &[("what", what)]);
    html! {
        div class="actions" {
            @if takes(PackageEvent::Start) {
                a class="button" href={ "/updates/" (detail.summary.guid) "/wizard" } { (t("Install Update Pack")) }
                (button(t("Run prerequisite check"), "prereq"))
            }
            @if takes(PackageEvent::DownloadStarted) { (button(t("Download"), "download")) }
            @if takes(PackageEvent::Retried) { (button(t("Retry installation"), "retry")) }
            @if takes(PackageEvent::WarningsIgnored) { (button(t("Ignore prerequisite warnings"), "ignore-warnings")) }
            @if takes(PackageEvent::Reset) { (button(t("Reset"), "reset")) }
            a class="button plain" href={ "/updates/status?guid=" (detail.summary.guid) } { (t("Status")) }
        }
    }
}

fn facts(page: &Page, detail: &UpdateDetail) -> Markup {
    let summary = &detail.summary;
    let list = |items: &[String]| items.join(", ");
    html! {
        section class="card" {
            h3 { (t("Package")) }
            dl {
                dt { (t("GUID")) } dd { (summary.guid) }
                dt { (t("Type")) } dd { (summary.update_type) }
                dt { (t("Released")) } dd { (page.time(summary.released)) }
                dt { (t("Impact")) } dd { (list(&detail.impact)) }
                @if let Some(version) = &detail.client_version { dt { (t("Client version")) } dd { (version) } }
                @if let Some(guid) = &detail.prerequisite { dt { (t("Prerequisite")) } dd { a href={ "/updates/" (guid) } { (guid) } } }
                @if !detail.supersedes.is_empty() { dt { (t("Supersedes")) } dd { @for guid in &detail.supersedes { a href={ "/updates/" (guid) } { (guid) } " " } } }
                @if !detail.rings.is_empty() { dt { (t("Rings")) } dd { (list(&detail.rings)) } }
                dt { (t("Roll-out")) } dd { (detail.rollout_percent) " %" @if let Some(rule) = &detail.rollout_when { " " (t("where")) " " code { (rule) } } }
            }
        }
    }
}

fn delivery(detail: &UpdateDetail) -> Markup {
    html! {
        section class="card" {
            h3 { (t("Content")) }
            dl {
                dt { (t("Files")) } dd { (detail.files) }
                dt { (t("Installed size")) } dd { (words::bytes(detail.summary.bytes)) }
                dt { (t("Download from nothing")) } dd { (words::bytes(detail.summary.download_bytes)) }
            }
            p { a href={ "/updates/" (detail.summary.guid) "/plan" } { (t("What a download would fetch now")) } }
        }
    }
}

fn conditions(why: &WhyReport) -> Markup {
    let rows = why
        .conditions
        .iter()
        .map(|condition| {
            html! {
                td { code { (condition.condition) } } td { (condition.expected) } td { (condition.actual) }
                td { (badge(colour(&condition.outcome), &condition.outcome)) }
            }
        })
        .collect();
    html! {
        h2 { (t("Why")) }
        p { (why.reason) }
        (table(t("Conditions of the package and what was found"),
            &[t("Condition"), t("Expected"), t("Actual"), t("Outcome")], rows, t("The package has no conditions.")))
    }
}

fn feature_table(page: &Page, features: &[FeatureInfo]) -> Markup {
    let rows = features
        .iter()
        .map(|feature| {
            html! {
                td { (feature.name) @if feature.pre_release { " " (badge("warn", t("pre-release"))) } }
                td { (feature.description) }
                td { @if feature.turned_on { (badge("good", t("on"))) } @else { (badge("info", t("off"))) } }
                td {
                    @if feature.available && !feature.turned_on && page.may_change_all(ObjectClass::UpdatePackages) {
                        (page.button(&format!("/updates/features/{}", feature.guid), t("Turn on"), "plain", &[]))
                    }
                }
            }
        })
        .collect();
    html! {
        h2 { (t("Features")) }
        (table(t("Optional features"), &[t("Name"), t("Description"), t("State"), t("Action")], rows, t("None.")))
    }
}

fn redistributables(detail: &UpdateDetail) -> Markup {
    if detail.redistributables.is_empty() {
        return html! {};
    }
    let rows = detail
        .redistributables
        .iter()
        .map(|redist| {
            html! {
                td { (redist.name) } td class="number" { (words::bytes(redist.length)) }
                td { (badge(colour(&redist.verdict), &redist.verdict)) } td { (redist.detail) }
            }
        })
        .collect();
    html! {
        h2 { (t("Redistributables")) }
        (table(t("Files that come with the package"), &[t("Name"), t("Size"), t("Verdict"), t("Detail")], rows, ""))
    }
}

fn history_table(page: &Page, entries: &[HistoryEntry], with_name: bool) -> Markup {
    let rows = entries
        .iter()
        .map(|entry| {
            html! {
                td { (page.clock_time(entry.time)) }
                @if with_name { td { a href={ "/updates/" (entry.guid) } { (entry.name) } } }
                td { (entry.state.label) " " span class="faint" { (entry.state.code) } }
                td { (entry.reason) }
            }
        })
        .collect();
    let named = [t("Time"), t("Name"), t("State"), t("Reason")];
    let bare = [t("Time"), t("State"), t("Reason")];
    let heads: &[&str] = if with_name { &named } else { &bare };
    table(
        t("Changes, newest first"),
        heads,
        rows,
        t("Nothing happened yet."),
    )
}

pub(super) async fn history(page: Page) -> Response {
    match page.service.history(LIMIT_MAX).await {
        Ok(entries) => page.show(t("History"), history_table(&page, &entries, true)),
        Err(failure) => page.problem(&failure),
    }
}

pub(super) async fn plan(page: Page, Path(guid): Path<String>) -> Response {
    let delivery = match page.service.delivery(&guid).await {
        Ok(delivery) => delivery,
        Err(failure) => return page.problem(&failure),
    };
    let rows = delivery
        .parts
        .iter()
        .map(|part| match part {
            DeliveryPart::Here { files, bytes } => {
                html! { td { (t("here already")) } td class="number" { (files) } td class="number" { (words::bytes(*bytes)) } td class="number" { "0 B" } }
            }
            DeliveryPart::Delta {
                base,
                files,
                bytes,
                fetched,
            } => html! {
                td { @match base { Some(base) => { (t("delta from")) " " a href={ "/updates/" (base) } { (base) } } None => { (t("delta from nothing")) } } }
                td class="number" { (files) } td class="number" { (words::bytes(*bytes)) } td class="number" { (words::bytes(*fetched)) }
            },
            DeliveryPart::Blocks { ranges, fetched } => {
                html! { td { (t("blocks")) ", " (words::counted(*ranges, "range", "ranges")) } td {} td {} td class="number" { (words::bytes(*fetched)) } }
            }
        })
        .collect();
    page.show(
        t("What a download would fetch now"),
        html! {
            p { (words::bytes(delivery.fetched)) " " (t("instead of")) " " (words::bytes(delivery.cold)) " " (t("from nothing")) }
            (table(t("Sources, chosen from signed sizes"), &[t("From"), t("Files"), t("Their bytes"), t("To fetch")], rows, t("Nothing is needed.")))
            p { a href={ "/updates/" (guid) } { (t("Back to the package")) } }
        },
    )
}

pub(super) async fn features(page: Page) -> Response {
    match page.service.features().await {
        Ok(features) => page.show_live(t("Features"), feature_table(&page, &features)),
        Err(failure) => page.problem(&failure),
    }
}

pub(super) async fn set_feature(page: Page, Path(guid): Path<String>) -> Response {
    match page.service.set_feature(&guid, true, page.actor()).await {
        Ok(()) => back("/updates/features", "asked"),
        Err(failure) => page.problem(&failure),
    }
}

#[derive(Deserialize)]
pub(super) struct Act {
    what: String,
}

pub(super) async fn act(page: Page, Path(guid): Path<String>, Form(act): Form<Act>) -> Response {
    let (service, actor) = (&page.service, page.actor());
    let done = match act.what.as_str() {
        "download" => service.download(&guid, actor).await,
        "prereq" => service.prereq(&guid, actor).await,
        "retry" => service.retry(&guid, actor).await,
        "ignore-warnings" => service.ignore_warnings(&guid, actor).await,
        "reset" => service.reset(&guid, false, actor).await,
        other => Err(ServiceError::Invalid {
            message: format!("{other:?} is nothing that is done with a package"),
            hint: None,
        }),
    };
    match done {
        Ok(()) => back(&format!("/updates/{guid}"), "asked"),
        Err(failure) => page.problem(&failure),
    }
}
