//! API tokens: shown once when they are made, kept as hashes.

use std::path::Path;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use sha2::{Digest, Sha256};

use crate::directory::write_durably;

/// Longest name of a token.
const NAME_CHARACTERS_MAX: usize = 64;

/// Why a token was not made.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The name cannot be a name.
    #[error("a token is named by 1 to {NAME_CHARACTERS_MAX} letters, digits, hyphens or underscores")]
    Name,
    /// There is one of this name.
    #[error("there is a token {name:?} already; remove its line from secrets/api-tokens first")]
    Exists {
        /// Name.
        name: String,
    },
    /// The file.
    #[error("cannot write {path}")]
    File {
        /// File.
        path: std::path::PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
}

/// Adds a token of 32 random bytes and returns it as text. Only its SHA-256 is stored: a token has too
/// much entropy to be guessed from its hash.
pub fn add(file: &Path, name: &str, random: [u8; 32]) -> Result<String, TokenError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || name.len() > NAME_CHARACTERS_MAX || !name.chars().all(plain) {
        return Err(TokenError::Name);
    }
    let mut text = std::fs::read_to_string(file).unwrap_or_default();
    if text.lines().any(|line| line.split(' ').next() == Some(name)) {
        return Err(TokenError::Exists {
            name: name.to_owned(),
        });
    }
    let token = hex::encode(random);
    text.push_str(&format!(
        "{name} {}\n",
        hex::encode(Sha256::digest(token.as_bytes()))
    ));
    write_durably(file, text.as_bytes(), 0o600).map_err(|source| TokenError::File {
        path: file.to_owned(),
        source,
    })?;
    Ok(token)
}

/// The name of the token, if it is a known one. Every known hash is compared, in constant time.
pub(super) fn holder(file: &Path, token: &str) -> Option<String> {
    let hash = hex::encode(Sha256::digest(token.as_bytes()));
    let text = std::fs::read_to_string(file).ok()?;
    let mut found = None;
    for line in text.lines() {
        if let Some((name, known)) = line.split_once(' ')
            && verify_slices_are_equal(known.as_bytes(), hash.as_bytes()).is_ok()
        {
            found = Some(name.to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_and_its_hash_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("api-tokens");
        let token = add(&file, "monitoring", [7; 32]).unwrap();
        assert_eq!(holder(&file, &token).as_deref(), Some("monitoring"));
        let stored = std::fs::read_to_string(&file).unwrap();
        assert!(!stored.contains(&token));
        assert_eq!(holder(&file, stored.split(' ').nth(1).unwrap().trim()), None);
        assert_eq!(holder(&file, ""), None);
        assert!(matches!(
            add(&file, "monitoring", [8; 32]),
            Err(TokenError::Exists { .. })
        ));
        assert!(matches!(add(&file, "a b", [8; 32]), Err(TokenError::Name)));
    }
}
