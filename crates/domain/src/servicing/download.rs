//! Which packages the downloader fetches, and in which order (updates-and-servicing, sections 7 and 8).

use super::package::PackageGuid;
use super::state::PackageState;

/// What the planner looks at, one per package of the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// The package.
    pub guid: PackageGuid,
    /// Its state.
    pub state: PackageState,
    /// Whether an administrator asked for it.
    pub requested: bool,
    /// Whether it is the newest applicable one, which downloads without a click.
    pub newest_applicable: bool,
    /// Failed attempts since its download was last started by somebody or something new.
    pub attempts: u32,
}

/// The outcome of planning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DownloadPlan {
    /// Nothing to fetch.
    Nothing,
    /// A package in motion forbids new downloads (acceptance fact 7).
    BlockedBy(PackageGuid),
    /// These packages, in this order.
    Fetch(Vec<PackageGuid>),
}

/// Attempts inside one cycle before a package is reported as failed. With the downloader's back-off
/// (30 s doubling to 30 min) six attempts span about half an hour, which outlasts a proxy restart.
pub const ATTEMPTS_MAX: u32 = 6;

/// Decides what to fetch: what was begun first, then requests, then the newest applicable package.
pub fn plan(candidates: &[Candidate]) -> DownloadPlan {
    if let Some(busy) = candidates.iter().find(|candidate| candidate.state.is_busy()) {
        return DownloadPlan::BlockedBy(busy.guid);
    }
    let mut wanted: Vec<(u8, PackageGuid)> = candidates
        .iter()
        .filter_map(|candidate| rank(candidate).map(|rank| (rank, candidate.guid)))
        .collect();
    wanted.sort_unstable();
    if wanted.is_empty() {
        return DownloadPlan::Nothing;
    }
    DownloadPlan::Fetch(wanted.into_iter().map(|(_, guid)| guid).collect())
}

fn rank(candidate: &Candidate) -> Option<u8> {
    match candidate.state {
        PackageState::DownloadInProgress => Some(0),
        PackageState::ApplicabilitySuccess | PackageState::DownloadFailed if candidate.requested => Some(1),
        PackageState::ApplicabilitySuccess if candidate.newest_applicable => Some(2),
        // Given up in an earlier cycle; a new cycle has cleared the count.
        PackageState::DownloadFailed if candidate.newest_applicable && candidate.attempts == 0 => Some(3),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use PackageState as S;

    fn candidate(guid: u128, state: PackageState, requested: bool, newest: bool) -> Candidate {
        Candidate {
            guid: PackageGuid(guid),
            state,
            requested,
            newest_applicable: newest,
            attempts: 0,
        }
    }

    #[test]
    fn plans() {
        let check = |candidates: &[Candidate], expected: DownloadPlan| assert_eq!(plan(candidates), expected);
        let guids = |list: &[u128]| DownloadPlan::Fetch(list.iter().map(|g| PackageGuid(*g)).collect());
        check(&[], DownloadPlan::Nothing);
        check(
            &[candidate(1, S::ApplicabilitySuccess, false, false)],
            DownloadPlan::Nothing,
        );
        check(
            &[
                candidate(1, S::ApplicabilitySuccess, false, true),
                candidate(2, S::ApplicabilitySuccess, true, false),
                candidate(3, S::DownloadInProgress, false, false),
                candidate(4, S::ApplicabilityNa, true, true),
                candidate(5, S::DownloadFailed, false, false),
            ],
            guids(&[3, 2, 1]),
        );
        check(
            &[
                candidate(1, S::ApplicabilitySuccess, true, true),
                candidate(2, S::PrereqInProgress, false, false),
            ],
            DownloadPlan::BlockedBy(PackageGuid(2)),
        );
    }
}
