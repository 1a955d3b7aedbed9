//! Counts of the inventory: one pass over each table, numbers only, nothing of a row kept.

use std::collections::{BTreeMap, HashMap};

use domain::usage_data::inventory::Table;
use domain::usage_data::{Collected, Value, bucket};
use jiff::Timestamp;
use store::{NOTHING, Tx};

use super::CollectError;

/// Words of one histogram that are counted apart; further ones count as `other`.
const WORDS_COUNTED_MAX: usize = 10_000;
/// Processor names that are told.
const PROCESSORS_MAX: usize = 50;
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
const MIB_PER_GIB: u64 = 1_024;

/// Counts by the numbers of words. Words are numbered from 1 on without gaps, so most counts are one
/// addition to an array.
#[derive(Default)]
struct Counts {
    small: Vec<u64>,
    large: HashMap<i64, u64>,
}

impl Counts {
    fn add(&mut self, number: i64) {
        self.add_times(number, 1);
    }

    fn add_times(&mut self, number: i64, times: u64) {
        match usize::try_from(number) {
            Ok(at) if at < WORDS_COUNTED_MAX => {
                if at >= self.small.len() {
                    self.small.resize(at + 1, 0);
                }
                self.small[at] += times;
            }
            // A field without a value is counted nowhere.
            _ if number == NOTHING => {}
            _ if self.large.len() < WORDS_COUNTED_MAX || self.large.contains_key(&number) => {
                *self.large.entry(number).or_default() += times;
            }
            _ => *self.large.entry(NOTHING).or_default() += times,
        }
    }

    fn each(&self) -> impl Iterator<Item = (i64, u64)> {
        let small = self
            .small
            .iter()
            .enumerate()
            .map(|(at, count)| (at as i64, *count));
        small
            .chain(self.large.iter().map(|(number, count)| (*number, *count)))
            .filter(|(_, count)| *count > 0)
    }

    /// The most frequent ones by name.
    fn told(&self, most: usize, name: impl Fn(i64) -> Option<String>) -> BTreeMap<String, u64> {
        let mut named: Vec<(u64, String)> = self
            .each()
            .map(|(number, count)| (count, name(number).unwrap_or_else(|| "other".to_owned())))
            .collect();
        named.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        let mut told = BTreeMap::new();
        for (at, (count, name)) in named.into_iter().enumerate() {
            let name = if at < most { name } else { "other".to_owned() };
            *told.entry(name).or_default() += count;
        }
        told
    }
}

/// Words of a histogram that are told at most; the rest is `other`.
const TOLD_MAX: usize = 200;

/// Counts every table that was imported.
pub(super) fn count(
    tx: &Tx<'_>,
    now: Timestamp,
    go_on: &dyn Fn() -> bool,
    found: &mut Collected,
) -> Result<(), CollectError> {
    let words = tx.inventory_words()?.by_number();
    let word = |number: i64| words.get(&number).cloned();
    let whole = devices(tx, now, go_on, &word, found)?
        && users(tx, go_on, &word, found)?
        && collections(tx, go_on, &word, found)?
        && deployments(tx, go_on, &word, found)?;
    match whole {
        true => Ok(()),
        false => Err(CollectError::Cancelled),
    }
}

type Word<'a> = &'a dyn Fn(i64) -> Option<String>;

fn devices(
    tx: &Tx<'_>,
    now: Timestamp,
    go_on: &dyn Fn() -> bool,
    word: Word<'_>,
    found: &mut Collected,
) -> Result<bool, CollectError> {
    if tx.inventory_import(Table::Devices)?.is_none() {
        return Ok(true);
    }
    let columns = [
        "os",
        "os_version",
        "arch",
        "client_version",
        "processor",
        "joined",
        "managed",
        "memory_mib",
        "virtual",
        "last_seen",
    ];
    let [mut systems, mut versions, mut architectures, mut clients] = [const { None }; 4].map(counts);
    let [mut processors, mut joined, mut managed, mut memory, mut seen] = [const { None }; 5].map(counts);
    let (mut devices, mut virtual_devices) = (0_u64, 0_u64);
    let now_ms = now.as_millisecond();
    let whole = tx.scan_inventory(Table::Devices, &columns, go_on, &mut |row| {
        let [
            os,
            os_version,
            arch,
            client,
            processor,
            join,
            manager,
            memory_mib,
            is_virtual,
            last_seen,
        ] = *row
        else {
            return;
        };
        devices += 1;
        systems.add(os);
        if os != NOTHING && os_version != NOTHING {
            versions.add(pair(os, os_version));
        }
        architectures.add(arch);
        clients.add(client);
        processors.add(processor);
        joined.add(join);
        managed.add(manager);
        if memory_mib != NOTHING {
            memory.add(exponent(memory_mib.unsigned_abs().div_ceil(MIB_PER_GIB)));
        }
        virtual_devices += u64::from(is_virtual == 1);
        if last_seen != NOTHING {
            let days = now_ms.saturating_sub(last_seen).max(0) / DAY_MS;
            seen.add(exponent(days.unsigned_abs()));
        }
    })?;
    let power = |exponent: i64| Some(power(exponent).to_string());
    let version = |number: i64| {
        let (os, version) = unpair(number);
        Some(format!("{} {}", word(os)?, word(version)?))
    };
    found.insert("inventory.clients", Value::Count(devices));
    found.insert("inventory.virtual", Value::Count(virtual_devices));
    for (name, histogram) in [
        ("inventory.os", systems.told(TOLD_MAX, word)),
        ("inventory.os-versions", versions.told(TOLD_MAX, version)),
        ("inventory.arch", architectures.told(TOLD_MAX, word)),
        ("inventory.client-versions", clients.told(TOLD_MAX, word)),
        ("inventory.processors", processors.told(PROCESSORS_MAX, word)),
        ("inventory.join", joined.told(TOLD_MAX, word)),
        ("inventory.managed", managed.told(TOLD_MAX, word)),
        ("inventory.memory-gib", memory.told(TOLD_MAX, power)),
        ("inventory.last-seen-days", seen.told(TOLD_MAX, power)),
    ] {
        found.insert(name, Value::Histogram(histogram));
    }
    Ok(whole)
}

fn counts(_: Option<()>) -> Counts {
    Counts::default()
}

/// Two numbers of words as one; words are fewer than 2^20.
fn pair(first: i64, second: i64) -> i64 {
    (first << 20) | second
}

fn unpair(number: i64) -> (i64, i64) {
    (number >> 20, number & ((1 << 20) - 1))
}

/// Which power of two a count is told as: 0 for 0, else one more than the exponent.
fn exponent(count: u64) -> i64 {
    match bucket(count) {
        0 => 0,
        power => i64::from(power.trailing_zeros()) + 1,
    }
}

fn power(exponent: i64) -> u64 {
    match exponent {
        0 => 0,
        exponent => 1 << (exponent - 1).clamp(0, 63),
    }
}

fn users(
    tx: &Tx<'_>,
    go_on: &dyn Fn() -> bool,
    word: Word<'_>,
    found: &mut Collected,
) -> Result<bool, CollectError> {
    if tx.inventory_import(Table::Users)?.is_none() {
        return Ok(true);
    }
    let mut sources = Counts::default();
    let whole = tx.scan_inventory(Table::Users, &["source"], go_on, &mut |row| sources.add(row[0]))?;
    let rounded = sources
        .told(TOLD_MAX, word)
        .into_iter()
        .map(|(word, count)| (word, bucket(count)));
    found.insert("inventory.users", Value::Histogram(rounded.collect()));
    Ok(whole)
}

fn collections(
    tx: &Tx<'_>,
    go_on: &dyn Fn() -> bool,
    word: Word<'_>,
    found: &mut Collected,
) -> Result<bool, CollectError> {
    if tx.inventory_import(Table::Collections)?.is_none() {
        return Ok(true);
    }
    let (mut kinds, mut members) = (Counts::default(), Counts::default());
    let whole = tx.scan_inventory(Table::Collections, &["kind", "members"], go_on, &mut |row| {
        kinds.add(row[0]);
        if row[1] != NOTHING {
            members.add(exponent(row[1].unsigned_abs()));
        }
    })?;
    let power = |exponent: i64| Some(power(exponent).to_string());
    found.insert(
        "inventory.collections",
        Value::Histogram(kinds.told(TOLD_MAX, word)),
    );
    found.insert(
        "inventory.collection-members",
        Value::Histogram(members.told(TOLD_MAX, power)),
    );
    Ok(whole)
}

fn deployments(
    tx: &Tx<'_>,
    go_on: &dyn Fn() -> bool,
    word: Word<'_>,
    found: &mut Collected,
) -> Result<bool, CollectError> {
    if tx.inventory_import(Table::Deployments)?.is_none() {
        return Ok(true);
    }
    let columns = ["kind", "purpose", "targeted", "succeeded", "failed", "error_code"];
    let (mut kinds, mut purposes) = (Counts::default(), Counts::default());
    let mut errors: BTreeMap<i64, u64> = BTreeMap::new();
    let mut outcomes = [0_u64; 3];
    let whole = tx.scan_inventory(Table::Deployments, &columns, go_on, &mut |row| {
        kinds.add(row[0]);
        purposes.add(row[1]);
        for (sum, count) in outcomes.iter_mut().zip(&row[2..5]) {
            *sum = sum.saturating_add((*count).max(0).unsigned_abs());
        }
        let known = errors.contains_key(&row[5]);
        if row[5] != NOTHING && row[5] != 0 && (known || errors.len() < TOLD_MAX) {
            *errors.entry(row[5]).or_default() += 1;
        }
    })?;
    let words = ["targeted", "succeeded", "failed"].map(str::to_owned);
    found.insert(
        "inventory.deployments",
        Value::Histogram(kinds.told(TOLD_MAX, word)),
    );
    found.insert(
        "inventory.deployment-purposes",
        Value::Histogram(purposes.told(TOLD_MAX, word)),
    );
    found.insert(
        "inventory.deployment-outcomes",
        Value::Histogram(words.into_iter().zip(outcomes).collect()),
    );
    let errors = errors.into_iter().map(|(code, count)| (code.to_string(), count));
    found.insert("inventory.deployment-errors", Value::Histogram(errors.collect()));
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_counted_by_powers_of_two() {
        for (count, told) in [(0, 0), (1, 1), (2, 2), (3, 4), (16, 16), (17, 32)] {
            assert_eq!(power(exponent(count)), told, "{count}");
        }
        assert_eq!(unpair(pair(17, 99_999)), (17, 99_999));
    }

    #[test]
    fn words_without_end_stay_bounded() {
        let mut counts = Counts::default();
        for number in 0..3 * WORDS_COUNTED_MAX as i64 {
            counts.add(number);
        }
        counts.add(NOTHING);
        assert!(counts.each().count() <= 2 * WORDS_COUNTED_MAX + 1);
        let total: u64 = counts.each().map(|(_, count)| count).sum();
        assert_eq!(total, 3 * WORDS_COUNTED_MAX as u64);
        let told = counts.told(50, |number| Some(number.to_string()));
        assert!(told.len() <= 51 && told["other"] > 0);
    }

    mod nothing_is_told {
        use std::io::{Seek, Write};

        use domain::usage_data::inventory::{ColumnKind, Table};
        use domain::usage_data::{Collected, Level, METRICS, build, metric};
        use jiff::Timestamp;
        use proptest::prelude::*;
        use protocol::usage::{canonical, values};
        use store::Store;

        use super::super::super::CollectError;
        use super::super::super::import::{Format, import};

        /// What must never be told, wherever it is put.
        fn planted() -> impl Strategy<Value = String> {
            prop_oneof![
                any::<[u8; 4]>().prop_map(|[a, b, c, d]| format!("{a}.{b}.{c}.{d}")),
                any::<[u16; 3]>().prop_map(|[a, b, c]| format!("fe80::{a:x}:{b:x}:{c:x}")),
                any::<[u8; 6]>().prop_map(|m| m.map(|byte| format!("{byte:02x}")).join(":")),
                "[a-z]{4,8}".prop_map(|name| format!("{name}@plant.example")),
                "[a-z]{4,8}".prop_map(|name| format!("{name}.plant7.example")),
                "[a-z]{4,8}".prop_map(|name| format!("/home/{name}/file")),
                "[0-9A-F]{2}[0-9]{8}".prop_map(|serial| format!("SN{serial}")),
            ]
        }

        proptest! {
            #![proptest_config(ProptestConfig::with_cases(48))]

            /// Whatever an inventory holds: nothing above the level, nothing of what was planted, neither in
            /// the report nor in an error.
            #[test]
            fn of_any_inventory(
                table in 0..Table::ALL.len(),
                rows in proptest::collection::vec(proptest::collection::vec(planted(), 12), 1..30),
                where_planted in proptest::collection::vec(any::<bool>(), 12),
                strict in any::<bool>(),
                level in 0..3_usize,
            ) {
                let (table, level) = (Table::ALL[table], Level::ALL[level]);
                let columns = table.columns();
                let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
                let mut text = names.join(",") + "\n";
                for (number, row) in rows.iter().enumerate() {
                    let fields = columns.iter().enumerate().map(|(at, column)| match column.kind {
                        ColumnKind::Id => format!("{}-{number}", row[at]),
                        // Where anything but the right form is an error, errors are looked at too.
                        _ if where_planted[at] && strict => row[at].clone(),
                        ColumnKind::Word(_) | ColumnKind::Hardware => row[at].clone(),
                        ColumnKind::Version | ColumnKind::Count | ColumnKind::Code => number.to_string(),
                        ColumnKind::Flag => "true".into(),
                        ColumnKind::Instant => "2026-01-01T00:00:00Z".into(),
                    });
                    // Five of each, so that nothing is hidden for being rare.
                    let fields: Vec<String> = fields.collect();
                    for copy in 0..5 {
                        let mut fields = fields.clone();
                        fields[0].push_str(&format!("-{copy}"));
                        text += &(fields.join(",") + "\n");
                    }
                }
                let folder = tempfile::tempdir().unwrap();
                let store = Store::open(&folder.path().join("site.db")).unwrap();
                let mut file = tempfile::tempfile().unwrap();
                file.write_all(text.as_bytes()).unwrap();
                file.rewind().unwrap();
                let told = match import(&store, table, Format::Csv, file, Timestamp::UNIX_EPOCH) {
                    Err(failure) => failure.to_string(),
                    Ok(_) => {
                        let collected = store.read_blocking::<_, CollectError>(|tx| {
                            let mut found = Collected::new();
                            super::super::count(tx, Timestamp::UNIX_EPOCH, &|| true, &mut found)?;
                            Ok(found)
                        });
                        let report = build(level, &collected.unwrap()).unwrap();
                        prop_assert!(report.keys().all(|name| metric(name).unwrap().level <= level));
                        let body = canonical(level, Timestamp::UNIX_EPOCH, &report);
                        prop_assert!(values(&body).is_ok());
                        body
                    }
                };
                for row in &rows {
                    for planted in row.iter().take(columns.len()) {
                        prop_assert!(!told.contains(planted.as_str()), "{planted}: {told}");
                    }
                }
            }
        }

        #[test]
        fn every_datum_of_the_inventory_is_counted() {
            let folder = tempfile::tempdir().unwrap();
            let store = Store::open(&folder.path().join("site.db")).unwrap();
            for table in Table::ALL {
                let names: Vec<&str> = table.columns().iter().map(|column| column.name).collect();
                let mut file = tempfile::tempfile().unwrap();
                writeln!(file, "{}", names.join(",")).unwrap();
                file.rewind().unwrap();
                import(&store, table, Format::Csv, file, Timestamp::UNIX_EPOCH).unwrap();
            }
            let found = store.read_blocking::<_, CollectError>(|tx| {
                let mut found = Collected::new();
                super::super::count(tx, Timestamp::UNIX_EPOCH, &|| true, &mut found)?;
                Ok(found)
            });
            let found = found.unwrap();
            let expected = METRICS
                .iter()
                .filter(|metric| metric.name.starts_with("inventory."));
            assert!(expected.clone().count() > 10);
            for metric in expected {
                assert_eq!(
                    found.get(metric.name).map(|value| value.kind()),
                    Some(metric.kind),
                    "{}",
                    metric.name
                );
            }
        }
    }
}
