//! Where a request goes, and with which headers, where that depends on its row: `{{column}}` in 'url' and 'headers.*'.
//!
//! Invariants: scheme, host and port are the table's, never a row's; a value stays within its level of the path or its
//! parameter of the query, and within its header. A row whose values cannot do that is a bad row. Requests then hold one row
//! each (settings.rs sees to it). sink.rs renders the target; client.rs sends to it.

use hyper::Uri;
use hyper::header::{HeaderName, HeaderValue};

use arrow_array::RecordBatch;
use arrow_schema::FieldRef;
use millstream_engine::{Error, Result};

use super::template::{Bound, Syntax, Template};

/// Templates of what is not the body.
#[derive(Debug, Default)]
pub(super) struct Targets {
    pub url: Option<Template>,
    pub headers: Vec<(HeaderName, Template)>,
}

/// The columns of one batch that targets are made of.
pub(super) struct BoundTargets {
    url: Option<Bound>,
    headers: Vec<Bound>,
}

/// One request's own.
#[derive(Debug)]
pub(super) struct Target {
    pub url: Option<Uri>,
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl Target {
    /// Bytes it takes.
    pub fn num_bytes(&self) -> usize {
        let url = self.url.as_ref().and_then(Uri::path_and_query).map_or(0, |path| path.as_str().len());
        url + self.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>()
    }
}

/// A URL with columns in its path or query.
///
/// # Errors
/// If they are elsewhere, or there are no such columns.
pub(super) fn url_template(text: &str, fields: &[FieldRef]) -> Result<Template> {
    let authority = text.split_once("://").map_or(0, |(scheme, _)| scheme.len() + 3);
    let rest = text.get(authority..).unwrap_or_default();
    let fixed = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    if authority == 0 || Template::has_columns(&text[..authority + fixed]) {
        return Err(Error::config("columns may stand in its path and query only")
            .remedy("write scheme, host and port out; rows for several hosts go to several tables"));
    }
    Template::parse(text, Syntax::Url, fields)
}

impl Targets {
    /// Whether all requests go to the same place.
    pub fn is_empty(&self) -> bool {
        self.url.is_none() && self.headers.is_empty()
    }

    /// Takes the columns out of a batch.
    ///
    /// # Errors
    /// If the batch does not have them.
    pub fn bind(&self, rows: &RecordBatch) -> Result<BoundTargets> {
        let url = self.url.as_ref().map(|url| url.bind(rows)).transpose()?;
        let headers = self.headers.iter().map(|(_, template)| template.bind(rows)).collect::<Result<_>>()?;
        Ok(BoundTargets { url, headers })
    }

    /// The target of one row.
    ///
    /// # Errors
    /// `Data` if a value cannot stand at its place.
    pub fn render(&self, bound: &BoundTargets, row: usize, scratch: &mut Vec<u8>) -> Result<Target> {
        let url = match (&self.url, &bound.url) {
            (Some(template), Some(columns)) => {
                let mut text = Vec::new();
                template.render(columns, row, scratch, &mut text)?;
                Some(checked(&text)?)
            }
            _ => None,
        };
        let mut headers = Vec::with_capacity(self.headers.len());
        for ((name, template), columns) in self.headers.iter().zip(&bound.headers) {
            let mut text = Vec::new();
            template.render(columns, row, scratch, &mut text)?;
            let mut value = HeaderValue::from_bytes(text.trim_ascii()).map_err(|_| {
                Error::data(format!("the value of header '{name}' has characters that no header may hold"))
            })?;
            value.set_sensitive(true);
            headers.push((name.clone(), value));
        }
        Ok(Target { url, headers })
    }
}

fn checked(text: &[u8]) -> Result<Uri> {
    let url =
        Uri::try_from(text).map_err(|error| Error::data(format!("'url' with the row's values: {error}")))?;
    // Dots need no encoding, yet receivers read such levels as a way out of the path.
    if url.path().split('/').any(|level| matches!(level, "." | "..")) {
        return Err(Error::data("a value makes '.' or '..' a level of the path of 'url'"));
    }
    Ok(url)
}
