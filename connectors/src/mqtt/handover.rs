//! The worker's end of a sink's task: messages go to it straight, through an outlet bounded in bytes, or with state on disk
//! and QoS 1 through an outbox, which fills the outlet.
//!
//! Invariants: straight, a barrier passes when the task has settled all before it; through the outbox, when all is safe on
//! disk. The task leaves why it failed before what it holds goes, so a drained outlet with no failure means that everything
//! was seen to. It ends when the connection is closed after the last message, or with its sink.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use millstream_engine::dead_letter::RowErrors;
use millstream_engine::element::Epoch;
use millstream_engine::io::{OutletSender, outlet};
use millstream_engine::outbox::{self, Outbox};
use millstream_engine::state::{StateReader, StateWriter};
use millstream_engine::{Error, InstanceContext, Ready, Result, Task};

use super::MQTT;
use super::packets::Publication;
use super::publish::{Publisher, Sending};
use super::stored;
use super::waiting::Messages;

/// See the module's page.
pub(super) struct Handover {
    // Dropped before the task: the outbox's pump holds the task's outlet.
    way: Way,
    shared: Arc<Shared>,
    task: Task,
    context: InstanceContext,
}

/// How messages come to the task.
enum Way {
    /// The outlet is there until [`Handover::close`].
    Straight(Option<OutletSender<Messages>>),
    Outbox(Box<Outbox>, Vec<u8>),
}

/// What the worker and the task tell each other.
#[derive(Default)]
pub(super) struct Shared {
    pub failure: Mutex<Option<Error>>,
    /// Rows can be encoded.
    pub prepared: AtomicBool,
    /// The sink ends well: the task says goodbye to the broker. Where it is dropped before that, the job has failed, and the
    /// broker is to publish the will.
    pub is_ending: AtomicBool,
    /// The task has nothing more to do.
    pub ended: AtomicBool,
}

impl Handover {
    /// Starts the task.
    pub fn start(sending: Arc<Sending>, client_id: &str, context: &InstanceContext) -> Result<Self> {
        let outbox = Outbox::of(context, MQTT, sending.outbox)?;
        let room = outbox.as_ref().map_or_else(|| Arc::clone(&context.waker), Outbox::signal);
        let outlet_bytes_max = sending.outlet_bytes_max;
        let (sender, receiver) = outlet(outlet_bytes_max, room);
        let shared = Arc::<Shared>::default();
        // Most formats need nothing from elsewhere, and their first row must not wait for the task to say so.
        let needs_nothing = sending.codec.prepare_encoder(&sending.payload_schema).is_none();
        shared.prepared.store(needs_nothing, Ordering::Release);
        let publisher = Publisher::new(sending, client_id, receiver, Arc::clone(&shared), context);
        let task = context.spawn(publisher.run())?;
        let way = match outbox {
            None => Way::Straight(Some(sender)),
            Some(mut outbox) => {
                outbox.send_into(sender, outlet_bytes_max);
                Way::Outbox(Box::new(outbox), Vec::new())
            }
        };
        Ok(Self { way, shared, task, context: context.clone() })
    }

    /// Hands messages over; never refused for lack of room.
    pub fn send(&mut self, publications: Vec<Publication>) -> Result<()> {
        self.check()?;
        match &mut self.way {
            Way::Straight(Some(outlet)) => {
                let bytes = publications.iter().map(Publication::num_bytes).sum();
                outlet.send(Messages { publications, ticket: None }, bytes)
            }
            Way::Straight(None) => Err(Error::internal("a row was written after the end")),
            Way::Outbox(outbox, record) => {
                for publication in &publications {
                    stored::write(record, publication);
                    outbox.put(&publication.topic, record);
                }
                Ok(())
            }
        }
    }

    /// True when what the format needs to encode rows has come.
    pub fn is_prepared(&self) -> bool {
        self.shared.prepared.load(Ordering::Acquire)
    }

    /// True while there is room.
    pub fn is_ready(&self) -> bool {
        match &self.way {
            Way::Straight(outlet) => outlet.as_ref().is_some_and(OutletSender::is_ready),
            Way::Outbox(outbox, _) => outbox.has_room(),
        }
    }

    /// True when there is no room, and a checkpoint would make some.
    pub fn wants_checkpoint(&self) -> bool {
        matches!(&self.way, Way::Outbox(outbox, _) if outbox.wants_checkpoint())
    }

    /// What ended the task, if it has ended.
    pub fn check(&self) -> Result<()> {
        // In this order: the failure is left, and a proper end said, before the task ends.
        let has_ended = self.task.is_finished();
        match self.shared.failure.lock().clone() {
            Some(error) => Err(error),
            None if has_ended && !self.shared.ended.load(Ordering::Acquire) => {
                Err(Error::internal("the MQTT delivery task has died"))
            }
            None => Ok(()),
        }
    }

    /// The worker comes by.
    pub fn attend(&mut self, errors: &RowErrors) -> Result<()> {
        match &mut self.way {
            Way::Straight(_) => Ok(()),
            Way::Outbox(outbox, _) => {
                outbox.attend(errors)?;
                self.check()
            }
        }
    }

    /// Goes on from what [`Handover::on_barrier`] wrote.
    pub fn restore(&mut self, state: &StateReader) -> Result<()> {
        match &mut self.way {
            Way::Straight(_) => outbox::leave(&self.context, state),
            Way::Outbox(outbox, _) => outbox.restore(state),
        }
    }

    /// Whether all that was handed over is settled, or safe on disk.
    pub fn on_barrier(&mut self, epoch: Epoch, state: &mut StateWriter, errors: &RowErrors) -> Result<Ready> {
        let is_ready = match &mut self.way {
            Way::Outbox(outbox, _) => return outbox.on_barrier(epoch, state, errors),
            // In this order: what a dying task drops looks drained, but its failure is left before.
            Way::Straight(outlet) => outlet.as_ref().is_none_or(OutletSender::is_drained),
        };
        self.check()?;
        Ok(if is_ready { Ready::Yes } else { Ready::NotYet })
    }

    /// `epoch` is complete.
    pub fn on_checkpoint_complete(&mut self, epoch: Epoch) -> Result<()> {
        match &mut self.way {
            Way::Straight(_) => Ok(()),
            Way::Outbox(outbox, _) => outbox.on_checkpoint_complete(epoch),
        }
    }

    /// What ends is not the job's failure.
    pub fn ends_well(&self) {
        self.shared.is_ending.store(true, Ordering::Release);
    }

    /// Nothing more will come: waits until all is settled and the connection closed. What an outbox cannot send is left to
    /// the next run.
    pub fn on_end(&mut self, epoch: Epoch, state: &mut StateWriter, errors: &RowErrors) -> Result<Ready> {
        let is_settled = match &mut self.way {
            Way::Straight(_) => self.on_barrier(epoch, state, errors)?,
            Way::Outbox(outbox, _) => outbox.on_end(epoch, state, errors)?,
        };
        if is_settled == Ready::NotYet {
            return Ok(Ready::NotYet);
        }
        self.ends_well();
        match &mut self.way {
            Way::Straight(outlet) => *outlet = None,
            Way::Outbox(outbox, _) if outbox.is_empty() => outbox.stop_sending(),
            // The broker is away, or does not answer.
            Way::Outbox(..) => return Ok(Ready::Yes),
        }
        self.check()?;
        // The worker is rung once more when the connection is closed.
        Ok(if self.shared.ended.load(Ordering::Acquire) { Ready::Yes } else { Ready::NotYet })
    }
}
