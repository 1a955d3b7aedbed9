//! Deltas from earlier packages of the feed to one that is being published.
//!
//! Where a package hardly differs from the one before, what leads to that one is named for it, too.
//!
//! Deltas from nothing are made over a whole payload, which takes long. Where the package before has some and most of its
//! content is here again, they are named once more, and only what is new gets one of its own: the cost follows the
//! change. What of the old ones is of no use any more is fetched in vain by whoever has nothing, so that has bounds.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

use content::ObjectId;
use content::deltas::{DeltaIndex, DeltaOptions, MadeDeltas};
use content::index::{EntryKind, IndexError, Pack, PayloadIndex};
use domain::servicing::package::{DeltaReference, PackageGuid, PackageRecord};
use domain::servicing::version::FullVersion;

use crate::error::{CloudError, io};
use crate::files::ServiceDir;
use crate::publish::{Bases, PublishRequest, Step};
use crate::service::open;
use crate::shards;

/// Most sets of deltas, from nothing and as many from packages, that a package takes over.
const TAKEN_OVER_MAX: usize = 3;
/// Those from nothing are taken over if at most one byte in so many is new.
const NEW_SHARE: u64 = 10;
/// Those from packages are if they give at least one byte in so many.
const MUCH_SHARE: u64 = 10;

/// What a package has of deltas.
#[derive(Default)]
pub(crate) struct Deltas {
    /// Those of the package before that are of use for this one, too.
    pub taken_over: Vec<DeltaReference>,
    /// Those that were made for it.
    pub made: Vec<Made>,
}

impl Deltas {
    /// As the record names them.
    pub fn references(&self) -> Vec<DeltaReference> {
        // Should there be too many for somebody, the first are the best.
        let made = self.made.iter().map(|made| &made.reference);
        made.chain(&self.taken_over).cloned().collect()
    }
}

/// A package that deltas are made from.
#[derive(Clone)]
struct Base {
    guid: PackageGuid,
    version: FullVersion,
    withdrawn: bool,
    /// Its own deltas from nothing.
    from_nothing: Vec<DeltaReference>,
    /// Its own deltas from other packages, and where their indexes are.
    from_others: Vec<(DeltaReference, PathBuf)>,
    index: PathBuf,
}

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
) -> Result<Deltas, CloudError> {
    let mut all = Deltas::default();
    if request.deltas == Bases::Newest(0) {
        return Ok(all);
    }
    let payload = read(index)?;
    let mut make = |base: Option<&Base>, payload: &PayloadIndex| -> Result<Option<Made>, CloudError> {
        let base_index = base.map(|base| read(&base.index)).transpose()?;
        let name = base.map_or("none".to_owned(), |base| base.guid.to_string());
        let folder = scratch.join(&name);
        std::fs::create_dir_all(&folder).map_err(io("create", &folder))?;
        let options = DeltaOptions {
            // What deltas are made of and into lies in memory, too.
            memory: request.memory / 8 * 3,
            ..DeltaOptions::default()
        };
        let made = content::deltas::make(
            base_index.as_ref(),
            payload,
            &dir.targets(),
            &folder,
            &options,
            &mut |done, total| progress(Step::Deltas { done, total }),
        )
        .map_err(|source| CloudError::Payload {
            payload: request.payload.clone(),
            source,
        })?;
        Ok(made.map(|made| of(record.guid, base.map(|base| base.guid), &name, made)))
    };
    let bases = bases(dir, request, record)?;
    // Whoever names bases wants those and no others.
    if matches!(request.deltas, Bases::Newest(_)) {
        let taken_over = match bases.first() {
            Some(before) => take_over(before, &payload)?,
            None => None,
        };
        let whole = match taken_over {
            Some((references, rest)) => {
                all.taken_over = references;
                make(None, &rest)?
            }
            None => make(None, &payload)?,
        };
        all.made.extend(whole);
    }
    for (number, base) in bases.iter().enumerate() {
        match make(Some(base), &payload)? {
            Some(made) => all.made.push(made),
            // What leads to the package before may lead nearly here.
            None if number == 0 && matches!(request.deltas, Bases::Newest(_)) => {
                all.taken_over.extend(leading_here(base, &payload)?);
            }
            None => {}
        }
    }
    Ok(all)
}

/// The deltas of a package that give much of this payload, too.
fn leading_here(base: &Base, payload: &PayloadIndex) -> Result<Vec<DeltaReference>, CloudError> {
    let wanted: HashSet<ObjectId> = payload.objects().map(|(object, ..)| object).collect();
    let mut leading = Vec::new();
    for (reference, path) in &base.from_others {
        if leading.len() == TAKEN_OVER_MAX {
            break;
        }
        let index = DeltaIndex::read_file(path).map_err(|source| unreadable(path, source))?;
        let given = index.segments.iter().flat_map(|segment| &segment.new);
        let useful = given.filter(|(object, _)| wanted.contains(object));
        let bytes: u64 = useful.map(|(_, size)| size).sum();
        if bytes.saturating_mul(MUCH_SHARE) >= payload.bytes {
            leading.push(reference.clone());
        }
    }
    Ok(leading)
}

/// The deltas from nothing of the package before, and what of the payload it does not have; unless too much is new, or
/// too many packages have handed them on already.
fn take_over(
    before: &Base,
    payload: &PayloadIndex,
) -> Result<Option<(Vec<DeltaReference>, PayloadIndex)>, CloudError> {
    let references = before.from_nothing.clone();
    if references.is_empty() || references.len() > TAKEN_OVER_MAX {
        return Ok(None);
    }
    let index = read(&before.index)?;
    let known: HashSet<ObjectId> = index.objects().map(|(object, ..)| object).collect();
    let new = payload.objects().filter(|(object, ..)| !known.contains(object));
    let new_bytes: u64 = new.map(|(_, size, _)| size).sum();
    if new_bytes.saturating_mul(NEW_SHARE) > payload.bytes {
        return Ok(None);
    }
    let mut rest = payload.clone();
    rest.entries.retain(|entry| match &entry.kind {
        EntryKind::File { object, .. } => !known.contains(object),
        EntryKind::Directory | EntryKind::Symlink { .. } => false,
    });
    Ok(Some((references, rest)))
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
    PayloadIndex::read_file(path).map_err(|source| unreadable(path, source))
}

fn unreadable(path: &Path, source: IndexError) -> CloudError {
    CloudError::Payload {
        payload: path.to_owned(),
        source: content::publish::PublishError::Older {
            path: path.to_owned(),
            source,
        },
    }
}

/// The packages that deltas are made from; the newest first, unless they are named.
fn bases(
    dir: &ServiceDir,
    request: &PublishRequest,
    record: &PackageRecord,
) -> Result<Vec<Base>, CloudError> {
    let feed = open(dir)?;
    let mut earlier = Vec::new();
    shards::for_each(&feed, |other| {
        let index = feed.target_file(&other.payload.index_target, &other.payload.index_sha256);
        let (from_others, from_nothing): (Vec<_>, Vec<_>) = other
            .payload
            .deltas
            .into_iter()
            .partition(|delta| delta.base.is_some());
        let with_path = |delta: DeltaReference| {
            let path = feed.target_file(&delta.index_target, &delta.index_sha256);
            (delta, path)
        };
        earlier.push(Base {
            guid: other.guid,
            version: other.full_version,
            withdrawn: other.withdrawn.is_some(),
            from_nothing,
            from_others: from_others.into_iter().map(with_path).collect(),
            index,
        });
    })?;
    match &request.deltas {
        Bases::Newest(count) => {
            earlier.retain(|base| base.version < record.full_version && !base.withdrawn);
            earlier.sort_by_key(|base| Reverse((base.version, base.guid)));
            earlier.truncate(*count);
            Ok(earlier)
        }
        Bases::Packages(guids) => guids
            .iter()
            .map(|wanted| {
                let found = earlier.iter().find(|base| base.guid == *wanted);
                found.cloned().ok_or(CloudError::NoSuchPackage { guid: *wanted })
            })
            .collect(),
    }
}
