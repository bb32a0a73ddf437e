//! The statements of a text, in order: declarations fill the catalog, queries become trees, and in the end all of
//! them one graph.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{Schema, SchemaRef};
use datafusion_expr::LogicalPlanBuilder;
use millstream_engine::{Graph, Registry, explain};
use sqlparser::ast;

use crate::catalog::TableDefinition;
use crate::error::SqlError;
use crate::functions::FunctionContext;
use crate::lower::build::build;
use crate::lower::emit::{Statement as Lowered, Target, emit};
use crate::lower::insert::insert;
use crate::lower::over::settle;
use crate::lower::rel::{Rel, RelKind, Unbounded, unbounded_state};
use crate::lower::sides::add_late_columns;
use crate::lower::sort::ordered;
use crate::parse::{self, Name, Statement, Text};
use crate::plan::error::PlanError;
use crate::plan::{Functions, Planner};
use crate::program::{CompileOptions, Program, QueryResult, Settings};
use crate::settings;
use crate::table::{TableEntry, TableHandle, ViewHandle, place_option_error};

type Range = std::ops::Range<usize>;

pub(crate) fn compile(
    text: &str,
    registry: &Registry,
    options: &CompileOptions,
) -> Result<Program, SqlError> {
    let text = &Text::new(text);
    let statements = parse::statements(text, &options.variables)?;
    let sets = statements.iter().filter_map(|(statement, _)| match statement {
        Statement::Set { key, value } => Some((key, value.as_str())),
        _ => None,
    });
    let settings = settings::read(text, sets, &options.settings)?;
    let functions = FunctionContext {
        clock: Arc::clone(&options.clock),
        time_zone: settings.local_time_zone,
        seed: options.seed,
    };
    let known = Functions::new(&functions, options).map_err(|error| error.resolve(text, &(0..0)))?;
    let planner = Planner::new(known);
    let mut session = Session {
        text,
        registry,
        options,
        settings,
        functions,
        planner,
        entries: Vec::new(),
        definitions: HashMap::new(),
        lowered: Vec::new(),
        explanations: Vec::new(),
        inserts: 0,
        queries: 0,
    };
    for table in &options.tables {
        let entry = TableEntry::provided(table).map_err(|error| error.resolve(text, &(0..0)))?;
        session.add_table(Arc::new(entry));
    }
    for (statement, range) in statements {
        session.statement(statement, &range)?;
    }
    session.finish()
}

struct Session<'a> {
    text: &'a Text<'a>,
    registry: &'a Registry,
    options: &'a CompileOptions,
    settings: Settings,
    functions: FunctionContext,
    planner: Planner,
    entries: Vec<Arc<TableEntry>>,
    /// As written, to place errors of options.
    definitions: HashMap<String, TableDefinition>,
    lowered: Vec<(Lowered, Range)>,
    explanations: Vec<String>,
    inserts: usize,
    queries: usize,
}

impl Session<'_> {
    fn statement(&mut self, statement: Statement, range: &Range) -> Result<(), SqlError> {
        match statement {
            Statement::Set { .. } => Ok(()),
            Statement::Reset => Err(self.error("RESET is not supported", range).remedy("leave the SET out")),
            Statement::CreateTable { definition, if_not_exists } => {
                if !self.may_declare(&definition.name, if_not_exists, false)? {
                    return Ok(());
                }
                let entry = TableEntry::declared(
                    &definition,
                    self.registry,
                    &self.planner,
                    &self.functions,
                    self.text,
                )?;
                self.definitions.insert(entry.name.clone(), *definition);
                self.add_table(Arc::new(entry));
                Ok(())
            }
            Statement::CreateView { name, columns, query, if_not_exists, or_replace } => {
                if self.may_declare(&name, if_not_exists, or_replace)? {
                    self.view(&name, &columns, query, range)?;
                }
                Ok(())
            }
            Statement::CreateFunction { name } => {
                if self.planner.functions.scalar(&name.text).is_some()
                    || self.planner.functions.is_aggregate(&name.text)
                {
                    return Ok(());
                }
                Err(self
                    .error(format!("there is no function '{}' here, and classes of Flink cannot be loaded", name.text), &name.range)
                    .remedy(
                        "write it in Rust and give it to the pipeline: Pipeline::builder().scalar_function(…), as \
                         examples/custom_function.rs does",
                    ))
            }
            Statement::Drop { name, if_exists } => {
                if self.planner.tables.remove(&name.text).is_none() && !if_exists {
                    return Err(self.error(format!("there is no table '{}'", name.text), &name.range));
                }
                self.entries.retain(|entry| entry.name != name.text);
                Ok(())
            }
            Statement::Explain(inner) => {
                let (statement, _) = self.lower(*inner, range)?;
                let mut graph = Graph::planned();
                self.emit(&[statement], &mut graph)
                    .map_err(|error| place(error, &self.definitions, self.text, range))?;
                self.explanations.push(explain(&graph, self.workers()));
                Ok(())
            }
            query @ (Statement::Insert { .. } | Statement::Query(_)) => {
                let lowered = self.lower(query, range)?;
                match &lowered.0.target {
                    Target::Table(_) => self.inserts += 1,
                    Target::Result(..) => self.queries += 1,
                }
                self.lowered.push(lowered);
                Ok(())
            }
        }
    }

    /// The tree of an `INSERT` or a query.
    fn lower(&mut self, statement: Statement, range: &Range) -> Result<(Lowered, Range), SqlError> {
        let resolve = |error: PlanError| error.resolve(self.text, range);
        let mut lowered = match statement {
            Statement::Insert { table, columns, query } => {
                let entry =
                    self.entries.iter().find(|entry| entry.name == table.text).cloned().ok_or_else(|| {
                        let error = self
                            .error(format!("there is no table '{}' to write to", table.text), &table.range);
                        let known: Vec<&str> = self.entries.iter().map(|entry| entry.name.as_str()).collect();
                        error.remedy(if known.is_empty() {
                            "declare it first: CREATE TABLE … WITH ('connector' = 'print')".to_owned()
                        } else {
                            format!("declared are: {}", known.join(", "))
                        })
                    })?;
                let rel = self.query(query).map_err(resolve)?;
                let rel = insert(rel, &entry.name, &entry.sink_schema(), &columns, &self.functions).map_err(
                    |error| {
                        let place = Range { start: table.range.start, end: table.range.end };
                        PlanError { span: None, ..error }.resolve(self.text, &place)
                    },
                )?;
                Lowered { rel, target: Target::Table(entry) }
            }
            Statement::Query(query) => {
                let rel = self.query(query).map_err(resolve)?;
                let schema: SchemaRef = Arc::new(Schema::new(rel.fields.clone()));
                let Some(results) = &self.options.results else {
                    return Err(self
                        .error("a SELECT of its own has nowhere to send its rows here", range)
                        .remedy("write INSERT INTO table SELECT …"));
                };
                let result = QueryResult {
                    index: self.queries,
                    schema,
                    updates: rel.updates(),
                    rows_max: rel.rows_max(),
                };
                Lowered { rel, target: Target::Result(results(&result), self.queries) }
            }
            _ => {
                return Err(self
                    .error("only queries can be explained", range)
                    .remedy("EXPLAIN SELECT … or EXPLAIN INSERT INTO …"));
            }
        };
        add_late_columns(&mut lowered.rel, &self.entries)
            .map_err(|error| place(error, &self.definitions, self.text, range))?;
        self.check_connectors(&lowered)?;
        if self.settings.state_ttl_ms.is_none() {
            self.check_bounded(&lowered.rel).map_err(resolve)?;
        }
        Ok((lowered, range.clone()))
    }

    /// Errors in the options of the tables that are read and written, at the option.
    fn check_connectors(&self, lowered: &Lowered) -> Result<(), SqlError> {
        let mut read = Vec::new();
        tables_of(&lowered.rel, &mut read);
        let read = read.into_iter().map(|entry| (entry, entry.source(self.registry).map(drop)));
        let mut looked_up = Vec::new();
        lookups_of(&lowered.rel, &mut looked_up);
        let looked_up = looked_up.into_iter().map(|entry| (entry, entry.lookup(self.registry).map(drop)));
        let written = match &lowered.target {
            Target::Table(entry) => Some((entry, entry.sink(self.registry).map(drop))),
            Target::Result(..) => None,
        };
        for (entry, result) in read.chain(looked_up).chain(written) {
            result.map_err(|error| match self.definitions.get(&entry.name) {
                Some(definition) => place_option_error(error, definition, self.text),
                None => SqlError::new(error.to_string()),
            })?;
        }
        Ok(())
    }

    /// Refuses state that grows for ever: of a stream without an end, by keys of which there is no last.
    fn check_bounded(&self, rel: &Rel) -> Result<(), PlanError> {
        if let Some(Unbounded { what, remedy, place }) = unbounded_state(rel) {
            let mut read = Vec::new();
            tables_of(rel, &mut read);
            for entry in read {
                if !entry.source(self.registry)?.is_bounded() {
                    let mut error = PlanError::new(format!("{what} keeps state for every key of '{}', for ever", entry.name))
                        .remedy(format!(
                            "say for how long a key that is not written is kept: SET 'table.exec.state.ttl' = '1 d' \
                             ('0' keeps it for ever); or {remedy}"
                        ));
                    error.span = place;
                    return Err(error);
                }
            }
        }
        rel.inputs().into_iter().try_for_each(|input| self.check_bounded(input))
    }

    fn query(&self, query: Box<ast::Query>) -> Result<Rel, PlanError> {
        let is_limited = query.limit_clause.is_some() || query.fetch.is_some();
        let is_ordered = query.order_by.is_some() && !is_limited;
        let plan = self.planner.query(query)?;
        let rel = if is_ordered { ordered(&plan, &self.functions)? } else { build(&plan, &self.functions)? };
        settle(rel)
    }

    fn view(
        &mut self,
        name: &Name,
        columns: &[String],
        query: Box<ast::Query>,
        range: &Range,
    ) -> Result<(), SqlError> {
        let plan = || -> Result<_, PlanError> {
            let plan = self.planner.query(query)?;
            // What cannot be lowered is better told at the view than at each of its uses.
            build(&plan, &self.functions)?;
            if columns.is_empty() {
                return Ok(plan);
            }
            if columns.len() != plan.schema().fields().len() {
                return Err(PlanError::new(format!(
                    "the view '{}' names {} columns, its query gives {}",
                    name.text,
                    columns.len(),
                    plan.schema().fields().len()
                )));
            }
            let renamed: Vec<_> = plan
                .schema()
                .columns()
                .into_iter()
                .zip(columns)
                .map(|(column, name)| datafusion_expr::Expr::Column(column).alias(name))
                .collect();
            Ok(LogicalPlanBuilder::from(plan).project(renamed)?.build()?)
        };
        let plan = plan().map_err(|error| error.resolve(self.text, range))?;
        let schema = Arc::new(plan.schema().as_arrow().clone());
        self.planner.tables.insert(name.text.clone(), Arc::new(ViewHandle { schema, plan }));
        Ok(())
    }

    fn may_declare(&self, name: &Name, if_not_exists: bool, or_replace: bool) -> Result<bool, SqlError> {
        if !self.planner.tables.contains_key(&name.text) || or_replace {
            return Ok(true);
        }
        if if_not_exists {
            return Ok(false);
        }
        Err(self
            .error(format!("there is already a table or view '{}'", name.text), &name.range)
            .remedy("take another name, or write IF NOT EXISTS"))
    }

    fn add_table(&mut self, entry: Arc<TableEntry>) {
        self.planner.tables.insert(entry.name.clone(), Arc::new(TableHandle(Arc::clone(&entry))));
        self.entries.push(entry);
    }

    fn workers(&self) -> usize {
        self.settings.workers.unwrap_or(self.options.workers).max(1)
    }

    fn emit(&self, statements: &[Lowered], graph: &mut Graph) -> Result<(), PlanError> {
        emit(statements, graph, self.registry, &self.entries, self.workers(), &self.settings)
    }

    fn finish(self) -> Result<Program, SqlError> {
        let mut graph = Graph::planned();
        let whole = self.lowered.first().map_or(0..0, |(_, range)| range.clone());
        let (statements, _): (Vec<Lowered>, Vec<_>) = self.lowered.into_iter().unzip();
        let written = statements.iter().filter_map(|statement| match &statement.target {
            Target::Table(entry) => Some(entry.name.clone()),
            Target::Result(..) => None,
        });
        let written = written.collect();
        let workers = self.settings.workers.unwrap_or(self.options.workers).max(1);
        emit(&statements, &mut graph, self.registry, &self.entries, workers, &self.settings)
            .map_err(|error| place(error, &self.definitions, self.text, &whole))?;
        Ok(Program {
            graph,
            settings: self.settings,
            explanations: self.explanations,
            inserts: self.inserts,
            queries: self.queries,
            tables: self.entries.iter().filter_map(|entry| entry.as_written()).collect(),
            written,
        })
    }

    fn error(&self, message: impl Into<String>, range: &Range) -> SqlError {
        SqlError::at(message, self.text.as_str(), range.clone())
    }
}

/// An error of planning in its place: the option of a table where the message names both, else in `statement`.
fn place(
    error: PlanError,
    definitions: &HashMap<String, TableDefinition>,
    text: &Text<'_>,
    statement: &Range,
) -> SqlError {
    let option = definitions.iter().find_map(|(table, definition)| {
        let named = |key: &&str| error.message.starts_with(&format!("'{key}' of the table '{table}'"));
        let key = crate::lower::sides::OPTIONS.into_iter().find(named)?;
        definition.option_ranges.get(key)
    });
    match option {
        None => error.resolve(text, statement),
        Some(range) => {
            let placed = SqlError::at(error.message, text.as_str(), range.clone());
            error.remedy.into_iter().fold(placed, SqlError::remedy)
        }
    }
}

/// The tables that `rel` looks rows up in.
fn lookups_of<'a>(rel: &'a Rel, found: &mut Vec<&'a Arc<TableEntry>>) {
    if let RelKind::Lookup(lookup) = &rel.kind {
        found.push(&lookup.table);
    }
    rel.inputs().into_iter().for_each(|input| lookups_of(input, found));
}

/// The tables that `rel` reads.
fn tables_of<'a>(rel: &'a Rel, found: &mut Vec<&'a Arc<TableEntry>>) {
    if let RelKind::Table(entry) = &rel.kind {
        found.push(entry);
    }
    rel.inputs().into_iter().for_each(|input| tables_of(input, found));
}
