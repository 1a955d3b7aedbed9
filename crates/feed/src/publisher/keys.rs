//! Ed25519 signing keys in files: PKCS#8 PEM, mode 0600, one file per key, named by its key id.
//!
//! A private key is read when something is signed and forgotten afterwards; its bytes are wiped from memory. Nothing
//! here prints one.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand_core::CryptoRng;
use serde_json::{Value, json};
use zeroize::{Zeroize, Zeroizing};

use super::document;
use super::error::{PublishError, io};
use crate::durable;

/// The DER that comes before the 32 bytes of an Ed25519 seed in PKCS#8 version 1.
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];
const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const PEM_END: &str = "-----END PRIVATE KEY-----";
/// A key file is some 120 bytes; anything much larger is something else.
const KEY_FILE_BYTES_MAX: u64 = 16 * 1024;

/// The public half of a key, as metadata carries it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublicKey {
    /// The raw key in hexadecimal.
    public: String,
}

impl PublicKey {
    /// A key from its 32 raw bytes in hexadecimal.
    pub fn from_hex(public: &str) -> Option<Self> {
        let bytes = hex::decode(public).ok()?;
        (bytes.len() == 32).then(|| Self {
            public: hex::encode(bytes),
        })
    }

    /// The raw key in hexadecimal.
    pub fn as_hex(&self) -> &str {
        &self.public
    }

    /// The key id that securesystemslib computes: the digest of the canonical form.
    pub fn key_id(&self) -> String {
        document::sha256(&document::canonical(&self.to_value()))
    }

    pub(crate) fn to_value(&self) -> Value {
        json!({"keytype": "ed25519", "keyval": {"public": self.public}, "scheme": "ed25519"})
    }
}

/// A private key.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    seed: Zeroizing<[u8; 32]>,
    public: PublicKey,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

impl SigningKey {
    /// A new key from the caller's randomness.
    pub fn generate(rng: &mut dyn CryptoRng) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *seed);
        Self::from_seed(seed)
    }

    fn from_seed(seed: Zeroizing<[u8; 32]>) -> Self {
        // The length is right by its type, and every 32 bytes are an Ed25519 seed.
        let pair = Ed25519KeyPair::from_seed_unchecked(&*seed).expect("32 bytes are an Ed25519 seed");
        let public = PublicKey {
            public: hex::encode(pair.public_key().as_ref()),
        };
        Self { pair, seed, public }
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The signature of `message`, in hexadecimal.
    pub(crate) fn sign(&self, message: &[u8]) -> String {
        hex::encode(self.pair.sign(message).as_ref())
    }

    /// Reads a key file.
    pub fn read(path: &Path) -> Result<Self, PublishError> {
        let length = std::fs::metadata(path).map_err(io("read", path))?.len();
        let refuse = |detail| PublishError::KeyFile {
            path: path.to_owned(),
            detail,
        };
        if length > KEY_FILE_BYTES_MAX {
            return Err(refuse("the file is too large"));
        }
        let pem = Zeroizing::new(std::fs::read(path).map_err(io("read", path))?);
        let pem = std::str::from_utf8(&pem).map_err(|_| refuse("it is not text"))?;
        let body = pem
            .split_once(PEM_BEGIN)
            .and_then(|(_, rest)| rest.split_once(PEM_END))
            .map(|(body, _)| Zeroizing::new(body.split_ascii_whitespace().collect::<String>()))
            .ok_or_else(|| refuse("there is no PRIVATE KEY block"))?;
        let der = STANDARD
            .decode(body.as_bytes())
            .map_err(|_| refuse("the block is not base64"))?;
        let der = Zeroizing::new(der);
        let seed = seed_of(&der).ok_or_else(|| refuse("the key is not Ed25519"))?;
        Ok(Self::from_seed(seed))
    }

    /// Writes a key file of mode 0600 that did not exist before, and makes it durable.
    pub fn write(&self, folder: &Path) -> Result<PathBuf, PublishError> {
        create_private_folder(folder)?;
        let path = folder.join(format!("{}.pem", self.public.key_id()));
        let mut der = Zeroizing::new([0_u8; 48]);
        der[..16].copy_from_slice(&PKCS8_PREFIX);
        der[16..].copy_from_slice(&*self.seed);
        let mut body = STANDARD.encode(*der);
        let pem = Zeroizing::new(format!("{PEM_BEGIN}\n{body}\n{PEM_END}\n"));
        body.zeroize();
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(io("create", &path))?;
        file.write_all(pem.as_bytes())
            .and_then(|()| file.sync_all())
            .map_err(io("write", &path))?;
        durable::sync_folder(folder).map_err(io("flush", folder))?;
        Ok(path)
    }
}

/// The seed inside a PKCS#8 key: version 1 as we write it, or version 2 that carries the public key as well.
fn seed_of(der: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    if Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).is_err() {
        return None;
    }
    let seed = match der.strip_prefix(&PKCS8_PREFIX) {
        Some(seed) => seed,
        // Version 2 differs only in the outer length and the version number.
        None => der.get(16..)?,
    };
    Some(Zeroizing::new(seed.get(..32)?.try_into().ok()?))
}

/// All keys in a folder, by key id. A folder that does not exist holds none.
pub fn read_folder(folder: &Path) -> Result<BTreeMap<String, SigningKey>, PublishError> {
    let mut keys = BTreeMap::new();
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(keys),
        Err(source) => return Err(io("read", folder)(source)),
    };
    for entry in entries {
        let path = entry.map_err(io("read", folder))?.path();
        if path.extension().is_some_and(|extension| extension == "pem") {
            let key = SigningKey::read(&path)?;
            keys.insert(key.public().key_id(), key);
        }
    }
    Ok(keys)
}

/// Takes a key out of use without destroying it: its file no longer ends in `.pem`.
pub(crate) fn retire(folder: &Path, key_id: &str) -> Result<(), PublishError> {
    let path = folder.join(format!("{key_id}.pem"));
    match std::fs::rename(&path, folder.join(format!("{key_id}.retired"))) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(io("retire", &path)(source)),
        _ => Ok(()),
    }
}

/// Makes a folder that only its owner can enter.
pub(crate) fn create_private_folder(folder: &Path) -> Result<(), PublishError> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(io("create", folder))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use rand_chacha::ChaCha20Rng;
    use rand_core::SeedableRng;

    use super::*;

    #[test]
    fn keys_survive_their_file() {
        let folder = tempfile::tempdir().unwrap();
        let key = SigningKey::generate(&mut ChaCha20Rng::seed_from_u64(1));
        let path = key.write(folder.path()).unwrap();
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let read = SigningKey::read(&path).unwrap();
        assert_eq!(read.public(), key.public());
        assert_eq!(read.sign(b"x"), key.sign(b"x"));
        assert!(
            matches!(key.write(folder.path()), Err(PublishError::Io { .. })),
            "never overwritten"
        );
        assert!(!format!("{key:?}").contains(&hex::encode(*key.seed)));
    }

    #[test]
    fn other_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        for (text, expected) in [
            ("", "there is no PRIVATE KEY block"),
            (
                "-----BEGIN PRIVATE KEY-----\n*\n-----END PRIVATE KEY-----",
                "the block is not base64",
            ),
            (
                "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
                "the key is not Ed25519",
            ),
        ] {
            let path = folder.path().join("a.pem");
            std::fs::write(&path, text).unwrap();
            match SigningKey::read(&path) {
                Err(PublishError::KeyFile { detail, .. }) => assert_eq!(detail, expected),
                other => panic!("{text:?}: {other:?}"),
            }
        }
    }
}
