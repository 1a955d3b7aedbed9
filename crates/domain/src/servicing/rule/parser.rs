//! From tokens to a bounded expression tree.

use super::lexer::{Placed, Token, tokens};
use super::{DEPTH_MAX, Function, Kind, LIST_MAX, NODES_MAX, Node, Operator, RuleError, error_at};

pub(super) fn parse(source: &str) -> Result<Node, RuleError> {
    let mut parser = Parser {
        source,
        tokens: tokens(source)?,
        at: 0,
        depth: 0,
        nodes: 0,
    };
    if parser.peek() == &Token::End {
        return Err(error_at(
            source,
            0,
            "a rule cannot be empty; leave it out instead",
        ));
    }
    let root = parser.choice()?;
    match parser.peek() {
        Token::End => Ok(root),
        other => Err(parser.wrong(format!(
            "expected the end of the rule or an operator, found {}",
            describe(other)
        ))),
    }
}

struct Parser<'a> {
    source: &'a str,
    tokens: Vec<Placed>,
    at: usize,
    depth: usize,
    nodes: usize,
}

/// Binary operators by level, loosest first; comparisons do not chain.
const LEVELS: [&[(&str, Operator)]; 5] = [
    &[("||", Operator::Or)],
    &[("&&", Operator::And)],
    &[
        ("==", Operator::Equal),
        ("!=", Operator::NotEqual),
        ("<=", Operator::LessOrEqual),
        (">=", Operator::GreaterOrEqual),
        ("<", Operator::Less),
        (">", Operator::Greater),
    ],
    &[("+", Operator::Add), ("-", Operator::Subtract)],
    &[("*", Operator::Multiply)],
];

impl Parser<'_> {
    fn peek(&self) -> &Token {
        &self.tokens[self.at].token
    }

    fn start(&self) -> usize {
        self.tokens[self.at].start
    }

    fn last_end(&self) -> usize {
        self.tokens[self.at.saturating_sub(1)].end
    }

    fn take(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Token::Sign(found) if *found == sign);
        if found {
            self.at += 1;
        }
        found
    }

    fn expect(&mut self, sign: &str) -> Result<(), RuleError> {
        if self.take(sign) {
            return Ok(());
        }
        Err(self.wrong(format!("expected {sign:?}, found {}", describe(self.peek()))))
    }

    fn wrong(&self, message: String) -> RuleError {
        error_at(self.source, self.start(), message)
    }

    fn node(&mut self, start: usize, kind: Kind) -> Result<Node, RuleError> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(error_at(
                self.source,
                start,
                format!("a rule has at most {NODES_MAX} parts"),
            ));
        }
        Ok(Node {
            start,
            end: self.last_end(),
            kind,
        })
    }

    fn deeper<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T, RuleError>) -> Result<T, RuleError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.wrong(format!("a rule is nested at most {DEPTH_MAX} deep")));
        }
        let result = parse(self);
        self.depth -= 1;
        result
    }

    fn choice(&mut self) -> Result<Node, RuleError> {
        let start = self.start();
        let condition = self.binary(0)?;
        if !self.take("?") {
            return Ok(condition);
        }
        let yes = self.deeper(Self::choice)?;
        self.expect(":")?;
        let no = self.deeper(Self::choice)?;
        self.node(
            start,
            Kind::Choose {
                condition: Box::new(condition),
                yes: Box::new(yes),
                no: Box::new(no),
            },
        )
    }

    fn binary(&mut self, level: usize) -> Result<Node, RuleError> {
        let Some(operators) = LEVELS.get(level) else {
            return self.unary();
        };
        let start = self.start();
        let mut left = self.binary(level + 1)?;
        // A long chain nests to the left and so is as deep as it is long.
        let mut chain = 0;
        loop {
            let operator = match self.peek() {
                Token::Sign(sign) => operators
                    .iter()
                    .find(|(known, _)| known == sign)
                    .map(|(_, operator)| *operator),
                Token::Name(name) if name == "in" && level == 2 => Some(Operator::In),
                _ => None,
            };
            let Some(operator) = operator else { return Ok(left) };
            chain += 1;
            if chain > DEPTH_MAX {
                return Err(self.wrong(format!(
                    "at most {DEPTH_MAX} operators in a row; use brackets or a list with `in`"
                )));
            }
            self.at += 1;
            let right = self.binary(level + 1)?;
            left = self.node(
                start,
                Kind::Binary {
                    operator,
                    left: Box::new(left),
                    right: Box::new(right),
                },
            )?;
        }
    }

    fn unary(&mut self) -> Result<Node, RuleError> {
        let start = self.start();
        if self.take("!") {
            let inner = self.deeper(Self::unary)?;
            return self.node(start, Kind::Not(Box::new(inner)));
        }
        if self.take("-") {
            let inner = self.deeper(Self::unary)?;
            return self.node(start, Kind::Negate(Box::new(inner)));
        }
        self.primary()
    }

    fn primary(&mut self) -> Result<Node, RuleError> {
        let start = self.start();
        let mut node = match self.peek().clone() {
            Token::Int(number) => {
                self.at += 1;
                self.node(start, Kind::Int(number))?
            }
            Token::Text(text) => {
                self.at += 1;
                self.node(start, Kind::Text(text))?
            }
            Token::Name(name) => {
                self.at += 1;
                self.named(start, name)?
            }
            Token::Sign("(") => {
                self.at += 1;
                let inner = self.deeper(Self::choice)?;
                self.expect(")")?;
                inner
            }
            Token::Sign("[") => {
                self.at += 1;
                let elements = self.deeper(|parser| parser.list("]"))?;
                self.node(start, Kind::List(elements))?
            }
            other => return Err(self.wrong(format!("expected a value, found {}", describe(&other)))),
        };
        let mut calls = 0;
        while self.take(".") {
            calls += 1;
            if calls > DEPTH_MAX {
                return Err(self.wrong(format!("at most {DEPTH_MAX} calls in a row")));
            }
            node = self.method(start, node)?;
        }
        Ok(node)
    }

    /// `true`, `false`, a function call or a dotted fact.
    fn named(&mut self, start: usize, name: String) -> Result<Node, RuleError> {
        match name.as_str() {
            "true" => return self.node(start, Kind::Bool(true)),
            "false" => return self.node(start, Kind::Bool(false)),
            _ => {}
        }
        if self.peek() == &Token::Sign("(") {
            let function = match Function::named(&name) {
                Some(
                    function @ (Function::Version | Function::Installed | Function::Feature | Function::Size),
                ) => function,
                _ => return Err(error_at(self.source, start, no_function(&name))),
            };
            self.at += 1;
            let args = self.deeper(|parser| parser.list(")"))?;
            return self.node(start, Kind::Call { function, args });
        }
        let mut fact = name;
        // `site.code.startsWith("P")`: the last name before a bracket is a function, not a part of the fact.
        while matches!(self.peek(), Token::Sign("."))
            && matches!(
                self.tokens.get(self.at + 1).map(|t| &t.token),
                Some(Token::Name(_))
            )
            && !matches!(
                self.tokens.get(self.at + 2).map(|t| &t.token),
                Some(Token::Sign("("))
            )
        {
            if let Token::Name(part) = &self.tokens[self.at + 1].token {
                fact.push('.');
                fact.push_str(part);
            }
            self.at += 2;
        }
        self.node(start, Kind::Fact(fact))
    }

    fn method(&mut self, start: usize, receiver: Node) -> Result<Node, RuleError> {
        let Token::Name(name) = self.peek().clone() else {
            return Err(self.wrong(format!(
                "expected a function after \".\", found {}",
                describe(self.peek())
            )));
        };
        let function = match Function::named(&name) {
            Some(
                function @ (Function::StartsWith | Function::EndsWith | Function::Contains | Function::Size),
            ) => function,
            _ => return Err(self.wrong(no_function(&name))),
        };
        self.at += 1;
        self.expect("(")?;
        let mut args = vec![receiver];
        args.extend(self.deeper(|parser| parser.list(")"))?);
        self.node(start, Kind::Call { function, args })
    }

    fn list(&mut self, end: &str) -> Result<Vec<Node>, RuleError> {
        let mut elements = Vec::new();
        while !self.take(end) {
            if !elements.is_empty() {
                self.expect(",")?;
            }
            elements.push(self.choice()?);
            if elements.len() > LIST_MAX {
                return Err(self.wrong(format!("a list has at most {LIST_MAX} elements")));
            }
        }
        Ok(elements)
    }
}

fn no_function(name: &str) -> String {
    match name {
        "all" | "exists" | "exists_one" | "map" | "filter" | "has" => {
            format!("{name} loops over its input, which rules cannot do; name the cases with && and ||")
        }
        "matches" => {
            "regular expressions are not part of rules; use startsWith, endsWith or contains".to_owned()
        }
        _ => {
            let names: Vec<&str> = Function::ALL.iter().map(|(name, _)| *name).collect();
            format!("there is no function {name}; there are {}", names.join(", "))
        }
    }
}

fn describe(token: &Token) -> String {
    match token {
        Token::Name(name) => name.clone(),
        Token::Int(number) => number.to_string(),
        Token::Text(text) => format!("{text:?}"),
        Token::Sign(sign) => format!("{sign:?}"),
        Token::End => "the end of the rule".to_owned(),
    }
}
