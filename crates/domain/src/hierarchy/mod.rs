//! Sites and the names they go by.

mod site_code;
mod site_type;

pub use site_code::{SiteCode, SiteCodeError};
pub use site_type::SiteType;
