//! Downloads from a folder of packs that fails in every way, and what stays afterwards.

use std::ops::RangeBounds;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

use super::*;
use crate::extract::{extract, verify_tree};
use crate::index::EntryKind;
use crate::library::BlockWriter;
use crate::object::ObjectId;
use crate::publish::{PublishOptions, publish};
use crate::served::Served;

struct Desk {
    folder: tempfile::TempDir,
    index: Arc<PayloadIndex>,
}

impl Desk {
    fn new(seed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("tree");
        std::fs::create_dir_all(tree.join("bin")).unwrap();
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        for name in ["bin/large", "bin/huge", "a", "b", "c"] {
            let length = if name.len() > 1 { 30_000 } else { 500 };
            let mut bytes = vec![0; length];
            random.fill_bytes(&mut bytes);
            std::fs::write(tree.join(name), bytes).unwrap();
        }
        std::fs::write(tree.join("zero"), "").unwrap();
        let scratch = folder.path().join("scratch");
        std::fs::create_dir(&scratch).unwrap();
        let options = PublishOptions {
            level: 1,
            block_bytes: 4096,
            ..PublishOptions::default()
        };
        let published = publish(
            &tree,
            &scratch,
            &folder.path().join("targets"),
            &[],
            &options,
            &mut |_| {},
        )
        .unwrap();
        let index = Arc::new(PayloadIndex::read_file(&published.index_bytes_path).unwrap());
        Desk { folder, index }
    }

    fn library(&self) -> Arc<Library> {
        Arc::new(Library::open(&self.folder.path().join("content"), 0).unwrap())
    }

    fn source(&self, budget: u64, flip: bool) -> Arc<Served> {
        let targets = self.folder.path().join("targets");
        Served::new(targets, budget, flip)
    }

    async fn download(&self, source: &Arc<Served>) -> Result<(), DownloadError> {
        let library = self.library();
        let plan = plan(&self.index, &library);
        execute(
            self.index.clone(),
            plan,
            library,
            source.clone(),
            Arc::new(|_| {}),
            &CancellationToken::new(),
        )
        .await
    }
}

#[tokio::test]
async fn downloads_and_extracts_what_was_published() {
    let desk = Desk::new(1);
    let source = desk.source(u64::MAX, false);
    desk.download(&source).await.unwrap();
    let library = desk.library();
    assert!(library.missing(&desk.index).is_empty());
    assert_eq!(plan(&desk.index, &library).bytes, 0);
    // Large ones that were put together from parts, too.
    for (object, ..) in desk.index.objects() {
        let mode = std::fs::metadata(library.object_path(&object)).unwrap().mode();
        assert_eq!(mode & 0o777, 0o444, "{object}");
    }
    let staging = desk.folder.path().join("staging");
    extract(&desk.index, &library, &staging, &|| false).unwrap();
    assert_eq!(verify_tree(&desk.index, &staging).unwrap(), []);
    assert_eq!(
        std::fs::read(staging.join("bin/huge")).unwrap(),
        std::fs::read(desk.folder.path().join("tree/bin/huge")).unwrap()
    );
    // What was changed, added or put in the way is found and mended.
    std::fs::write(staging.join("a"), "changed").unwrap();
    std::fs::write(staging.join("added"), "x").unwrap();
    std::fs::remove_dir_all(staging.join("bin")).unwrap();
    std::os::unix::fs::symlink("/tmp", staging.join("bin")).unwrap();
    let problems = verify_tree(&desk.index, &staging).unwrap();
    assert!(problems.len() >= 3, "{problems:?}");
    extract(&desk.index, &library, &staging, &|| false).unwrap();
    assert_eq!(verify_tree(&desk.index, &staging).unwrap(), []);
}

#[tokio::test]
async fn a_download_cut_at_any_point_resumes_without_fetching_twice() {
    for seed in 0..40 {
        let desk = Desk::new(seed);
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut sent = 0;
        let mut rounds = 0;
        loop {
            let source = desk.source(random.next_u64() % 20_000 + 5_000, false);
            let result = desk.download(&source).await;
            sent += source.sent.load(Ordering::Relaxed);
            rounds += 1;
            if result.is_ok() {
                break;
            }
            assert!(rounds < 100, "seed {seed}");
        }
        // Each interruption loses at most the block under way of each of the ranges.
        let lost = sent - desk.index.download_bytes();
        assert!(
            lost <= rounds * 4200 * lanes::LANES_MAX as u64,
            "seed {seed}: {lost} bytes fetched again in {rounds} rounds"
        );
        assert_eq!(
            desk.library().verify(&mut |_| {}).unwrap().damaged,
            [],
            "seed {seed}"
        );
    }
}

#[tokio::test]
async fn tampered_content_is_refused_and_what_was_good_stays() {
    let desk = Desk::new(7);
    let error = desk.download(&desk.source(u64::MAX, true)).await.unwrap_err();
    assert!(matches!(error, DownloadError::Content { .. }), "{error}");
    desk.download(&desk.source(u64::MAX, false)).await.unwrap();
    assert!(desk.library().missing(&desk.index).is_empty());
}

/// Downloads these files from a pack, or by an index, that was changed after it was published.
async fn download_changed(
    files: &[&[u8]],
    block_bytes: usize,
    change: impl FnOnce(&mut [u8], &mut PayloadIndex),
) -> (Result<(), DownloadError>, Arc<Library>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let (tree, targets) = (folder.path().join("tree"), folder.path().join("targets"));
    std::fs::create_dir(&tree).unwrap();
    for (number, content) in files.iter().enumerate() {
        std::fs::write(tree.join(number.to_string()), content).unwrap();
    }
    let options = PublishOptions {
        block_bytes,
        ..PublishOptions::default()
    };
    let scratch = folder.path().join("scratch");
    std::fs::create_dir(&scratch).unwrap();
    let published = publish(&tree, &scratch, &targets, &[], &options, &mut |_| {}).unwrap();
    let mut index = PayloadIndex::read_file(&published.index_bytes_path).unwrap();
    let path = targets.join(index.packs[0].stored_path());
    let mut pack = std::fs::read(&path).unwrap();
    change(&mut pack, &mut index);
    std::fs::write(&path, pack).unwrap();
    let library = Arc::new(Library::open(&folder.path().join("content"), 0).unwrap());
    let (index, source) = (Arc::new(index), Served::new(targets, u64::MAX, false));
    let (plan, never) = (plan(&index, &library), CancellationToken::new());
    let progress = Arc::new(|_| {});
    let ended = execute(index, plan, library.clone(), source, progress, &never).await;
    (ended, library, folder)
}

fn random(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    ChaCha8Rng::seed_from_u64(length as u64).fill_bytes(&mut bytes);
    bytes
}

fn flip_the_last_byte(pack: &mut [u8], _index: &mut PayloadIndex) {
    *pack.last_mut().unwrap() ^= 1;
}

fn is_tampered(ended: &Result<(), DownloadError>) -> bool {
    let told = ended.as_ref().unwrap_err().to_string();
    told.contains("block at ") && told.contains("expected SHA-256")
}

#[tokio::test]
async fn a_block_is_refused_for_what_is_wrong_with_it_whether_it_compressed_or_not() {
    for content in [random(100_000), b"compresses ".repeat(10_000)] {
        let (ended, library, _folder) = download_changed(&[&content], 1 << 20, flip_the_last_byte).await;
        assert!(is_tampered(&ended), "{ended:?}");
        assert!(!library.has(&ObjectId::of(&content)));
        let other = |_: &mut [u8], index: &mut PayloadIndex| match &mut index.entries[0].kind {
            EntryKind::File { object, .. } => *object = ObjectId::of(b"other"),
            other => panic!("{other:?}"),
        };
        let (ended, library, _folder) = download_changed(&[&content], 1 << 20, other).await;
        let told = ended.unwrap_err().to_string();
        assert!(told.contains("put together from signed blocks"), "{told}");
        assert!(!library.has(&ObjectId::of(b"other")));
    }
}

#[tokio::test]
async fn objects_vouch_for_a_block_that_did_not_compress_and_for_no_other() {
    let wrong_block =
        |_: &mut [u8], index: &mut PayloadIndex| index.blocks[0].sha256 = ObjectId::of(b"other");
    let stored = random(100_000);
    let (ended, library, _folder) = download_changed(&[&stored], 1 << 20, wrong_block).await;
    ended.unwrap();
    assert!(library.has(&ObjectId::of(&stored)));
    let compressed = b"compresses ".repeat(10_000);
    let (ended, ..) = download_changed(&[&compressed], 1 << 20, wrong_block).await;
    assert!(is_tampered(&ended), "{ended:?}");
}

#[tokio::test]
async fn a_wrong_part_of_a_large_object_is_found_at_once_and_the_others_stay() {
    let content = random(10_000);
    let (ended, _library, folder) = download_changed(&[&content], 4096, flip_the_last_byte).await;
    assert!(is_tampered(&ended), "{ended:?}");
    let partial = folder
        .path()
        .join("content/partial")
        .join(ObjectId::of(&content).to_string());
    let done = std::fs::read_to_string(partial.with_extension("done")).unwrap();
    assert!(done.lines().any(|line| line == "0 4096"), "{done}");
    assert_eq!(std::fs::read(partial).unwrap()[..4096], content[..4096]);
}

#[tokio::test]
async fn what_came_before_a_wrong_object_of_the_same_block_stays() {
    let (first, second) = (random(3000), random(3001));
    let (ended, library, _folder) = download_changed(&[&first, &second], 1 << 20, flip_the_last_byte).await;
    assert!(is_tampered(&ended), "{ended:?}");
    assert!(library.has(&ObjectId::of(&first)));
    assert!(!library.has(&ObjectId::of(&second)));
}

/// Sends what another one does and then neither more nor an end.
struct Stalling(Arc<Served>);

impl RangeSource for Stalling {
    fn fetch<'a>(
        &'a self,
        pack: &'a Pack,
        range: Range<u64>,
    ) -> BoxFuture<'a, Result<BoxStream<'static, Result<Bytes, SourceError>>, SourceError>> {
        Box::pin(async move {
            let body = self.0.fetch(pack, range).await?;
            Ok(body.chain(futures_util::stream::pending()).boxed())
        })
    }
}

#[tokio::test]
async fn a_writer_that_fails_stops_a_download_on_which_nothing_comes() {
    let desk = Desk::new(7);
    let library = desk.library();
    // One block and a half, of which the first is wrong.
    let source = Arc::new(Stalling(desk.source(6_500, true)));
    let never = CancellationToken::new();
    let downloading = execute(
        desk.index.clone(),
        plan(&desk.index, &library),
        library,
        source,
        Arc::new(|_| {}),
        &never,
    );
    let ended = tokio::time::timeout(Duration::from_secs(60), downloading).await;
    let error = ended.expect("it goes on waiting").unwrap_err();
    assert!(matches!(error, DownloadError::Content { .. }), "{error}");
}

#[tokio::test]
async fn a_flush_under_way_when_the_last_block_came_is_not_forgotten() {
    let desk = Desk::new(1);
    let mut flushing = Flushing::default();
    let (release, held) = std::sync::mpsc::channel::<()>();
    flushing.begin(move || {
        held.recv().unwrap();
        Err(WriteError::Malformed {
            offset: 0,
            raw_length: 0,
        })
    });
    // What waits for it is dropped, as when fetching ends first.
    let waiting = tokio::time::timeout(Duration::ZERO, flushing.end(&desk.index)).await;
    assert!(waiting.is_err());
    release.send(()).unwrap();
    let ended = flushing.end(&desk.index).await;
    assert!(matches!(ended, Err(Stop::Failed(DownloadError::Content { .. }))));
    assert!(flushing.end(&desk.index).await.is_ok());
}

#[tokio::test]
async fn a_journal_without_its_bytes_vouches_for_nothing() {
    let desk = Desk::new(3);
    let source = desk.source(u64::MAX, false);
    desk.download(&source).await.unwrap();
    let library = desk.library();
    let partial = desk.folder.path().join("content/partial");
    // As a crash between two removals leaves them: the whole object is vouched for, and nothing of it is there.
    for (object, _, extents) in desk.index.objects() {
        if extents.len() > 1 {
            let mut at = 0;
            let mut lines = String::new();
            for extent in extents {
                lines.push_str(&format!("{at} {}\n", extent.length));
                at += u64::from(extent.length);
            }
            std::fs::write(partial.join(format!("{object}.done")), lines).unwrap();
            std::fs::remove_file(library.object_path(&object)).unwrap();
        }
    }
    assert!(!library.missing(&desk.index).is_empty());
    let again = desk.source(u64::MAX, false);
    desk.download(&again).await.unwrap();
    assert!(desk.library().missing(&desk.index).is_empty());
    assert_eq!(std::fs::read_dir(&partial).unwrap().count(), 0);
}

#[tokio::test]
async fn what_a_crash_left_on_its_way_is_garbage_once_nobody_writes() {
    let desk = Desk::new(4);
    let library = desk.library();
    let left = |object: &ObjectId| {
        let path = library.object_path(object).with_extension("1.new");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, vec![0x55; 3_000_000]).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o444)).unwrap();
        path
    };
    let objects: Vec<ObjectId> = desk.index.objects().map(|(object, ..)| object).collect();
    let all: Vec<PathBuf> = objects.iter().map(left).collect();
    assert!(library.objects().unwrap().is_empty(), "nobody sees it");
    // The first writer has the same names, and is not in the way of what it finds there.
    desk.download(&desk.source(u64::MAX, false)).await.unwrap();
    assert!(library.missing(&desk.index).is_empty());
    assert!(library.verify(&mut |_| {}).unwrap().damaged.is_empty());
    library
        .want("PKG", &desk.folder.path().join("scratch/index"))
        .unwrap();
    left(&objects[0]);
    let writer = BlockWriter::new(library.clone(), &desk.index).unwrap();
    library.gc().unwrap();
    assert!(all[0].exists(), "somebody is about to move it");
    drop(writer);
    library.gc().unwrap();
    assert!(all.iter().all(|path| !path.exists()));
    assert!(library.missing(&desk.index).is_empty());
}

#[tokio::test]
async fn what_a_crash_left_on_its_way_goes_when_the_library_is_opened() {
    let desk = Desk::new(4);
    let library = desk.library();
    let incoming = desk.folder.path().join("content/incoming");
    let writer = BlockWriter::new(library.clone(), &desk.index).unwrap();
    take_blocks_of(&desk, &writer, ..);
    // As after a crash: nobody removes what is on its way.
    std::mem::forget(writer);
    drop(library);
    let new = |folder: &Path| {
        let all = std::fs::read_dir(folder.join("objects")).unwrap();
        let files = all.flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap());
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(".new")).count()
    };
    let content = desk.folder.path().join("content");
    assert!(new(&content) >= 3);
    assert!(incoming.exists());
    // Objects lay there before.
    std::fs::write(incoming.join("left"), b"left").unwrap();
    let library = desk.library();
    library.clear_after_crash().unwrap();
    assert_eq!(new(&content), 0);
    assert!(!incoming.exists());
    desk.download(&desk.source(u64::MAX, false)).await.unwrap();
    assert!(library.missing(&desk.index).is_empty());
    assert!(!incoming.exists(), "nobody writes");
}

/// Hands blocks of the pack to a writer.
fn take_blocks_of(desk: &Desk, writer: &BlockWriter, numbers: impl RangeBounds<usize>) {
    let pack = desk
        .folder
        .path()
        .join("targets")
        .join(desk.index.packs[0].stored_path());
    let pack = std::fs::read(pack).unwrap();
    let mut scratch = Scratch::default();
    for (number, block) in desk.index.blocks.iter().enumerate() {
        let bytes = &pack[block.offset as usize..][..block.length as usize];
        if numbers.contains(&number) {
            writer.take(number as u32, bytes, &mut scratch).unwrap();
        }
    }
}

#[test]
fn two_who_write_the_same_objects_are_not_in_each_others_way() {
    let begun = |seed| {
        let desk = Desk::new(seed);
        let library = desk.library();
        let writer = || BlockWriter::new(library.clone(), &desk.index).unwrap();
        let (first, second) = (writer(), writer());
        (desk, library, first, second)
    };
    let is_whole = |desk: &Desk, library: &Library| {
        assert_eq!(library.missing(&desk.index), []);
        assert_eq!(library.verify(&mut |_| {}).unwrap().damaged, []);
    };
    let half = |desk: &Desk| desk.index.blocks.len() / 2;
    // One gives up what the other one has as well.
    let (desk, library, first, second) = begun(1);
    take_blocks_of(&desk, &first, ..);
    take_blocks_of(&desk, &second, ..);
    second.discard();
    first.flush().unwrap();
    is_whole(&desk, &library);
    // One begins, the other one does all, the first goes on.
    let (desk, library, first, second) = begun(2);
    take_blocks_of(&desk, &first, ..half(&desk));
    take_blocks_of(&desk, &second, ..);
    second.flush().unwrap();
    is_whole(&desk, &library);
    first.flush().unwrap();
    take_blocks_of(&desk, &first, half(&desk)..);
    first.flush().unwrap();
    is_whole(&desk, &library);
    let partial = desk.folder.path().join("content/partial");
    assert_eq!(std::fs::read_dir(partial).unwrap().count(), 0);
    // Each does a part, in turns.
    let (desk, library, first, second) = begun(3);
    for number in 0..desk.index.blocks.len() {
        for writer in [&first, &second] {
            take_blocks_of(&desk, writer, number..=number);
            writer.flush().unwrap();
        }
    }
    is_whole(&desk, &library);
}

#[tokio::test]
async fn objects_that_were_removed_with_their_folder_are_fetched_again_by_a_library_that_is_open() {
    let desk = Desk::new(4);
    desk.download(&desk.source(u64::MAX, false)).await.unwrap();
    let library = desk.library();
    std::fs::remove_dir_all(desk.folder.path().join("content/objects")).unwrap();
    let again = plan(&desk.index, &library);
    let (source, never) = (desk.source(u64::MAX, false), CancellationToken::new());
    let progress = Arc::new(|_| {});
    execute(
        desk.index.clone(),
        again,
        library.clone(),
        source,
        progress,
        &never,
    )
    .await
    .unwrap();
    assert!(library.missing(&desk.index).is_empty());
}

#[tokio::test]
async fn garbage_collection_keeps_what_is_referred_to() {
    let desk = Desk::new(9);
    desk.download(&desk.source(u64::MAX, false)).await.unwrap();
    let library = desk.library();
    library
        .add_reference("PKG", &desk.folder.path().join("scratch/index"))
        .unwrap();
    assert!(
        library
            .add_reference("../PKG", &desk.folder.path().join("scratch/index"))
            .is_err()
    );
    assert_eq!(library.gc().unwrap().removed, 0);
    let stats = library.stats().unwrap();
    assert_eq!(
        (stats.objects, stats.references, stats.stored_bytes),
        (5, 1, desk.index.bytes)
    );
    let object = library.missing(&PayloadIndex::default());
    assert!(object.is_empty());
    // Damage is found, quarantined and counts as missing.
    let (victim, ..) = desk.index.objects().next().unwrap();
    let path = library.object_path(&victim);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "damage").unwrap();
    assert_eq!(library.verify(&mut |_| {}).unwrap().damaged, [victim]);
    assert_eq!(library.missing(&desk.index), [victim]);
    desk.download(&desk.source(u64::MAX, false)).await.unwrap();
    library.remove_reference("PKG").unwrap();
    assert_eq!(library.gc().unwrap().removed, 5);
}
