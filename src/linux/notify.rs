//! A channel whose receiving end can be polled beside other descriptors.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};

use nix::sys::eventfd::{EfdFlags, EventFd};

/// The sending end.
pub struct Sender<T> {
    channel: mpsc::Sender<(T, usize)>,
    bell: Arc<Bell>,
    gate: Option<Arc<Gate>>,
}

/// Rung for the first of several values only.
struct Bell {
    eventfd: EventFd,
    state: AtomicU8,
}

/// Whoever receives waits for the bell; or looks by himself before long; or has been rung for.
const ASLEEP: u8 = 0;
const AWAKE: u8 = 1;
const RUNG: u8 = 2;

/// Where those wait who have something to send that there is no room for.
struct Gate {
    room: Mutex<Room>,
    more: Condvar,
}

struct Room {
    /// In bytes; less than none after a value that is larger. `None`: whatever comes is taken.
    left: Option<i64>,
    waiting: usize,
}

/// The receiving end; readable when something has come.
pub struct Receiver<T> {
    channel: mpsc::Receiver<(T, usize)>,
    bell: Arc<Bell>,
    gate: Option<Arc<Gate>>,
}

/// Makes a channel.
pub fn channel<T>() -> nix::Result<(Sender<T>, Receiver<T>)> {
    ends(None)
}

/// Makes a channel in which values of `most` bytes wait, and one more: then who sends waits, too.
pub fn bounded<T>(most: u32) -> nix::Result<(Sender<T>, Receiver<T>)> {
    let room = Room { left: Some(most.into()), waiting: 0 };
    ends(Some(Arc::new(Gate { room: Mutex::new(room), more: Condvar::new() })))
}

fn ends<T>(gate: Option<Arc<Gate>>) -> nix::Result<(Sender<T>, Receiver<T>)> {
    let (sender, receiver) = mpsc::channel();
    let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
    let eventfd = EventFd::from_flags(flags)?;
    let bell = Arc::new(Bell { eventfd, state: AtomicU8::new(ASLEEP) });
    Ok((
        Sender { channel: sender, bell: Arc::clone(&bell), gate: gate.clone() },
        Receiver { channel: receiver, bell, gate },
    ))
}

impl Gate {
    fn pass(&self, bytes: usize) {
        let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        while room.left.is_some_and(|left| left <= 0) {
            room.waiting += 1;
            room = self.more.wait(room).unwrap_or_else(PoisonError::into_inner);
            room.waiting -= 1;
        }
        room.left = room.left.map(|left| left - bytes as i64);
    }

    fn change(&self, change: impl FnOnce(i64) -> Option<i64>) {
        let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        room.left = room.left.and_then(change);
        // It is a system call even where nobody waits.
        if room.waiting > 0 {
            self.more.notify_all();
        }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Sender {
            channel: self.channel.clone(),
            bell: Arc::clone(&self.bell),
            gate: self.gate.clone(),
        }
    }
}

impl<T> Sender<T> {
    /// Sends, or drops the value if nobody listens any more.
    pub fn send(&self, value: T) {
        if self.put(value, 0) && self.bell.state.swap(RUNG, Ordering::SeqCst) != RUNG {
            self.bell.ring();
        }
    }

    /// The same of a value of so many bytes, for what can wait as long as whoever receives is going to.
    pub fn send_in_time(&self, value: T, bytes: usize) {
        let order = Ordering::SeqCst;
        if self.put(value, bytes)
            && self.bell.state.compare_exchange(ASLEEP, RUNG, order, order).is_ok()
        {
            self.bell.ring();
        }
    }

    fn put(&self, value: T, bytes: usize) -> bool {
        if let Some(gate) = &self.gate {
            gate.pass(bytes);
        }
        self.channel.send((value, bytes)).is_ok()
    }
}

impl Bell {
    fn ring(&self) {
        // It can fail only where its counter is full, and then it is readable.
        let _ = self.eventfd.write(1);
    }
}

impl<T> Receiver<T> {
    /// All that has come, without waiting. What comes from here on rings again.
    pub fn drain(&self) -> Vec<T> {
        self.take(ASLEEP)
    }

    /// The same by someone who will look again before long: what can wait does not ring.
    pub fn drain_for_now(&self) -> Vec<T> {
        self.take(AWAKE)
    }

    fn take(&self, state: u8) -> Vec<T> {
        let _ = self.bell.eventfd.read();
        self.bell.state.store(state, Ordering::SeqCst);
        let mut bytes = 0;
        let weighed = self.channel.try_iter().inspect(|(_, more)| bytes += *more as i64);
        let values: Vec<T> = weighed.map(|(value, _)| value).collect();
        if let Some(gate) = self.gate.as_ref().filter(|_| bytes > 0) {
            gate.change(|room| Some(room + bytes));
        }
        values
    }

    /// Nobody waits any more who sends: all that still comes is taken.
    pub fn take_all(&self) {
        if let Some(gate) = &self.gate {
            gate.change(|_| None);
        }
    }
}

/// Whoever still sends must not wait for ever.
impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.take_all();
    }
}

impl<T> AsFd for Receiver<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.eventfd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    #[test]
    fn what_can_wait_rings_for_those_who_sleep_only() {
        let (sender, receiver) = bounded(9).unwrap();
        let rung = || {
            let mut fds = [PollFd::new(receiver.as_fd(), PollFlags::POLLIN)];
            poll(&mut fds, PollTimeout::ZERO).unwrap() > 0
        };
        sender.send_in_time(1, 1);
        assert!(rung());
        assert_eq!(receiver.drain_for_now(), [1]);
        sender.send_in_time(2, 1);
        assert!(!rung());
        sender.send(3);
        assert!(rung());
        assert_eq!(receiver.drain(), [2, 3]);
        sender.send_in_time(4, 1);
        assert!(rung());
    }

    #[test]
    fn who_sends_too_much_waits_until_something_is_taken_or_all_is() {
        let (sender, receiver) = bounded(200).unwrap();
        let thread = std::thread::spawn(move || (0..7).for_each(|n| sender.send_in_time(n, 100)));
        let mut got = Vec::new();
        while got.len() < 4 {
            let some = receiver.drain();
            assert!(some.len() <= 2);
            got.extend(some);
        }
        receiver.take_all();
        thread.join().unwrap();
        got.extend(receiver.drain());
        assert_eq!(got, (0..7).collect::<Vec<_>>());
    }
}
