//! System Status: room on the site systems, thresholds of component status, status filter rules, and who was told.

use axum::Form;
use axum::extract::Path;
use axum::response::Response;
use domain::access::ObjectClass;
use domain::component::ComponentName;
use maud::{Markup, html};
use pages::parts::{badge, field, table};
use protocol::api::{
    AlertsInfo, StatusRule, StatusRuleActions, StatusRuleAddRequest, StatusRuleChangeRequest,
    StatusRuleCriteria, SystemInfo, ThresholdInfo, ThresholdRequest,
};
use serde::Deserialize;

use super::catalogue::t;
use super::page::{Page, back, colour};
use crate::service::ServiceError;
use crate::words;

/// Alerts shown.
const ALERTS: u32 = 100;

pub(super) async fn show(page: Page) -> Response {
    let found = async {
        let service = &page.service;
        Ok::<_, ServiceError>((
            service.systems().await?,
            service.thresholds().await?,
            service.status_rules().await?,
            service.alerts(ALERTS).await?,
        ))
    };
    let (systems, thresholds, rules, alerts) = match found.await {
        Ok(found) => found,
        Err(failure) => return page.problem(&failure),
    };
    let may = page.may_change(ObjectClass::StatusMessages);
    page.show(
        t("System Status"),
        html! {
            h2 { (t("Site systems")) }
            (system_table(&page, &systems))
            h2 { (t("Thresholds of component status")) }
            (threshold_table(&page, &thresholds, may))
            @if may { (threshold_form(&page)) }
            h2 { (t("Status filter rules")) }
            (rule_table(&page, &rules, may))
            @if may { (rule_form(&page, &alerts)) }
            h2 { (t("Alerts")) }
            (alert_table(&page, &alerts))
        },
    )
}

fn system_table(page: &Page, systems: &[SystemInfo]) -> Markup {
    let bytes =
        |kib: Option<u64>| kib.map_or_else(|| "-".to_owned(), |kib| words::bytes(kib.saturating_mul(1024)));
    let rows = systems
        .iter()
        .map(|system| {
            html! {
                td { (system.object) div class="faint" { (system.place.as_deref().unwrap_or_default()) } }
                td { @if let Some(status) = &system.status { (badge(colour(status), status)) } @else { (t("not looked at yet")) } }
                td class="number" { (bytes(system.free_kib)) } td class="number" { (bytes(system.total_kib)) }
                td class="number" { (bytes(Some(system.warning_below_kib))) } td class="number" { (bytes(Some(system.critical_below_kib))) }
                td { (page.time_or(system.checked_at, "-")) }
            }
        })
        .collect();
    table(
        t("Free space, looked at every hour"),
        &[
            t("Object"),
            t("Status"),
            t("Free"),
            t("Total"),
            t("Warning below"),
            t("Critical below"),
            t("Checked"),
        ],
        rows,
        t("Nothing was looked at yet."),
    )
}

fn threshold_table(page: &Page, thresholds: &[ThresholdInfo], may: bool) -> Markup {
    let rows = thresholds
        .iter()
        .filter(|threshold| threshold.component == "all" || threshold.set)
        .map(|threshold| {
            html! {
                td { (threshold.component) } td { (threshold.severity) }
                td class="number" { (threshold.warning_at) } td class="number" { (threshold.critical_at) }
                td { @if may && threshold.set { (page.button(&format!("/system-status/thresholds/{}", threshold.component), t("Take back"), "plain", &[("reset", "on")])) } }
            }
        })
        .collect();
    table(
        t("Counts at which a component turns Warning or Critical"),
        &[
            t("Component"),
            t("Severity"),
            t("Warning at"),
            t("Critical at"),
            t("Action"),
        ],
        rows,
        "",
    )
}

fn component_select(name: &str, first: &str) -> Markup {
    html! { select name=(name) { option value=(first) { (t("all")) } @for component in ComponentName::ALL { option value=(component.as_str()) { (component.as_str()) } } } }
}

fn severity_select(any: bool) -> Markup {
    html! { select name="severity" { @if any { option value="" { (t("all")) } } @for word in ["error", "warning", "informational"] { option value=(word) { (word) } } } }
}

fn threshold_form(page: &Page) -> Markup {
    html! {
        form method="post" action="/system-status/thresholds/all" class="filters" {
            (page.csrf())
            label { (t("Component")) (component_select("component", "all")) }
            label { (t("Severity")) (severity_select(false)) }
            label { (t("Warning at")) input name="warning_at" inputmode="numeric" size="6" required; }
            label { (t("Critical at")) input name="critical_at" inputmode="numeric" size="6" required; }
            button class="plain" { (t("Set")) }
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Threshold {
    #[serde(default)]
    component: String,
    #[serde(default)]
    severity: String,
    #[serde(default)]
    warning_at: String,
    #[serde(default)]
    critical_at: String,
    reset: Option<String>,
}

pub(super) async fn set_threshold(
    page: Page,
    Path(name): Path<String>,
    Form(form): Form<Threshold>,
) -> Response {
    let number = |text: &str| {
        text.parse::<u64>().map_err(|_| ServiceError::Invalid {
            message: format!("{text:?} is no number"),
            hint: None,
        })
    };
    let done = async {
        if form.reset.is_some() {
            return page.service.reset_thresholds(&name, page.actor()).await.map(drop);
        }
        let request = ThresholdRequest {
            severity: form.severity,
            warning_at: number(&form.warning_at)?,
            critical_at: number(&form.critical_at)?,
        };
        page.service
            .set_threshold(&form.component, &request, page.actor())
            .await
            .map(drop)
    };
    match done.await {
        Ok(()) => back("/system-status", "saved"),
        Err(failure) => page.problem(&failure),
    }
}

fn rule_table(page: &Page, rules: &[StatusRule], may: bool) -> Markup {
    let rows = rules
        .iter()
        .enumerate()
        .map(|(at, rule)| {
            let to = format!("/system-status/rules/{}", url::form_urlencoded::byte_serialize(rule.name.as_bytes()).collect::<String>().replace('+', "%20"));
            let (up, down) = (at.to_string(), (at + 2).to_string());
            html! {
                td class="number" { (at + 1) }
                td { (rule.name) " " @if !rule.enabled { (badge("info", t("off"))) } }
                td { (criteria_words(&rule.criteria)) } td { (action_words(&rule.actions)) }
                td { @if may { div class="actions" {
                    @if at > 0 { (page.button(&to, t("Up"), "plain", &[("place", &up)])) }
                    @if at + 1 < rules.len() { (page.button(&to, t("Down"), "plain", &[("place", &down)])) }
                    @if rule.enabled { (page.button(&to, t("Switch off"), "plain", &[("enabled", "false")])) } @else { (page.button(&to, t("Switch on"), "plain", &[("enabled", "true")])) }
                    (page.button(&to, t("Remove"), "plain", &[("remove", "on")]))
                } } }
            }
        })
        .collect();
    table(
        t("Rules, in the order in which a message meets them"),
        &[t("Place"), t("Name"), t("Criteria"), t("Actions"), t("Action")],
        rows,
        t("There are none: every message is written and counted."),
    )
}

fn criteria_words(criteria: &StatusRuleCriteria) -> String {
    let pairs = [
        (t("source"), criteria.source.clone()),
        (t("site"), criteria.site_code.clone()),
        (t("system"), criteria.system.clone()),
        (t("component"), criteria.component.clone()),
        (t("type"), criteria.message_type.clone()),
        (t("severity"), criteria.severity.clone()),
        (t("id"), criteria.message_id.map(|id| id.to_string())),
        (t("property"), criteria.property.clone()),
        (t("value"), criteria.property_value.clone()),
    ];
    let given = pairs
        .into_iter()
        .filter_map(|(name, value)| Some(format!("{name} {}", value?)));
    given.collect::<Vec<_>>().join(", ")
}

fn action_words(actions: &StatusRuleActions) -> String {
    let mut all = Vec::new();
    if actions.write {
        let days = actions
            .write_days
            .map(|days| format!(" ({days} d)"))
            .unwrap_or_default();
        all.push(format!("{}{days}", t("write")));
    }
    if actions.do_not_forward {
        all.push(t("do not count").to_owned());
    }
    all.extend(
        actions
            .alert
            .iter()
            .map(|target| format!("{} {target}", t("alert by"))),
    );
    if actions.stop {
        all.push(t("look at no lower rule").to_owned());
    }
    all.join(", ")
}

fn rule_form(page: &Page, alerts: &AlertsInfo) -> Markup {
    html! {
        form method="post" action="/system-status/rules" {
            (page.csrf())
            fieldset {
                legend { (t("Add a rule")) }
                (field("name", t("Name"), "", "off"))
                div class="filters" {
                    label { (t("Component")) (component_select("component", "")) }
                    label { (t("Severity")) (severity_select(true)) }
                    label { (t("Message id")) input name="message_id" inputmode="numeric" size="6"; }
                }
                label class="check" { input type="checkbox" name="write" checked; span { (t("Write to the database")) } }
                label class="check" { input type="checkbox" name="do_not_forward"; span { (t("Do not count for component status")) } }
                @for target in &alerts.targets { label class="check" { input type="checkbox" name="alert" value=(target.target); span { (t("Alert by")) " " (target.target) @if target.place.is_none() { " " span class="faint" { (t("(not configured in tidegate.toml)")) } } } } }
                label class="check" { input type="checkbox" name="stop"; span { (t("Look at no lower rule")) } }
                button { (t("Add")) }
            }
        }
    }
}

pub(super) async fn add_rule(page: Page, Form(fields): Form<Vec<(String, String)>>) -> Response {
    let first = |name: &str| {
        let found = fields
            .iter()
            .find(|(field, value)| field == name && !value.is_empty());
        found.map(|(_, value)| value.clone())
    };
    let message_id = match first("message_id").map(|id| id.trim().parse()).transpose() {
        Ok(id) => id,
        // Left out, the rule would catch everything else that fits.
        Err(_) => {
            return page.problem(&ServiceError::Invalid {
                message: "a message id is a number".into(),
                hint: Some("docs/reference/status-messages.md lists them".into()),
            });
        }
    };
    let rule = StatusRule {
        name: first("name").unwrap_or_default(),
        enabled: true,
        criteria: StatusRuleCriteria {
            component: first("component"),
            severity: first("severity"),
            message_id,
            ..StatusRuleCriteria::default()
        },
        actions: StatusRuleActions {
            write: first("write").is_some(),
            do_not_forward: first("do_not_forward").is_some(),
            alert: fields
                .iter()
                .filter(|(field, _)| field == "alert")
                .map(|(_, value)| value.clone())
                .collect(),
            stop: first("stop").is_some(),
            ..StatusRuleActions::default()
        },
    };
    let request = StatusRuleAddRequest { rule, place: None };
    match page.service.add_status_rule(request, page.actor()).await {
        Ok(_) => back("/system-status", "saved"),
        Err(failure) => page.problem(&failure),
    }
}

#[derive(Deserialize)]
pub(super) struct RuleChange {
    place: Option<u32>,
    enabled: Option<bool>,
    remove: Option<String>,
}

pub(super) async fn change_rule(
    page: Page,
    Path(name): Path<String>,
    Form(form): Form<RuleChange>,
) -> Response {
    let changed = match form.remove {
        Some(_) => page.service.remove_status_rule(name, page.actor()).await,
        None => {
            let request = StatusRuleChangeRequest {
                place: form.place,
                enabled: form.enabled,
            };
            page.service
                .change_status_rule(&name, &request, page.actor())
                .await
        }
    };
    match changed {
        Ok(_) => back("/system-status", "saved"),
        Err(failure) => page.problem(&failure),
    }
}

fn alert_table(page: &Page, alerts: &AlertsInfo) -> Markup {
    let rows = alerts
        .alerts
        .iter()
        .map(|alert| {
            html! {
                td { (page.clock_time(alert.time)) } td { (alert.target) } td { (alert.rule) } td { (alert.text) }
                td { (badge(colour(&alert.state), &alert.state)) }
                td { (alert.failure.as_deref().unwrap_or_default()) @if let Some(next) = alert.next_attempt { " " (t("Next try")) " " (page.time(next)) } }
            }
        })
        .collect();
    html! {
        @if alerts.left_out > 0 { div class="note warn" { p { (alerts.left_out) " " (t("alerts were left out because too many waited")) } } }
        (table(t("Alerts, newest first"), &[t("Time"), t("Target"), t("Rule"), t("Text"), t("State"), t("Detail")], rows, t("Nobody was told of anything.")))
    }
}
