//! The moments of a program at which it may be held: its exec, a crash, a failing exit, a hang. What was
//! asked for, and what has happened.

pub mod signals;

use std::fmt;
use std::time::Duration;

use crate::event::Reading;
use crate::linux::sys::Pid;

/// The moments that were asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moments {
    pub exec: bool,
    pub crash: bool,
    pub fail: bool,
    /// Each system call is looked at for that.
    pub calls: bool,
    /// How long a program may run.
    pub hang: Option<Duration>,
}

/// What can be asked for, and what it means.
pub const KINDS: [(&str, &str); 4] = [
    ("exec", "right after its exec"),
    ("crash", "about to die of a signal that is a fault of its own"),
    ("fail", "about to exit with a status other than 0"),
    ("hang=TIME", "still running TIME after its exec"),
];

impl Moments {
    /// Right after the exec, which is what is meant where nothing is said.
    pub const EXEC: Moments =
        Moments { exec: true, crash: false, fail: false, calls: false, hang: None };

    /// Reads a list, `exec,crash,fail,hang=60s`.
    pub fn parse(text: &str) -> Result<Moments, String> {
        let mut moments = Moments::default();
        let mut calls = false;
        for word in text.split(',').map(str::trim) {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name.trim(), Some(value.trim())),
                None => (word, None),
            };
            let known = match name {
                "exec" => &mut moments.exec,
                "crash" => &mut moments.crash,
                "fail" => &mut moments.fail,
                "hang" => {
                    let time = value.filter(|value| !value.is_empty()).ok_or(
                        "`hang` needs a time, after which a program counts as hanging: hang=60s",
                    )?;
                    let time = time_of(time)?;
                    if time.is_zero() {
                        return Err("`hang=0`: every program runs longer than that".into());
                    }
                    if moments.hang.replace(time).is_some() {
                        return Err("`hang` is there twice".into());
                    }
                    continue;
                }
                _ => return Err(unknown(name)),
            };
            if name == "fail" && value == Some("calls") {
                calls = true;
            } else if let ("fail", Some(value)) = (name, value) {
                return Err(format!("`fail` takes no value but `calls`, not `{value}`"));
            } else if value.is_some() {
                return Err(format!("`{name}` takes no value"));
            }
            if std::mem::replace(known, true) {
                return Err(format!("`{name}` is there twice"));
            }
        }
        Ok(Moments { calls, ..moments })
    }

    /// Whether something after the exec was asked for, so that processes have to be followed.
    pub fn follow(self) -> bool {
        self.crash || self.fail || self.hang.is_some()
    }
}

fn unknown(name: &str) -> String {
    let names = KINDS.map(|(name, _)| name.split('=').next().unwrap_or(name));
    match crate::commands::suggest::nearest(name, names) {
        Some((near, _)) => format!("there is no moment `{name}`; did you mean `{near}`?"),
        None => format!("there is no moment `{name}`; there are exec, crash, fail and hang=TIME"),
    }
}

impl fmt::Display for Moments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fail = if self.calls { "fail=calls" } else { "fail" };
        let names = [(self.exec, "exec"), (self.crash, "crash"), (self.fail, fail)];
        let mut names: Vec<String> =
            names.iter().filter(|(asked, _)| *asked).map(|(_, name)| name.to_string()).collect();
        names.extend(self.hang.map(|time| format!("hang={}", shown(time))));
        f.write_str(&names.join(","))
    }
}

/// A time with its unit: `500ms`, `30s`, `2m`, `1h`; a bare number is in seconds.
pub fn time_of(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("`{unit}` is no unit of time; there are ms, s, m and h")),
    };
    let number: f64 =
        number.parse().map_err(|_| "expected a time such as 500ms, 30s or 2m".to_string())?;
    Duration::try_from_secs_f64(number * scale).map_err(|error| error.to_string())
}

fn shown(time: Duration) -> String {
    if time.subsec_millis() == 0 {
        format!("{}s", time.as_secs())
    } else {
        format!("{}ms", time.as_millis())
    }
}

/// What has happened to a program that was held later than at its exec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Happened {
    pub what: What,
    /// The thread to which it happened.
    pub tid: Pid,
    /// Since its exec.
    pub age: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// It is about to die of this signal: the address is that of a fault, the sender another process.
    Crash { signal: i32, code: i32, address: Option<u64>, sender: Option<Pid> },
    /// It is about to exit with this status.
    Fail { status: u8 },
    /// It still runs.
    Hang,
}

impl What {
    /// The name of the moment.
    pub fn name(self) -> &'static str {
        match self {
            What::Crash { .. } => "crash",
            What::Fail { .. } => "fail",
            What::Hang => "hang",
        }
    }

    /// Whether the process may go on after it, and more may come to it.
    pub fn goes_on(self) -> bool {
        self == What::Hang
    }

    /// The signal of which it is about to die.
    pub fn signal(self) -> Option<i32> {
        if let What::Crash { signal, .. } = self { Some(signal) } else { None }
    }

    /// The address of its fault, in hexadecimal digits: JSON's numbers are too small for it.
    pub fn address(self) -> Option<String> {
        let What::Crash { address, .. } = self else { return None };
        address.map(|address| format!("{address:#x}"))
    }

    /// The status with which it is about to exit.
    pub fn status(self) -> Option<u8> {
        if let What::Fail { status } = self { Some(status) } else { None }
    }

    /// Whether it counts where the filter does not ask for something else.
    pub fn is_usual(self) -> Usual {
        match self {
            What::Crash { signal, .. } => Usual { signal: signals::is_fault(signal), status: true },
            What::Fail { status } => Usual { signal: true, status: status != 0 },
            What::Hang => Usual { signal: true, status: true },
        }
    }
}

/// Whether a moment is among those that are meant by default: by its signal, and by its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usual {
    pub signal: bool,
    pub status: bool,
}

impl fmt::Display for Happened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.what {
            What::Crash { signal, address, sender, .. } => {
                write!(f, "is about to die of {}", signals::name(signal))?;
                match (address, sender) {
                    (Some(address), _) => write!(f, " at {address:#x}"),
                    (None, Some(sender)) => write!(f, ", sent by {sender}"),
                    (None, None) => Ok(()),
                }
            }
            What::Fail { status } => write!(f, "is about to exit with status {status}"),
            What::Hang if self.age.as_secs() < 10 => {
                write!(f, "still runs after {:.1} s", self.age.as_secs_f32())
            }
            What::Hang => write!(f, "still runs after {} s", self.age.as_secs()),
        }
    }
}

/// The exec itself as a moment, or one that is yet to come, for a filter that asks of moments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Now {
    /// What comes is not known yet.
    Before,
    /// At the exec, which has neither signal nor status.
    Exec,
    At(Happened),
}

impl Now {
    /// The signal of which it is about to die.
    pub fn signal(self) -> Reading<u32> {
        match self {
            Now::Before => Reading::Unknown,
            Now::At(Happened { what: What::Crash { signal, .. }, .. }) => {
                Reading::Known(signal as u32)
            }
            Now::Exec | Now::At(_) => Reading::Missing,
        }
    }

    /// The status with which it is about to exit.
    pub fn status(self) -> Reading<u32> {
        match self {
            Now::Before => Reading::Unknown,
            Now::At(Happened { what: What::Fail { status }, .. }) => {
                Reading::Known(u32::from(status))
            }
            Now::Exec | Now::At(_) => Reading::Missing,
        }
    }

    /// In milliseconds since its exec.
    pub fn age(self) -> Reading<u32> {
        match self {
            Now::Before => Reading::Unknown,
            Now::Exec => Reading::Known(0),
            Now::At(happened) => {
                Reading::Known(happened.age.as_millis().try_into().unwrap_or(u32::MAX))
            }
        }
    }

    /// Whether it is one of those that are meant by default.
    pub fn usual(self) -> Reading<Usual> {
        match self {
            Now::Before => Reading::Unknown,
            Now::Exec => Reading::Known(Usual { signal: true, status: true }),
            Now::At(happened) => Reading::Known(happened.what.is_usual()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_moments_is_read_and_shown() {
        let all = Moments::parse("exec,crash,fail,hang=1.5s").unwrap();
        assert!(all.exec && all.crash && all.fail && all.follow());
        assert_eq!(all.hang, Some(Duration::from_millis(1500)));
        assert_eq!(all.to_string(), "exec,crash,fail,hang=1500ms");
        assert_eq!(Moments::parse("exec"), Ok(Moments::EXEC));
        assert_eq!(Moments::parse("fail=calls").unwrap().to_string(), "fail=calls");
        assert_eq!(Moments::parse("hang = 5m").unwrap().to_string(), "hang=300s");
    }

    #[test]
    fn what_is_no_list_of_moments_says_why() {
        for (text, says) in [
            ("crsh", "did you mean `crash`?"),
            ("", "there are exec, crash, fail and hang=TIME"),
            ("hang", "hang=60s"),
            ("hang=", "hang=60s"),
            ("hang=0", "every program"),
            ("hang=3 days", "no unit of time"),
            ("crash=1", "takes no value"),
            ("fail=3", "no value but `calls`"),
            ("fail,fail", "twice"),
            ("hang=1s,hang=2s", "twice"),
        ] {
            let error = Moments::parse(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
