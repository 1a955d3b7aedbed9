//! What a command prints: results on stdout, progress and failures on stderr, colour only where a person
//! looks. `--json` prints the same types that the API speaks.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::cli::{Colour, Global};
use crate::failure::Failure;
use crate::words;

/// How a word is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// As it is.
    Plain,
    /// Headings.
    Bold,
    /// Less important.
    Faint,
    /// All is well.
    Good,
    /// Look here.
    Warning,
    /// Act here.
    Bad,
}

impl Style {
    /// The escape sequence that turns it on.
    pub fn sequence(self) -> &'static str {
        match self {
            Style::Plain => "",
            Style::Bold => "\u{1b}[1m",
            Style::Faint => "\u{1b}[2m",
            Style::Good => "\u{1b}[32m",
            Style::Warning => "\u{1b}[33m",
            Style::Bad => "\u{1b}[31m",
        }
    }
}

/// Turns every style off.
pub const PLAIN_SEQUENCE: &str = "\u{1b}[0m";

/// Where a command prints to.
#[derive(Debug, Clone)]
pub struct Output {
    /// Programs read stdout.
    pub json: bool,
    /// Only results and failures.
    pub quiet: bool,
    /// Zone of times for people.
    pub zone: TimeZone,
    colour_out: bool,
    colour_err: bool,
}

impl Output {
    /// Decides about colour: `--color`, then `NO_COLOR` (no-color.org), then whether it is a terminal.
    pub fn new(global: &Global, no_colour: bool, dumb_terminal: bool) -> Self {
        let coloured = |terminal: bool| match global.color {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => terminal && !no_colour && !dumb_terminal,
        };
        Output {
            json: global.json,
            quiet: global.quiet,
            zone: TimeZone::system(),
            colour_out: coloured(io::stdout().is_terminal()) && !global.json,
            colour_err: coloured(io::stderr().is_terminal()),
        }
    }

    /// The time, for "5 min ago".
    pub fn now(&self) -> Timestamp {
        executive::Clock::System.now()
    }

    /// `5 min ago (14:05:09)`
    pub fn when(&self, at: Timestamp) -> String {
        words::when(at, self.now(), &self.zone)
    }

    /// The same, or a dash.
    pub fn when_if(&self, at: Option<Timestamp>) -> String {
        at.map_or_else(|| "-".to_owned(), |at| self.when(at))
    }

    /// Whether results are coloured.
    pub fn colours(&self) -> bool {
        self.colour_out
    }

    /// Columns of the terminal; none if stdout is none.
    pub fn width(&self) -> Option<u16> {
        if !io::stdout().is_terminal() {
            return None;
        }
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
        (size.ws_col >= 20).then_some(size.ws_col)
    }

    /// A word in a style, if colour is on.
    pub fn styled(&self, style: Style, text: impl Display) -> String {
        paint(self.colour_out, style, text)
    }

    /// Prints a line of the result.
    pub fn line(&self, text: impl Display) -> Result<(), Failure> {
        written(writeln!(io::stdout().lock(), "{text}"))
    }

    /// Prints a result for programs.
    pub fn json(&self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value)?;
        self.line(text)
    }

    /// Prints a result for programs in one line, for outputs without an end.
    pub fn json_line(&self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value)?;
        self.line(text)
    }

    /// Tells a person what happened or what to do next; never part of the result.
    pub fn note(&self, text: impl Display) {
        if !self.quiet && !self.json {
            self.aside(text);
        }
    }

    /// Prints a line on stderr. A stderr that is gone leaves nobody to tell.
    pub fn aside(&self, text: impl Display) {
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    /// A note's command to type.
    pub fn command(&self, text: impl Display) -> String {
        paint(self.colour_err, Style::Bold, text)
    }

    /// A word of a note in a style.
    pub fn styled_note(&self, style: Style, text: impl Display) -> String {
        paint(self.colour_err, style, text)
    }

    /// Prints `error: …` and `hint: …`.
    pub fn failure(&self, failure: &Failure) {
        let (what, hint) = match failure {
            Failure::Failed { what, hint } | Failure::Usage { what, hint } => (what, hint),
            Failure::Told | Failure::Found(_) | Failure::ReaderGone => return,
        };
        let error = paint(self.colour_err, Style::Bad, "error:");
        self.aside(format_args!("{error} {}", words::harmless(what)));
        if let Some(hint) = hint {
            let label = paint(self.colour_err, Style::Good, "hint:");
            self.aside(format_args!("{label} {}", words::harmless(hint)));
        }
    }
}

fn paint(on: bool, style: Style, text: impl Display) -> String {
    if on && style != Style::Plain {
        format!("{}{text}{PLAIN_SEQUENCE}", style.sequence())
    } else {
        text.to_string()
    }
}

fn written(result: io::Result<()>) -> Result<(), Failure> {
    match result {
        Err(failure) if failure.kind() == io::ErrorKind::BrokenPipe => Err(Failure::ReaderGone),
        Err(failure) => Err(Failure::new(format!("cannot write the output: {failure}"))),
        Ok(()) => Ok(()),
    }
}
