//! One request with a small body and its small answer, the same way out as everything else. No redirects: what is sent here
//! goes to the address that was named and nowhere else.

use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;

use crate::HttpsOptions;
use crate::connector::{ConnectError, Connector};
use crate::https::client;
use crate::location::LocationError;

/// Longest refusal that is quoted, in characters.
const QUOTED_MAX: usize = 300;

/// A way for small requests.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    client: Client<Connector, Full<Bytes>>,
    /// How long one request may take, its answer included.
    patience: Duration,
}

/// What was answered.
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// The body, or why it could not be read: the status is an answer all the same.
    pub(crate) body: Result<Bytes, String>,
}

/// Why there was no answer. Whoever asks says how much of the address may be told.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// No connection, or it broke, or the answer is too long.
    #[error("{asked}: {why}")]
    Network {
        /// Host or address that was asked.
        asked: String,
        /// Why.
        why: String,
    },
    /// Not in time.
    #[error("{asked} did not answer within {} s", limit.as_secs())]
    Timeout {
        /// Host or address that was asked.
        asked: String,
        /// The limit.
        limit: Duration,
    },
}

impl NoAnswer {
    /// The way broke.
    pub(crate) fn broken(asked: &str, why: String) -> Self {
        NoAnswer::Network {
            asked: asked.to_owned(),
            why,
        }
    }
}

impl Exchange {
    pub(crate) fn new(options: &HttpsOptions, patience: Duration) -> Result<Self, LocationError> {
        let client = client(options)?;
        Ok(Exchange { client, patience })
    }

    /// Sends a request and reads at most so many bytes of the answer. Failures name `asked`.
    pub(crate) async fn send(
        &self,
        asked: &str,
        request: http::Result<Request<Full<Bytes>>>,
        answer_bytes_max: usize,
    ) -> Result<Answered, NoAnswer> {
        let request = request.map_err(|failure| NoAnswer::broken(asked, failure.to_string()))?;
        let exchange = async {
            let answer = self
                .client
                .request(request)
                .await
                .map_err(|failure| NoAnswer::broken(asked, why(&failure)))?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, answer_bytes_max).collect().await;
            Ok(Answered {
                status: head.status,
                headers: head.headers,
                body: body
                    .map(|body| body.to_bytes())
                    .map_err(|failure| failure.to_string()),
            })
        };
        tokio::time::timeout(self.patience, exchange)
            .await
            .unwrap_or_else(|_| {
                Err(NoAnswer::Timeout {
                    asked: asked.to_owned(),
                    limit: self.patience,
                })
            })
    }
}

/// How long the other side asks to wait; it may ask for patience, not for more than `longest`.
pub(crate) fn retry_after(headers: &HeaderMap, longest: Duration) -> Option<Duration> {
    let seconds = number(headers, RETRY_AFTER.as_str())?;
    Some(Duration::from_secs(seconds as u64).min(longest))
}

/// A header that is a number.
pub(crate) fn number(headers: &HeaderMap, name: &str) -> Option<usize> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// The first words of an answer; nothing that moves a cursor.
pub(crate) fn quoted(answer: &[u8]) -> String {
    let text = String::from_utf8_lossy(answer);
    let text: String = text
        .chars()
        .filter(|c| !c.is_control())
        .take(QUOTED_MAX)
        .collect();
    match text.trim() {
        "" => "it says nothing".to_owned(),
        text => text.to_owned(),
    }
}

/// A failure by the fault that caused it, where it was a connection that failed.
fn why(failure: &hyper_util::client::legacy::Error) -> String {
    let mut deepest: &dyn std::error::Error = failure;
    let mut cause = Some(deepest);
    while let Some(deeper) = cause {
        if let Some(fault) = deeper.downcast_ref::<ConnectError>() {
            return fault.to_string();
        }
        deepest = deeper;
        cause = deeper.source();
    }
    deepest.to_string()
}
