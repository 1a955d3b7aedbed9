//! What both engines do: run a list of statements in one transaction.

use super::embedded::Embedded;
use super::postgres::Postgres;

/// A value in or out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Field {
    Text(String),
    Number(i64),
}

/// A statement with its parameters: `$1`, `$2` and so on, each typed by a `CAST`.
#[derive(Debug, Clone)]
pub(super) struct Statement {
    pub sql: String,
    pub parameters: Vec<Field>,
}

impl Statement {
    pub fn new(sql: &str, parameters: Vec<Field>) -> Self {
        Statement {
            sql: sql.to_owned(),
            parameters,
        }
    }
}

/// A row that was read.
#[derive(Debug, Clone, Default)]
pub(super) struct Row(pub Vec<Field>);

impl Row {
    pub fn text(&self, at: usize) -> String {
        match self.0.get(at) {
            Some(Field::Text(text)) => text.clone(),
            Some(Field::Number(number)) => number.to_string(),
            None => String::new(),
        }
    }

    pub fn number(&self, at: usize) -> i64 {
        match self.0.get(at) {
            Some(Field::Number(number)) => *number,
            Some(Field::Text(_)) | None => 0,
        }
    }
}

/// What a statement did.
#[derive(Debug, Clone, Default)]
pub(super) struct Ran {
    pub changed: u64,
    pub rows: Vec<Row>,
}

/// One of the two.
pub(super) enum Engine {
    Embedded(Embedded),
    Postgres(Postgres),
}

impl Engine {
    /// Runs statements in one transaction; durable when this returns.
    pub async fn change(&self, statements: Vec<Statement>) -> Result<Vec<Ran>, IntakeStoreError> {
        match self {
            Engine::Embedded(engine) => engine.change(statements).await,
            Engine::Postgres(engine) => engine.run(&statements).await,
        }
    }

    /// Reads over one state of the database.
    pub async fn look(&self, statements: Vec<Statement>) -> Result<Vec<Vec<Row>>, IntakeStoreError> {
        let ran = match self {
            Engine::Embedded(engine) => engine.look(statements).await?,
            Engine::Postgres(engine) => engine.run(&statements).await?,
        };
        Ok(ran.into_iter().map(|ran| ran.rows).collect())
    }
}

/// What can go wrong with the database of an intake.
#[derive(Debug, thiserror::Error)]
pub enum IntakeStoreError {
    /// The embedded database.
    #[error(transparent)]
    Embedded(#[from] crate::StoreError),
    /// The address of the server.
    #[error("the address of the PostgreSQL server cannot be used: {0}")]
    Address(String),
    /// The server cannot be reached, or broke off.
    #[error("the PostgreSQL server {server}: {why}")]
    Server {
        /// Host and database, without account.
        server: String,
        /// What it says.
        why: String,
    },
    /// The server's database was written by a newer release.
    #[error(
        "the database of {server} has schema {found}, this tidegate knows up to {known}; use the release that wrote it"
    )]
    Newer {
        /// Host and database.
        server: String,
        /// Schema number there.
        found: i64,
        /// Highest known here.
        known: i64,
    },
    /// Others gave up on the transaction that had this change in it.
    #[error("the change was lost with the transaction it was part of; it is safe to repeat")]
    Abandoned,
}
