//! Types as they stand in a CAST, where sqlparser has read them.

use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, TimeUnit};
use datafusion_common::Result;
use datafusion_expr::planner::TypePlanner;
use sqlparser::ast::{ArrayElemTypeDef, DataType as Sql, ExactNumberInfo, StructField, TimezoneInfo};

use super::error::PlanError;
use crate::functions::{list_of, map_of};
use crate::parse::types::{LTZ, time_unit};

/// See the module's page.
#[derive(Debug)]
pub(super) struct FlinkTypes;

impl TypePlanner for FlinkTypes {
    fn plan_type_field(&self, sql: &Sql) -> Result<Option<FieldRef>> {
        Ok(Some(Arc::new(Field::new("", data_type(sql)?, true))))
    }
}

fn data_type(sql: &Sql) -> Result<DataType> {
    Ok(match sql {
        Sql::TinyInt(_) => DataType::Int8,
        Sql::SmallInt(_) => DataType::Int16,
        Sql::Int(_) | Sql::Integer(_) => DataType::Int32,
        Sql::BigInt(_) => DataType::Int64,
        Sql::Float(_) | Sql::Real => DataType::Float32,
        Sql::Double(_) | Sql::DoublePrecision => DataType::Float64,
        Sql::Decimal(info) | Sql::Numeric(info) | Sql::Dec(info) => match info {
            ExactNumberInfo::None => DataType::Decimal128(10, 0),
            ExactNumberInfo::Precision(precision) => decimal(*precision, 0)?,
            ExactNumberInfo::PrecisionAndScale(precision, scale) => decimal(*precision, *scale)?,
        },
        Sql::Boolean => DataType::Boolean,
        Sql::String(_) | Sql::Varchar(_) | Sql::Char(_) | Sql::CharVarying(_) | Sql::Character(_) => {
            DataType::Utf8
        }
        Sql::Bytes(_) | Sql::Binary(_) | Sql::Varbinary(_) => DataType::Binary,
        Sql::Date => DataType::Date32,
        Sql::Time(..) => DataType::Time32(TimeUnit::Millisecond),
        Sql::Timestamp(precision, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            timestamp(*precision, false)
        }
        Sql::Custom(name, arguments) if name.to_string().eq_ignore_ascii_case("TIMESTAMP_LTZ") => {
            timestamp(arguments.first().and_then(|text| text.parse().ok()), true)
        }
        Sql::Array(ArrayElemTypeDef::AngleBracket(item)) => list_of(data_type(item)?),
        Sql::Map(key, value) => map_of(data_type(key)?, data_type(value)?),
        Sql::Struct(fields, _) => {
            let field = |field: &StructField| {
                let name = field.field_name.as_ref().map_or("", |name| &name.value);
                Ok(Field::new(name, data_type(&field.field_type)?, true))
            };
            DataType::Struct(fields.iter().map(field).collect::<Result<_>>()?)
        }
        other => {
            return Err(PlanError::new(format!("there is no type '{other}'"))
                .remedy(
                    "types are those of CREATE TABLE: BIGINT, DOUBLE, DECIMAL(p, s), STRING, TIMESTAMP(3), …",
                )
                .into());
        }
    })
}

fn timestamp(precision: Option<u64>, local: bool) -> DataType {
    let precision = precision.and_then(|precision| u32::try_from(precision).ok()).unwrap_or(6);
    DataType::Timestamp(time_unit(precision), local.then(|| LTZ.into()))
}

fn decimal(precision: u64, scale: i64) -> Result<DataType> {
    match (u8::try_from(precision), i8::try_from(scale)) {
        (Ok(precision @ 1..=38), Ok(scale)) if scale >= 0 && scale.unsigned_abs() <= precision => {
            Ok(DataType::Decimal128(precision, scale))
        }
        _ => Err(PlanError::new(format!("'DECIMAL({precision}, {scale})' does not exist"))
            .remedy("the precision is 1 to 38, the scale 0 to the precision")
            .into()),
    }
}
