//! How a process sees itself and its files, where that is not as we see them: in a container or any
//! other mount or pid namespace, and after chroot(2).

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::event::Namespace;
use crate::linux::sys::Pid;
use crate::machine::procfs::{self, Status};

/// A path, as the process names it and as we do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    pub inside: Vec<u8>,
    pub outside: Vec<u8>,
}

/// The view of a process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inside {
    /// Whether it sees other files than we do.
    pub elsewhere: bool,
    /// Its pid as it knows it itself.
    pub ns_pid: Pid,
    /// The thread by which /proc shows its files.
    pub living: Pid,
    pub exe: Names,
    pub cwd: Names,
}

impl Inside {
    /// `exe` and `cwd`: what the kernel shows us in the links in /proc.
    pub fn of(pid: Pid, exe: &[u8], cwd: &[u8]) -> Inside {
        let mounts = |pid| procfs::namespace(pid, Namespace::Mnt).ok();
        let root = |pid| {
            let found = fs::metadata(procfs::path(pid, "root")).ok()?;
            Some((found.dev(), found.ino()))
        };
        let own = std::process::id() as Pid;
        let living = procfs::living(pid);
        let other_mounts = mounts(living).is_some_and(|number| mounts(own) != Some(number));
        let other_root = root(living).is_some_and(|number| root(own) != Some(number));
        let link = procfs::link(living, "root").unwrap_or_default();
        let names = |path: &[u8]| names(living, path, &link, other_mounts);
        Inside {
            elsewhere: other_mounts || other_root,
            living,
            ns_pid: Status::read(pid).map_or(pid, |status| status.ns_pid),
            exe: names(exe),
            cwd: names(cwd),
        }
    }

    /// What differs, in words; `None` where nothing does.
    pub fn described(&self, pid: Pid) -> Option<String> {
        let path = crate::text::escape::word;
        let names = |what: &str, names: &Names| {
            (names.inside != names.outside && !names.inside.is_empty())
                .then(|| format!("{what} {}, for us {}", path(&names.inside), path(&names.outside)))
        };
        let pid = (self.ns_pid != pid).then(|| format!("pid {}, for us {pid}", self.ns_pid));
        let all = [pid, names("exe", &self.exe), names("cwd", &self.cwd)];
        let all: Vec<String> = all.into_iter().flatten().collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}

/// `path`: as the kernel shows it to us, which is from the top of the mount namespace that it is in.
fn names(pid: Pid, path: &[u8], root: &[u8], other_mounts: bool) -> Names {
    let below = path.strip_prefix(root).filter(|rest| rest.starts_with(b"/"));
    let inside = if root == b"/" { path } else { below.unwrap_or(path) };
    let outside = match other_mounts && inside.starts_with(b"/") {
        true => [format!("/proc/{pid}/root").as_bytes(), inside].concat(),
        false => path.to_vec(),
    };
    Names { inside: inside.to_vec(), outside }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beside_us_a_process_sees_what_we_see() {
        let pid = std::process::id() as Pid;
        let inside = Inside::of(pid, b"/usr/bin/true", b"/");
        assert!(!inside.elsewhere && inside.described(pid).is_none(), "{inside:?}");
        assert_eq!(inside.ns_pid, pid);
    }

    #[test]
    fn a_path_has_two_names_in_another_mount_namespace_and_in_a_chroot() {
        let found = names(7, b"/app/x", b"/", true);
        assert_eq!(found.inside, b"/app/x");
        assert_eq!(found.outside, b"/proc/7/root/app/x");
        let found = names(7, b"/srv/jail/app/x", b"/srv/jail", false);
        assert_eq!(found.inside, b"/app/x");
        assert_eq!(found.outside, b"/srv/jail/app/x");
        let found = names(7, b"/top/jail/x", b"/top/jail", true);
        assert_eq!(found.outside, b"/proc/7/root/x");
        assert_eq!(names(7, b"/srv/jailhouse", b"/srv/jail", false).inside, b"/srv/jailhouse");
    }
}
