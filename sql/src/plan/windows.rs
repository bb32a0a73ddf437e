//! Window table functions: `TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND))` and its kin.
//!
//! They become a [`WindowNode`] in the logical plan: the input's columns, then `window_start`, `window_end` and
//! `window_time`. Lowering merges it with the aggregation above it. Flink: SqlWindowTableFunction.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow_schema::{DataType, Field, TimeUnit};
use datafusion_common::{DFSchema, DFSchemaRef, Result};
use datafusion_expr::logical_plan::{Extension, UserDefinedLogicalNodeCore};
use datafusion_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion_expr::{Expr, LogicalPlan};
use millstream_engine::suggest::did_you_mean;
use millstream_operators::WindowAssigner;
use sqlparser::ast::{self, FunctionArg, FunctionArgExpr, FunctionArguments, Spanned, TableFactor};

use super::error::PlanError;
use super::intervals::{Interval, interval};
use crate::parse::types::LTZ;

/// A window table function in a logical plan.
#[derive(Debug, Clone)]
pub(crate) struct WindowNode {
    pub input: LogicalPlan,
    pub window: WindowAssigner,
    /// Index of the time column in the input.
    pub time: usize,
    /// Indices of the columns that sessions are kept apart by; none where it is what the aggregation groups by.
    pub partition: Option<Vec<usize>>,
    schema: DFSchemaRef,
}

impl WindowNode {
    fn new(
        input: LogicalPlan,
        window: WindowAssigner,
        time: usize,
        partition: Option<Vec<usize>>,
    ) -> Result<Self> {
        let zone = match input.schema().field(time).data_type() {
            DataType::Timestamp(_, zone) => zone.clone(),
            _ => None,
        };
        let mut fields: Vec<_> =
            input.schema().iter().map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field))).collect();
        for name in ["window_start", "window_end", "window_time"] {
            if input.schema().fields().iter().any(|field| field.name() == name) {
                return Err(PlanError::new(format!("the input of a window already has a column '{name}'"))
                    .remedy(format!("rename it in the query below: {name} AS first_{name}"))
                    .into());
            }
            // `window_time` of a TIMESTAMP_LTZ is one as well; start and end are TIMESTAMP(3), as in Flink.
            let zone = zone.clone().filter(|_| name == "window_time").map(|_| Arc::from(LTZ));
            fields.push((
                None,
                Arc::new(Field::new(name, DataType::Timestamp(TimeUnit::Millisecond, zone), false)),
            ));
        }
        let schema = Arc::new(DFSchema::new_with_metadata(fields, Default::default())?);
        Ok(Self { input, window, time, partition, schema })
    }

    fn identity(&self) -> (&LogicalPlan, String, usize, Option<&[usize]>) {
        (&self.input, format!("{:?}", self.window), self.time, self.partition.as_deref())
    }
}

impl PartialEq for WindowNode {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for WindowNode {}

impl Hash for WindowNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

impl PartialOrd for WindowNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.identity().partial_cmp(&other.identity())
    }
}

impl UserDefinedLogicalNodeCore for WindowNode {
    fn name(&self) -> &str {
        "Window"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Window: {:?}", self.window)
    }

    fn with_exprs_and_inputs(&self, _exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        let input = inputs.pop().ok_or_else(|| PlanError::new("a window has an input"))?;
        Self::new(input, self.window, self.time, self.partition.clone())
    }
}

/// True for names that only stand for windows.
pub(crate) fn is_window_function(name: &str) -> bool {
    ["TUMBLE", "HOP", "CUMULATE", "SESSION"].iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// Plans window table functions in FROM.
#[derive(Debug)]
pub(super) struct WindowPlanner;

impl RelationPlanner for WindowPlanner {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let (name, arguments, alias, span) = match relation {
            TableFactor::TableFunction { expr: ast::Expr::Function(call), alias } => {
                let span = call.name.span();
                let FunctionArguments::List(list) = call.args else {
                    return Err(PlanError::at(format!("{} needs its arguments", call.name), span).into());
                };
                (call.name.to_string(), list.args, alias, span)
            }
            TableFactor::Table { name, alias, args: Some(arguments), .. } => {
                let span = name.span();
                (name.to_string(), arguments.args, alias, span)
            }
            other => return Ok(RelationPlanning::Original(Box::new(other))),
        };
        if !is_window_function(&name) {
            return Err(PlanError::at(format!("there is no table function {name}"), span)
                .remedy("table functions are TUMBLE, HOP, CUMULATE, SESSION and UNNEST; LATERAL TABLE(f(x)) makes rows of a list that a function returns")
                .into());
        }
        let node = Call { name: name.to_ascii_uppercase(), span, arguments }.plan(context)?;
        let plan = LogicalPlan::Extension(Extension { node: Arc::new(node) });
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
    }
}

struct Call {
    name: String,
    span: sqlparser::tokenizer::Span,
    arguments: Vec<FunctionArg>,
}

impl Call {
    fn plan(self, context: &mut dyn RelationPlannerContext) -> Result<WindowNode> {
        let usage = match self.name.as_str() {
            "TUMBLE" => "TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL '10' SECOND [, offset])",
            "HOP" => {
                "HOP(TABLE t, DESCRIPTOR(ts), slide INTERVAL '2' SECOND, size INTERVAL '10' SECOND [, offset])"
            }
            "CUMULATE" => {
                "CUMULATE(TABLE t, DESCRIPTOR(ts), step INTERVAL '1' MINUTE, max INTERVAL '1' HOUR [, offset])"
            }
            _ => "SESSION(TABLE t PARTITION BY key, DESCRIPTOR(ts), gap INTERVAL '5' MINUTE)",
        };
        let wrong = |message: String| PlanError::at(message, self.span).remedy(format!("write {usage}"));
        let names: &[&str] = match self.name.as_str() {
            "TUMBLE" => &["DATA", "TIMECOL", "SIZE", "OFFSET"],
            "HOP" => &["DATA", "TIMECOL", "SLIDE", "SIZE", "OFFSET"],
            "CUMULATE" => &["DATA", "TIMECOL", "STEP", "SIZE", "OFFSET"],
            _ => &["DATA", "TIMECOL", "GAP"],
        };
        let mut slots: Vec<Option<ast::Expr>> = vec![None; names.len()];
        let (mut partition_by, mut of_all_keys) = (Vec::new(), false);
        let mut next = 0;
        for argument in self.arguments {
            let (slot, value) = match argument {
                FunctionArg::Named { name, arg: FunctionArgExpr::Expr(value), .. } => {
                    let slot = names.iter().position(|known| known.eq_ignore_ascii_case(&name.value));
                    (
                        slot.ok_or_else(|| wrong(format!("{} has no argument {}", self.name, name.value)))?,
                        value,
                    )
                }
                FunctionArg::Unnamed(FunctionArgExpr::Expr(ast::Expr::Function(call)))
                    if call.name.to_string() == crate::parse::PARTITION_ARGUMENT =>
                {
                    partition_by = identifiers(&call);
                    of_all_keys = is_of_all_keys(&call);
                    continue;
                }
                FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => {
                    next += 1;
                    (next - 1, value)
                }
                other => return Err(wrong(format!("{} does not take {other}", self.name)).into()),
            };
            match slots.get_mut(slot) {
                Some(place) => *place = Some(value),
                None => return Err(wrong(format!("{} has too many arguments", self.name)).into()),
            }
        }
        let mut slots = slots.into_iter();
        let mut required = |what: &str| {
            slots.next().flatten().ok_or_else(|| wrong(format!("{} lacks its {what}", self.name)))
        };
        let data = required("table")?;
        let descriptor = required("DESCRIPTOR(time column)")?;
        let first = interval_ms(&required("interval")?)?;
        let window = match self.name.as_str() {
            "TUMBLE" => WindowAssigner::Tumble { size_ms: first, offset_ms: 0 },
            "SESSION" => WindowAssigner::Session { gap_ms: first },
            "HOP" => WindowAssigner::Hop {
                slide_ms: first,
                size_ms: interval_ms(&required("size")?)?,
                offset_ms: 0,
            },
            _ => WindowAssigner::Cumulate {
                step_ms: first,
                max_ms: interval_ms(&required("maximum size")?)?,
                offset_ms: 0,
            },
        };
        let offset = slots.next().flatten().map_or(Ok(0), |offset| interval_ms(&offset))?;
        let window = with_offset(window, offset);
        window.check().map_err(|error| wrong(error.message().to_owned()))?;
        if !partition_by.is_empty() && !matches!(window, WindowAssigner::Session { .. }) {
            return Err(PlanError::at(format!("{} takes no PARTITION BY", self.name), self.span)
                .remedy("name the keys in GROUP BY: GROUP BY window_start, window_end, key")
                .into());
        }

        let relation =
            relation_of(data).ok_or_else(|| wrong(format!("{} reads a table or (a query)", self.name)))?;
        let input = context.plan(relation)?;
        let find = |ident: &ast::Ident| {
            let fields = input.schema().fields();
            fields.iter().position(|field| *field.name() == ident.value).ok_or_else(|| {
                let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
                let near = did_you_mean(&ident.value, names.iter().copied());
                PlanError::at(format!("there is no column '{}'", ident.value), ident.span).remedy(
                    match near {
                        Some(near) => format!("did you mean '{near}'?"),
                        None => format!("the columns are: {}", names.join(", ")),
                    },
                )
            })
        };
        let time = match &descriptor {
            ast::Expr::Function(call) if call.name.to_string().eq_ignore_ascii_case("DESCRIPTOR") => {
                match identifiers(call).as_slice() {
                    [column] => find(column)?,
                    _ => return Err(wrong("DESCRIPTOR takes one column".into()).into()),
                }
            }
            _ => return Err(wrong(format!("{} lacks its DESCRIPTOR(time column)", self.name)).into()),
        };
        let partition = partition_by.iter().map(find).collect::<Result<Vec<_>, _>>()?;
        let partition = (!of_all_keys).then_some(partition);
        WindowNode::new(input, window, time, partition)
    }
}

fn relation_of(data: ast::Expr) -> Option<TableFactor> {
    let name = match data {
        ast::Expr::Identifier(ident) => ast::ObjectName::from(vec![ident]),
        ast::Expr::CompoundIdentifier(idents) => ast::ObjectName::from(vec![idents.last()?.clone()]),
        ast::Expr::Subquery(subquery) => {
            return Some(TableFactor::Derived { lateral: false, subquery, alias: None, sample: None });
        }
        _ => return None,
    };
    Some(TableFactor::Table {
        name,
        alias: None,
        args: None,
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    })
}

fn identifiers(call: &ast::Function) -> Vec<ast::Ident> {
    let FunctionArguments::List(list) = &call.args else { return Vec::new() };
    let column = |argument: &FunctionArg| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(ast::Expr::Identifier(ident))) => Some(ident.clone()),
        FunctionArg::Unnamed(FunctionArgExpr::Expr(ast::Expr::CompoundIdentifier(idents))) => {
            idents.last().cloned()
        }
        _ => None,
    };
    list.args.iter().filter_map(column).collect()
}

/// PARTITION BY whatever the aggregation groups by (group_windows.rs).
fn is_of_all_keys(call: &ast::Function) -> bool {
    let FunctionArguments::List(list) = &call.args else { return false };
    matches!(list.args.as_slice(), [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)])
}

fn with_offset(window: WindowAssigner, offset: i64) -> WindowAssigner {
    match window {
        WindowAssigner::Tumble { size_ms, .. } => WindowAssigner::Tumble { size_ms, offset_ms: offset },
        WindowAssigner::Hop { size_ms, slide_ms, .. } => {
            WindowAssigner::Hop { size_ms, slide_ms, offset_ms: offset }
        }
        WindowAssigner::Cumulate { max_ms, step_ms, .. } => {
            WindowAssigner::Cumulate { max_ms, step_ms, offset_ms: offset }
        }
        session @ WindowAssigner::Session { .. } => session,
    }
}

/// Milliseconds of an interval literal.
fn interval_ms(expr: &ast::Expr) -> Result<i64, PlanError> {
    let wrong = |message: &str| {
        PlanError::at(message, expr.span()).remedy("write INTERVAL '10' SECOND, or MINUTE, HOUR, DAY")
    };
    match expr {
        ast::Expr::Interval(literal) => match interval(literal)? {
            Interval::Ms(ms) => Ok(ms),
            Interval::Months(_) => {
                Err(wrong("a window cannot be measured in months or years, which differ in length"))
            }
        },
        ast::Expr::UnaryOp { op: ast::UnaryOperator::Minus, expr } => Ok(-interval_ms(expr)?),
        ast::Expr::Nested(inner) => interval_ms(inner),
        _ => Err(wrong("an interval is expected here")),
    }
}
