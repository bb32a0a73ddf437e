//! What a query can call, as data: for the command's list, docs/functions.md and completion in editors.

use super::function::{Function, Subject};
use super::{FunctionContext, all};

/// Something that a query can call or write.
#[derive(Debug, Clone)]
pub struct CatalogEntry {
    /// What it is about: `Windows`, `Strings`, …
    pub subject: &'static str,
    /// Its lower-case name; empty for operators.
    pub name: String,
    /// How it is written: `LPAD(string, length, pad)`.
    pub usage: String,
    /// What it gives, in a sentence.
    pub about: String,
    /// Its other names.
    pub aliases: Vec<String>,
    /// Whether Flink has it.
    pub is_flinks: bool,
}

const TABLES: &[(&str, &str)] = &[
    (
        "UNNEST(list) [WITH ORDINALITY]",
        "Behind CROSS JOIN, or LEFT JOIN … ON TRUE: a row for each item of a row's ARRAY, or entry of its MAP.",
    ),
    (
        "LATERAL TABLE(f(…))",
        "The same of what a function returns, one of a program's own or a built-in one: an ARRAY or a MAP.",
    ),
    (
        "TUMBLE(TABLE t, DESCRIPTOR(time), INTERVAL '10' SECOND [, offset])",
        "Rows in windows of one size, one after the other.",
    ),
    (
        "HOP(TABLE t, DESCRIPTOR(time), slide, size [, offset])",
        "Rows in windows of one size that start every slide.",
    ),
    (
        "CUMULATE(TABLE t, DESCRIPTOR(time), step, size [, offset])",
        "Rows in windows that grow by a step up to a size.",
    ),
    (
        "SESSION(TABLE t [PARTITION BY key], DESCRIPTOR(time), gap)",
        "Rows in windows that end after a gap without rows.",
    ),
];

const AGGREGATES: &[(&str, &str)] = &[
    ("COUNT(*)", "How many rows."),
    ("COUNT([DISTINCT] value)", "How many values that are not NULL, or different ones."),
    ("SUM(number)", "The sum, in the type of the numbers."),
    ("AVG(number)", "The mean, in the type of the numbers."),
    ("MIN(value)", "The least."),
    ("MAX(value)", "The greatest."),
    ("STDDEV_POP(number)", "The standard deviation of all."),
    ("STDDEV_SAMP(number)", "The standard deviation of a sample; also STDDEV."),
    ("VAR_POP(number)", "The variance of all."),
    ("VAR_SAMP(number)", "The variance of a sample; also VARIANCE."),
    ("FIRST_VALUE(value)", "The first to arrive that is not NULL."),
    ("LAST_VALUE(value)", "The last to arrive that is not NULL."),
    (
        "LISTAGG(string [, separator])",
        "All that are not NULL in the order they arrive, with the separator between them, a comma if none is given.",
    ),
    ("ARRAY_AGG(value)", "All in the order they arrive, NULLs too."),
    ("COLLECT(value)", "How often each value came that is not NULL, as a MAP of values and counts."),
    (
        "PERCENTILE(number, fraction [, frequency])",
        "The value at that fraction of the way from the least to the greatest, in proportion between two; a list for a list of fractions. A value counts as often as the frequency says. It keeps every value.",
    ),
    (
        "GROUPING_ID(key, …)",
        "Of grouping sets: a bit for each key, 1 where the row's set does not group by it; also GROUPING.",
    ),
];

const APPROXIMATE: &[(&str, &str)] = &[
    (
        "APPROX_COUNT_DISTINCT(value)",
        "How many different values that are not NULL: exact up to 1,024, with a standard error of 0.8 % above, in 16 KiB a group. Over rows that stay.",
    ),
    (
        "APPROX_PERCENTILE(number, fraction)",
        "The value of about that rank, to within 1 % of its size, in at most 64 KiB a group; a list for a list of fractions. Over rows that stay.",
    ),
];

const OPERATORS: &[(&str, &str)] = &[
    (
        "+ - *",
        "Of whole numbers in the wider type, wrapping round on overflow; of DECIMALs by Flink's precision rules, NULL on overflow; a DECIMAL with a FLOAT or DOUBLE is a DOUBLE.",
    ),
    ("/", "Of whole numbers cut to a whole number, an error for 0; of DOUBLEs an infinity for 0."),
    ("%", "The remainder, with the sign of the left side and the type of the right one."),
    ("= <> < <= > >=, [NOT] BETWEEN, [NOT] IN (…)", "Comparisons; NULL if a side is."),
    ("IS [NOT] NULL, IS [NOT] TRUE, IS [NOT] FALSE, IS [NOT] UNKNOWN, IS [NOT] DISTINCT FROM", "Never NULL."),
    (
        "string [NOT] LIKE pattern [ESCAPE character]",
        "Whether the whole string has that form: % is any text, _ one character.",
    ),
    (
        "string [NOT] SIMILAR TO pattern [ESCAPE character]",
        "Whether the whole string matches SQL's regular expression.",
    ),
    ("string || string", "Both after each other; NULL if one is."),
    ("CASE [value] WHEN … THEN … [ELSE …] END", "The first branch that holds; the others are not computed."),
    (
        "CAST(value AS type), TRY_CAST(value AS type)",
        "The value in another type; text that is none is an error, or NULL.",
    ),
];

/// Everything a query can call or write, subject by subject, by name.
pub fn catalog() -> Vec<CatalogEntry> {
    let listed = |subject: &'static str, list: &'static [(&str, &str)]| {
        list.iter().map(move |(usage, about)| CatalogEntry {
            subject,
            name: usage.split_once('(').map_or(String::new(), |(name, _)| name.to_ascii_lowercase()),
            usage: (*usage).to_owned(),
            about: (*about).to_owned(),
            aliases: Vec::new(),
            is_flinks: true,
        })
    };
    let mut entries: Vec<_> = listed("Tables", TABLES)
        .chain(listed("Aggregates", AGGREGATES))
        .chain(listed("Aggregates", APPROXIMATE).map(|entry| CatalogEntry { is_flinks: false, ..entry }))
        .chain(listed("Operators", OPERATORS).map(|entry| CatalogEntry { name: String::new(), ..entry }))
        .collect();
    let context = FunctionContext {
        clock: millstream_engine::SystemClock::shared(),
        time_zone: chrono_tz::Tz::UTC,
        seed: 0,
    };
    let mut scalar: Vec<_> = all(&context)
        .into_iter()
        .filter_map(|udf| {
            let function = udf.inner().downcast_ref::<Function>()?;
            let entry = CatalogEntry {
                subject: title(function.subject),
                name: udf.name().to_owned(),
                usage: function.usage.to_owned(),
                about: function.about.to_owned(),
                aliases: udf.aliases().to_vec(),
                is_flinks: function.is_flinks,
            };
            Some((function.subject, entry))
        })
        .collect();
    scalar.sort_by(|(a, left), (b, right)| (a, &left.name).cmp(&(b, &right.name)));
    entries.extend(scalar.into_iter().map(|(_, entry)| entry));
    entries
}

fn title(subject: Subject) -> &'static str {
    match subject {
        Subject::Text => "Strings",
        Subject::Math => "Numbers",
        Subject::Conditional => "Conditions",
        Subject::Json => "JSON",
        Subject::Collection => "Arrays, maps and rows",
        Subject::Hash => "Digests",
        Subject::Type => "Types",
        Subject::Time => "Dates and times",
    }
}
