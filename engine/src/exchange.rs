//! Rows to the instances of the next stage.
//!
//! A keyed exchange hashes the key columns of a batch once, sorts the row numbers by target in one counting pass and
//! takes each target's rows. A batch that goes to one target whole is passed on uncopied. Watermarks, barriers and
//! the end go to every target, in order with the rows. Where producer and consumer have one instance each there is
//! no exchange: the planner of stages chains them (stages.rs).

use arrow_array::{ArrayRef, UInt32Array};
use arrow_schema::DataType;

use crate::batch::Batch;
use crate::channel::Sender;
use crate::element::Element;
use crate::error::Result;
use crate::keys::{KEY_GROUPS, KeyHasher, key_group, owner};

/// How rows find their instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exchange {
    /// To the instance of the same number: no exchange at all, where nothing else meets there.
    Forward,
    /// By hash of these columns.
    Keyed(Vec<usize>),
    /// All to one instance.
    Gather,
    /// Batches in turn to all instances.
    Rebalance,
}

enum Routing {
    Single,
    Keyed { keys: Vec<usize>, hasher: Option<KeyHasher> },
    RoundRobin { next: usize },
}

/// The producing end of an exchange in one stage instance.
pub(crate) struct ExchangeWriter {
    routing: Routing,
    targets: Vec<Sender<Element>>,
    hashes: Vec<u64>,
    target_of: Vec<u8>,
}

impl ExchangeWriter {
    pub fn new(exchange: &Exchange, targets: Vec<Sender<Element>>) -> Self {
        let routing = match exchange {
            _ if targets.len() == 1 => Routing::Single,
            Exchange::Keyed(keys) => Routing::Keyed { keys: keys.clone(), hasher: None },
            Exchange::Forward | Exchange::Gather | Exchange::Rebalance => Routing::RoundRobin { next: 0 },
        };
        Self { routing, targets, hashes: Vec::new(), target_of: Vec::new() }
    }

    pub fn write(&mut self, batch: Batch) -> Result<()> {
        match &mut self.routing {
            Routing::Single => push(&mut self.targets[0], batch),
            Routing::RoundRobin { next } => {
                push(&mut self.targets[*next], batch);
                *next = (*next + 1) % self.targets.len();
            }
            Routing::Keyed { keys, hasher } => {
                let columns: Vec<ArrayRef> =
                    keys.iter().map(|key| std::sync::Arc::clone(batch.rows.column(*key))).collect();
                let hasher = match hasher {
                    Some(hasher) => hasher,
                    // Types are known with the first batch.
                    None => {
                        let types: Vec<DataType> =
                            columns.iter().map(|column| column.data_type().clone()).collect();
                        hasher.insert(KeyHasher::new(&types)?)
                    }
                };
                hasher.hash(&columns, batch.num_rows(), &mut self.hashes)?;
                scatter(&batch, &self.hashes, &mut self.target_of, &mut self.targets)?;
            }
        }
        Ok(())
    }

    pub fn broadcast(&mut self, element: &Element) {
        for target in &mut self.targets {
            target.push(element.clone(), element.num_bytes());
        }
    }

    pub fn is_full(&mut self) -> bool {
        let mut full = false;
        for target in &mut self.targets {
            full |= target.is_full();
        }
        full
    }

    pub fn is_flushed(&mut self) -> bool {
        self.targets.iter_mut().all(Sender::is_flushed)
    }
}

fn push(target: &mut Sender<Element>, batch: Batch) {
    let element = Element::Batch(batch);
    let bytes = element.num_bytes();
    target.push(element, bytes);
}

/// Sends each row to the instance that owns its key: row numbers are sorted by target in one counting pass, then each
/// target's rows are taken.
fn scatter(
    batch: &Batch,
    hashes: &[u64],
    target_of: &mut Vec<u8>,
    targets: &mut [Sender<Element>],
) -> Result<()> {
    let parallelism = targets.len();
    target_of.clear();
    // There are at most as many targets as key groups, which fit.
    target_of.extend(hashes.iter().map(|hash| owner(key_group(*hash), parallelism) as u8));
    let mut next = [0_usize; KEY_GROUPS as usize];
    target_of.iter().for_each(|target| next[usize::from(*target)] += 1);
    let mut start = 0;
    for place in next.iter_mut().take(parallelism) {
        start += std::mem::replace(place, start);
    }
    let mut order = vec![0_u32; hashes.len()];
    for (row, target) in (0_u32..).zip(target_of.iter()) {
        let place = &mut next[usize::from(*target)];
        order[*place] = row;
        *place += 1;
    }
    let order = UInt32Array::from(order);
    let mut start = 0;
    // The places have moved on to the end of each target's rows.
    for (target, end) in targets.iter_mut().zip(next) {
        if end - start == batch.num_rows() {
            push(target, batch.clone());
        } else if end > start {
            push(target, batch.take(&order.slice(start, end - start))?);
        }
        start = end;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use arrow_array::cast::AsArray;
    use arrow_array::types::Int64Type;
    use arrow_array::{Int64Array, RecordBatch};
    use arrow_schema::{Field, Schema};

    use crate::channel::channel;

    #[test]
    fn every_row_goes_to_the_owner_of_its_key_in_order() {
        let schema = Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, false)]));
        let keys: Vec<i64> = (0..1_000).map(|n| n % 37).collect();
        let rows = RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(keys.clone()))]).unwrap();
        let (senders, mut receivers): (Vec<_>, Vec<_>) =
            (0..3).map(|_| channel(1 << 20, Arc::default(), Arc::default())).unzip();
        let mut exchange = ExchangeWriter::new(&Exchange::Keyed(vec![0]), senders);
        exchange.write(Batch::new(rows)).unwrap();
        exchange.broadcast(&Element::End);
        let mut seen = 0;
        for (instance, receiver) in receivers.iter_mut().enumerate() {
            let Some(Element::Batch(batch)) = receiver.pop() else { panic!("no rows for {instance}") };
            let got: Vec<i64> = batch.rows.column(0).as_primitive::<Int64Type>().values().to_vec();
            let mine = |key: &i64| owner(key_group(crate::keys::hash_u64(*key as u64)), 3) == instance;
            assert_eq!(got, keys.iter().copied().filter(mine).collect::<Vec<_>>());
            seen += got.len();
            assert!(matches!(receiver.pop(), Some(Element::End)));
        }
        assert_eq!(seen, keys.len());
    }
}
