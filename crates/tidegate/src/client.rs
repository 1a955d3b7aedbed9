//! The client of a site's REST API on its local socket. A site that does not run, runs as somebody else
//! or does not exist is told apart, each with what to do.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use protocol::api::ApiProblem;
use reqwest::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use site::directory::SiteDirectory;

use crate::failure::Failure;

/// Longest time for an answer; longer than the site's own limit, so that its words arrive.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(90);
/// Longest time for work that is waited for: reading terabytes from a slow disk.
const LONG_WORK_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Largest answer: a list of the longest entries at the highest limit is far below.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Talks to the site of one directory.
pub struct Client {
    http: reqwest::Client,
    directory: PathBuf,
}

impl Client {
    /// A client of the running site; fails clearly if there is none.
    pub fn open(directory: &Path) -> Result<Client, Failure> {
        let socket = SiteDirectory::new(directory).api_socket();
        UnixStream::connect(&socket).map_err(|failure| why_no_connection(directory, &socket, &failure))?;
        let http = reqwest::Client::builder()
            .unix_socket(socket)
            // Nothing here uses TLS; reading the platform's certificates would only cost time.
            .tls_certs_only([])
            .timeout(ANSWER_TIME_MAX)
            .build()?;
        Ok(Client {
            http,
            directory: directory.to_owned(),
        })
    }

    /// The same where a site that does not run is no failure: the work can be done without it.
    pub fn open_if_running(directory: &Path) -> Result<Option<Client>, Failure> {
        let socket = SiteDirectory::new(directory).api_socket();
        match UnixStream::connect(&socket) {
            Err(failure)
                if matches!(
                    failure.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) =>
            {
                Ok(None)
            }
            _ => Client::open(directory).map(Some),
        }
    }

    /// Reads.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.get_with(path, &()).await
    }

    /// Reads with query parameters.
    pub async fn get_with<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &impl Serialize,
    ) -> Result<T, Failure> {
        let request = self.request(Method::GET, path).query(query);
        Self::understood(path, &self.answer(request).await?)
    }

    /// Reads the bytes of an answer as they are.
    pub async fn get_bytes(&self, path: &str, query: &impl Serialize) -> Result<Vec<u8>, Failure> {
        self.answer(self.request(Method::GET, path).query(query)).await
    }

    fn understood<T: DeserializeOwned>(path: &str, body: &[u8]) -> Result<T, Failure> {
        serde_json::from_slice(body).map_err(|e| {
            Failure::new(format!("the site's answer to {path} is not understood: {e}"))
                .hint("site and command line are of different releases; restart the site with this one")
        })
    }

    /// Asks for something to be done.
    pub async fn post(&self, path: &str, body: &impl Serialize) -> Result<(), Failure> {
        self.answer(self.request(Method::POST, path).json(body))
            .await
            .map(drop)
    }

    /// Asks for work and waits for its result as long as it takes.
    pub async fn post_and_wait<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let request = self.request(Method::POST, path).timeout(LONG_WORK_MAX).json(&());
        Self::understood(path, &self.answer(request).await?)
    }

    /// Asks for work with a description and waits for its result as long as it takes.
    pub async fn post_for<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        let request = self.request(Method::POST, path).timeout(LONG_WORK_MAX).json(body);
        Self::understood(path, &self.answer(request).await?)
    }

    /// Sets something and reads what it is now.
    pub async fn put_for<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        let request = self.request(Method::PUT, path).json(body);
        Self::understood(path, &self.answer(request).await?)
    }

    /// Asks for work and waits for the bytes of its result as long as it takes.
    pub async fn post_for_bytes(&self, path: &str, body: &impl Serialize) -> Result<Vec<u8>, Failure> {
        let request = self.request(Method::POST, path).timeout(LONG_WORK_MAX).json(body);
        self.answer(request).await
    }

    /// Sends a file and waits for what becomes of it as long as it takes.
    pub async fn put_file<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &impl Serialize,
        file: tokio::fs::File,
    ) -> Result<T, Failure> {
        let request = self
            .request(Method::PUT, path)
            .query(query)
            .timeout(LONG_WORK_MAX)
            .body(file);
        Self::understood(path, &self.answer(request).await?)
    }

    /// Removes something.
    pub async fn delete(&self, path: &str) -> Result<(), Failure> {
        self.answer(self.request(Method::DELETE, path)).await.map(drop)
    }

    /// Removes something and reads what there is now.
    pub async fn delete_for<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        Self::understood(path, &self.answer(self.request(Method::DELETE, path)).await?)
    }

    /// Sets something.
    pub async fn put(&self, path: &str, body: &impl Serialize) -> Result<(), Failure> {
        self.answer(self.request(Method::PUT, path).json(body))
            .await
            .map(drop)
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("http://site/v1{path}"))
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> Result<Vec<u8>, Failure> {
        let mut response = request.send().await.map_err(|failure| self.broken(&failure))?;
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await.map_err(|failure| self.broken(&failure))? {
            if body.len() + part.len() > ANSWER_BYTES_MAX {
                return Err(Failure::new(format!(
                    "the site's answer is larger than {ANSWER_BYTES_MAX} bytes"
                )));
            }
            body.extend_from_slice(&part);
        }
        match response.status() {
            status if status.is_success() => Ok(body),
            status => Err(refusal(status, &body)),
        }
    }

    fn broken(&self, failure: &reqwest::Error) -> Failure {
        let directory = self.directory.display();
        if failure.is_timeout() {
            Failure::new(format!(
                "the site in {directory} did not answer within {ANSWER_TIME_MAX:?}"
            ))
            .hint(format!(
                "see what it is doing: tidegate logs SMS_EXECUTIVE --dir {directory}"
            ))
        } else {
            Failure::new(format!(
                "the site in {directory} stopped answering: {}",
                crate::failure::with_causes(failure)
            ))
            .hint(format!(
                "if it has ended, start it again: tidegate run --dir {directory}"
            ))
        }
    }
}

fn refusal(status: StatusCode, body: &[u8]) -> Failure {
    match serde_json::from_slice::<ApiProblem>(body) {
        Ok(ApiProblem {
            detail,
            hint: Some(hint),
            ..
        }) => Failure::new(detail).hint(hint),
        Ok(ApiProblem { detail, .. }) => Failure::new(detail),
        Err(_) => Failure::new(format!("the site answered with HTTP status {status}")),
    }
}

fn why_no_connection(directory: &Path, socket: &Path, failure: &io::Error) -> Failure {
    let shown = directory.display();
    let has_site = SiteDirectory::new(directory)
        .configuration()
        .try_exists()
        .unwrap_or(true);
    match failure.kind() {
        io::ErrorKind::PermissionDenied => {
            Failure::new(format!("you may not use the site in {shown}: it runs as another user"))
                .hint("run this command as that user or as root")
        }
        io::ErrorKind::NotFound if !has_site => Failure::new(format!("there is no site in {shown}")).hint(
            "name its directory with --dir, create a site with `tidegate site init`, or try everything out with `tidegate up`",
        ),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            Failure::new(format!("the site in {shown} is not running"))
                .hint(format!("start it with: tidegate run --dir {shown}"))
        }
        _ => Failure::new(format!("cannot reach the site in {shown} over {}: {failure}", socket.display())),
    }
}

/// A name as one segment of a path (RFC 3986, 2.3).
pub fn segment(name: &str) -> String {
    name.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_one_segment() {
        assert_eq!(segment("SMS_DMP-1.x~"), "SMS_DMP-1.x~");
        assert_eq!(segment("../a b"), "..%2Fa%20b");
    }

    #[test]
    fn refusals_keep_the_sites_words() {
        let body = br#"{"title":"Conflict","status":409,"detail":"blocked by package Y","hint":"wait"}"#;
        let Failure::Failed { what, hint } = refusal(StatusCode::CONFLICT, body) else {
            panic!("other kind")
        };
        assert_eq!(
            (what.as_str(), hint.as_deref()),
            ("blocked by package Y", Some("wait"))
        );
        let Failure::Failed { what, .. } = refusal(StatusCode::BAD_GATEWAY, b"<html>") else {
            panic!("other kind")
        };
        assert!(what.contains("502"));
    }
}
