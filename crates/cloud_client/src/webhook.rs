//! Tells a web address of something: one POST, the same way out as everything else, no redirects.
//!
//! Addresses of this kind often carry a token in their path; what is said of a failure names the host and no more.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderName, HeaderValue, Method, Request};
use http_body_util::Full;
use url::Url;

use crate::HttpsOptions;
use crate::exchange::{Exchange, NoAnswer, quoted, retry_after};
use crate::location::LocationError;

/// Longest answer that is read.
const ANSWER_BYTES_MAX: usize = 16 * 1024;
/// A server may ask for patience; not for more than this.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60 * 60);

/// A way to web addresses that are told something.
#[derive(Debug, Clone)]
pub struct Webhook(Exchange);

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// There was none.
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
    /// An answer that is no success.
    #[error("{host} answered {status}: {why}")]
    Answer {
        /// Host that was asked.
        host: String,
        /// Status code.
        status: u16,
        /// Its words.
        why: String,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
}

impl WebhookError {
    /// Whether the same request may succeed later. Answers that speak of the request itself stay what they are.
    pub fn may_pass(&self) -> bool {
        match self {
            WebhookError::NoAnswer(_) => true,
            WebhookError::Answer { status, .. } => {
                // A wrong token or address is mended by a person, and then the same alert is taken.
                !matches!(status, 400 | 409 | 410 | 413 | 415 | 422)
            }
        }
    }

    /// How long the server asks to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            WebhookError::Answer { retry_after, .. } => *retry_after,
            WebhookError::NoAnswer(_) => None,
        }
    }
}

impl Webhook {
    /// Connects like everything else of this site; `patience` is for one attempt as a whole.
    pub fn new(options: &HttpsOptions, patience: Duration) -> Result<Self, LocationError> {
        Exchange::new(options, patience).map(Webhook)
    }

    /// Posts JSON. `key` tells the receiver that it has this already; `signature` proves who sends it.
    pub async fn post(
        &self,
        url: &Url,
        key: &str,
        signature: Option<&str>,
        body: Bytes,
    ) -> Result<(), WebhookError> {
        let mut headers = Vec::new();
        for (name, value) in [("idempotency-key", Some(key)), ("tidegate-signature", signature)] {
            if let Some(Ok(value)) = value.map(HeaderValue::from_str) {
                headers.push((HeaderName::from_static(name), value));
            }
        }
        self.post_with(url, headers, body).await.map(drop)
    }

    /// Posts JSON with these headers; returns the answer's body, or nothing where it could not be read.
    pub async fn post_with(
        &self,
        url: &Url,
        headers: Vec<(HeaderName, HeaderValue)>,
        body: Bytes,
    ) -> Result<Bytes, WebhookError> {
        let host = url.host_str().unwrap_or_default().to_owned();
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(url.as_str())
            .header(USER_AGENT, "tidegate")
            .header(CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(body));
        let answered = self.0.send(&host, request, ANSWER_BYTES_MAX).await?;
        if answered.status.is_success() {
            return Ok(answered.body.unwrap_or_default());
        }
        Err(WebhookError::Answer {
            host,
            status: answered.status.as_u16(),
            // The words are for people; without them the status says enough.
            why: quoted(&answered.body.unwrap_or_default()),
            retry_after: retry_after(&answered.headers, RETRY_AFTER_MAX),
        })
    }
}
