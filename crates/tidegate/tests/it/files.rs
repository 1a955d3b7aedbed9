//! Commands that read files and need no running site: logs, config check.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::program::Sealed;

const DOWNLOADER: &str = "Checking for updates  $$<SMS_DMP_DOWNLOADER><11-21-2026 15:11:46.039+000><thread=1 (0x0001)>\n\
    ERROR: The feed refused us  $$<SMS_DMP_DOWNLOADER><11-21-2026 15:11:48.000+000><thread=1 (0x0001)>\n";
const HIERARCHY: &str = "WARNING: one package is odd  $$<SMS_HIERARCHY_MANAGER><11-21-2026 10:11:47.000+300><thread=2 (0x0002)>\n";

fn site_with_logs() -> Sealed {
    let sealed = Sealed::new();
    let logs = sealed.dir().join("logs");
    std::fs::create_dir_all(&logs).unwrap();
    std::fs::write(logs.join("Dmpdownloader.log"), DOWNLOADER).unwrap();
    std::fs::write(logs.join("hman.log"), HIERARCHY).unwrap();
    sealed
}

#[test]
fn logs_are_merged_by_time() {
    let ran = site_with_logs().run(&["logs"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(
        ran.out,
        "2026-11-21 15:11:46.039 SMS_DMP_DOWNLOADER           Checking for updates\n\
         2026-11-21 15:11:47.000 SMS_HIERARCHY_MANAGER        WARNING: one package is odd\n\
         2026-11-21 15:11:48.000 SMS_DMP_DOWNLOADER           ERROR: The feed refused us\n"
    );
}

#[test]
fn logs_are_chosen_and_cut() {
    let check = |arguments: &[&str], expected: &[&str]| {
        let ran = site_with_logs().run(arguments);
        let texts: Vec<&str> = ran.out.lines().filter_map(|line| line.get(53..)).collect();
        assert_eq!(texts, expected, "{arguments:?}: {}", ran.err);
    };
    check(
        &["logs", "sms_hierarchy_manager"],
        &["WARNING: one package is odd"],
    );
    check(&["logs", "hman.log"], &["WARNING: one package is odd"]);
    check(&["logs", "--level", "errors"], &["ERROR: The feed refused us"]);
    check(&["logs", "--lines", "1"], &["ERROR: The feed refused us"]);
    check(
        &["logs", "--since", "2026-11-21T15:11:48Z"],
        &["ERROR: The feed refused us"],
    );
}

#[test]
fn logs_for_programs_are_json_lines() {
    let ran = site_with_logs().run(&["logs", "hman", "--json"]);
    assert_eq!(
        ran.out,
        "{\"time\":\"2026-11-21T15:11:47Z\",\"log\":\"hman.log\",\"component\":\"SMS_HIERARCHY_MANAGER\",\
         \"severity\":\"warning\",\"thread\":2,\"text\":\"WARNING: one package is odd\"}\n"
    );
}

#[test]
fn an_unknown_log_names_those_there_are() {
    let ran = site_with_logs().run(&["logs", "nothing"]);
    assert_eq!(ran.code, 1);
    assert_eq!(
        ran.err,
        "error: DIR/logs has no log \"nothing\"\nhint: name a component, or one of Dmpdownloader.log, hman.log\n"
    );
}

#[test]
fn colour_on_demand_only() {
    let sealed = site_with_logs();
    assert!(
        sealed
            .run(&["logs", "--color", "always"])
            .out
            .contains("\u{1b}[31mERROR")
    );
    assert!(
        !sealed
            .run(&["logs", "--color", "always", "--json"])
            .out
            .contains('\u{1b}')
    );
}

#[test]
fn logs_are_followed_as_they_grow() {
    let sealed = site_with_logs();
    let mut child = sealed
        .command(&["logs", "hman", "--follow"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().ends_with("one package is odd"));
    let log = sealed.dir().join("logs/hman.log");
    std::fs::write(&log, HIERARCHY.repeat(2)).unwrap();
    assert!(lines.next().unwrap().unwrap().ends_with("one package is odd"));
    std::fs::rename(&log, sealed.dir().join("logs/hman.lo_")).unwrap();
    std::fs::write(&log, HIERARCHY.replace("odd", "new")).unwrap();
    assert!(lines.next().unwrap().unwrap().ends_with("one package is new"));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let sealed = Sealed::new();
    let logs = sealed.dir().join("logs");
    std::fs::create_dir_all(&logs).unwrap();
    std::fs::write(logs.join("hman.log"), HIERARCHY.repeat(20_000)).unwrap();
    let mut child = sealed
        .command(&["logs", "--lines", "0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ran = sealed.read(child.wait_with_output().unwrap());
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
}

#[test]
fn the_configuration_in_force() {
    let sealed = Sealed::new();
    std::fs::create_dir_all(sealed.dir()).unwrap();
    let file = sealed.dir().join("tidegate.toml");
    std::fs::write(
        &file,
        "[feed]\nurl = \"https://feed.example\"\nrings = [\"early\"]\n",
    )
    .unwrap();
    let ran = sealed.run(&["config", "check"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    insta::assert_snapshot!("config_check", ran.out);
    let ran = sealed.run(&["config", "check", "--json"]);
    insta::assert_snapshot!("config_check_json", ran.out);

    std::fs::write(&file, "[feed]\nurl = \"ftp://feed.example\"\n").unwrap();
    let ran = sealed.run(&["config", "check"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert!(
        ran.err.starts_with("error: DIR/tidegate.toml: feed.url"),
        "{}",
        ran.err
    );
}

#[test]
fn a_token_is_shown_once() {
    let sealed = Sealed::new();
    assert!(
        sealed
            .run(&["user", "token", "monitoring"])
            .err
            .starts_with("error: there is no site in DIR")
    );
    std::fs::create_dir_all(sealed.dir().join("secrets")).unwrap();
    std::fs::write(sealed.dir().join("tidegate.toml"), "").unwrap();
    let ran = sealed.run(&["user", "token", "monitoring"]);
    assert_eq!((ran.code, ran.out.trim().len()), (0, 64), "{}", ran.err);
    assert!(ran.err.contains("not shown again"), "{}", ran.err);
    let again = sealed.run(&["user", "token", "monitoring"]);
    assert_eq!((again.code, again.out.as_str()), (1, ""));
    assert!(
        again.err.contains("there is a token \"monitoring\" already"),
        "{}",
        again.err
    );
}
