//! Takes in an update that is not in the catalogue: one file of the vendor, whatever the mode.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use content::download::{execute, plan_exactly};
use content::index::PayloadIndex;
use domain::servicing::package::{PackageGuid, PackageRecord, UpdateType};
use jiff::Timestamp;
use protocol::catalogue;
use protocol::transfer::{
    HOTFIX_ENDING, HOTFIX_LINE_BYTES_MAX, HotfixKeys, HotfixMember, HotfixPart, HotfixStatement,
    fragment_name,
};
use sha2::{Digest, Sha256};
use store::{ListedPackage, StoreError};
use tokio_util::sync::CancellationToken;

use super::medium::Fragments;
use crate::context::{SiteContext, whole_story};
use crate::directory::remove_tree;

/// The shard that packages outside the catalogue are listed under; no feed has one of this name.
pub const SHARD: &str = "out-of-band/";
/// Largest index in such a file.
const INDEX_BYTES_MAX: u64 = 256 << 20;
/// What the content library calls the file that is being taken in: nobody may collect what has come of it.
const WANTED: &str = "register";

/// Why a file was not registered; nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// The file or the site's disk.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
    /// Another name.
    #[error("{0} does not end in {HOTFIX_ENDING}: it is no update that is handed over outside the catalogue")]
    Name(PathBuf),
    /// The site knows no key.
    #[error(
        "the feed has not named a key for such updates yet; check for updates, or import a newer medium, first"
    )]
    NoKeys,
    /// Signature, form or content.
    #[error("{path}: {why}")]
    Refused {
        /// File.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The catalogue has the package.
    #[error("package {0} is in the catalogue; it comes by itself")]
    InCatalogue(PackageGuid),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> RegisterError {
    let path = path.to_owned();
    move |source| RegisterError::Io { action, path, source }
}

/// Verifies the file, takes its content in, and lists the package. Only one file at a time can be registered.
pub async fn register(
    context: &Arc<SiteContext>,
    file: &Path,
    now: Timestamp,
) -> Result<PackageRecord, RegisterError> {
    let folder = context.directory.offline().join("register");
    let taken = take_in(context, file, folder.clone(), now).await;
    let library = context.library.clone();
    let cleared = tokio::task::spawn_blocking(move || {
        if let Err(failure) = library.remove_reference(WANTED) {
            tracing::warn!("{}", whole_story(&failure));
        }
        if let Err(failure) = remove_tree(&folder) {
            tracing::warn!("cannot empty {}: {failure}", folder.display());
        }
    });
    // What stays is cleared by the next file.
    let _ = cleared.await;
    taken
}

async fn take_in(
    context: &Arc<SiteContext>,
    file: &Path,
    folder: PathBuf,
    now: Timestamp,
) -> Result<PackageRecord, RegisterError> {
    let (inner, path, work) = (context.clone(), file.to_owned(), folder.clone());
    let refused = |why: String| RegisterError::Refused {
        path: file.to_owned(),
        why,
    };
    let crashed = |_| refused("reading it crashed".into());
    let unpacked = tokio::task::spawn_blocking(move || unpack(&inner, &path, &work))
        .await
        .map_err(crashed)??;
    let (record, line) = (unpacked.record, unpacked.line);
    let guid = record.guid;
    let shard = format!("{SHARD}{guid}");
    let known = context
        .store
        .read::<_, StoreError, _>(move |tx| tx.package_shard(guid))
        .await?;
    if known.is_some_and(|known| known != shard) {
        return Err(RegisterError::InCatalogue(guid));
    }
    let (library, planned, wanted) = (
        context.library.clone(),
        unpacked.index.clone(),
        folder.join("index"),
    );
    let plan = tokio::task::spawn_blocking(move || {
        library.want(WANTED, &wanted)?;
        Ok::<_, content::LibraryError>(plan_exactly(&planned, &library))
    })
    .await
    .map_err(crashed)?
    .map_err(|failure| refused(whole_story(&failure)))?;
    execute(
        unpacked.index.clone(),
        plan,
        context.library.clone(),
        Arc::new(unpacked.fragments),
        Arc::new(|_| {}),
        &CancellationToken::new(),
    )
    .await
    .map_err(|failure| refused(whole_story(&failure)))?;
    let (inner, index) = (context.clone(), unpacked.index);
    let placed = tokio::task::spawn_blocking(move || place(&inner, guid, &index, &folder));
    placed.await.map_err(crashed)?.map_err(refused)?;
    let listed = ListedPackage {
        guid,
        name: record.name().to_owned(),
        full_version: record.full_version,
        released_at: record.released,
        record: line,
    };
    context
        .store
        .write::<_, StoreError, _>(move |tx| {
            tx.store_shard(&shard, &[listed], now)?;
            // The next activation of the hierarchy manager evaluates it.
            tx.record_evaluated(-1)
        })
        .await?;
    Ok(record)
}

struct Unpacked {
    record: PackageRecord,
    line: String,
    index: Arc<PayloadIndex>,
    fragments: Fragments,
}

/// Puts every member into a folder, each checked against the signed line.
fn unpack(context: &SiteContext, path: &Path, folder: &Path) -> Result<Unpacked, RegisterError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if !name.ends_with(HOTFIX_ENDING) {
        return Err(RegisterError::Name(path.to_owned()));
    }
    let refused = |why: String| RegisterError::Refused {
        path: path.to_owned(),
        why,
    };
    let keys = std::fs::read(context.directory.hotfix_keys()).map_err(|_| RegisterError::NoKeys)?;
    let keys = HotfixKeys::parse(&keys).map_err(|failure| refused(failure.to_string()))?;
    let mut file = BufReader::new(File::open(path).map_err(io("read", path))?);
    let mut line = Vec::new();
    let limit = HOTFIX_LINE_BYTES_MAX as u64 + 1;
    file.by_ref()
        .take(limit)
        .read_until(b'\n', &mut line)
        .map_err(io("read", path))?;
    let statement = HotfixStatement::verify(line.trim_ascii_end(), &keys.keys)
        .map_err(|failure| refused(failure.to_string()))?;
    remove_tree(folder).map_err(io("empty", folder))?;
    std::fs::create_dir_all(folder).map_err(io("create", folder))?;
    let mut parts = BTreeMap::new();
    for (number, member) in statement.members.iter().enumerate() {
        let target = folder.join(match &member.part {
            HotfixPart::Record => "record".to_owned(),
            HotfixPart::Index => "index".to_owned(),
            HotfixPart::Pack => fragment_name(&member.sha256, 0),
            HotfixPart::Redistributable(name) => format!("redist-{name}"),
        });
        if matches!(member.part, HotfixPart::Index) && member.length > INDEX_BYTES_MAX {
            return Err(refused("its index is larger than any".into()));
        }
        take(&mut file, member, &target, path)?;
        parts.insert(number, target);
    }
    if file.read(&mut [0]).map_err(io("read", path))? != 0 {
        return Err(refused("it goes on after its last member".into()));
    }
    let text = std::fs::read_to_string(&parts[&0]).map_err(io("read", &parts[&0]))?;
    let record = catalogue::parse_line(&text).map_err(|failure| refused(whole_story(&failure)))?;
    let index_member = &statement.members[1];
    let same = record.payload.index_sha256 == index_member.sha256 && record.update_type == UpdateType::Hotfix;
    let redists = record.redistributables.iter().all(|redist| {
        let part = HotfixPart::Redistributable(redist.name.clone());
        statement.members.iter().any(|member| {
            member.part == part && member.sha256 == redist.sha256 && member.length == redist.length
        })
    });
    if !same || !redists {
        return Err(refused(
            "its record names other members than it has, or is no hotfix".into(),
        ));
    }
    let index = PayloadIndex::read_file(&parts[&1]).map_err(|failure| refused(whole_story(&failure)))?;
    let fragments = Fragments::of(folder.to_owned()).map_err(|failure| refused(whole_story(&failure)))?;
    Ok(Unpacked {
        record,
        line: text,
        index: Arc::new(index),
        fragments,
    })
}

fn take(
    file: &mut impl Read,
    member: &HotfixMember,
    target: &Path,
    path: &Path,
) -> Result<(), RegisterError> {
    let mut out = File::create(target).map_err(io("write", target))?;
    let mut hash = Sha256::new();
    let mut left = member.length;
    let mut buffer = vec![0; 256 * 1024];
    while left > 0 {
        let want = buffer.len().min(usize::try_from(left).unwrap_or(buffer.len()));
        let read = file.read(&mut buffer[..want]).map_err(io("read", path))?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
        out.write_all(&buffer[..read]).map_err(io("write", target))?;
        left -= read as u64;
    }
    match left == 0 && hex::encode(hash.finalize()) == member.sha256 {
        true => Ok(()),
        false => Err(RegisterError::Refused {
            path: path.to_owned(),
            why: format!("{:?} is cut off or was changed; copy the file again", member.part),
        }),
    }
}

/// Index and redistributables where the downloader looks for them; the library keeps what it needs.
fn place(
    context: &SiteContext,
    guid: PackageGuid,
    index: &PayloadIndex,
    folder: &Path,
) -> Result<(), String> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |failure: std::io::Error| format!("cannot write {}: {failure}", path.display())
    };
    let (payload, redist) = (
        context.directory.package_payload(guid),
        context.directory.redist(guid),
    );
    for needed in [&payload, &redist] {
        std::fs::create_dir_all(needed).map_err(failed(needed))?;
    }
    let place = context.directory.payload_index(guid);
    std::fs::copy(folder.join("index"), &place).map_err(failed(&place))?;
    for entry in std::fs::read_dir(folder).map_err(failed(folder))? {
        let entry = entry.map_err(failed(folder))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(name) = name.strip_prefix("redist-") {
            let target = redist.join(name);
            std::fs::copy(entry.path(), &target).map_err(failed(&target))?;
        }
    }
    if !context.library.missing(index).is_empty() {
        return Err("its packs do not hold everything that its index names".into());
    }
    context
        .library
        .add_reference(&guid.to_string(), &place)
        .map_err(|failure| whole_story(&failure))
}
