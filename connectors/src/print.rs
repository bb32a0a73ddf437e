//! `print`: rows as JSON lines on standard output (or standard error), with Flink's prefix option. Where the rows of a
//! bare SELECT go is the facade's to decide; this is the connector of a table.

use std::io::Write;
use std::sync::Arc;

use millstream_engine::options::OptionSpec;
use millstream_engine::{Batch, Connector, Encoder, Error, Ready, Result, Sink, SinkProvider, Table};
use parking_lot::Mutex;

use crate::format::JsonEncoder;

/// Where printed rows go.
pub type SharedWriter = Arc<Mutex<dyn Write + Send>>;

/// The connector. A program may give it another writer.
#[derive(Default)]
pub struct Print {
    writer: Option<SharedWriter>,
}

impl Print {
    /// Prints to `writer` instead of standard output.
    pub fn to(writer: SharedWriter) -> Self {
        Self { writer: Some(writer) }
    }
}

const OPTIONS: &[OptionSpec] = &[
    OptionSpec::new("print-identifier", "text", "", "Put in front of every row."),
    OptionSpec::new("standard-error", "boolean", "false", "Print to standard error."),
];

impl Connector for Print {
    fn name(&self) -> &'static str {
        "print"
    }
    fn help(&self) -> &'static str {
        "Rows as JSON lines on standard output."
    }
    fn options(&self) -> Vec<OptionSpec> {
        OPTIONS.to_vec()
    }
    fn sink(&self, table: &Table) -> Result<Arc<dyn SinkProvider>> {
        let to_stderr = table.options.bool("standard-error")?.unwrap_or(false);
        let writer: SharedWriter = match &self.writer {
            Some(writer) => Arc::clone(writer),
            None if to_stderr => Arc::new(Mutex::new(std::io::stderr())),
            None => Arc::new(Mutex::new(std::io::stdout())),
        };
        let prefix =
            table.options.get("print-identifier").map(|name| format!("{name}> ")).unwrap_or_default();
        Ok(Arc::new(JsonLines { writer, prefix }))
    }
}

/// JSON lines into a writer: the sink behind `print`, and of a bare SELECT with JSON output.
pub struct JsonLines {
    /// Where they go.
    pub writer: SharedWriter,
    /// Put in front of every row.
    pub prefix: String,
}

impl SinkProvider for JsonLines {
    fn accepts_updates(&self) -> bool {
        true
    }
    fn create(&self, _instance: usize, _parallelism: usize) -> Result<Box<dyn Sink>> {
        Ok(Box::new(Lines {
            writer: Arc::clone(&self.writer),
            prefix: self.prefix.clone(),
            plain: JsonEncoder::new(false),
            with_op: JsonEncoder::new(true),
            buffer: Vec::new(),
        }))
    }
}

struct Lines {
    writer: SharedWriter,
    prefix: String,
    plain: JsonEncoder,
    with_op: JsonEncoder,
    buffer: Vec<u8>,
}

/// Bytes gathered before they are written even under load.
const BUFFER_BYTES_MAX: usize = 1 << 16;

impl Lines {
    fn flush(&mut self) -> Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let mut writer = self.writer.lock();
        let written = writer.write_all(&self.buffer).and_then(|()| writer.flush());
        self.buffer.clear();
        // A reader that went away (`| head`) is the end of the job, and nobody's fault.
        written.map_err(|error| match error.kind() {
            std::io::ErrorKind::BrokenPipe => Error::closed("the reader of the output is gone"),
            _ => Error::unavailable(format!("the output cannot be written: {error}")),
        })
    }
}

impl Sink for Lines {
    fn write(&mut self, batch: Batch) -> Result<()> {
        let encoder = if batch.changes.is_some() { &mut self.with_op } else { &mut self.plain };
        encoder.encode(&batch)?;
        for row in encoder.encoded().rows() {
            self.buffer.extend_from_slice(self.prefix.as_bytes());
            self.buffer.extend_from_slice(row);
            self.buffer.push(b'\n');
        }
        if self.buffer.len() >= BUFFER_BYTES_MAX { self.flush() } else { Ok(()) }
    }
    fn on_quiet(&mut self) -> Result<()> {
        self.flush()
    }
    fn finish(&mut self) -> Result<Ready> {
        self.flush().map(|()| Ready::Yes)
    }
}
