//! A table as requests see it: its path, its limits, the inlet to its worker, and how many requests are under way.
//!
//! Invariant: once a route is stopping, no request is admitted, and the count of those [`InProgress`] only falls; a
//! request is in it from before its rows enter the inlet until its answer is written. So a count of zero means that
//! everybody who was promised an answer has it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use millstream_engine::io::InletSender;
use millstream_engine::{Codec, InstanceContext};
use parking_lot::RwLock;
use tokio::sync::watch;

use super::settings::{Settings, Tls};
use super::ticket::Posted;

/// One table that can be posted to.
pub(super) struct Route {
    pub settings: Arc<Settings>,
    pub codec: Arc<dyn Codec>,
    pub wants_headers: bool,
    pub inlet: InletSender<Posted>,
    pub context: InstanceContext,
    stopping: AtomicBool,
    in_progress: AtomicUsize,
}

impl Route {
    pub fn new(
        settings: Arc<Settings>,
        codec: Arc<dyn Codec>,
        wants_headers: bool,
        inlet: InletSender<Posted>,
        context: InstanceContext,
    ) -> Self {
        let (stopping, in_progress) = Default::default();
        Self { settings, codec, wants_headers, inlet, context, stopping, in_progress }
    }

    /// Takes nothing new.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Counts a request as under way; `None` when the route is stopping.
    pub fn admit(self: &Arc<Self>) -> Option<InProgress> {
        // Counted first, so that whoever sees no request after `stop` can be sure that none comes.
        self.in_progress.fetch_add(1, Ordering::SeqCst);
        let admitted = InProgress { route: Arc::clone(self) };
        (!self.is_stopping()).then_some(admitted)
    }

    /// Requests under way.
    pub fn in_progress(&self) -> usize {
        self.in_progress.load(Ordering::SeqCst)
    }
}

/// A request that is under way until this is dropped.
pub(super) struct InProgress {
    route: Arc<Route>,
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.route.in_progress.fetch_sub(1, Ordering::SeqCst);
        if self.route.is_stopping() {
            self.route.context.waker.notify();
        }
    }
}

/// All tables at one address.
pub(super) struct Routes {
    /// What all of them speak.
    pub tls: Option<Tls>,
    pub all: RwLock<Vec<Arc<Route>>>,
    /// Changed when one begins to stop or the last is gone: connections at rest are closed then.
    pub stopping: watch::Sender<()>,
}

impl Routes {
    pub fn new(tls: Option<Tls>) -> Self {
        Self { tls, all: RwLock::default(), stopping: watch::Sender::new(()) }
    }

    /// The table that `path` belongs to: the one with that very path, or else the one with the longest above it.
    pub fn find(&self, path: &str) -> Option<Arc<Route>> {
        let all = self.all.read();
        let fits = all.iter().filter_map(|route| Some((route.settings.path.fit(path)?, route)));
        fits.max_by_key(|(fit, _)| *fit).map(|(_, route)| Arc::clone(route))
    }
}
