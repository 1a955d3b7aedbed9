//! Every error a vendor can make, with the place it is told at.

use proptest::prelude::*;

use super::*;

const SMALL: &str = r#"guid = "8576527E-DDE7-4E3C-A0E1-6FB0F0A3B1C4"
full-version = "5.00.9106.1000"
type = "update"
released = 2026-10-01T08:00:00Z
[text.en]
name = "x"
[install]
switch = true
"#;

fn problems(source: &str) -> Vec<String> {
    parse(Path::new("p.toml"), source).map_or_else(|error| error.lines(), |_| Vec::new())
}

#[test]
fn the_example_and_the_smallest_description_are_right() {
    let example = parse(Path::new("package.toml"), EXAMPLE).unwrap();
    assert_eq!(example.record.full_version.to_string(), "5.00.9106.1000");
    assert_eq!(example.record.texts.len(), 2);
    assert_eq!(example.record.features.len(), 1);
    assert_eq!(example.record.prerequisite_rules.len(), 1);
    assert_eq!(example.record.install.before[0].env["LEVEL"], "quiet");
    assert_eq!(example.record.install.health.as_ref().unwrap().attempts, 5);
    assert_eq!(example.redistributables[0].name, "runtime.bin");
    assert_eq!(example.record.released.to_string(), "2026-10-01T08:00:00Z");
    let small = parse(Path::new("package.toml"), SMALL).unwrap();
    assert!(small.record.install.switch && small.record.rollout_percent == 100);
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    // (what to replace, by what, the one line expected)
    for (from, to, expected) in [
        (
            "guid = \"8576527E",
            "guid = \"857652",
            "p.toml:1:8: guid: \"857652-DDE7-4E3C-A0E1-6FB0F0A3B1C4\" is no GUID; write it as 8576527E-DDE7-4E3C-A0E1-6FB0F0A3B1C4",
        ),
        (
            "9106.1000",
            "9106",
            "p.toml:2:16: full-version: \"5.00.9106\" is no version; write it as 5.00.9106.1000",
        ),
        (
            "\"update\"",
            "\"updat\"",
            "p.toml:3:8: type is one of update, hotfix, preview, not \"updat\"; did you mean \"update\"?",
        ),
        ("\"update\"", "3", "p.toml:3:8: type is a text in quotes"),
        (
            "type = \"update\"\n",
            "",
            "p.toml:1:1: the file has no \"type\"; it is needed",
        ),
        (
            "08:00:00Z",
            "08:00:00",
            "p.toml:4:12: released is a moment with its offset from UTC, as in 2026-10-01T08:00:00Z",
        ),
        (
            "released",
            "relaesed = 1\nreleased",
            "p.toml:4:1: \"relaesed\" is no key of the file; did you mean \"released\"?",
        ),
        (
            "[text.en]",
            "[text.de]",
            "p.toml:5:2: there is no [text.en]; every package has English texts",
        ),
        ("name = \"x\"", "name = \" \"", "p.toml:6:8: name is empty"),
        (
            "name = \"x\"",
            "name = \"x\"\ndescripton = \"\"",
            "p.toml:7:1: \"descripton\" is no key of [text.en]; did you mean \"description\"?",
        ),
        (
            "switch = true",
            "switch = \"true\"",
            "p.toml:8:10: switch is true or false, without quotes",
        ),
        (
            "[install]\nswitch = true",
            "",
            "p.toml:1:1: the file has no \"install\"; it is needed",
        ),
        (
            "[text.en]",
            "rollout-percent = 101\n[text.en]",
            "p.toml:5:19: rollout-percent is a whole number from 0 to 100",
        ),
        (
            "[text.en]",
            "more-info = \"notes.txt\"\n[text.en]",
            "p.toml:5:13: more-info is a web address (https://…)",
        ),
        (
            "[text.en]",
            "impact = [\"konsole\"]\n[text.en]",
            "p.toml:5:11: impact is one of site-server, console, client, new-features, bug-fixes, not \"konsole\"; did you mean \"console\"?",
        ),
        (
            "[text.en]",
            "prerequisite = \"8576527e-DDE7-4E3C-A0E1-6FB0F0A3B1C4\"\n[text.en]",
            "p.toml:5:16: prerequisite names this package itself",
        ),
        (
            "[text.en]",
            "min-site-version = \"5.00.9200.0\"\nmax-site-version = \"5.00.9100.0\"\n[text.en]",
            "p.toml:6:20: max-site-version 5.00.9100.0000 is below min-site-version 5.00.9200.0000",
        ),
        (
            "switch = true",
            "switch = true\n[[install.before]]\nprogram = \"../x\"",
            "p.toml:10:11: \"../x\" is no path inside the payload; write it as bin/start",
        ),
        (
            "switch = true",
            "switch = true\n[[install.after]]\nprogram = \"x\"\nrun-as = \"a b\"",
            "p.toml:11:10: \"a b\" is no user name",
        ),
        (
            "switch = true",
            "switch = true\n[install.health]\nprogram = \"x\"\nattempts = 0",
            "p.toml:11:12: attempts is a whole number from 1 to 100",
        ),
        (
            "switch = true",
            "switch = true\n[[redistributable]]\nfile = \"a/b\"\n[[redistributable]]\nfile = \"c/B\"",
            "p.toml:12:8: there is already a redistributable named \"B\"",
        ),
        (
            "switch = true",
            "switch = true\n[[redistributable]]\nfile = \"..\"",
            "p.toml:10:8: file is a path to a file whose name is plain, short and begins with no dot",
        ),
    ] {
        let source = SMALL.replace(from, to);
        assert_ne!(source, SMALL, "{from}");
        let expected: Vec<&str> = expected.lines().collect();
        assert_eq!(problems(&source), expected, "{from} -> {to}");
    }
}

#[test]
fn a_rule_is_refused_at_its_place_in_the_file() {
    let place = |text: &str| {
        let source = SMALL.replace("[text.en]", &format!("applicability = {text}\n[text.en]"));
        let found = problems(&source);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        found[0].split(": ").next().unwrap().to_owned()
    };
    assert_eq!(place("'site.typo == \"primary\"'"), "p.toml:5:18");
    assert_eq!(place("\"true &&  site.typo == \\\"primary\\\"\""), "p.toml:5:27");
    assert_eq!(place("'''\ntrue &&\n  site.typo == \"x\"'''"), "p.toml:7:3");
}

#[test]
fn programs_must_be_executable_files_of_the_payload() {
    let source = SMALL.replace(
        "switch = true",
        "switch = true\n[install.health]\nprogram = \"bin/health\"",
    );
    let description = parse(Path::new("p.toml"), &source).unwrap();
    assert!(
        description
            .check_programs(&BTreeSet::from(["bin/health".to_owned()]))
            .is_ok()
    );
    let lines = description.check_programs(&BTreeSet::new()).unwrap_err().lines();
    assert_eq!(lines.len(), 1);
    assert!(
        lines[0].starts_with("p.toml:10:11: \"bin/health\" is no executable file"),
        "{lines:?}"
    );
}

#[test]
fn broken_toml_is_one_problem_with_a_place() {
    let found = problems("guid = \"a\"\nx = = 1\n");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("p.toml:2:"), "{found:?}");
    assert_eq!(problems(&"#".repeat(BYTES_MAX as usize + 1)).len(), 1);
}

proptest! {
    #[test]
    fn never_panics(source in "[a-z0-9=\\[\\]\"'\\\\\n{}., äUu-]{0,200}") {
        let _ = parse(Path::new("p.toml"), &source);
    }

    #[test]
    fn a_damaged_example_never_panics(at in 0..EXAMPLE.len(), with in "[\\PC\n]{0,6}") {
        let at = EXAMPLE.floor_char_boundary(at);
        let _ = parse(Path::new("p.toml"), &format!("{}{with}{}", &EXAMPLE[..at], &EXAMPLE[at..]));
        let _ = parse(Path::new("p.toml"), &EXAMPLE[..at]);
    }
}
