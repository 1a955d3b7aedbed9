//! Measures what the dictionary names, from one consistent state of the database and from the machine.
//! Reads only; counts, never rows.

use std::collections::BTreeMap;

use domain::component::{ComponentName, LogLevel};
use domain::status_message::StatusMessageId;
use domain::usage_data::words::scrub;
use domain::usage_data::{Collected, Value, aggregate};
use jiff::{SignedDuration, Timestamp};
use protocol::connectivity::CheckReport;
use store::{StatusFilter, StoreError, Tx};

use super::CollectError;
use super::hash::{keyed_hash, match_hash};
use super::inventory;
use crate::context::SiteContext;
use crate::host::{free_bytes, host_facts, is_virtual, resident_bytes};

/// Reports of crashes that are told.
const CRASHES_MAX: u32 = 20;
const DAY: i64 = 24;
/// Seconds of a month of thirty days.
const MONTH_S: i64 = 30 * 24 * 3_600;

/// Everything that can be measured here. What cannot be found out is left out. `go_on` is asked now and
/// then; it ends the collection when it says no.
pub fn collect(
    context: &SiteContext,
    tx: &Tx<'_>,
    key: &[u8],
    now: Timestamp,
    go_on: &dyn Fn() -> bool,
) -> Result<Collected, CollectError> {
    let mut found = Collected::new();
    hierarchy(context, tx, key, now, &mut found)?;
    platform(context, tx, &mut found)?;
    updates(context, tx, &mut found)?;
    components(context, tx, now, &mut found)?;
    internet(context, tx, &mut found)?;
    if let Ok(stats) = context.library.stats() {
        found.insert("content.bytes", Value::Count(stats.stored_bytes));
        found.insert("content.objects", Value::Count(stats.objects));
        found.insert("content.packages", Value::Count(stats.references));
    }
    inventory::count(tx, now, go_on, &mut found)?;
    // One site so far; those below it add theirs when they join.
    Ok(aggregate([found]))
}

fn text(text: impl Into<String>) -> Value {
    Value::Text(text.into())
}

fn hierarchy(
    context: &SiteContext,
    tx: &Tx<'_>,
    key: &[u8],
    now: Timestamp,
    found: &mut Collected,
) -> Result<(), StoreError> {
    let identity = &context.identity;
    let age_s = now.as_second() - identity.created_at.as_second();
    let site_type = identity.site_type.as_str().to_owned();
    found.insert("hierarchy.id", text(keyed_hash(key, &identity.hierarchy_id)));
    found.insert("hierarchy.sites", Value::Count(1));
    found.insert("hierarchy.site-types", Value::Histogram([(site_type, 1)].into()));
    found.insert("scp.level", text(super::level(tx)?.as_str()));
    found.insert("scp.mode", text(context.internet.mode().as_str()));
    found.insert("scp.sending", text(super::sending(tx)?.as_str()));
    if let Some(last) = tx.usage_reports(1)?.pop() {
        found.insert("usage.last-collection-ms", Value::Count(last.took_ms));
    }
    found.insert(
        "setup.age-months",
        Value::Count((age_s.max(0) / MONTH_S).unsigned_abs()),
    );
    found.insert("setup.base-version", text(identity.base_version.to_string()));
    found.insert("setup.tidegate-version", text(env!("CARGO_PKG_VERSION")));
    found.insert("setup.version", text(tx.site_version()?.to_string()));
    let features = tx.features()?;
    let on = features.iter().filter(|feature| feature.turned_on);
    let pre_release = on.clone().filter(|feature| feature.pre_release).count();
    found.insert(
        "features.on",
        Value::Texts(on.map(|feature| feature.guid.to_string()).collect()),
    );
    found.insert("features.pre-release-on", Value::Count(pre_release as u64));
    Ok(())
}

fn platform(context: &SiteContext, tx: &Tx<'_>, found: &mut Collected) -> Result<(), StoreError> {
    let host = host_facts();
    found.insert("platform.arch", text(host.arch));
    found.insert("platform.os", text(host.os));
    if let Some(version) = host.os_version {
        found.insert("platform.os-version", text(version));
    }
    if let Some(cores) = host.cores {
        found.insert("platform.cores", Value::Count(cores));
    }
    if let Some(bytes) = host.memory_bytes {
        found.insert("platform.memory-bytes", Value::Count(bytes));
    }
    if let Ok(bytes) = free_bytes(context.directory.root()) {
        found.insert("platform.free-bytes", Value::Count(bytes));
    }
    if let Some(is_virtual) = is_virtual() {
        found.insert("platform.virtual", Value::Flag(is_virtual));
    }
    if let Some(bytes) = resident_bytes() {
        found.insert("platform.process-bytes", Value::Count(bytes));
    }
    found.insert("database.engine", text("sqlite"));
    if let Some(version) = tx.engine_version()? {
        found.insert("database.engine-version", text(version));
    }
    if let Ok(metadata) = std::fs::metadata(context.directory.database()) {
        found.insert("database.bytes", Value::Count(metadata.len()));
    }
    Ok(())
}

fn updates(context: &SiteContext, tx: &Tx<'_>, found: &mut Collected) -> Result<(), StoreError> {
    let sync = tx.sync()?;
    let installed = tx.installed()?;
    let tables = tx.table_names()?;
    found.insert(
        "database.schema",
        Value::Texts(tables.iter().map(|name| match_hash(name)).collect()),
    );
    found.insert(
        "updates.failures-in-row",
        Value::Count(u64::from(sync.failures_in_row)),
    );
    if let Some(reason) = sync.failure_reason {
        found.insert("updates.failure-reason", text(reason));
    }
    found.insert(
        "updates.installed",
        Value::Texts(installed.iter().map(|row| row.guid.to_string()).collect()),
    );
    // Only rings that the vendor knows: an administrator may have written anything.
    let known = tx.rings()?;
    let rings = context.settings.rings.iter().filter(|ring| known.contains(*ring));
    found.insert("updates.rings", Value::Texts(rings.cloned().collect()));
    found.insert(
        "updates.prerequisites",
        Value::Histogram(tx.prerequisites_by_result()?),
    );
    found.insert("updates.rolled-back", Value::Count(tx.rolled_back_packages()?));
    found.insert("updates.states", Value::Histogram(tx.packages_by_state()?));
    Ok(())
}

fn components(
    context: &SiteContext,
    tx: &Tx<'_>,
    now: Timestamp,
    found: &mut Collected,
) -> Result<(), StoreError> {
    let before = |days: i64| {
        now.checked_sub(SignedDuration::from_hours(days * DAY))
            .unwrap_or(Timestamp::MIN)
    };
    let (week, month) = (before(7), before(30));
    let up_s = now.as_second() - context.started_at.as_second();
    found.insert(
        "components.uptime-hours",
        Value::Count(up_s.max(0).unsigned_abs() / 3_600),
    );
    let mut levels: BTreeMap<String, u64> = BTreeMap::new();
    let mut stopped = Vec::new();
    for name in ComponentName::ALL {
        let row = tx.component(name.as_str())?;
        let level = LogLevel::from_code(row.log_level).unwrap_or(LogLevel::Default);
        *levels.entry(level.as_str().to_owned()).or_default() += 1;
        if row.stopped {
            stopped.push(name.as_str().to_owned());
        }
    }
    found.insert("components.log-levels", Value::Histogram(levels));
    found.insert("components.stopped", Value::Texts(stopped));
    let (failed, crashed) = (
        StatusMessageId::ComponentFailed.id(),
        StatusMessageId::ComponentPanicked.id(),
    );
    found.insert(
        "components.failures",
        Value::Histogram(tx.messages_by_component(failed, week)?),
    );
    found.insert(
        "components.crashes",
        Value::Histogram(tx.messages_by_component(crashed, week)?),
    );
    found.insert("components.messages", Value::Histogram(tx.messages_by_id(week)?));
    let filter = StatusFilter {
        message_id: Some(crashed),
        since: Some(month),
        ..StatusFilter::default()
    };
    let reports = tx.status_messages(&filter, CRASHES_MAX)?;
    let known = |name: &str| name.parse::<ComponentName>().is_ok();
    let names = [
        context.machine.as_str(),
        context.identity.name.as_str(),
        context.identity.code.as_str(),
    ];
    let words = reports.into_iter().filter_map(|row| {
        // The component, then what it said when it crashed.
        let [name, said, ..] = row.message.insertion_strings.as_slice() else {
            return None;
        };
        known(name).then(|| format!("{name}: {}", scrub(said, &names)))
    });
    found.insert("crashes.reports", Value::Texts(words.collect()));
    Ok(())
}

fn internet(context: &SiteContext, tx: &Tx<'_>, found: &mut Collected) -> Result<(), StoreError> {
    let proxy = context.internet.proxy();
    let account = proxy
        .as_ref()
        .is_some_and(|proxy| proxy.settings.credentials.is_some());
    found.insert("internet.proxy", Value::Flag(proxy.is_some()));
    found.insert("internet.proxy-account", Value::Flag(account));
    if let Ok(catalogue) = crate::internet::catalogue(context) {
        let features = context.settings.internet_features.iter();
        let known = features.filter(|name| catalogue.features.contains_key(*name));
        found.insert("internet.features", Value::Texts(known.cloned().collect()));
    }
    found.insert(
        "internet.outcomes",
        Value::Histogram(tx.endpoint_runs_by_outcome()?),
    );
    let mut faults: BTreeMap<String, u64> = BTreeMap::new();
    let last = tx.endpoint_runs(1)?.pop();
    let report = last.and_then(|row| serde_json::from_str::<CheckReport>(&row.report).ok());
    for target in report.iter().flat_map(|report| &report.results) {
        if let Some(fault) = &target.fault {
            *faults.entry(fault.code.clone()).or_default() += 1;
        }
    }
    found.insert("internet.faults", Value::Histogram(faults));
    Ok(())
}
