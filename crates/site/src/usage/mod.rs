//! Usage data of this site: what is measured, at which level, under which key.

mod collect;
mod hash;

pub use collect::collect;

use domain::usage_data::Level;
use store::{StoreError, Tx};

use crate::internet::InternetError;
use crate::secrets::Secrets;

/// Settings in the database.
const LEVEL: &str = "usage.level";
const KEY: &str = "usage.key";
/// Name under which the key is encrypted.
const KEY_NAME: &str = "usage key";

/// The configured level.
pub fn level(tx: &Tx<'_>) -> Result<Level, StoreError> {
    Ok(tx
        .setting(LEVEL)?
        .and_then(|text| text.parse().ok())
        .unwrap_or_default())
}

/// Configures the level.
pub fn set_level(tx: &Tx<'_>, level: Level) -> Result<(), StoreError> {
    tx.set_setting(LEVEL, Some(level.as_str()))
}

/// The key of hashes, made when it is first needed. It is never sent.
pub fn hash_key(secrets: &Secrets, tx: &Tx<'_>) -> Result<Vec<u8>, InternetError> {
    if let Some(sealed) = tx.setting(KEY)? {
        let text = secrets.open_sealed(KEY_NAME, &sealed)?;
        return hex::decode(text.as_bytes()).map_err(|_| InternetError::Damaged);
    }
    let mut key = vec![0; 32];
    getrandom::fill(&mut key).map_err(|_| crate::secrets::SecretError::Random)?;
    tx.set_setting(KEY, Some(&secrets.seal(KEY_NAME, &hex::encode(&key))?))?;
    Ok(key)
}
