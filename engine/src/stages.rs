//! From a logical graph to stages: where exchanges are needed, how many instances each stage has, and where they live.
//!
//! Invariants: a node shares a stage with the node it reads from exactly when it has one input and each of its
//! instances reads from the instance of the same number; so at one worker everything with a single input is one chain
//! of plain calls. Nodes that merge several inputs (union, join) head a stage of their own, behind a gate.

use crate::exchange::Exchange;
use crate::graph::{Graph, GraphNode, NodeBody};

/// The physical shape of a graph for a number of workers.
#[derive(Debug)]
pub(crate) struct StagePlan {
    /// Instances of each graph node.
    pub parallelism: Vec<usize>,
    /// The stage of each graph node.
    pub stage_of: Vec<usize>,
    /// In topological order.
    pub stages: Vec<Stage>,
}

#[derive(Debug)]
pub(crate) struct Stage {
    /// Graph nodes in topological order; the first is the head.
    pub nodes: Vec<usize>,
    pub parallelism: usize,
    /// The worker of each instance.
    pub workers: Vec<usize>,
}

impl StagePlan {
    /// `is_durable`: the job keeps state on disk, so that sinks may have outboxes.
    pub fn new(graph: &Graph, workers: usize, is_durable: bool) -> Self {
        let mut parallelism: Vec<usize> = Vec::with_capacity(graph.nodes.len());
        let mut stage_of: Vec<usize> = Vec::with_capacity(graph.nodes.len());
        let mut stages: Vec<Stage> = Vec::new();
        for (index, node) in graph.nodes.iter().enumerate() {
            let instances = instances(node, &parallelism, workers, is_durable);
            parallelism.push(instances);
            match chained_to(node, instances, &parallelism) {
                Some(above) => {
                    let stage = stage_of[above];
                    stage_of.push(stage);
                    stages[stage].nodes.push(index);
                }
                None => {
                    let number = stages.len();
                    stage_of.push(number);
                    // Stages with fewer instances than workers start on different ones, to share the load.
                    let first = if instances == workers { 0 } else { number };
                    let placed = (0..instances).map(|instance| (first + instance) % workers).collect();
                    stages.push(Stage { nodes: vec![index], parallelism: instances, workers: placed });
                }
            }
        }
        Self { parallelism, stage_of, stages }
    }

    /// True when `node`, number `to`, is a sink that was asked to have more instances than what it forwards from.
    pub fn is_spread(&self, node: &GraphNode, from: usize, to: usize) -> bool {
        node.parallelism.is_some() && self.parallelism[to] > self.parallelism[from]
    }

    /// True when `to` reads its (only) input by a plain call.
    pub fn is_chained(&self, from: usize, to: usize) -> bool {
        self.stage_of[from] == self.stage_of[to]
    }
}

fn instances(node: &GraphNode, parallelism: &[usize], workers: usize, is_durable: bool) -> usize {
    let above = node.inputs.iter().map(|input| match input.exchange {
        Exchange::Forward => parallelism[input.from.0],
        Exchange::Keyed(_) | Exchange::Rebalance => workers,
        Exchange::Gather => 1,
    });
    let wanted = above.max().unwrap_or(workers);
    match &node.body {
        NodeBody::Source { provider, .. } => provider.parallelism(workers).clamp(1, workers),
        NodeBody::Sink { provider } if is_durable && provider.has_outbox() => 1,
        NodeBody::Sink { provider } => {
            let wanted = node.parallelism.unwrap_or(wanted).min(workers);
            wanted.min(provider.parallelism(workers)).max(1)
        }
        NodeBody::Operator { .. } => wanted.max(1),
    }
}

/// The node above that `node` is chained to, if it is.
fn chained_to(node: &GraphNode, instances: usize, parallelism: &[usize]) -> Option<usize> {
    let [input] = node.inputs.as_slice() else { return None };
    let from = input.from.0;
    let same = parallelism[from] == instances;
    (same && (input.exchange == Exchange::Forward || instances == 1)).then_some(from)
}

/// The graph as text: stages with their instances, operators indented below what they read from, exchanges and keys; as
/// a job without state on disk runs it.
pub fn explain(graph: &Graph, workers: usize) -> String {
    let plan = StagePlan::new(graph, workers, false);
    let mut text = String::new();
    for (number, stage) in plan.stages.iter().enumerate() {
        let plural = if stage.parallelism == 1 { "" } else { "s" };
        text.push_str(&format!("Stage {number}: {} instance{plural}\n", stage.parallelism));
        let head = &graph.nodes[stage.nodes[0]];
        for input in &head.inputs {
            let from = input.from.0;
            let keys = match &input.exchange {
                Exchange::Keyed(keys) if stage.parallelism > 1 || plan.parallelism[from] > 1 => {
                    format!("hash of columns {keys:?}")
                }
                Exchange::Rebalance => "in turn".to_owned(),
                Exchange::Forward if plan.is_spread(head, from, stage.nodes[0]) => "in turn".to_owned(),
                Exchange::Gather => "all to one".to_owned(),
                Exchange::Forward | Exchange::Keyed(_) if stage.parallelism < plan.parallelism[from] => {
                    "all to fewer".to_owned()
                }
                Exchange::Forward | Exchange::Keyed(_) => "forward".to_owned(),
            };
            let side = if input.port == 0 { String::new() } else { format!(", side output {}", input.port) };
            text.push_str(&format!("  <= exchange from stage {} ({keys}{side})\n", plan.stage_of[from]));
        }
        for &index in &stage.nodes {
            let node = &graph.nodes[index];
            let depth = depth(graph, &plan, index);
            let detail = if node.detail.is_empty() { String::new() } else { format!(" {}", node.detail) };
            text.push_str(&format!("  {}{} [{}]{detail}\n", "  ".repeat(depth), node.kind, node.id));
        }
    }
    text
}

fn depth(graph: &Graph, plan: &StagePlan, index: usize) -> usize {
    let mut depth = 0;
    let mut at = index;
    while let [input] = graph.nodes[at].inputs.as_slice() {
        if !plan.is_chained(input.from.0, at) {
            break;
        }
        at = input.from.0;
        depth += 1;
    }
    depth
}

/// Name of a stage in messages: its head and how many operators follow.
pub(crate) fn stage_name(graph: &Graph, stage: &Stage) -> String {
    let ids: Vec<_> = stage.nodes.iter().map(|&index| graph.nodes[index].id.as_str()).collect();
    ids.join(" > ")
}
