//! Taking objects into the library that a delta makes from objects that are here.

use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::Advice;

use super::incoming::write_objects;
use super::{DiskError, Library, Writing, disk};
use crate::deltas::{Segment, unnamed};
use crate::object::ObjectId;

/// Why a delta gave nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeltaError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Damaged, or made from other objects.
    #[error("{0}")]
    Refused(String),
    #[error("cancelled")]
    Cancelled,
}

impl Library {
    /// Where a segment lies while it is fetched.
    pub(crate) fn delta_path(&self, sha256: &ObjectId) -> PathBuf {
        self.root.join("deltas").join(sha256.to_string())
    }

    /// Applies the delta of a segment, whose hash was compared. Every object that it gives is compared with its hash while
    /// it is written; none is visible before all are right and durable.
    pub(crate) fn apply_delta(
        &self,
        segment: &Segment,
        delta: &[u8],
        is_cancelled: &dyn Fn() -> bool,
    ) -> Result<(), DeltaError> {
        let mut objects: Vec<ObjectId> = segment.new.iter().map(|(object, _)| *object).collect();
        let writing = self.writers.begin()?;
        let made = self.make_objects(&writing, segment, delta, is_cancelled);
        let placed = made.and_then(|()| {
            let _changing = self.lock();
            self.sync_file_system()?;
            self.move_into_place(&writing, &mut objects)?;
            Ok(self.sync_file_system()?)
        });
        if placed.is_err() {
            // Of no use to whoever tries again, who needs the room.
            self.remove_new(&writing, &objects);
        }
        placed
    }

    /// Writes all objects of a segment next to where they will be, each compared with its hash.
    fn make_objects(
        &self,
        writing: &Writing,
        segment: &Segment,
        delta: &[u8],
        is_cancelled: &dyn Fn() -> bool,
    ) -> Result<(), DeltaError> {
        if let Some(number) = segment.new.iter().position(|(_, size)| *size == 0) {
            return Err(DeltaError::Refused(format!("its object {number} is empty")));
        }
        let bytes: u64 = segment.new.iter().map(|(_, size)| size).sum();
        self.room_for(&self.root, bytes)?;
        let refused = |why: &dyn std::fmt::Display| DeltaError::Refused(why.to_string());
        let delta = delta::Delta::read(delta).map_err(|malformed| refused(&malformed))?;
        // Blocks need less room.
        self.room_for(&self.root, bytes.saturating_add(delta.scratch_bytes()))
            .map_err(|full| refused(&full))?;
        let mut old = Vec::new();
        // Before there are other threads: a table of open files that they share grows only after a wait for all of them.
        for object in &segment.old {
            match self.open_object(object) {
                Ok(file) => old.push(file),
                Err(failure) if failure.source.kind() == std::io::ErrorKind::NotFound => {
                    return Err(DeltaError::Refused(format!(
                        "it needs {object}, which is not here"
                    )));
                }
                // Blocks need no old object, nor as many open files.
                Err(failure) => return Err(refused(&format!("{failure}: {}", failure.source))),
            }
        }
        let inputs: Vec<delta::Input<'_>> = old.iter().map(delta::Input::File).collect();
        let sizes: Vec<u64> = segment.new.iter().map(|(_, size)| *size).collect();
        let archives = self.delta_path(&segment.sha256).with_extension("archives");
        let unpacked = unnamed(&archives).map_err(disk("write", &archives))?;
        let mut cancelled = false;
        let is_over = AtomicBool::new(false);
        let (applied, written) = std::thread::scope(|scope| {
            scope.spawn(|| want_all(&old, &is_over));
            let path = |object: &ObjectId| self.new_path(writing, object);
            let done = write_objects(&path, &segment.new, |take| {
                delta.apply(&inputs, &sizes, &unpacked, &mut |number, bytes| {
                    cancelled = is_cancelled();
                    match cancelled {
                        true => Err(std::io::Error::other("cancelled")),
                        false => take(number, bytes),
                    }
                })
            });
            is_over.store(true, Ordering::Relaxed);
            done
        });
        // Before everything is made durable, which this need not be.
        drop(unpacked);
        let complete = written?;
        match applied {
            Ok(()) => {}
            Err(_) if cancelled => return Err(DeltaError::Cancelled),
            Err(delta::ApplyError::Scratch(source)) => {
                return Err(refused(&disk("write", &archives)(source)));
            }
            Err(delta::ApplyError::Io(source)) => {
                return Err(disk("apply a delta in", &self.root)(source).into());
            }
            Err(failure) => return Err(DeltaError::Refused(failure.to_string())),
        }
        match complete == segment.new.len() {
            true => Ok(()),
            false => Err(DeltaError::Refused(format!(
                "it gives {complete} of {} objects",
                segment.new.len()
            ))),
        }
    }
}

/// Has files read ahead: copies come out of all of them, in no order that a disk would like.
fn want_all(files: &[File], is_over: &AtomicBool) {
    // A disk with much to do lets whoever asks for more wait.
    for file in files.iter().take_while(|_| !is_over.load(Ordering::Relaxed)) {
        // A hint may go unheard.
        let _ = rustix::fs::fadvise(file, 0, None, Advice::WillNeed);
    }
}
