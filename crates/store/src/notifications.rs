//! Notifications in force, and what each user did with them.

use domain::notification::{Kind, Notification, Reaction, Severity};
use jiff::Timestamp;
use rusqlite::{Row, params};

use crate::database::{Tx, millis, timestamp};
use crate::error::StoreError;

/// Most notifications that are read; the domain keeps fewer in force.
const READ_MAX: u32 = 1_000;

/// A notification in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotificationRow {
    /// The notification.
    pub notification: Notification,
    /// When it came into force.
    pub first_seen_at: Timestamp,
    /// When its severity, cause or text last changed.
    pub changed_at: Timestamp,
}

const COLUMNS: &str =
    "notification_key, kind, severity, cause, title, body, command, first_seen_at, changed_at";

impl Tx<'_> {
    /// Every notification in force, by key.
    pub fn notifications(&self) -> Result<Vec<NotificationRow>, StoreError> {
        let rows = self.many(
            &format!("SELECT {COLUMNS} FROM notification ORDER BY notification_key LIMIT $1"),
            params![READ_MAX],
            notification_row,
        )?;
        rows.into_iter().collect()
    }

    /// One notification in force.
    pub fn notification(&self, key: &str) -> Result<Option<NotificationRow>, StoreError> {
        self.one(
            &format!("SELECT {COLUMNS} FROM notification WHERE notification_key = $1"),
            params![key],
            notification_row,
        )?
        .transpose()
    }

    /// Replaces the notifications of the kinds that were looked at. One that stays keeps its age, unless its cause is
    /// another one; what is gone takes along what users did with it. Writes nothing where nothing changed.
    pub fn replace_notifications(
        &self,
        looked_at: &[Kind],
        in_force: &[Notification],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let known = self.notifications()?;
        for row in &known {
            let old = &row.notification;
            if looked_at.contains(&old.kind) && !in_force.iter().any(|new| new.key == old.key) {
                self.execute(
                    "DELETE FROM notification WHERE notification_key = $1",
                    params![old.key],
                )?;
            }
        }
        for new in in_force {
            let old = known.iter().find(|row| row.notification.key == new.key);
            if old.is_some_and(|row| row.notification == *new) {
                continue;
            }
            let first_seen_at = match old {
                Some(row) if row.notification.cause == new.cause => row.first_seen_at,
                _ => now,
            };
            self.execute(
                "INSERT INTO notification (notification_key, kind, severity, cause, title, body, command, first_seen_at,
                        changed_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
                 ON CONFLICT (notification_key) DO UPDATE SET kind = excluded.kind, severity = excluded.severity,
                     cause = excluded.cause, title = excluded.title, body = excluded.body, command = excluded.command,
                     first_seen_at = excluded.first_seen_at, changed_at = excluded.changed_at",
                params![
                    new.key,
                    new.kind.as_str(),
                    new.severity.as_str(),
                    new.cause,
                    new.title,
                    new.body,
                    new.command,
                    millis(first_seen_at),
                    millis(now)
                ],
            )?;
        }
        Ok(())
    }

    /// What a user did with notifications in force, by key.
    pub fn notification_reactions(&self, user: &str) -> Result<Vec<(String, Reaction)>, StoreError> {
        let rows = self.many(
            "SELECT notification_key, severity, cause, snoozed_until FROM notification_reaction
             WHERE user_name = $1 ORDER BY notification_key LIMIT $2",
            params![user, READ_MAX],
            |row| {
                Ok((
                    row.get::<_, String>(0)?,
                    row.get::<_, String>(1)?,
                    row.get::<_, String>(2)?,
                    row.get::<_, Option<i64>>(3)?,
                ))
            },
        )?;
        rows.into_iter()
            .map(|(key, severity, cause, until)| {
                let reaction = Reaction {
                    severity: read_severity(&severity)?,
                    cause,
                    until: until.map(timestamp),
                };
                Ok((key, reaction))
            })
            .collect()
    }

    /// Remembers what a user did with a notification in force.
    pub fn record_notification_reaction(
        &self,
        key: &str,
        user: &str,
        reaction: &Reaction,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO notification_reaction (notification_key, user_name, severity, cause, snoozed_until, recorded_at)
             VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (notification_key, user_name) DO UPDATE SET severity = excluded.severity,
                 cause = excluded.cause, snoozed_until = excluded.snoozed_until, recorded_at = excluded.recorded_at",
            params![
                key,
                user,
                reaction.severity.as_str(),
                reaction.cause,
                reaction.until.map(millis),
                millis(now)
            ],
        )
        .map(drop)
    }
}

fn read_severity(word: &str) -> Result<Severity, StoreError> {
    Severity::from_word(word).ok_or_else(|| StoreError::Damaged {
        what: "severity of a notification",
        value: word.to_owned(),
    })
}

fn notification_row(row: &Row<'_>) -> rusqlite::Result<Result<NotificationRow, StoreError>> {
    let (kind, severity): (String, String) = (row.get(1)?, row.get(2)?);
    let (key, cause, title, body, command) =
        (row.get(0)?, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?);
    let (first_seen_at, changed_at) = (timestamp(row.get(7)?), timestamp(row.get(8)?));
    let read = || {
        let known = Kind::from_name(&kind).ok_or_else(|| StoreError::Damaged {
            what: "kind of a notification",
            value: kind.clone(),
        })?;
        Ok(NotificationRow {
            notification: Notification {
                key,
                kind: known,
                severity: read_severity(&severity)?,
                cause,
                title,
                body,
                command,
            },
            first_seen_at,
            changed_at,
        })
    };
    Ok(read())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Store;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn notification(severity: Severity, cause: &str, body: &str) -> Notification {
        Notification {
            key: "disk-space-low".into(),
            kind: Kind::DiskSpaceLow,
            severity,
            cause: cause.into(),
            title: "Title".into(),
            body: body.into(),
            command: "tidegate content gc".into(),
        }
    }

    #[test]
    fn age_cause_and_what_users_did() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("site.db")).unwrap();
        let look = |looked_at: &[Kind], in_force: &[Notification], second| {
            store
                .write_blocking::<_, StoreError>(|tx| {
                    tx.replace_notifications(looked_at, in_force, at(second))?;
                    let rows = tx.notifications()?;
                    let times = rows
                        .iter()
                        .map(|row| (row.first_seen_at.as_second(), row.changed_at.as_second()));
                    Ok((
                        times.collect::<Vec<_>>(),
                        tx.notification_reactions("anna")?.len(),
                    ))
                })
                .unwrap()
        };
        let this = [Kind::DiskSpaceLow];
        let warning = notification(Severity::Warning, "a", "x");
        assert_eq!(look(&this, std::slice::from_ref(&warning), 1), (vec![(1, 1)], 0));
        let reaction = Reaction {
            severity: Severity::Warning,
            cause: "a".into(),
            until: Some(at(99)),
        };
        store
            .write_blocking::<_, StoreError>(|tx| {
                tx.record_notification_reaction("disk-space-low", "anna", &reaction, at(1))
            })
            .unwrap();
        let read = store
            .read_blocking::<_, StoreError>(|tx| {
                assert_eq!(tx.notification_reactions("otto")?, []);
                assert_eq!(
                    tx.notification("disk-space-low")?.map(|row| row.notification),
                    Some(warning.clone())
                );
                assert_eq!(tx.notification("other")?, None);
                tx.notification_reactions("anna")
            })
            .unwrap();
        assert_eq!(read, [("disk-space-low".to_owned(), reaction)]);

        // Nothing changed; then it got worse; then it has another cause.
        assert_eq!(look(&this, &[warning], 2), (vec![(1, 1)], 1));
        assert_eq!(
            look(&this, &[notification(Severity::Critical, "a", "y")], 3),
            (vec![(1, 3)], 1)
        );
        assert_eq!(
            look(&this, &[notification(Severity::Critical, "b", "y")], 4),
            (vec![(4, 4)], 1)
        );
        // Not looked at, then gone.
        assert_eq!(look(&[Kind::SiteInUpgradeMode], &[], 5), (vec![(4, 4)], 1));
        assert_eq!(look(&this, &[], 6), (vec![], 0));
    }
}
