//! Reads a query: tokens, then the grammar by recursive descent, whose depth is limited.
//!
//! `NOT` is carried down while reading, so that the result has none.

use super::{Comparison, Condition, Order, Query, QueryError};
use crate::model::is_attribute_name;
use crate::template::Variable;

/// Reads the text of a query.
pub(super) fn parse(text: &str) -> Result<Condition, QueryError> {
    if text.len() > Query::BYTES_MAX {
        let detail = format!("a query has at most {} bytes", Query::BYTES_MAX);
        return Err(QueryError { offset: Query::BYTES_MAX, detail });
    }
    let mut parser = Parser { text, next: 0, token: Token::End, offset: 0, operators: 0 };
    parser.advance()?;
    let condition = parser.alternatives(false, 0)?;
    match parser.token {
        Token::End => Ok(condition),
        _ => Err(parser.expected("AND, OR or the end of the query")),
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token<'a> {
    Word(&'a str),
    Text(Box<str>),
    Number(i64),
    /// `=`, `!=`, `<`, `(` and the like.
    Symbol(&'a str),
    End,
}

struct Parser<'a> {
    text: &'a str,
    /// Where the token behind the present one begins, or space before it.
    next: usize,
    token: Token<'a>,
    /// Where the present token begins.
    offset: usize,
    operators: usize,
}

/// The values of a comparison, which are all of one type.
enum Values {
    Texts(Vec<Box<str>>),
    Numbers(Vec<i64>),
}

impl<'a> Parser<'a> {
    /// Reads conditions with `OR` between them.
    fn alternatives(&mut self, is_negated: bool, depth: usize) -> Result<Condition, QueryError> {
        let mut conditions = vec![self.conjunction(is_negated, depth)?];
        while self.takes_word("OR")? {
            conditions.push(self.conjunction(is_negated, depth)?);
        }
        Ok(Self::join(conditions, is_negated))
    }

    /// Reads conditions with `AND` between them.
    fn conjunction(&mut self, is_negated: bool, depth: usize) -> Result<Condition, QueryError> {
        let mut conditions = vec![self.single(is_negated, depth)?];
        while self.takes_word("AND")? {
            conditions.push(self.single(is_negated, depth)?);
        }
        Ok(Self::join(conditions, !is_negated))
    }

    /// A negated AND is an OR of what it negates, and the other way round.
    fn join(mut conditions: Vec<Condition>, all: bool) -> Condition {
        match conditions.len() {
            1 => conditions.remove(0),
            _ if all => Condition::All(conditions.into()),
            _ => Condition::Any(conditions.into()),
        }
    }

    /// Reads a comparison, or what stands behind `NOT` or in parentheses.
    fn single(&mut self, is_negated: bool, depth: usize) -> Result<Condition, QueryError> {
        let begins = self.offset;
        let too_deep = || {
            let detail =
                format!("parentheses and NOT are nested at most {} deep", Query::DEPTH_MAX);
            Err(QueryError { offset: begins, detail })
        };
        if self.takes_word("NOT")? {
            if depth == Query::DEPTH_MAX {
                return too_deep();
            }
            return self.single(!is_negated, depth + 1);
        }
        if self.takes_symbol("(")? {
            if depth == Query::DEPTH_MAX {
                return too_deep();
            }
            let condition = self.alternatives(is_negated, depth + 1)?;
            return match self.takes_symbol(")")? {
                true => Ok(condition),
                false => Err(self.expected("AND, OR or `)`")),
            };
        }
        self.count_operator(begins)?;
        match self.token.clone() {
            Token::Word(word) if !is_keyword(word) => {
                let variable = variable(word, begins)?;
                self.advance()?;
                self.comparison(variable, is_negated)
            }
            Token::Text(text) => self.containment(Values::Texts(vec![text]), is_negated),
            Token::Number(number) => self.containment(Values::Numbers(vec![number]), is_negated),
            _ => Err(self.expected("attributes.NAME, authenticationName or client.id")),
        }
    }

    /// Reads what stands behind the left side of a comparison.
    fn comparison(&mut self, variable: Variable, negated: bool) -> Result<Condition, QueryError> {
        if self.is_word("NOT") || self.is_word("IN") {
            let is_negated = self.takes_word("NOT")? != negated;
            if !self.takes_word("IN")? {
                return Err(self.expected("IN"));
            }
            let values = self.list(&variable)?;
            return Ok(Condition::Comparison(variable, one_of(values, is_negated)));
        }
        let Token::Symbol(symbol) = self.token else {
            return Err(self.expected("=, !=, <, <=, >, >= or IN"));
        };
        let order = match (symbol, negated) {
            ("=" | "!=" | "<>", _) => {
                self.advance()?;
                let values = self.value(&variable)?;
                let is_negated = (symbol != "=") != negated;
                return Ok(Condition::Comparison(variable, one_of(values, is_negated)));
            }
            ("<", false) | (">=", true) => Order::Less,
            ("<=", false) | (">", true) => Order::LessOrEqual,
            (">", false) | ("<=", true) => Order::Greater,
            (">=", false) | ("<", true) => Order::GreaterOrEqual,
            _ => return Err(self.expected("=, !=, <, <=, >, >= or IN")),
        };
        if !matches!(variable, Variable::Attribute(_)) {
            return Err(self.error("a name compares by =, !=, <> and IN only"));
        }
        self.advance()?;
        let Token::Number(bound) = self.token else {
            return Err(self.expected("a whole number: only numbers have an order"));
        };
        self.advance()?;
        Ok(Condition::Comparison(variable, Comparison::Order(order, bound)))
    }

    /// Reads `'value' IN variable`.
    fn containment(&mut self, values: Values, is_negated: bool) -> Result<Condition, QueryError> {
        let begins = self.offset;
        self.advance()?;
        if !self.takes_word("IN")? {
            return Err(self.expected("IN behind a value: attributes.NAME = 'value' is written so"));
        }
        let Token::Word(word) = self.token else {
            return Err(self.expected("attributes.NAME"));
        };
        let variable = variable(word, self.offset)?;
        self.advance()?;
        check_type(&variable, &values, begins)?;
        Ok(Condition::Comparison(variable, one_of(values, is_negated)))
    }

    /// Reads `['a', 'b']` or `('a', 'b')`.
    fn list(&mut self, variable: &Variable) -> Result<Values, QueryError> {
        let close = if self.takes_symbol("[")? {
            "]"
        } else if self.takes_symbol("(")? {
            ")"
        } else {
            return Err(self.expected("a list such as ['a', 'b']"));
        };
        let mut values = self.value(variable)?;
        while self.takes_symbol(",")? {
            let begins = self.offset;
            match (&mut values, self.value(variable)?) {
                (Values::Texts(texts), Values::Texts(more)) => texts.extend(more),
                (Values::Numbers(numbers), Values::Numbers(more)) => numbers.extend(more),
                _ => {
                    let detail = "a list has texts or numbers, not both".into();
                    return Err(QueryError { offset: begins, detail });
                }
            }
        }
        match self.takes_symbol(close)? {
            true => Ok(values),
            false => Err(self.expected(if close == "]" { "`,` or `]`" } else { "`,` or `)`" })),
        }
    }

    /// Reads one value.
    fn value(&mut self, variable: &Variable) -> Result<Values, QueryError> {
        let values = match &self.token {
            Token::Text(text) => Values::Texts(vec![text.clone()]),
            Token::Number(number) => Values::Numbers(vec![*number]),
            _ => return Err(self.expected("a text in quotes or a whole number")),
        };
        check_type(variable, &values, self.offset)?;
        self.advance()?;
        Ok(values)
    }

    fn is_word(&self, keyword: &str) -> bool {
        matches!(self.token, Token::Word(word) if word.eq_ignore_ascii_case(keyword))
    }

    fn takes_word(&mut self, keyword: &str) -> Result<bool, QueryError> {
        let is_there = self.is_word(keyword);
        if is_there {
            // IN is part of a comparison, which is counted as one.
            if keyword != "IN" {
                self.count_operator(self.offset)?;
            }
            self.advance()?;
        }
        Ok(is_there)
    }

    fn takes_symbol(&mut self, wanted: &str) -> Result<bool, QueryError> {
        let is_there = matches!(self.token, Token::Symbol(symbol) if symbol == wanted);
        if is_there {
            self.advance()?;
        }
        Ok(is_there)
    }

    fn count_operator(&mut self, offset: usize) -> Result<(), QueryError> {
        self.operators += 1;
        if self.operators > Query::OPERATORS_MAX {
            let max = Query::OPERATORS_MAX;
            let detail = format!("a query has at most {max} comparisons, AND, OR and NOT");
            return Err(QueryError { offset, detail });
        }
        Ok(())
    }

    fn error(&self, detail: &str) -> QueryError {
        QueryError { offset: self.offset, detail: detail.into() }
    }

    fn expected(&self, what: &str) -> QueryError {
        let found = match &self.token {
            Token::Word(word) => format!("`{word}`"),
            Token::Symbol(symbol) => format!("`{symbol}`"),
            Token::Text(_) => "a text".into(),
            Token::Number(number) => format!("`{number}`"),
            Token::End => "the end".into(),
        };
        self.error(&format!("expected {what}, found {found}"))
    }

    /// Goes on to the next token.
    fn advance(&mut self) -> Result<(), QueryError> {
        let rest = &self.text[self.next..];
        let rest = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        self.offset = self.text.len() - rest.len();
        let length;
        (self.token, length) = self.read_token(rest)?;
        self.next = self.offset + length;
        Ok(())
    }

    /// Reads the token with which `rest` begins, and tells its length.
    fn read_token(&self, rest: &'a str) -> Result<(Token<'a>, usize), QueryError> {
        let Some(first) = rest.chars().next() else {
            return Ok((Token::End, 0));
        };
        match first {
            '\'' | '"' => self.read_text(rest, first),
            '0'..='9' | '-' | '+' => {
                let is_part = |it: char| it.is_ascii_alphanumeric() || it == '.';
                let end = rest[1..].find(|it| !is_part(it)).map_or(rest.len(), |end| end + 1);
                match rest[..end].parse() {
                    Ok(number) => Ok((Token::Number(number), end)),
                    Err(_) => Err(self.error("a number is whole and has at most 64 bits")),
                }
            }
            _ if first.is_alphabetic() || first == '_' => {
                let is_part = |it: char| it.is_alphanumeric() || it == '_' || it == '.';
                let end = rest.find(|it| !is_part(it)).unwrap_or(rest.len());
                Ok((Token::Word(&rest[..end]), end))
            }
            _ => {
                let symbols = ["!=", "<>", "<=", ">=", "=", "<", ">", "(", ")", "[", "]", ","];
                match symbols.iter().find(|it| rest.starts_with(**it)) {
                    Some(symbol) => Ok((Token::Symbol(symbol), symbol.len())),
                    None => Err(self.error(&format!(
                        "{first:?} is nothing that a query has outside of quotes"
                    ))),
                }
            }
        }
    }

    /// Reads a text in quotes; a quote in it is written twice.
    fn read_text(&self, rest: &str, quote: char) -> Result<(Token<'a>, usize), QueryError> {
        let mut text = String::new();
        let mut from = 1;
        while let Some(length) = rest[from..].find(quote) {
            text.push_str(&rest[from..from + length]);
            from += length + 1;
            if !rest[from..].starts_with(quote) {
                return Ok((Token::Text(text.into()), from));
            }
            text.push(quote);
            from += 1;
        }
        Err(self.error(&format!("a text ends with {quote}; one inside of it is written twice")))
    }
}

fn is_keyword(word: &str) -> bool {
    ["AND", "OR", "NOT", "IN"].iter().any(|it| word.eq_ignore_ascii_case(it))
}

fn variable(word: &str, offset: usize) -> Result<Variable, QueryError> {
    match word {
        "client.id" => return Ok(Variable::ClientId),
        "authenticationName" | "client.authenticationName" | "client.username" => {
            return Ok(Variable::UserName);
        }
        _ => {}
    }
    let name = word.strip_prefix("client.").unwrap_or(word).strip_prefix("attributes.");
    match name {
        Some(name) if is_attribute_name(name) => Ok(Variable::Attribute(name.into())),
        _ => {
            let detail = format!(
                "`{word}` is nothing to compare; there are attributes.NAME (letters, digits, `_`), \
                 authenticationName and client.id; texts stand in quotes"
            );
            Err(QueryError { offset, detail })
        }
    }
}

/// Names are texts, and never equal to a number.
fn check_type(variable: &Variable, values: &Values, offset: usize) -> Result<(), QueryError> {
    match (variable, values) {
        (Variable::ClientId | Variable::UserName, Values::Numbers(_)) => {
            Err(QueryError { offset, detail: "a name compares with a text in quotes".into() })
        }
        _ => Ok(()),
    }
}

fn one_of(values: Values, is_negated: bool) -> Comparison {
    match values {
        Values::Texts(mut values) => {
            values.sort_unstable();
            values.dedup();
            Comparison::Texts { values: values.into(), is_negated }
        }
        Values::Numbers(mut values) => {
            values.sort_unstable();
            values.dedup();
            Comparison::Numbers { values: values.into(), is_negated }
        }
    }
}
