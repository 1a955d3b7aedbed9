//! How fast content may come over a link: by the hour of the week, as a rate or in pulses. Pure: time is an argument.
//!
//! Rules are lines of text; a later one overrides earlier ones for its hours:
//! `unlimited`, `2 MB/s`, `mon-fri 08-18 500 kB/s`, `sat-sun pulse 256 KiB every 30 s`, `22-06 closed`.
//! The meter counts bytes, not shares of time (hierarchy-and-replication, section 5.1, acceptance facts 9 and 10).

use std::fmt;
use std::time::Duration;

/// Hours of a week.
pub const HOURS: usize = 7 * 24;
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
/// Most rules.
const RULES_MAX: usize = 100;
/// Longest rule.
const RULE_CHARS_MAX: usize = 200;
/// Bounds of a rate in bytes a second.
const RATE_MIN: u64 = 1_000;
const RATE_MAX: u64 = 1_000_000_000_000;
/// Longest time between pulses.
const PULSE_SECONDS_MAX: u64 = 3_600;
/// A rate is held in steps of this part of a second: nothing comes in a larger burst.
const STEPS_PER_SECOND: u64 = 20;

/// What may come at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// As fast as it goes.
    Unlimited,
    /// Bytes a second.
    Rate(u64),
    /// At most so many bytes in every slot of so many seconds.
    Pulse {
        /// Bytes of a slot.
        bytes: u64,
        /// Seconds of a slot.
        every: u64,
    },
    /// Nothing.
    Closed,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limit::Unlimited => f.write_str("unlimited"),
            Limit::Rate(rate) => write!(f, "{rate} B/s"),
            Limit::Pulse { bytes, every } => write!(f, "pulse {bytes} B every {every} s"),
            Limit::Closed => f.write_str("closed"),
        }
    }
}

/// A rule that is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThrottleError {
    /// What was written.
    pub rule: String,
    /// What is wrong and what to write.
    pub problem: &'static str,
}

impl fmt::Display for ThrottleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.problem)
    }
}

impl std::error::Error for ThrottleError {}

/// A limit for every hour of the week, which begins on Monday at 00:00.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    hours: Vec<Limit>,
}

impl Default for Schedule {
    fn default() -> Self {
        Schedule {
            hours: vec![Limit::Unlimited; HOURS],
        }
    }
}

impl Schedule {
    /// Reads rules, one a line; empty lines say nothing.
    pub fn parse(text: &str) -> Result<Self, ThrottleError> {
        let mut schedule = Schedule::default();
        for (number, rule) in text
            .lines()
            .map(str::trim)
            .filter(|rule| !rule.is_empty())
            .enumerate()
        {
            let wrong = |problem| ThrottleError {
                rule: rule.chars().take(RULE_CHARS_MAX).collect(),
                problem,
            };
            if number >= RULES_MAX || rule.chars().count() > RULE_CHARS_MAX {
                return Err(wrong("there are at most 100 rules of 200 characters"));
            }
            schedule.apply(&rule.to_ascii_lowercase()).map_err(wrong)?;
        }
        Ok(schedule)
    }

    fn apply(&mut self, rule: &str) -> Result<(), &'static str> {
        let mut words: Vec<&str> = rule.split_whitespace().collect();
        let mut days = [true; 7];
        if let Some(found) = words.first().and_then(|word| days_of(word)) {
            days = found;
            words.remove(0);
        }
        let mut hours = (0, 24);
        if let Some(found) = words.first().and_then(|word| hours_of(word)) {
            hours = found;
            words.remove(0);
        }
        let limit = limit_of(&words)?;
        for (hour, slot) in self.hours.iter_mut().enumerate() {
            let (day, hour) = (hour / 24, hour % 24);
            // Hours over midnight belong to the day on which they begin.
            let (from, to) = hours;
            let meant = match from < to {
                true => days[day] && (from..to).contains(&hour),
                false => days[day] && hour >= from || days[(day + 6) % 7] && hour < to,
            };
            if meant {
                *slot = limit;
            }
        }
        Ok(())
    }

    /// The limit of an hour of the week.
    pub fn at(&self, hour: usize) -> Limit {
        self.hours[hour % HOURS]
    }

    /// Hours from the begin of `hour` to the begin of the next one that is not closed; nothing if all are closed.
    pub fn opens_after(&self, hour: usize) -> Option<usize> {
        (0..HOURS).find(|ahead| self.at(hour + ahead) != Limit::Closed)
    }

    /// Runs of equal limits over the week, as (first hour, hours, limit).
    pub fn runs(&self) -> Vec<(usize, usize, Limit)> {
        let mut runs: Vec<(usize, usize, Limit)> = Vec::new();
        for (hour, limit) in self.hours.iter().enumerate() {
            match runs.last_mut() {
                Some((_, length, last)) if last == limit => *length += 1,
                _ => runs.push((hour, 1, *limit)),
            }
        }
        runs
    }
}

/// An hour of the week as people write it: `mon 08:00`.
pub fn hour_name(hour: usize) -> String {
    format!("{} {:02}:00", DAYS[hour / 24 % 7], hour % 24)
}

fn day_of(word: &str) -> Option<usize> {
    DAYS.iter().position(|day| *day == word)
}

fn days_of(word: &str) -> Option<[bool; 7]> {
    let mut days = [false; 7];
    for part in word.split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to) = (day_of(from)?, day_of(to)?);
        let mut day = from;
        loop {
            days[day] = true;
            if day == to {
                break;
            }
            day = (day + 1) % 7;
        }
    }
    Some(days)
}

fn hours_of(word: &str) -> Option<(usize, usize)> {
    let (from, to) = word.split_once('-')?;
    let hour = |text: &str| -> Option<usize> {
        let text = text.strip_suffix(":00").unwrap_or(text);
        (text.len() <= 2).then(|| text.parse().ok())?
    };
    let (from, to) = (hour(from)?, hour(to)?);
    (from < 24 && to <= 24 && from != to).then_some((from, to))
}

fn limit_of(words: &[&str]) -> Result<Limit, &'static str> {
    const WHAT: &str = "write unlimited, closed, a rate such as 2 MB/s, or pulse 256 KiB every 30 s; before it days \
                        such as mon-fri and hours such as 08-18, if it is not for all";
    match words {
        ["unlimited"] => Ok(Limit::Unlimited),
        ["closed"] => Ok(Limit::Closed),
        ["pulse", rest @ ..] => {
            let at = rest.iter().position(|word| *word == "every").ok_or(WHAT)?;
            let bytes = amount(&rest[..at].concat()).ok_or(WHAT)?;
            let seconds = rest[at + 1..].concat();
            let every = seconds
                .strip_suffix('s')
                .and_then(|number| number.parse().ok())
                .ok_or(WHAT)?;
            if !(1..=PULSE_SECONDS_MAX).contains(&every) || !(RATE_MIN..=RATE_MAX).contains(&bytes) {
                return Err("a pulse has at least 1000 bytes and comes every 1 to 3600 s");
            }
            Ok(Limit::Pulse { bytes, every })
        }
        rate => {
            let rate = rate.concat();
            let bytes = rate.strip_suffix("/s").and_then(amount).ok_or(WHAT)?;
            if !(RATE_MIN..=RATE_MAX).contains(&bytes) {
                return Err("a rate is at least 1000 bytes a second; to let nothing through, write closed");
            }
            Ok(Limit::Rate(bytes))
        }
    }
}

/// `500kb`, `2mib`, `1000b`.
fn amount(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit {
        "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// What the meter says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// So many bytes may pass now, at least one of those that were wanted.
    Pass(u64),
    /// Nothing before so much time has passed.
    Wait(Duration),
}

/// Counts the bytes of one link. Times are since any fixed instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Meter {
    limit: Option<Limit>,
    /// Begin of the running step or slot, in nanoseconds.
    begin: u128,
    /// Bytes that passed in it.
    passed: u64,
}

impl Meter {
    /// Lets up to `wanted` bytes pass at `now`. A changed limit begins anew; what passed before is not held against it.
    pub fn pass(&mut self, limit: Limit, now: Duration, wanted: u64) -> Verdict {
        if self.limit != Some(limit) {
            *self = Meter {
                limit: Some(limit),
                begin: now.as_nanos(),
                passed: 0,
            };
        }
        let (bytes, length) = match limit {
            Limit::Unlimited => return Verdict::Pass(wanted),
            Limit::Closed => return Verdict::Wait(Duration::from_secs(60)),
            // Steps so short that many make one byte do not come up: a rate has at least 50 bytes a step.
            Limit::Rate(rate) => (
                rate / STEPS_PER_SECOND,
                NANOS_PER_SECOND / u128::from(STEPS_PER_SECOND),
            ),
            Limit::Pulse { bytes, every } => (bytes, NANOS_PER_SECOND * u128::from(every)),
        };
        let elapsed = now.as_nanos().saturating_sub(self.begin);
        if elapsed >= length {
            // Steps that brought nothing are not made up for: no burst follows a pause.
            self.begin += elapsed / length * length;
            self.passed = 0;
        }
        match bytes.saturating_sub(self.passed).min(wanted) {
            0 if wanted > 0 => {
                let left = (self.begin + length).saturating_sub(now.as_nanos());
                Verdict::Wait(Duration::from_nanos(u64::try_from(left).unwrap_or(u64::MAX)))
            }
            allowed => {
                self.passed += allowed;
                Verdict::Pass(allowed)
            }
        }
    }
}

const NANOS_PER_SECOND: u128 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rules() {
        let schedule =
            Schedule::parse("2 MB/s\nmon-fri 08-18 500 kB/s\nsat,sun closed\n22-06 Unlimited\n").unwrap();
        assert_eq!(schedule.at(7), Limit::Rate(2_000_000));
        assert_eq!(schedule.at(8), Limit::Rate(500_000));
        assert_eq!(schedule.at(17), Limit::Rate(500_000));
        assert_eq!(schedule.at(18), Limit::Rate(2_000_000));
        assert_eq!(schedule.at(22), Limit::Unlimited);
        assert_eq!(schedule.at(5), Limit::Unlimited);
        assert_eq!(schedule.at(5 * 24 + 12), Limit::Closed);
        assert_eq!(schedule.opens_after(5 * 24 + 12), Some(10));
        assert_eq!(schedule.opens_after(12), Some(0));
        assert_eq!(Schedule::parse("closed").unwrap().opens_after(3), None);
        assert_eq!(
            Schedule::parse("").unwrap().runs(),
            [(0, HOURS, Limit::Unlimited)]
        );
        let pulse = Schedule::parse("fri-mon 22-02 pulse 256 KiB every 30 s").unwrap();
        let expected = Limit::Pulse {
            bytes: 262_144,
            every: 30,
        };
        // Friday night goes on into Saturday, Monday night into Tuesday; Sunday night came from Sunday.
        for hour in [4 * 24 + 22, 5 * 24 + 1, 6 * 24 + 23, 0, 25, 23] {
            assert_eq!(pulse.at(hour), expected, "{}", hour_name(hour));
        }
        assert_eq!(pulse.at(2), Limit::Unlimited);
        assert_eq!(pulse.at(24 + 22), Limit::Unlimited);
    }

    #[test]
    fn refusals_say_what_to_write() {
        for (rule, part) in [
            ("fast", "such as 2 MB/s"),
            ("10 B/s", "at least 1000"),
            ("mon-fri 18-18 closed", "such as 2 MB/s"),
            ("mon-fry closed", "such as 2 MB/s"),
            ("25-26 closed", "such as 2 MB/s"),
            ("pulse 1 MB every 0 s", "every 1 to 3600 s"),
            ("pulse 1 MB", "such as 2 MB/s"),
            ("99999999999999999999 MB/s", "such as 2 MB/s"),
        ] {
            let text = Schedule::parse(rule).unwrap_err().to_string();
            assert!(text.contains(part) && text.contains(rule), "{text}");
        }
    }

    /// Bytes that pass in so many seconds, asked for as fast as the meter lets; and the most within any second.
    fn run(limit: Limit, seconds: u64, chunk: u64) -> (u64, u64) {
        let (mut meter, mut now, end) = (
            Meter::default(),
            Duration::from_secs(7),
            Duration::from_secs(7 + seconds),
        );
        let mut passes: Vec<(Duration, u64)> = Vec::new();
        while now < end {
            match meter.pass(limit, now, chunk) {
                Verdict::Pass(bytes) => passes.push((now, bytes)),
                Verdict::Wait(wait) => now += wait,
            }
        }
        let total = passes.iter().map(|(_, bytes)| bytes).sum();
        let (mut most, mut inside, mut first) = (0, 0, 0);
        for (at, bytes) in &passes {
            inside += bytes;
            while passes[first].0 + Duration::from_secs(1) <= *at {
                inside -= passes[first].1;
                first += 1;
            }
            most = most.max(inside);
        }
        (total, most)
    }

    proptest! {
        #[test]
        fn a_rate_is_held_and_never_burst(rate in 1_000..50_000_000_u64, chunk in 1_000..200_000_u64) {
            let (total, most) = run(Limit::Rate(rate), 60, chunk);
            let expected = rate * 60;
            prop_assert!(total.abs_diff(expected) * 100 <= expected * 3, "{total} of {expected}");
            prop_assert!(most <= rate, "{most} in a second at {rate}");
        }

        #[test]
        fn a_pulse_is_never_more_in_its_slot(bytes in 1_000..1_000_000_u64, every in 1..60_u64) {
            let (total, _) = run(Limit::Pulse { bytes, every }, every * 10, 5_000);
            prop_assert_eq!(total, bytes * 10);
        }

        #[test]
        fn any_text(text in ".{0,300}") {
            if let Ok(schedule) = Schedule::parse(&text) {
                let total: usize = schedule.runs().iter().map(|(_, hours, _)| hours).sum();
                prop_assert_eq!(total, HOURS);
            }
        }
    }

    #[test]
    fn a_pause_is_not_made_up_for_and_a_change_counts_at_once() {
        let mut meter = Meter::default();
        let limit = Limit::Rate(20_000);
        assert_eq!(meter.pass(limit, Duration::ZERO, 5_000), Verdict::Pass(1_000));
        let late = Duration::from_secs(100);
        assert_eq!(meter.pass(limit, late, 5_000), Verdict::Pass(1_000));
        assert_eq!(
            meter.pass(limit, late, 5_000),
            Verdict::Wait(Duration::from_millis(50))
        );
        assert_eq!(
            meter.pass(limit, late, 0),
            Verdict::Pass(0),
            "nothing has not to wait"
        );
        assert_eq!(meter.pass(Limit::Unlimited, late, 5_000), Verdict::Pass(5_000));
        assert_eq!(
            meter.pass(Limit::Closed, late, 5_000),
            Verdict::Wait(Duration::from_secs(60))
        );
        assert_eq!(
            meter.pass(Limit::Rate(200_000), late, 5_000),
            Verdict::Pass(5_000)
        );
    }
}
