//! Side outputs as tables: `'dead-letter' = 'TABLE'` and `'late-rows' = 'TABLE'` of a declared table.
//!
//! Before emission [`add_late_columns`] makes the windows over a table carry the columns that its table of late rows
//! wants, past what the query itself reads. While nodes are emitted (emit.rs), each side output that leads to a table
//! is noted; in the end every such table gets one sink, behind a union where several outputs lead to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_schema::{FieldRef, SchemaRef};
use datafusion_expr::Expr;
use millstream_engine::dead_letter::{OnError, check_schema};
use millstream_engine::graph::OperatorFactory;
use millstream_engine::operator::LATE;
use millstream_engine::{Graph, Input, NodeId, Registry};
use millstream_operators::{Project, Union};

use super::columns::{as_column, column};
use super::expression::compile;
use super::rel::{LateRows, Rel, RelKind};
use crate::plan::error::PlanError;
use crate::table::TableEntry;

/// The option that names a table's table of dead letters.
const DEAD_LETTER: &str = "dead-letter";
/// The option that names a table's table of late rows.
const LATE_ROWS: &str = "late-rows";
/// Both; errors about them begin with the option and its table.
pub(crate) const OPTIONS: [&str; 2] = [DEAD_LETTER, LATE_ROWS];

/// Side outputs by the table they lead to.
#[derive(Default)]
pub(super) struct Sides<'a> {
    /// All declared tables.
    entries: &'a [Arc<TableEntry>],
    inputs: BTreeMap<String, Vec<Input>>,
}

impl<'a> Sides<'a> {
    pub fn new(entries: &'a [Arc<TableEntry>]) -> Self {
        Self { entries, inputs: BTreeMap::new() }
    }

    /// Leads the dead letters of a node of table `entry` to where its option says.
    pub fn dead_letters(
        &mut self,
        entry: &TableEntry,
        node: NodeId,
        graph: &mut Graph,
    ) -> Result<(), PlanError> {
        let Some(target) = target(entry, DEAD_LETTER, self.entries)? else { return Ok(()) };
        if entry.on_error != OnError::DeadLetter {
            return Err(wrong(
                entry,
                DEAD_LETTER,
                "has no meaning while its 'on-error' is not 'dead-letter'",
            )
            .remedy("leave one of the two options out"));
        }
        let schema = target.sink_schema();
        check_schema(&schema).map_err(|error| {
            PlanError::new(format!(
                "the table '{}' cannot take dead letters: {}",
                target.name,
                error.message()
            ))
            .remedy(error.remedy_text().unwrap_or_default())
        })?;
        let input = graph.dead_letters(node, schema)?;
        self.inputs.entry(target.name.clone()).or_default().push(input);
        Ok(())
    }

    /// Leads the late rows of window `node`, whose rows have the columns of `schema`, to their table. `columns` are
    /// those of the table, by number in `schema`.
    pub fn late_rows(
        &mut self,
        late: &LateRows,
        columns: &[usize],
        node: NodeId,
        schema: &SchemaRef,
        graph: &mut Graph,
    ) -> Result<(), PlanError> {
        let fields: Vec<FieldRef> = schema.fields().iter().cloned().collect();
        let output = late.target.sink_schema();
        let exprs: Vec<_> =
            columns.iter().map(|index| compile(&column(*index), &fields)).collect::<Result<_, _>>()?;
        let kept = Arc::clone(&output);
        let factory: OperatorFactory =
            Arc::new(move || Ok(Box::new(Project::new(None, exprs.clone(), Arc::clone(&kept), None)) as _));
        let names: Vec<&str> = output.fields().iter().map(|field| field.name().as_str()).collect();
        let input = Input::forward(node).on_port(LATE);
        let node = graph.operator("late rows", "project", names.join(", "), vec![input], factory);
        self.inputs.entry(late.target.name.clone()).or_default().push(Input::gather(node));
        Ok(())
    }

    /// Adds the sinks.
    pub fn finish(self, graph: &mut Graph, registry: &Registry) -> Result<(), PlanError> {
        for (name, mut inputs) in self.inputs {
            let Some(entry) = self.entries.iter().find(|entry| entry.name == name) else { continue };
            let input = match inputs.pop() {
                Some(only) if inputs.is_empty() => only,
                last => {
                    inputs.extend(last);
                    let factory: OperatorFactory = Arc::new(|| Ok(Box::new(Union::default()) as _));
                    Input::forward(graph.operator("union", "union", "", inputs, factory))
                }
            };
            let provider = entry.sink(registry)?;
            graph.sink(name, provider.describe(), provider, input);
        }
        Ok(())
    }
}

fn wrong(entry: &TableEntry, option: &str, what: &str) -> PlanError {
    PlanError::new(format!("'{option}' of the table '{}' {what}", entry.name))
}

/// The table that `option` of `entry` names, if it is given.
fn target<'a>(
    entry: &TableEntry,
    option: &str,
    entries: &'a [Arc<TableEntry>],
) -> Result<Option<&'a Arc<TableEntry>>, PlanError> {
    let Some(name) = entry.table.options.get(option) else { return Ok(None) };
    let found = entries.iter().find(|other| other.name == name).ok_or_else(|| {
        wrong(entry, option, &format!("names '{name}', which is no table"))
            .remedy(format!("declare it: CREATE TABLE {name} (…) WITH ('connector' = 'filesystem', …)"))
    })?;
    if found.table.options.get(DEAD_LETTER).is_some() {
        return Err(wrong(entry, option, &format!("names '{name}', which sends its own dead letters on"))
            .remedy(
                "a table at the end of the line keeps what it cannot deliver in the log and in the counters",
            ));
    }
    Ok(Some(found))
}

/// Makes the windows of `rel` carry the columns that tables of late rows want.
pub(crate) fn add_late_columns(rel: &mut Rel, entries: &[Arc<TableEntry>]) -> Result<(), PlanError> {
    match &mut rel.kind {
        RelKind::Aggregate(aggregate) => {
            add_late_columns(&mut aggregate.input, entries)?;
            if aggregate.time.is_none() || aggregate.attached.is_some() {
                return Ok(());
            }
            let Some(entry) = only_table(&aggregate.input)? else { return Ok(()) };
            let Some(target) = target(&entry, LATE_ROWS, entries)? else { return Ok(()) };
            let columns = target
                .sink_schema()
                .fields()
                .iter()
                .map(|field| {
                    let index = entry.schema.index_of(field.name()).ok();
                    index
                        .filter(|index| entry.schema.field(*index).data_type() == field.data_type())
                        .ok_or_else(|| {
                            let (column, target) = (field.name(), &target.name);
                            let what = format!(
                                "names '{target}', whose column '{column}' it does not have in this type"
                            );
                            wrong(&entry, LATE_ROWS, &what).remedy(
                                "a table of late rows has some of the columns of the table they come from",
                            )
                        })
                })
                .map(|index| carry(&mut aggregate.input, index?))
                .collect::<Result<_, PlanError>>()?;
            aggregate.late = Some(LateRows { target: Arc::clone(target), columns });
            Ok(())
        }
        _ => rel.inputs_mut().into_iter().try_for_each(|input| add_late_columns(input, entries)),
    }
}

/// The table that `rel` takes its rows from, with nothing but projections and filters between.
fn only_table(rel: &Rel) -> Result<Option<Arc<TableEntry>>, PlanError> {
    match &rel.kind {
        RelKind::Table(entry) => Ok(Some(Arc::clone(entry))),
        RelKind::Calc { input, .. } => only_table(input),
        RelKind::Union { inputs } => {
            for input in inputs {
                if let Some(entry) =
                    only_table(input)?.filter(|entry| entry.table.options.get(LATE_ROWS).is_some())
                {
                    return Err(wrong(&entry, LATE_ROWS, "has no place where a window is over a UNION ALL")
                        .remedy("put the window over each table, and the UNION ALL over the windows"));
                }
            }
            Ok(None)
        }
        _ => Ok(None),
    }
}

/// The column of `rel` that is column `index` of the table below; added at the end where there is none.
fn carry(rel: &mut Rel, index: usize) -> Result<usize, PlanError> {
    match &mut rel.kind {
        RelKind::Table(_) => Ok(index),
        RelKind::Calc { input, columns, .. } => {
            let below = carry(input, index)?;
            if let Some(found) = columns.iter().position(|expr: &Expr| as_column(expr) == Some(below)) {
                return Ok(found);
            }
            columns.push(column(below));
            rel.fields.push(Arc::clone(&input.fields[below]));
            Ok(rel.fields.len() - 1)
        }
        _ => Err(PlanError::new("late rows cannot be followed to their table")),
    }
}
