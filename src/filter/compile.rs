//! From the tree to what is evaluated: names are looked up, patterns built, tests that make no
//! sense refused, and negation is moved down to the tests.

use super::ast::{Expr, Test};
use super::check;
use super::error::{Fault, FilterError};
use super::field::{Of, What};
use super::matcher::Want;
use super::names::NameCache;
use super::parser::{self, Places};
use crate::event::Keep;

/// All the expressions of a filter, ready to be evaluated.
pub(super) struct Program {
    pub expressions: Vec<Expr>,
    pub root: Node,
    pub leaves: Vec<Leaf>,
    pub keep: Keep,
}

/// `not` is in the leaves only: in a logic of three values, too, `not (a and b)` is
/// `not a or not b`. So a leaf that fails is what failed, and says how near it was.
pub(super) enum Node {
    Leaf(usize),
    All(Group),
    Any(Group),
}

pub(super) struct Group {
    /// As they were written.
    pub children: Vec<Node>,
    /// In which order they are evaluated: the cheapest first.
    pub order: Vec<usize>,
}

pub(super) struct Leaf {
    pub of: Of,
    pub what: What,
    pub want: Want,
    /// Whether the answer is turned around.
    pub negated: bool,
    /// The test with its negation, to be shown.
    pub shown: Expr,
    cost: u8,
}

pub(super) fn compile<B: AsRef<[u8]>>(
    texts: &[B],
    names: &NameCache,
) -> Result<Program, FilterError> {
    let mut compiler = Compiler { names, leaves: Vec::new(), keep: Keep::default() };
    let mut expressions = Vec::new();
    let mut roots = Vec::new();
    for text in texts {
        let text = text.as_ref();
        let (expr, root) = compiler.expression(text).map_err(|fault| fault.within(text))?;
        expressions.push(expr);
        roots.push(root);
    }
    let root = match roots.len() {
        0 => Node::All(Group { children: Vec::new(), order: Vec::new() }),
        _ => Node::Any(compiler.group(roots)),
    };
    Ok(Program { expressions, root, leaves: compiler.leaves, keep: compiler.keep })
}

struct Compiler<'a> {
    names: &'a NameCache,
    leaves: Vec<Leaf>,
    keep: Keep,
}

impl Compiler<'_> {
    fn expression(&mut self, text: &[u8]) -> Result<(Expr, Node), Fault> {
        let parsed = parser::parse(text)?;
        let root = self.node(&parsed.expr, true, &mut parsed.places.iter())?;
        Ok((parsed.expr, root))
    }

    fn node<'p>(
        &mut self,
        expr: &Expr,
        positive: bool,
        places: &mut impl Iterator<Item = &'p Places>,
    ) -> Result<Node, Fault> {
        let (parts, all) = match expr {
            Expr::Test(test) => return self.leaf(test, positive, places.next()),
            Expr::Not(inner) => return self.node(inner, !positive, places),
            Expr::And(parts) => (parts, positive),
            Expr::Or(parts) => (parts, !positive),
        };
        let mut children = Vec::with_capacity(parts.len());
        for part in parts {
            children.push(self.node(part, positive, places)?);
        }
        let group = self.group(children);
        Ok(if all { Node::All(group) } else { Node::Any(group) })
    }

    fn group(&self, children: Vec<Node>) -> Group {
        let mut order: Vec<usize> = (0..children.len()).collect();
        order.sort_by_cached_key(|&at| self.cost(&children[at]));
        Group { children, order }
    }

    /// What evaluating a node costs at most.
    fn cost(&self, node: &Node) -> u8 {
        match node {
            Node::Leaf(at) => self.leaves[*at].cost,
            Node::All(group) | Node::Any(group) => {
                group.children.iter().map(|child| self.cost(child)).max().unwrap_or(0)
            }
        }
    }

    fn leaf(
        &mut self,
        test: &Test,
        positive: bool,
        places: Option<&Places>,
    ) -> Result<Node, Fault> {
        // The parser notes the place of every test it returns.
        let places = places.ok_or_else(|| Fault::new(0..0, "the place of a test is lost"))?;
        let (what, want) = check::test(test, places, self.names)?;
        test.field.keep(&mut self.keep);
        let positive = positive != test.is_negated();
        self.leaves.push(Leaf {
            of: test.field.of,
            what,
            want,
            negated: !positive,
            shown: test.clone().stated(positive),
            cost: test.field.cost(),
        });
        Ok(Node::Leaf(self.leaves.len() - 1))
    }
}
