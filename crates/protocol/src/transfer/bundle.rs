//! The description of a bundle: what a medium holds for which hierarchy. Written last, so that a medium
//! that was pulled has none, or the one before.
//!
//! Nothing in it is believed: metadata, content, receipts and cabinets on the medium carry their own proof.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Name of the file at the top of the medium's folder.
pub const BUNDLE_FILE: &str = "tidegate-bundle.json";
/// Largest that is read.
pub const BUNDLE_BYTES_MAX: u64 = 16 * 1024 * 1024;
const FORMAT: u32 = 1;

/// What a medium holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Bundle {
    /// Version of the form.
    pub format: u32,
    /// Release of the program that wrote it.
    pub program: String,
    /// When it was written.
    pub made: Timestamp,
    /// For whom.
    pub hierarchies: Vec<BundleHierarchy>,
}

/// A hierarchy's part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct BundleHierarchy {
    /// Keyed hash of its id.
    pub hierarchy: String,
    /// Folder of its feed below `feeds/`.
    pub feed: String,
    /// Packages chosen for it.
    pub packages: Vec<BundlePackage>,
    /// Its report of usage data that the service confirmed.
    pub report: Option<String>,
    /// Why its report is not confirmed.
    pub report_problem: Option<String>,
}

/// A package on a medium.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct BundlePackage {
    /// Package.
    pub guid: String,
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// Bytes of content that the hierarchy lacked.
    pub bytes: u64,
}

/// Why a description is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// Not what we write.
    #[error("{BUNDLE_FILE} cannot be read: {0}")]
    Malformed(String),
    /// Its bytes are not those that were written.
    #[error("{BUNDLE_FILE} was changed or damaged; run connect again")]
    Changed,
}

impl Bundle {
    /// A description of this release's form.
    pub fn new(program: &str, made: Timestamp, hierarchies: Vec<BundleHierarchy>) -> Self {
        Bundle {
            format: FORMAT,
            program: program.to_owned(),
            made,
            hierarchies,
        }
    }

    /// The bytes of the file: the description, and a line with its hash.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        let hash = hex::encode(Sha256::digest(&bytes));
        bytes.extend_from_slice(format!("\n{hash}\n").as_bytes());
        bytes
    }

    /// Reads the file.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BundleError> {
        let malformed = |problem: String| BundleError::Malformed(problem);
        let text = std::str::from_utf8(bytes).map_err(|_| BundleError::Changed)?;
        let body = text.strip_suffix('\n').and_then(|text| text.rsplit_once('\n'));
        let (body, hash) = body.ok_or_else(|| malformed("it has no last line".into()))?;
        if hex::encode(Sha256::digest(body)) != hash {
            return Err(BundleError::Changed);
        }
        let bundle: Bundle = serde_json::from_str(body).map_err(|failure| malformed(failure.to_string()))?;
        if bundle.format != FORMAT {
            return Err(malformed(format!(
                "format {} is not known to this release",
                bundle.format
            )));
        }
        Ok(bundle)
    }
}

/// The name of the file with a run of bytes of a pack: short, lower case, without anything that a file
/// system could object to.
pub fn fragment_name(pack_sha256: &str, start: u64) -> String {
    format!(
        "{}-{start:012x}.bin",
        pack_sha256.get(..24).unwrap_or(pack_sha256)
    )
}

/// Pack and first byte of such a name.
pub fn parse_fragment(name: &str) -> Option<(&str, u64)> {
    let (pack, start) = name.strip_suffix(".bin")?.split_once('-')?;
    let plain = |text: &str, length| {
        text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    (plain(pack, 24) && plain(start, 12)).then(|| Some((pack, u64::from_str_radix(start, 16).ok()?)))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_changed_byte_is_another_bundle() {
        let hierarchy = BundleHierarchy {
            hierarchy: "ab".repeat(32),
            feed: "feed".into(),
            packages: vec![],
            report: None,
            report_problem: Some("offline".into()),
        };
        let bundle = Bundle::new("0.1.0", Timestamp::UNIX_EPOCH, vec![hierarchy]);
        let bytes = bundle.to_bytes();
        assert_eq!(Bundle::from_bytes(&bytes), Ok(bundle));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x04;
            assert!(Bundle::from_bytes(&changed).is_err(), "byte {at}");
            assert!(Bundle::from_bytes(&bytes[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn fragments_are_named_for_any_file_system() {
        let hash = "0123456789abcdef".repeat(4);
        let name = fragment_name(&hash, 1 << 40);
        assert_eq!(name, "0123456789abcdef01234567-010000000000.bin");
        assert_eq!(parse_fragment(&name), Some((&hash[..24], 1 << 40)));
        for odd in [
            "",
            "x.bin",
            "../0123456789abcdef01234567-010000000000.bin",
            "0123456789ABCDEF01234567-010000000000.bin",
        ] {
            assert_eq!(parse_fragment(odd), None, "{odd}");
        }
    }
}
