//! Alerts that wait to be delivered: entered in the transaction that raises their message, kept until they are
//! delivered or given up however long that takes, and for some days after that to be looked at.
//!
//! An alert has a number that is never used again, so that whoever is told twice can notice. The queue is bounded: a
//! flood of messages fills it once, and what comes after is counted and left out, oldest alerts first served.

use domain::status_message::rules::AlertTarget;
use jiff::Timestamp;
use rusqlite::{Row, params};
use serde_json::{Value, json};

use crate::database::{Tx, millis, timestamp};
use crate::error::StoreError;
use crate::status::NewStatusMessage;

/// Most alerts that wait for one target.
pub const ALERTS_WAITING_MAX: i64 = 1_000;
/// Where the number of alerts is kept that found the queue full.
const LEFT_OUT: &str = "alerts.left_out";

/// How an alert stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlertState {
    /// It will be tried, perhaps again.
    Waiting,
    /// The target took it.
    Delivered,
    /// It is not tried any more.
    GivenUp,
}

impl AlertState {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            AlertState::Waiting => "waiting",
            AlertState::Delivered => "delivered",
            AlertState::GivenUp => "given up",
        }
    }
}

/// An alert.
#[derive(Debug, Clone)]
pub struct AlertRow {
    /// Its number, never used again.
    pub id: i64,
    /// Who is to be told; none for a target that this release does not know.
    pub target: Option<AlertTarget>,
    /// Rule that selected the message.
    pub rule: String,
    /// The message, whether it is in the database or not.
    pub message: NewStatusMessage,
    /// `waiting`, `delivered` or `given up`.
    pub state: String,
    /// Attempts that failed.
    pub attempts: u32,
    /// When it is tried next.
    pub next_attempt_at: Timestamp,
    /// Why the last attempt failed.
    pub failure: Option<String>,
    /// When any of this changed.
    pub changed_at: Timestamp,
    /// Which of the target's receivers took it already.
    pub taken_by: Vec<String>,
}

impl Tx<'_> {
    /// Enters an alert for a target, unless too many wait for it already.
    pub(crate) fn queue_alert(
        &self,
        target: AlertTarget,
        rule: &str,
        message: &NewStatusMessage,
    ) -> Result<(), StoreError> {
        let at = millis(message.recorded_at);
        let waiting = AlertState::Waiting.as_str();
        let added = self.execute(
            "INSERT INTO alert (target, rule, message, state, raised_at, attempts, next_attempt_at, changed_at)
             SELECT $1, $2, $3, $4, $5, 0, $6, $7
             WHERE (SELECT COUNT(*) FROM alert WHERE state = $8 AND target = $9) < $10",
            params![
                target.as_str(),
                rule,
                message_json(message).to_string(),
                waiting,
                at,
                at,
                at,
                waiting,
                target.as_str(),
                ALERTS_WAITING_MAX
            ],
        )?;
        if added == 0 {
            let left_out = self.alerts_left_out()? + 1;
            self.set_setting(LEFT_OUT, Some(&left_out.to_string()))?;
        }
        self.alerted.set(true);
        Ok(())
    }

    /// How many alerts found the queue full.
    pub fn alerts_left_out(&self) -> Result<u64, StoreError> {
        let stored = self.setting(LEFT_OUT)?;
        Ok(stored.and_then(|text| text.parse().ok()).unwrap_or(0))
    }

    /// Alerts that wait for a target, oldest first.
    pub fn alerts_waiting(&self, target: AlertTarget, limit: u32) -> Result<Vec<AlertRow>, StoreError> {
        self.many(
            "SELECT id, target, rule, message, state, attempts, next_attempt_at, failure, changed_at,
                 taken_by FROM alert
             WHERE state = $1 AND target = $2 ORDER BY id LIMIT $3",
            params![AlertState::Waiting.as_str(), target.as_str(), limit],
            read_alert,
        )
    }

    /// Alerts, newest first.
    pub fn alerts(&self, limit: u32) -> Result<Vec<AlertRow>, StoreError> {
        self.many(
            "SELECT id, target, rule, message, state, attempts, next_attempt_at, failure, changed_at,
                 taken_by FROM alert
             ORDER BY id DESC LIMIT $1",
            params![limit],
            read_alert,
        )
    }

    /// Records that the target took an alert.
    pub fn alert_delivered(&self, id: i64, now: Timestamp) -> Result<(), StoreError> {
        self.execute(
            "UPDATE alert SET state = $1, failure = NULL, changed_at = $2 WHERE id = $3",
            params![AlertState::Delivered.as_str(), millis(now), id],
        )
        .map(drop)
    }

    /// Records that one of a target's receivers, named in one line, took an alert, so that it does not get it again with
    /// those who did not.
    pub fn alert_taken_by(&self, id: i64, receiver: &str) -> Result<(), StoreError> {
        self.execute(
            "UPDATE alert SET taken_by = taken_by || $1 WHERE id = $2",
            params![format!("{receiver}\n"), id],
        )
        .map(drop)
    }

    /// Records a failed attempt, and when the next one is; none gives the alert up.
    pub fn alert_failed(
        &self,
        id: i64,
        failure: &str,
        next: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let state = match next {
            Some(_) => AlertState::Waiting,
            None => AlertState::GivenUp,
        };
        self.execute(
            "UPDATE alert SET state = $1, failure = $2, attempts = attempts + 1, next_attempt_at = $3, changed_at = $4
             WHERE id = $5",
            params![
                state.as_str(),
                failure,
                millis(next.unwrap_or(now)),
                millis(now),
                id
            ],
        )
        .map(drop)
    }

    /// Removes alerts that were delivered or given up before an instant, a bounded number at a time; returns how many. One
    /// that waits is nobody's to forget: a site may be offline for weeks.
    pub fn remove_alerts(&self, before: Timestamp, limit: u32) -> Result<usize, StoreError> {
        self.execute(
            "DELETE FROM alert WHERE id IN
             (SELECT id FROM alert WHERE changed_at < $1 AND state <> $2 ORDER BY changed_at LIMIT $3)",
            params![millis(before), AlertState::Waiting.as_str(), limit],
        )
    }
}

fn message_json(message: &NewStatusMessage) -> Value {
    json!({
        "message_id": message.message_id,
        "severity": message.severity,
        "message_type": message.message_type,
        "component": message.component,
        "machine": message.machine,
        "site_code": message.site_code,
        "process_id": message.process_id,
        "recorded_at": millis(message.recorded_at),
        "text": message.text,
        "insertion_strings": message.insertion_strings,
    })
}

fn read_alert(r: &Row<'_>) -> rusqlite::Result<AlertRow> {
    let (target, stored): (String, String) = (r.get(1)?, r.get(3)?);
    let value: Value = serde_json::from_str(&stored).unwrap_or(Value::Null);
    let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let number = |name: &str| {
        value[name]
            .as_u64()
            .and_then(|number| u32::try_from(number).ok())
            .unwrap_or(0)
    };
    let strings = value["insertion_strings"].as_array().into_iter().flatten();
    Ok(AlertRow {
        id: r.get(0)?,
        target: AlertTarget::from_name(&target),
        rule: r.get(2)?,
        message: NewStatusMessage {
            message_id: number("message_id"),
            severity: number("severity"),
            message_type: number("message_type"),
            component: text("component"),
            machine: text("machine"),
            site_code: text("site_code"),
            process_id: number("process_id"),
            recorded_at: timestamp(value["recorded_at"].as_i64().unwrap_or(0)),
            text: text("text"),
            insertion_strings: strings.filter_map(Value::as_str).map(str::to_owned).collect(),
        },
        state: r.get(4)?,
        attempts: r.get(5)?,
        next_attempt_at: timestamp(r.get(6)?),
        failure: r.get(7)?,
        changed_at: timestamp(r.get(8)?),
        taken_by: r.get::<_, String>(9)?.lines().map(str::to_owned).collect(),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::Store;
    use domain::status_message::rules::{Actions, Criteria, Rule};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn message(id: u32) -> NewStatusMessage {
        NewStatusMessage {
            message_id: id,
            severity: 0xC000_0000,
            message_type: 256,
            component: "SMS_DMP_DOWNLOADER".into(),
            machine: "host".into(),
            site_code: "P01".into(),
            process_id: 1,
            recorded_at: at(5),
            text: "ä \"text\"".into(),
            insertion_strings: vec!["one".into()],
        }
    }

    fn store_with_rule(stop: bool) -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("site.db")).unwrap();
        let rule = Rule {
            name: "tell".into(),
            enabled: true,
            criteria: Criteria {
                message_id: Some(7),
                ..Criteria::default()
            },
            actions: Actions {
                alert: vec![AlertTarget::Webhook],
                stop,
                ..Actions::default()
            },
        };
        store
            .write_blocking::<_, StoreError>(|tx| tx.set_status_rules(&[rule]))
            .unwrap();
        (folder, store)
    }

    #[test]
    fn an_alert_is_as_durable_as_its_message_and_keeps_its_number() {
        let (_folder, store) = store_with_rule(true);
        let told = Arc::new(AtomicU32::new(0));
        let listener = told.clone();
        store.when_alerted(move || {
            listener.fetch_add(1, Ordering::Relaxed);
        });
        let raise =
            |id| store.write_blocking::<_, StoreError>(move |tx| tx.record_status_message(&message(id)));
        raise(8).unwrap();
        assert_eq!(told.load(Ordering::Relaxed), 0);
        // What is rolled back is not told.
        let rolled_back = store.write_blocking::<(), StoreError>(|tx| {
            tx.record_status_message(&message(7))?;
            Err(StoreError::NotFound {
                what: "thing",
                key: String::new(),
            })
        });
        assert!(rolled_back.is_err());
        assert_eq!(told.load(Ordering::Relaxed), 0);
        raise(7).unwrap();
        assert_eq!(told.load(Ordering::Relaxed), 1);
        store
            .write_blocking::<_, StoreError>(|tx| {
                let waiting = tx.alerts_waiting(AlertTarget::Webhook, 10)?;
                assert_eq!(tx.alerts_waiting(AlertTarget::Email, 10)?.len(), 0);
                let [alert] = waiting.as_slice() else {
                    panic!("{waiting:?}");
                };
                // The rule stopped it: the alert is all there is of the message.
                assert_eq!(alert.message.text, "ä \"text\"");
                assert_eq!(alert.message.recorded_at, at(5));
                assert_eq!(alert.message.insertion_strings, ["one"]);
                tx.alert_failed(alert.id, "no", Some(at(9)), at(6))?;
                let again = tx.alerts_waiting(AlertTarget::Webhook, 10)?;
                assert_eq!((again[0].attempts, again[0].next_attempt_at), (1, at(9)));
                assert_eq!(tx.remove_alerts(at(1_000_000), 10)?, 0, "it waits");
                tx.alert_taken_by(alert.id, "a@x.example")?;
                tx.alert_taken_by(alert.id, "b@x.example")?;
                let again = tx.alerts_waiting(AlertTarget::Webhook, 10)?;
                assert_eq!(again[0].taken_by, ["a@x.example", "b@x.example"]);
                tx.alert_failed(alert.id, "never", None, at(9))?;
                assert_eq!(tx.alerts_waiting(AlertTarget::Webhook, 10)?.len(), 0);
                assert_eq!(tx.alerts(10)?[0].failure.as_deref(), Some("never"));
                assert_eq!(tx.remove_alerts(at(9), 10)?, 0);
                assert_eq!(tx.remove_alerts(at(10), 10)?, 1);
                tx.record_status_message(&message(7))?;
                let next = tx.alerts(10)?[0].id;
                assert!(next > alert.id, "number {next} was used before");
                tx.alert_delivered(next, at(11))?;
                assert_eq!(tx.alerts(10)?[0].state, "delivered");
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn a_flood_fills_the_queue_once() {
        let (_folder, store) = store_with_rule(false);
        store
            .write_blocking::<_, StoreError>(|tx| {
                for _ in 0..ALERTS_WAITING_MAX + 5 {
                    tx.record_status_message(&message(7))?;
                }
                assert_eq!(tx.alerts_left_out()?, 5);
                let waiting = tx.alerts_waiting(AlertTarget::Webhook, 2000)?;
                assert_eq!(waiting.len() as i64, ALERTS_WAITING_MAX);
                // One that is served makes room for one.
                tx.alert_delivered(waiting[0].id, at(6))?;
                tx.record_status_message(&message(7))?;
                tx.record_status_message(&message(7))?;
                assert_eq!(tx.alerts_left_out()?, 6);
                Ok(())
            })
            .unwrap();
    }
}
