//! The server's table: its columns, whether ours fit them, and the statements that write to it.
//!
//! Invariant: a statement is made once per connection, of quoted names, and takes any number of rows. Values are cast
//! to the column's type without its length or precision, so that what does not fit is refused, never cut off.

use std::fmt::Write;

use arrow_schema::{DataType, Schema};

use millstream_engine::suggest::did_you_mean;
use millstream_engine::{Error, Result};

/// What is asked of the server about its table; `$1` is the quoted name.
pub(super) const COLUMNS_QUERY: &str = "SELECT a.attname::text, t.typname::text, t.typcategory::text, \
     format_type(a.atttypid, -1), format_type(a.atttypid, a.atttypmod) \
     FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
     WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";

/// One column of the server's table.
#[derive(Debug, Clone)]
pub(super) struct ServerColumn {
    pub name: String,
    /// The type's internal name, such as `int8`.
    pub kind: String,
    /// Its category letter, such as `N` for numbers.
    pub category: String,
    /// The type as a cast names it, without length and precision.
    pub cast: String,
    /// The type as its owner wrote it.
    pub shown: String,
}

/// A name in SQL.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The table's name in SQL.
pub(super) fn quoted_target((schema, table): &(Option<String>, String)) -> String {
    match schema {
        Some(schema) => format!("{}.{}", quoted(schema), quoted(table)),
        None => quoted(table),
    }
}

/// The cast of each of our columns, in their order.
///
/// # Errors
/// `Config` if the server's table lacks one, or has it with a type that its values do not fit.
pub(super) fn casts(schema: &Schema, server: &[ServerColumn], target: &str) -> Result<Vec<String>> {
    let cast = |field: &arrow_schema::FieldRef| {
        let name = field.name();
        let Some(column) = server.iter().find(|column| column.name == *name) else {
            let names: Vec<&str> = server.iter().map(|column| column.name.as_str()).collect();
            let near = did_you_mean(name, names.iter().copied())
                .map_or(String::new(), |near| format!("did you mean '{near}'? "));
            return Err(Error::config(format!("the server's table {target} has no column '{name}'"))
                .remedy(format!("{near}it has: {}", names.join(", "))));
        };
        if fits(field.data_type(), column) {
            return Ok(column.cast.clone());
        }
        let ours = named(field.data_type());
        Err(Error::config(format!(
            "column '{name}' is {ours} here, but {} in the server's table {target}, which {ours} does not fit",
            column.shown
        ))
        .remedy(format!(
            "declare it with a type that fits and CAST in the query, or ALTER TABLE {target} ALTER COLUMN {} TYPE {}",
            quoted(name),
            advised(field.data_type())
        )))
    };
    schema.fields().iter().map(cast).collect()
}

/// Whether values of type `ours`, as text, are values of `column`.
fn fits(ours: &DataType, column: &ServerColumn) -> bool {
    let is_text = matches!(column.kind.as_str(), "text" | "varchar" | "citext");
    let is_one_of = |kinds: &[&str]| kinds.contains(&column.kind.as_str());
    match ours {
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
            is_text || is_one_of(&["int2", "int4", "int8", "numeric", "float4", "float8"])
        }
        DataType::Float32 | DataType::Float64 => is_text || is_one_of(&["float4", "float8", "numeric"]),
        DataType::Decimal128(..) | DataType::Decimal256(..) => {
            is_text || is_one_of(&["numeric", "float4", "float8"])
        }
        DataType::Boolean => is_text || is_one_of(&["bool"]),
        DataType::Timestamp(..) => is_text || is_one_of(&["timestamp", "timestamptz"]),
        DataType::Date32 | DataType::Date64 => is_text || is_one_of(&["date", "timestamp", "timestamptz"]),
        DataType::Time32(_) | DataType::Time64(_) => is_text || is_one_of(&["time"]),
        DataType::Binary | DataType::LargeBinary | DataType::FixedSizeBinary(_) => is_one_of(&["bytea"]),
        DataType::Struct(_) | DataType::List(_) | DataType::LargeList(_) | DataType::Map(..) => {
            is_text || is_one_of(&["json", "jsonb"])
        }
        // Types that only exist as text to us, such as uuid, inet or an enum, are read by the server. For those that
        // have a counterpart here, text is more likely a mistake.
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Dictionary(..) => {
            !matches!(column.category.as_str(), "N" | "B" | "D") && !is_one_of(&["bytea"])
        }
        _ => false,
    }
}

/// Our type's name in SQL.
fn named(ours: &DataType) -> String {
    match ours {
        DataType::Int8 => "TINYINT".to_owned(),
        DataType::Int16 => "SMALLINT".to_owned(),
        DataType::Int32 => "INT".to_owned(),
        DataType::Int64 => "BIGINT".to_owned(),
        DataType::Float32 => "FLOAT".to_owned(),
        DataType::Float64 => "DOUBLE".to_owned(),
        DataType::Decimal128(precision, scale) => format!("DECIMAL({precision}, {scale})"),
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Utf8 => "STRING".to_owned(),
        DataType::Binary => "BYTES".to_owned(),
        DataType::Date32 => "DATE".to_owned(),
        DataType::Time32(_) | DataType::Time64(_) => "TIME".to_owned(),
        DataType::Timestamp(_, None) => "TIMESTAMP".to_owned(),
        DataType::Timestamp(_, Some(_)) => "TIMESTAMP_LTZ".to_owned(),
        DataType::Struct(_) => "ROW".to_owned(),
        DataType::List(_) => "ARRAY".to_owned(),
        DataType::Map(..) => "MAP".to_owned(),
        other => other.to_string(),
    }
}

/// The server's type that holds all values of ours.
fn advised(ours: &DataType) -> String {
    match ours {
        DataType::Int8 | DataType::Int16 => "SMALLINT".to_owned(),
        DataType::Int32 => "INTEGER".to_owned(),
        DataType::Int64 => "BIGINT".to_owned(),
        DataType::Float32 => "REAL".to_owned(),
        DataType::Float64 => "DOUBLE PRECISION".to_owned(),
        DataType::Decimal128(precision, scale) => format!("NUMERIC({precision}, {scale})"),
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Binary => "BYTEA".to_owned(),
        DataType::Date32 => "DATE".to_owned(),
        DataType::Time32(_) | DataType::Time64(_) => "TIME".to_owned(),
        DataType::Timestamp(_, None) => "TIMESTAMP".to_owned(),
        DataType::Timestamp(_, Some(_)) => "TIMESTAMPTZ".to_owned(),
        DataType::Struct(_) | DataType::List(_) | DataType::Map(..) => "JSONB".to_owned(),
        _ => "TEXT".to_owned(),
    }
}

/// The statement that makes the progress table.
pub(super) fn create_progress_statement(progress: &str) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {progress} (writer text PRIMARY KEY, epoch bigint NOT NULL, \
         committed timestamptz NOT NULL DEFAULT now())"
    )
}

/// The statement that moves a writer's progress on. It touches no row when the epoch was committed before, and makes
/// another transaction of the same writer wait.
pub(super) fn progress_statement(progress: &str) -> String {
    format!(
        "INSERT INTO {progress} AS p (writer, epoch) VALUES ($1, $2) ON CONFLICT (writer) \
         DO UPDATE SET epoch = excluded.epoch, committed = now() WHERE p.epoch < excluded.epoch"
    )
}

/// The statement that writes rows; each parameter is a `text[]`, one a column. With a key it replaces rows.
pub(super) fn write_statement(target: &str, schema: &Schema, casts: &[String], key: &[usize]) -> String {
    let names: Vec<String> = schema.fields().iter().map(|field| quoted(field.name())).collect();
    let all: Vec<usize> = (0..casts.len()).collect();
    let values: Vec<String> = casts.iter().enumerate().map(|(at, cast)| format!("u.c{at}::{cast}")).collect();
    let mut sql = format!(
        "INSERT INTO {target} ({}) SELECT {} FROM {}",
        names.join(", "),
        values.join(", "),
        parameters(&all)
    );
    if key.is_empty() {
        return sql;
    }
    let keys: Vec<&str> = key.iter().map(|column| names[*column].as_str()).collect();
    let others: Vec<String> = all
        .iter()
        .filter(|column| !key.contains(column))
        .map(|column| format!("{0} = excluded.{0}", names[*column]))
        .collect();
    let action =
        if others.is_empty() { "NOTHING".to_owned() } else { format!("UPDATE SET {}", others.join(", ")) };
    let _ = write!(sql, " ON CONFLICT ({}) DO {action}", keys.join(", "));
    sql
}

/// The statement that removes rows; each parameter is a `text[]`, one a key column.
pub(super) fn remove_statement(target: &str, schema: &Schema, casts: &[String], key: &[usize]) -> String {
    let same: Vec<String> = key
        .iter()
        .map(|column| format!("t.{} = u.c{column}::{}", quoted(schema.field(*column).name()), casts[*column]))
        .collect();
    format!("DELETE FROM {target} AS t USING {} WHERE {}", parameters(key), same.join(" AND "))
}

/// The statement that finds rows by `keys`, columns of `schema`; each parameter is a `text[]`, one a key column. A row is a
/// JSON object of the columns of `schema`.
pub(super) fn lookup_statement(target: &str, schema: &Schema, keys: &[usize], casts: &[String]) -> String {
    let columns: Vec<String> = schema
        .fields()
        .iter()
        .map(|field| super::lookup::as_json(&quoted(field.name()), field.data_type()))
        .collect();
    let same: Vec<String> = keys
        .iter()
        .zip(casts)
        .enumerate()
        .map(|(at, (key, cast))| format!("t.{} = u.c{at}::{cast}", quoted(schema.field(*key).name())))
        .collect();
    let places: Vec<usize> = (0..keys.len()).collect();
    format!(
        "SELECT row_to_json(r)::text FROM (SELECT {} FROM {target} AS t JOIN {} ON {}) AS r",
        columns.join(", "),
        parameters(&places),
        same.join(" AND ")
    )
}

/// The parameters as a table `u` with columns `c0`, `c1`, …
fn parameters(columns: &[usize]) -> String {
    let arrays: Vec<String> = (1..=columns.len()).map(|at| format!("${at}::text[]")).collect();
    let names: Vec<String> = columns.iter().map(|column| format!("c{column}")).collect();
    format!("unnest({}) AS u({})", arrays.join(", "), names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_schema::Field;

    fn schema() -> Schema {
        Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("so \"x\"", DataType::Utf8, true),
        ])
    }

    fn column(name: &str, kind: &str, category: &str) -> ServerColumn {
        let [name, kind, category] = [name, kind, category].map(str::to_owned);
        ServerColumn { name, cast: kind.clone(), shown: kind.clone(), kind, category }
    }

    #[test]
    fn statements_are_what_they_should_be() {
        let casts = ["bigint".to_owned(), "text".to_owned()];
        let append = "INSERT INTO \"s\".\"t\" (\"id\", \"so \"\"x\"\"\") SELECT u.c0::bigint, u.c1::text \
                      FROM unnest($1::text[], $2::text[]) AS u(c0, c1)";
        let target = quoted_target(&(Some("s".to_owned()), "t".to_owned()));
        assert_eq!(write_statement(&target, &schema(), &casts, &[]), append);
        assert_eq!(
            write_statement(&target, &schema(), &casts, &[0]),
            format!(
                "{append} ON CONFLICT (\"id\") DO UPDATE SET \"so \"\"x\"\"\" = excluded.\"so \"\"x\"\"\""
            )
        );
        assert!(write_statement(&target, &schema(), &casts, &[0, 1]).ends_with("DO NOTHING"));
        assert_eq!(
            remove_statement(&target, &schema(), &casts, &[0]),
            "DELETE FROM \"s\".\"t\" AS t USING unnest($1::text[]) AS u(c0) WHERE t.\"id\" = u.c0::bigint"
        );
    }

    #[test]
    fn what_does_not_fit_is_named_with_both_types_and_a_remedy() {
        let good = [column("id", "int4", "N"), column("so \"x\"", "uuid", "U")];
        assert_eq!(casts(&schema(), &good, "t").unwrap(), ["int4", "uuid"]);
        let missing = casts(&schema(), &[column("ids", "int4", "N")], "t").unwrap_err().to_string();
        assert!(missing.contains("no column 'id'") && missing.contains("did you mean 'ids'"), "{missing}");
        let wrong = [column("id", "bool", "B"), column("so \"x\"", "text", "S")];
        let wrong = casts(&schema(), &wrong, "t").unwrap_err().to_string();
        assert!(["'id'", "BIGINT", "bool", "CAST"].iter().all(|part| wrong.contains(part)), "{wrong}");
    }
}
