//! x86-64 instructions that hold a distance, found byte by byte: where instructions begin is not known, and need not be.

/// What an opcode byte says about the bytes behind it (Intel SDM volume 2, appendix A).
#[derive(Clone, Copy)]
enum Shape {
    Other,
    /// A 32-bit distance follows.
    Branch,
    /// Two-byte opcodes: long conditional jumps, or a byte that says where the operand is.
    Escape,
    /// A byte that says where the operand is, its distance, and this many bytes of immediate value.
    Memory(u8),
}

/// The field of an instruction whose opcode is at `at`: where it is, and how many bytes from there its distance counts.
/// It depends on nothing but bytes before the field.
#[inline]
pub(crate) fn distance_at(bytes: &[u8], at: usize) -> Option<(usize, u64)> {
    let pair = bytes.get(at..)?.first_chunk::<2>()?;
    match PAIRS[usize::from(u16::from_le_bytes(*pair))] {
        NOTHING => None,
        FIELD_NEXT => Some((at + 1, 4)),
        THIRD_DECIDES if bytes.get(at + 2).is_some_and(|third| third & 0xc7 == 0x05) => Some((at + 3, 4)),
        THIRD_DECIDES => None,
        after => Some((at + 2, u64::from(after))),
    }
}

/// The next place from `at` on where two bytes may say something: eight places at a time are passed over where they do not.
#[inline]
pub(crate) fn next_place(bytes: &[u8], mut at: usize) -> usize {
    while let Some([first @ .., last]) = bytes.get(at..).and_then(|bytes| bytes.first_chunk::<9>()) {
        let first = u64::from_le_bytes(*first);
        let second = first >> 8 | u64::from(*last) << 56;
        // Branches, escapes, and operands that are a distance.
        let branches = zeros((first ^ every(0xe8)) & every(0xfe));
        let found = branches | zeros(first ^ every(0x0f)) | zeros((second ^ every(0x05)) & every(0xc7));
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    at
}

/// A word of this byte.
const fn every(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// The highest bit of each byte that is 0, and of some that are 1 above one: whoever looks closer finds nothing there.
fn zeros(word: u64) -> u64 {
    word.wrapping_sub(every(1)) & !word & every(0x80)
}

/// What two bytes say: nothing, or where a field is; any other value is how many bytes from its begin a distance counts
/// that follows the two.
const NOTHING: u8 = 0;
const FIELD_NEXT: u8 = 1;
const THIRD_DECIDES: u8 = 2;

/// By two bytes, the first one lowest: nearly all say nothing, which one look tells.
static PAIRS: [u8; 1 << 16] = pairs();

const fn pairs() -> [u8; 1 << 16] {
    let mut pairs = [NOTHING; 1 << 16];
    let mut pair = 0;
    while pair < pairs.len() {
        let second = (pair >> 8) as u8;
        pairs[pair] = match SHAPES[pair & 0xff] {
            Shape::Other => NOTHING,
            Shape::Branch => FIELD_NEXT,
            Shape::Escape if second & 0xf0 == 0x80 => 4,
            // The third byte may be the field of a branch that begins at the second one, and change with it.
            Shape::Escape if second & 0xfe == 0xe8 => NOTHING,
            Shape::Escape => THIRD_DECIDES,
            Shape::Memory(immediate) if second & 0xc7 == 0x05 => 4 + immediate,
            Shape::Memory(_) => NOTHING,
        };
        pair += 1;
    }
    pairs
}

/// Largest distance and position that absolute distances are made of.
const RANGE: i64 = 1 << 30;

/// Turns distances into absolute ones, which repeat: the same target looks the same from everywhere. Positions count
/// from `begin`. [`to_relative`] undoes it.
pub(crate) fn to_absolute(bytes: &mut [u8], begin: u64) {
    convert(bytes, begin, |distance, position| match distance {
        distance if distance < -position || distance >= RANGE => None,
        distance if distance < RANGE - position => Some(distance + position),
        distance => Some(distance - RANGE),
    });
}

/// Undoes [`to_absolute`].
pub(crate) fn to_relative(bytes: &mut [u8], begin: u64) {
    convert(bytes, begin, |absolute, position| match absolute {
        absolute if absolute < -position || absolute >= RANGE => None,
        absolute if absolute >= 0 => Some(absolute - position),
        absolute => Some(absolute + RANGE),
    });
}

fn convert(bytes: &mut [u8], begin: u64, value: impl Fn(i64, i64) -> Option<i64>) {
    let mut at = 0;
    while at + 5 <= bytes.len() {
        at = next_place(bytes, at);
        let Some((field, after)) = distance_at(bytes, at) else {
            at += 1;
            continue;
        };
        let Some(word) = bytes
            .get_mut(field..)
            .and_then(|bytes| bytes.first_chunk_mut::<4>())
        else {
            at += 1;
            continue;
        };
        let position = ((begin + field as u64 + after) as i64) & (RANGE - 1);
        if let Some(value) = value(i64::from(i32::from_le_bytes(*word)), position) {
            *word = (value as i32).to_le_bytes();
        }
        // Passed over in any case: were a part of it changed as another field, nobody could tell any more what it was.
        at = field + 4;
    }
}

const SHAPES: [Shape; 256] = shapes();

const fn shapes() -> [Shape; 256] {
    let mut shapes = [Shape::Other; 256];
    shapes[0xe8] = Shape::Branch;
    shapes[0xe9] = Shape::Branch;
    shapes[0x0f] = Shape::Escape;
    let mut row = 0;
    // Arithmetic: the first four opcodes of each half row.
    while row < 0x40 {
        let mut opcode = row;
        while opcode < row + 4 {
            shapes[opcode] = Shape::Memory(0);
            opcode += 1;
        }
        row += 8;
    }
    let plain = [
        0x63_usize, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8b, 0x8d, 0xd1, 0xd3, 0xfe, 0xff, 0x10, 0x11,
        0x28, 0x29, 0x2e, 0x2f, 0x51, 0x54, 0x57, 0x58, 0x59, 0x5c, 0x5e, 0x6e, 0x6f, 0x7e, 0x7f, 0xd6, 0xef,
        0xfa,
    ];
    let mut number = 0;
    while number < plain.len() {
        shapes[plain[number]] = Shape::Memory(0);
        number += 1;
    }
    let byte = [0x6b_usize, 0x80, 0x83, 0xc0, 0xc1, 0xc6, 0xf6];
    number = 0;
    while number < byte.len() {
        shapes[byte[number]] = Shape::Memory(1);
        number += 1;
    }
    let word = [0x69_usize, 0x81, 0xc7, 0xf7];
    number = 0;
    while number < word.len() {
        shapes[word[number]] = Shape::Memory(4);
        number += 1;
    }
    shapes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn code() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![
            any::<u8>(),
            Just(0xe8),
            Just(0x0f),
            Just(0x8b),
            Just(0x05),
            Just(0xc7),
            Just(0x00),
            Just(0xff)
        ];
        proptest::collection::vec(byte, 0..400)
    }

    #[test]
    fn no_two_bytes_that_say_something_are_passed_over() {
        for pair in 0..=u16::MAX {
            let [low, high] = pair.to_le_bytes();
            for place in [0, 3, 6, 7] {
                let mut bytes = [0x90; 16];
                bytes[place..place + 2].copy_from_slice(&[low, high]);
                if PAIRS[usize::from(pair)] != NOTHING {
                    assert_eq!(next_place(&bytes, 0), place, "{low:#x} {high:#x}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn places_are_found_in_order(bytes in code(), from in 0..400_usize) {
            let place = next_place(&bytes, from);
            for at in from..place {
                prop_assert_eq!(distance_at(&bytes, at), None);
            }
            // Near the end whoever asks looks at each.
            prop_assert!(place == from || place <= bytes.len());
        }

        #[test]
        fn relative_undoes_absolute(
            bytes in code(),
            begin in prop_oneof![0..5000_u64, any::<u32>().prop_map(u64::from)],
        ) {
            let mut changed = bytes.clone();
            to_absolute(&mut changed, begin);
            to_relative(&mut changed, begin);
            prop_assert_eq!(changed, bytes);
        }
    }
}
