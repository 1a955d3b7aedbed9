//! Internet access: the last run by phase, the history as a plot and a table, a report for whoever runs the firewall.

use axum::response::{IntoResponse, Response};
use domain::access::ObjectClass;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use maud::{Markup, html};
use pages::parts::{badge, table};
use pages::plot::{Bar, bars};
use protocol::api::EndpointRunInfo;
use protocol::connectivity::{CheckReport, TargetReport};

use super::catalogue::t;
use super::page::{Page, back, colour};
use crate::service::ServiceError;

/// Runs in the history.
const RUNS: u32 = 60;

pub(super) async fn show(page: Page) -> Response {
    let history = match page.service.internet_history(RUNS).await {
        Ok(history) => history,
        Err(failure) => return page.problem(&failure),
    };
    let last = match page.service.internet().await {
        Ok(report) => Some(report),
        Err(ServiceError::NotFound { .. }) => None,
        Err(failure) => return page.problem(&failure),
    };
    page.show_live(
        t("Internet access"),
        html! {
            div class="actions" {
                @if page.may_change(ObjectClass::ServiceConnectionPoint) { (page.button("/internet", t("Check now"), "", &[])) }
                @if last.is_some() { a class="button plain" href="/internet/report" { (t("Report for the firewall team")) } }
            }
            @match &last { Some(report) => (run(&page, report)), None => p class="faint" { (t("It was not checked yet.")) } }
            (past(&page, &history))
        },
    )
}

fn run(page: &Page, report: &CheckReport) -> Markup {
    html! {
        p { (badge(colour(&report.outcome), &report.outcome)) " " (report.summary) " " (page.time(report.started_at)) }
        @for target in &report.results { (target_card(target)) }
    }
}

fn target_card(target: &TargetReport) -> Markup {
    let rows = target
        .phases
        .iter()
        .map(|phase| {
            html! {
                td { (phase.phase) } td { (badge(colour(&phase.result), &phase.result)) }
                td class="number" { @if let Some(ms) = phase.ms { (format!("{ms:.1} ms")) } } td { (phase.detail) }
            }
        })
        .collect();
    html! {
        details open[target.fault.is_some()] {
            summary { (badge(colour(&target.result), &target.result)) " " (target.url) " " span class="faint" { (format!("{:.0} ms", target.took_ms)) } @if target.critical { " " (t("critical")) } }
            @if let Some(fault) = &target.fault {
                div class="note bad" { p { strong { (fault.code) } ": " (fault.evidence) } p { (t("Who has to act")) ": " (fault.party) ". " (fault.advice) } }
            }
            (table(t("Phases of the connection"), &[t("Phase"), t("Result"), t("Time"), t("Detail")], rows, ""))
        }
    }
}

fn past(page: &Page, history: &[EndpointRunInfo]) -> Markup {
    let in_order: Vec<Bar> = history
        .iter()
        .rev()
        .map(|run| Bar {
            value: run.took_ms as f64,
            class: match colour(&run.outcome) {
                "good" => "mark-good",
                "bad" => "mark-bad",
                _ => "mark-warn",
            },
            name: format!("{}: {}, {} ms", run.started_at, run.outcome, run.took_ms),
        })
        .collect();
    let rows = history
        .iter()
        .map(|run| {
            html! { td { (page.clock_time(run.started_at)) } td { (badge(colour(&run.outcome), &run.outcome)) } td class="number" { (run.took_ms) " ms" } td { (run.cause) } td { (run.summary) } }
        })
        .collect();
    html! {
        h2 { (t("History")) }
        @if !in_order.is_empty() { (bars(t("Duration and outcome of past checks, oldest first"), "ms", &in_order)) }
        (table(t("Past checks, newest first"), &[t("Time"), t("Outcome"), t("Took"), t("Cause"), t("Summary")], rows, t("There are none.")))
    }
}

pub(super) async fn check(page: Page) -> Response {
    match page.service.check_internet(page.actor()).await {
        Ok(_) => back("/internet", "checked"),
        Err(failure) => page.problem(&failure),
    }
}

/// The same as a text that can be sent on: what was tried, what failed, who has to act.
pub(super) async fn report(page: Page) -> Response {
    let report = match page.service.internet().await {
        Ok(report) => report,
        Err(failure) => return page.problem(&failure),
    };
    let mut text = format!(
        "Internet access of {} at {}\n{}: {}\nproxy: {}\n\n",
        report.server,
        report.started_at,
        report.outcome,
        report.summary,
        report.proxy.as_deref().unwrap_or("none")
    );
    for target in &report.results {
        text.push_str(&format!(
            "{}  {}:{}  {}\n",
            target.result, target.host, target.port, target.url
        ));
        if let Some(fault) = &target.fault {
            text.push_str(&format!(
                "    {} in phase {}: {}\n    to be mended by: {}. {}\n",
                fault.code, fault.phase, fault.evidence, fault.party, fault.advice
            ));
        }
    }
    let headers = [
        (CONTENT_TYPE, "text/plain; charset=utf-8"),
        (
            CONTENT_DISPOSITION,
            "attachment; filename=\"internet-access.txt\"",
        ),
    ];
    (headers, text).into_response()
}
