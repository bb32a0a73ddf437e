//! Rows of bare SELECTs on standard output: JSON lines, or aligned columns for people.

use std::io::{IsTerminal, LineWriter, Stdout, Write};
use std::sync::Arc;

use millstream::connectors::format::JsonEncoder;
use millstream::connectors::print::JsonLines;
use millstream::engine::{Batch, Encoder, Error, Result, Sink, SinkProvider};
use millstream::sql::{QueryResult, ResultSinks};
use parking_lot::Mutex;

use crate::cli::Format;
use crate::terminal::Lines;

/// Where rows go.
pub type Output = Arc<Mutex<LineWriter<Lines<Stdout>>>>;

/// Rows after which a table's head is shown again.
const ROWS_A_PAGE: usize = 40;
/// Wider cells are cut.
const CELL_WIDTH_MAX: usize = 48;

/// How rows are shown when the command line does not say.
pub fn default_format() -> Format {
    if std::io::stdout().is_terminal() { Format::Table } else { Format::Json }
}

/// Makes the sinks of bare SELECTs.
pub fn results(format: Format, output: Output) -> ResultSinks {
    Arc::new(move |query: &QueryResult| match format {
        Format::Json => Arc::new(JsonLines { writer: Arc::clone(&output) as _, prefix: String::new() })
            as Arc<dyn SinkProvider>,
        Format::Table => {
            let names = query.schema.fields().iter().map(|field| field.name().clone());
            // Of rows that update, how they do comes first.
            let op = query.updates.then(|| "op".to_owned());
            let names = op.into_iter().chain(names).collect();
            Arc::new(Tables { output: Arc::clone(&output), names, updates: query.updates })
        }
    })
}

struct Tables {
    output: Output,
    names: Vec<String>,
    updates: bool,
}

impl SinkProvider for Tables {
    fn accepts_updates(&self) -> bool {
        true
    }

    fn create(&self, _instance: usize, _parallelism: usize) -> Result<Box<dyn Sink>> {
        Ok(Box::new(Table {
            output: Arc::clone(&self.output),
            names: self.names.clone(),
            widths: self.names.iter().map(|name| name.chars().count()).collect(),
            rows: 0,
            encoder: JsonEncoder::new(self.updates),
        }))
    }
}

struct Table {
    output: Output,
    names: Vec<String>,
    widths: Vec<usize>,
    rows: usize,
    encoder: JsonEncoder,
}

impl Table {
    fn head(&self) -> String {
        let names: Vec<String> =
            self.names.iter().zip(&self.widths).map(|(name, width)| format!("{name:<width$}")).collect();
        let rule: Vec<String> = self.widths.iter().map(|width| "─".repeat(*width)).collect();
        format!("{}\n{}\n", names.join("  "), rule.join("  "))
    }
}

impl Sink for Table {
    fn write(&mut self, batch: Batch) -> Result<()> {
        self.encoder.encode(&batch)?;
        let mut cells: Vec<Vec<(String, bool)>> = Vec::with_capacity(batch.num_rows());
        for row in self.encoder.encoded().rows() {
            let row: serde_json::Map<String, serde_json::Value> =
                serde_json::from_slice(row).map_err(|error| Error::internal(error.to_string()))?;
            cells.push(self.names.iter().map(|name| cell(row.get(name))).collect());
        }
        let before = self.widths.clone();
        for row in &cells {
            for (width, (text, _)) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(text.chars().count());
            }
        }
        let mut text = String::new();
        for row in &cells {
            if self.rows.is_multiple_of(ROWS_A_PAGE) || (before != self.widths && self.rows == 0) {
                text.push_str(&self.head());
            }
            self.rows += 1;
            let line: Vec<String> = row
                .iter()
                .zip(&self.widths)
                .map(
                    |((cell, right), width)| {
                        if *right { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
                    },
                )
                .collect();
            text.push_str(line.join("  ").trim_end());
            text.push('\n');
        }
        let mut output = self.output.lock();
        let written = output.write_all(text.as_bytes()).and_then(|()| output.flush());
        written.map_err(|error| match error.kind() {
            std::io::ErrorKind::BrokenPipe => Error::closed("the reader of the output is gone"),
            _ => Error::unavailable(format!("the output cannot be written: {error}")),
        })
    }
}

/// A cell's text, and whether it is a number, which stands at the right.
fn cell(value: Option<&serde_json::Value>) -> (String, bool) {
    let (text, right) = match value {
        None | Some(serde_json::Value::Null) => ("NULL".to_owned(), false),
        Some(serde_json::Value::String(text)) => (text.clone(), false),
        Some(number @ serde_json::Value::Number(_)) => (number.to_string(), true),
        Some(other) => (other.to_string(), false),
    };
    // Terminal control characters in data must not reach the terminal.
    let text: String = text.chars().map(|c| if c.is_control() { '·' } else { c }).collect();
    match text.char_indices().nth(CELL_WIDTH_MAX) {
        Some((at, _)) => (format!("{}…", &text[..at]), right),
        None => (text, right),
    }
}
