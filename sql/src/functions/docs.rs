//! docs/functions.md, written from the registry: `DOCS=write cargo test -p millstream-sql` writes it, and the test fails
//! while it is stale.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use super::function::{Function, Subject};
use super::tests::context;

const HEAD: &str = "\
# Functions

What a query can call. A function is Flink's (2.2) with Flink's meaning, for NULL, overflow, rounding and types too, unless
it is marked as an extension: those are not in Flink, and a query with one does not run there. What differs from Flink on
purpose is in [divergences/](divergences/). This page is written by a test from the functions themselves.

## Windows

Table functions for FROM; a query groups by `window_start, window_end`.

| Function | What it gives |
|---|---|
| `TUMBLE(TABLE t, DESCRIPTOR(time), INTERVAL '10' SECOND [, offset])` | Rows in windows of one size, one after the other. |
| `HOP(TABLE t, DESCRIPTOR(time), slide, size [, offset])` | Rows in windows of one size that start every slide. |
| `CUMULATE(TABLE t, DESCRIPTOR(time), step, size [, offset])` | Rows in windows that grow by a step up to a size. |
| `SESSION(TABLE t [PARTITION BY key], DESCRIPTOR(time), gap)` | Rows in windows that end after a gap without rows. |

## Aggregates

Per window; `FILTER (WHERE …)` and `DISTINCT` as in SQL.

| Function | What it gives |
|---|---|
| `COUNT(*)`, `COUNT(value)`, `COUNT(DISTINCT value)` | How many rows, values, different values. |
| `SUM(number)`, `AVG(number)` | The sum and the mean, in the type of the numbers. |
| `MIN(value)`, `MAX(value)` | The least and the greatest. |
| `STDDEV_POP(number)`, `STDDEV_SAMP(number)`, `STDDEV(number)` | The standard deviation, of all and of a sample. |
| `VAR_POP(number)`, `VAR_SAMP(number)`, `VARIANCE(number)` | The variance, of all and of a sample. |
| `FIRST_VALUE(value)`, `LAST_VALUE(value)` | The first and the last to arrive. |

## Operators

| Operator | What it gives |
|---|---|
| `+ - *` | Of whole numbers in the wider type, wrapping round on overflow; of DECIMALs by Flink's precision rules, NULL on overflow; a DECIMAL with a FLOAT or DOUBLE is a DOUBLE. |
| `/` | Of whole numbers cut to a whole number, an error for 0; of DOUBLEs an infinity for 0. |
| `%` | The remainder, with the sign of the left side and the type of the right one. |
| `=` `<>` `<` `<=` `>` `>=`, `[NOT] BETWEEN`, `[NOT] IN (…)` | Comparisons; NULL if a side is. |
| `IS [NOT] NULL`, `IS [NOT] TRUE`, `IS [NOT] FALSE`, `IS [NOT] UNKNOWN`, `IS [NOT] DISTINCT FROM` | Never NULL. |
| `string [NOT] LIKE pattern [ESCAPE character]` | Whether the whole string has that form: `%` is any text, `_` one character. |
| `string [NOT] SIMILAR TO pattern [ESCAPE character]` | Whether the whole string matches SQL's regular expression. |
| `string \\|\\| string` | Both after each other; NULL if one is. |
| `CASE [value] WHEN … THEN … [ELSE …] END` | The first branch that holds; the others are not computed. |
| `CAST(value AS type)`, `TRY_CAST(value AS type)` | The value in another type; text that is none is an error, or NULL. |
";

fn page() -> String {
    let mut subjects: BTreeMap<Subject, BTreeMap<String, String>> = BTreeMap::new();
    for udf in super::all(&context()) {
        let Some(function) = udf.inner().downcast_ref::<Function>() else {
            panic!("{} is not documented", udf.name())
        };
        let others: Vec<String> =
            udf.aliases().iter().map(|alias| format!("`{}`", alias.to_uppercase())).collect();
        let others = if others.is_empty() { String::new() } else { format!(" Also {}.", others.join(", ")) };
        let kind = if function.is_flinks { "Flink" } else { "extension" };
        let usage = function.usage.replace('|', "\\|");
        let row = format!("| `{usage}` | {}{others} | {kind} |\n", function.about.replace('|', "\\|"));
        assert!(function.about.ends_with('.'), "{} has no sentence", udf.name());
        subjects.entry(function.subject).or_default().insert(udf.name().to_owned(), row);
    }
    let mut page = HEAD.to_owned();
    for (subject, rows) in subjects {
        let title = match subject {
            Subject::Text => "Strings",
            Subject::Math => "Numbers",
            Subject::Conditional => "Conditions",
            Subject::Hash => "Digests",
            Subject::Type => "Types",
            Subject::Time => "Dates and times",
        };
        let _ = write!(page, "\n## {title}\n\n| Function | What it gives | |\n|---|---|---|\n");
        rows.values().for_each(|row| page.push_str(row));
    }
    page
}

#[test]
fn the_page_of_functions_is_not_stale() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/functions.md");
    let page = page();
    if std::env::var("DOCS").is_ok_and(|value| value == "write") {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "docs/functions.md is stale: DOCS=write cargo test -p millstream-sql functions");
}
