//! `millstream dead-letters`: what a pipeline has given up, in the files of its tables of dead letters.
//!
//! What is asked for goes to standard output, as JSON lines or a table for people; questions and what was done to standard
//! error. Works while the pipeline runs or not, since only files that are finished are touched.

use std::collections::BTreeMap;
use std::io::Write;

use millstream::dead_letters::{DeadLetterFiles, Letter, Retried};
use millstream::engine::suggest::did_you_mean;
use millstream::engine::{Error, Result};
use serde::Serialize;

use crate::cli::{DeadLetters, Format, LettersList, LettersOf, LettersPurge};
use crate::exit::Failure;
use crate::explain::compile;
use crate::rows::default_format;
use crate::run::read;
use crate::shown::{done, failed, is_confirmed, json, json_with, row, time, unwritten};
use crate::status::count;

/// Does what the command line says.
pub fn run(command: &DeadLetters) -> Result<(), Failure> {
    match command {
        DeadLetters::List(list) => self::list(list),
        DeadLetters::Retry(of) => retry(of),
        DeadLetters::Purge(purge) => self::purge(purge),
    }
}

/// The tables of dead letters that are meant.
fn chosen(of: &LettersOf) -> Result<Vec<DeadLetterFiles>, Failure> {
    let (text, name) = read(&of.file)?;
    let program = compile(&text, &name, &of.plan)?;
    let mut all = DeadLetterFiles::of(&program, &millstream::connectors::registry()).map_err(failed)?;
    if all.is_empty() {
        return Err(Failure::Usage(format!(
            "no table of {name} keeps its dead letters\nhelp: 'dead-letter' = 'TABLE' in its WITH sends them to a table; one \
             of connector 'filesystem' with a folder for its path keeps them in files"
        )));
    }
    let Some(table) = &of.table else { return Ok(all) };
    let senders: Vec<String> =
        all.iter().flat_map(|files| files.senders().map(str::to_owned).collect::<Vec<_>>()).collect();
    all.retain(|files| files.senders().any(|sender| sender == table));
    if all.is_empty() {
        let near = did_you_mean(table, senders.iter().map(String::as_str));
        let near = near.map_or(String::new(), |near| format!("did you mean '{near}'? "));
        return Err(Failure::Usage(format!(
            "the table '{table}' of {name} does not keep its dead letters\nhelp: {near}there are those of: {}",
            senders.join(", ")
        )));
    }
    Ok(all)
}

/// Of letters without a source, where only one table has any, all are that table's.
fn is_meant(files: &DeadLetterFiles, letter: &Letter, table: Option<&String>) -> bool {
    let Some(table) = table else { return true };
    match &letter.source {
        Some(source) => {
            source == table || source.strip_prefix(table.as_str()).is_some_and(|rest| rest.starts_with('#'))
        }
        None => files.senders().count() == 1,
    }
}

/// A letter as it is listed.
#[derive(Serialize)]
struct Listed<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

/// What the letters of a table come to.
#[derive(Serialize, Default)]
struct Line {
    source: String,
    letters: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    newest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
    #[serde(skip)]
    times_ms: Option<(i64, i64)>,
}

fn list(list: &LettersList) -> Result<(), Failure> {
    let chosen = chosen(&list.of)?;
    let table = list.of.table.as_ref();
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let shown = if list.rows {
        chosen.iter().try_for_each(|files| show_letters(files, table, &mut out))
    } else {
        lines(&chosen, table)
            .and_then(|lines| show_lines(&lines, list.format.unwrap_or_else(default_format), &mut out))
    };
    done(shown, &mut out)
}

fn show_letters(files: &DeadLetterFiles, table: Option<&String>, out: &mut impl Write) -> Result<()> {
    files.each(|letter| {
        if !is_meant(files, letter, table) {
            return Ok(());
        }
        let listed = Listed {
            source: letter.source.as_deref(),
            time: letter.time_ms.map(time),
            error: letter.error.as_deref(),
        };
        let payload = letter.payload.as_deref().map_or_else(|| "null".to_owned(), row);
        writeln!(out, "{}", json_with(&listed, "payload", &payload)?).map_err(|error| unwritten(&error))
    })
}

/// One for each table that has letters.
fn lines(chosen: &[DeadLetterFiles], table: Option<&String>) -> Result<Vec<Line>> {
    let mut lines = BTreeMap::<String, Line>::new();
    for files in chosen {
        files.each(|letter| {
            if !is_meant(files, letter, table) {
                return Ok(());
            }
            let source = letter.source.clone().unwrap_or_else(|| files.table().to_owned());
            let line = lines.entry(source.clone()).or_insert_with(|| Line { source, ..Line::default() });
            line.letters += 1;
            if letter.error.is_some() {
                line.last_error.clone_from(&letter.error);
            }
            if let Some(ms) = letter.time_ms {
                let (oldest, newest) = line.times_ms.unwrap_or((ms, ms));
                line.times_ms = Some((oldest.min(ms), newest.max(ms)));
            }
            Ok(())
        })?;
    }
    let mut lines: Vec<Line> = lines.into_values().collect();
    for line in &mut lines {
        line.oldest = line.times_ms.map(|(oldest, _)| time(oldest));
        line.newest = line.times_ms.map(|(_, newest)| time(newest));
    }
    Ok(lines)
}

fn show_lines(lines: &[Line], format: Format, out: &mut impl Write) -> Result<()> {
    let mut write = |line: String| writeln!(out, "{line}").map_err(|error| unwritten(&error));
    if format == Format::Json {
        return lines.iter().try_for_each(|line| write(json(line)?));
    }
    let width = lines.iter().map(|line| line.source.chars().count()).chain([6]).max().unwrap_or(0);
    write(format!(
        "{:<width$}  {:>10}  {:<24}  {:<24}  last error",
        "source", "letters", "oldest", "newest"
    ))?;
    lines.iter().try_for_each(|line| {
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        write(format!(
            "{:<width$}  {:>10}  {:<24}  {:<24}  {}",
            line.source,
            count(line.letters),
            or_dash(&line.oldest),
            or_dash(&line.newest),
            or_dash(&line.last_error)
        ))
    })
}

fn retry(of: &LettersOf) -> Result<(), Failure> {
    let mut all = Retried::default();
    for files in chosen(of)? {
        let Retried { delivered, refused, unreadable } = files.retry(of.table.as_deref()).map_err(failed)?;
        all.delivered += delivered;
        all.refused += refused;
        all.unreadable += unreadable;
    }
    if all == Retried::default() {
        eprintln!("there are no letters to send again; those of tables that are read are not sent");
        return Ok(());
    }
    eprintln!("{} letters were delivered", count(all.delivered));
    let left: Vec<String> = [(all.refused, "refused again"), (all.unreadable, "no rows of their table")]
        .into_iter()
        .filter(|(letters, _)| *letters > 0)
        .map(|(letters, why)| format!("{} {why}", count(letters)))
        .collect();
    if left.is_empty() {
        return Ok(());
    }
    Err(Failure::Runtime(
        Error::data(format!("letters are left: {}", left.join(", ")))
            .remedy("dead-letters list --rows says why"),
    ))
}

fn purge(purge: &LettersPurge) -> Result<(), Failure> {
    let table = purge.of.table.as_ref();
    let chosen = chosen(&purge.of)?;
    let lines = lines(&chosen, table).map_err(failed)?;
    if lines.is_empty() {
        eprintln!("there are no letters");
        return Ok(());
    }
    for line in &lines {
        let since = line.oldest.as_ref().map_or(String::new(), |oldest| format!(", the oldest of {oldest}"));
        eprintln!("{}: {} letters{since}", line.source, count(line.letters));
    }
    let question = "They will never be delivered. Take them away?";
    let help = "--yes takes them away without asking; dead-letters list --rows shows them";
    if !purge.yes && !is_confirmed(question, help)? {
        eprintln!("nothing was taken away");
        return Ok(());
    }
    for files in chosen {
        let gone = files.purge(table.map(String::as_str)).map_err(failed)?;
        eprintln!("{}: {} letters were taken away", files.folder().display(), count(gone));
    }
    Ok(())
}
