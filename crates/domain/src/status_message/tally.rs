//! The sixteen intervals over which messages of components are counted (components-status-logs, section 5).
//!
//! An interval has the product's token, begins at an instant that follows from now and the site's time zone,
//! and always ends now. There are no others: a token that is not here has no data.

use jiff::civil::{Date, Weekday};
use jiff::{Timestamp, Zoned};

/// An interval by when it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TallyInterval {
    /// The last time the clock showed this full hour: 0, 4, 8, 12, 16 or 20.
    Hour(i8),
    /// The last midnight that began this day of the week.
    Weekday(Weekday),
    /// The last midnight that began this day of a month: the 1st or the 15th.
    DayOfMonth(i8),
    /// The installation of the site.
    Installation,
}

/// Token and name of every interval, the default first.
const INTERVALS: [(TallyInterval, &str, &str); 16] = [
    (TallyInterval::Hour(0), "0001128000100008", "midnight"),
    (TallyInterval::Hour(4), "0081128000100008", "04:00"),
    (TallyInterval::Hour(8), "0101128000100008", "08:00"),
    (TallyInterval::Hour(12), "0181128000100008", "12:00"),
    (TallyInterval::Hour(16), "0201128000100008", "16:00"),
    (TallyInterval::Hour(20), "0281128000100008", "20:00"),
    (
        TallyInterval::Weekday(Weekday::Sunday),
        "0001128000192000",
        "sunday",
    ),
    (
        TallyInterval::Weekday(Weekday::Monday),
        "00011280001A2000",
        "monday",
    ),
    (
        TallyInterval::Weekday(Weekday::Tuesday),
        "00011280001B2000",
        "tuesday",
    ),
    (
        TallyInterval::Weekday(Weekday::Wednesday),
        "00011280001C2000",
        "wednesday",
    ),
    (
        TallyInterval::Weekday(Weekday::Thursday),
        "00011280001D2000",
        "thursday",
    ),
    (
        TallyInterval::Weekday(Weekday::Friday),
        "00011280001E2000",
        "friday",
    ),
    (
        TallyInterval::Weekday(Weekday::Saturday),
        "00011280001F2000",
        "saturday",
    ),
    (TallyInterval::DayOfMonth(1), "000A470000284400", "first-of-month"),
    (
        TallyInterval::DayOfMonth(15),
        "000A4700002BC400",
        "fifteenth-of-month",
    ),
    (TallyInterval::Installation, "0001128000080008", "installation"),
];

impl TallyInterval {
    /// "Since 12:00 AM".
    pub const DEFAULT: TallyInterval = TallyInterval::Hour(0);

    /// Every interval, the default first.
    pub fn all() -> impl Iterator<Item = TallyInterval> {
        INTERVALS.iter().map(|(interval, _, _)| *interval)
    }

    /// The interval with this token; the product writes tokens in capitals, either case is taken.
    pub fn from_token(token: &str) -> Option<Self> {
        INTERVALS
            .iter()
            .find(|(_, known, _)| known.eq_ignore_ascii_case(token))
            .map(|(interval, _, _)| *interval)
    }

    /// The interval with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        INTERVALS
            .iter()
            .find(|(_, _, known)| *known == name)
            .map(|(interval, _, _)| *interval)
    }

    /// The product's token; empty for an interval that is not one of the sixteen.
    pub fn token(self) -> &'static str {
        self.entry().map_or("", |(_, token, _)| *token)
    }

    /// What it is called on the command line; empty for an interval that is not one of the sixteen.
    pub fn name(self) -> &'static str {
        self.entry().map_or("", |(_, _, name)| *name)
    }

    fn entry(self) -> Option<&'static (TallyInterval, &'static str, &'static str)> {
        INTERVALS.iter().find(|(interval, _, _)| *interval == self)
    }

    /// When the interval began that ends now; never after `now`. Hours and days are those of the zone of `now`.
    pub fn begin(self, now: &Zoned, installed_at: Timestamp) -> Timestamp {
        let today = now.date();
        let begin = match self {
            TallyInterval::Installation => Some(installed_at),
            TallyInterval::Hour(hour) => [Some(today), today.yesterday().ok()]
                .into_iter()
                .flatten()
                .filter_map(|day| begin_of(day, hour, now))
                .find(|begin| *begin <= now.timestamp()),
            TallyInterval::Weekday(weekday) => {
                let back = now.weekday().since(weekday);
                let day = today.checked_sub(jiff::Span::new().days(back)).ok();
                day.and_then(|day| begin_of(day, 0, now))
            }
            TallyInterval::DayOfMonth(number) => {
                let this_month = today.with().day(number).build().ok();
                let day = this_month.filter(|day| *day <= today).or_else(|| {
                    // Found from the first, which every month has.
                    let month_before = today.first_of_month().yesterday().ok()?;
                    month_before.with().day(number).build().ok()
                });
                day.and_then(|day| begin_of(day, 0, now))
            }
        };
        // Only at the edge of time, or for the installation of a site whose clock ran ahead.
        begin.unwrap_or(Timestamp::MIN).min(now.timestamp())
    }
}

/// The first instant of a day at which its clock shows this hour or, where it is put forward over it, a later one.
fn begin_of(day: Date, hour: i8, now: &Zoned) -> Option<Timestamp> {
    let zone = now.time_zone().clone();
    match hour {
        0 => day.to_zoned(zone).ok()?.start_of_day().ok(),
        hour => day.at(hour, 0, 0, 0).to_zoned(zone).ok(),
    }
    .map(|begin| begin.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::TimeZone;
    use proptest::prelude::*;

    fn zoned(text: &str) -> Zoned {
        text.parse().unwrap()
    }

    #[test]
    fn each_interval_begins_where_its_name_says() {
        // A Wednesday, the 10th.
        let now = zoned("2026-06-10T09:30:00+02:00[Europe/Berlin]");
        let installed = "2026-01-02T03:04:05Z".parse().unwrap();
        let check = |name: &str, expected: &str| {
            let interval = TallyInterval::from_name(name).unwrap();
            let begin = interval.begin(&now, installed).to_zoned(now.time_zone().clone());
            assert_eq!(begin.datetime().to_string(), expected, "{name}");
        };
        check("midnight", "2026-06-10T00:00:00");
        check("04:00", "2026-06-10T04:00:00");
        check("08:00", "2026-06-10T08:00:00");
        check("12:00", "2026-06-09T12:00:00");
        check("16:00", "2026-06-09T16:00:00");
        check("20:00", "2026-06-09T20:00:00");
        check("sunday", "2026-06-07T00:00:00");
        check("monday", "2026-06-08T00:00:00");
        check("tuesday", "2026-06-09T00:00:00");
        check("wednesday", "2026-06-10T00:00:00");
        check("thursday", "2026-06-04T00:00:00");
        check("friday", "2026-06-05T00:00:00");
        check("saturday", "2026-06-06T00:00:00");
        check("first-of-month", "2026-06-01T00:00:00");
        check("fifteenth-of-month", "2026-05-15T00:00:00");
        check("installation", "2026-01-02T04:04:05");
    }

    #[test]
    fn a_day_without_midnight_begins_later_and_spoils_no_other_day() {
        // In Brazil the clock went from 00:00 to 01:00 on 4 November 2018.
        let now = zoned("2018-11-04T12:00:00-02:00[America/Sao_Paulo]");
        let at = |name: &str| {
            let begin = TallyInterval::from_name(name)
                .unwrap()
                .begin(&now, Timestamp::UNIX_EPOCH);
            begin.to_zoned(now.time_zone().clone()).datetime().to_string()
        };
        assert_eq!(at("midnight"), "2018-11-04T01:00:00");
        assert_eq!(at("first-of-month"), "2018-11-01T00:00:00");
        assert_eq!(at("saturday"), "2018-11-03T00:00:00");
    }

    #[test]
    fn tokens_and_names_are_sixteen_and_read_back() {
        let tokens: std::collections::BTreeSet<_> = TallyInterval::all().map(TallyInterval::token).collect();
        assert_eq!(tokens.len(), 16);
        for interval in TallyInterval::all() {
            assert_eq!(TallyInterval::from_token(interval.token()), Some(interval));
            assert_eq!(TallyInterval::from_name(interval.name()), Some(interval));
        }
        assert_eq!(TallyInterval::DEFAULT.token(), "0001128000100008");
        for unknown in ["", "0001128000100009", "midnight"] {
            assert_eq!(TallyInterval::from_token(unknown), None);
        }
    }

    proptest! {
        #[test]
        fn an_interval_begins_within_its_length(second in 0i64..4_000_000_000, zone in 0usize..5) {
            let zones = ["UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Kathmandu", "Pacific/Apia"];
            let at = Timestamp::from_second(second).unwrap();
            let now = at.to_zoned(TimeZone::get(zones[zone]).unwrap());
            for interval in TallyInterval::all() {
                let begin = interval.begin(&now, Timestamp::UNIX_EPOCH);
                prop_assert!(begin <= at);
                // A calendar may skip a day (Apia did), and turn its clock back by an hour.
                let longest_hours = match interval {
                    TallyInterval::Hour(_) => 24 + 25,
                    TallyInterval::Weekday(_) => 8 * 24 + 2,
                    TallyInterval::DayOfMonth(_) => 32 * 24 + 2,
                    TallyInterval::Installation => i64::MAX / 3600,
                };
                prop_assert!(at.as_second() - begin.as_second() <= longest_hours * 3600, "{interval:?}");
            }
        }
    }
}
