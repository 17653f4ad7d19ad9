//! Where files of another mount namespace, or behind chroot(2), lie in our own.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::path;
use crate::event::{ExecRecord, Namespace, Reading};
use crate::linux::sys::Pid;

/// A mount, see proc_pid_mountinfo(5).
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mount {
    device: Vec<u8>,
    /// The folder of the file system that is seen.
    root: PathBuf,
    /// Where it is seen.
    point: PathBuf,
}

/// How a process sees files, where that is not as we see them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Its root directory, as /proc shows paths of its mount namespace.
    root: PathBuf,
    /// The mounts of its namespace and of ours; absent where the namespace is ours.
    mounts: Option<(Vec<Mount>, Arc<Vec<Mount>>)>,
}

/// The views of processes, each read while it lives; later ones of its namespace can still be asked for.
#[derive(Debug)]
pub struct Views {
    namespace: Option<u32>,
    own: Arc<Vec<Mount>>,
    known: HashMap<u32, Arc<View>>,
}

impl Views {
    pub fn from_here() -> Views {
        let own = std::process::id() as Pid;
        Views {
            namespace: super::namespace(own, Namespace::Mnt).ok(),
            own: Arc::new(mounts(own, Path::new("/")).unwrap_or_default()),
            known: HashMap::new(),
        }
    }

    /// That of a process that has just executed a program; nothing where it sees what we see.
    pub fn of(&mut self, record: &ExecRecord) -> Option<Arc<View>> {
        let pid = record.pid as Pid;
        let namespace = match record.mount_namespace {
            Reading::Known(number) => number,
            _ => super::namespace(pid, Namespace::Mnt).ok()?,
        };
        let root = fs::read_link(path(pid, "root"));
        if Some(namespace) == self.namespace {
            let root = root.ok().filter(|root| root != Path::new("/"))?;
            return Some(Arc::new(View { root, mounts: None }));
        }
        // Of a process that is gone, as one before it in the same namespace.
        let view = root.and_then(|root| {
            let theirs = mounts(pid, &root)?;
            Ok(Arc::new(View { root, mounts: Some((theirs, Arc::clone(&self.own))) }))
        });
        if let Ok(view) = view {
            self.known.insert(namespace, view);
        }
        self.known.get(&namespace).cloned()
    }
}

impl View {
    /// An absolute path of the process's own, as /proc shows it.
    pub fn whole(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Where a path, as /proc shows it, lies in our namespace.
    pub fn here(&self, path: &Path) -> Option<PathBuf> {
        let Some((theirs, ours)) = &self.mounts else { return Some(path.into()) };
        let mount = &theirs[covering(theirs, path)?];
        let inside = mount.root.join(path.strip_prefix(&mount.point).ok()?);
        let places = ours.iter().enumerate().filter(|(_, own)| own.device == mount.device);
        places
            .filter_map(|(at, own)| {
                let place = own.point.join(inside.strip_prefix(&own.root).ok()?);
                // Nothing else is mounted over it.
                (covering(ours, &place) == Some(at)).then_some(place)
            })
            .next()
    }
}

/// Whether something is mounted at just this path, without links.
pub fn is_mount_point(path: &Path) -> bool {
    let Ok(path) = fs::canonicalize(path) else { return false };
    let own = mounts(std::process::id() as Pid, Path::new("/")).unwrap_or_default();
    own.iter().any(|mount| mount.point == path)
}

/// The mount on which a path lies.
fn covering(mounts: &[Mount], path: &Path) -> Option<usize> {
    let lies_on = |at: &usize| path.starts_with(&mounts[*at].point);
    // Of two at one point, the later one covers the earlier one.
    (0..mounts.len()).filter(lies_on).max_by_key(|&at| mounts[at].point.as_os_str().len())
}

/// The mounts that a process sees; their points as /proc shows paths.
fn mounts(pid: Pid, root: &Path) -> std::io::Result<Vec<Mount>> {
    let text = super::read(pid, "mountinfo")?;
    Ok(text.split(|&byte| byte == b'\n').filter_map(|line| mount(line, root)).collect())
}

fn mount(line: &[u8], above: &Path) -> Option<Mount> {
    let mut words = line.split(|&byte| byte == b' ').skip(2);
    let device = words.next()?.to_vec();
    let (root, point) = (unescaped(words.next()?), unescaped(words.next()?));
    let point = above.join(point.strip_prefix("/").ok()?);
    Some(Mount { device, root, point })
}

/// Blanks, line ends and backslashes are octal numbers there.
fn unescaped(word: &[u8]) -> PathBuf {
    let mut bytes = Vec::new();
    let mut rest = word;
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after
            .get(..3)
            .filter(|_| byte == b'\\')
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(digits.unwrap_or(byte));
        rest = if digits.is_some() { &after[3..] } else { after };
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Vec<Mount> {
        text.lines().filter_map(|line| mount(line.trim().as_bytes(), Path::new("/"))).collect()
    }

    #[test]
    fn a_path_leads_back_over_the_mount_that_both_see() {
        let ours = parsed(
            "22 1 8:1 / / rw - ext4 a rw
             30 22 0:5 / /tmp rw - tmpfs b rw
             31 22 8:2 /sub /data\\040disk rw - ext4 c rw",
        );
        let theirs = parsed(
            "50 1 0:9 / / rw - tmpfs d rw
             51 50 8:1 /home/u/src /build rw - ext4 a rw
             52 50 8:2 /sub/x /x rw - ext4 c rw
             53 50 8:2 /other /other rw - ext4 c rw
             54 50 8:1 /tmp/covered /covered rw - ext4 a rw",
        );
        let view = View { root: "/".into(), mounts: Some((theirs, Arc::new(ours))) };
        let here = |path: &str| view.here(Path::new(path));
        assert_eq!(here("/build/a/b.c"), Some("/home/u/src/a/b.c".into()));
        assert_eq!(here("/build"), Some("/home/u/src".into()));
        assert_eq!(here("/x/y"), Some("/data disk/x/y".into()));
        for nowhere in ["/etc/a.c", "/other/a.c", "/covered/a.c", "/buildx"] {
            assert_eq!(here(nowhere), None, "{nowhere}");
        }
    }
}
