//! A declared table with everything resolved: which columns its connector brings, which are computed, its time.
//!
//! It is also what DataFusion's planner scans ([`TableHandle`]); lowering gets the entry back from there.

use std::borrow::Cow;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion_common::DFSchema;
use datafusion_expr::{Expr, LogicalPlan, TableSource, cast};
use millstream_engine::dead_letter::OnError;
use millstream_engine::lookup::LookupProvider;
use millstream_engine::options::Options;
use millstream_engine::{Registry, SinkProvider, SourceProvider, Table};

use crate::catalog::{ColumnKind, TableDefinition};
use crate::error::SqlError;
use crate::functions::{FunctionContext, type_name};
use crate::lower::columns::{bind, indexed};
use crate::parse::Text;
use crate::plan::Planner;
use crate::plan::error::PlanError;
use crate::program::ProvidedTable;

/// A table. See the module's page.
pub(crate) struct TableEntry {
    pub name: String,
    /// All declared columns, computed ones included.
    pub schema: SchemaRef,
    /// Where each declared column comes from.
    pub columns: Vec<ColumnSource>,
    /// What the connector sees.
    pub table: Table,
    /// Event time: the declared column, and the watermark as an expression over the declared columns.
    pub watermark: Option<(usize, Expr)>,
    /// Declared columns whose every value keeps a clock of its own.
    pub clock_keys: Vec<usize>,
    pub idle_timeout_ms: Option<i64>,
    pub ahead_max_ms: Option<i64>,
    pub on_error: OnError,
    /// The connector's columns that INSERT INTO writes: of the payload, and metadata that the connector can write.
    written: Vec<usize>,
    provided: Option<ProvidedTable>,
}

/// Where a declared column comes from.
pub(crate) enum ColumnSource {
    /// The connector's column of this index.
    Connector(usize),
    /// Computed from the connector's columns, as an expression over their indices.
    Computed(Expr),
}

impl TableEntry {
    /// Resolves a `CREATE TABLE`.
    pub fn declared(
        definition: &TableDefinition,
        registry: &Registry,
        planner: &Planner,
        functions: &FunctionContext,
        text: &Text<'_>,
    ) -> Result<Self, SqlError> {
        let whole = definition.name.range.clone();
        let option_error = |error: millstream_engine::Error| place_option_error(error, definition, text);
        let resolve = |error: PlanError, range: &std::ops::Range<usize>| error.resolve(text, range);

        let mut options = Options::new(format!("table {}", definition.name.text), definition.options.clone());
        options.set("connector", definition.options.get("connector").cloned().unwrap_or_default());
        if !definition.options.contains_key("connector") {
            return Err(SqlError::at(
                format!(
                    "the table '{}' does not say which connector it is read or written by",
                    definition.name.text
                ),
                text.as_str(),
                whole,
            )
            .remedy(format!("add WITH ('connector' = '…'); this build has: {}", connector_names(registry))));
        }
        // The connector's own columns first: metadata in the type the connector brings it in.
        let probe = Table {
            name: definition.name.text.clone(),
            schema: Arc::new(Schema::empty()),
            metadata: Vec::new(),
            primary_key: Vec::new(),
            options: options.clone(),
            formats: registry.formats().clone(),
        };
        let connector = registry.connector(&probe).map_err(option_error)?;
        let offered = connector.metadata();
        let mut fields: Vec<Field> = Vec::new();
        let mut metadata = Vec::new();
        let mut sources: Vec<Option<ColumnSource>> = Vec::new();
        let mut declared: Vec<Option<Field>> = Vec::new();
        let mut written = Vec::new();
        for column in &definition.columns {
            let name = &column.name.text;
            match &column.kind {
                ColumnKind::Physical { data_type, nullable } => {
                    sources.push(Some(ColumnSource::Connector(fields.len())));
                    written.push(fields.len());
                    fields.push(Field::new(name, data_type.clone(), *nullable));
                    declared.push(fields.last().cloned());
                }
                ColumnKind::Metadata { data_type, nullable, key, is_virtual } => {
                    let spec = offered.iter().find(|spec| spec.key == key.text).ok_or_else(|| {
                        let known: Vec<&str> = offered.iter().map(|spec| spec.key).collect();
                        let error = SqlError::at(
                            format!("connector '{}' has no metadata '{}'", connector.name(), key.text),
                            text.as_str(),
                            key.range.clone(),
                        );
                        error.remedy(if known.is_empty() {
                            "it has none".to_owned()
                        } else {
                            format!("it has: {}", known.join(", "))
                        })
                    })?;
                    metadata.push((fields.len(), key.text.clone()));
                    if !is_virtual && connector.writable_metadata().contains(&key.text.as_str()) {
                        written.push(fields.len());
                    }
                    let source = if spec.data_type == *data_type {
                        ColumnSource::Connector(fields.len())
                    } else {
                        ColumnSource::Computed(cast(
                            crate::lower::columns::column(fields.len()),
                            data_type.clone(),
                        ))
                    };
                    sources.push(Some(source));
                    fields.push(Field::new(name, spec.data_type.clone(), true));
                    declared.push(Some(Field::new(name, data_type.clone(), *nullable)));
                }
                ColumnKind::Computed { .. } => {
                    sources.push(None);
                    declared.push(None);
                }
            }
        }
        let schema = Arc::new(Schema::new(fields));
        let by_name =
            DFSchema::try_from(Arc::clone(&schema)).map_err(|error| resolve(error.into(), &whole))?;
        let by_index = indexed(schema.fields());
        for (index, column) in definition.columns.iter().enumerate() {
            let ColumnKind::Computed { expression, range } = &column.kind else { continue };
            let computed = || -> Result<_, PlanError> {
                let expr = planner.expression(expression.clone(), &by_name)?;
                let expr = bind(expr, &by_name, &by_index, functions)?;
                let kind = crate::lower::columns::type_of(&expr, &by_index)?;
                Ok((expr, kind))
            };
            let (expr, kind) = computed().map_err(|error| resolve(error, range))?;
            declared[index] = Some(Field::new(&column.name.text, kind, true));
            sources[index] = Some(ColumnSource::Computed(expr));
        }
        let declared_schema: SchemaRef =
            Arc::new(Schema::new(declared.into_iter().flatten().collect::<Vec<_>>()));
        let columns: Vec<ColumnSource> = sources.into_iter().flatten().collect();

        let watermark = match &definition.watermark {
            None => None,
            Some(watermark) => {
                let index = declared_schema.index_of(&watermark.column.text).map_err(|_| {
                    let names: Vec<&str> =
                        declared_schema.fields().iter().map(|field| field.name().as_str()).collect();
                    SqlError::at(
                        format!("there is no column '{}'", watermark.column.text),
                        text.as_str(),
                        watermark.column.range.clone(),
                    )
                    .remedy(format!("the columns are: {}", names.join(", ")))
                })?;
                let kind = declared_schema.field(index).data_type();
                if !matches!(kind, DataType::Timestamp(TimeUnit::Millisecond, _)) {
                    return Err(SqlError::at(
                        format!(
                            "the event-time column '{}' is {}, not TIMESTAMP(3)",
                            watermark.column.text,
                            type_name(kind)
                        ),
                        text.as_str(),
                        watermark.column.range.clone(),
                    )
                    .remedy(remedy_for_time(kind, &watermark.column.text)));
                }
                let expr = || -> Result<Expr, PlanError> {
                    let by_name = DFSchema::try_from(Arc::clone(&declared_schema))?;
                    let by_index = indexed(declared_schema.fields());
                    let expr = planner.expression(watermark.expression.clone(), &by_name)?;
                    let expr = bind(expr, &by_name, &by_index, functions)?;
                    let found = crate::lower::columns::type_of(&expr, &by_index)?;
                    if &found == kind { Ok(expr) } else { Ok(cast(expr, kind.clone())) }
                };
                Some((index, expr().map_err(|error| resolve(error, &watermark.column.range))?))
            }
        };
        let clock_keys = match options.get("scan.watermark.key") {
            None => Vec::new(),
            Some(keys) => keys
                .split(',')
                .map(|key| {
                    declared_schema.index_of(key.trim()).map_err(|_| {
                        let range =
                            definition.option_ranges.get("scan.watermark.key").unwrap_or(&whole).clone();
                        SqlError::at(
                            format!("'scan.watermark.key' names '{}', which is no column", key.trim()),
                            text.as_str(),
                            range,
                        )
                    })
                })
                .collect::<Result<_, _>>()?,
        };
        let primary_key =
            definition.primary_key.iter().filter_map(|key| schema.index_of(&key.text).ok()).collect();
        Ok(Self {
            name: definition.name.text.clone(),
            schema: declared_schema,
            columns,
            watermark,
            clock_keys,
            idle_timeout_ms: options.duration_ms("scan.watermark.idle-timeout").map_err(option_error)?,
            ahead_max_ms: options.duration_ms("scan.watermark.ahead-max").map_err(option_error)?,
            on_error: OnError::from_options(&options).map_err(option_error)?,
            written,
            table: Table {
                name: definition.name.text.clone(),
                schema,
                metadata,
                primary_key,
                options,
                formats: registry.formats().clone(),
            },
            provided: None,
        })
    }

    /// A table from the host program.
    pub fn provided(given: &ProvidedTable) -> Result<Self, PlanError> {
        let watermark = given
            .watermark
            .as_ref()
            .map(|watermark| {
                let index = given.schema.index_of(&watermark.column).map_err(|_| {
                    PlanError::new(format!(
                        "the table '{}' has no column '{}' for its watermark",
                        given.name, watermark.column
                    ))
                })?;
                let delay = datafusion_common::ScalarValue::new_interval_mdn(
                    0,
                    0,
                    watermark.delay_ms.saturating_mul(1_000_000),
                );
                Ok::<_, PlanError>((index, crate::lower::columns::column(index) - Expr::Literal(delay, None)))
            })
            .transpose()?;
        let width = given.schema.fields().len();
        Ok(Self {
            name: given.name.clone(),
            schema: Arc::clone(&given.schema),
            columns: (0..width).map(ColumnSource::Connector).collect(),
            watermark,
            clock_keys: Vec::new(),
            idle_timeout_ms: None,
            ahead_max_ms: None,
            on_error: OnError::default(),
            written: (0..width).collect(),
            table: Table {
                name: given.name.clone(),
                schema: Arc::clone(&given.schema),
                metadata: Vec::new(),
                primary_key: Vec::new(),
                options: Options::new(format!("table {}", given.name), Default::default()),
                formats: Default::default(),
            },
            provided: Some(given.clone()),
        })
    }

    /// Reads the table.
    pub fn source(&self, registry: &Registry) -> millstream_engine::Result<Arc<dyn SourceProvider>> {
        match &self.provided {
            None => registry.connector(&self.table)?.source(&self.table),
            Some(given) => given.source.clone().ok_or_else(|| {
                millstream_engine::Error::config(format!(
                    "the table '{}' can be written to, not read from",
                    self.name
                ))
            }),
        }
    }

    /// Looks rows up in the table.
    pub fn lookup(&self, registry: &Registry) -> millstream_engine::Result<Arc<dyn LookupProvider>> {
        match &self.provided {
            None => registry.connector(&self.table)?.lookup(&self.table),
            Some(_) => Err(millstream_engine::Error::config(format!(
                "rows cannot be looked up in the table '{}', which the program gives",
                self.name
            ))),
        }
    }

    /// Writes the table; its columns are those that can be written.
    pub fn sink(&self, registry: &Registry) -> millstream_engine::Result<Arc<dyn SinkProvider>> {
        if let Some(table) = self.as_written() {
            return registry.connector(&table)?.sink(&table);
        }
        self.provided.as_ref().and_then(|given| given.sink.clone()).ok_or_else(|| {
            millstream_engine::Error::config(format!(
                "the table '{}' can be read from, not written to",
                self.name
            ))
        })
    }

    /// The table with the columns that can be written; none for one that the program gives.
    pub fn as_written(&self) -> Option<Table> {
        if self.provided.is_some() {
            return None;
        }
        let mut table = self.table.clone();
        table.schema = self.sink_schema();
        let position = |key: &usize| self.written.iter().position(|column| column == key);
        table.primary_key = table.primary_key.iter().filter_map(position).collect();
        let metadata = table.metadata.iter();
        table.metadata =
            metadata.filter_map(|(column, key)| Some((position(column)?, key.clone()))).collect();
        Some(table)
    }

    /// `'sink.parallelism'`: how many instances are to write the table.
    pub fn sink_parallelism(&self) -> millstream_engine::Result<Option<usize>> {
        let options = &self.table.options;
        let instances = options.parse::<usize>("sink.parallelism", "a whole number above 0")?;
        match instances {
            Some(0) => Err(options.invalid("sink.parallelism", "a whole number above 0")),
            instances => Ok(instances),
        }
    }

    /// The columns that INSERT INTO writes.
    pub fn sink_schema(&self) -> SchemaRef {
        let fields: Vec<_> =
            self.written.iter().map(|index| self.table.schema.field(*index).clone()).collect();
        Arc::new(Schema::new(fields))
    }
}

fn connector_names(registry: &Registry) -> String {
    registry.connectors().map(|connector| connector.name()).collect::<Vec<_>>().join(", ")
}

fn remedy_for_time(kind: &DataType, column: &str) -> String {
    match kind {
        DataType::Utf8 => {
            format!("add a column: event_time AS TO_TIMESTAMP({column}), and WATERMARK FOR event_time")
        }
        kind if kind.is_integer() => {
            format!("add a column: event_time AS TO_TIMESTAMP_LTZ({column}, 3), and WATERMARK FOR event_time")
        }
        _ => format!("declare {column} TIMESTAMP(3)"),
    }
}

/// An option's error at the option in the text, where the message names it.
pub(crate) fn place_option_error(
    error: millstream_engine::Error,
    definition: &TableDefinition,
    text: &Text<'_>,
) -> SqlError {
    let named =
        definition.option_ranges.iter().filter(|(key, _)| error.message().contains(&format!("'{key}'")));
    let range =
        named.max_by_key(|(key, _)| (key.as_str() != "connector", key.len())).map(|(_, range)| range.clone());
    let range = range.unwrap_or_else(|| {
        let connector =
            definition.option_ranges.get("connector").filter(|_| error.message().contains("connector"));
        connector.cloned().unwrap_or_else(|| definition.name.range.clone())
    });
    let placed = SqlError::at(error.message(), text.as_str(), range);
    match error.remedy_text() {
        Some(remedy) => placed.remedy(remedy),
        None => placed,
    }
}

/// A table as DataFusion's planner sees it.
pub(crate) struct TableHandle(pub Arc<TableEntry>);

impl TableSource for TableHandle {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.0.schema)
    }
}

/// A view as DataFusion's planner sees it: its plan is put in its place.
pub(crate) struct ViewHandle {
    pub schema: SchemaRef,
    pub plan: LogicalPlan,
}

impl TableSource for ViewHandle {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn get_logical_plan(&self) -> Option<Cow<'_, LogicalPlan>> {
        Some(Cow::Borrowed(&self.plan))
    }
}
