//! Faults against the real program: killed at any moment, fed by a hostile feed, refused by the disk.
//! After each the site ends where it would have ended without it.

mod attacks;
mod backups;
mod deltas;
mod disks;
mod installs;
mod kills;
mod media;
mod notices;
mod servers;
mod world;
