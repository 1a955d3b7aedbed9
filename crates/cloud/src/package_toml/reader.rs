//! Reads TOML tables with the place of everything, collecting every problem instead of stopping at the first.
//!
//! It refuses keys it does not know (a misspelt key would silently mean the default) and knows nothing of packages.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Problems beyond this many are not listed; they mostly follow from the first ones.
const PROBLEMS_MAX: usize = 50;

/// One thing that is wrong, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// What is wrong and what to write.
    pub message: String,
}

/// Collects problems of one source text.
pub(super) struct Reader<'s> {
    source: &'s str,
    problems: RefCell<Vec<(usize, String)>>,
}

pub(super) type Value<'s> = Spanned<DeValue<'s>>;

impl<'s> Reader<'s> {
    pub(super) fn new(source: &'s str) -> Self {
        Self {
            source,
            problems: RefCell::default(),
        }
    }

    pub(super) fn source(&self) -> &'s str {
        self.source
    }

    /// Notes a problem at a byte offset.
    pub(super) fn refuse(&self, offset: usize, message: impl Into<String>) {
        let mut problems = self.problems.borrow_mut();
        if problems.len() < PROBLEMS_MAX {
            problems.push((offset, message.into()));
        }
    }

    /// Everything noted so far, in the order of the file.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut problems = self.problems.borrow().clone();
        problems.sort();
        problems.dedup();
        problems
            .into_iter()
            .map(|(offset, message)| place(self.source, offset, message))
            .collect()
    }

    pub(super) fn text(&self, value: &Value<'_>, what: &str, longest: usize) -> Option<String> {
        let Some(text) = value.get_ref().as_str() else {
            self.refuse(value.span().start, format!("{what} is a text in quotes"));
            return None;
        };
        if text.len() > longest {
            let message = format!("{what} has {} bytes, at most {longest} are possible", text.len());
            self.refuse(value.span().start, message);
            return None;
        }
        if text.contains('\0') {
            self.refuse(value.span().start, format!("{what} contains a NUL character"));
            return None;
        }
        Some(text.to_owned())
    }

    pub(super) fn list<'v>(&self, value: &'v Value<'s>, what: &str, longest: usize) -> &'v [Value<'s>] {
        let Some(list) = value.get_ref().as_array() else {
            self.refuse(value.span().start, format!("{what} is a list in square brackets"));
            return &[];
        };
        if list.len() > longest {
            let message = format!(
                "{what} has {} elements, at most {longest} are possible",
                list.len()
            );
            self.refuse(value.span().start, message);
            return &[];
        }
        list
    }
}

/// Line and column of a byte offset.
pub(super) fn place(source: &str, offset: usize, message: String) -> Problem {
    let before = &source[..source.floor_char_boundary(offset)];
    Problem {
        line: before.matches('\n').count() + 1,
        column: before.rsplit('\n').next().unwrap_or_default().chars().count() + 1,
        message,
    }
}

/// A table that is being read: whatever was not asked for is refused at the end.
pub(super) struct Section<'r, 's> {
    pub(super) reader: &'r Reader<'s>,
    table: &'r DeTable<'s>,
    /// Where a missing key is reported.
    at: usize,
    /// `[install.health]`, as shown in messages.
    name: String,
    known: RefCell<Vec<&'static str>>,
}

impl<'r, 's> Section<'r, 's> {
    pub(super) fn top(reader: &'r Reader<'s>, table: &'r DeTable<'s>) -> Self {
        Self {
            reader,
            table,
            at: 0,
            name: "the file".to_owned(),
            known: RefCell::default(),
        }
    }

    /// The table in `value`, if it is one.
    pub(super) fn of(reader: &'r Reader<'s>, value: &'r Value<'s>, name: String) -> Option<Self> {
        let at = value.span().start;
        match value.get_ref().as_table() {
            Some(table) => Some(Self {
                reader,
                table,
                at,
                name,
                known: RefCell::default(),
            }),
            None => {
                reader.refuse(at, format!("{name} is a table"));
                None
            }
        }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn get(&self, key: &'static str) -> Option<&'r Value<'s>> {
        self.known.borrow_mut().push(key);
        self.table
            .iter()
            .find(|(name, _)| name.get_ref() == key)
            .map(|(_, value)| value)
    }

    pub(super) fn required(&self, key: &'static str) -> Option<&'r Value<'s>> {
        let value = self.get(key);
        if value.is_none() {
            self.reader
                .refuse(self.at, format!("{} has no {key:?}; it is needed", self.name));
        }
        value
    }

    pub(super) fn text(&self, key: &'static str, longest: usize) -> Option<String> {
        self.reader.text(self.get(key)?, key, longest)
    }

    /// A text that must be there and say something. Empty if it is not, which has been noted then.
    pub(super) fn required_text(&self, key: &'static str, longest: usize) -> String {
        let Some(value) = self.required(key) else {
            return String::new();
        };
        let text = self.reader.text(value, key, longest);
        if text.as_deref().is_some_and(|text| text.trim().is_empty()) {
            self.reader.refuse(value.span().start, format!("{key} is empty"));
        }
        text.unwrap_or_default()
    }

    pub(super) fn truth(&self, key: &'static str, default: bool) -> bool {
        let Some(value) = self.get(key) else {
            return default;
        };
        value.get_ref().as_bool().unwrap_or_else(|| {
            self.reader.refuse(
                value.span().start,
                format!("{key} is true or false, without quotes"),
            );
            default
        })
    }

    /// A whole number in `range`.
    pub(super) fn number(&self, key: &'static str, range: Range<u32>, default: u32) -> u32 {
        let Some(value) = self.get(key) else {
            return default;
        };
        let number = value.get_ref().as_integer().and_then(|number| {
            let digits = number.as_str().replace('_', "");
            u32::from_str_radix(&digits, number.radix())
                .ok()
                .filter(|number| range.contains(number))
        });
        number.unwrap_or_else(|| {
            let message = format!(
                "{key} is a whole number from {} to {}",
                range.start,
                range.end - 1
            );
            self.reader.refuse(value.span().start, message);
            default
        })
    }

    /// A text read by `FromStr`, whose error says what to write.
    pub(super) fn parsed<T: std::str::FromStr<Err = String>>(&self, key: &'static str) -> Option<T> {
        let value = self.get(key)?;
        let text = self.reader.text(value, key, 256)?;
        match text.parse() {
            Ok(parsed) => Some(parsed),
            Err(message) => {
                self.reader
                    .refuse(value.span().start, format!("{key}: {message}"));
                None
            }
        }
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(&self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        let value = self.required(key)?;
        word(self.reader, value, key, words)
    }

    /// A list of texts.
    pub(super) fn texts(&self, key: &'static str, longest: usize) -> Vec<String> {
        let Some(value) = self.get(key) else {
            return Vec::new();
        };
        let list = self.reader.list(value, key, 1_000);
        list.iter()
            .filter_map(|value| self.reader.text(value, key, longest))
            .collect()
    }

    /// A table of texts.
    pub(super) fn text_map(&self, key: &'static str, longest: usize) -> BTreeMap<String, String> {
        let Some(value) = self.get(key) else {
            return BTreeMap::new();
        };
        let Some(table) = value.get_ref().as_table() else {
            self.reader
                .refuse(value.span().start, format!("{key} is a table of texts"));
            return BTreeMap::new();
        };
        let entry = |(name, value): (&Spanned<_>, &Value<'s>)| -> Option<(String, String)> {
            let name: &std::borrow::Cow<'_, str> = name.get_ref();
            Some((name.to_string(), self.reader.text(value, key, longest)?))
        };
        table.iter().filter_map(entry).collect()
    }

    /// The tables of an array of tables.
    pub(super) fn sections(&self, key: &'static str, longest: usize) -> Vec<Section<'r, 's>> {
        let Some(value) = self.get(key) else {
            return Vec::new();
        };
        let list = self.reader.list(value, &format!("[[{key}]]"), longest);
        list.iter()
            .filter_map(|value| Section::of(self.reader, value, format!("[[{key}]]")))
            .collect()
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (&'r str, &'r Value<'s>)> {
        self.table
            .iter()
            .map(|(name, value)| (name.get_ref().as_ref(), value))
    }

    /// Refuses what nobody asked for.
    pub(super) fn finish(self) {
        let known = self.known.borrow();
        for (name, _) in self.table.iter() {
            if known.iter().any(|known| known == name.get_ref()) {
                continue;
            }
            let mut message = format!("{:?} is no key of {}", name.get_ref(), self.name);
            if let Some(nearest) = nearest(name.get_ref(), known.iter().copied()) {
                message.push_str(&format!("; did you mean {nearest:?}?"));
            }
            self.reader.refuse(name.span().start, message);
        }
    }
}

/// One of a few words, or a problem with a suggestion.
pub(super) fn word<T: Copy>(
    reader: &Reader<'_>,
    value: &Value<'_>,
    what: &str,
    words: &[(&str, T)],
) -> Option<T> {
    let text = reader.text(value, what, 256)?;
    let found = words
        .iter()
        .find(|(word, _)| *word == text)
        .map(|(_, meaning)| *meaning);
    if found.is_none() {
        let all: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let mut message = format!("{what} is one of {}, not {text:?}", all.join(", "));
        if let Some(nearest) = nearest(&text, all.iter().copied()) {
            message.push_str(&format!("; did you mean {nearest:?}?"));
        }
        reader.refuse(value.span().start, message);
    }
    found
}

/// The word that differs least, if it differs little.
fn nearest<'w>(wrong: &str, words: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    let wrong: String = wrong.chars().take(64).collect();
    words
        .map(|word| (distance(&wrong, word), word))
        .min()
        .filter(|(distance, word)| *distance <= 1 + word.chars().count() / 4)
        .map(|(_, word)| word)
}

/// How many characters to insert, remove or replace.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[to.len()]
}
