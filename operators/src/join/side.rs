//! One side of a join: its rows by key, in lists threaded through the rows themselves.
//!
//! A row has a number as long as it is kept (row_store.rs). Beside it stand its key, its neighbours in the key's list,
//! how many rows of the other side match it, and a time (when it was written, or when it can match nothing any more).
//! Where rows are taken back, a hash table finds them by their bytes. Several equal rows are kept several times.

use arrow_array::ArrayRef;
use arrow_schema::SchemaRef;
use hashbrown::HashTable;
use millstream_engine::Result;
use millstream_engine::keys::{hash_bytes, hash_u64};

use crate::row_format::EncodedRows;
use crate::row_store::RowStore;

/// No row.
const NONE: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
struct Link {
    key: u32,
    before: u32,
    after: u32,
    matches: u32,
    time_ms: i64,
}

/// See the module's page.
pub(super) struct Side {
    rows: RowStore,
    links: Vec<Link>,
    /// By key: the first row of its list.
    heads: Vec<u32>,
    /// Finds rows that are taken back.
    by_bytes: Option<HashTable<u32>>,
}

impl Side {
    /// A side with rows of `schema`; `taken_back` says whether rows leave by their value.
    pub fn new(schema: &SchemaRef, taken_back: bool) -> Result<Self> {
        Ok(Self {
            rows: RowStore::new(schema.fields().iter().map(|field| field.data_type().clone()))?,
            links: Vec::new(),
            heads: Vec::new(),
            by_bytes: taken_back.then(HashTable::new),
        })
    }

    pub fn encode(&self, columns: &[ArrayRef]) -> Result<EncodedRows> {
        self.rows.encode(columns)
    }

    pub fn columns(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        self.rows.columns(slots.iter().copied())
    }

    /// Makes room for keys `0 .. keys`.
    pub fn grow(&mut self, keys: usize) {
        self.heads.resize(keys, NONE);
    }

    /// The rows under `key`, newest first.
    pub fn list(&self, key: u32) -> impl Iterator<Item = u32> + '_ {
        let first = self.heads.get(key as usize).copied().unwrap_or(NONE);
        std::iter::successors((first != NONE).then_some(first), |slot| {
            let after = self.links[*slot as usize].after;
            (after != NONE).then_some(after)
        })
    }

    pub fn is_empty(&self, key: u32) -> bool {
        self.heads.get(key as usize).is_none_or(|head| *head == NONE)
    }

    pub fn add(&mut self, key: u32, row: &[u8], matches: u32, time_ms: i64) -> u32 {
        let slot = self.rows.insert(row);
        let after = std::mem::replace(&mut self.heads[key as usize], slot);
        if after != NONE {
            self.links[after as usize].before = slot;
        }
        let link = Link { key, before: NONE, after, matches, time_ms };
        if slot as usize == self.links.len() {
            self.links.push(link);
        } else {
            self.links[slot as usize] = link;
        }
        if let Some(table) = &mut self.by_bytes {
            let (rows, links) = (&self.rows, &self.links);
            let hash = |slot: &u32| hash_of(links[*slot as usize].key, rows.get(*slot));
            table.insert_unique(hash_of(key, row), slot, hash);
        }
        slot
    }

    /// A row under `key` with these bytes.
    pub fn find(&self, key: u32, row: &[u8]) -> Option<u32> {
        let same = |slot: &u32| self.links[*slot as usize].key == key && self.rows.get(*slot) == row;
        self.by_bytes.as_ref()?.find(hash_of(key, row), same).copied()
    }

    pub fn remove(&mut self, slot: u32) {
        let link = self.links[slot as usize];
        if let Some(table) = &mut self.by_bytes {
            let hash = hash_of(link.key, self.rows.get(slot));
            if let Ok(entry) = table.find_entry(hash, |other| *other == slot) {
                entry.remove();
            }
        }
        match link.before {
            NONE => self.heads[link.key as usize] = link.after,
            before => self.links[before as usize].after = link.after,
        }
        if link.after != NONE {
            self.links[link.after as usize].before = link.before;
        }
        self.rows.remove(slot);
    }

    /// How many rows of the other side match row `slot`.
    pub fn matches_mut(&mut self, slot: u32) -> &mut u32 {
        &mut self.links[slot as usize].matches
    }

    pub fn matches(&self, slot: u32) -> u32 {
        self.links[slot as usize].matches
    }

    /// The key of row `slot`.
    pub fn key(&self, slot: u32) -> u32 {
        self.links[slot as usize].key
    }

    pub fn time_ms(&self, slot: u32) -> i64 {
        self.links[slot as usize].time_ms
    }

    /// Every row, by key.
    pub fn all(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        (0..self.heads.len() as u32).flat_map(|key| self.list(key).map(move |slot| (key, slot)))
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Renumbers the keys: key `kept[i]` becomes `i`, and all others have no rows.
    pub fn renumber(&mut self, kept: &[u32]) {
        let heads: Vec<u32> =
            kept.iter().map(|key| self.heads.get(*key as usize).copied().unwrap_or(NONE)).collect();
        let mut places = vec![NONE; self.heads.len()];
        for (new, old) in (0_u32..).zip(kept) {
            if let Some(place) = places.get_mut(*old as usize) {
                *place = new;
            }
        }
        for link in &mut self.links {
            link.key = places.get(link.key as usize).copied().unwrap_or(NONE);
        }
        self.heads = heads;
        if let Some(table) = &mut self.by_bytes {
            // The key is part of the hash.
            table.clear();
            let (rows, links) = (&self.rows, &self.links);
            let hash = |slot: &u32| hash_of(links[*slot as usize].key, rows.get(*slot));
            let mut slots = Vec::with_capacity(rows.len());
            for head in &self.heads {
                let mut slot = *head;
                while slot != NONE {
                    slots.push(slot);
                    slot = links[slot as usize].after;
                }
            }
            slots.into_iter().for_each(|slot| {
                table.insert_unique(hash(&slot), slot, hash);
            });
        }
    }
}

fn hash_of(key: u32, row: &[u8]) -> u64 {
    hash_bytes(row) ^ hash_u64(u64::from(key))
}
