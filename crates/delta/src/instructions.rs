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
    let [first, second] = *bytes.get(at..)?.first_chunk::<2>()?;
    let says = SAYS[usize::from(first) << 2 | usize::from(CLASSES[usize::from(second)])];
    // Nearly all that a place is looked at for says something.
    if says == NOTHING {
        return None;
    }
    let (ahead, after) = (usize::from(says >> 4), u64::from(says & 0xf));
    match ahead == THIRD_DECIDES && bytes.get(at + 2).is_none_or(|third| third & 0xc7 != 0x05) {
        true => None,
        false => Some((at + ahead, after)),
    }
}

/// Goes through places where two bytes may say something, block by block.
pub(crate) struct Places {
    /// The next block begins here or later.
    next: usize,
    /// Where this block begins, and a bit for each place in it that is still to be looked at, the lowest first.
    begin: usize,
    places: u64,
}

/// Places that are looked through at a time: a bit each.
const BLOCK_BYTES: usize = u64::BITS as usize;

impl Places {
    pub(crate) fn from(begin: usize) -> Self {
        Places {
            next: begin,
            begin,
            places: 0,
        }
    }

    /// The next place, which is not before `from`. Bytes before `from` may change from call to call.
    #[inline]
    pub(crate) fn next(&mut self, bytes: &[u8], from: usize) -> Option<usize> {
        loop {
            // Those before `from` are passed over without a look at each.
            let passed = from.saturating_sub(self.begin);
            self.places &= u64::MAX.checked_shl(passed.min(BLOCK_BYTES) as u32).unwrap_or(0);
            if self.places != 0 {
                let place = self.begin + self.places.trailing_zeros() as usize;
                self.places &= self.places - 1;
                return Some(place);
            }
            self.begin = self.next.max(from);
            self.next = self.begin + BLOCK_BYTES;
            let left = bytes.get(self.begin..).filter(|left| !left.is_empty())?;
            self.places = match left.first_chunk() {
                Some(block) => places(block),
                None => {
                    let mut block = [0; BLOCK_BYTES + 1];
                    block[..left.len()].copy_from_slice(left);
                    places(&block)
                }
            };
        }
    }
}

/// A bit for each of these bytes, but the last, that may say something together with the next one.
#[inline]
fn places(block: &[u8; BLOCK_BYTES + 1]) -> u64 {
    let mut found = [0; BLOCK_BYTES];
    for ((found, first), second) in found.iter_mut().zip(block).zip(&block[1..]) {
        // Branches, escapes, and operands that are a distance.
        *found = u8::from(first & 0xfe == 0xe8) | u8::from(*first == 0x0f) | u8::from(second & 0xc7 == 0x05);
    }
    let words = found.as_chunks().0.iter().rev();
    words.fold(0, |places, found| {
        places << 8 | u64::from_le_bytes(*found).wrapping_mul(GATHER) >> 56
    })
}

/// Multiplied by the lowest bits of eight bytes, brings them together in the highest byte, in their order.
const GATHER: u64 = 0x0102_0408_1020_4080;

/// What two bytes say: nothing, or, in the upper half, how many bytes ahead a field is, and in the lower how many bytes
/// from its begin its distance counts.
const NOTHING: u8 = 0;
/// A field so far ahead is one only if the third byte says that its operand is a distance.
const THIRD_DECIDES: usize = 3;

/// What matters about a second byte: nothing, that the operand is a distance, that it makes an escape a jump, or that it
/// may itself be the begin of a branch.
static CLASSES: [u8; 256] = classes();
const OPERAND: u8 = 1;
const JUMP: u8 = 2;
const BRANCH: u8 = 3;

const fn classes() -> [u8; 256] {
    let mut classes = [0; 256];
    let mut second = 0;
    while second < classes.len() {
        classes[second] = if second & 0xf0 == 0x80 {
            JUMP
        } else if second & 0xc7 == 0x05 {
            OPERAND
        } else if second & 0xfe == 0xe8 {
            BRANCH
        } else {
            0
        };
        second += 1;
    }
    classes
}

/// By the first byte and the class of the second, which is lowest.
static SAYS: [u8; 4 * 256] = says();

const fn says() -> [u8; 4 * 256] {
    let mut says = [NOTHING; 4 * 256];
    let mut pair = 0;
    while pair < says.len() {
        says[pair] = match (SHAPES[pair >> 2], (pair & 3) as u8) {
            (Shape::Branch, _) => 1 << 4 | 4,
            (Shape::Escape, JUMP) => 2 << 4 | 4,
            // The third byte may be the field of a branch that begins at the second one, and change with it.
            (Shape::Escape, BRANCH) => NOTHING,
            (Shape::Escape, _) => (THIRD_DECIDES as u8) << 4 | 4,
            (Shape::Memory(immediate), OPERAND) => 2 << 4 | (4 + immediate),
            (Shape::Other | Shape::Memory(_), _) => NOTHING,
        };
        pair += 1;
    }
    says
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
    let (mut places, mut at) = (Places::from(0), 0);
    while let Some(place) = places.next(bytes, at) {
        at = place + 1;
        let Some((field, after)) = distance_at(bytes, place) else {
            continue;
        };
        let Some(word) = bytes
            .get_mut(field..)
            .and_then(|bytes| bytes.first_chunk_mut::<4>())
        else {
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
            for place in [0, 3, 7, 8, 62, 63, 64, 78] {
                let mut bytes = [0x90; 80];
                bytes[place..place + 2].copy_from_slice(&[low, high]);
                if [0x90, 0x05]
                    .iter()
                    .any(|third| distance_at(&[low, high, *third], 0).is_some())
                {
                    assert_eq!(Places::from(0).next(&bytes, 0), Some(place), "{low:#x} {high:#x}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn places_are_found_in_order(bytes in code(), from in 0..400_usize, skipped in 1..9_usize) {
            let (mut places, mut at) = (Places::from(from), from);
            while let Some(place) = places.next(&bytes, at) {
                prop_assert!(at <= place && place < bytes.len());
                for between in at..place {
                    prop_assert_eq!(distance_at(&bytes, between), None);
                }
                at = place + skipped;
            }
            for left in at..bytes.len() {
                prop_assert_eq!(distance_at(&bytes, left), None);
            }
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
