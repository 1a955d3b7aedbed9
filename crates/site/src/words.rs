//! Numbers and times as people say them. Programs get RFC 3339 and plain numbers with `--json`.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// `12.3 MB`: three digits are as many as anybody compares.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let mut value = count as f64;
    let mut unit = "";
    for next in UNITS {
        value /= 1000.0;
        unit = next;
        // 999.95 would be written as 1000.0.
        if value < 999.95 {
            break;
        }
    }
    if value < 9.995 {
        format!("{value:.2} {unit}")
    } else if value < 99.95 {
        format!("{value:.1} {unit}")
    } else {
        format!("{value:.0} {unit}")
    }
}

/// `3 min`, `2 h 5 min`, `4 d 1 h`.
pub fn span(seconds: u64) -> String {
    let pair = |large: u64, large_unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{large} {large_unit}"),
        _ => format!("{large} {large_unit} {small} {small_unit}"),
    };
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => pair(seconds / 60, "min", 0, ""),
        3_600..86_400 => pair(seconds / 3_600, "h", seconds % 3_600 / 60, "min"),
        _ => pair(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

/// `5 min ago`, `in 23 h 10 min`, `now`.
pub fn relative(at: Timestamp, now: Timestamp) -> String {
    let seconds = at.as_second() - now.as_second();
    match seconds {
        -1..=1 => "now".to_owned(),
        ..-1 => format!("{} ago", span(seconds.unsigned_abs())),
        _ => format!("in {}", span(seconds.unsigned_abs())),
    }
}

/// `14:05:09` today, else `2026-11-21 14:05:09`.
pub fn local(at: Timestamp, now: Timestamp, zone: &TimeZone) -> String {
    let there = at.to_zoned(zone.clone());
    let today = now.to_zoned(zone.clone()).date();
    let form = if there.date() == today {
        "%H:%M:%S"
    } else {
        "%Y-%m-%d %H:%M:%S"
    };
    there.strftime(form).to_string()
}

/// `5 min ago (14:05:09)`.
pub fn when(at: Timestamp, now: Timestamp, zone: &TimeZone) -> String {
    format!("{} ({})", relative(at, now), local(at, now, zone))
}

/// `1 package`, `2 packages`.
pub fn counted(count: u64, singular: &str, plural: &str) -> String {
    format!("{count} {}", if count == 1 { singular } else { plural })
}

/// Text from outside for a terminal: control characters could move its cursor or change its title.
pub fn harmless(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\t' => c,
            c if c.is_control() || is_marker(c) => '\u{fffd}',
            c => c,
        })
        .collect()
}

/// Invisible characters that the command line's tables use for themselves, and those that reorder text.
fn is_marker(c: char) -> bool {
    matches!(c, '\u{2060}'..='\u{206f}' | '\u{202a}'..='\u{202e}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let check = |count, expected: &str| assert_eq!(bytes(count), expected);
        check(0, "0 B");
        check(999, "999 B");
        check(1000, "1.00 kB");
        check(9_994, "9.99 kB");
        check(9_996, "10.0 kB");
        check(99_960, "100 kB");
        check(999_900, "1000 kB");
        check(999_960, "1.00 MB");
        check(1_500_000, "1.50 MB");
        check(u64::MAX, "18.4 EB");
    }

    #[test]
    fn times() {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let zone = TimeZone::posix("CET-1").unwrap();
        let check = |at: &str, expected: &str| assert_eq!(when(at.parse().unwrap(), now, &zone), expected);
        check("2026-11-21T12:00:00Z", "now (13:00:00)");
        check("2026-11-21T11:59:20Z", "40 s ago (12:59:20)");
        check("2026-11-21T14:05:00Z", "in 2 h 5 min (15:05:00)");
        check("2026-11-19T11:00:00Z", "2 d 1 h ago (2026-11-19 12:00:00)");
        check("2026-11-21T23:30:00Z", "in 11 h 30 min (2026-11-22 00:30:00)");
    }

    #[test]
    fn a_terminal_is_not_steered_from_outside() {
        assert_eq!(harmless("a\u{1b}[2Jb\u{202e}c\nd"), "a\u{fffd}[2Jb\u{fffd}c\nd");
    }
}
