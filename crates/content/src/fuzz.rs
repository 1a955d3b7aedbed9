//! Entry points for fuzzing: each takes any bytes and must not panic.

use crate::deltas::DeltaIndex;
use crate::index::PayloadIndex;

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

/// Bytes as a path of a tree.
pub fn fuzz_path(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(path) = crate::tree::TreePath::new(text) {
        path.parent();
        path.file_name();
    }
}
