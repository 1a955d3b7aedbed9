//! Believes an ID token or says why not (OpenID Connect Core, 3.1.3.7). No IO and no clock.
//!
//! The algorithms are three with public keys, and a key serves only the algorithm of its own kind: a token cannot choose
//! to be unsigned, or to be "signed" with a public key taken for a shared secret.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey,
};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::shown;

/// How far clocks may differ, in seconds.
const LEEWAY: f64 = 60.0;
/// Longest subject (OpenID Connect Core, 2).
const SUBJECT_BYTES_MAX: usize = 255;
/// Most keys of a provider that are looked at.
const KEYS_MAX: usize = 50;

/// A public key of the provider (RFC 7517); those of other kinds are passed over.
#[derive(Debug, Clone, Deserialize)]
pub struct Jwk {
    kty: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    alg: Option<String>,
    kid: Option<String>,
    n: Option<String>,
    e: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// What a token must say.
pub struct Expected<'a> {
    /// Who signs.
    pub issuer: &'a str,
    /// For whom.
    pub client_id: &'a str,
    /// For which sign-in.
    pub nonce: &'a str,
    /// When it is read.
    pub now: Timestamp,
}

/// What a token says that was believed. No `Debug`: it is about a person.
pub struct Claims {
    /// Who, for ever the same at this issuer.
    pub subject: String,
    /// Everything.
    pub all: Map<String, Value>,
}

/// Why a token is not believed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TokenError {
    /// Not three parts of JSON, JSON and signature.
    #[error("the ID token of the provider cannot be read")]
    Form,
    /// An algorithm that is not taken.
    #[error("the ID token is signed with {0}; only RS256, PS256 and ES256 are taken")]
    Algorithm(String),
    /// No key of that name and kind; the provider may have changed its keys.
    #[error("the ID token is signed with a key that the provider does not publish")]
    UnknownKey,
    /// Not signed by that key.
    #[error("the signature of the ID token is wrong")]
    Signature,
    /// From somebody else.
    #[error("the ID token is from {0} and not from the configured issuer")]
    Issuer(String),
    /// For somebody else.
    #[error("the ID token is for another client; compare oidc.client_id with the provider")]
    Audience,
    /// Its time is over or has not begun.
    #[error("the ID token is not valid now: {0}; compare the clocks of site and provider")]
    Time(&'static str),
    /// Of another sign-in.
    #[error("the ID token belongs to another sign-in")]
    Nonce,
    /// Nobody.
    #[error("the ID token names no subject of 1 to {SUBJECT_BYTES_MAX} printable characters")]
    Subject,
}

#[derive(Clone, Copy)]
enum Algorithm {
    Rs256,
    Ps256,
    Es256,
}

impl Algorithm {
    fn parse(word: &str) -> Option<Self> {
        match word {
            "RS256" => Some(Algorithm::Rs256),
            "PS256" => Some(Algorithm::Ps256),
            "ES256" => Some(Algorithm::Es256),
            _ => None,
        }
    }

    fn kind(self) -> &'static str {
        match self {
            Algorithm::Rs256 | Algorithm::Ps256 => "RSA",
            Algorithm::Es256 => "EC",
        }
    }
}

/// The claims of a token that one of these keys signed and that says what is expected.
pub fn verify(token: &str, keys: &[Jwk], expected: &Expected<'_>) -> Result<Claims, TokenError> {
    let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Form)?;
    let (header, claims) = signed.split_once('.').ok_or(TokenError::Form)?;
    let header = object(header)?;
    let word = header.get("alg").and_then(Value::as_str).unwrap_or_default();
    let algorithm = Algorithm::parse(word).ok_or_else(|| TokenError::Algorithm(shown(word)))?;
    // An extension that must be understood and is not (RFC 7515, 4.1.11).
    if header.contains_key("crit") {
        return Err(TokenError::Form);
    }
    let signature = decoded(signature)?;
    let named = header.get("kid").and_then(Value::as_str);
    let mut fitting = keys
        .iter()
        .take(KEYS_MAX)
        .filter(|key| fits(key, algorithm, word, named))
        .peekable();
    if fitting.peek().is_none() {
        return Err(TokenError::UnknownKey);
    }
    if !fitting.any(|key| is_signed(key, algorithm, signed.as_bytes(), &signature)) {
        return Err(TokenError::Signature);
    }
    // Nothing of the claims is looked at before this.
    judge(object(claims)?, expected)
}

fn fits(key: &Jwk, algorithm: Algorithm, word: &str, named: Option<&str>) -> bool {
    key.kty == algorithm.kind()
        && key.usage.as_deref().is_none_or(|usage| usage == "sig")
        && key.alg.as_deref().is_none_or(|alg| alg == word)
        && named.is_none_or(|named| key.kid.as_deref() == Some(named))
}

fn is_signed(key: &Jwk, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
    let part = |text: &Option<String>| text.as_deref().and_then(|text| decoded(text).ok());
    match algorithm {
        Algorithm::Rs256 | Algorithm::Ps256 => {
            let (Some(n), Some(e)) = (part(&key.n), part(&key.e)) else {
                return false;
            };
            let parameters = match algorithm {
                Algorithm::Ps256 => &RSA_PSS_2048_8192_SHA256,
                _ => &RSA_PKCS1_2048_8192_SHA256,
            };
            let key = PublicKeyComponents {
                n: without_zeros(&n),
                e: without_zeros(&e),
            };
            key.verify(parameters, message, signature).is_ok()
        }
        Algorithm::Es256 => {
            let (Some(x), Some(y)) = (part(&key.x), part(&key.y)) else {
                return false;
            };
            // An uncompressed point (SEC 1, 2.3.3); each coordinate has its full length (RFC 7518, 6.2.1.2).
            let point = [&[4], x.as_slice(), y.as_slice()].concat();
            key.crv.as_deref() == Some("P-256")
                && x.len() == 32
                && y.len() == 32
                && UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
                    .verify(message, signature)
                    .is_ok()
        }
    }
}

fn judge(all: Map<String, Value>, expected: &Expected<'_>) -> Result<Claims, TokenError> {
    let text = |name: &str| all.get(name).and_then(Value::as_str);
    if text("iss") != Some(expected.issuer) {
        return Err(TokenError::Issuer(shown(text("iss").unwrap_or_default())));
    }
    let for_us = |value: &Value| value.as_str() == Some(expected.client_id);
    let (meant, others) = match all.get("aud") {
        Some(Value::Array(list)) => (list.iter().any(for_us), list.len() > 1),
        Some(one) => (for_us(one), false),
        None => (false, false),
    };
    // A token for several says in `azp` to whom it was given.
    let given_to_us = match all.get("azp") {
        Some(party) => for_us(party),
        None => !others,
    };
    if !meant || !given_to_us {
        return Err(TokenError::Audience);
    }
    let now = expected.now.as_second() as f64;
    let time = |name: &str| all.get(name).and_then(Value::as_f64);
    if time("exp").is_none_or(|at| now >= at + LEEWAY) {
        return Err(TokenError::Time("its time is over"));
    }
    if time("iat").is_none_or(|at| at > now + LEEWAY) || time("nbf").is_some_and(|at| at > now + LEEWAY) {
        return Err(TokenError::Time("its time has not begun"));
    }
    let nonce = text("nonce").unwrap_or_default();
    verify_slices_are_equal(nonce.as_bytes(), expected.nonce.as_bytes()).map_err(|_| TokenError::Nonce)?;
    let subject = text("sub")
        .filter(|sub| (1..=SUBJECT_BYTES_MAX).contains(&sub.len()) && !sub.chars().any(char::is_control))
        .ok_or(TokenError::Subject)?
        .to_owned();
    Ok(Claims { subject, all })
}

fn object(part: &str) -> Result<Map<String, Value>, TokenError> {
    serde_json::from_slice(&decoded(part)?).map_err(|_| TokenError::Form)
}

fn decoded(part: &str) -> Result<Vec<u8>, TokenError> {
    BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Form)
}

/// Some providers write a leading zero that the library does not take.
fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}
