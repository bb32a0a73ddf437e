//! `millstream demo`: a broker, a fleet of devices, a receiver of alerts, and examples/fleet.sql between them.
//!
//! Everything is real but the devices: the fleet (fleet.rs) publishes over TCP to an MQTT broker in this process
//! (broker.rs), the pipeline subscribes there as anybody's would, and its webhook posts to an HTTP receiver on a port of
//! its own (receiver.rs). screen.rs shows it while it runs, summary.rs says in the end what came of every message.

mod board;
mod broker;
mod device;
mod fleet;
mod receiver;
mod screen;
mod summary;

use std::sync::Arc;
use std::time::Duration;

use millstream::Pipeline;
use millstream::engine::metrics::Link;
use millstream::engine::{ClockRef, Error, ErrorKind, JobState, SystemClock};

use crate::cli::Demo;
use crate::exit::Failure;
use crate::signals::{Signal, Signals};
use crate::{http, runner};

use board::Board;
use fleet::Fleet;

/// The file that the demo runs, which is the example for everybody.
pub const FLEET_SQL: &str = include_str!("../../../../examples/fleet.sql");

/// How often the screen is drawn.
const FRAME: Duration = Duration::from_millis(250);
/// How long subscribing at the broker in this process may take, and how often to look.
const SUBSCRIBE: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How long the pipeline may take, at the end, to read what the broker has taken from the fleet.
const CATCH_UP: Duration = Duration::from_secs(10);
/// How long delivering the last alerts may take.
const DRAIN: Duration = Duration::from_secs(20);

/// What the parts share.
pub(super) struct Running {
    pub pipeline: Arc<Pipeline>,
    pub fleet: Fleet,
    pub board: Arc<Board>,
    pub clock: ClockRef,
    pub started_ns: u64,
    pub title: String,
}

/// Runs the demo.
pub fn run(demo: &Demo) -> Result<(), Failure> {
    let clock = SystemClock::shared();
    let signals = Signals::new().map_err(Failure::Runtime)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("demo-io")
        .enable_all()
        .build()
        .map_err(|error| {
            Failure::Runtime(Error::unavailable(format!("the I/O runtime does not start: {error}")))
        })?;
    let broker = broker::start().map_err(Failure::Runtime)?;
    let board = Arc::new(Board::new(Arc::clone(&clock)));
    let receiver = receiver::start(runtime.handle(), Arc::clone(&board)).map_err(Failure::Runtime)?;

    let workers = runner::workers(&demo.plan);
    let variables = move |name: &str| match name {
        "MQTT_URL" => Some(format!("mqtt://{broker}")),
        "ALERT_URL" => Some(format!("http://{receiver}/alerts")),
        _ => None,
    };
    let mut builder =
        Pipeline::builder().workers(workers).clock(Arc::clone(&clock)).sql(FLEET_SQL).variables(variables);
    for (key, value) in &demo.plan.settings {
        builder = builder.setting(key, value);
    }
    let means = builder.result();
    let pipeline = Arc::new(builder.start().map_err(|error| Failure::start(error, "examples/fleet.sql"))?);
    let serve = |address| http::serve(address, Arc::clone(&pipeline), Arc::default());
    let _endpoint = demo.http.map(serve).transpose()?;
    let watching = board::watch(means, Arc::clone(&board));

    await_subscription(&pipeline);
    let fleet = Fleet::start(runtime.handle(), broker, demo, Arc::clone(&clock));
    let title = format!(
        "{} devices · MQTT on {broker} · examples/fleet.sql on {workers} worker{} · webhook to {receiver}",
        crate::status::count(u64::from(demo.devices)),
        if workers == 1 { "" } else { "s" },
    );
    let running = Running { pipeline, fleet, board, started_ns: clock.monotonic_ns(), clock, title };
    let watcher = signals.wake_when_done(Arc::clone(&running.pipeline));
    let interrupted = attend(&running, &signals, demo.seconds.map(Duration::from_secs));
    let done = if interrupted {
        finish(&running, &signals)
    } else {
        running.pipeline.wait().map_err(Failure::Runtime)
    };
    drop(watcher);
    if running.pipeline.state() == JobState::Finished {
        // The last windows are in the channel that the watching thread empties.
        let _ = watching.map(std::thread::JoinHandle::join);
    }
    summary::print(&running);
    done
}

/// Waits until the sources are subscribed: what the fleet publishes before that, the broker keeps for nobody.
fn await_subscription(pipeline: &Pipeline) {
    let is_up = || {
        let mut sources = pipeline.metrics().iter().filter(|operator| operator.kind == "source");
        sources.all(|source| source.link() == Link::Up)
    };
    let mut waited = Duration::ZERO;
    while waited < SUBSCRIBE && !is_up() {
        std::thread::sleep(LOOK_EVERY);
        waited += LOOK_EVERY;
    }
}

/// Shows the demo until its time is over or somebody asks for the end. False when the pipeline ended by itself.
fn attend(demo: &Running, signals: &Signals, limit: Option<Duration>) -> bool {
    let mut screen = screen::Screen::new();
    let limit_ns = limit.map_or(u64::MAX, |limit| u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX));
    loop {
        let elapsed_ns = demo.clock.monotonic_ns().saturating_sub(demo.started_ns);
        if elapsed_ns >= limit_ns {
            return true;
        }
        screen.draw(demo);
        match signals.wait_for(FRAME) {
            Some(Signal::Interrupt) => return true,
            Some(Signal::Ended) => return false,
            None => {}
        }
    }
}

/// Ends in order: the fleet falls silent, what it sent is read, windows close, alerts are delivered.
fn finish(demo: &Running, signals: &Signals) -> Result<(), Failure> {
    eprintln!(
        "ending: the fleet falls silent, open windows close, the last alerts go out (Ctrl-C again to stop at once)"
    );
    demo.fleet.stop();
    let interrupted = |limit: Duration| matches!(signals.wait_for(limit), Some(Signal::Interrupt));
    let mut waited = Duration::ZERO;
    while waited < CATCH_UP && !(demo.fleet.is_done() && taken_in(&demo.pipeline) >= demo.fleet.published()) {
        if interrupted(Duration::from_millis(50)) {
            return stopped(demo);
        }
        waited += Duration::from_millis(50);
    }
    demo.pipeline.drain();
    let mut waited = Duration::ZERO;
    while demo.pipeline.state() == JobState::Draining || demo.pipeline.state() == JobState::Running {
        if waited >= DRAIN || interrupted(Duration::from_millis(50)) {
            return stopped(demo);
        }
        waited += Duration::from_millis(50);
    }
    match demo.pipeline.wait() {
        Err(error) if error.kind() != ErrorKind::Closed => Err(Failure::Runtime(error)),
        _ => Ok(()),
    }
}

/// Messages that the pipeline has taken from the broker: rows, and payloads that are none.
fn taken_in(pipeline: &Pipeline) -> u64 {
    let source = pipeline.metrics().iter().filter(|operator| operator.kind == "source");
    source.map(|operator| operator.rows_out.get() + operator.rows_dead_letter.get()).sum()
}

fn stopped(demo: &Running) -> Result<(), Failure> {
    demo.pipeline.stop();
    let _ = demo.pipeline.wait();
    Err(Failure::Interrupted)
}
