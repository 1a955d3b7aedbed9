//! Wrong passwords from browsers in which a user signed in before: each of them counts by itself, so that guesses from
//! elsewhere lock nobody out there. There is a row only while something is counted.

use jiff::Timestamp;
use rusqlite::params;

use crate::database::{Tx, millis, timestamp};
use crate::error::StoreError;

impl Tx<'_> {
    /// Until when no password is taken from a browser.
    pub fn device_locked_until(&self, hash: &str) -> Result<Option<Timestamp>, StoreError> {
        let locked = self.one(
            "SELECT locked_until FROM device WHERE hash = $1",
            params![hash],
            |row| row.get::<_, Option<i64>>(0),
        )?;
        Ok(locked.flatten().map(timestamp))
    }

    /// A wrong password from a browser of a user; says how many there were in a row. What was counted before `forgotten` is.
    pub fn count_wrong_password_of_device(
        &self,
        hash: &str,
        account: &str,
        forgotten: Timestamp,
        now: Timestamp,
    ) -> Result<u32, StoreError> {
        self.execute(
            "DELETE FROM device WHERE changed_at < $1",
            params![millis(forgotten)],
        )?;
        self.execute(
            "INSERT INTO device (hash, account, failures, changed_at) VALUES ($1, $2, 1, $3)
             ON CONFLICT (hash) DO UPDATE SET failures = device.failures + 1, changed_at = excluded.changed_at",
            params![hash, account, millis(now)],
        )?;
        let failures = self.one(
            "SELECT failures FROM device WHERE hash = $1",
            params![hash],
            |row| row.get(0),
        )?;
        Ok(failures.unwrap_or(0))
    }

    /// Locks a browser for a while.
    pub fn lock_device(&self, hash: &str, until: Timestamp) -> Result<(), StoreError> {
        self.execute(
            "UPDATE device SET locked_until = $1 WHERE hash = $2",
            params![millis(until), hash],
        )
        .map(drop)
    }

    /// A sign-in with the right password from a browser that is known: a lock of the account, which others brought about,
    /// does not count, and stays. False if the account is gone or has another password by now, or the browser is locked.
    pub fn account_signed_in_from(
        &self,
        hash: &str,
        name: &str,
        password: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let changed = self.execute(
            "UPDATE account SET signed_in_at = $1 WHERE name = $2 AND password = $3
             AND NOT EXISTS (SELECT 1 FROM device WHERE hash = $4 AND locked_until > $5)",
            params![millis(now), name, password, hash, millis(now)],
        )?;
        if changed == 1 {
            self.execute("DELETE FROM device WHERE hash = $1", params![hash])?;
        }
        Ok(changed == 1)
    }

    /// Forgets what was counted for the browsers of a user.
    pub fn forget_devices(&self, account: &str) -> Result<(), StoreError> {
        self.execute("DELETE FROM device WHERE account = $1", params![account])
            .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AccountRow, Store};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_browser_counts_by_itself() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("site.db")).unwrap();
        let account = AccountRow {
            name: "alice".into(),
            access: domain::access::Access::FULL,
            password: "hash".into(),
            subject: None,
            failures: 0,
            locked_until: None,
            created_at: at(0),
            signed_in_at: None,
        };
        let work = store.write_blocking::<_, StoreError>(|tx| {
            tx.record_account(&account)?;
            tx.lock_account("alice", at(900))?;
            let count = |device: &str, forgotten, now| {
                tx.count_wrong_password_of_device(device, "alice", at(forgotten), at(now))
            };
            assert_eq!(
                (count("one", 0, 1)?, count("one", 0, 2)?, count("two", 0, 3)?),
                (1, 2, 1)
            );
            tx.lock_device("one", at(60))?;
            assert_eq!(tx.device_locked_until("one")?, Some(at(60)));
            assert_eq!(tx.device_locked_until("two")?, None);
            let signed_in = |device: &str, password: &str, now| {
                tx.account_signed_in_from(device, "alice", password, at(now))
            };
            assert!(!signed_in("one", "hash", 59)?);
            assert!(!signed_in("two", "other", 59)?);
            assert!(signed_in("two", "hash", 59)?, "others locked the account");
            assert_eq!(tx.account("alice")?.unwrap().locked_until, Some(at(900)));
            assert!(signed_in("one", "hash", 60)?);
            assert_eq!(count("one", 0, 61)?, 1, "a good sign-in ends the row");
            assert_eq!(count("two", 62, 63)?, 1);
            assert_eq!(count("one", 62, 64)?, 1, "it was long ago");
            tx.forget_devices("alice")?;
            assert_eq!(count("one", 0, 65)?, 1);
            Ok(())
        });
        work.unwrap();
    }
}
