//! A channel whose receiving end can be polled beside other descriptors.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::mpsc;

use nix::sys::eventfd::{EfdFlags, EventFd};

/// The sending end.
pub struct Sender<T> {
    channel: mpsc::Sender<T>,
    bell: Arc<EventFd>,
}

/// The receiving end; readable when something has come.
pub struct Receiver<T> {
    channel: mpsc::Receiver<T>,
    bell: Arc<EventFd>,
}

/// Makes a channel.
pub fn channel<T>() -> nix::Result<(Sender<T>, Receiver<T>)> {
    let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
    let bell = Arc::new(EventFd::from_flags(flags)?);
    let (sender, receiver) = mpsc::channel();
    Ok((Sender { channel: sender, bell: Arc::clone(&bell) }, Receiver { channel: receiver, bell }))
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Sender { channel: self.channel.clone(), bell: Arc::clone(&self.bell) }
    }
}

impl<T> Sender<T> {
    /// Sends, or drops the value if nobody listens any more.
    pub fn send(&self, value: T) {
        if self.channel.send(value).is_ok() {
            // It can fail only where its counter is full, and then it is readable.
            let _ = self.bell.write(1);
        }
    }
}

impl<T> Receiver<T> {
    /// All that has come, without waiting.
    pub fn drain(&self) -> Vec<T> {
        let _ = self.bell.read();
        self.channel.try_iter().collect()
    }
}

impl<T> AsFd for Receiver<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}
