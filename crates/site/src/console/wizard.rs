//! The Updates Wizard: summary, features, licence, confirmation. What was chosen travels in the form; nothing is
//! remembered here between the pages, and nothing happens before the last one.

use axum::Form;
use axum::extract::Path;
use axum::response::Response;
use maud::{Markup, html};
use pages::parts::{badge, problem_note};
use protocol::api::{InstallRequest, UpdateDetail};

use super::catalogue::t;
use super::page::{Page, back};
use crate::words;

/// The pages, in order.
const STEPS: [&str; 4] = [t("General"), t("Features"), t("Licence terms"), t("Confirm")];

/// What the pages before have chosen.
#[derive(Default)]
struct Chosen {
    step: usize,
    ignore_warnings: bool,
    features: Vec<String>,
    accepted: bool,
}

impl Chosen {
    /// From the fields of the form; features are repeated.
    fn read(fields: Vec<(String, String)>) -> Self {
        let mut chosen = Chosen::default();
        for (name, value) in fields {
            match name.as_str() {
                "step" => chosen.step = value.parse().unwrap_or(0),
                "ignore_warnings" => chosen.ignore_warnings = true,
                "feature" => chosen.features.push(value),
                "accepted" => chosen.accepted = true,
                _ => {}
            }
        }
        chosen
    }
}

pub(super) async fn show(page: Page, Path(guid): Path<String>) -> Response {
    match page.service.update(&guid).await {
        Ok(detail) => {
            let mut chosen = Chosen::default();
            let on = detail
                .features
                .iter()
                .filter(|feature| feature.default_on && !feature.turned_on);
            chosen.features.extend(on.map(|feature| feature.guid.clone()));
            wizard(&page, &detail, &chosen, None)
        }
        Err(failure) => page.problem(&failure),
    }
}

pub(super) async fn step(
    page: Page,
    Path(guid): Path<String>,
    Form(fields): Form<Vec<(String, String)>>,
) -> Response {
    let mut chosen = Chosen::read(fields);
    let detail = match page.service.update(&guid).await {
        Ok(detail) => detail,
        Err(failure) => return page.problem(&failure),
    };
    if chosen.step >= 3 && detail.eula.is_some() && !chosen.accepted {
        chosen.step = 2;
        return wizard(
            &page,
            &detail,
            &chosen,
            Some(t(
                "The licence terms have to be accepted before the installation.",
            )),
        );
    }
    if chosen.step < STEPS.len() {
        return wizard(&page, &detail, &chosen, None);
    }
    // What was on by default and unchecked here stays off.
    let off = detail
        .features
        .iter()
        .filter(|feature| feature.default_on && !chosen.features.contains(&feature.guid));
    let request = InstallRequest {
        ignore_warnings: chosen.ignore_warnings,
        features_off: off.map(|feature| feature.guid.clone()).collect(),
        features_on: chosen.features,
    };
    match page.service.install(&guid, request, page.actor()).await {
        Ok(()) => back(&format!("/updates/status?guid={guid}"), "started"),
        Err(failure) => page.problem(&failure),
    }
}

fn wizard(page: &Page, detail: &UpdateDetail, chosen: &Chosen, problem: Option<&str>) -> Response {
    let summary = &detail.summary;
    let title = format!(
        "{}: {} {}",
        t("Updates Wizard"),
        summary.name,
        summary.full_version
    );
    let last = chosen.step + 1 == STEPS.len();
    page.show(
        &title,
        html! {
            ol class="steps" { @for (number, name) in STEPS.iter().enumerate() { li aria-current=[(number == chosen.step).then_some("step")] { (name) } } }
            @if let Some(problem) = problem { (problem_note(problem, None)) }
            form method="post" action={ "/updates/" (summary.guid) "/wizard" } {
                (page.csrf())
                (carried(chosen))
                @match chosen.step { 0 => (general(detail, chosen)), 1 => (features(detail, chosen)), 2 => (licence(detail, chosen)), _ => (confirm(detail, chosen)) }
                div class="actions" {
                    button name="step" value=(chosen.step + 1) { @if last { (t("Install")) } @else { (t("Next")) } }
                    @if chosen.step > 0 { button class="plain" name="step" value=(chosen.step - 1) { (t("Back")) } }
                    a class="button plain" href={ "/updates/" (summary.guid) } { (t("Cancel")) }
                }
            }
        },
    )
}

/// What other pages than this one have chosen, as hidden fields.
fn carried(chosen: &Chosen) -> Markup {
    html! {
        @if chosen.step != 0 && chosen.ignore_warnings { input type="hidden" name="ignore_warnings" value="on"; }
        @if chosen.step != 1 { @for feature in &chosen.features { input type="hidden" name="feature" value=(feature); } }
        @if chosen.step != 2 && chosen.accepted { input type="hidden" name="accepted" value="on"; }
    }
}

fn general(detail: &UpdateDetail, chosen: &Chosen) -> Markup {
    html! {
        fieldset {
            legend { (t("General")) }
            p { (detail.description) }
            dl {
                dt { (t("Impact")) } dd { (detail.impact.join(", ")) }
                dt { (t("Installed size")) } dd { (words::bytes(detail.summary.bytes)) }
                dt { (t("State")) } dd { (badge("info", &detail.summary.state.label)) }
            }
            label class="check" { input type="checkbox" name="ignore_warnings" checked[chosen.ignore_warnings];
                span { (t("Ignore warnings of the prerequisite check and install anyway")) } }
            p class="faint" { (t("Prerequisites are checked first. If a step or the health check fails, everything is rolled back.")) }
        }
    }
}

fn features(detail: &UpdateDetail, chosen: &Chosen) -> Markup {
    html! {
        fieldset {
            legend { (t("Features to turn on")) }
            @if detail.features.is_empty() { p { (t("This package has no optional features.")) } }
            @for feature in &detail.features {
                label class="check" {
                    input type="checkbox" name="feature" value=(feature.guid) checked[chosen.features.contains(&feature.guid) || feature.turned_on] disabled[feature.turned_on];
                    span { (feature.name) @if feature.pre_release { " " (badge("warn", t("pre-release"))) } br; span class="faint" { (feature.description) } }
                }
            }
            p class="faint" { (t("A feature that is on cannot be turned off again.")) }
        }
    }
}

fn licence(detail: &UpdateDetail, chosen: &Chosen) -> Markup {
    html! {
        fieldset {
            legend { (t("Licence terms")) }
            @match &detail.eula {
                Some(text) => {
                    pre tabindex="0" { (text) }
                    label class="check" { input type="checkbox" name="accepted" checked[chosen.accepted]; span { (t("I accept the licence terms")) } }
                }
                None => { p { (t("This package has no licence terms.")) } }
            }
        }
    }
}

fn confirm(detail: &UpdateDetail, chosen: &Chosen) -> Markup {
    let names: Vec<&str> = detail
        .features
        .iter()
        .filter(|feature| chosen.features.contains(&feature.guid))
        .map(|feature| feature.name.as_str())
        .collect();
    html! {
        fieldset {
            legend { (t("Confirm")) }
            dl {
                dt { (t("Package")) } dd { (detail.summary.name) " " (detail.summary.full_version) }
                dt { (t("Prerequisite warnings")) } dd { @if chosen.ignore_warnings { (t("ignored")) } @else { (t("stop the installation")) } }
                dt { (t("Features to turn on")) } dd { @if names.is_empty() { (t("none")) } @else { (names.join(", ")) } }
            }
            p { (t("The installation begins at once on this site.")) }
        }
    }
}
