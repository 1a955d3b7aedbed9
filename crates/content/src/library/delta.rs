//! Taking objects into the library that a delta makes from objects that are here.

use std::path::{Path, PathBuf};

use rustix::fs::Advice;
use sha2::{Digest, Sha256};

use super::direct::{Aligned, PartialFile, write_new};
use super::{DiskError, Library, disk};
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

/// Bytes that are written at a time; a smaller object is written at once.
const WRITE_BYTES: usize = 4 * 1024 * 1024;

/// The object that is being written.
struct Writing {
    number: usize,
    path: PathBuf,
    hasher: Sha256,
    pending: Vec<u8>,
    /// The file and how much of it is written, once there is more than one write.
    begun: Option<(PartialFile, u64)>,
}

impl Writing {
    fn take(&mut self, bytes: &[u8], aligned: &mut Aligned) -> std::io::Result<()> {
        self.hasher.update(bytes);
        let mut bytes = bytes;
        while self.pending.len() + bytes.len() > WRITE_BYTES {
            let (now, later) = bytes.split_at(WRITE_BYTES - self.pending.len());
            self.pending.extend_from_slice(now);
            self.write(aligned)?;
            bytes = later;
        }
        self.pending.extend_from_slice(bytes);
        Ok(())
    }

    fn write(&mut self, aligned: &mut Aligned) -> std::io::Result<()> {
        if self.begun.is_none() {
            // Whatever an earlier attempt left is not ours to write over.
            write_new(&self.path, &[], aligned)?;
            self.begun = Some((PartialFile::open(&self.path)?, 0));
        }
        if let Some((file, written)) = &mut self.begun {
            file.write_at(&self.pending, *written, aligned)?;
            *written += self.pending.len() as u64;
        }
        self.pending.clear();
        Ok(())
    }

    /// The object is complete: it has to be what was signed.
    fn close(mut self, segment: &Segment, aligned: &mut Aligned) -> Result<(), DeltaError> {
        let written = match self.begun {
            Some(_) => self.write(aligned),
            None => write_new(&self.path, &self.pending, aligned),
        };
        written.map_err(disk("write", &self.path))?;
        let (expected, _) = segment.new[self.number];
        let found = ObjectId(self.hasher.finalize().into());
        match found == expected {
            true => Ok(()),
            false => Err(DeltaError::Refused(format!(
                "it gives {found} instead of {expected}"
            ))),
        }
    }
}

impl Library {
    /// Where a segment lies while it is fetched.
    pub(crate) fn delta_path(&self, sha256: &ObjectId) -> PathBuf {
        self.root.join("deltas").join(sha256.to_string())
    }

    /// Applies a delta. Every object that it gives is compared with its hash while it is written; none is visible
    /// before all are right and durable.
    pub(crate) fn apply_delta(
        &self,
        segment: &Segment,
        file: &Path,
        is_cancelled: &dyn Fn() -> bool,
    ) -> Result<(), DeltaError> {
        let bytes: u64 = segment.new.iter().map(|(_, size)| size).sum();
        self.room_for(&self.root, bytes)?;
        let bytes_of_delta = std::fs::read(file).map_err(disk("read", file))?;
        let refused = |why: &dyn std::fmt::Display| DeltaError::Refused(why.to_string());
        let delta = delta::Delta::read(&bytes_of_delta).map_err(|malformed| refused(&malformed))?;
        // Blocks need less room.
        self.room_for(&self.root, bytes.saturating_add(delta.scratch_bytes()))
            .map_err(|full| refused(&full))?;
        let mut old = Vec::new();
        for object in &segment.old {
            match self.open_object(object) {
                Ok(file) => {
                    // Copies come out of all of it, in no order that a disk would like; a hint may go unheard.
                    let _ = rustix::fs::fadvise(&file, 0, None, Advice::WillNeed);
                    old.push(file);
                }
                Err(failure) if failure.source.kind() == std::io::ErrorKind::NotFound => {
                    return Err(DeltaError::Refused(format!(
                        "it needs {object}, which is not here"
                    )));
                }
                Err(failure) => return Err(failure.into()),
            }
        }
        let old: Vec<delta::Input<'_>> = old.iter().map(delta::Input::File).collect();
        let sizes: Vec<u64> = segment.new.iter().map(|(_, size)| *size).collect();
        let (mut open, mut aligned): (Option<Writing>, _) = (None, Aligned::default());
        let mut trouble: Option<DeltaError> = None;
        let archives = self
            .root
            .join("incoming")
            .join(format!("{}.archives", segment.sha256));
        let unpacked = unnamed(&archives).map_err(disk("write", &archives))?;
        let applied = delta.apply(&old, &sizes, &unpacked, &mut |number, bytes| {
            let wrote = match is_cancelled() {
                true => Err(DeltaError::Cancelled),
                false => self.write(segment, &mut open, &mut aligned, number, bytes),
            };
            wrote.map_err(|failure| {
                trouble = Some(failure);
                std::io::Error::other("see the cause that was kept")
            })
        });
        // Before everything is made durable, which this need not be.
        drop(unpacked);
        if let Some(failure) = trouble {
            return Err(failure);
        }
        match applied {
            Ok(()) => {}
            Err(delta::ApplyError::Scratch(source)) => {
                return Err(refused(&disk("write", &archives)(source)));
            }
            Err(delta::ApplyError::Io(source)) => {
                return Err(disk("apply a delta in", &self.root)(source).into());
            }
            Err(failure) => return Err(DeltaError::Refused(failure.to_string())),
        }
        if let Some(last) = open.take() {
            last.close(segment, &mut aligned)?;
        }
        for (number, (_, size)) in segment.new.iter().enumerate() {
            if *size == 0 {
                return Err(DeltaError::Refused(format!("its object {number} is empty")));
            }
        }
        let _changing = self.lock();
        self.sync_file_system()?;
        for (object, _) in &segment.new {
            let incoming = self.root.join("incoming").join(object.to_string());
            self.move_into_place(&incoming, object)?;
        }
        Ok(self.sync_file_system()?)
    }

    fn write(
        &self,
        segment: &Segment,
        open: &mut Option<Writing>,
        aligned: &mut Aligned,
        number: usize,
        bytes: &[u8],
    ) -> Result<(), DeltaError> {
        if open.as_ref().is_some_and(|writing| writing.number != number)
            && let Some(done) = open.take()
        {
            done.close(segment, aligned)?;
        }
        let writing = match open {
            Some(writing) => writing,
            None => {
                let path = self.root.join("incoming").join(segment.new[number].0.to_string());
                open.insert(Writing {
                    number,
                    path,
                    hasher: Sha256::new(),
                    pending: Vec::new(),
                    begun: None,
                })
            }
        };
        let taken = writing.take(bytes, aligned);
        Ok(taken.map_err(disk("write", &writing.path))?)
    }
}
