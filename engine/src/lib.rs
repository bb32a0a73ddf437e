//! Millstream's runtime: a dataflow graph of operators on worker threads.
//!
//! It knows no SQL and no connector. Rows move as [`batch::Batch`]es; every edge carries [`element::Element`]s. A graph
//! (graph.rs) is cut into stages at its exchanges (stages.rs); each worker thread (worker.rs) runs its instances of
//! all stages, downstream first, and parks when there is nothing to do. Read order for a newcomer: element.rs,
//! operator.rs, chain.rs, gate.rs, stage.rs, worker.rs, job.rs.

pub mod batch;
pub mod channel;
pub mod clock;
pub mod context;
pub mod dead_letter;
pub mod disk;
pub mod element;
pub mod error;
pub mod exchange;
pub mod failpoint;
pub mod format;
pub mod graph;
pub mod harness;
pub mod io;
pub mod job;
pub mod journal;
pub mod keys;
pub mod lookup;
pub mod metrics;
pub mod operator;
pub mod options;
pub mod outbox;
pub mod park;
pub mod registry;
pub mod sink;
pub mod source;
pub mod state;
pub mod suggest;

mod assemble;
mod chain;
mod checkpoint;
mod gate;
mod output;
mod prune;
mod stage;
mod stages;
mod sync;
mod task;
mod type_name;
mod worker;

pub use batch::{Batch, ChangeKind, record_batch};
pub use clock::{Clock, ClockRef, ManualClock, SystemClock};
pub use context::InstanceContext;
pub use dead_letter::{OnError, RowErrors};
pub use error::{Error, ErrorKind, Result, causes};
pub use format::{Codec, Decoded, Decoder, Encoder, Format};
pub use graph::{Graph, Input, NodeId};
pub use job::{Job, JobConfig, JobState};
pub use operator::{Firing, Operator, Output};
pub use prune::prune;
pub use registry::{Connector, Registry, SinkProvider, SourceProvider, Table};
pub use sink::{Ready, Sink};
pub use source::{Source, SourcePoll, Stop};
pub use stages::explain;
pub use task::Task;
pub use type_name::type_name;
