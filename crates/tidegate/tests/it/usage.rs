//! Wrong usage, help, and commands that need a running site where there is none.

use crate::program::Sealed;

#[test]
fn wrong_usage_ends_with_2_and_says_what_is_right() {
    let check = |arguments: &[&str], expected: &str| {
        let ran = Sealed::new().run(arguments);
        assert_eq!(ran.code, 2, "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains(expected), "{arguments:?} gave {:?}", ran.err);
        assert_eq!(ran.out, "", "{arguments:?}");
    };
    check(&[], "Usage: tidegate");
    check(&["updates"], "Usage: tidegate updates");
    check(&["nothing"], "unrecognized subcommand 'nothing'");
    check(&["updates", "lists"], "some similar subcommands exist");
    check(
        &["component", "query", "SMS_NOTHING"],
        "there is no component \"SMS_NOTHING\"",
    );
    check(
        &["component", "log-level", "SMS_EXECUTIVE", "loud"],
        "verbose, default, warnings, errors",
    );
    check(
        &["status", "messages", "--since", "yesterday"],
        "an age such as 90s, 15m, 24h, 7d",
    );
    check(&["status", "messages", "--limit", "0"], "0 is not in 1..=1000");
    check(
        &["updates", "check", "--timeout", "30m"],
        "required arguments were not provided",
    );
    check(
        &["updates", "check", "--wait", "--timeout", "30"],
        "no length of time; write one such as 90s",
    );
    check(&["cloud", "withdraw", "17", "--reason", "x"], "is no GUID");
    check(&["--color", "sometimes", "site", "show"], "auto, always, never");
}

#[test]
fn tuf_never_ends_with_2() {
    for arguments in [
        &["tuf", "--nonsense"][..],
        &["--dir", "x", "tuf"],
        &["tuf", "init"],
    ] {
        let ran = Sealed::new().run(arguments);
        assert_eq!(ran.code, 1, "{arguments:?}: {}", ran.err);
        assert!(!ran.err.is_empty());
    }
    assert_eq!(Sealed::new().run(&["tuf", "--help"]).code, 0);
}

#[test]
fn help_and_version_succeed() {
    let check = |arguments: &[&str], expected: &str| {
        let ran = Sealed::new().run(arguments);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{arguments:?}");
        assert!(ran.out.contains(expected), "{arguments:?} gave {:?}", ran.out);
        assert!(!ran.out.contains('\u{1b}'), "colour without a terminal");
    };
    check(&["--version"], "tidegate 0.");
    check(&["cloud", "example"], "guid = ");
    check(&["--help"], "Exit codes: 0 done, 1 failed, 2 wrong usage.");
    check(
        &["updates", "install", "--help"],
        "tidegate updates install 8576527E --wait",
    );
}

#[test]
fn a_missing_site_is_told_from_one_that_does_not_run() {
    let commands: [&[&str]; 9] = [
        &["site", "show"],
        &["component", "list"],
        &["component", "stop", "SMS_DMP_DOWNLOADER"],
        &["updates", "list"],
        &["updates", "why", "8576527E"],
        &["updates", "check", "--wait"],
        &["status", "messages"],
        &["status", "thresholds"],
        &["updates", "features"],
    ];
    for command in commands {
        let sealed = Sealed::new();
        let ran = sealed.run(command);
        assert_eq!(
            (ran.code, ran.err.lines().next()),
            (1, Some("error: there is no site in DIR")),
            "{command:?}"
        );
        assert!(
            ran.err.contains("hint: name its directory with --dir"),
            "{}",
            ran.err
        );

        std::fs::create_dir_all(sealed.dir().join("run")).unwrap();
        std::fs::write(sealed.dir().join("tidegate.toml"), "").unwrap();
        let ran = sealed.run(command);
        assert_eq!(ran.code, 1);
        assert_eq!(
            ran.err,
            "error: the site in DIR is not running\nhint: start it with: tidegate run --dir DIR\n"
        );
        assert_eq!(ran.out, "");

        // The socket of a killed process is no running site.
        drop(std::os::unix::net::UnixListener::bind(sealed.dir().join("run/api.sock")).unwrap());
        assert!(
            sealed
                .run(command)
                .err
                .starts_with("error: the site in DIR is not running")
        );
    }
}

#[test]
fn run_needs_a_site() {
    let ran = Sealed::new().run(&["run"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert!(
        ran.err.starts_with("error: there is no site in DIR\nhint: "),
        "{}",
        ran.err
    );
}

#[test]
fn a_directory_may_be_named_in_every_place() {
    for arguments in [
        &["--dir", "other", "site", "show"][..],
        &["site", "--dir", "other", "show"],
        &["site", "show", "--dir=other"],
    ] {
        let sealed = Sealed::new();
        let ran = sealed.run(arguments);
        let expected = format!("there is no site in {}/other", sealed.path().display());
        assert!(ran.err.contains(&expected), "{arguments:?}: {}", ran.err);
    }
}
