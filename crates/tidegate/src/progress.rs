//! Progress for people, on stderr: a bar on a terminal, a line now and then elsewhere, nothing with
//! `--quiet` or `--json`.

use std::fmt::Display;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::{Output, Style};
use crate::words;

/// Something under way.
pub struct Progress {
    output: Output,
    bar: Option<ProgressBar>,
    silent: bool,
    last: String,
    last_tenth: u64,
}

/// Bytes of something under way.
#[derive(Debug, Clone, Copy)]
pub struct Bytes {
    /// Bytes done.
    pub done: u64,
    /// Bytes to do.
    pub total: u64,
    /// Bytes per second, once known.
    pub rate: Option<u64>,
}

impl Progress {
    /// Begins to show progress.
    pub fn new(output: &Output) -> Self {
        let silent = output.quiet || output.json;
        let bar = (!silent && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Progress {
            output: output.clone(),
            bar,
            silent,
            last: String::new(),
            last_tenth: u64::MAX,
        }
    }

    /// Shows what is being done at this moment.
    pub fn show(&mut self, text: impl Display, bytes: Option<Bytes>) {
        let text = words::harmless(&text.to_string());
        if let Some(bar) = &self.bar {
            match bytes {
                Some(bytes) => {
                    bar.set_style(style("{spinner} [{bar:30}] {percent:>3} % {msg}"));
                    bar.set_length(bytes.total.max(1));
                    bar.set_position(bytes.done);
                    bar.set_message(format!("{} {text}", amounts(bytes)));
                }
                None => {
                    bar.set_style(style("{spinner} {msg}"));
                    bar.set_message(text);
                }
            }
        } else if !self.silent {
            let tenth = bytes.map_or(0, |bytes| bytes.done.saturating_mul(10) / bytes.total.max(1));
            if text != self.last || tenth != self.last_tenth {
                match bytes {
                    Some(bytes) => self.output.aside(format_args!("{text}: {}", amounts(bytes))),
                    None => self.output.aside(&text),
                }
                self.last = text;
                self.last_tenth = tenth;
            }
        }
    }

    /// Shows an amount that grows towards an end nobody knows yet; elsewhere than on a terminal, only what
    /// is being done.
    pub fn count(&mut self, what: &str, amount: impl Display) {
        match self.bar {
            Some(_) => self.show(format_args!("{what}, {amount}"), None),
            None => self.show(what, None),
        }
    }

    /// Prints a step that is over, above whatever is under way.
    pub fn step(&mut self, style: Style, outcome: &str, text: impl Display) {
        if self.silent {
            return;
        }
        let line = format!(
            "{} {}",
            self.output.styled_note(style, format_args!("{outcome:>9}")),
            words::harmless(&text.to_string())
        );
        match &self.bar {
            Some(bar) => bar.println(line),
            None => self.output.aside(line),
        }
        self.last.clear();
    }

    /// Takes the bar away.
    pub fn end(self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn amounts(bytes: Bytes) -> String {
    let of = format!("{} of {}", words::bytes(bytes.done), words::bytes(bytes.total));
    match bytes.rate {
        Some(rate) if rate > 0 => {
            let left = bytes.total.saturating_sub(bytes.done) / rate;
            format!("{of}, {}/s, {} left", words::bytes(rate), words::span(left))
        }
        _ => of,
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are constants of this file and are exercised by the tests.
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
        .tick_chars("-\\|/ ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_understood() {
        for template in ["{spinner} [{bar:30}] {percent:>3} % {msg}", "{spinner} {msg}"] {
            assert!(ProgressStyle::with_template(template).is_ok());
        }
    }

    #[test]
    fn amounts_in_words() {
        let check =
            |done, total, rate, expected: &str| assert_eq!(amounts(Bytes { done, total, rate }), expected);
        check(0, 1000, None, "0 B of 1.00 kB");
        check(
            5_000_000,
            20_000_000,
            Some(3_000_000),
            "5.00 MB of 20.0 MB, 3.00 MB/s, 5 s left",
        );
        check(20, 10, Some(0), "20 B of 10 B");
    }
}
