//! The HTTPS transport against servers that misbehave, and a whole feed through it.

mod faults;
mod feed_over_http;
mod server;
mod standing;
mod tls;
