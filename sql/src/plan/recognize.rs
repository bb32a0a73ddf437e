//! `MATCH_RECOGNIZE (…)` as a node of the logical plan: the pattern, and definitions and measures as typed expressions.
//!
//! Those are over the input's columns once for each pattern variable, qualified by its name, and once more for the rows of
//! all variables, which is what a column without a name in front of it stands for. FIRST and LAST are calls that lowering
//! (lower/recognize.rs) takes out again. Flink: SqlMatchRecognize, MatchCodeGenerator.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, TimeUnit};
use datafusion_common::{DFSchema, DFSchemaRef, Result, TableReference, not_impl_err};
use datafusion_expr::expr_schema::ExprSchemable;
use datafusion_expr::logical_plan::{Extension, UserDefinedLogicalNodeCore};
use datafusion_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion_expr::{
    ColumnarValue, Expr, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};
use datafusion_optimizer::analyzer::type_coercion::TypeCoercionRewriter;
use millstream_engine::suggest::did_you_mean;
use millstream_operators::SortKey;
use millstream_operators::recognize::{AfterMatch, Pattern, Quantifier, Variable};
use sqlparser::ast::{
    self, FunctionArg, FunctionArgExpr, MatchRecognizePattern, MatchRecognizeSymbol, RepetitionQuantifier,
    Spanned, TableFactor, VisitorMut,
};
use sqlparser::tokenizer::Span;

use super::error::PlanError;
use super::intervals::{Interval, interval};
use super::rewrite::walk;
use crate::functions::{type_expression, type_name};
use crate::parse::{QUERY, WITHIN};

/// The name that stands for the rows of all variables.
const ALL: &str = "*";

/// The first and the last row of a variable, and when a match was certain: functions that exist only here.
pub(crate) const FIRST: &str = "first";
pub(crate) const LAST: &str = "last";
pub(crate) const ROWTIME: &str = "match_rowtime";
const PROCTIME: &str = "match_proctime";

/// True for the names of functions that exist only here.
pub(super) fn is_function(name: &str) -> bool {
    [FIRST, LAST, ROWTIME, PROCTIME].iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// What to write instead of a function of the standard's that Flink does not have.
pub(super) fn instead_of(name: &str) -> Option<&'static str> {
    match name.to_ascii_uppercase().as_str() {
        "PREV" => Some("write LAST(A.x, 1), which is the row before among those of A"),
        "NEXT" => Some("a definition sees the rows up to its own; compare in that of the next variable"),
        "CLASSIFIER" | "MATCH_NUMBER" => Some("leave it out; COUNT(A.x) says how many rows A has"),
        _ => None,
    }
}

/// A pattern over a plan.
#[derive(Debug, Clone)]
pub(crate) struct RecognizeNode {
    pub input: LogicalPlan,
    /// Columns of the input.
    pub partition: Vec<usize>,
    /// Columns of the input, the time first.
    pub order: Vec<SortKey>,
    pub pattern: Pattern,
    /// What definitions and measures are over: the input's columns by variable, then for all.
    pub names: DFSchemaRef,
    /// By variable.
    pub definitions: Vec<Option<Expr>>,
    pub measures: Vec<Expr>,
    pub place: Span,
    schema: DFSchemaRef,
}

impl RecognizeNode {
    fn identity(&self) -> (&LogicalPlan, String) {
        let Self { partition, order, pattern, definitions, measures, schema, .. } = self;
        (&self.input, format!("{partition:?} {order:?} {pattern:?} {definitions:?} {measures:?} {schema:?}"))
    }
}

impl PartialEq for RecognizeNode {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for RecognizeNode {}

impl Hash for RecognizeNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

impl PartialOrd for RecognizeNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.identity().partial_cmp(&other.identity())
    }
}

impl UserDefinedLogicalNodeCore for RecognizeNode {
    fn name(&self) -> &str {
        "MatchRecognize"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    /// None: they are typed already, over columns that no input has.
    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MatchRecognize: {:?}", self.pattern)
    }

    fn with_exprs_and_inputs(&self, _exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        let input = inputs.pop().ok_or_else(|| PlanError::new("a pattern has an input"))?;
        Ok(Self { input, ..self.clone() })
    }
}

/// Plans MATCH_RECOGNIZE in FROM.
#[derive(Debug)]
pub(super) struct RecognizePlanner;

impl RelationPlanner for RecognizePlanner {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let place = relation.span();
        let TableFactor::MatchRecognize {
            table,
            partition_by,
            order_by,
            measures,
            after_match_skip,
            pattern,
            symbols,
            alias,
            rows_per_match: _,
        } = relation
        else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let input = context.plan(unwrapped(*table))?;
        // What definitions compute with has its type now, and not as a query's expressions do at its end.
        let input = super::typed(input, context.context_provider().options())?;
        let columns = Columns { input: &input };
        let partition =
            partition_by.iter().map(|column| columns.find(column)).collect::<Result<Vec<_>, _>>()?;
        let order = order_by.iter().map(|by| columns.sort_key(by)).collect::<Result<Vec<_>, _>>()?;
        let (within, symbols): (Vec<_>, Vec<_>) =
            symbols.into_iter().partition(|symbol| symbol.symbol.value == WITHIN);
        let variables = variables(&pattern, place)?;
        let position = |name: &ast::Ident| {
            variables.iter().position(|variable| variable.name == name.value).ok_or_else(|| {
                let names: Vec<&str> = variables.iter().map(|variable| variable.name.as_str()).collect();
                PlanError::at(format!("the pattern has no variable {}", name.value), name.span)
                    .remedy(format!("its variables are {}", names.join(", ")))
            })
        };
        let after = match &after_match_skip {
            // The standard's default is past the last row, and Calcite's, so Flink's, is this.
            None | Some(ast::AfterMatchSkip::ToNextRow) => AfterMatch::ToNextRow,
            Some(ast::AfterMatchSkip::PastLastRow) => AfterMatch::PastLastRow,
            Some(ast::AfterMatchSkip::ToFirst(variable)) => AfterMatch::ToFirst(position(variable)?),
            Some(ast::AfterMatchSkip::ToLast(variable)) => AfterMatch::ToLast(position(variable)?),
        };
        let within_ms = within.first().map(|symbol| within_ms(&symbol.definition)).transpose()?;
        let placed = |error: millstream_engine::Error| PlanError {
            span: Some(pattern_place(&pattern, place)),
            ..error.into()
        };
        let names = columns.by_variable(&variables)?;
        let mut definitions = vec![None; variables.len()];
        for symbol in symbols {
            let at = position(&symbol.symbol)?;
            if definitions[at].is_some() {
                let message = format!("{} is defined twice", symbol.symbol.value);
                return Err(PlanError::at(message, symbol.symbol.span)
                    .remedy("put both conditions together with AND")
                    .into());
            }
            let span = symbol.definition.span();
            let expr = columns.expression(symbol.definition, &variables, &names, context)?;
            let kind = expr.get_type(&names)?;
            if kind != DataType::Boolean {
                let message =
                    format!("{} is defined by a value of type {}", symbol.symbol.value, type_name(&kind));
                return Err(PlanError::at(message, span).remedy("write a condition: A AS A.x > 10").into());
            }
            definitions[at] = Some(expr);
        }
        let mut fields: Vec<(Option<TableReference>, FieldRef)> =
            partition.iter().map(|column| (None, Arc::clone(&input.schema().fields()[*column]))).collect();
        let mut exprs = Vec::new();
        for ast::Measure { expr, alias } in measures {
            if fields.iter().any(|(_, field)| *field.name() == alias.value) {
                let message = format!("two columns of the result are called '{}'", alias.value);
                return Err(PlanError::at(message, alias.span).remedy("give one another name").into());
            }
            let expr = columns.expression(expr, &variables, &names, context)?;
            fields.push((None, Arc::new(Field::new(alias.value, expr.get_type(&names)?, true))));
            exprs.push(expr);
        }
        if fields.is_empty() {
            return Err(PlanError::at("MATCH_RECOGNIZE gives no columns", place)
                .remedy("write MEASURES A.x AS x, or PARTITION BY a key")
                .into());
        }
        let node = RecognizeNode {
            partition,
            order,
            pattern: Pattern::new(variables, after, within_ms).map_err(placed)?,
            names: Arc::new(names),
            definitions,
            measures: exprs,
            place,
            schema: Arc::new(DFSchema::new_with_metadata(fields, Default::default())?),
            input,
        };
        let plan = LogicalPlan::Extension(Extension { node: Arc::new(node) });
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
    }
}

/// The query that parse/tokens.rs has wrapped.
fn unwrapped(table: TableFactor) -> TableFactor {
    match &table {
        TableFactor::Table { name, args: Some(arguments), alias, .. } if name.to_string() == QUERY => {
            match arguments.args.as_slice() {
                [FunctionArg::Unnamed(FunctionArgExpr::Expr(ast::Expr::Subquery(query)))] => {
                    TableFactor::Derived {
                        lateral: false,
                        subquery: query.clone(),
                        alias: alias.clone(),
                        sample: None,
                    }
                }
                _ => table,
            }
        }
        _ => table,
    }
}

/// The columns of the input.
struct Columns<'a> {
    input: &'a LogicalPlan,
}

impl Columns<'_> {
    fn named(&self, ident: &ast::Ident) -> Result<usize, PlanError> {
        let fields = self.input.schema().fields();
        fields.iter().position(|field| *field.name() == ident.value).ok_or_else(|| {
            let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
            let near = did_you_mean(&ident.value, names.iter().copied());
            let error = PlanError::at(format!("there is no column '{}'", ident.value), ident.span);
            error.remedy(match near {
                Some(near) => format!("did you mean '{near}'?"),
                None => format!("the columns are: {}", names.join(", ")),
            })
        })
    }

    fn find(&self, expr: &ast::Expr) -> Result<usize, PlanError> {
        match expr {
            ast::Expr::Identifier(ident) => self.named(ident),
            ast::Expr::CompoundIdentifier(parts) if parts.len() == 2 => self.named(&parts[1]),
            other => Err(PlanError::at("only columns can stand here", other.span())
                .remedy("compute it in a query below: FROM (SELECT …) MATCH_RECOGNIZE (…)")),
        }
    }

    fn sort_key(&self, by: &ast::OrderByExpr) -> Result<SortKey, PlanError> {
        let descending = by.options.asc == Some(false);
        // NULL is the lowest value, as everywhere in Flink.
        let nulls_first = by.options.nulls_first.unwrap_or(!descending);
        Ok(SortKey { column: self.find(&by.expr)?, descending, nulls_first })
    }

    /// The columns under the name of each variable, then under that of all.
    fn by_variable(&self, variables: &[Variable]) -> Result<DFSchema> {
        let names = variables.iter().map(|variable| variable.name.as_str()).chain([ALL]);
        let fields = names.flat_map(|name| {
            let own = self.input.schema().fields().iter();
            own.map(move |field| {
                let field = field.as_ref().clone().with_nullable(true);
                (Some(TableReference::bare(name)), Arc::new(field))
            })
        });
        DFSchema::new_with_metadata(fields.collect(), Default::default())
    }

    /// A definition or measure, typed.
    fn expression(
        &self,
        mut expr: ast::Expr,
        variables: &[Variable],
        names: &DFSchema,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<Expr> {
        let mut qualify = Qualify { columns: self, variables, error: None };
        walk(&mut expr, &mut qualify);
        if let Some(error) = qualify.error {
            return Err(error.into());
        }
        let expr = context.sql_to_expr(expr, names)?;
        let expr = type_expression(super::retype(expr)?.data, names)?;
        Ok(datafusion_common::tree_node::TreeNode::rewrite(expr, &mut TypeCoercionRewriter::new(names))?.data)
    }
}

/// Writes the variable in front of each column, that of all where there is none.
struct Qualify<'a> {
    columns: &'a Columns<'a>,
    variables: &'a [Variable],
    error: Option<PlanError>,
}

impl Qualify<'_> {
    fn qualified(&self, parts: &[ast::Ident]) -> Result<Vec<ast::Ident>, PlanError> {
        let (first, rest) = match parts {
            [first, rest @ ..] => (first, rest),
            [] => return Ok(Vec::new()),
        };
        let is_variable = self.variables.iter().any(|variable| variable.name == first.value);
        if let (true, Some(column)) = (is_variable, rest.first()) {
            self.columns.named(column)?;
            return Ok(parts.to_vec());
        }
        self.columns.named(first).map_err(|error| match rest {
            [] => error,
            _ => PlanError { remedy: None, ..error }.remedy(format!(
                "neither is there a variable {}; write A.x, or x alone for the rows of all variables",
                first.value
            )),
        })?;
        Ok([&[ast::Ident::with_span(first.span, ALL)], parts].concat())
    }
}

impl VisitorMut for Qualify<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut ast::Expr) -> ControlFlow<()> {
        let parts = match expr {
            ast::Expr::Identifier(ident) => std::slice::from_ref(ident),
            ast::Expr::CompoundIdentifier(parts) => parts.as_slice(),
            ast::Expr::Function(call) if call.name.to_string().eq_ignore_ascii_case(PROCTIME) => {
                call.name = ast::ObjectName::from(vec![ast::Ident::with_span(call.name.span(), "PROCTIME")]);
                return ControlFlow::Continue(());
            }
            _ => return ControlFlow::Continue(()),
        };
        match self.qualified(parts) {
            Ok(parts) => *expr = ast::Expr::CompoundIdentifier(parts),
            Err(error) => drop(self.error.get_or_insert(error)),
        }
        ControlFlow::Continue(())
    }
}

fn within_ms(expr: &ast::Expr) -> Result<i64, PlanError> {
    let wrong = || {
        PlanError::at("WITHIN takes an interval of milliseconds to days", expr.span())
            .remedy("write WITHIN INTERVAL '10' SECOND")
    };
    match expr {
        ast::Expr::Interval(literal) => match interval(literal)? {
            Interval::Ms(ms) if ms > 0 => Ok(ms),
            _ => Err(wrong()),
        },
        _ => Err(wrong()),
    }
}

fn pattern_place(pattern: &MatchRecognizePattern, otherwise: Span) -> Span {
    match pattern {
        MatchRecognizePattern::Symbol(MatchRecognizeSymbol::Named(name)) => name.span,
        MatchRecognizePattern::Repetition(inner, _) | MatchRecognizePattern::Group(inner) => {
            pattern_place(inner, otherwise)
        }
        MatchRecognizePattern::Concat(parts) => {
            parts.first().map_or(otherwise, |part| pattern_place(part, otherwise))
        }
        _ => otherwise,
    }
}

/// The variables of a pattern, in order.
fn variables(pattern: &MatchRecognizePattern, place: Span) -> Result<Vec<Variable>, PlanError> {
    let refuse =
        |what: &str, remedy: &str| Err(PlanError::at(what, pattern_place(pattern, place)).remedy(remedy));
    match pattern {
        MatchRecognizePattern::Symbol(MatchRecognizeSymbol::Named(name)) => {
            Ok(vec![Variable { name: name.value.clone(), quantifier: Quantifier::ONE }])
        }
        MatchRecognizePattern::Symbol(_) => {
            refuse("^ and $ make no sense in a stream, which has no end", "leave them out")
        }
        MatchRecognizePattern::Concat(parts) => {
            let parts = parts.iter().map(|part| variables(part, place)).collect::<Result<Vec<_>, _>>()?;
            Ok(parts.concat())
        }
        MatchRecognizePattern::Group(inner) => variables(inner, place),
        MatchRecognizePattern::Repetition(inner, quantifier) => {
            let (symbol, quantifier, greedy) = match (inner.as_ref(), quantifier) {
                // `A*?` is read as `A*` that may be left out.
                (MatchRecognizePattern::Repetition(symbol, inner), RepetitionQuantifier::AtMostOne) => {
                    (symbol.as_ref(), inner, false)
                }
                (symbol, quantifier) => (symbol, quantifier, true),
            };
            let MatchRecognizePattern::Symbol(MatchRecognizeSymbol::Named(name)) = symbol else {
                return refuse(
                    "a quantifier belongs to one variable",
                    "write out what repeats, or match it in a query of its own",
                );
            };
            let (least, most) = match *quantifier {
                RepetitionQuantifier::ZeroOrMore => (0, None),
                RepetitionQuantifier::OneOrMore => (1, None),
                RepetitionQuantifier::AtMostOne => (0, Some(1)),
                RepetitionQuantifier::Exactly(rows) => (rows, Some(rows)),
                RepetitionQuantifier::AtLeast(rows) => (rows, None),
                RepetitionQuantifier::AtMost(rows) => (0, Some(rows)),
                RepetitionQuantifier::Range(least, most) => (least, Some(most)),
            };
            let quantifier = Quantifier { least, most, greedy };
            Ok(vec![Variable { name: name.value.clone(), quantifier }])
        }
        MatchRecognizePattern::Alternation(_) => refuse(
            "| is not supported in a pattern",
            "put the alternatives into a definition: B AS B.x = 1 OR B.x = 2",
        ),
        MatchRecognizePattern::Permute(_) => {
            refuse("PERMUTE is not supported", "write one query for each order, put together with UNION ALL")
        }
        MatchRecognizePattern::Exclude(_) => refuse(
            "{- -} excludes rows from ALL ROWS PER MATCH, which is not supported",
            "leave it out of MEASURES",
        ),
    }
}

/// FIRST, LAST or MATCH_ROWTIME.
pub(super) fn function(name: &str) -> Option<ScalarUDF> {
    let name = [FIRST, LAST, ROWTIME].into_iter().find(|known| known.eq_ignore_ascii_case(name))?;
    let signature = match name {
        ROWTIME => Signature::one_of(
            vec![datafusion_expr::TypeSignature::Nullary, datafusion_expr::TypeSignature::Any(1)],
            Volatility::Volatile,
        ),
        _ => Signature::one_of(
            vec![datafusion_expr::TypeSignature::Any(1), datafusion_expr::TypeSignature::Any(2)],
            Volatility::Immutable,
        ),
    };
    Some(ScalarUDF::from(Planned { name, signature }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Planned {
    name: &'static str,
    signature: Signature,
}

impl ScalarUDFImpl for Planned {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        // Without a column it is a TIMESTAMP(3), as in Flink.
        let plain = DataType::Timestamp(TimeUnit::Millisecond, None);
        Ok(arguments.first().cloned().unwrap_or(plain))
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let kinds: Vec<DataType> =
            arguments.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        Ok(Arc::new(Field::new(self.name, self.return_type(&kinds)?, true)))
    }

    fn invoke_with_args(&self, _arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        not_impl_err!("{} is read by the pattern's operator", self.name)
    }
}
