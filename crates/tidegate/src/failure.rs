//! How a command fails: one clear sentence on stderr, and what to do, often the next command to type.

use std::error::Error;
use std::process::ExitCode;

/// The end of a command that did not do what was asked.
#[derive(Debug)]
pub enum Failure {
    /// Something went wrong; exit code 1.
    Failed {
        /// What, with causes.
        what: String,
        /// What to do.
        hint: Option<String>,
    },
    /// The command line asks for something that makes no sense; exit code 2.
    Usage {
        /// What.
        what: String,
        /// What to write instead.
        hint: Option<String>,
    },
    /// Everything worth saying has been printed; exit code 1.
    Told,
    /// A check found something; its outcome is the exit code.
    Found(u8),
    /// Whoever read the output has gone (`tidegate … | head`); nothing is left to say, exit code 0.
    ReaderGone,
}

impl Failure {
    /// A failure with its sentence.
    pub fn new(what: impl Into<String>) -> Self {
        Failure::Failed {
            what: what.into(),
            hint: None,
        }
    }

    /// Wrong usage that the parser cannot see.
    pub fn usage(what: impl Into<String>) -> Self {
        Failure::Usage {
            what: what.into(),
            hint: None,
        }
    }

    /// A failure told by an error and everything that caused it.
    pub fn of(failure: &dyn Error) -> Self {
        Failure::new(with_causes(failure))
    }

    /// Adds what to do.
    #[must_use]
    pub fn hint(self, text: impl Into<String>) -> Self {
        let hint = Some(text.into());
        match self {
            Failure::Failed { what, .. } => Failure::Failed { what, hint },
            Failure::Usage { what, .. } => Failure::Usage { what, hint },
            other => other,
        }
    }

    /// What failed, for a log.
    pub fn words(&self) -> &str {
        match self {
            Failure::Failed { what, .. } | Failure::Usage { what, .. } => what,
            Failure::Told | Failure::Found(_) | Failure::ReaderGone => "",
        }
    }

    /// The code the process ends with.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Failure::Failed { .. } | Failure::Told => ExitCode::from(1),
            Failure::Usage { .. } => ExitCode::from(2),
            Failure::Found(code) => ExitCode::from(*code),
            Failure::ReaderGone => ExitCode::SUCCESS,
        }
    }
}

impl<E: Error> From<E> for Failure {
    fn from(failure: E) -> Self {
        Failure::of(&failure)
    }
}

/// An error and its causes in one line; a cause whose words are already there is left out.
pub fn with_causes(failure: &dyn Error) -> String {
    let mut text = failure.to_string();
    let mut cause = failure.source();
    while let Some(deeper) = cause {
        let words = deeper.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = deeper.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read site.db")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn causes_follow_once() {
        let failure = Outer(std::io::Error::other("disk on fire"));
        assert_eq!(with_causes(&failure), "cannot read site.db: disk on fire");
        let Failure::Failed { what, hint } = Failure::from(failure).hint("put it out") else {
            panic!("another kind of failure");
        };
        assert_eq!(
            (what.as_str(), hint.as_deref()),
            ("cannot read site.db: disk on fire", Some("put it out"))
        );
    }
}
