//! The fleet and the intake as they are shown: a plot for each distribution with the table behind it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use pages::parts::table;
use pages::plot::{Bar, bars, lying_bars};
use pages::t;
use store::intake::{Fleet, IntakeListed};

const DAY_S: i64 = 24 * 60 * 60;
/// Days that a plot by days shows at most; days without a report show as what they are.
const DAYS_MAX: i64 = 400;
/// Distributions in the order of what is asked first.
const ORDER: [&str; 6] = ["version", "level", "platform", "processor", "mode", "program"];

/// One HTML page that needs nothing else.
pub fn fleet_page(fleet: &Fleet, quarantined: &[IntakeListed], days: u32, now: Timestamp) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (t("Fleet")) }
                style { (PreEscaped(pages::STYLE)) }
            }
            body {
                main {
                    h1 { (t("Fleet")) }
                    p { (t("As of ")) (now.strftime("%Y-%m-%d %H:%M UTC")) "." }
                    (distributions(fleet, days))
                    h2 { (t("Intake of usage data")) }
                    (health(fleet, quarantined))
                }
            }
        }
    };
    page.into_string()
}

/// Totals, and hierarchies by each distribution.
pub(crate) fn distributions(fleet: &Fleet, days: u32) -> Markup {
    html! {
        p class="faint" { (t("Hierarchies that reported within ")) (days) " days, counted by the newest report of each. Nothing here names one." }
        div class="cards" {
            (total(fleet.hierarchies, "hierarchies"))
            (total(fleet.sites, "sites"))
            (total(fleet.devices, "devices, about"))
        }
        @for (name, rows) in ORDER.iter().filter_map(|name| fleet.by.get_key_value(name)) {
            h2 { (t("By ")) (name) }
            (plot(&format!("Hierarchies by {name}"), rows))
        }
    }
}

/// What the intake took and refused, by day and by reason, and what it could not read.
pub(crate) fn health(fleet: &Fleet, quarantined: &[IntakeListed]) -> Markup {
    let sum = |rows: &[(i64, String, u64)]| rows.iter().map(|(_, _, count)| count).sum::<u64>();
    let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
    for (_, reason, count) in &fleet.refused {
        *reasons.entry(reason).or_default() += count;
    }
    let reasons: Vec<(String, u64)> = reasons
        .into_iter()
        .map(|(reason, count)| (reason.to_owned(), count))
        .collect();
    let rows = quarantined
        .iter()
        .map(|report| {
            html! {
                td { (report.report) } td class="nowrap" { (report.received_at.strftime("%Y-%m-%d %H:%M UTC")) } td { (report.problem) }
            }
        })
        .collect();
    html! {
        div class="cards" {
            (total(sum(&fleet.reports), "reports"))
            (total(sum(&fleet.refused), "refused"))
            (total(quarantined.len() as u64, "of the newest in quarantine"))
        }
        h2 { (t("Reports by day")) }
        (by_day(&fleet.reports))
        h2 { (t("Refused uploads")) }
        (plot("Refused uploads by reason", &reasons))
        h2 { (t("In quarantine")) }
        (table(t("Reports that say what this release does not know"), &[t("Report"), t("Received"), t("Not understood")], rows, t("None.")))
    }
}

fn total(count: u64, what: &str) -> Markup {
    html! { div class="card" { p class="big" { (count) } p { (what) } } }
}

fn plot(title: &str, rows: &[(String, u64)]) -> Markup {
    if rows.is_empty() {
        return html! { p class="faint" { (t("None.")) } };
    }
    let told: Vec<(String, u64)> = rows
        .iter()
        .map(|(word, count)| {
            (
                if word.is_empty() {
                    "not told".to_owned()
                } else {
                    word.clone()
                },
                *count,
            )
        })
        .collect();
    html! { (lying_bars(title, &told)) (behind(title, &told)) }
}

/// The table behind a plot.
fn behind(title: &str, rows: &[(String, u64)]) -> Markup {
    let cells = rows
        .iter()
        .map(|(word, count)| html! { td { (word) } td class="number" { (count) } })
        .collect();
    html! { details { summary { (t("As a table")) } (table(title, &[t("What"), t("Count")], cells, t("None."))) } }
}

fn by_day(rows: &[(i64, String, u64)]) -> Markup {
    let mut days: BTreeMap<i64, u64> = BTreeMap::new();
    for (at, _, count) in rows {
        *days.entry(*at).or_default() += count;
    }
    let (Some(first), Some(last)) = (days.keys().next().copied(), days.keys().last().copied()) else {
        return html! { p class="faint" { (t("None.")) } };
    };
    let every: Vec<(String, u64)> = (first..=last.min(first + DAYS_MAX))
        .map(|at| (day(at), days.get(&at).copied().unwrap_or(0)))
        .collect();
    let in_order: Vec<Bar> = every
        .iter()
        .map(|(day, count)| Bar {
            value: *count as f64,
            class: "mark",
            name: format!("{day}: {count}"),
        })
        .collect();
    html! { (bars(t("Reports by day"), "reports", &in_order)) (behind(t("Reports by day"), &every)) }
}

/// A day since 1970 as people write it.
fn day(day: i64) -> String {
    let begin = day
        .checked_mul(DAY_S)
        .and_then(|second| Timestamp::from_second(second).ok());
    begin.map_or_else(|| day.to_string(), |at| at.strftime("%Y-%m-%d").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_others_are_text_and_an_empty_fleet_is_a_page() {
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        assert!(fleet_page(&Fleet::default(), &[], 35, now).contains("hierarchies"));
        let hostile = "<script>alert(1)</script>".to_owned();
        let fleet = Fleet {
            hierarchies: 3,
            by: [("version", vec![(hostile.clone(), 2), (String::new(), 1)])].into(),
            reports: vec![(20_000, "accepted".into(), 3), (20_003, "accepted".into(), 1)],
            refused: vec![(20_000, hostile, 1)],
            ..Fleet::default()
        };
        let html = fleet_page(&fleet, &[], 35, now);
        assert!(!html.contains("<script>") && html.contains("&lt;script&gt;"));
        assert!(html.contains("not told") && html.contains("2024-10-05: 0"));
    }
}
