//! What an intake of usage data keeps, in the embedded database or in PostgreSQL: one text of SQL for both.
//!
//! A change is a list of statements that run in one transaction whatever their results; what became of it
//! is read by the last ones. So neither engine needs logic of its own, and a change is one round of work.

mod embedded;
mod engine;
mod postgres;

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use zeroize::Zeroizing;

use engine::{Engine, Field, Row, Statement};

pub use engine::IntakeStoreError;

/// Schema of both engines, in steps as in `migrations`.
const STEPS: [&str; 1] = [include_str!("0001_intake.sql")];
/// Words of one distribution.
const WORDS_MAX: i64 = 40;
/// Reports in one list.
const LISTED_MAX: i64 = 1_000;

/// Where an intake keeps what it takes.
#[derive(Debug, Clone)]
pub enum IntakeDatabase {
    /// A file of the embedded database.
    Embedded(PathBuf),
    /// A PostgreSQL server.
    Postgres {
        /// `postgres://user@host:port/database`, without a password.
        url: String,
        /// Password.
        password: Option<Zeroizing<String>>,
        /// Certificates in PEM form that are trusted beside those of the system.
        roots_pem: Vec<u8>,
    },
}

/// How much an intake takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IntakeQuota {
    /// Reports of one hierarchy in 24 hours.
    pub reports_per_day: u32,
    /// Hierarchies never seen before in 24 hours.
    pub new_hierarchies_per_day: u32,
}

/// A report that is to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntakeReport {
    /// Id.
    pub report: String,
    /// Hierarchy.
    pub hierarchy: String,
    /// Key that signed it.
    pub public_key: String,
    /// Arrival.
    pub received_at: Timestamp,
    /// Collection.
    pub collected_at: Timestamp,
    /// Level.
    pub level: String,
    /// SHA-256 of the body.
    pub sha256: String,
    /// `accepted` or `quarantined`.
    pub verdict: String,
    /// Why it is in quarantine.
    pub problem: String,
    /// Canonical bytes.
    pub body: String,
    /// Receipt.
    pub receipt: String,
    /// What the fleet is counted by; nothing for a report in quarantine.
    pub facts: Option<FleetFacts>,
}

/// What the fleet is counted by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the datum of its name")]
pub struct FleetFacts {
    pub site_version: String,
    pub program_version: String,
    pub os: String,
    pub arch: String,
    pub mode: String,
    pub sites: i64,
    pub devices: i64,
}

/// What became of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// It is kept.
    New,
    /// It was kept before; this is the receipt of then.
    Before {
        /// Receipt.
        receipt: String,
    },
    /// Another report has its id.
    Another,
    /// The hierarchy is another key's.
    ForeignKey,
    /// Too many.
    OverQuota,
}

/// A report in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are those of IntakeReport")]
pub struct IntakeListed {
    pub report: String,
    pub hierarchy: String,
    pub received_at: Timestamp,
    pub level: String,
    pub bytes: u64,
    pub verdict: String,
    pub problem: String,
}

/// The fleet, by the newest report of each hierarchy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fleet {
    /// Hierarchies that reported since.
    pub hierarchies: u64,
    /// Their sites.
    pub sites: u64,
    /// Their devices.
    pub devices: u64,
    /// Hierarchies by what a distribution is of, then by word, most frequent first.
    pub by: BTreeMap<&'static str, Vec<(String, u64)>>,
    /// Reports by day since 1970 and verdict.
    pub reports: Vec<(i64, String, u64)>,
    /// Refused uploads by day since 1970 and reason.
    pub refused: Vec<(i64, String, u64)>,
}

/// What distributions are of: the name shown, and the column.
const DISTRIBUTIONS: [(&str, &str); 6] = [
    ("version", "site_version"),
    ("level", "level"),
    ("platform", "os"),
    ("processor", "arch"),
    ("program", "program_version"),
    ("mode", "mode"),
];

/// The database of an intake.
pub struct IntakeStore {
    engine: Engine,
}

fn ms(at: Timestamp) -> Field {
    Field::Number(at.as_millisecond())
}

fn day_before(at: Timestamp) -> Field {
    ms(at
        .checked_sub(SignedDuration::from_hours(24))
        .unwrap_or(Timestamp::MIN))
}

impl IntakeStore {
    /// Opens or makes the database and brings it to the newest schema.
    pub async fn open(database: &IntakeDatabase) -> Result<Self, IntakeStoreError> {
        let engine = match database {
            IntakeDatabase::Embedded(path) => Engine::Embedded(embedded::Embedded::open(path.clone()).await?),
            IntakeDatabase::Postgres {
                url,
                password,
                roots_pem,
            } => Engine::Postgres(postgres::Postgres::open(url, password.as_ref(), roots_pem).await?),
        };
        Ok(IntakeStore { engine })
    }

    /// Keeps a report, once. It is durable when this returns.
    pub async fn accept(
        &self,
        report: &IntakeReport,
        quota: IntakeQuota,
    ) -> Result<Stored, IntakeStoreError> {
        let text = |text: &str| Field::Text(text.to_owned());
        let facts = report.facts.clone().unwrap_or_default();
        let known = "EXISTS (SELECT 1 FROM intake_hierarchy h WHERE h.hierarchy = CAST($1 AS TEXT) AND h.public_key = CAST($2 AS TEXT))";
        let mut statements = vec![
            Statement::new(
                "INSERT INTO intake_hierarchy (hierarchy, public_key, first_at, last_at, collected_at, level,
                 site_version, program_version, os, arch, mode, sites, devices)
                 SELECT CAST($1 AS TEXT), CAST($2 AS TEXT), CAST($3 AS BIGINT), CAST($4 AS BIGINT), 0, '', '', '', '', '', '', 0, 0
                 WHERE (SELECT COUNT(*) FROM intake_hierarchy WHERE first_at > CAST($5 AS BIGINT)) < CAST($6 AS BIGINT)
                 ON CONFLICT (hierarchy) DO NOTHING",
                vec![
                    text(&report.hierarchy),
                    text(&report.public_key),
                    ms(report.received_at),
                    ms(report.received_at),
                    day_before(report.received_at),
                    Field::Number(quota.new_hierarchies_per_day.into()),
                ],
            ),
            Statement::new(
                &format!(
                    "INSERT INTO intake_report (hierarchy, report, received_at, collected_at, level, bytes, sha256, verdict, problem, body, receipt)
                     SELECT CAST($1 AS TEXT), CAST($3 AS TEXT), CAST($4 AS BIGINT), CAST($5 AS BIGINT), CAST($6 AS TEXT), CAST($7 AS BIGINT),
                     CAST($8 AS TEXT), CAST($9 AS TEXT), CAST($10 AS TEXT), CAST($11 AS TEXT), CAST($12 AS TEXT)
                     WHERE {known}
                     AND (SELECT COUNT(*) FROM intake_report r WHERE r.hierarchy = CAST($1 AS TEXT) AND r.received_at > CAST($13 AS BIGINT)) < CAST($14 AS BIGINT)
                     ON CONFLICT (report) DO NOTHING"
                ),
                vec![
                    text(&report.hierarchy),
                    text(&report.public_key),
                    text(&report.report),
                    ms(report.received_at),
                    ms(report.collected_at),
                    text(&report.level),
                    Field::Number(report.body.len() as i64),
                    text(&report.sha256),
                    text(&report.verdict),
                    text(&report.problem),
                    text(&report.body),
                    text(&report.receipt),
                    day_before(report.received_at),
                    Field::Number(quota.reports_per_day.into()),
                ],
            ),
        ];
        if report.facts.is_some() {
            // A report that arrives late changes nothing that a newer one said.
            statements.push(Statement::new(
                "UPDATE intake_hierarchy SET last_at = CAST($3 AS BIGINT), collected_at = CAST($4 AS BIGINT), level = CAST($5 AS TEXT),
                 site_version = CAST($6 AS TEXT), program_version = CAST($7 AS TEXT), os = CAST($8 AS TEXT), arch = CAST($9 AS TEXT),
                 mode = CAST($10 AS TEXT), sites = CAST($11 AS BIGINT), devices = CAST($12 AS BIGINT)
                 WHERE hierarchy = CAST($1 AS TEXT) AND public_key = CAST($2 AS TEXT) AND collected_at <= CAST($4 AS BIGINT)
                 AND EXISTS (SELECT 1 FROM intake_report r WHERE r.report = CAST($13 AS TEXT) AND r.sha256 = CAST($14 AS TEXT)
                 AND r.received_at = CAST($3 AS BIGINT))",
                vec![
                    text(&report.hierarchy),
                    text(&report.public_key),
                    ms(report.received_at),
                    ms(report.collected_at),
                    text(&report.level),
                    text(&facts.site_version),
                    text(&facts.program_version),
                    text(&facts.os),
                    text(&facts.arch),
                    text(&facts.mode),
                    Field::Number(facts.sites),
                    Field::Number(facts.devices),
                    text(&report.report),
                    text(&report.sha256),
                ],
            ));
        }
        statements.push(Statement::new(
            "SELECT public_key FROM intake_hierarchy WHERE hierarchy = CAST($1 AS TEXT)",
            vec![text(&report.hierarchy)],
        ));
        statements.push(Statement::new(
            "SELECT hierarchy, sha256, receipt FROM intake_report WHERE report = CAST($1 AS TEXT)",
            vec![text(&report.report)],
        ));
        let mut results = self.engine.change(statements).await?;
        let inserted = results.get(1).is_some_and(|result| result.changed > 0);
        let kept = results.pop().and_then(|result| result.rows.into_iter().next());
        let owner = results.pop().and_then(|result| result.rows.into_iter().next());
        Ok(match (kept, owner) {
            (_, Some(owner)) if owner.text(0) != report.public_key => Stored::ForeignKey,
            (Some(kept), _) if kept.text(0) == report.hierarchy && kept.text(1) == report.sha256 => {
                match inserted {
                    true => Stored::New,
                    false => Stored::Before {
                        receipt: kept.text(2),
                    },
                }
            }
            (Some(_), _) => Stored::Another,
            (None, _) => Stored::OverQuota,
        })
    }

    /// Counts refused uploads of a day (since 1970) by reason.
    pub async fn count_refused(&self, counts: &[(i64, String, u64)]) -> Result<(), IntakeStoreError> {
        let statement = |(day, reason, uploads): &(i64, String, u64)| {
            Statement::new(
                "INSERT INTO intake_count (day, reason, uploads) VALUES (CAST($1 AS BIGINT), CAST($2 AS TEXT), CAST($3 AS BIGINT))
                 ON CONFLICT (day, reason) DO UPDATE SET uploads = intake_count.uploads + excluded.uploads",
                vec![
                    Field::Number(*day),
                    Field::Text(reason.clone()),
                    Field::Number(i64::try_from(*uploads).unwrap_or(i64::MAX)),
                ],
            )
        };
        self.engine
            .change(counts.iter().map(statement).collect())
            .await
            .map(drop)
    }

    /// Forgets reports and counts from before an instant, and hierarchies that said nothing since.
    pub async fn forget(&self, before: Timestamp) -> Result<(), IntakeStoreError> {
        let day = Field::Number(before.as_second().div_euclid(24 * 60 * 60));
        let statements = vec![
            Statement::new(
                "DELETE FROM intake_report WHERE received_at < CAST($1 AS BIGINT)",
                vec![ms(before)],
            ),
            Statement::new(
                "DELETE FROM intake_hierarchy WHERE last_at < CAST($1 AS BIGINT)",
                vec![ms(before)],
            ),
            Statement::new(
                "DELETE FROM intake_count WHERE day < CAST($1 AS BIGINT)",
                vec![day],
            ),
        ];
        self.engine.change(statements).await.map(drop)
    }

    /// The fleet by what reported since an instant.
    pub async fn fleet(&self, since: Timestamp) -> Result<Fleet, IntakeStoreError> {
        let day = Field::Number(since.as_second().div_euclid(24 * 60 * 60));
        let mut statements = vec![
            Statement::new(
                "SELECT CAST(COUNT(*) AS BIGINT), CAST(COALESCE(SUM(sites), 0) AS BIGINT), CAST(COALESCE(SUM(devices), 0) AS BIGINT)
                 FROM intake_hierarchy WHERE last_at >= CAST($1 AS BIGINT) AND level <> ''",
                vec![ms(since)],
            ),
            Statement::new(
                "SELECT received_at / 86400000 AS day, verdict, CAST(COUNT(*) AS BIGINT) FROM intake_report
                 WHERE received_at >= CAST($1 AS BIGINT) GROUP BY received_at / 86400000, verdict ORDER BY 1, 2",
                vec![ms(since)],
            ),
            Statement::new(
                "SELECT day, reason, uploads FROM intake_count WHERE day >= CAST($1 AS BIGINT) ORDER BY day, reason LIMIT 10000",
                vec![day],
            ),
        ];
        for (_, column) in DISTRIBUTIONS {
            statements.push(Statement::new(
                &format!(
                    "SELECT {column}, CAST(COUNT(*) AS BIGINT) FROM intake_hierarchy
                     WHERE last_at >= CAST($1 AS BIGINT) AND level <> '' GROUP BY {column} ORDER BY 2 DESC, 1 LIMIT {WORDS_MAX}"
                ),
                vec![ms(since)],
            ));
        }
        let mut results = self.engine.look(statements).await?.into_iter();
        let mut next = || results.next().unwrap_or_default();
        let by_day = |row: &Row| (row.number(0), row.text(1), row.number(2).unsigned_abs());
        let whole = next();
        let whole = whole.first();
        let number = |at: usize| whole.map_or(0, |row| row.number(at).unsigned_abs());
        let mut fleet = Fleet {
            hierarchies: number(0),
            sites: number(1),
            devices: number(2),
            by: BTreeMap::new(),
            reports: next().iter().map(by_day).collect(),
            refused: next().iter().map(by_day).collect(),
        };
        for (name, _) in DISTRIBUTIONS {
            let words = next()
                .iter()
                .map(|row| (row.text(0), row.number(1).unsigned_abs()))
                .collect();
            fleet.by.insert(name, words);
        }
        Ok(fleet)
    }

    /// Reports, newest first; only those in quarantine if asked.
    pub async fn reports(
        &self,
        quarantined: bool,
        limit: u32,
    ) -> Result<Vec<IntakeListed>, IntakeStoreError> {
        let only = if quarantined {
            "WHERE verdict = 'quarantined'"
        } else {
            ""
        };
        let statement = Statement::new(
            &format!(
                "SELECT report, hierarchy, received_at, level, bytes, verdict, problem FROM intake_report {only}
                 ORDER BY received_at DESC, report LIMIT CAST($1 AS BIGINT)"
            ),
            vec![Field::Number(i64::from(limit).min(LISTED_MAX))],
        );
        let rows = self.engine.look(vec![statement]).await?.pop().unwrap_or_default();
        let listed = |row: Row| IntakeListed {
            report: row.text(0),
            hierarchy: row.text(1),
            received_at: crate::database::timestamp(row.number(2)),
            level: row.text(3),
            bytes: row.number(4).unsigned_abs(),
            verdict: row.text(5),
            problem: row.text(6),
        };
        Ok(rows.into_iter().map(listed).collect())
    }

    /// The canonical bytes of a report.
    pub async fn body(&self, report: &str) -> Result<Option<String>, IntakeStoreError> {
        let statement = Statement::new(
            "SELECT body FROM intake_report WHERE report = CAST($1 AS TEXT)",
            vec![Field::Text(report.to_owned())],
        );
        let rows = self.engine.look(vec![statement]).await?.pop().unwrap_or_default();
        Ok(rows.first().map(|row| row.text(0)))
    }
}

#[cfg(test)]
mod tests;
