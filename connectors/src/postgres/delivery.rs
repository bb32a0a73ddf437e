//! The delivery task of one PostgreSQL sink: takes rows from the outlet and sees to each until it is committed or with
//! the dead letters.
//!
//! Invariants: rows keep their share of the outlet's bytes until then, so a drained outlet means that nothing is on
//! the way; one statement at a time, so order is kept. Rows of an outbox have a ticket: what became of them goes there, and
//! those that have waited longer than 'outbox.ttl', or are of other columns than the table has now, are not written. The task ends with its sink, or leaves a [`Failure`] for the
//! worker to find. An error that somebody has to mend ends the job when it comes with the first connection or names
//! the table; a login that is refused later is tried again, at the slowest rate so that no account gets locked.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::time::sleep;

use millstream_engine::dead_letter::RowErrors;
use millstream_engine::io::{InFlight, OutletReceiver, OutletSender};
use millstream_engine::keys::hash_bytes;
use millstream_engine::metrics::Link as LinkState;
use millstream_engine::outbox::{Ticket, expired};
use millstream_engine::park::Signal;
use millstream_engine::{Error, ErrorKind, InstanceContext, Result};

use crate::delivery::{DeliveryTask, Failure, Running};
use crate::way::Delivery;

use super::epoch::EpochRows;
use super::link::{Link, Refused};
use super::rows::Rows;
use super::settings::Settings;
use super::stored::Handed;

/// What the task is, for messages.
const WHAT: &str = "a PostgreSQL sink";

/// Starts the task of a sink that delivers at least once, and hands rows over itself.
pub(super) fn start(settings: Arc<Settings>, context: &InstanceContext) -> Result<Delivery<Handed>> {
    let (outlet_bytes_max, writer) =
        (settings.outlet_bytes_max, Writer::new(settings, context, String::new()));
    Delivery::start(WHAT, outlet_bytes_max, writer.failure.clone(), context, writer)
}

/// Starts it behind the outlet that is given, which an outbox fills; `room` is rung when that has room again.
pub(super) fn start_behind(
    settings: Arc<Settings>,
    context: &InstanceContext,
    room: Arc<Signal>,
) -> Result<(Running, OutletSender<Handed>)> {
    let (outlet_bytes_max, writer) =
        (settings.outlet_bytes_max, Writer::new(settings, context, String::new()));
    Running::start(WHAT, outlet_bytes_max, room, writer.failure.clone(), context, writer)
}

/// Starts the task of one that delivers exactly once, under the name `progress` in the progress table.
pub(super) fn start_epochs(
    settings: Arc<Settings>,
    context: &InstanceContext,
    progress: String,
) -> Result<Delivery<EpochRows>> {
    let (outlet_bytes_max, writer) = (settings.outlet_bytes_max, Writer::new(settings, context, progress));
    Delivery::start(WHAT, outlet_bytes_max, writer.failure.clone(), context, writer)
}

struct Writer {
    settings: Arc<Settings>,
    errors: RowErrors,
    random: SmallRng,
    link: Option<Link>,
    was_up: bool,
    /// Failures in a row.
    failures: u32,
    failure: Failure,
    context: InstanceContext,
    /// Its name in the progress table.
    progress: String,
}

impl DeliveryTask<Handed> for Writer {
    async fn run(&mut self, outlet: &mut OutletReceiver<Handed>) -> Result<()> {
        // Held until the rows are done; after an error too, until the failure is left.
        while let Some((handed, _in_flight)) = self.next(outlet).await? {
            self.deliver(&handed).await.inspect_err(|error| self.failure.leave(error))?;
        }
        Ok(())
    }
}

impl DeliveryTask<EpochRows> for Writer {
    async fn run(&mut self, outlet: &mut OutletReceiver<EpochRows>) -> Result<()> {
        while let Some((rows, _in_flight)) = self.next(outlet).await? {
            self.deliver_epoch(&rows).await.inspect_err(|error| self.failure.leave(error))?;
        }
        Ok(())
    }
}

impl Writer {
    fn new(settings: Arc<Settings>, context: &InstanceContext, progress: String) -> Self {
        let seed = hash_bytes(settings.table.as_bytes()) ^ context.clock.monotonic_ns();
        context.metrics.set_link(LinkState::Down);
        Self {
            errors: context.row_errors(settings.on_error),
            random: SmallRng::seed_from_u64(seed),
            link: None,
            was_up: false,
            failures: 0,
            failure: Failure::default(),
            context: context.clone(),
            settings,
            progress,
        }
    }

    /// The next item, with a connection at hand before there is one, so that what is wrong shows at the start.
    async fn next<T>(&mut self, outlet: &mut OutletReceiver<T>) -> Result<Option<(T, InFlight)>> {
        loop {
            let link = self.connected().await?;
            tokio::select! {
                item = outlet.recv() => return Ok(item),
                _ = &mut link.driver => {
                    self.lost(&Error::unavailable("the server has closed the connection")).await?;
                }
            }
        }
    }

    /// Commits an epoch's rows, however often the connection breaks.
    async fn deliver_epoch(&mut self, epoch: &EpochRows) -> Result<()> {
        let progress = self.progress.clone();
        loop {
            let error = match self.connected().await?.apply_epoch(&progress, epoch).await {
                Ok(refused) => {
                    self.failures = 0;
                    let rows: usize = epoch.statements.iter().map(Rows::len).sum();
                    self.context.metrics.rows_out.add((rows - refused.len()) as u64);
                    self.context.metrics.bytes_out.add(epoch.num_bytes() as u64);
                    for Refused { statement, row, error } in refused {
                        self.refuse(None, &epoch.statements[statement], row, error)?;
                    }
                    return Ok(());
                }
                Err(error) => error,
            };
            match error.kind() {
                ErrorKind::Unavailable => self.lost(&error).await?,
                _ => return Err(error.at(format!("table {}", self.settings.table))),
            }
        }
    }

    /// Sees to all rows that were handed over.
    async fn deliver(&mut self, handed: &Handed) -> Result<()> {
        let Handed { rows, record } = handed;
        let ticket = record.as_ref().map(|(ticket, _)| ticket.as_ref());
        match self.unsendable(handed) {
            Some(error) => {
                for row in 0..rows.len() {
                    self.refuse(ticket, rows, row as u32, error.clone())?;
                }
            }
            None => {
                let (writes, removes) = rows.settled(&self.settings.primary_key);
                if self.apply(rows, &removes, &writes).await?.is_some() {
                    // Removed first, as together: a row that is written may need the place of one that goes.
                    self.halve((rows, ticket), &removes, true).await?;
                    self.halve((rows, ticket), &writes, false).await?;
                }
                self.context.metrics.bytes_out.add(rows.num_bytes() as u64);
            }
        }
        if let Some(ticket) = ticket {
            ticket.settle();
        }
        Ok(())
    }

    /// Why the rows of a record are not to be written.
    fn unsendable(&self, handed: &Handed) -> Option<Error> {
        let (ticket, names) = handed.record.as_ref()?;
        if let Some(waited_ms) = ticket.expired_ms(self.context.clock.steady_ms()) {
            return Some(expired(waited_ms));
        }
        let is_same = names.iter().eq(self.settings.names());
        (!is_same).then(|| {
            let declared: Vec<&str> = self.settings.names().map(String::as_str).collect();
            Error::data(format!(
                "it waited in the outbox since the table was declared with the columns {}, and now it is with {}",
                names.join(", "),
                declared.join(", ")
            ))
        })
    }

    /// Puts a row where the table's 'on-error' says; one of an outbox by way of the worker.
    fn refuse(&self, ticket: Option<&Ticket>, rows: &Rows, row: u32, error: Error) -> Result<()> {
        match ticket {
            None => self.errors.reject(&rows.payload(self.settings.names(), row as usize), error),
            Some(ticket) => {
                ticket.refuse(rows.payload(self.settings.names(), row as usize).into(), error);
                Ok(())
            }
        }
    }

    /// Writes or removes `chosen`, of which the server refuses at least one, in ever smaller parts, in order.
    async fn halve(
        &mut self,
        (rows, ticket): (&Rows, Option<&Ticket>),
        chosen: &[u32],
        removes: bool,
    ) -> Result<()> {
        let mut parts = vec![chosen];
        while let Some(part) = parts.pop() {
            let (removed, written) = if removes { (part, &[][..]) } else { (&[][..], part) };
            let Some(error) = self.apply(rows, removed, written).await? else { continue };
            match part {
                [row] => self.refuse(ticket, rows, *row, error)?,
                _ => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.push(second);
                    parts.push(first);
                }
            }
        }
        Ok(())
    }

    /// Applies rows, however often the connection breaks. Answers why, if the server refuses one of them.
    async fn apply(&mut self, rows: &Rows, removes: &[u32], writes: &[u32]) -> Result<Option<Error>> {
        loop {
            let error = match self.connected().await?.apply(rows, removes, writes).await {
                Ok(()) => {
                    self.failures = 0;
                    self.context.metrics.rows_out.add((removes.len() + writes.len()) as u64);
                    return Ok(None);
                }
                Err(error) => error,
            };
            match error.kind() {
                ErrorKind::Data => return Ok(Some(error)),
                ErrorKind::Unavailable => self.lost(&error).await?,
                _ => return Err(error.at(format!("table {}", self.settings.table))),
            }
        }
    }

    /// The connection, made if there is none.
    async fn connected(&mut self) -> Result<&mut Link> {
        while self.link.is_none() {
            match Link::connect(&self.settings).await {
                Ok(link) => {
                    self.link = Some(link);
                    self.context.metrics.set_link(LinkState::Up);
                    if self.was_up {
                        self.context.metrics.reconnects.add(1);
                        tracing::info!(table = %self.settings.table, "{} is connected again", self.settings.server());
                    }
                    self.was_up = true;
                }
                Err(error) => self.lost(&error).await?,
            }
        }
        self.link.as_mut().ok_or_else(|| Error::internal("the connection is gone"))
    }

    /// The connection is gone, or did not come about: waits before the next.
    async fn lost(&mut self, error: &Error) -> Result<()> {
        self.link = None;
        self.context.metrics.set_link(LinkState::Down);
        let is_for_somebody = error.kind() == ErrorKind::Config;
        if is_for_somebody && !self.was_up {
            return Err(error.clone().at(format!("table {}", self.settings.table)));
        }
        self.failures = self.failures.saturating_add(1);
        if let Some(retries_max) = self.settings.retries_max.filter(|max| self.failures > *max) {
            let what = format!("given up after {retries_max} retries; at last {error}");
            return Err(Error::unavailable(what).at(format!("table {}", self.settings.table)));
        }
        self.context.metrics.retries.add(1);
        let full = if is_for_somebody {
            self.settings.backoff_max
        } else {
            let doublings = (self.failures - 1).min(31);
            self.settings.backoff_initial.saturating_mul(1 << doublings).min(self.settings.backoff_max)
        };
        let wait = full.mul_f64(self.random.random_range(0.5..=1.0));
        // The first of an outage and then ever fewer, by powers of two: an outage of a day is a few dozen lines.
        if self.failures.is_power_of_two() {
            let (table, failures) = (&self.settings.table, self.failures);
            tracing::warn!(%table, failures, "{error}; tried again in {wait:.1?}");
        }
        sleep(self.context.clock.sleep_for(wait.max(Duration::from_millis(1)))).await;
        Ok(())
    }
}
