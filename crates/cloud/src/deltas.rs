//! Deltas from earlier packages of the feed to one that is being published.

use std::path::{Path, PathBuf};

use content::deltas::{DeltaOptions, MadeDeltas};
use content::index::{Pack, PayloadIndex};
use domain::servicing::package::{DeltaReference, PackageGuid, PackageRecord};

use crate::error::{CloudError, io};
use crate::files::ServiceDir;
use crate::publish::{Bases, PublishRequest, Step};
use crate::service::open;
use crate::shards;

/// Deltas that were made for one base.
pub(crate) struct Made {
    /// As the record names them.
    pub reference: DeltaReference,
    /// The index, in the scratch folder.
    pub index_path: PathBuf,
    /// The pack, in its place.
    pub pack: Pack,
}

/// Makes the deltas that were asked for, and those from nothing.
pub(crate) fn make(
    dir: &ServiceDir,
    request: &PublishRequest,
    record: &PackageRecord,
    index: &Path,
    scratch: &Path,
    progress: &mut dyn FnMut(Step),
) -> Result<Vec<Made>, CloudError> {
    if request.deltas == Bases::Newest(0) {
        return Ok(Vec::new());
    }
    let payload = read(index)?;
    let mut all = Vec::new();
    let mut from = |base: Option<(PackageGuid, &Path)>| -> Result<(), CloudError> {
        let base_index = base.map(|(_, path)| read(path)).transpose()?;
        let name = base.map_or("none".to_owned(), |(guid, _)| guid.to_string());
        let folder = scratch.join(&name);
        std::fs::create_dir_all(&folder).map_err(io("create", &folder))?;
        let options = DeltaOptions {
            memory: request.memory,
            ..DeltaOptions::default()
        };
        let made = content::deltas::make(
            base_index.as_ref(),
            &payload,
            &dir.targets(),
            &folder,
            &options,
            &mut |done, total| progress(Step::Deltas { done, total }),
        )
        .map_err(|source| CloudError::Payload {
            payload: request.payload.clone(),
            source,
        })?;
        all.extend(made.map(|made| of(record.guid, base.map(|(guid, _)| guid), &name, made)));
        Ok(())
    };
    // Whoever names bases wants those and no others.
    if matches!(request.deltas, Bases::Newest(_)) {
        from(None)?;
    }
    for (guid, path) in bases(dir, request, record)? {
        from(Some((guid, &path)))?;
    }
    Ok(all)
}

fn of(guid: PackageGuid, base: Option<PackageGuid>, name: &str, made: MadeDeltas) -> Made {
    Made {
        reference: DeltaReference {
            base,
            index_target: format!("payloads/{guid}/delta/{name}"),
            index_sha256: made.index_sha256.to_string(),
            index_length: made.index_length,
            bytes: made.bytes,
        },
        index_path: made.index_path,
        pack: made.pack,
    }
}

fn read(path: &Path) -> Result<PayloadIndex, CloudError> {
    PayloadIndex::read_file(path).map_err(|source| CloudError::Payload {
        payload: path.to_owned(),
        source: content::publish::PublishError::Older {
            path: path.to_owned(),
            source,
        },
    })
}

/// The packages that deltas are made from, with their indexes.
fn bases(
    dir: &ServiceDir,
    request: &PublishRequest,
    record: &PackageRecord,
) -> Result<Vec<(PackageGuid, PathBuf)>, CloudError> {
    let feed = open(dir)?;
    let mut earlier = Vec::new();
    shards::for_each(&feed, |other| {
        let path = feed.target_file(&other.payload.index_target, &other.payload.index_sha256);
        earlier.push((other.full_version, other.guid, other.withdrawn.is_some(), path));
    })?;
    match &request.deltas {
        Bases::Newest(count) => {
            earlier.retain(|(version, _, withdrawn, _)| *version < record.full_version && !withdrawn);
            earlier.sort();
            let newest = earlier.into_iter().rev().take(*count);
            Ok(newest.map(|(_, guid, _, path)| (guid, path)).collect())
        }
        Bases::Packages(guids) => guids
            .iter()
            .map(|wanted| {
                let found = earlier.iter().find(|(_, guid, ..)| guid == wanted);
                found
                    .map(|(_, guid, _, path)| (*guid, path.clone()))
                    .ok_or(CloudError::NoSuchPackage { guid: *wanted })
            })
            .collect(),
    }
}
