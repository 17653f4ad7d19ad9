//! From what was traced to what is written.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use super::EnvForm;
use crate::event::moment::signals;
use crate::event::{
    Begun, Ended, Execution, FdRecord, Ids, ParentEvent, Strings, Usage, Vector, variable,
};
use crate::trace::sinks::clock::Clock;
use crate::trace::sinks::json::model;
use crate::trace::sinks::json::model::Env;
use crate::trace::sinks::json::model::EnvDiff;
use crate::trace::sinks::json::model::FaultNames;
use crate::trace::sinks::json::model::Flags;
use crate::trace::sinks::json::model::Text;
use crate::trace::sinks::words;
use crate::trace::{About, End};

/// Which entry of the baseline it is, and the whole of it.
type Known = (usize, Vec<u8>);

/// The environment with which others are compared.
#[derive(Debug, Default)]
pub(in crate::trace) struct BaselineEnv {
    /// By name. Nothing where a name is there twice.
    entries: Option<HashMap<Vec<u8>, Known>>,
}

impl BaselineEnv {
    pub fn new(env: &Strings) -> BaselineEnv {
        let numbered = env.iter().enumerate();
        let entries: HashMap<_, _> = numbered
            .map(|(at, entry)| (variable(entry).0.to_vec(), (at, entry.to_vec())))
            .collect();
        BaselineEnv { entries: (entries.len() == env.len()).then_some(entries) }
    }

    /// The difference; `None` where one cannot say it by names: one is there twice, or was not read.
    pub fn difference<'a>(&self, env: &'a Vector) -> Option<EnvDiff<'a>> {
        let entries = self.entries.as_ref().filter(|_| env.unread.is_empty())?;
        let mut seen = vec![false; entries.len()];
        let mut own = std::collections::HashSet::new();
        let mut set = Vec::new();
        for entry in env.strings.iter() {
            let name = variable(entry).0;
            if !own.insert(name) {
                return None;
            }
            let known = entries.get(name);
            if let Some((at, _)) = known {
                seen[*at] = true;
            }
            if known.is_none_or(|(_, known)| known != entry) {
                set.push(entry.into());
            }
        }
        let mut gone: Vec<_> = entries.iter().filter(|(_, (at, _))| !seen[*at]).collect();
        gone.sort_by_key(|(_, (at, _))| *at);
        let unset = gone.into_iter().map(|(name, _)| Text(Cow::Owned(name.clone()))).collect();
        Some(EnvDiff { set, unset })
    }
}

/// What is written of an exec depends on.
pub(super) struct Form {
    pub clock: Clock,
    pub env: EnvForm,
    pub baseline: BaselineEnv,
}

impl Form {
    pub fn new(about: &About, env: EnvForm) -> Form {
        let baseline = match env {
            EnvForm::Whole => BaselineEnv::default(),
            EnvForm::Diff => BaselineEnv::new(&about.baseline.env),
        };
        Form { clock: Clock::of(about), env, baseline }
    }

    pub fn begun(&self, begun: &Begun) -> model::Begun {
        let wall = self.clock.at(begun.time);
        model::Begun { pid: begun.pid, parent: begun.parent, time: begun.time, wall }
    }

    /// `executed` is when it began to run its last program.
    pub fn ended(&self, ended: &Ended, executed: Option<u64>) -> model::Ended {
        model::Ended {
            pid: ended.pid,
            time: ended.time,
            wall: self.clock.at(ended.time),
            exec: ended.exec,
            duration: executed.map(|time| ended.time.saturating_sub(time)),
            status: ended.status.into(),
            usage: ended.usage.map(Into::into),
        }
    }

    pub fn exit(&self, ended: &Ended, executed: u64) -> model::Exit {
        let model::Ended { time, wall, duration, status, usage, .. } =
            self.ended(ended, Some(executed));
        model::Exit { time, wall, duration, status, usage }
    }

    pub fn end(&self, end: &End) -> model::End {
        model::End {
            time: end.time,
            wall: self.clock.at(end.time),
            command: end.status.map(Into::into),
            lost: model::Lost { events: end.totals.events, processes: end.totals.processes },
        }
    }

    fn env<'a>(&self, env: &'a Vector) -> Env<'a> {
        let difference = match self.env {
            EnvForm::Whole => None,
            EnvForm::Diff => self.baseline.difference(env),
        };
        difference.map_or_else(|| Env::Whole(vector(env)), Env::Diff)
    }

    pub fn exec<'a>(&self, execution: &'a Execution) -> model::Exec<'a> {
        let record = &execution.record;
        let text = |bytes: &'a Vec<u8>| Text::from(bytes.as_slice());
        model::Exec {
            id: record.id,
            time: record.time,
            wall: self.clock.at(record.time),
            pid: record.pid,
            tid: record.tid,
            ppid: record.parent.into(),
            depth: record.depth.into(),
            parent: execution.parent.map(Into::into),
            began: record.began,
            result: record.result,
            errno: words::errno(record.result),
            call: record.call.map(|call| model::Call {
                name: if call.at.is_some() { "execveat" } else { "execve" }.into(),
                dirfd: call.at,
                flags: Flags { number: call.flags, names: words::call_flags(call.flags) },
            }),
            compat: record.compat,
            comm: record.comm.value.as_ref().map(text),
            prev_comm: record.prev_comm.value.as_ref().map(text),
            filename: record.filename.value.as_ref().map(text),
            exe: record.exe.value.as_ref().map(text),
            interpreters: record
                .interpreters
                .value
                .as_ref()
                .map(|all| all.iter().map(text).collect()),
            cwd: record.cwd.value.as_ref().map(text),
            argv: record.argv.value.as_ref().map(vector),
            responses: record
                .responses
                .iter()
                .map(|file| model::Response { name: text(&file.name), text: text(&file.text) })
                .collect(),
            passed_argv: record.passed.value.as_ref().map(vector),
            env: record.env.value.as_ref().map(|env| self.env(env)),
            fds: record.fds.value.as_ref().map(|fds| fds.iter().map(Into::into).collect()),
            uid: record.uid,
            gid: record.gid,
            ids: record.ids.value.as_ref().map(Into::into),
            cgroup: record.cgroup.value.as_ref().map(text),
            pid_namespace: record.pid_namespace.into(),
            mount_namespace: record.mount_namespace.into(),
            faults: record
                .faulty_parts()
                .map(|(part, faults)| (part.into(), FaultNames(faults)))
                .collect(),
            exit: None,
            became: None,
        }
    }
}

fn vector(vector: &Vector) -> model::Vector<'_> {
    let numbered = vector.strings.iter().enumerate();
    numbered.map(|(at, text)| (!vector.unread.contains(&at)).then(|| text.into())).collect()
}

impl<'a> From<&'a FdRecord> for model::Descriptor<'a> {
    fn from(record: &'a FdRecord) -> Self {
        model::Descriptor {
            fd: record.fd.number,
            path: record.fd.target.as_slice().into(),
            kind: record.fd.kind.name().into(),
            flags: Flags { number: record.flags, names: words::open_flags(record.flags) },
            close_on_exec: record.close_on_exec,
            position: record.position,
            mount: record.mount_id,
            inode: record.inode,
            file_system: record.file_system.as_slice().into(),
            faults: FaultNames(record.faults),
        }
    }
}

impl From<&Ids> for model::Ids {
    fn from(ids: &Ids) -> Self {
        let four = |[real, effective, saved, file_system]: [u32; 4]| model::FourIds {
            real,
            effective,
            saved,
            file_system,
        };
        model::Ids { uids: four(ids.uids), gids: four(ids.gids), groups: ids.groups.clone() }
    }
}

impl From<ParentEvent> for model::Parent {
    fn from(parent: ParentEvent) -> Self {
        match parent {
            ParentEvent::Becomes(exec) => model::Parent { how: model::How::Becomes, exec },
            ParentEvent::Spawned(exec) => model::Parent { how: model::How::Spawned, exec },
        }
    }
}

/// From what wait(2) gives.
impl From<i32> for model::Status {
    fn from(status: i32) -> Self {
        let signal = libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status));
        model::Status {
            status: libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status) as u8),
            signal: signal.map(|signal| signal as u8),
            signal_name: signal.map(signals::name),
            core_dumped: signal.is_some() && libc::WCOREDUMP(status),
        }
    }
}

impl From<Usage> for model::Usage {
    fn from(usage: Usage) -> Self {
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        model::Usage {
            user: nanoseconds(usage.user),
            system: nanoseconds(usage.system),
            peak_memory: usage.peak_memory,
        }
    }
}

impl<'a> From<&'a About> for model::About<'a> {
    fn from(about: &'a About) -> Self {
        let text = |bytes: &'a [u8]| Text::from(bytes);
        model::About {
            command: about.command.iter().map(|word| text(word)).collect(),
            source: about.source.as_str().into(),
            tracexec: about.version.as_str().into(),
            host: text(&about.host),
            time: about.boot,
            wall: Clock::of(about).at(about.boot),
            baseline: model::Baseline {
                cwd: text(&about.baseline.cwd),
                env: about.baseline.env.iter().map(text).collect(),
                fds: about.baseline.fds.iter().map(Into::into).collect(),
            },
        }
    }
}
