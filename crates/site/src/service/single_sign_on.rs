//! Sign-ins that a provider vouches for: sends a browser there, and makes a session of what it brings back.
//!
//! What belongs to one attempt is in a sealed cookie of the browser and not here; here is only which attempts were used.
//! A user is who the provider's issuer and subject say. The name is for people: it is taken at the first sign-in, and
//! never if somebody else has it already.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use domain::status_message::StatusMessageId;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use store::{AccountRow, Tx};

use super::accounts::is_account_name;
use super::sign_in::{hash_of, new_session, random_word};
use super::{Actor, ServiceError, SignedIn, SiteService};
use crate::context::whole_story;
use crate::single_sign_on::provider::{Question, is_code};
use crate::single_sign_on::{
    Claims, Expected, Keys, Metadata, OidcSettings, Person, Provider, ProviderError, TokenError, id_token,
};

/// How long an attempt may take, with whatever the provider asks of somebody.
pub const SIGN_ON_LIFE: Duration = Duration::from_secs(10 * 60);
/// How long it is believed what a provider said of itself and its keys.
const LEARNED_LIFE: SignedDuration = SignedDuration::from_hours(1);
/// Name under which an attempt is sealed.
const SEALED: &str = "single sign-on";
/// Who acts where the provider's word makes a user or changes one; and who is refused where no name is known.
const ACTOR: &str = "single sign-on";
/// Longest path that is gone back to: the cookie has to fit what browsers take, 4096 bytes.
const PATH_BYTES_MAX: usize = 512;
/// Longest host with port.
const AUTHORITY_BYTES_MAX: usize = 260;
/// Longest code.
const CODE_BYTES_MAX: usize = 4096;

/// What was learned of the provider, to ask it less often.
#[derive(Default)]
pub(super) struct Learned {
    metadata: Mutex<Option<(Timestamp, Arc<Metadata>)>>,
    keys: Mutex<Option<(Timestamp, Keys)>>,
}

/// What was kept, if it is still fresh. A clock that was set back makes nothing fresh again.
fn fresh<T: Clone>(place: &Mutex<Option<(Timestamp, T)>>, now: Timestamp) -> Option<T> {
    let kept = place.lock().unwrap_or_else(PoisonError::into_inner);
    let (at, thing) = kept.as_ref()?;
    let age = now.duration_since(*at);
    (age >= SignedDuration::ZERO && age < LEARNED_LIFE).then(|| thing.clone())
}

fn keep<T>(place: &Mutex<Option<(Timestamp, T)>>, thing: T, now: Timestamp) {
    *place.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, thing));
}

/// One attempt, as its cookie holds it.
#[derive(Serialize, Deserialize)]
struct Attempt {
    state: String,
    nonce: String,
    verifier: String,
    redirect_uri: String,
    to: String,
    expires_at: Timestamp,
}

/// An attempt that has begun.
pub struct SignOnBegun {
    /// Where the browser goes.
    pub location: String,
    /// What its cookie holds meanwhile.
    pub cookie: String,
}

/// What the provider sent back through the browser. No `Debug`: the code is a secret.
#[derive(Deserialize, Default)]
pub struct SignOnAnswer {
    state: Option<String>,
    code: Option<String>,
    error: Option<String>,
    iss: Option<String>,
}

/// An attempt that succeeded.
pub struct SignOnEnded {
    /// The session.
    pub signed_in: SignedIn,
    /// The path that was wanted.
    pub to: String,
}

/// Why an attempt ends without a session.
enum Refusal {
    /// The attempt, the answer or the person.
    No(String),
    /// The way to the provider, or the provider. What is said of it may name files and hosts, and is for administrators.
    Away(String),
    /// The site itself.
    Failed(ServiceError),
}

impl From<ServiceError> for Refusal {
    fn from(failure: ServiceError) -> Self {
        Refusal::Failed(failure)
    }
}

impl From<store::StoreError> for Refusal {
    fn from(failure: store::StoreError) -> Self {
        Refusal::Failed(failure.into())
    }
}

impl From<ProviderError> for Refusal {
    fn from(failure: ProviderError) -> Self {
        // A refused code is an answer; everything else is for administrators to look at.
        match failure {
            ProviderError::Answer { word: Some(_), .. } => Refusal::No(failure.to_string()),
            other => Refusal::Away(whole_story(&other)),
        }
    }
}

impl From<TokenError> for Refusal {
    fn from(failure: TokenError) -> Self {
        Refusal::No(failure.to_string())
    }
}

impl Refusal {
    /// The reason for administrators, and what the browser is told.
    fn told(self) -> (String, ServiceError) {
        match self {
            Refusal::No(why) => {
                let message = format!("single sign-on was refused: {why}");
                (why, ServiceError::Refused { message, hint: None })
            }
            Refusal::Away(why) => {
                let failure = ServiceError::Unavailable {
                    message: "single sign-on does not work now; a status message of the site has the reason"
                        .into(),
                    hint: Some("sign in with a name and password of this site, or try again later".into()),
                };
                (why, failure)
            }
            Refusal::Failed(failure) => (whole_story(&failure), failure),
        }
    }
}

impl SiteService {
    /// Whether single sign-on is offered: it is configured, and the site may connect.
    pub fn offers_sign_on(&self) -> bool {
        self.context.settings.oidc.is_some() && self.context.internet.mode().may_connect()
    }

    fn sign_on_settings(&self) -> Result<&OidcSettings, ServiceError> {
        let settings = self.context.settings.oidc.as_ref();
        let settings = settings.ok_or_else(|| ServiceError::NotFound {
            message: "single sign-on is not configured".into(),
            hint: Some("see [oidc] in tidegate.toml".into()),
        })?;
        match self.context.internet.mode().may_connect() {
            true => Ok(settings),
            false => Err(ServiceError::Unavailable {
                message: "the site is in offline mode and asks no provider".into(),
                hint: Some("sign in with a name and password of this site".into()),
            }),
        }
    }

    fn admit_sign_on(&self, address: IpAddr, now: Timestamp) -> Result<(), ServiceError> {
        match self.door.admits(address, now) {
            true => Ok(()),
            false => Err(ServiceError::Refused {
                message: "too many attempts from this address; wait a minute".into(),
                hint: None,
            }),
        }
    }

    /// Begins an attempt. `authority` is the host under which the browser knows this console, `to` the path it wants.
    pub async fn begin_sign_on(
        &self,
        authority: &str,
        to: &str,
        address: IpAddr,
    ) -> Result<SignOnBegun, ServiceError> {
        let settings = self.sign_on_settings()?;
        let now = self.clock.now();
        self.admit_sign_on(address, now)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
        if !(1..=AUTHORITY_BYTES_MAX).contains(&authority.len()) || !authority.chars().all(plain) {
            return Err(ServiceError::Invalid {
                message: "the request names no host of this console".into(),
                hint: None,
            });
        }
        let metadata = match self.learn(settings, now).await {
            Ok(metadata) => metadata,
            Err(refusal) => {
                let (why, failure) = refusal.told();
                self.record_refusal(ACTOR, None, &why, address, now).await?;
                return Err(failure);
            }
        };
        let attempt = Attempt {
            state: random_word()?,
            nonce: random_word()?,
            verifier: random_word()?,
            redirect_uri: format!("https://{authority}/sign-in/oidc/callback"),
            to: if to.len() <= PATH_BYTES_MAX { to } else { "/" }.to_owned(),
            expires_at: now.checked_add(SIGN_ON_LIFE).unwrap_or(now),
        };
        let question = Question {
            redirect_uri: &attempt.redirect_uri,
            state: &attempt.state,
            nonce: &attempt.nonce,
            verifier: &attempt.verifier,
        };
        let location = metadata.address(settings, &question).to_string();
        let internal = |source: Box<dyn std::error::Error + Send + Sync>| ServiceError::Internal { source };
        let text = serde_json::to_string(&attempt).map_err(|failure| internal(failure.into()))?;
        let sealed = self.context.internet.secrets().seal(SEALED, &text);
        Ok(SignOnBegun {
            location,
            cookie: sealed.map_err(|failure| internal(failure.into()))?,
        })
    }

    /// Ends an attempt with what the provider sent back: a session, or a refusal that is recorded.
    pub async fn end_sign_on(
        &self,
        cookie: Option<&str>,
        answer: SignOnAnswer,
        address: IpAddr,
    ) -> Result<SignOnEnded, ServiceError> {
        let settings = self.sign_on_settings()?;
        let now = self.clock.now();
        self.admit_sign_on(address, now)?;
        let mut name = ACTOR.to_owned();
        let ended = self
            .try_sign_on(settings, cookie, answer, address, now, &mut name)
            .await;
        let (why, failure) = match ended {
            Ok(ended) => return Ok(ended),
            Err(refusal) => refusal.told(),
        };
        self.record_refusal(&name, None, &why, address, now).await?;
        Err(failure)
    }

    async fn try_sign_on(
        &self,
        settings: &OidcSettings,
        cookie: Option<&str>,
        answer: SignOnAnswer,
        address: IpAddr,
        now: Timestamp,
        name: &mut String,
    ) -> Result<SignOnEnded, Refusal> {
        let no = |why: &str| Refusal::No(why.to_owned());
        let attempt = cookie
            .and_then(|cookie| self.context.internet.secrets().open_sealed(SEALED, cookie).ok())
            .and_then(|text| serde_json::from_str::<Attempt>(&text).ok())
            .filter(|attempt| now < attempt.expires_at)
            .ok_or_else(|| no("this browser began no sign-in within the last 10 minutes"))?;
        let state = answer.state.unwrap_or_default();
        verify_slices_are_equal(state.as_bytes(), attempt.state.as_bytes())
            .map_err(|_| no("the answer belongs to another sign-in"))?;
        let (hash, expires_at) = (hash_of(&attempt.state), attempt.expires_at);
        let is_first = self
            .context
            .store
            .write::<_, store::StoreError, _>(move |tx| tx.use_sign_on(&hash, expires_at, now))
            .await?;
        if !is_first {
            return Err(no("this answer was used before"));
        }
        if let Some(error) = &answer.error {
            let code = Some(error.as_str()).filter(|code| is_code(code));
            return Err(Refusal::No(format!(
                "the provider says {}",
                code.unwrap_or("something that is no code of an error")
            )));
        }
        let code = answer
            .code
            .filter(|code| (1..=CODE_BYTES_MAX).contains(&code.len()))
            .ok_or_else(|| no("the answer has no code"))?;
        let metadata = self.learn(settings, now).await?;
        if !metadata.may_answer_as(answer.iss.as_deref()) {
            return Err(no("the answer is from another provider"));
        }
        let provider = Provider::open(&self.context, settings)?;
        let token = provider
            .id_token(&metadata, &code, &attempt.redirect_uri, &attempt.verifier)
            .await?;
        let claims = self
            .believe(&provider, &metadata, &token, &attempt.nonce, settings, now)
            .await?;
        let person = Person::of(&claims, settings, is_account_name)
            .map_err(|failure| Refusal::No(format!("{failure} (subject {})", shown_subject(&claims))))?;
        person.name.clone_into(name);
        Ok(SignOnEnded {
            signed_in: self.let_in(person, address, now).await?,
            to: attempt.to,
        })
    }

    /// What the provider says of itself.
    async fn learn(&self, settings: &OidcSettings, now: Timestamp) -> Result<Arc<Metadata>, Refusal> {
        if let Some(metadata) = fresh(&self.provider.metadata, now) {
            return Ok(metadata);
        }
        let metadata = Arc::new(Provider::open(&self.context, settings)?.metadata().await?);
        keep(&self.provider.metadata, metadata.clone(), now);
        Ok(metadata)
    }

    /// The claims of a token. Where its key is not among those that are known, the provider is asked once for new ones.
    async fn believe(
        &self,
        provider: &Provider<'_>,
        metadata: &Metadata,
        token: &str,
        nonce: &str,
        settings: &OidcSettings,
        now: Timestamp,
    ) -> Result<Claims, Refusal> {
        let expected = Expected {
            issuer: &settings.issuer,
            client_id: &settings.client_id,
            nonce,
            now,
        };
        if let Some(keys) = fresh(&self.provider.keys, now) {
            match id_token::verify(token, &keys, &expected) {
                Err(TokenError::UnknownKey) => {}
                judged => return Ok(judged?),
            }
        }
        let keys = provider.keys(metadata).await?;
        keep(&self.provider.keys, keys.clone(), now);
        Ok(id_token::verify(token, &keys, &expected)?)
    }

    /// Adds or changes the account as the provider wants it, and begins its session, in one transaction.
    async fn let_in(&self, person: Person, address: IpAddr, now: Timestamp) -> Result<SignedIn, Refusal> {
        let context = self.context.clone();
        let cookie = self
            .context
            .store
            .write::<_, ServiceError, _>(move |tx| {
                let (before, mut account) = account_of(tx, &person, now)?;
                (account.access, account.signed_in_at) = (person.access, Some(now));
                tx.record_account(&account)?;
                let (cookie, session) = new_session(&account.name, now)?;
                tx.begin_session(&session)?;
                let change = match before {
                    None => Some(StatusMessageId::AdminAccountAdded),
                    Some(access) if access != person.access => Some(StatusMessageId::AdminAccountChanged),
                    Some(_) => None,
                };
                if let Some(id) = change {
                    let (role, scope) = (person.access.role.as_str(), person.access.scope.as_str());
                    let strings = [ACTOR, account.name.as_str(), role, scope];
                    tx.record_status_message(&context.status_message(id, &strings, now))?;
                }
                let actor = Actor::user(&account.name, account.access);
                let strings = [actor.as_str(), &address.to_string()];
                tx.record_status_message(&context.status_message(StatusMessageId::SignedIn, &strings, now))?;
                Ok(cookie)
            })
            .await
            .map_err(|failure| match failure {
                ServiceError::Refused { message, .. } => Refusal::No(message),
                other => Refusal::Failed(other),
            })?;
        Ok(SignedIn { cookie, device: None })
    }
}

/// The account of somebody: what it could do before, or none where it is new, and the account.
fn account_of(
    tx: &Tx<'_>,
    person: &Person,
    now: Timestamp,
) -> Result<(Option<domain::access::Access>, AccountRow), ServiceError> {
    if let Some(account) = tx.account_of_subject(&person.subject)? {
        return Ok((Some(account.access), account));
    }
    if tx.account(&person.name)?.is_some() {
        return Err(ServiceError::Refused {
            message: format!(
                "another user here has the name {}; remove that one, or give one of them another name",
                person.name
            ),
            hint: None,
        });
    }
    let account = AccountRow {
        name: person.name.clone(),
        access: person.access,
        password: String::new(),
        subject: Some(person.subject.clone()),
        failures: 0,
        locked_until: None,
        created_at: now,
        signed_in_at: None,
    };
    Ok((None, account))
}

/// The subject, so that administrators can find who was not let in.
fn shown_subject(claims: &Claims) -> String {
    crate::single_sign_on::shown(&claims.subject)
}
