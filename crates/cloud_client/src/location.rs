//! Where a feed is: one text that a person wrote, turned into a transport.

use std::path::PathBuf;
use std::sync::Arc;

use feed::{FolderTransport, Transport};

use url::Url;

use crate::{HttpsOptions, HttpsTransport, ResolverError, RootsError};

/// The base of one tree of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A web server. The URL ends in `/`.
    Web(Url),
    /// A folder on this machine.
    Folder(PathBuf),
}

/// Why a location cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocationError {
    /// Not a URL.
    #[error("{text:?} is not a URL; write https://…, http://… or file:///…")]
    NotAUrl {
        /// What was written.
        text: String,
    },
    /// A scheme nobody here speaks.
    #[error("{scheme}: URLs are not supported; write https://…, http://… or file:///…")]
    Scheme {
        /// The scheme.
        scheme: String,
    },
    /// Query and fragment have no meaning for a base.
    #[error("the base URL {url} must not have a query or fragment")]
    Query {
        /// The URL without them.
        url: String,
    },
    /// Metadata and targets in different worlds.
    #[error("metadata and targets must both be on the web or both be in folders")]
    Mixed,
    /// The certificates to trust.
    #[error(transparent)]
    Roots(#[from] RootsError),
    /// TLS could not be set up.
    #[error("could not set up TLS")]
    Tls(#[source] rustls::Error),
    /// Name servers.
    #[error(transparent)]
    Resolver(#[from] ResolverError),
}

impl Location {
    /// Reads a base URL. A missing `/` at its end is added.
    pub fn parse(text: &str) -> Result<Self, LocationError> {
        let mut url = Url::parse(text).map_err(|_| LocationError::NotAUrl {
            text: text.to_owned(),
        })?;
        match url.scheme() {
            "http" | "https" => {
                if url.query().is_some() || url.fragment().is_some() {
                    return Err(LocationError::Query {
                        url: crate::https::display(&url),
                    });
                }
                if !url.path().ends_with('/') {
                    url.set_path(&format!("{}/", url.path()));
                }
                Ok(Self::Web(url))
            }
            "file" => url
                .to_file_path()
                .map(Self::Folder)
                .map_err(|()| LocationError::NotAUrl {
                    text: text.to_owned(),
                }),
            scheme => Err(LocationError::Scheme {
                scheme: scheme.to_owned(),
            }),
        }
    }
}

/// The transport for a repository whose metadata and targets have these base URLs.
pub fn open(
    metadata: &str,
    targets: &str,
    options: &HttpsOptions,
) -> Result<Arc<dyn Transport>, LocationError> {
    match (Location::parse(metadata)?, Location::parse(targets)?) {
        (Location::Web(metadata), Location::Web(targets)) => {
            Ok(Arc::new(HttpsTransport::new(metadata, targets, options)?))
        }
        (Location::Folder(metadata), Location::Folder(targets)) => {
            Ok(Arc::new(FolderTransport::new(metadata, targets)))
        }
        _ => Err(LocationError::Mixed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations() {
        for (text, expected) in [
            ("https://example.com/feed", "https://example.com/feed/"),
            ("http://localhost:80/a/", "http://localhost/a/"),
            ("file:///srv/a%20b", "/srv/a b"),
        ] {
            let found = match Location::parse(text).unwrap() {
                Location::Web(url) => url.to_string(),
                Location::Folder(path) => path.display().to_string(),
            };
            assert_eq!(found, expected);
        }
        for text in [
            "",
            "/srv/feed",
            "ftp://x/",
            "https://x/?a=b",
            "https://x/#a",
            "file://host/x",
        ] {
            Location::parse(text).unwrap_err();
        }
        let options = HttpsOptions::default();
        assert!(matches!(
            open("file:///a", "https://b/", &options),
            Err(LocationError::Mixed)
        ));
    }
}
