//! An update that is not in the catalogue: one file, handed over by the vendor. A signed line names its
//! members; their bytes follow, one after the other.

use serde::{Deserialize, Serialize};

use crate::usage::{DsseError, SigningKey, sign, verify};

/// How the name of such a file ends.
pub const HOTFIX_ENDING: &str = ".update";
/// Where a feed names the keys that sign them.
pub const HOTFIX_TARGET: &str = "config/hotfix.json";
/// Longest first line.
pub const HOTFIX_LINE_BYTES_MAX: usize = 16 * 1024;
/// Largest package record in one.
pub const HOTFIX_RECORD_BYTES_MAX: u64 = 1024 * 1024;
const PAYLOAD_TYPE: &str = "application/vnd.tidegate.hotfix+json";
const FORMAT: u32 = 1;

/// What a member is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HotfixPart {
    /// The package record, a line of a catalogue.
    Record,
    /// The payload index.
    Index,
    /// A pack.
    Pack,
    /// A redistributable, by name.
    Redistributable(String),
}

/// A member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct HotfixMember {
    /// What it is.
    pub part: HotfixPart,
    /// Bytes.
    pub length: u64,
    /// SHA-256.
    pub sha256: String,
}

/// What is signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct HotfixStatement {
    /// Version of the form.
    pub format: u32,
    /// Members in the order of their bytes; the record first, the index second.
    pub members: Vec<HotfixMember>,
}

/// The keys of a feed's hotfixes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HotfixKeys {
    /// Version of the form.
    pub format: u32,
    /// Public keys, in hexadecimal.
    pub keys: Vec<String>,
}

/// Why a first line is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HotfixError {
    /// Signature or form.
    #[error("it is not signed by a key that the feed names: {0}")]
    Envelope(#[from] DsseError),
    /// The statement.
    #[error("its description cannot be read: {0}")]
    Malformed(String),
}

impl HotfixStatement {
    /// A statement of this release's form.
    pub fn new(members: Vec<HotfixMember>) -> Self {
        HotfixStatement {
            format: FORMAT,
            members,
        }
    }

    /// The first line, signed.
    pub fn sign(&self, key: &SigningKey) -> String {
        sign(PAYLOAD_TYPE, &serde_json::to_vec(self).unwrap_or_default(), key)
    }

    /// Reads a first line that one of these keys signed.
    pub fn verify(line: &[u8], keys: &[String]) -> Result<Self, HotfixError> {
        let (payload, _) = verify(PAYLOAD_TYPE, line, Some(keys))?;
        let malformed = |problem: String| HotfixError::Malformed(problem);
        let statement: HotfixStatement =
            serde_json::from_slice(&payload).map_err(|failure| malformed(failure.to_string()))?;
        if statement.format != FORMAT {
            return Err(malformed(format!(
                "format {} is not known to this release",
                statement.format
            )));
        }
        let parts: Vec<&HotfixPart> = statement.members.iter().map(|member| &member.part).collect();
        let ordered = matches!(parts.as_slice(), [HotfixPart::Record, HotfixPart::Index, rest @ ..]
            if rest.iter().all(|part| matches!(part, HotfixPart::Pack | HotfixPart::Redistributable(_))));
        if !ordered || statement.members[0].length > HOTFIX_RECORD_BYTES_MAX {
            return Err(malformed("its members are not in order".into()));
        }
        let plain = |name: &str| {
            !name.is_empty()
                && name.len() < 200
                && !name.starts_with('.')
                && !name.contains(['/', '\\', '\0'])
        };
        let odd = parts
            .iter()
            .any(|part| matches!(part, HotfixPart::Redistributable(name) if !plain(name)));
        let hashes = statement.members.iter().all(|member| {
            member.sha256.len() == 64
                && member
                    .sha256
                    .bytes()
                    .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        });
        match odd || !hashes {
            true => Err(malformed("it names a file that could lie anywhere".into())),
            false => Ok(statement),
        }
    }
}

impl HotfixKeys {
    /// Keys of this release's form.
    pub fn new(keys: Vec<String>) -> Self {
        HotfixKeys { format: FORMAT, keys }
    }

    /// Reads the target of a feed.
    pub fn parse(text: &[u8]) -> Result<Self, HotfixError> {
        let keys: HotfixKeys =
            serde_json::from_slice(text).map_err(|failure| HotfixError::Malformed(failure.to_string()))?;
        match keys.format == FORMAT && (1..=16).contains(&keys.keys.len()) {
            true => Ok(keys),
            false => Err(HotfixError::Malformed(
                "it names no keys that this release knows".into(),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_signed_line_in_order_is_read() {
        let key = SigningKey::from_seed(&[8; 32]).unwrap();
        let member = |part: HotfixPart| HotfixMember {
            part,
            length: 1,
            sha256: "ab".repeat(32),
        };
        let good = HotfixStatement::new(vec![
            member(HotfixPart::Record),
            member(HotfixPart::Index),
            member(HotfixPart::Pack),
            member(HotfixPart::Redistributable("runtime.bin".into())),
        ]);
        let line = good.sign(&key);
        let keys = [key.public()];
        assert_eq!(HotfixStatement::verify(line.as_bytes(), &keys), Ok(good.clone()));
        assert!(HotfixStatement::verify(line.as_bytes(), &["00".repeat(32)]).is_err());
        for end in 0..line.len() {
            assert!(HotfixStatement::verify(&line.as_bytes()[..end], &keys).is_err());
        }
        for members in [
            vec![],
            vec![member(HotfixPart::Index), member(HotfixPart::Record)],
            vec![
                member(HotfixPart::Record),
                member(HotfixPart::Index),
                member(HotfixPart::Redistributable("../x".into())),
            ],
            vec![
                member(HotfixPart::Record),
                member(HotfixPart::Index),
                member(HotfixPart::Index),
            ],
        ] {
            let line = HotfixStatement::new(members).sign(&key);
            assert!(matches!(
                HotfixStatement::verify(line.as_bytes(), &keys),
                Err(HotfixError::Malformed(_))
            ));
        }
        let text = serde_json::to_vec(&HotfixKeys::new(keys.to_vec())).unwrap();
        assert_eq!(HotfixKeys::parse(&text).unwrap().keys, keys);
        assert!(HotfixKeys::parse(b"{}").is_err());
    }
}
