//! Update packages: what they are, which are offered, how they move from the feed to "Installed".

pub mod applicability;
pub mod download;
pub mod facts;
pub mod install;
pub mod package;
pub mod rule;
pub mod state;
pub mod state_message;
pub mod transition;
pub mod version;
