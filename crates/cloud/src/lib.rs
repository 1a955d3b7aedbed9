//! (opening of this crate)
