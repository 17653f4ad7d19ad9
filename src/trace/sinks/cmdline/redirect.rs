//! Descriptors as a shell opens them.

use super::{Redirect, because};
use crate::event::{ExecRecord, Faults, FdRecord};
use crate::text::escape;
use crate::trace::Baseline;

/// The redirections, from the lowest descriptor on.
pub fn words(
    record: &ExecRecord,
    baseline: Option<&Baseline>,
    redirect: Redirect,
    lacking: &mut Vec<String>,
) -> Vec<String> {
    let counts = |number: u32| match redirect {
        Redirect::None => false,
        Redirect::Stdio => number < 3,
        Redirect::All => true,
    };
    if redirect == Redirect::None {
        return Vec::new();
    }
    let Some(fds) = &record.fds.value else {
        lacking.push(because("the descriptors are not known", record.fds.faults));
        return Vec::new();
    };
    if !record.fds.faults.is_empty() {
        lacking.push(because("the descriptors are not all known", record.fds.faults));
    }
    let mut open: Vec<&FdRecord> = fds.iter().filter(|fd| !fd.close_on_exec).collect();
    open.sort_by_key(|fd| fd.fd.number);
    let given: Vec<&FdRecord> =
        baseline.map_or(Vec::new(), |baseline| baseline.fds.iter().collect());
    let mut words = Vec::new();
    for (at, fd) in open.iter().enumerate().filter(|(_, fd)| counts(fd.fd.number)) {
        let number = fd.fd.number;
        if given.iter().any(|had| had.fd.number == number && same(had, fd)) {
            continue;
        }
        // One that has been opened by then, or one that is still the shell's.
        let before = open[..at].iter().filter(|other| counts(other.fd.number));
        let after = given.iter().filter(|had| had.fd.number > number);
        match before.chain(after).find(|other| same(other, fd)) {
            Some(other) => words.push(duplicate(number, other.fd.number)),
            None => match opened(fd) {
                Ok(word) => words.push(word),
                Err(why) => lacking.push(format!("descriptor {number} is {why}")),
            },
        }
    }
    let closed = |number: &u32| !open.iter().any(|fd| fd.fd.number == *number);
    let shells: Vec<u32> = match baseline {
        Some(_) => given.iter().map(|had| had.fd.number).collect(),
        None => vec![0, 1, 2],
    };
    // Where not all are known, what is missing may well be there.
    if record.fds.faults.is_empty() {
        let closed = shells.into_iter().filter(|number| counts(*number) && closed(number));
        words.extend(closed.map(|number| match number {
            0 => "<&-".into(),
            1 => ">&-".into(),
            _ => format!("{number}>&-"),
        }));
    }
    words
}

/// Whether two descriptors are the same open file, as far as one can tell.
pub fn same(one: &FdRecord, other: &FdRecord) -> bool {
    let unknown = Faults::PATH_UNREADABLE | Faults::FLAGS_UNREADABLE | Faults::INODE_UNREADABLE;
    let access = libc::O_ACCMODE | libc::O_APPEND | libc::O_PATH;
    one.fd.target == other.fd.target
        && one.inode == other.inode
        && (one.flags ^ other.flags) & access as u32 == 0
        && !(one.faults | other.faults).intersects(unknown)
}

fn duplicate(number: u32, of: u32) -> String {
    match number {
        0 => format!("<&{of}"),
        1 => format!(">&{of}"),
        _ => format!("{number}>&{of}"),
    }
}

/// The redirection that opens a file anew, or why there is none.
fn opened(fd: &FdRecord) -> Result<String, String> {
    let target = &fd.fd.target;
    let shown = || escape::text(target);
    if !fd.faults.is_empty() {
        return Err(because("not all known", fd.faults));
    }
    if !target.starts_with(b"/") {
        return Err(shown());
    }
    if target.ends_with(b" (deleted)") {
        return Err(format!("{}, which is not there any more", shown()));
    }
    let flags = fd.flags as i32;
    if flags & libc::O_PATH != 0 {
        return Err(format!("{}, opened as a path only", shown()));
    }
    let number = fd.fd.number;
    let (operator, usual) = match flags & libc::O_ACCMODE {
        libc::O_RDONLY => ("<", 0),
        // What is in a file that was written to already is not to be lost.
        libc::O_WRONLY if flags & libc::O_APPEND != 0 || fd.position > 0 => (">>", 1),
        libc::O_WRONLY => (">", 1),
        _ => ("<>", 0),
    };
    let number = if number == usual { String::new() } else { number.to_string() };
    Ok(format!("{number}{operator}{}", escape::word(target)))
}
