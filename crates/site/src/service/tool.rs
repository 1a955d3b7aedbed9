//! The service connection tool's steps on a site: prepare and import.

use std::path::Path;

use domain::component::ComponentName;
use domain::status_message::StatusMessageId;
use protocol::api::{ImportInfo, ImportedPackageInfo, RegisteredInfo};
use store::StoreError;

use super::{Actor, ServiceError, SiteService};
use crate::offline::import::{ImportStatus, load, request};
use crate::offline::prepare::{Carried, PrepareError, prepare};
use crate::offline::register::{RegisterError, register};

impl SiteService {
    /// `tool prepare`: the bytes of this site's cabinet.
    pub async fn tool_prepare(&self, encrypted: bool, actor: &Actor) -> Result<Vec<u8>, ServiceError> {
        self.only_offline()?;
        let carried = if encrypted {
            Carried::Encrypted
        } else {
            Carried::Readable
        };
        let prepared = prepare(&self.context, &self.clock, carried).await;
        let bytes = prepared.map_err(|failure| match failure {
            PrepareError::Store(failure) => failure.into(),
            PrepareError::NoKey => ServiceError::Refused {
                message: failure.to_string(),
                hint: Some("prepare it without --encrypt".into()),
            },
            PrepareError::NotApproved { .. } => ServiceError::Refused {
                message: failure.to_string(),
                hint: Some("look at it: tidegate usage preview; let it go: tidegate usage approve".into()),
            },
            other => ServiceError::Internal {
                source: Box::new(other),
            },
        })?;
        self.context
            .raise(
                StatusMessageId::AdminPrepared,
                &[actor.as_str()],
                self.clock.now(),
            )
            .await?;
        Ok(bytes)
    }

    /// `tool import`: asks SMS_DMP_DOWNLOADER to take in the medium in a folder.
    pub async fn tool_import(&self, folder: &str, actor: &Actor) -> Result<ImportInfo, ServiceError> {
        self.only_offline()?;
        if !Path::new(folder).is_absolute() || folder.len() > 4096 {
            return Err(ServiceError::Invalid {
                message: format!("{folder:.200} is no absolute path"),
                hint: None,
            });
        }
        let strings = [actor.as_str(), folder];
        let message = self
            .context
            .status_message(StatusMessageId::AdminImported, &strings, self.clock.now());
        let folder = folder.to_owned();
        let status = self
            .context
            .store
            .write::<_, StoreError, _>(move |tx| {
                tx.record_status_message(&message)?;
                request(tx, &folder)
            })
            .await?;
        self.context.wake(ComponentName::DmpDownloader);
        Ok(info(status))
    }

    /// The last import.
    pub async fn tool_last_import(&self) -> Result<ImportInfo, ServiceError> {
        let status = self.context.store.read::<_, StoreError, _>(load).await?;
        status.map(info).ok_or_else(|| ServiceError::NotFound {
            message: "no medium was imported yet".into(),
            hint: Some("tidegate tool import --updatepacksrc FOLDER".into()),
        })
    }

    /// `tool register`: takes in an update outside the catalogue, in either mode.
    pub async fn tool_register(&self, file: &str, actor: &Actor) -> Result<RegisteredInfo, ServiceError> {
        let path = Path::new(file);
        if !path.is_absolute() || file.len() > 4096 {
            return Err(ServiceError::Invalid {
                message: format!("{file:.200} is no absolute path"),
                hint: None,
            });
        }
        // One at a time: they unpack in one place.
        let _turn = self.context.importing.lock().await;
        let registered = register(&self.context, path, self.clock.now()).await;
        let record = registered.map_err(|failure| match failure {
            RegisterError::Store(failure) => failure.into(),
            other => ServiceError::Invalid {
                message: other.to_string(),
                hint: None,
            },
        })?;
        let strings = [actor.as_str(), record.name(), &record.guid.to_string()];
        self.context
            .raise(StatusMessageId::AdminRegistered, &strings, self.clock.now())
            .await?;
        self.context.wake(ComponentName::HierarchyManager);
        Ok(RegisteredInfo {
            guid: record.guid.to_string(),
            name: record.name().to_owned(),
            version: record.full_version.to_string(),
        })
    }

    fn only_offline(&self) -> Result<(), ServiceError> {
        if !self.context.internet.mode().may_connect() {
            return Ok(());
        }
        Err(ServiceError::Refused {
            message: "the service connection point is online; the service connection tool works with an offline one".into(),
            hint: Some("tidegate scp mode offline --restart".into()),
        })
    }
}

fn info(status: ImportStatus) -> ImportInfo {
    let word = |value: serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    ImportInfo {
        id: status.id,
        folder: status.folder,
        done: status.state.is_done(),
        state: word(serde_json::json!(status.state)),
        verdict: word(serde_json::json!(status.verdict)),
        detail: status.detail,
        note: status.note,
        made: status.made,
        receipt: status.receipt,
        packages: status
            .packages
            .into_iter()
            .map(|package| ImportedPackageInfo {
                guid: package.guid,
                name: package.name,
                version: package.version,
                missing_files: package.missing_files,
            })
            .collect(),
    }
}
