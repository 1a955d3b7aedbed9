//! Requests and answers of the local REST API; also what `--json` prints. Times are RFC 3339.

mod accounts;
mod backups;
mod components;
mod hierarchy;
mod internet;
mod notifications;
mod queries;
mod site;
mod status;
mod status_rules;
mod tool;
mod updates;
mod usage;

pub use accounts::{
    AccountInfo, AccountRequest, NewToken, PasswordRequest, RoleRequest, SetupLink, TokenInfo, TokenRequest,
};
pub use backups::{BackupInfo, BackupOutcome, BackupRequest, BackupScheduleInfo, BackupsInfo};
pub use components::{ActionRequest, ComponentAction, ComponentInfo, LogLevelRequest, WaitingInfo};
pub use hierarchy::{ThrottleHours, ThrottleInfo, ThrottleRequest};
pub use internet::{EndpointRunInfo, ModeRequest, ProxyInfo, ProxyRequest, ScpShow};
pub use notifications::{
    NotificationInfo, NotificationStanding, NotificationsQuery, SnoozeRequest, SnoozedInfo,
};
pub use queries::{
    EventsQuery, LIMIT_DEFAULT, LIMIT_MAX, LimitQuery, TallyQuery, UpdateStatusQuery, UpdatesQuery,
};
pub use site::{
    ApiProblem, ContentCollected, ContentStats, ContentVerified, SiteShow, SyncStatus, TrustedRoleInfo,
};
pub use status::{
    ComponentStatusInfo, DELETE_GROUP_MAX, SpaceRequest, StateMessageInfo, StatusDeleteRequest,
    StatusDeleted, StatusMessageInfo, StatusMessageQuery, SystemInfo, ThresholdInfo, ThresholdRequest,
};
pub use status_rules::{
    AlertInfo, AlertTargetInfo, AlertsInfo, StatusRule, StatusRuleActions, StatusRuleAddRequest,
    StatusRuleChangeRequest, StatusRuleCriteria,
};
pub use tool::{
    ImportInfo, ImportRequest, ImportedPackageInfo, PrepareRequest, RegisterRequest, RegisteredInfo,
};
pub use updates::{
    ConditionInfo, DeliveryInfo, DeliveryPart, FeatureInfo, FeatureRequest, HistoryEntry, InstallRequest,
    PrereqResult, RedistInfo, ResetRequest, SiteUpdateStatus, StateInfo, SubStageInfo, TransferInfo,
    UpdateDetail, UpdateSummary, WhyReport,
};
pub use usage::{
    InventoryInfo, InventoryQuery, LedgerChecked, LedgerEntryInfo, LedgerQuery, UsageLevel, UsageQuery,
    UsageReportInfo, UsageSending, UsageShow,
};
