//! Facts and names that are made up.

use std::io;
use std::sync::Arc;

use tracexec::event::cgroup::Cgroup;
use tracexec::event::{Facts, Fd, FdKind, Image, Namespace, Reading, Strings, lent};
use tracexec::filter::Names;

/// Facts that are all given beforehand, with a note of what was asked.
#[derive(Debug, Clone)]
pub struct Given {
    pub argv: Reading<Strings>,
    /// `None`: the environment was not read.
    pub env: Option<Vec<(Vec<u8>, Vec<u8>)>>,
    pub filename: Reading<Vec<u8>>,
    pub exe: Reading<Vec<u8>>,
    pub interpreter: Reading<Vec<u8>>,
    pub comm: Reading<Vec<u8>>,
    pub prev_comm: Reading<Vec<u8>>,
    pub cwd: Reading<Vec<u8>>,
    /// `None`: they were not read.
    pub fds: Option<Vec<Fd>>,
    pub uid: Reading<u32>,
    pub gid: Reading<u32>,
    pub pid: Reading<u32>,
    pub ppid: Reading<u32>,
    pub depth: Reading<u32>,
    pub cgroup: Reading<Cgroup>,
    pub pid_namespace: Reading<u32>,
    pub mnt_namespace: Reading<u32>,
    pub ancestors: Reading<Vec<Arc<Image>>>,
    pub asked: Vec<&'static str>,
}

/// The container that the compiler runs in, and none of those that started it.
pub const CONTAINER: &str = "5e1f5e1f5e1f5e1f5e1f5e1f5e1f5e1f5e1f5e1f5e1f5e1f5e1f5e1f5e1f5e1f";

/// A compiler, started by make, started by bash.
pub fn compiler() -> Given {
    let text = |text: &str| Reading::Known(text.as_bytes().to_vec());
    let fd = |number, target: &str, kind| Fd { number, target: target.into(), kind };
    Given {
        argv: Reading::Known(["cc1plus", "-O2", "main file.cc"].iter().collect()),
        env: Some(vec![(b"CI".to_vec(), b"1".to_vec()), (b"EMPTY".to_vec(), Vec::new())]),
        filename: text("lib/cc1plus"),
        exe: text("/usr/lib/cc1plus"),
        interpreter: Reading::Missing,
        comm: text("cc1plus"),
        prev_comm: text("g++"),
        cwd: text("/home/eve/src"),
        fds: Some(vec![
            fd(0, "/dev/null", FdKind::Char),
            fd(1, "pipe:[77]", FdKind::Pipe),
            fd(2, "/tmp/log", FdKind::File),
        ]),
        uid: Reading::Known(1000),
        gid: Reading::Known(100),
        pid: Reading::Known(42),
        ppid: Reading::Known(41),
        depth: Reading::Known(2),
        cgroup: Reading::Known(Cgroup {
            path: text("/system.slice/ci.service/docker/5e1f"),
            unit: text("ci.service"),
            container: text(CONTAINER),
        }),
        pid_namespace: Reading::Known(4026531836),
        mnt_namespace: Reading::Known(4026532001),
        ancestors: Reading::Known(vec![
            Arc::new(image(41, 1, &["make", "-j2"], Reading::Missing)),
            Arc::new(image(40, 0, &["bash", "build.sh"], text("/bin/bash"))),
        ]),
        asked: Vec::new(),
    }
}

fn image(pid: u32, depth: u32, argv: &[&str], interpreter: Reading<Vec<u8>>) -> Image {
    let path = format!("/usr/bin/{}", argv[0]);
    Image {
        pid,
        depth,
        argv: Reading::Known(argv.iter().collect()),
        filename: Reading::Known(path.clone().into_bytes()),
        exe: Reading::Known(path.into_bytes()),
        interpreter,
        comm: Reading::Known(argv[0].as_bytes().to_vec()),
        cwd: Reading::Known(b"/home/eve".to_vec()),
        uid: Reading::Known(0),
        gid: Reading::Known(0),
        cgroup: Reading::Known(Cgroup {
            path: Reading::Known(b"/system.slice/runner.service".to_vec()),
            unit: Reading::Known(b"runner.service".to_vec()),
            container: Reading::Missing,
        }),
    }
}

fn found<T>(list: Option<T>) -> Reading<T> {
    list.map_or(Reading::Missing, Reading::Known)
}

macro_rules! texts {
    ($($name:ident),*) => {
        $(fn $name(&mut self) -> Reading<&[u8]> {
            self.asked.push(stringify!($name));
            lent(&self.$name)
        })*
    };
}

macro_rules! numbers {
    ($($name:ident),*) => {
        $(fn $name(&mut self) -> Reading<u32> {
            self.asked.push(stringify!($name));
            self.$name
        })*
    };
}

impl Facts for Given {
    texts!(filename, exe, interpreter, comm, prev_comm, cwd);
    numbers!(uid, gid, pid, ppid, depth);

    fn argv(&mut self) -> Reading<&Strings> {
        self.asked.push("argv");
        self.argv.as_ref()
    }

    fn cgroup(&mut self) -> Reading<&Cgroup> {
        self.asked.push("cgroup");
        self.cgroup.as_ref()
    }

    fn namespace(&mut self, which: Namespace) -> Reading<u32> {
        self.asked.push("namespace");
        match which {
            Namespace::Pid => self.pid_namespace,
            Namespace::Mnt => self.mnt_namespace,
        }
    }

    fn env(&mut self, name: &[u8]) -> Reading<&[u8]> {
        self.asked.push("env");
        match &self.env {
            None => Reading::Unknown,
            Some(env) => found(env.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_slice())),
        }
    }

    fn fd(&mut self, number: u32) -> Reading<&Fd> {
        self.asked.push("fd");
        match &self.fds {
            None => Reading::Unknown,
            Some(fds) => found(fds.iter().find(|fd| fd.number == number)),
        }
    }

    fn fds(&mut self) -> Reading<&[Fd]> {
        self.asked.push("fds");
        self.fds.as_deref().map_or(Reading::Unknown, Reading::Known)
    }

    fn ancestors(&mut self) -> Reading<Vec<Arc<Image>>> {
        self.asked.push("ancestors");
        self.ancestors.clone()
    }
}

/// Users root (0) and eve (1000), groups root (0) and users (100).
pub struct FewNames;

pub const USERS: [(u32, &str); 2] = [(0, "root"), (1000, "eve")];
pub const GROUPS: [(u32, &str); 2] = [(0, "root"), (100, "users")];

fn id(list: &[(u32, &str)], name: &[u8]) -> io::Result<Option<u32>> {
    Ok(list.iter().find(|(_, known)| known.as_bytes() == name).map(|(id, _)| *id))
}

fn name(list: &[(u32, &str)], id: u32) -> io::Result<Option<Vec<u8>>> {
    Ok(list.iter().find(|(known, _)| *known == id).map(|(_, name)| name.as_bytes().to_vec()))
}

impl Names for FewNames {
    fn user_id(&self, name: &[u8]) -> io::Result<Option<u32>> {
        id(&USERS, name)
    }
    fn group_id(&self, name: &[u8]) -> io::Result<Option<u32>> {
        id(&GROUPS, name)
    }
    fn user_name(&self, id: u32) -> io::Result<Option<Vec<u8>>> {
        name(&USERS, id)
    }
    fn group_name(&self, id: u32) -> io::Result<Option<Vec<u8>>> {
        name(&GROUPS, id)
    }
}
