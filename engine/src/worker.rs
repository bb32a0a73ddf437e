//! A worker thread: runs its stage instances, downstream first, and parks when none has anything to do.
//!
//! Invariants: a worker looks at every stage between being rung and parking; a failure or panic in one stage fails
//! the job that the stage belongs to, and no other. Each job has its own workers.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::clock::ClockRef;
use crate::error::{Error, Result};
use crate::job::Control;
use crate::park::Signal;
use crate::stage::{Progress, StageInstance, earlier};

pub(crate) struct Worker {
    /// Downstream first.
    pub stages: Vec<StageInstance>,
    pub signal: Arc<Signal>,
    pub control: Arc<Control>,
    pub clock: ClockRef,
}

impl Worker {
    /// Runs until every stage has finished, the job is stopped, or a stage fails.
    pub fn run(mut self) -> Result<()> {
        self.signal.own();
        loop {
            if self.control.is_stopped() {
                return Ok(());
            }
            let drain = self.control.is_draining();
            let (mut made, mut finished, mut wake) = (false, true, None);
            for stage in &mut self.stages {
                match guarded(stage, drain)? {
                    Progress::Made => {
                        made = true;
                        finished = false;
                    }
                    Progress::Waiting(time) => {
                        finished = false;
                        wake = earlier(wake, time);
                    }
                    Progress::Finished => {}
                }
            }
            if finished {
                return Ok(());
            }
            if !made {
                self.signal.park(wake.map(|time| self.clock.sleep_for(time)));
            }
        }
    }
}

/// Runs a stage, and turns a panic into an error that names it.
fn guarded(stage: &mut StageInstance, drain: bool) -> Result<Progress> {
    catch_unwind(AssertUnwindSafe(|| stage.run(drain)))
        .unwrap_or_else(|panic| Err(panicked(&format!("in stage [{}]", stage.name), panic.as_ref())))
}

/// A panic as an error.
pub(crate) fn panicked(place: &str, panic: &(dyn Any + Send)) -> Error {
    let said = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned());
    Error::internal(format!("panic {place}: {said}"))
        .remedy("this is a defect of Millstream's: please report it with the query")
}
