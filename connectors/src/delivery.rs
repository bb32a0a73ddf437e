//! A task that delivers what comes through an outlet: postgres, webhook, and kafka behind its outbox.
//!
//! Invariants: the task leaves why it failed before what it holds goes, so a drained outlet with no failure means that
//! everything was seen to; the first failure stays; the task ends with its sink. Items come from the sink's `write`, or
//! from its outbox (way.rs), and go to the task's own file (postgres/delivery.rs, webhook/dispatch.rs, kafka/forward.rs).

use std::future::Future;
use std::sync::Arc;

use parking_lot::Mutex;

use millstream_engine::io::{OutletReceiver, OutletSender, outlet};
use millstream_engine::park::Signal;
use millstream_engine::{Error, InstanceContext, Result, Task};

/// Why a task ended before its sink, if it did.
#[derive(Debug, Clone, Default)]
pub(crate) struct Failure(Arc<Mutex<Option<Error>>>);

impl Failure {
    /// Leaves why the job ends for the worker; the first reason stays.
    pub fn leave(&self, error: &Error) {
        self.0.lock().get_or_insert_with(|| error.clone());
    }
}

/// What sees to the items of an outlet.
pub(crate) trait DeliveryTask<T>: Send + 'static {
    /// Runs until the outlet ends.
    fn run(&mut self, outlet: &mut OutletReceiver<T>) -> impl Future<Output = Result<()>> + Send;
}

/// A delivery task that runs; it ends when dropped.
pub(crate) struct Running {
    /// What it is, for messages: `a webhook`.
    what: &'static str,
    failure: Failure,
    task: Task,
}

impl Running {
    /// Starts `task`, which leaves its failures in `failure`, behind an outlet of `outlet_bytes_max`; `room` is rung when
    /// that has room again.
    pub fn start<T: Send + 'static>(
        what: &'static str,
        outlet_bytes_max: usize,
        room: Arc<Signal>,
        failure: Failure,
        context: &InstanceContext,
        mut task: impl DeliveryTask<T>,
    ) -> Result<(Self, OutletSender<T>)> {
        let (sender, mut receiver) = outlet(outlet_bytes_max, room);
        let (left, waker) = (failure.clone(), Arc::clone(&context.waker));
        let run = async move {
            // The failure is left before the task and the outlet go: the worker must not find the outlet drained of
            // items that were dropped.
            if let Err(error) = task.run(&mut receiver).await {
                tracing::error!("{what} ends its job: {error}");
                left.leave(&error);
                waker.notify();
            }
        };
        let task = context.spawn(run)?;
        Ok((Self { what, failure, task }, sender))
    }

    /// What ended the task, if it has ended.
    pub fn check(&self) -> Result<()> {
        // In this order: the failure is left before the task ends.
        let has_ended = self.task.is_finished();
        match self.failure.0.lock().clone() {
            Some(error) => Err(error),
            None if has_ended => Err(Error::internal(format!("the delivery task of {} has died", self.what))),
            None => Ok(()),
        }
    }
}
