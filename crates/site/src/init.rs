//! Setting up a site: its folders, its configuration, the pinned root of the feed and its identity.

use std::path::PathBuf;

use domain::hierarchy::{SiteCode, SiteType};
use domain::servicing::version::FullVersion;
use feed::{FeedError, FolderTrust};
use jiff::Timestamp;
use store::{SiteRow, Store, StoreError};

use crate::directory::{FolderError, SiteDirectory, write_durably};
use crate::settings::{Settings, SettingsError, new_configuration};

/// What a new site is told.
#[derive(Debug, Clone)]
pub struct InitOptions {
    /// Site directory.
    pub dir: PathBuf,
    /// Site code.
    pub code: SiteCode,
    /// Display name.
    pub name: String,
    /// Version of the product that the site serves now.
    pub version: FullVersion,
    /// Base address of the feed.
    pub feed_url: String,
    /// The feed's root, got from the vendor by a way that is trusted.
    pub root: Vec<u8>,
    /// Certificates (PEM) trusted for the feed's server.
    pub ca: Option<Vec<u8>>,
    /// Rings the hierarchy takes part in.
    pub rings: Vec<String>,
    /// Random identity of the hierarchy.
    pub hierarchy_id: String,
    /// Where console and API are served to other machines; none means the local socket only.
    pub listen: Option<std::net::SocketAddr>,
}

/// Why a site was not set up.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// There is a site already.
    #[error("{dir} already holds the site {code}; choose another directory, or run the one that is there")]
    Exists {
        /// Directory.
        dir: PathBuf,
        /// Its site code.
        code: SiteCode,
    },
    /// A file could not be written.
    #[error("cannot write {path}")]
    Write {
        /// File or folder.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// A folder could not be made.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The root is no usable TUF root.
    #[error("the root to pin cannot be used")]
    Root(#[source] FeedError),
    /// The configuration that would be written is not valid.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Sets up a stand-alone primary site. The identity is written last: without it there is no site, and
/// the same call completes what a crash left.
pub fn init(options: InitOptions, now: Timestamp) -> Result<(), InitError> {
    let directory = SiteDirectory::new(&options.dir);
    let write = |path: PathBuf| move |source| InitError::Write { path, source };
    let ca_name = options.ca.is_some().then_some("feed-ca.pem");
    let configuration = new_configuration(&options.feed_url, ca_name, &options.rings, options.listen);
    Settings::parse(&configuration, &directory.configuration())?;
    if directory.database().exists() {
        let store = Store::open(&directory.database())?;
        if let Some(site) = store.read_blocking::<_, StoreError>(|tx| tx.site())? {
            return Err(InitError::Exists {
                dir: options.dir,
                code: site.code,
            });
        }
    }
    directory.create_folders()?;
    FolderTrust::init(directory.trust(), &options.root).map_err(InitError::Root)?;
    if let Some(ca) = &options.ca {
        let path = options.dir.join("feed-ca.pem");
        write_durably(&path, ca, 0o644).map_err(write(path.clone()))?;
    }
    let path = directory.configuration();
    write_durably(&path, configuration.as_bytes(), 0o644).map_err(write(path.clone()))?;
    let site = SiteRow {
        code: options.code,
        site_type: SiteType::StandAlonePrimary,
        name: options.name,
        hierarchy_id: options.hierarchy_id,
        base_version: options.version,
        created_at: now,
    };
    Store::open(&directory.database())?.write_blocking::<_, StoreError>(|tx| tx.create_site(&site))?;
    Ok(())
}
