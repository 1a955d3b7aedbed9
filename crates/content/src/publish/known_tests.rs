//! What is read again when a folder is published again.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::*;

/// A folder of a few files, and a place for what is known of it.
struct Desk {
    folder: tempfile::TempDir,
    runs: usize,
    indexes: Vec<PathBuf>,
}

impl Desk {
    fn new() -> Self {
        let desk = Desk {
            folder: tempfile::tempdir().unwrap(),
            runs: 0,
            indexes: Vec::new(),
        };
        std::fs::create_dir(desk.path("known")).unwrap();
        desk.tree("tree");
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Ten files of different sizes.
    fn tree(&self, name: &str) {
        std::fs::create_dir_all(self.path(name).join("sub")).unwrap();
        for number in 0..10_u8 {
            let path = self.path(name).join(format!("sub/{number}"));
            std::fs::write(path, vec![number; 100 + usize::from(number)]).unwrap();
        }
    }

    /// So many seconds after the folder's newest file was touched.
    fn after(&self, name: &str, seconds: i64) -> i64 {
        let files = std::fs::read_dir(self.path(name).join("sub")).unwrap();
        let touched = files.map(|file| file.unwrap().metadata().unwrap().ctime());
        touched.max().unwrap() + seconds
    }

    /// Publishes long after the last change; says how many files were read and whether there was a note.
    fn publish(&mut self, name: &str) -> (u64, bool) {
        let now_s = self.after(name, 60);
        let published = self.publish_at(name, now_s, false).unwrap();
        (published.read_files, published.note.is_some())
    }

    fn publish_at(&mut self, name: &str, now_s: i64, reread: bool) -> Result<Published, PublishError> {
        self.runs += 1;
        let scratch = self.path(&format!("scratch{}", self.runs));
        std::fs::create_dir(&scratch).unwrap();
        let options = PublishOptions {
            level: 1,
            known_files: Some(KnownFiles {
                folder: self.path("known"),
                now_s,
                reread,
            }),
            ..PublishOptions::default()
        };
        let published = publish(
            &self.path(name),
            &scratch,
            &self.path("targets"),
            &self.indexes,
            &options,
            &mut |_| {},
        )?;
        self.indexes.push(published.index_bytes_path.clone());
        Ok(published)
    }

    fn kept(&self) -> Vec<PathBuf> {
        let mut kept: Vec<PathBuf> = std::fs::read_dir(self.path("known"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        kept.sort();
        kept
    }
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}

#[test]
fn only_what_was_touched_is_read_again() {
    let mut desk = Desk::new();
    assert_eq!(desk.publish("tree"), (10, false));
    assert_eq!(desk.publish("tree"), (0, false));
    let tree = desk.path("tree");
    write(&tree.join("sub/3"), "other content");
    write(&tree.join("new"), "a file more");
    std::fs::remove_file(tree.join("sub/4")).unwrap();
    let now_s = desk.after("tree", 60);
    let published = desk.publish_at("tree", now_s, false).unwrap();
    assert_eq!((published.read_files, published.read_bytes), (2, 24));
    assert_eq!(published.files, 10);
    // It is what reading everything gives.
    let all = desk.publish_at("tree", now_s, true).unwrap();
    assert_eq!((all.read_files, all.new_bytes), (10, 0));
    let rows = |published: &Published| {
        PayloadIndex::read_file(&published.index_bytes_path)
            .unwrap()
            .entries
    };
    assert_eq!(rows(&published), rows(&all));
}

#[test]
fn a_change_that_keeps_size_and_time_is_seen() {
    let mut desk = Desk::new();
    desk.publish("tree");
    let path = desk.path("tree/sub/3");
    let before = std::fs::metadata(&path).unwrap().modified().unwrap();
    write(&path, &"x".repeat(103));
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(before).unwrap();
    assert_eq!(desk.publish("tree"), (1, false));
    // Another file of the same name, size and time.
    let twin = desk.path("twin");
    write(&twin, &"y".repeat(103));
    let file = std::fs::File::options().write(true).open(&twin).unwrap();
    file.set_modified(before).unwrap();
    std::fs::rename(&twin, &path).unwrap();
    assert_eq!(desk.publish("tree"), (1, false));
}

#[test]
fn files_touched_shortly_before_are_not_believed() {
    let mut desk = Desk::new();
    let just_now = desk.after("tree", 1);
    for _ in 0..2 {
        assert_eq!(desk.publish_at("tree", just_now, false).unwrap().read_files, 10);
    }
    // Nor those from the future, whatever clock wrote them.
    let before = desk.after("tree", -1_000);
    assert_eq!(desk.publish_at("tree", before, false).unwrap().read_files, 10);
    assert_eq!(desk.publish("tree"), (10, false));
    assert_eq!(desk.publish("tree"), (0, false));
}

#[test]
fn a_damaged_or_foreign_list_is_left_aside_with_a_note() {
    let mut desk = Desk::new();
    desk.publish("tree");
    let kept = desk.kept().remove(0);
    let good = std::fs::read(&kept).unwrap();
    let options = KnownFiles {
        folder: desk.path("known"),
        now_s: 0,
        reread: false,
    };
    let load = || Known::load(&options, &desk.path("tree"));
    let right = load();
    assert_eq!((right.files.len(), &right.note), (10, &None));
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        std::fs::write(&kept, &bytes).unwrap();
        let known = load();
        // Some bits of a frame's header say nothing about what is in it.
        assert!(known.note.is_some() || known.files == right.files, "byte {at}");
    }
    for bytes in [&good[..0], &good[..good.len() / 2], b"something else"] {
        std::fs::write(&kept, bytes).unwrap();
        assert_eq!(desk.publish("tree"), (10, true));
        assert_eq!(desk.publish("tree"), (0, false));
    }
    // That of another folder, under this one's name.
    desk.tree("other");
    desk.publish("other");
    let other = desk.kept().into_iter().find(|path| *path != kept).unwrap();
    std::fs::copy(other, &kept).unwrap();
    assert_eq!(desk.publish("tree"), (10, true));
}

#[test]
fn a_list_that_lied_is_forgotten() {
    let mut desk = Desk::new();
    desk.publish("tree");
    // As if a file had changed without a trace, to content that no pack has.
    let kept = desk.kept().remove(0);
    let text = zstd::stream::decode_all(std::fs::File::open(&kept).unwrap()).unwrap();
    let right = ObjectId::of(&[3; 103]).to_string();
    let lie = String::from_utf8(text)
        .unwrap()
        .replace(&right, &ObjectId::of(b"what").to_string());
    std::fs::write(&kept, zstd::stream::encode_all(lie.as_bytes(), 1).unwrap()).unwrap();
    let now_s = desk.after("tree", 60);
    let failure = desk.publish_at("tree", now_s, false).unwrap_err();
    assert!(matches!(failure, PublishError::Changed { .. }), "{failure}");
    assert_eq!(desk.publish("tree"), (10, false));
}

#[test]
fn few_folders_are_remembered() {
    let mut desk = Desk::new();
    for number in 0..20 {
        let name = format!("tree{number}");
        desk.tree(&name);
        let now_s = desk.after(&name, 60 + number);
        desk.publish_at(&name, now_s, false).unwrap();
    }
    assert_eq!(desk.kept().len(), 16);
    assert_eq!(desk.publish("tree19"), (0, false));
    assert_eq!(desk.publish("tree0"), (10, false));
}

#[test]
fn a_place_that_cannot_be_written_costs_a_note() {
    let mut desk = Desk::new();
    std::fs::remove_dir(desk.path("known")).unwrap();
    assert_eq!(desk.publish("tree"), (10, true));
}
