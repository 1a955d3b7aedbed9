//! What rules may ask: documented facts of the hierarchy, the site and its host.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::package::PackageGuid;
use super::rule::Type;
use super::version::FullVersion;

/// A documented fact.
#[derive(Debug, Clone, Copy)]
pub struct FactSpec {
    /// Dotted name.
    pub name: &'static str,
    /// Type of its value.
    pub value_type: Type,
    /// What it means.
    pub meaning: &'static str,
    /// An example value.
    pub example: &'static str,
}

const fn fact(
    name: &'static str,
    value_type: Type,
    meaning: &'static str,
    example: &'static str,
) -> FactSpec {
    FactSpec {
        name,
        value_type,
        meaning,
        example,
    }
}

/// Every fact there is. A site may not know a value; then a rule that needs it cannot be evaluated.
pub const FACTS: [FactSpec; 20] = [
    fact("site.code", Type::Text, "site code", "P01"),
    fact("site.type", Type::Text, "site type", "stand-alone-primary"),
    fact(
        "site.version",
        Type::Version,
        "version of the installed product",
        "5.00.9096.1000",
    ),
    fact("site.release", Type::Int, "build number of that version", "9096"),
    fact(
        "site.days_since_setup",
        Type::Int,
        "whole days since the site was set up",
        "412",
    ),
    fact(
        "hierarchy.sites",
        Type::Int,
        "number of sites in the hierarchy",
        "1",
    ),
    fact(
        "hierarchy.rings",
        Type::TextList,
        "rings the hierarchy takes part in",
        "early",
    ),
    fact(
        "scp.mode",
        Type::Text,
        "mode of the service connection point in effect",
        "online",
    ),
    fact("tidegate.version", Type::Text, "release of this program", "0.1.0"),
    fact(
        "host.os",
        Type::Text,
        "operating system (ID of os-release)",
        "debian",
    ),
    fact(
        "host.os_version",
        Type::Text,
        "its version (VERSION_ID of os-release)",
        "12",
    ),
    fact("host.arch", Type::Text, "processor architecture", "x86_64"),
    fact("host.cores", Type::Int, "processor cores the site may use", "4"),
    fact(
        "host.memory_bytes",
        Type::Int,
        "memory of the machine in bytes",
        "8589934592",
    ),
    fact(
        "host.pending_restart",
        Type::Bool,
        "whether the operating system asks for a restart",
        "false",
    ),
    fact(
        "disk.free_bytes",
        Type::Int,
        "bytes free on the file system of the site directory",
        "53687091200",
    ),
    fact(
        "package.bytes",
        Type::Int,
        "bytes of all files of the package that is being checked",
        "31457280",
    ),
    fact(
        "database.engine",
        Type::Text,
        "database engine of the site",
        "sqlite",
    ),
    fact(
        "database.bytes",
        Type::Int,
        "size of the site database in bytes",
        "1048576",
    ),
    fact(
        "inventory.devices",
        Type::Int,
        "devices that the sites' product manages, as it supplied them; 0 if it did not",
        "1000",
    ),
];

/// The fact of this name.
pub fn find(name: &str) -> Option<&'static FactSpec> {
    FACTS.iter().find(|fact| fact.name == name)
}

/// What to say about a name that is no fact.
pub fn unknown(name: &str) -> String {
    let nearest = FACTS
        .iter()
        .map(|fact| (distance(fact.name, name), fact.name))
        .min();
    match nearest {
        Some((distance, nearest)) if distance <= 4 => {
            format!("there is no fact {name}; did you mean {nearest}?")
        }
        _ => format!("there is no fact {name}; the facts are listed in docs/reference/rules.md"),
    }
}

/// Edit distance, for suggestions.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// The value of a fact or of a part of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// true or false
    Bool(bool),
    /// A number.
    Int(i64),
    /// A text.
    Text(String),
    /// A product version.
    Version(FullVersion),
    /// A list of values of one type.
    List(Vec<Value>),
}

impl Value {
    /// Order of two values of one type that has an order.
    pub fn compare(&self, other: &Value) -> Option<Ordering> {
        match (self, other) {
            (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
            (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
            (Value::Version(a), Value::Version(b)) => Some(a.cmp(b)),
            (Value::Bool(_) | Value::Int(_) | Value::Text(_) | Value::Version(_) | Value::List(_), _) => None,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Bool(value) => write!(f, "{value}"),
            Value::Int(value) => write!(f, "{value}"),
            Value::Text(value) => f.write_str(value),
            Value::Version(value) => write!(f, "{value}"),
            Value::List(values) => {
                let parts: Vec<String> = values.iter().map(Value::to_string).collect();
                write!(f, "[{}]", parts.join(", "))
            }
        }
    }
}

/// The facts of one site at one instant.
#[derive(Debug, Clone, Default)]
pub struct FactSet {
    values: BTreeMap<&'static str, Result<Value, String>>,
    /// Packages that are installed.
    pub installed: BTreeSet<PackageGuid>,
    /// Features that are on.
    pub features: BTreeSet<PackageGuid>,
}

impl FactSet {
    /// Sets a known value. Names that are no facts are ignored; the table above is the only source.
    pub fn set(&mut self, name: &str, value: Value) {
        if let Some(fact) = find(name) {
            self.values.insert(fact.name, Ok(value));
        }
    }

    /// Says why a value is not known.
    pub fn set_unknown(&mut self, name: &str, reason: impl Into<String>) {
        if let Some(fact) = find(name) {
            self.values.insert(fact.name, Err(reason.into()));
        }
    }

    /// The value, or why there is none.
    pub fn get(&self, name: &str) -> Result<&Value, &str> {
        match self.values.get(name) {
            Some(Ok(value)) => Ok(value),
            Some(Err(reason)) => Err(reason),
            None => Err("this site does not collect it"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_lists_every_fact() {
        let mut table = String::from("| Fact | Type | Meaning | Example |\n| --- | --- | --- | --- |\n");
        for fact in FACTS {
            table.push_str(&format!(
                "| `{}` | {} | {} | `{}` |\n",
                fact.name, fact.value_type, fact.meaning, fact.example
            ));
        }
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/rules.md");
        let text = std::fs::read_to_string(page).unwrap_or_default();
        assert!(text.contains(&table), "{page} lacks this table:\n{table}");
    }

    #[test]
    fn suggests_the_nearest() {
        assert!(unknown("site.versoin").contains("site.version?"));
        assert!(unknown("moon.phase").contains("rules.md"));
    }
}
