//! Archives inside files: their deflate streams, unpacked so that they can be packed the same way again.
//!
//! Two compressed files differ everywhere though what is in them hardly does. Beside old files, streams are unpacked to
//! their tokens (`tokens`), which costs a reader next to nothing, and only where no stream of the other side is the same.
//! Where there is nothing old, content packs harder than tokens: streams are unpacked to it, and packed again by a
//! reader with a recipe that says how their compressor decided (`preflate-rs`), which may take seconds. A stream that
//! does not come back byte by byte stays as it is.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read};

use preflate_rs::{PreflateConfig, preflate_whole_deflate_stream, recreate_whole_deflate_stream};

use crate::Malformed;
use crate::parallel::in_parallel;
use crate::source::Input;
use crate::tokens;

/// Most bytes that one stream unpacks to: it is held in memory.
pub(crate) const PLAIN_MAX: u64 = 32 * 1024 * 1024;
/// Shorter streams are not worth a recipe.
const PACKED_MIN: u64 = 64;
/// Most streams of one file.
const STREAMS_MAX: usize = 200_000;

/// A deflate stream found in a file: offset and length.
pub(crate) type Found = (u64, u64);

/// What streams are unpacked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// What their compressor decided.
    Tokens,
    /// What was compressed.
    Content,
}

/// A stream that can be packed again.
pub(crate) struct Unpacked {
    /// Where it is in its file.
    pub found: Found,
    /// What it is unpacked to.
    pub plain: Vec<u8>,
    /// What it takes to pack that again; nothing for tokens.
    pub recipe: Vec<u8>,
}

/// Whether this looks like an archive whose streams may be unpacked.
pub fn is_archive(file: &[u8]) -> bool {
    file.starts_with(b"PK\x03\x04") || file.starts_with(&[0x1f, 0x8b, 8])
}

/// The deflate streams of each old and each new file, without those that both sides have: a copy gives these as they are.
pub(crate) fn changed_streams(old: &[Input<'_>], new: &[Input<'_>]) -> io::Result<[Vec<Vec<Found>>; 2]> {
    let (old, new) = (named_streams(old)?, named_streams(new)?);
    let names = |side: &[Vec<Named>]| side.iter().flatten().map(|(_, name)| *name).collect();
    let (of_old, of_new): (HashSet<u64>, HashSet<u64>) = (names(&old), names(&new));
    let changed = |side: Vec<Vec<Named>>, other: &HashSet<u64>| {
        side.into_iter()
            .map(|streams| {
                let changed = streams.into_iter().filter(|(_, name)| !other.contains(name));
                changed.map(|(found, _)| found).collect()
            })
            .collect()
    };
    Ok([changed(old, &of_new), changed(new, &of_old)])
}

/// A stream and a hash of its bytes. Were two streams taken for the same, they would stay packed: larger, never wrong.
type Named = (Found, u64);

fn named_streams(files: &[Input<'_>]) -> io::Result<Vec<Vec<Named>>> {
    let mut all = Vec::new();
    for file in files {
        let mut begin = vec![0; file.length()?.min(4) as usize];
        file.read(0, &mut begin)?;
        if !is_archive(&begin) {
            all.push(Vec::new());
            continue;
        }
        let file = file.all()?;
        let named = streams(&file).into_iter().map(|found| {
            let mut hasher = DefaultHasher::new();
            packed(&file, found).hash(&mut hasher);
            (found, hasher.finish())
        });
        all.push(named.collect());
    }
    Ok(all)
}

/// The bytes of a stream, which lie in the file.
fn packed(file: &[u8], (offset, length): Found) -> &[u8] {
    &file[offset as usize..(offset + length) as usize]
}

/// The deflate streams of an archive, by offset; none if this is no archive.
pub(crate) fn streams(file: &[u8]) -> Vec<Found> {
    let found = if file.starts_with(b"PK\x03\x04") {
        zip(file)
    } else if file.starts_with(&[0x1f, 0x8b, 8]) {
        gzip(file)
    } else {
        None
    };
    found.unwrap_or_default()
}

/// Unpacks those of the streams that can be packed again, as long as their file has at most so many bytes then, and
/// hands them over by offset: memory holds a few of them at a time.
pub(crate) fn unpack(
    file: &Input<'_>,
    found: &[Found],
    form: Form,
    bytes_max: u64,
    threads: usize,
    each: &mut dyn FnMut(Unpacked) -> io::Result<()>,
) -> io::Result<()> {
    let (mut end, mut total) = (0, file.length()?);
    // In batches: what all streams together unpack to may be far more than is allowed.
    for batch in found.chunks(threads.max(1)) {
        let unpacked = in_parallel(batch.len(), threads, |number| -> io::Result<_> {
            let (offset, length) = batch[number];
            let mut packed = vec![0; length as usize];
            file.read(offset, &mut packed)?;
            Ok(match form {
                _ if length < PACKED_MIN => None,
                Form::Content => with_recipe(&packed),
                Form::Tokens => tokens::unpack(&packed, PLAIN_MAX)
                    .filter(|tokens| tokens::pack(tokens).as_ref() == Ok(&packed))
                    .map(|tokens| (tokens, Vec::new())),
            })
        });
        for (found, unpacked) in batch.iter().copied().zip(unpacked) {
            let Some((plain, recipe)) = unpacked?.filter(|_| found.0 >= end) else {
                continue;
            };
            total += plain.len() as u64;
            if total > bytes_max {
                return Ok(());
            }
            end = found.0 + found.1;
            each(Unpacked { found, plain, recipe })?;
        }
    }
    Ok(())
}

/// Plain bytes and recipe, if they give back the same stream.
fn with_recipe(packed: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    // Bounded before the recipe is sought, which costs more.
    inflate(packed, PLAIN_MAX)?;
    let config = PreflateConfig {
        plain_text_limit: PLAIN_MAX as usize,
        verify_compression: false,
        ..PreflateConfig::default()
    };
    let attempt = std::panic::catch_unwind(|| {
        let (found, plain) = preflate_whole_deflate_stream(packed, &config).ok()?;
        (found.compressed_size == packed.len()).then(|| (plain.text().to_vec(), found.corrections))
    });
    let (plain, recipe) = attempt.ok().flatten()?;
    // A recipe as long as the stream itself gains nothing.
    let useful = !recipe.is_empty() && recipe.len() * 4 < packed.len();
    (useful && pack(&plain, &recipe).as_deref() == Ok(packed)).then_some((plain, recipe))
}

/// Packs plain bytes the way a recipe says; tokens have none.
pub(crate) fn pack(plain: &[u8], recipe: &[u8]) -> Result<Vec<u8>, Malformed> {
    if recipe.is_empty() {
        return tokens::pack(plain);
    }
    // The library asserts what it expects of a recipe.
    std::panic::catch_unwind(|| recreate_whole_deflate_stream(plain, recipe).ok())
        .ok()
        .flatten()
        .ok_or(Malformed("an archive cannot be packed again"))
}

/// Unpacks exactly one deflate stream.
fn inflate(packed: &[u8], max: u64) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    let mut decoder = flate2::bufread::DeflateDecoder::new(packed);
    (&mut decoder).take(max + 1).read_to_end(&mut plain).ok()?;
    let whole = decoder.total_in() == packed.len() as u64 && plain.len() as u64 <= max;
    (whole && !plain.is_empty()).then_some(plain)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<usize> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?).into())
}

fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?) as usize)
}

/// The deflate streams that the central directory of a zip archive lists, by offset (APPNOTE 6.3.10, section 4.3).
fn zip(file: &[u8]) -> Option<Vec<Found>> {
    const END: usize = 22;
    let from = file.len().checked_sub(END)?;
    let end = (from.saturating_sub(65_535)..=from)
        .rev()
        .find(|at| file[*at..].starts_with(b"PK\x05\x06"))?;
    let (count, mut at) = (u16_at(file, end + 10)?, u32_at(file, end + 16)?);
    // More entries than the field can hold: the directory itself says where it ends.
    let count = if count == 0xffff { STREAMS_MAX } else { count };
    let mut found = Vec::new();
    for _ in 0..count.min(STREAMS_MAX) {
        if !file.get(at..)?.starts_with(b"PK\x01\x02") {
            break;
        }
        let (method, packed, local) = (
            u16_at(file, at + 10)?,
            u32_at(file, at + 20)?,
            u32_at(file, at + 42)?,
        );
        at += 46 + u16_at(file, at + 28)? + u16_at(file, at + 30)? + u16_at(file, at + 32)?;
        if method == 8 && file.get(local..)?.starts_with(b"PK\x03\x04") {
            let data = local + 30 + u16_at(file, local + 26)? + u16_at(file, local + 28)?;
            if data.checked_add(packed)? <= file.len() {
                found.push((data as u64, packed as u64));
            }
        }
    }
    found.sort_unstable();
    Some(found)
}

/// The deflate streams of the members of a gzip file (RFC 1952).
fn gzip(file: &[u8]) -> Option<Vec<Found>> {
    const TRAILER: usize = 8;
    let mut found = Vec::new();
    let mut at = 0;
    while at < file.len() && found.len() < 1024 {
        let Some(data) = gzip_data(file, at) else { break };
        let mut decoder = flate2::bufread::DeflateDecoder::new(&file[data..]);
        let plain = std::io::copy(&mut (&mut decoder).take(PLAIN_MAX + 1), &mut std::io::sink()).ok()?;
        let packed = decoder.total_in();
        if plain <= PLAIN_MAX {
            found.push((data as u64, packed));
        } else {
            break;
        }
        at = data + packed as usize + TRAILER;
    }
    Some(found)
}

fn gzip_data(file: &[u8], at: usize) -> Option<usize> {
    let head = file.get(at..at + 10)?;
    if !head.starts_with(&[0x1f, 0x8b, 8]) {
        return None;
    }
    let (flags, mut data) = (head[3], at + 10);
    if flags & 4 != 0 {
        data += 2 + u16_at(file, data)?;
    }
    for text in [8, 16] {
        if flags & text != 0 {
            data += file.get(data..)?.iter().position(|byte| *byte == 0)? + 1;
        }
    }
    if flags & 2 != 0 {
        data += 2;
    }
    (data < file.len()).then_some(data)
}
