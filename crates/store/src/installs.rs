//! Prerequisite checks, installations, features and what is shown of their progress.

use domain::servicing::install::{Journal, SubStage, SubStageState};
use domain::servicing::package::PackageGuid;
use domain::servicing::version::FullVersion;
use jiff::Timestamp;
use rusqlite::params;

use crate::database::{Tx, millis, timestamp};
use crate::error::StoreError;
use crate::packages::{damaged, read_guid};

/// The result of one prerequisite rule.
#[derive(Debug, Clone)]
pub struct PrereqRow {
    /// Rule name.
    pub name: String,
    /// Rule category.
    pub category: String,
    /// Role it is about.
    pub role: String,
    /// `passed`, `warning` or `failed`.
    pub result: String,
    /// What was found and what to do.
    pub detail: String,
    /// Where to read more.
    pub link: Option<String>,
    /// When it ran.
    pub recorded_at: Timestamp,
}

/// The verdict on one redistributable.
#[derive(Debug, Clone)]
pub struct RedistRow {
    /// File name.
    pub name: String,
    /// `verified` or `failed`.
    pub verdict: String,
    /// Why.
    pub detail: String,
    /// When.
    pub recorded_at: Timestamp,
}

/// How a sub-step of a package stands.
#[derive(Debug, Clone)]
pub struct SubStageRow {
    /// Which.
    pub stage: SubStage,
    /// How.
    pub state: SubStageState,
    /// 0 to 100.
    pub progress: u8,
    /// One line.
    pub detail: String,
    /// When it last changed.
    pub recorded_at: Timestamp,
}

/// The journal of an installation under way.
#[derive(Debug, Clone)]
pub struct InstallRun {
    /// Counts installations of this package, from 1.
    pub attempt: u32,
    /// Steps done.
    pub journal: Journal,
    /// Directory name the `current` switch had before.
    pub previous_version: Option<String>,
    /// Why it is being rolled back.
    pub failure: Option<String>,
    /// Features to turn on afterwards.
    pub features_on: Vec<PackageGuid>,
    /// Features that stay off although they would be on.
    pub features_off: Vec<PackageGuid>,
    /// Begin.
    pub started_at: Timestamp,
}

/// A package that is installed.
#[derive(Debug, Clone)]
pub struct InstalledRow {
    /// Package.
    pub guid: PackageGuid,
    /// Its version.
    pub full_version: FullVersion,
    /// When.
    pub installed_at: Timestamp,
}

/// An optional feature that an installed package brought.
#[derive(Debug, Clone)]
pub struct FeatureRow {
    /// Key.
    pub guid: PackageGuid,
    /// The package that brought it.
    pub package: PackageGuid,
    /// Name.
    pub name: String,
    /// One paragraph.
    pub description: String,
    /// Needs consent.
    pub pre_release: bool,
    /// On; once on it stays on.
    pub turned_on: bool,
    /// When that last changed.
    pub changed_at: Timestamp,
}

impl Tx<'_> {
    /// Replaces the results of the last prerequisite check.
    pub fn record_prereqs(&self, guid: PackageGuid, results: &[PrereqRow]) -> Result<(), StoreError> {
        self.execute(
            "DELETE FROM prereq_result WHERE guid = $1",
            params![guid.to_string()],
        )?;
        for (position, row) in results.iter().enumerate() {
            self.execute(
                "INSERT INTO prereq_result (guid, position, name, category, role, result, detail, link, recorded_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
                params![
                    guid.to_string(),
                    position as i64,
                    row.name,
                    row.category,
                    row.role,
                    row.result,
                    row.detail,
                    row.link,
                    millis(row.recorded_at)
                ],
            )?;
        }
        Ok(())
    }

    /// Results of the last prerequisite check.
    pub fn prereqs(&self, guid: PackageGuid) -> Result<Vec<PrereqRow>, StoreError> {
        self.many(
            "SELECT name, category, role, result, detail, link, recorded_at FROM prereq_result
             WHERE guid = $1 ORDER BY position LIMIT 1000",
            params![guid.to_string()],
            |r| {
                Ok(PrereqRow {
                    name: r.get(0)?,
                    category: r.get(1)?,
                    role: r.get(2)?,
                    result: r.get(3)?,
                    detail: r.get(4)?,
                    link: r.get(5)?,
                    recorded_at: timestamp(r.get(6)?),
                })
            },
        )
    }

    /// Records the verdict on one redistributable.
    pub fn record_redist(&self, guid: PackageGuid, row: &RedistRow) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO redist_result (guid, name, verdict, detail, recorded_at) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (guid, name) DO UPDATE SET verdict = excluded.verdict, detail = excluded.detail,
                 recorded_at = excluded.recorded_at",
            params![
                guid.to_string(),
                row.name,
                row.verdict,
                row.detail,
                millis(row.recorded_at)
            ],
        )
        .map(drop)
    }

    /// Verdicts on the redistributables.
    pub fn redists(&self, guid: PackageGuid) -> Result<Vec<RedistRow>, StoreError> {
        self.many(
            "SELECT name, verdict, detail, recorded_at FROM redist_result WHERE guid = $1 ORDER BY name LIMIT 1000",
            params![guid.to_string()],
            |r| Ok(RedistRow { name: r.get(0)?, verdict: r.get(1)?, detail: r.get(2)?, recorded_at: timestamp(r.get(3)?) }),
        )
    }

    /// Records how a sub-step stands.
    pub fn record_sub_stage(
        &self,
        guid: PackageGuid,
        stage: SubStage,
        state: SubStageState,
        detail: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let progress = match state {
            SubStageState::InProgress => 0,
            SubStageState::Success | SubStageState::SuccessWithWarning => 100,
            SubStageState::Failed => 0,
        };
        self.execute(
            "INSERT INTO sub_stage (guid, stage, state, progress, detail, recorded_at) VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (guid, stage) DO UPDATE SET state = excluded.state, progress = excluded.progress,
                 detail = excluded.detail, recorded_at = excluded.recorded_at",
            params![guid.to_string(), stage.id(), state.code(), progress, detail, millis(now)],
        )
        .map(drop)
    }

    /// Forgets the sub-steps from replication on; with `all`, those of the download too.
    pub fn clear_sub_stages(&self, guid: PackageGuid, all: bool) -> Result<(), StoreError> {
        let from = if all { 0 } else { 0xb_0000 };
        self.execute(
            "DELETE FROM sub_stage WHERE guid = $1 AND stage >= $2",
            params![guid.to_string(), from],
        )
        .map(drop)
    }

    /// Sub-steps, in the order in which they happen.
    pub fn sub_stages(&self, guid: PackageGuid) -> Result<Vec<SubStageRow>, StoreError> {
        let mut rows = self.many(
            "SELECT stage, state, progress, detail, recorded_at FROM sub_stage WHERE guid = $1 LIMIT 100",
            params![guid.to_string()],
            |r| {
                Ok(SubStageRow {
                    stage: SubStage::from_id(r.get(0)?)
                        .ok_or_else(|| damaged(0, "no such sub-step".into()))?,
                    state: SubStageState::from_code(r.get(1)?)
                        .ok_or_else(|| damaged(1, "no such state".into()))?,
                    progress: r.get(2)?,
                    detail: r.get(3)?,
                    recorded_at: timestamp(r.get(4)?),
                })
            },
        )?;
        rows.sort_by_key(|row| SubStage::ALL.iter().position(|stage| *stage == row.stage));
        Ok(rows)
    }

    /// The journal of the installation under way or last begun.
    pub fn install_run(&self, guid: PackageGuid) -> Result<Option<InstallRun>, StoreError> {
        self.one(
            "SELECT attempt, steps_done, rollback_done, previous_version, failure, features_on, features_off, started_at
             FROM install_run WHERE guid = $1",
            params![guid.to_string()],
            |r| {
                Ok(InstallRun {
                    attempt: r.get(0)?,
                    journal: Journal {
                        steps_done: r.get::<_, i64>(1)? as usize,
                        rollback_done: r.get::<_, Option<i64>>(2)?.map(|done| done as usize),
                    },
                    previous_version: r.get(3)?,
                    failure: r.get(4)?,
                    features_on: read_guids(&r.get::<_, String>(5)?, 5)?,
                    features_off: read_guids(&r.get::<_, String>(6)?, 6)?,
                    started_at: timestamp(r.get(7)?),
                })
            },
        )
    }

    /// Writes the journal.
    pub fn record_install_run(&self, guid: PackageGuid, run: &InstallRun) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO install_run (guid, attempt, steps_done, rollback_done, previous_version, failure, features_on,
                 features_off, started_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
             ON CONFLICT (guid) DO UPDATE SET attempt = excluded.attempt, steps_done = excluded.steps_done,
                 rollback_done = excluded.rollback_done, previous_version = excluded.previous_version,
                 failure = excluded.failure, features_on = excluded.features_on, features_off = excluded.features_off,
                 started_at = excluded.started_at",
            params![
                guid.to_string(),
                run.attempt,
                run.journal.steps_done as i64,
                run.journal.rollback_done.map(|done| done as i64),
                run.previous_version,
                run.failure,
                write_guids(&run.features_on),
                write_guids(&run.features_off),
                millis(run.started_at)
            ],
        )
        .map(drop)
    }

    /// Records that a package is installed.
    pub fn record_installed(
        &self,
        guid: PackageGuid,
        version: FullVersion,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO installed (guid, full_version, installed_at) VALUES ($1, $2, $3) ON CONFLICT (guid) DO NOTHING",
            params![guid.to_string(), version.to_string(), millis(now)],
        )
        .map(drop)
    }

    /// Everything that is installed, oldest first.
    pub fn installed(&self) -> Result<Vec<InstalledRow>, StoreError> {
        self.many(
            "SELECT guid, full_version, installed_at FROM installed ORDER BY installed_at, guid LIMIT 10000",
            [],
            |r| {
                let version: String = r.get(1)?;
                Ok(InstalledRow {
                    guid: read_guid(r, 0)?,
                    full_version: version.parse().map_err(|e| damaged(1, e))?,
                    installed_at: timestamp(r.get(2)?),
                })
            },
        )
    }

    /// Records a feature that a package brought; one that is on stays on.
    pub fn record_feature(&self, feature: &FeatureRow) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO feature (guid, package_guid, name, description, pre_release, turned_on, changed_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)
             ON CONFLICT (guid) DO UPDATE SET package_guid = excluded.package_guid, name = excluded.name,
                 description = excluded.description, pre_release = excluded.pre_release,
                 turned_on = CASE WHEN feature.turned_on = 1 THEN 1 ELSE excluded.turned_on END",
            params![
                feature.guid.to_string(),
                feature.package.to_string(),
                feature.name,
                feature.description,
                i64::from(feature.pre_release),
                i64::from(feature.turned_on),
                millis(feature.changed_at)
            ],
        )
        .map(drop)
    }

    /// Turns a feature on, for good.
    pub fn turn_feature_on(&self, guid: PackageGuid, now: Timestamp) -> Result<(), StoreError> {
        let changed = self.execute(
            "UPDATE feature SET turned_on = 1, changed_at = $1 WHERE guid = $2",
            params![millis(now), guid.to_string()],
        )?;
        if changed == 0 {
            return Err(StoreError::NotFound {
                what: "feature",
                key: guid.to_string(),
            });
        }
        Ok(())
    }

    /// Features of everything installed.
    pub fn features(&self) -> Result<Vec<FeatureRow>, StoreError> {
        self.many(
            "SELECT guid, package_guid, name, description, pre_release, turned_on, changed_at FROM feature
             ORDER BY name, guid LIMIT 10000",
            [],
            |r| {
                Ok(FeatureRow {
                    guid: read_guid(r, 0)?,
                    package: read_guid(r, 1)?,
                    name: r.get(2)?,
                    description: r.get(3)?,
                    pre_release: r.get::<_, i64>(4)? != 0,
                    turned_on: r.get::<_, i64>(5)? != 0,
                    changed_at: timestamp(r.get(6)?),
                })
            },
        )
    }
}

fn write_guids(guids: &[PackageGuid]) -> String {
    guids
        .iter()
        .map(PackageGuid::to_string)
        .collect::<Vec<_>>()
        .join(" ")
}

fn read_guids(text: &str, column: usize) -> rusqlite::Result<Vec<PackageGuid>> {
    text.split_whitespace()
        .map(|guid| guid.parse().map_err(|e| damaged(column, e)))
        .collect()
}
