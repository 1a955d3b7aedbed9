//! Types: every part of a rule has one before the rule is used.

use super::{Function, Kind, Node, Operator, RuleError, Type, error_at};
use crate::servicing::facts;
use crate::servicing::package::PackageGuid;
use crate::servicing::version::FullVersion;

pub(super) fn type_of(node: &Node, source: &str) -> Result<Type, RuleError> {
    let wrong = |at: &Node, message: String| Err(error_at(source, at.start, message));
    match &node.kind {
        Kind::Bool(_) => Ok(Type::Bool),
        Kind::Int(_) => Ok(Type::Int),
        Kind::Text(_) => Ok(Type::Text),
        Kind::Fact(name) => match facts::find(name) {
            Some(fact) => Ok(fact.value_type),
            None => wrong(node, facts::unknown(name)),
        },
        Kind::List(elements) => {
            let Some(first) = elements.first() else {
                return wrong(node, "a list needs at least one element".into());
            };
            let expected = type_of(first, source)?;
            for element in &elements[1..] {
                let found = type_of(element, source)?;
                if found != expected {
                    return wrong(
                        element,
                        format!("the list began with {expected}, this is {found}"),
                    );
                }
            }
            match list_of(expected) {
                Some(list) => Ok(list),
                None => wrong(first, format!("a list cannot hold {expected}")),
            }
        }
        Kind::Not(inner) => expect(inner, Type::Bool, source).map(|()| Type::Bool),
        Kind::Negate(inner) => expect(inner, Type::Int, source).map(|()| Type::Int),
        Kind::Choose { condition, yes, no } => {
            expect(condition, Type::Bool, source)?;
            let expected = type_of(yes, source)?;
            expect(no, expected, source)?;
            Ok(expected)
        }
        Kind::Binary {
            operator,
            left,
            right,
        } => binary(*operator, left, right, source),
        Kind::Call { function, args } => call(*function, args, node, source),
    }
}

fn binary(operator: Operator, left: &Node, right: &Node, source: &str) -> Result<Type, RuleError> {
    match operator {
        Operator::And | Operator::Or => {
            expect(left, Type::Bool, source)?;
            expect(right, Type::Bool, source)?;
            Ok(Type::Bool)
        }
        Operator::Equal | Operator::NotEqual => {
            let expected = type_of(left, source)?;
            expect(right, expected, source)?;
            Ok(Type::Bool)
        }
        Operator::Less | Operator::LessOrEqual | Operator::Greater | Operator::GreaterOrEqual => {
            let expected = type_of(left, source)?;
            if !matches!(expected, Type::Int | Type::Version | Type::Text) {
                return Err(error_at(source, left.start, format!("{expected} has no order")));
            }
            expect(right, expected, source)?;
            Ok(Type::Bool)
        }
        Operator::In => {
            let element = type_of(left, source)?;
            match list_of(element) {
                Some(list) => expect(right, list, source)?,
                None => {
                    return Err(error_at(
                        source,
                        left.start,
                        format!("{element} cannot be in a list"),
                    ));
                }
            }
            Ok(Type::Bool)
        }
        Operator::Add => {
            let expected = type_of(left, source)?;
            if !matches!(expected, Type::Int | Type::Text) {
                return Err(error_at(
                    source,
                    left.start,
                    format!("{expected} cannot be added"),
                ));
            }
            expect(right, expected, source)?;
            Ok(expected)
        }
        Operator::Subtract | Operator::Multiply => {
            expect(left, Type::Int, source)?;
            expect(right, Type::Int, source)?;
            Ok(Type::Int)
        }
    }
}

fn call(function: Function, args: &[Node], node: &Node, source: &str) -> Result<Type, RuleError> {
    let expected = match function {
        Function::Version | Function::Installed | Function::Feature | Function::Size => 1,
        Function::StartsWith | Function::EndsWith | Function::Contains => 2,
    };
    let given = args.len();
    if given != expected {
        let message = format!("{} takes {expected} value(s), not {given}", function.name());
        return Err(error_at(source, node.start, message));
    }
    match function {
        Function::Version => {
            let text = literal(
                &args[0],
                source,
                "a version in quotes, such as version(\"5.00.9106.1000\")",
            )?;
            text.parse::<FullVersion>()
                .map_err(|problem| error_at(source, args[0].start, problem))?;
            Ok(Type::Version)
        }
        Function::Installed | Function::Feature => {
            let text = literal(&args[0], source, "a GUID in quotes")?;
            text.parse::<PackageGuid>()
                .map_err(|problem| error_at(source, args[0].start, problem))?;
            Ok(Type::Bool)
        }
        Function::Size => match type_of(&args[0], source)? {
            Type::Text | Type::TextList | Type::IntList | Type::VersionList => Ok(Type::Int),
            other @ (Type::Bool | Type::Int | Type::Version) => {
                Err(error_at(source, args[0].start, format!("{other} has no size")))
            }
        },
        Function::StartsWith | Function::EndsWith | Function::Contains => {
            let receiver = type_of(&args[0], source)?;
            let takes_it = match receiver {
                Type::Text => true,
                Type::TextList => function == Function::Contains,
                Type::Bool | Type::Int | Type::Version | Type::IntList | Type::VersionList => false,
            };
            if !takes_it {
                let message = format!("{} is asked of a text, this is {receiver}", function.name());
                return Err(error_at(source, args[0].start, message));
            }
            expect(&args[1], Type::Text, source)?;
            Ok(Type::Bool)
        }
    }
}

fn literal<'a>(node: &'a Node, source: &str, what: &str) -> Result<&'a str, RuleError> {
    match &node.kind {
        Kind::Text(text) => Ok(text),
        _ => Err(error_at(source, node.start, format!("write {what}"))),
    }
}

fn expect(node: &Node, expected: Type, source: &str) -> Result<(), RuleError> {
    let found = type_of(node, source)?;
    if found == expected {
        return Ok(());
    }
    Err(error_at(
        source,
        node.start,
        format!("expected {expected}, this is {found}"),
    ))
}

fn list_of(element: Type) -> Option<Type> {
    match element {
        Type::Text => Some(Type::TextList),
        Type::Int => Some(Type::IntList),
        Type::Version => Some(Type::VersionList),
        Type::Bool | Type::TextList | Type::IntList | Type::VersionList => None,
    }
}
