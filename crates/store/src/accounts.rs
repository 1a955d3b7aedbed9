//! Users of the console, their sessions, and the link by which the first of them is made. Of secrets only hashes.

use domain::access::{Access, Role};
use jiff::Timestamp;
use rusqlite::{Row, params};

use crate::database::{Tx, millis, timestamp};
use crate::error::StoreError;

/// Most accounts in a list.
const ACCOUNTS_MAX: u32 = 1_000;
/// Sessions of one account; the oldest end first.
const SESSIONS_MAX: u32 = 20;

/// A user.
#[derive(Debug, Clone)]
pub struct AccountRow {
    /// Name, as it signs in.
    pub name: String,
    /// What it may do.
    pub access: Access,
    /// Argon2id in PHC form; empty for a user of single sign-on, whom no password lets in.
    pub password: String,
    /// Issuer and subject at the provider of single sign-on; none for a local user. Never changes.
    pub subject: Option<String>,
    /// Wrong passwords in a row.
    pub failures: u32,
    /// No sign-in before then.
    pub locked_until: Option<Timestamp>,
    /// When it was added.
    pub created_at: Timestamp,
    /// Last sign-in.
    pub signed_in_at: Option<Timestamp>,
}

/// A session.
#[derive(Debug, Clone)]
pub struct SessionRow {
    /// SHA-256 of what the cookie holds, as hexadecimal digits.
    pub hash: String,
    /// Name of the account.
    pub account: String,
    /// What forms of this session carry.
    pub csrf: String,
    /// Begin.
    pub created_at: Timestamp,
    /// Last request.
    pub seen_at: Timestamp,
}

const COLUMNS: &str =
    "name, role, scope, password, failures, locked_until, created_at, signed_in_at, subject";

fn read_account(row: &Row<'_>) -> rusqlite::Result<AccountRow> {
    let (role, scope): (String, String) = (row.get(1)?, row.get(2)?);
    Ok(AccountRow {
        name: row.get(0)?,
        access: Access {
            // A word of a newer release gives the least.
            role: role.parse().unwrap_or(Role::ReadOnlyAnalyst),
            scope: scope.parse().unwrap_or(domain::access::Scope::Default),
        },
        password: row.get(3)?,
        failures: row.get(4)?,
        locked_until: row.get::<_, Option<i64>>(5)?.map(timestamp),
        created_at: timestamp(row.get(6)?),
        signed_in_at: row.get::<_, Option<i64>>(7)?.map(timestamp),
        subject: row.get(8)?,
    })
}

impl Tx<'_> {
    /// An account.
    pub fn account(&self, name: &str) -> Result<Option<AccountRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM account WHERE name = $1");
        self.one(&sql, params![name], read_account)
    }

    /// The account of somebody at the provider of single sign-on.
    pub fn account_of_subject(&self, subject: &str) -> Result<Option<AccountRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM account WHERE subject = $1");
        self.one(&sql, params![subject], read_account)
    }

    /// Marks the state word of a single sign-on as used; false where it was used before. Words whose time is over are
    /// forgotten: their cookies are refused anyway.
    pub fn use_sign_on(&self, hash: &str, expires_at: Timestamp, now: Timestamp) -> Result<bool, StoreError> {
        self.execute(
            "DELETE FROM used_sign_on WHERE expires_at < $1",
            params![millis(now)],
        )?;
        let added = self.execute(
            "INSERT INTO used_sign_on (hash, expires_at) VALUES ($1, $2) ON CONFLICT (hash) DO NOTHING",
            params![hash, millis(expires_at)],
        )?;
        Ok(added == 1)
    }

    /// All accounts, by name.
    pub fn accounts(&self) -> Result<Vec<AccountRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM account ORDER BY name LIMIT $1");
        self.many(&sql, params![ACCOUNTS_MAX], read_account)
    }

    /// Adds or replaces an account. Whose it is at the provider is said once, when it is added.
    pub fn record_account(&self, account: &AccountRow) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO account (name, role, scope, password, failures, locked_until, created_at, signed_in_at,
                 subject)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
             ON CONFLICT (name) DO UPDATE SET role = excluded.role, scope = excluded.scope,
                 password = excluded.password, failures = excluded.failures, locked_until = excluded.locked_until,
                 signed_in_at = excluded.signed_in_at",
            params![
                account.name,
                account.access.role.word(),
                account.access.scope.as_str(),
                account.password,
                account.failures,
                account.locked_until.map(millis),
                millis(account.created_at),
                account.signed_in_at.map(millis),
                account.subject
            ],
        )
        .map(drop)
    }

    /// A sign-in with the right password: nothing else of the account is touched, whatever happened to it meanwhile. False if
    /// it is gone, locked, or has another password by now.
    pub fn account_signed_in(&self, name: &str, password: &str, now: Timestamp) -> Result<bool, StoreError> {
        let changed = self.execute(
            "UPDATE account SET failures = 0, locked_until = NULL, signed_in_at = $1
             WHERE name = $2 AND password = $3 AND (locked_until IS NULL OR locked_until <= $4)",
            params![millis(now), name, password, millis(now)],
        )?;
        Ok(changed == 1)
    }

    /// A wrong password; says how many there were in a row. Those of long ago are forgotten, together with their lock: one
    /// that stayed would make them be forgotten again with every further one.
    pub fn count_wrong_password(&self, name: &str, forgotten: Timestamp) -> Result<u32, StoreError> {
        self.execute(
            "UPDATE account SET failures = 1 + CASE WHEN locked_until < $1 THEN 0 ELSE failures END,
                 locked_until = CASE WHEN locked_until < $2 THEN NULL ELSE locked_until END
             WHERE name = $3",
            params![millis(forgotten), millis(forgotten), name],
        )?;
        let failures = self.one(
            "SELECT failures FROM account WHERE name = $1",
            params![name],
            |row| row.get(0),
        )?;
        Ok(failures.unwrap_or(0))
    }

    /// Locks an account for a while.
    pub fn lock_account(&self, name: &str, until: Timestamp) -> Result<(), StoreError> {
        self.execute(
            "UPDATE account SET locked_until = $1 WHERE name = $2",
            params![millis(until), name],
        )
        .map(drop)
    }

    /// Removes an account and ends its sessions.
    pub fn remove_account(&self, name: &str) -> Result<(), StoreError> {
        self.end_sessions(name)?;
        self.forget_devices(name)?;
        self.execute("DELETE FROM account WHERE name = $1", params![name])
            .map(drop)
    }

    /// Begins a session; those beyond the most of an account end.
    pub fn begin_session(&self, session: &SessionRow) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO session (hash, account, csrf, created_at, seen_at) VALUES ($1, $2, $3, $4, $5)",
            params![
                session.hash,
                session.account,
                session.csrf,
                millis(session.created_at),
                millis(session.seen_at)
            ],
        )?;
        self.execute(
            "DELETE FROM session WHERE account = $1 AND hash NOT IN
             (SELECT hash FROM session WHERE account = $2 ORDER BY seen_at DESC, hash LIMIT $3)",
            params![session.account, session.account, SESSIONS_MAX],
        )
        .map(drop)
    }

    /// A session.
    pub fn session(&self, hash: &str) -> Result<Option<SessionRow>, StoreError> {
        self.one(
            "SELECT hash, account, csrf, created_at, seen_at FROM session WHERE hash = $1",
            params![hash],
            |row| {
                Ok(SessionRow {
                    hash: row.get(0)?,
                    account: row.get(1)?,
                    csrf: row.get(2)?,
                    created_at: timestamp(row.get(3)?),
                    seen_at: timestamp(row.get(4)?),
                })
            },
        )
    }

    /// A session was used.
    pub fn see_session(&self, hash: &str, now: Timestamp) -> Result<(), StoreError> {
        self.execute(
            "UPDATE session SET seen_at = $1 WHERE hash = $2",
            params![millis(now), hash],
        )
        .map(drop)
    }

    /// Ends a session.
    pub fn end_session(&self, hash: &str) -> Result<(), StoreError> {
        self.execute("DELETE FROM session WHERE hash = $1", params![hash])
            .map(drop)
    }

    /// Ends all sessions of an account.
    pub fn end_sessions(&self, account: &str) -> Result<(), StoreError> {
        self.execute("DELETE FROM session WHERE account = $1", params![account])
            .map(drop)
    }

    /// Makes the link by which the first account is made; one before it is void.
    pub fn record_setup_link(&self, hash: &str, expires_at: Timestamp) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO setup_link (id, hash, expires_at) VALUES (1, $1, $2)
             ON CONFLICT (id) DO UPDATE SET hash = excluded.hash, expires_at = excluded.expires_at",
            params![hash, millis(expires_at)],
        )
        .map(drop)
    }

    /// Whether this is the link, before its time is over.
    pub fn is_setup_link(&self, hash: &str, now: Timestamp) -> Result<bool, StoreError> {
        let found = self.one(
            "SELECT 1 FROM setup_link WHERE hash = $1 AND expires_at > $2",
            params![hash, millis(now)],
            |_| Ok(()),
        )?;
        Ok(found.is_some())
    }

    /// The link is used up.
    pub fn remove_setup_link(&self) -> Result<(), StoreError> {
        self.execute("DELETE FROM setup_link", params![]).map(drop)
    }
}
