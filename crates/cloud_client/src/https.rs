//! A repository behind a web server.
//!
//! Plain `http:` is allowed, since TUF protects the content; a redirect from `https:` to `http:` is not, since TLS hid
//! what was asked for. Range requests are taken at their word: an answer with other bytes than asked for is an error,
//! never a silent restart.

use std::ops::Range;
use std::time::Duration;

use feed::transport::{ByteStream, encode_name, encode_path};
use feed::{Kind, Response, Transport, TransportError};
use futures_util::future::BoxFuture;
use futures_util::{StreamExt, TryStreamExt};
use reqwest::header::{CONTENT_RANGE, DATE, HeaderMap, RANGE, RETRY_AFTER};
use reqwest::{Client, StatusCode, Url, redirect};

use crate::location::LocationError;
use crate::pace::paced;
use crate::{HttpsOptions, ProxyChoice};

const REDIRECTS_MAX: usize = 5;
/// A server may ask for patience; not for a week of it.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Reads a repository over HTTP or HTTPS.
#[derive(Debug, Clone)]
pub struct HttpsTransport {
    client: Client,
    metadata: Url,
    targets: Url,
    metadata_timeout: Duration,
    pace_window: Duration,
    pace_bytes_min: u64,
}

/// Why the redirect policy stopped; travels inside the HTTP client's error.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct RedirectRefused(&'static str);

impl HttpsTransport {
    /// A transport for the given base URLs, both of which must end in `/`.
    pub fn new(metadata: Url, targets: Url, options: &HttpsOptions) -> Result<Self, LocationError> {
        let plain = metadata.scheme() == "http" && targets.scheme() == "http";
        let client = client(options, plain)?;
        Ok(Self {
            client,
            metadata,
            targets,
            metadata_timeout: options.metadata_timeout,
            pace_window: options.pace_window,
            pace_bytes_min: options.pace_bytes_min,
        })
    }

    /// The HTTP client itself, for other requests to the same vendor with the same roots, proxy and patience.
    pub fn client(&self) -> &Client {
        &self.client
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
        let mut request = self.client.get(url);
        if kind == Kind::Metadata {
            request = request.timeout(self.metadata_timeout);
        }
        if let Some(range) = &range {
            if range.start >= range.end {
                return Err(TransportError::RangeNotSatisfiable { url: shown });
            }
            request = request.header(RANGE, format!("bytes={}-{}", range.start, range.end - 1));
        }
        let response = request.send().await.map_err(|error| failed(&shown, error))?;
        check_status(&response, &shown, range.is_some())?;
        if let Some(range) = &range {
            check_range(response.headers(), range, &shown)?;
        }
        let length = response.content_length();
        let named = shown.clone();
        let body = response
            .bytes_stream()
            .map_err(move |error| failed(&named, error))
            .boxed();
        let body: ByteStream = match kind {
            Kind::Metadata => body,
            Kind::Target => Box::pin(paced(body, shown, self.pace_window, self.pace_bytes_min)),
        };
        Ok(Response { length, body })
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

fn client(options: &HttpsOptions, plain: bool) -> Result<Client, LocationError> {
    let failed = |what| move |source| LocationError::Client { what, source };
    let mut roots = Vec::new();
    for pem in &options.extra_roots_pem {
        let found = reqwest::Certificate::from_pem_bundle(pem);
        let found = found.map_err(failed("a certificate file is not PEM"))?;
        if found.is_empty() {
            return Err(LocationError::NoCertificate);
        }
        roots.extend(found);
    }
    let builder = || {
        let builder = Client::builder()
            .user_agent("tidegate")
            .connect_timeout(options.connect_timeout)
            .read_timeout(options.idle_timeout)
            .redirect(redirect_policy())
            .referer(false);
        match &options.proxy {
            ProxyChoice::System => Ok(builder),
            ProxyChoice::None => Ok(builder.no_proxy()),
            ProxyChoice::Url { url, credentials } => {
                let mut proxy = reqwest::Proxy::all(url).map_err(failed("the proxy is not a URL"))?;
                if let Some((user, password)) = credentials {
                    proxy = proxy.basic_auth(user, password);
                }
                Ok(builder.proxy(proxy))
            }
        }
    };
    match builder()?.tls_certs_merge(roots.clone()).build() {
        Ok(client) => Ok(client),
        // A machine without any certificates of its own can still speak plain HTTP, and HTTPS with the roots given.
        Err(_) if plain || !roots.is_empty() => builder()?
            .tls_certs_only(roots)
            .build()
            .map_err(failed("the client could not be built")),
        Err(source) => Err(failed("no certificates of this system could be loaded")(source)),
    }
}

fn redirect_policy() -> redirect::Policy {
    redirect::Policy::custom(|attempt| {
        let was_secure = attempt.previous().iter().any(|url| url.scheme() == "https");
        if attempt.previous().len() > REDIRECTS_MAX {
            attempt.error(RedirectRefused("there are more than five in a row"))
        } else if was_secure && attempt.url().scheme() != "https" {
            attempt.error(RedirectRefused("it leads from https to http"))
        } else {
            attempt.follow()
        }
    })
}

fn check_status(response: &reqwest::Response, url: &str, ranged: bool) -> Result<(), TransportError> {
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

fn failed(url: &str, error: reqwest::Error) -> TransportError {
    let url = url.to_owned();
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(found) = cause {
        if let Some(RedirectRefused(why)) = found.downcast_ref::<RedirectRefused>() {
            return TransportError::Redirect { url, why };
        }
        cause = found.source();
    }
    if error.is_timeout() {
        return TransportError::Timeout { url };
    }
    // The client's own error repeats the URL, credentials included.
    TransportError::Network {
        url,
        source: Box::new(error.without_url()),
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
