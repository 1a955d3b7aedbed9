//! Writing past the page cache. What is fetched is made durable at once and not read soon, so that the cache only
//! costs: on an ordinary disk a gigabyte is durable three times sooner this way (docs/performance.md). A file system
//! that cannot do it gets ordinary writes.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use super::with_folder;

/// What direct writes are aligned to, in memory and on disk: the largest logical block in use.
pub(super) const ALIGNMENT: usize = 4096;
/// Shorter writes go through the cache, where many of them become one.
const DIRECT_BYTES_MIN: usize = 64 * 1024;

/// Memory that begins where direct writes want it to, kept from one use to the next.
#[derive(Default)]
pub(super) struct Aligned(Vec<u8>);

impl Aligned {
    /// So many bytes, whatever they are; there is room behind them up to the next multiple of the alignment.
    pub(super) fn bytes(&mut self, length: usize) -> &mut [u8] {
        let room = length.next_multiple_of(ALIGNMENT) + ALIGNMENT;
        if self.0.len() < room {
            // Not grown: what was there is of no use, and new memory is zero without being touched.
            self.0 = vec![0; room];
        }
        let start = self.start();
        &mut self.0[start..start + length]
    }

    /// So many of the bytes that were put there.
    pub(super) fn held(&self, length: usize) -> &[u8] {
        &self.0[self.start()..][..length]
    }

    /// The same with zeros up to the next multiple of the alignment.
    fn padded(&mut self, length: usize) -> &[u8] {
        let padded = self.bytes(length.next_multiple_of(ALIGNMENT));
        padded[length..].fill(0);
        padded
    }

    fn start(&self) -> usize {
        self.0.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT)
    }

    /// These bytes as they are if they may be written directly; otherwise held here.
    fn fit<'a>(&'a mut self, bytes: &'a [u8]) -> &'a [u8] {
        let is_fit = bytes.len().is_multiple_of(ALIGNMENT) && bytes.as_ptr().align_offset(ALIGNMENT) == 0;
        if is_fit { bytes } else { self.hold(bytes) }
    }

    /// The bytes, aligned, with zeros up to the next multiple of the alignment.
    fn hold(&mut self, bytes: &[u8]) -> &[u8] {
        self.bytes(bytes.len()).copy_from_slice(bytes);
        self.padded(bytes.len())
    }
}

/// Writes a whole file that nobody changes afterwards, over whatever was left there.
pub(super) fn write_new(path: &Path, bytes: &[u8], aligned: &mut Aligned) -> io::Result<()> {
    if bytes.len() < DIRECT_BYTES_MIN || !write_directly(path, aligned.fit(bytes), bytes.len())? {
        write_cached(path, bytes)?;
    }
    Ok(())
}

/// The same with so many bytes that are held there.
pub(super) fn write_held(path: &Path, memory: &mut Aligned, length: usize) -> io::Result<()> {
    if length < DIRECT_BYTES_MIN || !write_directly(path, memory.padded(length), length)? {
        write_cached(path, memory.held(length))?;
    }
    Ok(())
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options
}

/// Writes a file of so many bytes, with which this begins, unless that cannot be done here.
fn write_directly(path: &Path, padded: &[u8], length: usize) -> io::Result<bool> {
    let Some(file) = open_over(path, || open_direct(&mut options(), path))? else {
        return Ok(false);
    };
    if !unless_unfit(file.write_all_at(padded, 0))? {
        return Ok(false);
    }
    if padded.len() > length {
        file.set_len(length as u64)?;
    }
    protect(&file).map(|()| true)
}

fn write_cached(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = open_over(path, || options().open(path))?;
    file.write_all_at(bytes, 0)?;
    protect(&file)
}

/// Opens a file, or anew where one was left that is protected.
fn open_over<T>(path: &Path, mut open: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    match with_folder(path, &mut open) {
        Err(failure) if failure.kind() == io::ErrorKind::PermissionDenied => {
            // Otherwise it is the folder that may not be written to.
            std::fs::remove_file(path).map_err(|_| failure)?;
            open()
        }
        opened => opened,
    }
}

/// Lets everybody read a file, and nobody change it who opens it from now on.
pub(super) fn protect(file: &File) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(0o444))
}

/// A file that is put together from parts.
pub(super) struct PartialFile {
    direct: Option<File>,
    cached: File,
}

impl PartialFile {
    /// Opens or creates it.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let cached = match with_folder(path, || options.open(path)) {
            Err(failure) if failure.kind() == io::ErrorKind::PermissionDenied => {
                // Protected before a crash that lost what was known of its parts.
                std::fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(|_| failure)?;
                options.open(path)?
            }
            opened => opened?,
        };
        Ok(PartialFile {
            direct: open_direct(&mut options, path)?,
            cached,
        })
    }

    /// Says that it is whole.
    pub(super) fn protect(&self) -> io::Result<()> {
        protect(&self.cached)
    }

    /// Writes a part: whole pages directly where it begins on one, and the rest through the cache. No page is written
    /// both ways, since parts do not overlap.
    pub(super) fn write_at(&self, bytes: &[u8], offset: u64, aligned: &mut Aligned) -> io::Result<()> {
        let pages = bytes.len() - bytes.len() % ALIGNMENT;
        if let Some(direct) = &self.direct
            && offset.is_multiple_of(ALIGNMENT as u64)
            && pages >= DIRECT_BYTES_MIN
            && unless_unfit(direct.write_all_at(aligned.fit(&bytes[..pages]), offset))?
        {
            return self.cached.write_all_at(&bytes[pages..], offset + pages as u64);
        }
        self.cached.write_all_at(bytes, offset)
    }
}

fn open_direct(options: &mut OpenOptions, path: &Path) -> io::Result<Option<File>> {
    let flags = i32::try_from(rustix::fs::OFlags::DIRECT.bits()).unwrap_or_default();
    match options.custom_flags(flags).open(path) {
        Ok(file) => Ok(Some(file)),
        Err(failure) if is_unfit(&failure) => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Whether the write happened; a file system that does not write directly refuses the first.
fn unless_unfit(written: io::Result<()>) -> io::Result<bool> {
    match written {
        Ok(()) => Ok(true),
        Err(failure) if is_unfit(&failure) => Ok(false),
        Err(failure) => Err(failure),
    }
}

fn is_unfit(failure: &io::Error) -> bool {
    matches!(
        failure.kind(),
        io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at * 7 + at / 251) as u8).collect()
    }

    #[test]
    fn files_have_their_exact_length_and_content_on_disk_and_in_memory() {
        for folder in [
            tempfile::tempdir().unwrap(),
            tempfile::tempdir_in("/dev/shm").unwrap(),
        ] {
            let mut aligned = Aligned::default();
            for length in [0, 1, 4096, 65_535, 65_536, 65_537, 300_000, 1 << 20] {
                let path = folder.path().join(length.to_string());
                std::fs::write(&path, bytes(2_000_000)).unwrap();
                write_new(&path, &bytes(length), &mut aligned).unwrap();
                assert_eq!(std::fs::read(&path).unwrap(), bytes(length), "{length}");
                assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o444);
            }
        }
    }

    #[test]
    fn what_was_left_protected_makes_room_and_a_folder_that_may_not_be_written_to_is_told_from_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("left");
        std::fs::write(&path, b"left").unwrap();
        // As it is for whoever may not do everything.
        let refused = || Err(io::Error::from(io::ErrorKind::PermissionDenied));
        let unless_there = || if path.exists() { refused() } else { Ok(()) };
        open_over(&path, unless_there).unwrap();
        assert!(!path.exists());
        let failure = open_over(&path, refused).unwrap_err();
        assert_eq!(failure.kind(), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn a_protected_partial_file_is_gone_on_with() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("partial");
        let file = PartialFile::open(&path).unwrap();
        file.write_at(b"first", 0, &mut Aligned::default()).unwrap();
        file.protect().unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o444);
        let file = PartialFile::open(&path).unwrap();
        file.write_at(b"second", 5, &mut Aligned::default()).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"firstsecond");
    }

    #[test]
    fn what_is_fit_for_a_direct_write_is_written_from_where_it_is() {
        let (mut memory, mut aligned) = (Aligned::default(), Aligned::default());
        let own = memory.bytes(3 * ALIGNMENT + 1);
        own.copy_from_slice(&bytes(3 * ALIGNMENT + 1));
        for (part, is_fit) in [
            (&own[..3 * ALIGNMENT], true),
            (&own[ALIGNMENT..2 * ALIGNMENT], true),
            (&own[1..=ALIGNMENT], false),
            (&own[..ALIGNMENT + 1], false),
        ] {
            let written = aligned.fit(part);
            assert_eq!(std::ptr::eq(written.as_ptr(), part.as_ptr()), is_fit);
            assert_eq!(written.as_ptr().align_offset(ALIGNMENT), 0);
            assert!(written.len().is_multiple_of(ALIGNMENT));
            assert_eq!(written[..part.len()], *part);
        }
        let path = tempfile::tempdir().unwrap();
        let path = path.path().join("large");
        let large = memory.bytes(1 << 20);
        large.copy_from_slice(&bytes(1 << 20));
        write_new(&path, large, &mut aligned).unwrap();
        assert!(std::fs::read(&path).unwrap() == *large);
    }

    #[test]
    fn parts_in_any_order_and_at_odd_places_make_the_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("partial");
        let whole = bytes(1_000_003);
        let cuts = [0, 70_000, 139_264, 139_265, 401_408, 802_816, 1_000_003];
        let file = PartialFile::open(&path).unwrap();
        let mut aligned = Aligned::default();
        for pair in cuts.windows(2).rev() {
            let part = &whole[pair[0]..pair[1]];
            file.write_at(part, pair[0] as u64, &mut aligned).unwrap();
        }
        assert_eq!(std::fs::read(&path).unwrap(), whole);
    }
}
