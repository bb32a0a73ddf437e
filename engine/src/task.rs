//! A task on the I/O runtime that ends with its owner: a source's receiver, a sink's deliverer.
//!
//! The owner is a source or sink instance that lives on a worker; when the job ends, instances are dropped, and nothing
//! of theirs may go on reading a socket behind the job's back.

use tokio::task::AbortHandle;

/// Keeps a task running; dropped, it ends at its next `await`.
#[derive(Debug)]
#[must_use = "the task ends when this is dropped"]
pub struct Task(AbortHandle);

impl Task {
    pub(crate) fn new(handle: AbortHandle) -> Self {
        Self(handle)
    }

    /// True when it has ended.
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
