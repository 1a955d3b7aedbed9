//! The fleet as a page: a plot for each distribution with the table behind it, in one file without script.

use std::collections::BTreeMap;
use std::fmt::Write;

use jiff::Timestamp;
use store::intake::{Fleet, IntakeListed};

use super::usage::day;

/// Width of a plot in its own units; pages scale it.
const WIDTH: u64 = 640;
const BAR_HEIGHT: u64 = 22;
const LABEL_WIDTH: u64 = 210;
const COLUMNS_HEIGHT: u64 = 140;
/// Widest column of a plot by days.
const COLUMN_STEP_MAX: f64 = 24.0;
/// Distributions in the order of what is asked first.
const ORDER: [&str; 6] = ["version", "level", "platform", "processor", "mode", "program"];

/// One HTML page that needs nothing else.
pub(super) fn page(fleet: &Fleet, quarantined: &[IntakeListed], days: u32, now: Timestamp) -> String {
    let mut html = String::from(HEAD);
    let reports: u64 = fleet.reports.iter().map(|(_, _, count)| count).sum();
    let refused: u64 = fleet.refused.iter().map(|(_, _, count)| count).sum();
    put(
        &mut html,
        format_args!(
            "<h1>Fleet</h1><p>Hierarchies that reported within {days} days before {}.</p>\
         <ul class=\"totals\"><li><b>{}</b> hierarchies</li><li><b>{}</b> sites</li><li><b>{}</b> devices, about</li>\
         <li><b>{reports}</b> reports</li><li><b>{refused}</b> refused</li></ul>",
            escape(&now.to_string()),
            fleet.hierarchies,
            fleet.sites,
            fleet.devices
        ),
    );
    put(&mut html, format_args!("<h2>Reports by day</h2>"));
    columns(&mut html, "Reports by day", &by_day(&fleet.reports));
    for (name, rows) in ORDER.iter().filter_map(|name| fleet.by.get_key_value(name)) {
        put(&mut html, format_args!("<h2>By {}</h2>", escape(name)));
        bars(&mut html, &format!("Hierarchies by {name}"), rows);
    }
    put(&mut html, format_args!("<h2>Refused uploads</h2>"));
    let mut reasons: BTreeMap<String, u64> = BTreeMap::new();
    for (_, reason, count) in &fleet.refused {
        *reasons.entry(reason.clone()).or_default() += count;
    }
    let reasons: Vec<(String, u64)> = reasons.into_iter().collect();
    bars(&mut html, "Refused uploads by reason", &reasons);
    if !quarantined.is_empty() {
        put(
            &mut html,
            format_args!(
                "<h2>In quarantine</h2><table><tr><th>Report</th><th>Received</th><th>Not understood</th></tr>"
            ),
        );
        for report in quarantined {
            put(
                &mut html,
                format_args!(
                    "<tr><td>{}</td><td>{}</td><td>{}</td></tr>",
                    escape(&report.report),
                    escape(&report.received_at.to_string()),
                    escape(&report.problem)
                ),
            );
        }
        put(&mut html, format_args!("</table>"));
    }
    put(&mut html, format_args!("</main></body></html>"));
    html
}

fn put(html: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing to a text does not fail.
    let _ = writeln!(html, "{what}");
}

fn by_day(rows: &[(i64, String, u64)]) -> Vec<(String, u64)> {
    let mut days: BTreeMap<i64, u64> = BTreeMap::new();
    for (at, _, count) in rows {
        *days.entry(*at).or_default() += count;
    }
    let (Some(first), Some(last)) = (days.keys().next().copied(), days.keys().last().copied()) else {
        return Vec::new();
    };
    // Days without a report show as what they are.
    (first..=last.min(first + 400))
        .map(|at| (day(at), days.get(&at).copied().unwrap_or(0)))
        .collect()
}

/// A bar for each word.
fn bars(html: &mut String, title: &str, rows: &[(String, u64)]) {
    if rows.is_empty() {
        return put(html, format_args!("<p>None.</p>"));
    }
    let most = rows.iter().map(|(_, count)| *count).max().unwrap_or(1).max(1);
    let height = rows.len() as u64 * BAR_HEIGHT;
    put(
        html,
        format_args!(
            "<svg role=\"img\" aria-label=\"{0}\" viewBox=\"0 0 {WIDTH} {height}\"><title>{0}</title>",
            escape(title)
        ),
    );
    for (at, (word, count)) in rows.iter().enumerate() {
        let top = at as u64 * BAR_HEIGHT;
        let bar = ((WIDTH - LABEL_WIDTH - 60) * count / most).max(1);
        put(
            html,
            format_args!(
                "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text><rect x=\"{LABEL_WIDTH}\" y=\"{}\" width=\"{bar}\" height=\"{}\"/>\
             <text x=\"{}\" y=\"{}\">{count}</text>",
                LABEL_WIDTH - 8,
                top + 15,
                escape(&shown(word)),
                top + 3,
                BAR_HEIGHT - 6,
                LABEL_WIDTH + bar + 6,
                top + 15
            ),
        );
    }
    put(html, format_args!("</svg>"));
    table(html, rows);
}

/// A column for each day.
fn columns(html: &mut String, title: &str, rows: &[(String, u64)]) {
    if rows.is_empty() {
        return put(html, format_args!("<p>None.</p>"));
    }
    let most = rows.iter().map(|(_, count)| *count).max().unwrap_or(1).max(1);
    let step = (WIDTH as f64 / rows.len() as f64).min(COLUMN_STEP_MAX);
    put(
        html,
        format_args!(
            "<svg role=\"img\" aria-label=\"{0}\" viewBox=\"0 0 {WIDTH} {1}\"><title>{0}</title>",
            escape(title),
            COLUMNS_HEIGHT + 20
        ),
    );
    for (at, (day, count)) in rows.iter().enumerate() {
        let height = COLUMNS_HEIGHT * count / most;
        put(
            html,
            format_args!(
                "<rect x=\"{:.1}\" y=\"{}\" width=\"{:.1}\" height=\"{height}\"><title>{}: {count}</title></rect>",
                at as f64 * step,
                COLUMNS_HEIGHT - height,
                (step * 0.8).max(1.0),
                escape(day)
            ),
        );
    }
    let (first, last) = (escape(&rows[0].0), escape(&rows[rows.len() - 1].0));
    let days = if first == last {
        first
    } else {
        format!("{first} to {last}")
    };
    put(
        html,
        format_args!("<text x=\"0\" y=\"{}\">{days}</text></svg>", COLUMNS_HEIGHT + 16),
    );
    table(html, rows);
}

fn table(html: &mut String, rows: &[(String, u64)]) {
    put(
        html,
        format_args!("<details><summary>As a table</summary><table>"),
    );
    for (word, count) in rows {
        put(
            html,
            format_args!(
                "<tr><th scope=\"row\">{}</th><td>{count}</td></tr>",
                escape(&shown(word))
            ),
        );
    }
    put(html, format_args!("</table></details>"));
}

fn shown(word: &str) -> String {
    match word {
        "" => "not told".to_owned(),
        word if word.chars().count() > 30 => word.chars().take(29).chain(['…']).collect(),
        word => word.to_owned(),
    }
}

/// Text inside markup.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

const HEAD: &str = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
<meta name=\"viewport\" content=\"width=device-width\"><title>Fleet</title>\n<style>\
body{font:15px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;background:#fff}\
svg{width:100%;height:auto}svg text{font:13px system-ui,sans-serif;fill:#1b1f24}svg rect{fill:#2a6fb0}\
table{border-collapse:collapse;margin:.5rem 0 1rem}td,th{border:1px solid #c8ccd1;padding:.2rem .6rem;text-align:left}td{text-align:right}\
.totals{list-style:none;padding:0;display:flex;flex-wrap:wrap;gap:1rem}.totals li{background:#f0f2f4;padding:.5rem .9rem;border-radius:.4rem}\
summary{cursor:pointer;color:#4a5260}\
@media(prefers-color-scheme:dark){body{color:#e6e8ea;background:#16191c}svg text{fill:#e6e8ea}svg rect{fill:#6aa9e0}\
td,th{border-color:#3a4047}.totals li{background:#22272c}summary{color:#a8b0ba}}\
</style></head><body><main>\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_others_are_text_and_an_empty_fleet_is_a_page() {
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        assert!(page(&Fleet::default(), &[], 35, now).contains("<b>0</b> hierarchies"));
        let hostile = "<script>alert(1)</script>".to_owned();
        let fleet = Fleet {
            hierarchies: 3,
            by: [("version", vec![(hostile.clone(), 2), (String::new(), 1)])].into(),
            reports: vec![(20_000, "accepted".into(), 3), (20_003, "accepted".into(), 1)],
            refused: vec![(20_000, hostile.clone(), 1)],
            ..Fleet::default()
        };
        let html = page(&fleet, &[], 35, now);
        assert!(!html.contains("<script>") && html.contains("&lt;script&gt;"));
        assert!(html.contains("not told") && html.contains("2024-10-05: 0"));
    }
}
