//! Entry points for fuzzing: each takes any bytes and must not panic.

use crate::deltas::DeltaIndex;
use crate::index::PayloadIndex;
use crate::library::copy_stored;

/// Bytes as a payload index.
pub fn fuzz_index(bytes: &[u8]) {
    if let Ok(index) = PayloadIndex::read(bytes) {
        index.download_bytes();
        index.objects().count();
    }
}

/// Bytes as a delta index.
pub fn fuzz_delta_index(bytes: &[u8]) {
    if let Ok(index) = DeltaIndex::read(bytes) {
        index.bytes();
    }
}

/// Bytes as a block that did not compress: taken for one, they hold what the decoder finds in them.
pub fn fuzz_stored(frame: &[u8], length: usize) {
    let mut raw = vec![0; length];
    if copy_stored(frame, &mut raw) {
        let decoded = zstd::bulk::decompress(frame, length);
        assert!(decoded.is_ok_and(|decoded| decoded == raw));
    }
}

/// Bytes as a path of a tree.
pub fn fuzz_path(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(path) = crate::tree::TreePath::new(text) {
        path.parent();
        path.file_name();
    }
}
