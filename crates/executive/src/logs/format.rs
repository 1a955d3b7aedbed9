//! One log line, in the simple and in the CCM form.

use domain::component::LogForm;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// How grave a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gravity {
    /// Only at log level verbose.
    Verbose,
    /// Type 1.
    Information,
    /// Type 2.
    Warning,
    /// Type 3.
    Error,
}

/// What a line says.
#[derive(Debug, Clone)]
pub struct Line<'a> {
    /// When.
    pub at: Timestamp,
    /// Component name.
    pub component: &'a str,
    /// How grave.
    pub gravity: Gravity,
    /// Thread id.
    pub thread: u32,
    /// `file.rs:line`, only in the CCM form.
    pub source: &'a str,
    /// The message; may have line breaks.
    pub text: &'a str,
}

/// Writes a line in the given form, with its line end.
///
/// The simple form has no field for gravity; viewers look for the words, so they lead the text.
pub fn format(line: &Line<'_>, form: LogForm, zone: &TimeZone) -> String {
    let local = line.at.to_zoned(zone.clone());
    let time = local.strftime("%H:%M:%S%.3f");
    let date = local.strftime("%m-%d-%Y");
    let bias = bias(local.offset().seconds());
    match form {
        LogForm::Simple => {
            let prefix = match line.gravity {
                Gravity::Verbose | Gravity::Information => "",
                Gravity::Warning => "WARNING: ",
                Gravity::Error => "ERROR: ",
            };
            // One line per entry: every line break becomes a tilde, as in the original.
            let text: String = line
                .text
                .chars()
                .map(|c| match c {
                    '\r' | '\n' => '~',
                    c if c.is_control() => ' ',
                    c => c,
                })
                .collect();
            // `$$<` ends the message for readers.
            let text = text.replace("$$<", "$ $<");
            format!(
                "{prefix}{text}  $$<{}><{date} {time}{bias}><thread={} (0x{:04X})>\n",
                line.component, line.thread, line.thread
            )
        }
        LogForm::Ccm => {
            let kind = match line.gravity {
                Gravity::Verbose | Gravity::Information => 1,
                Gravity::Warning => 2,
                Gravity::Error => 3,
            };
            let text = line.text.replace("]LOG]!>", "]LOG] !>");
            format!(
                "<![LOG[{text}]LOG]!><time=\"{time}{bias}\" date=\"{date}\" component=\"{}\" context=\"\" type=\"{kind}\" thread=\"{}\" file=\"{}\">\r\n",
                line.component, line.thread, line.source
            )
        }
    }
}

/// Minutes to add to local time to get UTC, with sign: UTC-5 is `+300`, UTC+1 is `-60`, UTC is `+000`.
fn bias(offset_s: i32) -> String {
    match -(offset_s / 60) {
        0 => "+000".to_owned(),
        minutes => format!("{minutes:+03}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str, gravity: Gravity, form: LogForm, zone: &str) -> String {
        let at: Timestamp = "2026-11-21T15:11:46.039Z".parse().unwrap();
        let line = Line {
            at,
            component: "SMS_HIERARCHY_MANAGER",
            gravity,
            thread: 4840,
            source: "a.rs:7",
            text,
        };
        format(&line, form, &TimeZone::posix(zone).unwrap())
    }

    #[test]
    fn simple_lines() {
        let check = |text, gravity, zone, expected: &str| {
            assert_eq!(line(text, gravity, LogForm::Simple, zone), expected);
        };
        check(
            "Found it",
            Gravity::Information,
            "UTC0",
            "Found it  $$<SMS_HIERARCHY_MANAGER><11-21-2026 15:11:46.039+000><thread=4840 (0x12E8)>\n",
        );
        check(
            "one\r\ntwo",
            Gravity::Warning,
            "EST5",
            "WARNING: one~~two  $$<SMS_HIERARCHY_MANAGER><11-21-2026 10:11:46.039+300><thread=4840 (0x12E8)>\n",
        );
        check(
            "no $$< here",
            Gravity::Error,
            "CET-1",
            "ERROR: no $ $< here  $$<SMS_HIERARCHY_MANAGER><11-21-2026 16:11:46.039-60><thread=4840 (0x12E8)>\n",
        );
    }

    #[test]
    fn ccm_lines() {
        assert_eq!(
            line("a ]LOG]!> b", Gravity::Error, LogForm::Ccm, "UTC0"),
            "<![LOG[a ]LOG] !> b]LOG]!><time=\"15:11:46.039+000\" date=\"11-21-2026\" component=\"SMS_HIERARCHY_MANAGER\" context=\"\" type=\"3\" thread=\"4840\" file=\"a.rs:7\">\r\n"
        );
    }
}
