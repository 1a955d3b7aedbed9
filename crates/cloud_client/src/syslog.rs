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
                let addresses = tokio::net::lookup_host((host.as_str(), *port)).await?.collect();
                send_to_one(line, in_order(addresses)).await
            }
        }
    }
}

/// Addresses in the order of the resolver, but of this machine's own first those of IPv4: where system logs listen.
fn in_order(mut addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    addresses.sort_by_key(|address| address.ip().is_loopback() && address.is_ipv6());
    addresses
}

/// Hands a line to the first address that takes it; the last failure is told.
async fn send_to_one(line: &[u8], addresses: Vec<SocketAddr>) -> std::io::Result<()> {
    let mut sent = Err(std::io::Error::other("its name has no address"));
    for server in addresses {
        sent = send_to(line, server).await;
        if sent.is_ok() {
            break;
        }
    }
    sent
}

async fn send_to(line: &[u8], server: SocketAddr) -> std::io::Result<()> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    // Connected, so that a machine without such a server is noticed where it can be.
    socket.connect(server).await?;
    socket.send(line).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_next_address_is_tried_where_one_takes_nothing() {
        let log = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        // To everybody no datagram leaves from a socket that was not told so.
        let nowhere: SocketAddr = "255.255.255.255:514".parse().unwrap();
        let addresses = vec![nowhere, log.local_addr().unwrap()];
        send_to_one(b"line", addresses).await.unwrap();
        let mut came = [0; 10];
        let length = log.recv(&mut came).await.unwrap();
        assert_eq!(&came[..length], b"line");
        assert!(send_to_one(b"line", vec![nowhere]).await.is_err());
        assert!(send_to_one(b"line", Vec::new()).await.is_err());
    }

    #[test]
    fn this_machine_is_spoken_to_over_ipv4_first() {
        let order = |addresses: &[&str]| {
            let parsed = addresses.iter().map(|address| address.parse().unwrap()).collect();
            let ordered = in_order(parsed);
            ordered.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(
            order(&["[::1]:514", "127.0.0.1:514"]),
            ["127.0.0.1:514", "[::1]:514"]
        );
        let others = ["[2001:db8::1]:514", "192.0.2.1:514"];
        assert_eq!(order(&others), others);
    }
}
