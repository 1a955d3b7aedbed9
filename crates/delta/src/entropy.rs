//! The last step of every stream of a delta: a general compressor.
//!
//! Between two versions it is zstd, which unpacks many times as fast as LZMA. What somebody with nothing fetches is
//! packed by whichever of both is smaller: LZMA nearly always, unless zstd costs less than 2 % more.

use std::io::{self, BufReader, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Scope;

use liblzma::stream::{Filters, LzmaOptions, Stream};
use zstd::zstd_safe::CParameter;

use crate::Malformed;
use crate::literals;
use crate::lzma2::{self, DICTIONARY_SHARE};
use crate::parallel::in_parallel;
use crate::varint::{self, Reader};

const PLAIN: u8 = 0;
const ZSTD: u8 = 1;
const LZMA: u8 = 2;

/// Largest dictionary of LZMA: bounds the memory of a reader, and twelve times as much of whoever makes the delta.
const DICTIONARY_MAX: u32 = 12 * 1024 * 1024;
/// Largest window of zstd, as a power of two: bounds the memory of a reader.
pub(crate) const WINDOW_LOG_MAX: u32 = 25;
const WINDOW_LOG_MIN: u32 = 10;
/// Most and fewest places in its table of chains, as powers of two.
const CHAIN_LOG_MAX: u32 = 24;
const CHAIN_LOG_MIN: u32 = 16;
/// Most places in its table of hashes, likewise.
const HASH_LOG_MAX: u32 = 22;
/// Bytes of a place in a table.
const TABLE_PLACE_BYTES: u64 = 4;
/// Bytes that all streams of a delta look back at together.
const WINDOWS_MAX: u64 = 192 * 1024 * 1024;
const DICTIONARY_MIN: u32 = 64 * 1024;
const ZSTD_LEVEL: i32 = 19;
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

/// How to pack.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    /// Bytes that the compressor may take, beside what goes in and comes out.
    pub memory: u64,
    /// Bytes that zstd looks back at, at most, as a power of two.
    pub window_log_max: u32,
    /// Whether it is to be unpacked fast, and not as small as can be.
    pub fast: bool,
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

/// Packs streams with their lengths, in this order, on so many threads.
pub(crate) fn pack_all(
    streams: &[(&Vec<u8>, Content)],
    effort: Effort,
    threads: usize,
) -> io::Result<Vec<Vec<u8>>> {
    in_parallel(streams.len(), threads, |number| {
        let (raw, content) = streams[number];
        pack(&Raw::of(raw), content, effort)
    })
    .into_iter()
    .collect()
}

/// Packs a stream with its length.
pub(crate) fn pack(raw: &Raw<'_>, content: Content, effort: Effort) -> io::Result<Vec<u8>> {
    let (codec, settings, bytes) = smallest(raw, content, effort)?;
    let mut out = vec![codec, settings];
    varint::put(&mut out, raw.length);
    varint::put(&mut out, bytes.len() as u64);
    out.extend_from_slice(&bytes);
    Ok(out)
}

fn smallest(raw: &Raw<'_>, content: Content, effort: Effort) -> io::Result<(u8, u8, Vec<u8>)> {
    let sample = raw.sample()?;
    let tables = Tables::within(effort, raw.length);
    let mut best = (PLAIN, 0, sample.clone());
    if sample.len() >= 16 && !is_noise(&sample)? {
        // Literal context, literal position and position bits, as in the properties byte of LZMA.
        let tried: &[(u8, u8, u8)] = match content {
            _ if effort.fast => &[],
            Content::Numbers => &[(3, 0, 0), (0, 0, 0)],
            Content::Corrections => &[(3, 0, 0), (0, 0, 0), (0, 2, 2)],
            Content::Text => &[(3, 0, 0), (3, 0, 2)],
        };
        for (lc, lp, pb) in tried {
            let settings = (pb * 5 + lp) * 9 + lc;
            let bytes = lzma(&Raw::of(&sample), settings, effort.memory)?;
            if bytes.len() < best.2.len() {
                best = (LZMA, settings, bytes);
            }
        }
        let bytes = zstd(&Raw::of(&sample), tables)?;
        let allowed = match best.0 {
            LZMA => best.2.len() / 50,
            _ => 0,
        };
        if bytes.len() < best.2.len() + allowed {
            best = (ZSTD, tables.window_log as u8, bytes);
        }
    }
    if (sample.len() as u64) < raw.length {
        best.2 = match best.0 {
            LZMA => lzma(raw, best.1, effort.memory)?,
            ZSTD => zstd(raw, tables)?,
            _ => {
                let mut all = Vec::new();
                (raw.open)().read_to_end(&mut all)?;
                all
            }
        };
    }
    Ok(best)
}

/// Whether nothing can be gained, as with bytes that are compressed or encrypted already: found out before the slow
/// compressors spend their time on it.
fn is_noise(sample: &[u8]) -> io::Result<bool> {
    Ok(sample.len() > 4096 && zstd::bulk::compress(sample, 3)?.len() >= sample.len())
}

/// What zstd finds repetitions with, each size as a power of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tables {
    window_log: u32,
    chain_log: u32,
    hash_log: u32,
}

impl Tables {
    /// For a stream of this length, within so much memory: the window first, since without it nothing is found at all.
    fn within(effort: Effort, length: u64) -> Self {
        let (memory, mut window_log) = (effort.memory, window_log(length).min(effort.window_log_max));
        while window_log > WINDOW_LOG_MIN && 1 << window_log > memory * 2 / 3 {
            window_log -= 1;
        }
        let left = memory.saturating_sub(1 << window_log);
        let of = |chain_log: u32| Tables {
            window_log,
            chain_log,
            hash_log: (chain_log - 1).min(HASH_LOG_MAX),
        };
        let fits =
            |tables: &Tables| ((1 << tables.chain_log) + (1 << tables.hash_log)) * TABLE_PLACE_BYTES <= left;
        let mut logs = (CHAIN_LOG_MIN..=CHAIN_LOG_MAX).rev().map(of);
        logs.find(fits).unwrap_or_else(|| of(CHAIN_LOG_MIN))
    }
}

fn zstd(raw: &Raw<'_>, tables: Tables) -> io::Result<Vec<u8>> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL)?;
    encoder.set_pledged_src_size(Some(raw.length))?;
    encoder.window_log(tables.window_log)?;
    // Far repetitions are found with little memory.
    encoder.long_distance_matching(true)?;
    encoder.set_parameter(CParameter::ChainLog(tables.chain_log))?;
    encoder.set_parameter(CParameter::HashLog(tables.hash_log))?;
    encoder.include_contentsize(false)?;
    io::copy(&mut (raw.open)(), &mut encoder)?;
    encoder.finish()
}

fn window_log(length: u64) -> u32 {
    length
        .next_power_of_two()
        .trailing_zeros()
        .clamp(WINDOW_LOG_MIN, WINDOW_LOG_MAX)
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

fn lzma(raw: &Raw<'_>, settings: u8, memory: u64) -> io::Result<Vec<u8>> {
    let wrong = || io::Error::other("the settings of a stream cannot be used");
    let filters = filters(raw.length.min(memory / DICTIONARY_SHARE), settings).ok_or_else(wrong)?;
    lzma2::encode(&filters, (raw.open)())
}

/// How much more the streams of a delta may look back at.
pub(crate) struct Windows(u64);

impl Windows {
    pub(crate) fn new() -> Self {
        Windows(WINDOWS_MAX)
    }

    fn take(&mut self, bytes: u64) -> Result<(), Malformed> {
        let left = self.0.checked_sub(bytes);
        self.0 = left.ok_or(Malformed("its streams look back further than they may"))?;
        Ok(())
    }
}

/// A stream, unpacked as it is read. It gives exactly the bytes that it announced, or an error.
pub(crate) struct Unpacked<'a> {
    packed: Packed<'a>,
    left: u64,
}

/// What a stream comes from.
enum Packed<'a> {
    /// Packed with zstd, which may look back at all of it: to hold all then takes no more memory.
    Whole { bytes: &'a [u8], window_log: u32 },
    /// Unpacked piece by piece.
    Pieces(Box<dyn Read + Send + 'a>),
}

impl<'a> Packed<'a> {
    fn pieces(self) -> Result<Box<dyn Read + Send + 'a>, Malformed> {
        let (bytes, window_log) = match self {
            Packed::Pieces(reader) => return Ok(reader),
            Packed::Whole { bytes, window_log } => (bytes, window_log),
        };
        zstd_pieces(bytes, window_log)
    }
}

fn zstd_pieces(bytes: &[u8], window_log: u32) -> Result<Box<dyn Read + Send + '_>, Malformed> {
    let unreadable = |_| Malformed("a stream cannot be unpacked");
    let mut decoder = zstd::stream::read::Decoder::with_buffer(bytes).map_err(unreadable)?;
    decoder.window_log_max(window_log).map_err(unreadable)?;
    Ok(Box::new(BufReader::with_capacity(
        128 * 1024,
        decoder.single_frame(),
    )))
}

impl<'a> Unpacked<'a> {
    /// Takes a stream off the front; it may announce at most `max` bytes.
    pub(crate) fn take(from: &mut Reader<'a>, max: u64, windows: &mut Windows) -> Result<Self, Malformed> {
        let (codec, settings) = (from.byte()?, from.byte()?);
        let left = from.number_to(max, "a stream is longer than it may be")?;
        let length = from.number()?;
        let bytes = from.bytes(length)?;
        let packed = match codec {
            PLAIN => Packed::Pieces(Box::new(bytes)),
            ZSTD => {
                let window_log = u32::from(settings).clamp(WINDOW_LOG_MIN, WINDOW_LOG_MAX);
                windows.take(1 << window_log)?;
                match left <= 1 << window_log {
                    true => Packed::Whole { bytes, window_log },
                    false => Packed::Pieces(zstd_pieces(bytes, window_log)?),
                }
            }
            LZMA => {
                windows.take(dictionary(left).into())?;
                let filters = filters(left, settings).ok_or(Malformed("a stream has unknown settings"))?;
                let stream = Stream::new_raw_decoder(&filters)
                    .map_err(|_| Malformed("a stream has unknown settings"))?;
                let decoder = liblzma::bufread::XzDecoder::new_stream(bytes, stream);
                Packed::Pieces(Box::new(BufReader::with_capacity(128 * 1024, decoder)))
            }
            _ => return Err(Malformed("a stream is packed in an unknown way")),
        };
        Ok(Unpacked { packed, left })
    }

    /// Bytes still to come.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// The same with its bytes in the order that they had before they were packed.
    pub(crate) fn restored(self, stream: usize) -> Result<Self, Malformed> {
        if literals::is_in_order(stream) {
            return Ok(self);
        }
        let reader = literals::restored(stream, self.packed.pieces()?.take(self.left));
        Ok(Unpacked {
            packed: Packed::Pieces(reader),
            left: self.left,
        })
    }

    /// Goes on unpacking on a thread of its own, a little further than it is read.
    pub(crate) fn ahead<'scope>(mut self, scope: &'scope Scope<'scope, '_>) -> Ahead
    where
        'a: 'scope,
    {
        let ((sender, receiver), (given_back, again)) =
            (sync_channel(AHEAD_CHUNKS), sync_channel(AHEAD_CHUNKS));
        let ahead = Ahead {
            left: self.left,
            chunk: Vec::new(),
            at: 0,
            receiver,
            given_back,
        };
        if self.left == 0 {
            return ahead;
        }
        scope.spawn(move || {
            let mut reader = match self.packed {
                Packed::Pieces(reader) => reader,
                Packed::Whole { bytes, .. } => {
                    // Whoever reads finds out that there is nothing, or may have given up.
                    let _ = at_once(bytes, self.left).map(|bytes| sender.send(bytes));
                    return;
                }
            };
            while self.left > 0 {
                let mut chunk: Vec<u8> = again.try_recv().unwrap_or_default();
                chunk.resize(self.left.min(AHEAD_BYTES) as usize, 0);
                let read = reader.read_exact(&mut chunk);
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
    pub(crate) fn all(self) -> Result<Vec<u8>, Malformed> {
        let reader = match self.packed {
            Packed::Pieces(reader) => reader,
            Packed::Whole { bytes, .. } => return at_once(bytes, self.left),
        };
        let mut bytes = Vec::new();
        // Grows with what is there, not with what was announced.
        reader
            .take(self.left)
            .read_to_end(&mut bytes)
            .map_err(|_| Malformed("a stream cannot be unpacked"))?;
        match bytes.len() as u64 == self.left {
            true => Ok(bytes),
            false => Err(Malformed("a stream ends early")),
        }
    }
}

/// Unpacks a stream of so many bytes to where it is held, without a window beside it.
fn at_once(packed: &[u8], length: u64) -> Result<Vec<u8>, Malformed> {
    let mut bytes = vec![0; length as usize];
    match zstd::bulk::decompress_to_buffer(packed, bytes.as_mut_slice()) {
        Ok(unpacked) if unpacked == bytes.len() => Ok(bytes),
        _ => Err(Malformed("a stream cannot be unpacked")),
    }
}

/// Bytes that are unpacked before they are handed over.
const AHEAD_BYTES: u64 = 256 * 1024;
/// So many times that may wait to be read.
const AHEAD_CHUNKS: usize = 4;

/// A stream that is unpacked on another thread. It gives exactly the bytes that it announced, or an error.
pub(crate) struct Ahead {
    left: u64,
    chunk: Vec<u8>,
    at: usize,
    receiver: Receiver<Vec<u8>>,
    /// Takes chunks back once they are read: memory that is given anew costs more than filling it.
    given_back: SyncSender<Vec<u8>>,
}

impl Ahead {
    /// Bytes still to come.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// Takes the next bytes.
    pub(crate) fn read(&mut self, mut to: &mut [u8]) -> Result<(), Malformed> {
        self.left = self
            .left
            .checked_sub(to.len() as u64)
            .ok_or(Malformed("a stream ends early"))?;
        while !to.is_empty() {
            if self.at == self.chunk.len() {
                let next = self.receiver.recv();
                let next = next.map_err(|_| Malformed("a stream cannot be unpacked"))?;
                // Nobody takes it any more once all is unpacked.
                let _ = self.given_back.try_send(std::mem::replace(&mut self.chunk, next));
                self.at = 0;
            }
            let (now, later) = to.split_at_mut(to.len().min(self.chunk.len() - self.at));
            now.copy_from_slice(&self.chunk[self.at..self.at + now.len()]);
            self.at += now.len();
            to = later;
        }
        Ok(())
    }
}
