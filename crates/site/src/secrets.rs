//! Secrets at rest: AES-256-GCM under a key of this site that never leaves `secrets/`.

use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use crate::directory::write_durably;

const KEY_BYTES: usize = 32;

/// Why a secret cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The key file.
    #[error("cannot use the key file {path}")]
    File {
        /// File.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// Not this site's key, or changed bytes.
    #[error("the stored {name} cannot be decrypted with the key of this site; set it again")]
    Damaged {
        /// What it is.
        name: String,
    },
    /// No randomness.
    #[error("the machine gives no random numbers")]
    Random,
}

/// Largest file with a secret.
const SECRET_BYTES_MAX: u64 = 4 * 1024;

/// Why a file with a secret cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the secret {path}: {why}")]
pub struct SecretFileError {
    path: PathBuf,
    why: String,
}

/// The content of a file of `secrets/` that an administrator put there, without the end of its line.
pub fn secret_file(folder: &Path, name: &str) -> Result<Zeroizing<String>, SecretFileError> {
    let path = folder.join(name);
    let failed = |why: String| SecretFileError {
        path: path.clone(),
        why,
    };
    let length = std::fs::metadata(&path)
        .map_err(|failure| failed(failure.to_string()))?
        .len();
    if length > SECRET_BYTES_MAX {
        return Err(failed(format!("it is larger than {SECRET_BYTES_MAX} bytes")));
    }
    let text = std::fs::read_to_string(&path).map_err(|failure| failed(failure.to_string()))?;
    let text = Zeroizing::new(text);
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(failed("it is empty".to_owned())),
        secret => Ok(Zeroizing::new(secret.to_owned())),
    }
}

/// The key of a site.
pub struct Secrets {
    key: LessSafeKey,
    /// For fingerprints of what must not be guessed from them.
    fingerprints: hmac::Key,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets")
    }
}

impl Secrets {
    /// Reads the key, or makes one.
    pub fn open(folder: &Path) -> Result<Self, SecretError> {
        let path = folder.join("site.key");
        let file = |source| SecretError::File {
            path: path.clone(),
            source,
        };
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => Zeroizing::new(bytes),
            Err(failure) if failure.kind() == std::io::ErrorKind::NotFound => {
                let mut fresh = Zeroizing::new(vec![0; KEY_BYTES]);
                getrandom::fill(&mut fresh).map_err(|_| SecretError::Random)?;
                write_durably(&path, &fresh, 0o600).map_err(file)?;
                fresh
            }
            Err(failure) => return Err(file(failure)),
        };
        let key = UnboundKey::new(&AES_256_GCM, &bytes).map_err(|_| {
            let text = format!("it has {} bytes instead of {KEY_BYTES}", bytes.len());
            file(std::io::Error::new(std::io::ErrorKind::InvalidData, text))
        })?;
        let derived = hmac::sign(
            &hmac::Key::new(hmac::HMAC_SHA256, &bytes),
            b"tidegate fingerprints",
        );
        Ok(Secrets {
            key: LessSafeKey::new(key),
            fingerprints: hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()),
        })
    }

    /// The same for the same parts, and of no use to who does not have the key of this site.
    pub fn fingerprint(&self, parts: &[&[u8]]) -> String {
        let mut context = hmac::Context::with_key(&self.fingerprints);
        for part in parts {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part);
        }
        hex::encode(context.sign())
    }

    /// Encrypts a secret; `name` is bound to it, so that one cannot be put in another's place.
    pub fn seal(&self, name: &str, secret: &str) -> Result<String, SecretError> {
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|_| SecretError::Random)?;
        let mut bytes = Zeroizing::new(secret.as_bytes().to_vec());
        let sealed = Nonce::assume_unique_for_key(nonce);
        self.key
            .seal_in_place_append_tag(sealed, Aad::from(name.as_bytes()), &mut *bytes)
            .map_err(|_| SecretError::Random)?;
        Ok(format!("{}{}", hex::encode(nonce), hex::encode(&*bytes)))
    }

    /// Decrypts a secret.
    pub fn open_sealed(&self, name: &str, sealed: &str) -> Result<Zeroizing<String>, SecretError> {
        let damaged = || SecretError::Damaged {
            name: name.to_owned(),
        };
        let bytes = hex::decode(sealed).map_err(|_| damaged())?;
        let (nonce, rest) = bytes.split_at_checked(NONCE_LEN).ok_or_else(damaged)?;
        let mut rest = Zeroizing::new(rest.to_vec());
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| damaged())?;
        let plain = self
            .key
            .open_in_place(nonce, Aad::from(name.as_bytes()), &mut rest)
            .map_err(|_| damaged())?;
        let text = std::str::from_utf8(plain).map_err(|_| damaged())?;
        Ok(Zeroizing::new(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_here_and_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let secrets = Secrets::open(folder.path()).unwrap();
        let sealed = secrets.seal("proxy password", "hunter2").unwrap();
        assert!(!sealed.contains("hunter2") && !sealed.contains(&hex::encode("hunter2")));
        let again = Secrets::open(folder.path()).unwrap();
        assert_eq!(
            again.open_sealed("proxy password", &sealed).unwrap().as_str(),
            "hunter2"
        );
        assert!(again.open_sealed("another", &sealed).is_err());
        let other = tempfile::tempdir().unwrap();
        let other = Secrets::open(other.path()).unwrap();
        assert!(other.open_sealed("proxy password", &sealed).is_err());
        for damaged in ["", "zz", &sealed[..20]] {
            assert!(again.open_sealed("proxy password", damaged).is_err());
        }
        let bytes = hex::decode(&sealed).unwrap();
        for position in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[position] ^= 1;
            let damaged = hex::encode(damaged);
            assert!(again.open_sealed("proxy password", &damaged).is_err());
        }
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(folder.path().join("site.key"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
