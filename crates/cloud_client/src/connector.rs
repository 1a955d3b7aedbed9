//! The connections of real traffic, for the HTTP client: direct or through the proxy, strict TLS.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use domain::connectivity::Fault;
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio_rustls::TlsConnector;

use crate::dial::{Trouble, connect};
use crate::proxy::Request;
use crate::way::{Stream, WayOut};

/// Where the wall clock is read; NTLM wants the time of day.
pub type WallClock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Makes connections.
#[derive(Clone)]
pub(crate) struct Connector {
    way: Arc<WayOut>,
    tls: Arc<ClientConfig>,
    clock: WallClock,
}

/// Why there is no connection: the fault by code, with its evidence.
#[derive(Debug, thiserror::Error)]
#[error("{}: {evidence}", .fault.code())]
pub(crate) struct ConnectError {
    pub fault: Fault,
    pub evidence: String,
}

impl From<Trouble> for ConnectError {
    fn from(trouble: Trouble) -> Self {
        ConnectError {
            fault: trouble.fault,
            evidence: trouble.evidence,
        }
    }
}

impl Connector {
    pub fn new(way: Arc<WayOut>, clock: WallClock) -> Result<Self, rustls::Error> {
        let tls = crate::tls::strict(&way.roots)?;
        Ok(Connector { way, tls, clock })
    }

    async fn connect(self, uri: Uri) -> Result<Line, ConnectError> {
        let secure = uri.scheme_str() == Some("https");
        let host = uri
            .host()
            .unwrap_or_default()
            .trim_matches(['[', ']'])
            .to_ascii_lowercase();
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let proxy = self
            .way
            .proxy
            .as_deref()
            .filter(|proxy| !proxy.settings.bypasses(&host));
        let stream: Box<dyn Stream> = match proxy {
            Some(proxy) => {
                let authority = match host.contains(':') {
                    true => format!("[{host}]:{port}"),
                    false => format!("{host}:{port}"),
                };
                // Plain HTTP is tunnelled too: what is read there is signed, and the client's requests
                // then need no credentials.
                let opened = self
                    .way
                    .tunnel(proxy, &authority, Request::Connect, (self.clock)())
                    .await?;
                opened.stream
            }
            None => {
                let addresses = self.way.resolver.addresses(&host, self.way.limits.dns).await?;
                let connected = connect(&addresses, port, self.way.limits.tcp).await?;
                Box::new(connected.stream)
            }
        };
        if !secure {
            return Ok(Line {
                io: TokioIo::new(stream),
                h2: false,
            });
        }
        let failed = |evidence: String| ConnectError {
            fault: Fault::TlsFailed,
            evidence,
        };
        let name = ServerName::try_from(host.clone()).map_err(|_| failed(format!("{host} is no name")))?;
        let handshake = TlsConnector::from(self.tls.clone()).connect(name, stream);
        let stream = tokio::time::timeout(self.way.limits.tls, handshake)
            .await
            .map_err(|_| failed("silence after the ClientHello".into()))?
            .map_err(|failure| failed(failure.to_string()))?;
        let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let stream: Box<dyn Stream> = Box::new(stream);
        Ok(Line {
            io: TokioIo::new(stream),
            h2,
        })
    }
}

impl tower::Service<Uri> for Connector {
    type Response = Line;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Line, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

/// A connection as the HTTP client wants it.
pub(crate) struct Line {
    io: TokioIo<Box<dyn Stream>>,
    h2: bool,
}

impl Connection for Line {
    fn connected(&self) -> Connected {
        let connected = Connected::new();
        match self.h2 {
            true => connected.negotiated_h2(),
            false => connected,
        }
    }
}

impl Read for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl Write for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
