//! What DataFusion's planner asks for: tables, functions, types, options.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::DataType;
use datafusion_common::config::ConfigOptions;
use datafusion_common::{Result, TableReference};
use datafusion_expr::planner::{ContextProvider, ExprPlanner, RelationPlanner, TypePlanner};
use datafusion_expr::{AggregateUDF, HigherOrderUDF, ScalarUDF, TableSource, WindowUDF};
use millstream_engine::suggest::did_you_mean;
use parking_lot::Mutex;

use super::aggregates::{aggregates, custom};
use super::error::PlanError;
use super::fields::{self, FieldPlanner};
use super::named_casts;
use super::ranking::window_function;
use super::recognize::{self, RecognizePlanner};
use super::temporal::TemporalPlanner;
use super::types::FlinkTypes;
use super::unnest::UnnestPlanner;
use super::versions;
use super::windows::WindowPlanner;
use crate::functions::{FunctionContext, OperatorPlanner, planned, scalar_functions};
use crate::program::CompileOptions;

/// The functions of a compilation.
pub(crate) struct Functions {
    scalar: HashMap<String, Arc<ScalarUDF>>,
    aggregate: HashMap<String, Arc<AggregateUDF>>,
}

impl Functions {
    /// Those of Flink, and those of the program.
    pub fn new(context: &FunctionContext, options: &CompileOptions) -> Result<Self, PlanError> {
        let named = |(name, function): (&str, _)| (name.to_owned(), function);
        let mut all =
            Self { scalar: scalar_functions(context), aggregate: aggregates().map(named).collect() };
        for function in &options.scalar_functions {
            let name = all.free_name(function.name())?;
            all.scalar.insert(name, Arc::new(planned(Arc::clone(function))));
        }
        for function in &options.aggregate_functions {
            let name = all.free_name(function.name())?;
            all.aggregate.insert(name, custom(Arc::clone(function)));
        }
        Ok(all)
    }

    fn free_name(&self, name: &str) -> Result<String, PlanError> {
        let lower = name.to_ascii_lowercase();
        if self.scalar.contains_key(&lower) || self.aggregate.contains_key(&lower) {
            return Err(PlanError::new(format!("there is already a function {name}"))
                .remedy("give the program's function another name"));
        }
        Ok(lower)
    }

    pub fn is_aggregate(&self, name: &str) -> bool {
        self.aggregate.contains_key(&name.to_ascii_lowercase())
    }

    pub fn scalar(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.scalar.get(&name.to_ascii_lowercase()).cloned()
    }

    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.scalar.keys().cloned().collect();
        names.extend(self.aggregate.keys().cloned());
        names.sort();
        names
    }
}

/// See the module's page.
pub(super) struct Context<'a> {
    pub tables: &'a HashMap<String, Arc<dyn TableSource>>,
    pub functions: &'a Functions,
    pub options: &'a ConfigOptions,
    /// The first error of field access, which the planner would forget.
    pub field_error: Arc<Mutex<Option<PlanError>>>,
    expr_planners: Vec<Arc<dyn ExprPlanner>>,
    relation_planners: Vec<Arc<dyn RelationPlanner>>,
    type_planner: Arc<dyn TypePlanner>,
}

impl<'a> Context<'a> {
    pub fn new(
        tables: &'a HashMap<String, Arc<dyn TableSource>>,
        functions: &'a Functions,
        options: &'a ConfigOptions,
    ) -> Self {
        let fields = FieldPlanner::default();
        Self {
            tables,
            functions,
            options,
            field_error: Arc::clone(&fields.error),
            expr_planners: vec![Arc::new(fields), Arc::new(TemporalPlanner), Arc::new(OperatorPlanner)],
            relation_planners: vec![
                Arc::new(RecognizePlanner),
                Arc::new(UnnestPlanner),
                Arc::new(WindowPlanner),
            ],
            type_planner: Arc::new(FlinkTypes),
        }
    }
}

impl ContextProvider for Context<'_> {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        if let Some(table) = self.tables.get(name.table()) {
            return Ok(Arc::clone(table));
        }
        let mut known: Vec<&str> = self.tables.keys().map(String::as_str).collect();
        known.sort_unstable();
        let remedy = match (did_you_mean(name.table(), known.iter().copied()), known.as_slice()) {
            (Some(near), _) => format!("did you mean '{near}'?"),
            (None, []) => "declare it first: CREATE TABLE … WITH ('connector' = '…')".to_owned(),
            (None, known) => format!("declared are: {}", known.join(", ")),
        };
        Err(PlanError::new(format!("there is no table '{}'", name.table())).remedy(remedy).into())
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.expr_planners
    }

    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        &self.relation_planners
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::clone(&self.type_planner))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        if name == named_casts::NAME {
            return Some(Arc::new(named_casts::function()));
        }
        if name == fields::NAME {
            return Some(Arc::new(fields::function()));
        }
        if let Some(function) = versions::function(name) {
            return Some(Arc::new(function));
        }
        self.functions.scalar(name).or_else(|| recognize::function(name).map(Arc::new))
    }

    fn get_higher_order_meta(&self, _name: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.functions.aggregate.get(&name.to_ascii_lowercase()).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        window_function(name)
    }

    fn get_variable_type(&self, _names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.options
    }

    fn udf_names(&self) -> Vec<String> {
        self.functions.scalar.keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.functions.aggregate.keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        Vec::new()
    }
}
