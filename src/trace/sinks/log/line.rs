//! The line of an exec.

use crate::cli::log::{Amount, Shown};
use crate::event::{self, ExecRecord, Faults, FdRecord, Part, Vector};
use crate::source::interpreters;
use crate::text::escape;
use crate::trace::Baseline;
use crate::trace::sinks::cmdline::{Redirect, command_line};
use crate::trace::sinks::log::changes::Baselines;
use crate::trace::sinks::log::changes::Change;
use crate::trace::sinks::log::paint::Hue;
use crate::trace::sinks::log::paint::Paint;
use crate::trace::sinks::words;

/// A line as it grows.
pub struct Line {
    paint: Paint,
    pub text: String,
}

impl Line {
    pub fn new(paint: Paint) -> Line {
        Line { paint, text: String::with_capacity(256) }
    }

    pub fn plain(&mut self, text: &str) {
        self.text.push_str(text);
    }

    pub fn part(&mut self, hue: Hue, text: &str) {
        self.paint.push(&mut self.text, hue, text);
    }

    pub fn process(&mut self, pid: u32, hue: Hue) {
        self.part(hue, &pid.to_string());
        self.plain(":");
    }

    /// What is wrong with a part, if something is.
    fn mark(&mut self, faults: Faults) {
        if !faults.is_empty() {
            let words: Vec<&str> = faults.words().collect();
            self.part(Hue::Unread, &format!("<{}>", words.join(", ")));
        }
    }

    /// In place of a part that is not there.
    fn absent(&mut self, faults: Faults) {
        if faults.is_empty() {
            self.part(Hue::Unread, "<not known>");
        } else {
            self.mark(faults);
        }
    }

    pub fn exec(
        &mut self,
        record: &ExecRecord,
        shown: &Shown,
        baselines: &Baselines,
        baseline: &Baseline,
    ) {
        let fared = match -record.result {
            0 => Hue::Good,
            libc::ENOENT => Hue::Absent,
            _ => Hue::Bad,
        };
        self.part(fared, &record.pid.to_string());
        if shown.comm {
            // Where it has failed, it is as before.
            self.comm(if record.result < 0 { &record.comm } else { &record.prev_comm });
        }
        self.plain(":");
        if shown.filename {
            self.filename(record, shown);
        }
        if shown.argv {
            self.argv(&record.argv);
            self.name_passed(record);
        }
        if shown.cwd {
            self.named("cwd=", Hue::Place, &record.cwd);
        }
        if shown.interpreter {
            self.interpreters(&record.interpreters);
        }
        self.environment(&record.env, shown.env, baselines);
        self.descriptors(&record.fds, shown, baselines);
        self.whole(record, shown);
        self.result(record.result, shown.decode_errno, fared);
        if let Some(missing) = record.interpreters.value.as_ref().and_then(|chain| chain.last())
            && record.result == -libc::ENOENT
            && shown.decode_errno
        {
            self.plain(": ");
            self.part(fared, &interpreters::is_missing(missing));
        }
        if shown.cmdline {
            self.command_line(record, shown, baseline);
        }
    }

    fn comm(&mut self, comm: &Part<Vec<u8>>) {
        // COMMAND had none of its own.
        let Some(name) = &comm.value else { return self.mark(comm.faults) };
        self.plain("<");
        self.part(Hue::Comm, &escape::text(name));
        self.mark(comm.faults);
        self.plain(">");
    }

    fn filename(&mut self, record: &ExecRecord, shown: &Shown) {
        let exe = record.exe.value.as_ref().filter(|_| record.exe.faults.is_empty());
        let is_self = record.filename.value.as_deref().is_some_and(event::is_self);
        match exe {
            Some(exe) if is_self && shown.resolve_proc_self_exe => {
                self.plain(" ");
                self.part(Hue::File, &quoted(exe));
            }
            _ => self.named("", Hue::File, &record.filename),
        }
        let relative = record.filename.value.as_ref().is_some_and(|name| !name.starts_with(b"/"));
        if let Some(at) = record.call.and_then(|call| call.at)
            && relative
            && at != libc::AT_FDCWD
        {
            self.plain(&format!(" at={at}"));
        }
    }

    fn named(&mut self, label: &str, hue: Hue, part: &Part<Vec<u8>>) {
        self.plain(" ");
        self.plain(label);
        match &part.value {
            Some(value) => {
                self.part(hue, &quoted(value));
                self.mark(part.faults);
            }
            None => self.absent(part.faults),
        }
    }

    fn argv(&mut self, argv: &Part<Vector>) {
        self.plain(" ");
        let Some(vector) = &argv.value else {
            self.plain("argv=");
            return self.absent(argv.faults);
        };
        self.plain("[");
        for (at, argument) in vector.strings.iter().enumerate() {
            self.plain(if at > 0 { ", " } else { "" });
            if vector.unread.contains(&at) {
                self.part(Hue::Unread, "<unreadable>");
            } else {
                self.part(Hue::Argument, &quoted(argument));
            }
        }
        self.plain("]");
        self.mark(argv.faults);
    }

    /// What a script was called by, where that is not its file's name: its interpreter has not got it.
    fn name_passed(&mut self, record: &ExecRecord) {
        let passed = &record.passed;
        let unread = passed.value.as_ref().is_some_and(|vector| vector.unread.first() == Some(&0));
        match passed.value.as_ref().map(|vector| vector.strings.get(0)) {
            Some(Some(_)) if unread => {
                self.plain(" argv0=");
                self.part(Hue::Unread, "<unreadable>");
            }
            Some(Some(name)) if Some(name) != record.filename.value.as_deref() => {
                self.plain(" argv0=");
                self.part(Hue::Argument, &quoted(name));
            }
            Some(None) => self.plain(" argv0=NULL"),
            _ => {}
        }
    }

    fn interpreters(&mut self, interpreters: &Part<Vec<Vec<u8>>>) {
        for interpreter in interpreters.value.iter().flatten() {
            self.plain(" interpreter=");
            self.part(Hue::Place, &quoted(interpreter));
        }
        if !interpreters.faults.is_empty() {
            self.plain(" interpreter=");
            self.mark(interpreters.faults);
        }
    }

    fn environment(&mut self, env: &Part<Vector>, amount: Amount, baselines: &Baselines) {
        if amount == Amount::Nothing {
            return;
        }
        let Some(vector) = &env.value else {
            self.plain(" env=");
            return self.absent(env.faults);
        };
        let mut items = Vec::new();
        if amount == Amount::All {
            for (at, variable) in vector.strings.iter().enumerate() {
                items.push(match vector.unread.contains(&at) {
                    true => (Hue::Unread, "<unreadable>".into()),
                    false => (Hue::Argument, entry("", event::variable(variable))),
                });
            }
        } else {
            for change in baselines.environment(&vector.strings, &vector.unread) {
                match change {
                    Change::Added(name, value) => {
                        items.push((Hue::Added, entry("+", (name, value))));
                    }
                    Change::Changed(name, value) => {
                        items.push((Hue::Changed, entry("~", (name, value))));
                    }
                    // It may be among those that were not read.
                    Change::Removed(_) if !env.faults.is_empty() => {}
                    Change::Removed(name) => {
                        items.push((Hue::Removed, entry("-", (name, None))));
                    }
                }
            }
        }
        if !(items.is_empty() && env.faults.is_empty() && amount == Amount::Difference) {
            self.list(" env", &items);
        }
        self.mark(env.faults);
    }

    fn descriptors(&mut self, fds: &Part<Vec<FdRecord>>, shown: &Shown, baselines: &Baselines) {
        if shown.fd == Amount::Nothing {
            return;
        }
        let Some(open) = &fds.value else {
            self.plain(" fd=");
            return self.absent(fds.faults);
        };
        let mut items = Vec::new();
        let mut sorted: Vec<&FdRecord> = open.iter().collect();
        sorted.sort_by_key(|fd| fd.fd.number);
        for fd in sorted.iter().filter(|fd| !fd.close_on_exec) {
            let item = |sign| descriptor(sign, fd);
            match baselines.fds.get(&fd.fd.number) {
                _ if shown.fd == Amount::All => items.push((Hue::Argument, item(""))),
                None => items.push((Hue::Added, item("+"))),
                Some(had) if is_same(had, fd) => {}
                Some(_) => items.push((Hue::Changed, item("~"))),
            }
        }
        if shown.fd == Amount::Difference && fds.faults.is_empty() {
            let is_open = |number| {
                let mut found = open.iter().filter(|fd| !fd.close_on_exec);
                found.any(|fd| fd.fd.number == number)
            };
            let mut closed: Vec<u32> = baselines.fds.keys().copied().collect();
            closed.retain(|number| !is_open(*number));
            closed.sort_unstable();
            items.extend(closed.iter().map(|number| (Hue::Removed, format!("-{number}"))));
        }
        if !shown.hide_cloexec_fds {
            let closes = sorted.iter().filter(|fd| fd.close_on_exec);
            items.extend(closes.map(|fd| (Hue::Removed, descriptor("cloexec ", fd))));
        }
        if !(items.is_empty() && fds.faults.is_empty() && shown.fd == Amount::Difference) {
            self.list(" fd", &items);
        }
        self.mark(fds.faults);
    }

    fn list(&mut self, label: &str, items: &[(Hue, String)]) {
        self.plain(label);
        self.plain("[");
        for (at, (hue, item)) in items.iter().enumerate() {
            self.plain(if at > 0 { ", " } else { "" });
            self.part(*hue, item);
        }
        self.plain("]");
    }

    /// What is wrong with the whole, as far as no part has told it.
    fn whole(&mut self, record: &ExecRecord, shown: &Shown) {
        let told = [
            (true, record.filename.faults),
            (shown.argv, record.argv.faults),
            (shown.env != Amount::Nothing, record.env.faults),
            (shown.fd != Amount::Nothing, record.fds.faults),
            (shown.cwd, record.cwd.faults),
        ];
        let told = told.into_iter().filter(|(shown, _)| *shown).map(|(_, faults)| faults);
        let rest = record.faults - told.fold(Faults::empty(), |all, faults| all | faults);
        if !rest.is_empty() {
            self.plain(" ");
            self.mark(rest);
        }
    }

    fn result(&mut self, result: i32, decode: bool, hue: Hue) {
        let mut text = format!("= {result}");
        if decode && result < 0 {
            text.push_str(&in_words(result));
        }
        self.plain(" ");
        self.part(hue, &text);
    }

    fn command_line(&mut self, record: &ExecRecord, shown: &Shown, baseline: &Baseline) {
        let redirect = match (shown.fd_in_cmdline, shown.stdio_in_cmdline) {
            (true, _) => Redirect::All,
            (false, true) => Redirect::Stdio,
            (false, false) => Redirect::None,
        };
        let line = command_line(record, Some(baseline), redirect);
        self.plain(" cmdline");
        if !line.lacking.is_empty() {
            self.part(Hue::Unread, &format!(" <not the same: {}>", line.lacking.join("; ")));
        }
        self.plain(": ");
        self.part(Hue::CommandLine, &line.text);
    }
}

/// An errno by its name and in words.
fn in_words(result: i32) -> String {
    words::errno_and_words(result)
        .map_or_else(String::new, |(name, words)| format!(" {name} ({words})"))
}

/// Between quotes, such that nothing is mistaken.
fn quoted(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 2);
    text.push('"');
    for part in bytes.split_inclusive(|byte| matches!(byte, b'"' | b'\\')) {
        match part {
            [before @ .., special @ (b'"' | b'\\')] => {
                text.push_str(&escape::text(before));
                text.extend(['\\', char::from(*special)]);
            }
            part => text.push_str(&escape::text(part)),
        }
    }
    text.push('"');
    text
}

/// A variable, its name in quotes where it is a strange one.
fn entry(sign: &str, (name, value): (&[u8], Option<&[u8]>)) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let name = match !name.is_empty() && name.iter().all(plain) {
        true => String::from_utf8_lossy(name).into_owned(),
        false => quoted(name),
    };
    match value {
        Some(value) => format!("{sign}{name}={}", quoted(value)),
        None => format!("{sign}{name}"),
    }
}

fn descriptor(sign: &str, fd: &FdRecord) -> String {
    let mut item = format!("{sign}{}={}", fd.fd.number, quoted(&fd.fd.target));
    if !fd.faults.is_empty() {
        let words: Vec<&str> = fd.faults.words().collect();
        item.push_str(&format!("<{}>", words.join(", ")));
    }
    item
}

/// Whether it is the same file.
fn is_same(one: &FdRecord, other: &FdRecord) -> bool {
    one.fd.target == other.fd.target && one.inode == other.inode
}
