//! The prerequisite check: extract, then run the built-in rules and those of the package.

use std::sync::Arc;

use domain::component::ComponentName;
use domain::servicing::install::{SubStage, SubStageState};
use domain::servicing::package::{PackageRecord, Severity};
use domain::servicing::rule::{Outcome, Rule};
use domain::servicing::state::{PackageState as S, PrereqFlag};
use domain::servicing::transition::{PackageEvent as E, PrereqOutcome};
use domain::status_message::StatusMessageId;
use executive::{Activation, ComponentError};
use jiff::Timestamp;
use store::{PackageRow, PrereqRow, StoreError};

use super::{Staged, give_back, stage};
use crate::context::SiteContext;
use crate::host::free_bytes;
use crate::site_facts;

/// Bytes that must remain after extraction.
const EXTRACTION_RESERVE_BYTES: u64 = 64 * 1024 * 1024;

/// Runs the check; tells whether the package moved.
pub(super) async fn check(
    context: &Arc<SiteContext>,
    cx: &Activation<'_>,
    row: &PackageRow,
    record: &PackageRecord,
) -> Result<bool, ComponentError> {
    let (guid, now) = (row.guid, cx.now());
    cx.progress(format!("checking prerequisites of {}", row.name));
    context
        .store
        .write::<_, StoreError, _>(move |tx| {
            tx.apply(guid, E::PrereqStarted, "extracting, then running the rules", now)?;
            tx.record_sub_stage(guid, SubStage::ExtractPackage, SubStageState::InProgress, "", now)
        })
        .await?;
    match stage(context, cx, record).await? {
        Staged::Ready => {}
        Staged::Stopped => return Ok(false),
        Staged::Lost(problem) => {
            give_back(context, cx, row, SubStage::ExtractPackage, problem).await?;
            return Ok(true);
        }
    }
    let now = cx.now();
    let results = {
        let (shared, record) = (context.clone(), record.clone());
        context.store.read::<_, StoreError, _>(move |tx| {
            let mut facts = site_facts::collect(&shared, tx, now)?;
            site_facts::add_package(&mut facts, &record);
            let mut results = built_in(&shared, &record, now);
            results.extend(
                record
                    .prerequisite_rules
                    .iter()
                    .map(|rule| run_rule(rule, &facts, now)),
            );
            Ok(results)
        })
    }
    .await?;
    let outcome = if results.iter().any(|row| row.result == "failed") {
        PrereqOutcome::Error
    } else if results.iter().any(|row| row.result == "warning") {
        PrereqOutcome::Warning
    } else {
        PrereqOutcome::Passed
    };
    let told: Vec<String> = results
        .iter()
        .filter(|row| row.result != "passed")
        .map(|row| format!("{}: {}", row.name, row.detail))
        .collect();
    let told = told.join("; ");
    for result in &results {
        tracing::info!("rule {}: {} {}", result.name, result.result, result.detail);
    }
    let (reason, stage_state, id) = match outcome {
        PrereqOutcome::Passed => (
            "every rule passed".to_owned(),
            SubStageState::Success,
            StatusMessageId::PrereqPassed,
        ),
        PrereqOutcome::Warning => {
            let next = match row.flag {
                PrereqFlag::StopOnWarning => "; `tidegate updates ignore-warnings` lets it continue",
                PrereqFlag::CheckOnly | PrereqFlag::ContinueOnWarning => "",
            };
            (
                format!("{told}{next}"),
                SubStageState::SuccessWithWarning,
                StatusMessageId::PrereqWarned,
            )
        }
        PrereqOutcome::Error => (
            format!("{told}; correct it, then `tidegate updates retry`"),
            SubStageState::Failed,
            StatusMessageId::PrereqFailed,
        ),
    };
    let message = context.status_message(id, &[&row.name, &guid.to_string(), &told], now);
    tracing::info!("prerequisite check of {} ended: {reason}", row.name);
    context
        .store
        .write::<_, StoreError, _>(move |tx| {
            tx.record_prereqs(guid, &results)?;
            tx.apply(guid, E::PrereqFinished(outcome), &reason, now)?;
            tx.record_sub_stage(guid, SubStage::ExtractPackage, SubStageState::Success, "", now)?;
            tx.record_sub_stage(guid, SubStage::RunRules, stage_state, &told, now)?;
            tx.record_status_message(&message)
        })
        .await?;
    if row.state != S::PrereqInProgress && row.flag == PrereqFlag::CheckOnly {
        context.wake(ComponentName::DmpDownloader);
    }
    Ok(true)
}

/// Rules that hold for every package.
fn built_in(context: &SiteContext, record: &PackageRecord, now: Timestamp) -> Vec<PrereqRow> {
    let rule = |name: &str, category: &str, result: &str, detail: String| PrereqRow {
        name: name.to_owned(),
        category: category.to_owned(),
        role: "site-server".to_owned(),
        result: result.to_owned(),
        detail,
        link: None,
        recorded_at: now,
    };
    // The tree is staged already; what the product writes while it is installed needs some room too.
    let space = match free_bytes(context.directory.root()) {
        Ok(free) if free >= EXTRACTION_RESERVE_BYTES => {
            rule("Free space", "system-requirements", "passed", String::new())
        }
        Ok(free) => rule(
            "Free space",
            "system-requirements",
            "failed",
            format!(
                "{free} bytes are free, {EXTRACTION_RESERVE_BYTES} are needed; make room on the file system of the site"
            ),
        ),
        Err(failure) => rule(
            "Free space",
            "system-requirements",
            "failed",
            format!("cannot be read: {failure}"),
        ),
    };
    let restart = if crate::host::host_facts().pending_restart {
        rule(
            "Pending restart",
            "system-requirements",
            "warning",
            "the host asks for a restart; restart it first".into(),
        )
    } else {
        rule("Pending restart", "system-requirements", "passed", String::new())
    };
    let withdrawn = match &record.withdrawn {
        Some(why) => rule(
            "Not withdrawn",
            "site-upgrade-requirements",
            "failed",
            format!("the vendor withdrew it: {why}"),
        ),
        None => rule(
            "Not withdrawn",
            "site-upgrade-requirements",
            "passed",
            String::new(),
        ),
    };
    vec![space, restart, withdrawn]
}

fn run_rule(
    rule: &domain::servicing::package::PrerequisiteRule,
    facts: &domain::servicing::facts::FactSet,
    now: Timestamp,
) -> PrereqRow {
    let failing = match rule.severity {
        Severity::Warning => "warning",
        Severity::Error => "failed",
    };
    let (result, detail) = match Rule::parse(&rule.rule) {
        Err(problem) => (
            failing,
            format!("this release of tidegate cannot read the rule: {problem}"),
        ),
        Ok(parsed) => {
            let conditions = parsed.explain(facts);
            let found: Vec<String> = conditions
                .iter()
                .filter(|condition| condition.outcome != Outcome::Met)
                .map(|condition| format!("{} (found {})", condition.text, condition.actual))
                .collect();
            if found.is_empty() {
                ("passed", String::new())
            } else {
                (failing, format!("{} {}", rule.text, found.join("; ")))
            }
        }
    };
    PrereqRow {
        name: rule.name.clone(),
        category: rule.category.clone(),
        role: rule.role.clone(),
        result: result.to_owned(),
        detail,
        link: rule.link.clone(),
        recorded_at: now,
    }
}
