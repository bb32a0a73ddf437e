//! The delivery task of one webhook sink: takes requests from the outlet, attempts them as their lanes allow, and sees
//! to each until it is delivered or given up.
//!
//! Invariants: a request keeps its share of the outlet's bytes until its rows are delivered or with the dead letters,
//! so a drained outlet means that nothing is on the way. The task ends with its sink: what is then undelivered belongs
//! to an epoch that was not completed, and is replayed. It also ends when a table that says `'on-error' = 'fail'` has
//! a row refused; the [`Failure`] is left for the worker to find. A request from the outbox has a ticket: what became of it
//! goes there, and while the receiver cannot be reached it is tried until its time to live is over.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::task::{self, JoinError, JoinSet};
use tokio::time::sleep;

use millstream_engine::dead_letter::RowErrors;
use millstream_engine::io::{InFlight, OutletReceiver, OutletSender};
use millstream_engine::metrics::Link;
use millstream_engine::outbox::{Ticket, expired};
use millstream_engine::park::Signal;
use millstream_engine::{Error, InstanceContext, Result};

use crate::delivery::{DeliveryTask, Failure, Running};
use crate::way::Delivery;

use super::client::{Outcome, Receiver};
use super::lanes::{InLane, Lanes, Next};
use super::request::Request;
use super::settings::Settings;

/// Attempts that must fail in a row before the log says so: single failures are what retries are for.
const FAILURES_LOGGED: u32 = 3;

/// What the task is, for messages.
const WHAT: &str = "a webhook";

/// Starts the task of a sink that hands requests over itself. `seed` is that of the jitter.
pub(super) fn start(
    settings: Arc<Settings>,
    context: &InstanceContext,
    seed: u64,
) -> Result<Delivery<Request>> {
    let outlet_bytes_max = settings.outlet_bytes_max;
    let (failure, dispatcher) = dispatcher(settings, context, seed)?;
    Delivery::start(WHAT, outlet_bytes_max, failure, context, dispatcher)
}

/// Starts the task behind the outlet that is given, which an outbox fills; `room` is rung when that has room again.
pub(super) fn start_behind(
    settings: Arc<Settings>,
    context: &InstanceContext,
    seed: u64,
    room: Arc<Signal>,
) -> Result<(Running, OutletSender<Request>)> {
    let outlet_bytes_max = settings.outlet_bytes_max;
    let (failure, dispatcher) = dispatcher(settings, context, seed)?;
    Running::start(WHAT, outlet_bytes_max, room, failure, context, dispatcher)
}

fn dispatcher(
    settings: Arc<Settings>,
    context: &InstanceContext,
    seed: u64,
) -> Result<(Failure, Dispatcher)> {
    let failure = Failure::default();
    let dispatcher = Dispatcher {
        running: HashMap::new(),
        receiver: Arc::new(Receiver::new(&settings)?),
        lanes: Lanes::new(settings.in_flight_max),
        attempts: JoinSet::new(),
        errors: context.row_errors(settings.on_error),
        random: SmallRng::seed_from_u64(seed),
        failures_in_a_row: 0,
        failure: failure.clone(),
        context: context.clone(),
        settings,
    };
    Ok((failure, dispatcher))
}

/// A request on the way, with its share of the outlet; halves of a request share it.
struct Parcel {
    request: Request,
    in_flight: Arc<InFlight>,
}

impl InLane for Parcel {
    fn lane(&self) -> u64 {
        self.request.lane
    }
}

struct Dispatcher {
    settings: Arc<Settings>,
    receiver: Arc<Receiver>,
    lanes: Lanes<Parcel>,
    attempts: JoinSet<Outcome>,
    /// The requests of the attempts.
    running: HashMap<task::Id, Parcel>,
    errors: RowErrors,
    random: SmallRng,
    failures_in_a_row: u32,
    failure: Failure,
    context: InstanceContext,
}

impl DeliveryTask<Request> for Dispatcher {
    async fn run(&mut self, outlet: &mut OutletReceiver<Request>) -> Result<()> {
        loop {
            let now_ns = self.context.clock.monotonic_ns();
            while let Some(parcel) = self.lanes.next(now_ns) {
                self.begin(parcel, now_ns);
            }
            let wait = self.lanes.wake_ns().map(|due_ns| due_ns.saturating_sub(now_ns));
            tokio::select! {
                item = outlet.recv() => match item {
                    Some((request, in_flight)) => {
                        self.lanes.push(Parcel { request, in_flight: Arc::new(in_flight) });
                    }
                    None => return Ok(()),
                },
                Some(ended) = self.attempts.join_next_with_id() => self.end(ended)?,
                () = sleep(self.context.clock.sleep_for(Duration::from_nanos(wait.unwrap_or(0)))),
                    if wait.is_some() => {}
            }
        }
    }
}

impl Dispatcher {
    fn begin(&mut self, mut parcel: Parcel, now_ns: u64) {
        if parcel.request.tries.attempts > 0 {
            self.context.metrics.retries.add(1);
        }
        parcel.request.tries.begin(now_ns);
        let (receiver, settings) = (Arc::clone(&self.receiver), Arc::clone(&self.settings));
        let now_ms = self.context.clock.now_ms();
        let (id, body, target) =
            (parcel.request.id, parcel.request.body.clone(), parcel.request.target.clone());
        let attempt = async move { receiver.attempt(&settings, target.as_deref(), id, body, now_ms).await };
        self.running.insert(self.attempts.spawn(attempt).id(), parcel);
    }

    fn end(&mut self, ended: Result<(task::Id, Outcome), JoinError>) -> Result<()> {
        let broken = |what: &dyn Display| Error::internal(format!("an attempt broke down: {what}"));
        let (task, outcome) = ended.map_err(|error| broken(&error))?;
        let parcel = self.running.remove(&task).ok_or_else(|| broken(&"its request is unknown"))?;
        let (lane, metrics) = (parcel.request.lane, &self.context.metrics);
        match outcome {
            Outcome::Delivered => {
                metrics.rows_out.add(parcel.request.num_rows() as u64);
                metrics.bytes_out.add(parcel.request.body.len() as u64);
                self.answered(true);
                self.lanes.settle(lane, Next::Done);
                if let Some(ticket) = &parcel.request.ticket {
                    ticket.settle();
                }
            }
            Outcome::Failed { why, retry_after, reached } => {
                self.failed(&why, reached);
                return match parcel.request.ticket.clone() {
                    Some(ticket) if !reached => self.wait_for_the_line(parcel, &ticket, &why),
                    _ => self.retry_or_give_up(parcel, &why, retry_after),
                };
            }
            Outcome::TooLarge(why) => {
                self.answered(false);
                let Some((first, second)) = parcel.request.split() else {
                    self.reject(&parcel, &Error::data(why))?;
                    self.lanes.settle(lane, Next::Done);
                    return Ok(());
                };
                if let Some(ticket) = &parcel.request.ticket {
                    ticket.split(1);
                }
                let half = |request| Parcel { request, in_flight: Arc::clone(&parcel.in_flight) };
                self.lanes.settle(lane, Next::Split(half(first), half(second)));
            }
            Outcome::Refused(error) => {
                self.answered(false);
                self.reject(&parcel, &error)?;
                self.lanes.settle(lane, Next::Done);
            }
        }
        Ok(())
    }

    /// A request of the outbox has reached nobody: it waits there as well as here.
    fn wait_for_the_line(&mut self, mut parcel: Parcel, ticket: &Ticket, why: &str) -> Result<()> {
        let lane = parcel.request.lane;
        if let Some(waited_ms) = ticket.expired_ms(self.context.clock.steady_ms()) {
            let error = expired(waited_ms);
            self.reject(&parcel, &Error::unavailable(format!("{}; at last {why}", error.message())))?;
            self.lanes.give_up(lane);
            return Ok(());
        }
        parcel.request.tries.reach_nobody();
        let wait = self.settings.retry.backoff(parcel.request.tries.unreached(), &mut self.random);
        let due_ns = self.context.clock.monotonic_ns().saturating_add(nanos(wait));
        self.lanes.settle(lane, Next::Again(parcel, due_ns));
        Ok(())
    }

    fn retry_or_give_up(
        &mut self,
        mut parcel: Parcel,
        why: &str,
        retry_after: Option<Duration>,
    ) -> Result<()> {
        let lane = parcel.request.lane;
        let now_ns = self.context.clock.monotonic_ns();
        let (attempts, elapsed) = parcel.request.tries.fail(now_ns);
        if let Some(asked) = retry_after {
            // The receiver asks us, not this request, to wait; but not beyond where we would give up.
            self.lanes.hold(now_ns.saturating_add(nanos(asked.min(self.settings.retry.deadline))));
        }
        match self.settings.retry.wait(attempts, elapsed, retry_after, &mut self.random) {
            Some(wait) => {
                self.lanes.settle(lane, Next::Again(parcel, now_ns.saturating_add(nanos(wait))));
            }
            None => {
                let what = format!("not delivered in {attempts} attempts over {elapsed:.1?}; at last {why}");
                self.reject(&parcel, &Error::unavailable(what))?;
                self.lanes.give_up(lane);
            }
        }
        Ok(())
    }

    /// Puts each row of a request where the table's 'on-error' says.
    fn reject(&self, parcel: &Parcel, error: &Error) -> Result<()> {
        if let Some(ticket) = &parcel.request.ticket {
            parcel.request.rows().for_each(|row| ticket.refuse(row, error.clone()));
            ticket.settle();
            return Ok(());
        }
        let routed = parcel.request.rows().try_for_each(|row| self.errors.reject(&row, error.clone()));
        // Left at once, while the parcel still keeps the outlet from being drained.
        routed.inspect_err(|error| self.failure.leave(error))
    }

    fn answered(&mut self, delivered: bool) {
        self.context.metrics.set_link(Link::Up);
        if delivered && std::mem::take(&mut self.failures_in_a_row) >= FAILURES_LOGGED {
            tracing::info!(
                table = %self.settings.table, "{} takes requests again", self.settings.receiver()
            );
        }
    }

    fn failed(&mut self, why: &str, reached: bool) {
        self.context.metrics.set_link(if reached { Link::Up } else { Link::Down });
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        if self.failures_in_a_row == FAILURES_LOGGED {
            tracing::warn!(table = %self.settings.table, "requests fail and are tried again: {why}");
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
