//! From a match that waits to a debugger that has it.

use super::{Session, headless, line};
use crate::cli::OnFailure;
use crate::debug::config::Action;
use crate::debug::hits::{Debugger, Hit, Progress, Shim, Stage};
use crate::debug::session::stages::End;
use crate::debug::session::stages::What;
use crate::launcher::command::{self, Values};
use crate::launcher::control::{Client, Reply};
use crate::launcher::place::{self, Place};
use crate::launcher::shim::Order;
use crate::linux::fault;
use crate::linux::identity::Identity;
use crate::linux::sys::{self, Pid};
use crate::machine::diagnose;
use crate::machine::listen::Listen;
use crate::machine::procfs::Status;
use crate::source::guardian::Guardian;
use crate::source::{Admit, ParkError};

impl Session {
    /// Opens as many waiting hits as there is room for.
    pub(super) fn start_waiting(&mut self) {
        if self.ending {
            return;
        }
        for index in 0..self.hits.len() {
            let active = self.hits.iter().filter(|hit| hit.is_active()).count() as u64;
            if self.config.sessions.is_some_and(|sessions| active >= sessions) {
                return;
            }
            if matches!(self.hits[index].stage, Stage::Waiting(_)) {
                self.open(index);
            }
        }
    }

    fn open(&mut self, index: usize) {
        let to_save = self.config.saves.is_some() && !self.hits[index].saved;
        match self.config.action {
            Action::LaunchJson(_) => return self.write_launch(index),
            Action::Wrap(_) if !to_save => return self.wrap(index),
            _ => {}
        }
        if let Err(error) = self.guard(self.hits[index].pid) {
            self.runs_on(index, &format!("no guardian can answer for it: {error}"));
            if let Some(errno) = error.raw_os_error() {
                self.hint_at_limit(errno);
            }
            return;
        }
        if to_save {
            return self.save(index);
        }
        match &self.config.action {
            Action::Debugger(..) | Action::Editor(_) if self.hits[index].shown => {
                self.let_run_saved(index);
            }
            Action::Debugger(..) | Action::Editor(_) if self.is_headless(index) => {
                self.do_without_attaching(index);
            }
            Action::Hold(_) => self.hold(index),
            Action::Debugger(_, place) => {
                let place = place.clone();
                self.launch(index, place);
            }
            Action::Editor(_) => self.hand_to_editor(index),
            Action::Nothing => self.let_run_saved(index),
            Action::List | Action::LaunchJson(_) | Action::Wrap(_) => {}
        }
    }

    /// Has the guardian answer for a process from before it is parked.
    fn guard(&mut self, pid: Pid) -> std::io::Result<()> {
        let guardian = match &mut self.guardian {
            Some(guardian) => guardian,
            none => none.insert(Guardian::start(None)?),
        };
        guardian.watch(pid)
    }

    /// Starts our shim in the place where the debugger is to run.
    pub(super) fn launch(&mut self, index: usize, place: Box<Place>) {
        if let Err(why) = self.find_out(index) {
            self.failed(index, &why);
            return;
        }
        let hit = &mut self.hits[index];
        fault::point("guarded");
        let address = match place.foreign {
            None => Ok(self.server.path().to_path_buf()),
            Some(uid) => self.server.open_to(uid),
        };
        match address.and_then(|address| place.start(&address, hit.id, hit.pid)) {
            Ok(child) => {
                hit.launching(place, child);
                fault::point("launched");
            }
            Err(error) => {
                let name = place.terminal.name.clone();
                self.failed(index, &format!("cannot open the place {name}: {error}"));
            }
        }
    }

    /// A shim asks what to execute: the process is parked now, and not before.
    pub(super) fn shim_came(&mut self, client: Client, id: u64) {
        let debugger = client.pid;
        self.source.exempt(debugger);
        let order = self.hand_over(debugger, id);
        let refused = order.as_ref().err().cloned();
        let answer = match order {
            Ok(order) => Reply::Execute(Box::new(order)),
            Err(why) => Reply::Refused(why),
        };
        // If the shim is gone, the debugger's end will be seen.
        fault::point("parked");
        let _ = client.answer(&answer);
        fault::point("ordered");
        if let Some(why) = refused {
            self.report.detail(format!("hit {id}: {why}"));
        }
    }

    /// A terminal of the user who called sudo: our own shim goes on it.
    pub(super) fn terminal_came(&mut self, mut client: Client, id: u64) {
        let waits = |hit: &&mut Hit| hit.id == id && matches!(hit.stage, Stage::Launching(_));
        let hit = self.hits.iter_mut().find(waits);
        let (Some(hit), Some(terminal)) = (hit, client.terminal.take()) else {
            let _ = client.answer(&Reply::Refused("it waits for no debugger any more".into()));
            return;
        };
        match place::start_on(terminal, self.server.path(), id) {
            Ok(shim) => {
                hit.shim = Some(Shim::new(shim));
                hit.lender = Some(client);
            }
            Err(error) => {
                let _ = client.answer(&Reply::Refused(error.to_string()));
            }
        }
    }

    fn hand_over(&mut self, debugger: Pid, id: u64) -> Result<Order, String> {
        let index = self
            .hits
            .iter()
            .position(|hit| hit.id == id && matches!(hit.stage, Stage::Launching(_)))
            .ok_or("it waits for no debugger any more")?;
        // Without one its end would go unseen.
        let pidfd = match sys::pidfd_open(debugger) {
            Ok(pidfd) => pidfd,
            Err(error) => {
                let why = format!("cannot watch the debugger, process {debugger}: {error}");
                self.failed(index, &why);
                return Err(why);
            }
        };
        let Action::Debugger(choice, _) = &self.config.action else {
            return Err("this session starts no debuggers".into());
        };
        let hit = &mut self.hits[index];
        let Stage::Launching(launching) = &hit.stage else { return Err(String::new()) };
        let place = launching.place.terminal.name.clone();
        let held = hit.take_held().ok_or("it is not held any more")?;
        let recipe = choice.get(hit.findings.recipe);
        let scope = diagnose::ptrace_scope();
        // Where only privilege may attach, a debugger without it is of no use.
        // Nor as root on a process of another user, which can make it run code, where nobody types to it.
        let looks = recipe.debugger.in_passing.then(|| Identity::of_process(hit.pid));
        let identity = self
            .config
            .identity
            .clone()
            .or(looks.flatten())
            .filter(|_| scope.is_none_or(|scope| scope < 2));
        fault::point("shim-came");
        let unprivileged = !privileged() || identity.is_some();
        let admit = if fault::admit() || (scope == Some(1) && unprivileged) {
            Admit::Process(debugger)
        } else {
            Admit::AsIs
        };
        let what = line(&hit.program);
        // One that only looks gives back a process that may go on to its next moment.
        let parked = if recipe.debugger.in_passing && hit.goes_on() {
            held.lend(admit, hit.focus).map(|(loan, lent)| (loan.trouble, Some(lent)))
        } else {
            held.park(admit).map(|trouble| (trouble, None))
        };
        match parked {
            Ok((trouble, lent)) => {
                let values = values(hit);
                let order = Order {
                    words: recipe.words(&values),
                    environment: std::env::vars_os().chain(self.memory.variable(recipe)).collect(),
                    identity,
                    directory: std::env::current_dir().unwrap_or_else(|_| "/".into()),
                };
                let then = recipe.then(&values);
                let ready_fd = recipe.debugger.ready_fd.clone();
                hit.parked(
                    Some(Debugger::new((debugger, pidfd), ready_fd, lent)),
                    self.config.attach_timeout,
                );
                self.stages.tell(hit, What::Parked);
                let name = &recipe.debugger.name;
                self.report.hit(format!(
                    "{what}: {} in {place}",
                    crate::text::escape::text(name.as_bytes())
                ));
                if !then.is_empty() {
                    self.report.hit(format!("connect with: {}", command::line(&then)));
                }
                if recipe.debugger.listens() {
                    self.report.warn(listens(&recipe.listen, hit.pid, hit.findings.port));
                }
                if let Some(why) = trouble {
                    self.report.warn(format!("Yama may refuse the debugger: {why}"));
                }
                Ok(order)
            }
            Err(error) => {
                hit.stage = Stage::Over;
                self.stages.tell(hit, What::Over((&error).into(), Some(&error.to_string())));
                let pid = hit.pid;
                self.release_guard(pid);
                self.not_parked(&what, pid, &error);
                Err(error.to_string())
            }
        }
    }

    /// Leaves a match stopped for somebody to attach by hand.
    fn hold(&mut self, index: usize) {
        if self.park_for_anyone(index, "held") {
            self.say_how_to_attach(index);
        }
    }

    /// Parks a match for a debugger that is not ours to start; false if that cannot be done.
    pub(super) fn park_for_anyone(&mut self, index: usize, so: &str) -> bool {
        let hit = &mut self.hits[index];
        let Some(held) = hit.take_held() else { return false };
        let what = line(&hit.program);
        let pid = hit.pid;
        let restricted = fault::admit() || (diagnose::ptrace_scope() == Some(1) && !privileged());
        match held.park(if restricted { Admit::Anyone } else { Admit::AsIs }) {
            Ok(trouble) => {
                hit.parked(None, self.config.attach_timeout);
                self.stages.tell(hit, What::Parked);
                self.report.hit(format!("{what}: {so}"));
                if let Some(why) = trouble {
                    self.report.warn(format!("Yama may refuse a debugger: {why}"));
                }
                true
            }
            Err(error) => {
                self.stages.tell(hit, What::Over((&error).into(), Some(&error.to_string())));
                self.release_guard(pid);
                self.not_parked(&what, pid, &error);
                false
            }
        }
    }

    pub(super) fn say_how_to_attach(&self, index: usize) {
        let hit = &self.hits[index];
        let words = self.recipe_of(hit).map(|recipe| recipe.by_hand(&values(hit)));
        let words = words.unwrap_or_default();
        if self.is_headless(index) {
            self.report.hint(headless::BY_HAND);
        } else if !words.is_empty() {
            self.report.hint(format!("attach with: {}", command::line(&words)));
        }
        self.report.hint(format!("let it run on with: tracexec release {}", hit.pid));
    }

    pub(super) fn not_parked(&mut self, what: &str, pid: Pid, error: &ParkError) {
        self.report.warn(format!("{what}: not handed over, {error}"));
        let ParkError::Refused(error) = error else { return };
        match error.raw_os_error() {
            Some(libc::EPERM) => {
                let found = diagnose::refusal(&diagnose::Circumstances::of(pid));
                self.report.hint(format!("{}; {}", found.cause, found.hint));
            }
            Some(errno) => self.hint_at_limit(errno),
            None => {}
        }
    }

    pub(super) fn release_guard(&mut self, pid: Pid) {
        if let Some(guardian) = &mut self.guardian {
            guardian.forget(pid);
        }
    }

    /// Acts on what has happened to a hit.
    pub(super) fn happened(&mut self, index: usize, progress: Progress) {
        let pid = self.hits[index].pid;
        self.tell_progress(index, &progress);
        match progress {
            Progress::Ended => {
                self.release_guard(pid);
                self.report.detail(format!("{pid} has ended"));
            }
            Progress::Attached => {
                if !self.hits[index].is_lent() {
                    self.release_guard(pid);
                }
                self.report.detail(format!("{pid} is in the debugger's hands"));
                self.tell_of_server(index);
            }
            Progress::DebuggerGone(unfollowed) => {
                self.release_guard(pid);
                self.report.detail(format!("{pid} runs on, its debugger is gone"));
                if let Some(why) = unfollowed {
                    let program = self.hits[index].program.clone();
                    self.not_followed(&program, why);
                }
            }
            Progress::ShimEnded => {}
            Progress::NoPlace(why) => self.no_place(index, &why),
            Progress::NotAttached(why) => {
                let recipe = self.recipe_of(&self.hits[index]);
                let name = recipe.map_or("a debugger", |recipe| &recipe.debugger.name);
                let name = crate::text::escape::text(name.as_bytes());
                self.end_unseen(index);
                self.failed(index, &format!("{name}: {why}"));
            }
        }
    }

    /// Ends a debugger that has had its time. Where somebody sees it he can do that himself; in the
    /// background we would wait for it for ever.
    fn end_unseen(&self, index: usize) {
        if let Action::Debugger(_, place) = &self.config.action
            && place.terminal.attached
            && let Some(shim) = &self.hits[index].shim
        {
            // It leads a session of its own.
            shim.signal(true, libc::SIGKILL);
        }
    }

    /// A place without room has another to go to.
    fn no_place(&mut self, index: usize, why: &str) {
        let Stage::Launching(launching) = &self.hits[index].stage else { return };
        let name = launching.place.terminal.name.clone();
        match launching.place.otherwise.clone() {
            Some(other) => {
                self.report.detail(format!("{name}: {why}; trying {}", other.terminal.name));
                self.launch(index, other);
            }
            None => self.failed(index, &format!("cannot open the place {name}: {why}")),
        }
    }

    /// A hit that got no debugger runs on.
    fn runs_on(&mut self, index: usize, why: &str) {
        let hit = &mut self.hits[index];
        let pid = hit.pid;
        hit.let_run();
        self.stages.tell(hit, What::Over(End::Released, Some(why)));
        self.report.warn(format!("{}: {why}; it runs on", line(&hit.program)));
        self.release_guard(pid);
    }

    /// A hit that got no debugger: it runs on, or stays for somebody to attach by hand.
    pub(super) fn failed(&mut self, index: usize, why: &str) {
        if self.config.on_failure != OnFailure::Hold {
            self.runs_on(index, why);
            self.report.hint("--on-launch-failure hold keeps it; -v tells more");
            return;
        }
        let hit = &mut self.hits[index];
        self.report.warn(format!("{}: {why}", line(&hit.program)));
        if matches!(hit.stage, Stage::Parked(_)) {
            hit.parked(None, None);
            self.stages.tell(hit, What::ParkedStill(why));
            self.say_how_to_attach(index);
        } else {
            self.config.attach_timeout = None;
            self.hold(index);
        }
    }

    /// Lets everything run that no debugger has.
    pub(super) fn let_all_run(&mut self) {
        let mut released = Vec::new();
        for hit in &mut self.hits {
            if hit.let_run() {
                self.stages.tell(hit, What::Over(End::Released, None));
                released.push(hit.pid);
            }
        }
        for pid in released {
            self.release_guard(pid);
        }
    }
}

/// Whether debuggers that we start may attach to whatever they like.
pub(super) fn privileged() -> bool {
    nix::unistd::Uid::effective().is_root()
        && Status::read(std::process::id() as Pid).is_ok_and(|status| status.may_trace_anything())
}

/// What is known of a hit, for the words of its debugger.
fn values(hit: &Hit) -> Values<'_> {
    Values { pid: hit.pid, hit: hit.id, program: &hit.program, findings: &hit.findings }
}

/// A port is open to more than its user.
fn listens(listen: &Listen, pid: Pid, port: u16) -> String {
    let who = match listen.is_loopback() {
        true => "any user of this machine",
        false => "whoever, from wherever,",
    };
    let address = listen.shown();
    format!("{who} who reaches {address}:{port} controls process {pid}, and all that it may do")
}

/// Ends what runs in our terminal, or writes to our standard error, on behalf of a hit.
pub(super) fn end_shim(hit: &mut Hit) {
    if let Some(shim) = hit.shim.take() {
        shim.end();
    }
}
