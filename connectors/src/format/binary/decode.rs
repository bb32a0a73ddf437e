//! Tokens of a self-describing format to columns.
//!
//! Invariants: values go to the column of their key's name, others are skipped; a payload that is bad half-way leaves no
//! row; nesting is at most [`DEPTH_MAX`] deep; claimed lengths reserve nothing, and cost what the payload has bytes.

use std::io::Write;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use millstream_engine::format::Payloads;
use millstream_engine::{Decoded, Decoder, Error, Result};

use crate::format::columns::{ColumnBuilder, RowBuilder};
use crate::format::convert::Scalar;

/// How deep arrays and maps may be nested.
const DEPTH_MAX: usize = 64;

/// A value, or how one begins.
pub(super) enum Token<'t> {
    Scalar(Scalar<'t>),
    /// So many items follow; without a number, they end with a mark.
    Array(Option<u64>),
    /// So many pairs of key and value follow; without a number, they end with a mark.
    Map(Option<u64>),
}

/// The tokens of a payload.
pub(super) trait Tokens<'a> {
    /// Begins at the start of a payload.
    fn start(&mut self, payload: &'a [u8]);

    /// How many bytes are read.
    fn offset(&self) -> usize;

    /// True when nothing is left.
    fn is_at_end(&self) -> bool;

    /// Reads a token.
    ///
    /// # Errors
    /// `Data` when the bytes are none.
    fn next(&mut self) -> Result<Token<'_>>;

    /// Reads the mark that ends items without a number, if it is there.
    fn take_end(&mut self) -> bool {
        false
    }
}

/// A format's tokens, made for payloads of any lifetime.
pub(super) trait Syntax: Send + Sync + 'static {
    /// The format's name.
    const NAME: &'static str;
    /// One sentence.
    const HELP: &'static str;
    const CONTENT_TYPE: &'static str;
    type Tokens<'a>: Tokens<'a> + Default;
}

/// Decodes payloads of one syntax.
pub(super) struct TokenDecoder<S> {
    schema: SchemaRef,
    rows: RowBuilder,
    syntax: std::marker::PhantomData<S>,
}

impl<S: Syntax> TokenDecoder<S> {
    /// A decoder for the columns of `schema`.
    ///
    /// # Errors
    /// If a column's type cannot be filled.
    pub fn new(schema: SchemaRef) -> Result<Self> {
        let rows = RowBuilder::new(schema.fields())?;
        Ok(Self { schema, rows, syntax: std::marker::PhantomData })
    }
}

impl<S: Syntax> Decoder for TokenDecoder<S> {
    fn decode(&mut self, payloads: Payloads<'_>) -> Result<Decoded> {
        let (mut payload_of, mut rejected) = (Vec::with_capacity(payloads.len()), Vec::new());
        self.rows.truncate(0);
        let mut tokens = S::Tokens::default();
        for (number, payload) in (0_u32..).zip(payloads.iter()) {
            let before = self.rows.len();
            tokens.start(payload);
            match read_payload(&mut tokens, &mut self.rows) {
                Ok(()) => payload_of.resize(self.rows.len(), number),
                Err(error) => {
                    self.rows.truncate(before);
                    let at = tokens.offset();
                    rejected.push((number, Error::data(format!("{} (at byte {at})", error.message()))));
                }
            }
        }
        let rows = self.rows.finish(&Arc::clone(&self.schema))?;
        Ok(Decoded { rows, payload_of: Some(payload_of), rejected })
    }
}

fn read_payload<'a>(tokens: &mut impl Tokens<'a>, rows: &mut RowBuilder) -> Result<()> {
    while !tokens.is_at_end() {
        match tokens.next()? {
            Token::Map(pairs) => read_row(tokens, rows, pairs, 0)?,
            Token::Array(mut items) => {
                while has_more(tokens, &mut items)? {
                    let Token::Map(pairs) = tokens.next()? else {
                        return Err(Error::data("an array holds something else than maps"));
                    };
                    read_row(tokens, rows, pairs, 1)?;
                    rows.end();
                }
                continue;
            }
            Token::Scalar(_) => return Err(Error::data("a map is a row, and there is something else")),
        }
        rows.end();
    }
    Ok(())
}

/// Counts down `left`, or looks for the mark.
fn has_more<'a>(tokens: &mut impl Tokens<'a>, left: &mut Option<u64>) -> Result<bool> {
    match left {
        Some(0) => Ok(false),
        Some(left) => {
            *left -= 1;
            Ok(true)
        }
        None => Ok(!tokens.take_end()),
    }
}

fn deeper(depth: usize) -> Result<usize> {
    match depth < DEPTH_MAX {
        true => Ok(depth + 1),
        false => Err(Error::data(format!("arrays and maps are nested more than {DEPTH_MAX} deep"))),
    }
}

/// The pairs of a map into the fields of a row, which the caller ends.
fn read_row<'a>(
    tokens: &mut impl Tokens<'a>,
    row: &mut RowBuilder,
    mut pairs: Option<u64>,
    depth: usize,
) -> Result<()> {
    let depth = deeper(depth)?;
    while has_more(tokens, &mut pairs)? {
        let index = match tokens.next()? {
            Token::Scalar(Scalar::Text(name)) => row.position(name),
            Token::Scalar(Scalar::Int(number)) => position_of(row, number)?,
            Token::Scalar(Scalar::Bytes(name)) => {
                std::str::from_utf8(name).ok().and_then(|name| row.position(name))
            }
            Token::Scalar(_) => None,
            Token::Array(_) | Token::Map(_) => {
                return Err(Error::data("the key of a map is an array or a map"));
            }
        };
        match index {
            Some(index) => {
                if let Err(error) = fill(tokens, row.column(index), depth) {
                    return Err(row.name_in(index, &error));
                }
            }
            None => skip(tokens, depth)?,
        }
    }
    Ok(())
}

/// The column whose name is the decimal text of `number`.
fn position_of(row: &mut RowBuilder, number: i64) -> Result<Option<usize>> {
    let mut text = [0; 20];
    let mut left = &mut text[..];
    write!(left, "{number}").map_err(|_| Error::internal("a number has at most 20 characters"))?;
    let written = 20 - left.len();
    Ok(std::str::from_utf8(&text[..written]).ok().and_then(|name| row.position(name)))
}

/// The next value into `column`.
fn fill<'a>(tokens: &mut impl Tokens<'a>, column: &mut ColumnBuilder, depth: usize) -> Result<()> {
    match tokens.next()? {
        Token::Scalar(value) => column.scalar(value),
        Token::Array(mut left) => {
            let depth = deeper(depth)?;
            let items =
                column.items().ok_or_else(|| Error::data("an array is there, which the column is not"))?;
            while has_more(tokens, &mut left)? {
                fill(tokens, items, depth)?;
            }
            column.end_nested();
            Ok(())
        }
        Token::Map(mut left) => {
            if let Some(row) = column.row() {
                read_row(tokens, row, left, depth)?;
            } else {
                let depth = deeper(depth)?;
                let (keys, values) =
                    column.entries().ok_or_else(|| Error::data("a map is there, which the column is not"))?;
                while has_more(tokens, &mut left)? {
                    match tokens.next()? {
                        Token::Scalar(Scalar::Null) => return Err(Error::data("the key of a map is NULL")),
                        Token::Scalar(key) => keys.scalar(key)?,
                        _ => return Err(Error::data("the key of a map is an array or a map")),
                    }
                    fill(tokens, values, depth)?;
                }
            }
            column.end_nested();
            Ok(())
        }
    }
}

/// Reads over the next value.
fn skip<'a>(tokens: &mut impl Tokens<'a>, depth: usize) -> Result<()> {
    let (mut left, is_map) = match tokens.next()? {
        Token::Scalar(_) => return Ok(()),
        Token::Array(left) => (left, false),
        Token::Map(left) => (left, true),
    };
    let depth = deeper(depth)?;
    while has_more(tokens, &mut left)? {
        if is_map {
            skip(tokens, depth)?;
        }
        skip(tokens, depth)?;
    }
    Ok(())
}
