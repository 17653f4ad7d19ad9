//! A filter over what was recorded earlier: what it lets through.

use std::collections::HashSet;
use std::sync::Arc;

use super::Family;
use crate::event::{Execution, Image, Keep, ParentEvent, Reading, TraceEvent};
use crate::filter::{Answer, Filter};
use crate::linux::sys::Pid;
use crate::source::lineage::Lineage;
use crate::source::recorded::Recorded;
use crate::source::stopped::Ancestry;

/// Judges recorded events in their order.
pub struct Replay {
    filter: Filter,
    kin: Option<Kin>,
    /// The processes whose program it let through.
    told: HashSet<u32>,
}

/// Who comes from whom, where the filter asks.
struct Kin {
    keep: Keep,
    lineage: Lineage,
    family: Family,
    /// Execs whose parents are not what they seem: a recording may lack some, by a filter or by a loss.
    unsure: HashSet<u64>,
}

/// What is known of an exec's ancestors.
struct Ancestors {
    depth: Reading<u32>,
    images: Reading<Vec<Arc<Image>>>,
}

impl Ancestry for Ancestors {
    fn depth(&self) -> Reading<u32> {
        self.depth
    }

    fn images(&self) -> Reading<Vec<Arc<Image>>> {
        self.images.clone()
    }
}

impl Replay {
    pub fn new(filter: Filter) -> Replay {
        let keep = filter.keep();
        let kin = Lineage::told(keep).map(|lineage| Kin {
            keep,
            lineage,
            family: Family::default(),
            unsure: HashSet::new(),
        });
        Replay { filter, kin, told: HashSet::new() }
    }

    /// Whether the filter lets it through; the beginning and the end of a process go with its program.
    pub fn lets_through(&mut self, event: &TraceEvent) -> bool {
        match event {
            TraceEvent::Begun(begun) => {
                if let Some(kin) = &mut self.kin {
                    kin.family.begun(*begun);
                    kin.lineage.forked(begun.parent as Pid, begun.pid as Pid, false);
                }
                self.told.contains(&begun.parent)
            }
            TraceEvent::Exec(execution) => self.exec(execution),
            TraceEvent::Ended(ended) => {
                if let Some(kin) = &mut self.kin {
                    kin.family.ended(ended);
                    kin.lineage.ended(ended.pid as Pid);
                }
                self.told.remove(&ended.pid)
            }
        }
    }

    fn exec(&mut self, execution: &Execution) -> bool {
        let record = &execution.record;
        let images = self.kin.as_mut().map_or(Reading::Unknown, |kin| kin.ancestors(execution));
        let ancestors = Ancestors { depth: record.depth, images };
        let mut facts = Recorded::from_file(record.clone(), Box::new(ancestors));
        let matches = self.filter.judge(&mut facts).answer == Answer::Yes;
        if record.result == 0 {
            if let Some(kin) = &mut self.kin {
                let depth = record.depth.known().unwrap_or(0);
                let image = Image::capture(record.pid, depth, kin.keep, &mut facts);
                kin.lineage.became(record.pid as Pid, image);
            }
            if matches {
                self.told.insert(record.pid);
            } else {
                self.told.remove(&record.pid);
            }
        }
        matches
    }
}

impl Kin {
    /// The programs above an exec, if the recording has them all.
    fn ancestors(&mut self, execution: &Execution) -> Reading<Vec<Arc<Image>>> {
        let record = &execution.record;
        if record.depth == Reading::Known(0) {
            self.lineage.begin(record.pid as Pid);
        }
        let as_told = self.family.executed(record) == execution.parent;
        let images = self.lineage.place(record.pid as Pid).ancestry.images();
        let all = images.as_ref().map(Vec::len).known() == record.depth.known().map(|d| d as usize);
        let parent = execution.parent.map(ParentEvent::id);
        if as_told && all && parent.is_none_or(|parent| !self.unsure.contains(&parent)) {
            return images;
        }
        if record.result == 0 {
            self.unsure.insert(record.id);
        }
        Reading::Unknown
    }
}
