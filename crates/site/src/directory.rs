//! The files of a site directory (README, "Files of a site directory"). Every path the site uses is
//! named here once.

use std::io::Write;
use std::path::{Path, PathBuf};

use domain::servicing::package::PackageGuid;

/// A folder of the site that could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot create the folder {path}{}", folder_advice(path, .source))]
pub struct FolderError {
    /// Folder.
    pub path: PathBuf,
    /// Cause.
    #[source]
    pub source: std::io::Error,
}

fn folder_advice(path: &Path, source: &std::io::Error) -> &'static str {
    use std::io::ErrorKind as Kind;
    match source.kind() {
        Kind::AlreadyExists | Kind::NotADirectory if path.symlink_metadata().is_ok() => {
            "; something that is no folder has its name, move that away"
        }
        Kind::NotADirectory => "; something on the way to it is no folder, move that away",
        Kind::PermissionDenied | Kind::ReadOnlyFilesystem => {
            "; make the place writable for the user of this process"
        }
        Kind::StorageFull | Kind::QuotaExceeded => "; make room on its file system",
        _ => "",
    }
}

/// A site directory.
#[derive(Debug, Clone)]
pub struct SiteDirectory {
    root: PathBuf,
}

impl SiteDirectory {
    /// Names the directory; touches nothing.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        SiteDirectory { root: root.into() }
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Configuration written by people.
    pub fn configuration(&self) -> PathBuf {
        self.root.join("tidegate.toml")
    }

    /// The embedded database.
    pub fn database(&self) -> PathBuf {
        self.root.join("site.db")
    }

    /// Pinned root and last trusted metadata of the feed.
    pub fn trust(&self) -> PathBuf {
        self.root.join("trust").join("feed")
    }

    /// The content library.
    pub fn content(&self) -> PathBuf {
        self.root.join("content")
    }

    /// What the service connection point downloaded, besides content objects.
    pub fn easy_setup_payload(&self) -> PathBuf {
        self.root.join("EasySetupPayload")
    }

    /// Downloaded files of one package: its payload index and redistributables.
    pub fn package_payload(&self, guid: PackageGuid) -> PathBuf {
        self.easy_setup_payload().join(guid.to_string())
    }

    /// The signed payload index of one package.
    pub fn payload_index(&self, guid: PackageGuid) -> PathBuf {
        self.package_payload(guid).join("index")
    }

    /// Redistributables of one package.
    pub fn redist(&self, guid: PackageGuid) -> PathBuf {
        self.package_payload(guid).join("redist")
    }

    /// Catalogue shards, by hash, while they are being taken over.
    pub fn catalogue(&self) -> PathBuf {
        self.easy_setup_payload().join("catalogue")
    }

    /// The catalogue of internet endpoints that the feed brought.
    pub fn endpoint_catalogue(&self) -> PathBuf {
        self.easy_setup_payload().join("endpoints.toml")
    }

    /// Where usage data goes, as the feed says.
    pub fn usage_intake(&self) -> PathBuf {
        self.easy_setup_payload().join("usage.json")
    }

    /// The vendor's messages, as the feed brought them.
    pub fn notices(&self) -> PathBuf {
        self.easy_setup_payload().join("notices.json")
    }

    /// How the vendor's service wants to be used, as the feed brought it.
    pub fn service_config(&self) -> PathBuf {
        self.easy_setup_payload().join("service.json")
    }

    /// What came on media.
    pub fn offline(&self) -> PathBuf {
        self.easy_setup_payload().join("offline")
    }

    /// The copy of the feed that came on the last medium: its metadata and small targets.
    pub fn offline_feed(&self) -> PathBuf {
        self.offline().join("feed")
    }

    /// Keys of updates outside the catalogue, as the feed names them.
    pub fn hotfix_keys(&self) -> PathBuf {
        self.easy_setup_payload().join("hotfix.json")
    }

    /// Files that are handed over: inventories on their way into the database.
    pub fn inboxes(&self) -> PathBuf {
        self.root.join("inboxes")
    }

    /// The folder all packages are extracted below.
    pub fn staging(&self) -> PathBuf {
        self.root.join("CMUStaging")
    }

    /// Where one package is extracted for checks and installation.
    pub fn package_staging(&self, guid: PackageGuid) -> PathBuf {
        self.staging().join(guid.to_string())
    }

    /// What is installed here.
    pub fn product(&self) -> PathBuf {
        self.root.join("product")
    }

    /// One log per component.
    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// Keys and tokens; 0700.
    pub fn secrets(&self) -> PathBuf {
        self.root.join("secrets")
    }

    /// Hashes of API tokens.
    pub fn api_tokens(&self) -> PathBuf {
        self.secrets().join("api-tokens")
    }

    /// Sockets and locks of the running process; 0700.
    pub fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    /// The local API.
    pub fn api_socket(&self) -> PathBuf {
        self.run().join("api.sock")
    }

    /// Held by the one process that runs this site.
    pub fn lock_file(&self) -> PathBuf {
        self.run().join("site.lock")
    }

    /// Creates every folder that is missing.
    pub fn create_folders(&self) -> Result<(), FolderError> {
        use std::os::unix::fs::DirBuilderExt;
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| FolderError { path, source }
        };
        for folder in [
            self.root.clone(),
            self.trust(),
            self.content(),
            self.easy_setup_payload(),
            self.staging(),
            self.product().join("versions"),
            self.logs(),
        ] {
            std::fs::create_dir_all(&folder).map_err(failed(&folder))?;
        }
        for private in [self.secrets(), self.run()] {
            if !private.is_dir() {
                let made = std::fs::DirBuilder::new().mode(0o700).create(&private);
                made.map_err(failed(&private))?;
            }
        }
        Ok(())
    }
}

/// Writes a file so that after a crash it has either its old content or all of the new one.
pub fn write_durably(path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let temporary = path.with_extension("new");
    if let Err(failure) = std::fs::remove_file(&temporary)
        && failure.kind() != std::io::ErrorKind::NotFound
    {
        return Err(failure);
    }
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    sync_folder_of(path)
}

/// Makes renames and removals in the folder that holds `path` durable.
pub fn sync_folder_of(path: &Path) -> std::io::Result<()> {
    match path.parent() {
        Some(folder) => std::fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// Removes a folder tree that may be gone already, also one whose folders are read-only.
pub fn remove_tree(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(failure) if failure.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(failure) if failure.kind() == std::io::ErrorKind::PermissionDenied => {
            make_folders_writable(path)?;
            std::fs::remove_dir_all(path)
        }
        other => other,
    }
}

fn make_folders_writable(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mut pending = vec![path.to_owned()];
    while let Some(folder) = pending.pop() {
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700))?;
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                pending.push(entry.path());
            }
        }
    }
    Ok(())
}
