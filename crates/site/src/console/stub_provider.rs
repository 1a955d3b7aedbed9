//! A provider of single sign-on on this machine, for tests: it signs what a test wants it to say, and keeps to the
//! protocol where no test wants otherwise.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
};
use axum::extract::State;
use axum::routing::{get, post};
use axum::{Form, Json, Router};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::task::JoinSet;
use url::Url;

/// What the client's secret is; the colon and the plus have to be encoded.
pub const SECRET: &str = "s:e+cret";

/// How a token is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signed {
    /// As it should be.
    Rs256,
    Ps256,
    Es256,
    /// Without signature.
    None,
    /// By the public key, taken for a shared secret.
    Hs256,
    /// By a key of the same name that is not published.
    Forged,
    /// RS256, and a claim was changed afterwards.
    Changed,
}

/// What a test may look at and change.
pub struct Script {
    pub signed: Signed,
    /// Name of the key in the header of tokens.
    pub kid: &'static str,
    /// Name of the key as published.
    pub published: &'static str,
    /// Claims beside the usual ones, and in their place.
    pub claims: Value,
    /// Where the description says it is.
    pub issuer: Option<String>,
    /// Bytes of nothing in its description.
    pub padding: usize,
    /// Lets codes be used again.
    pub careless: bool,
    /// Requests by path.
    pub asked: HashMap<&'static str, u32>,
    codes: HashMap<String, (String, String, String)>,
    count: u32,
}

/// A running provider.
pub struct StubProvider {
    pub issuer: String,
    script: Arc<Mutex<Script>>,
    _tasks: JoinSet<()>,
}

struct Inner {
    issuer: String,
    rsa: RsaKeyPair,
    forger: RsaKeyPair,
    ec: EcdsaKeyPair,
    script: Arc<Mutex<Script>>,
}

fn lock(script: &Mutex<Script>) -> MutexGuard<'_, Script> {
    script.lock().unwrap()
}

impl StubProvider {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let script = Arc::new(Mutex::new(Script {
            signed: Signed::Rs256,
            kid: "one",
            published: "one",
            claims: json!({}),
            issuer: None,
            padding: 0,
            careless: false,
            asked: HashMap::new(),
            codes: HashMap::new(),
            count: 0,
        }));
        let inner = Arc::new(Inner {
            issuer: issuer.clone(),
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
            forger: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
            ec: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            script: script.clone(),
        });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(description))
            .route("/keys", get(keys))
            .route("/token", post(token))
            .with_state(inner);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
        StubProvider {
            issuer,
            script,
            _tasks: tasks,
        }
    }

    pub fn script(&self) -> MutexGuard<'_, Script> {
        lock(&self.script)
    }

    pub fn asked(&self, path: &'static str) -> u32 {
        self.script().asked.get(path).copied().unwrap_or(0)
    }

    /// Somebody signs in there: the code for this address, and its state.
    pub fn authorize(&self, location: &str) -> (String, String) {
        let url = Url::parse(location).unwrap();
        assert!(
            location.starts_with(&format!("{}/authorize?", self.issuer)),
            "{location}"
        );
        let asked: HashMap<String, String> = url.query_pairs().into_owned().collect();
        assert_eq!(asked["response_type"], "code");
        assert_eq!(asked["client_id"], "site");
        assert_eq!(asked["scope"], "openid profile email");
        assert_eq!(asked["code_challenge_method"], "S256");
        let mut script = self.script();
        script.count += 1;
        let code = format!("code/{}", script.count);
        let kept = (
            asked["redirect_uri"].clone(),
            asked["code_challenge"].clone(),
            asked["nonce"].clone(),
        );
        script.codes.insert(code.clone(), kept);
        (code, asked["state"].clone())
    }
}

async fn description(State(inner): State<Arc<Inner>>) -> Json<Value> {
    let mut script = lock(&inner.script);
    *script.asked.entry("description").or_default() += 1;
    let issuer = &inner.issuer;
    Json(json!({
        "issuer": script.issuer.as_ref().unwrap_or(issuer),
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/keys"),
        "response_types_supported": ["code"],
        "padding": "x".repeat(script.padding),
    }))
}

fn encoded(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

async fn keys(State(inner): State<Arc<Inner>>) -> Json<Value> {
    let mut script = lock(&inner.script);
    *script.asked.entry("keys").or_default() += 1;
    let public = inner.rsa.public_key();
    let n = public.modulus().big_endian_without_leading_zero();
    let e = public.exponent().big_endian_without_leading_zero();
    let point = inner.ec.public_key().as_ref();
    Json(json!({ "keys": [
        { "kty": "OKP", "crv": "Ed25519", "x": "AA", "kid": script.published },
        { "kty": "oct", "k": "c2VjcmV0", "kid": script.published },
        // Some write a zero before the number.
        { "kty": "RSA", "use": "sig", "kid": script.published, "n": encoded(&[&[0], n].concat()), "e": encoded(e) },
        { "kty": "EC", "crv": "P-256", "kid": script.published, "x": encoded(&point[1..33]), "y": encoded(&point[33..]) },
    ] }))
}

async fn token(
    State(inner): State<Arc<Inner>>,
    headers: HeaderMap,
    Form(given): Form<HashMap<String, String>>,
) -> (StatusCode, Json<Value>) {
    let refused = |error: &str| {
        // Words like these must not come through to anybody.
        let words = json!({ "error": error, "error_description": "client_secret=hunter2" });
        (StatusCode::BAD_REQUEST, Json(words))
    };
    let mut script = lock(&inner.script);
    *script.asked.entry("token").or_default() += 1;
    let basic = format!("Basic {}", BASE64_STANDARD.encode("site:s%3Ae%2Bcret"));
    if headers.get("authorization").and_then(|value| value.to_str().ok()) != Some(basic.as_str()) {
        return refused("invalid_client");
    }
    let code = given.get("code").cloned().unwrap_or_default();
    let kept = match script.careless {
        true => script.codes.get(&code).cloned(),
        false => script.codes.remove(&code),
    };
    let Some((redirect, challenge, nonce)) = kept else {
        return refused("invalid_grant");
    };
    let proof = encoded(&Sha256::digest(&given["code_verifier"]));
    if given["grant_type"] != "authorization_code" || given["redirect_uri"] != redirect || proof != challenge
    {
        return refused("invalid_grant");
    }
    // 2026-11-21T12:00:00Z is when tests begin; they say otherwise where they move the clock.
    let mut claims = json!({
        "iss": inner.issuer, "aud": "site", "sub": "7-7-7", "nonce": nonce, "iat": 1_795_262_400,
        "exp": 1_795_262_700, "preferred_username": "eva", "roles": ["staff", "ops"],
    });
    for (name, value) in script.claims.as_object().unwrap() {
        claims[name] = value.clone();
    }
    let token = sign(&inner, script.signed, script.kid, &claims);
    let answer = json!({ "access_token": "x", "token_type": "Bearer", "id_token": token });
    (StatusCode::OK, Json(answer))
}

fn sign(inner: &Inner, signed: Signed, kid: &str, claims: &Value) -> String {
    let algorithm = match signed {
        Signed::Ps256 => "PS256",
        Signed::Es256 => "ES256",
        Signed::None => "none",
        Signed::Hs256 => "HS256",
        Signed::Rs256 | Signed::Forged | Signed::Changed => "RS256",
    };
    let header = json!({ "alg": algorithm, "kid": kid, "typ": "JWT" });
    let text = |value: &Value| encoded(value.to_string().as_bytes());
    let message = format!("{}.{}", text(&header), text(claims));
    let random = SystemRandom::new();
    let rsa = |key: &RsaKeyPair, pss: bool| {
        let mut signature = vec![0; key.public_modulus_len()];
        match pss {
            true => key.sign(&RSA_PSS_SHA256, &random, message.as_bytes(), &mut signature),
            false => key.sign(&RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut signature),
        }
        .unwrap();
        signature
    };
    let signature = match signed {
        Signed::Rs256 | Signed::Changed => rsa(&inner.rsa, false),
        Signed::Ps256 => rsa(&inner.rsa, true),
        Signed::Forged => rsa(&inner.forger, false),
        Signed::Es256 => inner
            .ec
            .sign(&random, message.as_bytes())
            .unwrap()
            .as_ref()
            .to_vec(),
        Signed::None => Vec::new(),
        Signed::Hs256 => {
            let key = hmac::Key::new(hmac::HMAC_SHA256, inner.rsa.public_key().as_ref());
            hmac::sign(&key, message.as_bytes()).as_ref().to_vec()
        }
    };
    match signed {
        Signed::Changed => {
            let mut other = claims.clone();
            other["roles"] = json!(["chiefs"]);
            format!("{}.{}.{}", text(&header), text(&other), encoded(&signature))
        }
        _ => format!("{message}.{}", encoded(&signature)),
    }
}
