//! How other threads speak to the tracer, which blocks in waitpid.
//!
//! A request is queued, then the tracer is woken by a signal that makes waitpid return EINTR. One that
//! comes just before the call is lost, so it is sent again until the answer is there; the tracer
//! itself never polls.

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::adopt::Adoptee;
use crate::linux::sys::{self, Pid};
use crate::source::coredump::Focus;
use crate::source::wrapped::{WrapError, WrapOrder};
use crate::source::{Admit, Holder, Kept, Loan, NotHeld, ParkError};

/// How long until a wake-up is sent again.
const AGAIN: Duration = Duration::from_millis(1);

/// What the tracer is asked to do.
#[derive(Debug)]
pub enum Request {
    /// Let a waiting process run.
    Release(Pid, SyncSender<()>),
    /// Detach from a waiting process and leave it in state T.
    Park(Pid, Admit, SyncSender<Result<Option<String>, ParkError>>),
    /// The same for a while.
    Lend(Pid, Admit, Focus, SyncSender<Result<Loan, ParkError>>),
    /// Trace again what was lent.
    TakeBack(Pid, SyncSender<Result<(), NotHeld>>),
    /// Forget what was lent.
    GiveUp(Pid, SyncSender<()>),
    /// Have a waiting process execute another program in its place.
    Wrap(Pid, Box<WrapOrder>, SyncSender<Result<bool, WrapError>>),
    /// Seize a process that another source has stopped, and follow it.
    Adopt(Adoptee, SyncSender<Result<(), NotHeld>>),
    /// Whether the end of COMMAND, which is no more, is told by the tracer.
    TellsEnd(Pid, SyncSender<bool>),
    /// Tell nothing any more, and let what is traced run on: whether there is any; then, that all have ended.
    Keep(SyncSender<bool>, SyncSender<()>),
    /// Let go of the whole tree.
    LetGo,
}

/// The queue of requests; `None` once the tracer is gone.
pub struct Mailbox {
    queue: Mutex<Option<Vec<Request>>>,
    /// For a tracer that has nothing to wait for but requests.
    posted: Condvar,
    pending: AtomicBool,
    tracer: AtomicI32,
}

impl Mailbox {
    pub fn new() -> Mailbox {
        Mailbox {
            queue: Mutex::new(Some(Vec::new())),
            posted: Condvar::new(),
            pending: AtomicBool::new(false),
            tracer: AtomicI32::new(0),
        }
    }

    /// Makes the calling thread the one that is woken.
    pub fn serve_here(&self) {
        sys::unblock_wake();
        self.tracer.store(sys::gettid(), Ordering::Release);
    }

    /// The requests that have come in. Cheap when there are none.
    pub fn take(&self) -> Vec<Request> {
        if !self.pending.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Refuses what comes from now on, and drops what was not taken: those who wait are told.
    pub fn close(&self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Queues a request; whether the tracer is still there to see it.
    fn post(&self, request: Request) -> bool {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(queue) = queue.as_mut() else { return false };
        queue.push(request);
        self.pending.store(true, Ordering::Release);
        self.posted.notify_one();
        true
    }

    /// Waits until there is a request.
    pub fn wait(&self) {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let nothing = |queue: &mut Option<Vec<Request>>| queue.as_ref().is_some_and(Vec::is_empty);
        drop(self.posted.wait_while(queue, nothing));
    }

    /// Asks, and waits for the answer; `None` if the tracer is gone.
    pub fn call<T>(&self, request: impl FnOnce(SyncSender<T>) -> Request) -> Option<T> {
        let (sender, answer) = mpsc::sync_channel(1);
        if !self.post(request(sender)) {
            return None;
        }
        loop {
            sys::wake(self.tracer.load(Ordering::Acquire));
            match answer.recv_timeout(AGAIN) {
                Ok(answer) => return Some(answer),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// Asks the tracer to go on for the tree's sake only; `None` if it is gone, or cannot.
    pub fn keep(&self) -> Option<Kept> {
        let (sender, ended) = mpsc::sync_channel(1);
        let some = self.call(|answer| Request::Keep(answer, sender))?;
        Some(Kept { some, ended })
    }

    /// Asks the tracer to end, and wakes it until `ended` says that it has.
    pub fn let_go(&self, ended: impl Fn() -> bool) {
        self.post(Request::LetGo);
        while !ended() {
            sys::wake(self.tracer.load(Ordering::Acquire));
            std::thread::sleep(AGAIN / 4);
        }
    }
}

impl Holder for Mailbox {
    fn release(&self, pid: Pid) {
        if self.tracer.load(Ordering::Acquire) == sys::gettid() {
            // The tracer would wait for itself; it looks at its queue before it blocks again.
            let (unheard, _) = mpsc::sync_channel(1);
            self.post(Request::Release(pid, unheard));
        } else {
            self.call(|answer| Request::Release(pid, answer));
        }
    }

    fn park(&self, pid: Pid, admit: Admit) -> Result<Option<String>, ParkError> {
        self.call(|answer| Request::Park(pid, admit, answer)).unwrap_or(Err(ParkError::LetGo))
    }

    fn lend(&self, pid: Pid, admit: Admit, focus: Focus) -> Result<Loan, ParkError> {
        self.call(|answer| Request::Lend(pid, admit, focus, answer))
            .unwrap_or(Err(ParkError::LetGo))
    }

    fn take_back(&self, pid: Pid) -> Result<(), NotHeld> {
        // Where nobody follows anything any more, there is nothing to complain of.
        self.call(|answer| Request::TakeBack(pid, answer)).unwrap_or(Err(NotHeld::Gone))
    }

    fn give_up(&self, pid: Pid) {
        self.call(|answer| Request::GiveUp(pid, answer));
    }

    fn wrap(&self, pid: Pid, order: &WrapOrder) -> Result<bool, WrapError> {
        let order = Box::new(order.clone());
        self.call(|answer| Request::Wrap(pid, order, answer)).unwrap_or(Err(WrapError::LetGo))
    }
}
