//! How a sink's items come to the task that delivers them, straight or through an outbox: postgres and webhook.
//!
//! Invariants: straight, a barrier passes when the outlet is drained and no failure was left, so that everything was seen to;
//! through an outbox, when everything is safe there. The task is delivery.rs's.

use std::sync::Arc;

use millstream_engine::dead_letter::RowErrors;
use millstream_engine::element::Epoch;
use millstream_engine::io::OutletSender;
use millstream_engine::outbox::{self, Outbox};
use millstream_engine::state::{StateReader, StateWriter};
use millstream_engine::{InstanceContext, Ready, Result};

use crate::delivery::{DeliveryTask, Failure, Running};

/// The worker's end of a delivery task that it hands items itself.
pub(crate) struct Delivery<T> {
    pub outlet: OutletSender<T>,
    running: Running,
}

impl<T: Send + 'static> Delivery<T> {
    /// Starts `task`, which leaves its failures in `failure`, behind an outlet of `outlet_bytes_max`.
    pub fn start(
        what: &'static str,
        outlet_bytes_max: usize,
        failure: Failure,
        context: &InstanceContext,
        task: impl DeliveryTask<T>,
    ) -> Result<Self> {
        let room = Arc::clone(&context.waker);
        let (running, outlet) = Running::start(what, outlet_bytes_max, room, failure, context, task)?;
        Ok(Self { outlet, running })
    }

    /// What ended the task, if it has ended.
    pub fn check(&self) -> Result<()> {
        self.running.check()
    }

    /// True when everything handed over is delivered or with the dead letters.
    pub fn is_drained(&self) -> Result<bool> {
        // In this order: what a dying task drops looks drained, but its failure is left before.
        let is_drained = self.outlet.is_drained();
        self.check()?;
        Ok(is_drained)
    }
}

/// How a sink's items come to its task.
pub(crate) enum Way<T> {
    Direct(Delivery<T>),
    // The outbox is dropped first: its pump holds the task's outlet.
    Outbox(Box<Outbox>, Running),
}

impl<T: Send + 'static> Way<T> {
    /// What ended the task, if it has ended.
    pub fn check(&self) -> Result<()> {
        match self {
            Self::Direct(delivery) => delivery.check(),
            Self::Outbox(_, task) => task.check(),
        }
    }

    /// True while there is room. After a failure the outlet is empty, so that the next write, which reports it, is not kept
    /// out.
    pub fn is_ready(&self) -> bool {
        match self {
            Self::Direct(delivery) => delivery.outlet.is_ready(),
            Self::Outbox(outbox, _) => outbox.has_room(),
        }
    }

    /// True when there is no room, and a checkpoint would make some.
    pub fn wants_checkpoint(&self) -> bool {
        matches!(self, Self::Outbox(outbox, _) if outbox.wants_checkpoint())
    }

    /// The worker comes by.
    pub fn attend(&mut self, errors: &RowErrors) -> Result<()> {
        match self {
            Self::Direct(_) => Ok(()),
            Self::Outbox(outbox, task) => {
                task.check()?;
                outbox.attend(errors)
            }
        }
    }

    /// Goes on from what [`Way::on_barrier`] wrote.
    pub fn restore(&mut self, context: &InstanceContext, state: &StateReader) -> Result<()> {
        match self {
            Self::Direct(_) => outbox::leave(context, state),
            Self::Outbox(outbox, _) => outbox.restore(state),
        }
    }

    /// Whether all that was handed over is seen to, or safe on disk.
    pub fn on_barrier(&mut self, epoch: Epoch, state: &mut StateWriter, errors: &RowErrors) -> Result<Ready> {
        match self {
            Self::Direct(delivery) => Ok(if delivery.is_drained()? { Ready::Yes } else { Ready::NotYet }),
            Self::Outbox(outbox, _) => outbox.on_barrier(epoch, state, errors),
        }
    }

    /// `epoch` is complete.
    pub fn on_checkpoint_complete(&mut self, epoch: Epoch) -> Result<()> {
        match self {
            Self::Direct(_) => Ok(()),
            Self::Outbox(outbox, _) => outbox.on_checkpoint_complete(epoch),
        }
    }

    /// Nothing more will come: whether all is seen to, or what is not is left to the next run.
    pub fn on_end(&mut self, epoch: Epoch, state: &mut StateWriter, errors: &RowErrors) -> Result<Ready> {
        match self {
            Self::Direct(_) => self.on_barrier(epoch, state, errors),
            Self::Outbox(outbox, task) => {
                task.check()?;
                outbox.on_end(epoch, state, errors)
            }
        }
    }
}
