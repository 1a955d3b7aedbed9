//! The one way out: trusted roots, the proxy or none, name servers, patience. Everything that leaves this
//! machine goes through here, checks and real traffic alike.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use domain::connectivity::{Fault, judge_connect};
use jiff::Timestamp;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::dial::{Resolver, Trouble, connect};
use crate::head::Head;
use crate::proxy::{Proxy, Request, Route, TunnelError, open};
use crate::tls::Roots;

/// A byte stream, whatever it runs over.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// How long each phase may take, and how much happens at a time (internet-access, section 6; more hosts
/// at once than there, so that a hundred that hang cost one time-out and not thirteen).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Looking up a name.
    pub dns: Duration,
    /// A connection.
    pub tcp: Duration,
    /// A handshake, and the proxy's answer.
    pub tls: Duration,
    /// The head of an answer.
    pub http: Duration,
    /// The whole run.
    pub whole: Duration,
    /// Addresses at a time; each has one socket, or one more for a name server.
    pub at_once: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            dns: Duration::from_secs(5),
            tcp: Duration::from_secs(10),
            tls: Duration::from_secs(10),
            http: Duration::from_secs(20),
            whole: Duration::from_secs(120),
            at_once: 128,
        }
    }
}

/// Roots, proxy, name servers and limits of everything that goes out.
#[derive(Debug, Clone)]
pub struct WayOut {
    /// Trusted roots.
    pub roots: Roots,
    /// The one proxy, or a direct way.
    pub proxy: Option<Arc<Proxy>>,
    /// Name servers.
    pub resolver: Resolver,
    /// Limits.
    pub limits: Limits,
}

/// A way through the proxy.
pub(crate) struct Tunnel {
    pub stream: Box<dyn Stream>,
    /// What the proxy answered, or for plain HTTP the endpoint.
    pub head: Head,
    /// The proxy's address.
    pub peer: SocketAddr,
}

impl WayOut {
    /// A way with the usual limits.
    pub fn new(roots: Roots, proxy: Option<Arc<Proxy>>, resolver: Resolver) -> Self {
        WayOut {
            roots,
            proxy,
            resolver,
            limits: Limits::default(),
        }
    }

    /// Opens a way through the proxy, TLS to it and authentication included.
    pub(crate) async fn tunnel(
        &self,
        proxy: &Proxy,
        authority: &str,
        request: Request<'_>,
        now: Timestamp,
    ) -> Result<Tunnel, Trouble> {
        let settings = &proxy.settings;
        let addresses = self.resolver.addresses(&settings.host, self.limits.dns).await;
        let addresses = addresses.map_err(|trouble| Trouble::new(Fault::ProxyDns, trouble.evidence))?;
        let reach = || async {
            let connected = connect(&addresses, settings.port, self.limits.tcp).await;
            let connected = connected.map_err(|trouble| Trouble::new(Fault::ProxyTcp, trouble.evidence))?;
            let peer = connected.peer;
            let stream: Box<dyn Stream> = match settings.tls {
                true => self.secure_proxy(&settings.host, connected.stream).await?,
                false => Box::new(connected.stream),
            };
            Ok::<_, Trouble>((stream, peer))
        };
        let (first, peer) = reach().await?;
        let again = || async {
            let again = reach().await.map(|(stream, _)| stream);
            again.map_err(|trouble| std::io::Error::other(trouble.evidence))
        };
        let route = Route {
            proxy,
            authority,
            request,
            now,
        };
        // The proxy resolves, connects and authenticates meanwhile: it gets the time of all three.
        let limit = self.limits.tls + self.limits.tcp;
        match tokio::time::timeout(limit, open(first, again, &route)).await {
            Ok(Ok(opened)) => Ok(Tunnel {
                stream: opened.stream,
                head: opened.head,
                peer,
            }),
            Ok(Err(failure)) => Err(proxy_trouble(&failure)),
            Err(_) => Err(Trouble::new(
                Fault::ProxyTimeout,
                format!(
                    "no answer to the request for {authority} within {} s",
                    limit.as_secs_f64()
                ),
            )),
        }
    }

    /// TLS to the proxy itself, checked strictly: credentials go there.
    pub(crate) async fn secure_proxy(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<Box<dyn Stream>, Trouble> {
        let failed = |text: String| Trouble::new(Fault::ProxyTls, text);
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| failed(format!("{host} can stand in no certificate")))?;
        let mut config = crate::tls::strict(&self.roots)
            .map(|config| (*config).clone())
            .map_err(|failure| failed(failure.to_string()))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let connecting = TlsConnector::from(Arc::new(config)).connect(name, stream);
        match tokio::time::timeout(self.limits.tls, connecting).await {
            Ok(Ok(stream)) => Ok(Box::new(stream)),
            Ok(Err(failure)) => Err(failed(failure.to_string())),
            Err(_) => Err(failed("no answer to the ClientHello".into())),
        }
    }
}

/// The fault of a tunnel that did not open.
fn proxy_trouble(failure: &TunnelError) -> Trouble {
    let fault = match failure {
        TunnelError::Again(_) | TunnelError::Broken(_) => Fault::ProxyTcp,
        TunnelError::Ticket(_) => Fault::ProxyAuthRequired,
        TunnelError::TicketRefused => Fault::ProxyAuthRejected,
        TunnelError::AuthRequired { .. } => Fault::ProxyAuthRequired,
        TunnelError::AuthRejected { .. } | TunnelError::AuthSpared { .. } => Fault::ProxyAuthRejected,
        TunnelError::AuthScheme { .. } | TunnelError::Unanswerable { .. } => Fault::ProxyAuthScheme,
        TunnelError::Refused { status, .. } => judge_connect(*status).unwrap_or(Fault::ProxyDenied),
        TunnelError::Head(_) => Fault::NotAProxy,
    };
    let cause = std::error::Error::source(failure).map(|cause| format!(": {cause}"));
    Trouble::new(fault, format!("{failure}{}", cause.unwrap_or_default()))
}
