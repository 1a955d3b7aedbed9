//! Every kind with its severity, what a reaction holds against, and that nothing from outside bends a text.

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::status_message::systems::SpaceThresholds;

const ALL: [Evaluated; 3] = [
    Evaluated::AtConsoleStart,
    Evaluated::EveryFiveMinutes,
    Evaluated::Hourly,
];

fn at(hours: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + hours * 3_600).unwrap()
}

fn only(facts: &Facts, now: Timestamp) -> Option<Notification> {
    let mut all = in_force(facts, now, &ALL);
    assert!(all.len() <= 1, "{all:?}");
    all.pop()
}

fn told(facts: &Facts, now: Timestamp) -> Option<(Kind, Severity)> {
    only(facts, now).map(|notification| (notification.kind, notification.severity))
}

#[test]
fn nothing_is_the_matter() {
    assert_eq!(in_force(&Facts::default(), at(0), &ALL), []);
}

#[test]
fn upgrades_and_installations() {
    let offered = |stage| Facts {
        offered: Some(Offered {
            guid: "8576527E-DDE7-4E3C-A0E1-6FB0F0A3B1C4".into(),
            name: "Release 2610".into(),
            version: "5.00.9141.1000".into(),
            stage,
        }),
        ..Facts::default()
    };
    let ready = only(&offered(OfferStage::Ready), at(0)).unwrap();
    assert_eq!(
        (ready.kind, ready.severity),
        (Kind::SiteUpgradeAvailable, Severity::Warning)
    );
    assert_eq!(
        ready.command,
        "tidegate updates install 8576527E-DDE7-4E3C-A0E1-6FB0F0A3B1C4"
    );
    assert!(ready.body.contains("ready to install"), "{}", ready.body);
    let listed = only(&offered(OfferStage::Listed), at(0)).unwrap();
    assert!(listed.body.contains("not downloaded yet"), "{}", listed.body);
    let stopped = only(&offered(OfferStage::Stopped), at(0)).unwrap();
    assert!(
        stopped.command.starts_with("tidegate updates prereq "),
        "{}",
        stopped.command
    );
    assert_eq!(
        (&ready.key, &ready.cause),
        (&listed.key, &listed.cause),
        "a download is no other upgrade"
    );

    let installing = |rolled_back: Option<&str>| Facts {
        installing: Some(Installing {
            guid: "G".into(),
            name: "Release 2610".into(),
            rolled_back: rolled_back.map(Into::into),
        }),
        ..Facts::default()
    };
    assert_eq!(
        told(&installing(None), at(0)),
        Some((Kind::SiteInUpgradeMode, Severity::Informational))
    );
    assert_eq!(
        told(&installing(Some("a hook failed.")), at(0)),
        Some((Kind::SiteInRecoveryMode, Severity::Warning))
    );
}

#[test]
fn what_ends() {
    let role = |role: &str, hours| Facts {
        roles: vec![TrustedRole {
            role: role.into(),
            expires: at(hours),
        }],
        ..Facts::default()
    };
    for (name, hours, expected) in [
        ("timestamp", 25, None),
        ("timestamp", 24, Some(Severity::Warning)),
        ("timestamp", 0, Some(Severity::Critical)),
        ("snapshot", 7 * 24 + 1, None),
        ("snapshot", 7 * 24, Some(Severity::Warning)),
        ("targets", 30 * 24, Some(Severity::Warning)),
        ("root", 30 * 24 + 1, None),
        ("root", -1, Some(Severity::Critical)),
    ] {
        let found = only(&role(name, hours), at(0));
        assert_eq!(found.as_ref().map(|n| n.severity), expected, "{name} {hours}");
        if let Some(found) = found {
            assert_eq!(found.key, format!("feed-metadata-expiring-{name}"));
        }
    }
    let certificate = |hours| Facts {
        certificates: vec![Certificate {
            file: "secrets/api.pem".into(),
            subject: "CN=site".into(),
            not_after: at(hours),
            own: true,
        }],
        ..Facts::default()
    };
    assert_eq!(told(&certificate(30 * 24 + 1), at(0)), None);
    assert_eq!(
        told(&certificate(30 * 24), at(0)),
        Some((Kind::CertificateExpiring, Severity::Warning))
    );
    let ended = only(&certificate(0), at(0)).unwrap();
    assert_eq!(
        (ended.key.as_str(), ended.severity),
        ("certificate-expiring-secrets-api-pem", Severity::Critical)
    );
}

#[test]
fn endpoints_that_are_needed_and_others() {
    let endpoint = |host: &str, critical| FailedEndpoint {
        host: host.into(),
        fault: "tcp.timeout".into(),
        critical,
    };
    let facts = |endpoints| Facts {
        endpoints,
        ..Facts::default()
    };
    let other = only(&facts(vec![endpoint("b", false), endpoint("a", false)]), at(0)).unwrap();
    assert_eq!(other.severity, Severity::Warning);
    assert_eq!(
        other.cause,
        only(&facts(vec![endpoint("a", false), endpoint("b", false)]), at(0))
            .unwrap()
            .cause
    );
    let both = only(&facts(vec![endpoint("a", false), endpoint("c", true)]), at(0)).unwrap();
    assert_eq!(both.severity, Severity::Critical);
    assert!(
        both.body.contains("c (tcp.timeout)") && !both.body.contains("a ("),
        "{}",
        both.body
    );
    let many = (0..9)
        .map(|number| endpoint(&format!("h{number}"), true))
        .collect();
    assert!(only(&facts(many), at(0)).unwrap().body.contains("and 4 more"));
}

#[test]
fn checks_space_and_crashes() {
    let checks = |in_row, succeeded_at| Facts {
        checks: Some(FailingChecks {
            in_row,
            reason: "network".into(),
            failure: "no way".into(),
            succeeded_at,
        }),
        ..Facts::default()
    };
    let kind = Kind::UpdateChecksFailing;
    assert_eq!(told(&checks(2, Some(at(0))), at(1)), None);
    assert_eq!(
        told(&checks(3, Some(at(0))), at(7 * 24)),
        Some((kind, Severity::Warning))
    );
    assert_eq!(
        told(&checks(3, Some(at(0))), at(7 * 24 + 1)),
        Some((kind, Severity::Critical))
    );
    assert_eq!(told(&checks(3, None), at(900)), Some((kind, Severity::Warning)));

    let space_below = |free, wanted, thresholds| Facts {
        space: Some(FreeSpace {
            free,
            wanted,
            thresholds,
        }),
        ..Facts::default()
    };
    let space = |free, wanted| space_below(free, wanted, SpaceThresholds::default());
    let gb = 1_u64 << 30;
    for (free, wanted, expected) in [
        (10 * gb, gb, None),
        (10 * gb - 1, gb, Some(Severity::Warning)),
        (5 * gb, gb, Some(Severity::Warning)),
        (5 * gb - 1, gb, Some(Severity::Critical)),
        (20 * gb - 1, 20 * gb, Some(Severity::Critical)),
        (20 * gb, 20 * gb, None),
        (0, 0, Some(Severity::Critical)),
    ] {
        let found = only(&space(free, wanted), at(0));
        assert_eq!(found.as_ref().map(|n| n.severity), expected, "{free} of {wanted}");
        if let Some(found) = found {
            assert_eq!(found.body.contains("wait until"), free < wanted, "{}", found.body);
        }
    }

    // What an administrator set counts; zero switches a threshold off.
    let set = SpaceThresholds {
        warning_kib: 40 << 20,
        critical_kib: 30 << 20,
    };
    let found = only(&space_below(35 * gb, gb, set), at(0)).unwrap();
    assert_eq!(found.severity, Severity::Warning);
    assert!(found.body.contains("less than 40"), "{}", found.body);
    let off = SpaceThresholds {
        warning_kib: 0,
        critical_kib: 0,
    };
    assert_eq!(told(&space_below(gb, gb, off), at(0)), None);

    let crashed = |in_row| Facts {
        crashed: vec![CrashedComponent {
            name: "SMS_DMP_DOWNLOADER".into(),
            failure: "index out of bounds".into(),
            in_row,
            next_try: Some(at(1)),
        }],
        ..Facts::default()
    };
    let first = only(&crashed(1), at(0)).unwrap();
    assert_eq!(
        (first.key.as_str(), first.severity),
        ("component-crashed-sms-dmp-downloader", Severity::Warning)
    );
    assert_eq!(
        told(&crashed(3), at(0)),
        Some((Kind::ComponentCrashed, Severity::Critical))
    );
}

#[test]
fn only_what_is_looked_at_now() {
    let facts = Facts {
        space: Some(FreeSpace {
            free: 0,
            wanted: 1,
            thresholds: SpaceThresholds::default(),
        }),
        roles: vec![TrustedRole {
            role: "root".into(),
            expires: at(-1),
        }],
        ..Facts::default()
    };
    let kinds = |looked_at: &[Evaluated]| -> Vec<Kind> {
        in_force(&facts, at(0), looked_at)
            .iter()
            .map(|n| n.kind)
            .collect()
    };
    assert_eq!(kinds(&[Evaluated::EveryFiveMinutes]), [Kind::DiskSpaceLow]);
    assert_eq!(kinds(&[Evaluated::Hourly]), [Kind::FeedMetadataExpiring]);
    assert_eq!(kinds(&[Evaluated::AtConsoleStart]), []);
}

#[test]
fn names_read_back() {
    for kind in Kind::ALL {
        assert_eq!(Kind::from_name(kind.as_str()), Some(kind));
    }
    for severity in Severity::ALL {
        assert_eq!(Severity::from_word(severity.as_str()), Some(severity));
    }
    for snooze in Snooze::ALL {
        assert_eq!(snooze.as_str().parse(), Ok(snooze));
    }
    assert!("fortnight".parse::<Snooze>().is_err());
}

#[test]
fn a_reaction_holds_for_this_cause_at_this_severity() {
    let reaction = |until| Reaction {
        severity: Severity::Warning,
        cause: "this".into(),
        until,
    };
    let check = |severity, cause: &str, until, now, expected| {
        assert_eq!(
            standing(severity, cause, Some(&reaction(until)), now),
            expected,
            "{severity:?} {cause} {until:?}"
        );
    };
    check(Severity::Warning, "this", None, at(1), Standing::Dismissed);
    check(Severity::Informational, "this", None, at(1), Standing::Dismissed);
    check(Severity::Critical, "this", None, at(1), Standing::Shown);
    check(Severity::Warning, "that", None, at(1), Standing::Shown);
    for snooze in Snooze::ALL {
        let until = snooze.until(at(0));
        let before = until.checked_sub(SignedDuration::from_secs(1)).unwrap();
        check(
            Severity::Warning,
            "this",
            Some(until),
            before,
            Standing::Snoozed(until),
        );
        check(Severity::Warning, "this", Some(until), until, Standing::Shown);
        check(Severity::Critical, "this", Some(until), before, Standing::Shown);
        check(Severity::Warning, "that", Some(until), before, Standing::Shown);
    }
    // Snoozed while the clock was a year ahead.
    check(
        Severity::Warning,
        "this",
        Some(at(365 * 24)),
        at(0),
        Standing::Shown,
    );
    assert_eq!(standing(Severity::Warning, "this", None, at(0)), Standing::Shown);
}

proptest! {
    #[test]
    fn texts_and_keys_are_bounded_whatever_comes(
        words in "\\PC{0,800}|[\\x00-\\x1f]{0,50}", count in 0_usize..300, free: u64, wanted: u64, seconds in -1_000_000_i64..10_000_000
    ) {
        let facts = Facts {
            offered: Some(Offered { guid: words.clone(), name: words.clone(), version: words.clone(), stage: if free % 2 == 0 { OfferStage::Ready } else { OfferStage::Stopped } }),
            installing: Some(Installing { guid: words.clone(), name: words.clone(), rolled_back: Some(words.clone()) }),
            roles: vec![TrustedRole { role: words.clone(), expires: at(0) }],
            certificates: (0..count)
                .map(|number| Certificate {
                    file: format!("{number}{words}"), subject: words.clone(), not_after: at(0), own: number % 2 == 0,
                })
                .collect(),
            endpoints: (0..count)
                .map(|number| FailedEndpoint { host: words.clone(), fault: number.to_string(), critical: number % 2 == 0 })
                .collect(),
            checks: Some(FailingChecks { in_row: 9, reason: words.clone(), failure: words.clone(), succeeded_at: None }),
            space: Some(FreeSpace { free, wanted, thresholds: SpaceThresholds { warning_kib: wanted, critical_kib: wanted } }),
            crashed: vec![CrashedComponent { name: words.clone(), failure: words.clone(), in_row: 1, next_try: None }],
            waiting_config: Some(WaitingConfig { version: free, what: words.clone(), hosts: vec![words.clone(); count.min(20)] }),
            secret_keys: vec![SecretKey { name: words.clone(), file: words.clone(), expires: at(0) }],
            vendor_messages: (0..count.min(20))
                .map(|number| VendorMessage {
                    id: format!("{number}{words}"), category: words.clone(), pressing: number % 2 == 0, title: words.clone(),
                    body: words.clone(), link: Some(words.clone()), published: at(0),
                })
                .collect(),
            stopped: vec![words.clone(); count.min(20)],
            backup: Some(MissingBackup { last: None, failure: Some(words) }),
        };
        let now = Timestamp::from_second(1_800_000_000 + seconds).unwrap();
        let all = in_force(&facts, now, &ALL);
        prop_assert!(all.len() <= 200);
        prop_assert!(all.is_sorted_by(|a, b| a.key < b.key));
        for notification in all {
            prop_assert!(notification.key.len() <= 140);
            prop_assert!(notification.key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'));
            for text in [&notification.title, &notification.body, &notification.command] {
                prop_assert!(!text.chars().any(char::is_control));
                prop_assert!(text.chars().count() < 4_000);
            }
        }
    }
}

#[test]
fn what_the_vendor_asks_for() {
    let waiting = Facts {
        waiting_config: Some(WaitingConfig {
            version: 3,
            what: "Another mirror.".into(),
            hosts: vec!["mirror.example".into()],
        }),
        ..Facts::default()
    };
    let told = only(&waiting, at(0)).unwrap();
    assert_eq!((told.severity, told.cause.as_str()), (Severity::Warning, "3"));
    assert!(
        told.body.contains("also connects to mirror.example"),
        "{}",
        told.body
    );
    assert_eq!(told.command, "tidegate component restart SMS_EXECUTIVE");

    let message = |pressing, published| Facts {
        vendor_messages: vec![VendorMessage {
            id: "gateway-certificate".into(),
            category: "Prevent or fix".into(),
            pressing,
            title: "Renew it".into(),
            body: "It ends\nin May.".into(),
            link: Some("https://docs.example/x".into()),
            published,
        }],
        ..Facts::default()
    };
    let first = only(&message(true, at(0)), at(1)).unwrap();
    assert_eq!(
        (first.severity, first.key.as_str(), first.body.as_str()),
        (
            Severity::Warning,
            "vendor-message-gateway-certificate",
            "It ends in May. More: https://docs.example/x"
        )
    );
    let again = only(&message(false, at(5)), at(6)).unwrap();
    assert_eq!(again.severity, Severity::Informational);
    assert!(
        first.key == again.key && first.cause != again.cause,
        "put anew, it is news"
    );
}

#[test]
fn secret_keys_end_in_two_steps() {
    let facts = Facts {
        secret_keys: vec![SecretKey {
            name: "single sign-on".into(),
            file: "secrets/oidc.secret".into(),
            expires: at(24 * 40),
        }],
        ..Facts::default()
    };
    assert_eq!(told(&facts, at(0)), None);
    let soon = (Kind::SecretKeyExpiring, Severity::Warning);
    assert_eq!(told(&facts, at(24 * 10)), Some(soon));
    assert_eq!(told(&facts, at(24 * 40 - 1)), Some(soon));
    let over = (Kind::SecretKeyExpiring, Severity::Critical);
    assert_eq!(told(&facts, at(24 * 40)), Some(over));
}

#[test]
fn stopped_components_and_missing_backups() {
    let stopped = Facts {
        stopped: vec!["SMS_DMP_UPLOADER".into(), "SMS_DMP_DOWNLOADER".into()],
        ..Facts::default()
    };
    let notification = only(&stopped, at(0)).unwrap();
    assert_eq!(notification.title, "Site is in maintenance mode");
    assert_eq!(
        notification.command,
        "tidegate component start SMS_DMP_DOWNLOADER"
    );
    let missing = |last| Facts {
        backup: Some(MissingBackup {
            last,
            failure: Some("the disk is full".into()),
        }),
        ..Facts::default()
    };
    let never = only(&missing(None), at(0)).unwrap();
    assert!(never.body.starts_with("There is none yet"), "{}", never.body);
    let old = only(&missing(Some(at(-500))), at(0)).unwrap();
    assert!(
        old.body.contains("the disk is full") && old.cause != never.cause,
        "{}",
        old.body
    );
}
