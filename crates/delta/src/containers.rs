//! Where the compressed streams of a file are: in zip and gzip archives, in xz files, and in tar and ar archives (Debian
//! packages are such) of all these. Only headers are looked at; what they say is checked when a stream is unpacked.

use std::io::{self, Read};

use crate::archive::{PACKED_MAX, PLAIN_MAX};
use crate::layout::Coding;
use crate::lzma2::DICTIONARY_BITS_MAX;
use crate::source::Input;
use crate::varint::Reader;

/// Most streams of one file, and most members of a tar or ar archive.
const STREAMS_MAX: usize = 200_000;
/// Most members of a gzip file.
const MEMBERS_MAX: usize = 1024;
/// Archives inside archives inside archives.
const DEPTH_MAX: usize = 3;
/// Longest index of an xz file: a record takes some eight bytes, and there is one for each 24 MiB, usually.
const INDEX_BYTES_MAX: u64 = 1024 * 1024;
/// Bytes that tell what a file is.
const BEGIN_BYTES: usize = 512;

/// A compressed stream found in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub offset: u64,
    /// Compressed.
    pub length: u64,
    pub coding: Coding,
    /// Unpacked, where that is known before: of LZMA2.
    pub plain: u64,
}

/// What holds streams, or files that may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Container {
    Zip,
    Gzip,
    Xz,
    Tar,
    Ar,
}

impl Container {
    fn of(begin: &[u8]) -> Option<Self> {
        match begin {
            [b'P', b'K', 3, 4, ..] => Some(Container::Zip),
            [0x1f, 0x8b, 8, ..] => Some(Container::Gzip),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Container::Xz),
            _ if begin.starts_with(b"!<arch>\n") => Some(Container::Ar),
            _ if is_tar(begin) => Some(Container::Tar),
            _ => None,
        }
    }
}

fn is_tar(head: &[u8]) -> bool {
    head.get(257..262) == Some(b"ustar")
}

/// Whether this is the begin of an archive that may be looked into with nothing old beside it.
pub fn is_archive(file: &[u8]) -> bool {
    match Container::of(file) {
        Some(Container::Zip | Container::Gzip | Container::Tar | Container::Ar) => true,
        // Packed as hard as it can be already.
        Some(Container::Xz) | None => false,
    }
}

/// The compressed streams of a file, by offset and apart from each other.
pub(crate) fn streams(file: &Input<'_>) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    for leaf in leaves(file)? {
        let of_leaf = match Container::of(&leaf.begin()?) {
            Some(Container::Zip) => zip(&leaf.all()?),
            Some(Container::Gzip) => gzip(&leaf.all()?),
            Some(Container::Xz) => xz(&leaf)?,
            Some(Container::Tar | Container::Ar) | None => None,
        };
        found.extend(of_leaf.unwrap_or_default().into_iter().map(|stream| Found {
            offset: leaf.offset + stream.offset,
            ..stream
        }));
        if found.len() > STREAMS_MAX {
            found.truncate(STREAMS_MAX);
            break;
        }
    }
    found.sort_unstable_by_key(|stream| stream.offset);
    let mut end = 0;
    found.retain(|stream| {
        let apart = stream.offset >= end && stream.length <= PACKED_MAX;
        if apart {
            end = stream.offset + stream.length;
        }
        apart
    });
    Ok(found)
}

/// The file, or what is in it if it is a tar or ar archive, by offset.
pub(crate) fn leaves<'a>(file: &'a Input<'a>) -> io::Result<Vec<Piece<'a>>> {
    let mut leaves = Vec::new();
    let whole = Piece {
        file,
        offset: 0,
        length: file.length()?,
    };
    collect(whole, 0, &mut leaves)?;
    Ok(leaves)
}

fn collect<'a>(piece: Piece<'a>, depth: usize, leaves: &mut Vec<Piece<'a>>) -> io::Result<()> {
    let members = match Container::of(&piece.begin()?) {
        Some(Container::Tar) if depth < DEPTH_MAX => tar(&piece)?,
        Some(Container::Ar) if depth < DEPTH_MAX => ar(&piece)?,
        _ => {
            leaves.push(piece);
            return Ok(());
        }
    };
    for member in members {
        if leaves.len() >= STREAMS_MAX {
            break;
        }
        collect(member, depth + 1, leaves)?;
    }
    Ok(())
}

/// A file, or a part of one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Piece<'a> {
    file: &'a Input<'a>,
    pub offset: u64,
    pub length: u64,
}

impl<'a> Piece<'a> {
    fn begin(&self) -> io::Result<Vec<u8>> {
        let length = self.length.min(BEGIN_BYTES as u64);
        Ok(self.read(0, length)?.unwrap_or_default())
    }

    /// All of it.
    pub(crate) fn all(&self) -> io::Result<Vec<u8>> {
        Ok(self.read(0, self.length)?.unwrap_or_default())
    }

    /// These bytes, if it has them.
    pub(crate) fn read(&self, at: u64, length: u64) -> io::Result<Option<Vec<u8>>> {
        if at.checked_add(length).is_none_or(|end| end > self.length) {
            return Ok(None);
        }
        let mut bytes = vec![0; length as usize];
        self.file.read(self.offset + at, &mut bytes)?;
        Ok(Some(bytes))
    }

    /// A part of it, if it has that.
    fn part(&self, at: u64, length: u64) -> Option<Self> {
        let inside = at.checked_add(length).is_some_and(|end| end <= self.length);
        inside.then_some(Piece {
            file: self.file,
            offset: self.offset + at,
            length,
        })
    }
}

/// The files of a tar archive (POSIX.1-2017, pax, "ustar Interchange Format").
fn tar<'a>(archive: &Piece<'a>) -> io::Result<Vec<Piece<'a>>> {
    const BLOCK: u64 = 512;
    let (mut at, mut members) = (0, Vec::new());
    while members.len() < STREAMS_MAX {
        let Some(head) = archive.read(at, BLOCK)?.filter(|head| is_tar(head)) else {
            break;
        };
        let size = tar_size(&head[124..136]).and_then(|size| archive.part(at + BLOCK, size));
        let Some(member) = size else { break };
        if matches!(head[156], b'0' | 0) && member.length > 0 {
            members.push(member);
        }
        at += BLOCK + member.length.next_multiple_of(BLOCK);
    }
    Ok(members)
}

/// Octal digits, or, if they do not suffice, a number in binary.
fn tar_size(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        let (high, low) = field.split_last_chunk::<8>()?;
        let fits = high[0] == 0x80 && high[1..].iter().all(|byte| *byte == 0);
        return fits.then(|| u64::from_be_bytes(*low));
    }
    let text = std::str::from_utf8(field).ok()?;
    match text.trim_matches([' ', '\0']) {
        // Some write nothing for what has no content.
        "" => Some(0),
        digits => u64::from_str_radix(digits, 8).ok(),
    }
}

/// The members of an ar archive.
fn ar<'a>(archive: &Piece<'a>) -> io::Result<Vec<Piece<'a>>> {
    const HEAD: u64 = 60;
    let (mut at, mut members) = (8, Vec::new());
    while members.len() < STREAMS_MAX {
        let Some(head) = archive.read(at, HEAD)?.filter(|head| head.ends_with(b"`\n")) else {
            break;
        };
        let size = std::str::from_utf8(&head[48..58]).ok();
        let size = size.and_then(|size| size.trim_end().parse::<u64>().ok());
        let Some(member) = size.and_then(|size| archive.part(at + HEAD, size)) else {
            break;
        };
        if member.length > 0 {
            members.push(member);
        }
        at += HEAD + member.length.next_multiple_of(2);
    }
    Ok(members)
}

/// The blocks of an xz file of one stream, as its index tells them (The .xz File Format 1.2.1, sections 2 to 4). Those
/// that have another filter before LZMA2, or need more memory than a reader gives, are left out.
fn xz(file: &Piece<'_>) -> io::Result<Option<Vec<Found>>> {
    const HEAD: u64 = 12;
    const FOOT: u64 = 12;
    let Some(foot_at) = file.length.checked_sub(FOOT) else {
        return Ok(None);
    };
    let (Some(head), Some(foot)) = (file.read(0, HEAD)?, file.read(foot_at, FOOT)?) else {
        return Ok(None);
    };
    if &foot[10..] != b"YZ" || foot[8..10] != head[6..8] {
        return Ok(None);
    }
    let check = match head[7] {
        0 => 0,
        1 => 4,
        4 => 8,
        10 => 32,
        _ => return Ok(None),
    };
    let index_length = (u32_at(&foot, 4).unwrap_or_default() as u64 + 1) * 4;
    let index = match foot_at.checked_sub(index_length) {
        Some(at) if index_length <= INDEX_BYTES_MAX => file.read(at, index_length)?,
        _ => None,
    };
    let Some(records) = index.as_deref().and_then(xz_records) else {
        return Ok(None);
    };
    let (mut at, mut found) = (HEAD, Vec::new());
    for (unpadded, plain) in records {
        let begin = file.read(at, 1)?.map_or(0, |begin| (u64::from(begin[0]) + 1) * 4);
        let header = file.read(at, begin)?.unwrap_or_default();
        let length = unpadded.checked_sub(begin + check);
        let coding = xz_coding(&header).filter(|_| plain <= PLAIN_MAX);
        if let (Some(coding), Some(length)) = (coding, length)
            && file.part(at + begin, length).is_some()
        {
            found.push(Found {
                offset: at + begin,
                length,
                coding,
                plain,
            });
        }
        let next = unpadded.checked_next_multiple_of(4);
        let Some(next) = next.and_then(|length| at.checked_add(length)) else {
            break;
        };
        at = next;
    }
    Ok(Some(found))
}

/// Lengths of the blocks with header and check, and unpacked.
fn xz_records(index: &[u8]) -> Option<Vec<(u64, u64)>> {
    let mut from = Reader(index);
    if from.byte().ok()? != 0 {
        return None;
    }
    let count = from.number().ok()?;
    // A record takes two bytes at least.
    (0..count.min(index.len() as u64))
        .map(|_| Some((from.number().ok()?, from.number().ok()?)))
        .collect()
}

/// How a block with this header is packed, if that is LZMA2 and nothing else.
fn xz_coding(header: &[u8]) -> Option<Coding> {
    const LZMA2: u64 = 0x21;
    let mut from = Reader(header.get(1..)?);
    let flags = from.byte().ok()?;
    for present in [0x40, 0x80] {
        if flags & present != 0 {
            from.number().ok()?;
        }
    }
    let alone = flags & 3 == 0 && from.number().ok()? == LZMA2 && from.number().ok()? == 1;
    let bits = from.byte().ok()?;
    (alone && bits <= DICTIONARY_BITS_MAX).then_some(Coding::Lzma2 { dictionary: bits })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<usize> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?).into())
}

fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?) as usize)
}

fn deflate(offset: usize, length: usize) -> Found {
    Found {
        offset: offset as u64,
        length: length as u64,
        coding: Coding::Deflate,
        plain: 0,
    }
}

/// The deflate streams that the central directory of a zip archive lists (APPNOTE 6.3.10, section 4.3).
fn zip(file: &[u8]) -> Option<Vec<Found>> {
    const END: usize = 22;
    let from = file.len().checked_sub(END)?;
    let end = (from.saturating_sub(65_535)..=from)
        .rev()
        .find(|at| file[*at..].starts_with(b"PK\x05\x06"))?;
    let (count, mut at) = (u16_at(file, end + 10)?, u32_at(file, end + 16)?);
    // More entries than the field can hold: the directory itself says where it ends.
    let count = if count == 0xffff { STREAMS_MAX } else { count };
    let mut found = Vec::new();
    for _ in 0..count.min(STREAMS_MAX) {
        if !file.get(at..)?.starts_with(b"PK\x01\x02") {
            break;
        }
        let (method, packed, local) = (
            u16_at(file, at + 10)?,
            u32_at(file, at + 20)?,
            u32_at(file, at + 42)?,
        );
        at += 46 + u16_at(file, at + 28)? + u16_at(file, at + 30)? + u16_at(file, at + 32)?;
        if method == 8 && file.get(local..)?.starts_with(b"PK\x03\x04") {
            let data = local + 30 + u16_at(file, local + 26)? + u16_at(file, local + 28)?;
            if data.checked_add(packed)? <= file.len() {
                found.push(deflate(data, packed));
            }
        }
    }
    Some(found)
}

/// The deflate streams of the members of a gzip file (RFC 1952).
fn gzip(file: &[u8]) -> Option<Vec<Found>> {
    const TRAILER: usize = 8;
    let mut found = Vec::new();
    let mut at = 0;
    while at < file.len() && found.len() < MEMBERS_MAX {
        let Some(data) = gzip_data(file, at) else { break };
        let mut decoder = flate2::bufread::DeflateDecoder::new(&file[data..]);
        let plain = io::copy(&mut (&mut decoder).take(PLAIN_MAX + 1), &mut io::sink()).ok()?;
        let packed = decoder.total_in() as usize;
        if plain > PLAIN_MAX {
            break;
        }
        found.push(deflate(data, packed));
        at = data + packed + TRAILER;
    }
    Some(found)
}

fn gzip_data(file: &[u8], at: usize) -> Option<usize> {
    let head = file.get(at..at + 10)?;
    if !head.starts_with(&[0x1f, 0x8b, 8]) {
        return None;
    }
    let (flags, mut data) = (head[3], at + 10);
    if flags & 4 != 0 {
        data += 2 + u16_at(file, data)?;
    }
    for text in [8, 16] {
        if flags & text != 0 {
            data += file.get(data..)?.iter().position(|byte| *byte == 0)? + 1;
        }
    }
    if flags & 2 != 0 {
        data += 2;
    }
    (data < file.len()).then_some(data)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;
    use crate::tests::{gzip, noise, program, round_trip, text};

    fn xz(bytes: &[u8], preset: u32) -> Vec<u8> {
        let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), preset);
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn ar_of(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut archive = b"!<arch>\n".to_vec();
        for (name, bytes) in members {
            let length = bytes.len();
            writeln!(archive, "{name:<16}0           0     0     100644  {length:<10}`").unwrap();
            archive.extend_from_slice(bytes);
            archive.resize(archive.len().next_multiple_of(2), b'\n');
        }
        archive
    }

    fn tar_of(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut archive = Vec::new();
        for (name, bytes) in members {
            let mut head = [0; 512];
            head[..name.len()].copy_from_slice(name.as_bytes());
            write!(&mut head[124..136], "{:011o}", bytes.len()).unwrap();
            head[156] = b'0';
            head[257..263].copy_from_slice(b"ustar\0");
            archive.extend_from_slice(&head);
            archive.extend_from_slice(bytes);
            archive.resize(archive.len().next_multiple_of(512), 0);
        }
        archive.extend_from_slice(&[0; 1024]);
        archive
    }

    /// A package as Debian's tools make it.
    fn package(changed: bool) -> Vec<u8> {
        let content = tar_of(&[
            ("usr/share/text", &text(changed)),
            ("usr/share/noise", &noise(9000, 3)),
        ]);
        ar_of(&[
            ("debian-binary", b"2.0\n"),
            (
                "control.tar.gz",
                &gzip(&tar_of(&[("control", &text(changed)[..5000])]), 9),
            ),
            ("data.tar.xz", &xz(&content, 6)),
        ])
    }

    #[test]
    fn archives_in_archives_are_looked_into() {
        let (old, new) = (package(false), package(true));
        let length = round_trip(&[&old], &[&new]);
        assert!(length * 8 < new.len(), "{length} of {}", new.len());
        let (old, new) = (
            tar_of(&[("a.deb", &old)]),
            tar_of(&[("b", b"other"), ("a.deb", &new)]),
        );
        let in_tar = round_trip(&[&old], &[&new]);
        assert!(
            in_tar < length + 200,
            "{in_tar}, {length} outside of the tar archive"
        );
        // By themselves they are as small as they can be.
        let found = streams(&Input::Bytes(&new)).unwrap();
        assert_eq!(found.len(), 2);
        round_trip(&[], &[&new]);
    }

    #[test]
    fn programs_in_archives_and_beside_them_are_known() {
        let of = |gap: usize| {
            let inner = tar_of(&[("lib/one.so", &program(gap)), ("text", &text(gap > 0)[..3000])]);
            let package = ar_of(&[("data.tar.xz", &xz(&inner, 6))]);
            let zipped = gzip(&program(gap), 6);
            let first = program(gap + 16);
            let archive = [
                ("installer", first.as_slice()),
                ("a.deb", &package),
                ("b.gz", &zipped),
            ];
            tar_of(&[archive.as_slice(), &[("last", &program(gap))]].concat())
        };
        let (old, new) = (of(0), of(64));
        let length = round_trip(&[&old], &[&new]);
        assert!(length * 10 < new.len(), "{length} of {}", new.len());
        round_trip(&[], &[&new]);
        round_trip(&[&old, &program(0)], &[&program(8), &new]);
    }

    #[test]
    fn streams_over_each_other_are_taken_once() {
        let packed = gzip(&text(false), 6);
        let mut archive = packed.clone();
        // Two entries of the directory for the same bytes, which begin with a header of their own.
        let begin = archive.len() as u32;
        archive.splice(0..0, *b"PK\x03\x04");
        let head_length = 30;
        archive.splice(4..4, vec![0; head_length - 4]);
        let directory = archive.len() as u32;
        for _ in 0..2 {
            let mut entry = vec![0; 46];
            entry[..4].copy_from_slice(b"PK\x01\x02");
            entry[10] = 8;
            entry[20..24].copy_from_slice(&begin.to_le_bytes());
            archive.extend_from_slice(&entry);
        }
        let mut end = vec![0; 22];
        end[..4].copy_from_slice(b"PK\x05\x06");
        end[10] = 2;
        end[16..20].copy_from_slice(&directory.to_le_bytes());
        archive.extend_from_slice(&end);
        assert_eq!(zip(&archive).unwrap().len(), 2);
        assert_eq!(streams(&Input::Bytes(&archive)).unwrap().len(), 1);
    }

    #[test]
    fn a_damaged_archive_is_a_file_like_any_other() {
        let (old, new) = (package(false), package(true));
        for at in [8, 60, 70, new.len() / 2, new.len() - 5] {
            let mut damaged = new.clone();
            damaged[at] ^= 0x55;
            round_trip(&[&old], &[&damaged]);
            round_trip(&[&damaged], &[&new]);
            round_trip(&[&old], &[&damaged[..at]]);
        }
    }

    #[test]
    fn sizes_of_large_members_are_binary() {
        assert_eq!(tar_size(b"00000001750\0"), Some(1000));
        assert_eq!(tar_size(b"      1750 \0"), Some(1000));
        assert_eq!(tar_size(b"\x80\0\0\0\0\0\0\x02\0\0\0\0"), Some(1 << 33));
        assert_eq!(
            tar_size(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
            None
        );
        assert_eq!(tar_size(&[0; 12]), Some(0));
        assert_eq!(tar_size(b"9\0\0\0\0\0\0\0\0\0\0\0"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_have_their_streams_inside(
            changes in proptest::collection::vec((0..2_000_usize, any::<u8>()), 0..20),
            from_end in any::<bool>(),
            cut in 0..2_000_usize,
        ) {
            let inner = tar_of(&[("a.xz", &xz(&noise(300, 1), 0)), ("b.gz", &gzip(&noise(300, 2), 6))]);
            let mut bytes = tar_of(&[("d.deb", &ar_of(&[("x.tar", &inner), ("y.xz", &xz(b"some text", 1))]))]);
            let length = bytes.len();
            for (at, value) in changes {
                bytes[if from_end { length - 1 - at } else { at }] = value;
            }
            crate::fuzz::fuzz_containers(&bytes);
            crate::fuzz::fuzz_containers(&bytes[..length - cut]);
            crate::fuzz::fuzz_containers(&bytes[1536..]);
        }
    }
}
