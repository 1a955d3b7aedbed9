//! Entry points for fuzzing: whatever the bytes, they return. A corpus replay and property tests call them on the
//! stable compiler; a coverage-guided fuzzer can call them as they are.

use crate::client::pattern;
use crate::client::verify;
use crate::transport::{encode_name, encode_path};

/// Any bytes as each kind of metadata.
pub fn fuzz_metadata(bytes: &[u8]) {
    let _ = verify::initial_root(bytes);
    let _ = verify::parse::<sigstore_tuf::Timestamp>("timestamp", bytes);
    let _ = verify::parse_snapshot(bytes);
    let _ = verify::parse_targets("targets", bytes);
}

/// Any text as a delegation pattern and a target path, a line break between them.
pub fn fuzz_pattern(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (pattern, path) = text.split_once('\n').unwrap_or((&text, ""));
    let _ = pattern::matches(pattern, path);
    let _ = pattern::Wanted::new(path).bin(8);
}

/// Any text as a role name and a target path; what comes out is a plain segment or path.
pub fn fuzz_path(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    assert!(
        !encode_name(&text).contains(['/', '?', '#']),
        "a role name left its segment"
    );
    if let Ok(path) = encode_path(&text) {
        let climbs = path.split('/').any(|segment| segment == "." || segment == "..");
        assert!(!climbs && path.is_ascii(), "a target path climbs");
    }
}
