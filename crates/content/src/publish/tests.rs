//! Publishing real folders and hand-made archives.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::*;

struct Desk {
    folder: tempfile::TempDir,
    runs: usize,
}

impl Desk {
    fn new() -> Self {
        Desk {
            folder: tempfile::tempdir().unwrap(),
            runs: 0,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn publish(
        &mut self,
        source: &Path,
        older: &[PathBuf],
        threads: usize,
    ) -> Result<Published, PublishError> {
        self.runs += 1;
        let scratch = self.path(&format!("scratch{}", self.runs));
        std::fs::create_dir(&scratch).unwrap();
        let options = PublishOptions {
            level: 3,
            block_bytes: 4096,
            threads,
            entries_max: 50,
            ..PublishOptions::default()
        };
        publish(
            source,
            &scratch,
            &self.path("targets"),
            older,
            &options,
            &mut |_| {},
        )
    }

    /// A small tree; `salt` changes one of its files.
    fn tree(&self, name: &str, salt: &str) -> PathBuf {
        let root = self.path(name);
        std::fs::create_dir_all(root.join("lib/deep")).unwrap();
        std::fs::create_dir(root.join("empty")).unwrap();
        std::fs::write(
            root.join("lib/big.bin"),
            (0..20_000_u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>(),
        )
        .unwrap();
        std::fs::write(root.join("lib/deep/a.txt"), format!("text {salt}")).unwrap();
        std::fs::write(root.join("lib/deep/same.txt"), "same").unwrap();
        std::fs::write(root.join("zero"), "").unwrap();
        std::fs::write(root.join("run.sh"), "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(root.join("run.sh"), std::fs::Permissions::from_mode(0o755)).unwrap();
        symlink("lib/deep/a.txt", root.join("link")).unwrap();
        root
    }
}

#[test]
fn the_same_tree_gives_the_same_bytes() {
    let mut desk = Desk::new();
    let tree = desk.tree("tree", "one");
    let first = desk.publish(&tree, &[], 1).unwrap();
    assert_eq!(
        (
            first.files,
            first.executables.iter().map(String::as_str).collect::<Vec<_>>()
        ),
        (5, vec!["run.sh"])
    );
    let second = desk.publish(&tree, &[], 4).unwrap();
    assert_eq!(
        (first.index_sha256, &first.packs),
        (second.index_sha256, &second.packs)
    );
    // With its own earlier publication known, nothing new is stored and the index is the same.
    let third = desk
        .publish(&tree, std::slice::from_ref(&first.index_bytes_path), 2)
        .unwrap();
    assert_eq!((third.index_sha256, third.new_bytes), (first.index_sha256, 0));
    // As archives of every kind.
    let tar = desk.path("tree.tar");
    let mut builder = tar::Builder::new(std::fs::File::create(&tar).unwrap());
    builder.follow_symlinks(false);
    builder.append_dir_all(".", &tree).unwrap();
    builder.finish().unwrap();
    let bytes = std::fs::read(&tar).unwrap();
    std::fs::write(
        desk.path("tree.tar.zst"),
        zstd::bulk::compress(&bytes, 1).unwrap(),
    )
    .unwrap();
    let mut gz = flate2::write::GzEncoder::new(
        std::fs::File::create(desk.path("tree.tar.gz")).unwrap(),
        flate2::Compression::fast(),
    );
    std::io::Write::write_all(&mut gz, &bytes).unwrap();
    gz.finish().unwrap();
    for name in ["tree.tar", "tree.tar.zst", "tree.tar.gz"] {
        let source = desk.path(name);
        assert_eq!(
            desk.publish(&source, &[], 2).unwrap().index_sha256,
            first.index_sha256,
            "{name}"
        );
    }
}

#[test]
fn the_next_version_stores_only_what_is_new() {
    let mut desk = Desk::new();
    let (one, two) = (desk.tree("one", "one"), desk.tree("two", "two"));
    let first = desk.publish(&one, &[], 2).unwrap();
    let second = desk
        .publish(&two, std::slice::from_ref(&first.index_bytes_path), 2)
        .unwrap();
    assert!(
        second.new_bytes > 0 && second.new_bytes < 100,
        "{}",
        second.new_bytes
    );
    assert_eq!(second.all_packs.len(), 2);
    let index = PayloadIndex::read_file(&second.index_bytes_path).unwrap();
    assert_eq!((index.files, index.bytes), (second.files, second.bytes));
}

#[test]
fn hostile_folders_are_refused_with_the_entry() {
    let mut desk = Desk::new();
    let mut refused = |name: &str, make: &dyn Fn(&Path), part: &str| {
        let root = desk.path(name);
        std::fs::create_dir(&root).unwrap();
        make(&root);
        let error = desk.publish(&root, &[], 1).unwrap_err();
        let text = format!(
            "{error}: {}",
            std::error::Error::source(&error).map_or(String::new(), |s| s.to_string())
        );
        assert!(text.contains(part), "{text}");
    };
    refused(
        "out",
        &|root| symlink("../../etc/passwd", root.join("l")).unwrap(),
        "out of the tree",
    );
    refused(
        "absolute",
        &|root| symlink("/etc/passwd", root.join("l")).unwrap(),
        "absolute",
    );
    refused(
        "case",
        &|root| {
            ["A", "a"]
                .iter()
                .for_each(|n| std::fs::write(root.join(n), "").unwrap())
        },
        "upper and lower",
    );
    refused(
        "socket",
        &|root| drop(std::os::unix::net::UnixListener::bind(root.join("s")).unwrap()),
        "special file",
    );
    refused(
        "many",
        &|root| (0..51).for_each(|n| std::fs::write(root.join(n.to_string()), "").unwrap()),
        "at most 50",
    );
    refused(
        "odd",
        &|root| std::fs::write(root.join("a\\b"), "").unwrap(),
        "backslash",
    );
}

fn tar_with(entries: &[(&str, tar::EntryType, &str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, kind, link, data) in entries {
        let mut header = tar::Header::new_ustar();
        // Past the checks of the library: hostile archives do not use it.
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(*kind);
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append(&header, *data).unwrap();
    }
    builder.into_inner().unwrap()
}

/// Two files of names of equal length, the second renamed to the first by hand.
fn zip_with_a_name_twice() -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
    for name in ["same.txt", "twin.txt"] {
        writer
            .start_file(name, zip::write::SimpleFileOptions::default())
            .unwrap();
        io::Write::write_all(&mut writer, name.as_bytes()).unwrap();
    }
    let mut bytes = writer.finish().unwrap().into_inner();
    for at in 0..bytes.len() - 8 {
        if bytes[at..].starts_with(b"twin.txt") && at > 0 && bytes[..at].ends_with(b"\0\0") {
            bytes[at..at + 8].copy_from_slice(b"same.txt");
        }
    }
    // The names in the directory follow its fixed part, whose last four bytes are an offset.
    let directory = bytes
        .windows(4)
        .rposition(|window| window == b"PK\x01\x02")
        .unwrap();
    bytes[directory + 46..directory + 54].copy_from_slice(b"same.txt");
    bytes
}

#[test]
fn hostile_archives_are_refused_with_the_entry() {
    use tar::EntryType as T;
    let mut desk = Desk::new();
    let mut refused = |name: &str, bytes: &[u8], part: &str| {
        let path = desk.path(name);
        std::fs::write(&path, bytes).unwrap();
        let error = desk.publish(&path, &[], 1).unwrap_err();
        let text = format!(
            "{error}: {}",
            std::error::Error::source(&error).map_or(String::new(), |s| s.to_string())
        );
        assert!(text.contains(part), "{text}");
    };
    refused("1.tar", &tar_with(&[("/abs", T::Regular, "", b"x")]), "absolute");
    refused(
        "2.tar",
        &tar_with(&[("a/../../b", T::Regular, "", b"x")]),
        "leave the tree",
    );
    refused("3.tar", &tar_with(&[("dev", T::Char, "", b"")]), "special file");
    refused("4.tar", &tar_with(&[("fifo", T::Fifo, "", b"")]), "special file");
    refused(
        "5.tar",
        &tar_with(&[("a", T::Regular, "", b"x"), ("a", T::Regular, "", b"y")]),
        "twice",
    );
    refused(
        "6.tar",
        &tar_with(&[("a", T::Link, "/etc/passwd", b"")]),
        "no earlier file",
    );
    refused(
        "7.tar",
        &tar_with(&[("l", T::Symlink, "..", b"")]),
        "out of the tree",
    );
    refused(
        "8.tar",
        &tar_with(&[("l", T::Symlink, "d", b""), ("l/x", T::Regular, "", b"x")]),
        "no folder",
    );
    let good = tar_with(&[("a", T::Regular, "", &[7; 5000])]);
    refused("cut.tar", &good[..good.len() - 1024], "cut off");
    refused("twice.zip", &zip_with_a_name_twice(), "more than once");
    refused("9.tar", &good[..2000], "read the archive");
    refused("plain", b"just a text", "neither a folder");
    refused("broken.zip", b"PK\x03\x04 and then nothing", "read the archive");
}

#[test]
fn a_bomb_is_stopped_while_it_unpacks() {
    let mut desk = Desk::new();
    let mut header = tar::Header::new_ustar();
    header.set_path("zeros").unwrap();
    header.set_size(1 << 36);
    header.set_mode(0o644);
    header.set_cksum();
    let path = desk.path("bomb.tar.zst");
    let mut encoder = zstd::stream::write::Encoder::new(std::fs::File::create(&path).unwrap(), 1).unwrap();
    std::io::Write::write_all(&mut encoder, header.as_bytes()).unwrap();
    std::io::copy(&mut std::io::repeat(0).take(64 << 20), &mut encoder).unwrap();
    encoder.finish().unwrap();
    desk.runs += 1;
    let scratch = desk.path("scratch");
    std::fs::create_dir(&scratch).unwrap();
    let options = PublishOptions {
        bytes_max: 1 << 20,
        ..PublishOptions::default()
    };
    let error = publish(&path, &scratch, &desk.path("targets"), &[], &options, &mut |_| {}).unwrap_err();
    assert!(matches!(error, PublishError::TooLarge { .. }), "{error}");
}

#[test]
fn a_name_that_never_ends_is_stopped() {
    let mut desk = Desk::new();
    for kind in [
        tar::EntryType::GNULongName,
        tar::EntryType::XHeader,
        tar::EntryType::GNULongLink,
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_path("././@LongLink").unwrap();
        header.set_entry_type(kind);
        header.set_size(1 << 36);
        header.set_mode(0o644);
        header.set_cksum();
        let path = desk.path(&format!("name{}.tar.zst", kind.as_byte()));
        let mut encoder =
            zstd::stream::write::Encoder::new(std::fs::File::create(&path).unwrap(), 1).unwrap();
        std::io::Write::write_all(&mut encoder, header.as_bytes()).unwrap();
        std::io::copy(&mut std::io::repeat(b'a').take(64 << 20), &mut encoder).unwrap();
        encoder.finish().unwrap();
        let error = desk.publish(&path, &[], 1).unwrap_err();
        let story = format!("{error}: {:?}", std::error::Error::source(&error));
        assert!(story.contains("of headers and names"), "{story}");
    }
}

#[test]
fn a_million_entries_are_refused_at_the_limit() {
    let mut desk = Desk::new();
    let mut header = tar::Header::new_ustar();
    header.set_path("d0000000").unwrap();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_size(0);
    header.set_mode(0o755);
    let path = desk.path("many.tar.zst");
    let mut encoder = zstd::stream::write::Encoder::new(std::fs::File::create(&path).unwrap(), 1).unwrap();
    for number in 0..1_000_000 {
        header.as_mut_bytes()[..8].copy_from_slice(format!("d{number:07}").as_bytes());
        header.set_cksum();
        std::io::Write::write_all(&mut encoder, header.as_bytes()).unwrap();
    }
    encoder.finish().unwrap();
    desk.runs += 1;
    let scratch = desk.path("scratch");
    std::fs::create_dir(&scratch).unwrap();
    let options = PublishOptions::default();
    let error = publish(&path, &scratch, &desk.path("targets"), &[], &options, &mut |_| {}).unwrap_err();
    let story = format!("{error}: {:?}", std::error::Error::source(&error));
    assert!(
        story.contains("d0400000") && story.contains("at most 400000 entries"),
        "{story}"
    );
}
