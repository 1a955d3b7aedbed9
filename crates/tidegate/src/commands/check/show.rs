//! A report for people.

use protocol::connectivity::{Catalogue, CheckReport, PhaseReport, TargetReport};

use crate::failure::Failure;
use crate::output::{Output, Style};
use crate::table::{Cell, Table};

/// The features of a catalogue.
pub fn features(catalogue: &Catalogue, output: &Output) -> Result<(), Failure> {
    if output.json {
        let list: Vec<serde_json::Value> = catalogue
            .features
            .values()
            .map(|feature| {
                let endpoints = count(catalogue, &feature.name);
                serde_json::json!({"name": feature.name, "title": feature.title, "checked": feature.checked, "current": feature.current, "endpoints": endpoints})
            })
            .collect();
        return output.json(&list);
    }
    let mut table = Table::new(&["Feature", "Endpoints", "Checked", "What"]);
    table.right(1);
    for feature in catalogue.features.values() {
        let style = if feature.current {
            Style::Plain
        } else {
            Style::Faint
        };
        table.row([
            Cell::styled(style, &feature.name),
            (count(catalogue, &feature.name) as u64).into(),
            Cell::styled(style, &feature.checked),
            Cell::styled(style, &feature.title),
        ]);
    }
    table.print(output)?;
    output.note(format_args!(
        "catalogue {} of {}",
        catalogue.stamp.name, catalogue.stamp.version
    ));
    Ok(())
}

fn count(catalogue: &Catalogue, feature: &str) -> usize {
    catalogue
        .endpoints
        .iter()
        .filter(|entry| entry.feature == feature)
        .count()
}

/// A run: one line per endpoint, then what failed with evidence and advice, then the sum.
pub fn report(report: &CheckReport, output: &Output) -> Result<(), Failure> {
    if let Some(fault) = &report.fault {
        output.line(format_args!(
            "{}: {}",
            output.styled(Style::Bad, &fault.code),
            fault.evidence
        ))?;
        return output.line(format_args!("  {}", fault.advice));
    }
    let mut table = Table::new(&[
        "Endpoint", "Result", "DNS", "TCP", "Proxy", "TLS", "Cert", "HTTP", "Total", "Answer",
    ]);
    for column in 2..9 {
        table.right(column);
    }
    for target in &report.results {
        let [dns, tcp, proxy, tls, certificate, http] =
            ["dns", "tcp", "proxy", "tls", "certificate", "http"].map(|phase| cell(target, phase));
        let answer = target
            .http_status
            .map_or_else(String::new, |status| status.to_string());
        table.row([
            target.url.as_str().into(),
            result(target),
            dns,
            tcp,
            proxy,
            tls,
            certificate,
            http,
            Cell::from(milliseconds(target.took_ms)),
            answer.into(),
        ]);
    }
    if !table.is_empty() {
        table.print(output)?;
        output.line("")?;
    }
    for alike in alike(report) {
        failed(&alike, output)?;
    }
    for target in report
        .results
        .iter()
        .filter(|target| !target.notes.is_empty() || target.direct.is_some())
    {
        for note in &target.notes {
            output.line(format_args!("{}: {note}", target.host))?;
        }
        if let Some(direct) = &target.direct {
            output.line(format_args!("{}: {}", target.host, direct.verdict))?;
        }
    }
    for target in report.results.iter().filter(|target| target.result == "passed") {
        for pattern in &target.stands_for {
            // A filter may still block its siblings.
            output.line(format_args!("{pattern}: verified through {}", target.host))?;
        }
    }
    for entry in &report.not_testable {
        output.line(format_args!(
            "not testable: {} ({}): {}",
            entry.pattern, entry.feature, entry.why
        ))?;
    }
    let style = match report.outcome.as_str() {
        "passed" => Style::Good,
        "warning" => Style::Warning,
        "critical" => Style::Bad,
        _ => Style::Bold,
    };
    let by = report
        .proxy
        .as_ref()
        .map_or_else(String::new, |proxy| format!(" through {proxy}"));
    let of = report
        .catalogue
        .as_ref()
        .map_or_else(String::new, |stamp| format!(", catalogue of {}", stamp.version));
    output.line(format_args!(
        "{}: {}{by} in {:.1} s{of}",
        output.styled(style, &report.outcome),
        report.summary,
        report.took_ms / 1000.0
    ))
}

fn result(target: &TargetReport) -> Cell {
    match (&target.fault, target.retired) {
        (None, _) if target.result == "not-run" => Cell::styled(Style::Warning, "not run"),
        (None, _) => Cell::styled(Style::Good, "passed"),
        (Some(fault), true) => Cell::styled(Style::Faint, format!("{} (retired)", fault.code)),
        (Some(fault), false) if target.critical => Cell::styled(Style::Bad, &fault.code),
        (Some(fault), false) => Cell::styled(Style::Warning, &fault.code),
    }
}

fn cell(target: &TargetReport, phase: &str) -> Cell {
    let Some(found) = target.phases.iter().find(|found| found.phase == phase) else {
        return Cell::from("");
    };
    let PhaseReport { result, ms, .. } = found;
    match (result.as_str(), ms) {
        ("passed", Some(ms)) => Cell::from(milliseconds(*ms)),
        ("failed", Some(ms)) => Cell::styled(Style::Bad, format!("x {}", milliseconds(*ms))),
        ("skipped", _) => Cell::styled(Style::Faint, "skip"),
        _ => Cell::styled(Style::Faint, "-"),
    }
}

fn milliseconds(ms: f64) -> String {
    match ms {
        ms if ms < 10.0 => format!("{ms:.1} ms"),
        ms if ms < 1000.0 => format!("{ms:.0} ms"),
        ms => format!("{:.1} s", ms / 1000.0),
    }
}

/// Failures with the same evidence and the same one to act belong together: one forgotten rule makes
/// twenty of them.
fn alike(report: &CheckReport) -> Vec<Vec<&TargetReport>> {
    let mut groups: Vec<Vec<&TargetReport>> = Vec::new();
    for target in report.results.iter().filter(|target| target.fault.is_some()) {
        let same = |other: &&TargetReport| {
            let key = |of: &TargetReport| {
                of.fault
                    .as_ref()
                    .map(|fault| (fault.code.clone(), fault.evidence.clone()))
            };
            key(other) == key(target)
        };
        match groups.iter_mut().find(|group| group.first().is_some_and(same)) {
            Some(group) => group.push(target),
            None => groups.push(vec![target]),
        }
    }
    groups
}

fn failed(alike: &[&TargetReport], output: &Output) -> Result<(), Failure> {
    let Some(first) = alike.first() else { return Ok(()) };
    let Some(fault) = &first.fault else { return Ok(()) };
    let hosts: Vec<&str> = alike.iter().map(|target| target.url.as_str()).collect();
    output.line(format_args!(
        "{} {} ({}): {}",
        output.styled(Style::Bad, "x"),
        output.styled(Style::Bold, &fault.code),
        fault.party,
        first.url
    ))?;
    output.line(format_args!(
        "    seen:   {}",
        crate::words::harmless(&fault.evidence)
    ))?;
    output.line(format_args!(
        "    advice: {}",
        crate::words::harmless(&fault.advice)
    ))?;
    if hosts.len() > 1 {
        output.line(format_args!("    likewise: {}", hosts[1..].join(" ")))?;
    }
    let mut needed: Vec<&str> = alike
        .iter()
        .flat_map(|target| target.features.iter().map(String::as_str))
        .collect();
    needed.sort_unstable();
    needed.dedup();
    if !needed.is_empty() {
        output.line(format_args!("    for:    {}", needed.join(", ")))?;
    }
    Ok(())
}
