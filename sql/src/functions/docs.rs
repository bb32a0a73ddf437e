//! docs/functions.md, written from the catalog: `DOCS=write cargo test --workspace --lib page_of_functions` writes it,
//! and the test fails while it is stale.

#![allow(clippy::unwrap_used)]

use std::fmt::Write;
use std::path::Path;

use super::catalog::catalog;
use super::function::Function;
use super::tests::context;

const HEAD: &str = "\
# Functions

What a query can call. A function is Flink's (2.2) with Flink's meaning, for NULL, overflow, rounding and types too, unless
it is marked as an extension: those are not in Flink, and a query with one does not run there. What differs from Flink on
purpose is in [divergences/](divergences/). Window functions stand in FROM, and the query groups by `window_start,
window_end`; aggregates take `FILTER (WHERE …)` and `DISTINCT`. `millstream functions` lists the same; this page is
written by a test from the functions themselves.
";

fn page() -> String {
    let mut page = HEAD.to_owned();
    let mut subject = "";
    for entry in catalog() {
        if entry.subject != subject {
            subject = entry.subject;
            let _ = write!(page, "\n## {subject}\n\n| Function | What it gives | |\n|---|---|---|\n");
        }
        let others: Vec<String> =
            entry.aliases.iter().map(|alias| format!("`{}`", alias.to_uppercase())).collect();
        let others = if others.is_empty() { String::new() } else { format!(" Also {}.", others.join(", ")) };
        let kind = if entry.is_flinks { "Flink" } else { "extension" };
        let cell = |text: &str| text.replace('|', "\\|");
        let _ = writeln!(page, "| `{}` | {}{others} | {kind} |", cell(&entry.usage), cell(&entry.about));
        assert!(entry.about.ends_with('.'), "{} has no sentence", entry.usage);
    }
    page
}

#[test]
fn the_page_of_functions_is_not_stale() {
    for udf in super::all(&context()) {
        assert!(udf.inner().downcast_ref::<Function>().is_some(), "{} is not documented", udf.name());
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/functions.md");
    let page = page();
    if std::env::var("DOCS").is_ok_and(|value| value == "write") {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/functions.md is stale: DOCS=write cargo test --workspace --lib page_of_functions"
    );
}
