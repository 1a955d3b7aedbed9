//! What one request makes of what one server answers.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use cloud_client::{HttpsOptions, HttpsTransport, Location};
use feed::{Kind, Transport, TransportError};
use futures_util::TryStreamExt;

use crate::server::{Reply, Request, Server, reply};

pub fn options() -> HttpsOptions {
    HttpsOptions::default()
}

pub fn transport(base: &str, options: &HttpsOptions) -> HttpsTransport {
    let url = |text: String| match Location::parse(&text).unwrap() {
        Location::Web(url) => url,
        Location::Folder(_) => unreachable!("not a folder"),
    };
    HttpsTransport::new(
        url(format!("{base}/metadata")),
        url(format!("{base}/targets")),
        options,
    )
    .unwrap()
}

pub async fn get(
    transport: &HttpsTransport,
    kind: Kind,
    path: &str,
    range: Option<Range<u64>>,
) -> Result<Vec<u8>, TransportError> {
    let response = transport.fetch(kind, path, range).await?;
    let chunks: Vec<Bytes> = response.body.try_collect().await?;
    Ok(chunks.concat())
}

async fn one(
    answer: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    range: Option<Range<u64>>,
) -> Result<Vec<u8>, TransportError> {
    let server = Server::start(None, answer).await;
    let transport = transport(&format!("http://{}", server.address), &options());
    get(&transport, Kind::Target, "file", range).await
}

#[tokio::test]
async fn names_reach_the_server_encoded() {
    let server = Server::start(None, |_| reply("200 OK", &[], b"body")).await;
    let transport = transport(&format!("http://{}", server.address), &options());
    for (kind, path, expected) in [
        (Kind::Metadata, "1.root.json", "/metadata/1.root.json"),
        (
            Kind::Metadata,
            "1.../delegated?#.json",
            "/metadata/1...%2Fdelegated%3F%23.json",
        ),
        (Kind::Metadata, "1.a:b.json", "/metadata/1.a%3Ab.json"),
        (
            Kind::Target,
            "dir/a b%20?#.txt",
            "/targets/dir/a%20b%2520%3F%23.txt",
        ),
        (Kind::Target, "a:b//c", "/targets/a:b//c"),
        (Kind::Target, "//host/x", "/targets///host/x"),
        (Kind::Target, "ünï", "/targets/%C3%BCn%C3%AF"),
    ] {
        assert_eq!(get(&transport, kind, path, None).await.unwrap(), b"body");
        let requests = server.requests();
        assert_eq!(requests[0].path, expected);
        assert!(
            requests[0].head.contains("user-agent: tidegate\r\n"),
            "{}",
            requests[0].head
        );
        assert!(
            !requests[0].head.contains("accept-encoding"),
            "{}",
            requests[0].head
        );
    }
    for path in ["../x", "a/./b", "", ".."] {
        let error = get(&transport, Kind::Target, path, None).await.unwrap_err();
        assert!(
            matches!(error, TransportError::InvalidPath { .. }),
            "{path}: {error:?}"
        );
    }
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn statuses() {
    for (status, expected) in [
        ("404 Not Found", "NotFound"),
        (
            "403 Forbidden",
            "Status { url: \"http://HOST/targets/file\", code: 403, retry_after: None }",
        ),
        ("500 Oops", "Status"),
        ("204 No Content", "Status"),
        ("206 Partial Content", "Status"),
        ("416 Range Not Satisfiable", "Status"),
        ("304 Not Modified", "Status"),
    ] {
        let error = one(move |_| reply(status, &[], b""), None).await.unwrap_err();
        let text = format!("{error:?}");
        let host = text.split('/').nth(2).unwrap().to_owned();
        assert!(
            text.replace(&host, "HOST").starts_with(expected),
            "{status}: {text}"
        );
    }
}

#[tokio::test]
async fn servers_ask_for_patience() {
    let date = "Wed, 21 Oct 2015 07:28:00 GMT";
    for (headers, expected) in [
        (vec![("retry-after", "120")], Some(120)),
        (
            vec![("retry-after", "Wed, 21 Oct 2015 07:30:00 GMT"), ("date", date)],
            Some(120),
        ),
        (
            vec![("retry-after", "Wed, 21 Oct 2015 07:00:00 GMT"), ("date", date)],
            Some(0),
        ),
        (vec![("retry-after", "99999999999")], Some(86_400)),
        (vec![("retry-after", "soon")], None),
        (vec![], None),
    ] {
        let error = one(move |_| reply("503 Busy", &headers, b""), None)
            .await
            .unwrap_err();
        assert_eq!(error.retry_after(), expected.map(Duration::from_secs));
    }
}

#[tokio::test]
async fn ranges_are_taken_at_their_word() {
    let ok = |first: &'static str| {
        move |_: &Request| reply("206 Partial Content", &[("content-range", first)], b"2345")
    };
    assert_eq!(one(ok("bytes 2-5/10"), Some(2..6)).await.unwrap(), b"2345");
    assert_eq!(one(ok("bytes 2-5/*"), Some(2..9)).await.unwrap(), b"2345");
    for lie in [
        "bytes 0-3/10",
        "bytes 2-9/10",
        "bytes 5-2/10",
        "2-5/10",
        "bytes */10",
        "",
    ] {
        let error = one(ok(lie), Some(2..6)).await.unwrap_err();
        assert!(
            matches!(error, TransportError::RangeIgnored { .. }),
            "{lie}: {error:?}"
        );
    }
    let error = one(|_| reply("200 OK", &[], b"0123456789"), Some(2..6))
        .await
        .unwrap_err();
    assert!(matches!(error, TransportError::RangeIgnored { .. }));
    let error = one(|_| reply("416 No", &[], b""), Some(20..26))
        .await
        .unwrap_err();
    assert!(matches!(error, TransportError::RangeNotSatisfiable { .. }));
    let error = one(|_| reply("200 OK", &[], b""), Some(5..5)).await.unwrap_err();
    assert!(matches!(error, TransportError::RangeNotSatisfiable { .. }));
}

#[tokio::test]
async fn a_short_body_is_an_error() {
    let error = one(|_| reply("200 OK", &[("content-length", "100")], b"short"), None)
        .await
        .unwrap_err();
    assert!(matches!(error, TransportError::Network { .. }), "{error:?}");
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nshort\r\n";
    let error = one(|_| Reply::Raw(chunked.to_vec()), None).await.unwrap_err();
    assert!(matches!(error, TransportError::Network { .. }), "{error:?}");
    for nonsense in [
        &b""[..],
        b"\r\n\r\n",
        b"HTTP/1.1 banana\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-len",
    ] {
        let error = one(|_| Reply::Raw(nonsense.to_vec()), None).await.unwrap_err();
        assert!(matches!(error, TransportError::Network { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn silence_and_refusal() {
    let server = Server::start(None, |_| Reply::Silence).await;
    let impatient = HttpsOptions {
        idle_timeout: Duration::from_millis(50),
        ..options()
    };
    let slow = transport(&format!("http://{}", server.address), &impatient);
    let error = get(&slow, Kind::Target, "file", None).await.unwrap_err();
    assert!(matches!(error, TransportError::Timeout { .. }), "{error:?}");

    let address = server.address;
    drop(server);
    let gone = transport(&format!("http://user:secret@{address}"), &options());
    let error = get(&gone, Kind::Metadata, "timestamp.json", None)
        .await
        .unwrap_err();
    assert!(matches!(error, TransportError::Network { .. }), "{error:?}");
    let mut text = String::new();
    let mut cause: Option<&dyn std::error::Error> = Some(&error);
    while let Some(found) = cause {
        text.push_str(&format!("{found}: "));
        cause = found.source();
    }
    assert!(
        text.starts_with(&format!("http://{address}/metadata/timestamp.json: ")),
        "{text}"
    );
    assert!(!format!("{text}{error:?}").contains("secret"), "{error:?}");
}

#[tokio::test]
async fn redirects_are_followed_a_little_way() {
    let server = Server::start(None, |request| match request.path.strip_prefix("/targets/") {
        Some(left) => match left.parse::<u32>().unwrap() {
            0 => reply("200 OK", &[], b"arrived"),
            left => reply(
                "302 Found",
                &[("location", &format!("/targets/{}", left - 1))],
                b"",
            ),
        },
        None => reply("404 Not Found", &[], b""),
    })
    .await;
    let transport = transport(&format!("http://{}", server.address), &options());
    assert_eq!(
        get(&transport, Kind::Target, "5", None).await.unwrap(),
        b"arrived"
    );
    let error = get(&transport, Kind::Target, "6", None).await.unwrap_err();
    assert!(matches!(error, TransportError::Redirect { .. }), "{error:?}");
    assert!(error.to_string().contains("more than five"), "{error}");
}
