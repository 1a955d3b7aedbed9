//! The provider: its description, its keys, and the exchange of a code for an ID token.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use cloud_client::{Document, Documents, HttpsOptions, LocationError, NoAnswer};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use url::Url;
use url::form_urlencoded::{Serializer, byte_serialize};
use zeroize::Zeroizing;

use super::id_token::Jwk;
use super::settings::is_private_way;
use super::{Hidden, OidcSettings, shown};
use crate::context::SiteContext;
use crate::secrets::{SecretFileError, secret_file};

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The public keys of a provider.
pub type Keys = Arc<Vec<Jwk>>;

/// What a provider says of itself (OpenID Connect Discovery, 3).
#[derive(Debug, Clone, Deserialize)]
pub struct Metadata {
    issuer: String,
    #[serde(deserialize_with = "address")]
    authorization_endpoint: Url,
    #[serde(deserialize_with = "address")]
    token_endpoint: Url,
    #[serde(deserialize_with = "address")]
    jwks_uri: Url,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

fn address<'de, D: serde::Deserializer<'de>>(text: D) -> Result<Url, D::Error> {
    let text = String::deserialize(text)?;
    Url::parse(&text).map_err(serde::de::Error::custom)
}

/// The way to a provider.
pub struct Provider<'a> {
    settings: &'a OidcSettings,
    documents: Documents,
    secret: Option<Hidden>,
}

/// What goes into the address that a browser is sent to. The verifier stays here; its hash goes.
pub struct Question<'a> {
    /// Where the answer is to go.
    pub redirect_uri: &'a str,
    /// Comes back with the answer.
    pub state: &'a str,
    /// Comes back in the ID token.
    pub nonce: &'a str,
    /// Proves later that the code was asked for by this site (RFC 7636).
    pub verifier: &'a str,
}

/// Why a provider could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// No way out can be prepared.
    #[error("cannot prepare the way to the provider")]
    Way(#[source] LocationError),
    /// The file of `oidc.ca`.
    #[error("cannot read the certificates {path}; correct oidc.ca in tidegate.toml")]
    Certificates {
        /// File.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// The client's secret.
    #[error(transparent)]
    Secret(#[from] SecretFileError),
    /// No answer.
    #[error("cannot get {what} from the provider")]
    Unreachable {
        /// What was asked for.
        what: &'static str,
        /// Cause.
        #[source]
        source: NoAnswer,
    },
    /// An answer that is no success.
    #[error("the provider answered {status} when asked for {what}{}", .word.as_deref().map(|word| format!(": {word}")).unwrap_or_default())]
    Answer {
        /// What was asked for.
        what: &'static str,
        /// Status code.
        status: u16,
        /// Its word for it; never more than a code of RFC 6749.
        word: Option<String>,
    },
    /// An answer that makes no sense.
    #[error("the provider's answer is not {what}: {problem}")]
    Odd {
        /// What was asked for.
        what: &'static str,
        /// What is wrong.
        problem: String,
    },
}

const DESCRIPTION: &str = "its description (.well-known/openid-configuration)";
const KEYS: &str = "its keys (jwks_uri)";
const TOKEN: &str = "an ID token (token_endpoint)";

impl fmt::Debug for Provider<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Provider({})", self.settings.issuer)
    }
}

impl<'a> Provider<'a> {
    /// The way as it is configured now: the site's proxy, the platform's roots and those of `oidc.ca`.
    pub fn open(context: &SiteContext, settings: &'a OidcSettings) -> Result<Self, ProviderError> {
        let roots = settings.ca.iter().map(|path| {
            std::fs::read(path).map_err(|source| ProviderError::Certificates {
                path: path.clone(),
                source,
            })
        });
        let options = HttpsOptions {
            extra_roots_pem: roots.collect::<Result<_, _>>()?,
            proxy: context.internet.proxy(),
            connect_timeout: PATIENCE,
            ..HttpsOptions::default()
        };
        let secret = settings
            .client_secret
            .as_ref()
            .map(|name| secret_file(&context.directory.secrets(), name));
        Ok(Provider {
            settings,
            documents: Documents::new(&options, PATIENCE).map_err(ProviderError::Way)?,
            secret: secret.transpose()?.map(Hidden),
        })
    }

    /// What the provider says of itself, if it is the configured one.
    pub async fn metadata(&self) -> Result<Metadata, ProviderError> {
        let odd = |problem: String| ProviderError::Odd {
            what: DESCRIPTION,
            problem,
        };
        let base = self.settings.issuer.trim_end_matches('/');
        let url = Url::parse(&format!("{base}/.well-known/openid-configuration"))
            .map_err(|failure| odd(failure.to_string()))?;
        let metadata: Metadata = read(DESCRIPTION, self.get(DESCRIPTION, &url).await?)?;
        if metadata.issuer != self.settings.issuer {
            return Err(odd(format!(
                "it calls itself {}; write oidc.issuer exactly so if that is the one you mean",
                shown(&metadata.issuer)
            )));
        }
        for (name, url) in [
            ("authorization_endpoint", &metadata.authorization_endpoint),
            ("token_endpoint", &metadata.token_endpoint),
            ("jwks_uri", &metadata.jwks_uri),
        ] {
            let as_safe_as_issuer = url.scheme() == "https" || self.settings.issuer.starts_with("http://");
            if !is_private_way(url) || !as_safe_as_issuer {
                return Err(odd(format!("its {name} is no https:// address")));
            }
        }
        Ok(metadata)
    }

    /// Its public keys.
    pub async fn keys(&self, metadata: &Metadata) -> Result<Keys, ProviderError> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Set = read(KEYS, self.get(KEYS, &metadata.jwks_uri).await?)?;
        // Keys of a shape that is not known are those of algorithms that are not taken.
        let keys = set.keys.into_iter();
        Ok(Arc::new(
            keys.filter_map(|key| serde_json::from_value(key).ok()).collect(),
        ))
    }

    /// The ID token for a code. It works once.
    pub async fn id_token(
        &self,
        metadata: &Metadata,
        code: &str,
        redirect_uri: &str,
        verifier: &str,
    ) -> Result<Zeroizing<String>, ProviderError> {
        #[derive(Deserialize)]
        struct Tokens {
            id_token: String,
        }
        let (authorization, form) = self.proof(metadata, code, redirect_uri, verifier);
        let authorization = authorization.as_ref().map(|text| text.as_str());
        let answer = self
            .documents
            .post_form(&metadata.token_endpoint, authorization, form)
            .await
            .map_err(|source| ProviderError::Unreachable { what: TOKEN, source })?;
        let tokens: Tokens = read(TOKEN, answer)?;
        Ok(Zeroizing::new(tokens.id_token))
    }

    /// The form for a code, and the header that goes with it: who asks, and that it is who began.
    fn proof(
        &self,
        metadata: &Metadata,
        code: &str,
        redirect_uri: &str,
        verifier: &str,
    ) -> (Option<Zeroizing<String>>, String) {
        let mut form = Serializer::new(String::new());
        form.append_pair("grant_type", "authorization_code")
            .append_pair("code", code)
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("code_verifier", verifier);
        let id = self.settings.client_id.as_str();
        let mut authorization = None;
        match &self.secret {
            None => {
                form.append_pair("client_id", id);
            }
            Some(Hidden(secret)) if metadata.takes_basic() => {
                // Both are encoded like a form before they are put together (RFC 6749, 2.3.1).
                let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
                let pair = Zeroizing::new(format!("{}:{}", encoded(id), encoded(secret)));
                let text = format!("Basic {}", BASE64_STANDARD.encode(pair.as_bytes()));
                authorization = Some(Zeroizing::new(text));
            }
            Some(Hidden(secret)) => {
                form.append_pair("client_id", id)
                    .append_pair("client_secret", secret);
            }
        }
        (authorization, form.finish())
    }

    async fn get(&self, what: &'static str, url: &Url) -> Result<Document, ProviderError> {
        let answer = self.documents.get(url).await;
        answer.map_err(|source| ProviderError::Unreachable { what, source })
    }
}

impl Metadata {
    /// Where a browser is sent.
    pub fn address(&self, settings: &OidcSettings, question: &Question<'_>) -> Url {
        let challenge = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(question.verifier));
        let mut url = self.authorization_endpoint.clone();
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &settings.client_id)
            .append_pair("redirect_uri", question.redirect_uri)
            .append_pair("scope", &settings.scopes.join(" "))
            .append_pair("state", question.state)
            .append_pair("nonce", question.nonce)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        url
    }

    /// Whether an answer that names this issuer, or none, may be this provider's (RFC 9207, 2.4).
    pub fn may_answer_as(&self, issuer: Option<&str>) -> bool {
        match issuer {
            Some(issuer) => issuer == self.issuer,
            None => !self.authorization_response_iss_parameter_supported,
        }
    }

    /// Basic is what is taken where nothing is said (OpenID Connect Discovery, 3).
    fn takes_basic(&self) -> bool {
        self.token_endpoint_auth_methods_supported
            .as_ref()
            .is_none_or(|methods| methods.iter().any(|method| method == "client_secret_basic"))
    }
}

/// The JSON of an answer. Of a refusal only its code is kept: other words of it may repeat what was sent.
fn read<T: serde::de::DeserializeOwned>(what: &'static str, answer: Document) -> Result<T, ProviderError> {
    if !answer.success {
        let said: Option<Value> = serde_json::from_slice(&answer.body).ok();
        let word = said.as_ref().and_then(|said| said.get("error")?.as_str());
        return Err(ProviderError::Answer {
            what,
            status: answer.status,
            word: word.filter(|word| is_code(word)).map(str::to_owned),
        });
    }
    serde_json::from_slice(&answer.body).map_err(|failure| ProviderError::Odd {
        what,
        // The parser's own words may quote a token.
        problem: format!("line {}, column {}", failure.line(), failure.column()),
    })
}

/// An error code of RFC 6749 or its relatives.
pub fn is_code(word: &str) -> bool {
    (1..=64).contains(&word.len()) && word.chars().all(|c| c.is_ascii_lowercase() || c == '_')
}
