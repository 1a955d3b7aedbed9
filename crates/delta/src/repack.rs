//! The new files, archives packed again.

use std::io;
use std::sync::mpsc::SyncSender;

use crate::Malformed;
use crate::apply::{ApplyError, Write};
use crate::archive;
use crate::layout::Layout;

/// Bytes that are handed over at a time: whoever hashes and writes them works beside whoever makes them.
const CHUNK_BYTES: usize = 512 * 1024;
/// Chunks that may wait to be written.
pub(crate) const CHUNKS_WAITING: usize = 8;

/// New bytes on their way to be written.
#[derive(Default)]
pub(crate) struct Chunk {
    bytes: Vec<u8>,
    /// Number of a file, and the end of its bytes among these.
    ends: Vec<(usize, usize)>,
}

impl Chunk {
    pub(crate) fn write(&self, write: &mut Write<'_>) -> io::Result<()> {
        let mut begin = 0;
        for (number, end) in &self.ends {
            write(*number, &self.bytes[begin..*end])?;
            begin = *end;
        }
        Ok(())
    }
}

/// Cuts the new bytes into files.
pub(crate) struct Files<'a> {
    files: &'a [Layout],
    recipes: &'a [u8],
    /// The file that is written, and how much of it was taken since its begin or its last stream.
    number: usize,
    at: u64,
    stream: usize,
    /// Plain bytes of the stream that is being collected.
    pending: Vec<u8>,
    chunk: Chunk,
    sender: SyncSender<Chunk>,
}

impl<'a> Files<'a> {
    pub(crate) fn new(files: &'a [Layout], recipes: &'a [u8], sender: SyncSender<Chunk>) -> Self {
        Files {
            files,
            recipes,
            number: 0,
            at: 0,
            stream: 0,
            pending: Vec::new(),
            chunk: Chunk::default(),
            sender,
        }
    }

    /// Takes the next bytes, archives unpacked.
    pub(crate) fn put(&mut self, mut bytes: &[u8]) -> Result<(), ApplyError> {
        while !bytes.is_empty() {
            let file = self
                .files
                .get(self.number)
                .ok_or(Malformed("it has more bytes than its files"))?;
            let left = match file.streams.get(self.stream) {
                Some(stream) if self.at < stream.gap => stream.gap - self.at,
                Some(stream) => {
                    let now = bytes.len().min(stream.plain as usize - self.pending.len());
                    self.pending.extend_from_slice(&bytes[..now]);
                    bytes = &bytes[now..];
                    if self.pending.len() as u64 == stream.plain {
                        self.pack(stream.recipe, stream.packed)?;
                    }
                    continue;
                }
                None => {
                    let packed: u64 = file.streams.iter().map(|stream| stream.gap + stream.packed).sum();
                    file.length - packed - self.at
                }
            };
            if left == 0 {
                self.number += 1;
                (self.at, self.stream) = (0, 0);
                continue;
            }
            let now = bytes.len().min(left as usize);
            self.hand_over(&bytes[..now])?;
            self.at += now as u64;
            bytes = &bytes[now..];
        }
        Ok(())
    }

    fn pack(&mut self, recipe: u64, packed: u64) -> Result<(), ApplyError> {
        let (recipe, later) = self
            .recipes
            .split_at_checked(recipe as usize)
            .ok_or(Malformed("it lacks a recipe"))?;
        let bytes = archive::pack(&self.pending, recipe)?;
        if bytes.len() as u64 != packed {
            return Err(Malformed("an archive cannot be packed again").into());
        }
        self.hand_over(&bytes)?;
        self.recipes = later;
        self.pending.clear();
        (self.at, self.stream) = (0, self.stream + 1);
        Ok(())
    }

    fn hand_over(&mut self, mut bytes: &[u8]) -> Result<(), ApplyError> {
        while !bytes.is_empty() {
            if self.chunk.bytes.capacity() == 0 {
                self.chunk.bytes.reserve_exact(CHUNK_BYTES);
            }
            let now = bytes.len().min(CHUNK_BYTES - self.chunk.bytes.len());
            self.chunk.bytes.extend_from_slice(&bytes[..now]);
            let end = self.chunk.bytes.len();
            match self.chunk.ends.last_mut() {
                Some((number, last)) if *number == self.number => *last = end,
                _ => self.chunk.ends.push((self.number, end)),
            }
            bytes = &bytes[now..];
            if end == CHUNK_BYTES {
                self.send()?;
            }
        }
        Ok(())
    }

    fn send(&mut self) -> Result<(), ApplyError> {
        // Nobody takes it any more only after a failure of its own, which is what is told then.
        self.sender
            .send(std::mem::take(&mut self.chunk))
            .map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe).into())
    }

    /// Everything was put.
    pub(crate) fn end(mut self) -> Result<(), ApplyError> {
        if !self.pending.is_empty() || !self.recipes.is_empty() {
            return Err(Malformed("it ends inside an archive").into());
        }
        self.send()
    }
}
