//! A pattern compiled: states, and for each the edges that a row may take from it.
//!
//! It has Flink's states and Flink's order of edges, because which of two matches comes first, and so which one is kept,
//! follows from them. Flink's PROCEED edges, which take no row, are followed here once, at compile time: an edge's
//! condition is what all of them on the way ask for, as two sets of variables, those whose definition must hold for the row
//! and those whose must not. Greed is nothing but such a condition: a row that can go on with B is no C.
//! Comes from pattern.rs, goes to matcher.rs. Flink: NFACompiler, NFA.createDecisionGraph.

use super::pattern::{Pattern, Quantifier};

/// A state of the automaton.
pub(super) type StateId = u16;

/// The state in which a match is complete.
pub(super) const FINAL: StateId = 0;

/// What must hold for a row, and what must not: a bit for each variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Guard {
    holds: u64,
    fails: u64,
}

impl Guard {
    fn and(self, other: Self) -> Self {
        Self { holds: self.holds | other.holds, fails: self.fails | other.fails }
    }

    /// True for a row for which the variables in `truth`, and no others, hold.
    pub fn admits(self, truth: u64) -> bool {
        self.holds & !truth == 0 && self.fails & truth == 0
    }
}

/// A row taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edge {
    pub guard: Guard,
    /// Which variable takes it.
    pub variable: usize,
    pub target: StateId,
    /// The ways on from the target to the end of the pattern that need no further row.
    pub ends: Vec<Guard>,
}

/// See the module's page.
#[derive(Debug)]
pub(super) struct Automaton {
    edges: Vec<Vec<Edge>>,
    needs: Vec<u64>,
    pub start: StateId,
}

impl Automaton {
    pub fn new(pattern: &Pattern) -> Self {
        let mut builder = Builder { states: vec![State::default()] };
        let mut sink = FINAL;
        for (index, variable) in pattern.variables().iter().enumerate().rev() {
            sink = builder.variable(index, variable.quantifier, sink);
        }
        let edges: Vec<Vec<Edge>> = (0..builder.states.len()).map(|state| builder.edges_of(state)).collect();
        let need = |edges: &Vec<Edge>| {
            let guards = edges.iter().flat_map(|edge| edge.ends.iter().chain([&edge.guard]));
            guards.fold(0, |need, guard| need | guard.holds | guard.fails)
        };
        Self { needs: edges.iter().map(need).collect(), edges, start: sink }
    }

    /// The edges from `state`, in the order in which they are tried.
    pub fn edges(&self, state: StateId) -> &[Edge] {
        &self.edges[usize::from(state)]
    }

    /// The variables whose definitions decide how a row goes on from `state`.
    pub fn needs(&self, state: StateId) -> u64 {
        self.needs[usize::from(state)]
    }

    /// True for the number of a state, of a checkpoint say.
    pub fn has(&self, state: i64) -> bool {
        usize::try_from(state).is_ok_and(|state| state < self.edges.len())
    }
}

/// A way on from a state: with the row, or without taking it.
#[derive(Debug, Clone, Copy)]
struct Way {
    guard: Guard,
    target: StateId,
    takes: bool,
}

#[derive(Debug, Default)]
struct State {
    /// The variable that takes rows here.
    variable: usize,
    ways: Vec<Way>,
}

struct Builder {
    states: Vec<State>,
}

impl Builder {
    /// The states of a variable in front of `sink`; answers the first.
    fn variable(&mut self, variable: usize, quantifier: Quantifier, sink: StateId) -> StateId {
        let least = quantifier.least.max(1);
        let is_optional = quantifier.least == 0;
        match quantifier.most {
            None => {
                let looping = self.state(variable);
                self.add(looping, Guard::default(), sink, false);
                if quantifier.takes_all_it_can() {
                    self.refuse(sink, variable);
                }
                self.add(looping, holds(variable), looping, true);
                self.times(variable, (least, least), looping, sink, is_optional)
            }
            Some(most) => {
                if quantifier.takes_all_it_can() && least != most {
                    self.refuse(sink, variable);
                }
                self.times(variable, (least, most), sink, sink, is_optional)
            }
        }
    }

    /// States one after the other, the last of which leads to `last`; those that may be the last one lead on to `next`.
    fn times(
        &mut self,
        variable: usize,
        (least, most): (u32, u32),
        last: StateId,
        next: StateId,
        is_optional: bool,
    ) -> StateId {
        let mut sink = last;
        for _ in least..most {
            sink = self.single(variable, sink, Some(next));
        }
        for _ in 1..least {
            sink = self.single(variable, sink, None);
        }
        self.single(variable, sink, is_optional.then_some(next))
    }

    fn single(&mut self, variable: usize, sink: StateId, next: Option<StateId>) -> StateId {
        let state = self.state(variable);
        self.add(state, holds(variable), sink, true);
        if let Some(next) = next {
            self.add(state, Guard::default(), next, false);
        }
        state
    }

    fn state(&mut self, variable: usize) -> StateId {
        self.states.push(State { variable, ways: Vec::new() });
        (self.states.len() - 1) as StateId
    }

    fn add(&mut self, state: StateId, guard: Guard, target: StateId, takes: bool) {
        self.states[usize::from(state)].ways.push(Way { guard, target, takes });
    }

    /// No row that `variable` can take goes on from `state`.
    fn refuse(&mut self, state: StateId, variable: usize) {
        let ways = self.states[usize::from(state)].ways.iter_mut();
        ways.for_each(|way| way.guard.fails |= 1 << variable);
    }

    fn edges_of(&self, state: usize) -> Vec<Edge> {
        let mut edges = Vec::new();
        let mut open = vec![(state, Guard::default())];
        while let Some((state, so_far)) = open.pop() {
            let State { variable, ways } = &self.states[state];
            for way in ways {
                let guard = so_far.and(way.guard);
                if way.takes {
                    let ends = self.ends_of(way.target);
                    edges.push(Edge { guard, variable: *variable, target: way.target, ends });
                } else {
                    open.push((usize::from(way.target), guard));
                }
            }
        }
        edges
    }

    fn ends_of(&self, state: StateId) -> Vec<Guard> {
        let mut ends = Vec::new();
        let mut open = vec![(state, Guard::default())];
        while let Some((state, so_far)) = open.pop() {
            for way in self.states[usize::from(state)].ways.iter().filter(|way| !way.takes) {
                let guard = so_far.and(way.guard);
                if way.target == FINAL { ends.push(guard) } else { open.push((way.target, guard)) }
            }
        }
        ends
    }
}

fn holds(variable: usize) -> Guard {
    Guard { holds: 1 << variable, fails: 0 }
}
