//! Users of the console: who they are and what they may do.

use std::net::IpAddr;

use argon2::Argon2;
use argon2::password_hash::PasswordHasher;
use domain::access::{Access, Role, Scope};
use domain::status_message::StatusMessageId;
use jiff::Timestamp;
use protocol::api::{AccountInfo, AccountRequest, RoleRequest};
use store::{AccountRow, StoreError, Tx};

use super::sign_in::{Counted, Session, compare, locked_until};
use super::{Actor, ServiceError, SiteService};

/// Shortest password in characters; length is what makes it hard to guess (NIST SP 800-63B).
const PASSWORD_CHARACTERS_MIN: usize = 12;
pub(super) const PASSWORD_CHARACTERS_MAX: usize = 256;
const NAME_CHARACTERS_MAX: usize = 64;

impl SiteService {
    /// `user list`
    pub async fn accounts(&self) -> Result<Vec<AccountInfo>, ServiceError> {
        let rows = self
            .context
            .store
            .read::<_, StoreError, _>(|tx| tx.accounts())
            .await?;
        Ok(rows.into_iter().map(account_info).collect())
    }

    /// `user add`
    pub async fn add_account(&self, request: AccountRequest, actor: &Actor) -> Result<(), ServiceError> {
        let access = access_of(&request.role, request.scope.as_deref(), Scope::Default)?;
        let strings = [
            actor.as_str(),
            &request.name,
            access.role.as_str(),
            access.scope.as_str(),
        ];
        let now = self.clock.now();
        let message = self
            .context
            .status_message(StatusMessageId::AdminAccountAdded, &strings, now);
        let account = self
            .new_account(&request.name, &request.password, access, now)
            .await?;
        self.context
            .store
            .write::<_, ServiceError, _>(move |tx| {
                if tx.account(&account.name)?.is_some() {
                    return Err(ServiceError::Refused {
                        message: format!("there is a user {} already", account.name),
                        hint: Some("give it another role with `tidegate user role`".into()),
                    });
                }
                tx.record_account(&account)?;
                Ok(tx.record_status_message(&message)?)
            })
            .await
    }

    /// `user role`: takes effect with the next request of the user.
    pub async fn set_account_role(
        &self,
        name: &str,
        request: RoleRequest,
        actor: &Actor,
    ) -> Result<(), ServiceError> {
        let before = self.account(name).await?;
        let access = access_of(&request.role, request.scope.as_deref(), before.access.scope)?;
        let strings = [actor.as_str(), name, access.role.as_str(), access.scope.as_str()];
        let message =
            self.context
                .status_message(StatusMessageId::AdminAccountChanged, &strings, self.clock.now());
        self.change_account(name, message, move |tx, mut account| {
            only_local(&account, "its role")?;
            keep_one_administrator(tx, &account, Some(access))?;
            account.access = access;
            Ok(tx.record_account(&account)?)
        })
        .await
    }

    /// `user password`: ends the user's sessions and a lock.
    pub async fn set_account_password(
        &self,
        name: &str,
        password: &str,
        actor: &Actor,
    ) -> Result<(), ServiceError> {
        let strings = [actor.as_str(), name];
        let message = self
            .context
            .status_message(StatusMessageId::AdminPassword, &strings, self.clock.now());
        let hash = self.hash(name, password).await?;
        self.change_account(name, message, move |tx, mut account| {
            only_local(&account, "its password")?;
            (account.password, account.failures, account.locked_until) = (hash, 0, None);
            tx.forget_devices(&account.name)?;
            tx.end_sessions(&account.name)?;
            Ok(tx.record_account(&account)?)
        })
        .await
    }

    /// A user's own password, changed by whoever knows the present one; all sessions of the user end. A session that
    /// somebody else got hold of is no way around what slows down and counts guesses at the door.
    pub async fn change_own_password(
        &self,
        session: &Session,
        present: &str,
        password: &str,
        address: IpAddr,
        device: Option<&str>,
    ) -> Result<(), ServiceError> {
        let now = self.clock.now();
        self.admit(address, now)?;
        let one_of_few = self.door.comparing.acquire().await;
        let known = self.known_device(&session.account, device);
        let account = self.account(&session.account).await?;
        only_local(&account, "its password")?;
        let (row, from) = (account.clone(), known.clone());
        let locked_until = self
            .context
            .store
            .read::<_, StoreError, _>(move |tx| locked_until(tx, Some(&row), from.as_deref()))
            .await?;
        let locked = locked_until.is_some_and(|until| until > now);
        let right = compare(present, Some(account.password)).await?;
        if locked || !right {
            let why = match locked {
                true => "the password was to be changed while the user is locked",
                false => "the password was to be changed, and the present one is wrong",
            };
            let counted = (!locked).then(|| Counted {
                account: account.name.clone(),
                device: known,
            });
            self.record_refusal(&account.name, counted, why, address, now)
                .await?;
            return Err(ServiceError::Refused {
                message: "the present password is wrong, or the user is locked for some minutes".into(),
                hint: None,
            });
        }
        drop(one_of_few);
        self.set_account_password(&session.account, password, &session.actor)
            .await
    }

    /// `user remove`
    pub async fn remove_account(&self, name: &str, actor: &Actor) -> Result<(), ServiceError> {
        let strings = [actor.as_str(), name];
        let message =
            self.context
                .status_message(StatusMessageId::AdminAccountRemoved, &strings, self.clock.now());
        self.change_account(name, message, move |tx, account| {
            keep_one_administrator(tx, &account, None)?;
            Ok(tx.remove_account(&account.name)?)
        })
        .await
    }

    async fn change_account(
        &self,
        name: &str,
        message: store::NewStatusMessage,
        change: impl FnOnce(&Tx<'_>, AccountRow) -> Result<(), ServiceError> + Send + 'static,
    ) -> Result<(), ServiceError> {
        let name = name.to_owned();
        self.context
            .store
            .write::<_, ServiceError, _>(move |tx| {
                let account = tx.account(&name)?.ok_or_else(|| no_account(&name))?;
                change(tx, account)?;
                Ok(tx.record_status_message(&message)?)
            })
            .await
    }

    async fn account(&self, name: &str) -> Result<AccountRow, ServiceError> {
        let wanted = name.to_owned();
        let found = self
            .context
            .store
            .read::<_, StoreError, _>(move |tx| tx.account(&wanted))
            .await?;
        found.ok_or_else(|| no_account(name))
    }

    pub(super) async fn new_account(
        &self,
        name: &str,
        password: &str,
        access: Access,
        now: Timestamp,
    ) -> Result<AccountRow, ServiceError> {
        if !is_account_name(name) {
            return Err(ServiceError::Invalid {
                message: format!(
                    "a user is named by 1 to {NAME_CHARACTERS_MAX} letters, digits, dots, hyphens, underscores or @"
                ),
                hint: None,
            });
        }
        Ok(AccountRow {
            name: name.to_owned(),
            access,
            password: self.hash(name, password).await?,
            subject: None,
            failures: 0,
            locked_until: None,
            created_at: now,
            signed_in_at: None,
        })
    }

    async fn hash(&self, name: &str, password: &str) -> Result<String, ServiceError> {
        let characters = password.chars().count();
        if !(PASSWORD_CHARACTERS_MIN..=PASSWORD_CHARACTERS_MAX).contains(&characters)
            || password.eq_ignore_ascii_case(name)
        {
            return Err(ServiceError::Invalid {
                message: format!(
                    "a password has {PASSWORD_CHARACTERS_MIN} to {PASSWORD_CHARACTERS_MAX} characters and is not the name"
                ),
                hint: Some("several words are easy to remember and hard to guess".into()),
            });
        }
        let password = zeroize::Zeroizing::new(password.to_owned());
        let hashed = tokio::task::spawn_blocking(move || {
            Argon2::default()
                .hash_password(password.as_bytes())
                .map(|hash| hash.to_string())
        });
        hashed.await?.map_err(|failure| ServiceError::Internal {
            source: format!("the password cannot be hashed: {failure}").into(),
        })
    }
}

/// Refuses what would leave nobody who may manage accounts.
fn keep_one_administrator(
    tx: &Tx<'_>,
    account: &AccountRow,
    then: Option<Access>,
) -> Result<(), ServiceError> {
    let is_full = |access: &Access| *access == Access::FULL;
    // Those whom the provider lets in do not count: it may fail, and takes roles away without asking.
    let local = |account: &AccountRow| account.subject.is_none();
    let others = tx
        .accounts()?
        .iter()
        .any(|other| other.name != account.name && is_full(&other.access) && local(other));
    if local(account) && is_full(&account.access) && !then.as_ref().is_some_and(is_full) && !others {
        return Err(ServiceError::Refused {
            message: format!(
                "{} is the last Full Administrator with scope All; somebody has to manage accounts",
                account.name
            ),
            hint: Some("give another user that role first".into()),
        });
    }
    Ok(())
}

/// Refuses for users of single sign-on what the provider decides.
fn only_local(account: &AccountRow, what: &str) -> Result<(), ServiceError> {
    match account.subject {
        None => Ok(()),
        Some(_) => Err(ServiceError::Refused {
            message: format!(
                "{} comes by single sign-on; {what} is with the provider",
                account.name
            ),
            hint: Some("change it there, or oidc.roles in tidegate.toml".into()),
        }),
    }
}

/// What may be the name of a user.
pub(super) fn is_account_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-_@".contains(c);
    (1..=NAME_CHARACTERS_MAX).contains(&name.len()) && name.chars().all(plain)
}

pub(super) fn access_of(role: &str, scope: Option<&str>, otherwise: Scope) -> Result<Access, ServiceError> {
    let invalid = |message| ServiceError::Invalid { message, hint: None };
    let role: Role = role.parse().map_err(invalid)?;
    let scope = scope.map_or(Ok(otherwise), |scope| scope.parse().map_err(invalid))?;
    Ok(Access { role, scope })
}

fn no_account(name: &str) -> ServiceError {
    ServiceError::NotFound {
        message: format!("there is no user {name:?}"),
        hint: Some("`tidegate user list` shows the users".into()),
    }
}

fn account_info(row: AccountRow) -> AccountInfo {
    AccountInfo {
        name: row.name,
        role: row.access.role.word().to_owned(),
        scope: row.access.scope.as_str().to_owned(),
        locked_until: row.locked_until,
        created_at: row.created_at,
        signed_in_at: row.signed_in_at,
    }
}
