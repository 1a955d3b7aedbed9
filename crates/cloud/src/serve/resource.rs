//! From the path of a request to an open file below `metadata/` or `targets/`, or to nothing.
//!
//! It refuses to say why something is not served: whatever is not a plain file with a plain name inside the two
//! folders (dot-files, folders, pipes, links that lead out, odd encodings) is simply not there.

use std::fs::File;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::io::Errno;

/// Longest path looked at, decoded.
const PATH_BYTES_MAX: usize = 2048;

/// A file that may be served.
#[derive(Debug)]
pub(super) struct Resource {
    pub(super) file: File,
    pub(super) length: u64,
    /// Strong: it changes with every replacement and every write.
    pub(super) etag: String,
    /// Whole seconds, as HTTP dates are.
    pub(super) modified: SystemTime,
    pub(super) content_type: &'static str,
    /// Whether its name fixes its content for ever.
    pub(super) immutable: bool,
}

/// The parts of a request path below the repository, if it is one that could be served.
pub(super) fn relative(path: &str) -> Option<PathBuf> {
    let decoded = decode(path.strip_prefix('/')?)?;
    let parts: Vec<&str> = decoded.split('/').collect();
    let (folder, rest) = parts.split_first()?;
    let fits = match *folder {
        "metadata" => rest.len() == 1,
        "targets" => !rest.is_empty(),
        _ => false,
    };
    let plain = |part: &&str| !part.is_empty() && !part.starts_with('.') && !part.chars().any(is_odd);
    (fits && rest.iter().all(plain)).then(|| parts.iter().collect())
}

fn is_odd(c: char) -> bool {
    c.is_control() || c == '\\'
}

/// Percent-decodes; nothing where an escape is broken, hides a separator, or the result is no UTF-8.
fn decode(path: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        let value = u8::try_from(digit()? * 16 + digit()?).ok()?;
        if value == b'/' || value == 0 {
            return None;
        }
        decoded.push(value);
    }
    let decoded = String::from_utf8(decoded).ok()?;
    (decoded.len() <= PATH_BYTES_MAX).then_some(decoded)
}

/// Opens the file at `relative` below `repository` (which is canonical). Blocks.
pub(super) fn open(repository: &Path, relative: &Path) -> io::Result<Option<Resource>> {
    let absent = |error: io::Error| match Errno::from_io_error(&error) {
        Some(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG | Errno::LOOP) => Ok(None),
        _ => Err(error),
    };
    let resolved = match repository.join(relative).canonicalize() {
        Ok(resolved) => resolved,
        Err(error) => return absent(error),
    };
    // A link may point elsewhere in the two folders, never out of them.
    let Ok(inside) = resolved.strip_prefix(repository) else {
        return Ok(None);
    };
    if !inside.starts_with("metadata") && !inside.starts_with("targets") {
        return Ok(None);
    }
    // Not following keeps what was just resolved; not blocking keeps a pipe from holding us.
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let opened = File::options()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(&resolved);
    let file = match opened {
        Ok(file) => file,
        Err(error) => return absent(error),
    };
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(None);
    }
    let seconds = u64::try_from(metadata.mtime()).unwrap_or(0);
    Ok(Some(Resource {
        length: metadata.len(),
        etag: format!(
            "\"{:x}-{:x}-{:x}.{:x}\"",
            metadata.ino(),
            metadata.len(),
            metadata.mtime(),
            metadata.mtime_nsec()
        ),
        modified: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
        content_type: content_type(relative),
        immutable: is_immutable(relative),
        file,
    }))
}

fn content_type(path: &Path) -> &'static str {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("json") => "application/json",
        Some("zst") => "application/zstd",
        _ => "application/octet-stream",
    }
}

/// Consistent snapshots carry a version number (metadata) or a hash (targets) in front of the name.
fn is_immutable(path: &Path) -> bool {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let Some((front, _)) = name.split_once('.') else {
        return false;
    };
    if path.starts_with("metadata") {
        !front.is_empty() && front.bytes().all(|byte| byte.is_ascii_digit())
    } else {
        front.len() == 64 && front.bytes().all(|byte| byte.is_ascii_hexdigit())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_in_the_two_folders() {
        let check = |path: &str, expected: Option<&str>| {
            assert_eq!(relative(path), expected.map(PathBuf::from), "{path}");
        };
        check("/metadata/timestamp.json", Some("metadata/timestamp.json"));
        check("/targets/packs/ab.cd", Some("targets/packs/ab.cd"));
        check("/targets/redist/a%20b", Some("targets/redist/a b"));
        for refused in [
            "",
            "/",
            "/metadata",
            "/metadata/",
            "/metadata/sub/root.json",
            "/keys/root.json",
            "/targets/../keys/x",
            "/targets/%2e%2e/keys/x",
            "/targets/a%2f..%2fb",
            "/targets//a",
            "/targets/.hidden",
            "/targets/a/.git/config",
            "/targets/a%00b",
            "/targets/a%5cb",
            "/targets/a%ff",
            "/targets/a%2",
            "/targets/a%zz",
            "//metadata/timestamp.json",
            "/%6detadata/../x",
        ] {
            check(refused, None);
        }
    }

    #[test]
    fn links_stay_inside_and_only_files_are_served() {
        let folder = tempfile::tempdir().unwrap();
        let repository = folder.path().join("repository");
        std::fs::create_dir_all(repository.join("targets/a")).unwrap();
        std::fs::write(repository.join("targets/a/plain"), b"x").unwrap();
        std::fs::write(folder.path().join("secret"), b"x").unwrap();
        std::os::unix::fs::symlink("plain", repository.join("targets/a/inside")).unwrap();
        std::os::unix::fs::symlink(folder.path().join("secret"), repository.join("targets/a/outside"))
            .unwrap();
        std::os::unix::fs::symlink("loop", repository.join("targets/a/loop")).unwrap();
        let repository = repository.canonicalize().unwrap();
        let check = |path: &str, served: bool| {
            assert_eq!(
                open(&repository, Path::new(path)).unwrap().is_some(),
                served,
                "{path}"
            );
        };
        check("targets/a/plain", true);
        check("targets/a/inside", true);
        check("targets/a/outside", false);
        check("targets/a/loop", false);
        check("targets/a", false);
        check("targets/a/plain/below", false);
        check("targets/none", false);
    }

    #[test]
    fn versioned_and_hashed_names_never_change() {
        let hash = "a".repeat(64);
        for (path, expected) in [
            ("metadata/timestamp.json".to_owned(), false),
            ("metadata/12.snapshot.json".to_owned(), true),
            (format!("targets/packs/{hash}.x.pack"), true),
            ("targets/packs/x.pack".to_owned(), false),
        ] {
            assert_eq!(is_immutable(Path::new(&path)), expected, "{path}");
        }
    }
}
