//! Entry points for fuzzing: each takes any bytes and must not panic.

use crate::notice::{Notices, ServiceConfig};
use crate::usage::ledger::{LedgerCheck, LedgerEntry};
use crate::usage::{IntakeConfig, Receipt, csv, open, values};

/// Bytes as a sealed report, and as the report itself.
pub fn fuzz_usage_report(bytes: &[u8]) {
    if let Ok(opened) = open(bytes) {
        let _ = values(&opened.text);
    }
    if let Ok((report, _)) = values(&String::from_utf8_lossy(bytes)) {
        csv(&report);
    }
}

/// Bytes as what a service answers and says of itself.
pub fn fuzz_usage_service(bytes: &[u8]) {
    let _ = Receipt::verify(bytes, &["00".repeat(32)], "report", "sha256");
    if let Ok(config) = IntakeConfig::parse(bytes) {
        let _ = config.url("https://feed.example");
    }
}

/// Bytes as what a vendor tells administrators.
pub fn fuzz_notices(bytes: &[u8]) {
    let _ = Notices::parse(bytes);
    let _ = ServiceConfig::parse(bytes);
}

/// Bytes as lines of an exported ledger.
pub fn fuzz_usage_ledger(bytes: &[u8]) {
    let mut check = LedgerCheck::default();
    for line in bytes.split(|byte| *byte == b'\n') {
        if let Ok(entry) = serde_json::from_slice::<LedgerEntry>(line) {
            let _ = check.next(&entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Pieces that parsers look for, and noise.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            any::<Vec<u8>>(),
            Just(br#"{"payloadType":"application/vnd.tidegate.usage-report+json","payload":""#.to_vec()),
            Just(br#"","signatures":[{"keyid":"00","sig":"AA=="}]}"#.to_vec()),
            Just(br#"{"collected":"2026-11-21T10:00:00Z","format":1,"level":"full","values":{"#.to_vec()),
            Just(br#""inventory.os":{"windows":5},"#.to_vec()),
            Just(br#"{"format":1,"address":"usage/v1","receipt-keys":["00"]}"#.to_vec()),
            Just(br#"{"format":1,"notices":[{"id":"a","category":"stay-informed","title":"T","body":"B","published":"#.to_vec()),
            Just(br#"{"format":1,"version":2,"what":"W","published":"2026-11-21T10:00:00Z","mirrors":["https://m.example"]"#.to_vec()),
            Just(b"}}\n".to_vec()),
            Just(b"\x28\xb5\x2f\xfd".to_vec()),
        ];
        proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in bytes()) {
            fuzz_usage_report(&bytes);
            fuzz_usage_service(&bytes);
            fuzz_usage_ledger(&bytes);
            fuzz_notices(&bytes);
        }
    }
}
