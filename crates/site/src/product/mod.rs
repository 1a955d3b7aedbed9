//! What is installed on this site: versioned directories, the `current` switch, hook programs.

pub mod hooks;
pub mod switch;
