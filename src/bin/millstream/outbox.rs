//! `millstream outbox`: what waits in the outboxes of a state folder while no pipeline runs with it.
//!
//! What is asked for goes to standard output, as JSON lines or a table for people; questions and what was done to standard
//! error. Requests are shown as their connectors read them.

use std::io::Write;

use serde::Serialize;

use millstream::engine::outbox::{OutboxAtRest, OutboxesAtRest};
use millstream::engine::suggest::did_you_mean;
use millstream::engine::{Clock, Error, Registry, SystemClock};

use crate::cli::{Format, Outbox, OutboxList, OutboxOf, OutboxPurge};
use crate::exit::Failure;
use crate::rows::default_format;
use crate::shown::{done, failed, is_confirmed, json, json_with, row, time, unwritten};
use crate::status::{count, millis};

/// Does what the command line says.
pub fn run(outbox: &Outbox) -> Result<(), Failure> {
    match outbox {
        Outbox::List(list) => self::list(list),
        Outbox::Purge(purge) => self::purge(purge),
    }
}

/// The outboxes that are meant.
fn chosen<'a>(outboxes: &'a OutboxesAtRest, of: &OutboxOf) -> Result<Vec<&'a OutboxAtRest>, Failure> {
    let all = outboxes.all();
    let Some(table) = &of.table else { return Ok(all.iter().collect()) };
    let found: Vec<_> = all.iter().filter(|outbox| outbox.table == *table).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let tables: Vec<&str> = all.iter().map(|outbox| outbox.table.as_str()).collect();
    let near = did_you_mean(table, tables.iter().copied());
    let near = near.map_or(String::new(), |near| format!("did you mean '{near}'? "));
    let there = if tables.is_empty() { "none".to_owned() } else { tables.join(", ") };
    Err(Failure::Usage(format!(
        "there is no outbox of a table '{table}' in {}\nhelp: {near}there are those of: {there}",
        of.state.display()
    )))
}

/// What an outbox comes to.
#[derive(Serialize)]
struct Line<'a> {
    table: &'a str,
    instance: usize,
    waiting: u64,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_seconds: Option<i64>,
    /// Behind the newest checkpoint: not of those that wait.
    made_anew: u64,
}

impl<'a> Line<'a> {
    fn of(outbox: &'a OutboxAtRest, now_ms: i64) -> Result<Self, Error> {
        let (mut waiting, mut bytes, mut oldest_ms) = (0, 0, None);
        outbox.each_waiting(|record| {
            waiting += 1;
            bytes += record.body.len() as u64;
            oldest_ms = oldest_ms.into_iter().chain(record.put_ms).min();
            Ok(())
        })?;
        Ok(Self {
            table: &outbox.table,
            instance: outbox.instance,
            waiting,
            bytes,
            oldest: oldest_ms.map(time),
            oldest_seconds: oldest_ms.map(|oldest_ms| now_ms.saturating_sub(oldest_ms).max(0) / 1_000),
            made_anew: outbox.made_anew,
        })
    }
}

/// A request that waits.
#[derive(Serialize)]
struct Request<'a> {
    table: &'a str,
    instance: usize,
    number: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    connector: &'a str,
    title: &'a str,
}

fn list(list: &OutboxList) -> Result<(), Failure> {
    let outboxes = OutboxesAtRest::open(&list.of.state).map_err(failed)?;
    let chosen = chosen(&outboxes, &list.of)?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let shown = if list.rows {
        let registry = millstream::connectors::registry();
        chosen.iter().try_for_each(|outbox| show_requests(outbox, &registry, &mut out))
    } else {
        show_outboxes(&chosen, list.format.unwrap_or_else(default_format), &mut out)
    };
    done(shown, &mut out)
}

fn show_requests(outbox: &OutboxAtRest, registry: &Registry, out: &mut impl Write) -> Result<(), Error> {
    outbox.each_waiting(|record| {
        let connector = registry.connectors().find(|connector| connector.name() == record.connector);
        let rows = connector.and_then(|connector| connector.outbox_rows(&record.body));
        let request = Request {
            table: &outbox.table,
            instance: outbox.instance,
            number: record.number,
            since: record.put_ms.map(time),
            connector: &record.connector,
            title: &record.title,
        };
        let line = match rows {
            // A connector that this build does not have.
            None => json(&request)?,
            Some(rows) => {
                let rows: Vec<String> = rows.iter().map(|bytes| row(bytes)).collect();
                json_with(&request, "rows", &format!("[{}]", rows.join(",")))?
            }
        };
        writeln!(out, "{line}").map_err(|error| unwritten(&error))
    })
}

fn show_outboxes(chosen: &[&OutboxAtRest], format: Format, out: &mut impl Write) -> Result<(), Error> {
    let now_ms = SystemClock::default().now_ms();
    let lines: Vec<Line<'_>> =
        chosen.iter().map(|outbox| Line::of(outbox, now_ms)).collect::<Result<_, _>>()?;
    if format == Format::Json {
        return lines
            .iter()
            .try_for_each(|line| writeln!(out, "{}", json(line)?).map_err(|error| unwritten(&error)));
    }
    let width = lines.iter().map(|line| line.table.chars().count()).chain([5]).max().unwrap_or(0);
    let head = format!(
        "{:<width$}  {:>8}  {:>12}  {:>14}  {:>8}",
        "table", "instance", "waiting", "bytes", "oldest"
    );
    let lines = lines.iter().map(|line| {
        let oldest = line.oldest_seconds.map_or_else(|| "-".to_owned(), |seconds| millis(seconds * 1_000));
        format!(
            "{:<width$}  {:>8}  {:>12}  {:>14}  {oldest:>8}",
            line.table,
            line.instance,
            count(line.waiting),
            count(line.bytes)
        )
    });
    std::iter::once(head)
        .chain(lines)
        .try_for_each(|line| writeln!(out, "{line}"))
        .map_err(|error| unwritten(&error))
}

fn purge(purge: &OutboxPurge) -> Result<(), Failure> {
    let outboxes = OutboxesAtRest::open(&purge.of.state).map_err(failed)?;
    let chosen = chosen(&outboxes, &purge.of)?;
    let now_ms = SystemClock::default().now_ms();
    let mut waiting = Vec::new();
    for outbox in chosen {
        let line = Line::of(outbox, now_ms).map_err(failed)?;
        if line.waiting > 0 {
            waiting.push((outbox, line));
        }
    }
    if waiting.is_empty() {
        eprintln!("nothing waits in {}", purge.of.state.display());
        return Ok(());
    }
    for (_, line) in &waiting {
        let oldest =
            line.oldest.as_ref().map_or(String::new(), |oldest| format!(", the oldest since {oldest}"));
        eprintln!(
            "{}: {} requests of {} bytes wait{oldest}",
            line.table,
            count(line.waiting),
            count(line.bytes)
        );
    }
    let question = "They will never be delivered. Take them away?";
    let help = "--yes takes what waits away without asking; outbox list --rows shows it";
    if !purge.yes && !is_confirmed(question, help)? {
        eprintln!("nothing was taken away");
        return Ok(());
    }
    for (outbox, line) in waiting {
        outbox.purge().map_err(failed)?;
        eprintln!("{}: {} requests were taken away", line.table, count(line.waiting));
    }
    Ok(())
}
