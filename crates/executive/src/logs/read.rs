//! Reading logs in either form back, tolerant of everything: what is no log line is plain text.

use jiff::Timestamp;
use jiff::civil::DateTime;

use super::format::Gravity;

/// A line as a viewer shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// When, if the line says so.
    pub at: Option<Timestamp>,
    /// Component, or nothing.
    pub component: String,
    /// How grave; in the simple form told by the words of the text.
    pub gravity: Gravity,
    /// Thread id, if the line says so.
    pub thread: Option<u32>,
    /// The message.
    pub text: String,
}

/// Reads one entry. In the CCM form an entry may span lines; the caller joins them (see [`entries`]).
pub fn parse(entry: &str) -> LogLine {
    let entry = entry.trim_end_matches(['\r', '\n']);
    parse_ccm(entry)
        .or_else(|| parse_simple(entry))
        .unwrap_or_else(|| LogLine {
            at: None,
            component: String::new(),
            gravity: gravity_of_words(entry),
            thread: None,
            text: entry.to_owned(),
        })
}

/// Splits text into entries: lines, except that a CCM entry goes on to its end mark.
pub fn entries(text: &str) -> Vec<&str> {
    let mut entries = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let line_end = rest.find('\n').map_or(rest.len(), |index| index + 1);
        let end = if rest.starts_with("<![LOG[") {
            let mark = rest.find("]LOG]!>").unwrap_or(0);
            rest[mark..]
                .find('\n')
                .map_or(rest.len(), |index| mark + index + 1)
        } else {
            line_end
        };
        entries.push(&rest[..end]);
        rest = &rest[end..];
    }
    entries
}

fn parse_ccm(entry: &str) -> Option<LogLine> {
    let (text, attributes) = entry.strip_prefix("<![LOG[")?.split_once("]LOG]!>")?;
    let attribute = |name: &str| {
        let (_, after) = attributes.split_once(&format!("{name}=\""))?;
        after.split_once('"').map(|(value, _)| value)
    };
    let gravity = match attribute("type")? {
        "2" => Gravity::Warning,
        "3" => Gravity::Error,
        _ => Gravity::Information,
    };
    Some(LogLine {
        at: timestamp(attribute("date")?, attribute("time")?),
        component: attribute("component")?.to_owned(),
        gravity,
        thread: attribute("thread").and_then(|thread| thread.parse().ok()),
        text: text.to_owned(),
    })
}

fn parse_simple(entry: &str) -> Option<LogLine> {
    let (text, tail) = entry.rsplit_once("$$<")?;
    let (component, tail) = tail.split_once("><")?;
    let (when, tail) = tail.split_once('>')?;
    let (date, time) = when.split_once(' ')?;
    let thread = tail
        .strip_prefix("<thread=")?
        .split([' ', '>'])
        .next()?
        .parse()
        .ok();
    let text = text.trim_end();
    Some(LogLine {
        at: timestamp(date, time),
        component: component.to_owned(),
        gravity: gravity_of_words(text),
        thread,
        text: text.to_owned(),
    })
}

/// Viewers tell the gravity of a line without a type by its words.
fn gravity_of_words(text: &str) -> Gravity {
    let lower = text.to_lowercase();
    if lower.contains("error") {
        Gravity::Error
    } else if lower.contains("warn") {
        Gravity::Warning
    } else {
        Gravity::Information
    }
}

/// Local date and time with a bias in minutes: the bias added to local time gives UTC.
fn timestamp(date: &str, time: &str) -> Option<Timestamp> {
    let mut date = date.splitn(3, '-').map(|part| part.parse::<i16>().ok());
    let (month, day, year) = (date.next()??, date.next()??, date.next()??);
    let sign_at = time.rfind(['+', '-']).unwrap_or(time.len());
    let (clock, bias) = time.split_at_checked(sign_at)?;
    let bias: i64 = if bias.is_empty() { 0 } else { bias.parse().ok()? };
    let mut clock = clock.splitn(3, ':');
    let (hour, minute, second) = (clock.next()?, clock.next()?, clock.next()?);
    let (second, fraction) = second.split_once('.').unwrap_or((second, "0"));
    let nanos = format!("{fraction:0<9}").get(..9)?.parse::<i32>().ok()?;
    let local = DateTime::new(
        year,
        i8::try_from(month).ok()?,
        i8::try_from(day).ok()?,
        hour.parse().ok()?,
        minute.parse().ok()?,
        second.parse().ok()?,
        nanos,
    )
    .ok()?;
    let utc = local.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
    utc.checked_add(jiff::SignedDuration::from_mins(bias.clamp(-1_440, 1_440)))
        .ok()
}

/// Reads arbitrary bytes as a log; must not panic.
pub fn fuzz_log(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for entry in entries(&text) {
        parse(entry);
    }
}

#[cfg(test)]
mod tests {
    use super::super::format::{Line, format};
    use super::*;
    use domain::component::LogForm;
    use jiff::tz::TimeZone;

    #[test]
    fn what_is_written_is_read_back() {
        let at: Timestamp = "2026-11-21T15:11:46.039Z".parse().unwrap();
        for zone in ["UTC0", "EST5", "CET-1", "IST-5:30"] {
            for form in [LogForm::Simple, LogForm::Ccm] {
                for gravity in [Gravity::Information, Gravity::Warning, Gravity::Error] {
                    let line = Line {
                        at,
                        component: "SMS_DMP_DOWNLOADER",
                        gravity,
                        thread: 77,
                        source: "a.rs:1",
                        text: "done",
                    };
                    let read = parse(&format(&line, form, &TimeZone::posix(zone).unwrap()));
                    assert_eq!(
                        (read.at, read.thread, read.gravity),
                        (Some(at), Some(77), gravity),
                        "{zone} {form:?}"
                    );
                    assert!(read.text.ends_with("done"));
                }
            }
        }
    }

    #[test]
    fn the_originals_lines() {
        let sample = "Site status changed  $$<SMS_SITE_SYSTEM_STATUS_SUMMARIZER><12-06-2016 03:11:46.039+300><thread=4840 (0x12E8)>";
        assert_eq!(
            parse(sample).at,
            Some("2016-12-06T08:11:46.039Z".parse().unwrap())
        );
        let managed = "<![LOG[two\nlines]LOG]!><time=\"10:22:50.8422964\" date=\"1-2-2015\" component=\"X\" context=\"\" type=\"1\" thread=\"5\" file=\"\">\n";
        assert_eq!(entries(&format!("{managed}plain\n")).len(), 2);
        assert_eq!(parse(managed).text, "two\nlines");
        assert_eq!(parse("plain text").component, "");
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read(bytes: Vec<u8>) {
            fuzz_log(&bytes);
        }

        #[test]
        fn near_misses_are_read(text in r"(<!\[LOG\[|\]LOG\]!>|\$\$<|><|time=|date=|[0-9:.+ -]|\n|é){0,40}") {
            fuzz_log(text.as_bytes());
        }
    }
}
