//! Update packages as an administrator sees them.

use std::sync::Arc;
use std::time::Duration;

use content::index::PayloadIndex;
use domain::servicing::install::SubStageState;
use domain::servicing::package::{PackageGuid, PackageRecord};
use domain::servicing::state::{PackageState, PrereqFlag};
use feed::{FeedClient, FolderTrust, Limits};
use protocol::api::{
    ConditionInfo, DeliveryInfo, FeatureInfo, HistoryEntry, LIMIT_MAX, PrereqResult, RedistInfo,
    SiteUpdateStatus, StateInfo, SubStageInfo, TransferInfo, UpdateDetail, UpdateSummary, WhyReport,
};
use protocol::catalogue;
use store::{PackageRow, PrereqRow, StoreError, SubStageRow, Tx};

use crate::context::whole_story;
use crate::delivery::Delivery;
use crate::offline::feed_time;
use crate::way_out;

use super::{ServiceError, SiteService, package_guid};

/// Most packages in a list; the newest come first.
const PACKAGES_MAX: u32 = 20_000;
/// Longest time in which the feed has to answer for a plan.
const PLAN_TIMEOUT: Duration = Duration::from_secs(60);
/// History entries shown with a package.
const HISTORY_OF_PACKAGE: u32 = 50;

/// A page of update packages.
#[derive(Debug)]
pub struct UpdatesPage {
    /// The packages.
    pub updates: Vec<UpdateSummary>,
    /// Whether there are more after these.
    pub more: bool,
}

/// What packages are listed by, the greatest first.
fn place(row: &PackageRow) -> impl Ord + use<> {
    (row.full_version, row.released_at, row.guid)
}

impl SiteService {
    /// `updates list`: newest version first; installed ones only if they are the newest installed.
    pub async fn updates(&self, all: bool) -> Result<Vec<UpdateSummary>, ServiceError> {
        let page = self.updates_page(all, None, usize::MAX).await?;
        Ok(page.updates)
    }

    /// The same, a page at a time: those after the package `after`, `limit` at most. Only the records of the page are
    /// read, whatever the length of the list.
    pub async fn updates_page(
        &self,
        all: bool,
        after: Option<PackageGuid>,
        limit: usize,
    ) -> Result<UpdatesPage, ServiceError> {
        let (found, more, busy) = self
            .context
            .store
            .read::<_, StoreError, _>(move |tx| {
                let mut rows = tx.packages(all, PACKAGES_MAX)?;
                rows.sort_by_key(|row| std::cmp::Reverse(place(row)));
                let mut installed_shown = false;
                rows.retain(|row| {
                    let installed = row.state == PackageState::InstallSuccess;
                    let keep = all || !installed || !installed_shown;
                    installed_shown |= installed;
                    keep
                });
                let from = match after {
                    // It may have left the list since the page before; its place in it is still known.
                    Some(after) => {
                        let last = place(&tx.package(after)?);
                        rows.partition_point(|row| place(row) >= last)
                    }
                    None => 0,
                };
                let more = rows.len().saturating_sub(from) > limit;
                let rows = rows.into_iter().skip(from).take(limit).collect();
                Ok((with_records(tx, rows)?, more, busy(tx)?))
            })
            .await?;
        Ok(UpdatesPage {
            updates: found
                .iter()
                .map(|(row, record)| self.summary(row, record.as_ref(), busy))
                .collect(),
            more,
        })
    }

    /// `updates show`
    pub async fn update(&self, guid: &str) -> Result<UpdateDetail, ServiceError> {
        let guid = package_guid(guid)?;
        let (row, line, redists, history, busy) = self
            .context
            .store
            .read::<_, StoreError, _>(move |tx| {
                Ok((
                    tx.package(guid)?,
                    tx.package_record(guid)?,
                    tx.redists(guid)?,
                    tx.history(Some(guid), HISTORY_OF_PACKAGE)?,
                    busy(tx)?,
                ))
            })
            .await?;
        let turned_on = self.features().await?;
        let record = catalogue::parse_line(&line).map_err(|failure| ServiceError::Internal {
            source: Box::new(failure),
        })?;
        let text = record.texts.get("en").cloned().unwrap_or_default();
        let redistributables = record
            .redistributables
            .iter()
            .map(|redist| {
                let verdict = redists.iter().find(|row| row.name == redist.name);
                RedistInfo {
                    name: redist.name.clone(),
                    length: redist.length,
                    sha256: redist.sha256.clone(),
                    verdict: verdict
                        .map_or("not fetched", |row| row.verdict.as_str())
                        .to_owned(),
                    detail: verdict.map(|row| row.detail.clone()).unwrap_or_default(),
                }
            })
            .collect();
        let installed = row.state == PackageState::InstallSuccess;
        let features = record
            .features
            .iter()
            .map(|feature| FeatureInfo {
                guid: feature.guid.to_string(),
                name: feature.name.clone(),
                description: feature.description.clone(),
                package: guid.to_string(),
                pre_release: feature.pre_release,
                default_on: feature.default_on,
                turned_on: turned_on
                    .iter()
                    .any(|on| on.guid == feature.guid.to_string() && on.turned_on),
                available: installed,
            })
            .collect();
        Ok(UpdateDetail {
            summary: self.summary(&row, Some(&record), busy),
            description: text.description,
            locales: record.texts.keys().cloned().collect(),
            eula: text.eula,
            client_version: record.client_version.clone(),
            min_site_version: record.min_site_version.map(|version| version.to_string()),
            max_site_version: record.max_site_version.map(|version| version.to_string()),
            impact: record
                .impact
                .iter()
                .map(|area| area.as_str().to_owned())
                .collect(),
            prerequisite: record.prerequisite.map(|guid| guid.to_string()),
            supersedes: record.supersedes.iter().map(PackageGuid::to_string).collect(),
            more_info: record.more_info.clone(),
            rings: record.rings.clone(),
            rollout_percent: record.rollout_percent,
            rollout_when: record.rollout_when.clone(),
            withdrawn: record.withdrawn.clone(),
            applicability: record.applicability.clone(),
            files: record.payload.files,
            redistributables,
            features,
            flag: row.flag.code(),
            rolled_back: row.rolled_back,
            history: history
                .into_iter()
                .map(|entry| history_entry(entry, &row.name))
                .collect(),
        })
    }

    /// `updates why`: for hidden packages too.
    pub async fn why(&self, guid: &str) -> Result<WhyReport, ServiceError> {
        let guid = package_guid(guid)?;
        let (row, conditions) = self
            .context
            .store
            .read::<_, StoreError, _>(move |tx| Ok((tx.package(guid)?, tx.conditions(guid)?)))
            .await?;
        Ok(WhyReport {
            guid: guid.to_string(),
            name: row.name.clone(),
            state: state_info(row.state),
            reason: row.reason.clone(),
            conditions: conditions
                .into_iter()
                .map(|condition| ConditionInfo {
                    condition: condition.text,
                    expected: condition.expected,
                    actual: condition.actual,
                    outcome: condition.outcome,
                })
                .collect(),
        })
    }

    /// `updates show --plan`. Reads signed metadata and indexes of the feed; what has to be fetched for that is not
    /// kept.
    pub async fn delivery(&self, guid: &str) -> Result<DeliveryInfo, ServiceError> {
        let guid = package_guid(guid)?;
        let line = self
            .context
            .store
            .read::<_, StoreError, _>(move |tx| tx.package_record(guid))
            .await?;
        let internal = |source: Box<dyn std::error::Error + Send + Sync>| ServiceError::Internal { source };
        let record = catalogue::parse_line(&line).map_err(|failure| internal(failure.into()))?;
        let unavailable = |message: String| ServiceError::Unavailable {
            message: format!("the plan cannot be made: {message}"),
            hint: Some("check for updates first: tidegate updates check --wait".into()),
        };
        let transport =
            way_out::transport(&self.context, 0).map_err(|failure| unavailable(failure.to_string()))?;
        let trust = FolderTrust::open(self.context.directory.trust())
            .map_err(|failure| unavailable(whole_story(&failure)))?;
        let scratch = self.context.directory.package_payload(guid);
        // Of its own for each caller, and gone with the answer: what was read for the plan alone is of no further use.
        let scratch = tokio::task::spawn_blocking(move || {
            std::fs::create_dir_all(&scratch)?;
            tempfile::Builder::new().prefix("plan-").tempdir_in(&scratch)
        })
        .await?
        .map_err(|failure| unavailable(failure.to_string()))?;
        let folder = scratch.path().to_owned();
        let looking = async {
            let mut client = FeedClient::new(transport, trust, Limits::default())?;
            let now = feed_time(&self.context, self.clock.now());
            client.check_fresh(now)?;
            let target = client.find_target(&record.payload.index_target, now).await?;
            let path = folder.join("index");
            client.download_target(&target, &path, &mut |_| {}).await?;
            let index = tokio::task::spawn_blocking(move || PayloadIndex::read_file(&path)).await??;
            let looked = Delivery::look(&self.context, &mut client, &record, Arc::new(index), &folder, now);
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(looked.await?)
        };
        let looked = tokio::time::timeout(PLAN_TIMEOUT, looking).await;
        let delivery = match looked {
            Ok(Ok(delivery)) => delivery,
            Ok(Err(failure)) => return Err(unavailable(whole_story(&*failure))),
            Err(_) => return Err(unavailable("the feed did not answer in time".into())),
        };
        let library = self.context.library.clone();
        Ok(tokio::task::spawn_blocking(move || {
            drop(scratch);
            delivery.describe(&library)
        })
        .await?)
    }

    /// `updates history`
    pub async fn history(&self, limit: u32) -> Result<Vec<HistoryEntry>, ServiceError> {
        let limit = limit.clamp(1, LIMIT_MAX);
        let entries = self
            .context
            .store
            .read::<_, StoreError, _>(move |tx| {
                tx.history(None, limit)?
                    .into_iter()
                    .map(|entry| Ok((tx.package(entry.guid)?.name, entry)))
                    .collect::<Result<Vec<_>, _>>()
            })
            .await?;
        Ok(entries
            .into_iter()
            .map(|(name, entry)| history_entry(entry, &name))
            .collect())
    }

    /// `updates status`: of one package, or of all that moved.
    pub async fn update_status(&self, guid: Option<&str>) -> Result<Vec<SiteUpdateStatus>, ServiceError> {
        let wanted = guid.map(package_guid).transpose()?;
        let (found, busy) = self
            .context
            .store
            .read::<_, StoreError, _>(move |tx| {
                let rows = match wanted {
                    Some(guid) => vec![tx.package(guid)?],
                    None => tx.packages(false, PACKAGES_MAX)?,
                };
                let mut found = Vec::new();
                for (row, record) in with_records(tx, rows)? {
                    let stages = tx.sub_stages(row.guid)?;
                    if wanted.is_some() || !stages.is_empty() {
                        let prereqs = tx.prereqs(row.guid)?;
                        found.push((row, record, stages, prereqs));
                    }
                }
                Ok((found, busy(tx)?))
            })
            .await?;
        Ok(found
            .into_iter()
            .map(|(row, record, stages, prereqs)| {
                let update = self.summary(&row, record.as_ref(), busy);
                SiteUpdateStatus {
                    site_code: self.context.identity.code.to_string(),
                    reason: update.reason.clone(),
                    update,
                    sub_stages: stages.into_iter().map(sub_stage_info).collect(),
                    prerequisites: prereqs.into_iter().map(prereq_result).collect(),
                }
            })
            .collect())
    }

    /// Results of the last prerequisite check.
    pub async fn prereq_results(&self, guid: &str) -> Result<Vec<PrereqResult>, ServiceError> {
        let guid = package_guid(guid)?;
        let rows = self
            .context
            .store
            .read::<_, StoreError, _>(move |tx| {
                tx.package(guid)?;
                tx.prereqs(guid)
            })
            .await?;
        Ok(rows.into_iter().map(prereq_result).collect())
    }

    /// `updates features`: of everything installed.
    pub async fn features(&self) -> Result<Vec<FeatureInfo>, ServiceError> {
        let rows = self
            .context
            .store
            .read::<_, StoreError, _>(|tx| tx.features())
            .await?;
        Ok(rows
            .into_iter()
            .map(|row| FeatureInfo {
                guid: row.guid.to_string(),
                name: row.name,
                description: row.description,
                package: row.package.to_string(),
                pre_release: row.pre_release,
                // It is long decided.
                default_on: false,
                turned_on: row.turned_on,
                available: true,
            })
            .collect())
    }

    fn summary(
        &self,
        row: &PackageRow,
        record: Option<&PackageRecord>,
        busy: Option<PackageGuid>,
    ) -> UpdateSummary {
        let waits = matches!(
            row.state,
            PackageState::ApplicabilitySuccess | PackageState::DownloadInProgress
        ) && (row.requested || row.newest || row.state == PackageState::DownloadInProgress);
        let transfer = self.context.progress.of(row.guid);
        let doing = transfer.as_ref().and_then(|transfer| transfer.doing.clone());
        let transfer = transfer.map(|transfer| {
            let (done, total, rate) = (transfer.done, transfer.total, transfer.rate());
            let (what, host, rate) = match transfer.doing {
                None => (transfer.what, transfer.host, rate),
                // Nothing moves meanwhile.
                Some(doing) => (doing, String::new(), None),
            };
            TransferInfo {
                what,
                host,
                done,
                total,
                rate,
            }
        });
        UpdateSummary {
            guid: row.guid.to_string(),
            name: row.name.clone(),
            full_version: row.full_version.to_string(),
            update_type: record
                .map_or("unknown", |record| record.update_type.as_str())
                .to_owned(),
            state: state_of(row),
            since: row.changed_at,
            released: row.released_at,
            download_bytes: record.map_or(0, |record| record.payload.download_bytes),
            bytes: record.map_or(0, |record| record.payload.bytes),
            newest: row.newest,
            reason: doing.unwrap_or_else(|| row.reason.clone()),
            failure: row.failure.clone(),
            next_attempt_at: row.next_attempt_at,
            blocked_by: busy
                .filter(|busy| waits && *busy != row.guid)
                .map(|busy| busy.to_string()),
            transfer,
        }
    }
}

/// The package in motion, which others wait for.
fn busy(tx: &Tx<'_>) -> Result<Option<PackageGuid>, StoreError> {
    let states: Vec<PackageState> = PackageState::ALL
        .into_iter()
        .filter(|state| state.is_busy())
        .collect();
    Ok(tx.packages_in(&states)?.first().map(|row| row.guid))
}

type WithRecord = (PackageRow, Option<PackageRecord>);

fn with_records(tx: &Tx<'_>, rows: Vec<PackageRow>) -> Result<Vec<WithRecord>, StoreError> {
    rows.into_iter()
        .map(|row| {
            let record = catalogue::parse_line(&tx.package_record(row.guid)?).ok();
            Ok((row, record))
        })
        .collect()
}

/// The state of a row: what was started only to be checked is being checked, not installed (section 5).
fn state_of(row: &PackageRow) -> StateInfo {
    let mut info = state_info(row.state);
    if row.state == PackageState::Enabled && row.flag == PrereqFlag::CheckOnly {
        info.label = "Checking prerequisites".to_owned();
    }
    info
}

fn state_info(state: PackageState) -> StateInfo {
    StateInfo {
        code: state.code(),
        name: state.name().to_owned(),
        label: state.label().to_owned(),
    }
}

fn history_entry(entry: store::HistoryRow, name: &str) -> HistoryEntry {
    HistoryEntry {
        guid: entry.guid.to_string(),
        name: name.to_owned(),
        state: state_info(entry.state),
        time: entry.recorded_at,
        reason: entry.reason,
    }
}

fn sub_stage_info(row: SubStageRow) -> SubStageInfo {
    let state = match row.state {
        SubStageState::InProgress => "in progress",
        SubStageState::Success => "success",
        SubStageState::SuccessWithWarning => "success with warning",
        SubStageState::Failed => "failed",
    };
    SubStageInfo {
        phase: row.stage.phase().label().to_owned(),
        id: row.stage.id(),
        name: row.stage.label().to_owned(),
        state: state.to_owned(),
        progress: row.progress,
        detail: row.detail,
        time: row.recorded_at,
    }
}

fn prereq_result(row: PrereqRow) -> PrereqResult {
    PrereqResult {
        name: row.name,
        category: row.category,
        role: row.role,
        result: row.result,
        detail: row.detail,
        link: row.link,
        time: row.recorded_at,
    }
}
