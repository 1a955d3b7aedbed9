//! From counts of messages to the health of a component (section 5).

use super::Severity;

/// Largest count that a threshold may name.
pub const THRESHOLD_MAX: u64 = 1_000_000_000;

/// How many messages of each severity count since the tally began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Informational messages.
    pub informational: u64,
    /// Warnings.
    pub warning: u64,
    /// Errors.
    pub error: u64,
    /// Messages that turn a component critical at once (11488).
    pub critical: u64,
}

/// The counts at which a component is shown in another colour. Reaching a number is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// Informational messages: warning at, critical at.
    pub informational: (u64, u64),
    /// Warnings: warning at, critical at.
    pub warning: (u64, u64),
    /// Errors: warning at, critical at.
    pub error: (u64, u64),
}

impl Default for Thresholds {
    fn default() -> Self {
        Thresholds {
            informational: (2000, 5000),
            warning: (10, 50),
            error: (1, 5),
        }
    }
}

/// The colour of a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ComponentHealth {
    /// Green.
    Ok,
    /// Yellow.
    Warning,
    /// Red.
    Critical,
}

impl ComponentHealth {
    /// The product's word.
    pub fn as_str(self) -> &'static str {
        match self {
            ComponentHealth::Ok => "OK",
            ComponentHealth::Warning => "Warning",
            ComponentHealth::Critical => "Critical",
        }
    }
}

/// Why a threshold is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThresholdRefused {
    /// The component would be yellow without a single message, or the number is beyond any count.
    OutOfRange,
    /// It would be red before it is yellow.
    WarningAboveCritical,
}

impl ThresholdRefused {
    /// One sentence for whoever asked.
    pub fn message(self, warning_at: u64, critical_at: u64) -> String {
        match self {
            ThresholdRefused::OutOfRange => format!(
                "a threshold is a number of messages from 1 to {THRESHOLD_MAX}; warning at {warning_at}, critical at {critical_at} was asked for"
            ),
            ThresholdRefused::WarningAboveCritical => format!(
                "warning at {warning_at} is above critical at {critical_at}; the warning comes first or with it"
            ),
        }
    }
}

/// Checks a pair of thresholds.
pub fn check_threshold(warning_at: u64, critical_at: u64) -> Result<(), ThresholdRefused> {
    let sensible = 1..=THRESHOLD_MAX;
    if !sensible.contains(&warning_at) || !sensible.contains(&critical_at) {
        return Err(ThresholdRefused::OutOfRange);
    }
    match warning_at <= critical_at {
        true => Ok(()),
        false => Err(ThresholdRefused::WarningAboveCritical),
    }
}

impl Thresholds {
    /// The pair of a severity.
    pub fn of(&self, severity: Severity) -> (u64, u64) {
        match severity {
            Severity::Informational => self.informational,
            Severity::Warning => self.warning,
            Severity::Error => self.error,
        }
    }

    /// The same with another pair for one severity.
    pub fn with(mut self, severity: Severity, pair: (u64, u64)) -> Self {
        match severity {
            Severity::Informational => self.informational = pair,
            Severity::Warning => self.warning = pair,
            Severity::Error => self.error = pair,
        }
        self
    }

    /// The worst of what the three counts say.
    pub fn health(&self, counts: Counts) -> ComponentHealth {
        let of = |count: u64, (warning, critical): (u64, u64)| {
            if count >= critical {
                ComponentHealth::Critical
            } else if count >= warning {
                ComponentHealth::Warning
            } else {
                ComponentHealth::Ok
            }
        };
        if counts.critical > 0 {
            return ComponentHealth::Critical;
        }
        of(counts.informational, self.informational)
            .max(of(counts.warning, self.warning))
            .max(of(counts.error, self.error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reaching_a_threshold_is_enough() {
        let check = |informational, warning, error, critical, expected| {
            let counts = Counts {
                informational,
                warning,
                error,
                critical,
            };
            assert_eq!(Thresholds::default().health(counts), expected, "{counts:?}");
        };
        check(1999, 9, 0, 0, ComponentHealth::Ok);
        check(2000, 0, 0, 0, ComponentHealth::Warning);
        check(5000, 0, 0, 0, ComponentHealth::Critical);
        check(0, 10, 0, 0, ComponentHealth::Warning);
        check(0, 50, 0, 0, ComponentHealth::Critical);
        check(0, 0, 1, 0, ComponentHealth::Warning);
        check(0, 0, 5, 0, ComponentHealth::Critical);
        check(0, 0, 1, 1, ComponentHealth::Critical);
    }

    #[test]
    fn pairs_out_of_order_or_range_are_refused() {
        assert_eq!(check_threshold(1, 1), Ok(()));
        assert_eq!(check_threshold(10, 50), Ok(()));
        assert_eq!(
            check_threshold(51, 50),
            Err(ThresholdRefused::WarningAboveCritical)
        );
        assert_eq!(check_threshold(0, 50), Err(ThresholdRefused::OutOfRange));
        assert_eq!(
            check_threshold(1, THRESHOLD_MAX + 1),
            Err(ThresholdRefused::OutOfRange)
        );
    }

    proptest! {
        #[test]
        fn more_messages_never_look_better(
            informational in 0u64..6000, warning in 0u64..60, error in 0u64..6, more in 0u64..100,
            pair in (1u64..100, 0u64..100),
        ) {
            let pair = (pair.0, pair.0 + pair.1);
            let thresholds = Thresholds::default().with(Severity::Warning, pair);
            let counts = Counts { informational, warning, error, critical: 0 };
            let health = thresholds.health(counts);
            for grown in [
                Counts { informational: informational + more, ..counts },
                Counts { warning: warning + more, ..counts },
                Counts { error: error + more, ..counts },
                Counts { critical: more, ..counts },
            ] {
                prop_assert!(thresholds.health(grown) >= health);
            }
        }
    }
}
