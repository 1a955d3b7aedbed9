//! Where a feed says that usage data goes: a target of the feed, so that address and keys are signed.

use serde::{Deserialize, Serialize};
use url::Url;

/// Where a feed keeps it.
pub const CONFIG_TARGET: &str = "config/usage.json";
/// Largest that is read.
pub const CONFIG_BYTES_MAX: usize = 64 * 1024;
const FORMAT: u32 = 1;
const KEYS_MAX: usize = 16;

/// Address and keys of an intake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct IntakeConfig {
    /// Version of the form.
    pub format: u32,
    /// Address; relative to the feed's own address unless it names a host.
    pub address: String,
    /// Public keys of receipts, in hexadecimal.
    pub receipt_keys: Vec<String>,
    /// Public key (X25519, in hexadecimal) that reports on media may be encrypted for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption_key: Option<String>,
}

/// Why it cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IntakeConfigError {
    /// Not what we write.
    #[error("{CONFIG_TARGET} of the feed cannot be read: {0}")]
    Malformed(String),
    /// The address leads nowhere.
    #[error("the feed's address for usage data is not usable: {0}")]
    Address(String),
}

impl IntakeConfig {
    /// An intake at this address.
    pub fn new(address: &str, receipt_keys: Vec<String>) -> Self {
        IntakeConfig {
            format: FORMAT,
            address: address.to_owned(),
            receipt_keys,
            encryption_key: None,
        }
    }

    /// Reads and checks it.
    pub fn parse(text: &[u8]) -> Result<Self, IntakeConfigError> {
        let malformed = |problem: &str| IntakeConfigError::Malformed(problem.to_owned());
        if text.len() > CONFIG_BYTES_MAX {
            return Err(malformed("it is too large"));
        }
        let config: IntakeConfig = serde_json::from_slice(text)
            .map_err(|failure| IntakeConfigError::Malformed(failure.to_string()))?;
        if config.format != FORMAT {
            return Err(malformed("it is of a format that this release does not know"));
        }
        if config.receipt_keys.is_empty() || config.receipt_keys.len() > KEYS_MAX {
            return Err(malformed("it names no key of receipts, or too many"));
        }
        Ok(config)
    }

    /// The address to send to, for a feed at `feed`. Credentials in it are refused; so is plain HTTP from a
    /// feed that is read over HTTPS.
    pub fn url(&self, feed: &str) -> Result<Url, IntakeConfigError> {
        let wrong = |problem: String| IntakeConfigError::Address(problem);
        let base = Url::parse(&format!("{}/", feed.trim_end_matches('/')))
            .map_err(|failure| wrong(format!("{feed}: {failure}")))?;
        let mut url = base
            .join(&self.address)
            .map_err(|failure| wrong(format!("{:?}: {failure}", self.address)))?;
        match url.scheme() {
            "https" => {}
            "http" if base.scheme() == "http" => {}
            "file" => {
                return Err(wrong(
                    "the feed is a folder and names no host for usage data".into(),
                ));
            }
            scheme => return Err(wrong(format!("{scheme} is not used for usage data; write https"))),
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
            return Err(wrong("it has credentials or a query in it".into()));
        }
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        Ok(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_the_feed_or_secure() {
        let check = |feed: &str, address: &str, expected: Option<&str>| {
            let url = IntakeConfig::new(address, vec!["00".into()]).url(feed);
            assert_eq!(
                url.ok().map(|url| url.to_string()).as_deref(),
                expected,
                "{feed} {address}"
            );
        };
        let feed = "https://updates.example:8443";
        check(feed, "usage/v1", Some("https://updates.example:8443/usage/v1/"));
        check(feed, "https://in.example/u", Some("https://in.example/u/"));
        check(feed, "http://in.example/u", None);
        check(feed, "https://jo:pw@in.example/u", None);
        check(feed, "https://in.example/u?x=1", None);
        check(
            "http://127.0.0.1:80/feed/",
            "usage/v1",
            Some("http://127.0.0.1/feed/usage/v1/"),
        );
        check("file:///srv/feed", "usage/v1", None);
        check(
            "file:///srv/feed",
            "https://in.example/u",
            Some("https://in.example/u/"),
        );
    }

    #[test]
    fn odd_texts_are_refused() {
        for odd in [
            "",
            "[]",
            "{\"format\":2,\"address\":\"x\",\"receipt-keys\":[\"00\"]}",
            "{\"format\":1,\"address\":\"x\",\"receipt-keys\":[]}",
        ] {
            assert!(IntakeConfig::parse(odd.as_bytes()).is_err(), "{odd}");
        }
        let config = IntakeConfig::new("usage/v1", vec!["00".into()]);
        let text = serde_json::to_vec(&config).unwrap();
        assert_eq!(IntakeConfig::parse(&text), Ok(config));
    }
}
