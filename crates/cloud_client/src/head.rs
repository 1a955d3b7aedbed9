//! The head of an HTTP/1.1 answer, read with every bound held: 64 KiB, 100 lines.

use tokio::io::{AsyncRead, AsyncReadExt};

/// Most bytes of a head.
const HEAD_MAX: usize = 64 * 1024;
/// Most header lines.
const HEADERS_MAX: usize = 100;

/// Status line and headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Status code.
    pub status: u16,
    headers: Vec<(String, String)>,
    /// What came behind the head in the same read.
    pub rest: Vec<u8>,
}

/// Why there is no head.
#[derive(Debug, thiserror::Error)]
pub enum HeadError {
    /// The connection ended.
    #[error("the connection was closed before an answer came")]
    Closed,
    /// It broke.
    #[error("the connection broke while the answer was read")]
    Broken(#[source] std::io::Error),
    /// What came is no HTTP.
    #[error("the answer is not HTTP: it begins with {begin:?}")]
    NotHttp {
        /// Its first characters.
        begin: String,
    },
    /// It is HTTP, and too much of it.
    #[error("the head of the answer has more than {HEAD_MAX} bytes or {HEADERS_MAX} lines")]
    TooLarge,
}

impl Head {
    /// The first value of a header, lower-case name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// Every value of a header, lower-case name.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers
            .iter()
            .filter(move |(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }

    /// Length of the body, where the head tells.
    pub fn content_length(&self) -> Option<u64> {
        self.get("content-length")?.trim().parse().ok()
    }

    /// Whether the connection ends with this answer.
    pub fn closes(&self) -> bool {
        let says = |name: &str| {
            self.all(name).any(|value| {
                value
                    .to_ascii_lowercase()
                    .split(',')
                    .any(|word| word.trim() == "close")
            })
        };
        says("connection") || says("proxy-connection")
    }

    /// Reads a head, passing over interim answers.
    pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Head, HeadError> {
        let mut bytes = Vec::with_capacity(2048);
        loop {
            if let Some(head) = Self::parse(&bytes)? {
                if (100..200).contains(&head.status) && head.status != 101 {
                    bytes = head.rest;
                    continue;
                }
                return Ok(head);
            }
            let read = stream.read_buf(&mut bytes).await.map_err(HeadError::Broken)?;
            if read == 0 {
                return match bytes.is_empty() {
                    true => Err(HeadError::Closed),
                    false => Err(not_http(&bytes)),
                };
            }
        }
    }

    /// The head in these bytes; none while it is incomplete.
    pub fn parse(bytes: &[u8]) -> Result<Option<Head>, HeadError> {
        let looks = bytes.iter().zip(b"HTTP/").all(|(found, wanted)| found == wanted);
        if !looks {
            return Err(not_http(bytes));
        }
        let mut lines = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut lines);
        match response.parse(&bytes[..bytes.len().min(HEAD_MAX)]) {
            Ok(httparse::Status::Complete(length)) => Ok(Some(Head {
                status: response.code.unwrap_or_default(),
                headers: response
                    .headers
                    .iter()
                    .map(|line| {
                        (
                            line.name.to_ascii_lowercase(),
                            String::from_utf8_lossy(line.value).into_owned(),
                        )
                    })
                    .collect(),
                rest: bytes[length..].to_vec(),
            })),
            Ok(httparse::Status::Partial) if bytes.len() >= HEAD_MAX => Err(HeadError::TooLarge),
            Ok(httparse::Status::Partial) => Ok(None),
            Err(httparse::Error::TooManyHeaders) => Err(HeadError::TooLarge),
            Err(_) => Err(not_http(bytes)),
        }
    }
}

fn not_http(bytes: &[u8]) -> HeadError {
    let begin = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]);
    HeadError::NotHttp {
        begin: begin
            .chars()
            .map(|c| if c.is_control() { '.' } else { c })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[tokio::test]
    async fn heads() {
        let mut bytes: &[u8] =
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 407 Proxy\r\nA: 1\r\na:  2 \r\nContent-Length: 3\r\n\r\nabc";
        let head = Head::read(&mut bytes).await.unwrap();
        assert_eq!(head.status, 407);
        assert_eq!(head.all("a").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(
            (head.content_length(), head.rest.as_slice()),
            (Some(3), &b"abc"[..])
        );
        let refused = |bytes: Vec<u8>| async move { Head::read(&mut bytes.as_slice()).await.unwrap_err() };
        assert!(matches!(refused(Vec::new()).await, HeadError::Closed));
        assert!(matches!(
            refused(b"SSH-2.0-x\r\n".to_vec()).await,
            HeadError::NotHttp { .. }
        ));
        assert!(matches!(
            refused(b"HTTP/1.1 2".to_vec()).await,
            HeadError::NotHttp { .. }
        ));
        let endless = [b"HTTP/1.1 200 OK\r\nA: ".to_vec(), vec![b'a'; 10 << 20]].concat();
        assert!(matches!(refused(endless).await, HeadError::TooLarge));
        let many = format!("HTTP/1.1 200 OK\r\n{}", "A: b\r\n".repeat(500));
        assert!(matches!(refused(many.into_bytes()).await, HeadError::TooLarge));
        let mut odd: &[u8] = b"HTTP/1.1 200 OK\r\nServer: \xff\xfe\r\n\r\n";
        assert_eq!(
            Head::read(&mut odd).await.unwrap().get("server"),
            Some("\u{fffd}\u{fffd}")
        );
    }

    proptest! {
        #[test]
        fn no_bytes_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..400), sound in any::<bool>()) {
            if sound {
                bytes.splice(0..0, *b"HTTP/1.1 200 OK\r\n");
            }
            let _ = Head::parse(&bytes);
        }
    }
}
