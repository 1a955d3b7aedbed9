//! Collects the facts that rules may ask about.

use domain::servicing::facts::{FactSet, Value};
use domain::servicing::package::PackageRecord;
use domain::usage_data::inventory::Table;
use jiff::Timestamp;
use store::{StoreError, Tx};

use crate::context::SiteContext;
use crate::host::{free_bytes, host_facts};

/// Facts that change all the time and by themselves are no cause to evaluate the catalogue again.
const FLEETING: [&str; 3] = ["disk.free_bytes", "database.bytes", "site.days_since_setup"];

/// The facts of this site now.
pub fn collect(context: &SiteContext, tx: &Tx<'_>, now: Timestamp) -> Result<FactSet, StoreError> {
    let mut facts = FactSet::default();
    let identity = &context.identity;
    let version = tx.site_version()?;
    let text = |text: &str| Value::Text(text.to_owned());
    facts.set("site.code", text(identity.code.as_str()));
    facts.set("site.type", text(identity.site_type.as_str()));
    facts.set("site.version", Value::Version(version));
    facts.set("site.release", Value::Int(i64::from(version.build)));
    let age_s = now.as_second() - identity.created_at.as_second();
    facts.set("site.days_since_setup", Value::Int(age_s / 86_400));
    facts.set("hierarchy.sites", Value::Int(1));
    facts.set(
        "hierarchy.rings",
        Value::List(context.settings.rings.iter().map(|ring| text(ring)).collect()),
    );
    facts.set("scp.mode", text(context.internet.mode().as_str()));
    facts.set("tidegate.version", text(env!("CARGO_PKG_VERSION")));
    facts.set("database.engine", text("sqlite"));
    match std::fs::metadata(context.directory.database()) {
        Ok(metadata) => facts.set("database.bytes", Value::Int(metadata.len() as i64)),
        Err(failure) => facts.set_unknown("database.bytes", failure.to_string()),
    }
    match free_bytes(context.directory.root()) {
        Ok(bytes) => facts.set(
            "disk.free_bytes",
            Value::Int(i64::try_from(bytes).unwrap_or(i64::MAX)),
        ),
        Err(failure) => facts.set_unknown("disk.free_bytes", failure.to_string()),
    }
    let devices = tx
        .inventory_import(Table::Devices)?
        .map_or(0, |import| import.rows);
    facts.set(
        "inventory.devices",
        Value::Int(i64::try_from(devices).unwrap_or(i64::MAX)),
    );
    let host = host_facts();
    facts.set("host.os", text(&host.os));
    facts.set("host.arch", text(host.arch));
    facts.set("host.pending_restart", Value::Bool(host.pending_restart));
    match host.os_version {
        Some(version) => facts.set("host.os_version", text(&version)),
        None => facts.set_unknown(
            "host.os_version",
            "the operating system does not tell its version",
        ),
    }
    let numbers = [
        ("host.cores", host.cores),
        ("host.memory_bytes", host.memory_bytes),
    ];
    for (name, number) in numbers {
        match number {
            Some(number) => facts.set(name, Value::Int(i64::try_from(number).unwrap_or(i64::MAX))),
            None => facts.set_unknown(name, "the operating system does not tell"),
        }
    }
    facts.set_unknown("package.bytes", "it is known only during a prerequisite check");
    facts.installed = tx.installed()?.into_iter().map(|row| row.guid).collect();
    facts.features = tx
        .features()?
        .into_iter()
        .filter(|row| row.turned_on)
        .map(|row| row.guid)
        .collect();
    Ok(facts)
}

/// Adds what is known of the package that is being checked.
pub fn add_package(facts: &mut FactSet, record: &PackageRecord) {
    facts.set(
        "package.bytes",
        Value::Int(i64::try_from(record.payload.bytes).unwrap_or(i64::MAX)),
    );
}

/// A text that changes when a steady fact does.
pub fn fingerprint(facts: &FactSet) -> String {
    let steady = domain::servicing::facts::FACTS
        .iter()
        .filter(|fact| !FLEETING.contains(&fact.name));
    let mut text = String::new();
    for fact in steady {
        text.push_str(&format!("{}={:?};", fact.name, facts.get(fact.name)));
    }
    text.push_str(&format!("{:?};{:?}", facts.installed, facts.features));
    text
}
