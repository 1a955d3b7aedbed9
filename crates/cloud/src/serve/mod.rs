//! `cloud serve`: our own HTTPS server for the static files of a feed.
//!
//! Any other web server, bucket or folder does as well; this one exists so that a vendor can begin with one program.
//! Beside them it serves the intake of usage data, where the service has one. It refuses everything else that is not a
//! file below `metadata/` or `targets/`, holds bounded memory per connection and
//! a bounded number of connections, and owns every task it starts.

mod body;
mod idle;
mod range;
mod resource;
mod respond;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http::header;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::intake::Intake;

pub(crate) use respond::Body;

/// Connections held at once; further ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 1024;
/// A handshake or a request header that takes longer comes from nobody who wants the file.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
const HEADER_TIMEOUT: Duration = Duration::from_secs(15);
/// Longer than any pause of a working client on a bad line, shorter than what exhausts the connections.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// How long running responses may go on after the server was asked to stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Requests at once on one HTTP/2 connection.
const STREAMS_MAX: u32 = 64;

/// Certificate chain and private key, both PEM.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The server's certificate, followed by those above it if there are any.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// What to serve and where.
#[derive(Clone)]
pub struct ServeOptions {
    /// The folder that holds `metadata/` and `targets/`.
    pub repository: PathBuf,
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// None serves plain HTTP, for a proxy in front or for tests.
    pub tls: Option<TlsFiles>,
    /// Takes usage data.
    pub intake: Option<Arc<Intake>>,
}

/// What every connection serves.
enum Served {
    /// The static files of a feed, and the intake of usage data.
    Feed {
        repository: Arc<Path>,
        intake: Option<Arc<Intake>>,
    },
    /// The console.
    Console(Router),
}

impl Served {
    async fn respond(&self, request: http::Request<Incoming>) -> http::Response<Body> {
        match self {
            Served::Feed {
                intake: Some(intake), ..
            } if request.uri().path().starts_with(crate::intake::PREFIX) => {
                crate::intake::respond(intake, request).await
            }
            Served::Feed { repository, .. } => respond::respond(repository, &request).await,
            Served::Console(router) => {
                let request = request.map(axum::body::Body::new);
                let answer = router.clone().oneshot(request).await;
                let answer = answer.unwrap_or_else(|never| match never {});
                answer.map(|body| body.map_err(io::Error::other).boxed_unsync())
            }
        }
    }
}

/// Why the server could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The repository folder is missing.
    #[error("there is no feed to serve in {}; create one with `tidegate cloud init`", folder.display())]
    Repository {
        /// The folder.
        folder: PathBuf,
        /// The failure below.
        #[source]
        source: io::Error,
    },
    /// Certificate or key unusable.
    #[error("could not use {} for TLS: {detail}", path.display())]
    Tls {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The address is not to be had.
    #[error("could not listen on {address}; is another server running there?")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// The failure below.
        #[source]
        source: io::Error,
    },
}

/// Serves until `shutdown` is cancelled. The address in use is sent through `bound` once connections are accepted.
pub async fn serve(
    options: ServeOptions,
    bound: oneshot::Sender<SocketAddr>,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let missing = |source| ServeError::Repository {
        folder: options.repository.clone(),
        source,
    };
    let repository: Arc<Path> = options.repository.canonicalize().map_err(missing)?.into();
    std::fs::metadata(repository.join("metadata")).map_err(missing)?;
    let acceptor = options.tls.as_ref().map(acceptor).transpose()?;
    let refused = |source| ServeError::Listen {
        address: options.listen,
        source,
    };
    let listener = TcpListener::bind(options.listen).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    tracing::info!(%address, tls = acceptor.is_some(), repository = %repository.display(), "serving the feed");
    // Nobody may be interested in the address.
    let _ = bound.send(address);
    let served = Arc::new(Served::Feed {
        repository,
        intake: options.intake,
    });
    accept_all(&listener, &served, acceptor, &shutdown).await;
    tracing::info!(%address, "stopped serving the feed");
    Ok(())
}

/// Serves the console over HTTPS until `shutdown`. The address in use is sent through `bound`.
pub async fn serve_console(
    console: Router,
    listen: SocketAddr,
    tls: &TlsFiles,
    bound: oneshot::Sender<SocketAddr>,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let acceptor = acceptor(tls)?;
    let refused = |source| ServeError::Listen {
        address: listen,
        source,
    };
    let listener = TcpListener::bind(listen).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    // Nobody may be interested in the address.
    let _ = bound.send(address);
    let served = Arc::new(Served::Console(console));
    accept_all(&listener, &served, Some(acceptor), &shutdown).await;
    Ok(())
}

async fn accept_all(
    listener: &TcpListener,
    served: &Arc<Served>,
    acceptor: Option<TlsAcceptor>,
    shutdown: &CancellationToken,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut tasks = JoinSet::new();
    let streams = TaskTracker::new();
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            () = shutdown.cancelled() => break,
            Some(ended) = tasks.join_next() => {
                report(ended);
                continue;
            }
            accepted = accepted => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, or a client that left at once: neither ends the server.
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (served, acceptor, shutdown) = (Arc::clone(served), acceptor.clone(), shutdown.clone());
        let streams = Tracked(streams.clone());
        tasks.spawn(async move {
            let _place = place;
            // Responses are written whole; waiting to fill a segment only adds a round trip.
            let _ = stream.set_nodelay(true);
            match acceptor {
                None => connection(stream, peer, served, streams, shutdown).await,
                Some(acceptor) => {
                    match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
                        Ok(Ok(stream)) => connection(stream, peer, served, streams, shutdown).await,
                        Ok(Err(error)) => tracing::debug!(%peer, %error, "TLS handshake failed"),
                        Err(_) => tracing::debug!(%peer, "TLS handshake took too long"),
                    }
                }
            }
        });
    }
    let drained = async {
        while let Some(ended) = tasks.join_next().await {
            report(ended);
        }
    };
    if tokio::time::timeout(DRAIN_TIMEOUT, drained).await.is_err() {
        tracing::warn!("some responses did not end in time and are broken off");
    }
    tasks.shutdown().await;
    // Without their connections these end at once; one that cannot must not keep the program from ending.
    streams.close();
    if tokio::time::timeout(DRAIN_TIMEOUT, streams.wait()).await.is_err() {
        tracing::warn!("some HTTP/2 streams did not end");
    }
}

/// Runs the streams of HTTP/2 connections as tasks that the server waits for.
#[derive(Clone)]
struct Tracked(TaskTracker);

impl<F> hyper::rt::Executor<F> for Tracked
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, stream: F) {
        self.0.spawn(stream);
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection failed inside the server");
    }
}

async fn connection<S>(
    stream: S,
    peer: SocketAddr,
    served: Arc<Served>,
    streams: Tracked,
    shutdown: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: http::Request<Incoming>| {
        let served = Arc::clone(&served);
        async move {
            let (method, path) = (request.method().clone(), request.uri().path().to_owned());
            let version = request.version();
            let range = request.headers().get(header::RANGE).cloned();
            let response = served.respond(request).await;
            let announced = response.headers().get(header::CONTENT_LENGTH);
            tracing::info!(
                %peer,
                %method,
                %path,
                ?version,
                range = range.as_ref().and_then(|range| range.to_str().ok()),
                status = response.status().as_u16(),
                bytes = announced.and_then(|length| length.to_str().ok()).unwrap_or("0"),
                "request"
            );
            Ok::<_, Infallible>(response)
        }
    });
    let mut builder = auto::Builder::new(streams);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(64 * 1024)
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(32 * 1024);
    let io = TokioIo::new(idle::Idle::new(stream, IDLE_TIMEOUT));
    let mut connection = std::pin::pin!(builder.serve_connection(io, service));
    let mut stopping = false;
    let ended = loop {
        tokio::select! {
            ended = connection.as_mut() => break ended,
            () = shutdown.cancelled(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "connection ended early");
    }
}

/// TLS 1.2 and 1.3, HTTP/2 offered before HTTP/1.1.
fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, ServeError> {
    let refuse = |path: &Path| {
        let path = path.to_owned();
        move |detail: String| ServeError::Tls { path, detail }
    };
    let certificate = |error: String| refuse(&files.certificate)(error);
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect)
        .map_err(|error| certificate(error.to_string()))?;
    if chain.is_empty() {
        return Err(certificate("it holds no certificate".to_owned()));
    }
    let key =
        PrivateKeyDer::from_pem_file(&files.key).map_err(|error| refuse(&files.key)(error.to_string()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| certificate(error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| certificate(error.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
