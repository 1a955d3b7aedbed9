//! Update packages of the catalogue: their records, states, conditions and history.

use domain::servicing::package::PackageGuid;
use domain::servicing::state::{PackageState, PrereqFlag};
use domain::servicing::transition::PackageEvent;
use domain::servicing::version::FullVersion;
use jiff::Timestamp;
use rusqlite::{Row, params};

use crate::database::{Tx, millis, timestamp};
use crate::error::StoreError;

/// One package as lists need it; the vendor's record is read by [`Tx::package_record`].
#[derive(Debug, Clone)]
pub struct PackageRow {
    /// Key.
    pub guid: PackageGuid,
    /// English name.
    pub name: String,
    /// Version the site has afterwards.
    pub full_version: FullVersion,
    /// When the vendor released it.
    pub released_at: Timestamp,
    /// Whether the newest catalogue still lists it.
    pub listed: bool,
    /// State.
    pub state: PackageState,
    /// Counts changes of the state; a stale actor is refused by it.
    pub generation: i64,
    /// What the administrator's start means for warnings.
    pub flag: PrereqFlag,
    /// Why it is in this state, in one line.
    pub reason: String,
    /// The newest applicable package, which downloads by itself.
    pub newest: bool,
    /// An administrator asked for its download.
    pub requested: bool,
    /// Download attempts of this cycle.
    pub attempts: u32,
    /// When the next attempt begins.
    pub next_attempt_at: Option<Timestamp>,
    /// Last failure of a download.
    pub failure: Option<String>,
    /// Its installation was rolled back.
    pub rolled_back: bool,
    /// When this site first saw it.
    pub added_at: Timestamp,
    /// When its state last changed.
    pub changed_at: Timestamp,
}

/// A package as a catalogue shard lists it.
#[derive(Debug, Clone)]
pub struct ListedPackage {
    /// Key.
    pub guid: PackageGuid,
    /// English name.
    pub name: String,
    /// Version the site has afterwards.
    pub full_version: FullVersion,
    /// When the vendor released it.
    pub released_at: Timestamp,
    /// The catalogue line, as signed.
    pub record: String,
}

/// What evaluation reads per package, a page at a time.
#[derive(Debug, Clone)]
pub struct EvaluationInput {
    /// The row.
    pub row: PackageRow,
    /// The catalogue line.
    pub record: String,
}

/// One condition of the last evaluation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConditionRow {
    /// The condition in words or as source text.
    pub text: String,
    /// What it asks for.
    pub expected: String,
    /// What was found.
    pub actual: String,
    /// `met`, `not-met` or `could-not-evaluate`.
    pub outcome: String,
}

/// One recorded change of a package's state.
#[derive(Debug, Clone)]
pub struct HistoryRow {
    /// Package.
    pub guid: PackageGuid,
    /// State it changed to.
    pub state: PackageState,
    /// When.
    pub recorded_at: Timestamp,
    /// Why, in one line.
    pub reason: String,
}

const COLUMNS: &str =
    "guid, name, full_version, released_at, listed, state, generation, flag, reason, newest, requested,
    attempts, next_attempt_at, failure, rolled_back, added_at, changed_at";

impl Tx<'_> {
    /// One package.
    pub fn package(&self, guid: PackageGuid) -> Result<PackageRow, StoreError> {
        self.one(
            &format!("SELECT {COLUMNS} FROM package WHERE guid = $1"),
            params![guid.to_string()],
            package_row,
        )?
        .ok_or_else(|| StoreError::NotFound {
            what: "update package",
            key: guid.to_string(),
        })
    }

    /// Every package that lists show, newest release first; with `all`, hidden ones too.
    pub fn packages(&self, all: bool, limit: u32) -> Result<Vec<PackageRow>, StoreError> {
        let hidden = if all {
            ""
        } else {
            "WHERE state NOT IN (0, 327681, 393213, 393214)"
        };
        self.many(
            &format!("SELECT {COLUMNS} FROM package {hidden} ORDER BY full_version DESC, released_at DESC, guid LIMIT $1"),
            params![limit],
            package_row,
        )
    }

    /// The newest applicable package, if any applies.
    pub fn newest_package(&self) -> Result<Option<PackageRow>, StoreError> {
        self.one(
            &format!("SELECT {COLUMNS} FROM package WHERE newest = 1 ORDER BY guid LIMIT 1"),
            [],
            package_row,
        )
    }

    /// Every package in a state that components work on, oldest change first.
    pub fn packages_in(&self, states: &[PackageState]) -> Result<Vec<PackageRow>, StoreError> {
        let codes: Vec<String> = states.iter().map(|state| state.code().to_string()).collect();
        self.many(
            &format!(
                "SELECT {COLUMNS} FROM package WHERE state IN ({}) ORDER BY changed_at, guid LIMIT 1000",
                codes.join(", ")
            ),
            [],
            package_row,
        )
    }

    /// Packages that the downloader may have to fetch: asked for, begun, failed or the newest one.
    pub fn download_candidates(&self) -> Result<Vec<PackageRow>, StoreError> {
        self.many(
            &format!(
                "SELECT {COLUMNS} FROM package
                 WHERE state IN (262145, 2, 65537, 65538, 131073, 196609, 196610, 196611, 196613)
                    OR (state IN (327682, 327679) AND (requested = 1 OR newest = 1))
                 ORDER BY changed_at, guid LIMIT 1000"
            ),
            [],
            package_row,
        )
    }

    /// The catalogue line of a package, as signed by the vendor.
    pub fn package_record(&self, guid: PackageGuid) -> Result<String, StoreError> {
        self.one(
            "SELECT record FROM package WHERE guid = $1",
            params![guid.to_string()],
            |r| r.get(0),
        )?
        .ok_or_else(|| StoreError::NotFound {
            what: "update package",
            key: guid.to_string(),
        })
    }

    /// A page of packages with their records, after `after` in order of GUID.
    pub fn evaluation_page(
        &self,
        after: Option<PackageGuid>,
        limit: u32,
    ) -> Result<Vec<EvaluationInput>, StoreError> {
        let after = after.map(|guid| guid.to_string()).unwrap_or_default();
        self.many(
            &format!("SELECT {COLUMNS}, record FROM package WHERE guid > $1 ORDER BY guid LIMIT $2"),
            params![after, limit],
            |r| {
                Ok(EvaluationInput {
                    row: package_row(r)?,
                    record: r.get(17)?,
                })
            },
        )
    }

    /// Stores what a verified shard lists and marks what it no longer lists.
    pub fn store_shard(
        &self,
        shard: &str,
        packages: &[ListedPackage],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.execute("UPDATE package SET listed = 0 WHERE shard = $1", params![shard])?;
        for package in packages {
            self.execute(
                "INSERT INTO package (guid, shard, record, name, full_version, released_at, listed, state, generation,
                     flag, reason, newest, requested, attempts, rolled_back, added_at, changed_at)
                 VALUES ($1, $2, $3, $4, $5, $6, 1, 0, 0, 0, '', 0, 0, 0, 0, $7, $8)
                 ON CONFLICT (guid) DO UPDATE SET shard = excluded.shard, record = excluded.record,
                     name = excluded.name, full_version = excluded.full_version,
                     released_at = excluded.released_at, listed = 1",
                params![
                    package.guid.to_string(),
                    shard,
                    package.record,
                    package.name,
                    package.full_version.to_string(),
                    millis(package.released_at),
                    millis(now),
                    millis(now)
                ],
            )?;
        }
        Ok(())
    }

    /// The shard that lists a package.
    pub fn package_shard(&self, guid: PackageGuid) -> Result<Option<String>, StoreError> {
        self.one(
            "SELECT shard FROM package WHERE guid = $1 AND listed = 1",
            params![guid.to_string()],
            |row| row.get(0),
        )
    }

    /// Lets the state machine take an event; records the new state with its reason.
    pub fn apply(
        &self,
        guid: PackageGuid,
        event: PackageEvent,
        reason: &str,
        now: Timestamp,
    ) -> Result<PackageState, StoreError> {
        let row = self.package(guid)?;
        self.apply_all(&row, &[event], reason, now)
    }

    /// Lets the state machine take several events in a row and records only where they lead.
    pub fn apply_all(
        &self,
        row: &PackageRow,
        events: &[PackageEvent],
        reason: &str,
        now: Timestamp,
    ) -> Result<PackageState, StoreError> {
        let guid = row.guid;
        let mut state = row.state;
        for event in events {
            state = state.next(*event).map_err(|source| StoreError::Illegal {
                guid: guid.to_string(),
                source,
            })?;
        }
        if state == row.state {
            if reason != row.reason {
                self.execute(
                    "UPDATE package SET reason = $1 WHERE guid = $2",
                    params![reason, guid.to_string()],
                )?;
            }
            return Ok(state);
        }
        let changed = self.execute(
            "UPDATE package SET state = $1, generation = generation + 1, reason = $2, changed_at = $3
             WHERE guid = $4 AND generation = $5",
            params![
                state.code(),
                reason,
                millis(now),
                guid.to_string(),
                row.generation
            ],
        )?;
        if changed == 0 {
            return Err(StoreError::NotFound {
                what: "current generation of update package",
                key: guid.to_string(),
            });
        }
        self.execute(
            "INSERT INTO package_history (guid, state, recorded_at, reason) VALUES ($1, $2, $3, $4)",
            params![guid.to_string(), state.code(), millis(now), reason],
        )?;
        Ok(state)
    }

    /// Notes in one line why a package stands where it stands, without a change of state.
    pub fn set_reason(&self, guid: PackageGuid, reason: &str) -> Result<(), StoreError> {
        self.execute(
            "UPDATE package SET reason = $1 WHERE guid = $2",
            params![reason, guid.to_string()],
        )
        .map(drop)
    }

    /// Sets what the administrator's start means for warnings.
    pub fn set_flag(&self, guid: PackageGuid, flag: PrereqFlag) -> Result<(), StoreError> {
        self.execute(
            "UPDATE package SET flag = $1 WHERE guid = $2",
            params![flag.code(), guid.to_string()],
        )
        .map(drop)
    }

    /// Puts a package into the download queue or takes it out.
    pub fn set_requested(&self, guid: PackageGuid, requested: bool) -> Result<(), StoreError> {
        self.execute(
            "UPDATE package SET requested = $1, attempts = 0, next_attempt_at = NULL WHERE guid = $2",
            params![i64::from(requested), guid.to_string()],
        )
        .map(drop)
    }

    /// Counts a failed attempt and when the next one begins.
    pub fn record_attempt_failed(
        &self,
        guid: PackageGuid,
        failure: &str,
        next_at: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        self.execute(
            "UPDATE package SET attempts = attempts + 1, failure = $1, next_attempt_at = $2 WHERE guid = $3",
            params![failure, next_at.map(millis), guid.to_string()],
        )
        .map(drop)
    }

    /// A download waits for something that this site itself wants; that is no attempt.
    pub fn record_waiting(&self, guid: PackageGuid, until: Timestamp) -> Result<(), StoreError> {
        self.execute(
            "UPDATE package SET next_attempt_at = $1 WHERE guid = $2",
            params![millis(until), guid.to_string()],
        )
        .map(drop)
    }

    /// What such downloads waited for may have changed: they look again.
    pub fn clear_waiting(&self) -> Result<(), StoreError> {
        self.execute(
            "UPDATE package SET next_attempt_at = NULL WHERE attempts = 0 AND next_attempt_at IS NOT NULL",
            params![],
        )
        .map(drop)
    }

    /// Forgets failed attempts: of one package, or of all when a new cycle begins.
    pub fn clear_attempts(&self, guid: Option<PackageGuid>) -> Result<(), StoreError> {
        let guid = guid.map(|guid| guid.to_string());
        self.execute(
            "UPDATE package SET attempts = 0, next_attempt_at = NULL, failure = NULL
             WHERE (attempts > 0 OR failure IS NOT NULL) AND ($1 IS NULL OR guid = $2)",
            params![guid, guid],
        )
        .map(drop)
    }

    /// Marks the one package that downloads by itself.
    pub fn set_newest(&self, guid: Option<PackageGuid>) -> Result<(), StoreError> {
        let guid = guid.map(|guid| guid.to_string()).unwrap_or_default();
        self.execute(
            "UPDATE package SET newest = (guid = $1) WHERE newest <> (guid = $2)",
            params![guid, guid],
        )
        .map(drop)
    }

    /// Remembers that an installation was rolled back, or that somebody wants it tried again.
    pub fn set_rolled_back(&self, guid: PackageGuid, rolled_back: bool) -> Result<(), StoreError> {
        self.execute(
            "UPDATE package SET rolled_back = $1 WHERE guid = $2",
            params![i64::from(rolled_back), guid.to_string()],
        )
        .map(drop)
    }

    /// Replaces the conditions of a package by those of its newest evaluation.
    pub fn record_conditions(
        &self,
        guid: PackageGuid,
        conditions: &[ConditionRow],
    ) -> Result<(), StoreError> {
        if self.conditions(guid)? == conditions {
            return Ok(());
        }
        self.execute(
            "DELETE FROM package_condition WHERE guid = $1",
            params![guid.to_string()],
        )?;
        for (position, condition) in conditions.iter().enumerate() {
            self.execute(
                "INSERT INTO package_condition (guid, position, condition_text, expected, actual, outcome)
                 VALUES ($1, $2, $3, $4, $5, $6)",
                params![
                    guid.to_string(),
                    position as i64,
                    condition.text,
                    condition.expected,
                    condition.actual,
                    condition.outcome
                ],
            )?;
        }
        Ok(())
    }

    /// The conditions of the newest evaluation, in order.
    pub fn conditions(&self, guid: PackageGuid) -> Result<Vec<ConditionRow>, StoreError> {
        self.many(
            "SELECT condition_text, expected, actual, outcome FROM package_condition WHERE guid = $1 ORDER BY position LIMIT 1000",
            params![guid.to_string()],
            |r| Ok(ConditionRow { text: r.get(0)?, expected: r.get(1)?, actual: r.get(2)?, outcome: r.get(3)? }),
        )
    }

    /// Recorded changes, newest first; of one package or of all.
    pub fn history(&self, guid: Option<PackageGuid>, limit: u32) -> Result<Vec<HistoryRow>, StoreError> {
        let guid = guid.map(|guid| guid.to_string());
        self.many(
            "SELECT guid, state, recorded_at, reason FROM package_history
             WHERE ($1 IS NULL OR guid = $2) ORDER BY id DESC LIMIT $3",
            params![guid, guid, limit],
            |r| {
                Ok(HistoryRow {
                    guid: read_guid(r, 0)?,
                    state: read_state(r, 1)?,
                    recorded_at: timestamp(r.get(2)?),
                    reason: r.get(3)?,
                })
            },
        )
    }

    /// Number of packages known, hidden ones too.
    pub fn package_count(&self) -> Result<u64, StoreError> {
        Ok(self
            .one("SELECT COUNT(*) FROM package", [], |r| r.get::<_, i64>(0))?
            .unwrap_or(0) as u64)
    }
}

fn package_row(r: &Row<'_>) -> rusqlite::Result<PackageRow> {
    let version: String = r.get(2)?;
    Ok(PackageRow {
        guid: read_guid(r, 0)?,
        name: r.get(1)?,
        full_version: version.parse().map_err(|e| damaged(2, e))?,
        released_at: timestamp(r.get(3)?),
        listed: r.get::<_, i64>(4)? != 0,
        state: read_state(r, 5)?,
        generation: r.get(6)?,
        flag: PrereqFlag::from_code(r.get(7)?).ok_or_else(|| damaged(7, "no such flag".into()))?,
        reason: r.get(8)?,
        newest: r.get::<_, i64>(9)? != 0,
        requested: r.get::<_, i64>(10)? != 0,
        attempts: r.get(11)?,
        next_attempt_at: r.get::<_, Option<i64>>(12)?.map(timestamp),
        failure: r.get(13)?,
        rolled_back: r.get::<_, i64>(14)? != 0,
        added_at: timestamp(r.get(15)?),
        changed_at: timestamp(r.get(16)?),
    })
}

pub(crate) fn read_guid(r: &Row<'_>, index: usize) -> rusqlite::Result<PackageGuid> {
    let text: String = r.get(index)?;
    text.parse().map_err(|e| damaged(index, e))
}

fn read_state(r: &Row<'_>, index: usize) -> rusqlite::Result<PackageState> {
    PackageState::from_code(r.get(index)?).ok_or_else(|| damaged(index, "no such package state".into()))
}

pub(crate) fn damaged(index: usize, what: String) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(index, rusqlite::types::Type::Text, what.into())
}
