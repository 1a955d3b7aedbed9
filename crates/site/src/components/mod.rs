//! The components of a site, one file each. A component observes the store, lets the domain plan,
//! carries the plan out and reports; it takes no input, so that a restart, a wake-up and the timer are
//! one code path.

mod alert_notification;
mod connectivity_checker;
mod distribution_manager;
mod downloader;
mod hierarchy_manager;
mod site_backup;
mod site_component_manager;
mod site_system_status_summarizer;
mod state_system;
mod status_manager;
mod update_installer;
mod uploader;

use std::sync::Arc;

use executive::Component;

use crate::context::SiteContext;

pub use downloader::CATALOGUE_ROLE;
pub use hierarchy_manager::position;
pub use uploader::{record_receipt, sealed_report, store_report};

/// Every component of a stand-alone primary site with a co-located service connection point.
pub fn all(context: &Arc<SiteContext>) -> Vec<Arc<dyn Component>> {
    vec![
        Arc::new(site_component_manager::SiteComponentManager::new(context.clone())),
        Arc::new(status_manager::StatusManager::new(context.clone())),
        Arc::new(site_system_status_summarizer::SiteSystemStatusSummarizer::new(
            context.clone(),
        )),
        Arc::new(state_system::StateSystem::new(context.clone())),
        Arc::new(hierarchy_manager::HierarchyManager::new(context.clone())),
        Arc::new(connectivity_checker::ConnectivityChecker::new(context.clone())),
        Arc::new(downloader::Downloader::new(context.clone())),
        Arc::new(uploader::Uploader::new(context.clone())),
        Arc::new(distribution_manager::DistributionManager::new(context.clone())),
        Arc::new(alert_notification::AlertNotification::new(context.clone())),
        Arc::new(site_backup::SiteBackup::new(context.clone())),
        Arc::new(update_installer::UpdateInstaller::new(context.clone())),
    ]
}
