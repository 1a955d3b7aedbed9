//! A status message as a line of the system log (RFC 5424).

use jiff::Timestamp;

use super::Severity;

/// Longest line in bytes: what every receiver over UDP takes whole (RFC 5426).
pub const SYSLOG_BYTES_MAX: usize = 2_048;
/// "System daemons".
const FACILITY: u8 = 3;

/// What a line tells.
#[derive(Debug, Clone, Copy)]
pub struct SyslogEntry<'a> {
    /// Severity of the message.
    pub severity: Severity,
    /// When it was raised.
    pub time: Timestamp,
    /// Machine it was raised on.
    pub machine: &'a str,
    /// Process that raised it.
    pub process_id: u32,
    /// Message id.
    pub message_id: u32,
    /// Component that raised it.
    pub component: &'a str,
    /// Site it belongs to.
    pub site_code: &'a str,
    /// Its text.
    pub text: &'a str,
    /// Key of the alert.
    pub key: &'a str,
}

impl SyslogEntry<'_> {
    /// The line, without an end of line: one datagram holds one. It is cut to [`SYSLOG_BYTES_MAX`] bytes.
    pub fn line(&self) -> String {
        // Error, warning and informational of RFC 5424, table 2.
        let severity = match self.severity {
            Severity::Error => 3,
            Severity::Warning => 4,
            Severity::Informational => 6,
        };
        // Times have milliseconds, as messages do.
        let time = self.time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ");
        let mut line = format!(
            "<{}>1 {time} {} tidegate {} {} [origin software=\"tidegate\"] \u{feff}{} {} {}: {} (alert {})",
            FACILITY * 8 + severity,
            printable(self.machine, 255),
            self.process_id,
            self.message_id,
            plain(self.component),
            plain(self.site_code),
            self.message_id,
            plain(self.text),
            plain(self.key),
        );
        let mut end = line.len().min(SYSLOG_BYTES_MAX);
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        line.truncate(end);
        line
    }
}

/// A field of the head: printable ASCII without blanks, `-` for nothing.
fn printable(text: &str, longest: usize) -> String {
    let field: String = text
        .chars()
        .filter(char::is_ascii_graphic)
        .take(longest)
        .collect();
    match field.is_empty() {
        true => "-".to_owned(),
        false => field,
    }
}

/// Text without what would end or move a line.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry<'a>(machine: &'a str, text: &'a str) -> SyslogEntry<'a> {
        SyslogEntry {
            severity: Severity::Error,
            time: "2026-11-21T12:00:00.5Z".parse().unwrap(),
            machine,
            process_id: 7,
            message_id: 60123,
            component: "SMS_DMP_DOWNLOADER",
            site_code: "P01",
            text,
            key: "k-1",
        }
    }

    #[test]
    fn a_line_is_that_of_rfc_5424() {
        assert_eq!(
            entry("host", "It\nbroke").line(),
            "<27>1 2026-11-21T12:00:00.500Z host tidegate 7 60123 [origin software=\"tidegate\"] \
             \u{feff}SMS_DMP_DOWNLOADER P01 60123: It broke (alert k-1)"
        );
        assert!(entry("", "x").line().contains(" - tidegate "));
    }

    proptest! {
        #[test]
        fn a_line_stays_one_and_short(machine in ".*", text in ".{0,3000}") {
            let line = entry(&machine, &text).line();
            prop_assert!(line.len() <= SYSLOG_BYTES_MAX);
            prop_assert!(!line.chars().any(char::is_control));
            prop_assert_eq!(line.split(' ').nth(3), Some("tidegate"));
        }
    }
}
