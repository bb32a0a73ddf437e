//! Millstream's SQL: text in Flink's dialect to a graph of the engine.
//!
//! [`compile`] is the only door. Inside, text goes through these steps, one module each: statement splitting and DDL
//! (parse/), planning of queries with DataFusion's planner (plan/), and lowering of the logical plan onto the engine's
//! graph (lower/); session.rs leads through them. Scalar functions with Flink's meaning are in functions/.
//!
//! Invariants: nothing here runs rows; a secret never reaches an error or a plan's description; every error names the
//! place in the text and, where there is one, the remedy.

mod catalog;
mod error;
pub mod functions;
mod lower;
mod parse;
mod plan;
mod program;
mod session;
mod settings;
mod table;

pub use error::{Place, SqlError};
pub use program::{
    CompileOptions, Program, ProvidedTable, QueryResult, ResultSinks, Settings, TableWatermark, Variables,
};

use millstream_engine::Registry;

/// Compiles the statements of `text` into one graph.
///
/// # Errors
/// On the first statement that is wrong, with its place in `text` and what to write instead.
pub fn compile(text: &str, registry: &Registry, options: &CompileOptions) -> Result<Program, SqlError> {
    session::compile(text, registry, options)
}
