//! `millstream nexmark`: the queries of the Nexmark benchmark, one after the other, and what each takes.
//!
//! Every run is a process of its own (measure.rs), this program called again, which makes its events itself and throws
//! its rows away. Of several rounds the median by time is shown. queries.rs has the texts.

mod measure;
mod queries;

use std::process::{Command, Stdio};

use millstream::engine::Error;
use millstream::engine::suggest::did_you_mean;

use crate::cli::{Format, Nexmark};
use crate::exit::Failure;
use crate::status::count;
use measure::Measured;
use queries::QUERIES;

/// Runs what the command line names.
pub fn run(options: &Nexmark) -> Result<(), Failure> {
    let names = names(options)?;
    if options.measure {
        return names.iter().try_for_each(|name| measure::run(name, options));
    }
    let format = options.format.unwrap_or_else(crate::rows::default_format);
    if format == Format::Table {
        println!("{}", heading());
    }
    let mut failed = Vec::new();
    for name in names {
        match rounds(name, options)? {
            Some(measured) if format == Format::Table => println!("{}", line(name, &measured)),
            Some(measured) => {
                let row = serde_json::json!({ "query": name, "measured": measured });
                println!("{row}");
            }
            None => failed.push(name),
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(Failure::Runtime(Error::unavailable(format!("not run to the end: {}", failed.join(", ")))))
}

/// The queries that are wanted, all when none is named.
fn names(options: &Nexmark) -> Result<Vec<&'static str>, Failure> {
    if options.all || options.queries.is_empty() {
        return Ok(QUERIES.iter().map(|(name, _)| *name).collect());
    }
    let known = || QUERIES.iter().map(|(name, _)| *name);
    let of = |wanted: &String| {
        known().find(|name| name == wanted).ok_or_else(|| {
            let near =
                did_you_mean(wanted, known()).map_or(String::new(), |near| format!("did you mean {near}? "));
            Failure::Usage(format!(
                "there is no query '{wanted}'\nhelp: {near}there are q0 to q23, and cep0 to cep3"
            ))
        })
    };
    options.queries.iter().map(of).collect()
}

/// The median of the rounds of a query; none when one did not come to its end, which it has said itself.
fn rounds(name: &str, options: &Nexmark) -> Result<Option<Measured>, Failure> {
    let mut all = Vec::new();
    for _ in 0..options.rounds {
        let Some(measured) = once(name, options)? else { return Ok(None) };
        all.push(measured);
    }
    all.sort_by(|one, other| one.seconds.total_cmp(&other.seconds));
    Ok(all.get((all.len() - 1) / 2).cloned())
}

fn once(name: &str, options: &Nexmark) -> Result<Option<Measured>, Failure> {
    let unavailable = |error: std::io::Error| {
        Failure::Runtime(Error::unavailable(format!("this program cannot be started for {name}: {error}")))
    };
    let mut command = Command::new(std::env::current_exe().map_err(unavailable)?);
    command.args(["nexmark", "--measure", name]);
    command.args(["--events", &options.events.to_string(), "--rate", &options.rate.to_string()]);
    command.args(options.input.iter().flat_map(|file| ["--input".as_ref(), file.as_os_str()]));
    command
        .args(options.plan.workers.iter().flat_map(|workers| ["--workers".to_owned(), workers.to_string()]));
    command.args(
        options.plan.settings.iter().flat_map(|(key, value)| ["--set".to_owned(), format!("{key}={value}")]),
    );
    let output = command.stderr(Stdio::inherit()).output().map_err(unavailable)?;
    if !output.status.success() {
        return Ok(None);
    }
    serde_json::from_slice(&output.stdout).map(Some).map_err(|error| {
        Failure::Runtime(Error::internal(format!("{name} does not say what it took: {error}")))
    })
}

fn heading() -> String {
    format!(
        "{:<6}{:>14}{:>10}{:>10}{:>12}{:>14}{:>9}",
        "query", "events/s", "seconds", "CPU s", "RSS peak", "rows out", "late"
    )
}

fn line(name: &str, measured: &Measured) -> String {
    let rate = (measured.events as f64 / measured.seconds).round() as u64;
    format!(
        "{name:<6}{:>14}{:>10.2}{:>10.2}{:>9} MB{:>14}{:>9}",
        count(rate),
        measured.seconds,
        measured.cpu_seconds,
        measured.rss_peak_bytes / 1_000_000,
        count(measured.rows_out),
        count(measured.rows_late),
    )
}
