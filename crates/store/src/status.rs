//! Status messages, state messages and what an administrator set for components.

use std::time::Duration;

use domain::schedule::later;
use domain::servicing::package::PackageGuid;
use domain::status_message::Severity;
use domain::status_message::rules::{Seen, WriteDays, decide};
use jiff::Timestamp;
use rusqlite::params;

use crate::database::{Tx, millis, timestamp};
use crate::error::StoreError;
use crate::packages::read_guid;

/// A status message about to be stored.
#[derive(Debug, Clone)]
pub struct NewStatusMessage {
    /// Id in the catalogue of messages.
    pub message_id: u32,
    /// 0x40000000, 0x80000000 or 0xC0000000.
    pub severity: u32,
    /// 256 milestone, 512 detail, 768 audit.
    pub message_type: u32,
    /// Component that raised it.
    pub component: String,
    /// Host it was raised on.
    pub machine: String,
    /// Site it belongs to.
    pub site_code: String,
    /// Process that raised it.
    pub process_id: u32,
    /// When, UTC.
    pub recorded_at: Timestamp,
    /// The text with its insertion strings in place.
    pub text: String,
    /// Up to ten strings.
    pub insertion_strings: Vec<String>,
}

/// A value of a statement that is put together.
pub(crate) type Value = Box<dyn rusqlite::ToSql>;

/// A stored status message.
#[derive(Debug, Clone)]
pub struct StatusMessageRow {
    /// Key, ascending in time.
    pub record_id: i64,
    /// The message.
    pub message: NewStatusMessage,
}

/// Which status messages to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatusFilter {
    /// Only of this component.
    pub component: Option<String>,
    /// Only of this severity.
    pub severity: Option<u32>,
    /// Only with this id.
    pub message_id: Option<u32>,
    /// Only at or after this instant.
    pub since: Option<Timestamp>,
    /// Only before this instant.
    pub until: Option<Timestamp>,
    /// Only records before this one, for paging.
    pub before: Option<i64>,
}

/// What is remembered of a component between runs.
#[derive(Debug, Clone)]
pub struct ComponentRow {
    /// Name.
    pub name: String,
    /// An administrator stopped it.
    pub stopped: bool,
    /// 0 verbose to 3 errors only.
    pub log_level: u8,
    /// Counts before this instant are left out of the summary.
    pub tally_reset_at: Timestamp,
}

/// A stored state message.
#[derive(Debug, Clone)]
pub struct StateMessageRow {
    /// Key, ascending in time.
    pub id: i64,
    /// Number.
    pub number: u32,
    /// Package, or all zeros for the whole sync.
    pub guid: PackageGuid,
    /// When.
    pub recorded_at: Timestamp,
    /// One line.
    pub detail: String,
}

impl StatusFilter {
    /// The condition, ready to follow a `FROM`, and its values.
    ///
    /// A million messages are found page by page because each filter has an index that ends in the record id. Of several
    /// filters the one that is likely to find least leads; the others are written so that no index is taken for them.
    /// Times are turned into records: the first and the last that were recorded in that time. A message that was
    /// recorded before those by a clock that ran ahead is not found.
    pub(crate) fn condition(&self) -> (String, Vec<Value>) {
        let mut parts = Vec::new();
        let mut values: Vec<Value> = Vec::new();
        let mut add = |part: &str, value: Value| {
            values.push(value);
            parts.push(part.replace('?', &format!("${}", values.len())));
        };
        let rare = self
            .severity
            .is_some_and(|severity| severity != Severity::Informational.code());
        let mut led = false;
        let mut lead = |plain: &'static str, beside: &'static str| match std::mem::replace(&mut led, true) {
            false => plain,
            true => beside,
        };
        if let Some(id) = self.message_id {
            add(lead("message_id = ?", "message_id + 0 = ?"), Box::new(id));
        }
        if let (Some(severity), true) = (self.severity, rare) {
            add(lead("severity = ?", "severity + 0 = ?"), Box::new(severity));
        }
        if let Some(component) = &self.component {
            add(
                lead("component = ?", "component || '' = ?"),
                Box::new(component.clone()),
            );
        }
        if let (Some(severity), false) = (self.severity, rare) {
            add(lead("severity = ?", "severity + 0 = ?"), Box::new(severity));
        }
        if let Some(since) = self.since.map(millis) {
            add("recorded_at + 0 >= ?", Box::new(since));
            add(
                "id >= (SELECT id FROM status_message WHERE recorded_at >= ? ORDER BY recorded_at, id LIMIT 1)",
                Box::new(since),
            );
        }
        if let Some(until) = self.until.map(millis) {
            add("recorded_at + 0 < ?", Box::new(until));
            add(
                "id <= (SELECT id FROM status_message WHERE recorded_at < ? ORDER BY recorded_at DESC, id DESC LIMIT 1)",
                Box::new(until),
            );
        }
        if let Some(before) = self.before {
            add("id < ?", Box::new(before));
        }
        match parts.is_empty() {
            true => (String::new(), values),
            false => (format!(" WHERE {}", parts.join(" AND ")), values),
        }
    }

    /// The statement that reads a page, newest first.
    pub(crate) fn select(&self, limit: u32) -> (String, Vec<Value>) {
        let (condition, mut values) = self.condition();
        values.push(Box::new(limit));
        let sql = format!(
            "SELECT {MESSAGE_COLUMNS} FROM status_message{condition} ORDER BY id DESC LIMIT ${}",
            values.len()
        );
        (sql, values)
    }
}

const MESSAGE_COLUMNS: &str = "id, message_id, severity, message_type, component, machine, site_code, process_id, recorded_at, message_text, \
     insertion_strings";

fn status_message_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<StatusMessageRow> {
    let strings: String = row.get(10)?;
    Ok(StatusMessageRow {
        record_id: row.get(0)?,
        message: NewStatusMessage {
            message_id: row.get(1)?,
            severity: row.get(2)?,
            message_type: row.get(3)?,
            component: row.get(4)?,
            machine: row.get(5)?,
            site_code: row.get(6)?,
            process_id: row.get(7)?,
            recorded_at: timestamp(row.get(8)?),
            text: row.get(9)?,
            insertion_strings: serde_json::from_str(&strings).unwrap_or_default(),
        },
    })
}

impl Tx<'_> {
    /// Puts a raised message through the rules: it is written, counted and queued for alerts as they say. Every message
    /// comes through here, in the transaction of what it tells.
    pub fn record_status_message(&self, message: &NewStatusMessage) -> Result<(), StoreError> {
        let rules = self.status_rules()?;
        let decision = decide(
            &rules,
            &Seen {
                message_id: message.message_id,
                severity: message.severity,
                message_type: message.message_type,
                component: &message.component,
                machine: &message.machine,
                site_code: &message.site_code,
                strings: &message.insertion_strings,
            },
        );
        if decision.count {
            self.count_status_message(&message.component, message.severity, message.recorded_at)?;
        }
        match decision.write {
            Some(WriteDays::Usual) => self.write_status_message(message, None)?,
            Some(WriteDays::Days(days)) => {
                let kept = Duration::from_secs(u64::from(days) * 24 * 60 * 60);
                self.write_status_message(message, Some(later(message.recorded_at, kept)))?;
            }
            None => {}
        }
        for (target, rule) in decision.alerts {
            self.queue_alert(target, rule, message)?;
        }
        Ok(())
    }

    fn write_status_message(
        &self,
        message: &NewStatusMessage,
        deletable_after: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        let strings = serde_json::to_string(&message.insertion_strings).unwrap_or_default();
        self.execute(
            "INSERT INTO status_message (message_id, severity, message_type, component, machine, site_code, process_id,
                 recorded_at, message_text, insertion_strings, deletable_after)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
            params![
                message.message_id,
                message.severity,
                message.message_type,
                message.component,
                message.machine,
                message.site_code,
                message.process_id,
                millis(message.recorded_at),
                message.text,
                strings,
                deletable_after.map(millis)
            ],
        )
        .map(drop)
    }

    /// Status messages, newest first.
    pub fn status_messages(
        &self,
        filter: &StatusFilter,
        limit: u32,
    ) -> Result<Vec<StatusMessageRow>, StoreError> {
        let (sql, values) = filter.select(limit);
        self.many(&sql, rusqlite::params_from_iter(values), status_message_row)
    }

    /// Status messages after this record, the oldest first.
    pub fn status_messages_after(
        &self,
        record_id: i64,
        limit: u32,
    ) -> Result<Vec<StatusMessageRow>, StoreError> {
        self.many(
            &format!("SELECT {MESSAGE_COLUMNS} FROM status_message WHERE id > $1 ORDER BY id LIMIT $2"),
            params![record_id, limit],
            status_message_row,
        )
    }

    /// Removes state messages older than an instant, a bounded number at a time; returns how many.
    pub fn remove_state_messages(&self, before: Timestamp, limit: u32) -> Result<usize, StoreError> {
        self.execute(
            "DELETE FROM state_message WHERE id IN
             (SELECT id FROM state_message WHERE recorded_at < $1 ORDER BY id LIMIT $2)",
            params![millis(before), limit],
        )
    }

    /// Stores a state message.
    pub fn record_state_message(
        &self,
        number: u32,
        guid: PackageGuid,
        detail: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO state_message (number, guid, recorded_at, detail) VALUES ($1, $2, $3, $4)",
            params![number, guid.to_string(), millis(now), detail],
        )
        .map(drop)
    }

    /// State messages, newest first.
    pub fn state_messages(&self, limit: u32) -> Result<Vec<StateMessageRow>, StoreError> {
        self.many(
            "SELECT id, number, guid, recorded_at, detail FROM state_message ORDER BY id DESC LIMIT $1",
            params![limit],
            |r| {
                Ok(StateMessageRow {
                    id: r.get(0)?,
                    number: r.get(1)?,
                    guid: read_guid(r, 2)?,
                    recorded_at: timestamp(r.get(3)?),
                    detail: r.get(4)?,
                })
            },
        )
    }

    /// What is remembered of a component.
    pub fn component(&self, name: &str) -> Result<ComponentRow, StoreError> {
        let row = self.one(
            "SELECT stopped, log_level, tally_reset_at FROM component WHERE name = $1",
            params![name],
            |r| Ok((r.get::<_, i64>(0)? != 0, r.get::<_, u8>(1)?, r.get::<_, i64>(2)?)),
        )?;
        let (stopped, log_level, reset) = row.unwrap_or((false, 1, 0));
        Ok(ComponentRow {
            name: name.to_owned(),
            stopped,
            log_level,
            tally_reset_at: timestamp(reset),
        })
    }

    /// Remembers what an administrator set for a component.
    pub fn record_component(&self, row: &ComponentRow) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO component (name, stopped, log_level, tally_reset_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (name) DO UPDATE SET stopped = excluded.stopped, log_level = excluded.log_level,
                 tally_reset_at = excluded.tally_reset_at",
            params![
                row.name,
                i64::from(row.stopped),
                row.log_level,
                millis(row.tally_reset_at)
            ],
        )
        .map(drop)
    }
}
