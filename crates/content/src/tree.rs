//! File trees: which paths, links and kinds of entries there may be.
//!
//! The rules are the strictest of the file systems a tree may meet: what is published on one machine
//! extracts on every other, and never outside the folder it is given.

use std::collections::{HashMap, HashSet};
use std::fmt;

use crate::object::ObjectId;

/// Most entries of a tree.
pub const ENTRIES_MAX: usize = 400_000;
/// Longest path in bytes.
pub const PATH_BYTES_MAX: usize = 1_024;
/// Longest part of a path in bytes.
pub const PART_BYTES_MAX: usize = 255;

/// A relative path with `/` between its parts, checked.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreePath(String);

/// What is wrong with a tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("entry {entry:?}: {problem}")]
pub struct TreeError {
    /// The entry as it was named, shortened.
    pub entry: String,
    /// What is wrong and what to do.
    pub problem: String,
}

impl TreeError {
    /// A problem of an entry.
    pub fn new(entry: &str, problem: impl Into<String>) -> Self {
        TreeError {
            entry: entry.chars().take(200).collect(),
            problem: problem.into(),
        }
    }
}

impl TreePath {
    /// Checks a path.
    pub fn new(path: impl Into<String>) -> Result<Self, TreeError> {
        let path = path.into();
        let wrong = |problem: &str| Err(TreeError::new(&path, problem));
        if path.is_empty() {
            return wrong("the path is empty");
        }
        if path.len() > PATH_BYTES_MAX {
            return wrong("the path is longer than 1024 bytes; shorten it");
        }
        if path.starts_with('/') {
            return wrong("the path is absolute; make it relative to the tree");
        }
        if path.contains('\\') || path.chars().any(char::is_control) {
            return wrong("the path has a backslash or a control character; rename the file");
        }
        for part in path.split('/') {
            match part {
                "" => return wrong("the path has an empty part"),
                "." | ".." => {
                    return wrong("the path has a part \".\" or \"..\", which could leave the tree");
                }
                part if part.len() > PART_BYTES_MAX => {
                    return wrong("a part of the path is longer than 255 bytes; shorten it");
                }
                _ => {}
            }
        }
        Ok(TreePath(path))
    }

    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The folder it lies in; none at the top.
    pub fn parent(&self) -> Option<&str> {
        self.0.rsplit_once('/').map(|(parent, _)| parent)
    }

    /// The last part.
    pub fn file_name(&self) -> &str {
        self.0.rsplit_once('/').map_or(self.0.as_str(), |(_, name)| name)
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// One entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where.
    pub path: TreePath,
    /// What.
    pub kind: EntryKind,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A folder.
    Directory,
    /// A file.
    File {
        /// Its content.
        object: ObjectId,
        /// Its size in bytes.
        size: u64,
        /// Whether it may be run; extracted as 0755, else 0644.
        executable: bool,
        /// Where its content lies in the blocks, in order.
        extents: Vec<Extent>,
    },
    /// A symbolic link to something inside the tree.
    Symlink {
        /// Relative target as stored.
        target: String,
    },
}

/// A part of an object inside a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Number of the block.
    pub block: u32,
    /// Offset in the uncompressed block.
    pub offset: u32,
    /// Length in bytes.
    pub length: u32,
}

/// Checks a whole tree whose entries are sorted by path.
pub fn check(entries: &[Entry], entries_max: usize) -> Result<(), TreeError> {
    if entries.len() > entries_max {
        let entry = entries.get(entries_max).map_or("", |entry| entry.path.as_str());
        return Err(TreeError::new(
            entry,
            format!(
                "a tree has at most {entries_max} entries; split the payload or pack small files into archives"
            ),
        ));
    }
    let mut folded: HashMap<String, &str> = HashMap::with_capacity(entries.len());
    let mut directories: HashSet<&str> = HashSet::new();
    let mut links: HashSet<&str> = HashSet::new();
    let mut last: Option<&TreePath> = None;
    for entry in entries {
        let path = entry.path.as_str();
        if last.is_some_and(|last| *last >= entry.path) {
            return Err(TreeError::new(path, "appears twice or out of order"));
        }
        last = Some(&entry.path);
        if let Some(other) = folded.insert(path.to_lowercase(), path) {
            return Err(TreeError::new(
                path,
                format!("differs from {other:?} only in upper and lower case; rename one of them"),
            ));
        }
        if let Some(parent) = entry.path.parent()
            && !directories.contains(parent)
        {
            return Err(TreeError::new(
                path,
                format!("lies below {parent:?}, which is no folder of the tree"),
            ));
        }
        match &entry.kind {
            EntryKind::Directory => drop(directories.insert(path).then_some(())),
            EntryKind::Symlink { .. } => drop(links.insert(path).then_some(())),
            EntryKind::File { .. } => {}
        }
    }
    for entry in entries {
        if let EntryKind::Symlink { target } = &entry.kind {
            check_link(&entry.path, target, &links)?;
        }
    }
    Ok(())
}

/// A link must stay in the tree, also when other links lie on its way.
fn check_link(path: &TreePath, target: &str, links: &HashSet<&str>) -> Result<(), TreeError> {
    let wrong = |problem: String| Err(TreeError::new(path.as_str(), problem));
    if target.is_empty()
        || target.len() > PATH_BYTES_MAX
        || target.contains('\\')
        || target.chars().any(char::is_control)
    {
        return wrong("the target of the link is empty, too long or has odd characters".into());
    }
    if target.starts_with('/') {
        return wrong(format!(
            "the link points to the absolute path {target:?}; make it relative"
        ));
    }
    let mut at: Vec<&str> = path
        .parent()
        .map_or(Vec::new(), |parent| parent.split('/').collect());
    let mut parts = target.split('/').peekable();
    while let Some(part) = parts.next() {
        match part {
            "" | "." => {}
            ".." => {
                if at.pop().is_none() {
                    return wrong(format!("the link points out of the tree, to {target:?}"));
                }
            }
            name => {
                at.push(name);
                if parts.peek().is_some() && links.contains(at.join("/").as_str()) {
                    return wrong(format!(
                        "the link leads through another link, {:?}; point to the real folder",
                        at.join("/")
                    ));
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, kind: EntryKind) -> Entry {
        Entry {
            path: TreePath::new(path).unwrap(),
            kind,
        }
    }

    fn file() -> EntryKind {
        EntryKind::File {
            object: ObjectId([0; 32]),
            size: 0,
            executable: false,
            extents: vec![],
        }
    }

    fn link(target: &str) -> EntryKind {
        EntryKind::Symlink {
            target: target.into(),
        }
    }

    #[test]
    fn paths() {
        for good in ["a", "a/b", "a b/ü", ".hidden", "..."] {
            assert!(TreePath::new(good).is_ok(), "{good}");
        }
        let long = "x".repeat(256);
        let deep = "x/".repeat(600) + "x";
        for bad in [
            "", "/a", "a//b", "a/", "../a", "a/../b", "./a", "a\\b", "a\nb", "a\0", &long, &deep,
        ] {
            assert!(TreePath::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn trees() {
        let refused = |entries: &[Entry], part: &str| {
            let error = check(entries, 3).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        };
        let dir = || EntryKind::Directory;
        check(
            &[entry("a", dir()), entry("a/b", file()), entry("c", link("a/b"))],
            3,
        )
        .unwrap();
        refused(&[entry("a", file()), entry("a/b", file())], "no folder");
        refused(&[entry("a/b", file())], "no folder");
        refused(
            &[entry("README", file()), entry("readme", file())],
            "upper and lower case",
        );
        refused(&[entry("b", file()), entry("a", file())], "out of order");
        refused(&[entry("a", file()), entry("a", file())], "twice");
        refused(
            &[
                entry("a", file()),
                entry("b", file()),
                entry("c", file()),
                entry("d", file()),
            ],
            "at most 3",
        );
        refused(&[entry("a", link("../x"))], "out of the tree");
        refused(&[entry("a", link("/etc/passwd"))], "absolute");
        refused(
            &[entry("a", dir()), entry("a/l", link("../../x"))],
            "out of the tree",
        );
        refused(
            &[
                entry("d", dir()),
                entry("d/l", link("../d")),
                entry("z", link("d/l/../../..")),
            ],
            "another link",
        );
    }
}
