//! Reports are built from the dictionary: what is in neither the level nor the dictionary has no way in.

use std::collections::BTreeMap;

use super::dictionary::{Category, Kind, METRICS, Metric, Protection, metric};
use super::level::Level;
use super::words::WORD_CHARACTERS_MAX;

/// Most words of a list or histogram.
pub const WORDS_MAX: usize = 1_000;
/// Fewer than this of a word are told as [`RARE`].
pub const RARE_BELOW: u64 = 5;
/// The word for words that are rare.
pub const RARE: &str = "rare";

/// A value of a datum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Yes or no.
    Flag(bool),
    /// A number.
    Count(u64),
    /// A word.
    Text(String),
    /// Words.
    Texts(Vec<String>),
    /// Counts by word.
    Histogram(BTreeMap<String, u64>),
}

impl Value {
    /// What it is.
    pub fn kind(&self) -> Kind {
        match self {
            Value::Flag(_) => Kind::Flag,
            Value::Count(_) => Kind::Count,
            Value::Text(_) => Kind::Text,
            Value::Texts(_) => Kind::Texts,
            Value::Histogram(_) => Kind::Histogram,
        }
    }
}

/// What was measured, by name of the dictionary.
pub type Collected = BTreeMap<&'static str, Value>;

/// Puts the measurements of the sites of a hierarchy together, the top-tier site's first: what is counted is
/// added up, words are united, and what speaks of the top-tier site alone stays its own.
pub fn aggregate(sites: impl IntoIterator<Item = Collected>) -> Collected {
    let mut sites = sites.into_iter();
    let mut whole = sites.next().unwrap_or_default();
    for site in sites {
        for (name, value) in site {
            if !metric(name).is_some_and(is_of_every_site) {
                continue;
            }
            match (whole.get_mut(name), value) {
                (None, value) => {
                    whole.insert(name, value);
                }
                (Some(Value::Count(sum)), Value::Count(count)) => *sum = sum.saturating_add(count),
                (Some(Value::Flag(any)), Value::Flag(flag)) => *any |= flag,
                (Some(Value::Texts(all)), Value::Texts(texts)) => all.extend(texts),
                (Some(Value::Histogram(all)), Value::Histogram(counts)) => {
                    for (word, count) in counts {
                        let sum = all.entry(word).or_default();
                        *sum = sum.saturating_add(count);
                    }
                }
                (Some(_), _) => {}
            }
        }
    }
    whole
}

/// Whether every site has its part in a datum, and not the top-tier site alone.
fn is_of_every_site(metric: &Metric) -> bool {
    match metric.category {
        Category::Components | Category::Crashes | Category::Inventory => metric.kind != Kind::Text,
        Category::Hierarchy => matches!(metric.name, "hierarchy.sites" | "hierarchy.site-types"),
        Category::Setup
        | Category::Platform
        | Category::Database
        | Category::Features
        | Category::Updates
        | Category::Content
        | Category::Internet => false,
    }
}

/// Why a measurement cannot go into a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejected {
    /// Not in the dictionary.
    Unknown {
        /// Name.
        name: String,
    },
    /// Another kind than the dictionary says.
    Kind {
        /// Name.
        name: &'static str,
        /// What the dictionary says.
        expected: Kind,
    },
}

impl std::fmt::Display for Rejected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Rejected::Unknown { name } => write!(f, "{name} is not in the dictionary of usage data"),
            Rejected::Kind { name, expected } => {
                write!(
                    f,
                    "{name} is no {}, which the dictionary says it is",
                    expected.as_str()
                )
            }
        }
    }
}

impl std::error::Error for Rejected {}

/// The values of a report at a level. What was not measured is left out; what is of a higher level is
/// left out; what is not in the dictionary is an error, never silently sent.
pub fn build(level: Level, collected: &Collected) -> Result<BTreeMap<&'static str, Value>, Rejected> {
    for (name, value) in collected {
        let Some(known) = metric(name) else {
            return Err(Rejected::Unknown {
                name: (*name).to_owned(),
            });
        };
        if value.kind() != known.kind {
            return Err(Rejected::Kind {
                name: known.name,
                expected: known.kind,
            });
        }
    }
    let of_level = METRICS.iter().filter(|metric| metric.level <= level);
    Ok(of_level
        .filter_map(|metric| Some((metric.name, protected(metric, collected.get(metric.name)?))))
        .collect())
}

fn protected(metric: &Metric, value: &Value) -> Value {
    let word = |text: &String| -> String { text.chars().take(WORD_CHARACTERS_MAX).collect() };
    match value {
        Value::Flag(flag) => Value::Flag(*flag),
        Value::Count(count) => Value::Count(match metric.protection {
            Protection::Bucketed => bucket(*count),
            Protection::Plain
            | Protection::Thresholded
            | Protection::Scrubbed
            | Protection::KeyedHash
            | Protection::MatchHash => *count,
        }),
        Value::Text(text) => Value::Text(word(text)),
        Value::Texts(texts) => {
            let mut texts: Vec<String> = texts.iter().take(WORDS_MAX).map(word).collect();
            texts.sort();
            texts.dedup();
            Value::Texts(texts)
        }
        Value::Histogram(counts) => {
            let mut told: BTreeMap<String, u64> = BTreeMap::new();
            let mut rare = 0_u64;
            for (name, count) in counts.iter().take(WORDS_MAX) {
                match metric.protection {
                    Protection::Thresholded if *count < RARE_BELOW || name == RARE => {
                        rare = rare.saturating_add(*count);
                    }
                    Protection::Plain
                    | Protection::Bucketed
                    | Protection::Thresholded
                    | Protection::Scrubbed
                    | Protection::KeyedHash
                    | Protection::MatchHash => {
                        told.insert(word(name), *count);
                    }
                }
            }
            if rare > 0 {
                // Rounded too: one rare word alone would be told exactly.
                told.insert(
                    RARE.to_owned(),
                    rare.div_ceil(RARE_BELOW).saturating_mul(RARE_BELOW),
                );
            }
            Value::Histogram(told)
        }
    }
}

/// The next power of two.
pub fn bucket(count: u64) -> u64 {
    match count {
        0 => 0,
        count => count.checked_next_power_of_two().unwrap_or(1 << 63),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn example(kind: Kind, number: u64) -> Value {
        match kind {
            Kind::Flag => Value::Flag(number.is_multiple_of(2)),
            Kind::Count => Value::Count(number),
            Kind::Text => Value::Text(format!("t{number}")),
            Kind::Texts => Value::Texts(vec![format!("b{number}"), "a".into()]),
            Kind::Histogram => Value::Histogram([(format!("h{number}"), number)].into()),
        }
    }

    fn everything(number: u64) -> Collected {
        METRICS
            .iter()
            .map(|metric| (metric.name, example(metric.kind, number)))
            .collect()
    }

    #[test]
    fn a1_each_level_holds_the_one_below_it() {
        let all = everything(3);
        let [basic, enhanced, full] = Level::ALL.map(|level| build(level, &all).unwrap());
        assert!(basic.keys().all(|name| enhanced.contains_key(name)));
        assert!(enhanced.keys().all(|name| full.contains_key(name)));
        assert!(basic.len() < enhanced.len() && enhanced.len() < full.len());
        assert_eq!(full.len(), METRICS.len());
        assert_eq!(Level::default(), Level::Enhanced);
        assert_eq!("Standard".parse::<Level>(), Ok(Level::Enhanced));
    }

    #[test]
    fn a9_what_is_not_in_the_dictionary_is_an_error() {
        let mut collected = everything(1);
        collected.insert("site.name", Value::Text("Plant 7".into()));
        assert!(matches!(
            build(Level::Full, &collected),
            Err(Rejected::Unknown { .. })
        ));
        let mut collected = everything(1);
        collected.insert("scp.mode", Value::Count(1));
        assert!(matches!(
            build(Level::Basic, &collected),
            Err(Rejected::Kind { .. })
        ));
    }

    #[test]
    fn rare_words_are_told_together() {
        let counts = [("a", 100), ("b", 4), ("c", 2), ("rare", 1), ("d", 5)];
        let counts = counts.map(|(word, count)| (word.to_owned(), count));
        let collected = [("inventory.os", Value::Histogram(counts.into()))].into();
        let report = build(Level::Basic, &collected).unwrap();
        let expected = [("a", 100), ("d", 5), ("rare", 10)].map(|(word, count)| (word.to_owned(), count));
        assert_eq!(report["inventory.os"], Value::Histogram(expected.into()));
    }

    #[test]
    fn sites_are_added_up() {
        let site = |os: &str, devices: u64, sites: u64| -> Collected {
            [
                ("platform.os", Value::Text(os.into())),
                ("inventory.clients", Value::Count(devices)),
                (
                    "inventory.os",
                    Value::Histogram([("windows".to_owned(), devices)].into()),
                ),
                ("hierarchy.sites", Value::Count(sites)),
            ]
            .into()
        };
        let whole = aggregate([site("debian", 10, 1), site("ubuntu", 20, 1), site("rhel", 5, 1)]);
        assert_eq!(whole, site("debian", 35, 3));
        assert_eq!(aggregate([]), Collected::new());
    }

    #[test]
    fn sizes_are_told_in_powers_of_two() {
        for (count, expected) in [
            (0, 0),
            (1, 1),
            (3, 4),
            (1024, 1024),
            (1025, 2048),
            (u64::MAX, 1 << 63),
        ] {
            assert_eq!(bucket(count), expected);
        }
    }

    proptest! {
        #[test]
        fn no_field_above_the_level(number in any::<u64>(), level in 0_usize..3, kept in proptest::collection::vec(any::<bool>(), METRICS.len())) {
            let level = Level::ALL[level];
            let mut collected = everything(number);
            let mut kept = kept.into_iter();
            collected.retain(|_, _| kept.next().unwrap_or(true));
            let report = build(level, &collected).unwrap();
            prop_assert!(report.keys().all(|name| metric(name).unwrap().level <= level));
            prop_assert!(report.keys().all(|name| collected.contains_key(name)));
        }
    }
}
