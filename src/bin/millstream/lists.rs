//! `millstream connectors [NAME]` and `millstream functions [NAME]`: what this build has, from the code that reads it.

use std::fmt::Write as _;

use millstream::engine::format::Format;
use millstream::engine::options::OptionSpec;
use millstream::engine::registry::TABLE_OPTIONS;
use millstream::engine::suggest::did_you_mean;
use millstream::engine::{Connector, Registry};
use millstream::sql::functions::{CatalogEntry, catalog};

use crate::cli::Listing;
use crate::exit::Failure;

/// Lists connectors and formats, or one of them with its options.
pub fn connectors(listing: &Listing) -> Result<(), Failure> {
    let registry = millstream::connectors::registry();
    let Some(name) = &listing.name else {
        print!("{}", overview(&registry));
        return Ok(());
    };
    let connector = registry.connectors().find(|connector| connector.name().eq_ignore_ascii_case(name));
    let format = registry.formats().iter().find(|format| format.name().eq_ignore_ascii_case(name));
    if connector.is_none() && format.is_none() {
        let known = registry.connectors().map(|connector| connector.name());
        let known: Vec<&str> = known.chain(registry.formats().iter().map(|format| format.name())).collect();
        return Err(unknown("connector or format", name, &known));
    }
    if let Some(connector) = connector {
        print!("{}", one_connector(connector.as_ref(), &registry));
    }
    if let Some(format) = format {
        print!("{}", one_format(format.as_ref()));
    }
    Ok(())
}

fn unknown(what: &str, name: &str, known: &[&str]) -> Failure {
    let near = did_you_mean(name, known.iter().copied());
    let near = near.map_or(String::new(), |near| format!("did you mean '{near}'? "));
    Failure::Usage(format!("there is no {what} '{name}'\nhelp: {near}this build has: {}", known.join(", ")))
}

fn overview(registry: &Registry) -> String {
    let connectors: Vec<_> = registry.connectors().map(|one| (one.name(), one.help())).collect();
    let formats: Vec<_> = registry.formats().iter().map(|one| (one.name(), one.help())).collect();
    format!(
        "Connectors ('connector' = 'NAME')\n{}\nFormats ('format' = 'NAME')\n{}\n\
         millstream connectors NAME shows the options of one.\n",
        aligned(&connectors),
        aligned(&formats)
    )
}

fn aligned(rows: &[(&str, &str)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    rows.iter().fold(String::new(), |mut text, (name, help)| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "  {name:width$}  {help}");
        text
    })
}

fn one_connector(connector: &dyn Connector, registry: &Registry) -> String {
    let options = connector.options();
    let mut text = format!("Connector '{}'\n  {}\n\nOptions\n", connector.name(), connector.help());
    text.push_str(&options_of(&options));
    let metadata = connector.metadata();
    if !metadata.is_empty() {
        text.push_str("\nMetadata columns (name TYPE METADATA FROM 'KEY')\n");
        let rows: Vec<_> = metadata.iter().map(|spec| (spec.key, spec.help)).collect();
        text.push_str(&aligned(&rows));
    }
    if options.iter().any(|spec| spec.key.ends_with("format")) {
        let names: Vec<&str> = registry.formats().iter().map(|format| format.name()).collect();
        let _ = write!(text, "\nFormats\n  {}\n", names.join(", "));
    }
    text.push_str("\nOptions of every table\n");
    text.push_str(&options_of(TABLE_OPTIONS));
    text
}

fn one_format(format: &dyn Format) -> String {
    let mut text = format!("Format '{}'\n  {}\n", format.name(), format.help());
    let options = format.options();
    if !options.is_empty() {
        text.push_str("\nOptions\n");
        text.push_str(&options_of(&options));
    }
    text
}

fn options_of(options: &[OptionSpec]) -> String {
    options.iter().fold(String::new(), |mut text, spec| {
        let default =
            if spec.default.is_empty() { String::new() } else { format!(", default {}", spec.default) };
        let secret = if spec.secret { ", secret" } else { "" };
        let _ = writeln!(text, "  '{}' ({}{default}{secret})\n      {}", spec.key, spec.kind, spec.help);
        text
    })
}

/// Lists functions, all or those with a text in their names.
pub fn functions(listing: &Listing) -> Result<(), Failure> {
    let all = catalog();
    let wanted = listing.name.as_ref().map(|name| name.to_lowercase());
    let is_wanted = |entry: &&CatalogEntry| match &wanted {
        None => true,
        Some(part) => std::iter::once(&entry.name)
            .chain(&entry.aliases)
            .any(|name| name.to_lowercase().contains(part.as_str())),
    };
    let found: Vec<&CatalogEntry> = all.iter().filter(is_wanted).collect();
    if let (true, Some(name)) = (found.is_empty(), &listing.name) {
        let known = all.iter().map(|entry| entry.name.as_str()).filter(|name| !name.is_empty());
        let near = did_you_mean(&name.to_lowercase(), known);
        let near = near.map_or(String::new(), |near| format!("did you mean {}? ", near.to_uppercase()));
        return Err(Failure::Usage(format!(
            "there is no function '{name}'\nhelp: {near}millstream functions lists all"
        )));
    }
    let mut subject = "";
    for entry in found {
        if entry.subject != subject {
            println!("{}{}", if subject.is_empty() { "" } else { "\n" }, entry.subject);
            subject = entry.subject;
        }
        let extension = if entry.is_flinks { "" } else { " (extension)" };
        println!("  {}{extension}\n      {}", entry.usage, entry.about);
    }
    Ok(())
}
