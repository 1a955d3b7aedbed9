//! `cloud hotfix`: an update that is not in the catalogue, as one signed file for those who need it.
//!
//! Its key is another than those of the feed's roles: who has it can offer one file to one site, and cannot
//! change what the feed says. The feed names it, so that sites trust it from the pinned root.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use content::publish::Progress;
use domain::servicing::package::UpdateType;
use protocol::transfer::{
    HOTFIX_ENDING, HOTFIX_LINE_BYTES_MAX, HOTFIX_TARGET, HotfixKeys, HotfixMember, HotfixPart,
    HotfixStatement,
};
use protocol::usage::SigningKey;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::error::{CloudError, io};
use crate::files::{self, ServiceDir};
use crate::history::{self, Change, Did, Stamp};
use crate::package_toml;
use crate::publish::{PublishRequest, Scratch, measure_redistributables, options, record_of};
use crate::service::{lock, open};
use crate::settings::Settings;
use crate::small_targets;

/// Makes the file. The first time, its key is made and named in the feed; says whether that happened.
pub fn hotfix(
    request: &PublishRequest,
    output: &Path,
    stamp: impl Into<Stamp>,
    progress: &mut dyn FnMut(Progress),
) -> Result<bool, CloudError> {
    let (dir, stamp) = (ServiceDir::new(&request.dir), stamp.into());
    Settings::load(&dir)?;
    let invalid = |what: &'static str, detail: String| CloudError::Invalid { what, detail };
    let name = output.file_name().unwrap_or_default().to_string_lossy();
    if !name.ends_with(HOTFIX_ENDING) || name.len() == HOTFIX_ENDING.len() {
        return Err(invalid(
            "file",
            format!("{} does not end in {HOTFIX_ENDING}", output.display()),
        ));
    }
    let bytes = files::read_bounded(&request.package_toml, package_toml::BYTES_MAX)?;
    let source = String::from_utf8(bytes).map_err(|error| invalid("package.toml", error.to_string()))?;
    let description = package_toml::parse(&request.package_toml, &source)?;
    if description.record.update_type != UpdateType::Hotfix {
        return Err(invalid(
            "package.toml",
            "only a hotfix is handed over outside the catalogue; type = \"hotfix\"".into(),
        ));
    }
    let redistributables = measure_redistributables(request, &description)?;
    let _lock = lock(&dir)?;
    let (key, made) = named_key(&dir, &stamp)?;
    let work = Scratch::new(&dir, description.record.guid)?;
    let targets = work.path().join("targets");
    files::create_folders(&targets)?;
    let options = options(&dir, request, stamp.at)?;
    let published =
        content::publish::publish(&request.payload, work.path(), &targets, &[], &options, progress).map_err(
            |source| CloudError::Payload {
                payload: request.payload.clone(),
                source,
            },
        )?;
    description.check_programs(&published.executables)?;
    let record = record_of(&description, &published, &redistributables);
    let line = protocol::catalogue::to_line(&record);
    protocol::catalogue::parse_line(&line).map_err(|error| description.record_error(error.to_string()))?;
    let record_file = work.path().join("record");
    files::place(&record_file, line.as_bytes())?;
    let mut members: Vec<(HotfixMember, PathBuf)> = vec![
        (
            member(
                HotfixPart::Record,
                line.len() as u64,
                &hex::encode(Sha256::digest(&line)),
            ),
            record_file,
        ),
        (
            member(
                HotfixPart::Index,
                published.index_length,
                &published.index_sha256.to_string(),
            ),
            published.index_bytes_path.clone(),
        ),
    ];
    for pack in &published.all_packs {
        let file = targets.join(pack.stored_path());
        members.push((
            member(HotfixPart::Pack, pack.length, &pack.sha256.to_string()),
            file,
        ));
    }
    for (redist, file) in &redistributables {
        let part = HotfixPart::Redistributable(redist.name.clone());
        members.push((member(part, redist.length, &redist.sha256), file.clone()));
    }
    let statement = HotfixStatement::new(members.iter().map(|(member, _)| member.clone()).collect());
    let signed = statement.sign(&key);
    if signed.len() > HOTFIX_LINE_BYTES_MAX {
        return Err(invalid(
            "payload",
            "it is too large for a file outside the catalogue; publish it".into(),
        ));
    }
    let change = Change::of(Did::MadeHotfix, &record, name);
    history::entered(&dir, &stamp, change, || {
        write(output, &signed, &members).map_err(io("write", output))
    })?;
    Ok(made)
}

fn member(part: HotfixPart, length: u64, sha256: &str) -> HotfixMember {
    HotfixMember {
        part,
        length,
        sha256: sha256.to_owned(),
    }
}

fn write(output: &Path, line: &str, members: &[(HotfixMember, PathBuf)]) -> std::io::Result<()> {
    let mut name = output.as_os_str().to_owned();
    name.push(".part");
    let part = PathBuf::from(name);
    let mut file = File::create(&part)?;
    writeln!(file, "{line}")?;
    for (member, path) in members {
        let copied = std::io::copy(&mut File::open(path)?, &mut file)?;
        if copied != member.length {
            return Err(std::io::Error::other(format!(
                "{} changed while it was read",
                path.display()
            )));
        }
    }
    file.sync_all()?;
    std::fs::rename(&part, output)
}

/// The key, and whether it had to be made and named in the feed.
fn named_key(dir: &ServiceDir, stamp: &Stamp) -> Result<(SigningKey, bool), CloudError> {
    let path = dir.hotfix_key();
    let unusable = |_| CloudError::Invalid {
        what: "key of hotfixes",
        detail: format!(
            "{} is not the key that was made; restore it from a backup",
            path.display()
        ),
    };
    if !path.exists() {
        let mut seed = Zeroizing::new(vec![0; 32]);
        getrandom::fill(&mut seed).map_err(|failure| CloudError::Randomness {
            detail: failure.to_string(),
        })?;
        let text = Zeroizing::new(hex::encode(&seed));
        files::write(&path, text.as_bytes(), 0o600).map_err(io("write", &path))?;
    }
    let text = Zeroizing::new(files::read_bounded(&path, 1024)?);
    let seed = Zeroizing::new(hex::decode(text.trim_ascii()).unwrap_or_default());
    let key = SigningKey::from_seed(&seed).map_err(unusable)?;
    let bytes = serde_json::to_vec(&HotfixKeys::new(vec![key.public()])).unwrap_or_default();
    let change = Change::new(Did::Configured, "names the key of hotfixes");
    let made = small_targets::set(&mut open(dir)?, dir, (HOTFIX_TARGET, &bytes), stamp, change)?;
    Ok((key, made))
}
