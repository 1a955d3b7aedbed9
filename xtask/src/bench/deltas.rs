//! Making and applying the deltas between two published packages, and nothing else, in a process of its own: its time and
//! memory are measured from outside, beside a peer's command that does the same.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use content::Library;
use content::deltas::{self, DeltaIndex, DeltaOptions};
use content::index::PayloadIndex;
use content::publish::{PublishOptions, publish};

use super::{Measured, OnFolder, measured};

/// `cargo xtask delta …`, for the benchmarks only.
pub fn run(arguments: &[&str]) -> Result<()> {
    match arguments {
        ["make", base, payload, targets, scratch] => {
            // As the command that publishes does; a site, which applies, does not.
            allocator::give_large_blocks_back();
            let (base, payload) = (index(base)?, index(payload)?);
            let (targets, scratch) = (Path::new(targets), Path::new(scratch));
            let options = DeltaOptions::default();
            let made = deltas::make(Some(&base), &payload, targets, scratch, &options, &mut |_, _| ())?;
            made.context("no delta is worth it").map(drop)
        }
        ["apply", index, fetched, library] => apply(Path::new(index), Path::new(fetched), Path::new(library)),
        _ => bail!("unclear: {arguments:?}"),
    }
}

/// What making took, and how they are applied.
pub(super) struct Deltas {
    /// Bytes of the deltas.
    pub bytes: f64,
    pub make: Measured,
    /// Applies them.
    pub apply: OnFolder,
}

/// Publishes both trees below `work` and makes the deltas between them, to be applied to copies of `library`, which has the
/// files of the first tree.
pub(super) fn between(work: &Path, trees: &[PathBuf; 2], library: &Path) -> Result<Deltas> {
    let (targets, scratch) = (work.join("targets"), work.join("scratch"));
    let options = PublishOptions {
        level: 1,
        ..PublishOptions::default()
    };
    let mut indexes = Vec::new();
    for (number, tree) in trees.iter().enumerate() {
        let folder = work.join(format!("published-{number}"));
        std::fs::create_dir_all(&folder)?;
        let published = publish(tree, &folder, &targets, &indexes, &options, &mut |_| {})?;
        indexes.push(published.index_bytes_path);
    }
    std::fs::create_dir_all(&scratch)?;
    // This program is built for whoever works on it; what is measured is what is handed out.
    let this = super::build("xtask")?;
    let mut make = Command::new(&this);
    make.args(["delta", "make"])
        .args(&indexes)
        .args([&targets, &scratch]);
    let make = measured(&mut make)?;
    let made = scratch.join("deltas");
    let bytes = DeltaIndex::read_file(&made)?.bytes() as f64;
    let fetched = work.join("fetched");
    fetch(&made, &targets, &fetched)?;
    let command = Box::new(move |copy: &Path| {
        let mut apply = Command::new(&this);
        apply
            .args(["delta", "apply"])
            .args([made.as_path(), &fetched, copy]);
        apply
    });
    let apply = OnFolder {
        folder: library.to_owned(),
        command,
    };
    Ok(Deltas { bytes, make, apply })
}

fn index(path: &str) -> Result<PayloadIndex> {
    PayloadIndex::read_file(Path::new(path)).with_context(|| format!("cannot read {path}"))
}

/// Every segment in a file of its own, as a site fetches it.
fn fetch(index: &Path, targets: &Path, to: &Path) -> Result<()> {
    let index = DeltaIndex::read_file(index)?;
    std::fs::create_dir_all(to)?;
    for segment in &index.segments {
        let mut pack = File::open(targets.join(index.packs[segment.pack as usize].stored_path()))?;
        pack.seek(SeekFrom::Start(segment.offset))?;
        let mut file = File::create(to.join(segment.sha256.to_string()))?;
        std::io::copy(&mut pack.take(segment.length), &mut file)?;
    }
    Ok(())
}

/// Applies every segment, as a site does once it is fetched.
fn apply(index: &Path, fetched: &Path, library: &Path) -> Result<()> {
    let index = DeltaIndex::read_file(index)?;
    let library = Library::open(library, 0)?;
    for segment in &index.segments {
        let file = fetched.join(segment.sha256.to_string());
        deltas::apply(segment, &library, &file, &|| false)?;
    }
    Ok(())
}
