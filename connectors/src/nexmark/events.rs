//! Puts rows together: which kind each event is, when it happened, and one ROW column a kind.
//!
//! A ROW of another kind is NULL, its fields too; their times share one buffer, their other fields are made for rows
//! of their kind only. Every field draws from a sequence of its own ([`Field`]), so leaving one out changes no other.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use arrow_array::types::TimestampMillisecondType;
use arrow_array::{ArrayRef, Int32Array, Int64Array, PrimitiveArray, RecordBatch, StructArray};
use arrow_buffer::{BooleanBufferBuilder, NullBuffer, ScalarBuffer};
use arrow_schema::{DataType, Fields, SchemaRef};
use millstream_engine::batch::record_batch;
use millstream_engine::{Error, Result};

use super::bids::Channels;
use super::config::Config;
use super::{auctions, bids, people};
use crate::generator::{Draws, Plan, RandomText, Rows, Texts};

/// What an event is; the number is its `event_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Person = 0,
    Auction = 1,
    Bid = 2,
}

/// Fields that draw numbers.
#[derive(Debug, Clone, Copy)]
#[repr(u64)]
pub(super) enum Field {
    Delay,
    Letters,
    Words,
    PersonName,
    PersonEmail,
    PersonCard,
    PersonCity,
    PersonState,
    PersonExtra,
    AuctionSeller,
    AuctionSellerId,
    AuctionCategory,
    AuctionInitialBid,
    AuctionReserve,
    AuctionExpires,
    AuctionName,
    AuctionDescription,
    AuctionExtra,
    BidAuction,
    BidAuctionId,
    BidBidder,
    BidBidderId,
    BidPrice,
    BidChannel,
    BidExtra,
    Urls,
}

/// One event: its number, its cycle, and its place in the cycle.
#[derive(Debug, Clone, Copy)]
pub(super) struct Event {
    pub n: u64,
    cycle: i64,
    place: i64,
}

/// What all instances share: options, and what is computed from them once.
pub(super) struct Tables {
    pub config: Config,
    pub letters: RandomText,
    /// Letters with a space now and then.
    pub words: RandomText,
    pub prices: Vec<f64>,
    channels: OnceLock<Channels>,
}

/// Prices at equal steps of the draw; between them a line is close enough.
const PRICE_STEPS: usize = 1 << 10;
const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz";
/// One in 13 is a space.
const WORDS: &[u8] = b"abcdefghijklmnopqrstuvwxyz  ";

impl Tables {
    pub fn new(config: Config) -> Self {
        let draws = |field: Field| Draws::new(config.seed, field as u64);
        let price = |step: usize| 10_f64.powf(6.0 * step as f64 / PRICE_STEPS as f64) * 100.0;
        Self {
            letters: RandomText::new(draws(Field::Letters), LETTERS),
            words: RandomText::new(draws(Field::Words), WORDS),
            prices: (0..=PRICE_STEPS).map(price).collect(),
            channels: OnceLock::new(),
            config,
        }
    }

    pub fn draws(&self, field: Field) -> Draws {
        Draws::new(self.config.seed, field as u64)
    }

    /// The channels, made when the first query reads them.
    pub fn channels(&self) -> &Channels {
        self.channels.get_or_init(|| Channels::new(self.draws(Field::Urls)))
    }

    /// A price: ten to a power from 0 to 6, in cents.
    #[inline]
    pub fn price(&self, draw: f64) -> i64 {
        let at = draw * PRICE_STEPS as f64;
        let step = (at as usize).min(PRICE_STEPS - 1);
        let (low, high) = (self.prices[step], self.prices[step + 1]);
        (low + (high - low) * (at - step as f64) + 0.5) as i64
    }

    /// Length of `extra`, so that an event of `bytes` bytes without it has the average size, give or take a fifth.
    pub fn extra_len(&self, kind: Kind, bytes: usize, draw: u64) -> usize {
        let Some(wanted) = self.config.avg_bytes[kind as usize].checked_sub(bytes) else { return 0 };
        let spread = (wanted + 2) / 5;
        wanted - spread + crate::generator::below(draw, 2 * spread as u64) as usize
    }

    /// The person created last, counting from 0; the event itself if it is one.
    #[inline]
    pub fn last_person(&self, event: Event) -> i64 {
        let persons = self.config.proportions[0] as i64;
        event.cycle * persons + event.place.min(persons - 1)
    }

    /// The auction created last, counting from 0; the event itself if it is one.
    #[inline]
    pub fn last_auction(&self, event: Event) -> i64 {
        let [persons, auctions, _] = self.config.proportions.map(|number| number as i64);
        event.cycle * auctions + (event.place - persons).clamp(-1, auctions - 1)
    }
}

/// A stretch of rows of one kind.
struct Run {
    kind: Kind,
    rows: Range<usize>,
    first: Event,
}

/// The rows of one batch, as far as they are known before any column is made.
pub(super) struct Frame<'a> {
    pub tables: &'a Tables,
    pub plan: &'a Plan,
    len: usize,
    runs: Vec<Run>,
    times: ScalarBuffer<i64>,
}

impl Frame<'_> {
    /// When row `row` happened.
    #[inline]
    pub fn time_ms(&self, row: usize) -> i64 {
        self.times[row]
    }

    /// A number for every event of `kind`; `make` gets the event and its row.
    pub fn numbers(&self, kind: Kind, mut make: impl FnMut(Event, usize) -> i64) -> ScalarBuffer<i64> {
        let mut numbers = Vec::with_capacity(self.len);
        for run in &self.runs {
            if run.kind == kind {
                numbers.extend(run.events().zip(run.rows.clone()).map(|(event, row)| make(event, row)));
            } else {
                numbers.resize(run.rows.end, 0);
            }
        }
        ScalarBuffer::from(numbers)
    }

    /// A text for every event of `kind`, of about `bytes` bytes; `make` adds to it.
    pub fn texts(
        &self,
        kind: Kind,
        bytes: usize,
        nulls: &NullBuffer,
        mut make: impl FnMut(Event, &mut Texts),
    ) -> Result<ArrayRef> {
        let count = self.len - nulls.null_count();
        let mut texts = Texts::with_capacity(self.len, count * bytes + bytes);
        for run in &self.runs {
            if run.kind == kind {
                for event in run.events() {
                    make(event, &mut texts);
                    texts.end();
                }
            } else {
                texts.skip(run.rows.len());
            }
        }
        texts.finish(Some(nulls.clone()))
    }

    fn is_of(&self, kind: Kind) -> NullBuffer {
        let mut valid = BooleanBufferBuilder::new(self.len);
        self.runs.iter().for_each(|run| valid.append_n(run.rows.len(), run.kind == kind));
        NullBuffer::new(valid.finish())
    }

    fn event_types(&self) -> ArrayRef {
        let mut types = Vec::with_capacity(self.len);
        self.runs.iter().for_each(|run| types.resize(run.rows.end, run.kind as i32));
        Arc::new(Int32Array::new(types.into(), None))
    }

    fn row(&self, kind: Kind, fields: &Fields) -> Result<ArrayRef> {
        let nulls = self.is_of(kind);
        let number =
            |values: ScalarBuffer<i64>| Arc::new(Int64Array::new(values, Some(nulls.clone()))) as ArrayRef;
        let time = |values: ScalarBuffer<i64>| {
            Arc::new(PrimitiveArray::<TimestampMillisecondType>::new(values, Some(nulls.clone()))) as ArrayRef
        };
        let column = |name: &str| match (kind, name) {
            (_, "dateTime") => Ok(time(self.times.clone())),
            (Kind::Auction, "expires") => Ok(time(auctions::expires(self))),
            (Kind::Person, "id") => Ok(number(people::ids(self))),
            (Kind::Person, name) => people::text(self, name, &nulls),
            (Kind::Auction, "itemName" | "description" | "extra") => auctions::text(self, name, &nulls),
            (Kind::Auction, name) => auctions::number(self, name).map(number),
            (Kind::Bid, "channel" | "url" | "extra") => bids::text(self, name, &nulls),
            (Kind::Bid, name) => bids::number(self, name).map(number),
        };
        let columns = fields.iter().map(|field| column(field.name())).collect::<Result<Vec<_>>>()?;
        let row = StructArray::try_new_with_length(fields.clone(), columns, Some(nulls.clone()), self.len)
            .map_err(|error| Error::internal(format!("nexmark's columns do not fit: {error}")))?;
        Ok(Arc::new(row))
    }
}

/// An error for a field that the connector's check should have refused.
pub(super) fn no_field(name: &str) -> Error {
    Error::internal(format!("nexmark has no field '{name}'"))
}

impl Run {
    fn events(&self) -> impl Iterator<Item = Event> {
        let first = self.first;
        (0..self.rows.len() as u64).map(move |step| Event {
            n: first.n + step,
            cycle: first.cycle,
            place: first.place + step as i64,
        })
    }
}

/// Makes batches with exactly the columns that are wanted.
pub(super) struct Events {
    tables: Arc<Tables>,
    plan: Arc<Plan>,
    wanted: SchemaRef,
    /// What is made, when that is more.
    whole: Option<SchemaRef>,
}

impl Events {
    pub fn new(tables: Arc<Tables>, plan: Arc<Plan>, wanted: SchemaRef, whole: Option<SchemaRef>) -> Self {
        Self { tables, plan, wanted, whole }
    }

    fn frame(&self, first: u64, len: usize, base_ms: i64) -> Frame<'_> {
        let mut times = self.plan.schedule.times_ms(first, len, base_ms);
        let out_of_order = self.tables.config.out_of_order;
        if out_of_order.share > 0.0 {
            let draws = self.tables.draws(Field::Delay);
            for (n, time) in (first..).zip(&mut times) {
                *time -= out_of_order.delay_ms(draws, n);
            }
        }
        Frame {
            tables: &self.tables,
            plan: &self.plan,
            len,
            runs: self.runs(first, len),
            times: times.into(),
        }
    }

    fn runs(&self, first: u64, len: usize) -> Vec<Run> {
        let [persons, auctions, bids] = self.tables.config.proportions;
        let total = persons + auctions + bids;
        let mut runs = Vec::with_capacity(3 * (len / total as usize + 2));
        let mut row = 0;
        while row < len {
            let n = first + row as u64;
            let (cycle, place) = (n / total, n % total);
            let (kind, end) = match place {
                place if place < persons => (Kind::Person, persons),
                place if place < persons + auctions => (Kind::Auction, persons + auctions),
                _ => (Kind::Bid, total),
            };
            let rows = row..len.min(row + (end - place) as usize);
            row = rows.end;
            runs.push(Run { kind, rows, first: Event { n, cycle: cycle as i64, place: place as i64 } });
        }
        runs
    }
}

impl Rows for Events {
    fn rows(&mut self, first: u64, len: usize, base_ms: i64) -> Result<RecordBatch> {
        let frame = self.frame(first, len, base_ms);
        let schema = self.whole.as_ref().unwrap_or(&self.wanted);
        let columns = schema
            .fields()
            .iter()
            .map(|field| match (field.name().as_str(), field.data_type()) {
                ("person", DataType::Struct(fields)) => frame.row(Kind::Person, fields),
                ("auction", DataType::Struct(fields)) => frame.row(Kind::Auction, fields),
                ("bid", DataType::Struct(fields)) => frame.row(Kind::Bid, fields),
                ("event_type", _) => Ok(frame.event_types()),
                (name, _) => Err(no_field(name)),
            })
            .collect::<Result<Vec<_>>>()?;
        let rows = record_batch(Arc::clone(schema), columns, len)?;
        millstream_engine::prune(&rows, &self.wanted)
    }
}
