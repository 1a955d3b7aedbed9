//! The last step of every stream of a delta: whichever of two compressors is smaller.
//!
//! LZMA is smaller nearly always and unpacks slowly; zstd unpacks several times as fast and is taken where it costs
//! less than 2 % more.

use std::io::{self, BufReader, Read};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::Scope;

use liblzma::stream::{Action, Filters, LzmaOptions, Status, Stream};

use crate::Malformed;
use crate::parallel::in_parallel;
use crate::varint::{self, Reader};

const PLAIN: u8 = 0;
const ZSTD: u8 = 1;
const LZMA: u8 = 2;

/// Largest dictionary: bounds the memory of a reader.
const DICTIONARY_MAX: u32 = 64 * 1024 * 1024;
const DICTIONARY_MIN: u32 = 64 * 1024;
const ZSTD_LEVEL: i32 = 19;
/// Bytes on which several settings are tried.
const SAMPLE_BYTES: usize = 512 * 1024;

/// What a stream is, so far as it matters to a compressor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// Small numbers.
    Numbers,
    /// Corrections.
    Corrections,
    /// Whatever files hold.
    Text,
}

/// Packs streams with their lengths, in this order, on so many threads.
pub(crate) fn pack_all(streams: &[(&Vec<u8>, Content)], threads: usize) -> io::Result<Vec<Vec<u8>>> {
    in_parallel(streams.len(), threads, |number| {
        let (raw, content) = streams[number];
        let (codec, settings, bytes) = smallest(raw, content)?;
        let mut out = vec![codec, settings];
        varint::put(&mut out, raw.len() as u64);
        varint::put(&mut out, bytes.len() as u64);
        out.extend_from_slice(&bytes);
        Ok(out)
    })
    .into_iter()
    .collect()
}

fn smallest(raw: &[u8], content: Content) -> io::Result<(u8, u8, Vec<u8>)> {
    if raw.len() < 16 || is_noise(raw)? {
        return Ok((PLAIN, 0, raw.to_vec()));
    }
    // Literal context, literal position and position bits, as in the properties byte of LZMA.
    let tried: &[(u8, u8, u8)] = match content {
        Content::Numbers => &[(3, 0, 0), (0, 0, 0)],
        Content::Corrections => &[(3, 0, 0), (0, 0, 0), (0, 2, 2)],
        Content::Text => &[(3, 0, 0), (3, 0, 2)],
    };
    let sample = sample(raw);
    let mut best = (PLAIN, 0, sample.to_vec());
    for (lc, lp, pb) in tried {
        let settings = (pb * 5 + lp) * 9 + lc;
        let bytes = lzma(sample, settings)?;
        if bytes.len() < best.2.len() {
            best = (LZMA, settings, bytes);
        }
    }
    let bytes = zstd(sample)?;
    if bytes.len() * 50 < best.2.len() * 51 {
        best = (ZSTD, 0, bytes);
    }
    if sample.len() < raw.len() {
        best.2 = match best.0 {
            LZMA => lzma(raw, best.1)?,
            ZSTD => zstd(raw)?,
            _ => raw.to_vec(),
        };
    }
    Ok(best)
}

/// Whether the first of two versions of a stream gets smaller than the second.
pub(crate) fn is_smaller(first: &[u8], second: &[u8]) -> io::Result<bool> {
    let settings = 3;
    if is_noise(second)? {
        return Ok(false);
    }
    Ok(lzma(sample(first), settings)?.len() < lzma(sample(second), settings)?.len())
}

/// Whether nothing can be gained, as with bytes that are compressed or encrypted already: found out before the slow
/// compressors spend their time on it.
fn is_noise(raw: &[u8]) -> io::Result<bool> {
    let sample = sample(raw);
    Ok(sample.len() > 4096 && zstd::bulk::compress(sample, 3)?.len() >= sample.len())
}

/// What is best for a piece out of the middle is best for the whole, nearly always.
fn sample(raw: &[u8]) -> &[u8] {
    match raw.len() <= SAMPLE_BYTES {
        true => raw,
        false => &raw[(raw.len() - SAMPLE_BYTES) / 2..][..SAMPLE_BYTES],
    }
}

fn zstd(raw: &[u8]) -> io::Result<Vec<u8>> {
    use zstd::zstd_safe::CParameter;
    let mut encoder = zstd::bulk::Compressor::new(ZSTD_LEVEL)?;
    encoder.set_parameter(CParameter::WindowLog(window_log(raw.len())))?;
    encoder.set_parameter(CParameter::ContentSizeFlag(false))?;
    encoder.compress(raw)
}

fn window_log(length: usize) -> u32 {
    (length.max(1024) as u64)
        .next_power_of_two()
        .trailing_zeros()
        .clamp(10, 26)
}

fn dictionary(length: u64) -> u32 {
    u32::try_from(length)
        .unwrap_or(u32::MAX)
        .clamp(DICTIONARY_MIN, DICTIONARY_MAX)
}

fn filters(length: u64, settings: u8) -> Option<Filters> {
    let (lc, rest) = (settings % 9, settings / 9);
    let (lp, pb) = (rest % 5, rest / 5);
    if pb > 4 || lc + lp > 4 {
        return None;
    }
    let mut options = LzmaOptions::new_preset(9 | liblzma::stream::PRESET_EXTREME).ok()?;
    options
        .dict_size(dictionary(length))
        .literal_context_bits(lc.into())
        .literal_position_bits(lp.into())
        .position_bits(pb.into());
    let mut filters = Filters::new();
    filters.lzma2(&options);
    Some(filters)
}

fn lzma(raw: &[u8], settings: u8) -> io::Result<Vec<u8>> {
    let wrong = || io::Error::other("the settings of a stream cannot be used");
    let filters = filters(raw.len() as u64, settings).ok_or_else(wrong)?;
    let mut encoder = Stream::new_raw_encoder(&filters)?;
    let mut out = Vec::with_capacity(raw.len() / 3 + 4096);
    loop {
        let taken = encoder.total_in() as usize;
        if out.len() == out.capacity() {
            out.reserve(out.len().max(4096));
        }
        if encoder.process_vec(&raw[taken..], &mut out, Action::Finish)? == Status::StreamEnd {
            return Ok(out);
        }
    }
}

/// A stream, unpacked as it is read. It gives exactly the bytes that it announced, or an error.
pub(crate) struct Unpacked<'a> {
    reader: Box<dyn Read + Send + 'a>,
    left: u64,
}

impl<'a> Unpacked<'a> {
    /// Takes a stream off the front; it may announce at most `max` bytes.
    pub(crate) fn take(from: &mut Reader<'a>, max: u64) -> Result<Self, Malformed> {
        let (codec, settings) = (from.byte()?, from.byte()?);
        let left = from.number_to(max, "a stream is longer than it may be")?;
        let length = from.number()?;
        let bytes = from.bytes(length)?;
        let unreadable = |_| Malformed("a stream cannot be unpacked");
        let reader: Box<dyn Read + Send + 'a> = match codec {
            PLAIN => Box::new(bytes),
            ZSTD => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(bytes).map_err(unreadable)?;
                decoder
                    .window_log_max(window_log(left as usize))
                    .map_err(unreadable)?;
                Box::new(BufReader::with_capacity(128 * 1024, decoder.single_frame()))
            }
            LZMA => {
                let filters = filters(left, settings).ok_or(Malformed("a stream has unknown settings"))?;
                let stream = Stream::new_raw_decoder(&filters)
                    .map_err(|_| Malformed("a stream has unknown settings"))?;
                let decoder = liblzma::bufread::XzDecoder::new_stream(bytes, stream);
                Box::new(BufReader::with_capacity(128 * 1024, decoder))
            }
            _ => return Err(Malformed("a stream is packed in an unknown way")),
        };
        Ok(Unpacked { reader, left })
    }

    /// Goes on unpacking on a thread of its own, a little further than it is read.
    pub(crate) fn ahead<'scope>(mut self, scope: &'scope Scope<'scope, '_>) -> Ahead
    where
        'a: 'scope,
    {
        let (sender, receiver) = sync_channel(AHEAD_CHUNKS);
        let ahead = Ahead {
            left: self.left,
            chunk: Vec::new(),
            at: 0,
            receiver,
        };
        scope.spawn(move || {
            while self.left > 0 {
                let mut chunk = vec![0; self.left.min(AHEAD_BYTES) as usize];
                let read = self.reader.read_exact(&mut chunk);
                self.left -= chunk.len() as u64;
                // Whoever reads may have given up.
                if read.is_err() || sender.send(chunk).is_err() {
                    return;
                }
            }
        });
        ahead
    }

    /// Everything that is left, whose length was bounded when the stream was taken.
    pub(crate) fn all(mut self) -> Result<Vec<u8>, Malformed> {
        let mut bytes = Vec::new();
        // Grows with what is there, not with what was announced.
        (&mut self.reader)
            .take(self.left)
            .read_to_end(&mut bytes)
            .map_err(|_| Malformed("a stream cannot be unpacked"))?;
        match bytes.len() as u64 == self.left {
            true => Ok(bytes),
            false => Err(Malformed("a stream ends early")),
        }
    }
}

/// Bytes that are unpacked before they are handed over.
const AHEAD_BYTES: u64 = 256 * 1024;
/// So many times that may wait to be read.
const AHEAD_CHUNKS: usize = 16;

/// A stream that is unpacked on another thread. It gives exactly the bytes that it announced, or an error.
pub(crate) struct Ahead {
    left: u64,
    chunk: Vec<u8>,
    at: usize,
    receiver: Receiver<Vec<u8>>,
}

impl Ahead {
    /// Bytes still to come.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// Fills the buffer.
    pub(crate) fn fill(&mut self, mut buffer: &mut [u8]) -> Result<(), Malformed> {
        self.left = self
            .left
            .checked_sub(buffer.len() as u64)
            .ok_or(Malformed("a stream ends early"))?;
        while !buffer.is_empty() {
            if self.at == self.chunk.len() {
                let next = self.receiver.recv();
                (self.chunk, self.at) = (next.map_err(|_| Malformed("a stream cannot be unpacked"))?, 0);
            }
            let length = buffer.len().min(self.chunk.len() - self.at);
            let (now, later) = buffer.split_at_mut(length);
            now.copy_from_slice(&self.chunk[self.at..self.at + length]);
            self.at += length;
            buffer = later;
        }
        Ok(())
    }
}
