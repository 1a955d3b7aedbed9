//! The site's identity and the settings an administrator changes while it runs.

use domain::hierarchy::{SiteCode, SiteType};
use domain::servicing::version::FullVersion;
use jiff::Timestamp;
use rusqlite::params;

use crate::database::{Tx, millis, timestamp};
use crate::error::StoreError;

/// Who this site is; written once, at its initialisation.
#[derive(Debug, Clone)]
pub struct SiteRow {
    /// Site code.
    pub code: SiteCode,
    /// Site type.
    pub site_type: SiteType,
    /// Display name.
    pub name: String,
    /// Random identity of the hierarchy, 32 hex digits; decides its share in roll-outs.
    pub hierarchy_id: String,
    /// Version the product had when the site was set up.
    pub base_version: FullVersion,
    /// When the site was set up.
    pub created_at: Timestamp,
}

impl Tx<'_> {
    /// Records the identity; refuses a second time by the primary key.
    pub fn create_site(&self, site: &SiteRow) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO site (id, code, site_type, name, hierarchy_id, base_version, created_at)
             VALUES (1, $1, $2, $3, $4, $5, $6)",
            params![
                site.code.as_str(),
                site.site_type.as_str(),
                site.name,
                site.hierarchy_id,
                site.base_version.to_string(),
                millis(site.created_at)
            ],
        )?;
        Ok(())
    }

    /// The identity, once there is one.
    pub fn site(&self) -> Result<Option<SiteRow>, StoreError> {
        type Columns = (String, String, String, String, String, i64);
        let row: Option<Columns> = self.one(
            "SELECT code, site_type, name, hierarchy_id, base_version, created_at FROM site WHERE id = 1",
            [],
            |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?, r.get(4)?, r.get(5)?)),
        )?;
        row.map(
            |(code, site_type, name, hierarchy_id, base_version, created_at)| {
                Ok(SiteRow {
                    code: code.parse().map_err(|_| StoreError::Damaged {
                        what: "site code",
                        value: code.clone(),
                    })?,
                    site_type: site_type.parse().map_err(|_| StoreError::Damaged {
                        what: "site type",
                        value: site_type.clone(),
                    })?,
                    name,
                    hierarchy_id,
                    base_version: base_version.parse().map_err(|_| StoreError::Damaged {
                        what: "site version",
                        value: base_version.clone(),
                    })?,
                    created_at: timestamp(created_at),
                })
            },
        )
        .transpose()
    }

    /// A setting that an administrator changes while the site runs.
    pub fn setting(&self, name: &str) -> Result<Option<String>, StoreError> {
        self.one(
            "SELECT value FROM setting WHERE name = $1",
            params![name],
            |row| row.get(0),
        )
    }

    /// Changes a setting; nothing removes it.
    pub fn set_setting(&self, name: &str, value: Option<&str>) -> Result<(), StoreError> {
        match value {
            Some(value) => self.execute(
                "INSERT INTO setting (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                params![name, value],
            ),
            None => self.execute("DELETE FROM setting WHERE name = $1", params![name]),
        }
        .map(drop)
    }

    /// The version the product has now: that of the newest installed package, else the first one.
    pub fn site_version(&self) -> Result<FullVersion, StoreError> {
        let installed = self.installed()?;
        let base = self.site()?.map(|site| site.base_version);
        let newest = installed.iter().map(|row| row.full_version).chain(base).max();
        newest.ok_or(StoreError::NotFound {
            what: "site in this database; run `tidegate site init`, key",
            key: "1".into(),
        })
    }
}
