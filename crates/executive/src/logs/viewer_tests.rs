//! What we write, read by a CMTrace viewer's parser that is not ours.

use cmtraceopen_parser::models::log_entry::{LogFormat, Severity};
use cmtraceopen_parser::parser::parse_content;
use domain::component::LogForm;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::format::{Gravity, Line, format};

/// The text of a log of these lines.
fn log(texts: &[(Gravity, String)], form: LogForm, zone: &TimeZone, at: Timestamp) -> String {
    let lines = texts.iter().map(|(gravity, text)| {
        let line = Line {
            at,
            component: "SMS_HIERARCHY_MANAGER",
            gravity: *gravity,
            thread: 4840,
            source: "a.rs:7",
            text,
        };
        format(&line, form, zone)
    });
    lines.collect()
}

fn check(texts: &[(Gravity, String)], form: LogForm, zone: &str, at: Timestamp) -> Result<(), TestCaseError> {
    let zone = TimeZone::posix(zone).unwrap();
    let text = log(texts, form, &zone, at);
    let (result, _) = parse_content(&text, "hman.log", text.len() as u64);
    let expected = match form {
        LogForm::Simple => LogFormat::Simple,
        LogForm::Ccm => LogFormat::Ccm,
    };
    prop_assert_eq!(result.parse_errors, 0, "{}", text);
    prop_assert_eq!(result.entries.len(), texts.len(), "{}", text);
    for (entry, (gravity, written)) in result.entries.iter().zip(texts) {
        prop_assert_eq!(entry.format, expected, "{}", text);
        prop_assert_eq!(entry.component.as_deref(), Some("SMS_HIERARCHY_MANAGER"));
        prop_assert_eq!(entry.thread, Some(4840));
        let words = |text: &str| text.split_whitespace().collect::<String>();
        let wanted = words(&written.replace(['~', '\r', '\n'], " "));
        let found = words(&entry.message.replace('~', " "));
        prop_assert!(
            found.ends_with(&wanted) || written.contains("$$<") || written.contains("]LOG]!>"),
            "{:?} {:?}",
            written,
            entry.message
        );
        match gravity {
            Gravity::Error => prop_assert_eq!(entry.severity, Severity::Error),
            Gravity::Warning => prop_assert!(entry.severity != Severity::Info),
            // The simple form has no field for it: a viewer that looks for words may see one in the text.
            Gravity::Information | Gravity::Verbose => {}
        }
    }
    Ok(())
}

#[test]
fn times_zones_and_gravity_arrive() {
    let at: Timestamp = "2026-11-21T15:11:46.039Z".parse().unwrap();
    for (zone, hour, offset) in [
        ("UTC0", 15, 0),
        ("EST5", 10, 300),
        ("CET-1", 16, -60),
        ("IST-5:30", 20, -330),
    ] {
        for form in [LogForm::Simple, LogForm::Ccm] {
            let texts = [(Gravity::Error, "It broke".to_owned())];
            let text = log(&texts, form, &TimeZone::posix(zone).unwrap(), at);
            let (result, _) = parse_content(&text, "hman.log", text.len() as u64);
            let entry = &result.entries[0];
            let shown = entry.timestamp_display.clone().unwrap();
            assert!(
                shown.contains(&format!("{hour}:")) && shown.contains("46.039"),
                "{text} {shown}"
            );
            assert_eq!(entry.timezone_offset, Some(offset), "{text}");
            assert_eq!(entry.severity, Severity::Error, "{text}");
        }
    }
}

proptest! {
    #[test]
    fn any_text_is_one_entry(
        texts in proptest::collection::vec("\\PC{1,60}|[a-z <>$\\[\\]!=\"\n\r~]{1,40}|]LOG]!><time=|\\$\\$<A><11-21-2026", 1..6),
        gravity in 0_usize..3, simple: bool, seconds in 0_i64..4_000_000_000
    ) {
        let gravity = [Gravity::Information, Gravity::Warning, Gravity::Error][gravity];
        // A viewer leaves out what is empty, and we write nothing that is.
        let texts: Vec<_> = texts
            .into_iter()
            .map(|text| (gravity, format!("Line {text}")))
            .collect();
        let form = if simple { LogForm::Simple } else { LogForm::Ccm };
        check(&texts, form, "CET-1", Timestamp::from_second(seconds).unwrap())?;
    }
}
