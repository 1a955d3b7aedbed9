//! A sealed report for the service's eyes only: X25519 with a key made for this one report, HKDF-SHA256,
//! AES-256-GCM.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::agreement::{
    EphemeralPrivateKey, PrivateKey, UnparsedPublicKey, X25519, agree, agree_ephemeral,
};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::rand::SystemRandom;
use sha2::{Digest, Sha256};

const MAGIC: &[u8; 8] = b"TGENC01\n";
const PUBLIC_BYTES: usize = 32;
const KEY_BYTES: usize = 32;
const INFO: &[&[u8]] = &[b"tidegate usage report"];

/// Why a report cannot be encrypted or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncryptionError {
    /// Not a public key.
    #[error("the key to encrypt for is none")]
    Key,
    /// Not for this key, or changed.
    #[error("it is not encrypted for this service, or was changed")]
    Sealed,
}

/// The service's key, made of the seed that its receipts are signed with, for another purpose.
pub struct DecryptionKey {
    key: PrivateKey,
}

impl DecryptionKey {
    /// The key of a seed.
    pub fn from_seed(seed: &[u8]) -> Result<Self, EncryptionError> {
        let mut hash = Sha256::new();
        hash.update(b"tidegate usage encryption");
        hash.update(seed);
        let key =
            PrivateKey::from_private_key(&X25519, &hash.finalize()).map_err(|_| EncryptionError::Key)?;
        Ok(DecryptionKey { key })
    }

    /// The public key, in hexadecimal.
    pub fn public(&self) -> Result<String, EncryptionError> {
        let public = self.key.compute_public_key().map_err(|_| EncryptionError::Key)?;
        Ok(hex::encode(public.as_ref()))
    }

    /// The sealed report in it.
    pub fn decrypt(&self, bytes: &[u8]) -> Result<Vec<u8>, EncryptionError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(EncryptionError::Sealed)?;
        let (public, sealed) = rest
            .split_at_checked(PUBLIC_BYTES)
            .ok_or(EncryptionError::Sealed)?;
        let peer = UnparsedPublicKey::new(&X25519, public);
        let key = agree(&self.key, peer, EncryptionError::Sealed, |secret| {
            aead_key(secret, public)
        })?;
        let mut buffer = sealed.to_vec();
        let plain = key
            .open_in_place(nonce(), Aad::from(MAGIC), &mut buffer)
            .map_err(|_| EncryptionError::Sealed)?;
        Ok(plain.to_vec())
    }
}

/// Whether bytes are an encrypted report.
pub fn is_encrypted(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Encrypts a sealed report for a service.
pub fn encrypt(sealed: &[u8], public_key: &str) -> Result<Vec<u8>, EncryptionError> {
    let peer = hex::decode(public_key).map_err(|_| EncryptionError::Key)?;
    let own =
        EphemeralPrivateKey::generate(&X25519, &SystemRandom::new()).map_err(|_| EncryptionError::Key)?;
    let public = own.compute_public_key().map_err(|_| EncryptionError::Key)?;
    let peer = UnparsedPublicKey::new(&X25519, peer);
    let key = agree_ephemeral(own, peer, EncryptionError::Key, |secret| {
        aead_key(secret, public.as_ref())
    })?;
    let mut buffer = sealed.to_vec();
    key.seal_in_place_append_tag(nonce(), Aad::from(MAGIC), &mut buffer)
        .map_err(|_| EncryptionError::Key)?;
    Ok([MAGIC.as_slice(), public.as_ref(), &buffer].concat())
}

/// Each key encrypts one report, so that its nonce may be the same.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

fn aead_key(secret: &[u8], public: &[u8]) -> Result<LessSafeKey, EncryptionError> {
    let mut key = [0; KEY_BYTES];
    Salt::new(HKDF_SHA256, public)
        .extract(secret)
        .expand(INFO, HKDF_SHA256)
        .and_then(|okm| okm.fill(&mut key))
        .map_err(|_| EncryptionError::Key)?;
    let key = UnboundKey::new(&AES_256_GCM, &key).map_err(|_| EncryptionError::Key)?;
    Ok(LessSafeKey::new(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_service_reads_it() {
        let key = DecryptionKey::from_seed(&[1; 32]).unwrap();
        let other = DecryptionKey::from_seed(&[2; 32]).unwrap();
        let public = key.public().unwrap();
        let bytes = encrypt(b"sealed", &public).unwrap();
        assert!(is_encrypted(&bytes) && !bytes.windows(6).any(|part| part == b"sealed"));
        assert_ne!(bytes, encrypt(b"sealed", &public).unwrap());
        assert_eq!(key.decrypt(&bytes).unwrap(), b"sealed");
        assert_eq!(other.decrypt(&bytes), Err(EncryptionError::Sealed));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            assert!(key.decrypt(&changed).is_err(), "byte {at}");
            assert!(key.decrypt(&bytes[..at]).is_err(), "cut at {at}");
        }
        assert!(encrypt(b"x", "zz").is_err() && encrypt(b"x", "00").is_err());
    }
}
