//! The pages of docs/: their tables of options are the code's, and their SQL compiles.
//!
//! `DOCS=write cargo test --workspace --test end_to_end docs::` writes the tables between their marks.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use millstream::Pipeline;
use millstream::engine::options::OptionSpec;
use millstream::engine::registry::TABLE_OPTIONS;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
}

/// Every page that is for users: docs/*.md and docs/connectors/*.md.
fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<PathBuf> = [folder(), folder().join("connectors")]
        .iter()
        .flat_map(|folder| std::fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    pages.sort();
    pages
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn options(options: &[OptionSpec]) -> String {
    let mut table = "| Option | Takes | Default | |\n|---|---|---|---|\n".to_owned();
    for spec in options {
        let default =
            if spec.default.is_empty() { String::new() } else { format!("`{}`", cell(spec.default)) };
        let secret = if spec.secret { ", secret" } else { "" };
        let _ = writeln!(
            table,
            "| `{}` | {}{secret} | {default} | {} |",
            spec.key,
            cell(spec.kind),
            cell(spec.help)
        );
    }
    table
}

/// What stands between `<!-- MARK -->` and `<!-- end -->`; nothing for a mark that is none of ours.
fn generated(mark: &str) -> Option<String> {
    let registry = millstream::connectors::registry();
    if mark == "options of every table" {
        return Some(options(TABLE_OPTIONS));
    }
    if mark == "settings" {
        let mut table = "| Setting | |\n|---|---|\n".to_owned();
        for (key, help) in millstream::sql::SETTINGS {
            let _ = writeln!(table, "| `{key}` | {help} |");
        }
        return Some(table);
    }
    if mark == "formats" {
        let mut text = String::new();
        for format in registry.formats().iter() {
            let _ = write!(text, "## `{}`\n\n{}\n\n", format.name(), format.help());
            if !format.options().is_empty() {
                let _ = writeln!(text, "{}", options(&format.options()));
            }
        }
        return Some(text.trim_end().to_owned() + "\n");
    }
    let name = mark.strip_prefix("options of ")?;
    let connector = registry.connectors().find(|connector| connector.name() == name)?;
    let mut text = options(&connector.options());
    let metadata = connector.metadata();
    if !metadata.is_empty() {
        text.push_str("\n| Metadata | |\n|---|---|\n");
        for spec in metadata {
            let _ = writeln!(text, "| `{}` | {} |", spec.key, cell(spec.help));
        }
    }
    Some(text)
}

/// The page with its tables as they should be, and the marks it has.
fn renewed(page: &str) -> (String, Vec<String>) {
    let (mut text, mut marks, mut is_table) = (String::new(), Vec::new(), false);
    for line in page.split_inclusive('\n') {
        let mark = line.trim().strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->"));
        is_table = is_table && mark != Some("end");
        if !is_table {
            text.push_str(line);
        }
        if let Some(table) = mark.and_then(generated) {
            let _ = write!(text, "\n{table}\n");
            marks.extend(mark.map(str::to_owned));
            is_table = true;
        }
    }
    (text, marks)
}

#[test]
fn tables_of_options_are_the_codes() {
    let (mut stale, mut marks) = (Vec::new(), Vec::new());
    for path in pages() {
        let page = std::fs::read_to_string(&path).unwrap();
        let (new, found) = renewed(&page);
        marks.extend(found);
        if new != page && std::env::var("DOCS").is_ok_and(|value| value == "write") {
            std::fs::write(&path, new).unwrap();
        } else if new != page {
            stale.push(path);
        }
    }
    assert!(stale.is_empty(), "stale: {stale:?}: DOCS=write cargo test --workspace --test end_to_end docs::");
    for connector in millstream::connectors::registry().connectors() {
        let name = connector.name();
        let has_page = name == "jdbc" || marks.contains(&format!("options of {name}"));
        assert!(has_page, "docs/connectors has no page with <!-- options of {name} -->");
    }
}

#[test]
fn the_sql_of_every_page_compiles() {
    let (mut compiled, mut wrong) = (0, Vec::new());
    for path in pages() {
        let page = std::fs::read_to_string(&path).unwrap();
        for part in page.split("```sql\n").skip(1) {
            let text = part.split("```").next().unwrap();
            let mut builder = Pipeline::builder();
            let _rows = builder.result();
            if let Err(error) = builder.sql(text).variables(|_| Some("secret".into())).compile() {
                wrong.push(format!("{}: {error}", path.display()));
            }
            compiled += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(compiled > 10, "only {compiled} pieces of SQL were found");
}
