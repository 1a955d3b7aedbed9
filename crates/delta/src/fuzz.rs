//! Entry points for fuzzing: each takes any bytes and must not panic.

use crate::{Input, apply, tokens};

/// Bytes as a delta over one old file, to one new file of this length. Nothing longer than that is written.
pub fn fuzz_delta(delta: &[u8], old: &[u8], length: u64) {
    let mut written = 0;
    // Whether it is one is not asked here.
    let _ = apply(delta, &[Input::Bytes(old)], &[length], &mut |number, bytes| {
        assert_eq!(number, 0);
        written += bytes.len() as u64;
        assert!(written <= length, "more bytes than were asked for");
        Ok(())
    });
}

/// Bytes as a deflate stream, and as tokens of one. What is taken apart has to come back.
pub fn fuzz_tokens(bytes: &[u8]) {
    if let Some(tokens) = tokens::unpack(bytes, 1 << 20) {
        assert_eq!(tokens::pack(&tokens).as_deref(), Ok(bytes));
    }
    // Whether they are tokens is not asked here.
    let _ = tokens::pack(bytes);
}
