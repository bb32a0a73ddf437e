//! The worker's side of writing exactly once: an epoch's messages are gathered, handed over with its checkpoint, and
//! written in one transaction when that is complete (committer.rs).
//!
//! Invariants: every message is in the open output, in one that a checkpoint holds, or in the topic behind a committed
//! transaction; the checkpoint holds all that are not known to be written. At 'outlet.max-bytes' of such messages the
//! sink is not ready and asks for a checkpoint; brokers that are away are waited for, checkpoints go on until as
//! much has gathered, and then wait too. A reader with `isolation.level=read_committed` sees each message once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};

use rdkafka::config::ClientConfig;
use rdkafka::producer::{Producer, ThreadedProducer};

use millstream_engine::element::Epoch;
use millstream_engine::keys::hash_bytes;
use millstream_engine::outbox::{self, Outbox};
use millstream_engine::state::{StateReader, StateWriter};
use millstream_engine::{Batch, Error, InstanceContext, Ready, Result, Sink, failpoint};

use super::committer::{Committer, Former, Shared};
use super::flight::Quiet;
use super::messages::Messages;
use super::output::{Message, OpenOutput, Output, Owner};
use super::prepare::{Ask, Preparation};
use super::sink::partitions;
use super::transaction::Surroundings;
use super::watch::Watch;
use super::writing::Writing;

/// One instance of a Kafka sink that delivers exactly once.
pub(super) struct ExactlyOnceSink {
    writing: Arc<Writing>,
    messages: Messages,
    /// Handed over at a barrier, and not known to be written.
    handed_over: Vec<Output>,
    /// The last epoch that was complete: up to here outputs are with the thread.
    complete: Epoch,
    running: Option<Running>,
}

struct Running {
    owner: Owner,
    open: OpenOutput,
    formers: BTreeMap<String, Former>,
    around: Surroundings,
    shared: Arc<Shared>,
    preparation: Preparation,
    context: InstanceContext,
    /// To the thread, once it is started.
    committer: Option<Sender<Output>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.around.is_stopping.store(true, Ordering::Release);
    }
}

impl ExactlyOnceSink {
    /// A sink that is still to be opened.
    ///
    /// # Errors
    /// If a format cannot encode the columns.
    pub fn new(writing: Arc<Writing>) -> Result<Self> {
        let messages = Messages::new(Arc::clone(&writing))?;
        Ok(Self { writing, messages, handed_over: Vec::new(), complete: 0, running: None })
    }

    /// The running parts, with the thread started: by then it is known whether there was a restore.
    fn running(&mut self) -> Result<&mut Running> {
        let running =
            self.running.as_mut().ok_or_else(|| Error::internal("the Kafka sink was not opened"))?;
        running.shared.check()?;
        if running.committer.is_none() {
            let (sender, outputs) = channel();
            let committer = Committer {
                around: running.around.clone(),
                shared: Arc::clone(&running.shared),
                owner: running.owner.clone(),
                formers: std::mem::take(&mut running.formers),
                outputs,
            };
            std::thread::Builder::new()
                .name("millstream-kafka".to_owned())
                .spawn(move || committer.run())
                .map_err(|error| {
                    Error::unavailable(format!("the thread that writes does not start: {error}"))
                })?;
            running.committer = Some(sender);
        }
        Ok(running)
    }

    /// Whether the topic has all of `output`.
    fn is_written(&self, output: &Output) -> bool {
        let written =
            self.running.as_ref().map_or(0, |running| running.shared.written.load(Ordering::Acquire));
        output.epoch <= if output.is_empty() { self.complete } else { written }
    }

    /// Lets go of outputs that the topic has.
    fn forget_written(&mut self) {
        let outputs = std::mem::take(&mut self.handed_over);
        self.handed_over = outputs.into_iter().filter(|output| !self.is_written(output)).collect();
    }

    /// Bytes of messages that are not known to be written.
    fn held_bytes(&self) -> usize {
        let waiting = self.handed_over.iter().filter(|output| !self.is_written(output));
        self.running.as_ref().map_or(0, |running| running.open.num_bytes())
            + waiting.map(|output| output.bytes.len()).sum::<usize>()
    }

    fn hand_over(&mut self, epoch: Epoch, state: &mut StateWriter) -> Result<Ready> {
        let running = self.running()?;
        if !running.shared.is_recovered.load(Ordering::Acquire) {
            return Ok(Ready::NotYet);
        }
        let open = std::mem::replace(&mut running.open, OpenOutput::new(&running.owner));
        let is_known = running.shared.has_committed.load(Ordering::Acquire);
        self.forget_written();
        // One that is empty too: the next run learns from it whose the output is.
        self.handed_over.push(open.close(epoch, is_known));
        self.handed_over.iter().for_each(|output| state.put_blob(output.bytes.clone()));
        failpoint::hit("kafka-handed-over");
        Ok(Ready::Yes)
    }
}

impl Sink for ExactlyOnceSink {
    fn open(&mut self, context: &InstanceContext) -> Result<()> {
        let writing = &self.writing;
        if !context.is_durable() {
            return Err(Error::config("exactly-once delivery needs the pipeline's state to be on disk")
                .at(&writing.table)
                .remedy("run it with --state FOLDER, or use 'sink.delivery-guarantee' = 'at-least-once'"));
        }
        let prefix = writing.transactional_id_prefix.as_deref().unwrap_or_default();
        let id = format!("{prefix}-{}-{}", context.metrics.operator, context.instance);
        let instance = u32::try_from(context.instance).unwrap_or(u32::MAX);
        let born = format!("{id} {} {}", context.clock.now_ms(), std::process::id());
        let owner = Owner { id, lineage: hash_bytes(born.as_bytes()), instance };
        let watch = Watch::new(&writing.table, &writing.properties.brokers, &writing.told, context);
        let shared = Shared::new(Arc::clone(&context.waker));
        let mut config = ClientConfig::new();
        writing.properties.producer().for_each(|(key, value)| {
            config.set(key, value);
        });
        let asking: ThreadedProducer<Quiet> =
            config.create_with_context(Quiet(Arc::clone(&watch))).map_err(|error| {
                Error::config(format!("Kafka's client does not start: {error}")).at(&writing.table)
            })?;
        let topic = writing.topic.clone();
        let ask: Ask = Arc::new(move || partitions(asking.client(), &topic));
        let failing = Arc::clone(&shared);
        let preparation =
            Preparation::start(writing.formats(), (ask, writing.is_fixed), context, &watch, move |error| {
                failing.fail(error)
            })?;
        let around = Surroundings {
            writing: Arc::clone(writing),
            watch,
            clock: Arc::clone(&context.clock),
            errors: context.row_errors(writing.on_error),
            is_stopping: Arc::new(AtomicBool::new(false)),
        };
        self.running = Some(Running {
            open: OpenOutput::new(&owner),
            owner,
            formers: BTreeMap::new(),
            around,
            shared,
            preparation,
            context: context.clone(),
            committer: None,
        });
        Ok(())
    }

    fn restore(&mut self, state: &StateReader) -> Result<()> {
        let running =
            self.running.as_mut().ok_or_else(|| Error::internal("the Kafka sink was not opened"))?;
        let context = &running.context;
        outbox::leave(context, state)?;
        for blob in state.blobs().filter(|blob| !Outbox::is_snapshot(blob)) {
            let (owner, is_known, output) = Output::read(blob)?;
            if owner.instance as usize % context.parallelism != context.instance {
                continue;
            }
            running.formers.entry(owner.id).or_default().add(owner.lineage, is_known, output);
        }
        if let Some(own) = running.formers.get(&running.owner.id) {
            running.owner.lineage = own.lineage;
            running.shared.has_committed.store(own.is_known, Ordering::Release);
            running.open = OpenOutput::new(&running.owner);
        }
        self.running().map(|_| ())
    }

    fn write(&mut self, batch: Batch) -> Result<()> {
        self.running()?;
        let Self { writing, messages, running, .. } = self;
        let Some(running) = running else { return Ok(()) };
        let partitions = running.preparation.partitions().max(1);
        let partition = writing.is_fixed.then_some((running.context.instance % partitions) as i32);
        messages.each(&batch, |key, payload| running.open.push(&Message { partition, key, payload }))?;
        let held = self.held_bytes() as u64;
        if let Some(running) = &self.running {
            running.context.metrics.queue_bytes.store(held, Ordering::Relaxed);
        }
        Ok(())
    }

    fn is_ready(&self) -> bool {
        // After a failure the next write, which reports it, is not kept out.
        self.running.as_ref().is_some_and(|running| {
            let has_room = self.held_bytes() < self.writing.outlet_bytes_max;
            (running.preparation.is_done() && has_room) || running.shared.has_failed()
        })
    }

    fn wants_checkpoint(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.preparation.is_done() && !running.open.is_empty())
    }

    fn on_quiet(&mut self) -> Result<()> {
        self.running().map(|_| ())
    }

    fn on_barrier(&mut self, epoch: Epoch, state: &mut StateWriter) -> Result<Ready> {
        self.hand_over(epoch, state)
    }

    fn on_checkpoint_complete(&mut self, epoch: Epoch) -> Result<()> {
        let before = std::mem::replace(&mut self.complete, epoch);
        let is_new = |output: &&Output| (before + 1..=epoch).contains(&output.epoch) && !output.is_empty();
        let outputs: Vec<Output> = self.handed_over.iter().filter(is_new).cloned().collect();
        let running = self.running()?;
        for output in outputs {
            if let Some(committer) = &running.committer
                && committer.send(output).is_err()
            {
                running.shared.check()?;
                return Err(Error::internal("the thread that writes to Kafka has died"));
            }
        }
        Ok(())
    }

    fn on_end(&mut self, epoch: Epoch, state: &mut StateWriter) -> Result<Ready> {
        self.hand_over(epoch, state)
    }

    fn is_committed(&self) -> Result<bool> {
        let Some(running) = &self.running else { return Ok(true) };
        running.shared.check()?;
        Ok(self.handed_over.iter().all(|output| self.is_written(output)))
    }
}
