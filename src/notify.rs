//! A channel whose receiving end can be polled beside other descriptors.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};

use nix::sys::eventfd::{EfdFlags, EventFd};

/// The sending end.
pub struct Sender<T> {
    channel: mpsc::Sender<T>,
    bell: Arc<Bell>,
    gate: Option<Arc<Gate>>,
}

/// Rung for the first of several values only.
struct Bell {
    eventfd: EventFd,
    rung: AtomicBool,
}

/// Where those wait who have something to send that there is no room for.
struct Gate {
    /// `None`: whatever comes is taken.
    room: Mutex<Option<usize>>,
    more: Condvar,
}

/// The receiving end; readable when something has come.
pub struct Receiver<T> {
    channel: mpsc::Receiver<T>,
    bell: Arc<Bell>,
    gate: Option<Arc<Gate>>,
}

/// Makes a channel.
pub fn channel<T>() -> nix::Result<(Sender<T>, Receiver<T>)> {
    ends(None)
}

/// Makes a channel in which at most `most` values wait: then who sends waits, too.
pub fn bounded<T>(most: usize) -> nix::Result<(Sender<T>, Receiver<T>)> {
    ends(Some(Arc::new(Gate { room: Mutex::new(Some(most)), more: Condvar::new() })))
}

fn ends<T>(gate: Option<Arc<Gate>>) -> nix::Result<(Sender<T>, Receiver<T>)> {
    let (sender, receiver) = mpsc::channel();
    let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
    let eventfd = EventFd::from_flags(flags)?;
    let bell = Arc::new(Bell { eventfd, rung: AtomicBool::new(false) });
    Ok((
        Sender { channel: sender, bell: Arc::clone(&bell), gate: gate.clone() },
        Receiver { channel: receiver, bell, gate },
    ))
}

impl Gate {
    fn pass(&self) {
        let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        while *room == Some(0) {
            room = self.more.wait(room).unwrap_or_else(PoisonError::into_inner);
        }
        *room = room.map(|room| room - 1);
    }

    fn change(&self, change: impl FnOnce(usize) -> Option<usize>) {
        let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        *room = room.and_then(change);
        self.more.notify_all();
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
        if let Some(gate) = &self.gate {
            gate.pass();
        }
        if self.channel.send(value).is_ok() && !self.bell.rung.swap(true, Ordering::SeqCst) {
            // It can fail only where its counter is full, and then it is readable.
            let _ = self.bell.eventfd.write(1);
        }
    }
}

impl<T> Receiver<T> {
    /// All that has come, without waiting.
    pub fn drain(&self) -> Vec<T> {
        let _ = self.bell.eventfd.read();
        // What comes from here on rings again.
        self.bell.rung.store(false, Ordering::SeqCst);
        let values: Vec<T> = self.channel.try_iter().collect();
        if let Some(gate) = self.gate.as_ref().filter(|_| !values.is_empty()) {
            gate.change(|room| Some(room + values.len()));
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

    #[test]
    fn who_sends_too_much_waits_until_something_is_taken_or_all_is() {
        let (sender, receiver) = bounded(2).unwrap();
        let thread = std::thread::spawn(move || (0..7).for_each(|n| sender.send(n)));
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
