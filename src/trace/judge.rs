//! What the source's events become: those that the filter lets through are sent on.

use std::collections::HashSet;
use std::sync::Arc;

use super::Family;
use crate::event::{Begun, Ended, Execution, Facts, TraceEvent, Wanted};
use crate::filter::{Answer, Filter};
use crate::linux::notify::Sender;
use crate::machine::procfs::view::Views;
use crate::source::recorded::Recorded;
use crate::source::{Judge, SourceEvent, Stop};

/// What the session is told.
#[derive(Debug)]
pub enum Notice {
    Source(SourceEvent),
    Event(TraceEvent),
}

/// The judge of a trace.
pub struct Tracer {
    /// None: everything counts.
    pub filter: Option<Arc<Filter>>,
    pub tell: Sender<Notice>,
    family: Family,
    /// How many execs there were, by which they are numbered: a source's own numbers tell it more than that,
    /// and are too large for those that read numbers as floating point.
    execs: u64,
    /// With a filter: the processes whose program it let through.
    told: HashSet<u32>,
    /// Where they are wanted.
    views: Option<Views>,
}

impl Tracer {
    pub fn new(filter: Option<Arc<Filter>>, wanted: Wanted, tell: Sender<Notice>) -> Tracer {
        let (family, told) = (Family::default(), HashSet::new());
        Tracer { filter, tell, family, execs: 0, told, views: wanted.view.then(Views::from_here) }
    }

    fn tell(&self, event: TraceEvent) {
        let bytes = event.size();
        self.tell.send_in_time(Notice::Event(event), bytes);
    }
}

impl Judge for Tracer {
    fn exec(&mut self, _: &mut dyn Facts, stop: Stop<'_>) {
        stop.release();
    }

    fn recorded(&mut self, mut facts: Recorded) {
        self.execs += 1;
        facts.record.id = self.execs;
        let parent = self.family.executed(&facts.record);
        let matches = match &self.filter {
            None => true,
            Some(filter) => filter.judge(&mut facts).answer == Answer::Yes,
        };
        if self.filter.is_some() && facts.record.result == 0 {
            if matches {
                self.told.insert(facts.record.pid);
            } else {
                self.told.remove(&facts.record.pid);
            }
        }
        if matches {
            let view = self.views.as_mut().and_then(|views| views.of(&facts.record));
            let execution = Box::new(Execution { record: facts.record, parent, view });
            self.tell(TraceEvent::Exec(execution));
        }
    }

    fn begun(&mut self, begun: Begun) {
        self.family.begun(begun);
        if self.filter.is_none() || self.told.contains(&begun.parent) {
            self.tell(TraceEvent::Begun(begun));
        }
    }

    fn ended(&mut self, ended: Ended) {
        let exec = self.family.ended(&ended);
        if self.filter.is_none() || self.told.remove(&ended.pid) {
            self.tell(TraceEvent::Ended(Ended { exec, ..ended }));
        }
    }
}
