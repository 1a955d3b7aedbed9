//! LZMA2 streams, as xz files have them, unpacked to their content and packed again by the same compressor.
//!
//! Whoever packed them chose a preset, which is not in the stream: it is found by packing the begin with each of them.
//! Other compressors' streams come out differently, and stay packed.

use std::io::{self, Read};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use liblzma::stream::{Action, Filters, LzmaOptions, PRESET_EXTREME, Status, Stream};

use crate::Malformed;

/// Largest dictionary, as the format writes it: 8 MiB, that of preset 6, which is what is used where nothing is said.
pub(crate) const DICTIONARY_BITS_MAX: u8 = 22;
/// A compressor needs about this many times its dictionary.
pub(crate) const DICTIONARY_SHARE: u64 = 12;
/// What all compressors that run at the same time may need.
const ROOM_BYTES: u64 = DICTIONARY_SHARE * (8 << 20);
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

/// Memory for compressors, given to few of them at a time.
pub(crate) struct Room {
    left: Mutex<u64>,
    freed: Condvar,
}

impl Room {
    pub(crate) fn new() -> Self {
        Room {
            left: Mutex::new(ROOM_BYTES),
            freed: Condvar::new(),
        }
    }

    /// Waits for so many bytes; given back when what is returned is dropped.
    fn take(&self, bytes: u64) -> Taken<'_> {
        let bytes = bytes.min(ROOM_BYTES);
        let waiting = self.freed.wait_while(self.held(), |left| *left < bytes);
        *waiting.unwrap_or_else(PoisonError::into_inner) -= bytes;
        Taken { room: self, bytes }
    }

    fn held(&self) -> MutexGuard<'_, u64> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Taken<'a> {
    room: &'a Room,
    bytes: u64,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        *self.room.held() += self.bytes;
        self.room.freed.notify_all();
    }
}

/// The content of exactly one stream; nothing if it is none, or has more bytes.
pub(crate) fn unpack(packed: &[u8], dictionary: u8, max: u64) -> Option<Vec<u8>> {
    let mut options = LzmaOptions::new();
    options.dict_size(dictionary_bytes(dictionary.min(DICTIONARY_BITS_MAX)));
    let mut filters = Filters::new();
    filters.lzma2(&options);
    let decoder = Stream::new_raw_decoder(&filters).ok()?;
    let mut decoder = liblzma::bufread::XzDecoder::new_stream(packed, decoder);
    let mut plain = Vec::new();
    (&mut decoder).take(max + 1).read_to_end(&mut plain).ok()?;
    let whole = decoder.total_in() == packed.len() as u64 && plain.len() as u64 <= max;
    (whole && !plain.is_empty()).then_some(plain)
}

/// What it takes to pack this content to that stream again, if that was found.
pub(crate) fn recipe(packed: &[u8], plain: &[u8], dictionary: u8, room: &Room) -> Option<Vec<u8>> {
    let sample = &plain[..plain.len().min(SAMPLE_BYTES)];
    let is_like = |preset: &u8| {
        let agreeing = |again: Vec<u8>| {
            let pairs = again.iter().zip(packed).skip(CHUNK_HEAD_BYTES);
            let agreeing = pairs.take_while(|(a, b)| a == b).count();
            agreeing + CHUNK_HEAD_BYTES >= again.len() / 2
        };
        pack(sample, dictionary, &[*preset], room).is_ok_and(agreeing)
    };
    let mut like = PRESETS.into_iter().filter(is_like);
    let preset = like.find(|preset| pack(plain, dictionary, &[*preset], room).as_deref() == Ok(packed))?;
    Some(vec![preset])
}

/// Packs content the way a recipe says.
pub(crate) fn pack(plain: &[u8], dictionary: u8, recipe: &[u8], room: &Room) -> Result<Vec<u8>, Malformed> {
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
    let _taken = room.take(u64::from(dictionary) * DICTIONARY_SHARE);
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
        let (plain, room) = ([text(false), noise(70_000, 4)].concat(), Room::new());
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
            let recipe = recipe(&bytes, &plain, dictionary, &room).unwrap();
            assert!(
                pack(&plain, dictionary, &recipe, &room).unwrap() == bytes,
                "preset {preset}"
            );
        }
        assert_eq!(*room.held(), ROOM_BYTES);
    }

    #[test]
    fn what_nobody_packed_that_way_stays_packed() {
        let (plain, room) = (text(false), Room::new());
        let other = packed(&plain, 6, |options| {
            options.literal_context_bits(0).position_bits(0);
        });
        assert_eq!(unpack(&other, 22, 1 << 24).as_deref(), Some(plain.as_slice()));
        assert_eq!(recipe(&other, &plain, 22, &room), None);
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
            assert!(pack(&plain, 22, recipe, &room).is_err());
        }
        assert!(pack(&plain, 23, &[6], &room).is_err());
    }

    #[test]
    fn compressors_wait_for_their_room() {
        let room = Room::new();
        let most = std::sync::atomic::AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let taken = room.take(ROOM_BYTES / 2 + 1);
                        most.fetch_max(ROOM_BYTES - *room.held(), std::sync::atomic::Ordering::Relaxed);
                        drop(taken);
                    }
                });
            }
        });
        assert_eq!(most.into_inner(), ROOM_BYTES / 2 + 1);
        assert_eq!(*room.held(), ROOM_BYTES);
    }
}
