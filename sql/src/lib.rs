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
pub use functions::ScalarFunction;
pub use program::{
    CompileOptions, Program, ProvidedTable, QueryResult, ResultSinks, Settings, TableWatermark, Variables,
};
pub use settings::SETTINGS;

use millstream_engine::Registry;

/// Compiles the statements of `text` into one graph.
///
/// # Errors
/// On the first statement that is wrong, with its place in `text` and what to write instead.
pub fn compile(text: &str, registry: &Registry, options: &CompileOptions) -> Result<Program, SqlError> {
    // Planning walks trees by recursion; a thread of its own has a stack for the deepest that parse/ lets through, of
    // which only what is used takes memory.
    let compile = || session::compile(text, registry, options);
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().name("mill-sql".to_owned()).stack_size(STACK_BYTES);
        match builder.spawn_scoped(scope, compile) {
            Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            Err(error) => {
                Err(SqlError::new(format!("no thread can be started to plan the statements: {error}")))
            }
        }
    })
}

/// Address space of the planning thread's stack: the deepest tree has half as many levels as a statement has words.
const STACK_BYTES: usize = 512 << 20;
