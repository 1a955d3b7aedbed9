//! The intake of usage data: takes sealed reports, keeps each once, answers with a signed receipt.
//!
//! It refuses what is not signed by the hierarchy it is from, what holds more than its level, and whatever is
//! larger than it says; what a newer release says and this one cannot read is kept in quarantine. Nothing of
//! a report is readable through it.

mod configure;
mod http;
mod partial;

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use domain::usage_data::Value;
use jiff::{SignedDuration, Timestamp};
use protocol::usage::{
    DecryptionKey, Opened, Receipt, ReceiptVerdict, SigningKey, ValuesError, is_encrypted, open, values,
};
use store::intake::{
    Fleet, FleetFacts, IntakeDatabase, IntakeListed, IntakeQuota, IntakeReport, IntakeStore,
    IntakeStoreError, Stored,
};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use crate::error::CloudError;
use crate::files::{self, ServiceDir};
use crate::settings::Settings;

pub use configure::set_intake;
pub(crate) use http::respond;

/// Where the intake is below the server's root.
pub(crate) const PREFIX: &str = "/usage/v1/";
/// The same, as the feed says it: relative to the feed.
pub(crate) const ADDRESS: &str = "usage/v1/";
/// A weekly report, and some on demand.
const QUOTA: IntakeQuota = IntakeQuota {
    reports_per_day: 24,
    new_hierarchies_per_day: 10_000,
};
/// Bodies read at once; each is in memory once.
const BODIES_MAX: usize = 64;
/// Time between two flushes of counts.
const KEEP_EVERY: Duration = Duration::from_secs(10);
/// Flushes between two looks at what is old: an hour.
const FLUSHES_PER_LOOK: u32 = 360;
/// Days that reports are kept.
const DAYS_KEPT: i64 = 365;
const DAY_S: i64 = 24 * 60 * 60;
const SECRET_BYTES_MAX: u64 = 4 * 1024;

/// An intake that is open.
pub struct Intake {
    store: IntakeStore,
    key: SigningKey,
    decryption: Option<DecryptionKey>,
    partial: partial::Partials,
    bodies: tokio::sync::Semaphore,
    /// Reports that a request is about.
    under_way: Mutex<HashSet<String>>,
    /// Refused uploads by day and reason that are not in the database yet.
    refused: Mutex<BTreeMap<(i64, &'static str), u64>>,
    clock: Box<dyn Fn() -> Timestamp + Send + Sync>,
}

/// What is answered to a complete report.
#[derive(Debug)]
enum Verdict {
    Receipt { receipt: String, new: bool },
    Refused(Refusal),
    Trouble(IntakeStoreError),
}

/// Why a report is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Refusal {
    /// Its bytes are not those of a sealed report.
    Malformed(String),
    /// The address is another report's.
    OtherAddress,
    /// Statement and report say different things.
    Contradiction,
    /// Not in canonical form, above its level, or of the wrong kind.
    Values(String),
    /// Another report has its id.
    Another,
    /// The hierarchy is another key's.
    ForeignKey,
    /// Too many.
    OverQuota,
}

impl Refusal {
    /// The word it is counted under.
    fn reason(&self) -> &'static str {
        match self {
            Refusal::Malformed(_) => "malformed",
            Refusal::OtherAddress => "other address",
            Refusal::Contradiction => "contradiction",
            Refusal::Values(_) => "values",
            Refusal::Another => "id taken",
            Refusal::ForeignKey => "foreign hierarchy",
            Refusal::OverQuota => "over quota",
        }
    }

    /// What the sender is told.
    fn words(&self) -> String {
        match self {
            Refusal::Malformed(why) => format!("this is no sealed report: {why}"),
            Refusal::OtherAddress => "the report is not the one of this address".to_owned(),
            Refusal::Contradiction => "the report says something else than its signed statement".to_owned(),
            Refusal::Values(why) => why.clone(),
            Refusal::Another => "another report has this id".to_owned(),
            Refusal::ForeignKey => "this hierarchy signs with another key".to_owned(),
            Refusal::OverQuota => "there are more reports than one day takes; try again tomorrow".to_owned(),
        }
    }
}

impl Intake {
    /// Opens the intake of a service; nothing if it has none.
    pub async fn open(
        dir: &ServiceDir,
        clock: impl Fn() -> Timestamp + Send + Sync + 'static,
    ) -> Result<Option<Self>, CloudError> {
        let Some(key) = configure::receipt_key(dir)? else {
            return Ok(None);
        };
        let partial = partial::Partials::open(dir.intake().join("partial"))?;
        Ok(Some(Intake {
            store: open_store(dir).await?,
            key,
            decryption: configure::decryption_key(dir)?,
            partial,
            bodies: tokio::sync::Semaphore::new(BODIES_MAX),
            under_way: Mutex::default(),
            refused: Mutex::default(),
            clock: Box::new(clock),
        }))
    }

    /// The fleet by the reports since.
    pub async fn fleet(&self, since: Timestamp) -> Result<Fleet, CloudError> {
        // What was refused in the last seconds is counted, too.
        self.flush().await;
        Ok(self.store.fleet(since).await?)
    }

    /// The newest reports, or those of them in quarantine.
    pub async fn reports(&self, quarantined: bool, limit: u32) -> Result<Vec<IntakeListed>, CloudError> {
        Ok(self.store.reports(quarantined, limit).await?)
    }

    /// Judges the bytes of a complete upload and keeps what is good.
    async fn take(&self, address: &str, bytes: &[u8]) -> Verdict {
        let report = match self.judge(address, bytes) {
            Ok(report) => report,
            Err(refusal) => return self.refuse(refusal),
        };
        let receipt = report.receipt.clone();
        match self.store.accept(&report, QUOTA).await {
            Ok(Stored::New) => {
                tracing::info!(report = %report.report, verdict = %report.verdict, "report of usage data");
                Verdict::Receipt { receipt, new: true }
            }
            Ok(Stored::Before { receipt }) => Verdict::Receipt { receipt, new: false },
            Ok(Stored::Another) => self.refuse(Refusal::Another),
            Ok(Stored::ForeignKey) => self.refuse(Refusal::ForeignKey),
            Ok(Stored::OverQuota) => self.refuse(Refusal::OverQuota),
            Err(failure) => Verdict::Trouble(failure),
        }
    }

    fn refuse(&self, refusal: Refusal) -> Verdict {
        let reason = refusal.reason();
        self.count(reason);
        tracing::info!(reason, "refused a report of usage data");
        Verdict::Refused(refusal)
    }

    /// Counts a refused upload.
    fn count(&self, reason: &'static str) {
        let day = (self.clock)().as_second().div_euclid(DAY_S);
        *lock(&self.refused).entry((day, reason)).or_default() += 1;
    }

    fn judge(&self, address: &str, bytes: &[u8]) -> Result<IntakeReport, Refusal> {
        let decrypted = match (is_encrypted(bytes), &self.decryption) {
            (false, _) => None,
            (true, Some(key)) => Some(
                key.decrypt(bytes)
                    .map_err(|failure| Refusal::Malformed(failure.to_string()))?,
            ),
            (true, None) => {
                return Err(Refusal::Malformed(
                    "this service reads no encrypted reports".into(),
                ));
            }
        };
        let bytes = decrypted.as_deref().unwrap_or(bytes);
        let Opened { statement, key, text } =
            open(bytes).map_err(|failure| Refusal::Malformed(failure.to_string()))?;
        if statement.report != address {
            return Err(Refusal::OtherAddress);
        }
        let (facts, problem) = match values(&text) {
            Ok((report, values)) => {
                let same = report.level == statement.level
                    && values.get("hierarchy.id") == Some(&Value::Text(statement.hierarchy.clone()));
                if !same {
                    return Err(Refusal::Contradiction);
                }
                (Some(facts(&values)), String::new())
            }
            // A newer release says more than this one knows: kept, not read.
            Err(ValuesError::Unknown(what)) => (None, what),
            Err(failure @ (ValuesError::Form(_) | ValuesError::Level { .. } | ValuesError::Kind { .. })) => {
                return Err(Refusal::Values(failure.to_string()));
            }
        };
        let received = (self.clock)();
        let received = Timestamp::from_millisecond(received.as_millisecond()).unwrap_or(received);
        let verdict = match facts {
            Some(_) => ReceiptVerdict::Accepted,
            None => ReceiptVerdict::Quarantined,
        };
        let receipt = Receipt::new(
            &statement.report,
            &statement.hierarchy,
            &statement.sha256,
            received,
            verdict,
        );
        Ok(IntakeReport {
            receipt: receipt.sign(&self.key),
            report: statement.report,
            hierarchy: statement.hierarchy,
            public_key: key,
            received_at: received,
            collected_at: statement.collected,
            level: statement.level.chars().take(40).collect(),
            sha256: statement.sha256,
            verdict: verdict.as_str().to_owned(),
            problem,
            body: text,
            facts,
        })
    }

    /// Keeps counts and forgets what is old, until `shutdown`.
    pub async fn keep(&self, shutdown: CancellationToken) {
        let mut flushes = 0_u32;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = tokio::time::sleep(KEEP_EVERY) => {}
            }
            self.flush().await;
            flushes = flushes.wrapping_add(1);
            if !flushes.is_multiple_of(FLUSHES_PER_LOOK) && flushes != 1 {
                continue;
            }
            let now = (self.clock)();
            self.partial.forget_old();
            let kept = SignedDuration::from_hours(24 * DAYS_KEPT);
            if let Ok(before) = now.checked_sub(kept)
                && let Err(failure) = self.store.forget(before).await
            {
                tracing::warn!(%failure, "could not remove old reports of usage data; it is tried again");
            }
        }
        self.flush().await;
    }

    async fn flush(&self) {
        let counts = std::mem::take(&mut *lock(&self.refused));
        if counts.is_empty() {
            return;
        }
        let rows: Vec<(i64, String, u64)> = counts
            .iter()
            .map(|((day, reason), count)| (*day, (*reason).to_owned(), *count))
            .collect();
        if let Err(failure) = self.store.count_refused(&rows).await {
            tracing::warn!(%failure, "could not store the counts of refused uploads; it is tried again");
            let mut refused = lock(&self.refused);
            for (key, count) in counts {
                *refused.entry(key).or_default() += count;
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the fleet is counted by.
fn facts(values: &BTreeMap<&'static str, Value>) -> FleetFacts {
    let text = |name: &str| match values.get(name) {
        Some(Value::Text(text)) => text.chars().take(60).collect(),
        _ => String::new(),
    };
    let count = |name: &str| match values.get(name) {
        Some(Value::Count(count)) => i64::try_from(*count).unwrap_or(i64::MAX).min(1 << 40),
        _ => 0,
    };
    FleetFacts {
        site_version: text("setup.version"),
        program_version: text("setup.tidegate-version"),
        os: format!("{} {}", text("platform.os"), text("platform.os-version"))
            .trim()
            .to_owned(),
        arch: text("platform.arch"),
        mode: text("scp.mode"),
        sites: count("hierarchy.sites"),
        devices: count("inventory.clients"),
    }
}

/// The database of a service's intake.
pub async fn open_store(dir: &ServiceDir) -> Result<IntakeStore, CloudError> {
    let settings = Settings::load(dir)?;
    let database = match settings.database {
        None => {
            files::create_private_folder(&dir.intake())?;
            IntakeDatabase::Embedded(dir.intake().join("usage.db"))
        }
        Some(url) => IntakeDatabase::Postgres {
            url,
            password: settings
                .database_password_file
                .map(|path| read_secret(&dir.root().join(path)))
                .transpose()?,
            roots_pem: match settings.database_ca {
                None => Vec::new(),
                Some(path) => files::read_bounded(&dir.root().join(path), 1024 * 1024)?,
            },
        },
    };
    Ok(IntakeStore::open(&database).await?)
}

fn read_secret(path: &PathBuf) -> Result<Zeroizing<String>, CloudError> {
    let bytes = Zeroizing::new(files::read_bounded(Path::new(path), SECRET_BYTES_MAX)?);
    let text = std::str::from_utf8(&bytes).map_err(|_| CloudError::Invalid {
        what: "database-password-file",
        detail: format!("{} is no UTF-8 text", path.display()),
    })?;
    Ok(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}

#[cfg(test)]
mod tests;
