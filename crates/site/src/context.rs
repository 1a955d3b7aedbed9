//! What the components of a site share: where things are, the store, the content library, progress.
//!
//! Components meet in the store and nowhere else; the handles here carry no state of theirs.

use std::sync::{Arc, OnceLock};

use domain::component::ComponentName;
use domain::servicing::package::PackageGuid;
use domain::servicing::state_message::StateMessage;
use domain::status_message::StatusMessageId;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use store::{NewStatusMessage, SiteRow, Store, StoreError, Tx};

use crate::directory::{FolderError, SiteDirectory};
use crate::host::machine_name;
use crate::internet::{Internet, InternetError};
use crate::product::switch::Product;
use crate::progress::ProgressBoard;
use crate::secrets::{SecretError, Secrets};
use crate::settings::Settings;
use crate::throttle::Throttle;
use crate::vendor::Vendor;

/// The all-zero GUID of state messages that speak of the whole sync.
pub const WHOLE_SYNC: PackageGuid = PackageGuid(0);

/// Shared by every component and by the service layer.
pub struct SiteContext {
    /// Files of the site.
    pub directory: SiteDirectory,
    /// Configuration.
    pub settings: Settings,
    /// Database.
    pub store: Store,
    /// Content library.
    pub library: Arc<content::Library>,
    /// What is installed here.
    pub product: Product,
    /// Who this site is.
    pub identity: SiteRow,
    /// Name of this machine in status messages.
    pub machine: String,
    /// How fast content may come.
    pub throttle: Arc<Throttle>,
    /// Transfers under way.
    pub progress: ProgressBoard,
    /// Mode, proxy, runs of checks.
    pub internet: Internet,
    /// How the vendor's service wants to be used.
    pub vendor: Vendor,
    /// Held by the import of an inventory under way.
    pub importing: tokio::sync::Mutex<()>,
    /// Set once the executive runs; wakes components by name.
    pub executive: OnceLock<executive::ExecutiveHandle>,
    /// The site's own time zone.
    pub zone: TimeZone,
    /// When this process began.
    pub started_at: Timestamp,
}

impl SiteContext {
    /// Wakes a component; before the executive runs, its start does that anyway.
    pub fn wake(&self, component: ComponentName) {
        if let Some(executive) = self.executive.get() {
            executive.wake(component);
        }
    }

    /// Puts a status message together; [`Tx::record_status_message`] stores it.
    pub fn status_message(&self, id: StatusMessageId, strings: &[&str], now: Timestamp) -> NewStatusMessage {
        let component = id
            .component()
            .map_or(ComponentName::Executive, |component| component);
        self.status_message_of(component, id, strings, now)
    }

    /// The same for messages that any component may raise.
    pub fn status_message_of(
        &self,
        component: ComponentName,
        id: StatusMessageId,
        strings: &[&str],
        now: Timestamp,
    ) -> NewStatusMessage {
        NewStatusMessage {
            message_id: id.id(),
            severity: id.severity().code(),
            message_type: id.message_type().code(),
            component: component.as_str().to_owned(),
            machine: self.machine.clone(),
            site_code: self.identity.code.to_string(),
            process_id: std::process::id(),
            recorded_at: now,
            text: id.text(strings),
            insertion_strings: strings.iter().map(|text| (*text).to_owned()).collect(),
        }
    }

    /// Stores a status message in a transaction of its own.
    pub async fn raise(
        &self,
        id: StatusMessageId,
        strings: &[&str],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let message = self.status_message(id, strings, now);
        self.store
            .write(move |tx| tx.record_status_message(&message))
            .await
    }

    /// The host part of the feed's address, for progress lines.
    pub fn feed_host(&self) -> String {
        let rest = self
            .settings
            .feed_url
            .split_once("://")
            .map_or("", |(_, rest)| rest);
        rest.split('/').next().unwrap_or_default().to_owned()
    }
}

/// Opens what the components share. Blocks.
pub fn open(
    directory: SiteDirectory,
    settings: Settings,
    zone: TimeZone,
    now: Timestamp,
) -> Result<SiteContext, OpenError> {
    directory.create_folders()?;
    let store = Store::open(&directory.database())?;
    let identity = store
        .read_blocking(|tx| tx.site())?
        .ok_or_else(|| OpenError::NoSite {
            path: directory.root().to_owned(),
        })?;
    let library =
        content::Library::open(&directory.content(), settings.free_bytes_min).map_err(|source| {
            OpenError::Library {
                path: directory.content(),
                source: Box::new(source),
            }
        })?;
    if let Err(failure) = library.clear_after_crash() {
        // It costs room, and the next start tries again.
        tracing::warn!("{}", whole_story(&failure));
    }
    let secrets = Secrets::open(&directory.secrets())?;
    let internet = store.read_blocking(|tx| Internet::open(secrets, tx))?;
    let throttle = store.read_blocking(|tx| Throttle::open(tx, zone))?;
    Ok(SiteContext {
        internet,
        throttle: Arc::new(throttle),
        product: Product::new(directory.product()),
        vendor: Vendor::open(&directory),
        directory,
        settings,
        store,
        library: Arc::new(library),
        identity,
        machine: machine_name(),
        progress: ProgressBoard::default(),
        importing: tokio::sync::Mutex::default(),
        executive: OnceLock::new(),
        zone: TimeZone::system(),
        started_at: now,
    })
}

/// Why a site could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A folder could not be made.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The directory has no site.
    #[error("{path} holds no site; create one with `tidegate site init --dir {path}`")]
    NoSite {
        /// Directory.
        path: std::path::PathBuf,
    },
    /// Mode or proxy settings.
    #[error(transparent)]
    Internet(#[from] InternetError),
    /// The key of the site's secrets.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The content library failed.
    #[error("cannot open the content library {path}")]
    Library {
        /// Library directory.
        path: std::path::PathBuf,
        /// Cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Stores a numbered state message in the transaction of the change it speaks of, and logs it.
pub fn state_message(
    tx: &Tx<'_>,
    message: StateMessage,
    guid: PackageGuid,
    detail: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    tracing::info!(
        "state message {} {} for {guid} {detail}",
        message.number(),
        message.name()
    );
    tx.record_state_message(message.number(), guid, detail, now)
}

/// A failure with everything that caused it, in one line.
pub fn whole_story(failure: &dyn std::error::Error) -> String {
    let mut text = failure.to_string();
    let mut cause = failure.source();
    while let Some(deeper) = cause {
        text.push_str(": ");
        text.push_str(&deeper.to_string());
        cause = deeper.source();
    }
    text
}
