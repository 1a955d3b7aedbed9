//! A repository behind a web server.
//!
//! Plain `http:` is allowed, since TUF protects the content; a redirect from `https:` to `http:` is not, since TLS hid
//! what was asked for. Range requests are taken at their word: an answer with other bytes than asked for is an error,
//! never a silent restart.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::connectivity::Fault;
use feed::transport::{ByteStream, encode_name, encode_path};
use feed::{Kind, Response, Transport, TransportError};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, Stream};
use http::header::{
    CONTENT_LENGTH, CONTENT_RANGE, DATE, HeaderMap, HeaderValue, LOCATION, RANGE, RETRY_AFTER, USER_AGENT,
};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use url::Url;

use crate::HttpsOptions;
use crate::connector::{ConnectError, Connector};
use crate::dial::Resolver;
use crate::location::LocationError;
use crate::pace::paced;
use crate::tls::Roots;
use crate::way::WayOut;

const REDIRECTS_MAX: usize = 5;
/// How long an unused connection is kept.
const POOL_IDLE: Duration = Duration::from_secs(90);
/// Bytes that may be under way per request over HTTP/2.
const WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// Longest frame: each costs a wake-up, the 16 KiB of the default a great many.
const FRAME_BYTES: u32 = 256 * 1024;
/// A server may ask for patience; not for a week of it.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Reads a repository over HTTP or HTTPS.
#[derive(Debug, Clone)]
pub struct HttpsTransport {
    client: Client<Connector, Empty<Bytes>>,
    metadata: Url,
    targets: Url,
    metadata_timeout: Duration,
    idle_timeout: Duration,
    pace_window: Duration,
    pace_bytes_min: u64,
}

impl HttpsTransport {
    /// A transport for the given base URLs, both of which must end in `/`.
    pub fn new(metadata: Url, targets: Url, options: &HttpsOptions) -> Result<Self, LocationError> {
        let client = client(options)?;
        Ok(Self {
            client,
            metadata,
            targets,
            metadata_timeout: options.metadata_timeout,
            idle_timeout: options.idle_timeout,
            pace_window: options.pace_window,
            pace_bytes_min: options.pace_bytes_min,
        })
    }

    fn url(&self, kind: Kind, path: &str) -> Result<Url, TransportError> {
        let (base, encoded) = match kind {
            Kind::Metadata => (&self.metadata, encode_name(path)),
            Kind::Target => (&self.targets, encode_path(path)?),
        };
        // A plain join would take `a:b` for a scheme and `//x` for a host; appending cannot.
        Url::parse(&format!("{base}{encoded}")).map_err(|_| TransportError::InvalidPath {
            path: path.to_owned(),
        })
    }

    async fn request(
        &self,
        kind: Kind,
        path: &str,
        range: Option<Range<u64>>,
    ) -> Result<Response, TransportError> {
        let url = self.url(kind, path)?;
        let shown = display(&url);
        let range_header = match &range {
            Some(range) if range.start >= range.end => {
                return Err(TransportError::RangeNotSatisfiable { url: shown });
            }
            Some(range) => Some(format!("bytes={}-{}", range.start, range.end - 1)),
            None => None,
        };
        let answering = self.follow(url, range_header.as_deref());
        let limit = match kind {
            Kind::Metadata => self.metadata_timeout,
            Kind::Target => self.idle_timeout,
        };
        let started = tokio::time::Instant::now();
        let response = tokio::time::timeout(limit, answering)
            .await
            .map_err(|_| TransportError::Timeout { url: shown.clone() })??;
        check_status(&response, &shown, range.is_some())?;
        if let Some(range) = &range {
            check_range(response.headers(), range, &shown)?;
        }
        let length = response.headers().get(CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        let body = silence_bounded(response.into_body(), shown.clone(), self.idle_timeout);
        let body: ByteStream = match kind {
            Kind::Metadata => Box::pin(deadline_bounded(body, shown, started + self.metadata_timeout)),
            Kind::Target => Box::pin(paced(body, shown, self.pace_window, self.pace_bytes_min)),
        };
        Ok(Response { length, body })
    }

    /// Asks, and asks again where the answer sends on: never from `https:` to `http:`.
    async fn follow(
        &self,
        url: Url,
        range: Option<&str>,
    ) -> Result<http::Response<Incoming>, TransportError> {
        let (mut url, mut secure) = (url, false);
        for _ in 0..=REDIRECTS_MAX {
            let shown = display(&url);
            secure |= url.scheme() == "https";
            let mut request = Request::get(url.as_str()).header(USER_AGENT, "tidegate");
            if let Some(range) = range {
                request = request.header(
                    RANGE,
                    HeaderValue::from_str(range).unwrap_or(HeaderValue::from_static("")),
                );
            }
            let request = request
                .body(Empty::new())
                .map_err(|failure| TransportError::Network {
                    url: shown.clone(),
                    source: Box::new(failure),
                })?;
            let response = self
                .client
                .request(request)
                .await
                .map_err(|failure| failed(&shown, failure))?;
            let sends_on = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
            let Some(location) = response.headers().get(LOCATION).filter(|_| sends_on) else {
                return Ok(response);
            };
            let refused = |why| TransportError::Redirect {
                url: shown.clone(),
                why,
            };
            let to = location
                .to_str()
                .ok()
                .and_then(|location| url.join(location).ok());
            url = to.ok_or_else(|| refused("it leads to something that is no address"))?;
            match url.scheme() {
                "https" => {}
                "http" if !secure => {}
                "http" => return Err(refused("it leads from https to http")),
                _ => return Err(refused("it leads to another protocol")),
            }
        }
        Err(TransportError::Redirect {
            url: display(&url),
            why: "there are more than five in a row",
        })
    }
}

impl Transport for HttpsTransport {
    fn fetch<'a>(
        &'a self,
        kind: Kind,
        path: &'a str,
        range: Option<Range<u64>>,
    ) -> BoxFuture<'a, Result<Response, TransportError>> {
        Box::pin(self.request(kind, path, range))
    }
}

/// A client whose connections go the one way out.
pub(crate) fn client<B>(options: &HttpsOptions) -> Result<Client<Connector, B>, LocationError>
where
    B: http_body::Body + Send,
    B::Data: Send,
{
    let roots = Roots::load(&options.extra_roots_pem).map_err(LocationError::Roots)?;
    let mut way = WayOut::new(
        roots,
        options.proxy.clone(),
        Resolver::system(options.connect_timeout / 2)?,
    );
    way.limits.dns = options.connect_timeout / 2;
    way.limits.tcp = options.connect_timeout;
    way.limits.tls = options.connect_timeout;
    let connector = Connector::new(Arc::new(way), options.clock.clone()).map_err(LocationError::Tls)?;
    Ok(Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(POOL_IDLE)
        // Large windows: a long fat link would otherwise wait for acknowledgements.
        .http2_initial_stream_window_size(WINDOW_BYTES)
        .http2_initial_connection_window_size(WINDOW_BYTES * 4)
        .http2_max_frame_size(FRAME_BYTES)
        .http2_keep_alive_interval(options.idle_timeout / 2)
        .http2_keep_alive_timeout(options.idle_timeout / 2)
        .build(connector))
}

/// A body that may not be silent for longer than this.
fn silence_bounded(
    body: Incoming,
    url: String,
    limit: Duration,
) -> BoxStream<'static, Result<Bytes, TransportError>> {
    let chunks = stream::unfold(Some(body.into_data_stream()), move |chunks| {
        let url = url.clone();
        async move {
            let mut chunks = chunks?;
            match tokio::time::timeout(limit, chunks.next()).await {
                Ok(Some(Ok(chunk))) => Some((Ok(chunk), Some(chunks))),
                Ok(Some(Err(failure))) => {
                    let source = Box::new(failure);
                    Some((Err(TransportError::Network { url, source }), None))
                }
                Ok(None) => None,
                Err(_) => Some((Err(TransportError::Timeout { url }), None)),
            }
        }
    });
    chunks.boxed()
}

/// A body that must have ended by then.
fn deadline_bounded(
    body: BoxStream<'static, Result<Bytes, TransportError>>,
    url: String,
    end: tokio::time::Instant,
) -> impl Stream<Item = Result<Bytes, TransportError>> + Send + 'static {
    stream::unfold(Some(body), move |body| {
        let url = url.clone();
        async move {
            let mut body = body?;
            match tokio::time::timeout_at(end, body.next()).await {
                Ok(item) => item.map(|item| (item, Some(body))),
                Err(_) => Some((Err(TransportError::Timeout { url }), None)),
            }
        }
    })
}

fn check_status(response: &http::Response<Incoming>, url: &str, ranged: bool) -> Result<(), TransportError> {
    let url = url.to_owned();
    match response.status() {
        StatusCode::PARTIAL_CONTENT if ranged => Ok(()),
        StatusCode::PARTIAL_CONTENT => Err(TransportError::Status {
            url,
            code: 206,
            retry_after: None,
        }),
        StatusCode::OK if ranged => Err(TransportError::RangeIgnored { url }),
        StatusCode::OK => Ok(()),
        StatusCode::NOT_FOUND => Err(TransportError::NotFound { url }),
        StatusCode::RANGE_NOT_SATISFIABLE if ranged => Err(TransportError::RangeNotSatisfiable { url }),
        status => {
            let retry_after = retry_after(response.headers());
            Err(TransportError::Status {
                url,
                code: status.as_u16(),
                retry_after,
            })
        }
    }
}

/// The range that was delivered must start where it was asked for and not go beyond it.
fn check_range(headers: &HeaderMap, asked: &Range<u64>, url: &str) -> Result<(), TransportError> {
    let delivered = headers
        .get(CONTENT_RANGE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("bytes "))
        .and_then(|value| value.split_once('/'))
        .and_then(|(range, _)| range.split_once('-'))
        .and_then(|(first, last)| Some((first.parse::<u64>().ok()?, last.parse::<u64>().ok()?)));
    match delivered {
        Some((first, last)) if first == asked.start && last < asked.end && last >= first => Ok(()),
        _ => Err(TransportError::RangeIgnored { url: url.to_owned() }),
    }
}

/// `Retry-After` in seconds, or as a date measured against the server's own clock.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let until = httpdate::parse_http_date(text).ok()?;
            let from = httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()?;
            until.duration_since(from).unwrap_or(Duration::ZERO)
        }
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

fn failed(url: &str, error: hyper_util::client::legacy::Error) -> TransportError {
    let url = url.to_owned();
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(found) = cause {
        if let Some(connect) = found.downcast_ref::<ConnectError>() {
            let source = ConnectError {
                fault: connect.fault,
                evidence: connect.evidence.clone(),
            };
            return match connect.fault {
                Fault::TcpTimeout | Fault::DnsTimeout => TransportError::Timeout { url },
                _ => TransportError::Network {
                    url,
                    source: Box::new(source),
                },
            };
        }
        cause = found.source();
    }
    TransportError::Network {
        url,
        source: Box::new(error),
    }
}

/// A URL as it may be shown: without user name, password, query and fragment.
pub(crate) fn display(url: &Url) -> String {
    let mut url = url.clone();
    // These fail only for URLs that cannot have any of it.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}
