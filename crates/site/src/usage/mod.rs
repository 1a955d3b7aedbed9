//! Usage data of this site: what is measured, at which level, under which keys, and the reports that come
//! of it.

mod collect;
mod hash;
pub mod import;
mod inventory;
pub mod ledger;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use domain::usage_data::sending::{ReportEvent, ReportState, Sending};
use domain::usage_data::{Level, Rejected, Value, build};
use executive::Clock;
use protocol::usage::{IntakeConfig, SigningKey, canonical};
use sha2::{Digest, Sha256};
use store::{StoreError, Tx, UsageReportRow};

use crate::context::SiteContext;
use crate::internet::InternetError;
use crate::secrets::{SecretError, Secrets};

/// Settings in the database.
const LEVEL: &str = "usage.level";
const SENDING: &str = "usage.sending";
const KEY: &str = "usage.key";
const SEED: &str = "usage.signing-seed";
const REQUESTED: &str = "usage.requested";
/// Names under which the keys are encrypted.
const KEY_NAME: &str = "usage key";
const SEED_NAME: &str = "usage signing key";
/// Longest time a collection may take.
const COLLECTION_MAX: Duration = Duration::from_secs(10 * 60);

/// Why nothing was collected.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A key.
    #[error(transparent)]
    Key(#[from] InternetError),
    /// A measurement that the dictionary does not know.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// It was cancelled.
    #[error("the collection of usage data was cancelled")]
    Cancelled,
    /// It took too long.
    #[error("the collection of usage data took longer than {} minutes and was ended", COLLECTION_MAX.as_secs() / 60)]
    TooLong,
}

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

/// Whether reports go out by themselves.
pub fn sending(tx: &Tx<'_>) -> Result<Sending, StoreError> {
    Ok(tx
        .setting(SENDING)?
        .and_then(|text| text.parse().ok())
        .unwrap_or_default())
}

/// Configures whether reports go out by themselves.
pub fn set_sending(tx: &Tx<'_>, sending: Sending) -> Result<(), StoreError> {
    tx.set_setting(SENDING, Some(sending.as_str()))
}

/// Whether an administrator asked for a report to be sent now.
pub fn requested(tx: &Tx<'_>) -> Result<bool, StoreError> {
    Ok(tx.setting(REQUESTED)?.is_some())
}

/// Asks for a report to be sent now, or notes that this is done.
pub fn set_requested(tx: &Tx<'_>, requested: bool) -> Result<(), StoreError> {
    tx.set_setting(REQUESTED, requested.then_some("1"))
}

/// Reads a key of 32 bytes, or makes it.
fn key(secrets: &Secrets, tx: &Tx<'_>, setting: &str, name: &str) -> Result<Vec<u8>, InternetError> {
    if let Some(sealed) = tx.setting(setting)? {
        let text = secrets.open_sealed(name, &sealed)?;
        return hex::decode(text.as_bytes()).map_err(|_| InternetError::Damaged);
    }
    let mut key = vec![0; 32];
    getrandom::fill(&mut key).map_err(|_| SecretError::Random)?;
    tx.set_setting(setting, Some(&secrets.seal(name, &hex::encode(&key))?))?;
    Ok(key)
}

/// The key of hashes, made when it is first needed. It is never sent.
pub fn hash_key(secrets: &Secrets, tx: &Tx<'_>) -> Result<Vec<u8>, InternetError> {
    key(secrets, tx, KEY, KEY_NAME)
}

/// What this hierarchy is to the vendor.
pub fn hierarchy(context: &SiteContext, tx: &Tx<'_>) -> Result<String, InternetError> {
    let key = hash_key(context.internet.secrets(), tx)?;
    Ok(hash::keyed_hash(&key, &context.identity.hierarchy_id))
}

/// The key that signs reports, made when it is first needed.
pub fn signing_key(secrets: &Secrets, tx: &Tx<'_>) -> Result<SigningKey, InternetError> {
    let seed = key(secrets, tx, SEED, SEED_NAME)?;
    SigningKey::from_seed(&seed).map_err(|_| InternetError::Damaged)
}

/// Forgets both keys: from the next report on this hierarchy is a new one to the vendor. Reports under the
/// old keys that have not begun to leave are replaced.
pub fn rotate_keys(tx: &Tx<'_>, now: jiff::Timestamp) -> Result<(), StoreError> {
    tx.set_setting(KEY, None)?;
    tx.set_setting(SEED, None)?;
    replace_open(tx, now)
}

/// Open reports that have not begun to leave make room for a newer one.
pub fn replace_open(tx: &Tx<'_>, now: jiff::Timestamp) -> Result<(), StoreError> {
    for report in tx.open_usage_reports()? {
        tx.change_usage_report(&report.report_id, ReportEvent::Replace, now)?;
    }
    Ok(())
}

/// Where usage data goes, as the feed says; nothing if it says nothing.
pub fn intake(context: &SiteContext) -> Option<Result<(IntakeConfig, url::Url), String>> {
    let text = std::fs::read(context.directory.usage_intake()).ok()?;
    let config = IntakeConfig::parse(&text).map_err(|failure| failure.to_string());
    Some(config.and_then(|config| {
        let url = config
            .url(&context.settings.feed_url)
            .map_err(|failure| failure.to_string())?;
        Ok((config, url))
    }))
}

/// A collected report that is not stored anywhere.
pub async fn collect_report(
    context: &Arc<SiteContext>,
    level: Option<Level>,
    week: Option<u64>,
    clock: &Clock,
) -> Result<UsageReportRow, CollectError> {
    let began = clock.now();
    let keys = context.clone();
    let key = context
        .store
        .write::<_, InternetError, _>(move |tx| hash_key(keys.internet.secrets(), tx))
        .await?;
    let stop = Arc::new(AtomicBool::new(false));
    // Ends the scan whichever way this future ends: dropped, or out of time.
    let guard = StopOnDrop(stop.clone());
    let inner = context.clone();
    let collecting = context.store.read::<_, CollectError, _>(move |tx| {
        let level = level.map_or_else(|| self::level(tx), Ok)?;
        let go_on = || !stop.load(Ordering::Relaxed);
        Ok((level, collect::collect(&inner, tx, &key, began, &go_on)?))
    });
    let (level, collected) = tokio::time::timeout(COLLECTION_MAX, collecting)
        .await
        .map_err(|_| CollectError::TooLong)??;
    drop(guard);
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|_| InternetError::from(SecretError::Random))?;
    let values = build(level, &collected)?;
    let body = canonical(level, began, &values);
    let hierarchy = match values.get("hierarchy.id") {
        Some(Value::Text(hash)) => hash.clone(),
        _ => String::new(),
    };
    let took_ms = clock
        .now()
        .as_millisecond()
        .saturating_sub(began.as_millisecond());
    Ok(UsageReportRow {
        report_id: uuid::Builder::from_random_bytes(id).into_uuid().to_string(),
        week,
        level: level.to_string(),
        collected_at: began,
        took_ms: took_ms.max(0).unsigned_abs(),
        hierarchy,
        sha256: hex::encode(Sha256::digest(&body)),
        body,
        state: ReportState::Collected,
        sealed: None,
        attempts: 0,
        next_attempt_at: None,
        failure: None,
        receipt: None,
        changed_at: began,
    })
}

struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
