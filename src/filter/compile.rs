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
use crate::event::moment::Moments;

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
    moments: Moments,
    of_records: bool,
) -> Result<Program, FilterError> {
    let (leaves, keep) = (Vec::new(), Keep::default());
    let mut compiler = Compiler { names, moments, of_records, leaves, keep };
    let mut expressions = Vec::new();
    let mut roots = Vec::new();
    for text in texts {
        let text = text.as_ref();
        let (expr, root) = compiler.expression(text).map_err(|fault| fault.within(text))?;
        expressions.push(expr);
        roots.push(root);
    }
    let root = match roots.len() {
        0 => compiler.of_usual_moments(Vec::new(), 0),
        _ => Node::Any(compiler.group(roots)),
    };
    Ok(Program { expressions, root, leaves: compiler.leaves, keep: compiler.keep })
}

struct Compiler<'a> {
    names: &'a NameCache,
    moments: Moments,
    /// Whether failed execs are judged, too.
    of_records: bool,
    leaves: Vec<Leaf>,
    keep: Keep,
}

impl Compiler<'_> {
    fn expression(&mut self, text: &[u8]) -> Result<(Expr, Node), Fault> {
        let parsed = parser::parse(text)?;
        let first = self.leaves.len();
        let root = self.node(&parsed.expr, true, &mut parsed.places.iter())?;
        let root =
            if self.moments.follow() { self.of_usual_moments(vec![root], first) } else { root };
        Ok((parsed.expr, root))
    }

    /// All of these, and that what has happened is meant by default, unless the tests from `first` on
    /// say themselves what is.
    fn of_usual_moments(&mut self, mut nodes: Vec<Node>, first: usize) -> Node {
        let asks = |what: &What| self.leaves[first..].iter().any(|leaf| leaf.what == *what);
        let (signal, status) = (!asks(&What::Signal), !asks(&What::Status));
        if self.moments.follow() && (signal || status) {
            self.leaves.push(Leaf {
                of: Of::Process,
                what: What::Usual { signal, status },
                want: Want::Exists,
                negated: false,
                shown: Expr::And(Vec::new()),
                cost: 0,
            });
            nodes.push(Node::Leaf(self.leaves.len() - 1));
        }
        match nodes.len() {
            1 => nodes.remove(0),
            _ => Node::All(self.group(nodes)),
        }
    }

    /// A field of what is not looked at is a mistake.
    fn is_there(&self, what: &What, places: &Places) -> Result<(), Fault> {
        let (missing, needs) = match what {
            What::Signal => (!self.moments.crash, "with --on crash"),
            What::Status => (!self.moments.fail, "with --on fail"),
            What::Age => (!self.moments.follow(), "with --on crash, fail or hang"),
            What::Errno => (!self.of_records, "in log, collect and report"),
            _ => (false, ""),
        };
        if !missing {
            return Ok(());
        }
        let name = what.name();
        Err(Fault::new(
            places.field.clone(),
            format!("`{name}` is not available here: it comes only {needs}"),
        ))
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
        self.is_there(&what, places)?;
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
