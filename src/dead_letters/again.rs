//! Letters on their way again: read from their files, made rows of their tables, given to those tables' sinks, and written anew
//! where they are refused once more, are no rows, or were not meant.
//!
//! Invariants: a file of the folder is removed when the job of the sinks has ended well, by which each of its letters is
//! delivered or in a new file. What is in memory is bounded by the queues into the job. Called by mod.rs.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::RecordBatch;
use millstream_connectors::format::{PayloadDecoder, PayloadOptions};
use millstream_connectors::memory::{MemorySource, Pusher};
use millstream_engine::dead_letter::{OnError, RowErrors};
use millstream_engine::metrics::OperatorMetrics;
use millstream_engine::{Codec, Error, Graph, Input, Job, Result, Table};
use millstream_operators::Union;

use super::{DeadLetterFiles, EXCHANGE_BYTES_MAX, Letter, letters, remove};

/// What another try came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retried {
    /// Letters that were delivered.
    pub delivered: u64,
    /// Letters that were refused once more, and are letters with the new reason.
    pub refused: u64,
    /// Letters that are no rows of their table, and stay what they are.
    pub unreadable: u64,
}

/// Where letters of a sender go again.
struct Again {
    pusher: Pusher,
    decoder: PayloadDecoder,
    /// Of the letters that the decoder has, the place in their batch.
    gathered: Vec<usize>,
}

impl DeadLetterFiles {
    /// Sends letters of the tables of `codecs` again, leaves those of `purged` out, and writes all others anew, of the files
    /// that have any of the first two.
    pub(super) fn rewrite(
        &self,
        codecs: &BTreeMap<String, Arc<dyn Codec>>,
        purged: Option<&str>,
    ) -> Result<Retried> {
        let is_meant = |letter: &Letter| match (self.sender_of(letter), purged) {
            (sender, Some(_)) => sender == purged,
            (sender, None) => sender.is_some_and(|sender| codecs.contains_key(sender)),
        };
        let mut files = Vec::new();
        for file in self.files()? {
            let mut is_found = false;
            self.read(&file, &mut |rows| {
                is_found |= letters(&rows)?.iter().any(is_meant);
                Ok(())
            })?;
            if is_found {
                files.push(file);
            }
        }
        if files.is_empty() {
            return Ok(Retried::default());
        }
        let (graph, kept, mut again) = self.graph(codecs)?;
        let job = Job::start(&graph, self.config())?;
        let mut done = Retried::default();
        for file in &files {
            let sent = self.read(file, &mut |rows| {
                let letters = letters(&rows)?;
                for (place, letter) in letters.iter().enumerate() {
                    if !is_meant(letter) {
                        kept.push(rows.slice(place, 1))?;
                    } else if purged.is_none() {
                        self.send(&mut again, &rows, place, letter, &kept, &mut done)?;
                    }
                }
                self.flush(&mut again, &rows, &kept, &mut done)
            });
            // What ended the sinks is why nothing could be pushed.
            sent.map_err(|error| job.error().unwrap_or(error))?;
        }
        drop((kept, again));
        job.wait()?;
        let of_senders = job.metrics().iter().filter(|metrics| codecs.contains_key(&metrics.operator));
        done.refused = of_senders.map(|metrics| metrics.rows_dead_letter.get()).sum();
        done.delivered = done.delivered.saturating_sub(done.refused);
        remove(&files)?;
        Ok(done)
    }

    /// Gathers a letter for its table's sink.
    fn send(
        &self,
        again: &mut BTreeMap<String, Again>,
        rows: &RecordBatch,
        place: usize,
        letter: &Letter,
        kept: &Pusher,
        done: &mut Retried,
    ) -> Result<()> {
        let sender = self.sender_of(letter).and_then(|sender| again.get_mut(sender));
        let to = sender.ok_or_else(|| Error::internal("no sink for a letter"))?;
        let is_gathered = match &letter.payload {
            Some(payload) => to.decoder.push(payload, &self.skipping())?,
            None => false,
        };
        if is_gathered {
            to.gathered.push(place);
        } else {
            done.unreadable += 1;
            kept.push(rows.slice(place, 1))?;
        }
        Ok(())
    }

    /// Hands gathered letters of a batch over.
    fn flush(
        &self,
        again: &mut BTreeMap<String, Again>,
        rows: &RecordBatch,
        kept: &Pusher,
        done: &mut Retried,
    ) -> Result<()> {
        for Again { pusher, decoder, gathered } in again.values_mut() {
            if decoder.is_empty() {
                continue;
            }
            let decoded = decoder.flush_with(&mut |number, _, _| {
                done.unreadable += 1;
                kept.push(rows.slice(gathered[number as usize], 1))
            })?;
            gathered.clear();
            done.delivered += decoded.rows.num_rows() as u64;
            if decoded.rows.num_rows() > 0 {
                pusher.push(decoded.rows)?;
            }
        }
        Ok(())
    }

    /// Sinks of the tables of `codecs`, whose dead letters go to the table's folder, as what is kept does.
    fn graph(
        &self,
        codecs: &BTreeMap<String, Arc<dyn Codec>>,
    ) -> Result<(Graph, Pusher, BTreeMap<String, Again>)> {
        let mut graph = Graph::new();
        let (source, kept) = MemorySource::channel(Arc::clone(&self.table.schema), EXCHANGE_BYTES_MAX);
        let node = graph.source("kept letters", "", Arc::new(source), Arc::clone(&self.table.schema));
        let (mut inputs, mut again) = (vec![Input::gather(node)], BTreeMap::new());
        for (sender, _) in self.senders.iter() {
            let Some(codec) = codecs.get(&sender.name) else { continue };
            let options = PayloadOptions::from_options(&sender.options)?;
            let decoder = PayloadDecoder::new(Arc::clone(&sender.schema), codec.as_ref(), &options)?;
            let (source, pusher) = MemorySource::channel(Arc::clone(&sender.schema), EXCHANGE_BYTES_MAX);
            let id = format!("letters of {}", sender.name);
            let node = graph.source(id, "", Arc::new(source), Arc::clone(&sender.schema));
            let sender = by_hand(sender);
            let provider = self.registry.connector(&sender)?.sink(&sender)?;
            let node = graph.sink(sender.name.clone(), provider.describe(), provider, Input::gather(node));
            inputs.push(graph.dead_letters(node, Arc::clone(&self.table.schema))?);
            again.insert(sender.name.clone(), Again { pusher, decoder, gathered: Vec::new() });
        }
        let union =
            graph.operator("union", "union", "", inputs, Arc::new(|| Ok(Box::new(Union::default()) as _)));
        let provider = self.registry.connector(&self.table)?.sink(&self.table)?;
        graph.sink(self.table.name.clone(), provider.describe(), provider, Input::gather(union));
        Ok((graph, kept, again))
    }

    /// What is told of letters that are too large to be rows: nothing, since they are kept.
    fn skipping(&self) -> RowErrors {
        let metrics = OperatorMetrics::new(&self.table.name, "letters", 0);
        RowErrors::new(OnError::Skip, Arc::default(), metrics, Arc::clone(&self.clock))
    }
}

/// `sender` as it sends letters: beside a pipeline that may be running, and without state.
fn by_hand(sender: &Table) -> Table {
    let mut table = sender.clone();
    // A broker has one connection a name, and would close the pipeline's.
    if let Some(id) = sender.options.get("client-id") {
        table.options.set("client-id", format!("{id}-letters"));
    }
    if sender.options.get("sink.delivery-guarantee").is_some() {
        table.options.set("sink.delivery-guarantee", "at-least-once");
    }
    table
}
