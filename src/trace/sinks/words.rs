//! Names for what the kernel tells by numbers.

use nix::errno::Errno;

use crate::event::Faults;
use crate::event::moment::signals;

/// Flags of open(2) beyond the mode, in the kernel's numbers: glibc has 0 for what 64 bits do without.
const OPEN: [(u32, &str); 15] = [
    (libc::O_CREAT as u32, "O_CREAT"),
    (libc::O_EXCL as u32, "O_EXCL"),
    (libc::O_NOCTTY as u32, "O_NOCTTY"),
    (libc::O_TRUNC as u32, "O_TRUNC"),
    (libc::O_APPEND as u32, "O_APPEND"),
    (libc::O_NONBLOCK as u32, "O_NONBLOCK"),
    // Before O_DSYNC, which is a part of it.
    (libc::O_SYNC as u32, "O_SYNC"),
    (libc::O_DSYNC as u32, "O_DSYNC"),
    (libc::O_ASYNC as u32, "O_ASYNC"),
    (libc::O_DIRECT as u32, "O_DIRECT"),
    (libc::O_DIRECTORY as u32, "O_DIRECTORY"),
    (libc::O_NOFOLLOW as u32, "O_NOFOLLOW"),
    (libc::O_NOATIME as u32, "O_NOATIME"),
    (libc::O_CLOEXEC as u32, "O_CLOEXEC"),
    (libc::O_PATH as u32, "O_PATH"),
];

const LARGE_FILE: (u32, &str) = if cfg!(any(target_arch = "x86_64", target_arch = "x86")) {
    (0o100000, "O_LARGEFILE")
} else {
    (0o400000, "O_LARGEFILE")
};

/// What became of a process, by its status of wait(2).
pub fn ended(status: i32) -> String {
    if libc::WIFEXITED(status) {
        return format!("exited with status {}", libc::WEXITSTATUS(status));
    }
    let core = if libc::WCOREDUMP(status) { ", core dumped" } else { "" };
    format!("was killed by {}{core}", signals::name(libc::WTERMSIG(status)))
}

/// The flags of a descriptor.
pub fn open_flags(flags: u32) -> Vec<&'static str> {
    let mut names = vec![match flags & libc::O_ACCMODE as u32 {
        0 => "O_RDONLY",
        1 => "O_WRONLY",
        2 => "O_RDWR",
        _ => "O_ACCMODE",
    }];
    let mut left = flags;
    for (flag, name) in OPEN.into_iter().chain([LARGE_FILE]) {
        if left & flag == flag {
            left &= !flag;
            names.push(name);
        }
    }
    names
}

/// The flags of execveat(2).
pub fn call_flags(flags: u32) -> Vec<&'static str> {
    // Of Linux 6.14; libc does not have it yet.
    const EXECVE_CHECK: u32 = 0x10000;
    [
        (libc::AT_SYMLINK_NOFOLLOW as u32, "AT_SYMLINK_NOFOLLOW"),
        (libc::AT_EMPTY_PATH as u32, "AT_EMPTY_PATH"),
        (EXECVE_CHECK, "AT_EXECVE_CHECK"),
    ]
    .into_iter()
    .filter(|(flag, _)| flags & flag != 0)
    .map(|(_, name)| name)
    .collect()
}

/// `ENOENT` for -2; of a number that Linux does not have, or none at all, nothing.
pub fn errno(result: i32) -> Option<String> {
    errno_and_words(result).map(|(name, _)| name)
}

/// `ENOENT` and `No such file or directory`.
pub fn errno_and_words(result: i32) -> Option<(String, &'static str)> {
    let errno = Errno::from_raw(result.checked_neg()?);
    (result < 0 && errno != Errno::UnknownErrno).then(|| (format!("{errno:?}"), errno.desc()))
}

/// `string-unreadable` and so on.
pub fn fault_names(faults: Faults) -> impl Iterator<Item = String> {
    faults.iter_names().map(|(name, _)| name.to_lowercase().replace('_', "-"))
}

/// The fault of that name; one that is not known is a fault nevertheless.
pub fn fault(name: &str) -> Faults {
    let name = name.to_uppercase().replace('-', "_");
    Faults::from_name(&name).unwrap_or(Faults::ERROR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_have_the_names_of_open() {
        assert_eq!(open_flags(0), ["O_RDONLY"]);
        let flags = libc::O_RDWR | libc::O_APPEND | libc::O_SYNC | libc::O_CLOEXEC;
        assert_eq!(open_flags(flags as u32), ["O_RDWR", "O_APPEND", "O_SYNC", "O_CLOEXEC"]);
        assert_eq!(open_flags(1 | libc::O_DSYNC as u32), ["O_WRONLY", "O_DSYNC"]);
    }

    #[test]
    fn errors_have_their_names() {
        assert_eq!(errno(-2).as_deref(), Some("ENOENT"));
        for result in [0, 5, -4000, i32::MIN] {
            assert_eq!(errno(result), None, "{result}");
        }
    }

    #[test]
    fn every_fault_is_found_by_its_name() {
        let names: Vec<String> = fault_names(Faults::all()).collect();
        let found = names.iter().fold(Faults::empty(), |all, name| all | fault(name));
        assert_eq!((found, names.len()), (Faults::all(), 18));
        assert_eq!(fault("of-a-later-version"), Faults::ERROR);
    }
}
