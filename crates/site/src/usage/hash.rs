//! Hashes of usage data (usage-data, section 4).

use aws_lc_rs::hmac;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

/// HMAC-SHA-256 under the key of the hierarchy: nobody else can find the value by trying.
pub fn keyed_hash(key: &[u8], text: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hex::encode(hmac::sign(&key, text.as_bytes()))
}

/// The original's hash, without a key, for what the vendor compares with names it knows: the base64 of
/// SHA-256, over the bytes of a GUID as .NET writes them, or over UTF-16LE.
pub fn match_hash(text: &str) -> String {
    let bytes = match guid_bytes(text) {
        Some(bytes) => bytes.to_vec(),
        None => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
    };
    BASE64_STANDARD.encode(Sha256::digest(bytes))
}

/// A GUID with or without dashes, braces or parentheses: the first three fields little-endian.
fn guid_bytes(text: &str) -> Option<[u8; 16]> {
    let inner = match (text.chars().next()?, text.chars().last()?) {
        ('{', '}') | ('(', ')') => &text[1..text.len() - 1],
        _ => text,
    };
    let dashed = inner.len() == 36 && [8, 13, 18, 23].iter().all(|at| inner.as_bytes()[*at] == b'-');
    if !dashed && inner.len() != 32 {
        return None;
    }
    let digits: String = inner.chars().filter(|c| *c != '-').collect();
    let mut bytes: [u8; 16] = hex::decode(digits).ok()?.try_into().ok()?;
    bytes[..4].reverse();
    bytes[4..6].reverse();
    bytes[6..8].reverse();
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a2_and_a3_the_originals_hashes() {
        for (text, expected) in [
            (
                "00000000-0000-0000-0000-000000000000",
                "N0cI//dxndWXnsh11WzSKG9tPPfsMXo7JWMqqyjsN7s=",
            ),
            (
                "00112233-4455-6677-8899-aabbccddeeff",
                "7j+TrPRMOucNbwosBdtDxv52b15Le7VcspAWeieS3Ws=",
            ),
            (
                "{00112233-4455-6677-8899-AABBCCDDEEFF}",
                "7j+TrPRMOucNbwosBdtDxv52b15Le7VcspAWeieS3Ws=",
            ),
            (
                "00112233445566778899aabbccddeeff",
                "7j+TrPRMOucNbwosBdtDxv52b15Le7VcspAWeieS3Ws=",
            ),
            ("PS1", "fgkaTxoDH0lLR/4arxi6mLN1gUhrisMjdXl2ZgFeoDM="),
            ("System_DISC", "FZbH2GEDiLQPgyGMmUzQgJXs6bRKWcBUJTFwvCXxGxA="),
        ] {
            assert_eq!(match_hash(text), expected, "{text}");
        }
        assert_ne!(match_hash("PS1"), match_hash("ps1"));
        for odd in [
            "",
            "{",
            "ä",
            "{}",
            "00112233-4455-6677-8899-aabbccddeefg",
            "ä0112233-4455-6677-8899-aabbccddeeff",
        ] {
            match_hash(odd);
        }
    }

    #[test]
    fn keys_make_other_hashes() {
        assert_ne!(keyed_hash(b"one", "x"), keyed_hash(b"two", "x"));
        assert_eq!(keyed_hash(b"one", "x").len(), 64);
    }
}
