//! Status filter rules: listed, and changed one at a time, each change with its audit.

use domain::status_message::rule_list::{ChangeRefused, RuleChange};
use domain::status_message::rules::{Actions, AlertTarget, Criteria, Property, Rule, Source, WriteDays};
use domain::status_message::{MessageType, Severity, StatusMessageId};
use protocol::api::{
    StatusRule, StatusRuleActions, StatusRuleAddRequest, StatusRuleChangeRequest, StatusRuleCriteria,
};
use store::StoreError;

use super::{Actor, ServiceError, SiteService, component_name};

impl SiteService {
    /// `status rules`
    pub async fn status_rules(&self) -> Result<Vec<StatusRule>, ServiceError> {
        let rules = self
            .context
            .store
            .read::<_, StoreError, _>(|tx| tx.status_rules())
            .await?;
        Ok(rules.into_iter().map(shown).collect())
    }

    /// `status rules add`
    pub async fn add_status_rule(
        &self,
        request: StatusRuleAddRequest,
        actor: &Actor,
    ) -> Result<Vec<StatusRule>, ServiceError> {
        let change = RuleChange::Add {
            rule: asked_for(request.rule)?,
            place: request.place.map(|place| place as usize),
        };
        self.change_status_rules(vec![change], actor).await
    }

    /// `status rules remove`
    pub async fn remove_status_rule(
        &self,
        name: String,
        actor: &Actor,
    ) -> Result<Vec<StatusRule>, ServiceError> {
        self.change_status_rules(vec![RuleChange::Remove { name }], actor)
            .await
    }

    /// `status rules move`, `enable`, `disable`
    pub async fn change_status_rule(
        &self,
        name: &str,
        request: &StatusRuleChangeRequest,
        actor: &Actor,
    ) -> Result<Vec<StatusRule>, ServiceError> {
        let moved = request.place.map(|place| RuleChange::Move {
            name: name.to_owned(),
            place: place as usize,
        });
        let switched = request.enabled.map(|enabled| RuleChange::Switch {
            name: name.to_owned(),
            enabled,
        });
        let changes: Vec<RuleChange> = moved.into_iter().chain(switched).collect();
        if changes.is_empty() {
            return Err(invalid("say what to change: place or enabled".into()));
        }
        self.change_status_rules(changes, actor).await
    }

    async fn change_status_rules(
        &self,
        changes: Vec<RuleChange>,
        actor: &Actor,
    ) -> Result<Vec<StatusRule>, ServiceError> {
        let now = self.clock.now();
        let audits: Vec<_> = changes
            .iter()
            .map(|change| {
                let (name, what) = change.describe();
                let strings = [actor.as_str(), name, &what];
                self.context
                    .status_message(StatusMessageId::AdminStatusRule, &strings, now)
            })
            .collect();
        let rules = self
            .context
            .store
            .write::<_, ServiceError, _>(move |tx| {
                let mut rules = tx.status_rules()?;
                for change in changes {
                    rules = change.apply(rules).map_err(refused)?;
                }
                tx.set_status_rules(&rules)?;
                for audit in &audits {
                    tx.record_status_message(audit)?;
                }
                Ok(rules)
            })
            .await?;
        Ok(rules.into_iter().map(shown).collect())
    }
}

fn refused(refused: ChangeRefused) -> ServiceError {
    let message = refused.to_string();
    let hint = Some("`tidegate status rules` lists the rules".to_owned());
    match refused {
        ChangeRefused::Unknown(_) => ServiceError::NotFound { message, hint },
        ChangeRefused::Exists(_) | ChangeRefused::TooMany => ServiceError::Refused { message, hint },
        ChangeRefused::Rule(_) | ChangeRefused::Place => invalid(message),
    }
}

fn invalid(message: String) -> ServiceError {
    ServiceError::Invalid { message, hint: None }
}

/// Reads a word of a request.
fn word<T>(
    what: &str,
    given: Option<String>,
    read: impl Fn(&str) -> Option<T>,
    words: &[&str],
) -> Result<Option<T>, ServiceError> {
    let Some(given) = given else { return Ok(None) };
    match read(&given) {
        Some(value) => Ok(Some(value)),
        None => Err(invalid(format!(
            "{given:?} is no {what}; write one of {}",
            words.join(", ")
        ))),
    }
}

fn asked_for(rule: StatusRule) -> Result<Rule, ServiceError> {
    let StatusRuleCriteria {
        source,
        site_code,
        system,
        component,
        message_type,
        severity,
        message_id,
        property,
        property_value,
    } = rule.criteria;
    let property = word(
        "property",
        property,
        Property::from_name,
        &Property::ALL.map(Property::as_str),
    )?;
    let property = match (property, property_value) {
        (None, Some(_)) => return Err(invalid("a property value needs a property".into())),
        (property, value) => property.map(|property| (property, value)),
    };
    let StatusRuleActions {
        write,
        write_days,
        do_not_forward,
        alert,
        stop,
    } = rule.actions;
    let write = match (write, write_days) {
        (false, Some(_)) => return Err(invalid("days are for messages that are written".into())),
        (true, Some(days)) => Some(WriteDays::Days(days)),
        (true, None) => Some(WriteDays::Usual),
        (false, None) => None,
    };
    let mut targets = Vec::new();
    for name in alert {
        let target = word(
            "way to tell of a message",
            Some(name),
            AlertTarget::from_name,
            &AlertTarget::ALL.map(AlertTarget::as_str),
        )?;
        targets.extend(target);
    }
    // In the one order that they are kept in, each once.
    let targets = AlertTarget::ALL
        .into_iter()
        .filter(|target| targets.contains(target))
        .collect();
    Ok(Rule {
        name: rule.name,
        enabled: rule.enabled,
        criteria: Criteria {
            source: word(
                "source",
                source,
                Source::from_name,
                &Source::ALL.map(Source::as_str),
            )?,
            site_code,
            machine: system,
            component: component.map(|name| component_name(&name)).transpose()?,
            message_type: word(
                "kind of message",
                message_type,
                MessageType::from_name,
                &MessageType::ALL.map(MessageType::as_str),
            )?,
            severity: word(
                "severity",
                severity,
                Severity::from_name,
                &Severity::ALL.map(Severity::as_str),
            )?,
            message_id,
            property,
        },
        actions: Actions {
            write,
            do_not_forward,
            alert: targets,
            stop,
        },
    })
}

fn shown(rule: Rule) -> StatusRule {
    let Rule {
        name,
        enabled,
        criteria,
        actions,
    } = rule;
    let (property, property_value) = match criteria.property {
        Some((property, value)) => (Some(property.as_str().to_owned()), value),
        None => (None, None),
    };
    StatusRule {
        name,
        enabled,
        criteria: StatusRuleCriteria {
            source: criteria.source.map(|source| source.as_str().to_owned()),
            site_code: criteria.site_code,
            system: criteria.machine,
            component: criteria.component.map(|name| name.to_string()),
            message_type: criteria.message_type.map(|kind| kind.as_str().to_owned()),
            severity: criteria.severity.map(|severity| severity.as_str().to_owned()),
            message_id: criteria.message_id,
            property,
            property_value,
        },
        actions: StatusRuleActions {
            write: actions.write.is_some(),
            write_days: match actions.write {
                Some(WriteDays::Days(days)) => Some(days),
                Some(WriteDays::Usual) | None => None,
            },
            do_not_forward: actions.do_not_forward,
            alert: actions
                .alert
                .iter()
                .map(|target| target.as_str().to_owned())
                .collect(),
            stop: actions.stop,
        },
    }
}
