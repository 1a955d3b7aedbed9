//! Objects on their way in, one after the other, hashed and written by several threads: most are small, and each of them
//! is a file that has to be made.

use std::io;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};

use super::delta::DeltaError;
use super::direct::{ALIGNMENT, Aligned, PartialFile, write_held};
use super::{disk, remove_if_there};
use crate::object::ObjectId;

/// Bytes that are written at a time; a smaller object is written at once.
const PIECE_BYTES: usize = 512 * 1024;
// The next piece begins where it can be written directly, too.
const _: () = assert!(PIECE_BYTES.is_multiple_of(ALIGNMENT));
/// Threads that hash and write: a disk takes several files at a time.
const WRITERS: usize = 8;
/// Pieces that wait for each of them: a disk takes a few milliseconds for one now and then, during which others are made. All
/// of them together are 20 MiB at most.
const WAITING: usize = 4;

/// Takes the next bytes of an object, by its number.
pub(super) type Take<'a> = dyn FnMut(usize, &[u8]) -> io::Result<()> + 'a;

/// Where an object is written.
pub(super) type PathOf<'a> = dyn Fn(&ObjectId) -> PathBuf + Sync + 'a;

/// Writes the objects, whose hashes and sizes these are, each to its own file. `make` gives all their bytes in order; its
/// result comes back beside the number of objects that are whole and right, or why writing failed, which ends `make` too.
pub(super) fn write_objects<T>(
    path: &PathOf<'_>,
    objects: &[(ObjectId, u64)],
    make: impl FnOnce(&mut Take<'_>) -> T,
) -> (T, Result<usize, DeltaError>) {
    let buffers = Written::default();
    std::thread::scope(|scope| {
        let (writers, threads): (Vec<_>, Vec<_>) = (0..WRITERS)
            .map(|_| {
                let ((writer, pieces), buffers) = (sync_channel(WAITING), &buffers);
                let thread = scope.spawn(move || write_all(pieces, buffers, path, objects));
                (writer, thread)
            })
            .unzip();
        let mut cutter = Cutter {
            objects,
            writers,
            buffers: &buffers,
            piece: None,
            cut: 0,
        };
        let made = make(&mut |number, bytes| cutter.take(number, bytes));
        // The writers end with the last piece.
        drop(cutter);
        let written = threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
            .sum();
        (made, written)
    })
}

/// The next bytes of an object.
struct Piece {
    number: usize,
    memory: Aligned,
    length: usize,
    is_last: bool,
}

impl Piece {
    fn bytes(&self) -> &[u8] {
        self.memory.held(self.length)
    }
}

/// Memory of pieces that were written, for the next ones: to have it given anew costs more.
#[derive(Default)]
struct Written(Mutex<Vec<Aligned>>);

impl Written {
    fn take(&self) -> Aligned {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        kept.unwrap_or_default()
    }

    fn give(&self, buffer: Aligned) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
    }
}

/// Cuts objects into pieces. All pieces of an object go to the same writer, in order.
struct Cutter<'a> {
    objects: &'a [(ObjectId, u64)],
    writers: Vec<SyncSender<Piece>>,
    buffers: &'a Written,
    /// The piece that is being filled, and how many bytes it has.
    piece: Option<(Aligned, usize)>,
    /// Bytes of the object that were handed over already.
    cut: u64,
}

impl Cutter<'_> {
    fn take(&mut self, number: usize, mut bytes: &[u8]) -> io::Result<()> {
        let (_, size) = self.objects[number];
        while !bytes.is_empty() {
            let left = size - self.cut;
            let length = left.min(PIECE_BYTES as u64) as usize;
            let (mut memory, filled) = self.piece.take().unwrap_or_else(|| (self.buffers.take(), 0));
            let (now, later) = bytes.split_at(bytes.len().min(length - filled));
            let end = filled + now.len();
            memory.bytes(length)[filled..end].copy_from_slice(now);
            bytes = later;
            if end < length {
                self.piece = Some((memory, end));
                continue;
            }
            let piece = Piece {
                number,
                memory,
                length,
                is_last: left == length as u64,
            };
            self.cut = if piece.is_last {
                0
            } else {
                self.cut + length as u64
            };
            // Says why itself.
            let gone = |_| io::Error::other("whoever writes gave up");
            self.writers[number % WRITERS].send(piece).map_err(gone)?;
        }
        Ok(())
    }
}

/// The object that is being written.
struct Writing {
    path: PathBuf,
    hasher: Sha256,
    /// The file and how much of it is written, if there is more than one piece.
    begun: Option<(PartialFile, u64)>,
}

impl Writing {
    fn write(&mut self, piece: &mut Piece, aligned: &mut Aligned) -> io::Result<()> {
        self.hasher.update(piece.bytes());
        if self.begun.is_none() {
            if piece.is_last {
                return write_held(&self.path, &mut piece.memory, piece.length);
            }
            // Whatever an earlier attempt left is not ours to write over.
            remove_if_there(&self.path).map_err(|failure| failure.source)?;
            self.begun = Some((PartialFile::open(&self.path)?, 0));
        }
        if let Some((file, written)) = &mut self.begun {
            file.write_at(piece.bytes(), *written, aligned)?;
            *written += piece.length as u64;
            if piece.is_last {
                file.protect()?;
            }
        }
        Ok(())
    }
}

/// Writes the objects whose pieces come, and counts those that are complete; each has to be what was signed.
fn write_all(
    pieces: Receiver<Piece>,
    buffers: &Written,
    path: &PathOf<'_>,
    objects: &[(ObjectId, u64)],
) -> Result<usize, DeltaError> {
    let (mut open, mut aligned): (Option<Writing>, _) = (None, Aligned::default());
    let mut complete = 0;
    for mut piece in pieces {
        let (expected, _) = objects[piece.number];
        let writing = open.get_or_insert_with(|| Writing {
            path: path(&expected),
            hasher: Sha256::new(),
            begun: None,
        });
        let written = writing.write(&mut piece, &mut aligned);
        written.map_err(disk("write", &writing.path))?;
        buffers.give(piece.memory);
        if !piece.is_last {
            continue;
        }
        if let Some(done) = open.take() {
            let found = ObjectId(done.hasher.finalize().into());
            if found != expected {
                let why = format!("it gives {found} instead of {expected}");
                return Err(DeltaError::Refused(why));
            }
            complete += 1;
        }
    }
    Ok(complete)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;

    fn object(length: usize, seed: usize) -> (Vec<u8>, (ObjectId, u64)) {
        let bytes: Vec<u8> = (0..length).map(|at| (at * 13 + at / 253 + seed) as u8).collect();
        let name = (ObjectId::of(&bytes), length as u64);
        (bytes, name)
    }

    /// Hands over all objects, so many bytes at a time.
    fn hand_over(contents: &[Vec<u8>], at_a_time: usize, take: &mut Take<'_>) -> io::Result<()> {
        for (number, bytes) in contents.iter().enumerate() {
            for bytes in bytes.chunks(at_a_time) {
                take(number, bytes)?;
            }
        }
        Ok(())
    }

    fn in_folder(folder: &Path) -> impl Fn(&ObjectId) -> PathBuf {
        let folder = folder.to_owned();
        move |object| folder.join(object.to_string())
    }

    #[test]
    fn objects_of_all_lengths_are_written_whole_over_whatever_was_left() {
        let lengths = [
            1,
            70_000,
            PIECE_BYTES - 1,
            PIECE_BYTES,
            PIECE_BYTES + 1,
            3 * PIECE_BYTES,
        ];
        let objects = (0..4).flat_map(|round| lengths.map(|length| object(length, round)));
        let (contents, names): (Vec<_>, Vec<_>) = objects.unzip();
        let folder = tempfile::tempdir().unwrap();
        let path = in_folder(folder.path());
        for (object, size) in &names {
            let left = vec![0x55; *size as usize + 5000];
            std::fs::write(path(object), left).unwrap();
        }
        for at_a_time in [PIECE_BYTES * 2 / 3, usize::MAX] {
            let (made, written) = write_objects(&path, &names, |take| hand_over(&contents, at_a_time, take));
            made.unwrap();
            assert_eq!(written.unwrap(), names.len());
            for (bytes, (object, _)) in contents.iter().zip(&names) {
                let path = path(object);
                assert!(std::fs::read(&path).unwrap() == *bytes);
                assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o444);
            }
        }
    }

    #[test]
    fn other_bytes_are_refused_by_name_and_nobody_waits_for_ever() {
        let (mut contents, names): (Vec<_>, Vec<_>) = (0..40).map(|seed| object(600_000, seed)).unzip();
        contents[3][599_999] ^= 1;
        let folder = tempfile::tempdir().unwrap();
        let path = in_folder(folder.path());
        let (made, written) = write_objects(&path, &names, |take| hand_over(&contents, 100_000, take));
        assert_eq!(made.unwrap_err().to_string(), "whoever writes gave up");
        match written {
            Err(DeltaError::Refused(why)) => assert!(why.ends_with(&format!("instead of {}", names[3].0))),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_ends_early_is_not_counted() {
        let (contents, names): (Vec<_>, Vec<_>) = (0..3).map(|seed| object(PIECE_BYTES * 2, seed)).unzip();
        let folder = tempfile::tempdir().unwrap();
        let path = in_folder(folder.path());
        let (made, written) = write_objects(&path, &names, |take| {
            take(0, &contents[0])?;
            take(1, &contents[1][..PIECE_BYTES + 1])
        });
        made.unwrap();
        assert_eq!(written.unwrap(), 1);
    }

    #[test]
    fn a_disk_that_fails_is_named_with_the_file() {
        let (contents, names): (Vec<_>, Vec<_>) = (0..40).map(|seed| object(100, seed)).unzip();
        let folder = tempfile::tempdir().unwrap();
        // A file is no folder.
        let file = folder.path().join("file");
        std::fs::write(&file, b"").unwrap();
        let path = in_folder(&file);
        let (made, written) = write_objects(&path, &names, |take| hand_over(&contents, 100, take));
        made.unwrap_err();
        let failure = written.unwrap_err().to_string();
        assert!(
            failure.contains("cannot write") && failure.contains("/file/"),
            "{failure}"
        );
    }
}
