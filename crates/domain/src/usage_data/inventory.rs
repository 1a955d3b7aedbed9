//! The inventory interface: the tables that the sites' product supplies, so that usage data can count what
//! it manages. Every column is declared here; import, documentation and counting follow it.

use std::fmt;
use std::str::FromStr;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// The row's key: unique, never told.
    Id,
    /// One of these words; any other counts as `other`.
    Word(&'static [&'static str]),
    /// Digits and dots.
    Version,
    /// The name of a piece of hardware.
    Hardware,
    /// A whole number, not negative.
    Count,
    /// A whole number.
    Code,
    /// true or false.
    Flag,
    /// An instant as RFC 3339.
    Instant,
}

impl ColumnKind {
    /// As documented.
    pub fn describe(self) -> String {
        match self {
            ColumnKind::Id => "text, unique, never told".into(),
            ColumnKind::Word(words) => format!("one of {}; any other counts as other", words.join(", ")),
            ColumnKind::Version => "version of digits and dots".into(),
            ColumnKind::Hardware => "name of a piece of hardware".into(),
            ColumnKind::Count => "whole number, not negative".into(),
            ColumnKind::Code => "whole number".into(),
            ColumnKind::Flag => "true or false".into(),
            ColumnKind::Instant => "instant as RFC 3339".into(),
        }
    }
}

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its name in files.
    pub name: &'static str,
    /// What it holds.
    pub kind: ColumnKind,
    /// What it means.
    pub meaning: &'static str,
}

const fn column(name: &'static str, kind: ColumnKind, meaning: &'static str) -> Column {
    Column { name, kind, meaning }
}

/// A table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Managed devices.
    Devices,
    /// Known users.
    Users,
    /// Collections.
    Collections,
    /// Deployments.
    Deployments,
}

/// Operating systems that are told apart.
pub const SYSTEMS: &[&str] = &[
    "windows",
    "windows-server",
    "macos",
    "ios",
    "ipados",
    "android",
    "chromeos",
    "debian",
    "ubuntu",
    "rhel",
    "fedora",
    "suse",
    "oracle",
    "amazon",
    "alpine",
    "freebsd",
    "other",
];
/// Processor architectures that are told apart.
pub const ARCHITECTURES: &[&str] = &["x86", "x86_64", "arm", "arm64", "riscv64", "other"];

const DEVICES: &[Column] = &[
    column("id", ColumnKind::Id, "key of the device"),
    column("os", ColumnKind::Word(SYSTEMS), "operating system"),
    column(
        "os_version",
        ColumnKind::Version,
        "version of the operating system",
    ),
    column("arch", ColumnKind::Word(ARCHITECTURES), "processor architecture"),
    column(
        "client_version",
        ColumnKind::Version,
        "version of the product's client",
    ),
    column("processor", ColumnKind::Hardware, "processor name"),
    column("memory_mib", ColumnKind::Count, "memory in MiB"),
    column(
        "joined",
        ColumnKind::Word(&["none", "ad", "entra", "hybrid", "other"]),
        "directory it is joined to",
    ),
    column(
        "managed",
        ColumnKind::Word(&["client", "co-managed", "mdm", "other"]),
        "who manages it",
    ),
    column("virtual", ColumnKind::Flag, "whether it is a virtual machine"),
    column("last_seen", ColumnKind::Instant, "when it was seen last"),
];
const USERS: &[Column] = &[
    column("id", ColumnKind::Id, "key of the user"),
    column(
        "source",
        ColumnKind::Word(&["ad", "entra", "local", "other"]),
        "directory it is from",
    ),
];
const COLLECTIONS: &[Column] = &[
    column("id", ColumnKind::Id, "key of the collection"),
    column(
        "kind",
        ColumnKind::Word(&["device", "user", "other"]),
        "what it collects",
    ),
    column("members", ColumnKind::Count, "members"),
];
const DEPLOYMENTS: &[Column] = &[
    column("id", ColumnKind::Id, "key of the deployment"),
    column(
        "kind",
        ColumnKind::Word(&[
            "application",
            "package",
            "task-sequence",
            "update",
            "configuration",
            "script",
            "other",
        ]),
        "what it deploys",
    ),
    column(
        "purpose",
        ColumnKind::Word(&["available", "required", "other"]),
        "its purpose",
    ),
    column("targeted", ColumnKind::Count, "devices or users it is for"),
    column("succeeded", ColumnKind::Count, "of them, with success"),
    column("failed", ColumnKind::Count, "of them, failed"),
    column(
        "error_code",
        ColumnKind::Code,
        "the commonest error code, if any failed",
    ),
];

impl Table {
    /// Every table.
    pub const ALL: [Table; 4] = [
        Table::Devices,
        Table::Users,
        Table::Collections,
        Table::Deployments,
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Table::Devices => "devices",
            Table::Users => "users",
            Table::Collections => "collections",
            Table::Deployments => "deployments",
        }
    }

    /// Its columns; the first is the key.
    pub fn columns(self) -> &'static [Column] {
        match self {
            Table::Devices => DEVICES,
            Table::Users => USERS,
            Table::Collections => COLLECTIONS,
            Table::Deployments => DEPLOYMENTS,
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Table {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|table| table.as_str() == text)
            .ok_or_else(|| {
                format!("there is no table {text:?}; write devices, users, collections or deployments")
            })
    }
}

/// A value of a column, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// Nothing was said.
    None,
    /// Text.
    Text(String),
    /// A number, a flag as 0 or 1, an instant as milliseconds since 1970.
    Number(i64),
}

/// Reads a field as text. Words that are not told apart become `other`; a text that may tell somebody's
/// name becomes nothing; what can be no value of the column is an error, without the value itself in it.
pub fn cell(column: &Column, text: &str) -> Result<Cell, String> {
    let text = text.trim();
    if text.is_empty() {
        return match column.kind {
            ColumnKind::Id => Err(format!("{} is empty", column.name)),
            _ => Ok(Cell::None),
        };
    }
    let wrong = |what: &str| format!("{} is no {what}", column.name);
    match column.kind {
        ColumnKind::Id if text.len() <= 200 => Ok(Cell::Text(text.to_owned())),
        ColumnKind::Id => Err(format!("{} is longer than 200 bytes", column.name)),
        ColumnKind::Word(words) => {
            let lower = text.to_ascii_lowercase();
            let known = words.iter().find(|word| **word == lower);
            Ok(Cell::Text((*known.unwrap_or(&"other")).to_owned()))
        }
        ColumnKind::Version => super::words::version(text)
            .map(Cell::Text)
            .ok_or_else(|| wrong("version of digits and dots")),
        ColumnKind::Hardware => Ok(super::words::hardware(text).map_or(Cell::None, Cell::Text)),
        ColumnKind::Count => match text.parse::<i64>() {
            Ok(number) if number >= 0 => Ok(Cell::Number(number)),
            _ => Err(wrong("whole number from 0 on")),
        },
        ColumnKind::Code => text.parse().map(Cell::Number).map_err(|_| wrong("whole number")),
        ColumnKind::Flag => match text.to_ascii_lowercase().as_str() {
            "true" | "1" => Ok(Cell::Number(1)),
            "false" | "0" => Ok(Cell::Number(0)),
            _ => Err(wrong("true or false")),
        },
        ColumnKind::Instant => text
            .parse::<jiff::Timestamp>()
            .map(|at| Cell::Number(at.as_millisecond()))
            .map_err(|_| wrong("instant as RFC 3339, like 2026-11-21T08:00:00Z")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_by_their_column() {
        let columns = Table::Devices.columns();
        let of = |name: &str| columns.iter().find(|column| column.name == name).unwrap();
        for (name, text, expected) in [
            ("id", "dev-1", Ok(Cell::Text("dev-1".into()))),
            ("id", " ", Err("id is empty")),
            ("os", "Windows", Ok(Cell::Text("windows".into()))),
            ("os", "jo@example.com", Ok(Cell::Text("other".into()))),
            (
                "os_version",
                "10.0.22631.2861",
                Ok(Cell::Text("10.0.22631".into())),
            ),
            (
                "os_version",
                "plant7",
                Err("os_version is no version of digits and dots"),
            ),
            ("processor", "host7.plant.example", Ok(Cell::None)),
            ("memory_mib", "-1", Err("memory_mib is no whole number from 0 on")),
            ("virtual", "TRUE", Ok(Cell::Number(1))),
            ("virtual", "maybe", Err("virtual is no true or false")),
            ("last_seen", "1970-01-01T00:00:01Z", Ok(Cell::Number(1000))),
            ("last_seen", "", Ok(Cell::None)),
        ] {
            assert_eq!(
                cell(of(name), text),
                expected.map_err(str::to_owned),
                "{name} {text}"
            );
        }
    }

    #[test]
    fn the_reference_lists_every_column() {
        let mut text = String::new();
        for table in Table::ALL {
            assert_eq!(table.as_str().parse(), Ok(table));
            text.push_str(&format!(
                "### `{table}`\n\n| Column | Holds | Meaning |\n| --- | --- | --- |\n"
            ));
            for column in table.columns() {
                text.push_str(&format!(
                    "| `{}` | {} | {} |\n",
                    column.name,
                    column.kind.describe(),
                    column.meaning
                ));
            }
            text.push('\n');
        }
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/usage-data.md");
        let found = std::fs::read_to_string(page).unwrap_or_default();
        assert!(found.contains(&text), "{page} lacks these tables:\n{text}");
    }
}
