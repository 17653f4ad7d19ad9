//! What is told of an exec beside its name: debug annotations.

use crate::event::{Ended, Execution, Faults, FdRecord, ParentEvent, Part, Usage};
use crate::text::escape;
use crate::trace::sinks::json::BaselineEnv;
use crate::trace::sinks::perfetto::proto::DebugAnnotation;
use crate::trace::sinks::perfetto::proto::Named;
use crate::trace::sinks::words;

/// The names of all of them; a number is a place here, from 1.
const NAMES: [&str; 44] = [
    "exec",
    "pid",
    "tid",
    "ppid",
    "parent",
    "command line",
    "argv",
    "cwd",
    "filename",
    "exe",
    "interpreters",
    "comm before",
    "result",
    "errno",
    "call",
    "dirfd",
    "flags",
    "compat",
    "uid",
    "gid",
    "env",
    "set",
    "unset",
    "fds",
    "fd",
    "path",
    "kind",
    "position",
    "inode",
    "mount",
    "file system",
    "close on exec",
    "cgroup",
    "faults",
    "exit status",
    "signal",
    "core dumped",
    "user",
    "system",
    "peak memory",
    "wall",
    "ids",
    "groups",
    "depth",
];

/// For the first packet.
pub fn names() -> Vec<Named> {
    let numbered = (1..).zip(NAMES);
    numbered.map(|(iid, name)| Named { iid: Some(iid), name: Some(name.into()) }).collect()
}

fn iid(name: &str) -> Option<u64> {
    NAMES.iter().position(|known| *known == name).map(|at| at as u64 + 1)
}

/// Protobuf has no text but UTF-8: other bytes are escaped.
pub fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => escape::text(bytes),
    }
}

fn string(value: impl Into<String>) -> DebugAnnotation {
    DebugAnnotation { string_value: Some(value.into()), ..Default::default() }
}

fn number(value: impl Into<u64>) -> DebugAnnotation {
    DebugAnnotation { uint_value: Some(value.into()), ..Default::default() }
}

fn signed(value: impl Into<i64>) -> DebugAnnotation {
    DebugAnnotation { int_value: Some(value.into()), ..Default::default() }
}

fn truth(value: bool) -> DebugAnnotation {
    DebugAnnotation { bool_value: Some(value), ..Default::default() }
}

fn list(values: impl IntoIterator<Item = DebugAnnotation>) -> DebugAnnotation {
    DebugAnnotation { array_values: values.into_iter().collect(), ..Default::default() }
}

/// Named values, those that there are.
#[derive(Default)]
struct Details(Vec<DebugAnnotation>);

impl Details {
    fn add(&mut self, name: &str, value: DebugAnnotation) {
        self.0.push(DebugAnnotation { name_iid: iid(name), ..value });
    }

    fn add_some(&mut self, name: &str, value: Option<DebugAnnotation>) {
        if let Some(value) = value {
            self.add(name, value);
        }
    }

    fn bytes(&mut self, name: &str, part: &Part<Vec<u8>>) {
        self.add_some(name, part.value.as_ref().map(|bytes| string(text(bytes))));
    }

    fn dictionary(self) -> DebugAnnotation {
        DebugAnnotation { dict_entries: self.0, ..Default::default() }
    }
}

/// Of an exec, whether it came to be or not.
pub fn of_exec(execution: &Execution, env: &BaselineEnv, wall: String) -> Vec<DebugAnnotation> {
    let record = &execution.record;
    let mut details = Details::default();
    details.add("exec", number(record.id));
    details.add("wall", string(wall));
    details.add("pid", number(record.pid));
    details.add("tid", number(record.tid));
    details.add_some("ppid", record.parent.known().map(number));
    details.add_some("depth", record.depth.known().map(number));
    details.add_some("parent", execution.parent.map(ParentEvent::id).map(number));
    if let Some(argv) = &record.argv.value {
        let words: Vec<String> = argv.strings.iter().map(escape::word).collect();
        details.add("command line", string(words.join(" ")));
        details.add("argv", list(argv.strings.iter().map(|word| string(text(word)))));
    }
    details.bytes("cwd", &record.cwd);
    details.bytes("filename", &record.filename);
    details.bytes("exe", &record.exe);
    if let Some(interpreters) = record.interpreters.value.as_ref().filter(|all| !all.is_empty()) {
        details.add("interpreters", list(interpreters.iter().map(|path| string(text(path)))));
    }
    details.bytes("comm before", &record.prev_comm);
    if record.result != 0 {
        details.add("result", signed(record.result));
        details.add_some("errno", words::errno(record.result).map(string));
    }
    if let Some(call) = record.call {
        details.add("call", string(if call.at.is_some() { "execveat" } else { "execve" }));
        details.add_some("dirfd", call.at.map(signed));
    }
    if record.compat {
        details.add("compat", truth(true));
    }
    details.add("uid", number(record.uid));
    details.add("gid", number(record.gid));
    if let Some(groups) = record.ids.value.as_ref().map(|ids| &ids.groups) {
        details.add("groups", list(groups.iter().map(|group| number(*group))));
    }
    if let Some(vector) = &record.env.value {
        details.add("env", environment(vector, env));
    }
    details.add_some("fds", record.fds.value.as_ref().map(|fds| list(fds.iter().map(descriptor))));
    details.bytes("cgroup", &record.cgroup);
    let faults = record.all_faults();
    if faults != Faults::empty() {
        details.add("faults", list(faults.words().map(string)));
    }
    details.0
}

/// As it differs from the baseline's, or whole where that cannot be said.
fn environment(vector: &crate::event::Vector, env: &BaselineEnv) -> DebugAnnotation {
    let Some(difference) = env.difference(vector) else {
        return list(vector.strings.iter().map(|entry| string(text(entry))));
    };
    let shown = |entries: Vec<_>| {
        let entries: Vec<crate::trace::sinks::json::Text> = entries;
        list(entries.iter().map(|entry| string(text(&entry.0))))
    };
    let mut both = Details::default();
    both.add("set", shown(difference.set));
    both.add("unset", shown(difference.unset));
    both.dictionary()
}

fn descriptor(record: &FdRecord) -> DebugAnnotation {
    let mut details = Details::default();
    details.add("fd", number(record.fd.number));
    details.add("path", string(text(&record.fd.target)));
    details.add("kind", string(record.fd.kind.name()));
    details.add("flags", string(words::open_flags(record.flags).join("|")));
    details.add("close on exec", truth(record.close_on_exec));
    details.add("position", signed(record.position));
    details.add("mount", number(record.mount_id));
    details.add("inode", number(record.inode));
    details.add("file system", string(text(&record.file_system)));
    details.dictionary()
}

/// Of a program's end, which the viewer adds to those of its beginning.
pub fn of_end(ended: &Ended) -> Vec<DebugAnnotation> {
    let mut details = Details::default();
    if libc::WIFSIGNALED(ended.status) {
        let signal = crate::event::moment::signals::name(libc::WTERMSIG(ended.status));
        details.add("signal", string(signal));
        details.add("core dumped", truth(libc::WCOREDUMP(ended.status)));
    } else {
        details.add("exit status", signed(libc::WEXITSTATUS(ended.status)));
    }
    if let Some(Usage { user, system, peak_memory }) = ended.usage {
        details.add("user", string(format!("{user:?}")));
        details.add("system", string(format!("{system:?}")));
        details.add("peak memory", number(peak_memory));
    }
    details.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_there_once() {
        let distinct: std::collections::HashSet<_> = NAMES.into_iter().collect();
        assert_eq!(distinct.len(), NAMES.len());
    }
}
