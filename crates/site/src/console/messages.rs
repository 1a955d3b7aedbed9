//! The status message viewer: filters, newest first, page by page.

use axum::extract::Query;
use axum::response::Response;
use domain::component::ComponentName;
use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};
use pages::parts::{badge, table};
use protocol::api::{StatusMessageInfo, StatusMessageQuery};
use serde::Deserialize;

use super::catalogue::t;
use super::page::{Page, colour};

/// Messages on one page.
const PAGE_ROWS: u32 = 100;
/// Periods to choose from, in hours; the first is the product's default.
const PERIODS: [(&str, &str, i64); 4] = [
    ("1d", t("1 day"), 24),
    ("1h", t("1 hour"), 1),
    ("7d", t("7 days"), 7 * 24),
    ("all", t("all"), 0),
];

#[derive(Deserialize, Default)]
pub(super) struct Filter {
    #[serde(default)]
    component: String,
    #[serde(default)]
    severity: String,
    #[serde(default)]
    id: String,
    #[serde(default)]
    period: String,
    before: Option<i64>,
}

impl Filter {
    fn query(&self, now: Timestamp) -> StatusMessageQuery {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let hours = PERIODS
            .iter()
            .find(|(word, ..)| *word == self.period)
            .map_or(PERIODS[0].2, |(.., hours)| *hours);
        StatusMessageQuery {
            component: text(&self.component),
            severity: text(&self.severity),
            id: self.id.parse().ok(),
            since: (hours > 0).then(|| now.checked_sub(SignedDuration::from_hours(hours)).unwrap_or(now)),
            before: self.before,
            limit: Some(PAGE_ROWS),
        }
    }

    /// The address of the page of older messages.
    fn older(&self, before: i64) -> String {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("component", &self.component)
            .append_pair("severity", &self.severity)
            .append_pair("id", &self.id)
            .append_pair("period", &self.period)
            .append_pair("before", &before.to_string())
            .finish();
        format!("/messages?{query}")
    }
}

pub(super) async fn show(page: Page, Query(filter): Query<Filter>) -> Response {
    let found = match page.service.status_messages(filter.query(page.now)).await {
        Ok(found) => found,
        Err(failure) => return page.problem(&failure),
    };
    let older = (found.len() as u32 == PAGE_ROWS)
        .then(|| found.last().map(|last| filter.older(last.record_id)))
        .flatten();
    page.show(
        t("Status messages"),
        html! {
            (form(&filter))
            (table(t("Status messages, newest first"),
                &[t("Severity"), t("Time"), t("Component"), t("Id"), t("Type"), t("Text")],
                found.iter().map(|message| row(&page, message)).collect(), t("No message matches.")))
            @if let Some(older) = older { div class="actions" { a class="button plain" href=(older) { (t("Older")) } } }
        },
    )
}

fn row(page: &Page, message: &StatusMessageInfo) -> Markup {
    let class = if message.severity == "informational" {
        "info"
    } else {
        colour(&message.severity)
    };
    html! {
        td { (badge(class, &message.severity)) }
        td { (page.clock_time(message.time)) }
        td { a href={ "/components/" (message.component) } { (message.component) } }
        td class="number" { (message.message_id) }
        td { (message.message_type) }
        td { (message.text) }
    }
}

fn form(filter: &Filter) -> Markup {
    html! {
        form class="filters" {
            label { (t("Component"))
                select name="component" {
                    option value="" { (t("all")) }
                    @for name in ComponentName::ALL { option value=(name.as_str()) selected[name.as_str() == filter.component] { (name.as_str()) } }
                }
            }
            label { (t("Severity"))
                select name="severity" {
                    option value="" { (t("all")) }
                    @for word in ["error", "warning", "informational"] { option value=(word) selected[word == filter.severity] { (word) } }
                }
            }
            label { (t("Id")) input name="id" inputmode="numeric" size="6" value=(filter.id); }
            label { (t("Period"))
                select name="period" { @for (word, name, _) in PERIODS { option value=(word) selected[word == filter.period] { (name) } } }
            }
            button class="plain" { (t("Filter")) }
        }
    }
}
