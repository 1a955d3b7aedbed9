//! Small documents of a provider of identities: one GET or one POST of a form, the same way out as everything else.
//!
//! Redirects are not followed: what is asked for is at the address that the configuration or the provider's own description
//! names, and secrets go nowhere else. What is said of a failure names the host and no more.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::request::Builder;
use http::{HeaderValue, Method, Request};
use http_body_util::Full;
use url::Url;

use crate::HttpsOptions;
use crate::exchange::{Exchange, NoAnswer};
use crate::location::LocationError;

/// Longest document.
const DOCUMENT_BYTES_MAX: usize = 64 * 1024;

/// A way to small documents.
#[derive(Debug, Clone)]
pub struct Documents(Exchange);

/// What was answered. No `Debug`: it may hold tokens.
pub struct Document {
    /// Whether the status says success.
    pub success: bool,
    /// Status code.
    pub status: u16,
    /// Bytes, 64 KiB at most.
    pub body: Bytes,
}

impl Documents {
    /// Connects like everything else of this site; `patience` is for one request as a whole.
    pub fn new(options: &HttpsOptions, patience: Duration) -> Result<Self, LocationError> {
        Exchange::new(options, patience).map(Documents)
    }

    /// Gets a document.
    pub async fn get(&self, url: &Url) -> Result<Document, NoAnswer> {
        let request = Request::builder().method(Method::GET).uri(url.as_str());
        self.ask(url, request, Bytes::new()).await
    }

    /// Posts a form; `authorization` is the whole value of that header.
    pub async fn post_form(
        &self,
        url: &Url,
        authorization: Option<&str>,
        form: String,
    ) -> Result<Document, NoAnswer> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(url.as_str())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        if let Some(mut value) = authorization.and_then(|text| HeaderValue::from_str(text).ok()) {
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        self.ask(url, request, form.into()).await
    }

    async fn ask(&self, url: &Url, request: Builder, body: Bytes) -> Result<Document, NoAnswer> {
        let host = url.host_str().unwrap_or_default();
        let request = request
            .header(USER_AGENT, "tidegate")
            .header(ACCEPT, "application/json")
            .body(Full::new(body));
        let answered = self.0.send(host, request, DOCUMENT_BYTES_MAX).await?;
        Ok(Document {
            success: answered.status.is_success(),
            status: answered.status.as_u16(),
            body: answered.body.map_err(|why| NoAnswer::broken(host, why))?,
        })
    }
}
