//! What the operators of a graph are, so that state is given to the one that it is of, and to no other.
//!
//! The state of a planned operator (of SQL) is known by its meaning: what it does, to what, read from where, in words,
//! down to the tables. So an edit elsewhere in the text, another number of workers, or another place among operators of
//! its kind changes nothing, and any change to what its rows were made of does. Sources and sinks are known by their
//! names: another address or password does not make their positions wrong. Operators of a graph wired by a program
//! are known by the ids that it gives. Several that mean the same are numbered: their state is the same too.
//!
//! A shape is made of a graph when a job starts, is written into every checkpoint (file.rs), and is compared with the
//! graph's when one is restored (disk.rs).

use crate::graph::{Graph, GraphNode, NodeBody};
use crate::keys::hash_bytes;
use crate::operator::MAIN;

/// A meaning that is longer is cut, and told apart by the sum of all of it.
const MEANING_BYTES_MAX: usize = 4_096;

/// One operator.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct OperatorShape {
    /// What its state is known by.
    pub identity: String,
    /// What it is called here.
    pub id: String,
    /// What it does, in words.
    pub does: String,
}

impl OperatorShape {
    /// What state was known by in the first version of the format.
    pub(super) fn first_identity(&self) -> String {
        identity_by_id(&self.id, &self.does)
    }
}

fn identity_by_id(id: &str, does: &str) -> String {
    format!("{id}: {does}")
}

impl Graph {
    /// What the state of each node is known by, in the order of the nodes.
    pub fn shape(&self) -> Vec<OperatorShape> {
        let mut meanings: Vec<String> = Vec::with_capacity(self.nodes.len());
        let mut shape: Vec<OperatorShape> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let does = does(node);
            let meaning = meaning(node, &does, &meanings);
            let by_id = identity_by_id(&node.id, &does);
            let mut identity = match &node.body {
                NodeBody::Operator { .. } if self.is_planned && !node.is_transparent => meaning.clone(),
                _ => by_id,
            };
            let is_taken = |name: &str| shape.iter().any(|other| other.identity == name);
            if is_taken(&identity) {
                identity = (2..)
                    .map(|number| format!("{identity} #{number}"))
                    .find(|name| !is_taken(name))
                    .unwrap_or_default();
            }
            shape.push(OperatorShape { identity, id: node.id.clone(), does });
            meanings.push(meaning);
        }
        shape
    }
}

fn does(node: &GraphNode) -> String {
    match &node.body {
        NodeBody::Operator { .. } => {
            format!("{} {}", node.kind, node.state_of.as_ref().unwrap_or(&node.detail))
        }
        NodeBody::Source { .. } | NodeBody::Sink { .. } => node.kind.clone(),
    }
}

/// What the rows of `node` mean, given what those of the nodes before it mean.
fn meaning(node: &GraphNode, does: &str, before: &[String]) -> String {
    if matches!(node.body, NodeBody::Source { .. }) {
        return node.id.clone();
    }
    let inputs = node.inputs.iter().map(|input| {
        let side = if input.port == MAIN { String::new() } else { format!(" side output {}", input.port) };
        format!("{}{side}", before[input.from.0])
    });
    let inputs = inputs.collect::<Vec<_>>().join(", ");
    if node.is_transparent {
        return inputs;
    }
    let keeps = if node.keeps.is_empty() { String::new() } else { format!(" [{}]", node.keeps) };
    let text = format!("{does}{keeps} of ({inputs})");
    if text.len() <= MEANING_BYTES_MAX {
        return text;
    }
    let head: String = text.chars().take(256).collect();
    format!("{head}… {:016x}", hash_bytes(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_schema::{Schema, SchemaRef};

    use super::*;
    use crate::error::{Error, Result};
    use crate::graph::{Input, NodeId};
    use crate::registry::SourceProvider;
    use crate::source::Source;

    struct Nothing;
    impl SourceProvider for Nothing {
        fn is_bounded(&self) -> bool {
            true
        }
        fn create(
            &self,
            _schema: SchemaRef,
            _instance: usize,
            _parallelism: usize,
        ) -> Result<Box<dyn Source>> {
            Err(Error::internal("it is never run"))
        }
    }

    fn source(graph: &mut Graph, name: &str) -> NodeId {
        graph.source(name, "", Arc::new(Nothing), Arc::new(Schema::empty()))
    }

    fn operator(graph: &mut Graph, kind: &str, detail: &str, from: NodeId) -> NodeId {
        let factory: crate::graph::OperatorFactory = Arc::new(|| Err(Error::internal("it is never run")));
        graph.operator(kind, kind, detail, vec![Input::forward(from)], factory)
    }

    fn identity(graph: &Graph, node: NodeId) -> String {
        graph.shape().swap_remove(node.0).identity
    }

    #[test]
    fn a_planned_operator_is_known_by_what_it_means() {
        let mut plain = Graph::planned();
        let from = source(&mut plain, "t");
        let window = operator(&mut plain, "window", "by d", from);
        let expected = identity(&plain, window);
        assert_eq!(expected, "window by d of (t)");

        // Another in front of it takes its id, and a projection of columns comes between.
        let mut edited = Graph::planned();
        let other = source(&mut edited, "u");
        operator(&mut edited, "window", "by d", other);
        let from = source(&mut edited, "t");
        let columns = operator(&mut edited, "project", "d, v", from);
        edited.transparent(columns);
        let window = operator(&mut edited, "window", "by d", columns);
        assert_eq!(identity(&edited, window), expected);
        assert_eq!(edited.shape()[window.0].id, "window#2");
        // The same again is numbered.
        let twin = operator(&mut edited, "window", "by d", columns);
        assert_eq!(identity(&edited, twin), format!("{expected} #2"));

        // What it reads is filtered, or what it keeps has another type.
        let filtered = operator(&mut edited, "project", "d, v where v > 1", from);
        let window = operator(&mut edited, "window", "by d", filtered);
        assert_eq!(identity(&edited, window), "window by d of (project d, v where v > 1 of (t))");
        let typed = operator(&mut edited, "window", "by d", from);
        edited.keeps(typed, "d BIGINT");
        assert_eq!(identity(&edited, typed), "window by d [d BIGINT] of (t)");
    }

    #[test]
    fn an_operator_of_a_program_is_known_by_its_id_and_what_it_does() {
        let mut graph = Graph::new();
        let from = source(&mut graph, "t");
        let window = operator(&mut graph, "window", "by d", from);
        assert_eq!(identity(&graph, window), "window: window by d");
        assert_eq!(identity(&graph, from), "t: source");
    }

    #[test]
    fn a_long_meaning_is_cut_and_still_its_own() {
        let long = |last: &str| {
            let mut graph = Graph::planned();
            let from = source(&mut graph, "t");
            let node = operator(&mut graph, "project", &format!("{}{last}", "x".repeat(10_000)), from);
            identity(&graph, node)
        };
        assert!(long("a").len() < 1_000 && long("a") != long("b"));
    }
}
