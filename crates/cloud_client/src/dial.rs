//! Names to addresses, addresses to connections; every attempt is reported.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::connectivity::Fault;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ProtocolConfig, ResolveHosts, ResolverConfig,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{RData, RecordType};
use tokio::net::TcpStream;

/// The next address is tried after this long, beside the one before (RFC 8305, section 5).
const STAGGER: Duration = Duration::from_millis(250);
/// Most addresses of one host that are tried.
const ADDRESSES_MAX: usize = 8;

/// What went wrong, with the words that prove it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub fault: Fault,
    pub evidence: String,
}

impl Trouble {
    pub fn new(fault: Fault, evidence: impl Into<String>) -> Self {
        Trouble {
            fault,
            evidence: evidence.into(),
        }
    }
}

/// Asks name servers; keeps no answers, so that what is shown is what is so.
#[derive(Clone)]
pub struct Resolver {
    inner: Option<Arc<TokioResolver>>,
    servers: String,
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Resolver({})", self.servers)
    }
}

/// Why there are no name servers to ask.
#[derive(Debug, thiserror::Error)]
#[error("the name servers of this machine cannot be used")]
pub struct ResolverError(#[source] NetError);

impl Resolver {
    /// The platform's name servers and hosts file.
    pub fn system(timeout: Duration) -> Result<Self, ResolverError> {
        let Ok((config, mut options)) = hickory_resolver::system_conf::read_system_conf() else {
            return Ok(Resolver {
                inner: None,
                servers: "none".into(),
            });
        };
        options.use_hosts_file = ResolveHosts::Always;
        Self::build(config, options, timeout)
    }

    /// One name server by address, nothing else.
    pub fn at(server: SocketAddr, timeout: Duration) -> Result<Self, ResolverError> {
        let connections = [ProtocolConfig::Udp, ProtocolConfig::Tcp]
            .into_iter()
            .map(|protocol| {
                let mut connection = ConnectionConfig::new(protocol);
                connection.port = server.port();
                connection
            })
            .collect();
        let server = NameServerConfig::new(server.ip(), true, connections);
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
        let mut options = hickory_resolver::config::ResolverOpts::default();
        options.use_hosts_file = ResolveHosts::Never;
        Self::build(config, options, timeout)
    }

    fn build(
        config: ResolverConfig,
        mut options: hickory_resolver::config::ResolverOpts,
        timeout: Duration,
    ) -> Result<Self, ResolverError> {
        let servers: Vec<String> = config
            .name_servers()
            .iter()
            .map(|server| server.ip.to_string())
            .collect();
        options.cache_size = 0;
        options.attempts = 1;
        options.timeout = timeout / 2;
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        Ok(Resolver {
            inner: Some(Arc::new(builder.build().map_err(ResolverError)?)),
            servers: servers.join(", "),
        })
    }

    /// Addresses of a host, IPv6 and IPv4 in turn.
    pub(crate) async fn addresses(&self, host: &str, limit: Duration) -> Result<Vec<IpAddr>, Trouble> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![address]);
        }
        if host == "localhost" || host.ends_with(".localhost") {
            // RFC 6761, section 6.3: no name server is asked.
            return Ok(vec![
                IpAddr::from([127, 0, 0, 1]),
                IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
            ]);
        }
        let Some(resolver) = &self.inner else {
            return Err(Trouble::new(
                Fault::DnsTimeout,
                "this machine has no name server configured",
            ));
        };
        if let Some(address) = listed_in_hosts(resolver, host).await {
            return Ok(address);
        }
        let name = format!("{}.", host.trim_end_matches('.'));
        let both = async {
            tokio::join!(
                resolver.lookup(name.as_str(), RecordType::AAAA),
                resolver.lookup(name.as_str(), RecordType::A)
            )
        };
        let Ok((six, four)) = tokio::time::timeout(limit, both).await else {
            return Err(self.silent(limit));
        };
        let of = |found: &Result<hickory_resolver::lookup::Lookup, NetError>| -> Vec<IpAddr> {
            let records = found.iter().flat_map(|lookup| lookup.answers());
            records
                .filter_map(|record| match &record.data {
                    RData::A(address) => Some(IpAddr::V4(address.0)),
                    RData::AAAA(address) => Some(IpAddr::V6(address.0)),
                    _ => None,
                })
                .collect()
        };
        let (mut first, mut second) = (of(&six).into_iter(), of(&four).into_iter());
        let mut addresses = Vec::new();
        loop {
            let (a, b) = (first.next(), second.next());
            if a.is_none() && b.is_none() {
                break;
            }
            addresses.extend(a.into_iter().chain(b));
        }
        addresses.truncate(ADDRESSES_MAX);
        match (addresses.is_empty(), four) {
            (false, _) => Ok(addresses),
            (true, Err(failure)) => Err(self.trouble(&failure, limit)),
            (true, Ok(_)) => Err(Trouble::new(Fault::DnsNxdomain, "the name has no address")),
        }
    }

    fn silent(&self, limit: Duration) -> Trouble {
        Trouble::new(
            Fault::DnsTimeout,
            format!("no answer from {} within {} s", self.servers, limit.as_secs_f64()),
        )
    }

    fn trouble(&self, failure: &NetError, limit: Duration) -> Trouble {
        let servers = &self.servers;
        match failure {
            NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
                ResponseCode::NXDomain => {
                    Trouble::new(Fault::DnsNxdomain, format!("NXDOMAIN from {servers}"))
                }
                ResponseCode::NoError => Trouble::new(
                    Fault::DnsNxdomain,
                    format!("{servers} knows the name, and no address of it"),
                ),
                code => Trouble::new(Fault::DnsServfail, format!("{code} from {servers}")),
            },
            NetError::Dns(DnsError::ResponseCode(code)) => {
                Trouble::new(Fault::DnsServfail, format!("{code} from {servers}"))
            }
            NetError::Timeout => self.silent(limit),
            other => {
                let text = other.to_string();
                match text.contains("timed out") {
                    true => self.silent(limit),
                    false => Trouble::new(Fault::DnsServfail, format!("{text}, asked of {servers}")),
                }
            }
        }
    }
}

/// The hosts file comes first, as for every other program.
async fn listed_in_hosts(resolver: &TokioResolver, host: &str) -> Option<Vec<IpAddr>> {
    if resolver.options().use_hosts_file == ResolveHosts::Never {
        return None;
    }
    let text = tokio::fs::read_to_string("/etc/hosts").await.ok()?;
    let found: Vec<IpAddr> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split('#').next()?.split_whitespace();
            let address = words.next()?.parse().ok()?;
            words
                .any(|name| name.eq_ignore_ascii_case(host))
                .then_some(address)
        })
        .take(ADDRESSES_MAX)
        .collect();
    (!found.is_empty()).then_some(found)
}

/// A connection, and what failed before it came about.
#[derive(Debug)]
pub(crate) struct Connected {
    pub stream: TcpStream,
    pub peer: SocketAddr,
    /// Other addresses that were tried in vain, with the reason.
    pub failed: Vec<String>,
}

/// Connects to the first address that answers; each next one is tried beside the others a little later.
pub(crate) async fn connect(addresses: &[IpAddr], port: u16, limit: Duration) -> Result<Connected, Trouble> {
    let mut failures: Vec<(SocketAddr, io::Error)> = Vec::new();
    let mut waiting = addresses
        .iter()
        .take(ADDRESSES_MAX)
        .map(|address| SocketAddr::new(*address, port));
    let mut attempts = FuturesUnordered::new();
    let all = async {
        loop {
            match waiting.next() {
                Some(to) => attempts.push(async move { (to, TcpStream::connect(to).await) }),
                None if attempts.is_empty() => return None,
                None => {}
            }
            // The next one begins when one has failed, or when they are slow.
            let stagger = async {
                match waiting.len() {
                    0 => std::future::pending().await,
                    _ => tokio::time::sleep(STAGGER).await,
                }
            };
            tokio::select! {
                Some((to, result)) = attempts.next() => match result {
                    Ok(stream) => return Some((stream, to)),
                    Err(failure) => failures.push((to, failure)),
                },
                () = stagger => {}
            }
        }
    };
    let ended = tokio::time::timeout(limit, all).await;
    let told: Vec<String> = failures
        .iter()
        .map(|(to, failure)| format!("{to}: {}", why(failure)))
        .collect();
    match ended {
        Ok(Some((stream, peer))) => {
            // A refusal is an answer, not a reason to fail: whether it is set decides nothing here.
            let _ = stream.set_nodelay(true);
            Ok(Connected {
                stream,
                peer,
                failed: told,
            })
        }
        Ok(None) => Err(Trouble::new(fault_of(&failures, addresses), told.join("; "))),
        Err(_) => {
            let mut told = told;
            told.push(format!(
                "{} did not answer within {} s",
                addresses
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join(", "),
                limit.as_secs_f64()
            ));
            Err(Trouble::new(Fault::TcpTimeout, told.join("; ")))
        }
    }
}

fn why(failure: &io::Error) -> String {
    match failure.kind() {
        io::ErrorKind::ConnectionRefused => "refused".to_owned(),
        io::ErrorKind::TimedOut => "no answer".to_owned(),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "no route".to_owned(),
        _ => failure.to_string(),
    }
}

/// The fault of the attempt that came furthest: a rejection says more than a missing route.
fn fault_of(failures: &[(SocketAddr, io::Error)], addresses: &[IpAddr]) -> Fault {
    let any = |kind: io::ErrorKind| failures.iter().any(|(_, failure)| failure.kind() == kind);
    if any(io::ErrorKind::ConnectionRefused) || any(io::ErrorKind::ConnectionReset) {
        return Fault::TcpRefused;
    }
    if any(io::ErrorKind::TimedOut) {
        return Fault::TcpTimeout;
    }
    let one_family = addresses.iter().all(IpAddr::is_ipv6) && !addresses.is_empty();
    match one_family && addresses.iter().all(|address| !address.is_loopback()) {
        true => Fault::DnsFamily,
        false => Fault::TcpUnreachable,
    }
}

/// What a filter would answer: an address that no public host has.
pub(crate) fn suspicious(address: &IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(four) if four.is_unspecified() => Some("0.0.0.0"),
        IpAddr::V4(four) if four.is_loopback() => Some("a loopback address"),
        IpAddr::V4(four) if four.is_private() || four.is_link_local() => Some("a private address"),
        IpAddr::V6(six) if six.is_unspecified() => Some("::"),
        IpAddr::V6(six) if six.is_loopback() => Some("a loopback address"),
        IpAddr::V6(six) if six.is_unique_local() || six.is_unicast_link_local() => Some("a private address"),
        _ => None,
    }
}

/// Which address each host got, to find one that stands for many unrelated ones.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    hosts: Mutex<HashMap<IpAddr, Vec<String>>>,
}

impl Seen {
    /// Notes the addresses of a host and returns another host, of another domain, with the same one.
    pub fn note(&self, host: &str, addresses: &[IpAddr]) -> Option<String> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut other = None;
        for address in addresses {
            let known = hosts.entry(*address).or_default();
            other = other.or_else(|| {
                known
                    .iter()
                    .find(|known| domain::connectivity::is_foreign(known, host))
                    .cloned()
            });
            if !known.iter().any(|known| known == host) && known.len() < 64 {
                known.push(host.to_owned());
            }
        }
        other
    }
}
