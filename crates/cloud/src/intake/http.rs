//! The requests of an intake: `HEAD` and `PUT` on the address of a report.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use protocol::usage::SEALED_BYTES_MAX;

use super::{Intake, PREFIX, Refusal, Verdict, lock};
use crate::serve::Body;

const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const UPLOAD_LENGTH: HeaderName = HeaderName::from_static("upload-length");
/// Seconds after which somebody over quota may try again.
const QUOTA_WAIT_S: u64 = 6 * 60 * 60;
/// Seconds after which somebody may try again whom trouble of ours met.
const TROUBLE_WAIT_S: u64 = 60;
/// How long one body may take. What came by then is kept, so a slower link gets there in several requests.
const BODY_TIME_MAX: Duration = Duration::from_secs(120);

/// Answers a request below the intake's prefix.
pub(crate) async fn respond<B>(intake: &Arc<Intake>, request: Request<B>) -> Response<Body>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let report = request
        .uri()
        .path()
        .strip_prefix(PREFIX)
        .and_then(|rest| rest.strip_prefix("reports/"));
    let Some(report) = report.filter(|report| is_report(report)).map(str::to_owned) else {
        return problem(StatusCode::NOT_FOUND, "there is nothing here", &[]);
    };
    match *request.method() {
        Method::HEAD => {
            let offset = intake.partial.read(&report).len();
            let mut response = problem(StatusCode::NO_CONTENT, "", &[(UPLOAD_OFFSET, offset as u64)]);
            *response.body_mut() = Body::default();
            response.headers_mut().remove(header::CONTENT_TYPE);
            response
        }
        Method::PUT => put(intake, &report, request).await,
        _ => {
            let mut response = problem(StatusCode::METHOD_NOT_ALLOWED, "only HEAD and PUT", &[]);
            response
                .headers_mut()
                .insert(header::ALLOW, HeaderValue::from_static("HEAD, PUT"));
            response
        }
    }
}

/// Takes the id of a report out of the set again.
struct UnderWay<'a> {
    intake: &'a Intake,
    report: &'a str,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        lock(&self.intake.under_way).remove(self.report);
    }
}

async fn put<B>(intake: &Arc<Intake>, report: &str, request: Request<B>) -> Response<Body>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    // A request that asks for too much is told so before its body is read.
    let offset = number(request.headers(), &UPLOAD_OFFSET).unwrap_or(0);
    let announced = request
        .body()
        .size_hint()
        .exact()
        .map(|rest| rest.saturating_add(offset));
    let length = number(request.headers(), &UPLOAD_LENGTH).or(announced);
    if length.is_some_and(|length| length > SEALED_BYTES_MAX as u64) || offset > SEALED_BYTES_MAX as u64 {
        intake.count("oversized");
        return problem(
            StatusCode::PAYLOAD_TOO_LARGE,
            &format!("a report has at most {SEALED_BYTES_MAX} bytes"),
            &[],
        );
    }
    let Ok(_place) = intake.bodies.acquire().await else {
        return problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "the intake is closing",
            &[(header::RETRY_AFTER, TROUBLE_WAIT_S)],
        );
    };
    if !lock(&intake.under_way).insert(report.to_owned()) {
        return problem(
            StatusCode::LOCKED,
            "this report is being sent by another request",
            &[(header::RETRY_AFTER, 1)],
        );
    }
    let _under_way = UnderWay { intake, report };
    let mut bytes = match offset {
        0 => Vec::new(),
        _ => intake.partial.read(report),
    };
    if bytes.len() as u64 != offset {
        return problem(
            StatusCode::CONFLICT,
            "go on where this says",
            &[(UPLOAD_OFFSET, bytes.len() as u64)],
        );
    }
    let mut body = request.into_body();
    let end = tokio::time::Instant::now() + BODY_TIME_MAX;
    loop {
        let frame = match tokio::time::timeout_at(end, body.frame()).await {
            Ok(None) => break,
            Ok(Some(Ok(frame))) => frame,
            Ok(Some(Err(_))) | Err(_) => {
                intake.partial.keep(report, &bytes);
                // Hardly anybody reads this; who does may go on.
                return problem(StatusCode::REQUEST_TIMEOUT, "the body broke off", &[]);
            }
        };
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > SEALED_BYTES_MAX {
            intake.count("oversized");
            intake.partial.remove(report);
            return problem(
                StatusCode::PAYLOAD_TOO_LARGE,
                &format!("a report has at most {SEALED_BYTES_MAX} bytes"),
                &[],
            );
        }
        bytes.extend_from_slice(&data);
    }
    if length.is_some_and(|length| (bytes.len() as u64) < length) {
        intake.partial.keep(report, &bytes);
        return problem(
            StatusCode::CONFLICT,
            "the rest is missing",
            &[(UPLOAD_OFFSET, bytes.len() as u64)],
        );
    }
    let verdict = intake.take(report, &bytes).await;
    // Kept, or of no use: either way the next attempt begins at its first byte.
    intake.partial.remove(report);
    answer(verdict)
}

fn answer(verdict: Verdict) -> Response<Body> {
    match verdict {
        Verdict::Receipt { receipt, new } => {
            let status = if new { StatusCode::CREATED } else { StatusCode::OK };
            text(status, format!("{receipt}\n"), &[])
        }
        Verdict::Refused(refusal) => {
            let status = match refusal {
                Refusal::Malformed(_)
                | Refusal::OtherAddress
                | Refusal::Contradiction
                | Refusal::Values(_) => StatusCode::UNPROCESSABLE_ENTITY,
                Refusal::Another => StatusCode::CONFLICT,
                Refusal::ForeignKey => StatusCode::FORBIDDEN,
                Refusal::OverQuota => StatusCode::TOO_MANY_REQUESTS,
            };
            let wait: &[(HeaderName, u64)] = match refusal {
                Refusal::OverQuota => &[(header::RETRY_AFTER, QUOTA_WAIT_S)],
                _ => &[],
            };
            problem(status, &refusal.words(), wait)
        }
        Verdict::Trouble(failure) => {
            tracing::error!(%failure, "a report of usage data could not be stored");
            let wait = [(header::RETRY_AFTER, TROUBLE_WAIT_S)];
            problem(
                StatusCode::SERVICE_UNAVAILABLE,
                "the report could not be stored",
                &wait,
            )
        }
    }
}

/// An answer that says why, as JSON.
fn problem(status: StatusCode, why: &str, headers: &[(HeaderName, u64)]) -> Response<Body> {
    text(
        status,
        format!("{}\n", serde_json::json!({ "error": why })),
        headers,
    )
}

fn text(status: StatusCode, text: String, headers: &[(HeaderName, u64)]) -> Response<Body> {
    let mut response = Response::new(Full::from(text).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    let all = response.headers_mut();
    all.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    all.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for (name, value) in headers {
        all.insert(name.clone(), HeaderValue::from(*value));
    }
    response
}

fn number(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    let text = headers.get(name)?.to_str().ok()?;
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

/// The id of a report: a UUID in lower case, and so a plain file name.
fn is_report(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}
