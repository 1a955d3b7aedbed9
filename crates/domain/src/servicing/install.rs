//! Carrying out an install plan, one durable step after the other.
//!
//! The journal of an installation is three values: how many steps are done, whether it is rolling
//! back, and why. From them and the plan [`next`] tells what to do, so that a crash at any instant
//! continues exactly where the journal stands. Every step is idempotent or says that it may run twice:
//! a hook that was cut off is run again, with the same step key in its environment.

use std::fmt;

use super::package::InstallPlan;

/// A step of an installation or of its roll-back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Put the staged tree under `product/versions/<version>`.
    Place,
    /// Run the hook with this index of `before`.
    Before(usize),
    /// Make `product/current` point to the new version, in one atomic step.
    Switch,
    /// Run the hook with this index of `after`.
    After(usize),
    /// Run the health check.
    Health,
    /// Run the hook with this index of `rollback`.
    RollbackHook(usize),
    /// Make `product/current` point to the previous version again.
    SwitchBack,
    /// Remove the new version's directory.
    Remove,
}

/// Where an installation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Journal {
    /// Steps of the plan that are done, in order.
    pub steps_done: usize,
    /// Set when a step failed: how many roll-back steps are done.
    pub rollback_done: Option<usize>,
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Carry out this step, then record it.
    Do(Step),
    /// All steps are done: commit.
    Commit,
    /// Everything was undone: report the failure.
    RolledBack,
}

/// The steps of a plan, in order.
pub fn steps(plan: &InstallPlan) -> Vec<Step> {
    let mut steps = Vec::new();
    if plan.switch {
        steps.push(Step::Place);
    }
    steps.extend((0..plan.before.len()).map(Step::Before));
    if plan.switch {
        steps.push(Step::Switch);
    }
    steps.extend((0..plan.after.len()).map(Step::After));
    if plan.health.is_some() {
        steps.push(Step::Health);
    }
    steps
}

/// The steps that undo a plan of which `started` steps were begun: the failed one counts, because it
/// may have done half of its work.
pub fn rollback_steps(plan: &InstallPlan, started: usize) -> Vec<Step> {
    let begun = &steps(plan)[..started.min(steps(plan).len())];
    let mut undo = Vec::new();
    let hook_ran = begun
        .iter()
        .any(|step| matches!(step, Step::Before(_) | Step::After(_) | Step::Health));
    if hook_ran || begun.contains(&Step::Switch) {
        undo.extend((0..plan.rollback.len()).map(Step::RollbackHook));
    }
    if begun.contains(&Step::Switch) {
        undo.push(Step::SwitchBack);
    }
    if begun.contains(&Step::Place) {
        undo.push(Step::Remove);
    }
    undo
}

/// What to do, given what is done.
pub fn next(plan: &InstallPlan, journal: &Journal) -> Next {
    match journal.rollback_done {
        None => steps(plan)
            .get(journal.steps_done)
            .map_or(Next::Commit, |step| Next::Do(*step)),
        Some(done) => rollback_steps(plan, journal.steps_done + 1)
            .get(done)
            .map_or(Next::RolledBack, |step| Next::Do(*step)),
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Place => f.write_str("place the new version"),
            Step::Before(index) => write!(f, "hook before the switch, number {}", index + 1),
            Step::Switch => f.write_str("switch to the new version"),
            Step::After(index) => write!(f, "hook after the switch, number {}", index + 1),
            Step::Health => f.write_str("health check"),
            Step::RollbackHook(index) => write!(f, "roll-back hook, number {}", index + 1),
            Step::SwitchBack => f.write_str("switch back to the previous version"),
            Step::Remove => f.write_str("remove the new version"),
        }
    }
}

/// The five phases shown for a package (section 9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Only at the top-level site.
    Download,
    /// Content on its way to the sites.
    Replication,
    /// Prerequisite check.
    Prerequisite,
    /// The install plan.
    Installation,
    /// What follows a success.
    PostInstallation,
}

impl Phase {
    /// Shown in lists.
    pub fn label(self) -> &'static str {
        match self {
            Phase::Download => "Download",
            Phase::Replication => "Replication",
            Phase::Prerequisite => "Prerequisite check",
            Phase::Installation => "Installation",
            Phase::PostInstallation => "Post installation",
        }
    }
}

/// A sub-step shown while a package moves. The high word of the id is the phase (section 9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubStage {
    /// Take the package from the work list.
    ProcessPackage,
    /// Fetch what is missing of the payload.
    DownloadPayload,
    /// Check the complete list of files.
    VerifyPayload,
    /// Fetch the redistributables.
    DownloadRedist,
    /// Report the package as downloaded.
    ReportDownloaded,
    /// Content to the sites' content libraries.
    ReplicateContent,
    /// Extract to the staging folder.
    ExtractPackage,
    /// Run the rules.
    RunRules,
    /// Wait until the site may begin.
    WaitUntilReady,
    /// Compare the staging folder with the signed list.
    VerifyStaging,
    /// Check the redistributables again.
    VerifyRedist,
    /// Put the new version in its place.
    PlaceFiles,
    /// Programs before the switch.
    HooksBefore,
    /// The atomic switch.
    Switch,
    /// Programs after the switch.
    HooksAfter,
    /// The health check.
    HealthCheck,
    /// Undo everything.
    RollBack,
    /// Record the installed version.
    RecordVersion,
    /// Turn features on.
    TurnOnFeatures,
    /// Evaluate the catalogue again.
    EvaluateAgain,
}

impl SubStage {
    /// Every sub-step, in the order in which they happen.
    pub const ALL: [SubStage; 20] = [
        SubStage::ProcessPackage,
        SubStage::DownloadPayload,
        SubStage::VerifyPayload,
        SubStage::DownloadRedist,
        SubStage::ReportDownloaded,
        SubStage::ReplicateContent,
        SubStage::ExtractPackage,
        SubStage::RunRules,
        SubStage::WaitUntilReady,
        SubStage::VerifyStaging,
        SubStage::VerifyRedist,
        SubStage::PlaceFiles,
        SubStage::HooksBefore,
        SubStage::Switch,
        SubStage::HooksAfter,
        SubStage::HealthCheck,
        SubStage::RollBack,
        SubStage::RecordVersion,
        SubStage::TurnOnFeatures,
        SubStage::EvaluateAgain,
    ];

    /// The product's id where it is known, else ours in the same phase's range.
    pub fn id(self) -> u32 {
        match self {
            SubStage::ProcessPackage => 0xa_0001,
            SubStage::DownloadPayload => 0xa_0002,
            SubStage::VerifyPayload => 0xa_0003,
            SubStage::DownloadRedist => 0xa_0004,
            SubStage::ReportDownloaded => 0xa_0005,
            SubStage::ReplicateContent => 0xb_0001,
            SubStage::ExtractPackage => 0xc_0001,
            SubStage::RunRules => 0xc_0002,
            SubStage::WaitUntilReady => 0xd_0007,
            SubStage::VerifyStaging => 0xd_0005,
            SubStage::VerifyRedist => 0xd_0006,
            SubStage::PlaceFiles => 0xd_0040,
            SubStage::HooksBefore => 0xd_0041,
            SubStage::Switch => 0xd_0042,
            SubStage::HooksAfter => 0xd_0043,
            SubStage::HealthCheck => 0xd_0044,
            SubStage::RollBack => 0xd_0045,
            SubStage::RecordVersion => 0xe_0040,
            SubStage::TurnOnFeatures => 0xe_0041,
            SubStage::EvaluateAgain => 0xe_0042,
        }
    }

    /// The sub-step with this id.
    pub fn from_id(id: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.id() == id)
    }

    /// The phase it belongs to, from the high word of its id.
    pub fn phase(self) -> Phase {
        match self.id() >> 16 {
            0xa => Phase::Download,
            0xb => Phase::Replication,
            0xc => Phase::Prerequisite,
            0xd => Phase::Installation,
            _ => Phase::PostInstallation,
        }
    }

    /// Shown in lists.
    pub fn label(self) -> &'static str {
        match self {
            SubStage::ProcessPackage => "Process update package",
            SubStage::DownloadPayload => "Download update package",
            SubStage::VerifyPayload => "Verify the complete file list",
            SubStage::DownloadRedist => "Download redistributables",
            SubStage::ReportDownloaded => "Report package as downloaded",
            SubStage::ReplicateContent => "Replicate update package",
            SubStage::ExtractPackage => "Extract update package",
            SubStage::RunRules => "Run prerequisite rules",
            SubStage::WaitUntilReady => "Wait until the site is ready",
            SubStage::VerifyStaging => "Verify staged files",
            SubStage::VerifyRedist => "Verify redistributables",
            SubStage::PlaceFiles => "Place the new version",
            SubStage::HooksBefore => "Programs before the switch",
            SubStage::Switch => "Switch to the new version",
            SubStage::HooksAfter => "Programs after the switch",
            SubStage::HealthCheck => "Health check",
            SubStage::RollBack => "Roll back to the previous version",
            SubStage::RecordVersion => "Record the installed version",
            SubStage::TurnOnFeatures => "Turn on features",
            SubStage::EvaluateAgain => "Evaluate the catalogue again",
        }
    }

    /// The sub-step that shows a step of the install plan.
    pub fn of(step: Step) -> Self {
        match step {
            Step::Place => SubStage::PlaceFiles,
            Step::Before(_) => SubStage::HooksBefore,
            Step::Switch => SubStage::Switch,
            Step::After(_) => SubStage::HooksAfter,
            Step::Health => SubStage::HealthCheck,
            Step::RollbackHook(_) | Step::SwitchBack | Step::Remove => SubStage::RollBack,
        }
    }
}

/// How a sub-step stands (IsComplete).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SubStageState {
    /// 1
    InProgress,
    /// 2
    Success,
    /// 3
    SuccessWithWarning,
    /// 4
    Failed,
}

impl SubStageState {
    /// The product's number.
    pub fn code(self) -> u32 {
        match self {
            SubStageState::InProgress => 1,
            SubStageState::Success => 2,
            SubStageState::SuccessWithWarning => 3,
            SubStageState::Failed => 4,
        }
    }

    /// The state with this number.
    pub fn from_code(code: u32) -> Option<Self> {
        [
            Self::InProgress,
            Self::Success,
            Self::SuccessWithWarning,
            Self::Failed,
        ]
        .into_iter()
        .find(|state| state.code() == code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::servicing::package::{HealthCheck, Hook};
    use proptest::prelude::*;

    fn hook() -> Hook {
        Hook {
            program: "bin/hook".into(),
            args: vec![],
            env: Default::default(),
            time_limit_s: 5,
            run_as: None,
        }
    }

    fn plan(switch: bool, before: usize, after: usize, rollback: usize, health: bool) -> InstallPlan {
        InstallPlan {
            switch,
            before: vec![hook(); before],
            after: vec![hook(); after],
            rollback: vec![hook(); rollback],
            health: health.then(|| HealthCheck {
                hook: hook(),
                attempts: 1,
                interval_s: 1,
            }),
        }
    }

    #[test]
    fn a_failed_health_check_is_undone_in_reverse() {
        let plan = plan(true, 1, 0, 1, true);
        assert_eq!(
            steps(&plan),
            [Step::Place, Step::Before(0), Step::Switch, Step::Health]
        );
        let journal = Journal {
            steps_done: 3,
            rollback_done: Some(0),
        };
        assert_eq!(next(&plan, &journal), Next::Do(Step::RollbackHook(0)));
        assert_eq!(
            rollback_steps(&plan, 4),
            [Step::RollbackHook(0), Step::SwitchBack, Step::Remove]
        );
        assert_eq!(rollback_steps(&plan, 1), [Step::Remove]);
    }

    #[test]
    fn sub_stage_ids_are_unique() {
        for stage in SubStage::ALL {
            assert_eq!(SubStage::from_id(stage.id()), Some(stage));
        }
    }

    proptest! {
        /// Failing at any step undoes at least everything that was begun, and always ends.
        #[test]
        fn every_failure_ends_rolled_back(
            switch: bool, before in 0usize..3, after in 0usize..3, rollback in 0usize..3, health: bool, fail_at in 0usize..12,
        ) {
            let plan = plan(switch, before, after, rollback, health);
            let mut journal = Journal::default();
            let mut switched = false;
            let mut placed = false;
            for _ in 0..40 {
                match next(&plan, &journal) {
                    Next::Commit => {
                        prop_assert_eq!(switched, switch);
                        return Ok(());
                    }
                    Next::RolledBack => {
                        prop_assert!(!switched && !placed);
                        return Ok(());
                    }
                    Next::Do(step) => {
                        match step {
                            Step::Place => placed = true,
                            Step::Switch => switched = true,
                            Step::SwitchBack => switched = false,
                            Step::Remove => placed = false,
                            Step::Before(_) | Step::After(_) | Step::Health | Step::RollbackHook(_) => {}
                        }
                        match journal.rollback_done {
                            None if journal.steps_done == fail_at => journal.rollback_done = Some(0),
                            None => journal.steps_done += 1,
                            Some(done) => journal.rollback_done = Some(done + 1),
                        }
                    }
                }
            }
            prop_assert!(false, "did not end");
        }
    }
}
