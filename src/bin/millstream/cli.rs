//! The command line. Every flag of a run can also be given as an environment variable MILLSTREAM_….

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Continuous SQL for devices.
#[derive(Parser)]
#[command(name = "millstream", version, about, disable_help_subcommand = true, after_help = EXAMPLES)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "Examples:
  millstream demo                          a fleet of devices, windows and alerts, live, with nothing to set up
  millstream sql \"SELECT 1 + 1 AS two\"     a query of one line
  millstream run examples/fleet.sql        every INSERT INTO and SELECT of a file, until its sources end
  millstream explain examples/fleet.sql    the graph it runs as
  millstream nexmark q5 q8 --workers 2     what queries of the Nexmark benchmark take
  millstream init                          a file of one's own to start from
  millstream connectors mqtt               the options of a connector";

#[derive(Subcommand)]
pub enum Command {
    /// See it work: a broker, a fleet of devices, windows and alerts, live, with nothing to set up.
    Demo(Demo),
    /// Run the statements of a file.
    Run(Run),
    /// Run a statement, or several separated by ';'.
    Sql(Sql),
    /// Say whether a file is right, without running it.
    Check(Check),
    /// Show the graph that a file or a statement runs as.
    Explain(Explain),
    /// Run queries of the Nexmark benchmark and show what each takes.
    Nexmark(Nexmark),
    /// Copy a pipeline's state as of its newest checkpoint, while it runs or not, to begin from with run --from.
    Savepoint(Savepoint),
    /// What waits in the outboxes of a pipeline that is stopped.
    #[command(subcommand)]
    Outbox(Outbox),
    /// What a pipeline has given up: see it, send it again, take it away.
    #[command(subcommand)]
    DeadLetters(DeadLetters),
    /// Write a file to start from, which runs as it is.
    Init(Init),
    /// List connectors and formats, or the options of one.
    Connectors(Listing),
    /// List the functions that queries can call, or those with a text in their name.
    Functions(Listing),
    /// Print a script that completes this command in a shell.
    Completions(Completions),
}

#[derive(Args)]
pub struct Demo {
    /// End by itself after so many seconds; without it, Ctrl-C ends it.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub seconds: Option<u64>,
    /// Devices in the fleet.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub devices: u32,
    /// Messages of each device a second.
    #[arg(long, default_value_t = 5.0, value_parser = rate)]
    pub rate: f64,
    /// Serve /healthz, /readyz, /metrics and /dead-letters here, such as 127.0.0.1:8080.
    #[arg(long, env = "MILLSTREAM_HTTP", value_name = "ADDR")]
    pub http: Option<SocketAddr>,
    #[command(flatten)]
    pub plan: PlanOptions,
}

#[derive(Args)]
pub struct Run {
    /// The SQL file; - reads standard input.
    pub file: PathBuf,
    #[command(flatten)]
    pub options: RunOptions,
}

#[derive(Args)]
pub struct Sql {
    /// The statements.
    pub text: String,
    #[command(flatten)]
    pub options: RunOptions,
}

#[derive(Args)]
pub struct Check {
    /// The SQL file; - reads standard input.
    pub file: PathBuf,
    #[command(flatten)]
    pub plan: PlanOptions,
}

#[derive(Args)]
pub struct Explain {
    /// An SQL file, or the statements themselves.
    pub text: String,
    #[command(flatten)]
    pub plan: PlanOptions,
}

#[derive(Args)]
pub struct Nexmark {
    /// Queries, q0 to q23 and cep0 to cep3 (row patterns); all when none is named.
    pub queries: Vec<String>,
    /// All queries.
    #[arg(long, conflicts_with = "queries")]
    pub all: bool,
    /// Events that each query reads.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub events: u64,
    /// Events a second of event time, which says how many there are in a window.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub rate: u64,
    /// Read the events from a file of JSON lines instead of making them.
    #[arg(long, value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// Run each query so often, and show the median.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub rounds: u16,
    /// How the results are shown [default: table on a terminal, json when piped].
    #[arg(long)]
    pub format: Option<Format>,
    /// Run the query in this process, and print what it took.
    #[arg(long, hide = true)]
    pub measure: bool,
    #[command(flatten)]
    pub plan: PlanOptions,
}

#[derive(Args)]
pub struct Savepoint {
    /// The state folder of the pipeline.
    #[arg(long, env = "MILLSTREAM_STATE", value_name = "DIR")]
    pub state: PathBuf,
    /// The folder to make of it, which is not there yet; or s3://BUCKET/FOLDER.
    #[arg(long, value_name = "PATH|URL")]
    pub to: PathBuf,
}

#[derive(Subcommand)]
#[command(after_help = OUTBOX)]
pub enum Outbox {
    /// Show what waits: how much, since when, and with --rows each request.
    List(OutboxList),
    /// Take what waits away, undelivered, after asking.
    Purge(OutboxPurge),
}

const OUTBOX: &str = "What waits is sent by the next run with the folder, at once, with attempts and deadlines begun anew. What was given up \
    does not wait here: it is with the dead letters ('dead-letter' = 'TABLE' keeps them, dead-letters retry sends them again).";

#[derive(Args)]
pub struct OutboxList {
    #[command(flatten)]
    pub of: OutboxOf,
    /// Each request that waits, one JSON object a line, with its rows.
    #[arg(long)]
    pub rows: bool,
    /// How outboxes are shown [default: table on a terminal, json when piped].
    #[arg(long, conflicts_with = "rows")]
    pub format: Option<Format>,
}

#[derive(Args)]
pub struct OutboxPurge {
    #[command(flatten)]
    pub of: OutboxOf,
    /// Do not ask.
    #[arg(long)]
    pub yes: bool,
}

#[derive(Args)]
pub struct OutboxOf {
    /// Only that of this table.
    pub table: Option<String>,
    /// The state folder of the pipeline.
    #[arg(long, env = "MILLSTREAM_STATE", value_name = "DIR")]
    pub state: PathBuf,
}

#[derive(Subcommand)]
#[command(after_help = LETTERS)]
pub enum DeadLetters {
    /// Show what was given up: how much, since when and why, and with --rows each letter.
    List(LettersList),
    /// Send what was given up again, and wait until each row is delivered or refused once more.
    Retry(LettersOf),
    /// Take what was given up away, undelivered, after asking.
    Purge(LettersPurge),
}

const LETTERS: &str = "For letters that 'dead-letter' = 'TABLE' keeps in a 'filesystem' table whose path is a folder, while the pipeline runs or \
    not. Letters of sinks are sent again as they are, behind all that was sent since; those that are refused again are letters \
    with the new reason. Letters of sources, which could not be read, are only listed and taken away.";

#[derive(Args)]
pub struct LettersOf {
    /// The pipeline's SQL file; - reads standard input.
    pub file: PathBuf,
    /// Only those of this table.
    pub table: Option<String>,
    #[command(flatten)]
    pub plan: PlanOptions,
}

#[derive(Args)]
pub struct LettersList {
    #[command(flatten)]
    pub of: LettersOf,
    /// Each letter, one JSON object a line.
    #[arg(long)]
    pub rows: bool,
    /// How letters are shown [default: table on a terminal, json when piped].
    #[arg(long, conflicts_with = "rows")]
    pub format: Option<Format>,
}

#[derive(Args)]
pub struct LettersPurge {
    #[command(flatten)]
    pub of: LettersOf,
    /// Do not ask.
    #[arg(long)]
    pub yes: bool,
}

#[derive(Args)]
pub struct Init {
    /// The file to write; one that is there is kept.
    #[arg(default_value = "pipeline.sql")]
    pub file: PathBuf,
}

#[derive(Args)]
pub struct Listing {
    /// Only this one.
    pub name: Option<String>,
}

#[derive(Args)]
pub struct Completions {
    /// The shell: source <(millstream completions bash)
    pub shell: clap_complete::Shell,
}

#[derive(Args)]
pub struct PlanOptions {
    /// Worker threads [default: cores].
    #[arg(long, env = "MILLSTREAM_WORKERS", value_parser = clap::value_parser!(u8).range(1..=128))]
    pub workers: Option<u8>,
    /// A setting, as SET in the file: --set pipeline.name=fleet. Wins over the file; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value, env = "MILLSTREAM_SET", value_delimiter = ',')]
    pub settings: Vec<(String, String)>,
}

#[derive(Args)]
pub struct RunOptions {
    #[command(flatten)]
    pub plan: PlanOptions,
    /// How rows of a bare SELECT are shown [default: table on a terminal, json when piped].
    #[arg(long, env = "MILLSTREAM_FORMAT")]
    pub format: Option<Format>,
    /// Serve /healthz, /readyz, /metrics, /dead-letters, and the rows of bare SELECTs at /rows (server-sent events) here,
    /// such as 127.0.0.1:8080.
    #[arg(long, env = "MILLSTREAM_HTTP", value_name = "ADDR")]
    pub http: Option<SocketAddr>,
    /// Folder for durable state: a run goes on where the last one with this folder ended, killed or not.
    #[arg(long, env = "MILLSTREAM_STATE", value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Copy checkpoints here every minute, behind the pipeline: s3://BUCKET/FOLDER (with AWS_ACCESS_KEY_ID,
    /// AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL), or file:///FOLDER.
    #[arg(long, requires = "state", env = "MILLSTREAM_CHECKPOINTS", value_name = "URL")]
    pub checkpoints: Option<String>,
    /// Begin the state folder, which must have no state yet, from a savepoint, or from where checkpoints were copied to.
    #[arg(long, requires = "state", value_name = "PATH|URL")]
    pub from: Option<PathBuf>,
    /// Go on although the query has changed, without the state of operators that it does not have any more.
    #[arg(long, requires = "state")]
    pub allow_dropped_state: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One JSON object a row.
    Json,
    /// Aligned columns.
    Table,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
        _ => Err("write KEY=VALUE, such as pipeline.name=fleet".into()),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate <= 1_000.0 => Ok(rate),
        _ => Err("write a number above 0, at most 1000".into()),
    }
}
