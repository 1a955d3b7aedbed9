//! What a medium carries between an offline hierarchy and the vendor's service: the cabinet that a site
//! prepares, and the description of a bundle that comes back (service-connection-tool, sections 4 to 6).

mod bundle;
mod cabinet;
mod content;
mod hotfix;
mod site;

pub use bundle::{
    BUNDLE_BYTES_MAX, BUNDLE_FILE, Bundle, BundleError, BundleHierarchy, BundlePackage, fragment_name,
    parse_fragment,
};
pub use cabinet::{CABINET_BYTES_MAX, Cabinet, CabinetError, read, write};
pub use content::{ContentSummary, SummaryError};
pub use hotfix::{
    HOTFIX_ENDING, HOTFIX_LINE_BYTES_MAX, HOTFIX_RECORD_BYTES_MAX, HOTFIX_TARGET, HotfixError, HotfixKeys,
    HotfixMember, HotfixPart, HotfixStatement,
};
pub use site::{SiteStatement, facts_from, facts_to};
