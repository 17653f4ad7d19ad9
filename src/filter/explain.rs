//! Why an exec matched, in the words of the filter.

use super::Answer;
use super::compile::Node;
use super::eval::Evaluator;
use super::field::What;
use crate::event::Facts;

/// The tests that made `node` hold; nothing if it does not.
pub(super) fn because(evaluator: Evaluator<'_>, node: &Node, facts: &mut dyn Facts) -> String {
    let mut tests = Vec::new();
    if holds(evaluator, node, facts) {
        collect(evaluator, node, facts, &mut tests);
    }
    tests.join(" and ")
}

fn holds(evaluator: Evaluator<'_>, node: &Node, facts: &mut dyn Facts) -> bool {
    evaluator.judge(node, facts).answer == Answer::Yes
}

/// Adds the tests of a node that holds: all of an `and`, and of an `or` the branch at which its
/// evaluation stopped.
fn collect(evaluator: Evaluator<'_>, node: &Node, facts: &mut dyn Facts, tests: &mut Vec<String>) {
    match node {
        // It was not written.
        Node::Leaf(at) if matches!(evaluator.leaves[*at].what, What::Usual { .. }) => {}
        Node::Leaf(at) => tests.push(evaluator.leaves[*at].shown.to_string()),
        Node::All(group) => {
            for child in &group.children {
                collect(evaluator, child, facts, tests);
            }
        }
        Node::Any(group) => {
            for &at in &group.order {
                let child = &group.children[at];
                if holds(evaluator, child, facts) {
                    return collect(evaluator, child, facts, tests);
                }
            }
        }
    }
}
