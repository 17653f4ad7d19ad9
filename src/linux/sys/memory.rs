//! Memory that is shared with the kernel.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use libc::{c_int, c_void};

/// Memory that is mapped as long as the value lives.
struct Mapping {
    start: *mut c_void,
    bytes: usize,
}

impl Mapping {
    fn new(fd: BorrowedFd<'_>, bytes: usize, access: c_int, flags: c_int) -> io::Result<Mapping> {
        // SAFETY: a new mapping, at an address of the kernel's choice.
        let start =
            unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, flags, fd.as_raw_fd(), 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Mapping { start, bytes })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and no reference into it is left.
        unsafe { libc::munmap(self.start, self.bytes) };
    }
}

/// What a file of the kernel holds that never changes, without a copy.
pub struct KernelFile(Mapping);

impl KernelFile {
    /// An error where the kernel does not offer this file so.
    pub fn map(path: &Path) -> io::Result<KernelFile> {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len() as usize;
        Mapping::new(file.as_fd(), bytes, libc::PROT_READ, libc::MAP_PRIVATE).map(KernelFile)
    }
}

impl Deref for KernelFile {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: it is mapped as long as the value lives, and nobody writes there.
        unsafe { std::slice::from_raw_parts(self.0.start.cast(), self.0.bytes) }
    }
}

/// The memory behind a descriptor, as words of 32 bits.
pub struct SharedWords(Mapping);

// SAFETY: the memory is mapped as long as the value lives, and is accessed by atomic operations only.
unsafe impl Send for SharedWords {}
// SAFETY: as above.
unsafe impl Sync for SharedWords {}

impl SharedWords {
    pub fn new(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<SharedWords> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        Mapping::new(fd, bytes, access, libc::MAP_SHARED).map(SharedWords)
    }

    /// How many words there are.
    pub fn count(&self) -> usize {
        self.0.bytes / size_of::<AtomicU32>()
    }

    fn word(&self, index: usize) -> Option<&AtomicU32> {
        // SAFETY: it lies in the mapping, which begins at a page and so is aligned.
        (index < self.count()).then(|| unsafe { &*self.0.start.cast::<AtomicU32>().add(index) })
    }

    /// Sets the word with this index; one that is not there is left alone.
    pub fn set(&self, index: usize, value: u32) {
        if let Some(word) = self.word(index) {
            word.store(value, Ordering::Release);
        }
    }

    /// The word with this index; 0 if it is not there.
    pub fn get(&self, index: usize) -> u32 {
        self.word(index).map_or(0, |word| word.load(Ordering::Acquire))
    }
}
