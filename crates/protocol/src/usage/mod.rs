//! Usage data on its way: the canonical bytes of a report, the sealed form in which it leaves, the service's
//! receipt, the address of the intake, and the ledger that a site keeps of it all.

mod dsse;
mod encrypted;
mod intake;
pub mod ledger;
mod receipt;
mod report;
mod sealed;

pub use dsse::{DsseError, SigningKey};
pub(crate) use dsse::{sign, verify};
pub use encrypted::{DecryptionKey, EncryptionError, encrypt, is_encrypted};
pub use intake::{CONFIG_BYTES_MAX, CONFIG_TARGET, IntakeConfig, IntakeConfigError};
pub use receipt::{Receipt, ReceiptError, ReceiptVerdict};
pub use report::{FORMAT, REPORT_BYTES_MAX, UsageReport, ValuesError, canonical, csv, values};
pub use sealed::{Opened, SEALED_BYTES_MAX, SealedError, Statement, open, seal};
