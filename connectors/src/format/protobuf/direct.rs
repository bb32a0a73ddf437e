//! Messages straight from their bytes into columns, without a message in memory.
//!
//! Invariants: only what is plainly good is read; at anything else (bad bytes, a value that does not fit, a message field
//! that comes twice and would have to be merged) it gives up with `None` and a row half filled, which the caller takes
//! back to read the message the long way. Unwanted fields are skipped unread. No allocation but the columns' own.

use prost_reflect::Kind;

use super::decode::{fill, unsigned};
use super::shape::{Member, Shape};
use crate::format::columns::{ColumnBuilder, RowBuilder};
use crate::format::convert::Scalar;

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const DELIMITED: u64 = 2;
const FIXED32: u64 = 5;

/// The fields of a message into those of a row, which the caller ends.
pub(super) fn read_row(
    message: &[u8],
    members: &[Member],
    row: &mut RowBuilder,
    read_defaults: bool,
) -> Option<()> {
    let (mut rest, mut next) = (message, 0);
    while !rest.is_empty() {
        let (number, wire) = key(&mut rest)?;
        // Fields mostly come in the order of their numbers, which is mostly that of the columns.
        let index = match members.get(next) {
            Some(member) if member.number == number => Some(next),
            _ => members.iter().position(|member| member.number == number),
        };
        let Some(index) = index else {
            skip(&mut rest, wire)?;
            continue;
        };
        next = index + 1;
        let shape = &members[index].shape;
        if matches!(shape, Shape::Row(..) | Shape::Time(_)) && row.has_value(index) {
            return None;
        }
        match shape {
            Shape::List(item) => {
                read_items(&mut rest, wire, item, row.column(index).items()?, read_defaults)?
            }
            shape => read_value(&mut rest, wire, shape, row.column(index), read_defaults)?,
        }
    }
    for (index, member) in members.iter().enumerate() {
        if row.has_value(index) {
            continue;
        }
        let column = row.column(index);
        match &member.shape {
            Shape::List(_) if column.has_open_items() || read_defaults => column.end_nested(),
            Shape::List(_) | Shape::Row(..) | Shape::Time(_) => column.null(),
            shape if member.is_plain || read_defaults => {
                fill(&member.default, shape, column, read_defaults).ok()?;
            }
            _ => column.null(),
        }
    }
    Some(())
}

/// An item of a repeated field, or many numbers packed together.
fn read_items(
    rest: &mut &[u8],
    wire: u64,
    item: &Shape,
    items: &mut ColumnBuilder,
    read_defaults: bool,
) -> Option<()> {
    let kind = match item {
        Shape::Scalar(kind) => wire_of(kind),
        Shape::Enum { .. } => VARINT,
        _ => DELIMITED,
    };
    if wire != DELIMITED || kind == DELIMITED {
        return read_value(rest, wire, item, items, read_defaults);
    }
    let mut packed = delimited(rest)?;
    while !packed.is_empty() {
        read_value(&mut packed, kind, item, items, read_defaults)?;
    }
    Some(())
}

fn read_value(
    rest: &mut &[u8],
    wire: u64,
    shape: &Shape,
    column: &mut ColumnBuilder,
    read_defaults: bool,
) -> Option<()> {
    match shape {
        Shape::Scalar(kind) if wire == wire_of(kind) => column.scalar(scalar(rest, kind)?).ok(),
        Shape::Enum { values, is_text } if wire == VARINT => {
            let number = varint(rest)? as i32;
            let known = if *is_text { values.get_value(number) } else { None };
            match &known {
                Some(value) => column.scalar(Scalar::Text(value.name())).ok(),
                None => column.scalar(Scalar::Int(i64::from(number))).ok(),
            }
        }
        Shape::Row(_, members) if wire == DELIMITED => {
            read_row(delimited(rest)?, members, column.row()?, read_defaults)?;
            column.end_nested();
            Some(())
        }
        Shape::Time(_) if wire == DELIMITED => column.scalar(time(delimited(rest)?)?).ok(),
        _ => None,
    }
}

/// A google.protobuf.Timestamp.
fn time(message: &[u8]) -> Option<Scalar<'static>> {
    let (mut rest, mut seconds, mut nanos) = (message, 0, 0);
    while !rest.is_empty() {
        match key(&mut rest)? {
            (1, VARINT) => seconds = varint(&mut rest)? as i64,
            (2, VARINT) => nanos = varint(&mut rest)? as i32,
            (1 | 2, _) => return None,
            (_, wire) => skip(&mut rest, wire)?,
        }
    }
    let nanos = u32::try_from(nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
    Some(Scalar::Time { seconds, nanos })
}

fn wire_of(kind: &Kind) -> u64 {
    match kind {
        Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => FIXED64,
        Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => FIXED32,
        Kind::String | Kind::Bytes | Kind::Message(_) => DELIMITED,
        _ => VARINT,
    }
}

fn scalar<'a>(rest: &mut &'a [u8], kind: &Kind) -> Option<Scalar<'a>> {
    Some(match kind {
        Kind::Double => Scalar::Float(f64::from_le_bytes(take(rest)?)),
        Kind::Float => Scalar::Float(f64::from(f32::from_le_bytes(take(rest)?))),
        Kind::Int32 | Kind::Enum(_) => Scalar::Int(i64::from(varint(rest)? as i32)),
        Kind::Int64 => Scalar::Int(varint(rest)? as i64),
        Kind::Uint32 => Scalar::Int(i64::from(varint(rest)? as u32)),
        Kind::Uint64 => unsigned(varint(rest)?),
        Kind::Sint32 => {
            let folded = varint(rest)? as u32;
            Scalar::Int(i64::from((folded >> 1) as i32 ^ -((folded & 1) as i32)))
        }
        Kind::Sint64 => {
            let folded = varint(rest)?;
            Scalar::Int((folded >> 1) as i64 ^ -((folded & 1) as i64))
        }
        Kind::Fixed32 => Scalar::Int(i64::from(u32::from_le_bytes(take(rest)?))),
        Kind::Fixed64 => unsigned(u64::from_le_bytes(take(rest)?)),
        Kind::Sfixed32 => Scalar::Int(i64::from(i32::from_le_bytes(take(rest)?))),
        Kind::Sfixed64 => Scalar::Int(i64::from_le_bytes(take(rest)?)),
        Kind::Bool => Scalar::Bool(varint(rest)? != 0),
        Kind::String => Scalar::Text(std::str::from_utf8(delimited(rest)?).ok()?),
        Kind::Bytes => Scalar::Bytes(delimited(rest)?),
        Kind::Message(_) => return None,
    })
}

/// A field's number and how its value is written.
fn key(rest: &mut &[u8]) -> Option<(u32, u64)> {
    let key = u32::try_from(varint(rest)?).ok()?;
    (key >> 3 != 0).then_some((key >> 3, u64::from(key & 7)))
}

fn skip(rest: &mut &[u8], wire: u64) -> Option<()> {
    match wire {
        VARINT => varint(rest).map(|_| ()),
        FIXED64 => take::<8>(rest).map(|_| ()),
        DELIMITED => delimited(rest).map(|_| ()),
        FIXED32 => take::<4>(rest).map(|_| ()),
        _ => None,
    }
}

/// Seven bits a byte, the lowest first; at most ten bytes, of which the last has one bit.
fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for (index, byte) in rest.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            if index == 9 && *byte > 1 {
                return None;
            }
            *rest = &rest[index + 1..];
            return Some(value);
        }
    }
    None
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, behind) = rest.split_first_chunk::<N>()?;
    *rest = behind;
    Some(*bytes)
}

fn delimited<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(varint(rest)?).ok()?;
    let (bytes, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some(bytes)
}
