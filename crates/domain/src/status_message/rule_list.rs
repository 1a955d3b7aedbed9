//! Changing the ordered list of rules. Places are counted from 1, as people are shown them.

use std::fmt;

use super::rules::{RULES_MAX, Rule, RuleRefused};

/// A change of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleChange {
    /// A new rule, at a place or at the end.
    Add {
        /// The rule.
        rule: Rule,
        /// Its place.
        place: Option<usize>,
    },
    /// A rule goes away.
    Remove {
        /// Its name.
        name: String,
    },
    /// A rule goes to another place; those between move up or down.
    Move {
        /// Its name.
        name: String,
        /// Its new place; beyond the last means the last.
        place: usize,
    },
    /// A rule is looked at, or is not.
    Switch {
        /// Its name.
        name: String,
        /// Whether it is looked at.
        enabled: bool,
    },
}

/// Why a change is refused; the list is as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeRefused {
    /// The rule itself.
    Rule(RuleRefused),
    /// There is one of that name.
    Exists(String),
    /// There is none of that name.
    Unknown(String),
    /// There are as many as a site may have.
    TooMany,
    /// There is no place 0.
    Place,
}

impl fmt::Display for ChangeRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChangeRefused::Rule(refused) => refused.fmt(f),
            ChangeRefused::Exists(name) => write!(f, "there is a rule {name} already"),
            ChangeRefused::Unknown(name) => write!(f, "there is no rule {name}"),
            ChangeRefused::TooMany => write!(f, "a site has {RULES_MAX} rules at most"),
            ChangeRefused::Place => f.write_str("places of rules are counted from 1"),
        }
    }
}

impl RuleChange {
    /// What is done, for the audit; the name of the rule stands before it.
    pub fn describe(&self) -> (&str, String) {
        match self {
            RuleChange::Add { rule, place: None } => (&rule.name, "added at the end".to_owned()),
            RuleChange::Add {
                rule,
                place: Some(place),
            } => (&rule.name, format!("added at place {place}")),
            RuleChange::Remove { name } => (name, "removed".to_owned()),
            RuleChange::Move { name, place } => (name, format!("moved to place {place}")),
            RuleChange::Switch { name, enabled: true } => (name, "switched on".to_owned()),
            RuleChange::Switch { name, enabled: false } => (name, "switched off".to_owned()),
        }
    }

    /// The list after the change.
    pub fn apply(self, mut rules: Vec<Rule>) -> Result<Vec<Rule>, ChangeRefused> {
        let find = |rules: &[Rule], name: &str| {
            rules
                .iter()
                .position(|rule| rule.name == name)
                .ok_or_else(|| ChangeRefused::Unknown(name.to_owned()))
        };
        match self {
            RuleChange::Add { rule, place } => {
                rule.check().map_err(ChangeRefused::Rule)?;
                if find(&rules, &rule.name).is_ok() {
                    return Err(ChangeRefused::Exists(rule.name));
                }
                if rules.len() >= RULES_MAX {
                    return Err(ChangeRefused::TooMany);
                }
                let at = index(place.unwrap_or(usize::MAX))?.min(rules.len());
                rules.insert(at, rule);
            }
            RuleChange::Remove { name } => {
                rules.remove(find(&rules, &name)?);
            }
            RuleChange::Move { name, place } => {
                let to = index(place)?;
                let rule = rules.remove(find(&rules, &name)?);
                rules.insert(to.min(rules.len()), rule);
            }
            RuleChange::Switch { name, enabled } => {
                let at = find(&rules, &name)?;
                rules[at].enabled = enabled;
            }
        }
        Ok(rules)
    }
}

fn index(place: usize) -> Result<usize, ChangeRefused> {
    place.checked_sub(1).ok_or(ChangeRefused::Place)
}

#[cfg(test)]
mod tests {
    use super::super::rules::{Actions, Criteria};
    use super::*;
    use proptest::prelude::*;

    fn rule(name: &str) -> Rule {
        Rule {
            name: name.to_owned(),
            enabled: true,
            criteria: Criteria {
                message_id: Some(1),
                ..Criteria::default()
            },
            actions: Actions {
                stop: true,
                ..Actions::default()
            },
        }
    }

    fn names(rules: &[Rule]) -> Vec<&str> {
        rules.iter().map(|rule| rule.name.as_str()).collect()
    }

    fn add(name: &str, place: Option<usize>) -> RuleChange {
        RuleChange::Add {
            rule: rule(name),
            place,
        }
    }

    #[test]
    fn rules_come_go_and_move() {
        let rules = add("a", None).apply(Vec::new()).unwrap();
        let rules = add("b", None).apply(rules).unwrap();
        let rules = add("c", Some(1)).apply(rules).unwrap();
        assert_eq!(names(&rules), ["c", "a", "b"]);
        let to = |name: &str, place| RuleChange::Move {
            name: name.to_owned(),
            place,
        };
        let rules = to("c", 2).apply(rules).unwrap();
        assert_eq!(names(&rules), ["a", "c", "b"]);
        let rules = to("a", 99).apply(rules).unwrap();
        assert_eq!(names(&rules), ["c", "b", "a"]);
        let off = RuleChange::Switch {
            name: "b".into(),
            enabled: false,
        };
        let rules = off.apply(rules).unwrap();
        assert!(!rules[1].enabled);
        let remove = |name: &str| RuleChange::Remove {
            name: name.to_owned(),
        };
        let rules = remove("c").apply(rules).unwrap();
        assert_eq!(names(&rules), ["b", "a"]);

        let refused = |change: RuleChange| change.apply(rules.clone()).unwrap_err();
        assert_eq!(refused(remove("x")), ChangeRefused::Unknown("x".into()));
        assert_eq!(refused(add("a", None)), ChangeRefused::Exists("a".into()));
        assert_eq!(refused(to("a", 0)), ChangeRefused::Place);
        assert_eq!(refused(add("", None)), ChangeRefused::Rule(RuleRefused::Name));
        let many = (0..RULES_MAX).map(|n| rule(&n.to_string())).collect();
        assert_eq!(add("a", None).apply(many), Err(ChangeRefused::TooMany));
    }

    proptest! {
        #[test]
        fn moving_keeps_every_rule_and_the_order_of_the_others(count in 1usize..9, from in 0usize..9, place in 1usize..12) {
            let rules: Vec<Rule> = (0..count).map(|n| rule(&n.to_string())).collect();
            let name = (from % count).to_string();
            let moved = RuleChange::Move { name: name.clone(), place }.apply(rules.clone()).unwrap();
            prop_assert_eq!(&moved[(place - 1).min(count - 1)].name, &name);
            let others = |rules: &[Rule]| -> Vec<String> {
                rules.iter().map(|rule| rule.name.clone()).filter(|other| *other != name).collect()
            };
            prop_assert_eq!(others(&moved), others(&rules));
        }
    }
}
