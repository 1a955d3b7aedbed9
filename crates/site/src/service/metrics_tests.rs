//! The text of the metrics against the OpenMetrics exposition format, with labels as bad as they can get.

use std::collections::{BTreeMap, BTreeSet};

use domain::component::{ComponentName, ComponentState};
use domain::notification::Severity as Notified;
use executive::ComponentSnapshot;
use jiff::Timestamp;
use protocol::connectivity::{CheckReport, FaultReport, PhaseReport, TargetReport, TlsReport};
use store::SeverityCounts;

use super::{Measured, exposition};

/// Names and values, in order of appearance.
type Labels = Vec<(String, String)>;
/// A sample: name, labels, value.
type Sample = (String, Labels, f64);

fn is_name(text: &str, colons: bool) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_' || (colons && c == ':');
    text.chars().next().is_some_and(first) && text.chars().all(|c| first(c) || c.is_ascii_digit())
}

/// Reads `{name="value",…}`; what follows it is returned too.
fn labels(text: &str) -> Result<(Labels, &str), String> {
    let Some(mut rest) = text.strip_prefix('{') else {
        return Ok((Vec::new(), text));
    };
    let mut labels = Vec::new();
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return Ok((labels, after));
        }
        let (name, after) = rest.split_once("=\"").ok_or("a label without a value")?;
        if !is_name(name, false) {
            return Err(format!("{name:?} is no name of a label"));
        }
        let mut value = String::new();
        let mut characters = after.char_indices();
        let end = loop {
            match characters.next() {
                Some((at, '"')) => break at,
                Some((_, '\\')) => match characters.next() {
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, c @ ('\\' | '"'))) => value.push(c),
                    other => return Err(format!("{other:?} is escaped for no reason")),
                },
                Some((_, '\n')) => return Err("a line break in a label".into()),
                Some((_, c)) => value.push(c),
                None => return Err("a label that does not end".into()),
            }
        };
        if labels.iter().any(|(known, _)| known == name) {
            return Err(format!("the label {name} twice"));
        }
        labels.push((name.to_owned(), value));
        rest = &after[end + 1..];
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
}

/// Reads an exposition and refuses what the format does not allow.
fn read(text: &str) -> Result<Vec<Sample>, String> {
    let body = text
        .strip_suffix("# EOF\n")
        .ok_or("it does not end with # EOF and a line break")?;
    let mut families: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let (mut current, mut closed) = (String::new(), BTreeSet::new());
    let (mut samples, mut series) = (Vec::new(), BTreeSet::new());
    for line in body.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let (kind, name) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
            let value = words.next().ok_or(format!("{line:?} says nothing"))?;
            if !["HELP", "TYPE", "UNIT"].contains(&kind) || !is_name(name, true) {
                return Err(format!("{line:?} is no metadata"));
            }
            if name != current {
                closed.insert(std::mem::replace(&mut current, name.to_owned()));
                if closed.contains(name) {
                    return Err(format!("{name} is told in two places"));
                }
            }
            let family = families.entry(name.to_owned()).or_default();
            if family.insert(kind.to_owned(), value.to_owned()).is_some() {
                return Err(format!("{kind} of {name} twice"));
            }
            continue;
        }
        let name_end = line.find(['{', ' ']).ok_or(format!("{line:?} is no sample"))?;
        let (name, rest) = line.split_at(name_end);
        let (labels, rest) = labels(rest).map_err(|why| format!("{line:?}: {why}"))?;
        let value = rest
            .strip_prefix(' ')
            .and_then(|value| value.parse::<f64>().ok())
            .ok_or(format!("{line:?} has no value"))?;
        let family = families
            .get(&current)
            .ok_or(format!("{line:?} comes before its type"))?;
        let suffix = name
            .strip_prefix(current.as_str())
            .ok_or(format!("{name} is not of the family {current}"))?;
        let kind = family.get("TYPE").map(String::as_str);
        match (kind, suffix) {
            (Some("gauge"), "") => {}
            (Some("counter"), "_total") if value >= 0.0 => {}
            _ => return Err(format!("{name} does not fit the type {kind:?}")),
        }
        let sorted: BTreeMap<_, _> = labels.iter().cloned().collect();
        if !series.insert((name.to_owned(), sorted)) {
            return Err(format!("{line:?} is there twice"));
        }
        samples.push((name.to_owned(), labels, value));
    }
    for (name, family) in &families {
        if !family.contains_key("HELP") {
            return Err(format!("{name} has no help"));
        }
        if let Some(unit) = family.get("UNIT")
            && !name.ends_with(&format!("_{unit}"))
        {
            return Err(format!("{name} does not end with its unit {unit}"));
        }
    }
    Ok(samples)
}

fn target(url: &str) -> TargetReport {
    TargetReport {
        url: url.to_owned(),
        host: "host".into(),
        port: 443,
        features: Vec::new(),
        endpoints: Vec::new(),
        stands_for: Vec::new(),
        critical: true,
        retired: false,
        result: "failed".into(),
        took_ms: 3.0,
        phases: vec![PhaseReport {
            phase: "dns".into(),
            result: "passed".into(),
            ms: Some(1.5),
            detail: String::new(),
        }],
        fault: Some(FaultReport {
            code: "tcp.timeout".into(),
            phase: "tcp".into(),
            party: "firewall".into(),
            evidence: String::new(),
            advice: String::new(),
        }),
        notes: Vec::new(),
        http_status: None,
        addresses: Vec::new(),
        peer: None,
        tls: Some(TlsReport {
            version: String::new(),
            cipher: String::new(),
            subject: String::new(),
            issuer: String::new(),
            names: Vec::new(),
            names_count: 0,
            not_after: Timestamp::UNIX_EPOCH,
            fingerprint: String::new(),
        }),
        redirects: Vec::new(),
        clock_ahead_s: None,
        direct: None,
    }
}

fn measured() -> Measured {
    let snapshot = |name, state, panics| ComponentSnapshot {
        name,
        state,
        active: false,
        last_started: None,
        last_finished: None,
        last_result: String::new(),
        activity: String::new(),
        waiting: None,
        next_activation: None,
        failures_in_row: 2,
        failures: 5,
        panics,
        activations: 9,
    };
    let check = CheckReport {
        schema: 1,
        run_id: String::new(),
        started_at: Timestamp::UNIX_EPOCH,
        took_ms: 1_500.0,
        server: String::new(),
        mode: "online".into(),
        catalogue: None,
        proxy: None,
        outcome: "critical".into(),
        summary: String::new(),
        fault: None,
        results: vec![
            target("https://plain.example/"),
            target("https://bad.example/\"quoted\"\\back\nslash{a=\"b\"} 1"),
            // The same address for two features.
            target("https://plain.example/"),
        ],
        not_testable: Vec::new(),
        clock_ahead_s: None,
    };
    Measured {
        components: vec![
            snapshot(ComponentName::DmpDownloader, ComponentState::Paused, 3),
            snapshot(ComponentName::StateSystem, ComponentState::Started, 0),
        ],
        notifications: vec![Notified::Warning, Notified::Critical, Notified::Warning],
        messages: vec![(
            ComponentName::DmpDownloader,
            SeverityCounts {
                informational: 4,
                warning: 3,
                error: 2,
            },
        )],
        check: Some(check),
    }
}

#[test]
fn the_text_is_in_the_exposition_format() {
    let text = exposition(&measured()).unwrap();
    let samples = read(&text).unwrap_or_else(|why| panic!("{why}\n{text}"));
    let value = |name: &str, label: &str| {
        samples
            .iter()
            .find(|(known, labels, _)| known == name && labels.iter().any(|(_, value)| value == label))
            .map(|(.., value)| *value)
    };
    for (name, label, expected) in [
        ("tidegate_component_state", "SMS_DMP_DOWNLOADER", 2.0),
        ("tidegate_component_state", "SMS_STATE_SYSTEM", 1.0),
        ("tidegate_component_panics_total", "SMS_DMP_DOWNLOADER", 3.0),
        ("tidegate_component_failures_total", "SMS_DMP_DOWNLOADER", 5.0),
        ("tidegate_component_failures_in_row", "SMS_DMP_DOWNLOADER", 2.0),
        ("tidegate_component_activations_total", "SMS_STATE_SYSTEM", 9.0),
        ("tidegate_notifications", "critical", 1.0),
        ("tidegate_notifications", "warning", 2.0),
        ("tidegate_notifications", "informational", 0.0),
        ("tidegate_status_messages_since_midnight", "error", 2.0),
        (
            "tidegate_endpoint_phase_seconds",
            "https://plain.example/",
            0.0015,
        ),
        (
            "tidegate_endpoint_success",
            "https://bad.example/\"quoted\"\\back\nslash{a=\"b\"} 1",
            0.0,
        ),
    ] {
        assert_eq!(value(name, label), Some(expected), "{name} {label}\n{text}");
    }
}

#[test]
fn a_site_that_knows_nothing_yet_has_sound_metrics_too() {
    let text = exposition(&Measured::default()).unwrap();
    let samples = read(&text).unwrap_or_else(|why| panic!("{why}\n{text}"));
    assert_eq!(samples.len(), 3, "{text}");
}

#[test]
fn the_check_itself_finds_faults() {
    for (text, expected) in [
        ("# TYPE a gauge\n# HELP a A.\na 1\n", "EOF"),
        ("a 1\n# EOF\n", "before its type"),
        ("# HELP a A.\n# TYPE a gauge\na 1\na 2\n# EOF\n", "twice"),
        ("# HELP a A.\n# TYPE a gauge\n# TYPE a gauge\n# EOF\n", "twice"),
        ("# TYPE a gauge\na 1\n# EOF\n", "no help"),
        ("# HELP a A.\n# TYPE a counter\na 1\n# EOF\n", "does not fit"),
        ("# HELP a A.\n# TYPE a gauge\na{b=\"\\x\"} 1\n# EOF\n", "escaped"),
        ("# HELP a A.\n# TYPE a gauge\na{1b=\"c\"} 1\n# EOF\n", "no name"),
        ("# HELP a A.\n# TYPE a gauge\na{b=\"c\"}\n# EOF\n", "no value"),
        (
            "# HELP a A.\n# TYPE a gauge\n# HELP b B.\n# TYPE b gauge\n# UNIT a s\n# EOF\n",
            "two places",
        ),
    ] {
        let why = read(text).unwrap_err();
        assert!(why.contains(expected), "{text:?}: {why}");
    }
}
