//! Response bodies: a few pieces of one file, read a bounded chunk at a time, only as fast as the client takes them.
//!
//! It refuses to send fewer bytes than announced: a file that became shorter breaks the response off.

use std::fs::File;
use std::io::{self, SeekFrom};

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http_body::Frame;
use http_body_util::{BodyExt, Empty, StreamBody};
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::respond::Body;

/// How much is read at a time. A connection holds about two of these, a thousand of them half a gigabyte at the worst.
const CHUNK_BYTES: u64 = 256 * 1024;

/// A piece of a body.
#[derive(Debug)]
pub(super) enum Piece {
    /// Bytes of the file.
    File {
        /// First byte.
        start: u64,
        /// How many.
        length: u64,
    },
    /// Bytes between them.
    Text(Bytes),
}

impl Piece {
    /// Its length in bytes.
    pub(super) fn length(&self) -> u64 {
        match self {
            Piece::File { length, .. } => *length,
            Piece::Text(text) => text.len() as u64,
        }
    }
}

/// No body.
pub(super) fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// The pieces, in order.
pub(super) fn stream(file: File, pieces: Vec<Piece>) -> Body {
    let state = State {
        file: tokio::fs::File::from_std(file),
        pieces: pieces.into_iter(),
        current: None,
    };
    let frames = stream::try_unfold(state, |mut state| async move {
        Ok(state.next().await?.map(|bytes| (Frame::data(bytes), state)))
    });
    StreamBody::new(frames).boxed_unsync()
}

struct State {
    file: tokio::fs::File,
    pieces: std::vec::IntoIter<Piece>,
    /// What is left of the piece of the file that is being sent.
    current: Option<u64>,
}

impl State {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if let Some(left) = self.current {
                if left == 0 {
                    self.current = None;
                    continue;
                }
                let room = left.min(CHUNK_BYTES);
                let mut buffer = BytesMut::with_capacity(room as usize);
                let read = (&mut self.file).take(room).read_buf(&mut buffer).await?;
                if read == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                self.current = Some(left - read as u64);
                return Ok(Some(buffer.freeze()));
            }
            match self.pieces.next() {
                None => return Ok(None),
                Some(Piece::Text(text)) => return Ok(Some(text)),
                Some(Piece::File { start, length }) => {
                    self.file.seek(SeekFrom::Start(start)).await?;
                    self.file.set_max_buf_size(CHUNK_BYTES as usize);
                    self.current = Some(length);
                }
            }
        }
    }
}
