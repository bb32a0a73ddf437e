//! MATCH_RECOGNIZE: definitions and measures as what the operator reads of a match, and expressions over that.

use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_expr::Expr;
use datafusion_expr::expr::{AggregateFunction, ScalarFunction};
use millstream_operators::recognize::{AfterMatch, Read, Variable};
use millstream_operators::window::TimeMode;
use millstream_operators::{AggregateCall, AggregateKind};

use super::build::build;
use super::columns::{as_path, bind, column, indexed, is_infallible, paths_in, substitute, type_of};
use super::rank::{Pool, whole};
use super::rel::{Attribute, Condition, Recognize, Rel, RelKind};
use super::show;
use crate::functions::FunctionContext;
use crate::plan::aggregates::kind_of;
use crate::plan::error::PlanError;
use crate::plan::recognize::{FIRST, LAST, ROWTIME, RecognizeNode};

/// Lowers a pattern.
pub(super) fn recognize(node: &RecognizeNode, functions: &FunctionContext) -> Result<Rel, PlanError> {
    let input = build(&node.input, functions)?;
    let refuse = |message: String, remedy: &str| PlanError::at(message, node.place).remedy(remedy);
    if input.updates() {
        return Err(refuse(
            "a pattern is over rows that stay, and these are updated later".into(),
            "put the pattern over the table, and aggregate in the query around it",
        ));
    }
    let attribute = node.order.first().map_or(Attribute::Plain, |by| input.attribute(by.column));
    let mode = match attribute {
        Attribute::EventTime | Attribute::WindowTime => TimeMode::Event,
        Attribute::ProcessingTime if node.order.len() == 1 => TimeMode::Processing,
        Attribute::ProcessingTime => {
            return Err(refuse(
                "rows that go by the wall clock have no other order than that of arrival".into(),
                "write ORDER BY with that column alone",
            ));
        }
        _ => {
            return Err(refuse(
                "a pattern goes by a time attribute, and its ORDER BY does not begin with one".into(),
                "ORDER BY the column that WATERMARK FOR names, or one declared AS PROCTIME()",
            ));
        }
    };
    if node.order.first().is_some_and(|by| by.descending) {
        return Err(refuse("a pattern goes by time upwards".into(), "leave DESC out: ORDER BY ts"));
    }
    let fields = node.names.fields().iter().cloned().collect::<Vec<FieldRef>>();
    let mut reader = Reader {
        width: input.fields.len(),
        variables: node.pattern.variables().len(),
        numbers: indexed(&fields),
        pool: Pool::new(input),
        reads: Vec::new(),
        place: node.place,
    };
    let mut definitions = Vec::new();
    for (variable, definition) in node.definitions.iter().enumerate() {
        let Some(definition) = definition else {
            definitions.push(None);
            continue;
        };
        let condition = bind(definition.clone(), &node.names, &reader.numbers, functions)?;
        let condition = reader.resolve(condition, (true, 0))?;
        let reads = std::mem::take(&mut reader.reads);
        if reads.iter().any(|read| matches!(read, Read::Time(_))) {
            return Err(refuse("MATCH_ROWTIME is for MEASURES".into(), "compare the rows' own times"));
        }
        let is_own = |read: &Read| match read {
            Read::Row { variable: of, from_last: true, offset: 0, .. } => of.is_none_or(|of| of == variable),
            _ => false,
        };
        let is_plain = is_infallible(&condition) && reads.iter().all(is_own);
        definitions.push(Some(Condition { reads, condition, is_plain }));
    }
    let mut measures = Vec::new();
    for measure in &node.measures {
        let measure = bind(measure.clone(), &node.names, &reader.numbers, functions)?;
        measures.push(reader.resolve(measure, (true, 0))?);
    }
    let Reader { pool, reads, .. } = reader;
    let input = pool.into_rel();
    let keys = node.partition.len();
    let mut fields: Vec<FieldRef> =
        node.partition.iter().map(|key| Arc::clone(&input.fields[*key])).collect();
    let below: SchemaRef = Arc::new(Schema::new(input.fields.clone()));
    for read in &reads {
        let name = read_shown(read, node.pattern.variables(), &input.fields);
        fields.push(Arc::new(read.field(&below)?.as_ref().clone().with_name(name)));
    }
    let recognize = Recognize {
        input,
        partition: node.partition.clone(),
        order: node.order.clone(),
        mode,
        pattern: node.pattern.clone(),
        definitions,
        measures: reads,
        place: node.place,
    };
    let rel = Rel { kind: RelKind::Recognize(Box::new(recognize)), fields };
    let columns = (0..keys)
        .map(column)
        .chain(measures.iter().map(|measure| substitute(measure, &|index| column(keys + index))))
        .collect();
    let fields = datafusion_expr::UserDefinedLogicalNodeCore::schema(node).fields().iter().cloned().collect();
    Ok(Rel::calc(rel, None, columns, fields))
}

/// Turns expressions over the columns of variables into ones over what is read.
struct Reader {
    /// Columns a variable.
    width: usize,
    variables: usize,
    numbers: datafusion_common::DFSchema,
    pool: Pool,
    reads: Vec<Read>,
    place: sqlparser::tokenizer::Span,
}

impl Reader {
    /// `expr` with what it reads as numbered columns; rows are counted from the last or the first, so many on.
    fn resolve(&mut self, expr: Expr, (from_last, offset): (bool, usize)) -> Result<Expr, PlanError> {
        match &expr {
            Expr::ScalarFunction(ScalarFunction { func, args }) if [FIRST, LAST].contains(&func.name()) => {
                let rows = args.get(1).map_or(Some(0), whole).and_then(|rows| usize::try_from(rows).ok());
                let rows = rows.ok_or_else(|| {
                    self.refuse("FIRST and LAST take a whole number of rows".into(), "write LAST(A.x, 1)")
                })?;
                let value = args
                    .first()
                    .cloned()
                    .ok_or_else(|| self.refuse("FIRST and LAST take a value".into(), "write LAST(A.x, 1)"))?;
                let is_from_last = func.name() == LAST;
                self.one_variable(std::slice::from_ref(&value), "FIRST or LAST")?;
                return self.resolve(value, (is_from_last, rows));
            }
            Expr::ScalarFunction(call) if call.func.name() == ROWTIME => {
                return Ok(self.read(Read::Time(type_of(&expr, &self.numbers)?)));
            }
            Expr::AggregateFunction(function) => return self.aggregate(function),
            _ => {}
        }
        if let Some((index, _)) = as_path(&expr) {
            let variable = self.variable(index);
            let width = self.width;
            let below = substitute(&expr, &|index| column(index % width));
            let column = self.pool.index_of(&below)?;
            return Ok(self.read(Read::Row { variable, from_last, offset, column }));
        }
        let resolved =
            expr.map_children(|child| Ok(Transformed::yes(self.resolve(child, (from_last, offset))?)))?;
        Ok(resolved.data)
    }

    /// The variable that column `index` is of; none for that of all.
    fn variable(&self, index: usize) -> Option<usize> {
        Some(index / self.width).filter(|variable| *variable < self.variables)
    }

    fn read(&mut self, read: Read) -> Expr {
        let same = |known: &Read| match (known, &read) {
            (
                Read::Row { variable: a, from_last: b, offset: c, column: d },
                Read::Row { variable, from_last, offset, column },
            ) => (a, b, c, d) == (variable, from_last, offset, column),
            (Read::Aggregate { variable: a, call: b }, Read::Aggregate { variable, call }) => {
                (a, &b.kind, b.argument) == (variable, &call.kind, call.argument)
            }
            (Read::Time(a), Read::Time(b)) => a == b,
            _ => false,
        };
        let at = self.reads.iter().position(same).unwrap_or_else(|| {
            self.reads.push(read.clone());
            self.reads.len() - 1
        });
        column(at)
    }

    fn aggregate(&mut self, function: &AggregateFunction) -> Result<Expr, PlanError> {
        let kind = kind_of(&function.func).ok_or_else(|| {
            self.refuse(
                format!("the aggregate '{}' is not supported", function.func.name()),
                "use SUM, COUNT, …",
            )
        })?;
        let params = &function.params;
        if params.distinct || params.filter.is_some() || !params.order_by.is_empty() {
            return Err(self.refuse(
                format!("{} of a pattern's rows takes no DISTINCT, FILTER or ORDER BY", kind.name()),
                "put the condition into the definition of a variable of its own",
            ));
        }
        let variable = self.one_variable(&params.args, kind.name())?.flatten();
        let argument = match params.args.as_slice() {
            [Expr::Literal(value, _)] if !value.is_null() && kind == AggregateKind::Count => None,
            [argument] => {
                let width = self.width;
                Some(self.pool.index_of(&substitute(argument, &|index| column(index % width)))?)
            }
            _ => return Err(self.refuse(format!("{} takes one argument", kind.name()), "give it one")),
        };
        let name = kind.name().to_owned();
        let call = AggregateCall { kind, argument, filter: None, distinct: false, name };
        Ok(self.read(Read::Aggregate { variable, call }))
    }

    /// The variable whose columns `exprs` are over, if over any.
    fn one_variable(&self, exprs: &[Expr], what: &str) -> Result<Option<Option<usize>>, PlanError> {
        let mut paths = Vec::new();
        exprs.iter().for_each(|expr| paths_in(expr, &mut paths));
        let mut found: Vec<Option<usize>> = paths.iter().map(|(index, _)| self.variable(*index)).collect();
        found.dedup();
        match found.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(*one)),
            _ => Err(self.refuse(
                format!("{what} is over the rows of one variable, and here are columns of two"),
                "compute with the results: SUM(A.x) * SUM(B.y)",
            )),
        }
    }

    fn refuse(&self, message: String, remedy: &str) -> PlanError {
        PlanError::at(message, self.place).remedy(remedy)
    }
}

/// What EXPLAIN shows of a pattern, and what its state belongs to: everything that decides what is kept.
pub(super) fn shown(recognize: &Recognize) -> String {
    let Recognize { input, pattern, .. } = recognize;
    let variables = pattern.variables();
    let mut text = format!("({})", variables.iter().map(variable_shown).collect::<Vec<_>>().join(" "));
    if let Some(ms) = pattern.within_ms() {
        text.push_str(&format!(" within {ms} ms"));
    }
    text.push_str(match pattern.after() {
        AfterMatch::PastLastRow => ", then past the last row",
        AfterMatch::ToNextRow => ", then at the next row",
        AfterMatch::ToFirst(_) => ", then at the first ",
        AfterMatch::ToLast(_) => ", then at the last ",
    });
    if let AfterMatch::ToFirst(variable) | AfterMatch::ToLast(variable) = pattern.after() {
        text.push_str(&variables[variable].name);
    }
    let names = |columns: &[usize]| {
        columns.iter().map(|column| input.fields[*column].name().as_str()).collect::<Vec<_>>().join(", ")
    };
    if !recognize.partition.is_empty() {
        text.push_str(&format!(" by {}", names(&recognize.partition)));
    }
    let order: Vec<String> = recognize
        .order
        .iter()
        .map(|key| format!("{}{}", names(&[key.column]), if key.descending { " DESC" } else { "" }))
        .collect();
    text.push_str(&format!(" in order of {}", order.join(", ")));
    for (variable, definition) in variables.iter().zip(&recognize.definitions) {
        let Some(definition) = definition else { continue };
        let read = |read: &Read| {
            Arc::new(Field::new(read_shown(read, variables, &input.fields), DataType::Null, true)) as FieldRef
        };
        let reads: Vec<FieldRef> = definition.reads.iter().map(read).collect();
        text.push_str(&format!("; {} AS {}", variable.name, show::expression(&definition.condition, &reads)));
    }
    text
}

fn variable_shown(variable: &Variable) -> String {
    let Variable { name, quantifier } = variable;
    let times = match (quantifier.least, quantifier.most) {
        (1, Some(1)) => return name.clone(),
        (0, Some(1)) => return format!("{name}?"),
        (0, None) => "*".to_owned(),
        (1, None) => "+".to_owned(),
        (least, None) => format!("{{{least},}}"),
        (least, Some(most)) if least == most => return format!("{name}{{{least}}}"),
        (least, Some(most)) => format!("{{{least},{most}}}"),
    };
    format!("{name}{times}{}", if quantifier.greedy { "" } else { "?" })
}

fn read_shown(read: &Read, variables: &[Variable], input: &[FieldRef]) -> String {
    let of = |variable: &Option<usize>, column: usize| {
        let variable = variable.map_or(String::new(), |variable| format!("{}.", variables[variable].name));
        format!("{variable}{}", input[column].name())
    };
    match read {
        Read::Row { variable, from_last: true, offset: 0, column } => of(variable, *column),
        Read::Row { variable, from_last, offset, column } => {
            format!("{}({}, {offset})", if *from_last { "LAST" } else { "FIRST" }, of(variable, *column))
        }
        Read::Aggregate { variable, call } => {
            let of = call.argument.map_or_else(|| "*".to_owned(), |column| of(variable, column));
            format!("{}({of})", call.kind.name())
        }
        Read::Time(_) => "MATCH_ROWTIME()".to_owned(),
    }
}
