//! The log viewer: the ends of several logs merged by time, filtered, in the colours that people know.

use axum::extract::Query;
use axum::response::Response;
use domain::component::ComponentName;
use executive::logs::format::Gravity;
use executive::logs::read::LogLine;
use maud::{Markup, html};
use serde::Deserialize;

use super::catalogue::t;
use super::page::Page;

/// Lines shown.
const LINES_MAX: usize = 500;

#[derive(Deserialize, Default)]
pub(super) struct Wanted {
    /// A component, or nothing for all of them.
    #[serde(default)]
    name: String,
    #[serde(default)]
    text: String,
    #[serde(default)]
    gravity: String,
    #[serde(default)]
    follow: String,
}

pub(super) async fn show(page: Page, Query(wanted): Query<Wanted>) -> Response {
    let names: Vec<ComponentName> = match wanted.name.parse::<ComponentName>() {
        Ok(name) => vec![name],
        Err(_) => ComponentName::ALL.to_vec(),
    };
    let lines = match page.service.log_lines(names).await {
        Ok(lines) => lines,
        Err(failure) => return page.problem(&failure),
    };
    let text = wanted.text.to_lowercase();
    let mut kept: Vec<&LogLine> = lines
        .iter()
        .filter(|line| text.is_empty() || line.text.to_lowercase().contains(&text))
        .filter(|line| match wanted.gravity.as_str() {
            "error" => line.gravity == Gravity::Error,
            "warning" => line.gravity >= Gravity::Warning,
            _ => true,
        })
        .collect();
    let from = kept.len().saturating_sub(LINES_MAX);
    kept.drain(..from);
    match wanted.follow.as_str() {
        // What is followed has no fields in its live part.
        "on" => page.show_live(t("Logs"), html! { p { a href=(unfollowed(&wanted)) { (t("Stop following")) } } (lines_table(&page, &kept)) }),
        _ => page.show(t("Logs"), html! { (form(&wanted)) (lines_table(&page, &kept)) }),
    }
}

fn unfollowed(wanted: &Wanted) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("name", &wanted.name)
        .append_pair("text", &wanted.text)
        .append_pair("gravity", &wanted.gravity)
        .finish();
    format!("/logs?{query}")
}

fn lines_table(page: &Page, lines: &[&LogLine]) -> Markup {
    let class = |line: &LogLine| match line.gravity {
        Gravity::Error => Some("error"),
        Gravity::Warning => Some("warning"),
        Gravity::Information | Gravity::Verbose => None,
    };
    html! {
        div class="scroll" tabindex="0" role="region" aria-label=(t("Log lines")) {
            table class="log" {
                caption { (t("The newest lines, oldest first")) }
                thead { tr { th scope="col" { (t("Log text")) } th scope="col" { (t("Component")) } th scope="col" { (t("Date/Time")) } th scope="col" { (t("Thread")) } } }
                tbody { @for line in lines {
                    tr class=[class(line)] {
                        td { (line.text) } td { (line.component) }
                        td { @if let Some(at) = line.at { (page.clock_time(at)) } }
                        td { @if let Some(thread) = line.thread { (thread) } }
                    }
                } }
            }
        }
    }
}

fn form(wanted: &Wanted) -> Markup {
    html! {
        form class="filters" {
            label { (t("Log"))
                select name="name" {
                    option value="" { (t("all, merged")) }
                    @for name in ComponentName::ALL { option value=(name.as_str()) selected[name.as_str() == wanted.name] { (name.log_file()) } }
                }
            }
            label { (t("Text")) input name="text" value=(wanted.text); }
            label { (t("Show"))
                select name="gravity" {
                    @for (word, name) in [("", t("everything")), ("warning", t("warnings and errors")), ("error", t("errors"))] {
                        option value=(word) selected[word == wanted.gravity] { (name) }
                    }
                }
            }
            button class="plain" { (t("Filter")) }
            button name="follow" value="on" { (t("Follow")) }
        }
    }
}
