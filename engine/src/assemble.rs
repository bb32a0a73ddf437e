//! Builds the instances of a graph: channels, operators, chains, one worker's stages after the other.
//!
//! Operators are opened and restored here, sinks before sources, so that a wrong setting is an error of the start and
//! nothing is read before everything behind it stands: on the caller's thread, but for the restoring of a stage's
//! instances, each of which has a thread for it, since much state takes its time.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::chain::{Body, Chain, Edge, Node};
use crate::channel::{Receiver, Sender, channel};
use crate::checkpoint::Checkpoints;
use crate::context::InstanceContext;
use crate::dead_letter::{DeadLetters, Route};
use crate::element::Element;
use crate::error::Result;
use crate::exchange::{Exchange, ExchangeWriter};
use crate::gate::Gate;
use crate::graph::{Graph, NodeBody};
use crate::job::{Control, JobConfig};
use crate::journal;
use crate::keys::key_group_range;
use crate::metrics::OperatorMetrics;
use crate::park::Signal;
use crate::stage::{Head, SourceHead, StageInstance};
use crate::stages::{StagePlan, stage_name};
use crate::state::StateReader;
use crate::worker::{Worker, panicked};

/// A job's threads before they run.
pub(crate) struct Assembly {
    pub workers: Vec<Worker>,
    pub metrics: Vec<Arc<OperatorMetrics>>,
    pub checkpoints: Arc<Checkpoints>,
}

/// The queues of one edge between two stages, by (reading node, input port).
type Senders = HashMap<(usize, usize), Vec<Vec<Sender<Element>>>>;
/// The queues into one stage instance, by (stage, instance).
type Receivers = HashMap<(usize, usize), Vec<(usize, Receiver<Element>)>>;

pub(crate) fn assemble(
    graph: &Graph,
    config: &JobConfig,
    signals: &[Arc<Signal>],
    control: &Arc<Control>,
    dead_letters: &Arc<DeadLetters>,
) -> Result<Assembly> {
    let plan = StagePlan::new(graph, config.workers, config.store.folder().is_some());
    let instances = plan.parallelism.iter().sum();
    let first = config.restore.unwrap_or(0);
    let checkpoints = Checkpoints::new(Arc::clone(&config.store), instances, first, signals.to_vec());
    let (mut senders, mut receivers) = connect(graph, &plan, config, signals);
    let mut metrics: Vec<Vec<Arc<OperatorMetrics>>> = graph
        .nodes
        .iter()
        .enumerate()
        .map(|(index, node)| {
            (0..plan.parallelism[index])
                .map(|instance| OperatorMetrics::new(&node.id, &node.kind, instance))
                .collect()
        })
        .collect();
    let mut workers: Vec<Vec<StageInstance>> = signals.iter().map(|_| Vec::new()).collect();
    // Downstream first: the order workers run their stages in.
    for (number, stage) in plan.stages.iter().enumerate().rev() {
        let mut built = Vec::with_capacity(stage.parallelism);
        for instance in 0..stage.parallelism {
            let mut builder = InstanceBuilder {
                graph,
                plan: &plan,
                config,
                waker: &signals[stage.workers[instance]],
                dead_letters,
                metrics: &mut metrics,
                senders: &mut senders,
                instance,
                states: Vec::new(),
            };
            let nodes = builder.nodes(&stage.nodes)?;
            built.push((nodes, builder.states));
        }
        restore(&mut built)?;
        for (instance, (nodes, _)) in built.into_iter().enumerate() {
            let worker = stage.workers[instance];
            let chain = Chain::new(nodes, Arc::clone(&config.clock), Arc::clone(&checkpoints));
            let head = match &graph.nodes[stage.nodes[0]].body {
                NodeBody::Source { .. } => Head::Source(SourceHead::default()),
                _ => {
                    let queues = receivers.remove(&(number, instance)).unwrap_or_default();
                    let keyed = graph.nodes[stage.nodes[0]]
                        .inputs
                        .iter()
                        .any(|input| matches!(input.exchange, Exchange::Keyed(_)));
                    // Only a keyed exchange cuts batches into fragments worth gathering; gathering copies them, which
                    // a piece of a quarter of a batch does not repay.
                    Head::Gate(Gate::new(queues, if keyed { config.batch_rows_max / 4 } else { 0 }))
                }
            };
            let name = stage_name(graph, stage);
            workers[worker].push(StageInstance::new(name, head, chain, Arc::clone(&checkpoints)));
        }
    }
    config.store.restored();
    let workers = workers
        .into_iter()
        .zip(signals)
        .map(|(stages, signal)| Worker {
            stages,
            signal: Arc::clone(signal),
            control: Arc::clone(control),
            clock: Arc::clone(&config.clock),
        })
        .collect();
    Ok(Assembly { workers, metrics: metrics.into_iter().flatten().collect(), checkpoints })
}

/// Makes a queue for each pair of instances that an exchange connects.
fn connect(
    graph: &Graph,
    plan: &StagePlan,
    config: &JobConfig,
    signals: &[Arc<Signal>],
) -> (Senders, Receivers) {
    let mut senders = Senders::new();
    let mut receivers = Receivers::new();
    for (to, node) in graph.nodes.iter().enumerate() {
        for (port, input) in node.inputs.iter().enumerate() {
            let from = input.from.0;
            if plan.is_chained(from, to) {
                continue;
            }
            let (producers, consumers) = (plan.parallelism[from], plan.parallelism[to]);
            let worker_of = |index: usize, instance: usize| {
                Arc::clone(&signals[plan.stages[plan.stage_of[index]].workers[instance]])
            };
            let mut of_producers = Vec::with_capacity(producers);
            for producer in 0..producers {
                let targets = match input.exchange {
                    Exchange::Forward if !plan.is_spread(node, from, to) => {
                        producer % consumers..producer % consumers + 1
                    }
                    _ => 0..consumers,
                };
                let mut of_targets = Vec::with_capacity(targets.len());
                for consumer in targets {
                    let (sender, receiver) =
                        channel(config.queue_bytes_max, worker_of(from, producer), worker_of(to, consumer));
                    of_targets.push(sender);
                    receivers.entry((plan.stage_of[to], consumer)).or_default().push((port, receiver));
                }
                of_producers.push(of_targets);
            }
            senders.insert((to, port), of_producers);
        }
    }
    (senders, receivers)
}

/// What is needed to build the nodes of one stage instance.
struct InstanceBuilder<'a> {
    graph: &'a Graph,
    plan: &'a StagePlan,
    config: &'a JobConfig,
    waker: &'a Arc<Signal>,
    dead_letters: &'a Arc<DeadLetters>,
    metrics: &'a mut Vec<Vec<Arc<OperatorMetrics>>>,
    senders: &'a mut Senders,
    instance: usize,
    states: Unrestored,
}

/// What operators have still to restore, by their node's id.
type Unrestored = Vec<(String, StateReader)>;

/// Restores the operators of a stage's instances from their states.
fn restore(instances: &mut [(Vec<Node>, Unrestored)]) -> Result<()> {
    let restore_one = |nodes: &mut Vec<Node>, states: &mut Unrestored| {
        states.drain(..).try_for_each(|(id, state)| {
            let node = nodes.iter_mut().find(|node| node.metrics.operator == id);
            let Some(Body::Operator(operator)) = node.map(|node| &mut node.body) else { return Ok(()) };
            guarded(|| operator.restore(&state)).map_err(|error| error.at(&id))
        })
    };
    std::thread::scope(|scope| {
        let (first, others) = instances.split_at_mut(1);
        let others: Vec<_> = others
            .iter_mut()
            .filter(|(_, states)| !states.is_empty())
            .map(|(nodes, states)| scope.spawn(move || restore_one(nodes, states)))
            .collect();
        let mut done = first.iter_mut().try_for_each(|(nodes, states)| restore_one(nodes, states));
        for other in others {
            let other =
                other.join().unwrap_or_else(|panic| Err(panicked("while state was restored", &*panic)));
            done = done.and(other);
        }
        done
    })
}

/// State that fits by its shape and not by its bytes is an error of the start, however an operator finds that out.
fn guarded<T>(call: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(call))
        .unwrap_or_else(|panic| Err(panicked("while state was restored", panic.as_ref())))
}

impl InstanceBuilder<'_> {
    /// The stage's operators in order, then its exchanges.
    fn nodes(&mut self, indices: &[usize]) -> Result<Vec<Node>> {
        let local: HashMap<usize, usize> =
            indices.iter().enumerate().map(|(at, &index)| (index, at)).collect();
        let mut nodes = Vec::with_capacity(indices.len());
        let mut exchanges = Vec::new();
        // Open from the far end, so that a source finds everything behind it standing.
        for &index in indices.iter().rev() {
            let mut children = Vec::new();
            for (to, node) in self.graph.nodes.iter().enumerate() {
                for (port, input) in node.inputs.iter().enumerate().filter(|(_, input)| input.from.0 == index)
                {
                    if let Some(&at) = local.get(&to).filter(|_| self.plan.is_chained(index, to)) {
                        children.push(Edge { port: input.port, to: at });
                    } else if let Some(targets) =
                        self.senders.get_mut(&(to, port)).map(|of| std::mem::take(&mut of[self.instance]))
                    {
                        children.push(Edge { port: input.port, to: indices.len() + exchanges.len() });
                        let writer = ExchangeWriter::new(&input.exchange, targets);
                        let metrics = OperatorMetrics::new("exchange", "exchange", self.instance);
                        exchanges.push(Node::new(Body::Exchange(writer), Vec::new(), metrics));
                    }
                }
            }
            nodes.push(self.open(index, children)?);
        }
        nodes.reverse();
        nodes.extend(exchanges);
        Ok(nodes)
    }

    fn open(&mut self, index: usize, children: Vec<Edge>) -> Result<Node> {
        let node = &self.graph.nodes[index];
        let parallelism = self.plan.parallelism[index];
        let metrics = Arc::clone(&self.metrics[index][self.instance]);
        let route = node
            .dead_letters
            .as_ref()
            .map(|schema| Arc::new(Route::new(Arc::clone(schema), Arc::clone(self.waker))));
        let context = InstanceContext {
            job: self.config.name.as_str().into(),
            instance: self.instance,
            parallelism,
            key_groups: key_group_range(self.instance, parallelism),
            batch_rows_max: self.config.batch_rows_max,
            clock: Arc::clone(&self.config.clock),
            waker: Arc::clone(self.waker),
            metrics: Arc::clone(&metrics),
            dead_letters: Arc::clone(self.dead_letters),
            dead_letter_route: route.clone(),
            io: self.config.io.clone(),
            journal_folder: self.config.store.folder().map(|folder| {
                let what = if matches!(node.body, NodeBody::Sink { .. }) { "outbox" } else { "journal" };
                journal::folder(folder, what, &node.id, self.instance)
            }),
        };
        let state = match self.config.restore {
            Some(epoch) => self.config.store.read(epoch, &node.id, &context.key_groups)?,
            None => StateReader::default(),
        };
        let body = guarded(|| self.body(&node.body, &context, &state)).map_err(|error| error.at(&node.id))?;
        if matches!(body, Body::Operator(_)) && !state.is_empty() {
            self.states.push((node.id.clone(), state));
        }
        let mut made = Node::new(body, children, metrics);
        made.key_groups = context.key_groups;
        made.route = route;
        Ok(made)
    }

    fn body(&self, body: &NodeBody, context: &InstanceContext, state: &StateReader) -> Result<Body> {
        Ok(match body {
            NodeBody::Source { provider, schema } => {
                let mut source =
                    provider.create(Arc::clone(schema), context.instance, context.parallelism)?;
                source.open(context)?;
                if !state.is_empty() {
                    source.restore(state)?;
                }
                Body::Source(source)
            }
            NodeBody::Operator { factory } => {
                let mut operator = factory()?;
                operator.open(context)?;
                Body::Operator(operator)
            }
            NodeBody::Sink { provider } => {
                let mut sink = provider.create(context.instance, context.parallelism)?;
                sink.open(context)?;
                if !state.is_empty() {
                    sink.restore(state)?;
                }
                Body::Sink(sink)
            }
        })
    }
}
