//! The worker's side of a webhook: rows become JSON, get their ids, and leave as requests through the outlet.
//!
//! Invariants: every row written is in exactly one request, or with the dead letters if it cannot be encoded; a batch
//! that is open stays so no longer than the stream is busy (`on_quiet`), or [`OPEN_MAX_NS`] on one that never rests.
//! Open batches hold at most 'batch.max-bytes' a lane, lanes are at most 'max-in-flight'; behind them the outlet bounds
//! what waits. A barrier passes when all before it is delivered or with the dead letters, so the state is only the ids; with
//! state on disk requests go into an outbox instead, a barrier passes when they are safe there, and its state goes along.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::ArrayRef;

use millstream_engine::dead_letter::RowErrors;
use millstream_engine::element::Epoch;
use millstream_engine::keys::{KeyHasher, hash_bytes};
use millstream_engine::outbox::Outbox;
use millstream_engine::state::{StateReader, StateWriter};
use millstream_engine::{Batch, ChangeKind, Encoder, Error, InstanceContext, Ready, Result, Sink};

use crate::format::JsonEncoder;
use crate::way::Way;

use super::WEBHOOK;
use super::dispatch;
use super::ids::Ids;
use super::request::{BodyBuilder, Content, Item, Request};
use super::settings::Settings;
use super::stored;
use super::target::Target;

/// How long a batch may stay open on a stream that never rests; looked at with every write.
const OPEN_MAX_NS: u64 = 100_000_000;

/// One instance of a webhook sink.
pub(super) struct WebhookSink {
    settings: Arc<Settings>,
    encoder: JsonEncoder,
    /// Requests being filled, by lane.
    open: BTreeMap<u64, BodyBuilder>,
    /// Numbers the lanes of requests without a key: each is a lane of its own.
    next_lane: u64,
    running: Option<Running>,
}

/// What there is once the sink is open.
struct Running {
    way: Way<Request>,
    ids: Ids,
    context: InstanceContext,
    /// For rows that no request can be made of.
    errors: RowErrors,
}

impl WebhookSink {
    /// A sink that is still to be opened.
    pub fn new(settings: Arc<Settings>) -> Self {
        Self {
            settings,
            encoder: JsonEncoder::new(false),
            open: BTreeMap::new(),
            next_lane: 0,
            running: None,
        }
    }

    /// One lane a row: its key's, or its share of keys' where requests hold several rows, so that they fill.
    fn lanes(&self, batch: &Batch) -> Result<Option<Vec<u64>>> {
        if self.settings.key.is_empty() {
            return Ok(None);
        }
        let columns: Vec<ArrayRef> =
            self.settings.key.iter().map(|column| Arc::clone(batch.rows.column(*column))).collect();
        let types: Vec<_> = columns.iter().map(|column| column.data_type().clone()).collect();
        let mut lanes = Vec::new();
        KeyHasher::new(&types)?.hash(&columns, batch.num_rows(), &mut lanes)?;
        if self.settings.framing.array {
            let shares = self.settings.in_flight_max as u64;
            lanes.iter_mut().for_each(|lane| *lane %= shares);
        }
        Ok(Some(lanes))
    }

    /// Hands over the open request of `lane`.
    fn close(&mut self, lane: u64) -> Result<()> {
        let Some(mut builder) = self.open.remove(&lane) else { return Ok(()) };
        let mut request = builder.close(&self.settings.framing, lane);
        if self.settings.key.is_empty() {
            request.lane = self.next_lane;
            self.next_lane += 1;
        }
        let is_keyed = !self.settings.key.is_empty();
        match &mut self.running()?.way {
            Way::Direct(delivery) => {
                let bytes = request.num_bytes();
                delivery.outlet.send(request, bytes)
            }
            Way::Outbox(outbox, _) => {
                outbox.put(request.id.to_string().as_bytes(), &stored::write(&request, is_keyed));
                Ok(())
            }
        }
    }

    /// Hands over every request that was opened at `before_ns` or earlier.
    fn close_all(&mut self, before_ns: u64) -> Result<()> {
        let is_old = |builder: &BodyBuilder| builder.opened_ns <= before_ns;
        let old: Vec<u64> =
            self.open.iter().filter(|(_, builder)| is_old(builder)).map(|(lane, _)| *lane).collect();
        old.into_iter().try_for_each(|lane| self.close(lane))
    }

    fn running(&mut self) -> Result<&mut Running> {
        self.running.as_mut().ok_or_else(|| Error::internal("the webhook was not opened"))
    }

    /// Hands over what is open.
    fn hand_over(&mut self) -> Result<()> {
        self.running()?.way.check()?;
        self.close_all(u64::MAX)
    }
}

impl Sink for WebhookSink {
    fn open(&mut self, context: &InstanceContext) -> Result<()> {
        let clock = Arc::clone(&context.clock);
        let run = u64::from_le_bytes(clock.now_ms().to_le_bytes()) ^ clock.monotonic_ns().rotate_left(40);
        let seed = hash_bytes(self.settings.table.as_bytes()) ^ run;
        let settings = Arc::clone(&self.settings);
        let (way, run) = match Outbox::of(context, WEBHOOK, self.settings.outbox)? {
            None => (Way::Direct(dispatch::start(settings, context, seed)?), run),
            Some(mut outbox) => {
                let (task, outlet) = dispatch::start_behind(settings, context, seed, outbox.signal())?;
                outbox.send_into(outlet, self.settings.outlet_bytes_max);
                let run = outbox.first_run(run);
                (Way::Outbox(Box::new(outbox), task), run)
            }
        };
        let ids = Ids::new(&self.settings.table, run);
        let errors = context.row_errors(self.settings.on_error);
        self.running = Some(Running { way, ids, errors, context: context.clone() });
        Ok(())
    }

    fn write(&mut self, batch: Batch) -> Result<()> {
        let settings = Arc::clone(&self.settings);
        if batch.changes.as_ref().is_some_and(|kinds| kinds.iter().any(|kind| *kind != ChangeKind::Insert)) {
            return Err(Error::internal("a webhook was given rows that update others").at(&settings.table));
        }
        self.running()?.way.check()?;
        let lanes = self.lanes(&batch)?;
        let running = self.running()?;
        let now_ns = running.context.clock.monotonic_ns();
        let now_ms = match settings.framing.content {
            Content::CloudEvents { .. } => running.context.clock.now_ms(),
            Content::Json | Content::Template(_) => 0,
        };
        let template = match &settings.framing.content {
            Content::Template(template) => Some((template, template.bind(&batch.rows)?)),
            _ => None,
        };
        let (targets, bound_targets) = (&settings.targets, settings.targets.bind(&batch.rows)?);
        let (mut rendered, mut scratch) = (Vec::new(), Vec::new());
        // Taken out while requests are made from its buffer; an error ends the sink, so it need not come back.
        let mut encoder = std::mem::take(&mut self.encoder);
        encoder.encode(&batch)?;
        for (row, json) in encoder.encoded().rows().enumerate() {
            let lane = lanes.as_ref().map_or(0, |lanes| lanes[row]);
            let time_ms = batch.event_times_ms().map_or(now_ms, |times| times[row]);
            let mut made = || -> Result<Option<Arc<Target>>> {
                rendered.clear();
                if let Some((template, bound)) = &template {
                    template.render(bound, row, &mut scratch, &mut rendered)?;
                }
                if targets.is_empty() {
                    return Ok(None);
                }
                targets.render(&bound_targets, row, &mut scratch).map(|target| Some(Arc::new(target)))
            };
            let running = self.running()?;
            let target = match made() {
                Ok(target) => target,
                Err(error) => {
                    running.errors.reject(json, error)?;
                    continue;
                }
            };
            let id = running.ids.next(json);
            let rendered = template.is_some().then_some(rendered.as_slice());
            let item = Item { json, rendered, id, time_ms };
            if self
                .open
                .get(&lane)
                .is_some_and(|open| !open.has_room(&settings.framing, &item, settings.batch_bytes_max))
            {
                self.close(lane)?;
            }
            let open = self.open.entry(lane).or_insert_with(|| BodyBuilder::opened(now_ns));
            open.push(&settings.framing, &item);
            open.target = target;
            if open.num_rows() >= settings.batch_rows_max {
                self.close(lane)?;
            }
        }
        self.encoder = encoder;
        self.close_all(now_ns.saturating_sub(OPEN_MAX_NS))
    }

    fn is_ready(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.way.is_ready())
    }

    fn wants_checkpoint(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.way.wants_checkpoint())
    }

    fn attend(&mut self) -> Result<()> {
        match &mut self.running {
            Some(Running { way, errors, .. }) => way.attend(errors),
            None => Ok(()),
        }
    }

    fn on_quiet(&mut self) -> Result<()> {
        self.hand_over()
    }

    fn on_barrier(&mut self, epoch: Epoch, state: &mut StateWriter) -> Result<Ready> {
        self.hand_over()?;
        let running = self.running()?;
        state.put_blob(running.ids.snapshot());
        running.way.on_barrier(epoch, state, &running.errors)
    }

    fn on_checkpoint_complete(&mut self, epoch: Epoch) -> Result<()> {
        self.running()?.way.on_checkpoint_complete(epoch)
    }

    fn restore(&mut self, state: &StateReader) -> Result<()> {
        let running = self.running()?;
        // There is one instance, so one blob of ids, and it is the first; whatever else is offered is the outbox's.
        if let Some(blob) = state.blobs().next() {
            running.ids.restore(blob)?;
        }
        running.way.restore(&running.context, state)
    }

    fn on_end(&mut self, epoch: Epoch, state: &mut StateWriter) -> Result<Ready> {
        self.hand_over()?;
        let running = self.running()?;
        state.put_blob(running.ids.snapshot());
        running.way.on_end(epoch, state, &running.errors)
    }
}
