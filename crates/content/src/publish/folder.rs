//! Reading a folder: listing it, and hashing on all cores what is not known already.

use std::fs::File;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use super::error::{PublishError, io_error};
use super::hash_of;
use super::known::{Known, Stamp};
use super::source::{Scan, ScannedKind};
use crate::object::ObjectId;

/// Results that may wait until they are noted down.
const RESULTS_WAITING: usize = 1_024;

/// A file of the folder.
struct Found {
    path: String,
    data: PathBuf,
    executable: bool,
    stamp: Stamp,
    size: u64,
    known: Option<ObjectId>,
}

/// What reading a file showed.
struct Read {
    object: ObjectId,
    size: u64,
    /// Unless it changed meanwhile.
    stamp: Option<Stamp>,
}

impl Scan<'_> {
    /// Adds everything below the payload's folder; reads the files that are not known.
    pub(super) fn folder(&mut self, known: &Known) -> Result<(), PublishError> {
        let (found, unread): (Vec<Found>, Vec<Found>) = self
            .list(known)?
            .into_iter()
            .partition(|file| file.known.is_some());
        for file in found {
            let (size, stamp) = (file.size, Some(file.stamp));
            if let Some(object) = file.known {
                self.add_file(file, Read { object, size, stamp })?;
            }
        }
        let (sender, results) = mpsc::sync_channel(RESULTS_WAITING);
        let next = AtomicUsize::new(0);
        let files: Vec<&Path> = unread.iter().map(|file| file.data.as_path()).collect();
        let mut read: Vec<Option<Read>> = Vec::new();
        read.resize_with(files.len(), || None);
        std::thread::scope(|scope| {
            for _ in 0..self.options.threads.clamp(1, files.len().max(1)) {
                let (sender, next, files) = (sender.clone(), &next, &files);
                scope.spawn(move || {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        let Some(file) = files.get(number) else { break };
                        // Nobody takes results once a file could not be read.
                        if sender.send((number, read_file(file))).is_err() {
                            break;
                        }
                    }
                });
            }
            drop(sender);
            for (number, result) in results {
                let result = result.map_err(io_error("read", files[number]))?;
                self.has_read(result.size);
                read[number] = Some(result);
            }
            Ok(())
        })?;
        for (file, result) in unread.into_iter().zip(read) {
            let crashed = || io_error("read", &file.data)(io::Error::other("reading it crashed"));
            let result = result.ok_or_else(crashed)?;
            self.add_file(file, result)?;
        }
        Ok(())
    }

    fn add_file(&mut self, file: Found, read: Read) -> Result<(), PublishError> {
        self.room_for(&file.path, read.size)?;
        self.add(
            &file.path,
            ScannedKind::File {
                object: read.object,
                size: read.size,
                executable: file.executable,
                data: file.data,
                stamp: read.stamp,
            },
        )
    }

    /// Folders and links are added at once, files are listed.
    fn list(&mut self, known: &Known) -> Result<Vec<Found>, PublishError> {
        let mut files = Vec::new();
        let mut pending = vec![(self.payload.to_owned(), String::new())];
        while let Some((folder, prefix)) = pending.pop() {
            for entry in std::fs::read_dir(&folder).map_err(io_error("list", &folder))? {
                let entry = entry.map_err(io_error("list", &folder))?;
                let data = entry.path();
                let name = self.text(entry.file_name().as_encoded_bytes())?;
                let path = if prefix.is_empty() {
                    name
                } else {
                    format!("{prefix}/{name}")
                };
                let metadata = std::fs::symlink_metadata(&data).map_err(io_error("read", &data))?;
                if metadata.is_dir() {
                    self.add(&path, ScannedKind::Directory)?;
                    pending.push((data, path));
                } else if metadata.is_symlink() {
                    let target = std::fs::read_link(&data).map_err(io_error("read", &data))?;
                    let target = self.text(target.as_os_str().as_encoded_bytes())?;
                    self.add(&path, ScannedKind::Symlink(target))?;
                } else if metadata.is_file() {
                    self.entry_allowed(&path, files.len())?;
                    self.room_for(&path, metadata.len())?;
                    let stamp = Stamp::of(&metadata);
                    files.push(Found {
                        executable: metadata.permissions().mode() & 0o111 != 0,
                        size: metadata.len(),
                        known: known.hash_of(&path, &stamp),
                        path,
                        data,
                        stamp,
                    });
                } else {
                    return self.special(&path);
                }
            }
        }
        Ok(files)
    }
}

fn read_file(path: &Path) -> io::Result<Read> {
    let mut file = File::open(path)?;
    let before = Stamp::of(&file.metadata()?);
    let (object, size) = hash_of(&mut file)?;
    let after = Stamp::of(&file.metadata()?);
    Ok(Read {
        object,
        size,
        stamp: (before == after).then_some(after),
    })
}
