//! A report as it leaves: one line with the signed statement of what follows, then the report, compressed.
//! The same bytes are uploaded, kept in the ledger and carried on a medium.

use std::io::Read;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::dsse::{self, DsseError, SigningKey};
use super::report::REPORT_BYTES_MAX;

/// Largest sealed report.
pub const SEALED_BYTES_MAX: usize = 1024 * 1024;
const PAYLOAD_TYPE: &str = "application/vnd.tidegate.usage-report+json";
const FORMAT: u32 = 1;
/// A report is sealed once a week: the smallest form is worth the time.
const COMPRESSION: i32 = 19;
/// Longest line of a statement.
const LINE_BYTES_MAX: usize = dsse::ENVELOPE_BYTES_MAX;

/// What a hierarchy says of the report that it sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Statement {
    /// Version of the form.
    pub format: u32,
    /// Random id of the report.
    pub report: String,
    /// Keyed hash of the hierarchy's id, as in the report.
    pub hierarchy: String,
    /// Level.
    pub level: String,
    /// Hour of the collection.
    pub collected: Timestamp,
    /// Bytes of the report.
    pub bytes: u64,
    /// SHA-256 of the report.
    pub sha256: String,
    /// Bytes of its compressed form.
    pub compressed_bytes: u64,
    /// SHA-256 of its compressed form.
    pub compressed_sha256: String,
}

/// A sealed report, opened and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// What was signed.
    pub statement: Statement,
    /// Public key of the hierarchy that signed it.
    pub key: String,
    /// The report's canonical bytes.
    pub text: String,
}

/// Why a sealed report is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealedError {
    /// Too large.
    #[error("it has more than the {SEALED_BYTES_MAX} bytes that it may have")]
    Oversized,
    /// No line with a statement.
    #[error("its first line is no statement")]
    NoStatement,
    /// The statement is not signed well.
    #[error("its statement: {0}")]
    Envelope(#[from] DsseError),
    /// The statement says something that cannot be.
    #[error("its statement cannot be read: {0}")]
    Statement(String),
    /// The bytes are not those of the statement.
    #[error("its bytes are not those that were signed")]
    Changed,
    /// What is inside is larger than signed, or cannot be decompressed.
    #[error("its content cannot be decompressed to what was signed")]
    Content,
}

/// Seals a report.
pub fn seal(
    report: &str,
    hierarchy: &str,
    level: &str,
    collected: Timestamp,
    text: &str,
    key: &SigningKey,
) -> std::io::Result<Vec<u8>> {
    let compressed = zstd::bulk::compress(text.as_bytes(), COMPRESSION)?;
    let statement = Statement {
        format: FORMAT,
        report: report.to_owned(),
        hierarchy: hierarchy.to_owned(),
        level: level.to_owned(),
        collected,
        bytes: text.len() as u64,
        sha256: hex::encode(Sha256::digest(text)),
        compressed_bytes: compressed.len() as u64,
        compressed_sha256: hex::encode(Sha256::digest(&compressed)),
    };
    let payload = serde_json::to_vec(&statement)?;
    let mut bytes = dsse::sign(PAYLOAD_TYPE, &payload, key).into_bytes();
    bytes.push(b'\n');
    bytes.extend_from_slice(&compressed);
    Ok(bytes)
}

/// Opens a sealed report: nothing is decompressed before its signature is checked, and nothing beyond the
/// signed size.
pub fn open(bytes: &[u8]) -> Result<Opened, SealedError> {
    if bytes.len() > SEALED_BYTES_MAX {
        return Err(SealedError::Oversized);
    }
    let head = &bytes[..bytes.len().min(LINE_BYTES_MAX + 1)];
    let end = head.iter().position(|byte| *byte == b'\n');
    let end = end.ok_or(SealedError::NoStatement)?;
    let (line, compressed) = (&bytes[..end], &bytes[end + 1..]);
    let (payload, key) = dsse::verify(PAYLOAD_TYPE, line, None)?;
    let wrong = |problem: String| SealedError::Statement(problem);
    let statement: Statement =
        serde_json::from_slice(&payload).map_err(|failure| wrong(failure.to_string()))?;
    check(&statement).map_err(|problem| wrong(problem.to_owned()))?;
    let sound = compressed.len() as u64 == statement.compressed_bytes
        && hex::encode(Sha256::digest(compressed)) == statement.compressed_sha256;
    if !sound {
        return Err(SealedError::Changed);
    }
    let mut text = Vec::new();
    let decoder = zstd::stream::read::Decoder::with_buffer(compressed).map_err(|_| SealedError::Content)?;
    decoder
        .take(statement.bytes + 1)
        .read_to_end(&mut text)
        .map_err(|_| SealedError::Content)?;
    if text.len() as u64 != statement.bytes || hex::encode(Sha256::digest(&text)) != statement.sha256 {
        return Err(SealedError::Content);
    }
    let text = String::from_utf8(text).map_err(|_| SealedError::Content)?;
    Ok(Opened { statement, key, text })
}

fn check(statement: &Statement) -> Result<(), &'static str> {
    let hex64 = |text: &str| text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if statement.format != FORMAT {
        return Err("it is of a format that this release does not know");
    }
    if !is_report_id(&statement.report) {
        return Err("its report id is no lower-case UUID");
    }
    if !hex64(&statement.hierarchy) || !hex64(&statement.sha256) || !hex64(&statement.compressed_sha256) {
        return Err("a hash in it is none");
    }
    if statement.bytes > REPORT_BYTES_MAX as u64 {
        return Err("its report is larger than any may be");
    }
    Ok(())
}

/// Whether a text is the id of a report as we write it: a UUID in lower case.
fn is_report_id(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0b5a4c1e-6d8f-4f0a-9c57-2e1d7a90b3f2";

    fn sealed(text: &str) -> Vec<u8> {
        let key = SigningKey::from_seed(&[7; 32]).unwrap();
        seal(ID, &"ab".repeat(32), "basic", Timestamp::UNIX_EPOCH, text, &key).unwrap()
    }

    #[test]
    fn a_sealed_report_opens_to_the_same_bytes() {
        let text = "{\"values\":{}}\n".repeat(100);
        let bytes = sealed(&text);
        assert!(bytes.len() < text.len() + 1_000);
        let opened = open(&bytes).unwrap();
        assert_eq!((opened.text, opened.statement.report.as_str()), (text, ID));
    }

    #[test]
    fn no_changed_byte_and_no_cut_is_taken() {
        let bytes = sealed("{\"values\":{\"scp.mode\":\"online\"}}\n");
        let original = open(&bytes).unwrap();
        for at in 0..bytes.len() {
            assert!(open(&bytes[..at]).is_err(), "cut at {at}");
            let mut changed = bytes.clone();
            changed[at] ^= 0x20;
            if let Ok(opened) = open(&changed) {
                // A key id or base64 in another spelling is the same statement, or it is none.
                assert_eq!(opened, original, "changed at {at}");
            }
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert_eq!(open(&longer), Err(SealedError::Changed));
        assert_eq!(
            open(&vec![b'x'; SEALED_BYTES_MAX + 1]),
            Err(SealedError::Oversized)
        );
        assert_eq!(
            open(&vec![b'x'; LINE_BYTES_MAX + 10]),
            Err(SealedError::NoStatement)
        );
    }

    /// A bomb is signed by its maker: the signed size bounds it all the same.
    #[test]
    fn a_bomb_ends_at_the_signed_size() {
        let key = SigningKey::from_seed(&[9; 32]).unwrap();
        let compressed = zstd::bulk::compress(&vec![0; 256 << 20], 1).unwrap();
        for claimed in [10, REPORT_BYTES_MAX as u64, 256 << 20] {
            let statement = Statement {
                format: FORMAT,
                report: ID.into(),
                hierarchy: "00".repeat(32),
                level: "full".into(),
                collected: Timestamp::UNIX_EPOCH,
                bytes: claimed,
                sha256: "00".repeat(32),
                compressed_bytes: compressed.len() as u64,
                compressed_sha256: hex::encode(Sha256::digest(&compressed)),
            };
            let mut bytes =
                dsse::sign(PAYLOAD_TYPE, &serde_json::to_vec(&statement).unwrap(), &key).into_bytes();
            bytes.push(b'\n');
            bytes.extend_from_slice(&compressed);
            assert!(open(&bytes).is_err(), "{claimed}");
        }
    }
}
