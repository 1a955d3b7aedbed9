//! The console in a real browser: set-up, sign-in, every page, the wizard, a live installation and one that rolls back.

mod api;
mod browser;
mod pages;
#[path = "../faults/world.rs"]
#[expect(dead_code, reason = "the other tests use all of it")]
mod world;
