//! A site: its components, the service layer that command line, API and console share, and the
//! process that runs them.

pub mod directory;
pub mod product;
pub mod settings;
