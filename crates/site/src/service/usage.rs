//! Usage data: the level, and exactly the bytes that a report at a level has.

use domain::status_message::StatusMessageId;
use domain::usage_data::{Level, build};
use protocol::usage::canonical;

use super::{Actor, ServiceError, SiteService};
use crate::internet::InternetError;
use crate::usage;

impl SiteService {
    /// The configured level.
    pub async fn usage_level(&self) -> Result<Level, ServiceError> {
        Ok(self
            .context
            .store
            .read::<_, store::StoreError, _>(usage::level)
            .await?)
    }

    /// `scp level`
    pub async fn set_usage_level(&self, text: &str, actor: &Actor) -> Result<Level, ServiceError> {
        let level: Level = text
            .parse()
            .map_err(|message| ServiceError::Invalid { message, hint: None })?;
        let strings = [actor.as_str(), level.as_str()];
        let message =
            self.context
                .status_message(StatusMessageId::AdminUsageLevel, &strings, self.clock.now());
        self.context
            .store
            .write::<_, store::StoreError, _>(move |tx| {
                usage::set_level(tx, level)?;
                tx.record_status_message(&message)
            })
            .await?;
        Ok(level)
    }

    /// `usage preview`: collects now and returns the canonical bytes of a report at this level, the
    /// configured one unless given.
    pub async fn usage_preview(&self, level: Option<&str>) -> Result<String, ServiceError> {
        let level = level
            .map(str::parse)
            .transpose()
            .map_err(|message| ServiceError::Invalid { message, hint: None })?;
        let (context, now) = (self.context.clone(), self.clock.now());
        let key = self
            .context
            .store
            .write::<_, InternetError, _>({
                let context = self.context.clone();
                move |tx| usage::hash_key(context.internet.secrets(), tx)
            })
            .await
            .map_err(|source| ServiceError::Internal {
                source: Box::new(source),
            })?;
        let (level, collected) = self
            .context
            .store
            .read::<_, store::StoreError, _>(move |tx| {
                let level = level.map_or_else(|| usage::level(tx), Ok)?;
                Ok((level, usage::collect(&context, tx, &key, now)?))
            })
            .await?;
        let values = build(level, &collected).map_err(|rejected| ServiceError::Internal {
            source: Box::new(rejected),
        })?;
        Ok(canonical(level, now, &values))
    }
}
