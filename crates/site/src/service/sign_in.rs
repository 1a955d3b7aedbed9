//! Signing in with a password, and what ends a session.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use domain::access::lock_after;
use domain::status_message::StatusMessageId;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use store::{AccountRow, SessionRow, StoreError, Tx};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::accounts::PASSWORD_CHARACTERS_MAX;
use super::{Actor, ServiceError, SiteService};

/// A session that nobody uses ends.
const SESSION_IDLE: SignedDuration = SignedDuration::from_mins(60);
/// A session ends however busy it is.
const SESSION_LIFE: SignedDuration = SignedDuration::from_hours(12);
/// How often the use of a session is written down.
const SEEN_EVERY: SignedDuration = SignedDuration::from_mins(1);
/// Passwords that are compared at a time: each takes 19 MiB and some 20 ms.
const COMPARED_AT_ONCE: usize = 2;
/// Live views of all users together.
const VIEWS_MAX: usize = 100;
/// What people who are not signed in have under way at a time, each on a thread and a connection of the database.
const STRANGERS_MAX: usize = 8;
/// Cookies and probes that are looked up at a time. Apart from the others, which take their time over passwords.
const LOOKUPS_MAX: usize = 8;
/// How long one more waits for its turn.
const TURN_WITHIN: Duration = Duration::from_secs(3);
/// Attempts of one address in a window.
const ATTEMPTS_MAX: u32 = 20;
const ATTEMPTS_WINDOW: SignedDuration = SignedDuration::from_mins(1);
/// Wrong passwords before the last lock are forgotten this long after it.
const FAILURES_REMEMBERED: SignedDuration = SignedDuration::from_hours(1);
/// Addresses that are remembered.
const ADDRESSES_MAX: usize = 10_000;

/// What a sign-in needs beyond the database.
pub(super) struct Door {
    pub(super) comparing: Semaphore,
    strangers: Semaphore,
    lookups: Semaphore,
    /// Places for live views.
    pub(super) views: Arc<Semaphore>,
    /// Held while the file of tokens is changed.
    pub(super) tokens: tokio::sync::Mutex<()>,
    attempts: Mutex<HashMap<IpAddr, (Timestamp, u32)>>,
}

impl Default for Door {
    fn default() -> Self {
        Door {
            comparing: Semaphore::new(COMPARED_AT_ONCE),
            strangers: Semaphore::new(STRANGERS_MAX),
            lookups: Semaphore::new(LOOKUPS_MAX),
            views: Arc::new(Semaphore::new(VIEWS_MAX)),
            tokens: tokio::sync::Mutex::default(),
            attempts: Mutex::default(),
        }
    }
}

impl Door {
    /// Counts an attempt; false where there were too many.
    pub(super) fn admits(&self, address: IpAddr, now: Timestamp) -> bool {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        if attempts.len() >= ADDRESSES_MAX {
            attempts.retain(|_, (begun, _)| now.duration_since(*begun) < ATTEMPTS_WINDOW);
        }
        if attempts.len() >= ADDRESSES_MAX
            && let Some(oldest) = attempts
                .iter()
                .min_by_key(|(_, (begun, _))| *begun)
                .map(|(of, _)| *of)
        {
            attempts.remove(&oldest);
        }
        let (begun, count) = attempts.entry(network_of(address)).or_insert((now, 0));
        if now.duration_since(*begun) >= ATTEMPTS_WINDOW {
            (*begun, *count) = (now, 0);
        }
        *count += 1;
        *count <= ATTEMPTS_MAX
    }
}

/// What one party has: an address, of IPv6 a whole /64.
pub(crate) fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & !u128::from(u64::MAX)).into()),
    }
}

/// A session that has just begun.
pub struct SignedIn {
    /// What the cookie holds; stored as a hash only.
    pub cookie: String,
    /// What the browser keeps beyond the session (`devices`); nothing where no password was typed.
    pub device: Option<String>,
}

/// What a wrong password counts against.
pub(super) struct Counted {
    pub(super) account: String,
    /// The browser that is known, in place of the account.
    pub(super) device: Option<String>,
}

/// Until when no password is taken: from a browser that is known, whatever others did to the account.
pub(super) fn locked_until(
    tx: &Tx<'_>,
    account: Option<&AccountRow>,
    device: Option<&str>,
) -> Result<Option<Timestamp>, StoreError> {
    match device {
        Some(hash) => tx.device_locked_until(hash),
        None => Ok(account.and_then(|account| account.locked_until)),
    }
}

/// The session a request belongs to.
#[derive(Debug, Clone)]
pub struct Session {
    /// Who.
    pub actor: Actor,
    /// Name of the account.
    pub account: String,
    /// What forms carry.
    pub csrf: String,
}

/// A turn, unless the others take too long.
async fn turn(places: &Semaphore) -> Result<SemaphorePermit<'_>, ServiceError> {
    let permit = tokio::time::timeout(TURN_WITHIN, places.acquire()).await;
    permit
        .ok()
        .and_then(Result::ok)
        .ok_or_else(|| ServiceError::Unavailable {
            message: "too many ask at the same time".into(),
            hint: Some("try again in a few seconds".into()),
        })
}

impl SiteService {
    /// A place for one more request of somebody who is not signed in.
    pub async fn stranger_place(&self) -> Result<SemaphorePermit<'_>, ServiceError> {
        turn(&self.door.strangers).await
    }

    /// A place to look something up for somebody of whom nothing is known yet.
    pub(crate) async fn lookup_place(&self) -> Result<SemaphorePermit<'_>, ServiceError> {
        turn(&self.door.lookups).await
    }

    /// Begins a session. What is told of a refusal does not say whether there is such a user. `device` is what the browser
    /// kept of a sign-in before, if anything.
    pub async fn sign_in(
        &self,
        name: &str,
        password: &str,
        address: IpAddr,
        device: Option<&str>,
    ) -> Result<SignedIn, ServiceError> {
        let now = self.clock.now();
        let refused = |message: &str, hint: Option<&str>| ServiceError::Refused {
            message: message.to_owned(),
            hint: hint.map(str::to_owned),
        };
        self.admit(address, now)?;
        // Who waits here sees the account as it is afterwards: what was counted or changed meanwhile counts.
        let one_of_few = self.door.comparing.acquire().await;
        let known = self.known_device(name, device);
        let (wanted, from) = (name.to_owned(), known.clone());
        let (account, locked_until) = self
            .context
            .store
            .read::<_, StoreError, _>(move |tx| {
                let account = tx.account(&wanted)?;
                let locked_until = locked_until(tx, account.as_ref(), from.as_deref())?;
                Ok((account, locked_until))
            })
            .await?;
        let locked = locked_until.is_some_and(|until| until > now);
        // Nobody from the provider has a password here; finding that out takes as long as a wrong one.
        let stored = account
            .as_ref()
            .filter(|account| account.subject.is_none())
            .map(|account| account.password.clone());
        let right = password.chars().count() <= PASSWORD_CHARACTERS_MAX && compare(password, stored).await?;
        let begun = match account {
            Some(account) if right && !locked => {
                let kept = self.device_cookie(name, device)?;
                self.begin_session(account, address, known, kept, now).await?
            }
            account => {
                let why = match (&account, locked) {
                    (Some(external), _) if external.subject.is_some() => {
                        "the user comes by single sign-on and has no password"
                    }
                    (None, _) => "there is no such user",
                    (Some(_), true) => "the user is locked",
                    (Some(_), false) => "the password is wrong",
                };
                // What somebody typed who is no user is not written down: people type passwords there.
                let shown = account.as_ref().map(|account| account.name.clone());
                let shown = shown.as_deref().unwrap_or("somebody unknown");
                let counted = account.filter(|account| !locked && account.subject.is_none());
                let counted = counted.map(|account| Counted {
                    account: account.name,
                    device: known,
                });
                self.record_refusal(shown, counted, why, address, now).await?;
                None
            }
        };
        drop(one_of_few);
        begun.ok_or_else(|| {
            refused(
                "the name or the password is wrong, or the user is locked for some minutes",
                Some("an administrator sets a new password with `tidegate user password`"),
            )
        })
    }

    /// Counts an attempt of an address; refuses where there were too many.
    pub(super) fn admit(&self, address: IpAddr, now: Timestamp) -> Result<(), ServiceError> {
        match self.door.admits(address, now) {
            true => Ok(()),
            false => Err(ServiceError::Refused {
                message: "too many attempts from this address; wait a minute".into(),
                hint: None,
            }),
        }
    }

    /// Nothing if the account changed while its password was compared.
    async fn begin_session(
        &self,
        account: AccountRow,
        address: IpAddr,
        known: Option<String>,
        device: String,
        now: Timestamp,
    ) -> Result<Option<SignedIn>, ServiceError> {
        let (cookie, session) = new_session(&account.name, now)?;
        let actor = Actor::user(&account.name, account.access);
        let strings = [actor.as_str(), &address.to_string()];
        let message = self
            .context
            .status_message(StatusMessageId::SignedIn, &strings, now);
        let begun = self
            .context
            .store
            .write::<_, StoreError, _>(move |tx| {
                let (name, password) = (&account.name, &account.password);
                let lets_in = match known {
                    Some(device) => tx.account_signed_in_from(&device, name, password, now)?,
                    None => tx.account_signed_in(name, password, now)?,
                };
                if !lets_in {
                    return Ok(false);
                }
                tx.begin_session(&session)?;
                tx.record_status_message(&message)?;
                Ok(true)
            })
            .await?;
        Ok(begun.then_some(SignedIn {
            cookie,
            device: Some(device),
        }))
    }

    /// Records a refused sign-in, and counts it.
    pub(super) async fn record_refusal(
        &self,
        shown: &str,
        counted: Option<Counted>,
        why: &str,
        address: IpAddr,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let strings = [shown, &address.to_string(), why];
        let message = self
            .context
            .status_message(StatusMessageId::SignInRefused, &strings, now);
        self.context
            .store
            .write::<_, StoreError, _>(move |tx| {
                if let Some(Counted { account, device }) = counted {
                    let forgotten = now.checked_sub(FAILURES_REMEMBERED).unwrap_or(Timestamp::MIN);
                    let failures = match &device {
                        Some(hash) => tx.count_wrong_password_of_device(hash, &account, forgotten, now)?,
                        None => tx.count_wrong_password(&account, forgotten)?,
                    };
                    let until = lock_after(failures)
                        .and_then(|lock| SignedDuration::try_from(lock).ok())
                        .and_then(|lock| now.checked_add(lock).ok());
                    match (until, &device) {
                        (Some(until), Some(hash)) => tx.lock_device(hash, until)?,
                        (Some(until), None) => tx.lock_account(&account, until)?,
                        (None, _) => {}
                    }
                }
                tx.record_status_message(&message)
            })
            .await
    }

    /// The session of a cookie, unless it ended. A request of a person keeps it alive (`touch`), a live view does not.
    pub async fn session(&self, cookie: &str, touch: bool) -> Result<Option<Session>, ServiceError> {
        let _one_of_few = self.lookup_place().await?;
        let (hash, now) = (hash_of(cookie), self.clock.now());
        let wanted = hash.clone();
        let found = self
            .context
            .store
            .read::<_, StoreError, _>(move |tx| {
                let Some(session) = tx.session(&wanted)? else {
                    return Ok(None);
                };
                Ok(tx.account(&session.account)?.map(|account| (session, account)))
            })
            .await?;
        let Some((session, account)) = found else {
            return Ok(None);
        };
        let idle = now.duration_since(session.seen_at);
        if idle > SESSION_IDLE || now.duration_since(session.created_at) > SESSION_LIFE {
            self.end(hash).await?;
            return Ok(None);
        }
        if touch && idle > SEEN_EVERY {
            self.context
                .store
                .write::<_, StoreError, _>(move |tx| tx.see_session(&hash, now))
                .await?;
        }
        Ok(Some(Session {
            actor: Actor::user(&account.name, account.access),
            account: account.name,
            csrf: session.csrf,
        }))
    }

    /// Ends the session of a cookie.
    pub async fn sign_out(&self, cookie: &str) -> Result<(), ServiceError> {
        self.end(hash_of(cookie)).await
    }

    async fn end(&self, hash: String) -> Result<(), ServiceError> {
        Ok(self
            .context
            .store
            .write::<_, StoreError, _>(move |tx| tx.end_session(&hash))
            .await?)
    }
}

/// A session that begins now: what its cookie holds, and what is stored of it.
pub(super) fn new_session(account: &str, now: Timestamp) -> Result<(String, SessionRow), ServiceError> {
    let cookie = random_word()?;
    let session = SessionRow {
        hash: hash_of(&cookie),
        account: account.to_owned(),
        csrf: random_word()?,
        created_at: now,
        seen_at: now,
    };
    Ok((cookie, session))
}

/// 32 random bytes as text.
pub(super) fn random_word() -> Result<String, ServiceError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|failure| ServiceError::Internal {
        source: format!("the machine gives no random numbers: {failure}").into(),
    })?;
    Ok(hex::encode(bytes))
}

/// What is stored of a word with too much entropy to be guessed from its hash.
pub(super) fn hash_of(word: &str) -> String {
    hex::encode(Sha256::digest(word.as_bytes()))
}

/// Compares with the stored hash; where there is none, as long as that would take.
pub(super) async fn compare(password: &str, stored: Option<String>) -> Result<bool, ServiceError> {
    let password = zeroize::Zeroizing::new(password.to_owned());
    Ok(
        tokio::task::spawn_blocking(move || match stored.filter(|stored| !stored.is_empty()) {
            Some(stored) => PasswordHash::new(&stored).is_ok_and(|hash| {
                Argon2::default()
                    .verify_password(password.as_bytes(), &hash)
                    .is_ok()
            }),
            None => {
                // The result is of no use, the time it takes is.
                let _ = Argon2::default().hash_password(password.as_bytes());
                false
            }
        })
        .await?,
    )
}

#[cfg(test)]
mod tests {
    use domain::access::Access;
    use protocol::api::AccountRequest;

    use super::*;

    #[tokio::test]
    async fn guesses_at_the_present_password_count_like_those_at_the_door() {
        let (_folder, service) = crate::testing::service();
        let password = "four words are enough";
        let request = AccountRequest {
            name: "alice".into(),
            role: "read-only-analyst".into(),
            scope: None,
            password: password.into(),
        };
        let local = Actor::user("root", Access::FULL);
        service.add_account(request, &local).await.unwrap();
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        let signed_in = service.sign_in("alice", password, address, None).await.unwrap();
        let session = service.session(&signed_in.cookie, true).await.unwrap().unwrap();
        let change = async |present: &str| {
            service
                .change_own_password(&session, present, "other words", address, None)
                .await
        };
        let mut guesses = 0;
        while domain::access::lock_after(guesses).is_none() {
            assert!(change("a guess that is wrong").await.is_err());
            guesses += 1;
        }
        let failure = change(password).await.unwrap_err();
        assert!(failure.to_string().contains("locked"), "{failure}");
        assert!(service.sign_in("alice", password, address, None).await.is_err());
        let told = service
            .context
            .store
            .read_blocking::<_, StoreError>(|tx| Ok(tx.account("alice")?.unwrap()))
            .unwrap();
        assert_eq!(told.failures, guesses);
        // Whoever goes on is slowed down like at the door.
        for _ in 0..ATTEMPTS_MAX {
            let _ = change("a guess that is wrong").await;
        }
        let failure = change("a guess that is wrong").await.unwrap_err();
        assert!(failure.to_string().contains("too many attempts"), "{failure}");
    }

    #[test]
    fn one_address_is_slowed_down_and_others_are_not() {
        let door = Door::default();
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let (one, other): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let admitted = (0..100).filter(|_| door.admits(one, now)).count();
        assert_eq!(admitted, ATTEMPTS_MAX as usize);
        assert!(door.admits(other, now));
        assert!(door.admits(one, now + ATTEMPTS_WINDOW));
        let of_one_network = |host: u16| format!("2001:db8::{host:x}").parse().unwrap();
        let admitted = (0..100)
            .filter(|host| door.admits(of_one_network(*host), now))
            .count();
        assert_eq!(admitted, ATTEMPTS_MAX as usize);
    }
}
