//! The HTTP phase: one request, the head of its answer, and what that proves.

use domain::connectivity::{Address, Fault, Phase, Scheme, is_foreign, judge_status};
use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use super::Prober;
use super::trace::Trace;
use super::walk::{Walk, fail};
use crate::dial::Trouble;
use crate::head::{Head, HeadError};
use crate::way::Stream;

/// Sends a request without a body and reads the head of the answer.
pub(super) async fn ask(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin + ?Sized),
    address: &Address,
    method: &str,
) -> Result<Head, HeadError> {
    let range = match method {
        "GET" => "Range: bytes=0-0\r\n",
        _ => "",
    };
    let request = format!(
        "{method} {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: tidegate\r\nAccept: */*\r\nAccept-Encoding: identity\r\n{range}\r\n",
        address.path,
        address.host_header()
    );
    stream
        .write_all(request.as_bytes())
        .await
        .map_err(HeadError::Broken)?;
    stream.flush().await.map_err(HeadError::Broken)?;
    let mut stream = stream;
    Head::read(&mut stream).await
}

/// The server's clock.
pub(super) fn date(head: &Head) -> Option<Timestamp> {
    let at = httpdate::parse_http_date(head.get("date")?).ok()?;
    Timestamp::try_from(at).ok()
}

impl Prober {
    pub(super) async fn http(
        &self,
        walk: &Walk<'_>,
        mut stream: Box<dyn Stream>,
        trace: &mut Trace,
    ) -> Result<Head, ()> {
        (walk.enter)(Phase::Http);
        let start = Instant::now();
        let asking = async {
            let head = ask(&mut *stream, walk.address, "HEAD").await?;
            match head.status {
                405 | 501 if !head.closes() => ask(&mut *stream, walk.address, "GET").await,
                _ => Ok(head),
            }
        };
        let head = match tokio::time::timeout(self.way.limits.http, asking).await {
            Ok(Ok(head)) => head,
            Ok(Err(failure)) => {
                let fault = match failure {
                    HeadError::Closed | HeadError::Broken(_) => Fault::HttpClosed,
                    HeadError::NotHttp { .. } | HeadError::TooLarge => Fault::HttpMalformed,
                };
                return fail(
                    trace,
                    Phase::Http,
                    start,
                    Trouble::new(fault, failure.to_string()),
                );
            }
            Err(_) => {
                let text = format!("no answer within {} s", self.way.limits.http.as_secs_f64());
                return fail(trace, Phase::Http, start, Trouble::new(Fault::HttpTimeout, text));
            }
        };
        self.judge_head(walk, head, start, trace)
    }

    /// What an answer proves. Redirects pass here and are followed by the caller.
    pub(super) fn judge_head(
        &self,
        walk: &Walk<'_>,
        head: Head,
        start: Instant,
        trace: &mut Trace,
    ) -> Result<Head, ()> {
        trace.status = Some(head.status);
        if let Some(date) = date(&head) {
            trace.clocks = Some((date, walk.now));
        }
        if let Some(meaning) = judge_status(head.status) {
            let text = format!(
                "{} {}; possible reason: {}",
                meaning.code, meaning.meaning, meaning.reason
            );
            return fail(trace, Phase::Http, start, Trouble::new(meaning.fault, text));
        }
        if walk.address.scheme == Scheme::Http
            && let Some(to) = location(&head, walk.address).ok().flatten()
            && is_foreign(&walk.address.host, &to.host)
        {
            // Without TLS anybody on the way can answer, and a sign-in page does.
            let text = format!("plain HTTP, and the answer {} leads to {}", head.status, to.host);
            return fail(trace, Phase::Http, start, Trouble::new(Fault::HttpCaptive, text));
        }
        if matches!(head.status, 403 | 503 | 504) {
            trace
                .notes
                .push(format!("reachable, though it answers {}", head.status));
        }
        trace.passed(Phase::Http, start.elapsed(), head.status.to_string());
        Ok(head)
    }
}

/// Where an answer sends on to; none if it does not, an error if that is not to be followed.
pub(super) fn location(head: &Head, from: &Address) -> Result<Option<Address>, String> {
    if !matches!(head.status, 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let Some(location) = head.get("location") else {
        return Ok(None);
    };
    let shown: String = location
        .split('?')
        .next()
        .unwrap_or_default()
        .chars()
        .take(200)
        .collect();
    let base = format!("{}://{}{}", from.scheme.as_str(), from.host_header(), from.path);
    let to = url::Url::parse(&base)
        .and_then(|base| base.join(location))
        .map_err(|_| format!("it sends on to {shown:?}, which is no address"))?;
    let to = protocol::connectivity::parse_address(to.as_str())
        .map_err(|_| format!("it sends on to {shown:?}, which is not followed"))?;
    match (from.scheme, to.scheme) {
        (Scheme::Https, Scheme::Http) => Err(format!(
            "it sends on to plain {}, which is not followed",
            to.shown()
        )),
        _ => Ok(Some(to)),
    }
}
