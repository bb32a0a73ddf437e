//! What each column holds: its type, and the `fields.COLUMN.*` options, read into a tree of [`Column`]s.
//!
//! Invariant: an option of a column that does not exist, or that means nothing for its kind, is an error that names
//! the nearest one.

use std::collections::BTreeSet;

use arrow_array::types::Decimal128Type;
use arrow_cast::parse::parse_decimal;
use arrow_schema::{DataType, Field};
use millstream_engine::options::Options;
use millstream_engine::suggest::did_you_mean;
use millstream_engine::{Error, Result, Table};

use super::series::{Series, walk_span};
use crate::generator::{Draws, share};

/// Flink's length of random text and bytes.
const TEXT_LEN: usize = 100;
/// Flink's length of random arrays.
const LIST_LEN: usize = 3;
/// Keeps batches of rows far below Arrow's 2 GiB.
const LEN_MAX: usize = 64 << 10;
const LIST_LEN_MAX: usize = 1_000;
const DEVICES_MAX: u64 = 100_000_000;

/// The devices that take turns.
#[derive(Debug)]
pub(super) struct Fleet {
    pub devices: u64,
    column: Option<String>,
    pub prefix: String,
    /// Digits of the largest device number.
    pub digits: usize,
}

impl Fleet {
    pub fn from_options(table: &Table) -> Result<Self> {
        let options = &table.options;
        let devices: Option<u64> = options.parse("devices", "an integer from 1 to 100000000")?;
        if devices.is_some_and(|devices| !(1..=DEVICES_MAX).contains(&devices)) {
            return Err(options.invalid("devices", "an integer from 1 to 100000000"));
        }
        let named = options.get("device-column");
        let column = devices.is_some().then(|| named.unwrap_or("device_id")).or(named);
        if let Some(column) = column
            && table.schema.column_with_name(column).is_none()
        {
            let names: Vec<&str> = table.schema.fields().iter().map(|field| field.name().as_str()).collect();
            let near = did_you_mean(column, names.iter().copied());
            let near = near.map_or(String::new(), |near| format!("did you mean '{near}'? "));
            return Err(Error::config(format!("option 'device-column': there is no column '{column}'"))
                .at(options.owner())
                .remedy(format!("{near}the columns are: {}", names.join(", "))));
        }
        let devices = devices.unwrap_or(1);
        Ok(Self {
            devices,
            column: column.map(str::to_owned),
            prefix: options.get("device-prefix").unwrap_or("device-").to_owned(),
            digits: (devices - 1).checked_ilog10().map_or(1, |log| log as usize + 1),
        })
    }
}

/// One column, field or item.
#[derive(Debug)]
pub(super) struct Column {
    pub name: String,
    pub draws: Draws,
    /// Share of NULLs.
    pub null_rate: f64,
    pub values: Values,
}

/// What a column's values are.
#[derive(Debug)]
pub(super) enum Values {
    /// The device's name or number.
    Device,
    /// The row's time, up to `max_past_ms` before.
    Time {
        max_past_ms: u64,
    },
    Boolean,
    /// Whole numbers; of a DECIMAL, without the point.
    Whole(Series<i128>),
    Real(Series<f64>),
    /// Hexadecimal digits, as Flink has them; or bytes.
    Random {
        len: usize,
        var_len: bool,
    },
    /// One of several.
    Pick(Vec<String>),
    /// A counted number as text.
    SequenceText {
        start: i128,
    },
    Row(Vec<Column>),
    List {
        len: usize,
        var_len: bool,
        item: Box<Column>,
    },
}

/// The columns of `table`, and how many rows its shortest sequence has.
pub(super) fn columns(table: &Table, fleet: &Fleet, seed: u64) -> Result<(Vec<Column>, u64)> {
    let mut reader = Reader {
        options: &table.options,
        fleet,
        seed,
        fields: 0,
        known: BTreeSet::new(),
        sequence_rows: u64::MAX,
    };
    let fields = table.schema.fields();
    let columns =
        fields.iter().map(|field| reader.column(field, field.name())).collect::<Result<Vec<_>>>()?;
    reader.check_known(fields.iter().map(|field| field.name().as_str()))?;
    Ok((columns, reader.sequence_rows))
}

/// Reads one table's options.
struct Reader<'a> {
    options: &'a Options,
    fleet: &'a Fleet,
    seed: u64,
    /// Columns and fields read so far: each draws from a sequence of its own.
    fields: u64,
    /// Options that mean something.
    known: BTreeSet<String>,
    sequence_rows: u64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Random,
    Sequence,
    Walk,
    Sine,
}

impl Reader<'_> {
    /// The full name of option `option` of the field at `path`, noted as one that means something.
    fn key(&mut self, path: &str, option: &str) -> String {
        let key = format!("fields.{path}.{option}");
        self.known.insert(key.clone());
        key
    }

    fn column(&mut self, field: &Field, path: &str) -> Result<Column> {
        self.fields += 1;
        let draws = Draws::new(self.seed, self.fields);
        let values = self.values(field, path)?;
        let key = self.key(path, "null-rate");
        let null_rate = share(self.options, &key)?.unwrap_or(0.0);
        if null_rate > 0.0 && !field.is_nullable() {
            return Err(self.options.invalid(&key, "0, since the column is NOT NULL"));
        }
        Ok(Column { name: field.name().clone(), draws, null_rate, values })
    }

    fn values(&mut self, field: &Field, path: &str) -> Result<Values> {
        let kind = field.data_type();
        let numeric = kind.is_numeric();
        if self.fleet.column.as_deref() == Some(path) {
            return match kind {
                DataType::Utf8 => Ok(Values::Device),
                kind if kind.is_integer() => Ok(Values::Device),
                other => Err(Error::config(format!("the device column '{path}' is {other}"))
                    .at(self.options.owner())
                    .remedy("make it STRING or an integer")),
            };
        }
        let key = self.key(path, "kind");
        let choices: &[(&str, Kind)] = match kind {
            _ if numeric => &[
                ("random", Kind::Random),
                ("sequence", Kind::Sequence),
                ("walk", Kind::Walk),
                ("sine", Kind::Sine),
            ],
            DataType::Utf8 => &[("random", Kind::Random), ("sequence", Kind::Sequence)],
            _ => &[("random", Kind::Random)],
        };
        let chosen = self.options.choice(&key, choices)?.unwrap_or(Kind::Random);
        match (kind, chosen) {
            (DataType::Float32 | DataType::Float64, _) => self.real(kind, path, chosen).map(Values::Real),
            (_, _) if numeric => self.whole(kind, path, chosen).map(Values::Whole),
            (DataType::Utf8, Kind::Sequence) => {
                let start = self.sequence(path, |options, key| options.parse(key, "an integer"))?;
                Ok(Values::SequenceText { start })
            }
            (DataType::Utf8, _) => {
                let key = self.key(path, "values");
                match self.options.get(&key) {
                    Some(list) => {
                        Ok(Values::Pick(list.split(',').map(|value| value.trim().to_owned()).collect()))
                    }
                    None => self
                        .lengths(path, TEXT_LEN, LEN_MAX)
                        .map(|(len, var_len)| Values::Random { len, var_len }),
                }
            }
            (DataType::Binary, _) => {
                self.lengths(path, TEXT_LEN, LEN_MAX).map(|(len, var_len)| Values::Random { len, var_len })
            }
            (DataType::Boolean, _) => Ok(Values::Boolean),
            (DataType::Timestamp(..) | DataType::Date32 | DataType::Time32(_), _) => {
                let key = self.key(path, "max-past");
                let max_past_ms = self.options.duration_ms(&key)?.unwrap_or(0).unsigned_abs();
                Ok(Values::Time { max_past_ms })
            }
            (DataType::Struct(fields), _) => {
                let fields =
                    fields.iter().map(|field| self.column(field, &format!("{path}.{}", field.name())));
                Ok(Values::Row(fields.collect::<Result<_>>()?))
            }
            (DataType::List(item), _) => {
                let (len, var_len) = self.lengths(path, LIST_LEN, LIST_LEN_MAX)?;
                let item = Box::new(self.column(item, &format!("{path}.element"))?);
                Ok(Values::List { len, var_len, item })
            }
            (other, _) => Err(Error::config(format!(
                "connector 'datagen' does not make columns like '{path}', which is {other}"
            ))
            .at(self.options.owner())
            .remedy("leave the column out, or compute it: name AS expression")),
        }
    }

    fn lengths(&mut self, path: &str, default: usize, max: usize) -> Result<(usize, bool)> {
        let (len, var_len) = (self.key(path, "length"), self.key(path, "var-len"));
        let wanted = format!("an integer from 1 to {max}");
        let length = self.options.parse(&len, &wanted)?.unwrap_or(default);
        if !(1..=max).contains(&length) {
            return Err(self.options.invalid(&len, &wanted));
        }
        Ok((length, self.options.bool(&var_len)?.unwrap_or(false)))
    }

    /// The start of a sequence, whose end is noted.
    fn sequence(
        &mut self,
        path: &str,
        read: impl Fn(&Options, &str) -> Result<Option<i128>>,
    ) -> Result<i128> {
        let (start_key, end_key) = (self.key(path, "start"), self.key(path, "end"));
        self.options.require(&start_key)?;
        self.options.require(&end_key)?;
        let (start, end) =
            (read(self.options, &start_key)?.unwrap_or(0), read(self.options, &end_key)?.unwrap_or(0));
        if end < start {
            return Err(self.options.invalid(&end_key, "a value not below the sequence's start"));
        }
        let rows = u64::try_from(end.saturating_sub(start)).unwrap_or(u64::MAX).saturating_add(1);
        self.sequence_rows = self.sequence_rows.min(rows);
        Ok(start)
    }

    fn whole(&mut self, data_type: &DataType, path: &str, kind: Kind) -> Result<Series<i128>> {
        let (low, high, scale) = match data_type {
            DataType::Int8 => (i128::from(i8::MIN), i128::from(i8::MAX), 0),
            DataType::Int16 => (i128::from(i16::MIN), i128::from(i16::MAX), 0),
            DataType::Int32 => (i128::from(i32::MIN), i128::from(i32::MAX), 0),
            DataType::Int64 => (i128::from(i64::MIN), i128::from(i64::MAX), 0),
            DataType::Decimal128(precision, scale) => {
                let high = 10_i128.pow(u32::from(*precision).min(38)) - 1;
                (-high, high, u32::from(scale.unsigned_abs()))
            }
            other => {
                return Err(Error::config(format!("connector 'datagen' does not make {other}"))
                    .at(self.options.owner()));
            }
        };
        let read = |options: &Options, key: &str| -> Result<Option<i128>> {
            let Some(text) = options.get(key) else { return Ok(None) };
            let value = match data_type {
                DataType::Decimal128(precision, scale) => {
                    parse_decimal::<Decimal128Type>(text.trim(), *precision, *scale).ok()
                }
                _ => text.trim().parse().ok(),
            };
            let value = value.filter(|value| (low..=high).contains(value));
            value
                .map(Some)
                .ok_or_else(|| options.invalid(key, &format!("a value of the column's type, {data_type}")))
        };
        if kind == Kind::Sequence {
            let start = self.sequence(path, read)?;
            if scale > 0 {
                return Err(self.options.invalid(
                    &self.known_kind(path),
                    "'random', 'walk' or 'sine' for a DECIMAL with a fraction",
                ));
            }
            return Ok(Series::Sequence { start });
        }
        let (min_key, max_key) = (self.key(path, "min"), self.key(path, "max"));
        let defaults =
            if kind == Kind::Random { (low, high) } else { (0, (100 * 10_i128.pow(scale)).min(high)) };
        let min = read(self.options, &min_key)?.unwrap_or(defaults.0);
        let max = read(self.options, &max_key)?.unwrap_or(defaults.1);
        if max < min {
            return Err(self.bounds(&min_key, &max_key));
        }
        Ok(match kind {
            Kind::Walk => {
                let unit = 10_f64.powi(scale.cast_signed());
                let span = self.span(path, min as f64 / unit, max as f64 / unit)?;
                Series::Walk { min, max, span }
            }
            Kind::Sine => Series::Sine { min, max, period_ms: self.period_ms(path)? },
            Kind::Random | Kind::Sequence => Series::Random { min, max },
        })
    }

    fn real(&mut self, data_type: &DataType, path: &str, kind: Kind) -> Result<Series<f64>> {
        if kind == Kind::Sequence {
            let start = self.sequence(path, |options, key| options.parse(key, "an integer"))?;
            return Ok(Series::Sequence { start: start as f64 });
        }
        let (min_key, max_key) = (self.key(path, "min"), self.key(path, "max"));
        let high = if *data_type == DataType::Float32 { f64::from(f32::MAX) } else { f64::MAX };
        let default_max = if kind == Kind::Random { high } else { 100.0 };
        let read = |key: &str, default: f64| -> Result<f64> {
            let value = self.options.parse(key, "a number")?.unwrap_or(default);
            if value.abs() <= high { Ok(value) } else { Err(self.options.invalid(key, "a finite number")) }
        };
        let (min, max) = (read(&min_key, 0.0)?, read(&max_key, default_max)?);
        if max < min || !(max - min).is_finite() {
            return Err(self.bounds(&min_key, &max_key));
        }
        Ok(match kind {
            Kind::Walk => Series::Walk { min, max, span: self.span(path, min, max)? },
            Kind::Sine => Series::Sine { min, max, period_ms: self.period_ms(path)? },
            Kind::Random | Kind::Sequence => Series::Random { min, max },
        })
    }

    fn known_kind(&self, path: &str) -> String {
        format!("fields.{path}.kind")
    }

    fn bounds(&self, min_key: &str, max_key: &str) -> Error {
        Error::config(format!("options '{min_key}' and '{max_key}' leave no values"))
            .at(self.options.owner())
            .remedy("make the maximum at least the minimum")
    }

    fn span(&mut self, path: &str, min: f64, max: f64) -> Result<u64> {
        let key = self.key(path, "step");
        let step = self.options.parse(&key, "a number above 0")?;
        if step.is_some_and(|step: f64| !step.is_finite() || step <= 0.0) {
            return Err(self.options.invalid(&key, "a number above 0"));
        }
        Ok(walk_span(min, max, step.unwrap_or((max - min) / 100.0).max(f64::MIN_POSITIVE)))
    }

    fn period_ms(&mut self, path: &str) -> Result<i64> {
        let key = self.key(path, "period");
        match self.options.duration_ms(&key)?.unwrap_or(60_000) {
            0 => Err(self.options.invalid(&key, "a duration above 0")),
            period_ms => Ok(period_ms),
        }
    }

    fn check_known<'n>(&self, names: impl Iterator<Item = &'n str>) -> Result<()> {
        let given = self.options.keys().filter(|key| key.starts_with("fields."));
        let Some(unknown) = given.into_iter().find(|key| !self.known.contains(*key)) else { return Ok(()) };
        let near = did_you_mean(unknown, self.known.iter().map(String::as_str));
        let near = near.map_or(String::new(), |near| format!("did you mean '{near}'? "));
        let path = unknown.rsplit_once('.').map_or(unknown, |(path, _)| path);
        let same_field: Vec<&str> = self
            .known
            .iter()
            .filter(|key| key.rsplit_once('.').is_some_and(|(of, _)| of == path))
            .map(String::as_str)
            .collect();
        let rest = if same_field.is_empty() {
            format!("the columns are: {}", names.collect::<Vec<_>>().join(", "))
        } else {
            format!("this field and kind take: {}", same_field.join(", "))
        };
        Err(Error::config(format!("connector 'datagen' has no option '{unknown}' for this table"))
            .at(self.options.owner())
            .remedy(format!("{near}{rest}")))
    }
}
