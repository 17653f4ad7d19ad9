//! From what was written back to what was traced.

use std::collections::HashSet;
use std::time::Duration;

use crate::event::{
    Begun, Ended, ExecCall, ExecRecord, Execution, Faults, Fd, FdKind, FdRecord, Ids, ParentEvent,
    Part, Response, Strings, Usage, Vector, variable,
};
use crate::trace::sinks::json::model;
use crate::trace::sinks::json::model::Env;
use crate::trace::sinks::json::model::Text;
use crate::trace::{About, Baseline, End, Lost};

/// What cannot be: a kind of descriptor or a time that there is not.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Nonsense(String);

impl Text<'_> {
    fn bytes(self) -> Vec<u8> {
        self.0.into_owned()
    }
}

fn vector(strings: model::Vector) -> Vector {
    let absent = strings.iter().enumerate().filter(|(_, string)| string.is_none());
    let unread = absent.map(|(at, _)| at).collect();
    let strings = strings.iter().map(|string| string.as_ref().map_or(&b""[..], |text| &text.0));
    Vector { strings: strings.collect(), unread }
}

fn env(env: Env, baseline: &Strings) -> Vector {
    match env {
        Env::Whole(strings) => vector(strings),
        Env::Diff(difference) => {
            let set = difference.set.iter().map(|entry| &*entry.0);
            let named = set.clone().map(|entry| variable(entry).0);
            let gone: HashSet<&[u8]> =
                named.chain(difference.unset.iter().map(|name| &*name.0)).collect();
            let kept = baseline.iter().filter(|entry| !gone.contains(variable(entry).0));
            Vector { strings: kept.chain(set).collect(), unread: Vec::new() }
        }
    }
}

impl TryFrom<model::Descriptor<'_>> for FdRecord {
    type Error = Nonsense;

    fn try_from(descriptor: model::Descriptor) -> Result<Self, Nonsense> {
        let kind = FdKind::ALL.into_iter().find(|kind| kind.name() == descriptor.kind);
        let kind = kind.ok_or_else(|| {
            Nonsense(format!("there is no kind of descriptor {:?}", descriptor.kind))
        })?;
        Ok(FdRecord {
            fd: Fd { number: descriptor.fd, target: descriptor.path.bytes(), kind },
            flags: descriptor.flags.number,
            close_on_exec: descriptor.close_on_exec,
            position: descriptor.position,
            mount_id: descriptor.mount,
            inode: descriptor.inode,
            file_system: descriptor.file_system.bytes(),
            faults: descriptor.faults.0,
        })
    }
}

fn descriptors(all: Vec<model::Descriptor>) -> Result<Vec<FdRecord>, Nonsense> {
    all.into_iter().map(TryInto::try_into).collect()
}

impl From<model::Ids> for Ids {
    fn from(ids: model::Ids) -> Self {
        let four = |ids: model::FourIds| [ids.real, ids.effective, ids.saved, ids.file_system];
        Ids { uids: four(ids.uids), gids: four(ids.gids), groups: ids.groups }
    }
}

impl From<model::Parent> for ParentEvent {
    fn from(parent: model::Parent) -> Self {
        match parent.how {
            model::How::Becomes => ParentEvent::Becomes(parent.exec),
            model::How::Spawned => ParentEvent::Spawned(parent.exec),
        }
    }
}

impl From<model::Status> for i32 {
    fn from(status: model::Status) -> i32 {
        let (code, signal) = (status.status.unwrap_or(0), status.signal.unwrap_or(0) & 0x7f);
        i32::from(code) << 8 | i32::from(status.core_dumped) << 7 | i32::from(signal)
    }
}

impl From<model::Usage> for Usage {
    fn from(usage: model::Usage) -> Self {
        Usage {
            user: Duration::from_nanos(usage.user),
            system: Duration::from_nanos(usage.system),
            peak_memory: usage.peak_memory,
        }
    }
}

impl From<model::Begun> for Begun {
    fn from(begun: model::Begun) -> Self {
        Begun { pid: begun.pid, parent: begun.parent, time: begun.time }
    }
}

impl From<model::Ended> for Ended {
    fn from(ended: model::Ended) -> Self {
        Ended {
            pid: ended.pid,
            time: ended.time,
            status: ended.status.into(),
            exec: ended.exec,
            usage: ended.usage.map(Into::into),
        }
    }
}

impl From<model::End> for End {
    fn from(end: model::End) -> Self {
        End {
            status: end.command.map(Into::into),
            time: end.time,
            totals: Lost { events: end.lost.events, processes: end.lost.processes },
        }
    }
}

impl TryFrom<model::About<'_>> for About {
    type Error = Nonsense;

    fn try_from(about: model::About) -> Result<Self, Nonsense> {
        let wall = humantime::parse_rfc3339(&about.wall)
            .map_err(|error| Nonsense(format!("{:?} is no time: {error}", about.wall)))?;
        Ok(About {
            command: about.command.into_iter().map(Text::bytes).collect(),
            pids: Vec::new(),
            baseline: Baseline {
                env: about.baseline.env.iter().map(|entry| &entry.0).collect(),
                cwd: about.baseline.cwd.bytes(),
                fds: descriptors(about.baseline.fds)?,
            },
            source: about.source.into_owned(),
            version: about.tracexec.into_owned(),
            host: about.host.bytes(),
            wall,
            boot: about.time,
        })
    }
}

/// An exec, and its process's end where it is told with it.
pub(super) fn execution(
    exec: model::Exec,
    baseline: &Strings,
) -> Result<(Execution, Option<Ended>), Nonsense> {
    let mut faults = exec.faults;
    let mut faults = |part: &str| faults.remove(part).map_or(Faults::empty(), |names| names.0);
    macro_rules! part {
        ($name:literal, $value:expr) => {
            Part { value: $value, faults: faults($name) }
        };
    }
    let ended = exec.exit.flatten().map(|exit| Ended {
        pid: exec.pid,
        time: exit.time,
        status: exit.status.into(),
        exec: Some(exec.id),
        usage: exit.usage.map(Into::into),
    });
    let record = ExecRecord {
        id: exec.id,
        pid: exec.pid,
        tid: exec.tid,
        parent: exec.ppid.into(),
        depth: exec.depth.into(),
        time: exec.time,
        began: exec.began,
        result: exec.result,
        call: exec.call.map(|call| ExecCall { at: call.dirfd, flags: call.flags.number }),
        compat: exec.compat,
        uid: exec.uid,
        gid: exec.gid,
        ids: part!("ids", exec.ids.map(Into::into)),
        comm: part!("comm", exec.comm.map(Text::bytes)),
        prev_comm: part!("prev_comm", exec.prev_comm.map(Text::bytes)),
        filename: part!("filename", exec.filename.map(Text::bytes)),
        argv: part!("argv", exec.argv.map(vector)),
        responses: exec
            .responses
            .into_iter()
            .map(|file| Response { name: file.name.bytes(), text: file.text.bytes() })
            .collect(),
        passed: part!("passed_argv", exec.passed_argv.map(vector)),
        env: part!("env", exec.env.map(|value| env(value, baseline))),
        cwd: part!("cwd", exec.cwd.map(Text::bytes)),
        exe: part!("exe", exec.exe.map(Text::bytes)),
        interpreters: part!(
            "interpreters",
            exec.interpreters.map(|all| all.into_iter().map(Text::bytes).collect())
        ),
        cgroup: part!("cgroup", exec.cgroup.map(Text::bytes)),
        fds: part!("fds", exec.fds.map(descriptors).transpose()?),
        pid_namespace: exec.pid_namespace.into(),
        mount_namespace: exec.mount_namespace.into(),
        faults: faults("exec"),
    };
    Ok((Execution { record, parent: exec.parent.map(Into::into), view: None }, ended))
}
