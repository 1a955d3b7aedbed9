//! The rules of the status system as they are kept: few, read and replaced as a whole.

use domain::component::ComponentName;
use domain::status_message::rules::{
    Actions, AlertTarget, Criteria, Property, RULES_MAX, Rule, Source, WriteDays,
};
use domain::status_message::{MessageType, Severity};
use rusqlite::{Row, params};

use crate::database::Tx;
use crate::error::StoreError;

impl Tx<'_> {
    /// Every rule in its order.
    pub fn status_rules(&self) -> Result<Vec<Rule>, StoreError> {
        self.many(
            "SELECT name, enabled, source, site_code, machine, component, message_type, severity, message_id, property,
                    property_value, writes, write_days, forwards, to_syslog, to_email, to_webhook, stops
             FROM status_rule ORDER BY place, name LIMIT $1",
            params![RULES_MAX as i64],
            read_rule,
        )
    }

    /// Replaces every rule; the caller keeps to [`RULES_MAX`].
    pub fn set_status_rules(&self, rules: &[Rule]) -> Result<(), StoreError> {
        self.execute("DELETE FROM status_rule", [])?;
        for (place, rule) in rules.iter().take(RULES_MAX).enumerate() {
            let (criteria, actions) = (&rule.criteria, &rule.actions);
            let alert = |target| i64::from(actions.alert.contains(&target));
            let (property, value) = match &criteria.property {
                Some((property, value)) => (Some(property.as_str()), value.as_deref()),
                None => (None, None),
            };
            let days = match actions.write {
                Some(WriteDays::Days(days)) => Some(days),
                Some(WriteDays::Usual) | None => None,
            };
            self.execute(
                "INSERT INTO status_rule (name, place, enabled, source, site_code, machine, component, message_type,
                     severity, message_id, property, property_value, writes, write_days, forwards, to_syslog, to_email,
                     to_webhook, stops)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)",
                params![
                    rule.name,
                    place as i64,
                    i64::from(rule.enabled),
                    criteria.source.map(Source::as_str),
                    criteria.site_code,
                    criteria.machine,
                    criteria.component.map(ComponentName::as_str),
                    criteria.message_type.map(MessageType::code),
                    criteria.severity.map(Severity::code),
                    criteria.message_id,
                    property,
                    value,
                    i64::from(actions.write.is_some()),
                    days,
                    i64::from(!actions.do_not_forward),
                    alert(AlertTarget::Syslog),
                    alert(AlertTarget::Email),
                    alert(AlertTarget::Webhook),
                    i64::from(actions.stop),
                ],
            )?;
        }
        Ok(())
    }
}

/// A stored rule. One with a criterion that this release does not know is off: without that criterion it would be
/// about more messages than was meant.
fn read_rule(r: &Row<'_>) -> rusqlite::Result<Rule> {
    let mut known = true;
    let text = |column: usize| r.get::<_, Option<String>>(column);
    let number = |column: usize| r.get::<_, Option<u32>>(column);
    let criteria = Criteria {
        source: read(&mut known, text(2)?, |name| Source::from_name(&name)),
        site_code: text(3)?,
        machine: text(4)?,
        component: read(&mut known, text(5)?, |name| name.parse::<ComponentName>().ok()),
        message_type: read(&mut known, number(6)?, MessageType::from_code),
        severity: read(&mut known, number(7)?, Severity::from_code),
        message_id: number(8)?,
        property: {
            let value = text(10)?;
            read(&mut known, text(9)?, |name| Property::from_name(&name)).map(|property| (property, value))
        },
    };
    let flag = |column: usize| r.get::<_, i64>(column).map(|value| value != 0);
    let days = number(12)?.map_or(WriteDays::Usual, WriteDays::Days);
    let mut alert = Vec::new();
    for (column, target) in [
        (14, AlertTarget::Syslog),
        (15, AlertTarget::Email),
        (16, AlertTarget::Webhook),
    ] {
        if flag(column)? {
            alert.push(target);
        }
    }
    Ok(Rule {
        name: r.get(0)?,
        enabled: flag(1)? && known,
        criteria,
        actions: Actions {
            write: flag(11)?.then_some(days),
            do_not_forward: !flag(13)?,
            alert,
            stop: flag(17)?,
        },
    })
}

fn read<S, T>(known: &mut bool, stored: Option<S>, parse: impl FnOnce(S) -> Option<T>) -> Option<T> {
    let value = parse(stored?);
    *known &= value.is_some();
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Store;

    #[test]
    fn rules_read_back_and_unknown_criteria_switch_them_off() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("site.db")).unwrap();
        let full = Rule {
            name: "full".into(),
            enabled: true,
            criteria: Criteria {
                source: Some(Source::Provider),
                site_code: Some("P01".into()),
                machine: Some("host".into()),
                component: Some(ComponentName::DmpDownloader),
                message_type: Some(MessageType::Audit),
                severity: Some(Severity::Error),
                message_id: Some(7),
                property: Some((Property::User, Some("alice".into()))),
            },
            actions: Actions {
                write: Some(WriteDays::Days(9)),
                do_not_forward: true,
                alert: AlertTarget::ALL.to_vec(),
                stop: true,
            },
        };
        let plain = Rule {
            name: "plain".into(),
            enabled: true,
            criteria: Criteria {
                property: Some((Property::Package, None)),
                ..Criteria::default()
            },
            actions: Actions {
                write: Some(WriteDays::Usual),
                ..Actions::default()
            },
        };
        let rules = vec![plain, full];
        store
            .write_blocking::<_, StoreError>(|tx| {
                tx.set_status_rules(&rules)?;
                assert_eq!(tx.status_rules()?, rules);
                tx.execute("UPDATE status_rule SET component = 'SMS_OF_TOMORROW'", [])?;
                assert!(tx.status_rules()?.iter().all(|rule| !rule.enabled));
                tx.set_status_rules(&rules[..1])?;
                assert_eq!(tx.status_rules()?, rules[..1]);
                Ok(())
            })
            .unwrap();
    }
}
