//! The first user: made by a link that works once, as long as there is nobody.

use std::net::IpAddr;

use domain::access::Access;
use domain::status_message::StatusMessageId;
use jiff::SignedDuration;
use protocol::api::SetupLink;
use store::StoreError;

use super::sign_in::{hash_of, random_word};
use super::{Actor, ServiceError, SiteService};

/// How long the link works.
const SETUP_LIFE: SignedDuration = SignedDuration::from_hours(24);

impl SiteService {
    /// Whether nobody can sign in yet.
    pub async fn needs_setup(&self) -> Result<bool, ServiceError> {
        Ok(self.accounts().await?.is_empty())
    }

    /// `user setup`: a link that makes the first user, once.
    pub async fn make_setup_link(&self, actor: &Actor) -> Result<SetupLink, ServiceError> {
        if !self.needs_setup().await? {
            return Err(ServiceError::Refused {
                message: "there are users already".into(),
                hint: Some(
                    "add one with `tidegate user add`, or set a password with `tidegate user password`"
                        .into(),
                ),
            });
        }
        let (now, word) = (self.clock.now(), random_word()?);
        let expires_at = now.checked_add(SETUP_LIFE).unwrap_or(now);
        let hash = hash_of(&word);
        let message = self
            .context
            .status_message(StatusMessageId::AdminSetupLink, &[actor.as_str()], now);
        self.context
            .store
            .write::<_, StoreError, _>(move |tx| {
                tx.record_setup_link(&hash, expires_at)?;
                tx.record_status_message(&message)
            })
            .await?;
        let url = self.context.settings.api_listen.map(|address| {
            let host = match address.ip() {
                ip if ip.is_unspecified() => self.context.machine.clone(),
                ip if ip.is_loopback() => "localhost".to_owned(),
                IpAddr::V6(ip) => format!("[{ip}]"),
                ip => ip.to_string(),
            };
            format!("https://{host}:{}/setup?link={word}", address.port())
        });
        Ok(SetupLink { url, expires_at })
    }

    /// Whether this link still makes the first user.
    pub async fn is_setup_link(&self, word: &str) -> Result<bool, ServiceError> {
        let (hash, now) = (hash_of(word), self.clock.now());
        Ok(self
            .context
            .store
            .read::<_, StoreError, _>(
                move |tx| Ok(tx.accounts()?.is_empty() && tx.is_setup_link(&hash, now)?),
            )
            .await?)
    }

    /// Makes the first user, who is a full administrator; the link is used up in the same transaction.
    pub async fn set_up(&self, word: &str, name: &str, password: &str) -> Result<(), ServiceError> {
        let gone = || ServiceError::Refused {
            message: "this link was used, or its time is over".into(),
            hint: Some("make another one on the server: tidegate user setup".into()),
        };
        if !self.is_setup_link(word).await? {
            return Err(gone());
        }
        let now = self.clock.now();
        let account = self.new_account(name, password, Access::FULL, now).await?;
        let strings = [
            "the setup link",
            name,
            Access::FULL.role.as_str(),
            Access::FULL.scope.as_str(),
        ];
        let message = self
            .context
            .status_message(StatusMessageId::AdminAccountAdded, &strings, now);
        let hash = hash_of(word);
        self.context
            .store
            .write::<_, ServiceError, _>(move |tx| {
                if !tx.accounts()?.is_empty() || !tx.is_setup_link(&hash, now)? {
                    return Err(gone());
                }
                tx.remove_setup_link()?;
                tx.record_account(&account)?;
                Ok(tx.record_status_message(&message)?)
            })
            .await
    }
}
