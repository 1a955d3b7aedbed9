//! The cabinet of a site: a real `.cab` that common tools open. Every member is named with its hash in a
//! manifest that the hierarchy's key signs; what is not in it, or differs, is not believed.

use std::collections::BTreeMap;
use std::io::{Cursor, Read, Write};

use cab::{CabinetBuilder, CompressionType};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::content::{ContentSummary, SummaryError};
use super::site::SiteStatement;
use crate::usage::{
    DsseError, Opened, SEALED_BYTES_MAX, SealedError, SigningKey, is_encrypted, open as open_sealed, sign,
    verify,
};

/// Largest cabinet.
pub const CABINET_BYTES_MAX: u64 = 96 * 1024 * 1024;
/// Largest member.
const MEMBER_BYTES_MAX: u64 = 80 * 1024 * 1024;
const MEMBERS_MAX: usize = 32;
const PAYLOAD_TYPE: &str = "application/vnd.tidegate.transfer-manifest+json";
const FORMAT: u32 = 1;

const MANIFEST: &str = "manifest.dsse";
const SITE: &str = "site.json";
const CONTENT: &str = "content.bin";
const ROOT: &str = "root.json";
const CA: &str = "ca.pem";
const SEALED: &str = "UsageData.sealed";
const READABLE: &str = "UsageData.json";
const ENCRYPTED: &str = "UsageData.encrypted";

/// What a cabinet holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Cabinet {
    /// The site.
    pub site: SiteStatement,
    /// Content that it has.
    pub content: ContentSummary,
    /// Its trusted root, byte for byte.
    pub root: Vec<u8>,
    /// Certificates that it trusts for the feed's server.
    pub ca: Vec<u8>,
    /// The sealed report of usage data, or the same encrypted for the service.
    pub report: Option<Vec<u8>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Manifest {
    format: u32,
    hierarchy: String,
    members: BTreeMap<String, String>,
}

/// Why a cabinet is not taken.
#[derive(Debug, thiserror::Error)]
pub enum CabinetError {
    /// Larger than any that we write.
    #[error("it has more than the {CABINET_BYTES_MAX} bytes that it may have")]
    Oversized,
    /// Not a cabinet.
    #[error("it is no cabinet: {0}")]
    Form(#[from] std::io::Error),
    /// A member is missing, or there is one too many.
    #[error("its member {0} is missing, or is one that no site writes")]
    Member(String),
    /// The manifest.
    #[error("its manifest: {0}")]
    Manifest(#[from] DsseError),
    /// A member is not what was signed.
    #[error("its member {0} was changed")]
    Changed(String),
    /// A member says something that cannot be.
    #[error("its member {member} cannot be read: {why}")]
    Unreadable {
        /// Which.
        member: &'static str,
        /// Why.
        why: String,
    },
    /// The list of content.
    #[error(transparent)]
    Content(#[from] SummaryError),
    /// The report.
    #[error("its report of usage data: {0}")]
    Report(#[from] SealedError),
    /// Members contradict each other.
    #[error("its members are of different hierarchies")]
    Contradiction,
}

/// The bytes of a cabinet. Beside what is read back there is a text named after the site's version, and
/// the report as anybody can read it.
pub fn write(cabinet: &Cabinet, key: &SigningKey) -> Result<Vec<u8>, CabinetError> {
    let mut members: Vec<(String, Vec<u8>)> = vec![
        (
            format!("{}.txt", cabinet.site.site_version),
            introduction(cabinet).into_bytes(),
        ),
        (SITE.into(), json(&cabinet.site)?),
        (CONTENT.into(), cabinet.content.to_bytes()?),
        (ROOT.into(), cabinet.root.clone()),
    ];
    if !cabinet.ca.is_empty() {
        members.push((CA.into(), cabinet.ca.clone()));
    }
    if let Some(encrypted) = cabinet.report.as_ref().filter(|report| is_encrypted(report)) {
        members.push((ENCRYPTED.into(), encrypted.clone()));
    } else if let Some(sealed) = &cabinet.report {
        let Opened { text, .. } = open_sealed(sealed)?;
        members.push((READABLE.into(), text.into_bytes()));
        members.push((SEALED.into(), sealed.clone()));
    }
    let manifest = Manifest {
        format: FORMAT,
        hierarchy: cabinet.site.hierarchy.clone(),
        members: members
            .iter()
            .map(|(name, bytes)| (name.clone(), hex::encode(Sha256::digest(bytes))))
            .collect(),
    };
    members.push((
        MANIFEST.into(),
        sign(PAYLOAD_TYPE, &json(&manifest)?, key).into_bytes(),
    ));
    let mut builder = CabinetBuilder::new();
    let folder = builder.add_folder(CompressionType::MsZip);
    for (name, _) in &members {
        folder.add_file(name.clone());
    }
    let mut writer = builder.build(Cursor::new(Vec::new()))?;
    let mut next = 0;
    while let Some(mut file) = writer.next_file()? {
        file.write_all(&members[next].1)?;
        next += 1;
    }
    Ok(writer.finish()?.into_inner())
}

fn json<T: Serialize>(value: &T) -> Result<Vec<u8>, CabinetError> {
    serde_json::to_vec(value).map_err(|failure| CabinetError::Form(failure.into()))
}

fn introduction(cabinet: &Cabinet) -> String {
    let report = match &cabinet.report {
        Some(report) if is_encrypted(report) => {
            "UsageData.encrypted is the report of usage data, for the vendor's eyes only."
        }
        Some(_) => {
            "UsageData.json is the report of usage data that the next step sends; UsageData.sealed is the same, signed."
        }
        None => "There is no report of usage data in it.",
    };
    format!(
        "Site version {}\r\nPrepared {}\r\nFor `tidegate tool connect` on a machine with internet access.\r\n{report}\r\n\
         site.json and content.bin say which updates the site needs; they are not sent.\r\n",
        cabinet.site.site_version, cabinet.site.at
    )
}

/// Reads a cabinet; everything in it is checked against the hierarchy's signature.
pub fn read(bytes: &[u8]) -> Result<Cabinet, CabinetError> {
    if bytes.len() as u64 > CABINET_BYTES_MAX {
        return Err(CabinetError::Oversized);
    }
    let mut members = members(bytes)?;
    let mut take = |name: &str| {
        members
            .remove(name)
            .ok_or_else(|| CabinetError::Member(name.to_owned()))
    };
    let unreadable = |member: &'static str| {
        move |why: serde_json::Error| CabinetError::Unreadable {
            member,
            why: why.to_string(),
        }
    };
    let (payload, key) = verify(PAYLOAD_TYPE, &take(MANIFEST)?, None)?;
    let manifest: Manifest = serde_json::from_slice(&payload).map_err(unreadable(MANIFEST))?;
    if manifest.format != FORMAT {
        return Err(CabinetError::Unreadable {
            member: MANIFEST,
            why: format!("format {} is not known to this release", manifest.format),
        });
    }
    for (name, bytes) in &members {
        let expected = manifest
            .members
            .get(name)
            .ok_or_else(|| CabinetError::Member(name.clone()))?;
        if hex::encode(Sha256::digest(bytes)) != *expected {
            return Err(CabinetError::Changed(name.clone()));
        }
    }
    if let Some(missing) = manifest.members.keys().find(|name| !members.contains_key(*name)) {
        return Err(CabinetError::Member(missing.clone()));
    }
    let mut take = |name: &str| {
        members
            .remove(name)
            .ok_or_else(|| CabinetError::Member(name.to_owned()))
    };
    let site: SiteStatement = serde_json::from_slice(&take(SITE)?).map_err(unreadable(SITE))?;
    let content = ContentSummary::from_bytes(&take(CONTENT)?)?;
    let root = take(ROOT)?;
    let ca = take(CA).unwrap_or_default();
    let report = take(SEALED).or_else(|_| take(ENCRYPTED)).ok();
    let same = site.public_key == key && site.hierarchy == manifest.hierarchy;
    if !same {
        return Err(CabinetError::Contradiction);
    }
    if let Some(sealed) = report.as_ref().filter(|report| !is_encrypted(report)) {
        let opened = open_sealed(sealed)?;
        if opened.key != key
            || opened.statement.hierarchy != site.hierarchy
            || site.report.as_deref() != Some(opened.statement.report.as_str())
        {
            return Err(CabinetError::Contradiction);
        }
    }
    Ok(Cabinet {
        site,
        content,
        root,
        ca,
        report,
    })
}

/// Every member, within bounds.
fn members(bytes: &[u8]) -> Result<BTreeMap<String, Vec<u8>>, CabinetError> {
    // The reader asserts what it expects of a file; a damaged one must not end more than its reading.
    let read = std::panic::catch_unwind(|| {
        let mut cabinet = cab::Cabinet::new(Cursor::new(bytes))?;
        let names: Vec<(String, u64)> = cabinet
            .folder_entries()
            .flat_map(|folder| {
                folder
                    .file_entries()
                    .map(|file| (file.name().to_owned(), u64::from(file.uncompressed_size())))
            })
            .take(MEMBERS_MAX + 1)
            .collect();
        let total: u64 = names.iter().map(|(_, size)| size).sum();
        if names.len() > MEMBERS_MAX || total > MEMBER_BYTES_MAX + SEALED_BYTES_MAX as u64 {
            return Err(CabinetError::Oversized);
        }
        let mut members = BTreeMap::new();
        for (name, size) in names {
            let mut content = Vec::new();
            cabinet
                .read_file(&name)?
                .take(size + 1)
                .read_to_end(&mut content)?;
            if members.insert(name.clone(), content).is_some() {
                return Err(CabinetError::Member(name));
            }
        }
        Ok(members)
    });
    read.unwrap_or_else(|_| {
        let damaged = std::io::Error::new(std::io::ErrorKind::InvalidData, "its parts contradict each other");
        Err(CabinetError::Form(damaged))
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::usage::seal;

    const ID: &str = "0b5a4c1e-6d8f-4f0a-9c57-2e1d7a90b3f2";

    fn key() -> SigningKey {
        SigningKey::from_seed(&[5; 32]).unwrap()
    }

    fn example() -> Cabinet {
        let hierarchy = "ab".repeat(32);
        let report = seal(
            ID,
            &hierarchy,
            "basic",
            Timestamp::UNIX_EPOCH,
            "{\"values\":{}}\n",
            &key(),
        )
        .unwrap();
        Cabinet {
            site: SiteStatement {
                format: 1,
                program: "0.1.0".into(),
                hierarchy,
                public_key: key().public(),
                at: Timestamp::UNIX_EPOCH,
                site_version: "5.00.9096.1000".into(),
                feed: "https://f.example".into(),
                rings: vec!["fr\u{fc}h".into()],
                rollout_key: "r".into(),
                facts: BTreeMap::new(),
                installed: vec![],
                features: vec![],
                shards: vec![],
                without_deltas: vec![],
                report: Some(ID.into()),
                report_sha256: None,
            },
            content: ContentSummary::new([[1; 32], [2; 32]]),
            root: b"{}".to_vec(),
            ca: b"pem".to_vec(),
            report: Some(report),
        }
    }

    #[test]
    fn a_cabinet_comes_back_and_other_tools_open_it() {
        let bytes = write(&example(), &key()).unwrap();
        assert_eq!(read(&bytes).unwrap(), example());
        let folder = std::env::temp_dir().join(format!("tidegate-cabinet-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("UsageData.cab");
        std::fs::write(&file, &bytes).unwrap();
        let listed = std::process::Command::new("cabextract")
            .arg("--directory")
            .arg(&folder)
            .arg(&file)
            .output()
            .expect("no cabextract; `cargo xtask test` installs it");
        assert!(
            listed.status.success(),
            "{}",
            String::from_utf8_lossy(&listed.stderr)
        );
        let text = std::fs::read_to_string(folder.join("5.00.9096.1000.txt")).unwrap();
        assert!(text.contains("Site version 5.00.9096.1000"));
        assert_eq!(
            std::fs::read(folder.join(READABLE)).unwrap(),
            b"{\"values\":{}}\n"
        );
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn no_changed_byte_and_no_cut_makes_another_cabinet() {
        let bytes = write(&example(), &key()).unwrap();
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        for at in 0..bytes.len() {
            for bit in [0x01, 0x80] {
                let mut changed = bytes.clone();
                changed[at] ^= bit;
                if let Ok(read) = read(&changed) {
                    // A date or a checksum that nobody uses.
                    assert_eq!(read, example(), "byte {at}");
                }
            }
            assert!(
                read(&bytes[..at]).map(|read| read == example()).unwrap_or(true),
                "cut at {at}"
            );
        }
        std::panic::set_hook(hook);
    }

    #[test]
    fn members_of_others_are_refused() {
        let other = SigningKey::from_seed(&[6; 32]).unwrap();
        assert!(matches!(
            read(&write(&example(), &other).unwrap()),
            Err(CabinetError::Contradiction)
        ));
        let mut foreign = example();
        foreign.report = Some(
            seal(
                ID,
                &"cd".repeat(32),
                "basic",
                Timestamp::UNIX_EPOCH,
                "{}\n",
                &key(),
            )
            .unwrap(),
        );
        assert!(matches!(
            read(&write(&foreign, &key()).unwrap()),
            Err(CabinetError::Contradiction)
        ));
    }
}
