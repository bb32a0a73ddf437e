//! Which request is delivered next: order within a lane, fairness between lanes, and restraint while all fails.
//!
//! A lane is what must stay in order: a key, a share of the keys, or (without a key) one request. The first request
//! of a lane stays its first until it is delivered or refused, also while it waits to be tried again; so nothing of
//! a lane overtakes. At most `in_flight_max` requests are attempted at a time. A request waiting for its retry leaves
//! its place to others, so that one bad key does not hold up the rest. But once the last `in_flight_max` attempts
//! have all failed, the receiver is taken to be away: then no new request is begun while as many are being retried,
//! and the others wait with their deadlines not yet running. So an outage costs few rows, and does not become a storm.
//! How many requests are held is bounded by the outlet's bytes, of which each holds its share until it is done.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

/// Something to be delivered in the order of its lane.
pub(super) trait InLane {
    /// The lane.
    fn lane(&self) -> u64;
}

/// How an attempt ended, as far as order goes.
#[derive(Debug)]
pub(super) enum Next<T> {
    /// Done with: the lane goes on.
    Done,
    /// To be tried again at this time.
    Again(T, u64),
    /// To be delivered in two parts, in this order.
    Split(T, T),
}

/// The requests on hand.
#[derive(Debug)]
pub(super) struct Lanes<T> {
    in_flight_max: usize,
    /// What waits behind the first of each lane; lanes without any request are not in here.
    behind: BTreeMap<u64, VecDeque<T>>,
    /// Firsts that have not been tried yet, in order of arrival.
    fresh: VecDeque<T>,
    /// Firsts that are to be tried again.
    retries: BinaryHeap<Retry<T>>,
    attempts_running: usize,
    failures_in_a_row: usize,
    /// No fresh request is begun before this time: the receiver asked for it.
    hold_until_ns: u64,
}

impl<T: InLane> Lanes<T> {
    pub fn new(in_flight_max: usize) -> Self {
        Self {
            in_flight_max: in_flight_max.max(1),
            behind: BTreeMap::new(),
            fresh: VecDeque::new(),
            retries: BinaryHeap::new(),
            attempts_running: 0,
            failures_in_a_row: 0,
            hold_until_ns: 0,
        }
    }

    /// Takes in a request behind all others of its lane.
    pub fn push(&mut self, request: T) {
        match self.behind.entry(request.lane()) {
            std::collections::btree_map::Entry::Occupied(mut lane) => lane.get_mut().push_back(request),
            std::collections::btree_map::Entry::Vacant(lane) => {
                lane.insert(VecDeque::new());
                self.fresh.push_back(request);
            }
        }
    }

    /// A request to attempt now, if there is one; [`Lanes::settle`] says how it went.
    pub fn next(&mut self, now_ns: u64) -> Option<T> {
        if self.attempts_running >= self.in_flight_max {
            return None;
        }
        let request = if self.retries.peek().is_some_and(|retry| retry.due_ns <= now_ns) {
            self.retries.pop().map(|retry| retry.request)
        } else if self.may_begin() && self.hold_until_ns <= now_ns {
            self.fresh.pop_front()
        } else {
            None
        };
        self.attempts_running += usize::from(request.is_some());
        request
    }

    /// When [`Lanes::next`] may have something that it has not now, if only time has to pass for that.
    pub fn wake_ns(&self) -> Option<u64> {
        if self.attempts_running >= self.in_flight_max {
            return None;
        }
        let fresh = (!self.fresh.is_empty() && self.may_begin()).then_some(self.hold_until_ns);
        let retry = self.retries.peek().map(|retry| retry.due_ns);
        fresh.into_iter().chain(retry).min()
    }

    /// An attempt at a request of `lane` has ended.
    pub fn settle(&mut self, lane: u64, next: Next<T>) {
        self.attempts_running = self.attempts_running.saturating_sub(1);
        match next {
            Next::Done => {
                self.failures_in_a_row = 0;
                self.pass(lane);
            }
            Next::Again(request, due_ns) => {
                self.failures_in_a_row += 1;
                self.retries.push(Retry { due_ns, request });
            }
            Next::Split(first, second) => {
                self.behind.entry(lane).or_default().push_front(second);
                self.fresh.push_front(first);
            }
        }
    }

    /// An attempt at a request of `lane` has failed, and it was the last.
    pub fn give_up(&mut self, lane: u64) {
        self.attempts_running = self.attempts_running.saturating_sub(1);
        self.failures_in_a_row += 1;
        self.pass(lane);
    }

    /// Begins no fresh request before `until_ns`.
    pub fn hold(&mut self, until_ns: u64) {
        self.hold_until_ns = self.hold_until_ns.max(until_ns);
    }

    fn may_begin(&self) -> bool {
        let is_failing = self.failures_in_a_row >= self.in_flight_max;
        !is_failing || self.attempts_running + self.retries.len() < self.in_flight_max
    }

    /// Makes the next of `lane` its first.
    fn pass(&mut self, lane: u64) {
        if let Some(queue) = self.behind.get_mut(&lane) {
            match queue.pop_front() {
                Some(first) => self.fresh.push_back(first),
                None => {
                    self.behind.remove(&lane);
                }
            }
        }
    }
}

/// A request that waits to be tried again; the earliest comes out of a heap first.
#[derive(Debug)]
struct Retry<T> {
    due_ns: u64,
    request: T,
}

impl<T> Ord for Retry<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        Reverse(self.due_ns).cmp(&Reverse(other.due_ns))
    }
}

impl<T> PartialOrd for Retry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Retry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.due_ns == other.due_ns
    }
}

impl<T> Eq for Retry<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    /// (lane, number)
    type Item = (u64, u32);

    impl InLane for Item {
        fn lane(&self) -> u64 {
            self.0
        }
    }

    #[test]
    fn a_lane_waits_for_its_first_and_others_pass() {
        let mut lanes = Lanes::new(2);
        [(1, 1), (1, 2), (2, 1), (3, 1)].into_iter().for_each(|item| lanes.push(item));
        assert_eq!((lanes.next(0), lanes.next(0), lanes.next(0)), (Some((1, 1)), Some((2, 1)), None));
        lanes.settle(1, Next::Again((1, 1), 50));
        assert_eq!((lanes.next(10), lanes.next(10)), (Some((3, 1)), None));
        lanes.settle(2, Next::Done);
        assert_eq!((lanes.next(10), lanes.wake_ns()), (None, Some(50)));
        assert_eq!(lanes.next(50), Some((1, 1)));
        lanes.settle(1, Next::Done);
        assert_eq!(lanes.next(50), Some((1, 2)));
        lanes.settle(1, Next::Done);
        lanes.settle(3, Next::Done);
        assert!(lanes.behind.is_empty() && lanes.wake_ns().is_none());
    }

    #[test]
    fn nothing_new_is_begun_while_everything_fails() {
        let mut lanes = Lanes::new(2);
        (0..10).for_each(|lane| lanes.push((lane, 0)));
        for _ in 0..2 {
            let item = lanes.next(0).unwrap();
            lanes.settle(item.0, Next::Again(item, 100));
        }
        assert_eq!((lanes.next(99), lanes.wake_ns()), (None, Some(100)));
        let (first, second) = (lanes.next(100).unwrap(), lanes.next(100).unwrap());
        // One given up makes room for one; a success, for all.
        lanes.give_up(first.0);
        let third = lanes.next(100).unwrap();
        lanes.settle(third.0, Next::Again(third, 200));
        assert_eq!(lanes.next(100), None);
        lanes.settle(second.0, Next::Done);
        assert!(lanes.next(100).is_some() && lanes.next(100).is_some());
    }

    #[test]
    fn halves_go_before_what_is_behind() {
        let mut lanes = Lanes::new(4);
        lanes.push((1, 1));
        lanes.push((1, 9));
        lanes.next(0).unwrap();
        lanes.settle(1, Next::Split((1, 2), (1, 3)));
        for expected in [2, 3, 9] {
            assert_eq!((lanes.next(0), lanes.next(0)), (Some((1, expected)), None));
            lanes.settle(1, Next::Done);
        }
    }

    #[test]
    fn a_hold_delays_only_what_is_fresh() {
        let mut lanes = Lanes::new(4);
        lanes.push((1, 1));
        lanes.next(0).unwrap();
        lanes.settle(1, Next::Again((1, 1), 20));
        lanes.push((2, 1));
        lanes.hold(60);
        assert_eq!((lanes.next(10), lanes.wake_ns()), (None, Some(20)));
        assert_eq!((lanes.next(20), lanes.wake_ns(), lanes.next(60)), (Some((1, 1)), Some(60), Some((2, 1))));
    }
}
