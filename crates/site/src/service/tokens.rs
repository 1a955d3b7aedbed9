//! API tokens: shown once when they are made, kept as hashes, one line each: name, hash, role, scope.

use std::path::Path;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use domain::access::{Access, Role, Scope};
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
    #[error("there is a token {name:?} already; revoke it first with `tidegate user revoke`")]
    Exists {
        /// Name.
        name: String,
    },
    /// The file.
    #[error("cannot read or write {path}")]
    File {
        /// File.
        path: std::path::PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
}

/// A token without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Name.
    pub name: String,
    /// What its holder may do.
    pub access: Access,
}

/// Adds a token of 32 random bytes and returns it as text. Only its SHA-256 is stored: a token has too
/// much entropy to be guessed from its hash.
pub fn add(file: &Path, name: &str, access: Access, random: [u8; 32]) -> Result<String, TokenError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || name.len() > NAME_CHARACTERS_MAX || !name.chars().all(plain) {
        return Err(TokenError::Name);
    }
    let mut text = read(file)?;
    if text.lines().any(|line| line.split(' ').next() == Some(name)) {
        return Err(TokenError::Exists {
            name: name.to_owned(),
        });
    }
    let token = hex::encode(random);
    text.push_str(&format!(
        "{name} {} {} {}\n",
        hex::encode(Sha256::digest(token.as_bytes())),
        access.role.word(),
        access.scope.as_str()
    ));
    write(file, &text)?;
    Ok(token)
}

/// Removes a token; false if there is none of this name.
pub fn remove(file: &Path, name: &str) -> Result<bool, TokenError> {
    let text = read(file)?;
    let kept: Vec<&str> = text
        .lines()
        .filter(|line| line.split(' ').next() != Some(name))
        .collect();
    if kept.len() == text.lines().count() {
        return Ok(false);
    }
    write(
        file,
        &kept.iter().map(|line| format!("{line}\n")).collect::<String>(),
    )?;
    Ok(true)
}

/// All tokens, in the order in which they were made.
pub fn list(file: &Path) -> Result<Vec<Token>, TokenError> {
    Ok(read(file)?
        .lines()
        .filter_map(|line| parse(line).map(|(token, _)| token))
        .collect())
}

/// No file is no token; one that cannot be read is not taken for that.
fn read(file: &Path) -> Result<String, TokenError> {
    match std::fs::read_to_string(file) {
        Err(failure) if failure.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        read => read.map_err(|source| TokenError::File {
            path: file.to_owned(),
            source,
        }),
    }
}

fn write(file: &Path, text: &str) -> Result<(), TokenError> {
    write_durably(file, text.as_bytes(), 0o600).map_err(|source| TokenError::File {
        path: file.to_owned(),
        source,
    })
}

/// A line: what it gives and to the holder of what. Lines of earlier releases have no role and give everything; a role
/// that is not known gives the least.
fn parse(line: &str) -> Option<(Token, &str)> {
    let mut words = line.split(' ');
    let (name, hash) = (words.next()?, words.next()?);
    let access = match words.next() {
        None => Access::FULL,
        Some(role) => Access {
            role: role.parse().unwrap_or(Role::ReadOnlyAnalyst),
            scope: words
                .next()
                .and_then(|scope| scope.parse().ok())
                .unwrap_or(Scope::Default),
        },
    };
    let name = name.to_owned();
    Some((Token { name, access }, hash))
}

/// The token that this is, if it is a known one. Every known hash is compared, in constant time.
pub(super) fn holder(file: &Path, token: &str) -> Option<Token> {
    let hash = hex::encode(Sha256::digest(token.as_bytes()));
    let text = std::fs::read_to_string(file).ok()?;
    let mut found = None;
    for line in text.lines() {
        if let Some((token, known)) = parse(line)
            && verify_slices_are_equal(known.as_bytes(), hash.as_bytes()).is_ok()
        {
            found = Some(token);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ_ONLY: Access = Access {
        role: Role::ReadOnlyAnalyst,
        scope: Scope::Default,
    };

    #[test]
    fn a_token_opens_and_its_hash_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("api-tokens");
        let token = add(&file, "monitoring", READ_ONLY, [7; 32]).unwrap();
        let found = holder(&file, &token).unwrap();
        assert_eq!((found.name.as_str(), found.access), ("monitoring", READ_ONLY));
        let stored = std::fs::read_to_string(&file).unwrap();
        assert!(!stored.contains(&token));
        assert_eq!(holder(&file, stored.split(' ').nth(1).unwrap()), None);
        assert_eq!(holder(&file, ""), None);
        assert!(matches!(
            add(&file, "monitoring", READ_ONLY, [8; 32]),
            Err(TokenError::Exists { .. })
        ));
        assert!(matches!(
            add(&file, "a b", READ_ONLY, [8; 32]),
            Err(TokenError::Name)
        ));
        assert!(!remove(&file, "other").unwrap());
        assert!(remove(&file, "monitoring").unwrap());
        assert_eq!(holder(&file, &token), None);
    }

    #[test]
    fn lines_of_earlier_releases_and_of_later_ones() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("api-tokens");
        std::fs::write(&file, "old aa\nnew bb king All\n").unwrap();
        let access: Vec<Access> = list(&file)
            .unwrap()
            .into_iter()
            .map(|token| token.access)
            .collect();
        assert_eq!(access[0], Access::FULL);
        assert_eq!(access[1].role, Role::ReadOnlyAnalyst);
    }
}
