//! The inventory: tables that are supplied whole. The rows of an import carry its batch number; until the
//! last one is stored the batch before it counts, and nobody sees half a table.
//!
//! Words are stored once and rows have their numbers, so that a million rows are counted without touching
//! a text.

use std::collections::HashMap;

use domain::usage_data::inventory::{Cell, ColumnKind, Table};
use jiff::Timestamp;
use rusqlite::params;
use rusqlite::types::ValueRef;

use crate::database::{Tx, millis, timestamp};
use crate::error::StoreError;

/// What a scan gives for a field without a value.
pub const NOTHING: i64 = i64::MIN;
/// Distinct words of all tables; further ones are stored as nothing.
const WORDS_MAX: usize = 100_000;
/// Rows removed in one step.
const REMOVED_AT_ONCE: u32 = 20_000;
/// Rows between two looks at whether to go on.
const ROWS_PER_LOOK: u64 = 4_096;

/// Words and their numbers, read once per import or scan.
#[derive(Debug, Default)]
pub struct InventoryWords {
    numbers: HashMap<String, i64>,
}

impl InventoryWords {
    /// The words by their numbers.
    pub fn by_number(self) -> HashMap<i64, String> {
        self.numbers
            .into_iter()
            .map(|(word, number)| (number, word))
            .collect()
    }
}

/// What is known of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InventoryImport {
    /// Batch that counts.
    pub batch: i64,
    /// Its rows.
    pub rows: u64,
    /// When it was imported.
    pub imported_at: Timestamp,
    /// From which form.
    pub format: String,
}

impl Tx<'_> {
    /// The import that counts.
    pub fn inventory_import(&self, table: Table) -> Result<Option<InventoryImport>, StoreError> {
        self.one(
            "SELECT batch, row_count, imported_at, format FROM inventory_import WHERE table_name = $1",
            params![table.as_str()],
            |row| {
                Ok(InventoryImport {
                    batch: row.get(0)?,
                    rows: row.get::<_, i64>(1)?.unsigned_abs(),
                    imported_at: timestamp(row.get(2)?),
                    format: row.get(3)?,
                })
            },
        )
    }

    /// Every word.
    pub fn inventory_words(&self) -> Result<InventoryWords, StoreError> {
        let rows: Vec<(String, i64)> = self.many(
            &format!("SELECT word, word_id FROM inventory_word LIMIT {WORDS_MAX}"),
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        Ok(InventoryWords {
            numbers: rows.into_iter().collect(),
        })
    }

    /// Stores rows of a batch; a key that the batch has already is an error that names the row's place.
    pub fn insert_inventory(
        &self,
        table: Table,
        batch: i64,
        rows: &[Vec<Cell>],
        words: &mut InventoryWords,
    ) -> Result<Option<usize>, StoreError> {
        let columns = table.columns();
        let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
        let marks: Vec<String> = (2..=columns.len() + 1).map(|at| format!("${at}")).collect();
        let sql = format!(
            "INSERT INTO inventory_{} (batch, {}) VALUES ($1, {}) ON CONFLICT (batch, id) DO NOTHING",
            table.as_str(),
            names.join(", "),
            marks.join(", ")
        );
        for (at, row) in rows.iter().enumerate() {
            let mut values: Vec<rusqlite::types::Value> = vec![batch.into()];
            for (column, cell) in columns.iter().zip(row) {
                values.push(match (cell, column.kind) {
                    (Cell::None, _) => rusqlite::types::Value::Null,
                    (Cell::Number(number), _) => (*number).into(),
                    (Cell::Text(text), ColumnKind::Id) => text.clone().into(),
                    (Cell::Text(text), _) => self.word_number(text, words)?,
                });
            }
            if self.execute(&sql, rusqlite::params_from_iter(values))? == 0 {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    fn word_number(
        &self,
        word: &str,
        words: &mut InventoryWords,
    ) -> Result<rusqlite::types::Value, StoreError> {
        if let Some(number) = words.numbers.get(word) {
            return Ok((*number).into());
        }
        if words.numbers.len() >= WORDS_MAX {
            return Ok(rusqlite::types::Value::Null);
        }
        self.execute(
            "INSERT INTO inventory_word (word_id, word)
             SELECT COALESCE(MAX(word_id), 0) + 1, $1 FROM inventory_word WHERE true
             ON CONFLICT (word) DO NOTHING",
            params![word],
        )?;
        let number = self.one(
            "SELECT word_id FROM inventory_word WHERE word = $1",
            params![word],
            |row| row.get::<_, i64>(0),
        )?;
        let number = number.unwrap_or_default();
        words.numbers.insert(word.to_owned(), number);
        Ok(number.into())
    }

    /// From now on this batch counts.
    pub fn finish_inventory(&self, table: Table, import: &InventoryImport) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO inventory_import (table_name, batch, row_count, imported_at, format) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (table_name) DO UPDATE SET batch = excluded.batch, row_count = excluded.row_count,
             imported_at = excluded.imported_at, format = excluded.format",
            params![
                table.as_str(),
                import.batch,
                i64::try_from(import.rows).unwrap_or(i64::MAX),
                millis(import.imported_at),
                import.format
            ],
        )
        .map(drop)
    }

    /// Removes some rows of other batches than this one; says whether there may be more.
    pub fn remove_inventory_rest(&self, table: Table, batch: i64) -> Result<bool, StoreError> {
        let table = table.as_str();
        let sql = format!(
            "DELETE FROM inventory_{table} WHERE (batch, id) IN
             (SELECT batch, id FROM inventory_{table} WHERE batch <> $1 LIMIT {REMOVED_AT_ONCE})"
        );
        Ok(self.execute(&sql, params![batch])? == REMOVED_AT_ONCE as usize)
    }

    /// Gives every row of the batch that counts to `each`, as numbers in the order of `columns`: words by
    /// their number, [`NOTHING`] for a field without value. Ends early, with false, when `go_on` says so.
    pub fn scan_inventory(
        &self,
        table: Table,
        columns: &[&str],
        go_on: &dyn Fn() -> bool,
        each: &mut dyn FnMut(&[i64]),
    ) -> Result<bool, StoreError> {
        let Some(import) = self.inventory_import(table)? else {
            return Ok(true);
        };
        // The plus keeps the engine from walking the key's index: nearly every row is wanted.
        let sql = format!(
            "SELECT {} FROM inventory_{} WHERE +batch = $1",
            columns.join(", "),
            table.as_str()
        );
        let mut statement = self.sql.prepare_cached(&sql).map_err(|e| self.engine(e))?;
        let mut rows = statement
            .query(params![import.batch])
            .map_err(|e| self.engine(e))?;
        let mut fields = vec![NOTHING; columns.len()];
        let mut seen = 0_u64;
        while let Some(row) = rows.next().map_err(|e| self.engine(e))? {
            for (at, field) in fields.iter_mut().enumerate() {
                *field = match row.get_ref(at).map_err(|e| self.engine(e))? {
                    ValueRef::Integer(number) => number,
                    ValueRef::Null | ValueRef::Real(_) | ValueRef::Text(_) | ValueRef::Blob(_) => NOTHING,
                };
            }
            each(&fields);
            seen += 1;
            if seen.is_multiple_of(ROWS_PER_LOOK) && !go_on() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use domain::usage_data::inventory::cell;

    use super::*;
    use crate::Store;

    fn rows(texts: &[&str]) -> Vec<Vec<Cell>> {
        let columns = Table::Users.columns();
        let row = |text: &&str| -> Vec<Cell> {
            columns
                .iter()
                .zip(text.split(','))
                .map(|(column, field)| cell(column, field).unwrap())
                .collect()
        };
        texts.iter().map(row).collect()
    }

    fn sources(store: &Store) -> Vec<String> {
        store
            .read_blocking::<_, StoreError>(|tx| {
                let words = tx.inventory_words()?.by_number();
                let mut found = Vec::new();
                tx.scan_inventory(Table::Users, &["source"], &|| true, &mut |row| {
                    found.push(words.get(&row[0]).cloned().unwrap_or_default());
                })?;
                found.sort();
                Ok(found)
            })
            .unwrap()
    }

    #[test]
    fn a_batch_counts_when_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("site.db")).unwrap();
        let import = |batch: i64, rows: u64| InventoryImport {
            batch,
            rows,
            imported_at: Timestamp::UNIX_EPOCH,
            format: "csv".into(),
        };
        assert!(sources(&store).is_empty());
        store
            .write_blocking::<_, StoreError>(|tx| {
                let mut words = tx.inventory_words()?;
                let first = rows(&["a,ad", "b,entra", "c,"]);
                assert_eq!(tx.insert_inventory(Table::Users, 1, &first, &mut words)?, None);
                let again = rows(&["d,ad", "a,entra"]);
                assert_eq!(tx.insert_inventory(Table::Users, 1, &again, &mut words)?, Some(1));
                tx.finish_inventory(Table::Users, &import(1, 4))?;
                let next = rows(&["a,local"]);
                assert_eq!(tx.insert_inventory(Table::Users, 2, &next, &mut words)?, None);
                Ok(())
            })
            .unwrap();
        // The second batch is there and does not count yet.
        assert_eq!(sources(&store), ["", "ad", "ad", "entra"]);
        store
            .write_blocking::<_, StoreError>(|tx| {
                tx.finish_inventory(Table::Users, &import(2, 1))?;
                assert!(!tx.remove_inventory_rest(Table::Users, 2)?);
                assert_eq!(tx.inventory_import(Table::Users)?, Some(import(2, 1)));
                Ok(())
            })
            .unwrap();
        assert_eq!(sources(&store), ["local"]);
    }
}
