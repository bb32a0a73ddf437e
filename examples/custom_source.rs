//! A source over a socket, to copy: `'connector' = 'udp'` takes datagrams, each a payload in any format there is.
//!
//!     cargo run --example custom_source
//!
//! A worker must never wait. So a task on the I/O runtime waits for the socket, hands what comes to the worker through an
//! inlet (bounded in bytes), which rings the worker; the worker polls the source, and decoding is done there.

use std::net::UdpSocket;
use std::sync::Arc;

use millstream::Pipeline;
use millstream::arrow::array::cast::AsArray;
use millstream::arrow::array::types::Float64Type;
use millstream::arrow::schema::SchemaRef;
use millstream::connectors::format::payload::{PAYLOAD_OPTIONS, PayloadDecoder, PayloadOptions, on_error};
use millstream::engine::dead_letter::ON_ERROR_OPTION;
use millstream::engine::io::{InletReceiver, InletSender, inlet};
use millstream::engine::options::OptionSpec;
use millstream::engine::{
    Batch, Codec, Connector, Error, InstanceContext, OnError, Output, Result, RowErrors, Source, SourcePoll,
    SourceProvider, Stop, Table, Task,
};

/// Bytes that were received and not decoded; full, the task waits, and the kernel drops what it has no room for.
const INLET_BYTES_MAX: usize = 1 << 20;

struct Udp;

impl Connector for Udp {
    fn name(&self) -> &'static str {
        "udp"
    }
    fn help(&self) -> &'static str {
        "Takes datagrams, each a payload."
    }
    fn options(&self) -> Vec<OptionSpec> {
        let mut options =
            vec![OptionSpec::new("address", "host:port", "", "Where to listen."), ON_ERROR_OPTION];
        options.extend_from_slice(PAYLOAD_OPTIONS);
        options
    }
    fn source(&self, table: &Table) -> Result<Arc<dyn SourceProvider>> {
        Ok(Arc::new(UdpTable {
            address: table.options.require("address")?.to_owned(),
            codec: table.codec()?,
            payload: PayloadOptions::from_options(&table.options)?,
            on_error: on_error(&table.options)?,
        }))
    }
}

struct UdpTable {
    address: String,
    codec: Arc<dyn Codec>,
    payload: PayloadOptions,
    on_error: OnError,
}

impl SourceProvider for UdpTable {
    fn is_bounded(&self) -> bool {
        false
    }
    /// `schema` has the columns that the query reads; the decoder makes those and skips the others.
    fn create(&self, schema: SchemaRef, _instance: usize, _parallelism: usize) -> Result<Box<dyn Source>> {
        let decoder = PayloadDecoder::new(schema, self.codec.as_ref(), &self.payload)?;
        let (address, on_error) = (self.address.clone(), self.on_error);
        Ok(Box::new(UdpInstance { address, on_error, decoder, running: None }))
    }
}

struct UdpInstance {
    address: String,
    on_error: OnError,
    decoder: PayloadDecoder,
    running: Option<Running>,
}

/// What there is once the source is open.
struct Running {
    context: InstanceContext,
    inlet: InletReceiver<Vec<u8>>,
    errors: RowErrors,
    /// None when the source was told to stop: the task ends when this goes, and its socket with it.
    task: Option<Task>,
}

async fn receive(socket: UdpSocket, inlet: InletSender<Vec<u8>>) -> std::io::Result<()> {
    let socket = tokio::net::UdpSocket::from_std(socket)?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if inlet.send(buffer[..length].to_vec(), length).await.is_err() {
            return Ok(());
        }
    }
}

impl Source for UdpInstance {
    fn open(&mut self, context: &InstanceContext) -> Result<()> {
        let failed = |error| Error::unavailable(format!("cannot listen on {}: {error}", self.address));
        let socket = UdpSocket::bind(&self.address).map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        let (sender, receiver) = inlet(INLET_BYTES_MAX, Arc::clone(&context.waker));
        let task = context.spawn(async move {
            if let Err(error) = receive(socket, sender).await {
                eprintln!("the socket fails: {error}");
            }
        })?;
        let errors = context.row_errors(self.on_error);
        self.running = Some(Running { context: context.clone(), inlet: receiver, errors, task: Some(task) });
        Ok(())
    }

    fn poll(&mut self, out: &mut Output<'_>) -> Result<SourcePoll> {
        let Some(running) = &mut self.running else { return Ok(SourcePoll::Finished) };
        while self.decoder.len() < running.context.batch_rows_max
            && let Some(datagram) = running.inlet.try_recv()
        {
            running.context.metrics.rows_in.add(1);
            running.context.metrics.bytes_in.add(datagram.len() as u64);
            self.decoder.push(&datagram, &running.errors)?;
        }
        if !self.decoder.is_empty() {
            // A datagram that cannot be decoded is counted and with the dead letters; the others are rows.
            out.emit(Batch::new(self.decoder.flush(&running.errors)?.rows))?;
            return Ok(SourcePoll::Ready);
        }
        match &running.task {
            // The inlet rings the worker when there is more.
            Some(_) if !running.inlet.is_closed() => Ok(SourcePoll::Waiting),
            Some(_) => Err(Error::unavailable(format!("the socket on {} is gone", self.address))),
            None => Ok(SourcePoll::Finished),
        }
    }

    /// Takes nothing new, and gives what was taken.
    fn stop(&mut self) -> Stop {
        if let Some(running) = &mut self.running {
            running.task = None;
        }
        Stop::WhenFinished
    }
}

/// Runs a query over some datagrams.
pub fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let sensor = UdpSocket::bind("127.0.0.1:0")?;
    let address = UdpSocket::bind("127.0.0.1:0")?.local_addr()?;
    let mut builder = Pipeline::builder().connector(Arc::new(Udp));
    let rows = builder.result();
    let pipeline = builder
        .variables(move |name| (name == "ADDRESS").then(|| address.to_string()))
        .sql(
            "CREATE TABLE boiler (pressure DOUBLE, valve STRING)
             WITH ('connector' = 'udp', 'address' = '${ADDRESS}', 'format' = 'json');
             SELECT valve, pressure FROM boiler WHERE pressure > 3",
        )
        .start()?;
    for datagram in [r#"{"pressure":2.5,"valve":"a"}"#, "no JSON", r#"{"pressure":3.5,"valve":"b"}"#] {
        sensor.send_to(datagram.as_bytes(), address)?;
    }
    let batch = rows.recv().ok_or("no row came")?;
    let (valves, pressures) =
        (batch.rows.column(0).as_string::<i32>(), batch.rows.column(1).as_primitive::<Float64Type>());
    println!("valve {} is at {} bar", valves.value(0), pressures.value(0));
    assert_eq!((valves.value(0), pressures.value(0)), ("b", 3.5));
    let letters = pipeline.dead_letters().last();
    println!("dead letter: {:?}: {}", String::from_utf8_lossy(&letters[0].payload), letters[0].error);
    pipeline.drain();
    pipeline.wait()?;
    Ok(())
}
