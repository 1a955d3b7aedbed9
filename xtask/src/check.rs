//! `cargo xtask check`: house rules that no compiler knows, licences and bans. Needs no network.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

const LICENCES: [&str; 14] = [
    "MIT",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Unicode-3.0",
    "Zlib",
    "CDLA-Permissive-2.0",
    "MPL-2.0",
    "Unlicense",
    "CC0-1.0",
    "0BSD",
    "MIT-0",
    "BSL-1.0",
];
/// Crates that must not be built, with the reason.
const BANNED: [(&str, &str); 3] = [
    ("ring", "a second crypto library; rustls uses aws-lc-rs"),
    ("openssl-sys", "a second TLS stack that needs a system library"),
    ("native-tls", "a second TLS stack"),
];
/// Crates that none of ours may use, whoever else brings them.
const NOT_OURS: [(&str, &str); 2] = [
    ("chrono", "one time crate: jiff"),
    ("time", "one time crate: jiff"),
];
/// Crates of which one version may be built.
const ONCE: [&str; 7] = [
    "rustls",
    "hyper",
    "reqwest",
    "tower-http",
    "libsqlite3-sys",
    "zstd-sys",
    "tokio",
];
const LINES_MAX: usize = 650;

pub fn run() -> Result<()> {
    let metadata = metadata()?;
    let mut problems = Vec::new();
    dependencies(&metadata, &mut problems)?;
    arrows(&metadata, &mut problems);
    sources(&mut problems)?;
    lints(&mut problems)?;
    links(&mut problems)?;
    for problem in &problems {
        eprintln!("{problem}");
    }
    if problems.is_empty() {
        println!("house rules, licences and bans: in order");
        return Ok(());
    }
    bail!("{} problem(s)", problems.len())
}

fn metadata() -> Result<Value> {
    let output = Command::new("cargo")
        .args([
            "metadata",
            "--locked",
            "--format-version",
            "1",
            "--filter-platform",
            "x86_64-unknown-linux-gnu",
        ])
        .output()
        .context("cannot run cargo metadata")?;
    if !output.status.success() {
        bail!(
            "cargo metadata failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    serde_json::from_slice(&output.stdout).context("cargo metadata printed no JSON")
}

/// Name and version of every package that is part of the program itself: what tests and build scripts
/// need is not counted.
fn built() -> Result<BTreeSet<(String, String)>> {
    let output = Command::new("cargo")
        .args([
            "tree",
            "--locked",
            "--package",
            "tidegate",
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ])
        .output()
        .context("cannot run cargo tree")?;
    if !output.status.success() {
        bail!("cargo tree failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let built: BTreeSet<_> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((
                words.next()?.to_owned(),
                words.next()?.strip_prefix('v')?.to_owned(),
            ))
        })
        .collect();
    if built.len() < 50 {
        bail!(
            "cargo tree named only {} packages, which cannot be all",
            built.len()
        );
    }
    Ok(built)
}

fn dependencies(metadata: &Value, problems: &mut Vec<String>) -> Result<()> {
    let built = built()?;
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, version) in &built {
        versions.entry(name).or_default().insert(version);
        if let Some((_, why)) = BANNED.iter().find(|(banned, _)| banned == name) {
            problems.push(format!("{name} {version} is banned: {why}"));
        }
    }
    for package in list(&metadata["packages"]) {
        let (name, version) = (text(&package["name"]), text(&package["version"]));
        let licence = text(&package["license"]);
        if built.contains(&(name.to_owned(), version.to_owned())) && !licence_allowed(licence) {
            problems.push(format!(
                "{name} {version} has the licence {licence:?}, which is not on the list"
            ));
        }
    }
    for name in ONCE {
        if let Some(found) = versions.get(name).filter(|found| found.len() > 1) {
            problems.push(format!("{name} is built in several versions: {found:?}"));
        }
    }
    Ok(())
}

/// One alternative of the expression has to be allowed as a whole.
fn licence_allowed(expression: &str) -> bool {
    let plain = expression.replace(['(', ')'], " ").replace('/', " OR ");
    plain.split(" OR ").any(|alternative| {
        !alternative.trim().is_empty()
            && alternative.split(" AND ").all(|name| {
                let name = name.split(" WITH ").next().unwrap_or_default().trim();
                LICENCES.contains(&name)
            })
    })
}

/// The arrows between our crates point one way, and only the store knows SQL.
fn arrows(metadata: &Value, problems: &mut Vec<String>) {
    const OURS: [(&str, &[&str]); 9] = [
        ("tidegate-allocator", &[]),
        ("tidegate-domain", &[]),
        ("tidegate-feed", &[]),
        ("tidegate-delta", &[]),
        ("tidegate-content", &["tidegate-delta"]),
        ("tidegate-protocol", &["tidegate-domain"]),
        ("tidegate-store", &["tidegate-domain"]),
        ("tidegate-executive", &["tidegate-domain"]),
        ("tidegate-pages", &[]),
    ];
    for package in list(&metadata["packages"]) {
        let name = text(&package["name"]);
        let normal = || {
            list(&package["dependencies"])
                .iter()
                .filter(|dependency| dependency["kind"].is_null())
        };
        for dependency in normal().map(|dependency| text(&dependency["name"])) {
            if let Some((_, allowed)) = OURS.iter().find(|(ours, _)| *ours == name)
                && dependency.starts_with("tidegate")
                && !allowed.contains(&dependency)
            {
                problems.push(format!("{name} must not depend on {dependency}"));
            }
            if let Some((_, why)) = NOT_OURS.iter().find(|(banned, _)| *banned == dependency)
                && (name.starts_with("tidegate") || name == "xtask")
            {
                problems.push(format!("{name} must not use {dependency}: {why}"));
            }
            if dependency == "rusqlite" && name.starts_with("tidegate") && name != "tidegate-store" {
                problems.push(format!("{name} must not know SQL; that is tidegate-store's"));
            }
        }
    }
}

/// Every crate has the lints of the workspace, above all that unsafe code is forbidden; one says why it has its own.
fn lints(problems: &mut Vec<String>) -> Result<()> {
    const OWN: &str = "crates/allocator/Cargo.toml";
    for path in files("toml")? {
        if path == OWN || path == "Cargo.toml" || !path.ends_with("/Cargo.toml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
        if !text.contains("\n[lints]\nworkspace = true\n") {
            problems.push(format!("{path} does not take the lints of the workspace"));
        }
    }
    Ok(())
}

/// Words that mean unfinished work. Put together here, so that this file does not hold them.
fn unfinished() -> [String; 3] {
    [
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
        ["todo", "!("].concat(),
    ]
}

fn sources(problems: &mut Vec<String>) -> Result<()> {
    let unfinished = unfinished();
    for path in files("rs")? {
        let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
        let lines = text.lines().count();
        if lines > LINES_MAX {
            problems.push(format!(
                "{path} has {lines} lines; would a newcomer read it from the top?"
            ));
        }
        if !text.starts_with("//!") {
            problems.push(format!("{path} does not say at its top what it is for"));
        }
        for word in unfinished.iter().filter(|word| text.contains(word.as_str())) {
            problems.push(format!("{path} contains {word}"));
        }
    }
    Ok(())
}

/// Relative links in documents lead to files.
fn links(problems: &mut Vec<String>) -> Result<()> {
    for path in files("md")? {
        let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
        for part in text.split("](").skip(1) {
            let target = part.split([')', '#']).next().unwrap_or_default();
            let relative = !target.is_empty() && !target.contains(':');
            let folder = Path::new(&path).parent().unwrap_or(Path::new("."));
            if relative && !folder.join(target).exists() {
                problems.push(format!("{path} links to {target}, which does not exist"));
            }
        }
    }
    Ok(())
}

fn files(extension: &str) -> Result<Vec<String>> {
    let output = Command::new("git")
        .args([
            "ls-files",
            "--cached",
            "--others",
            "--exclude-standard",
            "--",
            &format!("*.{extension}"),
        ])
        .output()
        .context("cannot run git ls-files")?;
    let text = String::from_utf8(output.stdout)?;
    Ok(text
        .lines()
        .filter(|path| Path::new(path).exists())
        .map(str::to_owned)
        .collect())
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
