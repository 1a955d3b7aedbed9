//! Declarative rules: conditions that a vendor writes and a site evaluates without running foreign code.
//!
//! The language is a small part of CEL's syntax: literals, facts, comparisons, `&& || !`, `+ - *`,
//! `in`, `? :` and a fixed set of functions. There are no loops, no recursion and no user functions;
//! size, depth and number of nodes are bounded, so that evaluation takes microseconds whatever the
//! source says. A rule is typed before it is used, against the facts in [`super::facts`].

mod check;
mod evaluate;
mod lexer;
mod parser;

use std::fmt;

pub use evaluate::{Condition, Outcome};

/// Longest source in bytes.
pub const SOURCE_BYTES_MAX: usize = 4_096;
/// Deepest nesting.
pub const DEPTH_MAX: usize = 32;
/// Most nodes of the expression tree.
pub const NODES_MAX: usize = 500;
/// Most elements of a list literal.
pub const LIST_MAX: usize = 256;

/// Why a text is no rule, with the place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleError {
    /// Line in the source, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// What is wrong and what to write.
    pub message: String,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.message)
    }
}

impl std::error::Error for RuleError {}

/// A checked rule: it evaluates to true or false, or tells which fact it lacked.
#[derive(Debug, Clone)]
pub struct Rule {
    source: String,
    root: Node,
}

impl Rule {
    /// Parses and types a rule.
    pub fn parse(source: &str) -> Result<Rule, RuleError> {
        if source.len() > SOURCE_BYTES_MAX {
            let message = format!(
                "a rule has at most {SOURCE_BYTES_MAX} bytes, this one has {}",
                source.len()
            );
            return Err(RuleError {
                line: 1,
                column: 1,
                message,
            });
        }
        let root = parser::parse(source)?;
        let found = check::type_of(&root, source)?;
        if found != Type::Bool {
            return Err(error_at(
                source,
                root.start,
                format!("a rule is true or false, this is {found}"),
            ));
        }
        Ok(Rule {
            source: source.to_owned(),
            root,
        })
    }
}

/// Whether a text is a rule.
pub fn check(source: &str) -> Result<(), RuleError> {
    Rule::parse(source).map(drop)
}

/// Parses arbitrary bytes and evaluates what comes of it; must not panic.
pub fn fuzz_rule(bytes: &[u8]) {
    if let Ok(rule) = Rule::parse(&String::from_utf8_lossy(bytes)) {
        rule.explain(&super::facts::FactSet::default());
    }
}

/// The type of an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// true or false
    Bool,
    /// 64-bit signed
    Int,
    /// A text.
    Text,
    /// A product version.
    Version,
    /// A list of texts.
    TextList,
    /// A list of integers.
    IntList,
    /// A list of versions.
    VersionList,
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Type::Bool => "true or false",
            Type::Int => "a number",
            Type::Text => "a text",
            Type::Version => "a version",
            Type::TextList => "a list of texts",
            Type::IntList => "a list of numbers",
            Type::VersionList => "a list of versions",
        })
    }
}

#[derive(Debug, Clone)]
struct Node {
    /// Byte range in the source.
    start: usize,
    end: usize,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Bool(bool),
    Int(i64),
    Text(String),
    List(Vec<Node>),
    Fact(String),
    Call {
        function: Function,
        args: Vec<Node>,
    },
    Not(Box<Node>),
    Negate(Box<Node>),
    Binary {
        operator: Operator,
        left: Box<Node>,
        right: Box<Node>,
    },
    Choose {
        condition: Box<Node>,
        yes: Box<Node>,
        no: Box<Node>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    And,
    Or,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    Add,
    Subtract,
    Multiply,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    Version,
    Installed,
    Feature,
    Size,
    StartsWith,
    EndsWith,
    Contains,
}

impl Function {
    const ALL: [(&'static str, Function); 7] = [
        ("version", Function::Version),
        ("installed", Function::Installed),
        ("feature", Function::Feature),
        ("size", Function::Size),
        ("startsWith", Function::StartsWith),
        ("endsWith", Function::EndsWith),
        ("contains", Function::Contains),
    ];

    fn named(name: &str) -> Option<Function> {
        Self::ALL
            .into_iter()
            .find(|(known, _)| *known == name)
            .map(|(_, function)| function)
    }

    fn name(self) -> &'static str {
        Self::ALL
            .into_iter()
            .find(|(_, function)| *function == self)
            .map_or("", |(name, _)| name)
    }
}

fn error_at(source: &str, offset: usize, message: impl Into<String>) -> RuleError {
    let before = &source[..source.floor_char_boundary(offset)];
    let line = before.matches('\n').count() as u32 + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() as u32 + 1;
    RuleError {
        line,
        column,
        message: message.into(),
    }
}
