//! The dictionary as it is shown: levels, entries, one entry with its value here.

use domain::usage_data::{Level, METRICS, Metric, NEVER, metric};

use super::super::Context;
use super::reports::{fresh, read};
use crate::failure::Failure;
use crate::output::{Output, Style};
use crate::table::{Cell, Table};

fn of_level(level: Level) -> impl Iterator<Item = &'static Metric> {
    METRICS.iter().filter(move |metric| metric.level <= level)
}

pub(super) fn levels(output: &Output) -> Result<(), Failure> {
    if output.json {
        let levels = Level::ALL.map(|level| {
            let names: Vec<&str> = of_level(level).map(|metric| metric.name).collect();
            serde_json::json!({"level": level.as_str(), "purpose": level.purpose(), "data": names})
        });
        return output.json(&levels);
    }
    let mut table = Table::new(&["Level", "Data", "What it is for"]);
    table.right(1);
    for level in Level::ALL {
        table.row([
            level.as_str().into(),
            (of_level(level).count() as u64).into(),
            level.purpose().into(),
        ]);
    }
    table.print(output)
}

fn entry(metric: &Metric) -> serde_json::Value {
    serde_json::json!({
        "name": metric.name, "level": metric.level.as_str(), "category": metric.category.as_str(),
        "kind": metric.kind.as_str(), "unit": metric.unit, "protection": metric.protection.as_str(),
        "source": metric.source, "purpose": metric.purpose, "example": metric.example, "since": metric.since,
    })
}

pub(super) fn dictionary(level: Option<Level>, output: &Output) -> Result<(), Failure> {
    let chosen = of_level(level.unwrap_or(Level::Full));
    if output.json {
        return output.json(&chosen.map(entry).collect::<Vec<_>>());
    }
    let mut table = Table::new(&["Name", "Level", "Kind", "Protection", "Why"]);
    for metric in chosen {
        table.row([
            metric.name.into(),
            metric.level.as_str().into(),
            metric.kind.as_str().into(),
            metric.protection.as_str().into(),
            metric.purpose.into(),
        ]);
    }
    table.print(output)
}

pub(super) async fn explain(name: &str, cx: &Context) -> Result<(), Failure> {
    let output = &cx.output;
    let Some(metric) = metric(name) else {
        return Err(Failure::new(format!(
            "{name:?} is not in the dictionary: it is never collected"
        ))
        .hint("see everything that may be: tidegate usage dictionary"));
    };
    let report = read(&fresh(&cx.client()?, Some(metric.level)).await?)?;
    let value = report.values.get(metric.name);
    if output.json {
        let mut shown = entry(metric);
        shown["value"] = value.cloned().unwrap_or_default();
        return output.json(&shown);
    }
    let mut table = Table::of_values();
    table.value("Name", Cell::styled(Style::Bold, metric.name));
    table.value(
        "Value here now",
        value.map_or("not found out".to_owned(), ToString::to_string),
    );
    table.value("Kind", format!("{} {}", metric.kind.as_str(), metric.unit));
    table.value("From level", metric.level.as_str());
    table.value("Why", metric.purpose);
    table.value("Source", metric.source);
    table.value("Protection", metric.protection.as_str());
    table.value("Example", metric.example);
    table.value("Since release", metric.since);
    table.print(output)
}

/// What is never collected.
pub(super) fn never(output: &Output) -> Result<(), Failure> {
    if output.json {
        let rows = NEVER
            .iter()
            .map(|(what, which)| serde_json::json!({"what": what, "which": which}));
        return output.json(&rows.collect::<Vec<_>>());
    }
    let mut table = Table::new(&["Never", "Which"]);
    for (what, which) in NEVER {
        table.row([(*what).into(), (*which).into()]);
    }
    table.print(output)
}
