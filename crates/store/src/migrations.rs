//! Numbered schema steps. A step that was released is never edited; its checksum is kept in the
//! database, so that an edited one is noticed instead of silently skipped.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior, params};

use crate::error::StoreError;

/// Every step, in order; the number of a step is its position, counted from 1.
pub(crate) const STEPS: [&str; 9] = [
    include_str!("migrations/0001_site.sql"),
    include_str!("migrations/0002_internet.sql"),
    include_str!("migrations/0003_usage.sql"),
    include_str!("migrations/0004_accounts.sql"),
    include_str!("migrations/0005_notifications.sql"),
    include_str!("migrations/0006_status.sql"),
    include_str!("migrations/0007_oidc.sql"),
    include_str!("migrations/0008_alert_receivers.sql"),
    include_str!("migrations/0009_devices.sql"),
];

/// Brings the database to the newest schema, one transaction per step.
pub(crate) fn migrate(connection: &mut Connection, path: &Path, steps: &[&str]) -> Result<(), StoreError> {
    let engine = |source| StoreError::from_engine(path, source);
    connection
        .execute_batch(
            "CREATE TABLE IF NOT EXISTS schema_step (step BIGINT PRIMARY KEY, checksum BIGINT NOT NULL)",
        )
        .map_err(engine)?;
    let known = steps.len() as i64;
    let found: i64 = connection
        .query_row("SELECT COALESCE(MAX(step), 0) FROM schema_step", [], |row| {
            row.get(0)
        })
        .map_err(engine)?;
    if found > known {
        return Err(StoreError::Newer {
            path: path.to_owned(),
            found,
            known,
        });
    }
    for (index, sql) in steps.iter().enumerate() {
        let step = index as i64 + 1;
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(engine)?;
        let applied: Option<i64> = transaction
            .query_row(
                "SELECT checksum FROM schema_step WHERE step = $1",
                params![step],
                |row| row.get(0),
            )
            .map(Some)
            .or_else(|e| {
                if e == rusqlite::Error::QueryReturnedNoRows {
                    Ok(None)
                } else {
                    Err(e)
                }
            })
            .map_err(engine)?;
        match applied {
            Some(checksum) if checksum == checksum_of(sql) => {}
            Some(_) => {
                return Err(StoreError::ForeignMigration {
                    path: path.to_owned(),
                    step,
                });
            }
            None => {
                transaction.execute_batch(sql).map_err(engine)?;
                transaction
                    .execute(
                        "INSERT INTO schema_step (step, checksum) VALUES ($1, $2)",
                        params![step, checksum_of(sql)],
                    )
                    .map_err(engine)?;
                transaction.commit().map_err(engine)?;
            }
        }
    }
    Ok(())
}

/// FNV-1a, 64 bit: notices an edit, nothing more is asked of it.
pub(crate) fn checksum_of(sql: &str) -> i64 {
    sql.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    }) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_earlier_schema_is_brought_forward() {
        for earlier in 0..=STEPS.len() {
            let mut connection = Connection::open_in_memory().unwrap();
            let path = Path::new("memory");
            migrate(&mut connection, path, &STEPS[..earlier]).unwrap();
            migrate(&mut connection, path, &STEPS).unwrap();
            migrate(&mut connection, path, &STEPS).unwrap();
            let tables: i64 = connection
                .query_row(
                    "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'package'",
                    [],
                    |r| r.get(0),
                )
                .unwrap();
            assert_eq!(tables, 1, "from schema {earlier}");
        }
    }

    #[test]
    fn a_newer_or_edited_schema_is_refused() {
        let mut connection = Connection::open_in_memory().unwrap();
        let path = Path::new("memory");
        migrate(
            &mut connection,
            path,
            &["CREATE TABLE a (b BIGINT)", "CREATE TABLE c (d BIGINT)"],
        )
        .unwrap();
        let newer = migrate(&mut connection, path, &["CREATE TABLE a (b BIGINT)"]);
        assert!(matches!(
            newer,
            Err(StoreError::Newer {
                found: 2,
                known: 1,
                ..
            })
        ));
        let edited = migrate(
            &mut connection,
            path,
            &["CREATE TABLE a (b BIGINT)", "CREATE TABLE c (e BIGINT)"],
        );
        assert!(matches!(
            edited,
            Err(StoreError::ForeignMigration { step: 2, .. })
        ));
    }

    #[test]
    fn a_step_that_fails_leaves_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();
        let path = Path::new("memory");
        assert!(
            migrate(
                &mut connection,
                path,
                &["CREATE TABLE a (b BIGINT); CREATE NONSENSE"]
            )
            .is_err()
        );
        migrate(&mut connection, path, &["CREATE TABLE a (b BIGINT)"]).unwrap();
    }

    /// Steps that take a while: each makes a table, fills it and rewrites what the one before filled.
    fn long_steps() -> Vec<String> {
        let step = |number: usize| {
            let rewrite = match number {
                0 => String::new(),
                _ => format!("UPDATE t{} SET v = v + 1;", number - 1),
            };
            format!(
                "CREATE TABLE t{number} (v BIGINT NOT NULL);
                 INSERT INTO t{number} WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
                 SELECT i FROM n; {rewrite}"
            )
        };
        (0..40).map(step).collect()
    }

    fn migrate_file(path: &Path) -> Result<(), StoreError> {
        let mut connection = Connection::open(path).unwrap();
        connection
            .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")
            .unwrap();
        let steps = long_steps();
        let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
        migrate(&mut connection, path, &steps)
    }

    #[test]
    fn messages_of_an_earlier_schema_are_counted() {
        let mut connection = Connection::open_in_memory().unwrap();
        let path = Path::new("memory");
        migrate(&mut connection, path, &STEPS[..3]).unwrap();
        connection
            .execute_batch(
                "INSERT INTO component (name, stopped, log_level, tally_reset_at) VALUES ('B', 0, 1, 950000);
                 INSERT INTO status_message (message_id, severity, message_type, component, machine, site_code,
                     process_id, recorded_at, message_text, insertion_strings)
                 SELECT 1, 2147483648, 256, name, 'm', 'P01', 1, at, '', '[]'
                 FROM (SELECT 'A' AS name UNION SELECT 'B'),
                      (SELECT 0 AS at UNION SELECT 1 UNION SELECT 900000 UNION SELECT 960000);",
            )
            .unwrap();
        migrate(&mut connection, path, &STEPS).unwrap();
        let mut statement = connection
            .prepare("SELECT component, quarter, messages FROM status_tally ORDER BY component, quarter")
            .unwrap();
        let rows: Vec<(String, i64, i64)> = statement
            .query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?)))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        assert_eq!(rows, [("A".into(), 0, 2), ("A".into(), 1, 2), ("B".into(), 1, 1)]);
    }

    /// Not a test by itself: the process that `a_migration_killed_at_any_moment_goes_on` kills.
    #[test]
    fn migrates_for_the_kill_test() {
        if let Some(path) = std::env::var_os("TIDEGATE_MIGRATE") {
            migrate_file(Path::new(&path)).unwrap();
        }
    }

    #[test]
    fn a_migration_killed_at_any_moment_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("site.db");
        let (mut interrupted, mut last) = (0, 0);
        for round in 0..200_u64 {
            let mut child = std::process::Command::new(std::env::current_exe().unwrap())
                .args([
                    "--exact",
                    "migrations::tests::migrates_for_the_kill_test",
                    "--quiet",
                ])
                .env("TIDEGATE_MIGRATE", &path)
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap();
            std::thread::park_timeout(std::time::Duration::from_millis(2 + round * 7 % 23));
            child.kill().unwrap();
            let killed = child.wait().unwrap().code().is_none();
            let done = check_prefix(&path);
            assert!(done >= last, "step {last} was lost");
            interrupted += u32::from(killed && done > 0 && done < 40);
            last = done;
        }
        assert!(interrupted > 0, "no kill met a migration");
        migrate_file(&path).unwrap();
        assert_eq!(check_prefix(&path), 40);
    }

    /// The recorded steps are exactly those whose whole effect is there; returns how many.
    fn check_prefix(path: &Path) -> i64 {
        let connection = Connection::open(path).unwrap();
        let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        let sound: String = connection
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(sound, "ok");
        let tables =
            number("SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name LIKE 't%'").unwrap();
        let recorded = number("SELECT COALESCE(MAX(step), 0) FROM schema_step").unwrap_or(0);
        assert_eq!(tables, recorded);
        for table in 0..tables {
            let rewritten = i64::from(table + 1 < tables) * 2000;
            let sum = number(&format!("SELECT SUM(v) FROM t{table}")).unwrap();
            assert_eq!(sum, 2000 * 2001 / 2 + rewritten, "t{table} of {tables}");
        }
        recorded
    }
}
