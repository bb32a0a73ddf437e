//! The logical graph: what a planner or a program wires together, before stages and instances exist.
//!
//! Invariants: inputs exist before what reads them, so the graph has no cycle and node order is topological; ids are
//! unique. State is kept under what a node means (state/shape.rs), which is not its place in the graph. Stages are cut
//! from it in stages.rs, a job runs it (job.rs).

use std::sync::Arc;

use arrow_schema::SchemaRef;

use crate::dead_letter::check_schema;
use crate::error::{Error, Result};
use crate::exchange::Exchange;
use crate::operator::{DEAD, MAIN, Operator};
use crate::registry::{SinkProvider, SourceProvider};

/// A node of a [`Graph`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub(crate) usize);

/// Where an operator's or sink's rows come from.
#[derive(Debug, Clone)]
pub struct Input {
    /// The node that emits them.
    pub from: NodeId,
    /// On which of its outputs.
    pub port: u8,
    /// How they find their instance.
    pub exchange: Exchange,
}

impl Input {
    /// The main output of `from`, to the instance of the same number.
    pub fn forward(from: NodeId) -> Self {
        Self { from, port: MAIN, exchange: Exchange::Forward }
    }

    /// The main output of `from`, by hash of columns `keys`.
    pub fn keyed(from: NodeId, keys: Vec<usize>) -> Self {
        Self { from, port: MAIN, exchange: Exchange::Keyed(keys) }
    }

    /// The main output of `from`, all to one instance.
    pub fn gather(from: NodeId) -> Self {
        Self { from, port: MAIN, exchange: Exchange::Gather }
    }

    /// The same input from output `port`.
    #[must_use]
    pub fn on_port(self, port: u8) -> Self {
        Self { port, ..self }
    }
}

/// Makes one instance of an operator; called once per instance.
pub type OperatorFactory = Arc<dyn Fn() -> Result<Box<dyn Operator>> + Send + Sync>;

pub(crate) enum NodeBody {
    Source { provider: Arc<dyn SourceProvider>, schema: SchemaRef },
    Operator { factory: OperatorFactory },
    Sink { provider: Arc<dyn SinkProvider> },
}

pub(crate) struct GraphNode {
    pub id: String,
    pub kind: String,
    pub detail: String,
    /// What its state is of, where the detail does not say it.
    pub state_of: Option<String>,
    /// What else has to be the same for its state to fit: types of what it keeps.
    pub keeps: String,
    /// The rows that it emits mean what those it reads mean.
    pub is_transparent: bool,
    pub body: NodeBody,
    pub inputs: Vec<Input>,
    /// How many instances it is to have, where that is not left to what it reads from.
    pub parallelism: Option<usize>,
    /// Columns of the dead letters that it emits on [`DEAD`](crate::operator::DEAD); none: it emits none.
    pub dead_letters: Option<SchemaRef>,
}

/// Sources, operators and sinks, and who feeds whom.
#[derive(Default)]
pub struct Graph {
    pub(crate) nodes: Vec<GraphNode>,
    /// Operators are known by what they mean, not by their ids.
    pub(crate) is_planned: bool,
}

impl Graph {
    /// An empty graph. Operators' state is kept under their ids.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty graph for a planner, which gives ids by the order of nodes: operators' state is kept under what they do
    /// and what they read, as details and [`Graph::state_of`] say it.
    pub fn planned() -> Self {
        Self { is_planned: true, ..Self::default() }
    }

    /// Adds a source that produces the columns of `schema`. `id` names it in metrics and state; a taken id gets a
    /// number. `detail` is for EXPLAIN.
    pub fn source(
        &mut self,
        id: impl Into<String>,
        detail: impl Into<String>,
        provider: Arc<dyn SourceProvider>,
        schema: SchemaRef,
    ) -> NodeId {
        self.add(id.into(), "source".into(), detail.into(), NodeBody::Source { provider, schema }, Vec::new())
    }

    /// Adds an operator. Input `i` of `inputs` is its port `i`. `kind` is one word for metrics and EXPLAIN.
    pub fn operator(
        &mut self,
        id: impl Into<String>,
        kind: impl Into<String>,
        detail: impl Into<String>,
        inputs: Vec<Input>,
        factory: OperatorFactory,
    ) -> NodeId {
        self.add(id.into(), kind.into(), detail.into(), NodeBody::Operator { factory }, inputs)
    }

    /// Adds a sink.
    pub fn sink(
        &mut self,
        id: impl Into<String>,
        detail: impl Into<String>,
        provider: Arc<dyn SinkProvider>,
        input: Input,
    ) -> NodeId {
        self.add(id.into(), "sink".into(), detail.into(), NodeBody::Sink { provider }, vec![input])
    }

    /// Asks for so many instances of sink `node`, of which it gets as many as there are workers and its connector allows.
    /// Where more write than send, rows that are forwarded go to them in turn.
    pub fn sink_parallelism(&mut self, node: NodeId, instances: usize) {
        if let Some(node) = self.nodes.get_mut(node.0) {
            node.parallelism = Some(instances);
        }
    }

    /// Says what the state of `node` is of, where its detail does not: two plans whose operators are told the same here
    /// can take each other's state over.
    pub fn state_of(&mut self, node: NodeId, what: impl Into<String>) {
        if let Some(node) = self.nodes.get_mut(node.0) {
            node.state_of = Some(what.into());
        }
    }

    /// Says what else has to be the same for the state of `node` to fit, which its detail does not show: the types of what
    /// it keeps, say.
    pub fn keeps(&mut self, node: NodeId, what: impl Into<String>) {
        if let Some(node) = self.nodes.get_mut(node.0) {
            node.keeps = what.into();
        }
    }

    /// Says that the rows `node` emits mean what those it reads mean, so that it may come and go without a change to the
    /// state of what reads on: it picks columns, or gathers rows for another number of workers.
    pub fn transparent(&mut self, node: NodeId) {
        if let Some(node) = self.nodes.get_mut(node.0) {
            node.is_transparent = true;
        }
    }

    /// Makes a source or sink emit its dead letters on its side output [`DEAD`], as rows of `schema`.
    ///
    /// # Errors
    /// If dead letters do not have these columns.
    pub fn dead_letters(&mut self, node: NodeId, schema: SchemaRef) -> Result<Input> {
        check_schema(&schema)?;
        let at = self.nodes.get_mut(node.0).ok_or_else(|| Error::internal("no such node"))?;
        at.dead_letters = Some(schema);
        Ok(Input::gather(node).on_port(DEAD))
    }

    /// True when every source ends by itself.
    pub fn is_bounded(&self) -> bool {
        self.nodes.iter().all(|node| match &node.body {
            NodeBody::Source { provider, .. } => provider.is_bounded(),
            _ => true,
        })
    }

    /// The ids of its sources.
    pub fn sources(&self) -> impl Iterator<Item = &str> {
        let sources = self.nodes.iter().filter(|node| matches!(node.body, NodeBody::Source { .. }));
        sources.map(|node| node.id.as_str())
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// True for a graph without nodes.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    fn add(
        &mut self,
        id: String,
        kind: String,
        detail: String,
        body: NodeBody,
        inputs: Vec<Input>,
    ) -> NodeId {
        debug_assert!(inputs.iter().all(|input| input.from.0 < self.nodes.len()));
        let taken = |name: &str| self.nodes.iter().any(|node| node.id == name);
        let id = if taken(&id) {
            (2..).map(|n| format!("{id}#{n}")).find(|name| !taken(name)).unwrap_or(id)
        } else {
            id
        };
        self.nodes.push(GraphNode {
            id,
            kind,
            detail,
            state_of: None,
            keeps: String::new(),
            is_transparent: false,
            body,
            inputs,
            parallelism: None,
            dead_letters: None,
        });
        NodeId(self.nodes.len() - 1)
    }
}
