//! A path over a document: the values it leads to.
//!
//! In strict mode a name or index in front of the first wildcard that is not there is an error; in lax mode, and behind
//! a wildcard, it leads to nothing. A path of names and single indexes gives one value, any other a list, empty or not.

use super::document::{Document, Kind, Place, ROOT};
use super::filter::Scope;
use super::path::{Function, Path, Step, is_definite};

/// What a path leads to.
#[derive(Debug)]
pub(super) enum Found {
    /// Nothing, or the null of JSON.
    Nothing,
    One(Item),
    Many(Vec<Item>),
}

#[derive(Debug)]
pub(super) enum Item {
    Place(Place),
    /// An object of some of an object's entries.
    Object(Vec<(Place, Place)>),
    /// What functions give.
    Null,
    Count(usize),
    Number(f64),
    Keys(Place),
}

/// Why there is no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// Something on the way is not there.
    Absent,
    /// A function or filter was given what it does not take.
    Misplaced,
}

/// The values that `path` leads to from the whole of `document`.
///
/// # Errors
/// If something on the way is missing, in strict mode, or cannot be done.
pub(super) fn read(path: &Path, document: Document<'_>, is_lax: bool) -> Result<Found, Failure> {
    evaluate(path, Scope { document, root: ROOT, is_lax }, ROOT, false)
}

/// As [`read`], from `start`. With `is_required`, properties at the end must be there, too.
pub(super) fn evaluate(
    path: &Path,
    scope: Scope<'_>,
    start: Place,
    is_required: bool,
) -> Result<Found, Failure> {
    // A function behind `..` at the start takes all that is found, not each by itself.
    let (steps, gathers) = match path.steps.as_slice() {
        [steps @ .., Step::Function(function)] if matches!(steps.first(), Some(Step::Scan)) => {
            (steps, Some(*function))
        }
        steps => (steps, None),
    };
    let mut walk = Walk { scope, is_required, found: Vec::new() };
    walk.steps(steps, true, start)?;
    let mut found = walk.found;
    if let Some(function) = gathers {
        let places = found.iter().filter_map(|item| match item {
            Item::Place(place) => Some(*place),
            _ => None,
        });
        // The items of the value itself count, too, if it is a list.
        let is_list = scope.document.kind(start) == Kind::List;
        let own = children(scope.document, start).filter(|_| is_list);
        found = vec![aggregate(function, scope.document, own.chain(places))?];
    } else if !path.is_definite() {
        return Ok(Found::Many(found));
    }
    match found.pop() {
        Some(Item::Place(place)) if scope.document.kind(place) == Kind::Null => Ok(Found::Nothing),
        Some(Item::Null) => Ok(Found::Nothing),
        Some(item) => Ok(Found::One(item)),
        None if scope.is_lax => Ok(Found::Nothing),
        None => Err(Failure::Absent),
    }
}

struct Walk<'d> {
    scope: Scope<'d>,
    is_required: bool,
    found: Vec<Item>,
}

impl Walk<'_> {
    /// Goes on from `place`; `is_sure` while all steps so far lead to one value.
    fn steps(&mut self, steps: &[Step], is_sure: bool, place: Place) -> Result<(), Failure> {
        let Some((step, rest)) = steps.split_first() else {
            self.found.push(Item::Place(place));
            return Ok(());
        };
        let scope = self.scope;
        let document = scope.document;
        let stays_sure = is_sure && is_definite(steps, 0);
        match step {
            Step::Properties(names) if document.kind(place) == Kind::Object => {
                self.properties(names, rest, stays_sure, place)
            }
            Step::Indexes(indexes) if document.kind(place) == Kind::List => {
                for item in indexes.iter().filter_map(|index| document.item(place, *index)) {
                    self.steps(rest, stays_sure, item)?;
                }
                Ok(())
            }
            Step::Slice(from, to) if document.kind(place) == Kind::List => {
                let items: Vec<Place> = document.items(place).collect();
                for at in slice(*from, *to, items.len() as i64) {
                    // Counted from the end below zero, also in the middle of a slice.
                    let at = if at < 0 { items.len() as i64 + at } else { at };
                    if let Some(item) = usize::try_from(at).ok().and_then(|at| items.get(at)) {
                        self.steps(rest, false, *item)?;
                    }
                }
                Ok(())
            }
            Step::Properties(_) | Step::Indexes(_) | Step::Slice(..) => self.absent(is_sure),
            Step::Wildcard => {
                for child in children(document, place) {
                    self.steps(rest, false, child)?;
                }
                Ok(())
            }
            Step::Scan => {
                // What is inside stands behind, in the order in which it is met; keys are no containers.
                let inside = place..document.behind(place);
                for container in inside.filter(|place| document.is_container(*place)) {
                    if self.is_met(rest, container) {
                        self.steps(rest, false, container)?;
                    }
                }
                Ok(())
            }
            Step::Filter(test) => match document.kind(place) {
                Kind::Object if test.accepts(scope, place) => self.steps(rest, false, place),
                Kind::Object => Ok(()),
                Kind::List => {
                    for item in document.items(place).filter(|item| test.accepts(scope, *item)) {
                        self.steps(rest, false, item)?;
                    }
                    Ok(())
                }
                _ if is_sure => Err(Failure::Misplaced),
                _ => Ok(()),
            },
            Step::Function(function) => {
                let item = match function {
                    Function::Length if document.is_container(place) => {
                        Item::Count(children(document, place).count())
                    }
                    Function::Keys if document.kind(place) == Kind::Object => Item::Keys(place),
                    Function::Length | Function::Keys => Item::Null,
                    function => {
                        let is_list = document.kind(place) == Kind::List;
                        let items = children(document, place).filter(|_| is_list);
                        aggregate(*function, document, items)?
                    }
                };
                self.found.push(item);
                Ok(())
            }
        }
    }

    fn properties(
        &mut self,
        names: &[String],
        rest: &[Step],
        is_sure: bool,
        object: Place,
    ) -> Result<(), Failure> {
        let document = self.scope.document;
        if names.len() > 1 && rest.is_empty() {
            let entry = |name: &String| {
                let value = document.property(object, name)?;
                Some((value - 1, value))
            };
            let entries: Vec<_> = names.iter().filter_map(entry).collect();
            if self.is_required && entries.len() < names.len() {
                return Err(Failure::Absent);
            }
            self.found.push(Item::Object(entries));
            return Ok(());
        }
        for name in names {
            match document.property(object, name) {
                Some(value) => self.steps(rest, is_sure, value)?,
                None if rest.is_empty() && !self.is_required => {}
                None => self.absent(is_sure || self.is_required)?,
            }
        }
        Ok(())
    }

    fn absent(&self, is_error: bool) -> Result<(), Failure> {
        if is_error && !self.scope.is_lax { Err(Failure::Absent) } else { Ok(()) }
    }

    /// Whether the step behind `..` is tried on a container.
    fn is_met(&self, steps: &[Step], container: Place) -> bool {
        let document = self.scope.document;
        let is_object = document.kind(container) == Kind::Object;
        match &steps[0] {
            Step::Properties(names) if is_definite(steps, 0) => {
                is_object && names.iter().all(|name| document.property(container, name).is_some())
            }
            Step::Properties(_) => is_object,
            Step::Indexes(_) | Step::Slice(..) => !is_object,
            Step::Wildcard => true,
            Step::Filter(test) => test.accepts(self.scope, container),
            Step::Scan | Step::Function(_) => false,
        }
    }
}

/// The values inside a container, one level down.
fn children<'a>(document: Document<'a>, place: Place) -> impl Iterator<Item = Place> + use<'a> {
    let kind = document.kind(place);
    let items = (kind == Kind::List).then(|| document.items(place)).into_iter().flatten();
    let entries = (kind == Kind::Object).then(|| document.entries(place)).into_iter().flatten();
    items.chain(entries.map(|(_, value)| value))
}

/// The indexes of a slice. A bound that stands alone counts from the end if it is negative.
fn slice(from: Option<i32>, to: Option<i32>, length: i64) -> std::ops::Range<i64> {
    let from_end = |bound: i64| if bound < 0 { length + bound } else { bound };
    match (from.map(i64::from), to.map(i64::from)) {
        (Some(first), None) => from_end(first).max(0)..length,
        (None, Some(end)) => 0..from_end(end).min(length),
        (Some(first), Some(end)) => first.max(-length)..end.min(length),
        (None, None) => 0..length,
    }
}

fn aggregate(
    function: Function,
    document: Document<'_>,
    places: impl Iterator<Item = Place>,
) -> Result<Item, Failure> {
    let (mut count, mut sum, mut squares) = (0.0, 0.0, 0.0);
    let (mut min, mut max) = (f64::INFINITY, f64::NEG_INFINITY);
    for place in places.filter(|place| matches!(document.kind(*place), Kind::Whole | Kind::Fraction)) {
        let number: f64 = document.raw(place).parse().unwrap_or(0.0);
        count += 1.0;
        sum += number;
        squares += number * number;
        min = number.min(min);
        max = number.max(max);
    }
    if count == 0.0 {
        return Err(Failure::Misplaced);
    }
    match function {
        Function::Sum => Ok(Item::Number(sum)),
        Function::Min => Ok(Item::Number(min)),
        Function::Max => Ok(Item::Number(max)),
        Function::Average => Ok(Item::Number(sum / count)),
        Function::Deviation => Ok(Item::Number((squares / count - sum * sum / count / count).sqrt())),
        Function::Length | Function::Keys => Err(Failure::Misplaced),
    }
}
