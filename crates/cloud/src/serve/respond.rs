//! Turns a request into a response: methods, conditions, ranges, headers (RFC 9110).
//!
//! It refuses every method but GET and HEAD, and never reads a request body.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use sha2::{Digest, Sha256};

use super::body::{self, Piece};
use super::range::{self, Selection};
use super::resource::{self, Resource};

/// What a response carries.
pub(crate) type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// Answers one request from the files of `repository` (which is canonical).
pub(super) async fn respond<B>(repository: &Arc<Path>, request: &Request<B>) -> Response<Body> {
    let head = match *request.method() {
        Method::GET => false,
        Method::HEAD => true,
        _ => {
            let mut response = short(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n", false);
            response
                .headers_mut()
                .insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
    };
    let Some(relative) = resource::relative(request.uri().path()) else {
        return short(StatusCode::NOT_FOUND, "not found\n", head);
    };
    let folder = Arc::clone(repository);
    let shown = relative.clone();
    match tokio::task::spawn_blocking(move || resource::open(&folder, &relative)).await {
        Ok(Ok(Some(resource))) => answer(resource, request.headers(), head),
        Ok(Ok(None)) => short(StatusCode::NOT_FOUND, "not found\n", head),
        Ok(Err(error)) => {
            tracing::error!(file = %shown.display(), %error, "could not read a file of the repository");
            short(
                StatusCode::INTERNAL_SERVER_ERROR,
                "could not read the file\n",
                head,
            )
        }
        Err(error) => {
            tracing::error!(file = %shown.display(), %error, "opening a file of the repository failed");
            short(
                StatusCode::INTERNAL_SERVER_ERROR,
                "could not read the file\n",
                head,
            )
        }
    }
}

/// A response of one line of text.
pub(super) fn short(status: StatusCode, text: &'static str, head: bool) -> Response<Body> {
    let body = if head { "" } else { text };
    let mut response = Response::new(Full::from(body).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(text.len()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn answer(resource: Resource, asked: &HeaderMap, head: bool) -> Response<Body> {
    match precondition(&resource, asked) {
        Some(StatusCode::NOT_MODIFIED) => {
            let mut response = Response::new(body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            describe(response.headers_mut(), &resource);
            return response;
        }
        Some(status) => return short(status, "the file is another one by now\n", head),
        None => {}
    }
    // A range is for GET only (RFC 9110, 14.2); HEAD describes the whole.
    let range = text(asked, &header::RANGE).filter(|_| !head && range_still_valid(&resource, asked));
    let selection = range.map_or(Selection::Whole, |range| range::select(range, resource.length));
    let length = resource.length;
    let (status, pieces, extra) = match selection {
        Selection::Unsatisfiable => {
            let mut response = short(
                StatusCode::RANGE_NOT_SATISFIABLE,
                "the range is outside the file\n",
                head,
            );
            describe(response.headers_mut(), &resource);
            insert(
                response.headers_mut(),
                header::CONTENT_RANGE,
                &format!("bytes */{length}"),
            );
            return response;
        }
        Selection::Whole => (
            StatusCode::OK,
            vec![Piece::File { start: 0, length }],
            Extra::None,
        ),
        Selection::Parts(parts) => match parts.as_slice() {
            [(start, bytes)] => {
                let range = format!("bytes {start}-{}/{length}", start + bytes - 1);
                let piece = Piece::File {
                    start: *start,
                    length: *bytes,
                };
                (StatusCode::PARTIAL_CONTENT, vec![piece], Extra::Range(range))
            }
            several => {
                let (pieces, boundary) = multipart(&resource, several);
                (StatusCode::PARTIAL_CONTENT, pieces, Extra::Multipart(boundary))
            }
        },
    };
    let total: u64 = pieces.iter().map(Piece::length).sum();
    let mut headers = HeaderMap::new();
    describe(&mut headers, &resource);
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(resource.content_type),
    );
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(total));
    match extra {
        Extra::None => {}
        Extra::Range(range) => insert(&mut headers, header::CONTENT_RANGE, &range),
        Extra::Multipart(boundary) => {
            let content_type = format!("multipart/byteranges; boundary={boundary}");
            insert(&mut headers, header::CONTENT_TYPE, &content_type);
        }
    }
    let body = if head {
        body::empty()
    } else {
        body::stream(resource.file, pieces)
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

enum Extra {
    None,
    Range(String),
    Multipart(String),
}

/// The headers that every answer about this file has, 304 included.
fn describe(headers: &mut HeaderMap, resource: &Resource) {
    insert(headers, header::ETAG, &resource.etag);
    insert(
        headers,
        header::LAST_MODIFIED,
        &httpdate::fmt_http_date(resource.modified),
    );
    let cache = if resource.immutable {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    // Made of digits, hexadecimal and fixed text, so it always is a header value.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// The parts of a `multipart/byteranges` body and its boundary.
fn multipart(resource: &Resource, parts: &[(u64, u64)]) -> (Vec<Piece>, String) {
    let mut hash = Sha256::new();
    hash.update(resource.etag.as_bytes());
    let boundary = format!("tidegate-{}", &hex::encode(hash.finalize())[..32]);
    let mut pieces = Vec::with_capacity(parts.len() * 2 + 1);
    for (start, bytes) in parts {
        let front = format!(
            "\r\n--{boundary}\r\nContent-Type: {}\r\nContent-Range: bytes {start}-{}/{}\r\n\r\n",
            resource.content_type,
            start + bytes - 1,
            resource.length
        );
        pieces.push(Piece::Text(Bytes::from(front)));
        pieces.push(Piece::File {
            start: *start,
            length: *bytes,
        });
    }
    pieces.push(Piece::Text(Bytes::from(format!("\r\n--{boundary}--\r\n"))));
    (pieces, boundary)
}

/// Section 13.2.2: in this order, the first that applies decides.
fn precondition(resource: &Resource, asked: &HeaderMap) -> Option<StatusCode> {
    if asked.contains_key(header::IF_MATCH) {
        let held = tags(asked, &header::IF_MATCH).any(|tag| tag == "*" || tag == resource.etag);
        if !held {
            return Some(StatusCode::PRECONDITION_FAILED);
        }
    } else if let Some(date) = date(asked, &header::IF_UNMODIFIED_SINCE)
        && resource.modified > date
    {
        return Some(StatusCode::PRECONDITION_FAILED);
    }
    if asked.contains_key(header::IF_NONE_MATCH) {
        // A weak comparison: `W/` in front makes no difference here.
        let same = |tag: &str| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == resource.etag;
        return tags(asked, &header::IF_NONE_MATCH)
            .any(same)
            .then_some(StatusCode::NOT_MODIFIED);
    }
    let unchanged = date(asked, &header::IF_MODIFIED_SINCE).is_some_and(|date| resource.modified <= date);
    unchanged.then_some(StatusCode::NOT_MODIFIED)
}

/// If-Range: the range counts only while the file is the one the client has part of.
fn range_still_valid(resource: &Resource, asked: &HeaderMap) -> bool {
    let Some(condition) = asked.get(header::IF_RANGE) else {
        return true;
    };
    let Ok(condition) = condition.to_str() else {
        return false;
    };
    if condition.starts_with('"') {
        return condition == resource.etag;
    }
    httpdate::parse_http_date(condition).is_ok_and(|date| date == resource.modified)
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(text(headers, name)?).ok()
}

/// Our tags hold no comma, so a list may be split at commas.
fn tags<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}
