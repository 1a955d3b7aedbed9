//! Taking objects into the library that a delta makes from objects that are here.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{DiskError, Library, disk};
use crate::deltas::Segment;
use crate::object::ObjectId;

/// Why a delta gave nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeltaError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Damaged, or made from other objects.
    #[error("{0}")]
    Refused(String),
}

/// The object that is being written.
struct Writing {
    number: usize,
    path: PathBuf,
    file: File,
    hasher: Sha256,
}

impl Library {
    /// Where a segment lies while it is fetched.
    pub(crate) fn delta_path(&self, sha256: &ObjectId) -> PathBuf {
        self.root.join("deltas").join(sha256.to_string())
    }

    /// Applies a delta. Every object that it gives is compared with its hash while it is written; none is visible
    /// before all are right and durable.
    pub(crate) fn apply_delta(&self, segment: &Segment, file: &Path) -> Result<(), DeltaError> {
        let bytes: u64 = segment.new.iter().map(|(_, size)| size).sum();
        self.room_for(&self.root, bytes)?;
        let delta = std::fs::read(file).map_err(disk("read", file))?;
        let mut old = Vec::new();
        for object in &segment.old {
            match self.open_object(object) {
                Ok(file) => old.push(file),
                Err(failure) if failure.source.kind() == std::io::ErrorKind::NotFound => {
                    return Err(DeltaError::Refused(format!(
                        "it needs {object}, which is not here"
                    )));
                }
                Err(failure) => return Err(failure.into()),
            }
        }
        let old: Vec<delta::Old<'_>> = old.iter().map(delta::Old::File).collect();
        let sizes: Vec<u64> = segment.new.iter().map(|(_, size)| *size).collect();
        let mut open: Option<Writing> = None;
        let mut trouble: Option<DeltaError> = None;
        let applied = delta::apply(&delta, &old, &sizes, &mut |number, bytes| {
            let wrote = self.write(segment, &mut open, number, bytes);
            wrote.map_err(|failure| {
                trouble = Some(failure);
                std::io::Error::other("see the cause that was kept")
            })
        });
        if let Some(failure) = trouble {
            return Err(failure);
        }
        match applied {
            Ok(()) => {}
            Err(delta::ApplyError::Io(source)) => {
                return Err(disk("read old objects in", &self.root)(source).into());
            }
            Err(failure) => return Err(DeltaError::Refused(failure.to_string())),
        }
        if let Some(last) = open.take() {
            close(segment, last)?;
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
        number: usize,
        bytes: &[u8],
    ) -> Result<(), DeltaError> {
        if open.as_ref().is_some_and(|writing| writing.number != number)
            && let Some(done) = open.take()
        {
            close(segment, done)?;
        }
        let writing = match open {
            Some(writing) => writing,
            None => {
                let path = self.root.join("incoming").join(segment.new[number].0.to_string());
                let mut options = OpenOptions::new();
                options.write(true).create(true).truncate(true).mode(0o600);
                let file = options.open(&path).map_err(disk("write", &path))?;
                open.insert(Writing {
                    number,
                    path,
                    file,
                    hasher: Sha256::new(),
                })
            }
        };
        writing.hasher.update(bytes);
        writing
            .file
            .write_all(bytes)
            .map_err(disk("write", &writing.path))?;
        Ok(())
    }
}

/// The object is complete: it has to be what was signed.
fn close(segment: &Segment, writing: Writing) -> Result<(), DeltaError> {
    let (expected, _) = segment.new[writing.number];
    let found = ObjectId(writing.hasher.finalize().into());
    match found == expected {
        true => Ok(()),
        false => Err(DeltaError::Refused(format!(
            "it gives {found} instead of {expected}"
        ))),
    }
}
