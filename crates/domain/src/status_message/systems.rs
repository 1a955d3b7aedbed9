//! The site system status summarizer: how much room there is where the site keeps things (components-status-logs,
//! section 5). Looked at every hour on the hour.

use jiff::{Timestamp, Unit, Zoned, ZonedRound};

use super::ComponentHealth;

/// Less than this is a warning, in KiB (10 GiB).
pub const SPACE_WARNING_KIB: u64 = 10_485_760;
/// Less than this is critical, in KiB (5 GiB).
pub const SPACE_CRITICAL_KIB: u64 = 5_242_880;
/// Largest threshold, in KiB: a pebibyte.
pub const SPACE_KIB_MAX: u64 = 1 << 40;

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SystemObject {
    /// The file system of the site's directory.
    FileSystem,
    /// The database: what it can still take, in its file and around it.
    Database,
}

impl SystemObject {
    /// Every object.
    pub const ALL: [SystemObject; 2] = [SystemObject::FileSystem, SystemObject::Database];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            SystemObject::FileSystem => "file-system",
            SystemObject::Database => "database",
        }
    }

    /// The object with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|object| object.as_str() == name)
    }
}

/// Room below which an object is shown in another colour, in KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpaceThresholds {
    /// Warning below this.
    pub warning_kib: u64,
    /// Critical below this.
    pub critical_kib: u64,
}

impl Default for SpaceThresholds {
    fn default() -> Self {
        SpaceThresholds {
            warning_kib: SPACE_WARNING_KIB,
            critical_kib: SPACE_CRITICAL_KIB,
        }
    }
}

impl SpaceThresholds {
    /// Whether they make sense: room shrinks through the warning to the critical one, or to both at once. Zero is never
    /// reached and switches a threshold off.
    pub fn check(&self) -> Result<(), String> {
        let SpaceThresholds {
            warning_kib,
            critical_kib,
        } = *self;
        if warning_kib > SPACE_KIB_MAX || critical_kib > SPACE_KIB_MAX {
            return Err(format!("a threshold of room is {SPACE_KIB_MAX} KB at most"));
        }
        match critical_kib <= warning_kib {
            true => Ok(()),
            false => Err(format!(
                "critical below {critical_kib} KB is above warning below {warning_kib} KB; room shrinks through the warning first"
            )),
        }
    }

    /// What so much room means.
    pub fn health(&self, free_kib: u64) -> ComponentHealth {
        if free_kib < self.critical_kib {
            ComponentHealth::Critical
        } else if free_kib < self.warning_kib {
            ComponentHealth::Warning
        } else {
            ComponentHealth::Ok
        }
    }
}

/// The next full hour on the clocks of a zone, always after `now`.
pub fn next_look(now: &Zoned) -> Timestamp {
    let hour_from_now = now.saturating_add(jiff::SignedDuration::from_hours(1));
    let round = ZonedRound::new()
        .smallest(Unit::Hour)
        .mode(jiff::RoundMode::Trunc);
    let next = hour_from_now
        .round(round)
        .map_or(hour_from_now.timestamp(), |at| at.timestamp());
    match next > now.timestamp() {
        true => next,
        // Where the clock is put back, an hour from now may begin before now.
        false => hour_from_now.timestamp(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::TimeZone;
    use proptest::prelude::*;

    #[test]
    fn room_turns_yellow_below_ten_and_red_below_five_gibibytes() {
        let check = |free_kib, expected| {
            assert_eq!(
                SpaceThresholds::default().health(free_kib),
                expected,
                "{free_kib}"
            );
        };
        check(10_485_760, ComponentHealth::Ok);
        check(10_485_759, ComponentHealth::Warning);
        check(5_242_880, ComponentHealth::Warning);
        check(5_242_879, ComponentHealth::Critical);
        check(0, ComponentHealth::Critical);
        let of = |warning_kib, critical_kib| SpaceThresholds {
            warning_kib,
            critical_kib,
        };
        assert_eq!(of(0, 0).health(0), ComponentHealth::Ok);
        assert!(of(5, 5).check().is_ok() && of(0, 0).check().is_ok());
        assert!(of(4, 5).check().is_err() && of(SPACE_KIB_MAX + 1, 5).check().is_err());
    }

    #[test]
    fn looks_are_on_the_hour_of_the_zone() {
        let check = |now: &str, expected: &str| {
            let now: Zoned = now.parse().unwrap();
            let next = next_look(&now).to_zoned(now.time_zone().clone());
            assert_eq!(next.datetime().to_string(), expected);
        };
        check("2026-06-10T09:30:00+02:00[Europe/Berlin]", "2026-06-10T10:00:00");
        check("2026-06-10T10:00:00+02:00[Europe/Berlin]", "2026-06-10T11:00:00");
        check("2026-06-10T23:59:59+05:45[Asia/Kathmandu]", "2026-06-11T00:00:00");
    }

    proptest! {
        #[test]
        fn a_look_comes_within_the_hour(second in 0i64..4_000_000_000, zone in 0usize..4) {
            let zones = ["UTC", "Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe"];
            let at = Timestamp::from_second(second).unwrap();
            let next = next_look(&at.to_zoned(TimeZone::get(zones[zone]).unwrap()));
            prop_assert!(next > at && next.as_second() - at.as_second() <= 3600);
        }
    }
}
