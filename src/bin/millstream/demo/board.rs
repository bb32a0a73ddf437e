//! What the demo has seen so far: alerts at the receiver, the hottest devices of the latest windows.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::thread::JoinHandle;

use hdrhistogram::Histogram;
use millstream::Puller;
use millstream::connectors::format::JsonEncoder;
use millstream::engine::ClockRef;
use millstream::engine::Encoder;
use parking_lot::Mutex;
use serde::Deserialize;

/// Alerts and devices shown.
pub const SHOWN: usize = 8;
/// Devices whose last window is remembered.
const WINDOWS_KEPT: usize = 64;
/// Ids remembered to tell repeated deliveries; the demo is not meant to run for days.
const IDS_MAX: usize = 1_000_000;

/// An alert as fleet.sql posts it.
#[derive(Debug, Clone, Deserialize)]
pub struct Alert {
    pub rule: String,
    pub site: String,
    pub device: String,
    pub at: String,
    pub temperature: f64,
    pub sent_us: Option<u64>,
}

/// A device in a window, as fleet.sql's SELECT gives it.
#[derive(Debug, Clone, Deserialize)]
pub struct Mean {
    pub site: String,
    pub device: String,
    pub mean: f64,
    pub peak: f64,
}

/// See the module's page.
pub struct Board {
    clock: ClockRef,
    seen: Mutex<Seen>,
}

/// What is shown.
#[derive(Clone)]
pub struct Seen {
    pub alerts: u64,
    /// Deliveries of an alert that had come already.
    pub repeated: u64,
    /// From publishing the reading to the receiver, in ns; of alerts about a single reading.
    pub latency: Option<Histogram<u64>>,
    pub latest: VecDeque<Alert>,
    pub hottest: Vec<Mean>,
    ids: HashSet<String>,
}

impl Board {
    pub fn new(clock: ClockRef) -> Self {
        // 1 us to 10 minutes at two digits.
        let latency = Histogram::new_with_bounds(1_000, 600_000_000_000, 2).ok();
        let seen = Seen {
            alerts: 0,
            repeated: 0,
            latency,
            latest: VecDeque::new(),
            hottest: Vec::new(),
            ids: HashSet::new(),
        };
        Self { clock, seen: Mutex::new(seen) }
    }

    /// An alert has arrived.
    pub fn deliver(&self, id: &str, alert: Alert) {
        let now_us = self.clock.monotonic_ns() / 1_000;
        let mut seen = self.seen.lock();
        if seen.ids.len() < IDS_MAX && !seen.ids.insert(id.to_owned()) {
            seen.repeated += 1;
            return;
        }
        seen.alerts += 1;
        if let (Some(sent_us), Some(latency)) = (alert.sent_us, &mut seen.latency) {
            latency.saturating_record(now_us.saturating_sub(sent_us).max(1) * 1_000);
        }
        seen.latest.push_front(alert);
        seen.latest.truncate(SHOWN);
    }

    /// Windows have closed. Each device keeps the place of its last one.
    pub fn windows(&self, means: Vec<Mean>) {
        let mut seen = self.seen.lock();
        for mean in means {
            seen.hottest.retain(|known| known.device != mean.device);
            seen.hottest.push(mean);
        }
        // Devices' clocks differ by minutes, so old is what came long ago, whatever its time.
        let excess = seen.hottest.len().saturating_sub(WINDOWS_KEPT);
        seen.hottest.drain(..excess);
    }

    /// The hottest devices, and everything else, now.
    pub fn seen(&self) -> Seen {
        let mut seen = {
            let seen = self.seen.lock();
            Seen {
                ids: HashSet::new(),
                latency: seen.latency.clone(),
                latest: seen.latest.clone(),
                hottest: seen.hottest.clone(),
                ..*seen
            }
        };
        // The latest windows only, hottest first.
        let recent = seen.hottest.len().saturating_sub(2 * SHOWN);
        seen.hottest.drain(..recent);
        seen.hottest.sort_by(|a, b| b.mean.total_cmp(&a.mean));
        seen.hottest.truncate(SHOWN);
        seen
    }
}

/// Puts the windows that `means` receives onto the board, until the pipeline ends.
pub fn watch(means: Puller, board: Arc<Board>) -> Option<JoinHandle<()>> {
    let watch = move || {
        let mut encoder = JsonEncoder::new(false);
        while let Some(batch) = means.recv() {
            if encoder.encode(&batch).is_ok() {
                board.windows(
                    encoder.encoded().rows().filter_map(|row| serde_json::from_slice(row).ok()).collect(),
                );
            }
        }
    };
    std::thread::Builder::new().name("windows".into()).spawn(watch).ok()
}
