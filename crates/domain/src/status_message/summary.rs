//! From counts of messages to the health of a component (section 5).

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

impl Thresholds {
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
}
