//! The tunnel: CONNECT, and whatever the proxy wants to know before (RFC 9110, sections 9.3.6 and 11.7).
//!
//! Credentials are sent only when the proxy asks, only to the proxy, with the safest scheme that it
//! offers: Negotiate (if built with it), NTLM, Digest, and Basic where nobody can read along or the settings
//! allow it.

use std::future::Future;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use super::negotiate::{self, Negotiate, NegotiateError};
use super::ntlm::{self, Freshness};
use super::{Challenge, Credentials, Known, Proxy, digest, parse_challenges};
use crate::head::{Head, HeadError};

/// Most requests of one tunnel: a challenge, NTLM's three legs, a stale nonce.
const LEGS_MAX: usize = 6;
/// A password that was refused is not sent again for this long: a lock-out counts attempts, and a fault of the
/// proxy passes.
const REFUSED_FOR: Duration = Duration::from_secs(60 * 60);
/// Most bytes of a refusal that are read: to reuse the connection, and to quote it.
const BODY_MAX: u64 = 256 * 1024;
/// Seconds between 1601 and 1970.
const FILE_TIME_EPOCH_S: i64 = 11_644_473_600;

/// How to come to the other side of a proxy.
pub(crate) struct Route<'a> {
    pub proxy: &'a Proxy,
    /// `host:port` of the other side.
    pub authority: &'a str,
    /// `CONNECT` for a tunnel; for plain HTTP the method and the whole URL.
    pub request: Request<'a>,
    /// Wall clock, for NTLM.
    pub now: Timestamp,
}

/// What is asked of the proxy.
#[derive(Clone, Copy)]
pub(crate) enum Request<'a> {
    /// A tunnel to the authority.
    Connect,
    /// A plain request with the URL in its first line.
    Plain {
        /// Method.
        method: &'static str,
        /// Whole URL.
        url: &'a str,
    },
}

/// Why there is no tunnel.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TunnelError {
    /// No connection to the proxy for another leg.
    #[error("the proxy takes no further connection")]
    Again(#[source] std::io::Error),
    /// The proxy wants an account and none is set.
    #[error("407, and no account is set; the proxy offers {offered}")]
    AuthRequired {
        /// Schemes.
        offered: String,
    },
    /// The account was refused.
    #[error("407 after the account {user} was sent with {scheme}")]
    AuthRejected {
        /// Account.
        user: String,
        /// Scheme.
        scheme: String,
    },
    /// No ticket for Negotiate.
    #[error(transparent)]
    Ticket(#[from] NegotiateError),
    /// The proxy refused the ticket.
    #[error("407 after a Kerberos ticket was sent with negotiate")]
    TicketRefused,
    /// A challenge that nothing can be answered to.
    #[error("the proxy's challenge for {scheme} cannot be answered, or never ends")]
    Unanswerable {
        /// Scheme.
        scheme: String,
    },
    /// The account was refused before and is not sent again.
    #[error(
        "the account {user} was refused with {scheme} before; it is sent again after an hour, or when the settings change, to spare it from being locked"
    )]
    AuthSpared {
        /// Account.
        user: String,
        /// Scheme.
        scheme: String,
    },
    /// No scheme that can be used.
    #[error("the proxy offers {offered}{}", if *.basic_refused { "; Basic would send the password readable, which the settings do not allow" } else { "" })]
    AuthScheme {
        /// Schemes.
        offered: String,
        /// Basic was there but not allowed.
        basic_refused: bool,
    },
    /// The proxy said no.
    #[error("the proxy answered {status}{quote}")]
    Refused {
        /// Status code.
        status: u16,
        /// What it said, shortened.
        quote: String,
    },
    /// The answer is no answer of a proxy.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// Sending failed.
    #[error("the connection to the proxy broke")]
    Broken(#[source] std::io::Error),
}

/// An open way, and what the proxy said when it opened.
pub(crate) struct Opened<S> {
    pub stream: S,
    pub head: Head,
}

/// Opens the way over a fresh connection; `again` makes another where the proxy closes the first.
pub(crate) async fn open<S, C, F>(first: S, mut again: C, route: &Route<'_>) -> Result<Opened<S>, TunnelError>
where
    S: AsyncRead + AsyncWrite + Unpin,
    C: FnMut() -> F,
    F: Future<Output = std::io::Result<S>>,
{
    let mut stream = first;
    let head = exchange(&mut stream, route, None).await?;
    if head.status != 407 {
        return finish(stream, head, route).await;
    }
    let challenges = parse_challenges(head.all("proxy-authenticate"));
    let mut open = next_leg(&mut stream, &head, route).await;
    // The machine's own identity comes before a stored account, and needs no password.
    if negotiate::AVAILABLE && challenges.iter().any(|challenge| challenge.scheme == "negotiate") {
        if !open {
            stream = again().await.map_err(TunnelError::Again)?;
        }
        match with_ticket(stream, &mut again, route).await {
            Err(TunnelError::Ticket(_) | TunnelError::TicketRefused)
                if route.proxy.settings.credentials.is_some() =>
            {
                stream = again().await.map_err(TunnelError::Again)?;
                open = true;
            }
            ended => return ended,
        }
    }
    let Some(credentials) = &route.proxy.settings.credentials else {
        return Err(TunnelError::AuthRequired {
            offered: offered(&challenges),
        });
    };
    // One at a time until the account is known to be good.
    let mut gate = Some(route.proxy.known.lock().await);
    match gate.as_deref() {
        Some(Known::Rejected { scheme, at }) if at.elapsed() < REFUSED_FOR => {
            return Err(TunnelError::AuthSpared {
                user: credentials.user.clone(),
                scheme: scheme.clone(),
            });
        }
        Some(Known::Accepted) => gate = None,
        _ => {}
    }
    let scheme = choose(route.proxy, &challenges)?;
    let mut challenge = challenges.iter().find(|found| found.scheme == scheme).cloned();
    let mut answered = false;
    for _ in 0..LEGS_MAX {
        if !open {
            stream = again().await.map_err(TunnelError::Again)?;
        }
        let leg = challenge
            .take()
            .and_then(|challenge| value(&scheme, &challenge, credentials, route));
        let Some((value, last)) = leg else { break };
        let head = exchange(&mut stream, route, Some(&value)).await?;
        if head.status != 407 {
            if let Some(gate) = gate.as_deref_mut() {
                *gate = Known::Accepted;
            }
            return finish(stream, head, route).await;
        }
        let found = parse_challenges(head.all("proxy-authenticate"));
        let found = found.into_iter().find(|found| found.scheme == scheme);
        let stale = found.as_ref().is_some_and(digest::is_stale);
        answered |= last && !stale;
        if answered {
            break;
        }
        challenge = found;
        open = next_leg(&mut stream, &head, route).await;
    }
    if answered {
        let rejected = Known::Rejected {
            scheme: scheme.clone(),
            at: Instant::now(),
        };
        match gate.as_deref_mut() {
            Some(known) => *known = rejected,
            // It was good until now: the password has changed.
            None => *route.proxy.known.lock().await = rejected,
        }
    }
    match answered {
        true => Err(TunnelError::AuthRejected {
            user: credentials.user.clone(),
            scheme,
        }),
        false => Err(TunnelError::Unanswerable { scheme }),
    }
}

/// Authenticates with the tickets of this process.
async fn with_ticket<S, C, F>(stream: S, again: &mut C, route: &Route<'_>) -> Result<Opened<S>, TunnelError>
where
    S: AsyncRead + AsyncWrite + Unpin,
    C: FnMut() -> F,
    F: Future<Output = std::io::Result<S>>,
{
    let mut stream = stream;
    let mut context = Some(Negotiate::new(&route.proxy.settings.host)?);
    let mut token: Option<Vec<u8>> = None;
    for _ in 0..LEGS_MAX {
        let Some(mut authentication) = context.take() else {
            break;
        };
        // The library may ask the key distribution centre: that blocks.
        let stepping = tokio::task::spawn_blocking(move || {
            let next = authentication.step(token.as_deref());
            (authentication, next)
        });
        let Ok((authentication, next)) = stepping.await else {
            break;
        };
        context = Some(authentication);
        let value = format!("Negotiate {}", BASE64_STANDARD.encode(next?));
        let head = exchange(&mut stream, route, Some(&value)).await?;
        if head.status != 407 {
            return finish(stream, head, route).await;
        }
        let challenges = parse_challenges(head.all("proxy-authenticate"));
        let more = challenges
            .into_iter()
            .find(|challenge| challenge.scheme == "negotiate");
        token = more.and_then(|challenge| BASE64_STANDARD.decode(challenge.token?).ok());
        if token.is_none() {
            break;
        }
        if !next_leg(&mut stream, &head, route).await {
            stream = again().await.map_err(TunnelError::Again)?;
        }
    }
    Err(TunnelError::TicketRefused)
}

fn offered(challenges: &[Challenge]) -> String {
    if challenges.is_empty() {
        return "no scheme at all".to_owned();
    }
    let names: Vec<&str> = challenges
        .iter()
        .map(|challenge| challenge.scheme.as_str())
        .collect();
    names.join(", ")
}

/// The safest scheme of those that are offered.
fn choose(proxy: &Proxy, challenges: &[Challenge]) -> Result<String, TunnelError> {
    let has = |scheme: &str| challenges.iter().any(|challenge| challenge.scheme == scheme);
    let basic = proxy.settings.tls || proxy.settings.basic_over_clear_text;
    for (scheme, allowed) in [("ntlm", true), ("digest", true), ("basic", basic)] {
        if allowed && has(scheme) {
            return Ok(scheme.to_owned());
        }
    }
    Err(TunnelError::AuthScheme {
        offered: offered(challenges),
        basic_refused: has("basic") && !basic,
    })
}

/// The next `Proxy-Authorization` value, and whether it carries the answer.
fn value(
    scheme: &str,
    challenge: &Challenge,
    credentials: &Credentials,
    route: &Route<'_>,
) -> Option<(String, bool)> {
    match scheme {
        "basic" => {
            let pair = format!("{}:{}", credentials.user, credentials.password.as_str());
            Some((format!("Basic {}", BASE64_STANDARD.encode(pair)), true))
        }
        "digest" => {
            let (method, uri) = match route.request {
                Request::Connect => ("CONNECT", route.authority),
                Request::Plain { method, url } => (method, url),
            };
            Some((digest::answer(challenge, credentials, method, uri)?, true))
        }
        _ => {
            let Some(token) = &challenge.token else {
                return Some((
                    format!("NTLM {}", BASE64_STANDARD.encode(ntlm::negotiate())),
                    false,
                ));
            };
            let second = BASE64_STANDARD.decode(token).ok()?;
            let mut client_challenge = [0; 8];
            getrandom::fill(&mut client_challenge).ok()?;
            let seconds = u64::try_from(route.now.as_second() + FILE_TIME_EPOCH_S).unwrap_or_default();
            let fresh = Freshness {
                client_challenge,
                file_time: seconds * 10_000_000,
            };
            let third = ntlm::authenticate(&second, credentials, fresh).ok()?;
            Some((format!("NTLM {}", BASE64_STANDARD.encode(third)), true))
        }
    }
}

async fn exchange(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    route: &Route<'_>,
    authorization: Option<&str>,
) -> Result<Head, TunnelError> {
    let authority = route.authority;
    let mut request = match route.request {
        Request::Connect => format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n"),
        Request::Plain { method, url } => {
            format!("{method} {url} HTTP/1.1\r\nHost: {authority}\r\nAccept: */*\r\n")
        }
    };
    request.push_str("User-Agent: tidegate\r\nProxy-Connection: keep-alive\r\n");
    if let Some(value) = authorization {
        request.push_str(&format!("Proxy-Authorization: {value}\r\n"));
    }
    request.push_str("\r\n");
    let request = zeroize::Zeroizing::new(request);
    stream
        .write_all(request.as_bytes())
        .await
        .map_err(TunnelError::Broken)?;
    stream.flush().await.map_err(TunnelError::Broken)?;
    Ok(Head::read(stream).await?)
}

/// Takes the body of a refusal off the connection. NTLM speaks to one connection, so it must stay open.
async fn next_leg(stream: &mut (impl AsyncRead + Unpin), head: &Head, route: &Route<'_>) -> bool {
    let bodiless = matches!(route.request, Request::Plain { method: "HEAD", .. });
    let length = match head.content_length() {
        // The length of what a GET would bring.
        Some(_) if bodiless => 0,
        Some(length) => length,
        None => return false,
    };
    let left = length.saturating_sub(head.rest.len() as u64);
    if head.closes() || left > BODY_MAX {
        return false;
    }
    let mut sink = tokio::io::sink();
    tokio::io::copy(&mut stream.take(left), &mut sink)
        .await
        .is_ok_and(|read| read == left)
}

async fn finish<S: AsyncRead + Unpin>(
    mut stream: S,
    head: Head,
    route: &Route<'_>,
) -> Result<Opened<S>, TunnelError> {
    let is_tunnel = matches!(route.request, Request::Connect);
    if !is_tunnel || (200..300).contains(&head.status) {
        return Ok(Opened { stream, head });
    }
    Err(TunnelError::Refused {
        status: head.status,
        quote: quote(&mut stream, &head).await,
    })
}

/// What a refusal says, for the person who talks to the proxy's people: its own reference above all.
async fn quote(stream: &mut (impl AsyncRead + Unpin), head: &Head) -> String {
    const QUOTE_CHARACTERS: usize = 200;
    let mut body = head.rest.clone();
    let length = head.content_length().unwrap_or(0).min(16 * 1024);
    let left = length.saturating_sub(body.len() as u64);
    // The words are a courtesy; a proxy that is slow with them is not waited for.
    let _ = tokio::time::timeout(
        Duration::from_millis(500),
        stream.take(left).read_to_end(&mut body),
    )
    .await;
    let mut parts: Vec<String> = ["x-squid-error", "x-reference-id", "x-request-id"]
        .iter()
        .filter_map(|name| head.get(name).map(|value| format!("{name}: {value}")))
        .collect();
    let text = words_of(&String::from_utf8_lossy(&body));
    if !text.is_empty() {
        parts.push(text.chars().take(QUOTE_CHARACTERS).collect());
    }
    match parts.is_empty() {
        true => String::new(),
        false => format!(" ({})", parts.join("; ")),
    }
}

/// Text without markup, blanks folded.
fn words_of(html: &str) -> String {
    let lower = html.to_ascii_lowercase();
    let body = lower.find("<body").map_or(html, |at| &html[at..]);
    let (mut text, mut inside) = (String::new(), false);
    for c in body.chars() {
        match c {
            '<' => inside = true,
            '>' => {
                inside = false;
                text.push(' ');
            }
            c if !inside => text.push(if c.is_control() { ' ' } else { c }),
            _ => {}
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
