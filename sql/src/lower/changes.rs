//! How the rows of a query change, edge by edge: insert-only, upsert or retract.
//!
//! Insert-only: rows come and stay. Retract: a row that changes is taken back (`-U`, `-D`) before its new form comes
//! (`+U`). Upsert: the new form comes alone, and takes the place of the row of its key; only a sink that goes by the same
//! key can read that. Which of them an edge is follows from what is above it (does it update?) and from who reads it.

use millstream_engine::{Input, NodeId, SinkProvider};

use super::rel::Rel;
use crate::plan::error::PlanError;

/// How the rows of a query go into its sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Into {
    /// As they are, with what they were before.
    AsTheyAre,
    /// Without what they were before: the sink goes by the same key as the operator that holds them.
    ByKey,
    /// By the sink's key, which is not the query's: rows of several keys may meet in one of the sink's, whose newest
    /// counts. Flink: SinkUpsertMaterializer.
    Newest,
}

/// How the rows of `rel` go into a sink.
///
/// # Errors
/// If the rows change and the sink cannot take that.
pub(super) fn into_sink(rel: &Rel, table: &str, sink: &dyn SinkProvider) -> Result<Into, PlanError> {
    if !rel.updates() {
        return Ok(Into::AsTheyAre);
    }
    if !sink.accepts_updates() {
        return Err(PlanError::new(format!(
            "'{table}' takes new rows only, and this query updates rows that it gave before"
        ))
        .remedy(
            "aggregate in windows, whose rows are final; or write to a table that takes updates: one with a PRIMARY KEY \
             and 'connector' = 'upsert-kafka' or 'postgres', or 'print'",
        ));
    }
    let keys = sink.order_keys();
    let same = rel.unique_key().is_some_and(|unique| {
        !keys.is_empty() && unique.len() == keys.len() && unique.iter().all(|column| keys.contains(column))
    });
    Ok(match (keys.is_empty(), same) {
        (true, _) => Into::AsTheyAre,
        (false, false) => Into::Newest,
        (false, true) if rel.replaces_by_key() => Into::ByKey,
        (false, true) => Into::AsTheyAre,
    })
}

/// How rows reach the instances of a sink that keeps rows of equal `order_keys` in order, and how many instances are
/// asked for: those that `'sink.parallelism'` says, if it does.
pub(super) fn written_by(
    node: NodeId,
    rel: &Rel,
    order_keys: &[usize],
    asked: Option<usize>,
) -> (Input, Option<usize>) {
    if !order_keys.is_empty() {
        return (Input::keyed(node, order_keys.to_vec()), asked);
    }
    if asked.is_none() || !rel.updates() {
        return (Input::forward(node), asked);
    }
    // What takes a row back must come behind it, so to the same instance.
    match rel.unique_key() {
        Some(key) if !key.is_empty() => (Input::keyed(node, key), asked),
        _ => (Input::gather(node), None),
    }
}

/// How EXPLAIN shows the rows that leave a node; nothing for insert-only.
pub(super) fn mode(updates: bool, before: bool) -> &'static str {
    match (updates, before) {
        (false, _) => "",
        (true, true) => " (retract)",
        (true, false) => " (upsert)",
    }
}
