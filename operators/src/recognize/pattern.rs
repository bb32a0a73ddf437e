//! A row pattern as it is written: variables one after the other, how often each may occur, and what follows a match.
//!
//! Comes from sql/ (or a program), goes to automaton.rs. A [`Pattern`] that exists can be compiled: what Flink refuses is
//! refused here. Flink: CommonExecMatch.PatternVisitor.

use millstream_engine::{Error, Result};

/// Variables a pattern may have: what holds for a row is one bit for each.
const VARIABLES_MAX: usize = 64;

/// Rows that quantifiers with a number may ask for, all together: each is a state of the automaton.
const STATES_MAX: u64 = 4_096;

/// How many rows in a row a variable takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantifier {
    /// At least so many.
    pub least: u32,
    /// At most so many; none for any number.
    pub most: Option<u32>,
    /// As many as can be, or as few.
    pub greedy: bool,
}

impl Quantifier {
    /// One row.
    pub const ONE: Self = Self { least: 1, most: Some(1), greedy: true };

    /// True where greed decides anything, and the automaton asks what follows not to be what goes on.
    pub(super) fn takes_all_it_can(self) -> bool {
        self.greedy && self.most != Some(self.least) && !self.is_optional_one()
    }

    fn is_optional_one(self) -> bool {
        self.least == 0 && self.most == Some(1)
    }
}

/// A pattern variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// How often.
    pub quantifier: Quantifier,
}

/// Where the search goes on after a match. Variables by their place in the pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterMatch {
    /// At the row behind the last one.
    PastLastRow,
    /// At the row behind the first one.
    ToNextRow,
    /// At the first row of a variable.
    ToFirst(usize),
    /// At the last row of a variable.
    ToLast(usize),
}

/// A pattern, how long it may take, and what follows a match.
#[derive(Debug, Clone)]
pub struct Pattern {
    variables: Vec<Variable>,
    after: AfterMatch,
    within_ms: Option<i64>,
}

impl Pattern {
    /// The pattern of `variables`, whose last row is less than `within_ms` behind its first.
    ///
    /// # Errors
    /// If it is none that can be looked for, with what to write instead.
    pub fn new(variables: Vec<Variable>, after: AfterMatch, within_ms: Option<i64>) -> Result<Self> {
        let wrong = |message: String, remedy: &str| Err(Error::config(message).remedy(remedy));
        if variables.len() > VARIABLES_MAX {
            return wrong(
                format!("a pattern has at most {VARIABLES_MAX} variables"),
                "use quantifiers: A{2,5}",
            );
        }
        let rows: u64 = variables
            .iter()
            .map(|variable| u64::from(variable.quantifier.most.unwrap_or(variable.quantifier.least).max(1)))
            .sum();
        if rows > STATES_MAX {
            return wrong(
                format!("the numbers of this pattern ask for {rows} rows, and there may be {STATES_MAX}"),
                "say at least instead of exactly: A{100,}; or limit the match with WITHIN",
            );
        }
        for (at, Variable { name, quantifier }) in variables.iter().enumerate() {
            if variables[..at].iter().any(|other| other.name == *name) {
                return wrong(
                    format!("the pattern names {name} twice"),
                    "give each place a variable of its own, with the same condition",
                );
            }
            if quantifier.most.is_some_and(|most| most < quantifier.least.max(1)) {
                return wrong(
                    format!("{name} can have no row"),
                    "write {n,m} with n up to m, and m at least 1",
                );
            }
            if quantifier.is_optional_one() && !quantifier.greedy {
                return wrong(format!("{name}?? is not supported"), "write the greedy one: A?");
            }
            let before = at.checked_sub(1).map(|before| &variables[before]);
            let may_be_left_out = quantifier.least == 0 && matches!(quantifier.most, None | Some(1));
            if let Some(before) = before.filter(|before| before.quantifier.takes_all_it_can())
                && may_be_left_out
            {
                return wrong(
                    format!("{name}, which may have no row, cannot follow the greedy {}", before.name),
                    "make the one in front reluctant: A+?",
                );
            }
        }
        match variables.last() {
            None => return wrong("a pattern has a variable".into(), "write PATTERN (A B+ C)"),
            Some(last) if last.quantifier.takes_all_it_can() => {
                return wrong(
                    format!(
                        "the last variable, {}, would never know that it has taken all it can",
                        last.name
                    ),
                    "make it reluctant, as in B+?; or end with a variable of the opposite condition: (A B+ C), C AS NOT …",
                );
            }
            Some(_) => {}
        }
        if variables.iter().all(|variable| variable.quantifier.least == 0) {
            return wrong(
                "this pattern matches no rows at all".into(),
                "let a variable have at least one row: A+",
            );
        }
        let pattern = Self { variables, after, within_ms };
        pattern.check_after()?;
        Ok(pattern)
    }

    /// A search that goes on where the match began would find it again.
    fn check_after(&self) -> Result<()> {
        let (variable, first) = match self.after {
            AfterMatch::ToFirst(variable) => (variable, true),
            AfterMatch::ToLast(variable) => (variable, false),
            AfterMatch::PastLastRow | AfterMatch::ToNextRow => return Ok(()),
        };
        let quantifier = self.variables[variable].quantifier;
        let is_first_row = variable == 0 && (first || quantifier.most == Some(1));
        if is_first_row && quantifier.least > 0 {
            return Err(Error::config(format!(
                "to go on at {} is to find the same match again",
                self.variables[variable].name
            ))
            .remedy("write AFTER MATCH SKIP PAST LAST ROW, TO NEXT ROW, or TO LAST of a later variable"));
        }
        Ok(())
    }

    /// Its variables, in order.
    pub fn variables(&self) -> &[Variable] {
        &self.variables
    }

    /// Where the search goes on after a match.
    pub fn after(&self) -> AfterMatch {
        self.after
    }

    /// By how much the last row is less than this behind the first, in ms.
    pub fn within_ms(&self) -> Option<i64> {
        self.within_ms
    }

    /// True when a match has a greatest number of rows.
    pub fn has_most_rows(&self) -> bool {
        self.variables.iter().all(|variable| variable.quantifier.most.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(name: &str, least: u32, most: Option<u32>, greedy: bool) -> Variable {
        Variable { name: name.into(), quantifier: Quantifier { least, most, greedy } }
    }

    #[test]
    fn what_cannot_be_looked_for_is_refused_with_a_remedy() {
        let a = || variable("A", 1, Some(1), true);
        let after = AfterMatch::PastLastRow;
        for (variables, after, wanted) in [
            (vec![], after, "a pattern has a variable"),
            (vec![a(), a()], after, "twice"),
            (vec![variable("A", 0, None, true), a()], after, "twice"),
            (vec![variable("A", 0, None, false)], after, "no rows at all"),
            (vec![a(), variable("B", 1, None, true)], after, "would never know"),
            (vec![a(), variable("B", 0, Some(1), false)], after, "B??"),
            (
                vec![
                    variable("A", 1, None, true),
                    variable("B", 0, Some(1), true),
                    variable("C", 1, Some(1), true),
                ],
                after,
                "cannot follow",
            ),
            (vec![variable("A", 3, Some(2), true)], after, "can have no row"),
            (vec![variable("A", 5_000, Some(5_000), true)], after, "5000 rows"),
            (vec![a()], AfterMatch::ToFirst(0), "the same match again"),
            (vec![a(), variable("B", 1, Some(1), true)], AfterMatch::ToLast(0), "the same match again"),
        ] {
            let error = Pattern::new(variables, after, None).unwrap_err();
            assert!(error.message().contains(wanted), "{error}");
            assert!(error.remedy_text().is_some(), "{error}");
        }
        assert!(Pattern::new(vec![a(), variable("B", 1, None, false)], after, None).is_ok());
    }
}
