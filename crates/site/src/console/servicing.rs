//! Updates and Servicing Status: phases and sub-steps of each package on each site, with percent and reason.

use axum::extract::Query;
use axum::response::Response;
use maud::{Markup, html};
use pages::parts::{badge, table};
use protocol::api::{PrereqResult, SiteUpdateStatus, SubStageInfo};
use serde::Deserialize;

use super::catalogue::t;
use super::page::{Page, colour};
use super::updates::state_badge;

#[derive(Deserialize)]
pub(super) struct Wanted {
    guid: Option<String>,
}

pub(super) async fn show(page: Page, Query(wanted): Query<Wanted>) -> Response {
    let found = match page.service.update_status(wanted.guid.as_deref()).await {
        Ok(found) => found,
        Err(failure) => return page.problem(&failure),
    };
    page.show_live(
        t("Updates and Servicing Status"),
        html! {
            @if found.is_empty() { p class="faint" { (t("No package was downloaded or installed yet.")) } }
            @for status in &found { (package(&page, status)) }
        },
    )
}

fn package(page: &Page, status: &SiteUpdateStatus) -> Markup {
    let update = &status.update;
    html! {
        section class="card" aria-label=(update.name) {
            h2 { (t("Site")) " " (status.site_code) ": " a href={ "/updates/" (update.guid) } { (update.name) " " (update.full_version) } }
            p { (state_badge(update)) " " (t("since")) " " (page.time(update.since)) }
            @if !status.reason.is_empty() { p { (status.reason) } }
            (phases(page, &status.sub_stages))
            (prerequisites(&status.prerequisites))
        }
    }
}

fn phases(page: &Page, stages: &[SubStageInfo]) -> Markup {
    let rows = stages
        .iter()
        .map(|stage| {
            html! {
                td { (stage.phase) } td { (stage.name) }
                td { (badge(colour(&stage.state), &stage.state)) }
                td { progress max="100" value=(stage.progress) aria-label=(stage.name) {} " " (stage.progress) " %" }
                td { (stage.detail) } td { (page.time(stage.time)) }
            }
        })
        .collect();
    table(
        t("Phases and their steps"),
        &[
            t("Phase"),
            t("Step"),
            t("State"),
            t("Progress"),
            t("Reason"),
            t("Since"),
        ],
        rows,
        t("Nothing was done with it yet."),
    )
}

fn prerequisites(results: &[PrereqResult]) -> Markup {
    if results.is_empty() {
        return html! {};
    }
    let rows = results
        .iter()
        .map(|result| {
            html! { td { (result.name) } td { (badge(colour(&result.result), &result.result)) } td { (result.detail) } }
        })
        .collect();
    table(
        t("Prerequisite check"),
        &[t("Rule"), t("Result"), t("Detail")],
        rows,
        "",
    )
}
