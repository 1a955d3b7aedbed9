//! The only way out to the vendor: feeds over HTTPS, or over anything `file:` reaches, behind the same trait and so
//! through the same checks.
//!
//! Nothing that comes through here is trusted; TUF verifies it. TLS protects what is asked for from onlookers, and is
//! therefore never given up once a connection had it. This crate stores nothing, and sends nothing but requests and the
//! sealed reports, alerts and forms that it is given. A provider of single sign-on is believed by its TLS. Mail servers and system logs are services of the hierarchy's own network and
//! are reached directly.

mod certificate;
mod connector;
mod dial;
mod document;
mod exchange;
pub mod fuzz;
mod head;
mod https;
mod intake;
mod location;
mod mail;
mod options;
mod pace;
pub mod probe;
mod proxy;
mod syslog;
mod tls;
mod way;
mod webhook;

pub use connector::WallClock;
pub use dial::{Resolver, ResolverError};
pub use document::{Document, Documents};
pub use exchange::NoAnswer;
pub use https::HttpsTransport;
pub use intake::{Intake, IntakeError, Uploaded};
pub use location::{Location, LocationError, open};
pub use mail::{Mail, MailError, MailServer, MailTls, is_mail_address};
pub use options::HttpsOptions;
pub use proxy::{Challenge, Credentials, DEFAULT_PORT as PROXY_PORT, Proxy, ProxyInvalid, ProxySettings};
pub use syslog::{SyslogError, SyslogServer};
pub use tls::{Roots, RootsError};
pub use way::{Limits, WayOut};
pub use webhook::{Webhook, WebhookError};
