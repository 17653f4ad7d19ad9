//! Which exec a process's program came from.

use std::collections::HashMap;

use crate::event::{Begun, Ended, ExecRecord, ParentEvent};

/// The execs that the living processes come from.
#[derive(Debug, Default)]
pub struct Family {
    /// By pid: the exec, and whether the process itself has done it.
    programs: HashMap<u32, (u64, bool)>,
}

impl Family {
    pub fn begun(&mut self, begun: Begun) {
        if let Some(&(exec, _)) = self.programs.get(&begun.parent) {
            self.programs.insert(begun.pid, (exec, false));
        } else {
            // Whoever had the number before is no more.
            self.programs.remove(&begun.pid);
        }
    }

    /// Where this exec comes from. A successful one is its process's from here on.
    pub fn executed(&mut self, record: &ExecRecord) -> Option<ParentEvent> {
        let before = self.programs.get(&record.pid);
        let parent = match before {
            Some(&(exec, true)) => Some(ParentEvent::Becomes(exec)),
            Some(&(exec, false)) => Some(ParentEvent::Spawned(exec)),
            // Its fork was not told.
            None => record
                .parent
                .known()
                .and_then(|parent| self.programs.get(&parent))
                .map(|&(exec, _)| ParentEvent::Spawned(exec)),
        };
        if record.result == 0 {
            self.programs.insert(record.pid, (record.id, true));
        }
        parent
    }

    /// A process is no more; the exec whose program it was, if it had executed one itself.
    pub fn ended(&mut self, ended: &Ended) -> Option<u64> {
        let (exec, own) = self.programs.remove(&ended.pid)?;
        own.then_some(exec)
    }
}
