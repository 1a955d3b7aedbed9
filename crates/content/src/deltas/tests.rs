//! Three versions of a tree in a feed, and a library that holds some of them.

use std::collections::HashSet;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::download::{DownloadError, execute, plan};
use crate::index::PayloadIndex;
use crate::library::{DeltaError, Library};
use crate::object::ObjectId;
use crate::publish::{PublishOptions, publish};
use crate::served::Served;

/// Versions 0, 1 and 2 of a tree, with deltas from each to the next.
struct Feed {
    folder: tempfile::TempDir,
    versions: Vec<Arc<PayloadIndex>>,
    /// From 0 to 1, from 1 to 2, and into the archives of 2.
    deltas: Vec<DeltaIndex>,
}

fn random(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    ChaCha8Rng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

fn write_version(tree: &Path, version: u64) {
    std::fs::create_dir_all(tree.join("lib")).unwrap();
    // Changed in a few places with every version.
    let mut library = random(1, 400_000);
    for change in 0..version * 20 {
        library[(change * 7919 % 400_000) as usize] ^= 0x5a;
    }
    std::fs::write(tree.join(format!("lib/library.{version}")), &library).unwrap();
    std::fs::write(tree.join("same"), random(2, 100_000)).unwrap();
    std::fs::write(
        tree.join(format!("new-in-{version}")),
        random(10 + version, 50_000),
    )
    .unwrap();
    let lines: String = (0..20_000_u64)
        .map(|line| {
            format!(
                "line {line} of {}\n",
                if line % 997 == version {
                    version
                } else {
                    line * 2_654_435_761 % 99_991
                }
            )
        })
        .collect();
    let mut archive = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    archive.write_all(lines.as_bytes()).unwrap();
    std::fs::write(tree.join("lines.gz"), archive.finish().unwrap()).unwrap();
}

impl Feed {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let targets = folder.path().join("targets");
        let options = PublishOptions {
            level: 3,
            block_bytes: 4096,
            ..PublishOptions::default()
        };
        let (mut versions, mut deltas, mut indexes) = (Vec::new(), Vec::new(), Vec::new());
        for version in 0..3 {
            let (tree, scratch) = (
                folder.path().join(format!("tree-{version}")),
                folder.path().join(format!("scratch-{version}")),
            );
            write_version(&tree, version);
            std::fs::create_dir_all(&scratch).unwrap();
            let published = publish(&tree, &scratch, &targets, &indexes, &options, &mut |_| {}).unwrap();
            indexes.push(published.index_bytes_path.clone());
            versions.push(Arc::new(
                PayloadIndex::read_file(&published.index_bytes_path).unwrap(),
            ));
        }
        for (base, version) in [(Some(0), 1), (Some(1), 2), (None, 2)] {
            let base = base.map(|base: usize| &*versions[base]);
            let made = make(
                base,
                &versions[version],
                &targets,
                folder.path(),
                &DeltaOptions::default(),
                &mut |_, _| {},
            );
            let made = made.unwrap().expect("a delta is worth it");
            deltas.push(DeltaIndex::read_file(&made.index_path).unwrap());
        }
        Feed {
            folder,
            versions,
            deltas,
        }
    }

    fn source(&self, budget: u64, flip: bool) -> Arc<Served> {
        Served::new(self.folder.path().join("targets"), budget, flip)
    }

    /// A library that holds these versions whole.
    async fn library(&self, name: &str, versions: &[usize]) -> Arc<Library> {
        let library = Arc::new(Library::open(&self.folder.path().join(name), 0).unwrap());
        for version in versions {
            self.blocks(&library, *version, &self.source(u64::MAX, false))
                .await
                .unwrap();
        }
        library
    }

    async fn blocks(
        &self,
        library: &Arc<Library>,
        version: usize,
        source: &Arc<Served>,
    ) -> Result<(), DownloadError> {
        let index = self.versions[version].clone();
        let plan = plan(&index, library);
        let progress = Arc::new(|_| {});
        execute(
            index,
            plan,
            library.clone(),
            source.clone(),
            progress,
            &CancellationToken::new(),
        )
        .await
    }

    fn steps(&self, library: &Library, version: usize, deltas: &[usize]) -> Vec<Chosen> {
        let refused = HashSet::new();
        let sources: Vec<Source<'_>> = deltas
            .iter()
            .map(|number| Source {
                index: &self.deltas[*number],
                refused: &refused,
            })
            .collect();
        choose(&self.versions[version], &sources, &|object| library.has(object))
    }

    async fn fetch(
        &self,
        library: &Arc<Library>,
        step: Chosen,
        deltas: &[usize],
        source: &Arc<Served>,
    ) -> Result<(), SegmentError> {
        let index = &self.deltas[deltas[step.source]];
        let told = Mutex::new(Vec::new());
        let fetched = fetch(
            index,
            step.segment,
            library.clone(),
            &**source,
            &|step| told.lock().unwrap().push(step),
            &CancellationToken::new(),
        )
        .await;
        // Whoever watches knows when nothing more comes, and why it is not over.
        let told = told.into_inner().unwrap();
        let all_came = !matches!(fetched, Err(SegmentError::Download(_)));
        assert_eq!(
            told.last() == Some(&SegmentProgress::Applying),
            all_came,
            "{told:?}"
        );
        fetched
    }
}

#[tokio::test]
async fn a_delta_brings_what_changed_and_blocks_the_rest() {
    let feed = Feed::new();
    let library = feed.library("content", &[0]).await;
    let steps = feed.steps(&library, 1, &[0]);
    assert_eq!(steps.len(), 1);
    let source = feed.source(u64::MAX, false);
    feed.fetch(&library, steps[0], &[0], &source).await.unwrap();
    feed.blocks(&library, 1, &source).await.unwrap();
    assert!(library.missing(&feed.versions[1]).is_empty());
    assert!(library.verify(&mut |_| {}).unwrap().damaged.is_empty());
    // The new file is random; the rest of a version costs next to nothing.
    let sent = source.sent.load(Ordering::Relaxed);
    assert!((50_000..65_000).contains(&sent), "{sent}");
    assert_eq!(
        std::fs::read_dir(feed.folder.path().join("content/deltas"))
            .unwrap()
            .count(),
        0
    );
}

#[tokio::test]
async fn two_steps_where_there_is_no_direct_way() {
    let feed = Feed::new();
    let library = feed.library("content", &[0]).await;
    assert!(
        feed.steps(&library, 2, &[1]).is_empty(),
        "what it needs is not here"
    );
    let steps = feed.steps(&library, 2, &[1, 0]);
    let sources: Vec<usize> = steps.iter().map(|step| step.source).collect();
    assert_eq!(sources, [1, 0]);
    let source = feed.source(u64::MAX, false);
    for step in steps {
        feed.fetch(&library, step, &[1, 0], &source).await.unwrap();
    }
    feed.blocks(&library, 2, &source).await.unwrap();
    assert!(library.missing(&feed.versions[2]).is_empty());
    let sent = source.sent.load(Ordering::Relaxed);
    assert!(sent < 140_000, "{sent}");
}

#[tokio::test]
async fn archives_are_cheaper_even_for_somebody_with_nothing() {
    let feed = Feed::new();
    let library = feed.library("content", &[]).await;
    let steps = feed.steps(&library, 2, &[2]);
    assert_eq!(steps.len(), 1);
    let source = feed.source(u64::MAX, false);
    feed.fetch(&library, steps[0], &[2], &source).await.unwrap();
    feed.blocks(&library, 2, &source).await.unwrap();
    assert!(library.missing(&feed.versions[2]).is_empty());
    let cold = feed.versions[2].download_bytes();
    assert!(source.sent.load(Ordering::Relaxed) < cold, "{cold}");
    // Whoever has the version before does not fetch it a second time in another way.
    let library = feed.library("other", &[1]).await;
    let steps = feed.steps(&library, 2, &[1, 2]);
    assert_eq!(steps.iter().map(|step| step.source).collect::<Vec<_>>(), [0]);
}

#[tokio::test]
async fn a_cut_goes_on_and_a_changed_delta_is_refused() {
    let feed = Feed::new();
    let library = feed.library("content", &[0]).await;
    let step = feed.steps(&library, 1, &[0])[0];
    let length = feed.deltas[0].segments[step.segment].length;
    let cut = feed.source(length / 2, false);
    let failure = feed.fetch(&library, step, &[0], &cut).await.unwrap_err();
    assert!(
        matches!(failure, SegmentError::Download(DownloadError::Truncated { .. })),
        "{failure}"
    );
    // Another process goes on.
    drop(library);
    let library = Arc::new(Library::open(&feed.folder.path().join("content"), 0).unwrap());
    let rest = feed.source(u64::MAX, false);
    feed.fetch(&library, step, &[0], &rest).await.unwrap();
    assert_eq!(rest.sent.load(Ordering::Relaxed), length - length / 2);

    let library = feed.library("other", &[0]).await;
    let failure = feed
        .fetch(&library, step, &[0], &feed.source(u64::MAX, true))
        .await
        .unwrap_err();
    assert!(
        matches!(&failure, SegmentError::Refused(why) if why.contains("expected SHA-256")),
        "{failure}"
    );
    let missing = library.missing(&feed.versions[1]);
    assert!(!missing.is_empty());
    feed.blocks(&library, 1, &feed.source(u64::MAX, false))
        .await
        .unwrap();
    assert!(library.missing(&feed.versions[1]).is_empty());
}

#[tokio::test]
async fn a_delta_over_damaged_or_missing_objects_is_refused_and_nothing_wrong_gets_in() {
    let feed = Feed::new();
    let step = Chosen {
        source: 0,
        segment: 0,
    };
    for object in &feed.deltas[0].segments[0].old {
        for damage in [true, false] {
            let library = feed.library(&format!("content-{object}-{damage}"), &[0]).await;
            let before = library.objects().unwrap();
            let path = library.object_path(object);
            let mut bytes = std::fs::read(&path).unwrap();
            std::fs::remove_file(&path).unwrap();
            if damage {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                std::fs::write(&path, bytes).unwrap();
            }
            let result = feed
                .fetch(&library, step, &[0], &feed.source(u64::MAX, false))
                .await;
            match result {
                Err(SegmentError::Refused(_)) => {
                    let after = library.objects().unwrap();
                    assert!(after.iter().all(|object| before.contains(object)));
                }
                // No copy was taken from where the damage is: what came out is right all the same.
                Ok(()) if damage => {
                    let found = library.verify(&mut |_| {}).unwrap();
                    assert_eq!(found.damaged, [*object]);
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn what_is_signed_but_foreign_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let library = Library::open(folder.path(), 0).unwrap();
    let old = random(5, 10_000);
    let mut new = old.clone();
    new[77] ^= 1;
    let made = delta::make(
        &[delta::Input::Bytes(&old)],
        &[delta::Input::Bytes(&new)],
        1,
        1 << 26,
        &tempfile::tempfile().unwrap(),
    )
    .unwrap()
    .unwrap();
    let old_id = ObjectId::of(&old);
    std::fs::create_dir_all(library.object_path(&old_id).parent().unwrap()).unwrap();
    std::fs::write(library.object_path(&old_id), &old).unwrap();
    let cancelled = std::cell::Cell::new(false);
    let apply = |new: Vec<(ObjectId, u64)>, bytes: &[u8]| {
        let segment = Segment {
            pack: 0,
            offset: 0,
            length: bytes.len() as u64,
            sha256: ObjectId::of(bytes),
            old: vec![old_id],
            new,
        };
        library.apply_delta(&segment, bytes, &|| cancelled.get())
    };
    let id = ObjectId::of(&new);
    apply(vec![(ObjectId::of(b"another"), 10_000)], &made).unwrap_err();
    apply(vec![(id, 9_999)], &made).unwrap_err();
    apply(vec![(id, 10_000), (old_id, 10_000)], &made).unwrap_err();
    apply(vec![(id, 10_000)], &made[..made.len() - 1]).unwrap_err();
    apply(vec![(id, 10_000)], b"TGD6 and something else").unwrap_err();
    cancelled.set(true);
    assert!(matches!(
        apply(vec![(id, 10_000)], &made),
        Err(DeltaError::Cancelled)
    ));
    cancelled.set(false);
    // A limit of open files looks like this, too: blocks do without.
    let old_path = library.object_path(&old_id);
    std::fs::remove_file(&old_path).unwrap();
    std::os::unix::fs::symlink(&old_path, &old_path).unwrap();
    match apply(vec![(id, 10_000)], &made) {
        Err(DeltaError::Refused(why)) => assert!(why.contains("cannot open"), "{why}"),
        other => panic!("{other:?}"),
    }
    std::fs::remove_file(&old_path).unwrap();
    std::fs::write(&old_path, &old).unwrap();
    assert!(!library.has(&id));
    let folder_of_it = library.object_path(&id).parent().unwrap().to_owned();
    let left = std::fs::read_dir(folder_of_it).map_or(0, Iterator::count);
    assert_eq!(left, 0, "nothing of an attempt is left");
    apply(vec![(id, 10_000)], &made).unwrap();
    assert!(library.has(&id));
}

#[tokio::test]
async fn what_is_on_its_way_is_not_garbage() {
    let feed = Feed::new();
    let library = feed.library("content", &[0]).await;
    let index = feed.folder.path().join("index");
    feed.versions[1]
        .write(std::fs::File::create(&index).unwrap())
        .unwrap();
    library.want("NEXT", &index).unwrap();
    let step = feed.steps(&library, 1, &[0])[0];
    feed.fetch(&library, step, &[0], &feed.source(u64::MAX, false))
        .await
        .unwrap();
    let missing = library.missing(&feed.versions[1]).len();
    let collected = library.gc().unwrap();
    assert!(collected.removed > 0, "what only version 0 had is gone");
    assert_eq!(library.missing(&feed.versions[1]).len(), missing);
    assert!(library.references().unwrap().is_empty());
    library.remove_reference("NEXT").unwrap();
    library.gc().unwrap();
    assert!(library.objects().unwrap().is_empty());
}
