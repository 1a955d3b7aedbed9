//! Answers that are kept under the key that a caller gave a change.

use jiff::{SignedDuration, Timestamp};
use rusqlite::params;

use crate::database::{Tx, millis, timestamp};
use crate::error::StoreError;

/// How long an answer is kept.
const KEPT: SignedDuration = SignedDuration::from_hours(24);
/// Keys of one caller; the oldest goes first.
const KEYS_MAX: u32 = 1_000;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptAnswer {
    /// HTTP status.
    pub status: u16,
    /// Content type, if it has a body.
    pub content_type: Option<String>,
    /// Body.
    pub body: Vec<u8>,
}

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyState {
    /// Nothing; it counts as under way from now on.
    New,
    /// Its change is being made.
    UnderWay,
    /// Its change was made and answered so.
    Done(KeptAnswer),
    /// It was used for another change.
    Other,
}

impl Tx<'_> {
    /// Begins a change under a key, or says what became of the first one. What began before `running_since` and has no
    /// answer was cut off with the process.
    pub fn begin_keyed(
        &self,
        actor: &str,
        key: &str,
        fingerprint: &str,
        running_since: Timestamp,
        now: Timestamp,
    ) -> Result<KeyState, StoreError> {
        let oldest = now.checked_sub(KEPT).unwrap_or(Timestamp::MIN);
        self.execute(
            "DELETE FROM idempotency_key WHERE begun_at < $1",
            params![millis(oldest)],
        )?;
        let found = self.one(
            "SELECT fingerprint, begun_at, status, content_type, body FROM idempotency_key WHERE actor = $1 AND key = $2",
            params![actor, key],
            |row| {
                let (status, body): (Option<u16>, Option<Vec<u8>>) = (row.get(2)?, row.get(4)?);
                let answer = status.map(|status| KeptAnswer {
                    status,
                    content_type: row.get(3).unwrap_or_default(),
                    body: body.unwrap_or_default(),
                });
                Ok((row.get::<_, String>(0)?, timestamp(row.get(1)?), answer))
            },
        )?;
        match found {
            Some((other, ..)) if other != fingerprint => return Ok(KeyState::Other),
            Some((.., Some(answer))) => return Ok(KeyState::Done(answer)),
            // One of an earlier process was cut off with it.
            Some((_, begun, None)) if begun >= running_since => {
                return Ok(KeyState::UnderWay);
            }
            _ => {}
        }
        self.execute(
            "INSERT INTO idempotency_key (actor, key, fingerprint, begun_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (actor, key) DO UPDATE SET begun_at = excluded.begun_at",
            params![actor, key, fingerprint, millis(now)],
        )?;
        self.execute(
            "DELETE FROM idempotency_key WHERE actor = $1 AND key NOT IN
             (SELECT key FROM idempotency_key WHERE actor = $2 ORDER BY begun_at DESC, key LIMIT $3)",
            params![actor, actor, KEYS_MAX],
        )?;
        Ok(KeyState::New)
    }

    /// Keeps the answer to a change, or forgets the key so that the change can be tried again.
    pub fn end_keyed(&self, actor: &str, key: &str, answer: Option<&KeptAnswer>) -> Result<(), StoreError> {
        match answer {
            Some(answer) => self.execute(
                "UPDATE idempotency_key SET status = $1, content_type = $2, body = $3 WHERE actor = $4 AND key = $5",
                params![answer.status, answer.content_type, answer.body, actor, key],
            ),
            None => self.execute(
                "DELETE FROM idempotency_key WHERE actor = $1 AND key = $2",
                params![actor, key],
            ),
        }
        .map(drop)
    }
}
