//! Internet access: what is to be reached, what can go wrong on the way and whose fault it is, what a run
//! of checks means.

pub mod endpoint;
pub mod fault;
#[cfg(test)]
mod reference;
pub mod run;
pub mod verdict;

pub use endpoint::{Address, Endpoint, Listing, NotTestable, Plan, Scheme, Selection, Target};
pub use fault::{Fault, Party, Phase, Subject};
pub use verdict::{Contribution, Outcome, StatusMeaning, is_foreign, judge_connect, judge_status};
