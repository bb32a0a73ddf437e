//! A row pattern in a logical plan.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use datafusion_common::{DFSchemaRef, Result};
use datafusion_expr::logical_plan::UserDefinedLogicalNodeCore;
use datafusion_expr::{Expr, LogicalPlan};
use millstream_operators::SortKey;
use millstream_operators::recognize::Pattern;
use sqlparser::tokenizer::Span;

use crate::plan::error::PlanError;

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
    pub schema: DFSchemaRef,
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
