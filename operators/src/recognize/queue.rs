//! Attempts in the order of their first rows: a binary heap, those of one first row in the order that Flink's has.
//!
//! Of two matches that begin at the same row the first one out is kept and the other dropped, so the order of equals is
//! part of the answer. It is that of java.util.PriorityQueue, whose steps these are.

use super::matcher::Attempt;

/// See the module's page.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Queue(Vec<Attempt>);

impl Queue {
    /// One attempt.
    pub fn of(attempt: Attempt) -> Self {
        Self(vec![attempt])
    }

    pub fn push(&mut self, attempt: Attempt) {
        self.0.push(attempt);
        let mut at = self.0.len() - 1;
        while at > 0 {
            let parent = (at - 1) / 2;
            if attempt.first >= self.0[parent].first {
                break;
            }
            self.0[at] = self.0[parent];
            at = parent;
        }
        self.0[at] = attempt;
    }

    pub fn pop(&mut self) -> Option<Attempt> {
        let last = self.0.pop()?;
        let Some(first) = self.0.first_mut() else { return Some(last) };
        let first = std::mem::replace(first, last);
        self.sink(0);
        Some(first)
    }

    /// Removes what does not pass.
    pub fn retain(&mut self, passes: impl FnMut(&Attempt) -> bool) {
        let before = self.0.len();
        self.0.retain(passes);
        if self.0.len() < before {
            (0..self.0.len() / 2).rev().for_each(|at| self.sink(at));
        }
    }

    /// The attempt that began first.
    pub fn peek(&self) -> Option<&Attempt> {
        self.0.first()
    }

    /// All of them, in the order they are kept in.
    pub fn as_slice(&self) -> &[Attempt] {
        &self.0
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Takes over attempts in the order that [`Queue::as_slice`] gave them.
    pub fn restore(&mut self, attempt: Attempt) {
        self.0.push(attempt);
    }

    fn sink(&mut self, mut at: usize) {
        let attempt = self.0[at];
        let half = self.0.len() / 2;
        while at < half {
            let mut child = 2 * at + 1;
            if child + 1 < self.0.len() && self.0[child].first > self.0[child + 1].first {
                child += 1;
            }
            if attempt.first <= self.0[child].first {
                break;
            }
            self.0[at] = self.0[child];
            at = child;
        }
        self.0[at] = attempt;
    }
}
