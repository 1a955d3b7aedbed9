//! Tests of the vendor's side from outside: a service in a temporary folder, read and served as a site would see it.

mod publishing;
mod sample;
mod serving;
mod support;
