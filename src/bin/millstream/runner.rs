//! Runs a text from start to end: rows out, signals in, status and endpoint beside it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use millstream::engine::{ErrorKind, JobState};
use millstream::{Pipeline, PipelineBuilder};
use parking_lot::Mutex;

use crate::cli::{PlanOptions, RunOptions};
use crate::exit::Failure;
use crate::live::Live;
use crate::signals::{Signal, Signals};
use crate::{http, limited, rows, status, terminal};

/// How many workers the command line asks for.
pub fn workers(plan: &PlanOptions) -> usize {
    plan.workers.map_or_else(|| std::thread::available_parallelism().map_or(1, Into::into), usize::from)
}

/// Runs `text`, which messages call `name`.
pub fn run(text: &str, name: &str, options: &RunOptions) -> Result<(), Failure> {
    let stdout = std::io::stdout();
    let format = options.format.unwrap_or_else(rows::default_format);
    let output: rows::Output = Arc::new(Mutex::new(terminal::lines(stdout)));
    let live = Arc::<Live>::default();
    let mut results = rows::results(format, output);
    if options.http.is_some() {
        results = live.results(results);
    }
    let is_alone = Arc::<AtomicBool>::default();
    let results = limited::results(results, Arc::clone(&is_alone));
    let mut builder = Pipeline::builder().workers(workers(&options.plan)).sql(text).results(results);
    for (key, value) in &options.plan.settings {
        builder = builder.setting(key, value);
    }
    if let Some(folder) = &options.state {
        builder = builder.state(folder).allow_dropped_state(options.allow_dropped_state);
        if let Some(savepoint) = &options.from {
            builder = builder.from_savepoint(savepoint);
        }
        if let Some(url) = &options.checkpoints {
            builder = copied(builder, url)?;
        }
    }
    let program = builder.compile().map_err(|error| Failure::Sql(error, name.to_owned()))?;
    for explanation in &program.explanations {
        print!("{explanation}");
    }
    if program.graph.is_empty() {
        if program.explanations.is_empty() {
            eprintln!("{name} has nothing to run: add an INSERT INTO or a SELECT");
        }
        return Ok(());
    }
    is_alone.store(program.inserts == 0 && program.queries == 1, Ordering::Release);
    drop(program);
    // Signals before the pipeline, so that none arrives at the default handler in between.
    let signals = Signals::new().map_err(Failure::Runtime)?;
    let pipeline = Arc::new(builder.start().map_err(|error| Failure::start(error, name))?);
    if let (Some(folder), 1..) = (pipeline.state_folder(), pipeline.last_checkpoint()) {
        eprintln!("going on from checkpoint {} in {}", pipeline.last_checkpoint(), folder.display());
    }
    let serve = |address| http::serve(address, Arc::clone(&pipeline), live);
    let _endpoint = options.http.map(serve).transpose()?;
    let done = attend(&pipeline, &signals);
    status::summary(&pipeline);
    done
}

/// Has checkpoints copied to `url`.
#[cfg(feature = "object-store")]
fn copied(builder: PipelineBuilder, url: &str) -> Result<PipelineBuilder, Failure> {
    Ok(builder.checkpoints(url))
}

#[cfg(not(feature = "object-store"))]
fn copied(_: PipelineBuilder, url: &str) -> Result<PipelineBuilder, Failure> {
    Err(Failure::Usage(format!(
        "--checkpoints {url}: this build has no object stores (feature object-store)"
    )))
}

/// Waits for the end, passing signals on and keeping the status line.
pub fn attend(pipeline: &Arc<Pipeline>, signals: &Signals) -> Result<(), Failure> {
    let line = status::Line::start(Arc::clone(pipeline));
    let watcher = signals.wake_when_done(Arc::clone(pipeline));
    let mut interrupted = false;
    loop {
        match signals.wait() {
            Signal::Ended => break,
            Signal::Interrupt if interrupted => {
                pipeline.stop();
                break;
            }
            Signal::Interrupt if pipeline.state_folder().is_some() => {
                interrupted = true;
                terminal::say("stopping: making the state safe (once more to stop at once)");
                pipeline.suspend();
            }
            Signal::Interrupt => {
                interrupted = true;
                terminal::say("draining: delivering what is inside (once more to stop at once)");
                pipeline.drain();
            }
        }
    }
    let ended = pipeline.wait();
    drop(watcher);
    drop(line);
    if let (Ok(()), Some(epoch), Some(folder)) = (&ended, pipeline.suspended(), pipeline.state_folder()) {
        eprintln!("state is safe in {}: the next run goes on from checkpoint {epoch}", folder.display());
        #[cfg(feature = "object-store")]
        if let Some((url, _)) = pipeline.checkpoint_copies().filter(|(_, status)| status.last() == epoch) {
            eprintln!("and in {url}, for another machine: run --from {url}");
        }
        return Ok(());
    }
    match ended {
        Ok(()) if pipeline.state() == JobState::Stopped => Err(Failure::Interrupted),
        Ok(()) => Ok(()),
        // The reader of our output went away: `| head` has what it wanted.
        Err(error) if error.kind() == ErrorKind::Closed => Ok(()),
        Err(error) if error.kind() == ErrorKind::Config => Err(Failure::Config(error)),
        Err(error) => Err(Failure::Runtime(error)),
    }
}
