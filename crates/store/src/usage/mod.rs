//! Usage data: counts for a report, the reports themselves, the ledger of what left, and the inventory that
//! the sites' product supplies.

mod facts;
mod inventory;
mod ledger;
mod reports;

pub use inventory::{InventoryImport, InventoryWords, NOTHING};
pub use ledger::LedgerRow;
pub use reports::UsageReportRow;
