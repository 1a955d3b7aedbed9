//! Where the API is heard: a Unix socket for this machine, HTTPS with a token for others.
//!
//! Who may ask is decided here and nowhere else. The socket is 0600 and the peer's user id is checked
//! beside; over HTTPS every request carries `Authorization: Bearer TOKEN`. Both put the
//! [`Actor`] into the request, so that what was done is recorded with who did it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::in_time::{Changes, looks};
use super::problem::refuse;
use super::under_way::{Open, UnderWay, idle};
use crate::console::Peer;
use crate::service::{Actor, SiteService, network_of};

/// Connections served at the same time on one listener; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 128;
/// Of these, connections of one party (`network_of`) on the HTTPS listener: nobody takes all places.
const CONNECTIONS_OF_ONE_MAX: usize = 24;
/// How often a quiet HTTP/2 connection is asked whether it is still there, and how long it may take to say so.
const ALIVE_EVERY: Duration = Duration::from_secs(20);
const ALIVE_WITHIN: Duration = Duration::from_secs(10);
/// Requests that one connection may have under way; a browser with all pages open has fewer.
const STREAMS_MAX: u32 = 32;
/// Longest time for the head of a request, and for a TLS handshake.
const HEAD_TIME_MAX: Duration = Duration::from_secs(10);
/// Longest time that open requests may take once the site stops.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);
/// Pause after a failed accept (out of file descriptors), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Why the API is not heard.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another process answers on the socket.
    #[error("another process already runs the site of {path}; stop it first, or leave it running and use it")]
    InUse {
        /// Socket.
        path: PathBuf,
    },
    /// The socket cannot be made.
    #[error("cannot listen on the socket {path}")]
    Socket {
        /// Socket.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The path does not fit into a socket address.
    #[error("cannot listen on {path}: the path of a socket has at most 107 bytes; use a shorter --dir")]
    PathTooLong {
        /// Socket.
        path: PathBuf,
    },
    /// The address cannot be bound.
    #[error("cannot listen on {address}; set another address as api.listen in tidegate.toml")]
    Address {
        /// Address.
        address: SocketAddr,
        /// Cause.
        #[source]
        source: io::Error,
    },
}

/// Serves the API on a Unix socket until `shutdown`; then lets open requests end and removes the socket.
///
/// A socket file that nobody listens on any more, left by a killed process, is replaced.
pub async fn serve_unix(router: Router, path: &Path, shutdown: CancellationToken) -> Result<(), ListenError> {
    let listener = bind_unix(path)?;
    let own_user = rustix::process::geteuid().as_raw();
    let gate = Gate::new(router);
    loop {
        let Some(permit) = gate.next_place(&shutdown).await else {
            break;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => break,
        };
        match accepted {
            Ok((stream, _)) => match local_actor(&stream, own_user) {
                Some(actor) => gate.serve(stream, Some(actor), permit),
                None => tracing::warn!("refused a connection of another user on {}", path.display()),
            },
            Err(failure) => after_failed_accept(&failure).await,
        }
        gate.reap();
    }
    drop(listener);
    if let Err(failure) = std::fs::remove_file(path) {
        tracing::debug!("the socket {} is gone already: {failure}", path.display());
    }
    gate.drain().await;
    Ok(())
}

/// Serves a router that demands tokens (see [`with_token`]) over HTTPS until `shutdown`.
pub async fn serve_https(
    router: Router,
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
    shutdown: CancellationToken,
) -> Result<(), ListenError> {
    let acceptor = tokio_rustls::TlsAcceptor::from(tls);
    let gate = Gate::new(router);
    loop {
        let Some(permit) = gate.next_place(&shutdown).await else {
            break;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => gate.serve_tls(acceptor.clone(), stream, peer, permit),
            Err(failure) => after_failed_accept(&failure).await,
        }
        gate.reap();
    }
    drop(listener);
    gate.drain().await;
    Ok(())
}

/// Binds the address of the HTTPS listener.
pub async fn bind_https(address: SocketAddr) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| ListenError::Address { address, source })
}

/// Puts the demand for a token before every route.
pub fn with_token(router: Router, service: Arc<SiteService>) -> Router {
    router.layer(axum::middleware::from_fn_with_state(service, check_token))
}

async fn check_token(State(service): State<Arc<SiteService>>, mut request: Request, next: Next) -> Response {
    if super::health::OPEN.contains(&request.uri().path()) {
        // Answered to anybody, and so without an actor: nothing that acts can be reached this way.
        return next.run(request).await;
    }
    let token = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(bearer_token);
    match token.and_then(|token| service.check_token(token)) {
        Some(actor) => {
            request.extensions_mut().insert::<Actor>(actor);
            next.run(request).await
        }
        None => {
            let problem = refuse(
                StatusCode::UNAUTHORIZED,
                "this API needs a valid token".to_owned(),
                Some("send the header `Authorization: Bearer TOKEN`".to_owned()),
            );
            let challenge = [(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))];
            (challenge, problem).into_response()
        }
    }
}

/// The token of an `Authorization` header; the scheme's case does not matter (RFC 9110, 11.1).
pub(super) fn bearer_token(value: &HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// Listens under a temporary name and renames, so that at no moment somebody else could connect.
fn bind_unix(path: &Path) -> Result<UnixListener, ListenError> {
    // `sun_path` has 108 bytes with its end mark, and the temporary name is three longer.
    if path.as_os_str().len() > 104 {
        return Err(ListenError::PathTooLong {
            path: path.to_owned(),
        });
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => {
            return Err(ListenError::InUse {
                path: path.to_owned(),
            });
        }
        Err(failure) => match failure.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {}
            _ => {
                return Err(ListenError::Socket {
                    path: path.to_owned(),
                    source: failure,
                });
            }
        },
    }
    let socket = |source| ListenError::Socket {
        path: path.to_owned(),
        source,
    };
    let temporary = path.with_extension("new");
    match std::fs::remove_file(&temporary) {
        Err(failure) if failure.kind() != io::ErrorKind::NotFound => return Err(socket(failure)),
        _ => {}
    }
    let listener = UnixListener::bind(&temporary).map_err(socket)?;
    std::fs::set_permissions(&temporary, std::fs::Permissions::from_mode(0o600)).map_err(socket)?;
    std::fs::rename(&temporary, path).map_err(socket)?;
    Ok(listener)
}

/// Who is at the other end of a local connection, if it is this process's user or the superuser.
fn local_actor(stream: &UnixStream, own_user: u32) -> Option<Actor> {
    let user = stream.peer_cred().ok()?.uid();
    (user == own_user || user == 0).then(|| Actor::local(user))
}

async fn after_failed_accept(failure: &io::Error) {
    tracing::warn!("cannot accept an API connection: {failure}");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

/// The connections of one listener.
struct Gate {
    router: Router,
    server: auto::Builder<TokioExecutor>,
    places: Arc<Semaphore>,
    graceful: GracefulShutdown,
    connections: std::sync::Mutex<JoinSet<()>>,
    /// Connections by party.
    of: Arc<std::sync::Mutex<HashMap<IpAddr, usize>>>,
    /// Changes under way: they go on when whoever asked hangs up.
    changes: TaskTracker,
}

/// The place of one connection among those of its party.
struct Share {
    of: Arc<std::sync::Mutex<HashMap<IpAddr, usize>>>,
    party: IpAddr,
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut of = self.of.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(count) = of.get_mut(&self.party) {
            *count -= 1;
            if *count == 0 {
                of.remove(&self.party);
            }
        }
    }
}

type Permit = tokio::sync::OwnedSemaphorePermit;

impl Gate {
    fn new(router: Router) -> Self {
        let mut server = auto::Builder::new(TokioExecutor::new());
        server
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME_MAX);
        server
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_MAX)
            .keep_alive_interval(ALIVE_EVERY)
            .keep_alive_timeout(ALIVE_WITHIN);
        Gate {
            router,
            server,
            places: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            graceful: GracefulShutdown::new(),
            connections: std::sync::Mutex::default(),
            of: Arc::default(),
            changes: TaskTracker::new(),
        }
    }

    /// A place among those of the party of an address, if there is one.
    fn share(&self, address: IpAddr) -> Option<Share> {
        let party = network_of(address);
        let mut of = self.of.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let count = of.entry(party).or_default();
        if *count >= CONNECTIONS_OF_ONE_MAX {
            return None;
        }
        *count += 1;
        drop(of);
        Some(Share {
            of: self.of.clone(),
            party,
        })
    }

    /// A place for one more connection, or none once the site stops.
    async fn next_place(&self, shutdown: &CancellationToken) -> Option<Permit> {
        tokio::select! {
            permit = self.places.clone().acquire_owned() => permit.ok(),
            () = shutdown.cancelled() => None,
        }
    }

    fn serve<S>(&self, stream: S, actor: Option<Actor>, permit: Permit)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let connection = answer(
            self.server.clone(),
            self.graceful.watcher(),
            self.router.clone(),
            self.changes.clone(),
            stream,
            actor,
            None,
        );
        self.connections().spawn(async move {
            connection.await;
            drop(permit);
        });
    }

    fn serve_tls(
        &self,
        acceptor: tokio_rustls::TlsAcceptor,
        stream: tokio::net::TcpStream,
        peer: SocketAddr,
        permit: Permit,
    ) {
        let Some(share) = self.share(peer.ip()) else {
            tracing::debug!(
                "{} has {CONNECTIONS_OF_ONE_MAX} connections; one more is refused",
                peer.ip()
            );
            return;
        };
        let (server, watcher, router) = (self.server.clone(), self.graceful.watcher(), self.router.clone());
        let changes = self.changes.clone();
        self.connections().spawn(async move {
            match tokio::time::timeout(HEAD_TIME_MAX, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => {
                    answer(server, watcher, router, changes, stream, None, Some(Peer(peer))).await
                }
                Ok(Err(failure)) => tracing::debug!("TLS with {peer} failed: {failure}"),
                Err(_) => tracing::debug!("TLS with {peer} took longer than {HEAD_TIME_MAX:?}"),
            }
            drop((permit, share));
        });
    }

    fn connections(&self) -> std::sync::MutexGuard<'_, JoinSet<()>> {
        self.connections
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Forgets connections that have ended.
    fn reap(&self) {
        let mut connections = self.connections();
        while connections.try_join_next().is_some() {}
    }

    /// Lets open requests end, then cuts what is left.
    async fn drain(self) {
        if tokio::time::timeout(DRAIN_TIME_MAX, self.graceful.shutdown())
            .await
            .is_err()
        {
            tracing::warn!("API requests that were still open after {DRAIN_TIME_MAX:?} are cut off");
        }
        self.changes.close();
        if tokio::time::timeout(DRAIN_TIME_MAX, self.changes.wait())
            .await
            .is_err()
        {
            tracing::warn!("changes that were still being made after {DRAIN_TIME_MAX:?} are cut off");
        }
    }
}

/// Answers the requests of one connection.
async fn answer<S>(
    server: auto::Builder<TokioExecutor>,
    watcher: hyper_util::server::graceful::Watcher,
    router: Router,
    changes: TaskTracker,
    stream: S,
    actor: Option<Actor>,
    peer: Option<Peer>,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (under_way, mut seen) = watch::channel(UnderWay::default());
    let service = hyper::service::service_fn(move |request: http::Request<Incoming>| {
        let open = Open::new(&under_way);
        let mut request = request.map(Body::new);
        if let Some(actor) = &actor {
            request.extensions_mut().insert::<Actor>(actor.clone());
        }
        if let Some(peer) = peer {
            request.extensions_mut().insert(peer);
        }
        let router = router.clone();
        let changes = changes.clone();
        request.extensions_mut().insert(Changes(changes.clone()));
        async move {
            let looks = looks(request.method());
            let answering = async move {
                router
                    .oneshot(request)
                    .await
                    .unwrap_or_else(|never| match never {})
            };
            // A change that was begun is finished with all that follows from it, even if nobody waits for the answer.
            let response = match looks {
                true => answering.await,
                false => changes.spawn(answering).await.unwrap_or_else(|_| {
                    refuse(
                        StatusCode::INTERNAL_SERVER_ERROR,
                        "the change was cut off".to_owned(),
                        None,
                    )
                    .into_response()
                }),
            };
            Ok::<_, Infallible>(response.map(|body| open.until_sent(body)))
        }
    });
    let connection = server
        .serve_connection(TokioIo::new(stream), service)
        .into_owned();
    tokio::select! {
        ended = watcher.watch(connection) => if let Err(failure) = ended {
            tracing::debug!("an API connection ended: {failure}");
        },
        () = idle(&mut seen, HEAD_TIME_MAX) => tracing::debug!("a connection on which nothing is asked is closed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::under_way::IDLE_TIME_MAX;

    #[test]
    fn tokens_in_headers() {
        let check = |header: &str, expected: Option<&str>| {
            assert_eq!(
                bearer_token(&HeaderValue::from_str(header).unwrap()),
                expected,
                "{header}"
            );
        };
        check("Bearer abc", Some("abc"));
        check("bearer  abc ", Some("abc"));
        check("Basic abc", None);
        check("Bearer", None);
        check("Bearer ", None);
    }

    #[test]
    fn a_network_of_one_party_has_the_places_of_one() {
        let gate = Gate::new(Router::new());
        let shares: Vec<_> = (0..100_u16)
            .filter_map(|host| gate.share(format!("2001:db8::{host:x}:1").parse().unwrap()))
            .collect();
        assert_eq!(shares.len(), CONNECTIONS_OF_ONE_MAX);
        assert!(gate.share("2001:db8:0:1::1".parse().unwrap()).is_some());
        drop(shares);
        assert!(gate.of.lock().unwrap().is_empty(), "places are given back");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_only_answers_pings_is_closed_after_some_minutes() {
        let router = Router::new()
            .route("/", axum::routing::get(async || "here"))
            .route(
                "/slow",
                axum::routing::get(async || {
                    tokio::time::sleep(2 * IDLE_TIME_MAX).await;
                    "whole"
                }),
            );
        let gate = Gate::new(router);
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        gate.serve(theirs, None, gate.places.clone().acquire_owned().await.unwrap());
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(ours))
                .await
                .unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(connection);
        let begun = tokio::time::Instant::now();
        for path in ["/", "/slow"] {
            let request = http::Request::get(format!("http://site{path}")).body(String::new());
            let answer = sender.send_request(request.unwrap()).await.unwrap();
            let body = http_body_util::BodyExt::collect(answer.into_body())
                .await
                .unwrap();
            assert!(!body.to_bytes().is_empty(), "what is under way is no idleness");
        }
        let _closed = tasks.join_next().await.unwrap();
        let took = begun.elapsed();
        assert!((3 * IDLE_TIME_MAX..4 * IDLE_TIME_MAX).contains(&took), "{took:?}");
    }
}
