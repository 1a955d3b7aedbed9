//! Removing status messages: those whose time is over, and those that an administrator wants gone.
//!
//! Record ids are keys of pages and must not be used again. SQLite would give the highest one again once its record is
//! gone, so the newest record stays until there is a newer one.

use jiff::Timestamp;
use rusqlite::params;

use crate::database::{Tx, millis};
use crate::error::StoreError;
use crate::status::StatusFilter;

impl Tx<'_> {
    /// Removes messages whose time is over, a bounded number at a time; returns how many. `usual` is where the time of
    /// those ends that no rule gave a time of their own; an audit message is not removed before that either.
    pub fn remove_status_messages(
        &self,
        usual: Timestamp,
        now: Timestamp,
        limit: u32,
    ) -> Result<usize, StoreError> {
        let by_rule = self.execute(
            "DELETE FROM status_message WHERE id IN
             (SELECT id FROM status_message WHERE deletable_after IS NOT NULL AND deletable_after < $1
                  AND (message_type <> 768 OR recorded_at < $2) AND id < (SELECT MAX(id) FROM status_message)
              ORDER BY deletable_after LIMIT $3)",
            params![millis(now), millis(usual), limit],
        )?;
        let rest = limit.saturating_sub(u32::try_from(by_rule).unwrap_or(limit));
        let by_settings = self.execute(
            "DELETE FROM status_message WHERE id IN
             (SELECT id FROM status_message WHERE recorded_at < $1 AND deletable_after IS NULL
                  AND id < (SELECT MAX(id) FROM status_message)
              ORDER BY recorded_at LIMIT $2)",
            params![millis(usual), rest],
        )?;
        Ok(by_rule + by_settings)
    }

    /// Record ids of messages, oldest first.
    pub fn status_message_ids(&self, filter: &StatusFilter, limit: u32) -> Result<Vec<i64>, StoreError> {
        let (condition, mut values) = filter.condition();
        values.push(Box::new(limit));
        let sql = format!(
            "SELECT id FROM status_message{condition} ORDER BY id LIMIT ${}",
            values.len()
        );
        self.many(&sql, rusqlite::params_from_iter(values), |r| r.get(0))
    }

    /// Those of these records that exist.
    pub fn known_status_messages(&self, ids: &[i64]) -> Result<Vec<i64>, StoreError> {
        let mut known = Vec::new();
        for id in ids {
            known.extend(
                self.one("SELECT id FROM status_message WHERE id = $1", params![id], |r| {
                    r.get::<_, i64>(0)
                })?,
            );
        }
        Ok(known)
    }

    /// Deletes records. The audit of the deletion is recorded before: it is then the newest record, which has to stay.
    pub fn delete_status_messages(&self, ids: &[i64]) -> Result<(), StoreError> {
        for id in ids {
            self.execute("DELETE FROM status_message WHERE id = $1", params![id])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::NewStatusMessage;
    use crate::{Store, StoreError};
    use domain::status_message::rules::{Actions, Criteria, Rule, WriteDays};

    const DAY: i64 = 24 * 3600;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn message(id: u32, severity: u32, message_type: u32, second: i64) -> NewStatusMessage {
        NewStatusMessage {
            message_id: id,
            severity,
            message_type,
            component: format!("C{}", id % 3),
            machine: "host".into(),
            site_code: "P01".into(),
            process_id: 1,
            recorded_at: at(second),
            text: "text".into(),
            insertion_strings: Vec::new(),
        }
    }

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("site.db")).unwrap();
        (folder, store)
    }

    #[test]
    fn a_message_goes_when_its_own_time_or_the_usual_one_is_over() {
        let (_folder, store) = store();
        let keep = |name: &str, message_id, days| Rule {
            name: name.into(),
            enabled: true,
            criteria: Criteria {
                message_id: Some(message_id),
                ..Criteria::default()
            },
            actions: Actions {
                write: Some(WriteDays::Days(days)),
                ..Actions::default()
            },
        };
        store
            .write_blocking::<_, StoreError>(|tx| {
                tx.set_status_rules(&[keep("short", 1, 2), keep("long", 2, 90)])?;
                for (id, kind) in [(1, 256), (1, 768), (2, 256), (3, 256)] {
                    tx.record_status_message(&message(id, 0x4000_0000, kind, 0))?;
                }
                tx.record_status_message(&message(9, 0x4000_0000, 256, 60))?;
                let left = |tx: &Tx<'_>, day: i64| {
                    tx.remove_status_messages(at((day - 30) * DAY), at(day * DAY), 10)?;
                    let rows = tx.status_messages(&StatusFilter::default(), 10)?;
                    Ok::<_, StoreError>(
                        rows.iter()
                            .rev()
                            .map(|row| (row.message.message_id, row.message.message_type))
                            .collect::<Vec<_>>(),
                    )
                };
                assert_eq!(left(tx, 1)?.len(), 5);
                // Audit messages stay for the usual time whatever a rule says.
                assert_eq!(left(tx, 3)?, [(1, 768), (2, 256), (3, 256), (9, 256)]);
                assert_eq!(left(tx, 31)?, [(2, 256), (9, 256)]);
                // The newest record stays, so that its number is not used again.
                assert_eq!(left(tx, 91)?, [(9, 256)]);
                // Counts are not a matter of what is kept.
                assert_eq!(tx.severity_counts("C1", at(0))?.informational, 2);
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn every_filter_finds_its_messages_by_an_index() {
        let (_folder, store) = store();
        let error = 0xC000_0000;
        let filters: Vec<StatusFilter> = (0..64_u32)
            .map(|bits| {
                let given = |bit: u32| bits & (1 << bit) != 0;
                StatusFilter {
                    component: given(0).then(|| "C1".to_owned()),
                    severity: given(1).then_some(if given(0) { error } else { 0x4000_0000 }),
                    message_id: given(2).then_some(7),
                    since: given(3).then(|| at(100)),
                    until: given(4).then(|| at(200)),
                    before: given(5).then_some(250),
                }
            })
            .collect();
        store
            .write_blocking::<_, StoreError>(|tx| {
                for second in 0..300_u32 {
                    let severity = if second % 10 == 0 { error } else { 0x4000_0000 };
                    tx.record_status_message(&message(second % 20, severity, 256, i64::from(second)))?;
                }
                for filter in &filters {
                    let found = tx.status_messages(filter, 1000)?;
                    let mut ids = tx.status_message_ids(filter, 1000)?;
                    ids.reverse();
                    assert_eq!(found.iter().map(|row| row.record_id).collect::<Vec<_>>(), ids);
                    let expected = (1..=300_i64).rev().filter(|id| {
                        let message = message(
                            ((id - 1) % 20) as u32,
                            if (id - 1) % 10 == 0 { error } else { 0x4000_0000 },
                            256,
                            id - 1,
                        );
                        filter
                            .component
                            .as_ref()
                            .is_none_or(|name| *name == message.component)
                            && filter.severity.is_none_or(|wanted| wanted == message.severity)
                            && filter
                                .message_id
                                .is_none_or(|wanted| wanted == message.message_id)
                            && filter.since.is_none_or(|since| message.recorded_at >= since)
                            && filter.until.is_none_or(|until| message.recorded_at < until)
                            && filter.before.is_none_or(|before| *id < before)
                    });
                    assert_eq!(ids, expected.collect::<Vec<_>>(), "{filter:?}");
                }
                for filter in &filters {
                    let (sql, values) = filter.select(10);
                    let plan: Vec<String> = tx.many(
                        &format!("EXPLAIN QUERY PLAN {sql}"),
                        rusqlite::params_from_iter(values),
                        |r| r.get(3),
                    )?;
                    for step in &plan {
                        assert!(!step.contains("TEMP B-TREE"), "{filter:?}: {plan:?}");
                        // Only without any filter the table is read in its own order.
                        let whole =
                            step.starts_with("SCAN status_message") && *filter != StatusFilter::default();
                        assert!(!whole, "{filter:?}: {plan:?}");
                    }
                    let index = match filter {
                        StatusFilter {
                            message_id: Some(_), ..
                        } => "status_message_by_message_id",
                        StatusFilter {
                            severity: Some(0xC000_0000),
                            ..
                        } => "status_message_by_severity",
                        StatusFilter {
                            component: Some(_), ..
                        } => "status_message_by_component",
                        StatusFilter {
                            severity: Some(_), ..
                        } => "status_message_by_severity",
                        _ => "status_message",
                    };
                    assert!(plan[0].contains(index), "{filter:?}: {plan:?}");
                }
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn deleted_numbers_are_not_used_again() {
        let (_folder, store) = store();
        store
            .write_blocking::<_, StoreError>(|tx| {
                for id in 0..4 {
                    tx.record_status_message(&message(id, 0x4000_0000, 256, 0))?;
                }
                let ids = tx.known_status_messages(&[2, 4, 99])?;
                assert_eq!(ids, [2, 4]);
                tx.record_status_message(&message(50, 0x4000_0000, 768, 1))?;
                tx.delete_status_messages(&ids)?;
                tx.record_status_message(&message(51, 0x4000_0000, 256, 2))?;
                let rows = tx.status_messages(&StatusFilter::default(), 10)?;
                let numbers: Vec<i64> = rows.iter().map(|row| row.record_id).collect();
                assert_eq!(numbers, [6, 5, 3, 1]);
                Ok(())
            })
            .unwrap();
    }
}
