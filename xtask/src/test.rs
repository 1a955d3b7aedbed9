//! `cargo xtask test`: installs the system packages that tests need, then runs every test.

use std::process::Command;

use anyhow::{Context, Result, bail};

/// A program that tests run, and the Debian package that brings it.
const NEEDED: [(&str, &[&str], &str); 9] = [
    ("python3", &["-c", "import ensurepip, venv"], "python3-venv"),
    ("python3", &["--version"], "python3"),
    ("curl", &["--version"], "curl"),
    ("openssl", &["version"], "openssl"),
    ("cabextract", &["--version"], "cabextract"),
    ("nginx", &["-v"], "nginx"),
    ("sh", &["-c", "ls /usr/lib/postgresql/*/bin/initdb"], "postgresql"),
    ("/usr/lib/squid/security_file_certgen", &["-h"], "squid-openssl"),
    ("chromium", &["--version"], "chromium"),
];

/// What the tests of Negotiate need beside that, and to build it.
const NEEDED_FOR_NEGOTIATE: [(&str, &[&str], &str); 4] = [
    ("krb5-config", &["--version"], "libkrb5-dev"),
    (
        "sh",
        &["-c", "test -x /usr/sbin/krb5kdc"],
        "krb5-kdc krb5-admin-server",
    ),
    ("sh", &["-c", "command -v kinit"], "krb5-user"),
    (
        "sh",
        &["-c", "ls /usr/lib/llvm-*/lib/libclang*.so*"],
        "libclang-dev",
    ),
];

/// Runs every test; with `negotiate` those of the optional feature instead.
pub fn run(negotiate: bool) -> Result<()> {
    let more: &[_] = if negotiate { &NEEDED_FOR_NEGOTIATE } else { &[] };
    let missing: Vec<&str> = NEEDED
        .iter()
        .chain(more)
        .filter(|(program, arguments, _)| !succeeds(program, arguments))
        .flat_map(|(_, _, packages)| packages.split(' '))
        .collect();
    if !missing.is_empty() {
        install(&missing)?;
    }
    if negotiate {
        return cargo(&[
            "test",
            "--locked",
            "--package",
            "tidegate",
            "--features",
            "negotiate",
            "--test",
            "internet",
            "negotiate",
        ]);
    }
    let nextest = succeeds("cargo", &["nextest", "--version"]);
    let tests: &[&str] = match nextest {
        true => &["nextest", "run", "--locked", "--workspace", "--no-fail-fast"],
        false => &["test", "--locked", "--workspace", "--no-fail-fast"],
    };
    cargo(tests)?;
    if nextest {
        // nextest does not run the examples in documentation.
        cargo(&["test", "--locked", "--workspace", "--doc", "--quiet"])?;
    }
    Ok(())
}

fn install(packages: &[&str]) -> Result<()> {
    println!("installing {}", packages.join(" "));
    let as_root = |arguments: &[&str]| -> Result<()> {
        let mut command = if rustix::process::geteuid().is_root() {
            Command::new("apt-get")
        } else {
            let mut command = Command::new("sudo");
            command.arg("apt-get");
            command
        };
        let status = command
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .status();
        match status.context("cannot run apt-get")?.success() {
            true => Ok(()),
            false => bail!(
                "apt-get could not install {}; install it by hand",
                packages.join(" ")
            ),
        }
    };
    as_root(&["update", "--quiet"])?;
    let mut arguments = vec!["install", "--yes", "--quiet"];
    arguments.extend(packages);
    as_root(&arguments)
}

fn succeeds(program: &str, arguments: &[&str]) -> bool {
    Command::new(program)
        .args(arguments)
        .output()
        .is_ok_and(|output| output.status.success())
}

fn cargo(arguments: &[&str]) -> Result<()> {
    println!("cargo {}", arguments.join(" "));
    match Command::new("cargo")
        .args(arguments)
        .status()
        .context("cannot run cargo")?
        .success()
    {
        true => Ok(()),
        false => bail!("cargo {} failed", arguments.join(" ")),
    }
}
