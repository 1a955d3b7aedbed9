//! Internet access of this site: mode, proxy, and runs of checks.
//!
//! A run is the same whoever asks for it: the component's timer, a check for updates that is about to
//! begin, or an administrator. Runs take turns.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use cloud_client::probe::{Prober, RunInfo, refused};
use cloud_client::{Credentials, Proxy, ProxySettings, Resolver, Roots, WayOut};
use domain::connectivity::run::{FRESH, Told, message};
use domain::connectivity::{Fault, Outcome, Plan, Selection, Target};
use domain::mode::Mode;
use domain::status_message::StatusMessageId;
use executive::ComponentError;
use jiff::Timestamp;
use protocol::connectivity::{CATALOGUE_BYTES_MAX, Catalogue, CheckReport, parse_address};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use store::{EndpointRunRow, StoreError, Tx};

use crate::context::SiteContext;
use crate::secrets::{SecretError, Secrets};

/// Settings in the database.
const PROXY: &str = "scp.proxy";
const MODE: &str = "scp.mode";
const TOLD: &str = "internet.told";
const CHECKED: &str = "internet.checked-settings";
/// Name under which the proxy's password is encrypted.
const PASSWORD: &str = "proxy password";
/// The feature that the feed's own host stands for.
pub const FEED_FEATURE: &str = "feed";

/// What everything that goes out shares.
#[derive(Debug)]
pub struct Internet {
    secrets: Secrets,
    proxy: RwLock<Option<Arc<Proxy>>>,
    mode: RwLock<Mode>,
    /// Held by the run under way.
    running: tokio::sync::Mutex<()>,
}

/// The proxy as stored. The password is encrypted.
#[derive(Debug, Serialize, Deserialize)]
struct StoredProxy {
    host: String,
    port: u16,
    tls: bool,
    user: Option<String>,
    password: Option<String>,
    basic_over_clear_text: bool,
    exceptions: Vec<String>,
}

/// Why the internet settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InternetError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key or a secret.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// What is stored is not what this release writes.
    #[error("the stored proxy settings cannot be read; set them again with `tidegate scp proxy set`")]
    Damaged,
}

/// The last run as administrators were told of it.
#[derive(Serialize, Deserialize)]
struct StoredTold {
    outcome: String,
    at: Timestamp,
}

impl Internet {
    /// Reads the settings; the configured mode becomes the effective one.
    pub fn open(secrets: Secrets, tx: &Tx<'_>) -> Result<Self, InternetError> {
        let proxy = match tx.setting(PROXY)? {
            None => None,
            Some(text) => {
                let stored: StoredProxy = serde_json::from_str(&text).map_err(|_| InternetError::Damaged)?;
                let mut settings =
                    ProxySettings::new(&stored.host, stored.port).map_err(|_| InternetError::Damaged)?;
                settings.tls = stored.tls;
                settings.basic_over_clear_text = stored.basic_over_clear_text;
                settings.exceptions = stored.exceptions;
                if let (Some(user), Some(sealed)) = (stored.user, stored.password) {
                    let password = secrets.open_sealed(PASSWORD, &sealed)?;
                    settings.credentials = Some(Credentials { user, password });
                }
                Some(Proxy::new(settings))
            }
        };
        let mode = configured_mode(tx)?;
        Ok(Internet {
            secrets,
            proxy: RwLock::new(proxy),
            mode: RwLock::new(mode),
            running: tokio::sync::Mutex::default(),
        })
    }

    /// The key of this site's secrets.
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// The proxy in force.
    pub fn proxy(&self) -> Option<Arc<Proxy>> {
        self.proxy.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The mode in force.
    pub fn mode(&self) -> Mode {
        *self.mode.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The configured mode comes into force: the downloader restarts.
    pub fn apply_mode(&self, mode: Mode) {
        *self.mode.write().unwrap_or_else(PoisonError::into_inner) = mode;
    }

    /// The stored form of a proxy, to be written in the caller's transaction.
    pub fn sealed(&self, settings: &ProxySettings) -> Result<String, InternetError> {
        let credentials = settings.credentials.as_ref();
        let password = credentials
            .map(|credentials| self.secrets.seal(PASSWORD, &credentials.password))
            .transpose()?;
        let stored = StoredProxy {
            host: settings.host.clone(),
            port: settings.port,
            tls: settings.tls,
            user: credentials.map(|credentials| credentials.user.clone()),
            password,
            basic_over_clear_text: settings.basic_over_clear_text,
            exceptions: settings.exceptions.clone(),
        };
        serde_json::to_string(&stored).map_err(|_| InternetError::Damaged)
    }

    /// A proxy comes into force for whatever goes out from now on.
    pub fn use_proxy(&self, settings: Option<ProxySettings>) {
        *self.proxy.write().unwrap_or_else(PoisonError::into_inner) = settings.map(Proxy::new);
    }
}

/// Writes the proxy, or removes it.
pub fn store_proxy(tx: &Tx<'_>, sealed: Option<&str>) -> Result<(), StoreError> {
    tx.set_setting(PROXY, sealed)
}

/// The mode that was configured last.
pub fn configured_mode(tx: &Tx<'_>) -> Result<Mode, StoreError> {
    Ok(tx
        .setting(MODE)?
        .as_deref()
        .and_then(Mode::parse)
        .unwrap_or_default())
}

/// Configures the mode; it comes into force when the downloader restarts.
pub fn configure_mode(tx: &Tx<'_>, mode: Mode) -> Result<(), StoreError> {
    tx.set_setting(MODE, Some(mode.as_str()))
}

/// The way out of this site, as it is configured now.
pub fn way(context: &SiteContext, proxy: Option<Arc<Proxy>>) -> Result<WayOut, ComponentError> {
    let roots = Roots::load(&extra_roots(context)?)
        .map_err(|source| ComponentError::with_source("cannot use the certificates of feed.ca", source))?;
    let limits = cloud_client::Limits::default();
    Ok(WayOut::new(roots, proxy, Resolver::system(limits.dns)?))
}

/// Certificates that the configuration adds to the platform's.
pub fn extra_roots(context: &SiteContext) -> Result<Vec<Vec<u8>>, ComponentError> {
    let Some(path) = &context.settings.feed_ca else {
        return Ok(Vec::new());
    };
    let pem = std::fs::read(path).map_err(|source| {
        let what = format!(
            "cannot read the feed's certificates {}; correct feed.ca in tidegate.toml",
            path.display()
        );
        ComponentError::with_source(what, source)
    })?;
    Ok(vec![pem])
}

/// What this site has to reach: the feed's own host, always critical, and the features in use.
pub async fn plan(context: &SiteContext) -> Result<(Plan, Catalogue), ComponentError> {
    let mut plan = Plan::default();
    let feed = &context.settings.feed_url;
    if feed.starts_with("http") {
        let address =
            parse_address(&format!("{feed}/metadata/timestamp.json")).map_err(ComponentError::new)?;
        plan.add(Target {
            address,
            endpoints: Vec::new(),
            features: vec![FEED_FEATURE.into()],
            stands_for: Vec::new(),
            critical: true,
            retired: false,
            public: false,
        });
    }
    let named = context.vendor.in_force().mirrors;
    for mirror in context.settings.feed_mirrors.iter().chain(&named) {
        if !mirror.starts_with("http") {
            continue;
        }
        let address =
            parse_address(&format!("{mirror}/metadata/timestamp.json")).map_err(ComponentError::new)?;
        plan.add(Target {
            address,
            endpoints: Vec::new(),
            features: vec![FEED_FEATURE.into()],
            stands_for: Vec::new(),
            // What a copy does not deliver comes from the feed itself.
            critical: false,
            retired: false,
            public: false,
        });
    }
    let learned = context
        .store
        .read::<_, StoreError, _>(|tx| tx.learned_endpoints())
        .await?;
    let mut hosts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (pattern, host) in learned {
        hosts.entry(pattern).or_default().push(host);
    }
    let settings = &context.settings;
    let selection = Selection {
        features: settings.internet_features.clone(),
        cloud: settings.internet_cloud.clone(),
        retired: false,
        learned: hosts,
    };
    let catalogue = catalogue(context)?;
    plan.add_catalogue(&catalogue.endpoints, &selection);
    if let Some(path) = &settings.internet_catalogue {
        let own = read_catalogue(path)?;
        let everything = Selection {
            features: own.endpoints.iter().map(|entry| entry.feature.clone()).collect(),
            ..selection
        };
        plan.add_catalogue(&own.endpoints, &everything);
    }
    Ok((plan, catalogue))
}

/// The catalogue that the feed brought, if it is newer than the one that comes with the program.
pub(crate) fn catalogue(context: &SiteContext) -> Result<Catalogue, ComponentError> {
    let shipped = Catalogue::shipped().map_err(|source| {
        ComponentError::with_source("the catalogue of this release cannot be read", source)
    })?;
    let path = context.directory.endpoint_catalogue();
    if !path.exists() {
        return Ok(shipped);
    }
    let brought = read_catalogue(&path)?;
    match brought.stamp.version > shipped.stamp.version {
        true => Ok(brought),
        false => Ok(shipped),
    }
}

fn read_catalogue(path: &std::path::Path) -> Result<Catalogue, ComponentError> {
    let unreadable = |source: std::io::Error| {
        ComponentError::with_source(format!("cannot read the catalogue {}", path.display()), source)
    };
    let length = std::fs::metadata(path).map_err(unreadable)?.len();
    if length > CATALOGUE_BYTES_MAX as u64 {
        return Err(ComponentError::new(format!(
            "{} has {length} bytes, which no catalogue has",
            path.display()
        )));
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    Catalogue::parse(&text).map_err(|source| {
        ComponentError::with_source(format!("the catalogue {} is refused", path.display()), source)
    })
}

/// What a run depends on; another value means that the last run says nothing any more.
pub fn fingerprint(context: &SiteContext) -> String {
    let proxy = context.internet.proxy();
    let settings = proxy.as_ref().map(|proxy| {
        let settings = &proxy.settings;
        let user = settings
            .credentials
            .as_ref()
            .map(|credentials| credentials.user.clone());
        format!(
            "{settings} {user:?} {} {:?}",
            settings.basic_over_clear_text, settings.exceptions
        )
    });
    let text = format!(
        "{} {settings:?} {} {:?} {:?} {:?} {}",
        context.internet.mode().as_str(),
        context.settings.feed_url,
        context.settings.feed_mirrors,
        context.vendor.in_force().mirrors,
        context.settings.internet_features,
        context.settings.internet_cloud
    );
    hex::encode(Sha256::digest(text))
}

/// The last run, and whether the settings are still those it was made with.
pub struct LastRun {
    /// The run, if there was one.
    pub run: Option<EndpointRunRow>,
    /// Mode, proxy or features are others now.
    pub changed: bool,
}

/// Runs every check and records what comes of it: history, alarms, and at most one status message.
pub async fn run(
    context: &Arc<SiteContext>,
    cause: &str,
    now: Timestamp,
) -> Result<CheckReport, ComponentError> {
    let _turn = context.internet.running.lock().await;
    run_now(context, cause, now).await
}

/// The same, if it is needed still when it is this run's turn; `needed` names the cause.
pub async fn run_if(
    context: &Arc<SiteContext>,
    now: Timestamp,
    needed: impl FnOnce(&LastRun) -> Option<String>,
) -> Result<Option<CheckReport>, ComponentError> {
    let _turn = context.internet.running.lock().await;
    let (run, checked) = context
        .store
        .read::<_, StoreError, _>(|tx| Ok((tx.endpoint_runs(1)?.pop(), tx.setting(CHECKED)?)))
        .await?;
    let changed = checked.as_deref() != Some(fingerprint(context).as_str());
    match needed(&LastRun { run, changed }) {
        Some(cause) => run_now(context, &cause, now).await.map(Some),
        None => Ok(None),
    }
}

async fn run_now(
    context: &Arc<SiteContext>,
    cause: &str,
    now: Timestamp,
) -> Result<CheckReport, ComponentError> {
    let (plan, catalogue) = plan(context).await?;
    let identity = format!(
        "{}/{}/{cause}",
        context.identity.hierarchy_id,
        now.as_nanosecond()
    );
    let info = RunInfo {
        run_id: hex::encode(&Sha256::digest(identity)[..16]),
        now,
        catalogue: Some(catalogue.stamp),
    };
    let mode = context.internet.mode();
    let report = if mode.may_connect() {
        let mut prober = Prober::new(way(context, context.internet.proxy())?, context.machine.clone());
        prober.revocation = context.settings.internet_revocation;
        prober.run(&plan, &info, &|_| {}).await
    } else {
        let text = "the service connection point is in offline mode, no connection is opened";
        refused(
            &plan,
            &info,
            &context.machine,
            mode.as_str(),
            Fault::Offline,
            text,
        )
    };
    log(&report);
    record(context, cause, &plan, &report, now).await?;
    Ok(report)
}

fn log(report: &CheckReport) {
    for target in &report.results {
        match &target.fault {
            None => tracing::info!("{} passed in {:.0} ms", target.url, target.took_ms),
            Some(fault) => tracing::warn!(
                "{} failed: {} ({}): {}. {}",
                target.url,
                fault.code,
                fault.party,
                fault.evidence,
                fault.advice
            ),
        }
    }
    tracing::info!(
        "endpoint check {}: {}; {}",
        report.run_id,
        report.outcome,
        report.summary
    );
}

async fn record(
    context: &Arc<SiteContext>,
    cause: &str,
    plan: &Plan,
    report: &CheckReport,
    now: Timestamp,
) -> Result<(), ComponentError> {
    let outcome = Outcome::parse(&report.outcome).unwrap_or(Outcome::Unknown);
    let row = EndpointRunRow {
        run_id: report.run_id.clone(),
        started_at: now,
        cause: cause.to_owned(),
        outcome: report.outcome.clone(),
        summary: report.summary.clone(),
        took_ms: report.took_ms as u64,
        report: serde_json::to_string(report)?,
    };
    let unreachable = unreachable_services(report);
    let learned = learned(plan, report);
    let (settings, summary, ran) = (
        fingerprint(context),
        report.summary.clone(),
        !report.results.is_empty(),
    );
    let shared = context.clone();
    context
        .store
        .write::<_, StoreError, _>(move |tx| {
            tx.record_endpoint_run(&row)?;
            tx.set_setting(CHECKED, Some(&settings))?;
            for (pattern, host) in &learned {
                tx.learn_endpoint(pattern, host, now)?;
            }
            if ran {
                let before = tx.endpoint_alarms()?;
                for (feature, hosts) in unreachable
                    .iter()
                    .filter(|(feature, _)| !before.contains(feature))
                {
                    let id = StatusMessageId::CloudServiceUnreachable;
                    tx.record_status_message(&shared.status_message(id, &[feature, hosts], now))?;
                }
                let features: Vec<String> = unreachable.into_iter().map(|(feature, _)| feature).collect();
                tx.set_endpoint_alarms(&features, now)?;
            }
            let told: Option<StoredTold> = tx
                .setting(TOLD)?
                .and_then(|text| serde_json::from_str(&text).ok());
            let told = told.and_then(|told| {
                Some(Told {
                    outcome: Outcome::parse(&told.outcome)?,
                    at: told.at,
                })
            });
            let Some(id) = message(outcome, told, now) else {
                return Ok(());
            };
            tx.record_status_message(&shared.status_message(id, &[&summary], now))?;
            let told = StoredTold {
                outcome: outcome.as_str().to_owned(),
                at: now,
            };
            tx.set_setting(TOLD, Some(&serde_json::to_string(&told).unwrap_or_default()))
        })
        .await?;
    Ok(())
}

/// Cloud services in use whose required hosts failed, with those hosts. The feed is the vendor's own.
fn unreachable_services(report: &CheckReport) -> Vec<(String, String)> {
    let mut services: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for target in report
        .results
        .iter()
        .filter(|target| target.critical && target.fault.is_some())
    {
        for feature in target.features.iter().filter(|feature| *feature != FEED_FEATURE) {
            services
                .entry(feature.clone())
                .or_default()
                .push(target.host.clone());
        }
    }
    services
        .into_iter()
        .map(|(feature, hosts)| (feature, hosts.join(", ")))
        .collect()
}

/// Hosts that were reached by a redirect and fit a wildcard of the plan.
fn learned(plan: &Plan, report: &CheckReport) -> Vec<(String, String)> {
    let testable = plan.targets.iter().flat_map(|target| target.stands_for.iter());
    let patterns: Vec<&String> = testable
        .chain(plan.not_testable.iter().map(|entry| &entry.pattern))
        .collect();
    let mut found = Vec::new();
    for target in report.results.iter().filter(|target| target.fault.is_none()) {
        for url in &target.redirects {
            let Ok(address) = parse_address(url) else { continue };
            for pattern in &patterns {
                let suffix = pattern.strip_prefix("*.").map(|suffix| format!(".{suffix}"));
                if suffix.is_some_and(|suffix| address.host.ends_with(&suffix)) {
                    found.push(((*pattern).clone(), address.host.clone()));
                }
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

/// Before something that depends on the internet: a run, unless there was one a moment ago. It never stands
/// in the way.
pub async fn before(context: &Arc<SiteContext>, what: &str, now: Timestamp) {
    match plan(context).await {
        Ok((plan, _)) if plan.targets.is_empty() => return,
        _ => {}
    }
    let needed = |last: &LastRun| {
        let fresh = last.run.as_ref().is_some_and(|run| {
            let age = now.as_second() - run.started_at.as_second();
            (0..FRESH.as_secs() as i64).contains(&age)
        });
        (last.changed || !fresh).then(|| format!("before {what}"))
    };
    if let Err(failure) = run_if(context, now, needed).await {
        tracing::warn!("internet access could not be checked: {failure}");
    }
}
