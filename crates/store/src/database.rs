//! Opening the database and running transactions on it.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use crate::error::StoreError;
use crate::migrations;

/// Connections kept for readers; more readers than this open one for themselves.
const IDLE_READERS_MAX: usize = 4;
/// How long a statement waits for another process's lock. There is none in normal operation.
const BUSY_TIMEOUT_MS: u64 = 5_000;
/// Pause before another try to read a database that is busy.
const BUSY_PAUSE_MS: u64 = 20;
/// Prepared statements kept per connection.
const STATEMENTS_MAX: usize = 128;

/// A handle on the database; clones share it.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    writer: Mutex<Connection>,
    readers: Mutex<Vec<Connection>>,
    /// Called after each transaction that queued an alert.
    alert_listener: OnceLock<AlertListener>,
}

type AlertListener = Box<dyn Fn() + Send + Sync>;

/// One transaction. Its methods, the product's verbs, are in this crate's other modules.
pub struct Tx<'a> {
    pub(crate) sql: &'a Connection,
    pub(crate) path: &'a Path,
    /// An alert was queued.
    pub(crate) alerted: Cell<bool>,
}

impl Store {
    /// Opens or creates the database and brings it to the newest schema. Blocks.
    pub fn open(path: &Path) -> Result<Store, StoreError> {
        let engine = |source| StoreError::from_engine(path, source);
        let mut writer = connect(
            path,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
        )?;
        // FULL: with NORMAL the last acknowledged commits can vanish in a power cut.
        writer
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 1000;",
            )
            .map_err(engine)?;
        migrations::migrate(&mut writer, path, &migrations::STEPS)?;
        Ok(Store {
            inner: Arc::new(Inner {
                path: path.to_owned(),
                writer: Mutex::new(writer),
                readers: Mutex::default(),
                alert_listener: OnceLock::new(),
            }),
        })
    }

    /// Writes one consistent state of the database to the new file `to`, and checks what was written. Blocks; nobody
    /// else waits for it.
    pub fn copy_to(&self, to: &Path) -> Result<(), StoreError> {
        let source = connect(self.inner.path.as_path(), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let engine = |source| StoreError::from_engine(to, source);
        let mut target = Connection::open(to).map_err(engine)?;
        {
            let backup = Backup::new(&source, &mut target).map_err(engine)?;
            // All pages in one step: one state, however much is written meanwhile.
            while backup.step(-1).map_err(engine)? != StepResult::Done {
                std::thread::sleep(std::time::Duration::from_millis(BUSY_PAUSE_MS));
            }
        }
        // A file of its own, without a log beside it.
        target
            .execute_batch("PRAGMA journal_mode = DELETE;")
            .map_err(engine)?;
        let sound: String = target
            .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
            .map_err(engine)?;
        match sound.as_str() {
            "ok" => Ok(()),
            _ => Err(StoreError::Damaged {
                what: "the copy of the database",
                value: sound,
            }),
        }
    }

    /// Has `tell` called after each transaction that queued an alert, by whichever thread ran it; it must be quick.
    /// The first listener stays.
    pub fn when_alerted(&self, tell: impl Fn() + Send + Sync + 'static) {
        let _ = self.inner.alert_listener.set(Box::new(tell));
    }

    /// Runs `work` in a write transaction on a blocking thread and commits what it did.
    pub async fn write<T, E, F>(&self, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&Tx<'_>) -> Result<T, E> + Send + 'static,
    {
        let store = self.clone();
        run_blocking(move || store.write_blocking(work)).await
    }

    /// Runs `work` in a write transaction on this thread.
    pub fn write_blocking<T, E: From<StoreError>>(
        &self,
        work: impl FnOnce(&Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let path = self.inner.path.as_path();
        let engine = |source| StoreError::from_engine(path, source);
        let mut writer = lock(&self.inner.writer);
        let transaction = writer
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(engine)?;
        let tx = Tx {
            sql: &transaction,
            path,
            alerted: Cell::new(false),
        };
        let value = work(&tx)?;
        let alerted = tx.alerted.get();
        transaction.commit().map_err(engine)?;
        drop(writer);
        // Whoever is woken looks at the database: only now there is something to see.
        if let (true, Some(tell)) = (alerted, self.inner.alert_listener.get()) {
            tell();
        }
        Ok(value)
    }

    /// Runs `work` over one consistent state of the database on a blocking thread.
    pub async fn read<T, E, F>(&self, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        F: FnOnce(&Tx<'_>) -> Result<T, E> + Send + 'static,
    {
        let store = self.clone();
        run_blocking(move || store.read_blocking(work)).await
    }

    /// Runs `work` over one consistent state of the database on this thread.
    pub fn read_blocking<T, E: From<StoreError>>(
        &self,
        work: impl FnOnce(&Tx<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let path = self.inner.path.as_path();
        let engine = |source| StoreError::from_engine(path, source);
        let idle = lock(&self.inner.readers).pop();
        let mut reader = match idle {
            Some(connection) => connection,
            None => connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?,
        };
        let result = {
            let transaction: Transaction<'_> = reader.transaction().map_err(engine)?;
            work(&Tx {
                sql: &transaction,
                path,
                alerted: Cell::new(false),
            })
        };
        let mut readers = lock(&self.inner.readers);
        if readers.len() < IDLE_READERS_MAX {
            readers.push(reader);
        }
        result
    }
}

impl Tx<'_> {
    pub(crate) fn engine(&self, source: rusqlite::Error) -> StoreError {
        StoreError::from_engine(self.path, source)
    }

    /// Runs a statement that changes rows; returns how many.
    pub(crate) fn execute(&self, sql: &str, params: impl rusqlite::Params) -> Result<usize, StoreError> {
        let mut statement = self.sql.prepare_cached(sql).map_err(|e| self.engine(e))?;
        statement.execute(params).map_err(|e| self.engine(e))
    }

    /// Reads at most one row.
    pub(crate) fn one<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        map: impl FnOnce(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        let mut statement = self.sql.prepare_cached(sql).map_err(|e| self.engine(e))?;
        let mut rows = statement.query(params).map_err(|e| self.engine(e))?;
        rows.next()
            .and_then(|row| row.map(map).transpose())
            .map_err(|e| self.engine(e))
    }

    /// Reads all rows of a statement that carries its own limit.
    pub(crate) fn many<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        map: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let mut statement = self.sql.prepare_cached(sql).map_err(|e| self.engine(e))?;
        let rows = statement.query_map(params, map).map_err(|e| self.engine(e))?;
        rows.collect::<Result<_, _>>().map_err(|e| self.engine(e))
    }
}

pub(crate) fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, StoreError> {
    let engine = |source| StoreError::from_engine(path, source);
    let connection =
        Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(engine)?;
    connection
        .busy_timeout(std::time::Duration::from_millis(BUSY_TIMEOUT_MS))
        .map_err(engine)?;
    connection
        .pragma_update(None, "foreign_keys", true)
        .map_err(engine)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    Ok(connection)
}

/// A panic inside a transaction rolled it back; the connection itself is still sound.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    // Log lines of the closure belong to the component that runs it.
    let span = tracing::Span::current();
    match tokio::task::spawn_blocking(move || span.in_scope(work)).await {
        Ok(value) => value,
        // The closure panicked: carry the panic to the component that asked, which is supervised.
        Err(failure) => match failure.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => std::panic::resume_unwind(Box::new("the runtime is shutting down")),
        },
    }
}

/// Milliseconds since 1970, as stored.
pub(crate) fn millis(at: jiff::Timestamp) -> i64 {
    at.as_millisecond()
}

/// The stored form back; out of range means damage, and reads as the epoch's edge.
pub(crate) fn timestamp(millis: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
}
