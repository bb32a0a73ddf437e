//! From logical plans to the engine's graph.
//!
//! build.rs makes a relational tree (rel.rs) of each statement's plan; need.rs finds, over all statements, which
//! columns and ROW fields of each table are needed, and whether its event time is; emit.rs adds the nodes, each table
//! read once; sides.rs leads dead letters and late rows to their tables. Columns go by number from here on (columns.rs).

pub(crate) mod build;
mod changes;
mod clocked;
pub(crate) mod columns;
pub(crate) mod emit;
mod expression;
mod group;
mod grouping;
pub(crate) mod insert;
mod join;
mod limit;
pub(crate) mod lookup;
mod need;
pub(crate) mod over;
mod rank;
mod recognize;
pub(crate) mod rel;
mod sets;
mod show;
pub(crate) mod sides;
pub(crate) mod sort;
mod unnest;
mod values;
mod window;
