//! Looking a path up in a text, for all functions that do: a text or path a row, and why there may be no value.

use std::fmt;

use datafusion_common::Result;

use super::document::{Document, Kind, Nodes, ROOT};
use super::evaluate::{Failure, Found, Item, read};
use super::path::Spec;
use crate::functions::call::{Call, Texts};
use crate::functions::text::{ByRow, Compiled};

/// Why a path has no value in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    NotJson,
    NullDocument,
    NoPath,
    Absent,
    Misplaced,
    IsNull,
    NotScalar,
    IsScalar,
    OtherType,
    Empty,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotJson => "the text is not JSON",
            Self::NullDocument => "the whole document is null",
            Self::NoPath => "the path is none",
            Self::Absent => "something on the path is not there",
            Self::Misplaced => "a filter or function of the path is applied to a value that it does not take",
            Self::IsNull => "the value is null",
            Self::NotScalar => "the value is an object or a list",
            Self::IsScalar => "the value is neither an object nor a list",
            Self::OtherType => "the value is of another type than RETURNING says",
            Self::Empty => "there is no value",
        })
    }
}

/// What the lookup of a row came to.
pub(super) enum Outcome<'a> {
    Found(Document<'a>, Found),
    /// Nothing is there, in lax mode.
    Empty,
    Failed(Why),
}

/// The lookups of a call: its first argument is the text, its second the path.
pub(super) struct Lookups<'a> {
    texts: Texts<'a>,
    specs: ByRow<'a, Spec>,
    nodes: Nodes,
    /// Whether what is found is written out whole, so that keys must be there once.
    is_whole: bool,
}

impl<'a> Lookups<'a> {
    pub fn new(call: &Call<'a>, specs: &'a Compiled<Spec>, is_whole: bool) -> Result<Self> {
        let specs = ByRow::new(call.texts(1)?, specs);
        Ok(Self { texts: call.texts(0)?, specs, nodes: Nodes::default(), is_whole })
    }

    /// `None` if the text or the path is NULL.
    pub fn row(&mut self, row: usize) -> Result<Option<(Outcome<'_>, bool)>> {
        let (Some(text), Some(spec)) = (self.texts.get(row), self.specs.get(row)?) else { return Ok(None) };
        let is_distinct = self.is_whole || spec.path.as_ref().is_some_and(|path| !path.is_plain());
        let document = if is_distinct { self.nodes.read_distinct(text) } else { self.nodes.read(text) };
        let outcome = match (document, &spec.path) {
            (None, _) if spec.is_lax => Outcome::Empty,
            (None, _) => Outcome::Failed(Why::NotJson),
            (Some(document), _) if document.kind(ROOT) == Kind::Null => Outcome::Failed(Why::NullDocument),
            (Some(_), None) => Outcome::Failed(Why::NoPath),
            (Some(document), Some(path)) => match read(path, document, spec.is_lax) {
                Ok(Found::Nothing) if spec.is_lax => Outcome::Empty,
                Ok(Found::Nothing) => Outcome::Failed(Why::IsNull),
                Ok(found) => Outcome::Found(document, found),
                Err(Failure::Absent) => Outcome::Failed(Why::Absent),
                Err(Failure::Misplaced) => Outcome::Failed(Why::Misplaced),
            },
        };
        Ok(Some((outcome, spec.is_lax)))
    }
}

/// Whether what was found is neither an object nor a list.
pub(super) fn is_scalar(document: Document<'_>, item: &Item) -> bool {
    match item {
        Item::Place(place) => !document.is_container(*place),
        Item::Object(_) | Item::Keys(_) => false,
        Item::Null | Item::Count(_) | Item::Number(_) => true,
    }
}
