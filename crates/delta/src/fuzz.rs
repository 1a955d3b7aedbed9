//! Entry points for fuzzing: each takes any bytes and must not panic.

use std::fs::File;

use crate::{Delta, Input, containers, tokens};

/// Bytes as a delta over one old file, to one new file of this length. Nothing longer than that is written but for
/// `scratch`, an empty file.
pub fn fuzz_delta(delta: &[u8], old: &[u8], length: u64, scratch: &File) {
    let Ok(delta) = Delta::read(delta) else { return };
    let mut written = 0;
    // Whether it is a good one is not asked here.
    let _ = delta.apply(&[Input::Bytes(old)], &[length], scratch, &mut |number, bytes| {
        assert_eq!(number, 0);
        written += bytes.len() as u64;
        assert!(written <= length, "more bytes than were asked for");
        Ok(())
    });
}

/// Bytes as a deflate stream, and as tokens of one. What is taken apart has to come back, each block by itself.
pub fn fuzz_tokens(bytes: &[u8]) {
    if let Some((tokens, blocks)) = tokens::unpack_in_parts(bytes, 1 << 20, 1) {
        let (mut left, mut bit, mut again) = (tokens.as_slice(), 0, Vec::new());
        for block in blocks {
            let own;
            (own, left) = left.split_at(block.plain as usize);
            let (begin, end) = ((bit % 8) as u32, bit + block.bits);
            let packed = &bytes[bit as usize / 8..end.div_ceil(8) as usize];
            let mut unpacked = vec![0; own.len()];
            assert!(tokens::unpack_part(packed, begin, block.bits, &mut unpacked).is_some());
            assert_eq!(unpacked, own);
            again = tokens::pack(own, begin, block.bits, again).unwrap_or_default();
            bit = end;
        }
        assert_eq!(again, bytes);
    }
    // Whether they are tokens is not asked here.
    if let Some((begin, tokens)) = bytes.split_first() {
        let bits = 8 * tokens.len() as u64 + u64::from(*begin);
        let _ = tokens::pack(tokens, u32::from(begin % 8), bits, vec![begin >> 4]);
        let mut room = vec![0; usize::from(*begin)];
        let _ = tokens::unpack_part(tokens, u32::from(begin % 8), bits, &mut room);
    }
}

/// Bytes as a file that may have compressed streams in it, which lie inside it.
pub fn fuzz_containers(bytes: &[u8]) {
    let file = Input::Bytes(bytes);
    let inside = |offset: u64, length: u64| {
        let end = offset.checked_add(length);
        assert!(
            end.is_some_and(|end| end <= bytes.len() as u64),
            "outside the file"
        );
    };
    for found in containers::streams(&file).into_iter().flatten() {
        inside(found.offset, found.length);
    }
    for leaf in containers::leaves(&file).into_iter().flatten() {
        inside(leaf.offset, leaf.length);
    }
}
