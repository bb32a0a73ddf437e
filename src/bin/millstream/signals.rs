//! SIGINT and SIGTERM, and the end of the pipeline, as one queue of events. SIGPIPE is left ignored, as Rust does: a
//! write to a closed pipe is an error the output sink turns into a quiet end.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use millstream::Pipeline;
use millstream::engine::Error;
use parking_lot::Mutex;
use tokio::signal::unix::{SignalKind, signal};

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT or SIGTERM.
    Interrupt,
    /// The pipeline has ended.
    Ended,
}

/// See the module's page.
pub struct Signals {
    sender: Sender<Signal>,
    receiver: Mutex<Receiver<Signal>>,
}

impl Signals {
    /// Takes over SIGINT and SIGTERM.
    pub fn new() -> Result<Self, Error> {
        let (sender, receiver) = channel();
        let unavailable =
            |error: std::io::Error| Error::unavailable(format!("signals cannot be handled: {error}"));
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(unavailable)?;
        let (mut interrupt, mut terminate) = {
            let _guard = runtime.enter();
            let interrupt = signal(SignalKind::interrupt()).map_err(unavailable)?;
            (interrupt, signal(SignalKind::terminate()).map_err(unavailable)?)
        };
        let events = sender.clone();
        let listen = move || {
            runtime.block_on(async move {
                loop {
                    let _ =
                        tokio::select! { seen = interrupt.recv() => seen, seen = terminate.recv() => seen };
                    if events.send(Signal::Interrupt).is_err() {
                        return;
                    }
                }
            });
        };
        std::thread::Builder::new().name("signals".into()).spawn(listen).map_err(unavailable)?;
        Ok(Self { sender, receiver: Mutex::new(receiver) })
    }

    /// The next event.
    pub fn wait(&self) -> Signal {
        self.receiver.lock().recv().unwrap_or(Signal::Ended)
    }

    /// The next event, if it comes within `limit`.
    pub fn wait_for(&self, limit: std::time::Duration) -> Option<Signal> {
        self.receiver.lock().recv_timeout(limit).ok()
    }

    /// Turns the pipeline's end into an event.
    pub fn wake_when_done(&self, pipeline: Arc<Pipeline>) -> Watcher {
        let events = self.sender.clone();
        let wait = move || {
            let _ = pipeline.wait();
            let _ = events.send(Signal::Ended);
        };
        Watcher { thread: std::thread::Builder::new().name("end".into()).spawn(wait).ok() }
    }
}

/// Waits for its thread when dropped; the pipeline has ended by then.
pub struct Watcher {
    thread: Option<JoinHandle<()>>,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
