//! A channel whose receiving end can be polled beside other descriptors.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use nix::sys::eventfd::{EfdFlags, EventFd};

/// The sending end.
pub struct Sender<T> {
    channel: Channel<T>,
    bell: Arc<Bell>,
}

enum Channel<T> {
    Endless(mpsc::Sender<T>),
    Bounded(mpsc::SyncSender<T>),
}

/// Rung for the first of several values only.
struct Bell {
    eventfd: EventFd,
    rung: AtomicBool,
}

/// The receiving end; readable when something has come.
pub struct Receiver<T> {
    channel: mpsc::Receiver<T>,
    bell: Arc<Bell>,
}

/// Makes a channel.
pub fn channel<T>() -> nix::Result<(Sender<T>, Receiver<T>)> {
    let (sender, receiver) = mpsc::channel();
    ends(Channel::Endless(sender), receiver)
}

/// Makes a channel in which at most `most` values wait: then who sends waits, too.
pub fn bounded<T>(most: usize) -> nix::Result<(Sender<T>, Receiver<T>)> {
    let (sender, receiver) = mpsc::sync_channel(most);
    ends(Channel::Bounded(sender), receiver)
}

fn ends<T>(
    sender: Channel<T>,
    receiver: mpsc::Receiver<T>,
) -> nix::Result<(Sender<T>, Receiver<T>)> {
    let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
    let eventfd = EventFd::from_flags(flags)?;
    let bell = Arc::new(Bell { eventfd, rung: AtomicBool::new(false) });
    Ok((Sender { channel: sender, bell: Arc::clone(&bell) }, Receiver { channel: receiver, bell }))
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        let channel = match &self.channel {
            Channel::Endless(sender) => Channel::Endless(sender.clone()),
            Channel::Bounded(sender) => Channel::Bounded(sender.clone()),
        };
        Sender { channel, bell: Arc::clone(&self.bell) }
    }
}

impl<T> Sender<T> {
    /// Sends, or drops the value if nobody listens any more.
    pub fn send(&self, value: T) {
        let sent = match &self.channel {
            Channel::Endless(sender) => sender.send(value).is_ok(),
            Channel::Bounded(sender) => sender.send(value).is_ok(),
        };
        if sent && !self.bell.rung.swap(true, Ordering::SeqCst) {
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
        self.channel.try_iter().collect()
    }
}

impl<T> AsFd for Receiver<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.eventfd.as_fd()
    }
}
