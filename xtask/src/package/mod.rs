//! `cargo xtask package`: a Debian package of the program, with units, manual pages and completions.
//!
//! The package is made with plain `dpkg-deb` from a tree that [`tree`] lays out. The same commit gives the same bytes: the
//! time of every file is the commit's.

mod tree;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

pub use tree::{Inputs, lay_out};

/// Builds the program and packages it; `arguments` are `--profile NAME` or `--binary FILE`.
pub fn run(arguments: &[&str]) -> Result<()> {
    let binary = match arguments {
        [] => build("dist")?,
        ["--profile", profile] => build(profile)?,
        ["--binary", binary] => PathBuf::from(binary),
        _ => bail!("write `cargo xtask package [--profile NAME | --binary FILE]`"),
    };
    let folder = PathBuf::from("target/package");
    let generated = folder.join("generated");
    empty(&generated)?;
    succeed(Command::new(&binary).arg("generate").arg(&generated))?;
    let inputs = Inputs {
        sources: PathBuf::from("."),
        generated,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        architecture: architecture()?,
        time: commit_time()?,
        binary,
    };
    let package = make(&inputs, &folder)?;
    println!("{}", package.display());
    Ok(())
}

/// Makes the package below `folder` and returns its path.
pub fn make(inputs: &Inputs, folder: &Path) -> Result<PathBuf> {
    let name = format!("tidegate_{}_{}", inputs.version, inputs.architecture);
    let (root, package) = (folder.join(&name), folder.join(format!("{name}.deb")));
    empty(&root)?;
    lay_out(inputs, &root)?;
    succeed(
        Command::new("dpkg-deb")
            // Owned by root, whoever builds it.
            .args(["--root-owner-group", "-Zxz", "--build"])
            .args([&root, &package])
            .env("SOURCE_DATE_EPOCH", inputs.time.to_string()),
    )?;
    Ok(package)
}

fn build(profile: &str) -> Result<PathBuf> {
    succeed(Command::new("cargo").args([
        "build",
        "--locked",
        "--package",
        "tidegate",
        "--profile",
        profile,
    ]))?;
    // Cargo's one exception: the profile dev is built into the folder debug.
    let folder = if profile == "dev" { "debug" } else { profile };
    Ok(PathBuf::from("target").join(folder).join("tidegate"))
}

/// Debian's name for this machine's architecture.
fn architecture() -> Result<String> {
    let output = Command::new("dpkg")
        .arg("--print-architecture")
        .output()
        .context("cannot run dpkg; packages are made on Debian")?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// When the newest commit was made.
fn commit_time() -> Result<u64> {
    let output = Command::new("git")
        .args(["log", "-1", "--format=%ct"])
        .output()
        .context("cannot run git")?;
    let text = String::from_utf8(output.stdout)?;
    text.trim().parse().context("git tells no time of a commit")
}

fn empty(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(failure) if failure.kind() != std::io::ErrorKind::NotFound => {
            return Err(failure).context(folder.display().to_string());
        }
        _ => {}
    }
    std::fs::create_dir_all(folder).context(folder.display().to_string())
}

fn succeed(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot run {}", command.get_program().display()))?;
    if !status.success() {
        bail!("{} ended with {status}", command.get_program().display());
    }
    Ok(())
}
