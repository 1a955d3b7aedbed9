//! What a hostile or sloppy feed can do to a reader, what our publisher writes, and who can read it.

mod attacks;
mod delegations;
mod downloads;
mod foreign;
mod freeze;
mod properties;
mod publisher;
mod python_tuf;
mod repository;
mod roots;
mod tough_reads;
mod trust;
