//! Numbered schema steps. A step that was released is never edited; its checksum is kept in the
//! database, so that an edited one is noticed instead of silently skipped.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior, params};

use crate::error::StoreError;

/// Every step, in order; the number of a step is its position, counted from 1.
pub(crate) const STEPS: [&str; 1] = [include_str!("migrations/0001_site.sql")];

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
fn checksum_of(sql: &str) -> i64 {
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
}
