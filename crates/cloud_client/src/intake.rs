//! Sends sealed reports of usage data to an intake: resumable, and the same however often it is repeated.
//!
//! A report has an address of its own. `HEAD` tells how many of its bytes the service has, `PUT` sends the
//! rest, and whoever sends a complete report again gets the same receipt. Redirects are not followed: data
//! goes to the address that the feed signed and nowhere else.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::Full;
use url::Url;

use crate::HttpsOptions;
use crate::exchange::{Exchange, NoAnswer, number, quoted, retry_after};
use crate::location::LocationError;

/// Byte of the report that the body begins with, and in answers how many the service has.
const UPLOAD_OFFSET: &str = "upload-offset";
/// Bytes of the whole report.
const UPLOAD_LENGTH: &str = "upload-length";
/// Longest answer.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// A service may ask for patience; not for more than this.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Times the offset is asked for again in one attempt.
const RESUMES: usize = 2;

/// A way to an intake.
#[derive(Debug, Clone)]
pub struct Intake(Exchange);

/// What the service says of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Uploaded {
    /// It has the whole report; these are the bytes of its receipt.
    Receipt(Vec<u8>),
    /// It does not take it, now or later.
    Refused {
        /// Status code.
        status: u16,
        /// Its words.
        why: String,
    },
}

/// Why an attempt failed. What the service has by now stays there.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// There was no answer.
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
    /// The service asks for patience, or has trouble of its own.
    #[error("{url} answered {status}: {why}")]
    Busy {
        /// Address.
        url: String,
        /// Status code.
        status: u16,
        /// Its words.
        why: String,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
    /// Not an answer of an intake.
    #[error("{url} answered {status}, which is no answer of an intake of usage data: {why}")]
    Odd {
        /// Address.
        url: String,
        /// Status code.
        status: u16,
        /// Its words.
        why: String,
    },
}

impl IntakeError {
    /// How long the service asks to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            IntakeError::Busy { retry_after, .. } => *retry_after,
            IntakeError::NoAnswer(_) | IntakeError::Odd { .. } => None,
        }
    }
}

impl Intake {
    /// Connects like everything else of this site.
    pub fn new(options: &HttpsOptions) -> Result<Self, LocationError> {
        Exchange::new(options, options.metadata_timeout).map(Intake)
    }

    /// Sends what the service does not have yet of a sealed report.
    pub async fn upload(&self, base: &Url, report: &str, sealed: &Bytes) -> Result<Uploaded, IntakeError> {
        let url = format!("{base}reports/{report}");
        let mut offset = self.offset(&url).await?.min(sealed.len());
        for _ in 0..=RESUMES {
            let body = sealed.slice(offset..);
            let request = Request::builder()
                .method(Method::PUT)
                .uri(&url)
                .header(USER_AGENT, "tidegate")
                .header(CONTENT_TYPE, "application/vnd.tidegate.usage-report")
                .header(UPLOAD_OFFSET, offset)
                .header(UPLOAD_LENGTH, sealed.len())
                .body(Full::new(body));
            let (status, headers, answer) = self.answer(&url, request).await?;
            match status {
                StatusCode::OK | StatusCode::CREATED => return Ok(Uploaded::Receipt(answer)),
                StatusCode::CONFLICT if number(&headers, UPLOAD_OFFSET).is_some() => {
                    offset = number(&headers, UPLOAD_OFFSET).unwrap_or(0).min(sealed.len());
                }
                status => return judge(&url, status, &headers, &answer),
            }
        }
        Err(IntakeError::Odd {
            url,
            status: StatusCode::CONFLICT.as_u16(),
            why: "it names another offset each time".into(),
        })
    }

    /// How many bytes of a report the service has.
    async fn offset(&self, url: &str) -> Result<usize, IntakeError> {
        let request = Request::builder()
            .method(Method::HEAD)
            .uri(url)
            .header(USER_AGENT, "tidegate")
            .body(Full::default());
        let (status, headers, _) = self.answer(url, request).await?;
        match status {
            // A service that knows nothing of resuming gets the whole report.
            _ if status.is_success() => Ok(number(&headers, UPLOAD_OFFSET).unwrap_or(0)),
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Ok(0),
            status => match judge(url, status, &headers, &[])? {
                Uploaded::Receipt(_) | Uploaded::Refused { .. } => Ok(0),
            },
        }
    }

    async fn answer(
        &self,
        url: &str,
        request: http::Result<Request<Full<Bytes>>>,
    ) -> Result<(StatusCode, HeaderMap, Vec<u8>), IntakeError> {
        let answered = self.0.send(url, request, ANSWER_BYTES_MAX).await?;
        let body = answered.body.map_err(|why| NoAnswer::broken(url, why))?;
        Ok((answered.status, answered.headers, body.to_vec()))
    }
}

/// What a status means that is no success.
fn judge(url: &str, status: StatusCode, headers: &HeaderMap, answer: &[u8]) -> Result<Uploaded, IntakeError> {
    let words = quoted(answer);
    match status.as_u16() {
        // These speak of the report itself; sending it again changes nothing.
        400 | 403 | 409 | 410 | 413 | 422 => Ok(Uploaded::Refused {
            status: status.as_u16(),
            why: words,
        }),
        408 | 423 | 425 | 429 | 500..=599 => Err(IntakeError::Busy {
            url: url.to_owned(),
            status: status.as_u16(),
            why: words,
            retry_after: retry_after(headers, RETRY_AFTER_MAX),
        }),
        _ => Err(IntakeError::Odd {
            url: url.to_owned(),
            status: status.as_u16(),
            why: words,
        }),
    }
}
