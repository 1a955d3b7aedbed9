//! Evaluating a checked rule, and explaining the result condition by condition.

use super::{Function, Kind, Node, Operator, Rule};
use crate::servicing::facts::{FactSet, Value};

/// How one condition came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It holds.
    Met,
    /// It does not hold.
    NotMet,
    /// A fact it needs is not known here.
    CouldNotEvaluate,
}

impl Outcome {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Met => "met",
            Outcome::NotMet => "not-met",
            Outcome::CouldNotEvaluate => "could-not-evaluate",
        }
    }
}

/// A condition with what it asks for and what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// The condition, in words or as written by the vendor.
    pub text: String,
    /// What it asks for.
    pub expected: String,
    /// What was found.
    pub actual: String,
    /// How it came out.
    pub outcome: Outcome,
}

impl Rule {
    /// Whether the rule holds; an error says which fact it lacked.
    pub fn evaluate(&self, facts: &FactSet) -> Result<bool, String> {
        truth(&self.root, facts)
    }

    /// One condition for each part joined by `&&` at the top.
    pub fn explain(&self, facts: &FactSet) -> Vec<Condition> {
        let mut parts = Vec::new();
        conjuncts(&self.root, &mut parts);
        parts
            .into_iter()
            .map(|part| self.explain_part(part, facts))
            .collect()
    }

    fn explain_part(&self, part: &Node, facts: &FactSet) -> Condition {
        let text = self.source[part.start..part.end].trim().to_owned();
        let mut read = Vec::new();
        facts_read(part, facts, &mut read);
        let found = if read.is_empty() {
            "no facts".to_owned()
        } else {
            read.join(", ")
        };
        let (outcome, actual) = match truth(part, facts) {
            Ok(true) => (Outcome::Met, found),
            Ok(false) => (Outcome::NotMet, found),
            Err(problem) => (Outcome::CouldNotEvaluate, problem),
        };
        let expected = match &part.kind {
            Kind::Binary { operator, right, .. } if is_comparison(*operator) => {
                let right = &self.source[right.start..right.end];
                format!("{} {right}", sign(*operator))
            }
            _ => "true".to_owned(),
        };
        Condition {
            text,
            expected,
            actual,
            outcome,
        }
    }
}

fn conjuncts<'a>(node: &'a Node, parts: &mut Vec<&'a Node>) {
    match &node.kind {
        Kind::Binary {
            operator: Operator::And,
            left,
            right,
        } => {
            conjuncts(left, parts);
            conjuncts(right, parts);
        }
        _ => parts.push(node),
    }
}

/// Notes `name = value` for every fact below a node, each once.
fn facts_read(node: &Node, facts: &FactSet, read: &mut Vec<String>) {
    let mut note = |text: String| {
        if !read.contains(&text) {
            read.push(text);
        }
    };
    match &node.kind {
        Kind::Fact(name) => match facts.get(name) {
            Ok(value) => note(format!("{name} = {value}")),
            Err(reason) => note(format!("{name} is unknown: {reason}")),
        },
        Kind::Call {
            function: Function::Installed | Function::Feature,
            ..
        } => {
            if let Ok(value) = value(node, facts) {
                note(value.to_string());
            }
        }
        Kind::Call { args: inner, .. } | Kind::List(inner) => {
            inner.iter().for_each(|arg| facts_read(arg, facts, read))
        }
        Kind::Not(inner) | Kind::Negate(inner) => facts_read(inner, facts, read),
        Kind::Binary { left, right, .. } => {
            facts_read(left, facts, read);
            facts_read(right, facts, read);
        }
        Kind::Choose { condition, yes, no } => {
            facts_read(condition, facts, read);
            facts_read(yes, facts, read);
            facts_read(no, facts, read);
        }
        Kind::Bool(_) | Kind::Int(_) | Kind::Text(_) => {}
    }
}

fn truth(node: &Node, facts: &FactSet) -> Result<bool, String> {
    match value(node, facts)? {
        Value::Bool(truth) => Ok(truth),
        other => Err(format!("{other} is neither true nor false")),
    }
}

fn value(node: &Node, facts: &FactSet) -> Result<Value, String> {
    Ok(match &node.kind {
        Kind::Bool(value) => Value::Bool(*value),
        Kind::Int(value) => Value::Int(*value),
        Kind::Text(value) => Value::Text(value.clone()),
        Kind::List(elements) => Value::List(
            elements
                .iter()
                .map(|node| value(node, facts))
                .collect::<Result<_, _>>()?,
        ),
        Kind::Fact(name) => facts
            .get(name)
            .map_err(|reason| format!("{name} is unknown: {reason}"))?
            .clone(),
        Kind::Not(inner) => Value::Bool(!truth(inner, facts)?),
        Kind::Negate(inner) => Value::Int(int(inner, facts)?.checked_neg().ok_or_else(too_large)?),
        Kind::Choose { condition, yes, no } => {
            return value(if truth(condition, facts)? { yes } else { no }, facts);
        }
        Kind::Binary {
            operator,
            left,
            right,
        } => return binary(*operator, left, right, facts),
        Kind::Call { function, args } => return call(*function, args, facts),
    })
}

fn binary(operator: Operator, left: &Node, right: &Node, facts: &FactSet) -> Result<Value, String> {
    // As in CEL, one side that decides makes the other side's missing fact irrelevant.
    if let Operator::And | Operator::Or = operator {
        let decisive = operator == Operator::Or;
        let sides = (truth(left, facts), truth(right, facts));
        return match sides {
            (Ok(side), _) | (_, Ok(side)) if side == decisive => Ok(Value::Bool(decisive)),
            (Ok(_), Ok(_)) => Ok(Value::Bool(!decisive)),
            (Err(problem), _) | (_, Err(problem)) => Err(problem),
        };
    }
    let (a, b) = (value(left, facts)?, value(right, facts)?);
    let ordering = a.compare(&b);
    let result = match operator {
        Operator::Equal => Value::Bool(a == b),
        Operator::NotEqual => Value::Bool(a != b),
        Operator::Less => Value::Bool(ordering.is_some_and(|o| o.is_lt())),
        Operator::LessOrEqual => Value::Bool(ordering.is_some_and(|o| o.is_le())),
        Operator::Greater => Value::Bool(ordering.is_some_and(|o| o.is_gt())),
        Operator::GreaterOrEqual => Value::Bool(ordering.is_some_and(|o| o.is_ge())),
        Operator::In => Value::Bool(matches!(&b, Value::List(elements) if elements.contains(&a))),
        Operator::Add => match (a, b) {
            (Value::Text(a), Value::Text(b)) => Value::Text(a + &b),
            (a, b) => Value::Int(number(a)?.checked_add(number(b)?).ok_or_else(too_large)?),
        },
        Operator::Subtract => Value::Int(number(a)?.checked_sub(number(b)?).ok_or_else(too_large)?),
        Operator::Multiply => Value::Int(number(a)?.checked_mul(number(b)?).ok_or_else(too_large)?),
        Operator::And | Operator::Or => Value::Bool(false),
    };
    Ok(result)
}

fn call(function: Function, args: &[Node], facts: &FactSet) -> Result<Value, String> {
    let first = args
        .first()
        .map(|node| value(node, facts))
        .transpose()?
        .unwrap_or(Value::Bool(false));
    let second = args.get(1).map(|node| value(node, facts)).transpose()?;
    let bad = || format!("{} cannot take this value", function.name());
    Ok(match (function, &first, &second) {
        (Function::Version, Value::Text(text), _) => Value::Version(text.parse()?),
        (Function::Installed, Value::Text(text), _) => Value::Bool(facts.installed.contains(&text.parse()?)),
        (Function::Feature, Value::Text(text), _) => Value::Bool(facts.features.contains(&text.parse()?)),
        (Function::Size, Value::Text(text), _) => Value::Int(text.chars().count() as i64),
        (Function::Size, Value::List(elements), _) => Value::Int(elements.len() as i64),
        (Function::StartsWith, Value::Text(text), Some(Value::Text(part))) => {
            Value::Bool(text.starts_with(part))
        }
        (Function::EndsWith, Value::Text(text), Some(Value::Text(part))) => Value::Bool(text.ends_with(part)),
        (Function::Contains, Value::Text(text), Some(Value::Text(part))) => Value::Bool(text.contains(part)),
        (Function::Contains, Value::List(elements), Some(element)) => Value::Bool(elements.contains(element)),
        _ => return Err(bad()),
    })
}

fn int(node: &Node, facts: &FactSet) -> Result<i64, String> {
    number(value(node, facts)?)
}

fn number(value: Value) -> Result<i64, String> {
    match value {
        Value::Int(number) => Ok(number),
        other => Err(format!("{other} is no number")),
    }
}

fn too_large() -> String {
    "a number became larger than 64 bits".to_owned()
}

fn is_comparison(operator: Operator) -> bool {
    !matches!(
        operator,
        Operator::And | Operator::Or | Operator::Add | Operator::Subtract | Operator::Multiply
    )
}

fn sign(operator: Operator) -> &'static str {
    match operator {
        Operator::And => "&&",
        Operator::Or => "||",
        Operator::Equal => "==",
        Operator::NotEqual => "!=",
        Operator::Less => "<",
        Operator::LessOrEqual => "<=",
        Operator::Greater => ">",
        Operator::GreaterOrEqual => ">=",
        Operator::In => "in",
        Operator::Add => "+",
        Operator::Subtract => "-",
        Operator::Multiply => "*",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::servicing::rule::check;
    use proptest::prelude::*;

    fn facts() -> FactSet {
        let mut facts = FactSet::default();
        facts.set("site.release", Value::Int(9096));
        facts.set("site.code", Value::Text("P01".into()));
        facts.set("site.version", Value::Version("5.00.9096.1000".parse().unwrap()));
        facts.set("host.os", Value::Text("debian".into()));
        facts.set_unknown("host.memory_bytes", "the host does not tell");
        facts
    }

    #[test]
    fn evaluates() {
        let check = |source: &str, expected: Result<bool, &str>| {
            let found = Rule::parse(source)
                .unwrap_or_else(|e| panic!("{source}: {e}"))
                .evaluate(&facts());
            assert_eq!(found, expected.map_err(str::to_owned), "{source}");
        };
        check("true", Ok(true));
        check(
            "site.release >= 9096 && site.release < 10_0 + 9000 * 1 || true"
                .replace("10_0", "100")
                .as_str(),
            Ok(true),
        );
        check("site.version < version(\"5.00.9100.1000\")", Ok(true));
        check("host.os in ['debian', 'ubuntu']", Ok(true));
        check("!site.code.startsWith(\"S\") && size(site.code) == 3", Ok(true));
        check("installed(\"8576527E-DDE7-4E3C-A0E1-6FB0F0A3B1C4\")", Ok(false));
        check("site.release > 9000 ? site.code == \"P01\" : false", Ok(true));
        check(
            "host.memory_bytes > 1",
            Err("host.memory_bytes is unknown: the host does not tell"),
        );
        check("host.memory_bytes > 1 || site.release == 9096", Ok(true));
        check("host.memory_bytes > 1 && site.release == 1", Ok(false));
        check(
            "9223372036854775807 + site.release > 0",
            Err("a number became larger than 64 bits"),
        );
    }

    #[test]
    fn refuses_with_the_place() {
        let refused = |source: &str, line: u32, column: u32, part: &str| {
            let error = check(source).expect_err(source);
            assert_eq!((error.line, error.column), (line, column), "{source}: {error}");
            assert!(error.message.contains(part), "{source}: {error}");
        };
        refused("", 1, 1, "cannot be empty");
        refused("site.releas > 1", 1, 1, "site.release");
        refused(
            "site.release >\n \"a\"",
            2,
            2,
            "expected a number, this is a text",
        );
        refused("site.release", 1, 1, "a rule is true or false");
        refused("[1, 2].all(x, x > 1)", 1, 8, "loops");
        refused("site.code.matches(\"a*\")", 1, 11, "regular expressions");
        refused("version(\"9\") == site.version", 1, 9, "no version");
        refused("installed(site.code)", 1, 11, "GUID");
        refused("\"open", 1, 1, "closing quote");
        refused("true true", 1, 6, "end of the rule");
        refused("1 == true", 1, 6, "expected a number");
        refused("99999999999999999999 > 1", 1, 1, "64 bits");
        refused(&"(".repeat(100), 1, 34, "nested");
        refused(&format!("true{}", " && true".repeat(200)), 1, 262, "in a row");
        refused(&"x".repeat(5000), 1, 1, "at most 4096 bytes");
    }

    /// Checking must stay linear: a doubling per level of nesting would never end here.
    #[test]
    fn nesting_does_not_multiply_the_work() {
        let mut receiver = "site.code".to_owned();
        for _ in 0..30 {
            receiver = format!("({receiver}.contains(\"a\") ? \"x\" : \"y\")");
        }
        check(&format!("{receiver} == \"x\"")).unwrap();
        let mut list = "1".to_owned();
        for _ in 0..15 {
            list = format!("(1 in [{list}] ? 1 : 2)");
        }
        check(&format!("{list} == 1")).unwrap();
    }

    #[test]
    fn explains_each_conjunct() {
        let rule =
            Rule::parse("site.release >= 9100 && (host.os == \"debian\" || host.memory_bytes > 5)").unwrap();
        let conditions = rule.explain(&facts());
        assert_eq!(conditions.len(), 2);
        assert_eq!(conditions[0].outcome, Outcome::NotMet);
        assert_eq!(
            (conditions[0].expected.as_str(), conditions[0].actual.as_str()),
            (">= 9100", "site.release = 9096")
        );
        assert_eq!(conditions[1].outcome, Outcome::Met);
        assert!(conditions[1].actual.contains("host.os = debian"));
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_evaluated(source in ".{0,200}") {
            crate::servicing::rule::fuzz_rule(source.as_bytes());
        }

        #[test]
        fn near_rules_are_refused_or_evaluated(
            parts in proptest::collection::vec(
                proptest::sample::select(vec!["site.release", "site.code", "host.memory_bytes", "1", "\"a\"", "true", "(", ")", "&&", "||",
                    "==", "<", "!", "-", "+", "*", "in", "[", "]", ",", ".startsWith(", "size(", "?", ":", "version(\"5.0.1.2\")"]), 0..30),
        ) {
            let source = parts.join(" ");
            if let Ok(rule) = Rule::parse(&source) {
                let facts = facts();
                let conditions = rule.explain(&facts);
                let all_met = conditions.iter().all(|c| c.outcome == Outcome::Met);
                let some_not_met = conditions.iter().any(|c| c.outcome == Outcome::NotMet);
                match rule.evaluate(&facts) {
                    Ok(true) => prop_assert!(all_met),
                    Ok(false) => prop_assert!(some_not_met),
                    Err(_) => prop_assert!(!all_met && !some_not_met),
                }
            }
        }
    }
}
