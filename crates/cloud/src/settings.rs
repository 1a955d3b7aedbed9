//! `cloud.toml`: what a service remembers about itself.
//!
//! It holds nothing secret and refuses unknown keys.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{CloudError, io};
use crate::files::{self, ServiceDir};

const HEADER: &str = "\
# A feed of update packages. Made by `tidegate cloud init`.
# root-keys is where the offline keys are looked for when the root changes; keep that folder elsewhere.
# Usage data is kept in intake/usage.db, or in PostgreSQL:
#   database = \"postgres://tidegate@db.example.com:5432/usage\"
#   database-password-file = \"intake/database-password\"
#   database-ca = \"intake/database-ca.pem\"

";
const BYTES_MAX: u64 = 64 * 1024;

/// The content of `cloud.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// The vendor's name, shown in certificates and listings.
    pub name: String,
    /// Names and addresses that the server's certificate is made out to.
    pub host_names: Vec<String>,
    /// Where the root keys are: absolute, or relative to the service folder.
    pub root_keys: PathBuf,
    /// PostgreSQL for usage data, `postgres://user@host:port/database`; the embedded database unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// File with the password for it: absolute, or relative to the service folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database_password_file: Option<PathBuf>,
    /// Certificates (PEM) that are trusted for it beside those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database_ca: Option<PathBuf>,
}

impl Settings {
    /// Reads the settings of a service.
    pub fn load(dir: &ServiceDir) -> Result<Self, CloudError> {
        let path = dir.settings();
        if !path.exists() {
            return Err(CloudError::NotInitialised {
                folder: dir.root().to_owned(),
            });
        }
        let bytes = files::read_bounded(&path, BYTES_MAX)?;
        let refuse = |detail: String| CloudError::Invalid {
            what: "cloud.toml",
            detail: format!("{}: {detail}", path.display()),
        };
        let text = String::from_utf8(bytes).map_err(|error| refuse(error.to_string()))?;
        toml::from_str(&text).map_err(|error| refuse(error.to_string().trim_end().to_owned()))
    }

    /// Where the root keys of the service in `dir` are.
    pub fn root_keys_dir(&self, dir: &ServiceDir) -> PathBuf {
        dir.root().join(&self.root_keys)
    }

    pub(crate) fn store(&self, dir: &ServiceDir) -> Result<(), CloudError> {
        let path: &Path = &dir.settings();
        let text = toml::to_string(self).map_err(|error| CloudError::Invalid {
            what: "cloud.toml",
            detail: format!("the settings cannot be written as TOML: {error}"),
        })?;
        files::write(path, format!("{HEADER}{text}").as_bytes(), 0o644).map_err(io("write", path))
    }
}
