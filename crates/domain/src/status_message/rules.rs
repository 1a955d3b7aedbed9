//! Status filter rules: which messages are written, counted and told to others (components-status-logs, section 5).
//!
//! Rules are looked at in their order. Each that is on and matches adds its actions; one that stops ends the walk.
//! Whoever comes through to the end is written for the usual time: that is the last rule, which is always there. So a
//! rule that stops and does not write keeps messages out of the database. A message is counted unless a matching rule
//! says otherwise, whether it is written or not. Two things no rule can do: hide what an administrator did (audit
//! messages are always written, for the usual time at least), and raise alerts about alerts, which would feed themselves.

use std::fmt;

use super::{MessageType, Severity};
use crate::component::ComponentName;
use crate::servicing::package::PackageGuid;

/// Most rules of a site; every message is held against each.
pub const RULES_MAX: usize = 100;
/// Longest name of a rule, in characters.
pub const RULE_NAME_MAX: usize = 64;
/// Most days that a rule may have a message kept.
pub const WRITE_DAYS_MAX: u32 = 3650;
/// Longest text of a criterion, in bytes.
const CRITERION_BYTES_MAX: usize = 256;

/// Who raises messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// What administrators do: the product's "SMS Provider".
    Provider,
    /// Everything else that a site raises: the product's "Site Server".
    SiteServer,
}

impl Source {
    /// Both.
    pub const ALL: [Source; 2] = [Source::Provider, Source::SiteServer];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Source::Provider => "provider",
            Source::SiteServer => "site-server",
        }
    }

    /// The source with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.as_str() == name)
    }
}

/// What a message is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Property {
    /// The GUID of a package.
    Package,
    /// The administrator whose act it tells.
    User,
}

impl Property {
    /// Both.
    pub const ALL: [Property; 2] = [Property::Package, Property::User];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Property::Package => "package",
            Property::User => "user",
        }
    }

    /// The property with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|property| property.as_str() == name)
    }
}

/// Where a message is told beside the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AlertTarget {
    /// The system log of this machine or another.
    Syslog,
    /// Mail.
    Email,
    /// A web address.
    Webhook,
}

impl AlertTarget {
    /// Every target.
    pub const ALL: [AlertTarget; 3] = [AlertTarget::Syslog, AlertTarget::Email, AlertTarget::Webhook];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            AlertTarget::Syslog => "syslog",
            AlertTarget::Email => "email",
            AlertTarget::Webhook => "webhook",
        }
    }

    /// The target with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|target| target.as_str() == name)
    }
}

/// What a message must be like; everything that is given has to hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Criteria {
    /// Who raised it.
    pub source: Option<Source>,
    /// Site it belongs to; in either case.
    pub site_code: Option<String>,
    /// Machine it was raised on; in either case.
    pub machine: Option<String>,
    /// Component that raised it.
    pub component: Option<ComponentName>,
    /// Kind of event.
    pub message_type: Option<MessageType>,
    /// Severity.
    pub severity: Option<Severity>,
    /// Message id.
    pub message_id: Option<u32>,
    /// Property that it must have, and its value if one is given; in either case.
    pub property: Option<(Property, Option<String>)>,
}

/// What becomes of a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Actions {
    /// It is written to the database: for so many days, or for the usual time.
    pub write: Option<WriteDays>,
    /// It changes no count of its component.
    pub do_not_forward: bool,
    /// Who is told of it.
    pub alert: Vec<AlertTarget>,
    /// Lower rules are not looked at.
    pub stop: bool,
}

/// How long a message is kept in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteDays {
    /// As long as the settings of the site say.
    Usual,
    /// So many days.
    Days(u32),
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its name, unique in a site.
    pub name: String,
    /// It is looked at.
    pub enabled: bool,
    /// Which messages it is about; a rule without criteria is about none.
    pub criteria: Criteria,
    /// What becomes of them.
    pub actions: Actions,
}

/// What rules can see of a message.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// Message id.
    pub message_id: u32,
    /// Number of its severity.
    pub severity: u32,
    /// Number of its kind.
    pub message_type: u32,
    /// Component that raised it.
    pub component: &'a str,
    /// Machine it was raised on.
    pub machine: &'a str,
    /// Site it belongs to.
    pub site_code: &'a str,
    /// Its insertion strings.
    pub strings: &'a [String],
}

/// What becomes of a message by all rules together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision<'r> {
    /// Whether it is written, and for how long.
    pub write: Option<WriteDays>,
    /// Whether it is counted.
    pub count: bool,
    /// Who is told, each once, with the rule that asked first.
    pub alerts: Vec<(AlertTarget, &'r str)>,
}

/// Why a rule is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleRefused {
    /// No name, a very long one, or one with characters that are hard to type.
    Name,
    /// It would be about no message at all.
    NoCriteria,
    /// It would do nothing.
    NoActions,
    /// An empty or very long text in a criterion.
    Criterion(&'static str),
    /// Days out of range.
    Days(u32),
}

impl fmt::Display for RuleRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RuleRefused::Name => write!(
                f,
                "a rule is named by 1 to {RULE_NAME_MAX} letters, digits, dots, hyphens and underscores"
            ),
            RuleRefused::NoCriteria => {
                f.write_str("a rule without criteria matches no message; give at least one")
            }
            RuleRefused::NoActions => f.write_str("the rule does nothing; give it at least one action"),
            RuleRefused::Criterion(name) => {
                write!(
                    f,
                    "the {name} of a rule is 1 to {CRITERION_BYTES_MAX} bytes of text"
                )
            }
            RuleRefused::Days(days) => write!(
                f,
                "{days} days is out of range; messages are kept for 1 to {WRITE_DAYS_MAX} days"
            ),
        }
    }
}

impl Rule {
    /// Checks a rule before it is kept.
    pub fn check(&self) -> Result<(), RuleRefused> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let length = self.name.chars().count();
        if !(1..=RULE_NAME_MAX).contains(&length) || !self.name.chars().all(plain) {
            return Err(RuleRefused::Name);
        }
        if self.criteria == Criteria::default() {
            return Err(RuleRefused::NoCriteria);
        }
        let texts = [
            ("site code", self.criteria.site_code.as_deref()),
            ("system", self.criteria.machine.as_deref()),
            (
                "property value",
                self.criteria
                    .property
                    .as_ref()
                    .and_then(|(_, value)| value.as_deref()),
            ),
        ];
        for (name, text) in texts {
            if text.is_some_and(|text| text.is_empty() || text.len() > CRITERION_BYTES_MAX) {
                return Err(RuleRefused::Criterion(name));
            }
        }
        if self.actions == Actions::default() {
            return Err(RuleRefused::NoActions);
        }
        match self.actions.write {
            Some(WriteDays::Days(days)) if !(1..=WRITE_DAYS_MAX).contains(&days) => {
                Err(RuleRefused::Days(days))
            }
            Some(WriteDays::Days(_) | WriteDays::Usual) | None => Ok(()),
        }
    }
}

impl Criteria {
    /// Whether everything that is given holds. Nothing given matches nothing.
    pub fn matches(&self, seen: &Seen<'_>) -> bool {
        let Criteria {
            source,
            site_code,
            machine,
            component,
            message_type,
            severity,
            message_id,
            property,
        } = self;
        let text = |wanted: &Option<String>, is: &str| {
            wanted
                .as_deref()
                .is_none_or(|wanted| wanted.eq_ignore_ascii_case(is))
        };
        *self != Criteria::default()
            && source.is_none_or(|wanted| wanted == seen.source())
            && text(site_code, seen.site_code)
            && text(machine, seen.machine)
            && component.is_none_or(|wanted| wanted.as_str() == seen.component)
            && message_type.is_none_or(|wanted| wanted.code() == seen.message_type)
            && severity.is_none_or(|wanted| wanted.code() == seen.severity)
            && message_id.is_none_or(|wanted| wanted == seen.message_id)
            && property
                .as_ref()
                .is_none_or(|(property, value)| match seen.property(*property) {
                    Some(is) => text(value, is),
                    None => false,
                })
    }
}

impl<'a> Seen<'a> {
    fn is_audit(&self) -> bool {
        self.message_type == MessageType::Audit.code()
    }

    /// Who raised it.
    pub fn source(&self) -> Source {
        match self.is_audit() {
            true => Source::Provider,
            false => Source::SiteServer,
        }
    }

    /// The value of a property, if the message has it.
    pub fn property(&self, property: Property) -> Option<&'a str> {
        let strings = self.strings.iter().map(String::as_str);
        match property {
            Property::Package => strings
                .into_iter()
                .find(|text| text.parse::<PackageGuid>().is_ok()),
            // Every audit message begins with who did it.
            Property::User => strings.into_iter().next().filter(|_| self.is_audit()),
        }
    }
}

/// What becomes of a message by rules in their order.
pub fn decide<'r>(rules: impl IntoIterator<Item = &'r Rule>, seen: &Seen<'_>) -> Decision<'r> {
    let mut decision = Decision {
        write: None,
        count: true,
        alerts: Vec::new(),
    };
    let may_alert = seen.component != ComponentName::AlertNotification.as_str();
    let mut stopped = false;
    for rule in rules {
        if !rule.enabled || !rule.criteria.matches(seen) {
            continue;
        }
        // The first rule that writes says for how long.
        decision.write = decision.write.or(rule.actions.write);
        decision.count &= !rule.actions.do_not_forward;
        for target in rule.actions.alert.iter().filter(|_| may_alert) {
            if !decision.alerts.iter().any(|(known, _)| known == target) {
                decision.alerts.push((*target, &rule.name));
            }
        }
        if rule.actions.stop {
            stopped = true;
            break;
        }
    }
    if decision.write.is_none() && (!stopped || seen.is_audit()) {
        decision.write = Some(WriteDays::Usual);
    }
    decision
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
