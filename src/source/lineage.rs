//! Who forked whom, kept after the parent's death, and only if the filter asks.
//!
//! A new task's first stop may be seen before its parent's fork event. It is then entered under the
//! parent that /proc names, and moved when the event comes.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use super::ptrace::attach::Attached;
use super::stopped::{Ancestry, Place, StoppedProcess};
use super::vectors::FromProc;
use crate::event::{Facts, Image, Keep, Reading};
use crate::linux::sys::{self, Pid};
use crate::machine::procfs;

/// A process of the tree.
struct Node {
    pid: Pid,
    depth: u32,
    parent: Option<Rc<Node>>,
    /// What it last executed, itself or before it was forked.
    image: RefCell<Option<Arc<Image>>>,
}

/// The tree as it has been seen.
pub struct Lineage {
    keep: Keep,
    /// By thread id: threads of one process share a node.
    nodes: HashMap<Pid, Rc<Node>>,
    comms: HashMap<Pid, Vec<u8>>,
}

/// Where a process stands in the tree.
struct Kin {
    depth: u32,
    parent: Option<Rc<Node>>,
}

impl Ancestry for Kin {
    fn depth(&self) -> Reading<u32> {
        Reading::Known(self.depth)
    }

    fn images(&self) -> Reading<Vec<Arc<Image>>> {
        let mut images = Vec::new();
        let mut next = self.parent.as_ref();
        while let Some(node) = next {
            images.push(node.as_ancestor());
            next = node.parent.as_ref();
        }
        Reading::Known(images)
    }
}

/// A process that has no place in the tree.
struct Unrelated;

impl Ancestry for Unrelated {
    fn depth(&self) -> Reading<u32> {
        Reading::Missing
    }

    fn images(&self) -> Reading<Vec<Arc<Image>>> {
        Reading::Missing
    }
}

impl Node {
    fn root(pid: Pid) -> Node {
        Node { pid, depth: 0, parent: None, image: RefCell::new(None) }
    }

    /// A process that has forked and not executed shows its parent's program under its own pid.
    fn as_ancestor(&self) -> Arc<Image> {
        let (pid, depth) = (self.pid as u32, self.depth);
        match self.image.borrow().as_ref() {
            Some(image) if image.pid == pid => Arc::clone(image),
            Some(image) => Arc::new(Image { pid, depth, ..Image::clone(image) }),
            None => Arc::new(Image::unread(pid, depth)),
        }
    }
}

impl Lineage {
    /// A lineage that begins with COMMAND, where there is one, and with processes that run already; `None` if
    /// nothing needs one.
    pub fn new(keep: Keep, command: Option<Pid>, attached: &[Attached]) -> Option<Lineage> {
        if !keep.lineage && !keep.prev_comm {
            return None;
        }
        let mut lineage = Lineage { keep, nodes: HashMap::new(), comms: HashMap::new() };
        if let Some(command) = command {
            lineage.nodes.insert(command, Rc::new(Node::root(command)));
            lineage.note_comm(command);
        }
        for process in attached {
            let program = &mut StoppedProcess::new(process.pid, None, FromProc::read);
            lineage.enter((process.pid, process.parent, process.depth), program);
            for &tid in &process.threads {
                if let Some(node) = lineage.nodes.get(&process.pid).map(Rc::clone) {
                    lineage.nodes.insert(tid, node);
                }
                lineage.note_comm(tid);
            }
        }
        Some(lineage)
    }

    /// A process that runs already, after its parent; what it executes is told by `facts`.
    pub fn enter(&mut self, (pid, parent, depth): (Pid, Pid, u32), facts: &mut dyn Facts) {
        let parent = self.nodes.get(&parent).map(Rc::clone);
        let node = Node { pid, depth, parent, image: RefCell::new(None) };
        self.nodes.insert(pid, Rc::new(node));
        if self.keep.lineage
            && let Some(node) = self.nodes.get(&pid)
        {
            let image = Image::capture(pid as u32, depth, self.keep, facts);
            node.image.replace(Some(Arc::new(image)));
        }
    }

    /// The kin of a process of which none is kept.
    pub fn none() -> Box<dyn Ancestry> {
        Box::new(Unrelated)
    }

    /// A lineage without a beginning yet, which is told what it cannot read.
    pub fn told(keep: Keep) -> Option<Lineage> {
        let keep = Keep { prev_comm: false, ..keep };
        keep.lineage.then(|| Lineage { keep, nodes: HashMap::new(), comms: HashMap::new() })
    }

    /// The tree begins with this process, if that is not known yet.
    pub fn begin(&mut self, pid: Pid) {
        self.nodes.entry(pid).or_insert_with(|| Rc::new(Node::root(pid)));
    }

    /// What a process has executed.
    pub fn became(&mut self, pid: Pid, image: Image) {
        if let Some(node) = self.nodes.get(&pid) {
            node.image.replace(Some(Arc::new(image)));
        }
    }

    fn note_comm(&mut self, tid: Pid) {
        if self.keep.prev_comm
            && let Ok(comm) = procfs::comm(tid)
        {
            self.comms.insert(tid, comm);
        }
    }

    fn add(&mut self, tid: Pid, parent: &Rc<Node>) {
        let image = RefCell::new(parent.image.borrow().clone());
        let depth = parent.depth.saturating_add(1);
        let node = Node { pid: tid, depth, parent: Some(Rc::clone(parent)), image };
        self.nodes.insert(tid, Rc::new(node));
    }

    /// Task `parent` has made task `child`.
    pub fn forked(&mut self, parent: Pid, child: Pid, clone: bool) {
        let Some(forker) = self.nodes.get(&parent).map(Rc::clone) else { return };
        if clone && sys::is_thread_of(forker.pid, child) {
            self.nodes.insert(child, forker);
            return;
        }
        match self.nodes.get(&child) {
            Some(known) if known.parent.as_ref().is_some_and(|p| Rc::ptr_eq(p, &forker)) => {}
            _ => self.add(child, &forker),
        }
    }

    /// A task is seen in a first stop, or in another of that form.
    pub fn seen(&mut self, tid: Pid) {
        if !self.nodes.contains_key(&tid)
            && let Ok(status) = procfs::Status::read(tid)
        {
            let parent = if status.tgid == tid {
                procfs::Stat::read(tid)
                    .ok()
                    .and_then(|stat| self.nodes.get(&stat.ppid).map(Rc::clone))
            } else {
                None
            };
            if let Some(parent) = parent {
                self.add(tid, &parent);
            } else if let Some(process) = self.nodes.get(&status.tgid).map(Rc::clone) {
                self.nodes.insert(tid, process);
            }
        }
        if !self.comms.contains_key(&tid) {
            self.note_comm(tid);
        }
    }

    /// A process has executed a program; `before` is the thread that did, which has become its
    /// leader.
    pub fn executing(&mut self, pid: Pid, before: Pid) {
        if before != pid {
            self.nodes.remove(&before);
            if let Some(comm) = self.comms.remove(&before) {
                self.comms.insert(pid, comm);
            }
        }
    }

    /// Keeps what the program's descendants will be asked for; while it is still stopped.
    pub fn executed(&mut self, pid: Pid, facts: &mut dyn Facts) {
        if self.keep.lineage
            && let Some(node) = self.nodes.get(&pid)
        {
            let image = Image::capture(pid as u32, node.depth, self.keep, facts);
            node.image.replace(Some(Arc::new(image)));
        }
        self.note_comm(pid);
    }

    /// A task is no more, or is ours no longer.
    pub fn ended(&mut self, tid: Pid) {
        self.nodes.remove(&tid);
        self.comms.remove(&tid);
    }

    /// Where a process stands, before [`Lineage::executed`] overwrites what it was.
    pub fn place(&self, pid: Pid) -> Place {
        let ancestry: Box<dyn Ancestry> = match self.nodes.get(&pid) {
            Some(node) => Box::new(Kin { depth: node.depth, parent: node.parent.clone() }),
            None => Box::new(Unrelated),
        };
        Place { ancestry, comm_before: self.comms.get(&pid).cloned() }
    }
}
