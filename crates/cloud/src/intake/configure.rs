//! Opening an intake to sites: the key of receipts, and the target of the feed that names both.

use std::path::Path;

use protocol::usage::{CONFIG_TARGET, DecryptionKey, IntakeConfig, SigningKey};
use zeroize::Zeroizing;

use super::ADDRESS;
use crate::error::{CloudError, io};
use crate::files::{self, ServiceDir};
use crate::history::{Change, Did, Stamp};
use crate::service::{lock, open};
use crate::settings::Settings;
use crate::small_targets;

const SEED_BYTES: usize = 32;

/// The key that reports on media may be encrypted for.
pub(super) fn decryption_key(dir: &ServiceDir) -> Result<Option<DecryptionKey>, CloudError> {
    let path = dir.receipt_key();
    if !path.exists() {
        return Ok(None);
    }
    let text = Zeroizing::new(files::read_bounded(&path, 1024)?);
    let seed = Zeroizing::new(hex::decode(text.trim_ascii()).unwrap_or_default());
    Ok(DecryptionKey::from_seed(&seed).ok())
}

/// The key that signs receipts; nothing if this service takes no usage data.
pub(super) fn receipt_key(dir: &ServiceDir) -> Result<Option<SigningKey>, CloudError> {
    let path = dir.receipt_key();
    if !path.exists() {
        return Ok(None);
    }
    let text = Zeroizing::new(files::read_bounded(&path, 1024)?);
    let seed = hex::decode(text.trim_ascii())
        .map(Zeroizing::new)
        .unwrap_or_default();
    let unusable = |_| CloudError::Invalid {
        what: "key of receipts",
        detail: format!(
            "{} is not the key that was made; restore it from a backup",
            path.display()
        ),
    };
    SigningKey::from_seed(&seed).map(Some).map_err(unusable)
}

/// Tells sites where usage data goes: to `address`, or beside the feed. Without `taken`, sites are told that
/// none is taken. Says whether that made a difference.
pub fn set_intake(
    dir: &Path,
    address: Option<&str>,
    taken: bool,
    stamp: impl Into<Stamp>,
) -> Result<bool, CloudError> {
    let (dir, stamp) = (ServiceDir::new(dir), stamp.into());
    Settings::load(&dir)?;
    let _lock = lock(&dir)?;
    let mut feed = open(&dir)?;
    if !taken {
        let change = Change::new(Did::Configured, "takes no usage data");
        return small_targets::remove(&mut feed, &dir, CONFIG_TARGET, &stamp, change);
    }
    let key = match receipt_key(&dir)? {
        Some(key) => key,
        None => make_key(&dir)?,
    };
    let mut config = IntakeConfig::new(address.unwrap_or(ADDRESS), vec![key.public()]);
    config.encryption_key = decryption_key(&dir)?.and_then(|key| key.public().ok());
    // What a site would refuse must not be signed; any feed over HTTPS stands for this one.
    config
        .url("https://feed.invalid")
        .map_err(|failure| CloudError::Invalid {
            what: "address",
            detail: failure.to_string(),
        })?;
    let bytes = serde_json::to_vec(&config).map_err(|failure| CloudError::Invalid {
        what: "intake",
        detail: failure.to_string(),
    })?;
    let change = Change::new(Did::Configured, format!("usage data goes to {}", config.address));
    small_targets::set(&mut feed, &dir, (CONFIG_TARGET, &bytes), &stamp, change)
}

fn make_key(dir: &ServiceDir) -> Result<SigningKey, CloudError> {
    let mut seed = Zeroizing::new(vec![0; SEED_BYTES]);
    getrandom::fill(&mut seed).map_err(|failure| CloudError::Randomness {
        detail: failure.to_string(),
    })?;
    files::create_private_folder(&dir.intake())?;
    let path = dir.receipt_key();
    let text = Zeroizing::new(hex::encode(&seed));
    files::write(&path, text.as_bytes(), 0o600).map_err(io("write", &path))?;
    SigningKey::from_seed(&seed).map_err(|failure| CloudError::Invalid {
        what: "key of receipts",
        detail: failure.to_string(),
    })
}
