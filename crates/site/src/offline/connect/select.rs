//! Which packages a hierarchy gets: the same evaluation as on the site, over the facts that it prepared.

use std::collections::BTreeMap;

use domain::servicing::applicability::{self, Surroundings};
use domain::servicing::package::{PackageGuid, PackageRecord, UpdateType};
use domain::servicing::transition::Verdict;
use domain::servicing::version::FullVersion;
use protocol::transfer::{SiteStatement, facts_from};

use crate::components::position;

/// Which packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scope {
    /// The newest update that applies; no hotfix.
    #[default]
    LatestUpdate,
    /// Updates and hotfixes newer than the site.
    NewerThanSite,
    /// Every hotfix, whatever the site's version.
    Hotfixes,
    /// Everything that is not withdrawn.
    All,
}

/// Chooses packages of a catalogue, newest first.
pub(super) fn choose<'a>(
    site: &SiteStatement,
    scope: Scope,
    catalogue: &'a BTreeMap<PackageGuid, PackageRecord>,
) -> Result<Vec<&'a PackageRecord>, String> {
    let site_version: FullVersion = site.site_version.parse()?;
    let offered = catalogue.values().filter(|record| record.withdrawn.is_none());
    let mut chosen: Vec<&PackageRecord> = match scope {
        Scope::All => offered.collect(),
        Scope::Hotfixes => offered
            .filter(|record| record.update_type == UpdateType::Hotfix)
            .collect(),
        Scope::NewerThanSite => offered
            .filter(|record| record.full_version > site_version)
            .collect(),
        Scope::LatestUpdate => {
            let facts = facts_from(site);
            let superseded: BTreeMap<PackageGuid, &str> = catalogue
                .values()
                .filter(|record| facts.installed.contains(&record.guid))
                .flat_map(|record| record.supersedes.iter().map(|guid| (*guid, record.name())))
                .collect();
            let applies = |record: &&PackageRecord| {
                let around = Surroundings {
                    facts: &facts,
                    site_version,
                    rings: &site.rings,
                    listed: true,
                    superseded_by: superseded.get(&record.guid).copied(),
                    prerequisite_name: None,
                    position: position(&site.rollout_key, record.guid),
                };
                record.update_type != UpdateType::Hotfix
                    && applicability::evaluate(record, &around).verdict == Verdict::Applicable
            };
            let applicable = offered.filter(applies);
            let newest = applicability::newest_applicable(
                applicable.map(|record| (record.guid, record.full_version, record.released)),
            );
            newest.and_then(|guid| catalogue.get(&guid)).into_iter().collect()
        }
    };
    chosen.sort_by_key(|record| std::cmp::Reverse((record.full_version, record.released, record.guid)));
    Ok(chosen)
}
