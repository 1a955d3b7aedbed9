//! SMS_HIERARCHY_MANAGER: evaluates every package of the catalogue, starts replication of what an
//! administrator started, and finishes installations (updates-and-servicing, sections 7 and 9).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::component::ComponentName;
use domain::servicing::applicability::{self, Surroundings};
use domain::servicing::facts::FactSet;
use domain::servicing::install::{SubStage, SubStageState};
use domain::servicing::package::{PackageGuid, PackageRecord};
use domain::servicing::rule::Outcome;
use domain::servicing::state::PackageState as S;
use domain::servicing::transition::{PackageEvent, Verdict};
use domain::status_message::StatusMessageId;
use executive::{Activation, Component, ComponentError, Next, Report};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use protocol::catalogue;
use sha2::{Digest, Sha256};
use store::{ConditionRow, EvaluationInput, FeatureRow, StoreError, Tx};

use crate::context::{SiteContext, whole_story};
use crate::site_facts;

/// Packages evaluated between two reads; bounds memory whatever the size of the catalogue.
const PAGE: u32 = 500;
/// Missed wake-ups are caught by looking at least this often.
const INTERVAL: Duration = Duration::from_secs(10 * 60);

/// The component.
pub struct HierarchyManager {
    context: Arc<SiteContext>,
    /// Facts of the last evaluation, without those that change all the time.
    evaluated: Mutex<Option<String>>,
}

impl HierarchyManager {
    /// Made once; activated for ever.
    pub fn new(context: Arc<SiteContext>) -> Self {
        HierarchyManager {
            context,
            evaluated: Mutex::new(None),
        }
    }

    async fn run(&self, cx: &Activation<'_>) -> Result<Report, ComponentError> {
        let evaluated = self.evaluate_if_due(cx).await?;
        let started = self.start_replication(cx).await?;
        let finished = self.finish_installations(cx).await?;
        if finished > 0 {
            // What was installed changes what applies.
            self.evaluate_if_due(cx).await?;
        }
        let summary = format!("{evaluated} package(s) evaluated, {started} started, {finished} finished");
        Ok(Report {
            summary,
            next: Next::After(INTERVAL),
            waiting: None,
        })
    }

    /// Evaluates when the catalogue, the installed packages or a steady fact changed.
    async fn evaluate_if_due(&self, cx: &Activation<'_>) -> Result<usize, ComponentError> {
        let context = self.context.clone();
        let now = cx.now();
        let facts = context
            .store
            .read::<_, StoreError, _>({
                let context = context.clone();
                move |tx| site_facts::collect(&context, tx, now)
            })
            .await?;
        let fingerprint = site_facts::fingerprint(&facts);
        let sync = context.store.read::<_, StoreError, _>(|tx| tx.sync()).await?;
        let last = self
            .evaluated
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if sync.evaluated_generation == sync.catalogue_generation
            && last.as_deref() == Some(fingerprint.as_str())
        {
            return Ok(0);
        }
        cx.progress("evaluating the catalogue");
        let generation = sync.catalogue_generation;
        let shared = context.clone();
        let count = context
            .store
            .write::<_, StoreError, _>(move |tx| {
                let count = evaluate_all(&shared, tx, &facts, now)?;
                tx.record_evaluated(generation)?;
                Ok(count)
            })
            .await?;
        *self.evaluated.lock().unwrap_or_else(PoisonError::into_inner) = Some(fingerprint);
        tracing::info!("{count} package(s) evaluated");
        context.wake(ComponentName::DmpDownloader);
        Ok(count)
    }

    /// State 2 to 65537; only one package moves at a time.
    async fn start_replication(&self, cx: &Activation<'_>) -> Result<usize, ComponentError> {
        let now = cx.now();
        let started = self
            .context
            .store
            .write::<_, StoreError, _>(move |tx| {
                let waiting = tx.packages_in(&[S::Enabled])?;
                for row in &waiting {
                    let reason = "content is brought to the sites";
                    tx.apply(row.guid, PackageEvent::ReplicationStarted, reason, now)?;
                    tx.record_sub_stage(
                        row.guid,
                        SubStage::ReplicateContent,
                        SubStageState::InProgress,
                        "",
                        now,
                    )?;
                }
                Ok(waiting.len())
            })
            .await?;
        if started > 0 {
            self.context.wake(ComponentName::DistributionManager);
        }
        Ok(started)
    }

    /// After 196612: features, then the catalogue is evaluated again.
    async fn finish_installations(&self, cx: &Activation<'_>) -> Result<usize, ComponentError> {
        let now = cx.now();
        let context = self.context.clone();
        let finished = self
            .context
            .store
            .write::<_, StoreError, _>(move |tx| {
                let mut finished = 0;
                for row in tx.packages_in(&[S::InstallSuccess])? {
                    let stages = tx.sub_stages(row.guid)?;
                    if stages.iter().any(|stage| stage.stage == SubStage::EvaluateAgain) {
                        continue;
                    }
                    let line = tx.package_record(row.guid)?;
                    if let Ok(record) = catalogue::parse_line(&line) {
                        turn_features_on(&context, tx, &record, now)?;
                    }
                    tx.record_sub_stage(
                        row.guid,
                        SubStage::TurnOnFeatures,
                        SubStageState::Success,
                        "",
                        now,
                    )?;
                    tx.record_sub_stage(row.guid, SubStage::EvaluateAgain, SubStageState::Success, "", now)?;
                    tx.record_evaluated(-1)?;
                    finished += 1;
                }
                Ok(finished)
            })
            .await?;
        Ok(finished)
    }
}

fn turn_features_on(
    context: &SiteContext,
    tx: &Tx<'_>,
    record: &PackageRecord,
    now: Timestamp,
) -> Result<(), StoreError> {
    let run = tx.install_run(record.guid)?;
    for feature in &record.features {
        let chosen = |list: &[PackageGuid]| list.contains(&feature.guid);
        let on = run.as_ref().is_some_and(|run| chosen(&run.features_on))
            || (feature.default_on && !run.as_ref().is_some_and(|run| chosen(&run.features_off)));
        tx.record_feature(&FeatureRow {
            guid: feature.guid,
            package: record.guid,
            name: feature.name.clone(),
            description: feature.description.clone(),
            pre_release: feature.pre_release,
            turned_on: on,
            changed_at: now,
        })?;
        if on {
            let message = context.status_message(
                StatusMessageId::FeatureTurnedOn,
                &[&feature.name, record.name()],
                now,
            );
            tx.record_status_message(&message)?;
        }
    }
    Ok(())
}

/// What is known of the whole catalogue before its packages are judged one by one.
struct Known {
    /// Names of installed packages by the GUID of what they supersede.
    superseded_by: HashMap<PackageGuid, String>,
    /// Names of packages by GUID, for those that others ask for.
    names: HashMap<PackageGuid, String>,
    /// What positions in roll-outs are computed from.
    rollout_key: String,
}

fn evaluate_all(
    context: &SiteContext,
    tx: &Tx<'_>,
    facts: &FactSet,
    now: Timestamp,
) -> Result<usize, StoreError> {
    let site_version = tx.site_version()?;
    let mut known = Known {
        superseded_by: HashMap::new(),
        names: HashMap::new(),
        rollout_key: crate::offline::prepare::rollout_key(&context.identity.hierarchy_id),
    };
    for installed in tx.installed()? {
        if let Ok(record) = tx
            .package_record(installed.guid)
            .map(|line| catalogue::parse_line(&line))
        {
            let Ok(record) = record else { continue };
            for superseded in &record.supersedes {
                known.superseded_by.insert(*superseded, record.name().to_owned());
            }
        }
    }
    let mut applicable = Vec::new();
    let mut after = None;
    let mut count = 0;
    loop {
        let page = tx.evaluation_page(after, PAGE)?;
        let Some(last) = page.last() else { break };
        after = Some(last.row.guid);
        for input in &page {
            let verdict = evaluate_one(context, tx, facts, site_version, &mut known, input, now)?;
            if verdict == Verdict::Applicable && !input.row.rolled_back {
                applicable.push((input.row.guid, input.row.full_version, input.row.released_at));
            }
            count += 1;
        }
    }
    tx.set_newest(applicability::newest_applicable(applicable))?;
    Ok(count)
}

fn evaluate_one(
    context: &SiteContext,
    tx: &Tx<'_>,
    facts: &FactSet,
    site_version: domain::servicing::version::FullVersion,
    known: &mut Known,
    input: &EvaluationInput,
    now: Timestamp,
) -> Result<Verdict, StoreError> {
    let row = &input.row;
    let (verdict, reason, conditions) = match catalogue::parse_line(&input.record) {
        Ok(record) => {
            if let Some(prerequisite) = record.prerequisite
                && !known.names.contains_key(&prerequisite)
                && let Ok(package) = tx.package(prerequisite)
            {
                known.names.insert(prerequisite, package.name);
            }
            let evaluation = applicability::evaluate(
                &record,
                &Surroundings {
                    facts,
                    site_version,
                    rings: &context.settings.rings,
                    listed: row.listed,
                    superseded_by: known.superseded_by.get(&row.guid).map(String::as_str),
                    prerequisite_name: record
                        .prerequisite
                        .and_then(|guid| known.names.get(&guid))
                        .map(String::as_str),
                    position: position(&known.rollout_key, row.guid),
                },
            );
            if let Some(why) = &record.withdrawn
                && !row.state.is_hidden()
                && row.state != S::Unknown
            {
                let guid = row.guid.to_string();
                let strings = [row.name.as_str(), &guid, why];
                tx.record_status_message(&context.status_message(
                    StatusMessageId::PackageWithdrawn,
                    &strings,
                    now,
                ))?;
            }
            (
                evaluation.verdict,
                evaluation.reason,
                evaluation.conditions.into_iter().map(condition_row).collect(),
            )
        }
        Err(failure) => {
            let problem = whole_story(&failure);
            let condition = ConditionRow {
                text: "this release of tidegate can read the record".into(),
                expected: "a record of format 1".into(),
                actual: problem.clone(),
                outcome: Outcome::CouldNotEvaluate.as_str().into(),
            };
            (Verdict::Failed, problem, vec![condition])
        }
    };
    tx.record_conditions(row.guid, &conditions)?;
    // What is installed last stays "Installed"; only older installations become history.
    if row.state == S::InstallSuccess && row.full_version >= site_version {
        return Ok(verdict);
    }
    let keeps_reason = matches!(
        row.state.next(PackageEvent::Listed).and_then(|state| state.next(PackageEvent::Evaluated(verdict))),
        Ok(next) if next == row.state && !matches!(next, S::ApplicabilitySuccess | S::ApplicabilityHide | S::ApplicabilityNa | S::ApplicabilityFailed)
    );
    let reason = match row.state {
        _ if keeps_reason => row.reason.clone(),
        S::InstallSuccess => format!("it was installed; {site_version} has replaced it"),
        _ => reason,
    };
    let state = tx.apply_all(
        row,
        &[PackageEvent::Listed, PackageEvent::Evaluated(verdict)],
        &reason,
        now,
    )?;
    if state != row.state {
        tell(context, tx, row, state, &reason, now)?;
    }
    Ok(verdict)
}

fn tell(
    context: &SiteContext,
    tx: &Tx<'_>,
    row: &store::PackageRow,
    state: S,
    reason: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let guid = row.guid.to_string();
    let message = match state {
        S::ApplicabilitySuccess => {
            Some(context.status_message(StatusMessageId::PackageOffered, &[&row.name, &guid], now))
        }
        S::ApplicabilityFailed => Some(context.status_message(
            StatusMessageId::ApplicabilityUndecided,
            &[&row.name, &guid, reason],
            now,
        )),
        _ => None,
    };
    tracing::info!("{} ({guid}) is now {}: {reason}", row.name, state.name());
    message.map_or(Ok(()), |message| tx.record_status_message(&message))
}

fn condition_row(condition: domain::servicing::rule::Condition) -> ConditionRow {
    ConditionRow {
        text: condition.text,
        expected: condition.expected,
        actual: condition.actual,
        outcome: condition.outcome.as_str().to_owned(),
    }
}

/// The hierarchy's place in the roll-out of a package: even over hierarchies, another one per package,
/// the same at every evaluation, and nothing that anybody else can learn.
pub fn position(rollout_key: &str, guid: PackageGuid) -> u32 {
    let digest = Sha256::digest(format!("{rollout_key}/{guid}"));
    let number = digest[..8]
        .iter()
        .fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
    (number % u64::from(applicability::POSITIONS)) as u32
}

impl Component for HierarchyManager {
    fn name(&self) -> ComponentName {
        ComponentName::HierarchyManager
    }

    fn activate<'a>(&'a self, cx: Activation<'a>) -> BoxFuture<'a, Result<Report, ComponentError>> {
        async move { self.run(&cx).await }.boxed()
    }
}
