//! A full record, its golden line, and refusals by field.

use domain::servicing::package::{Hook, PackageRecord};

use super::*;

/// A record with every field set.
pub(in crate::catalogue) fn example() -> PackageRecord {
    let hook = Hook {
        program: "bin/migrate".into(),
        args: vec!["--all".into()],
        env: [("MODE".to_owned(), "fast".to_owned())].into(),
        time_limit_s: 60,
        run_as: Some("app".into()),
    };
    PackageRecord {
        guid: "8576527E-DDE7-4E3C-A0E1-6FB0F0A3B1C4".parse().unwrap(),
        texts: [(
            "en".to_owned(),
            PackageText {
                name: "Example 2611".into(),
                description: "An update.".into(),
                eula: Some("Terms".into()),
            },
        )]
        .into(),
        full_version: "5.00.9110.1000".parse().unwrap(),
        client_version: Some("5.00.9110.1001".into()),
        min_site_version: Some("5.00.9096.1000".parse().unwrap()),
        max_site_version: Some("5.00.9109.9999".parse().unwrap()),
        update_type: UpdateType::Update,
        impact: vec![Impact::SiteServer, Impact::NewFeatures],
        prerequisite: Some("8576527E-DDE7-4E3C-A0E1-6FB0F0A3B1C5".parse().unwrap()),
        supersedes: vec!["8576527E-DDE7-4E3C-A0E1-6FB0F0A3B1C6".parse().unwrap()],
        released: "2026-11-01T10:00:00Z".parse().unwrap(),
        more_info: Some("https://example.com/2611".into()),
        payload: PayloadReference {
            index_target: "payloads/8576527E-DDE7-4E3C-A0E1-6FB0F0A3B1C4/index".into(),
            index_sha256: "ab".repeat(32),
            index_length: 1234,
            files: 10,
            bytes: 1000,
            download_bytes: 400,
            deltas: Vec::new(),
        },
        redistributables: vec![Redistributable {
            name: "runtime.bin".into(),
            target: "redist/8576527E-DDE7-4E3C-A0E1-6FB0F0A3B1C4/runtime.bin".into(),
            length: 5,
            sha256: "cd".repeat(32),
        }],
        features: vec![Feature {
            guid: "8576527E-DDE7-4E3C-A0E1-6FB0F0A3B1C7".parse().unwrap(),
            name: "Fast lane".into(),
            description: "Faster.".into(),
            pre_release: true,
            default_on: false,
            more_info: None,
        }],
        applicability: Some("site.type == \"stand-alone-primary\"".into()),
        prerequisite_rules: vec![PrerequisiteRule {
            name: "memory".into(),
            category: "system-requirements".into(),
            role: "site-server".into(),
            severity: Severity::Warning,
            rule: "host.memory_bytes >= 1073741824".into(),
            text: "Give the server 1 GiB of memory.".into(),
            link: None,
        }],
        install: InstallPlan {
            switch: true,
            before: vec![hook.clone()],
            after: vec![],
            rollback: vec![],
            health: Some(HealthCheck {
                hook,
                attempts: 3,
                interval_s: 1,
            }),
        },
        rings: vec!["early".into()],
        rollout_percent: 25,
        rollout_when: None,
        withdrawn: None,
    }
}

#[test]
fn format_1_is_read_for_ever() {
    let golden = include_str!("record_format_1.json").trim_end();
    assert_eq!(to_line(&example()), golden);
    assert_eq!(parse_line(golden).unwrap(), example());
    let narrowed = PackageRecord {
        rollout_when: Some("host.arch == \"x86_64\"".into()),
        ..example()
    };
    assert_eq!(parse_line(&to_line(&narrowed)).unwrap(), narrowed);
    let with_more = golden.replacen('{', "{\"later\":{\"x\":[1]},", 1);
    assert_eq!(parse_line(&with_more).unwrap(), example());
}

#[test]
fn wrong_fields_are_named() {
    let golden = include_str!("record_format_1.json").trim_end();
    let check = |from: &str, to: &str, expected: &str| {
        assert!(golden.contains(from), "{from}");
        let failure = parse_line(&golden.replacen(from, to, 1)).unwrap_err();
        let text = format!(
            "{failure} {}",
            std::error::Error::source(&failure).map_or(String::new(), |s| s.to_string())
        );
        assert!(text.contains(expected), "{text}");
    };
    check("\"format\":1", "\"format\":2", "newer tidegate");
    check("5.00.9110.1000", "nine", "full-version");
    check("\"en\"", "\"de\"", "text.en");
    check("\"type\":\"update\"", "\"type\":\"weave\"", "type");
    check("site-server", "kitchen", "impact");
    check("payloads/", "../payloads/", "payload.index");
    check("runtime.bin", "a/b", "redistributables.name");
    check("abab", "ABAB", "payload.index-sha256");
    check("https://example.com", "javascript:alert", "more-info");
    check("\"time-limit-s\":60", "\"time-limit-s\":0", "time-limit-s");
    check("\"run-as\":\"app\"", "\"run-as\":\"a b\"", "run-as");
    check("\"severity\":\"warning\"", "\"severity\":\"shrug\"", "severity");
    check(
        "\"rollout-percent\":25",
        "\"rollout-percent\":101",
        "rollout-percent",
    );
    check(
        "\"rollout-percent\":25",
        "\"rollout-percent\":300",
        "no package record",
    );
    check("Example 2611", "Example\\u001b[2J", "without control characters");
    check("An update.", "An\\u0007 update.", "control characters");
    check("\"bin/migrate\"", "\"/bin/sh\"", "program");
}

#[test]
fn damaged_lines_never_panic() {
    let golden = include_str!("record_format_1.json").trim_end();
    for index in 0..golden.len() {
        for replacement in [b'0', b'"', b'{', 0xff] {
            let mut bytes = golden.as_bytes().to_vec();
            bytes[index] = replacement;
            fuzz_record(&bytes);
        }
        fuzz_record(&golden.as_bytes()[..index]);
    }
}
