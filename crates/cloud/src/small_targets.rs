//! What a feed tells sites beside packages: one small file each, a target of its own.

use std::path::Path;

use feed::publisher::{Publisher, TargetRecord};
use jiff::Timestamp;
use protocol::connectivity::{CATALOGUE_BYTES_MAX, CATALOGUE_TARGET, Catalogue};
use protocol::notice::{
    NOTICES_BYTES_MAX, NOTICES_MAX, NOTICES_TARGET, Notice, Notices, SERVICE_TARGET, ServiceConfig,
};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::error::CloudError;
use crate::files::{self, ServiceDir};
use crate::history::{self, Change, Did, Stamp};
use crate::service::{lock, open};
use crate::settings::Settings;

/// Puts these bytes into the feed under `name` and signs; says whether that made a difference.
pub(crate) fn set(
    feed: &mut Publisher,
    dir: &ServiceDir,
    (name, bytes): (&str, &[u8]),
    stamp: &Stamp,
    change: Change,
) -> Result<bool, CloudError> {
    let record = TargetRecord {
        length: bytes.len() as u64,
        sha256: hex::encode(Sha256::digest(bytes)),
        custom: None,
    };
    if feed
        .target(name)?
        .is_some_and(|known| known.sha256 == record.sha256)
    {
        return Ok(false);
    }
    files::place(&feed.target_file(name, &record.sha256), bytes)?;
    feed.set_target(name, &record)?;
    history::commit(feed, dir, stamp, change)?;
    Ok(true)
}

/// Takes `name` out of the feed and signs; says whether it was there.
pub(crate) fn remove(
    feed: &mut Publisher,
    dir: &ServiceDir,
    name: &str,
    stamp: &Stamp,
    change: Change,
) -> Result<bool, CloudError> {
    if feed.target(name)?.is_none() {
        return Ok(false);
    }
    feed.remove_target(name)?;
    history::commit(feed, dir, stamp, change)?;
    Ok(true)
}

/// The bytes of such a file as it is signed.
fn read(feed: &Publisher, name: &'static str, bytes_max: usize) -> Result<Option<Vec<u8>>, CloudError> {
    let Some(record) = feed.target(name)? else {
        return Ok(None);
    };
    let path = feed.target_file(name, &record.sha256);
    let bytes = files::read_bounded(&path, bytes_max as u64)?;
    match hex::encode(Sha256::digest(&bytes)) == record.sha256 {
        true => Ok(Some(bytes)),
        false => Err(CloudError::DamagedShard { path }),
    }
}

fn written<T: Serialize>(what: &'static str, value: &T) -> Result<Vec<u8>, CloudError> {
    serde_json::to_vec(value).map_err(|failure| invalid(what, failure))
}

fn invalid(what: &'static str, problem: impl std::fmt::Display) -> CloudError {
    CloudError::Invalid {
        what,
        detail: problem.to_string(),
    }
}

/// Puts a catalogue of internet endpoints into the feed; sites take it over at their next check. Says
/// whether that made a difference.
pub fn set_endpoints(dir: &Path, file: &Path, stamp: impl Into<Stamp>) -> Result<bool, CloudError> {
    let (dir, stamp) = (ServiceDir::new(dir), stamp.into());
    Settings::load(&dir)?;
    let bytes = files::read_bounded(file, CATALOGUE_BYTES_MAX as u64)?;
    let refused = |detail: String| invalid("catalogue of endpoints", format!("{}: {detail}", file.display()));
    let text = std::str::from_utf8(&bytes).map_err(|_| refused("it is no text".into()))?;
    let catalogue = Catalogue::parse(text).map_err(|failure| refused(failure.to_string()))?;
    let _lock = lock(&dir)?;
    let mut feed = open(&dir)?;
    let change = Change::new(
        Did::Configured,
        format!(
            "catalogue of internet endpoints, version {}",
            catalogue.stamp.version
        ),
    );
    set(&mut feed, &dir, (CATALOGUE_TARGET, &bytes), &stamp, change)
}

/// The messages to administrators, the newest first.
pub fn notices(dir: &Path) -> Result<Vec<Notice>, CloudError> {
    let dir = ServiceDir::new(dir);
    Settings::load(&dir)?;
    let mut all = read_notices(&open(&dir)?)?.notices;
    all.sort_by(|a, b| (b.published, &a.id).cmp(&(a.published, &b.id)));
    Ok(all)
}

fn read_notices(feed: &Publisher) -> Result<Notices, CloudError> {
    match read(feed, NOTICES_TARGET, NOTICES_BYTES_MAX)? {
        None => Ok(Notices::default()),
        Some(bytes) => Notices::parse(&bytes).map_err(|failure| invalid("messages of the feed", failure)),
    }
}

/// Publishes a message to administrators, or puts one differently. Says whether that made a difference.
pub fn set_notice(dir: &Path, notice: Notice, stamp: impl Into<Stamp>) -> Result<bool, CloudError> {
    notice.check().map_err(|failure| invalid("message", failure))?;
    let detail = format!("{}: {} ({})", notice.category.title(), notice.title, notice.id);
    change_notices(dir, &stamp.into(), detail, |all, now| {
        // What is over is shown nowhere any more.
        all.retain(|known| known.id != notice.id && known.until.is_none_or(|until| until > now));
        all.push(notice);
        match all.len() > NOTICES_MAX {
            true => Err(invalid(
                "message",
                format!("a feed has at most {NOTICES_MAX} at a time; take one back"),
            )),
            false => Ok(()),
        }
    })
}

/// Takes a message back. Says whether it was there.
pub fn retract_notice(dir: &Path, id: &str, stamp: impl Into<Stamp>) -> Result<bool, CloudError> {
    let detail = format!("took back {id}");
    change_notices(dir, &stamp.into(), detail, |all, _| {
        all.retain(|notice| notice.id != id);
        Ok(())
    })
}

fn change_notices(
    dir: &Path,
    stamp: &Stamp,
    detail: String,
    edit: impl FnOnce(&mut Vec<Notice>, Timestamp) -> Result<(), CloudError>,
) -> Result<bool, CloudError> {
    let dir = ServiceDir::new(dir);
    Settings::load(&dir)?;
    let _lock = lock(&dir)?;
    let mut feed = open(&dir)?;
    let mut all = read_notices(&feed)?;
    let before = all.clone();
    edit(&mut all.notices, stamp.at)?;
    all.notices.sort_by(|a, b| a.id.cmp(&b.id));
    if all == before {
        return Ok(false);
    }
    let change = Change::new(Did::Noticed, detail);
    let bytes = written("message", &all)?;
    // What a site would refuse must not be signed.
    Notices::parse(&bytes).map_err(|failure| invalid("message", failure))?;
    set(&mut feed, &dir, (NOTICES_TARGET, &bytes), stamp, change)
}

/// How the service wants to be used, if it says so.
pub fn service_config(dir: &Path) -> Result<Option<ServiceConfig>, CloudError> {
    let dir = ServiceDir::new(dir);
    Settings::load(&dir)?;
    read_service_config(&open(&dir)?)
}

fn read_service_config(feed: &Publisher) -> Result<Option<ServiceConfig>, CloudError> {
    let Some(bytes) = read(feed, SERVICE_TARGET, NOTICES_BYTES_MAX)? else {
        return Ok(None);
    };
    ServiceConfig::parse(&bytes)
        .map(Some)
        .map_err(|failure| invalid("configuration of the service", failure))
}

/// Publishes how the service wants to be used; administrators are asked to restart SMS_EXECUTIVE. Says whether that
/// made a difference.
pub fn set_service_config(
    dir: &Path,
    what: &str,
    mirrors: &[String],
    stamp: impl Into<Stamp>,
) -> Result<bool, CloudError> {
    let (dir, stamp) = (ServiceDir::new(dir), stamp.into());
    Settings::load(&dir)?;
    let _lock = lock(&dir)?;
    let mut feed = open(&dir)?;
    let before = read_service_config(&feed)?;
    let mirrors: Vec<String> = mirrors
        .iter()
        .map(|mirror| mirror.trim_end_matches('/').to_owned())
        .collect();
    if before
        .as_ref()
        .is_some_and(|before| before.what == what && before.mirrors == mirrors)
    {
        return Ok(false);
    }
    let version = before.map_or(0, |before| before.version) + 1;
    let config = ServiceConfig::new(version, what, mirrors, stamp.at);
    config
        .check()
        .map_err(|failure| invalid("configuration of the service", failure))?;
    let change = Change::new(Did::Configured, format!("service, version {version}: {what}"));
    let bytes = written("configuration of the service", &config)?;
    set(&mut feed, &dir, (SERVICE_TARGET, &bytes), &stamp, change)
}
