//! The program as people and scripts meet it: the real binary in a sealed environment, with a site API
//! that answers from fixed values. What a real site does is tested by the end-to-end tests.

mod answers;
mod files;
mod generate;
mod program;
mod service_manager;
mod usage;
