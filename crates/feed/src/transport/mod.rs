//! How bytes reach us: one object-safe trait with one method, so that verification is the same code whether a feed
//! lies on a web server, in a folder or on a stick.
//!
//! A transport promises nothing about what it delivers. It refuses only to name a file outside its base.

mod folder;
mod mirrors;
mod path;

pub use folder::FolderTransport;
pub use mirrors::Mirrors;
pub use path::{encode_name, encode_path};

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

/// Which of the two trees of a repository a path belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The path is one file name, however odd its characters (a delegated role may be called `../x`).
    Metadata,
    /// The path is a target path, `/` between its folders.
    Target,
}

/// The body of a request, as it arrives.
pub type ByteStream = BoxStream<'static, Result<Bytes, TransportError>>;

/// An answer whose body has not been read yet.
pub struct Response {
    /// How many bytes the other side says will follow, if it says so. Not to be believed.
    pub length: Option<u64>,
    /// The bytes, in order. The reader decides when it has had enough and drops the stream.
    pub body: ByteStream,
}

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Response")
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

/// Fetches files of one repository.
pub trait Transport: Send + Sync {
    /// Opens `path` (not encoded, `/` between folders), or only the given bytes of it. A transport that cannot
    /// deliver exactly the range fails with [`TransportError::RangeIgnored`] and sends no body.
    fn fetch<'a>(
        &'a self,
        kind: Kind,
        path: &'a str,
        range: Option<Range<u64>>,
    ) -> BoxFuture<'a, Result<Response, TransportError>>;
}

/// Why a file did not arrive. Every variant names the URL or file, without user name, password or query.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// There is no such file.
    #[error("{url} does not exist")]
    NotFound {
        /// What was asked for.
        url: String,
    },
    /// The server sent the whole file, or another part of it, where a range was asked for.
    #[error("{url}: the server does not answer range requests with the range asked for")]
    RangeIgnored {
        /// What was asked for.
        url: String,
    },
    /// The file is shorter than the start of the range.
    #[error("{url}: the range asked for lies outside the file")]
    RangeNotSatisfiable {
        /// What was asked for.
        url: String,
    },
    /// Any other status that is not success.
    #[error("{url}: the server answered with status {code}")]
    Status {
        /// What was asked for.
        url: String,
        /// The HTTP status code.
        code: u16,
        /// How long the server asks to wait before the next request, if it says so.
        retry_after: Option<Duration>,
    },
    /// Nothing, or too little, arrived in time.
    #[error("{url}: no answer, or no further data, within the time limit")]
    Timeout {
        /// What was asked for.
        url: String,
    },
    /// A redirect that would leave HTTPS, or one too many.
    #[error("{url}: refused to follow the redirect: {why}")]
    Redirect {
        /// What was asked for.
        url: String,
        /// What was wrong with it.
        why: &'static str,
    },
    /// The connection could not be made or broke.
    #[error("{url}: the connection failed")]
    Network {
        /// What was asked for.
        url: String,
        /// The failure below.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A local file could not be read.
    #[error("{url} could not be read")]
    Io {
        /// The file.
        url: String,
        /// The failure below.
        #[source]
        source: std::io::Error,
    },
    /// Nothing failed: this side itself lets nothing through now.
    #[error("{why}")]
    Held {
        /// Which rule, and until when.
        why: String,
        /// How long.
        wait: Duration,
    },
    /// The path would leave the repository or cannot be a file name.
    #[error("{path:?} is not a path inside a repository")]
    InvalidPath {
        /// The path as asked for.
        path: String,
    },
}

impl TransportError {
    /// Whether the answer means "there is no such file". Object stores say 403 where listing is not allowed.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::NotFound { .. } | Self::Status { code: 403 | 410, .. })
    }

    /// How long the server asks to wait, if it says so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            Self::Held { wait, .. } => Some(*wait),
            _ => None,
        }
    }
}
