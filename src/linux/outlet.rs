//! A thread that writes to a stream whose reader may be slow or may not read at all: whoever has something to write
//! puts it into a queue, whose size is limited in bytes, and does not wait.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};

/// How much may wait to be written, in bytes.
const MOST: usize = 4 << 20;

/// How many things are in what is written of a chunk.
pub type Count = fn(&[u8]) -> u64;

/// Writes some of the bytes, as write(2) does.
pub type WriteSome = Box<dyn FnMut(&[u8]) -> io::Result<usize> + Send>;

/// The end that chunks are put into; clones share the queue.
#[derive(Clone)]
pub struct Outlet(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    /// Readable after the queue has become empty, has room again, or has failed.
    bell: EventFd,
    count: Count,
}

#[derive(Default)]
struct Queue {
    chunks: VecDeque<Vec<u8>>,
    /// In all chunks, the one that is being written among them.
    bytes: usize,
    /// What was counted in the same chunks, lines for instance.
    things: u64,
    /// How many chunks there was no room for.
    lost: u64,
    /// Somebody has waited in vain, and nothing has been written since.
    stuck: bool,
    failed: Option<io::Error>,
}

impl Outlet {
    /// An outlet for a file, which may be one that does not block: of ours, or of whoever gave it to us.
    pub fn to_file(name: &str, file: File) -> io::Result<Outlet> {
        Outlet::start(
            name,
            lines,
            Box::new(move |bytes| {
                loop {
                    match (&file).write(bytes) {
                        Err(error) if error.kind() == ErrorKind::WouldBlock => {
                            let mut fds = [PollFd::new(file.as_fd(), PollFlags::POLLOUT)];
                            let _ = poll(&mut fds, PollTimeout::NONE);
                        }
                        other => return other,
                    }
                }
            }),
        )
    }

    /// Starts the thread. It ends with the process.
    pub fn start(name: &str, count: Count, write: WriteSome) -> io::Result<Outlet> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let outlet = Outlet(Arc::new(Shared {
            queue: Mutex::default(),
            changed: Condvar::new(),
            bell: EventFd::from_flags(flags)?,
            count,
        }));
        let shared = Arc::clone(&outlet.0);
        // It begins with the mask of who starts it, and no signal is for it.
        let mut before = SigSet::empty();
        pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before))?;
        let started =
            std::thread::Builder::new().name(name.into()).spawn(move || shared.run(write));
        let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None);
        started.map(|_| outlet)
    }

    /// Has a chunk written. An error is one of an earlier chunk.
    pub fn push(&self, chunk: Vec<u8>) -> io::Result<()> {
        let mut queue = self.0.lock();
        if let Some(error) = &queue.failed {
            return Err(same(error));
        }
        queue.add(chunk, self.0.count);
        self.0.changed.notify_all();
        Ok(())
    }

    /// Has a chunk written if there is room for it; else it is lost, and counted. Of those that were lost before it,
    /// `told` makes a chunk that goes first.
    pub fn offer(&self, chunk: Vec<u8>, told: impl FnOnce(u64) -> Vec<u8>) -> io::Result<()> {
        let mut queue = self.0.lock();
        if let Some(error) = &queue.failed {
            return Err(same(error));
        }
        if queue.bytes > 0 && queue.bytes + chunk.len() > MOST {
            queue.lost += 1;
            return Ok(());
        }
        match std::mem::take(&mut queue.lost) {
            0 => {}
            lost => queue.add(told(lost), self.0.count),
        }
        queue.add(chunk, self.0.count);
        self.0.changed.notify_all();
        Ok(())
    }

    /// Whether more waits than should: who can wait ought to.
    pub fn is_behind(&self) -> bool {
        let queue = self.0.lock();
        queue.bytes > MOST && queue.failed.is_none()
    }

    /// Whether all is written, or nothing more will be.
    pub fn is_done(&self) -> bool {
        self.0.lock().is_done()
    }

    /// Waits until all is written or has failed, but not for long. Where nothing has been written since somebody waited
    /// in vain, nobody waits again.
    pub fn wait_briefly(&self, patience: Duration) {
        if !self.0.lock().stuck {
            let _ = self.wait(patience);
        }
    }

    /// Waits until all is written, and tells whether that is so.
    pub fn wait(&self, patience: Duration) -> io::Result<bool> {
        let deadline = Instant::now() + patience;
        let mut queue = self.0.lock();
        while !queue.is_done() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                queue.stuck = true;
                return Ok(false);
            }
            let (back, _) =
                self.0.changed.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner);
            queue = back;
        }
        queue.failed.as_ref().map_or(Ok(true), |error| Err(same(error)))
    }

    /// How many of what is counted have come nowhere, as far as is known.
    pub fn unwritten(&self) -> u64 {
        self.0.lock().things
    }

    /// How many chunks there was no room for, since that was told last.
    pub fn lost(&self) -> u64 {
        self.0.lock().lost
    }

    /// Makes the descriptor one that is not readable until something happens again.
    pub fn hear(&self) {
        let _ = self.0.bell.read();
    }
}

impl std::fmt::Debug for Outlet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outlet").finish_non_exhaustive()
    }
}

impl AsFd for Outlet {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.bell.as_fd()
    }
}

impl Queue {
    fn add(&mut self, chunk: Vec<u8>, count: Count) {
        self.bytes += chunk.len();
        self.things += count(&chunk);
        self.chunks.push_back(chunk);
    }

    fn is_done(&self) -> bool {
        self.bytes == 0 || self.failed.is_some()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, mut write: WriteSome) {
        loop {
            let mut queue = self.lock();
            let chunk = loop {
                match queue.chunks.pop_front() {
                    Some(chunk) => break chunk,
                    None => {
                        queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner)
                    }
                }
            };
            drop(queue);
            let (done, result) = write_all(&mut write, &chunk);
            let mut queue = self.lock();
            let before = queue.bytes;
            queue.bytes -= chunk.len();
            queue.things -= (self.count)(&chunk[..done]);
            queue.stuck = false;
            queue.failed = result.err();
            self.changed.notify_all();
            if queue.is_done() || (before > MOST) != (queue.bytes > MOST) {
                let _ = self.bell.write(1);
            }
            if queue.failed.is_some() {
                queue.chunks.clear();
                return;
            }
        }
    }
}

/// How much is written, and what has stopped it.
fn write_all(write: &mut WriteSome, chunk: &[u8]) -> (usize, io::Result<()>) {
    let mut done = 0;
    while done < chunk.len() {
        match write(&chunk[done..]) {
            Ok(0) => return (done, Err(ErrorKind::WriteZero.into())),
            Ok(more) => done += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return (done, Err(error)),
        }
    }
    (done, Ok(()))
}

fn lines(chunk: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', chunk).count() as u64
}

/// An error is for one only, and more than one gets it.
fn same(error: &io::Error) -> io::Error {
    let other = || io::Error::new(error.kind(), error.to_string());
    error.raw_os_error().map_or_else(other, io::Error::from_raw_os_error)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::OwnedFd;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn outlet() -> (io::PipeReader, Outlet) {
        let (reader, writer) = io::pipe().unwrap();
        (reader, Outlet::to_file("test", File::from(OwnedFd::from(writer))).unwrap())
    }

    #[test]
    fn a_reader_that_does_not_read_costs_a_limited_number_of_bytes_and_is_told_how_many_it_missed()
    {
        let (mut reader, outlet) = outlet();
        for _ in 0..20 {
            outlet.offer(vec![b'x'; 1 << 20], |_| unreachable!()).unwrap();
        }
        assert!(!outlet.wait(Duration::from_millis(1)).unwrap());
        assert_eq!(outlet.lost(), 16);
        outlet.wait_briefly(LONG);
        let thread = std::thread::spawn(move || {
            let mut all = vec![0; (4 << 20) + 7];
            reader.read_exact(&mut all).unwrap();
            all
        });
        assert!(outlet.wait(LONG).unwrap_or(false) || thread.is_finished());
        outlet.offer(b" end".to_vec(), |lost| format!("{lost}!").into_bytes()).unwrap();
        let all = thread.join().unwrap();
        assert_eq!(String::from_utf8_lossy(&all[4 << 20..]), "16! end");
    }

    #[test]
    fn a_reader_that_has_gone_is_an_error_for_all_that_comes_later() {
        let (reader, outlet) = outlet();
        drop(reader);
        outlet.push(b"1\n2\n".to_vec()).unwrap();
        assert_eq!(outlet.wait(LONG).unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(outlet.push(b"3\n".to_vec()).unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert!(outlet.is_done() && !outlet.is_behind());
        assert_eq!(outlet.unwritten(), 2);
    }

    #[test]
    fn who_can_wait_is_told_when_to_and_until_when() {
        let (mut reader, outlet) = outlet();
        outlet.push(vec![b'x'; MOST + 1]).unwrap();
        assert!(outlet.is_behind());
        let thread = std::thread::spawn(move || reader.read_exact(&mut vec![0; MOST + 1]));
        let mut fds = [PollFd::new(outlet.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::from(60_000u16)).unwrap();
        assert!(!outlet.is_behind() && outlet.is_done());
        thread.join().unwrap().unwrap();
    }
}
