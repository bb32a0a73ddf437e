//! UNNEST: from the node of the plan to the tree. Flink: StreamPhysicalCorrelate over an UNNEST.

use super::build::{bind_all, build, fields_of};
use super::columns::{as_column, column};
use super::rel::{Rel, RelKind};
use crate::functions::FunctionContext;
use crate::plan::error::PlanError;
use crate::plan::unnest::UnnestNode;
use datafusion_expr::LogicalPlan;

/// Lists of the rows of `input`, taken apart: its columns, and those of an item.
#[derive(Clone)]
pub(crate) struct Unnest {
    pub input: Rel,
    /// The column with the lists.
    pub list: usize,
    /// A row without items stays.
    pub outer: bool,
    /// An item's place is the last column.
    pub ordinality: bool,
}

/// The tree of `node`, which is `plan`.
pub(super) fn unnest(
    node: &UnnestNode,
    plan: &LogicalPlan,
    functions: &FunctionContext,
) -> Result<Rel, PlanError> {
    let input = build(&node.input, functions)?;
    let width = input.fields.len();
    let list = bind_all(std::slice::from_ref(&node.list), &node.input, &input, functions)?
        .pop()
        .ok_or_else(|| PlanError::new("UNNEST has a list"))?;
    let fields = fields_of(plan);
    let items = &fields[width..];
    // A list that is computed becomes a column, which nobody sees above.
    let (input, list) = match as_column(&list) {
        Some(list) => (input, list),
        None => {
            let kind = super::columns::type_of(&list, &super::columns::indexed(&input.fields))?;
            let named = std::sync::Arc::new(arrow_schema::Field::new("list", kind, true));
            let columns = (0..width).map(column).chain([list]).collect();
            let fields = input.fields.iter().cloned().chain([named]).collect();
            (Rel::calc(input, None, columns, fields), width)
        }
    };
    let below = input.fields.len();
    let own: Vec<_> = input.fields.iter().chain(items).cloned().collect();
    let (outer, ordinality) = (node.outer, node.ordinality);
    let kind = RelKind::Unnest(Box::new(Unnest { input, list, outer, ordinality }));
    let rel = Rel { kind, fields: own };
    if below == width {
        return Ok(rel);
    }
    let columns = (0..width).chain(below..below + items.len()).map(column).collect();
    Ok(Rel::calc(rel, None, columns, fields))
}
