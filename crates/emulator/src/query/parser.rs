//! Parses tokens into a query. Anything outside the subset is refused with its position.

use serde_json::{Number, Value};

use super::{
    ast::{Expression, Kind, Name, Named, Operator, Query, Search, Step},
    lexer::{self, Token},
    problem::{At, Problem},
};

/// Maximum number of joins in one query.
const JOINS: usize = 3;
/// Maximum depth of brackets, which protects the stack.
const DEPTH: usize = 64;

type Parsed<T> = Result<T, Problem>;

struct Parser {
    tokens: Vec<Token>,
    next: usize,
    joins: usize,
    depth: usize,
    end: Token,
}

/// Parses the text of a query.
pub(crate) fn parse(text: &str) -> Parsed<Query> {
    let end = Token {
        kind: lexer::Kind::End,
        text: "<EOF>".into(),
        at: At::default(),
        joined: false,
    };
    let mut parser = Parser {
        tokens: lexer::tokens(text)?,
        next: 0,
        joins: 0,
        depth: 0,
        end,
    };
    let query = parser.query()?;
    match parser.peek().kind {
        lexer::Kind::End => Ok(query),
        _ => Err(parser.expected("| or the end of the query")),
    }
}

impl Parser {
    fn peek(&self) -> &Token {
        self.tokens.get(self.next).unwrap_or(&self.end)
    }

    fn advance(&mut self) -> Token {
        let token = self.peek().clone();
        self.next += 1;
        token
    }

    fn expected(&self, what: &str) -> Problem {
        let token = self.peek();
        Problem::grammar(token.at, &token.text, what)
    }

    fn is(&self, text: &str) -> bool {
        let token = self.peek();
        matches!(token.kind, lexer::Kind::Word | lexer::Kind::Symbol) && token.text == text
    }

    fn accept(&mut self, text: &str) -> bool {
        let there = self.is(text);
        self.next += usize::from(there);
        there
    }

    fn expect(&mut self, text: &str) -> Parsed<()> {
        if self.accept(text) {
            Ok(())
        } else {
            Err(self.expected(text))
        }
    }

    fn name(&mut self) -> Parsed<Name> {
        let token = self.peek();
        let plain = token.kind == lexer::Kind::Word && !token.text.contains(['!', '~']);
        if !plain || RESERVED.contains(&token.text.as_str()) {
            return Err(self.expected("a name"));
        }
        let token = self.advance();
        Ok(Name {
            text: token.text,
            at: token.at,
        })
    }

    fn deeper<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        self.depth += 1;
        if self.depth > DEPTH {
            let token = self.peek();
            return Err(Problem::meaning(
                token.at,
                &token.text,
                "The query is nested too deeply.",
            ));
        }
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    fn query(&mut self) -> Parsed<Query> {
        let table = self.name()?;
        let mut steps = Vec::new();
        while self.accept("|") {
            steps.push(self.step()?);
        }
        Ok(Query { table, steps })
    }

    fn step(&mut self) -> Parsed<Step> {
        let token = self.peek().clone();
        if token.kind != lexer::Kind::Word {
            return Err(self.expected("an operator"));
        }
        self.next += 1;
        match token.text.as_str() {
            "where" => Ok(Step::Where(self.expression()?)),
            "extend" => Ok(Step::Extend(self.list(Self::named)?)),
            "project" if self.is("-") && self.peek().joined => {
                self.next += 1;
                if !self.accept("away") {
                    let text = format!("project-{}", self.peek().text);
                    return Err(unsupported(token.at, &text));
                }
                Ok(Step::ProjectAway(self.list(Self::name)?))
            }
            "project" => Ok(Step::Project(self.list(Self::named)?)),
            "order" | "sort" => {
                self.expect("by")?;
                Ok(Step::Order(self.list(Self::order_key)?))
            }
            "join" => self.join(token.at),
            "limit" | "take" => self.limit(),
            "summarize" => self.summarize(),
            "count" => Ok(Step::Count),
            "distinct" => Ok(Step::Distinct(self.list(Self::named)?)),
            other => Err(unsupported(token.at, other)),
        }
    }

    fn list<T>(&mut self, item: impl Fn(&mut Self) -> Parsed<T>) -> Parsed<Vec<T>> {
        let mut items = vec![item(self)?];
        while self.accept(",") {
            items.push(item(self)?);
        }
        Ok(items)
    }

    fn named(&mut self) -> Parsed<Named> {
        let assigned = self
            .tokens
            .get(self.next + 1)
            .is_some_and(|token| token.kind == lexer::Kind::Symbol && token.text == "=");
        let name = if assigned {
            let name = self.name()?;
            self.expect("=")?;
            Some(name)
        } else {
            None
        };
        Ok(Named {
            name,
            expression: self.expression()?,
        })
    }

    fn order_key(&mut self) -> Parsed<(Expression, bool)> {
        let key = self.expression()?;
        let ascending = self.accept("asc");
        if !ascending {
            // The default order is descending.
            self.accept("desc");
        }
        Ok((key, ascending))
    }

    fn limit(&mut self) -> Parsed<Step> {
        let rows = match &self.peek().kind {
            lexer::Kind::Literal(value) => value.as_u64().and_then(|rows| usize::try_from(rows).ok()),
            _ => None,
        };
        let rows = rows.ok_or_else(|| self.expected("a number of rows"))?;
        self.next += 1;
        Ok(Step::Limit(rows))
    }

    fn join(&mut self, at: At) -> Parsed<Step> {
        self.joins += 1;
        if self.joins > JOINS {
            return Err(Problem::meaning(
                at,
                "join",
                format!("A query has at most {JOINS} joins."),
            ));
        }
        if !self.accept("kind") {
            // The language's default (`innerunique`) keeps one row of each left key, which is never intended.
            return Err(self.expected("kind=leftouter or kind=inner"));
        }
        self.expect("=")?;
        let outer = self.is("leftouter");
        if !outer && !self.is("inner") {
            return Err(self.expected("leftouter or inner"));
        }
        self.next += 1;
        self.expect("(")?;
        let right = self.deeper(Self::query)?;
        self.expect(")")?;
        self.expect("on")?;
        Ok(Step::Join {
            at,
            outer,
            right,
            on: self.list(Self::name)?,
        })
    }

    fn summarize(&mut self) -> Parsed<Step> {
        let mut counted = None;
        if !self.is("by") {
            let mut name = "count_".to_owned();
            if self
                .tokens
                .get(self.next + 1)
                .is_some_and(|token| token.text == "=")
            {
                name = self.name()?.text;
                self.expect("=")?;
            }
            let aggregate = self.peek().clone();
            if !self.accept("count") {
                return Err(unsupported(aggregate.at, &aggregate.text));
            }
            self.expect("(")?;
            self.expect(")")?;
            counted = Some(name);
        }
        let by = if self.accept("by") {
            self.list(Self::named)?
        } else {
            Vec::new()
        };
        Ok(Step::Summarize { counted, by })
    }

    fn expression(&mut self) -> Parsed<Expression> {
        self.deeper(|parser| {
            let mut left = parser.conjunction()?;
            while parser.is("or") {
                let at = parser.advance().at;
                left = binary(at, Operator::Or, left, parser.conjunction()?);
            }
            Ok(left)
        })
    }

    fn conjunction(&mut self) -> Parsed<Expression> {
        let mut left = self.comparison()?;
        while self.is("and") {
            let at = self.advance().at;
            left = binary(at, Operator::And, left, self.comparison()?);
        }
        Ok(left)
    }

    fn comparison(&mut self) -> Parsed<Expression> {
        let left = self.sum()?;
        let token = self.peek().clone();
        if !matches!(token.kind, lexer::Kind::Word | lexer::Kind::Symbol) {
            return Ok(left);
        }
        if let "in" | "in~" | "!in" | "!in~" = token.text.as_str() {
            self.next += 1;
            self.expect("(")?;
            let list = self.list(Self::sum)?;
            self.expect(")")?;
            let kind = Kind::In {
                needle: Box::new(left),
                list,
                fold: token.text.ends_with('~'),
                negated: token.text.starts_with('!'),
            };
            return Ok(Expression { at: token.at, kind });
        }
        let Some(operator) = comparison(&token.text) else {
            return Ok(left);
        };
        self.next += 1;
        Ok(binary(token.at, operator, left, self.sum()?))
    }

    fn sum(&mut self) -> Parsed<Expression> {
        let mut left = self.primary()?;
        loop {
            let operator = if self.is("+") {
                Operator::Plus
            } else if self.is("-") {
                Operator::Minus
            } else {
                return Ok(left);
            };
            let at = self.advance().at;
            left = binary(at, operator, left, self.primary()?);
        }
    }

    fn primary(&mut self) -> Parsed<Expression> {
        let token = self.peek().clone();
        let at = token.at;
        let mut expression = match token.kind {
            lexer::Kind::Literal(value) => {
                self.next += 1;
                Expression {
                    at,
                    kind: Kind::Literal(value),
                }
            }
            lexer::Kind::Symbol if token.text == "(" => {
                self.next += 1;
                let inner = self.expression()?;
                self.expect(")")?;
                inner
            }
            lexer::Kind::Symbol if token.text == "-" => {
                self.next += 1;
                let number = match &self.peek().kind {
                    lexer::Kind::Literal(Value::Number(number)) => negative(number),
                    _ => None,
                };
                let number = number.ok_or_else(|| self.expected("a number"))?;
                self.next += 1;
                Expression {
                    at,
                    kind: Kind::Literal(number),
                }
            }
            lexer::Kind::Word => self.word(&token)?,
            _ => return Err(self.expected("an expression")),
        };
        loop {
            let kind = if self.accept(".") {
                // After a dot keywords are names too: `properties.kind`.
                let member = self.peek().clone();
                if member.kind != lexer::Kind::Word || member.text.contains(['!', '~']) {
                    return Err(self.expected("a member"));
                }
                self.next += 1;
                Kind::Member(Box::new(expression), member.text)
            } else if self.accept("[") {
                let key = match &self.peek().kind {
                    lexer::Kind::Literal(Value::String(member)) => {
                        Kind::Member(Box::new(expression), member.clone())
                    }
                    lexer::Kind::Literal(Value::Number(index)) if index.is_u64() => {
                        let index = index.as_u64().and_then(|index| usize::try_from(index).ok());
                        Kind::Index(Box::new(expression), index.unwrap_or(usize::MAX))
                    }
                    _ => return Err(self.expected("a member in quotes, or an index")),
                };
                self.next += 1;
                self.expect("]")?;
                key
            } else {
                return Ok(expression);
            };
            expression = Expression { at, kind };
        }
    }

    fn word(&mut self, token: &Token) -> Parsed<Expression> {
        let at = token.at;
        if let "true" | "false" = token.text.as_str() {
            self.next += 1;
            let kind = Kind::Literal(Value::Bool(token.text == "true"));
            return Ok(Expression { at, kind });
        }
        let called = self
            .tokens
            .get(self.next + 1)
            .is_some_and(|next| next.kind == lexer::Kind::Symbol && next.text == "(");
        let name = self.name()?.text;
        if !called {
            return Ok(Expression {
                at,
                kind: Kind::Column(name),
            });
        }
        self.expect("(")?;
        let arguments = if self.is(")") {
            Vec::new()
        } else {
            self.list(Self::expression)?
        };
        self.expect(")")?;
        Ok(Expression {
            at,
            kind: Kind::Call(name, arguments),
        })
    }
}

/// Keywords that cannot be the name of a column or table.
const RESERVED: [&str; 11] = [
    "and",
    "or",
    "by",
    "on",
    "in",
    "asc",
    "desc",
    "contains",
    "has",
    "startswith",
    "endswith",
];

fn unsupported(at: At, text: &str) -> Problem {
    Problem::meaning(at, text, format!("The operator '{text}' is not supported here."))
}

fn binary(at: At, operator: Operator, left: Expression, right: Expression) -> Expression {
    let kind = Kind::Binary(operator, Box::new(left), Box::new(right));
    Expression { at, kind }
}

fn comparison(text: &str) -> Option<Operator> {
    Some(match text {
        "==" => Operator::Equal(false),
        "!=" => Operator::Equal(true),
        "=~" => Operator::EqualFold(false),
        "!~" => Operator::EqualFold(true),
        "<" => Operator::Less,
        "<=" => Operator::LessEqual,
        ">" => Operator::Greater,
        ">=" => Operator::GreaterEqual,
        _ => {
            let search = match text.trim_start_matches('!') {
                "contains" => Search::Contains,
                "startswith" => Search::StartsWith,
                "endswith" => Search::EndsWith,
                "has" => Search::Has,
                _ => return None,
            };
            Operator::Text(search, text.starts_with('!'))
        }
    })
}

fn negative(number: &Number) -> Option<Value> {
    match number.as_i64() {
        Some(whole) => whole.checked_neg().map(Value::from),
        None => Number::from_f64(-number.as_f64()?).map(Value::Number),
    }
}
