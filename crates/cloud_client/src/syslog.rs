//! Hands one line to a system log: the local socket, or a server over UDP. A datagram that left counts as delivered;
//! the protocol has no receipts.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::{UdpSocket, UnixDatagram};

/// Where a line goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SyslogServer {
    /// A socket of this machine.
    Local(PathBuf),
    /// A server: name or address, and port.
    Udp(String, u16),
}

/// Why a line was not taken.
#[derive(Debug, thiserror::Error)]
#[error("the system log {server} does not take a line: {source}")]
pub struct SyslogError {
    server: String,
    #[source]
    source: std::io::Error,
}

impl std::fmt::Display for SyslogServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SyslogServer::Local(path) => write!(f, "{}", path.display()),
            SyslogServer::Udp(host, port) => write!(f, "udp://{host}:{port}"),
        }
    }
}

impl SyslogServer {
    /// Sends one line, within so much time.
    pub async fn send(&self, line: &str, patience: Duration) -> Result<(), SyslogError> {
        let sent = match tokio::time::timeout(patience, self.hand_over(line.as_bytes())).await {
            Ok(sent) => sent,
            Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
        };
        sent.map_err(|source| SyslogError {
            server: self.to_string(),
            source,
        })
    }

    async fn hand_over(&self, line: &[u8]) -> std::io::Result<()> {
        match self {
            SyslogServer::Local(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.send_to(line, path).await.map(drop)
            }
            SyslogServer::Udp(host, port) => {
                let mut addresses = tokio::net::lookup_host((host.as_str(), *port)).await?;
                let server = addresses
                    .next()
                    .ok_or_else(|| std::io::Error::other("its name has no address"))?;
                let any: SocketAddr = match server {
                    SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                    SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
                };
                let socket = UdpSocket::bind(any).await?;
                // Connected, so that a machine without such a server is noticed where it can be.
                socket.connect(server).await?;
                socket.send(line).await.map(drop)
            }
        }
    }
}
