//! Compiled patterns by their text: a constant one is compiled once a query, one of a column once for each text.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::pattern::{Flavour, Pattern};

type Compiled = Result<Arc<Pattern>, String>;

/// Patterns by their text, so that each is compiled once. It holds 256 of them; a query with more, which makes patterns
/// of its rows, starts over.
#[derive(Default)]
pub(super) struct Patterns {
    known: Mutex<HashMap<(Flavour, String), Compiled>>,
}

const PATTERNS_MAX: usize = 256;

impl Patterns {
    pub fn get(&self, text: &str, flavour: Flavour) -> Compiled {
        let mut known = self.known.lock();
        let key = (flavour, text.to_owned());
        if let Some(pattern) = known.get(&key) {
            return pattern.clone();
        }
        if known.len() >= PATTERNS_MAX {
            known.clear();
        }
        let pattern = Pattern::compile(text, flavour).map(Arc::new);
        known.insert(key, pattern.clone());
        pattern
    }
}
