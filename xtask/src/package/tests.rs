//! A package around a stand-in program: what is in it, whose it is, and that systemd and sh understand it.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Inputs, lay_out, make};

fn inputs(folder: &Path) -> Inputs {
    let sources = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let generated = folder.join("generated");
    for (path, text) in [
        ("completions/tidegate.bash", "complete"),
        ("completions/_tidegate", "complete"),
        ("completions/tidegate.fish", "complete"),
        ("man/tidegate.1", ".TH tidegate 1\n"),
        ("man/tidegate-run.1", ".TH tidegate-run 1\n"),
    ] {
        let path = generated.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    Inputs {
        sources,
        generated,
        binary: PathBuf::from("/bin/true"),
        version: "0.1.0".into(),
        architecture: "amd64".into(),
        time: 1_795_000_000,
    }
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_package_holds_what_it_should_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let inputs = inputs(folder.path());
    let package = make(&inputs, folder.path()).unwrap();
    let package = package.to_str().unwrap();
    let contents = output("dpkg-deb", &["--contents", package]);
    let mut files = Vec::new();
    for line in contents.lines() {
        let mut words = line.split_whitespace();
        let (mode, owner) = (words.next().unwrap(), words.next().unwrap());
        let path = words.next_back().unwrap();
        assert_eq!(owner, "root/root", "{line}");
        assert!(line.contains("2026-11-18"), "{line}");
        match mode {
            "drwxr-xr-x" => {}
            "-rwxr-xr-x" => assert_eq!(path, "./usr/bin/tidegate"),
            "-rw-r--r--" => files.push(path.to_owned()),
            _ => panic!("{line}"),
        }
    }
    files.retain(|path| !path.contains("/doc/tidegate/guide/"));
    let expected = [
        "./etc/default/tidegate",
        "./etc/default/tidegate-cloud",
        "./usr/lib/systemd/system/tidegate-cloud.service",
        "./usr/lib/systemd/system/tidegate.service",
        "./usr/lib/sysusers.d/tidegate.conf",
        "./usr/share/bash-completion/completions/tidegate",
        "./usr/share/doc/tidegate/changelog.gz",
        "./usr/share/doc/tidegate/copyright",
        "./usr/share/fish/vendor_completions.d/tidegate.fish",
        "./usr/share/man/man1/tidegate-run.1.gz",
        "./usr/share/man/man1/tidegate.1.gz",
        "./usr/share/zsh/vendor-completions/_tidegate",
    ];
    files.sort();
    assert_eq!(files, expected);
    assert!(contents.contains("/doc/tidegate/guide/installing.md"));

    let field = |name: &str| output("dpkg-deb", &["--field", package, name]).trim().to_owned();
    assert_eq!(
        (field("Package"), field("Version"), field("Architecture")),
        ("tidegate".into(), "0.1.0".into(), "amd64".into())
    );
    let depends = field("Depends");
    assert!(
        depends.starts_with("libc6 (>= 2.") && depends.ends_with("ca-certificates"),
        "{depends}"
    );
    // Policy 3.4: the synopsis is short and no sentence; no line of the rest is too long for a terminal.
    let description = field("Description");
    let mut lines = description.lines();
    let synopsis = lines.next().unwrap();
    assert!(
        synopsis.len() < 80 && !synopsis.ends_with('.') && !synopsis.starts_with("a "),
        "{synopsis}"
    );
    assert!(
        lines.all(|line| line.starts_with(' ') && line.len() <= 81),
        "{description}"
    );
    assert_eq!(
        output("dpkg-deb", &["--info", package, "conffiles"]),
        "/etc/default/tidegate\n/etc/default/tidegate-cloud\n"
    );
    for script in ["postinst", "postrm"] {
        let text = output("dpkg-deb", &["--info", package, script]);
        assert!(
            text.starts_with("#!/bin/sh\n") && text.contains("set -e"),
            "{script}"
        );
        for word in ["restart", "enable", " start ", "rm "] {
            assert!(!text.contains(word), "{script} does more than it should: {word}");
        }
    }
    let sums = output("dpkg-deb", &["--info", package, "md5sums"]);
    assert_eq!(
        sums.lines().count(),
        contents.lines().filter(|line| line.starts_with('-')).count()
    );
}

#[test]
fn the_same_inputs_give_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let inputs = inputs(folder.path());
    let once = std::fs::read(make(&inputs, &folder.path().join("once")).unwrap()).unwrap();
    let twice = std::fs::read(make(&inputs, &folder.path().join("twice")).unwrap()).unwrap();
    assert!(once == twice);
}

#[test]
fn maintainer_scripts_are_shell_and_units_are_units() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    std::fs::create_dir(&root).unwrap();
    lay_out(&inputs(folder.path()), &root).unwrap();
    for script in ["postinst", "postrm"] {
        output("sh", &["-n", root.join("DEBIAN").join(script).to_str().unwrap()]);
    }
    let keys = |unit: &str| -> Vec<String> {
        let path = root.join("usr/lib/systemd/system").join(unit);
        let text = std::fs::read_to_string(path).unwrap();
        let lines = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.map(str::to_owned).collect()
    };
    for unit in ["tidegate.service", "tidegate-cloud.service"] {
        let lines = keys(unit);
        for wanted in [
            "Type=notify",
            "NoNewPrivileges=yes",
            "ProtectSystem=strict",
            "MemoryDenyWriteExecute=yes",
            "SystemCallFilter=@system-service",
        ] {
            assert!(lines.iter().any(|line| line == wanted), "{unit} lacks {wanted}");
        }
        if Command::new("systemd-analyze").arg("--version").output().is_err() {
            // Nothing here understands units; they were looked at as text.
            continue;
        }
        let path = root.join("usr/lib/systemd/system").join(unit);
        let verified = Command::new("systemd-analyze")
            .args(["verify", path.to_str().unwrap()])
            .output()
            .unwrap();
        let complaints = String::from_utf8(verified.stderr).unwrap();
        let complaints: Vec<&str> = complaints
            .lines()
            .filter(|line| line.contains(unit))
            // The package is not installed here.
            .filter(|line| !line.contains("is not executable") && !line.contains("Command 'man"))
            .collect();
        assert!(complaints.is_empty(), "{complaints:?}");
        // The mark of exposure goes from 0 to 10, here times ten; more than 20 means that a limit was lost.
        let arguments = [
            "security",
            "--offline=yes",
            "--threshold=20",
            "--no-pager",
            path.to_str().unwrap(),
        ];
        output("systemd-analyze", &arguments);
    }
}

#[test]
fn a_missing_input_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut inputs = inputs(folder.path());
    inputs.binary = folder.path().join("nothing");
    let failure = make(&inputs, folder.path()).unwrap_err();
    assert!(format!("{failure:#}").contains("nothing"), "{failure:#}");
}
