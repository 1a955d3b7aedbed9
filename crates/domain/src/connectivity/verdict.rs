//! What answers prove, and what a whole run means (internet-access, sections 1 and 2).

use super::fault::Fault;

/// A status code that fails the check although something answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusMeaning {
    /// The code.
    pub code: u16,
    /// What the standard says.
    pub meaning: &'static str,
    /// The likely reason.
    pub reason: &'static str,
    /// The fault it is.
    pub fault: Fault,
}

const fn meaning(code: u16, meaning: &'static str, reason: &'static str, fault: Fault) -> StatusMeaning {
    StatusMeaning {
        code,
        meaning,
        reason,
        fault,
    }
}

/// The codes that fail (internet-access, section 2); every other one proves that the path works.
pub const FAILING: [StatusMeaning; 8] = [
    meaning(
        407,
        "Proxy Authentication Required",
        "a proxy wants credentials",
        Fault::HttpProxyAuth,
    ),
    meaning(
        408,
        "Request Timeout",
        "a proxy gave up waiting",
        Fault::HttpTimeout,
    ),
    meaning(
        426,
        "Upgrade Required",
        "TLS is configured wrongly on the way",
        Fault::HttpUpgrade,
    ),
    meaning(
        451,
        "Unavailable For Legal Reasons",
        "a filtering policy of a proxy",
        Fault::HttpLegal,
    ),
    meaning(
        502,
        "Bad Gateway",
        "a proxy could not reach the service",
        Fault::HttpGateway,
    ),
    meaning(
        511,
        "Network Authentication Required",
        "a captive portal",
        Fault::HttpCaptive,
    ),
    meaning(
        598,
        "network read time-out",
        "a proxy timed out while it read",
        Fault::HttpTimeout,
    ),
    meaning(
        599,
        "network connect time-out",
        "a proxy timed out while it connected",
        Fault::HttpTimeout,
    ),
];

/// Whether an answer of the endpoint itself fails the check.
pub fn judge_status(code: u16) -> Option<&'static StatusMeaning> {
    FAILING.iter().find(|meaning| meaning.code == code)
}

/// What an answer of the proxy to CONNECT means. 407 is not for here: authentication comes first.
pub fn judge_connect(code: u16) -> Option<Fault> {
    match code {
        200..=299 => None,
        502 | 503 | 504 | 598 | 599 | 500 => Some(Fault::ProxyUpstream),
        300..=599 => Some(Fault::ProxyDenied),
        _ => Some(Fault::NotAProxy),
    }
}

/// What one endpoint adds to the outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contribution {
    /// It answered.
    Passed,
    /// It failed.
    Failed {
        /// Whether anything that is turned on cannot do without it.
        critical: bool,
    },
    /// It is no longer listed; asked for out of curiosity, it decides nothing.
    Retired,
    /// It could not be tried.
    NotRun,
}

/// What a whole run means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// Everything that was tried answered.
    Passed,
    /// Something failed that nothing depends on.
    Warning,
    /// Something failed that is needed.
    Critical,
    /// Nothing could be found out.
    Unknown,
}

impl Outcome {
    /// The outcome of a run.
    pub fn of(contributions: impl IntoIterator<Item = Contribution>) -> Outcome {
        let (mut worst, mut tried, mut not_run) = (Outcome::Passed, false, false);
        for contribution in contributions {
            match contribution {
                Contribution::Passed => tried = true,
                Contribution::Failed { critical } => {
                    tried = true;
                    let now = if critical {
                        Outcome::Critical
                    } else {
                        Outcome::Warning
                    };
                    worst = worst.max(now);
                }
                Contribution::Retired => {}
                Contribution::NotRun => not_run = true,
            }
        }
        match worst {
            Outcome::Passed if not_run || !tried => Outcome::Unknown,
            other => other,
        }
    }

    /// As shown and stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Passed => "passed",
            Outcome::Warning => "warning",
            Outcome::Critical => "critical",
            Outcome::Unknown => "unknown",
        }
    }

    /// The stored form back.
    pub fn parse(text: &str) -> Option<Outcome> {
        [
            Outcome::Passed,
            Outcome::Warning,
            Outcome::Critical,
            Outcome::Unknown,
        ]
        .into_iter()
        .find(|outcome| outcome.as_str() == text)
    }

    /// The exit code of `tidegate check`, as monitoring plug-ins use them.
    pub fn exit_code(self) -> u8 {
        match self {
            Outcome::Passed => 0,
            Outcome::Warning => 1,
            Outcome::Critical => 2,
            Outcome::Unknown => 3,
        }
    }
}

/// Whether a redirect leads to somebody else: another registrable domain, as far as names tell.
pub fn is_foreign(from: &str, to: &str) -> bool {
    !registrable(from).eq_ignore_ascii_case(registrable(to))
}

/// The last two labels, or three where the last two are a country's second level such as `co.uk`.
fn registrable(host: &str) -> &str {
    let mut dots = host.rmatch_indices('.').map(|(at, _)| at);
    let (Some(last), Some(second)) = (dots.next(), dots.next()) else {
        return host;
    };
    let (top, below) = (&host[last + 1..], &host[second + 1..last]);
    if top.len() == 2 && below.len() <= 3 {
        return dots.next().map_or(host, |third| &host[third + 1..]);
    }
    &host[second + 1..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_fail_and_codes_that_prove() {
        let failing: Vec<u16> = (100..=999).filter(|code| judge_status(*code).is_some()).collect();
        assert_eq!(failing, [407, 408, 426, 451, 502, 511, 598, 599]);
        for (code, expected) in [
            (200, None),
            (403, Some(Fault::ProxyDenied)),
            (451, Some(Fault::ProxyDenied)),
            (302, Some(Fault::ProxyDenied)),
            (503, Some(Fault::ProxyUpstream)),
            (599, Some(Fault::ProxyUpstream)),
            (100, Some(Fault::NotAProxy)),
            (999, Some(Fault::NotAProxy)),
        ] {
            assert_eq!(judge_connect(code), expected, "{code}");
        }
    }

    #[test]
    fn outcomes() {
        use Contribution::{Failed, NotRun, Passed, Retired};
        let (hard, soft) = (Failed { critical: true }, Failed { critical: false });
        for (parts, expected) in [
            (vec![Passed, Passed], Outcome::Passed),
            (vec![Passed, soft], Outcome::Warning),
            (vec![soft, hard, soft], Outcome::Critical),
            (vec![Passed, NotRun], Outcome::Unknown),
            (vec![hard, NotRun], Outcome::Critical),
            (vec![Passed, Retired], Outcome::Passed),
            (vec![Retired], Outcome::Unknown),
            (vec![], Outcome::Unknown),
        ] {
            assert_eq!(Outcome::of(parts.clone()), expected, "{parts:?}");
        }
        for outcome in [
            Outcome::Passed,
            Outcome::Warning,
            Outcome::Critical,
            Outcome::Unknown,
        ] {
            assert_eq!(Outcome::parse(outcome.as_str()), Some(outcome));
        }
    }

    #[test]
    fn domains() {
        for (from, to, foreign) in [
            ("go.example.com", "cdn.example.com", false),
            ("example.com", "login.example.net", true),
            ("a.b.co.uk", "x.b.co.uk", false),
            ("a.b.co.uk", "a.c.co.uk", true),
            ("localhost", "localhost", false),
            ("localhost", "portal", true),
            ("a.Example.com", "b.example.COM", false),
        ] {
            assert_eq!(is_foreign(from, to), foreign, "{from} {to}");
        }
    }
}
