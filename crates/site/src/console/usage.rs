//! Usage data: level and sending, what each level would send side by side, and the ledger of what left.

use axum::Form;
use axum::extract::Query;
use axum::response::Response;
use domain::access::ObjectClass;
use domain::usage_data::Level;
use maud::{Markup, html};
use pages::parts::{badge, table};
use protocol::api::{LIMIT_MAX, LedgerQuery, UsageReportInfo};
use serde::Deserialize;

use super::catalogue::t;
use super::page::{Page, back, colour};
use crate::service::ServiceError;
use crate::words;

pub(super) async fn show(page: Page) -> Response {
    let usage = match page.service.usage_show().await {
        Ok(usage) => usage,
        Err(failure) => return page.problem(&failure),
    };
    let may = page.may_change(ObjectClass::UsageData);
    page.show(
        t("Usage data"),
        html! {
            p { (t("Level")) ": " (badge("info", &usage.level)) " " (t("Sending")) ": " (badge("info", &usage.sending)) }
            @match (&usage.intake, &usage.intake_problem) {
                (Some(intake), None) => p { (t("It goes to")) " " (intake) },
                (_, Some(problem)) => div class="note warn" { p { (problem) } },
                (None, None) => p class="faint" { (t("The feed names no place that takes usage data; nothing leaves.")) },
            }
            p { (t("Next collection")) " " (page.time(usage.next_collection)) }
            div class="actions" {
                a class="button plain" href="/usage/preview" { (t("Preview, level beside level")) }
                a class="button plain" href="/usage/ledger" { (t("Ledger of what left")) }
                @if may { (page.button("/usage", t("Collect now"), "plain", &[("what", "collect")])) (page.button("/usage", t("Send now"), "plain", &[("what", "upload")])) }
            }
            @if may {
                div class="columns" {
                    (choice(&page, "level", t("Level"), &usage.level, &[("basic", t("Basic")), ("enhanced", t("Enhanced")), ("full", t("Full"))]))
                    (choice(&page, "sending", t("Sending"), &usage.sending, &[("automatic", t("automatic")), ("hold", t("each report waits for approval")), ("never", t("nothing is sent"))]))
                }
            }
            h2 { (t("Reports")) }
            (reports(&page, &usage.reports, may))
        },
    )
}

fn choice(page: &Page, what: &str, title: &str, now: &str, values: &[(&str, &str)]) -> Markup {
    html! {
        form method="post" action="/usage" {
            (page.csrf())
            input type="hidden" name="what" value=(what);
            fieldset {
                legend { (title) }
                @for (value, label) in values { label class="check" { input type="radio" name="value" value=(value) checked[*value == now]; span { (label) } } }
                button class="plain" { (t("Save")) }
            }
        }
    }
}

fn reports(page: &Page, reports: &[UsageReportInfo], may: bool) -> Markup {
    let rows = reports
        .iter()
        .map(|report| {
            html! {
                td { (page.time(report.collected)) } td { (report.level) } td { (badge(colour(&report.state), &report.state)) }
                td class="number" { (words::bytes(report.bytes)) }
                td { (report.failure.as_deref().unwrap_or_default()) @if let Some(next) = report.next_attempt { " " (t("Next try")) " " (page.time(next)) } }
                td { @if may && report.state == "held" { (page.button("/usage", t("Approve"), "plain", &[("what", "approve"), ("value", &report.report)])) " " (page.button("/usage", t("Discard"), "plain", &[("what", "discard"), ("value", &report.report)])) } }
            }
        })
        .collect();
    table(
        t("Collected reports, newest first"),
        &[
            t("Collected"),
            t("Level"),
            t("State"),
            t("Size"),
            t("Detail"),
            t("Action"),
        ],
        rows,
        t("None was collected yet."),
    )
}

#[derive(Deserialize)]
pub(super) struct Change {
    what: String,
    #[serde(default)]
    value: String,
}

pub(super) async fn change(page: Page, Form(form): Form<Change>) -> Response {
    let (service, actor) = (&page.service, page.actor());
    let changed = match form.what.as_str() {
        "level" => service.set_usage_level(&form.value, actor).await.map(drop),
        "sending" => service.set_usage_sending(&form.value, actor).await.map(drop),
        "collect" => service.usage_collect(actor).await.map(drop),
        "upload" => service.usage_upload(actor).await,
        "approve" => service.usage_approve(&form.value, actor).await.map(drop),
        "discard" => service.usage_discard(&form.value, actor).await.map(drop),
        other => Err(ServiceError::Invalid {
            message: format!("{other:?} is nothing that is done with usage data"),
            hint: None,
        }),
    };
    let done = match form.what.as_str() {
        "level" | "sending" => "saved",
        _ => "asked",
    };
    match changed {
        Ok(()) => back("/usage", done),
        Err(failure) => page.problem(&failure),
    }
}

#[derive(Deserialize)]
pub(super) struct Levels {
    left: Option<String>,
    right: Option<String>,
}

/// The very bytes that would leave, at two levels.
pub(super) async fn preview(page: Page, Query(levels): Query<Levels>) -> Response {
    let left = levels.left.unwrap_or_else(|| "basic".to_owned());
    let right = levels.right.unwrap_or_else(|| "full".to_owned());
    let mut sides = Vec::new();
    for level in [&left, &right] {
        match page.service.usage_preview(Some(level)).await {
            Ok(text) => sides.push((level.clone(), text)),
            Err(failure) => return page.problem(&failure),
        }
    }
    page.show(
        t("Preview of usage data"),
        html! {
            p { (t("Exactly these bytes would be sent now; `tidegate usage explain` says what each means.")) }
            form class="filters" {
                @for (name, label, now) in [("left", t("Left"), &left), ("right", t("Right"), &right)] {
                    label { (label) select name=(name) { @for level in Level::ALL { option value=(level.as_str()) selected[level.as_str() == now] { (level.as_str()) } } } }
                }
                button class="plain" { (t("Show")) }
            }
            div class="columns" { @for (level, text) in &sides { section { h2 { (level) " " span class="faint" { (words::bytes(text.len() as u64)) } } pre tabindex="0" { (text) } } } }
        },
    )
}

pub(super) async fn ledger(page: Page) -> Response {
    // The newest ones; the command line exports all of them.
    let checked = match page.service.usage_ledger_state().await {
        Ok(checked) => checked,
        Err(failure) => return page.problem(&failure),
    };
    let query = LedgerQuery {
        after: checked.entries.saturating_sub(u64::from(LIMIT_MAX)),
        limit: Some(LIMIT_MAX),
        ..LedgerQuery::default()
    };
    let entries = match page.service.usage_ledger(query).await {
        Ok(entries) => entries,
        Err(failure) => return page.problem(&failure),
    };
    let rows = entries
        .iter()
        .map(|entry| {
            html! {
                td class="number" { (entry.number) } td { (page.clock_time(entry.at)) } td { (entry.event) } td { (entry.level) }
                td class="number" { (words::bytes(entry.bytes)) } td { (entry.report) } td { (entry.detail) }
            }
        })
        .collect();
    page.show(
        t("Ledger of usage data"),
        html! {
            @match &checked.broken {
                Some(broken) => div class="note bad" { p { (broken) } },
                None => p { (badge("good", t("whole"))) " " (checked.entries) " " (t("entries, each with the hash of the one before it")) },
            }
            (table(t("Everything that left, oldest first"), &[t("Number"), t("Time"), t("Event"), t("Level"), t("Size"), t("Report"), t("Detail")], rows, t("Nothing left yet.")))
        },
    )
}
