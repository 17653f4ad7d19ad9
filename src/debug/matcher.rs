//! What becomes of an exec: the filter's answer, and the tally for the case that nothing matched.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::debug::save::Saved;
use crate::event::moment::{Happened, Moments, Now};
use crate::event::{Facts, Faults, Reading, Strings};
use crate::filter::{Answer, Early, Filter, Judgement};
use crate::linux::notify::Sender;
use crate::linux::sys::Pid;
use crate::machine::procfs::{self, Status};
use crate::source::recorded::Recorded;
use crate::source::wrapped::Wraps;
use crate::source::{Held, Judge, NotHeld, SourceEvent, Stop};
use crate::text::escape;

/// What the session is told.
#[derive(Debug)]
pub enum Notice {
    Source(SourceEvent),
    /// A match, stopped.
    Match(Held, Box<Program>),
    /// A match that runs on: only a list was asked for, or it is about to die.
    Passed(Box<Program>, Option<NotHeld>),
    /// What was kept of a hit, by its number.
    Saved(u64, Box<Saved>),
    /// A program that has left by a call that could not be seen.
    Missed(Box<Program>),
    /// A program that fails because another one did, and runs on.
    After(Box<Program>, Pid),
    /// A program that counts, and of which nothing later will be seen.
    NotFollowed(Box<Program>, NotHeld),
}

/// What is kept of a program that may be held later than at its exec: what its memory says then may be
/// something else.
#[derive(Debug)]
pub struct Candidate {
    early: Early,
    program: Program,
    pub since: Instant,
}

/// What is kept of a match, for people and templates.
#[derive(Debug, Clone, Default)]
pub struct Program {
    pub pid: Pid,
    pub argv: Strings,
    pub filename: Vec<u8>,
    pub exe: Vec<u8>,
    pub cwd: Vec<u8>,
    /// Of a script: what runs it, which is `exe`.
    pub interpreter: Option<Vec<u8>>,
    /// The tests that decided, escaped.
    pub because: String,
    /// What went wrong while it was recorded.
    pub faults: Faults,
    /// Why it is held later than at its exec.
    pub happened: Option<Happened>,
}

/// An exec that did not match, but nearly.
#[derive(Debug, Clone)]
pub struct NearMiss {
    closeness: f32,
    pub line: String,
    pub failed: String,
}

/// All execs that were seen.
#[derive(Debug, Default)]
pub struct Tally {
    pub execs: u64,
    /// Those on which the filter could not be decided, because something could not be read.
    pub undecided: u64,
    /// What went wrong with the records of those.
    pub faults: Faults,
    /// Those that may be held later.
    pub candidates: u64,
    pub nearest: Vec<NearMiss>,
    /// How many have been read to find the nearest.
    looked_at: u32,
}

/// How many near misses are told.
const NEAREST: usize = 3;
/// How many execs no nearer than those are read just to tell different ones.
const LOOK_AT_MOST: u32 = 64;
/// How much of a near miss's command line is kept, in characters.
const LINE: usize = 100;

/// The filter, applied to each exec.
pub struct Matcher {
    pub filter: Arc<Filter>,
    /// Only tell, stop nothing.
    pub list: bool,
    pub moments: Moments,
    /// Whether the directory of a program that may be held later is told then.
    pub tells_directory: bool,
    pub tally: Arc<Mutex<Tally>>,
    pub tell: Sender<Notice>,
    /// What runs under a wrapper of ours.
    pub wraps: Arc<Wraps>,
}

impl Judge for Matcher {
    fn exec(&mut self, facts: &mut dyn Facts, stop: Stop<'_>) {
        if self.moments.follow() {
            self.exec_of_many(facts, stop);
        } else if self.matches(facts) {
            self.matched(facts, stop);
        }
    }

    fn recorded(&mut self, mut facts: Recorded) {
        let facts = &mut facts;
        let faults = facts.record.all_faults();
        if self.matches(facts) {
            self.listed(facts, faults);
        } else if !faults.is_empty() {
            self.tally.lock().unwrap_or_else(PoisonError::into_inner).faults |= faults;
        }
    }

    fn wants(&mut self, candidate: &Candidate, happened: Happened) -> bool {
        match self.filter.judge_at(&candidate.early, Now::At(happened)).answer {
            Answer::Yes => true,
            Answer::No => false,
            Answer::Unknown => {
                self.tally.lock().unwrap_or_else(PoisonError::into_inner).undecided += 1;
                false
            }
        }
    }

    fn moment(&mut self, candidate: &Candidate, happened: Happened, stop: Stop<'_>) {
        let program = Box::new(self.program_at(candidate, happened));
        if self.list {
            stop.release();
            self.tell.send(Notice::Passed(program, None));
            return;
        }
        self.held(stop.hold(), program);
    }

    fn missed(&mut self, candidate: &Candidate, happened: Happened) {
        self.tell.send(Notice::Missed(Box::new(self.program_at(candidate, happened))));
    }

    fn failed_after(&mut self, candidate: &Candidate, happened: Happened, after: Pid) {
        let program = Box::new(self.program_at(candidate, happened));
        self.tell.send(Notice::After(program, after));
    }

    fn ruled_out(&mut self, facts: &mut dyn Facts) {
        let judgement = self.filter.judge(facts);
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.missed(&self.filter, &judgement, facts);
    }
}

impl Matcher {
    /// An exec where other moments were asked for, too: it is a match, or may become one later.
    fn exec_of_many(&mut self, facts: &mut dyn Facts, stop: Stop<'_>) {
        let judgement = self.filter.judge(facts);
        {
            let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
            tally.execs += 1;
            if judgement.answer == Answer::No {
                return tally.missed(&self.filter, &judgement, facts);
            }
        }
        let early = self.filter.early(facts);
        let is_match =
            self.moments.exec && self.filter.judge_at(&early, Now::Exec).answer == Answer::Yes;
        let mut program = Program::for_later(facts);
        if self.tells_directory {
            program.cwd = owned(facts.cwd());
        }
        let candidate = Arc::new(Candidate { early, program, since: Instant::now() });
        if is_match && self.list {
            self.listed(facts, Faults::empty());
        } else if is_match && !self.is_wrapper_s(facts) {
            let program = Box::new(Program::read(&self.filter, facts));
            self.held(stop.hold_and_follow(candidate), program);
            return;
        }
        match stop.follow(Arc::clone(&candidate)) {
            Ok(()) => self.tally.lock().unwrap_or_else(PoisonError::into_inner).candidates += 1,
            Err(why) => {
                let program = Box::new(candidate.program.clone());
                self.tell.send(Notice::NotFollowed(program, why));
            }
        }
    }

    /// A program as it was at its exec, with what has happened to it.
    fn program_at(&self, candidate: &Candidate, happened: Happened) -> Program {
        let pid = Status::read(happened.tid).map_or(happened.tid, |status| status.tgid);
        let because = self.filter.because_at(&candidate.early, Now::At(happened));
        let exe = procfs::link(procfs::living(pid), "exe").unwrap_or_default();
        Program {
            pid,
            exe,
            because: escape::text(because.as_bytes()),
            happened: Some(happened),
            ..candidate.program.clone()
        }
    }

    /// Whether it matches; notes it if not.
    fn matches(&mut self, facts: &mut dyn Facts) -> bool {
        let judgement = self.filter.judge(facts);
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.execs += 1;
        match judgement.answer {
            Answer::No => tally.missed(&self.filter, &judgement, facts),
            Answer::Unknown => tally.undecided += 1,
            Answer::Yes => return true,
        }
        false
    }

    fn held(&self, held: Result<Held, NotHeld>, program: Box<Program>) {
        self.tell.send(match held {
            Ok(held) => Notice::Match(held, program),
            Err(why) => Notice::Passed(program, Some(why)),
        });
    }

    /// Whether an exec is the doing of a wrapper.
    fn is_wrapper_s(&self, facts: &mut dyn Facts) -> bool {
        facts.pid().known().is_some_and(|pid| self.wraps.made(pid as Pid))
    }

    fn listed(&mut self, facts: &mut dyn Facts, faults: Faults) {
        let program = Box::new(Program { faults, ..Program::read(&self.filter, facts) });
        self.tell.send(Notice::Passed(program, None));
    }

    fn matched(&mut self, facts: &mut dyn Facts, stop: Stop<'_>) {
        if self.list {
            self.listed(facts, Faults::empty());
            stop.release();
            return;
        }
        if self.is_wrapper_s(facts) {
            stop.release();
            return;
        }
        let program = Box::new(Program::read(&self.filter, facts));
        self.held(stop.hold(), program);
    }
}

fn owned(reading: Reading<&[u8]>) -> Vec<u8> {
    reading.known().map(<[u8]>::to_vec).unwrap_or_default()
}

impl Program {
    fn read(filter: &Filter, facts: &mut dyn Facts) -> Program {
        Program {
            exe: owned(facts.exe()),
            cwd: owned(facts.cwd()),
            because: escape::text(filter.because(facts).as_bytes()),
            ..Program::for_later(facts)
        }
    }

    /// What may have changed when something happens: that is kept of every candidate, without its directory.
    fn for_later(facts: &mut dyn Facts) -> Program {
        Program {
            pid: facts.pid().known().unwrap_or_default() as Pid,
            argv: facts.argv().known().cloned().unwrap_or_default(),
            filename: owned(facts.filename()),
            exe: Vec::new(),
            cwd: Vec::new(),
            interpreter: facts.interpreter().known().map(<[u8]>::to_vec),
            because: String::new(),
            faults: Faults::empty(),
            happened: None,
        }
    }
}

impl Tally {
    fn missed(&mut self, filter: &Filter, judgement: &Judgement, facts: &mut dyn Facts) {
        let full = self.nearest.len() == NEAREST;
        let least = self.nearest.last().map_or(-1.0, |near| near.closeness);
        if full && judgement.closeness <= least {
            return;
        }
        if judgement.closeness <= least {
            self.looked_at += 1;
            if self.looked_at > LOOK_AT_MOST {
                return;
            }
        }
        let Some(argv) = facts.argv().known() else { return };
        let near = NearMiss {
            closeness: judgement.closeness,
            line: escape::command_line(argv, LINE),
            failed: escape::text(filter.failed_test(judgement).unwrap_or_default().as_bytes()),
        };
        if let Some(same) = self.nearest.iter_mut().find(|known| known.line == near.line) {
            if same.closeness < near.closeness {
                *same = near;
            }
        } else {
            self.nearest.push(near);
        }
        self.nearest.sort_by(|a, b| b.closeness.total_cmp(&a.closeness));
        self.nearest.truncate(NEAREST);
    }
}
