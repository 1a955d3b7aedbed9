//! Archives inside files: their compressed streams, unpacked so that they can be packed the same way again.
//!
//! Two compressed files differ everywhere though what is in them hardly does. Beside old files, streams are unpacked to
//! their tokens (`tokens`), which costs a reader next to nothing, and only where no stream of the other side is the same.
//! Where there is nothing old, content packs harder than tokens: streams are unpacked to it, and packed again by a
//! reader with a recipe that says how their compressor decided (`preflate-rs`), which may take seconds. LZMA2 has no such
//! layer between: its streams are unpacked to their content and packed by the same compressor (`lzma2`), but only where
//! there is something old, since they are as small as they can be by themselves. A stream that does not come back byte by
//! byte stays as it is.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, Read};

use preflate_rs::{PreflateConfig, preflate_whole_deflate_stream, recreate_whole_deflate_stream};

use crate::Malformed;
use crate::budget::Budget;
use crate::containers::{self, Found};
use crate::layout::{Coding, Stream};
use crate::lzma2;
use crate::parallel::in_parallel;
use crate::source::Input;
use crate::tokens::{self, Blocks};

/// Most bytes that one stream unpacks to: it is held in memory.
pub(crate) const PLAIN_MAX: u64 = 32 * 1024 * 1024;
/// Most compressed bytes of a stream: as many as it unpacks to, with room for a bad compressor.
pub(crate) const PACKED_MAX: u64 = 2 * PLAIN_MAX;
/// Shorter streams are not worth a recipe.
const PACKED_MIN: u64 = 64;
/// Bytes of a stream that are hashed at a time.
const HASH_BYTES: u64 = 256 * 1024;

/// What streams are unpacked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// They are only read.
    Old,
    /// They are compared with old ones, and have to be packed again: deflate streams from what their compressor decided.
    New,
    /// There is nothing old: deflate streams have to be packed again from their content.
    Alone,
}

/// A stream that can be packed again.
pub(crate) struct Unpacked {
    /// Where it is in its file.
    pub found: Found,
    /// What it is unpacked to.
    pub plain: Vec<u8>,
    /// The parts in which it is packed and unpacked, one after the other.
    pub parts: Vec<Blocks>,
    /// What it takes to pack that again; nothing for tokens.
    pub recipe: Vec<u8>,
}

/// The compressed streams of each old and each new file, without those that both sides have, which a copy gives as they
/// are, and without those that would take a reader too long.
pub(crate) fn changed_streams(old: &[Input<'_>], new: &[Input<'_>]) -> io::Result<[Vec<Vec<Found>>; 2]> {
    // Where there is nothing to compare with, no name is asked for.
    let compared = !old.is_empty();
    let (old, new) = (named_streams(old, compared)?, named_streams(new, compared)?);
    let names = |side: &[Vec<Named>]| side.iter().flatten().map(|(_, name)| *name).collect();
    let (of_old, of_new): (HashSet<u64>, HashSet<u64>) = (names(&old), names(&new));
    let changed = |side: Vec<Vec<Named>>, other: &HashSet<u64>| {
        let mut lzma2_left = lzma2::CONTENT_MAX;
        let mut is_wanted = |(found, name): &Named| match found.coding {
            _ if other.contains(name) => false,
            Coding::Deflate => true,
            Coding::Lzma2 { .. } => {
                let left = lzma2_left.checked_sub(found.plain);
                lzma2_left = left.unwrap_or(lzma2_left);
                left.is_some()
            }
        };
        side.into_iter()
            .map(|streams| {
                let wanted = streams.into_iter().filter(&mut is_wanted);
                wanted.map(|(found, _)| found).collect()
            })
            .collect()
    };
    Ok([changed(old, &of_new), changed(new, &of_old)])
}

/// A stream and a hash of its bytes. Were two streams taken for the same, they would stay packed: larger, never wrong.
type Named = (Found, u64);

fn named_streams(files: &[Input<'_>], compared: bool) -> io::Result<Vec<Vec<Named>>> {
    let mut buffer = Vec::new();
    let mut name = |file: &Input<'_>, found: Found| -> io::Result<Named> {
        let mut hasher = DefaultHasher::new();
        let (mut at, end) = (found.offset, found.offset + found.length);
        while compared && at < end {
            buffer.resize((end - at).min(HASH_BYTES) as usize, 0);
            file.read(at, &mut buffer)?;
            hasher.write(&buffer);
            at += buffer.len() as u64;
        }
        Ok((found, hasher.finish()))
    };
    let mut names = |file| {
        let streams = containers::streams(file)?.into_iter();
        streams.map(|found| name(file, found)).collect()
    };
    files.iter().map(&mut names).collect()
}

/// Unpacks those of the streams that can be packed again, as long as their file has at most so many bytes then, and
/// hands them over by offset: memory holds a few of them at a time.
pub(crate) fn unpack(
    file: &Input<'_>,
    found: &[Found],
    purpose: Purpose,
    bytes_max: u64,
    threads: usize,
    budget: &Budget,
    each: &mut dyn FnMut(Unpacked) -> io::Result<()>,
) -> io::Result<()> {
    let (mut end, mut total) = (0, file.length()?);
    // In batches: what all streams together unpack to may be far more than is allowed.
    for batch in found.chunks(threads.max(1)) {
        let unpacked = in_parallel(batch.len(), threads, |number| -> io::Result<_> {
            let found = batch[number];
            if found.length < PACKED_MIN {
                return Ok(None);
            }
            let mut packed = vec![0; found.length as usize];
            file.read(found.offset, &mut packed)?;
            let whole = |(plain, recipe): (Vec<u8>, Vec<u8>)| {
                let part = Blocks {
                    plain: plain.len() as u64,
                    bits: 8 * found.length,
                };
                (plain, vec![part], recipe)
            };
            let without_recipe = |(tokens, parts): (Vec<u8>, Vec<Blocks>)| (tokens, parts, Vec::new());
            Ok(match (purpose, found.coding) {
                (Purpose::Old, Coding::Deflate) => tokens::unpack(&packed, PLAIN_MAX).map(without_recipe),
                (Purpose::New, Coding::Deflate) => tokens::unpack(&packed, PLAIN_MAX)
                    .filter(|(tokens, parts)| comes_back(&packed, tokens, parts))
                    .map(without_recipe),
                (Purpose::Alone, Coding::Deflate) => with_recipe(&packed).map(whole),
                (Purpose::Old, Coding::Lzma2 { dictionary }) => {
                    lzma2::unpack(&packed, dictionary, PLAIN_MAX).map(|plain| whole((plain, Vec::new())))
                }
                (Purpose::New, Coding::Lzma2 { dictionary }) => lzma2::unpack(&packed, dictionary, PLAIN_MAX)
                    .and_then(|plain| {
                        let recipe = lzma2::recipe(&packed, &plain, dictionary, budget)?;
                        Some(whole((plain, recipe)))
                    }),
                (Purpose::Alone, Coding::Lzma2 { .. }) => None,
            })
        });
        for (found, unpacked) in batch.iter().copied().zip(unpacked) {
            let Some((plain, parts, recipe)) = unpacked?.filter(|_| found.offset >= end) else {
                continue;
            };
            total += plain.len() as u64;
            if total > bytes_max {
                return Ok(());
            }
            end = found.offset + found.length;
            each(Unpacked {
                found,
                plain,
                parts,
                recipe,
            })?;
        }
    }
    Ok(())
}

/// Whether the parts of these tokens, one after the other, are the stream.
fn comes_back(packed: &[u8], tokens: &[u8], parts: &[Blocks]) -> bool {
    let (mut left, mut begin, mut again) = (tokens, 0, Vec::new());
    for part in parts {
        let own;
        (own, left) = left.split_at(part.plain as usize);
        let Ok(all) = tokens::pack(own, begin, part.bits, again) else {
            return false;
        };
        again = all;
        begin = ((u64::from(begin) + part.bits) % 8) as u32;
    }
    again == packed
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
    (useful && deflate(&plain, &recipe).as_deref() == Ok(packed)).then_some((plain, recipe))
}

/// Packs plain bytes the way a recipe says, and appends that; tokens have none, and go into the byte that is there if they
/// begin within it.
pub(crate) fn pack(
    plain: &[u8],
    stream: &Stream,
    recipe: &[u8],
    budget: &Budget,
    mut out: Vec<u8>,
) -> Result<Vec<u8>, Malformed> {
    let packed = match stream.coding {
        Coding::Deflate if recipe.is_empty() => return tokens::pack(plain, stream.begin, stream.bits, out),
        Coding::Deflate => deflate(plain, recipe),
        Coding::Lzma2 { dictionary } => lzma2::pack(plain, dictionary, recipe, budget),
    }?;
    if 8 * packed.len() as u64 != stream.bits {
        return Err(tokens::WRONG);
    }
    out.extend_from_slice(&packed);
    Ok(out)
}

/// What [`pack`] undoes, from the bytes that the stream is in, to exactly so many plain ones; nothing if there are others.
pub(crate) fn unpack_old(packed: &[u8], stream: &Stream, plain: &mut [u8]) -> Option<()> {
    match stream.coding {
        Coding::Deflate => tokens::unpack_part(packed, stream.begin, stream.bits, plain),
        Coding::Lzma2 { dictionary } => {
            let unpacked = lzma2::unpack(packed, dictionary, stream.plain)?;
            (unpacked.len() == plain.len()).then(|| plain.copy_from_slice(&unpacked))
        }
    }
}

/// Packs content the way a recipe says.
fn deflate(plain: &[u8], recipe: &[u8]) -> Result<Vec<u8>, Malformed> {
    // The library asserts what it expects of a recipe.
    std::panic::catch_unwind(|| recreate_whole_deflate_stream(plain, recipe).ok())
        .ok()
        .flatten()
        .ok_or(tokens::WRONG)
}

/// Unpacks exactly one deflate stream.
fn inflate(packed: &[u8], max: u64) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    let mut decoder = flate2::bufread::DeflateDecoder::new(packed);
    (&mut decoder).take(max + 1).read_to_end(&mut plain).ok()?;
    let whole = decoder.total_in() == packed.len() as u64 && plain.len() as u64 <= max;
    (whole && !plain.is_empty()).then_some(plain)
}
