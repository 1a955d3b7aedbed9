//! Going through a proxy: whom to ask, how to say who asks, and the tunnel.

mod challenge;
mod digest;
mod negotiate;
mod ntlm;
mod tunnel;

use std::fmt;
use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;
use zeroize::Zeroizing;

pub use challenge::Challenge;
pub(crate) use challenge::parse as parse_challenges;
pub(crate) use tunnel::{Request, Route, TunnelError, open};

/// The port of a proxy that is named without one (role-and-modes, section 7).
pub const DEFAULT_PORT: u16 = 80;

/// An account of a proxy. Never shown, wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// `user`, `DOMAIN\user` or `user@realm`.
    pub user: String,
    /// Password.
    pub password: Zeroizing<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// A proxy and how to use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxySettings {
    /// Name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Whether the proxy itself is spoken to over TLS.
    pub tls: bool,
    /// Account, sent only when the proxy asks for one.
    pub credentials: Option<Credentials>,
    /// Whether a password may go readable over a connection without TLS (Basic).
    pub basic_over_clear_text: bool,
    /// Hosts that are reached directly: names, `*.suffix`, addresses, `<local>` for names without a dot.
    pub exceptions: Vec<String>,
}

/// Why a proxy cannot be used as it is described.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the proxy's {field} is wrong: {problem}")]
pub struct ProxyInvalid {
    /// Which part.
    pub field: &'static str,
    /// What is wrong and what to write.
    pub problem: String,
}

impl ProxySettings {
    /// A proxy by name and port, without an account.
    pub fn new(host: &str, port: u16) -> Result<Self, ProxyInvalid> {
        let invalid = |field, problem: &str| {
            Err(ProxyInvalid {
                field,
                problem: problem.to_owned(),
            })
        };
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_ascii_lowercase();
        if port == 0 {
            return invalid("port", "write 1 to 65535");
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        let is_address = host.parse::<std::net::IpAddr>().is_ok();
        if host.is_empty() || host.len() > 253 || !(is_address || host.chars().all(plain)) {
            return invalid(
                "name",
                "write a host name, an IPv4 or an IPv6 address, without scheme or path",
            );
        }
        Ok(ProxySettings {
            host,
            port,
            tls: false,
            credentials: None,
            basic_over_clear_text: false,
            exceptions: Vec::new(),
        })
    }

    /// Reads `host`, `host:port`, `http://host:port` or `https://host:port`. A URL with a password is
    /// refused: command lines and environments are read by others.
    pub fn parse(text: &str) -> Result<Self, ProxyInvalid> {
        let invalid = |problem: &str| ProxyInvalid {
            field: "address",
            problem: problem.to_owned(),
        };
        let full = match text.contains("://") {
            true => text.to_owned(),
            false => format!("http://{text}"),
        };
        let url = Url::parse(&full).map_err(|_| invalid("write host:port or http://host:port"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(invalid("only http:// and https:// proxies can be used"));
        }
        if url.password().is_some() {
            return Err(invalid(
                "a password does not belong into an address; give it in a file",
            ));
        }
        if !matches!(url.path(), "" | "/") || url.query().is_some() {
            return Err(invalid("a proxy has no path"));
        }
        let host = url.host_str().unwrap_or_default();
        // The parser drops a port that is the scheme's own; the text still has it.
        let port = url
            .port_or_known_default()
            .filter(|_| url.port().is_some() || url.scheme() == "https")
            .unwrap_or(DEFAULT_PORT);
        let mut proxy = Self::new(host, port)?;
        proxy.tls = url.scheme() == "https";
        Ok(proxy)
    }

    /// `host:port`.
    pub fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    /// Whether a host is reached directly in spite of the proxy.
    pub fn bypasses(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        self.exceptions.iter().any(|exception| {
            let exception = exception.trim().to_ascii_lowercase();
            match exception
                .strip_prefix('*')
                .or(exception.strip_prefix('.').map(|_| exception.as_str()))
            {
                Some(suffix) => host.ends_with(suffix) && host.len() > suffix.len(),
                None if exception == "<local>" => !host.contains(['.', ':']),
                None => exception.trim_matches(['[', ']']) == host,
            }
        })
    }
}

impl fmt::Display for ProxySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority())
    }
}

/// A proxy in use: its settings and what it said of the account, shared by everything that goes out.
#[derive(Debug)]
pub struct Proxy {
    /// Settings.
    pub settings: ProxySettings,
    /// Held during a first authentication, so that a wrong password is tried once and not a hundred
    /// times: accounts get locked.
    pub(crate) known: Mutex<Known>,
}

/// What is known of the account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Known {
    /// Never asked for.
    #[default]
    Nothing,
    /// This scheme was taken.
    Accepted,
    /// It was refused; it is not sent again for a while.
    Rejected {
        /// The scheme it was refused with.
        scheme: String,
        /// When.
        at: Instant,
    },
}

impl Proxy {
    /// A proxy of which nothing is known yet.
    pub fn new(settings: ProxySettings) -> Arc<Self> {
        Arc::new(Proxy {
            settings,
            known: Mutex::new(Known::Nothing),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_proxies() {
        for (text, expected) in [
            ("proxy.example", "http://proxy.example:80"),
            ("proxy.example:3128", "http://proxy.example:3128"),
            ("http://Proxy.Example:80/", "http://proxy.example:80"),
            ("https://proxy.example", "https://proxy.example:443"),
            ("[::1]:8080", "http://[::1]:8080"),
            ("10.0.0.1", "http://10.0.0.1:80"),
        ] {
            assert_eq!(ProxySettings::parse(text).unwrap().to_string(), expected);
        }
        for text in [
            "",
            "socks5://x:1",
            "http://u:p@x:1",
            "http://x/path",
            "x:99999",
            "a b",
        ] {
            ProxySettings::parse(text).unwrap_err();
        }
        ProxySettings::new("x", 0).unwrap_err();
        ProxySettings::new("x/y", 80).unwrap_err();
    }

    #[test]
    fn exceptions() {
        let mut proxy = ProxySettings::new("p", 80).unwrap();
        proxy.exceptions = [
            "intra.example",
            "*.local.example",
            ".corp",
            "10.1.2.3",
            "<local>",
            "[::1]",
        ]
        .map(str::to_owned)
        .to_vec();
        for (host, direct) in [
            ("intra.example", true),
            ("INTRA.example", true),
            ("x.intra.example", false),
            ("a.local.example", true),
            ("local.example", false),
            ("x.corp", true),
            ("10.1.2.3", true),
            ("10.1.2.4", false),
            ("server", true),
            ("::1", true),
            ("updates.example", false),
        ] {
            assert_eq!(proxy.bypasses(host), direct, "{host}");
        }
    }

    #[test]
    fn passwords_do_not_show() {
        let mut proxy = ProxySettings::new("p", 80).unwrap();
        proxy.credentials = Some(Credentials {
            user: "svc".into(),
            password: Zeroizing::new("hunter2".into()),
        });
        let shown = format!("{proxy:?} {proxy}");
        assert!(shown.contains("svc") && !shown.contains("hunter2"), "{shown}");
    }
}
