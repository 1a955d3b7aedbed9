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

/// Largest dictionary: bounds the memory of a reader, and twelve times as much of whoever makes the delta.
const DICTIONARY_MAX: u32 = 12 * 1024 * 1024;
/// The same for zstd, as a power of two.
const WINDOW_LOG_MAX: u32 = 23;
const DICTIONARY_MIN: u32 = 64 * 1024;
const ZSTD_LEVEL: i32 = 19;
/// Bytes that are packed at a time.
const CHUNK_BYTES: usize = 64 * 1024;
/// Bytes on which several settings are tried.
const SAMPLE_BYTES: u64 = 512 * 1024;

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

/// A stream that is made as it is read, as often as it is opened.
pub(crate) struct Raw<'a> {
    /// Its length.
    pub length: u64,
    /// Its bytes.
    pub open: Box<dyn Fn() -> Box<dyn Read + 'a> + 'a>,
}

impl<'a> Raw<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        Raw {
            length: bytes.len() as u64,
            open: Box::new(move || Box::new(bytes)),
        }
    }

    /// What is best for a piece out of the middle is best for the whole, nearly always.
    fn sample(&self) -> io::Result<Vec<u8>> {
        let mut reader = (self.open)();
        let skipped = self.length.saturating_sub(SAMPLE_BYTES) / 2;
        io::copy(&mut (&mut reader).take(skipped), &mut io::sink())?;
        let mut sample = Vec::new();
        reader.take(SAMPLE_BYTES).read_to_end(&mut sample)?;
        Ok(sample)
    }
}

/// Packs streams with their lengths, in this order, on so many threads; each finds repetitions in so many bytes.
pub(crate) fn pack_all(
    streams: &[(&Vec<u8>, Content)],
    dictionary: u32,
    threads: usize,
) -> io::Result<Vec<Vec<u8>>> {
    in_parallel(streams.len(), threads, |number| {
        let (raw, content) = streams[number];
        pack(&Raw::of(raw), content, dictionary)
    })
    .into_iter()
    .collect()
}

/// Packs a stream with its length.
pub(crate) fn pack(raw: &Raw<'_>, content: Content, dictionary: u32) -> io::Result<Vec<u8>> {
    let (codec, settings, bytes) = smallest(raw, content, dictionary)?;
    let mut out = vec![codec, settings];
    varint::put(&mut out, raw.length);
    varint::put(&mut out, bytes.len() as u64);
    out.extend_from_slice(&bytes);
    Ok(out)
}

fn smallest(raw: &Raw<'_>, content: Content, dictionary: u32) -> io::Result<(u8, u8, Vec<u8>)> {
    let sample = raw.sample()?;
    let mut best = (PLAIN, 0, sample.clone());
    if sample.len() >= 16 && !is_noise(&sample)? {
        // Literal context, literal position and position bits, as in the properties byte of LZMA.
        let tried: &[(u8, u8, u8)] = match content {
            Content::Numbers => &[(3, 0, 0), (0, 0, 0)],
            Content::Corrections => &[(3, 0, 0), (0, 0, 0), (0, 2, 2)],
            Content::Text => &[(3, 0, 0), (3, 0, 2)],
        };
        for (lc, lp, pb) in tried {
            let settings = (pb * 5 + lp) * 9 + lc;
            let bytes = lzma(&Raw::of(&sample), settings, dictionary)?;
            if bytes.len() < best.2.len() {
                best = (LZMA, settings, bytes);
            }
        }
        let bytes = zstd(&Raw::of(&sample))?;
        if bytes.len() * 50 < best.2.len() * 51 {
            best = (ZSTD, 0, bytes);
        }
    }
    if (sample.len() as u64) < raw.length {
        best.2 = match best.0 {
            LZMA => lzma(raw, best.1, dictionary)?,
            ZSTD => zstd(raw)?,
            _ => {
                let mut all = Vec::new();
                (raw.open)().read_to_end(&mut all)?;
                all
            }
        };
    }
    Ok(best)
}

/// Whether the first of two versions of a stream gets smaller than the second.
pub(crate) fn is_smaller(first: &Raw<'_>, second: &Raw<'_>) -> io::Result<bool> {
    let settings = 3;
    let (first, second) = (first.sample()?, second.sample()?);
    if is_noise(&second)? {
        return Ok(false);
    }
    let size = |raw: &[u8]| lzma(&Raw::of(raw), settings, DICTIONARY_MAX).map(|bytes| bytes.len());
    Ok(size(&first)? < size(&second)?)
}

/// Whether nothing can be gained, as with bytes that are compressed or encrypted already: found out before the slow
/// compressors spend their time on it.
fn is_noise(sample: &[u8]) -> io::Result<bool> {
    Ok(sample.len() > 4096 && zstd::bulk::compress(sample, 3)?.len() >= sample.len())
}

fn zstd(raw: &Raw<'_>) -> io::Result<Vec<u8>> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL)?;
    encoder.set_pledged_src_size(Some(raw.length))?;
    encoder.window_log(window_log(raw.length))?;
    encoder.include_contentsize(false)?;
    io::copy(&mut (raw.open)(), &mut encoder)?;
    encoder.finish()
}

fn window_log(length: u64) -> u32 {
    length
        .next_power_of_two()
        .trailing_zeros()
        .clamp(10, WINDOW_LOG_MAX)
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

fn lzma(raw: &Raw<'_>, settings: u8, dictionary: u32) -> io::Result<Vec<u8>> {
    let wrong = || io::Error::other("the settings of a stream cannot be used");
    let filters = filters(raw.length.min(dictionary.into()), settings).ok_or_else(wrong)?;
    let mut encoder = Stream::new_raw_encoder(&filters)?;
    let (mut reader, mut chunk) = ((raw.open)(), vec![0; CHUNK_BYTES]);
    let (mut left, mut out) = (0..0, Vec::new());
    loop {
        if left.is_empty() {
            left = 0..reader.read(&mut chunk)?;
        }
        let action = match left.is_empty() {
            true => Action::Finish,
            false => Action::Run,
        };
        out.reserve(CHUNK_BYTES);
        let before = encoder.total_in();
        if encoder.process_vec(&chunk[left.clone()], &mut out, action)? == Status::StreamEnd {
            return Ok(out);
        }
        left.start += (encoder.total_in() - before) as usize;
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
                decoder.window_log_max(window_log(left)).map_err(unreadable)?;
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
