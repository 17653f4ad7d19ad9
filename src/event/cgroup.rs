//! Where a process stands among the control groups, see cgroups(7): its path, and the systemd unit
//! and the container that the path tells of.

use crate::event::{Reading, lent};

/// What `/proc/PID/cgroup` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroup {
    pub path: Reading<Vec<u8>>,
    pub unit: Reading<Vec<u8>>,
    pub container: Reading<Vec<u8>>,
}

impl Cgroup {
    /// Reads the file's lines. `whole` says whether the reader sees paths from the machine's root,
    /// and not from its own container's.
    pub fn parse(text: &[u8], whole: bool) -> Cgroup {
        let lines: Vec<Line<'_>> = text.split(|&b| b == b'\n').filter_map(Line::parse).collect();
        let unified = lines.iter().filter(|line| line.is_unified());
        let systemd = lines.iter().filter(|line| line.is_systemd());
        let known: Vec<&[u8]> = unified.chain(systemd).map(|line| line.path).collect();
        // Without systemd, each controller of version 1 has a path, the container's in all of them.
        let all = known.iter().copied().chain(lines.iter().map(|line| line.path));
        let beyond = if whole { Reading::Missing } else { Reading::Unknown };
        Cgroup {
            path: found(known.first().map(|path| path.to_vec())),
            unit: found(known.iter().find_map(|path| unit(path)).map(<[u8]>::to_vec)),
            container: all.clone().find_map(container).map_or(beyond, Reading::Known),
        }
    }

    pub fn path(&self) -> Reading<&[u8]> {
        lent(&self.path)
    }

    pub fn unit(&self) -> Reading<&[u8]> {
        lent(&self.unit)
    }

    pub fn container(&self) -> Reading<&[u8]> {
        lent(&self.container)
    }
}

fn found<T>(value: Option<T>) -> Reading<T> {
    value.map_or(Reading::Missing, Reading::Known)
}

/// A hierarchy that the process is in.
struct Line<'a> {
    controllers: &'a [u8],
    path: &'a [u8],
}

impl<'a> Line<'a> {
    fn parse(line: &'a [u8]) -> Option<Line<'a>> {
        let mut parts = line.splitn(3, |&b| b == b':');
        let (_id, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let path = path.strip_suffix(b" (deleted)").unwrap_or(path);
        path.starts_with(b"/").then_some(Line { controllers, path })
    }

    fn is_unified(&self) -> bool {
        self.controllers.is_empty()
    }

    fn is_systemd(&self) -> bool {
        self.controllers == b"name=systemd"
    }
}

/// The names in a path. Those that could be taken for a file of the kernel begin with `_`.
fn parts(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&b| b == b'/')
        .filter(|part| !part.is_empty() && *part != b"..")
        .map(|part| part.strip_prefix(b"_").unwrap_or(part))
}

/// The kinds of units.
const KINDS: [&str; 11] = [
    "service",
    "scope",
    "slice",
    "socket",
    "target",
    "device",
    "mount",
    "automount",
    "swap",
    "timer",
    "path",
];

/// Whether this can be the name of a unit, of whatever kind.
pub fn is_unit(name: &[u8]) -> bool {
    let Some(dot) = memchr::memrchr(b'.', name) else { return false };
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b":-_.\\@".contains(b);
    KINDS.iter().any(|kind| kind.as_bytes() == &name[dot + 1..])
        && dot > 0
        && name.len() < 256
        && name[0] != b'@'
        && name[dot - 1] != b'@'
        && name.iter().all(plain)
}

/// The unit, as sd_pid_get_unit(3) finds it: what comes first below the slices, and is no slice
/// itself. Below a user's service manager there are that user's units.
fn unit(path: &[u8]) -> Option<&[u8]> {
    let is_slice = |part: &&[u8]| is_unit(part) && part.ends_with(b".slice");
    let mut parts = parts(path).skip_while(is_slice);
    let unit = parts.next().filter(|part| is_unit(part))?;
    if !is_manager(unit) {
        return Some(unit);
    }
    let own = parts.find(|part| !is_slice(part)).filter(|part| is_unit(part));
    Some(own.unwrap_or(unit))
}

/// Whether a unit is the service manager of a user.
fn is_manager(unit: &[u8]) -> bool {
    unit.ends_with(b".service") && (unit.starts_with(b"user@") || unit.starts_with(b"capsule@"))
}

/// The innermost container of a path.
fn container(path: &[u8]) -> Option<Vec<u8>> {
    let parts: Vec<&[u8]> = parts(path).collect();
    (0..parts.len()).rev().find_map(|at| {
        let above = at.checked_sub(1).map_or(&b""[..], |above| parts[above]);
        // systemd-nspawn itself stands there, beside what it contains.
        let outside = parts.get(at + 1).is_some_and(|below| *below == b"supervisor");
        let name = hash(parts[at])
            .map(<[u8]>::to_vec)
            .or_else(|| lxc(above, parts[at]).map(<[u8]>::to_vec))
            .or_else(|| machine(above, parts[at]).filter(|_| !outside))?;
        (!name.is_empty()).then_some(name)
    })
}

/// How many digits a container's id has at least where it is a number.
const DIGITS: usize = 32;

fn is_hex(digits: &[u8]) -> bool {
    digits.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether a container is known by a long number, and not by a name.
pub fn is_numbered(container: &[u8]) -> bool {
    container.get(..DIGITS).is_some_and(is_hex)
}

/// `ID`, `docker-ID.scope`, `libpod-ID.scope`, `crio-ID`, `...:cri-containerd:ID`: 64 digits. On
/// Fargate 32, and a number.
fn hash(part: &[u8]) -> Option<&[u8]> {
    let part = part.strip_suffix(b".scope").unwrap_or(part);
    let at = memchr::memrchr2(b'-', b':', part);
    let (runtime, id) = at.map_or((&b""[..], part), |at| (&part[..at], &part[at + 1..]));
    if id.len() == 2 * DIGITS && is_hex(id) {
        // conmon stands outside of the container that it looks after.
        return (!runtime.ends_with(b"conmon")).then_some(id);
    }
    let of_task = runtime.len() == DIGITS && is_hex(runtime) && part[DIGITS] == b'-';
    (of_task && !id.is_empty() && id.iter().all(u8::is_ascii_digit)).then_some(part)
}

/// `lxc.payload.NAME`, and what it was before: `lxc.payload/NAME`, `lxc/NAME`.
fn lxc<'a>(above: &[u8], part: &'a [u8]) -> Option<&'a [u8]> {
    match above {
        b"lxc" | b"lxc.payload" => Some(part),
        _ => part.strip_prefix(b"lxc.payload."),
    }
}

/// `systemd-nspawn@NAME.service`, `machine-NAME.scope`.
fn machine(above: &[u8], part: &[u8]) -> Option<Vec<u8>> {
    if let Some(rest) = part.strip_prefix(b"systemd-nspawn@") {
        return Some(unescaped(rest.strip_suffix(b".service")?));
    }
    if above != b"machine.slice" {
        return None;
    }
    let name = unescaped(part.strip_prefix(b"machine-")?.strip_suffix(b".scope")?);
    // libvirt's virtual machines are among them.
    (!name.starts_with(b"qemu-")).then_some(name)
}

/// A name with systemd's `\xHH` read.
fn unescaped(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&first, after)) = rest.split_first() {
        let byte = rest.strip_prefix(b"\\x").and_then(|digits| digits.get(..2)).and_then(hex_byte);
        out.push(byte.unwrap_or(first));
        rest = if byte.is_some() { &rest[4..] } else { after };
    }
    out
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
    u8::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests;
