//! Signed statements in DSSE envelopes, version 1 (Dead Simple Signing Envelope), with Ed25519. The key id is
//! the public key itself, in hexadecimal.

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

/// Largest envelope.
pub(super) const ENVELOPE_BYTES_MAX: usize = 16 * 1024;
const SEED_BYTES: usize = 32;

/// A private key that signs statements.
pub struct SigningKey {
    pair: Ed25519KeyPair,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({})", self.public())
    }
}

impl SigningKey {
    /// The key of a seed of 32 random bytes.
    pub fn from_seed(seed: &[u8]) -> Result<Self, DsseError> {
        if seed.len() != SEED_BYTES {
            return Err(DsseError::Key);
        }
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| DsseError::Key)?;
        Ok(SigningKey { pair })
    }

    /// The public key, in hexadecimal.
    pub fn public(&self) -> String {
        hex::encode(self.pair.public_key().as_ref())
    }
}

/// Why an envelope is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DsseError {
    /// A private key of another length.
    #[error("the signing key is unusable")]
    Key,
    /// Larger than any that we write.
    #[error("the envelope has {bytes} bytes, more than the {ENVELOPE_BYTES_MAX} that it may have")]
    Oversized {
        /// Its size.
        bytes: usize,
    },
    /// No envelope.
    #[error("the envelope cannot be read: {0}")]
    Malformed(String),
    /// An envelope of something else.
    #[error("the envelope holds {found:?} instead of {expected:?}")]
    Type {
        /// What it should hold.
        expected: &'static str,
        /// What it says.
        found: String,
    },
    /// None of the signatures is good.
    #[error("the signature is not good")]
    Signature,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Envelope {
    payload_type: String,
    payload: String,
    signatures: Vec<Signature>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signature {
    keyid: String,
    sig: String,
}

/// What is signed: type and payload, each with its length before it.
fn pre_authentication(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

/// Signs a payload; the envelope is one line of JSON.
pub(crate) fn sign(payload_type: &'static str, payload: &[u8], key: &SigningKey) -> String {
    let signature = key.pair.sign(&pre_authentication(payload_type, payload));
    let envelope = Envelope {
        payload_type: payload_type.to_owned(),
        payload: BASE64_STANDARD.encode(payload),
        signatures: vec![Signature {
            keyid: key.public(),
            sig: BASE64_STANDARD.encode(signature.as_ref()),
        }],
    };
    serde_json::to_string(&envelope).unwrap_or_default()
}

/// The payload of an envelope and the public key that signed it, which has to be one of `trusted` if that is
/// given.
pub(crate) fn verify(
    payload_type: &'static str,
    text: &[u8],
    trusted: Option<&[String]>,
) -> Result<(Vec<u8>, String), DsseError> {
    if text.len() > ENVELOPE_BYTES_MAX {
        return Err(DsseError::Oversized { bytes: text.len() });
    }
    let malformed = |problem: &str| DsseError::Malformed(problem.to_owned());
    let envelope: Envelope =
        serde_json::from_slice(text).map_err(|failure| DsseError::Malformed(failure.to_string()))?;
    if envelope.payload_type != payload_type {
        return Err(DsseError::Type {
            expected: payload_type,
            found: envelope.payload_type.chars().take(100).collect(),
        });
    }
    let payload = BASE64_STANDARD
        .decode(&envelope.payload)
        .map_err(|_| malformed("its payload is no base64"))?;
    let signed = pre_authentication(payload_type, &payload);
    for signature in envelope.signatures.iter().take(8) {
        if trusted.is_some_and(|trusted| !trusted.contains(&signature.keyid)) {
            continue;
        }
        let Ok(public) = hex::decode(&signature.keyid) else {
            continue;
        };
        let Ok(bytes) = BASE64_STANDARD.decode(&signature.sig) else {
            continue;
        };
        // One spelling of a key, so that no two names stand for one.
        let canonical = hex::encode(&public) == signature.keyid;
        if canonical
            && UnparsedPublicKey::new(&ED25519, &public)
                .verify(&signed, &bytes)
                .is_ok()
        {
            return Ok((payload, signature.keyid.clone()));
        }
    }
    Err(DsseError::Signature)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_signed_by_a_trusted_key_is_believed() {
        let (ours, other) = (
            SigningKey::from_seed(&[1; 32]).unwrap(),
            SigningKey::from_seed(&[2; 32]).unwrap(),
        );
        let text = sign("test", b"payload", &ours);
        let trusted = [ours.public()];
        let (payload, key) = verify("test", text.as_bytes(), Some(&trusted)).unwrap();
        assert_eq!((payload.as_slice(), key), (b"payload".as_slice(), ours.public()));
        assert!(verify("test", text.as_bytes(), None).is_ok());
        assert_eq!(
            verify("test", text.as_bytes(), Some(&[other.public()])),
            Err(DsseError::Signature)
        );
        assert!(matches!(
            verify("rest", text.as_bytes(), None),
            Err(DsseError::Type { .. })
        ));
        let changed = text.replace(
            &BASE64_STANDARD.encode("payload"),
            &BASE64_STANDARD.encode("paYload"),
        );
        assert_eq!(
            verify("test", changed.as_bytes(), None),
            Err(DsseError::Signature)
        );
        let renamed = text.replace(&ours.public(), &other.public());
        assert_eq!(
            verify("test", renamed.as_bytes(), None),
            Err(DsseError::Signature)
        );
        let upper = text.replace(&ours.public(), &ours.public().to_uppercase());
        assert_eq!(verify("test", upper.as_bytes(), None), Err(DsseError::Signature));
        for end in 0..text.len() {
            assert!(verify("test", &text.as_bytes()[..end], None).is_err());
        }
        let large = vec![b' '; ENVELOPE_BYTES_MAX + 1];
        assert!(matches!(
            verify("test", &large, None),
            Err(DsseError::Oversized { .. })
        ));
        assert!(SigningKey::from_seed(&[0; 31]).is_err());
    }
}
