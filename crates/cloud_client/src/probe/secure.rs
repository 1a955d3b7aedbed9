//! The TLS and certificate phases.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use domain::connectivity::{Fault, Phase};
use jiff::Timestamp;
use protocol::connectivity::TlsReport;
use rustls::{AlertDescription, Error as TlsError};
use rustls_pki_types::{ServerName, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Prober;
use super::trace::Trace;
use super::walk::{Walk, fail};
use crate::certificate;
use crate::dial::Trouble;
use crate::head::Head;
use crate::tls::Recorder;
use crate::way::Stream;

/// What this side offers, for people who compare it with the other.
const OFFERED: &str = "offered were TLS 1.2 and 1.3 with ECDHE and AES-GCM or ChaCha20";
/// Longest wait for a server's `Date` that only serves as evidence.
const DATE_WAIT: Duration = Duration::from_secs(5);
/// Difference of clocks from which on it is worth saying.
const SKEW_TOLD_S: i64 = 120;

/// Remembers the first bytes that came: what is no TLS betrays itself there.
struct Sniff {
    inner: Box<dyn Stream>,
    first: Arc<Mutex<Vec<u8>>>,
}

const SNIFFED: usize = 48;

impl AsyncRead for Sniff {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buffer);
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        let room = SNIFFED.saturating_sub(first.len());
        if room > 0 {
            let new = &buffer.filled()[before..];
            first.extend_from_slice(&new[..new.len().min(room)]);
        }
        polled
    }
}

impl AsyncWrite for Sniff {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl Prober {
    pub(super) async fn secure(
        &self,
        walk: &Walk<'_>,
        stream: Box<dyn Stream>,
        trace: &mut Trace,
    ) -> Result<Head, ()> {
        let host = &walk.address.host;
        (walk.enter)(Phase::Tls);
        let start = Instant::now();
        let recorder = Recorder::new(&self.way.roots, Vec::new(), unix(walk.now));
        let mut stream = match self.handshake(host, stream, &recorder).await {
            Ok(stream) => stream,
            Err(trouble) => return fail(trace, Phase::Tls, start, trouble),
        };
        let shown = recorder.shown();
        let summary = shown
            .as_ref()
            .and_then(|shown| certificate::summary(&shown.end_entity));
        let (_, connection) = stream.get_ref();
        let version = connection
            .protocol_version()
            .and_then(|version| version.as_str().map(words_of_version));
        let version = version.unwrap_or_else(|| "TLS".into());
        let cipher = connection.negotiated_cipher_suite();
        let cipher = cipher
            .and_then(|suite| suite.suite().as_str())
            .unwrap_or("unknown")
            .to_owned();
        trace.passed(Phase::Tls, start.elapsed(), format!("{version}, {cipher}"));
        trace.tls = summary.map(|summary| TlsReport {
            version,
            cipher,
            subject: summary.subject,
            issuer: summary.issuer,
            names: summary.names,
            names_count: summary.names_count,
            not_after: summary.not_after,
            fingerprint: summary.fingerprint,
        });
        (walk.enter)(Phase::Certificate);
        let start = Instant::now();
        let Some(shown) = shown else {
            let trouble = Trouble::new(Fault::CertInvalid, "no certificate was shown");
            return fail(trace, Phase::Certificate, start, trouble);
        };
        if let Some((fault, evidence)) = certificate::judge(&shown, &self.way.roots, host, walk.now) {
            let took = start.elapsed();
            let evidence = match fault {
                Fault::CertExpired | Fault::CertNotYetValid => {
                    self.with_clock(walk, &mut stream, evidence, trace).await
                }
                _ => evidence,
            };
            trace.failed(Phase::Certificate, took, Trouble::new(fault, evidence));
            return Err(());
        }
        if self.revocation
            && let Err(trouble) = self.revoked(&shown, host, walk).await
        {
            return fail(trace, Phase::Certificate, start, trouble);
        }
        let issuer = trace.tls.as_ref().map(|tls| format!("issued by {}", tls.issuer));
        trace.passed(Phase::Certificate, start.elapsed(), issuer.unwrap_or_default());
        self.http(walk, Box::new(stream), trace).await
    }

    async fn handshake(
        &self,
        host: &str,
        stream: Box<dyn Stream>,
        recorder: &Arc<Recorder>,
    ) -> Result<TlsStream<Sniff>, Trouble> {
        let failed = |text: String| Trouble::new(Fault::TlsFailed, text);
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| failed(format!("{host} can stand in no certificate")))?;
        let config = recorder.config().map_err(|failure| failed(failure.to_string()))?;
        let first = Arc::new(Mutex::new(Vec::new()));
        let sniff = Sniff {
            inner: stream,
            first: first.clone(),
        };
        let connecting = TlsConnector::from(Arc::new(config)).connect(name, sniff);
        match tokio::time::timeout(self.way.limits.tls, connecting).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(failure)) => {
                let first = first.lock().unwrap_or_else(PoisonError::into_inner).clone();
                Err(tls_trouble(&failure, &first))
            }
            Err(_) => Err(Trouble::new(
                Fault::TlsReset,
                format!(
                    "silence for {} s after the ClientHello, the connection itself stands",
                    self.way.limits.tls.as_secs_f64()
                ),
            )),
        }
    }

    /// Adds what the server's own clock says; a wrong clock here makes good certificates look bad.
    async fn with_clock(
        &self,
        walk: &Walk<'_>,
        stream: &mut TlsStream<Sniff>,
        evidence: String,
        trace: &mut Trace,
    ) -> String {
        let asking = super::http::ask(stream, walk.address, "HEAD");
        let Ok(Ok(head)) = tokio::time::timeout(DATE_WAIT, asking).await else {
            return evidence;
        };
        let Some(date) = super::http::date(&head) else {
            return evidence;
        };
        trace.clocks = Some((date, walk.now));
        let ahead = walk.now.as_second() - date.as_second();
        match ahead.abs() >= SKEW_TOLD_S {
            true => format!("{evidence}; {}", skew(ahead)),
            false => format!("{evidence}; the clocks of both sides agree"),
        }
    }
}

/// A difference of clocks in words.
pub(super) fn skew(ahead_s: i64) -> String {
    let span = match ahead_s.unsigned_abs() {
        seconds @ 0..=7_199 => format!("{seconds} s"),
        seconds @ 7_200..=172_799 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    };
    let way = if ahead_s > 0 { "ahead of" } else { "behind" };
    format!("the clock of this server is {span} {way} the other side's")
}

pub(super) fn unix(at: Timestamp) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(
        u64::try_from(at.as_second()).unwrap_or_default(),
    ))
}

fn words_of_version(name: &str) -> String {
    name.replace("TLSv1_", "TLS 1.")
}

fn tls_trouble(failure: &io::Error, first: &[u8]) -> Trouble {
    const HANDSHAKE: u8 = 22;
    const ALERT: u8 = 21;
    let began = first.first().copied();
    if began.is_some_and(|byte| byte != HANDSHAKE && byte != ALERT) {
        let text: String = String::from_utf8_lossy(first)
            .chars()
            .take(40)
            .map(|c| if c.is_control() { '.' } else { c })
            .collect();
        return Trouble::new(Fault::TlsPlaintext, format!("the answer begins with {text:?}"));
    }
    let Some(error) = failure
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<TlsError>())
    else {
        let when = match began {
            None => "right after the ClientHello",
            Some(_) => "during the handshake",
        };
        return Trouble::new(
            Fault::TlsReset,
            format!("the connection ended {when} ({})", failure.kind()),
        );
    };
    match error {
        TlsError::AlertReceived(AlertDescription::ProtocolVersion) | TlsError::PeerIncompatible(_) => {
            Trouble::new(Fault::TlsVersion, format!("{error}; {OFFERED}"))
        }
        TlsError::AlertReceived(
            AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity,
        ) => Trouble::new(Fault::TlsCipher, format!("{error}; {OFFERED}")),
        other => Trouble::new(Fault::TlsFailed, other.to_string()),
    }
}
