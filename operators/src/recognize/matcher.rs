//! Attempts at a match, row by row: which go on, which are complete, and which of those count.
//!
//! A pattern is without gaps, so an attempt is a row it began at and how many rows each variable has taken since; there is
//! always one that has not begun. A complete attempt counts as soon as no open one began before it; the strategy then takes
//! away those that began where the search does not go on. Nothing here knows what rows hold: whether a definition holds for
//! a row comes in as bits. Rows are numbered by partition, one after the other. Flink: NFA, AfterMatchSkipStrategy.

use millstream_engine::{Error, Result};

use super::automaton::{Automaton, FINAL, StateId};
use super::pattern::{AfterMatch, Pattern};
use super::queue::Queue;

/// The first row of an attempt that has none yet.
pub(super) const NOT_BEGUN: u64 = u64::MAX;

/// How far a match has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attempt {
    pub state: StateId,
    /// Number of its first row.
    pub first: u64,
    /// The time of that row.
    pub first_ms: i64,
    /// Where its counts are.
    pub slot: u32,
}

/// A row that an attempt took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taken {
    /// The attempt it was; none if it began with this row.
    pub from: Option<u32>,
    pub to: u32,
    pub variable: usize,
}

/// A match, with its counts until [`Counts::release`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub first: u64,
    pub slot: u32,
    /// When it was certain.
    pub time_ms: i64,
}

/// How many rows each variable of an attempt has taken, attempts by slot.
#[derive(Debug)]
pub(super) struct Counts {
    width: usize,
    values: Vec<u32>,
    free: Vec<u32>,
}

impl Counts {
    /// The counts of `slot`, by variable.
    pub fn of(&self, slot: u32) -> &[u32] {
        let start = slot as usize * self.width;
        &self.values[start..start + self.width]
    }

    /// A new slot with the counts of another, or none.
    pub fn copy(&mut self, from: Option<u32>) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.values.resize(self.values.len() + self.width, 0);
            (self.values.len() / self.width - 1) as u32
        });
        let start = slot as usize * self.width;
        match from.map(|from| from as usize * self.width) {
            Some(from) => self.values.copy_within(from..from + self.width, start),
            None => self.values[start..start + self.width].fill(0),
        }
        slot
    }

    /// A new slot with these counts.
    pub fn insert(&mut self, counts: impl Iterator<Item = u32>) -> u32 {
        let slot = self.copy(None);
        let start = slot as usize * self.width;
        self.values[start..].iter_mut().zip(counts).for_each(|(value, count)| *value = count);
        slot
    }

    fn add(&mut self, slot: u32, variable: usize) {
        self.values[slot as usize * self.width + variable] += 1;
    }

    pub fn release(&mut self, slot: u32) {
        self.free.push(slot);
    }

    /// How many slots there have been.
    pub fn len(&self) -> usize {
        self.values.len() / self.width
    }

    /// How many rows `slot` has taken.
    pub fn rows(&self, slot: u32) -> u64 {
        self.of(slot).iter().map(|count| u64::from(*count)).sum()
    }
}

/// The attempts of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attempts {
    pub open: Queue,
    /// Complete, and waiting for open ones that began before.
    pub complete: Queue,
}

impl Attempts {
    /// The number of the first row that is still needed.
    pub fn first_row(&self) -> Option<u64> {
        let firsts = [self.open.peek(), self.complete.peek()].into_iter().flatten();
        firsts.map(|attempt| attempt.first).min().filter(|first| *first != NOT_BEGUN)
    }

    /// When the first open attempt that has begun began.
    pub fn first_ms(&self) -> Option<i64> {
        self.open.peek().filter(|attempt| attempt.first != NOT_BEGUN).map(|attempt| attempt.first_ms)
    }

    /// True when nothing has begun.
    pub fn are_idle(&self) -> bool {
        self.first_row().is_none()
    }

    fn all(&self) -> impl Iterator<Item = &Attempt> {
        self.open.as_slice().iter().chain(self.complete.as_slice())
    }
}

/// Runs the automaton for all partitions.
#[derive(Debug)]
pub(super) struct Matcher {
    pub automaton: Automaton,
    pattern: Pattern,
    pub counts: Counts,
    /// Rows taken since they were last looked at.
    pub taken: Vec<Taken>,
    /// Slots that are free once `taken` has been looked at.
    given_up: Vec<u32>,
    next_open: Queue,
    next_complete: Queue,
    expired: Vec<(u64, i64)>,
}

impl Matcher {
    pub fn new(pattern: &Pattern) -> Self {
        Self {
            automaton: Automaton::new(pattern),
            counts: Counts { width: pattern.variables().len(), values: Vec::new(), free: Vec::new() },
            pattern: pattern.clone(),
            taken: Vec::new(),
            given_up: Vec::new(),
            next_open: Queue::default(),
            next_complete: Queue::default(),
            expired: Vec::new(),
        }
    }

    /// Attempts before the first row.
    pub fn attempts(&self) -> Attempts {
        let start = Attempt { state: self.automaton.start, first: NOT_BEGUN, first_ms: 0, slot: 0 };
        Attempts { open: Queue::of(start), complete: Queue::default() }
    }

    /// Takes row `row` to all open attempts; entry `i` of `truth` has the variables that hold for it as the next row of the
    /// `i`-th. What is certain now goes to `found`.
    ///
    /// # Errors
    /// If the search cannot go on behind a match.
    pub fn step(
        &mut self,
        attempts: &mut Attempts,
        (row, time_ms): (u64, i64),
        truth: &[u64],
        found: &mut Vec<Found>,
    ) -> Result<()> {
        self.next_open.clear();
        self.next_complete.clear();
        for (attempt, truth) in attempts.open.as_slice().iter().zip(truth) {
            let begins = attempt.first == NOT_BEGUN;
            let from = (!begins).then_some(attempt.slot);
            let (first, first_ms) = if begins { (row, time_ms) } else { (attempt.first, attempt.first_ms) };
            for edge in self.automaton.edges(attempt.state).iter().filter(|edge| edge.guard.admits(*truth)) {
                let slot = self.counts.copy(from);
                self.counts.add(slot, edge.variable);
                let next = Attempt { state: edge.target, first, first_ms, slot };
                if edge.target == FINAL {
                    self.next_complete.push(next);
                    continue;
                }
                self.next_open.push(next);
                self.taken.push(Taken { from, to: slot, variable: edge.variable });
                if edge.ends.iter().any(|end| end.admits(*truth)) {
                    let slot = self.counts.copy(Some(slot));
                    self.next_complete.push(Attempt { state: FINAL, slot, ..next });
                }
            }
            if begins {
                self.next_open.push(*attempt);
            } else {
                self.given_up.push(attempt.slot);
            }
        }
        std::mem::swap(&mut attempts.open, &mut self.next_open);
        self.next_complete.as_slice().iter().for_each(|attempt| attempts.complete.push(*attempt));
        self.expired.clear();
        self.settle(attempts, time_ms, found)
    }

    /// Gives up the attempts that would take too long if they went on at `time_ms`. What they held back goes to `found`.
    ///
    /// # Errors
    /// If the search cannot go on behind a match.
    pub fn advance(&mut self, attempts: &mut Attempts, time_ms: i64, found: &mut Vec<Found>) -> Result<()> {
        let Some(within_ms) = self.pattern.within_ms() else { return Ok(()) };
        let is_over = |first_ms: i64| first_ms.saturating_add(within_ms) <= time_ms;
        if !attempts.first_ms().is_some_and(is_over) {
            return Ok(());
        }
        self.next_open.clear();
        self.expired.clear();
        for attempt in attempts.open.as_slice() {
            if attempt.first != NOT_BEGUN && is_over(attempt.first_ms) {
                self.expired.push((attempt.first, attempt.first_ms.saturating_add(within_ms)));
                self.given_up.push(attempt.slot);
            } else {
                self.next_open.push(*attempt);
            }
        }
        std::mem::swap(&mut attempts.open, &mut self.next_open);
        self.settle(attempts, i64::MIN, found)
    }

    /// Complete attempts that nothing before them holds back any more are matches.
    fn settle(&mut self, attempts: &mut Attempts, time_ms: i64, found: &mut Vec<Found>) -> Result<()> {
        let mut time_ms = time_ms;
        while let Some(earliest) = attempts.complete.peek().copied() {
            if attempts.open.peek().is_some_and(|open| open.first < earliest.first) {
                break;
            }
            attempts.complete.pop();
            // The last one that held it back was given up then, however long it took to be noticed.
            let before = self.expired.iter().filter(|(first, _)| *first < earliest.first);
            time_ms = before.map(|(_, end_ms)| *end_ms).max().unwrap_or(time_ms).max(time_ms);
            let from = self.goes_on_at(earliest)?;
            for queue in [&mut attempts.open, &mut attempts.complete] {
                let given_up = &mut self.given_up;
                queue.retain(|attempt| {
                    let stays = attempt.first >= from;
                    if !stays {
                        given_up.push(attempt.slot);
                    }
                    stays
                });
            }
            found.push(Found { first: earliest.first, slot: earliest.slot, time_ms });
        }
        Ok(())
    }

    /// The row that the search goes on at, behind a match.
    fn goes_on_at(&self, found: Attempt) -> Result<u64> {
        let (variable, is_first) = match self.pattern.after() {
            AfterMatch::PastLastRow => return Ok(found.first + self.counts.rows(found.slot)),
            AfterMatch::ToNextRow => return Ok(found.first + 1),
            AfterMatch::ToFirst(variable) => (variable, true),
            AfterMatch::ToLast(variable) => (variable, false),
        };
        let counts = self.counts.of(found.slot);
        let before: u64 = counts[..variable].iter().map(|count| u64::from(*count)).sum();
        let behind = if is_first { 0 } else { u64::from(counts[variable].saturating_sub(1)) };
        if counts[variable] == 0 || before + behind == 0 {
            let name = &self.pattern.variables()[variable].name;
            let why =
                if counts[variable] == 0 { "has no row in a match" } else { "is the first row of a match" };
            return Err(Error::data(format!("the search cannot go on at {name}, which {why}"))
                .remedy("write AFTER MATCH SKIP PAST LAST ROW, or TO NEXT ROW"));
        }
        Ok(found.first + before + behind)
    }

    /// Frees what no attempt needs any more; after [`Matcher::taken`] has been looked at.
    pub fn forget_taken(&mut self) {
        self.taken.clear();
        self.given_up.drain(..).for_each(|slot| self.counts.free.push(slot));
    }

    /// Frees the slots of attempts that are dropped as a whole.
    pub fn give_up(&mut self, attempts: &Attempts) {
        let begun = attempts.all().filter(|attempt| attempt.first != NOT_BEGUN);
        begun.for_each(|attempt| self.counts.release(attempt.slot));
    }
}

#[cfg(test)]
mod tests {
    use super::super::pattern::{Quantifier, Variable};
    use super::*;

    /// A pattern like `A B*? C{2,3}`.
    fn pattern(text: &str, after: AfterMatch, within_ms: Option<i64>) -> Pattern {
        let variable = |text: &str| {
            let (name, rest) = text.split_at(1);
            let (rest, greedy) = match rest.strip_suffix('?') {
                Some(rest) if !rest.is_empty() => (rest, false),
                _ => (rest, true),
            };
            let (least, most) = match rest {
                "" => (1, Some(1)),
                "?" => (0, Some(1)),
                "*" => (0, None),
                "+" => (1, None),
                numbers => {
                    let numbers = numbers.trim_matches(['{', '}']);
                    let (least, most) = numbers.split_once(',').unwrap_or((numbers, numbers));
                    (least.parse().unwrap(), most.parse().ok())
                }
            };
            Variable { name: name.into(), quantifier: Quantifier { least, most, greedy } }
        };
        Pattern::new(text.split(' ').map(variable).collect(), after, within_ms).unwrap()
    }

    /// The matches among rows, one a second, each of which says what it can be: first row from 0, rows of each variable.
    fn matches(pattern: &Pattern, rows: &str) -> Vec<String> {
        let mut matcher = Matcher::new(pattern);
        let mut attempts = matcher.attempts();
        let (mut found, mut shown) = (Vec::new(), Vec::new());
        for (row, can_be) in (0_u64..).zip(rows.split(' ')) {
            let bit = |variable: &Variable| can_be.contains(variable.name.as_str());
            let truth =
                pattern.variables().iter().map(bit).rev().fold(0, |bits, bit| bits << 1 | u64::from(bit));
            let time_ms = row as i64 * 1_000;
            matcher.advance(&mut attempts, time_ms, &mut found).unwrap();
            let truths = vec![truth; attempts.open.as_slice().len()];
            matcher.step(&mut attempts, (row, time_ms), &truths, &mut found).unwrap();
            matcher.forget_taken();
        }
        matcher.advance(&mut attempts, i64::MAX, &mut found).unwrap();
        matcher.forget_taken();
        for Found { first, slot, time_ms } in found {
            let counts: Vec<String> = matcher.counts.of(slot).iter().map(u32::to_string).collect();
            shown.push(format!("{first}:{}@{}", counts.join(""), time_ms / 1_000));
            matcher.counts.release(slot);
        }
        matcher.give_up(&attempts);
        assert_eq!(matcher.counts.free.len(), matcher.counts.len(), "a slot is lost");
        shown
    }

    #[test]
    fn quantifiers_take_what_they_may() {
        use AfterMatch::{PastLastRow, ToNextRow};
        for (text, after, rows, wanted) in [
            ("A B C", PastLastRow, "A B C C", vec!["0:111@2"]),
            ("A B C", PastLastRow, "A B B C", vec![]),
            // Greed takes what could be the next variable's.
            ("A B* C", PastLastRow, "A B BC B C", vec!["0:131@4"]),
            ("A B*? C", PastLastRow, "A B BC B C", vec!["0:111@2"]),
            ("A B+? C", PastLastRow, "A C", vec![]),
            ("A B* C", PastLastRow, "A C A C", vec!["0:101@1", "2:101@3"]),
            ("A B? C", PastLastRow, "A BC C", vec!["0:101@1"]),
            ("A B{2} C", PastLastRow, "A B B C A B C", vec!["0:121@3"]),
            ("A B{1,2} C", PastLastRow, "A B B C", vec!["0:121@3"]),
            ("A B{2,} C", PastLastRow, "A B C A B B B C", vec!["3:131@7"]),
            ("A+ B", ToNextRow, "A A B", vec!["0:21@2", "1:11@2"]),
            ("A+ B", PastLastRow, "A A B A B", vec!["0:21@2", "3:11@4"]),
            ("A B+?", PastLastRow, "A B B", vec!["0:11@1"]),
            ("A B{1,3}?", PastLastRow, "A B B", vec!["0:11@1"]),
        ] {
            assert_eq!(matches(&pattern(text, after, None), rows), wanted, "{text} over {rows}");
        }
    }

    #[test]
    fn the_search_goes_on_where_it_is_told_to() {
        let rows = "A A A B A B";
        for (after, wanted) in [
            (AfterMatch::PastLastRow, vec!["0:31@3", "4:11@5"]),
            (AfterMatch::ToNextRow, vec!["0:31@3", "1:21@3", "2:11@3", "4:11@5"]),
            (AfterMatch::ToLast(1), vec!["0:31@3", "4:11@5"]),
            (AfterMatch::ToFirst(1), vec!["0:31@3", "4:11@5"]),
        ] {
            assert_eq!(matches(&pattern("A+ B", after, None), rows), wanted, "{after:?}");
        }
    }

    #[test]
    fn a_match_waits_for_one_that_began_before_it() {
        let after = AfterMatch::PastLastRow;
        // The attempt from row 0 takes every B, and could still become a match that the one from row 1 lies in.
        assert_eq!(matches(&pattern("A B* C", after, None), "A AB C"), ["0:111@2"]);
        // Given up after three seconds, it lets the shorter one through, at that time and not when it is noticed.
        assert_eq!(matches(&pattern("A B{1,9}? C", after, Some(3_000)), "A AB BC B B B B B"), ["0:111@2"]);
        assert_eq!(matches(&pattern("A B{3} C", after, Some(3_000)), "A B B B C"), Vec::<String>::new());
        assert_eq!(matches(&pattern("A B{3} C", after, Some(5_000)), "A B B B C"), ["0:131@4"]);
    }

    #[test]
    fn a_search_that_cannot_go_on_says_so() {
        let pattern = pattern("A+ B", AfterMatch::ToLast(0), None);
        let mut matcher = Matcher::new(&pattern);
        let mut attempts = matcher.attempts();
        let mut found = Vec::new();
        matcher.step(&mut attempts, (0, 0), &[1], &mut found).unwrap();
        let error = matcher.step(&mut attempts, (1, 0), &[2, 2], &mut found).unwrap_err();
        assert!(error.message().contains("A, which is the first row of a match"), "{error}");
    }

    #[test]
    fn equals_leave_in_the_order_of_flinks_queue() {
        let attempt = |first: u64, slot: u32| Attempt { state: 1, first, first_ms: 0, slot };
        let mut queue = Queue::default();
        for (first, slot) in [(1, 0), (2, 1), (2, 2)] {
            queue.push(attempt(first, slot));
        }
        let slots: Vec<u32> = std::iter::from_fn(|| queue.pop()).map(|attempt| attempt.slot).collect();
        // The last one takes the place of the one that left, and stays there.
        assert_eq!(slots, [0, 2, 1]);
        (0..6).for_each(|slot| queue.push(attempt(u64::from(slot % 3), slot)));
        queue.retain(|attempt| attempt.first > 0);
        assert_eq!(queue.peek().map(|attempt| attempt.first), Some(1));
    }
}
