//! The `millstream` command. Each subcommand is a file; what they share is how a pipeline is run (runner.rs), how rows
//! are shown (rows.rs), the live status line (status.rs), the HTTP endpoint (http.rs, live.rs) and signals (signals.rs).
//!
//! Contract: rows of bare SELECTs go to standard output, everything else to standard error. Exit codes: 0 done,
//! 1 failed while running, 2 wrong usage, 3 wrong SQL or configuration.

mod cli;
mod dead_letters;
mod demo;
mod exit;
mod explain;
mod http;
mod init;
mod limited;
mod lists;
mod live;
mod nexmark;
mod outbox;
mod rows;
mod run;
mod runner;
mod savepoint;
mod shown;
mod signals;
mod status;
mod tapped;
mod terminal;

use clap::{CommandFactory, Parser};
use std::process::ExitCode;

/// glibc gives the memory of a freed batch back to the system and asks for it again with the next one: a pass-through
/// spent two thirds of its time on page faults. A program that embeds the library chooses for itself.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = cli::Arguments::parse();
    // The demo's screen shows bad rows, and its broker logs every connection that ends.
    let is_demo = matches!(arguments.command, cli::Command::Demo(_));
    start_logs(if is_demo { "error,rumqttd=off" } else { "warn" });
    let done = match arguments.command {
        cli::Command::Demo(demo) => demo::run(&demo),
        cli::Command::Run(run) => run::file(&run),
        cli::Command::Sql(sql) => run::text(&sql),
        cli::Command::Check(check) => explain::check(&check),
        cli::Command::Explain(explain) => explain::explain(&explain),
        cli::Command::Nexmark(nexmark) => nexmark::run(&nexmark),
        cli::Command::Savepoint(savepoint) => savepoint::take(&savepoint),
        cli::Command::Outbox(outbox) => outbox::run(&outbox),
        cli::Command::DeadLetters(letters) => dead_letters::run(&letters),
        cli::Command::Init(init) => init::run(&init),
        cli::Command::Connectors(listing) => lists::connectors(&listing),
        cli::Command::Functions(listing) => lists::functions(&listing),
        cli::Command::Completions(of) => {
            let mut command = cli::Arguments::command();
            clap_complete::generate(of.shell, &mut command, "millstream", &mut std::io::stdout());
            Ok(())
        }
    };
    exit::code(done)
}

/// What is logged by default; RUST_LOG says otherwise.
fn start_logs(default: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| terminal::lines(std::io::stderr()))
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_target(false)
        .init();
}
