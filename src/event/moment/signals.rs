//! Signals by name, and which of them end a program by a fault of its own.

use nix::sys::signal::Signal;

use crate::commands::suggest;

/// The signals that count as a crash where the filter names none: those by whose default action a core
/// is dumped, see signal(7), but for SIGQUIT, which people send from the keyboard.
pub const FAULTS: [i32; 9] = [
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGABRT,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGSEGV,
    libc::SIGSYS,
    libc::SIGXCPU,
    libc::SIGXFSZ,
];

/// The signals whose default action does not end a process.
const HARMLESS: [i32; 9] = [
    libc::SIGCHLD,
    libc::SIGURG,
    libc::SIGWINCH,
    libc::SIGCONT,
    libc::SIGSTOP,
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
    // Nobody sees it before it has killed.
    libc::SIGKILL,
];

/// Other names for some of them.
const ALIASES: [(&str, i32); 4] = [
    ("IOT", libc::SIGABRT),
    ("POLL", libc::SIGIO),
    ("CLD", libc::SIGCHLD),
    ("UNUSED", libc::SIGSYS),
];

/// The highest number, SIGRTMAX.
const LAST: i32 = 64;

/// Whether it is meant by `crash` where nothing else is said.
pub fn is_fault(signal: i32) -> bool {
    FAULTS.contains(&signal)
}

/// Whether it ends a process that has no handler for it, and can be seen before it does.
pub fn ends(signal: i32) -> bool {
    (1..=LAST).contains(&signal) && !HARMLESS.contains(&signal)
}

/// `SIGSEGV`, or `signal 40`.
pub fn name(signal: i32) -> String {
    Signal::try_from(signal).map_or(format!("signal {signal}"), |signal| signal.as_str().into())
}

/// The signal of a name, with or without SIG, or of a number.
pub fn parse(text: &[u8]) -> Result<i32, String> {
    let text = std::str::from_utf8(text).map_err(|_| "expected the name of a signal")?;
    if let Ok(number) = text.parse::<i32>() {
        return if (1..=LAST).contains(&number) {
            Ok(number)
        } else {
            Err(format!("can never match: signals have numbers from 1 to {LAST}"))
        };
    }
    let upper = text.to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some((_, signal)) = ALIASES.iter().find(|(name, _)| *name == bare) {
        return Ok(*signal);
    }
    let all = || Signal::iterator().map(|signal| (&signal.as_str()[3..], signal as i32));
    if let Some((_, signal)) = all().find(|(name, _)| *name == bare) {
        return Ok(signal);
    }
    Err(match suggest::nearest(bare, all().map(|(name, _)| name)) {
        Some((near, _)) => format!("expected the name of a signal; did you mean `{near}`?"),
        None => "expected the name of a signal, as SEGV or SIGSEGV, or its number".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_has_a_name_with_and_without_sig_and_a_number() {
        for name in ["SEGV", "SIGSEGV", "segv", "11"] {
            assert_eq!(parse(name.as_bytes()), Ok(libc::SIGSEGV), "{name}");
        }
        assert_eq!(parse(b"IOT"), Ok(libc::SIGABRT));
        assert_eq!(parse(b"40"), Ok(40));
        assert!(parse(b"65").unwrap_err().contains("can never match"));
        assert!(parse(b"SGEV").unwrap_err().contains("`SEGV`"));
        assert!(parse(b"\xff").is_err() && parse(b"").is_err());
        assert_eq!(name(libc::SIGSEGV), "SIGSEGV");
        assert_eq!(name(40), "signal 40");
    }

    #[test]
    fn what_people_send_is_no_fault() {
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGPIPE, libc::SIGQUIT] {
            assert!(ends(signal) && !is_fault(signal));
        }
        for signal in [libc::SIGALRM, libc::SIGVTALRM, libc::SIGPROF, libc::SIGUSR1, 40] {
            assert!(ends(signal) && !is_fault(signal));
        }
        assert!(!ends(libc::SIGKILL) && !ends(libc::SIGCHLD) && !ends(libc::SIGTSTP));
        assert!(FAULTS.iter().all(|&signal| ends(signal)));
    }
}
