//! LZMA2 streams, as xz files have them, unpacked to their content and packed again by the same compressor.
//!
//! Whoever packed them chose a preset, which is not in the stream: it is found by packing the begin with each of them.
//! Other compressors' streams come out differently, and stay packed.

use std::io::{self, Read};

use liblzma::stream::{Action, Filters, LzmaOptions, PRESET_EXTREME, Status, Stream};

use crate::Malformed;
use crate::budget::Budget;

/// Largest dictionary, as the format writes it: 8 MiB, that of preset 6, which is what is used where nothing is said.
pub(crate) const DICTIONARY_BITS_MAX: u8 = 22;
/// A compressor needs about this many times its dictionary.
pub(crate) const DICTIONARY_SHARE: u64 = 12;
/// What all compressors that run at the same time may need: one with the largest dictionary.
const BUDGET_BYTES: u64 = DICTIONARY_SHARE * (8 << 20);
/// Most bytes of content, of all streams of either side of a delta: whoever applies it packs some 3 MB of them a second.
pub(crate) const CONTENT_MAX: u64 = 96 * 1024 * 1024;
/// Presets that are tried on a whole stream.
const TRIED_MAX: usize = 2;
/// Bytes that are packed at a time.
const CHUNK_BYTES: usize = 64 * 1024;
/// Unpacked bytes that tell a preset.
const SAMPLE_BYTES: usize = 128 * 1024;
/// Head of a chunk of LZMA2: its lengths, which are others for a sample.
const CHUNK_HEAD_BYTES: usize = 6;
/// Presets by how often they are met. They only differ by dictionary from 6 on.
const PRESETS: [u8; 9] = [6, 6 | EXTREME, 5, 5 | EXTREME, 4, 3, 2, 1, 0];
/// In the number of a preset.
const EXTREME: u8 = 0x10;

/// Bytes of a dictionary (The .xz File Format 1.2.1, section 5.3.1).
fn dictionary_bytes(bits: u8) -> u32 {
    (2 | u32::from(bits & 1)) << (bits / 2 + 11)
}

/// The content of exactly one stream; nothing if it is none, or has more bytes.
pub(crate) fn unpack(packed: &[u8], dictionary: u8, max: u64) -> Option<Vec<u8>> {
    let mut options = LzmaOptions::new();
    options.dict_size(dictionary_bytes(dictionary));
    let mut filters = Filters::new();
    filters.lzma2(&options);
    let decoder = Stream::new_raw_decoder(&filters).ok()?;
    let mut decoder = liblzma::bufread::XzDecoder::new_stream(packed, decoder);
    let mut plain = Vec::new();
    (&mut decoder).take(max + 1).read_to_end(&mut plain).ok()?;
    let whole = decoder.total_in() == packed.len() as u64 && plain.len() as u64 <= max;
    (whole && !plain.is_empty()).then_some(plain)
}

/// Memory for all compressors together.
pub(crate) fn budget() -> Budget {
    Budget::new(BUDGET_BYTES)
}

/// What it takes to pack this content to that stream again, if that was found.
pub(crate) fn recipe(packed: &[u8], plain: &[u8], dictionary: u8, budget: &Budget) -> Option<Vec<u8>> {
    if packed.len() >= plain.len() {
        // Stored, whatever the preset.
        return None;
    }
    let sample = &plain[..plain.len().min(SAMPLE_BYTES)];
    let is_like = |preset: &u8| {
        let agreeing = |again: Vec<u8>| {
            let pairs = again.iter().zip(packed).skip(CHUNK_HEAD_BYTES);
            let agreeing = pairs.take_while(|(a, b)| a == b).count();
            agreeing + CHUNK_HEAD_BYTES >= again.len() / 2
        };
        pack(sample, dictionary, &[*preset], budget).is_ok_and(agreeing)
    };
    let mut like = PRESETS.into_iter().filter(is_like).take(TRIED_MAX);
    let preset = like.find(|preset| pack(plain, dictionary, &[*preset], budget).as_deref() == Ok(packed))?;
    Some(vec![preset])
}

/// Packs content the way a recipe says.
pub(crate) fn pack(
    plain: &[u8],
    dictionary: u8,
    recipe: &[u8],
    budget: &Budget,
) -> Result<Vec<u8>, Malformed> {
    const WRONG: Malformed = Malformed("an archive cannot be packed again");
    let preset = match recipe {
        [preset] if PRESETS.contains(preset) && dictionary <= DICTIONARY_BITS_MAX => *preset,
        _ => return Err(WRONG),
    };
    let dictionary = dictionary_bytes(dictionary);
    let extreme = if preset & EXTREME != 0 { PRESET_EXTREME } else { 0 };
    let mut options = LzmaOptions::new_preset(u32::from(preset & !EXTREME) | extreme).map_err(|_| WRONG)?;
    options.dict_size(dictionary);
    let mut filters = Filters::new();
    filters.lzma2(&options);
    let _taken = budget.take(u64::from(dictionary) * DICTIONARY_SHARE);
    encode(&filters, plain).map_err(|_| WRONG)
}

/// Everything that a reader gives, packed.
pub(crate) fn encode(filters: &Filters, mut reader: impl Read) -> io::Result<Vec<u8>> {
    let mut encoder = Stream::new_raw_encoder(filters)?;
    let (mut chunk, mut left, mut out) = (vec![0; CHUNK_BYTES], 0..0, Vec::new());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{noise, text};

    fn packed(plain: &[u8], preset: u32, change: impl Fn(&mut LzmaOptions)) -> Vec<u8> {
        let mut options = LzmaOptions::new_preset(preset).unwrap();
        change(&mut options);
        let mut filters = Filters::new();
        filters.lzma2(&options);
        encode(&filters, plain).unwrap()
    }

    #[test]
    fn presets_are_found_and_pack_the_same_again() {
        let (plain, budget) = ([text(false), noise(70_000, 4)].concat(), budget());
        // Kernel modules are packed with 1 MiB, others with what belongs to the preset.
        for (preset, dictionary) in [
            (0, 12),
            (1, 16),
            (5, 22),
            (6, 16),
            (6, 22),
            (6 | PRESET_EXTREME, 22),
        ] {
            let bytes = packed(&plain, preset, |options| {
                options.dict_size(dictionary_bytes(dictionary));
            });
            assert_eq!(
                unpack(&bytes, dictionary, 1 << 24).as_deref(),
                Some(plain.as_slice())
            );
            let recipe = recipe(&bytes, &plain, dictionary, &budget).unwrap();
            assert!(
                pack(&plain, dictionary, &recipe, &budget).unwrap() == bytes,
                "preset {preset}"
            );
        }
    }

    #[test]
    fn what_nobody_packed_that_way_stays_packed() {
        let (plain, budget) = (text(false), budget());
        let other = packed(&plain, 6, |options| {
            options.literal_context_bits(0).position_bits(0);
        });
        assert_eq!(unpack(&other, 22, 1 << 24).as_deref(), Some(plain.as_slice()));
        assert_eq!(recipe(&other, &plain, 22, &budget), None);
        let right = packed(&plain, 6, |_| ());
        assert_eq!(
            unpack(&right, 22, plain.len() as u64 - 1),
            None,
            "longer than allowed"
        );
        assert_eq!(
            unpack(&right[..right.len() - 1], 22, 1 << 24),
            None,
            "it has no end"
        );
        assert_eq!(
            unpack(&[&right, b"x".as_slice()].concat(), 22, 1 << 24),
            None,
            "it goes on"
        );
        for recipe in [&[][..], &[7], &[0x1f], &[6, 6]] {
            assert!(pack(&plain, 22, recipe, &budget).is_err());
        }
        assert!(pack(&plain, 23, &[6], &budget).is_err());
    }
}
