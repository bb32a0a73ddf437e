//! The worker's side of writing at least once: rows become messages, which go to librdkafka's idempotent producer, or with
//! state on disk into an outbox.
//!
//! Invariants: every row written is in one message. Straight, its bytes count as in flight (flight.rs) until the brokers have
//! acknowledged it, or it is with the dead letters; at 'outlet.max-bytes' the sink is not ready, and a barrier and the end
//! wait until nothing is in flight. Through an outbox, which has one instance, they wait for the disk, and the sink is not
//! ready at 'outbox.max-bytes'; the state is the outbox's. A checkpoint that was to be delivered exactly once
//! (exactly_once.rs) has messages, which are written again. What is away is waited for, in order, for ever
//! or for as long as 'properties.delivery.timeout.ms' says, and then fails the job: a row is never lost unsaid.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::client::Client;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::metadata::MetadataTopic;

use millstream_engine::element::Epoch;
use millstream_engine::outbox::{self, Outbox};
use millstream_engine::state::{StateReader, StateWriter};
use millstream_engine::{Batch, Error, InstanceContext, Ready, Result, Sink};

use crate::delivery::{self, Failure};

use super::KAFKA;
use super::consignment::Consignment;
use super::flight::Flight;
use super::forward::Forwarder;
use super::messages::Messages;
use super::output::{Message, Output};
use super::prepare::Preparation;
use super::producer::Producer;
use super::stored::OpenRecord;
use super::watch::Watch;
use super::writing::Writing;

/// How long one question to the brokers may take.
const REQUEST: Duration = Duration::from_secs(5);

/// One instance of a Kafka sink.
pub(super) struct KafkaSink {
    writing: Arc<Writing>,
    messages: Messages,
    running: Option<Running>,
}

struct Running {
    way: Way,
    flight: Arc<Flight>,
    preparation: Preparation,
    context: InstanceContext,
}

/// How messages come to the producer.
enum Way {
    Straight(Arc<Producer>),
    // The outbox is dropped first: its pump holds the task's outlet.
    Outbox(Box<Behind>, delivery::Running),
}

/// What stands in front of the task.
struct Behind {
    outbox: Outbox,
    record: OpenRecord,
    /// What a checkpoint has of a sink that delivered exactly once, until the outbox can take it.
    restored: Vec<Output>,
}

impl Behind {
    /// Puts in what was restored.
    fn take_over(&mut self, topic: &str) -> Result<()> {
        for output in std::mem::take(&mut self.restored) {
            output.messages().try_for_each(|message| self.record.push(&message?, &mut self.outbox, topic))?;
            self.record.close(&mut self.outbox, topic);
        }
        Ok(())
    }
}

impl KafkaSink {
    /// A sink that is still to be opened.
    ///
    /// # Errors
    /// If a format cannot encode the columns.
    pub fn new(writing: Arc<Writing>) -> Result<Self> {
        let messages = Messages::new(Arc::clone(&writing))?;
        Ok(Self { writing, messages, running: None })
    }

    fn running(&mut self) -> Result<&mut Running> {
        let running =
            self.running.as_mut().ok_or_else(|| Error::internal("the Kafka sink was not opened"))?;
        running.flight.check()?;
        Ok(running)
    }
}

impl Running {
    fn drained(&self) -> Result<Ready> {
        let is_drained = self.flight.is_empty();
        // A failure is stored before its bytes are taken off, so this look finds it.
        self.flight.check()?;
        Ok(if is_drained { Ready::Yes } else { Ready::NotYet })
    }
}

impl Sink for KafkaSink {
    fn open(&mut self, context: &InstanceContext) -> Result<()> {
        let writing = &self.writing;
        let watch = Watch::new(&writing.table, &writing.properties.brokers, &writing.told, context);
        let flight = Flight::new(writing, watch, context);
        let outbox = Outbox::of(context, KAFKA, writing.outbox)?;
        let producer = Arc::new(Producer::start(writing, &flight, outbox.is_some())?);
        let failing = Arc::clone(&flight);
        let fail = move |error| failing.fail(error);
        // The one instance behind an outbox writes to the first partition, however many there are.
        let is_counting = writing.is_fixed && outbox.is_none();
        let preparation = Preparation::start(
            writing.formats(),
            (producer.ask(), is_counting),
            context,
            &flight.watch,
            fail,
        )?;
        let way = match outbox {
            None => Way::Straight(producer),
            Some(mut outbox) => {
                let outlet_bytes_max = writing.outlet_bytes_max;
                let (task, outlet) = delivery::Running::start(
                    "a Kafka sink",
                    outlet_bytes_max,
                    outbox.signal(),
                    Failure::default(),
                    context,
                    Forwarder { producer },
                )?;
                outbox.send_into(outlet, outlet_bytes_max);
                let behind = Behind { outbox, record: OpenRecord::default(), restored: Vec::new() };
                Way::Outbox(Box::new(behind), task)
            }
        };
        self.running = Some(Running { way, flight, preparation, context: context.clone() });
        Ok(())
    }

    fn write(&mut self, batch: Batch) -> Result<()> {
        let Self { writing, messages, running, .. } = self;
        let Some(Running { way, flight, preparation, context }) = running else {
            return Err(Error::internal("the Kafka sink was not opened"));
        };
        flight.check()?;
        let partitions = preparation.partitions().max(1);
        let partition = writing.is_fixed.then_some((context.instance % partitions) as i32);
        match way {
            Way::Straight(producer) => {
                let consignment = Consignment::straight(flight);
                messages.each(&batch, |key, payload| {
                    producer.send(&Message { partition, key, payload }, &consignment)
                })?;
                flight.show();
            }
            Way::Outbox(behind, task) => {
                task.check()?;
                let Behind { outbox, record, .. } = behind.as_mut();
                messages.each(&batch, |key, payload| {
                    record.push(&Message { partition, key, payload }, outbox, &writing.topic)
                })?;
                record.close(outbox, &writing.topic);
            }
        }
        Ok(())
    }

    fn restore(&mut self, state: &StateReader) -> Result<()> {
        let Some(Running { way, flight, context, .. }) = &mut self.running else { return Ok(()) };
        let mut outputs = Vec::new();
        for blob in state.blobs().filter(|blob| !Outbox::is_snapshot(blob)) {
            let (owner, _, output) = Output::read(blob)?;
            if owner.instance as usize % context.parallelism == context.instance {
                outputs.push(output);
            }
        }
        match way {
            Way::Straight(producer) => {
                outbox::leave(context, state)?;
                let consignment = Consignment::straight(flight);
                for output in outputs {
                    output.messages().try_for_each(|message| producer.send(&message?, &consignment))?;
                }
                Ok(())
            }
            Way::Outbox(behind, _) => {
                behind.restored = outputs;
                behind.outbox.restore(state)
            }
        }
    }

    fn is_ready(&self) -> bool {
        // After a failure the next write, which reports it, is not kept out.
        self.running.as_ref().is_some_and(|Running { way, flight, preparation, .. }| {
            let has_room = match way {
                Way::Straight(_) => flight.has_room(),
                Way::Outbox(behind, _) => behind.outbox.has_room(),
            };
            (preparation.is_done() && has_room) || flight.has_failed()
        })
    }

    fn wants_checkpoint(&self) -> bool {
        let way = self.running.as_ref().map(|running| &running.way);
        matches!(way, Some(Way::Outbox(behind, _)) if behind.outbox.wants_checkpoint())
    }

    fn attend(&mut self) -> Result<()> {
        let Some(Running { way: Way::Outbox(behind, task), flight, .. }) = &mut self.running else {
            return Ok(());
        };
        flight.check()?;
        task.check()?;
        behind.outbox.attend(&flight.errors)?;
        behind.take_over(&self.writing.topic)
    }

    fn on_quiet(&mut self) -> Result<()> {
        self.running().map(|_| ())
    }

    fn on_barrier(&mut self, epoch: Epoch, state: &mut StateWriter) -> Result<Ready> {
        let waits = self.writing.waits;
        let running = self.running()?;
        match &mut running.way {
            Way::Straight(_) if waits => running.drained(),
            Way::Straight(_) => Ok(Ready::Yes),
            Way::Outbox(behind, _) => behind.outbox.on_barrier(epoch, state, &running.flight.errors),
        }
    }

    fn on_checkpoint_complete(&mut self, epoch: Epoch) -> Result<()> {
        match &mut self.running()?.way {
            Way::Straight(_) => Ok(()),
            Way::Outbox(behind, _) => behind.outbox.on_checkpoint_complete(epoch),
        }
    }

    fn on_end(&mut self, epoch: Epoch, state: &mut StateWriter) -> Result<Ready> {
        let running = self.running()?;
        match &mut running.way {
            Way::Straight(_) => running.drained(),
            Way::Outbox(behind, _) => behind.outbox.on_end(epoch, state, &running.flight.errors),
        }
    }
}

/// How many partitions `topic` has, as the brokers answer.
pub(super) fn partitions<C: ClientContext>(client: &Client<C>, topic: &str) -> KafkaResult<usize> {
    let metadata = client.fetch_metadata(Some(topic), REQUEST)?;
    let found = metadata.topics().first();
    match found.and_then(MetadataTopic::error) {
        Some(error) => Err(KafkaError::MetadataFetch(error.into())),
        None => Ok(found.map_or(0, |topic| topic.partitions().len())),
    }
}

/// Checks the settings without brokers: librdkafka connects in the background.
///
/// # Errors
/// If librdkafka does not take a property.
pub(super) fn check<'a>(table: &str, pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Result<()> {
    let mut config = ClientConfig::new();
    pairs.for_each(|(key, value)| {
        config.set(key, value);
    });
    config.create_native_config().map(|_| ()).map_err(|error| match error {
        // Only the name: the value may be a secret.
        KafkaError::ClientConfig(_, _, key, _) => {
            Error::config(format!("librdkafka does not take the value of 'properties.{key}'")).at(table)
        }
        other => Error::config(other.to_string()).at(table),
    })
}
