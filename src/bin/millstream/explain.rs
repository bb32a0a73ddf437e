//! `millstream check FILE` and `millstream explain FILE|SQL`.

use std::path::Path;
use std::sync::Arc;

use millstream::Pipeline;
use millstream::connectors::print::JsonLines;
use millstream::engine::explain as show;
use millstream::sql::Program;
use parking_lot::Mutex;

use crate::cli::{Check, Explain, PlanOptions};
use crate::exit::Failure;
use crate::run::read;
use crate::runner::workers;

/// Says what is in a file, if it is right.
pub fn check(check: &Check) -> Result<(), Failure> {
    let (text, name) = read(&check.file)?;
    let program = compile(&text, &name, &check.plan)?;
    let plural = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    eprintln!(
        "{name} is right: {}, {}",
        plural(program.inserts, "INSERT"),
        plural(program.queries, "SELECT")
    );
    Ok(())
}

/// Shows the graph of a file or text.
pub fn explain(explain: &Explain) -> Result<(), Failure> {
    let path = Path::new(&explain.text);
    let looks_like_file = path == Path::new("-") || path.exists() || explain.text.ends_with(".sql");
    let (text, name) = if looks_like_file { read(path)? } else { (explain.text.clone(), "SQL".to_owned()) };
    let program = compile(&text, &name, &explain.plan)?;
    for explanation in &program.explanations {
        print!("{explanation}");
    }
    if !program.graph.is_empty() {
        let workers = program.settings.workers.unwrap_or_else(|| workers(&explain.plan));
        print!("{}", show(&program.graph, workers));
    } else if program.explanations.is_empty() {
        eprintln!("{name} has nothing to run: add an INSERT INTO or a SELECT");
    }
    Ok(())
}

/// What a text comes to, for those who do not run it.
pub fn compile(text: &str, name: &str, plan: &PlanOptions) -> Result<Program, Failure> {
    let nowhere = Arc::new(Mutex::new(std::io::sink()));
    let mut builder = Pipeline::builder().workers(workers(plan)).sql(text).results(Arc::new(move |_| {
        Arc::new(JsonLines { writer: Arc::clone(&nowhere) as _, prefix: String::new() })
    }));
    for (key, value) in &plan.settings {
        builder = builder.setting(key, value);
    }
    builder.compile().map_err(|error| Failure::Sql(error, name.to_owned()))
}
