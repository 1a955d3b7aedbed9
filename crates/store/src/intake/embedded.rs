//! The embedded engine. Changes that wait while one is being made durable are made durable together: a
//! disk that flushes a hundred times a second takes more than a hundred reports.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use tokio::sync::oneshot;

use super::engine::{Field, IntakeStoreError, Ran, Row, Statement};
use crate::database::connect;
use crate::error::StoreError;
use crate::migrations;

/// Changes in one transaction.
const TOGETHER_MAX: usize = 256;

type Answer = Result<Vec<Ran>, IntakeStoreError>;

struct Waiting {
    statements: Vec<Statement>,
    answer: oneshot::Sender<Answer>,
}

/// A file of the embedded database.
pub(super) struct Embedded {
    path: PathBuf,
    writer: Arc<tokio::sync::Mutex<Connection>>,
    reader: Arc<tokio::sync::Mutex<Connection>>,
    waiting: Mutex<Vec<Waiting>>,
}

impl Embedded {
    pub async fn open(path: PathBuf) -> Result<Self, IntakeStoreError> {
        let opened = path.clone();
        let (writer, reader) = blocking(move || {
            let engine = |source| StoreError::from_engine(&opened, source);
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
            let mut writer = connect(&opened, flags)?;
            writer
                .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")
                .map_err(engine)?;
            migrations::migrate(&mut writer, &opened, &super::STEPS)?;
            let reader = connect(&opened, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
            Ok::<_, StoreError>((writer, reader))
        })
        .await??;
        Ok(Embedded {
            path,
            writer: Arc::new(tokio::sync::Mutex::new(writer)),
            reader: Arc::new(tokio::sync::Mutex::new(reader)),
            waiting: Mutex::default(),
        })
    }

    /// Puts the change in line; whoever gets the writer next makes everything durable that waits.
    pub async fn change(&self, statements: Vec<Statement>) -> Result<Vec<Ran>, IntakeStoreError> {
        let (answer, mut mine) = oneshot::channel();
        self.line().push(Waiting { statements, answer });
        let writer = self.writer.clone().lock_owned().await;
        // Somebody before us may have taken ours along.
        if let Ok(answer) = mine.try_recv() {
            return answer;
        }
        let mut writer = writer;
        loop {
            let batch: Vec<Waiting> = {
                let mut line = self.line();
                let count = line.len().min(TOGETHER_MAX);
                line.drain(..count).collect()
            };
            if batch.is_empty() {
                return mine.try_recv().unwrap_or(Err(IntakeStoreError::Abandoned));
            }
            let path = self.path.clone();
            writer = blocking(move || {
                make_durable(&mut writer, &path, batch);
                writer
            })
            .await?;
            if let Ok(answer) = mine.try_recv() {
                return answer;
            }
        }
    }

    fn line(&self) -> std::sync::MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub async fn look(&self, statements: Vec<Statement>) -> Result<Vec<Ran>, IntakeStoreError> {
        let mut reader = self.reader.clone().lock_owned().await;
        let path = self.path.clone();
        blocking(move || {
            let engine = |source| StoreError::from_engine(&path, source);
            let transaction = reader.transaction().map_err(engine)?;
            run(&transaction, &path, &statements)
        })
        .await?
    }
}

/// Makes changes durable in one transaction. One that fails takes nothing of the others with it.
fn make_durable(writer: &mut Connection, path: &Path, batch: Vec<Waiting>) {
    let engine = |source| IntakeStoreError::from(StoreError::from_engine(path, source));
    let (answers, lists): (Vec<_>, Vec<_>) = batch
        .into_iter()
        .map(|waiting| (waiting.answer, waiting.statements))
        .unzip();
    let mut work = || {
        let mut transaction = writer
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(engine)?;
        let mut results = Vec::with_capacity(lists.len());
        for statements in &lists {
            let savepoint = transaction.savepoint().map_err(engine)?;
            let result = run(&savepoint, path, statements);
            if result.is_ok() {
                savepoint.commit().map_err(engine)?;
            }
            results.push(result);
        }
        transaction.commit().map_err(engine)?;
        Ok::<_, IntakeStoreError>(results)
    };
    match work() {
        // Whoever asked may have gone; the change is durable all the same.
        Ok(results) => answers
            .into_iter()
            .zip(results)
            .for_each(|(answer, result)| drop(answer.send(result))),
        Err(failure) => {
            let mut failure = Some(failure);
            for answer in answers {
                let _ = answer.send(Err(failure.take().unwrap_or(IntakeStoreError::Abandoned)));
            }
        }
    }
}

fn run(connection: &Connection, path: &Path, statements: &[Statement]) -> Answer {
    let engine = |source| IntakeStoreError::from(StoreError::from_engine(path, source));
    let mut all = Vec::with_capacity(statements.len());
    for statement in statements {
        // `$2` is the second name that appears; `?2` is the second parameter, as in PostgreSQL.
        let sql = statement.sql.replace('$', "?");
        let mut prepared = connection.prepare_cached(&sql).map_err(engine)?;
        let parameters = statement.parameters.iter().map(|field| match field {
            Field::Text(text) => rusqlite::types::Value::Text(text.clone()),
            Field::Number(number) => rusqlite::types::Value::Integer(*number),
        });
        let parameters = rusqlite::params_from_iter(parameters);
        let mut ran = Ran::default();
        match prepared.column_count() {
            0 => ran.changed = prepared.execute(parameters).map_err(engine)? as u64,
            columns => {
                let mut rows = prepared.query(parameters).map_err(engine)?;
                while let Some(row) = rows.next().map_err(engine)? {
                    let field = |at: usize| {
                        Ok(match row.get_ref(at).map_err(engine)? {
                            ValueRef::Integer(number) => Field::Number(number),
                            ValueRef::Real(number) => Field::Number(number as i64),
                            ValueRef::Text(text) => Field::Text(String::from_utf8_lossy(text).into_owned()),
                            ValueRef::Null | ValueRef::Blob(_) => Field::Text(String::new()),
                        })
                    };
                    ran.rows.push(Row((0..columns)
                        .map(field)
                        .collect::<Result<_, IntakeStoreError>>()?));
                }
            }
        }
        all.push(ran);
    }
    Ok(all)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, IntakeStoreError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| IntakeStoreError::Abandoned)
}
