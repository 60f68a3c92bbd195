//! Turns a parsed query into a plan: resolves names and tables, and checks types.

use serde_json::Value;

use super::{
    ast::{Expression, Kind, Name, Named, Operator, Query, Step},
    expression::{Bound, Relation, Type},
    functions,
    plan::{self, Output, Plan},
    problem::{At, Problem},
    tables::{Column, Table},
};

type Checked<T> = Result<T, Problem>;

/// Checks a query against the tables and their columns.
pub(crate) fn bind(query: &Query) -> Checked<Plan> {
    let table = Table::named(&query.table.text).ok_or_else(|| {
        let text = format!(
            "Table {} is invalid, unsupported or disallowed.",
            query.table.text
        );
        Problem::meaning(query.table.at, &query.table.text, text)
    })?;
    let mut plan = Plan {
        table,
        types: expected_types(&query.steps),
        columns: table.columns(),
        steps: Vec::new(),
        ordered: false,
    };
    for step in &query.steps {
        let bound = plan.bind(step)?;
        plan.steps.push(bound);
    }
    Ok(plan)
}

impl Plan {
    fn bind(&mut self, step: &Step) -> Checked<plan::Step> {
        Ok(match step {
            Step::Where(condition) => plan::Step::Where(self.condition(condition)?),
            Step::Extend(items) => self.extend(items)?,
            Step::Project(items) => self.project(items)?,
            Step::ProjectAway(names) => {
                for name in names {
                    self.column(name.at, &name.text)?;
                }
                let kept = (0..self.columns.len()).filter(|place| {
                    let name = self.columns.get(*place).map(|column| column.name.as_str());
                    !names.iter().any(|away| Some(away.text.as_str()) == name)
                });
                let outputs: Vec<Output> = kept.map(Output::Move).collect();
                let gone = |column: &Column| names.iter().any(|name| name.text == column.name);
                self.columns.retain(|column| !gone(column));
                plan::Step::Project(outputs)
            }
            Step::Order(keys) => {
                self.ordered = true;
                let keys = keys.iter().map(|(key, ascending)| {
                    let (bound, kind) = self.expression(key)?;
                    not_dynamic(kind, key.at, "order by")?;
                    Ok((bound, *ascending))
                });
                plan::Step::Order(keys.collect::<Checked<_>>()?)
            }
            Step::Join { at, outer, right, on } => self.join(*at, *outer, right, on)?,
            Step::Limit(rows) => plan::Step::Limit(*rows),
            Step::Count => self.group(&[], Some("Count"), "count")?,
            Step::Summarize { counted, by } => self.group(by, counted.as_deref(), "summarize")?,
            Step::Distinct(by) => self.group(by, None, "distinct")?,
        })
    }

    fn column(&self, at: At, name: &str) -> Checked<(usize, Type)> {
        let mut columns = self.columns.iter().enumerate();
        columns
            .find(|(_, column)| column.name == name)
            .map(|(place, column)| (place, column.kind))
            .ok_or_else(|| {
                let text = format!("Failed to resolve column or scalar expression named '{name}'.");
                Problem::meaning(at, name, text)
            })
    }

    fn extend(&mut self, items: &[Named]) -> Checked<plan::Step> {
        let mut bound = Vec::new();
        let mut columns = self.columns.clone();
        for (column, expression) in self.named(items)? {
            let place = columns.iter().position(|known| known.name == column.name);
            let place = place.unwrap_or(columns.len());
            match columns.get_mut(place) {
                Some(known) => *known = column,
                None => columns.push(column),
            }
            bound.push((place, expression));
        }
        self.columns = columns;
        Ok(plan::Step::Extend(bound))
    }

    fn project(&mut self, items: &[Named]) -> Checked<plan::Step> {
        let (columns, bound): (Vec<Column>, Vec<Bound>) = self.named(items)?.into_iter().unzip();
        self.columns = columns;
        let places: Vec<Option<usize>> = bound
            .iter()
            .map(|bound| match bound {
                Bound::Column(place) => Some(*place),
                _ => None,
            })
            .collect();
        let outputs = bound.into_iter().enumerate().map(|(index, bound)| match bound {
            // The last use of a column may move its value.
            Bound::Column(place) if !places.iter().skip(index + 1).any(|other| *other == Some(place)) => {
                Output::Move(place)
            }
            bound => Output::Compute(bound),
        });
        Ok(plan::Step::Project(outputs.collect()))
    }

    /// Binds a list of expressions and names their columns.
    fn named(&self, items: &[Named]) -> Checked<Vec<(Column, Bound)>> {
        let mut all: Vec<(Column, Bound)> = Vec::new();
        let mut unnamed = 0;
        for item in items {
            let (bound, kind) = self.expression(&item.expression)?;
            let own = item.name.as_ref().map(|name| name.text.clone());
            let name = own.or_else(|| name_of(&item.expression)).unwrap_or_else(|| {
                unnamed += 1;
                format!("Column{unnamed}")
            });
            if all.iter().any(|(column, _)| column.name == name) {
                let text = format!("A column named '{name}' already exists.");
                return Err(Problem::meaning(item.expression.at, &name, text));
            }
            all.push((Column { name, kind }, bound));
        }
        Ok(all)
    }

    fn group(&mut self, by: &[Named], counted: Option<&str>, operator: &str) -> Checked<plan::Step> {
        let (mut columns, keys): (Vec<Column>, Vec<Bound>) = self.named(by)?.into_iter().unzip();
        for (column, item) in columns.iter().zip(by) {
            not_dynamic(column.kind, item.expression.at, operator)?;
        }
        if let Some(name) = counted {
            columns.push(Column {
                name: name.into(),
                kind: Type::Whole,
            });
        }
        self.columns = columns;
        self.ordered = false;
        Ok(plan::Step::Group {
            keys,
            counted: counted.is_some(),
        })
    }

    fn join(&mut self, at: At, outer: bool, right: &Query, on: &[Name]) -> Checked<plan::Step> {
        let right = bind(right)?;
        let (mut left_keys, mut right_keys) = (Vec::new(), Vec::new());
        for name in on {
            let (left_key, left_kind) = self.column(name.at, &name.text)?;
            let (right_key, right_kind) = right.column(name.at, &name.text)?;
            not_dynamic(left_kind, name.at, "join")?;
            if left_kind != right_kind {
                let text = "join: the key has different types on both sides.";
                return Err(Problem::meaning(at, &name.text, text));
            }
            left_keys.push(left_key);
            right_keys.push(right_key);
        }
        let mut blanks = Vec::new();
        for column in &right.columns {
            // A missing string is empty; everything else is null.
            blanks.push(column.kind.blank());
            let mut name = column.name.clone();
            let mut number = 0;
            while self.columns.iter().any(|known| known.name == name) {
                number += 1;
                name = format!("{}{number}", column.name);
            }
            self.columns.push(Column {
                name,
                kind: column.kind,
            });
        }
        self.ordered = false;
        Ok(plan::Step::Join(Box::new(plan::Join {
            outer,
            right,
            left_keys,
            right_keys,
            blanks,
        })))
    }

    fn condition(&self, expression: &Expression) -> Checked<Bound> {
        match self.expression(expression)? {
            (bound, Type::Truth) => Ok(bound),
            _ => Err(wrong(
                expression.at,
                "A condition must be true or false; cast it with tobool().",
            )),
        }
    }

    fn expression(&self, expression: &Expression) -> Checked<(Bound, Type)> {
        let at = expression.at;
        match &expression.kind {
            Kind::Literal(value) => Ok((Bound::Literal(value.clone()), type_of(value))),
            Kind::Column(name) => self
                .column(at, name)
                .map(|(place, kind)| (Bound::Column(place), kind)),
            Kind::Member(of, name) => {
                let of = self.dynamic(of, name)?;
                Ok((Bound::Member(Box::new(of), name.clone()), Type::Dynamic))
            }
            Kind::Index(of, index) => {
                let of = self.dynamic(of, &index.to_string())?;
                Ok((Bound::Index(Box::new(of), *index), Type::Dynamic))
            }
            Kind::Call(name, arguments) => {
                let arguments = arguments.iter().map(|argument| self.expression(argument));
                functions::bind(at, name, arguments.collect::<Checked<_>>()?)
            }
            Kind::In {
                needle,
                list,
                fold,
                negated,
            } => self.is_in(needle, list, *fold, *negated),
            Kind::Binary(operator, left, right) => self.binary(at, *operator, left, right),
        }
    }

    fn dynamic(&self, of: &Expression, member: &str) -> Checked<Bound> {
        match self.expression(of)? {
            (bound, Type::Dynamic) => Ok(bound),
            _ => Err(Problem::meaning(
                of.at,
                member,
                "Only a dynamic value has members.",
            )),
        }
    }

    fn is_in(
        &self,
        needle: &Expression,
        list: &[Expression],
        fold: bool,
        negated: bool,
    ) -> Checked<(Bound, Type)> {
        let (bound, kind) = self.expression(needle)?;
        let mut values = Vec::new();
        for item in list {
            let Kind::Literal(value) = &item.kind else {
                return Err(wrong(item.at, "Only literals can be listed here."));
            };
            let item_kind = type_of(value);
            let text = item_kind == Type::Text && kind.reads_as_text();
            if !text && (fold || !comparable(kind, item_kind)) {
                return Err(wrong(item.at, "The listed value has another type."));
            }
            values.push(value.clone());
        }
        let bound = Bound::In {
            needle: Box::new(bound),
            list: values,
            fold,
            negated,
        };
        Ok((bound, Type::Truth))
    }

    fn binary(
        &self,
        at: At,
        operator: Operator,
        left: &Expression,
        right: &Expression,
    ) -> Checked<(Bound, Type)> {
        if let Operator::And | Operator::Or = operator {
            let (left, right) = (Box::new(self.condition(left)?), Box::new(self.condition(right)?));
            let bound = match operator {
                Operator::And => Bound::And(left, right),
                _ => Bound::Or(left, right),
            };
            return Ok((bound, Type::Truth));
        }
        let ((left, left_kind), (right, right_kind)) = (self.expression(left)?, self.expression(right)?);
        let related = |relation, left, right| {
            let one = left_kind.is_number() || right_kind.is_number();
            let both = |kind: Type| kind.is_number() || kind == Type::Dynamic;
            if one && both(left_kind) && both(right_kind) {
                Ok((
                    Bound::Relation(relation, Box::new(left), Box::new(right)),
                    Type::Truth,
                ))
            } else {
                Err(wrong(at, "Only numbers have an order here; cast with toint()."))
            }
        };
        match operator {
            Operator::Less => related(Relation::Less, left, right),
            Operator::LessEqual => related(Relation::LessEqual, left, right),
            Operator::Greater => related(Relation::Greater, left, right),
            Operator::GreaterEqual => related(Relation::GreaterEqual, left, right),
            Operator::Equal(negated) if comparable(left_kind, right_kind) => Ok((
                Bound::Equal {
                    fold: false,
                    negated,
                    sides: Box::new([left, right]),
                },
                Type::Truth,
            )),
            Operator::Equal(_) => Err(wrong(
                at,
                "Cannot compare values of these types. Try adding explicit casts.",
            )),
            Operator::EqualFold(negated) if left_kind.reads_as_text() && right_kind.reads_as_text() => Ok((
                Bound::Equal {
                    fold: true,
                    negated,
                    sides: Box::new([left, right]),
                },
                Type::Truth,
            )),
            Operator::Text(search, negated) if left_kind.reads_as_text() && right_kind.reads_as_text() => {
                Ok((
                    Bound::Search {
                        search,
                        negated,
                        sides: Box::new([left, right]),
                    },
                    Type::Truth,
                ))
            }
            Operator::Plus | Operator::Minus if left_kind.is_number() && right_kind.is_number() => {
                let kind = if left_kind == right_kind {
                    left_kind
                } else {
                    Type::Real
                };
                let minus = operator == Operator::Minus;
                Ok((Bound::Sum(minus, Box::new(left), Box::new(right)), kind))
            }
            _ => Err(wrong(
                at,
                "The operator does not take values of these types; cast them.",
            )),
        }
    }
}

fn wrong(at: At, text: &str) -> Problem {
    Problem::meaning(at, "", text)
}

fn not_dynamic(kind: Type, at: At, operator: &str) -> Checked<()> {
    if kind == Type::Dynamic {
        let text = format!("{operator}: a key is of a 'dynamic' type. Please use an explicit cast.");
        return Err(Problem::meaning(at, operator, text));
    }
    Ok(())
}

fn comparable(left: Type, right: Type) -> bool {
    match (left, right) {
        (Type::Dynamic, Type::Dynamic) => false,
        (Type::Dynamic, _) | (_, Type::Dynamic) => true,
        _ => left == right || (left.is_number() && right.is_number()),
    }
}

fn type_of(value: &Value) -> Type {
    match value {
        Value::String(_) => Type::Text,
        Value::Bool(_) => Type::Truth,
        Value::Number(number) if number.is_f64() => Type::Real,
        Value::Number(_) => Type::Whole,
        _ => Type::Dynamic,
    }
}

/// The implicit column name of an expression: `properties.a` is `properties_a`, also within a cast.
fn name_of(expression: &Expression) -> Option<String> {
    match &expression.kind {
        Kind::Column(name) => Some(name.clone()),
        Kind::Member(of, name) => name_of(of).map(|of| format!("{of}_{name}")),
        Kind::Index(of, index) => name_of(of).map(|of| format!("{of}_{index}")),
        Kind::Call(name, arguments)
            if matches!(name.as_str(), "tostring" | "toint" | "tolong" | "tobool") =>
        {
            arguments.first().and_then(name_of)
        }
        _ => None,
    }
}

/// The types that the first conditions let through: only rows of these types are built.
fn expected_types(steps: &[Step]) -> Option<Vec<String>> {
    let conditions = steps.iter().map_while(|step| match step {
        Step::Where(condition) => Some(condition),
        _ => None,
    });
    conditions.map(types_through).fold(None, both)
}

/// The types of the rows that can pass a condition; `None` means any.
fn types_through(condition: &Expression) -> Option<Vec<String>> {
    let is_type = |expression: &Expression| matches!(&expression.kind, Kind::Column(name) if name == "type");
    let literal = |expression: &Expression| match &expression.kind {
        Kind::Literal(Value::String(text)) => Some(text.to_lowercase()),
        _ => None,
    };
    match &condition.kind {
        Kind::Binary(Operator::And, left, right) => both(types_through(left), types_through(right)),
        Kind::Binary(Operator::Or, left, right) => {
            let mut types = types_through(left)?;
            types.extend(types_through(right)?);
            Some(types)
        }
        Kind::Binary(Operator::Equal(false) | Operator::EqualFold(false), left, right) if is_type(left) => {
            literal(right).map(|text| vec![text])
        }
        Kind::In {
            needle,
            list,
            negated: false,
            ..
        } if is_type(needle) => list.iter().map(literal).collect(),
        _ => None,
    }
}

fn both(left: Option<Vec<String>>, right: Option<Vec<String>>) -> Option<Vec<String>> {
    match (left, right) {
        (Some(mut left), Some(right)) => {
            left.retain(|known| right.contains(known));
            Some(left)
        }
        (left, right) => left.or(right),
    }
}
