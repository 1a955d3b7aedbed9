//! What rules do, alone and together.

use super::*;
use proptest::prelude::*;

const GUID: &str = "8576527E-DDE6-4844-BAC0-0E5A9DF0C73C";

fn strings() -> Vec<String> {
    vec!["Release".to_owned(), GUID.to_owned()]
}

fn warning(strings: &[String]) -> Seen<'_> {
    Seen {
        message_id: 60122,
        severity: Severity::Warning.code(),
        message_type: MessageType::Detail.code(),
        component: "SMS_DMP_DOWNLOADER",
        machine: "host",
        site_code: "P01",
        strings,
    }
}

fn rule(name: &str, criteria: Criteria, actions: Actions) -> Rule {
    Rule {
        name: name.to_owned(),
        enabled: true,
        criteria,
        actions,
    }
}

fn warnings() -> Criteria {
    Criteria {
        severity: Some(Severity::Warning),
        ..Criteria::default()
    }
}

#[test]
fn each_criterion_holds_alone_and_fails_alone() {
    let strings = strings();
    let seen = warning(&strings);
    let check = |criteria: Criteria, expected: bool| {
        assert_eq!(criteria.matches(&seen), expected, "{criteria:?}");
    };
    let with = |change: &dyn Fn(&mut Criteria)| {
        let mut criteria = Criteria::default();
        change(&mut criteria);
        criteria
    };
    check(Criteria::default(), false);
    check(with(&|c| c.source = Some(Source::SiteServer)), true);
    check(with(&|c| c.source = Some(Source::Provider)), false);
    check(with(&|c| c.site_code = Some("p01".into())), true);
    check(with(&|c| c.site_code = Some("P02".into())), false);
    check(with(&|c| c.machine = Some("HOST".into())), true);
    check(with(&|c| c.machine = Some("other".into())), false);
    check(with(&|c| c.component = Some(ComponentName::DmpDownloader)), true);
    check(with(&|c| c.component = Some(ComponentName::DmpUploader)), false);
    check(with(&|c| c.message_type = Some(MessageType::Detail)), true);
    check(with(&|c| c.message_type = Some(MessageType::Milestone)), false);
    check(with(&|c| c.severity = Some(Severity::Warning)), true);
    check(with(&|c| c.severity = Some(Severity::Error)), false);
    check(with(&|c| c.message_id = Some(60122)), true);
    check(with(&|c| c.message_id = Some(60123)), false);
    let package = |value: Option<&str>| {
        let value = value.map(str::to_owned);
        with(&move |c| c.property = Some((Property::Package, value.clone())))
    };
    check(package(None), true);
    check(package(Some(&GUID.to_lowercase())), true);
    check(package(Some("AA928926-1111-4222-8333-0123456789AB")), false);
    check(with(&|c| c.property = Some((Property::User, None))), false);
    // Together: one that does not hold is enough.
    check(
        Criteria {
            message_id: Some(60123),
            ..warnings()
        },
        false,
    );
}

#[test]
fn without_a_rule_everything_is_written_and_counted() {
    let expected = Decision {
        write: Some(WriteDays::Usual),
        count: true,
        alerts: Vec::new(),
    };
    assert_eq!(decide([], &warning(&[])), expected);
    // Acceptance fact 8: a rule without criteria matches nothing; nor does one that is off.
    let nothing = rule(
        "nothing",
        Criteria::default(),
        Actions {
            do_not_forward: true,
            stop: true,
            ..Actions::default()
        },
    );
    let mut off = rule("off", warnings(), nothing.actions.clone());
    off.enabled = false;
    assert_eq!(decide([&nothing, &off], &warning(&[])), expected);
}

#[test]
fn rules_add_up_in_their_order_until_one_stops() {
    let act = |write, do_not_forward, alert: &[AlertTarget], stop| Actions {
        write,
        do_not_forward,
        alert: alert.to_vec(),
        stop,
    };
    let week = rule(
        "week",
        warnings(),
        act(Some(WriteDays::Days(7)), false, &[AlertTarget::Syslog], false),
    );
    let tell = rule(
        "tell",
        warnings(),
        act(
            Some(WriteDays::Days(90)),
            false,
            &[AlertTarget::Webhook, AlertTarget::Syslog],
            false,
        ),
    );
    let hush = rule("hush", warnings(), act(None, true, &[], true));
    let drop = rule("drop", warnings(), act(None, false, &[], true));
    let decided = decide([&week, &tell, &hush, &tell], &warning(&[]));
    assert_eq!(
        decided,
        Decision {
            write: Some(WriteDays::Days(7)),
            count: false,
            alerts: vec![(AlertTarget::Syslog, "week"), (AlertTarget::Webhook, "tell")],
        }
    );
    // Stopped before the last rule, which writes: not written, and counted all the same.
    let decided = decide([&drop, &week], &warning(&[]));
    assert_eq!((decided.write, decided.count), (None, true));
}

#[test]
fn audits_cannot_be_hidden_and_alerts_raise_no_alerts() {
    let strings = vec!["alice".to_owned()];
    let audit = Seen {
        message_type: MessageType::Audit.code(),
        ..warning(&strings)
    };
    let of_alice = Criteria {
        property: Some((Property::User, Some("alice".into()))),
        source: Some(Source::Provider),
        ..Criteria::default()
    };
    let hide = rule(
        "hide",
        of_alice,
        Actions {
            stop: true,
            ..Actions::default()
        },
    );
    assert_eq!(decide([&hide], &audit).write, Some(WriteDays::Usual));
    let tell = rule(
        "tell",
        warnings(),
        Actions {
            alert: AlertTarget::ALL.to_vec(),
            ..Actions::default()
        },
    );
    assert_eq!(decide([&tell], &warning(&[])).alerts.len(), 3);
    let own = Seen {
        component: ComponentName::AlertNotification.as_str(),
        ..warning(&[])
    };
    assert_eq!(decide([&tell], &own).alerts, []);
}

#[test]
fn a_rule_that_cannot_do_anything_is_refused() {
    let stop = Actions {
        stop: true,
        ..Actions::default()
    };
    let check = |rule: &Rule, expected| assert_eq!(rule.check(), expected, "{rule:?}");
    check(&rule("good.Name_1-", warnings(), stop.clone()), Ok(()));
    for name in ["", "two words", "ä", &"x".repeat(65)] {
        check(&rule(name, warnings(), stop.clone()), Err(RuleRefused::Name));
    }
    check(
        &rule("a", Criteria::default(), stop.clone()),
        Err(RuleRefused::NoCriteria),
    );
    check(
        &rule("a", warnings(), Actions::default()),
        Err(RuleRefused::NoActions),
    );
    let empty = Criteria {
        machine: Some(String::new()),
        ..Criteria::default()
    };
    check(&rule("a", empty, stop), Err(RuleRefused::Criterion("system")));
    for (days, expected) in [(0, Err(RuleRefused::Days(0))), (1, Ok(())), (3650, Ok(()))] {
        let write = Actions {
            write: Some(WriteDays::Days(days)),
            ..Actions::default()
        };
        check(&rule("a", warnings(), write), expected);
    }
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let criteria = (
        proptest::option::of(0usize..3),
        proptest::option::of(60122u32..60124),
    );
    let actions = (
        proptest::option::of(1u32..9),
        any::<bool>(),
        0usize..4,
        any::<bool>(),
    );
    (any::<bool>(), criteria, actions).prop_map(
        |(enabled, (severity, message_id), (days, do_not_forward, alerts, stop))| Rule {
            name: "r".into(),
            enabled,
            criteria: Criteria {
                severity: severity.map(|index| Severity::ALL[index]),
                message_id,
                ..Criteria::default()
            },
            actions: Actions {
                write: days.map(WriteDays::Days),
                do_not_forward,
                alert: AlertTarget::ALL[..alerts].to_vec(),
                stop,
            },
        },
    )
}

proptest! {
    #[test]
    fn rules_that_do_not_match_or_are_off_change_nothing(
        rules in proptest::collection::vec(any_rule(), 0..8), severity in 0usize..3, message_id in 60122u32..60125,
    ) {
        let seen = Seen { severity: Severity::ALL[severity].code(), message_id, ..warning(&[]) };
        let taken: Vec<&Rule> = rules
            .iter()
            .filter(|rule| rule.enabled && rule.criteria.matches(&seen))
            .collect();
        let decided = decide(&rules, &seen);
        prop_assert_eq!(&decided, &decide(taken.iter().copied(), &seen));
        // Whatever stands after a rule that stops changes nothing either.
        let until_stop = taken.iter().position(|rule| rule.actions.stop).map_or(taken.len(), |at| at + 1);
        prop_assert_eq!(&decided, &decide(taken[..until_stop].iter().copied(), &seen));
        let kept_out = taken[..until_stop].iter().any(|rule| rule.actions.do_not_forward);
        prop_assert_eq!(decided.count, !kept_out);
        let stopped = taken.iter().any(|rule| rule.actions.stop);
        let written = taken[..until_stop].iter().any(|rule| rule.actions.write.is_some());
        prop_assert_eq!(decided.write.is_some(), written || !stopped);
    }
}
