//! Whether a package is offered to this hierarchy, and every condition that says so
//! (updates-and-servicing, sections 4, 7 and 11).
//!
//! All conditions are evaluated, also after one that decides, so that "why not?" has a full answer.

use super::facts::FactSet;
use super::package::{PackageGuid, PackageRecord, UpdateType};
use super::rule::{Condition, Outcome, Rule};
use super::transition::Verdict;
use super::version::FullVersion;

/// Rollout positions run from 0 to one below this.
pub const POSITIONS: u32 = 10_000;

/// What evaluation needs to know beside the record.
#[derive(Debug, Clone)]
pub struct Surroundings<'a> {
    /// Facts of the site.
    pub facts: &'a FactSet,
    /// Version of the installed product.
    pub site_version: FullVersion,
    /// Rings the hierarchy takes part in.
    pub rings: &'a [String],
    /// Whether the newest catalogue lists the package.
    pub listed: bool,
    /// Name of an installed package that supersedes this one.
    pub superseded_by: Option<&'a str>,
    /// Name of the package that has to be installed first, if the catalogue knows it.
    pub prerequisite_name: Option<&'a str>,
    /// The hierarchy's position in the roll-out of this package, 0 to 9999.
    pub position: u32,
}

/// The outcome of an evaluation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluation {
    /// What it means for the package's state.
    pub verdict: Verdict,
    /// The deciding condition in one line.
    pub reason: String,
    /// Every condition, in order.
    pub conditions: Vec<Condition>,
}

/// Evaluates every condition of a package.
pub fn evaluate(record: &PackageRecord, around: &Surroundings<'_>) -> Evaluation {
    let hiding = hiding_conditions(record, around);
    let mut applying = offer_conditions(record, around);
    applying.extend(rule_conditions(record, around));
    let verdict = if hiding.iter().any(|c| c.outcome != Outcome::Met) {
        Verdict::Hide
    } else if applying.iter().any(|c| c.outcome == Outcome::NotMet) {
        Verdict::NotApplicable
    } else if applying.iter().any(|c| c.outcome == Outcome::CouldNotEvaluate) {
        Verdict::Failed
    } else {
        Verdict::Applicable
    };
    let conditions: Vec<Condition> = hiding.into_iter().chain(applying).collect();
    let decisive = match verdict {
        Verdict::Applicable => None,
        Verdict::Hide | Verdict::NotApplicable => conditions.iter().find(|c| c.outcome == Outcome::NotMet),
        Verdict::Failed => conditions.iter().find(|c| c.outcome == Outcome::CouldNotEvaluate),
    };
    let reason = match decisive {
        None => "every condition holds".to_owned(),
        Some(c) => format!("{}: expected {}, found {}", c.text, c.expected, c.actual),
    };
    Evaluation {
        verdict,
        reason,
        conditions,
    }
}

fn condition(text: &str, expected: impl Into<String>, actual: impl Into<String>, met: bool) -> Condition {
    let outcome = if met { Outcome::Met } else { Outcome::NotMet };
    Condition {
        text: text.to_owned(),
        expected: expected.into(),
        actual: actual.into(),
        outcome,
    }
}

/// Conditions that hide a package for good or until the vendor changes it.
fn hiding_conditions(record: &PackageRecord, around: &Surroundings<'_>) -> Vec<Condition> {
    let installed = around.facts.installed.contains(&record.guid);
    vec![
        condition(
            "the catalogue lists it",
            "listed",
            if around.listed {
                "listed"
            } else {
                "no longer listed"
            },
            around.listed,
        ),
        condition(
            "not withdrawn by the vendor",
            "not withdrawn",
            record
                .withdrawn
                .as_ref()
                .map_or("not withdrawn".to_owned(), |why| format!("withdrawn: {why}")),
            record.withdrawn.is_none(),
        ),
        condition(
            "not installed yet",
            "not installed",
            if installed { "installed" } else { "not installed" },
            !installed,
        ),
        condition(
            "not superseded by an installed package",
            "not superseded",
            around.superseded_by.map_or("not superseded".to_owned(), |name| {
                format!("superseded by {name}")
            }),
            around.superseded_by.is_none(),
        ),
        condition(
            "newer than the installed version",
            format!("> {}", around.site_version),
            record.full_version.to_string(),
            record.full_version > around.site_version,
        ),
    ]
}

/// Conditions on the site and on who is offered the package.
fn offer_conditions(record: &PackageRecord, around: &Surroundings<'_>) -> Vec<Condition> {
    let mut conditions = Vec::new();
    let site = around.site_version;
    if let Some(min) = record.min_site_version {
        conditions.push(condition(
            "site version at least, by release",
            format!(">= {min}"),
            site.to_string(),
            site.cmp_release(&min).is_ge(),
        ));
    }
    if let Some(max) = record.max_site_version {
        conditions.push(condition(
            "site version at most, by release",
            format!("<= {max}"),
            site.to_string(),
            site.cmp_release(&max).is_le(),
        ));
    }
    if let Some(prerequisite) = record.prerequisite {
        let name = around.prerequisite_name.map_or_else(
            || prerequisite.to_string(),
            |name| format!("{name} ({prerequisite})"),
        );
        let met = around.facts.installed.contains(&prerequisite);
        conditions.push(condition(
            "prerequisite package installed",
            format!("{name} installed"),
            if met { "installed" } else { "not installed" },
            met,
        ));
    }
    // A preview reaches nobody but the rings it names, so one that names none reaches nobody.
    if !record.rings.is_empty() || record.update_type == UpdateType::Preview {
        let mine = if around.rings.is_empty() {
            "none".to_owned()
        } else {
            around.rings.join(", ")
        };
        let met = record.rings.iter().any(|ring| around.rings.contains(ring));
        conditions.push(condition(
            "offered to a ring of this hierarchy",
            if record.rings.is_empty() {
                "a ring; this preview names none".to_owned()
            } else {
                format!("one of {}", record.rings.join(", "))
            },
            mine,
            met,
        ));
    }
    if record.rollout_percent < 100 {
        let share = u32::from(record.rollout_percent) * (POSITIONS / 100);
        conditions.push(condition(
            "within the share of hierarchies it is rolled out to",
            format!(
                "position below {share} of {POSITIONS} ({} %)",
                record.rollout_percent
            ),
            format!("position {}", around.position),
            around.position < share,
        ));
    }
    if let Some(rule) = &record.rollout_when {
        let of_rollout = |part: Condition| Condition {
            text: format!("rolled out where {}", part.text),
            ..part
        };
        conditions.extend(explain(rule, around).into_iter().map(of_rollout));
    }
    conditions
}

fn rule_conditions(record: &PackageRecord, around: &Surroundings<'_>) -> Vec<Condition> {
    record
        .applicability
        .as_ref()
        .map(|source| explain(source, around))
        .unwrap_or_default()
}

fn explain(source: &str, around: &Surroundings<'_>) -> Vec<Condition> {
    match Rule::parse(source) {
        Ok(rule) => rule.explain(around.facts),
        // Published by a newer release with facts that this one does not know.
        Err(problem) => vec![Condition {
            text: source.to_owned(),
            expected: "a rule that this release of tidegate can read".to_owned(),
            actual: problem.to_string(),
            outcome: Outcome::CouldNotEvaluate,
        }],
    }
}

/// The one package that downloads by itself: the newest that is applicable.
pub fn newest_applicable(
    applicable: impl IntoIterator<Item = (PackageGuid, FullVersion, jiff::Timestamp)>,
) -> Option<PackageGuid> {
    applicable
        .into_iter()
        .max_by_key(|(guid, version, released)| (*version, *released, *guid))
        .map(|(guid, ..)| guid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::servicing::facts::Value;
    use crate::servicing::package::{InstallPlan, PackageText, PayloadReference};

    fn record() -> PackageRecord {
        PackageRecord {
            guid: PackageGuid(7),
            texts: [(
                "en".to_owned(),
                PackageText {
                    name: "Seven".into(),
                    ..Default::default()
                },
            )]
            .into(),
            full_version: "5.00.9110.1000".parse().unwrap(),
            client_version: None,
            min_site_version: Some("5.00.9096.1000".parse().unwrap()),
            max_site_version: None,
            update_type: UpdateType::Update,
            impact: vec![],
            prerequisite: None,
            supersedes: vec![],
            released: jiff::Timestamp::UNIX_EPOCH,
            more_info: None,
            payload: PayloadReference {
                index_target: "payloads/x/index".into(),
                index_sha256: "00".into(),
                index_length: 1,
                files: 1,
                bytes: 1,
                download_bytes: 1,
                deltas: Vec::new(),
            },
            redistributables: vec![],
            features: vec![],
            applicability: Some("site.type == \"stand-alone-primary\"".into()),
            prerequisite_rules: vec![],
            install: InstallPlan::default(),
            rings: vec![],
            rollout_percent: 100,
            rollout_when: None,
            withdrawn: None,
        }
    }

    fn facts() -> FactSet {
        let mut facts = FactSet::default();
        facts.set("site.type", Value::Text("stand-alone-primary".into()));
        facts
    }

    fn verdict(
        change: impl FnOnce(&mut PackageRecord, &mut FactSet, &mut Surroundings<'_>),
    ) -> (Verdict, String) {
        let (mut record, mut facts) = (record(), facts());
        let empty = FactSet::default();
        let mut around = Surroundings {
            facts: &empty,
            site_version: "5.00.9096.1022".parse().unwrap(),
            rings: &[],
            listed: true,
            superseded_by: None,
            prerequisite_name: None,
            position: 5000,
        };
        change(&mut record, &mut facts, &mut around);
        let evaluation = evaluate(
            &record,
            &Surroundings {
                facts: &facts,
                ..around
            },
        );
        (evaluation.verdict, evaluation.reason)
    }

    #[test]
    fn verdicts() {
        let check =
            |expected: Verdict,
             part: &str,
             change: &dyn Fn(&mut PackageRecord, &mut FactSet, &mut Surroundings<'_>)| {
                let (found, reason) = verdict(change);
                assert_eq!(found, expected, "{reason}");
                assert!(reason.contains(part), "{reason}");
            };
        check(Verdict::Applicable, "every condition", &|_, _, _| {});
        check(Verdict::Hide, "bad build", &|r, _, _| {
            r.withdrawn = Some("bad build".into())
        });
        check(Verdict::Hide, "no longer listed", &|_, _, a| a.listed = false);
        check(Verdict::Hide, "installed", &|_, f, _| {
            f.installed.insert(PackageGuid(7));
        });
        check(Verdict::Hide, "superseded by Eight", &|_, _, a| {
            a.superseded_by = Some("Eight")
        });
        check(Verdict::Hide, "newer than", &|_, _, a| {
            a.site_version = "5.00.9110.1000".parse().unwrap()
        });
        check(Verdict::NotApplicable, ">= 5.00.9100.1000", &|r, _, _| {
            r.min_site_version = Some("5.00.9100.1000".parse().unwrap())
        });
        check(Verdict::NotApplicable, "at most", &|r, _, _| {
            r.max_site_version = Some("5.00.9090.1000".parse().unwrap())
        });
        check(Verdict::NotApplicable, "prerequisite", &|r, _, _| {
            r.prerequisite = Some(PackageGuid(1))
        });
        check(Verdict::NotApplicable, "early", &|r, _, _| {
            r.rings = vec!["early".into()]
        });
        check(Verdict::NotApplicable, "names none", &|r, _, _| {
            r.update_type = UpdateType::Preview
        });
        check(Verdict::NotApplicable, "position 5000", &|r, _, _| {
            r.rollout_percent = 50
        });
        check(Verdict::Applicable, "", &|r, _, _| r.rollout_percent = 51);
        check(Verdict::Applicable, "", &|r, _, _| {
            r.rollout_when = Some("site.type == \"stand-alone-primary\"".into())
        });
        check(
            Verdict::NotApplicable,
            "rolled out where site.type == \"secondary\"",
            &|r, _, _| r.rollout_when = Some("site.type == \"secondary\"".into()),
        );
        check(
            Verdict::NotApplicable,
            "found site.type = secondary",
            &|_, f, _| f.set("site.type", Value::Text("secondary".into())),
        );
        check(Verdict::Failed, "lost", &|_, f, _| {
            f.set_unknown("site.type", "lost")
        });
        check(Verdict::Failed, "moon", &|r, _, _| {
            r.applicability = Some("moon.phase > 1".into())
        });
    }

    #[test]
    fn every_condition_is_shown_even_for_hidden_packages() {
        let record = PackageRecord {
            withdrawn: Some("x".into()),
            rollout_percent: 1,
            ..record()
        };
        let facts = facts();
        let evaluation = evaluate(
            &record,
            &Surroundings {
                facts: &facts,
                site_version: "5.00.9096.1000".parse().unwrap(),
                rings: &[],
                listed: true,
                superseded_by: None,
                prerequisite_name: None,
                position: 0,
            },
        );
        assert_eq!(evaluation.conditions.len(), 8);
    }

    #[test]
    fn the_newest_is_the_highest_version() {
        let version = |text: &str| text.parse().unwrap();
        let at = |second| jiff::Timestamp::from_second(second).unwrap();
        let all = [
            (PackageGuid(1), version("5.00.9110.1000"), at(9)),
            (PackageGuid(2), version("5.00.9120.1000"), at(1)),
            (PackageGuid(3), version("5.00.9120.1000"), at(2)),
        ];
        assert_eq!(newest_applicable(all), Some(PackageGuid(3)));
        assert_eq!(newest_applicable([]), None);
    }
}
